/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_plan: from commands to phases, parts and tasks.
 *
 * What a command touches, and how, is read off its row: the flags of its keys say how they are
 * locked, `spread` how it is divided. Commands of one transaction that touch different shards do
 * not see each other's effects, because all keys are locked; so a run of them takes one hop,
 * whatever their number. */
#include "base/check.h"
#include "base/num.h"
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
    const struct node *node = txn->home->node;
    if (command->set == NULL) {
        command->set =
            keyset_new(&txn->arena, node, command->ref, command->argv, command->argc, command->db);
    }
    keyset_reroute(command->set, node, txn->slots_epoch);
    command->keys = command->set->list;
    command->keys_count = command->set->count;
    for (uint32_t i = 0; i < command->keys_count; i++) {
        part_of(txn, command->keys[i].worker)->lock_count++;
    }
}

/* ---- Tasks ---- */

/* Tasks of one command are made in the order of their phases. */
static struct txn_task *task_new(struct txn *txn, struct txn_command *command, unsigned worker,
                                 enum exec_stage stage, uint32_t phase) {
    struct txn_task *task = arena_alloc(&txn->arena, sizeof *task);
    *task = (struct txn_task){
        .command = command,
        .worker = worker,
        .stage = stage,
        .phase = phase,
        .argv = command->argv,
        .argc = command->argc,
        .set = command->set,
    };
    struct txn_part *part = part_of(txn, worker);
    if (part->first == NULL) {
        part->first = task;
    } else {
        part->last->next = task;
    }
    part->last = task;
    if (command->first == NULL) {
        command->first = task;
    } else {
        command->last->peer = task;
    }
    command->last = task;
    command->last_phase = phase;
    return task;
}

static struct txn_task *task_on(const struct txn_command *command, unsigned worker,
                                enum exec_stage stage) {
    struct txn_task *task = command->first;
    while (task != NULL && (task->worker != worker || task->stage != stage)) {
        task = task->peer;
    }
    return task;
}

static void plan_whole(struct txn *txn, struct txn_command *command, uint32_t phase) {
    bool has_key = command->keys_count > 0;
    unsigned worker = has_key ? command->keys[0].worker : txn->home->id;
    struct txn_task *task = task_new(txn, command, worker, STAGE_ALL, phase);
    task->key = has_key ? command->keys[0].key : key_make(&txn->home->server->secret, BYTES(""));
}

/* How a command's words belong to its keys: `head` words before the first key, one of which may say
 * how many there are (0: none), `step` words for each key, and the rest behind the last. */
struct division {
    uint32_t head, count_index, step, tail;
};

/* False: the command cannot be divided, because a word is missing: it says so itself, anywhere. */
static bool divide(const struct txn_command *command, struct division *ret) {
    const struct key_spec *spec = &command->ref->row->keys[0];
    bool counted = spec->find == FIND_KEYNUM;
    *ret = (struct division){
        .head = command->keys[0].index,
        .count_index = counted ? (uint32_t)(spec->index + spec->keynum) : 0,
        .step = (uint32_t)(counted ? spec->keynum_step : spec->step),
    };
    uint32_t keys_end = ret->head + command->keys_count * ret->step;
    ret->tail = command->argc - keys_end;
    return keys_end <= command->argc && (counted || ret->tail == 0);
}

/* A share with room for the words of `count` keys, which are still to come. */
static struct txn_task *share_new(struct txn *txn, struct txn_command *command,
                                  const struct division *division, const struct keyset_key *key,
                                  uint32_t count, enum exec_stage stage, uint32_t phase) {
    struct txn_task *task = task_new(txn, command, key->worker, stage, phase);
    uint32_t words = division->head + count * division->step + division->tail;
    task->argv = arena_alloc(&txn->arena, words * sizeof *task->argv);
    memcpy(task->argv, command->argv, division->head * sizeof *task->argv);
    task->argc = division->head;
    task->key = key->key;
    task->set = keyset_empty(&txn->arena, count);
    if (division->count_index > 0) {
        char *text = arena_alloc(&txn->arena, NUM_I64_BYTES);
        task->argv[division->count_index] = bytes_make(text, num_format_i64(text, count));
    }
    if (command->spread == SPREAD_ELEMENTS) {
        task->element_ends = arena_alloc(&txn->arena, (count + 1) * sizeof *task->element_ends);
    }
    return task;
}

