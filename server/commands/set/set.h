/* SPDX-License-Identifier: BSD-3-Clause */
/* set: the commands on sets.
 *
 * Thread: the owner of the key. Those of several sets run at one of their owners, and are lent the
 * others.
 */
#ifndef SHOAL_SERVER_COMMANDS_SET_SET_H
#define SHOAL_SERVER_COMMANDS_SET_SET_H

#include "server/call/exec.h"
#include "shard/types/set.h"

command_fn command_sadd;
command_fn command_scard;
command_fn command_sdiff;
command_fn command_sdiffstore;
command_fn command_sinter;
command_fn command_sintercard;
command_fn command_sinterstore;
command_fn command_sismember;
command_fn command_smembers;
command_fn command_smismember;
command_fn command_smove;
command_fn command_spop;
command_fn command_srandmember;
command_fn command_srem;
command_fn command_sscan;
command_fn command_sunion;
command_fn command_sunionstore;

/* The thresholds as this thread has them. */
struct set_limits set_limits_of(const struct exec *x);

#endif
