/* SPDX-License-Identifier: BSD-3-Clause */
/* families: the rows of all commands.
 *
 * Thread: constant.
 */
#ifndef SHOAL_SERVER_COMMANDS_FAMILIES_H
#define SHOAL_SERVER_COMMANDS_FAMILIES_H

#include "server/call/command.h"

/* Each ended by a row with name NULL. */
extern const struct command commands_acl[];
extern const struct command commands_replication[];
extern const struct command commands_cluster[];
extern const struct command commands_string[];
extern const struct command commands_generic[];
extern const struct command commands_connection[];
extern const struct command commands_server[];
extern const struct command commands_transaction[];
extern const struct command commands_list[];
extern const struct command commands_set[];
extern const struct command commands_hash[];
extern const struct command commands_sorted_set[];
extern const struct command commands_stream[];
extern const struct command commands_bitmap[];
extern const struct command commands_hyperloglog[];
extern const struct command commands_geo[];
extern const struct command commands_pubsub[];
extern const struct command commands_persistence[];
extern const struct command commands_scripting[];
extern const struct command commands_observe[];

/* All of them, ended by NULL: for command_table_new. */
extern const struct command *const command_families[];

#endif
