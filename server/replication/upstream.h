/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream: the connection of a replica to its primary: a client (client_connect) of worker 0 whose
 * requests are the stream.
 *
 *     OFF        this is a primary
 *     WAITS      for a moment, or until nothing of the connection before is on its way
 *     RESOLVES   a name
 *     CONNECTS
 *     TALKS      PING, AUTH, REPLCONF ..., PSYNC: one after the other
 *     RECEIVES   a full sync, into a file
 *     LOADS      that file, in place of all keys
 *     STREAMS    what comes is run as the requests of any client are: on their shards, in order
 *
 * What has been applied is a prefix of the stream: requests of one connection take effect in the
 * order in which they came. Its length is known whenever nothing of the connection is on its way,
 * and that is the offset that is acknowledged, and asked for when the connection is made anew. If
 * that does not come about by itself nothing more is read until it does. An open MULTI is no part
 * of it: it is dropped with its connection.
 *
 * Thread: worker 0, but for what a view of all shards is needed for.
 */
#ifndef SHOAL_SERVER_REPLICATION_UPSTREAM_H
#define SHOAL_SERVER_REPLICATION_UPSTREAM_H

#include "base/bytes.h"
#include "base/check.h"
#include "server/client/client.h"
#include "server/client/large.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct primary_place;
struct rt_buffer;
struct upstream;
struct worker;

struct upstream *upstream_new(struct worker *home);
void upstream_free(struct upstream *upstream); /* after its runtime */

/* The role has changed, or is to: the connection ends, and what has come of it is applied. True:
 * all of it is, and its length is known (primary.h); else ask again. */
bool upstream_stop(struct upstream *upstream);
/* By who has a view of all shards: the server follows whom its role names, or (no replica) nobody.
 */
void upstream_begin(struct upstream *upstream);

/* A save is to begin that says where in the stream it stands: nothing more of that is run, until
 * upstream_place or for a moment. True: what was begun is over, or lasts too long. */
bool upstream_hold(struct upstream *upstream);
/* By who has a view of all shards: what is there now is all of the stream up to that place, and
 * nothing else. False: that is not known. */
bool upstream_place(struct upstream *upstream, struct primary_place *ret);

/* Its role is to be that of the one it follows: it asks so (PSYNC ... FAILOVER); or no longer. */
void upstream_hand_over(struct upstream *upstream, bool on);
enum upstream_handed { UPSTREAM_ASKS, UPSTREAM_ACCEPTED, UPSTREAM_REFUSED };
enum upstream_handed upstream_handed(const struct upstream *upstream);

/* The server is about to end: what is read beside the data (persistence/aside.h) is no more. False:
 * ask again. */
bool upstream_ends_reading(struct upstream *upstream);
/* In each turn; ten times a second. */
void upstream_turn(struct upstream *upstream);
void upstream_cron(struct upstream *upstream);

/* ---- What its connection tells ---- */

void upstream_connected(struct client *client);
void upstream_data(struct client *client, struct rt_buffer *buffer, struct bytes bytes);
void upstream_leave(struct client *client); /* any client's; nothing if it is not the upstream's */
/* The same, when all that it was given has been run. */
void upstream_forget(struct client *client);
/* REPLCONF GETACK. */
void upstream_acknowledge(struct client *client);

/* The beginning of a struct upstream: how many bytes of the stream have been given to the client,
 * and where its last request outside of a MULTI began. */
struct upstream_account {
    uint64_t fed, outside;
};
static inline uint64_t upstream_used(const struct client *client) {
    const struct upstream_account *account = (const struct upstream_account *)client->upstream;
    return account->fed - client->input.len - large_bytes(client->large);
}
/* A request that stands there in the client's input is about to run. */
static inline void upstream_note(const struct client *client, size_t at) {
    if (UNLIKELY(client->upstream != NULL) && client->multi == NULL) {
        ((struct upstream_account *)client->upstream)->outside = upstream_used(client) + at;
    }
}

/* ---- What is shown ---- */

struct upstream_state {
    const char *words; /* ROLE's */
    bool up, syncs;
    bool lacks; /* what there is is not the primary's: a copy of all is to come, or has broken off */
    int64_t heard_ms;         /* so long ago; -1: it is not connected */
    int64_t sync_ms;          /* while it syncs: nothing has come for so long */
    int64_t down_ms;          /* so long; -1: never was up */
    uint64_t read;            /* offset of what has come */
    uint64_t total, received; /* of a full sync; total 0: it does not say */
};
void upstream_state(const struct upstream *upstream, struct upstream_state *ret);

#endif
