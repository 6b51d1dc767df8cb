/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bits.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define SAMPLE_BYTES 20000

/* ---- One bit at a time ---- */

static bool bit_at(struct bytes bytes, uint64_t at) {
    return at / 8 < bytes.len && (unsigned char)bytes.ptr[at / 8] >> (7 - at % 8) & 1;
}

static uint64_t count_slowly(struct bytes bytes, uint64_t first, uint64_t end) {
    uint64_t count = 0;
    for (; first < end; first++) {
        count += bit_at(bytes, first);
    }
    return count;
}

static uint64_t find_slowly(struct bytes bytes, bool value, uint64_t first, uint64_t end) {
    while (first < end && bit_at(bytes, first) != value) {
        first++;
    }
    return first;
}

/* Random bytes; `rare`: nearly all of them zeros, or ones. */
static char *sample(struct rng *random, size_t bytes, int rare) {
    char *sample = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++) {
        sample[i] = (char)rng_next(random);
    }
    if (rare) {
        memset(sample, rare > 0 ? 0xFF : 0, bytes);
        for (size_t i = 0; i < bytes / 300 + 1; i++) {
            sample[rng_next(random) % (bytes + 1)] ^= (char)(1 << rng_next(random) % 8);
        }
    }
    return sample;
}

/* ---- Counting and searching ---- */

Test(bits, every_level_counts_alike_at_every_length_and_place) {
    struct rng random;
    rng_seed(&random, 1);
    for (size_t n = 0; n < 1200; n += n < 300 ? 1 : 37) {
        char *data = sample(&random, n + 64, 0);
        for (size_t at = 0; at < 64; at += 7) {
            struct bytes bytes = bytes_make(data + at, n);
            uint64_t expected = count_slowly(bytes, 0, n * 8);
            cr_assert_eq(bits_count(bytes), expected);
            for (enum cpu_level level = CPU_PLAIN; level <= cpu_level(); level++) {
                cr_assert_eq(bits_count_by(level, bytes), expected, "level %d, %zu", level, n);
            }
        }
        free(data);
    }
}

/* Sums of bytes would overflow first here. */
Test(bits, ones_alone_are_counted) {
    size_t n = 1 << 20;
    char *data = malloc(n);
    memset(data, 0xFF, n);
    for (enum cpu_level level = CPU_PLAIN; level <= cpu_level(); level++) {
        cr_assert_eq(bits_count_by(level, bytes_make(data, n)), n * 8);
        cr_assert_eq(bits_count_by(level, bytes_make(data, n - 1)), n * 8 - 8);
    }
    free(data);
}

Test(bits, parts_are_counted_and_searched_as_bit_by_bit) {
    struct rng random;
    rng_seed(&random, 2);
    for (int round = 0; round < 3000; round++) {
        size_t n = rng_next(&random) % 300;
        char *data = sample(&random, n, round % 3 - 1);
        struct bytes bytes = bytes_make(data, n);
        uint64_t a = rng_next(&random) % (n * 8 + 1), b = rng_next(&random) % (n * 8 + 1);
        uint64_t first = a < b ? a : b, end = a < b ? b : a;
        cr_assert_eq(bits_count_between(bytes, first, end), count_slowly(bytes, first, end));
        cr_assert_eq(bits_find(bytes, false, first, end), find_slowly(bytes, false, first, end));
        cr_assert_eq(bits_find(bytes, true, first, end), find_slowly(bytes, true, first, end));
        free(data);
    }
}

/* ---- Combining ---- */

static unsigned char combined(enum bits_op op, const struct bytes *inputs, uint32_t count,
                              size_t at) {
    unsigned result = 0;
    for (uint32_t i = 0; i < count; i++) {
        unsigned byte = at < inputs[i].len ? (unsigned char)inputs[i].ptr[at] : 0;
        if (op == BITS_NOT) {
            return (unsigned char)~byte;
        }
        result = i == 0           ? byte
                 : op == BITS_AND ? result & byte
                 : op == BITS_OR  ? result | byte
                                  : result ^ byte;
    }
    return (unsigned char)result;
}

static void check_combination(struct rng *random, enum bits_op op, uint32_t count) {
    struct bytes inputs[5];
    char *data[5];
    size_t longest = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t n =
            rng_next(random) % 4 == 0 ? rng_next(random) % SAMPLE_BYTES : rng_next(random) % 200;
        data[i] = sample(random, n + 8, 0);
        inputs[i] = bytes_make(data[i] + i, n);
        longest = n > longest ? n : longest;
    }
    char *to = malloc(longest + 2);
    for (enum cpu_level level = CPU_PLAIN; level <= cpu_level(); level++) {
        memset(to, 'x', longest + 2);
        bits_combine_by(level, op, inputs, count, to + 1, longest);
        for (size_t at = 0; at < longest; at++) {
            cr_assert_eq((unsigned char)to[at + 1], combined(op, inputs, count, at));
        }
        cr_assert(to[0] == 'x' && to[longest + 1] == 'x');
    }
    free(to);
    for (uint32_t i = 0; i < count; i++) {
        free(data[i]);
    }
}

Test(bits, inputs_of_all_lengths_combine_with_zeros_behind_them) {
    struct rng random;
    rng_seed(&random, 3);
    for (int round = 0; round < 100; round++) {
        for (enum bits_op op = BITS_AND; op <= BITS_NOT; op++) {
            check_combination(&random, op, op == BITS_NOT ? 1 : 1 + (uint32_t)round % 5);
        }
    }
}

/* ---- Fields ---- */

Test(bits, a_field_of_any_width_at_any_bit_is_read_as_it_was_put) {
    struct rng random;
    rng_seed(&random, 4);
    for (unsigned width = 1; width <= 64; width++) {
        for (uint64_t first = 0; first < 80; first++) {
            char data[18], before[18];
            for (size_t i = 0; i < sizeof data; i++) {
                data[i] = before[i] = (char)rng_next(&random);
            }
            uint64_t number = rng_next(&random);
            bits_put_field(data, first, width, number);
            struct bytes after = bytes_make(data, sizeof data);
            cr_assert_eq(bits_field(after, first, width), number & (UINT64_MAX >> (64 - width)));
            for (uint64_t at = 0; at < sizeof data * 8; at++) {
                if (at < first || at >= first + width) {
                    cr_assert_eq(bit_at(after, at), bit_at(bytes_make(before, sizeof before), at));
                }
            }
        }
    }
}

Test(bits, what_is_not_there_reads_as_zeros) {
    struct bytes ones = BYTES("\xff\xff");
    cr_assert_eq(bits_field(ones, 8, 64), UINT64_C(0xFF00000000000000));
    cr_assert_eq(bits_field(ones, 15, 64), UINT64_C(1) << 63);
    cr_assert_eq(bits_field(ones, 16, 1), 0);
    cr_assert_eq(bits_field(ones, UINT64_C(1) << 40, 64), 0);
    cr_assert_eq(bits_field(BYTES(""), 0, 1), 0);
}
