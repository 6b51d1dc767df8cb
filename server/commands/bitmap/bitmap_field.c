/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap_field: BITFIELD and BITFIELD_RO, numbers of 1 to 64 bits at any bit of a string.
 *
 * All operations are read before the first runs: one that makes no sense is the end of all, and the
 * string grows once, as far as the farthest write reaches.
 */
#include "base/bits.h"
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/bitmap/bitmap.h"

#include <stdlib.h>

enum field_action { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum field_overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field {
    enum field_action action;
    enum field_overflow overflow;
    bool is_signed;
    unsigned width;
    uint64_t offset;
    int64_t operand;
};

struct fields {
    struct field *list;
    uint32_t count;
    bool writes;
    uint64_t last_written; /* bit */
};

/* As many are read without memory of their own. */
#define FIELDS_SMALL 8

/* ---- The call ---- */

/* i1 to i64, u1 to u63. */
static bool type_read(const struct exec *x, uint32_t at, struct field *field) {
    struct bytes text = x->argv[at];
    int64_t width = 0;
    field->is_signed = text.len > 0 && text.ptr[0] == 'i';
    if (text.len > 0 && (field->is_signed || text.ptr[0] == 'u')) {
        num_parse_i64(bytes_make(text.ptr + 1, text.len - 1), &width);
    }
    if (width < 1 || width > (field->is_signed ? 64 : 63)) {
        reply_error(x->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 "
                              "is not supported but i64 is.");
        return false;
    }
    field->width = (unsigned)width;
    return true;
}

static bool overflow_read(const struct exec *x, uint32_t at, enum field_overflow *ret) {
    if (bytes_is(x->argv[at], "wrap")) {
        *ret = OVERFLOW_WRAP;
    } else if (bytes_is(x->argv[at], "sat")) {
        *ret = OVERFLOW_SAT;
    } else if (bytes_is(x->argv[at], "fail")) {
        *ret = OVERFLOW_FAIL;
    } else {
        reply_error(x->reply, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* Which action a word names, if as many words follow as it needs. */
static bool action_read(const struct bytes *argv, uint32_t argc, uint32_t at,
                        enum field_action *ret) {
    uint32_t rest = argc - at - 1;
    if (bytes_is(argv[at], "get") && rest >= 2) {
        *ret = FIELD_GET;
    } else if (bytes_is(argv[at], "set") && rest >= 3) {
        *ret = FIELD_SET;
    } else if (bytes_is(argv[at], "incrby") && rest >= 3) {
        *ret = FIELD_INCRBY;
    } else {
        return false;
    }
    return true;
}

int bitfield_find_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                       struct key_ref *ret, int max) {
    (void)command;
    unsigned flags = KEY_RO | KEY_ACCESS;
    for (uint32_t at = 2; at < argc;) {
        enum field_action action;
        if (bytes_is(argv[at], "overflow") && at + 1 < argc) {
            at += 2;
        } else if (action_read(argv, argc, at, &action) && action == FIELD_GET) {
            at += 3;
        } else {
            flags = KEY_RW | KEY_ACCESS | KEY_UPDATE;
            break;
        }
    }
    if (max > 0) {
        ret[0] = (struct key_ref){.index = 1, .flags = flags, .db = KEY_DB_SELECTED};
    }
    return 1;
}

static bool field_read(const struct exec *x, uint32_t at, struct field *field) {
    return type_read(x, at + 1, field) && bitmap_offset(x, at + 2, field->width, &field->offset) &&
           (field->action == FIELD_GET || exec_arg_i64(x, at + 3, &field->operand));
}

static bool fields_read(const struct exec *x, struct fields *fields) {
    enum field_overflow overflow = OVERFLOW_WRAP;
    for (uint32_t at = 2; at < x->argc;) {
        struct field *field = &fields->list[fields->count];
        if (bytes_is(x->argv[at], "overflow") && at + 1 < x->argc) {
            if (!overflow_read(x, at + 1, &overflow)) {
                return false;
            }
            at += 2;
            continue;
        }
        if (!action_read(x->argv, x->argc, at, &field->action)) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        if (!field_read(x, at, field)) {
            return false;
        }
        field->overflow = overflow;
        if (field->action != FIELD_GET) {
            uint64_t last = field->offset + field->width - 1;
            fields->writes = true;
            fields->last_written = last > fields->last_written ? last : fields->last_written;
        }
        fields->count++;
        at += field->action == FIELD_GET ? 3 : 4;
    }
    return true;
}

/* ---- Numbers ---- */

/* What a field's bits say, so wide that nothing below overflows. */
static __int128 field_number(const struct field *field, uint64_t bits) {
    if (field->is_signed && bits >> (field->width - 1) & 1) {
        return (__int128)bits - ((__int128)1 << field->width);
    }
    return bits;
}

/* Brings a number into the field's range as its overflow says. False: it does not go in. */
static bool field_fit(const struct field *field, __int128 *number) {
    __int128 span = (__int128)1 << field->width;
    __int128 low = field->is_signed ? -(span / 2) : 0, high = low + span - 1;
    if (*number >= low && *number <= high) {
        return true;
    }
    switch (field->overflow) {
    case OVERFLOW_SAT:
        /* SET to what is further below the range than 63 bits can say ends at the other end, in
         * Valkey too. */
        if (field->action == FIELD_SET && field->width < 64 && high - *number > INT64_MAX) {
            *number = high;
            return true;
        }
        *number = *number < low ? low : high;
        return true;
    case OVERFLOW_WRAP:
        *number = field_number(field, (uint64_t)*number & (UINT64_MAX >> (64 - field->width)));
        return true;
    default:
        return false;
    }
}

/* ---- Running ---- */

static void field_get(const struct exec *x, const struct field *field, struct bytes value) {
    uint64_t bits = bits_field(value, field->offset, field->width);
    reply_int(x->reply, (int64_t)field_number(field, bits));
}

/* Returns whether the field is another than before, as all that is written in a new part of the
 * string is. */
static bool field_put(const struct exec *x, const struct field *field, char *bytes, size_t length,
                      bool grown) {
    uint64_t bits = bits_field(bytes_make(bytes, length), field->offset, field->width);
    __int128 before = field_number(field, bits), after;
    if (field->action == FIELD_INCRBY) {
        after = before + field->operand;
    } else {
        /* To an unsigned one a negative number is a great one. */
        after = field->is_signed ? field->operand : (__int128)(uint64_t)field->operand;
    }
    if (!field_fit(field, &after)) {
        reply_null(x->reply);
        return false;
    }
    reply_int(x->reply, (int64_t)(field->action == FIELD_INCRBY ? after : before));
    bits_put_field(bytes, field->offset, field->width, (uint64_t)after);
    return grown || after != before;
}

static void run_reads(const struct exec *x, const struct fields *fields) {
    struct entry *entry;
    if (!exec_find_string(x, &x->key, LOOKUP_READ, &entry)) {
        return;
    }
    char scratch[NUMBER_TEXT_BYTES];
    struct bytes value = entry == NULL ? BYTES("") : string_bytes(entry, scratch);
    reply_array(x->reply, fields->count);
    for (uint32_t i = 0; i < fields->count; i++) {
        field_get(x, &fields->list[i], value);
    }
}

/* A string that has only grown is another one, too. */
static void run_writes(const struct exec *x, const struct fields *fields) {
    struct bitmap_edit edit;
    if (!bitmap_open(x, fields->last_written, &edit)) {
        return;
    }
    uint64_t changes = 0;
    reply_array(x->reply, fields->count);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->list[i];
        if (field->action == FIELD_GET) {
            field_get(x, field, bytes_make(edit.bytes, edit.length));
        } else {
            changes += field_put(x, field, edit.bytes, edit.length, edit.grown);
        }
    }
    uint64_t before = keyspace_changes(x->keyspace);
    change_close(&edit.change, changes > 0 || edit.grown ? EVENT_SETBIT : EVENT_NONE);
    keyspace_set_changes(x->keyspace, before + changes);
    if (changes == 0 && edit.grown) {
        effect_state(x, x->argv, x->argc);
    }
}

static void run(const struct exec *x, bool may_write, struct field *room) {
    struct fields fields = {.list = room};
    if (!fields_read(x, &fields)) {
        return;
    }
    if (!fields.writes) {
        run_reads(x, &fields);
    } else if (may_write) {
        run_writes(x, &fields);
    } else {
        reply_error(x->reply, "ERR BITFIELD_RO only supports the GET subcommand");
    }
}

static void bitfield(const struct exec *x, bool may_write) {
    uint32_t most = (x->argc - 2) / 3 + 1;
    if (most <= FIELDS_SMALL) {
        struct field room[FIELDS_SMALL];
        run(x, may_write, room);
        return;
    }
    struct field *room = must_malloc(most * sizeof *room);
    run(x, may_write, room);
    free(room);
}

void command_bitfield(struct exec *x) {
    bitfield(x, true);
}

void command_bitfield_ro(struct exec *x) {
    bitfield(x, false);
}
