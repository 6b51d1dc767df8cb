/* SPDX-License-Identifier: BSD-3-Clause */
/* server_commands: the functions that server_rows.c names.
 *
 * Thread: home worker, but for MEMORY USAGE, which runs where its key is.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_SERVER_COMMANDS_H
#define SHOAL_SERVER_COMMANDS_SERVER_SERVER_COMMANDS_H

#include "server/call/command.h"

command_fn command_command;
command_fn command_command_count;
command_fn command_command_docs;
command_fn command_command_getkeys;
command_fn command_command_getkeysandflags;
command_fn command_command_help;
command_fn command_command_info;
command_fn command_command_list;
command_fn command_config_get;
command_fn command_config_help;
command_fn command_config_resetstat;
command_fn command_config_rewrite;
command_fn command_config_set;
command_fn command_dbsize;
command_fn command_debug;
command_fn command_flushall;
command_fn command_flushdb;
command_fn command_info;
command_fn command_lolwut;
command_fn command_memory_bigkeys;
command_fn command_memory_doctor;
command_fn command_module_help;
command_fn command_module_list;
command_fn command_module_refused;
command_fn command_monitor;
command_fn command_memory_help;
command_fn command_memory_malloc_stats;
command_fn command_memory_purge;
command_fn command_memory_stats;
command_fn command_memory_usage;
command_fn command_shutdown;
command_fn command_swapdb;
command_fn command_time;

/* Those that SWAPDB names. */
command_db_args_fn swapdb_db_args;
/* Whether a word of CONFIG SET is what a password is set to. */
command_secret_fn config_secret;

/* Of another command: sets one directive, also one that no client may, and goes on with `then`. Its
 * error is the answer. */
typedef void config_then_fn(struct exec *x);
void config_set_one(struct exec *x, const char *name, struct bytes value, config_then_fn *then);
/* CONFIG REWRITE; `everything`: with lines for defaults, too. The reply is written when it is done.
 */
void config_rewrite_file(struct exec *x, bool everything);

#endif
