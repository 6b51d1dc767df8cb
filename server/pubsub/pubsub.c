/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub: see the header. Why so: the alternative is that who publishes asks all workers, and waits
 * for the number of receivers: a hop for each message, also where nobody listens. Subscriptions
 * change seldom, so they pay: each change goes to all workers.
 *
 *     PUBLISH    counts of the topic -> copies to the workers that have some -> their queues
 *     SUBSCRIBE  own table -> all workers: counts -> reply -> what came meanwhile
 *
 * Invariants
 *  1. A topic is in the table as long as its total is not 0, or it has subscribers here. Its count
 * of this worker is the length of its list.
 *  2. Changes of one worker's counts reach another in their order, because all of them are
 * messages between these two. So they have numbers, and who publishes says up to which one it has
 * counted: a message is for a subscription that it counted, neither for one that it had not heard
 * of, which may be younger than the answer to PUBLISH, nor lost for one that has ended meanwhile.
 * Mail says nothing of that: input of a client may overtake it.
 */
#include "server/pubsub/pubsub.h"

#include "base/check.h"
#include "base/glob.h"
#include "base/must.h"
#include "base/text.h"
#include "proto/reply.h"
#include "server/acl/acl.h"
#include "server/call/call.h"
#include "server/call/scatter.h"
#include "server/call/slot_check.h"
#include "server/client/client.h"
#include "server/observe/slot_stats.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* A frame of at least so many bytes is not copied to who gets it. */
#define FRAME_SHARED_BYTES 1024
/* More than what stands around names and text. */
#define FRAME_WORDS_BYTES 128

struct topic {
    struct link link;          /* first; of topics->tables[kind] */
    struct list_node in_order; /* of topics->patterns_in_order */
    struct list_node unused;   /* of topics->unused */
    enum topic_kind kind;
    struct list subs; /* of clients here */
    uint64_t total;
    struct bytes name;
    uint32_t counts[]; /* by worker; behind them the text of the name */
};

/* One client's subscription to one topic. */
struct sub {
    struct link link;      /* first; of subs->by_topic, until it ends */
    struct list_node node; /* of topic->subs */
    struct list_node mine; /* of subs->lists[kind], or ->ended */
    struct client *client;
    struct topic *topic;
    uint64_t since, until; /* changes of this worker with which it came, and goes: inv. 2 */
};

struct subs {
    struct links by_topic;
    struct list lists[TOPIC_KINDS]; /* in their order */
    struct list ended;              /* which some worker may still count */
    struct client *client;
    struct list_node confirming; /* of topics->confirming, while it is not told yet */
    struct outbuf early;         /* what was published meanwhile */
};

struct publication {
    struct message message; /* first: to another worker */
    struct list_node node;  /* of topics->queue */
    uint64_t counted;       /* changes of the receiver that its sender had counted */
    enum topic_kind kind;   /* of its channel */
    struct bytes channel, text;
    char data[];
};

/* What clients are told. */
static const struct {
    const char *on, *off, *message;
} words[TOPIC_KINDS] = {
    [TOPIC_CHANNEL] = {"subscribe", "unsubscribe", "message"},
    [TOPIC_PATTERN] = {"psubscribe", "punsubscribe", "pmessage"},
    [TOPIC_SHARD_CHANNEL] = {"ssubscribe", "sunsubscribe", "smessage"},
};

/* ---- Topics ---- */

void topics_init(struct topics *topics, unsigned workers) {
    *topics = (struct topics){.changes = must_calloc(workers, sizeof *topics->changes)};
    list_init(&topics->patterns_in_order);
    list_init(&topics->queue);
    list_init(&topics->confirming);
    list_init(&topics->unused);
}

static uint64_t hash_of(const struct worker *worker, struct bytes name) {
    return key_make(&worker->server->secret, name).hash;
}

