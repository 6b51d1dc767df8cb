/* SPDX-License-Identifier: BSD-3-Clause */
/* errands: see the header. Each is a command of the server's inner client (client/inner.h), which
 * is in the middle of another one at times, so an errand is tried again each turn until it has
 * begun; and it is over when that client is. */
#include "server/cluster/errands.h"

#include "base/must.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/client/inner.h"
#include "server/cluster/cluster_map.h"
#include "server/cluster/export_share.h"
#include "server/cluster/exports.h"
#include "server/cluster/letters.h"
#include "server/cluster/slot_drop.h"
#include "server/commands/server/server_commands.h"
#include "server/replication/farewell.h"
#include "server/replication/follow.h"
#include "server/replication/primary.h"
#include "server/replication/upstream.h"
#include "server/txn/txn.h"
#include "server/worker/message.h"
#include "server/worker/park.h"
#include "server/worker/pausing.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

struct errands {
    struct list list;   /* the oldest first: it has begun, or is tried */
    bool over;          /* what the oldest has the inner client do */
    uint32_t followers; /* replicas that read the stream, as the brain has heard */
};

struct errands *errands_new(void) {
    struct errands *errands = must_calloc(1, sizeof *errands);
    list_init(&errands->list);
    return errands;
}

void errands_free(struct errands *errands) {
    if (errands != NULL) {
        LIST_EACH_SAFE(&errands->list, node) {
            free(LIST_ENTRY(node, struct errand, node));
        }
        free(errands);
    }
}

void errand_arrived(struct worker *worker, struct message *message) {
    struct errand *errand = (struct errand *)message;
    list_push_back(&worker->server->errands->list, &errand->node);
}

static struct errand *oldest(struct errands *errands) {
    return LIST_ENTRY(errands->list.ring.next, struct errand, node);
}

static struct errands *errands_of(const struct exec *x) {
    return x->worker->server->errands;
}

static void finish(struct exec *x) {
    reply_ok(x->reply);
    errands_of(x)->over = true;
}

/* ---- Keys of slots that are another's ---- */

struct drop_args {
    uint64_t map_version; /* the last one of which it is not known that the slots are gone by it */
    bool of_import; /* one that broke: those that ran out are nobody else's to delete, either */
    uint8_t slots[MAP_SLOTS / 8];
};

struct drop_part {
    struct slot_drop drop;
    unsigned slot;
};

/* It has come back meanwhile, or its keys are on their way here: they are not those that were to
 * go. */
static bool is_wanted(const struct worker *worker, const struct drop_args *args, unsigned slot) {
    const struct map *map = worker->cluster->map;
    return map->version > args->map_version &&
           (map->owner[slot] == map->myself || map_hides(map, (uint16_t)slot));
}

/* Some keys of the next slot that has any; false: there is none. */
static bool drop_some(struct worker *worker, const struct drop_args *args, struct drop_part *part) {
    for (; part->slot < MAP_SLOTS; part->slot++) {
        if (!(args->slots[part->slot / 8] >> part->slot % 8 & 1) ||
            (!args->of_import && is_wanted(worker, args, part->slot))) {
            continue;
        }
        int64_t now_ms = rt_wall_ms(worker->rt);
        if (part->drop.now_ms == 0 || part->drop.slot != part->slot) {
            part->drop = (struct slot_drop){.slot = (uint16_t)part->slot, .lazy = true};
        }
        part->drop.now_ms = now_ms;
        part->drop.seen_ms = args->of_import ? INT64_MIN : now_ms;
        if (!slot_drop_some(worker, &part->drop)) {
            return true;
        }
    }
    return false;
}

static bool drop_in_part(struct worker *worker, const void *args, void *result) {
    return !drop_some(worker, args, result);
}

static void dropped(struct exec *x, const struct scatter_result *result) {
    (void)result;
    finish(x);
}

static void drop_slots(struct exec *x) {
    struct drop_args args = {.of_import = oldest(errands_of(x))->kind == ERRAND_DROP_IMPORT};
    args.map_version = oldest(errands_of(x))->map_version;
    memcpy(args.slots, oldest(errands_of(x))->slots, sizeof args.slots);
    scatter_all(x, drop_in_part, sizeof(struct drop_part), &args, sizeof args, dropped);
}

/* ---- Writes stand still ---- */

/* In a view of all shards nothing moves: if all that was done is in the stream, that is where it
 * ends. Else it will be in a moment. */
static void look_at_end(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct primary *primary = x->worker->server->primary;
    reply_ok(x->reply);
    if (primary_is_still(primary, x->worker)) {
        cluster_tell_paused(x->worker, primary_offset(primary));
        errands_of(x)->over = true;
    } else {
        oldest(errands_of(x))->begun = false; /* it is tried again */
    }
}

