/* SPDX-License-Identifier: BSD-3-Clause */
/* check: see the header. */
#include "server/call/check.h"

#include "base/check.h"
#include "base/must.h"
#include "proto/parser.h"
#include "proto/reply.h"
#include "server/acl/acl.h"
#include "server/call/errors.h"
#include "server/call/help.h"
#include "server/client/client.h"
#include "server/observe/monitor.h"
#include "server/txn/multi.h"
#include "server/worker/handlers.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- What home knows ---- */

static void error_unknown_command(struct reply *reply, const struct request *request) {
    char args[160];
    size_t used = 0;
    args[0] = 0;
    for (uint32_t i = 1; i < request->argc && used < 128; i++) {
        size_t room = 128 - used;
        struct bytes arg = request->argv[i];
        int shown = (int)(arg.len < room ? arg.len : room);
        used += (size_t)snprintf(args + used, sizeof args - used, "'%.*s' ", shown, arg.ptr);
    }
    struct bytes name = request->argv[0];
    reply_errorf(reply, "ERR unknown command '%.*s', with args beginning with: %s",
                 (int)(name.len < 128 ? name.len : 128), name.ptr, args);
}

unsigned check_call_flags(struct worker *worker, const struct command_ref *ref,
                          const struct bytes *argv) {
    return ref->row->runs_script ? worker->server->handlers->script_flags(worker, ref, argv)
                                 : ref->flags;
}

unsigned check_flags(const struct client *client, const struct command_ref *ref,
                     const struct bytes *argv) {
    const struct multi_queue *queue = ref->row->queue == QUEUE_EXEC ? client->multi : NULL;
    unsigned flags = check_call_flags(client->worker, ref, argv);
    if (queue != NULL && !queue->runs_scripts) {
        return flags | queue->flags;
    }
    for (uint32_t i = 0; queue != NULL && i < queue->count; i++) {
        flags |= check_call_flags(client->worker, queue->commands[i].ref, queue->commands[i].argv);
    }
    return flags;
}

/* It writes, or is a script that may, or the EXEC of something that does. */
static bool writes(const struct client *client, const struct command_ref *ref,
                   const struct request *request) {
    const struct bytes *argv = request != NULL ? request->argv : NULL;
    unsigned flags =
        argv == NULL && ref->row->runs_script ? ref->flags : check_flags(client, ref, argv);
    return flags & CMD_WRITE;
}

/* What has writes refused, because it was not saved. PING says so too, for who watches over it. */
static bool must_be_saved(const struct client *client, const struct command_ref *ref,
                          const struct request *request) {
    return writes(client, ref, request) || strcmp(ref->full_name, "ping") == 0;
}

#define ERR_BUSY(product, command)                                                                 \
    "BUSY " product " is busy running a script. You can only call " command                        \
    " KILL or SHUTDOWN NOSAVE."

const char *check_busy_error_of(const struct worker *worker, unsigned bits) {
    bool function = bits & SCRIPT_FUNCTION;
    bool redis = worker->config->extended_redis_compatibility;
    return redis      ? function ? ERR_BUSY("Redis", "FUNCTION") : ERR_BUSY("Redis", "SCRIPT")
                : function ? ERR_BUSY("Valkey", "FUNCTION")
                      : ERR_BUSY("Valkey", "SCRIPT");
}

const char *check_busy_error(const struct worker *worker) {
    const struct worker *runs = worker->parked.is ? worker->parked.by : worker;
    return check_busy_error_of(worker, shared_script(worker->server->shared, runs->id));
}

void check_configure(struct worker *worker) {
    bool unsaved = worker->saves_fail && worker->config->stop_writes_on_bgsave_error &&
                   worker->config->save.count > 0;
    worker->hindered_by_disk = unsaved || worker->refuses_writes;
    const struct config *config = worker->config;
    worker->lacks_replicas =
        !worker->server->role.replica && ((config->min_replicas_to_write > worker->good_replicas &&
                                           config->min_replicas_max_lag > 0) ||
                                          config->replicas_ack > worker->acking_replicas);
    worker->hindrances = (worker->hindered_by_disk ? HINDERED_DISK : 0) |
                         (worker->lacks_replicas ? HINDERED_REPLICAS : 0) |
                         (worker->server->role.replica ? HINDERED_ROLE : 0) |
                         (worker->aside != NULL ? HINDERED_ASIDE : 0) |
                         (monitors_look(&worker->monitors) ? HINDERED_MONITORS : 0);
    worker->owner_asks =
        worker->refuses != NULL || worker->room.limit > 0 || worker->server->role.replica;
}

uint32_t check_db(const struct client *client, const struct command_ref *ref) {
    bool is_kept = client->multi != NULL && ref->row->queue == QUEUE_IN_MULTI;
    return is_kept ? client->multi->db : client->db;
}

