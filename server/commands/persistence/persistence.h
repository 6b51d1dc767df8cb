/* SPDX-License-Identifier: BSD-3-Clause */
/* persistence: the functions that persistence_rows.c names.
 *
 * Thread: the shard that owns the key; the others: the client's home.
 */
#ifndef SHOAL_SERVER_COMMANDS_PERSISTENCE_PERSISTENCE_H
#define SHOAL_SERVER_COMMANDS_PERSISTENCE_PERSISTENCE_H

#include "server/call/command.h"

command_fn command_bgrewriteaof;
command_fn command_bgsave;
command_fn command_dump;
command_fn command_lastsave;
command_fn command_migrate;
command_keys_fn migrate_find_keys;
command_secret_fn migrate_secret;
command_send_fn migrate_send;
command_fn command_restore;
command_fn command_save;

#endif