static struct topic *topic_find(const struct worker *worker, enum topic_kind kind,
                                struct bytes name) {
    const struct links *table = &worker->topics.tables[kind];
    if (table->count == 0) {
        return NULL;
    }
    uint64_t hash = hash_of(worker, name);
    for (struct link *at = links_first(table, hash); at != NULL; at = at->next) {
        struct topic *topic = (struct topic *)at;
        if (at->hash == hash && bytes_equal(topic->name, name)) {
            return topic;
        }
    }
    return NULL;
}

static size_t topic_bytes(const struct worker *worker, const struct topic *topic) {
    return sizeof *topic + worker->server->workers_count * sizeof *topic->counts + topic->name.len;
}

static struct topic *topic_get(struct worker *worker, enum topic_kind kind, struct bytes name) {
    struct topic *topic = topic_find(worker, kind, name);
    if (topic != NULL) {
        return topic;
    }
    unsigned workers = worker->server->workers_count;
    topic = must_calloc(1, sizeof *topic + workers * sizeof *topic->counts + name.len);
    list_init(&topic->subs);
    list_node_init(&topic->in_order);
    list_node_init(&topic->unused);
    topic->kind = kind;
    char *text = (char *)&topic->counts[workers];
    if (name.len > 0) {
        memcpy(text, name.ptr, name.len);
    }
    topic->name = bytes_make(text, name.len);
    topic->link.hash = hash_of(worker, name);
    links_add(&worker->topics.tables[kind], &topic->link);
    if (kind == TOPIC_PATTERN) {
        list_push_back(&worker->topics.patterns_in_order, &topic->in_order);
    }
    worker->topics.bytes += topic_bytes(worker, topic);
    return topic;
}

/* While something is delivered somebody may stand on it. */
static void topic_free_if_unused(struct worker *worker, struct topic *topic) {
    struct topics *topics = &worker->topics;
    if (topic->total > 0 || !list_empty(&topic->subs)) {
        return;
    }
    if (topics->delivering) {
        if (!list_node_linked(&topic->unused)) {
            list_push_back(&topics->unused, &topic->unused);
        }
        return;
    }
    worker->topics.bytes -= topic_bytes(worker, topic);
    links_remove(&topics->tables[topic->kind], &topic->link);
    list_remove(&topic->in_order);
    free(topic);
}

static void free_unused(struct worker *worker) {
    struct list_node *node;
    while ((node = list_pop_front(&worker->topics.unused)) != NULL) {
        topic_free_if_unused(worker, LIST_ENTRY(node, struct topic, unused));
    }
}

static void count(struct worker *worker, struct topic *topic, unsigned of, int change) {
    check(change > 0 || topic->counts[of] > 0);
    topic->counts[of] += (uint32_t)change;
    topic->total += (uint64_t)(int64_t)change;
    topic_free_if_unused(worker, topic);
}

static void table_free(struct worker *worker, struct links *table) {
    size_t i = 0;
    while (table->count > 0) { /* with the last one the buckets go */
        struct topic *topic = (struct topic *)table->buckets[i];
        if (topic != NULL) {
            topic->total = 0;
            topic_free_if_unused(worker, topic);
        } else {
            i++;
        }
    }
}

void topics_free(struct worker *worker) {
    struct topics *topics = &worker->topics;
    struct list_node *node;
    while ((node = list_pop_front(&topics->queue)) != NULL) {
        free(LIST_ENTRY(node, struct publication, node));
    }
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++) {
        table_free(worker, &topics->tables[kind]);
        links_fini(&topics->tables[kind]);
    }
    check(topics->bytes == 0 && topics->clients == 0);
    free(topics->changes);
}

/* ---- Publishing ---- */

