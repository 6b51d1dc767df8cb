/* SPDX-License-Identifier: BSD-3-Clause */
/* cjson.encode: a value of Lua as JSON.
 *
 * A table is an array when all its keys are whole numbers from 1 on, and it has some; holes become
 * null, unless there are too many. All others are objects, also an empty one. Nothing here calls
 * back into Lua: metamethods are not looked at.
 *
 * The value under work is on top of the stack; a table leaves its key and value, or its element,
 * there for each level. Where the stack ends Lua says so, far above any depth that is set by
 * itself. */
#include "server/script/lib/lib_cjson_private.h"
#include "server/script/lib/script_text.h"

#include "base/num.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

struct encoder {
    const struct cjson *cjson;
    lua_State *lua;
    struct script_text text;
};

static int refuse(lua_State *lua, int index, const char *reason) {
    return luaL_error(lua, "Cannot serialise %s: %s", luaL_typename(lua, index), reason);
}

static bool is_plain(unsigned char c) {
    return c >= ' ' && c != '"' && c != '\\' && c != '/' && c != 0x7f;
}

static void add_escaped(struct script_text *text, unsigned char c) {
    static const char short_forms[] = "\"\"\\\\//\bb\tt\nn\ff\rr";
    for (const char *form = short_forms; *form; form += 2) {
        if ((unsigned char)form[0] == c) {
            script_text_add(text, (char[]){'\\', form[1]}, 2);
            return;
        }
    }
    static const char digits[] = "0123456789abcdef";
    script_text_add(text, (char[]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6);
}

static void encode_string(struct encoder *encoder, int index) {
    size_t n;
    const char *bytes = lua_tolstring(encoder->lua, index, &n);
    script_text_add_char(&encoder->text, '"');
    for (size_t i = 0; i < n;) {
        size_t from = i;
        while (i < n && is_plain((unsigned char)bytes[i])) {
            i++;
        }
        script_text_add(&encoder->text, bytes + from, i - from);
        if (i < n) {
            add_escaped(&encoder->text, (unsigned char)bytes[i++]);
        }
    }
    script_text_add_char(&encoder->text, '"');
}

static void encode_number(struct encoder *encoder, int index) {
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    struct script_text *text = &encoder->text;
    const struct cjson *cjson = encoder->cjson;
    double value = lua_tonumber(encoder->lua, index);
    if (!isfinite(value) && cjson->encode_invalid == CJSON_INVALID_REFUSED) {
        refuse(encoder->lua, index, "must not be NaN or Inf");
    }
    if (!isfinite(value) && cjson->encode_invalid == CJSON_INVALID_AS_NULL) {
        script_text_add(text, "null", 4);
    } else if (isnan(value)) {
        script_text_add(text, "nan", 3); // without the sign that some have
    } else if (fabs(value) < powers[cjson->encode_precision] && value == (double)(int64_t)value &&
               !(value == 0 && signbit(value))) {
        script_text_reserve(text, NUM_I64_BYTES);
        text->used += num_format_i64(text->bytes + text->used, (int64_t)value);
    } else {
        char buf[NUM_DOUBLE_BYTES];
        int n = snprintf(buf, sizeof(buf), "%.*g", cjson->encode_precision, value);
        script_text_add(text, buf, (size_t)n);
    }
}

/* As x86 converts: what an int cannot hold is the smallest one. */
static int to_int(double value) {
    return value >= -2147483648.0 && value < 2147483648.0 ? (int)value : INT_MIN;
}

/* Of the table on top: its largest index, or something else than a positive number when it is not
 * an array. */
static int array_length(struct encoder *encoder) {
    lua_State *lua = encoder->lua;
    const struct cjson *cjson = encoder->cjson;
    int max = 0;
    uint32_t items = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        double key = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;
        if (key < 1 || floor(key) != key) {
            lua_pop(lua, 2);
            return -1;
        }
        if (key > max) {
            max = to_int(key);
        }
        items++;
        lua_pop(lua, 1);
    }
    /* The product wraps, as it does in Valkey. */
    if (cjson->sparse_ratio > 0 && max > (int32_t)(items * (uint32_t)cjson->sparse_ratio) &&
        max > cjson->sparse_safe) {
        if (!cjson->sparse_convert) {
            refuse(lua, -1, "excessively sparse array");
        }
        return -1;
    }
    return max;
}

static void encode_value(struct encoder *encoder, int depth);

static void encode_array(struct encoder *encoder, int depth, int length) {
    script_text_add_char(&encoder->text, '[');
    for (int64_t i = 1; i <= length; i++) {
        if (i > 1) {
            script_text_add_char(&encoder->text, ',');
        }
        lua_rawgeti(encoder->lua, -1, (int)i);
        encode_value(encoder, depth);
        lua_pop(encoder->lua, 1);
    }
    script_text_add_char(&encoder->text, ']');
}

static void encode_key(struct encoder *encoder) {
    switch (lua_type(encoder->lua, -2)) {
    case LUA_TNUMBER:
        script_text_add_char(&encoder->text, '"');
        encode_number(encoder, -2);
        script_text_add_char(&encoder->text, '"');
        break;
    case LUA_TSTRING:
        encode_string(encoder, -2);
        break;
    default:
        refuse(encoder->lua, -2, "table key must be a number or string");
    }
}

static void encode_object(struct encoder *encoder, int depth) {
    bool first = true;
    script_text_add_char(&encoder->text, '{');
    lua_pushnil(encoder->lua);
    while (lua_next(encoder->lua, -2) != 0) {
        if (!first) {
            script_text_add_char(&encoder->text, ',');
        }
        first = false;
        encode_key(encoder);
        script_text_add_char(&encoder->text, ':');
        encode_value(encoder, depth);
        lua_pop(encoder->lua, 1);
    }
    script_text_add_char(&encoder->text, '}');
}

static void encode_table(struct encoder *encoder, int depth) {
    /* A key, a value, and a block of text or the words of an error. */
    if (depth > encoder->cjson->encode_depth_max || !lua_checkstack(encoder->lua, 3)) {
        luaL_error(encoder->lua, "Cannot serialise, excessive nesting (%d)", depth);
    }
    int length = array_length(encoder);
    if (length > 0) {
        encode_array(encoder, depth, length);
    } else {
        encode_object(encoder, depth);
    }
}

static void encode_value(struct encoder *encoder, int depth) {
    lua_State *lua = encoder->lua;
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        encode_string(encoder, -1);
        return;
    case LUA_TNUMBER:
        encode_number(encoder, -1);
        return;
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1)) {
            script_text_add(&encoder->text, "true", 4);
        } else {
            script_text_add(&encoder->text, "false", 5);
        }
        return;
    case LUA_TTABLE:
        encode_table(encoder, depth + 1);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(lua, -1)) {
            break;
        }
        script_text_add(&encoder->text, "null", 4); // cjson.null
        return;
    case LUA_TNIL:
        script_text_add(&encoder->text, "null", 4);
        return;
    }
    refuse(lua, -1, "type not supported");
}

int cjson_encode(lua_State *lua) {
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct encoder encoder;
    encoder.cjson = cjson_of(lua);
    encoder.lua = lua;
    lua_pushnil(lua);
    lua_insert(lua, 1);
    script_text_init(&encoder.text, lua, 1);
    encode_value(&encoder, 0);
    script_text_push(&encoder.text);
    return 1;
}
