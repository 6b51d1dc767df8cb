/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/cluster/cluster_map.h"

#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS   2
#define PUBLISHER 2

static struct server server;
static struct node node;
static struct worker workers[WORKERS];
static struct cluster_maps *maps;
static unsigned told;

static void wake(void *arg, unsigned from, unsigned target) {
}

static void setup(void) {
    server.office = post_office_new(WORKERS + 1, 64, wake, NULL);
    node_init(&node, &server, 0, "0123456789012345678901234567890123456789", 0, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.server = &server, .id = i, .cluster = cluster_map_none()};
    }
    maps = cluster_maps_new(&node, PUBLISHER);
    told = 0;
}

static void teardown(void) {
    cluster_maps_free(maps);
    post_office_free(server.office);
}

TestSuite(cluster_map, .init = setup, .fini = teardown);

/* A map of two primaries: slots below `mine` are this node's. */
static struct map *a_map(uint64_t version, unsigned mine) {
    struct map *map = calloc(1, sizeof *map + 2 * sizeof *map->nodes);
    map->version = version;
    map->nodes = (struct map_node *)(map + 1);
    map->nodes_count = 2;
    map->nodes[0].flags = MAP_PRIMARY | MAP_MYSELF;
    map->nodes[1].flags = MAP_PRIMARY;
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        map->owner[slot] = slot < mine ? 0 : 1;
    }
    return map;
}

static void tell(void *arg) {
    told += *(unsigned *)arg;
}

static void take(unsigned worker) {
    post_publish(server.office, PUBLISHER, PUBLISHER, false);
    struct message *message;
    cr_assert_eq(post_receive(server.office, worker, &message, 1), 1);
    cr_assert_eq(message->kind, MESSAGE_CLUSTER_MAP);
    cluster_map_arrived(&workers[worker], message);
    post_publish(server.office, worker, worker, false);
}

static unsigned take_home(void) {
    struct message *messages[8];
    size_t n = post_receive(server.office, PUBLISHER, messages, 8);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(messages[i]->kind, MESSAGE_CLUSTER_MAP_TAKEN);
        cluster_map_home(NULL, messages[i]);
    }
    return (unsigned)n;
}

Test(cluster_map, nothing_is_served_before_the_first_one) {
    const struct cluster_map *none = cluster_map_none();
    cr_assert_eq(none->map->state, MAP_STATE_FAIL);
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        cr_assert_not(cluster_map_serves(none, (uint16_t)slot));
        cr_assert_eq(none->map->owner[slot], MAP_NONE);
    }
    cr_assert_eq(map_my_primary(none->map), 0);
}

Test(cluster_map, who_publishes_is_told_when_every_worker_has_it) {
    unsigned one = 1;
    cluster_maps_publish(maps, a_map(1, 100), tell, &one);
    take(1);
    take_home();
    cr_assert_eq(told, 0);
    cr_assert_eq(workers[1].cluster->map->version, 1);
    cr_assert_eq(workers[0].cluster, cluster_map_none());
    take(0);
    cr_assert_eq(told, 0);
    take_home();
    cr_assert_eq(told, 1);
    cr_assert_eq(workers[0].cluster, workers[1].cluster);
}

Test(cluster_map, a_map_stays_while_one_worker_reads_it) {
    unsigned one = 1, ten = 10, hundred = 100;
    cluster_maps_publish(maps, a_map(1, 100), tell, &one);
    cluster_maps_publish(maps, a_map(2, 200), tell, &ten);
    cluster_maps_publish(maps, a_map(3, 300), tell, &hundred);
    take(0);
    take(0);
    take(0);
    cr_assert_eq(take_home(), 3);
    cr_assert_eq(told, 0);
    cr_assert_eq(workers[0].cluster->map->version, 3);
    take(1);
    cr_assert_eq(take_home(), 1);
    cr_assert_eq(told, 1);
    cr_assert_eq(workers[1].cluster->map->version, 1); /* and is still there */
    take(1);
    take(1);
    take_home();
    cr_assert_eq(told, 111);
    cr_assert_eq(workers[1].cluster, workers[0].cluster);
    cr_assert_eq(workers[0].cluster->readers, WORKERS);
}

Test(cluster_map, what_is_on_its_way_at_the_end_is_freed) {
    unsigned one = 1;
    cluster_maps_publish(maps, a_map(1, 100), tell, &one);
    take(0);
    cluster_maps_publish(maps, a_map(2, 100), tell, &one);
    cr_assert_eq(told, 0);
}

Test(cluster_map, a_slot_is_served_that_is_ours_and_stays_in_a_cluster_that_is_up) {
    struct map *map = a_map(1, 100);
    map->is_open[7 / 8] |= 1 << 7 % 8;
    cluster_maps_publish(maps, map, NULL, NULL);
    take(0);
    take(1);
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        cr_assert_eq(cluster_map_serves(workers[0].cluster, (uint16_t)slot),
                     slot < 100 && slot != 7, "slot %u", slot);
    }
    map = a_map(2, 100);
    map->state = MAP_STATE_FAIL;
    cluster_maps_publish(maps, map, NULL, NULL);
    take(0);
    cr_assert_not(cluster_map_serves(workers[0].cluster, 5));
    take(1);
    map = a_map(3, 100);
    map->myself = 1;
    cluster_maps_publish(maps, map, NULL, NULL);
    take(0);
    cr_assert_not(cluster_map_serves(workers[0].cluster, 5));
    cr_assert(cluster_map_serves(workers[0].cluster, 500));
    take(1);
    cr_assert_eq(take_home(), 6);
}
