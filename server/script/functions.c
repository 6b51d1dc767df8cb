/* SPDX-License-Identifier: BSD-3-Clause */
/* functions: see the header.
 *
 *     names of functions --> library_function of a library
 *     libraries          --> what this worker has compiled of it
 *
 * Both are looked at anew when the libraries have changed. A library that is still there keeps its
 * functions: they are what its locals live in. When none is left the Lua state goes as a whole. */
#include "server/script/functions.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "server/call/command_table.h"
#include "server/script/register.h"
#include "server/worker/worker.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

/* Instructions between two looks at the clock. */
#define LOOK_INSTRUCTIONS 100000
/* What was good once may take longer when it is loaded again, on a busy machine; not for ever. */
#define AGAIN_MS (20 * FUNCTIONS_LOAD_MS)

/* A library as a worker knows it. */
struct loaded {
    struct link link; /* by its library's address */
    struct library *library;
    int compiled[]; /* one for each of its functions */
};

/* A name that was asked for. */
struct known {
    struct link link; /* by the name */
    struct library *library;
    uint32_t index;
    struct loaded *loaded; /* NULL: not yet */
};

struct functions {
    struct script_state state;
    uint64_t epoch;
    struct links loaded, known;
};

static struct functions *functions_of(struct worker *worker) {
    struct functions *functions = worker->functions;
    if (functions == NULL) {
        functions = must_calloc(1, sizeof *functions);
        functions->state.of_functions = true;
        script_state_init(&functions->state, worker);
        links_init(&functions->loaded);
        links_init(&functions->known);
        worker->functions = functions;
    }
    return functions;
}

static struct libraries *libraries_of(const struct worker *worker) {
    return worker->server->libraries;
}

static struct loaded *find_loaded(const struct functions *functions,
                                  const struct library *library) {
    uint64_t hash = links_hash((uint64_t)(uintptr_t)library);
    for (struct link *at = links_first(&functions->loaded, hash); at != NULL; at = at->next) {
        struct loaded *loaded = LINK_ENTRY(at, struct loaded, link);
        if (loaded->library == library) {
            return loaded;
        }
    }
    return NULL;
}

/* ---- Forgetting ---- */

static void forget_known(struct functions *functions) {
    struct links *links = &functions->known;
    for (size_t i = 0; i < links->buckets_count; i++) {
        while (links->count > 0 && links->buckets[i] != NULL) {
            struct known *known = LINK_ENTRY(links->buckets[i], struct known, link);
            links_remove(links, &known->link);
            library_unref(known->library);
            free(known);
        }
    }
}

static void unload(struct functions *functions, struct loaded *loaded) {
    uint32_t count;
    library_functions(loaded->library, &count);
    for (uint32_t i = 0; i < count; i++) {
        luaL_unref(functions->state.lua, LUA_REGISTRYINDEX, loaded->compiled[i]);
    }
    links_remove(&functions->loaded, &loaded->link);
    library_unref(loaded->library);
    free(loaded);
}

/* `libraries`: those of them stay. */
static void unload_others(struct functions *functions, struct libraries *libraries) {
    struct links *links = &functions->loaded;
    uint32_t count = 0;
    struct loaded **gone = must_calloc(links->count + 1, sizeof *gone);
    for (size_t i = 0; i < links->buckets_count; i++) {
        for (struct link *at = links->buckets[i]; at != NULL; at = at->next) {
            struct loaded *loaded = LINK_ENTRY(at, struct loaded, link);
            if (libraries == NULL || !libraries_keep(libraries, loaded->library)) {
                gone[count++] = loaded;
            }
        }
    }
    while (count > 0) {
        unload(functions, gone[--count]);
    }
    free(gone);
    if (links->count == 0) {
        script_state_close(&functions->state);
    } else {
        lua_gc(functions->state.lua, LUA_GCCOLLECT, 0);
    }
}

void functions_keep_up(struct worker *worker) {
    struct functions *functions = worker->functions;
    if (functions == NULL) {
        return;
    }
    uint64_t epoch = libraries_epoch(libraries_of(worker));
    if (UNLIKELY(epoch != functions->epoch)) {
        functions->epoch = epoch;
        forget_known(functions);
        unload_others(functions, libraries_of(worker));
    }
}

void functions_free(struct worker *worker) {
    struct functions *functions = worker->functions;
    if (functions != NULL) {
        forget_known(functions);
        unload_others(functions, NULL);
        links_fini(&functions->known);
        links_fini(&functions->loaded);
        free(functions);
        worker->functions = NULL;
    }
}

void functions_forget(struct worker *worker, struct library *library) {
    struct functions *functions = worker->functions;
    struct loaded *loaded = functions != NULL ? find_loaded(functions, library) : NULL;
    if (loaded != NULL) {
        unload(functions, loaded);
    }
    library_unref(library);
}

