/* SPDX-License-Identifier: BSD-3-Clause */
/* quicklist: see the header. Long, and one file: nodes, leaves, directory and compression keep the
 * invariants below together, and each change of a list goes through all four.
 *
 * Nodes are named by their number from the head, which is what remains true while leaves are
 * divided and joined; finding one is a look at the directory, from the nearer end.
 *
 * Invariants:
 *  1. No node is empty, and no leaf.
 *  2. A leaf's row in the directory has the sum of its nodes' elements; the root that of all.
 *  3. Nodes nearer to an end than the depth are not compressed, so neither are the two ends.
 *  4. A block of a node that is no end, and no operation has open, has no room.
 *  5. memory is the sum of heap_block_bytes over all blocks, the root's included.
 */
#include "shard/ds/quicklist.h"

#include "base/budget.h"
#include "base/check.h"
#include "base/must.h"
#include "shard/memory/heap.h"

#include <assert.h>
#include <limits.h>
#include <lz4.h>
#include <stdlib.h>

/* Nodes of a leaf. */
#define LEAF_MAX 64u
#define LEAF_MIN 4u

/* However many items a listpack may have, it has no more bytes than this if they are counted. */
#define COUNTED_BYTES_MAX 8192
/* What an element costs beside its text, at most, as Valkey estimates it. */
#define ITEM_OVERHEAD 8
/* No listpack gets an element as long as this, whatever a test says. */
#define PACKED_TEXT_MAX (LISTPACK_BYTES_MAX / 2)

/* What is smaller is not worth compressing, what is larger takes too long. */
#define COMPRESS_BYTES_MIN 48
#define COMPRESS_BYTES_MAX (256u << 10)
#define COMPRESS_GAIN_MIN  16

struct node {
    char *block;    /* a listpack, somewhere in it; a plain node's text; or, compressed: the bytes
                       it had (8), and what became of them */
    uint32_t front; /* where the listpack begins */
    uint32_t count;
    uint64_t capacity : 56; /* of the block */
    uint64_t plain : 1;
    uint64_t compressed : 1;
    uint64_t dense : 1; /* compressing it was tried in vain */
};

struct leaf {
    uint32_t capacity;
    uint32_t unused;
    struct node node[];
};

struct leaf_row {
    struct leaf *leaf;
    uint64_t elements : 56;
    uint64_t nodes : 8;
};

struct quicklist {
    uint64_t count;
    uint64_t memory;
    struct leaf_row *row;
    uint32_t rows, row_capacity;
    uint32_t nodes;
    int16_t fill;
    uint16_t depth;
    uint64_t packed_threshold;
};
static_assert(sizeof(struct node) == 24 && sizeof(struct leaf_row) == 16, "small change");

/* ---- Limits ---- */

struct quicklist_limit quicklist_limit(int64_t fill) {
    if (fill >= 0) {
        return (struct quicklist_limit){SIZE_MAX, fill > 0 ? (uint64_t)fill : 1, true};
    }
    unsigned level = fill < -5 ? 5 : (unsigned)-fill;
    return (struct quicklist_limit){(size_t)4096 << (level - 1), UINT64_MAX, false};
}

bool quicklist_exceeds(int64_t fill, size_t bytes, uint64_t items) {
    struct quicklist_limit limit = quicklist_limit(fill);
    return limit.by_items ? bytes > COUNTED_BYTES_MAX || items > limit.items : bytes > limit.bytes;
}

/* What a node has at most, if it does not consist of one element or was not written over. */
static size_t node_bytes_max(const struct quicklist *list) {
    struct quicklist_limit limit = quicklist_limit(list->fill);
    return limit.by_items ? COUNTED_BYTES_MAX : limit.bytes;
}

static bool is_large(const struct quicklist *list, size_t length) {
    if (UNLIKELY(list->packed_threshold != 0)) {
        return length >= list->packed_threshold || length >= PACKED_TEXT_MAX;
    }
    return length > node_bytes_max(list);
}

/* ---- Blocks ---- */

static void *take(struct shard_heap *heap, struct quicklist *list, size_t bytes) {
    list->memory += heap_block_bytes(bytes);
    return heap_alloc(heap, bytes);
}

static void give(struct shard_heap *heap, struct quicklist *list, void *block, size_t bytes) {
    list->memory -= heap_block_bytes(bytes);
    heap_release(heap, block, bytes);
}

static void *resize(struct shard_heap *heap, struct quicklist *list, void *block, size_t before,
                    size_t after) {
    list->memory += heap_block_bytes(after) - heap_block_bytes(before);
    return heap_resize(heap, block, before, after);
}

/* ---- Leaves ---- */

static size_t leaf_bytes(uint32_t capacity) {
    return sizeof(struct leaf) + capacity * sizeof(struct node);
}

static struct leaf *leaf_new(struct shard_heap *heap, struct quicklist *list, uint32_t capacity) {
    struct leaf *leaf = take(heap, list, leaf_bytes(capacity));
    leaf->capacity = capacity;
    leaf->unused = 0;
    return leaf;
}

static void leaf_resize(struct shard_heap *heap, struct quicklist *list, struct leaf_row *row,
                        uint32_t capacity) {
    row->leaf =
        resize(heap, list, row->leaf, leaf_bytes(row->leaf->capacity), leaf_bytes(capacity));
    row->leaf->capacity = capacity;
}

static void leaf_insert(struct shard_heap *heap, struct quicklist *list, uint32_t at,
                        struct leaf *leaf) {
    if (list->rows == list->row_capacity) {
        uint32_t capacity = list->row_capacity > 0 ? list->row_capacity * 2 : 1;
        size_t before = list->row_capacity * sizeof *list->row;
        size_t after = capacity * sizeof *list->row;
        list->row =
            before == 0 ? take(heap, list, after) : resize(heap, list, list->row, before, after);
        list->row_capacity = capacity;
    }
    memmove(list->row + at + 1, list->row + at, (list->rows - at) * sizeof *list->row);
    list->row[at] = (struct leaf_row){.leaf = leaf};
    list->rows++;
}

