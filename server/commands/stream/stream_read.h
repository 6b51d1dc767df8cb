/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_read: what XREAD and XREADGROUP have in common.
 *
 * Thread: the one that runs the command.
 */
#ifndef SHOAL_SERVER_COMMANDS_STREAM_STREAM_READ_H
#define SHOAL_SERVER_COMMANDS_STREAM_STREAM_READ_H

#include "server/commands/stream/stream_args.h"

struct read_request {
    bool of_group; /* XREADGROUP */
    bool has_group, no_ack, blocks;
    struct bytes group, consumer;
    uint64_t count;          /* of each stream, at most */
    int64_t block_ms;        /* 0: for ever */
    uint32_t first, streams; /* the first key in argv; its id stands `streams` words further */
};

/* All words up to the ids. False, with an error, if they make no sense. */
bool read_request_parse(const struct exec *x, bool of_group, struct read_request *r);

/* The name after GROUP. */
struct bytes stream_read_group(const struct bytes *argv, uint32_t argc);
/* For row->ready: where the id of x->key, for which a client waits, stands in argv. */
uint32_t stream_waited_id(const struct exec *x);

/* The reply's head; of each stream that is in it the beginning. */
void reply_streams_head(struct reply *r, uint32_t streams);
void reply_stream_name(struct reply *r, struct bytes name);

#endif
