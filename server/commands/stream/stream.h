/* SPDX-License-Identifier: BSD-3-Clause */
/* stream: the functions that stream_rows.c names.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_STREAM_STREAM_H
#define SHOAL_SERVER_COMMANDS_STREAM_STREAM_H

#include "server/call/command.h"

command_fn command_xack;
command_fn command_xadd;
command_fn command_xautoclaim;
command_fn command_xclaim;
command_fn command_xdel;
command_fn command_xgroup_create;
command_fn command_xgroup_createconsumer;
command_fn command_xgroup_delconsumer;
command_fn command_xgroup_destroy;
command_fn command_xgroup_help;
command_fn command_xgroup_setid;
command_fn command_xinfo_consumers;
command_fn command_xinfo_groups;
command_fn command_xinfo_help;
command_fn command_xinfo_stream;
command_fn command_xlen;
command_fn command_xpending;
command_fn command_xrange;
command_fn command_xread;
command_fn command_xreadgroup;
command_fn command_xrevrange;
command_fn command_xsetid;
command_fn command_xtrim;

command_ready_fn stream_read_ready;
command_ready_fn stream_readgroup_ready;
command_blocks_fn stream_read_blocks;

#endif
