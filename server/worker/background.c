/* SPDX-License-Identifier: BSD-3-Clause */
/* background: see the header. */
#include "server/worker/background.h"

#include "net/rt.h"
#include "server/cluster/export_share.h"
#include "server/observe/monitor.h"
#include "server/persistence/save_share.h"
#include "server/pubsub/pubsub.h"
#include "server/tracking/news.h"
#include "server/tracking/tracking.h"
#include "server/txn/blocked.h"
#include "server/txn/txn.h"
#include "server/worker/handlers.h"
#include "server/worker/totals.h"
#include "server/worker/worker.h"

/* What has come of others than calls, keys that ran out for one, or was locked. */
static void serve_waiters(struct worker *worker) {
    if (UNLIKELY(worker->keys_ready)) {
        worker->server->handlers->serve_waiters(worker, NULL, rt_wall_ms(worker->rt));
    }
    if (UNLIKELY(!list_empty(&worker->txns.tries))) {
        blocked_try_again(worker);
    }
}

/* activedefrag: how much of a thread's time the walk against fragmentation may take, in per cent;
 * 0: no more than it does anyhow, which is a slice in each millisecond. */
static int64_t defrag_effort(struct worker *worker) {
    const struct config *config = worker->config;
    size_t slack = keyspace_slack(worker->shard.keyspace);
    size_t used = heap_used(worker->shard.heap);
    int64_t lower = config->active_defrag_threshold_lower;
    int64_t upper = config->active_defrag_threshold_upper;
    int64_t share = (int64_t)(slack * 100 / (used + 1));
    if (share < lower ||
        slack * worker->server->workers_count < (uint64_t)config->active_defrag_ignore_bytes) {
        return 0;
    }
    int64_t least = config->active_defrag_cycle_min, most = config->active_defrag_cycle_max;
    if (share >= upper || most <= least) {
        return most;
    }
    return least + (most - least) * (share - lower) / (upper - lower);
}

/* So much of this millisecond, which began with the slice that was made already. */
static void defrag_on(struct worker *worker, uint64_t start) {
    int64_t us = defrag_effort(worker) * 10, most_us = worker->config->active_defrag_cycle_us;
    us = most_us > 0 && us > most_us ? most_us : us;
    uint64_t ticks = rt_ns_to_ticks(worker->rt, (uint64_t)us * 1000);
    while (rt_ticks(worker->rt) - start < ticks && keyspace_defrag_more(worker->shard.keyspace)) {
    }
}

int64_t background_work(struct worker *worker) {
    int64_t now_ms = rt_wall_ms(worker->rt);
    int64_t until_ms = txn_expiry_ms(worker, now_ms);
    worker->runs_for.client = 0; /* keys run out by themselves */
    const struct keyspace_stats *stats = keyspace_stats(worker->shard.keyspace);
    uint64_t expired = stats->expired_keys + stats->expired_fields;
    uint64_t slices = stats->defrag_slices;
    uint64_t start = rt_ticks(worker->rt);
    int64_t next_ms = keyspace_work(worker->shard.keyspace, until_ms);
    uint64_t ticks = rt_ticks(worker->rt) - start;
    if (stats->expired_keys + stats->expired_fields != expired) {
        worker->stats.expire_ticks += ticks;
    }
    if (UNLIKELY(worker->latency.ticks != UINT64_MAX)) {
        latency_note(worker, &worker->latency, LATENCY_EXPIRE_CYCLE, ticks);
    }
    if (UNLIKELY(worker->config->activedefrag && stats->defrag_slices != slices)) {
        defrag_on(worker, start);
    }
    if (UNLIKELY(worker->room.limit > 0)) {
        worker->room.beside = totals_memory_beside_keys(worker);
        int64_t room_ms = room_turn(worker, now_ms);
        next_ms = room_ms < next_ms ? room_ms : next_ms;
    }
    serve_waiters(worker);
    if (UNLIKELY(!list_empty(&worker->exports))) {
        export_shares_tell(worker);
    }
    if (pubsub_is_due(&worker->topics)) {
        pubsub_deliver(worker);
    }
    if (UNLIKELY(worker->trackers.due || !list_empty(&worker->trackers.later))) {
        news_send(worker);
        tracking_deliver(worker);
    }
    if (UNLIKELY(tracks_is_left(&worker->shard.tracks))) {
        tracks_free_some(&worker->shard.tracks);
    }
    if (UNLIKELY(monitors_are_late(&worker->monitors))) {
        monitors_catch_up(worker);
    }
    /* What a transaction holds back comes up in the turn in which that ends. */
    return next_ms > until_ms && next_ms <= now_ms ? now_ms + 1 : next_ms;
}

bool background_is_left(const struct worker *worker) {
    return worker->loop.cron_clients > 0 || !list_empty(&worker->clients.ready) ||
           !list_empty(&worker->jobs) || !list_empty(&worker->batches.cut) ||
           !list_empty(&worker->shard.locks.settled) || !list_empty(&worker->txns.puts) ||
           !list_empty(&worker->txns.packs) || !list_empty(&worker->topics.queue) ||
           tracks_is_left(&worker->shard.tracks) ||
           unshown_is_due(&worker->shard.unshown, worker->shard.keyspace) ||
           (worker->save_share != NULL && save_share_is_busy(worker->save_share)) ||
           export_shares_are_busy(worker);
}
