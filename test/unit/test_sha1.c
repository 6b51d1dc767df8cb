/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/sha1.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void expect(struct bytes data, const char *hex) {
    unsigned char digest[SHA1_BYTES];
    char text[2 * SHA1_BYTES + 1];
    sha1(data, digest);
    for (int i = 0; i < SHA1_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    cr_assert_str_eq(text, hex);
}

/* The examples of FIPS 180. */
Test(sha1, gives_the_published_digests) {
    expect(BYTES(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect(BYTES("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect(BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

Test(sha1, spans_many_blocks) {
    static char a[1000000];
    memset(a, 'a', sizeof(a));
    expect(bytes_make(a, sizeof(a)), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

/* Around the lengths where padding needs another block; digests from another implementation. */
Test(sha1, pads_right_at_the_edges_of_a_block) {
    char x[64];
    memset(x, 'x', sizeof(x));
    expect(bytes_make(x, 55), "cef734ba81a024479e09eb5a75b6ddae62e6abf1");
    expect(bytes_make(x, 56), "901305367c259952f4e7af8323f480d59f81335b");
    expect(bytes_make(x, 63), "0ddc4e0cccd9a12850deb5abb0853a4425559fec");
    expect(bytes_make(x, 64), "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163");
}
