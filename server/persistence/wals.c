/* SPDX-License-Identifier: BSD-3-Clause */
/* wals: see the header. */
#include "server/persistence/wals.h"

#include "base/must.h"
#include "net/rt.h"
#include "server/call/scatter.h"
#include "server/client/inner.h"
#include "server/observe/log.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/rotate.h"
#include "server/persistence/save.h"
#include "server/persistence/wal.h"
#include "server/replication/feed.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After something failed it is tried again as late as this. */
#define RETRY_MS 1000
/* From more than so many a log is rewritten though it is small. */
#define SEGMENTS_OF_SHARD 16

struct wals {
    struct worker *first;
    struct rotate rotate;
    char dir[4096], dir_name[256];
    bool preparing;
    bool ready; /* all have their next segment */
    int64_t tried_ms;
    uint64_t snapshot_bytes; /* of the last one */
    uint64_t base_bytes;     /* of that and the segments, when it was ready */
};

struct wals *wals_new(struct worker *first) {
    struct wals *wals = must_aligned(16, sizeof *wals);
    memset(wals, 0, sizeof *wals);
    wals->first = first;
    const struct fs *fs = first->server->fs;
    if (fs->current_dir(fs->arg, wals->dir, sizeof wals->dir) != 0) {
        strcpy(wals->dir, ".");
    }
    snprintf(wals->dir_name, sizeof wals->dir_name, "%s", first->config->appenddirname.ptr);
    return wals;
}

void wals_free(struct wals *wals) {
    if (wals != NULL) {
        rotate_fini(&wals->rotate);
        free(wals);
    }
}

/* ---- The cut ---- */

static enum wal_state state_of(const struct worker *worker) {
    return worker->wal != NULL ? worker->wal->state : WAL_OFF;
}

/* There is a log behind the cut. */
static bool cut_records(const struct wals *wals) {
    return state_of(wals->first) != WAL_OFF || wals->first->config->appendonly;
}

/* A file of before the last cut is written still. */
static bool is_closing(const struct wals *wals) {
    return cut_records(wals) && shared_wal_any_closing(wals->first->server->shared);
}

bool wals_are_fit(const struct server *server) {
    const struct wals *wals = server->wals;
    return (wals->ready || (state_of(wals->first) == WAL_OFF && !wals->preparing)) &&
           !is_closing(wals);
}

void wals_cut(struct worker *parker, struct wals_cut *ret, bool *ret_fit) {
    struct server *server = parker->server;
    struct wals *wals = server->wals;
    bool broken = shared_wal_error(server->shared) != 0;
    enum wal_state state = state_of(wals->first);
    *ret = (struct wals_cut){.shards = server->workers_count};
    *ret_fit = wals_are_fit(server);
    if (parker->wal != NULL && !broken) {
        wal_seal(parker->wal); /* the others did as they were parked */
    }
    bool goes_on = state == WAL_ON && !broken;
    if (!goes_on && wals->ready && !is_closing(wals) && cut_records(wals)) {
        /* What happened while nothing was recorded is in the snapshot alone. Without that a start
         * must not take what is recorded from now on: recovery ends at a number that is missing. */
#ifndef SHOAL_UNSAFE_LOG_SEQUEL /* the same */
        uint64_t number = shared_wal_draw(server->shared);
        if (parker->wal != NULL && parker->wal->feeds) {
            feed_void(parker, number);
        }
#endif
    }
    ret->first = shared_wal_count(server->shared) + 1;
    if (!wals->ready || is_closing(wals)) {
        return;
    }
    ret->is = true;
    ret->records = cut_records(wals);
    ret->sequences = must_calloc(ret->shards, sizeof *ret->sequences);
    for (unsigned i = 0; i < ret->shards; i++) {
        struct wal *wal = server->workers[i]->wal;
        ret->sequences[i] = wal->next.segment.sequence;
        if (ret->records) {
            wal_ask_cut(wal, goes_on ? WAL_ON : WAL_FILLING);
        }
    }
    if (ret->records) {
        wals->ready = false;
        shared_wal_fail(server->shared, 0);
    }
}

void wals_cut_manifest(const struct wals_cut *cut, struct manifest *manifest) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < manifest->count && cut->is; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        if (segment->shard < cut->shards && segment->sequence >= cut->sequences[segment->shard]) {
            manifest->segments[kept++] = *segment;
        }
    }
    manifest->count = kept;
    manifest->first = cut->first;
}

static uint64_t segments_bytes(const struct server *server) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < server->workers_count; i++) {
        bytes += shared_wal_bytes(server->shared, i);
    }
    return bytes;
}

void wals_saved(struct wals *wals, uint64_t bytes) {
    wals->snapshot_bytes = bytes;
    wals->base_bytes = bytes + segments_bytes(wals->first->server);
}

/* ---- The next segments ---- */

static void prepared(struct rotate *rotate, int error) {
    struct wals *wals = rotate->arg;
    wals->preparing = false;
    wals->ready = error == 0;
    wals->tried_ms = rt_mono_ms(wals->first->rt);
    if (error != 0) {
        log_worker(wals->first, LOG_WARNING, "The next segments of the log cannot be made: %s",
                   strerror(-error));
    }
    scatter_wake(wals->first);
}

void wals_prepared(struct wals *wals) {
    wals->ready = true;
}

