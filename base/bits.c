/* SPDX-License-Identifier: BSD-3-Clause */
/* bits: see the header.
 *
 * What is long is done by the widest instructions of the machine. Each kernel also takes lengths
 * that are no multiple of its width.
 */
#include "base/bits.h"

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* From here on it pays to ask for wide instructions. */
#define WIDE_BYTES_MIN 128

static inline uint64_t load_word(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Up to 8 bytes, zeros behind them. */
static inline uint64_t load_part(const char *p, size_t n) {
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

/* ---- Counting ---- */

/* What the compiler makes of it depends on whom it is in line in. */
static inline __attribute__((always_inline)) uint64_t count_words(const char *p, size_t n) {
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (; n >= 32; p += 32, n -= 32) {
        a += (unsigned)__builtin_popcountll(load_word(p));
        b += (unsigned)__builtin_popcountll(load_word(p + 8));
        c += (unsigned)__builtin_popcountll(load_word(p + 16));
        d += (unsigned)__builtin_popcountll(load_word(p + 24));
    }
    for (; n >= 8; p += 8, n -= 8) {
        a += (unsigned)__builtin_popcountll(load_word(p));
    }
    return a + b + c + d + (unsigned)__builtin_popcountll(load_part(p, n));
}

#if defined(__x86_64__)

__attribute__((target("popcnt"))) static uint64_t count_popcnt(const char *p, size_t n) {
    return count_words(p, n);
}

/* The bits of each half byte are looked up. Sums stay in bytes for as long as they fit. */
__attribute__((target("avx2,popcnt"))) static uint64_t count_avx2(const char *p, size_t n) {
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                            2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sum = _mm256_setzero_si256();
    while (n >= 32) {
        size_t steps = n / 32 < 31 ? n / 32 : 31; /* of at most 8 each */
        __m256i bytes = _mm256_setzero_si256();
        for (size_t i = 0; i < steps; i++, p += 32) {
            __m256i in = _mm256_loadu_si256((const __m256i *)p);
            __m256i high = _mm256_and_si256(_mm256_srli_epi16(in, 4), low);
            bytes = _mm256_add_epi8(bytes, _mm256_shuffle_epi8(counts, _mm256_and_si256(in, low)));
            bytes = _mm256_add_epi8(bytes, _mm256_shuffle_epi8(counts, high));
        }
        n -= steps * 32;
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
    }
    uint64_t sums[4];
    _mm256_storeu_si256((__m256i *)sums, sum);
    return sums[0] + sums[1] + sums[2] + sums[3] + count_words(p, n);
}

__attribute__((target("avx512f,avx512vpopcntdq,popcnt"))) static uint64_t
count_avx512(const char *p, size_t n) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (; n >= 256; p += 256, n -= 256) {
        a = _mm512_add_epi64(a, _mm512_popcnt_epi64(_mm512_loadu_si512(p)));
        b = _mm512_add_epi64(b, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 64)));
        c = _mm512_add_epi64(c, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 128)));
        d = _mm512_add_epi64(d, _mm512_popcnt_epi64(_mm512_loadu_si512(p + 192)));
    }
    for (; n >= 64; p += 64, n -= 64) {
        a = _mm512_add_epi64(a, _mm512_popcnt_epi64(_mm512_loadu_si512(p)));
    }
    a = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
    return (uint64_t)_mm512_reduce_add_epi64(a) + count_words(p, n);
}

uint64_t bits_count_by(enum cpu_level level, struct bytes bytes) {
    switch (level) {
    case CPU_AVX512:
        return count_avx512(bytes.ptr, bytes.len);
    case CPU_AVX2:
        return count_avx2(bytes.ptr, bytes.len);
    case CPU_POPCNT:
        return count_popcnt(bytes.ptr, bytes.len);
    default:
        return count_words(bytes.ptr, bytes.len);
    }
}

#else

uint64_t bits_count_by(enum cpu_level level, struct bytes bytes) {
    (void)level;
    return count_words(bytes.ptr, bytes.len);
}

#endif

uint64_t bits_count(struct bytes bytes) {
    enum cpu_level level = cpu_level();
    bool is_short = bytes.len < WIDE_BYTES_MIN && level > CPU_POPCNT;
    return bits_count_by(is_short ? CPU_POPCNT : level, bytes);
}

/* The bits of a byte that lie before this one. */
static unsigned ones_before(char byte, unsigned bit) {
    return (unsigned)__builtin_popcount((unsigned)(unsigned char)byte >> (8 - bit));
}

uint64_t bits_count_between(struct bytes bytes, uint64_t first, uint64_t end) {
    check(first <= end && end <= bytes.len * 8);
    size_t from = first / 8, to = end / 8;
    uint64_t count = bits_count(bytes_make(bytes.ptr + from, to - from));
    count -= first % 8 == 0 ? 0 : ones_before(bytes.ptr[from], first % 8);
    return count + (end % 8 == 0 ? 0 : ones_before(bytes.ptr[to], end % 8));
}

/* ---- Searching ---- */

/* The first byte from `at` on that is not `skipped`; bytes.len if there is none. */
static size_t find_other(struct bytes bytes, size_t at, unsigned char skipped) {
    uint64_t word = skipped * UINT64_C(0x0101010101010101);
    const char *p = bytes.ptr;
    while (at + 32 <= bytes.len &&
           ((load_word(p + at) ^ word) | (load_word(p + at + 8) ^ word) |
            (load_word(p + at + 16) ^ word) | (load_word(p + at + 24) ^ word)) == 0) {
        at += 32;
    }
    while (at + 8 <= bytes.len && load_word(p + at) == word) {
        at += 8;
    }
    while (at < bytes.len && (unsigned char)p[at] == skipped) {
        at++;
    }
    return at;
}

