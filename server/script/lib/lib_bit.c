/* SPDX-License-Identifier: BSD-3-Clause */
/* bit: 32-bit integers in numbers that are doubles.
 *
 * An argument becomes 32 bits by adding 1.5 * 2^52: the sum has no room for fractions, so the
 * processor rounds to the nearest even one, and its lowest 32 bits are the integer modulo 2^32.
 * Beyond 2^51 what comes out means nothing, but is the same everywhere. A result is a signed
 * number. Shifts look at the lowest five bits of their distance. */
#include "server/script/lib/lib.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <string.h>

static uint32_t argument(lua_State *lua, int index) {
    double sum = luaL_checknumber(lua, index) + 6755399441055744.0;
    uint64_t image;
    memcpy(&image, &sum, sizeof(image));
    return (uint32_t)image;
}

static int result(lua_State *lua, uint32_t bits) {
    lua_pushnumber(lua, (int32_t)bits);
    return 1;
}

static int bit_tobit(lua_State *lua) {
    return result(lua, argument(lua, 1));
}

static int bit_bnot(lua_State *lua) {
    return result(lua, ~argument(lua, 1));
}

static int bit_bswap(lua_State *lua) {
    return result(lua, __builtin_bswap32(argument(lua, 1)));
}

/* The first is looked at first, then the others from the last on: that decides which of several
 * wrong ones is named. */

static int bit_band(lua_State *lua) {
    uint32_t bits = argument(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) {
        bits &= argument(lua, i);
    }
    return result(lua, bits);
}

static int bit_bor(lua_State *lua) {
    uint32_t bits = argument(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) {
        bits |= argument(lua, i);
    }
    return result(lua, bits);
}

static int bit_bxor(lua_State *lua) {
    uint32_t bits = argument(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) {
        bits ^= argument(lua, i);
    }
    return result(lua, bits);
}

static int bit_lshift(lua_State *lua) {
    uint32_t bits = argument(lua, 1), by = argument(lua, 2) & 31;
    return result(lua, bits << by);
}

static int bit_rshift(lua_State *lua) {
    uint32_t bits = argument(lua, 1), by = argument(lua, 2) & 31;
    return result(lua, bits >> by);
}

static int bit_arshift(lua_State *lua) {
    uint32_t bits = argument(lua, 1), by = argument(lua, 2) & 31;
    return result(lua, (uint32_t)((int32_t)bits >> by));
}

static uint32_t rotated(uint32_t bits, uint32_t by) {
    return bits << (by & 31) | bits >> (-by & 31);
}

static int bit_rol(lua_State *lua) {
    uint32_t bits = argument(lua, 1), by = argument(lua, 2);
    return result(lua, rotated(bits, by));
}

static int bit_ror(lua_State *lua) {
    uint32_t bits = argument(lua, 1), by = argument(lua, 2);
    return result(lua, rotated(bits, -by));
}

/* tohex(x, n): the lowest n digits; in capitals when n is negative. */
static int bit_tohex(lua_State *lua) {
    uint32_t bits = argument(lua, 1);
    int32_t wanted = lua_isnone(lua, 2) ? 8 : (int32_t)argument(lua, 2);
    const char *digits = wanted < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    uint32_t n =
        wanted < 0 ? -(uint32_t)wanted : (uint32_t)wanted; // INT32_MIN has no negative of its own
    if (n > 8) {
        n = 8;
    }
    char text[8];
    for (uint32_t i = n; i > 0; i--) {
        text[i - 1] = digits[bits & 15];
        bits >>= 4;
    }
    lua_pushlstring(lua, text, n);
    return 1;
}

void script_lib_bit(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"arshift", bit_arshift},
        {"band", bit_band},
        {"bnot", bit_bnot},
        {"bor", bit_bor},
        {"bswap", bit_bswap},
        {"bxor", bit_bxor},
        {"lshift", bit_lshift},
        {"rol", bit_rol},
        {"ror", bit_ror},
        {"rshift", bit_rshift},
        {"tobit", bit_tobit},
        {"tohex", bit_tohex},
        {NULL, NULL},
    };
    lua_createtable(lua, 0, sizeof(functions) / sizeof(functions[0]) - 1);
    luaL_register(lua, NULL, functions);
    lua_setglobal(lua, "bit");
}
