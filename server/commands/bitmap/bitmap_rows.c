/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap_rows: the rows of the bitmap commands: what they are, where their keys and arguments
 * stand.
 *
 * The functions are in bitmap.c and bitmap_field.c.
 */
#include "server/commands/bitmap/bitmap.h"
#include "server/commands/families.h"

static const struct command_history bitcount_history[] = {
    {"7.0.0", "BYTE and BIT: what the range counts."},
    {"8.0.0", "The end of the range may be left out."},
    {0},
};

static const struct command_arg bitcount_args_range_end_unit_block_unit[] = {
    {.name = "byte", .type = ARG_PURE_TOKEN, .token = "BYTE"},
    {.name = "bit", .type = ARG_PURE_TOKEN, .token = "BIT"},
    {0},
};

static const struct command_arg bitcount_args_range_end_unit_block[] = {
    {.name = "end", .type = ARG_INTEGER},
    {.name = "unit",
     .type = ARG_ONEOF,
     .flags = ARG_OPTIONAL,
     .since = "7.0.0",
     .args = bitcount_args_range_end_unit_block_unit},
    {0},
};

static const struct command_arg bitcount_args_range[] = {
    {.name = "start", .type = ARG_INTEGER},
    {.name = "end-unit-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = bitcount_args_range_end_unit_block},
    {0},
};

static const struct command_arg bitcount_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "range", .type = ARG_BLOCK, .flags = ARG_OPTIONAL, .args = bitcount_args_range},
    {0},
};

static const struct command_arg bitfield_args_operation_get_block[] = {
    {.name = "encoding", .type = ARG_STRING},
    {.name = "offset", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg bitfield_args_operation_write_overflow_block[] = {
    {.name = "wrap", .type = ARG_PURE_TOKEN, .token = "WRAP"},
    {.name = "sat", .type = ARG_PURE_TOKEN, .token = "SAT"},
    {.name = "fail", .type = ARG_PURE_TOKEN, .token = "FAIL"},
    {0},
};

static const struct command_arg bitfield_args_operation_write_write_operation_set_block[] = {
    {.name = "encoding", .type = ARG_STRING},
    {.name = "offset", .type = ARG_INTEGER},
    {.name = "value", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg bitfield_args_operation_write_write_operation_incrby_block[] = {
    {.name = "encoding", .type = ARG_STRING},
    {.name = "offset", .type = ARG_INTEGER},
    {.name = "increment", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg bitfield_args_operation_write_write_operation[] = {
    {.name = "set-block",
     .type = ARG_BLOCK,
     .token = "SET",
     .args = bitfield_args_operation_write_write_operation_set_block},
    {.name = "incrby-block",
     .type = ARG_BLOCK,
     .token = "INCRBY",
     .args = bitfield_args_operation_write_write_operation_incrby_block},
    {0},
};

static const struct command_arg bitfield_args_operation_write[] = {
    {.name = "overflow-block",
     .type = ARG_ONEOF,
     .flags = ARG_OPTIONAL,
     .token = "OVERFLOW",
     .args = bitfield_args_operation_write_overflow_block},
    {.name = "write-operation",
     .type = ARG_ONEOF,
     .args = bitfield_args_operation_write_write_operation},
    {0},
};

static const struct command_arg bitfield_args_operation[] = {
    {.name = "get-block",
     .type = ARG_BLOCK,
     .token = "GET",
     .args = bitfield_args_operation_get_block},
    {.name = "write", .type = ARG_BLOCK, .args = bitfield_args_operation_write},
    {0},
};

static const struct command_arg bitfield_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "operation",
     .type = ARG_ONEOF,
     .flags = ARG_MULTIPLE | ARG_OPTIONAL,
     .args = bitfield_args_operation},
    {0},
};

static const struct command_arg bitfield_ro_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "get-block",
     .type = ARG_BLOCK,
     .flags = ARG_MULTIPLE | ARG_MULTIPLE_TOKEN | ARG_OPTIONAL,
     .token = "GET",
     .args = bitfield_args_operation_get_block},
    {0},
};

static const struct command_arg bitop_args_operation[] = {
    {.name = "and", .type = ARG_PURE_TOKEN, .token = "AND"},
    {.name = "or", .type = ARG_PURE_TOKEN, .token = "OR"},
    {.name = "xor", .type = ARG_PURE_TOKEN, .token = "XOR"},
    {.name = "not", .type = ARG_PURE_TOKEN, .token = "NOT"},
    {0},
};

static const struct command_arg bitop_args[] = {
    {.name = "operation", .type = ARG_ONEOF, .args = bitop_args_operation},
    {.name = "destkey", .type = ARG_KEY, .key_spec = 0},
    {.name = "key", .type = ARG_KEY, .flags = ARG_MULTIPLE, .key_spec = 1},
    {0},
};

static const struct command_history bitpos_history[] = {
    {"7.0.0", "BYTE and BIT: what the range counts."},
    {0},
};

static const struct command_arg bitpos_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "bit", .type = ARG_INTEGER},
    {.name = "range", .type = ARG_BLOCK, .flags = ARG_OPTIONAL, .args = bitcount_args_range},
    {0},
};

