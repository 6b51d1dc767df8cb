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

/* Which node this process is. */
struct node_place {
    unsigned index, count;
    bool again; /* in place of one that has ended: the configuration is as old as the parent */
};

/* -1 in a process that is to be a node, *ret_place. In the parent: when all have ended, the exit
 * code. */
int node_group_run(struct config *config, enum config_supervised supervised,
                   struct node_place *ret_place);
/* Said by a node: that it serves; that it was told to end and does not. */
void node_group_ready(void);
void node_group_stays(void);

#endif
