/* SPDX-License-Identifier: BSD-3-Clause */
/* struct: numbers and strings as the bytes of a C structure, and back.
 *
 * A format is letters, most with an element each:
 *   b B h H l L T   integers of 1, 2 and 8 bytes; capitals have no sign, T is a size
 *   iN IN           integers of N bytes, 4 when nothing is said
 *   f d             float, double
 *   s               a string that ends with a NUL
 *   cN              N characters, one when nothing is said. c0 takes a whole string, and reads as
 * many as the number before it says x               a byte that means nothing > < !N          from
 * here on: the highest byte first, or the lowest; elements lie at multiples of their size, of N at
 * most blank           nothing
 *
 * Sizes come from the format: each is read with a bound, and compared with what is left of the data
 * before anything is touched. What C leaves open (numbers that no integer holds, shifts beyond 64)
 * is here what x86 does, and Valkey with it. */
#include "server/script/lib/lib.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INTEGER_BYTES_MAX 32

struct format {
    const char *at;
    bool big;     // the highest byte comes first
    size_t align; // elements lie at multiples of their size, up to this
};

static struct format format_of(const char *text) {
    return (struct format){.at = text, .big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__, .align = 1};
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int read_number(lua_State *lua, struct format *format, int otherwise) {
    if (!is_digit(*format->at)) {
        return otherwise;
    }
    int number = 0;
    do {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *format->at - '0', &number)) {
            return luaL_error(lua, "integral size overflow");
        }
        format->at++;
    } while (is_digit(*format->at));
    return number;
}

/* What the element takes, 0 for what is none, or is as long as its string. */
static size_t element_size(lua_State *lua, struct format *format, char letter) {
    switch (letter) {
    case 'b':
    case 'B':
    case 'x':
        return 1;
    case 'h':
    case 'H':
        return 2;
    case 'f':
        return 4;
    case 'l':
    case 'L':
    case 'T':
    case 'd':
        return 8;
    case 'c':
        return (size_t)read_number(lua, format, 1);
    case 'i':
    case 'I': {
        int size = read_number(lua, format, sizeof(int));
        if (size > INTEGER_BYTES_MAX) {
            luaL_error(lua, "integral size %d is larger than limit of %d", size, INTEGER_BYTES_MAX);
        }
        return (size_t)size;
    }
    }
    return 0;
}

/* How many bytes there are between `position` and the element. */
static size_t padding(const struct format *format, size_t position, char letter, size_t size) {
    if (size == 0 || letter == 'c') {
        return 0;
    }
    size_t align = size < format->align ? size : format->align;
    return (align - (position & (align - 1))) & (align - 1);
}

/* What is no element. */
static void control(lua_State *lua, struct format *format, char letter) {
    switch (letter) {
    case ' ':
        return;
    case '>':
        format->big = true;
        return;
    case '<':
        format->big = false;
        return;
    case '!': {
        int align = read_number(lua, format, sizeof(double));
        if (align <= 0 || (align & (align - 1))) {
            luaL_error(lua, "alignment %d is not a power of 2", align);
        }
        format->align = (size_t)align;
        return;
    }
    }
    luaL_argerror(lua, 1, lua_pushfstring(lua, "invalid format option '%c'", letter));
}

/* ---- Bytes ------------------------------------------------------------------------------------
 */

static uint64_t to_i64(double value) {
    return value >= -0x1p63 && value < 0x1p63 ? (uint64_t)(int64_t)value : UINT64_C(1) << 63;
}

static uint64_t to_u64(double value) {
    return value >= 0x1p63 ? to_i64(value - 0x1p63) ^ UINT64_C(1) << 63 : to_i64(value);
}

static void put_integer(struct luaL_Buffer *to, const struct format *format, double number,
                        size_t size) {
    uint64_t value = number < 0 ? to_i64(number) : to_u64(number);
    char bytes[INTEGER_BYTES_MAX];
    for (size_t i = 0; i < size; i++) { // beyond the eighth there is nothing left
        bytes[format->big ? size - 1 - i : i] = (char)value;
        value >>= 8;
    }
    luaL_addlstring(to, bytes, size);
}

static double integer_of(const uint8_t *bytes, const struct format *format, bool is_signed,
                         size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | bytes[format->big ? i : size - 1 - i];
    }
    if (!is_signed) {
        return (double)value;
    }
    uint64_t above = UINT64_MAX << ((size * 8 - 1) & 63);
    return (double)(int64_t)(value & above ? value | above : value);
}

static void turn(char *bytes, const struct format *format, size_t size) {
    if (format->big == (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)) {
        return;
    }
    for (size_t i = 0; i < size / 2; i++) {
        char other = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = other;
    }
}

/* ---- Functions --------------------------------------------------------------------------------
 */

