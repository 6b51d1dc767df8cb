/* SPDX-License-Identifier: BSD-3-Clause */
/* RELOAD: each worker writes what it has to a file of its own and reads that back, while a
 * transaction holds the locks of all shards. So it is one moment for everybody, and it is what it
 * is for: all values go through the codec. The file of the data (dbfilename) is not touched; NOSAVE
 * loads it, each worker what is its own of it.
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
#include "server/node.h"
#include "server/observe/log.h"
#include "server/persistence/due.h"
#include "server/persistence/load_again.h"
#include "server/persistence/save.h"
#include "server/script/library_dump.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <errno.h>
#include <stdio.h>

#define RELOAD_ERROR "ERR Error trying to load the RDB dump, check server logs."

/* ---- RELOAD ---- */

struct reload_wish {
    bool save, flush, merge;
    bool all;        /* any of that was asked for: the data may be other than it was */
    char path[4096]; /* NOSAVE: what is loaded */
};

struct reload_part {
    bool failed;
    bool lost; /* and what there was is gone, or half replaced */
};

/* Of a file that has all keys each takes its own. */
static struct keyspace *own_keyspace(void *arg, uint16_t slot) {
    struct worker *worker = arg;
    bool own = node_owner(worker_node(worker), slot) == worker_id(worker);
    return own ? worker_shard(worker)->keyspace : NULL;
}

static bool save_own(struct worker *worker, const char *path, const struct text *libraries,
                     struct text *why) {
    struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct config *config = worker_config(worker);
    struct rdb_save_options options = {
        .fs = worker_server(worker)->fs,
        .path = path,
        .temporary = path,
        .redis_version = SHOAL_REDIS_VERSION,
        .valkey_version = SHOAL_VALKEY_VERSION,
        .databases = (uint32_t)config_databases(config),
        .now_ms = rt_wall_ms(worker_rt(worker)),
        .compress = config->rdbcompression,
        .check_sum = config->rdbchecksum,
        .usage = usage_kind_of(config),
        .keyspaces = &ks,
        .count = 1,
        .libraries = text_bytes(libraries),
    };
    struct rdb_saved saved;
    return rdb_save(&options, &saved, why);
}

/* Libraries of functions are the first worker's. */
static bool has_libraries(const struct worker *worker) {
    return worker_id(worker) == 0;
}

static bool add_library(struct worker *worker, struct bytes code, enum libraries_policy policy) {
    struct text why;
    text_init(&why);
    bool good = library_dump_add(worker, code, worker_server(worker)->libraries, policy, &why);
    if (!good) {
        log_worker(worker, LOG_WARNING, "DEBUG RELOAD: %s", why.ptr);
    }
    text_fini(&why);
    return good;
}

static bool new_library(void *arg, struct bytes code) {
    return add_library(arg, code, LIBRARIES_APPEND);
}

static bool any_library(void *arg, struct bytes code) {
    return add_library(arg, code, LIBRARIES_REPLACE);
}

static bool load_own(struct worker *worker, const char *path, bool merge, struct text *why) {
    const struct config *config = worker_config(worker);
    struct value_rules rules = value_rules_of(config);
    struct rdb_keys_options options = {
        .secret = &worker_server(worker)->secret,
        .rules = &rules,
        .databases = (uint32_t)config_databases(config),
        .now_ms = rt_wall_ms(worker_rt(worker)),
        .relaxed = config->rdb_version_check != 0,
        .check_sum = config->rdbchecksum,
        .replaces = merge,
        .keyspace_of = own_keyspace,
        .arg = worker,
        .any = worker_shard(worker)->keyspace,
        .library = !has_libraries(worker) ? NULL
                   : merge                ? any_library
                                          : new_library,
    };
    struct rdb_loaded loaded;
    return rdb_load(worker_server(worker)->fs, path, &options, &loaded, why);
}

