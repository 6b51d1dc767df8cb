/* SPDX-License-Identifier: BSD-3-Clause */
/* cjson: any bytes as JSON; what is understood can be written, and what is written says the same
 * when it is read again. */
#include "bounded_lua.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bounded_lua bounded;
    bounded_lua_init(&bounded);
    lua_State *lua = bounded.lua;
    lua_pushlstring(lua, (const char *)data, size);
    /* It cannot be written when it has a number that JSON does not have. */
    if (bounded_lua_call(&bounded, "cjson", "decode", 1) &&
        bounded_lua_call(&bounded, "cjson", "encode", 1)) {
        size_t length = lua_objlen(lua, -1);
        check(bounded_lua_call(&bounded, "cjson", "decode", 1));
        check(bounded_lua_call(&bounded, "cjson", "encode", 1));
        check(lua_objlen(lua, -1) == length); // the order of pairs may be another
    }
    bounded_lua_fini(&bounded, size);
    return 0;
}
