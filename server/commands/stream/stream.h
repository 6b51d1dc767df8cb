/* SPDX-License-Identifier: BSD-3-Clause */
/* stream: the functions that stream_rows.c names.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_STREAM_STREAM_H
#define SHOAL_SERVER_COMMANDS_STREAM_STREAM_H

#include "server/call/command.h"

command_fn command_xadd;
command_fn command_xdel;
command_fn command_xlen;
command_fn command_xrange;
command_fn command_xread;
command_fn command_xrevrange;
command_fn command_xsetid;
command_fn command_xtrim;

#endif
