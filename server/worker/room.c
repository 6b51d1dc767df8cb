/* SPDX-License-Identifier: BSD-3-Clause */
/* room: see the header. */
#include "server/worker/room.h"

#include "net/rt.h"
#include "server/config/config.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

/* A lease is taken in pieces of so much; less where that would be much of all. */
#define PIECE_MAX ((size_t)64 << 10)
#define PIECE_MIN ((size_t)512)
/* Who is asked for room works on it for so long in a turn. */
#define ASKED_NS (200 * 1000)
/* Such a part of the limit, for all shards, is what each pool may have of it. */
#define KEPT_PART 128
/* What a client has under way with full buffers, more or less; and such a part of the limit, for
 * all shards, these may take while memory is short. */
#define UNDER_WAY_BYTES ((size_t)64 << 10)
#define UNDER_WAY_PART  256
/* Buffers of so few clients of a shard are within what is tolerated; and that they come and go with
 * each reply would cost keys, which would never fill what is left. */
#define UNDER_WAY_FEW 8
/* Keys that were not there, or locked, when they should have gone: then something else comes first.
 */
#define TRIES_MAX 16
/* The clock is read after so many keys. */
#define KEYS_A_LOOK 8

/* ---- How much there is ---- */

/* What stays only because a save still reads it does not count: to evict more would not help. */
static size_t used(const struct worker *worker) {
    const struct keyspace *keyspace = worker->shard.keyspace;
    return keyspace_memory(keyspace) - keyspace_kept_memory(keyspace) + worker->room.beside;
}

static bool is_over(const struct worker *worker) {
    return used(worker) > worker->room.lease;
}

static size_t piece(const struct worker *worker) {
    size_t bytes = worker->room.limit / 256 / worker->server->workers_count;
    return bytes > PIECE_MAX ? PIECE_MAX : bytes < PIECE_MIN ? PIECE_MIN : bytes;
}

/* What all together may lease over the limit while shards with better candidates are asked. */
static size_t tolerance(const struct worker *worker) {
    uint64_t limit = worker->room.limit;
    size_t more = limit / 32 < ((size_t)3 << 18) ? limit / 32 : (size_t)3 << 18;
    return limit / 128 + more;
}

/* So little is left that what lies idle is missed elsewhere. */
static bool is_short(const struct worker *worker) {
    size_t left = shared_lease_left(worker->server->shared, worker->room.limit);
    return left < 2 * worker->server->workers_count * piece(worker);
}

/* Whether buffers have to be small: what those of all clients may take is more than is tolerated,
 * and than what is left. Not what they take just now, as that falls by it. */
static bool is_frugal(const struct worker *worker) {
    size_t buffers = worker->clients.count * UNDER_WAY_BYTES;
    uint64_t limit = worker->room.limit;
    size_t count = worker->server->workers_count;
    return worker->clients.count >= UNDER_WAY_FEW && buffers > limit / UNDER_WAY_PART / count &&
           shared_lease_left(worker->server->shared, limit) < buffers * count + limit / 16;
}

/* True if that is enough. */
static bool take(struct worker *worker) {
    struct room *room = &worker->room;
    size_t bytes = used(worker);
    if (bytes > room->lease) {
        room->lease += shared_lease_take(worker->server->shared, room->limit, bytes - room->lease,
                                         piece(worker), 2 * worker->server->workers_count);
    }
    return bytes <= room->lease;
}

static void give_back(struct worker *worker, size_t bytes) {
    worker->room.lease -= bytes;
    shared_lease_return(worker->server->shared, bytes);
}

static size_t surplus(const struct worker *worker) {
    size_t bytes = used(worker);
    return worker->room.lease > bytes ? worker->room.lease - bytes : 0;
}

bool room_may_keep(const struct worker *worker, const struct stock *stock, unsigned most,
                   size_t bytes) {
    return stock->count < most &&
           (worker->room.limit == 0 || (stock->count + 1) * bytes <= worker->room.kept_max);
}

/* ---- What may go ---- */

