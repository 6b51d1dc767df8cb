/* SPDX-License-Identifier: BSD-3-Clause */
/* families: the rows of all commands.
 *
 * Thread: constant.
 */
#ifndef SHOAL_SERVER_COMMANDS_FAMILIES_H
#define SHOAL_SERVER_COMMANDS_FAMILIES_H

#include "server/call/command.h"

/* Each ended by a row with name NULL. */
extern const struct command commands_string[];
extern const struct command commands_generic[];
extern const struct command commands_connection[];
extern const struct command commands_server[];
extern const struct command commands_transaction[];

/* All of them, ended by NULL: for command_table_new. */
extern const struct command *const command_families[];

#endif
