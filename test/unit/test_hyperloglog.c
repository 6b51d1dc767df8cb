/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/call.h"

#define NO_HLL  "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n"
#define CORRUPT "-INVALIDOBJ Corrupted HLL object detected\r\n"

Test(hyperloglog, elements_are_counted_once) {
    struct call_env *call = call_new();
    GIVES(call, "pfadd k", NUMBER(1));
    GIVES(call, "pfadd k", NUMBER(0));
    GIVES(call, "pfcount k", NUMBER(0));
    GIVES(call, "pfadd k a b c a", NUMBER(1));
    GIVES(call, "pfadd k c b a", NUMBER(0));
    GIVES(call, "pfcount k", NUMBER(3));
    GIVES(call, "pfcount k", NUMBER(3));
    GIVES(call, "pfadd l c d", NUMBER(1));
    GIVES(call, "pfcount k l nokey", NUMBER(4));
    GIVES(call, "pfmerge m k l", OK);
    GIVES(call, "pfcount m", NUMBER(4));
    GIVES(call, "pfmerge m", OK);
    GIVES(call, "pfcount nokey", NUMBER(0));
    GIVES(call, "pfselftest", OK);
    call_free(call);
}

Test(hyperloglog, what_is_none_is_refused) {
    struct call_env *call = call_new();
    GIVES(call, "set n 12", OK);
    GIVES(call, "set s HYLL", OK);
    GIVES(call, "pfadd n a", NO_HLL);
    GIVES(call, "pfadd s a", NO_HLL);
    GIVES(call, "pfcount s", NO_HLL);
    GIVES(call, "pfcount k n", NO_HLL);
    GIVES(call, "pfmerge k s", NO_HLL);
    GIVES(call, "pfdebug encoding s", NO_HLL);
    GIVES(call, "exists k", NUMBER(0));
    call_free(call);
}

Test(hyperloglog, what_makes_no_sense_is_refused) {
    struct call_env *call = call_new();
    GIVES(call, "pfadd k a", NUMBER(1));
    GIVES(call, "setrange k 16 @", NUMBER(21)); /* another length of the first run */
    GIVES(call, "pfcount k", CORRUPT);
    GIVES(call, "pfcount k nokey", CORRUPT);
    GIVES(call, "pfmerge m k", CORRUPT);
    GIVES(call, "pfdebug todense k", CORRUPT);
    GIVES(call, "exists m", NUMBER(0));
    call_free(call);
}

Test(hyperloglog, a_sparse_one_becomes_dense_at_the_size_that_is_set) {
    struct call_env *call = call_new();
    call->config->hll_sparse_max_bytes = 30;
    GIVES(call, "pfadd k a b c", NUMBER(1));
    GIVES(call, "pfdebug encoding k", "+sparse\r\n");
    GIVES(call, "pfadd k d e", NUMBER(1));
    GIVES(call, "pfdebug encoding k", "+dense\r\n");
    GIVES(call, "strlen k", NUMBER(12304));
    GIVES(call, "pfcount k", NUMBER(5));
    GIVES(call, "pfadd l f", NUMBER(1));
    GIVES(call, "pfmerge l k", OK);
    GIVES(call, "pfdebug encoding l", "+dense\r\n");
    GIVES(call, "pfcount l", NUMBER(6));
    call_free(call);
}

Test(hyperloglog, the_deadline_stays) {
    struct call_env *call = call_new();
    GIVES(call, "pfadd k a", NUMBER(1));
    GIVES(call, "expire k 100", NUMBER(1));
    GIVES(call, "pfadd k b", NUMBER(1));
    GIVES(call, "pfcount k", NUMBER(2));
    GIVES(call, "pfmerge k", OK);
    GIVES(call, "ttl k", NUMBER(100));
    call_free(call);
}
