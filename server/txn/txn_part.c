/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_part: what a shard does with its part of a transaction. Each message asks for one thing and
 * is answered once: at once, or when the locks it asks for are granted. */
#include "base/check.h"
#include "base/must.h"
#include "server/call/check.h"
#include "server/call/effects.h"
#include "server/call/slot_check.h"
#include "server/tracking/news.h"
#include "server/txn/txn_private.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* ---- Running ---- */

/* Which command of the transaction it belongs to. */
static uint32_t order_of(const struct txn_part *part, const struct txn_task *task) {
    return (uint32_t)(task->command - part->txn->commands);
}

/* The time at which a key must be alive for this transaction to see it. */
static int64_t alive_ms(const struct worker *worker, const struct txn_part *part) {
    bool sees_dead = part->manner & MANNER_SEES_DEAD && worker_keeps_dead(worker);
    return sees_dead ? INT64_MIN : part->now_ms;
}

/* Which of the keys that lie here have a value. */
static void find_here(const struct worker *worker, const struct txn_part *part,
                      struct txn_command *command) {
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        if (key->worker == worker->id) {
            command->inputs[i].loan.present =
                keyspace_has(worker->shard.keyspace, key->db, &key->key, alive_ms(worker, part));
        }
    }
}

/* Where the inputs are that lie here; they are touched as if the command had looked them up here.
 */
static void lend(struct worker *worker, struct txn_part *part, struct txn_task *task) {
    struct keyspace *keyspace = worker->shard.keyspace;
    struct txn_command *command = task->command;
    if (command->spread == SPREAD_FIRST) {
        find_here(worker, part, command);
        return;
    }
    bool no_touch = part->manner & MANNER_NO_TOUCH;
    struct effects_origin origin = {part->txn->effects, order_of(part, task)};
    struct effects_origin before = effects_open(worker, origin); /* of keys that have run out */
    keyspace_see_dead(keyspace, part->manner & MANNER_SEES_DEAD);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &command->keys[i];
        if (key->worker != worker->id || !(key->flags & KEY_ACCESS)) {
            continue;
        }
        struct entry *entry = keyspace_find(keyspace, key->db, &key->key, part->now_ms,
                                            LOOKUP_NOSTATS | (no_touch ? LOOKUP_NOTOUCH : 0));
        command->inputs[i].loan = (struct loan){.present = false};
        if (UNLIKELY(part->manner & MANNER_TRACKS)) {
            news_remember_key(worker, worker->id, command->ref->row, &key->key);
        }
        if (entry != NULL) {
            struct loan loan = keyspace_lend(keyspace, entry);
            command->inputs[i].loan = loan;
            part->loans++;
            /* Who reads it elsewhere may find elements hidden. */
            int64_t due_ms = value_elements_due(&value_forms, &loan.value);
            if (UNLIKELY(due_ms != NO_EXPIRY && due_ms <= part->now_ms)) {
                keyspace_hid(keyspace, part->now_ms);
            }
        }
    }
    keyspace_see_dead(keyspace, false);
    effects_close(worker, before);
}

static void take_back(struct worker *worker, struct txn_part *part) {
    keyspace_take_back(worker->shard.keyspace, part->loans);
    part->loans = 0;
}

