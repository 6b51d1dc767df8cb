/* SPDX-License-Identifier: BSD-3-Clause */
/* spikes: what one worker knows of what took long, by kind: the samples behind LATENCY (latency.h).
 *
 * Thread: one at a time; those of several workers are merged by whoever collects them.
 */
#ifndef SHOAL_SERVER_OBSERVE_SPIKES_H
#define SHOAL_SERVER_OBSERVE_SPIKES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Valkey's names where it has one; `turn`, `aof-fsync` and `save-cycle` are ours. */
enum latency_event {
    LATENCY_COMMAND,
    LATENCY_FAST_COMMAND,
    LATENCY_TURN,         /* of a thread: what it has done between two looks at its clients */
    LATENCY_EXPIRE_CYCLE, /* a slice of what runs out, grows, or is freed by itself */
    LATENCY_EVICTION_CYCLE,
    LATENCY_EVICTION_DEL, /* of one key in it */
    LATENCY_AOF_WRITE,
    LATENCY_AOF_FSYNC_ALWAYS, /* a write with the sync behind it, which replies wait for */
    LATENCY_AOF_FSYNC,        /* one that nobody waits for */
    LATENCY_SAVE_CYCLE,       /* a slice of a save */
    LATENCY_EVENTS,
};

#define SPIKES_KEPT 160 /* of a kind */

struct spike {
    int64_t at_s;
    int64_t ms;
};

/* Of one kind. One for each second: the longest of it. */
struct spikes {
    struct spike kept[SPIKES_KEPT]; /* a ring, the next goes to `next` */
    uint32_t next, count;
    int64_t max_ms, sum_ms; /* of all that there were */
    uint64_t all;
};

void spikes_add(struct spikes *spikes, int64_t at_s, int64_t ms);
/* The n-th of those that are kept, oldest first. */
const struct spike *spikes_at(const struct spikes *spikes, uint32_t n);
/* Adds another's: what is kept are the newest of both, and of a second the longer one. */
void spikes_merge(struct spikes *target, const struct spikes *source);

#endif
