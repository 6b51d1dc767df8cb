/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_commands: the functions that acl_rows.c names.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_COMMANDS_ACL_ACL_COMMANDS_H
#define SHOAL_SERVER_COMMANDS_ACL_ACL_COMMANDS_H

#include "server/call/command.h"

command_fn command_acl_cat;
command_fn command_acl_deluser;
command_fn command_acl_dryrun;
command_fn command_acl_genpass;
command_fn command_acl_getuser;
command_fn command_acl_help;
command_fn command_acl_list;
command_fn command_acl_load;
command_fn command_acl_log;
command_fn command_acl_save;
command_fn command_acl_setuser;
command_fn command_acl_users;
command_fn command_acl_whoami;

/* Users and rules, of those that are about a user. */
command_secret_fn acl_secret;

#endif
