/* SPDX-License-Identifier: BSD-3-Clause */
/* stream: its entries; see the header. Groups are in stream_group.c, what all values can in
 * stream_form.c.
 *
 * Invariants: 1. a node has a live entry at least, so its master's id is not greater than `last`;
 * 2. `first` is the first live entry's id (once the caller has said stream_note_first), 0-0 if
 * there is none; 3. `bytes` is what heap_used has grown by for it.
 *
 * Ids grow among live entries. A deleted one may have a greater id than those behind it, after an
 * XSETID that went back: so nothing is concluded from where it stands.
 */
#include "shard/types/stream.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/memory/heap.h"

#include <stdlib.h>

struct value stream_new(struct shard_heap *heap) {
    struct stream *stream = heap_alloc(heap, sizeof *stream);
    *stream = (struct stream){.bytes = heap_block_bytes(sizeof *stream)};
    return (struct value){.type = TYPE_STREAM, .form = FORM_STREAM, .root = stream};
}

/* ---- Nodes ---- */

static char *tail_of(const struct stream *stream) {
    struct idtree_place place;
    return idtree_last(&stream->nodes, &place) ? idtree_get(&place) : NULL;
}

/* The last node is another one now. */
static void note_tail(struct stream *stream) {
    const char *tail = tail_of(stream);
    stream->tail_room = tail != NULL ? listpack_bytes(tail) : 0;
}

static void remove_node(struct shard_heap *heap, struct stream *stream, struct stream_id master) {
    bool is_tail = idtree_find(&stream->nodes, master) == tail_of(stream);
    char *lp = idtree_remove(heap, &stream->nodes, master);
    heap_release(heap, lp, is_tail ? stream->tail_room : listpack_bytes(lp));
    if (is_tail) {
        note_tail(stream);
    }
}

/* Puts `insert` bytes in the place of `remove` ones. Returns where the node is. */
static char *node_splice(struct shard_heap *heap, struct stream *stream,
                         const struct idtree_place *place, size_t at, size_t remove,
                         size_t insert) {
    char *lp = idtree_get(place);
    size_t before = listpack_bytes(lp), after = before - remove + insert;
    size_t rest = before - at - remove;
    bool is_tail = lp == tail_of(stream);
    if (after < before) {
        memmove(lp + at + insert, lp + at + remove, rest);
    }
    if (!is_tail || after > stream->tail_room) {
        lp = heap_resize(heap, lp, is_tail ? stream->tail_room : before, after);
        stream->tail_room = is_tail ? after : stream->tail_room;
    }
    if (after > before) {
        memmove(lp + at + insert, lp + at + remove, rest);
    }
    listpack_changed(lp, after, 0);
    idtree_set(place, lp);
    return lp;
}

/* Another number in the place of the item at `at`. Returns where the node is. */
static char *node_put_int(struct shard_heap *heap, struct stream *stream,
                          const struct idtree_place *place, size_t at, int64_t number) {
    char *lp = idtree_get(place);
    struct listpack_new item = listpack_new_int(number);
    size_t old = listpack_item_bytes(lp, at);
    if (UNLIKELY(old != item.bytes)) {
        lp = node_splice(heap, stream, place, at, old, item.bytes);
    }
    listpack_put(lp + at, &item);
    return lp;
}

/* So many entries of the node are deleted now that were not. */
static void count_deleted(struct shard_heap *heap, struct stream *stream,
                          const struct idtree_place *place, int64_t entries) {
    struct stream_node node = stream_node_read(idtree_get(place), idtree_id(place));
    node_put_int(heap, stream, place, node.deleted_at, node.deleted + entries);
    node_put_int(heap, stream, place, LISTPACK_HEADER_BYTES, node.live - entries);
}

/* ---- Appending ---- */

/* What the heap would give for it anyway; `wanted` if the node may become so large. */
static size_t tail_room_for(size_t bytes, size_t wanted, const struct stream_limits *limits) {
    wanted = wanted > bytes ? wanted : bytes;
    if (limits->node_bytes > 0 && wanted > limits->node_bytes) {
        wanted = bytes > limits->node_bytes ? bytes : limits->node_bytes;
    }
    return wanted <= HEAP_SLAB_BLOCK_MAX ? heap_block_bytes(wanted) : wanted;
}

