/* SPDX-License-Identifier: BSD-3-Clause */
/* hyperloglog: PFADD, PFCOUNT and PFMERGE.
 *
 * A sparse one is changed in a copy, which takes the place of the old bytes when all of the command
 * is done; a dense one in place, but only from the first element on that changes it. What the bytes
 * mean is in shard/ds/hll.h; PFDEBUG and PFSELFTEST are in hyperloglog_debug.c.
 */
#include "server/commands/hyperloglog/hyperloglog.h"

#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/config/config.h"
#include "shard/ds/hll.h"

bool hyperloglog_read(const struct exec *x, const struct value *value, struct bytes *ret) {
    if (value->type != TYPE_STRING) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return false;
    }
    char scratch[NUMBER_TEXT_BYTES];
    struct bytes bytes = string_value_bytes(value, scratch);
    if (hll_kind(bytes) == HLL_NONE) { /* as a number is */
        reply_error(x->reply, "WRONGTYPE Key is not a valid HyperLogLog string value.");
        return false;
    }
    *ret = bytes;
    return true;
}

/* The key's, of this shard: NULL and no bytes if it is missing. */
static bool find(const struct exec *x, const struct key *key, unsigned lookup_flags,
                 struct entry **ret_entry, struct bytes *ret) {
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, key, x->now_ms, exec_lookup_flags(x, lookup_flags));
    *ret_entry = entry;
    *ret = BYTES("");
    if (entry == NULL) {
        return true;
    }
    struct value value = entry_value_of(entry);
    return hyperloglog_read(x, &value, ret);
}

/* The key has these bytes from now on, and its deadline. */
static struct entry *store(const struct exec *x, const struct key *key, struct entry *entry,
                           const struct hll *hll, enum key_event event) {
    struct change change;
    change_open(&change, x->keyspace, x->db, key, entry, x->now_ms);
    memcpy(string_edit(&change, hll->length, false), hll->bytes, hll->length);
    return change_close(&change, event);
}

struct entry *hyperloglog_make_raw(const struct exec *x, const struct key *key,
                                   struct entry *entry) {
    if (string_encoding(entry) == STRING_RAW) {
        return entry;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, key, entry, x->now_ms);
    string_edit(&change, string_length(entry), false);
    return change_close(&change, EVENT_NONE);
}

static size_t sparse_max(const struct exec *x) {
    const struct config *config = exec_config(x);
    return (size_t)config->hll_sparse_max_bytes;
}

/* ---- PFADD ---- */

static void add_to_dense(const struct exec *x, struct entry *entry, struct bytes bytes) {
    uint32_t i = 2;
    while (i < x->argc && !hll_dense_lacks(bytes, x->argv[i])) {
        i++;
    }
    if (i < x->argc) {
        uint64_t raised = 0;
        struct change change;
        change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
        char *edited = string_edit(&change, bytes.len, false);
        hll_drop_cache(edited);
        for (uint32_t j = i; j < x->argc; j++) {
            raised += hll_dense_add(edited, x->argv[j]);
        }
        change_close(&change, EVENT_PFADD);
        keyspace_count_elements(x->keyspace, raised);
    }
    reply_int(x->reply, i < x->argc);
}

/* Runs that make no sense may show only after some elements have been added: those stay. */
static void add_to_sparse(const struct exec *x, struct entry *entry, struct bytes bytes) {
    struct hll hll;
    bool sound = true;
    uint64_t changes = entry == NULL;
    if (entry == NULL) {
        hll_make(&hll);
        hll_drop_cache((char *)hll.bytes);
    } else {
        sound = hll_load(&hll, bytes);
    }
    for (uint32_t i = 2; i < x->argc && sound; i++) {
        enum hll_change change = hll_add(&hll, x->argv[i], sparse_max(x));
        sound = change != HLL_CORRUPT;
        changes += change == HLL_CHANGED;
    }
    if (changes > 0) {
        entry = store(x, &x->key, entry, &hll, sound ? EVENT_PFADD : EVENT_PFCOUNT);
        keyspace_count_elements(x->keyspace, changes);
    } else {
        hyperloglog_make_raw(x, &x->key, entry);
    }
    if (sound) {
        reply_int(x->reply, changes > 0);
        return;
    }
    if (changes > 0) {
        effect_state_key(x, x->db, x->key.name, entry);
    }
    reply_error(x->reply, ERR_HLL_CORRUPT);
}

