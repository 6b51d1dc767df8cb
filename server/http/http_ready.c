/* SPDX-License-Identifier: BSD-3-Clause */
/* http_ready: see the header. */
#include "server/http/http_ready.h"

#include "server/cluster/cluster_map.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

const char *http_not_ready(const struct worker *worker) {
    const struct server *server = worker->server;
    const struct config *config = worker->config;
    bool evicts = config->maxmemory_policy != CONFIG_EVICT_NONE;
    bool is_stale = server->role.replica && !config->replica_serve_stale_data &&
                    shared_upstream_is_down(server->shared);
    bool is_down = worker->cluster != NULL && worker->cluster->map->state != MAP_STATE_OK;
    return worker->loop.stopping             ? "the server ends"
           : shared_loading(server->shared)  ? "data is being loaded"
           : server_busy_script(server) != 0 ? "a script runs for long"
           : is_down                         ? "the cluster is down"
           : is_stale                        ? "the link to the primary is down"
           : worker->lacks_replicas          ? "writes are refused: there are too few replicas"
           : worker->hindered_by_disk        ? "writes are refused: the data could not be saved"
           : config->maxmemory > 0 && !evicts &&
                   (shared_lacks_room(server->shared) ||
                    shared_used_memory(server->shared) >= config->maxmemory)
               ? "writes are refused: maxmemory is reached"
               : NULL;
}
