/* SPDX-License-Identifier: BSD-3-Clause */
/* locks: who may touch which keys of one shard, and in which order.
 *
 * What makes operations on several shards atomic. Each draws a number from one counter (VLL: Ren,
 * Thomson, Abadi, "Lightweight locking for main memory database systems", VLDB 2012). A request
 * names keys, to share or to have alone, and waits in each key's line behind requests with lower
 * numbers that it conflicts with. One that comes too late for its number is refused, and its owner
 * tries again with a new one. So nobody ever waits for a higher number: there are no deadlocks. And
 * two operations that meet on several shards meet in the same order everywhere, as long as every
 * owner keeps what it was granted until all of its requests are.
 *
 * Ordinary operations on one shard take no locks: they only ask locks_block.
 *
 * A key can be *closed* for a request that is still on its way, and has no number yet: who waited
 * for what lies there has it fetched (watchers/waiters.h), and nobody who comes later is to have it
 * before. Whoever asks for a closed key is shut out: it stands in no line till the key is opened.
 * But nobody may wait for a higher number: when the request comes, or comes again with a new
 * number, those shut out with lower ones are refused. Who has fences passes, as he cannot be
 * refused; and so does who asks for the shard as a whole.
 *
 * One can be closed for nobody, *to changes*, while something of this shard's must come first that
 * itself waits for no lock (unshown.h). Who only reads the key passes; all others but those with
 * fences, and who asks for the shard as a whole, wait: nobody among them waits for a number.
 *
 * The shard can be *sealed* for an operation that has changed it already, though it has to have all
 * locks of all shards yet: what it has changed is not to be seen. Who asks for anything waits till
 * the seal is broken. Again nobody may wait for a higher number: the seal's own is the first that
 * its owner has, and when the owner asks for its locks, or asks again, those who wait here with
 * lower ones are refused, as it may stand behind them on another shard. Who has sealed another
 * shard is refused at once, and told of this seal: so one of the two learns that each needs what
 * the other has changed, and gives up. Who stands in line already does not want what was changed,
 * and goes ahead.
 *
 * Thread: owner shard only. A request's memory is its owner's, lent from submit until it is
 * released or refused.
 */
#ifndef SHOAL_SHARD_LOCKS_H
#define SHOAL_SHARD_LOCKS_H

#include "base/list.h"
#include "base/pqueue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A key, by its hash. Keys of several databases, or of equal hash, wait for each other without
 * need: rare, and harmless. */
struct lock_key {
    uint64_t id;
    bool exclusive;
};

/* What a request wants of the shard as a whole. */
enum lock_scope { LOCK_KEYS, LOCK_ALL_SHARED, LOCK_ALL_EXCLUSIVE };

enum lock_answer {
    LOCK_GRANTED,
    LOCK_WAITS,   /* the answer comes from locks_next_settled */
    LOCK_REFUSED, /* nothing is held; try again with a new number */
};

struct lock_target;

/* One place in one line. */
struct lock {
    struct list_node node; /* among those that wait */
    struct pqueue_node by_number;
    struct lock_request *request;
    struct lock_target *target;
    uint64_t id;
    uint64_t place; /* in the order of coming */
    uint8_t mode;
    bool granted;
};

/* A key that is closed, or may be. Its owner's memory, lent from the first locks_close, or the
 * first request that owns it, to the last locks_let_in. */
struct lock_closing {
    struct lock_closing *next;  /* another one of the same request, or NULL */
    struct lock_target *target; /* NULL: it is open */
    uint64_t number;     /* the last of the request that it is closed for; 0: it has not come yet */
    bool to_changes;     /* and it never will */
    struct list waiting; /* requests that are shut out by it */
};

