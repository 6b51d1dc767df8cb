/* SPDX-License-Identifier: BSD-3-Clause */
/* cmsgpack: MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), without its types
 * bin, ext and timestamp.
 *
 * Packing: a whole number of 64 bits is packed as the shortest integer, another number as a float
 * if that loses nothing and as a double otherwise. A table whose keys are 1 to n is an array, also
 * an empty one; any other is a map. What MessagePack has nothing for is nil, and so is a table
 * inside of sixteen others: one that holds itself comes to an end by that.
 *
 * Unpacking trusts nothing: lengths are compared with what is left, arrays and maps grow with what
 * has been read, and Lua's stack, of which each level needs a slot, ends the nesting. */
#include "server/script/lib/lib.h"
#include "server/script/lib/script_text.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define LEVELS_MAX 16

/* ---- Packing ----------------------------------------------------------------------------------
 */

/* A byte, and `size` bytes of a number, the highest first. */
static void add_number(struct script_text *text, uint8_t first, uint64_t value, int size) {
    char bytes[9];
    bytes[0] = (char)first;
    for (int i = size; i > 0; i--) {
        bytes[i] = (char)value;
        value >>= 8;
    }
    script_text_add(text, bytes, (size_t)size + 1);
}

static void pack_integer(struct script_text *text, int64_t value) {
    if (value >= 0) {
        if (value <= 0x7f) {
            add_number(text, (uint8_t)value, 0, 0);
        } else if (value <= UINT8_MAX) {
            add_number(text, 0xcc, (uint64_t)value, 1);
        } else if (value <= UINT16_MAX) {
            add_number(text, 0xcd, (uint64_t)value, 2);
        } else if (value <= UINT32_MAX) {
            add_number(text, 0xce, (uint64_t)value, 4);
        } else {
            add_number(text, 0xcf, (uint64_t)value, 8);
        }
    } else if (value >= -32) {
        add_number(text, (uint8_t)value, 0, 0);
    } else if (value >= INT8_MIN) {
        add_number(text, 0xd0, (uint64_t)value, 1);
    } else if (value >= INT16_MIN) {
        add_number(text, 0xd1, (uint64_t)value, 2);
    } else if (value >= INT32_MIN) {
        add_number(text, 0xd2, (uint64_t)value, 4);
    } else {
        add_number(text, 0xd3, (uint64_t)value, 8);
    }
}

static void pack_number(struct script_text *text, double value) {
    if (value >= -0x1p63 && value < 0x1p63 && value == floor(value)) {
        pack_integer(text, (int64_t)value);
        return;
    }
    float single = (float)value;
    if ((double)single == value) {
        uint32_t image;
        memcpy(&image, &single, sizeof(image));
        add_number(text, 0xca, image, 4);
    } else {
        uint64_t image;
        memcpy(&image, &value, sizeof(image));
        add_number(text, 0xcb, image, 8);
    }
}

static void pack_string(struct script_text *text, const char *bytes, size_t n) {
    if (n < 32) {
        add_number(text, (uint8_t)(0xa0 | n), 0, 0);
    } else if (n <= UINT8_MAX) {
        add_number(text, 0xd9, n, 1);
    } else if (n <= UINT16_MAX) {
        add_number(text, 0xda, n, 2);
    } else {
        add_number(text, 0xdb, n, 4);
    }
    script_text_add(text, bytes, n);
}

/* The header of an array, or of a map, whose first bytes are these. */
static void pack_count(struct script_text *text, uint64_t n, uint8_t few, uint8_t many) {
    if (n <= 15) {
        add_number(text, (uint8_t)(few | n), 0, 0);
    } else if (n <= UINT16_MAX) {
        add_number(text, many, n, 2);
    } else {
        add_number(text, many + 1, n, 4);
    }
}

static void pack_value(struct script_text *text, int level);

/* Counts the pairs of the table on top. Are its keys 1 to that many? */
static bool count_pairs(lua_State *lua, uint64_t *ret_n) {
    bool whole = true;
    double max = 0;
    uint64_t n = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pop(lua, 1);
        double key = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        if (key < 1 || floor(key) != key) {
            whole = false;
        } else if (key > max) {
            max = key;
        }
        n++;
    }
    *ret_n = n;
    return whole && max == (double)n;
}

static void pack_table(struct script_text *text, int level) {
    lua_State *lua = text->lua;
    uint64_t n;
    luaL_checkstack(lua, 4, "in a table"); // a key twice, a value, a block of text
    if (count_pairs(lua, &n)) {
        pack_count(text, n, 0x90, 0xdc);
        for (uint64_t i = 1; i <= n; i++) {
            lua_rawgeti(lua, -1, (int)i);
            pack_value(text, level + 1);
        }
        return;
    }
    pack_count(text, n, 0x80, 0xde);
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pushvalue(lua, -2);
        pack_value(text, level + 1);
        pack_value(text, level + 1);
    }
}

