/* SPDX-License-Identifier: BSD-3-Clause */
/* save: all keys as a file.
 *
 * Thread: each function says.
 */
#ifndef SHOAL_SERVER_COMMANDS_PERSISTENCE_SAVE_H
#define SHOAL_SERVER_COMMANDS_PERSISTENCE_SAVE_H

#include "server/call/command.h"

struct worker;

/* Writes the file of the data (dbfilename) while all workers stand still; says so in the log, and
 * what went wrong. By the thread that parked them. */
bool save_all(struct worker *worker, int64_t now_ms);

#endif