static void run_task(struct caller *caller, struct txn_part *part, struct txn_task *task) {
    struct worker *worker = caller->worker;
    if (task->stage == STAGE_LEND) {
        lend(worker, part, task);
        return;
    }
    if (task->stage == STAGE_JOIN) {
        blocked_join(worker, part->txn->blocked);
        return;
    }
    bool unread = part->over || task->stage == STAGE_TAKE;
    struct outbuf *out = unread ? &worker->discard : &part->out;
    struct reply reply;
    reply_init(&reply, out, part->resp);
    struct call what = {
        .ref = task->command->ref,
        .argv = task->argv,
        .argc = task->argc,
        .key = &task->key,
        .keys = task->set,
        .now_ms = part->now_ms,
    };
    struct call_part share = {
        .stage = task->stage,
        .inputs = task->command->inputs,
        .inputs_count = task->command->keys_count,
        .parcels = task->command->parcels,
        .element_ends = task->element_ends,
    };
    caller->names = NULL;
    const struct keyspace_stats *stats = keyspace_stats(worker->shard.keyspace);
    uint64_t hits = stats->hits, misses = stats->misses;
    caller->db = task->command->db;
    caller->order = order_of(part, task);
    caller->large = task->large;
    caller->only = task->command->only;
    caller->may_wait = part->txn->blocked != NULL;
    caller->waits = false;
    caller->escapes = false;
    caller->record = NULL;
    caller->commands = 0;
    call_share(caller, &what, &share, &reply, &task->outcome);
    outbuf_drain(&worker->discard, worker->discard.bytes);
    if (task->stage == STAGE_TAKE) {
        task->outcome.reply_bytes = 0;
    }
    if (UNLIKELY(caller->names != NULL)) {
        task->names = caller->names;
        keyspace_uncount_lookups(worker->shard.keyspace, stats->hits - hits,
                                 stats->misses - misses);
        effects_unread(worker, part->txn->effects);
    }
    if (task->outcome.waits && task->stage == STAGE_ALL) {
        blocked_waits(part->txn->blocked);
        blocked_join(worker, part->txn->blocked);
    }
    part->over |= part->out.bytes > part->txn->reply_max;
}

/* ---- Packing for another server ---- */

/* So many bytes between two looks at the time, which may be of several times as many before they
 * are compressed. */
#define PACK_BYTES (16 * 1024)

static bool packs(const struct txn_task *task) {
    return task->stage == STAGE_ASK && task->command->spread == SPREAD_SEND;
}

static struct parcel *parcel_at(const struct txn_task *task, uint32_t i) {
    struct parcel *parcels = task->command->parcels;
    return &parcels[task->set->list[i].index - parcels[0].index];
}

/* The values are lent for it. */
static void pack_begin(struct txn_part *part, const struct txn_task *task) {
    for (uint32_t i = 0; i < task->set->count; i++) {
        part->loans += parcel_at(task, i)->present;
    }
}

/* As long as a slice lasts. True: all that the task packs is. */
static bool pack_some(struct worker *worker, struct txn_task *task) {
    worker_slice_enter(worker);
    do {
        size_t budget = PACK_BYTES;
        while (task->packed < task->set->count &&
               parcel_pack_some(parcel_at(task, task->packed), &budget)) {
            task->packed++;
        }
        worker->slice.tick = rt_ticks(worker->rt);
    } while (task->packed < task->set->count && !worker_slice_over(worker));
    return task->packed == task->set->count;
}

/* What it has seen of its keys is in the parcels, and it is all that it has seen: so nobody needs
 * to wait for it to see keys run out, which may be long. */
static void packed(struct worker *worker, struct txn_part *part) {
    take_back(worker, part);
    if (part->txn->count == 1 && part->txn->queue == NULL) {
        pqueue_remove(&worker->txns.parts, &part->node);
        pqueue_add(&worker->txns.parts, &part->node, INT64_MAX);
    }
}

static bool is_in_phase(const struct txn_part *part, const struct txn_task *task) {
    return task != NULL && task->phase == part->phase;
}

/* The memory of the first keys of all tasks is asked for before the first is touched. */
static void prefetch_phase(struct worker *worker, const struct txn_part *part) {
    const struct keyspace *keyspace = worker->shard.keyspace;
    for (const struct txn_task *task = part->next; is_in_phase(part, task); task = task->next) {
        keyspace_prefetch_slot(keyspace, task->command->db, &task->key);
    }
    for (const struct txn_task *task = part->next; is_in_phase(part, task); task = task->next) {
        keyspace_prefetch_bucket(keyspace, task->command->db, &task->key);
    }
    for (const struct txn_task *task = part->next; is_in_phase(part, task); task = task->next) {
        keyspace_prefetch_entry(keyspace, task->command->db, &task->key);
    }
}

