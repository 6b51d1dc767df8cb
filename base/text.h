/* SPDX-License-Identifier: BSD-3-Clause */
/* text: a string that grows as it is appended to.
 *
 * Thread: one at a time. Always NUL-terminated; may hold NULs of its own. Aborts when memory is
 * exhausted.
 */
#ifndef SHOAL_BASE_TEXT_H
#define SHOAL_BASE_TEXT_H

#include "base/bytes.h"

#include <stdarg.h>

struct text {
    char *ptr; /* never NULL after text_init */
    size_t len;
    size_t cap; /* bytes allocated; 0 while ptr is the shared empty string */
};

void text_init(struct text *text);
void text_fini(struct text *text);
void text_clear(struct text *text);
/* Room for n more bytes and a NUL. */
void text_reserve(struct text *text, size_t n);
void text_append(struct text *text, const void *ptr, size_t n);
void text_append_text(struct text *text, const char *suffix);
void text_append_bytes(struct text *text, struct bytes suffix);
void text_append_char(struct text *text, char c);
void text_appendf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vappendf(struct text *text, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Hands the memory over: NUL-terminated, to be freed by the caller. The text is empty afterwards.
 */
char *text_take(struct text *text);

static inline struct bytes text_bytes(const struct text *text) {
    return bytes_make(text->ptr, text->len);
}

#endif
