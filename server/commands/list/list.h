/* SPDX-License-Identifier: BSD-3-Clause */
/* list: the functions that list_rows.c names, and what serves a client that waits for elements.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_LIST_LIST_H
#define SHOAL_SERVER_COMMANDS_LIST_LIST_H

#include "server/call/command.h"

command_fn command_blmove;
command_fn command_blmpop;
command_fn command_blpop;
command_fn command_brpop;
command_fn command_brpoplpush;
command_fn command_lindex;
command_fn command_linsert;
command_fn command_llen;
command_fn command_lmove;
command_fn command_lmpop;
command_fn command_lpop;
command_fn command_lpos;
command_fn command_lpush;
command_fn command_lpushx;
command_fn command_lrange;
command_fn command_lrem;
command_fn command_lset;
command_fn command_ltrim;
command_fn command_rpop;
command_fn command_rpoplpush;
command_fn command_rpush;
command_fn command_rpushx;

/* What a key has for who waits for a list. */
command_ready_fn list_ready;

/* ---- For commands that may wait ----
 * Each does what the command does once there is something: it takes elements of the list that was
 * found at a key, tells the events, states the effect as the command that does not wait (LPOP,
 * RPOP, LMOVE), and replies. */

/* BLPOP, BRPOP: the key and an element. */
void list_serve_pop(struct exec *x, const struct key *key, struct entry *entry, bool tail);
/* BLMPOP, LMPOP: the key and up to `count` elements. */
void list_serve_pops(struct exec *x, const struct key *key, struct entry *entry, bool tail,
                     uint64_t count);

struct list_move {
    bool from_tail, to_tail;
    bool named_rpoplpush; /* the effect is RPOPLPUSH */
};
/* BLMOVE, LMOVE, BRPOPLPUSH, RPOPLPUSH: argv has the source at 1 and the destination at 2, as
 * SPREAD_MOVE wants it. False, and nothing is written: there is nothing at the source. */
bool list_serve_move(struct exec *x, struct list_move move);

/* ---- Arguments ---- */

/* LEFT or RIGHT. False: the error is written. */
bool list_arg_tail(const struct exec *x, uint32_t argv_index, bool *ret_tail);
/* What LMPOP has from the number of its keys on (BLMPOP: from 2 on). */
struct list_pops {
    uint32_t first_key, keys;
    bool tail;
    uint64_t count;
};
bool list_arg_pops(const struct exec *x, uint32_t numkeys_index, struct list_pops *ret);
/* LMPOP, BLMPOP: from the first list that is there. False, and nothing is written: none is. */
bool list_pop_first(struct exec *x, const struct list_pops *pops);

#endif
