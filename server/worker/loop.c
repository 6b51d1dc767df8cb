/* SPDX-License-Identifier: BSD-3-Clause */
/* loop: see the header. The loop, in the order that lets work flow to where it is waited for:
 *
 *     look, sleep or not -> runtime turn (input, sent, accepted) -> messages (batches, parts)
 *       -> batches that were cut -> jobs -> clients that go on -> locks that were given
 *       -> waits that are over -> background slice -> output to the streams -> publish messages
 *       -> visits to who sleeps -> again; without a runtime turn, if messages have come already
 *
 * Input is worked off inside the turn's callbacks. Everything that is sent to other threads goes
 * out once a turn, and to sockets with the next runtime turn.
 *
 * Invariants
 *  1. The thread sleeps only after it has announced so and has looked at every mailbox again
 * (shard/mailbox.h). From then until it has claimed itself it touches nothing: it may be visited.
 *  2. No step takes long: what runs commands stops between two of them when its slice is over
 * (worker.h), jobs and background work run in slices.
 */
#include "server/worker/loop.h"
#include "server/acl/acl.h"
#include "server/worker/handlers.h"

#include "base/check.h"
#include "base/must.h"
#include "net/crash.h"
#include "net/tls.h"
#include "server/call/batch.h"
#include "server/call/check.h"
#include "server/call/command_table.h"
#include "server/call/effects.h"
#include "server/call/scatter_part.h"
#include "server/client/client.h"
#include "server/client/client_flow.h"
#include "server/client/describe.h"
#include "server/client/gate.h"
#include "server/client/inner.h"
#include "server/client/listen.h"
#include "server/client/secure.h"
#include "server/cluster/cluster.h"
#include "server/cluster/cluster_map.h"
#include "server/cluster/errands.h"
#include "server/cluster/export_share.h"
#include "server/cluster/exports.h"
#include "server/http/http.h"
#include "server/observe/commandlog.h"
#include "server/observe/flood.h"
#include "server/observe/log.h"
#include "server/observe/monitor.h"
#include "server/persistence/aside.h"
#include "server/persistence/due.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/load.h"
#include "server/persistence/save.h"
#include "server/persistence/save_share.h"
#include "server/persistence/wal.h"
#include "server/persistence/wals.h"
#include "server/pubsub/notify.h"
#include "server/pubsub/pubsub.h"
#include "server/replication/failover.h"
#include "server/replication/farewell.h"
#include "server/replication/feed.h"
#include "server/replication/primary.h"
#include "server/replication/replica.h"
#include "server/replication/resume.h"
#include "server/replication/upstream.h"
#include "server/script/functions.h"
#include "server/script/state.h"
#include "server/tracking/news.h"
#include "server/txn/blocked.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/background.h"
#include "server/worker/busy.h"
#include "server/worker/cron.h"
#include "server/worker/mail.h"
#include "server/worker/message.h"
#include "server/worker/park.h"
#include "server/worker/pausing.h"
#include "server/worker/peers.h"
#include "server/worker/pools.h"
#include "server/worker/shared.h"
#include "server/worker/totals.h"
#include "server/worker/visit.h"
#include "server/worker/worker.h"
#include "shard/memory/sysmem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define RECV_BUFFERS      256
#define RECV_BUFFER_BYTES (16 * 1024)
#define SCRATCH_BYTES     (16 * 1024)
#define SLICE_NS          (1000 * 1000)
/* Room in a full ring is looked for this often: who empties it is busy, and mostly answers. */
#define ROOM_WAIT_NS (1000 * 1000)
/* A sleeping thread looks at its mailboxes this often although nobody rang: what it finds then is a
 * lost wake-up. */
#define WATCHDOG_MS       10
#define WATCHDOG_QUIET_MS 1000 /* without mail for this long, the cron's turns are often enough */
/* So long after the kernel was asked for news, mail and visits may still come before the next
 * time. */
#define ROUNDS_NS (200 * 1000)
/* While a client is in WAITAOF worker 0 looks this often at what is on the disk. */
#define WAITAOF_MS 5
/* Who wakes while he is visited waits: so many looks, then sleeps for a moment between them. */
#define VISITED_LOOKS    1000
#define VISITED_BLOCK_NS 20000
#define EVICTED_A_TURN   256
#define STOP_DRAIN_MS    500
/* And some more until all workers have closed them. */
#define STOP_CLOSED_MS  600
#define STOP_GIVE_UP_MS 5000
#define STOP_TURN_NS    (1000 * 1000)
#define PARKED_TURN_NS  (WATCHDOG_MS * 1000000)

/* ---- What happens to keys ---- */

/* These give nobody anything to take or to read. */
static bool never_fills(enum key_event event) {
    return event == EVENT_EXPIRE || event == EVENT_PERSIST || event == EVENT_XDEL ||
           event == EVENT_XTRIM;
}