/* ---- Loading ---- */

static void look(lua_State *lua, lua_Debug *debug) {
    struct script_state *state = script_state_in(lua);
    if (rt_mono_ns(state->worker->rt) > state->load->end_ns) {
        lua_sethook(lua, look, LUA_MASKLINE | LUA_MASKCOUNT, 1); /* nobody catches this */
        lua_createtable(lua, 0, 1);
        lua_pushliteral(lua, "ERR FUNCTION LOAD timeout");
        lua_setfield(lua, -2, "err");
        lua_error(lua);
    }
}

struct source {
    struct bytes code;
    bool compiled;
};

/* Leaves an error as Lua's own. */
static int load_protected(lua_State *lua) {
    struct source *source = lua_touserdata(lua, 1);
    script_show_load(lua, true);
    if (script_load_text(lua, source->code.ptr, source->code.len, "@user_function") != 0) {
        return lua_error(lua);
    }
    source->compiled = true;
    if (script_state_in(lua)->load->end_ns != UINT64_MAX) {
        lua_sethook(lua, look, LUA_MASKCOUNT, LOOK_INSTRUCTIONS);
    }
    lua_call(lua, 0, 0);
    return 0;
}

/* The error that is on top of the stack, which is taken off. */
static void say_why(lua_State *lua, bool compiled, struct text *err) {
    if (lua_istable(lua, -1)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
        lua_remove(lua, -2);
        const char *text = lua_tostring(lua, -1);
        text_appendf(err, "ERR Error registering functions: %s",
                     text != NULL ? text : "ERR unknown error");
    } else {
        const char *text = lua_tostring(lua, -1);
        text_appendf(err,
                     compiled ? "ERR Error registering functions: ERR %s"
                              : "ERR Error compiling function: %s",
                     text != NULL ? text : "?");
    }
    lua_pop(lua, 1);
}

/* Runs it in the worker's state; what it registers is in `load`. */
static bool run(struct functions *functions, struct bytes code, int64_t limit_ms,
                struct function_load *load, struct text *err) {
    struct script_state *state = &functions->state;
    struct rt *rt = state->worker->rt;
    if (state->lua == NULL) {
        script_state_open(state);
    }
    /* A NUL ends it, as everywhere that a program is a C string. */
    struct source source = {bytes_make(code.ptr, strnlen(code.ptr, code.len)), false};
    load->end_ns = limit_ms > 0 ? rt_mono_ns(rt) + (uint64_t)limit_ms * 1000000 : UINT64_MAX;
    state->load = load;
    int status = lua_cpcall(state->lua, load_protected, &source);
    bool good = status == 0;
    state->load = NULL;
    lua_sethook(state->lua, NULL, 0, 0);
    if (!good) {
        say_why(state->lua, source.compiled, err);
    }
    if (UNLIKELY(status == LUA_ERRMEM)) {
        lua_memory_collect(&state->memory);
    }
    script_show_load(state->lua, false);
    return good;
}

static struct loaded *add_loaded(struct functions *functions, struct library *library) {
    uint32_t count;
    library_functions(library, &count);
    struct loaded *loaded = must_calloc(1, sizeof *loaded + count * sizeof *loaded->compiled);
    loaded->library = library;
    library_ref(library);
    loaded->link.hash = links_hash((uint64_t)(uintptr_t)library);
    links_add(&functions->loaded, &loaded->link);
    for (uint32_t i = 0; i < count; i++) {
        loaded->compiled[i] = LUA_NOREF;
    }
    return loaded;
}

static struct library *library_of(const struct library_header *header, struct bytes text,
                                  const struct function_load *load, struct text *err) {
    struct library *library = library_new(header->name, text);
    bool good = true;
    for (uint32_t i = 0; i < load->count && good; i++) {
        const struct registered *function = &load->list[i];
        good =
            library_register(library, function->name, function->description, function->flags, err);
    }
    if (good && load->count == 0) {
        text_append_text(err, "ERR No functions registered");
        good = false;
    }
    if (!good) {
        library_unref(library);
    }
    return good ? library : NULL;
}

/* What was compiled is the loaded library's then. */
static void take_references(struct loaded *loaded, struct function_load *load) {
    for (uint32_t i = 0; i < load->count; i++) {
        loaded->compiled[i] = load->list[i].function;
        load->list[i].function = LUA_NOREF;
    }
}

