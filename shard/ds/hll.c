/* SPDX-License-Identifier: BSD-3-Clause */
/* hll: headers, hashes and counts. See the header. */
#include "shard/ds/hll_private.h"

#include "base/check.h"

#include <assert.h>
#include <math.h>

/* Bits of a hash that choose a register, and those that are looked at for zeros. */
#define INDEX_BITS 14
#define ZERO_BITS  50

static_assert(1 << INDEX_BITS == HLL_REGISTERS, "all of them are chosen");
static_assert(HLL_DENSE_BYTES <= HLL_BYTES_MAX, "one room for both encodings");

/* ---- The header ---- */

enum hll_kind hll_kind(struct bytes bytes) {
    if (bytes.len < HLL_HEADER_BYTES || memcmp(bytes.ptr, "HYLL", 4) != 0) {
        return HLL_NONE;
    }
    switch (bytes.ptr[HLL_AT_ENCODING]) {
    case 0:
        return bytes.len == HLL_DENSE_BYTES ? HLL_DENSE : HLL_NONE;
    case 1:
        return HLL_SPARSE;
    default:
        return HLL_NONE;
    }
}

bool hll_cached(struct bytes bytes, uint64_t *ret_count) {
    uint64_t count = 0;
    for (unsigned i = 8; i > 0; i--) {
        count = count << 8 | (unsigned char)bytes.ptr[HLL_AT_COUNT + i - 1];
    }
    *ret_count = count;
    return count >> 63 == 0;
}

void hll_put_cache(char *bytes, uint64_t count) {
    for (unsigned i = 0; i < 8; i++, count >>= 8) {
        bytes[HLL_AT_COUNT + i] = (char)count;
    }
}

void hll_drop_cache(char *bytes) {
    bytes[HLL_AT_COUNT + 7] = (char)(bytes[HLL_AT_COUNT + 7] | 0x80);
}

/* ---- Hashes ---- */

/* MurmurHash64A (Appleby), with the seed that makes the bytes the same everywhere. */
static uint64_t hash(struct bytes text) {
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    const unsigned char *p = (const unsigned char *)text.ptr;
    uint64_t h = UINT64_C(0xadc83b19) ^ (text.len * m);
    for (size_t n = text.len / 8; n > 0; n--, p += 8) {
        uint64_t k = hll_load_word(p);
        k *= m;
        k ^= k >> 47;
        k *= m;
        h ^= k;
        h *= m;
    }
    if (text.len % 8 > 0) {
        for (size_t i = text.len % 8; i > 0; i--) {
            h ^= (uint64_t)p[i - 1] << (8 * (i - 1));
        }
        h *= m;
    }
    h ^= h >> 47;
    h *= m;
    h ^= h >> 47;
    return h;
}

/* The register of an element and the value that it must have at least, 1 to ZERO_BITS + 1. */
static unsigned place_of(struct bytes element, uint32_t *ret_index) {
    uint64_t h = hash(element);
    *ret_index = h & (HLL_REGISTERS - 1);
    return (unsigned)__builtin_ctzll(h >> INDEX_BITS | UINT64_C(1) << ZERO_BITS) + 1;
}

/* ---- Counts ---- */

/* Two series of the paper, each summed until it no longer changes. */
static double sigma(double x) {
    if (x == 1) {
        return INFINITY;
    }
    double y = 1, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (before != z);
    return z;
}

static double tau(double x) {
    if (x == 0 || x == 1) {
        return 0;
    }
    double y = 1, z = 1 - x, before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (before != z);
    return z / 3;
}

static uint64_t estimate(const struct hll_histogram *histogram) {
    const double m = HLL_REGISTERS;
    double z = m * tau((m - histogram->of[ZERO_BITS + 1]) / m);
    for (unsigned value = ZERO_BITS; value >= 1; value--) {
        z += histogram->of[value];
        z *= 0.5;
    }
    z += m * sigma(histogram->of[0] / m);
    double count = 0.721347520444481703680 * m * m / z; /* 1 / (2 ln 2) */
    /* Only registers that no hash makes come to nothing; then this is what all others answer. */
    return count < 0x1p63 ? (uint64_t)round(count) : UINT64_C(1) << 63;
}

static const unsigned char *registers_of(const char *bytes) {
    return (const unsigned char *)bytes + HLL_HEADER_BYTES;
}

