/* SPDX-License-Identifier: BSD-3-Clause */
/* A history without an anomaly, the usual case, is one pass of Tarjan's algorithm over edges that
 * lie in one array by source. Only then are paths searched, in components, which are small.
 */
#include "test/checker/graph.h"

#include "test/checker/grow.h"

#include <string.h>

void graph_init(struct graph *graph, uint32_t node_count) {
    *graph = (struct graph){.node_count = node_count};
}

void graph_fini(struct graph *graph) {
    free(graph->edges);
    free(graph->first);
    *graph = (struct graph){0};
}

uint32_t graph_add_node(struct graph *graph) {
    check(graph->node_count < GRAPH_NODE_NONE - 1);
    return graph->node_count++;
}

void graph_add_edge(struct graph *graph, uint32_t from, uint32_t to, enum edge_kind kind,
                    uint32_t key) {
    check(from < graph->node_count && to < graph->node_count);
    if (graph->edge_count == graph->edge_cap) {
        graph->edges = grow(graph->edges, &graph->edge_cap, sizeof(*graph->edges));
    }
    graph->edges[graph->edge_count++] = (struct edge){from, to, kind, key};
}

/* Counting sort by source; stable, so that the same history gives the same report. */
void graph_seal(struct graph *graph) {
    graph->first = zeroed((size_t)graph->node_count + 2, sizeof(*graph->first));
    struct edge *sorted = zeroed(graph->edge_count, sizeof(*sorted));
    for (size_t i = 0; i < graph->edge_count; i++) {
        graph->first[graph->edges[i].from + 2]++;
    }
    for (size_t i = 2; i < (size_t)graph->node_count + 2; i++) {
        graph->first[i] += graph->first[i - 1];
    }
    for (size_t i = 0; i < graph->edge_count; i++) {
        sorted[graph->first[graph->edges[i].from + 1]++] = graph->edges[i];
    }
    free(graph->edges);
    graph->edges = sorted;
}

static bool follows(const struct edge *edge, unsigned mask) {
    return edge->kind == EDGE_LINK || (edge->kind & mask) != 0;
}

struct tarjan {
    uint32_t *index; /* order of discovery, from 1; 0: not yet */
    uint32_t *low;
    size_t *next_edge;
    uint32_t *stack; /* nodes without a component yet */
    uint32_t *path;  /* nodes that are being visited */
    size_t stack_size;
    size_t path_size;
    uint32_t next_index;
    uint32_t next_component;
    bool cyclic;
};

static void tarjan_enter(struct tarjan *tarjan, const struct graph *graph, uint32_t node) {
    tarjan->index[node] = tarjan->low[node] = ++tarjan->next_index;
    tarjan->next_edge[node] = graph->first[node];
    tarjan->stack[tarjan->stack_size++] = node;
    tarjan->path[tarjan->path_size++] = node;
}

static void tarjan_leave(struct tarjan *tarjan, uint32_t node, uint32_t *component) {
    tarjan->path_size--;
    if (tarjan->path_size > 0) {
        uint32_t parent = tarjan->path[tarjan->path_size - 1];
        if (tarjan->low[node] < tarjan->low[parent]) {
            tarjan->low[parent] = tarjan->low[node];
        }
    }
    if (tarjan->low[node] != tarjan->index[node]) {
        return;
    }
    tarjan->cyclic |= tarjan->stack[tarjan->stack_size - 1] != node;
    uint32_t member;
    do {
        member = tarjan->stack[--tarjan->stack_size];
        component[member] = tarjan->next_component;
    } while (member != node);
    tarjan->next_component++;
}

static void tarjan_visit(struct tarjan *tarjan, const struct graph *graph, unsigned mask,
                         uint32_t root, uint32_t *component) {
    tarjan_enter(tarjan, graph, root);
    while (tarjan->path_size > 0) {
        uint32_t node = tarjan->path[tarjan->path_size - 1];
        if (tarjan->next_edge[node] == graph->first[node + 1]) {
            tarjan_leave(tarjan, node, component);
            continue;
        }
        const struct edge *edge = &graph->edges[tarjan->next_edge[node]++];
        if (!follows(edge, mask)) {
            continue;
        }
        if (tarjan->index[edge->to] == 0) {
            tarjan_enter(tarjan, graph, edge->to);
        } else if (component[edge->to] == GRAPH_NODE_NONE &&
                   tarjan->index[edge->to] < tarjan->low[node]) {
            tarjan->low[node] = tarjan->index[edge->to];
        }
    }
}

