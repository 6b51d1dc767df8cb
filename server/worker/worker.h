/* SPDX-License-Identifier: BSD-3-Clause */
/* worker: one thread of the server: a runtime, a shard, and the connections that live here.
 *
 * Thread: its own only, but for the fields set before it starts. Others reach it by messages.
 */
#ifndef SHOAL_SERVER_WORKER_WORKER_H
#define SHOAL_SERVER_WORKER_WORKER_H

#include "base/arena.h"
#include "base/check.h"
#include "base/histogram.h"
#include "base/links.h"
#include "base/list.h"
#include "base/outbuf.h"
#include "base/pqueue.h"
#include "base/random.h"
#include "net/rt.h"
#include "server/server.h"
#include "server/worker/look.h"
#include "server/worker/pause.h"
#include "server/worker/stock.h"
#include "shard/shard.h"

struct acceptor;
struct batch;
struct effects;
struct client;
struct txn;
struct multi_queue;

/* Statistics of one command (subcommand) on one worker; INFO adds them up. */
struct command_stats {
    uint64_t calls, rejected, failed;
    uint64_t ticks;            /* rt_ticks spent */
    struct histogram *latency; /* made at first use while latency-tracking is on */
};

/* Counters of one worker; INFO adds them up, CONFIG RESETSTAT zeroes those that Valkey zeroes. */
struct worker_stats {
    uint64_t connections_received, connections_rejected;
    uint64_t commands_processed;
    uint64_t ops_here; /* ops of this worker's clients that ran here */
    uint64_t ops_away; /* that were sent to other shards: hops */
    uint64_t ops_for_others;
    uint64_t ops_moved; /* that went on, or were planned anew, as their slot had gone elsewhere */
    uint64_t batches_away;       /* trips */
    uint64_t looks, looks_found; /* for messages before a sleep; that brought some (look.h) */
    uint64_t txns, txn_refusals; /* operations on several shards; numbers that came too late */
    uint64_t txn_times_moved;    /* because keys had run out while the locks were asked for */
    uint64_t lock_waits;         /* operations on one shard that had to wait for those */
    uint64_t net_input, net_output;
    uint64_t reads, writes;
    uint64_t error_replies;
    uint64_t query_limit_disconnects, output_limit_disconnects, evicted_clients;
    uint64_t auth_denied;
    uint64_t input_max, output_max; /* client_recent_max_*_buffer */
    uint64_t cycles, cycle_ticks, cycle_command_ticks;
    uint64_t longest_turn_ticks; /* from the end of its wait to its own */
};

/* errorstats: counts by error code. */
struct error_stat {
    char code[32];
    uint64_t count;
};
#define ERROR_STATS_MAX 128

/* Messages taken from the mailboxes at once. */
#define INBOX_MESSAGES 256

struct worker {
    struct server *server;
    struct node *node; /* whose worker it is */
    unsigned id;
    struct rt *rt;
    struct shard shard;
    const struct config *config; /* this worker's view; replaced by message */
    uint64_t config_number;      /* which of the snapshots made so far it is: config_commands.c */
    size_t memory_peak;          /* the most that totals.c has seen */
    struct {
        int64_t since_ms;       /* stats.input_max and output_max count from here */
        uint64_t input, output; /* theirs in the seconds before */
    } recent;
    struct arena scratch; /* of the requests being parsed; reset when a read is done with */
    struct rng rng;

    struct list clients;
    struct links clients_by_id;
    unsigned clients_count;
    struct list dirty;       /* clients with output to send at the end of the turn */
    struct list ready;       /* clients whose wait is over */
    struct list delayed;     /* clients whose output waits for more of it, oldest first */
    struct list paused;      /* clients that wait for CLIENT PAUSE to end */
    struct pqueue deadlines; /* of waits that end by themselves: client/wait.h */
    struct list jobs;        /* scatter parts that go on in slices */
    struct links suspended;  /* batches whose next op waits, by client: for a lock */
    struct list cut;         /* or for the next turn */
    struct pqueue parts;     /* of transactions that hold locks here, by the transaction's time */
    struct txn *txn_pool;
    struct stock txn_stock;
    struct batch *batch_pool;
    struct stock batch_stock;
    struct multi_queue *multi_pool;
    struct stock multi_stock;
    struct outbuf_chunk *chunk_pool; /* for the replies of batches and transactions */
    struct stock chunk_stock;
    struct batch **open_batches; /* by target: of the client that is being worked off */
    unsigned open_count;
    struct effects *effects; /* effects.h: NULL while nobody wants to know what writes do */
    unsigned wide_ops;       /* of its clients, in batches: on one shard, but in several slots */
    uint64_t tick;           /* rt_ticks when the last command ended: slices go by it */
    uint64_t slice_ticks;    /* that each part of a turn may take, and one command more */
    uint64_t slice_end;      /* of this part, in ticks; UINT64_MAX: it has done nothing yet */
    struct arena waste;      /* queues that were large, freed little by little */
    struct outbuf waste_replies; /* and what clients that have gone did not read */
    size_t waste_bytes;          /* of the queues */
    struct outbuf discard;       /* where replies go that nobody wants */
    size_t clients_memory;       /* sum of client->memory */
    bool evicts;                 /* maxmemory-clients is set */
    struct pqueue evictable;     /* then: the clients that may be evicted, by memory below zero */

