/* SPDX-License-Identifier: BSD-3-Clause */
/* user_queues: elements that users put into lists, sorted sets and streams, and that others take,
 * or wait for. An element is a number, so what becomes of each is known:
 *
 *     queue 0..2  lists, pushed at the right and popped at the left: first in, first out
 *           3..5  lists, pushed and popped at both ends, and moved from one to the next
 *           6..8  sorted sets, each member by its number; the last is popped at both ends
 *     stream      a group hands out its entries; and users read it from its beginning, or from now
 *
 * What must be true, and can be told from outside:
 *
 *  1. Nobody gets what nobody put there, or what he did not ask for, and no element is got twice.
 *     What a group hands out is handed out once, but for XAUTOCLAIM, which takes what was not
 *     acknowledged.
 *  2. What was put there is got by somebody, or still there at the end: as many may be missing as
 *     those may have got who went before they were told. Of a stream none: what nobody was told of
 *     is pending.
 *  3. A queue gives the first in it; and nothing (a wait that ends with time) only when it has
 *     nothing.
 *  4. Who stands in a line (queues_look sees it) before another asks is served before him.
 *  5. A wait ends with nothing after its time, and not before.
 *
 * Times are those of users: `began` before `added` or `at` before `answered` enclose the moment at
 * which it happens. So what is said to be wrong is wrong, though not all that is wrong is seen.
 */
#include "test/sim/user_private.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define PLAIN       3 /* queues from here on are no queues of the first kind */
#define SORTED      6
#define BOTH_ENDS   8
#define GOT         16
#define TAKES_MAX   8                 /* more than anybody asks for */
#define SLACK_NS    (2 * 1000 * 1000) /* clocks of a millisecond */
#define ALL_ENTRIES 100000

static uint64_t now_of(const struct users *users) {
    return sim_now_ns(users->sim);
}

static struct element *element_put(struct users *users, uint64_t number, unsigned queue) {
    if (number >= users->elements_size) {
        uint64_t size = 2 * number + 64;
        users->elements = realloc(users->elements, size * sizeof *users->elements);
        check(users->elements != NULL);
        memset(users->elements + users->elements_size, 0,
               (size - users->elements_size) * sizeof *users->elements);
        users->elements_size = size;
    }
    struct element *element = &users->elements[number];
    *element = (struct element){.began_ns = now_of(users), .queue = (uint8_t)queue};
    return element;
}

static bool has_moves(unsigned queue) {
    return queue >= PLAIN && queue < SORTED;
}

/* One that somebody has put there, into a queue of that kind. */
static struct element *element_of(const struct user *user, const struct request *request,
                                  const struct wire_value *value, uint64_t number, unsigned queue) {
    const struct users *users = user->users;
    bool known = number > 0 && number < users->elements_size &&
                 users->elements[number].began_ns != 0 && !value_is_refused(users, number);
    user_wants(user, request, value, known, "an element that nobody has put there");
    struct element *element = &users->elements[number];
    user_wants(user, request, value,
               element->queue == queue || (has_moves(queue) && has_moves(element->queue)),
               "an element of another queue");
    return element;
}

static void added(struct users *users, uint64_t number) {
    users->elements[number].added_ns = now_of(users);
}

/* ---- Who stands where ---- */

/* The first of its requests that may wait and is not answered yet. */
static struct request *first_wait(struct user *user) {
    for (unsigned i = 0; i < user->pending_count; i++) {
        struct request *request = pending_at(user, i);
        if (request->timeout_ns != 0) {
            return request;
        }
    }
    return NULL;
}

/* If the answer to its first wait is on its way and it stands there with the next one, that is no
 * harm: the first is over, whoever comes now. */
void queues_look(struct users *users) {
    for (unsigned i = 0; users->options.queues && i < users->options.count; i++) {
        struct user *user = &users->items[i];
        if (user->waits == 0 || user->client_id == 0 || user->line == NULL) {
            continue;
        }
        struct request *request = first_wait(user);
        if (request->stood_ns == 0 &&
            world_client_stands(users->world, users->options.server, user->client_id)) {
            request->stood_ns = now_of(users);
        }
    }
}

/* It has got something of `queue`: those who stood there before it asked have something by now, or
 * have gone. Not if it waits for several: when one of them has got something, it looks at all, as
 * Valkey does, and takes what others stand for in another. Nor once somebody who was refused too
 * often, and has fences now, has come to a key that is closed for one of them: he cannot wait. */
