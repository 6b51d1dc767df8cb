/* SPDX-License-Identifier: BSD-3-Clause */
/* news: see the header. */
#include "server/tracking/news.h"

#include "base/must.h"
#include "server/call/call.h"
#include "server/call/keyset.h"
#include "server/node.h"
#include "server/tracking/prefix.h"
#include "server/worker/message.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* Keys above tracking-table-max-keys that go at a time. */
#define FORGOTTEN_AT_ONCE 100

void trackers_init(struct trackers *trackers, unsigned workers) {
    *trackers = (struct trackers){
        .tell = must_calloc(workers, sizeof *trackers->tell),
        .told = must_calloc(workers, sizeof *trackers->told),
        .heard = must_calloc(workers, sizeof *trackers->heard),
    };
    for (unsigned i = 0; i < workers; i++) {
        text_init(&trackers->tell[i]);
    }
    list_init(&trackers->changed);
    list_init(&trackers->later);
}

void trackers_free(struct trackers *trackers, unsigned workers) {
    prefixes_free(trackers);
    for (unsigned i = 0; i < workers; i++) {
        text_fini(&trackers->tell[i]);
    }
    free(trackers->tell);
    free(trackers->told);
    free(trackers->heard);
}

/* ---- Records ---- */

void news_add(struct worker *worker, unsigned to, struct news_record record, struct bytes bytes) {
    struct text *text = &worker->trackers.tell[to];
    record.bytes = (uint32_t)bytes.len;
    text_append(text, &record, sizeof record);
    text_append_bytes(text, bytes);
    worker->trackers.due = true;
}

bool news_next(struct bytes records, size_t *at, struct news_record *ret, struct bytes *ret_bytes) {
    if (*at == records.len) {
        return false;
    }
    memcpy(ret, records.ptr + *at, sizeof *ret);
    *ret_bytes = bytes_make(records.ptr + *at + sizeof *ret, ret->bytes);
    *at += sizeof *ret + ret->bytes;
    return true;
}

/* ---- What has been read ---- */

/* Who tells of this worker's keys now. */
static struct worker *teller_of(struct worker *worker) {
    return UNLIKELY(worker->parked.is) ? worker->parked.by : worker;
}

struct telling {
    struct worker *worker;
    uint64_t by;
};

static void tell_key(void *arg, uint64_t client, unsigned home, struct bytes key) {
    const struct telling *telling = arg;
    struct news_record record = {.kind = NEWS_KEY, .client = client, .by = telling->by};
    news_add(telling->worker, home, record, key);
}

static void count_keys(const struct worker *worker) {
    shared_set_tracked(worker->server->shared, worker->id, worker->shard.tracks.keys.count);
}

/* All shards together have more keys than they may, and this one more than its share. */
static bool has_too_many(const struct worker *worker) {
    const struct server *server = worker->server;
    uint64_t max = (uint64_t)worker->config->tracking_table_max_keys;
    return max > 0 && worker->shard.tracks.keys.count > max / server->workers_count &&
           shared_tracked(server->shared) > max;
}

/* Any of them go; who has read them is told so, as if they had changed. */
static void keep_to_limit(struct worker *worker) {
    struct worker *teller = teller_of(worker);
    struct telling telling = {.worker = teller};
    count_keys(worker);
    for (unsigned i = 0; i < FORGOTTEN_AT_ONCE && UNLIKELY(has_too_many(worker)); i++) {
        tracks_take_any(&worker->shard.tracks, rng_next(&teller->rng), tell_key, &telling);
        count_keys(worker);
    }
}

static void remember(const struct worker *reader, struct worker *owner, const struct key *key) {
    if (tracks_add(&owner->shard.tracks, reader->runs_for.client, reader->runs_for.home, key)) {
        keep_to_limit(owner);
    }
}

static bool is_remembered(const struct command *row) {
    return row->flags & CMD_READONLY && !row->runs_script; /* but what that calls */
}

void news_remember_key(struct worker *worker, unsigned owner, const struct command *row,
                       const struct key *key) {
    if (is_remembered(row)) {
        remember(worker, worker->server->workers[owner], key);
    }
}

