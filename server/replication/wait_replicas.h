/* SPDX-License-Identifier: BSD-3-Clause */
/* wait_replicas: WAIT: a client waits until so many replicas have acknowledged all that was done
 * before; WAITAOF: until it is on so many disks.
 *
 *     the client's worker                          the stream's home
 *
 *     it waits (wait.h); REPLICA_WAIT   ------->   what was drawn by now has an offset, once it is
 *                                                  in the stream; replicas are asked (GETACK)
 *                                       <-------   so many have it; in the end: enough have
 *     its time is over, or it leaves    ------->   forgotten
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_REPLICATION_WAIT_REPLICAS_H
#define SHOAL_SERVER_REPLICATION_WAIT_REPLICAS_H

#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct worker;

void wait_replicas(struct client *client, uint32_t wanted, int64_t until_ms);
/* WAITAOF; `here`: on ours, too. */
void wait_disks(struct client *client, bool here, uint32_t wanted, int64_t until_ms);
/* Worker 0, for the cluster's thread: until so many have what this worker has published before, or
 * (`ends`) no longer; cluster_tell_told. */
void wait_telling(struct worker *worker, uint64_t telling, uint32_t wanted, bool ends);
/* Replicas that have acknowledged all that was done before and that this worker knows of, as far as
 * that is known without asking them: while others write it may be fewer. */
uint32_t wait_acking(const struct worker *worker);
/* Whether all that anything here may tell of is on our disk now. */
bool wait_is_on_disk(const struct worker *worker);
/* MESSAGE_ACKNOWLEDGED, from the home: its word on a wait; freed here. */
struct acknowledged_mail {
    struct message message;
    uint64_t client, command; /* the wait began as this one of the client's commands */
    uint32_t count;
    bool here; /* it is on our disk */
    bool enough;
    bool never; /* there is no log any more */
};
void wait_replicas_arrived(struct worker *worker, struct message *message);

#endif
