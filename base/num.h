/* SPDX-License-Identifier: BSD-3-Clause */
/* num: numbers from text and text from numbers, as the protocol and the commands read and write
 * them.
 *
 * Thread: any; pure. No function depends on the locale being anything but C.
 * Parsing takes the whole slice or refuses it, and leaves *ret alone when it refuses. Formatting
 * writes no NUL.
 */
#ifndef SHOAL_BASE_NUM_H
#define SHOAL_BASE_NUM_H

#include "base/bytes.h"

#include <stdint.h>

#define NUM_I64_BYTES         24
#define NUM_DOUBLE_BYTES      32
#define NUM_LONG_DOUBLE_BYTES 5120

/* Strict decimal: no spaces, no '+', no leading zeros, no "-0". */
bool num_parse_i64(struct bytes text, int64_t *ret);
/* 0 to 2^64 - 1, as cursors and identifiers are read: what num_parse_i64 takes and is not negative,
 * and beside that whatever strtoull takes whole, with a leading space, sign or zeros. Both see only
 * what stands before a NUL, as C does. */
bool num_parse_u64(struct bytes text, uint64_t *ret);
/* A score or an increment: decimal or hexadecimal, "inf" and "infinity" in any case; NaN, a leading
 * space and values that overflow or underflow to zero are refused. */
bool num_parse_double(struct bytes text, double *ret);
/* The end of a range of scores: what overflows is infinite, what underflows 0; it ends before a
 * NUL, and nothing at all is 0. */
bool num_parse_limit(struct bytes text, double *ret);
bool num_parse_long_double(struct bytes text, long double *ret);
/* A size: digits and a unit of b, k, kb, m, mb, g, gb in any case (k is 1000, kb is 1024).
 * Nothing at all is 0. Refused when it exceeds 64 bits. */
bool num_parse_memory(struct bytes text, uint64_t *ret);
/* As C's atoi reads it: blanks, a sign, digits, no matter what follows; of what is too large, the
 * low half of the nearest long. */
int num_parse_loose(struct bytes text);

/* Each returns how many bytes it wrote into `buf`, which has room for NUM_..._BYTES. */
size_t num_format_i64(char *buf, int64_t value);
size_t num_format_u64(char *buf, uint64_t value);
/* The shortest decimal text that reads back as the same double. */
size_t num_format_double(char *buf, double value);
/* The same, but a whole number with many zeros at its end has an exponent, and one beyond 2^53 no
 * more digits than it needs. */
size_t num_format_shortest(char *buf, double value);
/* Fixed point with at most 17 digits after the point, as INCRBYFLOAT answers. */
size_t num_format_long_double(char *buf, long double value);

/* "00" to "99", one after the other. */
extern const char num_digit_pairs[200];

/* num_format_u64 with the short numbers, which most lengths and counts are, in line. */
static inline size_t num_put_u64(char *buf, uint64_t value) {
    if (value < 10) {
        buf[0] = (char)('0' + value);
        return 1;
    }
    if (value < 100) {
        memcpy(buf, num_digit_pairs + value * 2, 2);
        return 2;
    }
    return num_format_u64(buf, value);
}

#endif