void command_pfadd(struct exec *x) {
    struct entry *entry;
    struct bytes bytes;
    if (!find(x, &x->key, LOOKUP_WRITE, &entry, &bytes)) {
        return;
    }
    if (entry != NULL && hll_kind(bytes) == HLL_DENSE) {
        add_to_dense(x, entry, bytes);
    } else {
        add_to_sparse(x, entry, bytes);
    }
}

/* ---- PFCOUNT ---- */

/* Counted once, it is known until something is added. */
static void count_one(const struct exec *x) {
    struct key key = exec_key(x, 1);
    struct entry *entry;
    struct bytes bytes;
    if (!find(x, &key, LOOKUP_READ, &entry, &bytes)) {
        return;
    }
    if (entry == NULL) {
        reply_int(x->reply, 0);
        return;
    }
    uint64_t count;
    if (hll_cached(bytes, &count)) {
        hyperloglog_make_raw(x, &key, entry);
    } else if (hll_count(bytes, &count)) {
        struct change change;
        change_open(&change, x->keyspace, x->db, &key, entry, x->now_ms);
        hll_put_cache(string_edit(&change, bytes.len, false), count);
        change_close(&change, EVENT_PFCOUNT);
    } else {
        hyperloglog_make_raw(x, &key, entry);
        reply_error(x->reply, ERR_HLL_CORRUPT);
        return;
    }
    reply_int(x->reply, (int64_t)count);
}

/* Raises registers to those of the keys from argv[1] on, wherever they are; the error is written if
 * one is none. */
static bool merge_all(const struct exec *x, struct hll_registers *registers, bool *ret_any_dense) {
    *registers = (struct hll_registers){{0}};
    *ret_any_dense = false;
    for (uint32_t i = 1; i < x->argc; i++) {
        struct loan loan;
        struct bytes bytes;
#ifdef SHOAL_UNSAFE_BAGS_SEEN /* for the test that users of the simulator notice */
        if (i > 1 && i + 1 == x->argc) {
            continue;
        }
#endif
        if (!exec_input(x, i, LOOKUP_READ, &loan)) {
            continue;
        }
        if (!hyperloglog_read(x, &loan.value, &bytes)) {
            return false;
        }
        *ret_any_dense |= hll_kind(bytes) == HLL_DENSE;
        if (!hll_merge(registers, bytes)) {
            reply_error(x->reply, ERR_HLL_CORRUPT);
            return false;
        }
    }
    return true;
}

void command_pfcount(struct exec *x) {
    if (x->argc == 2) {
        count_one(x);
        return;
    }
    struct hll_registers registers;
    bool any_dense;
    if (merge_all(x, &registers, &any_dense)) {
        reply_int(x->reply, (int64_t)hll_registers_count(&registers));
    }
}

/* ---- PFMERGE ---- */

int pfmerge_find_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                      struct key_ref *ret, int max) {
    (void)argv;
    check(argc == 2);
    if (max > 0) {
        ret[0] = (struct key_ref){1, command->keys[0].flags, KEY_DB_SELECTED};
    }
    return 1;
}

void command_pfmerge(struct exec *x) {
    struct hll_registers registers;
    bool any_dense;
    if (!merge_all(x, &registers, &any_dense)) {
        return;
    }
    struct key key = exec_key(x, 1);
    struct entry *entry;
    struct bytes bytes;
    if (!find(x, &key, LOOKUP_WRITE, &entry, &bytes)) {
        return;
    }
    struct hll hll;
    bool sound = true; /* it has been merged, so it is */
    if (entry == NULL) {
        hll_make(&hll);
    } else {
        sound = hll_load(&hll, bytes);
    }
    if (any_dense) {
        sound = sound && hll_to_dense(&hll);
        hll_put_registers((char *)hll.bytes, &registers);
    } else {
        sound = sound && hll_raise(&hll, &registers, sparse_max(x)) != HLL_CORRUPT;
    }
    check(sound);
    hll_drop_cache((char *)hll.bytes);
    entry = store(x, &key, entry, &hll, EVENT_PFADD);
    if (exec_is_apart(x)) {
        effect_state_key(x, x->db, key.name, entry);
    }
    reply_ok(x->reply);
}
