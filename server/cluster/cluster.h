/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster: a node of a cluster: what the brain (cluster/brain/brain.h) wants is done here, by a
 * thread of its own that waits for no shard, so that a long script is no dead node.
 *
 *     bus sockets      wires.h, on this thread's runtime
 *     nodes.conf       beside it; what must be on the disk first is held back by the brain
 *     the map          to every worker by mail (cluster_map.h)
 *     CLUSTER ...      by mail from the worker that runs it, and back (cluster_ask)
 *     role, keys       by mail to worker 0, which does one after the other (errands.h)
 *
 * Thread: the cluster's own, but for what is said.
 */
#ifndef SHOAL_SERVER_CLUSTER_CLUSTER_H
#define SHOAL_SERVER_CLUSTER_CLUSTER_H

#include "base/bytes.h"
#include "base/text.h"
#include "cluster/brain/brain.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct cluster;
struct config;
struct rt;
struct server;
struct worker;

/* Reads nodes.conf and listens on the bus port. `rt` is taken over, also when this fails: NULL with
 * the reason. Its box in the post office is the first behind the workers'. */
struct cluster *cluster_new(struct server *server, struct rt *rt, struct text *err);
void cluster_free(struct cluster *cluster); /* NULL is fine; when no worker runs any more */
/* One turn after the other until the server ends; or a single one: false: it has ended. */
void cluster_run(struct cluster *cluster);
bool cluster_turn(struct cluster *cluster);

/* ---- Workers ---- */

/* What a client's CLUSTER subcommand gets. */
struct cluster_asked {
    /* Called once by the worker that asked, in a turn, with a whole RESP reply, when all that it
     * tells of is on the disk and every worker has the newest map. */
    void (*done)(struct cluster_asked *asked, struct bytes reply);
    uint64_t keys, slot_keys; /* brain_asks */
    uint64_t client;          /* who asks, of this worker's */
    char my_ip[48];
    bool is_tls, is_ipv6, from_primary;
    bool at_once; /* others stand still meanwhile: it waits for no replica */
    bool told;    /* SETSLOT: it is asked again, as its answer was CLUSTER_TOLD */
    uint8_t resp;
};
/* Replicas have it: keys are counted anew, and it is done. */
#define CLUSTER_TOLD "+TOLD\r\n"
/* The words are copied; `asked` stays until `done`. */
void cluster_ask(struct worker *worker, const struct bytes *words, unsigned count,
                 struct cluster_asked *asked);
/* MESSAGE_CLUSTER_ANSWER. */
void cluster_answer_arrived(struct worker *worker, struct message *message);
/* MESSAGE_CLUSTER_HEARD: another node's client has published something. */
void cluster_heard(struct worker *worker, struct message *message);

/* What a client of this node has published: to the other nodes; to those of this shard. */
void cluster_publish(struct worker *worker, struct bytes channel, struct bytes message,
                     bool sharded);

/* Worker 0, of a SETSLOT (letters.h). */
void cluster_tell_told(struct worker *worker, uint64_t telling, unsigned what);
/* Worker 0: one more replica reads the stream. */
void cluster_tell_followed(struct worker *worker);
/* Worker 0: nothing is written here from this offset on. */
void cluster_tell_paused(struct worker *worker, uint64_t offset);
/* Of slots that come here at once (imports.h): nothing of their connection is on its way any more;
 * all replicas have what came by it; worker 0: what came has been dropped; all
 * keys of this replica are new, and the copy says this of slots on their way (brain_synced). */
void cluster_tell_import_gone(struct worker *worker, uint64_t client, bool silent);
void cluster_tell_import_held(struct worker *worker, uint64_t client);
void cluster_tell_import_dropped(struct worker *worker, const char *name);
void cluster_tell_synced(struct worker *worker, struct bytes opens);
/* Worker 0, of slots that leave from here at once (exports.h). */
void cluster_tell_export(struct worker *worker, const char *name, enum brain_export_news news,
                         struct bytes text);
void cluster_tell_export_left(struct worker *worker, const char *name, uint64_t left);
/* Worker 0: the configuration is another. */
void cluster_configure(struct worker *worker, const struct config *config);
/* CONFIG RESETSTAT: what it counts begins anew, before whatever this worker asks next. */
void cluster_reset_stats(struct worker *worker);
/* Worker 0: the server ends; this thread shall. */
void cluster_stop(struct worker *worker);

#endif