static void key_changed(void *arg, const struct key_news *news) {
    struct worker *worker = arg;
    struct shard *shard = &worker->shard;
    if (LIKELY((shard->watches.keys.count | shard->waiters.lines.count | shard->tracks.keys.count |
                worker->trackers.prefixes.count) == 0)) {
        return; /* nobody wants to know */
    }
    /* Groups are nothing to who watches a stream, but to who waits for one. */
    if (LIKELY(news->event != EVENT_XGROUP_DESTROY)) {
        watch_touch(&shard->watches, news->db, news->key);
        news_key_changed(worker, news);
    }
    if (UNLIKELY(shard->waiters.lines.count > 0 && !never_fills(news->event))) {
        waiters_note_key(&shard->waiters, news->db, news->key);
        worker->keys_ready = true;
    }
}

/* In a view of all shards it is the parker's thread that meets keys of this one that have run out:
 * it belongs to what that does. */
static struct worker *teller(struct worker *worker) {
    return UNLIKELY(worker->parked.is) ? worker->parked.by : worker;
}

static void key_expired(void *arg, const struct key_news *news) {
    effects_expired(teller(arg), news);
}

static void elements_expired(void *arg, uint32_t db, const struct key *key,
                             const struct bytes *names, uint32_t count, bool emptied) {
    effects_elements_expired(teller(arg), db, key->name, names, count, emptied);
}

/* In a view of all shards it is the parker's thread that hears of keys of this one: it publishes,
 * as this one goes on to write to its clients. */
static void key_heard(void *arg, const struct key_news *news) {
    struct worker *worker = arg;
    effects_heard(worker, news);
    notify_heard(teller(worker), news);
}

static int64_t expiry_ms(void *arg, int64_t now_ms) {
    return txn_expiry_ms(arg, now_ms);
}

static bool locked(void *arg, uint64_t hash) {
    const struct locks *locks = &((struct worker *)arg)->shard.locks;
    return locks->requests > 0 && locks_block(locks, hash, true);
}

static void note_database(struct worker *worker, uint32_t db) {
    waiters_note_database(&worker->shard.waiters, db);
    worker->keys_ready = true;
}

static void flushing(void *arg, uint32_t db) {
    struct worker *worker = arg;
    watch_flush(&worker->shard.watches, db);
    news_flushing(worker);
    if (db == UINT32_MAX) { /* also before a full sync is loaded */
        own_deadlines_clear(&worker->shard.own_deadlines);
    }
    note_database(worker, db);
}

static void swapping(void *arg, uint32_t a, uint32_t b) {
    struct worker *worker = arg;
    if (worker->shard.watches.keys.count > 0) { /* nobody's while worker 0 loads what is all's */
        watch_swap(&worker->shard.watches, a, b, rt_wall_ms(teller(worker)->rt));
    }
    own_deadlines_swap(&worker->shard.own_deadlines, a, b);
    note_database(worker, a);
    note_database(worker, b);
}

/* ---- Life ---- */

int worker_runtimes(const struct server *server, struct rt **ret_rts, char **ret_reason) {
    const struct config *config = server->config;
    int cpus[RT_CPUS_MAX];
    struct rt_options options = {
        .make = server->rt_make,
        .world = server->world,
        .backend = config->io_backend == CONFIG_IO_URING   ? RT_URING
                   : config->io_backend == CONFIG_IO_EPOLL ? RT_EPOLL
                                                           : RT_AUTO,
        .recv_buffers = RECV_BUFFERS,
        .recv_buffer_bytes = RECV_BUFFER_BYTES,
        .beside_cpus = cpus,
        .beside_cpus_count = (unsigned)config_cpus(config->bio_cpulist, cpus, RT_CPUS_MAX),
    };
    return rt_new(&options, server->threads_count, ret_rts, ret_reason);
}

static void apply_config(struct worker *worker, const struct config *config);

