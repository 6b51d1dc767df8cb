/* SPDX-License-Identifier: BSD-3-Clause */
/* One value after the other is put behind those before it. Aggregates that are not full stand on a
 * stack; whoever fills the last place of one ends it, and so perhaps those around it.
 *
 *      start -> line --scalar--------> value --none is open--> reply
 *        ^        |--bulk header-> body -^   |
 *        |        `--aggregate, not empty    |
 *        +-----------<----+---------<--------+
 *
 * Invariants:
 * 1. Whatever is decided depends on the bytes alone, never on where a read ended: a type is looked
 * at before its line, a line is searched for its end in its first READER_LINE_MAX bytes only, and a
 * bulk is looked at when all of it and its line end are there.
 * 2. A value is made of bytes that are there, three at least, so the array of values is no larger
 * than some times the input; an aggregate that promises more values than may come is an error at
 * once.
 * 3. Lengths are compared with what is left, never added to a position first: they may be near
 * 2^63.
 */
#include "proto/reader.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>

/* A line may be as long as this, its type and its end included. */
#define READER_LINE_MAX 65536

/* Room for more values than this is given back once their reply is done. */
#define READER_VALUES_KEPT 64

/* How a value went. */
enum step {
    STEP_MORE,
    STEP_FAILED,
    STEP_OPENED, /* an aggregate, to be filled */
    STEP_WHOLE,
};

void reader_init(struct reader *reader) {
    reader->pos = reader->searched = 0;
    reader->bulk_len = -1;
    reader->values = NULL;
    reader->count = reader->capacity = 0;
    reader->depth = 0;
    reader->restart = false;
    reader->error = NULL;
}

void reader_fini(struct reader *reader) {
    free(reader->values);
    reader_init(reader);
}

static void restart(struct reader *reader) {
    struct reader_value *values = reader->values;
    uint32_t capacity = reader->capacity;
    if (capacity > READER_VALUES_KEPT) {
        free(values);
        values = NULL;
        capacity = 0;
    }
    reader_init(reader);
    reader->values = values;
    reader->capacity = capacity;
}

static enum step fail(struct reader *reader, const char *error) {
    reader->error = error;
    return STEP_FAILED;
}

/* ---- Values ---- */

static struct reader_value *value_new(struct reader *reader, enum reader_kind kind) {
    if (reader->count == reader->capacity) {
        reader->capacity = reader->capacity ? reader->capacity * 2 : 8;
        reader->values =
            must_realloc(reader->values, (size_t)reader->capacity * sizeof(*reader->values));
    }
    struct reader_value *value = &reader->values[reader->count++];
    *value = (struct reader_value){.kind = kind, .span = 1};
    return value;
}

static struct reader_value *value_text(struct reader *reader, enum reader_kind kind, size_t offset,
                                       size_t len) {
    struct reader_value *value = value_new(reader, kind);
    value->offset = offset;
    value->text.len = len;
    return value;
}

/* An aggregate is full: how far it reaches is known. */
static void close_one(struct reader *reader) {
    reader->depth--;
    uint32_t first = reader->open[reader->depth].value;
    reader->values[first].span = reader->count - first;
}

/* A value is whole, and perhaps those that it is in. `kind` is its own. True: so is the reply. */
static bool value_whole(struct reader *reader, enum reader_kind kind) {
    for (;;) {
        if (kind == READER_ATTRIBUTE) {
            return false; /* what it is about is still to come */
        }
        if (reader->depth == 0) {
            return true;
        }
        if (--reader->open[reader->depth - 1].left > 0) {
            return false;
        }
        kind = reader->values[reader->open[reader->depth - 1].value].kind;
        close_one(reader);
    }
}

/* ---- Lines ---- */

/* The line at pos, without its type and its end. */
static enum step find_line(struct reader *reader, struct bytes input, struct bytes *ret_line) {
    size_t there = input.len - reader->pos;
    size_t within = there < READER_LINE_MAX ? there : READER_LINE_MAX;
    const char *line = input.ptr + reader->pos;
    const char *end = within > reader->searched
                          ? memchr(line + reader->searched, '\n', within - reader->searched)
                          : NULL;
    if (end == NULL) {
        reader->searched = within;
        return within == READER_LINE_MAX ? fail(reader, "too long a line") : STEP_MORE;
    }
    size_t len = (size_t)(end - line);
    if (len < 2 || line[len - 1] != '\r' || memchr(line, '\r', len - 1) != NULL) {
        return fail(reader, "a line that does not end as it should");
    }
    *ret_line = bytes_make(line + 1, len - 2);
    return STEP_WHOLE;
}