enum refusal check_home(const struct client *client, const struct command_ref *ref,
                        unsigned hindrances, bool fits, bool queues,
                        const struct request *request) {
    unsigned flags = ref != NULL ? ref->row->flags : 0;
    if (UNLIKELY(hindrances & HINDERED_LOGIN) && !(flags & CMD_NO_AUTH)) {
        return REFUSE_AUTH;
    }
    if (UNLIKELY(ref == NULL)) {
        return REFUSE_UNKNOWN;
    }
    if (UNLIKELY(!fits)) {
        return REFUSE_ARITY;
    }
    if (UNLIKELY(flags & CMD_PROTECTED)) {
        enum config_protected allowed = client->worker->config->enable_debug_command;
        if (allowed == CONFIG_PROTECTED_NO ||
            (allowed == CONFIG_PROTECTED_LOCAL && !(client->flags & CLIENT_LOCAL))) {
            return REFUSE_PROTECTED;
        }
    }
    if (UNLIKELY(queues) && (flags & CMD_NO_MULTI)) {
        return REFUSE_NO_MULTI;
    }
    if (UNLIKELY(hindrances & HINDERED_ACL) &&
        acl_check(client->user, ref, request->argv, request->argc, check_db(client, ref), NULL) !=
            ACL_MAY) {
        return REFUSE_ACL;
    }
    if (UNLIKELY(hindrances & HINDERED_REDIRECT)) {
        return REFUSE_REDIRECT;
    }
    if (UNLIKELY(hindrances & HINDERED_MEMORY) && queues && flags & CMD_DENYOOM) {
        return REFUSE_MEMORY;
    }
    if (UNLIKELY(hindrances & HINDERED_DISK) && must_be_saved(client, ref, request)) {
        return REFUSE_DISK;
    }
    if (UNLIKELY(hindrances & HINDERED_REPLICAS) && writes(client, ref, request)) {
        return REFUSE_REPLICAS;
    }
    if (UNLIKELY(hindrances & HINDERED_ROLE) && client->worker->config->replica_read_only &&
        writes(client, ref, request)) {
        return REFUSE_READONLY;
    }
    if (UNLIKELY(client->flags & CLIENT_SUBSCRIBED) && client->resp == 2 && !ref->row->subscribed) {
        return REFUSE_SUBSCRIBED;
    }
    if (UNLIKELY(hindrances & HINDERED_ROLE) && !(flags & CMD_STALE) &&
        !client->worker->config->replica_serve_stale_data &&
        shared_upstream_is_down(client->worker->server->shared)) {
        return REFUSE_STALE;
    }
    if ((UNLIKELY(hindrances & HINDERED_LOADING) && !(flags & CMD_LOADING)) ||
        (UNLIKELY(hindrances & HINDERED_ASIDE) && flags & CMD_NO_ASYNC_LOADING)) {
        return REFUSE_LOADING;
    }
    if (UNLIKELY(hindrances & HINDERED_BUSY) && !(flags & CMD_ALLOW_BUSY)) {
        return REFUSE_BUSY;
    }
    if (UNLIKELY(client->monitor != NULL) &&
        (flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE))) {
        return REFUSE_MONITOR;
    }
    return REFUSE_NOT;
}

#define ONLY_SUBSCRIBED                                                                            \
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"

/* Again, to say why. */
static void refuse_acl(const struct client *client, const struct command_ref *ref,
                       const struct request *request, struct reply *reply) {
    struct text why;
    enum acl_verdict verdict =
        acl_check(client->user, ref, request->argv, request->argc, check_db(client, ref), NULL);
    text_init(&why);
    text_append_text(&why, ref->row->queue == QUEUE_EXEC
                               ? "EXECABORT Transaction discarded because of: NOPERM "
                               : "NOPERM ");
    acl_verdict_tell(verdict, client->user, ref, &why);
    reply_error_bytes(reply, text_bytes(&why));
    text_fini(&why);
}

