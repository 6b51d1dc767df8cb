/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_expire: giving keys deadlines, taking them away, asking for them.
 *
 * EXPIRE and its three relatives differ in unit and origin only; a deadline that lies in the past
 * deletes the key at once. The order of the checks is Valkey's: words, number, range, key.
 */
#include "base/check.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/generic/generic.h"

/* ---- Setting ---- */

enum expire_option {
    EXPIRE_NX = 1 << 0,
    EXPIRE_XX = 1 << 1,
    EXPIRE_GT = 1 << 2,
    EXPIRE_LT = 1 << 3,
};

static bool options_read(const struct exec *x, unsigned *ret_options) {
    unsigned options = 0;
    for (uint32_t i = 3; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "nx")) {
            options |= EXPIRE_NX;
        } else if (bytes_is(x->argv[i], "xx")) {
            options |= EXPIRE_XX;
        } else if (bytes_is(x->argv[i], "gt")) {
            options |= EXPIRE_GT;
        } else if (bytes_is(x->argv[i], "lt")) {
            options |= EXPIRE_LT;
        } else {
            reply_errorf(x->reply, "ERR Unsupported option %.*s", bytes_precision(x->argv[i]),
                         x->argv[i].ptr);
            return false;
        }
    }
    if ((options & EXPIRE_NX) && (options & ~(unsigned)EXPIRE_NX)) {
        reply_error(x->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((options & EXPIRE_GT) && (options & EXPIRE_LT)) {
        reply_error(x->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    *ret_options = options;
    return true;
}

/* The deadline that the second argument asks for: any number that does not overflow, so also one
 * long past. */
static bool when_read(const struct exec *x, bool ms, bool absolute, int64_t *ret_when) {
    int64_t when;
    if (!exec_arg_i64(x, 2, &when)) {
        return false;
    }
    if ((!ms && __builtin_mul_overflow(when, 1000, &when)) ||
        (!absolute && __builtin_add_overflow(when, x->now_ms, &when))) {
        reply_errorf(x->reply, ERR_EXPIRE_TIME, x->command->name);
        return false;
    }
    *ret_when = when;
    return true;
}

/* Whether the options let `when` take the place of `current`. No deadline is the latest of all. */
static bool condition_holds(unsigned options, int64_t current, int64_t when) {
    bool has = current != NO_EXPIRY;
    return !((options & EXPIRE_NX) && has) && !((options & EXPIRE_XX) && !has) &&
           !((options & EXPIRE_GT) && (!has || when <= current)) &&
           !((options & EXPIRE_LT) && has && when >= current);
}

/* As PEXPIREAT, with the conditions that were sent. */
static void say_deadline(const struct exec *x, int64_t when) {
    enum { OPTIONS_MAX = 2 }; /* that have a meaning together */
    char scratch[EFFECT_INT_BYTES];
    struct bytes argv[3 + OPTIONS_MAX] = {BYTES("PEXPIREAT"), x->key.name,
                                          effect_int(scratch, when)};
    uint32_t argc = 3;
    for (uint32_t i = 3; i < x->argc && argc < 3 + OPTIONS_MAX; i++) {
        argv[argc++] = x->argv[i];
    }
    effect_state(x, argv, argc);
}

static void expire(struct exec *x, bool ms, bool absolute) {
    unsigned options = 0;
    int64_t when;
    if ((UNLIKELY(x->argc > 3) && !options_read(x, &options)) ||
        !when_read(x, ms, absolute, &when)) {
        return;
    }
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, exec_lookup_flags(x, LOOKUP_WRITE));
    bool holds = entry != NULL && condition_holds(options, entry_expires_at(entry), when);
    if (holds && exec_is_past(x, when)) {
        exec_run_out(x, &x->key);
    } else if (holds) {
        when = when > 0 ? when : 0;
        keyspace_set_expiry(x->keyspace, x->db, &x->key, entry, when);
        if (effects_wanted(x)) {
            say_deadline(x, when);
        }
    }
    reply_int(x->reply, holds);
}

void command_expire(struct exec *x) {
    expire(x, false, false);
}

void command_expireat(struct exec *x) {
    expire(x, false, true);
}

void command_pexpire(struct exec *x) {
    expire(x, true, false);
}

void command_pexpireat(struct exec *x) {
    expire(x, true, true);
}

void command_persist(struct exec *x) {
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, exec_lookup_flags(x, LOOKUP_WRITE));
    bool persists = entry != NULL && entry_expires_at(entry) != NO_EXPIRY;
    if (persists) {
        keyspace_set_expiry(x->keyspace, x->db, &x->key, entry, NO_EXPIRY);
    }
    reply_int(x->reply, persists);
}

/* ---- Asking ---- */

/* Milliseconds as seconds, to the nearest; INT64_MAX does not overflow. */
static int64_t seconds_of(int64_t ms) {
    return ms / 1000 + (ms % 1000 >= 500);
}

/* Answers with the deadline, or the time left, of a key: -1 if it has none, -2 if it is missing. */
static void deadline(struct exec *x, bool ms, bool absolute) {
    struct entry *entry = keyspace_find(x->keyspace, x->db, &x->key, x->now_ms,
                                        exec_lookup_flags(x, LOOKUP_READ | LOOKUP_NOTOUCH));
    if (entry == NULL) {
        reply_int(x->reply, -2);
        return;
    }
    int64_t when = entry_expires_at(entry);
    if (when == NO_EXPIRY) {
        reply_int(x->reply, -1);
        return;
    }
    if (!absolute) {
        when = when > x->now_ms ? when - x->now_ms : 0;
    }
    reply_int(x->reply, ms ? when : seconds_of(when));
}

void command_ttl(struct exec *x) {
    deadline(x, false, false);
}

void command_pttl(struct exec *x) {
    deadline(x, true, false);
}

void command_expiretime(struct exec *x) {
    deadline(x, false, true);
}

void command_pexpiretime(struct exec *x) {
    deadline(x, true, true);
}
