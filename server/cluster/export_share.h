/* SPDX-License-Identifier: BSD-3-Clause */
/* export_share: what one shard does for slots that leave from here at once: all keys of those that
 * it has, as they were at one moment, and behind them what has changed since, as commands.
 *
 *     LISTEN   its writes are looked at from now on, also those that it does on other shards while
 *              they are parked: when all shards do, none is missed
 *     BEGIN    the cut: a walk shows the keys in slices, and what changes is kept until it is over
 *     FORGET   at any time
 *
 * A slot lies on one shard, so what comes of one shard in its order is right, however blocks of
 * several follow each other. Who gets them shows nothing of it before the end, so a transaction
 * need not stay in one piece.
 *
 * Thread: the worker's own; export_share_finish, and what a parked worker's share is told, by who
 * has parked it.
 */
#ifndef SHOAL_SERVER_CLUSTER_EXPORT_SHARE_H
#define SHOAL_SERVER_CLUSTER_EXPORT_SHARE_H

#include "base/text.h"
#include "cluster/brain/map.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct worker;

#define EXPORT_NAME_BYTES 41

/* MESSAGE_EXPORT_ORDER, from worker 0; freed there. */
enum export_step {
    EXPORT_LISTEN,
    EXPORT_BEGIN,
    EXPORT_TAKEN, /* so many bytes of its blocks have left, or nearly */
    EXPORT_FORGET,
};
struct export_order {
    struct message message;
    enum export_step step;
    char name[EXPORT_NAME_BYTES];
    size_t bytes;                 /* TAKEN */
    uint8_t slots[MAP_SLOTS / 8]; /* LISTEN */
};
void export_order_arrived(struct worker *worker, struct message *message);

/* MESSAGE_EXPORT_BLOCK, to worker 0, which frees it. */
enum export_said { EXPORT_LISTENS, EXPORT_KEYS, EXPORT_IS_WALKED, EXPORT_IS_OVER };
struct export_block {
    struct message message;
    enum export_said said; /* and this besides: */
    unsigned worker;
    char name[EXPORT_NAME_BYTES];
    struct text text;
};
void export_block_free(struct export_block *block);

/* In each turn, and by who visits: what there is to tell leaves. */
void export_shares_tell(struct worker *worker);
/* A slice of the walks; and whether there is more to do now. */
void export_shares_walk(struct worker *worker);
bool export_shares_are_busy(const struct worker *worker);
/* Of what waits here. */
size_t export_shares_memory(const struct worker *worker);
/* Whether the slot is to stay on its shard. */
bool export_shares_need_slot(const struct worker *worker, uint16_t slot);
/* In a view of all shards: what follows is not for the other end any more. */
void export_share_finish(struct worker *worker, const char *name);
void export_shares_free(struct worker *worker);

#endif