static struct publication *publication_new(struct bytes channel, struct bytes text) {
    struct publication *publication = must_malloc(sizeof *publication + channel.len + text.len);
    publication->message = (struct message){.kind = MESSAGE_PUBLICATION, .home = POST_ONE_WAY};
    list_node_init(&publication->node);
    if (channel.len > 0) {
        memcpy(publication->data, channel.ptr, channel.len);
    }
    if (text.len > 0) {
        memcpy(publication->data + channel.len, text.ptr, text.len);
    }
    publication->channel = bytes_make(publication->data, channel.len);
    publication->text = bytes_make(publication->data + channel.len, text.len);
    return publication;
}

static uint64_t add_counts(const struct worker *worker, const struct topic *topic, bool *listen) {
    for (unsigned i = 0; i < worker->server->workers_count; i++) {
        listen[i] |= topic->counts[i] > 0;
    }
    return topic->total;
}

uint64_t pubsub_publish(struct worker *worker, enum topic_kind kind, struct bytes channel,
                        struct bytes message) {
    struct topics *topics = &worker->topics;
    bool listen[CONFIG_SHARDS_MAX] = {false};
    uint64_t receivers = 0;
    const struct topic *topic = topic_find(worker, kind, channel);
    if (topic != NULL) {
        receivers += add_counts(worker, topic, listen);
    }
    LIST_EACH(&topics->patterns_in_order, node) {
        topic = LIST_ENTRY(node, struct topic, in_order);
        if (kind == TOPIC_CHANNEL && glob_match(topic->name, channel, false)) {
            receivers += add_counts(worker, topic, listen);
        }
    }
    for (unsigned i = 0; receivers > 0 && i < worker->server->workers_count; i++) {
        if (!listen[i]) {
            continue;
        }
        struct publication *publication = publication_new(channel, message);
        publication->kind = kind;
        publication->counted = topics->changes[i];
        if (i == worker->id) {
            list_push_back(&topics->queue, &publication->node);
        } else {
            post_send(worker->server->office, worker->id, i, &publication->message);
        }
    }
    return receivers;
}

void pubsub_arrived(struct worker *worker, struct message *message) {
    struct publication *publication = (struct publication *)message;
#ifdef SHOAL_UNSAFE_TOPICS_ORDER /* for the test that users of the simulator notice */
    list_push_front(&worker->topics.queue, &publication->node);
    return;
#endif
    list_push_back(&worker->topics.queue, &publication->node);
}

/* ---- Delivering ---- */

static bool is_confirming(const struct client *client) {
    return list_node_linked(&client->subs->confirming);
}

/* Its command is to be answered before it gets what was published. */
static void confirm_later(struct client *client) {
    if (!is_confirming(client)) {
        list_push_back(&client->worker->topics.confirming, &client->subs->confirming);
    }
}

/* A publication as it is sent to those who have subscribed to one topic: one for all of them. */
struct frame {
    uint32_t refs;
    struct text text;
};

static void add_bulk(struct text *text, struct bytes bytes) {
    text_appendf(text, "$%zu\r\n", bytes.len);
    text_append_bytes(text, bytes);
    text_append_text(text, "\r\n");
}

static struct frame *frame_new(const struct topic *topic, const struct publication *publication,
                               uint8_t resp) {
    struct frame *frame = must_malloc(sizeof *frame);
    bool is_pattern = topic->kind == TOPIC_PATTERN;
    frame->refs = 1;
    text_init(&frame->text);
    text_reserve(&frame->text, topic->name.len + publication->channel.len + publication->text.len +
                                   FRAME_WORDS_BYTES);
    text_appendf(&frame->text, "%c%d\r\n", resp == 2 ? '*' : '>', is_pattern ? 4 : 3);
    add_bulk(&frame->text, bytes_of_text(words[topic->kind].message));
    if (is_pattern) {
        add_bulk(&frame->text, topic->name);
    }
    add_bulk(&frame->text, publication->channel);
    add_bulk(&frame->text, publication->text);
    return frame;
}

static void frame_unref(void *pin) {
    struct frame *frame = pin;
    if (frame != NULL && --frame->refs == 0) {
        text_fini(&frame->text);
        free(frame);
    }
}