struct worker *worker_new(struct server *server, unsigned id, const struct config *config,
                          struct rt *rt) {
    struct worker *worker = must_calloc(1, sizeof *worker);
    worker->server = server;
    worker->node = &server->nodes[0];
    worker->id = id;
    worker->rt = rt;
    worker->active_expire = true;
    worker->users = acl_users_ref(server->users);
    worker->cluster = config->cluster_enabled ? cluster_map_none() : NULL;
    parked_init(&worker->parked);
    arena_init(&worker->scratch, SCRATCH_BYTES);
    outbuf_init(&worker->discard);
    outbuf_init(&worker->spare.waste_replies);
    arena_init(&worker->spare.waste, 0);
    uint64_t seed;
    rt_random(worker->rt, &seed, sizeof seed);
    rng_seed(&worker->rng, seed);
    hotkeys_init(&worker->hotkeys, seed + 1, rt_mono_ms(worker->rt));
    list_init(&worker->clients.all);
    links_init(&worker->clients.by_id);
    pqueue_init(&worker->clients.evictable);
    list_init(&worker->clients.dirty);
    list_init(&worker->clients.ready);
    list_init(&worker->clients.going_on);
    list_init(&worker->clients.delayed);
    list_init(&worker->clients.paused);
    pqueue_init(&worker->clients.deadlines);
    list_init(&worker->jobs);
    list_init(&worker->replicas);
    list_init(&worker->exports);
    list_init(&worker->jobs_asleep);
    links_init(&worker->batches.suspended);
    topics_init(&worker->topics, server->workers_count);
    trackers_init(&worker->trackers, server->workers_count);
    monitors_init(&worker->monitors, server->workers_count);
    commandlogs_init(&worker->logs);
    pqueue_init(&worker->txns.parts);
    list_init(&worker->txns.puts);
    list_init(&worker->txns.packs);
    peers_init(&worker->peers);
    list_init(&worker->txns.tries);
    list_init(&worker->batches.cut);
    worker->slice.ticks = rt_ns_to_ticks(worker->rt, SLICE_NS);
    worker->tally.commands =
        must_calloc(command_table_count(server->commands) + 1, sizeof *worker->tally.commands);
    worker->batches.open = must_calloc(server->workers_count, sizeof *worker->batches.open);
    struct keyspace_hooks hooks = {
        .arg = worker,
        .changed = key_changed,
        .expired = key_expired,
        .elements_expired = elements_expired,
        .heard = key_heard,
        .expiry_ms = expiry_ms,
        .locked = locked,
        .flushing = flushing,
        .swapping = swapping,
    };
    shard_init(&worker->shard, id, (uint32_t)config_databases(config), &server->secret, &hooks,
               rt_wall_ms(worker->rt));
    walks_init(&worker->walks, worker->shard.keyspace);
    apply_config(worker, config);
    server->workers[id] = worker;
    if (id == 0) {
        server->saver = saver_new(worker);
        server->primary = primary_new(worker);
        server->upstream = upstream_new(worker);
        server->failover = failover_new(worker);
        server->farewell = farewell_new(worker);
        resume_configure(server);
        server->errands = config->cluster_enabled ? errands_new() : NULL;
        server->exports = config->cluster_enabled ? exports_new() : NULL;
        if (server->role.replica) {
            primary_follow(server->primary, worker);
            upstream_begin(server->upstream);
        }
        server->wals = wals_new(worker);
        worker->inner = inner_new(worker);
    }
    server->threads[id] = rt;
    return worker;
}

/* What came after the last turn, and is the receiver's to free. */
static void end_mail(struct worker *worker) {
    struct message *message;
    while ((message = mail_next(worker)) != NULL) {
        if (message->kind == MESSAGE_UNWATCH) {
            multi_unwatch_arrived(worker, message);
        } else if (message->kind == MESSAGE_STREAM) {
            stream_mail_free((struct stream_mail *)message);
        } else if (message->kind == MESSAGE_FEED) {
            feed_mail_free((struct feed_mail *)message);
        } else if (message->kind == MESSAGE_EXPORT_BLOCK) {
            export_block_free((struct export_block *)message);
        } else if (message->kind == MESSAGE_REPLICA || message->kind == MESSAGE_ACKNOWLEDGED) {
            free(message);
        } else if (message->kind == MESSAGE_PARK_OVER || message->kind == MESSAGE_PUBLICATION ||
                   message->kind == MESSAGE_SUBSCRIBERS || message->kind == MESSAGE_TRACKING ||
                   message->kind == MESSAGE_MONITOR_LINES ||
                   message->kind == MESSAGE_MONITOR_ORDER || message->kind == MESSAGE_MONITORS ||
                   message->kind == MESSAGE_CLUSTER_ERRAND ||
                   message->kind == MESSAGE_CLUSTER_EXPORT ||
                   message->kind == MESSAGE_EXPORT_ORDER ||
                   message->kind == MESSAGE_CLUSTER_HEARD) {
            free(message);
        }
    }
}

