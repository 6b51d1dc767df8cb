/* SPDX-License-Identifier: BSD-3-Clause */
/* cmsgpack, the library of scripts: MessagePack both ways, wrong arguments, hostile input, and too
 * little memory. The answers are Valkey's. */
#include "lua_bare.h"

Test(lib_cmsgpack, answers_as_valkey_does) {
    static const struct lua_bare_row rows[] = {
        {"cmsgpack.pack()", "t:1: bad argument #0 to 'pack' (MessagePack pack needs input.)"},
        {"cmsgpack.unpack()", "t:1: bad argument #1 to 'unpack' (string expected, got no value)"},
        {"cmsgpack.unpack(\"\")", ""},
        {"cmsgpack.unpack(\"\\196\\1a\")", "t:1: Bad data format in input."},
        {"cmsgpack.unpack(\"\\193\")", "t:1: Bad data format in input."},
        {"cmsgpack.unpack(\"\\199\\1\\1a\")", "t:1: Bad data format in input."},
        {"cmsgpack.unpack_one(\"\\1\\2\\3\", -1)",
         "t:1: Invalid request to unpack with offset of -1 and limit of 3."},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\", -1)",
         "t:1: Invalid request to unpack with offset of 0 and limit of 3."},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\", 0, 5)",
         "t:1: Start offset 5 greater than input length 3."},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\", 0, 1)", "1"},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\")",
         "t:1: bad argument #2 to 'unpack_limit' (number expected, got no value)"},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\", 1, 2^31)",
         "t:1: Start offset -2147483648 greater than input length 3."},
        {"cmsgpack.unpack_one(\"\\1\\2\\3\", 2^32)",
         "t:1: Start offset 0 greater than input length 3."},
        {"cmsgpack.unpack_one(\"\\1\\2\\3\", 3)", "-1"},
        {"cmsgpack.unpack_one(\"\\1\\2\\3\", 4)",
         "t:1: Start offset 4 greater than input length 3."},
        {"cmsgpack.unpack(\"\\129\\192\\1\")", "table index is nil"},
        {"cmsgpack.unpack(\"\\129\\202\\127\\192\\0\\0\\1\")", "table index is NaN"},
        {"cmsgpack.unpack(\"\\207\\255\\255\\255\\255\\255\\255\\255\\255\")", "-1"},
        {"cmsgpack.unpack(\"\\219\\255\\255\\255\\255a\")", "t:1: Missing bytes in input."},
        {"cmsgpack.unpack(\"\\221\\255\\255\\255\\255\\1\")", "t:1: Missing bytes in input."},
        {"cmsgpack.unpack(string.rep(\"\\1\", 8001))",
         "t:1: stack overflow (too many return values at once; use unpack_one or unpack_limit "
         "instead.)"},
        {"cmsgpack.unpack(string.rep(\"\\145\", 100000))",
         "t:1: stack overflow (in function mp_decode_to_lua_array)"},
        {"cmsgpack.unpack(string.rep(\"\\129\", 100000))",
         "t:1: stack overflow (too many return values at once; use unpack_one or unpack_limit "
         "instead.)"},
        {"cmsgpack.unpack(12)", "49 50"},
        {"cmsgpack.unpack({})", "t:1: bad argument #1 to 'unpack' (string expected, got table)"},
        {"cmsgpack.pack(2^63), cmsgpack.pack(-2^63), cmsgpack.pack(2^64), cmsgpack.pack(0/0), "
         "cmsgpack.pack(1/0), cmsgpack.pack(-0)",
         "\\202_\\000\\000\\000 \\211\\128\\000\\000\\000\\000\\000\\000\\000 "
         "\\202_\\128\\000\\000 \\203\\255\\248\\000\\000\\000\\000\\000\\000 "
         "\\202\\127\\128\\000\\000 \\000"},
        {"cmsgpack.pack({[1]=1,[2^33]=2}), cmsgpack.pack({[2^32+1]=1}), cmsgpack.pack({[1.5]=1}), "
         "cmsgpack.pack({[0]=1}),cmsgpack.pack({})",
         "\\130\\001\\001\\207\\000\\000\\000\\002\\000\\000\\000\\000\\002 "
         "\\129\\207\\000\\000\\000\\001\\000\\000\\000\\001\\001 \\129\\202?\\192\\000\\000\\001 "
         "\\129\\000\\001 \\144"},
        {"cmsgpack.pack(nil), cmsgpack.pack(string.rep), cmsgpack.pack(cjson.null), "
         "cmsgpack.pack(true,false,\"x\",1.5,1e300)",
         "\\192 \\192 \\192 \\195\\194\\161x\\202?\\192\\000\\000\\203~7\\228<\\136\\000u\\156"},
        {"cmsgpack.pack(0, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 2^53)",
         "\\000\\127\\204\\128\\204\\255\\205\\001\\000\\205\\255\\255\\206\\000\\001\\000\\000\\20"
         "6\\255\\255\\255\\255\\207\\000\\000\\000\\001\\000\\000\\000\\000\\207\\000 "
         "\\000\\000\\000\\000\\000\\000"},
        {"cmsgpack.pack(-1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649)",
         "\\255\\224\\208\\223\\208\\128\\209\\255\\127\\209\\128\\000\\210\\255\\255\\127\\255\\21"
         "0\\128\\000\\000\\000\\211\\255\\255\\255\\255\\127\\255\\255\\255"},
        {"cmsgpack.pack({1, {2}, {a = {}}}, {[2] = 1}, {1, 2, nil, 4})",
         "\\147\\001\\145\\002\\129\\161a\\144\\129\\002\\001\\131\\001\\001\\002\\002\\004\\004"},
        {"(function() local t = {} t[1] = t return cmsgpack.pack(t) end)()",
         "\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\145\\192"},
        {"(function() local t = {} t.x = t return #cmsgpack.pack(t) end)()", "49"},
        {"cmsgpack.pack(string.rep(\"x\", 31)):sub(1, 3), cmsgpack.pack(string.rep(\"x\", "
         "32)):sub(1, 3), cmsgpack.pack(string.rep(\"x\", 256)):sub(1, 4), "
         "cmsgpack.pack(string.rep(\"x\", 65536)):sub(1, 6)",
         "\\191xx \\217 x \\218\\001\\000x \\219\\000\\001\\000\\000x"},
        {"(function() local t = {} for i = 1, 65536 do t[i] = 1 end local u = {} for i = 1, 16 do "
         "u[i] = i end return cmsgpack.pack(t):sub(1, 6), cmsgpack.pack(u):sub(1, 4), "
         "#cmsgpack.pack(t) end)()",
         "\\221\\000\\001\\000\\000\\001 \\220\\000\\016\\001 65541"},
        {"pcall(cmsgpack.pack, unpack({}, 1, 4100))",
         "false bad argument #0 to '?' (Too many arguments for MessagePack pack.)"},
        {"(function() local t = {} for i = 1, 3000 do t[i] = i end return "
         "#cmsgpack.pack(unpack(t)) end)()",
         "8618"},
        {"cmsgpack.unpack(\"\\1\\162hi\\192\\195\\194\\147\\1\\2\\3\\129\\161a\\1\")",
         "1 hi nil true false {1=1 2=2 3=3} {a=1}"},
        {"cmsgpack.unpack("
         "\"\\203\\63\\185\\153\\153\\153\\153\\153\\154\\202\\63\\192\\0\\0\\204\\200\\205\\1\\0\\"
         "206\\1\\0\\0\\0\\208\\200\\209\\255\\0\\210\\255\\0\\0\\0\\211\\255\\255\\255\\255\\255\\"
         "255\\255\\0\\224\\255\")",
         "0.10000000000000001 1.5 200 256 16777216 -56 -256 -16777216 -256 -32 -1"},
        {"cmsgpack.unpack("
         "\"\\217\\1a\\218\\0\\1b\\219\\0\\0\\0\\1c\\220\\0\\1\\1\\221\\0\\0\\0\\1\\1\\222\\0\\1\\1"
         "\\2\\223\\0\\0\\0\\1\\1\\2\")",
         "a b c {1=1} {1=1} {1=2} {1=2}"},
        {"cmsgpack.unpack_one(\"\\1\\2\\3\"), cmsgpack.unpack_one(\"\\1\\2\\3\", 1)", "1 2 2"},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\", 2), cmsgpack.unpack_limit(\"\\1\\2\\3\", 2, 1)",
         "2 -1 2 3"},
        {"cmsgpack.unpack_limit(\"\\1\\2\\3\", 0, 0)", "1 2 3"},
        {"cmsgpack.unpack(\"\\218\\0\"), 1", "t:1: Missing bytes in input."},
        {"cmsgpack.unpack(\"\\205\\1\")", "t:1: Missing bytes in input."},
        {"cmsgpack.unpack(\"\\1\\2\\3\\193\")", "t:1: Bad data format in input."},
        {"cmsgpack.unpack(\"\\222\\255\\255\")", "t:1: Missing bytes in input."},
        {"cmsgpack.unpack(cmsgpack.pack(1.5, \"x\", {1, {2, 3}}, {a = 1}, true, nil, -5))",
         "1.5 x {1=1 2={1=2 2=3}} {a=1} true nil -5"},
    };
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_rows(&bare, rows, sizeof(rows) / sizeof(rows[0]));
    lua_bare_fini(&bare);
}

Test(lib_cmsgpack, an_error_for_want_of_memory_leaves_nothing_behind) {
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_starves(&bare,
                     "#cmsgpack.pack(string.rep(\"x\", 100000), {string.rep(\"y\", 30000)})");
    lua_bare_starves(
        &bare, "#cmsgpack.unpack(\"\\220\\3\\232\" .. string.rep(\"\\146\\1\\163abc\", 1000))");
    lua_bare_fini(&bare);
}

Test(lib_cmsgpack, lengths_that_are_a_lie_cost_nothing) {
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_says(&bare, "cmsgpack.unpack('\\1')");
    lua_gc(bare.lua, LUA_GCCOLLECT, 0);
    size_t before = bare.used_max = bare.used;
    static const char *const lies[] = {
        "cmsgpack.unpack('\\219\\255\\255\\255\\255a')",
        "cmsgpack.unpack('\\221\\255\\255\\255\\255\\1')",
        "cmsgpack.unpack('\\223\\255\\255\\255\\255\\1')",
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        cr_expect_str_eq(lua_bare_says(&bare, lies[i]), "t:1: Missing bytes in input.");
    }
    cr_expect_lt(bare.used_max - before, 64 * 1024);
    lua_bare_fini(&bare);
}