/* A client that has said REPLY OFF gets it too, as in Valkey. */
static void push(const struct sub *sub, struct frame *frame) {
    struct client *client = sub->client;
    if (client->txn != NULL) {
        confirm_later(client);
    }
    struct outbuf *out = is_confirming(client) ? &client->subs->early : &client->out;
    struct bytes bytes = text_bytes(&frame->text);
    if (bytes.len < FRAME_SHARED_BYTES) {
        outbuf_append(out, bytes.ptr, bytes.len);
    } else {
        frame->refs++;
        outbuf_append_pinned(out, bytes, frame_unref, frame);
    }
    client_mark_dirty(client);
    client_check_output(client);
}

/* Its sender has counted it. */
static bool is_for(const struct publication *publication, const struct sub *sub) {
#ifdef SHOAL_UNSAFE_TOPICS_EARLY /* for the test that users of the simulator notice */
    return publication->counted < sub->until;
#endif
    return sub->since <= publication->counted && publication->counted < sub->until;
}

static void push_all(struct worker *worker, const struct topic *topic,
                     const struct publication *publication) {
    bool counts = worker->slot_stats.counts && publication->kind == TOPIC_SHARD_CHANNEL;
    struct frame *frames[2] = {NULL};    /* by protocol */
    LIST_EACH_SAFE(&topic->subs, node) { /* one over its limit goes */
        const struct sub *sub = LIST_ENTRY(node, struct sub, node);
        if (is_for(publication, sub)) {
            struct frame **frame = &frames[sub->client->resp == 3];
            if (*frame == NULL) {
                *frame = frame_new(topic, publication, sub->client->resp);
            }
            push(sub, *frame);
            if (UNLIKELY(counts)) {
                slot_stats_told(worker, key_slot(topic->name), (*frame)->text.len);
            }
        }
    }
    frame_unref(frames[0]);
    frame_unref(frames[1]);
}

static void deliver(struct worker *worker, struct publication *publication) {
    struct topics *topics = &worker->topics;
    topics->delivering = true;
    const struct topic *topic = topic_find(worker, publication->kind, publication->channel);
    if (topic != NULL) {
        push_all(worker, topic, publication);
    }
    LIST_EACH(&topics->patterns_in_order, node) {
        topic = LIST_ENTRY(node, struct topic, in_order);
        if (publication->kind == TOPIC_CHANNEL && !list_empty(&topic->subs) &&
            glob_match(topic->name, publication->channel, false)) {
            push_all(worker, topic, publication);
        }
    }
    topics->delivering = false;
    free_unused(worker);
    free(publication);
}

void pubsub_deliver_all(struct worker *worker) {
    struct list_node *node;
    while ((node = list_pop_front(&worker->topics.queue)) != NULL) {
        deliver(worker, LIST_ENTRY(node, struct publication, node));
    }
}

/* Its reply is written: what came meanwhile comes behind it. */
static void confirmed(struct client *client) {
    list_remove(&client->subs->confirming);
    outbuf_splice(&client->out, &client->subs->early);
    client_mark_dirty(client);
}

static void end_confirming(struct worker *worker) {
    LIST_EACH_SAFE(&worker->topics.confirming, node) {
        struct client *client = LIST_ENTRY(node, struct subs, confirming)->client;
        if (client->scatter == NULL && client->txn == NULL) {
            confirmed(client);
        }
    }
}

void pubsub_deliver(struct worker *worker) {
    end_confirming(worker);
    worker_slice_begin(worker);
    struct list_node *node;
    while ((node = list_pop_front(&worker->topics.queue)) != NULL) {
        worker_slice_enter(worker);
        deliver(worker, LIST_ENTRY(node, struct publication, node));
        worker->slice.tick = rt_ticks(worker->rt);
        if (worker_slice_over(worker)) {
            return;
        }
    }
}