/* Packs what is on top, and pops it. */
static void pack_value(struct script_text *text, int level) {
    lua_State *lua = text->lua;
    int type = lua_type(lua, -1);
    if (type == LUA_TSTRING) {
        size_t n;
        const char *bytes = lua_tolstring(lua, -1, &n);
        pack_string(text, bytes, n);
    } else if (type == LUA_TNUMBER) {
        pack_number(text, lua_tonumber(lua, -1));
    } else if (type == LUA_TBOOLEAN) {
        script_text_add_char(text, (char)(lua_toboolean(lua, -1) ? 0xc3 : 0xc2));
    } else if (type == LUA_TTABLE && level < LEVELS_MAX) {
        pack_table(text, level);
    } else {
        script_text_add_char(text, (char)0xc0);
    }
    lua_pop(lua, 1);
}

static int cmsgpack_pack(lua_State *lua) {
    int n = lua_gettop(lua);
    if (n == 0) {
        return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    }
    if (!lua_checkstack(lua, n)) {
        return luaL_argerror(lua, 0, "Too many arguments for MessagePack pack.");
    }
    luaL_checkstack(lua, 3, "for one argument"); // the block of text, and two while it grows
    struct script_text text;
    lua_pushnil(lua);
    script_text_init(&text, lua, n + 1);
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(lua, i);
        pack_value(&text, 0);
    }
    script_text_push(&text);
    return 1;
}

/* ---- Unpacking --------------------------------------------------------------------------------
 */

enum wrong { WRONG_NOTHING, WRONG_MISSING, WRONG_FORMAT };

struct input {
    lua_State *lua;
    const uint8_t *at;
    size_t left;
    enum wrong wrong;
};

static bool has(struct input *input, uint64_t n) {
    if (input->left < n) {
        input->wrong = WRONG_MISSING;
        return false;
    }
    return true;
}

static void skip(struct input *input, size_t n) {
    input->at += n;
    input->left -= n;
}

/* A number of `size` bytes behind the first one. */
static bool read_number(struct input *input, size_t size, uint64_t *ret) {
    if (!has(input, size + 1)) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 1; i <= size; i++) {
        value = value << 8 | input->at[i];
    }
    *ret = value;
    skip(input, size + 1);
    return true;
}

static void push_unsigned(struct input *input, size_t size) {
    uint64_t value;
    if (read_number(input, size, &value)) {
        lua_pushnumber(input->lua, (double)value);
    }
}

static void push_signed(struct input *input, size_t size) {
    uint64_t value;
    if (read_number(input, size, &value)) {
        int unused = 64 - 8 * (int)size;
        lua_pushnumber(input->lua, (double)((int64_t)(value << unused) >> unused));
    }
}

static void push_float(struct input *input) {
    uint64_t value;
    if (read_number(input, 4, &value)) {
        uint32_t image = (uint32_t)value;
        float number;
        memcpy(&number, &image, sizeof(number));
        lua_pushnumber(input->lua, number);
    }
}

static void push_double(struct input *input) {
    uint64_t value;
    if (read_number(input, 8, &value)) {
        double number;
        memcpy(&number, &value, sizeof(number));
        lua_pushnumber(input->lua, number);
    }
}

static void push_bytes(struct input *input, uint64_t n) {
    if (has(input, n)) {
        lua_pushlstring(input->lua, (const char *)input->at, (size_t)n);
        skip(input, (size_t)n);
    }
}

static void push_string(struct input *input, size_t size) {
    uint64_t n;
    if (read_number(input, size, &n)) {
        push_bytes(input, n);
    }
}

static void push_value(struct input *input);

static void push_array(struct input *input, uint64_t n) {
    lua_State *lua = input->lua;
    lua_newtable(lua);
    luaL_checkstack(lua, 1, "in function mp_decode_to_lua_array");
    for (uint64_t i = 1; i <= n; i++) {
        lua_pushnumber(lua, (double)i);
        push_value(input);
        if (input->wrong) {
            return;
        }
        lua_rawset(lua, -3);
    }
}

static void push_map(struct input *input, uint64_t n) {
    lua_State *lua = input->lua;
    lua_newtable(lua);
    for (uint64_t i = 0; i < n; i++) {
        push_value(input);
        if (input->wrong) {
            return;
        }
        push_value(input);
        if (input->wrong) {
            return;
        }
        lua_rawset(lua, -3);
    }
}

static void push_counted(struct input *input, size_t size, void (*push)(struct input *, uint64_t)) {
    uint64_t n;
    if (read_number(input, size, &n)) {
        push(input, n);
    }
}

