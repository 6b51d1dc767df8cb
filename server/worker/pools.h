/* SPDX-License-Identifier: BSD-3-Clause */
/* pools: all that a worker keeps for use again: transactions, batches, queues, chunks for replies.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_POOLS_H
#define SHOAL_SERVER_WORKER_POOLS_H

#include <stdbool.h>
#include <stddef.h>

struct worker;

/* Frees what nobody has needed since the last call, or all. */
void worker_trim_pools(struct worker *worker, bool all);
size_t worker_pools_memory(const struct worker *worker);

#endif