static void leaf_remove(struct shard_heap *heap, struct quicklist *list, uint32_t at) {
    struct leaf_row *row = &list->row[at];
    check_slow(row->nodes == 0 && row->elements == 0);
    give(heap, list, row->leaf, leaf_bytes(row->leaf->capacity));
    memmove(row, row + 1, (list->rows - at - 1) * sizeof *row);
    list->rows--;
    uint32_t capacity = list->row_capacity;
    if (list->rows == 0) {
        give(heap, list, list->row, capacity * sizeof *row);
        list->row = NULL;
        list->row_capacity = 0;
    } else if (list->rows <= capacity / 4) {
        list->row =
            resize(heap, list, list->row, capacity * sizeof *row, capacity / 2 * sizeof *row);
        list->row_capacity = capacity / 2;
    }
}

/* The nodes of a leaf from `begin` on go behind those of another. */
static void leaf_move(struct shard_heap *heap, struct quicklist *list, uint32_t from, uint32_t to,
                      uint32_t begin) {
    struct leaf_row *source = &list->row[from], *target = &list->row[to];
    uint32_t moved = source->nodes - begin;
    if (target->nodes + moved > target->leaf->capacity) {
        leaf_resize(heap, list, target, target->nodes + moved);
    }
    uint64_t elements = 0;
    for (uint32_t i = 0; i < moved; i++) {
        elements += source->leaf->node[begin + i].count;
    }
    memcpy(target->leaf->node + target->nodes, source->leaf->node + begin,
           moved * sizeof(struct node));
    target->nodes += moved;
    target->elements += elements;
    source->nodes -= moved;
    source->elements -= elements;
}

/* Small leaves that stand side by side become one. */
static void leaf_tidy(struct shard_heap *heap, struct quicklist *list, uint32_t at) {
    struct leaf_row *row = &list->row[at];
    if (row->nodes == 0) {
        leaf_remove(heap, list, at);
        return;
    }
    for (uint32_t i = at > 0 ? at - 1 : 0; i <= at && i + 1 < list->rows; i++) {
        if (list->row[i].nodes + list->row[i + 1].nodes <= LEAF_MAX / 2) {
            leaf_move(heap, list, i + 1, i, 0);
            leaf_remove(heap, list, i + 1);
            return;
        }
    }
    if (row->nodes <= row->leaf->capacity / 4 && row->leaf->capacity > LEAF_MIN) {
        leaf_resize(heap, list, row, row->leaf->capacity / 2);
    }
}

/* ---- Where nodes are ---- */

struct place {
    uint32_t leaf, node;
};

static struct place place_of(const struct quicklist *list, uint32_t n) {
    check_slow(n < list->nodes);
    struct place place = {0};
    if (n < list->nodes / 2) {
        for (; n >= list->row[place.leaf].nodes; place.leaf++) {
            n -= list->row[place.leaf].nodes;
        }
        place.node = n;
    } else {
        uint32_t back = list->nodes - n;
        place.leaf = list->rows - 1;
        for (; back > list->row[place.leaf].nodes; place.leaf--) {
            back -= list->row[place.leaf].nodes;
        }
        place.node = list->row[place.leaf].nodes - back;
    }
    return place;
}

/* One further, one back; false: there is none, and it stays. Who goes from node to node goes so: to
 * look a number up is to look through the directory. */
static bool place_next(const struct quicklist *list, struct place *place) {
    if (place->node + 1 < list->row[place->leaf].nodes) {
        place->node++;
        return true;
    }
    if (place->leaf + 1 >= list->rows) {
        return false;
    }
    *place = (struct place){place->leaf + 1, 0};
    return true;
}

static bool place_prev(const struct quicklist *list, struct place *place) {
    if (place->node > 0) {
        place->node--;
        return true;
    }
    if (place->leaf == 0) {
        return false;
    }
    *place = (struct place){place->leaf - 1, list->row[place->leaf - 1].nodes - 1};
    return true;
}

/* Of the node at an end, which is not compressed (inv. 3). */
static struct place end_of(const struct quicklist *list, bool tail) {
    struct place place = {0, 0};
    if (tail) {
        place.leaf = list->rows - 1;
        place.node = list->row[place.leaf].nodes - 1;
    }
    return place;
}

static struct node *node_in(const struct quicklist *list, struct place place) {
    return &list->row[place.leaf].leaf->node[place.node];
}

static struct node *node_at(const struct quicklist *list, uint32_t n) {
    return node_in(list, place_of(list, n));
}

/* Where an element is. */
struct spot {
    struct place place;
    uint32_t n;      /* the number of its node */
    uint32_t offset; /* in that */
};

static struct spot seek(const struct quicklist *list, uint64_t index) {
    check_slow(index < list->count);
    struct spot spot = {0};
    const struct leaf_row *row = list->row;
    if (index < list->count / 2) {
        for (; index >= row->elements; row++) {
            index -= row->elements;
            spot.n += row->nodes;
        }
        const struct node *node = row->leaf->node;
        for (; index >= node->count; node++) {
            index -= node->count;
        }
        spot.offset = (uint32_t)index;
        spot.place.node = (uint32_t)(node - row->leaf->node);
        spot.n += spot.place.node;
    } else {
        uint64_t back = list->count - index;
        spot.n = list->nodes;
        for (row += list->rows - 1; back > row->elements; row--) {
            back -= row->elements;
            spot.n -= row->nodes;
        }
        uint32_t i = row->nodes - 1;
        for (; back > row->leaf->node[i].count; i--) {
            back -= row->leaf->node[i].count;
        }
        spot.offset = row->leaf->node[i].count - (uint32_t)back;
        spot.place.node = i;
        spot.n -= row->nodes - i;
    }
    spot.place.leaf = (uint32_t)(row - list->row);
    return spot;
}

/* ---- Nodes come and go ---- */

