/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/call.h"

/* ---- Deadlines ---- */

Test(string, set_keeps_a_deadline_only_if_told_to) {
    struct call_env *call = call_new();
    GIVES(call, "set k v ex 10", OK);
    GIVES(call, "pttl k", NUMBER(10000));
    GIVES(call, "set k w keepttl", OK);
    GIVES(call, "pttl k", NUMBER(10000));
    GIVES(call, "set k w", OK);
    GIVES(call, "pttl k", NUMBER(-1));
    call_free(call);
}

Test(string, every_unit_of_set_means_the_same_moment) {
    struct call_env *call = call_new();
    GIVES(call, "set k v ex 7", OK);
    GIVES(call, "pexpiretime k", NUMBER(1700000007000));
    GIVES(call, "set k v px 7000", OK);
    GIVES(call, "pexpiretime k", NUMBER(1700000007000));
    GIVES(call, "set k v exat 1700000007", OK);
    GIVES(call, "pexpiretime k", NUMBER(1700000007000));
    GIVES(call, "set k v pxat 1700000007000", OK);
    GIVES(call, "pexpiretime k", NUMBER(1700000007000));
    call_free(call);
}

Test(string, a_deadline_that_is_now_deletes_the_key) {
    struct call_env *call = call_new();
    GIVES(call, "set k v", OK);
    GIVES(call, "set k v pxat 1700000000000", OK);
    GIVES(call, "exists k", NUMBER(0));
    GIVES(call, "set k v", OK);
    GIVES(call, "getex k pxat 1700000000000", "$1\r\nv\r\n");
    GIVES(call, "exists k", NUMBER(0));
    GIVES(call, "set k v pxat 1700000000001", OK);
    GIVES(call, "exists k", NUMBER(1));
    call->now_ms++;
    GIVES(call, "exists k", NUMBER(1));
    call->now_ms++;
    GIVES(call, "exists k", NUMBER(0));
    call_free(call);
}

Test(string, the_last_deadline_that_fits_is_taken_and_the_next_refused) {
    struct call_env *call = call_new();
    /* 2^63 - 1 less the present time. */
    GIVES(call, "set k v px 9223370336854775807", OK);
    GIVES(call, "pexpiretime k", NUMBER(9223372036854775807));
    GIVES(call, "expiretime k", NUMBER(9223372036854776));
    GIVES(call, "set k v px 9223370336854775808", EXPIRE_TIME("set"));
    GIVES(call, "set k v ex 9223370336854775", OK);
    GIVES(call, "set k v ex 9223370336854776", EXPIRE_TIME("set"));
    GIVES(call, "set k v exat 9223372036854775", OK);
    GIVES(call, "set k v exat 9223372036854776", EXPIRE_TIME("set"));
    GIVES(call, "set k v ex 0", EXPIRE_TIME("set"));
    GIVES(call, "set k v pxat -9223372036854775808", EXPIRE_TIME("set"));
    GIVES(call, "psetex k 0 v", EXPIRE_TIME("psetex"));
    GIVES(call, "setex k 9223372036854775807 v", EXPIRE_TIME("setex"));
    GIVES(call, "getex nokey ex 0", EXPIRE_TIME("getex"));
    GIVES(call, "msetex 1 k v exat -1", EXPIRE_TIME("msetex"));
    call_free(call);
}

/* ---- Conditions ---- */

Test(string, set_ifeq_stores_only_over_its_value) {
    struct call_env *call = call_new();
    GIVES(call, "set k new ifeq old", NIL);
    GIVES(call, "set k 15", OK);
    GIVES(call, "set k new ifeq 16 get", "$2\r\n15\r\n");
    GIVES(call, "set k new ifeq 15 get", "$2\r\n15\r\n");
    GIVES(call, "get k", "$3\r\nnew\r\n");
    GIVES(call, "delifeq k old", NUMBER(0));
    GIVES(call, "delifeq k new", NUMBER(1));
    GIVES(call, "delifeq k new", NUMBER(0));
    call_free(call);
}

Test(string, words_that_contradict_each_other_are_a_syntax_error) {
    struct call_env *call = call_new();
    static const char *const lines[] = {
        "set k v nx xx",
        "set k v xx ifeq v",
        "set k v ifeq v ifeq v",
        "set k v ifeq",
        "set k v ex",
        "set k v ex 10 px 10",
        "set k v keepttl ex 10",
        "set k v persist",
        "getex k keepttl",
        "getex k persist ex 10",
        "getex k nx",
        "msetex 2 a 1",
        "msetex 1 a 1 nx xx",
        "msetex 1 a 1 b 2",
        "msetex 1 a 1 ifeq 1",
        "msetex 1 a 1 get",
        "msetex 1 a 1 ex 1 keepttl",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        GIVES(call, lines[i], "-ERR syntax error\r\n");
    }
    call_free(call);
}

/* CVE-2023-28425: a key named twice failed an assertion. */
Test(string, msetnx_takes_a_key_twice) {
    struct call_env *call = call_new();
    GIVES(call, "msetnx k 1 k 2", NUMBER(1));
    GIVES(call, "get k", "$1\r\n2\r\n");
    GIVES(call, "msetnx j 1 k 2", NUMBER(0));
    GIVES(call, "exists j", NUMBER(0));
    GIVES(call, "msetex 2 j 1 j 2 nx", NUMBER(1));
    GIVES(call, "get j", "$1\r\n2\r\n");
    call_free(call);
}

