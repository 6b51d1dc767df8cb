/* SPDX-License-Identifier: BSD-3-Clause */
/* save: all keys as a file, and a file as all keys.
 *
 * Thread: each function says.
 */
#ifndef SHOAL_SERVER_COMMANDS_PERSISTENCE_SAVE_H
#define SHOAL_SERVER_COMMANDS_PERSISTENCE_SAVE_H

#include "server/call/command.h"

struct server;
struct text;
struct worker;

/* Writes the file of the data (dbfilename) while all workers stand still; says so in the log, and
 * what went wrong. By the thread that parked them. */
bool save_all(struct worker *worker, int64_t now_ms);

/* Loads it, if it is there: before the workers run, by the thread that starts them. False, and why:
 * the server must not start. *ret_said: what the log shall say, empty if there was nothing. */
bool load_all(struct server *server, struct text *ret_said, struct text *why);

#endif
