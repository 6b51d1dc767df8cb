/* SPDX-License-Identifier: BSD-3-Clause */
/* string: reading strings, and changing a part of one.
 *
 * What stores whole values (SET and its relatives) is in string_set.c, arithmetic in
 * string_count.c, LCS in string_lcs.c, the rows in string_rows.c.
 */
#include "server/commands/string/string.h"

#include "base/check.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"

/* ---- Whole values ---- */

void command_get(struct exec *x) {
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_null(x->reply);
        return;
    }
    exec_reply_string(x, entry);
}

void command_mget(struct exec *x) {
    struct key keys[EXEC_KEYS_MAX];
    unsigned flags = exec_lookup_flags(x, LOOKUP_READ);
    reply_array(x->reply, x->argc - 1);
    exec_element(x);
    for (uint32_t i = 1, n; i < x->argc; i += n) {
        n = exec_keys(x, i, x->argc, 1, keys);
        for (uint32_t j = 0; j < n; j++) {
            struct entry *entry = keyspace_find(x->keyspace, x->db, &keys[j], x->now_ms, flags);
            if (entry == NULL || entry_type(entry) != TYPE_STRING) {
                reply_null(x->reply);
            } else {
                exec_reply_string(x, entry);
            }
            exec_element(x);
        }
    }
}

static void delete_and_say(struct exec *x) {
    if (keyspace_delete(x->keyspace, x->db, &x->key, x->now_ms, exec_lazy_user_del(x), EVENT_DEL)) {
        EFFECT(x, BYTES("DEL"), x->key.name);
    }
}

void command_getdel(struct exec *x) {
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_null(x->reply);
    } else {
        exec_reply_string(x, entry);
    }
    /* Also what is hidden in import mode. */
    delete_and_say(x);
}

void command_delifeq(struct exec *x) {
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_WRITE, &entry)) {
        return;
    }
    char scratch[NUMBER_TEXT_BYTES];
    bool equal = entry != NULL && bytes_equal(string_bytes(entry, scratch), x->argv[2]);
    if (equal) {
        delete_and_say(x);
    }
    reply_int(x->reply, equal);
}

void command_strlen(struct exec *x) {
    struct entry *entry;
    if (exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        reply_int(x->reply, entry == NULL ? 0 : (int64_t)string_length(entry));
    }
}

/* ---- Parts of a value ---- */

/* First and last index, both inclusive and counted from the end if negative, as a slice: what lies
 * outside is cut off, and an end before the string means its first byte. */
static struct bytes slice(struct bytes value, int64_t first, int64_t last) {
    int64_t length = (int64_t)value.len;
    if (length == 0 || (first < 0 && last < 0 && first > last)) {
        return BYTES("");
    }
    if (first < 0) {
        first = first < -length ? 0 : first + length;
    }
    if (last < 0) {
        last = last < -length ? 0 : last + length;
    }
    if (last >= length) {
        last = length - 1;
    }
    if (first > last) {
        return BYTES("");
    }
    return bytes_make(value.ptr + first, (size_t)(last - first + 1));
}

void command_getrange(struct exec *x) {
    int64_t first, last;
    struct entry *entry;
    if (!exec_arg_i64(x, 2, &first) || !exec_arg_i64(x, 3, &last) ||
        !exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_bulk(x->reply, BYTES(""));
        return;
    }
    char scratch[NUMBER_TEXT_BYTES];
    reply_bulk(x->reply, slice(string_bytes(entry, scratch), first, last));
}

/* True if a string of `length` bytes, `add` of them new, may be made. */
static bool length_allowed(const struct exec *x, int64_t length, size_t add) {
    int64_t sum;
    if (__builtin_add_overflow(length, (int64_t)add, &sum) || sum > exec_bulk_len_max(x)) {
        reply_error(x->reply, ERR_STRING_TOO_LONG);
        return false;
    }
    return true;
}

void command_append(struct exec *x) {
    struct bytes tail = x->argv[2];
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        exec_store_argument(x, &x->key, 2, NO_EXPIRY, EVENT_APPEND);
        reply_int(x->reply, (int64_t)tail.len);
        return;
    }
    size_t length = string_length(entry);
    if (!length_allowed(x, (int64_t)length, tail.len)) {
        return;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    char *value = string_edit(&change, length + tail.len, true);
    if (tail.len > 0) {
        memcpy(value + length, tail.ptr, tail.len);
    }
    change_close(&change, EVENT_APPEND);
    reply_int(x->reply, (int64_t)(length + tail.len));
}

void command_setrange(struct exec *x) {
    struct bytes part = x->argv[3];
    int64_t offset;
    struct entry *entry;
    if (!exec_arg_i64(x, 2, &offset)) {
        return;
    }
    if (offset < 0) {
        reply_error(x->reply, "ERR offset is out of range");
        return;
    }
    if (!exec_find_string(x, &x->key, LOOKUP_WRITE, &entry)) {
        return;
    }
    size_t length = entry == NULL ? 0 : string_length(entry);
    if (part.len == 0) {
        reply_int(x->reply, (int64_t)length);
        return;
    }
    if (!length_allowed(x, offset, part.len)) {
        return;
    }
    size_t end = (size_t)offset + part.len;
    size_t new_length = end > length ? end : length;
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    char *value = string_edit(&change, new_length, entry != NULL);
    memcpy(value + offset, part.ptr, part.len);
    change_close(&change, EVENT_SETRANGE);
    reply_int(x->reply, (int64_t)new_length);
}
