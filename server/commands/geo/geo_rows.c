/* SPDX-License-Identifier: BSD-3-Clause */
/* geo_rows: the rows of the geo commands: what they are, where their keys and arguments stand.
 *
 * The functions are in geo.c and geo_search.c.
 */
#include "server/commands/families.h"
#include "server/commands/geo/geo.h"

#include <stddef.h>

static const struct command_history geoadd_history[] = {
    {"6.2.0", "Takes `CH`, `NX` and `XX`."},
    {0},
};

static const struct command_arg geoadd_args_condition[] = {
    {.name = "nx", .type = ARG_PURE_TOKEN, .token = "NX"},
    {.name = "xx", .type = ARG_PURE_TOKEN, .token = "XX"},
    {0},
};

static const struct command_arg geoadd_args_data[] = {
    {.name = "longitude", .type = ARG_DOUBLE},
    {.name = "latitude", .type = ARG_DOUBLE},
    {.name = "member", .type = ARG_STRING},
    {0},
};

static const struct command_arg geoadd_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "condition",
     .type = ARG_ONEOF,
     .flags = ARG_OPTIONAL,
     .since = "6.2.0",
     .args = geoadd_args_condition},
    {.name = "change",
     .type = ARG_PURE_TOKEN,
     .flags = ARG_OPTIONAL,
     .token = "CH",
     .since = "6.2.0"},
    {.name = "data", .type = ARG_BLOCK, .flags = ARG_MULTIPLE, .args = geoadd_args_data},
    {0},
};

static const struct command_arg geodist_args_unit[] = {
    {.name = "m", .type = ARG_PURE_TOKEN, .token = "M"},
    {.name = "km", .type = ARG_PURE_TOKEN, .token = "KM"},
    {.name = "ft", .type = ARG_PURE_TOKEN, .token = "FT"},
    {.name = "mi", .type = ARG_PURE_TOKEN, .token = "MI"},
    {0},
};

static const struct command_arg geodist_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "member1", .type = ARG_STRING},
    {.name = "member2", .type = ARG_STRING},
    {.name = "unit", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = geodist_args_unit},
    {0},
};

static const struct command_arg geohash_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "member", .type = ARG_STRING, .flags = ARG_MULTIPLE | ARG_OPTIONAL},
    {0},
};

static const struct command_history georadius_history[] = {
    {"6.2.0", "Takes `ANY`."},
    {"7.0.0", "Words of units may be in any case."},
    {0},
};

static const struct command_arg georadius_args_count_block[] = {
    {.name = "count", .type = ARG_INTEGER, .token = "COUNT"},
    {.name = "any",
     .type = ARG_PURE_TOKEN,
     .flags = ARG_OPTIONAL,
     .token = "ANY",
     .since = "6.2.0"},
    {0},
};

static const struct command_arg georadius_args_order[] = {
    {.name = "asc", .type = ARG_PURE_TOKEN, .token = "ASC"},
    {.name = "desc", .type = ARG_PURE_TOKEN, .token = "DESC"},
    {0},
};

static const struct command_arg georadius_args_store[] = {
    {.name = "storekey", .type = ARG_KEY, .key_spec = 1, .token = "STORE", .display = "key"},
    {.name = "storedistkey",
     .type = ARG_KEY,
     .key_spec = 2,
     .token = "STOREDIST",
     .display = "key"},
    {0},
};

