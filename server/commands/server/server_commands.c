/* SPDX-License-Identifier: BSD-3-Clause */
/* server_commands: DBSIZE, FLUSHALL, FLUSHDB, SWAPDB, TIME, SHUTDOWN.
 *
 * What concerns all keys is done by each worker with its own, while a transaction holds the locks
 * of all shards (txn.h), so that it is one moment for everybody.
 */
#include "server/commands/server/server_commands.h"

#include "base/num.h"
#include "base/text.h"
#include "net/rt.h"
#include "server/call/check.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/commands/connection/client_filter.h"
#include "server/config/config.h"
#include "server/observe/log.h"
#include "server/persistence/due.h"
#include "server/replication/farewell.h"
#include "server/script/run.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"
#include "shard/shard.h"

#include <limits.h>

/* ---- DBSIZE ---- */

static bool dbsize_part(struct worker *worker, const void *args, void *result) {
    *(uint64_t *)result = keyspace_shown(worker_shard(worker)->keyspace, *(const uint32_t *)args);
    return true;
}

static void dbsize_done(struct exec *x, const struct scatter_result *result) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        sum += *(const uint64_t *)result->parts[i];
    }
    reply_int(x->reply, (int64_t)sum);
}

void command_dbsize(struct exec *x) {
    scatter_all(x, dbsize_part, sizeof(uint64_t), &x->db, sizeof(x->db), dbsize_done);
}

/* ---- What is done to all keys at once ---- */

/* It is said once, by the client's own worker as it does its share: with several, they are locked
 * meanwhile, so any moment of it will do. In a script that share is done before the command
 * returns, so the command says that it is told of. */
struct all_effect {
    struct effects_origin origin;
    unsigned worker;
    uint32_t db;
};

static struct all_effect tell_of_all(const struct exec *x) {
    effect_told(x);
    return (struct all_effect){{x->caller->txn, x->caller->order}, worker_id(x->worker), x->db};
}

static void say_all(struct worker *worker, const struct all_effect *effect,
                    const struct bytes *argv, uint32_t argc) {
    if (worker_id(worker) == effect->worker) {
        effects_add(worker, effect->origin, effect->db, argv, argc);
    }
}

/* ---- FLUSHALL, FLUSHDB ---- */

struct flush_args {
    uint32_t db; /* UINT32_MAX: all */
    bool lazy;
    const char *word; /* as it was said, or NULL */
    struct all_effect effect;
};

static bool flush_part(struct worker *worker, const void *args, void *result) {
    const struct flush_args *a = args;
    keyspace_flush(worker_shard(worker)->keyspace, a->db, a->lazy);
    struct bytes name = a->db == UINT32_MAX ? BYTES("FLUSHALL") : BYTES("FLUSHDB");
    struct bytes argv[] = {name, a->word != NULL ? bytes_of_text(a->word) : BYTES("")};
    say_all(worker, &a->effect, argv, a->word != NULL ? 2 : 1);
    if (a->db == UINT32_MAX && worker_id(worker) == 0) {
        save_flushed(worker);
    }
    return true;
}

static void flush(struct exec *x, uint32_t db) {
    bool lazy = worker_config(x->worker)->lazyfree_lazy_user_flush;
    struct flush_args args = {db, lazy, NULL, tell_of_all(x)};
    if (x->argc > 1) {
        args.lazy = bytes_is(x->argv[1], "async");
        if (x->argc > 2 || (!args.lazy && !bytes_is(x->argv[1], "sync"))) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
        args.word = args.lazy ? "ASYNC" : "SYNC";
    }
    shared_break_import(worker_server(x->worker)->shared, IMPORT_BREAK_FLUSH);
    scatter_all(x, flush_part, 0, &args, sizeof(args), scatter_ok);
}

void command_flushall(struct exec *x) {
    flush(x, UINT32_MAX);
}

void command_flushdb(struct exec *x) {
    flush(x, x->db);
}

