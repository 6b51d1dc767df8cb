/* SPDX-License-Identifier: BSD-3-Clause */
/* scripting_rows: the rows of EVAL, EVALSHA and SCRIPT. */
#include "server/commands/families.h"
#include "server/commands/scripting/scripting.h"

#include <stddef.h>

static const struct command_arg eval_args[] = {
    {.name = "script", .type = ARG_STRING},
    {.name = "numkeys", .type = ARG_INTEGER},
    {.name = "key", .type = ARG_KEY, .flags = ARG_MULTIPLE | ARG_OPTIONAL, .key_spec = 0},
    {.name = "arg", .type = ARG_STRING, .flags = ARG_MULTIPLE | ARG_OPTIONAL},
    {0},
};

static const struct command_arg evalsha_args[] = {
    {.name = "sha1", .type = ARG_STRING},
    {.name = "numkeys", .type = ARG_INTEGER},
    {.name = "key", .type = ARG_KEY, .flags = ARG_MULTIPLE | ARG_OPTIONAL, .key_spec = 0},
    {.name = "arg", .type = ARG_STRING, .flags = ARG_MULTIPLE | ARG_OPTIONAL},
    {0},
};

static const struct command_arg flush_types[] = {
    {.name = "async", .type = ARG_PURE_TOKEN, .token = "ASYNC"},
    {.name = "sync", .type = ARG_PURE_TOKEN, .token = "SYNC"},
    {0},
};

static const char *const tips_kill[] = {
    "request_policy:all_shards",
    "response_policy:one_succeeded",
    NULL,
};

static const struct command_arg script_debug_args_mode[] = {
    {.name = "yes", .type = ARG_PURE_TOKEN, .token = "YES"},
    {.name = "sync", .type = ARG_PURE_TOKEN, .token = "SYNC"},
    {.name = "no", .type = ARG_PURE_TOKEN, .token = "NO"},
    {0},
};

static const struct command_arg script_debug_args[] = {
    {.name = "mode", .type = ARG_ONEOF, .args = script_debug_args_mode},
    {.name = "engine", .type = ARG_STRING, .flags = ARG_OPTIONAL, .since = "9.1.0"},
    {0},
};

static const char *const tips_script_exists[] = {
    "request_policy:all_shards",
    "response_policy:agg_logical_and",
    NULL,
};

static const struct command_arg script_exists_args[] = {
    {.name = "sha1", .type = ARG_STRING, .flags = ARG_MULTIPLE},
    {0},
};

static const char *const tips_script_flush[] = {
    "request_policy:all_nodes",
    "response_policy:all_succeeded",
    NULL,
};

static const struct command_history script_flush_history[] = {
    {"6.2.0", "Takes ASYNC and SYNC."},
    {0},
};

static const struct command_arg script_flush_args[] = {
    {.name = "flush-type",
     .type = ARG_ONEOF,
     .flags = ARG_OPTIONAL,
     .since = "6.2.0",
     .args = flush_types},
    {0},
};

static const struct command_arg script_load_args[] = {
    {.name = "script", .type = ARG_STRING},
    {0},
};

static const struct command_arg script_show_args[] = {
    {.name = "sha1", .type = ARG_STRING},
    {0},
};

