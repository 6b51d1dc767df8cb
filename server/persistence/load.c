/* SPDX-License-Identifier: BSD-3-Clause */
/* load: see the header. Invariants
 *  1. Nobody's command sees a key before shared_loading says that it is over: by then every shard
 *     is complete, and its worker has said so in a message.
 *  2. A worker that has something to tell worker 0 tells it once. From then on it does nothing but
 *     shares of the log that it is given, until it is told that loading is over; or the process
 * ends.
 */
#include "server/persistence/load_private.h"

#include "base/check.h"
#include "base/must.h"
#include "server/call/scatter.h"
#include "server/observe/log.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/redo.h"
#include "server/script/library_dump.h"
#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* Of loading in a turn, so that whoever asks meanwhile is told soon. */
#define SLICE_US 5000
/* So often the log says how far it is. */
#define PROGRESS_MS 5000
/* So long commands wait for a load that is small. Valkey serves nobody before it has read some of
 * it, and clients that come with the start of a server know no -LOADING of a few keys. */
#define BRIEF_MS 1000
/* A shorter rest is saved up. */
#define DELAY_LEAST_US 2000

/* ---- Reasons ---- */

const char *load_failure(const struct load *load) {
    return load != NULL && load->failure.len > 0 ? load->failure.ptr : NULL;
}

void load_fail(struct load_worker *self, const char *path, uint64_t at, const char *reason) {
    text_appendf(&self->error, "%s is not loaded: at byte %llu: %s.", path, (unsigned long long)at,
                 reason);
    load_say_repair(&self->error, self->load);
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
    kill_point(worker->server->kill_points, KILL_START_PLANNED);
    text_init(&self->error);
    worker->load = self;
    worker_set_expiry(worker);
    if (load->bases) {
        self->keys = must_calloc(load->manifest.bases_count, sizeof *self->keys);
        self->bases = load_bases_new(self);
    } else if (worker->id == 0) {
        self->files = load_files_new(self);
    }
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (worker->id == 0) {
        load->said_ms = now_ms;
    }
    if (shared_loading_progress(worker->server->shared).bytes <=
        (uint64_t)worker->config->loading_process_events_interval_bytes) {
        self->brief_ms = now_ms + BRIEF_MS;
        worker->pause.brief = true;
    }
}

static void end_brief(struct load_worker *self) {
    struct pause *pause = &self->worker->pause;
    self->brief_ms = 0;
    pause->let_go |= pause->brief;
    pause->brief = false;
}

static void drop_readers(struct load_worker *self) {
    load_bases_free(self->bases);
    load_files_free(self->files);
    self->bases = NULL;
    self->files = NULL;
}

void load_end(struct worker *worker) {
    struct load_worker *self = worker->load;
    if (self != NULL) {
        drop_readers(self);
        text_fini(&self->error);
        if (self->load->lost == NULL || !*self->load->lost) { /* else all goes first (load_again) */
            end_brief(self);
        }
        free(self->keys);
        free(self);
        worker->load = NULL;
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

/* How far it is, for who follows the log. */
static void say_progress(struct worker *worker, struct load *load) {
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (worker->id == 0 && now_ms - load->said_ms >= PROGRESS_MS) {
        load->said_ms = now_ms;
        struct shared_progress progress = shared_loading_progress(worker->server->shared);
        log_worker(worker, LOG_NOTICE, "Loading: %llu of %llu bytes",
                   (unsigned long long)progress.loaded_bytes, (unsigned long long)progress.bytes);
    }
}

/* Of files of others: with all shards at hand, if that is needed and has been granted. */
static enum load_step files_some(struct load_worker *self, uint64_t end) {
    struct alone *alone = &self->load->alone;
    enum load_step step = load_files_some(self->files, end);
    if (alone_is(alone)) {
        alone_over(alone, self->worker);
    }
    if (step == LOAD_GOES_ON && load_files_want_all(self->files)) {
        alone_ask(alone, self->worker);
        step = alone_is(alone) ? LOAD_GOES_ON : LOAD_WAITS;
    }
    return step;
}

/* The same for the log. True: there is more to do at once. */
static bool log_some(struct worker *worker, struct load *load) {
    struct alone *alone = &load->alone;
    if (load->resumes) {
        load_resume(worker);
        return false;
    }
    if (load->log_waits) {
        load_log_begin(worker);
        return load->log_waits;
    }
    uint64_t end = rt_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, SLICE_US * 1000);
    if (alone_is(alone)) {
        load_log_alone(load, end);
        alone_over(alone, worker);
    } else if (alone->asked) {
        return false;
    }
    enum recover_step step = load_log_step(load, end);
    if (step == RECOVER_WANTS_ALL) {
        alone_ask(alone, worker);
        return alone_is(alone);
    }
    return step == RECOVER_GOES_ON;
}

/* Its share of the log. True: there is more to do at once. */
static bool share_some(struct load_worker *self) {
    struct worker *worker = self->worker;
    uint64_t end = rt_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, SLICE_US * 1000);
    if (!redo_share_some(self->share, end)) {
        return true;
    }
    self->share = NULL;
    return false;
}

