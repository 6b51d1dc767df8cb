/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_group: who reads a stream together: how far they have come, and what each was given and
 * has not acknowledged.
 *
 * A pending entry is one record, in the order of ids once for the group and once for its consumer.
 * Groups of a stream and consumers of a group stand in the order of their names.
 *
 * Thread: the owner's; what takes something `const` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_STREAM_GROUP_H
#define SHOAL_SHARD_TYPES_STREAM_GROUP_H

#include "shard/types/stream.h"

/* Nobody knows how many entries there were up to an id. */
#define STREAM_COUNT_UNKNOWN INT64_C(-1)

struct stream_consumer {
    int64_t seen_ms;
    int64_t active_ms; /* -1: it never got anything */
    struct idtree pending;
    size_t name_length;
    char name[];
};

struct stream_pending {
    struct stream_consumer *consumer;
    int64_t delivered_ms;
    int64_t deliveries;
};

struct stream_group {
    struct stream_id last; /* delivered */
    int64_t entries_read;  /* up to that, or STREAM_COUNT_UNKNOWN */
    struct idtree pending;
    struct stream_consumer **consumers;
    uint32_t consumers_count, consumers_room;
    size_t name_length;
    char name[];
};

/* One more of a count that clients and dumps may set: behind the last number comes the first, as in
 * Valkey. */
static inline int64_t stream_one_more(int64_t count) {
    return (int64_t)((uint64_t)count + 1);
}

static inline struct bytes stream_group_name(const struct stream_group *group) {
    return bytes_make(group->name, group->name_length);
}
static inline struct bytes stream_consumer_name(const struct stream_consumer *consumer) {
    return bytes_make(consumer->name, consumer->name_length);
}

/* ---- Groups ---- */

struct stream_group *stream_group_find(const struct stream *stream, struct bytes name);
/* There is none of that name. */
struct stream_group *stream_group_add(struct shard_heap *heap, struct stream *stream,
                                      struct bytes name, struct stream_id last,
                                      int64_t entries_read);
void stream_group_remove(struct shard_heap *heap, struct stream *stream,
                         struct stream_group *group);
/* Takes it out with all that is pending in it: a stream of nothing else, to be freed in slices. */
struct value stream_group_detach(struct shard_heap *heap, struct stream *stream,
                                 struct stream_group *group);

/* ---- Consumers ---- */

struct stream_consumer *stream_consumer_find(const struct stream_group *group, struct bytes name);
/* There is none of that name. */
struct stream_consumer *stream_consumer_add(struct shard_heap *heap, struct stream *stream,
                                            struct stream_group *group, struct bytes name,
                                            int64_t now_ms);
/* Whether all that is pending in the group is this one's, and so much that it had better be taken
 * out at once (stream_consumer_detach) than one by one. */
bool stream_consumer_has_all(const struct stream_group *group,
                             const struct stream_consumer *consumer);
/* Takes it out with all that is pending, which it must have: as stream_group_detach. */
struct value stream_consumer_detach(struct shard_heap *heap, struct stream *stream,
                                    struct stream_group *group, struct stream_consumer *consumer);
/* With all that it was given. */
void stream_consumer_remove(struct shard_heap *heap, struct stream *stream,
                            struct stream_group *group, struct stream_consumer *consumer);

/* ---- Pending entries ---- */

static inline struct stream_pending *stream_pending_find(const struct stream_group *group,
                                                         struct stream_id id) {
    return idtree_find(&group->pending, id);
}
/* Of this consumer from now on, new or another's. Neither time nor count is touched of what was
 * pending; of a new one both are 0. */
struct stream_pending *stream_pending_give(struct shard_heap *heap, struct stream *stream,
                                           struct stream_group *group,
                                           struct stream_consumer *consumer, struct stream_id id);
/* False: it was not pending. */
bool stream_pending_remove(struct shard_heap *heap, struct stream *stream,
                           struct stream_group *group, struct stream_id id);

/* ---- How far ---- */

/* How many entries were ever added up to this id, or STREAM_COUNT_UNKNOWN. */
int64_t stream_count_upto(const struct stream *stream, struct stream_id id);
/* The group gets the entry of this id, which is greater than its last. */
void stream_group_reach(const struct stream *stream, struct stream_group *group,
                        struct stream_id id);
/* How many entries it has not got yet; less than none if somebody has set wrong numbers. False:
 * that is not known. */
bool stream_group_lag(const struct stream *stream, const struct stream_group *group, int64_t *ret);

#endif