static const struct command_arg georadius_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "longitude", .type = ARG_DOUBLE},
    {.name = "latitude", .type = ARG_DOUBLE},
    {.name = "radius", .type = ARG_DOUBLE},
    {.name = "unit", .type = ARG_ONEOF, .args = geodist_args_unit},
    {.name = "withcoord", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHCOORD"},
    {.name = "withdist", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHDIST"},
    {.name = "withhash", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHHASH"},
    {.name = "count-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = georadius_args_count_block},
    {.name = "order", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_order},
    {.name = "store", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_store},
    {0},
};

static const struct command_history georadius_ro_history[] = {
    {"6.2.0", "Takes `ANY`."},
    {"7.0.0", "Words of units may be in any case."},
    {0},
};

static const struct command_arg georadius_ro_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "longitude", .type = ARG_DOUBLE},
    {.name = "latitude", .type = ARG_DOUBLE},
    {.name = "radius", .type = ARG_DOUBLE},
    {.name = "unit", .type = ARG_ONEOF, .args = geodist_args_unit},
    {.name = "withcoord", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHCOORD"},
    {.name = "withdist", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHDIST"},
    {.name = "withhash", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHHASH"},
    {.name = "count-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = georadius_args_count_block},
    {.name = "order", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_order},
    {0},
};

static const struct command_history georadiusbymember_history[] = {
    {"6.2.0", "Takes `ANY`."},
    {"7.0.0", "Words of units may be in any case."},
    {0},
};

static const struct command_arg georadiusbymember_args_count_block[] = {
    {.name = "count", .type = ARG_INTEGER, .token = "COUNT"},
    {.name = "any", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "ANY"},
    {0},
};

static const struct command_arg georadiusbymember_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "member", .type = ARG_STRING},
    {.name = "radius", .type = ARG_DOUBLE},
    {.name = "unit", .type = ARG_ONEOF, .args = geodist_args_unit},
    {.name = "withcoord", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHCOORD"},
    {.name = "withdist", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHDIST"},
    {.name = "withhash", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHHASH"},
    {.name = "count-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = georadiusbymember_args_count_block},
    {.name = "order", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_order},
    {.name = "store", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_store},
    {0},
};

static const struct command_history georadiusbymember_ro_history[] = {
    {"6.2.0", "Takes `ANY`."},
    {"7.0.0", "Words of units may be in any case."},
    {0},
};

static const struct command_arg georadiusbymember_ro_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "member", .type = ARG_STRING},
    {.name = "radius", .type = ARG_DOUBLE},
    {.name = "unit", .type = ARG_ONEOF, .args = geodist_args_unit},
    {.name = "withcoord", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHCOORD"},
    {.name = "withdist", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHDIST"},
    {.name = "withhash", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHHASH"},
    {.name = "count-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = georadiusbymember_args_count_block},
    {.name = "order", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_order},
    {0},
};

static const struct command_history geosearch_history[] = {
    {"7.0.0", "Words of units may be in any case."},
    {"9.0.0", "Takes `BYPOLYGON`."},
    {0},
};

static const struct command_arg geosearch_args_from_fromlonlat[] = {
    {.name = "longitude", .type = ARG_DOUBLE},
    {.name = "latitude", .type = ARG_DOUBLE},
    {0},
};

static const struct command_arg geosearch_args_from[] = {
    {.name = "member", .type = ARG_STRING, .token = "FROMMEMBER"},
    {.name = "fromlonlat",
     .type = ARG_BLOCK,
     .token = "FROMLONLAT",
     .args = geosearch_args_from_fromlonlat},
    {0},
};

static const struct command_arg geosearch_args_by_circle[] = {
    {.name = "radius", .type = ARG_DOUBLE, .token = "BYRADIUS"},
    {.name = "unit", .type = ARG_ONEOF, .args = geodist_args_unit},
    {0},
};

static const struct command_arg geosearch_args_by_box[] = {
    {.name = "width", .type = ARG_DOUBLE, .token = "BYBOX"},
    {.name = "height", .type = ARG_DOUBLE},
    {.name = "unit", .type = ARG_ONEOF, .args = geodist_args_unit},
    {0},
};

static const struct command_arg geosearch_args_by_polygon[] = {
    {.name = "num-vertices", .type = ARG_INTEGER, .token = "BYPOLYGON"},
    {.name = "vertices",
     .type = ARG_BLOCK,
     .flags = ARG_MULTIPLE,
     .args = geosearch_args_from_fromlonlat},
    {0},
};

static const struct command_arg geosearch_args_by[] = {
    {.name = "circle", .type = ARG_BLOCK, .args = geosearch_args_by_circle},
    {.name = "box", .type = ARG_BLOCK, .args = geosearch_args_by_box},
    {.name = "polygon", .type = ARG_BLOCK, .since = "9.0.0", .args = geosearch_args_by_polygon},
    {0},
};

static const struct command_arg geosearch_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "from", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = geosearch_args_from},
    {.name = "by", .type = ARG_ONEOF, .args = geosearch_args_by},
    {.name = "order", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_order},
    {.name = "count-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = georadiusbymember_args_count_block},
    {.name = "withcoord", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHCOORD"},
    {.name = "withdist", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHDIST"},
    {.name = "withhash", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "WITHHASH"},
    {0},
};

static const struct command_history geosearchstore_history[] = {
    {"7.0.0", "Words of units may be in any case."},
    {"9.0.0", "Takes `BYPOLYGON`."},
    {0},
};

static const struct command_arg geosearchstore_args[] = {
    {.name = "destination", .type = ARG_KEY, .key_spec = 0},
    {.name = "source", .type = ARG_KEY, .key_spec = 1},
    {.name = "from", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = geosearch_args_from},
    {.name = "by", .type = ARG_ONEOF, .args = geosearch_args_by},
    {.name = "order", .type = ARG_ONEOF, .flags = ARG_OPTIONAL, .args = georadius_args_order},
    {.name = "count-block",
     .type = ARG_BLOCK,
     .flags = ARG_OPTIONAL,
     .args = georadiusbymember_args_count_block},
    {.name = "storedist", .type = ARG_PURE_TOKEN, .flags = ARG_OPTIONAL, .token = "STOREDIST"},
    {0},
};

const struct command commands_geo[] = {
    {.name = "geoadd",
     .run = command_geoadd,
     .arity = -5,
     .flags = CMD_DENYOOM | CMD_WRITE,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .element = -1,
     .keys = {{.flags = KEY_RW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_STATED,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Adds positions to a sorted set, or moves them.",
     .complexity = "O(log N) for each position",
     .history = geoadd_history,
     .args = geoadd_args},
    {.name = "geodist",
     .run = command_geodist,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .element = 2,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "geo",
     .since = "3.2.0",
     .summary = "Tells how far two members are from each other.",
     .complexity = "O(1)",
     .args = geodist_args},
    {.name = "geohash",
     .run = command_geohash,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "geo",
     .since = "3.2.0",
     .summary = "Tells the positions of members as geohash texts.",
     .complexity = "O(1) for each member",
     .args = geohash_args},
    {.name = "geopos",
     .run = command_geopos,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "geo",
     .since = "3.2.0",
     .summary = "Tells the positions of members.",
     .complexity = "O(1) for each member",
     .args = geohash_args},
    {.name = "georadius",
     .run = command_georadius,
     .arity = -6,
     .flags = CMD_DENYOOM | CMD_WRITE | CMD_MOVABLE_KEYS,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .spread = SPREAD_AT,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1},
              {.flags = KEY_OW | KEY_UPDATE | KEY_VARIABLE_FLAGS,
               .begin = BEGIN_KEYWORD,
               .keyword = "STORE",
               .index = 6,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1},
              {.flags = KEY_OW | KEY_UPDATE | KEY_VARIABLE_FLAGS,
               .begin = BEGIN_KEYWORD,
               .keyword = "STOREDIST",
               .index = 6,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .find_keys = georadius_find_keys,
     .logged = LOGGED_AS_SENT,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Tells the members around a position, or stores them.",
     .complexity =
         "O(N + log M): N members in the cells of the map that the circle reaches, M of all",
     .history = georadius_history,
     .args = georadius_args},
    {.name = "georadius_ro",
     .run = command_georadius_ro,
     .arity = -6,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "geo",
     .since = "3.2.10",
     .summary = "Tells the members around a position.",
     .complexity =
         "O(N + log M): N members in the cells of the map that the circle reaches, M of all",
     .history = georadius_ro_history,
     .args = georadius_ro_args},
    {.name = "georadiusbymember",
     .run = command_georadiusbymember,
     .arity = -5,
     .flags = CMD_DENYOOM | CMD_WRITE | CMD_MOVABLE_KEYS,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .spread = SPREAD_AT,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1},
              {.flags = KEY_OW | KEY_UPDATE | KEY_VARIABLE_FLAGS,
               .begin = BEGIN_KEYWORD,
               .keyword = "STORE",
               .index = 5,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1},
              {.flags = KEY_OW | KEY_UPDATE | KEY_VARIABLE_FLAGS,
               .begin = BEGIN_KEYWORD,
               .keyword = "STOREDIST",
               .index = 5,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .find_keys = georadius_find_keys,
     .logged = LOGGED_AS_SENT,
     .group = "geo",
     .since = "3.2.0",
     .summary = "Tells the members around a member, or stores them.",
     .complexity =
         "O(N + log M): N members in the cells of the map that the circle reaches, M of all",
     .history = georadiusbymember_history,
     .args = georadiusbymember_args},
    {.name = "georadiusbymember_ro",
     .run = command_georadiusbymember_ro,
     .arity = -5,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .element = 2,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "geo",
     .since = "3.2.10",
     .summary = "Tells the members around a member.",
     .complexity =
         "O(N + log M): N members in the cells of the map that the circle reaches, M of all",
     .history = georadiusbymember_ro_history,
     .args = georadiusbymember_ro_args},
    {.name = "geosearch",
     .run = command_geosearch,
     .arity = -7,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .keys = {{.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .group = "geo",
     .since = "6.2.0",
     .summary = "Tells the members in a circle, a box or a polygon.",
     .complexity =
         "O(N + log M): N members in the cells of the map that the area reaches, M of all",
     .history = geosearch_history,
     .args = geosearch_args},
    {.name = "geosearchstore",
     .run = command_geosearchstore,
     .arity = -8,
     .flags = CMD_DENYOOM | CMD_WRITE,
     .categories = ACL_GEO,
     .place = PLACE_KEY,
     .spread = SPREAD_AT,
     .keys = {{.flags = KEY_OW | KEY_UPDATE,
               .begin = BEGIN_INDEX,
               .index = 1,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1},
              {.flags = KEY_RO | KEY_ACCESS,
               .begin = BEGIN_INDEX,
               .index = 2,
               .find = FIND_RANGE,
               .last = 0,
               .step = 1}},
     .logged = LOGGED_AS_SENT,
     .group = "geo",
     .since = "6.2.0",
     .summary = "Stores the members in a circle, a box or a polygon.",
     .complexity =
         "O(N + log M): N members in the cells of the map that the area reaches, M of all",
     .history = geosearchstore_history,
     .args = geosearchstore_args},
    {0},
};
