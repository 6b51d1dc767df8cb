/* SPDX-License-Identifier: BSD-3-Clause */
/* Floating point. */
#include "base/must.h"
#include "base/num.h"

#include "base/check.h"
#include "base/num_shortest.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* strtod and its like want a NUL behind the text; most numbers are short enough for the stack. */
#define NUM_STACK_BYTES 256

static char *num_copy(struct bytes text, char stack[NUM_STACK_BYTES]) {
    char *copy = text.len < NUM_STACK_BYTES ? stack : must_malloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

static bool num_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Up to 19 digits with a point: their value is digits * 10^-fraction. False for anything else. */
static bool num_scan_decimal(const char *p, const char *end, uint64_t *ret_digits,
                             size_t *ret_fraction) {
    uint64_t digits = 0;
    const char *point = NULL;
    size_t count = 0;
    if (end - p > 20) {
        return false;
    }
    for (const char *s = p; s < end; s++) {
        unsigned digit = (unsigned char)(*s - '0');
        if (digit <= 9) {
            digits = digits * 10 + digit;
            count++;
        } else if (*s == '.' && !point) {
            point = s;
        } else {
            return false;
        }
    }
    *ret_digits = digits;
    *ret_fraction = point ? (size_t)(end - point - 1) : 0;
    return count > 0 && count <= 19;
}

/* Most numbers are short: digits below 2^53 and a power of ten up to 22 are both exact doubles, so
 * that their quotient is rounded once, hence right (W. Clinger, "How to read floating point numbers
 * accurately", 1990). */
static bool num_parse_short(struct bytes text, double *ret) {
    static const double powers[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = text.ptr;
    bool negative = *p == '-';
    uint64_t digits;
    size_t fraction;
    if (!num_scan_decimal(p + (negative || *p == '+'), p + text.len, &digits, &fraction) ||
        digits > (uint64_t)1 << 53) {
        return false;
    }
    double value = (double)digits / powers[fraction];
    *ret = negative ? -value : value;
    return true;
}

/* What is too large or too small for a double is refused, or infinite or 0. */
static bool num_parse(struct bytes text, bool saturates, double *ret) {
    if (text.len == 0 || num_space(text.ptr[0])) {
        return false;
    }
    if (num_parse_short(text, ret)) {
        return true;
    }
    if (memchr(text.ptr, 'x', text.len) || memchr(text.ptr, 'X', text.len)) {
        return false;
    }
    char stack[NUM_STACK_BYTES];
    char *copy = num_copy(text, stack);
    char *end;
    errno = 0;
    double value = strtod(copy, &end);
    bool whole = end == copy + text.len;
    if (copy != stack) {
        free(copy);
    }
    bool out_of_range = errno == ERANGE && (fabs(value) == HUGE_VAL || value == 0);
    if (!whole || (out_of_range && !saturates) || isnan(value)) {
        return false;
    }
    *ret = value;
    return true;
}

bool num_parse_double(struct bytes text, double *ret) {
    return num_parse(text, false, ret);
}

bool num_parse_limit(struct bytes text, double *ret) {
    const char *nul = memchr(text.ptr, 0, text.len);
    size_t length = nul != NULL ? (size_t)(nul - text.ptr) : text.len;
    if (length == 0) {
        *ret = 0;
        return true;
    }
    return num_parse(bytes_make(text.ptr, length), true, ret);
}

bool num_parse_long_double(struct bytes text, long double *ret) {
    if (text.len == 0 || text.len >= NUM_LONG_DOUBLE_BYTES || num_space(text.ptr[0])) {
        return false;
    }
    char stack[NUM_STACK_BYTES];
    char *copy = num_copy(text, stack);
    char *end;
    errno = 0;
    long double value = strtold(copy, &end);
    bool whole = end == copy + text.len;
    if (copy != stack) {
        free(copy);
    }
    bool out_of_range = errno == ERANGE && (fabsl(value) == HUGE_VALL || value == 0);
    if (!whole || out_of_range || isnan(value)) {
        return false;
    }
    *ret = value;
    return true;
}

/* Digits with their point behind the first `point` of them, laid out: plain while few zeros have to
 * be made up, otherwise with an exponent. The bounds are those that clients know. */
static size_t num_layout(char *buf, const char *digits, int n, int point) {
    char *p = buf;
    int zeros = point - n; /* behind the digits */
    int exponent = abs(point - 1);
    if (zeros >= 0 && zeros < 8) {
        memcpy(p, digits, (size_t)n);
        memset(p + n, '0', (size_t)zeros);
        return (size_t)point;
    }
    if (zeros < 0 && (zeros > -7 || exponent < 4)) {
        if (point > 0) {
            memcpy(p, digits, (size_t)point);
            p[point] = '.';
            memcpy(p + point + 1, digits + point, (size_t)(n - point));
            return (size_t)n + 1;
        }
        memcpy(p, "0.", 2);
        memset(p + 2, '0', (size_t)-point);
        memcpy(p + 2 - point, digits, (size_t)n);
        return (size_t)(2 - point + n);
    }
    *p++ = digits[0];
    if (n > 1) {
        *p++ = '.';
        memcpy(p, digits + 1, (size_t)n - 1);
        p += n - 1;
    }
    *p++ = 'e';
    *p++ = point < 1 ? '-' : '+';
    p += num_format_u64(p, (uint64_t)exponent);
    return (size_t)(p - buf);
}

static bool is_whole(double value) {
    return value >= -0x1p62 && value <= 0x1p62 && value == (double)(int64_t)value;
}

size_t num_format_double(char *buf, double value) {
    if (!is_whole(value)) {
        return num_format_shortest(buf, value);
    }
    size_t sign = signbit(value) != 0;
    buf[0] = '-';
    return sign + num_format_u64(buf + sign, (uint64_t)fabs(value));
}

size_t num_format_shortest(char *buf, double value) {
    if (isnan(value)) {
        memcpy(buf, "nan", 3);
        return 3;
    }
    size_t sign = signbit(value) != 0;
    if (sign) {
        *buf++ = '-';
        value = -value;
    }
    if (isinf(value)) {
        memcpy(buf, "inf", 3);
        return sign + 3;
    }
    if (value == 0) {
        buf[0] = '0';
        return sign + 1;
    }
    char digits[20];
    int power;
    int n = num_shortest(value, digits, &power);
    return sign + num_layout(buf, digits, n, n + power);
}

size_t num_format_long_double(char *buf, long double value) {
    if (isinf(value)) {
        memcpy(buf, value > 0 ? "inf" : "-inf", value > 0 ? 3 : 4);
        return value > 0 ? 3 : 4;
    }
    int n = snprintf(buf, NUM_LONG_DOUBLE_BYTES, "%.17Lf", value);
    check(n > 0 && n < NUM_LONG_DOUBLE_BYTES);
    if (memchr(buf, '.', (size_t)n)) {
        while (buf[n - 1] == '0') {
            n--;
        }
        n -= buf[n - 1] == '.';
    }
    if (n == 2 && memcmp(buf, "-0", 2) == 0) {
        buf[0] = '0';
        n = 1;
    }
    return (size_t)n;
}
