/* SPDX-License-Identifier: BSD-3-Clause */
/* persistence_rows: the rows of the commands by which values leave the server and come back: as
 * dumps of one value. The functions are in dump.c.
 */
#include "server/commands/families.h"
#include "server/commands/persistence/persistence.h"

#include <stddef.h>

static const char *const tips_dump[] = {"nondeterministic_output", NULL};

static const struct command_arg dump_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {0},
};

static const struct command_history restore_history[] = {
    {"3.0.0", "Takes `REPLACE`."},
    {"5.0.0", "Takes `ABSTTL`."},
    {"5.0.0", "Takes `IDLETIME` and `FREQ`."},
    {0},
};

static const struct command_arg restore_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "ttl", .type = ARG_INTEGER},
    {.name = "serialized-value", .type = ARG_STRING},
    {.name = "replace",
     .type = ARG_PURE_TOKEN,
     .flags = ARG_OPTIONAL,
     .token = "REPLACE",
     .since = "3.0.0"},
    {.name = "absttl",
     .type = ARG_PURE_TOKEN,
     .flags = ARG_OPTIONAL,
     .token = "ABSTTL",
     .since = "5.0.0"},
    {.name = "seconds",
     .type = ARG_INTEGER,
     .flags = ARG_OPTIONAL,
     .token = "IDLETIME",
     .since = "5.0.0"},
    {.name = "frequency",
     .type = ARG_INTEGER,
     .flags = ARG_OPTIONAL,
     .token = "FREQ",
     .since = "5.0.0"},
    {0},
};

const struct command commands_persistence[] = {
    {.name = "dump",
     .run = command_dump,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .tips = tips_dump,
     .group = "generic",
     .since = "2.6.0",
     .summary = "Gives the value of a key as bytes that RESTORE takes.",
     .complexity = "O(N) in the size of the value",
     .args = dump_args},
    {.name = "restore",
     .run = command_restore,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_OW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "generic",
     .since = "2.6.0",
     .summary = "Makes a key of what DUMP gave.",
     .complexity = "O(N) in the size of the value; O(N*log(N)) for a sorted set",
     .history = restore_history,
     .args = restore_args},
    {.name = "restore-asking",
     .is_system = true,
     .run = command_restore,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_ASKING,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_OW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "server",
     .since = "3.0.0",
     .summary = "RESTORE, for keys of a slot that is on its way to this node.",
     .complexity = "O(N) in the size of the value; O(N*log(N)) for a sorted set",
     .history = restore_history,
     .args = restore_args},
    {0},
};
