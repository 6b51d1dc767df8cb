/* SPDX-License-Identifier: BSD-3-Clause */
/* node_group: cluster-node-per-shard: several nodes of a cluster that one start makes and ends.
 *
 * Each node is a process of its own with one shard, because a node has everything that a process
 * has: an id, ports, a log, a stream of replication, a budget of memory. So nothing is shared, no
 * key is another thread's, and a node that crashes leaves the others alone. Their parent holds no
 * data: it starts them, passes signals on, and starts again who was killed.
 *
 * Thread: main, before there are others.
 */
#ifndef SHOAL_SERVER_NODE_GROUP_H
#define SHOAL_SERVER_NODE_GROUP_H

#include "server/config/config.h"

/* A process may be made to be a node by `config`, which becomes the node's: -1, and the caller
 * serves. In the parent: when all have ended, the exit code. */
int node_group_run(struct config *config, enum config_supervised supervised);
/* Said by a node that serves. */
void node_group_ready(void);

#endif
