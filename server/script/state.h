/* SPDX-License-Identifier: BSD-3-Clause */
/* state: a Lua state of a worker, with what scripts may see in it, and the scripts that it has
 * compiled. Functions of libraries have another one (functions.h).
 *
 * What scripts see is an exact list. Tables that are everybody's (the globals, the libraries, the
 * metatable of strings) cannot be changed: scripts hold proxies of them, which are empty, are read
 * through, and refuse to be written. What could get round that (rawset, setmetatable, next ...)
 * knows of proxies.
 *
 * Thread: the worker's own, which is also the one that runs a script with all shards in view.
 */
#ifndef SHOAL_SERVER_SCRIPT_STATE_H
#define SHOAL_SERVER_SCRIPT_STATE_H

#include "base/links.h"
#include "base/text.h"
#include "server/script/lua_memory.h"
#include "server/script/scripts.h"

#include <lua.h>

struct command_ref;
struct function_load;
struct script_run;
struct worker;

/* A script as a worker knows it. */
struct script_local {
    struct link by_sha, by_body;
    struct script *script;
    int function; /* in the state's registry; LUA_NOREF: it is not compiled here yet */
};

struct script_state {
    struct lua_memory memory; /* first: script_state_in */
    struct worker *worker;
    struct lua_State *lua; /* NULL until a script runs here */
    uint64_t epoch;        /* scripts_epoch of what is here */
    struct links by_sha, by_body;
    struct script_local *last; /* that was named by its digest, or NULL, */
    char last_sha[SCRIPT_SHA_TEXT - 1];
    int runner, handler;        /* functions in the registry: run.c; 0: they are not there yet */
    struct script_run *run;     /* the script that runs, or NULL */
    uint64_t random;            /* of math.random: 48 bits */
    bool of_functions;          /* those are its scripts */
    bool insecure;              /* as it was opened: lua-enable-insecure-api */
    struct function_load *load; /* of a library that registers them now; or NULL */
};

/* Made at the first use: worker->script_state. */
struct script_state *script_state_of(struct worker *worker);
void script_state_free(struct script_state *state);

/* The script that EVAL names with its text; compiled. NULL, and the error: it cannot be. `stays` is
 * for scripts_add. */
struct script_local *script_of_body(struct script_state *state, struct bytes body, bool stays,
                                    struct text *err);
/* The same for EVALSHA; the error is NOSCRIPT if it is not known. */
struct script_local *script_of_sha(struct script_state *state, struct bytes sha, struct text *err);
/* Whether it is known here, and goes everywhere: asked where the call is routed. */
bool script_is_known_everywhere(struct worker *worker, const struct command_ref *ref,
                                const struct bytes *argv);

/* What it says of itself (script_flag): asked before it is run. */
unsigned script_flags_of(struct worker *worker, const struct command_ref *ref,
                         const struct bytes *argv);

/* ---- For the other files of this room ---- */

/* One that is all zero, but that `of_functions` may be said. Without Lua, until it is opened. */
void script_state_init(struct script_state *state, struct worker *worker);
void script_state_open(struct script_state *state);
/* What it has goes; it can be opened again. */
void script_state_close(struct script_state *state);
/* Pushes what has come as text, compiled, or an error: as luaL_loadbuffer. */
int script_load_text(struct lua_State *lua, const char *text, size_t len, const char *name);

/* Sets the fields of `server` and `redis` in the table on top of the stack: api.c. What a
 * library has while it is loaded is less. */
void script_api_open(struct lua_State *lua);
void script_api_open_load(struct lua_State *lua);
/* `server.register_function`: register.c. */
int script_api_register(struct lua_State *lua);
/* While a library loads its code sees, for globals, `server` and `redis` as they are then. */
void script_show_load(struct lua_State *lua, bool loads);
static inline struct script_state *script_state_in(lua_State *lua) {
    void *state;
    lua_getallocf(lua, &state);
    return state;
}
/* The table on top of the stack is replaced by a proxy that reads it. */
void script_protect(struct lua_State *lua);
/* Pushes the table of the globals that scripts can read. */
void script_push_globals(struct lua_State *lua);

#endif
