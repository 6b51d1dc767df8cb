/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_private: what the files of a transaction share.
 *
 *   txn_plan.c      from commands to phases, parts and tasks
 *   txn.c           the coordinator, at home: what comes after what
 *   txn_conclude.c  what the parts have brought, and what follows from it
 *   txn_reply.c     from their replies to the one of the transaction
 *   txn_here.c      EXEC that needs no other shard
 *   txn_tell.c      what monitors see of it
 *   txn_riders.c    scripts that share the view of all shards
 *   txn_pool.c      transactions that are not in use
 *   txn_part.c      what a shard does with its part
 *
 * A plan is a row of phases. In one phase each shard runs the tasks it has, in the order of the
 * commands; what needs the results of several shards comes in a later phase, what needs all shards
 * in one of its own.
 *
 * Thread: a transaction is home's. A part and its tasks are lent to their shard while its message
 * is away, and home's otherwise.
 */
#ifndef SHOAL_SERVER_TXN_TXN_PRIVATE_H
#define SHOAL_SERVER_TXN_TXN_PRIVATE_H

#include "base/arena.h"
#include "base/outbuf.h"
#include "base/pqueue.h"
#include "server/call/call.h"
#include "server/call/keyset.h"
#include "server/call/parcel.h"
#include "server/persistence/wal.h"
#include "server/txn/blocked.h"
#include "server/txn/txn.h"
#include "shard/keys/keyspace.h"
#include "shard/locks.h"
#include "shard/mailbox.h"

/* How often a number may come too late before the shards are fenced. */
#define TXN_REFUSALS_MAX 3
/* How often what it reads may name keys that it has not locked, before it locks all. Once is the
 * rule; twice if what one key says decides which others are read. */
#define TXN_TRIES_MAX 4

enum txn_kind {
    TXN_TASKS, /* shards run it, or each its share */
    TXN_HOME,  /* it has no keys; what it asks all workers, it asks through scatter */
};

struct txn_command;

/* What one shard does for a command in one phase. */
struct txn_task {
    struct txn_task *next; /* of the same part */
    struct txn_task *peer; /* of the same command: in the order of phases, then of keys */
    struct txn_command *command;
    unsigned worker;
    uint32_t phase;
    enum exec_stage stage;
    struct bytes *argv;
    uint32_t argc;
    struct key key;
    struct keyset *set;  /* of argv */
    struct large *large; /* values of its words that may be taken over, or NULL */
    char *refusal;       /* the owner's, malloc: why it may not run; or NULL */
    struct call_outcome outcome;
    size_t *element_ends;      /* SPREAD_ELEMENTS: where each ends in the reply; else NULL */
    uint32_t merged;           /* elements that were moved to the reply */
    uint32_t packed;           /* SPREAD_SEND: of its keys */
    struct found_names *names; /* the owner's: it began to run, and had not the keys; or NULL */
};

struct txn_command {
    const struct command_ref *ref;
    struct bytes *argv;
    uint32_t argc;
    uint32_t db;
    struct large *large;            /* till it is planned: of its request, or NULL */
    struct commandlog_entry *words; /* for the command logs, if it has that; or NULL */
    enum txn_kind kind;
    enum command_spread spread;    /* of more than one task */
    uint32_t phase, last_phase;    /* the first and the last of its tasks */
    const char *refusal;           /* of one of its tasks: none of them runs; or NULL */
    const char *forbidden;         /* it is EXEC's, that its user may not (rights.h) */
    struct keyset *set;            /* NULL till it is planned, if it was not staged */
    const struct keyset_key *keys; /* in it */
    uint32_t keys_count;
    struct txn_task **tasks; /* by worker, of a plainly divided one: NULL if it has none */
    struct txn_task *first, *last;
    /* SPREAD_AT, _MOVE */
    struct exec_input *inputs; /* one for each key, each written by its owner */
    /* SPREAD_SEND */
    struct parcel *parcels; /* the same */
    bool sent;              /* and home has, what it has answered is `outcome` */
    int at;                 /* the worker that runs it; -1 till the inputs are known */
    bool takes;             /* what it moves is there: its owner lets go of it */
    uint32_t only;          /* SPREAD_FIRST: the first of its keys that has a value (call.h) */
    bool waits;             /* exec_wait */
    bool denied;            /* SPREAD_IF: the keys of a shard do not let it run */
    /* Of one that reads keys which its values name: */
    uint8_t tries;               /* it had not all of them, so often */
    bool parks;                  /* it runs at home, with all shards in view */
    struct call_outcome outcome; /* of what ran at home */
};

