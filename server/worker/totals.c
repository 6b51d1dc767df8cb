/* SPDX-License-Identifier: BSD-3-Clause */
/* totals: each worker counts for itself, without atomics; whoever wants to know asks all of them
 * and adds up.
 *
 * So the numbers are exact for everything that was answered before the question, whichever thread
 * did it.
 */
#include "server/worker/totals.h"

#include "base/must.h"
#include "server/call/command_table.h"
#include "server/client/client.h"
#include "server/cluster/export_share.h"
#include "server/cluster/exports.h"
#include "server/observe/commandlog.h"
#include "server/persistence/save_share.h"
#include "server/replication/farewell.h"
#include "server/replication/replica.h"
#include "server/worker/pools.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* client_recent_max_*: of this window and the one before. */
#define RECENT_MS 4000

static uint64_t memory_fixed(const struct worker *worker) {
    unsigned commands = command_table_count(worker->server->commands);
    uint64_t bytes = sizeof(*worker) + commands * sizeof(*worker->tally.commands);
    for (unsigned i = 0; i < commands; i++) {
        bytes += worker->tally.commands[i].latency ? sizeof(struct histogram) : 0;
    }
    return bytes + worker->scratch.block_bytes;
}

/* What is kept of commands for who may ask. */
static size_t memory_logs(const struct worker *worker) {
    return commandlogs_memory(&worker->logs) + latency_memory(&worker->latency) +
           hotkeys_memory(&worker->hotkeys) + slot_stats_memory(&worker->slot_stats);
}

static void take_commands(const struct worker *worker, bool latencies, struct totals_part *part) {
    unsigned n = command_table_count(worker->server->commands);
    part->commands = must_calloc(n, sizeof(*part->commands));
    for (unsigned i = 0; i < n; i++) {
        const struct command_stats *from = &worker->tally.commands[i];
        struct command_total *to = &part->commands[i];
        to->calls = from->calls;
        to->rejected = from->rejected;
        to->failed = from->failed;
        to->ns = rt_ticks_to_ns(worker->rt, from->ticks);
        if (latencies && from->latency != NULL) {
            to->latency = must_malloc(sizeof(*to->latency));
            memcpy(to->latency, from->latency, sizeof(*to->latency));
        }
    }
}

