/* SPDX-License-Identifier: BSD-3-Clause */
/* user: one client of the simulation: it connects, sends requests in pipelines, reads the replies
 * and holds each against what it must be. When its connection breaks it comes back.
 *
 * What it knows for certain, it checks itself: replies come in order and have the right form; keys
 * that it alone writes read as it wrote them; counters that all increment never lose one. The rest
 * is a history, for the checker.
 *
 * Thread: the world's. Ownership: users_new gives, users_free takes.
 */
#ifndef SHOAL_TEST_SIM_USER_H
#define SHOAL_TEST_SIM_USER_H

#include "test/checker/history.h"
#include "test/sim/world.h"

struct users;
struct user;

/* What a shard says that refuses. */
#define USERS_REFUSED   "REFUSED by the scenario"
#define USERS_UNBLOCKED "UNBLOCKED client unblocked via CLIENT UNBLOCK"

struct users_options {
    unsigned server; /* of the world, that they all use */
    unsigned secure; /* chance in 65536 that a connection is within TLS */
    unsigned count;
    unsigned own_keys;    /* keys that one user alone writes */
    unsigned shared_keys; /* keys that all write */
    unsigned pipeline_max;
    unsigned requests;        /* that each sends before it is done */
    uint64_t think_max_ns;    /* between a reply and the next request */
    uint64_t patience_ns;     /* for a reply; then it gives the connection up */
    size_t value_max_bytes;   /* of a user's own values */
    size_t large_bytes;       /* those of so many are counted */
    unsigned slow;            /* chance in 65536 that it reads late and little */
    unsigned floods;          /* chance in 65536 that it asks for very much at once, of any shard */
    bool several_shards;      /* they name keys on several shards in one command */
    bool transactions;        /* they use MULTI and WATCH */
    bool wholes;              /* they let whole databases change places */
    enum history_order order; /* that the server keeps to, of what each of them sends */
    bool trails;              /* each writes numbers, all round its keys: users_look */
    bool deletes;             /* also of what is in the history: then it is left out there */
    bool flushes;             /* and FLUSHALL */
    bool mortal;              /* keys with deadlines; then the wall clock does not jump */
    bool pauses;              /* CLIENT PAUSE, whose end they do not await */
    bool moves;               /* DEBUG MOVE-SLOT: slots go from shard to shard */
    bool queues;              /* they wait for elements of lists, sorted sets and streams */
    bool topics;              /* they publish and subscribe */
    bool bags;                /* they use sets, HyperLogLogs and a map */
    bool scripts;             /* they run scripts and functions */
    bool dirty_alone;         /* one at a time of those that write before they need more keys */
    bool caches;              /* CLIENT TRACKING: they keep what they have read */
    bool unblocks;            /* and CLIENT UNBLOCK ends their waits */
    bool views;               /* DEBUG VIEW: they have workers parked */
    bool troubles;            /* and CONFIG SET, CLIENT KILL, CLIENT PAUSE, SWAPDB */
};

struct users *users_new(struct world *world, const struct users_options *options);
void users_free(struct users *users);
unsigned users_count(const struct users *users);

/* All have sent their share, and have their answers. */
bool users_idle(const struct users *users);
/* They send no more than they have begun, and read everything they know of once more. */
void users_finish(struct users *users);
/* All have their answers, and are gone. */
bool users_done(const struct users *users);
/* Deletes everything, by one of them; users_done says when. */
void users_sweep(struct users *users);
/* They hang up, whatever they wait for. */
void users_leave(struct users *users);
/* Fails unless all that they know of the data agrees, and the history of all is one that a strictly
 * serializable server could have given (test/checker); once they are done, before a sweep. */
void users_check(struct users *users);
/* users_check has failed, by the history. */
bool users_refuted(const struct users *users);
/* Between two turns of workers: what one connection has written, on whatever shards, is there in
 * the order in which it was sent. Fails if not. */
void users_look(struct users *users);
/* Who waits for what, for a failure. */
void users_describe(const struct users *users, struct text *to);

/* For the actor: something happens to the connection of one of them, if it has one. */
enum user_fate { FATE_CLOSE, FATE_RESET, FATE_VANISH, FATE_HALF_CLOSE, FATE_COUNT };
void users_strike(struct users *users, unsigned index, enum user_fate fate);

/* Of all so far. */
struct users_counts {
    uint64_t answered;      /* requests */
    uint64_t secure;        /* connections within TLS */
    uint64_t execs_refused; /* what they watched had changed */
    uint64_t large_values;  /* of SETs that were done */
    uint64_t stood;         /* second looks at what was paused */
    uint64_t unblocked;     /* by CLIENT UNBLOCK */
    uint64_t waited;        /* waits for an element that ended with one */
    uint64_t waited_long;   /* that ended without */
    uint64_t behind;        /* that somebody else stood in line before */
    uint64_t told;          /* messages */
    uint64_t events;        /* of keys */
    uint64_t popped;        /* members of sets */
    uint64_t moved;         /* from set to set */
    uint64_t near;          /* what was near was stored */
    uint64_t handed;        /* entries of streams, by groups */
    uint64_t scripts;       /* that were answered */
    uint64_t wholes;        /* transactions about whole databases */
    uint64_t told_changed;  /* that a key which they kept has changed */
    uint64_t refused;       /* commands, by a shard that had something against them */
};
const struct users_counts *users_counts(const struct users *users);

#endif