/* ---- Subscriptions of a client ---- */

/* As replies count them: shard channels by themselves. */
static uint32_t subscriptions(const struct client *client, enum topic_kind kind) {
    const uint32_t *counts = client->subscriptions;
    return kind == TOPIC_SHARD_CHANNEL ? counts[kind]
                                       : counts[TOPIC_CHANNEL] + counts[TOPIC_PATTERN];
}

static struct sub *sub_find(const struct client *client, const struct topic *topic) {
    uint64_t hash = topic->link.hash;
    struct link *at = links_first(&client->subs->by_topic, hash);
    while (at != NULL && ((struct sub *)at)->topic != topic) {
        at = at->next;
    }
    return (struct sub *)at;
}

static size_t sub_bytes(const struct topic *topic) {
    return sizeof(struct sub) + topic->name.len;
}

static void note_subscriptions(struct client *client) {
    struct topics *topics = &client->worker->topics;
    bool was = client->flags & CLIENT_SUBSCRIBED,
         is = subscriptions(client, TOPIC_CHANNEL) + subscriptions(client, TOPIC_SHARD_CHANNEL) > 0;
    topics->clients += is && !was;
    topics->clients -= was && !is;
    client->flags =
        is ? client->flags | CLIENT_SUBSCRIBED : client->flags & ~(unsigned)CLIENT_SUBSCRIBED;
}

/* The number of the change that tell_all is to tell. */
static uint64_t next_change(const struct worker *worker) {
    return worker->topics.changes[worker->id] + 1;
}

/* True if it is new. */
static bool subscribe(struct client *client, enum topic_kind kind, struct bytes name) {
    struct worker *worker = client->worker;
    if (client->subs == NULL) {
        client->subs = must_calloc(1, sizeof *client->subs);
        client->subs->client = client;
        for (unsigned i = 0; i < TOPIC_KINDS; i++) {
            list_init(&client->subs->lists[i]);
        }
        list_init(&client->subs->ended);
        list_node_init(&client->subs->confirming);
        outbuf_init(&client->subs->early);
    }
    struct subs *subs = client->subs;
    struct topic *topic = topic_get(worker, kind, name);
    if (sub_find(client, topic) != NULL) {
        return false;
    }
    struct sub *sub = must_calloc(1, sizeof *sub);
    sub->client = client;
    sub->topic = topic;
    sub->since = next_change(worker);
    sub->until = UINT64_MAX;
    sub->link.hash = topic->link.hash;
    links_add(&subs->by_topic, &sub->link);
    list_push_back(&topic->subs, &sub->node);
    list_push_back(&subs->lists[kind], &sub->mine);
    client->subscriptions[kind]++;
    client->subs_bytes += sub_bytes(topic);
    count(worker, topic, worker->id, 1);
    return true;
}

/* It is the client's no more, but gets what was published by who still counts it. */
static void sub_end(struct sub *sub) {
    struct client *client = sub->client;
    struct topic *topic = sub->topic;
    sub->until = next_change(client->worker);
    links_remove(&client->subs->by_topic, &sub->link);
    list_remove(&sub->mine);
    list_push_back(&client->subs->ended, &sub->mine);
    client->subscriptions[topic->kind]--;
    count(client->worker, topic, client->worker->id, -1);
}

static void free_ended(struct client *client) {
    struct list_node *node;
    while (client->subs != NULL && (node = list_pop_front(&client->subs->ended)) != NULL) {
        struct sub *sub = LIST_ENTRY(node, struct sub, mine);
        list_remove(&sub->node);
        client->subs_bytes -= sub_bytes(sub->topic);
        topic_free_if_unused(client->worker, sub->topic);
        free(sub);
    }
}

static struct sub *sub_of(const struct client *client, enum topic_kind kind, struct bytes name) {
    struct topic *topic = client->subs != NULL ? topic_find(client->worker, kind, name) : NULL;
    return topic != NULL ? sub_find(client, topic) : NULL;
}

