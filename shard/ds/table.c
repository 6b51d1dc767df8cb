/* SPDX-License-Identifier: BSD-3-Clause */
/* A hash table without holes.
 *
 * Items stand in the order of their hashes. A leaf is an array of words, each an item's address and
 * 16 bits of its hash, the tag. Hashes are even, so the place of a tag among n words is n * tag /
 * 65536, give or take sqrt(n) / 2 words: a lookup goes to a guessed word and walks the few steps
 * that are left, mostly within one cache line.
 *
 *     root ---> [ a a b d f f h k ... ]                       up to 256 words
 *
 *     root ---> node -+-> leaf        a leaf that is full becomes a node with 16 leaves,
 *                     +-> leaf        each for the next 4 bits of the hash; its tags are
 *                     +-> node -+-> leaf    the 16 bits after those of its path
 *
 * Why not the usual table with empty cells: at the density we want (8.5 bytes an item instead of 9
 * or more) its inserts shift as many words as ours do, and it must double or split its directory.
 * Here growth is: one leaf gets a slightly larger block, or one leaf of 256 is divided. Nothing
 * else ever happens, however many items there are. And order by hash makes walking trivial: a place
 * is a prefix of a hash, whatever the shape of the trie is then.
 *
 * A reference to a leaf carries its count in the upper 16 bits, so that a lookup does not read the
 * leaf's header.
 *
 * At depth 12 the path has used 48 bits and the tag the rest: a leaf there cannot be divided and
 * may grow without bound (its count moves to its header). With a keyed hash only tests ever see
 * one.
 *
 * Invariants:
 *  1. Words of a leaf ascend by tag; a leaf is never empty (its reference is 0 then).
 *  2. count <= capacity < 2 * count + 8.
 *  3. node->count is the number of items below it and more than MERGE_MAX; so all children of a
 *     node that is about to fall to MERGE_MAX are leaves.
 */
#include "shard/ds/table.h"

#include "base/check.h"
#include "shard/memory/heap.h"

#include <assert.h>
#include <string.h>

/* A node with this many items becomes a leaf again: well below what divides one, against flapping.
 */
#define MERGE_MAX 128

#define TAG_BITS 16

static inline uint64_t make_ref(void *block, uint64_t upper) {
    return upper << 48 | (uint64_t)(uintptr_t)block;
}

static inline bool is_node(uint64_t ref) {
    return ref >> 48 == TABLE_REF_NODE;
}

static inline uint64_t leaf_ref(struct table_leaf *leaf, uint32_t count, unsigned depth) {
    if (count <= TABLE_LEAF_MAX) {
        return make_ref(leaf, count);
    }
    check(depth == TABLE_DEPTH_MAX);
    leaf->long_count = count;
    return make_ref(leaf, TABLE_REF_LONG);
}

static inline uint64_t tag_at(uint64_t hash, unsigned depth) {
    return hash << (depth * TABLE_FANOUT_BITS) >> (64 - TAG_BITS);
}

static inline unsigned child_at(uint64_t hash, unsigned depth) {
    return (unsigned)(hash << (depth * TABLE_FANOUT_BITS) >> (64 - TABLE_FANOUT_BITS));
}

static inline uint64_t make_word(uint64_t tag, const void *item) {
    check((uint64_t)(uintptr_t)item >> 48 == 0);
    return tag << 48 | (uint64_t)(uintptr_t)item;
}

/* ---- Leaves ---- */

static inline size_t leaf_bytes(uint32_t capacity) {
    return sizeof(struct table_leaf) + (size_t)capacity * sizeof(uint64_t);
}

/* Room for count words and about a sixteenth more, in steps that let blocks of few different sizes
 * be reused. */
static uint32_t capacity_for(uint32_t count) {
    uint32_t words = count + (count < 16 ? 1 : count / 16);
    if (words > 16) {
        words = (words + 4) / 4 * 4 - 1;
    }
    return (uint32_t)((heap_block_bytes(leaf_bytes(words)) - sizeof(struct table_leaf)) /
                      sizeof(uint64_t));
}

