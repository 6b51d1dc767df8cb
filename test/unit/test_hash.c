/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/hash.h"
#include "base/random.h"

#include <criterion/criterion.h>

static void make_secret(unsigned char secret[HASH_SECRET_BYTES], uint64_t seed) {
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < HASH_SECRET_BYTES; i++) {
        secret[i] = (unsigned char)rng_next(&rng);
    }
}

Test(hash, depends_on_every_byte_the_length_and_the_secret) {
    unsigned char secret[HASH_SECRET_BYTES], other[HASH_SECRET_BYTES];
    make_secret(secret, 1);
    make_secret(other, 2);
    char key[300] = {0};
    for (size_t len = 1; len <= sizeof(key); len += 7) {
        uint64_t hash = hash_bytes(secret, bytes_make(key, len));
        cr_assert_eq(hash, hash_bytes(secret, bytes_make(key, len)));
        cr_assert_neq(hash, hash_bytes(secret, bytes_make(key, len - 1)));
        cr_assert_neq(hash, hash_bytes(other, bytes_make(key, len)));
        for (size_t i = 0; i < len; i++) {
            key[i] ^= 1;
            cr_assert_neq(hash, hash_bytes(secret, bytes_make(key, len)));
            key[i] ^= 1;
        }
    }
}

Test(hash, takes_the_empty_slice) {
    unsigned char secret[HASH_SECRET_BYTES];
    make_secret(secret, 1);
    cr_assert_eq(hash_bytes(secret, bytes_make(NULL, 0)), hash_bytes(secret, BYTES("")));
}

Test(hash, does_not_need_aligned_keys) {
    unsigned char secret[HASH_SECRET_BYTES];
    make_secret(secret, 1);
    char room[64];
    uint64_t first = 0;
    for (int shift = 0; shift < 8; shift++) {
        memcpy(room + shift, "a key of some length, not aligned", 33);
        uint64_t hash = hash_bytes(secret, bytes_make(room + shift, 33));
        first = shift ? first : hash;
        cr_assert_eq(hash, first);
    }
}
