/* SPDX-License-Identifier: BSD-3-Clause */
/* observe_commands: the functions that observe_rows.c names.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_COMMANDS_OBSERVE_OBSERVE_COMMANDS_H
#define SHOAL_SERVER_COMMANDS_OBSERVE_OBSERVE_COMMANDS_H

#include "server/call/command.h"

command_fn command_commandlog_get;
command_fn command_commandlog_help;
command_fn command_commandlog_len;
command_fn command_commandlog_reset;
command_fn command_hotkeys_get;
command_fn command_hotkeys_help;
command_fn command_hotkeys_reset;
command_fn command_latency_doctor;
command_fn command_latency_graph;
command_fn command_latency_help;
command_fn command_latency_histogram;
command_fn command_latency_history;
command_fn command_latency_latest;
command_fn command_latency_reset;
command_fn command_slowlog_get;
command_fn command_slowlog_help;
command_fn command_slowlog_len;
command_fn command_slowlog_reset;

#endif
