/* SPDX-License-Identifier: BSD-3-Clause */
/* cjson: its configuration, and the table of its functions. */
#include "server/script/lib/lib.h"
#include "server/script/lib/lib_cjson_private.h"

#include <lauxlib.h>
#include <limits.h>

/* Arguments that were left out are nil from here on: they ask, and set nothing. */
static struct cjson *options(lua_State *lua, int most) {
    luaL_argcheck(lua, lua_gettop(lua) <= most, most + 1, "found too many arguments");
    lua_settop(lua, most);
    return cjson_of(lua);
}

static void integer_option(lua_State *lua, int index, int *option, int min, int max) {
    if (!lua_isnil(lua, index)) {
        lua_Integer value = luaL_checkinteger(lua, index);
        if (value < min || value > max) {
            /* Whichever it was, the first is named. */
            luaL_argerror(lua, 1,
                          lua_pushfstring(lua, "expected integer between %d and %d", min, max));
        }
        *option = (int)value;
    }
    lua_pushinteger(lua, *option);
}

/* `names` are those of the values from 0 on; true stands for the one at `truth`, and is what is
 * shown for it. */
static void choice_option(lua_State *lua, int index, int *option, const char *const *names,
                          int truth) {
    if (!lua_isnil(lua, index)) {
        *option = lua_isboolean(lua, index) ? lua_toboolean(lua, index) * truth
                                            : luaL_checkoption(lua, index, NULL, names);
    }
    if (*option == 0 || *option == truth) {
        lua_pushboolean(lua, *option);
    } else {
        lua_pushstring(lua, names[*option]);
    }
}

static void switch_option(lua_State *lua, int index, int *option) {
    static const char *const names[] = {"off", "on", NULL};
    choice_option(lua, index, option, names, 1);
}

static int cjson_encode_sparse_array(lua_State *lua) {
    struct cjson *cjson = options(lua, 3);
    switch_option(lua, 1, &cjson->sparse_convert);
    integer_option(lua, 2, &cjson->sparse_ratio, 0, INT_MAX);
    integer_option(lua, 3, &cjson->sparse_safe, 0, INT_MAX);
    return 3;
}

static int cjson_encode_max_depth(lua_State *lua) {
    integer_option(lua, 1, &options(lua, 1)->encode_depth_max, 1, INT_MAX);
    return 1;
}

static int cjson_decode_max_depth(lua_State *lua) {
    integer_option(lua, 1, &options(lua, 1)->decode_depth_max, 1, INT_MAX);
    return 1;
}

static int cjson_encode_number_precision(lua_State *lua) {
    integer_option(lua, 1, &options(lua, 1)->encode_precision, 1, 14);
    return 1;
}

static int cjson_encode_keep_buffer(lua_State *lua) {
    switch_option(lua, 1, &options(lua, 1)->encode_keep);
    return 1;
}

static int cjson_encode_invalid_numbers(lua_State *lua) {
    static const char *const names[] = {"off", "on", "null", NULL};
    choice_option(lua, 1, &options(lua, 1)->encode_invalid, names, CJSON_INVALID_AS_IS);
    return 1;
}

static int cjson_decode_invalid_numbers(lua_State *lua) {
    switch_option(lua, 1, &options(lua, 1)->decode_invalid);
    return 1;
}

static int cjson_new(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"encode", cjson_encode},
        {"decode", cjson_decode},
        {"encode_sparse_array", cjson_encode_sparse_array},
        {"encode_max_depth", cjson_encode_max_depth},
        {"decode_max_depth", cjson_decode_max_depth},
        {"encode_number_precision", cjson_encode_number_precision},
        {"encode_keep_buffer", cjson_encode_keep_buffer},
        {"encode_invalid_numbers", cjson_encode_invalid_numbers},
        {"decode_invalid_numbers", cjson_decode_invalid_numbers},
        {"new", cjson_new},
    };
    size_t n = sizeof(functions) / sizeof(functions[0]);
    lua_createtable(lua, 0, (int)n + 3);
    struct cjson *cjson = lua_newuserdata(lua, sizeof(*cjson));
    *cjson = (struct cjson){
        .sparse_ratio = 2,
        .sparse_safe = 10,
        .encode_depth_max = 1000,
        .encode_precision = 14,
        .encode_keep = 1,
        .decode_depth_max = 1000,
        .decode_invalid = 1,
    };
    for (size_t i = 0; i < n; i++) {
        lua_pushvalue(lua, -1);
        lua_pushcclosure(lua, functions[i].func, 1);
        lua_setfield(lua, -3, functions[i].name);
    }
    lua_pop(lua, 1);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, -2, "null");
    lua_pushliteral(lua, "cjson");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "2.1.0");
    lua_setfield(lua, -2, "_VERSION");
    return 1;
}

void script_lib_cjson(lua_State *lua) {
    cjson_new(lua);
    lua_setglobal(lua, "cjson");
}