static void overtakes(struct user *user, const struct request *request, unsigned queue) {
    struct users *users = user->users;
    bool alone =
        request->queues == 1u << queue && !world_has_passed(users->world, users->options.server);
    for (unsigned i = 0; i < users->options.count && alone; i++) {
        struct user *other = &users->items[i];
        struct request *wait = other->waits > 0 && other != user ? first_wait(other) : NULL;
        if (wait == NULL || !(wait->queues & 1u << queue) || wait->stood_ns == 0 ||
            wait->stood_ns >= request->at_ns) {
            continue;
        }
        users->counts.behind++;
        if (wait->overtaken_ns == 0) {
            wait->overtaken_ns = now_of(users);
        }
    }
}

static void check_turn(const struct user *user, const struct request *request,
                       const struct wire_value *value, const struct element *element) {
    user_wants(user, request, value,
               request->overtaken_ns == 0 || element->began_ns <= request->overtaken_ns,
               "who came later was served first");
}

/* ---- What comes first ---- */

static void remember(struct users *users, unsigned queue, const struct request *request,
                     uint64_t number) {
    struct queue *seen = &users->queues[queue];
    seen->taken[seen->taken_next++ % TAKEN_KEPT] =
        (struct taken){number, request->at_ns, now_of(users)};
}

/* It was there when another was taken, or somebody was told that there is nothing, before this was
 * asked. */
static void check_first(const struct user *user, const struct request *request,
                        const struct wire_value *value, unsigned queue, uint64_t number) {
    const struct users *users = user->users;
    const struct element *element = &users->elements[number];
    bool ordered = queue < PLAIN || (queue >= SORTED && queue < BOTH_ENDS);
    if ((!ordered && queue < SORTED) || element->added_ns == 0 || users->flushed) {
        return;
    }
    for (unsigned i = 0; i < TAKEN_KEPT; i++) {
        const struct taken *taken = &users->queues[queue].taken[i];
        if (taken->answered_ns == 0 || taken->answered_ns >= request->at_ns) {
            continue;
        }
        if (taken->element == 0) {
            user_wants(user, request, value, element->added_ns >= taken->at_ns,
                       "it was there when another was told that there is nothing");
        } else if (ordered) {
            bool later = queue < PLAIN
                             ? element->added_ns < users->elements[taken->element].began_ns
                             : element->added_ns < taken->at_ns && number < taken->element;
            user_wants(user, request, value, !later, "another was taken that stood behind it");
        }
    }
}

/* Of one reply. */
struct takes {
    uint64_t numbers[TAKES_MAX];
    unsigned count;
};

static void take(struct user *user, const struct request *request, const struct wire_value *value,
                 unsigned queue, uint64_t number, struct takes *takes) {
    struct element *element = element_of(user, request, value, number, queue);
    user_wants(user, request, value, element->taken_ns == 0, "an element that was taken already");
    user_wants(user, request, value, takes->count < request->other, "more than it has asked for");
    takes->numbers[takes->count++] = number;
    element->taken_ns = now_of(user->users);
    check_first(user, request, value, queue, number);
    check_turn(user, request, value, element);
}

/* ---- Queues: what is sent ---- */

static void write_numbered(struct text *to, const char *format, uint64_t number) {
    char word[48];
    snprintf(word, sizeof word, format, (unsigned long long)number);
    wire_bulk(to, bytes_of_text(word));
}

static void write_seconds(struct text *to, uint64_t timeout_ns) {
    char word[48];
    snprintf(word, sizeof word, "%.3f", (double)timeout_ns / 1e9);
    wire_bulk(to, bytes_of_text(word));
}

static void wait_for(struct user *user, struct request *request) {
    request->timeout_ns = (1 + rng_below(&user->users->rng, 120)) * 1000000;
    user->waits++;
}

static void send_push(struct user *user, unsigned queue, uint64_t first, unsigned count) {
    struct users *users = user->users;
    bool sorted = queue >= SORTED;
    wire_array(&user->out, 2 + (sorted ? 2 : 1) * count);
    wire_bulk(&user->out, sorted                                            ? BYTES("ZADD")
                          : queue < PLAIN || rng_below(&users->rng, 2) == 0 ? BYTES("RPUSH")
                                                                            : BYTES("LPUSH"));
    write_numbered(&user->out, "queue:%llu", queue);
    for (unsigned i = 0; i < count; i++) {
        element_put(users, first + i, queue);
        for (unsigned j = sorted ? 0 : 1; j < 2; j++) {
            write_numbered(&user->out, "%llu", first + i);
        }
    }
}

