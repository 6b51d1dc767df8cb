/* SPDX-License-Identifier: BSD-3-Clause */
/* blocked: see the header. Why so: what is served must be served before anybody else sees the key,
 * so the shard itself runs the command, in the call that has filled the key, or as the locks are
 * given back. All that this takes (words, keys, protocol) lies in one block of home's that does not
 * change while a part is away. The shard that has the claim alone writes the reply.
 *
 * Home hears of each end once, by a message of the part, or decides it by taking the claim:
 *
 *     stands   its client is WAITING with wait_keys; `client->blocked` is this
 *     tries    the claim is a shard's, and a transaction runs, or is about to
 *     over     its client has gone on. Parts come home; the last frees it
 *
 * Invariants
 *  1. A part is called back only once the claim is taken, and not the one whose shard is serving.
 *  2. Messages of one shard come in order, so a part joins before it is called back, and home hears
 * that a transaction is over before it hears of what its wait has come to, from that shard.
 *  3. From the moment at which a shard finds that a transaction must fetch what is there, till it
 * has been in vain or the part is called back, the key is closed (locks.h): who comes later does
 * not get it. So are those of its other keys that get something meanwhile, on any shard. While one
 * is, nothing that home waits for may keep the transaction from asking that shard for its locks:
 * see txn.c's schedule_first, and CLIENT PAUSE below.
 */
#include "server/txn/blocked.h"

#include "base/must.h"
#include "proto/parser.h"
#include "server/call/check.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/slot_check.h"
#include "server/client/client.h"
#include "server/client/identity.h"
#include "server/tracking/news.h"
#include "server/txn/txn_private.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES 512

/* What a shard needs besides its part for one that tries. */
struct attempt {
    struct message put_off;
    struct waiter_part *part;
    bool is_put_off; /* the shard's: it has opened the keys, and closes none until that is over */
};

struct blocked {
    struct arena arena;
    struct client *client; /* home's; it stays until this is freed */
    struct waiter *waiter; /* NULL: not planned, or it has no keys */
    /* Constant while parts are away. */
    unsigned home;
    uint64_t client_id;
    const struct command_ref *ref;
    struct bytes *argv; /* but that a shard may say exec_wait_word before it joins */
    uint32_t argc;
    uint32_t db;
    uint8_t resp;
    uint16_t manner;
    struct keyset *keys;
    uint32_t *waited; /* places in `keys` of those that it waits for */
    size_t bytes;
    /* Whose the claim is. */
    struct outbuf reply;
    struct message try;
    /* A shard's, while its part is lent to it. */
    struct attempt *attempts;      /* by part */
    struct lock_closing *closings; /* by key; those of one part are linked */
    /* Home's. */
    bool stands, tries, over;
    bool hurries; /* a shard has asked for a transaction before that of its beginning was over */
    bool put_off; /* it tries once CLIENT PAUSE is over */
    bool served;  /* before its transaction was over */
    int64_t until_ms;
    struct list_node try_node; /* of worker->txns.tries */
};

static struct blocked *blocked_of(const struct waiter_part *part) {
    return part->waiter->arg;
}

/* ---- Life ---- */

/* One of one letter may become another one. */
static struct bytes copy_word(struct arena *arena, struct bytes word) {
    char *copy = arena_alloc(arena, word.len == 1 ? EXEC_WORD_MAX : word.len);
    if (word.len > 0) {
        memcpy(copy, word.ptr, word.len);
    }
    return bytes_make(copy, word.len);
}

struct blocked *blocked_new(struct client *client, const struct command_ref *ref,
                            const struct request *request) {
    struct blocked *blocked = must_calloc(1, sizeof *blocked);
    arena_init(&blocked->arena, ARENA_BLOCK_BYTES);
    outbuf_init(&blocked->reply);
    list_node_init(&blocked->try_node);
    blocked->client = client;
    blocked->home = client->worker->id;
    blocked->client_id = client->id;
    blocked->ref = ref;
    blocked->argv = arena_alloc(&blocked->arena, request->argc * sizeof *blocked->argv);
    blocked->argc = request->argc;
    for (uint32_t i = 0; i < request->argc; i++) {
        blocked->argv[i] = copy_word(&blocked->arena, request->argv[i]);
    }
    blocked->db = client->db;
    blocked->bytes = sizeof *blocked + ARENA_BLOCK_BYTES + request->bytes;
    client->bytes_away += blocked->bytes;
    client->blocked_open++;
    return blocked;
}