static bool evicts(const struct worker *worker) {
    return worker->config->maxmemory_policy != CONFIG_EVICT_NONE;
}

static struct evict_rule rule_of(const struct config *config) {
    enum config_eviction policy = config->maxmemory_policy;
    return (struct evict_rule){
        .by = config_eviction_is_lru(policy)        ? EVICT_BY_IDLE
              : config_eviction_is_lfu(policy)      ? EVICT_BY_FREQUENCY
              : policy == CONFIG_EVICT_VOLATILE_TTL ? EVICT_BY_DEADLINE
                                                    : EVICT_AT_RANDOM,
        .expiring_only =
            policy == CONFIG_EVICT_VOLATILE_LRU || policy == CONFIG_EVICT_VOLATILE_LFU ||
            policy == CONFIG_EVICT_VOLATILE_TTL || policy == CONFIG_EVICT_VOLATILE_RANDOM,
        .lazy = config->lazyfree_lazy_eviction,
        .samples = (uint32_t)config->maxmemory_samples,
    };
}

/* Scores that differ by less are as good as equal: a shard is not asked for that. */
static uint64_t margin(enum evict_by by) {
    return by == EVICT_BY_FREQUENCY ? 1 << 16 : by == EVICT_BY_DEADLINE ? 1000 : 1;
}

/* Takes what it needs over the limit, too, but no more than this of that. */
static bool take_over(struct worker *worker, size_t over) {
    struct room *room = &worker->room;
    size_t bytes = used(worker);
    if (bytes > room->lease) {
        room->lease += shared_lease_take(worker->server->shared, room->limit + over,
                                         bytes - room->lease, 0, 1);
    }
    return bytes <= room->lease;
}

/* Asks the shard with the best candidates for room, if it is another. The score of those here; 0:
 * there are none. */
static bool ask(struct worker *worker, uint64_t score, size_t bytes) {
    struct server *server = worker->server;
    size_t here = keyspace_memory(worker->shard.keyspace);
    unsigned best = shared_best_to_evict(server->shared, worker->id, score,
                                         score > 0 ? margin(rule_of(worker->config).by) : 0,
                                         score > 0 ? here + here / 16 + 2 * piece(worker) : 0);
    if (best == worker->id) {
        return false;
    }
    if (shared_ask_room(server->shared, best, bytes)) {
        rt_wake(worker->rt, server->threads[best]);
    }
    return true;
}

/* ---- Making room ---- */

/* maxmemory-eviction-tenacity: up to 10 it grows evenly to half a millisecond, then by 15% each;
 * 100 is for ever. */
static uint64_t time_ns(const struct config *config) {
    int64_t tenacity = config->maxmemory_eviction_tenacity;
    if (tenacity >= 100) {
        return UINT64_MAX;
    }
    double us = 50.0 * (double)(tenacity < 10 ? tenacity : 10);
    for (int64_t i = 10; i < tenacity; i++) {
        us *= 1.15;
    }
    return (uint64_t)(us * 1000);
}

enum making { MADE, MAKING, NOTHING_LEFT };

static uint64_t begins_at(const struct worker *worker) {
    return UNLIKELY(worker->latency.ticks != UINT64_MAX) ? rt_ticks(worker->rt) : 0;
}

static void note_time(struct worker *worker, enum latency_event event, uint64_t began) {
    if (UNLIKELY(began > 0)) {
        latency_note(worker, &worker->latency, event, rt_ticks(worker->rt) - began);
    }
}

static enum evicted evict_one(struct worker *worker, const struct evict_rule *rule) {
    uint64_t began = begins_at(worker);
    enum evicted evicted = keyspace_evict(worker->shard.keyspace, rule, rt_wall_ms(worker->rt));
    note_time(worker, LATENCY_EVICTION_DEL, began);
    return evicted;
}

