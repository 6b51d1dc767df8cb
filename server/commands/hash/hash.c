/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: commands on fields by their names, and on all of them.
 *
 * A field that is past its deadline is missing to all of them, but HLEN counts it until it is taken
 * out, as Valkey does.
 */
#include "server/commands/hash/hash.h"

#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/config/config.h"

#include <math.h>

/* ---- What they share ---- */

struct hash_look hash_look_begin(const struct exec *x, const struct entry *entry) {
    return hash_look(entry_value_of(entry), exec_alive_ms(x));
}

void hash_look_end(const struct exec *x, const struct hash_look *look) {
    if (UNLIKELY(look->hidden_to > 0)) {
        keyspace_hid(x->keyspace, look->hidden_to);
    }
}

void hash_change_begin(const struct exec *x, struct hash_change *c, struct entry *entry) {
    const struct config *config = exec_config(x);
    change_open(&c->change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    c->edit = (struct hash_edit){
        .change = &c->change,
        .limits = {(uint64_t)config->hash_max_listpack_entries,
                   (uint64_t)config->hash_max_listpack_value},
        .alive_ms = exec_alive_ms(x),
    };
}

void hash_change_end(const struct exec *x, struct hash_change *c, enum key_event event) {
    if (UNLIKELY(c->edit.expired > 0)) {
        keyspace_count_expired_fields(x->keyspace, c->edit.expired);
        keyspace_note(x->keyspace, x->db, &x->key, EVENT_HEXPIRED, TYPE_HASH);
    }
    change_close(&c->change, event);
}

static bool find_hash(const struct exec *x, unsigned lookup_flags, struct entry **ret_entry) {
    return exec_find(x, &x->key, TYPE_HASH, lookup_flags, ret_entry);
}

/* One field of the command's key. False: it is missing, or its hash is. */
static bool find_field(const struct exec *x, const struct entry *entry, struct bytes name,
                       struct hash_found *ret) {
    if (entry == NULL) {
        return false;
    }
    struct hash_look look = hash_look_begin(x, entry);
    bool found = hash_find(&look, name, ret);
    hash_look_end(x, &look);
    return found;
}

/* ---- One field ---- */

void command_hget(struct exec *x) {
    struct entry *entry;
    struct hash_found found;
    if (!find_hash(x, LOOKUP_READ, &entry)) {
        return;
    }
    if (find_field(x, entry, x->argv[2], &found)) {
        reply_bulk(x->reply, found.value);
    } else {
        reply_null(x->reply);
    }
}

void command_hexists(struct exec *x) {
    struct entry *entry;
    struct hash_found found;
    if (find_hash(x, LOOKUP_READ, &entry)) {
        reply_int(x->reply, find_field(x, entry, x->argv[2], &found));
    }
}

void command_hstrlen(struct exec *x) {
    struct entry *entry;
    struct hash_found found;
    if (find_hash(x, LOOKUP_READ, &entry)) {
        bool there = find_field(x, entry, x->argv[2], &found);
        reply_int(x->reply, there ? (int64_t)found.value.len : 0);
    }
}

void command_hmget(struct exec *x) {
    struct entry *entry;
    if (!find_hash(x, LOOKUP_READ, &entry)) {
        return;
    }
    reply_array(x->reply, x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        struct hash_found found;
        if (find_field(x, entry, x->argv[i], &found)) {
            reply_bulk(x->reply, found.value);
        } else {
            reply_null(x->reply);
        }
    }
}

/* ---- All of them ---- */

void command_hlen(struct exec *x) {
    struct entry *entry;
    if (find_hash(x, LOOKUP_READ, &entry)) {
        struct value value = {0};
        if (entry != NULL) {
            value = entry_value_of(entry);
        }
        reply_int(x->reply, entry != NULL ? (int64_t)hash_count(&value) : 0);
    }
}

static void write_both(void *arg, const struct value_element *element) {
    reply_bulk(arg, element->first);
    reply_bulk(arg, element->second);
}

static void write_name(void *arg, const struct value_element *element) {
    reply_bulk(arg, element->first);
}

static void write_value(void *arg, const struct value_element *element) {
    reply_bulk(arg, element->second);
}

static void get_all(struct exec *x, bool as_map, value_element_fn *write) {
    struct entry *entry;
    if (!find_hash(x, LOOKUP_READ, &entry)) {
        return;
    }
    struct hash_look look = {0};
    uint64_t count = 0;
    if (entry != NULL) {
        look = hash_look_begin(x, entry);
        count = hash_count_seen(&look);
    }
    if (as_map) {
        reply_map(x->reply, count);
    } else {
        reply_array(x->reply, count);
    }
    if (entry != NULL) {
        hash_each(&look, write, x->reply);
        hash_look_end(x, &look);
    }
}

void command_hgetall(struct exec *x) {
    get_all(x, true, write_both);
}

void command_hkeys(struct exec *x) {
    get_all(x, false, write_name);
}

void command_hvals(struct exec *x) {
    get_all(x, false, write_value);
}

/* ---- Setting ---- */

/* Sets all pairs from argument 2 on; how many fields are new. False: an error was written. */
static bool set_pairs(struct exec *x, uint64_t *ret_added) {
    struct entry *entry;
    if (x->argc % 2 != 0) {
        exec_arity_error(x);
        return false;
    }
    if (!find_hash(x, LOOKUP_WRITE, &entry)) {
        return false;
    }
    struct hash_change c;
    hash_change_begin(x, &c, entry);
    *ret_added = hash_put_all(&c.edit, &x->argv[2], (x->argc - 2) / 2);
    hash_change_end(x, &c, EVENT_HSET);
    keyspace_count_elements(x->keyspace, (x->argc - 2) / 2);
    return true;
}

void command_hset(struct exec *x) {
    uint64_t added;
    if (set_pairs(x, &added)) {
        reply_int(x->reply, (int64_t)added);
    }
}

void command_hmset(struct exec *x) {
    uint64_t added;
    if (set_pairs(x, &added)) {
        reply_ok(x->reply);
    }
}

void command_hsetnx(struct exec *x) {
    struct entry *entry;
    struct hash_found found;
    if (!find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (find_field(x, entry, x->argv[2], &found)) {
        reply_int(x->reply, 0);
        return;
    }
    struct hash_change c;
    hash_change_begin(x, &c, entry);
    hash_put_all(&c.edit, &x->argv[2], 1);
    hash_change_end(x, &c, EVENT_HSET);
    if (UNLIKELY(c.edit.expired > 0)) {
        /* Who has the field still does not know that it is over. */
        EFFECT(x, BYTES("HSET"), x->key.name, x->argv[2], x->argv[3]);
    }
    reply_int(x->reply, 1);
}

void command_hdel(struct exec *x) {
    struct entry *entry;
    if (!find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    int64_t removed = 0;
    if (entry != NULL) {
        struct hash_change c;
        hash_change_begin(x, &c, entry);
        for (uint32_t i = 2; i < x->argc && hash_count(&c.change.value) > 0; i++) {
            removed += hash_remove(&c.edit, x->argv[i]);
        }
        hash_change_end(x, &c, removed > 0 ? EVENT_HDEL : EVENT_NONE);
        keyspace_count_elements(x->keyspace, (uint64_t)removed);
    }
    reply_int(x->reply, removed);
}

/* ---- Counting ---- */

/* Puts what a count has come to; the field keeps its deadline. Says so as a SET of it, unless
 * `as_sent` will do. */
static void put_count(struct exec *x, struct entry *entry, const struct hash_found *found,
                      struct bytes text, enum key_event event, bool as_sent) {
    struct hash_change c;
    int64_t deadline = found != NULL ? found->deadline : NO_EXPIRY;
    hash_change_begin(x, &c, entry);
    hash_put(&c.edit, x->argv[2], text, KEEP_TTL);
    hash_change_end(x, &c, event);
    if (deadline != NO_EXPIRY) {
        char scratch[EFFECT_INT_BYTES];
        EFFECT(x, BYTES("HSETEX"), x->key.name, BYTES("PXAT"), effect_int(scratch, deadline),
               BYTES("FIELDS"), BYTES("1"), x->argv[2], text);
    } else if (!as_sent || c.edit.expired > 0) {
        EFFECT(x, BYTES("HSET"), x->key.name, x->argv[2], text);
    }
}

void command_hincrby(struct exec *x) {
    struct entry *entry;
    struct hash_found found;
    int64_t by, value = 0;
    if (!exec_arg_i64(x, 3, &by) || !find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    bool there = find_field(x, entry, x->argv[2], &found);
    if (there && !num_parse_i64(found.value, &value)) {
        reply_error(x->reply, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(value, by, &value)) {
        reply_error(x->reply, ERR_OVERFLOW);
        return;
    }
    char text[NUM_I64_BYTES];
    struct bytes sum = bytes_make(text, num_format_i64(text, value));
    put_count(x, entry, there ? &found : NULL, sum, EVENT_HINCRBY, true);
    reply_int(x->reply, value);
}

void command_hincrbyfloat(struct exec *x) {
    struct entry *entry;
    struct hash_found found;
    long double by, value = 0;
    if (!num_parse_long_double(x->argv[3], &by)) {
        reply_error(x->reply, ERR_NOT_FLOAT);
        return;
    }
    if (isnan(by) || isinf(by)) {
        reply_error(x->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (!find_hash(x, LOOKUP_WRITE, &entry)) {
        return;
    }
    bool there = find_field(x, entry, x->argv[2], &found);
    if (there && !num_parse_long_double(found.value, &value)) {
        reply_error(x->reply, "ERR hash value is not a float");
        return;
    }
    value += by;
    if (isnan(value) || isinf(value)) {
        reply_error(x->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[NUM_LONG_DOUBLE_BYTES];
    struct bytes sum = bytes_make(text, num_format_long_double(text, value));
    put_count(x, entry, there ? &found : NULL, sum, EVENT_HINCRBYFLOAT, false);
    reply_bulk(x->reply, sum);
}
