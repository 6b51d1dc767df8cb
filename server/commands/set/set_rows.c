/* SPDX-License-Identifier: BSD-3-Clause */
/* set_rows: the rows of the set commands: what they are, where their keys and arguments stand.
 *
 * The functions are in set.c, set_algebra.c and set_random.c.
 */
#include "server/commands/families.h"
#include "server/commands/set/set.h"

#include <stddef.h>

static const struct command_history sadd_history[] = {
    {"2.4.0", "Takes more than one member."},
    {0},
};

static const struct command_arg sadd_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "member", .type = ARG_STRING, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command_arg scard_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {0},
};

static const char *const tips_sdiff[] = {
    "nondeterministic_output_order",
    NULL,
};

static const struct command_arg sismember_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "member", .type = ARG_STRING},
    {0},
};

static const struct command_history srem_history[] = {
    {"2.4.0", "Takes more than one member."},
    {0},
};

const struct command commands_set[] = {
    {.name = "sadd",
     .run = command_sadd,
     .arity = -3,
     .flags = CMD_DENYOOM | CMD_FAST | CMD_WRITE,
     .categories = ACL_SET,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_INSERT,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "set",
     .since = "1.0.0",
     .summary = "Adds members to a set, which it makes if need be.",
     .complexity = "O(1) for each member",
     .history = sadd_history,
     .args = sadd_args},
    {.name = "scard",
     .run = command_scard,
     .arity = 2,
     .flags = CMD_FAST | CMD_READONLY,
     .categories = ACL_SET,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "set",
     .since = "1.0.0",
     .summary = "Tells how many members a set has.",
     .complexity = "O(1)",
     .args = scard_args},
    {.name = "sismember",
     .run = command_sismember,
     .arity = 3,
     .flags = CMD_FAST | CMD_READONLY,
     .categories = ACL_SET,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "set",
     .since = "1.0.0",
     .summary = "Tells whether a set has a member.",
     .complexity = "O(1)",
     .args = sismember_args},
    {.name = "smembers",
     .run = command_smembers,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_SET,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .tips = tips_sdiff,
     .group = "set",
     .since = "1.0.0",
     .summary = "Answers all members of a set.",
     .complexity = "O(N) for N members",
     .args = scard_args},
    {.name = "smismember",
     .run = command_smismember,
     .arity = -3,
     .flags = CMD_FAST | CMD_READONLY,
     .categories = ACL_SET,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "set",
     .since = "6.2.0",
     .summary = "Tells of each of some members whether a set has it.",
     .complexity = "O(N) for N members asked for",
     .args = sadd_args},
    {.name = "srem",
     .run = command_srem,
     .arity = -3,
     .flags = CMD_FAST | CMD_WRITE,
     .categories = ACL_SET,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_DELETE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "set",
     .since = "1.0.0",
     .summary = "Removes members from a set; without any left the key goes.",
     .complexity = "O(N) for N members named",
     .history = srem_history,
     .args = sadd_args},
    {0},
};