bool graph_components(const struct graph *graph, unsigned mask, uint32_t *component) {
    size_t n = graph->node_count;
    struct tarjan tarjan = {
        .index = zeroed(n, sizeof(uint32_t)),
        .low = zeroed(n, sizeof(uint32_t)),
        .next_edge = zeroed(n, sizeof(size_t)),
        .stack = zeroed(n, sizeof(uint32_t)),
        .path = zeroed(n, sizeof(uint32_t)),
    };
    memset(component, 0xff, n * sizeof(*component));
    for (uint32_t node = 0; node < n; node++) {
        if (tarjan.index[node] == 0) {
            tarjan_visit(&tarjan, graph, mask, node, component);
        }
    }
    free(tarjan.index);
    free(tarjan.low);
    free(tarjan.next_edge);
    free(tarjan.stack);
    free(tarjan.path);
    return tarjan.cyclic;
}

/* The edges that led to `to`, first one first. seen[node] is 1 + the edge that found it. */
static size_t trace(const struct graph *graph, const size_t *seen, uint32_t from, uint32_t to,
                    size_t *path, size_t path_max) {
    size_t length = 0;
    for (uint32_t node = to; node != from; node = graph->edges[seen[node] - 1].from) {
        length++;
    }
    size_t i = length;
    for (uint32_t node = to; node != from && length <= path_max;
         node = graph->edges[seen[node] - 1].from) {
        path[--i] = seen[node] - 1;
    }
    return length <= path_max ? length : 0;
}

/* Breadth first, in two queues: links lead to the same level, other edges to the next. */
size_t graph_path(const struct graph *graph, unsigned mask, const uint32_t *component,
                  uint32_t from, uint32_t to, size_t *path, size_t path_max, size_t *seen) {
    uint32_t *found = NULL; /* every node found, to clear `seen` with */
    uint32_t *level = NULL, *next = NULL;
    size_t found_count = 0, found_cap = 0, level_count = 0, level_cap = 0, next_count = 0,
           next_cap = 0;
    level = grow(level, &level_cap, sizeof(*level));
    level[level_count++] = from;
    seen[from] = SIZE_MAX;
    while (level_count > 0 && (seen[to] == 0 || from == to)) {
        uint32_t node = level[--level_count];
        for (size_t i = graph->first[node]; i < graph->first[node + 1]; i++) {
            const struct edge *edge = &graph->edges[i];
            if (!follows(edge, mask) || component[edge->to] != component[from] ||
                seen[edge->to] != 0) {
                continue;
            }
            seen[edge->to] = i + 1;
            if (found_count == found_cap) {
                found = grow(found, &found_cap, sizeof(*found));
            }
            found[found_count++] = edge->to;
            if (edge->kind == EDGE_LINK) {
                if (level_count == level_cap) {
                    level = grow(level, &level_cap, sizeof(*level));
                }
                level[level_count++] = edge->to;
            } else {
                if (next_count == next_cap) {
                    next = grow(next, &next_cap, sizeof(*next));
                }
                next[next_count++] = edge->to;
            }
        }
        if (level_count == 0) {
            uint32_t *swap = level;
            size_t swap_cap = level_cap;
            level = next;
            level_cap = next_cap;
            level_count = next_count;
            next = swap;
            next_cap = swap_cap;
            next_count = 0;
        }
    }
    size_t length = seen[to] != 0 && from != to ? trace(graph, seen, from, to, path, path_max) : 0;
    for (size_t i = 0; i < found_count; i++) {
        seen[found[i]] = 0;
    }
    seen[from] = 0;
    free(found);
    free(level);
    free(next);
    return length;
}
