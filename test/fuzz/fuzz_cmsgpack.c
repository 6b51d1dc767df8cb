/* SPDX-License-Identifier: BSD-3-Clause */
/* cmsgpack: any bytes as MessagePack; as many values come back as were packed again, one by one or
 * all at once. */
#include "bounded_lua.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many values there are, asked for one after the other; -1: something is wrong with one. */
static int count(struct bounded_lua *bounded, const uint8_t *data, size_t size) {
    lua_State *lua = bounded->lua;
    lua_Integer offset = 0;
    int n = 0;
    while (offset != -1 && n < 100) {
        lua_settop(lua, 0);
        lua_pushlstring(lua, (const char *)data, size);
        lua_pushinteger(lua, offset);
        if (!bounded_lua_call(bounded, "cmsgpack", "unpack_one", 2)) {
            return -1;
        }
        lua_Integer next = lua_tointeger(lua, 1);
        check(size == 0 || next == -1 || (next > offset && (size_t)next < size));
        n += lua_gettop(lua) - 1;
        offset = next;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bounded_lua bounded;
    bounded_lua_init(&bounded);
    lua_State *lua = bounded.lua;
    int n = count(&bounded, data, size);
    lua_settop(lua, 0);
    lua_pushlstring(lua, (const char *)data, size);
    if (bounded_lua_call(&bounded, "cmsgpack", "unpack", 1)) {
        int all = lua_gettop(lua);
        check(all == n || all >= 100);
        if (all > 0 && bounded_lua_call(&bounded, "cmsgpack", "pack", all)) {
            bool again = bounded_lua_call(&bounded, "cmsgpack", "unpack", 1);
            /* A key that is a table inside of sixteen others was packed as nil, and nil is no key.
             */
            check(again ? lua_gettop(lua) == all
                        : strcmp(lua_tostring(lua, -1), "table index is nil") == 0);
        }
    }
    bounded_lua_fini(&bounded, size);
    return 0;
}
