/* SPDX-License-Identifier: BSD-3-Clause */
/* Integers and sizes. Parsing is on the path of every header and of many arguments, so it is one
 * loop without a branch on overflow per digit: up to 18 digits cannot overflow, and longer text
 * takes a checked tail. */
#include "base/num.h"

const char num_digit_pairs[200] = {"000102030405060708091011121314151617181920212223242526272829303"
                                   "13233343536373839404142434445464748"
                                   "495051525354555657585960616263646566676869707172737475767778798"
                                   "08182838485868788899091929394959697"
                                   "9899"};

/* 4 to 8 digits, all at once: text in a word, its first byte lowest, filled up with zeros in front.
 * Two loads that may overlap make it; then neighbours are put together, to numbers of two digits,
 * of four, of eight. */
static bool num_parse_word(const char *p, size_t n, uint64_t *ret) {
    uint32_t first, last;
    memcpy(&first, p, 4);
    memcpy(&last, p + n - 4, 4);
    unsigned empty = (unsigned)(8 - n) * 8;
    uint64_t word = (uint64_t)last << 32 | (uint64_t)first << empty;
    word |= UINT64_C(0x30303030) & ((UINT64_C(1) << empty) - 1);
    uint64_t digits = word - UINT64_C(0x3030303030303030);
    /* Above '9', or below '0': a high bit, of the byte itself or of the one that it took from. */
    if (((digits | (digits + UINT64_C(0x7676767676767676)) | word) &
         UINT64_C(0x8080808080808080))) {
        return false;
    }
    digits = digits * 10 + (digits >> 8);
    uint64_t even = (digits & UINT64_C(0x000000FF000000FF)) * (100 + (UINT64_C(1000000) << 32));
    uint64_t odd = (digits >> 16 & UINT64_C(0x000000FF000000FF)) * (1 + (UINT64_C(10000) << 32));
    *ret = (even + odd) >> 32;
    return true;
}

/* 1 to 20 digits without a leading zero. */
static bool num_parse_digits(const char *p, size_t n, uint64_t *ret) {
    if (n == 0 || n > 20 || (unsigned char)(p[0] - '1') > 8) {
        return false;
    }
    if (n >= 4 && n <= 8) {
        return num_parse_word(p, n, ret);
    }
    size_t safe = n < 18 ? n : 18;
    uint64_t value = 0;
    for (size_t i = 0; i < safe; i++) {
        unsigned digit = (unsigned char)(p[i] - '0');
        if (digit > 9) {
            return false;
        }
        value = value * 10 + digit;
    }
    for (size_t i = safe; i < n; i++) {
        unsigned digit = (unsigned char)(p[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *ret = value;
    return true;
}

bool num_parse_i64(struct bytes text, int64_t *ret) {
    if (text.len == 0) {
        return false;
    }
    if (text.ptr[0] == '0') {
        if (text.len != 1) {
            return false;
        }
        *ret = 0;
        return true;
    }
    bool negative = text.ptr[0] == '-';
    uint64_t value;
    if (!num_parse_digits(text.ptr + negative, text.len - negative, &value)) {
        return false;
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret = (int64_t)(negative ? 0 - value : value);
    return true;
}

bool num_parse_u64(struct bytes text, uint64_t *ret) {
    int64_t plain;
    text.len = text.len > 0 ? strnlen(text.ptr, text.len) : 0;
    if (num_parse_i64(text, &plain)) {
        if (plain >= 0) {
            *ret = (uint64_t)plain;
        }
        return plain >= 0;
    }
    size_t i = 0;
    while (i < text.len && (text.ptr[i] == ' ' || (text.ptr[i] >= '\t' && text.ptr[i] <= '\r'))) {
        i++;
    }
    bool negative = i < text.len && text.ptr[i] == '-';
    i += negative || (i < text.len && text.ptr[i] == '+');
    size_t digits = i;
    uint64_t value = 0;
    for (; i < text.len; i++) {
        unsigned digit = (unsigned char)(text.ptr[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    if (i == digits) {
        return false;
    }
    *ret = negative ? 0 - value : value;
    return true;
}

static uint64_t num_unit(struct bytes unit) {
    static const struct {
        struct bytes name;
        uint64_t factor;
    } units[] = {
        {{"", 0}, 1},           {{"b", 1}, 1},           {{"k", 1}, 1000},
        {{"kb", 2}, 1024},      {{"m", 1}, 1000000},     {{"mb", 2}, 1024 * 1024},
        {{"g", 1}, 1000000000}, {{"gb", 2}, 1073741824},
    };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (bytes_equal_nocase(unit, units[i].name)) {
            return units[i].factor;
        }
    }
    return 0;
}

bool num_parse_memory(struct bytes text, uint64_t *ret) {
    size_t digits = 0;
    uint64_t value = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[digits] - '0'), &value)) {
            return false;
        }
        digits++;
    }
    uint64_t factor = num_unit(bytes_make(text.ptr + digits, text.len - digits));
    if (factor == 0 || (digits == 0 && text.len) || __builtin_mul_overflow(value, factor, &value)) {
        return false;
    }
    *ret = value;
    return true;
}

static size_t num_digits(uint64_t value) {
    static const uint64_t powers[20] = {
        0,
        10u,
        100u,
        1000u,
        10000u,
        100000u,
        1000000u,
        10000000u,
        100000000u,
        1000000000u,
        10000000000u,
        100000000000u,
        1000000000000u,
        10000000000000u,
        100000000000000u,
        1000000000000000u,
        10000000000000000u,
        100000000000000000u,
        1000000000000000000u,
        10000000000000000000u,
    };
    /* log10 from log2: 1233 / 4096 is just above log10(2). */
    size_t guess = (size_t)((64 - __builtin_clzll(value | 1)) * 1233) >> 12;
    return guess + (value >= powers[guess]);
}

size_t num_format_u64(char *buf, uint64_t value) {
    size_t n = num_digits(value | 1);
    char *p = buf + n;
    while (value >= 100) {
        p -= 2;
        memcpy(p, num_digit_pairs + (value % 100) * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        memcpy(p - 2, num_digit_pairs + value * 2, 2);
    } else {
        p[-1] = (char)('0' + value);
    }
    return n;
}

size_t num_format_i64(char *buf, int64_t value) {
    if (value >= 0) {
        return num_format_u64(buf, (uint64_t)value);
    }
    buf[0] = '-';
    return 1 + num_format_u64(buf + 1, 0 - (uint64_t)value);
}

int num_parse_loose(struct bytes text) {
    size_t i = 0;
    while (i < text.len && (text.ptr[i] == ' ' || (text.ptr[i] >= '\t' && text.ptr[i] <= '\r'))) {
        i++;
    }
    bool negative = i < text.len && text.ptr[i] == '-';
    i += negative || (i < text.len && text.ptr[i] == '+');
    int64_t value = 0;
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        int digit = text.ptr[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            value = negative ? INT64_MIN : INT64_MAX;
            break;
        }
    }
    return (int)(uint32_t)value;
}