/* Some queues of the kind of `queue`, in any order, that one first. */
static unsigned draw_queues(struct user *user, struct request *request, unsigned ret[3]) {
    struct rng *rng = &user->users->rng;
    unsigned kind = request->key / 3 * 3;
    unsigned n = rng_below(rng, 2) == 0 ? 1 : 1 + (unsigned)rng_below(rng, 3);
    for (unsigned i = 0; i < n; i++) {
        ret[i] = kind + (request->key + i) % 3;
        request->queues |= 1u << ret[i];
    }
    return n;
}

/* BLPOP and BRPOP, BZPOPMIN and BZPOPMAX; or BLMPOP and BZMPOP of several at once. */
static void send_wait(struct user *user, struct request *request) {
    struct rng *rng = &user->users->rng;
    unsigned queues[3], n = draw_queues(user, request, queues);
    bool sorted = request->key >= SORTED, many = rng_below(rng, 3) == 0;
    bool ends = sorted ? (request->queues & 1u << BOTH_ENDS) && n == 1 : request->key >= PLAIN;
    bool other = ends && rng_below(rng, 2) == 0;
    request->other = many ? 1 + (unsigned)rng_below(rng, 3) : 1;
    wait_for(user, request);
    wire_array(&user->out, many ? 6 + n : 2 + n);
    if (many) {
        wire_bulk(&user->out, sorted ? BYTES("BZMPOP") : BYTES("BLMPOP"));
        write_seconds(&user->out, request->timeout_ns);
        write_numbered(&user->out, "%llu", n);
    } else {
        wire_bulk(&user->out, sorted  ? other ? BYTES("BZPOPMAX") : BYTES("BZPOPMIN")
                               : other ? BYTES("BRPOP")
                                      : BYTES("BLPOP"));
    }
    for (unsigned i = 0; i < n; i++) {
        write_numbered(&user->out, "queue:%llu", queues[i]);
    }
    if (many) {
        wire_bulk(&user->out, sorted  ? other ? BYTES("MAX") : BYTES("MIN")
                               : other ? BYTES("RIGHT")
                                      : BYTES("LEFT"));
        wire_bulk(&user->out, BYTES("COUNT"));
        write_numbered(&user->out, "%llu", request->other);
    } else {
        write_seconds(&user->out, request->timeout_ns);
    }
}

static void send_take(struct user *user, struct request *request) {
    struct rng *rng = &user->users->rng;
    request->other = 1 + (unsigned)rng_below(rng, 4);
    request->queues = 1u << request->key;
    wire_requestf(&user->out, "%s queue:%u %u", request->key >= SORTED ? "ZPOPMIN" : "LPOP",
                  request->key, request->other);
}

static void send_move_element(struct user *user, struct request *request) {
    struct rng *rng = &user->users->rng;
    static const char *const sides[] = {"LEFT LEFT", "LEFT RIGHT", "RIGHT LEFT", "RIGHT RIGHT"};
    unsigned from = PLAIN + request->key % 3, to = PLAIN + (unsigned)rng_below(rng, 3);
    request->key = from;
    request->queues = 1u << from;
    if (rng_below(rng, 3) == 0) {
        wire_requestf(&user->out, "LMOVE queue:%u queue:%u %s", from, to, sides[rng_below(rng, 4)]);
        return;
    }
    wait_for(user, request);
    wire_requestf(&user->out, "BLMOVE queue:%u queue:%u %s %.3f", from, to,
                  sides[rng_below(rng, 4)], (double)request->timeout_ns / 1e9);
}

/* One that is pushed to each of two. */
static void send_push_multi(struct user *user) {
    struct users *users = user->users;
    uint64_t first = users->values + 1;
    users->values += 2;
    wire_requestf(&user->out, "MULTI");
    for (unsigned i = 0; i < 2; i++) {
        user_issue(user, KIND_QUEUED, 0);
        send_push(user, (unsigned)rng_below(&users->rng, QUEUES), first + i, 1);
    }
    user_issue(user, KIND_EXEC_QUEUE, 0);
    pending_at(user, user->pending_count - 1)->value = first;
}

void queue_send(struct user *user, struct request *request) {
    struct users *users = user->users;
    if (request->kind != KIND_QUEUE_READ) {
        request->key = (unsigned)rng_below(&users->rng, 1 + rng_below(&users->rng, QUEUES));
    }
    switch (request->kind) {
    case KIND_ID:
        wire_requestf(&user->out, "CLIENT ID");
        break;
    case KIND_QUEUE_PUSH:
        request->value = users->values + 1;
        request->other = 1 + (unsigned)rng_below(&users->rng, 3);
        users->values += request->other;
        send_push(user, request->key, request->value, request->other);
        break;
    case KIND_QUEUE_TAKE:
        send_take(user, request);
        break;
    case KIND_QUEUE_WAIT:
        send_wait(user, request);
        break;
    case KIND_QUEUE_MOVE:
        send_move_element(user, request);
        break;
    case KIND_QUEUE_MULTI:
        send_push_multi(user);
        break;
    default:
        wire_requestf(&user->out, "%s queue:%u 0 -1", request->key >= SORTED ? "ZRANGE" : "LRANGE",
                      request->key);
    }
}