/* Items that are written together. */
#define ITEMS_ON_STACK 32

struct items {
    struct listpack_new *list;
    uint32_t count;
    size_t bytes;
    struct listpack_new on_stack[ITEMS_ON_STACK];
};

static void items_init(struct items *items, uint64_t room) {
    items->list =
        room <= ITEMS_ON_STACK ? items->on_stack : must_malloc(room * sizeof(struct listpack_new));
    items->count = 0;
    items->bytes = 0;
}

static void items_fini(struct items *items) {
    if (items->list != items->on_stack) {
        free(items->list);
    }
}

static void items_add(struct items *items, struct listpack_new item) {
    items->list[items->count++] = item;
    items->bytes += item.bytes;
}

static void items_add_int(struct items *items, uint64_t number) {
    items_add(items, listpack_new_int((int64_t)number));
}

static void add_master(struct items *items, const struct bytes *pairs, uint32_t fields) {
    items_add_int(items, 1);
    items_add_int(items, 0);
    items_add_int(items, fields);
    for (uint32_t i = 0; i < fields; i++) {
        items_add(items, listpack_new(pairs[2 * i]));
    }
    items_add_int(items, 0);
}

static void add_entry(struct items *items, struct stream_id id, struct stream_id master, bool same,
                      const struct bytes *pairs, uint32_t fields) {
    items_add_int(items, same ? STREAM_ENTRY_SAME_FIELDS : 0);
    items_add_int(items, id.ms - master.ms);
    items_add_int(items, id.seq - master.seq);
    if (!same) {
        items_add_int(items, fields);
    }
    for (uint32_t i = 0; i < fields; i++) {
        if (!same) {
            items_add(items, listpack_new(pairs[2 * i]));
        }
        items_add(items, listpack_new(pairs[2 * i + 1]));
    }
    items_add_int(items, 3 + (same ? UINT64_C(0) : 1 + UINT64_C(1) * fields) + fields);
}

/* At the end of a listpack, which has room for them. */
static void put_items(char *lp, const struct items *items) {
    size_t bytes = listpack_bytes(lp);
    char *to = lp + bytes - 1;
    for (uint32_t i = 0; i < items->count; i++) {
        to = listpack_put(to, &items->list[i]);
    }
    *to = (char)0xFF;
    listpack_changed(lp, bytes + items->bytes, items->count);
}

static void append_node(struct shard_heap *heap, struct stream *stream, struct stream_id id,
                        const struct bytes *pairs, uint32_t fields,
                        const struct stream_limits *limits) {
    char *tail = tail_of(stream);
    if (tail != NULL && listpack_bytes(tail) < stream->tail_room) {
        struct idtree_place place;
        idtree_last(&stream->nodes, &place);
        tail = heap_resize(heap, tail, stream->tail_room, listpack_bytes(tail));
        idtree_set(&place, tail);
    }
    struct items items;
    items_init(&items, UINT64_C(8) + UINT64_C(2) * fields);
    add_master(&items, pairs, fields);
    add_entry(&items, id, id, true, pairs, fields);
    size_t bytes = LISTPACK_EMPTY_BYTES + items.bytes;
    /* Who has filled one node fills the next. */
    size_t room = tail_room_for(bytes, tail != NULL ? listpack_bytes(tail) : 0, limits);
    char *lp = heap_alloc(heap, room);
    listpack_init(lp);
    put_items(lp, &items);
    items_fini(&items);
    stream->tail_room = room;
    idtree_add(heap, &stream->nodes, id, lp);
}

bool stream_take_node(struct shard_heap *heap, struct stream *stream, struct stream_id master,
                      struct bytes listpack) {
    if (!stream_node_is_sound(listpack, master) ||
        (stream->nodes.count > 0 && !stream_id_less(stream_last_entry(stream), master))) {
        return false;
    }
    size_t used = heap_used(heap);
    char *lp = heap_alloc(heap, listpack.len);
    memcpy(lp, listpack.ptr, listpack.len);
    idtree_add(heap, &stream->nodes, master, lp);
    stream->tail_room = listpack.len;
    stream->length += (uint64_t)stream_node_read(lp, master).live;
    stream->bytes += heap_used(heap) - used;
    return true;
}

