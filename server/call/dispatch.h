/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch: from bytes to commands: parse, look up, check, route, run.
 *
 * Thread: home worker; op_run also on the worker that owns the keys.
 */
#ifndef SHOAL_SERVER_CALL_DISPATCH_H
#define SHOAL_SERVER_CALL_DISPATCH_H

#include "server/call/command_table.h"

struct client;
struct worker;

/* So many requests of a client are looked at together. */
#define DISPATCH_WINDOW 32

/* Works off the client's input until it is used up or must wait. */
void client_process(struct client *client);

/* Runs a PLACE_KEY command on this worker's shard and keeps statistics. */
void op_run(struct worker *worker, const struct command_ref *ref, struct bytes *argv, uint32_t argc,
            uint32_t db, const struct key *key, uint8_t manner, int64_t now_ms,
            struct reply *reply);

/* Statistics of a command that has run (ticks spent, reply->errors) or was refused. */
void stats_ran(struct worker *worker, const struct command_ref *ref, uint64_t ticks,
               const struct reply *reply);
void stats_refused(struct worker *worker, const struct command_ref *ref, const struct reply *reply);

#endif
