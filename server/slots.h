/* SPDX-License-Identifier: BSD-3-Clause */
/* slots: which worker owns each hash slot of a node.
 *
 * Crosses threads: any thread reads, one at a time changes: who holds all locks of all the node's
 * shards (DEBUG MOVE-SLOT). So where an operation runs with its key's slot looked at, the slot
 * stays until the operation ends; and one that was sent on its way looks again where it arrives.
 *
 * The epoch says when the table is not what it was: it is even while the table stands, odd while it
 * is being changed. Whoever finds the same even epoch before and after a row of looks has seen one
 * state of the table; whoever finds the epoch that an operation was planned at needs no look at
 * all.
 */
#ifndef SHOAL_SERVER_SLOTS_H
#define SHOAL_SERVER_SLOTS_H

#include "shard/keys/keyspace.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A worker's number must fit in an entry. */
#define SLOTS_OWNERS_MAX 256

struct slots {
    _Alignas(64) _Atomic uint64_t slot_epoch;
    _Alignas(64) _Atomic uint8_t slot_owner[SLOTS];
};

/* Spreads all slots evenly over `count` workers from `first` on, in contiguous ranges. Before any
 * thread reads. */
static inline void slots_init(struct slots *slots, unsigned first, unsigned count) {
    atomic_init(&slots->slot_epoch, 0);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        atomic_init(&slots->slot_owner[slot], (uint8_t)(first + slot * count / SLOTS));
    }
}

static inline unsigned slots_owner(const struct slots *slots, uint16_t slot) {
    return atomic_load_explicit(&slots->slot_owner[slot], memory_order_acquire);
}

static inline uint64_t slots_epoch(const struct slots *slots) {
    return atomic_load_explicit(&slots->slot_epoch, memory_order_acquire);
}

static inline bool slots_changing(uint64_t epoch) {
    return epoch % 2 != 0;
}

/* The one that changes it: begin, give any number of slots, end. */
static inline void slots_begin(struct slots *slots) {
    atomic_fetch_add_explicit(&slots->slot_epoch, 1, memory_order_acq_rel);
}
static inline void slots_give(struct slots *slots, uint16_t slot, unsigned owner) {
    atomic_store_explicit(&slots->slot_owner[slot], (uint8_t)owner, memory_order_release);
}
static inline void slots_end(struct slots *slots) {
    atomic_fetch_add_explicit(&slots->slot_epoch, 1, memory_order_release);
}

#endif