bool hll_count(struct bytes bytes, uint64_t *ret_count) {
    struct hll_histogram histogram = {{0}};
    if (hll_kind(bytes) == HLL_SPARSE) {
        if (!hll_sparse_histogram(bytes, &histogram)) {
            return false;
        }
    } else {
        unsigned char registers[HLL_REGISTERS];
        hll_unpack(registers_of(bytes.ptr), registers);
        hll_dense_histogram(registers, &histogram);
    }
    *ret_count = estimate(&histogram);
    return true;
}

uint64_t hll_registers_count(const struct hll_registers *registers) {
    struct hll_histogram histogram = {{0}};
    hll_dense_histogram(registers->value, &histogram);
    return estimate(&histogram);
}

/* ---- Adding ---- */

bool hll_dense_lacks(struct bytes bytes, struct bytes element) {
    check_slow(hll_kind(bytes) == HLL_DENSE);
    uint32_t index;
    unsigned value = place_of(element, &index);
    return hll_packed_get(registers_of(bytes.ptr), index) < value;
}

static bool packed_raise(unsigned char *packed, uint32_t index, unsigned value) {
    if (hll_packed_get(packed, index) >= value) {
        return false;
    }
    hll_packed_put(packed, index, value);
    return true;
}

bool hll_dense_add(char *bytes, struct bytes element) {
    uint32_t index;
    unsigned value = place_of(element, &index);
    return packed_raise((unsigned char *)bytes + HLL_HEADER_BYTES, index, value);
}

void hll_make(struct hll *hll) {
    static const unsigned char empty[HLL_HEADER_BYTES + 2] = {
        'H',  'Y', 'L', 'L', [HLL_AT_ENCODING] = 1, [HLL_HEADER_BYTES] = 0x7F,
        0xFF, /* one run of zeros */
    };
    memcpy(hll->bytes, empty, sizeof empty);
    hll->length = sizeof empty;
}

bool hll_load(struct hll *hll, struct bytes bytes) {
    if (bytes.len > HLL_BYTES_MAX) {
        return false;
    }
    memcpy(hll->bytes, bytes.ptr, bytes.len);
    hll->length = bytes.len;
    return true;
}

static bool is_dense(const struct hll *hll) {
    return hll->bytes[HLL_AT_ENCODING] == 0;
}

static enum hll_change raise_one(struct hll *hll, uint32_t index, unsigned value, size_t sparse_max,
                                 struct hll_place *place) {
    if (!is_dense(hll)) {
        return hll_sparse_raise(hll, index, value, sparse_max, place);
    }
    return packed_raise(hll->bytes + HLL_HEADER_BYTES, index, value) ? HLL_CHANGED : HLL_SAME;
}

enum hll_change hll_add(struct hll *hll, struct bytes element, size_t sparse_max) {
    uint32_t index;
    unsigned value = place_of(element, &index);
    struct hll_place place = {0};
    enum hll_change change = raise_one(hll, index, value, sparse_max, &place);
    if (change == HLL_CHANGED) {
        hll_drop_cache((char *)hll->bytes);
    }
    return change;
}

enum hll_change hll_raise(struct hll *hll, const struct hll_registers *registers,
                          size_t sparse_max) {
    enum hll_change all = HLL_SAME;
    struct hll_place place = {0};
    for (uint32_t i = 0; i < HLL_REGISTERS && all != HLL_CORRUPT; i++) {
        if (registers->value[i] > 0) {
            enum hll_change one = raise_one(hll, i, registers->value[i], sparse_max, &place);
            all = one == HLL_SAME ? all : one;
        }
    }
    if (all == HLL_CHANGED) {
        hll_drop_cache((char *)hll->bytes);
    }
    return all;
}

bool hll_to_dense(struct hll *hll) {
    if (is_dense(hll)) {
        return true;
    }
    unsigned char registers[HLL_REGISTERS] = {0};
    if (!hll_sparse_merge(registers, hll_bytes(hll))) {
        return false;
    }
    hll->bytes[HLL_AT_ENCODING] = 0;
    hll_pack(registers, hll->bytes + HLL_HEADER_BYTES);
    hll->length = HLL_DENSE_BYTES;
    return true;
}

/* ---- Registers ---- */

bool hll_merge(struct hll_registers *registers, struct bytes bytes) {
    if (hll_kind(bytes) == HLL_SPARSE) {
        return hll_sparse_merge(registers->value, bytes);
    }
    unsigned char other[HLL_REGISTERS];
    hll_unpack(registers_of(bytes.ptr), other);
    hll_raise_all(registers->value, other);
    return true;
}

void hll_put_registers(char *bytes, const struct hll_registers *registers) {
    hll_pack(registers->value, (unsigned char *)bytes + HLL_HEADER_BYTES);
}