static void append_entry(struct shard_heap *heap, struct stream *stream,
                         const struct idtree_place *place, const struct stream_node *node,
                         struct stream_id id, const struct bytes *pairs, uint32_t fields,
                         const struct stream_limits *limits) {
    struct items items;
    items_init(&items, UINT64_C(6) + UINT64_C(2) * fields);
    bool same = stream_node_has_fields(node, pairs, fields);
    add_entry(&items, id, node->master, same, pairs, fields);
    char *lp = node_put_int(heap, stream, place, LISTPACK_HEADER_BYTES, node->live + 1);
    size_t bytes = listpack_bytes(lp) + items.bytes;
    if (bytes > stream->tail_room) {
        size_t room = tail_room_for(bytes, bytes + bytes / 2, limits);
        lp = heap_resize(heap, lp, stream->tail_room, room);
        stream->tail_room = room;
        idtree_set(place, lp);
    }
    put_items(lp, &items);
    items_fini(&items);
}

static uint64_t sum_bytes(const struct bytes *pairs, uint32_t fields) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 2 * fields; i++) {
        sum += pairs[i].len;
    }
    return sum;
}

/* Whether it is not put into this node but into a new one. The same question as in Valkey, which
 * counts deleted entries and the names of fields, too. */
static bool is_full(const struct stream_node *node, uint64_t bytes,
                    const struct stream_limits *limits) {
    uint64_t max = limits->node_bytes;
    max = max == 0 || max > STREAM_ENTRY_BYTES_MAX ? STREAM_ENTRY_BYTES_MAX : max;
    return listpack_bytes(node->lp) + bytes >= max ||
           (limits->node_entries > 0 &&
            (uint64_t)(node->live + node->deleted) >= limits->node_entries);
}

void stream_append(struct shard_heap *heap, struct stream *stream, struct stream_id id,
                   const struct bytes *pairs, uint32_t fields, const struct stream_limits *limits) {
    check_slow(stream_id_less(stream->last, id));
    size_t used = heap_used(heap);
    struct idtree_place place;
    struct stream_node node;
    bool has_node = idtree_last(&stream->nodes, &place);
    if (has_node) {
        node = stream_node_read(idtree_get(&place), idtree_id(&place));
    }
    if (has_node && !is_full(&node, sum_bytes(pairs, fields), limits)) {
        append_entry(heap, stream, &place, &node, id, pairs, fields, limits);
    } else {
        append_node(heap, stream, id, pairs, fields, limits);
    }
    stream->length++;
    stream->entries_added++;
    stream->last = id;
    if (stream->length == 1) {
        stream->first = id;
    }
    stream->bytes += heap_used(heap) - used;
}

/* ---- Finding ---- */

/* Where an entry stands: its node, and it. False if it is not there, or deleted. */
static bool find(const struct stream *stream, struct stream_id id, struct idtree_place *place,
                 struct stream_node *node, struct stream_entry *entry) {
    if (!idtree_upto(&stream->nodes, id, place)) {
        return false;
    }
    *node = stream_node_read(idtree_get(place), idtree_id(place));
    for (size_t at = node->entries_at; at != 0; at = stream_entry_end(node, entry)) {
        *entry = stream_entry_read(node, at);
        if (!(entry->flags & STREAM_ENTRY_DELETED) && !stream_id_less(entry->id, id)) {
            return stream_id_equal(entry->id, id);
        }
    }
    return false;
}

bool stream_has(const struct stream *stream, struct stream_id id) {
    struct idtree_place place;
    struct stream_node node;
    struct stream_entry entry;
    return find(stream, id, &place, &node, &entry);
}

static struct stream_id edge(const struct stream *stream, bool last) {
    struct stream_iter iter;
    stream_iter_init(&iter, stream, STREAM_ID_MIN, STREAM_ID_MAX, last);
    return stream_iter_next(&iter) ? iter.id : STREAM_ID_MIN;
}

void stream_note_first(struct stream *stream) {
    stream->first = edge(stream, false);
}

struct stream_id stream_last_entry(const struct stream *stream) {
    return edge(stream, true);
}

/* ---- Deleting ---- */