/* ---- Queues: what comes back ---- */

static void take_all(struct user *user, const struct request *request,
                     const struct wire_value *value, unsigned queue, struct takes *takes);

/* Members and scores, which are the same number, side by side or in pairs. */
static void take_members(struct user *user, const struct request *request,
                         const struct wire_value *value, unsigned queue, struct takes *takes) {
    for (size_t i = 0; i < value->count; i++) {
        const struct wire_value *item = &value->items[i];
        if (item->type == '*') {
            take_members(user, request, item, queue, takes);
            continue;
        }
        uint64_t number = value_number(item->text);
        bool scored = i + 1 < value->count && value_number(value->items[++i].text) == number;
        user_wants(user, request, value, scored, "another score than it was given");
        take(user, request, value, queue, number, takes);
    }
}

static void take_all(struct user *user, const struct request *request,
                     const struct wire_value *value, unsigned queue, struct takes *takes) {
    if (value->type == '$') {
        take(user, request, value, queue, value_number(value->text), takes);
    } else if (queue >= SORTED) {
        take_members(user, request, value, queue, takes);
    } else {
        for (size_t i = 0; i < value->count; i++) {
            take_all(user, request, &value->items[i], queue, takes);
        }
    }
}

/* In one reply, too, each is the first of what is left. */
static void remember_all(struct user *user, const struct request *request,
                         const struct wire_value *value, unsigned queue,
                         const struct takes *takes) {
    const struct element *elements = user->users->elements;
    for (unsigned i = 0; i < takes->count; i++) {
        uint64_t number = takes->numbers[i], before = i > 0 ? takes->numbers[i - 1] : 0;
        if (i > 0 && queue < PLAIN) {
            user_wants(user, request, value,
                       elements[number].added_ns == 0 ||
                           elements[number].added_ns >= elements[before].began_ns,
                       "not in their order");
        } else if (i > 0 && queue >= SORTED && queue < BOTH_ENDS) {
            user_wants(user, request, value, number > before, "not in their order");
        }
        remember(user->users, queue, request, number);
    }
}

static bool was_unblocked(const struct request *request, const struct wire_value *value) {
    return request->timeout_ns != 0 && value->type == '-' &&
           bytes_equal(value->text, BYTES(USERS_UNBLOCKED));
}

/* A wait that has ended with nothing, by time if it was not CLIENT UNBLOCK. */
static void got_nothing(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    struct users *users = user->users;
    user_wants(user, request, value, value->type == '_', "no element");
    if (request->timeout_ns == 0 || users->unblocks_early) {
        return;
    }
    users->counts.waited_long++;
    uint64_t until_ns = request->at_ns + request->timeout_ns;
    user_wants(user, request, value, now_of(users) + SLACK_NS >= until_ns,
               "nothing, before its time was over");
    user_wants(user, request, value,
               request->overtaken_ns == 0 || until_ns <= request->overtaken_ns + SLACK_NS,
               "nothing, and who came later was served");
}

static unsigned queue_named(const struct user *user, const struct request *request,
                            const struct wire_value *value, const struct wire_value *name) {
    struct bytes prefix = BYTES("queue:");
    bool named = name->type == '$' && name->text.len == prefix.len + 1 &&
                 memcmp(name->text.ptr, prefix.ptr, prefix.len) == 0;
    unsigned queue = named ? (unsigned)(name->text.ptr[prefix.len] - '0') : QUEUES;
    user_wants(user, request, value, queue < QUEUES && (request->queues & 1u << queue),
               "of a key that it did not name");
    return queue;
}