static struct sub *first_sub(const struct client *client, enum topic_kind kind) {
    struct list_node *node = list_first(&client->subs->lists[kind]);
    return node != NULL ? LIST_ENTRY(node, struct sub, mine) : NULL;
}

/* ---- Changes that all workers hear of ---- */

/* A row of them, as it travels: `change` subscribers of a topic have come; then the name. */
struct delta {
    uint32_t name_bytes;
    uint32_t subscriptions; /* of the client, for its reply */
    int8_t change;          /* 1, 0, -1 */
    uint8_t kind;           /* topic_kind */
    bool no_name;           /* there was nothing to unsubscribe from */
};

struct deltas {
    unsigned home;
    bool off;
    size_t bytes; /* that follow */
};

static void add_delta(struct text *text, struct delta delta, struct bytes name) {
    delta.name_bytes = (uint32_t)name.len;
    text_append(text, (const char *)&delta, sizeof delta);
    text_append_bytes(text, name);
}

/* The next one from *at on; false at the end. */
static bool next_delta(const struct deltas *deltas, size_t *at, struct delta *ret,
                       struct bytes *ret_name) {
    const char *start = (const char *)(deltas + 1);
    if (*at == deltas->bytes) {
        return false;
    }
    memcpy(ret, start + *at, sizeof *ret);
    *ret_name = bytes_make(start + *at + sizeof *ret, ret->name_bytes);
    *at += sizeof *ret + ret->name_bytes;
    return true;
}

static void apply(struct worker *worker, const struct deltas *deltas) {
#ifdef SHOAL_UNSAFE_TOPICS_DEAF /* for the test that users of the simulator notice */
    if (worker->id % 2 == 1) {
        return;
    }
#endif
    struct delta delta;
    struct bytes name;
    size_t at = 0;
    while (next_delta(deltas, &at, &delta, &name)) {
        if (delta.change != 0) {
            struct topic *topic = topic_get(worker, delta.kind, name);
            count(worker, topic, deltas->home, delta.change);
        }
    }
}

/* What has come by post before this has been applied. */
static bool nothing_part(struct worker *worker, const void *args, void *result) {
    return true;
}

static void write_replies(struct reply *reply, const struct deltas *deltas) {
    struct delta delta;
    struct bytes name;
    size_t at = 0;
    while (next_delta(deltas, &at, &delta, &name)) {
        reply_push(reply, 3);
        reply_bulk_text(reply, deltas->off ? words[delta.kind].off : words[delta.kind].on);
        if (delta.no_name) {
            reply_null(reply);
        } else {
            reply_bulk(reply, name);
        }
        reply_int(reply, delta.subscriptions);
    }
}

/* All workers know, and what they published before is here: of what has ended, too, it comes before
 * the reply. Replies that are off are written nevertheless, as they are pushed. */
static void change_done(struct exec *x, const struct scatter_result *result) {
    const struct deltas *deltas = result->args;
    if (x->client != NULL && deltas->off) {
        pubsub_deliver_all(x->worker);
        free_ended(x->client);
    }
    if (x->client != NULL && x->reply->out == &x->worker->discard && x->client->txn == NULL &&
        !client_is_closing(x->client)) {
        struct reply reply;
        reply_init(&reply, &x->client->out, x->client->resp);
        write_replies(&reply, deltas);
        client_mark_dirty(x->client);
    } else {
        write_replies(x->reply, deltas);
    }
}

static void change_one(struct client *client, struct text *text, enum topic_kind kind, bool off,
                       struct bytes name) {
    struct delta delta = {.kind = (uint8_t)kind};
    if (off) {
        struct sub *sub = sub_of(client, kind, name);
        delta.change = sub != NULL ? -1 : 0;
        delta.subscriptions = subscriptions(client, kind) - (sub != NULL);
        add_delta(text, delta, name); /* which may be the topic's own */
        if (sub != NULL) {
            sub_end(sub);
        }
    } else {
        /* EXEC goes on when its client has gone, which has left all already. */
        delta.change = !client_is_closing(client) && subscribe(client, kind, name);
        delta.subscriptions = subscriptions(client, kind);
        add_delta(text, delta, name);
    }
}

