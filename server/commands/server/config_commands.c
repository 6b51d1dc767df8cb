/* SPDX-License-Identifier: BSD-3-Clause */
/* config_commands: CONFIG GET, SET, RESETSTAT, REWRITE.
 *
 * CONFIG SET in two steps. Worker 0 alone makes new snapshots, from the newest there is, so no
 * change is lost when several clients set at once; it also opens new listeners first, because that
 * may fail. Then every worker is handed the snapshot. Two such deliveries may pass each other on
 * the way, so a worker takes none that is older than its own: snapshots are numbered by the order
 * in which worker 0 made them.
 *
 *     home --args--> worker 0: next = config_set(newest); listen; newest = next --number--> home
 *     home --next--> all workers --> home: OK
 *
 * When all workers have answered, none of them uses the snapshot before, and it is freed.
 */
#include "base/must.h"
#include "base/num.h"
#include "base/text.h"
#include "net/rt.h"
#include "net/rt_file.h"
#include "net/tls.h"
#include "server/acl/acl.h"
#include "server/call/errors.h"
#include "server/call/help.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/client/identity.h"
#include "server/client/listen.h"
#include "server/client/secure.h"
#include "server/cluster/cluster.h"
#include "server/commands/server/server_commands.h"
#include "server/config/config.h"
#include "server/http/http.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/worker/loop.h"
#include "server/worker/totals.h"
#include "server/worker/view.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- CONFIG GET ---- */

struct get_state {
    struct reply *reply; /* NULL: only counted */
    size_t count;
};

static void get_visit(void *arg, struct bytes name, struct bytes value) {
    struct get_state *state = arg;
    state->count++;
    if (state->reply != NULL) {
        reply_bulk(state->reply, name);
        reply_bulk(state->reply, value);
    }
}

void command_config_get(struct exec *x) {
    const struct config *config = worker_config(x->worker);
    struct get_state state = {0};
    config_get(config, x->argv + 2, x->argc - 2, get_visit, &state);
    reply_map(x->reply, state.count);
    state.reply = x->reply;
    config_get(config, x->argv + 2, x->argc - 2, get_visit, &state);
}

/* ---- CONFIG SET ---- */

/* The pairs, copied: the client's input may go while they are on their way. */
struct set_args {
    struct bytes *pairs; /* one allocation with the bytes */
    size_t count;
    bool local;
    config_then_fn *then; /* a command goes on with it; NULL: CONFIG SET */
};

struct set_part {
    struct config *next, *previous;
    uint64_t number;
    const struct acl_users *users; /* requirepass has changed them; or NULL */
    uint64_t users_number;
    struct text error;
};

struct deliver_args {
    struct config *next, *previous;
    uint64_t number;
    const struct acl_users *users;
    uint64_t users_number;
    config_then_fn *then;
};

static struct bytes *pairs_copy(const struct bytes *argv, uint32_t n) {
    size_t bytes = n * sizeof(struct bytes);
    for (uint32_t i = 0; i < n; i++) {
        bytes += argv[i].len + 1;
    }
    struct bytes *pairs = must_malloc(bytes);
    char *p = (char *)(pairs + n);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(p, argv[i].ptr, argv[i].len);
        p[argv[i].len] = 0;
        pairs[i] = bytes_make(p, argv[i].len);
        p += argv[i].len + 1;
    }
    return pairs;
}

/* Raises the limit of open files to what maxclients takes. */
static bool set_maxclients(struct worker *worker, const struct config *next, struct text *err) {
    const struct server *server = worker_server(worker);
    if (next->maxclients == worker_config(worker)->maxclients) {
        return true;
    }
    int64_t wanted = server_files_wanted(server, next);
    int64_t limit = rt_file_limit(worker_rt(worker), wanted);
    if (limit >= wanted) {
        return true;
    }
    struct text reason;
    text_init(&reason);
    text_appendf(&reason,
                 "The operating system is not able to handle the specified number of clients, try "
                 "with %lld",
                 (long long)(limit - SERVER_FILES_RESERVED(server->workers_count)));
    config_set_failed(err, BYTES("maxclients"), reason.ptr);
    text_fini(&reason);
    return false;
}

static bool oom_score_differs(const struct config *a, const struct config *b) {
    return a->oom_score_adj != b->oom_score_adj ||
           memcmp(a->oom_score_adj_values, b->oom_score_adj_values,
                  sizeof a->oom_score_adj_values) != 0;
}