/* Where the nth node will be put; leaves that are full are divided. */
static struct place place_for(struct shard_heap *heap, struct quicklist *list, uint32_t n) {
    if (list->nodes == 0) {
        leaf_insert(heap, list, 0, leaf_new(heap, list, 1));
        return (struct place){0, 0};
    }
    struct place place;
    if (n == list->nodes) {
        place = (struct place){list->rows - 1, list->row[list->rows - 1].nodes};
    } else {
        place = place_of(list, n);
    }
    if (list->row[place.leaf].nodes < LEAF_MAX) {
        return place;
    }
    struct leaf *fresh = leaf_new(heap, list, LEAF_MAX);
    if (place.node == LEAF_MAX) {
        leaf_insert(heap, list, place.leaf + 1, fresh);
        return (struct place){place.leaf + 1, 0};
    }
    if (place.node == 0) {
        leaf_insert(heap, list, place.leaf, fresh);
        return place;
    }
    leaf_insert(heap, list, place.leaf + 1, fresh);
    leaf_move(heap, list, place.leaf, place.leaf + 1, LEAF_MAX / 2);
    if (place.node > LEAF_MAX / 2) {
        place = (struct place){place.leaf + 1, place.node - LEAF_MAX / 2};
    }
    return place;
}

static void node_link(struct shard_heap *heap, struct quicklist *list, uint32_t n,
                      struct node node) {
    check(list->nodes < UINT32_MAX);
    struct place place = place_for(heap, list, n);
    struct leaf_row *row = &list->row[place.leaf];
    if (row->nodes == row->leaf->capacity) {
        uint32_t capacity = row->leaf->capacity * 2;
        leaf_resize(heap, list, row, capacity < LEAF_MAX ? capacity : LEAF_MAX);
    }
    struct node *at = &row->leaf->node[place.node];
    memmove(at + 1, at, (row->nodes - place.node) * sizeof *at);
    *at = node;
    row->nodes++;
    row->elements += node.count;
    list->count += node.count;
    list->nodes++;
}

/* The nth node, whose place it is; then that is where the next one is, if there is one. */
static void node_unlink_in(struct shard_heap *heap, struct quicklist *list, uint32_t n,
                           struct place *place) {
    uint32_t rows = list->rows;
    struct leaf_row *row = &list->row[place->leaf];
    struct node *at = &row->leaf->node[place->node];
    give(heap, list, at->block, at->capacity);
    row->elements -= at->count;
    list->count -= at->count;
    memmove(at, at + 1, (row->nodes - place->node - 1) * sizeof *at);
    row->nodes--;
    list->nodes--;
    leaf_tidy(heap, list, place->leaf);
    if (n == list->nodes) {
        return;
    }
    if (rows != list->rows) {
        *place = place_of(list, n);
    } else if (place->node == list->row[place->leaf].nodes) {
        *place = (struct place){place->leaf + 1, 0};
    }
}

static void node_unlink(struct shard_heap *heap, struct quicklist *list, uint32_t n) {
    struct place place = place_of(list, n);
    node_unlink_in(heap, list, n, &place);
}

static void count_changed_in(struct quicklist *list, struct place place, int64_t change) {
    struct leaf_row *row = &list->row[place.leaf];
    row->leaf->node[place.node].count += (uint32_t)change;
    row->elements += (uint64_t)change;
    list->count += (uint64_t)change;
}

static void count_changed(struct quicklist *list, uint32_t n, int64_t change) {
    count_changed_in(list, place_of(list, n), change);
}

/* ---- A node's listpack ---- */

static char *node_lp(const struct node *node) {
    check_slow(!node->plain && !node->compressed);
    return node->block + node->front;
}

/* Its bytes as they are without compression. */
static size_t node_bytes(const struct node *node) {
    if (node->compressed) {
        uint64_t bytes;
        memcpy(&bytes, node->block, sizeof bytes);
        return bytes;
    }
    return node->plain ? node->capacity : listpack_bytes(node_lp(node));
}

/* Whether an element of this length may go into it. */
static bool node_takes(const struct quicklist *list, const struct node *node, size_t length) {
    struct quicklist_limit limit = quicklist_limit(list->fill);
    size_t max = limit.by_items ? COUNTED_BYTES_MAX : limit.bytes;
    if (node->plain || (UNLIKELY(list->packed_threshold != 0) && is_large(list, length))) {
        return false;
    }
    return node_bytes(node) + length + ITEM_OVERHEAD <= max && node->count < limit.items;
}

/* Divides a node's room: most of it to where it is wanted. */
static uint32_t front_of(size_t room, size_t more, bool at_front) {
    size_t other = (room - more) / 4;
    return (uint32_t)(at_front ? room - other : other);
}

/* Makes room for `more` bytes on one side of the listpack: other room is moved there, or there will
 * be twice as much. */
static void node_widen(struct shard_heap *heap, struct quicklist *list, struct node *node,
                       size_t more, bool at_front) {
    char *lp = node_lp(node);
    size_t bytes = listpack_bytes(lp), room = node->capacity - bytes;
    if (room >= more) {
        node->front = front_of(room, more, at_front);
        memmove(node->block + node->front, lp, bytes);
        return;
    }
    size_t max = node_bytes_max(list), capacity = bytes + more;
    if (capacity < max) {
        capacity = capacity < max / 2 ? capacity * 2 : max;
    }
    char *block = take(heap, list, capacity);
    uint32_t front = front_of(capacity - bytes, more, at_front);
    memcpy(block + front, lp, bytes);
    give(heap, list, node->block, node->capacity);
    node->block = block;
    node->front = front;
    node->capacity = capacity;
}

/* Puts `insert` bytes of undefined content in the place of `remove` bytes at `at`; returns where
 * the listpack begins now. The header is to be written. */
