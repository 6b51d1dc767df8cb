/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_form: what a stream can as every value can: be walked, copied, moved and freed in slices.
 *
 * A cursor of a walk is how many entries were seen. A copy finds in what it has copied where to go
 * on: nodes first, then group by group, its consumers and what is pending.
 */
#include "base/budget.h"
#include "base/check.h"
#include "shard/memory/heap.h"
#include "shard/types/stream_group.h"

static const char *encoding(const struct value *value) {
    (void)value;
    return "stream";
}

static uint64_t count(const struct value *value) {
    return stream_of(value)->length;
}

/* Valkey counts the nodes of its radix trees, of which there are more than leaves: about that. */
static uint64_t pieces(const struct value *value) {
    const struct stream *stream = stream_of(value);
    uint64_t count = stream->nodes.count;
    if (stream->groups_count > 0) {
        count += stream->groups_count * (1 + stream->groups[0]->pending.count);
    }
    return count;
}

static size_t memory(const struct value *value) {
    return stream_of(value)->bytes;
}

/* ---- Walking ---- */

/* To the first node that is not before the cursor's entry; returns how many entries are before it.
 */
static uint64_t skip_nodes(const struct stream *stream, uint64_t cursor, struct stream_id *ret) {
    struct idtree_place place;
    uint64_t before = 0;
    bool more = idtree_first(&stream->nodes, &place);
    for (; more; more = idtree_next(&place)) {
        *ret = idtree_id(&place);
        struct stream_node node = stream_node_read(idtree_get(&place), *ret);
        if (before + (uint64_t)node.live > cursor) {
            break;
        }
        before += (uint64_t)node.live;
    }
    return before;
}

/* An element is an entry, by its id. */
static uint64_t walk(const struct value *value, uint64_t cursor, uint64_t count,
                     value_element_fn *visit, void *arg) {
    const struct stream *stream = stream_of(value);
    if (cursor >= stream->length) {
        return 0;
    }
    struct stream_id from = STREAM_ID_MIN;
    uint64_t at = skip_nodes(stream, cursor, &from);
    struct stream_iter iter;
    stream_iter_init(&iter, stream, from, STREAM_ID_MAX, false);
    uint64_t end = count < stream->length - cursor ? cursor + count : stream->length;
    for (; at < end && stream_iter_next(&iter); at++) {
        if (at >= cursor) {
            char text[2 * NUM_I64_BYTES];
            size_t n = num_format_u64(text, iter.id.ms);
            text[n++] = '-';
            n += num_format_u64(text + n, iter.id.seq);
            visit(arg, &(struct value_element){.first = bytes_make(text, n)});
        }
    }
    return end < stream->length ? end : 0;
}

/* ---- Freeing ---- */

struct freeing {
    struct shard_heap *heap;
    const void *tail;
    size_t tail_room, freed;
};

static void free_node(void *arg, struct stream_id id, void *address) {
    (void)id;
    struct freeing *freeing = arg;
    size_t bytes = address == freeing->tail ? freeing->tail_room : listpack_bytes(address);
    heap_release(freeing->heap, address, bytes);
    freeing->freed += bytes;
}

static void free_pending(void *arg, struct stream_id id, void *address) {
    (void)id;
    struct freeing *freeing = arg;
    heap_release(freeing->heap, address, sizeof(struct stream_pending));
    freeing->freed += sizeof(struct stream_pending);
}

static void keep_pending(void *arg, struct stream_id id, void *address) {
    (void)id;
    (void)address;
    struct freeing *freeing = arg;
    freeing->freed += sizeof(struct stream_pending);
}

/* One step; false: nothing is left but the root. */
static bool free_step(struct stream *stream, struct freeing *freeing) {
    struct shard_heap *heap = freeing->heap;
    if (stream->nodes.count > 0) {
        struct idtree_place place;
        idtree_last(&stream->nodes, &place);
        freeing->tail = idtree_get(&place);
        freeing->tail_room = stream->tail_room;
        return idtree_drop_leaf(heap, &stream->nodes, free_node, freeing);
    }
    if (stream->groups_count == 0) {
        return false;
    }
    struct stream_group *group = stream->groups[stream->groups_count - 1];
    if (group->consumers_count > 0) {
        struct stream_consumer *consumer = group->consumers[group->consumers_count - 1];
        if (idtree_drop_leaf(heap, &consumer->pending, keep_pending, freeing)) {
            return true;
        }
        heap_release(heap, consumer, sizeof *consumer + consumer->name_length);
        group->consumers_count--;
        freeing->freed += sizeof *consumer;
        return true;
    }
    if (idtree_drop_leaf(heap, &group->pending, free_pending, freeing)) {
        return true;
    }
    stream_group_remove(heap, stream, group);
    return true;
}

static bool free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    struct stream *stream = stream_of(value);
    do {
        size_t used = heap_used(heap), bytes = stream->bytes;
        struct freeing freeing = {.heap = heap};
        bool more = free_step(stream, &freeing);
        stream->bytes = bytes + heap_used(heap) - used;
        budget_spend(budget, freeing.freed);
        if (!more) {
            heap_release(heap, stream, sizeof *stream);
            value->root = NULL;
            return true;
        }
    } while (*budget > 0);
    return false;
}

