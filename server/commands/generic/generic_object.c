/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_object: OBJECT: how a value is kept and how it has been used.
 *
 * Looking must not change what is seen, so these lookups leave the clocks of a key alone.
 */
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/commands/generic/generic.h"

/* The entry of the key after the subcommand; NULL, and null is the reply, if it is missing. */
static struct entry *find_or_reply(struct exec *x) {
    struct key key = exec_key(x, 2);
    unsigned flags = LOOKUP_READ | LOOKUP_NOTOUCH | LOOKUP_QUIET;
    struct entry *entry = keyspace_find(x->keyspace, x->db, &key, x->now_ms, flags);
    if (entry == NULL) {
        reply_null(x->reply);
    }
    return entry;
}

void command_object_encoding(struct exec *x) {
    struct entry *entry = find_or_reply(x);
    if (entry != NULL) {
        reply_bulk_text(x->reply, entry_encoding_name(entry));
    }
}

void command_object_refcount(struct exec *x) {
    if (find_or_reply(x) != NULL) {
        /* Values are never shared here. */
        reply_int(x->reply, 1);
    }
}

void command_object_idletime(struct exec *x) {
    struct entry *entry = find_or_reply(x);
    if (entry == NULL) {
        return;
    }
    if (exec_policy_is_lfu(x)) {
        reply_error(x->reply, ERR_LFU_SELECTED);
        return;
    }
    reply_int(x->reply, entry_idle_seconds(x->keyspace, entry, x->now_ms));
}

void command_object_freq(struct exec *x) {
    struct entry *entry = find_or_reply(x);
    if (entry == NULL) {
        return;
    }
    if (!exec_policy_is_lfu(x)) {
        reply_error(x->reply, ERR_LFU_NOT_SELECTED);
        return;
    }
    reply_int(x->reply, entry_frequency(x->keyspace, entry, x->now_ms));
}

void command_object_help(struct exec *x) {
    static const char *const lines[] = {
        "ENCODING <key>",
        "    Name the form in which the value of <key> is stored.",
        "FREQ <key>",
        "    Tell how often <key> was used lately, on a logarithmic scale.",
        "IDLETIME <key>",
        "    Tell for how many seconds <key> has not been used.",
        "REFCOUNT <key>",
        "    Tell how many references the value of <key> has.",
        NULL,
    };
    reply_help(x, lines);
}
