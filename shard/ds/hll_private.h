/* SPDX-License-Identifier: BSD-3-Clause */
/* hll_private: what hll.c, hll_dense.c and hll_sparse.c see of each other.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_SHARD_DS_HLL_PRIVATE_H
#define SHOAL_SHARD_DS_HLL_PRIVATE_H

#include "shard/ds/hll.h"

/* Where the parts of the header are. */
#define HLL_AT_ENCODING 4
#define HLL_AT_COUNT    8

/* The first byte is the lowest, whatever the machine. */
static inline uint64_t hll_load_word(const void *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* How many registers have which value: more values than a register may have are possible in bytes
 * from anywhere. */
#define HLL_VALUES 64
struct hll_histogram {
    uint32_t of[HLL_VALUES];
};

/* ---- hll_dense.c ---- */

unsigned hll_packed_get(const unsigned char *packed, uint32_t index);
void hll_packed_put(unsigned char *packed, uint32_t index, unsigned value);
void hll_unpack(const unsigned char *packed, unsigned char *registers);
void hll_pack(const unsigned char *registers, unsigned char *packed);
/* Raises each register to that of `other`. */
void hll_raise_all(unsigned char *registers, const unsigned char *other);
void hll_dense_histogram(const unsigned char *registers, struct hll_histogram *histogram);

/* ---- hll_sparse.c ---- */

/* A place in the runs of a sparse one before which nothing changes any more while registers are
 * raised in ascending order. All zero: the beginning. */
struct hll_place {
    size_t at; /* 0: behind the header */
    uint32_t first;
};

/* Raises a register of a sparse one. `place`: where to look from; moved on. HLL_CHANGED: also when
 * it has become dense. */
enum hll_change hll_sparse_raise(struct hll *hll, uint32_t index, unsigned value, size_t sparse_max,
                                 struct hll_place *place);
bool hll_sparse_histogram(struct bytes bytes, struct hll_histogram *histogram);
bool hll_sparse_merge(unsigned char *registers, struct bytes bytes);

#endif
