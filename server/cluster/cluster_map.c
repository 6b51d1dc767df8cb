/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster_map: see the header. Why so: a command asks one question of the map, whether its slot is
 * served here. A bit per slot answers it for nearly all; what the answer depends on otherwise (the
 * kind of command, ASKING, READONLY, keys that have gone already) is looked at only where the bit
 * is not set.
 *
 *     publisher  --map n-->  worker: reads n, and gives back n - 1  -->  publisher: readers - 1
 */
#include "server/cluster/cluster_map.h"

#include "base/list.h"
#include "base/must.h"
#include "server/node.h"
#include "server/observe/slot_stats.h"
#include "server/server.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* ---- Before the first one ---- */

static const struct map_node nobody = {
    .id = "0000000000000000000000000000000000000000",
    .shard_id = "0000000000000000000000000000000000000000",
    .ip = "",
    .hostname = "",
    .human_name = "",
    .availability_zone = "",
    .client_ipv4 = "",
    .client_ipv6 = "",
    .flags = MAP_MYSELF | MAP_PRIMARY,
    .primary = MAP_NONE,
};
static const struct map no_map = {
    .nodes_count = 1,
    .nodes = (struct map_node *)&nobody,
    .state = MAP_STATE_FAIL,
    .why = MAP_WHY_STARTED,
    .owner = {[0 ... MAP_SLOTS - 1] = MAP_NONE},
};
static const struct cluster_map none = {.map = &no_map};

const struct cluster_map *cluster_map_none(void) {
    return &none;
}

/* ---- The publisher's thread ---- */

/* A map and who has it. */
struct published {
    struct cluster_map map; /* first */
    struct list_node node;  /* of maps->published */
    struct map *owned;
};

struct publication;

struct handing {
    struct message message; /* first */
    struct publication *publication;
    const struct cluster_map *map; /* the next one; on its way home the one before */
};

struct publication {
    struct cluster_maps *maps;
    struct list_node node; /* of maps->under_way */
    void (*done)(void *arg);
    void *arg;
    unsigned open;
    struct handing handings[];
};

struct cluster_maps {
    const struct node *node;
    unsigned thread;
    struct list published, under_way;
};

struct cluster_maps *cluster_maps_new(const struct node *node, unsigned thread) {
    struct cluster_maps *maps = must_calloc(1, sizeof *maps);
    maps->node = node;
    maps->thread = thread;
    list_init(&maps->published);
    list_init(&maps->under_way);
    return maps;
}

static void published_free(struct published *published) {
    list_remove(&published->node);
    free(published->owned); /* one piece (map.h) */
    free(published);
}

static void publication_free(struct publication *publication) {
    list_remove(&publication->node);
    free(publication);
}

void cluster_maps_free(struct cluster_maps *maps) {
    if (maps == NULL) {
        return;
    }
    LIST_EACH_SAFE(&maps->under_way, node) {
        publication_free(LIST_ENTRY(node, struct publication, node));
    }
    LIST_EACH_SAFE(&maps->published, node) {
        published_free(LIST_ENTRY(node, struct published, node));
    }
    free(maps);
}

/* What is served without a question: by a primary, in a cluster that is up, in a slot that stays.
 */
static void find_served(struct cluster_map *ret, const struct map *map) {
    if (map->state != MAP_STATE_OK) {
        return;
    }
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        bool open = map->is_open[slot / 8] >> slot % 8 & 1;
        if (map->owner[slot] == map->myself && !open && !map_seals(map, (uint16_t)slot)) {
            ret->serves[slot / 8] |= (uint8_t)(1 << slot % 8);
        }
    }
}

void cluster_maps_publish(struct cluster_maps *maps, struct map *map, void (*done)(void *arg),
                          void *arg) {
    const struct node *node = maps->node;
    struct published *published = must_calloc(1, sizeof *published);
    struct publication *publication =
        must_calloc(1, sizeof *publication + node->count * sizeof publication->handings[0]);
    published->owned = map;
    published->map.map = map;
    published->map.readers = node->count;
    find_served(&published->map, map);
    list_push_back(&maps->published, &published->node);
    publication->maps = maps;
    publication->done = done;
    publication->arg = arg;
    publication->open = node->count;
    list_push_back(&maps->under_way, &publication->node);
    NODE_EACH_WORKER(node, i) {
        struct handing *handing = &publication->handings[i - node->first];
        *handing = (struct handing){
            .message = {.kind = MESSAGE_CLUSTER_MAP, .home = (uint16_t)maps->thread},
            .publication = publication,
            .map = &published->map,
        };
        post_send(node->server->office, maps->thread, i, &handing->message);
    }
}

void cluster_map_home(struct worker *worker, struct message *message) {
    struct handing *handing = (struct handing *)message;
    struct publication *publication = handing->publication;
    struct published *before = (struct published *)handing->map;
    if (before != NULL && --before->map.readers == 0) {
        published_free(before);
    }
    if (--publication->open > 0) {
        return;
    }
    void (*done)(void *arg) = publication->done;
    void *arg = publication->arg;
    publication_free(publication);
    if (done != NULL) {
        done(arg);
    }
}

/* ---- Workers ---- */

void cluster_map_arrived(struct worker *worker, struct message *message) {
    struct handing *handing = (struct handing *)message;
    const struct cluster_map *before = worker->cluster;
    slot_stats_map_changed(&worker->slot_stats, before->map, handing->map->map);
    worker->cluster = handing->map;
    handing->map = before == &none ? NULL : before;
    if (worker->server->handlers != NULL) { /* else a test */
        worker->server->handlers->map_changed(worker);
    }
    handing->message.kind = MESSAGE_CLUSTER_MAP_TAKEN;
    post_send(worker->server->office, worker->id, message->home, message);
}
