/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_rows: the rows of the stream commands: what they are, where their keys and arguments
 * stand.
 *
 * The functions are in stream_write.c, stream_range.c, stream_read.c.
 */
#include "server/commands/families.h"
#include "server/commands/stream/stream.h"

#include <stddef.h>

static const char *const tips_xadd[] = {
    "nondeterministic_output",
    NULL,
};

static const struct command_history xadd_history[] = {
    {"6.2.0", "`NOMKSTREAM`, trims by `MINID`, `LIMIT`."},
    {"7.0.0", "Ids of the form `<ms>-*`."},
    {0},
};

static const struct command_arg xadd_args_trim_strategy[] = {
    {.name = "maxlen", .type = ARG_PURE_TOKEN, .token = "MAXLEN"},
    {.name = "minid", .type = ARG_PURE_TOKEN, .token = "MINID", .since = "6.2.0"},
    {0},
};

static const struct command_arg xadd_args_trim_operator[] = {
    {.name = "equal", .type = ARG_PURE_TOKEN, .token = "="},
    {.name = "approximately", .type = ARG_PURE_TOKEN, .token = "~"},
    {0},
};

static const struct command_arg xadd_args_trim[] = {
    {.name = "strategy", .type = ARG_ONEOF, .args = xadd_args_trim_strategy},
    {.name = "operator", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = xadd_args_trim_operator},
    {.name = "threshold", .type = ARG_STRING},
    {.name = "count",
     .type = ARG_INTEGER,
     .flags = ARG_OPTIONAL,
     .token = "LIMIT",
     .since = "6.2.0"},
    {0},
};

static const struct command_arg xadd_args_id_selector[] = {
    {.name = "auto-id", .type = ARG_PURE_TOKEN, .token = "*"},
    {.name = "id", .type = ARG_STRING},
    {0},
};

static const struct command_arg xadd_args_data[] = {
    {.name = "field", .type = ARG_STRING},
    {.name = "value", .type = ARG_STRING},
    {0},
};

static const struct command_arg xadd_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "nomkstream",
     .type = ARG_PURE_TOKEN,
     .flags = ARG_OPTIONAL,
     .token = "NOMKSTREAM",
     .since = "6.2.0"},
    {.name = "trim", .type = ARG_BLOCK, .flags = ARG_OPTIONAL, .args = xadd_args_trim},
    {.name = "id-selector", .type = ARG_ONEOF, .args = xadd_args_id_selector},
    {.name = "data", .type = ARG_BLOCK, .flags = ARG_MULTIPLE, .args = xadd_args_data},
    {0},
};

static const struct command_arg xdel_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "id", .type = ARG_STRING, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command_arg xinfo_groups_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {0},
};

static const struct command_history xrange_history[] = {
    {"6.2.0", "Ranges that leave out their ends."},
    {0},
};

static const struct command_arg xrange_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "start", .type = ARG_STRING},
    {.name = "end", .type = ARG_STRING},
    {.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "COUNT"},
    {0},
};

static const struct command_arg xread_args_streams[] = {
    {.name = "key", .type = ARG_KEY, .flags = ARG_MULTIPLE, .key_spec = 0},
    {.name = "id", .type = ARG_STRING, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command_arg xread_args[] = {
    {.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "COUNT"},
    {.name = "milliseconds", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "BLOCK"},
    {.name = "streams", .type = ARG_BLOCK, .token = "STREAMS", .args = xread_args_streams},
    {0},
};

static const struct command_history xrevrange_history[] = {
    {"6.2.0", "Ranges that leave out their ends."},
    {0},
};

static const struct command_arg xrevrange_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "end", .type = ARG_STRING},
    {.name = "start", .type = ARG_STRING},
    {.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL, .token = "COUNT"},
    {0},
};

static const struct command_history xsetid_history[] = {
    {"7.0.0", "`ENTRIESADDED` and `MAXDELETEDID`."},
    {0},
};