    struct pause pause;
    char *refuses; /* DEBUG REFUSE: its error for every command on its keys; NULL: none */

    struct command_stats *commands; /* by command id: command_table.h */
    struct worker_stats stats;
    struct error_stat errors[ERROR_STATS_MAX];
    unsigned errors_count;
    int64_t cron_next_ms;
    int64_t collect_next_ms; /* sysmem_collect */
    unsigned cron_clients;   /* that are still to be looked at, by turns */
    struct message *inbox[INBOX_MESSAGES];
    unsigned inbox_at, inbox_count;
    int64_t mail_ms; /* monotonic: when the last message came */
    int64_t http_logged_ms;
    int64_t state_logged_ms; /* monotonic */
    int64_t sleep_ns;        /* how long the next turn may wait; 0: there is work */
    bool asleep;             /* it has announced that */
    struct look look;
    bool looking; /* for messages, since look_start, look_ns at most */
    enum look_reason look_reason;
    uint64_t look_start, look_ns;
    uint64_t mail_seen; /* messages received up to its last rest */
    bool more;          /* there is work for another turn at once */
    bool stopping;
    int64_t drain_start_ms;      /* monotonic: when it began to stop; 0: it has not */
    bool resting;                /* it stops, and has nothing more to work off */
    int64_t give_up_ms;          /* monotonic: when it stops waiting for connections to end */
    bool gave_up;                /* it did: who knows what still names its memory */
    bool active_expire;          /* DEBUG SET-ACTIVE-EXPIRE */
    struct acceptor *acceptor;   /* worker 0: listeners and placement (listen.h) */
    struct message stop_message; /* from worker 0 */
    /* instantaneous_*: rates per second of commands, input bytes, output bytes, loop turns; samples
     * of the last 1.6 s */
    struct {
        int64_t last_ms;
        uint64_t last[4];
        uint64_t rate[4][16];
        unsigned index;
    } samples;
};

/* Slices: a turn has parts, as input, messages and clients that go on. Each works for a slice of
 * time, leaves the rest to the next turn, and does something in every turn: so what is finished is
 * seen soon, and nobody is kept waiting by the others' work. Said at the start of a part. */
static inline void worker_slice_begin(struct worker *worker) {
    worker->slice_end = UINT64_MAX;
}
/* Something is about to run. */
static inline void worker_slice_enter(struct worker *worker) {
    worker->tick = rt_ticks(worker->rt);
    if (worker->slice_end == UINT64_MAX) {
        worker->slice_end = worker->tick + worker->slice_ticks;
        /* After a long command the turn's time is not the time any more. */
        if (UNLIKELY(worker->tick - rt_woke_ticks(worker->rt) > worker->slice_ticks)) {
            rt_wall_us(worker->rt);
        }
    }
}
/* As of the last command that ran. */
static inline bool worker_slice_over(const struct worker *worker) {
    return worker->tick >= worker->slice_end;
}

/* What a worker keeps for use again (pools.h): gives an outbuf that holds nothing a chunk, if there
 * is one; ends an outbuf and keeps its chunk. */
void worker_lend_chunk(struct worker *worker, struct outbuf *empty);
void worker_reclaim_chunk(struct worker *worker, struct outbuf *out);
/* Takes over what is large and needed no more; it is freed in slices. */
void worker_waste(struct worker *worker, struct arena *arena, size_t bytes);
void worker_waste_replies(struct worker *worker, struct outbuf *out);
/* A slice of that; true if there is more. */
bool worker_free_waste(struct worker *worker);

/* Somebody looks at this shard at another thread's time: if that is later than this thread's, it
 * looks at its clock again, so that nobody sees the shard at an earlier time after that. */
void worker_reach_time(struct worker *worker, int64_t now_ms);
/* What becomes of keys past their deadline follows the configuration, CLIENT PAUSE, DEBUG. */
void worker_set_expiry(struct worker *worker);
/* Its keyspace counts accesses as the configuration says: by time, or how many. */
void worker_set_lru(const struct worker *worker);

/* Means of the last samples, which are taken every now and then. */
enum worker_rate { RATE_COMMANDS, RATE_INPUT, RATE_OUTPUT, RATE_TURNS, RATE_COUNT };
void worker_sample_rates(struct worker *worker);
uint64_t worker_rate(const struct worker *worker, enum worker_rate rate);

#endif
