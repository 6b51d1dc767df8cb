/* SPDX-License-Identifier: BSD-3-Clause */
/* lua_bare: a Lua state with the libraries of scripts, without a server: its memory is counted, and
 * may run out. */
#ifndef SHOAL_TEST_UNIT_LUA_BARE_H
#define SHOAL_TEST_UNIT_LUA_BARE_H

#include "server/script/lib/lib.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct lua_bare {
    lua_State *lua;
    size_t used, used_max;
    size_t limit; // allocations beyond fail
};

static void *lua_bare_alloc(void *context, void *old, size_t old_size, size_t size) {
    struct lua_bare *bare = context;
    if (size > old_size && bare->used + (size - old_size) > bare->limit) {
        return NULL;
    }
    void *memory = NULL;
    if (size == 0) {
        free(old);
    } else {
        memory = realloc(old, size);
        cr_assert(memory);
    }
    bare->used += size - old_size;
    if (bare->used > bare->used_max) {
        bare->used_max = bare->used;
    }
    return memory;
}

static int lua_bare_open(lua_State *lua) {
    luaopen_base(lua);
    luaopen_string(lua);
    luaopen_table(lua);
    luaopen_math(lua);
    lua_settop(lua, 0);
    script_lib_bit(lua);
    script_lib_cjson(lua);
    script_lib_cmsgpack(lua);
    script_lib_struct(lua);
    cr_assert_eq(lua_gettop(lua), 0);
    return 0;
}

static inline void lua_bare_init(struct lua_bare *bare) {
    *bare = (struct lua_bare){.limit = SIZE_MAX};
    bare->lua = lua_newstate(lua_bare_alloc, bare);
    cr_assert(bare->lua);
    cr_assert_eq(lua_cpcall(bare->lua, lua_bare_open, NULL), 0);
}

static inline void lua_bare_fini(struct lua_bare *bare) {
    cr_assert_eq(lua_gettop(bare->lua), 0);
    lua_close(bare->lua);
    cr_assert_eq(bare->used, 0);
}

/* What an expression comes to, as text: its values with a blank between them, or the text of the
 * error it raises. Belongs to the caller until the next call. */
static inline const char *lua_bare_says(struct lua_bare *bare, const char *expression) {
    static char text[4096];
    lua_State *lua = bare->lua;
    static const char program[] =
        "local code = ...\n"
        "local function shown(v)\n"
        "  if type(v) == 'number' then return string.format('%.17g', v) end\n"
        "  if type(v) == 'table' then\n"
        "    local names, out = {}, {}\n"
        "    for k in pairs(v) do names[#names + 1] = k end\n"
        "    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)\n"
        "    for _, k in ipairs(names) do out[#out + 1] = shown(k) .. '=' .. shown(v[k]) end\n"
        "    return '{' .. table.concat(out, ' ') .. '}'\n"
        "  end\n"
        "  if type(v) == 'userdata' then return 'null' end\n"
        "  return tostring(v)\n"
        "end\n"
        "local made, wrong = loadstring('return ' .. code, '=t')\n"
        "if not made then return wrong end\n"
        "local function told(good, ...)\n"
        "  if not good then return tostring(...) end\n"
        "  local out = {}\n"
        "  for i = 1, select('#', ...) do out[i] = shown((select(i, ...))) end\n"
        "  return table.concat(out, ' ')\n"
        "end\n"
        "return told(pcall(made))\n";
    cr_assert_eq(luaL_loadstring(lua, program), 0);
    lua_pushstring(lua, expression);
    cr_assert_eq(lua_pcall(lua, 1, 1, 0), 0, "%s: %s", expression, lua_tostring(lua, -1));
    size_t length;
    const char *answer = lua_tolstring(lua, -1, &length);
    cr_assert(answer);
    /* Bytes that do not print are shown as \ddd. */
    size_t used = 0;
    for (size_t i = 0; i < length && used + 5 < sizeof(text); i++) {
        unsigned char c = (unsigned char)answer[i];
        used += (size_t)snprintf(text + used, 5, c < ' ' || c > '~' ? "\\%03d" : "%c", c);
    }
    text[used] = '\0';
    lua_pop(lua, 1);
    return text;
}

/* A row of a table of what Valkey says. */
struct lua_bare_row {
    const char *expression, *answer;
};

static inline void lua_bare_rows(struct lua_bare *bare, const struct lua_bare_row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *answer = lua_bare_says(bare, rows[i].expression);
        cr_expect_str_eq(answer, rows[i].answer, "%s: %s, not %s", rows[i].expression, answer,
                         rows[i].answer);
    }
}

/* An expression that succeeds with enough memory ends with an error, or succeeds, with any less. */
static inline void lua_bare_starves(struct lua_bare *bare, const char *expression) {
    char wanted[4096];
    snprintf(wanted, sizeof(wanted), "%s", lua_bare_says(bare, expression));
    size_t refused = 0;
    for (size_t more = 4096;; more += more / 8) {
        lua_gc(bare->lua, LUA_GCCOLLECT, 0);
        bare->limit = bare->used + more;
        int failed =
            luaL_loadstring(bare->lua, "return pcall(assert(loadstring('return ' .. ...)))");
        if (!failed) {
            lua_pushstring(bare->lua, expression);
            failed = lua_pcall(bare->lua, 1, 2, 0) || !lua_toboolean(bare->lua, -2);
        }
        if (failed) {
            cr_expect_str_eq(lua_tostring(bare->lua, -1), "not enough memory", "%s: %s", expression,
                             lua_tostring(bare->lua, -1));
            refused++;
        }
        bare->limit = SIZE_MAX;
        lua_settop(bare->lua, 0);
        if (!failed) {
            break;
        }
    }
    cr_expect(refused > 0, "%s never wanted for memory", expression);
    cr_expect_str_eq(lua_bare_says(bare, expression), wanted);
}

#endif