static void reply_pop(struct user *user, const struct request *request,
                      const struct wire_value *value) {
    if (was_unblocked(request, value)) {
        return;
    }
    if (value->type == '_' || (value->type == '*' && value->count == 0)) {
        if (request->kind == KIND_QUEUE_WAIT) {
            got_nothing(user, request, value);
        }
        for (unsigned queue = 0; queue < QUEUES; queue++) {
            if (request->queues & 1u << queue && !user->users->unblocks_early) {
                remember(user->users, queue, request, 0);
            }
        }
        return;
    }
    user_wants(user, request, value, value->type == '*', "no elements");
    struct takes takes = {.count = 0};
    unsigned queue = request->key;
    if (request->kind == KIND_QUEUE_WAIT) {
        queue = queue_named(user, request, value, &value->items[0]);
        struct wire_value rest = {
            .type = '*', .items = value->items + 1, .count = value->count - 1};
        take_all(user, request, &rest, queue, &takes);
        user->users->counts.waited += request->stood_ns != 0;
    } else {
        take_all(user, request, value, queue, &takes);
    }
    overtakes(user, request, queue);
    user_wants(user, request, value, takes.count >= 1, "no elements");
    remember_all(user, request, value, queue, &takes);
}

/* It stays among the lists, but may not have been taken from them before. */
static void reply_move_element(struct user *user, const struct request *request,
                               const struct wire_value *value) {
    if (was_unblocked(request, value)) {
        return;
    }
    if (value->type == '_') {
        got_nothing(user, request, value);
        return;
    }
    user_wants(user, request, value, value->type == '$', "no element");
    struct element *element =
        element_of(user, request, value, value_number(value->text), request->key);
    user_wants(user, request, value, element->taken_ns == 0 || element->taken_ns > request->at_ns,
               "moved what was taken");
    check_turn(user, request, value, element);
    overtakes(user, request, request->key);
    user->users->counts.waited += request->stood_ns != 0;
}

static void read_left(struct user *user, const struct request *request,
                      const struct wire_value *value) {
    user_wants(user, request, value, value->type == '*', "no elements");
    for (size_t i = 0; i < value->count; i++) {
        uint64_t number = value_number(value->items[i].text);
        struct element *element = element_of(user, request, value, number, request->key);
        user_wants(user, request, value, element->taken_ns == 0 && !element->left,
                   "an element that was taken is still there, or twice");
        element->left = true;
    }
}

void queue_reply(struct user *user, const struct request *request, const struct wire_value *value) {
    struct users *users = user->users;
    switch (request->kind) {
    case KIND_ID:
        user_wants(user, request, value, value->type == ':', "no number");
        user->client_id = (uint64_t)value->integer;
        break;
    case KIND_QUEUE_PUSH:
        user_wants(user, request, value, value->type == ':', "not pushed");
        for (unsigned i = 0; i < request->other; i++) {
            added(users, request->value + i);
        }
        break;
    case KIND_EXEC_QUEUE:
        user_wants(user, request, value,
                   value->type == '*' && value->count == 2 && value->items[0].type == ':' &&
                       value->items[1].type == ':',
                   "not pushed");
        added(users, request->value);
        added(users, request->value + 1);
        break;
    case KIND_QUEUE_MOVE:
        reply_move_element(user, request, value);
        break;
    case KIND_QUEUE_READ:
        read_left(user, request, value);
        break;
    default:
        reply_pop(user, request, value);
    }
}

void queue_lost(struct user *user, const struct request *request) {
    if (request->kind == KIND_QUEUE_WAIT || request->kind == KIND_QUEUE_TAKE) {
        user->users->takes_lost += request->other;
    }
}

/* ---- Streams: what is sent ---- */

static unsigned stream_of(const struct request *request) {
    return request->key % STREAMS;
}

static void send_group_read(struct user *user, struct request *request) {
    struct users *users = user->users;
    struct rng *rng = &users->rng;
    unsigned stream = stream_of(request), both = (unsigned)rng_below(rng, 3) == 0;
    char block[32] = "";
    request->other = 1 + (unsigned)rng_below(rng, 4);
    if (user->sweeping) {
        request->other = ALL_ENTRIES;
        both = 0;
    } else if (rng_below(rng, 3) > 0) {
        wait_for(user, request);
        snprintf(block, sizeof block, " BLOCK %u", (unsigned)(request->timeout_ns / 1000000));
    }
    request->queues = (both ? (1u << STREAMS) - 1 : 1u << stream) << QUEUES;
    request->floor = users->streams[0].delivered;
    request->before = users->streams[1].delivered;
    request->value = users->streams[stream].grouped_ns != 0 &&
                     (!both || users->streams[(stream + 1) % STREAMS].grouped_ns != 0);
    if (both) {
        wire_requestf(&user->out,
                      "XREADGROUP GROUP g c%u COUNT %u%s STREAMS stream:%u stream:%u > >",
                      user->index, request->other, block, stream, (stream + 1) % STREAMS);
    } else {
        wire_requestf(&user->out, "XREADGROUP GROUP g c%u COUNT %u%s STREAMS stream:%u >",
                      user->index, request->other, block, stream);
    }
}

