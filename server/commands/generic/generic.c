/* SPDX-License-Identifier: BSD-3-Clause */
/* generic: commands on keys of any type: whether they are there, deleting them, giving them other
 * names.
 *
 * Deadlines are in generic_expire.c, OBJECT in generic_object.c, what spans all keys in
 * generic_all.c, the rows in generic_rows.c.
 */
#include "server/commands/generic/generic.h"

#include "base/check.h"
#include "base/num.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"

const char *const type_names[TYPE_COUNT] = {
    [TYPE_STRING] = "string", [TYPE_LIST] = "list", [TYPE_SET] = "set",
    [TYPE_ZSET] = "zset",     [TYPE_HASH] = "hash", [TYPE_STREAM] = "stream",
};

/* ---- Some keys ---- */

static struct entry *find(const struct exec *x, uint32_t db, const struct key *key,
                          unsigned lookup_flags) {
    return keyspace_find(x->keyspace, db, key, x->now_ms, exec_lookup_flags(x, lookup_flags));
}

/* Answers how many of all arguments are keys that exist. */
static void count_present(struct exec *x, unsigned lookup_flags) {
    struct key keys[EXEC_KEYS_MAX];
    int64_t present = 0;
    for (uint32_t i = 1, n; i < x->argc; i += n) {
        n = exec_keys(x, i, x->argc, 1, keys);
        for (uint32_t j = 0; j < n; j++) {
            present += keyspace_find(x->keyspace, x->db, &keys[j], x->now_ms, lookup_flags) != NULL;
        }
    }
    reply_int(x->reply, present);
}

void command_exists(struct exec *x) {
    count_present(x, LOOKUP_READ | LOOKUP_NOTOUCH);
}

void command_touch(struct exec *x) {
    /* Touching is what the command is for, so CLIENT NO-TOUCH does not reach it. */
    count_present(x, LOOKUP_READ);
}

static void delete_all(struct exec *x, bool lazy) {
    struct key keys[EXEC_KEYS_MAX];
    int64_t deleted = 0;
    for (uint32_t i = 1, n; i < x->argc; i += n) {
        n = exec_keys(x, i, x->argc, 1, keys);
        for (uint32_t j = 0; j < n; j++) {
            deleted += keyspace_delete(x->keyspace, x->db, &keys[j], x->now_ms, lazy, EVENT_DEL);
        }
    }
    reply_int(x->reply, deleted);
}

void command_del(struct exec *x) {
    delete_all(x, exec_lazy_user_del(x));
}

void command_unlink(struct exec *x) {
    delete_all(x, true);
}

void command_type(struct exec *x) {
    struct entry *entry = find(x, x->db, &x->key, LOOKUP_READ | LOOKUP_NOTOUCH);
    reply_status(x->reply, entry == NULL ? "none" : type_names[entry_type(entry)]);
}

/* ---- Other names ---- */

enum rename_outcome { RENAME_MISSING, RENAME_SAME, RENAME_TAKEN, RENAME_DONE };

static enum rename_outcome rename_key(struct exec *x, bool only_if_free) {
    if (exec_takes(x)) {
        keyspace_gave(x->keyspace, x->db, &x->key);
        effect_state_key(x, x->db, x->key.name, NULL);
        return RENAME_DONE;
    }
    struct key to = exec_key(x, 2);
    struct loan from;
    if (!exec_input(x, 1, LOOKUP_WRITE, &from)) {
        reply_error(x->reply, ERR_NO_KEY);
        return RENAME_MISSING;
    }
    if (bytes_equal(x->argv[1], to.name)) {
        return RENAME_SAME;
    }
    if (only_if_free && find(x, x->db, &to, LOOKUP_WRITE) != NULL) {
        return RENAME_TAKEN;
    }
    if (from.entry != NULL) {
        keyspace_rename(x->keyspace, x->db, &x->key, from.entry, x->db, &to, x->now_ms);
    } else {
        exec_put(x, x->db, &to, &from, EVENT_RENAME_TO);
        exec_take(x);
    }
    return RENAME_DONE;
}

