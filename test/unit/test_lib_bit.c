/* SPDX-License-Identifier: BSD-3-Clause */
/* bit, the library of scripts: every function at the edges of 32 bits, and wrong arguments. The
 * answers are Valkey's. */
#include "lua_bare.h"

Test(lib_bit, answers_as_valkey_does) {
    static const struct lua_bare_row rows[] = {
        {"bit.tobit(0xffffffff), bit.tobit(0xffffffff + 1), bit.tobit(1234), bit.tobit(\"0x10\")",
         "-1 0 1234 16"},
        {"bit.tobit(0.5), bit.tobit(1.5), bit.tobit(2.5), bit.tobit(-0.5), bit.tobit(-1.5), "
         "bit.tobit(4.7)",
         "0 2 2 0 -2 5"},
        {"bit.tobit(2^31), bit.tobit(-2^31), bit.tobit(2^40 + 1), bit.tobit(2^51 - 1), "
         "bit.tobit(-2^51)",
         "-2147483648 -2147483648 1 -1 0"},
        {"bit.tobit(1e300), bit.tobit(-1e300), bit.tobit(1/0), bit.tobit(-1/0), bit.tobit(2^52), "
         "bit.tobit(2^53)",
         "-2013235812 -2013235812 0 0 0 0"},
        {"bit.bnot(0), bit.bnot(-1), bit.bnot(0x12345678)", "-1 0 -305419897"},
        {"bit.bswap(0x12345678), bit.bswap(0x78563412), bit.bswap(-1)", "2018915346 305419896 -1"},
        {"bit.band(0x12345678, 0xff), bit.band(-1), bit.band(1, 3, 5, 7)", "120 -1 1"},
        {"bit.bor(1, 2, 4, 8), bit.bor(0)", "15 0"},
        {"bit.bxor(0xa5a5f0f0, 0xaa55ff00), bit.bxor(1, 1, 1)", "267390960 1"},
        {"bit.lshift(1, 0), bit.lshift(1, 31), bit.lshift(1, 32), bit.lshift(1, -1), "
         "bit.lshift(0x87654321, 12)",
         "1 -2147483648 1 -2147483648 1412567040"},
        {"bit.rshift(-1, 0), bit.rshift(-1, 31), bit.rshift(-256, 8), bit.rshift(1, 33)",
         "-1 1 16777215 0"},
        {"bit.arshift(-256, 8), bit.arshift(256, 8), bit.arshift(-1, 31), bit.arshift(0x87654321, "
         "12)",
         "-1 1 -1 -493996"},
        {"bit.rol(0x12345678, 12), bit.rol(1, 0), bit.rol(1, 32), bit.rol(1, -1)",
         "1164411171 1 1 -2147483648"},
        {"bit.ror(0x12345678, 12), bit.ror(1, 0), bit.ror(1, 1), bit.ror(1, -1)",
         "1736516421 1 -2147483648 2"},
        {"bit.tohex(1), bit.tohex(-1), bit.tohex(0xffffffff), bit.tohex(0x87654321, 4)",
         "00000001 ffffffff ffffffff 4321"},
        {"bit.tohex(-1, -8), bit.tohex(0x21, 4), bit.tohex(0xabcdef, -3), bit.tohex(1, 0), "
         "bit.tohex(1, 100)",
         "FFFFFFFF 0021 DEF  00000001"},
        {"bit.tohex(0xabcdef, -2147483648), bit.tohex(0xabcdef, 2147483647), bit.tohex(0xabcdef, "
         "2147483648), bit.tohex(0xabcdef, -2147483647)",
         "00ABCDEF 00abcdef 00ABCDEF 00ABCDEF"},
        {"bit.band()", "t:1: bad argument #1 to 'band' (number expected, got no value)"},
        {"bit.band(1, {}, true)", "t:1: bad argument #3 to 'band' (number expected, got boolean)"},
        {"bit.bxor(\"1\", \"x\")", "t:1: bad argument #2 to 'bxor' (number expected, got string)"},
        {"bit.tohex()", "t:1: bad argument #1 to 'tohex' (number expected, got no value)"},
        {"bit.tohex(\"x\")", "t:1: bad argument #1 to 'tohex' (number expected, got string)"},
        {"bit.tohex(1, {})", "t:1: bad argument #2 to 'tohex' (number expected, got table)"},
        {"bit.tohex(1, nil)", "t:1: bad argument #2 to 'tohex' (number expected, got nil)"},
        {"bit.tobit(nil)", "t:1: bad argument #1 to 'tobit' (number expected, got nil)"},
        {"bit.bnot({})", "t:1: bad argument #1 to 'bnot' (number expected, got table)"},
        {"bit.bswap()", "t:1: bad argument #1 to 'bswap' (number expected, got no value)"},
        {"bit.lshift(1)", "t:1: bad argument #2 to 'lshift' (number expected, got no value)"},
        {"bit.rol(true, 1)", "t:1: bad argument #1 to 'rol' (number expected, got boolean)"},
    };
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_rows(&bare, rows, sizeof(rows) / sizeof(rows[0]));
    lua_bare_fini(&bare);
}