static void line_done(struct reader *reader, struct bytes line) {
    reader->pos += line.len + 3;
    reader->searched = 0;
}

/* ---- The types ---- */

static enum step read_number(struct reader *reader, struct bytes line) {
    int64_t integer;
    if (!num_parse_i64(line, &integer)) {
        return fail(reader, "no integer where one should be");
    }
    value_text(reader, READER_INTEGER, reader->pos + 1, line.len)->integer = integer;
    return STEP_WHOLE;
}

static enum step read_double(struct reader *reader, struct bytes line) {
    double number;
    if (bytes_is(line, "nan") || bytes_is(line, "-nan")) {
        number = (double)NAN;
    } else if (!num_parse_double(line, &number)) {
        return fail(reader, "no number where one should be");
    }
    value_text(reader, READER_DOUBLE, reader->pos + 1, line.len)->number = number;
    return STEP_WHOLE;
}

static enum step read_big_number(struct reader *reader, struct bytes line) {
    size_t sign = line.len > 0 && (line.ptr[0] == '-' || line.ptr[0] == '+');
    bool digits = line.len > sign;
    for (size_t i = sign; i < line.len; i++) {
        digits = digits && line.ptr[i] >= '0' && line.ptr[i] <= '9';
    }
    if (!digits) {
        return fail(reader, "no big number where one should be");
    }
    value_text(reader, READER_BIG_NUMBER, reader->pos + 1, line.len);
    return STEP_WHOLE;
}

static enum step read_boolean(struct reader *reader, struct bytes line) {
    bool yes = bytes_equal(line, BYTES("t"));
    if (!yes && !bytes_equal(line, BYTES("f"))) {
        return fail(reader, "no boolean where one should be");
    }
    value_text(reader, READER_BOOLEAN, reader->pos + 1, line.len)->integer = yes;
    return STEP_WHOLE;
}

static enum step read_null(struct reader *reader, struct bytes line) {
    if (line.len > 0) {
        return fail(reader, "no null where one should be");
    }
    value_new(reader, READER_NULL);
    return STEP_WHOLE;
}

/* RESP2's nulls are a bulk or an array of the length -1. */
static bool is_null(char type, int64_t len) {
    return len == -1 && (type == '$' || type == '*');
}

/* The header of a bulk: the bytes are still to come. */
static enum step read_bulk_header(struct reader *reader, const struct reader_limits *limits,
                                  char type, struct bytes line) {
    int64_t len;
    if (!num_parse_i64(line, &len) || (len < 0 && !is_null(type, len))) {
        return fail(reader, "no length of a bulk where one should be");
    }
    if (len > limits->bulk_len_max) {
        return fail(reader, "too long a bulk");
    }
    if (len < 0) {
        value_new(reader, READER_NULL);
        return STEP_WHOLE;
    }
    enum reader_kind kind = type == '$'   ? READER_BULK
                            : type == '!' ? READER_ERROR
                                          : READER_VERBATIM;
    value_text(reader, kind, reader->pos + line.len + 3, (size_t)len);
    reader->bulk_len = len;
    return STEP_WHOLE;
}

static enum step read_bulk(struct reader *reader, struct bytes input) {
    size_t there = input.len - reader->pos, len = (size_t)reader->bulk_len;
    if (there < 2 || there - 2 < len) {
        return STEP_MORE;
    }
    const char *text = input.ptr + reader->pos;
    const struct reader_value *value = &reader->values[reader->count - 1];
    if (memcmp(text + len, "\r\n", 2) != 0) {
        return fail(reader, "a bulk that does not end as it should");
    }
    if (value->kind == READER_VERBATIM && (len < 4 || text[3] != ':')) {
        return fail(reader, "a verbatim text without its kind");
    }
    reader->bulk_len = -1;
    reader->pos += len + 2;
    return STEP_WHOLE;
}

static enum reader_kind aggregate_kind(char type) {
    switch (type) {
    case '*':
        return READER_ARRAY;
    case '~':
        return READER_SET;
    case '%':
        return READER_MAP;
    case '|':
        return READER_ATTRIBUTE;
    default:
        return READER_PUSH;
    }
}

