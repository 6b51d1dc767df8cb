/* SPDX-License-Identifier: BSD-3-Clause */
/* shared_fate: what a cluster must not count on when several of its nodes are one start's
 * (cluster-node-per-shard): those end together.
 *
 * Pure. Thread: any.
 */
#ifndef SHOAL_SERVER_CLUSTER_SHARED_FATE_H
#define SHOAL_SERVER_CLUSTER_SHARED_FATE_H

#include "cluster/brain/map.h"

enum shared_fate {
    FATE_REPLICA = 1, /* this node and the primary that it follows */
    FATE_VOTES = 2,   /* half of the primaries that vote, or more, of two at least */
};

/* enum shared_fate, of node `index` of `count` that were started together. They are known by their
 * address: the same host, and ports that are counted up. */
unsigned shared_fate(const struct map *map, unsigned index, unsigned count);

#endif
