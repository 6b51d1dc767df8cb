/* SPDX-License-Identifier: BSD-3-Clause */
/* background: what a shard does without being asked: keys that have died, growth, memory.
 *
 * Thread: the worker's own, or its visitor's (visit.h).
 */
#ifndef SHOAL_SERVER_WORKER_BACKGROUND_H
#define SHOAL_SERVER_WORKER_BACKGROUND_H

#include <stdint.h>

struct worker;

/* One slice. Returns when the next is wanted, wall ms. */
int64_t background_work(struct worker *worker);

#endif