/* ---- Numbers ---- */

Test(string, integers_stop_at_both_ends) {
    struct call_env *call = call_new();
    GIVES(call, "set k 9223372036854775806", OK);
    GIVES(call, "incr k", NUMBER(9223372036854775807));
    GIVES(call, "incr k", "-ERR increment or decrement would overflow\r\n");
    GIVES(call, "set k -9223372036854775807", OK);
    GIVES(call, "decr k", NUMBER(-9223372036854775808));
    GIVES(call, "decr k", "-ERR increment or decrement would overflow\r\n");
    GIVES(call, "incrby k 9223372036854775807", NUMBER(-1));
    GIVES(call, "decrby k -9223372036854775808", "-ERR decrement would overflow\r\n");
    GIVES(call, "incrby k 9223372036854775808", "-ERR value is not an integer or out of range\r\n");
    call_free(call);
}

Test(string, counting_keeps_the_deadline) {
    struct call_env *call = call_new();
    GIVES(call, "set k 5 px 777", OK);
    GIVES(call, "incr k", NUMBER(6));
    GIVES(call, "incrbyfloat k 0.5", "$3\r\n6.5\r\n");
    GIVES(call, "append k 1", NUMBER(4));
    GIVES(call, "setrange k 0 7", NUMBER(4));
    GIVES(call, "get k", "$4\r\n7.51\r\n");
    GIVES(call, "pttl k", NUMBER(777));
    call_free(call);
}

Test(string, a_sum_of_floats_is_kept_as_text) {
    struct call_env *call = call_new();
    GIVES(call, "incrbyfloat k 5", "$1\r\n5\r\n");
    GIVES(call, "object encoding k", "$6\r\nembstr\r\n");
    GIVES(call, "incrbyfloat k 1e17", "$18\r\n100000000000000005\r\n");
    GIVES(call, "incrbyfloat k inf", "-ERR increment would produce NaN or Infinity\r\n");
    GIVES(call, "incrbyfloat k nan", "-ERR value is not a valid float\r\n");
    call_free(call);
}

/* ---- Parts ---- */

Test(string, getrange_cuts_off_what_lies_outside) {
    struct call_env *call = call_new();
    GIVES(call, "set k hello", OK);
    GIVES(call, "getrange k 1 3", "$3\r\nell\r\n");
    GIVES(call, "getrange k -3 -2", "$2\r\nll\r\n");
    GIVES(call, "getrange k -9223372036854775808 9223372036854775807", "$5\r\nhello\r\n");
    GIVES(call, "getrange k 0 -100", "$1\r\nh\r\n");
    GIVES(call, "getrange k -2 -3", "$0\r\n\r\n");
    GIVES(call, "getrange k 5 9", "$0\r\n\r\n");
    GIVES(call, "substr nokey 0 -1", "$0\r\n\r\n");
    call_free(call);
}

/* CVE-2022-35977: the sum of offset and length overflowed. */
Test(string, setrange_stops_at_the_longest_string) {
    struct call_env *call = call_new();
    const char *too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    call_gives(call, "setrange k 536870912 x", bytes_of_text(too_long));
    call_gives(call, "setrange k 9223372036854775807 x", bytes_of_text(too_long));
    GIVES(call, "setrange k -1 x", "-ERR offset is out of range\r\n");
    GIVES(call, "setrange k 9223372036854775807 ''", NUMBER(0));
    GIVES(call, "exists k", NUMBER(0));
    call->config->proto_max_bulk_len = 8;
    GIVES(call, "setrange k 7 x", NUMBER(8));
    GIVES(call, "get k", "$8\r\n\0\0\0\0\0\0\0x\r\n");
    call_gives(call, "append k x", bytes_of_text(too_long));
    GIVES(call, "append k ''", NUMBER(8));
    call_free(call);
}

/* ---- LCS ---- */

Test(string, lcs_tells_the_bytes_their_number_or_their_places) {
    struct call_env *call = call_new();
    GIVES(call, "mset a ohmytext b mynewtext", OK);
    GIVES(call, "lcs a b", "$6\r\nmytext\r\n");
    GIVES(call, "lcs a b len", NUMBER(6));
    GIVES(call, "lcs a b idx minmatchlen 4 withmatchlen",
          "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n"
          "$3\r\nlen\r\n:6\r\n");
    call->resp = 3;
    GIVES(call, "lcs a b idx",
          "%2\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n"
          "*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n");
    GIVES(call, "lcs a nokey idx", "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n");
    call_free(call);
}

/* CVE-2021-29477: the product of the lengths overflowed. */
Test(string, lcs_refuses_a_table_above_the_bound) {
    struct call_env *call = call_new();
    GIVES(call, "setrange a 99999 x", NUMBER(100000));
    GIVES(call, "lcs a a len",
          "-ERR Insufficient memory, transient memory for LCS exceeds "
          "proto-max-bulk-len\r\n");
    GIVES(call, "set b x", OK);
    GIVES(call, "lcs a b len", NUMBER(1));
    call_free(call);
}
