/* SPDX-License-Identifier: BSD-3-Clause */
/* graph: who must come before whom, and a short cycle where that cannot be.
 *
 * Thread: one at a time. Nodes are numbers. Edges have a kind; a search names by a mask the kinds
 * it may follow. Helper nodes stand for "everyone after this point": an edge of kind EDGE_LINK
 * leads out of one, is followed always and costs nothing, so that a cycle counts operations only.
 *
 * Components are found with R. Tarjan, "Depth-first search and linear graph algorithms", 1972
 * (without recursion), in time linear in the size of the graph.
 */
#ifndef SHOAL_TEST_CHECKER_GRAPH_H
#define SHOAL_TEST_CHECKER_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum edge_kind {
    EDGE_LINK = 0,
    EDGE_WW = 1,    /* wrote after the other wrote */
    EDGE_WR = 2,    /* read what the other wrote */
    EDGE_RW = 4,    /* had read what was there before the other wrote */
    EDGE_TIME = 8,  /* had returned before the other was called */
    EDGE_ORDER = 16 /* sent before the other, by the same connection */
};

#define GRAPH_NODE_NONE UINT32_MAX

struct edge {
    uint32_t from;
    uint32_t to;
    enum edge_kind kind;
    uint32_t key; /* that the edge is about; anything for time and links */
};

struct graph {
    uint32_t node_count;
    struct edge *edges; /* by source, once sealed */
    size_t edge_count;
    size_t edge_cap;
    size_t *first; /* [node], and one more at the end */
};

void graph_init(struct graph *graph, uint32_t node_count);
void graph_fini(struct graph *graph);
uint32_t graph_add_node(struct graph *graph);
void graph_add_edge(struct graph *graph, uint32_t from, uint32_t to, enum edge_kind kind,
                    uint32_t key);
/* After the last edge, before any search. */
void graph_seal(struct graph *graph);

/* Numbers the strongly connected components of what the mask leaves: component[node]. Returns
 * whether one has more than one node. */
bool graph_components(const struct graph *graph, unsigned mask, uint32_t *component);
/* A shortest path from one node to another within a component, as numbers of edges. Returns its
 * length, 0 when there is none or it has more than path_max edges; `seen` has room for all nodes
 * and is zero, before and after. */
size_t graph_path(const struct graph *graph, unsigned mask, const uint32_t *component,
                  uint32_t from, uint32_t to, size_t *path, size_t path_max, size_t *seen);

#endif
