/* SPDX-License-Identifier: BSD-3-Clause */
/* worker: see the header. */
#include "server/worker/worker.h"

#include "base/check.h"
#include "server/cluster/cluster_map.h"
#include "server/worker/room.h"

#define CHUNKS_KEPT_MAX   256
#define WASTE_SLICE_BYTES (512 * 1024)
#define SAMPLE_MS         100

/* ---- For commands ---- */

struct server *worker_server(const struct worker *worker) {
    return worker->server;
}

struct node *worker_node(const struct worker *worker) {
    return worker->node;
}

unsigned worker_id(const struct worker *worker) {
    return worker->id;
}

struct rt *worker_rt(const struct worker *worker) {
    return worker->rt;
}

struct shard *worker_shard(struct worker *worker) {
    return &worker->shard;
}

const struct acl_users *worker_users(const struct worker *worker) {
    return worker->users;
}

const struct map *worker_map(const struct worker *worker) {
    return worker->cluster != NULL ? worker->cluster->map : NULL;
}

const struct config *worker_config(const struct worker *worker) {
    return worker->config;
}

struct rng *worker_rng(struct worker *worker) {
    return &worker->rng;
}

struct arena *worker_scratch(struct worker *worker) {
    return &worker->scratch;
}

struct clients *worker_clients(struct worker *worker) {
    return &worker->clients;
}

const struct slot_stats *worker_slot_stats(const struct worker *worker) {
    return &worker->slot_stats;
}

struct worker_stats *worker_stats(struct worker *worker) {
    return &worker->stats;
}

void worker_set_active_expire(struct worker *worker, bool active) {
    worker->active_expire = active;
    worker_set_expiry(worker);
}

void worker_set_scripts_debug(struct worker *worker, bool may) {
    worker->scripts_debug = may;
}

/* ---- How its keys are dealt with ---- */

void worker_set_lru(const struct worker *worker) {
    const struct config *config = worker->config;
    bool lfu = config_eviction_is_lfu(config->maxmemory_policy);
    keyspace_set_lru(worker->shard.keyspace, lfu ? LFU_COUNTER : LRU_CLOCK,
                     (int)config->lfu_log_factor, (int)config->lfu_decay_time);
}

void worker_set_expiry(struct worker *worker) {
    const struct config *config = worker->config;
    struct keyspace_expire_options options = {
        .active = worker->active_expire,
        .effort = (int)config->active_expire_effort,
        .paused = worker->pause.kind > PAUSE_SLOTS || worker->load != NULL,
        .importing = worker_keeps_dead(worker) || worker->load != NULL,
    };
    keyspace_set_expire_options(worker->shard.keyspace, options);
}

void worker_reach_time(struct worker *worker, int64_t now_ms) {
    if (UNLIKELY(now_ms > rt_wall_ms(worker->rt))) {
        rt_wall_us(worker->rt);
    }
}

/* ---- What is kept and what is freed ---- */

void worker_lend_chunk(struct worker *worker, struct outbuf *empty) {
    if (UNLIKELY(worker->room.frugal)) {
        outbuf_begin_small(empty, CHUNK_FRUGAL_BYTES);
    } else if (LIKELY(worker->spare.chunks != NULL)) {
        outbuf_lend(empty, &worker->spare.chunks);
        stock_take(&worker->spare.chunks_stock);
    }
}

void worker_reclaim_chunk(struct worker *worker, struct outbuf *out) {
    size_t bytes = sizeof(struct outbuf_chunk) + OUTBUF_CHUNK_BYTES;
    if (UNLIKELY(!room_may_keep(worker, &worker->spare.chunks_stock, CHUNKS_KEPT_MAX, bytes))) {
        outbuf_fini(out);
    } else if (outbuf_reclaim(out, &worker->spare.chunks)) {
        stock_put(&worker->spare.chunks_stock);
    }
}

void worker_waste(struct worker *worker, struct arena *arena, size_t bytes) {
    arena_waste(&worker->spare.waste, arena);
    worker->spare.waste_bytes += bytes;
}

void worker_waste_replies(struct worker *worker, struct outbuf *out) {
    outbuf_splice(&worker->spare.waste_replies, out);
    outbuf_fini(out);
}

bool worker_free_waste(struct worker *worker) {
    struct outbuf *replies = &worker->spare.waste_replies;
    outbuf_drain(replies, replies->bytes < WASTE_SLICE_BYTES ? replies->bytes : WASTE_SLICE_BYTES);
    outbuf_shrink(replies);
    if (arena_waste_some(&worker->spare.waste, WASTE_SLICE_BYTES)) {
        return true;
    }
    worker->spare.waste_bytes = 0;
    return replies->bytes > 0;
}

/* ---- Rates ---- */

void worker_sample_rates(struct worker *worker) {
    int64_t now_ms = rt_mono_ms(worker->rt);
    int64_t passed_ms = now_ms - worker->tally.samples.last_ms;
    if (passed_ms < SAMPLE_MS) {
        return;
    }
    const uint64_t totals[RATE_COUNT] = {
        [RATE_COMMANDS] = worker->stats.commands_processed,
        [RATE_INPUT] = worker->stats.net_input,
        [RATE_OUTPUT] = worker->stats.net_output,
        [RATE_REPLICATION_INPUT] = worker->stats.net_repl_input,
        [RATE_REPLICATION_OUTPUT] = worker->stats.net_repl_output,
        [RATE_TURNS] = worker->stats.cycles,
    };
    unsigned index = worker->tally.samples.index++ % 16;
    for (unsigned i = 0; i < RATE_COUNT; i++) {
        uint64_t delta = totals[i] >= worker->tally.samples.last[i]
                             ? totals[i] - worker->tally.samples.last[i]
                             : 0;
        worker->tally.samples.rate[i][index] = delta * 1000 / (uint64_t)passed_ms;
        worker->tally.samples.last[i] = totals[i];
    }
    worker->tally.samples.last_ms = now_ms;
}

uint64_t worker_rate(const struct worker *worker, enum worker_rate rate) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < 16; i++) {
        sum += worker->tally.samples.rate[rate][i];
    }
    return sum / 16;
}
