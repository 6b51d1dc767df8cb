/* SPDX-License-Identifier: BSD-3-Clause */
/* load: see the header. Invariants
 *  1. Nobody's command sees a key before shared_loading says that it is over: by then every shard
 *     is complete, and its worker has said so in a message.
 *  2. A worker that has something to tell worker 0 tells it once. From then on it does nothing
 *     until it is told that loading is over; or the process ends.
 */
#include "server/persistence/load_private.h"

#include "base/check.h"
#include "base/must.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* No manifest has more. */
#define MANIFEST_BYTES_MAX ((size_t)64 << 20)
#define PIECE_BYTES        ((size_t)64 << 10)
/* Of loading in a turn, so that whoever asks meanwhile is told soon. */
#define SLICE_US 5000
/* A shorter rest is saved up. */
#define DELAY_LEAST_US 2000

/* ---- The plan ---- */

/* The whole of a small file; 0 or -errno. */
static int read_small(const struct fs *fs, const char *path, struct text *ret) {
    int file;
    int error = fs->open_data(fs->arg, path, false, 0, &file);
    if (error != 0) {
        return error;
    }
    ssize_t n;
    do {
        text_reserve(ret, PIECE_BYTES);
        n = fs->read_data(fs->arg, file, ret->ptr + ret->len, PIECE_BYTES);
        ret->len += n > 0 ? (size_t)n : 0;
        ret->ptr[ret->len] = 0;
        if (ret->len > MANIFEST_BYTES_MAX) {
            n = -EFBIG;
        }
    } while (n > 0);
    fs->close_data(fs->arg, file, false);
    return (int)n;
}

static void say_wrong(struct text *why, const char *path, const char *reason) {
    text_appendf(why, "%s is not loaded: %s.", path, reason);
}

/* What to do then. */
static void say_repair(struct text *why, const struct load *load) {
    text_appendf(why,
                 " Nothing was changed. 'shoal-check verify %.*s' says what is there and how to "
                 "repair it.",
                 (int)(load->dir.len - 1), load->dir.ptr);
}

static bool plan_manifest(struct server *server, struct load *load, bool *ret_there,
                          struct text *why) {
    struct text path, content;
    text_init(&path);
    text_init(&content);
    text_append_bytes(&path, text_bytes(&load->dir));
    text_append_text(&path, MANIFEST_NAME);
    int error = read_small(server->fs, path.ptr, &content);
    *ret_there = error != -ENOENT;
    const char *wrong = NULL;
    if (error == 0) {
        wrong = manifest_decode(text_bytes(&content), &load->manifest);
    } else if (*ret_there) {
        wrong = strerror(-error);
    }
    if (wrong == NULL && load->manifest.count > 0) {
        wrong = "it names segments of a log, which this version does not read";
    }
    if (wrong != NULL) {
        say_wrong(why, path.ptr, wrong);
        say_repair(why, load);
    }
    text_fini(&path);
    text_fini(&content);
    return wrong == NULL;
}

static struct load *load_new(const struct server *server) {
    struct load *load = must_calloc(1, sizeof *load);
    text_init(&load->dir);
    text_init(&load->failure);
    manifest_init(&load->manifest);
    text_append_bytes(&load->dir, server->config->appenddirname);
    text_append_text(&load->dir, "/");
    load->start_us = rt_wall_us_early();
    load->now_ms = load->start_us / 1000;
    load->left = server->workers_count;
    load->over = must_calloc(server->workers_count, sizeof *load->over);
    return load;
}

void load_free(struct load *load) {
    if (load != NULL) {
        text_fini(&load->dir);
        text_fini(&load->failure);
        manifest_fini(&load->manifest);
        free(load->keys);
        free(load->over);
        free(load);
    }
}

const char *load_failure(const struct load *load) {
    return load != NULL && load->failure.len > 0 ? load->failure.ptr : NULL;
}

bool load_plan(struct server *server, struct text *ret_said, struct text *why) {
    shared_set_saved_at(server->shared, rt_wall_us_early() / 1000000);
    struct load *load = load_new(server);
    bool there;
    if (!plan_manifest(server, load, &there, why)) {
        load_free(load);
        return false;
    }
    if (!there || load->manifest.bases_count == 0) {
        load_free(load);
        return true;
    }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < load->manifest.bases_count; i++) {
        bytes += load->manifest.bases[i].bytes;
    }
    load->keys = must_calloc(load->manifest.bases_count, sizeof *load->keys);
    shared_begin_loading(server->shared, load->start_us / 1000000, bytes);
    server->load = load;
    text_appendf(ret_said,
                 "Loading the snapshot of generation %llu from %.*s: %u files, %llu bytes",
                 (unsigned long long)load->manifest.generation, (int)load->dir.len - 1,
                 load->dir.ptr, load->manifest.bases_count, (unsigned long long)bytes);
    return true;
}

/* ---- A worker's share ---- */

void load_begin(struct worker *worker) {
    struct load *load = worker->server->load;
    if (load == NULL) {
        return;
    }
    struct load_worker *self = must_calloc(1, sizeof *self);
    self->worker = worker;
    self->load = load;
    text_init(&self->error);
    self->keys = must_calloc(load->manifest.bases_count, sizeof *self->keys);
    worker->load = self;
    worker_set_expiry(worker);
    self->bases = load_bases_new(self);
}

void load_end(struct worker *worker) {
    struct load_worker *self = worker->load;
    if (self != NULL) {
        load_bases_free(self->bases);
        text_fini(&self->error);
        free(self->keys);
        free(self);
        worker->load = NULL;
    }
}