/* False: it goes on later, when what is put for the last command that ran has its value. */
static bool run_phase(struct worker *worker, struct txn_part *part) {
    prefetch_phase(worker, part);
    worker->runs_for.client = part->txn->client_id;
    worker->runs_for.home = part->txn->home->id;
    worker->runs_for.user = part->txn->user;
    struct caller caller = {
        .worker = worker,
        .shard = &worker->shard,
        .tick = rt_ticks(worker->rt),
        .manner = part->manner,
        .txn = part->txn->effects,
        .inside = true,
        .holds = part->locked ? &part->lock : NULL,
        .puts_later = part->locked,
    };
    while (is_in_phase(part, part->next)) {
        if (LIKELY(!txn_task_is_off(part->next))) {
            run_task(&caller, part, part->next);
        }
        if (UNLIKELY(packs(part->next)) && !txn_task_is_off(part->next)) {
            pack_begin(part, part->next);
            if (!pack_some(worker, part->next)) {
                list_push_back(&worker->txns.packs, &part->pack);
                return false;
            }
            packed(worker, part);
        }
        if (UNLIKELY(caller.put_later != NULL)) {
            part->put = caller.put_later;
            part->put->part = part;
            part->loans += part->put->is_here;
            list_push_back(&worker->txns.puts, &part->put->node);
            return false;
        }
        part->next = part->next->next;
    }
    if (worker->id != part->txn->home->id) {
        worker->stats.ops_for_others++;
    }
    return true;
}

/* At once when its locks are granted. What it reads may have to be read again. False: as above, and
 * it did not only read. */
static bool run_eagerly(struct worker *worker, struct txn_part *part) {
    const struct keyspace_stats *stats = keyspace_stats(worker->shard.keyspace);
    uint64_t hits = stats->hits, misses = stats->misses;
    if (UNLIKELY(!run_phase(worker, part))) {
        return false;
    }
    part->hits = stats->hits - hits;
    part->misses = stats->misses - misses;
    return true;
}

/* It was not read: nobody has counted it, or heard of what was missing. */
static void unread(struct worker *worker, struct txn_part *part) {
    if (part->hits + part->misses > 0) {
        keyspace_uncount_lookups(worker->shard.keyspace, part->hits, part->misses);
        effects_unread(worker, part->txn->effects);
        part->hits = part->misses = 0;
    }
}

/* ---- Locking ---- */

static void answer(struct worker *worker, struct txn_part *part) {
    if (part->message.home == worker->id) {
        txn_part_done(part);
        return;
    }
    part->message.kind = MESSAGE_TXN_DONE;
    post_send(worker->server->office, worker->id, part->message.home, &part->message);
}

static void locked(struct worker *worker, struct txn_part *part) {
    part->locked = true;
    effects_granted(worker, part->txn->effects);
    pqueue_node_init(&part->node);
    pqueue_add(&worker->txns.parts, &part->node, part->now_ms); /* which home may move meanwhile */
}

int64_t txn_expiry_ms(const struct worker *worker, int64_t now_ms) {
    const struct pqueue_node *oldest = pqueue_first(&worker->txns.parts);
    return oldest != NULL && oldest->key < now_ms ? oldest->key : now_ms;
}

/* Who waits for what somebody has added is served while others cannot see it. What that does is a
 * unit of its own: it may concern keys that were not locked, and have changed since the transaction
 * had its number. */
static void serve_waiters(struct worker *worker, const struct lock_request *holds, int64_t now_ms) {
    if (UNLIKELY(worker->keys_ready)) {
        blocked_serve(worker, holds, now_ms);
    }
}

/* What it has only read, or had not run, may have kept an element from who waits for it. */
static void unlock(struct worker *worker, struct txn_part *part) {
    if (part->locked) {
        part->locked = false;
        take_back(worker, part);
        pqueue_remove(&worker->txns.parts, &part->node);
        locks_release(&worker->shard.locks, &part->lock);
        serve_waiters(worker, NULL, rt_wall_ms(worker->rt));
    }
}

/* What it has done here goes to the log, with its number: every part that was locked, so that it is
 * known how many there are. */
static void log_part(struct worker *worker, const struct txn_part *part) {
    const struct txn *txn = part->txn;
    if (UNLIKELY(worker->wal != NULL)) {
        uint64_t number = part->locked ? txn->stand.number : 0;
        wal_part(worker->wal, txn->effects, number, txn->parts_count);
    }
}

/* A script has changed what is here, and needs what is not: nobody sees it before all of it is
 * done.
 */
