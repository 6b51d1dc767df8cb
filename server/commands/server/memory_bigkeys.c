/* SPDX-License-Identifier: BSD-3-Clause */
/* memory_bigkeys: MEMORY BIGKEYS, which Valkey has not: what redis-cli --bigkeys and --memkeys find
 * by asking for each key, found by the server (observe/bigkeys.h).
 */
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/generic/generic.h"
#include "server/commands/server/server_commands.h"
#include "server/observe/bigkeys.h"

#define COUNT_DEFAULT 10

static void reply_list(struct reply *r, const char *name, const struct bigkeys_list *list) {
    reply_bulk_text(r, name);
    reply_array(r, list->count);
    for (unsigned i = 0; i < list->count; i++) {
        const struct bigkey *key = &list->keys[i];
        reply_map(r, 4);
        reply_bulk_text(r, "key");
        reply_bulk(r, bytes_make(key->name, key->name_len));
        reply_bulk_text(r, "db");
        reply_int(r, key->db);
        reply_bulk_text(r, "memory");
        reply_int(r, (int64_t)key->memory);
        reply_bulk_text(r, "elements");
        reply_int(r, (int64_t)key->elements);
    }
}

static void done(struct exec *x, const struct scatter_result *result) {
    struct bigkeys big;
    unsigned types = 0;
    bigkeys_merge(result, &big);
    for (int type = 0; type < TYPE_COUNT; type++) {
        types += big.types[type].keys > 0;
    }
    reply_map(x->reply, types);
    for (int type = 0; type < TYPE_COUNT; type++) {
        const struct bigkeys_type *of_type = &big.types[type];
        if (of_type->keys == 0) {
            continue;
        }
        reply_bulk_text(x->reply, type_names[type]);
        reply_map(x->reply, 5);
        reply_bulk_text(x->reply, "keys");
        reply_int(x->reply, (int64_t)of_type->keys);
        reply_bulk_text(x->reply, "memory");
        reply_int(x->reply, (int64_t)of_type->memory);
        reply_bulk_text(x->reply, "elements");
        reply_int(x->reply, (int64_t)of_type->elements);
        reply_list(x->reply, "by-memory", &of_type->lists[BIGKEYS_BY_MEMORY]);
        reply_list(x->reply, "by-elements", &of_type->lists[BIGKEYS_BY_ELEMENTS]);
    }
    bigkeys_fini(&big);
}

void command_memory_bigkeys(struct exec *x) {
    struct bigkeys_request request = {.count = COUNT_DEFAULT, .type = -1};
    for (uint32_t i = 2; i < x->argc; i += 2) {
        int64_t count;
        if (i + 1 < x->argc && bytes_is(x->argv[i], "count")) {
            if (!exec_arg_range(x, i + 1, 1, BIGKEYS_MAX, NULL, &count)) {
                return;
            }
            request.count = (unsigned)count;
        } else if (i + 1 < x->argc && bytes_is(x->argv[i], "type")) {
            if (!type_parse(x, x->argv[i + 1], &request.type)) {
                return;
            }
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
    }
    bigkeys_walk(x, &request, done);
}