/* False with the error, and everything as it was. */
static bool set_oom_score(struct worker *worker, const struct config *next, struct text *err) {
    const struct config *now = worker_config(worker);
    struct server *server = worker_server(worker);
    int64_t now_us = rt_wall_us(worker_rt(worker));
    if (!oom_score_differs(now, next)) {
        return true;
    }
    oom_score_doubt(server->fs, now_us, next);
    if (oom_score_follow(&server->oom_score, server->fs, now_us, next) == 0) {
        return true;
    }
    config_set_failed(err,
                      now->oom_score_adj != next->oom_score_adj ? BYTES("oom-score-adj")
                                                                : BYTES("oom-score-adj-values"),
                      "Failed to set current oom_score_adj. Check server logs.");
    return false;
}

static bool set_listeners(struct worker *worker, const struct config *next, struct text *err) {
    struct text reason;
    text_init(&reason);
    bool listens = listen_update(worker, next, &reason) == 0;
    if (!listens) {
        bool port = worker_config(worker)->port != next->port;
        bool tls_port = worker_config(worker)->tls_port != next->tls_port;
        config_set_failed(err,
                          port       ? BYTES("port")
                          : tls_port ? BYTES("tls-port")
                                     : BYTES("bind"),
                          port || tls_port ? "Unable to listen on this port. Check server logs."
                                           : "Failed to bind to specified addresses.");
        log_worker(worker, LOG_WARNING, "%s", reason.ptr);
    }
    text_fini(&reason);
    return listens;
}

/* The same for metrics-port, and for the listeners of clients, all or none. */
static bool set_metrics(struct worker *worker, const struct config *next, struct text *err) {
    struct text reason;
    text_init(&reason);
    bool listens = http_update(worker, worker_config(worker), next, &reason) == 0;
    if (!listens) {
        config_set_failed(err, BYTES("metrics-port"),
                          "Unable to listen on this port. Check server logs.");
        log_worker(worker, LOG_WARNING, "%s", reason.ptr);
    } else if (!set_listeners(worker, next, err)) {
        http_update(worker, next, worker_config(worker), &reason);
        listens = false;
    }
    text_fini(&reason);
    return listens;
}

/* The first setting of how TLS is done, or NULL. Such a one reads the files again, the same as
 * before or not. */
static const struct bytes *find_tls(const struct set_args *a) {
    for (size_t i = 0; i < a->count; i++) {
        const struct bytes *name = &a->pairs[2 * i];
        if (name->len > 4 && bytes_is(bytes_make(name->ptr, 4), "tls-") &&
            !bytes_is(*name, "tls-auto-reload-interval") &&
            !bytes_is(*name, "tls-auth-clients-user")) {
            return name;
        }
    }
    return NULL;
}

/* False with the error if what TLS needs is wrong. Else *ret_context is what comes into use with
 * the new configuration; NULL: it changes nothing. */
static bool read_tls(struct worker *worker, const struct set_args *a, const struct config *next,
                     struct tls_context **ret_context, struct text *err) {
    const struct bytes *name = find_tls(a);
    *ret_context = NULL;
    if (name == NULL || !secure_is_wanted(next)) {
        return true;
    }
    struct text why;
    text_init(&why);
    *ret_context = secure_read(next, &why);
    if (*ret_context == NULL) {
        log_worker(worker, LOG_WARNING, "%s", why.ptr);
        config_set_failed(err, *name, "Unable to update TLS configuration. Check server logs.");
    }
    text_fini(&why);
    return *ret_context != NULL;
}

/* Asks the system for what the new configuration needs; false with the error, and everything as it
 * was, also the directory that config_set may have moved to. */
static bool set_effects(struct worker *worker, const struct set_args *a, const struct config *next,
                        struct text *err) {
    const struct config *now = worker_config(worker);
    struct server *server = worker_server(worker);
    const struct fs *fs = server->fs;
    struct tls_context *tls;
    if (set_maxclients(worker, next, err) && set_oom_score(worker, next, err) &&
        read_tls(worker, a, next, &tls, err)) {
        if (set_metrics(worker, next, err)) {
            if (tls != NULL) {
                secure_use(worker, tls);
            }
            return true;
        }
        tls_context_free(tls);
    }
    if (oom_score_differs(now, next)) {
        oom_score_follow(&server->oom_score, fs, rt_wall_us(worker_rt(worker)), now);
    }
    if (!bytes_equal(now->dir, next->dir)) {
        fs->change_dir(fs->arg, now->dir.ptr);
    }
    return false;
}

