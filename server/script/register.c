/* SPDX-License-Identifier: BSD-3-Clause */
/* register: `server.register_function`, with a name and a function, or with a table of named
 * arguments. Errors are tables, as all of the API's. What is registered so far stays with the load,
 * whatever becomes of it: so an error, which is a jump, leaves nothing behind. */
#include "server/script/register.h"

#include "base/must.h"
#include "server/script/scripts.h"
#include "server/script/state.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

static int raise(lua_State *lua, const char *text) {
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, text);
    lua_setfield(lua, -2, "err");
    return lua_error(lua);
}

/* Where its parts are on the stack; 0: not given. */
struct parts {
    int name, description, function;
    unsigned flags;
};

static bool is_flag(struct bytes word, unsigned *ret) {
    for (unsigned i = 0; script_flag_name(i) != NULL; i++) {
        if (bytes_equal_nocase(word, bytes_of_text(script_flag_name(i)))) {
            *ret |= 1u << i;
            return true;
        }
    }
    return false;
}

/* Those of the table at this index, up to its first hole. */
static void read_flags(lua_State *lua, int index, unsigned *ret) {
    if (!lua_istable(lua, index)) {
        raise(lua, "ERR flags argument to server.register_function must be a table representing "
                   "function flags");
    }
    *ret = 0;
    for (int i = 1;; i++) {
        lua_pushnumber(lua, i);
        lua_gettable(lua, index);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            return;
        }
        const char *word = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : NULL;
        if (word == NULL || !is_flag(bytes_of_text(word), ret)) {
            raise(lua, "ERR unknown flag given");
        }
        lua_pop(lua, 1);
    }
}

static void check_text(lua_State *lua, int index, const char *error) {
    if (!lua_isstring(lua, index)) {
        raise(lua, error);
    }
}

/* The value of one named argument is on top of the stack, its name below it; both stay. */
static void read_named(lua_State *lua, struct parts *parts) {
    if (lua_type(lua, -2) != LUA_TSTRING && lua_type(lua, -2) != LUA_TNUMBER) {
        raise(lua, "ERR named argument key given to server.register_function is not a string");
    }
    struct bytes name =
        bytes_of_text(lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "");
    int *slot = NULL;
    if (bytes_is(name, "function_name")) {
        check_text(lua, -1,
                   "ERR function_name argument given to server.register_function must be a string");
        slot = &parts->name;
    } else if (bytes_is(name, "description")) {
        check_text(lua, -1,
                   "ERR description argument given to server.register_function must be a string");
        slot = &parts->description;
    } else if (bytes_is(name, "callback")) {
        if (!lua_isfunction(lua, -1)) {
            raise(lua,
                  "ERR callback argument given to server.register_function must be a function");
        }
        slot = &parts->function;
    } else if (bytes_is(name, "flags")) {
        read_flags(lua, lua_gettop(lua), &parts->flags);
        return;
    } else {
        raise(lua, "ERR unknown argument given to server.register_function");
    }
    lua_pushvalue(lua, -1);
    lua_replace(lua, *slot);
}

static void read_table(lua_State *lua, struct parts *parts) {
    if (!lua_istable(lua, 1)) {
        raise(lua, "ERR calling server.register_function with a single argument is only "
                   "applicable to Lua table (representing named arguments).");
    }
    lua_settop(lua, 4); /* of those at 2, 3 and 4 that are given the values */
    *parts = (struct parts){.name = 2, .description = 3, .function = 4};
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        read_named(lua, parts);
        lua_pop(lua, 1);
    }
    if (lua_isnil(lua, parts->name)) {
        raise(lua, "ERR server.register_function must get a function name argument");
    }
    if (lua_isnil(lua, parts->function)) {
        raise(lua, "ERR server.register_function must get a callback argument");
    }
}

static void read_two(lua_State *lua, struct parts *parts) {
    check_text(lua, 1, "ERR first argument to server.register_function must be a string");
    if (!lua_isfunction(lua, 2)) {
        raise(lua, "ERR second argument to server.register_function must be a function");
    }
    lua_settop(lua, 3);
    *parts = (struct parts){.name = 1, .function = 2, .description = 3};
}

static struct bytes copy_at(lua_State *lua, int index) {
    size_t len;
    const char *text = lua_tolstring(lua, index, &len);
    if (text == NULL) {
        return (struct bytes){0};
    }
    char *copy = must_malloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = 0;
    return bytes_make(copy, len);
}

int script_api_register(lua_State *lua) {
    struct function_load *load = script_state_in(lua)->load;
    if (load == NULL) {
        return raise(lua,
                     "ERR server.register_function can only be called on FUNCTION LOAD command");
    }
    struct parts parts = {0};
    switch (lua_gettop(lua)) {
    case 1:
        read_table(lua, &parts);
        break;
    case 2:
        read_two(lua, &parts);
        break;
    default:
        return raise(lua, "ERR wrong number of arguments to server.register_function");
    }
    /* Texts of numbers are made now: after this nothing fails. */
    lua_tostring(lua, parts.name);
    lua_tostring(lua, parts.description);
    lua_pushvalue(lua, parts.function);
    int function = luaL_ref(lua, LUA_REGISTRYINDEX);
    if (load->count == load->capacity) {
        load->capacity = load->capacity > 0 ? load->capacity * 2 : 8;
        load->list = must_realloc(load->list, load->capacity * sizeof *load->list);
    }
    load->list[load->count++] = (struct registered){
        .name = copy_at(lua, parts.name),
        .description = copy_at(lua, parts.description),
        .flags = parts.flags,
        .function = function,
    };
    return 0;
}

void function_load_fini(struct function_load *load, lua_State *lua) {
    for (uint32_t i = 0; i < load->count; i++) {
        luaL_unref(lua, LUA_REGISTRYINDEX, load->list[i].function);
        free((char *)(uintptr_t)load->list[i].name.ptr);
        free((char *)(uintptr_t)load->list[i].description.ptr);
    }
    free(load->list);
    *load = (struct function_load){0};
}
