/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/cluster/shared_fate.h"

#include <criterion/criterion.h>

/* Nodes 0 to 3 are of one start, from port 7000 on, and this one is node 1; 4 to 7 are elsewhere.
 */
static struct map_node nodes[8];
static struct map map;

static void setup(void) {
    map = (struct map){.nodes_count = 8, .nodes = nodes, .myself = 1};
    for (unsigned i = 0; i < 8; i++) {
        nodes[i] = (struct map_node){
            .ip = i < 4 ? "10.0.0.1" : "10.0.0.2",
            .port = (uint16_t)(7000 + i % 4),
            .flags = MAP_PRIMARY,
            .primary = MAP_NONE,
        };
    }
}

TestSuite(shared_fate, .init = setup);

static void follow(unsigned node, uint16_t primary) {
    nodes[node].flags = MAP_REPLICA;
    nodes[node].primary = primary;
}

static void vote(unsigned first, unsigned last) {
    for (unsigned i = first; i <= last; i++) {
        nodes[i].slots_count = 10;
    }
}

Test(shared_fate, a_replica_of_a_sibling) {
    follow(1, 3);
    cr_assert_eq(shared_fate(&map, 1, 4), FATE_REPLICA);
}

Test(shared_fate, a_replica_of_another_host_or_of_nobody) {
    follow(1, 7); /* the same port, there */
    cr_assert_eq(shared_fate(&map, 1, 4), 0);
    nodes[1].primary = MAP_NONE;
    cr_assert_eq(shared_fate(&map, 1, 4), 0);
}

Test(shared_fate, a_neighbour_that_was_started_apart) {
    nodes[4].ip = "10.0.0.1";
    nodes[4].port = 7004;
    follow(1, 4);
    cr_assert_eq(shared_fate(&map, 1, 4), 0);
    cr_assert_eq(shared_fate(&map, 1, 5), FATE_REPLICA);
}

Test(shared_fate, half_of_the_votes) {
    vote(0, 1);
    vote(4, 6);
    cr_assert_eq(shared_fate(&map, 1, 4), 0, "two of five");
    nodes[6].slots_count = 0;
    cr_assert_eq(shared_fate(&map, 1, 4), FATE_VOTES, "two of four");
}

Test(shared_fate, the_only_vote_of_a_cluster_is_nobodys_to_share) {
    vote(1, 1);
    cr_assert_eq(shared_fate(&map, 1, 4), 0);
}

Test(shared_fate, nodes_within_tls_are_known_by_that_port) {
    for (unsigned i = 0; i < 8; i++) {
        nodes[i].tls_port = nodes[i].port;
        nodes[i].port = 0;
    }
    follow(1, 0);
    cr_assert_eq(shared_fate(&map, 1, 4), FATE_REPLICA);
}