enum txn_action {
    TXN_ALONE,    /* no other shard takes part: lock if need be, run, release */
    TXN_SCHEDULE, /* lock; if `eager`, run the first phase as soon as that is granted */
    TXN_FENCE,
    TXN_RUN,     /* the tasks of a phase */
    TXN_AGAIN,   /* at a later time: look at the watched keys, read the first phase if `eager` */
    TXN_CANCEL,  /* a shard refused: give back what is locked, all begins again */
    TXN_RELEASE, /* the end */
};

struct txn_part {
    struct message message; /* first */
    struct txn *txn;        /* home's, but for what is constant while parts are away */
    unsigned worker;
    enum txn_action action;
    bool due;         /* to be sent in this step */
    bool eager;       /* runs the first phase when its locks are granted */
    bool grants_last; /* all others have granted: its grant is the moment of the transaction */
    bool release;     /* after the run */
    bool locked;      /* the shard's: it has its locks, and its place in worker->txns.parts */
    bool refused;
    bool moved;   /* the table of slots is not the one that it was planned by: nothing was done */
    bool late;    /* it was granted, but others have seen keys run out at or after its time */
    bool watches; /* the client has watched keys here */
    bool dirty;   /* and one of them was touched */
    bool refuses; /* some task here may not run: its `refusal` */
    uint32_t phase;
    int64_t now_ms;        /* the time it sees */
    uint64_t slots_epoch;  /* of the table that it was planned by */
    int64_t expired_ms;    /* the last deadline that has been seen to pass there, if `late` */
    int64_t dies_ms;       /* as it was granted: no key there is past its deadline before */
    int64_t others_die_ms; /* the same of the shards that granted before, if it is the last */
    uint8_t resp;          /* the client's in this phase */
    uint16_t manner;       /* the same: exec_manner */
    struct lock_key *lock_keys;
    uint32_t lock_count;
    struct lock_request lock;
    struct lock_request fence;
    struct pqueue_node node; /* of worker->txns.parts, while it is locked */
    struct txn_task *first, *last;
    struct txn_task *next; /* to run */
    struct outbuf out;
    bool over;             /* more than the client may have: what comes is not kept, nor sent */
    uint64_t seal;         /* of its shard (locks.h), for what a script has done there; or 0 */
    uint32_t loans;        /* the shard's: values of it that are lent */
    uint64_t hits, misses; /* the shard's: of an eager run */
    struct put_later *put; /* the shard's: what is being done for `next` before all else; or NULL */
    struct list_node pack; /* the same of parcels: in worker->txns.packs */
};

enum txn_state {
    STATE_ALONE,
    STATE_HOME_FIRST, /* home's locks; the other shard is asked when it has them */
    STATE_SCHEDULE,
    STATE_CANCEL,
    STATE_FENCE,
    STATE_PHASE,   /* tasks are away */
    STATE_SCATTER, /* a global command is */
    STATE_SEND,    /* values are: to another server */
    STATE_LET_GO,  /* all is done, but CLIENT PAUSE does not stand yet: locks go back */
    STATE_STANDS,  /* and what others had begun ends */
    STATE_RELEASE, /* the reply is written; locks are on their way back */
};