struct bytes *blocked_words(struct blocked *blocked) {
    return blocked->argv;
}

/* Its parts were not sent to anybody. */
static void forget_plan(struct blocked *blocked) {
    struct waiter *waiter = blocked->waiter;
    if (waiter == NULL) {
        return;
    }
    for (unsigned i = 0; i < waiter->parts_count; i++) {
        if (waiter->parts[i].state != PART_HOME) {
            waiter_returned(&waiter->parts[i]);
        }
    }
    blocked->client->bytes_away -= waiter->bytes;
    waiter_free(waiter);
    blocked->waiter = NULL;
}

static void blocked_free(struct blocked *blocked) {
    struct client *client = blocked->client;
    forget_plan(blocked);
    client->bytes_away -= blocked->bytes;
    client->blocked_open--;
    outbuf_fini(&blocked->reply);
    arena_fini(&blocked->arena);
    free(blocked);
    if (client_is_closing(client)) {
        client_try_free(client);
    }
}

static struct lock_closing *closing_of(const struct blocked *blocked,
                                       const struct waiter_key *key) {
    return &blocked->closings[key - blocked->waiter->parts[0].keys];
}

static struct attempt *attempt_of(const struct blocked *blocked, const struct waiter_part *part) {
    return &blocked->attempts[part - blocked->waiter->parts];
}

static void plan_attempts(struct blocked *blocked, uint32_t keys_count) {
    struct waiter *waiter = blocked->waiter;
    blocked->attempts =
        arena_alloc(&blocked->arena, waiter->parts_count * sizeof *blocked->attempts);
    blocked->closings = arena_alloc(&blocked->arena, keys_count * sizeof *blocked->closings);
    for (unsigned i = 0; i < waiter->parts_count; i++) {
        struct waiter_part *part = &waiter->parts[i];
        blocked->attempts[i] = (struct attempt){.part = part};
        for (uint32_t j = part->keys_count; j-- > 0;) {
            struct lock_closing *closing = closing_of(blocked, &part->keys[j]);
            lock_closing_init(closing);
            closing->next = j + 1 < part->keys_count ? closing + 1 : NULL;
        }
    }
}

void blocked_plan(struct blocked *blocked, const struct txn_command *command) {
    if (blocked->tries) {
        return;
    }
    forget_plan(blocked);
    blocked->resp = blocked->client->resp;
    blocked->manner = client_manner(blocked->client);
    blocked->keys = keyset_copy(&blocked->arena, command->set, blocked->argv);
    uint32_t count = 0;
    blocked->waited =
        arena_alloc(&blocked->arena, (command->keys_count + 1) * sizeof *blocked->waited);
    struct waiter_name *names =
        arena_alloc(&blocked->arena, (command->keys_count + 1) * sizeof *names);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        const struct keyset_key *key = &blocked->keys->list[i];
        if (key->flags & KEY_ACCESS) {
            names[count] = (struct waiter_name){key->db, key->key, key->worker,
                                                command->ref->row->ready_when_gone};
            blocked->waited[count++] = i;
        }
    }
    if (count == 0) {
        return; /* its arguments make no sense */
    }
    blocked->waiter = waiter_new(names, count, blocked);
    blocked->client->bytes_away += blocked->waiter->bytes;
    plan_attempts(blocked, count);
    for (unsigned i = 0; i < blocked->waiter->parts_count; i++) {
        waiter_lend(&blocked->waiter->parts[i]);
    }
}

/* ---- The client ---- */

static void post(const struct worker *worker, unsigned to, struct message *message,
                 enum message_kind kind) {
    *message = (struct message){.kind = (uint16_t)kind, .home = POST_ONE_WAY};
    post_send(worker->server->office, worker->id, to, message);
}