static struct table_leaf *leaf_new(struct shard_heap *heap, uint32_t count) {
    uint32_t capacity = capacity_for(count);
    struct table_leaf *leaf = heap_alloc(heap, leaf_bytes(capacity));
    leaf->capacity = capacity;
    leaf->long_count = 0;
    return leaf;
}

static void leaf_free(struct shard_heap *heap, struct table_leaf *leaf) {
    heap_release(heap, leaf, leaf_bytes(leaf->capacity));
}

static struct table_leaf *leaf_fit(struct shard_heap *heap, struct table_leaf *leaf,
                                   uint32_t count) {
    uint32_t capacity = capacity_for(count);
    if (capacity == leaf->capacity) {
        return leaf;
    }
    leaf = heap_resize(heap, leaf, leaf_bytes(leaf->capacity), leaf_bytes(capacity));
    leaf->capacity = capacity;
    return leaf;
}

/* The first word whose tag is at least `tag`. */
static uint32_t leaf_lower(const struct table_leaf *leaf, uint32_t count, uint64_t tag) {
    uint64_t lowest = tag << 48;
    uint32_t i = table_guess(tag, count);
    while (i < count && leaf->words[i] < lowest) {
        i++;
    }
    while (i > 0 && leaf->words[i - 1] >= lowest) {
        i--;
    }
    return i;
}

static uint64_t leaf_insert(struct shard_heap *heap, uint64_t ref, unsigned depth, uint64_t tag,
                            void *item) {
    if (ref == 0) {
        struct table_leaf *leaf = leaf_new(heap, 1);
        leaf->words[0] = make_word(tag, item);
        return leaf_ref(leaf, 1, depth);
    }
    struct table_leaf *leaf = table_address(ref);
    uint32_t count = table_leaf_count(ref);
    if (count == leaf->capacity) {
        leaf = leaf_fit(heap, leaf, count + 1);
    }
    uint32_t i = leaf_lower(leaf, count, tag);
    memmove(&leaf->words[i + 1], &leaf->words[i], (count - i) * sizeof(uint64_t));
    leaf->words[i] = make_word(tag, item);
    return leaf_ref(leaf, count + 1, depth);
}

/* UINT32_MAX: not there. */
static uint32_t leaf_find(const struct table_leaf *leaf, uint32_t count, uint64_t tag,
                          const void *item) {
    uint64_t word = make_word(tag, item);
    for (uint32_t i = leaf_lower(leaf, count, tag); i < count && leaf->words[i] >> 48 == tag; i++) {
        if (leaf->words[i] == word) {
            return i;
        }
    }
    return UINT32_MAX;
}

static uint64_t leaf_remove(struct shard_heap *heap, uint64_t ref, unsigned depth, uint32_t index) {
    struct table_leaf *leaf = table_address(ref);
    uint32_t count = table_leaf_count(ref) - 1;
    if (count == 0) {
        leaf_free(heap, leaf);
        return 0;
    }
    memmove(&leaf->words[index], &leaf->words[index + 1], (count - index) * sizeof(uint64_t));
    if (leaf->capacity >= 2 * count + 8) {
        leaf = leaf_fit(heap, leaf, count);
    }
    return leaf_ref(leaf, count, depth);
}

/* ---- Dividing and merging ---- */

/* Hashes are computed anew from the items, whose memory is asked for beforehand. */
static void hash_items(const struct table_env *env, const struct table_leaf *leaf, uint32_t count,
                       uint64_t *hashes) {
    for (uint32_t i = 0; i < count; i++) {
        const char *item = table_address(leaf->words[i]);
        __builtin_prefetch(item);
        __builtin_prefetch(item + 24);
    }
    for (uint32_t i = 0; i < count; i++) {
        hashes[i] = env->hash(env->arg, table_address(leaf->words[i]));
    }
}

/* The words from `first` to `last` of a leaf become a leaf one level down. */
static uint64_t make_child(struct shard_heap *heap, const uint64_t *words, const uint64_t *hashes,
                           uint32_t count, unsigned depth) {
    struct table_leaf *leaf = leaf_new(heap, count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t word = make_word(tag_at(hashes[i], depth), table_address(words[i]));
        uint32_t j = i;
        for (; j > 0 && leaf->words[j - 1] > word; j--) {
            leaf->words[j] = leaf->words[j - 1];
        }
        leaf->words[j] = word;
    }
    return leaf_ref(leaf, count, depth);
}

