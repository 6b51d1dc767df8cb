/* SPDX-License-Identifier: BSD-3-Clause */
/* connection: the functions that connection_rows.c names.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_COMMANDS_CONNECTION_CONNECTION_H
#define SHOAL_SERVER_COMMANDS_CONNECTION_CONNECTION_H

#include "server/call/command.h"

command_fn command_auth;
command_fn command_client_caching;
command_fn command_client_capa;
command_fn command_client_getname;
command_fn command_client_getredir;
command_fn command_client_help;
command_fn command_client_id;
command_fn command_client_import_source;
command_fn command_client_info;
command_fn command_client_kill;
command_fn command_client_list;
command_fn command_client_no_evict;
command_fn command_client_no_touch;
command_fn command_client_pause;
command_fn command_client_reply;
command_fn command_client_setinfo;
command_fn command_client_setname;
command_fn command_client_tracking;
command_fn command_client_trackinginfo;
command_fn command_client_unblock;
command_fn command_client_unpause;
command_fn command_echo;
command_fn command_hello;
command_fn command_ping;
command_fn command_quit;
command_fn command_reset;
command_fn command_select;

#define ERR_CLIENT_NAME "ERR Client names cannot contain spaces, newlines or special characters."

/* Whether a name, or a library's name or version, is made of visible ASCII only. */
bool client_text_valid(struct bytes text);

/* The one that SELECT names. */
command_db_args_fn select_db_args;

/* All but the name; what stands behind AUTH. */
command_secret_fn auth_secret;
command_secret_fn hello_secret;

#endif