void worker_free(struct worker *worker) {
    if (worker == NULL || worker->loop.gave_up) {
        return;
    }
    for (unsigned i = 0; i <= command_table_count(worker->server->commands); i++) {
        free(worker->tally.commands[i].latency);
    }
    free(worker->tally.commands);
    end_mail(worker);
    links_fini(&worker->batches.suspended);
    links_fini(&worker->clients.by_id);
    topics_free(worker);
    trackers_free(&worker->trackers, worker->server->workers_count);
    monitors_free(&worker->monitors);
    commandlogs_fini(&worker->logs);
    latency_fini(&worker->latency);
    hotkeys_fini(&worker->hotkeys);
    slot_stats_free(&worker->slot_stats);
    worker_trim_pools(worker, true);
    free(worker->batches.open);
    check_owner_refuses(worker, NULL, false);
    export_shares_free(worker);
    effects_free(worker);
    script_state_free(worker->script_state);
    functions_free(worker);
    inner_free(worker->inner);
    if (worker->id == 0) {
        saver_free(worker->server->saver);
        wals_free(worker->server->wals);
    }
    walks_fini(&worker->walks);
    outbuf_fini(&worker->discard);
    outbuf_fini(&worker->spare.waste_replies);
    arena_fini(&worker->spare.waste);
    acl_users_unref(worker->users);
    arena_fini(&worker->scratch);
    peers_stop(worker);
    http_stop(worker);
    rt_free(worker->rt);
    http_free(worker);
    replicas_free(worker);
    if (worker->id == 0) {
        primary_free(worker->server->primary);
        upstream_free(worker->server->upstream);
        failover_free(worker->server->failover);
        farewell_free(worker->server->farewell);
        errands_free(worker->server->errands);
        exports_free(worker->server->exports);
    }
    wal_free(worker->wal); /* what it wrote was under way until now */
    peers_free(worker);
    load_end(worker); /* files were read into its memory until now */
    shard_fini(&worker->shard);
    free(worker);
}

/* The order by memory is kept only while somebody asks for it. */
static void order_clients(struct worker *worker) {
    bool evicts = config_maxmemory_clients(worker->config) > 0;
    if (evicts == worker->clients.evicts) {
        return;
    }
    worker->clients.evicts = evicts;
    LIST_EACH(&worker->clients.all, node) {
        client_order(LIST_ENTRY(node, struct client, node));
    }
}

static void apply_config(struct worker *worker, const struct config *config) {
    worker->config = config;
    order_clients(worker);
    worker_set_expiry(worker);
    worker_set_lru(worker);
    notify_configure(worker);
    room_note(worker, totals_memory_beside_keys(worker));
    room_configure(worker);
    check_configure(worker);
    latency_configure(worker);
    commandlogs_configure(worker);
    batches_settle(worker); /* what it has not counted yet began by the one before */
    slot_stats_configure(worker);
    news_cron(worker);
}

uint64_t worker_next_config(struct worker *worker, const struct config *config) {
    apply_config(worker, config);
    wals_cron(worker);
    cluster_configure(worker, config);
    primary_configure(worker->server->primary);
    return ++worker->config_number;
}

void worker_take_config(struct worker *worker, const struct config *config, uint64_t number) {
    if (number > worker->config_number) {
        worker->config_number = number;
        apply_config(worker, config);
    }
}

/* Clients whose time to wait is over. Returns when the next one's is, monotonic ms. */
static int64_t end_waits(struct worker *worker) {
    int64_t now_ms = rt_mono_ms(worker->rt);
    int64_t next_ms = INT64_MAX;
    if (worker->pause.kind != PAUSE_NONE || worker->pause.let_go) {
        next_ms = pause_turn(worker, now_ms);
    }
    int64_t expires_ms = waits_expire(worker, now_ms);
    return expires_ms < next_ms ? expires_ms : next_ms;
}

static struct client *largest_client(const struct worker *worker) {
    struct pqueue_node *node = pqueue_first(&worker->clients.evictable);
    return node != NULL ? PQUEUE_ENTRY(node, struct client, memory_node) : NULL;
}

static bool clients_exceed(const struct worker *worker, size_t limit) {
    struct shared_counters *shared = worker->server->shared;
    const struct client *largest = largest_client(worker);
    shared_set_clients_memory(shared, worker->id, worker->clients.memory,
                              largest != NULL ? largest->memory : 0);
    return largest != NULL && shared_clients_memory_total(shared) > limit &&
           shared_largest_client_worker(shared) == worker->id;
}

/* maxmemory-clients: the largest client of all goes first, wherever it lives: who finds another
 * worker's larger than his own leaves it to that one. True if more must go. */
static bool evict_clients(struct worker *worker) {
    if (LIKELY(!worker->clients.evicts)) {
        return false;
    }
    size_t limit = config_maxmemory_clients(worker->config);
    unsigned evicted = 0;
    while (clients_exceed(worker, limit)) {
        if (evicted++ == EVICTED_A_TURN) {
            return true;
        }
        struct client *largest = largest_client(worker);
        log_client(worker, LOG_NOTICE, "Evicting client: ", largest, "");
        worker->stats.evicted_clients++;
        client_close(largest);
    }
    return false;
}

/* There is a log, and somebody waits for what is in files by now. */
static bool is_gate_open(const struct worker *worker) {
    return UNLIKELY(worker->wal != NULL) && !gate_may_sleep(worker->wal);
}

/* ---- The loop ---- */