static char *node_splice(struct shard_heap *heap, struct quicklist *list, struct node *node,
                         size_t at, size_t remove, size_t insert) {
    char *lp = node_lp(node);
    node->dense = 0;
    size_t bytes = listpack_bytes(lp), behind = bytes - at - remove;
    bool at_front = at < behind;
    if (insert > remove) {
        size_t more = insert - remove;
        size_t room = at_front ? node->front : node->capacity - node->front - bytes;
        if (UNLIKELY(room < more)) {
            node_widen(heap, list, node, more, at_front);
            lp = node_lp(node);
        }
    }
    if (at_front) {
        char *begin = lp + remove - insert;
        memmove(begin, lp, at);
        node->front = (uint32_t)(begin - node->block);
        return begin;
    }
    memmove(lp + at + insert, lp + at + remove, behind);
    return lp;
}

/* Puts an item into a node that need not be linked; the count is the caller's. */
static void node_put(struct shard_heap *heap, struct quicklist *list, struct node *node, size_t at,
                     const struct listpack_new *item) {
    size_t bytes = listpack_bytes(node_lp(node));
    char *lp = node_splice(heap, list, node, at, 0, item->bytes);
    listpack_put(lp + at, item);
    listpack_changed(lp, bytes + item->bytes, 1);
}

static size_t node_end(const struct node *node) {
    return listpack_bytes(node_lp(node)) - 1;
}

static struct node node_packed(struct shard_heap *heap, struct quicklist *list,
                               const struct listpack_new *item, bool at_front) {
    size_t bytes = LISTPACK_EMPTY_BYTES + item->bytes, max = node_bytes_max(list) / 8;
    /* With room for some others, if it is a list of more than one. */
    size_t capacity = bytes < max && list->nodes > 0 ? max : bytes;
    struct node node = {.capacity = capacity, .block = take(heap, list, capacity), .count = 1};
    node.front = front_of(capacity - bytes, 0, at_front);
    char *lp = node.block + node.front;
    listpack_init(lp);
    char *end = listpack_put(lp + LISTPACK_HEADER_BYTES, item);
    *end = (char)0xFF;
    listpack_changed(lp, bytes, 1);
    return node;
}

static struct node node_plain(struct shard_heap *heap, struct quicklist *list, struct bytes text) {
    struct node node = {
        .capacity = text.len, .block = take(heap, list, text.len), .count = 1, .plain = 1};
    memcpy(node.block, text.ptr, text.len);
    return node;
}

static struct node node_of(struct shard_heap *heap, struct quicklist *list, struct bytes text,
                           bool at_front) {
    if (UNLIKELY(is_large(list, text.len))) {
        return node_plain(heap, list, text);
    }
    struct listpack_new item = listpack_new(text);
    return node_packed(heap, list, &item, at_front);
}

/* The block as small as can be. */
static void node_fit(struct shard_heap *heap, struct quicklist *list, struct node *node) {
    if (node->plain || node->compressed) {
        return;
    }
    char *lp = node_lp(node);
    size_t bytes = listpack_bytes(lp);
    if (bytes == node->capacity) {
        return;
    }
    memmove(node->block, lp, bytes);
    node->front = 0;
    node->block = resize(heap, list, node->block, node->capacity, bytes);
    node->capacity = bytes;
}

/* ---- Compression ---- */

static void node_compress(struct shard_heap *heap, struct quicklist *list, struct node *node) {
    if (node->compressed || node->dense) {
        return;
    }
    size_t bytes = node_bytes(node);
    if (bytes < COMPRESS_BYTES_MIN || bytes > COMPRESS_BYTES_MAX) {
        return;
    }
    uint64_t header = bytes;
    size_t room = bytes - COMPRESS_GAIN_MIN;
    char *block = take(heap, list, room);
    int length =
        LZ4_compress_default(node->plain ? node->block : node_lp(node), block + sizeof header,
                             (int)bytes, (int)(room - sizeof header));
    if (length <= 0) {
        give(heap, list, block, room);
        node->dense = 1;
        return;
    }
    memcpy(block, &header, sizeof header);
    give(heap, list, node->block, node->capacity);
    node->capacity = sizeof header + (size_t)length;
    node->block = resize(heap, list, block, room, node->capacity);
    node->compressed = 1;
    node->front = 0;
}

static void take_apart(const struct node *node, char *to, size_t bytes) {
    int done = LZ4_decompress_safe(node->block + sizeof(uint64_t), to,
                                   (int)(node->capacity - sizeof(uint64_t)), (int)bytes);
    check(done >= 0 && (size_t)done == bytes);
}

/* To be written to, or because it has come near an end. */
static struct node *node_open_in(struct shard_heap *heap, struct quicklist *list,
                                 struct place place) {
    struct node *node = node_in(list, place);
    if (UNLIKELY(node->compressed)) {
        size_t bytes = node_bytes(node);
        char *block = take(heap, list, bytes);
        take_apart(node, block, bytes);
        give(heap, list, node->block, node->capacity);
        node->block = block;
        node->capacity = bytes;
        node->compressed = 0;
    }
    return node;
}

static struct node *node_open(struct shard_heap *heap, struct quicklist *list, uint32_t n) {
    return node_open_in(heap, list, place_of(list, n));
}

/* Nodes have come, gone or been open, those numbered from - 2 to from + 4 among them at most:
 * invariants 3 and 4. `first`: where that one is. */
static void settle_in(struct shard_heap *heap, struct quicklist *list, uint32_t from,
                      struct place first) {
    uint32_t begin = from, end = from + 5, depth = list->depth;
    end = end < list->nodes ? end : list->nodes;
    while (begin + 2 > from && place_prev(list, &first)) {
        begin--;
    }
    struct place place = first;
    for (uint32_t n = begin; n < end; n++, place_next(list, &place)) {
        if (n > 0 && n + 1 < list->nodes) {
            node_fit(heap, list, node_in(list, place));
        }
    }
    if (LIKELY(depth == 0)) {
        return;
    }
    for (uint32_t i = 0; i < depth && i < list->nodes; i++) {
        node_open(heap, list, i);
        node_open(heap, list, list->nodes - 1 - i);
    }
    if (list->nodes <= 2 * depth) {
        return;
    }
    uint32_t last = list->nodes - 1 - depth; /* the last that may be compressed */
    place = first;
    for (uint32_t n = begin; n < end && n <= last; n++, place_next(list, &place)) {
        if (n >= depth) {
            node_compress(heap, list, node_in(list, place));
        }
    }
    for (uint32_t i = 0; i < 3 && depth + i <= last; i++) {
        node_compress(heap, list, node_at(list, depth + i));
        node_compress(heap, list, node_at(list, last - i));
    }
}

