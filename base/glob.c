/* SPDX-License-Identifier: BSD-3-Clause */
/* When a byte does not fit, only the latest '*' needs to take one more byte: whatever an earlier
 * one could take, the latest can take as well. So one saved position replaces recursion, and time
 * is bounded by pattern * text where a recursive matcher may need exponential time. */
#include "base/glob.h"

struct glob_cursor {
    const char *pos;
    const char *end;
};

/* Signed whatever char is here: on ARM it is not. */
static int glob_fold(char c, bool nocase) {
    return (signed char)(nocase ? byte_lower(c) : c);
}

/* A set, pos behind its '['; leaves pos behind the set. A set that is not closed ends with the
 * pattern. Bytes compare as signed, and an escaped byte counts case even when nothing else does:
 * what clients know. */
static bool glob_set(struct glob_cursor *pattern, char text, bool nocase) {
    const char *p = pattern->pos;
    const char *end = pattern->end;
    bool negate = p < end && *p == '^';
    p += negate;
    bool found = false;
    int c = glob_fold(text, nocase);
    while (p < end && *p != ']') {
        if (*p == '\\' && end - p >= 2) {
            found |= p[1] == text;
            p += 2;
        } else if (end - p >= 3 && p[1] == '-') {
            bool swap = glob_fold(p[0], false) > glob_fold(p[2], false);
            int low = glob_fold(swap ? p[2] : p[0], nocase);
            int high = glob_fold(swap ? p[0] : p[2], nocase);
            found |= c >= low && c <= high;
            p += 3;
        } else {
            found |= glob_fold(*p, nocase) == c;
            p++;
        }
    }
    pattern->pos = p < end ? p + 1 : end;
    return found != negate;
}

/* Matches one pattern element that is not '*' against one byte and steps over it. */
static bool glob_step(struct glob_cursor *pattern, char text, bool nocase) {
    char c = *pattern->pos++;
    if (c == '?') {
        return true;
    }
    if (c == '[') {
        return glob_set(pattern, text, nocase);
    }
    if (c == '\\' && pattern->pos < pattern->end) {
        c = *pattern->pos++;
    }
    return glob_fold(c, nocase) == glob_fold(text, nocase);
}

bool glob_match(struct bytes pattern, struct bytes text, bool nocase) {
    if (text.len == 0) {
        /* No pattern but the empty one takes the empty text, not even "*", which KEYS and SCAN ask
         * for by itself. */
        return pattern.len == 0;
    }
    struct glob_cursor at = {pattern.ptr, pattern.ptr + pattern.len};
    const char *s = text.ptr;
    const char *text_end = text.ptr + text.len;
    const char *star = NULL;      /* behind the latest '*' */
    const char *star_text = NULL; /* the first byte it does not take */
    while (s < text_end) {
        if (at.pos < at.end && *at.pos == '*') {
            star = ++at.pos;
            star_text = s;
            if (star == at.end) {
                return true;
            }
            continue;
        }
        if (at.pos < at.end && glob_step(&at, *s, nocase)) {
            s++;
            continue;
        }
        if (!star) {
            return false;
        }
        at.pos = star;
        s = ++star_text;
    }
    while (at.pos < at.end && *at.pos == '*') {
        at.pos++;
    }
    return at.pos == at.end;
}
