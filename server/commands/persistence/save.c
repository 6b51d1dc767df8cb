/* SPDX-License-Identifier: BSD-3-Clause */
/* save: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE.
 *
 * A save begins at one moment of all shards: a transaction holds all locks, and who has parked the
 * workers looks whether another one is under way, and makes the cut (server/persistence/save.h).
 * From then on BGSAVE is answered; SAVE goes on holding the locks until worker 0 says that it is
 * over, and no thread waits for a disk meanwhile.
 */
#include "server/persistence/save.h"
#include "server/call/errors.h"
#include "server/call/scatter.h"
#include "server/commands/persistence/persistence.h"
#include "server/observe/log.h"
#include "server/persistence/due.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"

static struct saver *saver_at(const struct exec *x) {
    return saver_of(worker_server(x->worker));
}

static bool in_exec(const struct exec *x) {
    uint32_t done;
    return txn_exec_queue(x->client, &done) != NULL;
}

/* Runs it in a view of all shards. */
static void with_all(struct exec *x, park_run_fn *run, const void *args, size_t args_bytes) {
    if (txn_holds_all(x->client)) {
        park_all(x, run, args, args_bytes);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

/* ---- SAVE ---- */

static void save_ended(struct exec *x, const struct scatter_result *result) {
    if (save_ended_well(result)) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR");
    }
}

/* `args`: it has waited for the log. */
static void save_run(struct exec *x, struct view *view, const void *args);

static void save_again(struct exec *x, const struct scatter_result *result) {
    park_all(x, save_run, result->args, sizeof(bool));
}

static void save_run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    const struct saver *saver = saver_at(x);
    bool waited = *(const bool *)args;
    if (saver->save == NULL && !waited && save_waits_for_log(x->worker, SAVE_WAITED_FOR)) {
        waited = true;
        save_wait_for_log(x, &waited, sizeof waited, save_again);
    } else if (saver->save == NULL) {
        save_begin(x->worker, SAVE_WAITED_FOR);
        save_wait(x, args, sizeof waited, save_ended);
    } else if (saver->purpose == SAVE_REWRITE) {
        save_wait(x, args, sizeof waited, save_again);
    } else {
        reply_error(x->reply, "ERR Background save already in progress");
    }
}

void command_save(struct exec *x) {
    bool waited = false;
    with_all(x, save_run, &waited, sizeof waited);
}

void command_lastsave(struct exec *x) {
    reply_int(x->reply, shared_saved_at(worker_server(x->worker)->shared));
}

/* ---- BGSAVE ---- */

static bool cancel_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    const char **said = result;
    struct saver *saver = saver_of(worker_server(worker));
    if (saver->save != NULL && saver->purpose == SAVE_BACKGROUND && save_cancel(saver)) {
        log_worker(worker, LOG_NOTICE, "Background saving will be aborted due to user request");
        *said = "Background saving cancelled";
    } else if (saver->save_scheduled) {
        log_worker(worker, LOG_NOTICE,
                   "Scheduled background saving will be cancelled due to user request");
        saver->save_scheduled = false;
        *said = "Scheduled background saving cancelled";
    }
    return true;
}

static void cancel_done(struct exec *x, const struct scatter_result *result) {
    const char *said = *(const char *const *)result->parts[0];
    if (said != NULL) {
        reply_status(x->reply, said);
    } else {
        reply_error(x->reply, "ERR Background saving is currently not in progress or scheduled");
    }
}

/* What is said of one that cannot begin now; `later`: it is scheduled, if that helps. */
static void answer_busy(struct exec *x, struct saver *saver, bool later) {
    if (saver->save != NULL && saver->purpose != SAVE_REWRITE) {
        reply_error(x->reply, "ERR Background save already in progress");
    } else if (later) {
        saver->save_scheduled = true;
        reply_status(x->reply, "Background saving scheduled");
    } else {
        reply_error(x->reply, "ERR Another child process is active (AOF?): can't BGSAVE right now. "
                              "Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever "
                              "possible.");
    }
}

static void bgsave_run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    struct saver *saver = saver_at(x);
    if (saver->save == NULL) {
        save_begin(x->worker, SAVE_BACKGROUND);
        reply_status(x->reply, "Background saving started");
    } else {
        answer_busy(x, saver, *(const bool *)args);
    }
}

/* Inside EXEC it comes after it. */
struct later_part {
    bool busy; /* one of its kind is under way */
};

static bool later_part(struct worker *worker, const void *args, void *result) {
    enum save_purpose purpose = *(const enum save_purpose *)args;
    struct saver *saver = saver_of(worker_server(worker));
    struct later_part *part = result;
    bool rewrites = purpose == SAVE_REWRITE;
    part->busy = saver->save != NULL && (saver->purpose == SAVE_REWRITE) == rewrites;
    if (!part->busy && rewrites) {
        saver->rewrite_scheduled = true;
        saver->rewrites.failures_in_a_row = 0;
        log_worker(worker, LOG_NOTICE, "Background append only file rewriting scheduled.");
    } else if (!part->busy) {
        saver->save_scheduled = true;
        log_worker(worker, LOG_NOTICE,
                   "Background saving scheduled to run after transaction execution");
    }
    return true;
}

static void later_done(struct exec *x, const struct scatter_result *result) {
    bool rewrites = *(const enum save_purpose *)result->args == SAVE_REWRITE;
    const struct later_part *part = result->parts[0];
    if (part->busy) {
        reply_error(x->reply, rewrites
                                  ? "ERR Background append only file rewriting already in progress"
                                  : "ERR Background save already in progress");
    } else {
        reply_status(x->reply, rewrites ? "Background append only file rewriting scheduled"
                                        : "Background saving scheduled");
    }
}

static void schedule(struct exec *x, enum save_purpose purpose) {
    scatter_one(x, 0, later_part, sizeof(struct later_part), &purpose, sizeof purpose, later_done);
}

void command_bgsave(struct exec *x) {
    bool later = x->argc == 2 && bytes_is(x->argv[1], "schedule");
    char nothing = 0;
    if (x->argc == 2 && bytes_is(x->argv[1], "cancel")) {
        scatter_one(x, 0, cancel_part, sizeof(const char *), &nothing, 1, cancel_done);
    } else if (x->argc > 1 && !later) {
        reply_error(x->reply, ERR_SYNTAX);
    } else if (in_exec(x)) {
        schedule(x, SAVE_BACKGROUND);
    } else {
        with_all(x, bgsave_run, &later, sizeof later);
    }
}

/* ---- BGREWRITEAOF ---- */

static void rewrite_run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct saver *saver = saver_at(x);
    if (saver->save == NULL) {
        save_begin(x->worker, SAVE_REWRITE);
        reply_status(x->reply, "Background append only file rewriting started");
    } else if (saver->purpose == SAVE_REWRITE) {
        reply_error(x->reply, "ERR Background append only file rewriting already in progress");
    } else {
        saver->rewrite_scheduled = true;
        saver->rewrites.failures_in_a_row = 0;
        log_worker(x->worker, LOG_NOTICE, "Background append only file rewriting scheduled.");
        reply_status(x->reply, "Background append only file rewriting scheduled");
    }
}

void command_bgrewriteaof(struct exec *x) {
    char nothing = 0;
    if (in_exec(x)) {
        schedule(x, SAVE_REWRITE);
    } else {
        with_all(x, rewrite_run, &nothing, sizeof nothing);
    }
}
