/* SPDX-License-Identifier: BSD-3-Clause */
/* Patterns against texts: never reads outside, never takes long, and equals a recursive matcher
 * while that can finish. Input: a length byte, that much pattern, the rest is text. */
#include "base/check.h"
#include "base/glob.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Only stars, question marks and plain bytes; the definition word for word. */
static bool plain_match(struct bytes p, struct bytes t) {
    if (p.len == 0) {
        return t.len == 0;
    }
    struct bytes p_rest = bytes_make(p.ptr + 1, p.len - 1);
    struct bytes t_rest = bytes_make(t.ptr + (t.len > 0), t.len - (t.len > 0));
    if (p.ptr[0] == '*') {
        return plain_match(p_rest, t) || (t.len && plain_match(p, t_rest));
    }
    return t.len && (p.ptr[0] == '?' || p.ptr[0] == t.ptr[0]) && plain_match(p_rest, t_rest);
}

static bool is_plain(struct bytes pattern) {
    return !memchr(pattern.ptr, '[', pattern.len) && !memchr(pattern.ptr, '\\', pattern.len);
}

static char *exact_copy(const uint8_t *data, size_t n) {
    char *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    size_t pattern_len = data[0] < size - 1 ? data[0] : size - 1;
    size_t text_len = size - 1 - pattern_len;
    char *pattern_copy = exact_copy(data + 1, pattern_len);
    char *text_copy = exact_copy(data + 1 + pattern_len, text_len);
    struct bytes pattern = bytes_make(pattern_copy, pattern_len);
    struct bytes text = bytes_make(text_copy, text_len);
    bool found = glob_match(pattern, text, false);
    bool found_nocase = glob_match(pattern, text, true);
    if (is_plain(pattern)) {
        check(!found || found_nocase);
        if (pattern_len <= 8 && text_len > 0 && text_len <= 12) {
            check(found == plain_match(pattern, text));
        }
    }
    free(pattern_copy);
    free(text_copy);
    return 0;
}
