/* SPDX-License-Identifier: BSD-3-Clause */
/* families: see the header. */
#include "server/commands/families.h"

const struct command *const command_families[] = {
    commands_string,      commands_generic,     commands_connection,
    commands_server,      commands_transaction, commands_list,
    commands_set,         commands_hash,        commands_sorted_set,
    commands_stream,      commands_bitmap,      commands_hyperloglog,
    commands_geo,         commands_pubsub,      commands_persistence,
    commands_scripting,   commands_observe,     commands_acl,
    commands_replication, commands_cluster,     NULL,
};
