/* SPDX-License-Identifier: BSD-3-Clause */
/* Large sorted sets.
 *
 * A walk goes by the table, in the order of hashes: so ZSCAN sees what is there all the while. A
 * copy goes by the tree, whose leaves are full then.
 */
#include "shard/types/zset_tree.h"

#include "base/budget.h"
#include "base/check.h"
#include "base/hash.h"
#include "shard/keys/keyspace.h"
#include "shard/memory/heap.h"

static uint64_t hash_item(const void *arg, const void *item) {
    const struct hash_secret *secret = arg;
    return hash_bytes(secret->bytes, tree_item_member(item));
}

static struct table_env env_of(struct shard_heap *heap, const struct zset_tree *zset) {
    return (struct table_env){heap, hash_item, zset->secret};
}

struct zset_tree *zset_tree_new(struct shard_heap *heap, const struct hash_secret *secret) {
    struct zset_tree *zset = heap_alloc(heap, sizeof *zset);
    *zset = (struct zset_tree){.memory = heap_block_bytes(sizeof *zset), .secret = secret};
    return zset;
}

uint64_t zset_tree_hash(const struct zset_tree *zset, struct bytes member) {
    return hash_bytes(zset->secret->bytes, member);
}

struct tree_item *zset_tree_find(const struct zset_tree *zset, uint64_t hash, struct bytes member) {
    struct table_probe probe = table_probe(&zset->members, hash);
    struct tree_item *item = table_probe_next(&probe);
    while (item != NULL && !bytes_equal(tree_item_member(item), member)) {
        item = table_probe_next(&probe);
    }
    return item;
}

/* ---- Changes: each says what the heap has given or taken back ---- */

void zset_tree_add(struct shard_heap *heap, struct zset_tree *zset, uint64_t hash,
                   struct bytes member, double score) {
    size_t before = heap_used(heap);
    struct table_env env = env_of(heap, zset);
    struct tree_item *item = tree_item_new(heap, member, score);
    tree_insert(&zset->tree, heap, item);
    table_insert(&zset->members, &env, hash, item);
    zset->memory += heap_used(heap) - before;
}

void zset_tree_rescore(struct shard_heap *heap, struct zset_tree *zset, struct tree_item *item,
                       double score) {
    size_t before = heap_used(heap);
    tree_rescore(&zset->tree, heap, item, score);
    zset->memory += heap_used(heap) - before;
}

void zset_tree_remove(struct shard_heap *heap, struct zset_tree *zset, uint64_t hash,
                      struct tree_item *item) {
    size_t before = heap_used(heap);
    struct table_env env = env_of(heap, zset);
    check(table_remove(&zset->members, &env, hash, item));
    tree_remove(&zset->tree, heap, item);
    tree_item_free(heap, item);
    zset->memory += heap_used(heap) - before;
}

struct removal {
    struct shard_heap *heap;
    struct zset_tree *zset;
};

static void remove_item(void *arg, struct tree_item *item) {
    const struct removal *removal = arg;
    struct table_env env = env_of(removal->heap, removal->zset);
    uint64_t hash = hash_item(removal->zset->secret, item);
    check(table_remove(&removal->zset->members, &env, hash, item));
    tree_item_free(removal->heap, item);
}

void zset_tree_remove_range(struct shard_heap *heap, struct zset_tree *zset, uint64_t rank,
                            uint64_t count) {
    size_t before = heap_used(heap);
    struct removal removal = {heap, zset};
    tree_remove_range(&zset->tree, heap, rank, count, remove_item, &removal);
    zset->memory += heap_used(heap) - before;
}

/* To add one costs as much as to take out some. */
#define COST_OF_ADDING 8
/* So many are taken out in less than a millisecond. */
#define ONE_BY_ONE_MAX 2000

static void copy_items(struct shard_heap *heap, const struct zset_tree *from, struct zset_tree *to,
                       uint64_t rank, uint64_t end) {
    if (rank == end) {
        return;
    }
    struct tree_iter iter;
    tree_iter_init(&iter, &from->tree, rank, false);
    for (; rank < end; rank++) {
        const struct tree_item *item = tree_iter_next(&iter);
        struct bytes member = tree_item_member(item);
        zset_tree_add(heap, to, zset_tree_hash(from, member), member, item->score);
    }
}

struct zset_tree *zset_tree_without(struct shard_heap *heap, const struct zset_tree *zset,
                                    uint64_t rank, uint64_t count) {
    uint64_t left = zset->tree.count - count;
    if (count < ONE_BY_ONE_MAX || count / COST_OF_ADDING < left) {
        return NULL;
    }
    struct zset_tree *rest = zset_tree_new(heap, zset->secret);
    copy_items(heap, zset, rest, 0, rank);
    copy_items(heap, zset, rest, rank + count, zset->tree.count);
    return rest;
}

/* ---- The form ---- */

static const char *encoding(const struct value *value) {
    (void)value;
    return "skiplist";
}

static uint64_t count(const struct value *value) {
    return ((const struct zset_tree *)value->root)->tree.count;
}

static size_t memory(const struct value *value) {
    return ((const struct zset_tree *)value->root)->memory;
}

struct visitor {
    value_element_fn *visit;
    void *arg;
};

static void visit_item(void *arg, void *item_ptr) {
    const struct visitor *visitor = arg;
    const struct tree_item *item = item_ptr;
    struct value_element element = {.first = tree_item_member(item), .score = item->score};
    visitor->visit(visitor->arg, &element);
}

