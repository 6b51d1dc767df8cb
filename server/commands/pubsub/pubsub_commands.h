/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub_commands: the functions that pubsub_rows.c names.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_COMMANDS_PUBSUB_PUBSUB_COMMANDS_H
#define SHOAL_SERVER_COMMANDS_PUBSUB_PUBSUB_COMMANDS_H

#include "server/call/command.h"

command_fn command_psubscribe;
command_fn command_publish;
command_fn command_pubsub_channels;
command_fn command_pubsub_help;
command_fn command_pubsub_numpat;
command_fn command_pubsub_numsub;
command_fn command_pubsub_shardchannels;
command_fn command_pubsub_shardnumsub;
command_fn command_punsubscribe;
command_fn command_spublish;
command_fn command_ssubscribe;
command_fn command_subscribe;
command_fn command_sunsubscribe;
command_fn command_unsubscribe;

#endif
