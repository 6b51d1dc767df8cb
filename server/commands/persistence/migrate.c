/* SPDX-License-Identifier: BSD-3-Clause */
/* migrate: MIGRATE where its keys are: what they have becomes parcels, and what the other server
 * has accepted goes. Home talks to that (migrate_send.c).
 *
 * Its keys are locked from the first look to the end, which the timeout bounds; nothing else is.
 */
#include "server/commands/persistence/migrate.h"

#include "base/must.h"
#include "base/num.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/keyset.h"
#include "server/call/parcel.h"
#include "server/commands/persistence/persistence.h"
#include "server/config/config.h"
#include "shard/shard.h"

#include <stdlib.h>

#define TIMEOUT_DEFAULT_MS 1000
/* argv: migrate host port key db timeout, then options */
#define ARG_KEY_AT     3
#define ARG_DB_AT      4
#define ARG_TIMEOUT_AT 5
#define ARG_OPTIONS_AT 6

/* ---- Words ---- */

bool migrate_secret(const struct bytes *argv, uint32_t argc, uint32_t index) {
    bool secret = false;
    for (uint32_t i = ARG_OPTIONS_AT; i < index && !bytes_is(argv[i], "keys"); i++) {
        uint32_t words = bytes_is(argv[i], "auth") ? 1 : bytes_is(argv[i], "auth2") ? 2 : 0;
        secret |= words > 0 && index <= i + words;
        i += words;
    }
    return secret;
}

/* NULL, or what is wrong with the options. */
static const char *options_read(const struct bytes *argv, uint32_t argc, struct migrate_args *ret) {
    for (uint32_t i = ARG_OPTIONS_AT; i < argc; i++) {
        uint32_t left = argc - 1 - i;
        if (bytes_is(argv[i], "copy")) {
            ret->copy = true;
        } else if (bytes_is(argv[i], "replace")) {
            ret->replace = true;
        } else if (bytes_is(argv[i], "auth") && left >= 1) {
            ret->has_auth = true;
            ret->password = argv[++i];
        } else if (bytes_is(argv[i], "auth2") && left >= 2) {
            ret->has_auth = true;
            ret->user = argv[++i];
            ret->password = argv[++i];
        } else if (bytes_is(argv[i], "keys")) {
            if (argv[ARG_KEY_AT].len != 0) {
                return "ERR When using MIGRATE KEYS option, the key argument must be set to the "
                       "empty string";
            }
            ret->first_key = i + 1;
            ret->keys_end = argc;
            return NULL;
        } else {
            return ERR_SYNTAX;
        }
    }
    return NULL;
}

const char *migrate_args_read(const struct bytes *argv, uint32_t argc, struct migrate_args *ret) {
    *ret = (struct migrate_args){.first_key = ARG_KEY_AT, .keys_end = ARG_KEY_AT + 1};
    const char *wrong = options_read(argv, argc, ret);
    if (wrong != NULL) {
        return wrong;
    }
    if (!num_parse_i64(argv[ARG_TIMEOUT_AT], &ret->timeout_ms) ||
        !num_parse_i64(argv[ARG_DB_AT], &ret->db)) {
        return ERR_NOT_INTEGER;
    }
    if (ret->timeout_ms <= 0) {
        ret->timeout_ms = TIMEOUT_DEFAULT_MS;
    }
    return NULL;
}

/* Where they are after KEYS, told without a look at what else is said, but for words that an option
 * takes. */
int migrate_find_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                      struct key_ref *ret, int max) {
    (void)command;
    uint32_t first = ARG_KEY_AT, end = ARG_KEY_AT + 1;
    for (uint32_t i = ARG_OPTIONS_AT; i + 1 < argc; i++) {
        if (bytes_is(argv[i], "keys")) {
            if (argv[ARG_KEY_AT].len > 0) {
                return -1;
            }
            first = i + 1;
            end = argc;
            break;
        }
        i += bytes_is(argv[i], "auth") ? 1 : bytes_is(argv[i], "auth2") ? 2 : 0;
    }
    int n = 0;
    for (uint32_t i = first; i < end; i++, n++) {
        if (n < max) {
            ret[n] = (struct key_ref){i, KEY_RW | KEY_ACCESS | KEY_DELETE, KEY_DB_SELECTED};
        }
    }
    return n;
}

/* ---- What the owners do ---- */

static void pack(struct exec *x) {
    unsigned flags = exec_lookup_flags(x, LOOKUP_READ);
    for (uint32_t i = 0; i < x->keys->count; i++) {
        const struct keyset_key *key = &x->keys->list[i];
        struct entry *entry = keyspace_find(x->keyspace, x->db, &key->key, x->now_ms, flags);
        if (entry != NULL) {
            parcel_begin(parcel_of(x, key->index), x->keyspace, entry,
                         exec_config(x)->rdbcompression);
        }
    }
}

/* What is said is what was deleted, in one DEL. */
static void let_go(struct exec *x) {
    bool lazy = exec_config(x)->lazyfree_lazy_server_del;
    struct bytes *argv = must_malloc((x->keys->count + 1) * sizeof(*argv));
    uint32_t argc = 0;
    argv[argc++] = BYTES("DEL");
    for (uint32_t i = 0; i < x->keys->count; i++) {
        const struct keyset_key *key = &x->keys->list[i];
        if (parcel_of(x, key->index)->accepted &&
            keyspace_delete(x->keyspace, x->db, &key->key, x->now_ms, lazy, EVENT_DEL)) {
            argv[argc++] = key->key.name;
        }
    }
    if (argc > 1) {
        effect_state(x, argv, argc);
    }
    free(argv);
}

void command_migrate(struct exec *x) {
    struct migrate_args args;
    const char *wrong = migrate_args_read(x->argv, x->argc, &args);
    if (wrong != NULL) {
        reply_error(x->reply, wrong);
    } else if (x->stage == STAGE_ASK) {
        pack(x);
    } else if (x->stage == STAGE_ACT) {
        let_go(x);
    } else { /* there is no key at all */
        reply_status(x->reply, "NOKEY");
    }
}