static void seal(struct worker *worker, struct txn_part *part) {
    part->seal = shared_next_number(worker->server->shared);
    worker->stats.seals++;
    shared_add_seals(worker->server->shared, 1);
#ifdef SHOAL_UNSAFE_SEAL /* for the test that users of the simulator notice */
    unlock(worker, part);
#else
    locks_seal(&worker->shard.locks, part->seal, part->locked ? &part->lock : NULL);
#endif
    if (part->locked) { /* to have all, it asks once more */
        part->locked = false;
        pqueue_remove(&worker->txns.parts, &part->node);
    }
}

static void unseal(struct worker *worker, struct txn_part *part) {
    if (UNLIKELY(part->seal > 0)) {
        part->seal = 0;
#ifndef SHOAL_UNSAFE_SEAL
        locks_unseal(&worker->shard.locks);
#endif
        shared_add_seals(worker->server->shared, -1);
        serve_waiters(worker, NULL, rt_wall_ms(worker->rt));
    }
}

/* All is done here. */
static void release(struct worker *worker, struct txn_part *part) {
    log_part(worker, part);
    serve_waiters(worker, part->locked ? &part->lock : NULL, part->now_ms);
    if (part->watches) {
        watch_drop(&worker->shard.watches, part->txn->client_id);
        part->watches = false;
    }
    unlock(worker, part);
    unseal(worker, part);
}

/* What others have seen run out on this shard. A clock that was set back is not waited for. */
static int64_t expired_ms(const struct worker *worker) {
    int64_t last_ms = rt_wall_ms(worker->rt) - 1,
            seen_ms = keyspace_expired_to(worker->shard.keyspace);
    return seen_ms < last_ms ? seen_ms : last_ms;
}

/* The same for the shard that grants last, with what may have been seen meanwhile on those that
 * have granted before. */
static int64_t last_expired_ms(struct worker *worker, const struct txn_part *part) {
    if (part->others_die_ms < INT64_MAX) {
        rt_wall_us(worker->rt);
        int64_t now_ms = rt_wall_ms(worker->rt);
        if (part->others_die_ms <= now_ms && part->now_ms < now_ms) {
            return now_ms - 1;
        }
    }
    return expired_ms(worker);
}

/* With the locks held, or nobody else having any: did somebody touch what the client watches? */
static bool is_clean(struct worker *worker, struct txn_part *part) {
    const struct txn *txn = part->txn;
    part->dirty = part->watches &&
                  watch_dirty(&worker->shard.watches, txn->client_id, alive_ms(worker, part));
    return !part->dirty;
}

/* The owner's check, as it runs: while its locks are held the table stays. */
static bool slots_moved(const struct worker *worker, const struct txn_part *part) {
#ifdef SHOAL_UNSAFE_SLOTS /* for the test that users of the simulator notice */
    return false;
#endif
    return part->slots_epoch != slots_epoch(&worker->node->slots);
}

static void refuse(struct txn_part *part, struct txn_task *task, const char *refusal) {
    if (UNLIKELY(refusal != NULL)) {
        size_t bytes = strlen(refusal) + 1;
        free(task->refusal);
        task->refusal = memcpy(must_malloc(bytes), refusal, bytes);
        part->refuses = true;
    }
}

static void ask_slot(struct slot_asked *asked, struct worker *worker, const struct txn_part *part,
                     const struct txn_task *task) {
    const struct txn_command *command = task->command;
    slot_asked_add(asked, worker, command->ref,
                   check_call_flags(worker, command->ref, command->argv), command->argv,
                   command->argc, command->keys, command->keys_count, &worker->shard,
                   alive_ms(worker, part));
}

/* In a cluster: of what all commands of EXEC do together, of others one by one. */
static void vote_slots(struct worker *worker, struct txn_part *part) {
    struct slot_asked asked;
    slot_asked_init(&asked, part->manner);
    if (part->manner & MANNER_UPSTREAM || part->first == NULL) {
        return;
    }
    for (struct txn_task *task = part->first; task != NULL; task = task->next) {
        ask_slot(&asked, worker, part, task);
        if (part->txn->queue == NULL) {
            refuse(part, task, slot_asked_end(worker, &asked, part->manner));
            slot_asked_init(&asked, part->manner);
        }
    }
    refuse(part, part->first, slot_asked_end(worker, &asked, part->manner));
}