/* On the shard where it runs; of others, who lends them has seen to it. */
static void remember_of(const struct exec *x, const struct key *key) {
    if (LIKELY(node_owner(x->worker->node, key->slot) == x->shard->id)) {
        remember(x->worker, x->worker->server->workers[x->shard->id], key);
    }
}

void news_remember(const struct exec *x) {
    if (!is_remembered(x->command)) {
        return;
    }
    if (x->keys == NULL && x->ref->simple) {
        remember_of(x, &x->key);
    }
    for (uint32_t i = 0; x->keys != NULL && i < x->keys->count; i++) {
        remember_of(x, &x->keys->list[i].key);
    }
}

/* ---- What has changed ---- */

void news_key_changed(struct worker *worker, const struct key_news *news) {
    struct worker *teller = teller_of(worker);
    struct telling telling = {teller, teller->runs_for.client};
    if (worker->shard.tracks.keys.count > 0) {
        tracks_take(&worker->shard.tracks, news->key, tell_key, &telling);
        count_keys(worker);
    }
    /* Whose command finds that it is too old has not changed it, in this mode alone. */
    uint64_t by = news->event == EVENT_EXPIRED ? 0 : telling.by;
    if (teller->trackers.prefixes.count > 0 &&
        prefix_note(&teller->trackers, news->key->name, by)) {
        teller->trackers.due = true;
    }
}

void news_flushing(struct worker *worker) {
    tracks_clear(&worker->shard.tracks);
    count_keys(worker);
    if (worker->parked.is || worker->trackers.clients > 0) { /* those are its own thread's */
        news_add(teller_of(worker), worker->id, (struct news_record){.kind = NEWS_FLUSH},
                 BYTES(""));
    }
}

void news_slot_leaves(struct worker *worker, uint16_t slot) {
    struct telling telling = {.worker = worker};
    tracks_take_slot(&worker->shard.tracks, slot, tell_key, &telling);
    count_keys(worker);
}

void news_cron(struct worker *worker) {
    if (worker->shard.tracks.keys.count > 0) {
        keep_to_limit(worker);
    }
}

/* ---- By post ---- */

static void tell_prefix(struct worker *worker, unsigned to, const struct prefix *prefix,
                        const struct changed_key *keys, uint32_t count) {
    news_add(worker, to, (struct news_record){.kind = NEWS_PREFIX, .count = count}, prefix->text);
    for (uint32_t i = 0; i < count; i++) {
        struct news_record record = {.kind = NEWS_PREFIX_KEY, .by = keys[i].by};
        news_add(worker, to, record, keys[i].name);
    }
}

static void tell_prefixes(struct worker *worker) {
    struct list_node *node;
    while ((node = list_first(&worker->trackers.changed)) != NULL) {
        struct prefix *prefix = LIST_ENTRY(node, struct prefix, node);
        const struct changed_key *keys;
        uint32_t count = prefix_changed(prefix, &keys);
        for (unsigned i = 0; i < worker->server->workers_count; i++) {
            if (prefix->counts[i] > 0) {
                tell_prefix(worker, i, prefix, keys, count);
            }
        }
        prefix_forget(prefix);
    }
}

static void post(struct worker *worker, unsigned to) {
    struct text *text = &worker->trackers.tell[to];
    struct news_message *message = must_malloc(sizeof *message + text->len);
    *message = (struct news_message){
        .message = {.kind = MESSAGE_TRACKING, .home = POST_ONE_WAY},
        .from = worker->id,
        .bytes = text->len,
    };
    memcpy(message->records, text->ptr, text->len);
    text_clear(text);
    worker->trackers.told[to]++;
    shared_tell_trackers(worker->server->shared, worker->id, to, worker->trackers.told[to]);
    post_send(worker->server->office, worker->id, to, &message->message);
}

void news_send(struct worker *worker) {
    struct trackers *trackers = &worker->trackers;
    tell_prefixes(worker);
    for (unsigned i = 0; i < worker->server->workers_count; i++) {
        if (i != worker->id && trackers->tell[i].len > 0) {
            post(worker, i);
        }
    }
    trackers->due = trackers->tell[worker->id].len > 0;
}
