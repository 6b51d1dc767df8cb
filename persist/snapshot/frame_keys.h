/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_keys: the keys of a file of a snapshot, taken out of the frames that its reader (frame_reader)
 * gives, in their order.
 *
 *     frame_keys_begin(&keys, &options);                    a file
 *     frame_keys_frame(&keys, &frame)                       each of its frames that are wanted
 *     while (frame_keys_some(&keys, budget) == FRAME_KEYS_SLICE) { let others work }
 *     frame_keys_is_whole(&keys)                            behind the last
 *     frame_keys_end(&keys);
 *
 * The bytes of a frame must stay until all of it was taken.
 *
 * Thread: the keyspace's owner's.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_FRAME_KEYS_H
#define SHOAL_PERSIST_SNAPSHOT_FRAME_KEYS_H

#include "base/text.h"
#include "persist/snapshot/frames.h"
#include "persist/snapshot/rdb_keys.h"

struct frame_keys {
    struct rdb_keys keys; /* its `loaded` counts what was taken */
    struct text raw;      /* of a frame that was packed */
    struct text rest;     /* of a value, that the frames before it have left */
    struct rdb_input input;
};

void frame_keys_begin(struct frame_keys *keys, const struct rdb_keys_options *options);
void frame_keys_end(struct frame_keys *keys);

/* NULL, or what is wrong. */
const char *frame_keys_frame(struct frame_keys *keys, const struct frame *frame);
enum frame_keys_got {
    FRAME_KEYS_SLICE, /* that were `budget` keys */
    FRAME_KEYS_DONE,  /* the frame was taken */
    FRAME_KEYS_BAD,   /* keys->input.error says what is wrong */
};
enum frame_keys_got frame_keys_some(struct frame_keys *keys, uint32_t budget);
/* False: the last of them ended in the middle of a key that was wanted. */
static inline bool frame_keys_is_whole(const struct frame_keys *keys) {
    return !rdb_keys_in_own_key(&keys->keys);
}

#endif
