/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/sha256.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void digest_is(struct bytes data, const char *expected) {
    unsigned char digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    sha256(data, digest);
    for (int i = 0; i < SHA256_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    cr_assert_str_eq(hex, expected);
}

Test(sha256, examples_of_the_standard) {
    digest_is(BYTES(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_is(BYTES("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_is(BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* Lengths around the end of a block, where the length field needs a block of its own. */
Test(sha256, lengths_around_a_block) {
    char data[129];
    memset(data, 'x', sizeof(data));
    digest_is(bytes_make(data, 55),
              "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072");
    digest_is(bytes_make(data, 56),
              "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e");
    digest_is(bytes_make(data, 63),
              "75220b47218278e656f2013bb8f0c455a25eaf01e86c64924e9d48d89776d6f2");
    digest_is(bytes_make(data, 64),
              "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c");
    digest_is(bytes_make(data, 65),
              "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9");
    digest_is(bytes_make(data, 119),
              "000b48d4edf0fa7bee3c6236ecd2785baa5db4eeb8bb54341b029e0d9fa5fb0c");
    digest_is(bytes_make(data, 120),
              "13f05a0b594787f5ecd315edc96141bd3243203d1b7d4f0836f37308b276ba98");
    digest_is(bytes_make(data, 128),
              "24da1b81d0b16df6428eee73c69fcb2a93c76bc6df706f0c6670fe6bfe800464");
}
