/* SPDX-License-Identifier: BSD-3-Clause */
/* failover: FAILOVER: a primary hands over to one of its replicas, and nothing is lost.
 *
 *     NONE
 *       | failover_begin
 *     WAITS         writes stand still, in a view of all shards, and with them what runs out, what
 *       |           is evicted, PING; replicas are asked how far they are (GETACK)
 *       | the target has acknowledged all that there is, and in a view it is still so; or the time
 *       | is over, and it is to be forced
 *     HANDS_OVER    this server follows the target, which it asks to be the primary
 *       | it goes on as such                      | it refuses; or FAILOVER ABORT
 *     NONE, writes go on: they are refused      BACK: what has come is applied, then this server is
 *                                               a primary again, and writes go on
 *
 * What this does is done by the means of a command (client/inner.h), which FAILOVER brings along:
 * it holds all locks and has a view.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_REPLICATION_FAILOVER_H
#define SHOAL_SERVER_REPLICATION_FAILOVER_H

#include "server/call/command.h"
#include "server/replication/role.h"

#include <stdbool.h>
#include <stdint.h>

struct failover;
struct worker;

struct failover *failover_new(struct worker *home);
void failover_free(struct failover *failover);

struct failover_wish {
    bool named; /* to this one */
    char host[RT_HOST_NAME_MAX + 1];
    int port;
    bool force;         /* when its time is over */
    int64_t timeout_ms; /* 0: it has none */
    command_fn *step;   /* runs failover_in_view with all locks held and a view of all shards */
};
/* NULL, or the error. */
const char *failover_begin(struct failover *failover, const struct failover_wish *wish);
/* Writes stand still, or it is over. */
bool failover_has_begun(const struct failover *failover);
const char *failover_abort(struct failover *failover);

/* In each turn. */
void failover_turn(struct failover *failover);
/* True: the role has changed, to this one. */
bool failover_in_view(struct failover *failover, struct worker *parker, struct role *ret);

#endif
