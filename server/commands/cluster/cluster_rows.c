/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster_rows: the rows of CLUSTER, CLUSTERSCAN, ASKING, READONLY and READWRITE.
 *
 * The functions are in cluster.c, cluster_show.c, cluster_keys.c and cluster_ask.c; the walk is
 * with SCAN.
 */
#include "server/commands/cluster/cluster.h"
#include "server/commands/families.h"
#include "server/commands/generic/generic.h"

#include <stddef.h>

static const char *const varies[] = {"nondeterministic_output", NULL};

static const char *const slot_stats_tips[] = {"nondeterministic_output",
                                              "request_policy:all_shards", NULL};

static const char *const clusterscan_tips[] = {"nondeterministic_output", "request_policy:special",
                                               "response_policy:special", NULL};

static const struct command_arg addslots_args[] = {
    {.name = "slot", .type = ARG_INTEGER, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command_arg addslotsrange_range_args[] = {
    {.name = "start-slot", .type = ARG_INTEGER},
    {.name = "end-slot", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg addslotsrange_args[] = {
    {.name = "range", .type = ARG_BLOCK, .flags = ARG_MULTIPLE, .args = addslotsrange_range_args},
    {0},
};

static const struct command_history count_failure_reports_history[] = {
    {"9.0.0", "Reports about a node that is known to have failed are not counted any more."},
    {0},
};

static const struct command_arg count_failure_reports_args[] = {
    {.name = "node-id", .type = ARG_STRING},
    {0},
};

static const struct command_arg countkeysinslot_args[] = {
    {.name = "slot", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg delslotsrange_args[] = {
    {.name = "range", .type = ARG_BLOCK, .flags = ARG_MULTIPLE, .args = addslotsrange_range_args},
    {0},
};

static const struct command_arg failover_options_args[] = {
    {.name = "force", .type = ARG_PURE_TOKEN, .token = "FORCE"},
    {.name = "takeover", .type = ARG_PURE_TOKEN, .token = "TAKEOVER"},
    {0},
};

static const struct command_arg failover_args[] = {
    {.name = "options", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = failover_options_args},
    {0},
};

static const struct command_arg flushslot_type_args[] = {
    {.name = "async", .type = ARG_PURE_TOKEN, .token = "ASYNC"},
    {.name = "sync", .type = ARG_PURE_TOKEN, .token = "SYNC"},
    {0},
};

static const struct command_arg flushslot_args[] = {
    {.name = "slot", .type = ARG_INTEGER},
    {.name = "flush-type", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = flushslot_type_args},
    {0},
};

static const struct command_arg getkeysinslot_args[] = {
    {.name = "slot", .type = ARG_INTEGER},
    {.name = "count", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg keyslot_args[] = {
    {.name = "key", .type = ARG_STRING},
    {0},
};

static const struct command_history meet_history[] = {
    {"4.0.0", "The port of the bus may be given."},
    {0},
};

static const struct command_arg meet_args[] = {
    {.name = "ip", .type = ARG_STRING},
    {.name = "port", .type = ARG_INTEGER},
    {.name = "cluster-bus-port", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .since = "4.0.0"},
    {0},
};

static const struct command_history replicate_history[] = {
    {"9.0.0", "`NO ONE` ends it."},
    {0},
};

static const struct command_arg replicate_args_no_one_args[] = {
    {.name = "no", .type = ARG_PURE_TOKEN, .token = "NO"},
    {.name = "one", .type = ARG_PURE_TOKEN, .token = "ONE"},
    {0},
};

static const struct command_arg replicate_args_args[] = {
    {.name = "node-id", .type = ARG_STRING},
    {.name = "no-one", .type = ARG_BLOCK, .since = "9.0.0", .args = replicate_args_no_one_args},
    {0},
};

static const struct command_arg replicate_args[] = {
    {.name = "args", .type = ARG_ONEOF, .args = replicate_args_args},
    {0},
};

static const struct command_arg reset_reset_type_args[] = {
    {.name = "hard", .type = ARG_PURE_TOKEN, .token = "HARD"},
    {.name = "soft", .type = ARG_PURE_TOKEN, .token = "SOFT"},
    {0},
};

static const struct command_arg reset_args[] = {
    {.name = "reset-type", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = reset_reset_type_args},
    {0},
};

static const struct command_arg set_config_epoch_args[] = {
    {.name = "config-epoch", .type = ARG_INTEGER},
    {0},
};

static const struct command_history setslot_history[] = {
    {"8.0.0", "The option `TIMEOUT`."},
    {0},
};

static const struct command_arg setslot_subcommand_args[] = {
    {.name = "importing", .type = ARG_STRING, .token = "IMPORTING", .display = "node-id"},
    {.name = "migrating", .type = ARG_STRING, .token = "MIGRATING", .display = "node-id"},
    {.name = "node", .type = ARG_STRING, .token = "NODE", .display = "node-id"},
    {.name = "stable", .type = ARG_PURE_TOKEN, .token = "STABLE"},
    {0},
};

static const struct command_arg setslot_args[] = {
    {.name = "slot", .type = ARG_INTEGER},
    {.name = "subcommand", .type = ARG_ONEOF, .args = setslot_subcommand_args},
    {.name = "timeout",
     .type = ARG_INTEGER,
     .flags = ARG_OPTIONAL,
     .token = "TIMEOUT",
     .since = "8.0.0"},
    {0},
};

static const struct command_history shards_history[] = {
    {"9.1.0", "The id of the shard, and a node's `availability-zone`."},
    {0},
};

static const struct command_arg slot_stats_filter_orderby_order_args[] = {
    {.name = "asc", .type = ARG_PURE_TOKEN, .token = "ASC"},
    {.name = "desc", .type = ARG_PURE_TOKEN, .token = "DESC"},
    {0},
};

static const struct command_arg slot_stats_filter_orderby_args[] = {
    {.name = "metric", .type = ARG_STRING},
    {.name = "limit", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "LIMIT"},
    {.name = "order",
     .type = ARG_ONEOF,
     .flags = ARG_OPTIONAL,
     .args = slot_stats_filter_orderby_order_args},
    {0},
};

static const struct command_arg slot_stats_filter_args[] = {
    {.name = "slotsrange",
     .type = ARG_BLOCK,
     .token = "SLOTSRANGE",
     .args = addslotsrange_range_args},
    {.name = "orderby",
     .type = ARG_BLOCK,
     .token = "ORDERBY",
     .args = slot_stats_filter_orderby_args},
    {0},
};

static const struct command_arg slot_stats_args[] = {
    {.name = "filter", .type = ARG_ONEOF, .args = slot_stats_filter_args},
    {0},
};

static const struct command_history slots_history[] = {
    {"4.0.0", "The ids of nodes."},
    {"7.0.0", "More ways to reach a node."},
    {"9.1.0", "`availability-zone` among them."},
    {0},
};

static const struct command_arg clusterscan_args[] = {
    {.name = "cursor", .type = ARG_STRING},
    {.name = "match-pattern", .type = ARG_PATTERN, .flags = ARG_OPTIONAL, .token = "MATCH"},
    {.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "COUNT"},
    {.name = "type", .type = ARG_STRING, .flags = ARG_OPTIONAL, .token = "TYPE"},
    {.name = "slot", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "SLOT"},
    {0},
};

static const struct command cluster_subcommands[] = {
    {.name = "addslots",
     .run = command_cluster_asked,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Gives slots to this node.",
     .complexity = "O(N) in the number of slots",
     .args = addslots_args},
    {.name = "addslotsrange",
     .run = command_cluster_asked,
     .arity = -4,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "7.0.0",
     .summary = "Gives ranges of slots to this node.",
     .complexity = "O(N) in the number of slots in the ranges",
     .args = addslotsrange_args},
    {.name = "bumpepoch",
     .run = command_cluster_asked,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Gives this node a configuration epoch higher than all others.",
     .complexity = "O(1)"},
    {.name = "count-failure-reports",
     .run = command_cluster_asked,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Counts the nodes that say of a node that it has failed.",
     .complexity = "O(N) in the number of reports",
     .history = count_failure_reports_history,
     .args = count_failure_reports_args},
    {.name = "countkeysinslot",
     .run = command_cluster_countkeysinslot,
     .arity = 3,
     .flags = CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Counts the keys of a slot, in the selected database.",
     .complexity = "O(1)",
     .args = countkeysinslot_args},
    {.name = "delslots",
     .run = command_cluster_asked,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Takes slots away from who has them, as this node sees it.",
     .complexity = "O(N) in the number of slots",
     .args = addslots_args},
    {.name = "delslotsrange",
     .run = command_cluster_asked,
     .arity = -4,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "7.0.0",
     .summary = "Takes ranges of slots away from who has them, as this node sees it.",
     .complexity = "O(N) in the number of slots in the ranges",
     .args = delslotsrange_args},
    {.name = "failover",
     .run = command_cluster_asked,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Makes this replica take its primary's place.",
     .complexity = "O(1)",
     .args = failover_args},
    {.name = "flushslot",
     .run = command_cluster_flushslot,
     .arity = -3,
     .flags = CMD_WRITE | CMD_ADMIN | CMD_NO_ASYNC_LOADING | CMD_ALL_DBS,
     .categories = ACL_KEYSPACE,
     .place = PLACE_ALL_KEYS,
     .logged = LOGGED_STATED,
     .group = "cluster",
     .since = "9.0.0",
     .summary = "Deletes every key of a slot, in all databases.",
     .complexity = "O(N) in the number of keys of the slot",
     .args = flushslot_args},
    {.name = "flushslots",
     .run = command_cluster_asked,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Takes all of its slots away from this node.",
     .complexity = "O(1)"},
    {.name = "forget",
     .run = command_cluster_asked,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Drops a node from the table, and keeps it out for a while.",
     .complexity = "O(1)",
     .args = count_failure_reports_args},
    {.name = "getkeysinslot",
     .run = command_cluster_getkeysinslot,
     .arity = 4,
     .flags = CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows names of keys of a slot, in the selected database.",
     .complexity = "O(N) in the number of names asked for",
     .args = getkeysinslot_args},
    {.name = "help",
     .run = command_cluster_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "cluster",
     .since = "5.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "info",
     .run = command_cluster_asked,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows the state of the cluster as this node sees it.",
     .complexity = "O(1)"},
    {.name = "keyslot",
     .run = command_cluster_keyslot,
     .arity = 3,
     .flags = CMD_STALE,
     .place = PLACE_PURE,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows the slot of a key.",
     .complexity = "O(N) in the length of the key",
     .args = keyslot_args},
    {.name = "links",
     .run = command_cluster_asked,
     .arity = 2,
     .flags = CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "7.0.0",
     .summary = "Shows the connections to and from other nodes.",
     .complexity = "O(N) in the number of nodes"},
    {.name = "meet",
     .run = command_cluster_asked,
     .arity = -4,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Makes this node get to know another one.",
     .complexity = "O(1)",
     .history = meet_history,
     .args = meet_args},
    {.name = "myid",
     .run = command_cluster_myid,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows the id of this node.",
     .complexity = "O(1)"},
    {.name = "myshardid",
     .run = command_cluster_myshardid,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .tips = varies,
     .group = "cluster",
     .since = "7.2.0",
     .summary = "Shows the id of this node's shard.",
     .complexity = "O(1)"},
    {.name = "nodes",
     .run = command_cluster_asked,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows the nodes as the cluster's file has them.",
     .complexity = "O(N) in the number of nodes"},
    {.name = "replicas",
     .run = command_cluster_asked,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "5.0.0",
     .summary = "Shows the replicas of a primary.",
     .complexity = "O(N) in the number of replicas",
     .args = count_failure_reports_args},
    {.name = "replicate",
     .run = command_cluster_asked,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Makes this node a replica of a primary, or ends that.",
     .complexity = "O(1)",
     .history = replicate_history,
     .args = replicate_args},
    {.name = "reset",
     .run = command_cluster_asked,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Makes this node forget the cluster.",
     .complexity = "O(N) in the number of nodes, and of keys where they go",
     .args = reset_args},
    {.name = "saveconfig",
     .run = command_cluster_asked,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Writes the cluster's file.",
     .complexity = "O(1)"},
    {.name = "set-config-epoch",
     .run = command_cluster_asked,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Gives a new node its configuration epoch.",
     .complexity = "O(1)",
     .args = set_config_epoch_args},
    {.name = "setslot",
     .run = command_cluster_asked,
     .arity = -4,
     .flags = CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING,
     .place = PLACE_EACH_WORKER,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Says who has a slot, or where it is on its way.",
     .complexity = "O(1)",
     .history = setslot_history,
     .args = setslot_args},
    {.name = "shards",
     .run = command_cluster_shards,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "7.0.0",
     .summary = "Shows the shards with their slots and nodes.",
     .complexity = "O(N) in the number of nodes",
     .history = shards_history},
    {.name = "slaves",
     .run = command_cluster_asked,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows the replicas of a primary.",
     .complexity = "O(N) in the number of replicas",
     .deprecated_since = "5.0.0",
     .replaced_by = "`CLUSTER REPLICAS`",
     .args = count_failure_reports_args},
    {.name = "slot-stats",
     .run = command_cluster_slot_stats,
     .arity = -4,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = slot_stats_tips,
     .group = "cluster",
     .since = "8.0.0",
     .summary = "Shows how much the slots of this node are used.",
     .complexity = "O(N) in the number of slots, O(N*log(N)) with ORDERBY",
     .args = slot_stats_args},
    {.name = "slots",
     .run = command_cluster_slots,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = varies,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Shows which nodes have which slots.",
     .complexity = "O(N) in the number of nodes",
     .history = slots_history},
    {0},
};

const struct command commands_cluster[] = {
    {.name = "asking",
     .run = command_asking,
     .arity = 1,
     .flags = CMD_FAST,
     .categories = ACL_CONNECTION,
     .place = PLACE_SELF,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Has the next command served in a slot that is on its way here.",
     .complexity = "O(1)"},
    {.name = "cluster",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Groups the commands about the cluster.",
     .complexity = "Depends on the subcommand.",
     .subcommands = cluster_subcommands},
    {.name = "clusterscan",
     .run = command_clusterscan,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .place = PLACE_EACH_WORKER,
     .keys = {{.flags = KEY_NOT_KEY,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .tips = clusterscan_tips,
     .group = "cluster",
     .since = "9.1.0",
     .summary = "Walks through the keys of a cluster.",
     .complexity = "O(1) for each call, O(N) for a whole walk",
     .args = clusterscan_args},
    {.name = "readonly",
     .run = command_readonly,
     .arity = 1,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_CONNECTION,
     .place = PLACE_SELF,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Lets this connection read from a replica of a cluster.",
     .complexity = "O(1)"},
    {.name = "readwrite",
     .run = command_readwrite,
     .arity = 1,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_CONNECTION,
     .place = PLACE_SELF,
     .group = "cluster",
     .since = "3.0.0",
     .summary = "Ends what READONLY allowed.",
     .complexity = "O(1)"},
    {0},
};