static const struct command_arg xsetid_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "last-id", .type = ARG_STRING},
    {.name = "entries-added",
     .type = ARG_INTEGER,
     .flags = ARG_OPTIONAL,
     .token = "ENTRIESADDED",
     .since = "7.0.0"},
    {.name = "max-deleted-id",
     .type = ARG_STRING,
     .flags = ARG_OPTIONAL,
     .token = "MAXDELETEDID",
     .since = "7.0.0"},
    {0},
};

static const struct command_history xtrim_history[] = {
    {"6.2.0", "Trims by `MINID`, `LIMIT`."},
    {0},
};

static const struct command_arg xtrim_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "trim", .type = ARG_BLOCK, .args = xadd_args_trim},
    {0},
};

const struct command commands_stream[] = {
    {.name = "xadd",
     .run = command_xadd,
     .arity = -5,
     .flags = CMD_DENYOOM | CMD_FAST | CMD_WRITE,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .brief = true,
     .keys = {{.flags = KEY_RW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1,
               .notes = "UPDATE, because a trim may come with it"}},
     .tips = tips_xadd,
     .logged = LOGGED_AS_SENT,
     .group = "stream",
     .since = "5.0.0",
     .summary = "Adds an entry at the end of a stream, which is made if it is missing.",
     .complexity = "O(1), and O(N) in the entries that a trim removes",
     .history = xadd_history,
     .args = xadd_args},
    {.name = "xdel",
     .run = command_xdel,
     .arity = -3,
     .flags = CMD_FAST | CMD_WRITE,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_DELETE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "stream",
     .since = "5.0.0",
     .summary = "Deletes entries of a stream by id.",
     .complexity = "O(1) for each id",
     .args = xdel_args},
    {.name = "xlen",
     .run = command_xlen,
     .arity = 2,
     .flags = CMD_FAST | CMD_READONLY,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .brief = true,
     .keys = {{.flags = KEY_RO,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "stream",
     .since = "5.0.0",
     .summary = "Counts the entries of a stream.",
     .complexity = "O(1)",
     .args = xinfo_groups_args},
    {.name = "xrange",
     .run = command_xrange,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "stream",
     .since = "5.0.0",
     .summary = "Reads the entries of a stream between two ids.",
     .complexity = "O(N) in the entries returned",
     .history = xrange_history,
     .args = xrange_args},
    {.name = "xread",
     .run = command_xread,
     .arity = -4,
     .flags = CMD_BLOCKING | CMD_READONLY | CMD_MOVABLE_KEYS,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .spread = SPREAD_AT,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_KEYWORD,
               .keyword = "STREAMS",
               .index = 1,
               .find = FIND_RANGE,
               .last = -1,
               .step = 1,
               .limit = 2}},
     .group = "stream",
     .since = "5.0.0",
     .summary = "Reads what came behind an id, of one or several streams; may wait for it.",
     .args = xread_args},
    {.name = "xrevrange",
     .run = command_xrevrange,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "stream",
     .since = "5.0.0",
     .summary = "Reads the entries of a stream between two ids, the last first.",
     .complexity = "O(N) in the entries returned",
     .history = xrevrange_history,
     .args = xrevrange_args},
    {.name = "xsetid",
     .run = command_xsetid,
     .arity = -3,
     .flags = CMD_DENYOOM | CMD_FAST | CMD_WRITE,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "stream",
     .since = "5.0.0",
     .summary = "Sets what a stream remembers of its ids; for replication.",
     .complexity = "O(1)",
     .history = xsetid_history,
     .args = xsetid_args},
    {.name = "xtrim",
     .run = command_xtrim,
     .arity = -4,
     .flags = CMD_WRITE,
     .categories = ACL_STREAM,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RW | KEY_DELETE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .tips = tips_xadd,
     .logged = LOGGED_AS_SENT,
     .group = "stream",
     .since = "5.0.0",
     .summary = "Removes the oldest entries of a stream.",
     .complexity = "O(N) in the entries removed; whole nodes go at once",
     .history = xtrim_history,
     .args = xtrim_args},
    {0},
};