/* Each shard's share, in one phase. */
static void plan_shares(struct txn *txn, struct txn_command *command,
                        const struct division *division, enum exec_stage stage, uint32_t phase) {
    unsigned workers = txn->home->server->workers_count;
    uint32_t *counts = zeroed(txn, workers * sizeof *counts);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        counts[command->keys[i].worker]++;
    }
    struct txn_task **tasks = zeroed(txn, workers * sizeof *tasks);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        if (tasks[key->worker] == NULL) {
            tasks[key->worker] =
                share_new(txn, command, division, key, counts[key->worker], stage, phase);
        }
        struct txn_task *task = tasks[key->worker];
        keyset_add(task->set, key, task->argc);
        memcpy(&task->argv[task->argc], &command->argv[key->index],
               division->step * sizeof *task->argv);
        for (uint32_t j = 1; command->large != NULL && stage != STAGE_ASK && j < division->step;
             j++) {
            large_share(command->large, command->argv[key->index + j], &task->large);
        }
        task->argc += division->step;
    }
    for (unsigned i = 0; i < workers; i++) {
        if (tasks[i] != NULL) {
            memcpy(&tasks[i]->argv[tasks[i]->argc], &command->argv[command->argc - division->tail],
                   division->tail * sizeof *tasks[i]->argv);
            tasks[i]->argc += division->tail;
        }
    }
    command->tasks = tasks;
}

static void plan_divided(struct txn *txn, struct txn_command *command,
                         const struct division *division, uint32_t phase) {
    if (command->spread == SPREAD_IF) {
        plan_shares(txn, command, division, STAGE_ASK, phase);
        plan_shares(txn, command, division, STAGE_ACT, phase + 1);
    } else {
        plan_shares(txn, command, division, STAGE_ALL, phase);
    }
}

/* It waits, perhaps: its client stands in line at each shard that has a key it waits for. */
static void plan_joins(struct txn *txn, struct txn_command *command, uint32_t phase) {
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        if (key->flags & KEY_ACCESS && task_on(command, key->worker, STAGE_JOIN) == NULL) {
            task_new(txn, command, key->worker, STAGE_JOIN, phase)->key = key->key;
        }
    }
}

/* Each shard runs all of it, on its own keys. */
static void plan_each(struct txn *txn, struct txn_command *command, enum exec_stage stage,
                      uint32_t phase) {
    command->tasks = zeroed(txn, txn->home->server->workers_count * sizeof *command->tasks);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        struct txn_task *task = command->tasks[key->worker];
        if (task == NULL) {
            task = task_new(txn, command, key->worker, stage, phase);
            task->key = key->key;
            task->set = keyset_empty(&txn->arena, command->keys_count);
            task->element_ends =
                arena_alloc(&txn->arena, command->keys_count * sizeof *task->element_ends);
            command->tasks[key->worker] = task;
        }
        keyset_add(task->set, key, key->index);
    }
}

/* Its keys' owners pack, home sends, and they do what follows. What was before it has been done by
 * then, what comes behind waits: of all that a transaction sends one is on its way at a time. */
static void plan_send(struct txn *txn, struct txn_command *command, uint32_t phase) {
    command->parcels = zeroed(txn, command->keys_count * sizeof *command->parcels);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        command->parcels[i].index = command->keys[i].index;
    }
    plan_each(txn, command, STAGE_ASK, phase);
    plan_each(txn, command, STAGE_ACT, phase + 1);
    txn->packs = true;
}

/* Its inputs are lent, then it runs where the key lies that it writes, then goes what it took. The
 * largest of inputs is known once they are lent: then each of their owners may have to run it. */
static void plan_at(struct txn *txn, struct txn_command *command, uint32_t phase) {
    const struct keyset_key *keys = command->keys;
    command->inputs = arena_alloc(&txn->arena, command->keys_count * sizeof *command->inputs);
    command->at = -1;
    for (uint32_t i = 0; i < command->keys_count; i++) {
        command->inputs[i] = (struct exec_input){.index = keys[i].index};
        if (command->at < 0 && !(keys[i].flags & (KEY_RO | KEY_DELETE))) {
            command->at = keys[i].worker;
        }
        if (keys[i].flags & KEY_ACCESS && task_on(command, keys[i].worker, STAGE_LEND) == NULL) {
            task_new(txn, command, keys[i].worker, STAGE_LEND, phase)->key = keys[i].key;
        }
    }
    for (uint32_t i = 0; i < command->keys_count; i++) {
        if ((command->at < 0 || command->at == keys[i].worker) &&
            task_on(command, keys[i].worker, STAGE_AT) == NULL) {
            task_new(txn, command, keys[i].worker, STAGE_AT, phase + 1)->key = keys[i].key;
        }
    }
    for (uint32_t i = 0; i < command->keys_count; i++) {
        if (command->spread == SPREAD_MOVE && keys[i].flags & KEY_DELETE) {
            task_new(txn, command, keys[i].worker, STAGE_TAKE, phase + 2)->key = keys[i].key;
        }
    }
    if (txn->blocked != NULL) {
        plan_joins(txn, command, phase + 2);
    }
}

