/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/call.h"

/* ---- Deadlines ---- */

Test(generic, times_left_are_rounded_to_the_nearest_second) {
    struct call_env *call = call_new();
    GIVES(call, "set k v px 1500", OK);
    GIVES(call, "ttl k", NUMBER(2));
    call->now_ms++;
    GIVES(call, "ttl k", NUMBER(1));
    GIVES(call, "pttl k", NUMBER(1499));
    call->now_ms += 1498;
    GIVES(call, "ttl k", NUMBER(0));
    GIVES(call, "pttl k", NUMBER(1));
    call->now_ms++;
    GIVES(call, "pttl k", NUMBER(0));
    call->now_ms++;
    GIVES(call, "ttl k", NUMBER(-2));
    GIVES(call, "pexpiretime k", NUMBER(-2));
    call_free(call);
}

Test(generic, conditions_of_expire_compare_with_the_present_deadline) {
    struct call_env *call = call_new();
    GIVES(call, "set k v", OK);
    GIVES(call, "expire k 100 xx", NUMBER(0));
    GIVES(call, "expire k 100 gt", NUMBER(0));
    GIVES(call, "expire k 100 nx", NUMBER(1));
    GIVES(call, "expire k 200 nx", NUMBER(0));
    GIVES(call, "expire k 100 gt", NUMBER(0));
    GIVES(call, "expire k 101 gt xx", NUMBER(1));
    GIVES(call, "expire k 101 lt", NUMBER(0));
    GIVES(call, "pexpire k 100999 lt", NUMBER(1));
    GIVES(call, "pttl k", NUMBER(100999));
    GIVES(call, "persist k", NUMBER(1));
    GIVES(call, "expire k 300 lt", NUMBER(1));
    call_free(call);
}

Test(generic, expire_refuses_what_overflows_and_takes_the_distant_past) {
    struct call_env *call = call_new();
    GIVES(call, "set k v", OK);
    GIVES(call, "pexpire k 9223370336854775807", NUMBER(1));
    GIVES(call, "pexpiretime k", NUMBER(9223372036854775807));
    GIVES(call, "pexpire k 9223370336854775808", EXPIRE_TIME("pexpire"));
    GIVES(call, "expire nokey 9223372036854775807", EXPIRE_TIME("expire"));
    GIVES(call, "expire k -9223372036854775808", EXPIRE_TIME("expire"));
    GIVES(call, "expireat k 9223372036854776", EXPIRE_TIME("expireat"));
    GIVES(call, "pexpireat k -9223372036854775808", NUMBER(1));
    GIVES(call, "exists k", NUMBER(0));
    call_free(call);
}

Test(generic, a_deadline_of_now_deletes) {
    struct call_env *call = call_new();
    GIVES(call, "set k v", OK);
    GIVES(call, "expire k 0 gt", NUMBER(0));
    GIVES(call, "expire k 0", NUMBER(1));
    GIVES(call, "exists k", NUMBER(0));
    call_free(call);
}

/* ---- Names ---- */

Test(generic, rename_takes_the_deadline_along) {
    struct call_env *call = call_new();
    GIVES(call, "rename a a", "-ERR no such key\r\n");
    GIVES(call, "set a 1 px 500", OK);
    GIVES(call, "set b 2 px 900", OK);
    GIVES(call, "renamenx a b", NUMBER(0));
    GIVES(call, "rename a a", OK);
    GIVES(call, "rename a b", OK);
    GIVES(call, "get b", "$1\r\n1\r\n");
    GIVES(call, "pttl b", NUMBER(500));
    GIVES(call, "exists a", NUMBER(0));
    GIVES(call, "renamenx b a", NUMBER(1));
    GIVES(call, "pttl a", NUMBER(500));
    call_free(call);
}

Test(generic, a_large_value_moves_as_it_is) {
    struct call_env *call = call_new();
    GIVES(call, "setrange a 99999 x", NUMBER(100000));
    GIVES(call, "pexpire a 500", NUMBER(1));
    GIVES(call, "setrange b 99999 y", NUMBER(100000));
    uint64_t changes = keyspace_stats(call->worker.shard.keyspace)->changes;
    GIVES(call, "rename a b", OK);
    cr_assert_eq(keyspace_stats(call->worker.shard.keyspace)->changes, changes + 1);
    GIVES(call, "getrange b 99998 -1", "$2\r\n\0x\r\n");
    GIVES(call, "object encoding b", "$3\r\nraw\r\n");
    GIVES(call, "pttl b", NUMBER(500));
    GIVES(call, "move b 3", NUMBER(1));
    GIVES(call, "exists a b", NUMBER(0));
    cr_assert_eq(keyspace_count(call->worker.shard.keyspace, 0), 0);
    cr_assert_eq(keyspace_count(call->worker.shard.keyspace, 3), 1);
    call_free(call);
}

Test(generic, copies_are_independent) {
    struct call_env *call = call_new();
    GIVES(call, "copy a b", NUMBER(0));
    GIVES(call, "set a one px 500", OK);
    GIVES(call, "copy a b", NUMBER(1));
    GIVES(call, "append b two", NUMBER(6));
    GIVES(call, "get a", "$3\r\none\r\n");
    GIVES(call, "pttl b", NUMBER(500));
    GIVES(call, "copy a b", NUMBER(0));
    GIVES(call, "copy a b replace", NUMBER(1));
    GIVES(call, "get b", "$3\r\none\r\n");
    GIVES(call, "copy a a", "-ERR source and destination objects are the same\r\n");
    GIVES(call, "copy a a db 1", NUMBER(1));
    GIVES(call, "copy a b db 16", "-ERR DB index is out of range\r\n");
    GIVES(call, "move a 1", NUMBER(0));
    GIVES(call, "move b 1", NUMBER(1));
    GIVES(call, "exists b", NUMBER(0));
    call_free(call);
}

Test(generic, a_key_named_twice_counts_twice_unless_it_is_gone) {
    struct call_env *call = call_new();
    GIVES(call, "mset a 1 b 2", OK);
    GIVES(call, "exists a a nokey b", NUMBER(3));
    GIVES(call, "touch a a", NUMBER(2));
    GIVES(call, "del a a", NUMBER(1));
    GIVES(call, "unlink b b", NUMBER(1));
    call_free(call);
}

/* ---- OBJECT ---- */

Test(generic, object_tells_idle_time_or_frequency_as_the_policy_says) {
    struct call_env *call = call_new();
    GIVES(call, "set k v", OK);
    call->now_ms += 30000;
    GIVES(call, "object idletime k", NUMBER(30));
    GIVES(call, "ttl k", NUMBER(-1));
    GIVES(call, "object idletime k", NUMBER(30));
    GIVES(call, "touch k", NUMBER(1));
    GIVES(call, "object idletime k", NUMBER(0));
    GIVES(call, "object refcount k", NUMBER(1));
    GIVES(call, "object freq nokey", NIL);
    struct text text = call_run(call, "object freq k");
    cr_assert(strstr(text.ptr, "-ERR An LFU maxmemory policy is not selected") == text.ptr);
    text_fini(&text);
    call->config->maxmemory_policy = CONFIG_EVICT_ALLKEYS_LFU;
    text = call_run(call, "object idletime k");
    cr_assert(strstr(text.ptr, "-ERR An LFU maxmemory policy is selected") == text.ptr);
    text_fini(&text);
    call_free(call);
}