/* How long the thread may sleep, when nothing else happens. */
static int64_t wait_ns(const struct worker *worker, int64_t work_ms, int64_t waiter_ms) {
    int64_t mono_ms = rt_mono_ms(worker->rt), wall_ms = rt_wall_ms(worker->rt);
    int64_t ms = worker->loop.cron_next_ms - mono_ms;
    if (work_ms != INT64_MAX && work_ms - wall_ms < ms) {
        ms = work_ms - wall_ms;
    }
    if (waiter_ms - mono_ms < ms) {
        ms = waiter_ms - mono_ms;
    }
    const struct client *delayed = clients_first_delayed(worker);
    if (delayed != NULL && delayed->delay_until_ms - mono_ms < ms) {
        ms = delayed->delay_until_ms - mono_ms;
    }
    if (worker->id == 0 && ms > WAITAOF_MS && primary_waits_for_disk(worker->server->primary)) {
        ms = WAITAOF_MS;
    }
    if (UNLIKELY(worker->save_share != NULL)) {
        int64_t save_ms = save_share_due_ms(worker->save_share);
        ms = save_ms - mono_ms < ms ? save_ms - mono_ms : ms;
    }
    unsigned threads = worker->server->workers_count;
    if (threads > 1 && mono_ms - worker->loop.mail_ms < WATCHDOG_QUIET_MS) {
        int64_t watch_ms =
            WATCHDOG_MS * (threads > CRON_MANY_THREADS ? threads / CRON_MANY_THREADS : 1);
        ms = ms < watch_ms ? ms : watch_ms;
    }
    return ms > 0 ? ms * 1000000 : 0;
}

/* Whether a message may be about to come, and looking for it pays. */
static bool wants_look(struct worker *worker) {
    const struct post_office *office = worker->server->office;
    uint64_t received = post_get_stats(office, worker->id).received;
    bool served = received != worker->loop.mail_seen, away = post_away(office, worker->id) > 0;
    worker->loop.mail_seen = received;
    if (worker->loop.sleep_ns == 0 || (!away && !served)) {
        return false;
    }
    worker->loop.look_reason = away ? LOOK_AWAY : LOOK_SERVED;
    uint64_t now_ns = (uint64_t)rt_mono_ms(worker->rt) * 1000000;
    worker->loop.look_ns = look_longest(&worker->loop.look, worker->loop.look_reason, now_ns);
    return worker->loop.look_ns > 0;
}

bool worker_look(struct worker *worker) {
    worker->loop.looking = wants_look(worker) && post_look(worker->server->office, worker->id);
    worker->loop.look_start = worker->loop.looking ? rt_ticks(worker->rt) : 0;
    return worker->loop.looking;
}

/* The account of a look that is over. */
static void account_look(struct worker *worker, bool found, uint64_t now_ns) {
    uint64_t took = rt_ticks(worker->rt) - worker->loop.look_start;
    worker->stats.looks++;
    worker->stats.looked_ticks += took;
    worker->stats.looks_found += found;
    look_over(&worker->loop.look, worker->loop.look_reason, found, rt_ticks_to_ns(worker->rt, took),
              now_ns);
}

/* Announces the sleep, after a look or at once; false: something is there. */
static bool announce_sleep(struct worker *worker) {
    const struct post_office *office = worker->server->office;
    if (!worker->loop.looking) {
        return post_sleep(worker->server->office, worker->id);
    }
    worker->loop.looking = false;
    bool found = post_found(office, worker->id);
    account_look(worker, found, (uint64_t)rt_mono_ms(worker->rt) * 1000000);
    return !post_look_end(worker->server->office, worker->id);
}

int64_t worker_rest(struct worker *worker) {
    int64_t sleep_ns = worker->loop.sleep_ns;
    worker->loop.wake_ms = rt_mono_ms(worker->rt) + sleep_ns / 1000000;
    worker->loop.asleep = sleep_ns > 0;
    /* Once that is said, nothing may be touched. */
    if (sleep_ns > 0 && !announce_sleep(worker)) {
        worker->loop.asleep = false;
        worker->loop.sleep_ns = sleep_ns = 0;
    }
    return sleep_ns;
}

static bool sleeps(void *arg) {
    return worker_rest(arg) > 0;
}

static void woke(void *arg) {
    struct worker *worker = arg;
    for (unsigned i = 1; worker->loop.asleep && !post_awake(worker->server->office, worker->id);
         i++) {
        if (i % VISITED_LOOKS == 0) { /* its visitor may wait for this core */
            rt_block(worker->rt, VISITED_BLOCK_NS);
        }
    }
    worker->loop.asleep = false;
}

/* The kernel has been asked for news not long ago, so more of others' work may come first. */
static bool may_go_on(const struct worker *worker) {
    return worker->loop.visits && !worker->loop.stopping && !worker->parked.is &&
           rt_ticks(worker->rt) < worker->loop.round_until;
}

/* Who has a log asks something of the runtime in each turn, and what is for replicas leaves with
 * one: others do not take its place. */
static bool may_visit(const struct worker *worker) {
    const struct wal *wal = worker_own_wal(worker);
    return may_go_on(worker) &&
           (wal == NULL || (wal->state == WAL_OFF && !wal->feeds && !wal->acks));
}