/* The server goes on, so nothing may stay half there: with all shards at hand. */
static void fail_whole(struct load_worker *self) {
    struct alone *alone = &self->load->alone;
    self->fails = true;
    if (self->files != NULL && load_files_hold_value(self->files)) {
        alone_ask(alone, self->worker);
        if (!alone_is(alone)) {
            return;
        }
        load_files_drop_value(self->files);
        alone_over(alone, self->worker);
    }
    drop_readers(self);
    tell(self);
}

/* Those who wait for it are told once it has taken too long. Ms until then. */
static int64_t brief_left(struct load_worker *self) {
    int64_t left = self->brief_ms - rt_mono_ms(self->worker->rt);
    if (left <= 0) {
        end_brief(self);
    }
    return left;
}

static int64_t load_slice(struct worker *worker) {
    struct load_worker *self = worker->load;
    int64_t now_ms = rt_wall_ms(worker->rt);
    if (UNLIKELY(self->fails) && !self->told && !self->stops) {
        fail_whole(self);
        return INT64_MAX;
    }
    /* The log is worker 0's: others do not look whether it is there. */
    const struct load *load = self->load;
    if (worker->id == 0 && (load->log != NULL || load->log_waits || load->resumes) &&
        !self->stops && !worker->loop.stopping) {
        say_progress(worker, self->load);
        return log_some(worker, self->load) ? now_ms : INT64_MAX;
    }
    if (self->share != NULL && !worker->loop.stopping) {
        return share_some(self) ? now_ms : INT64_MAX;
    }
    bool nothing = self->bases == NULL && self->files == NULL;
    if (nothing || self->told || self->stops || worker->loop.stopping) {
        return INT64_MAX;
    }
    say_progress(worker, self->load);
    if (now_ms < self->wait_ms) {
        return self->wait_ms;
    }
    uint64_t end = rt_ticks(worker->rt) + rt_ns_to_ticks(worker->rt, SLICE_US * 1000);
    switch (self->bases != NULL ? load_bases_some(self->bases, end) : files_some(self, end)) {
    case LOAD_GOES_ON:
        return now_ms;
    case LOAD_WAITS:
        return INT64_MAX;
    case LOAD_RESTS:
        return self->wait_ms;
    case LOAD_IS_DONE:
        if (self->files != NULL) {
            self->load->requests = load_files_requests(self->files);
        }
        drop_readers(self);
        break;
    case LOAD_FAILED:
        if (self->load->lost != NULL) {
            fail_whole(self);
            return INT64_MAX;
        }
        break;
    }
    tell(self);
    return INT64_MAX;
}

bool load_stop(struct worker *worker) {
    struct load_worker *self = worker->load;
    if (self == NULL || (self->files == NULL && worker->id != 0)) {
        return true;
    }
    struct alone *alone = &self->load->alone;
    self->stops = true;
    if (self->files == NULL) {
        if (alone_is(alone)) {
            alone_over(alone, worker);
        }
        return !alone->asked;
    }
    if (load_files_hold_value(self->files)) {
        alone_ask(alone, worker);
    }
    if (alone->asked && !alone_is(alone)) {
        return false;
    }
    if (load_files_hold_value(self->files)) {
        load_files_drop_value(self->files);
    }
    alone_over(alone, worker);
    return true;
}

void load_alone_granted(struct worker *worker, struct message *message) {
    (void)message; /* load_some looks, in this turn */
    struct alone *alone = &worker->server->load->alone;
    check(alone->away > 0);
    alone->away--;
}

