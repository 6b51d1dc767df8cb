/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/script/lua_memory.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define BYTES_MAX (8 << 20)

static size_t bytes;
static struct lua_memory memory;

static void open_state(void) {
    bytes = 0;
    memory = (struct lua_memory){.bytes = &bytes, .bytes_max = BYTES_MAX};
    memory.lua = lua_newstate(lua_memory_allocate, &memory);
    luaL_openlibs(memory.lua);
}

static void close_state(void) {
    struct lua_State *lua = memory.lua;
    memory.lua = NULL;
    lua_close(lua);
    cr_assert_eq(bytes, 0);
}

TestSuite(lua_memory, .init = open_state, .fini = close_state);

static int run(const char *code) {
    int status = luaL_loadstring(memory.lua, code);
    status = status != 0 ? status : lua_pcall(memory.lua, 0, 1, 0);
    cr_assert_leq(bytes, BYTES_MAX);
    return status;
}

/* By itself Lua begins to collect at twice what is in use, which is beyond the bound here: it was
 * refused with most of it garbage. */
Test(lua_memory, garbage_makes_room_for_what_is_in_use) {
    int status = run("kept = {} for i = 1, 60 do kept[i] = ('x'):rep(90000) .. i end "
                     "for i = 1, 400 do local s = ('y'):rep(90000) .. i end return #kept");
    cr_assert_eq(status, 0, "%s", lua_tostring(memory.lua, -1));
    cr_expect_eq(lua_tointeger(memory.lua, -1), 60);
}

Test(lua_memory, so_does_garbage_of_many_small_things) {
    int status = run("kept = {} for i = 1, 60000 do kept[i] = {i} end "
                     "for i = 1, 300000 do local t = {i, i} end return #kept");
    cr_assert_eq(status, 0, "%s", lua_tostring(memory.lua, -1));
}

Test(lua_memory, a_collector_that_was_stopped_begins_again) {
    int status =
        run("collectgarbage('stop') for i = 1, 1000 do local s = ('y'):rep(90000) .. i end");
    cr_assert_eq(status, 0, "%s", lua_tostring(memory.lua, -1));
}

Test(lua_memory, who_keeps_all_is_refused_and_the_state_goes_on) {
    for (int i = 0; i < 3; i++) {
        int status = run("local all = {} for i = 1, 1e9 do all[i] = ('z'):rep(1000) .. i end");
        cr_expect_eq(status, LUA_ERRMEM);
        lua_settop(memory.lua, 0);
        lua_memory_collect(&memory);
        cr_expect_lt(bytes, BYTES_MAX / 8);
        cr_expect_eq(run("return #(('a'):rep(1000000) .. 'b')"), 0);
        cr_expect_eq(lua_tointeger(memory.lua, -1), 1000001);
        lua_settop(memory.lua, 0);
    }
}

Test(lua_memory, it_collects_at_leisure_again_when_little_is_in_use) {
    cr_expect_eq(run("local all = {} for i = 1, 50 do all[i] = ('z'):rep(100000) .. i end"), 0);
    cr_expect(memory.collects);
    lua_settop(memory.lua, 0);
    lua_memory_collect(&memory);
    cr_expect(!memory.collects);
    cr_expect_eq(lua_gc(memory.lua, LUA_GCSETSTEPMUL, 200), 200);
}
