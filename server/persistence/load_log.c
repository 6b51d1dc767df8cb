/* SPDX-License-Identifier: BSD-3-Clause */
/* The log at the start, behind the snapshot that it goes on from: what its segments hold is done
 * again (recover.h), and if there is to be a log, it begins (wal_start.h). No client is let in
 * before, so none sees what the recovery rule does not take, or writes what nobody logs.
 */
#include "base/must.h"
#include "server/observe/log.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/load_private.h"
#include "server/persistence/save.h"
#include "server/persistence/wal_start.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <string.h>

static void progress(void *arg, uint64_t bytes) {
    struct worker *worker = arg;
    shared_add_loaded_bytes(worker->server->shared, worker->id, bytes);
}

static void done(void *arg, const char *failure, const char *report) {
    struct worker *worker = arg;
    struct load *load = worker->server->load;
    if (failure != NULL) {
        text_append_text(&load->failure, failure);
        load_give_up(worker);
        return;
    }
    if (report[0] != 0) {
        log_worker(worker, LOG_NOTICE, "%s", report);
    }
    load_complete(worker);
}

void load_resume(struct worker *worker) {
    struct load *load = worker->server->load;
    alone_ask(&load->alone, worker);
    if (alone_is(&load->alone)) {
        load->resumes = false;
        saver_of(worker->server)->resume(worker, &load->stream);
        alone_over(&load->alone, worker);
        load_complete(worker);
    }
}

void load_log_begin(struct worker *worker) {
    struct server *server = worker->server;
    struct load *load = server->load;
    bool logs = server->config->appendonly;
    load->log_waits = load->again && shared_wal_any_closing(server->shared);
    if (load->log_waits) {
        return;
    }
    kill_point(server->kill_points, KILL_START_LOADED);
    if (!logs && load->manifest.count == 0) {
        load->resumes = load->stream.is && load->sum.empty == 0;
        if (load->resumes) {
            load_resume(worker);
        } else {
            load_complete(worker);
        }
        return;
    }
    struct wal_start_options options = {
        .worker = worker,
        .data = &saver_of(server)->data,
        .manifest = &load->manifest,
        .dir = load->absolute,
        .dir_name = server->at_start->appenddirname.ptr, /* the configuration may be replaced */
        .logs = logs,
        .again = load->again,
        /* What takes the place of a log that has ended is none of its, also if it is nothing. */
        .imported = !load->bases && (load->lost != NULL || load->sum.keys + load->requests > 0),
        .progress = progress,
        .done = done,
        .arg = worker,
    };
    load->log = wal_start_begin(&options);
}

enum recover_step load_log_step(struct load *load, uint64_t end) {
    return wal_start_step(load->log, end);
}

void load_log_alone(struct load *load, uint64_t end) {
    wal_start_alone(load->log, end);
}

void load_log_free(struct load *load) {
    if (load->log != NULL) {
        wal_start_free(load->log);
    }
}