/* Mail is there, or has been in a visit, and may be worked off at once. */
static bool goes_round(struct worker *worker) {
    bool own_mail = worker->loop.own_mail;
    worker->loop.own_mail = false;
    return may_go_on(worker) && !worker->loop.looking &&
           (own_mail || post_any(worker->server->office, worker->id));
}

/* A save goes on when replies and messages of the turn before have left: who asks now waits for the
 * rest of one slice, and not for the next as well. */
static void save_slice(struct worker *worker) {
    if (worker->parked.is || LIKELY(worker->save_share == NULL && list_empty(&worker->exports))) {
        return; /* who has parked it may just begin one: not even to be looked at */
    }
    bool saves = worker->save_share != NULL && save_share_is_busy(worker->save_share);
    bool exports = export_shares_are_busy(worker);
    if (saves || exports) {
        uint64_t start = rt_ticks(worker->rt);
        rt_submit(worker->rt);
        if (saves) {
            save_share_walk(worker);
        }
        if (exports) {
            export_shares_walk(worker);
        }
        worker->loop.sliced_ticks = rt_ticks(worker->rt) - start;
    }
}

/* One runtime turn, with the look or sleep before it; or none, if mail came while that of this turn
 * was worked off: a trip or a baton that comes and goes several times need not pay for it each
 * time. */
static void wait_and_wake(struct worker *worker) {
    worker->loop.sliced_ticks = 0;
    if (goes_round(worker)) {
        worker->stats.rounds++;
        return;
    }
    save_slice(worker);
    worker->loop.in_rt = true;
    if (worker->acceptor != NULL && listen_turn(worker)) {
        worker->loop.sleep_ns = 0;
    }
    uint64_t asked = rt_ticks(worker->rt);
    rt_turn(worker->rt, worker->loop.sleep_ns);
    worker->loop.in_rt = false;
    worker->stats.waited_ticks += rt_woke_ticks(worker->rt) - asked;
    worker->loop.round_until = rt_woke_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, ROUNDS_NS);
    if (worker->loop.looking) { /* it did not wait */
        worker->loop.looking = false;
        bool found = post_look_over(worker->server->office, worker->id);
        account_look(worker, found, (uint64_t)rt_mono_ms(worker->rt) * 1000000);
    }
}

void worker_stop_arrived(struct worker *worker, struct message *message) {
    worker->loop.stopping = true;
    scatter_wake(worker);
}

/* False: replicas get what they lack, or all is saved before; then it is as after a SHUTDOWN, which
 * has logged itself. */
static bool ends_by_signal(struct worker *worker, int signal_number) {
    const struct config *config = worker->config;
    struct farewell *farewell = worker->server->farewell;
    if (worker->loop.saves_for_signal || farewell_is_under_way(farewell)) {
        return false;
    }
    log_worker(worker, LOG_WARNING, "Received %s scheduling shutdown...",
               signal_number == SIGINT ? "SIGINT" : "SIGTERM");
    log_worker(worker, LOG_NOTICE, "User requested shutdown...");
    unsigned words =
        signal_number == SIGINT ? config->shutdown_on_sigint : config->shutdown_on_sigterm;
    struct farewell_wish wish = {
        .saves =
            save_before_end(worker, words & CONFIG_SHUTDOWN_SAVE, words & CONFIG_SHUTDOWN_NOSAVE),
        .force = (words & CONFIG_SHUTDOWN_FORCE) != 0,
        .failover = (words & CONFIG_SHUTDOWN_FAILOVER) != 0,
        .now = (words & CONFIG_SHUTDOWN_NOW) != 0,
    };
    if ((words & CONFIG_SHUTDOWN_SAFE) && farewell_is_unsafe(worker, &wish)) {
        farewell_log_unsafe(worker);
        server_stays(worker->server);
        return false;
    }
    if (farewell_is_needed(worker, &wish)) {
        farewell_begin(farewell, &wish);
        return false;
    }
    if (!wish.saves) {
        return true;
    }
    worker->loop.saves_for_signal = save_for_signal(worker);
    return false;
}

static void check_stop_signal(struct worker *worker) {
    struct server *server = worker->server;
    if (worker->id != 0 || worker->loop.stopping || shared_stop_signal(server->shared) == 0 ||
        !load_stop(worker) || !upstream_ends_reading(server->upstream)) {
        return;
    }
    int signal_number = shared_stop_signal(server->shared);
    if (signal_number != STOP_BY_COMMAND && !ends_by_signal(worker, signal_number)) {
        return;
    }
    worker->loop.stopping = true;
    scatter_wake(worker);
    if (server->ending != NULL) {
        server->ending();
    }
    for (unsigned i = 1; i < server->workers_count; i++) {
        struct message *message = &server->workers[i]->loop.stop_message;
        *message = (struct message){.kind = MESSAGE_STOP, .home = POST_ONE_WAY};
        post_send(server->office, 0, i, message);
    }
}

