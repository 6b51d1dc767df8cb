/* SPDX-License-Identifier: BSD-3-Clause */
/* batch: the ops of one connection, from one read, for one shard: what travels between threads.
 *
 * Crosses threads, but is never shared: the home worker fills it, the owner of the keys runs it and
 * writes final RESP into `out`, the home worker hands the replies on and reuses it. Whoever has the
 * message has all of it. Arguments point into the client's input buffer, which the batch holds
 * until it is back; nothing is copied but the slices, and the words of inline requests.
 */
#ifndef SHOAL_SERVER_CALL_BATCH_H
#define SHOAL_SERVER_CALL_BATCH_H

#include "base/arena.h"
#include "base/links.h"
#include "base/outbuf.h"
#include "server/call/keyset.h"
#include "shard/locks.h"
#include "shard/mailbox.h"

struct client;
struct large;
struct request;
struct rt_buffer;
struct worker;

#define BATCH_OPS_MAX    64
#define BATCH_OPS_FRUGAL 8

/* A request's piece of work on one shard. */
struct op {
    const struct command_ref *ref;
    struct bytes *argv; /* in the batch's arena */
    uint32_t argc;
    uint32_t db;
    struct key key;
    struct keyset *keys; /* in the batch's arena */
    uint8_t resp;
    uint16_t manner;    /* exec_manner */
    bool waits;         /* for the baton */
    struct batch *next; /* that the baton goes to behind this op, or NULL */
};

struct batch {
    struct message message; /* first */
    /* From who had it. Nobody who runs the ops writes to it or beside it: another thread sends it
     * while they run. */
    struct message baton;
    struct client *client;       /* home's: never looked at by the owner of the keys */
    uint64_t client_id;          /* for the owner, who knows it by that */
    const struct acl_user *user; /* whose rights its ops have, counted; NULL: who may do anything */
    struct batch *next;          /* in the pool */
    struct rt_buffer *input;
    struct large *large; /* of its first op, or NULL; lives as long as input */
    uint32_t count;
    unsigned target;
    uint64_t slots_epoch; /* of the table that its ops were routed by */
    uint32_t wide_ops;    /* with keys in several slots */
    /* Home's, all the time. */
    bool sent, returned;
    uint32_t ready;              /* ops whose replies are home */
    uint32_t handed_on;          /* ops whose replies were handed on */
    struct outbuf early;         /* replies that came home before it */
    size_t client_memory;        /* counted to the client while its replies wait at home */
    uint32_t last_in_order;      /* its last op that is (order.h) */
    unsigned hand_overs;         /* of the baton to it */
    struct batch *next_in_order; /* that the baton goes to when this one is back, or NULL */
    /* The owner's, while it waits for a lock, the baton or its next slice. */
    uint32_t ran;   /* ops so far */
    size_t ahead;   /* bytes of replies that went home and may not have been taken there */
    bool suspended; /* linked in worker->batches.suspended */
    bool has_baton, waits_for_baton;
    struct link link;          /* of worker->batches.suspended */
    struct list_node cut_node; /* of worker->batches.cut */
    struct batch *followers;   /* of the same client, that came meanwhile, linked by next */
    struct batch *last_follower;
    struct lock_request lock;
    struct arena arena;
    struct outbuf out;
    size_t request_bytes;   /* of the client's memory, while it is away: its own, too */
    unsigned command_flags; /* of all ops */
    uint32_t ops_max;
    size_t reply_bytes[BATCH_OPS_MAX];
    struct op ops[]; /* BATCH_OPS_MAX, or BATCH_OPS_FRUGAL where memory is short */
};

/* The replies of the first ops of a batch, ahead of it: from the owner of the keys, who frees
 * nothing; home does. If the batch stands it goes on when home has sent them back, empty. */
struct batch_news {
    struct message message; /* first */
    struct batch *batch;
    uint32_t ran;
    bool stands;
    struct outbuf out;
};

/* Home: an empty batch for this client's input, for the keys of worker `target`. */
struct batch *batch_take(struct worker *worker, struct client *client, struct rt_buffer *input,
                         unsigned target);
/* Home: back to the pool. */
void batch_put(struct worker *worker, struct batch *batch);
/* Home: adds an op; the batch must have room. Returns the memory that it is for the client while it
 * is away. */
size_t batch_add(struct batch *batch, const struct command_ref *ref, const struct request *request,
                 const struct key *key, const struct keyset *keys, const struct client *client);
/* Owner of the keys: a batch arrived. Runs all ops in order and sends it home; one whose keys a
 * transaction has locked waits for that, and with it what comes behind it from the same client. So
 * it does between two ops when its slice of the turn is over or much has been written: then what is
 * ready goes home ahead. */
void batch_arrived(struct worker *worker, struct message *message);
/* A shard that a batch is lent to, because its next op is of a slot that has come here: runs that
 * op and sends it back. The shard that it was sent to: it goes on. */
void batch_lent(struct worker *worker, struct message *message);
void batch_back(struct worker *worker, struct message *message);
static inline struct batch *batch_of_baton(const struct message *baton) {
    return (struct batch *)((char *)baton - offsetof(struct batch, baton));
}
/* Owner of the keys: the baton of a batch came. */
void batch_baton_arrived(struct worker *worker, struct message *baton);
/* Owner of the keys, or home: the baton goes to `batch`. */
void batch_send_baton(struct worker *worker, struct batch *batch);
/* Owner of the keys: home has taken the news of a batch that stands. */
void batch_heard(struct worker *worker, struct message *message);
/* Owner of the keys, once a turn: goes on with those that were cut. */
void batches_go_on(struct worker *worker);
/* Owner of the keys: counts the calls of batches that are not counted yet. Behind each row of
 * messages that are batches or batons, before anything else is done. */
void batches_settle(struct worker *worker);
/* Home: what came ahead of a batch, or with it, is ready. Batch news are freed, or sent back. */
void batch_take_news(struct worker *worker, struct batch *batch, struct batch_news *news);
void batch_returned(struct batch *batch);
/* Home: the replies that are ready. */
static inline struct outbuf *batch_replies(struct batch *batch) {
    return batch->returned ? &batch->out : &batch->early;
}
/* Home: bytes it holds for its client, when it is back or news of it are. */
size_t batch_memory_at_home(const struct batch *batch);
/* Home: whether ops with keys in several slots of one shard are on their way. */
bool batches_wide(const struct worker *worker);
/* Frees `count` of those in the pool, which have left its stock. */
void batch_pool_drop(struct worker *worker, unsigned count);
size_t batch_pool_memory(const struct worker *worker);

#endif
