/* SPDX-License-Identifier: BSD-3-Clause */
/* tracking: see the header. Why so: in Valkey one thread makes the order of replies and
 * invalidations. Here the reply of a read and the news that what it read is old may come to the
 * client's home in any order, and the news of a write after its writer has told the reader of it.
 * So
 *
 *     a client that has a command on its way  -> what comes for it waits behind the reply: `late`
 *     a request of a client that tracks       -> goes on when home has heard all that owners had
 *                                                said until then: `goal`
 *
 * Invariants
 *  1. A client with something in `late` is in trackers->later.
 *  2. CLIENT_TRACKED and CLIENT_TRACKS_READS say of a client what its options do: note_flags.
 */
#include "server/tracking/tracking.h"

#include "base/check.h"
#include "base/must.h"
#include "proto/reply.h"
#include "server/call/command_table.h"
#include "server/client/client.h"
#include "server/client/client_flow.h"
#include "server/tracking/news.h"
#include "server/tracking/prefix.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define CHANNEL "__redis__:invalidate"

/* One client's wish to be told of a prefix. */
struct prefix_client {
    struct list_node of_prefix, of_client;
    struct client *client;
    struct prefix *prefix;
};

/* ---- What a client tracks ---- */

static bool is_tracked(const struct client *client) {
    return client->flags & CLIENT_TRACKED;
}

static void note_flags(struct client *client, bool on) {
    const struct tracking *tracking = client->tracking;
    const struct tracking_options *options = &tracking->options;
    bool reads = on && !options->bcast;
    if (options->optin || options->optout) {
        reads &= options->optin == tracking->caching;
    }
    client->flags &= ~(unsigned)(CLIENT_TRACKED | CLIENT_TRACKS_READS);
    client->flags |= (on ? CLIENT_TRACKED : 0) | (reads ? CLIENT_TRACKS_READS : 0);
    client->tracking->reads |= reads;
}

static struct tracking *tracking_of(struct client *client) {
    if (client->tracking == NULL) {
        struct tracking *tracking = must_calloc(1, sizeof *tracking);
        tracking->client = client;
        list_init(&tracking->prefixes);
        list_node_init(&tracking->later);
        outbuf_init(&tracking->late);
        client->tracking = tracking;
    }
    return client->tracking;
}

/* This one too, in its turn: while it is parked its tables are not its own. */
static void tell_all(struct worker *worker, enum news_kind kind, uint64_t client,
                     struct bytes bytes) {
    struct news_record record = {.kind = kind, .client = client};
    for (unsigned i = 0; i < worker->server->workers_count; i++) {
        news_add(worker, i, record, bytes);
    }
}

static void count_prefix(struct worker *worker, struct bytes text, unsigned of, int change) {
    prefix_count(&worker->trackers, worker->server->workers_count, text, of, change);
}

/* As if the client were the only one that asks for it. */
static size_t bytes_of(const struct prefix *prefix) {
    return sizeof(struct prefix_client) + sizeof *prefix + prefix->text.len;
}

static void add_prefix(struct client *client, struct bytes text) {
    struct worker *worker = client->worker;
    struct list *mine = &client->tracking->prefixes;
    LIST_EACH(mine, node) {
        if (bytes_equal(LIST_ENTRY(node, struct prefix_client, of_client)->prefix->text, text)) {
            return;
        }
    }
    struct news_record record = {.kind = NEWS_PREFIX_COME};
    for (unsigned i = 0; i < worker->server->workers_count; i++) {
        if (i != worker->id) {
            news_add(worker, i, record, text);
        }
    }
    count_prefix(worker, text, worker->id, 1);
    struct prefix_client *wish = must_calloc(1, sizeof *wish);
    wish->client = client;
    wish->prefix = prefix_find(&worker->trackers, text);
    list_push_back(&wish->prefix->clients, &wish->of_prefix);
    list_push_back(mine, &wish->of_client);
    client->tracking->prefixes_bytes += bytes_of(wish->prefix);
}

static void drop_prefixes(struct client *client) {
    struct list_node *node;
    while ((node = list_pop_front(&client->tracking->prefixes)) != NULL) {
        struct prefix_client *wish = LIST_ENTRY(node, struct prefix_client, of_client);
        list_remove(&wish->of_prefix);
        client->tracking->prefixes_bytes -= bytes_of(wish->prefix);
        tell_all(client->worker, NEWS_PREFIX_GO, 0, wish->prefix->text);
        free(wish);
    }
}

