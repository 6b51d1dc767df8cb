/* SPDX-License-Identifier: BSD-3-Clause */
/* bounded_lua: a Lua state with the libraries of scripts for one input, whose memory is counted. */
#ifndef SHOAL_TEST_FUZZ_BOUNDED_LUA_H
#define SHOAL_TEST_FUZZ_BOUNDED_LUA_H

#include "base/check.h"
#include "server/script/lib/lib.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct bounded_lua {
    lua_State *lua;
    size_t used, used_max;
};

static inline void *bounded_lua_alloc(void *context, void *old, size_t old_size, size_t size) {
    struct bounded_lua *bounded = context;
    bounded->used += size - old_size;
    if (bounded->used > bounded->used_max) {
        bounded->used_max = bounded->used;
    }
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static inline void bounded_lua_init(struct bounded_lua *bounded) {
    *bounded = (struct bounded_lua){.used = 0};
    bounded->lua = lua_newstate(bounded_lua_alloc, bounded);
    check(bounded->lua);
    script_lib_cjson(bounded->lua);
    script_lib_cmsgpack(bounded->lua);
    script_lib_struct(bounded->lua);
    check(lua_gettop(bounded->lua) == 0);
}

/* An input may cost so many times its size, and a stack. */
static inline void bounded_lua_fini(struct bounded_lua *bounded, size_t size) {
    check(bounded->used_max < size * 1024 + 512 * 1024);
    lua_close(bounded->lua);
    check(bounded->used == 0);
}

/* Calls a function of a library with the `n` values on top; its results take their place, or the
 * text of its error. */
static inline bool bounded_lua_call(struct bounded_lua *bounded, const char *library,
                                    const char *name, int n) {
    lua_State *lua = bounded->lua;
    int base = lua_gettop(lua) - n;
    lua_getglobal(lua, library);
    lua_getfield(lua, -1, name);
    lua_remove(lua, -2);
    lua_insert(lua, base + 1);
    bool good = lua_pcall(lua, n, LUA_MULTRET, 0) == 0;
    check(good || lua_type(lua, -1) == LUA_TSTRING);
    return good;
}

#endif
