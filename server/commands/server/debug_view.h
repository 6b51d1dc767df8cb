/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_view: DEBUG VIEW, some commands on keys of any shards at one moment, on one thread, while
 * the other workers are parked: what a script in global mode does, without a script.
 *
 * Thread: home.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_DEBUG_VIEW_H
#define SHOAL_SERVER_COMMANDS_SERVER_DEBUG_VIEW_H

#include "server/call/command.h"

command_fn debug_view;

#endif