void wals_unprepared(struct wals *wals) {
#ifndef SHOAL_UNSAFE_LOG_READY /* for the test that crashes in the simulator show it */
    wals->ready = false;
#endif
}

void wals_prepare(struct wals *wals) {
    wals->preparing = true;
    wals->rotate.home = wals->first;
    wals->rotate.data = &wals->first->server->saver->data;
    wals->rotate.dir = wals->dir;
    wals->rotate.dir_name = wals->dir_name;
    wals->rotate.awaits_snapshot = true;
    wals->rotate.done = prepared;
    wals->rotate.arg = wals;
    rotate_begin(&wals->rotate);
}

bool wals_await_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    struct wals *wals = worker->server->wals;
    bool *tried = result;
    if (wals_are_fit(worker->server) || worker->loop.stopping) {
        return true;
    }
    if (!wals->ready && !wals->preparing) {
        if (*tried) {
            return true;
        }
        *tried = true;
        wals_prepare(wals);
    }
    if (!wals->ready) {
        scatter_sleep(worker);
    }
    return false;
}

bool wals_is_busy(const struct wals *wals) {
    return wals->preparing;
}

/* ---- The end ---- */

bool wals_are_whole(const struct server *server) {
    bool wanted = server->wals->first->config->appendonly;
    for (unsigned i = 0; i < server->workers_count; i++) {
        enum wal_state state = state_of(server->workers[i]);
        if (state != WAL_ON && (wanted || state != WAL_OFF)) {
            return false;
        }
    }
    return shared_wal_error(server->shared) == 0;
}

bool wals_are_off(const struct server *server) {
    return !server->config->appendonly && state_of(server->wals->first) == WAL_OFF &&
           !wals_is_busy(server->wals) && !shared_wal_any_closing(server->shared);
}

bool wals_can_end(const struct server *server) {
    return state_of(server->wals->first) == WAL_OFF || !shared_wal_any_closing(server->shared);
}

void wals_end(struct server *server) {
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct wal *wal = server->workers[i]->wal;
        if (wal != NULL && wal->state != WAL_OFF) {
            wal_ask_cut(wal, WAL_OFF);
        }
    }
    shared_wal_fail(server->shared, 0);
}

/* ---- What is due ---- */

static void stop_run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct server *server = x->worker->server;
    reply_ok(x->reply);
    if (shared_wal_any_closing(server->shared)) { /* somebody has cut just before */
        return;
    }
    kill_point(server->kill_points, KILL_LOG_STOPS);
    wals_end(server);
}

static void stop(struct exec *x) {
    char nothing = 0;
    if (txn_holds_all(x->client)) {
        park_all(x, stop_run, &nothing, sizeof nothing);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

/* auto-aof-rewrite-percentage and -min-size. */
static bool has_grown(const struct wals *wals, const struct config *config) {
    uint64_t bytes = wals->snapshot_bytes + segments_bytes(wals->first->server);
    uint64_t base = wals->base_bytes > 0 ? wals->base_bytes : 1;
    return config->auto_aof_rewrite_percentage > 0 &&
           bytes > (uint64_t)config->auto_aof_rewrite_min_size && bytes > base &&
           (bytes - base) * 100 / base >= (uint64_t)config->auto_aof_rewrite_percentage;
}

/* Each life that writes leaves a segment a shard, however short it is: a start opens and reads all
 * of them. */
static bool has_many_segments(const struct wals *wals, const struct config *config) {
    const struct server *server = wals->first->server;
    return config->auto_aof_rewrite_percentage > 0 &&
           server->saver->data.manifest.count > SEGMENTS_OF_SHARD * server->workers_count;
}

void wals_cron(struct worker *worker) {
    struct wals *wals = worker->server->wals;
    struct saver *saver = worker->server->saver;
    const struct config *config = worker->config;
    enum wal_state state = state_of(worker);
    bool begins = config->appendonly && state != WAL_ON;
    if (LIKELY(!config->appendonly && state == WAL_OFF)) {
        return;
    }
    if (worker->loop.stopping || shared_loading(worker->server->shared) || wals->preparing ||
        saver->save != NULL || saver->rewrite_scheduled ||
        shared_wal_any_closing(worker->server->shared)) {
        return;
    }
    if (!config->appendonly) {
        inner_run(worker->inner, stop);
    } else if (begins || !wals->ready) {
        int64_t now_ms = rt_mono_ms(worker->rt);
        if (wals->tried_ms != 0 && now_ms - wals->tried_ms < RETRY_MS) {
            return;
        }
        wals->tried_ms = now_ms;
        if (!wals->ready) {
            wals_prepare(wals);
            wals->tried_ms = 0;
        } else {
            saver->rewrite_scheduled = true;
        }
    } else if (has_grown(wals, config) || has_many_segments(wals, config)) {
        log_worker(worker, LOG_NOTICE, "Starting automatic rewriting of AOF");
        saver->rewrite_scheduled = true;
    }
}

struct wals_state wals_state(const struct server *server) {
    const struct wals *wals = server->wals;
    const struct worker *worker = wals->first;
    enum wal_state state = state_of(worker);
    return (struct wals_state){
        .on = state == WAL_ON || state == WAL_FILLING || state == WAL_BROKEN,
        .begins = worker->config->appendonly && state != WAL_ON,
        .bytes = wals->snapshot_bytes + segments_bytes(server),
        .base_bytes = wals->base_bytes,
    };
}