static bool reload_part(struct worker *worker, const void *args, void *result) {
    const struct reload_wish *wish = args;
    struct reload_part *part = result;
    struct keyspace *ks = worker_shard(worker)->keyspace;
    const struct fs *fs = worker_server(worker)->fs;
    char own[64];
    struct text why;
    snprintf(own, sizeof own, "temp-reload-%d-%u.rdb", worker_server(worker)->process_id,
             worker_id(worker));
    const char *path = wish->save ? own : wish->path;
    struct text libraries;
    text_init(&why);
    text_init(&libraries);
    if (has_libraries(worker)) {
        library_dump_put(&libraries, worker_server(worker)->libraries,
                         worker_config(worker)->rdbcompression);
    }
    uint64_t changes = keyspace_changes(ks);
    bool relaxed = worker_config(worker)->rdb_version_check != 0;
    if (wish->save ? save_own(worker, path, &libraries, &why)
                   : rdb_begins(fs, path, relaxed, &why)) {
        if (wish->flush) {
            keyspace_flush(ks, UINT32_MAX, false);
            if (has_libraries(worker)) {
                libraries_flush(worker_server(worker)->libraries);
            }
        }
        part->lost = !load_own(worker, path, wish->merge, &why) && !wish->save;
        if (wish->save && why.len == 0) {
            fs->remove(fs->arg, path);
        }
        keyspace_set_changes(ks, changes);
    }
    part->failed = why.len > 0;
    if (part->failed) {
        log_worker(worker, LOG_WARNING, "DEBUG RELOAD: %s", why.ptr);
    }
    text_fini(&why);
    text_fini(&libraries);
    return true;
}

/* What was loaded has not come by the log: a snapshot of it is the data before anybody changes
 * anything. */
static void kept(struct exec *x, const struct scatter_result *result) {
    if (save_ended_well(result)) {
        reply_ok(x->reply);
        return;
    }
    /* The log refuses writes until there is a snapshot. */
    shared_wal_fail(worker_server(x->worker)->shared, EIO);
    reply_error(x->reply, RELOAD_ERROR);
}

static void keep(struct exec *x, struct view *view, const void *args);

static void keep_again(struct exec *x, const struct scatter_result *result) {
    park_all(x, keep, result->args, 1);
}

static void keep(struct exec *x, struct view *view, const void *args) {
    (void)view;
    const struct saver *saver = saver_of(worker_server(x->worker));
    if (saver->save != NULL) {
        save_wait(x, args, 1, keep_again);
    } else {
        save_begin(x->worker, SAVE_REWRITE);
        save_wait(x, args, 1, kept);
    }
}

static void reload_done(struct exec *x, const struct scatter_result *result) {
    const struct reload_wish *wish = result->args;
    char nothing = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct reload_part *part = result->parts[i];
        if (part->failed) {
            reply_error(x->reply, RELOAD_ERROR);
        }
        if (part->lost) { /* as by Valkey: what is on the disk is better */
            log_worker(x->worker, LOG_WARNING, "Loading has failed: the server ends.");
            server_shutdown(worker_server(x->worker), worker_rt(x->worker));
        }
        if (part->failed) {
            return;
        }
    }
    if (wish->all && worker_config(x->worker)->appendonly) {
        park_all(x, keep, &nothing, sizeof nothing);
    } else {
        reply_ok(x->reply);
    }
}

static bool read_wish(struct exec *x, struct reload_wish *ret) {
    *ret = (struct reload_wish){.save = true, .flush = true, .all = x->argc > 2};
    for (uint32_t i = 2; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "merge")) {
            ret->merge = true;
        } else if (bytes_is(x->argv[i], "noflush")) {
            ret->flush = false;
        } else if (bytes_is(x->argv[i], "nosave")) {
            ret->save = false;
        } else {
            reply_error(x->reply, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE "
                                  "options.");
            return false;
        }
    }
    snprintf(ret->path, sizeof ret->path, "%s", worker_config(x->worker)->dbfilename.ptr);
    return true;
}

void debug_reload(struct exec *x) {
    uint32_t done;
    struct reload_wish wish;
    if (!read_wish(x, &wish)) {
        return;
    }
    if (txn_holds_all(x->client)) {
        scatter_all(x, reload_part, sizeof(struct reload_part), &wish, sizeof wish, reload_done);
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
