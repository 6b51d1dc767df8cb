/* SPDX-License-Identifier: BSD-3-Clause */
/* multi: see the header. Why so: a queued command outlives the buffer it came in, so its words are
 * copied, one after another into one arena that ends with the transaction. Queues are pooled by the
 * worker: a connection that runs one small transaction after another allocates nothing.
 *
 * The database of each command is settled when it is queued, by the SELECTs before it, because EXEC
 * must know all keys before the first command runs.
 */
#include "server/txn/multi.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "server/acl/acl.h"
#include "server/client/client.h"
#include "server/worker/message.h"
#include "server/worker/room.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES 1024
#define COMMANDS_MIN      16
/* A queue that has grown beyond this is not kept. */
#define COMMANDS_KEPT_MAX 64
#define QUEUES_KEPT_MAX   64
/* About: they have room for different numbers of commands. */
#define QUEUE_BYTES                                                                                \
    (sizeof(struct multi_queue) + ARENA_BLOCK_BYTES +                                              \
     COMMANDS_KEPT_MAX * sizeof(struct multi_command))
#define WATCHES_MIN 4
/* From here on a list is searched by hash. */
#define WATCHES_INDEXED_MIN 16

/* ---- Queues ---- */

struct multi_queue *multi_queue_new(struct worker *worker, uint32_t db) {
    struct multi_queue *queue = worker->queues.pool;
    if (queue != NULL) {
        worker->queues.pool = queue->next;
        stock_take(&worker->queues.stock);
        queue->next = NULL;
    } else {
        queue = must_calloc(1, sizeof *queue);
        arena_init(&queue->arena, ARENA_BLOCK_BYTES);
    }
    check(queue->count == 0);
    queue->db = db;
    queue->flags = 0;
    queue->failed = queue->runs_scripts = false;
    queue->bytes = queue->words_bytes = queue->words_count = 0;
    return queue;
}

static void queue_end(struct worker *worker, struct multi_queue *queue) {
    worker_waste(worker, &queue->arena, queue->bytes);
    free(queue->commands);
    free(queue);
}

void multi_queue_free(struct worker *worker, struct multi_queue *queue) {
    if (queue == NULL) {
        return;
    }
    if (queue->capacity > COMMANDS_KEPT_MAX ||
        !room_may_keep(worker, &worker->queues.stock, QUEUES_KEPT_MAX, QUEUE_BYTES)) {
        queue_end(worker, queue);
        return;
    }
    arena_reset(&queue->arena);
    queue->count = 0;
    queue->next = worker->queues.pool;
    worker->queues.pool = queue;
    stock_put(&worker->queues.stock);
}

void multi_pool_drop(struct worker *worker, unsigned count) {
    for (; count > 0; count--) {
        struct multi_queue *queue = worker->queues.pool;
        worker->queues.pool = queue->next;
        queue_end(worker, queue);
    }
}

size_t multi_pool_memory(const struct worker *worker) {
    return worker->queues.stock.count * QUEUE_BYTES;
}

/* SELECT moves those behind it, if it is going to succeed. */
static void follow_select(struct multi_queue *queue, const struct worker *worker,
                          const struct multi_command *command) {
    int64_t db;
    if (strcmp(command->ref->full_name, "select") == 0 && num_parse_i64(command->argv[1], &db) &&
        db >= 0 && db < config_databases(worker->config)) {
        queue->db = (uint32_t)db;
    }
}

void multi_queue_add(struct multi_queue *queue, const struct worker *worker,
                     const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                     int slot) {
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity > 0 ? queue->capacity * 2 : COMMANDS_MIN;
        queue->commands = must_realloc(queue->commands, queue->capacity * sizeof *queue->commands);
    }
    size_t words_bytes = 0;
    for (uint32_t i = 0; i < argc; i++) {
        words_bytes += argv[i].len;
    }
    size_t bytes = argc * sizeof *argv + words_bytes;
    queue->runs_scripts |= ref->row->runs_script;
    struct multi_command *command = &queue->commands[queue->count++];
    *command = (struct multi_command){
        .ref = ref,
        .argv = arena_alloc(&queue->arena, bytes),
        .argc = argc,
        .db = queue->db,
        .slot = slot,
    };
    char *at = (char *)(command->argv + argc);
    for (uint32_t i = 0; i < argc; i++) {
        command->argv[i] = bytes_make(at, argv[i].len);
        if (argv[i].len > 0) {
            memcpy(at, argv[i].ptr, argv[i].len);
        }
        at += argv[i].len;
    }
    queue->bytes += bytes;
    queue->words_bytes += words_bytes;
    queue->words_count += argc;
    queue->flags |= ref->flags;
    follow_select(queue, worker, command);
}

