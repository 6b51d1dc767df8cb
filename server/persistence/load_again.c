/* SPDX-License-Identifier: BSD-3-Clause */
/* load_again: see the header. */
#include "server/persistence/load_again.h"
#include "server/persistence/save_share.h"

#include "base/must.h"
#include "server/call/errors.h"
#include "server/call/scatter.h"
#include "server/observe/log.h"
#include "server/persistence/aside.h"
#include "server/persistence/load.h"
#include "server/persistence/save.h"
#include "server/persistence/wals.h"
#include "server/script/libraries.h"
#include "server/server.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

struct wish {
    const char *error;
    const char *path;    /* of a file, or NULL */
    struct aside *aside; /* or what was read of one; or NULL */
    load_file_done_fn *done;
    bool *lost; /* malloc */
};

/* Nothing of logs and files is under way, and what was loaded before is forgotten. Worker 0, or in
 * a view of all shards. */
static bool is_at_rest(const struct server *server) {
    return server->load == NULL && !wals_is_busy(server->wals) && save_is_idle(server->saver) &&
           !shared_wal_any_closing(server->shared);
}

/* ---- At each worker ---- */

struct again_part {
    bool begun, loaded;
};

/* As by Valkey, nothing of it counts as a change. */
static void empty(struct worker *worker, bool lazy) {
    struct keyspace *ks = worker->shard.keyspace;
    keyspace_flush(ks, UINT32_MAX, lazy);
    keyspace_set_changes(ks, 0);
}

static bool is_other(const struct wish *wish) {
    return wish->path != NULL || wish->aside != NULL;
}

static bool again_part(struct worker *worker, const void *args, void *result) {
    const struct wish *wish = args;
    struct again_part *part = result;
    if (!part->begun && !worker->loop.stopping) {
        part->begun = true;
        if (!is_other(wish)) { /* else make_ready_part was here */
            empty(worker, false);
        }
        if (worker->load == NULL && (!is_other(wish) || worker->id == 0)) {
            load_begin(worker);
        }
    }
    part->loaded = part->begun && worker->load == NULL;
    if (!part->loaded && !worker->loop.stopping) {
        scatter_sleep(worker);
        return false;
    }
    keyspace_set_changes(worker->shard.keyspace, 0);
    return true;
}

static bool empty_part(struct worker *worker, const void *args, void *result) {
    (void)args, (void)result;
    empty(worker, false);
    worker->pause.let_go |= worker->pause.brief;
    worker->pause.brief = false;
    return true;
}

/* Before a file: worker 0, which reads it for all, begins when all others have, and none may hear
 * that it is over before. */
static bool make_ready_part(struct worker *worker, const void *args, void *result) {
    const struct wish *wish = args;
    (void)result;
    if (wish->aside != NULL) {
        keyspace_take_aside(worker->shard.keyspace);
    } else {
        empty(worker, worker->config->replica_lazy_flush);
    }
    if (worker->id != 0) {
        load_begin(worker);
    }
    return true;
}

static bool take_part(struct worker *worker, const void *args, void *result) {
    (void)args, (void)result;
    keyspace_take_aside(worker->shard.keyspace);
    keyspace_set_changes(worker->shard.keyspace, 0);
    if (worker->save_share != NULL) {
        worker->save_share->changes = 0; /* those that it would take off are gone */
    }
    return true;
}

static bool rest_part(struct worker *worker, const void *args, void *result) {
    (void)args, (void)result;
    return is_at_rest(worker->server) || worker->loop.stopping;
}

/* ---- At home ---- */

static void refuse(struct exec *x, const struct scatter_result *result) {
    reply_error(x->reply, ((const struct wish *)result->args)->error);
}

static void emptied(struct exec *x, const struct scatter_result *result) {
    const struct wish *wish = result->args;
    reply_ok(x->reply);
    free(wish->lost);
    wish->done(x, false);
}