/* The claim is taken (inv. 1). */
static void call_back(struct blocked *blocked) {
    struct waiter_part *part;
    while ((part = waiter_call_back(blocked->waiter)) != NULL) {
        post(blocked->client->worker, part->shard, &part->call, MESSAGE_WAITER_CALLED);
    }
}

static void leave(struct blocked *blocked) {
    blocked->stands = false;
    blocked->over = true;
    blocked->client->blocked = NULL;
}

static bool take_leave(struct blocked *blocked) {
    bool mine = waiter_cancel(blocked->waiter);
    if (mine) {
        leave(blocked);
        call_back(blocked);
    }
#ifdef SHOAL_UNSAFE_WAITS_TIME /* for the test that users of the simulator notice */
    if (!mine) {
        leave(blocked);
        return true;
    }
#endif
    return mine;
}

/* The time of its wait is not its own: it is logged only if all are. */
static bool give_up(struct client *client) {
    struct blocked *blocked = client->blocked;
    struct worker *worker = client->worker;
    bool mine = take_leave(blocked);
    if (mine) {
        const struct call what = {
            .ref = blocked->ref, .argv = blocked->argv, .argc = blocked->argc};
        worker->runs_for.client = client->id;
        worker->runs_for.home = worker->id;
        call_log(worker, &what, NULL, &(struct call_outcome){0});
    }
    return mine;
}

/* If a shard has the claim, its message says when the other parts may be called back. */
static void forget(struct client *client) {
    struct blocked *blocked = client->blocked;
    if (!take_leave(blocked)) {
        leave(blocked);
    }
}

static enum acl_verdict verdict_of(const struct client *client, uint32_t *ret_at) {
    const struct blocked *blocked = client->blocked;
    return acl_check(client->user, blocked->ref, blocked->argv, blocked->argc, client->db, ret_at);
}

bool blocked_is_allowed(const struct client *client) {
    return client->blocked == NULL || verdict_of(client, NULL) == ACL_MAY;
}

/* Counted as a call, and, as in Valkey, what breaks it as if that had been refused. */
static void done(struct client *client, enum wait_end end) {
    struct reply reply = client_reply(client);
    if (end == WAIT_FORBIDDEN) {
        return; /* blocked_forbid says why */
    }
    if (end != WAIT_TIMED_OUT) {
        const char *primary = end == WAIT_DEMOTED ? slot_check_demoted(client) : NULL;
        reply_error(&reply, primary != NULL       ? primary
                            : end == WAIT_DEMOTED ? ERR_DEMOTED
                                                  : ERR_UNBLOCKED);
        call_refused(client->worker, client->last_command, &reply);
    } else {
        reply_null_array(&reply);
    }
    call_count(client->worker, client->last_command, &(struct call_outcome){0});
}

void blocked_forbid(struct client *client) {
    const struct command_ref *ref = client->blocked->ref;
    struct text why, object;
    uint32_t at = 0;
    enum acl_verdict verdict = verdict_of(client, &at);
    text_init(&why);
    text_init(&object);
    text_append_text(&why, "NOPERM ");
    acl_verdict_tell(verdict, client->user, ref, &why);
    text_append_bytes(&object, client->blocked->argv[at]);
    if (client_wait_end(client, WAIT_FORBIDDEN)) { /* what it waited with is gone */
        client_call_denied(client, verdict, ACL_LOG_TOPLEVEL, ref, text_bytes(&object), at);
        struct reply reply = client_reply(client);
        reply_error_bytes(&reply, text_bytes(&why));
        call_refused(client->worker, ref, &reply);
        client_mark_dirty(client);
    }
    text_fini(&object);
    text_fini(&why);
}

bool blocked_may_stay(const struct client *client) {
    return client->blocked != NULL && client->flags & CLIENT_READONLY &&
           !(client->blocked->ref->flags & CMD_WRITE);
}

void blocked_redirect(struct client *client) {
    struct blocked *blocked = client->blocked;
    const struct command_ref *ref = blocked->ref;
    if (!blocked->stands || blocked->keys == NULL || blocked->keys->count == 0) {
        return;
    }
    uint16_t slot = blocked->keys->list[0].key.slot;
    if (slot_check_wait(client, ref, slot) != NULL && client_wait_end(client, WAIT_FORBIDDEN)) {
        struct reply reply = client_reply(client);
        reply_error(&reply, slot_check_wait(client, ref, slot));
        call_refused(client->worker, ref, &reply);
        client_mark_dirty(client);
    }
}

