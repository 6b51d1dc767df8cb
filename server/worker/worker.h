/* SPDX-License-Identifier: BSD-3-Clause */
/* worker: one thread of the server: a runtime, a shard, and the connections that live here.
 *
 * Thread: its own only, but for the fields set before it starts. Others reach it by messages, or
 * take its place while it sleeps (visit.h): "its own" thread is said of both.
 */
#ifndef SHOAL_SERVER_WORKER_WORKER_H
#define SHOAL_SERVER_WORKER_WORKER_H

#include "base/arena.h"
#include "base/check.h"
#include "base/list.h"
#include "base/outbuf.h"
#include "base/random.h"
#include "net/rt.h"
#include "persist/snapshot/walk.h"
#include "server/call/batches.h"
#include "server/client/clients.h"
#include "server/cluster/redirect.h"
#include "server/observe/commandlogs.h"
#include "server/observe/flood.h"
#include "server/observe/hotkeys.h"
#include "server/observe/latency.h"
#include "server/observe/monitors.h"
#include "server/observe/slot_stats.h"
#include "server/observe/tally.h"
#include "server/pubsub/topics.h"
#include "server/server.h"
#include "server/tracking/trackers.h"
#include "server/txn/txns.h"
#include "server/worker/loop_state.h"
#include "server/worker/parked.h"
#include "server/worker/pause.h"
#include "server/worker/peers.h"
#include "server/worker/room.h"
#include "server/worker/spare.h"
#include "server/worker/stock.h"
#include "server/worker/view.h"
#include "shard/shard.h"

struct acceptor;
struct acl_users;
struct cluster_map;
struct effects;
struct functions;
struct http;
struct inner;
struct load_worker;
struct aside_part;
struct save_share;
struct script_state;
struct wal;

/* A part of a turn works for so long. */
struct slice {
    uint64_t tick;  /* rt_ticks when the last command ended: slices go by it */
    uint64_t ticks; /* that each part of a turn may take, and one command more */
    uint64_t end;   /* of this part, in ticks; UINT64_MAX: it has done nothing yet */
};

struct worker {
    struct server *server;
    struct node *node; /* whose worker it is */
    unsigned id;
    struct rt *rt;
    struct shard shard;
    const struct config *config; /* this worker's view; replaced by message */
    uint64_t config_number;      /* which of the snapshots made so far it is: config_commands.c */
    const struct cluster_map *cluster; /* cluster/cluster_map.h; NULL: not in a cluster */
    char redirect[REDIRECT_BYTES];     /* the last error of call/slot_check.h */
    const struct acl_users *users;     /* the same of the table of users (client/identity.h) */
    uint64_t users_number;
    struct slice slice;
    const struct exec *exec; /* the command that runs now, or NULL: for who looks at a crash */
    struct arena scratch;    /* of the requests being parsed; reset when a read is done with */
    struct rng rng;
    /* For whom commands run, if any do: told by who lets them, for clients that track. */
    struct {
        uint64_t client;
        unsigned home;               /* of that */
        const struct acl_user *user; /* elsewhere than at its home: rights.h; or NULL */
    } runs_for;
    struct outbuf discard; /* where replies go that nobody wants */

    struct clients clients;
    struct batches batches;
    struct txns txns;
    struct queues queues;
    struct topics topics;
    struct trackers trackers;
    struct monitors monitors;
    struct commandlogs logs;
    struct floods floods;
    struct latency latency;
    struct hotkeys hotkeys;
    struct slot_stats slot_stats;
    bool notifies;           /* notify-keyspace-events names classes and where they are told */
    struct list jobs;        /* scatter parts that go on in slices */
    struct list jobs_asleep; /* that were told nothing can be done yet (scatter_sleep) */
    bool job_sleeps;
    struct pause pause;
    struct parked parked;
    struct peers peers;
    struct spare spare;
    struct load_worker *load; /* persistence/load.h: it loads its share; NULL: nothing to load */
    struct effects *effects;  /* effects.h: NULL while nobody wants to know what writes do */
    struct wal *wal;          /* persistence/wal.h: NULL: there has been no log yet */
    bool keys_ready;          /* there may be something for who waits for keys (waiters.h) */
    struct script_state *script_state; /* script/state.h; NULL until the first script */
    size_t script_bytes;               /* that it takes in Lua */
    bool scripts_debug;                /* scripts may call DEBUG */
    struct functions *functions;       /* script/functions.h; NULL until the first of them, */
    size_t function_bytes;             /* and in Lua */
    struct inner *inner;               /* worker 0: inner.h */
    struct acceptor *acceptor;         /* worker 0: listeners and placement (listen.h) */
    struct http *http;                 /* worker 0: http/http.h; NULL: before its start */
    struct loop_state loop;
    struct worker_stats stats;
    struct tally tally;

