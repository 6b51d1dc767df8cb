/* SPDX-License-Identifier: BSD-3-Clause */
/* sorted_set: the functions that sorted_set_rows.c names, and what the family shares.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_SORTED_SET_SORTED_SET_H
#define SHOAL_SERVER_COMMANDS_SORTED_SET_SORTED_SET_H

#include "server/call/command.h"
#include "shard/types/zset.h"

command_fn command_bzmpop;
command_fn command_bzpopmax;
command_fn command_bzpopmin;
command_fn command_zadd;
command_fn command_zcard;
command_fn command_zcount;
command_fn command_zdiff;
command_fn command_zdiffstore;
command_fn command_zincrby;
command_fn command_zinter;
command_fn command_zintercard;
command_fn command_zinterstore;
command_fn command_zlexcount;
command_fn command_zmpop;
command_fn command_zmscore;
command_fn command_zpopmax;
command_fn command_zpopmin;
command_fn command_zrandmember;
command_fn command_zrange;
command_fn command_zrangebylex;
command_fn command_zrangebyscore;
command_fn command_zrangestore;
command_fn command_zrank;
command_fn command_zrem;
command_fn command_zremrangebylex;
command_fn command_zremrangebyrank;
command_fn command_zremrangebyscore;
command_fn command_zrevrange;
command_fn command_zrevrangebylex;
command_fn command_zrevrangebyscore;
command_fn command_zrevrank;
command_fn command_zscan;
command_fn command_zscore;
command_fn command_zunion;
command_fn command_zunionstore;

/* For those that wait. */
command_ready_fn sorted_set_ready;

/* When members leave a listpack. */
struct zset_bounds sorted_set_bounds(const struct exec *x);
/* The sorted set of the command's key, to be read. False: there is none, or something else, and
 * `reply_none` (NULL: nothing) or the error was written. */
bool sorted_set_find(struct exec *x, void (*reply_none)(struct reply *r), struct value *ret);
/* An open change of it. False: as above. */
bool sorted_set_open(struct exec *x, void (*reply_none)(struct reply *r), struct change *ret);
/* A key becomes these, which ascend, and the reply is how many; of none it is deleted. Whatever it
 * was before: the items may be in it. */
void sorted_set_store(struct exec *x, const struct key *key, const struct zset_item *items,
                      uint64_t count, enum key_event event);
/* What ZADD with these words does, on the command's key; and that is its effect. */
void sorted_set_add(struct exec *x, const struct bytes *argv, uint32_t argc);

/* Puts different members in order; *items is from malloc, and may be another block afterwards. */
void sorted_set_sort(struct zset_item **items, uint64_t count);

/* What is popped, and how it is told. */
struct sorted_set_popping {
    bool max;
    bool nested;    /* each as an array of two */
    bool tells_key; /* before what was popped */
    uint64_t count; /* at most */
};
/* Pops from what a key has, and replies. Returns how many. The caller states the effect, if it is
 * not the command as it was sent. */
uint64_t sorted_set_pop(struct exec *x, const struct key *key, struct entry *entry,
                        const struct sorted_set_popping *popping);

void sorted_set_reply_zero(struct reply *r);
void sorted_set_reply_empty(struct reply *r);

#endif