void tracking_on(struct client *client, const struct tracking_options *options,
                 const struct bytes *prefixes, uint32_t count) {
    struct tracking *tracking = tracking_of(client);
    struct worker *worker = client->worker;
    worker->trackers.clients += !is_tracked(client);
    tracking->options = *options;
    tracking->broken = false;
    for (uint32_t i = 0; i < count; i++) {
        add_prefix(client, prefixes[i]);
    }
    if (options->bcast && count == 0) {
        add_prefix(client, BYTES(""));
    }
    note_flags(client, true);
    news_send(worker); /* ahead of the question whether all have heard of it */
}

void tracking_off(struct client *client) {
    if (client->tracking == NULL) {
        return;
    }
    struct tracking *tracking = client->tracking;
    client->worker->trackers.clients -= is_tracked(client);
    drop_prefixes(client);
    tracking->options = (struct tracking_options){0};
    tracking->caching = tracking->broken = false;
    note_flags(client, false);
}

static int compare(const void *a, const void *b) {
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

uint32_t tracking_prefixes(const struct client *client, struct bytes **ret) {
    uint32_t count = 0;
    *ret = NULL;
    if (client->tracking == NULL) {
        return 0;
    }
    LIST_EACH(&client->tracking->prefixes, node) {
        count++;
    }
    *ret = must_malloc((count + 1) * sizeof **ret);
    count = 0;
    LIST_EACH(&client->tracking->prefixes, node) {
        (*ret)[count++] = LIST_ENTRY(node, struct prefix_client, of_client)->prefix->text;
    }
    qsort(*ret, count, sizeof **ret, compare);
    return count;
}

int64_t tracking_redirect(const struct client *client) {
    return is_tracked(client) ? (int64_t)client->tracking->options.redirect : -1;
}

void tracking_set_caching(struct client *client) {
    client->tracking->caching = true;
    client->tracking->spent = client->txn != NULL; /* by EXEC, which it is in */
    note_flags(client, true);
}

void tracking_took_up(struct client *client, const struct command_ref *ref) {
    bool about_client = ref != NULL && strncmp(ref->full_name, "client|", 7) == 0;
    if (client->tracking != NULL && client->multi == NULL && !about_client) {
        client->tracking->spent = true;
    }
}

void tracking_leave(struct client *client) {
    if (client->tracking != NULL) {
        tracking_off(client);
        list_remove(&client->tracking->later);
    }
}

void tracking_forget(struct client *client) {
    struct tracking *tracking = client->tracking;
    if (tracking == NULL) {
        return;
    }
    if (tracking->reads) {
        tell_all(client->worker, NEWS_CLIENT_GONE, client->id, BYTES(""));
    }
    outbuf_fini(&tracking->late);
    free(tracking->goal);
    free(tracking);
    client->tracking = NULL;
}

/* ---- Pushing ---- */

/* Its reply is not written yet. Who waits for keys, or for time to pass, gets what comes, unless it
 * is known that it has been served. */
static bool is_busy(const struct client *client) {
    bool served = client->tracking != NULL && client->tracking->served && client_is_blocked(client);
    return client->pending_count > 0 || client->txn != NULL || client->scatter != NULL || served;
}

/* A change that this client has made. */
static void note_own(struct client *client) {
    client->tracking->served |= client_is_blocked(client);
}

/* Where a push for it goes now. Replies that are off are none of it. */
static struct outbuf *push_target(struct client *client) {
    struct tracking *tracking = client->tracking;
    client_mark_dirty(client);
    bool is_late = is_tracked(client) && is_busy(client);
#ifdef SHOAL_UNSAFE_TRACKING_BESIDE /* for the test that caches notice */
    is_late = false;
#endif
    if (is_late && !list_node_linked(&tracking->later)) {
        list_push_back(&client->worker->trackers.later, &tracking->later);
    }
    return is_late ? &tracking->late : &client->out;
}

/* `value` is RESP: an array of keys, or null. */
static void push(struct client *client, struct bytes value, bool redirected) {
    struct reply reply;
    if (client->resp > 2) {
        reply_init(&reply, push_target(client), client->resp);
        reply_push(&reply, 2);
        reply_bulk_text(&reply, "invalidate");
    } else if (redirected && client->flags & CLIENT_SUBSCRIBED) {
        reply_init(&reply, push_target(client), client->resp);
        reply_push(&reply, 3);
        reply_bulk_text(&reply, "message");
        reply_bulk_text(&reply, CHANNEL);
    } else {
        return; /* it could not tell it from a reply */
    }
    reply_raw(&reply, value);
    client_check_output(client);
}

static void push_broken(struct client *client) {
    struct tracking *tracking = client->tracking;
    tracking->broken = true;
    if (client->resp > 2) {
        struct reply reply;
        reply_init(&reply, push_target(client), client->resp);
        reply_push(&reply, 2);
        reply_bulk_text(&reply, "tracking-redir-broken");
        reply_int(&reply, (int64_t)tracking->options.redirect);
        client_check_output(client);
    }
}

/* Who has been told that his connection ends, as by QUIT, is gone. */
static struct client *living(const struct worker *worker, uint64_t id) {
    struct client *client = client_of_id(worker, id);
    bool lives =
        client != NULL && !client_is_closing(client) && !(client->flags & CLIENT_CLOSE_AFTER_REPLY);
    return lives ? client : NULL;
}

/* To a client that tracks, or whom it redirects to. */
static void tell(struct client *client, struct bytes value) {
    const struct tracking_options *options = &client->tracking->options;
    struct worker *worker = client->worker;
    if (options->redirect == 0) {
        push(client, value, false);
    } else if (options->home != worker->id) {
        struct news_record record = {
            .kind = NEWS_FORWARD, .client = options->redirect, .by = client->id};
        news_add(worker, options->home, record, value);
    } else {
        struct client *to = living(worker, options->redirect);
        if (to != NULL) {
            push(to, value, true);
        } else {
            push_broken(client);
        }
    }
}

static void add_bulk(struct text *text, struct bytes bytes) {
    text_appendf(text, "$%zu\r\n", bytes.len);
    text_append_bytes(text, bytes);
    text_append_text(text, "\r\n");
}

/* ---- What has come ---- */

static void key_changed(struct worker *worker, const struct news_record *record, struct bytes key) {
    struct client *client = living(worker, record->client);
    if (client == NULL || !is_tracked(client) || client->tracking->options.bcast ||
        (client->tracking->options.noloop && record->by == client->id)) {
        return;
    }
    if (record->by == client->id) {
        note_own(client);
    }
    struct text text;
    text_init(&text);
    text_append_text(&text, "*1\r\n");
    add_bulk(&text, key);
    tell(client, text_bytes(&text));
    text_fini(&text);
}

/* The keys of the records from *at on, without those that `but` has changed. */
static uint32_t keys_of(struct bytes records, size_t at, uint32_t count, uint64_t but,
                        struct text *text) {
    struct text keys;
    text_init(&keys);
    uint32_t told = 0;
    struct news_record record;
    struct bytes key;
    for (uint32_t i = 0; i < count && news_next(records, &at, &record, &key); i++) {
        if (record.by != but || but == 0) {
            add_bulk(&keys, key);
            told++;
        }
    }
    text_appendf(text, "*%u\r\n", told);
    text_append_bytes(text, text_bytes(&keys));
    text_fini(&keys);
    return told;
}

static void note_own_keys(struct client *client, struct bytes records, size_t at, uint32_t count) {
    struct news_record record;
    struct bytes key;
    for (uint32_t i = 0; i < count && news_next(records, &at, &record, &key); i++) {
        if (record.by == client->id) {
            note_own(client);
        }
    }
}

static void tell_prefix_client(struct client *client, struct bytes all, struct bytes records,
                               size_t at, uint32_t count) {
    if (client_is_blocked(client)) {
        note_own_keys(client, records, at, count);
    }
    if (!client->tracking->options.noloop) {
        tell(client, all);
        return;
    }
    struct text others;
    text_init(&others);
    if (keys_of(records, at, count, client->id, &others) > 0) {
        tell(client, text_bytes(&others));
    }
    text_fini(&others);
}

static void prefix_changed_here(struct worker *worker, struct bytes text, struct bytes records,
                                size_t at, uint32_t count) {
    struct prefix *prefix = prefix_find(&worker->trackers, text);
    if (prefix == NULL) {
        return;
    }
    struct text all;
    text_init(&all);
    keys_of(records, at, count, 0, &all);
    /* By number: who is told may be over its limit, and go. */
    uint64_t *ids = must_malloc((prefix->counts[worker->id] + 1) * sizeof *ids);
    uint32_t n = 0;
    LIST_EACH(&prefix->clients, node) {
        ids[n++] = LIST_ENTRY(node, struct prefix_client, of_prefix)->client->id;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct client *client = living(worker, ids[i]);
        if (client != NULL && is_tracked(client)) {
            tell_prefix_client(client, text_bytes(&all), records, at, count);
        }
    }
    free(ids);
    text_fini(&all);
}

static void flushed(struct worker *worker) {
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        if (is_tracked(client)) {
            tell(client, client->resp > 2 ? BYTES("_\r\n") : BYTES("$-1\r\n"));
        }
    }
}