void multi_queue_follow(struct multi_queue *queue, const struct client *client) {
    queue->db = client->db;
    for (uint32_t i = 0; i < queue->count; i++) {
        struct multi_command *command = &queue->commands[i];
        command->db = queue->db;
        if (acl_check(client->user, command->ref, command->argv, command->argc, command->db,
                      NULL) == ACL_MAY) {
            follow_select(queue, client->worker, command);
        }
    }
}

size_t multi_queue_memory(const struct multi_queue *queue) {
    return sizeof *queue + queue->capacity * sizeof *queue->commands + queue->bytes;
}

size_t multi_queue_words_memory(const struct multi_queue *queue) {
    return queue->words_bytes + queue->words_count * sizeof(char *);
}

/* ---- Watched keys ---- */

static bool is_key(const struct watched_key *one, uint32_t db, const struct key *key) {
    return one->key.hash == key->hash && one->db == db && bytes_equal(one->key.name, key->name);
}

static bool watched(const struct multi_watches *watches, uint32_t db, const struct key *key) {
    if (watches->index == NULL) {
        for (uint32_t i = 0; i < watches->count; i++) {
            if (is_key(&watches->keys[i], db, key)) {
                return true;
            }
        }
        return false;
    }
    uint32_t mask = watches->index_size - 1;
    for (uint32_t at = (uint32_t)key->hash & mask; watches->index[at] != 0; at = (at + 1) & mask) {
        if (is_key(&watches->keys[watches->index[at] - 1], db, key)) {
            return true;
        }
    }
    return false;
}

static void index_put(struct multi_watches *watches, uint32_t place) {
    uint32_t mask = watches->index_size - 1;
    uint32_t at = (uint32_t)watches->keys[place].key.hash & mask;
    while (watches->index[at] != 0) {
        at = (at + 1) & mask;
    }
    watches->index[at] = place + 1;
}

/* The last key of the list goes into the index, which is made and remade as the list grows: never
 * more than half full. */
static void index_last(struct multi_watches *watches) {
    if (watches->count < WATCHES_INDEXED_MIN) {
        return;
    }
    if (watches->count * 2 <= watches->index_size) {
        index_put(watches, watches->count - 1);
        return;
    }
    uint32_t size = watches->index_size > 0 ? watches->index_size * 2 : 4 * WATCHES_INDEXED_MIN;
    free(watches->index);
    watches->index = must_calloc(size, sizeof *watches->index);
    watches->bytes += (size - watches->index_size) * sizeof *watches->index;
    watches->index_size = size;
    for (uint32_t i = 0; i < watches->count; i++) {
        index_put(watches, i);
    }
}

bool multi_watch_note(struct multi_watches **list, uint32_t db, const struct key *key) {
    struct multi_watches *watches = *list;
    if (watches == NULL) {
        watches = *list = must_calloc(1, sizeof *watches);
        watches->bytes = sizeof *watches;
    }
    if (watched(watches, db, key)) {
        return false;
    }
    if (watches->count == watches->capacity) {
        uint32_t capacity = watches->capacity > 0 ? watches->capacity * 2 : WATCHES_MIN;
        watches->keys = must_realloc(watches->keys, capacity * sizeof *watches->keys);
        watches->bytes += (capacity - watches->capacity) * sizeof *watches->keys;
        watches->capacity = capacity;
    }
    char *name = must_malloc(key->name.len + 1);
    memcpy(name, key->name.ptr, key->name.len);
    struct watched_key *one = &watches->keys[watches->count++];
    *one = (struct watched_key){db, *key};
    one->key.name.ptr = name;
    watches->bytes += key->name.len + 1;
    index_last(watches);
    return true;
}

struct unwatch {
    struct message message; /* first */
    uint64_t client;
};

static void unwatch_on(struct worker *home, unsigned target, uint64_t client) {
    if (target == home->id) {
        watch_drop(&home->shard.watches, client);
        return;
    }
    struct unwatch *unwatch = must_malloc(sizeof *unwatch);
    *unwatch = (struct unwatch){{.kind = MESSAGE_UNWATCH, .home = POST_ONE_WAY}, client};
    post_send(home->server->office, home->id, target, &unwatch->message);
}

void multi_unwatch_arrived(struct worker *worker, struct message *message) {
    watch_drop(&worker->shard.watches, ((struct unwatch *)message)->client);
    free(message);
}

void multi_unwatch(struct worker *home, uint64_t client, const struct multi_watches *watches) {
    bool told[CONFIG_SHARDS_MAX] = {false};
    for (uint32_t i = 0; i < watches->count; i++) {
        unsigned target = node_owner(home->node, watches->keys[i].key.slot);
        if (!told[target]) {
            told[target] = true;
            unwatch_on(home, target, client);
        }
    }
}

void multi_watches_free(struct multi_watches *watches) {
    if (watches == NULL) {
        return;
    }
    for (uint32_t i = 0; i < watches->count; i++) {
        free((char *)watches->keys[i].key.name.ptr);
    }
    free(watches->keys);
    free(watches->index);
    free(watches);
}