/* By post always, and first: parts of a scatter wait for their turn, so who leaves meanwhile would
 * be taken away elsewhere before it was added. */
static void tell_all(struct worker *worker, const struct text *text) {
    worker->topics.changes[worker->id]++;
    for (unsigned i = 0; i < worker->server->workers_count; i++) {
        if (i != worker->id) {
            struct message *message = must_malloc(sizeof *message + text->len);
            *message = (struct message){.kind = MESSAGE_SUBSCRIBERS, .home = POST_ONE_WAY};
            memcpy(message + 1, text->ptr, text->len);
            post_send(worker->server->office, worker->id, i, message);
        }
    }
}

void pubsub_change(struct exec *x, enum topic_kind kind, bool off) {
    struct client *client = x->client;
    struct worker *worker = x->worker;
    pubsub_deliver_all(worker);
#ifndef SHOAL_UNSAFE_TOPICS_BEHIND /* for the test that users of the simulator notice */
    if (client->subs != NULL && is_confirming(client) && client->txn == NULL) {
        confirmed(client); /* in this very turn: what it got until now comes before this reply */
    }
#endif
    struct text text;
    text_init(&text);
    struct deltas deltas = {.home = worker->id, .off = off};
    text_append(&text, (const char *)&deltas, sizeof deltas);
    for (uint32_t i = 1; i < x->argc; i++) {
        change_one(client, &text, kind, off, x->argv[i]);
    }
    if (x->argc == 1) {
        struct sub *sub;
        while (client->subs != NULL && (sub = first_sub(client, kind)) != NULL) {
            change_one(client, &text, kind, off, sub->topic->name);
        }
        if (text.len == sizeof deltas) {
            struct delta none = {.kind = (uint8_t)kind,
                                 .no_name = true,
                                 .subscriptions = subscriptions(client, kind)};
            add_delta(&text, none, BYTES(""));
        }
    }
    deltas.bytes = text.len - sizeof deltas;
    memcpy(text.ptr, &deltas, sizeof deltas);
    note_subscriptions(client);
    if (!off && !client_is_closing(client)) {
        confirm_later(client);
    }
    tell_all(worker, &text);
#ifdef SHOAL_UNSAFE_TOPICS_LOST /* for the test that users of the simulator notice */
    free_ended(client);
#endif
    scatter_all(x, nothing_part, 0, text.ptr, text.len, change_done);
    text_fini(&text);
}

void pubsub_counts_arrived(struct worker *worker, struct message *message) {
    const struct deltas *deltas = (const struct deltas *)(message + 1);
    worker->topics.changes[deltas->home]++;
    apply(worker, deltas);
    free(message);
}

/* All workers are told. */
static void end_all(struct client *client) {
    struct text text;
    text_init(&text);
    struct deltas deltas = {.home = client->worker->id, .off = true};
    text_append(&text, (const char *)&deltas, sizeof deltas);
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++) {
        struct sub *sub;
        while ((sub = first_sub(client, kind)) != NULL) {
            change_one(client, &text, kind, true, sub->topic->name);
        }
    }
    deltas.bytes = text.len - sizeof deltas;
    memcpy(text.ptr, &deltas, sizeof deltas);
    if (deltas.bytes > 0) {
        tell_all(client->worker, &text);
    }
    text_fini(&text);
    note_subscriptions(client);
}