/* A full leaf at `depth` becomes a node of leaves. */
static uint64_t leaf_divide(const struct table_env *env, uint64_t ref, unsigned depth) {
    struct table_leaf *leaf = table_address(ref);
    uint32_t count = table_leaf_count(ref);
    check(count == TABLE_LEAF_MAX && depth < TABLE_DEPTH_MAX);
    uint64_t hashes[TABLE_LEAF_MAX];
    hash_items(env, leaf, count, hashes);

    struct table_node *node = heap_alloc(env->heap, sizeof(*node));
    memset(node, 0, sizeof(*node));
    node->count = count;
    for (uint32_t first = 0; first < count;) {
        unsigned child = (unsigned)(leaf->words[first] >> (64 - TABLE_FANOUT_BITS));
        uint32_t last = first;
        while (last < count && leaf->words[last] >> (64 - TABLE_FANOUT_BITS) == child) {
            last++;
        }
        node->children[child] =
            make_child(env->heap, &leaf->words[first], &hashes[first], last - first, depth + 1);
        first = last;
    }
    leaf_free(env->heap, leaf);
    return make_ref(node, TABLE_REF_NODE);
}

/* A node with few items becomes a leaf. A tag one level up is the child's number and the upper 12
 * bits of the tag. */
static uint64_t node_merge(struct shard_heap *heap, uint64_t ref, unsigned depth) {
    struct table_node *node = table_address(ref);
    struct table_leaf *merged = leaf_new(heap, (uint32_t)node->count);
    uint32_t count = 0;
    for (uint64_t child = 0; child < TABLE_FANOUT; child++) {
        uint64_t child_ref = node->children[child];
        if (child_ref == 0) {
            continue;
        }
        check(!is_node(child_ref));
        struct table_leaf *leaf = table_address(child_ref);
        uint32_t n = table_leaf_count(child_ref);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t tag = leaf->words[i] >> 48;
            uint64_t upper = child << (TAG_BITS - TABLE_FANOUT_BITS) | tag >> TABLE_FANOUT_BITS;
            merged->words[count++] = make_word(upper, table_address(leaf->words[i]));
        }
        leaf_free(heap, leaf);
    }
    check(count == node->count);
    heap_release(heap, node, sizeof(*node));
    return leaf_ref(merged, count, depth);
}

/* ---- Change ---- */

void table_insert(struct table *table, const struct table_env *env, uint64_t hash, void *item) {
    uint64_t *ref = &table->root;
    unsigned depth = 0;
    for (;;) {
        if (*ref >> 48 == TABLE_LEAF_MAX && depth < TABLE_DEPTH_MAX) {
            *ref = leaf_divide(env, *ref, depth);
        }
        if (!is_node(*ref)) {
            break;
        }
        struct table_node *node = table_address(*ref);
        node->count++;
        ref = &node->children[child_at(hash, depth)];
        depth++;
    }
    *ref = leaf_insert(env->heap, *ref, depth, tag_at(hash, depth), item);
    table->count++;
    check(table->count != UINT32_MAX);
}

bool table_remove(struct table *table, const struct table_env *env, uint64_t hash,
                  const void *item) {
    unsigned depth;
    uint64_t found_ref = table_descend(table->root, hash, &depth);
    if (found_ref == 0) {
        return false;
    }
    uint32_t index =
        leaf_find(table_address(found_ref), table_leaf_count(found_ref), tag_at(hash, depth), item);
    if (index == UINT32_MAX) {
        return false;
    }
    uint64_t *merge_ref = NULL;
    unsigned merge_depth = 0;
    uint64_t *ref = &table->root;
    for (depth = 0; is_node(*ref); depth++) {
        struct table_node *node = table_address(*ref);
        node->count--;
        if (node->count <= MERGE_MAX) {
            merge_ref = ref;
            merge_depth = depth;
        }
        ref = &node->children[child_at(hash, depth)];
    }
    *ref = leaf_remove(env->heap, *ref, depth, index);
    /* Nodes of one child fall to the limit together: the lowest first, then those above it. */
    while (merge_ref) {
        *merge_ref = node_merge(env->heap, *merge_ref, merge_depth);
        ref = merge_ref;
        merge_ref = NULL;
        uint64_t *upper = &table->root;
        for (depth = 0; upper != ref; depth++) {
            struct table_node *node = table_address(*upper);
            if (node->count <= MERGE_MAX) {
                merge_ref = upper;
                merge_depth = depth;
            }
            upper = &node->children[child_at(hash, depth)];
        }
    }
    table->count--;
    return true;
}

