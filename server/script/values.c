/* SPDX-License-Identifier: BSD-3-Clause */
/* values: between replies and Lua's values, as Valkey has it: a null is false in RESP2 and nil in
 * RESP3, a status and an error are tables with one field, what Lua has no type for is a table that
 * says what it is. */
#include "base/check.h"
#include "proto/reply.h"
#include "server/script/run.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

/* ---- A reply, to a script ---- */

static void push_text(lua_State *lua, struct bytes text) {
    lua_pushlstring(lua, text.ptr != NULL ? text.ptr : "", text.len);
}

static void push_field(lua_State *lua, const char *name, struct bytes text) {
    lua_pushstring(lua, name);
    push_text(lua, text);
    lua_rawset(lua, -3);
}

static void push_single(lua_State *lua, const char *name, struct bytes text) {
    lua_createtable(lua, 0, 1);
    push_field(lua, name, text);
}

/* A table whose one field is the table that follows on the stack. */
static void wrap(lua_State *lua, const char *name) {
    lua_createtable(lua, 0, 1);
    lua_insert(lua, -2);
    lua_setfield(lua, -2, name);
}

static void push_array(lua_State *lua, const struct reader_value *value, uint8_t resp) {
    const struct reader_value *element = value + 1;
    lua_createtable(lua, value->integer < INT32_MAX ? (int)value->integer : 0, 0);
    for (int64_t i = 0; i < value->integer; i++, element = reader_next(element)) {
        script_push_reply(lua, element, resp);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

/* `step` 2: pairs; 1: elements, which are keys of true. */
static void push_pairs(lua_State *lua, const struct reader_value *value, unsigned step,
                       uint8_t resp) {
    const struct reader_value *element = value + 1;
    lua_newtable(lua);
    for (int64_t i = 0; i < value->integer; i += step) {
        script_push_reply(lua, element, resp);
        element = reader_next(element);
        if (step == 2) {
            script_push_reply(lua, element, resp);
            element = reader_next(element);
        } else {
            lua_pushboolean(lua, 1);
        }
        if (lua_isnil(lua, -2)) { /* no key of a table */
            lua_pop(lua, 2);
        } else {
            lua_rawset(lua, -3);
        }
    }
    wrap(lua, step == 2 ? "map" : "set");
}

static void push_verbatim(lua_State *lua, struct bytes text) {
    lua_createtable(lua, 0, 2);
    push_field(lua, "format", bytes_make(text.ptr, text.len < 3 ? text.len : 3));
    push_field(lua, "string",
               text.len > 4 ? bytes_make(text.ptr + 4, text.len - 4) : bytes_make("", 0));
    wrap(lua, "verbatim_string");
}

void script_push_reply(lua_State *lua, const struct reader_value *value, uint8_t resp) {
    luaL_checkstack(lua, 6, "reply is too deep");
    switch (value->kind) {
    case READER_STATUS:
        push_single(lua, "ok", value->text);
        return;
    case READER_ERROR:
        push_single(lua, "err", value->text);
        return;
    case READER_BULK:
        push_text(lua, value->text);
        return;
    case READER_INTEGER:
        lua_pushnumber(lua, (lua_Number)value->integer);
        return;
    case READER_NULL:
        if (resp == 2) {
            lua_pushboolean(lua, 0);
        } else {
            lua_pushnil(lua);
        }
        return;
    case READER_DOUBLE:
        lua_createtable(lua, 0, 1);
        lua_pushnumber(lua, value->number);
        lua_setfield(lua, -2, "double");
        return;
    case READER_BOOLEAN:
        lua_pushboolean(lua, value->integer != 0);
        return;
    case READER_BIG_NUMBER:
        push_single(lua, "big_number", value->text);
        return;
    case READER_VERBATIM:
        push_verbatim(lua, value->text);
        return;
    case READER_MAP:
        push_pairs(lua, value, 2, resp);
        return;
    case READER_SET:
        push_pairs(lua, value, 1, resp);
        return;
    case READER_ARRAY:
    case READER_PUSH:
    case READER_ATTRIBUTE:
        push_array(lua, value, resp);
        return;
    }
}

/* ---- A value, as a reply ---- */

/* Pushes the field of the table on top; false, and nothing is pushed, if it has another type. */
static bool get_field(lua_State *lua, const char *name, int type) {
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) != type) {
        lua_pop(lua, 1);
        return false;
    }
    return true;
}

static struct bytes text_at(lua_State *lua, int index) {
    size_t len;
    const char *text = lua_tolstring(lua, index, &len);
    return bytes_make(text, len);
}

static void write_error(lua_State *lua, struct reply *reply) {
    reply_error_verbatim(reply, bytes_of_text(lua_tostring(lua, -1)));
}

