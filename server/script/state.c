/* SPDX-License-Identifier: BSD-3-Clause */
/* state: see the header. PUC Lua has no read-only tables, so:
 *
 *     globals that a script sees -> proxy {}  --__index-->  the real globals  --__index--> an error
 *     string, table, redis ...   -> proxy {}  --__index-->  the real library
 *
 * A proxy's metatable has MARK at a key that scripts cannot name, which is how the functions here
 * know one. The metatable itself is never given out (getmetatable answers nil, or what the real
 * table has), and is never a value that a script holds.
 */
#include "server/script/state.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/must.h"
#include "net/rt.h"
#include "server/script/insecure.h"
#include "server/script/lib/lib.h"
#include "server/worker/worker.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* Scripts that one worker keeps compiled. */
#define COMPILED_MAX 1000

static const char mark;        /* its address is a key of each proxy's metatable */
static const char globals_key; /* the real globals */
static const char strings_key; /* a proxy of the metatable of strings; */
static const char missing_key; /* of that of the globals */
static const char load_key;    /* the globals of what loads a library */

/* Of what is in use: a collection walks all of that, libraries and compiled scripts, for the little
 * that short scripts leave behind; so it comes less often than by itself (200). lua_memory.c sees
 * to those who use much. */
#define COLLECT_AT_PERCENT 300

static int panicked(lua_State *lua) {
    check(!"a Lua error outside of a protected call");
    return 0;
}

/* ---- Proxies ---- */

static int refuse_write(lua_State *lua) {
    return luaL_error(lua, "Attempt to modify a readonly table");
}

/* Pushes the table that a proxy reads. False: the value is no proxy, and nothing was pushed. */
static bool push_behind(lua_State *lua, int index) {
    if (!lua_istable(lua, index) || !lua_getmetatable(lua, index)) {
        return false;
    }
    lua_pushlightuserdata(lua, (void *)&mark);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        return false;
    }
    return true;
}

static bool is_protected(lua_State *lua, int index) {
    bool is = push_behind(lua, index);
    if (is) {
        lua_pop(lua, 1);
    }
    return is;
}

void script_protect(lua_State *lua) {
    lua_newtable(lua); /* real, proxy */
    lua_newtable(lua); /* real, proxy, meta */
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, refuse_write);
    lua_setfield(lua, -2, "__newindex");
    lua_pushlightuserdata(lua, (void *)&mark);
    lua_pushvalue(lua, -4);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

void script_push_globals(lua_State *lua) {
    lua_pushlightuserdata(lua, (void *)&globals_key);
    lua_rawget(lua, LUA_REGISTRYINDEX);
}

static int unknown_global(lua_State *lua) {
    const char *name = lua_tostring(lua, 2);
    return name != NULL
               ? luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                            name)
               : luaL_error(lua, "Second argument to luaProtectedTableError must be a string or "
                                 "number");
}

/* ---- What knows of proxies ---- */

static int f_rawset(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    lua_settop(lua, 3);
    if (is_protected(lua, 1)) {
        lua_pushliteral(lua, "Attempt to modify a readonly table");
        return lua_error(lua);
    }
    lua_rawset(lua, 1);
    return 1;
}

static int f_rawget(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    if (push_behind(lua, 1)) {
        lua_replace(lua, 1);
    }
    lua_rawget(lua, 1);
    return 1;
}