/* What was published here before comes before it; what others publish at this moment does not. */
static void redirect(struct client *client) {
    struct text text;
    text_init(&text);
    struct deltas deltas = {.home = client->worker->id, .off = true};
    text_append(&text, (const char *)&deltas, sizeof deltas);
    LIST_EACH_SAFE(&client->subs->lists[TOPIC_SHARD_CHANNEL], node) {
        struct bytes name = LIST_ENTRY(node, struct sub, mine)->topic->name;
        if (!slot_is_heard(client->worker, key_slot(name))) {
            change_one(client, &text, TOPIC_SHARD_CHANNEL, true, name);
        }
    }
    deltas.bytes = text.len - sizeof deltas;
    memcpy(text.ptr, &deltas, sizeof deltas);
    if (deltas.bytes > 0) {
        if (client->txn != NULL) {
            confirm_later(client);
        }
        struct reply reply;
        reply_init(&reply, is_confirming(client) ? &client->subs->early : &client->out,
                   client->resp);
        write_replies(&reply, (const struct deltas *)text.ptr);
        client_mark_dirty(client);
        tell_all(client->worker, &text);
        free_ended(client);
        note_subscriptions(client);
    }
    text_fini(&text);
}

void pubsub_redirect(struct worker *worker) {
    pubsub_deliver_all(worker);
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        if (client->subscriptions[TOPIC_SHARD_CHANNEL] > 0) {
            redirect(client);
        }
    }
}

void pubsub_leave(struct client *client) {
    struct subs *subs = client->subs;
    if (subs == NULL) {
        return;
    }
    end_all(client);
    free_ended(client);
    list_remove(&subs->confirming);
    outbuf_fini(&subs->early);
    links_fini(&subs->by_topic);
    client->subs = NULL;
    free(subs);
}

bool pubsub_is_allowed(const struct client *client) {
    const struct subs *subs = client->subs;
    bool may = true;
    for (unsigned kind = 0; subs != NULL && kind < TOPIC_KINDS; kind++) {
        LIST_EACH(&subs->lists[kind], node) {
            const struct sub *sub = LIST_ENTRY(node, struct sub, mine);
            may = may && acl_user_may_hear(client->user, sub->topic->name, kind == TOPIC_PATTERN);
        }
    }
    return may;
}

struct reset {
    void (*done)(struct exec *x);
};

static void reset_done(struct exec *x, const struct scatter_result *result) {
    const struct reset *reset = result->args;
    if (x->client != NULL) {
        pubsub_deliver_all(x->worker);
        pubsub_leave(x->client);
        reset->done(x);
    }
}

void pubsub_reset(struct exec *x, void (*done)(struct exec *x)) {
    struct client *client = x->client;
    if (client->subs == NULL) {
        done(x);
        return;
    }
    pubsub_deliver_all(x->worker);
    if (is_confirming(client)) {
        confirmed(client);
    }
    end_all(client);
    struct reset reset = {done};
    scatter_all(x, nothing_part, 0, &reset, sizeof reset, reset_done);
}

/* ---- What there is ---- */

uint64_t pubsub_count(const struct worker *worker, enum topic_kind kind) {
    return worker->topics.tables[kind].count;
}

uint64_t pubsub_names(const struct worker *worker, enum topic_kind kind,
                      const struct bytes *pattern, void (*each)(void *arg, struct bytes name),
                      void *arg) {
    const struct links *table = &worker->topics.tables[kind];
    uint64_t n = 0;
    for (size_t i = 0; i < table->buckets_count; i++) {
        for (const struct link *at = table->buckets[i]; at != NULL; at = at->next) {
            const struct topic *topic = (const struct topic *)at;
            if (pattern != NULL && !glob_match(*pattern, topic->name, false)) {
                continue;
            }
            n++;
            if (each != NULL) {
                each(arg, topic->name);
            }
        }
    }
    return n;
}

uint64_t pubsub_subscribers(const struct worker *worker, enum topic_kind kind, struct bytes name) {
    const struct topic *topic = topic_find(worker, kind, name);
    return topic != NULL ? topic->total : 0;
}
