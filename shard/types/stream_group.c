/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_group: see the header. */
#include "shard/types/stream_group.h"

#include "base/check.h"
#include "shard/memory/heap.h"

/* ---- Rows of addresses ---- */

static void **row_grow(struct shard_heap *heap, void **row, uint32_t *room, uint32_t count) {
    if (count < *room) {
        return row;
    }
    uint32_t wanted = *room > 0 ? *room * 2 : 1;
    row = row == NULL ? heap_alloc(heap, wanted * sizeof *row)
                      : heap_resize(heap, row, *room * sizeof *row, wanted * sizeof *row);
    *room = wanted;
    return row;
}

static void row_add(void **row, uint32_t *count, uint32_t at, void *address) {
    memmove(&row[at + 1], &row[at], (*count - at) * sizeof *row);
    row[at] = address;
    (*count)++;
}

static void row_drop(void **row, uint32_t *count, uint32_t at) {
    (*count)--;
    memmove(&row[at], &row[at + 1], (*count - at) * sizeof *row);
}

/* ---- Groups ---- */

/* How many names are less. */
static uint32_t group_place(const struct stream *stream, struct bytes name) {
    uint32_t low = 0, high = stream->groups_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (bytes_compare(stream_group_name(stream->groups[middle]), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct stream_group *stream_group_find(const struct stream *stream, struct bytes name) {
    uint32_t at = group_place(stream, name);
    bool found =
        at < stream->groups_count && bytes_equal(stream_group_name(stream->groups[at]), name);
    return found ? stream->groups[at] : NULL;
}

struct stream_group *stream_group_add(struct shard_heap *heap, struct stream *stream,
                                      struct bytes name, struct stream_id last,
                                      int64_t entries_read) {
    size_t used = heap_used(heap);
    uint32_t at = group_place(stream, name);
    struct stream_group *group = heap_alloc(heap, sizeof *group + name.len);
    *group =
        (struct stream_group){.last = last, .entries_read = entries_read, .name_length = name.len};
    if (name.len > 0) {
        memcpy(group->name, name.ptr, name.len);
    }
    stream->groups = (struct stream_group **)row_grow(heap, (void **)stream->groups,
                                                      &stream->groups_room, stream->groups_count);
    row_add((void **)stream->groups, &stream->groups_count, at, group);
    stream->bytes += heap_used(heap) - used;
    return group;
}

static void drop_nothing(void *arg, struct stream_id id, void *address) {
    (void)arg;
    (void)id;
    (void)address;
}

static void drop_pending(void *arg, struct stream_id id, void *address) {
    (void)id;
    heap_release(arg, address, sizeof(struct stream_pending));
}

static void consumer_free(struct shard_heap *heap, struct stream_consumer *consumer) {
    while (idtree_drop_leaf(heap, &consumer->pending, drop_nothing, NULL)) {
    }
    heap_release(heap, consumer, sizeof *consumer + consumer->name_length);
}

/* The stream has it no more. */
static void unlink_group(struct shard_heap *heap, struct stream *stream,
                         struct stream_group *group) {
    row_drop((void **)stream->groups, &stream->groups_count,
             group_place(stream, stream_group_name(group)));
    if (stream->groups_count == 0) {
        heap_release(heap, stream->groups, stream->groups_room * sizeof *stream->groups);
        stream->groups = NULL;
        stream->groups_room = 0;
    }
}

void stream_group_remove(struct shard_heap *heap, struct stream *stream,
                         struct stream_group *group) {
    size_t used = heap_used(heap);
    while (idtree_drop_leaf(heap, &group->pending, drop_pending, heap)) {
    }
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        consumer_free(heap, group->consumers[i]);
    }
    if (group->consumers != NULL) {
        heap_release(heap, group->consumers, group->consumers_room * sizeof *group->consumers);
    }
    unlink_group(heap, stream, group);
    heap_release(heap, group, sizeof *group + group->name_length);
    stream->bytes += heap_used(heap) - used;
}

static size_t consumer_memory(const struct stream_consumer *consumer) {
    return heap_block_bytes(sizeof *consumer + consumer->name_length) +
           idtree_memory(&consumer->pending);
}

static size_t pending_memory(const struct stream_group *group) {
    return idtree_memory(&group->pending) +
           group->pending.count * heap_block_bytes(sizeof(struct stream_pending));
}

static size_t group_memory(const struct stream_group *group) {
    size_t bytes = heap_block_bytes(sizeof *group + group->name_length) + pending_memory(group);
    for (uint32_t i = 0; i < group->consumers_count; i++) {
        bytes += consumer_memory(group->consumers[i]);
    }
    if (group->consumers_room > 0) {
        bytes += heap_block_bytes(group->consumers_room * sizeof *group->consumers);
    }
    return bytes;
}

struct value stream_group_detach(struct shard_heap *heap, struct stream *stream,
                                 struct stream_group *group) {
    size_t used = heap_used(heap), moves = group_memory(group);
    unlink_group(heap, stream, group);
    stream->bytes += heap_used(heap) - used - moves;
    struct value value = stream_new(heap);
    struct stream *detached = stream_of(&value);
    used = heap_used(heap);
    detached->groups = (struct stream_group **)row_grow(heap, NULL, &detached->groups_room, 0);
    row_add((void **)detached->groups, &detached->groups_count, 0, group);
    detached->bytes += heap_used(heap) - used + moves;
    return value;
}

/* ---- Consumers ---- */

static uint32_t consumer_place(const struct stream_group *group, struct bytes name) {
    uint32_t low = 0, high = group->consumers_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (bytes_compare(stream_consumer_name(group->consumers[middle]), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct stream_consumer *stream_consumer_find(const struct stream_group *group, struct bytes name) {
    uint32_t at = consumer_place(group, name);
    bool found = at < group->consumers_count &&
                 bytes_equal(stream_consumer_name(group->consumers[at]), name);
    return found ? group->consumers[at] : NULL;
}

struct stream_consumer *stream_consumer_add(struct shard_heap *heap, struct stream *stream,
                                            struct stream_group *group, struct bytes name,
                                            int64_t now_ms) {
    size_t used = heap_used(heap);
    uint32_t at = consumer_place(group, name);
    struct stream_consumer *consumer = heap_alloc(heap, sizeof *consumer + name.len);
    *consumer =
        (struct stream_consumer){.seen_ms = now_ms, .active_ms = -1, .name_length = name.len};
    if (name.len > 0) {
        memcpy(consumer->name, name.ptr, name.len);
    }
    group->consumers = (struct stream_consumer **)row_grow(
        heap, (void **)group->consumers, &group->consumers_room, group->consumers_count);
    row_add((void **)group->consumers, &group->consumers_count, at, consumer);
    stream->bytes += heap_used(heap) - used;
    return consumer;
}

/* So many are taken out in less than a millisecond. */
#define ONE_BY_ONE_MAX 1000

bool stream_consumer_has_all(const struct stream_group *group,
                             const struct stream_consumer *consumer) {
    return consumer->pending.count == group->pending.count &&
           consumer->pending.count > ONE_BY_ONE_MAX;
}

struct value stream_consumer_detach(struct shard_heap *heap, struct stream *stream,
                                    struct stream_group *group, struct stream_consumer *consumer) {
    check(consumer->pending.count == group->pending.count);
    size_t moves = pending_memory(group) + consumer_memory(consumer);
    struct value value = stream_new(heap);
    struct stream *detached = stream_of(&value);
    struct stream_group *of_all =
        stream_group_add(heap, detached, BYTES(""), STREAM_ID_MIN, STREAM_COUNT_UNKNOWN);
    of_all->pending = group->pending;
    group->pending = (struct idtree){0};
    row_drop((void **)group->consumers, &group->consumers_count,
             consumer_place(group, stream_consumer_name(consumer)));
    stream->bytes -= moves;
    size_t used = heap_used(heap);
    of_all->consumers = (struct stream_consumer **)row_grow(heap, NULL, &of_all->consumers_room, 0);
    row_add((void **)of_all->consumers, &of_all->consumers_count, 0, consumer);
    detached->bytes += heap_used(heap) - used + moves;
    return value;
}

void stream_consumer_remove(struct shard_heap *heap, struct stream *stream,
                            struct stream_group *group, struct stream_consumer *consumer) {
    size_t used = heap_used(heap);
    struct idtree_place place;
    bool more = idtree_first(&consumer->pending, &place);
    for (; more; more = idtree_next(&place)) {
        struct stream_pending *pending = idtree_remove(heap, &group->pending, idtree_id(&place));
        heap_release(heap, pending, sizeof *pending);
    }
    row_drop((void **)group->consumers, &group->consumers_count,
             consumer_place(group, stream_consumer_name(consumer)));
    consumer_free(heap, consumer);
    stream->bytes += heap_used(heap) - used;
}

/* ---- Pending entries ---- */

struct stream_pending *stream_pending_give(struct shard_heap *heap, struct stream *stream,
                                           struct stream_group *group,
                                           struct stream_consumer *consumer, struct stream_id id) {
    struct stream_pending *pending = idtree_find(&group->pending, id);
    if (pending != NULL && pending->consumer == consumer) {
        return pending;
    }
    size_t used = heap_used(heap);
    if (pending != NULL) {
        idtree_remove(heap, &pending->consumer->pending, id);
    } else {
        pending = heap_alloc(heap, sizeof *pending);
        *pending = (struct stream_pending){0};
        idtree_add(heap, &group->pending, id, pending);
    }
    pending->consumer = consumer;
    idtree_add(heap, &consumer->pending, id, pending);
    stream->bytes += heap_used(heap) - used;
    return pending;
}

bool stream_pending_remove(struct shard_heap *heap, struct stream *stream,
                           struct stream_group *group, struct stream_id id) {
    size_t used = heap_used(heap);
    struct stream_pending *pending = idtree_remove(heap, &group->pending, id);
    if (pending == NULL) {
        return false;
    }
    idtree_remove(heap, &pending->consumer->pending, id);
    heap_release(heap, pending, sizeof *pending);
    stream->bytes += heap_used(heap) - used;
    return true;
}

/* ---- How far ---- */

/* Whether entries were deleted, one by one, at `from` or behind it: then counting up from there
 * would not count what was there. */
static bool has_gaps_from(const struct stream *stream, struct stream_id from) {
    return stream->length > 0 && !stream_id_is_zero(stream->max_deleted) &&
           !stream_id_less(stream->max_deleted, from);
}

int64_t stream_count_upto(const struct stream *stream, struct stream_id id) {
    if (stream->entries_added == 0) {
        return 0;
    }
    int64_t added = (int64_t)stream->entries_added;
    int64_t before = (int64_t)(stream->entries_added - stream->length);
    if (stream->length == 0 && !stream_id_less(stream->last, id)) {
        return added;
    }
    if (!stream_id_is_zero(id) && stream_id_less(id, stream->max_deleted)) {
        return STREAM_COUNT_UNKNOWN;
    }
    if (stream_id_equal(id, stream->last)) {
        return added;
    }
    if (stream_id_less(stream->last, id)) {
        return STREAM_COUNT_UNKNOWN; /* of what is still to come */
    }
    if (stream_id_is_zero(stream->max_deleted) ||
        stream_id_less(stream->max_deleted, stream->first)) {
        if (stream_id_less(id, stream->first)) {
            return before;
        }
        if (stream_id_equal(id, stream->first)) {
            return stream_one_more(before);
        }
    }
    return STREAM_COUNT_UNKNOWN;
}

void stream_group_reach(const struct stream *stream, struct stream_group *group,
                        struct stream_id id) {
    if (group->entries_read != STREAM_COUNT_UNKNOWN &&
        !stream_id_less(group->last, stream->first) && !has_gaps_from(stream, group->last)) {
        group->entries_read = stream_one_more(group->entries_read);
    } else if (stream->entries_added > 0) {
        group->entries_read = stream_count_upto(stream, id);
    }
    group->last = id;
}

bool stream_group_lag(const struct stream *stream, const struct stream_group *group, int64_t *ret) {
    *ret = 0;
    if (stream->entries_added == 0) {
        return true;
    }
    int64_t read = group->entries_read;
    if (read == STREAM_COUNT_UNKNOWN || has_gaps_from(stream, group->last)) {
        read = stream_count_upto(stream, group->last);
    }
    *ret = (int64_t)(stream->entries_added - (uint64_t)read);
    return read != STREAM_COUNT_UNKNOWN;
}
