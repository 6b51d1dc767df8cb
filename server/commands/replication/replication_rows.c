/* SPDX-License-Identifier: BSD-3-Clause */
/* replication_rows: the rows of FAILOVER, PSYNC, REPLCONF, REPLICAOF, ROLE and SYNC. */
#include "server/commands/families.h"
#include "server/commands/replication/replication.h"

static const struct command_arg failover_target[] = {
    {.name = "host", .type = ARG_STRING},
    {.name = "port", .type = ARG_INTEGER},
    {.name = "force", .type = ARG_PURE_TOKEN, .token = "FORCE", .flags = ARG_OPTIONAL},
    {0},
};
static const struct command_arg failover_args[] = {
    {.name = "target",
     .type = ARG_BLOCK,
     .token = "TO",
     .flags = ARG_OPTIONAL,
     .args = failover_target},
    {.name = "abort", .type = ARG_PURE_TOKEN, .token = "ABORT", .flags = ARG_OPTIONAL},
    {.name = "milliseconds", .type = ARG_INTEGER, .token = "TIMEOUT", .flags = ARG_OPTIONAL},
    {0},
};

static const struct command_arg psync_args[] = {
    {.name = "replicationid", .type = ARG_STRING},
    {.name = "offset", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg replicaof_server[] = {
    {.name = "host", .type = ARG_STRING},
    {.name = "port", .type = ARG_INTEGER},
    {0},
};
static const struct command_arg replicaof_nobody[] = {
    {.name = "no", .type = ARG_PURE_TOKEN, .token = "NO"},
    {.name = "one", .type = ARG_PURE_TOKEN, .token = "ONE"},
    {0},
};
static const struct command_arg replicaof_whom[] = {
    {.name = "host-port", .type = ARG_BLOCK, .args = replicaof_server},
    {.name = "no-one", .type = ARG_BLOCK, .args = replicaof_nobody},
    {0},
};
static const struct command_arg replicaof_args[] = {
    {.name = "args", .type = ARG_ONEOF, .args = replicaof_whom},
    {0},
};

const struct command commands_replication[] = {
    {.name = "failover",
     .run = command_failover,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .group = "server",
     .since = "6.2.0",
     .summary = "Hands the role of the primary over to one of its replicas.",
     .complexity = "O(1)",
     .args = failover_args},
    {.name = "psync",
     .run = command_psync,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI,
     .place = PLACE_EACH_WORKER,
     .group = "server",
     .since = "2.8.0",
     .summary = "Asks for the replication stream, from an offset on if that is still there.",
     .args = psync_args},
    {.name = "replconf",
     .run = command_replconf,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_ALLOW_BUSY,
     .place = PLACE_SELF,
     .group = "server",
     .since = "3.0.0",
     .summary = "Says something of a replica, or acknowledges a part of the stream.",
     .complexity = "O(1)"},
    {.name = "replicaof",
     .run = command_replicaof,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .parks_in_exec = true,
     .group = "server",
     .since = "5.0.0",
     .summary = "Makes this server the replica of another, or of nobody.",
     .complexity = "O(1)",
     .args = replicaof_args},
    {.name = "role",
     .run = command_role,
     .arity = 1,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_ADMIN | ACL_DANGEROUS,
     .place = PLACE_EACH_WORKER,
     .group = "server",
     .since = "2.8.12",
     .summary = "Tells what this server is in replication.",
     .complexity = "O(1)"},
    {.name = "slaveof",
     .run = command_replicaof,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .parks_in_exec = true,
     .group = "server",
     .since = "1.0.0",
     .deprecated_since = "5.0.0",
     .replaced_by = "`REPLICAOF`",
     .summary = "Makes this server the replica of another, or of nobody.",
     .complexity = "O(1)",
     .args = replicaof_args},
    {.name = "sync",
     .run = command_sync,
     .arity = 1,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI,
     .place = PLACE_EACH_WORKER,
     .group = "server",
     .since = "1.0.0",
     .summary = "Asks for the whole replication stream."},
    {0},
};
