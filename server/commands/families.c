/* SPDX-License-Identifier: BSD-3-Clause */
/* families: see the header. */
#include "server/commands/families.h"

const struct command *const command_families[] = {
    commands_string, commands_generic,     commands_connection,
    commands_server, commands_transaction, NULL,
};
