/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/call.h"

#define RAW     "$3\r\nraw\r\n"
#define OFFSET  "-ERR bit offset is not an integer or out of range\r\n"
#define NOT_INT "-ERR value is not an integer or out of range\r\n"

Test(bitmap, a_number_is_read_as_its_text) {
    struct call_env *call = call_new();
    GIVES(call, "set n 12", OK);
    GIVES(call, "bitcount n", NUMBER(6));
    GIVES(call, "getbit n 3", NUMBER(1));
    GIVES(call, "object encoding n", "$3\r\nint\r\n");
    /* Nothing changes, and yet it is no number from then on. */
    GIVES(call, "setbit n 3 1", NUMBER(1));
    GIVES(call, "object encoding n", RAW);
    GIVES(call, "get n", "$2\r\n12\r\n");
    GIVES(call, "bitop and n n n", NUMBER(2));
    GIVES(call, "object encoding n", RAW);
    call_free(call);
}

Test(bitmap, the_last_bit_is_that_of_the_longest_string) {
    struct call_env *call = call_new();
    call->config->proto_max_bulk_len = 1000;
    GIVES(call, "setbit k 8000 1", OFFSET);
    GIVES(call, "setbit k -1 1", OFFSET);
    GIVES(call, "setbit k 9223372036854775807 1", OFFSET);
    GIVES(call, "getbit k 8000", OFFSET);
    GIVES(call, "bitfield k get u8 #1000", OFFSET);
    GIVES(call, "bitfield k get u8 #9223372036854775807", OFFSET);
    GIVES(call, "exists k", NUMBER(0));
    GIVES(call, "setbit k 7999 1", NUMBER(0));
    GIVES(call, "strlen k", NUMBER(1000));
    /* The offset is what is looked at: a field may end beyond it. */
    GIVES(call, "bitfield k set u16 7999 65535", "*1\r\n:32768\r\n");
    GIVES(call, "strlen k", NUMBER(1002));
    call_free(call);
}

Test(bitmap, a_range_counts_bytes_or_bits_from_either_end) {
    struct call_env *call = call_new();
    GIVES(call, "set k foobar", OK);
    GIVES(call, "bitcount k", NUMBER(26));
    GIVES(call, "bitcount k 1", NUMBER(22));
    GIVES(call, "bitcount k 0 0", NUMBER(4));
    GIVES(call, "bitcount k 1 1 byte", NUMBER(6));
    GIVES(call, "bitcount k 5 30 bit", NUMBER(17));
    GIVES(call, "bitcount k -2 -5", NUMBER(0));
    GIVES(call, "bitcount k -9223372036854775808 9223372036854775807 bit", NUMBER(26));
    GIVES(call, "bitcount k 0 1 bits", "-ERR syntax error\r\n");
    GIVES(call, "bitcount nokey x", NOT_INT);
    call_free(call);
}

Test(bitmap, zeros_without_end_lie_behind_a_string_whose_range_has_none) {
    struct call_env *call = call_new();
    GIVES(call, "bitpos k 0", NUMBER(0));
    GIVES(call, "bitpos k 1", NUMBER(-1));
    GIVES(call, "bitpos k 0 5 6", NUMBER(0));
    GIVES(call, "bitfield k set u16 0 65535", "*1\r\n:0\r\n");
    GIVES(call, "bitpos k 0", NUMBER(16));
    GIVES(call, "bitpos k 0 1", NUMBER(16));
    GIVES(call, "bitpos k 0 2", NUMBER(-1));
    GIVES(call, "bitpos k 0 0 -1", NUMBER(-1));
    GIVES(call, "bitpos k 1 9 11 bit", NUMBER(9));
    GIVES(call, "bitpos k 2", "-ERR The bit argument must be 1 or 0.\r\n");
    GIVES(call, "set e ''", OK);
    GIVES(call, "bitpos e 0", NUMBER(-1));
    call_free(call);
}

Test(bitmap, a_field_wraps_saturates_or_fails) {
    struct call_env *call = call_new();
    GIVES(call, "bitfield k set u8 0 -1", "*1\r\n:0\r\n");
    GIVES(call, "bitfield k get i8 0 get u8 #0", "*2\r\n:-1\r\n:255\r\n");
    GIVES(call, "bitfield k incrby u8 0 1", "*1\r\n:0\r\n");
    GIVES(call, "bitfield k overflow sat incrby i8 0 -200 incrby i8 0 500",
          "*2\r\n:-128\r\n:127\r\n");
    GIVES(call, "bitfield k overflow fail incrby i8 0 1 get i8 0", "*2\r\n$-1\r\n:127\r\n");
    GIVES(call, "bitfield k set i64 1 -9223372036854775808 overflow sat incrby i64 1 -1 get i64 1",
          "*3\r\n:-144115188075855872\r\n:-9223372036854775808\r\n:-9223372036854775808\r\n");
    GIVES(call, "bitfield k overflow wrap incrby i64 1 -1", "*1\r\n:9223372036854775807\r\n");
    GIVES(call, "bitfield k incrby u63 2 9223372036854775807", "*1\r\n:9223372036854775806\r\n");
    GIVES(
        call, "bitfield k get u64 0",
        "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
        "i64 is.\r\n");
    GIVES(call, "bitfield k overflow", "-ERR syntax error\r\n");
    GIVES(call, "bitfield k", "*0\r\n");
    call_free(call);
}

/* All are read before the first runs. */
Test(bitmap, one_bad_field_is_the_end_of_all) {
    struct call_env *call = call_new();
    GIVES(call, "bitfield k set u8 0 1 set u8 0", "-ERR syntax error\r\n");
    GIVES(call, "bitfield k set u8 0 1 set u8 0 x", NOT_INT);
    GIVES(call, "bitfield_ro k get u8 0 set u8 0 1",
          "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
    GIVES(call, "exists k", NUMBER(0));
    GIVES(call, "bitfield k overflow fail set u2 100 7", "*1\r\n$-1\r\n");
    GIVES(call, "strlen k", NUMBER(13));
    call_free(call);
}

Test(bitmap, a_result_may_be_one_of_its_inputs_short_or_long) {
    struct call_env *call = call_new();
    GIVES(call, "set a abc", OK);
    GIVES(call, "set b ab", OK);
    GIVES(call, "bitop xor a a b nokey", NUMBER(3));
    GIVES(call, "get a", "$3\r\n\0\0c\r\n");
    GIVES(call, "bitop not a a", NUMBER(3));
    GIVES(call, "bitop not a a", NUMBER(3));
    GIVES(call, "get a", "$3\r\n\0\0c\r\n");
    GIVES(call, "setbit l 99999 1", NUMBER(0));
    GIVES(call, "bitop or l a l a", NUMBER(12500));
    GIVES(call, "bitcount l", NUMBER(5));
    GIVES(call, "expire l 100", NUMBER(1));
    GIVES(call, "bitop and l l l", NUMBER(12500));
    GIVES(call, "bitcount l", NUMBER(5));
    GIVES(call, "ttl l", NUMBER(-1));
    GIVES(call, "bitop and l nokey", NUMBER(0));
    GIVES(call, "exists l", NUMBER(0));
    call_free(call);
}