static int f_setmetatable(lua_State *lua) {
    int type = lua_type(lua, 2);
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_argcheck(lua, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    if (is_protected(lua, 1)) {
        lua_pushliteral(lua, "Attempt to modify a readonly table");
        return lua_error(lua);
    }
    if (luaL_getmetafield(lua, 1, "__metatable")) {
        luaL_error(lua, "cannot change a protected metatable");
    }
    lua_settop(lua, 2);
    lua_setmetatable(lua, 1);
    return 1;
}

static int f_getmetatable(lua_State *lua) {
    luaL_checkany(lua, 1);
    if (lua_type(lua, 1) == LUA_TSTRING) {
        lua_pushlightuserdata(lua, (void *)&strings_key);
        lua_rawget(lua, LUA_REGISTRYINDEX);
        return 1;
    }
    if (lua_rawequal(lua, 1, LUA_GLOBALSINDEX)) {
        lua_pushlightuserdata(lua, (void *)&missing_key);
        lua_rawget(lua, LUA_REGISTRYINDEX);
        return 1;
    }
    if (is_protected(lua, 1) || !lua_getmetatable(lua, 1)) {
        lua_pushnil(lua);
        return 1;
    }
    luaL_getmetafield(lua, 1, "__metatable"); /* or leaves the table itself */
    return 1;
}

static int f_next(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (push_behind(lua, 1)) {
        lua_replace(lua, 1);
    }
    if (lua_next(lua, 1)) {
        return 2;
    }
    lua_pushnil(lua);
    return 1;
}

static int f_pairs(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

/* An error of a command is a table on its way, and its text to who catches it. */
static int f_pcall(lua_State *lua) {
    luaL_checkany(lua, 1);
    int status = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
    if (status != 0 && lua_istable(lua, -1)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
        if (lua_isstring(lua, -1)) { /* else it is given, too */
            lua_replace(lua, -2);
        }
    }
    lua_pushboolean(lua, status == 0);
    lua_insert(lua, 1);
    return lua_gettop(lua);
}

/* Lua's own of 5.1 finds out that it has too many values by an int that has overflowed, which a
 * compiler may take for impossible: Debian's writes beyond its stack then. */
static int f_unpack(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    int64_t first = luaL_optint(lua, 2, 1);
    int64_t last =
        lua_isnoneornil(lua, 3) ? (int64_t)lua_objlen(lua, 1) : (int64_t)luaL_checkint(lua, 3);
    if (first > last) {
        return 0;
    }
    int64_t count = last - first + 1;
    if (count > INT32_MAX || !lua_checkstack(lua, (int)count)) {
        return luaL_error(lua, "too many results to unpack");
    }
    for (int64_t i = first; i <= last; i++) {
        lua_rawgeti(lua, 1, (int)i);
    }
    return (int)count;
}

/* The others that change a table find nothing to change in a proxy. */
static int f_insert(lua_State *lua) {
    if (is_protected(lua, 1)) {
        lua_pushliteral(lua, "Attempt to modify a readonly table");
        return lua_error(lua);
    }
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* ---- Code that comes as text ---- */

static int loaded(lua_State *lua, int status) {
    if (status == 0) {
        return 1;
    }
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

/* Compiled code is not checked by Lua: it is refused. */
int script_load_text(lua_State *lua, const char *text, size_t len, const char *name) {
    if (len > 0 && text[0] == LUA_SIGNATURE[0]) {
        lua_pushliteral(lua, "attempt to load chunk with wrong mode");
        return LUA_ERRSYNTAX;
    }
    return luaL_loadbuffer(lua, text, len, name);
}

static int f_loadstring(lua_State *lua) {
    size_t len;
    const char *text = luaL_checklstring(lua, 1, &len);
    return loaded(lua, script_load_text(lua, text, len, luaL_optstring(lua, 2, text)));
}

static int f_load(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    const char *name = luaL_optstring(lua, 2, "=(load)");
    lua_settop(lua, 2);
    luaL_Buffer buffer;
    luaL_buffinit(lua, &buffer);
    for (;;) {
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            break;
        }
        if (!lua_isstring(lua, -1)) {
            return luaL_error(lua, "reader function must return a string");
        }
        if (lua_objlen(lua, -1) == 0) {
            lua_pop(lua, 1);
            break;
        }
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
    size_t len;
    const char *text = lua_tolstring(lua, -1, &len);
    return loaded(lua, script_load_text(lua, text, len, name));
}

/* ---- Numbers at random ---- */

/* Those of the family of lrand48 of POSIX, from its seed. */
static uint32_t draw(struct script_state *state) {
    state->random = (state->random * UINT64_C(0x5DEECE66D) + 0xB) & ((UINT64_C(1) << 48) - 1);
    return (uint32_t)(state->random >> 17);
}

static void seed(struct script_state *state, int32_t number) {
    state->random = (uint64_t)(uint32_t)number << 16 | 0x330E;
}

static int f_random(lua_State *lua) {
    struct script_state *state = script_state_in(lua);
    lua_Number r = (lua_Number)(draw(state) % INT32_MAX) / (lua_Number)INT32_MAX;
    switch (lua_gettop(lua)) {
    case 0:
        lua_pushnumber(lua, r);
        return 1;
    case 1: {
        int most = luaL_checkint(lua, 1);
        luaL_argcheck(lua, 1 <= most, 1, "interval is empty");
        lua_pushnumber(lua, (lua_Number)(int64_t)(r * most) + 1);
        return 1;
    }
    case 2: {
        int least = luaL_checkint(lua, 1), most = luaL_checkint(lua, 2);
        luaL_argcheck(lua, least <= most, 2, "interval is empty");
        lua_pushnumber(lua, (lua_Number)(int64_t)(r * ((lua_Number)most - least + 1)) + least);
        return 1;
    }
    default:
        return luaL_error(lua, "wrong number of arguments");
    }
}

static int f_randomseed(lua_State *lua) {
    seed(script_state_in(lua), luaL_checkint(lua, 1));
    return 0;
}

/* All of os. */
static int f_clock(lua_State *lua) {
    struct rt *rt = script_state_in(lua)->worker->rt;
    lua_pushnumber(lua, (lua_Number)rt_ticks_to_ns(rt, rt_ticks(rt)) / 1e9);
    return 1;
}

/* ---- What scripts see ---- */

static const luaL_Reg own_globals[] = {
    {"rawset", f_rawset},
    {"rawget", f_rawget},
    {"setmetatable", f_setmetatable},
    {"next", f_next},
    {"getmetatable", f_getmetatable},
    {"loadstring", f_loadstring},
    {"load", f_load},
    {"pcall", f_pcall},
    {"unpack", f_unpack},
    {NULL, NULL},
};

/* Of Lua's own. The rest of its globals goes. */
static const char *const kept_globals[] = {
    "_VERSION",     "assert",   "collectgarbage", "coroutine", "error",  "gcinfo", "getmetatable",
    "ipairs",       "load",     "loadstring",     "math",      "next",   "os",     "pairs",
    "pcall",        "rawequal", "rawget",         "rawset",    "select", "string", "table",
    "setmetatable", "tonumber", "tostring",       "type",      "unpack", "xpcall", NULL,
};
static const char *const insecure_globals[] = {"getfenv", "newproxy", "setfenv", NULL};
static const char *const kept_tables[] = {"coroutine", "math", "os", "string", "table", NULL};

static void open_library(lua_State *lua, const char *name, lua_CFunction open) {
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 0);
}

/* A library of the file's own of the original; protected. */
static void protect_global(lua_State *lua, const char *name) {
    lua_getglobal(lua, name);
    script_protect(lua);
    lua_setglobal(lua, name);
}

static void open_own(lua_State *lua) {
    for (const luaL_Reg *reg = own_globals; reg->name != NULL; reg++) {
        lua_pushcfunction(lua, reg->func);
        lua_setglobal(lua, reg->name);
    }
    lua_getglobal(lua, "next");
    lua_pushcclosure(lua, f_pairs, 1);
    lua_setglobal(lua, "pairs");
    lua_getglobal(lua, "table");
    lua_getfield(lua, -1, "insert");
    lua_pushcclosure(lua, f_insert, 1);
    lua_setfield(lua, -2, "insert");
    lua_pop(lua, 1);
    lua_getglobal(lua, "math");
    lua_pushcfunction(lua, f_random);
    lua_setfield(lua, -2, "random");
    lua_pushcfunction(lua, f_randomseed);
    lua_setfield(lua, -2, "randomseed");
    lua_pop(lua, 1);
    lua_newtable(lua);
    lua_pushcfunction(lua, f_clock);
    lua_setfield(lua, -2, "clock");
    lua_setglobal(lua, "os");
}

/* The table on top of the stack raises an error for what it does not have. */
static void refuse_unknown(lua_State *lua) {
    lua_newtable(lua);
    lua_pushcfunction(lua, unknown_global);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

static void keep_globals(lua_State *lua, const char *const *names) {
    for (; *names != NULL; names++) {
        lua_getglobal(lua, *names);
        lua_setfield(lua, -2, *names);
    }
}

/* The real globals: a table of its own, with those that are kept. */
static void make_globals(lua_State *lua) {
    lua_newtable(lua);
    keep_globals(lua, kept_globals);
    if (script_state_in(lua)->insecure) {
        keep_globals(lua, insecure_globals);
    }
    static const char *const added[] = {"bit",   "cjson",  "cmsgpack", "struct",
                                        "redis", "server", NULL};
    for (unsigned i = 0; added[i] != NULL; i++) {
        lua_getglobal(lua, added[i]);
        lua_setfield(lua, -2, added[i]);
    }
    refuse_unknown(lua);
    lua_pushlightuserdata(lua, (void *)&missing_key);
    lua_getmetatable(lua, -2);
    script_protect(lua);
    lua_rawset(lua, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(lua, (void *)&globals_key);
    lua_pushvalue(lua, -2);
    lua_rawset(lua, LUA_REGISTRYINDEX);
    lua_pushvalue(lua, -1);
    script_protect(lua); /* real, proxy */
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "_G");
    lua_replace(lua, LUA_GLOBALSINDEX);
    lua_pop(lua, 1);
}

/* The methods of strings are the library's, and nobody changes which. */
static void protect_strings(lua_State *lua) {
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_getglobal(lua, "string"); /* the proxy */
    lua_setfield(lua, -2, "__index");
    script_protect(lua);
    lua_pushlightuserdata(lua, (void *)&strings_key);
    lua_insert(lua, -2);
    lua_rawset(lua, LUA_REGISTRYINDEX);
    lua_pop(lua, 1);
}

/* What a library sees while it is loaded: `server` and `redis`, one table of few fields. */
static void make_load_globals(lua_State *lua) {
    lua_pushlightuserdata(lua, (void *)&load_key);
    lua_newtable(lua);
    lua_newtable(lua);
    script_api_open_load(lua);
    refuse_unknown(lua);
    script_protect(lua);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "redis");
    lua_setfield(lua, -2, "server");
    refuse_unknown(lua);
    lua_rawset(lua, LUA_REGISTRYINDEX);
}

/* The proxy stays: what is compiled now sees the real globals when it is called. Nothing is
 * allocated, so this cannot fail. */
void script_show_load(lua_State *lua, bool loads) {
    lua_getmetatable(lua, LUA_GLOBALSINDEX);
    lua_pushlightuserdata(lua, (void *)(loads ? &load_key : &globals_key));
    lua_rawget(lua, LUA_REGISTRYINDEX);
    lua_pushliteral(lua, "__index");
    lua_pushvalue(lua, -2);
    lua_rawset(lua, -4);
    lua_pushlightuserdata(lua, (void *)&mark);
    lua_insert(lua, -2);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
}

static int open_all(lua_State *lua) {
    open_library(lua, "", luaopen_base);
    open_library(lua, LUA_TABLIBNAME, luaopen_table);
    open_library(lua, LUA_STRLIBNAME, luaopen_string);
    script_lib_patterns(lua);
    open_library(lua, LUA_MATHLIBNAME, luaopen_math);
    open_own(lua);
    script_insecure_open(lua);
    script_lib_bit(lua);
    script_lib_cjson(lua);
    script_lib_cmsgpack(lua);
    script_lib_struct(lua);
    lua_newtable(lua);
    script_api_open(lua);
    lua_pushvalue(lua, -1);
    lua_setglobal(lua, "redis");
    lua_setglobal(lua, "server");
    for (unsigned i = 0; kept_tables[i] != NULL; i++) {
        protect_global(lua, kept_tables[i]);
    }
    static const char *const more[] = {"bit", "cjson", "cmsgpack", "struct", "redis", NULL};
    for (unsigned i = 0; more[i] != NULL; i++) {
        protect_global(lua, more[i]);
    }
    lua_getglobal(lua, "redis");
    lua_setglobal(lua, "server");
    protect_strings(lua);
    make_globals(lua);
    if (script_state_in(lua)->of_functions) {
        make_load_globals(lua);
    }
    lua_pushboolean(lua, 1); /* so that luaL_unref finds the list that it keeps in the registry */
    luaL_unref(lua, LUA_REGISTRYINDEX, luaL_ref(lua, LUA_REGISTRYINDEX));
    return 0;
}

void script_state_open(struct script_state *state) {
    struct lua_memory *memory = &state->memory; /* which is where the state is, too */
    state->lua = lua_newstate(lua_memory_allocate, memory);
    check(state->lua != NULL);
    state->insecure = state->worker->config->lua_enable_insecure_api;
    memory->lua = state->lua;
    lua_gc(state->lua, LUA_GCSETPAUSE, COLLECT_AT_PERCENT);
    lua_atpanic(state->lua, panicked);
    int status = lua_cpcall(state->lua, open_all, NULL);
    check(status == 0);
}

void script_state_close(struct script_state *state) {
    if (state->lua != NULL) {
        state->memory.lua = NULL;
        lua_close(state->lua);
        state->lua = NULL;
        state->runner = state->handler = 0;
    }
}

/* ---- Life ---- */

void script_state_init(struct script_state *state, struct worker *worker) {
    state->worker = worker;
    state->random = rng_next(&worker->rng) & ((UINT64_C(1) << 48) - 1);
    state->memory = (struct lua_memory){
        .bytes = state->of_functions ? &worker->function_bytes : &worker->script_bytes,
        .bytes_max = (size_t)worker->server->string_bytes_max / worker->server->workers_count / 2,
    };
    links_init(&state->by_sha);
    links_init(&state->by_body);
    state->epoch = scripts_epoch(worker->server->scripts);
}

struct script_state *script_state_of(struct worker *worker) {
    struct script_state *state = worker->script_state;
    if (state == NULL) {
        state = must_calloc(1, sizeof *state);
        script_state_init(state, worker);
        worker->script_state = state;
    }
    return state;
}

static void forget(struct script_state *state, struct script_local *local) {
    state->last = NULL;
    links_remove(&state->by_sha, &local->by_sha);
    links_remove(&state->by_body, &local->by_body);
    if (local->function != LUA_NOREF) {
        luaL_unref(state->lua, LUA_REGISTRYINDEX, local->function);
    }
    script_unref(local->script);
    free(local);
}

static void forget_all(struct script_state *state) {
    for (size_t i = 0; i < state->by_sha.buckets_count; i++) {
        while (state->by_sha.count > 0 && state->by_sha.buckets[i] != NULL) {
            forget(state, LINK_ENTRY(state->by_sha.buckets[i], struct script_local, by_sha));
        }
    }
}

void script_state_free(struct script_state *state) {
    if (state != NULL) {
        forget_all(state);
        links_fini(&state->by_sha);
        links_fini(&state->by_body);
        script_state_close(state);
        free(state);
    }
}

/* ---- Scripts ---- */

static void keep_up(struct script_state *state) {
    uint64_t epoch = scripts_epoch(state->worker->server->scripts);
    if (UNLIKELY(epoch != state->epoch) || state->by_sha.count > COMPILED_MAX) {
        forget_all(state);
        if (state->lua != NULL) {
            lua_gc(state->lua, LUA_GCCOLLECT, 0);
        }
        state->epoch = epoch;
    }
    if (UNLIKELY(state->insecure != state->worker->config->lua_enable_insecure_api) &&
        state->lua != NULL) {
        forget_all(state); /* what scripts have kept of it goes, too */
        script_state_close(state);
    }
}

static uint64_t body_hash(const struct script_state *state, struct bytes body) {
    return hash_bytes(state->worker->server->secret.bytes, body);
}

static uint64_t sha_hash(const unsigned char sha[SHA1_BYTES]) {
    uint64_t hash;
    memcpy(&hash, sha, sizeof hash);
    return hash;
}

static struct script_local *find_body(const struct script_state *state, struct bytes body) {
    if (state->by_body.count == 0) {
        return NULL;
    }
    uint64_t hash = body_hash(state, body);
    for (struct link *at = links_first(&state->by_body, hash); at != NULL; at = at->next) {
        struct script_local *local = LINK_ENTRY(at, struct script_local, by_body);
        if (at->hash == hash && bytes_equal(script_body(local->script), body)) {
            return local;
        }
    }
    return NULL;
}

static struct script_local *find_sha(const struct script_state *state,
                                     const unsigned char sha[SHA1_BYTES]) {
    for (struct link *at = links_first(&state->by_sha, sha_hash(sha)); at != NULL; at = at->next) {
        struct script_local *local = LINK_ENTRY(at, struct script_local, by_sha);
        if (memcmp(script_sha(local->script), sha, SHA1_BYTES) == 0) {
            return local;
        }
    }
    return NULL;
}

/* A client calls one script again and again, and names it thrice on its way. */
static bool is_last(const struct script_state *state, struct bytes text) {
    return state->last != NULL && text.len == sizeof state->last_sha &&
           memcmp(state->last_sha, text.ptr, sizeof state->last_sha) == 0;
}

/* Takes over the script. */
static struct script_local *remember(struct script_state *state, struct script *script) {
    struct script_local *local = must_calloc(1, sizeof *local);
    local->script = script;
    local->function = LUA_NOREF;
    local->by_sha.hash = sha_hash(script_sha(script));
    local->by_body.hash = body_hash(state, script_body(script));
    links_add(&state->by_sha, &local->by_sha);
    links_add(&state->by_body, &local->by_body);
    return local;
}

struct source {
    struct bytes code;
    int function;
};

static int compile_protected(lua_State *lua) {
    struct source *source = lua_touserdata(lua, 1);
    int status = script_load_text(lua, source->code.ptr, source->code.len, "@user_script");
    if (status != 0) {
        return lua_error(lua);
    }
    source->function = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

/* LUA_NOREF, and the error. */
static int compile(struct script_state *state, struct bytes code, struct text *err) {
    if (state->lua == NULL) {
        script_state_open(state);
    }
    struct source source = {.code = code, .function = LUA_NOREF};
    int status = lua_cpcall(state->lua, compile_protected, &source);
    if (status != 0) {
        const char *why = lua_tostring(state->lua, -1);
        text_appendf(err, "ERR Error compiling script (new function): %s", why != NULL ? why : "?");
        lua_pop(state->lua, 1);
    }
    if (UNLIKELY(status == LUA_ERRMEM)) {
        lua_memory_collect(&state->memory);
    }
    return source.function;
}

static bool compile_local(struct script_state *state, struct script_local *local,
                          struct text *err) {
    unsigned flags;
    struct bytes code;
    if (local->function == LUA_NOREF &&
        script_read_shebang(script_body(local->script), &flags, &code, err)) {
        local->function = compile(state, code, err);
    }
    return local->function != LUA_NOREF;
}

struct script_local *script_of_body(struct script_state *state, struct bytes body, bool stays,
                                    struct text *err) {
    keep_up(state);
    struct scripts *scripts = state->worker->server->scripts;
    struct script_local *local = find_body(state, body);
    if (local == NULL || stays) {
        unsigned flags;
        struct bytes code;
        unsigned char sha[SHA1_BYTES];
        if (local == NULL) {
            if (!script_read_shebang(body, &flags, &code, err)) {
                return NULL;
            }
            int function = compile(state, code, err);
            if (function == LUA_NOREF) {
                return NULL;
            }
            sha1(body, sha);
            local = remember(state, scripts_add(scripts, body, sha, flags, stays));
            local->function = function;
        } else {
            const struct script *script = local->script;
            script_unref(
                scripts_add(scripts, body, script_sha(script), script_flags(script), true));
        }
    }
    return compile_local(state, local, err) ? local : NULL;
}

/* The one that a digest names, if anybody knows it. */
static struct script_local *local_of_sha(struct script_state *state, struct bytes text) {
    unsigned char sha[SHA1_BYTES];
    if (LIKELY(is_last(state, text))) {
        return state->last;
    }
    if (!script_parse_sha(text, sha)) {
        return NULL;
    }
    struct script_local *local = find_sha(state, sha);
    struct script *script =
        local == NULL ? scripts_find(state->worker->server->scripts, sha) : NULL;
    if (script != NULL) {
        local = remember(state, script);
    }
    if (local != NULL) {
        state->last = local;
        memcpy(state->last_sha, text.ptr, sizeof state->last_sha);
    }
    return local;
}

struct script_local *script_of_sha(struct script_state *state, struct bytes text,
                                   struct text *err) {
    keep_up(state);
    struct script_local *local = local_of_sha(state, text);
    if (local == NULL) {
        text_append_text(err, "NOSCRIPT No matching script.");
        return NULL;
    }
    return compile_local(state, local, err) ? local : NULL;
}

static bool names_digest(const struct command_ref *ref) {
    return strncmp(ref->row->name, "evalsha", 7) == 0;
}

/* The script that a command names, as far as it is known; NULL: nobody does. */
static const struct script *known_script(struct worker *worker, const struct command_ref *ref,
                                         const struct bytes *argv) {
    struct script_state *state = script_state_of(worker);
    struct bytes word = argv[1];
    keep_up(state);
    if (names_digest(ref)) {
        const struct script_local *named = local_of_sha(state, word);
        return named != NULL ? named->script : NULL;
    }
    struct script_local *local = find_body(state, word);
    if (local == NULL) {
        unsigned char sha[SHA1_BYTES];
        sha1(word, sha);
        local = find_sha(state, sha);
        struct script *script =
            local == NULL ? scripts_find(state->worker->server->scripts, sha) : NULL;
        if (script != NULL) {
            local = remember(state, script);
        }
    }
    return local != NULL ? local->script : NULL;
}

bool script_is_known_everywhere(struct worker *worker, const struct command_ref *ref,
                                const struct bytes *argv) {
    const struct script *script = known_script(worker, ref, argv);
    /* A digest that nobody knows is answered anywhere. */
    return script != NULL ? script_reach(script) != REACH_NEAR : !names_digest(ref);
}

unsigned script_flags_of(struct worker *worker, const struct command_ref *ref,
                         const struct bytes *argv) {
    const struct script *script = known_script(worker, ref, argv);
    unsigned flags = SCRIPT_COMPATIBLE;
    if (script != NULL) {
        return script_flags(script);
    }
    if (!names_digest(ref)) {
        struct bytes code;
        struct text err;
        text_init(&err);
        if (!script_read_shebang(argv[1], &flags, &code, &err)) {
            flags = SCRIPT_COMPATIBLE; /* it will fail */
        }
        text_fini(&err);
    }
    return flags;
}