/* What runs, and replies that are ready, get a moment to leave; then all connections are closed. A
 * worker stays until nobody's are left, because what is away needs its owner to come home. False:
 * it has ended. */
static bool drain(struct worker *worker) {
    struct shared_counters *shared = worker->server->shared;
    int64_t now_ms = (int64_t)(rt_mono_ns(worker->rt) / 1000000); /* the turn's may be long past */
    if (worker->loop.drain_start_ms == 0) {
        worker->loop.drain_start_ms = now_ms;
        worker->loop.give_up_ms = now_ms + STOP_GIVE_UP_MS;
        if (worker->id == 0) {
            listen_stop(worker);
            scatter_wake(worker); /* who waits for what will not come now */
        }
    }
    if (worker->loop.resting == worker->loop.more) {
        worker->loop.resting = !worker->loop.more;
        shared_set_resting(shared, worker->loop.resting);
    }
    if (worker->id == 0) {
        save_cancel(worker->server->saver);
        inner_settle(worker->inner);
        http_stop(worker);
        if (shared_connections_total(shared) <= 1 ||
            now_ms - worker->loop.drain_start_ms > STOP_CLOSED_MS) {
            worker->loop.nobody_left = true;
            scatter_wake(worker);
        }
    }
    if (shared_connections_total(shared) == 0 && worker->save_share == NULL) {
        return worker->id == 0 && !save_is_idle(worker->server->saver);
    }
    if (!shared_all_rest(shared)) { /* one is busy, perhaps for long, with what others wait for */
        worker->loop.give_up_ms = now_ms + STOP_GIVE_UP_MS;
    }
    /* Or there is news of it: who takes turns with another rests whenever that one looks. */
    int64_t news_ms = worker->loop.mail_ms + STOP_GIVE_UP_MS;
    worker->loop.give_up_ms = worker->loop.give_up_ms > news_ms ? worker->loop.give_up_ms : news_ms;
    int64_t passed_ms = now_ms - worker->loop.drain_start_ms;
    LIST_EACH(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        if (passed_ms > STOP_DRAIN_MS || client_all_sent(client)) {
            if (!client_is_closing(client)) { /* who asked for the end starts anew at its sight */
                rt_stream_hold_to_exit(&client->stream);
            }
            client_close(client);
        }
    }
    if (now_ms > worker->loop.give_up_ms) {
        log_worker(worker, LOG_WARNING, "Some connections did not end in time.");
        worker->loop.gave_up = true;
        return false;
    }
    return true;
}

/* What a save does beside everything else. */
static void save_turn(struct worker *worker) {
    if (UNLIKELY(worker->save_share != NULL)) {
        save_share_work(worker);
    }
    if (worker->id == 0) {
        save_work(worker);
    }
}

/* watchdog-period: who does not make a turn for so long logs where it is. It says so ten times a
 * second. */
static void watchdog_turn(struct worker *worker) {
    int64_t period_ms = worker->config->watchdog_period;
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (period_ms != 0 && now_ms < worker->loop.watch_next_ms) {
        return;
    }
    worker->loop.watch_next_ms = now_ms + CRON_MS;
    worker->loop.watched = period_ms != 0;
    if (!crash_watch(worker->loop.crash_stack, period_ms)) {
        log_worker(worker, LOG_WARNING, "watchdog-period: there is no timer to be had.");
    }
}

/* The turn of a worker that is parked, or has just been: replies leave, nothing else happens. */
static bool stand_still(struct worker *worker) {
    struct wal *wal = worker_own_wal(worker);
    if (UNLIKELY(wal != NULL)) {
        gate_settle(wal); /* what was sealed before is on its way to the file */
    }
    news_send_if_any(worker, &worker->trackers); /* what it did in this turn is published, too */
    busy_serve(worker);
    clients_flush(worker);
    worker->stats.cycles++;
    worker->loop.more = false;
    worker->loop.sleep_ns = PARKED_TURN_NS;
    return true;
}