/* The same; there may be no such node any more. */
static void settle(struct shard_heap *heap, struct quicklist *list, uint32_t from) {
    if (list->nodes > 0) {
        from = from < list->nodes ? from : list->nodes - 1;
        settle_in(heap, list, from, place_of(list, from));
    }
}

/* ---- Making and freeing ---- */

struct quicklist *quicklist_new(struct shard_heap *heap, int64_t fill, int64_t depth) {
    struct quicklist *list = heap_alloc(heap, sizeof *list);
    *list = (struct quicklist){
        .memory = heap_block_bytes(sizeof *list),
        .fill = (int16_t)(fill < -5          ? -5
                          : fill > INT16_MAX ? INT16_MAX
                                             : fill),
        .depth = (uint16_t)(depth > UINT16_MAX ? UINT16_MAX : depth),
    };
    return list;
}

void quicklist_set_packed_threshold(struct quicklist *list, uint64_t bytes) {
    list->packed_threshold = bytes;
}

/* Freeing looks at one word of a block or two. */
#define FREE_COST 512

bool quicklist_free_some(struct shard_heap *heap, struct quicklist *list, size_t *budget) {
    while (list->nodes > 0) {
        if (*budget == 0) {
            return false;
        }
        budget_spend(budget, FREE_COST);
        node_unlink(heap, list, list->nodes - 1);
    }
    check(list->memory == heap_block_bytes(sizeof *list));
    heap_release(heap, list, sizeof *list);
    return true;
}

/* ---- Reading ---- */

uint64_t quicklist_count(const struct quicklist *list) {
    return list->count;
}

size_t quicklist_memory(const struct quicklist *list) {
    return list->memory;
}

bool quicklist_single(const struct quicklist *list, struct bytes *ret) {
    if (list->nodes != 1) {
        return false;
    }
    const struct node *node = node_at(list, 0);
    if (node->plain) {
        return false;
    }
    *ret = bytes_make(node_lp(node), node_bytes(node));
    return true;
}

uint64_t quicklist_nodes(const struct quicklist *list) {
    return list->nodes;
}

struct quicklist_shape quicklist_shape(const struct quicklist *list) {
    struct quicklist_shape shape = {.nodes = list->nodes, .fill = list->fill, .depth = list->depth};
    for (uint32_t i = 0; i < list->rows; i++) {
        for (uint32_t j = 0; j < list->row[i].nodes; j++) {
            const struct node *node = &list->row[i].leaf->node[j];
            shape.bytes += node_bytes(node);
            shape.compressed += node->compressed;
        }
    }
    return shape;
}

/* A node's listpack, or NULL, and its text is in iter->plain. */
static const char *look_at(struct quicklist_iter *iter, const struct node *node) {
    const char *raw = node->block + node->front;
    if (node->compressed) {
        size_t bytes = node_bytes(node);
        if (bytes > iter->scratch_bytes) {
            free(iter->scratch);
            iter->scratch = must_malloc(bytes);
            iter->scratch_bytes = bytes;
        }
        take_apart(node, iter->scratch, bytes);
        raw = iter->scratch;
    }
    if (node->plain) {
        iter->plain = bytes_make(raw, node_bytes(node));
        return NULL;
    }
    return raw;
}

void quicklist_iter_open(struct quicklist_iter *iter, const struct quicklist *list, uint64_t index,
                         bool backward) {
    *iter = (struct quicklist_iter){.list = list, .backward = backward};
    if (index >= list->count) {
        iter->over = true;
        return;
    }
    struct spot spot = seek(list, index);
    iter->leaf = spot.place.leaf;
    iter->node = spot.place.node;
    iter->lp = look_at(iter, node_in(list, spot.place));
    iter->at = iter->lp != NULL ? listpack_seek(iter->lp, spot.offset) : 0;
}

void quicklist_iter_open_packed(struct quicklist_iter *iter, const char *lp, uint64_t index,
                                bool backward) {
    *iter = (struct quicklist_iter){.lp = lp, .backward = backward};
    iter->at = index <= INT64_MAX ? listpack_seek(lp, (int64_t)index) : 0;
    iter->over = iter->at == 0;
}

void quicklist_iter_close(struct quicklist_iter *iter) {
    free(iter->scratch);
    iter->scratch = NULL;
}

void quicklist_iter_enter_next(struct quicklist_iter *iter) {
    const struct quicklist *list = iter->list;
    struct place place = {iter->leaf, iter->node};
    if (list == NULL || !(iter->backward ? place_prev(list, &place) : place_next(list, &place))) {
        iter->over = true;
        return;
    }
    iter->leaf = place.leaf;
    iter->node = place.node;
    iter->lp = look_at(iter, node_in(list, place));
    if (iter->lp != NULL) {
        iter->at = iter->backward ? listpack_last(iter->lp) : listpack_first(iter->lp);
    }
}

/* ---- Adding ---- */

void quicklist_take(struct shard_heap *heap, struct quicklist *list, char *lp) {
    size_t bytes = listpack_bytes(lp);
    list->memory += heap_block_bytes(bytes);
    struct node node = {.block = lp, .count = listpack_count(lp), .capacity = bytes};
    check(node.count > 0);
    node_link(heap, list, list->nodes, node);
    settle(heap, list, list->nodes - 1);
}

void quicklist_push(struct shard_heap *heap, struct quicklist *list, struct bytes text, bool tail) {
    if (LIKELY(list->nodes > 0)) {
        struct place place = end_of(list, tail);
        struct node *node = node_in(list, place);
        if (LIKELY(node_takes(list, node, text.len))) {
            struct listpack_new item = listpack_new(text);
            node_put(heap, list, node, tail ? node_end(node) : LISTPACK_HEADER_BYTES, &item);
            node->count++;
            list->row[place.leaf].elements++;
            list->count++;
            return;
        }
    }
    uint32_t n = tail ? list->nodes : 0;
    node_link(heap, list, n, node_of(heap, list, text, !tail));
    settle(heap, list, n);
}

