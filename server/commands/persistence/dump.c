/* SPDX-License-Identifier: BSD-3-Clause */
/* dump: DUMP and RESTORE: a value as bytes that any server of this kind reads.
 *
 * A dump is of the lowest version that carries the value, so that an older server can have it. What
 * comes in is foreign, and is built beside the key: only a whole value that makes sense takes its
 * place. The order of the checks is Valkey's: words, key, deadline, checksum, value.
 */
#include "base/must.h"
#include "persist/codec/value_read.h"
#include "persist/codec/value_write.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/persistence/persistence.h"
#include "server/commands/persistence/rules.h"
#include "server/observe/log.h"
#include "shard/shard.h"

#include <stdlib.h>

/* ---- DUMP ---- */

void command_dump(struct exec *x) {
    unsigned flags = LOOKUP_READ | LOOKUP_NOTOUCH;
    struct entry *entry = keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, flags);
    if (entry == NULL) {
        reply_null(x->reply);
        return;
    }
    struct value value = entry_value_of(entry);
    struct text dump;
    text_init(&dump);
    value_write_dump(&value, value_write_version(&value), exec_config(x)->rdbcompression, &dump);
    reply_bulk(x->reply, text_bytes(&dump));
    text_fini(&dump);
}

/* ---- RESTORE ---- */

struct restore {
    bool replace, absolute;
    bool has_idle, has_frequency;
    int64_t idle_seconds, frequency;
    int64_t expires_at;
};

/* A number after a word, from 0 to `max`. */
static bool number_read(const struct exec *x, uint32_t at, int64_t max, const char *error,
                        int64_t *ret) {
    return exec_arg_i64(x, at, ret) &&
           (*ret >= 0 && *ret <= max ? true : (reply_error(x->reply, error), false));
}

