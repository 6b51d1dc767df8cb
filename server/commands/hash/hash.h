/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: the functions that hash_rows.c names, and what they share.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_HASH_HASH_H
#define SHOAL_SERVER_COMMANDS_HASH_HASH_H

#include "server/call/exec.h"
#include "shard/types/hash.h"

command_fn command_hdel;
command_fn command_hexists;
command_fn command_hexpire;
command_fn command_hexpireat;
command_fn command_hexpiretime;
command_fn command_hget;
command_fn command_hgetall;
command_fn command_hgetdel;
command_fn command_hgetex;
command_fn command_hincrby;
command_fn command_hincrbyfloat;
command_fn command_hkeys;
command_fn command_hlen;
command_fn command_hmget;
command_fn command_hmset;
command_fn command_hpersist;
command_fn command_hpexpire;
command_fn command_hpexpireat;
command_fn command_hpexpiretime;
command_fn command_hpttl;
command_fn command_hrandfield;
command_fn command_hscan;
command_fn command_hset;
command_fn command_hsetex;
command_fn command_hsetnx;
command_fn command_hstrlen;
command_fn command_httl;
command_fn command_hvals;

/* ---- What they share ---- */

/* A command's look at a hash, which was found, until it is done with it. */
struct hash_look hash_look_begin(const struct exec *x, const struct entry *entry);
void hash_look_end(const struct exec *x, const struct hash_look *look);

/* A command's change of a hash, or of what is to become one. Its end tells the event; EVENT_NONE
 * if nothing was changed. */
struct hash_change {
    struct change change;
    struct hash_edit edit;
};
void hash_change_begin(const struct exec *x, struct hash_change *c, struct entry *entry);
void hash_change_end(const struct exec *x, struct hash_change *c, enum key_event event);

#endif
