/* SPDX-License-Identifier: BSD-3-Clause */
/* errands: what the cluster wants of this node's data, done by worker 0 one after the other: to be
 * a replica of somebody or nobody's, to hold all writes still, to be without the keys of slots that
 * are another's.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_CLUSTER_ERRANDS_H
#define SHOAL_SERVER_CLUSTER_ERRANDS_H

#include "shard/mailbox.h"

struct errands;
struct worker;

struct errands *errands_new(void);
void errands_free(struct errands *errands); /* NULL is fine */
/* MESSAGE_CLUSTER_ERRAND. */
void errand_arrived(struct worker *worker, struct message *message);
/* In each turn: goes on with the oldest, and tells the cluster's thread where this node's stream
 * stands (shared.h). */
void errands_turn(struct worker *home);

#endif
