/* SPDX-License-Identifier: BSD-3-Clause */
/* background: what a worker sees to in each turn without being asked: keys that have died, growth,
 * memory, and who waits for keys.
 *
 * A visit (visit.h) does the same after the mail it brings. So what turns see to belongs here, if
 * calls can be its cause: a host that sleeps on has no turn for it.
 *
 * Thread: the worker's own, or its visitor's (visit.h).
 */
#ifndef SHOAL_SERVER_WORKER_BACKGROUND_H
#define SHOAL_SERVER_WORKER_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

/* One slice. Returns when the next is wanted, wall ms. */
int64_t background_work(struct worker *worker);
/* Whether something is left that the worker's next turn does, without waiting. */
bool background_is_left(const struct worker *worker);

#endif
