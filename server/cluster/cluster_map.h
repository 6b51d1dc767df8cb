/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster_map: the map of the cluster as the workers of a node have it: each serves by its own
 * until the next one comes by mail.
 *
 * Crosses threads: one thread publishes (the cluster's), each worker reads the one that it was
 * handed last, at any time of its turn, and keeps no reference to it beyond the turn. What a worker
 * has read for the last time travels home with the message that brought the next one, so the
 * counting is the publisher's alone.
 */
#ifndef SHOAL_SERVER_CLUSTER_CLUSTER_MAP_H
#define SHOAL_SERVER_CLUSTER_CLUSTER_MAP_H

#include "cluster/brain/map.h"

struct message;
struct node;
struct worker;

struct cluster_map {
    const struct map *map;
    /* Slots whose keys are served whatever the command is and whoever asks: bit n % 8 of byte
     * n / 8. About the others cluster_route says more (route.h). */
    uint8_t serves[MAP_SLOTS / 8];
    unsigned readers; /* the publisher's */
};

static inline bool cluster_map_serves(const struct cluster_map *map, uint16_t slot) {
    return map->serves[slot / 8] >> slot % 8 & 1;
}

/* What a worker of a node in a cluster has before its first map comes: nobody has a slot. */
const struct cluster_map *cluster_map_none(void);

/* ---- The publisher's thread ---- */

/* All maps of one node that somebody may still read. */
struct cluster_maps;

/* `thread` has the box that the workers' answers come to (post office). */
struct cluster_maps *cluster_maps_new(const struct node *node, unsigned thread);
/* When the node's workers take no more messages, and look at no map any more. */
void cluster_maps_free(struct cluster_maps *maps);
/* Hands the map, which is taken over, to every worker of the node. When the last of them serves by
 * it, done(arg) is called, in cluster_map_home; it may be NULL. Maps arrive in the order in which
 * they were published. */
void cluster_maps_publish(struct cluster_maps *maps, struct map *map, void (*done)(void *arg),
                          void *arg);
/* MESSAGE_CLUSTER_MAP_TAKEN came to the publisher; `worker` is not looked at. */
void cluster_map_home(struct worker *worker, struct message *message);

/* ---- Workers ---- */

/* MESSAGE_CLUSTER_MAP. */
void cluster_map_arrived(struct worker *worker, struct message *message);

#endif
