/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_args: ids and other words that several stream commands read, and what several answer.
 *
 * What reads answers with the error itself when a word makes no sense, and returns false.
 *
 * Thread: the one that runs the command.
 */
#ifndef SHOAL_SERVER_COMMANDS_STREAM_STREAM_ARGS_H
#define SHOAL_SERVER_COMMANDS_STREAM_STREAM_ARGS_H

#include "server/call/exec.h"
#include "shard/types/stream_group.h"

/* Room for an id as text. */
#define STREAM_ID_BYTES 48

size_t stream_id_format(char *text, struct stream_id id);
static inline struct bytes stream_id_text(char *text, struct stream_id id) {
    return bytes_make(text, stream_id_format(text, id));
}

/* <ms>-<seq>, or <ms> alone, which means `seq`. `ret_any_seq` (or NULL): whether it is <ms>-*. */
bool stream_arg_id(const struct exec *x, uint32_t argv_index, uint64_t seq, bool *ret_any_seq,
                   struct stream_id *ret);
/* The same of a text, and no error is written. */
bool stream_id_parse(struct bytes text, struct stream_id *ret);
/* Where a range begins. */
bool stream_arg_from(const struct exec *x, uint32_t argv_index, struct stream_id *ret);
/* Both ends of a range: `-` and `+` are the least and the greatest, and ( before an id leaves it
 * out. */
bool stream_arg_range(const struct exec *x, uint32_t from_index, uint32_t to_index,
                      struct stream_id *ret_from, struct stream_id *ret_to);

/* The error of a group that is not there. */
void stream_no_group(const struct exec *x, struct bytes key, struct bytes group);

/* For the log: what a record of a pending entry, or a group, says now. */
void stream_say_pending(const struct exec *x, struct bytes key, const struct stream_group *group,
                        struct bytes id, const struct stream_pending *pending);
void stream_say_group(const struct exec *x, struct bytes key, const struct stream_group *group);

/* An entry: its id, and its fields and values. */
void reply_stream_id(struct reply *r, struct stream_id id);
void reply_stream_entry(struct reply *r, struct stream_iter *iter);

#endif
