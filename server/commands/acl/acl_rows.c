/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_rows: the rows of ACL. The functions are in acl_commands.c and acl_change.c. */
#include "server/commands/acl/acl_commands.h"
#include "server/commands/families.h"

#include <stddef.h>

static const char *const change_tips[] = {"request_policy:all_nodes",
                                          "response_policy:all_succeeded", NULL};

static const struct command_arg cat_args[] = {
    {.name = "category", .type = ARG_STRING, .flags = ARG_OPTIONAL},
    {0},
};

static const struct command_arg deluser_args[] = {
    {.name = "username", .type = ARG_STRING, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command_arg dryrun_args[] = {
    {.name = "username", .type = ARG_STRING},
    {.name = "command", .type = ARG_STRING},
    {.name = "arg", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
    {0},
};

static const struct command_arg genpass_args[] = {
    {.name = "bits", .type = ARG_INTEGER, .flags = ARG_OPTIONAL},
    {0},
};

static const struct command_arg getuser_args[] = {
    {.name = "username", .type = ARG_STRING},
    {0},
};

static const struct command_arg log_args_operation[] = {
    {.name = "count", .type = ARG_INTEGER},
    {.name = "reset", .type = ARG_PURE_TOKEN, .token = "RESET"},
    {0},
};

static const struct command_arg log_args[] = {
    {.name = "operation", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = log_args_operation},
    {0},
};

static const struct command_arg setuser_args[] = {
    {.name = "username", .type = ARG_STRING},
    {.name = "rule", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
    {0},
};

static const struct command_history getuser_history[] = {
    {"6.2.0", "Tells patterns of channels."},
    {"7.0.0", "Tells selectors; keys and channels are told as rules."},
    {"9.1.0", "Tells databases."},
    {0},
};

static const struct command_history log_history[] = {
    {"7.2.0", "Entries have a number, and the times when they were made and changed last."},
    {0},
};

static const struct command_history setuser_history[] = {
    {"6.2.0", "Takes patterns of channels."},
    {"7.0.0", "Takes selectors, and patterns of keys to be read or written."},
    {"9.1.0", "Takes databases."},
    {0},
};

static const struct command acl_subcommands[] = {
    {.name = "cat",
     .run = command_acl_cat,
     .arity = -2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "6.0.0",
     .summary = "Shows the categories, or the commands of one.",
     .complexity = "O(1), as the commands are a fixed set.",
     .args = cat_args},
    {.name = "deluser",
     .run = command_acl_deluser,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .secret = acl_secret,
     .tips = change_tips,
     .group = "server",
     .since = "6.0.0",
     .summary = "Takes users away, and closes their connections.",
     .complexity = "O(1) for each user.",
     .args = deluser_args},
    {.name = "dryrun",
     .run = command_acl_dryrun,
     .arity = -4,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .secret = acl_secret,
     .group = "server",
     .since = "7.0.0",
     .summary = "Says whether a user may run a command, without running it.",
     .complexity = "O(1).",
     .args = dryrun_args},
    {.name = "genpass",
     .run = command_acl_genpass,
     .arity = -2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "6.0.0",
     .summary = "Makes a password of random digits.",
     .complexity = "O(1)",
     .args = genpass_args},
    {.name = "getuser",
     .run = command_acl_getuser,
     .arity = 3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .secret = acl_secret,
     .group = "server",
     .since = "6.0.0",
     .summary = "Shows what a user is made of.",
     .complexity = "O(N) in the number of its passwords, rules and patterns",
     .history = getuser_history,
     .args = getuser_args},
    {.name = "help",
     .run = command_acl_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_PURE,
     .group = "server",
     .since = "6.0.0",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "list",
     .run = command_acl_list,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .group = "server",
     .since = "6.0.0",
     .summary = "Shows all users as the file of users has them.",
     .complexity = "O(N) in the number of users"},
    {.name = "load",
     .run = command_acl_load,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .group = "server",
     .since = "6.0.0",
     .summary = "Reads the file of users again.",
     .complexity = "O(N) in the number of users"},
    {.name = "log",
     .run = command_acl_log,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .group = "server",
     .since = "6.0.0",
     .summary = "Shows what was denied lately, or forgets it.",
     .complexity = "O(N) in the number of entries shown",
     .history = log_history,
     .args = log_args},
    {.name = "save",
     .run = command_acl_save,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .tips = change_tips,
     .group = "server",
     .since = "6.0.0",
     .summary = "Writes the users to their file.",
     .complexity = "O(N) in the number of users"},
    {.name = "setuser",
     .run = command_acl_setuser,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_EACH_WORKER,
     .secret = acl_secret,
     .tips = change_tips,
     .group = "server",
     .since = "6.0.0",
     .summary = "Makes a user, or changes it by rules.",
     .complexity = "O(N) in the number of rules",
     .history = setuser_history,
     .args = setuser_args},
    {.name = "users",
     .run = command_acl_users,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .group = "server",
     .since = "6.0.0",
     .summary = "Shows the names of all users.",
     .complexity = "O(N) in the number of users"},
    {.name = "whoami",
     .run = command_acl_whoami,
     .arity = 2,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .group = "server",
     .since = "6.0.0",
     .summary = "Shows the user of this connection.",
     .complexity = "O(1)"},
    {0},
};

const struct command commands_acl[] = {
    {.name = "acl",
     .arity = -2,
     .place = PLACE_PURE,
     .group = "server",
     .since = "6.0.0",
     .summary = "Groups the commands about users and what they may do.",
     .complexity = "Depends on the subcommand.",
     .subcommands = acl_subcommands},
    {0},
};
