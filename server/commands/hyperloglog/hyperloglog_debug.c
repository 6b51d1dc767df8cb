/* SPDX-License-Identifier: BSD-3-Clause */
/* hyperloglog_debug: PFDEBUG, which shows what one is made of, and PFSELFTEST. */
#include "base/random.h"
#include "base/text.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/hyperloglog/hyperloglog.h"
#include "shard/ds/hll.h"

#include <math.h>
#include <stdlib.h>

/* ---- PFDEBUG ---- */

/* The key's value becomes dense. False: it makes no sense, and the error is written. */
static bool make_dense(const struct exec *x, struct entry *entry, struct bytes bytes) {
    struct hll hll;
    if (!hll_load(&hll, bytes) || !hll_to_dense(&hll)) {
        reply_error(x->reply, ERR_HLL_CORRUPT);
        return false;
    }
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    memcpy(string_edit(&change, hll.length, false), hll.bytes, hll.length);
    change_close(&change, EVENT_PFCOUNT);
    return true;
}

static void debug_getreg(const struct exec *x, struct entry *entry, struct bytes bytes) {
    struct hll_registers registers = {{0}};
    if (hll_kind(bytes) == HLL_SPARSE && !make_dense(x, entry, bytes)) {
        return;
    }
    entry = keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, LOOKUP_WRITE | LOOKUP_NOTOUCH);
    check(hll_merge(&registers, string_bytes(entry, NULL)));
    reply_array(x->reply, HLL_REGISTERS);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        reply_int(x->reply, registers.value[i]);
    }
}

/* Z and z are zeros in two bytes and in one, v a value and how often. */
static void debug_decode(const struct exec *x, struct bytes bytes) {
    if (hll_kind(bytes) != HLL_SPARSE) {
        reply_error(x->reply, "ERR HLL encoding is not sparse");
        return;
    }
    struct text text;
    text_init(&text);
    struct hll_run run;
    for (size_t at = HLL_HEADER_BYTES; hll_next_run(bytes, &at, &run);) {
        text_append_text(&text, text.len > 0 ? " " : "");
        if (run.value > 0) {
            text_appendf(&text, "v:%u,%u", run.value, run.length);
        } else {
            text_appendf(&text, "%c:%u", run.is_long ? 'Z' : 'z', run.length);
        }
    }
    reply_bulk(x->reply, text_bytes(&text));
    text_fini(&text);
}

static void debug_simd(const struct exec *x) {
    bool on = bytes_is(x->argv[2], "on");
    if (on || bytes_is(x->argv[2], "off")) {
        reply_status(x->reply, on ? "enabled" : "disabled");
    } else {
        reply_error(x->reply, "ERR Argument must be ON or OFF");
    }
}

void command_pfdebug(struct exec *x) {
    struct bytes what = x->argv[1];
    if (bytes_is(what, "simd")) {
        debug_simd(x);
        return;
    }
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, &x->key, x->now_ms, exec_lookup_flags(x, LOOKUP_READ));
    if (entry == NULL) {
        reply_error(x->reply, "ERR The specified key does not exist");
        return;
    }
    struct value value = entry_value_of(entry);
    struct bytes bytes;
    if (!hyperloglog_read(x, &value, &bytes)) {
        return;
    }
    entry = hyperloglog_make_raw(x, &x->key, entry);
    bytes = string_bytes(entry, NULL);
    if (bytes_is(what, "getreg")) {
        debug_getreg(x, entry, bytes);
    } else if (bytes_is(what, "decode")) {
        debug_decode(x, bytes);
    } else if (bytes_is(what, "encoding")) {
        reply_status(x->reply, hll_kind(bytes) == HLL_DENSE ? "dense" : "sparse");
    } else if (bytes_is(what, "todense")) {
        bool is_sparse = hll_kind(bytes) == HLL_SPARSE;
        if (!is_sparse || make_dense(x, entry, bytes)) {
            reply_int(x->reply, is_sparse);
        }
    } else {
        reply_errorf(x->reply, "ERR Unknown PFDEBUG subcommand '%.*s'", bytes_precision(what),
                     what.ptr);
    }
}

/* ---- PFSELFTEST ---- */

#define TEST_ROUNDS     50
#define TEST_ELEMENTS   100000
#define TEST_SPARSE_MAX 3000

/* Registers are read as they were written. */
static bool test_registers(struct rng *rng, struct hll *hll) {
    for (unsigned round = 0; round < TEST_ROUNDS; round++) {
        struct hll_registers written, read = {{0}};
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            written.value[i] = (unsigned char)rng_below(rng, 64);
        }
        hll_put_registers((char *)hll->bytes, &written);
        if (!hll_merge(&read, hll_bytes(hll)) || memcmp(&written, &read, sizeof read) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_near(const struct hll *hll, uint64_t added) {
    uint64_t count;
    double most = ceil(6 * 1.04 / sqrt(HLL_REGISTERS) * (double)added);
    return hll_count(hll_bytes(hll), &count) && fabs((double)count - (double)added) <= most;
}

/* A sparse one and a dense one count alike, and nearly right. */
static bool test_counts(struct rng *rng, struct hll *sparse, struct hll *dense) {
    uint64_t next = 1;
    for (uint64_t added = 1; added <= TEST_ELEMENTS; added++) {
        uint64_t element = rng_next(rng);
        struct bytes bytes = bytes_make((const char *)&element, sizeof element);
        enum hll_change change = hll_add(sparse, bytes, TEST_SPARSE_MAX);
        if (change != hll_add(dense, bytes, TEST_SPARSE_MAX)) {
            return false;
        }
        if (added == next) {
            uint64_t a = 0, b = 1;
            next = next * 3 / 2 + 1;
            if (!hll_count(hll_bytes(sparse), &a) || !hll_count(hll_bytes(dense), &b) || a != b ||
                !is_near(dense, added)) {
                return false;
            }
        }
    }
    return true;
}

void command_pfselftest(struct exec *x) {
    struct hll sparse, dense;
    struct rng rng;
    rng_seed(&rng, 1);
    hll_make(&sparse);
    hll_make(&dense);
    if (!hll_to_dense(&dense) || !test_registers(&rng, &dense)) {
        reply_error(x->reply, "ERR TESTFAILED registers are not read as they were written");
        return;
    }
    hll_put_registers((char *)dense.bytes, &(struct hll_registers){{0}});
    if (!test_counts(&rng, &sparse, &dense)) {
        reply_error(x->reply, "ERR TESTFAILED elements are not counted right");
        return;
    }
    reply_ok(x->reply);
}