/* ---- SWAPDB ---- */

struct swap_args {
    uint32_t a, b;
    unsigned home; /* where it counts, once */
    struct all_effect effect;
};

static bool swap_part(struct worker *worker, const void *args, void *result) {
    const struct swap_args *swap = args;
    struct keyspace *ks = worker_shard(worker)->keyspace;
    keyspace_swap_db(ks, swap->a, swap->b);
    keyspace_set_changes(ks, keyspace_changes(ks) + (worker_id(worker) == swap->home));
    char a[EFFECT_INT_BYTES], b[EFFECT_INT_BYTES];
    struct bytes argv[] = {BYTES("SWAPDB"), effect_int(a, swap->a), effect_int(b, swap->b)};
    say_all(worker, &swap->effect, argv, 3);
    return true;
}

static bool swap_index(struct exec *x, uint32_t i, const char *error, int64_t *ret) {
    if (!num_parse_i64(x->argv[i], ret) || *ret < INT_MIN || *ret > INT_MAX) {
        reply_error(x->reply, error);
        return false;
    }
    return true;
}

unsigned swapdb_db_args(const struct bytes *argv, uint32_t argc,
                        uint32_t ret[COMMAND_DB_ARGS_MAX]) {
    ret[0] = 1;
    ret[1] = 2;
    return 2;
}

void command_swapdb(struct exec *x) {
    if (worker_map(x->worker) != NULL) {
        reply_error(x->reply, "ERR SWAPDB is not allowed in cluster mode");
        return;
    }
    int64_t a, b, databases = config_databases(worker_config(x->worker));
    if (!swap_index(x, 1, "ERR invalid first DB index", &a) ||
        !swap_index(x, 2, "ERR invalid second DB index", &b)) {
        return;
    }
    if (a < 0 || a >= databases || b < 0 || b >= databases) {
        reply_error(x->reply, ERR_DB_INDEX);
        return;
    }
    if (a == b) {
        keyspace_set_changes(x->keyspace, keyspace_changes(x->keyspace) + 1);
        effect_told(x); /* there is nothing to do again */
        reply_ok(x->reply);
        return;
    }
    struct swap_args args = {(uint32_t)a, (uint32_t)b, worker_id(x->worker), tell_of_all(x)};
    scatter_all(x, swap_part, 0, &args, sizeof(args), scatter_ok);
}

/* ---- TIME ---- */

void command_time(struct exec *x) {
    struct script_run *script = exec_script(x);
    int64_t us = script != NULL      ? script_time_us(script)
                 : x->client != NULL ? txn_exec_time_us(x->client)
                                     : 0;
    us = us > 0 ? us : rt_wall_us(worker_rt(x->worker));
    reply_array(x->reply, 2);
    reply_bulk_int(x->reply, us / 1000000);
    reply_bulk_int(x->reply, us % 1000000);
}

/* ---- SHUTDOWN ---- */

enum shutdown_option {
    SHUTDOWN_NOSAVE = 1 << 0,
    SHUTDOWN_SAVE = 1 << 1,
    SHUTDOWN_NOW = 1 << 2,
    SHUTDOWN_FORCE = 1 << 3,
    SHUTDOWN_ABORT = 1 << 4,
    SHUTDOWN_SAFE = 1 << 5,
    SHUTDOWN_FAILOVER = 1 << 6,
};

static unsigned shutdown_option(struct bytes word) {
    static const struct {
        const char *word;
        unsigned option;
    } options[] = {
        {"nosave", SHUTDOWN_NOSAVE},     {"save", SHUTDOWN_SAVE},   {"now", SHUTDOWN_NOW},
        {"force", SHUTDOWN_FORCE},       {"abort", SHUTDOWN_ABORT}, {"safe", SHUTDOWN_SAFE},
        {"failover", SHUTDOWN_FAILOVER},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (bytes_equal_nocase(word, bytes_of_text(options[i].word))) {
            return options[i].option;
        }
    }
    return 0;
}