void command_rename(struct exec *x) {
    if (rename_key(x, false) != RENAME_MISSING) {
        reply_ok(x->reply);
    }
}

void command_renamenx(struct exec *x) {
    enum rename_outcome outcome = rename_key(x, true);
    if (outcome != RENAME_MISSING) {
        reply_int(x->reply, outcome == RENAME_DONE);
    }
}

void command_move(struct exec *x) {
    uint32_t to_db;
    if (!exec_arg_db(x, 2, &to_db)) {
        return;
    }
    if (to_db == x->db) {
        reply_error(x->reply, ERR_SAME_OBJECT);
        return;
    }
    struct entry *entry = find(x, x->db, &x->key, LOOKUP_WRITE);
    bool moves = entry != NULL && find(x, to_db, &x->key, LOOKUP_WRITE) == NULL;
    if (moves) {
        keyspace_rename(x->keyspace, x->db, &x->key, entry, to_db, &x->key, x->now_ms);
    }
    reply_int(x->reply, moves);
}

static int32_t db_read(struct bytes text) {
    int64_t db;
    return num_parse_i64(text, &db) && db >= 0 && db <= INT32_MAX ? (int32_t)db : KEY_DB_SELECTED;
}

int move_name_dbs(const struct bytes *argv, uint32_t argc, struct key_ref *refs, int n) {
    check(n == 1 && argc == 3);
    refs[1] = refs[0];
    refs[1].db = db_read(argv[2]);
    return 2;
}

unsigned move_db_args(const struct bytes *argv, uint32_t argc, uint32_t ret[COMMAND_DB_ARGS_MAX]) {
    ret[0] = 2;
    return 1;
}

/* Of several the last one counts. None where it is no COPY: the command says so. */
unsigned copy_db_args(const struct bytes *argv, uint32_t argc, uint32_t ret[COMMAND_DB_ARGS_MAX]) {
    unsigned count = 0;
    for (uint32_t i = 3; i < argc; i++) {
        if (bytes_is(argv[i], "db") && i + 1 < argc) {
            count -= count == COMMAND_DB_ARGS_MAX;
            ret[count++] = ++i;
        } else if (!bytes_is(argv[i], "replace")) {
            return 0;
        }
    }
    return count;
}

int copy_name_dbs(const struct bytes *argv, uint32_t argc, struct key_ref *refs, int n) {
    uint32_t at[COMMAND_DB_ARGS_MAX];
    check(n == 2);
    unsigned count = copy_db_args(argv, argc, at);
    if (count > 0) {
        refs[1].db = db_read(argv[at[count - 1]]);
    }
    return n;
}

static bool copy_options(const struct exec *x, uint32_t *ret_db, bool *ret_replace) {
    for (uint32_t i = 3; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "replace")) {
            *ret_replace = true;
        } else if (bytes_is(x->argv[i], "db") && i + 1 < x->argc) {
            if (!exec_arg_db(x, ++i, ret_db)) {
                return false;
            }
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void command_copy(struct exec *x) {
    struct key to = exec_key(x, 2);
    uint32_t to_db = x->db;
    bool replace = false;
    if (!copy_options(x, &to_db, &replace)) {
        return;
    }
    if (to_db == x->db && bytes_equal(x->argv[1], to.name)) {
        reply_error(x->reply, ERR_SAME_OBJECT);
        return;
    }
    struct loan from;
    bool copies = exec_input(x, 1, LOOKUP_READ, &from) &&
                  (replace || find(x, to_db, &to, LOOKUP_WRITE) == NULL);
    if (copies) {
        exec_put(x, to_db, &to, &from, EVENT_COPY_TO);
    }
    reply_int(x->reply, copies);
}