struct txn {
    struct txn *next;   /* in the worker's pool, in its line for the view, or among riders */
    struct txn *riders; /* that run with this one's view, or NULL */
    bool rode;          /* it has run so */
    struct arena arena;
    struct txn_part *space; /* room for a part for each worker */
    struct worker *home;
    struct client *client; /* stays until the transaction is freed */
    const struct command_ref *ref;
    struct multi_queue *queue; /* EXEC's, else NULL */
    struct bytes word;         /* the name of EXEC as it was sent */
    struct blocked *blocked;   /* of its one command, which may wait for its keys, or NULL */
    struct rt_buffer *input;
    uint64_t client_id;
    const struct acl_user
        *user;              /* whose rights its parts have, counted; NULL: who may do anything */
    uint64_t effects;       /* its name there (effects.h) */
    struct wal_stand stand; /* and in the order of the logs, when locks begin to go back; or 0 */
    bool may_have_written;  /* there is a log, and something has run that could */
    int64_t now_ms; /* settled when all locks are granted, in the first phase's hop at the latest */
    int64_t now_us; /* the same for TIME inside EXEC */
    bool dirty;
    const char *refusal; /* EXEC's: a shard has refused one of its commands; or NULL */
    bool pauses;         /* CLIENT PAUSE is among the commands, and was not refused */
    unsigned flags;      /* of all commands: command_flag */
    bool reads_first;    /* the first phase changes nothing: it may be done twice */
    bool time_settled;
    bool tells;     /* monitors what it does, when it holds its locks */
    bool plan_anew; /* a shard has said that slots have moved */
    bool starting;  /* inside txn_start: the client goes on by itself */
    bool sending;   /* inside send_due: the next step is its caller's */
    enum lock_scope scope;
    enum txn_state state;
    uint64_t number;
    unsigned refusals, fenced;
    uint32_t judged;        /* phases whose commands were: look_at_rights */
    uint64_t slots_epoch;   /* as it was planned */
    struct txn_task *stale; /* of earlier plans: what they hold is freed at the end */
    struct txn_command *commands;
    uint32_t count, at; /* at: the next command that runs at home */
    uint32_t phase, phases;
    uint32_t concluded;         /* commands whose phases are all over */
    struct txn_command *sender; /* the one that has parcels to be sent, or NULL */
    struct sending *errand;     /* its, while they are */
    void *record;            /* of its script, which has begun on a shard that is sealed for it: */
    unsigned sealed;         /* that one, */
    uint64_t seal;           /* with this number; 0: none is */
    bool gives_up;           /* another one has begun so, too, and before it */
    bool packs;              /* some command has parcels */
    struct txn_part **parts; /* by worker, or NULL */
    unsigned parts_count;
    unsigned open;     /* parts away */
    struct outbuf out; /* what home commands answered */
    size_t out_mark;   /* its bytes before the last of them */
    size_t bytes;      /* of the requests or the queue, on the client's account */
    size_t reply_max;  /* of one shard */
};

/* Nothing of EXEC runs: something that it watched was touched, or a shard has refused. */
static inline bool txn_is_over_early(const struct txn *txn) {
    return txn->dirty || txn->refusal != NULL;
}