static bool options_read(const struct exec *x, struct restore *restore) {
    for (uint32_t i = 4; i < x->argc; i++) {
        bool last = i + 1 == x->argc;
        if (bytes_is(x->argv[i], "replace")) {
            restore->replace = true;
        } else if (bytes_is(x->argv[i], "absttl")) {
            restore->absolute = true;
        } else if (bytes_is(x->argv[i], "idletime") && !last && !restore->has_frequency) {
            if (!number_read(x, ++i, INT64_MAX, "ERR Invalid IDLETIME value, must be >= 0",
                             &restore->idle_seconds)) {
                return false;
            }
            restore->has_idle = true;
        } else if (bytes_is(x->argv[i], "freq") && !last && !restore->has_idle) {
            if (!number_read(x, ++i, UINT8_MAX, "ERR Invalid FREQ value, must be >= 0 and <= 255",
                             &restore->frequency)) {
                return false;
            }
            restore->has_frequency = true;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static bool deadline_read(const struct exec *x, struct restore *restore) {
    int64_t ttl;
    if (!exec_arg_i64(x, 2, &ttl)) {
        return false;
    }
    if (ttl < 0) {
        reply_error(x->reply, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    restore->expires_at = ttl == 0 ? NO_EXPIRY : ttl;
    if (ttl != 0 && !restore->absolute) {
        /* Beyond the end of time it begins again, as in Valkey: such a key is over at once. */
        restore->expires_at = (int64_t)((uint64_t)ttl + (uint64_t)x->now_ms);
    }
    return true;
}

static struct value_rules rules_of(const struct exec *x) {
    struct value_rules rules = value_rules_of(exec_config(x));
    rules.list.packed_threshold = x->shard->list_packed_threshold;
    return rules;
}

/* Beside the key. False: it makes no sense, of which the log tells the reason. */
static bool value_made(const struct exec *x, struct value_read *read,
                       const struct value_read_options *options, struct bytes body) {
    size_t making = keyspace_making(x->keyspace);
    struct rdb_input input = rdb_input(body);
    uint8_t type = RDB_TYPES;
    rdb_get_byte(&input, &type);
    value_read_init(read, x->keyspace, options, type);
    bool whole = value_read_some(read, &input) == VALUE_WHOLE && rdb_left(&input) == 0;
    if (!whole) {
        const char *reason = input.error != NULL    ? input.error
                             : rdb_left(&input) > 0 ? "bytes behind its end"
                                                    : "it ends too early";
        log_worker(x->worker, LOG_WARNING,
                   "RESTORE: type %u, integrity check failed at byte %zu: %s", type,
                   (size_t)(input.at - body.ptr), reason);
        value_read_fini(read);
    }
    keyspace_made(x->keyspace, making);
    return whole;
}

/* As it was sent, with a deadline that means the same at any time. */
static void say_restore(const struct exec *x, const struct restore *restore) {
    if (!effects_wanted(x) || restore->expires_at == NO_EXPIRY || restore->absolute) {
        return;
    }
    char scratch[EFFECT_INT_BYTES];
    struct bytes *argv = must_malloc((x->argc + 1) * sizeof(*argv));
    memcpy(argv, x->argv, x->argc * sizeof(*argv));
    argv[2] = effect_int(scratch, restore->expires_at);
    argv[x->argc] = BYTES("ABSTTL");
    effect_state(x, argv, x->argc + 1);
    free(argv);
}

/* Its deadline has gone by: what the key had goes. */
static void delete_old(const struct exec *x) {
    bool lazy = exec_lazy_expire(x);
    if (keyspace_delete(x->keyspace, x->db, &x->key, x->now_ms, lazy, EVENT_DEL)) {
        EFFECT(x, lazy ? BYTES("UNLINK") : BYTES("DEL"), x->key.name);
    }
}

/* It is as fresh as a new one, whatever was there. */
static void put_value(const struct exec *x, const struct restore *restore,
                      struct value_build *build) {
    size_t making = keyspace_making(x->keyspace);
    struct value value = value_build_take(build);
    keyspace_made(x->keyspace, making);
    keyspace_take(x->keyspace, x->db, &x->key, &value, restore->expires_at, x->now_ms,
                  EVENT_RESTORE);
    keyspace_set_usage(x->keyspace, x->db, &x->key, restore->has_idle ? restore->idle_seconds : -1,
                       restore->has_frequency ? (int)restore->frequency : -1, x->now_ms);
}

void command_restore(struct exec *x) {
    struct restore restore = {0};
    if (!options_read(x, &restore)) {
        return;
    }
    struct entry *old = keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, LOOKUP_WRITE);
    if (old != NULL && !restore.replace) {
        reply_error(x->reply, "BUSYKEY Target key name already exists.");
        return;
    }
    struct bytes body;
    unsigned version;
    if (!deadline_read(x, &restore)) {
        return;
    }
    bool relaxed = exec_config(x)->rdb_version_check != 0;
    if (!rdb_get_footer(x->argv[3], !x->shard->dump_checksum_skipped, &body, &version) ||
        !rdb_version_is_known(version, relaxed)) {
        reply_error(x->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct value_rules rules = rules_of(x);
    /* As in Valkey, what Redis alone has types for comes in by a file or a link only. */
    bool foreign = version > RDB_VERSION_SHARED && version < RDB_VERSION_VALKEY;
    struct value_read_options options = {&rules, foreign ? RDB_VERSION_SHARED : version, INT64_MIN};
    struct value_read read;
    if (!value_made(x, &read, &options, body)) {
        reply_error(x->reply, "ERR Bad data format");
        return;
    }
    if (restore.expires_at != NO_EXPIRY && exec_is_past(x, restore.expires_at)) {
        delete_old(x);
    } else {
        put_value(x, &restore, &read.build);
        say_restore(x, &restore);
    }
    size_t making = keyspace_making(x->keyspace);
    value_read_fini(&read);
    keyspace_made(x->keyspace, making);
    reply_ok(x->reply);
}
