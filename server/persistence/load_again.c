/* SPDX-License-Identifier: BSD-3-Clause */
/* load_again: see the header. */
#include "server/persistence/load_again.h"

#include "server/call/errors.h"
#include "server/call/scatter.h"
#include "server/observe/log.h"
#include "server/persistence/load.h"
#include "server/persistence/save.h"
#include "server/persistence/wals.h"
#include "server/script/libraries.h"
#include "server/server.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

struct wish {
    const char *error;
};

/* Nothing of logs and files is under way. Worker 0, or in a view of all shards. */
static bool is_at_rest(const struct server *server) {
    return !wals_is_busy(server->wals) && save_is_idle(server->saver) &&
           !shared_wal_any_closing(server->shared);
}

/* ---- At each worker ---- */

struct again_part {
    bool begun, loaded;
};

/* As by Valkey, nothing of it counts as a change. */
static void empty(struct worker *worker) {
    struct keyspace *ks = worker->shard.keyspace;
    keyspace_flush(ks, UINT32_MAX, false);
    keyspace_set_changes(ks, 0);
}

static bool again_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    struct again_part *part = result;
    if (!part->begun && !worker->loop.stopping) {
        part->begun = true;
        empty(worker);
        load_begin(worker);
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
    empty(worker);
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

static void loaded(struct exec *x, const struct scatter_result *result) {
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct again_part *part = result->parts[i];
        if (!part->loaded) { /* the server ends, perhaps of what it has found */
            refuse(x, result);
            return;
        }
    }
    load_again_over(x->worker->server);
    log_worker(x->worker, LOG_NOTICE, "Append Only File loaded by DEBUG LOADAOF");
    reply_ok(x->reply);
}

static void run(struct exec *x, struct view *view, const void *args);

static void rested(struct exec *x, const struct scatter_result *result) {
    park_all(x, run, result->args, sizeof(struct wish));
}

static void run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    struct worker *worker = x->worker;
    struct text why;
    if (!is_at_rest(worker->server)) {
        scatter_one(x, 0, rest_part, 0, args, sizeof(struct wish), rested);
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