static enum step read_aggregate(struct reader *reader, const struct reader_limits *limits,
                                char type, struct bytes line) {
    int64_t n;
    if (!num_parse_i64(line, &n) || (n < 0 && !is_null(type, n))) {
        return fail(reader, "no count where one should be");
    }
    if (n < 0) {
        value_new(reader, READER_NULL);
        return STEP_WHOLE;
    }
    enum reader_kind kind = aggregate_kind(type);
    if (kind == READER_PUSH && reader->depth > 0) {
        return fail(reader, "a push within a reply");
    }
    int64_t each = kind == READER_MAP || kind == READER_ATTRIBUTE ? 2 : 1;
    int64_t room = (int64_t)limits->values_max - reader->count - 1;
    if (n > room / each) {
        return fail(reader, "too many values");
    }
    struct reader_value *value = value_new(reader, kind);
    value->integer = n * each;
    if (n == 0) {
        return STEP_WHOLE;
    }
    if (reader->depth == READER_DEPTH_MAX) {
        return fail(reader, "too many values within each other");
    }
    reader->open[reader->depth].value = reader->count - 1;
    reader->open[reader->depth++].left = n * each;
    return STEP_OPENED;
}

static enum step read_line(struct reader *reader, const struct reader_limits *limits, char type,
                           struct bytes line) {
    switch (type) {
    case '+':
    case '-':
        value_text(reader, type == '+' ? READER_STATUS : READER_ERROR, reader->pos + 1, line.len);
        return STEP_WHOLE;
    case ':':
        return read_number(reader, line);
    case '_':
        return read_null(reader, line);
    case ',':
        return read_double(reader, line);
    case '#':
        return read_boolean(reader, line);
    case '(':
        return read_big_number(reader, line);
    case '$':
    case '!':
    case '=':
        return read_bulk_header(reader, limits, type, line);
    default:
        return read_aggregate(reader, limits, type, line);
    }
}

/* The next value, or as much of it as is there. */
static enum step read_value(struct reader *reader, const struct reader_limits *limits,
                            struct bytes input) {
    if (reader->bulk_len >= 0) {
        return read_bulk(reader, input);
    }
    if (reader->pos == input.len) {
        return STEP_MORE;
    }
    char type = input.ptr[reader->pos];
    if (type == 0 || strchr("+-:$*_,#(!=~%|>", type) == NULL) {
        return fail(reader, "a type that is none");
    }
    struct bytes line;
    enum step step = find_line(reader, input, &line);
    if (step != STEP_WHOLE) {
        return step;
    }
    if (reader->count >= limits->values_max) {
        return fail(reader, "too many values");
    }
    step = read_line(reader, limits, type, line);
    if (step == STEP_FAILED) {
        return step;
    }
    line_done(reader, line);
    return reader->bulk_len >= 0 ? read_bulk(reader, input) : step;
}

/* ---- Replies ---- */

enum read_status reader_run(struct reader *reader, const struct reader_limits *limits,
                            struct bytes input, struct reader_reply *ret_reply,
                            size_t *ret_consumed) {
    if (reader->restart) {
        restart(reader);
    }
    check(reader->error == NULL && reader->pos <= input.len);
    for (;;) {
        enum step step = read_value(reader, limits, input);
        if (step == STEP_MORE || step == STEP_FAILED) {
            return step == STEP_MORE ? READ_MORE : READ_ERROR;
        }
        if (step == STEP_WHOLE && value_whole(reader, reader->values[reader->count - 1].kind)) {
            break;
        }
    }
    for (uint32_t i = 0; i < reader->count; i++) {
        reader->values[i].text.ptr = input.ptr + reader->values[i].offset;
    }
    *ret_reply = (struct reader_reply){reader->values, reader->count};
    *ret_consumed = reader->pos;
    reader->restart = true;
    return READ_REPLY;
}

const struct reader_value *reader_reply_value(const struct reader_reply *reply) {
    const struct reader_value *value = reply->values;
    while (value->kind == READER_ATTRIBUTE) {
        value = reader_next(value);
    }
    check_slow(value < reply->values + reply->count);
    return value;
}

/* Each value that is still to come has three bytes at least; but those of a bulk are known. */
size_t reader_bytes_needed(const struct reader *reader) {
    if (reader->bulk_len >= 0) {
        return reader->pos + (size_t)reader->bulk_len + 2;
    }
    size_t line = reader->searched + 1 < 3 ? 3 : reader->searched + 1;
    return reader->pos + line;
}
