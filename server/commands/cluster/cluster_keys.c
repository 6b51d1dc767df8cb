/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster_keys: what CLUSTER says of the keys of a slot, which lie on one shard.
 */
#include "base/must.h"
#include "base/num.h"
#include "cluster/brain/map.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/call.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/call/scatter.h"
#include "server/cluster/slot_drop.h"
#include "server/commands/cluster/cluster.h"
#include "server/config/config.h"
#include "server/node.h"
#include "server/observe/slot_stats.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <stdlib.h>
#include <string.h>

/* How many keys one turn may visit. */
#define SLICE_KEYS 512

static bool slot_argument(struct exec *x, uint32_t i, uint16_t *ret) {
    int64_t slot;
    if (!num_parse_i64(x->argv[i], &slot) || slot < 0 || slot >= SLOTS) {
        reply_error(x->reply, "ERR Invalid or out of range slot");
        return false;
    }
    *ret = (uint16_t)slot;
    return true;
}

/* ---- COUNTKEYSINSLOT ---- */

struct count_args {
    uint32_t db;
    uint16_t slot;
};

static bool count_part(struct worker *worker, const void *args_ptr, void *part) {
    const struct count_args *args = args_ptr;
    *(uint64_t *)part =
        keyspace_slot_count_in(worker_shard(worker)->keyspace, args->db, args->slot);
    return true;
}

static void count_done(struct exec *x, const struct scatter_result *result) {
    if (UNLIKELY(result->moved && x->client != NULL)) {
        scatter_again(x, result);
        return;
    }
    reply_int(x->reply, *(int64_t *)result->parts[0]);
}

void command_cluster_countkeysinslot(struct exec *x) {
    int64_t slot;
    if (cluster_map_or_error(x) == NULL || !exec_arg_i64(x, 2, &slot)) {
        return;
    }
    if (slot < 0 || slot >= SLOTS) {
        reply_error(x->reply, "ERR Invalid slot");
        return;
    }
    struct count_args args = {x->db, (uint16_t)slot};
    scatter_slot(x, args.slot, count_part, sizeof(uint64_t), &args, sizeof args, count_done);
}

/* ---- GETKEYSINSLOT ---- */

struct get_args {
    uint32_t db;
    uint16_t slot;
    uint64_t count;
};

struct got {
    struct outbuf keys; /* bulk strings */
    uint64_t taken, most;
    uint64_t cursor;
    bool begun;
};

static void get_visit(void *arg, struct entry *entry) {
    struct got *got = arg;
    if (got->taken < got->most) {
        struct reply reply;
        reply_init(&reply, &got->keys, 2);
        reply_bulk(&reply, entry_key(entry));
        got->taken++;
    }
}

static bool get_part(struct worker *worker, const void *args_ptr, void *part) {
    const struct get_args *args = args_ptr;
    struct got *got = part;
    if (!got->begun) {
        outbuf_init(&got->keys);
        got->begun = true;
        got->most = args->count;
        got->cursor = scan_cursor_at_slot(args->slot);
    }
    uint64_t left = got->most - got->taken, keys = left < SLICE_KEYS ? left : SLICE_KEYS;
    if (keys > 0) { /* of any time: what has run out and is still there counts as well */
        got->cursor = keyspace_scan_slots(worker_shard(worker)->keyspace, args->db, got->cursor,
                                          args->slot + 1u, keys, INT64_MIN, get_visit, got);
    }
    return got->taken == got->most || got->cursor == 0 ||
           scan_cursor_slot(got->cursor) != args->slot;
}

static void get_done(struct exec *x, const struct scatter_result *result) {
    struct got *got = result->parts[0];
    if (UNLIKELY(result->moved && x->client != NULL)) {
        outbuf_fini(&got->keys);
        scatter_again(x, result);
        return;
    }
    reply_array(x->reply, got->taken);
    outbuf_splice(x->reply->out, &got->keys);
    outbuf_fini(&got->keys);
}

void command_cluster_getkeysinslot(struct exec *x) {
    int64_t slot, count;
    if (cluster_map_or_error(x) == NULL || !exec_arg_i64(x, 2, &slot) ||
        !exec_arg_i64(x, 3, &count)) {
        return;
    }
    if (slot < 0 || slot >= SLOTS || count < 0) {
        reply_error(x->reply, "ERR Invalid slot or number of keys");
        return;
    }
    struct get_args args = {x->db, (uint16_t)slot, (uint64_t)count};
    scatter_slot(x, args.slot, get_part, sizeof(struct got), &args, sizeof args, get_done);
}