/* Frees until `enough` says so, or for a time. */
static enum making evict(struct worker *worker, size_t lease, uint64_t ns) {
    struct keyspace *keyspace = worker->shard.keyspace;
    struct evict_rule rule = rule_of(worker->config);
    uint64_t began = 0;
    unsigned tries = 0;
    uint64_t cycle_began = begins_at(worker);
    uint64_t asked_for = worker->runs_for.client;
    worker->runs_for.client = 0; /* it is nobody's doing: who tracks is told */
    enum making result = MAKING;
    for (unsigned i = 1; result == MAKING && tries < TRIES_MAX; i++) {
        if (used(worker) <= lease) {
            result = MADE;
        } else if (!keyspace_free_some(keyspace)) {
            enum evicted evicted = evicts(worker) ? evict_one(worker, &rule) : EVICTED_NONE;
            tries += evicted == EVICTED_LATER;
            result = evicted == EVICTED_NONE ? NOTHING_LEFT : MAKING;
        }
        if (i % KEYS_A_LOOK == 0) {
            uint64_t now = rt_ticks(worker->rt);
            began = began == 0 ? now : began;
            if (rt_ticks_to_ns(worker->rt, now - began) > ns) {
                break;
            }
        }
    }
    worker->runs_for.client = asked_for;
    note_time(worker, LATENCY_EVICTION_CYCLE, cycle_began);
    return result;
}

static size_t missing(const struct worker *worker) {
    size_t bytes = used(worker);
    return bytes > worker->room.lease ? bytes - worker->room.lease : 0;
}

/* Nothing can be evicted here. Others may have something: then it goes on, so much a turn. */
static bool may_go_over(struct worker *worker) {
    if (worker->server->workers_count == 1 || !ask(worker, 0, missing(worker) + piece(worker))) {
        return false;
    }
    if (!take_over(worker, tolerance(worker))) {
        worker->slice.end = 0;
    }
    return missing(worker) <= 4 * tolerance(worker);
}

/* Another shard has something better, and gives room for it soon. */
static bool gets_from_others(struct worker *worker) {
    if (worker->server->workers_count == 1 || !evicts(worker)) {
        return false;
    }
    struct evict_rule rule = rule_of(worker->config);
    uint64_t score = keyspace_evict_next(worker->shard.keyspace, &rule, rt_wall_ms(worker->rt));
    return ask(worker, score, missing(worker) + piece(worker)) &&
           take_over(worker, tolerance(worker) / 2);
}

static void note_over(struct worker *worker, bool over) {
    struct room *room = &worker->room;
    if (over != room->over) {
        int64_t now_ms = rt_mono_ms(worker->rt);
        room->over_ms += over ? 0 : now_ms - room->over_since_ms;
        room->over_since_ms = now_ms;
        room->over = over;
        shared_set_lacks_room(worker->server->shared, worker->id, over);
    }
}

static bool holds_still(const struct worker *worker) {
    return worker->load != NULL || worker->pause.kind > PAUSE_SLOTS;
}

static __attribute__((noinline)) bool make(struct worker *worker) {
    if (take(worker)) {
        note_over(worker, false);
        return true;
    }
    if (gets_from_others(worker)) {
        return true;
    }
    enum making made = evict(worker, worker->room.lease, time_ns(worker->config));
    if (made == NOTHING_LEFT && take(worker)) {
        made = MADE;
    }
    note_over(worker, made != MADE);
    return made != NOTHING_LEFT || may_go_over(worker);
}

bool room_make(struct worker *worker) {
    if (LIKELY(!is_over(worker)) && LIKELY(!worker->room.over)) {
        return true;
    }
    return UNLIKELY(holds_still(worker)) || make(worker);
}

bool room_is_there(struct worker *worker) {
    if (worker->room.limit == 0 || !is_over(worker) || holds_still(worker) || take(worker)) {
        return true;
    }
    struct evict_rule rule = rule_of(worker->config);
    return evicts(worker) &&
           (keyspace_may_evict(worker->shard.keyspace, &rule) || may_go_over(worker));
}

bool worker_has_room(struct worker *worker) {
    return worker->room.limit == 0 || room_is_anywhere(worker);
}