/* From where it has read to, or from now on (`value`). */
static void send_follow(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned stream = stream_of(request);
    const struct stream_seen *seen = &users->streams[stream];
    char from[48] = "$", block[32] = "";
    request->value = rng_below(&users->rng, 3) == 0;
    request->floor = user->followed[stream];
    request->before = seen->known;
    if (request->value == 0) {
        uint64_t id = request->floor > 0 ? users->elements[seen->order[request->floor - 1]].id : 0;
        snprintf(from, sizeof from, "%llu-%llu", (unsigned long long)(id >> 20),
                 (unsigned long long)(id & 0xfffff));
    }
    if (rng_below(&users->rng, 3) > 0) {
        wait_for(user, request);
        snprintf(block, sizeof block, " BLOCK %u", (unsigned)(request->timeout_ns / 1000000));
    }
    wire_requestf(&user->out, "XREAD COUNT 8%s STREAMS stream:%u %s", block, stream, from);
}

void stream_send(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned stream = stream_of(request);
    request->key = stream;
    switch (request->kind) {
    case KIND_STREAM_ADD:
        request->value = ++users->values;
        element_put(users, request->value, QUEUES + stream);
        wire_requestf(&user->out, "XADD stream:%u * v %llu", stream,
                      (unsigned long long)request->value);
        break;
    case KIND_STREAM_GROUP:
        wire_requestf(&user->out, "XGROUP CREATE stream:%u g 0 MKSTREAM", stream);
        break;
    case KIND_STREAM_TAKE:
        send_group_read(user, request);
        break;
    case KIND_STREAM_ACK: {
        uint64_t number = user->got[rng_below(&users->rng, GOT)];
        const struct element *element = number != 0 ? &users->elements[number] : NULL;
        uint64_t id = element != NULL ? element->id : 1 << 20;
        request->value = number;
        stream = element != NULL ? element->queue - (unsigned)QUEUES : stream;
        request->key = stream;
        if (element != NULL) {
            users->elements[number].ack_asked = true;
        }
        wire_requestf(&user->out, "XACK stream:%u g %llu-%llu", stream,
                      (unsigned long long)(id >> 20), (unsigned long long)(id & 0xfffff));
        break;
    }
    case KIND_STREAM_CLAIM:
        wire_requestf(&user->out, "XAUTOCLAIM stream:%u g c%u 0 0 COUNT 4", stream, user->index);
        break;
    case KIND_STREAM_FOLLOW:
        send_follow(user, request);
        break;
    case KIND_STREAM_READ:
        request->floor = users->streams[stream].added;
        wire_requestf(&user->out, "XRANGE stream:%u - +", stream);
        break;
    default:
        wire_requestf(&user->out, "XPENDING stream:%u g - + %u", stream, ALL_ENTRIES);
    }
}

/* ---- Streams: what comes back ---- */

static uint64_t id_of(struct bytes text) {
    const char *dash = text.len > 0 ? memchr(text.ptr, '-', text.len) : NULL;
    if (dash == NULL) {
        return 0;
    }
    size_t skip = (size_t)(dash + 1 - text.ptr);
    return value_number(text) << 20 | value_number(bytes_make(dash + 1, text.len - skip));
}

/* [id, [v, number]]; it has the id that others have seen, or was told of. */
static uint64_t entry_of(const struct user *user, const struct request *request,
                         const struct wire_value *value, const struct wire_value *entry,
                         unsigned stream) {
    bool whole = entry->type == '*' && entry->count == 2 && entry->items[1].type == '*' &&
                 entry->items[1].count == 2;
    user_wants(user, request, value, whole, "no entry");
    uint64_t number = value_number(entry->items[1].items[1].text);
    struct element *element = element_of(user, request, value, number, QUEUES + stream);
    uint64_t id = id_of(entry->items[0].text);
    user_wants(user, request, value, id != 0 && (element->id == 0 || element->id == id),
               "an entry with another id");
    element->id = id;
    return number;
}

/* The `i`th entry of a stream is the same for all. */
static void check_order(struct user *user, const struct request *request,
                        const struct wire_value *value, unsigned stream, size_t i,
                        uint64_t number) {
    struct stream_seen *seen = &user->users->streams[stream];
    if (user->users->flushed || i >= FOLLOWED_MAX) {
        return;
    }
    user_wants(user, request, value, i <= seen->known, "an entry was left out");
    if (i == seen->known) {
        seen->order[seen->known++] = number;
    }
    user_wants(user, request, value, seen->order[i] == number,
               "another order than others have seen");
}