void table_replace(struct table *table, uint64_t hash, const void *old_item, void *new_item) {
    unsigned depth;
    uint64_t ref = table_descend(table->root, hash, &depth);
    check(ref != 0);
    struct table_leaf *leaf = table_address(ref);
    uint64_t tag = tag_at(hash, depth);
    uint32_t index = leaf_find(leaf, table_leaf_count(ref), tag, old_item);
    check(index != UINT32_MAX);
    leaf->words[index] = make_word(tag, new_item);
}

/* Drains the rightmost leaf below *ref; frees nodes that are left without items. */
static uint64_t drain_last_leaf(struct shard_heap *heap, uint64_t *ref, unsigned depth,
                                uint64_t max, table_item_fn *release, void *arg) {
    if (is_node(*ref)) {
        struct table_node *node = table_address(*ref);
        unsigned child = TABLE_FANOUT - 1;
        while (node->children[child] == 0) {
            check(child > 0);
            child--;
        }
        uint64_t taken =
            drain_last_leaf(heap, &node->children[child], depth + 1, max, release, arg);
        node->count -= taken;
        if (node->count == 0) {
            heap_release(heap, node, sizeof(*node));
            *ref = 0;
        }
        return taken;
    }
    struct table_leaf *leaf = table_address(*ref);
    uint32_t count = table_leaf_count(*ref);
    uint32_t keep = count > max ? count - (uint32_t)max : 0;
    for (uint32_t i = keep; i < count; i++) {
        __builtin_prefetch(table_address(leaf->words[i]));
    }
    for (uint32_t i = count; i > keep; i--) {
        release(arg, table_address(leaf->words[i - 1]));
    }
    if (keep == 0) {
        leaf_free(heap, leaf);
        *ref = 0;
    } else {
        *ref = leaf_ref(leaf, keep, depth);
    }
    return count - keep;
}

uint64_t table_drain(struct table *table, const struct table_env *env, uint64_t max,
                     table_item_fn *release, void *arg) {
    uint64_t taken = 0;
    while (taken < max && table->root) {
        uint64_t n = drain_last_leaf(env->heap, &table->root, 0, max - taken, release, arg);
        taken += n;
        table->count -= (uint32_t)n;
    }
    return taken;
}

/* ---- All items ---- */

struct walk {
    const struct table_env *env;
    uint64_t place;
    uint64_t end;
    uint64_t stop; /* may end here or later: the next place with few bits behind what was visited */
    uint64_t stop_step;
    uint64_t min_items;
    uint64_t visited;
    table_item_fn *visit;
    void *arg;
};

/* What a walk may stop between are prefixes of hashes of this many bits. In a table of up to 2^17
 * items, or of any size, about one item has each, so hardly more are visited than were asked for.
 */
static unsigned stop_bits(uint32_t count) {
    static_assert(TABLE_STOP_BITS_MAX == 8 * sizeof(count), "no table has more items");
    unsigned bits = count ? 32 - (unsigned)__builtin_clz(count) : 0;
    return bits > TABLE_STOP_BITS_MIN ? bits : TABLE_STOP_BITS_MIN;
}

/* The place from `low` (not 0) to `high` that takes the fewest leading bits to say. */
static uint64_t shortest_place(uint64_t low, uint64_t high) {
    unsigned drop = 63 - (unsigned)__builtin_clzll((low - 1) ^ high);
    return high >> drop << drop;
}