struct library *functions_make_library(struct worker *worker, struct bytes text,
                                       struct libraries *must_be_new, int64_t limit_ms,
                                       struct text *err) {
    struct functions *functions = functions_of(worker);
    functions_keep_up(worker);
    struct library_header header;
    if (!library_read_header(text, &header, err)) {
        return NULL;
    }
    struct library *library = NULL;
    struct function_load load = {0};
    if (must_be_new != NULL && libraries_have(must_be_new, bytes_of_text(header.name))) {
        text_appendf(err, "ERR Library '%s' already exists", header.name);
    } else {
        if (run(functions, header.code, limit_ms, &load, err)) {
            library = library_of(&header, text, &load, err);
        }
        if (library != NULL) { /* so that it need not be loaded again here */
            take_references(add_loaded(functions, library), &load);
        }
        function_load_fini(&load, functions->state.lua);
    }
    library_header_fini(&header);
    return library;
}

/* ---- Calling ---- */

/* It has been loaded elsewhere, and registers the same here: what it sees is the same. */
static struct loaded *load_again(struct functions *functions, struct library *library,
                                 struct text *err) {
    struct library_header header;
    if (!library_read_header(library_text(library), &header, err)) {
        return NULL;
    }
    struct function_load load = {0};
    struct loaded *loaded = NULL;
    uint32_t count;
    const struct library_function *list = library_functions(library, &count);
    if (run(functions, header.code, AGAIN_MS, &load, err)) {
        bool same = load.count == count;
        for (uint32_t i = 0; same && i < count; i++) {
            same = bytes_equal(load.list[i].name, list[i].name);
        }
        if (same) {
            loaded = add_loaded(functions, library);
            take_references(loaded, &load);
        } else {
            text_append_text(err, "ERR Function not found");
        }
    }
    function_load_fini(&load, functions->state.lua);
    library_header_fini(&header);
    return loaded;
}

static struct bytes name_of(const struct known *known) {
    uint32_t count;
    return library_functions(known->library, &count)[known->index].name;
}

/* NULL: no library has it. */
static struct known *find_known(struct functions *functions, struct bytes name) {
    uint64_t hash = library_name_hash(name);
    for (struct link *at = links_first(&functions->known, hash); at != NULL; at = at->next) {
        struct known *known = LINK_ENTRY(at, struct known, link);
        if (at->hash == hash && bytes_equal_nocase(name_of(known), name)) {
            return known;
        }
    }
    uint32_t index;
    struct library *library = libraries_find(libraries_of(functions->state.worker), name, &index);
    if (library == NULL) {
        return NULL;
    }
    struct known *known = must_calloc(1, sizeof *known);
    known->library = library;
    known->index = index;
    known->link.hash = hash;
    links_add(&functions->known, &known->link);
    return known;
}

bool functions_find(struct worker *worker, struct bytes name, struct function_local *ret,
                    struct text *err) {
    struct functions *functions = functions_of(worker);
    functions_keep_up(worker);
    struct known *known = find_known(functions, name);
    if (known == NULL) {
        text_append_text(err, "ERR Function not found");
        return false;
    }
    if (known->loaded == NULL) {
        known->loaded = find_loaded(functions, known->library);
    }
    if (known->loaded == NULL) {
        known->loaded = load_again(functions, known->library, err);
    }
    if (known->loaded == NULL) {
        return false;
    }
    uint32_t count;
    *ret = (struct function_local){
        .state = &functions->state,
        .function = &library_functions(known->library, &count)[known->index],
        .reference = known->loaded->compiled[known->index],
    };
    return true;
}

bool functions_is_known_everywhere(struct worker *worker, const struct command_ref *ref,
                                   const struct bytes *argv) {
    if (ref->row->runs_script != RUNS_FUNCTION) {
        return script_is_known_everywhere(worker, ref, argv);
    }
    struct functions *functions = functions_of(worker);
    functions_keep_up(worker);
    const struct known *known = find_known(functions, argv[1]);
    uint32_t count;
    return known != NULL &&
           script_reach(library_functions(known->library, &count)[known->index].script) !=
               REACH_NEAR;
}

unsigned functions_command_flags(struct worker *worker, const struct command_ref *ref,
                                 const struct bytes *argv) {
    unsigned flags = SCRIPT_COMPATIBLE;
    if (ref->row->runs_script != RUNS_FUNCTION) {
        flags = script_flags_of(worker, ref, argv);
    } else {
        struct functions *functions = functions_of(worker);
        functions_keep_up(worker);
        const struct known *known = find_known(functions, argv[1]);
        uint32_t count;
        if (known != NULL) {
            flags = script_flags(library_functions(known->library, &count)[known->index].script);
        }
    }
    if (flags & SCRIPT_COMPATIBLE) {
        return ref->flags;
    }
    unsigned command_flags =
        ref->flags & ~(unsigned)(CMD_WRITE | CMD_DENYOOM | CMD_STALE | CMD_MAY_REPLICATE);
    command_flags |= flags & SCRIPT_NO_WRITES ? 0 : CMD_WRITE;
    command_flags |= flags & (SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM) ? 0 : CMD_DENYOOM;
    command_flags |= flags & SCRIPT_ALLOW_STALE ? CMD_STALE : 0;
    return command_flags;
}
