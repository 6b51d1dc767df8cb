/* SPDX-License-Identifier: BSD-3-Clause */
/* cjson, the library of scripts: JSON both ways, wrong arguments, hostile input, and too little
 * memory. The answers are Valkey's. */
#include "lua_bare.h"

Test(lib_cjson, answers_as_valkey_does) {
    static const struct lua_bare_row rows[] = {
        {"cjson.encode({[2^40]=1})", "{\"1099511627776\":1}"},
        {"cjson.encode({[2^40]=1,[2^41]=2,[1]=3})",
         "{\"1\":3,\"1099511627776\":1,\"2199023255552\":2}"},
        {"cjson.encode({[2^40]=1,[2]=3})", "[null,3]"},
        {"cjson.decode(\"1\\0garbage\")", "t:1: JSON parser does not support UTF-16 or UTF-32"},
        {"cjson.decode(\"[1\\0,2]\")",
         "t:1: Expected comma or array end but found T_END at character 3"},
        {"cjson.decode('\"a\\0b\"')",
         "t:1: Expected value but found unexpected end of string at character 3"},
        {"cjson.decode('\"ab\\\\')",
         "t:1: Expected value but found invalid escape code at character 4"},
        {"cjson.encode_number_precision(17)",
         "t:1: bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)"},
        {"cjson.encode_number_precision(15)",
         "t:1: bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)"},
        {"cjson.encode_number_precision(14)", "14"},
        {"cjson.encode_number_precision(\"x\")",
         "t:1: bad argument #1 to 'encode_number_precision' (number expected, got string)"},
        {"cjson.encode(0/0)", "t:1: Cannot serialise number: must not be NaN or Inf"},
        {"cjson.encode(1/0)", "t:1: Cannot serialise number: must not be NaN or Inf"},
        {"cjson.encode({[1/0]=2})", "t:1: Cannot serialise number: must not be NaN or Inf"},
        {"cjson.encode({[true]=2})",
         "t:1: Cannot serialise boolean: table key must be a number or string"},
        {"cjson.encode(string.rep)", "t:1: Cannot serialise function: type not supported"},
        {"cjson.encode({a=string.rep})", "t:1: Cannot serialise function: type not supported"},
        {"cjson.encode(coroutine.create(function() end))",
         "t:1: Cannot serialise thread: type not supported"},
        {"cjson.encode(-0), cjson.encode(0*-1), cjson.encode({[-0.5]=1}), "
         "cjson.encode({[1]=1,[2.5]=1})",
         "-0 -0 {\"-0.5\":1} {\"1\":1,\"2.5\":1}"},
        {"cjson.encode(\"\\127\\0\\1\\31/\\\\\\\"\\b\\t\\n\\f\\r\\200é\")",
         "\"\\u007f\\u0000\\u0001\\u001f\\/\\\\\\\"\\b\\t\\n\\f\\r\\200\\195\\169\""},
        {"cjson.encode_keep_buffer(1)",
         "t:1: bad argument #1 to 'encode_keep_buffer' (invalid option '1')"},
        {"cjson.encode_keep_buffer(\"on\")", "true"},
        {"cjson.encode_keep_buffer(true, 1)",
         "t:1: bad argument #2 to 'encode_keep_buffer' (found too many arguments)"},
        {"cjson.encode_invalid_numbers(\"null\"), cjson.encode({0/0,1/0,-1/0}), "
         "cjson.encode_invalid_numbers(\"on\"), cjson.encode({0/0,1/0,-1/0}), "
         "cjson.encode_invalid_numbers(false)",
         "null [null,null,null] true [nan,inf,-inf] false"},
        {"cjson.encode_invalid_numbers(\"x\")",
         "t:1: bad argument #1 to 'encode_invalid_numbers' (invalid option 'x')"},
        {"cjson.encode_invalid_numbers({})",
         "t:1: bad argument #1 to 'encode_invalid_numbers' (string expected, got table)"},
        {"cjson.decode_invalid_numbers()", "true"},
        {"cjson.decode_max_depth(0)",
         "t:1: bad argument #1 to 'decode_max_depth' (expected integer between 1 and 2147483647)"},
        {"cjson.decode_max_depth(2^31)",
         "t:1: bad argument #1 to 'decode_max_depth' (expected integer between 1 and 2147483647)"},
        {"cjson.decode_max_depth(1.5)", "1"},
        {"cjson.decode_max_depth(1000)", "1000"},
        {"cjson.encode_sparse_array(1,2,3,4)",
         "t:1: bad argument #4 to 'encode_sparse_array' (found too many arguments)"},
        {"cjson.encode_sparse_array(nil,-1)", "t:1: bad argument #1 to 'encode_sparse_array' "
                                              "(expected integer between 0 and 2147483647)"},
        {"cjson.encode_sparse_array(\"maybe\")",
         "t:1: bad argument #1 to 'encode_sparse_array' (invalid option 'maybe')"},
        {"cjson.encode({[20]=1})", "t:1: Cannot serialise table: excessively sparse array"},
        {"cjson.encode({[10]=1})", "[null,null,null,null,null,null,null,null,null,1]"},
        {"cjson.decode(\"\\0[\")", "t:1: JSON parser does not support UTF-16 or UTF-32"},
        {"cjson.decode(\"[\\0\")", "t:1: JSON parser does not support UTF-16 or UTF-32"},
        {"cjson.decode(\"\")", "t:1: Expected value but found T_END at character 1"},
        {"cjson.decode(\" \")", "t:1: Expected value but found T_END at character 2"},
        {"cjson.decode(\"1 2\")", "t:1: Expected the end but found T_NUMBER at character 3"},
        {"cjson.decode(12)", "12"},
        {"cjson.decode({})", "t:1: bad argument #1 to 'decode' (string expected, got table)"},
        {"cjson.decode(nil)", "t:1: bad argument #1 to 'decode' (string expected, got nil)"},
        {"cjson.new().encode_max_depth(5), cjson.encode_max_depth()", "5 1000"},
        {"cjson.encode(setmetatable({}, {__index=function() return 1 end}))", "{}"},
        {"cjson.encode(cjson.null), cjson.decode(\"null\") == cjson.null, tostring(cjson.null)",
         "null true userdata: (nil)"},
        {"cjson.decode('{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"},\"\":\"empty\"}')",
         "{=empty a=1 b={1=true 2=false 3=null} c={d=e}}"},
        {"cjson.decode(\"[1,2.5,-3,1e3,-0,0.1,123456789012345678]\")",
         "{1=1 2=2.5 3=-3 4=1000 5=-0 6=0.10000000000000001 7=1.2345678901234568e+17}"},
        {"cjson.decode('\"\\\\u0041\\\\u00e9\\\\u20ac\\\\ud83d\\\\ude00\\\\n\\\\/\\\\\\\\\"')",
         "A\\195\\169\\226\\130\\172\\240\\159\\152\\128\\010/\\"},
        {"cjson.decode('\"\\\\ud83d\"')",
         "t:1: Expected value but found invalid unicode escape code at character 2"},
        {"cjson.decode('\"\\\\ude00\\\\ud83d\"')",
         "t:1: Expected value but found invalid unicode escape code at character 2"},
        {"cjson.decode('\"\\\\ud83d\\\\u0041\"')",
         "t:1: Expected value but found invalid unicode escape code at character 2"},
        {"cjson.decode('\"\\\\u12g4\"')",
         "t:1: Expected value but found invalid unicode escape code at character 2"},
        {"cjson.decode('\"\\\\x\"')",
         "t:1: Expected value but found invalid escape code at character 2"},
        {"cjson.decode(\"[nan,NaN,inf,-inf,Infinity,0x10,010,+5,nan(1)]\")",
         "{1=nan 2=nan 3=inf 4=-inf 5=inf 6=16 7=10 8=5 9=nan}"},
        {"cjson.decode(\"[1,]\")", "t:1: Expected value but found T_ARR_END at character 4"},
        {"cjson.decode(\"[,1]\")", "t:1: Expected value but found T_COMMA at character 2"},
        {"cjson.decode('{\"a\":1,}')",
         "t:1: Expected object key string but found T_OBJ_END at character 8"},
        {"cjson.decode('{\"a\" 1}')", "t:1: Expected colon but found T_NUMBER at character 6"},
        {"cjson.decode(\"{a:1}\")",
         "t:1: Expected object key string but found invalid token at character 2"},
        {"cjson.decode(\"{1:1}\")",
         "t:1: Expected object key string but found T_NUMBER at character 2"},
        {"cjson.decode('{\"a\":1 \"b\":2}')",
         "t:1: Expected comma or object end but found T_STRING at character 8"},
        {"cjson.decode(\"[-]\")", "t:1: Expected value but found invalid number at character 2"},
        {"cjson.decode(\"[1 2]\")",
         "t:1: Expected comma or array end but found T_NUMBER at character 4"},
        {"cjson.decode(\"tru\")", "t:1: Expected value but found invalid token at character 1"},
        {"cjson.decode(\"'a'\")", "t:1: Expected value but found invalid token at character 1"},
        {"cjson.decode(\"]\")", "t:1: Expected value but found T_ARR_END at character 1"},
        {"cjson.decode(string.rep(\"[\", 1000) .. string.rep(\"]\", 1000)) ~= nil", "true"},
        {"cjson.decode(string.rep(\"[\", 1001) .. string.rep(\"]\", 1001))",
         "t:1: Found too many nested data structures (1001) at character 1001"},
        {"cjson.decode(string.rep('{\"a\":', 1001))",
         "t:1: Found too many nested data structures (1001) at character 5001"},
        {"cjson.decode(string.rep(\"[\", 100000))",
         "t:1: Found too many nested data structures (1001) at character 1001"},
        {"cjson.encode({1, 2, {3, \"x\"}, {}}), cjson.encode({a = {b = {}}}), cjson.encode(\"x\"), "
         "cjson.encode(true), cjson.encode(nil)",
         "[1,2,[3,\"x\"],{}] {\"a\":{\"b\":{}}} \"x\" true null"},
        {"cjson.encode(1), cjson.encode(99999999999999), cjson.encode(100000000000000), "
         "cjson.encode(-99999999999999), cjson.encode(123456789012345), cjson.encode(0.1), "
         "cjson.encode(1/3), cjson.encode(1e300), cjson.encode(5e-324)",
         "1 99999999999999 1e+14 -99999999999999 1.2345678901234e+14 0.1 0.33333333333333 1e+300 "
         "4.9406564584125e-324"},
        {"cjson.encode({1, 2, nil, 4}), cjson.encode({[3] = \"x\"}), cjson.encode({[1] = 1, [3] = "
         "3, [20] = 20})",
         "t:1: Cannot serialise table: excessively sparse array"},
        {"#cjson.encode(string.rep(\"x\", 5000)), #cjson.encode(string.rep(\"\\1\", 5000)), "
         "cjson.encode({string.rep(\"x\", 1022)}):sub(-3)",
         "5002 30002 x\"]"},
        {"cjson.decode(cjson.encode(string.rep(\"\\\\\", 3000))) == string.rep(\"\\\\\", 3000)",
         "true"},
        {"(function() local t = {} for i = 1, 999 do t = {t} end return #cjson.encode(t) end)()",
         "2000"},
        {"(function() local t = {} for i = 1, 1000 do t = {t} end return #cjson.encode(t) end)()",
         "t:1: Cannot serialise, excessive nesting (1001)"},
        {"(function() local t = {} t.t = t return cjson.encode(t) end)()",
         "t:1: Cannot serialise, excessive nesting (1001)"},
        {"(function() local c = cjson.new() c.decode_max_depth(2) return pcall(c.decode, "
         "\"[[[1]]]\") end)()",
         "false Found too many nested data structures (3) at character 3"},
        {"(function() local c = cjson.new() c.decode_max_depth(2147483647) return pcall(c.decode, "
         "string.rep(\"[\", 100000)) end)()",
         "false Found too many nested data structures (7999) at character 7999"},
        {"(function() local c = cjson.new() c.encode_sparse_array(true) return c.encode({[100] = "
         "1}) end)()",
         "{\"100\":1}"},
        {"(function() local c = cjson.new() c.encode_number_precision(3) return c.encode({1234, "
         "999, 1/3}) end)()",
         "[1.23e+03,999,0.333]"},
        {"(function() local c = cjson.new() c.decode_invalid_numbers(false) local out = {} for _, "
         "t in ipairs{\"nan\", \"-inf\", \"0x1\", \"01\", \"+1\", \"-01\", \"1\"} do out[#out + 1] "
         "= select(2, pcall(c.decode, t)) end return unpack(out) end)()",
         "Expected value but found invalid token at character 1 Expected value but found invalid "
         "number at character 1 Expected value but found invalid number at character 1 Expected "
         "value but found invalid number at character 1 Expected value but found invalid token at "
         "character 1 Expected value but found invalid number at character 1 1"},
    };
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_rows(&bare, rows, sizeof(rows) / sizeof(rows[0]));
    lua_bare_fini(&bare);
}

Test(lib_cjson, an_error_for_want_of_memory_leaves_nothing_behind) {
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_starves(
        &bare, "#cjson.encode({string.rep(\"x\", 100000), {a = string.rep(\"\\1\", 30000)}})");
    lua_bare_starves(&bare, "#cjson.decode(\"[\" .. string.rep('[1,{\"a\":\"\\\\n' .. "
                            "string.rep(\"b\", 2000) .. '\"}],', 50) .. \"0]\")");
    lua_bare_fini(&bare);
}