/* Upper 48 bits of the hashes that have this path and tag, and how far the next such group is. */
static inline uint64_t group_place(uint64_t path, unsigned depth, uint64_t tag,
                                   uint64_t *ret_next) {
    unsigned known = depth * TABLE_FANOUT_BITS + TAG_BITS;
    uint64_t bits = path << TAG_BITS | tag;
    if (known <= TABLE_PLACE_BITS) {
        *ret_next = (bits + 1) << (TABLE_PLACE_BITS - known);
        return bits << (TABLE_PLACE_BITS - known);
    }
    uint64_t place = bits >> (known - TABLE_PLACE_BITS);
    *ret_next = place + 1;
    return place;
}

/* Visits the groups of one leaf from walk->place on and moves walk->place behind what was visited.
 * False: stop here. Every place from walk->stop to the next group is as good as any other to go on
 * from, as nothing lies between. */
static bool walk_leaf(struct walk *walk, uint64_t ref, unsigned depth) {
    const struct table_leaf *leaf = table_address(ref);
    uint32_t count = table_leaf_count(ref);
    unsigned path_bits = depth * TABLE_FANOUT_BITS;
    uint64_t path = walk->place >> (TABLE_PLACE_BITS - path_bits);
    uint32_t i = leaf_lower(leaf, count, tag_at(walk->place << (64 - TABLE_PLACE_BITS), depth));
    while (i < count) {
        uint64_t next;
        uint64_t place = group_place(path, depth, leaf->words[i] >> 48, &next);
        if (place >= walk->end) {
            walk->place = walk->end;
            return false;
        }
        if (walk->visited >= walk->min_items && place >= walk->stop) {
            walk->place = shortest_place(walk->stop, place);
            return false;
        }
        uint64_t same = place;
        do {
            const void *item = table_address(leaf->words[i]);
            /* The walk may stand inside this group: it began when the trie was deeper here. */
            if (place >= walk->place ||
                table_place(walk->env->hash(walk->env->arg, item)) >= walk->place) {
                walk->visit(walk->arg, (void *)(uintptr_t)item);
                walk->visited++;
            }
            i++;
            if (i < count) {
                uint64_t unused;
                same = group_place(path, depth, leaf->words[i] >> 48, &unused);
            }
        } while (i < count && same == place);
        walk->place = next;
        walk->stop = (next + walk->stop_step - 1) & ~(walk->stop_step - 1);
    }
    walk->place = (path + 1) << (TABLE_PLACE_BITS - path_bits);
    return true;
}

uint64_t table_walk(const struct table *table, const struct table_env *env, uint64_t place,
                    uint64_t end, uint64_t min_items, table_item_fn *visit, void *arg) {
    struct walk walk = {
        .env = env,
        .place = place,
        .end = end,
        .stop_step = UINT64_C(1) << (TABLE_PLACE_BITS - stop_bits(table->count)),
        .min_items = min_items ? min_items : 1,
        .visit = visit,
        .arg = arg,
    };
    while (walk.place < end) {
        unsigned depth;
        uint64_t ref = table_descend(table->root, walk.place << (64 - TABLE_PLACE_BITS), &depth);
        if (ref == 0) {
            unsigned below = TABLE_PLACE_BITS - depth * TABLE_FANOUT_BITS;
            walk.place = ((walk.place >> below) + 1) << below;
        } else if (!walk_leaf(&walk, ref, depth)) {
            break;
        }
    }
    return walk.place;
}

const uint64_t *table_leaf_at(const struct table *table, uint64_t *place, uint32_t *ret_count) {
    while (*place < TABLE_PLACE_END) {
        unsigned depth;
        uint64_t ref = table_descend(table->root, *place << (64 - TABLE_PLACE_BITS), &depth);
        unsigned below = TABLE_PLACE_BITS - depth * TABLE_FANOUT_BITS;
        *place = ((*place >> below) + 1) << below;
        if (ref != 0) {
            *ret_count = table_leaf_count(ref);
            return ((const struct table_leaf *)table_address(ref))->words;
        }
    }
    return NULL;
}

