/* SPDX-License-Identifier: BSD-3-Clause */
/* hll_dense: registers of 6 bits, packed, and one in each byte.
 *
 * Four registers lie in three bytes. So whatever is done with many of them takes three bytes at a
 * time into a 32-bit lane, and moves each register's bits up to the byte of its own there:
 *
 *     packed     00000000 ddddddcc ccccbbbb bbaaaaaa
 *     registers  00dddddd 00cccccc 00bbbbbb 00aaaaaa
 */
#include "shard/ds/hll_private.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- One register ---- */

unsigned hll_packed_get(const unsigned char *packed, uint32_t index) {
    uint32_t bit = index * 6, at = bit / 8;
    /* The last register ends with the last byte: then nothing of the next is needed. */
    unsigned next = at + 1 < HLL_PACKED_BYTES ? packed[at + 1] : 0;
    return (packed[at] | next << 8) >> bit % 8 & 63;
}

void hll_packed_put(unsigned char *packed, uint32_t index, unsigned value) {
    uint32_t bit = index * 6, at = bit / 8;
    unsigned mask = 63U << bit % 8, bits = value << bit % 8;
    packed[at] = (unsigned char)((packed[at] & ~mask) | bits);
    if (mask > 255) {
        packed[at + 1] = (unsigned char)((packed[at + 1] & ~(mask >> 8)) | bits >> 8);
    }
}

/* ---- All registers ---- */

static void unpack_plain(const unsigned char *packed, unsigned char *registers) {
    for (size_t i = 0; i < HLL_REGISTERS / 4; i++, packed += 3, registers += 4) {
        uint32_t x = packed[0] | (uint32_t)packed[1] << 8 | (uint32_t)packed[2] << 16;
        registers[0] = x & 63;
        registers[1] = x >> 6 & 63;
        registers[2] = x >> 12 & 63;
        registers[3] = (unsigned char)(x >> 18);
    }
}

static void pack_plain(const unsigned char *registers, unsigned char *packed) {
    for (size_t i = 0; i < HLL_REGISTERS / 4; i++, packed += 3, registers += 4) {
        uint32_t x = registers[0] | (uint32_t)registers[1] << 6 | (uint32_t)registers[2] << 12 |
                     (uint32_t)registers[3] << 18;
        packed[0] = (unsigned char)x;
        packed[1] = (unsigned char)(x >> 8);
        packed[2] = (unsigned char)(x >> 16);
    }
}

#if defined(__x86_64__)

/* 24 packed bytes to 32 registers; from each half of the vector, 16 bytes are read. */
#define STEP_PACKED 24
#define STEP        32

__attribute__((target("avx2"))) static void unpack_avx2(const unsigned char *packed,
                                                        unsigned char *registers) {
    const __m256i spread = _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 0,
                                            1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    size_t at = 0, to = 0;
    /* The last step's second half would read past the end, and is copied first. */
    for (; to < HLL_REGISTERS; at += STEP_PACKED, to += STEP) {
        unsigned char last[STEP_PACKED + 4];
        const unsigned char *from = packed + at;
        if (to + STEP == HLL_REGISTERS) {
            memcpy(last, from, STEP_PACKED);
            memset(last + STEP_PACKED, 0, 4);
            from = last;
        }
        __m256i x =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)from)),
                                    _mm_loadu_si128((const __m128i *)(from + STEP_PACKED / 2)), 1);
        x = _mm256_shuffle_epi8(x, spread);
        __m256i a = _mm256_and_si256(x, _mm256_set1_epi32(0x3F));
        __m256i b = _mm256_and_si256(_mm256_slli_epi32(x, 2), _mm256_set1_epi32(0x3F00));
        __m256i c = _mm256_and_si256(_mm256_slli_epi32(x, 4), _mm256_set1_epi32(0x3F0000));
        __m256i d = _mm256_and_si256(_mm256_slli_epi32(x, 6), _mm256_set1_epi32(0x3F000000));
        x = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        _mm256_storeu_si256((__m256i *)(registers + to), x);
    }
}

__attribute__((target("avx2"))) static void pack_avx2(const unsigned char *registers,
                                                      unsigned char *packed) {
    const __m256i gather = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
                                            0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (size_t from = 0; from < HLL_REGISTERS; from += STEP, packed += STEP_PACKED) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(registers + from));
        __m256i a = _mm256_and_si256(x, _mm256_set1_epi32(0x3F));
        __m256i b = _mm256_and_si256(_mm256_srli_epi32(x, 2), _mm256_set1_epi32(0xFC0));
        __m256i c = _mm256_and_si256(_mm256_srli_epi32(x, 4), _mm256_set1_epi32(0x3F000));
        __m256i d = _mm256_and_si256(_mm256_srli_epi32(x, 6), _mm256_set1_epi32(0xFC0000));
        x = _mm256_shuffle_epi8(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)),
                                gather);
        unsigned char out[STEP];
        _mm256_storeu_si256((__m256i *)out, x);
        memcpy(packed, out, STEP_PACKED / 2);
        memcpy(packed + STEP_PACKED / 2, out + STEP / 2, STEP_PACKED / 2);
    }
}

__attribute__((target("avx2"))) static void raise_avx2(unsigned char *registers,
                                                       const unsigned char *other) {
    for (size_t i = 0; i < HLL_REGISTERS; i += STEP) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(registers + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(other + i));
        _mm256_storeu_si256((__m256i *)(registers + i), _mm256_max_epu8(a, b));
    }
}

#endif

void hll_unpack_by(enum cpu_level level, const unsigned char *packed, unsigned char *registers) {
#if defined(__x86_64__)
    if (level >= CPU_AVX2) {
        unpack_avx2(packed, registers);
        return;
    }
#endif
    (void)level;
    unpack_plain(packed, registers);
}

void hll_pack_by(enum cpu_level level, const unsigned char *registers, unsigned char *packed) {
#if defined(__x86_64__)
    if (level >= CPU_AVX2) {
        pack_avx2(registers, packed);
        return;
    }
#endif
    (void)level;
    pack_plain(registers, packed);
}

void hll_unpack(const unsigned char *packed, unsigned char *registers) {
    hll_unpack_by(cpu_level(), packed, registers);
}

void hll_pack(const unsigned char *registers, unsigned char *packed) {
    hll_pack_by(cpu_level(), registers, packed);
}

void hll_raise_all(unsigned char *registers, const unsigned char *other) {
#if defined(__x86_64__)
    if (cpu_level() >= CPU_AVX2) {
        raise_avx2(registers, other);
        return;
    }
#endif
    for (size_t i = 0; i < HLL_REGISTERS; i++) {
        registers[i] = registers[i] < other[i] ? other[i] : registers[i];
    }
}

/* Several sums, so that one needs not wait for the one before it: neighbours are often equal. */
void hll_dense_histogram(const unsigned char *registers, struct hll_histogram *histogram) {
    uint32_t sums[8][HLL_VALUES] = {{0}};
    for (size_t i = 0; i < HLL_REGISTERS; i += 8) {
        for (size_t j = 0; j < 8; j++) {
            sums[j][registers[i + j]]++;
        }
    }
    for (size_t value = 0; value < HLL_VALUES; value++) {
        for (size_t j = 0; j < 8; j++) {
            histogram->of[value] += sums[j][value];
        }
    }
}
