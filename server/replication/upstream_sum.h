/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream_sum: the checksum of the file of a full sync, reckoned as it comes: whether it is whole
 * is known before anything goes for it.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_REPLICATION_UPSTREAM_SUM_H
#define SHOAL_SERVER_REPLICATION_UPSTREAM_SUM_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UPSTREAM_SUM_BYTES 8

struct upstream_sum {
    uint64_t sum; /* of all but the last, which may be what the file says of itself */
    char last[UPSTREAM_SUM_BYTES];
    size_t last_bytes;
};

void upstream_sum_begin(struct upstream_sum *sum);
void upstream_sum_add(struct upstream_sum *sum, struct bytes bytes);
/* It is what the file says, or it says nothing. */
bool upstream_sum_is_good(const struct upstream_sum *sum);

#endif
