/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "shard/ds/hll.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define SPARSE_MAX 3000

static void add_number(struct hll *hll, uint64_t number, enum hll_change *ret) {
    char text[32];
    int n = snprintf(text, sizeof text, "%lu", (unsigned long)number);
    *ret = hll_add(hll, bytes_make(text, (size_t)n), SPARSE_MAX);
    cr_assert(*ret != HLL_CORRUPT);
}

static struct hll_registers registers_of(const struct hll *hll) {
    struct hll_registers registers = {{0}};
    cr_assert(hll_merge(&registers, hll_bytes(hll)));
    return registers;
}

static bool same(const struct hll_registers *a, const struct hll_registers *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* As Valkey 9.1 has them after PFADD k a b c. */
Test(hll, bytes_are_those_of_the_original) {
    struct hll hll;
    hll_make(&hll);
    const char *elements[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(hll_add(&hll, bytes_of_text(elements[i]), SPARSE_MAX), HLL_CHANGED);
        cr_assert_eq(hll_add(&hll, bytes_of_text(elements[i]), SPARSE_MAX), HLL_SAME);
    }
    struct bytes expected = BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\x80"
                                  "\x60\xf3\x80\x50\xb1\x84\x4b\xfb\x80\x42\x5a");
    cr_assert(bytes_equal(hll_bytes(&hll), expected));
    uint64_t count;
    cr_assert(!hll_cached(hll_bytes(&hll), &count));
    cr_assert(hll_count(hll_bytes(&hll), &count));
    cr_assert_eq(count, 3);
}

Test(hll, sparse_and_dense_hold_the_same_from_the_first_element_on) {
    struct hll sparse, dense;
    hll_make(&sparse);
    hll_make(&dense);
    cr_assert(hll_to_dense(&dense));
    cr_assert_eq(hll_kind(hll_bytes(&dense)), HLL_DENSE);
    for (uint64_t i = 0; i < 4000; i++) {
        enum hll_change a, b;
        add_number(&sparse, i % 3000, &a);
        add_number(&dense, i % 3000, &b);
        cr_assert_eq(a, b);
        cr_assert(hll_kind(hll_bytes(&sparse)) == HLL_DENSE || sparse.length <= SPARSE_MAX);
        if (i % 97 == 0) {
            struct hll_registers one = registers_of(&sparse), other = registers_of(&dense);
            cr_assert(same(&one, &other));
        }
    }
    cr_assert_eq(hll_kind(hll_bytes(&sparse)), HLL_DENSE);
}

/* Raising many at once makes the bytes that raising them one by one in their order makes, though it
 * does not look from the beginning each time. */
Test(hll, registers_raised_at_once_are_written_as_one_by_one) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 300; round++) {
        struct hll at_once, singly;
        hll_make(&at_once);
        enum hll_change change;
        for (uint64_t n = rng_below(&rng, 400); n > 0; n--) {
            add_number(&at_once, rng_next(&rng), &change);
        }
        singly = at_once;
        struct hll_registers registers = {{0}};
        uint64_t dense_part = rng_below(&rng, HLL_REGISTERS);
        for (uint64_t n = rng_below(&rng, 600); n > 0; n--) {
            uint64_t near = (dense_part + rng_below(&rng, 300)) % HLL_REGISTERS;
            uint64_t at = round % 2 ? near : rng_below(&rng, HLL_REGISTERS);
            registers.value[at] = (unsigned char)(1 + rng_below(&rng, round % 3 ? 3 : 32));
        }
        hll_raise(&at_once, &registers, SPARSE_MAX);
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            if (registers.value[i] > 0) {
                struct hll_registers one = {{0}};
                one.value[i] = registers.value[i];
                hll_raise(&singly, &one, SPARSE_MAX);
            }
        }
        cr_assert(bytes_equal(hll_bytes(&at_once), hll_bytes(&singly)), "round %d", round);
    }
}

Test(hll, every_level_packs_alike) {
    struct rng rng;
    rng_seed(&rng, 2);
    unsigned char registers[HLL_REGISTERS], packed[HLL_PACKED_BYTES], again[HLL_PACKED_BYTES];
    unsigned char back[HLL_REGISTERS];
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            registers[i] = (unsigned char)rng_below(&rng, 64);
        }
        hll_pack_by(CPU_PLAIN, registers, packed);
        for (enum cpu_level level = CPU_PLAIN; level <= cpu_level(); level++) {
            hll_pack_by(level, registers, again);
            cr_assert(memcmp(packed, again, sizeof packed) == 0);
            hll_unpack_by(level, packed, back);
            cr_assert(memcmp(registers, back, sizeof back) == 0);
        }
    }
}

Test(hll, a_dense_one_is_added_to_in_place) {
    struct hll a, b;
    hll_make(&a);
    cr_assert(hll_to_dense(&a));
    b = a;
    for (uint64_t i = 0; i < 20000; i++) {
        struct bytes element = bytes_make((const char *)&i, sizeof i);
        bool lacks = hll_dense_lacks(hll_bytes(&a), element);
        cr_assert_eq(hll_dense_add((char *)a.bytes, element), lacks);
        cr_assert_eq(hll_add(&b, element, 0), lacks ? HLL_CHANGED : HLL_SAME);
    }
    struct hll_registers one = registers_of(&a), other = registers_of(&b);
    cr_assert(same(&one, &other));
}

Test(hll, runs_that_cover_too_little_or_too_much_make_no_sense) {
    static const struct bytes bad[] = {
        BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\0"),
        BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f"),
        BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe"),
        BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff\x00"),
        BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xfe\x83"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hll hll;
        struct hll_registers registers;
        uint64_t count;
        cr_assert_eq(hll_kind(bad[i]), HLL_SPARSE);
        cr_assert(!hll_count(bad[i], &count));
        cr_assert(!hll_merge(&registers, bad[i]));
        cr_assert(hll_load(&hll, bad[i]));
        cr_assert(!hll_to_dense(&hll));
    }
    cr_assert_eq(hll_kind(BYTES("HYLL\1\0\0\0\0\0\0\0\0\0\0")), HLL_NONE);
    cr_assert_eq(hll_kind(BYTES("HYLL\0\0\0\0\0\0\0\0\0\0\0\0abc")), HLL_NONE);
    cr_assert_eq(hll_kind(BYTES("HYLX\1\0\0\0\0\0\0\0\0\0\0\0abc")), HLL_NONE);
    cr_assert_eq(hll_kind(BYTES("HYLL\2\0\0\0\0\0\0\0\0\0\0\0abc")), HLL_NONE);
}

/* No hash makes registers like these, and all were counted as infinitely many. */
Test(hll, registers_that_no_hash_makes_come_to_some_number) {
    struct hll_registers registers;
    memset(&registers, 63, sizeof registers);
    cr_assert_eq(hll_registers_count(&registers), UINT64_C(1) << 63);
}
