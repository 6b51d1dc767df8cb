/* SPDX-License-Identifier: BSD-3-Clause */
/* follow: the change of the role (role.h): to be a replica of somebody, or of nobody.
 *
 *     what came of the stream before is applied, and nothing more of it is read   (upstream_stop)
 *     in a view of all shards: the role, and with it what every worker may do
 *     this server's own stream ends, or begins                                    (primary.h)
 *     the new primary is connected to                                             (upstream.h)
 *
 * Who holds all locks already (EXEC, as Sentinel does it) cannot wait for the first: what is on its
 * way may wait for him. Then it is not known how much has been applied, if something is.
 *
 * Thread: worker 0, but for what is said.
 */
#ifndef SHOAL_SERVER_REPLICATION_FOLLOW_H
#define SHOAL_SERVER_REPLICATION_FOLLOW_H

#include "server/replication/role.h"

#include <stdbool.h>

struct server;
struct view;
struct worker;

/* False: it is to be called again in a later turn, with the same `begun`. Not for who holds locks.
 */
bool follow_some(struct worker *home, const struct role *role, bool *begun);
/* For who holds them: whether all is applied that has come. */
bool follow_stop(struct worker *home);
/* The next step, in a view of all shards; */
void follow_in_view(struct worker *parker, const struct role *role, bool exact);
/* and the last, at once or in a later one if it may still be taken back: whom a replica cannot
 * serve is let go. */
void follow_tell_clients(struct worker *parker);

#endif
