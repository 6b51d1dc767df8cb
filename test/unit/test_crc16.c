/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/crc16.h"
#include "base/random.h"

#include <criterion/criterion.h>

/* Bit by bit, as the definition says. */
static uint16_t crc16_plain(struct bytes bytes) {
    uint16_t crc = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (uint16_t)((unsigned char)bytes.ptr[i] << 8);
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
        }
    }
    return crc;
}

Test(crc16, has_the_published_check_value) {
    cr_assert_eq(crc16(BYTES("123456789")), 0x31c3);
    cr_assert_eq(crc16(BYTES("")), 0);
    cr_assert_eq(crc16(bytes_make(NULL, 0)), 0);
}

Test(crc16, equals_the_definition_for_every_length) {
    struct rng rng;
    rng_seed(&rng, 1);
    char key[100];
    for (size_t len = 0; len <= sizeof(key); len++) {
        for (int round = 0; round < 100; round++) {
            for (size_t i = 0; i < len; i++) {
                key[i] = (char)rng_next(&rng);
            }
            cr_assert_eq(crc16(bytes_make(key, len)), crc16_plain(bytes_make(key, len)));
        }
    }
}

Test(crc16, known_keys_lie_in_known_slots) {
    cr_assert_eq(crc16(BYTES("foo")) % 16384, 12182);
    cr_assert_eq(crc16(BYTES("bar")) % 16384, 5061);
}
