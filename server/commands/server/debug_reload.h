/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_reload: DEBUG RELOAD: all that is there is written as a file and read back; and DEBUG
 * LOADAOF: what is on the disk takes its place.
 *
 * Thread: the client's home, and each worker for what it has.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_DEBUG_RELOAD_H
#define SHOAL_SERVER_COMMANDS_SERVER_DEBUG_RELOAD_H

#include "server/call/command.h"

void debug_reload(struct exec *x);
void debug_loadaof(struct exec *x);

#endif
