/* SPDX-License-Identifier: BSD-3-Clause */
/* The way back of words.h. Locale plays no part: bytes above 126 are always escaped. */
#include "base/quote.h"

static char quote_letter(char c) {
    switch (c) {
    case '\\':
    case '"':
        return c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\a':
        return 'a';
    case '\b':
        return 'b';
    default:
        return 0;
    }
}

void quote_append(struct text *text, struct bytes bytes) {
    static const char hex[] = "0123456789abcdef";
    text_append_char(text, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        char letter = quote_letter((char)c);
        if (letter) {
            text_append(text, (char[]){'\\', letter}, 2);
        } else if (c >= ' ' && c <= '~') {
            text_append_char(text, (char)c);
        } else {
            text_append(text, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
        }
    }
    text_append_char(text, '"');
}
