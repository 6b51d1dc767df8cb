/* SPDX-License-Identifier: BSD-3-Clause */
/* node: see the header. */
#include "server/node.h"

#include "base/check.h"

#include <string.h>

void node_init(struct node *node, struct server *server, unsigned index, const char *id,
               unsigned first, unsigned count) {
    check(count > 0 && first + count <= SLOTS_OWNERS_MAX && strlen(id) < sizeof node->id);
    node->server = server;
    node->index = index;
    memcpy(node->id, id, strlen(id) + 1);
    node->first = first;
    node->count = count;
    slots_init(&node->slots, first, count);
}
