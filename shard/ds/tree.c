/* SPDX-License-Identifier: BSD-3-Clause */
/* A counted B+tree whose leaves are words.
 *
 *     inner:  child, first item, its key, count    up to 64 of them
 *     leaf:   tag 16 | address 48                  up to 126 words, as long as it needs to be
 *
 * The key of a score is a number of 64 bits in the same order. A tag is where its key stands in the
 * range that the leaf had when it was last scaled: 0 below it, 0xFFFF above it. So tags are in
 * order whatever the scale is, most of them differ, and a search in a leaf reads an item or two
 * where it would read seven; items are what is not in the cache. The scale is put right when a leaf
 * divides, when it is full and will not grow, and when many stand outside of it.
 *
 * Invariants:
 *  1. Items ascend strictly by (score, member); so do the tags, weakly.
 *  2. A branch's first is the first item below it, its key that item's, its count all below it.
 *  3. No node is empty; the root has two branches or is a leaf.
 *  4. Neighbours below one node of which one is less than a quarter full do not fit into
 * three quarters of a node, but for those that were made by adding at an end.
 *
 * What is added at the end of all begins a new leaf when the last is full, and so it is at the
 * beginning: ascending and descending items fill their leaves.
 *
 * Long, and one file: descent, division, joining, ranges and walks all know the layout of the two
 * kinds of node.
 */
#include "shard/ds/tree.h"

#include "base/budget.h"
#include "base/check.h"
#include "shard/memory/heap.h"

#include <assert.h>

#define LEAF_MAX     126 /* 1 KB */
#define LEAF_STEP    8
#define INNER_MAX    64
#define INNER_STEP   8
#define TAG_BELOW    0
#define TAG_ABOVE    0xFFFF
#define TAGS_INSIDE  (TAG_ABOVE - 1)
#define OUTSIDE_MAX  16 /* words outside of a leaf's scale before it is scaled anew */
#define AHEAD        8  /* items that a walk asks for before it comes to them */
#define ADDRESS_MASK UINT64_C(0xFFFFFFFFFFFF)

struct leaf {
    uint64_t base;  /* the key of tag 1 */
    uint32_t scale; /* tags for 2^32 keys, after the shift */
    uint8_t shift;
    uint8_t count, capacity;
    uint8_t unused;
    uint64_t words[];
};
static_assert(sizeof(struct leaf) == 16, "a leaf's words begin at 16");
static_assert(LEAF_MAX <= UINT8_MAX, "counts of a leaf are bytes");

struct branch {
    void *child;
    struct tree_item *first;
    uint64_t key; /* of the first item */
    uint64_t count;
};

struct inner {
    uint32_t count, capacity;
    struct branch branches[];
};

/* The way to a leaf, from the root. */
struct path {
    struct inner *nodes[TREE_HEIGHT_MAX];
    uint32_t indexes[TREE_HEIGHT_MAX];
    struct leaf *leaf;
    uint32_t index;
};

/* ---- Items ---- */

size_t tree_item_bytes(size_t member_length) {
    return sizeof(struct tree_item) + (member_length < 255 ? 1 : 9) + member_length;
}

struct tree_item *tree_item_new(struct shard_heap *heap, struct bytes member, double score) {
    struct tree_item *item = heap_alloc(heap, tree_item_bytes(member.len));
    item->score = score;
    unsigned char *text = item->text;
    if (member.len < 255) {
        *text++ = (unsigned char)member.len;
    } else {
        uint64_t length = member.len;
        *text++ = 255;
        memcpy(text, &length, sizeof length);
        text += sizeof length;
    }
    if (member.len > 0) {
        memcpy(text, member.ptr, member.len);
    }
    return item;
}

void tree_item_free(struct shard_heap *heap, struct tree_item *item) {
    heap_release(heap, item, tree_item_bytes(tree_item_member(item).len));
}

