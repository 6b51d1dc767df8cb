/* SPDX-License-Identifier: BSD-3-Clause */
/* due: see the header. */
#include "server/persistence/due.h"

#include "net/rt.h"
#include "server/call/scatter.h"
#include "server/client/inner.h"
#include "server/observe/log.h"
#include "server/persistence/save.h"
#include "server/persistence/wals.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <signal.h>

/* After a save that failed the next that is due waits so long. */
#define RETRY_SECONDS 5

/* ---- Waiting for the end of a save ---- */

struct ended_part {
    bool well;
};

static bool wait_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    const struct saver *saver = saver_of(worker->server);
    struct ended_part *part = result;
    part->well = saver->ended_well;
    if (saver->save != NULL) {
        scatter_sleep(worker);
    }
    return saver->save == NULL;
}

void save_wait(struct exec *x, const void *args, size_t args_bytes, scatter_done_fn *done) {
    scatter_one(x, 0, wait_part, sizeof(struct ended_part), args, args_bytes, done);
}

void save_wait_for_log(struct exec *x, const void *args, size_t args_bytes, scatter_done_fn *done) {
    scatter_one(x, 0, wals_await_part, WALS_AWAIT_BYTES, args, args_bytes, done);
}

bool save_ended_well(const struct scatter_result *result) {
    return ((const struct ended_part *)result->parts[0])->well;
}

/* ---- What is due ---- */

static struct saver *saver_at(const struct exec *x) {
    return saver_of(x->worker->server);
}

/* If nothing has begun meanwhile. */
static void due_run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    if (saver_at(x)->save == NULL) {
        save_begin(x->worker, *(const enum save_purpose *)args);
    }
    reply_ok(x->reply);
}

static void due(struct exec *x, enum save_purpose purpose) {
    if (txn_holds_all(x->client)) {
        park_all(x, due_run, &purpose, sizeof purpose);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

static void due_save(struct exec *x) {
    due(x, SAVE_BACKGROUND);
}

static void due_rewrite(struct exec *x) {
    due(x, SAVE_REWRITE);
}

/* The save point that is reached; or NULL. */
static const struct config_save *point_reached(const struct worker *worker,
                                               const struct saver *saver, int64_t now) {
    const struct config_saves *points = &worker->config->save;
    if (points->count == 0 ||
        (saver->saves.failed && now - saver->saves.tried_at <= RETRY_SECONDS)) {
        return NULL;
    }
    const struct shared_counters *shared = worker->server->shared;
    int64_t passed = now - shared_saved_at(shared);
    uint64_t changes = shared_changes(shared);
    for (size_t i = 0; i < points->count; i++) {
        const struct config_save *point = &points->items[i];
        if (changes >= (uint64_t)point->changes && passed > point->seconds) {
            return point;
        }
    }
    return NULL;
}

void save_cron(struct worker *worker) {
    struct saver *saver = saver_of(worker->server);
    int64_t now = rt_wall_ms(worker->rt) / 1000;
    if (saver->save != NULL || worker->loop.stopping || shared_loading(worker->server->shared)) {
        return;
    }
    bool may = !saver->saves.failed || now - saver->saves.tried_at > RETRY_SECONDS;
    const struct config_save *point = point_reached(worker, saver, now);
    if (saver->rewrite_scheduled) {
        inner_run(worker->inner, due_rewrite);
    } else if (point != NULL) {
        if (inner_run(worker->inner, due_save)) {
            log_worker(worker, LOG_NOTICE, "%lld changes in %lld seconds. Saving...",
                       (long long)point->changes, (long long)point->seconds);
        }
    } else if (saver->save_scheduled && may) {
        inner_run(worker->inner, due_save);
    }
}

void save_flushed(struct worker *worker) {
    struct saver *saver = saver_of(worker->server);
    if (worker->config->save.count == 0) {
        return;
    }
    if (saver->save != NULL && saver->purpose == SAVE_BACKGROUND) {
        save_cancel(saver);
    }
    saver->save_scheduled = true;
}

/* ---- The end ---- */

bool save_before_end(const struct worker *worker, bool save, bool nosave) {
    bool whole = !shared_loading(worker->server->shared);
    return whole && (save || (worker->config->save.count > 0 && !nosave));
}

struct shut {
    bool force;
    bool waited; /* for the log */
};

static void shut_run(struct exec *x, struct view *view, const void *args);

static void shut_again(struct exec *x, const struct scatter_result *result) {
    park_all(x, shut_run, result->args, sizeof(struct shut));
}

/* What was changed after the last save must not be answered: so the locks are held until nobody is
 * left to be answered. */
static bool hold_part(struct worker *worker, const void *args, void *result) {
    (void)args, (void)result;
    scatter_sleep(worker);
    return worker->loop.nobody_left;
}

static void hold_done(struct exec *x, const struct scatter_result *result) {
    (void)x, (void)result; /* no reply: the connection has ended */
}

static void shut_ended(struct exec *x, const struct scatter_result *result) {
    struct worker *worker = x->worker;
    struct server *server = worker->server;
    bool force = ((const struct shut *)result->args)->force;
    if (save_ended_well(result) || force) {
        char nothing = 0;
        server_shutdown(server, worker->rt);
        scatter_one(x, 0, hold_part, 1, &nothing, 1, hold_done);
        return;
    }
    if (inner_is(worker, x->client)) { /* first: who reads the log may send the next signal */
        worker->loop.saves_for_signal = false;
        server_stays(server);
    }
    log_worker(worker, LOG_WARNING, "Error trying to save the DB, can't exit.");
    log_worker(worker, LOG_WARNING,
               "Errors trying to shut down the server. Check the logs for more information.");
    reply_error(x->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
}

static void shut_run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    struct saver *saver = saver_at(x);
    if (saver->save != NULL) {
        log_worker(x->worker, LOG_WARNING,
                   saver->purpose == SAVE_REWRITE
                       ? "There is a child rewriting the AOF. Killing it!"
                       : "There is a child saving an .rdb. Killing it!");
        save_cancel(saver);
        save_wait(x, args, sizeof(struct shut), shut_again);
        return;
    }
    struct shut shut = *(const struct shut *)args;
    if (!shut.waited && save_waits_for_log(x->worker, SAVE_WAITED_FOR)) {
        shut.waited = true;
        save_wait_for_log(x, &shut, sizeof shut, shut_again);
        return;
    }
    log_worker(x->worker, LOG_NOTICE, "Saving the final RDB snapshot before exiting.");
    save_begin(x->worker, SAVE_WAITED_FOR);
    save_wait(x, args, sizeof(struct shut), shut_ended);
}

void save_and_shut_down(struct exec *x, bool force) {
    struct shut shut = {.force = force};
    park_all(x, shut_run, &shut, sizeof shut);
}

static void shut_for_signal(struct exec *x) {
    if (!txn_holds_all(x->client)) {
        txn_hold_all(x);
        return;
    }
    const struct config *config = x->worker->config;
    unsigned words = shared_stop_signal(x->worker->server->shared) == SIGINT
                         ? config->shutdown_on_sigint
                         : config->shutdown_on_sigterm;
    save_and_shut_down(x, (words & CONFIG_SHUTDOWN_FORCE) != 0);
}

bool save_for_signal(struct worker *worker) {
    return inner_run(worker->inner, shut_for_signal);
}