static const struct wait_kind wait_keys = {
    .name = "keys", .blocked = true, .give_up = give_up, .done = done, .cancel = forget};

static void deliver(struct blocked *blocked) {
    struct client *client = blocked->client;
    struct reply reply = client_reply(client);
    outbuf_splice(reply.out, &blocked->reply);
    outbuf_drain(&client->worker->discard, client->worker->discard.bytes);
    client_command_over(client);
    if (!client_check_output(client)) {
        client_wait_over(client);
    }
}

/* A shard has served it, and its part is home. */
static void end_served(struct blocked *blocked) {
    bool wanted = blocked->stands;
    leave(blocked);
    call_back(blocked);
    if (wanted) {
        deliver(blocked);
    }
    if (blocked->waiter->away == 0) {
        blocked_free(blocked);
    }
}

void blocked_begin(struct blocked *blocked, int64_t timeout_ms) {
    struct client *client = blocked->client;
    bool first = !blocked->tries;
    blocked->tries = false;
    if (first) {
        blocked->until_ms = client_wait_until(client, timeout_ms);
    }
    client->blocked = blocked;
    if (!client_is_closing(client)) {
        blocked->stands = true;
        client_wait_on(client, &wait_keys, blocked->until_ms);
    }
    if (blocked->hurries) {
        blocked->hurries = false;
        list_push_back(&client->worker->txns.tries, &blocked->try_node);
    }
    if (blocked->served) {
        end_served(blocked);
    } else if (!blocked->stands) {
        forget(client);
    } else if (client->flags & CLIENT_ENDED) {
        client_leave_wait(client);
    } else if (UNLIKELY(client->worker->cluster != NULL)) { /* it may have changed meanwhile */
        blocked_redirect(client);
    }
}

void blocked_waits(struct blocked *blocked) {
    if (blocked->tries) {
        claim_give_back(&blocked->waiter->claim);
    }
}

void blocked_over(struct blocked *blocked) {
    if (!blocked->tries) {
        blocked_free(blocked);
        return;
    }
    blocked->tries = false;
    blocked->over = true;
    call_back(blocked);
}

/* ---- Parts that come home ---- */

void blocked_part_home(struct worker *worker, struct message *message) {
    struct waiter_part *part = (struct waiter_part *)message;
    struct blocked *blocked = blocked_of(part);
    if (waiter_returned(part) && blocked->over) {
        blocked_free(blocked);
    }
}

void blocked_served(struct worker *worker, struct message *message) {
    struct waiter_part *part = (struct waiter_part *)message;
    struct blocked *blocked = blocked_of(part);
    waiter_returned(part);
    blocked->served = true;
    if (blocked->stands || blocked->over) { /* else the transaction's parts are not all home */
        end_served(blocked);
    }
}

/* Nobody is served before it until the transaction is over. */
static void try(struct blocked *blocked) {
    struct client *client = blocked->client;
    blocked->stands = false;
    blocked->tries = true;
    client->blocked = NULL;
    const struct txn_command command = {
        .ref = blocked->ref,
        .argv = blocked->argv,
        .argc = blocked->argc,
        .db = blocked->db,
    };
    txn_try(client, blocked, &command);
}

/* What was begun before a pause and is shut out by the key must not wait for its end. */
static void put_off(struct worker *worker, struct blocked *blocked) {
    list_push_back(&worker->txns.tries, &blocked->try_node);
    if (!blocked->put_off) {
        blocked->put_off = true;
        for (unsigned i = 0; i < blocked->waiter->parts_count; i++) {
            struct attempt *attempt = &blocked->attempts[i];
            post(worker, attempt->part->shard, &attempt->put_off, MESSAGE_WAITER_PUT_OFF);
        }
    }
}

