/* SPDX-License-Identifier: BSD-3-Clause */
/* sha1: in one go over bytes in memory; the last block is built in a buffer, the others are read in
 * place. */
#include "base/sha1.h"

#include <stdint.h>

static uint32_t rotate(uint32_t x, int k) {
    return (x << k) | (x >> (32 - k));
}

static uint32_t load(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store(unsigned char *p, uint32_t x) {
    p[0] = (unsigned char)(x >> 24);
    p[1] = (unsigned char)(x >> 16);
    p[2] = (unsigned char)(x >> 8);
    p[3] = (unsigned char)x;
}

static void block(uint32_t state[5], const unsigned char *p) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) {
        w[i] = load(p + 4 * i);
    }
    for (int i = 16; i < 80; i++) {
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(struct bytes data, unsigned char ret[SHA1_BYTES]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *p = (const unsigned char *)data.ptr;
    size_t left = data.len;
    for (; left >= 64; left -= 64, p += 64) {
        block(state, p);
    }
    unsigned char last[128] = {0};
    if (left > 0) {
        memcpy(last, p, left);
    }
    last[left] = 0x80;
    size_t end = left < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)data.len * 8;
    store(last + end - 8, (uint32_t)(bits >> 32));
    store(last + end - 4, (uint32_t)bits);
    block(state, last);
    if (end == 128) {
        block(state, last + 64);
    }
    for (int i = 0; i < 5; i++) {
        store(ret + 4 * i, state[i]);
    }
}