static void take_databases(const struct worker *worker, int64_t now_ms, struct totals_part *part) {
    const struct keyspace *ks = worker->shard.keyspace;
    uint32_t n = (uint32_t)config_databases(worker->config);
    part->databases = must_calloc(n, sizeof(*part->databases));
    for (uint32_t db = 0; db < n; db++) {
        struct database_total *to = &part->databases[db];
        to->keys = keyspace_shown(ks, db);
        to->expires = keyspace_count_expiring(ks, db);
        to->expires = to->expires < to->keys ? to->expires : to->keys; /* some may be hidden */
        to->volatiles = keyspace_count_volatile(ks, db);
        if (to->expires > 0) {
            to->ttl_sum_ms = (double)keyspace_average_ttl(ks, db, now_ms) * (double)to->expires;
            to->ttl_weight = to->expires;
        }
        to->table_bytes = keyspace_table_memory(ks, db);
        to->wheel_bytes = keyspace_wheel_memory(ks, db);
    }
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void take_clients(const struct worker *worker, struct totals *to) {
    to->watched_keys += worker->shard.watches.keys.count;
    to->subscribed += worker->topics.clients;
    to->tracking += worker->trackers.clients;
    to->tracked_prefixes = worker->trackers.prefixes.count;
    to->tracked_keys += worker->shard.tracks.keys.count;
    to->tracked_items += worker->shard.tracks.items.count;
    to->blocking_keys += worker->shard.waiters.lines.count;
    to->blocking_keys_when_gone += worker->shard.waiters.lines_when_gone;
    to->clients_bytes += watch_memory(&worker->shard.watches) +
                         tracks_memory(&worker->shard.tracks) +
                         own_deadlines_memory(&worker->shard.own_deadlines);
    to->exports_bytes += export_shares_memory(worker);
    if (worker->id == 0 && worker->server->exports != NULL) {
        to->exports_bytes += exports_memory(worker->server->exports);
    }
    LIST_EACH(&worker->clients.all, node) {
        const struct client *client = LIST_ENTRY(node, struct client, node);
        *(client->flags & CLIENT_IMPORTS ? &to->imports_bytes : &to->clients_bytes) +=
            client_memory(client);
        to->connections += !client_is_over(client) && !replica_is(client); /* as Valkey counts */
        to->watching += client->watches != NULL;
        if (replica_is(client)) {
            to->replica_bytes =
                larger(to->replica_bytes, client->out.bytes + replica_held_bytes(client));
        }
        if (client_is_shown_blocked(client)) {
            to->blocked++;
            to->blocked_with_timeout += client->wait.until_ms != INT64_MAX;
        }
    }
}

/* Worker 0 has that of all: the peaks of several fall at different times. */
static void note_peak(struct worker *worker, uint64_t bytes) {
    struct shared_counters *shared = worker->server->shared;
    shared_set_memory(shared, worker->id, bytes);
    if (worker->id == 0) {
        worker->tally.memory_peak = larger(worker->tally.memory_peak, shared_memory_total(shared));
    }
}

size_t totals_memory_beside_keys(const struct worker *worker) {
    return worker->clients.memory + watch_memory(&worker->shard.watches) +
           tracks_memory(&worker->shard.tracks) +
           own_deadlines_memory(&worker->shard.own_deadlines) + memory_fixed(worker) +
           worker_pools_memory(worker) + memory_logs(worker) + worker->script_bytes +
           worker->function_bytes;
}

void totals_cron(struct worker *worker) {
    if (worker->room.limit == 0) {
        room_note(worker, totals_memory_beside_keys(worker));
    }
    note_peak(worker, keyspace_memory(worker->shard.keyspace) + worker->room.beside);
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (now_ms - worker->tally.recent.since_ms >= RECENT_MS) {
        worker->tally.recent.since_ms = now_ms;
        worker->tally.recent.input = worker->stats.input_max;
        worker->tally.recent.output = worker->stats.output_max;
        worker->stats.input_max = 0;
        worker->stats.output_max = 0;
    }
}

static void take_save(const struct worker *worker, struct totals *to) {
    const struct save_share *share = worker->save_share;
    to->save_waits = worker->shard.unshown.closed;
    to->save_stall_bytes = worker->walks.stall_bytes_max;
    if (share != NULL) {
        to->save_keys = save_share_keys(share);
        to->save_keys_total = share->keys_total;
        to->save_bytes = save_share_memory(share);
        to->save_bytes_max = share->kept_max;
    }
}

static struct totals_saves take_saves(const struct server *server) {
    const struct saver *saver = server->saver;
    bool syncs = saver->save != NULL && saver->purpose == SAVE_SYNC;
    struct totals_saves saves = {
        .saving = syncs || (saver->save != NULL && saver->purpose == SAVE_BACKGROUND),
        .rewriting = saver->save != NULL && saver->purpose == SAVE_REWRITE,
        .log = wals_state(server),
        .rewrite_scheduled = saver->rewrite_scheduled,
        .saves = saver->saves,
        .rewrites = saver->rewrites,
        .last_keys_total = saver->last_keys_total,
    };
    if (syncs) { /* that is the one under way */
        saves.saves.began_at = saver->syncs.began_at;
    }
    return saves;
}

static void take_numbers(struct worker *worker, int64_t now_ms, struct totals *to) {
    const struct keyspace *ks = worker->shard.keyspace;
    const struct rt_stats *rt = rt_get_stats(worker->rt);
    to->stats = worker->stats;
    to->stats.input_max = larger(to->stats.input_max, worker->tally.recent.input);
    to->stats.output_max = larger(to->stats.output_max, worker->tally.recent.output);
    to->keyspace = *keyspace_stats(ks);
    to->post = post_get_stats(worker->server->office, worker->id);
    to->mailbox_depth = post_depth(worker->server->office, worker->id);
    for (uint32_t db = 0; db < (uint32_t)config_databases(worker->config); db++) {
        to->keys += keyspace_count(ks, db);
    }
    take_clients(worker, to);
    to->peers = worker->peers.count;
    to->keyspace_bytes = keyspace_memory(ks);
    to->fixed_bytes = memory_fixed(worker);
    to->pools_bytes = worker_pools_memory(worker);
    to->scripts_bytes = worker->script_bytes;
    to->functions_bytes = worker->function_bytes;
    to->logs_bytes = memory_logs(worker);
    if (worker->wal != NULL) {
        to->log = wal_under_way(worker->wal);
    }
    to->leased_bytes = worker->room.lease;
    to->over_ms = worker->room.over_ms;
    to->over_now_ms = worker->room.over ? rt_mono_ms(worker->rt) - worker->room.over_since_ms : 0;
    to->heap_used = heap_used(worker->shard.heap);
    to->heap_reserved = heap_reserved(worker->shard.heap);
    for (int i = 0; i < RATE_COUNT; i++) {
        to->rates[i] = worker_rate(worker, (enum worker_rate)i);
    }
    to->longest_turn_ns = rt_ticks_to_ns(worker->rt, worker->stats.longest_turn_ticks);
    to->parked = worker->parked.count;
    to->cycle_ns = rt_ticks_to_ns(worker->rt, worker->stats.cycle_ticks);
    to->cycle_command_ns = rt_ticks_to_ns(worker->rt, worker->stats.cycle_command_ticks);
    to->cycle_log_ns = rt_ticks_to_ns(worker->rt, worker->stats.cycle_log_ticks);
    to->cycle_cron_ns = rt_ticks_to_ns(worker->rt, worker->stats.cycle_cron_ticks);
    to->expire_ns = rt_ticks_to_ns(worker->rt, worker->stats.expire_ticks);
    to->waited_ns = rt_ticks_to_ns(worker->rt, worker->stats.waited_ticks);
    to->looked_ns = rt_ticks_to_ns(worker->rt, worker->stats.looked_ticks);
    rt_thread_usage(&to->user_us, &to->system_us);
    int64_t pause_left_ms = worker->pause.until_ms - rt_mono_ms(worker->rt);
    to->pause_holds = worker->pause.holds;
    if (worker->pause.asked != PAUSE_NONE && pause_left_ms > 0) {
        to->pause = worker->pause.asked;
        to->pause_left_ms = pause_left_ms;
    }
    take_save(worker, to);
    to->sends = rt->sends;
    to->recvs = rt->recvs;
    note_peak(worker, totals_memory(to));
    to->peak_bytes = worker->tally.memory_peak;
}

bool totals_take(struct worker *worker, const void *args, void *result) {
    const struct totals_request *request = args;
    struct totals_part *part = result;
    int64_t now_ms = rt_wall_ms(worker->rt);
    take_numbers(worker, now_ms, &part->totals);
    if (worker->id == 0) {
        part->saves = take_saves(worker->server);
        part->replication = must_malloc(sizeof *part->replication);
        primary_state(worker->server->primary, part->replication);
        upstream_state(worker->server->upstream, &part->replication->upstream);
        part->stops_in_ms = farewell_left_ms(worker->server->farewell);
    }
    if (request->databases) {
        take_databases(worker, now_ms, part);
    }
    if (request->commands || request->latencies) {
        take_commands(worker, request->latencies, part);
    }
    if (request->errors) {
        part->errors = must_malloc((worker->tally.errors_count + 1) * sizeof(*part->errors));
        part->errors_count = worker->tally.errors_count;
        memcpy(part->errors, worker->tally.errors,
               worker->tally.errors_count * sizeof(*part->errors));
    }
    return true;
}

void totals_part_fini(struct totals_part *part, unsigned commands) {
    for (unsigned i = 0; part->commands != NULL && i < commands; i++) {
        free(part->commands[i].latency);
    }
    free(part->commands);
    free(part->databases);
    free(part->errors);
    if (part->replication != NULL) {
        primary_state_fini(part->replication);
        free(part->replication);
    }
}

struct totals_stream totals_stream(const struct totals *sum, const struct primary_state *state) {
    uint64_t backlog = state->backlog_bytes;
    uint64_t total = larger(backlog, sum->replica_bytes);
    uint64_t limit = larger(backlog, state->backlog_size);
    return (struct totals_stream){backlog, total, total > limit ? total - limit : 0};
}

uint64_t totals_memory(const struct totals *totals) {
    return totals->keyspace_bytes + totals_overhead(totals);
}

uint64_t totals_overhead(const struct totals *totals) {
    return totals->clients_bytes + totals->fixed_bytes + totals->pools_bytes + totals->logs_bytes +
           totals->scripts_bytes + totals->functions_bytes;
}

static void add_stats(struct worker_stats *sum, const struct worker_stats *part) {
    sum->connections_received += part->connections_received;
    sum->connections_rejected += part->connections_rejected;
    sum->commands_processed += part->commands_processed;
    sum->ops_here += part->ops_here;
    sum->ops_away += part->ops_away;
    sum->txns += part->txns;
    sum->txn_refusals += part->txn_refusals;
    sum->lock_waits += part->lock_waits;
    sum->gathered += part->gathered;
    sum->ops_moved += part->ops_moved;
    sum->ops_for_others += part->ops_for_others;
    sum->batches_away += part->batches_away;
    sum->looks += part->looks;
    sum->looks_found += part->looks_found;
    sum->visits += part->visits;
    sum->rounds += part->rounds;
    sum->net_input += part->net_input;
    sum->net_output += part->net_output;
    sum->net_repl_input += part->net_repl_input;
    sum->net_repl_output += part->net_repl_output;
    sum->net_import += part->net_import;
    sum->net_export += part->net_export;
    sum->reads += part->reads;
    sum->writes += part->writes;
    sum->error_replies += part->error_replies;
    sum->unexpected_errors += part->unexpected_errors;
    sum->query_limit_disconnects += part->query_limit_disconnects;
    sum->output_limit_disconnects += part->output_limit_disconnects;
    sum->evicted_clients += part->evicted_clients;
    for (unsigned i = 0; i < ACL_LOG_REASONS; i++) {
        sum->denied[i] += part->denied[i];
    }
    sum->input_max = larger(part->input_max, sum->input_max);
    sum->output_max = larger(part->output_max, sum->output_max);
    sum->cycles += part->cycles;
    sum->cycle_commands_max = larger(part->cycle_commands_max, sum->cycle_commands_max);
}

/* Shards walk side by side: the longest counts. */
static void add_defrag_times(struct keyspace_stats *sum, const struct keyspace_stats *part) {
    sum->defrag_ms = part->defrag_ms > sum->defrag_ms ? part->defrag_ms : sum->defrag_ms;
    int64_t since = part->defrag_since_ms;
    if (since != 0 && (sum->defrag_since_ms == 0 || since < sum->defrag_since_ms)) {
        sum->defrag_since_ms = since;
    }
}

void totals_add(struct totals *sum, const struct totals *part) {
    add_stats(&sum->stats, &part->stats);
    sum->keyspace.hits += part->keyspace.hits;
    sum->keyspace.misses += part->keyspace.misses;
    sum->keyspace.expired_keys += part->keyspace.expired_keys;
    sum->keyspace.expired_fields += part->keyspace.expired_fields;
    sum->keyspace.evicted_keys += part->keyspace.evicted_keys;
    sum->keyspace.changes += part->keyspace.changes;
    sum->keyspace.defrag_hits += part->keyspace.defrag_hits;
    sum->keyspace.defrag_misses += part->keyspace.defrag_misses;
    sum->keyspace.defrag_key_hits += part->keyspace.defrag_key_hits;
    sum->keyspace.defrag_key_misses += part->keyspace.defrag_key_misses;
    add_defrag_times(&sum->keyspace, &part->keyspace);
    sum->keyspace.lazyfree_pending += part->keyspace.lazyfree_pending;
    sum->keyspace.lazyfreed += part->keyspace.lazyfreed;
    sum->keyspace.lazyfreed_many += part->keyspace.lazyfreed_many;
    sum->connections += part->connections;
    sum->blocked += part->blocked;
    sum->blocked_with_timeout += part->blocked_with_timeout;
    sum->watching += part->watching;
    sum->peers += part->peers;
    sum->watched_keys += part->watched_keys;
    sum->imports_bytes += part->imports_bytes;
    sum->exports_bytes += part->exports_bytes;
    sum->tracking += part->tracking;
    sum->tracked_prefixes = larger(sum->tracked_prefixes, part->tracked_prefixes);
    sum->tracked_keys += part->tracked_keys;
    sum->tracked_items += part->tracked_items;
    sum->subscribed += part->subscribed;
    sum->blocking_keys += part->blocking_keys;
    sum->blocking_keys_when_gone += part->blocking_keys_when_gone;
    sum->keys += part->keys;
    sum->replica_bytes = larger(sum->replica_bytes, part->replica_bytes);
    sum->clients_bytes += part->clients_bytes;
    sum->keyspace_bytes += part->keyspace_bytes;
    sum->fixed_bytes += part->fixed_bytes;
    sum->pools_bytes += part->pools_bytes;
    sum->scripts_bytes += part->scripts_bytes;
    sum->functions_bytes += part->functions_bytes;
    sum->logs_bytes += part->logs_bytes;
    sum->log.buffered += part->log.buffered;
    sum->log.buffers += part->log.buffers;
    sum->log.syncs += part->log.syncs;
    sum->log.syncs_delayed += part->log.syncs_delayed;
    sum->over_ms = part->over_ms > sum->over_ms ? part->over_ms : sum->over_ms;
    sum->over_now_ms = part->over_now_ms > sum->over_now_ms ? part->over_now_ms : sum->over_now_ms;
    sum->heap_used += part->heap_used;
    sum->heap_reserved += part->heap_reserved;
    sum->peak_bytes = larger(sum->peak_bytes, part->peak_bytes);
    for (int i = 0; i < RATE_COUNT; i++) {
        sum->rates[i] += part->rates[i];
    }
    sum->cycle_ns += part->cycle_ns;
    sum->cycle_command_ns += part->cycle_command_ns;
    sum->cycle_log_ns += part->cycle_log_ns;
    sum->cycle_cron_ns += part->cycle_cron_ns;
    sum->expire_ns += part->expire_ns;
    sum->longest_turn_ns = larger(part->longest_turn_ns, sum->longest_turn_ns);
    sum->user_us += part->user_us;
    sum->system_us += part->system_us;
    sum->pause = part->pause > sum->pause ? part->pause : sum->pause;
    sum->pause_holds |= part->pause_holds;
    if (part->pause_left_ms > sum->pause_left_ms) {
        sum->pause_left_ms = part->pause_left_ms;
    }
    sum->save_keys += part->save_keys;
    sum->save_keys_total += part->save_keys_total;
    sum->save_bytes += part->save_bytes;
    sum->save_bytes_max += part->save_bytes_max;
    sum->sends += part->sends;
    sum->recvs += part->recvs;
}

void totals_note_turn(struct worker *worker, uint64_t ticks) {
    struct worker_stats *stats = &worker->stats;
    stats->longest_turn_ticks = larger(ticks, stats->longest_turn_ticks);
    uint64_t then = worker->loop.commands_then;
    if (stats->commands_processed > then) { /* else they have been reset */
        uint64_t commands = stats->commands_processed - then;
        stats->cycle_commands_max = larger(commands, stats->cycle_commands_max);
        worker->tally.turns[worker->tally.turns_noted++ % TURNS_KEPT] = (struct turn_note){
            .ms = rt_mono_ms(worker->rt),
            .ticks = ticks,
            .commands = (uint32_t)commands,
            .last_id = worker->tally.last_id,
            .client = worker->runs_for.client,
        };
    }
    worker->loop.commands_then = stats->commands_processed;
}

void totals_reset(struct worker *worker) {
    memset(&worker->stats, 0, sizeof(worker->stats));
    worker->room.over_ms = 0;
    memset(&worker->tally.recent, 0, sizeof(worker->tally.recent));
    memset(worker->tally.errors, 0, sizeof(worker->tally.errors));
    memset(&worker->tally.samples.last, 0, sizeof(worker->tally.samples.last));
    memset(&worker->tally.samples.rate, 0, sizeof(worker->tally.samples.rate));
    worker->tally.errors_count = worker->tally.errors_made_up = 0;
    slot_stats_reset(&worker->slot_stats);
    keyspace_reset_stats(worker->shard.keyspace);
    if (worker->wal != NULL) {
        wal_reset_stats(worker->wal);
    }
    if (worker->id == 0) {
        primary_reset_stats(worker->server->primary);
    }
    for (unsigned i = 0; i < command_table_count(worker->server->commands); i++) {
        struct histogram *latency = worker->tally.commands[i].latency;
        free(latency);
        memset(&worker->tally.commands[i], 0, sizeof(worker->tally.commands[i]));
    }
}