/* ---- FLUSHSLOT ---- */

/* With the locks of all keys, as FLUSHALL: for others it is one moment, however many slices it
 * takes. One shard has no such locks, and does it at once. */
static bool flush_part(struct worker *worker, const void *args, void *part) {
    struct slot_drop *drop = part;
    if (drop->now_ms == 0) {
        *drop = *(const struct slot_drop *)args;
    }
    bool at_once = worker_node(worker)->count == 1, over;
    do {
        over = slot_drop_some(worker, drop);
    } while (at_once && !over);
    return over;
}

void command_cluster_flushslot(struct exec *x) {
    struct slot_drop drop = {
        .origin = {x->caller->txn, x->caller->order},
        .seen_ms = INT64_MIN,
        .now_ms = x->now_ms,
        .lazy = worker_config(x->worker)->lazyfree_lazy_user_flush,
    };
    if (cluster_map_or_error(x) == NULL) {
        return;
    }
    if (x->argc > 4) {
        reply_subcommand_error(x);
        return;
    }
    if (!slot_argument(x, 2, &drop.slot)) {
        return;
    }
    if (x->argc == 4) {
        drop.lazy = bytes_is(x->argv[3], "async");
        if (!drop.lazy && !bytes_is(x->argv[3], "sync")) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
    }
    effect_told(x);
    scatter_slot(x, drop.slot, flush_part, sizeof drop, &drop, sizeof drop, scatter_ok);
}

/* ---- SLOT-STATS ---- */

/* What there is to say of a slot, in this order. The first is always counted, by the shards that
 * have the keys; the others, while they are, by who has run the commands (slot_stats.h). */
enum stats_metric { KEY_COUNT, CPU_USEC, BYTES_IN, BYTES_OUT, STATS_METRICS };

static const struct bytes metric_names[STATS_METRICS] = {
    [KEY_COUNT] = BYTES("key-count"),
    [CPU_USEC] = BYTES("cpu-usec"),
    [BYTES_IN] = BYTES("network-bytes-in"),
    [BYTES_OUT] = BYTES("network-bytes-out"),
};

struct stats_args {
    bool by_range, ascending;
    uint8_t metrics;  /* so many of them are shown */
    uint8_t order_by; /* one of them */
    uint16_t first, last;
    uint32_t limit;
};

struct slot_stats_row {
    uint16_t slot;
    uint64_t values[STATS_METRICS];
    uint64_t key; /* to sort by */
};

static bool stats_part(struct worker *worker, const void *args_ptr, void *part) {
    const struct stats_args *args = args_ptr;
    struct slot_stats_row **rows = part;
    const struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct slot_stat *stats = worker_slot_stats(worker)->of;
    const struct node *node = worker_node(worker);
    *rows = must_calloc(SLOTS, sizeof **rows);
    for (uint32_t slot = args->first; slot <= args->last; slot++) {
        uint64_t *values = (*rows)[slot].values;
        if (node_owner(node, (uint16_t)slot) == worker_id(worker)) {
            values[KEY_COUNT] = keyspace_slot_count(ks, (uint16_t)slot);
        }
        if (stats != NULL) {
            values[CPU_USEC] = rt_ticks_to_ns(worker_rt(worker), stats[slot].ticks);
            values[BYTES_IN] = stats[slot].in_bytes;
            values[BYTES_OUT] = stats[slot].out_bytes;
        }
    }
    return true;
}

/* Equal ones are in the order of their slots, either way. */
static int more_first(const void *one, const void *other) {
    const struct slot_stats_row *a = one, *b = other;
    return a->key != b->key ? (a->key < b->key) - (a->key > b->key)
                            : (a->slot > b->slot) - (a->slot < b->slot);
}

static int fewer_first(const void *one, const void *other) {
    const struct slot_stats_row *a = one, *b = other;
    return a->key != b->key ? (a->key > b->key) - (a->key < b->key)
                            : (a->slot > b->slot) - (a->slot < b->slot);
}