struct lock_request {
    uint64_t number;
    enum lock_scope scope;
    bool many; /* part of an operation on several shards */
    bool is_fence;
    struct lock_request *fence; /* that its operation holds here, or NULL */
    struct lock_closing *own;   /* keys that are closed for this one, or will be; or NULL. Nothing
                                   shuts it out */
    bool is_sealer;             /* the shard is sealed for this one */
    bool seals_another;         /* another shard is */
    uint64_t sealed_by;         /* it was refused, because the shard is: that seal's number; or 0 */
    bool passes;        /* it had a fence, and came to no seal: it is not refused, nor shut out */
    struct lock *locks; /* one for each key, and one for the shard */
    uint32_t count;     /* of keys */
    uint32_t waits;     /* for so many of its locks */
    enum lock_answer answer;
    struct list_node node; /* among the deferred, the shut out, or the settled */
    /* The owner's: called by whoever empties locks_next_settled, with the answer above. */
    void (*settled)(void *context, struct lock_request *request);
};

struct locks {
    struct lock_target *shard; /* the line for the shard as a whole */
    struct lock_target **buckets;
    size_t buckets_count; /* a power of two */
    size_t targets;
    struct lock_target *spare;
    size_t spare_count;
    uint32_t requests;      /* that stand in lines; and keys that are closed */
    uint32_t closings;      /* of them, the latter */
    uint64_t places;        /* given so far */
    uint64_t passed;        /* how often who had a fence came to a closed key */
    uint64_t seal;          /* its number; 0: there is none */
    uint64_t seal_asks;     /* the last number that its owner is known to have */
    struct list sealed_out; /* came while it was sealed: the lowest number first */
    struct lock_request *fence;
    struct list deferred; /* came while another one's fence stood */
    struct list settled;
};

void locks_init(struct locks *locks);
/* Nothing may be held or waiting. */
void locks_fini(struct locks *locks);

/* Sorts and merges the keys (one that is wanted twice is wanted once, in the stronger way) and
 * prepares the request. `memory` has room for count + 1 locks and lives as long as the request.
 * number, many, fence and settled are the caller's to set; number only if many. */
void lock_request_init(struct lock_request *request, enum lock_scope scope, struct lock_key *keys,
                       uint32_t count, struct lock *memory);

/* Asks. A number may be used once per shard; a refused request may be submitted again with a new
 * one. One without `many` needs no number: it goes to the end of the lines, and is never refused.
 */
enum lock_answer locks_submit(struct locks *locks, struct lock_request *request);
/* Gives back what was granted. Who waited for it and no longer has to, is settled. */
void locks_release(struct locks *locks, struct lock_request *request);

/* Who was refused too often asks for fences, on its shards one by one in ascending order: while one
 * stands, whatever else is submitted waits for its end, so a number drawn now comes in time
 * everywhere. The fence ends when a request that names it is submitted. The same answers as
 * locks_submit, never LOCK_REFUSED. */
enum lock_answer locks_fence(struct locks *locks, struct lock_request *request);

void lock_closing_init(struct lock_closing *closing);
/* Whoever waits for the key is shut out as well, but for those who have keys closed for them. It is
 * not closed yet. */
void locks_close(struct locks *locks, struct lock_closing *closing, uint64_t id);
bool locks_is_closed(const struct locks *locks, uint64_t id);
/* The key is open again, if it is not yet. Who was shut out stands in line once locks_let_in says
 * so: till then it may be closed for another. */
void locks_open(struct locks *locks, struct lock_closing *closing);
void locks_let_in(struct locks *locks, struct lock_closing *closing);

/* It was granted and has done nothing yet. True: a key of it has been closed meanwhile, so it holds
 * nothing any longer, and is shut out, or will be settled as refused. */
bool locks_give_way(struct locks *locks, struct lock_request *request);

/* Seals the shard, which is not sealed. Of what was changed nobody holds or wants anything, but for
 * `held` (or NULL), which is released, and who waits for that. The number is to be above that of
 * any seal before, on all shards. */
void locks_seal(struct locks *locks, uint64_t number, struct lock_request *held);
/* Its owner has got and given back what it waited for, or gives up. */
void locks_unseal(struct locks *locks);

/* A request whose wait is over, with its answer; NULL if there is none. */
struct lock_request *locks_next_settled(struct locks *locks);

/* Whether an operation on one key must wait: behind a request that stands in line, or because it is
 * closed to it. Ask only if locks->requests is not 0. */
bool locks_block(const struct locks *locks, uint64_t id, bool exclusive);
/* Whether a request, all of which is granted, has this key to itself. */
bool locks_own(const struct lock_request *request, uint64_t id);

#endif
