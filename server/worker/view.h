/* SPDX-License-Identifier: BSD-3-Clause */
/* view: what commands may see of the worker they run on, which to them is a name.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_VIEW_H
#define SHOAL_SERVER_WORKER_VIEW_H

#include <stdbool.h>

struct acl_users;
struct arena;
struct clients;
struct config;
struct node;
struct rng;
struct rt;
struct server;
struct shard;
struct slot_stats;
struct map;
struct worker;
struct worker_stats;

struct server *worker_server(const struct worker *worker);
struct node *worker_node(const struct worker *worker);
/* Its number in the process. */
unsigned worker_id(const struct worker *worker);
struct rt *worker_rt(const struct worker *worker);
/* Its keys. */
struct shard *worker_shard(struct worker *worker);
/* Whether there is memory, on all shards, for what is not about keys (CMD_DENYOOM). */
bool worker_has_room(struct worker *worker);
/* The configuration as this worker knows it. */
const struct config *worker_config(const struct worker *worker);
/* The cluster as this worker knows it; NULL: it is in none. For the turn. */
const struct map *worker_map(const struct worker *worker);
/* The users as this worker knows them. */
const struct acl_users *worker_users(const struct worker *worker);
struct rng *worker_rng(struct worker *worker);
/* Memory until the requests that are being worked off are done with. */
struct arena *worker_scratch(struct worker *worker);
struct clients *worker_clients(struct worker *worker);
struct worker_stats *worker_stats(struct worker *worker);
const struct slot_stats *worker_slot_stats(const struct worker *worker);
/* DEBUG SET-ACTIVE-EXPIRE. */
void worker_set_active_expire(struct worker *worker, bool active);
/* DEBUG SET-DISABLE-DENY-SCRIPTS. */
void worker_set_scripts_debug(struct worker *worker, bool may);

#endif
