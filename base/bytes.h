/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes: a borrowed run of bytes, passed by value.
 *
 * Thread: any; pure.
 * A slice never owns what it points at; the function that takes one says how long it must live.
 */
#ifndef SHOAL_BASE_BYTES_H
#define SHOAL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *ptr;
    size_t len;
};

/* A slice of a string literal, its NUL left out. */
#define BYTES(literal) ((struct bytes){"" literal, sizeof(literal) - 1})

static inline struct bytes bytes_make(const char *ptr, size_t len) {
    return (struct bytes){ptr, len};
}

static inline struct bytes bytes_of_text(const char *text) {
    return (struct bytes){text, strlen(text)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The same, for what is compared with every command: up to 16 bytes, as most names have, without a
 * call, by two loads that may overlap. */
static inline __attribute__((always_inline)) bool bytes_equal_brief(struct bytes a,
                                                                    struct bytes b) {
    size_t n = a.len;
    if (n != b.len) {
        return false;
    }
    if (n >= 8 && n <= 16) {
        uint64_t a_first, a_last, b_first, b_last;
        memcpy(&a_first, a.ptr, 8);
        memcpy(&b_first, b.ptr, 8);
        memcpy(&a_last, a.ptr + n - 8, 8);
        memcpy(&b_last, b.ptr + n - 8, 8);
        return ((a_first ^ b_first) | (a_last ^ b_last)) == 0;
    }
    if (n >= 4 && n < 8) {
        uint32_t a_first, a_last, b_first, b_last;
        memcpy(&a_first, a.ptr, 4);
        memcpy(&b_first, b.ptr, 4);
        memcpy(&a_last, a.ptr + n - 4, 4);
        memcpy(&b_last, b.ptr + n - 4, 4);
        return ((a_first ^ b_first) | (a_last ^ b_last)) == 0;
    }
    if (n > 16) {
        return memcmp(a.ptr, b.ptr, n) == 0;
    }
    return n == 0 ||
           (a.ptr[0] == b.ptr[0] && a.ptr[n / 2] == b.ptr[n / 2] && a.ptr[n - 1] == b.ptr[n - 1]);
}

static inline char byte_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Between words, and at the end of a line. */
static inline bool byte_is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without the blanks at both ends. */
static inline struct bytes bytes_trim(struct bytes b) {
    while (b.len > 0 && byte_is_blank(b.ptr[b.len - 1])) {
        b.len--;
    }
    while (b.len > 0 && byte_is_blank(b.ptr[0])) {
        b = bytes_make(b.ptr + 1, b.len - 1);
    }
    return b;
}

/* Equal but for ASCII case, whatever the locale. */
static inline bool bytes_equal_nocase(struct bytes a, struct bytes b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (byte_lower(a.ptr[i]) != byte_lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* `literal` must be lower case text: the usual way to match an option word. */
#define bytes_is(b, literal) bytes_equal_nocase((b), BYTES(literal))

/* The length as the precision of "%.*s", cut long before printf could no longer count the text. */
static inline int bytes_precision(struct bytes b) {
    return b.len < 1 << 30 ? (int)b.len : 1 << 30;
}

/* memcmp order, a prefix first. */
static inline int bytes_compare(struct bytes a, struct bytes b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

#endif