static void write_status(lua_State *lua, struct reply *reply) {
    reply_status(reply, lua_tostring(lua, -1)); /* line ends become spaces */
}

/* Line ends become spaces, also where the protocol has it as a bulk. */
static void write_big_number(lua_State *lua, struct reply *reply) {
    struct text text;
    text_init(&text);
    struct bytes digits = text_at(lua, -1);
    for (size_t i = 0; i < digits.len; i++) {
        bool ends_line = digits.ptr[i] == '\r' || digits.ptr[i] == '\n';
        text_append_char(&text, ends_line ? ' ' : digits.ptr[i]);
    }
    reply_big_number(reply, text_bytes(&text));
    text_fini(&text);
}

static void write_pairs(lua_State *lua, struct reply *reply, bool is_map, uint8_t resp) {
    size_t count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pop(lua, 1);
        count++;
    }
    if (is_map) {
        reply_map(reply, count);
    } else {
        reply_set(reply, count);
    }
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        script_write_value(lua, reply, resp);
        if (is_map) {
            script_write_value(lua, reply, resp);
        } else {
            lua_pop(lua, 1);
        }
    }
}

static bool write_verbatim(lua_State *lua, struct reply *reply) {
    if (!get_field(lua, "string", LUA_TSTRING)) {
        return false;
    }
    struct bytes text = text_at(lua, -1);
    lua_insert(lua, -2); /* keeps it */
    bool is = get_field(lua, "format", LUA_TSTRING);
    if (is) {
        char kind[3] = {' ', ' ', ' '};
        struct bytes format = text_at(lua, -1);
        memcpy(kind, format.ptr, format.len < 3 ? format.len : 3);
        reply_verbatim(reply, kind, text);
        lua_pop(lua, 1);
    }
    lua_remove(lua, -2);
    return is;
}

/* Up to the first nil. */
static void write_array(lua_State *lua, struct reply *reply, uint8_t resp) {
    size_t count = 0;
    for (;; count++) {
        lua_rawgeti(lua, -1, (int)count + 1);
        bool is_nil = lua_isnil(lua, -1);
        lua_pop(lua, 1);
        if (is_nil) {
            break;
        }
    }
    reply_array(reply, count);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(lua, -1, (int)i + 1);
        script_write_value(lua, reply, resp);
    }
}

/* A command of the script failed with it. */
void script_note_counted(lua_State *lua, int table, struct reply *reply) {
    lua_pushliteral(lua, "ignore_error_stats_update");
    lua_rawget(lua, table - 1);
    if (lua_toboolean(lua, -1)) {
        strcpy(reply->error_code, CALL_ERROR_COUNTED);
    }
    lua_pop(lua, 1);
}

static void write_table(lua_State *lua, struct reply *reply, uint8_t resp) {
    if (get_field(lua, "err", LUA_TSTRING)) {
        write_error(lua, reply);
        script_note_counted(lua, -2, reply);
    } else if (get_field(lua, "ok", LUA_TSTRING)) {
        write_status(lua, reply);
    } else if (get_field(lua, "double", LUA_TNUMBER)) {
        reply_double(reply, lua_tonumber(lua, -1));
    } else if (get_field(lua, "map", LUA_TTABLE)) {
        write_pairs(lua, reply, true, resp);
    } else if (get_field(lua, "set", LUA_TTABLE)) {
        write_pairs(lua, reply, false, resp);
    } else if (get_field(lua, "big_number", LUA_TSTRING)) {
        write_big_number(lua, reply);
    } else if (get_field(lua, "verbatim_string", LUA_TTABLE)) {
        if (write_verbatim(lua, reply)) {
            lua_pop(lua, 1);
            return;
        }
        lua_pop(lua, 1);
        write_array(lua, reply, resp);
        return;
    } else {
        write_array(lua, reply, resp);
        return;
    }
    lua_pop(lua, 1);
}

void script_write_value(lua_State *lua, struct reply *reply, uint8_t resp) {
    if (!lua_checkstack(lua, 6)) {
        reply_error(reply, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        reply_bulk(reply, text_at(lua, -1));
        break;
    case LUA_TNUMBER: {
        lua_Number number = lua_tonumber(lua, -1);
        bool fits = number >= -0x1p63 && number < 0x1p63;
        reply_int(reply, fits ? (int64_t)number : INT64_MIN);
        break;
    }
    case LUA_TBOOLEAN:
        if (resp == 3) {
            reply_bool(reply, lua_toboolean(lua, -1));
        } else if (lua_toboolean(lua, -1)) {
            reply_int(reply, 1);
        } else {
            reply_null(reply);
        }
        break;
    case LUA_TTABLE:
        write_table(lua, reply, resp);
        break;
    default:
        reply_null(reply);
    }
    lua_pop(lua, 1);
}
