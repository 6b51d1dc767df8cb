/* SPDX-License-Identifier: BSD-3-Clause */
/* effects: what writes did, as commands that do the same again elsewhere: with absolute times and
 * drawn results. What a log, replicas and tests are fed with.
 *
 * The row of a command that writes says how it is logged: as it was sent, if its function states
 * nothing else, or always as its function states (EXPIRE states PEXPIREAT, INCRBYFLOAT a SET). What
 * changed nothing has no effect. A key that ran out is an UNLINK (or DEL, as lazyfree-lazy-expire
 * says), whoever met it.
 *
 * All effects of one call, EXEC's of all its commands, are one unit: nobody may see a part of it.
 * Units have numbers from the process's counter, drawn when a unit ends and before anybody sees
 * what it did, so the numbers agree with every conflict on a shard. A transaction over several
 * shards is one unit that lies on all of them: each shard draws a number when it grants the locks,
 * and the greatest is the transaction's. Until it was drawn not all locks were held; when it was,
 * none had been given back.
 *
 * While nobody wants to know, worker->effects is NULL and nothing is gathered.
 *
 * Thread: the worker whose they are.
 */
#ifndef SHOAL_SERVER_CALL_EFFECTS_H
#define SHOAL_SERVER_CALL_EFFECTS_H

#include "base/check.h"
#include "server/call/call.h"
#include "server/call/stream_commands.h"

struct blob;
struct key_news;
struct wal;

/* ---- What commands say ---- */

/* Whether somebody wants to know. */
static inline bool effects_wanted(const struct exec *x) {
    return UNLIKELY(x->gathered);
}

/* This is what the command did, in the database it ran in; more than once for several effects. No
 * effect if nobody wants to know. */
void effect_state(const struct exec *x, const struct bytes *argv, uint32_t argc);
#define EFFECT(x, ...)                                                                             \
    effect_state((x), (const struct bytes[]){__VA_ARGS__},                                         \
                 sizeof((const struct bytes[]){__VA_ARGS__}) / sizeof(struct bytes))
/* A number as a word of such a command, in `scratch`. */
#define EFFECT_INT_BYTES 24
struct bytes effect_int(char *scratch, int64_t number);
/* The same for a key that has, or (NULL) no longer has, a value of another shard's: there is no
 * command for it whose keys are all here. */
void effect_state_key(const struct exec *x, uint32_t db, struct bytes name,
                      const struct entry *entry);
/* What it did has been told already: a key was made to run out. */
void effect_told(const struct exec *x);
/* The request's argument lies in this block, which the command stores: it stays until the call is
 * over. */
void effect_keep(const struct exec *x, struct blob *blob);

/* ---- What calls say ---- */

void effects_begin(struct exec *x);
/* What the call itself did is over; what it has others do belongs to it until its end. */
void effects_tell(struct exec *x);
void effects_end(struct exec *x);

/* ---- What happens outside of calls ---- */

/* Whose it is: a transaction's, by the position of its command; {0, 0}: nobody's, a unit alone. */
struct effects_origin {
    uint64_t txn;
    uint32_t order;
};

/* A transaction over several shards begins, at home: its name. Somebody may want to know of it
 * before it runs though nobody does yet: then it has one that says nothing of an order, and costs
 * no number. */
#define EFFECTS_TXN_UNNUMBERED (UINT64_C(1) << 63)
uint64_t effects_txn(struct worker *worker);
/* A shard has granted its locks. */
void effects_granted(struct worker *worker, uint64_t txn);
/* What it has read here since then is read again, or not at all: it has missed nothing. */
void effects_unread(struct worker *worker, uint64_t txn);
/* It lets go of its locks here, and will have others: what it has found to be over stands, as a
 * unit alone, in front of what others do until then. */
void effects_cancel(struct worker *worker, uint64_t txn);
/* What happens to keys between these two belongs to it; within a call that is nobody's, too. What
 * open returns is for close. */
struct effects_origin effects_open(struct worker *worker, struct effects_origin origin);
void effects_close(struct worker *worker, struct effects_origin before);
void effects_add(struct worker *worker, struct effects_origin origin, uint32_t db,
                 const struct bytes *argv, uint32_t argc);
/* The key has this value and deadline now, or (NULL) nothing. */
void effects_add_key(struct worker *worker, struct effects_origin origin, uint32_t db,
                     struct bytes name, const struct entry *entry);

/* The same of a value that is large, and of which the key gets a copy when all is said: what was
 * there must not run out after this has begun (keyspace_bury). */
enum saying_stage { SAYING_BEGINS, SAYING_ELEMENTS, SAYING_DEADLINE, SAYING_OVER };
struct effects_saying {
    struct effects_origin origin; /* a transaction's: else it would not be one unit */
    struct value value;           /* a collection; nobody changes it meanwhile */
    struct bytes name;
    uint32_t db;
    int64_t expires_at;
    /* How far it is; 0 at first: */
    enum saying_stage stage;
    uint64_t cursor;
    struct stream_saying stream;
    uint64_t wants; /* worker->effects_wants, when it began */
};
/* Says so many bytes of it, and one step more. True: that was all. */
bool effects_say_some(struct worker *worker, struct effects_saying *saying, size_t bytes);

/* The keyspace's hooks. */
void effects_expired(struct worker *worker, const struct key_news *news);
void effects_elements_expired(struct worker *worker, uint32_t db, struct bytes name,
                              const struct bytes *elements, uint32_t count, bool emptied);
void effects_heard(struct worker *worker, const struct key_news *news);

/* ---- Who wants to know ---- */

enum effects_kind {
    EFFECTS_COMMANDS,
    EFFECTS_EVENTS, /* what notifications tell of: class, name, key */
    EFFECTS_KINDS,
};

/* One of either; of nothing (argc 0): a number for its transaction. */
struct effect {
    uint64_t number; /* 0 of a transaction's */
    uint64_t txn;
    uint32_t order;
    uint32_t db;
    uint32_t argc;
    bool missed;      /* EVENT_KEYMISS */
    size_t at, bytes; /* in the text: argc bulk strings */
};

struct effects_list {
    struct effect *list; /* malloc; in the order in which it happened on this shard */
    uint32_t count, capacity;
    char *text; /* malloc, or NULL */
};

/* Whether the keyspace tells of events: somebody wants them, or notifications do. */
void effects_listen(struct worker *worker);
void effects_want(struct worker *worker, enum effects_kind kind, bool wanted);
/* The worker's log does, or (NULL) does not; within a call, too: of one that nobody had wanted to
 * know of as it began, nothing is told. */
void effects_log(struct worker *worker, struct wal *wal);
/* Each effect is told as it happens, also those of other shards that this worker works on in a view
 * of all; NULL: no more. Within a call, too. */
typedef void effects_tell_fn(struct worker *worker, uint32_t db, const struct bytes *argv,
                             uint32_t argc);
void effects_tell_all(struct worker *worker, effects_tell_fn *tell);
/* What was gathered so far is the caller's now: effects_list_free. */
struct effects_list effects_take(struct worker *worker, enum effects_kind kind);
void effects_list_free(struct effects_list *list);
void effects_free(struct worker *worker);

#endif
