/* SPDX-License-Identifier: BSD-3-Clause */
/* shared_fate: see the header. */
#include "server/cluster/shared_fate.h"

#include <stddef.h>
#include <string.h>

static unsigned any_port(const struct map_node *node) {
    return node->port > 0 ? node->port : node->tls_port;
}

static bool is_sibling(const struct map *map, uint16_t other, unsigned index, unsigned count) {
    const struct map_node *self = &map->nodes[map->myself];
    const struct map_node *node = &map->nodes[other];
    unsigned first = any_port(self) - index;
    return other == map->myself || (strcmp(node->ip, self->ip) == 0 && any_port(node) >= first &&
                                    any_port(node) < first + count);
}

unsigned shared_fate(const struct map *map, unsigned index, unsigned count) {
    unsigned fate = 0;
    uint16_t primary = map_my_primary(map);
    if (primary != MAP_NONE && primary != map->myself && is_sibling(map, primary, index, count)) {
        fate |= FATE_REPLICA;
    }
    unsigned votes = 0, ours = 0;
    for (uint16_t i = 0; i < map->nodes_count; i++) {
        if ((map->nodes[i].flags & MAP_PRIMARY) && map->nodes[i].slots_count > 0) {
            votes++;
            ours += is_sibling(map, i, index, count);
        }
    }
    if (ours > 1 && 2 * ours >= votes) {
        fate |= FATE_VOTES;
    }
    return fate;
}
