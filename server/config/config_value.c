/* SPDX-License-Identifier: BSD-3-Clause */
/* config_value: reads and writes the values that many directives share: numbers, sizes, switches,
 * names, text.
 *
 * A parser never half-writes a field: it refuses first. So all-or-nothing needs no undo, only a
 * copy of the snapshot that is thrown away.
 */
#include "server/config/config_row.h"

#include "base/must.h"
#include "base/num.h"
#include "base/quote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Heap behind a field ---- */

size_t config_heap_element_bytes(enum config_heap heap) {
    switch (heap) {
    case HEAP_BYTES:
        return 1;
    case HEAP_SAVES:
        return sizeof(struct config_save);
    case HEAP_PERCENTILES:
        return sizeof(double);
    case HEAP_NONE:
        break;
    }
    return 0;
}

/* struct bytes, config_words, config_saves and config_percentiles are all a pointer and a count. */
struct heap_field {
    void *ptr;
    size_t count;
};
_Static_assert(sizeof(struct heap_field) == sizeof(struct bytes), "one shape for all");
_Static_assert(sizeof(struct heap_field) == sizeof(struct config_words), "one shape for all");
_Static_assert(sizeof(struct heap_field) == sizeof(struct config_saves), "one shape for all");
_Static_assert(sizeof(struct heap_field) == sizeof(struct config_percentiles), "one shape for all");

void config_row_keep(const struct config_row *row, struct config *config, const void *items,
                     size_t count) {
    struct heap_field field;
    size_t bytes = count * config_heap_element_bytes(row->heap);
    char *copy = must_malloc(bytes + 1);
    if (bytes > 0) {
        memcpy(copy, items, bytes);
    }
    copy[bytes] = 0;
    memcpy(&field, config_field(row, config), sizeof(field));
    free(field.ptr);
    field = (struct heap_field){copy, count};
    memcpy(config_field(row, config), &field, sizeof(field));
}

void config_reason(const struct config_input *in, const char *format, ...) {
    va_list args;
    text_clear(in->reason);
    va_start(args, format);
    text_vappendf(in->reason, format, args);
    va_end(args);
}

/* ---- Numbers ---- */

static bool parse_memory(struct bytes word, int64_t *ret) {
    uint64_t bytes = 0;
    /* An empty size is 0, as it always was for peers. */
    if (word.len > 0 && !num_parse_memory(word, &bytes)) {
        return false;
    }
    *ret = (int64_t)bytes;
    return true;
}

static bool parse_percent(struct bytes word, int64_t *ret) {
    int64_t percent;
    if (word.len < 2 || word.ptr[word.len - 1] != '%' ||
        !num_parse_i64(bytes_make(word.ptr, word.len - 1), &percent) || percent < 0) {
        return false;
    }
    *ret = -percent;
    return true;
}

static bool parse_octal(struct bytes word, int64_t *ret) {
    char buf[24];
    char *end;
    if (word.len >= sizeof(buf) || (word.len > 0 && (word.ptr[0] == ' ' || word.ptr[0] == '\t'))) {
        return false;
    }
    memcpy(buf, word.ptr, word.len);
    buf[word.len] = 0;
    *ret = strtoll(buf, &end, 8);
    return end == buf + word.len;
}

static bool parse_number(enum config_kind kind, struct bytes word, int64_t *ret) {
    switch (kind) {
    case KIND_MEMORY:
    case KIND_UMEMORY:
        return parse_memory(word, ret);
    case KIND_SMEMORY:
        return parse_memory(word, ret) || num_parse_i64(word, ret);
    case KIND_PERCENT:
        return parse_memory(word, ret) || parse_percent(word, ret);
    case KIND_OCTAL:
        return parse_octal(word, ret);
    default:
        return num_parse_i64(word, ret);
    }
}

static const char *number_expected(enum config_kind kind) {
    switch (kind) {
    case KIND_MEMORY:
    case KIND_SMEMORY:
    case KIND_UMEMORY:
        return "argument must be a memory value";
    case KIND_PERCENT:
        return "argument must be a memory or percent value";
    case KIND_OCTAL:
        return "argument couldn't be parsed as an octal number";
    default:
        return "argument couldn't be parsed into an integer";
    }
}

