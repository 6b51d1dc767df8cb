/* SPDX-License-Identifier: BSD-3-Clause */
/* slot_stats: see the header. Why bytes are those of the words, not of the socket: where a command
 * runs, which may be another thread than its client's, its words are there and what came is not,
 * and a primary and its replica then count the same for the same write.
 */
#include "server/observe/slot_stats.h"

#include "base/check.h"
#include "base/must.h"
#include "cluster/brain/map.h"
#include "server/call/call.h"
#include "server/call/keyset.h"
#include "server/call/slot_check.h"
#include "server/server.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define MULTI_AND_EXEC_BYTES                                                                       \
    (sizeof "*1\r\n$5\r\nMULTI\r\n"                                                                \
            "*1\r\n$4\r\nEXEC\r\n" -                                                               \
     1)

void slot_stats_free(struct slot_stats *stats) {
    free(stats->of);
    *stats = (struct slot_stats){0};
}

size_t slot_stats_memory(const struct slot_stats *stats) {
    return stats->of != NULL ? SLOTS * sizeof *stats->of : 0;
}

void slot_stats_configure(struct worker *worker) {
    struct slot_stats *stats = &worker->slot_stats;
    stats->counts = worker->cluster != NULL && worker->config->cluster_slot_stats_enabled;
    if (stats->counts && stats->of == NULL) {
        stats->of = must_calloc(SLOTS, sizeof *stats->of);
    }
}

void slot_stats_reset(struct slot_stats *stats) {
    if (stats->of != NULL) {
        memset(stats->of, 0, SLOTS * sizeof *stats->of);
    }
}

static bool is_ours(const struct map *map, unsigned slot) {
    return map->owner[slot] != MAP_NONE && map->owner[slot] == map_my_primary(map);
}

void slot_stats_map_changed(struct slot_stats *stats, const struct map *before,
                            const struct map *map) {
    for (unsigned slot = 0; stats->of != NULL && slot < SLOTS; slot++) {
        if (is_ours(before, slot) != is_ours(map, slot)) {
            stats->of[slot] = (struct slot_stat){0};
        }
    }
}

/* ---- Bytes ---- */

static size_t digits(size_t n) {
    size_t count = 1;
    while (n >= 10) {
        n /= 10;
        count++;
    }
    return count;
}

static size_t word_bytes(struct bytes word) {
    return 1 + digits(word.len) + 2 + word.len + 2;
}

static size_t array_bytes(uint32_t count) {
    return 1 + digits(count) + 2;
}

static size_t words_bytes(const struct bytes *argv, uint32_t argc) {
    size_t bytes = array_bytes(argc);
    for (uint32_t i = 0; i < argc; i++) {
        bytes += word_bytes(argv[i]);
    }
    return bytes;
}

/* With a blank between two words, however many there were. */
static size_t line_bytes(const struct bytes *argv, uint32_t argc) {
    size_t bytes = argc - 1 + 2;
    for (uint32_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    return bytes;
}

/* ---- Counting ---- */

static void add(struct worker *worker, int slot, uint64_t ticks, size_t in_bytes,
                size_t out_bytes) {
    check_slow(worker->slot_stats.of != NULL);
    if (slot >= 0) {
        struct slot_stat *stat = &worker->slot_stats.of[slot];
        stat->ticks += ticks;
        stat->in_bytes += in_bytes;
        stat->out_bytes += out_bytes;
    }
}

int slot_stats_slot(const struct call *what) {
    if (what->keys != NULL && what->keys->count > 0) {
        return what->keys->list[0].key.slot; /* a cluster has no command on keys of several */
    }
    return what->key != NULL && what->key->name.ptr != NULL
               ? what->key->slot
               : slot_of_call(what->ref, what->argv, what->argc);
}

static size_t sent_bytes(const struct bytes *argv, uint32_t argc, uint16_t manner) {
    return manner & MANNER_INLINE ? line_bytes(argv, argc) : words_bytes(argv, argc);
}

static size_t heard_bytes(uint16_t manner, size_t reply_bytes) {
    return manner & (MANNER_MUTE | MANNER_UPSTREAM | MANNER_IMPORTS) ? 0 : reply_bytes;
}

void slot_stats_called(struct worker *worker, const struct call *what, uint16_t manner,
                       uint16_t script_slot, uint64_t ticks, size_t reply_bytes) {
    int slot = what->ref->row->runs_script ? (int)script_slot - 1 : slot_stats_slot(what);
    if (slot >= 0) {
        add(worker, slot, ticks, sent_bytes(what->argv, what->argc, manner),
            heard_bytes(manner, reply_bytes));
    }
}

void slot_stats_see(struct slot_stats_seen *seen, const struct command_ref *ref,
                    const struct bytes *argv, uint32_t argc, uint16_t manner) {
    int slot = slot_of_call(ref, argv, argc);
    seen->counts = slot >= 0;
    if (seen->counts) {
        seen->slot = (uint16_t)slot;
        seen->manner = manner;
        seen->in_bytes = sent_bytes(argv, argc, manner);
    }
}

void slot_stats_seen_is_over(struct worker *worker, const struct slot_stats_seen *seen,
                             uint64_t ticks, size_t reply_bytes) {
    if (worker->slot_stats.counts) {
        add(worker, seen->slot, ticks, seen->in_bytes, heard_bytes(seen->manner, reply_bytes));
    }
}

void slot_stats_exec(struct worker *worker, int slot, uint32_t count, uint64_t ticks,
                     uint16_t manner) {
    add(worker, slot, ticks, MULTI_AND_EXEC_BYTES, heard_bytes(manner, array_bytes(count)));
}

void slot_stats_told(struct worker *worker, uint16_t slot, size_t out_bytes) {
    add(worker, slot, 0, 0, out_bytes);
}

void slot_stats_sent(struct worker *worker, const struct bytes *argv, uint32_t argc) {
    const struct command_ref *ref = command_table_find(worker->server->commands, argv[0]);
    if (ref != NULL) {
        size_t bytes = words_bytes(argv, argc) * worker->acking_replicas;
        add(worker, slot_of_call(ref, argv, argc), 0, 0, bytes);
    }
}
