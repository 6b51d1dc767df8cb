/* SPDX-License-Identifier: BSD-3-Clause */
/* save: SAVE, LASTSAVE.
 *
 * SAVE is one moment, as it is said of it: all shards stand still (worker/park.h) while one thread
 * writes what they have. Whoever has time for a save beside traffic does not use it.
 */
#include "server/commands/persistence/save.h"

#include "base/must.h"
#include "net/rt.h"
#include "persist/snapshot/rdb_save.h"
#include "server/commands/persistence/persistence.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Saving ---- */

static struct keyspace **keyspaces_of(const struct server *server) {
    struct keyspace **all = must_malloc(server->workers_count * sizeof(*all));
    for (unsigned i = 0; i < server->workers_count; i++) {
        all[i] = worker_shard(server->workers[i])->keyspace;
    }
    return all;
}

bool save_all(struct worker *worker, int64_t now_ms) {
    struct server *server = worker_server(worker);
    const struct config *config = worker_config(worker);
    struct keyspace **all = keyspaces_of(server);
    char temporary[64];
    snprintf(temporary, sizeof temporary, "temp-%d.rdb", server->process_id);
    struct rdb_save_options options = {
        .fs = server->fs,
        .path = config->dbfilename.ptr,
        .redis_version = SHOAL_REDIS_VERSION,
        .valkey_version = SHOAL_VALKEY_VERSION,
        .databases = (uint32_t)config->databases,
        .now_ms = now_ms,
        .temporary = temporary,
        .compress = config->rdbcompression,
        .check_sum = config->rdbchecksum,
        .keyspaces = all,
        .count = server->workers_count,
    };
    for (unsigned i = 0; i < server->workers_count; i++) {
        options.used_memory += keyspace_memory(all[i]);
    }
    struct rdb_saved saved;
    struct text why;
    text_init(&why);
    bool done = rdb_save(&options, &saved, &why);
    if (done) {
        for (unsigned i = 0; i < server->workers_count; i++) {
            keyspace_set_changes(all[i], 0);
        }
        shared_saved(server->shared, rt_wall_us(worker_rt(worker)) / 1000000);
        log_worker(worker, LOG_NOTICE, "DB saved on disk: %llu keys, %llu bytes",
                   (unsigned long long)saved.keys, (unsigned long long)saved.bytes);
    } else {
        log_worker(worker, LOG_WARNING, "Error saving the data: %s", why.ptr);
    }
    text_fini(&why);
    free(all);
    return done;
}

static void save_run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    if (save_all(x->worker, x->now_ms)) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR");
    }
}

void command_save(struct exec *x) {
    char nothing = 0;
    if (txn_holds_all(x->client)) {
        park_all(x, save_run, &nothing, sizeof(nothing));
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

void command_lastsave(struct exec *x) {
    reply_int(x->reply, shared_saved_at(worker_server(x->worker)->shared));
}