bool worker_turn(struct worker *worker) {
    worker_slice_begin(worker);
    wait_and_wake(worker);
    if (UNLIKELY(worker->config->watchdog_period != 0 || worker->loop.watched)) {
        watchdog_turn(worker);
    }
    uint64_t start = rt_ticks(worker->rt);
    worker_slice_begin(worker);
    bool more = mail_handle(worker);
    if (UNLIKELY(worker->parked.is)) {
        return stand_still(worker);
    }
    worker_slice_begin(worker);
    batches_go_on(worker);
    worker_slice_begin(worker);
    more |= scatter_run_jobs(worker);
    more |= txn_run_slices(worker);
    if (UNLIKELY(worker->parked.is)) {
        return stand_still(worker);
    }
    worker_slice_begin(worker);
    txn_gather_riders(worker);
    clients_run_ready(worker);
    txn_lead_riders(worker);
    worker_slice_begin(worker);
    blocked_open_unshown(worker);
    txn_settle(worker);
    int64_t waiter_ms = end_waits(worker);
    int64_t peers_ms = peers_work(worker); /* last of those who may ask others for something */
    waiter_ms = peers_ms < waiter_ms ? peers_ms : waiter_ms;
    worker_cron(worker);
    int64_t work_ms = background_work(worker); /* what calls cause belongs there: for visitors */
    if (UNLIKELY(worker->load != NULL)) {
        int64_t load_ms = load_some(worker);
        work_ms = load_ms < work_ms ? load_ms : work_ms;
    }
    if (UNLIKELY(worker->aside != NULL)) {
        int64_t aside_ms = aside_some(worker);
        work_ms = aside_ms < work_ms ? aside_ms : work_ms;
    }
    save_turn(worker);
    if (UNLIKELY(worker->http != NULL)) {
        http_turn(worker);
    }
    if (UNLIKELY(worker->wal != NULL)) {
        uint64_t sealed = rt_ticks(worker->rt);
        gate_seal(worker->wal);
        wal_cron(worker->wal);
        worker->stats.cycle_log_ticks += rt_ticks(worker->rt) - sealed;
    }
    if (worker->id == 0) {
        upstream_turn(worker->server->upstream); /* what it has applied leaves for others */
        failover_turn(worker->server->failover);
        farewell_turn(worker->server->farewell);
        primary_turn(worker->server->primary);
        errands_turn(worker);
        exports_turn(worker);
    }
    if (UNLIKELY(!list_empty(&worker->replicas))) {
        replicas_work(worker);
    }
    clients_flush(worker);
    more |= is_gate_open(worker);
    more |= evict_clients(worker);
    more |= worker_free_waste(worker);
    check_stop_signal(worker);
    worker->loop.more = more || background_is_left(worker) || txn_riders_wait(worker);
    worker->stats.cycles++;
    uint64_t end = rt_ticks(worker->rt), turn_ticks = end - rt_woke_ticks(worker->rt);
    turn_ticks += worker->loop.sliced_ticks;
    worker->stats.cycle_ticks += end - start + worker->loop.sliced_ticks;
    totals_note_turn(worker, turn_ticks);
    latency_note(worker, &worker->latency, LATENCY_TURN, turn_ticks);
    if (worker->loop.stopping) {
        peers_stop(worker);
        worker->loop.sleep_ns = worker->loop.more ? 0 : STOP_TURN_NS;
        bool goes_on = drain(worker) || (worker->wal != NULL && !wal_end(worker->wal));
        if (!goes_on && worker->id == 0) {
            cluster_stop(worker);
        }
        return goes_on;
    }
    worker->loop.sleep_ns = wait_ns(worker, work_ms, waiter_ms);
    return true;
}

void worker_publish(struct worker *worker) {
    struct post_office *office = worker->server->office;
    uint64_t wakes = post_get_stats(office, worker->id).wakes;
    bool left = post_publish(office, worker->id, worker->id, may_visit(worker));
    unsigned host;
    while (post_next_visit(office, worker->id, &host)) {
        if (may_go_on(worker) && host < worker->server->workers_count) {
            visit(worker, worker->server->workers[host]);
        } else {
            post_leave_awake(office, host, worker->id);
        }
    }
    if (post_get_stats(office, worker->id).wakes != wakes) {
        worker->loop.round_until = 0; /* they leave with the next runtime turn */
    }
    bool more = worker->loop.more || worker->loop.own_mail;
    if (more && !worker->loop.stopping) {
        worker->loop.sleep_ns = 0;
    } else if (left && worker->loop.sleep_ns > ROOM_WAIT_NS) {
        worker->loop.sleep_ns = ROOM_WAIT_NS;
    }
}

void worker_start(struct worker *worker) {
    worker->loop.cron_next_ms = rt_mono_ms(worker->rt);
    worker->tally.samples.last_ms = worker->loop.cron_next_ms;
    worker->loop.sleep_ns = 0;
    kill_points_watch(worker->server->kill_points, worker->rt);
    load_begin(worker);
    unsigned workers = worker->server->workers_count;
    worker->loop.visits = workers > 1;
    rt_on_sleep(worker->rt, sleeps, woke, worker);
    look_init(&worker->loop.look, workers > 1 && rt_may_look(worker->rt, workers));
}

static bool mail_found(void *arg) {
    const struct worker *worker = arg;
    return post_found(worker->server->office, worker->id);
}

void worker_run(struct worker *worker) {
    worker_start(worker);
    bool goes_on = true;
    while (goes_on) {
        if (worker_look(worker)) {
            rt_look(worker->rt, mail_found, worker, worker->loop.look_ns);
        }
        goes_on = worker_turn(worker);
        worker_publish(worker);
    }
    flood_tell(worker, true);
    rt_turn(worker->rt, 0); /* the last wake-ups leave while all runtimes are still there */
}