void load_fail(struct load_worker *self, const char *path, uint64_t at, const char *reason) {
    text_appendf(&self->error, "%s is not loaded: at byte %llu: %s.", path, (unsigned long long)at,
                 reason);
    say_repair(&self->error, self->load);
}

static void tell(struct load_worker *self) {
    struct worker *worker = self->worker;
    self->told = true;
    self->news = (struct message){.kind = MESSAGE_LOAD_NEWS, .home = POST_ONE_WAY};
    if (worker->id == 0) {
        load_news_arrived(worker, &self->news);
    } else {
        post_send(worker->server->office, worker->id, 0, &self->news);
    }
}

bool load_delay(struct load_worker *self, uint64_t keys) {
    int64_t delay = self->worker->config->key_load_delay;
    if (LIKELY(delay == 0)) {
        return false;
    }
    /* As Valkey has it: microseconds for a key, or, if it is negative, keys for a microsecond. */
    self->delay_us += delay > 0 ? keys * (uint64_t)delay : keys / (uint64_t)-delay;
    if (self->delay_us < DELAY_LEAST_US) {
        return false;
    }
    self->wait_ms = rt_wall_us(self->worker->rt) / 1000 + (int64_t)(self->delay_us / 1000);
    self->delay_us %= 1000;
    return true;
}

int64_t load_some(struct worker *worker) {
    struct load_worker *self = worker->load;
    int64_t now_ms = rt_wall_ms(worker->rt);
    if (self->told || worker->loop.stopping) {
        return INT64_MAX;
    }
    if (now_ms < self->wait_ms) {
        return self->wait_ms;
    }
    uint64_t end = rt_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, SLICE_US * 1000);
    switch (load_bases_some(self->bases, end)) {
    case LOAD_GOES_ON:
        return now_ms;
    case LOAD_WAITS:
        return INT64_MAX;
    case LOAD_RESTS:
        return self->wait_ms;
    case LOAD_IS_DONE:
        load_bases_free(self->bases);
        self->bases = NULL;
        break;
    case LOAD_FAILED:
        break;
    }
    tell(self);
    return INT64_MAX;
}

void load_over_arrived(struct worker *worker, struct message *message) {
    (void)message;
    load_end(worker);
    worker_set_expiry(worker);
}

/* ---- Worker 0 ---- */

static void end_all(struct worker *worker) {
    struct server *server = worker->server;
    struct load *load = server->load;
    shared_end_loading(server->shared);
    for (unsigned i = 1; i < server->workers_count; i++) {
        load->over[i] = (struct message){.kind = MESSAGE_LOAD_OVER, .home = POST_ONE_WAY};
        post_send(server->office, 0, i, &load->over[i]);
    }
    load_over_arrived(worker, NULL);
}

static void say_loaded(struct worker *worker, const struct load *load) {
    const struct rdb_loaded *sum = &load->sum;
    struct text said;
    text_init(&said);
    int64_t us = rt_wall_us(worker->rt) - load->start_us;
    text_appendf(&said, "DB loaded from %.*s: %llu keys, %llu were over, %lld.%03lld seconds",
                 (int)load->dir.len - 1, load->dir.ptr, (unsigned long long)sum->keys,
                 (unsigned long long)sum->expired, (long long)(us / 1000000),
                 (long long)(us / 1000 % 1000));
    if (sum->empty > 0) {
        text_appendf(&said, "; %llu empty collections were left out",
                     (unsigned long long)sum->empty);
    }
    log_worker(worker, LOG_NOTICE, "%s", said.ptr);
    text_fini(&said);
}

/* What the frames say has been compared with the manifest; that is what was found in them. */
static bool keys_agree(struct load *load) {
    for (uint32_t i = 0; i < load->manifest.bases_count; i++) {
        const struct manifest_base *base = &load->manifest.bases[i];
        if (load->keys[i] != base->keys) {
            char name[MANIFEST_NAME_BYTES];
            manifest_base_name(name, load->manifest.generation, base->shard);
            text_appendf(&load->failure, "%s%s is not loaded: it has %llu keys, it counts %llu.",
                         load->dir.ptr, name, (unsigned long long)load->keys[i],
                         (unsigned long long)base->keys);
            say_repair(&load->failure, load);
            return false;
        }
    }
    return true;
}

static void give_up(struct worker *worker) {
    log_worker(worker, LOG_WARNING, "Loading has failed: the server ends.");
    server_shutdown(worker->server, worker->rt);
}

void load_news_arrived(struct worker *worker, struct message *message) {
    const struct load_worker *from = (const struct load_worker *)message;
    struct server *server = worker->server;
    struct load *load = server->load;
    if (load->failure.len > 0) {
        return;
    }
    if (from->error.len > 0) {
        text_append_bytes(&load->failure, text_bytes(&from->error));
        give_up(worker);
        return;
    }
    for (uint32_t i = 0; i < load->manifest.bases_count; i++) {
        load->keys[i] += from->keys[i];
    }
    load->sum.keys += from->loaded.keys;
    load->sum.expired += from->loaded.expired;
    load->sum.empty += from->loaded.empty;
    load->sum.functions += from->loaded.functions;
    check(load->left > 0);
    if (--load->left > 0) {
        return;
    }
    if (!keys_agree(load)) {
        give_up(worker);
        return;
    }
    shared_set_loaded(server->shared, load->sum.keys, load->sum.expired);
    say_loaded(worker, load);
    end_all(worker);
    if (server->ready != NULL) {
        server->ready(server);
    }
}
