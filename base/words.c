/* SPDX-License-Identifier: BSD-3-Clause */
/* One scanner serves counting and filling, so the two cannot disagree. Unquoting never makes a word
 * longer, hence storage as long as the line always suffices. */
#include "base/words.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

struct words_scan {
    const char *pos;
    const char *end;
    char *storage; /* NULL: count only */
};

static bool words_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int words_hex(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = byte_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void words_put(struct words_scan *scan, char c) {
    if (scan->storage) {
        *scan->storage++ = c;
    }
}

static char words_unescape(char c) {
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* A backslash inside quotes at pos, which must have two bytes behind it to count: in "a\" it is the
 * closing quote that counts. False when it stands for itself. */
static bool words_escape(struct words_scan *scan, char quote) {
    const char *p = scan->pos;
    if (scan->end - p < 3 || (quote == '\'' && p[1] != '\'')) {
        return false;
    }
    if (quote == '"' && p[1] == 'x' && scan->end - p >= 4 && words_hex(p[2]) >= 0 &&
        words_hex(p[3]) >= 0) {
        words_put(scan, (char)(words_hex(p[2]) * 16 + words_hex(p[3])));
        scan->pos += 4;
        return true;
    }
    words_put(scan, quote == '"' ? words_unescape(p[1]) : p[1]);
    scan->pos += 2;
    return true;
}

/* A quoted part, pos behind the opening quote. False when it is not closed. */
static bool words_quoted(struct words_scan *scan, char quote) {
    while (scan->pos < scan->end) {
        char c = *scan->pos;
        if (c == '\\' && words_escape(scan, quote)) {
            continue;
        }
        scan->pos++;
        if (c == quote) {
            return true;
        }
        words_put(scan, c);
    }
    return false;
}

/* One word from pos on, which is no white space: plain and quoted parts without a gap. */
static bool words_one(struct words_scan *scan) {
    while (scan->pos < scan->end) {
        char c = *scan->pos;
        /* \v and \f part words only between them: a quirk that clients can see, so it stays. */
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            return true;
        }
        scan->pos++;
        if (c != '"' && c != '\'') {
            words_put(scan, c);
        } else if (!words_quoted(scan, c)) {
            return false;
        }
    }
    return true;
}

static int words_run(struct bytes line, char *storage, struct bytes *words) {
    const char *nul = line.len ? memchr(line.ptr, 0, line.len) : NULL;
    struct words_scan scan = {line.ptr, nul ? nul : line.ptr + line.len, storage};
    int count = 0;
    for (;;) {
        while (scan.pos < scan.end && words_space(*scan.pos)) {
            scan.pos++;
        }
        if (scan.pos == scan.end) {
            return count;
        }
        const char *start = scan.storage;
        if (!words_one(&scan)) {
            return -1;
        }
        if (words) {
            words[count] = bytes_make(start, (size_t)(scan.storage - start));
        }
        count++;
    }
}

int words_count(struct bytes line) {
    return words_run(line, NULL, NULL);
}

int words_fill(struct bytes line, char *storage, struct bytes *words) {
    return words_run(line, storage, words);
}

int words_split(struct bytes line, struct bytes **ret_words) {
    *ret_words = NULL;
    int count = words_count(line);
    if (count < 0) {
        return -1;
    }
    size_t slots = (size_t)count * sizeof(struct bytes);
    char *block = must_malloc(slots + line.len + (size_t)count + 1);
    struct bytes *words = (struct bytes *)(void *)block;
    check(words_fill(line, block + slots, words) == count);
    /* Spread the words from the last on, which makes place for a NUL behind each. */
    for (int i = count; i-- > 0;) {
        char *target = block + slots + (words[i].ptr - (block + slots)) + i;
        memmove(target, words[i].ptr, words[i].len);
        target[words[i].len] = 0;
        words[i].ptr = target;
    }
    *ret_words = words;
    return count;
}
