/* SPDX-License-Identifier: BSD-3-Clause */
/* map: what one node knows of its cluster at one moment, as shards need it to serve or redirect:
 * who is there, who has which slot, which slots are on their way.
 *
 * The brain makes one when something of it has changed; it never changes afterwards. All texts lie
 * in the map's own memory.
 *
 * Thread: any reads; who made it counts the references (server/cluster/), and the last frees it.
 */
#ifndef SHOAL_CLUSTER_BRAIN_MAP_H
#define SHOAL_CLUSTER_BRAIN_MAP_H

#include <stdbool.h>
#include <stdint.h>

#define MAP_SLOTS    16384
#define MAP_ID_BYTES 40
#define MAP_NONE  UINT16_MAX /* no node */

/* Flags of a node, as they stand on the wire of the bus (cluster/bus/wire.h uses them). */
enum map_flag {
    MAP_PRIMARY = 1,
    MAP_REPLICA = 2,
    MAP_PFAIL = 4,
    MAP_FAIL = 8,
    MAP_MYSELF = 16,
    MAP_HANDSHAKE = 32,
    MAP_NOADDR = 64,
    MAP_MEET = 128,
    MAP_MIGRATE_TO = 256,
    MAP_NOFAILOVER = 512,
    MAP_EXTENSIONS = 1024,
    MAP_LIGHT_PUBLISH = 2048,
    MAP_LIGHT_MODULE = 4096, /* and: MEET may be repeated */
    MAP_PRIMARY_FAIL = 8192, /* a replica's primary is FAIL in its eyes */
};

struct map_node {
    const char *id;       /* 40 hexadecimal digits */
    const char *shard_id; /* the same */
    const char *ip;       /* "": not known */
    const char *hostname; /* "": none; so of the next four */
    const char *human_name;
    const char *availability_zone;
    const char *client_ipv4, *client_ipv6;
    uint16_t port, tls_port, bus_port;     /* 0: none */
    uint16_t client_port, client_tls_port; /* what clients are told instead; 0: the same */
    uint32_t flags;                        /* enum map_flag */
    uint16_t primary;                      /* of a replica: its index, or MAP_NONE */
    uint64_t config_epoch;
    uint64_t offset; /* in its replication stream, as it said last; one's own is not here */
    unsigned slots_count;
};

/* A slot on its way: `node` is where to (migrating) or where from (importing). */
struct map_open_slot {
    uint16_t slot, node;
};

enum map_state { MAP_STATE_OK, MAP_STATE_FAIL };
enum map_why { /* it is MAP_STATE_FAIL */
               MAP_WHY_NONE,
               MAP_WHY_SLOTS, /* a slot has no owner, or it is FAIL (cluster-require-full-coverage)
                               */
               MAP_WHY_MINORITY, /* too few primaries can be reached */
               MAP_WHY_STARTED,  /* this node has just started */
};

struct map {
    uint64_t version; /* counts up */
    uint16_t myself;  /* index in nodes */
    uint16_t nodes_count;
    struct map_node *nodes; /* sorted by id; none in handshake */
    enum map_state state;
    enum map_why why;
    uint64_t current_epoch;
    uint16_t migrating_count, importing_count;
    struct map_open_slot *migrating, *importing; /* sorted by slot */
    bool hides;                                  /* there are such slots: */
    uint8_t hidden[MAP_SLOTS / 8];  /* they come here at once, and their keys are not shown yet */
    bool holds;                     /* there are such slots: */
    uint8_t held[MAP_SLOTS / 8];    /* they are about to leave at once: writes to them wait; */
    uint8_t sealed[MAP_SLOTS / 8];  /* and are refused where they have not been held back */
    uint16_t owner[MAP_SLOTS];      /* index of the primary, or MAP_NONE */
    uint8_t is_open[MAP_SLOTS / 8]; /* bit n % 8 of byte n / 8: it is in one of the two */
};

/* The brain's; memory is one piece. */
void map_free(struct map *map);

static inline bool map_hides(const struct map *map, uint16_t slot) {
    return map->hides && (map->hidden[slot / 8] >> slot % 8 & 1);
}

/* Only of this node's own slots: those that have left are not here to be written to. */
static inline bool map_holds(const struct map *map, uint16_t slot) {
    return map->holds && (map->held[slot / 8] >> slot % 8 & 1) && map->owner[slot] == map->myself;
}
static inline bool map_seals(const struct map *map, uint16_t slot) {
    return map_holds(map, slot) && (map->sealed[slot / 8] >> slot % 8 & 1);
}

/* Whose keys this node has: itself, or its primary's. MAP_NONE: of a replica without a primary. */
static inline uint16_t map_my_primary(const struct map *map) {
    const struct map_node *self = &map->nodes[map->myself];
    return self->flags & MAP_PRIMARY ? map->myself : self->primary;
}

/* It has slots, and a vote. */
static inline bool map_i_vote(const struct map *map) {
    const struct map_node *self = &map->nodes[map->myself];
    return (self->flags & MAP_PRIMARY) && self->slots_count > 0;
}

#endif
