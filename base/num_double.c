/* SPDX-License-Identifier: BSD-3-Clause */
/* Floating point. */
#include "base/num.h"

#include "base/check.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* strtod and its like want a NUL behind the text; most numbers are short enough for the stack. */
#define NUM_STACK_BYTES 256

static char *num_copy(struct bytes text, char stack[NUM_STACK_BYTES]) {
    char *copy = text.len < NUM_STACK_BYTES ? stack : malloc(text.len + 1);
    check(copy != NULL);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

static bool num_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool num_parse_double(struct bytes text, double *ret) {
    if (text.len == 0 || num_space(text.ptr[0])) {
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
    if (!whole || out_of_range || isnan(value)) {
        return false;
    }
    *ret = value;
    return true;
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

/* Digits and a decimal exponent, laid out: value = 0.d1d2d3... * 10^point. */
static size_t num_layout(char *buf, const char *digits, int n, int point) {
    char *p = buf;
    int zeros = point - n; /* behind the digits of an integer */
    if (zeros >= 0 && zeros < 8 && point <= 21) {
        memcpy(p, digits, (size_t)n);
        memset(p + n, '0', (size_t)zeros);
        return (size_t)point;
    }
    if (point > 0 && point < n) {
        memcpy(p, digits, (size_t)point);
        p[point] = '.';
        memcpy(p + point + 1, digits + point, (size_t)(n - point));
        return (size_t)n + 1;
    }
    if (point <= 0 && point > -6) {
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
    int exponent = point - 1;
    *p++ = 'e';
    *p++ = exponent < 0 ? '-' : '+';
    p += num_format_u64(p, (uint64_t)abs(exponent));
    return (size_t)(p - buf);
}

size_t num_format_double(char *buf, double value) {
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
    if (value < 9007199254740992.0 && value == (double)(int64_t)value) {
        return sign + num_format_u64(buf, (uint64_t)value);
    }
    char text[32];
    for (int precision = 14; precision <= 16; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    /* d.ddddde+xx */
    char digits[20];
    char *e = strchr(text, 'e');
    int n = 0;
    for (char *p = text; p < e; p++) {
        if (*p != '.') {
            digits[n++] = *p;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    return sign + num_layout(buf, digits, n, (int)strtol(e + 1, NULL, 10) + 1);
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