/* ---- The ends ---- */

static size_t item_at_end(const char *lp, bool tail) {
    return tail ? listpack_last(lp) : LISTPACK_HEADER_BYTES;
}

struct bytes quicklist_end(const struct quicklist *list, bool tail, char *scratch) {
    const struct node *node = node_in(list, end_of(list, tail));
    if (UNLIKELY(node->plain)) {
        return bytes_make(node->block, node->capacity);
    }
    const char *lp = node_lp(node);
    struct listpack_item item = listpack_get(lp, item_at_end(lp, tail));
    return listpack_text(&item, scratch);
}

void quicklist_drop(struct shard_heap *heap, struct quicklist *list, bool tail) {
    struct place place = end_of(list, tail);
    struct node *node = node_in(list, place);
    if (UNLIKELY(node->count == 1)) {
        quicklist_remove(heap, list, tail ? list->count - 1 : 0, 1);
        return;
    }
    const char *lp = node_lp(node);
    size_t bytes = listpack_bytes(lp), at = item_at_end(lp, tail);
    size_t gone = tail ? bytes - 1 - at : listpack_item_bytes(lp, at);
    listpack_changed(node_splice(heap, list, node, at, gone, 0), bytes - gone, -1);
    count_changed_in(list, place, -1);
}

/* Takes `count` items at `offset` out of a node's listpack. */
static void node_cut(struct shard_heap *heap, struct quicklist *list, struct node *node,
                     uint32_t offset, uint32_t count) {
    char *lp = node_lp(node);
    size_t bytes = listpack_bytes(lp), at = listpack_seek(lp, offset), end = bytes - 1;
    if (offset + count < node->count) {
        end = count > node->count / 2 ? listpack_seek(lp, offset + count) : at;
        for (uint32_t i = 0; i < count && count <= node->count / 2; i++) {
            end += listpack_item_bytes(lp, end);
        }
    }
    lp = node_splice(heap, list, node, at, end - at, 0);
    listpack_changed(lp, bytes - (end - at), -(int64_t)count);
}

/* Takes what is behind an element (`after`), or before it, out of an open node, which is not all
 * and not nothing, and returns it as another node, for the caller to link. */
static struct node node_split(struct shard_heap *heap, struct quicklist *list, uint32_t n,
                              uint32_t offset, bool after) {
    struct node *node = node_at(list, n);
    const char *lp = node_lp(node);
    uint32_t first = after ? offset + 1 : offset; /* items of the front half */
    uint32_t moved = after ? node->count - first : first;
    check_slow(first > 0 && first < node->count);
    size_t cut = listpack_seek(lp, first), bytes = listpack_bytes(lp);
    size_t begin = after ? cut : LISTPACK_HEADER_BYTES, end = after ? bytes - 1 : cut;
    size_t split_bytes = LISTPACK_EMPTY_BYTES + (end - begin);
    struct node split = {
        .block = take(heap, list, split_bytes), .count = moved, .capacity = split_bytes};
    listpack_init(split.block);
    memcpy(split.block + LISTPACK_HEADER_BYTES, lp + begin, end - begin);
    split.block[split_bytes - 1] = (char)0xFF;
    listpack_changed(split.block, split_bytes, moved);
    node_cut(heap, list, node, after ? first : 0, moved);
    count_changed(list, n, -(int64_t)moved);
    return split;
}

/* The one behind it goes into the nth node. */
static void node_merge(struct shard_heap *heap, struct quicklist *list, uint32_t n) {
    node_open(heap, list, n + 1);
    struct node *into = node_open(heap, list, n), *from = node_at(list, n + 1);
    const char *lp = node_lp(from);
    size_t content = listpack_bytes(lp) - LISTPACK_EMPTY_BYTES, at = node_end(into);
    char *begin = node_splice(heap, list, into, at, 0, content);
    memcpy(begin + at, lp + LISTPACK_HEADER_BYTES, content);
    listpack_changed(begin, at + 1 + content, from->count);
    count_changed(list, n, from->count);
    node_unlink(heap, list, n + 1);
}

static bool may_merge(const struct quicklist *list, uint32_t n) {
    const struct node *a = node_at(list, n), *b = node_at(list, n + 1);
    return !a->plain && !b->plain &&
           !quicklist_exceeds(list->fill, node_bytes(a) + node_bytes(b) - LISTPACK_EMPTY_BYTES,
                              (uint64_t)a->count + b->count);
}

/* Puts small neighbours of a node together, and with it, in Valkey's order. */
static void merge_around(struct shard_heap *heap, struct quicklist *list, uint32_t n) {
    if (n >= 2 && may_merge(list, n - 2)) {
        node_merge(heap, list, n - 2);
        n--;
    }
    if (n + 2 < list->nodes && may_merge(list, n + 1)) {
        node_merge(heap, list, n + 1);
    }
    if (n >= 1 && may_merge(list, n - 1)) {
        node_merge(heap, list, n - 1);
        n--;
    }
    if (n + 1 < list->nodes && may_merge(list, n)) {
        node_merge(heap, list, n);
    }
}

/* Into a node that is linked. */
static void put_linked(struct shard_heap *heap, struct quicklist *list, uint32_t n, size_t at,
                       const struct listpack_new *item) {
    node_put(heap, list, node_at(list, n), at, item);
    count_changed(list, n, 1);
}

static void insert_large(struct shard_heap *heap, struct quicklist *list, const struct spot *spot,
                         struct bytes text, bool after, bool at_edge) {
    uint32_t n = spot->n;
    if (at_edge || node_at(list, n)->plain) {
        node_link(heap, list, n + after, node_plain(heap, list, text));
        return;
    }
    struct node split = node_split(heap, list, n, spot->offset, after);
    node_link(heap, list, n + after, split);
    node_link(heap, list, n + 1, node_plain(heap, list, text));
}

