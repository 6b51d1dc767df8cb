/* SPDX-License-Identifier: BSD-3-Clause */
/* wire: see the header. A reader of its own, not the server's writer turned round: what both sides
 * agreed on by mistake would never be seen.
 */
#include "test/sim/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line up to CRLF: its length with CRLF, 0 if it is not all there. */
static size_t line_length(struct bytes input) {
    const char *end = memchr(input.ptr, '\n', input.len);
    return end == NULL ? 0 : (size_t)(end - input.ptr) + 1;
}

static bool line_number(struct bytes line, int64_t *ret) {
    char *end;
    *ret = strtoll(line.ptr + 1, &end, 10);
    return end == line.ptr + line.len - 2 && line.len > 3;
}

static ssize_t read_items(struct bytes input, size_t used, size_t count, struct arena *arena,
                          struct wire_value *ret) {
    ret->type = '*';
    ret->count = count;
    ret->items = arena_alloc(arena, count * sizeof(*ret->items) + 1);
    for (size_t i = 0; i < count; i++) {
        ssize_t n =
            value_read(bytes_make(input.ptr + used, input.len - used), arena, &ret->items[i]);
        if (n <= 0) {
            return n;
        }
        used += (size_t)n;
    }
    return (ssize_t)used;
}

ssize_t value_read(struct bytes input, struct arena *arena, struct wire_value *ret) {
    memset(ret, 0, sizeof(*ret));
    size_t n = input.len > 0 ? line_length(input) : 0;
    if (n == 0) {
        return 0;
    }
    struct bytes line = bytes_make(input.ptr, n);
    if (n < 3 || line.ptr[n - 2] != '\r') {
        return -1;
    }
    int64_t number = 0;
    ret->type = line.ptr[0];
    switch (line.ptr[0]) {
    case '+':
    case '-':
        ret->text = bytes_make(line.ptr + 1, n - 3);
        return (ssize_t)n;
    case ':':
        return line_number(line, &ret->integer) ? (ssize_t)n : -1;
    case ',':
        ret->type = '$';
        ret->text = bytes_make(line.ptr + 1, n - 3);
        return (ssize_t)n;
    case '_':
        return n == 3 ? (ssize_t)n : -1;
    case '$':
        if (!line_number(line, &number) || number < -1) {
            return -1;
        }
        if (number == -1) {
            ret->type = '_';
            return (ssize_t)n;
        }
        if (input.len < n + (size_t)number + 2) {
            return 0;
        }
        ret->text = bytes_make(input.ptr + n, (size_t)number);
        return memcmp(input.ptr + n + number, "\r\n", 2) == 0 ? (ssize_t)n + number + 2 : -1;
    case '*':
    case '~':
    case '>':
    case '%':
        if (!line_number(line, &number) || number < -1 || number > 1000000) {
            return -1;
        }
        if (number == -1) {
            ret->type = '_';
            return (ssize_t)n;
        }
        n = (size_t)read_items(input, n, (size_t)number * (line.ptr[0] == '%' ? 2 : 1), arena, ret);
        ret->type = line.ptr[0] == '>' ? '>' : '*';
        return (ssize_t)n;
    default:
        return -1;
    }
}

void value_print(const struct wire_value *value, struct text *to) {
    switch (value->type) {
    case ':':
        text_appendf(to, ":%lld", (long long)value->integer);
        break;
    case '_':
        text_append_text(to, "nil");
        break;
    case '*':
    case '>':
        text_append_char(to, '[');
        for (size_t i = 0; i < value->count && i < 8; i++) {
            text_append_text(to, i > 0 ? ", " : "");
            value_print(&value->items[i], to);
        }
        text_append_text(to, value->count > 8 ? ", ...]" : "]");
        break;
    default:
        text_append_char(to, value->type);
        text_append_bytes(to,
                          bytes_make(value->text.ptr, value->text.len < 80 ? value->text.len : 80));
    }
}

void wire_array(struct text *to, size_t count) {
    text_appendf(to, "*%zu\r\n", count);
}

void wire_bulk(struct text *to, struct bytes bytes) {
    text_appendf(to, "$%zu\r\n", bytes.len);
    text_append_bytes(to, bytes);
    text_append_text(to, "\r\n");
}

void wire_requestf(struct text *to, const char *format, ...) {
    struct text line;
    text_init(&line);
    va_list args;
    va_start(args, format);
    text_vappendf(&line, format, args);
    va_end(args);
    size_t words = 1;
    for (size_t i = 0; i < line.len; i++) {
        words += line.ptr[i] == ' ';
    }
    wire_array(to, words);
    for (char *word = line.ptr, *end; word != NULL; word = end ? end + 1 : NULL) {
        end = strchr(word, ' ');
        wire_bulk(to, bytes_make(word, end ? (size_t)(end - word) : strlen(word)));
    }
    text_fini(&line);
}
