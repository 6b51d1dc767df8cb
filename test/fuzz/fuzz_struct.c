/* SPDX-License-Identifier: BSD-3-Clause */
/* struct: the first byte says how long the format is; behind that are the data. Nothing is read
 * beyond them, and what was read can be packed in the same format. */
#include "bounded_lua.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    size_t length = data[0] < size ? data[0] : size - 1, rest = size - 1 - length;
    const char *format = (const char *)data + 1;
    struct bounded_lua bounded;
    bounded_lua_init(&bounded);
    lua_State *lua = bounded.lua;
    lua_pushlstring(lua, format, length);
    bounded_lua_call(&bounded, "struct", "size", 1);
    lua_settop(lua, 0);
    lua_pushlstring(lua, format, length);
    lua_pushlstring(lua, format + length, rest);
    if (bounded_lua_call(&bounded, "struct", "unpack", 2)) {
        lua_Integer position = lua_tointeger(lua, -1);
        check(position >= 1 && (size_t)position <= rest + 1);
        lua_pop(lua, 1);
        lua_pushlstring(lua, format, length);
        lua_insert(lua, 1);
        bool packed = bounded_lua_call(&bounded, "struct", "pack", lua_gettop(lua));
        /* c0 has taken its length away from the values. */
        check(packed || memchr(format, 'c', length));
    }
    bounded_lua_fini(&bounded, size);
    return 0;
}