static void insert_packed(struct shard_heap *heap, struct quicklist *list, const struct spot *spot,
                          struct bytes text, bool after, bool at_edge) {
    uint32_t n = spot->n, beside = after ? n + 1 : n - 1;
    struct node *node = node_at(list, n);
    struct listpack_new item = listpack_new(text);
    if (node_takes(list, node, text.len)) {
        const char *lp = node_lp(node);
        size_t at = listpack_seek(lp, spot->offset);
        put_linked(heap, list, n, after ? at + listpack_item_bytes(lp, at) : at, &item);
    } else if (!at_edge) {
        struct node split = node_split(heap, list, n, spot->offset, after);
        node_put(heap, list, &split, after ? LISTPACK_HEADER_BYTES : node_end(&split), &item);
        split.count++;
        node_link(heap, list, n + after, split);
        merge_around(heap, list, after ? n : n + 1);
    } else if (beside < list->nodes && node_takes(list, node_at(list, beside), text.len)) {
        const struct node *neighbour = node_open(heap, list, beside);
        put_linked(heap, list, beside, after ? LISTPACK_HEADER_BYTES : node_end(neighbour), &item);
    } else {
        node_link(heap, list, n + after, node_packed(heap, list, &item, !after));
    }
}

void quicklist_insert(struct shard_heap *heap, struct quicklist *list, uint64_t index,
                      struct bytes text, bool after) {
    check(index < list->count);
    struct spot spot = seek(list, index);
    const struct node *node = node_open(heap, list, spot.n);
    bool at_edge = after ? spot.offset + 1 == node->count : spot.offset == 0;
    if (UNLIKELY(is_large(list, text.len))) {
        insert_large(heap, list, &spot, text, after, at_edge);
    } else {
        insert_packed(heap, list, &spot, text, after, at_edge);
    }
    settle(heap, list, spot.n);
}

/* ---- Replacing ---- */

/* A large element takes the place of one of a listpack. */
static void set_large(struct shard_heap *heap, struct quicklist *list, const struct spot *spot,
                      struct bytes text) {
    uint32_t n = spot->n;
    if (spot->offset + 1 < node_at(list, n)->count) {
        node_link(heap, list, n + 1, node_split(heap, list, n, spot->offset, true));
    }
    node_link(heap, list, n + 1, node_plain(heap, list, text));
    struct node *node = node_at(list, n);
    if (node->count == 1) {
        node_unlink(heap, list, n);
        return;
    }
    node_cut(heap, list, node, node->count - 1, 1);
    count_changed(list, n, -1);
    merge_around(heap, list, n + 1);
}

void quicklist_set(struct shard_heap *heap, struct quicklist *list, uint64_t index,
                   struct bytes text) {
    check(index < list->count);
    struct spot spot = seek(list, index);
    struct node *node = node_open(heap, list, spot.n);
    bool large = is_large(list, text.len);
    if (!node->plain && !large) {
        struct listpack_new item = listpack_new(text);
        const char *old = node_lp(node);
        size_t at = listpack_seek(old, spot.offset), gone = listpack_item_bytes(old, at);
        size_t bytes = listpack_bytes(old);
        char *lp = node_splice(heap, list, node, at, gone, item.bytes);
        listpack_put(lp + at, &item);
        listpack_changed(lp, bytes - gone + item.bytes, 0);
    } else if (!node->plain) {
        set_large(heap, list, &spot, text);
    } else if (large) {
        struct node fresh = node_plain(heap, list, text);
        give(heap, list, node->block, node->capacity);
        *node = fresh;
    } else {
        insert_packed(heap, list, &spot, text, true, true);
        node_unlink(heap, list, spot.n);
    }
    settle(heap, list, spot.n);
}

/* ---- Removing ---- */

void quicklist_remove(struct shard_heap *heap, struct quicklist *list, uint64_t index,
                      uint64_t count) {
    if (count == 0) {
        return;
    }
    check(index < list->count && count <= list->count - index);
    struct spot spot = seek(list, index);
    struct place place = spot.place;
    uint32_t n = spot.n, offset = spot.offset, nodes = list->nodes;
    while (count > 0) {
        uint32_t has = node_in(list, place)->count - offset;
        uint32_t gone = count < has ? (uint32_t)count : has;
        count -= gone;
        if (offset == 0 && gone == has) {
            node_unlink_in(heap, list, n, &place);
            continue;
        }
        node_cut(heap, list, node_open_in(heap, list, place), offset, gone);
        count_changed_in(list, place, -(int64_t)gone);
        n++;
        place_next(list, &place);
        offset = 0;
    }
    bool is_end = spot.n == 0 || spot.n + 1 == nodes;
    if (nodes != list->nodes || !is_end || n > spot.n + 1) {
        settle(heap, list, spot.n);
    }
}

static uint32_t squeeze_packed(struct shard_heap *heap, struct quicklist *list, struct node *node,
                               const struct listpack_new *item, uint64_t limit, bool from_tail) {
    char *lp = node_lp(node);
    size_t bytes = listpack_bytes(lp), end;
    uint32_t removed = listpack_squeeze(lp, item, limit, from_tail, &end);
    if (removed > 0) {
        lp = node_splice(heap, list, node, end, bytes - 1 - end, 0);
        listpack_changed(lp, end + 1, -(int64_t)removed);
    }
    return removed;
}