static void find_end(struct exec *x) {
    if (txn_holds_all(x->client)) {
        park_all(x, look_at_end, NULL, 0);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

static void paused(struct exec *x, const struct scatter_result *result) {
    (void)result;
    reply_ok(x->reply);
    oldest(errands_of(x))->begun = false;
    oldest(errands_of(x))->stands_still = true;
}

static void unpaused(struct exec *x, const struct scatter_result *result) {
    (void)result;
    finish(x);
}

static void pause_began(struct exec *x, const struct scatter_result *result) {
    (void)result;
    pause_wait(x, paused);
}

static void pause_writes(struct exec *x) {
    int64_t until_ms = oldest(errands_of(x))->until_mono_ms;
    if (until_ms > 0) {
        pause_set(x, PAUSE_WRITE, until_ms, pause_began);
    } else {
        pause_set(x, PAUSE_NONE, 0, unpaused);
    }
}

/* ---- Slots that leave ---- */

static bool seals(const struct worker *worker, const struct errand *errand) {
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        if (errand->slots[slot / 8] >> slot % 8 & 1) {
            return map_seals(worker->cluster->map, (uint16_t)slot);
        }
    }
    return true;
}

/* All that was let in before is over, and every shard refuses what comes: what they have told of
 * is all. */
static void end_changes(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct server *server = x->worker->server;
    struct errand *errand = oldest(server->errands);
    bool sealed = true;
    reply_ok(x->reply);
    for (unsigned i = 0; i < server->workers_count; i++) {
        sealed &= seals(server->workers[i], errand);
    }
    if (!sealed) {
        errand->begun = false; /* it is tried again */
        return;
    }
    for (unsigned i = 0; i < server->workers_count; i++) {
        export_share_finish(server->workers[i], errand->job);
    }
    server->errands->over = true;
}

static void drain_export(struct exec *x) {
    if (txn_holds_all(x->client)) {
        park_all(x, end_changes, NULL, 0);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

/* ---- One after the other ---- */

static void flush(struct exec *x) {
    command_flushall(x);
    errands_of(x)->over = true; /* what follows it waits for the inner client */
}

static bool run_by(struct worker *home, struct errand *errand, command_fn *run) {
    struct errands *errands = home->server->errands;
    if (!errand->begun) {
        errands->over = false;
        errand->begun = inner_run(home->inner, run);
    }
    return errand->begun && errands->over;
}

/* Nobody replicates from here, so the end may never be found: not longer than is wanted. */
static bool is_in_vain(const struct worker *home, const struct errand *errand) {
    bool others = errand->node.next != &home->server->errands->list.ring;
    return errand->stands_still && !errand->begun &&
           (others || rt_mono_ms(home->rt) > errand->until_mono_ms);
}

/* Goes on with it; true: it is over. */
static bool go_on(struct worker *home, struct errand *errand) {
    switch (errand->kind) {
    case ERRAND_FOLLOW:
        if (home->config->tls_replication && errand->tls_port > 0) {
            errand->role.port = errand->tls_port;
        }
        return follow_some(home, &errand->role, &errand->begun);
    case ERRAND_FLUSH:
        return run_by(home, errand, flush);
    case ERRAND_DROP:
        return run_by(home, errand, drop_slots);
    case ERRAND_DROP_IMPORT:
        if (!run_by(home, errand, drop_slots)) {
            return false;
        }
        cluster_tell_import_dropped(home, errand->job);
        return true;
    case ERRAND_DRAIN_EXPORT:
        if (!errand->begun && !seals(home, errand)) { /* its map comes, or the job is over */
            return !exports_has(home->server->exports, errand->job);
        }
        return run_by(home, errand, drain_export);
    case ERRAND_PAUSE:
        return is_in_vain(home, errand) ||
               run_by(home, errand, errand->stands_still ? find_end : pause_writes);
    }
    return true;
}

static void tell_state(struct worker *home) {
    struct server *server = home->server;
    struct upstream_state state;
    upstream_state(server->upstream, &state);
    int64_t age_ms = state.up ? state.heard_ms : state.down_ms >= 0 ? state.down_ms : INT64_MAX;
    /* What there is is not the primary's, perhaps another's altogether, however far that was. */
    bool lacks = shared_loading(server->shared) || (server->role.replica && state.lacks);
    uint64_t offset = lacks ? 0 : primary_offset(server->primary);
    shared_set_place(server->shared, offset, server->role.replica ? age_ms : -1);
    if (home->acking_replicas > server->errands->followers) {
        cluster_tell_followed(home);
    }
    server->errands->followers = home->acking_replicas;
}

void errands_turn(struct worker *home) {
    struct errands *errands = home->server->errands;
    if (errands == NULL) {
        return;
    }
    /* A server that is about to end has handed over, perhaps: it follows nobody unless it stays. */
    while (!list_empty(&errands->list) && !farewell_is_under_way(home->server->farewell)) {
        struct errand *errand = oldest(errands);
        if (!go_on(home, errand)) {
            break;
        }
        list_remove(&errand->node);
        free(errand);
    }
    tell_state(home);
}
