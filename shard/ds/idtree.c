/* SPDX-License-Identifier: BSD-3-Clause */
/* idtree: see the header.
 *
 * A node is one block: a header, its ids, then what they lead to. Of an inner node an id is a lower
 * bound of all that is below it, and greater than all that is below the one before; the first is
 * not looked at. So taking out the first of a leaf changes nothing above it.
 *
 * Invariants: 1. no node is empty; 2. all leaves are at one depth; 3. the root, if it is no leaf,
 * has two below it at least.
 */
#include "shard/ds/idtree.h"

#include "base/check.h"
#include "shard/memory/heap.h"

#include <string.h>

/* A full node takes 1016 bytes. */
#define ROOM_MAX   42
#define ROOM_FIRST 2
/* With so few a node looks for a neighbour to join, if both together leave room. */
#define SPARSE     (ROOM_MAX / 4)
#define JOINED_MAX (ROOM_MAX * 3 / 4)

struct idtree_node {
    uint32_t count, room;
    struct stream_id ids[]; /* `room` of them, then as many addresses */
};

bool stream_id_up(struct stream_id *id) {
    if (id->seq < UINT64_MAX) {
        id->seq++;
    } else if (id->ms < UINT64_MAX) {
        *id = (struct stream_id){id->ms + 1, 0};
    } else {
        return false;
    }
    return true;
}

bool stream_id_down(struct stream_id *id) {
    if (id->seq > 0) {
        id->seq--;
    } else if (id->ms > 0) {
        *id = (struct stream_id){id->ms - 1, UINT64_MAX};
    } else {
        return false;
    }
    return true;
}

/* ---- Nodes ---- */

static size_t node_bytes(uint32_t room) {
    return sizeof(struct idtree_node) + room * (sizeof(struct stream_id) + sizeof(void *));
}

static inline void **addresses(const struct idtree_node *node) {
    return (void **)(void *)(uintptr_t)&node->ids[node->room];
}

static struct idtree_node *node_new(struct shard_heap *heap, uint32_t room) {
    struct idtree_node *node = heap_alloc(heap, node_bytes(room));
    node->count = 0;
    node->room = room;
    return node;
}

static void node_free(struct shard_heap *heap, struct idtree_node *node) {
    heap_release(heap, node, node_bytes(node->room));
}

static void copy_items(struct idtree_node *to, uint32_t at, const struct idtree_node *from,
                       uint32_t first, uint32_t count) {
    memcpy(&to->ids[at], &from->ids[first], count * sizeof from->ids[0]);
    memcpy(&addresses(to)[at], &addresses(from)[first], count * sizeof(void *));
}

/* Moves all from `at` on to `to`, in the same node. */
static void shift(struct idtree_node *node, uint32_t at, uint32_t to) {
    uint32_t count = node->count - at;
    memmove(&node->ids[to], &node->ids[at], count * sizeof node->ids[0]);
    memmove(&addresses(node)[to], &addresses(node)[at], count * sizeof(void *));
}

static struct idtree_node *node_grow(struct shard_heap *heap, struct idtree_node *node) {
    uint32_t room = node->room * 2 < ROOM_MAX / 2 ? node->room * 2 : ROOM_MAX;
    struct idtree_node *grown = node_new(heap, room);
    grown->count = node->count;
    copy_items(grown, 0, node, 0, node->count);
    node_free(heap, node);
    return grown;
}

