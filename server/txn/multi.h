/* SPDX-License-Identifier: BSD-3-Clause */
/* multi: what a connection holds between MULTI and EXEC: the commands it has queued, and the keys
 * it watches.
 *
 * Thread: the client's home worker. While EXEC or WATCH of a client runs on other workers the
 * client waits, nothing of this changes, and their parts may read it.
 * Ownership: client->multi owns the queue until EXEC hands it on; client->watches owns its keys.
 * What the shards know of watched keys is theirs (shard/watchers/watch.h); the list here says where
 * to look.
 */
#ifndef SHOAL_SERVER_TXN_MULTI_H
#define SHOAL_SERVER_TXN_MULTI_H

#include "base/arena.h"
#include "server/call/command_table.h"

struct client;
struct keyset;
struct worker;

struct multi_command {
    const struct command_ref *ref;
    struct bytes *argv; /* words and slices lie in the queue's arena */
    uint32_t argc;
    uint32_t db; /* selected when the command will run: a SELECT before it in the queue counts */
    int slot;    /* of its keys, or SLOT_NONE (call/slot_check.h); only in a cluster */
    struct keyset *keys; /* EXEC finds them: who owns them may change till then */
};

struct multi_queue {
    struct arena arena;
    struct multi_command *commands;
    uint32_t count, capacity;
    uint32_t db;        /* selected behind the last command queued so far */
    unsigned flags;     /* command_flag of all of them together: writes wait for CLIENT PAUSE */
    bool runs_scripts;  /* one of them does */
    bool failed;        /* something could not be queued: EXEC answers EXECABORT */
    size_t bytes;       /* taken from the arena */
    size_t words_bytes; /* of arguments alone: counts as query buffer */
    size_t words_count;
    struct multi_queue *next; /* in the worker's pool */
};

/* An empty queue whose first command will run in database `db`. */
struct multi_queue *multi_queue_new(struct worker *worker, uint32_t db);
/* Takes the queue; NULL is harmless. */
void multi_queue_free(struct worker *worker, struct multi_queue *queue);
/* Copies the words. */
void multi_queue_add(struct multi_queue *queue, const struct worker *worker,
                     const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                     int slot);
/* The rights of its client have changed since then, perhaps: of a SELECT that it may not do any
 * more those behind it do not know. */
void multi_queue_follow(struct multi_queue *queue, const struct client *client);
/* Bytes held. */
size_t multi_queue_memory(const struct multi_queue *queue);
/* Of the words and a pointer to each: multi-mem of CLIENT LIST. */
size_t multi_queue_words_memory(const struct multi_queue *queue);
/* At the end of a worker. */
void multi_pool_drop(struct worker *worker, unsigned count);
size_t multi_pool_memory(const struct worker *worker);

/* ---- Watched keys ---- */

struct watched_key {
    uint32_t db;
    struct key key; /* its name is the list's own */
};

struct multi_watches {
    struct watched_key *keys; /* none twice */
    uint32_t count, capacity;
    uint32_t *index;     /* places of keys + 1 by hash, of a long list; else NULL */
    uint32_t index_size; /* a power of two, or 0 */
    size_t bytes;
};

/* Adds a key, copying its name; false if it is there already. The list is made at first use. */
bool multi_watch_note(struct multi_watches **list, uint32_t db, const struct key *key);
/* The shards of these keys are told that the client watches them no more; nobody waits for them. */
void multi_unwatch(struct worker *home, uint64_t client, const struct multi_watches *watches);
/* Takes the list and tells nobody; NULL is harmless. */
void multi_watches_free(struct multi_watches *watches);

/* On a shard's thread: the message of multi_unwatch, which it frees. */
struct message;
void multi_unwatch_arrived(struct worker *worker, struct message *message);

#endif