static void write_stats(struct reply *r, const struct stats_args *args,
                        const struct slot_stats_row *rows, uint32_t count) {
    reply_array(r, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_array(r, 2);
        reply_int(r, rows[i].slot);
        reply_map(r, args->metrics);
        for (unsigned metric = 0; metric < args->metrics; metric++) {
            reply_bulk(r, metric_names[metric]);
            reply_int(r, (int64_t)rows[i].values[metric]);
        }
    }
}

static void stats_done(struct exec *x, const struct scatter_result *result) {
    const struct stats_args *args = result->args;
    const struct map *map = worker_map(x->worker);
    struct slot_stats_row *rows = must_malloc(SLOTS * sizeof *rows);
    uint32_t count = 0;
    for (uint32_t slot = args->first; slot <= args->last; slot++) {
        uint16_t owner = map->owner[slot];
        if (owner == MAP_NONE || owner != map_my_primary(map)) {
            continue;
        }
        struct slot_stats_row row = {.slot = (uint16_t)slot};
        for (unsigned i = 0; i < result->parts_count; i++) {
            for (unsigned metric = 0; metric < STATS_METRICS; metric++) {
                row.values[metric] +=
                    (*(struct slot_stats_row **)result->parts[i])[slot].values[metric];
            }
        }
        row.values[CPU_USEC] /= 1000;
        row.key = row.values[args->order_by];
        rows[count++] = row;
    }
    for (unsigned i = 0; i < result->parts_count; i++) {
        free(*(struct slot_stats_row **)result->parts[i]);
    }
    if (!args->by_range) {
        qsort(rows, count, sizeof *rows, args->ascending ? fewer_first : more_first);
    }
    write_stats(x->reply, args, rows, count < args->limit ? count : args->limit);
    free(rows);
}

static bool stats_range(struct exec *x, struct stats_args *args) {
    if (!slot_argument(x, 3, &args->first) || !slot_argument(x, 4, &args->last)) {
        return false;
    }
    if (args->first > args->last) {
        reply_errorf(x->reply, "ERR Start slot number %u is greater than end slot number %u",
                     args->first, args->last);
        return false;
    }
    return true;
}

#define ERR_TWICE "ERR Multiple filters of the same type are disallowed."

static bool stats_metric(struct exec *x, struct stats_args *args) {
    for (uint8_t metric = 0; metric < args->metrics; metric++) {
        if (bytes_equal_nocase(x->argv[3], metric_names[metric])) {
            args->order_by = metric;
            return true;
        }
    }
    reply_error(x->reply, "ERR Unrecognized sort metric for ORDERBY.");
    return false;
}

static bool stats_order(struct exec *x, struct stats_args *args) {
    bool limit = false, order = false;
    if (!stats_metric(x, args)) {
        return false;
    }
    for (uint32_t i = 4; i < x->argc; i++) {
        struct bytes word = x->argv[i];
        if (bytes_is(word, "limit") && i + 1 < x->argc) {
            int64_t n;
            if (limit) {
                reply_error(x->reply, ERR_TWICE);
                return false;
            }
            if (!exec_arg_range(x, ++i, 1, SLOTS,
                                "ERR Limit has to lie in between 1 and 16384 (maximum number of "
                                "slots).",
                                &n)) {
                return false;
            }
            args->limit = (uint32_t)n;
            limit = true;
        } else if (bytes_is(word, "asc") || bytes_is(word, "desc")) {
            if (order) {
                reply_error(x->reply, ERR_TWICE);
                return false;
            }
            args->ascending = bytes_is(word, "asc");
            order = true;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void command_cluster_slot_stats(struct exec *x) {
    bool counts = worker_config(x->worker)->cluster_slot_stats_enabled;
    struct stats_args args = {
        .first = 0,
        .last = SLOTS - 1,
        .limit = SLOTS,
        .metrics = counts ? STATS_METRICS : KEY_COUNT + 1,
    };
    if (cluster_map_or_error(x) == NULL) {
        return;
    }
    if (x->argc == 5 && bytes_is(x->argv[2], "slotsrange")) {
        args.by_range = true;
        if (!stats_range(x, &args)) {
            return;
        }
    } else if (x->argc >= 4 && bytes_is(x->argv[2], "orderby")) {
        if (!stats_order(x, &args)) {
            return;
        }
    } else {
        reply_subcommand_error(x);
        return;
    }
    scatter_all(x, stats_part, sizeof(uint64_t *), &args, sizeof args, stats_done);
}