uint64_t table_relocate(struct table *table, struct shard_heap *heap, uint64_t place,
                        table_move_fn *move, void *arg, size_t *ret_copied) {
    uint64_t hash = place << (64 - TABLE_PLACE_BITS);
    uint64_t *ref = &table->root;
    unsigned depth = 0;
    size_t copied;
    *ret_copied = 0;
    while (is_node(*ref)) {
        *ref =
            make_ref(heap_relocate(heap, table_address(*ref), sizeof(struct table_node), &copied),
                     TABLE_REF_NODE);
        *ret_copied += copied;
        ref = &((struct table_node *)table_address(*ref))->children[child_at(hash, depth)];
        depth++;
    }
    unsigned below = TABLE_PLACE_BITS - depth * TABLE_FANOUT_BITS;
    if (*ref) {
        struct table_leaf *leaf = table_address(*ref);
        if (leaf_bytes(leaf->capacity) <= HEAP_SLAB_BLOCK_MAX) {
            leaf = heap_relocate(heap, leaf, leaf_bytes(leaf->capacity), &copied);
            *ret_copied += copied;
            *ref = make_ref(leaf, *ref >> 48);
        }
        uint32_t count = table_leaf_count(*ref);
        for (uint32_t i = 0; i < count; i++) {
            __builtin_prefetch(table_address(leaf->words[i]));
        }
        for (uint32_t i = 0; i < count; i++) {
            uint64_t word = leaf->words[i];
            leaf->words[i] = make_word(word >> 48, move(arg, table_address(word)));
        }
    }
    return ((place >> below) + 1) << below;
}

static uint64_t ref_items(uint64_t ref) {
    if (ref == 0) {
        return 0;
    }
    return is_node(ref) ? ((struct table_node *)table_address(ref))->count : table_leaf_count(ref);
}

void *table_at(const struct table *table, uint64_t index) {
    check(index < table->count);
    uint64_t ref = table->root;
    while (is_node(ref)) {
        const struct table_node *node = table_address(ref);
        unsigned child = 0;
        for (uint64_t n; (n = ref_items(node->children[child])) <= index; child++) {
            index -= n;
        }
        ref = node->children[child];
    }
    return table_address(((struct table_leaf *)table_address(ref))->words[index]);
}

static size_t ref_bytes(uint64_t ref) {
    if (ref == 0) {
        return 0;
    }
    if (!is_node(ref)) {
        return heap_block_bytes(leaf_bytes(((struct table_leaf *)table_address(ref))->capacity));
    }
    const struct table_node *node = table_address(ref);
    size_t bytes = heap_block_bytes(sizeof(*node));
    for (unsigned i = 0; i < TABLE_FANOUT; i++) {
        bytes += ref_bytes(node->children[i]);
    }
    return bytes;
}

size_t table_bytes(const struct table *table) {
    return ref_bytes(table->root);
}

/* ---- Verification ---- */

static uint64_t ref_verify(const struct table_env *env, uint64_t ref, uint64_t path,
                           unsigned depth) {
    if (ref == 0) {
        return 0;
    }
    check(depth <= TABLE_DEPTH_MAX);
    if (is_node(ref)) {
        const struct table_node *node = table_address(ref);
        uint64_t count = 0;
        for (uint64_t i = 0; i < TABLE_FANOUT; i++) {
            count += ref_verify(env, node->children[i], path << TABLE_FANOUT_BITS | i, depth + 1);
        }
        check(count == node->count && count > MERGE_MAX);
        return count;
    }
    const struct table_leaf *leaf = table_address(ref);
    uint32_t count = table_leaf_count(ref);
    check(count > 0 && count <= leaf->capacity && leaf->capacity < 2 * count + 8);
    check(count <= TABLE_LEAF_MAX || depth == TABLE_DEPTH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = env->hash(env->arg, table_address(leaf->words[i]));
        check(depth == 0 || hash >> (64 - depth * TABLE_FANOUT_BITS) == path);
        check(leaf->words[i] >> 48 == tag_at(hash, depth));
        check(i == 0 || leaf->words[i - 1] >> 48 <= leaf->words[i] >> 48);
    }
    return count;
}

void table_verify(const struct table *table, const struct table_env *env) {
    check(ref_verify(env, table->root, 0, 0) == table->count);
}
