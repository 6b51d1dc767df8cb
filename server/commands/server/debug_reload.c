/* SPDX-License-Identifier: BSD-3-Clause */
/* RELOAD: each worker writes what it has to a file of its own and reads that back, while a
 * transaction holds the locks of all shards. So it is one moment for everybody, and it is what it
 * is for: all values go through the codec. The file of the data (dbfilename) is not touched.
 *
 * LOADAOF: the log ends, and what is on the disk is loaded as at a start
 * (server/persistence/load_again.h).
 */
#include "server/commands/server/debug_reload.h"

#include "net/rt.h"
#include "persist/snapshot/rdb_load.h"
#include "persist/snapshot/rdb_save.h"
#include "server/call/errors.h"
#include "server/call/scatter.h"
#include "server/commands/persistence/rules.h"
#include "server/observe/log.h"
#include "server/persistence/load_again.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <stdio.h>

struct reload_part {
    bool failed;
};

static struct keyspace *own_keyspace(void *arg, uint16_t slot) {
    (void)slot;
    return arg;
}

static bool save_own(struct worker *worker, const char *path, struct text *why) {
    struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct config *config = worker_config(worker);
    struct rdb_save_options options = {
        .fs = worker_server(worker)->fs,
        .path = path,
        .temporary = path,
        .redis_version = SHOAL_REDIS_VERSION,
        .valkey_version = SHOAL_VALKEY_VERSION,
        .databases = (uint32_t)config->databases,
        .now_ms = rt_wall_ms(worker_rt(worker)),
        .compress = config->rdbcompression,
        .check_sum = config->rdbchecksum,
        .keyspaces = &ks,
        .count = 1,
    };
    struct rdb_saved saved;
    return rdb_save(&options, &saved, why);
}

static bool load_own(struct worker *worker, const char *path, struct text *why) {
    struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct config *config = worker_config(worker);
    struct value_rules rules = value_rules_of(config);
    struct rdb_keys_options options = {
        .secret = &worker_server(worker)->secret,
        .rules = &rules,
        .databases = (uint32_t)config->databases,
        .now_ms = rt_wall_ms(worker_rt(worker)),
        .check_sum = config->rdbchecksum,
        .keyspace_of = own_keyspace,
        .arg = ks,
        .any = ks,
    };
    struct rdb_loaded loaded;
    return rdb_load(worker_server(worker)->fs, path, &options, &loaded, why);
}

static bool reload_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    struct reload_part *part = result;
    struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct fs *fs = worker_server(worker)->fs;
    char path[64];
    struct text why;
    snprintf(path, sizeof path, "temp-reload-%d-%u.rdb", worker_server(worker)->process_id,
             worker_id(worker));
    text_init(&why);
    uint64_t changes = keyspace_changes(ks);
    if (save_own(worker, path, &why)) {
        keyspace_flush(ks, UINT32_MAX, false);
        if (load_own(worker, path, &why)) {
            fs->remove(fs->arg, path);
        }
        keyspace_set_changes(ks, changes);
    }
    part->failed = why.len > 0;
    if (part->failed) {
        log_worker(worker, LOG_WARNING, "DEBUG RELOAD: %s", why.ptr);
    }
    text_fini(&why);
    return true;
}

static void reload_done(struct exec *x, const struct scatter_result *result) {
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct reload_part *part = result->parts[i];
        if (part->failed) {
            reply_error(x->reply, "ERR Error trying to load the RDB dump, check server logs.");
            return;
        }
    }
    reply_ok(x->reply);
}

void debug_reload(struct exec *x) {
    uint32_t done;
    char nothing = 0;
    if (x->argc > 2) {
        reply_error(x->reply, "ERR DEBUG RELOAD takes no options here");
    } else if (txn_holds_all(x->client)) {
        scatter_all(x, reload_part, sizeof(struct reload_part), &nothing, sizeof nothing,
                    reload_done);
    } else if (txn_exec_queue(x->client, &done) != NULL) {
        reply_error(x->reply, "ERR DEBUG RELOAD is not for MULTI");
    } else {
        txn_hold_all(x);
    }
}

/* ---- LOADAOF ---- */

void debug_loadaof(struct exec *x) {
    uint32_t done;
    if (txn_holds_all(x->client)) {
        load_again(x, "ERR Error trying to load the AOF files, check server logs.");
    } else if (txn_exec_queue(x->client, &done) != NULL) {
        reply_error(x->reply, "ERR DEBUG LOADAOF is not for MULTI");
    } else {
        txn_hold_all(x);
    }
}