/* With the locks held, before anything runs: what only the owner of the keys knows of what it would
 * run here. False if that is nothing, because one no is the end of all of EXEC. */
static bool vote(struct worker *worker, struct txn_part *part) {
    part->refuses = false;
    for (struct txn_task *task = part->first; task != NULL; task = task->next) {
        refuse(part, task, check_vote(worker, task->command->ref, part->manner));
    }
    if (UNLIKELY(worker->cluster != NULL)) { /* and is the first that is told */
        vote_slots(worker, part);
    }
    return LIKELY(!part->refuses) || part->txn->queue == NULL;
}

/* Whether anything may run now, as far as this shard knows. */
static bool agrees(struct worker *worker, struct txn_part *part) {
    bool may = vote(worker, part);
    return is_clean(worker, part) && may;
}

static struct txn_part *part_of_lock(struct lock_request *request) {
    return (struct txn_part *)((char *)request - offsetof(struct txn_part, lock));
}

bool txn_is_logged(const struct worker *worker, const struct txn *txn) {
    const struct wal *wal = worker->wal;
    return UNLIKELY(wal != NULL && (wal->state != WAL_OFF || wal->feeds)) &&
           (txn->flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
}

/* A log has begun since home asked, while its locks were waited for: there is no last hop. */
static void note_log(const struct worker *worker, struct txn_part *part) {
    if (part->grants_last && txn_is_logged(worker, part->txn)) {
        part->grants_last = part->release = false;
        part->eager = part->txn->reads_first;
    }
}

static void scheduled(void *context, struct lock_request *request) {
    struct worker *worker = context;
    struct txn_part *part = part_of_lock(request);
    note_log(worker, part);
    part->refused = request->answer == LOCK_REFUSED;
    part->moved = !part->refused && slots_moved(worker, part);
    if (!part->refused) {
        locked(worker, part);
    }
    if (!part->refused && !part->moved) {
        part->expired_ms = part->grants_last ? last_expired_ms(worker, part) : expired_ms(worker);
        part->dies_ms = keyspace_next_expiry(worker->shard.keyspace);
        part->late = part->expired_ms >= part->now_ms;
#ifdef SHOAL_UNSAFE_TIME /* for the test that users of the simulator notice */
        part->late = false;
#endif
        if (!part->late && agrees(worker, part) && part->eager) {
            if (UNLIKELY(!run_eagerly(worker, part))) {
                return; /* txn_run_slices */
            }
            if (part->release) {
                release(worker, part);
            }
        }
    }
    answer(worker, part);
}

/* Nothing has been deleted here that was alive at its first time, so there is no third. */
static void again(struct worker *worker, struct txn_part *part) {
    part->late = false;
    unread(worker, part);
    take_back(worker, part);
    part->dies_ms = keyspace_next_expiry(worker->shard.keyspace);
    if (agrees(worker, part) && part->eager) {
        check(run_eagerly(worker, part)); /* only reads are done again */
    }
}

/* Before it asks for its locks: a save has values of its keys to read first, and it waits as for a
 * lock. Who asks for all keys does not: nothing keeps him out. */
static bool waits_for_walk(struct worker *worker, const struct txn_part *part) {
    bool waits = false;
    if (LIKELY(list_empty(&worker->walks.list)) || part->lock.scope != LOCK_KEYS) {
        return false;
    }
    for (const struct txn_task *task = part->first; task != NULL; task = task->next) {
        waits |= keyset_waits_for_walk(&worker->shard, task->command->keys,
                                       task->command->keys_count, worker->id);
    }
    return waits;
}

static void schedule(struct worker *worker, struct txn_part *part) {
    if (UNLIKELY(worker->room.limit > 0)) {
        room_make(worker); /* before anything is locked for it */
    }
    waits_for_walk(worker, part);
    part->lock.settled = scheduled;
    /* Who is on no other shard holds nothing there, and waits: refused, he would ask for ever while
     * this one is sealed, as no message comes between. */
    part->lock.many = part->txn->parts_count > 1;
    enum lock_answer answer = locks_submit(&worker->shard.locks, &part->lock);
    if (answer != LOCK_WAITS) { /* else it may have been settled since, as its fence ended */
        part->lock.answer = answer;
        scheduled(worker, &part->lock);
    }
}

static void fenced(void *context, struct lock_request *request) {
    struct txn_part *part = (struct txn_part *)((char *)request - offsetof(struct txn_part, fence));
    part->lock.fence = request;
    answer(context, part);
}

static void fence(struct worker *worker, struct txn_part *part) {
    part->fence = (struct lock_request){.settled = fenced};
    list_node_init(&part->fence.node);
    if (locks_fence(&worker->shard.locks, &part->fence) == LOCK_GRANTED) {
        fenced(worker, &part->fence);
    }
}

/* At the time it is now: by the one at which home asked, or this turn began, keys could be alive
 * that others have seen go, on any shard, before they changed what it is about to see. */
static void finish_alone(struct worker *worker, struct txn_part *part) {
    part->moved = slots_moved(worker, part);
    if (UNLIKELY(part->moved)) {
        unlock(worker, part);
        answer(worker, part);
        return;
    }
    rt_wall_us(worker->rt);
    int64_t now_ms = rt_wall_ms(worker->rt);
    part->now_ms = now_ms > part->now_ms ? now_ms : part->now_ms;
    effects_granted(worker, part->txn->effects);
    part->release = true;
    if (UNLIKELY(shared_seals(worker->server->shared) > 0) &&
        part->first->command->ref->row->runs_script) {
        /* Another one has half of what it does here, or on another shard. This one might, too, and
         * then each would wait for the other: it begins when it has all keys. */
        part->first->outcome.escapes = true;
    } else if (agrees(worker, part) && UNLIKELY(!run_phase(worker, part))) {
        return; /* txn_run_slices */
    }
    if (UNLIKELY(part->first->outcome.record != NULL)) {
        seal(worker, part);
    } else {
        release(worker, part);
    }
    answer(worker, part);
}

static void alone(void *context, struct lock_request *request) {
    struct txn_part *part = part_of_lock(request);
    locked(context, part);
    finish_alone(context, part);
}

static bool is_blocked(const struct locks *locks, const struct txn_part *part) {
    for (uint32_t i = 0; i < part->lock_count; i++) {
        if (locks_block(locks, part->lock_keys[i].id, part->lock_keys[i].exclusive)) {
            return true;
        }
    }
    return false;
}

/* Whether a command in it may go on after this turn. */
static bool may_copy(const struct txn_part *part) {
    bool may = false;
    for (const struct txn_task *task = part->first; task != NULL; task = task->next) {
        may |= task->command->ref->row->copies;
    }
    return may;
}

static void run_alone(struct worker *worker, struct txn_part *part) {
    struct locks *locks = &worker->shard.locks;
    bool waits = waits_for_walk(worker, part) || (locks->requests > 0 && is_blocked(locks, part));
    if (UNLIKELY(waits || may_copy(part))) {
        worker->stats.lock_waits += waits;
        part->lock.settled = alone;
        if (locks_submit(locks, &part->lock) != LOCK_WAITS) {
            alone(worker, &part->lock);
        }
        return;
    }
    finish_alone(worker, part);
}

void txn_part_handle(struct worker *worker, struct txn_part *part) {
    worker_reach_time(worker, part->now_ms);
    switch (part->action) {
    case TXN_ALONE:
        run_alone(worker, part);
        return;
    case TXN_SCHEDULE:
        schedule(worker, part);
        return;
    case TXN_FENCE:
        fence(worker, part);
        return;
    case TXN_RUN:
        if (UNLIKELY(!run_phase(worker, part))) {
            return; /* txn_run_slices */
        }
        break;
    case TXN_AGAIN:
        again(worker, part);
        break;
    case TXN_CANCEL:
        unread(worker, part);
        effects_cancel(worker, part->txn->effects);
        log_part(worker, part);
        unlock(worker, part);
        answer(worker, part);
        return;
    case TXN_RELEASE:
        if (txn_is_over_early(part->txn)) {
            unread(worker, part);
        }
        part->release = true;
        break;
    }
    if (part->release) {
        release(worker, part);
    }
    answer(worker, part);
}

/* ---- Large values ---- */

/* What was done for its next task is done. */
static void after_slices(struct worker *worker, struct txn_part *part) {
    part->next = part->next->next;
    if (run_phase(worker, part)) {
        if (part->release) {
            release(worker, part);
        }
        answer(worker, part);
    }
}

static void copied(struct worker *worker, struct put_later *later) {
    struct txn_part *part = later->part;
    later->saying = must_malloc(sizeof *later->saying);
    *later->saying = (struct effects_saying){
        .origin = {part->txn->effects, order_of(part, part->next)},
        .value = later->copy.to,
        .name = later->key.name,
        .db = later->db,
        .expires_at = later->expires_at,
    };
    struct effects_origin before = effects_open(worker, later->saying->origin);
    keyspace_bury(worker->shard.keyspace, later->db, &later->key, later->now_ms);
    effects_close(worker, before);
}

/* The records of a slice of it, in bytes. */
#define SAID_BYTES (64u << 10)

/* The value is whole: what makes it is said in slices, too, while nobody sees it. True: all is. */
static bool say_some(struct worker *worker, struct put_later *later) {
    const struct txn_part *part = later->part;
    const struct txn_task *task = part->next;
    struct effects_origin origin = later->saying->origin;
    struct effects_origin before = effects_open(worker, origin);
    bool all = true;
    if (later->is_here) {
        effects_add(worker, origin, task->command->db, task->argv, task->argc);
    } else {
        all = effects_say_some(worker, later->saying, SAID_BYTES);
    }
    effects_close(worker, before);
    return all;
}

/* The key has it, and the part goes on. */
static void put(struct worker *worker, struct put_later *later) {
    struct txn_part *part = later->part;
    struct effects_origin before = effects_open(worker, later->saying->origin);
    keyspace_put_copy(worker->shard.keyspace, later->db, &later->key, &later->copy,
                      later->expires_at, later->now_ms, later->event);
    effects_close(worker, before);
    list_remove(&later->node);
    free(later->saying);
    free(later);
    part->put = NULL;
    after_slices(worker, part);
}

static void run_puts(struct worker *worker) {
    struct put_later *later = LIST_ENTRY(list_first(&worker->txns.puts), struct put_later, node);
    if (later->saying == NULL) {
        if (keyspace_copy_some(worker->shard.keyspace, &later->copy)) {
            copied(worker, later);
        }
    } else if (say_some(worker, later)) {
        put(worker, later);
    }
}

/* Those that pack take turns. */
static void run_packs(struct worker *worker) {
    struct txn_part *part = LIST_ENTRY(list_pop_front(&worker->txns.packs), struct txn_part, pack);
    if (pack_some(worker, part->next)) {
        packed(worker, part);
        after_slices(worker, part);
    } else {
        list_push_back(&worker->txns.packs, &part->pack);
    }
}

bool txn_run_slices(struct worker *worker) {
    struct txns *txns = &worker->txns;
    if (LIKELY(list_empty(&txns->puts) && list_empty(&txns->packs))) {
        return false;
    }
    worker_slice_enter(worker);
    if (!list_empty(&txns->puts)) {
        run_puts(worker);
    }
    if (!list_empty(&txns->packs)) {
        run_packs(worker);
    }
    worker->slice.tick = rt_ticks(worker->rt);
    return !list_empty(&txns->puts) || !list_empty(&txns->packs);
}

void txn_part_arrived(struct worker *worker, struct message *message) {
    txn_part_handle(worker, (struct txn_part *)message);
    worker->slice.tick = rt_ticks(worker->rt);
}

/* Whom others' locks have kept from an element stands before those who came meanwhile: he has it
 * before this one sees it. False: it must be fetched, and this one waits till it is. */
static bool goes_on(struct worker *worker, struct lock_request *request) {
    bool granted = request->answer == LOCK_GRANTED;
    serve_waiters(worker, granted ? request : NULL, rt_wall_ms(worker->rt));
    return !granted || !locks_give_way(&worker->shard.locks, request);
}

/* Who gives a popular key back lets all go on that waited for it: not in one turn. */
void txn_settle(struct worker *worker) {
    struct lock_request *request;
    while (!worker_slice_over(worker) &&
           (request = locks_next_settled(&worker->shard.locks)) != NULL) {
        worker_slice_enter(worker);
        if (LIKELY(goes_on(worker, request))) {
            request->settled(worker, request);
        }
        worker->slice.tick = rt_ticks(worker->rt);
    }
}
