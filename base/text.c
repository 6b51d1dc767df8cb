/* SPDX-License-Identifier: BSD-3-Clause */
/* Text of unknown length comes up wherever the server prints something: INFO, CLIENT LIST, config
 * files. Capacity doubles, so appending is linear. An empty text allocates nothing and still is a C
 * string. */
#include "base/text.h"

#include "base/check.h"
#include "base/must.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Never written through: every write goes past text_reserve, which replaces it. */
static const char text_empty[1] = "";

void text_init(struct text *text) {
    *text = (struct text){.ptr = (char *)(uintptr_t)text_empty};
}

void text_fini(struct text *text) {
    if (text->cap) {
        free(text->ptr);
    }
    text_init(text);
}

void text_clear(struct text *text) {
    text->len = 0;
    if (text->cap) {
        text->ptr[0] = 0;
    }
}

void text_reserve(struct text *text, size_t n) {
    check(n < SIZE_MAX / 4 && text->len < SIZE_MAX / 4);
    size_t need = text->len + n + 1;
    if (need <= text->cap) {
        return;
    }
    size_t cap = text->cap * 2 > 64 ? text->cap * 2 : 64;
    cap = cap > need ? cap : need;
    char *ptr = must_realloc(text->cap ? text->ptr : NULL, cap);
    ptr[text->len] = 0;
    text->ptr = ptr;
    text->cap = cap;
}

void text_append(struct text *text, const void *ptr, size_t n) {
    if (n == 0) {
        return;
    }
    text_reserve(text, n);
    memcpy(text->ptr + text->len, ptr, n);
    text->len += n;
    text->ptr[text->len] = 0;
}

void text_append_text(struct text *text, const char *suffix) {
    text_append(text, suffix, strlen(suffix));
}

void text_append_bytes(struct text *text, struct bytes suffix) {
    text_append(text, suffix.ptr, suffix.len);
}

void text_append_char(struct text *text, char c) {
    text_append(text, &c, 1);
}

void text_vappendf(struct text *text, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    size_t room = text->cap > text->len ? text->cap - text->len : 0;
    int n = vsnprintf(room ? text->ptr + text->len : NULL, room, format, args);
    check(n >= 0);
    if ((size_t)n >= room) {
        text_reserve(text, (size_t)n);
        check(vsnprintf(text->ptr + text->len, (size_t)n + 1, format, again) == n);
    }
    va_end(again);
    text->len += (size_t)n;
}

void text_appendf(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_vappendf(text, format, args);
    va_end(args);
}

char *text_take(struct text *text) {
    text_reserve(text, 0);
    char *ptr = text->ptr;
    text_init(text);
    return ptr;
}
