/* SPDX-License-Identifier: BSD-3-Clause */
/* totals: the numbers of all workers added up: what INFO and MEMORY STATS print.
 *
 * Thread: totals_take on the worker's own thread; the sums at home.
 */
#ifndef SHOAL_SERVER_WORKER_TOTALS_H
#define SHOAL_SERVER_WORKER_TOTALS_H

#include "server/call/scatter.h"
#include "server/observe/tally.h"
#include "server/persistence/save.h"
#include "server/persistence/wal.h"
#include "server/persistence/wals.h"
#include "server/replication/primary.h"
#include "server/worker/pause.h"
#include "shard/keys/keyspace.h"
#include "shard/mailbox.h"

struct database_total {
    uint64_t keys, expires, volatiles;
    uint64_t ttl_weight; /* keys that ttl_sum stands for */
    double ttl_sum_ms;
    uint64_t table_bytes, wheel_bytes;
};

/* One command's statistics. */
struct command_total {
    uint64_t calls, rejected, failed;
    uint64_t ns;
    struct histogram *latency; /* copy, or NULL */
};

/* Of one worker, or the sum of all. */
struct totals {
    struct worker_stats stats;
    struct keyspace_stats keyspace;
    struct post_stats post;
    uint64_t mailbox_depth;
    uint64_t connections, blocked, blocked_with_timeout;
    uint64_t peers;                   /* connections to other servers */
    uint64_t imports_bytes;           /* of clients by which slots come at once */
    uint64_t exports_bytes;           /* what waits to be sent of slots that leave so */
    uint64_t watching;                /* clients that watch keys */
    uint64_t watched_keys;            /* here, none twice */
    uint64_t tracking;                /* clients that track; */
    uint64_t tracked_prefixes;        /* for prefixes; all workers know all */
    uint64_t tracked_keys;            /* keys here that some have read, */
    uint64_t tracked_items;           /* by how many clients, added up */
    uint64_t subscribed;              /* clients */
    uint64_t blocking_keys;           /* that somebody waits for; the same */
    uint64_t blocking_keys_when_gone; /* also for their end */
    uint64_t keys;
    uint64_t replica_bytes;  /* what the slowest replica has not been sent: they share it */
    uint64_t clients_bytes;  /* clients and all they hold */
    uint64_t keyspace_bytes; /* keys, values, tables, timers */
    uint64_t fixed_bytes;    /* what a worker takes without keys and clients */
    uint64_t pools_bytes;    /* what it keeps for use again */
    uint64_t scripts_bytes, functions_bytes; /* what Lua takes for either */
    uint64_t logs_bytes;          /* command logs, spikes of LATENCY, names of hot keys */
    struct wal_under_way log;     /* what it has not written or synced */
    uint64_t leased_bytes;        /* of maxmemory */
    int64_t over_ms, over_now_ms; /* for how long it used more than it may: in all, and now */
    uint64_t heap_used, heap_reserved;
    uint64_t peak_bytes; /* worker 0's: of all */
    uint64_t rates[RATE_COUNT];
    uint64_t longest_turn_ns;
    uint64_t parked; /* how often it stood still for another */
    uint64_t cycle_ns, cycle_command_ns, cycle_log_ns, cycle_cron_ns, expire_ns;
    uint64_t waited_ns, looked_ns;
    uint64_t user_us, system_us; /* of the thread */
    enum pause_kind pause;
    int64_t pause_left_ms;
    unsigned pause_holds;
    uint64_t sends, recvs;
    /* Of the save that is under way: keys that it has written, and had; memory that it keeps now,
     * and kept at most. */
    uint64_t save_keys, save_keys_total, save_bytes, save_bytes_max;
    /* Of all saves so far: keys whose changes waited till it had read them, and the most bytes that
     * it had to read at once for one that did not. */
    uint64_t save_waits, save_stall_bytes;
};

/* What worker 0 knows of saves (server/persistence/save.h). */
struct totals_saves {
    bool saving, rewriting, rewrite_scheduled;
    struct save_record saves, rewrites;
    uint64_t last_keys_total; /* of the latest, also when it is over */
    struct wals_state log;
};

/* What is gathered besides. */
struct totals_request {
    bool databases, commands, latencies, errors;
};

struct totals_part {
    struct totals totals;
    struct totals_saves saves;         /* worker 0's */
    struct primary_state *replication; /* the same; malloc */
    int64_t stops_in_ms;               /* the same (farewell_left_ms) */
    struct database_total *databases;
    struct command_total *commands;
    struct error_stat *errors;
    unsigned errors_count;
};

/* A scatter_part_fn; args is a struct totals_request, the part a struct totals_part. */
bool totals_take(struct worker *worker, const void *args, void *result);
void totals_part_fini(struct totals_part *part, unsigned commands);

/* A turn is over that took so long. */
void totals_note_turn(struct worker *worker, uint64_t ticks);

/* Adds a part's numbers. */
void totals_add(struct totals *sum, const struct totals *part);
/* What the replication stream takes, in bytes: the backlog, all of it, and what of that is kept for
 * a slow replica alone. Replicas share what they have not been sent, with the backlog and with each
 * other. */
struct totals_stream {
    uint64_t backlog, total, beyond;
};
struct totals_stream totals_stream(const struct totals *sum, const struct primary_state *state);

/* Bytes in use. */
uint64_t totals_memory(const struct totals *totals);
/* Those of them that are not for keys, or their tables. */
uint64_t totals_overhead(const struct totals *totals);

/* The same of a worker, without its keys, as far as its clients are accounted for. */
size_t totals_memory_beside_keys(const struct worker *worker);

/* Now and then: looks how much memory is in use, for the peak, and forgets what is not recent any
 * more. */
void totals_cron(struct worker *worker);

/* CONFIG RESETSTAT on this worker. */
void totals_reset(struct worker *worker);

#endif