/* Its slot is about to leave: what would be taken there stays, and so does the client. */
static bool is_held(const struct worker *worker, const struct blocked *blocked) {
    return UNLIKELY(worker->pause.slots) && blocked->keys != NULL && blocked->keys->count > 0 &&
           map_holds(worker->cluster->map, blocked->keys->list[0].key.slot);
}

static void try_now(struct worker *worker, struct blocked *blocked) {
    if (blocked->over) {
        call_back(blocked);
    } else if (pause_forbids(&worker->pause, rt_mono_ms(worker->rt), blocked->ref->flags) ||
               is_held(worker, blocked)) {
        put_off(worker, blocked);
    } else {
        try(blocked);
    }
}

void blocked_tries(struct worker *worker, struct message *message) {
    struct blocked *blocked = (struct blocked *)((char *)message - offsetof(struct blocked, try));
    blocked->put_off = false;
    if (blocked->stands || blocked->over) {
        try_now(worker, blocked);
    } else { /* the transaction's parts are not all home */
        blocked->hurries = true;
    }
}

void blocked_try_again(struct worker *worker) {
    struct list waiting;
    list_init(&waiting);
    list_splice_back(&waiting, &worker->txns.tries);
    struct list_node *node;
    while ((node = list_pop_front(&waiting)) != NULL) {
        try_now(worker, LIST_ENTRY(node, struct blocked, try_node));
    }
}

struct lock_closing *blocked_closings(struct blocked *blocked, unsigned shard) {
    struct lock_closing *first = NULL;
    for (unsigned i = 0; blocked->tries && i < blocked->waiter->parts_count; i++) {
        const struct waiter_part *part = &blocked->waiter->parts[i];
        first = part->shard == shard ? closing_of(blocked, part->keys) : first;
    }
    return first;
}

/* ---- A shard ---- */

static void send_home(struct worker *worker, struct waiter_part *part, enum message_kind kind) {
    post(worker, blocked_of(part)->home, &part->message, kind);
}

static void open_keys(struct worker *worker, const struct waiter_part *part) {
    for (uint32_t i = 0; i < part->keys_count; i++) {
        locks_open(&worker->shard.locks, closing_of(blocked_of(part), &part->keys[i]));
    }
}

static void let_in(struct worker *worker, const struct waiter_part *part) {
    for (uint32_t i = 0; i < part->keys_count; i++) {
        locks_let_in(&worker->shard.locks, closing_of(blocked_of(part), &part->keys[i]));
    }
}

void blocked_put_off(struct worker *worker, struct message *message) {
    struct attempt *attempt =
        (struct attempt *)((char *)message - offsetof(struct attempt, put_off));
    attempt->is_put_off = true;
    open_keys(worker, attempt->part);
    let_in(worker, attempt->part);
}

void blocked_join(struct worker *worker, struct blocked *blocked) {
    for (unsigned i = 0; i < blocked->waiter->parts_count; i++) {
        struct waiter_part *part = &blocked->waiter->parts[i];
        if (part->shard == worker->id) {
            blocked->attempts[i].is_put_off = false;
            waiters_join(&worker->shard.waiters, part);
            worker->keys_ready = true;
            open_keys(worker, part);
            let_in(worker, part);
        }
    }
}

void blocked_called(struct worker *worker, struct message *message) {
    struct waiter_part *part = WAITER_CALLED(message);
    bool tried = part->tries;
    waiters_leave(&worker->shard.waiters, part);
    worker->keys_ready |= !list_empty(&worker->shard.waiters.ready);
    if (tried) { /* who stands in line goes before those who were shut out */
        open_keys(worker, part);
        blocked_serve(worker, NULL, rt_wall_ms(worker->rt));
        let_in(worker, part);
    }
    send_home(worker, part, MESSAGE_WAITER_HOME);
}

static void serve_before(void *arg) {
    struct worker *worker = arg;
    if (worker->keys_ready) {
        blocked_serve(worker, NULL, rt_wall_ms(worker->rt));
    }
}

void blocked_open_unshown(struct worker *worker) {
    struct shard *shard = &worker->shard;
    while (UNLIKELY(!list_empty(&shard->unshown.keys)) &&
           unshown_open(&shard->unshown, &shard->locks, shard->keyspace, serve_before, worker)) {
    }
}

