/* SPDX-License-Identifier: BSD-3-Clause */
/* transaction: the functions that transaction_rows.c names.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_COMMANDS_TRANSACTION_TRANSACTION_H
#define SHOAL_SERVER_COMMANDS_TRANSACTION_TRANSACTION_H

#include "server/call/command.h"

command_fn command_discard;
command_fn command_exec;
command_fn command_multi;
command_fn command_unwatch;
command_fn command_watch;

#endif