/* Pushes the value that comes next, or says what is wrong with it. */
static void push_value(struct input *input) {
    lua_State *lua = input->lua;
    if (!has(input, 1)) {
        return;
    }
    luaL_checkstack(lua, 1,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    uint8_t first = input->at[0];
    switch (first) {
    case 0x00 ... 0x7f:
        skip(input, 1);
        lua_pushnumber(lua, first);
        break;
    case 0xe0 ... 0xff:
        skip(input, 1);
        lua_pushnumber(lua, (int8_t)first);
        break;
    case 0x80 ... 0x8f:
        skip(input, 1);
        push_map(input, first & 0x0f);
        break;
    case 0x90 ... 0x9f:
        skip(input, 1);
        push_array(input, first & 0x0f);
        break;
    case 0xa0 ... 0xbf:
        skip(input, 1);
        push_bytes(input, first & 0x1f);
        break;
    case 0xc0:
        skip(input, 1);
        lua_pushnil(lua);
        break;
    case 0xc2:
    case 0xc3:
        skip(input, 1);
        lua_pushboolean(lua, first == 0xc3);
        break;
    case 0xca:
        push_float(input);
        break;
    case 0xcb:
        push_double(input);
        break;
    case 0xcc:
    case 0xcd:
    case 0xce:
        push_unsigned(input, (size_t)1 << (first - 0xcc));
        break;
    case 0xcf: // as it is packed
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        push_signed(input, first == 0xcf ? 8 : (size_t)1 << (first - 0xd0));
        break;
    case 0xd9:
    case 0xda:
    case 0xdb:
        push_string(input, (size_t)1 << (first - 0xd9));
        break;
    case 0xdc:
    case 0xdd:
        push_counted(input, (size_t)2 << (first - 0xdc), push_array);
        break;
    case 0xde:
    case 0xdf:
        push_counted(input, (size_t)2 << (first - 0xde), push_map);
        break;
    default:
        input->wrong = WRONG_FORMAT;
    }
}

/* Up to `limit` values from `offset` on, and before them where the next one begins, or -1 at the
 * end. With neither, all values. */
static int unpack(lua_State *lua, lua_Integer limit, lua_Integer offset) {
    size_t length;
    const char *bytes = luaL_checklstring(lua, 1, &length);
    bool all = limit == 0 && offset == 0;
    if (offset < 0 || limit < 0) {
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)length);
    }
    if ((uint64_t)offset > length) {
        return luaL_error(lua, "Start offset %d greater than input length %d.", (int)offset,
                          (int)length);
    }
    struct input input = {
        .lua = lua, .at = (const uint8_t *)bytes + offset, .left = length - (size_t)offset};
    int n = 0;
    for (; input.left > 0 && (all || n < limit); n++) {
        push_value(&input);
        if (input.wrong == WRONG_MISSING) {
            return luaL_error(lua, "Missing bytes in input.");
        }
        if (input.wrong == WRONG_FORMAT) {
            return luaL_error(lua, "Bad data format in input.");
        }
    }
    if (all) {
        return n;
    }
    luaL_checkstack(lua, 1, "in function mp_unpack_full");
    lua_pushinteger(lua, input.left == 0 ? -1 : (lua_Integer)(length - input.left));
    lua_insert(lua, 2);
    return n + 1;
}

static int cmsgpack_unpack(lua_State *lua) {
    return unpack(lua, 0, 0);
}

static int cmsgpack_unpack_one(lua_State *lua) {
    lua_Integer offset = luaL_optinteger(lua, 2, 0);
    lua_settop(lua, 1);
    return unpack(lua, 1, offset);
}

static int cmsgpack_unpack_limit(lua_State *lua) {
    lua_Integer limit = luaL_checkinteger(lua, 2), offset = luaL_optinteger(lua, 3, 0);
    lua_settop(lua, 1);
    return unpack(lua, limit, offset);
}

void script_lib_cmsgpack(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"pack", cmsgpack_pack},
        {"unpack", cmsgpack_unpack},
        {"unpack_one", cmsgpack_unpack_one},
        {"unpack_limit", cmsgpack_unpack_limit},
        {NULL, NULL},
    };
    lua_createtable(lua, 0, 8);
    luaL_register(lua, NULL, functions);
    lua_pushliteral(lua, "cmsgpack");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "lua-cmsgpack 0.4.0");
    lua_setfield(lua, -2, "_VERSION");
    lua_pushliteral(lua, "Copyright (C) 2012, Redis Ltd.");
    lua_setfield(lua, -2, "_COPYRIGHT");
    lua_pushliteral(lua, "MessagePack C implementation for Lua");
    lua_setfield(lua, -2, "_DESCRIPTION");
    lua_setglobal(lua, "cmsgpack");
}
