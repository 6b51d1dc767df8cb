/* SPDX-License-Identifier: BSD-3-Clause */
/* HyperLogLogs: whatever bytes they are, nothing is read or written past them; what makes sense
 * still does after it was changed, and says the same sparse and dense.
 *
 * The first byte says how many elements are added, two bytes each; the second how long a sparse one
 * may be, in units of 16; the rest is the value.
 */
#include "base/check.h"
#include "shard/ds/hll.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Its registers; false: it makes no sense, and then it has no count either. */
static bool registers_of(struct bytes bytes, struct hll_registers *ret) {
    uint64_t count;
    *ret = (struct hll_registers){{0}};
    bool sound = hll_merge(ret, bytes);
    check(hll_count(bytes, &count) == sound);
    check(!sound || hll_registers_count(ret) == count);
    return sound;
}

static void walk_runs(struct bytes bytes) {
    struct hll_run run;
    size_t runs = 0;
    for (size_t at = HLL_HEADER_BYTES; hll_next_run(bytes, &at, &run);) {
        check(run.length >= 1 && at <= bytes.len && ++runs <= bytes.len);
    }
}

/* Adds to it, and to one that is dense from the beginning. */
static void add_all(struct hll *hll, struct hll *dense, const uint8_t *elements, size_t count,
                    size_t sparse_max) {
    bool sound = hll_to_dense(dense);
    for (size_t i = 0; i < count; i++) {
        struct bytes element = bytes_make((const char *)elements + 2 * i, 2);
        enum hll_change change = hll_add(hll, element, sparse_max);
        check(hll->length <= HLL_BYTES_MAX && hll_kind(hll_bytes(hll)) != HLL_NONE);
        check(!sound || change == hll_add(dense, element, sparse_max));
    }
    struct hll_registers a, b;
    check(registers_of(hll_bytes(hll), &a) == sound || !sound);
    check(!sound || (registers_of(hll_bytes(dense), &b) && memcmp(&a, &b, sizeof a) == 0));
}

/* All its registers raised in one go are those of the dense one. */
static void raise_all(const struct hll_registers *registers, size_t sparse_max) {
    static const struct hll_registers none;
    struct hll hll;
    struct hll_registers back;
    hll_make(&hll);
    enum hll_change change = hll_raise(&hll, registers, sparse_max);
    check(change == (memcmp(registers, &none, sizeof none) == 0 ? HLL_SAME : HLL_CHANGED));
    check(registers_of(hll_bytes(&hll), &back) && memcmp(&back, registers, sizeof back) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size < 2 + 2 * (size_t)data[0]) {
        return 0;
    }
    size_t count = data[0], sparse_max = (size_t)data[1] * 16;
    const uint8_t *elements = data + 2;
    struct bytes bytes = bytes_make((const char *)elements + 2 * count, size - 2 - 2 * count);
    if (hll_kind(bytes) == HLL_NONE) {
        return 0;
    }
    struct hll_registers registers;
    uint64_t cached;
    hll_cached(bytes, &cached);
    walk_runs(bytes);
    if (registers_of(bytes, &registers)) {
        raise_all(&registers, sparse_max);
    }
    struct hll hll, dense;
    if (hll_load(&hll, bytes) && hll_load(&dense, bytes)) {
        add_all(&hll, &dense, elements, count, sparse_max);
    }
    return 0;
}