void load_share_arrived(struct worker *worker, struct message *message) {
    struct load_worker *self = worker->load;
    check(self != NULL && self->share == NULL);
    self->share = redo_share_of(message);
}

void load_share_home(struct worker *worker, struct message *message) {
    (void)worker; /* load_some looks, in this turn */
    redo_share_home(message);
}

int64_t load_some(struct worker *worker) {
    int64_t wall_ms = rt_wall_ms(worker->rt);
    bool brief = worker->load->brief_ms > 0;
    int64_t left = brief ? brief_left(worker->load) : 0;
    int64_t next_ms = load_slice(worker), again_ms = wall_ms + (left > 0 ? left : 0);
    return brief && again_ms < next_ms ? again_ms : next_ms;
}

static void leave(struct worker *worker) {
    load_end(worker);
    worker_set_expiry(worker);
    scatter_wake(worker); /* who asked for it */
}

void load_over_arrived(struct worker *worker, struct message *message) {
    if (worker->load != NULL) {
        leave(worker);
    }
    message->kind = MESSAGE_LOAD_LEFT;
    post_send(worker->server->office, worker->id, message->home, message);
}

/* ---- Worker 0 ---- */

static void end_all(struct worker *worker) {
    struct server *server = worker->server;
    struct load *load = server->load;
    shared_end_loading(server->shared);
    leave(worker);
    load->left = server->workers_count;
    for (unsigned i = 0; i < server->workers_count; i++) {
        load->over[i] = (struct message){.kind = MESSAGE_LOAD_OVER, .home = (uint16_t)worker->id};
        post_send(server->office, worker->id, i, &load->over[i]);
    }
}

/* It knows the place of each record of the log: much, if that was long. Not in end_all, which the
 * log's own start calls. */
void load_left_arrived(struct worker *worker, struct message *message) {
    (void)message;
    struct server *server = worker->server;
    if (--server->load->left == 0) {
        load_free(server->load);
        server->load = NULL;
    }
}

bool load_library(void *arg, struct bytes code) {
    struct worker *worker = arg;
    struct text why;
    text_init(&why);
    bool good = library_dump_add(worker, code, worker->server->libraries, LIBRARIES_APPEND, &why);
    if (!good) {
        log_worker(worker, LOG_WARNING, "A library of functions does not load: %s", why.ptr);
    }
    text_fini(&why);
    return good;
}

static void say_loaded(struct worker *worker, const struct load *load) {
    const struct rdb_loaded *sum = &load->sum;
    struct text said;
    text_init(&said);
    int64_t us = rt_wall_us(worker->rt) - load->start_us;
    text_appendf(&said, "DB loaded from %.*s: %llu keys, %llu were over, %lld.%03lld seconds",
                 (int)load->dir.len - load->bases, load->dir.ptr, (unsigned long long)sum->keys,
                 (unsigned long long)sum->expired, (long long)(us / 1000000),
                 (long long)(us / 1000 % 1000));
    if (load->aof) {
        text_appendf(&said, "; %llu commands", (unsigned long long)load->requests);
    }
    if (sum->functions > 0) {
        text_appendf(&said, "; %llu libraries of functions", (unsigned long long)sum->functions);
    }
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
            load_say_repair(&load->failure, load);
            return false;
        }
    }
    return true;
}

void load_give_up(struct worker *worker) {
    struct load *load = worker->server->load;
    if (load->lost != NULL) {
        log_worker(worker, LOG_WARNING, "%s", load->failure.ptr);
        *load->lost = true;
        end_all(worker);
        return;
    }
    log_worker(worker, LOG_WARNING, "Fatal error loading the DB, check server logs. Exiting.");
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
        load_give_up(worker);
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
        load_give_up(worker);
        return;
    }
    if (load->bases ? load->manifest.bases_count > 0 : load->files_count > 0) {
        shared_set_loaded(server->shared, load->sum.keys, load->sum.expired);
        say_loaded(worker, load);
    }
    load_log_begin(worker);
}

void load_complete(struct worker *worker) {
    bool again = worker->server->load->again;
    kill_point(worker->server->kill_points, KILL_START_OVER);
    if (!again) {
        load_clean(worker->server, worker->server->load);
    }
    end_all(worker);
    if (worker->server->ready != NULL && !again) {
        worker->server->ready(worker->server);
    }
}
