/* SPDX-License-Identifier: BSD-3-Clause */
/* bits: runs of bytes as runs of bits: counted, searched, combined, cut into fields.
 *
 * Bit 0 is the highest of the first byte, as SETBIT numbers them. Wide instructions are used where
 * the machine has them; `_by` takes those of a level that it must have.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_BASE_BITS_H
#define SHOAL_BASE_BITS_H

#include "base/bytes.h"
#include "base/cpu.h"

#include <stdint.h>

/* How many bits are 1: of all, and of those from `first` up to and without `end`, which must be
 * there. */
uint64_t bits_count(struct bytes bytes);
uint64_t bits_count_by(enum cpu_level level, struct bytes bytes);
uint64_t bits_count_between(struct bytes bytes, uint64_t first, uint64_t end);

/* The first bit of this value from `first` up to and without `end`; `end` if there is none. They
 * must be there. */
uint64_t bits_find(struct bytes bytes, bool value, uint64_t first, uint64_t end);

enum bits_op { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT };
/* Writes what the inputs (BITS_NOT: the first of them) make to `to`, as if all were `length` bytes
 * long, with zeros behind their ends. No input overlaps `to`. */
void bits_combine(enum bits_op op, const struct bytes *inputs, uint32_t count, char *to,
                  size_t length);
void bits_combine_by(enum cpu_level level, enum bits_op op, const struct bytes *inputs,
                     uint32_t count, char *to, size_t length);

/* `width` bits, 1 to 64, from this one on, as a number; those that are not there are 0. */
uint64_t bits_field(struct bytes bytes, uint64_t first, unsigned width);
/* Puts the lowest `width` bits of a number there; all of them must be there. */
void bits_put_field(char *bytes, uint64_t first, unsigned width, uint64_t number);

#endif