/* Out of the nth node, whose place it is; it may be gone then, and that the next one's place. */
static uint64_t remove_equal_here(struct shard_heap *heap, struct quicklist *list, uint32_t n,
                                  struct place *place, struct bytes text,
                                  const struct listpack_new *item, uint64_t limit, bool from_tail) {
    struct quicklist_iter look = {.list = list};
    struct node *node = node_in(list, *place);
    const char *lp = look_at(&look, node);
    bool found = lp != NULL ? listpack_find(lp, listpack_first(lp), item, 1) != 0
                            : bytes_equal(look.plain, text);
    quicklist_iter_close(&look);
    if (!found) {
        return 0;
    }
    uint32_t removed = 1;
    if (lp != NULL) {
        node = node_open_in(heap, list, *place);
        removed = squeeze_packed(heap, list, node, item, limit, from_tail);
        count_changed_in(list, *place, -(int64_t)removed);
        if (node->count > 0) {
            return removed;
        }
    } else {
        check_slow(node->count == 1);
    }
    node_unlink_in(heap, list, n, place);
    return removed;
}

uint64_t quicklist_remove_equal(struct shard_heap *heap, struct quicklist *list, struct bytes text,
                                uint64_t limit, bool from_tail) {
    struct listpack_new item = listpack_new(text);
    uint64_t removed = 0;
    if (list->nodes == 0) {
        return 0;
    }
    uint32_t n = from_tail ? list->nodes - 1 : 0;
    struct place place = place_of(list, n);
    for (bool more = true; more && removed < limit;) {
        uint32_t nodes = list->nodes;
        uint64_t gone =
            remove_equal_here(heap, list, n, &place, text, &item, limit - removed, from_tail);
        removed += gone;
        if (n == list->nodes) { /* it was the last, and went */
            settle(heap, list, n);
            more = from_tail && n > 0;
            n -= more;
            place = more ? place_of(list, n) : place;
            continue;
        }
        if (gone > 0) {
            settle_in(heap, list, n, place);
        }
        if (from_tail) {
            more = place_prev(list, &place);
            n--;
        } else if (nodes == list->nodes) {
            more = place_next(list, &place);
            n++;
        }
    }
    return removed;
}

/* ---- In steps ---- */

bool quicklist_copy_some(struct shard_heap *heap, const struct quicklist *from,
                         struct quicklist **to, uint64_t *cursor, size_t *budget) {
    if (*to == NULL) {
        *to = quicklist_new(heap, from->fill, from->depth);
    }
    struct quicklist *list = *to;
    bool more = *cursor < from->nodes;
    struct place place = more ? place_of(from, (uint32_t)*cursor) : (struct place){0};
    while (more) {
        const struct node *node = node_in(from, place);
        bool packed = !node->plain && !node->compressed;
        size_t bytes = packed ? node_bytes(node) : node->capacity;
        struct node copy = *node;
        copy.block = take(heap, list, bytes);
        copy.capacity = bytes;
        copy.front = 0;
        memcpy(copy.block, node->block + node->front, bytes);
        node_link(heap, list, list->nodes, copy);
        (*cursor)++;
        budget_spend(budget, bytes);
        more = place_next(from, &place) && *budget > 0;
    }
    return *cursor >= from->nodes;
}

static void *move_block(struct shard_heap *heap, void *block, size_t bytes, size_t *budget) {
    size_t copied = 0;
    if (block != NULL && bytes <= HEAP_SLAB_BLOCK_MAX) {
        block = heap_relocate(heap, block, bytes, &copied);
        budget_spend(budget, copied);
    }
    return block;
}

/* A look at a node that stays costs something, too. */
#define LOOK_COST 16

bool quicklist_relocate_some(struct shard_heap *heap, struct quicklist **root, uint64_t *cursor,
                             size_t *budget) {
    if (*cursor == 0) {
        *root = move_block(heap, *root, sizeof **root, budget);
        (*root)->row =
            move_block(heap, (*root)->row, (*root)->row_capacity * sizeof *(*root)->row, budget);
    }
    struct quicklist *list = *root;
    bool more = *cursor < list->nodes;
    struct place place = more ? place_of(list, (uint32_t)*cursor) : (struct place){0};
    while (more && *budget > 0) {
        struct leaf_row *row = &list->row[place.leaf];
        if (place.node == 0) {
            row->leaf = move_block(heap, row->leaf, leaf_bytes(row->leaf->capacity), budget);
        }
        struct node *node = &row->leaf->node[place.node];
        node->block = move_block(heap, node->block, node->capacity, budget);
        budget_spend(budget, LOOK_COST);
        (*cursor)++;
        more = place_next(list, &place);
    }
    return *cursor >= list->nodes;
}

/* ---- Checking ---- */

static size_t node_verify(const struct quicklist *list, const struct node *node, uint32_t n) {
    bool is_end = n == 0 || n + 1 == list->nodes;
    check(node->count > 0 && (!node->plain || node->count == 1));
    check(!node->compressed ||
          (list->depth > 0 && n >= list->depth && n + list->depth < list->nodes));
    struct quicklist_iter look = {.list = list};
    const char *lp = look_at(&look, node);
    if (lp != NULL) {
        size_t bytes = node_bytes(node);
        check(listpack_is_sound(bytes_make(lp, bytes)) && listpack_count(lp) == node->count);
        check(node->compressed || node->front + bytes <= node->capacity);
        check(node->compressed || is_end || node->capacity == bytes);
    }
    quicklist_iter_close(&look);
    return heap_block_bytes(node->capacity);
}

void quicklist_verify(const struct quicklist *list) {
    uint64_t count = 0;
    uint32_t n = 0;
    size_t memory = heap_block_bytes(sizeof *list);
    memory += list->rows > 0 ? heap_block_bytes(list->row_capacity * sizeof *list->row) : 0;
    check(list->rows <= list->row_capacity);
    for (uint32_t i = 0; i < list->rows; i++) {
        const struct leaf_row *row = &list->row[i];
        check(row->nodes > 0 && row->nodes <= row->leaf->capacity && row->nodes <= LEAF_MAX);
        memory += heap_block_bytes(leaf_bytes(row->leaf->capacity));
        uint64_t elements = 0;
        for (uint32_t j = 0; j < row->nodes; j++, n++) {
            memory += node_verify(list, &row->leaf->node[j], n);
            elements += row->leaf->node[j].count;
        }
        check(elements == row->elements);
        count += elements;
    }
    check(count == list->count && n == list->nodes && memory == list->memory);
}
