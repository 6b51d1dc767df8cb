/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_plan: from commands to phases, parts and tasks.
 *
 * What a command touches, and how, is read off its row: the flags of its keys say how they are
 * locked, `spread` how it is divided. Commands of one transaction that touch different shards do
 * not see each other's effects, because all keys are locked; so a run of them takes one hop,
 * whatever their number. */
#include "base/check.h"
#include "server/client/client.h"
#include "server/client/large.h"
#include "server/txn/multi.h"
#include "server/txn/txn_private.h"
#include "server/worker/worker.h"

/* Memory of the transaction, all zero: by worker, mostly. */
static void *zeroed(struct txn *txn, size_t bytes) {
    return memset(arena_alloc(&txn->arena, bytes), 0, bytes);
}

static struct txn_part *part_of(struct txn *txn, unsigned worker) {
    struct txn_part *part = txn->parts[worker];
    if (part == NULL) {
        part = &txn->space[worker];
        *part = (struct txn_part){
            .txn = txn,
            .worker = worker,
            .slots_epoch = txn->slots_epoch,
            .message.home = (uint16_t)txn->home->id,
        };
        outbuf_init(&part->out);
        worker_lend_chunk(txn->home, &part->out);
        txn->parts[worker] = part;
        txn->parts_count++;
    }
    return part;
}

/* ---- Keys ---- */

static void plan_keys(struct txn *txn, struct txn_command *command) {
    command->keys = command->set->list;
    command->keys_count = command->set->count;
    for (uint32_t i = 0; i < command->keys_count; i++) {
        part_of(txn, command->keys[i].worker)->lock_count++;
    }
}

/* ---- Tasks ---- */

static struct txn_task *task_new(struct txn *txn, struct txn_command *command, unsigned worker) {
    struct txn_task *task = arena_alloc(&txn->arena, sizeof *task);
    *task = (struct txn_task){.command = command};
    struct txn_part *part = part_of(txn, worker);
    if (part->first == NULL) {
        part->first = task;
    } else {
        part->last->next = task;
    }
    part->last = task;
    return task;
}

/* None yet, by worker. */
static struct txn_task **tasks_new(struct txn *txn) {
    return zeroed(txn, txn->home->server->workers_count * sizeof(struct txn_task *));
}

static void plan_whole(struct txn *txn, struct txn_command *command) {
    bool has_key = command->keys_count > 0;
    unsigned worker = has_key ? command->keys[0].worker : txn->home->id;
    command->only = task_new(txn, command, worker);
    command->only->argv = command->argv;
    command->only->argc = command->argc;
    command->only->set = command->set;
    command->only->key =
        has_key ? command->keys[0].key : key_make(&txn->home->server->secret, BYTES(""));
}

/* How many words belong to each key, or 0 when the command cannot be divided: its keys do not
 * follow each other from the first to the last word, or a word is missing. */
static uint32_t words_per_key(const struct txn_command *command) {
    const struct key_spec *spec = &command->ref->row->keys[0];
    if (command->ref->row->spread == SPREAD_CARRY || spec->find != FIND_RANGE) {
        return 0;
    }
    uint32_t step = (uint32_t)spec->step, first = command->keys[0].index;
    return (command->argc - first) % step == 0 ? step : 0;
}

static void plan_divided(struct txn *txn, struct txn_command *command, uint32_t step) {
    uint32_t *counts = zeroed(txn, txn->home->server->workers_count * sizeof *counts);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        counts[command->keys[i].worker]++;
    }
    command->spread = command->ref->row->spread;
    command->tasks = tasks_new(txn);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        struct txn_task *task = command->tasks[key->worker];
        if (task == NULL) {
            uint32_t count = counts[key->worker];
            task = command->tasks[key->worker] = task_new(txn, command, key->worker);
            task->argv = arena_alloc(&txn->arena, (1 + count * step) * sizeof *task->argv);
            task->argv[0] = command->argv[0];
            task->argc = 1;
            task->key = key->key;
            task->set = keyset_empty(&txn->arena, count);
            if (command->spread == SPREAD_ELEMENTS) {
                task->element_ends =
                    arena_alloc(&txn->arena, (count + 1) * sizeof *task->element_ends);
            }
        }
        memcpy(&task->argv[task->argc], &command->argv[key->index], step * sizeof *task->argv);
        keyset_add(task->set, key, task->argc);
        for (uint32_t j = 1; command->large != NULL && j < step; j++) {
            large_share(command->large, command->argv[key->index + j], &task->large);
        }
        task->argc += step;
    }
}

static void plan_carried(struct txn *txn, struct txn_command *command) {
    command->kind = TXN_CARRY;
    command->tasks = tasks_new(txn);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        struct txn_task *task = command->tasks[key->worker];
        if (task == NULL) {
            task = command->tasks[key->worker] = task_new(txn, command, key->worker);
            task->keys = arena_alloc(&txn->arena, command->keys_count * sizeof *task->keys);
            task->key = key->key;
        }
        task->keys[task->keys_count++] = key->key;
    }
}