static uint64_t walk(const struct value *value, uint64_t cursor, uint64_t min_items,
                     value_element_fn *visit, void *arg) {
    const struct zset_tree *zset = value->root;
    struct visitor visitor = {visit, arg};
    struct table_env env = env_of(NULL, zset);
    uint64_t place = table_walk(&zset->members, &env, table_cursor_place(cursor), TABLE_PLACE_END,
                                min_items, visit_item, &visitor);
    return place < TABLE_PLACE_END ? table_cursor(place) : 0;
}

static void verify(const struct value *value) {
    const struct zset_tree *zset = value->root;
    struct table_env env = env_of(NULL, zset);
    table_verify(&zset->members, &env);
    tree_verify(&zset->tree);
    check(zset->members.count == zset->tree.count);
    size_t bytes =
        heap_block_bytes(sizeof *zset) + table_bytes(&zset->members) + tree_bytes(&zset->tree);
    if (zset->tree.count > 0) {
        struct tree_iter iter;
        tree_iter_init(&iter, &zset->tree, 0, false);
        for (const struct tree_item *item; (item = tree_iter_next(&iter)) != NULL;) {
            struct bytes member = tree_item_member(item);
            check(zset_tree_find(zset, zset_tree_hash(zset, member), member) == item);
            bytes += heap_block_bytes(tree_item_bytes(member.len));
        }
    }
    check(bytes == zset->memory);
}

static void free_item(void *arg, void *item) {
    tree_item_free(arg, item);
}

/* Items that are freed between two looks at the budget, and what each is reckoned at: it is
 * somewhere in memory. */
#define ITEMS_A_STEP 64
#define ITEM_COST    64

static bool free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    struct zset_tree *zset = value->root;
    size_t before = heap_used(heap);
    bool done = tree_free_some(&zset->tree, heap, budget);
    struct table_env env = env_of(heap, zset);
    while (done && zset->members.count > 0) {
        done = *budget > 0;
        if (done) {
            budget_spend(budget, ITEM_COST * table_drain(&zset->members, &env, ITEMS_A_STEP,
                                                         free_item, heap));
        }
    }
    zset->memory += heap_used(heap) - before;
    if (done) {
        heap_release(heap, zset, sizeof *zset);
        value->root = NULL;
    }
    return done;
}

static bool copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                      uint64_t *cursor, size_t *budget) {
    const struct zset_tree *zset = from->root;
    if (*cursor == 0) {
        to->root = zset_tree_new(heap, zset->secret);
    }
    if (*cursor == zset->tree.count) {
        return true;
    }
    struct tree_iter iter;
    tree_iter_init(&iter, &zset->tree, *cursor, false);
    const struct tree_item *item;
    do {
        item = tree_iter_next(&iter);
        struct bytes member = tree_item_member(item);
        zset_tree_add(heap, to->root, zset_tree_hash(zset, member), member, item->score);
        budget_spend(budget, ITEM_COST + member.len);
        ++*cursor;
    } while (*budget > 0 && *cursor < zset->tree.count);
    return *cursor == zset->tree.count;
}

struct mover {
    struct shard_heap *heap;
    struct zset_tree *zset;
    size_t copied;
};

static struct tree_item *move_item(void *arg, struct tree_item *item) {
    struct mover *mover = arg;
    size_t bytes = tree_item_bytes(tree_item_member(item).len), copied = 0;
    if (bytes > HEAP_SLAB_BLOCK_MAX) {
        return item;
    }
    struct tree_item *moved = heap_relocate(mover->heap, item, bytes, &copied);
    if (moved != item) {
        table_replace(&mover->zset->members, hash_item(mover->zset->secret, moved), item, moved);
    }
    mover->copied += copied;
    return moved;
}

static void *move_no_item(void *arg, void *item) {
    (void)arg;
    return item;
}

/* A cursor is a rank in the tree, or behind all of those a place in the table. */
#define CURSOR_TABLE (UINT64_C(1) << 63)

static bool relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                          size_t *budget) {
    struct mover mover = {.heap = heap};
    size_t copied;
    if (*cursor == 0) {
        value->root = heap_relocate(heap, value->root, sizeof *mover.zset, &copied);
        budget_spend(budget, copied);
    }
    struct zset_tree *zset = mover.zset = value->root;
    do {
        uint64_t from = *cursor;
        mover.copied = copied = 0;
        if (from < zset->tree.count) {
            *cursor = tree_relocate(&zset->tree, heap, from, move_item, &mover, &copied);
            copied += (*cursor - from) * ITEM_COST; /* they are looked at, moved or not */
        } else {
            uint64_t place = from & CURSOR_TABLE ? from & ~CURSOR_TABLE : 0;
            place = table_relocate(&zset->members, heap, place, move_no_item, NULL, &copied);
            if (place >= TABLE_PLACE_END) {
                return true;
            }
            *cursor = CURSOR_TABLE | place;
        }
        budget_spend(budget, copied + mover.copied + sizeof(struct table_leaf));
    } while (*budget > 0);
    return false;
}

static const struct table *names(const struct value *value) {
    return &((const struct zset_tree *)value->root)->members;
}

const struct form zset_form_tree = {
    .encoding = encoding,
    .count = count,
    .names = names,
    .memory = memory,
    .walk = walk,
    .verify = verify,
    .pieces = count,
    .free_some = free_some,
    .copy_some = copy_some,
    .relocate_some = relocate_some,
};