static int struct_pack(lua_State *lua) {
    struct format format = format_of(luaL_checkstring(lua, 1));
    luaL_Buffer out;
    int argument = 2;
    size_t position = 0;
    lua_pushnil(lua); // stands between the arguments and what the buffer has on the stack
    luaL_buffinit(lua, &out);
    while (*format.at) {
        char letter = *format.at++;
        size_t size = element_size(lua, &format, letter);
        size_t before = padding(&format, position, letter, size);
        position += before;
        while (before-- > 0) {
            luaL_addchar(&out, '\0');
        }
        switch (letter) {
        case 'b':
        case 'B':
        case 'h':
        case 'H':
        case 'l':
        case 'L':
        case 'T':
        case 'i':
        case 'I':
            put_integer(&out, &format, luaL_checknumber(lua, argument++), size);
            break;
        case 'x':
            luaL_addchar(&out, '\0');
            break;
        case 'f': {
            float number = (float)luaL_checknumber(lua, argument++);
            char bytes[sizeof(number)];
            memcpy(bytes, &number, sizeof(number));
            turn(bytes, &format, sizeof(number));
            luaL_addlstring(&out, bytes, sizeof(number));
            break;
        }
        case 'd': {
            double number = luaL_checknumber(lua, argument++);
            char bytes[sizeof(number)];
            memcpy(bytes, &number, sizeof(number));
            turn(bytes, &format, sizeof(number));
            luaL_addlstring(&out, bytes, sizeof(number));
            break;
        }
        case 'c':
        case 's': {
            size_t length;
            const char *bytes = luaL_checklstring(lua, argument++, &length);
            size = size == 0 ? length : size;
            luaL_argcheck(lua, length >= size, argument, "string too short"); // named one too high
            luaL_addlstring(&out, bytes, size);
            if (letter == 's') {
                luaL_addchar(&out, '\0');
                size++;
            }
            break;
        }
        default:
            control(lua, &format, letter);
        }
        position += size;
    }
    luaL_pushresult(&out);
    return 1;
}

/* The data of struct.unpack, and how far it has been read. */
struct data {
    const char *bytes;
    size_t length, position;
};

static void needs(lua_State *lua, const struct data *data, size_t size) {
    luaL_argcheck(lua, size <= data->length && data->position <= data->length - size, 2,
                  "data string too short");
}

/* The string of c0: its length is the value before it, which is given up for it. */
static size_t counted(lua_State *lua, const struct data *data, int values) {
    if (values == 0 || !lua_isnumber(lua, -1)) {
        luaL_error(lua, "format 'c0' needs a previous size");
    }
    size_t size = (size_t)to_u64(lua_tonumber(lua, -1));
    lua_pop(lua, 1);
    needs(lua, data, size);
    return size;
}

static int struct_unpack(lua_State *lua) {
    struct format format = format_of(luaL_checkstring(lua, 1));
    struct data data;
    data.bytes = luaL_checklstring(lua, 2, &data.length);
    size_t from = (size_t)luaL_optinteger(lua, 3, 1); // one below 0 is far behind the end
    luaL_argcheck(lua, from > 0, 3, "offset must be 1 or greater");
    data.position = from - 1;
    int values = 0;
    while (*format.at) {
        char letter = *format.at++;
        size_t size = element_size(lua, &format, letter);
        data.position += padding(&format, data.position, letter, size);
        needs(lua, &data, size);
        luaL_checkstack(lua, 2, "too many results"); // one more, and the position behind the last
        const char *bytes = data.bytes + data.position;
        switch (letter) {
        case 'b':
        case 'h':
        case 'l':
        case 'i':
        case 'B':
        case 'H':
        case 'L':
        case 'T':
        case 'I':
            lua_pushnumber(lua, integer_of((const uint8_t *)bytes, &format, letter >= 'a', size));
            values++;
            break;
        case 'x':
            break;
        case 'f': {
            char turned[sizeof(float)];
            float number;
            memcpy(turned, bytes, sizeof(number));
            turn(turned, &format, sizeof(number));
            memcpy(&number, turned, sizeof(number));
            lua_pushnumber(lua, number);
            values++;
            break;
        }
        case 'd': {
            char turned[sizeof(double)];
            double number;
            memcpy(turned, bytes, sizeof(number));
            turn(turned, &format, sizeof(number));
            memcpy(&number, turned, sizeof(number));
            lua_pushnumber(lua, number);
            values++;
            break;
        }
        case 'c':
            if (size == 0) {
                size = counted(lua, &data, values--);
            }
            lua_pushlstring(lua, bytes, size);
            values++;
            break;
        case 's': {
            const char *end = memchr(bytes, '\0', data.length - data.position);
            if (!end) {
                return luaL_error(lua, "unfinished string in data");
            }
            size = (size_t)(end - bytes) + 1;
            lua_pushlstring(lua, bytes, size - 1);
            values++;
            break;
        }
        default:
            control(lua, &format, letter);
        }
        data.position += size;
    }
    lua_pushinteger(lua, (lua_Integer)(data.position + 1));
    return values + 1;
}

static int struct_size(lua_State *lua) {
    struct format format = format_of(luaL_checkstring(lua, 1));
    size_t position = 0;
    while (*format.at) {
        char letter = *format.at++;
        size_t size = element_size(lua, &format, letter);
        position += padding(&format, position, letter, size);
        if (letter == 's') {
            luaL_argerror(lua, 1, "option 's' has no fixed size");
        }
        if (letter == 'c' && size == 0) {
            luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        }
        if (!is_letter(letter) && !is_digit(letter)) { // letters that are none are passed over
            control(lua, &format, letter);
        }
        position += size;
    }
    lua_pushinteger(lua, (lua_Integer)position);
    return 1;
}

void script_lib_struct(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"pack", struct_pack},
        {"size", struct_size},
        {"unpack", struct_unpack},
        {NULL, NULL},
    };
    lua_createtable(lua, 0, 3);
    luaL_register(lua, NULL, functions);
    lua_setglobal(lua, "struct");
}