/* ---- Phases ---- */

/* Where the next command may begin. */
struct phases {
    uint32_t next;      /* the first phase that is open to it */
    uint32_t next_lend; /* the same if it begins with lending, which changes nothing: while the one
                           before it runs, whose inputs lie elsewhere */
    uint32_t end;       /* behind the last one that is used */
};

/* One without keys, or with others than are known. If it must see all that was before it, and be
 * seen by all after it, it has a phase of its own. */
static void plan_home(struct txn *txn, struct txn_command *command, struct phases *phases) {
    command->kind = TXN_HOME;
    const struct command *row = command->ref->row;
    if (row->place == PLACE_ALL_KEYS || row->parks_in_exec || command->parks) {
        bool writes = command->ref->flags & (CMD_WRITE | CMD_MAY_REPLICATE);
        enum lock_scope scope = writes ? LOCK_ALL_EXCLUSIVE : LOCK_ALL_SHARED;
        txn->scope = scope > txn->scope ? scope : txn->scope;
    }
    bool fences = command->ref->fences || command->parks;
    command->phase = command->last_phase = fences ? phases->end : phases->next_lend;
    if (fences) {
        phases->next = phases->next_lend = command->phase + 1;
    }
}

static void plan_on_keys(struct txn *txn, struct txn_command *command, struct phases *phases) {
    bool sends = command->ref->row->spread == SPREAD_SEND && command->keys_count > 0;
    bool divided =
        sends || (command->set->everywhere ? keyset_lies_apart(command->set) : command->set->apart);
    enum command_spread spread = divided ? command->ref->row->spread : SPREAD_NONE;
    bool lends = spread >= SPREAD_AT;
    command->phase = sends ? phases->end : lends ? phases->next_lend : phases->next;
    struct division division;
    if (lends) {
        command->spread = spread;
        plan_at(txn, command, command->phase);
    } else if (sends) {
        command->spread = spread;
        plan_send(txn, command, command->phase);
    } else if (spread == SPREAD_EACH) {
        command->spread = spread;
        plan_each(txn, command, STAGE_ASK, command->phase);
        plan_each(txn, command, STAGE_ACT, command->phase + 1);
        if (txn->blocked != NULL) {
            plan_joins(txn, command, command->phase + 2);
        }
    } else if (spread != SPREAD_NONE && divide(command, &division)) {
        command->spread = spread;
        plan_divided(txn, command, &division, command->phase);
    } else {
        plan_whole(txn, command, command->phase);
    }
    if (txn->blocked != NULL) {
        blocked_plan(txn->blocked, command);
    }
    phases->next = command->last_phase + (command->spread == SPREAD_AT || sends);
    phases->next_lend = command->last_phase + sends;
}

/* A part's tasks stand in the order of commands, so what runs in one phase on one shard runs in
 * that order. On different shards it runs at one time: who lends must not be written to until what
 * it is lent to has run. */
static void plan_command(struct txn *txn, struct txn_command *command, struct phases *phases) {
    bool has_keys = command->ref->row->place == PLACE_KEY;
    command->kind = TXN_TASKS;
    if (has_keys) {
        plan_keys(txn, command);
    }
    /* Inside EXEC nothing can begin anew. */
    command->parks |=
        has_keys && command->set->everywhere && (txn->queue != NULL || command->set->is_script);
    if (has_keys && !command->parks) {
        plan_on_keys(txn, command, phases);
    } else {
        plan_home(txn, command, phases);
    }
    phases->end = command->last_phase >= phases->end ? command->last_phase + 1 : phases->end;
}

static void plan_phases(struct txn *txn) {
    struct phases phases = {0};
    for (uint32_t i = 0; i < txn->count; i++) {
        plan_command(txn, &txn->commands[i], &phases);
    }
    txn->phases = phases.end > 0 ? phases.end : 1;
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
            part->seal = txn->seal > 0 && txn->sealed == i ? txn->seal : 0;
            part->lock.is_sealer = part->seal > 0;
            part->lock.seals_another = txn->seal > 0 && part->seal == 0;
            part->lock.own = txn->blocked != NULL ? blocked_closings(txn->blocked, i) : NULL;
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
