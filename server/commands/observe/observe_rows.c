/* SPDX-License-Identifier: BSD-3-Clause */
/* observe_rows: the rows of COMMANDLOG, HOTKEYS, LATENCY and SLOWLOG.
 *
 * The functions are in logs.c, hotkeys_commands.c and latency_commands.c.
 */
#include "server/commands/families.h"
#include "server/commands/observe/observe_commands.h"

#include <stddef.h>

static const char *const get_tips[] = {"request_policy:all_nodes", "nondeterministic_output", NULL};
static const char *const len_tips[] = {"request_policy:all_nodes", "response_policy:agg_sum",
                                       "nondeterministic_output", NULL};
static const char *const reset_tips[] = {"request_policy:all_nodes",
                                         "response_policy:all_succeeded", NULL};

/* ---- COMMANDLOG ---- */

static const struct command_arg commandlog_args_type[] = {
    {.name = "slow", .type = ARG_PURE_TOKEN, .token = "SLOW"},
    {.name = "large-request", .type = ARG_PURE_TOKEN, .token = "LARGE-REQUEST"},
    {.name = "large-reply", .type = ARG_PURE_TOKEN, .token = "LARGE-REPLY"},
    {0},
};

static const struct command_arg commandlog_get_args[] = {
    {.name = "count", .type = ARG_INTEGER},
    {.name = "type", .type = ARG_ONEOF, .args = commandlog_args_type},
    {0},
};

static const struct command_arg commandlog_type_args[] = {
    {.name = "type", .type = ARG_ONEOF, .args = commandlog_args_type},
    {0},
};

static const struct command commandlog_subcommands[] = {
    {.name = "get",
     .run = command_commandlog_get,
     .arity = 4,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = get_tips,
     .group = "server",
     .since = "8.1.0",
     .summary = "Shows the newest entries of a command log.",
     .complexity = "O(N) in the number of entries shown",
     .args = commandlog_get_args},
    {.name = "help",
     .run = command_commandlog_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "8.1.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "len",
     .run = command_commandlog_len,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = len_tips,
     .group = "server",
     .since = "8.1.0",
     .summary = "Tells how many entries a command log has.",
     .complexity = "O(1)",
     .args = commandlog_type_args},
    {.name = "reset",
     .run = command_commandlog_reset,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = reset_tips,
     .group = "server",
     .since = "8.1.0",
     .summary = "Forgets the entries of a command log.",
     .complexity = "O(N) in the number of entries of the log",
     .args = commandlog_type_args},
    {0},
};

/* ---- HOTKEYS ---- */

static const struct command_arg hotkeys_get_args[] = {
    {.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL},
    {0},
};

static const struct command hotkeys_subcommands[] = {
    {.name = "get",
     .run = command_hotkeys_get,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = get_tips,
     .group = "server",
     .since = "9.1.0",
     .summary = "Shows the keys that commands are about most often.",
     .complexity = "O(N log N) in the number of keys that are counted, 128 for each shard",
     .args = hotkeys_get_args},
    {.name = "help",
     .run = command_hotkeys_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "9.1.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "reset",
     .run = command_hotkeys_reset,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = reset_tips,
     .group = "server",
     .since = "9.1.0",
     .summary = "Counts hot keys anew.",
     .complexity = "O(N) in the number of keys that are counted"},
    {0},
};

/* ---- LATENCY ---- */

static const char *const latency_tips[] = {"nondeterministic_output", "request_policy:all_nodes",
                                           "response_policy:special", NULL};
static const char *const latency_reset_tips[] = {"request_policy:all_nodes",
                                                 "response_policy:agg_sum", NULL};

static const struct command_arg latency_event_args[] = {
    {.name = "event", .type = ARG_STRING},
    {0},
};

static const struct command_arg latency_events_args[] = {
    {.name = "event", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
    {0},
};

static const struct command_arg latency_histogram_args[] = {
    {.name = "command", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
    {0},
};

static const struct command latency_subcommands[] = {
    {.name = "doctor",
     .run = command_latency_doctor,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = latency_tips,
     .group = "server",
     .since = "2.8.13",
     .summary = "Says in words what took long.",
     .complexity = "O(1)"},
    {.name = "graph",
     .run = command_latency_graph,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = latency_tips,
     .group = "server",
     .since = "2.8.13",
     .summary = "Draws the spikes of an event.",
     .complexity = "O(1)",
     .args = latency_event_args},
    {.name = "help",
     .run = command_latency_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "2.8.13",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "histogram",
     .run = command_latency_histogram,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = latency_tips,
     .group = "server",
     .since = "7.0.0",
     .summary = "Shows how long the calls of commands took.",
     .complexity = "O(N) in the number of commands shown",
     .args = latency_histogram_args},
    {.name = "history",
     .run = command_latency_history,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = latency_tips,
     .group = "server",
     .since = "2.8.13",
     .summary = "Shows the spikes of an event.",
     .complexity = "O(1)",
     .args = latency_event_args},
    {.name = "latest",
     .run = command_latency_latest,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = latency_tips,
     .group = "server",
     .since = "2.8.13",
     .summary = "Shows the newest spike of each event.",
     .complexity = "O(1)"},
    {.name = "reset",
     .run = command_latency_reset,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = latency_reset_tips,
     .group = "server",
     .since = "2.8.13",
     .summary = "Forgets the spikes of events.",
     .complexity = "O(1)",
     .args = latency_events_args},
    {0},
};

/* ---- SLOWLOG ---- */

static const struct command_history slowlog_get_history[] = {
    {"4.0.0", "Entries tell the client's address and name."},
    {0},
};

static const struct command_arg slowlog_get_args[] = {
    {.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL},
    {0},
};

static const struct command slowlog_subcommands[] = {
    {.name = "get",
     .run = command_slowlog_get,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = get_tips,
     .group = "server",
     .since = "2.2.12",
     .summary = "Shows the newest commands that took long.",
     .complexity = "O(N) in the number of entries shown",
     .history = slowlog_get_history,
     .args = slowlog_get_args},
    {.name = "help",
     .run = command_slowlog_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "6.2.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "len",
     .run = command_slowlog_len,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = len_tips,
     .group = "server",
     .since = "2.2.12",
     .summary = "Tells how many commands the slow log has.",
     .complexity = "O(1)"},
    {.name = "reset",
     .run = command_slowlog_reset,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = reset_tips,
     .group = "server",
     .since = "2.2.12",
     .summary = "Forgets what the slow log has.",
     .complexity = "O(N) in the number of entries of the log"},
    {0},
};

const struct command commands_observe[] = {
    {.name = "commandlog",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "server",
     .since = "8.1.0",
     .summary = "Groups the commands about logged commands.",
     .complexity = "Depends on the subcommand.",
     .subcommands = commandlog_subcommands},
    {.name = "hotkeys",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "server",
     .since = "9.1.0",
     .summary = "Groups the commands about hot keys.",
     .complexity = "Depends on the subcommand.",
     .subcommands = hotkeys_subcommands},
    {.name = "latency",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "server",
     .since = "2.8.13",
     .summary = "Groups the commands about what took long.",
     .complexity = "Depends on the subcommand.",
     .subcommands = latency_subcommands},
    {.name = "slowlog",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "server",
     .since = "2.2.12",
     .summary = "Groups the commands about slow commands.",
     .complexity = "Depends on the subcommand.",
     .subcommands = slowlog_subcommands},
    {0},
};
