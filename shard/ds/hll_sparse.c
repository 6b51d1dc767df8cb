/* SPDX-License-Identifier: BSD-3-Clause */
/* hll_sparse: registers as runs of equal ones.
 *
 *     00nnnnnn            n + 1 registers are 0: 1 to 64
 *     01nnnnnn nnnnnnnn   n + 1 registers are 0: 1 to 16384, the high bits first
 *     1vvvvvnn            n + 1 registers are v + 1: 1 to 4 of 1 to 32
 *
 * There are many ways to write down the same registers. So that others find, byte for byte, what
 * they would have made themselves, runs are divided and put together in one way: what is raised is
 * cut out of its run, and then equal neighbours are joined from the run before on, five runs or
 * joints far.
 *
 * 1. Runs cover all registers, and no more. Whoever reads the last of them knows whether that is
 * so.
 * 2. What is written is never longer than before by more than three bytes: one long run of zeros
 *    becomes two and a value.
 */
#include "shard/ds/hll_private.h"

#include "base/check.h"

#define ZEROS_MAX      64
#define VALUE_MAX      32
#define VALUE_RUN_MAX  4
#define JOIN_STEPS     5
#define SPLIT_RUNS_MAX 3

/* ---- Runs ---- */

static bool run_at(const unsigned char *bytes, size_t length, size_t at, struct hll_run *ret) {
    if (at >= length) {
        return false;
    }
    unsigned byte = bytes[at];
    *ret = (struct hll_run){.length = (byte & 63) + 1};
    if (byte & 0x80) {
        ret->value = (byte >> 2 & 31) + 1;
        ret->length = (byte & 3) + 1;
    } else if (byte & 0x40) {
        if (at + 1 >= length) {
            return false;
        }
        ret->is_long = true;
        ret->length = ((byte & 63) << 8 | bytes[at + 1]) + 1;
    }
    return true;
}

static size_t run_bytes(const struct hll_run *run) {
    return run->is_long ? 2 : 1;
}

/* Writes a run of the shortest form; returns its bytes. */
static size_t run_put(unsigned char *to, unsigned value, unsigned length) {
    if (value > 0) {
        check_slow(value <= VALUE_MAX && length <= VALUE_RUN_MAX);
        to[0] = (unsigned char)(0x80 | (value - 1) << 2 | (length - 1));
        return 1;
    }
    if (length <= ZEROS_MAX) {
        to[0] = (unsigned char)(length - 1);
        return 1;
    }
    to[0] = (unsigned char)(0x40 | (length - 1) >> 8);
    to[1] = (unsigned char)(length - 1);
    return 2;
}

bool hll_next_run(struct bytes bytes, size_t *at, struct hll_run *ret) {
    if (!run_at((const unsigned char *)bytes.ptr, bytes.len, *at, ret)) {
        return false;
    }
    *at += run_bytes(ret);
    return true;
}

/* ---- Reading all ---- */

/* The next run of those that cover all registers, `covered` of which are behind us. */
static bool next_within(struct bytes bytes, size_t *at, uint32_t *covered, struct hll_run *run) {
    if (!hll_next_run(bytes, at, run) || *covered + run->length > HLL_REGISTERS) {
        return false;
    }
    *covered += run->length;
    return true;
}

bool hll_sparse_histogram(struct bytes bytes, struct hll_histogram *histogram) {
    uint32_t covered = 0;
    struct hll_run run;
    for (size_t at = HLL_HEADER_BYTES; at < bytes.len;) {
        if (!next_within(bytes, &at, &covered, &run)) {
            return false;
        }
        histogram->of[run.value] += run.length;
    }
    return covered == HLL_REGISTERS;
}

bool hll_sparse_merge(unsigned char *registers, struct bytes bytes) {
    uint32_t covered = 0;
    struct hll_run run;
    for (size_t at = HLL_HEADER_BYTES; at < bytes.len;) {
        uint32_t i = covered;
        if (!next_within(bytes, &at, &covered, &run)) {
            return false;
        }
        for (; run.value > 0 && i < covered; i++) {
            registers[i] = registers[i] < run.value ? (unsigned char)run.value : registers[i];
        }
    }
    return covered == HLL_REGISTERS;
}

/* ---- Raising one ---- */

/* The run that has a register, and the one before it. */
struct found {
    struct hll_run run;
    size_t at;
    uint32_t first;
    size_t before; /* where the run before begins; `at` if this is the first */
};

/* Skips runs before that of a register, in steps of up to eight: as far as the first long one of
 * them. Returns where the last step but one began: whoever goes on from there run by run meets at
 * least two before the one that he looks for, or starts where this did. */