/* ---- Phases ---- */

/* True if it needs a phase of its own. */
static bool plan_command(struct txn *txn, struct txn_command *command) {
    if (command->ref->row->place != PLACE_KEY) {
        command->kind = TXN_HOME;
        if (command->ref->row->place == PLACE_ALL_KEYS) {
            bool writes = command->ref->flags & CMD_WRITE;
            enum lock_scope scope = writes ? LOCK_ALL_EXCLUSIVE : LOCK_ALL_SHARED;
            txn->scope = scope > txn->scope ? scope : txn->scope;
        }
        return command->ref->fences;
    }
    command->kind = TXN_TASKS;
    const struct node *node = txn->home->node;
    if (command->set == NULL) {
        command->set =
            keyset_new(&txn->arena, node, command->ref, command->argv, command->argc, command->db);
    }
    keyset_reroute(command->set, node, txn->slots_epoch);
    plan_keys(txn, command);
    if (!command->set->apart) {
        plan_whole(txn, command);
        return false;
    }
    uint32_t step = words_per_key(command);
    if (step > 0) {
        plan_divided(txn, command, step);
        return false;
    }
    plan_carried(txn, command);
    return true;
}

static void plan_phases(struct txn *txn) {
    bool closed = false; /* nothing may be added to the current phase */
    for (uint32_t i = 0; i < txn->count; i++) {
        struct txn_command *command = &txn->commands[i];
        bool apart = plan_command(txn, command);
        if (i > 0 && (apart || closed)) {
            txn->phase++;
        }
        command->phase = txn->phase;
        closed = apart;
    }
    txn->phases = txn->phase + 1;
    txn->phase = 0;
}

/* ---- Locks ---- */

/* What EXEC's client watches must not change between the look at the marks and the end. */
static void plan_watches(struct txn *txn) {
    const struct multi_watches *watches = txn->queue != NULL ? txn->client->watches : NULL;
    for (uint32_t i = 0; watches != NULL && i < watches->count; i++) {
        uint16_t slot = watches->keys[i].key.slot;
        struct txn_part *part = part_of(txn, node_owner(txn->home->node, slot));
        part->watches = true;
        part->lock_count++;
    }
}

static void lock_watches(struct txn *txn) {
    const struct multi_watches *watches = txn->queue != NULL ? txn->client->watches : NULL;
    for (uint32_t i = 0; watches != NULL && i < watches->count; i++) {
        const struct key *key = &watches->keys[i].key;
        struct txn_part *part = txn->parts[node_owner(txn->home->node, key->slot)];
        part->lock_keys[part->lock_count++] = (struct lock_key){key->hash, false};
    }
}

/* What is written anywhere while all is locked to be shared must be locked to be owned. */
static void widen_scope(struct txn *txn) {
    if (txn->scope == LOCK_KEYS) {
        return;
    }
    for (uint32_t i = 0; i < txn->count; i++) {
        for (uint32_t j = 0; j < txn->commands[i].keys_count; j++) {
            if (txn->commands[i].keys[j].exclusive) {
                txn->scope = LOCK_ALL_EXCLUSIVE;
            }
        }
    }
    NODE_EACH_WORKER(txn->home->node, i) {
        part_of(txn, i);
    }
}

static void plan_locks(struct txn *txn) {
    NODE_EACH_WORKER(txn->home->node, i) {
        struct txn_part *part = txn->parts[i];
        if (part != NULL) {
            part->lock_keys = arena_alloc(&txn->arena, part->lock_count * sizeof *part->lock_keys);
            part->lock_count = 0;
        }
    }
    for (uint32_t i = 0; i < txn->count; i++) {
        for (uint32_t j = 0; j < txn->commands[i].keys_count; j++) {
            const struct keyset_key *key = &txn->commands[i].keys[j];
            struct txn_part *part = txn->parts[key->worker];
            part->lock_keys[part->lock_count++] = (struct lock_key){key->key.hash, key->exclusive};
        }
    }
    lock_watches(txn);
    NODE_EACH_WORKER(txn->home->node, i) {
        struct txn_part *part = txn->parts[i];
        if (part != NULL) {
            struct lock *memory = arena_alloc(&txn->arena, (part->lock_count + 1) * sizeof *memory);
            lock_request_init(&part->lock, txn->scope, part->lock_keys, part->lock_count, memory);
        }
    }
}

void txn_plan(struct txn *txn) {
    txn->slots_epoch = slots_epoch(&txn->home->node->slots);
    txn->parts = zeroed(txn, txn->home->server->workers_count * sizeof(struct txn_part *));
    plan_phases(txn);
    plan_watches(txn);
    widen_scope(txn);
    plan_locks(txn);
}
