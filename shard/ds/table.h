/* SPDX-License-Identifier: BSD-3-Clause */
/* table: items kept in the order of their hashes: the slots of the keyspace, and big sets and
 * hashes.
 *
 * Holds 8.x bytes per item, grows and shrinks in small steps, and can be walked from any place
 * while it does. It knows nothing of an item but its hash: whoever looks one up compares names
 * itself. See table.c for the picture.
 *
 * Thread: owner shard only.
 * Ownership: items are the caller's. An empty table owns no memory; an all-zero struct is one.
 */
#ifndef SHOAL_SHARD_DS_TABLE_H
#define SHOAL_SHARD_DS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

struct table {
    uint64_t root;
    uint32_t count;
};

/* What a table must know of its surroundings. */
struct table_env {
    struct shard_heap *heap;
    uint64_t (*hash)(const void *arg, const void *item);
    const void *arg;
};

/* ---- References and words: 48 bits of address, 16 of something else ---- */

#define TABLE_LEAF_MAX    256
#define TABLE_REF_LONG    0xFFFE /* a leaf whose count is in its header */
#define TABLE_REF_NODE    0xFFFF
#define TABLE_DEPTH_MAX   12
#define TABLE_FANOUT_BITS 4
#define TABLE_FANOUT      (1 << TABLE_FANOUT_BITS)

struct table_leaf {
    uint32_t capacity;
    uint32_t long_count; /* used only behind TABLE_REF_LONG */
    uint64_t words[];    /* tag << 48 | item, ascending by tag */
};

struct table_node {
    uint64_t children[TABLE_FANOUT];
    uint64_t count;
};

static inline void *table_address(uint64_t word) {
    return (void *)(uintptr_t)(word & UINT64_C(0xFFFFFFFFFFFF));
}

static inline uint32_t table_leaf_count(uint64_t ref) {
    uint32_t n = (uint32_t)(ref >> 48);
    return n <= TABLE_LEAF_MAX ? n : ((struct table_leaf *)table_address(ref))->long_count;
}

/* The leaf (or 0: none) where a hash belongs. */
static inline uint64_t table_descend(uint64_t ref, uint64_t hash, unsigned *ret_depth) {
    unsigned depth = 0;
    while (ref >> 48 == TABLE_REF_NODE) {
        const struct table_node *node = table_address(ref);
        ref = node->children[hash << (depth * TABLE_FANOUT_BITS) >> (64 - TABLE_FANOUT_BITS)];
        depth++;
    }
    *ret_depth = depth;
    return ref;
}

/* Where a tag would stand among n words if hashes were perfectly even; it is a few words off. */
static inline uint32_t table_guess(uint64_t tag, uint32_t n) {
    return (uint32_t)(tag * n >> 16);
}

/* ---- Lookup ---- */

struct table_probe {
    const uint64_t *word;
    const uint64_t *end;
    uint64_t tag;
};

static inline struct table_probe table_probe(const struct table *table, uint64_t hash) {
    unsigned depth;
    uint64_t ref = table_descend(table->root, hash, &depth);
    if (ref == 0) {
        return (struct table_probe){NULL, NULL, 0};
    }
    uint64_t tag = hash << (depth * TABLE_FANOUT_BITS) >> 48;
    uint64_t lowest = tag << 48;
    const uint64_t *words = ((const struct table_leaf *)table_address(ref))->words;
    uint32_t n = table_leaf_count(ref);
    const uint64_t *word = words + table_guess(tag, n);
    if (*word < lowest) {
        do {
            word++;
        } while (word < words + n && *word < lowest);
    } else {
        while (word > words && word[-1] >= lowest) {
            word--;
        }
    }
    return (struct table_probe){word, words + n, tag};
}

/* The next item whose hash may be the one asked for, or NULL. */
static inline void *table_probe_next(struct table_probe *probe) {
    if (probe->word == probe->end || *probe->word >> 48 != probe->tag) {
        return NULL;
    }
    return table_address(*probe->word++);
}

/* Fetches the place where a hash would be found. Reads nodes, but not the leaf. */
static inline void table_prefetch(const struct table *table, uint64_t hash) {
    unsigned depth;
    uint64_t ref = table_descend(table->root, hash, &depth);
    if (ref) {
        const struct table_leaf *leaf = table_address(ref);
        uint64_t tag = hash << (depth * TABLE_FANOUT_BITS) >> 48;
        /* A count in the header is not worth a wait: such leaves are a freak. */
        __builtin_prefetch(leaf->words + table_guess(tag, (uint32_t)(ref >> 48)));
    }
}

