/* SPDX-License-Identifier: BSD-3-Clause */
/* string: the functions that string_rows.c names.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_STRING_STRING_H
#define SHOAL_SERVER_COMMANDS_STRING_STRING_H

#include "server/call/command.h"

command_fn command_append;
command_fn command_decr;
command_fn command_decrby;
command_fn command_delifeq;
command_fn command_get;
command_fn command_getdel;
command_fn command_getex;
command_fn command_getrange;
command_fn command_getset;
command_fn command_incr;
command_fn command_incrby;
command_fn command_incrbyfloat;
command_fn command_lcs;
command_fn command_mget;
command_fn command_mset;
command_fn command_msetex;
command_fn command_msetnx;
command_fn command_psetex;
command_fn command_set;
command_fn command_setex;
command_fn command_setnx;
command_fn command_setrange;
command_fn command_strlen;

/* SET's key is also read if GET is among its options. */
command_keys_fn set_find_keys;

#endif
