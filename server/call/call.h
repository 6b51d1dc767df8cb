/* SPDX-License-Identifier: BSD-3-Clause */
/* call: the one way in which a command runs, whoever has it run: a client, a batch, a share of a
 * transaction, EXEC, what is left to do when all workers have answered.
 *
 * Whoever has commands run fills a `struct caller` once, makes as many calls with it as he has
 * commands, and settles. A call asks what only the owner of the keys knows (check.h), runs the
 * command, reads the clock and counts. Between its beginning and its end, and nowhere else, a
 * command sees a `struct exec`.
 *
 * Thread: the one that runs the command; a caller belongs to it while its calls last.
 */
#ifndef SHOAL_SERVER_CALL_CALL_H
#define SHOAL_SERVER_CALL_CALL_H

#include "base/list.h"
#include "server/call/command_table.h"

struct client;
struct commandlog_entry;
struct effects_saying;
struct found_names;
struct keyset;
struct large;
struct lock_request;
struct scatter_result;
struct script_run;
struct shard;
struct txn_part;
struct view;
struct worker;

/* Brief calls of one command that follow each other: they are timed and counted together, because
 * reading the clock for each costs a good part of what they take. */
struct call_run {
    const struct command_ref *ref;
    uint32_t calls, max; /* so far, and at most */
};

/* What is left of a command: its key gets a copy of a value that takes long to make. The call is
 * over, and what it replied stands; but it has not happened before this has. */
struct put_later {
    struct list_node node; /* of worker->txns.puts */
    struct txn_part *part; /* whose it is, and who frees it */
    struct value_copy copy;
    struct effects_saying *saying; /* of the copy, when it is whole; or NULL */
    struct key key;
    uint32_t db;
    bool is_here; /* the value it is a copy of is the same shard's, and lent for it */
    enum key_event event;
    int64_t expires_at;
    int64_t now_ms;
};

/* In whose name, and where. */
struct caller {
    struct worker *worker; /* the thread that runs it, and where it counts */
    struct shard *shard;   /* whose keys it sees */
    struct client *client; /* of commands that are about a connection; NULL: none, they see keys */
    struct client *asker;  /* who asks all workers, also when it has gone */
    struct large *large;   /* of the arguments: values that may be taken over, or NULL */
    uint64_t tick;         /* rt_ticks when the last call that was timed ended, or at first */
    struct call_run run;   /* the calls since then */
    uint32_t db;
    uint16_t manner; /* exec_manner */
    bool asked;      /* check_owner has been, for all that runs */
    /* Of a command with several keys, or one that waits (exec_looks_at, exec_wait): */
    uint32_t only;   /* the only key that it looks at, by its position in argv; 0: all */
    bool sees_all;   /* row->ready may look at its other keys, too: all are here, and not locked */
    bool may_wait;   /* its client may */
    bool waits;      /* and does, */
    int64_t wait_ms; /* for so long; 0: for ever */
    /* What it does is part of something larger: who waits for what it adds is served after that. */
    bool inside;
    const struct lock_request *holds; /* what its caller has locked on the shard, or NULL */
    uint32_t order;            /* and which of the commands of a transaction over shards it is: */
    uint64_t txn;              /* its number for effects.h, or 0 */
    const struct view *view;   /* the shards of all workers, which are parked (park.h), or NULL */
    struct script_run *script; /* it calls (script/run.h); or NULL */
    bool puts_later; /* exec_put may leave what is long: the keys are locked till it is done */
    bool escapes;    /* set by a script: it is to be planned anew, about all keys. Nothing of it has
                        happened, */
    void *record;    /* or what has is here (script/run.h), from malloc: the rest is to follow */
    uint64_t commands; /* the same: so many that it has called are to be counted at home */
    /* The same, while slots are counted (observe/slot_stats.h): one more than the slot of the keys
     * that it has declared or used; 0: there are none, or of several. */
    uint16_t script_slot;
    struct put_later *put_later; /* set by exec_put; for the caller, who must see to it; or NULL */
    struct found_names *names;   /* the same, by exec_has_named */
};

/* What is to run. */
struct call {
    const struct command_ref *ref;
    struct bytes *argv; /* argv[0] is the name as sent; subcommands count from the container */
    uint32_t argc;
    const struct key *key;     /* the first one, hashed once; &NO_KEY if there is none */
    const struct keyset *keys; /* keyset.h */
    int64_t now_ms;            /* one time for all of it */
};

/* And which part of its work, if not all. */
struct call_part {
    enum exec_stage stage;
    const struct exec_input *inputs; /* STAGE_AT */
    uint32_t inputs_count;
    struct parcel *parcels; /* SPREAD_SEND */
    size_t *element_ends;   /* exec_element; NULL: nobody wants to know */
    /* What runs in place of the command's function, or NULL: a later part of its work. */
    void (*later)(struct exec *x, const struct scatter_result *result);
    const struct scatter_result *result;
};

/* A reply of more is timed by itself. */
#define CALL_REPLY_BRIEF_BYTES 4096

extern const struct key NO_KEY;

/* What came of the parts of a call, so far. */
struct call_outcome {
    uint64_t ticks;
    size_t reply_bytes; /* of the last part, as are the errors */
    uint32_t errors;
    char error_code[32];
    bool takes;         /* exec_take was said */
    uint32_t denied_at; /* exec_denies */
    bool escapes;       /* caller->escapes */
    void *record;       /* and ->record */
    uint64_t commands;  /* the same of a script's, */
    uint16_t script_slot;
    bool waits; /* exec_wait was */
    int64_t wait_ms;
};

/* Runs a command and counts it. False: it goes on elsewhere (other workers, a transaction), has
 * written no reply yet, and is counted when it is over by whoever ends it. */
bool call(struct caller *caller, const struct call *what, struct reply *reply);

/* The same for a command that touches no shard, while that of its worker is in another thread's
 * hands. */
void call_beside(struct caller *caller, const struct call *what, struct reply *reply);

/* What a key has for who waits for it with this command: row->ready. */
enum waiter_answer call_ready(struct caller *caller, const struct call *what);

/* Counts the calls that are not counted yet: when a caller has made his last one for now. */
void call_settle(struct caller *caller);

/* Runs a part of a command, or (part is NULL) all, adds what came of it to *outcome, and counts
 * nothing: who puts the parts together does, with call_count. False as above. */
bool call_share(struct caller *caller, const struct call *what, const struct call_part *part,
                struct reply *reply, struct call_outcome *outcome);
void call_count(struct worker *worker, const struct command_ref *ref,
                const struct call_outcome *outcome);
/* And has it logged, if it took long or was answered with much (observe/commandlog.h). `words`, if
 * they may have gone since; NULL: what->argv is still there. */
void call_log(struct worker *worker, const struct call *what, const struct commandlog_entry *words,
              const struct call_outcome *outcome);

/* Counts what was refused before it ran; `ref` is NULL if there is no such command. */
/* The code of an error that has been counted where it came from: no code has blanks. */
#define CALL_ERROR_COUNTED " "
void call_refused(struct worker *worker, const struct command_ref *ref, const struct reply *reply);
/* It has ended in so many errors: if it is what our primary has done (`manner`) that is told, and
 * may be the end (propagation-error-behavior). */
void call_unexpected(struct worker *worker, const struct command_ref *ref, uint16_t manner,
                     uint32_t errors, const char *code);
/* The same for a word that is no command. */
void call_unknown(struct worker *worker, struct bytes word, uint16_t manner, const char *code);

#endif