/* How many ids are less; of the first `low` it is known. */
static uint32_t count_less(const struct idtree_node *node, uint32_t low, struct stream_id id) {
    uint32_t high = node->count;
    if (high > low && stream_id_less(node->ids[high - 1], id)) {
        return high; /* most are put at the end */
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (stream_id_less(node->ids[middle], id)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Of an inner node: what is below which it must be. */
static uint32_t child_of(const struct idtree_node *node, struct stream_id id) {
    uint32_t at = count_less(node, 1, id);
    bool equal = at < node->count && stream_id_equal(node->ids[at], id);
    return equal ? at : at - 1;
}

/* ---- Places ---- */

static void descend(const struct idtree *tree, struct stream_id id, struct idtree_place *ret) {
    check_slow(tree->height < IDTREE_LEVELS_MAX);
    ret->tree = tree;
    struct idtree_node *node = tree->root;
    for (uint32_t level = 0; level < tree->height; level++) {
        uint32_t at = child_of(node, id);
        ret->node[level] = node;
        ret->at[level] = (uint16_t)at;
        node = addresses(node)[at];
    }
    ret->node[tree->height] = node;
    ret->at[tree->height] = (uint16_t)count_less(node, 0, id);
}

/* From what is at this level on to the first or last leaf and id. */
static void descend_edge(struct idtree_place *place, uint32_t level, bool last) {
    uint32_t height = place->tree->height;
    for (; level < height; level++) {
        place->node[level + 1] = addresses(place->node[level])[place->at[level]];
        place->at[level + 1] = last ? (uint16_t)(place->node[level + 1]->count - 1) : 0;
    }
}

static bool edge(const struct idtree *tree, struct idtree_place *ret, bool last) {
    if (tree->root == NULL) {
        return false;
    }
    ret->tree = tree;
    ret->node[0] = tree->root;
    ret->at[0] = last ? (uint16_t)(tree->root->count - 1) : 0;
    descend_edge(ret, 0, last);
    return true;
}

bool idtree_first(const struct idtree *tree, struct idtree_place *ret) {
    return edge(tree, ret, false);
}

bool idtree_last(const struct idtree *tree, struct idtree_place *ret) {
    return edge(tree, ret, true);
}

bool idtree_next(struct idtree_place *place) {
    uint32_t level = place->tree->height;
    while (place->at[level] + 1u >= place->node[level]->count) {
        if (level-- == 0) {
            return false;
        }
    }
    place->at[level]++;
    descend_edge(place, level, false);
    return true;
}

bool idtree_prev(struct idtree_place *place) {
    uint32_t level = place->tree->height;
    while (place->at[level] == 0) {
        if (level-- == 0) {
            return false;
        }
    }
    place->at[level]--;
    descend_edge(place, level, true);
    return true;
}

bool idtree_from(const struct idtree *tree, struct stream_id id, struct idtree_place *ret) {
    if (tree->root == NULL) {
        return false;
    }
    descend(tree, id, ret);
    if (ret->at[tree->height] < ret->node[tree->height]->count) {
        return true;
    }
    ret->at[tree->height]--; /* behind the last of this leaf */
    return idtree_next(ret);
}

bool idtree_upto(const struct idtree *tree, struct stream_id id, struct idtree_place *ret) {
    if (tree->root == NULL) {
        return false;
    }
    descend(tree, id, ret);
    const struct idtree_node *leaf = ret->node[tree->height];
    uint32_t at = ret->at[tree->height];
    bool here = at < leaf->count && stream_id_equal(leaf->ids[at], id);
    return here || idtree_prev(ret);
}

struct stream_id idtree_id(const struct idtree_place *place) {
    uint32_t height = place->tree->height;
    return place->node[height]->ids[place->at[height]];
}

void *idtree_get(const struct idtree_place *place) {
    uint32_t height = place->tree->height;
    return addresses(place->node[height])[place->at[height]];
}

void idtree_set(const struct idtree_place *place, void *address) {
    uint32_t height = place->tree->height;
    addresses(place->node[height])[place->at[height]] = address;
}

void *idtree_find(const struct idtree *tree, struct stream_id id) {
    const struct idtree_node *node = tree->root;
    if (node == NULL) {
        return NULL;
    }
    for (uint32_t level = 0; level < tree->height; level++) {
        node = addresses(node)[child_of(node, id)];
    }
    uint32_t at = count_less(node, 0, id);
    bool found = at < node->count && stream_id_equal(node->ids[at], id);
    return found ? addresses(node)[at] : NULL;
}

/* ---- Adding ---- */

/* The node at this level of the path is somewhere else now. */
static void put_node(struct idtree *tree, struct idtree_place *path, uint32_t level,
                     struct idtree_node *node) {
    path->node[level] = node;
    if (level == 0) {
        tree->root = node;
    } else {
        addresses(path->node[level - 1])[path->at[level - 1]] = node;
    }
}

static bool is_at_end(const struct idtree_place *path, uint32_t level, uint32_t at) {
    bool end = at == path->node[level]->count;
    for (uint32_t i = 0; end && i < level; i++) {
        end = path->at[i] + 1u == path->node[i]->count;
    }
    return end;
}

static void put_item(struct idtree_node *node, uint32_t at, struct stream_id id, void *address) {
    shift(node, at, at + 1);
    node->ids[at] = id;
    addresses(node)[at] = address;
    node->count++;
}

static void grow_up(struct shard_heap *heap, struct idtree *tree, struct idtree_node *right) {
    struct idtree_node *root = node_new(heap, ROOM_FIRST);
    put_item(root, 0, tree->root->ids[0], tree->root);
    put_item(root, 1, right->ids[0], right);
    tree->root = root;
    tree->height++;
    check(tree->height < IDTREE_LEVELS_MAX);
}

static void insert(struct shard_heap *heap, struct idtree *tree, struct idtree_place *path,
                   uint32_t level, uint32_t at, struct stream_id id, void *address) {
    struct idtree_node *node = path->node[level];
    if (node->count < ROOM_MAX) {
        if (node->count == node->room) {
            node = node_grow(heap, node);
            put_node(tree, path, level, node);
        }
        put_item(node, at, id, address);
        return;
    }
    bool at_end = is_at_end(path, level, at);
    uint32_t kept = at_end ? ROOM_MAX : ROOM_MAX / 2;
    struct idtree_node *right = node_new(heap, at_end ? ROOM_FIRST : ROOM_MAX);
    copy_items(right, 0, node, kept, ROOM_MAX - kept);
    right->count = ROOM_MAX - kept;
    node->count = kept;
    if (at > kept || at_end) {
        put_item(right, at - kept, id, address);
    } else {
        put_item(node, at, id, address);
    }
    if (level == 0) {
        grow_up(heap, tree, right);
    } else {
        insert(heap, tree, path, level - 1, path->at[level - 1] + 1u, right->ids[0], right);
    }
}

bool idtree_add(struct shard_heap *heap, struct idtree *tree, struct stream_id id, void *address) {
    check_slow(address != NULL);
    if (tree->root == NULL) {
        tree->root = node_new(heap, ROOM_FIRST);
        tree->height = 0;
    }
    struct idtree_place path;
    descend(tree, id, &path);
    const struct idtree_node *leaf = path.node[tree->height];
    uint32_t at = path.at[tree->height];
    if (at < leaf->count && stream_id_equal(leaf->ids[at], id)) {
        return false;
    }
    insert(heap, tree, &path, tree->height, at, id, address);
    tree->count++;
    return true;
}

/* ---- Removing ---- */

static void drop_item(struct idtree_node *node, uint32_t at) {
    shift(node, at + 1, at);
    node->count--;
}

/* Puts two neighbours below `parent` together, if that leaves room. What was the first of an inner
 * node, and not looked at, gets the bound that the parent had. */
static bool join(struct shard_heap *heap, struct idtree_node *parent, uint32_t left_at,
                 bool leaves) {
    struct idtree_node *left = addresses(parent)[left_at], *right = addresses(parent)[left_at + 1];
    if (left->count + right->count > JOINED_MAX) {
        return false;
    }
    while (left->room < left->count + right->count) {
        left = node_grow(heap, left);
    }
    addresses(parent)[left_at] = left;
    copy_items(left, left->count, right, 0, right->count);
    if (!leaves) {
        left->ids[left->count] = parent->ids[left_at + 1];
    }
    left->count += right->count;
    node_free(heap, right);
    drop_item(parent, left_at + 1);
    return true;
}

/* Something was taken out of the node at this level of the path: it may be empty, or have little.
 */
static void settle(struct shard_heap *heap, struct idtree *tree, const struct idtree_place *path,
                   uint32_t level) {
    for (; level > 0; level--) {
        struct idtree_node *node = path->node[level], *parent = path->node[level - 1];
        uint32_t at = path->at[level - 1];
        bool leaf = level == tree->height;
        if (node->count == 0) {
            node_free(heap, node);
            drop_item(parent, at);
        } else if (node->count > SPARSE ||
                   !((at + 1 < parent->count && join(heap, parent, at, leaf)) ||
                     (at > 0 && join(heap, parent, at - 1, leaf)))) {
            return;
        }
    }
    while (tree->height > 0 && tree->root->count == 1) {
        struct idtree_node *only = addresses(tree->root)[0];
        node_free(heap, tree->root);
        tree->root = only;
        tree->height--;
    }
    if (tree->root->count == 0) {
        node_free(heap, tree->root);
        *tree = (struct idtree){0};
    }
}

void *idtree_remove(struct shard_heap *heap, struct idtree *tree, struct stream_id id) {
    if (tree->root == NULL) {
        return NULL;
    }
    struct idtree_place path;
    descend(tree, id, &path);
    struct idtree_node *leaf = path.node[tree->height];
    uint32_t at = path.at[tree->height];
    if (at == leaf->count || !stream_id_equal(leaf->ids[at], id)) {
        return NULL;
    }
    void *address = addresses(leaf)[at];
    drop_item(leaf, at);
    tree->count--;
    settle(heap, tree, &path, tree->height);
    return address;
}

bool idtree_drop_leaf(struct shard_heap *heap, struct idtree *tree, idtree_drop_fn *drop,
                      void *arg) {
    struct idtree_place path;
    if (!idtree_first(tree, &path)) {
        return false;
    }
    struct idtree_node *leaf = path.node[tree->height];
    for (uint32_t i = 0; i < leaf->count; i++) {
        drop(arg, leaf->ids[i], addresses(leaf)[i]);
    }
    tree->count -= leaf->count;
    leaf->count = 0;
    settle(heap, tree, &path, tree->height);
    return true;
}

/* ---- All of it ---- */

void idtree_relocate(struct shard_heap *heap, struct idtree *tree, struct idtree_place *place,
                     size_t *copied) {
    for (uint32_t level = tree->height; place->at[level] == 0; level--) {
        struct idtree_node *node = place->node[level];
        size_t moved = 0;
        put_node(tree, place, level, heap_relocate(heap, node, node_bytes(node->room), &moved));
        *copied += moved;
        if (level == 0) {
            break;
        }
    }
}

static size_t memory_below(const struct idtree_node *node, uint32_t height) {
    size_t bytes = heap_block_bytes(node_bytes(node->room));
    for (uint32_t i = 0; height > 0 && i < node->count; i++) {
        bytes += memory_below(addresses(node)[i], height - 1);
    }
    return bytes;
}

size_t idtree_memory(const struct idtree *tree) {
    return tree->root != NULL ? memory_below(tree->root, tree->height) : 0;
}

/* Checks that all below lies from `low` on and, if there is one, below `high`; returns how many
 * there are. */
static uint64_t verify(const struct idtree_node *node, uint32_t height, struct stream_id low,
                       const struct stream_id *high) {
    check(node->count > 0 && node->count <= node->room && node->room <= ROOM_MAX);
    uint64_t count = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        bool is_bound = height == 0 || i > 0;
        check(i == 0 || (height > 0 && i == 1) || stream_id_less(node->ids[i - 1], node->ids[i]));
        check(!is_bound || !stream_id_less(node->ids[i], low));
        check(!is_bound || high == NULL || stream_id_less(node->ids[i], *high));
        if (height > 0) {
            const struct stream_id *end = i + 1 < node->count ? &node->ids[i + 1] : high;
            count += verify(addresses(node)[i], height - 1, i > 0 ? node->ids[i] : low, end);
        } else {
            check(addresses(node)[i] != NULL);
            count++;
        }
    }
    return count;
}

void idtree_verify(const struct idtree *tree) {
    if (tree->root == NULL) {
        check(tree->count == 0 && tree->height == 0);
        return;
    }
    check(tree->height == 0 || tree->root->count > 1);
    check(verify(tree->root, tree->height, STREAM_ID_MIN, NULL) == tree->count);
}
