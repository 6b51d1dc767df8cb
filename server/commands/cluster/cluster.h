/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: CLUSTER, and what else there is for clients of a cluster.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_COMMANDS_CLUSTER_CLUSTER_H
#define SHOAL_SERVER_COMMANDS_CLUSTER_CLUSTER_H

#include "server/call/command.h"

struct map;

command_fn command_asking;
command_fn command_cluster_asked; /* all that the brain answers (cluster/brain/brain.h) */
command_fn command_cluster_countkeysinslot;
command_fn command_cluster_flushslot;
command_fn command_cluster_getkeysinslot;
command_fn command_cluster_help;
command_fn command_cluster_keyslot;
command_fn command_cluster_myid;
command_fn command_cluster_myshardid;
command_fn command_cluster_shards;
command_fn command_cluster_slot_stats;
command_fn command_cluster_slots;
command_fn command_readonly;
command_fn command_readwrite;

/* For others than its command: asks for CLUSTER INFO, as a part of a scatter whose result is one
 * pointer; at home the text can be taken from there: malloc. */
bool cluster_info_part(struct worker *worker, const void *args, void *part);
char *cluster_info_take(void *part);

/* The map, or NULL with the error: this is no cluster. */
const struct map *cluster_map_or_error(struct exec *x);

#endif
