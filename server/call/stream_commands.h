/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_commands: a stream as the commands that make it: its entries, what it remembers of ids,
 * its groups and what is pending in them.
 *
 * Thread: any that may read the stream.
 */
#ifndef SHOAL_SERVER_CALL_STREAM_COMMANDS_H
#define SHOAL_SERVER_CALL_STREAM_COMMANDS_H

#include "shard/types/stream.h"

/* Words live during the call. */
typedef void stream_command_fn(void *arg, const struct bytes *argv, uint32_t argc);

/* For a key that is missing. What is pending of entries that were deleted is left out: no command
 * makes it. */
void stream_commands(const struct stream *stream, struct bytes name, stream_command_fn *say,
                     void *arg);

#endif