/* In the order of scores; -0 and 0 are one. */
static uint64_t key_of(double score) {
    check_slow(score == score);
    double plain = score + 0.0;
    uint64_t bits;
    memcpy(&bits, &plain, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

/* A bound with its key. */
struct sought {
    const struct tree_bound *bound;
    uint64_t key;
};

static struct sought seek_bound(const struct tree_bound *bound) {
    return (struct sought){bound, bound->by_score ? key_of(bound->score) : 0};
}

static struct tree_bound bound_at(const struct tree_item *item, bool behind) {
    return (struct tree_bound){
        .by_score = true,
        .by_member = true,
        .behind = behind,
        .score = item->score,
        .member = tree_item_member(item),
    };
}

/* Of an item whose key is the bound's, or does not matter. */
static bool member_stands_before(const struct tree_item *item, const struct tree_bound *bound) {
    if (!bound->by_member) {
        return bound->behind;
    }
    int order = bytes_compare(tree_item_member(item), bound->member);
    return order < 0 || (order == 0 && bound->behind);
}

static bool item_stands_before(const struct tree_item *item, const struct sought *sought) {
    if (sought->bound->by_score) {
        uint64_t key = key_of(item->score);
        if (key != sought->key) {
            return key < sought->key;
        }
    }
    return member_stands_before(item, sought->bound);
}

/* ---- Leaves ---- */

static size_t leaf_bytes(uint32_t capacity) {
    return sizeof(struct leaf) + capacity * sizeof(uint64_t);
}

static struct tree_item *leaf_item(const struct leaf *leaf, uint32_t index) {
    return (struct tree_item *)(uintptr_t)(leaf->words[index] & ADDRESS_MASK);
}

static uint64_t leaf_tag(const struct leaf *leaf, uint32_t index) {
    return leaf->words[index] >> 48;
}

static uint64_t tag_of(const struct leaf *leaf, uint64_t key) {
    if (key < leaf->base) {
        return TAG_BELOW;
    }
    uint64_t distance = (key - leaf->base) >> leaf->shift;
    if (distance > UINT32_MAX) {
        return TAG_ABOVE;
    }
    uint64_t tag = 1 + (distance * leaf->scale >> 32);
    return tag < TAG_ABOVE ? tag : TAG_ABOVE;
}

static uint64_t word_of(const struct leaf *leaf, const struct tree_item *item) {
    uint64_t address = (uintptr_t)item;
    check_slow(address <= ADDRESS_MASK);
    return tag_of(leaf, key_of(item->score)) << 48 | address;
}

/* The scale becomes that of what is in it now. */
static void leaf_rescale(struct leaf *leaf) {
    for (uint32_t i = 0; i < leaf->count; i++) {
        __builtin_prefetch(leaf_item(leaf, i));
    }
    leaf->base = key_of(leaf_item(leaf, 0)->score);
    uint64_t range = key_of(leaf_item(leaf, leaf->count - 1u)->score) - leaf->base;
    unsigned bits = range > 0 ? 64 - (unsigned)__builtin_clzll(range) : 0;
    leaf->shift = (uint8_t)(bits > 32 ? bits - 32 : 0);
    uint64_t scale = ((uint64_t)TAGS_INSIDE << 32) / ((range >> leaf->shift) + 1);
    leaf->scale = scale < UINT32_MAX ? (uint32_t)scale : UINT32_MAX;
    for (uint32_t i = 0; i < leaf->count; i++) {
        leaf->words[i] = word_of(leaf, leaf_item(leaf, i));
    }
}

/* The first word from `low` on, below `high`, whose tag is at least `tag`. */
static uint32_t first_of_tag(const struct leaf *leaf, uint64_t tag) {
    uint32_t low = 0, high = leaf->count;
    uint64_t wanted = tag << 48;
    /* Where it would be if the tags were even; from there in growing steps. */
    uint32_t guess = (uint32_t)(tag * leaf->count >> 16);
    uint32_t step = 2;
    if (leaf->words[guess] < wanted) {
        low = guess + 1;
        while (low + step < high && leaf->words[low + step] < wanted) {
            low += step + 1;
            step *= 2;
        }
        high = low + step < high ? low + step : high;
    } else {
        high = guess;
        while (high > step && leaf->words[high - step] >= wanted) {
            high -= step;
            step *= 2;
        }
        low = high > step ? high - step : 0;
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (leaf->words[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* How many of [low, high) stand before it, added to low: by looking at items. */
static uint32_t search_items(const struct leaf *leaf, uint32_t low, uint32_t high,
                             const struct sought *sought) {
    if (low < high && high == leaf->count &&
        item_stands_before(leaf_item(leaf, high - 1), sought)) {
        return high; /* it is added at the end, as most ascending ones are */
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (item_stands_before(leaf_item(leaf, middle), sought)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* How many items of the leaf stand before it. */
static uint32_t leaf_search(const struct leaf *leaf, const struct sought *sought) {
    if (!sought->bound->by_score) {
        return search_items(leaf, 0, leaf->count, sought);
    }
    uint64_t tag = tag_of(leaf, sought->key);
    uint32_t low = first_of_tag(leaf, tag), high = low;
    while (high < leaf->count && leaf_tag(leaf, high) == tag) {
        high++;
    }
    return search_items(leaf, low, high, sought);
}

/* Whether so many stand outside of the scale, on this word's side, that searches suffer. */
static bool leaf_is_off(const struct leaf *leaf, uint32_t index) {
    uint64_t tag = leaf_tag(leaf, index);
    if (tag == TAG_BELOW) {
        return leaf->count > OUTSIDE_MAX && leaf_tag(leaf, OUTSIDE_MAX) == TAG_BELOW;
    }
    return tag == TAG_ABOVE && leaf->count > OUTSIDE_MAX && index + 1u < leaf->count &&
           leaf_tag(leaf, leaf->count - OUTSIDE_MAX) == TAG_ABOVE;
}

static struct leaf *leaf_new(struct shard_heap *heap, uint32_t capacity) {
    struct leaf *leaf = heap_alloc(heap, leaf_bytes(capacity));
    *leaf = (struct leaf){.capacity = (uint8_t)capacity};
    return leaf;
}

static void leaf_free(struct shard_heap *heap, struct leaf *leaf) {
    heap_release(heap, leaf, leaf_bytes(leaf->capacity));
}

/* Room for so many words, and not for many more. It may move. */
static struct leaf *leaf_fit(struct shard_heap *heap, struct leaf *leaf, uint32_t count) {
    uint32_t capacity = (count + LEAF_STEP - 1) / LEAF_STEP * LEAF_STEP;
    capacity = capacity < LEAF_MAX ? capacity : LEAF_MAX;
    if (count <= leaf->capacity && leaf->capacity <= capacity + LEAF_STEP) {
        return leaf;
    }
    leaf = heap_resize(heap, leaf, leaf_bytes(leaf->capacity), leaf_bytes(capacity));
    leaf->capacity = (uint8_t)capacity;
    return leaf;
}

/* ---- Inner nodes ---- */

static size_t inner_bytes(uint32_t capacity) {
    return sizeof(struct inner) + capacity * sizeof(struct branch);
}

static struct inner *inner_new(struct shard_heap *heap) {
    struct inner *inner = heap_alloc(heap, inner_bytes(INNER_STEP));
    *inner = (struct inner){.capacity = INNER_STEP};
    return inner;
}

static void inner_free(struct shard_heap *heap, struct inner *inner) {
    heap_release(heap, inner, inner_bytes(inner->capacity));
}

static struct inner *inner_fit(struct shard_heap *heap, struct inner *inner, uint32_t count) {
    uint32_t capacity = (count + INNER_STEP - 1) / INNER_STEP * INNER_STEP;
    if (count <= inner->capacity && inner->capacity <= capacity + INNER_STEP) {
        return inner;
    }
    inner = heap_resize(heap, inner, inner_bytes(inner->capacity), inner_bytes(capacity));
    inner->capacity = capacity;
    return inner;
}

static bool branch_stands_before(const struct branch *branch, const struct sought *sought) {
    if (sought->bound->by_score && branch->key != sought->key) {
        return branch->key < sought->key;
    }
    return member_stands_before(branch->first, sought->bound);
}

/* The last branch whose first item stands before it; the first one if none does. */
static uint32_t inner_search(const struct inner *inner, const struct sought *sought) {
    uint32_t low = 1, high = inner->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (branch_stands_before(&inner->branches[middle], sought)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

static struct branch leaf_branch(struct leaf *leaf) {
    struct tree_item *first = leaf_item(leaf, 0);
    return (struct branch){leaf, first, key_of(first->score), leaf->count};
}

static struct branch inner_branch(struct inner *inner) {
    struct branch branch = inner->branches[0];
    branch.child = inner;
    for (uint32_t i = 1; i < inner->count; i++) {
        branch.count += inner->branches[i].count;
    }
    return branch;
}

/* ---- Ways ---- */

/* The slot that says where the node at this depth is; `height` is the leaf's. */
static void **link_of(struct tree *tree, const struct path *path, uint32_t depth) {
    return depth == 0 ? &tree->root
                      : &path->nodes[depth - 1]->branches[path->indexes[depth - 1]].child;
}

static void put_leaf(struct tree *tree, struct path *path, struct leaf *leaf) {
    *link_of(tree, path, tree->height) = leaf;
    path->leaf = leaf;
}

/* To where such an item is, or would be. */
static void find_path(const struct tree *tree, const struct sought *sought, struct path *path) {
    void *node = tree->root;
    for (uint32_t depth = 0; depth < tree->height; depth++) {
        path->nodes[depth] = node;
        path->indexes[depth] = inner_search(node, sought);
        node = path->nodes[depth]->branches[path->indexes[depth]].child;
    }
    path->leaf = node;
}

/* The branch that has the item of this rank, which becomes its rank below it. Branches are passed
 * by from the end that is nearer, four at a time: `total` items are below the node. */
static uint32_t branch_of_rank(const struct inner *inner, uint64_t total, uint64_t *rank) {
    const struct branch *branches = inner->branches;
    if (*rank >= total / 2) {
        uint32_t i = inner->count;
        uint64_t before = total; /* items below the branches before the i-th */
        for (; i >= 4; i -= 4) {
            const struct branch *four = &branches[i - 4];
            uint64_t sum = four[0].count + four[1].count + four[2].count + four[3].count;
            if (before - sum <= *rank) {
                break;
            }
            before -= sum;
        }
        do {
            before -= branches[--i].count;
        } while (before > *rank);
        *rank -= before;
        return i;
    }
    uint32_t i = 0;
    for (; i + 4 <= inner->count; i += 4) {
        const struct branch *four = &branches[i];
        uint64_t sum = four[0].count + four[1].count + four[2].count + four[3].count;
        if (*rank < sum) {
            break;
        }
        *rank -= sum;
    }
    for (; *rank >= branches[i].count; i++) {
        *rank -= branches[i].count;
    }
    return i;
}

static void find_rank(const struct tree *tree, uint64_t rank, struct path *path) {
    check_slow(rank < tree->count);
    void *node = tree->root;
    uint64_t total = tree->count;
    for (uint32_t depth = 0; depth < tree->height; depth++) {
        struct inner *inner = node;
        uint32_t i = branch_of_rank(inner, total, &rank);
        total = inner->branches[i].count;
        path->nodes[depth] = inner;
        path->indexes[depth] = i;
        node = inner->branches[i].child;
    }
    path->leaf = node;
    path->index = (uint32_t)rank;
}

/* To an item that is there. */
static void find_item(const struct tree *tree, const struct tree_item *item, struct path *path) {
    struct tree_bound bound = bound_at(item, true);
    struct sought sought = seek_bound(&bound);
    find_path(tree, &sought, path);
    path->index = leaf_search(path->leaf, &sought) - 1;
    check(leaf_item(path->leaf, path->index) == item);
}

static bool is_first_leaf(const struct tree *tree, const struct path *path) {
    uint32_t depth = 0;
    while (depth < tree->height && path->indexes[depth] == 0) {
        depth++;
    }
    return depth == tree->height;
}

/* Whether the node at this depth is the last of its level. */
static bool is_last(const struct path *path, uint32_t depth) {
    while (depth > 0 && path->indexes[depth - 1] + 1 == path->nodes[depth - 1]->count) {
        depth--;
    }
    return depth == 0;
}

static bool is_last_leaf(const struct tree *tree, const struct path *path) {
    return is_last(path, tree->height);
}

static void count_changed(const struct tree *tree, const struct path *path, int64_t by) {
    for (uint32_t depth = 0; depth < tree->height; depth++) {
        path->nodes[depth]->branches[path->indexes[depth]].count += (uint64_t)by;
    }
}

/* The first item below the node at this depth is another one, or has another score. */
static void first_changed(const struct path *path, uint32_t depth, struct tree_item *first) {
    uint64_t key = key_of(first->score);
    while (depth > 0) {
        depth--;
        struct branch *branch = &path->nodes[depth]->branches[path->indexes[depth]];
        branch->first = first;
        branch->key = key;
        if (path->indexes[depth] > 0) {
            return;
        }
    }
}

/* ---- Inserting ---- */

static void grow_root(struct tree *tree, struct shard_heap *heap, struct branch old,
                      struct branch added, bool in_front) {
    check(tree->height < TREE_HEIGHT_MAX);
    struct inner *root = inner_new(heap);
    root->count = 2;
    root->branches[in_front] = old;
    root->branches[!in_front] = added;
    tree->root = root;
    tree->height++;
}

static void inner_insert(struct inner *inner, uint32_t index, struct branch branch) {
    check_slow(inner->count < inner->capacity && index <= inner->count);
    memmove(&inner->branches[index + 1], &inner->branches[index],
            (inner->count - index) * sizeof branch);
    inner->branches[index] = branch;
    inner->count++;
}

/* Divides a full node for what is to be put at `index`, with room for it in either half: all stay
 * together if it is put at the end or the beginning of the level. Returns the second half. */
static struct inner *inner_divide(struct shard_heap *heap, struct inner **inner, uint32_t index,
                                  bool is_last_node) {
    uint32_t count = (*inner)->count;
    uint32_t kept = index == count && is_last_node ? count : index == 0 ? 0 : count / 2;
    uint32_t moved = count - kept;
    struct inner *right = inner_new(heap);
    right = inner_fit(heap, right, moved < INNER_MAX ? moved + 1 : moved);
    memcpy(right->branches, &(*inner)->branches[kept], moved * sizeof(struct branch));
    right->count = moved;
    (*inner)->count = kept;
    *inner = inner_fit(heap, *inner, kept < INNER_MAX ? kept + 1 : kept);
    return right;
}

/* A node at depth + 1 has a new neighbour, before or behind it; its own branch is right already. */
static void add_branch(struct tree *tree, struct shard_heap *heap, struct path *path,
                       uint32_t depth, struct branch added, bool in_front) {
    for (;;) {
        struct inner *inner = path->nodes[depth], *right = NULL;
        uint32_t index = path->indexes[depth] + !in_front;
        if (inner->count < INNER_MAX) {
            inner = inner_fit(heap, inner, inner->count + 1);
        } else {
            right = inner_divide(heap, &inner, index, is_last(path, depth));
        }
        path->nodes[depth] = inner;
        *link_of(tree, path, depth) = inner;
        if (right == NULL) {
            inner_insert(inner, index, added);
            return;
        }
        if (index > inner->count || right->count == 0) {
            inner_insert(right, index - inner->count, added);
        } else {
            inner_insert(inner, index, added);
        }
        added = inner_branch(right);
        in_front = false;
        if (depth == 0) {
            grow_root(tree, heap, inner_branch(inner), added, false);
            return;
        }
        depth--;
        path->nodes[depth]->branches[path->indexes[depth]] = inner_branch(inner);
    }
}

/* The leaf of the path has a new neighbour. */
static void add_leaf(struct tree *tree, struct shard_heap *heap, struct path *path,
                     struct leaf *added, bool in_front) {
    leaf_rescale(added);
    struct branch branch = leaf_branch(added);
    if (tree->height == 0) {
        grow_root(tree, heap, leaf_branch(path->leaf), branch, in_front);
        return;
    }
    uint32_t depth = tree->height - 1;
    path->nodes[depth]->branches[path->indexes[depth]] = leaf_branch(path->leaf);
    add_branch(tree, heap, path, depth, branch, in_front);
}

/* Where the item is to go is full. */
static void insert_into_full(struct tree *tree, struct shard_heap *heap, struct path *path,
                             struct tree_item *item) {
    struct leaf *leaf = path->leaf;
    bool at_end = path->index == leaf->count && is_last_leaf(tree, path);
    if (at_end || (path->index == 0 && is_first_leaf(tree, path))) {
        leaf_rescale(leaf);
        struct leaf *added = leaf_new(heap, LEAF_STEP);
        added->words[0] = word_of(added, item);
        added->count = 1;
        uint32_t height = tree->height;
        add_leaf(tree, heap, path, added, !at_end);
        if (!at_end) {
            first_changed(path, height, item);
        }
        return;
    }
    struct leaf *right = leaf_new(heap, LEAF_MAX / 2 + LEAF_STEP);
    uint32_t kept = LEAF_MAX / 2;
    right->count = (uint8_t)(leaf->count - kept);
    memcpy(right->words, &leaf->words[kept], right->count * sizeof leaf->words[0]);
    leaf->count = (uint8_t)kept;
    struct leaf *to = path->index > kept ? right : leaf;
    uint32_t index = path->index > kept ? path->index - kept : path->index;
    memmove(&to->words[index + 1], &to->words[index], (to->count - index) * sizeof to->words[0]);
    to->words[index] = (uintptr_t)item;
    to->count++;
    put_leaf(tree, path, leaf_fit(heap, leaf, leaf->count));
    leaf_rescale(path->leaf);
    add_leaf(tree, heap, path, right, false);
}

void tree_insert(struct tree *tree, struct shard_heap *heap, struct tree_item *item) {
    tree->count++;
    if (tree->count == 1) {
        struct leaf *leaf = leaf_new(heap, LEAF_STEP);
        leaf->words[0] = (uintptr_t)item;
        leaf->count = 1;
        leaf_rescale(leaf);
        tree->root = leaf;
        return;
    }
    struct tree_bound bound = bound_at(item, false);
    struct sought sought = seek_bound(&bound);
    struct path path;
    find_path(tree, &sought, &path);
    struct leaf *leaf = path.leaf;
    path.index = leaf_search(leaf, &sought);
    count_changed(tree, &path, 1);
    if (leaf->count == LEAF_MAX) {
        insert_into_full(tree, heap, &path, item);
        return;
    }
    if (leaf->count == leaf->capacity) {
        leaf = leaf_fit(heap, leaf, leaf->count + 1u);
        put_leaf(tree, &path, leaf);
    }
    memmove(&leaf->words[path.index + 1], &leaf->words[path.index],
            (leaf->count - path.index) * sizeof leaf->words[0]);
    leaf->words[path.index] = word_of(leaf, item);
    leaf->count++;
    if (UNLIKELY(leaf_is_off(leaf, path.index))) {
        leaf_rescale(leaf);
    }
    if (UNLIKELY(path.index == 0)) {
        first_changed(&path, tree->height, item);
    }
}

/* ---- Removing ---- */

static void drop_branch(struct tree *tree, struct shard_heap *heap, struct path *path,
                        uint32_t depth, uint32_t index);

/* The node of the path below this depth has become small: puts it together with a neighbour, if
 * both fit into less than one. */
static void merge_below(struct tree *tree, struct shard_heap *heap, struct path *path,
                        uint32_t depth) {
    struct inner *inner = path->nodes[depth];
    uint32_t index = path->indexes[depth];
    bool leaves = depth + 1 == tree->height;
    uint32_t most = (leaves ? LEAF_MAX : INNER_MAX) / 4 * 3;
    for (uint32_t left = index > 0 ? index - 1 : 0; left <= index && left + 1 < inner->count;
         left++) {
        struct branch *to = &inner->branches[left], *from = to + 1;
        if (leaves) {
            struct leaf *a = to->child, *b = from->child;
            if (a->count + b->count > (int)most) {
                continue;
            }
            a = leaf_fit(heap, a, a->count + b->count);
            memcpy(&a->words[a->count], b->words, b->count * sizeof b->words[0]);
            a->count = (uint8_t)(a->count + b->count);
            leaf_rescale(a);
            leaf_free(heap, b);
            to->child = a;
        } else {
            struct inner *a = to->child, *b = from->child;
            if (a->count + b->count > most) {
                continue;
            }
            a = inner_fit(heap, a, a->count + b->count);
            memcpy(&a->branches[a->count], b->branches, b->count * sizeof b->branches[0]);
            a->count += b->count;
            inner_free(heap, b);
            to->child = a;
        }
        to->count += from->count;
        drop_branch(tree, heap, path, depth, left + 1);
        return;
    }
}

static void drop_branch(struct tree *tree, struct shard_heap *heap, struct path *path,
                        uint32_t depth, uint32_t index) {
    struct inner *inner = path->nodes[depth];
    inner->count--;
    memmove(&inner->branches[index], &inner->branches[index + 1],
            (inner->count - index) * sizeof inner->branches[0]);
    if (inner->count == 0) {
        check(depth > 0); /* a root has two */
        inner_free(heap, inner);
        drop_branch(tree, heap, path, depth - 1, path->indexes[depth - 1]);
        return;
    }
    if (index == 0) {
        first_changed(path, depth, inner->branches[0].first);
    }
    inner = inner_fit(heap, inner, inner->count);
    path->nodes[depth] = inner;
    *link_of(tree, path, depth) = inner;
    if (depth > 0 && inner->count < INNER_MAX / 4) {
        merge_below(tree, heap, path, depth - 1);
    }
}

/* Takes out `n` words from the path's place on. */
static void remove_words(struct tree *tree, struct shard_heap *heap, struct path *path,
                         uint32_t n) {
    struct leaf *leaf = path->leaf;
    uint32_t end = path->index + n;
    check_slow(end <= leaf->count);
    memmove(&leaf->words[path->index], &leaf->words[end],
            (leaf->count - end) * sizeof leaf->words[0]);
    leaf->count = (uint8_t)(leaf->count - n);
    tree->count -= n;
    count_changed(tree, path, -(int64_t)n);
    uint32_t depth = tree->height;
    if (leaf->count == 0) {
        leaf_free(heap, leaf);
        if (depth == 0) {
            tree->root = NULL;
            return;
        }
        drop_branch(tree, heap, path, depth - 1, path->indexes[depth - 1]);
    } else {
        if (path->index == 0) {
            first_changed(path, depth, leaf_item(leaf, 0));
        }
        put_leaf(tree, path, leaf_fit(heap, leaf, leaf->count));
        if (depth > 0 && path->leaf->count < LEAF_MAX / 4) {
            merge_below(tree, heap, path, depth - 1);
        }
    }
    while (tree->height > 0 && ((struct inner *)tree->root)->count == 1) {
        struct inner *root = tree->root;
        tree->root = root->branches[0].child;
        tree->height--;
        inner_free(heap, root);
    }
}

void tree_remove(struct tree *tree, struct shard_heap *heap, const struct tree_item *item) {
    struct path path;
    find_item(tree, item, &path);
    remove_words(tree, heap, &path, 1);
}

void tree_remove_range(struct tree *tree, struct shard_heap *heap, uint64_t rank, uint64_t count,
                       tree_item_fn *release, void *arg) {
    check(rank + count <= tree->count);
    while (count > 0) {
        struct path path;
        find_rank(tree, rank, &path);
        uint64_t here = path.leaf->count - path.index;
        uint32_t n = (uint32_t)(here < count ? here : count);
        for (uint32_t i = 0; i < n; i++) {
            release(arg, leaf_item(path.leaf, path.index + i));
        }
        remove_words(tree, heap, &path, n);
        count -= n;
    }
}

/* Whether an item may have this score where it is. */
static bool may_stay(const struct tree *tree, const struct path *path,
                     const struct tree_bound *bound) {
    const struct leaf *leaf = path->leaf;
    struct sought sought = seek_bound(bound);
    uint32_t index = path->index;
    bool after = index > 0 ? item_stands_before(leaf_item(leaf, index - 1), &sought)
                           : is_first_leaf(tree, path);
    return after &&
           (index + 1u < leaf->count ? !item_stands_before(leaf_item(leaf, index + 1), &sought)
                                     : is_last_leaf(tree, path));
}

void tree_rescore(struct tree *tree, struct shard_heap *heap, struct tree_item *item,
                  double score) {
    struct path path;
    find_item(tree, item, &path);
    struct tree_bound bound = bound_at(item, false);
    bound.score = score;
    if (!may_stay(tree, &path, &bound)) {
        remove_words(tree, heap, &path, 1);
        item->score = score;
        tree_insert(tree, heap, item);
        return;
    }
    item->score = score;
    path.leaf->words[path.index] = word_of(path.leaf, item);
    if (UNLIKELY(leaf_is_off(path.leaf, path.index))) {
        leaf_rescale(path.leaf);
    }
    if (path.index == 0) {
        first_changed(&path, tree->height, item);
    }
}

bool tree_free_some(struct tree *tree, struct shard_heap *heap, size_t *budget) {
    while (tree->root != NULL) {
        struct inner *nodes[TREE_HEIGHT_MAX];
        void *node = tree->root;
        for (uint32_t depth = 0; depth < tree->height; depth++) {
            nodes[depth] = node;
            node = nodes[depth]->branches[nodes[depth]->count - 1].child;
        }
        size_t bytes = leaf_bytes(((struct leaf *)node)->capacity);
        leaf_free(heap, node);
        uint32_t depth = tree->height;
        while (depth > 0 && --nodes[depth - 1]->count == 0) {
            inner_free(heap, nodes[--depth]);
        }
        if (depth == 0) {
            *tree = (struct tree){0};
        }
        budget_spend(budget, bytes);
        if (*budget == 0) {
            break;
        }
    }
    return tree->root == NULL;
}

uint64_t tree_relocate(struct tree *tree, struct shard_heap *heap, uint64_t rank,
                       tree_move_fn *move, void *arg, size_t *ret_copied) {
    struct path path;
    find_rank(tree, rank, &path);
    size_t copied;
    *ret_copied = 0;
    for (uint32_t depth = 0; depth < tree->height; depth++) {
        bool is_first = true; /* leaf below this node */
        for (uint32_t below = depth; below < tree->height; below++) {
            is_first &= path.indexes[below] == 0;
        }
        if (is_first) {
            struct inner *inner = path.nodes[depth];
            path.nodes[depth] = heap_relocate(heap, inner, inner_bytes(inner->capacity), &copied);
            *link_of(tree, &path, depth) = path.nodes[depth];
            *ret_copied += copied;
        }
    }
    struct leaf *leaf = path.leaf;
    put_leaf(tree, &path, heap_relocate(heap, leaf, leaf_bytes(leaf->capacity), &copied));
    *ret_copied += copied;
    leaf = path.leaf;
    for (uint32_t i = 0; i < leaf->count; i++) {
        struct tree_item *item = move(arg, leaf_item(leaf, i));
        leaf->words[i] = (leaf->words[i] & ~ADDRESS_MASK) | (uintptr_t)item;
    }
    first_changed(&path, tree->height, leaf_item(leaf, 0));
    return rank - path.index + leaf->count;
}

/* ---- Ranks ---- */

/* Items below the branches before this one, of `total` below the node: counted from the end that is
 * nearer. */
static uint64_t count_before(const struct inner *inner, uint32_t index, uint64_t total) {
    uint64_t sum = 0;
    if (index <= inner->count / 2) {
        for (uint32_t i = 0; i < index; i++) {
            sum += inner->branches[i].count;
        }
        return sum;
    }
    for (uint32_t i = index; i < inner->count; i++) {
        sum += inner->branches[i].count;
    }
    return total - sum;
}

uint64_t tree_rank_of(const struct tree *tree, const struct tree_bound *bound) {
    if (tree->root == NULL) {
        return 0;
    }
    struct sought sought = seek_bound(bound);
    const void *node = tree->root;
    uint64_t rank = 0, total = tree->count;
    for (uint32_t depth = 0; depth < tree->height; depth++) {
        const struct inner *inner = node;
        uint32_t index = inner_search(inner, &sought);
        rank += count_before(inner, index, total);
        total = inner->branches[index].count;
        node = inner->branches[index].child;
    }
    return rank + leaf_search(node, &sought);
}

uint64_t tree_rank(const struct tree *tree, const struct tree_item *item) {
    struct tree_bound bound = bound_at(item, false);
    return tree_rank_of(tree, &bound);
}

/* ---- Walking ---- */

struct tree_item *tree_at(const struct tree *tree, uint64_t rank) {
    struct path path;
    find_rank(tree, rank, &path);
    return leaf_item(path.leaf, path.index);
}

static void ask_for(const struct leaf *leaf, uint32_t index, uint32_t n, bool down) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = down ? index - i : index + i;
        if (at >= leaf->count) {
            return;
        }
        __builtin_prefetch(leaf_item(leaf, at));
    }
}

static void stand_in_leaf(struct tree_iter *iter, const struct leaf *leaf, uint32_t index) {
    iter->leaf = leaf;
    iter->index = index;
    ask_for(leaf, index, AHEAD, iter->down);
}

void tree_iter_init(struct tree_iter *iter, const struct tree *tree, uint64_t rank, bool down) {
    struct path path;
    find_rank(tree, rank, &path);
    iter->height = tree->height;
    iter->down = down;
    for (uint32_t depth = 0; depth < tree->height; depth++) {
        iter->nodes[depth] = path.nodes[depth];
        iter->indexes[depth] = path.indexes[depth];
    }
    stand_in_leaf(iter, path.leaf, path.index);
}

/* The next leaf of the walk, or none. Returns `item`, so that who needs no leaf need not keep it.
 */
static __attribute__((noinline)) const struct tree_item *next_leaf(struct tree_iter *iter,
                                                                   const struct tree_item *item) {
    uint32_t depth = iter->height;
    const struct inner *inner = NULL;
    bool over = true;
    while (over && depth > 0) {
        depth--;
        inner = iter->nodes[depth];
        over = iter->down ? iter->indexes[depth] == 0 : iter->indexes[depth] + 1 == inner->count;
    }
    if (over) {
        iter->leaf = NULL;
        return item;
    }
    iter->indexes[depth] += iter->down ? UINT32_MAX : 1;
    const void *node = inner->branches[iter->indexes[depth]].child;
    while (++depth < iter->height) {
        inner = node;
        iter->nodes[depth] = inner;
        iter->indexes[depth] = iter->down ? inner->count - 1 : 0;
        node = inner->branches[iter->indexes[depth]].child;
    }
    const struct leaf *leaf = node;
    stand_in_leaf(iter, leaf, iter->down ? leaf->count - 1u : 0);
    return item;
}

const struct tree_item *tree_iter_next(struct tree_iter *iter) {
    const struct leaf *leaf = iter->leaf;
    if (leaf == NULL) {
        return NULL;
    }
    const struct tree_item *item = leaf_item(leaf, iter->index);
    iter->index += iter->down ? UINT32_MAX : 1;
    if (UNLIKELY(iter->index >= leaf->count)) {
        return next_leaf(iter, item);
    }
    uint32_t ahead = iter->down ? iter->index - (AHEAD - 1) : iter->index + (AHEAD - 1);
    ask_for(leaf, ahead, 1, false);
    return item;
}

/* ---- All of it ---- */

static size_t node_bytes(const void *node, uint32_t height) {
    if (height == 0) {
        return heap_block_bytes(leaf_bytes(((const struct leaf *)node)->capacity));
    }
    const struct inner *inner = node;
    size_t bytes = heap_block_bytes(inner_bytes(inner->capacity));
    for (uint32_t i = 0; i < inner->count; i++) {
        bytes += node_bytes(inner->branches[i].child, height - 1);
    }
    return bytes;
}

size_t tree_bytes(const struct tree *tree) {
    return tree->root != NULL ? node_bytes(tree->root, tree->height) : 0;
}

static void verify_leaf(const struct leaf *leaf, const struct tree_item **before) {
    check(leaf->count > 0 && leaf->count <= leaf->capacity && leaf->capacity <= LEAF_MAX);
    for (uint32_t i = 0; i < leaf->count; i++) {
        const struct tree_item *item = leaf_item(leaf, i);
        check(leaf->words[i] == word_of(leaf, item));
        if (*before != NULL) {
            struct tree_bound bound = bound_at(item, false);
            struct sought sought = seek_bound(&bound);
            check(item_stands_before(*before, &sought)); /* inv. 1 */
        }
        check(i == 0 || leaf_tag(leaf, i) >= leaf_tag(leaf, i - 1));
        *before = item;
    }
}

/* Returns how many items there are below. */
static uint64_t verify_node(const void *node, uint32_t height, const struct tree_item **before) {
    if (height == 0) {
        verify_leaf(node, before);
        return ((const struct leaf *)node)->count;
    }
    const struct inner *inner = node;
    check(inner->count > 0 && inner->count <= inner->capacity && inner->capacity <= INNER_MAX);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < inner->count; i++) {
        const struct branch *branch = &inner->branches[i];
        const void *child = branch->child;
        for (uint32_t below = height - 1; below > 0; below--) {
            child = ((const struct inner *)child)->branches[0].child;
        }
        check(branch->first == leaf_item(child, 0)); /* inv. 2 */
        check(branch->key == key_of(branch->first->score));
        check(verify_node(branch->child, height - 1, before) == branch->count);
        sum += branch->count;
    }
    return sum;
}

void tree_verify(const struct tree *tree) {
    if (tree->root == NULL) {
        check(tree->count == 0 && tree->height == 0);
        return;
    }
    check(tree->height == 0 || ((const struct inner *)tree->root)->count >= 2); /* inv. 3 */
    const struct tree_item *before = NULL;
    check(verify_node(tree->root, tree->height, &before) == tree->count);
}