static bool same_bind(const struct config *a, const struct config *b) {
    return bytes_equal(bytes_make(a->bind.ptr, a->bind.len), bytes_make(b->bind.ptr, b->bind.len));
}

/* requirepass is the password of the user `default`, whatever that was given by other means. */
static void set_password(struct worker *worker, const struct config *next, struct set_part *part) {
    struct acl_making making = worker_acl_making(worker);
    const struct acl_users *users = worker_server(worker)->users;
    struct acl_user *user = acl_user_copy(&making, users->user_default);
    acl_user_require(user, next->requirepass);
    struct acl_users *changed = acl_users_with(users, user);
    part->users = acl_users_ref(changed);
    part->users_number = worker_next_users(worker, changed, 0);
}

/* On worker 0. */
static bool set_part(struct worker *worker, const void *args, void *result) {
    const struct set_args *a = args;
    struct set_part *part = result;
    struct server *server = worker_server(worker);
    struct config_setting setting = {.fs = server->fs,
                                     .loading = shared_aside(server->shared),
                                     .local = a->local,
                                     .by_server = a->then != NULL};
    text_init(&part->error);
    struct config *next = config_set(server->config, a->pairs, a->count, &setting, &part->error);
    if (next == NULL || !set_effects(worker, a, next, &part->error)) {
        config_free(next);
        return true;
    }
    part->previous = server->config;
    part->next = next;
    server->config = next;
    part->number = worker_next_config(worker, next);
    server_show_title(server);
    if (!bytes_equal(part->previous->requirepass, next->requirepass)) {
        set_password(worker, next, part);
    }
    log_missed(next, part->previous, server->fs, rt_wall_us(worker_rt(worker)));
    if (part->previous->port != next->port || part->previous->tls_port != next->tls_port ||
        !same_bind(part->previous, next)) {
        listen_log(worker);
    }
    if (!http_same(part->previous, next)) {
        http_log(worker);
    }
    return true;
}

static bool deliver_part(struct worker *worker, const void *args, void *result) {
    const struct deliver_args *a = args;
    worker_take_config(worker, a->next, a->number);
    if (a->users != NULL) {
        worker_take_users(worker, a->users, a->users_number, 0);
    }
    return true;
}

static void deliver_done(struct exec *x, const struct scatter_result *result) {
    const struct deliver_args *a = result->args;
    config_free(a->previous);
    acl_users_unref(a->users);
    if (a->then != NULL) {
        a->then(x);
    } else {
        reply_ok(x->reply);
    }
}

static void set_done(struct exec *x, const struct scatter_result *result) {
    const struct set_args *a = result->args;
    struct set_part *part = result->parts[0];
    free(a->pairs);
    if (part->next == NULL) {
        reply_error_bytes(x->reply, text_bytes(&part->error));
        text_fini(&part->error);
        return;
    }
    text_fini(&part->error);
    struct deliver_args args = {
        .next = part->next,
        .previous = part->previous,
        .number = part->number,
        .users = part->users,
        .users_number = part->users_number,
        .then = a->then,
    };
    scatter_all(x, deliver_part, 0, &args, sizeof(args), deliver_done);
}

bool config_secret(const struct bytes *argv, uint32_t argc, uint32_t index) {
    return index > 2 && index % 2 == 1 && config_is_sensitive(argv[index - 1]);
}

void command_config_set(struct exec *x) {
    if (x->argc % 2 != 0) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    struct set_args args = {
        .pairs = pairs_copy(x->argv + 2, x->argc - 2),
        .count = (x->argc - 2) / 2,
        .local = (x->client->flags & CLIENT_LOCAL) != 0,
    };
    scatter_one(x, 0, set_part, sizeof(struct set_part), &args, sizeof(args), set_done);
}

void config_set_one(struct exec *x, const char *name, struct bytes value, config_then_fn *then) {
    struct bytes pair[2] = {bytes_of_text(name), value};
    struct set_args args = {.pairs = pairs_copy(pair, 2), .count = 1, .then = then};
    scatter_one(x, 0, set_part, sizeof(struct set_part), &args, sizeof args, set_done);
}

/* ---- CONFIG RESETSTAT ---- */

static bool reset_part(struct worker *worker, const void *args, void *result) {
    totals_reset(worker);
    return true;
}