static const struct command script_subcommands[] = {
    {.name = "debug",
     .run = command_script_debug,
     .arity = -3,
     .flags = CMD_NOSCRIPT,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .group = "scripting",
     .since = "3.2.0",
     .summary = "Sets how the next script of the connection is debugged.",
     .complexity = "O(1)",
     .args = script_debug_args},
    {.name = "exists",
     .run = command_script_exists,
     .arity = -3,
     .flags = CMD_NOSCRIPT | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .tips = tips_script_exists,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Tells which scripts are known, by their digests.",
     .complexity = "O(N) in the number of digests",
     .args = script_exists_args},
    {.name = "flush",
     .run = command_script_flush,
     .arity = -2,
     .flags = CMD_NOSCRIPT | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .tips = tips_script_flush,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Forgets all scripts.",
     .complexity = "O(N) in the number of scripts",
     .history = script_flush_history,
     .args = script_flush_args},
    {.name = "help",
     .run = command_script_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .group = "scripting",
     .since = "5.0.0",
     .summary = "Describes the subcommands.",
     .complexity = "O(1)"},
    {.name = "kill",
     .run = command_script_kill,
     .arity = 2,
     .flags = CMD_ALLOW_BUSY | CMD_NOSCRIPT,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .tips = tips_kill,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Ends the script that runs.",
     .complexity = "O(1)"},
    {.name = "load",
     .run = command_script_load,
     .arity = 3,
     .flags = CMD_NOSCRIPT | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .tips = tips_script_flush,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Makes a script known without running it.",
     .complexity = "O(N) in the length of the script",
     .args = script_load_args},
    {.name = "show",
     .run = command_script_show,
     .arity = 3,
     .flags = CMD_NOSCRIPT | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .place = PLACE_PURE,
     .fence = FENCE_YES,
     .group = "scripting",
     .since = "8.0.0",
     .summary = "Returns the text of a script.",
     .complexity = "O(1)",
     .args = script_show_args},
    {0},
};

const struct command commands_scripting[] = {
    {.name = "eval",
     .run = command_eval,
     .runs_script = true,
     .fence = FENCE_YES,
     .arity = -3,
     .flags = CMD_NOSCRIPT | CMD_MAY_REPLICATE | CMD_NO_MANDATORY_KEYS | CMD_SKIP_MONITOR |
              CMD_STALE | CMD_MOVABLE_KEYS,
     .categories = ACL_SCRIPTING,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 2,
               .find = FIND_KEYNUM,
               .keynum = 0,
               .first = 1,
               .keynum_step = 1,
               .notes = "A script may do anything with them: they count as read and written"}},
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Runs a Lua script.",
     .complexity = "Whatever the script does",
     .args = eval_args},
    {.name = "eval_ro",
     .run = command_eval_ro,
     .runs_script = true,
     .fence = FENCE_YES,
     .arity = -3,
     .flags = CMD_NOSCRIPT | CMD_NO_MANDATORY_KEYS | CMD_READONLY | CMD_SKIP_MONITOR | CMD_STALE |
              CMD_MOVABLE_KEYS,
     .categories = ACL_SCRIPTING,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 2,
               .find = FIND_KEYNUM,
               .keynum = 0,
               .first = 1,
               .keynum_step = 1,
               .notes = "A script may do anything with them that only reads"}},
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Runs a Lua script that only reads.",
     .complexity = "Whatever the script does",
     .args = eval_args},
    {.name = "evalsha",
     .run = command_evalsha,
     .runs_script = true,
     .fence = FENCE_YES,
     .arity = -3,
     .flags = CMD_NOSCRIPT | CMD_MAY_REPLICATE | CMD_NO_MANDATORY_KEYS | CMD_SKIP_MONITOR |
              CMD_STALE | CMD_MOVABLE_KEYS,
     .categories = ACL_SCRIPTING,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 2,
               .find = FIND_KEYNUM,
               .keynum = 0,
               .first = 1,
               .keynum_step = 1}},
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Runs a Lua script that is known, by its digest.",
     .complexity = "Whatever the script does",
     .args = evalsha_args},
    {.name = "evalsha_ro",
     .run = command_evalsha_ro,
     .runs_script = true,
     .fence = FENCE_YES,
     .arity = -3,
     .flags = CMD_NOSCRIPT | CMD_NO_MANDATORY_KEYS | CMD_READONLY | CMD_SKIP_MONITOR | CMD_STALE |
              CMD_MOVABLE_KEYS,
     .categories = ACL_SCRIPTING,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 2,
               .find = FIND_KEYNUM,
               .keynum = 0,
               .first = 1,
               .keynum_step = 1}},
     .group = "scripting",
     .since = "7.0.0",
     .summary = "Runs a Lua script that is known and only reads, by its digest.",
     .complexity = "Whatever the script does",
     .args = evalsha_args},
    {.name = "script",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "scripting",
     .since = "2.6.0",
     .summary = "Holds the commands about scripts.",
     .complexity = "That of the subcommand",
     .subcommands = script_subcommands},
    {0},
};
