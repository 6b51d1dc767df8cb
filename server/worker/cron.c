/* SPDX-License-Identifier: BSD-3-Clause */
/* cron: see the header. */
#include "server/worker/cron.h"

#include "net/tls.h"
#include "server/client/client.h"
#include "server/client/client_flow.h"
#include "server/client/inner.h"
#include "server/client/secure.h"
#include "server/http/http.h"
#include "server/observe/log.h"
#include "server/persistence/due.h"
#include "server/persistence/wals.h"
#include "server/replication/primary.h"
#include "server/replication/replica.h"
#include "server/replication/upstream.h"
#include "server/tracking/news.h"
#include "server/worker/handlers.h"
#include "server/worker/pools.h"
#include "server/worker/shared.h"
#include "server/worker/totals.h"
#include "server/worker/worker.h"
#include "shard/memory/sysmem.h"

#define CLIENTS_A_TURN       200
#define COLLECT_MS           1000
#define OWN_DEADLINES_A_TURN 2000
/* As often as Valkey says it. */
#define STATE_LOG_MS 5000

/* The cluster wants to know whether there are any. */
static void note_keys(struct worker *worker) {
    if (worker->config->cluster_enabled) {
        bool has = false;
        for (uint32_t db = 0; db < (uint32_t)config_databases(worker->config) && !has; db++) {
            has = keyspace_count(worker->shard.keyspace, db) > 0;
        }
        shared_set_has_keys(worker->server->shared, worker->id, has);
    }
}

/* A tenth of the clients, and the next tenth the next time: each about once a second. */
static unsigned cron_share(const struct worker *worker) {
    unsigned n = worker->clients.count / 10;
    n = n > CLIENTS_A_TURN ? n : CLIENTS_A_TURN;
    return n < worker->clients.count ? n : worker->clients.count;
}

/* Some of them. */
static void cron_clients(struct worker *worker) {
    int64_t now_ms = rt_wall_ms(worker->rt);
    for (unsigned i = 0; worker->loop.cron_clients > 0 && i < CLIENTS_A_TURN; i++) {
        worker->loop.cron_clients--;
        struct list_node *node = list_pop_front(&worker->clients.all);
        if (node == NULL) { /* many have gone meanwhile */
            worker->loop.cron_clients = 0;
            return;
        }
        list_push_back(&worker->clients.all, node);
        client_cron(LIST_ENTRY(node, struct client, node), now_ms);
    }
}

/* For who follows a log: how much there is. */
static void log_state(struct worker *worker) {
    const struct keyspace *keyspace = worker->shard.keyspace;
    for (uint32_t db = 0; db < (uint32_t)config_databases(worker->config); db++) {
        uint64_t keys = keyspace_count(keyspace, db);
        if (keys > 0) {
            log_worker(worker, LOG_VERBOSE, "DB %u: %llu keys (%llu volatile) on shard %u.", db,
                       (unsigned long long)keys,
                       (unsigned long long)keyspace_count_expiring(keyspace, db), worker->id);
        }
    }
    log_worker(worker, LOG_DEBUG, "Shard %u: %u clients connected, %zu bytes in use by keys",
               worker->id, worker->clients.count, keyspace_memory(keyspace));
}

static void look_after(struct worker *worker) {
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (now_ms < worker->loop.cron_next_ms) {
        return;
    }
    bool idle = worker->clients.count == 0 && worker->server->workers_count > CRON_MANY_THREADS &&
                worker->config->watchdog_period == 0;
    worker->loop.cron_next_ms = now_ms + (idle ? 10 * CRON_MS : CRON_MS);
    uint64_t start = rt_ticks(worker->rt);
    worker_sample_rates(worker);
    rt_trim(worker->rt, false);
    tls_tick(worker->rt);
    if (now_ms >= worker->loop.collect_next_ms) {
        worker->loop.collect_next_ms = now_ms + COLLECT_MS;
        worker_trim_pools(worker, false);
        sysmem_collect(false);
    }
    totals_cron(worker);
    hotkeys_tick(&worker->hotkeys, now_ms);
    news_cron(worker);
    flood_tell(worker, false);
    if (UNLIKELY(log_wants(worker, LOG_VERBOSE)) &&
        now_ms - worker->loop.state_logged_ms >= STATE_LOG_MS) {
        worker->loop.state_logged_ms = now_ms;
        log_state(worker);
    }
    if (UNLIKELY(!list_empty(&worker->replicas))) {
        replicas_cron(worker);
    }
    if (UNLIKELY(worker->shard.own_deadlines.names.count > 0)) {
        worker->runs_for.client = 0; /* keys run out by themselves */
        own_deadlines_end_some(&worker->shard.own_deadlines, OWN_DEADLINES_A_TURN,
                               rt_wall_ms(worker->rt));
    }
    if (UNLIKELY(worker->demoted)) {
        worker->demoted = false;
        worker->server->handlers->demoted(worker);
    }
    worker->loop.cron_clients = cron_share(worker);
    note_keys(worker);
    shared_set_changes(worker->server->shared, worker->id,
                       keyspace_changes(worker->shard.keyspace));
    if (worker->id == 0) {
        inner_settle(worker->inner);
        http_cron(worker);
        secure_cron(worker);
        wals_cron(worker);
        save_cron(worker);
        primary_cron(worker->server->primary);
        upstream_cron(worker->server->upstream);
    }
    worker->stats.cycle_cron_ticks += rt_ticks(worker->rt) - start;
}

void worker_cron(struct worker *worker) {
    look_after(worker);
    cron_clients(worker);
}