void check_refuse(const struct client *client, const struct command_ref *ref,
                  const struct request *request, enum refusal refusal, struct reply *reply) {
    if (refusal == REFUSE_ACL) {
        refuse_acl(client, ref, request, reply);
        return;
    }
    if (UNLIKELY(ref != NULL && ref->row->queue == QUEUE_EXEC)) {
        reply_errorf(reply, "EXECABORT Transaction discarded because of: %s",
                     refusal == REFUSE_AUTH       ? ERR_NO_AUTH
                     : refusal == REFUSE_DISK     ? ERR_NOT_SAVED
                     : refusal == REFUSE_REPLICAS ? ERR_NO_REPLICAS
                     : refusal == REFUSE_BUSY     ? check_busy_error(client->worker)
                     : refusal == REFUSE_READONLY ? ERR_READONLY
                     : refusal == REFUSE_STALE    ? ERR_STALE
                     : refusal == REFUSE_SUBSCRIBED
                         ? "Can't execute 'exec': " ONLY_SUBSCRIBED
                         : "wrong number of arguments for 'exec' command");
        return;
    }
    switch (refusal) {
    case REFUSE_NOT:
    case REFUSE_ACL:
    case REFUSE_REDIRECT:
        check(false);
        break;
    case REFUSE_UNKNOWN:
        if (command_table_find(client->worker->server->commands, request->argv[0]) != NULL) {
            reply_subcommand_unknown(reply, request->argv[0], request->argv[1]);
        } else {
            error_unknown_command(reply, request);
        }
        break;
    case REFUSE_ARITY:
        reply_errorf(reply, "ERR wrong number of arguments for '%s' command", ref->full_name);
        break;
    case REFUSE_PROTECTED:
        reply_error(reply, ERR_DEBUG_NOT_ALLOWED);
        break;
    case REFUSE_AUTH:
        reply_error(reply, ERR_NO_AUTH);
        break;
    case REFUSE_MEMORY:
        reply_error(reply, ERR_OOM);
        break;
    case REFUSE_DISK:
        reply_error(reply,
                    client->worker->refuses_writes ? client->worker->refuses : ERR_NOT_SAVED);
        break;
    case REFUSE_REPLICAS:
        reply_error(reply, ERR_NO_REPLICAS);
        break;
    case REFUSE_NO_MULTI:
        reply_errorf(reply, "ERR Command '%s' not allowed inside a transaction", ref->full_name);
        break;
    case REFUSE_SUBSCRIBED:
        reply_errorf(reply, "ERR Can't execute '%s': " ONLY_SUBSCRIBED, ref->full_name);
        break;
    case REFUSE_BUSY:
        reply_error(reply, check_busy_error(client->worker));
        break;
    case REFUSE_MONITOR:
        reply_error(reply, "ERR Replica can't interact with the keyspace");
        break;
    case REFUSE_READONLY:
        reply_error(reply, ERR_READONLY);
        break;
    case REFUSE_STALE:
        reply_error(reply, ERR_STALE);
        break;
    case REFUSE_LOADING:
        reply_error(reply, client->worker->config->extended_redis_compatibility
                               ? "LOADING Redis is loading the dataset in memory"
                               : "LOADING Valkey is loading the dataset in memory");
        break;
    }
}

/* ---- What the owner of the keys knows ---- */

const char *check_refuses(const struct worker *worker, const struct command_ref *ref) {
    if (LIKELY(worker->refuses == NULL)) {
        return NULL;
    }
    bool concerned =
        worker->refuses_writes ? ref->row->flags & CMD_WRITE : ref->row->place == PLACE_KEY;
    return concerned ? worker->refuses : NULL;
}

/* Its home has asked before it waited, and this server was a primary then. */
static const char *role_refuses(const struct worker *worker, const struct command_ref *ref,
                                uint16_t manner) {
    if (manner & MANNER_UPSTREAM && UNLIKELY(worker->hindered_by_disk)) {
        bool ends = ref->flags & CMD_WRITE && !worker->config->replica_ignore_disk_write_errors;
        if (ends) {
            die("a replica was unable to write to its disk what its primary has done "
                "(replica-ignore-disk-write-errors)",
                __FILE__, __LINE__);
        }
        return NULL; /* it is done there, log or no log */
    }
    bool concerned = worker->server->role.replica && ref->row->flags & CMD_WRITE &&
                     !(manner & (MANNER_UPSTREAM | MANNER_REPLAYS)) &&
                     worker->config->replica_read_only;
    return UNLIKELY(concerned) ? ERR_READONLY : check_refuses(worker, ref);
}

const char *check_owner(struct worker *worker, const struct command_ref *ref, uint16_t manner) {
    bool denies = worker->room.limit > 0 && !room_make(worker);
    return UNLIKELY(denies) && ref->row->flags & CMD_DENYOOM ? ERR_OOM
                                                             : role_refuses(worker, ref, manner);
}

const char *check_vote(struct worker *worker, const struct command_ref *ref, uint16_t manner) {
    if (LIKELY(!worker->owner_asks)) {
        return NULL;
    }
    bool denies = ref->row->flags & CMD_DENYOOM && !room_is_there(worker);
    return UNLIKELY(denies) ? ERR_OOM : role_refuses(worker, ref, manner);
}

void check_owner_refuses(struct worker *worker, const char *error, bool writes) {
    if (writes != worker->refuses_writes) {
        shared_wal_refuse(worker->server->shared, writes);
    }
    worker->refuses_writes = writes;
    free(worker->refuses);
    worker->refuses = NULL;
    if (error != NULL) {
        size_t bytes = strlen(error) + 1;
        worker->refuses = memcpy(must_malloc(bytes), error, bytes);
    }
    check_configure(worker);
}