void command_config_resetstat(struct exec *x) {
    cluster_reset_stats(x->worker);
    scatter_all(x, reset_part, 0, NULL, 0, scatter_ok);
}

/* ---- CONFIG REWRITE ---- */

/* The file is read and written beside worker 0 (rt_file_beside), one rewrite after the other: what
 * one writes is the configuration of the moment in which it begins. */
struct config_rewriting {
    struct rt_file_op op; /* first */
    struct worker *worker;
    const struct fs *fs;
    struct config *config; /* a copy, as CONFIG SET goes on */
    struct text users;     /* lines of them */
    struct text error;
    bool everything;
    bool over;
};

struct rewrite_part {
    struct config_rewriting *rewriting;
    struct text error; /* empty: it is on the disk */
};

/* On the thread beside. */
static int64_t rewrite_work(void *arg) {
    struct config_rewriting *rewriting = arg;
    return config_rewrite(rewriting->config, text_bytes(&rewriting->users), rewriting->everything,
                          rewriting->fs, &rewriting->error);
}

static void log_rewrite(struct worker *worker, const struct config *config, int64_t rc) {
    if (rc < 0 && config->config_file.len > 0) {
        log_worker(worker, LOG_WARNING, "CONFIG REWRITE failed: %s", strerror((int)-rc));
    } else if (rc == 0) {
        log_worker(worker, LOG_DEBUG, "Rewritten config file (%s) successfully",
                   config->config_file.ptr);
        log_worker(worker, LOG_NOTICE, "CONFIG REWRITE executed with success.");
    }
}

static void rewrite_over(struct rt_file_op *op, int64_t result) {
    struct config_rewriting *rewriting = (struct config_rewriting *)op;
    rewriting->over = true;
    log_rewrite(rewriting->worker, rewriting->config, result);
    scatter_wake(rewriting->worker);
}

static struct config_rewriting *rewrite_begin(struct worker *worker, bool everything) {
    struct server *server = worker_server(worker);
    struct config_rewriting *rewriting = must_calloc(1, sizeof *rewriting);
    *rewriting = (struct config_rewriting){
        .op = {.done = rewrite_over},
        .worker = worker,
        .fs = server->fs,
        .config = config_copy(server->config),
        .everything = everything,
    };
    text_init(&rewriting->users);
    text_init(&rewriting->error);
    if (rewriting->config->aclfile.len == 0) { /* else that has them */
        acl_users_describe(server->users, &rewriting->users);
    }
    server->config_rewriting = rewriting;
    rt_file_beside(worker_rt(worker), &rewriting->op, rewrite_work, rewriting);
    return rewriting;
}

static void rewrite_end(struct worker *worker, struct config_rewriting *rewriting) {
    worker_server(worker)->config_rewriting = NULL;
    scatter_wake(worker); /* who waits for it */
    config_free(rewriting->config);
    text_fini(&rewriting->users);
    free(rewriting);
}

/* On worker 0, so that two rewrites never meet. */
static bool rewrite_part(struct worker *worker, const void *args, void *result) {
    struct rewrite_part *part = result;
    if (part->rewriting == NULL && worker_server(worker)->config_rewriting == NULL) {
        part->rewriting = rewrite_begin(worker, *(const bool *)args);
    }
    if (part->rewriting == NULL || !part->rewriting->over) {
        scatter_sleep(worker);
        return false;
    }
    part->error = part->rewriting->error;
    rewrite_end(worker, part->rewriting);
    return true;
}

static void rewrite_done(struct exec *x, const struct scatter_result *result) {
    struct rewrite_part *part = result->parts[0];
    if (part->error.len > 0) {
        reply_error_bytes(x->reply, text_bytes(&part->error));
    } else {
        reply_ok(x->reply);
    }
    text_fini(&part->error);
}

void config_rewrite_file(struct exec *x, bool everything) {
    scatter_one(x, 0, rewrite_part, sizeof(struct rewrite_part), &everything, sizeof everything,
                rewrite_done);
}

void command_config_rewrite(struct exec *x) {
    config_rewrite_file(x, false);
}

static const char *const help_lines[] = {
    "GET <pattern> [<pattern> ...]",
    "    Show the directives that match a pattern, and their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change directives, all of them or none.",
    "RESETSTAT",
    "    Set the counters of INFO back to zero.",
    "REWRITE",
    "    Write the configuration in effect to its file.",
    NULL,
};

void command_config_help(struct exec *x) {
    reply_help(x, help_lines);
}