static void forward(struct worker *worker, unsigned from, const struct news_record *record,
                    struct bytes value) {
    struct client *client = living(worker, record->client);
    if (client != NULL) {
        push(client, value, true);
    } else {
        struct news_record back = {.kind = NEWS_BROKEN, .client = record->by, .by = record->client};
        news_add(worker, from, back, BYTES(""));
    }
}

static void broken(struct worker *worker, const struct news_record *record) {
    struct client *client = living(worker, record->client);
    if (client != NULL && is_tracked(client) && client->tracking->options.redirect == record->by) {
        push_broken(client);
    }
}

static void take_up(struct worker *worker, unsigned from, struct bytes records) {
    struct news_record record;
    struct bytes bytes;
    for (size_t at = 0; news_next(records, &at, &record, &bytes);) {
        switch (record.kind) {
        case NEWS_KEY:
            key_changed(worker, &record, bytes);
            break;
        case NEWS_PREFIX:
            prefix_changed_here(worker, bytes, records, at, record.count);
            break;
        case NEWS_PREFIX_KEY:
            break; /* with the prefix */
        case NEWS_FLUSH:
            flushed(worker);
            break;
        case NEWS_FORWARD:
            forward(worker, from, &record, bytes);
            break;
        case NEWS_BROKEN:
            broken(worker, &record);
            break;
        case NEWS_PREFIX_COME:
            count_prefix(worker, bytes, from, 1);
            break;
        case NEWS_PREFIX_GO:
            count_prefix(worker, bytes, from, -1);
            break;
        case NEWS_CLIENT_GONE:
            tracks_drop(&worker->shard.tracks, record.client);
            break;
        }
    }
}

