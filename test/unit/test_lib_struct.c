/* SPDX-License-Identifier: BSD-3-Clause */
/* struct, the library of scripts: formats of all kinds, wrong arguments, hostile input, and too
 * little memory. The answers are Valkey's. */
#include "lua_bare.h"

Test(lib_struct, answers_as_valkey_does) {
    static const struct lua_bare_row rows[] = {
        {"struct.pack(\"i9\", -1), struct.pack(\"i16\", -1), struct.pack(\"I32\", 1), "
         "struct.pack(\">i16\", -2)",
         "\\255\\255\\255\\255\\255\\255\\255\\255\\000 "
         "\\255\\255\\255\\255\\255\\255\\255\\255\\000\\000\\000\\000\\000\\000\\000\\000 "
         "\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\00"
         "0\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000 "
         "\\000\\000\\000\\000\\000\\000\\000\\000\\255\\255\\255\\255\\255\\255\\255\\254"},
        {"struct.unpack(\"i9\", string.rep(\"\\255\", 9)), struct.unpack(\"i16\", "
         "string.rep(\"\\255\",16)), struct.unpack(\">i12\", \"\\128\"..string.rep(\"\\0\",11)), "
         "struct.unpack(\"i0\", \"\"), struct.unpack(\"I16\", "
         "\"\\1\"..string.rep(\"\\0\",14)..\"\\1\")",
         "-1 -1 0 0 1 17"},
        {"struct.pack(\"i33\", 1)", "t:1: integral size 33 is larger than limit of 32"},
        {"struct.pack(\"i99999999999\", 1)", "t:1: integral size overflow"},
        {"struct.pack(\"i2147483648\", 1)", "t:1: integral size overflow"},
        {"struct.size(\"i2147483647\")",
         "t:1: integral size 2147483647 is larger than limit of 32"},
        {"struct.size(\"c2147483647\"), struct.size(\"c2147483647c2147483647c2147483647\")",
         "2147483647 6442450941"},
        {"struct.size(\"s\")", "t:1: bad argument #1 to 'size' (option 's' has no fixed size)"},
        {"struct.size(\"c0\")", "t:1: bad argument #1 to 'size' (option 'c0' has no fixed size)"},
        {"struct.size(\"z\")", "0"},
        {"struct.size(\"!3\")", "t:1: alignment 3 is not a power of 2"},
        {"struct.size(\"!0\")", "t:1: alignment 0 is not a power of 2"},
        {"struct.size(\"?\")", "t:1: bad argument #1 to 'size' (invalid format option '?')"},
        {"struct.size(\"!16i16!i4bd h\")", "34"},
        {"struct.pack(\"z\", 1)", "t:1: bad argument #1 to 'pack' (invalid format option 'z')"},
        {"struct.pack(\"L\", 1e300), struct.pack(\"L\", 0/0), struct.pack(\"L\", -1e300), "
         "struct.pack(\"l\", 2^63), struct.pack(\"l\", 1/0), struct.pack(\"l\", -1/0), "
         "struct.pack(\"L\", 2^64), struct.pack(\"L\", 2^64-2048)",
         "\\000\\000\\000\\000\\000\\000\\000\\000 \\000\\000\\000\\000\\000\\000\\000\\128 "
         "\\000\\000\\000\\000\\000\\000\\000\\128 \\000\\000\\000\\000\\000\\000\\000\\128 "
         "\\000\\000\\000\\000\\000\\000\\000\\000 \\000\\000\\000\\000\\000\\000\\000\\128 "
         "\\000\\000\\000\\000\\000\\000\\000\\000 \\000\\248\\255\\255\\255\\255\\255\\255"},
        {"struct.pack(\"c5\", \"abc\")", "t:1: bad argument #3 to 'pack' (string too short)"},
        {"struct.pack(\"s\", \"a\\0b\")", "a\\000b\\000"},
        {"struct.pack(\"c0\", \"abc\")", "abc"},
        {"struct.pack(\"b\")", "t:1: bad argument #2 to 'pack' (number expected, got nil)"},
        {"struct.pack(\"d\", {})", "t:1: bad argument #2 to 'pack' (number expected, got table)"},
        {"struct.pack(\"c\", \"abc\")", "a"},
        {"struct.pack(\"!i\", 1), struct.pack(\"!bi\", 1, 2), struct.pack(\"!4bd\", 1, 2), "
         "struct.pack(\"!bi3\", 1, 2)",
         "\\001\\000\\000\\000 \\001\\000\\000\\000\\002\\000\\000\\000 "
         "\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000@ \\001\\000\\000\\002\\000\\000"},
        {"struct.pack(\"\")", ""},
        {"struct.pack()", "t:1: bad argument #1 to 'pack' (string expected, got no value)"},
        {"struct.unpack(\"c0\", \"abc\")", "t:1: format 'c0' needs a previous size"},
        {"struct.unpack(\"bc0\", \"\\3abc\")", "abc 5"},
        {"struct.unpack(\"bc0\", \"\\4abc\")",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"dc0\", \"\\0\\0\\0\\0\\0\\0\\240\\191abc\")",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"sc0\", \"3\\0abc\")", "abc 6"},
        {"struct.unpack(\"sc0\", \"x\\0abc\")", "t:1: format 'c0' needs a previous size"},
        {"struct.unpack(\"s\", \"abc\")", "t:1: unfinished string in data"},
        {"struct.unpack(\"i\", \"abc\")",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"b\", \"abc\", 0)",
         "t:1: bad argument #3 to 'unpack' (offset must be 1 or greater)"},
        {"struct.unpack(\"b\", \"abc\", 4)",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"b\", \"abc\", 3)", "99 4"},
        {"struct.unpack(\"\", \"abc\", 100)", "100"},
        {"struct.unpack(\"b\", \"abc\", 2^53)",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"b\", \"abc\", 1e300)",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"b\", \"abc\", -1e300)",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"c2147483647\", \"abc\")",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"b\\0b\", \"abc\")", "97 2"},
        {"struct.unpack(\"!8 b d\", string.rep(\"\\1\", 16))", "1 7.7486041854893479e-304 17"},
        {"struct.unpack(string.rep(\"b\", 8000), string.rep(\"\\1\", 8000))",
         "t:1: stack overflow (too many results)"},
        {"struct.unpack(\"f\", \"\\0\\0\\192\\127\"), struct.unpack(\">f\", \"\\127\\128\\0\\0\"), "
         "struct.unpack(\"<>d\", \"\\64\\9\\33\\251\\84\\68\\45\\24\")",
         "nan inf 3.1415926535897931 9"},
        {"struct.pack(\"bBhHlLTiI\", 1, 2, 3, 4, 5, 6, 7, 8, 9)",
         "\\001\\002\\003\\000\\004\\000\\005\\000\\000\\000\\000\\000\\000\\000\\006\\000\\000\\00"
         "0\\000\\000\\000\\000\\007\\000\\000\\000\\000\\000\\000\\000\\008\\000\\000\\000\\009\\0"
         "00\\000\\000"},
        {"struct.pack(\">bBhHlLTiI\", -1, -2, -3, -4, -5, -6, -7, -8, -9)",
         "\\255\\254\\255\\253\\255\\252\\255\\255\\255\\255\\255\\255\\255\\251\\255\\255\\255\\25"
         "5\\255\\255\\255\\250\\255\\255\\255\\255\\255\\255\\255\\249\\255\\255\\255\\248\\255\\2"
         "55\\255\\247"},
        {"struct.unpack(\"bBhHi3I3\", "
         "\"\\255\\255\\255\\255\\255\\255\\255\\255\\255\\255\\255\\255\")",
         "-1 255 -1 65535 -1 16777215 13"},
        {"struct.unpack(\">h <h\", \"\\1\\2\\1\\2\")", "258 513 5"},
        {"struct.unpack(\"LTl\", string.rep(\"\\255\", 24))",
         "1.8446744073709552e+19 1.8446744073709552e+19 -1 25"},
        {"struct.unpack(\"xxb\", \"\\1\\2\\3\")", "3 4"},
        {"struct.pack(\"xbx\", 7)", "\\000\\007\\000"},
        {"struct.pack(\"ss\", \"a\", \"b\"), struct.unpack(\"ss\", \"a\\0b\\0c\")",
         "a\\000b\\000 a b 5"},
        {"struct.pack(\"hc0\", 3, \"abc\"), struct.unpack(\"hc0\", struct.pack(\"hc0\", 3, "
         "\"abc\"))",
         "\\003\\000abc abc 6"},
        {"struct.pack(\"fd>fd\", 1.5, 2.5, 1.5, 2.5), struct.pack(\"f\", 1e300)",
         "\\000\\000\\192?\\000\\000\\000\\000\\000\\000\\004@?\\192\\000\\000@"
         "\\004\\000\\000\\000\\000\\000\\000 \\000\\000\\128\\127"},
        {"struct.unpack(\"!8 b i4 b d\", string.rep(\"\\1\", 32))",
         "1 16843009 1 7.7486041854893479e-304 25"},
        {"struct.pack(\"!16 b i16\", 1, 2) == \"\\1\" .. string.rep(\"\\0\", 15) .. \"\\2\" .. "
         "string.rep(\"\\0\", 15)",
         "true"},
        {"struct.pack(\"c2147483648\", \"x\")", "t:1: integral size overflow"},
        {"struct.pack(\"i\", \"12\"), struct.pack(\"s\", 12)", "\\012\\000\\000\\000 12\\000"},
        {"struct.unpack(\"b\", \"abc\", -1)",
         "t:1: bad argument #2 to 'unpack' (data string too short)"},
        {"struct.unpack(\"\", \"abc\", -5)", "-5"},
        {"struct.size(\"bhildf\"), struct.size(\"!bhildf\"), struct.size(\"c10x\"), "
         "struct.size(\"\")",
         "27 28 11 0"},
        {"struct.size(\"bz?\")", "t:1: bad argument #1 to 'size' (invalid format option '?')"},
        {"#struct.pack(string.rep(\"d\", 5000), unpack((function() local t = {} for i = 1, 5000 do "
         "t[i] = i end return t end)()))",
         "40000"},
    };
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_rows(&bare, rows, sizeof(rows) / sizeof(rows[0]));
    lua_bare_fini(&bare);
}

Test(lib_struct, an_error_for_want_of_memory_leaves_nothing_behind) {
    struct lua_bare bare;
    lua_bare_init(&bare);
    lua_bare_starves(&bare,
                     "#struct.pack(string.rep(\"s\", 50), unpack((function() local t = {} for i = "
                     "1, 50 do t[i] = string.rep(\"x\", 3000) end return t end)()))");
    lua_bare_starves(
        &bare, "select(\"#\", struct.unpack(string.rep(\"s\", 500), string.rep(\"abc\\0\", 500)))");
    lua_bare_fini(&bare);
}