bool stream_delete(struct shard_heap *heap, struct stream *stream, struct stream_id id) {
    struct idtree_place place;
    struct stream_node node;
    struct stream_entry entry;
    if (!find(stream, id, &place, &node, &entry)) {
        return false;
    }
    size_t used = heap_used(heap);
    if (node.live == 1) {
        remove_node(heap, stream, node.master);
    } else {
        node_put_int(heap, stream, &place, entry.at, entry.flags | STREAM_ENTRY_DELETED);
        count_deleted(heap, stream, &place, 1);
    }
    stream->length--;
    stream->bytes += heap_used(heap) - used;
    return true;
}

/* ---- Trimming ---- */

/* All entries of the node may go. */
static bool goes_whole(const struct stream *stream, const struct stream_node *node,
                       const struct stream_trim *trim) {
    if (trim->by_id) {
        return stream_id_less(stream_node_last(node).id, trim->min_id);
    }
    return stream->length - (uint64_t)node->live >= trim->max_length;
}

/* Marks the first entries of a node as deleted, as far as the trim goes; returns how many. If all
 * have gone, so has the node. */
static uint64_t trim_within(struct shard_heap *heap, struct stream *stream,
                            const struct idtree_place *place, const struct stream_trim *trim) {
    struct stream_node node = stream_node_read(idtree_get(place), idtree_id(place));
    uint64_t deleted = 0;
    for (size_t at = node.entries_at; at != 0;) {
        struct stream_entry entry = stream_entry_read(&node, at);
        if (trim->by_id ? !stream_id_less(entry.id, trim->min_id)
                        : stream->length - deleted <= trim->max_length) {
            break;
        }
        at = stream_entry_end(&node, &entry);
        if (!(entry.flags & STREAM_ENTRY_DELETED)) {
            /* No flags need more bytes than others. */
            node.lp =
                node_put_int(heap, stream, place, entry.at, entry.flags | STREAM_ENTRY_DELETED);
            deleted++;
        }
    }
    if (deleted == (uint64_t)node.live) {
        remove_node(heap, stream, node.master);
    } else if (deleted > 0) {
        count_deleted(heap, stream, place, (int64_t)deleted);
    }
    return deleted;
}

uint64_t stream_trim(struct shard_heap *heap, struct stream *stream,
                     const struct stream_trim *trim) {
    size_t used = heap_used(heap);
    uint64_t length = stream->length;
    struct idtree_place place;
    while (idtree_first(&stream->nodes, &place)) {
        struct stream_node node = stream_node_read(idtree_get(&place), idtree_id(&place));
        if ((!trim->by_id && stream->length <= trim->max_length) ||
            (trim->limit > 0 && length - stream->length + (uint64_t)node.live > trim->limit)) {
            break;
        }
        if (!goes_whole(stream, &node, trim)) {
            stream->length -= trim->approximate ? 0 : trim_within(heap, stream, &place, trim);
            break;
        }
        stream->length -= (uint64_t)node.live;
        remove_node(heap, stream, node.master);
    }
    if (length != stream->length) {
        stream_note_first(stream);
    }
    stream->bytes += heap_used(heap) - used;
    return length - stream->length;
}

/* ---- Reading ---- */

/* To the node at the iterator's place, and its first or last entry. */
static void enter_node(struct stream_iter *iter) {
    iter->node = stream_node_read(idtree_get(&iter->place), idtree_id(&iter->place));
    iter->entry_at = iter->reverse
                         ? stream_entry_before(&iter->node, listpack_bytes(iter->node.lp) - 1)
                         : iter->node.entries_at;
}

void stream_iter_init(struct stream_iter *iter, const struct stream *stream, struct stream_id from,
                      struct stream_id to, bool reverse) {
    iter->from = from;
    iter->to = to;
    iter->reverse = reverse;
    iter->found = false;
    iter->left = 0;
    iter->entry.at = 0;
    if (stream_id_less(to, from)) {
        iter->more = false;
        return;
    }
    iter->more = idtree_upto(&stream->nodes, reverse ? to : from, &iter->place) ||
                 (!reverse && idtree_first(&stream->nodes, &iter->place));
    if (iter->more) {
        enter_node(iter);
    }
}