struct serving {
    struct worker *worker;
    const struct lock_request *holds;
    int64_t now_ms;
};

/* Or it is about to be: a save has its value to read first. */
static bool is_locked(const struct serving *serving, const struct keyset_key *key) {
    struct worker *worker = serving->worker;
    const struct locks *locks = &worker->shard.locks;
    if (LIKELY(!worker_may_block(worker))) {
        return false;
    }
    if (keyset_waits_for_walk(&worker->shard, key, 1, worker->id)) {
        return true;
    }
    if (locks->requests == 0) {
        return false;
    }
    bool own = serving->holds != NULL && locks_own(serving->holds, key->key.hash);
    return own ? locks_is_closed(locks, key->key.hash)
               : locks_block(locks, key->key.hash, key->exclusive);
}

/* It touches keys that are another shard's, or locked. */
static bool takes_more(const struct serving *serving, const struct blocked *blocked) {
    const struct worker *worker = serving->worker;
    bool more = false;
    for (uint32_t i = 0; i < blocked->keys->count && !more; i++) {
        const struct keyset_key *key = &blocked->keys->list[i];
        more = !(key->flags & KEY_ACCESS) &&
               (node_owner(worker->node, key->key.slot) != worker->id || is_locked(serving, key));
    }
    return more;
}

/* What is served has come by a transaction over shards, which gives its locks back. */
static const struct txn *filled_by(const struct serving *serving) {
    const struct lock_request *holds = serving->holds;
    const struct txn *txn = holds != NULL && holds->many ? txn_part_of_lock(holds)->txn : NULL;
    return txn != NULL && txn->blocked == NULL ? txn : NULL; /* one that waited fills one key */
}

/* It may have filled others of its keys, on other shards, too. In Valkey the command runs as a
 * whole once that is over. */
static bool came_as_one(const struct serving *serving, const struct blocked *blocked) {
    const struct txn *txn = filled_by(serving);
    bool came = false;
    for (uint32_t i = 0; i < blocked->keys->count && !came; i++) {
        const struct keyset_key *key = &blocked->keys->list[i];
        if (key->worker != serving->worker->id) {
            came = txn == NULL || (txn->parts[key->worker] != NULL &&
                                   locks_own(&txn->parts[key->worker]->lock, key->key.hash));
        }
    }
    return came;
}

static const struct keyset_key *waited_key(const struct waiter_key *key) {
    const struct blocked *blocked = blocked_of(key->part);
    return &blocked->keys->list[blocked->waited[key->index]];
}

/* Looks at this key only. */
static struct caller caller_of(const struct serving *serving, const struct waiter_key *key) {
    const struct blocked *blocked = blocked_of(key->part);
    struct worker *worker = serving->worker;
    return (struct caller){
        .worker = worker,
        .shard = &worker->shard,
        .tick = rt_ticks(worker->rt),
        .db = blocked->db,
        .manner = blocked->manner,
        .only = waited_key(key)->index,
        .inside = true,
    };
}

static struct call call_of(const struct serving *serving, const struct waiter_key *key) {
    const struct blocked *blocked = blocked_of(key->part);
    return (struct call){
        .ref = blocked->ref,
        .argv = blocked->argv,
        .argc = blocked->argc,
        .key = &key->key,
        .keys = blocked->keys,
        .now_ms = serving->now_ms,
    };
}

static bool is_ready(const struct serving *serving, const struct waiter_key *key) {
    struct caller caller = caller_of(serving, key);
    struct call what = call_of(serving, key);
    return !is_locked(serving, waited_key(key)) && call_ready(&caller, &what) == WAITER_SERVES;
}

/* Others of its keys here have something, too, and it takes from each. One whose keys are all here
 * looks at all of them anyway. */
static bool takes_from_others(const struct serving *serving, const struct waiter_key *key) {
    const struct waiter_part *part = key->part;
    enum command_spread spread = blocked_of(part)->ref->row->spread;
    bool each = spread == SPREAD_AT || spread == SPREAD_EACH;
    bool takes = false;
    for (uint32_t i = 0; i < part->keys_count && each && part->waiter->parts_count > 1; i++) {
        takes |= &part->keys[i] != key && is_ready(serving, &part->keys[i]);
    }
    return takes;
}

