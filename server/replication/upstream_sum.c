/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream_sum: see the header.
 */
#include "server/replication/upstream_sum.h"

#include "base/crc64.h"

#include <string.h>

void upstream_sum_begin(struct upstream_sum *sum) {
    *sum = (struct upstream_sum){0};
}

void upstream_sum_add(struct upstream_sum *sum, struct bytes bytes) {
    size_t all = sum->last_bytes + bytes.len;
    size_t out = all > UPSTREAM_SUM_BYTES ? all - UPSTREAM_SUM_BYTES : 0;
    size_t old = out < sum->last_bytes ? out : sum->last_bytes;
    size_t new = out - old;
    sum->sum = crc64(sum->sum, bytes_make(sum->last, old));
    sum->sum = crc64(sum->sum, bytes_make(bytes.ptr, new));
    sum->last_bytes -= old;
    memmove(sum->last, sum->last + old, sum->last_bytes);
    memcpy(sum->last + sum->last_bytes, bytes.ptr + new, bytes.len - new);
    sum->last_bytes += bytes.len - new;
}

bool upstream_sum_is_good(const struct upstream_sum *sum) {
    uint64_t says = 0;
    for (size_t i = sum->last_bytes; i > 0; i--) {
        says = says << 8 | (unsigned char)sum->last[i - 1];
    }
    return sum->last_bytes == UPSTREAM_SUM_BYTES && (says == 0 || says == sum->sum);
}