void tracking_arrived(struct worker *worker, struct message *message) {
    struct news_message *news = (struct news_message *)message;
    worker->trackers.heard[news->from]++;
    take_up(worker, news->from, bytes_make(news->records, news->bytes));
    free(message);
}

/* What this worker has told itself. What that makes it tell itself comes after it. */
static void take_up_own(struct worker *worker) {
    struct text *text = &worker->trackers.tell[worker->id];
    while (UNLIKELY(text->len > 0)) {
        struct text own = *text;
        text_init(text);
        take_up(worker, worker->id, text_bytes(&own));
        text_fini(&own);
    }
}

/* ---- Its order among replies ---- */

/* Nothing is on its way for it any more. */
static void catch_up(struct client *client) {
    struct tracking *tracking = client->tracking;
    if (is_busy(client)) {
        return;
    }
    tracking->served = false;
    if (list_node_linked(&tracking->later)) {
        list_remove(&tracking->later);
        outbuf_splice(&client->out, &tracking->late);
        client_mark_dirty(client);
        client_check_output(client);
    }
}

void tracking_deliver(struct worker *worker) {
    take_up_own(worker);
    LIST_EACH_SAFE(&worker->trackers.later, node) {
        struct tracking *tracking = LIST_ENTRY(node, struct tracking, later);
        catch_up(tracking->client);
    }
    news_send_if_any(worker, &worker->trackers); /* what goes on to others */
}

/* Home has heard all that owners had said when it was first asked for this request. */
static bool has_heard(struct client *client) {
#ifdef SHOAL_UNSAFE_TRACKING_AHEAD /* for the test that caches notice */
    return true;
#endif
    const struct worker *worker = client->worker;
    struct tracking *tracking = client->tracking;
    unsigned workers = worker->server->workers_count;
    bool asks = tracking->goal == NULL;
    bool all = true;
    uint64_t said[CONFIG_SHARDS_MAX];
    for (unsigned i = 0; i < workers; i++) {
        said[i] =
            asks ? shared_told_trackers(worker->server->shared, i, worker->id) : tracking->goal[i];
        all &= worker->trackers.heard[i] >= said[i];
    }
    if (all) {
        free(tracking->goal);
        tracking->goal = NULL;
    } else if (asks) {
        tracking->goal = must_malloc(workers * sizeof *tracking->goal);
        memcpy(tracking->goal, said, workers * sizeof *said);
    }
    return all;
}

bool tracking_may_go_on(struct client *client) {
    struct tracking *tracking = client->tracking;
    if (is_busy(client)) {
        return true; /* it comes to stand behind that */
    }
    take_up_own(client->worker);
    catch_up(client);
    if (client_is_closing(client)) {
        return false;
    }
    if (tracking->spent) {
        tracking->spent = tracking->caching = false;
        note_flags(client, true);
    }
    if (!has_heard(client)) {
        client_resume(client);
        return false;
    }
    return true;
}
