/* SPDX-License-Identifier: BSD-3-Clause */
/* waiters: clients that wait until a key has something for them, in the order in which they came.
 *
 * What blocking pops stand on. A client waits at every shard that has one of its keys; what one
 * shard needs to know of the wait is its *part*. All of a wait is one allocation of the client's
 * home, and a part is lent to its shard from the moment it is sent there until it is back:
 *
 *     home    waiter_new, sends the parts, its own last       when it is lent
 *     shard   waiters_join: it stands in the lines of its keys
 *     shard   waiters_note: a key may have something; waiters_serve, once the command is over:
 *               the first in line that it serves, if the claim is still free,
 *               is taken out of all lines here, is served, and its part goes home
 *     home    waiter_returned: the client is served; the other parts are called back
 *     home    waiter_cancel: time, UNBLOCK, KILL, the peer's end: if the claim is still free,
 *               nobody serves it any more, and the client goes on at once; all parts are
 *               called back. If it is not, a part with an answer is on its way home.
 *     shard   waiters_leave: called back, it goes home
 *
 * Who moves what he waits for to a key that is not this shard's, or is locked, cannot be served
 * here alone; nor can one for whom something has come on several shards as one. His home has it
 * done by a transaction. Until that is over he *tries*: where something comes for him he stays in
 * line, on every shard, and nobody behind him is served, unless he only reads:
 *
 *     shard   waiters_serve: WAITER_TRIES; its home is told
 *     others  waiters_serve: the claim says so, no need to ask
 *     home    the transaction runs; it has got something: the parts are called back
 *     shards  waiters_leave; or the transaction found nothing: home has given the claim back, and
 *               waiters_join, where they stood
 *
 * The claim (claim.h) decides between shards, and between them and home. Whoever joins is looked at
 * as if its keys had just got something, so what is there already serves it at once. On several
 * shards a transaction looks at the keys first, from left to right, and lets the parts join while
 * it has their locks. A key that a transaction has locked is left for later: it is served when the
 * lock is given back, before others come to it, so nobody sees a value for which somebody waits.
 *
 * Thread: a waiter is its home's, a part the shard's while it is lent; `waiters` the owner's.
 * Costs one branch per change of a key while nobody waits.
 */
#ifndef SHOAL_SHARD_WATCHERS_WAITERS_H
#define SHOAL_SHARD_WATCHERS_WAITERS_H

#include "base/check.h"
#include "base/links.h"
#include "base/list.h"
#include "shard/keys/keyspace.h"
#include "shard/mailbox.h"
#include "shard/watchers/claim.h"

#include <stddef.h>

struct waiter;
struct waiter_line;

/* ---- Home ---- */

/* One key of a wait. Constant but for its place in a line, which is the shard's. */
struct waiter_key {
    struct list_node node;    /* of a line */
    struct waiter_line *line; /* NULL: it stands in none */
    struct waiter_part *part;
    uint32_t db;
    struct key key;
    uint32_t index; /* in the list that waiter_new was given */
    bool when_gone;
};

enum part_state { PART_HOME, PART_LENT, PART_CALLED };

struct waiter_part {
    struct message message; /* first: takes it to its shard, and home again */
    struct message call;    /* asks for it back: WAITER_CALLED finds it */
    struct waiter *waiter;
    unsigned shard;
    enum part_state state;   /* home's */
    bool tries;              /* the shard's: something has come for it here as it tried */
    struct waiter_key *keys; /* in their order in the command */
    uint32_t keys_count;
};

#define WAITER_CALLED(message)                                                                     \
    ((struct waiter_part *)(void *)((char *)(message)-offsetof(struct waiter_part, call)))

struct waiter {
    struct claim claim;
    void *arg; /* home's word for it; what it points to is constant while a part is away */
    size_t bytes;
    unsigned away; /* parts that are not at home */
    unsigned parts_count;
    struct waiter_part *parts; /* by shard, ascending */
};