/* ---- Change ---- */

/* Adds an item; that no equal one is there is the caller's business. */
void table_insert(struct table *table, const struct table_env *env, uint64_t hash, void *item);
/* Takes an item out, by address. False if it is not there. */
bool table_remove(struct table *table, const struct table_env *env, uint64_t hash,
                  const void *item);
/* An item moved in memory. It must be there. */
void table_replace(struct table *table, uint64_t hash, const void *old_item, void *new_item);

typedef void table_item_fn(void *arg, void *item);

/* Takes out up to `max` items, from the end of the order, calling `release` for each, and frees the
 * table's memory on the way. Returns how many. Between slices nothing but table_drain may be done:
 * nodes that have become small are not merged. */
uint64_t table_drain(struct table *table, const struct table_env *env, uint64_t max,
                     table_item_fn *release, void *arg);

/* ---- All items ---- */

/* A place is the upper 48 bits of a hash. */
#define TABLE_PLACE_BITS 48
#define TABLE_PLACE_END  (UINT64_C(1) << TABLE_PLACE_BITS)

/* Of them a walk uses the first few to say where it stopped. */
#define TABLE_STOP_BITS_MIN 17
#define TABLE_STOP_BITS_MAX 32

static inline uint64_t table_place(uint64_t hash) {
    return hash >> (64 - TABLE_PLACE_BITS);
}

/* A place as a cursor that users see, with its leading bits lowest: a small number while few of
 * them are used (table_walk), and never more than 2^48. Any number is the cursor of some place. */
static inline uint64_t table_reverse_bits(uint64_t bits) {
    bits = (bits & UINT64_C(0x5555555555555555)) << 1 | (bits >> 1 & UINT64_C(0x5555555555555555));
    bits = (bits & UINT64_C(0x3333333333333333)) << 2 | (bits >> 2 & UINT64_C(0x3333333333333333));
    bits = (bits & UINT64_C(0x0F0F0F0F0F0F0F0F)) << 4 | (bits >> 4 & UINT64_C(0x0F0F0F0F0F0F0F0F));
    return __builtin_bswap64(bits);
}
static inline uint64_t table_cursor(uint64_t place) {
    return table_reverse_bits(place << (64 - TABLE_PLACE_BITS));
}
static inline uint64_t table_cursor_place(uint64_t cursor) {
    return table_reverse_bits(cursor) >> (64 - TABLE_PLACE_BITS);
}

/* Visits the items from `place` on, in the order of their places: all of at least one place, at
 * least `min_items` if there are so many. Stops before `end`, but a leaf knows only 16 more bits
 * than its path: the last group may reach past `end`. Returns the place to go on from, at least
 * `end` if none is left; else one of as few leading bits as tell what was visited from what was
 * not: never more than TABLE_STOP_BITS_MAX, nor than TABLE_STOP_BITS_MIN in a table of fewer than
 * 2^TABLE_STOP_BITS_MIN items. Those that no such place can tell apart are visited together.
 * Between calls the table may change in any way: what stays is visited, and
 * nothing twice. `visit` must not change the table. */
uint64_t table_walk(const struct table *table, const struct table_env *env, uint64_t place,
                    uint64_t end, uint64_t min_items, table_item_fn *visit, void *arg);

/* The words of the leaf at a place (0, or where the one before ended), or of the next one behind
 * it; NULL: there is none. For who goes through all of a table at once. */
const uint64_t *table_leaf_at(const struct table *table, uint64_t *place, uint32_t *ret_count);

/* Moves the memory of the leaf at `place` out of sparse slabs, and lets the caller move its items:
 * `move` returns where an item is now. Returns the place behind the leaf, and how many
 * bytes of the table were copied. */
typedef void *table_move_fn(void *arg, void *item);
uint64_t table_relocate(struct table *table, struct shard_heap *heap, uint64_t place,
                        table_move_fn *move, void *arg, size_t *ret_copied);

/* The index-th item in the order, index < count. */
void *table_at(const struct table *table, uint64_t index);

/* Bytes the table itself takes, by walking it. */
size_t table_bytes(const struct table *table);
/* Checks every invariant of table.c; for tests and debug builds. */
void table_verify(const struct table *table, const struct table_env *env);

#endif