/* ---- Copying ---- */

static void copy_node(struct shard_heap *heap, struct stream *to, const struct idtree_place *from,
                      size_t *budget) {
    const char *lp = idtree_get(from);
    size_t bytes = listpack_bytes(lp);
    char *copy = heap_alloc(heap, bytes);
    memcpy(copy, lp, bytes);
    idtree_add(heap, &to->nodes, idtree_id(from), copy);
    to->tail_room = bytes;
    budget_spend(budget, bytes);
}

/* The first that is not copied yet. */
static bool next_to_copy(const struct idtree *from, const struct idtree *to,
                         struct idtree_place *ret) {
    struct idtree_place last;
    if (!idtree_last(to, &last)) {
        return idtree_first(from, ret);
    }
    struct stream_id id = idtree_id(&last);
    return stream_id_up(&id) && idtree_from(from, id, ret);
}

static void copy_group(struct shard_heap *heap, struct stream *to, const struct stream_group *group,
                       size_t *budget) {
    struct stream_group *copy =
        stream_group_add(heap, to, stream_group_name(group), group->last, group->entries_read);
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        stream_consumer_add(heap, to, copy, stream_consumer_name(consumer), consumer->seen_ms)
            ->active_ms = consumer->active_ms;
        budget_spend(budget, sizeof *consumer + consumer->name_length);
    }
    budget_spend(budget, sizeof *group + group->name_length);
}

static void copy_pending(struct shard_heap *heap, struct stream *to, struct stream_group *group,
                         const struct idtree_place *from, size_t *budget) {
    const struct stream_pending *pending = idtree_get(from);
    struct stream_consumer *consumer =
        stream_consumer_find(group, stream_consumer_name(pending->consumer));
    struct stream_pending *copy = stream_pending_give(heap, to, group, consumer, idtree_id(from));
    copy->delivered_ms = pending->delivered_ms;
    copy->deliveries = pending->deliveries;
    budget_spend(budget, sizeof *pending);
}

static bool copy_nodes(struct shard_heap *heap, const struct stream *from, struct stream *to,
                       size_t *budget) {
    struct idtree_place place;
    bool more = next_to_copy(&from->nodes, &to->nodes, &place);
    for (; more && *budget > 0; more = idtree_next(&place)) {
        size_t used = heap_used(heap);
        copy_node(heap, to, &place, budget);
        to->bytes += heap_used(heap) - used;
    }
    return !more;
}

static bool copy_groups(struct shard_heap *heap, const struct stream *from, struct stream *to,
                        size_t *budget) {
    while (*budget > 0) {
        uint32_t last = to->groups_count - 1;
        struct idtree_place place;
        if (to->groups_count > 0 &&
            next_to_copy(&from->groups[last]->pending, &to->groups[last]->pending, &place)) {
            bool more = true;
            for (; more && *budget > 0; more = idtree_next(&place)) {
                copy_pending(heap, to, to->groups[last], &place, budget);
            }
        } else if (to->groups_count < from->groups_count) {
            copy_group(heap, to, from->groups[to->groups_count], budget);
        } else {
            return true;
        }
    }
    return false;
}

static bool copy_some(struct shard_heap *heap, const struct value *value, struct value *ret,
                      uint64_t *cursor, size_t *budget) {
    const struct stream *from = stream_of(value);
    if (*cursor == 0) {
        *ret = stream_new(heap);
        *cursor = 1;
    }
    struct stream *to = stream_of(ret);
    if (!copy_nodes(heap, from, to, budget) || !copy_groups(heap, from, to, budget)) {
        return false;
    }
    to->length = from->length;
    to->entries_added = from->entries_added;
    to->first = from->first;
    to->last = from->last;
    to->max_deleted = from->max_deleted;
    return true;
}

/* ---- Moving ---- */

static void relocate_node(struct shard_heap *heap, struct stream *stream,
                          struct idtree_place *place, size_t *copied) {
    idtree_relocate(heap, &stream->nodes, place, copied);
    char *lp = idtree_get(place);
    struct idtree_place last;
    idtree_last(&stream->nodes, &last);
    size_t bytes = idtree_get(&last) == lp ? stream->tail_room : listpack_bytes(lp), moved = 0;
    if (bytes <= HEAP_SLAB_BLOCK_MAX) {
        idtree_set(place, heap_relocate(heap, lp, bytes, &moved));
        *copied += moved;
    }
}

static void relocate_pending(struct shard_heap *heap, struct stream_group *group,
                             struct idtree_place *place, size_t *copied) {
    idtree_relocate(heap, &group->pending, place, copied);
    struct stream_pending *pending = idtree_get(place);
    struct idtree *tree = &pending->consumer->pending;
    struct idtree_place own;
    bool found = idtree_from(tree, idtree_id(place), &own);
    check(found);
    idtree_relocate(heap, tree, &own, copied);
    size_t moved = 0;
    pending = heap_relocate(heap, pending, sizeof *pending, &moved);
    *copied += moved;
    idtree_set(place, pending);
    idtree_set(&own, pending);
}