uint64_t bits_find(struct bytes bytes, bool value, uint64_t first, uint64_t end) {
    check(first <= end && end <= bytes.len * 8);
    if (first == end) {
        return end;
    }
    unsigned char skipped = value ? 0 : 0xFF;
    size_t at = first / 8;
    unsigned wanted = (unsigned char)(bytes.ptr[at] ^ skipped) & (0xFFU >> first % 8);
    if (wanted == 0) {
        at = find_other(bytes_make(bytes.ptr, (end + 7) / 8), at + 1, skipped);
        if (at >= (end + 7) / 8) {
            return end;
        }
        wanted = (unsigned char)(bytes.ptr[at] ^ skipped);
    }
    uint64_t found = at * 8 + (unsigned)__builtin_clz(wanted) - 24;
    return found < end ? found : end;
}

/* ---- Combining ---- */

/* As many bytes of the result are finished before the next, so that they stay in the cache while
 * inputs are added to them. */
#define COMBINE_STEP_BYTES ((size_t)8 << 10)

/* Adds `n` bytes of one more input, or (NOT) takes the first. The compiler makes these loops wide.
 */
static inline __attribute__((always_inline)) void combine_one(enum bits_op op, char *restrict to,
                                                              const char *restrict from, size_t n) {
    switch (op) {
    case BITS_AND:
        for (size_t i = 0; i < n; i++) {
            to[i] &= from[i];
        }
        break;
    case BITS_OR:
        for (size_t i = 0; i < n; i++) {
            to[i] |= from[i];
        }
        break;
    case BITS_XOR:
        for (size_t i = 0; i < n; i++) {
            to[i] ^= from[i];
        }
        break;
    case BITS_NOT:
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)~from[i];
        }
        break;
    }
}

static void combine_portable(enum bits_op op, char *to, const char *from, size_t n) {
    combine_one(op, to, from, n);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void combine_avx2(enum bits_op op, char *to,
                                                         const char *from, size_t n) {
    combine_one(op, to, from, n);
}
#endif

typedef void combine_fn(enum bits_op op, char *to, const char *from, size_t n);

static combine_fn *combine_kernel(enum cpu_level level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX2) {
        return combine_avx2;
    }
#endif
    (void)level;
    return combine_portable;
}

/* The part of an input that is there, of `n` bytes from `at` on. */
static struct bytes part_of(struct bytes input, size_t at, size_t n) {
    if (input.len <= at) {
        return BYTES("");
    }
    return bytes_make(input.ptr + at, input.len - at < n ? input.len - at : n);
}

void bits_combine_by(enum cpu_level level, enum bits_op op, const struct bytes *inputs,
                     uint32_t count, char *to, size_t length) {
    check(count > 0);
    combine_fn *combine = combine_kernel(level);
    for (size_t at = 0; at < length; at += COMBINE_STEP_BYTES, to += COMBINE_STEP_BYTES) {
        size_t n = length - at < COMBINE_STEP_BYTES ? length - at : COMBINE_STEP_BYTES;
        struct bytes part = part_of(inputs[0], at, n);
        if (op == BITS_NOT) {
            combine(op, to, part.ptr, part.len);
            memset(to + part.len, 0xFF, n - part.len);
            continue;
        }
        memcpy(to, part.ptr, part.len);
        memset(to + part.len, 0, n - part.len);
        for (uint32_t i = 1; i < count; i++) {
            part = part_of(inputs[i], at, n);
            combine(op, to, part.ptr, part.len);
            if (op == BITS_AND) {
                memset(to + part.len, 0, n - part.len);
            }
        }
    }
}

void bits_combine(enum bits_op op, const struct bytes *inputs, uint32_t count, char *to,
                  size_t length) {
    bits_combine_by(cpu_level(), op, inputs, count, to, length);
}

/* ---- Fields ---- */

/* Up to nine bytes have a part of it: the first eight as one number, and the last. */
struct field_place {
    size_t at;
    unsigned before; /* bits of the first byte that are none of it */
    size_t bytes;    /* that have a part of it */
};

static struct field_place place_of(uint64_t first, unsigned width) {
    check(width >= 1 && width <= 64);
    struct field_place place = {.at = first / 8, .before = first % 8};
    place.bytes = (place.before + width + 7) / 8;
    return place;
}

static unsigned __int128 load_field(const char *p, size_t there, const struct field_place *place) {
    unsigned __int128 number = 0;
    for (size_t i = 0; i < place->bytes; i++) {
        number = number << 8 | (i < there ? (unsigned char)p[i] : 0);
    }
    return number;
}

uint64_t bits_field(struct bytes bytes, uint64_t first, unsigned width) {
    struct field_place place = place_of(first, width);
    if (place.at >= bytes.len) {
        return 0;
    }
    unsigned __int128 all = load_field(bytes.ptr + place.at, bytes.len - place.at, &place);
    all >>= place.bytes * 8 - place.before - width;
    return (uint64_t)all & (UINT64_MAX >> (64 - width));
}

void bits_put_field(char *bytes, uint64_t first, unsigned width, uint64_t number) {
    struct field_place place = place_of(first, width);
    unsigned behind = (unsigned)(place.bytes * 8 - place.before - width);
    unsigned __int128 mask = (unsigned __int128)(UINT64_MAX >> (64 - width)) << behind;
    unsigned __int128 all = load_field(bytes + place.at, place.bytes, &place);
    all = (all & ~mask) | ((unsigned __int128)number << behind & mask);
    for (size_t i = place.bytes; i > 0; i--, all >>= 8) {
        bytes[place.at + i - 1] = (char)all;
    }
}
