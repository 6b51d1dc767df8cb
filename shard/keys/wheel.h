/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel: fires references to keys when their deadlines come, to the millisecond, without a pause.
 *
 * The wheel does not know deadlines: the entries do. It holds 5-byte references (slot and the upper
 * bits of the hash), ordered roughly, and asks its owner about each when its time comes near: "due,
 * gone, or when?". See wheel.c for the picture.
 *
 * Thread: owner shard only.
 * Time: wall-clock milliseconds given by the caller; it may jump either way.
 */
#ifndef SHOAL_SHARD_KEYS_WHEEL_H
#define SHOAL_SHARD_KEYS_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;
struct wheel;

#define WHEEL_HASH_BITS 26

/* The slot and the upper WHEEL_HASH_BITS of the hash of a key. */
struct wheel_ref {
    uint16_t slot;
    uint32_t hash_bits;
};

static inline struct wheel_ref wheel_ref_make(uint16_t slot, uint64_t hash) {
    return (struct wheel_ref){slot, (uint32_t)(hash >> (64 - WHEEL_HASH_BITS))};
}

/* Nothing is referred to any more. */
#define WHEEL_DROP INT64_C(-1)

struct wheel_owner {
    void *arg;
    /* A reference comes up. The owner does what is due at now_ms and returns the deadline at which
     * it wants the reference back, later than now_ms, or WHEEL_DROP. `sweeping`: it comes from
     * before the sweep that is going on. */
    int64_t (*resolve)(void *arg, struct wheel_ref ref, int64_t now_ms, bool sweeping);
    /* Memory hints for a reference that will be resolved soon: stages 0 and 1. */
    void (*prefetch)(void *arg, struct wheel_ref ref, int stage);
};

struct wheel *wheel_new(struct shard_heap *heap, int64_t now_ms);
void wheel_free(struct wheel *wheel);
/* Frees up to max chunks of references: true when none is left. */
bool wheel_drain(struct wheel *wheel, uint64_t max);

void wheel_add(struct wheel *wheel, struct wheel_ref ref, int64_t deadline_ms);

/* Resolves what has come up, at most about `budget` references. Returns when it must run again:
 * now_ms if it was not done, INT64_MAX if it is empty. */
int64_t wheel_run(struct wheel *wheel, const struct wheel_owner *owner, int64_t now_ms,
                  uint64_t budget);
/* As wheel_run returned it, or earlier if references were added since. */
int64_t wheel_next_run(const struct wheel *wheel);

/* Starts to bring every reference up, the next ones first, beside what is due anyway: the owner
 * drops those it finds superfluous. Nothing happens if a sweep is going on. */
void wheel_sweep(struct wheel *wheel);
bool wheel_sweeping(const struct wheel *wheel);

uint64_t wheel_count(const struct wheel *wheel);
size_t wheel_memory(const struct wheel *wheel);

typedef void wheel_visit_fn(void *arg, struct wheel_ref ref, int64_t comes_up_ms);
/* All references, each with the time by which it comes up; for tests and debug builds. */
void wheel_visit(const struct wheel *wheel, wheel_visit_fn *visit, void *arg);
void wheel_verify(const struct wheel *wheel);

#endif
