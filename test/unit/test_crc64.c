/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/crc64.h"
#include "base/random.h"

#include <criterion/criterion.h>

/* Bit by bit, as the definition says. */
static uint64_t crc64_plain(struct bytes bytes) {
    uint64_t crc = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (unsigned char)bytes.ptr[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
        }
    }
    return crc;
}

Test(crc64, has_the_published_check_value) {
    cr_assert_eq(crc64(0, BYTES("123456789")), UINT64_C(0xe9c6d914c4b8d9ca));
    cr_assert_eq(crc64(0, BYTES("")), 0);
    cr_assert_eq(crc64(0, bytes_make(NULL, 0)), 0);
}

Test(crc64, equals_the_definition_for_every_length_and_in_pieces) {
    struct rng rng;
    rng_seed(&rng, 1);
    char text[100];
    for (size_t len = 0; len <= sizeof(text); len++) {
        for (int round = 0; round < 50; round++) {
            for (size_t i = 0; i < len; i++) {
                text[i] = (char)rng_next(&rng);
            }
            uint64_t whole = crc64_plain(bytes_make(text, len));
            cr_assert_eq(crc64(0, bytes_make(text, len)), whole);
            size_t cut = len > 0 ? rng_next(&rng) % len : 0;
            cr_assert_eq(crc64(crc64(0, bytes_make(text, cut)), bytes_make(text + cut, len - cut)),
                         whole);
        }
    }
}