static void reply_range(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    unsigned stream = stream_of(request);
    user_wants(user, request, value,
               value->type == '*' && (value->count >= request->floor || user->users->flushed),
               "not all that was added");
    for (size_t i = 0; i < value->count; i++) {
        uint64_t number = entry_of(user, request, value, &value->items[i], stream);
        check_order(user, request, value, stream, i, number);
        user->users->elements[number].left |= user->sweeping;
    }
}

/* What one stream had: [key, entries], or a map of them. */
static const struct wire_value *entries_of(const struct user *user, const struct request *request,
                                           const struct wire_value *value, size_t *at,
                                           unsigned *ret_stream) {
    const struct wire_value *name = &value->items[*at], *entries;
    if (name->type == '*') {
        user_wants(user, request, value, name->count == 2, "no stream");
        entries = &name->items[1];
        name = &name->items[0];
        *at += 1;
    } else {
        user_wants(user, request, value, *at + 1 < value->count, "no stream");
        entries = &value->items[*at + 1];
        *at += 2;
    }
    user_wants(user, request, value, name->type == '$' && name->text.len == 8, "no name");
    *ret_stream = (unsigned)(name->text.ptr[7] - '0');
    user_wants(user, request, value, *ret_stream < STREAMS && entries->type == '*', "no entries");
    return entries;
}

static void reply_group_read(struct user *user, const struct request *request,
                             const struct wire_value *value) {
    struct users *users = user->users;
    if (was_unblocked(request, value)) {
        return;
    }
    if (value->type == '-') {
        user_wants(user, request, value, request->value == 0 || users->flushed,
                   "the group is there");
        return;
    }
    if (value->type == '_') {
        got_nothing(user, request, value);
        return;
    }
    user_wants(user, request, value, value->type == '*', "no streams");
    for (size_t at = 0; at < value->count;) {
        unsigned stream;
        const struct wire_value *entries = entries_of(user, request, value, &at, &stream);
        user_wants(user, request, value, request->queues & 1u << (QUEUES + stream),
                   "a stream that it did not name");
        uint64_t last = stream == 0 ? request->floor : request->before;
        for (size_t i = 0; i < entries->count; i++) {
            uint64_t number = entry_of(user, request, value, &entries->items[i], stream);
            struct element *element = &users->elements[number];
            user_wants(user, request, value, element->taken_ns == 0, "handed out already");
            user_wants(user, request, value, element->id > last || users->flushed,
                       "others have had later ones");
            check_turn(user, request, value, element);
            element->taken_ns = now_of(users);
            last = element->id;
            user->got[user->got_next++ % GOT] = number;
            users->counts.handed++;
        }
        struct stream_seen *seen = &users->streams[stream];
        seen->delivered = last > seen->delivered ? last : seen->delivered;
        if (request->timeout_ns != 0) {
            overtakes(user, request, QUEUES + stream);
        }
    }
    users->counts.waited += request->stood_ns != 0;
}

static void reply_follow(struct user *user, const struct request *request,
                         const struct wire_value *value) {
    struct users *users = user->users;
    unsigned stream = stream_of(request);
    bool from_now = request->value != 0;
    if (was_unblocked(request, value)) {
        return;
    }
    if (value->type == '_') {
        got_nothing(user, request, value);
        user_wants(user, request, value,
                   from_now || request->before <= request->floor || users->flushed,
                   "nothing, and others have read more");
        return;
    }
    user_wants(user, request, value, value->type == '*', "no streams");
    size_t at = 0;
    const struct wire_value *entries = entries_of(user, request, value, &at, &stream);
    for (size_t i = 0; i < entries->count; i++) {
        uint64_t number = entry_of(user, request, value, &entries->items[i], stream);
        const struct element *element = &users->elements[number];
        if (from_now) {
            user_wants(user, request, value,
                       element->added_ns == 0 || element->added_ns >= request->at_ns,
                       "older than what it has asked for");
        } else {
            check_order(user, request, value, stream, request->floor + i, number);
        }
    }
    size_t end = request->floor + entries->count;
    if (!from_now && end > user->followed[stream] && end < FOLLOWED_MAX && !users->flushed) {
        user->followed[stream] = end;
    }
    users->counts.waited += request->stood_ns != 0;
}