static void file_loaded(struct exec *x, const struct scatter_result *result) {
    const struct wish *wish = result->args;
    bool lost = *wish->lost;
    for (unsigned i = 0; i < result->parts_count; i++) {
        lost |= !((const struct again_part *)result->parts[i])->loaded;
    }
    if (lost && !x->worker->loop.stopping) { /* what was read before it went wrong */
        libraries_flush(x->worker->server->libraries);
        scatter_all(x, empty_part, 0, wish, sizeof *wish, emptied);
        return;
    }
    reply_ok(x->reply);
    free(wish->lost);
    wish->done(x, !lost);
}

/* There is no log that would have to end. */
static void taken(struct exec *x, const struct scatter_result *result) {
    const struct wish *wish = result->args;
    reply_ok(x->reply);
    free(wish->lost);
    wish->done(x, true);
}

static void loaded(struct exec *x, const struct scatter_result *result) {
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct again_part *part = result->parts[i];
        if (!part->loaded) { /* the server ends, perhaps of what it has found */
            refuse(x, result);
            return;
        }
    }
    log_worker(x->worker, LOG_NOTICE, "Append Only File loaded by DEBUG LOADAOF");
    reply_ok(x->reply);
}

/* Worker 0 fills the shards of all with a file: not before the last of them is empty. */
static void fill(struct exec *x, const struct scatter_result *result) {
    scatter_all(x, again_part, sizeof(struct again_part), result->args, sizeof(struct wish),
                file_loaded);
}

static void run(struct exec *x, struct view *view, const void *args);

static void rested(struct exec *x, const struct scatter_result *result) {
    park_all(x, run, result->args, sizeof(struct wish));
}

/* That of a file takes the place of all there are. */
static void take_libraries(struct server *server, struct libraries *libraries) {
    struct text why;
    text_init(&why);
    libraries_join(server->libraries, libraries, LIBRARIES_FLUSH, &why);
    text_fini(&why);
}

static void run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    struct worker *worker = x->worker;
    const struct wish *wish = args;
    struct text why;
    if (wish->aside != NULL && wals_are_off(worker->server) && worker->server->load == NULL) {
        take_libraries(worker->server, aside_libraries(wish->aside));
        scatter_all(x, take_part, 0, args, sizeof *wish, taken);
        return;
    }
    if (!is_at_rest(worker->server)) {
        scatter_one(x, 0, rest_part, 0, args, sizeof(struct wish), rested);
        return;
    }
    if (is_other(wish)) {
        load_plan_file(worker, wish->path, wish->lost);
        if (wish->aside != NULL) {
            take_libraries(worker->server, aside_libraries(wish->aside));
        } else {
            libraries_flush(worker->server->libraries);
        }
        scatter_all(x, make_ready_part, 0, args, sizeof *wish, fill);
        return;
    }
    text_init(&why);
    switch (load_plan_again(worker, &why)) {
    case LOAD_AGAIN:
        libraries_flush(worker->server->libraries);
        scatter_all(x, again_part, sizeof(struct again_part), args, sizeof(struct wish), loaded);
        break;
    case LOAD_NO_DATA: /* as by Valkey, all is gone then */
        libraries_flush(worker->server->libraries);
        log_worker(worker, LOG_WARNING, "DEBUG LOADAOF: there is neither a log nor a snapshot");
        scatter_all(x, empty_part, 0, args, sizeof(struct wish), refuse);
        break;
    case LOAD_REFUSED:
        log_worker(worker, LOG_WARNING, "DEBUG LOADAOF: %s", why.ptr);
        reply_error(x->reply, ((const struct wish *)args)->error);
        break;
    }
    text_fini(&why);
}

void load_again(struct exec *x, const char *error) {
    struct wish wish = {.error = error};
    park_all(x, run, &wish, sizeof wish);
}

void load_file(struct exec *x, const char *path, load_file_done_fn *done) {
    struct wish wish = {.path = path, .done = done, .lost = must_calloc(1, sizeof(bool))};
    park_all(x, run, &wish, sizeof wish);
}

void load_aside(struct exec *x, struct aside *aside, load_file_done_fn *done) {
    struct wish wish = {.aside = aside, .done = done, .lost = must_calloc(1, sizeof(bool))};
    park_all(x, run, &wish, sizeof wish);
}
