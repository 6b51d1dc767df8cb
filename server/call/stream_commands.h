/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_commands: a stream as the commands that make it: its entries, what it remembers of ids,
 * its groups and what is pending in them.
 *
 * Thread: any that may read the stream.
 */
#ifndef SHOAL_SERVER_CALL_STREAM_COMMANDS_H
#define SHOAL_SERVER_CALL_STREAM_COMMANDS_H

#include "base/bytes.h"
#include "shard/ds/idtree.h"

struct stream;

/* Words live during the call. */
typedef void stream_command_fn(void *arg, const struct bytes *argv, uint32_t argc);

/* What is said of it, and how far: all else is 0 at first. The stream does not change meanwhile. */
struct stream_saying {
    const struct stream *stream;
    struct bytes name;
    stream_command_fn *say;
    void *arg;
    struct stream_id from; /* the next entry, or pending one */
    uint32_t group, consumer;
    bool entries_said, group_said, consumer_said;
};

/* Says about `count` of the commands that make it, for a key that is missing. True: that was all.
 * What is pending of entries that were deleted is left out: no command makes it. */
bool stream_say_some(struct stream_saying *saying, uint64_t count);

#endif