bool room_is_anywhere(struct worker *worker) {
    if (worker->room.limit == 0 || holds_still(worker)) {
        return true;
    }
    bool here = room_make(worker);
    if (evicts(worker)) {
        return here;
    }
    size_t total = shared_used_memory(worker->server->shared);
    return here && total <= worker->room.limit;
}

/* ---- Once a turn ---- */

static void publish(struct worker *worker, uint64_t score) {
    shared_set_used_memory(worker->server->shared, worker->id, used(worker),
                           keyspace_memory(worker->shard.keyspace), score);
}

void room_note(struct worker *worker, size_t beside) {
    worker->room.beside = beside;
    publish(worker, 0);
}

/* Others have asked for this much: it is evicted, and given back as far as it has been freed. */
static void serve(struct worker *worker, size_t bytes) {
    size_t lease = worker->room.lease;
    size_t spare = surplus(worker);
    if (spare < bytes && !holds_still(worker)) {
        evict(worker, lease > bytes ? lease - bytes : 0, ASKED_NS);
        spare = surplus(worker);
    }
    give_back(worker, spare < bytes ? spare : bytes);
}

/* Its share of the limit where all together use more than that. */
static size_t share_of(const struct worker *worker) {
    uint64_t limit = worker->room.limit;
    size_t bytes = used(worker), total = shared_used_memory(worker->server->shared);
    return total > limit ? (size_t)((double)limit * ((double)bytes / (double)total)) : SIZE_MAX;
}

/* Where nothing can be evicted all refuse when together they use more than there is, whoever does.
 */
static void share_out(struct worker *worker) {
    size_t share = share_of(worker);
    if (UNLIKELY(worker->room.lease > share)) {
        give_back(worker, worker->room.lease - share);
    }
}

/* Together they have taken more than there is: who has the best candidates gives it back. True: it
 * is this one, and there is more to do. */
static bool settle(struct worker *worker, uint64_t score, size_t over) {
    if (holds_still(worker) || score == 0 || ask(worker, score, over)) {
        return false;
    }
    serve(worker, over);
    return shared_leased_over(worker->server->shared, worker->room.limit) > 0;
}

int64_t room_turn(struct worker *worker, int64_t now_ms) {
    struct shared_counters *shared = worker->server->shared;
    size_t asked = shared_asked_room(shared, worker->id);
    if (asked > 0) {
        serve(worker, asked);
    }
    if (!evicts(worker)) {
        share_out(worker);
    }
    bool more = room_make(worker) && is_over(worker) && !holds_still(worker);
    size_t keeps = piece(worker) / 4;
    size_t spare = surplus(worker);
    if (spare > keeps && (spare > 2 * PIECE_MAX || is_short(worker))) {
        give_back(worker, spare - keeps);
    }
    uint64_t score = 0;
    if (evicts(worker)) {
        struct evict_rule rule = rule_of(worker->config);
        score = keyspace_evict_next(worker->shard.keyspace, &rule, now_ms);
    }
    publish(worker, score);
    worker->room.frugal = is_frugal(worker);
    size_t over = shared_leased_over(shared, worker->room.limit);
    if (UNLIKELY(over > 0)) {
        more |= settle(worker, score, over);
    }
    return more ? now_ms : INT64_MAX;
}

/* ---- The configuration ---- */

void room_configure(struct worker *worker) {
    struct room *room = &worker->room;
    bool ignores = worker->server->role.replica && worker->config->replica_ignore_maxmemory;
    uint64_t limit = ignores ? 0 : worker->config->maxmemory;
    keyspace_evict_anew(worker->shard.keyspace);
    room->kept_max = limit / KEPT_PART / worker->server->workers_count;
    if (limit == room->limit) {
        return;
    }
    publish(worker, 0);
    room->limit = limit;
    size_t share = share_of(worker);
    share = share < used(worker) ? share : used(worker);
    if (room->lease > share) {
        give_back(worker, room->lease - share);
    } else if (limit > 0 && room->lease < share) {
        room->lease += shared_lease_take(worker->server->shared, limit, share - room->lease, 0, 1);
    }
    if (limit == 0) {
        room->frugal = false;
        note_over(worker, false);
    }
}