static void log_shutdown(struct exec *x) {
    struct text who;
    text_init(&who);
    client_describe_short(&who, x->client, worker_config(x->worker)->hide_user_data_from_log);
    log_worker(x->worker, LOG_NOTICE, "User requested shutdown... (user request from '%s')",
               who.ptr);
    text_fini(&who);
}

struct farewell_part {
    bool begun;
    uint64_t began; /* farewell_begin */
    bool failed;
};

/* It is answered if the server does not end. */
static bool farewell_part(struct worker *worker, const void *args, void *result) {
    struct farewell *farewell = worker_server(worker)->farewell;
    struct farewell_part *part = result;
    if (!part->begun) {
        part->begun = true;
        part->began = farewell_begin(farewell, args);
    }
    scatter_sleep(worker);
    return farewell_is_over(farewell, part->began, &part->failed);
}

static void no_end(struct exec *x, const struct scatter_result *result) {
    const struct farewell_part *part = result->parts[0];
    if (part->failed) { /* else no reply: the connection ends */
        reply_error(x->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    }
}

static bool abort_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    *(bool *)result = farewell_abort(worker_server(worker)->farewell);
    return true;
}

static void aborted(struct exec *x, const struct scatter_result *result) {
    if (*(const bool *)result->parts[0]) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR No shutdown in progress.");
    }
}

void command_shutdown(struct exec *x) {
    unsigned options = 0;
    for (uint32_t i = 1; i < x->argc; i++) {
        unsigned option = shutdown_option(x->argv[i]);
        if (option == 0) {
            reply_error(x->reply, ERR_SYNTAX);
            return;
        }
        options |= option;
    }
    if (((options & SHUTDOWN_ABORT) && options != SHUTDOWN_ABORT) ||
        ((options & SHUTDOWN_NOSAVE) && (options & SHUTDOWN_SAVE))) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (options & SHUTDOWN_ABORT) {
        char nothing = 0;
        scatter_one(x, 0, abort_part, sizeof(bool), &nothing, 1, aborted);
        return;
    }
    const struct map *map = worker_map(x->worker);
    if ((options & SHUTDOWN_FAILOVER) && map == NULL) {
        reply_error(x->reply, "ERR SHUTDOWN FAILOVER is only supported in cluster mode.");
        return;
    }
    unsigned busy = server_busy_script(worker_server(x->worker));
    if (busy != 0 && !(options & SHUTDOWN_NOSAVE)) {
        reply_error(x->reply, check_busy_error_of(x->worker, busy));
        return;
    }
    bool saves = save_before_end(x->worker, options & SHUTDOWN_SAVE, options & SHUTDOWN_NOSAVE);
    struct farewell_wish wish = {.saves = saves,
                                 .force = (options & SHUTDOWN_FORCE) != 0,
                                 .failover = (options & SHUTDOWN_FAILOVER) != 0,
                                 .now = (options & SHUTDOWN_NOW) != 0};
    if ((options & SHUTDOWN_SAFE) && farewell_is_unsafe(x->worker, &wish)) {
        log_shutdown(x);
        farewell_log_unsafe(x->worker);
        reply_error(x->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
        return;
    }
    if (busy == 0 && farewell_is_needed(x->worker, &wish)) {
        log_shutdown(x);
        scatter_one(x, 0, farewell_part, sizeof(struct farewell_part), &wish, sizeof wish, no_end);
        scatter_show_blocked(x);
        return;
    }
    if (saves && !txn_holds_all(x->client)) {
        txn_hold_all(x); /* it comes again then */
        return;
    }
    log_shutdown(x);
    if (busy != 0) {
        server_leave(worker_server(x->worker));
    }
    if (saves) {
        save_and_shut_down(x, options & SHUTDOWN_FORCE);
        return;
    }
    server_shutdown(worker_server(x->worker),
                    worker_rt(x->worker)); /* no reply: the connection ends */
}
