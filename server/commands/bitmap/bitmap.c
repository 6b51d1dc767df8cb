/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap: single bits, and what is counted, searched and combined of them.
 *
 * BITFIELD is in bitmap_field.c, the rows in bitmap_rows.c, the bits themselves in base/bits.h.
 */
#include "server/commands/bitmap/bitmap.h"

#include "base/bits.h"
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "shard/memory/blob.h"
#include "shard/shard.h"

#include <stdlib.h>

/* ---- Single bits ---- */

bool bitmap_offset(const struct exec *x, uint32_t argv_index, unsigned width, uint64_t *ret) {
    struct bytes text = x->argv[argv_index];
    bool counts_fields = width > 0 && text.len > 0 && text.ptr[0] == '#';
    if (counts_fields) {
        text = bytes_make(text.ptr + 1, text.len - 1);
    }
    int64_t offset;
    if (!num_parse_i64(text, &offset) ||
        (counts_fields && __builtin_mul_overflow(offset, (int64_t)width, &offset)) || offset < 0 ||
        offset >> 3 >= exec_bulk_len_max(x)) {
        reply_error(x->reply, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *ret = (uint64_t)offset;
    return true;
}

bool bitmap_open(const struct exec *x, uint64_t last_bit, struct bitmap_edit *edit) {
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_WRITE, &entry)) {
        return false;
    }
    size_t length = entry == NULL ? 0 : string_length(entry);
    size_t needed = last_bit / 8 + 1;
    edit->grown = needed > length;
    change_open(&edit->change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    edit->length = edit->grown ? needed : length;
    edit->bytes = string_edit(&edit->change, edit->length, false);
    return true;
}

/* Puts in a bit and returns the one that was there. */
static bool put_bit(char *bytes, uint64_t offset, bool bit) {
    unsigned mask = 0x80U >> offset % 8;
    unsigned before = (unsigned char)bytes[offset / 8];
    bytes[offset / 8] = (char)(bit ? before | mask : before & ~mask);
    return before & mask;
}

void command_setbit(struct exec *x) {
    uint64_t offset;
    if (!bitmap_offset(x, 2, 0, &offset)) {
        return;
    }
    int64_t bit;
    if (!num_parse_i64(x->argv[3], &bit) || (bit != 0 && bit != 1)) {
        reply_error(x->reply, "ERR bit is not an integer or out of range");
        return;
    }
    struct bitmap_edit edit;
    if (!bitmap_open(x, offset, &edit)) {
        return;
    }
    bool before = put_bit(edit.bytes, offset, bit);
    bool changed = edit.grown || before != (bool)bit;
    change_close(&edit.change, changed ? EVENT_SETBIT : EVENT_NONE);
    reply_int(x->reply, before);
}

void command_getbit(struct exec *x) {
    uint64_t offset;
    struct entry *entry;
    if (!bitmap_offset(x, 2, 0, &offset) || !exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    bool bit = false;
    if (entry != NULL) {
        char scratch[NUMBER_TEXT_BYTES];
        struct bytes value = string_bytes(entry, scratch);
        bit =
            offset / 8 < value.len && (unsigned char)value.ptr[offset / 8] & (0x80U >> offset % 8);
    }
    reply_int(x->reply, bit);
}

/* ---- Ranges ---- */

/* The bits that BITCOUNT and BITPOS look at. */
struct range {
    int64_t first, last; /* in its unit, as sent */
    bool in_bits;
    bool has_end;
};

/* Reads [first [last [BYTE|BIT]]] from `at` on, the unit before the last. */
static bool range_read(const struct exec *x, uint32_t at, struct range *range) {
    *range = (struct range){.first = 0, .last = -1};
    if (x->argc > at + 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    if (x->argc > at && !exec_arg_i64(x, at, &range->first)) {
        return false;
    }
    if (x->argc > at + 2) {
        range->in_bits = bytes_is(x->argv[at + 2], "bit");
        if (!range->in_bits && !bytes_is(x->argv[at + 2], "byte")) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    range->has_end = x->argc > at + 1;
    return !range->has_end || exec_arg_i64(x, at + 1, &range->last);
}

/* The same of a string of `length` bytes, as bits from *ret_first up to and without *ret_end.
 * False: there are none. */
static bool range_resolve(const struct range *range, size_t length, uint64_t *ret_first,
                          uint64_t *ret_end) {
    int64_t total = (int64_t)length * (range->in_bits ? 8 : 1);
    int64_t first = range->first, last = range->last;
    if (first < 0) {
        first = first + total > 0 ? first + total : 0;
    }
    if (last < 0) {
        last = last + total > 0 ? last + total : 0;
    }
    last = last < total ? last : total - 1;
    if (first > last) {
        return false;
    }
    unsigned unit = range->in_bits ? 1 : 8;
    *ret_first = (uint64_t)first * unit;
    *ret_end = (uint64_t)(last + 1) * unit;
    return true;
}

void command_bitcount(struct exec *x) {
    struct range range;
    struct entry *entry;
    if (!range_read(x, 2, &range) || !exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    uint64_t first, end, count = 0;
    bool turned = range.first < 0 && range.last < 0 && range.first > range.last;
    if (entry != NULL && !turned) {
        char scratch[NUMBER_TEXT_BYTES];
        struct bytes value = string_bytes(entry, scratch);
        if (range_resolve(&range, value.len, &first, &end)) {
            count = bits_count_between(value, first, end);
        }
    }
    reply_int(x->reply, (int64_t)count);
}

/* What is missing is zeros without end, and so is what lies behind a string, if the range has no
 * end. */
void command_bitpos(struct exec *x) {
    int64_t bit;
    if (!exec_arg_i64(x, 2, &bit)) {
        return;
    }
    if (bit != 0 && bit != 1) {
        reply_error(x->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    struct range range;
    struct entry *entry;
    if (!range_read(x, 3, &range) || !exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_int(x->reply, bit ? -1 : 0);
        return;
    }
    char scratch[NUMBER_TEXT_BYTES];
    struct bytes value = string_bytes(entry, scratch);
    uint64_t first, end;
    int64_t found = -1;
    if (range_resolve(&range, value.len, &first, &end)) {
        uint64_t at = bits_find(value, bit, first, end);
        found = at < end || (!bit && !range.has_end) ? (int64_t)at : -1;
    }
    reply_int(x->reply, found);
}

/* ---- Combinations ---- */

static bool op_read(const struct exec *x, enum bits_op *ret) {
    static const char *const names[] = {
        [BITS_AND] = "and",
        [BITS_OR] = "or",
        [BITS_XOR] = "xor",
        [BITS_NOT] = "not",
    };
    for (enum bits_op op = BITS_AND; op <= BITS_NOT; op++) {
        if (bytes_equal_nocase(x->argv[1], bytes_of_text(names[op]))) {
            *ret = op;
            return true;
        }
    }
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

/* Strings without a text of their own are written down here. */
struct inputs {
    struct bytes *list;
    char (*scratch)[NUMBER_TEXT_BYTES];
    uint32_t count;
    size_t longest;
};

#define INPUTS_MAX 16

/* Reads the strings from argv[3] on, wherever they lie; room for them is the caller's. */
static bool inputs_find(const struct exec *x, struct inputs *inputs) {
    for (uint32_t i = 0; i < inputs->count; i++) {
        struct loan loan;
        struct bytes bytes = BYTES("");
        if (exec_input(x, i + 3, LOOKUP_READ, &loan)) {
            if (loan.value.type != TYPE_STRING) {
                reply_error(x->reply, ERR_WRONG_TYPE);
                return false;
            }
            bytes = string_value_bytes(&loan.value, inputs->scratch[i]);
        }
        inputs->list[i] = bytes;
        inputs->longest = bytes.len > inputs->longest ? bytes.len : inputs->longest;
    }
    return true;
}

/* The result may be one of the inputs, so it is made aside. */
static void store(const struct exec *x, const struct key *to, enum bits_op op,
                  const struct inputs *inputs) {
    size_t length = inputs->longest;
    struct entry *entry = NULL;
    struct string_target target = exec_target(x, to, EVENT_SET);
    target.expires_at = NO_EXPIRY;
    if (length >= BLOB_VALUE_MIN) {
        struct blob *blob = blob_new(x->shard->heap, length, length);
        bits_combine(op, inputs->list, inputs->count, blob->data, length);
        entry = string_set_blob(&target, blob);
    } else if (length > 0) {
        char result[BLOB_VALUE_MIN];
        bits_combine(op, inputs->list, inputs->count, result, length);
        entry = string_set_raw(&target, bytes_make(result, length));
    }
    bool changed = entry != NULL || keyspace_delete(x->keyspace, x->db, to, x->now_ms,
                                                    exec_lazy_user_del(x), EVENT_DEL);
    if (changed && exec_is_apart(x)) {
        effect_state_key(x, x->db, to->name, entry);
    }
    reply_int(x->reply, (int64_t)length);
}

static void combine(const struct exec *x, enum bits_op op, struct inputs *inputs) {
    if (inputs_find(x, inputs)) {
        struct key to = exec_key(x, 2);
        store(x, &to, op, inputs);
    }
}

void command_bitop(struct exec *x) {
    enum bits_op op;
    if (!op_read(x, &op)) {
        return;
    }
    if (op == BITS_NOT && x->argc != 4) {
        reply_error(x->reply, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    struct inputs inputs = {.count = x->argc - 3};
    if (inputs.count <= INPUTS_MAX) {
        struct bytes list[INPUTS_MAX];
        char scratch[INPUTS_MAX][NUMBER_TEXT_BYTES];
        inputs.list = list;
        inputs.scratch = scratch;
        combine(x, op, &inputs);
        return;
    }
    inputs.list = must_malloc(inputs.count * sizeof *inputs.list);
    inputs.scratch = must_malloc(inputs.count * sizeof *inputs.scratch);
    combine(x, op, &inputs);
    free(inputs.list);
    free(inputs.scratch);
}