    struct walks walks;   /* of its shard, by whatever writes it */
    struct list exports;  /* shares of slots that leave (cluster/export_share.h) */
    struct list replicas; /* connected here (replication/replica.h) */

    struct aside_part *aside;      /* persistence/aside.h: it reads a file; or NULL */
    struct save_share *save_share; /* its share of the save that is under way; or NULL */
    bool saves_fail;               /* the last one did */
    bool hindered_by_disk;         /* so writes wait for one that does not (check.h) */
    uint32_t good_replicas;        /* as the stream's home says (replication/primary.h) */
    uint32_t acking_replicas;      /* those that read the stream, and say how far they are */
    bool lacks_replicas;           /* min-replicas-to-write or replicas-ack wants more of them */
    unsigned hindrances;           /* those, and what else concerns all clients (check.h) */

    struct room room;    /* of maxmemory */
    bool owner_asks;     /* there is a limit, or it refuses something: check_owner may say no */
    char *refuses;       /* an error for commands on its keys: DEBUG REFUSE; NULL: none */
    bool refuses_writes; /* only for those that write: the log cannot be written */
    bool active_expire;  /* DEBUG SET-ACTIVE-EXPIRE */
    bool demoted;        /* its clients are to hear that this is a replica now */

    uint64_t effects_wants; /* how often it was said who wants effects */
    uint64_t effects_txns;  /* transactions that began while nobody did */
};

/* Slices: a turn has parts, as input, messages and clients that go on. Each works for a slice of
 * time, leaves the rest to the next turn, and does something in every turn: so what is finished is
 * seen soon, and nobody is kept waiting by the others' work. Said at the start of a part. */
static inline void worker_slice_begin(struct worker *worker) {
    worker->slice.end = UINT64_MAX;
}
/* Something is about to run. */
static inline void worker_slice_enter(struct worker *worker) {
    worker->slice.tick = rt_ticks(worker->rt);
    if (worker->slice.end == UINT64_MAX) {
        worker->slice.end = worker->slice.tick + worker->slice.ticks;
        /* After a long command the turn's time is not the time any more. */
        if (UNLIKELY(worker->slice.tick - rt_woke_ticks(worker->rt) > worker->slice.ticks)) {
            rt_wall_us(worker->rt);
        }
    }
}
/* As of the last command that ran. */
static inline bool worker_slice_over(const struct worker *worker) {
    return worker->slice.tick >= worker->slice.end;
}

/* Whether an op on its keys may have to wait: keyset_is_blocked says. */
static inline bool worker_may_block(const struct worker *worker) {
    return UNLIKELY(worker->shard.locks.requests > 0 || !list_empty(&worker->walks.list));
}

/* What a worker keeps for use again (pools.h): gives an outbuf that holds nothing a chunk, if there
 * is one; ends an outbuf and keeps its chunk. */
void worker_lend_chunk(struct worker *worker, struct outbuf *empty);
#define CHUNK_FRUGAL_BYTES 512
/* One that is empty, and where replies will be: it begins small where memory is short. */
static inline void worker_begin_small(const struct worker *worker, struct outbuf *out) {
    if (UNLIKELY(worker->room.frugal) && out->head == NULL) {
        outbuf_begin_small(out, CHUNK_FRUGAL_BYTES);
    }
}
void worker_reclaim_chunk(struct worker *worker, struct outbuf *out);
/* Takes over what is large and needed no more; it is freed in slices. */
void worker_waste(struct worker *worker, struct arena *arena, size_t bytes);
void worker_waste_replies(struct worker *worker, struct outbuf *out);
/* A slice of that; true if there is more. */
bool worker_free_waste(struct worker *worker);

/* Somebody looks at this shard at another thread's time: if that is later than this thread's, it
 * looks at its clock again, so that nobody sees the shard at an earlier time after that. */
void worker_reach_time(struct worker *worker, int64_t now_ms);
/* Keys stay past their deadline till somebody else says so: they are hidden, but to him. */
static inline bool worker_keeps_dead(const struct worker *worker) {
    return worker->config->import_mode || worker->server->role.replica;
}
/* What its own thread may look at: who has it parked may be making one. */
static inline struct wal *worker_own_wal(const struct worker *worker) {
    return UNLIKELY(worker->parked.is) ? worker->parked.wal : worker->wal;
}
/* What becomes of keys past their deadline follows the configuration, CLIENT PAUSE, DEBUG. */
void worker_set_expiry(struct worker *worker);
/* Its keyspace counts accesses as the configuration says: by time, or how many. */
void worker_set_lru(const struct worker *worker);

/* Means of the last samples, which are taken every now and then. */
void worker_sample_rates(struct worker *worker);
uint64_t worker_rate(const struct worker *worker, enum worker_rate rate);

#endif
