/* SPDX-License-Identifier: BSD-3-Clause */
/* visit: a worker has mail for one that sleeps, and does there what it asks, on the spot.
 *
 * To wake a thread costs ten times what a few ops cost: a message to the kernel, two switches of
 * threads, a core that has to come up, and the same again when the answer goes home. So who finds
 * its receiver asleep takes its place for a moment (shard/mailbox.h): it handles that mail as the
 * sleeper would, with the sleeper's shard, counters and boxes, and publishes what the sleeper
 * answers. What of that is for itself it works off in between, which may give the sleeper more to
 * do; then it leaves. It wakes the sleeper after all when more is left to do than fits in a visit,
 * or something that only the sleeper's own thread can do, as to send what its clients are owed.
 *
 * Thread: the visitor's, which is the only one that touches the host meanwhile: the host's own is
 * in the kernel, in the wait of rt_turn, and waits on until the visitor has left.
 */
#ifndef SHOAL_SERVER_WORKER_VISIT_H
#define SHOAL_SERVER_WORKER_VISIT_H

struct worker;

/* The host has been claimed (post_next_visit); it is left, asleep or woken. */
void visit(struct worker *visitor, struct worker *host);

#endif