/* What it costs, as bytes, to look at one that stays where it is: mostly it is not in the cache. */
#define LOOK_BYTES 64

/* Some of the nodes (part 0) or of what is pending in a group, from where it stopped. True: all. */
static bool relocate_part(struct shard_heap *heap, struct stream *stream, uint64_t part,
                          size_t *budget) {
    struct stream_group *group = part > 0 ? stream->groups[part - 1] : NULL;
    struct idtree_place place;
    size_t copied = 0;
    bool more =
        idtree_from(group != NULL ? &group->pending : &stream->nodes, stream->moved_to, &place);
    for (; more && copied < *budget; more = idtree_next(&place)) {
        if (group != NULL) {
            relocate_pending(heap, group, &place, &copied);
        } else {
            relocate_node(heap, stream, &place, &copied);
        }
        copied += LOOK_BYTES;
    }
    stream->moved_to = more ? idtree_id(&place) : STREAM_ID_MIN;
    budget_spend(budget, copied + LOOK_BYTES);
    return !more;
}

/* A cursor is the part that it is in, and 1; the stream says where in that. What was added or taken
 * out meanwhile does no harm. Groups and consumers stay, to which much points. */
static bool relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                          size_t *budget) {
    struct stream *stream = stream_of(value);
    if (*cursor == 0) {
        stream->moved_to = STREAM_ID_MIN;
        *cursor = 1;
    }
    while (*cursor - 1 <= stream->groups_count) {
        if (*budget == 0) {
            return false;
        }
        *cursor += relocate_part(heap, stream, *cursor - 1, budget);
    }
    size_t moved = 0;
    value->root = heap_relocate(heap, stream, sizeof *stream, &moved);
    return true;
}

/* ---- Verifying ---- */

static size_t verify_nodes(const struct stream *stream) {
    size_t bytes = idtree_memory(&stream->nodes);
    uint64_t live = 0, left = stream->nodes.count;
    idtree_verify(&stream->nodes);
    struct idtree_place place;
    bool more = idtree_first(&stream->nodes, &place);
    for (; more; more = idtree_next(&place)) {
        const char *lp = idtree_get(&place);
        struct stream_id master = idtree_id(&place);
        check(stream_node_is_sound(bytes_make(lp, listpack_bytes(lp)), master));
        struct stream_node node = stream_node_read(lp, master);
        live += (uint64_t)node.live;
        size_t room = --left == 0 ? stream->tail_room : listpack_bytes(lp);
        check(room >= listpack_bytes(lp));
        bytes += heap_block_bytes(room);
    }
    check(live == stream->length);
    check(!stream_id_less(stream->last, stream_last_entry(stream)));
    struct stream first = *stream;
    stream_note_first(&first);
    check(stream_id_equal(first.first, stream->first));
    check(stream->nodes.count > 0 || stream->tail_room == 0);
    return bytes;
}

static size_t verify_group(const struct stream_group *group) {
    size_t bytes =
        heap_block_bytes(sizeof *group + group->name_length) + idtree_memory(&group->pending);
    uint64_t of_consumers = 0;
    idtree_verify(&group->pending);
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        const struct stream_consumer *consumer = group->consumers[i];
        check(i == 0 || bytes_compare(stream_consumer_name(group->consumers[i - 1]),
                                      stream_consumer_name(consumer)) < 0);
        idtree_verify(&consumer->pending);
        of_consumers += consumer->pending.count;
        bytes += heap_block_bytes(sizeof *consumer + consumer->name_length) +
                 idtree_memory(&consumer->pending);
    }
    check(of_consumers == group->pending.count);
    struct idtree_place place;
    bool more = idtree_first(&group->pending, &place);
    for (; more; more = idtree_next(&place)) {
        const struct stream_pending *pending = idtree_get(&place);
        check(idtree_find(&pending->consumer->pending, idtree_id(&place)) == pending);
        bytes += heap_block_bytes(sizeof *pending);
    }
    if (group->consumers_room > 0) {
        bytes += heap_block_bytes(group->consumers_room * sizeof *group->consumers);
    }
    return bytes;
}

static void verify(const struct value *value) {
    const struct stream *stream = stream_of(value);
    size_t bytes = heap_block_bytes(sizeof *stream) + verify_nodes(stream);
    for (uint32_t i = 0; i < stream->groups_count; i++) {
        check(i == 0 || bytes_compare(stream_group_name(stream->groups[i - 1]),
                                      stream_group_name(stream->groups[i])) < 0);
        bytes += verify_group(stream->groups[i]);
    }
    if (stream->groups_room > 0) {
        bytes += heap_block_bytes(stream->groups_room * sizeof *stream->groups);
    }
    check(bytes == stream->bytes);
}

const struct form stream_form = {
    .encoding = encoding,
    .count = count,
    .memory = memory,
    .walk = walk,
    .verify = verify,
    .pieces = pieces,
    .free_some = free_some,
    .copy_some = copy_some,
    .relocate_some = relocate_some,
};