static void reply_claim(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    struct users *users = user->users;
    unsigned stream = stream_of(request);
    if (value->type == '-') {
        user_wants(user, request, value,
                   users->streams[stream].grouped_ns == 0 ||
                       users->streams[stream].grouped_ns >= request->at_ns || users->flushed,
                   "the group is there");
        return;
    }
    user_wants(user, request, value,
               value->type == '*' && value->count == 3 && value->items[1].type == '*', "no claims");
    const struct wire_value *entries = &value->items[1];
    for (size_t i = 0; i < entries->count; i++) {
        uint64_t number = entry_of(user, request, value, &entries->items[i], stream);
        const struct element *element = &users->elements[number];
        user_wants(user, request, value,
                   element->acked_ns == 0 || element->acked_ns >= request->at_ns,
                   "it was acknowledged");
        user->got[user->got_next++ % GOT] = number;
    }
}

static void reply_pending(struct user *user, const struct request *request,
                          const struct wire_value *value) {
    struct users *users = user->users;
    unsigned stream = stream_of(request);
    if (value->type == '-') {
        return; /* nobody has made the group */
    }
    user_wants(user, request, value, value->type == '*', "no entries");
    for (size_t i = 0; i < value->count; i++) {
        uint64_t id = id_of(value->items[i].items[0].text);
        uint64_t number = 0;
        for (uint64_t n = 1; n < users->elements_size && number == 0; n++) {
            const struct element *element = &users->elements[n];
            number = element->queue == QUEUES + stream && element->id == id ? n : 0;
        }
        user_wants(user, request, value, number != 0, "what nobody has added is pending");
        user_wants(user, request, value, users->elements[number].acked_ns == 0,
                   "what was acknowledged is pending");
        users->elements[number].pending = true;
    }
}

void stream_reply(struct user *user, const struct request *request,
                  const struct wire_value *value) {
    struct users *users = user->users;
    struct stream_seen *seen = &users->streams[stream_of(request)];
    switch (request->kind) {
    case KIND_STREAM_ADD: {
        struct element *element = &users->elements[request->value];
        user_wants(user, request, value, value->type == '$', "not added");
        user_wants(user, request, value, element->id == 0 || element->id == id_of(value->text),
                   "others have seen it with another id");
        element->id = id_of(value->text);
        added(users, request->value);
        seen->added++;
        break;
    }
    case KIND_STREAM_GROUP:
        user_wants(user, request, value,
                   (value->type == '+' && !seen->made) || value->type == '-' || users->flushed,
                   "the group was there already");
        seen->made |= value->type == '+';
        seen->grouped_ns = seen->grouped_ns == 0 ? now_of(users) : seen->grouped_ns;
        break;
    case KIND_STREAM_TAKE:
        reply_group_read(user, request, value);
        break;
    case KIND_STREAM_ACK:
        user_wants(user, request, value, value->type == ':', "no number");
        if (request->value != 0 && users->elements[request->value].acked_ns == 0) {
            users->elements[request->value].acked_ns = now_of(users);
        }
        break;
    case KIND_STREAM_CLAIM:
        reply_claim(user, request, value);
        break;
    case KIND_STREAM_FOLLOW:
        reply_follow(user, request, value);
        break;
    case KIND_STREAM_READ:
        reply_range(user, request, value);
        break;
    default:
        reply_pending(user, request, value);
    }
}

/* ---- The end ---- */

static void account_entry(struct users *users, uint64_t number, const struct element *element) {
    const struct stream_seen *seen = &users->streams[element->queue - QUEUES];
    const char *why = NULL;
    if (!element->left) {
        why = "is not there any more";
    } else if (seen->grouped_ns == 0) {
        return;
    } else if (element->taken_ns == 0 && !element->pending && !element->ack_asked) {
        why = "was not handed out, and is not pending";
    } else if (element->taken_ns != 0 && !element->pending && !element->ack_asked) {
        why = "was handed out and not acknowledged, and is not pending";
    }
    if (why != NULL) {
        world_fail(users->world, "entry %llu of stream %u %s", (unsigned long long)number,
                   (unsigned)element->queue - QUEUES, why);
    }
}

void queues_account(struct users *users) {
    uint64_t missing = 0, one = 0;
    if (!users->options.queues || users->flushed) {
        return;
    }
    for (uint64_t n = 1; n < users->elements_size; n++) {
        const struct element *element = &users->elements[n];
        if (element->added_ns == 0) {
            continue;
        }
        if (element->queue >= QUEUES) {
            account_entry(users, n, element);
        } else if (element->taken_ns == 0 && !element->left) {
            missing++;
            one = n;
        }
    }
    if (missing > users->takes_lost) {
        world_fail(users->world,
                   "%llu elements are lost, %llu of queue %u for one, and %llu may be with those "
                   "who went",
                   (unsigned long long)missing, (unsigned long long)one,
                   (unsigned)users->elements[one].queue, (unsigned long long)users->takes_lost);
    }
}