static bool sees_all(const struct serving *serving, const struct waiter_part *part) {
    bool all = part->waiter->parts_count == 1;
    for (uint32_t i = 0; i < part->keys_count && all; i++) {
        all = !is_locked(serving, waited_key(&part->keys[i]));
    }
    return all;
}

static enum waiter_answer answer(void *arg, const struct waiter_key *key, bool as_one) {
    const struct serving *serving = arg;
    if (is_locked(serving, waited_key(key))) {
        return WAITER_LATER;
    }
    struct caller caller = caller_of(serving, key);
    struct call what = call_of(serving, key);
    const struct blocked *blocked = blocked_of(key->part);
    caller.sees_all = key->part->keys_count > 1 && blocked->ref->row->spread == SPREAD_AT &&
                      sees_all(serving, key->part);
    enum waiter_answer answer = call_ready(&caller, &what);
    bool more = answer == WAITER_SERVES &&
                (takes_more(serving, blocked) || takes_from_others(serving, key) ||
                 (as_one && came_as_one(serving, blocked)));
    return more ? WAITER_TRIES : answer;
}

/* It is served as if it came now: all its keys are looked at, from left to right. Of those on other
 * shards nothing is known here, and what is locked is not for it: then the first here that has
 * something. */
static uint32_t looks_only_at(const struct serving *serving, const struct waiter_key *key) {
    const struct waiter_part *part = key->part;
    bool all = sees_all(serving, part);
    for (uint32_t i = 0; i < part->keys_count && !all; i++) {
        if (is_ready(serving, &part->keys[i])) {
            return waited_key(&part->keys[i])->index;
        }
    }
    return 0;
}

static void serve(void *arg, struct waiter_key *key) {
    const struct serving *serving = arg;
    struct worker *worker = serving->worker;
    struct blocked *blocked = blocked_of(key->part);
    struct caller caller = caller_of(serving, key);
    struct call what = call_of(serving, key);
    caller.only = looks_only_at(serving, key);
    struct reply reply;
    reply_init(&reply, &blocked->reply, blocked->resp);
    /* That the key has changed it is told before its reply. */
    news_send_if_any(worker, &worker->trackers);
    uint64_t runs_for = worker->runs_for.client;
    unsigned home = worker->runs_for.home;
    worker->runs_for.client = blocked->client_id;
    worker->runs_for.home = blocked->home;
    call(&caller, &what, &reply);
    call_settle(&caller);
    worker->runs_for.client = runs_for;
    worker->runs_for.home = home;
    send_home(worker, key->part, MESSAGE_WAITER_SERVED);
}

static void begin_to_try(void *arg, struct waiter_key *key) {
    const struct serving *serving = arg;
    struct blocked *blocked = blocked_of(key->part);
    post(serving->worker, blocked->home, &blocked->try, MESSAGE_WAITER_TRIES);
}

/* Till it is over nobody else comes to the key, but others who only read it. */
static bool hold(void *arg, struct waiter_key *key) {
    const struct serving *serving = arg;
    struct locks *locks = &serving->worker->shard.locks;
    const struct blocked *blocked = blocked_of(key->part);
    bool closed = locks_is_closed(locks, key->key.hash); /* for it, or one of the same hash */
#ifdef SHOAL_UNSAFE_WAITS_TURN /* for the test that users of the simulator notice */
    closed = true;
#endif
    if (!closed && !attempt_of(blocked, key->part)->is_put_off) {
        locks_close(locks, closing_of(blocked, key), key->key.hash);
    }
    return waited_key(key)->exclusive;
}

void blocked_serve(struct worker *worker, const struct lock_request *holds, int64_t now_ms) {
    struct serving serving = {worker, holds, now_ms};
    const struct waiters_server server = {.arg = &serving,
                                          .as_one = filled_by(&serving) != NULL,
                                          .answer = answer,
                                          .serve = serve,
                                          .try = begin_to_try,
                                          .hold = hold};
    waiters_serve(&worker->shard.waiters, &server);
    worker->keys_ready = !list_empty(&worker->shard.waiters.ready);
}