#define EACH_PART(txn, part)                                                                       \
    NODE_EACH_WORKER((txn)->home->node, part##_i)                                                  \
    for (struct txn_part *part = (txn)->parts[part##_i]; part != NULL; part = NULL)

/* ---- txn.c ---- */

/* Its client waits, and what it waits for may be there: its command runs once more. */
void txn_try(struct client *client, struct blocked *blocked, const struct txn_command *command);
/* It has entered, and begins: nothing of it has happened yet. */
void txn_begin(struct txn *txn);
/* Runs its one command with the view that another one has; and ends it, later. */
void txn_run_in_view(struct txn *txn, const struct view *view);
void txn_end_ridden(struct txn *txn);

/* ---- blocked.c ---- */

/* Once it is known where the keys of its command are: nobody has been told of its wait yet, or it
 * tries, and they are where they were. */
void blocked_plan(struct blocked *blocked, const struct txn_command *command);
/* If it tries, those of the keys of this shard for which it does; or NULL. */
struct lock_closing *blocked_closings(struct blocked *blocked, unsigned shard);
/* The shard: its part stands in line; the locks of its keys are held, or nobody has any. */
void blocked_join(struct worker *worker, struct blocked *blocked);
/* It is known that the command waits, before its parts join; and while they do, all its keys are
 * locked. */
void blocked_waits(struct blocked *blocked);
/* The command waits; or it is over, and its reply is written. */
void blocked_begin(struct blocked *blocked, int64_t timeout_ms);
void blocked_over(struct blocked *blocked);

/* ---- txn_tell.c ---- */

/* What it does, or will not do, to monitors. */
void txn_tell(struct txn *txn);
/* An EXEC that is no transaction: its commands, before they run. */
void txn_tell_queue(const struct client *client, const struct multi_queue *queue);

/* ---- txn_plan.c ---- */

void txn_plan(struct txn *txn);

/* ---- txn_conclude.c ---- */

/* Those who hold their locks have voted: what one of them refuses, nobody runs. */
void txn_count_votes(struct txn *txn);
/* They will vote once more. */
void txn_forget_votes(struct txn *txn);
/* The tasks of this phase are done. */
void txn_conclude(struct txn *txn);

/* ---- txn_reply.c ---- */

/* Some shard had more to answer than the client may have. */
bool txn_is_over_limit(struct txn *txn);
/* The task that found nothing yet, so the client waits; or NULL. */
const struct txn_task *txn_waiting_task(const struct txn *txn);
/* All is done. `over`: txn_is_over_limit, the replies are incomplete. Nothing is written if the
 * client waits. */
void txn_write_reply(struct txn *txn, struct reply *reply, bool over);

/* ---- txn_here.c ---- */

/* Runs all of the queue, and frees it, if it may; or does nothing: false. */
bool txn_exec_here(struct exec *x, struct multi_queue *queue);

/* ---- txn_riders.c ---- */

/* Begins later, or rides. */
bool txn_stands_in_line(struct txn *txn);
/* A transaction that had these riders is over. */
void txn_riders_end(struct worker *home, struct txn *riders);

/* ---- txn_pool.c ---- */

/* All of it is empty, but for the arena and the space for parts. */
struct txn *txn_take(struct worker *worker);
void txn_put(struct worker *worker, struct txn *txn);

/* ---- txn_part.c ---- */

static inline const struct txn_part *txn_part_of_lock(const struct lock_request *request) {
    return (const struct txn_part *)((const char *)request - offsetof(struct txn_part, lock));
}

/* Does what the part asks, now or when its locks are granted, and hands it back. */
/* There is a log, as this worker knows, which is the same everywhere while locks are held: it needs
 * a number, which is drawn at home when all are, so not in the hop of who grants last. */
bool txn_is_logged(const struct worker *worker, const struct txn *txn);
void txn_part_handle(struct worker *worker, struct txn_part *part);
/* txn.c: it is done. */
void txn_part_done(struct txn_part *part);

/* Whether a task is left out: somebody has refused its command, or what came of an earlier phase
 * says so. */
static inline bool txn_task_is_off(const struct txn_task *task) {
    const struct txn_command *command = task->command;
#ifdef SHOAL_UNSAFE_VOTE /* for the test that users of the simulator notice */
    if (task->refusal != NULL) {
        return true;
    }
#else
    if (task->refusal != NULL || command->refusal != NULL) {
        return true;
    }
#endif
    return (task->stage == STAGE_AT && (unsigned)command->at != task->worker) ||
           (task->stage == STAGE_TAKE && !command->takes) ||
           (task->stage == STAGE_JOIN && !command->waits) ||
           (task->stage == STAGE_ACT && command->denied);
}

#endif
