/* SPDX-License-Identifier: BSD-3-Clause */
/* replication: the commands by which replicas ask for the stream, and are asked about.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_COMMANDS_REPLICATION_REPLICATION_H
#define SHOAL_SERVER_COMMANDS_REPLICATION_REPLICATION_H

#include "server/call/command.h"

command_fn command_failover;
command_fn command_psync;
command_fn command_replconf;
command_fn command_replicaof;
command_fn command_role;
command_fn command_sync;

struct role;

/* Who has changed the role by himself answers so, and the configuration knows of it. */
void replicaof_configure(struct exec *x, const struct role *role);
/* PSYNC ... FAILOVER: this server is a primary from now on, if it follows that stream; then `then`,
 * or an error. */
void replicaof_promote(struct exec *x, struct bytes id, void (*then)(struct exec *x));

#endif