static struct hll_place skip_runs(const struct hll *hll, uint32_t index, struct hll_place here) {
    const uint64_t ones = UINT64_C(0x0101010101010101), pairs = UINT64_C(0x00FF00FF00FF00FF);
    struct hll_place before = here, twice_before = here;
    while (here.at + 9 <= hll->length) {
        uint64_t word = hll_load_word(hll->bytes + here.at);
        uint64_t values = word >> 7 & ones, longs = word >> 6 & ~values & ones;
        uint64_t lengths = word & ((ones * 63) ^ (values * 60));
        unsigned n = 8, bytes = 8;
        uint32_t sum = 8;
        if (longs != 0) {
            n = (unsigned)__builtin_ctzll(longs) / 8;
            bytes = n + 2;
            lengths &= (UINT64_C(1) << 8 * n) - 1;
            sum = n + ((word >> 8 * n & 63) << 8 | hll->bytes[here.at + n + 1]) + 1;
        }
        lengths = (lengths & pairs) + (lengths >> 8 & pairs);
        sum += (uint32_t)(lengths * UINT64_C(0x0001000100010001) >> 48);
        if (here.first + sum > index) {
            break;
        }
        twice_before = before;
        before = here;
        here.at += bytes;
        here.first += sum;
    }
    return twice_before;
}

/* Looks from a place on, and moves that to the last but one before what was found: what is joined
 * begins one before. */
static bool find_run(const struct hll *hll, uint32_t index, struct hll_place *place,
                     struct found *found) {
    struct hll_place here = {place->at > 0 ? place->at : HLL_HEADER_BYTES, place->first};
    here = skip_runs(hll, index, here);
    struct hll_place before = here;
    for (;;) {
        if (!run_at(hll->bytes, hll->length, here.at, &found->run)) {
            return false;
        }
        if (index < here.first + found->run.length) {
            break;
        }
        *place = before;
        before = here;
        here.at += run_bytes(&found->run);
        here.first += found->run.length;
    }
    found->at = here.at;
    found->first = here.first;
    found->before = before.at;
    return true;
}

/* Cuts a register out of its run: up to three runs instead of it. Returns their bytes. */
static size_t split(const struct found *found, uint32_t index, unsigned value, unsigned char *to) {
    uint32_t left = index - found->first, right = found->run.length - left - 1;
    size_t n = left > 0 ? run_put(to, found->run.value, left) : 0;
    n += run_put(to + n, value, 1);
    return n + (right > 0 ? run_put(to + n, found->run.value, right) : 0);
}

/* Joins equal values that lie side by side. */
static void join(struct hll *hll, size_t at) {
    for (unsigned step = 0; step < JOIN_STEPS; step++) {
        struct hll_run a, b;
        if (!run_at(hll->bytes, hll->length, at, &a)) {
            break;
        }
        size_t next = at + run_bytes(&a);
        bool joins = a.value > 0 && run_at(hll->bytes, hll->length, next, &b) &&
                     a.value == b.value && a.length + b.length <= VALUE_RUN_MAX;
        if (!joins) {
            at = next;
            continue;
        }
        run_put(hll->bytes + next, a.value, a.length + b.length);
        memmove(hll->bytes + at, hll->bytes + next, hll->length - next);
        hll->length--;
    }
}

static enum hll_change become_dense(struct hll *hll, uint32_t index, unsigned value) {
    if (!hll_to_dense(hll)) {
        return HLL_CORRUPT;
    }
    hll_packed_put(hll->bytes + HLL_HEADER_BYTES, index, value);
    return HLL_CHANGED;
}

enum hll_change hll_sparse_raise(struct hll *hll, uint32_t index, unsigned value, size_t sparse_max,
                                 struct hll_place *place) {
    if (value > VALUE_MAX) {
        return become_dense(hll, index, value);
    }
    struct found found;
    if (!find_run(hll, index, place, &found)) {
        return HLL_CORRUPT;
    }
    if (found.run.value >= value) {
        return HLL_SAME;
    }
    unsigned char runs[2 * SPLIT_RUNS_MAX];
    size_t bytes = split(&found, index, value, runs), old_bytes = run_bytes(&found.run);
    if (bytes > old_bytes) {
        if (hll->length + bytes - old_bytes > sparse_max) {
            return become_dense(hll, index, value);
        }
        if (hll->length + bytes - old_bytes > HLL_BYTES_MAX) {
            return HLL_CORRUPT;
        }
    }
    memmove(hll->bytes + found.at + bytes, hll->bytes + found.at + old_bytes,
            hll->length - found.at - old_bytes);
    memcpy(hll->bytes + found.at, runs, bytes);
    hll->length += bytes - old_bytes;
    join(hll, found.before);
    return HLL_CHANGED;
}