static const struct command_arg getbit_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "offset", .type = ARG_INTEGER},
    {0},
};

static const struct command_arg setbit_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "offset", .type = ARG_INTEGER},
    {.name = "value", .type = ARG_INTEGER},
    {0},
};

const struct command commands_bitmap[] = {
    {.name = "bitcount",
     .run = command_bitcount,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "bitmap",
     .since = "2.6.0",
     .summary = "Counts the ones of a string, or of a part of it.",
     .complexity = "O(N) in the length of the part",
     .history = bitcount_history,
     .args = bitcount_args},
    {.name = "bitfield",
     .run = command_bitfield,
     .arity = -2,
     .flags = CMD_DENYOOM | CMD_WRITE,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .find_keys = bitfield_find_keys,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1,
               .notes = "It reads and writes the key; GET alone only reads."}},
     .logged = LOGGED_AS_SENT,
     .group = "bitmap",
     .since = "3.2.0",
     .summary = "Reads, sets and adds to numbers of any width at any bit of a string.",
     .complexity = "O(1) for each operation",
     .args = bitfield_args},
    {.name = "bitfield_ro",
     .run = command_bitfield_ro,
     .arity = -2,
     .flags = CMD_FAST | CMD_READONLY,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "bitmap",
     .since = "6.0.0",
     .summary = "Reads numbers of any width at any bit of a string.",
     .complexity = "O(1) for each operation",
     .args = bitfield_ro_args},
    {.name = "bitop",
     .run = command_bitop,
     .arity = -4,
     .flags = CMD_DENYOOM | CMD_WRITE,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .spread = SPREAD_AT,
     .keys = {{.flags = KEY_OW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 2,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1},
              {.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 3,
               .find = FIND_RANGE,
               .last = -1,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "bitmap",
     .since = "2.6.0",
     .summary = "Combines the bits of strings and stores what they make.",
     .complexity = "O(N) in the length of the longest string",
     .args = bitop_args},
    {.name = "bitpos",
     .run = command_bitpos,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "bitmap",
     .since = "2.8.7",
     .summary = "Finds the first bit of a string that is 1, or 0.",
     .complexity = "O(N) in the length of the part that is searched",
     .history = bitpos_history,
     .args = bitpos_args},
    {.name = "getbit",
     .run = command_getbit,
     .arity = 3,
     .flags = CMD_FAST | CMD_READONLY,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "bitmap",
     .since = "2.2.0",
     .summary = "Reads a bit of a string.",
     .complexity = "O(1)",
     .args = getbit_args},
    {.name = "setbit",
     .run = command_setbit,
     .arity = 4,
     .flags = CMD_DENYOOM | CMD_WRITE,
     .categories = ACL_BITMAP,
     .place = PLACE_KEY,
     .brief = true,
     .keys = {{.flags = KEY_RW | KEY_ACCESS | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "bitmap",
     .since = "2.2.0",
     .summary = "Sets a bit of a string and tells what it was; the string grows as it must.",
     .complexity = "O(1)",
     .args = setbit_args},
    {0},
};
