/* SPDX-License-Identifier: BSD-3-Clause */
/* insecure: getfenv, setfenv and newproxy of Lua 5.1, for who asks for them
 * (lua-enable-insecure-api). What a script does with its own environment is its own affair, and
 * stays in a compiled script; what would end the server is kept from it all the same:
 *
 *     setfenv(0)      the globals of the thread are everybody's
 *     __gc            would run whenever memory is gathered, also between two scripts
 */
#include "server/script/insecure.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <string.h>

static int f_setfenv(lua_State *lua) {
    if (lua_isnumber(lua, 1) && lua_tointeger(lua, 1) == 0) {
        bool is_main = lua_pushthread(lua) == 1;
        lua_pop(lua, 1);
        if (is_main) {
            return luaL_error(lua, "'setfenv' cannot change environment of given object");
        }
    }
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* What getmetatable() gives of a userdata stands for its metatable, which is the upvalue. */
static int set_field(lua_State *lua) {
    if (lua_type(lua, 2) == LUA_TSTRING && strcmp(lua_tostring(lua, 2), "__gc") == 0) {
        return luaL_error(lua, "there are no finalizers");
    }
    lua_rawset(lua, lua_upvalueindex(1));
    return 0;
}

static void push_metatable(lua_State *lua) {
    lua_newtable(lua); /* the real one */
    lua_newtable(lua); /* what stands for it */
    lua_newtable(lua);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushvalue(lua, -3);
    lua_pushcclosure(lua, set_field, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_setfield(lua, -2, "__metatable");
}

static int f_newproxy(lua_State *lua) {
    lua_settop(lua, 1);
    lua_newuserdata(lua, 0);
    if (!lua_toboolean(lua, 1)) {
        return 1;
    }
    if (lua_isboolean(lua, 1)) {
        push_metatable(lua);
    } else {
        luaL_argcheck(lua, lua_isuserdata(lua, 1) && lua_getmetatable(lua, 1), 1,
                      "boolean or proxy expected");
    }
    lua_setmetatable(lua, 2);
    return 1;
}

void script_insecure_open(lua_State *lua) {
    lua_getglobal(lua, "setfenv");
    lua_pushcclosure(lua, f_setfenv, 1);
    lua_setglobal(lua, "setfenv");
    lua_pushcfunction(lua, f_newproxy);
    lua_setglobal(lua, "newproxy");
}