/* Where the entry after (before) the last one begins; 0: in another node. */
static void step(struct stream_iter *iter) {
    if (iter->reverse) {
        size_t at = iter->entry.at;
        iter->entry_at = at > iter->node.entries_at ? stream_entry_before(&iter->node, at) : 0;
        return;
    }
    size_t at = iter->item_at;
    for (; iter->left > 0; iter->left--) {
        at += listpack_item_bytes(iter->node.lp, at);
    }
    at += listpack_item_bytes(iter->node.lp, at);
    iter->entry_at = (unsigned char)iter->node.lp[at] == 0xFF ? 0 : at;
}

enum where { BEFORE, WITHIN, BEHIND };

/* Of the range, in the direction of the iterator; who is deleted is not behind it. */
static enum where entry_where(const struct stream_iter *iter) {
    if (iter->entry.flags & STREAM_ENTRY_DELETED) {
        return BEFORE;
    }
    if (stream_id_less(iter->entry.id, iter->from)) {
        return iter->reverse ? BEHIND : BEFORE;
    }
    if (stream_id_less(iter->to, iter->entry.id)) {
        return iter->reverse ? BEFORE : BEHIND;
    }
    return WITHIN;
}

/* The entry at `entry_at`. */
static void read_entry(struct stream_iter *iter) {
    iter->entry = stream_entry_read(&iter->node, iter->entry_at);
    bool same = iter->entry.flags & STREAM_ENTRY_SAME_FIELDS;
    iter->left = same ? iter->entry.fields : UINT64_C(2) * iter->entry.fields;
    iter->item_at = iter->entry.body_at;
}

/* `entry_at` is that of the next entry, deleted or not; false: there is none. */
static bool settle(struct stream_iter *iter) {
    if (iter->entry.at != 0) {
        step(iter);
        iter->entry.at = 0;
    }
    if (iter->entry_at == 0) {
        if (!(iter->reverse ? idtree_prev(&iter->place) : idtree_next(&iter->place))) {
            return false;
        }
        enter_node(iter);
    }
    return true;
}

static bool find_next(struct stream_iter *iter) {
    while (iter->more && (iter->more = settle(iter))) {
        read_entry(iter);
        enum where where = entry_where(iter);
        if (where == WITHIN) {
            iter->field_at = iter->node.fields_at;
            iter->id = iter->entry.id;
            iter->fields = iter->entry.fields;
            return true;
        }
        iter->more = where != BEHIND;
    }
    return false;
}

bool stream_iter_next(struct stream_iter *iter) {
    bool found = iter->found || find_next(iter);
    iter->found = false;
    return found;
}

/* The next entry is its node's first, and all of that are within the range. */
static bool all_within(const struct stream_iter *iter) {
    return !iter->reverse && iter->entry_at == iter->node.entries_at && !iter->node.deleted &&
           !stream_id_less(iter->node.master, iter->from) &&
           !stream_id_less(iter->to, stream_node_last(&iter->node).id);
}

/* The first is looked for once, by who counts. */
uint64_t stream_iter_count(struct stream_iter *iter, uint64_t max) {
    iter->found = iter->found || find_next(iter);
    if (!iter->found || max == 0) {
        return 0;
    }
    struct stream_iter copy = *iter;
    uint64_t count = 1;
    while (count < max && copy.more && (copy.more = settle(&copy))) {
        if (all_within(&copy)) {
            count += (uint64_t)copy.node.live;
            copy.entry_at = 0;
            continue;
        }
        read_entry(&copy);
        enum where where = entry_where(&copy);
        count += where == WITHIN;
        copy.more = where != BEHIND;
    }
    return count < max ? count : max;
}

static struct listpack_item take(const char *lp, size_t *at) {
    struct listpack_item item = listpack_get(lp, *at);
    *at += listpack_item_bytes(lp, *at);
    return item;
}

void stream_iter_field(struct stream_iter *iter, struct listpack_item *ret_field,
                       struct listpack_item *ret_value) {
    const char *lp = iter->node.lp;
    bool same = iter->entry.flags & STREAM_ENTRY_SAME_FIELDS;
    *ret_field = take(lp, same ? &iter->field_at : &iter->item_at);
    *ret_value = take(lp, &iter->item_at);
    iter->left -= same ? 1 : 2;
}
