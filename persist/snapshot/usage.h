/* SPDX-License-Identifier: BSD-3-Clause */
/* usage: what is written of how keys were used: nothing, or what the policy of eviction goes by, as
 * Valkey has it. Whoever loads it takes what its own policy goes by.
 *
 * Thread: who has the keyspace.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_USAGE_H
#define SHOAL_PERSIST_SNAPSHOT_USAGE_H

#include "persist/codec/rdb_file.h"
#include "shard/keys/keyspace.h"

enum usage_kind { USAGE_UNSAID, USAGE_IDLE, USAGE_FREQUENCY };

struct usage_clock {
    enum usage_kind kind;
    const struct keyspace *ks; /* whose keys they are */
    int64_t now_ms;            /* about */
};

/* The clock has 24 bits: a key that was touched after `now_ms` seems to have been touched before all
 * others. */
#define USAGE_AHEAD_SECONDS ((INT64_C(1) << 24) - 3600)

/* NULL: an entry of which nothing is known any more. */
static inline struct rdb_usage usage_of(const struct usage_clock *clock,
                                        const struct entry *entry) {
    struct rdb_usage usage = RDB_USAGE_UNSAID;
    if (entry != NULL && clock->kind == USAGE_IDLE) {
        int64_t idle = entry_idle_seconds(clock->ks, entry, clock->now_ms);
        usage.idle_seconds = idle < USAGE_AHEAD_SECONDS ? idle : 0;
    } else if (entry != NULL && clock->kind == USAGE_FREQUENCY) {
        usage.frequency = entry_frequency(clock->ks, entry, clock->now_ms);
    }
    return usage;
}

#endif