static bool number_row_parse(const struct config_row *row, struct config *config, struct bytes word,
                             const struct config_input *in) {
    int64_t value;
    if (!parse_number(row->kind, word, &value)) {
        config_reason(in, "%s", number_expected(row->kind));
        return false;
    }
    if (row->kind != KIND_UMEMORY && (value < row->min || value > row->max)) {
        if (row->kind == KIND_PERCENT) {
            config_reason(in, "percentage argument must be less or equal to %" PRId64, -row->min);
        } else if (row->kind == KIND_OCTAL) {
            config_reason(in, "argument must be between %" PRIo64 " and %" PRIo64 " inclusive",
                          (uint64_t)row->min, (uint64_t)row->max);
        } else {
            config_reason(in, "argument must be between %" PRId64 " and %" PRId64 " inclusive",
                          row->min, row->max);
        }
        return false;
    }
    if (row->adjust != NULL) {
        value = row->adjust(config, value);
    }
    memcpy(config_field(row, config), &value, sizeof(value));
    return true;
}

void config_print_memory(uint64_t bytes, struct text *text) {
    const char *unit = "";
    if (bytes > 0 && bytes % (1 << 30) == 0) {
        bytes >>= 30;
        unit = "gb";
    } else if (bytes > 0 && bytes % (1 << 20) == 0) {
        bytes >>= 20;
        unit = "mb";
    } else if (bytes > 0 && bytes % (1 << 10) == 0) {
        bytes >>= 10;
        unit = "kb";
    }
    text_appendf(text, "%" PRIu64 "%s", bytes, unit);
}

static void number_row_print(const struct config_row *row, const struct config *config, bool line,
                             struct text *text) {
    int64_t value;
    memcpy(&value, config_field_const(row, config), sizeof(value));
    if (row->kind == KIND_OCTAL) {
        text_appendf(text, "%" PRIo64, (uint64_t)value);
    } else if (row->kind == KIND_PERCENT && value < 0) {
        text_appendf(text, "%" PRId64 "%%", -value);
    } else if (row->kind == KIND_INT || (row->kind == KIND_SMEMORY && value < 0)) {
        text_appendf(text, "%" PRId64, value);
    } else if (line) {
        config_print_memory((uint64_t)value, text);
    } else {
        text_appendf(text, "%" PRIu64, (uint64_t)value);
    }
}

/* ---- Names ---- */

static const struct config_name *name_find(const struct config_name *names, struct bytes word) {
    for (; names->name != NULL; names++) {
        if (bytes_equal_nocase(word, bytes_of_text(names->name))) {
            return names;
        }
    }
    return NULL;
}

static void reason_names(const struct config_row *row, const struct config_input *in) {
    config_reason(in, "argument(s) must be one of the following: ");
    for (const struct config_name *name = row->names; name->name != NULL; name++) {
        text_appendf(in->reason, "%s%s", name == row->names ? "" : ", ", name->name);
    }
}

static bool enum_row_parse(const struct config_row *row, struct config *config, struct bytes word,
                           const struct config_input *in) {
    const struct config_name *name = name_find(row->names, word);
    if (name == NULL) {
        reason_names(row, in);
        return false;
    }
    memcpy(config_field(row, config), &name->value, sizeof(name->value));
    return true;
}

static bool flags_row_parse(const struct config_row *row, struct config *config,
                            const struct bytes *words, size_t count,
                            const struct config_input *in) {
    unsigned flags = 0;
    for (size_t i = 0; i < count; i++) {
        const struct config_name *name = name_find(row->names, words[i]);
        if (name == NULL) {
            reason_names(row, in);
            return false;
        }
        flags |= name->value;
    }
    if (count == 0) {
        reason_names(row, in);
        return false;
    }
    const char *refusal = row->refuse_flags != NULL ? row->refuse_flags(flags) : NULL;
    if (refusal != NULL) {
        config_reason(in, "%s", refusal);
        return false;
    }
    memcpy(config_field(row, config), &flags, sizeof(flags));
    return true;
}

