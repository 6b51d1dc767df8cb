/* SPDX-License-Identifier: BSD-3-Clause */
/* hll: HyperLogLogs, as Redis and Valkey keep them in strings, byte for byte.
 *
 * An element's hash chooses one of 16384 registers, and a register keeps the longest run of zeros
 * that was seen in the rest of such hashes. From how many registers have which value follows about
 * how many different elements there were (Ertl, "New cardinality estimation algorithms for
 * HyperLogLog sketches", 2017).
 *
 *     0      4    5         8                    16
 *     +------+----+---------+--------------------+-------------------
 *     | HYLL | 0/1| unused  | count, if bit 63   | registers
 *     |      |    |         | of it is not set   |
 *     +------+----+---------+--------------------+-------------------
 *
 * dense (0): 6 bits for each register, from the lowest bit of each byte on.
 * sparse (1): runs of equal registers, see hll_sparse.c.
 *
 * Whoever can SET can make any bytes look like one of these: functions that may meet bytes that are
 * none say so, and none reads or writes past its own.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_SHARD_DS_HLL_H
#define SHOAL_SHARD_DS_HLL_H

#include "base/bytes.h"
#include "base/cpu.h"

#include <stdint.h>

#define HLL_REGISTERS    16384
#define HLL_HEADER_BYTES 16
#define HLL_DENSE_BYTES  (HLL_HEADER_BYTES + HLL_REGISTERS * 6 / 8)
/* A sparse one that makes sense is no longer: each run has a register at least, and two bytes at
 * most. */
#define HLL_BYTES_MAX (HLL_HEADER_BYTES + HLL_REGISTERS * 2)

/* ---- As it is stored ---- */

/* What its header and length say. Whether a sparse one's runs make sense is seen as they are read.
 */
enum hll_kind { HLL_NONE, HLL_DENSE, HLL_SPARSE };
enum hll_kind hll_kind(struct bytes bytes);

/* The count that it keeps; false: registers have changed since. */
bool hll_cached(struct bytes bytes, uint64_t *ret_count);
void hll_put_cache(char *bytes, uint64_t count);
void hll_drop_cache(char *bytes);

/* About how many elements it has seen. False: its runs make no sense. */
bool hll_count(struct bytes bytes, uint64_t *ret_count);

/* A dense one in place: whether this element would raise a register, and if so, raises it. */
bool hll_dense_lacks(struct bytes bytes, struct bytes element);
bool hll_dense_add(char *bytes, struct bytes element);

/* ---- To be changed as a whole ---- */

/* A copy with room for all that it may become. */
struct hll {
    size_t length;
    unsigned char bytes[HLL_BYTES_MAX];
};

/* An empty one, sparse. */
void hll_make(struct hll *hll);
/* False: it is longer than any that makes sense. */
bool hll_load(struct hll *hll, struct bytes bytes);
static inline struct bytes hll_bytes(const struct hll *hll) {
    return bytes_make((const char *)hll->bytes, hll->length);
}

enum hll_change { HLL_CORRUPT, HLL_SAME, HLL_CHANGED };
/* Adds an element. One that is sparse becomes dense when it would be longer than `sparse_max`
 * bytes. The cached count is dropped if something changes. */
enum hll_change hll_add(struct hll *hll, struct bytes element, size_t sparse_max);
/* Makes it dense, with its cached count. False: its runs make no sense. */
bool hll_to_dense(struct hll *hll);

/* ---- Registers ---- */

/* One in each byte. */
struct hll_registers {
    unsigned char value[HLL_REGISTERS];
};

/* Raises registers to those of this one. False: its runs make no sense, and some were raised. */
bool hll_merge(struct hll_registers *registers, struct bytes bytes);
uint64_t hll_registers_count(const struct hll_registers *registers);
/* Raises its registers to these, one after the other, as hll_add does. */
enum hll_change hll_raise(struct hll *hll, const struct hll_registers *registers,
                          size_t sparse_max);
/* The registers of a dense one are these from now on. */
void hll_put_registers(char *bytes, const struct hll_registers *registers);

/* Those of `packed`, 6 bits each, become one byte each, and back; with the instructions of a level
 * that the machine must have. */
#define HLL_PACKED_BYTES (HLL_DENSE_BYTES - HLL_HEADER_BYTES)
void hll_unpack_by(enum cpu_level level, const unsigned char *packed, unsigned char *registers);
void hll_pack_by(enum cpu_level level, const unsigned char *registers, unsigned char *packed);

/* ---- Runs ---- */

/* A sparse one's, for who shows them. */
struct hll_run {
    unsigned value, length;
    bool is_long; /* of zeros, in two bytes */
};
/* The run at *at; *at is behind it then. False: there is none, or it makes no sense. */
bool hll_next_run(struct bytes bytes, size_t *at, struct hll_run *ret);

#endif
