/* SPDX-License-Identifier: BSD-3-Clause */
/* scripting: EVAL, EVALSHA and SCRIPT, FCALL and FUNCTION.
 *
 * Thread: the worker's that runs them.
 */
#ifndef SHOAL_SERVER_COMMANDS_SCRIPTING_SCRIPTING_H
#define SHOAL_SERVER_COMMANDS_SCRIPTING_SCRIPTING_H

#include "server/call/command.h"

command_fn command_eval, command_evalsha, command_eval_ro, command_evalsha_ro;
command_fn command_script_load, command_script_exists, command_script_flush, command_script_show,
    command_script_kill, command_script_debug, command_script_help;
command_fn command_fcall, command_fcall_ro;
command_fn command_function_load, command_function_delete, command_function_flush,
    command_function_list, command_function_stats, command_function_dump, command_function_restore,
    command_function_kill, command_function_help;

/* SCRIPT KILL, or (`function`) FUNCTION KILL. */
void script_kill(struct exec *x, bool function);
/* A script that is no function runs for long; then the error that says so is written. */
bool script_is_busy(struct exec *x);

#endif
