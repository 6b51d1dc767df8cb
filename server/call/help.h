/* SPDX-License-Identifier: BSD-3-Clause */
/* help: the reply of a container's HELP.
 *
 * Thread: the one that runs the command.
 */
#ifndef SHOAL_SERVER_CALL_HELP_H
#define SHOAL_SERVER_CALL_HELP_H

#include "server/call/command.h"

/* A header with the container's name as it was called, then the lines, then HELP itself. `lines`
 * ends with NULL. */
void reply_help(struct exec *x, const char *const *lines);

/* The error of a subcommand whose arguments make no sense. */
void reply_subcommand_error(struct exec *x);
/* The error of a subcommand that is not there: the names as they were sent. */
void reply_subcommand_unknown(struct reply *reply, struct bytes container, struct bytes name);

#endif
