/* SPDX-License-Identifier: BSD-3-Clause */
/* lib_patterns: string.find, match, gmatch and gsub refuse patterns that are too complex. Lua's own
 * calls itself for each part of a pattern that may be repeated or captured, as deep as there are
 * such, and Lua 5.1 has no bound for that: half a million of them are more than a thread's stack
 * holds, which ends the server. Later versions of Lua have a bound, too, and this error.
 */
#include "server/script/lib/lib.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

/* A few hundred bytes of stack each. */
#define PARTS_MAX 1000

static bool is_too_complex(const char *pattern, size_t bytes) {
    unsigned parts = 0;
    for (size_t i = 0; i < bytes && parts <= PARTS_MAX; i++) {
        parts += pattern[i] != 0 && strchr("?*+-()", pattern[i]) != NULL;
    }
    return parts > PARTS_MAX;
}

/* Lua's function is the first upvalue; the second says that a fourth argument may make the pattern
 * a plain text. */
static int guarded(lua_State *lua) {
    size_t bytes = 0;
    const char *pattern = lua_type(lua, 2) == LUA_TSTRING ? lua_tolstring(lua, 2, &bytes) : NULL;
    if (bytes > PARTS_MAX && is_too_complex(pattern, bytes) &&
        !(lua_toboolean(lua, lua_upvalueindex(2)) && lua_toboolean(lua, 4))) {
        return luaL_error(lua, "pattern too complex");
    }
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

void script_lib_patterns(lua_State *lua) {
    static const char *const names[] = {"find", "match", "gmatch", "gfind", "gsub", NULL};
    lua_getglobal(lua, LUA_STRLIBNAME);
    for (unsigned i = 0; names[i] != NULL; i++) {
        lua_getfield(lua, -1, names[i]);
        if (lua_iscfunction(lua, -1)) {
            lua_pushboolean(lua, i == 0);
            lua_pushcclosure(lua, guarded, 2);
            lua_setfield(lua, -2, names[i]);
        } else {
            lua_pop(lua, 1);
        }
    }
    lua_pop(lua, 1);
}