static void names_row_print(const struct config_row *row, const struct config *config,
                            struct text *text) {
    unsigned value;
    bool first = true;
    memcpy(&value, config_field_const(row, config), sizeof(value));
    for (const struct config_name *name = row->names; name->name != NULL; name++) {
        bool same = name->value == value;
        if (same || (row->kind == KIND_FLAGS && (name->value & value) != 0)) {
            text_appendf(text, "%s%s", first ? "" : " ", name->name);
            first = false;
        }
        if (same) {
            return;
        }
    }
}

/* ---- All kinds ---- */

static bool bool_row_parse(const struct config_row *row, struct config *config, struct bytes word,
                           const struct config_input *in) {
    bool value = bytes_is(word, "yes");
    if (!value && !bytes_is(word, "no")) {
        config_reason(in, "argument must be 'yes' or 'no'");
        return false;
    }
    memcpy(config_field(row, config), &value, sizeof(value));
    return true;
}

static bool string_row_parse(const struct config_row *row, struct config *config, struct bytes word,
                             const struct config_input *in) {
    const char *refusal = row->refuse != NULL ? row->refuse(row, config, in, word) : NULL;
    if (refusal != NULL) {
        if (refusal != in->reason->ptr) {
            config_reason(in, "%s", refusal);
        }
        return false;
    }
    config_row_keep(row, config, word.ptr, word.len);
    return true;
}

bool config_row_parse(const struct config_row *row, struct config *config,
                      const struct bytes *words, size_t count, const struct config_input *in) {
    if (count != 1 && (row->flags & ROW_MULTI) == 0) {
        config_reason(in, "wrong number of arguments");
        return false;
    }
    switch (row->kind) {
    case KIND_BOOL:
        return bool_row_parse(row, config, words[0], in);
    case KIND_ENUM:
        return enum_row_parse(row, config, words[0], in);
    case KIND_FLAGS:
        return flags_row_parse(row, config, words, count, in);
    case KIND_STRING:
        return string_row_parse(row, config, words[0], in);
    case KIND_SPECIAL:
        return row->parse(row, config, words, count, in);
    default:
        return number_row_parse(row, config, words[0], in);
    }
}

bool config_row_parse_text(const struct config_row *row, struct config *config, struct bytes value,
                           const struct config_input *in) {
    if ((row->flags & ROW_MULTI) == 0) {
        return config_row_parse(row, config, &value, 1, in);
    }
    size_t blanks = 0;
    for (size_t i = 0; i < value.len; i++) {
        blanks += value.ptr[i] == ' ';
    }
    struct bytes *words = must_calloc(blanks + 1, sizeof(*words));
    size_t count = 0;
    size_t from = 0;
    for (size_t i = 0; value.len > 0 && i <= value.len; i++) {
        if (i == value.len || value.ptr[i] == ' ') {
            words[count++] = bytes_make(value.ptr + from, i - from);
            from = i + 1;
        }
    }
    bool ok = config_row_parse(row, config, words, count, in);
    free(words);
    return ok;
}

static void row_print(const struct config_row *row, const struct config *config, bool line,
                      struct text *text) {
    bool on;
    struct bytes string;
    switch (row->kind) {
    case KIND_BOOL:
        memcpy(&on, config_field_const(row, config), sizeof(on));
        text_append_text(text, on ? "yes" : "no");
        break;
    case KIND_ENUM:
    case KIND_FLAGS:
        names_row_print(row, config, text);
        break;
    case KIND_STRING:
        memcpy(&string, config_field_const(row, config), sizeof(string));
        if (line) {
            quote_append(text, string);
        } else {
            text_append_bytes(text, string);
        }
        break;
    case KIND_SPECIAL:
        row->print(row, config, text);
        break;
    default:
        number_row_print(row, config, line, text);
        break;
    }
}

void config_row_print(const struct config_row *row, const struct config *config,
                      struct text *text) {
    row_print(row, config, false, text);
}

void config_row_print_line(const struct config_row *row, const struct config *config,
                           struct text *text) {
    row_print(row, config, true, text);
}