struct waiter_name {
    uint32_t db;
    struct key key;
    unsigned shard;
    bool when_gone; /* it is also served when the key has gone */
};

/* A wait for these keys, whose names are copied. Its parts are at home. */
struct waiter *waiter_new(const struct waiter_name *names, uint32_t count, void *arg);
/* All of them are. */
void waiter_free(struct waiter *waiter);
/* It goes to its shard. */
void waiter_lend(struct waiter_part *part);
/* A part has come home. True if it was the last, and the wait may be freed. */
bool waiter_returned(struct waiter_part *part);
/* The client waits no more. False: too late, one of the shards is serving it. */
bool waiter_cancel(struct waiter *waiter);
/* Once its claim is taken: the next part to call back, or NULL. That of a shard that is serving it
 * must be home already. */
struct waiter_part *waiter_call_back(struct waiter *waiter);

/* ---- A shard ---- */

struct waiters {
    struct links lines;     /* by key; none is empty */
    size_t lines_when_gone; /* those with somebody who is served when the key has gone */
    struct list ready;      /* those that may have something, in the order in which they got it */
    size_t bytes;
};

/* What a key has for one that waits for it. */
enum waiter_answer {
    WAITER_SERVES,
    WAITER_PASSES, /* not what this one waits for: the next may be served */
    WAITER_EMPTY,  /* nothing for anybody */
    WAITER_TRIES,  /* it takes more than this shard to serve it: its home is told */
    WAITER_LATER,  /* a transaction has its lock: what it does to the key must not be seen yet */
};

struct waiters_server {
    void *arg;
    bool as_one; /* what is served has come on several shards as one, or may have */
    /* `as_one`: that is so of what this key has, or was when it was served last: who is behind one
     * that tries is asked when that is over. */
    enum waiter_answer (*answer)(void *arg, const struct waiter_key *key, bool as_one);
    /* This one is served, and no other will: gives it what the key has and sends its part home. It
     * stands in no line any more. May note keys. */
    void (*serve)(void *arg, struct waiter_key *key);
    /* The same for one that tries: its home is to begin (once for each claim). */
    void (*try)(void *arg, struct waiter_key *key);
    /* This key may have something for one that tries. True: nobody behind it is to have it before;
     * it would leave less of it. */
    bool (*hold)(void *arg, struct waiter_key *key);
};

void waiters_init(struct waiters *waiters);
/* Nobody may stand there. */
void waiters_fini(struct waiters *waiters);

/* A part has arrived: it stands at the end of the lines of its keys, which are noted. One of a wait
 * that has tried in vain stays where it is. */
void waiters_join(struct waiters *waiters, struct waiter_part *part);
/* It was called back, and goes home: it stands in no line any more. */
void waiters_leave(struct waiters *waiters, struct waiter_part *part);

void waiters_note_key(struct waiters *waiters, uint32_t db, const struct key *key);
/* A key may have something for who waits for it: a value was added, or it has come with another
 * name. */
static inline void waiters_note(struct waiters *waiters, uint32_t db, const struct key *key) {
    if (UNLIKELY(waiters->lines.count > 0)) {
        waiters_note_key(waiters, db, key);
    }
}
/* The same of all keys of a database (UINT32_MAX: of each): two are swapped, or it is emptied. */
void waiters_note_database(struct waiters *waiters, uint32_t db);

void waiters_serve_ready(struct waiters *waiters, const struct waiters_server *server);
/* Once a command is over, a part has joined or a transaction has given its locks back, and nobody
 * has seen yet what was done: serves whom it can. */
static inline void waiters_serve(struct waiters *waiters, const struct waiters_server *server) {
    if (UNLIKELY(!list_empty(&waiters->ready))) {
        waiters_serve_ready(waiters, server);
    }
}

/* Bytes held: lines, not the waits, which are their clients'. */
size_t waiters_memory(const struct waiters *waiters);

#endif
