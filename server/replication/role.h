/* SPDX-License-Identifier: BSD-3-Clause */
/* role: what this server is in replication, as its workers look at it: with each command, each
 * deadline.
 *
 * Thread: changed by who has a view of all shards (worker/park.h), read by any worker.
 */
#ifndef SHOAL_SERVER_REPLICATION_ROLE_H
#define SHOAL_SERVER_REPLICATION_ROLE_H

#include "net/rt.h"

#include <stdbool.h>

struct role {
    bool replica; /* of that one; else it is a primary */
    char host[RT_HOST_NAME_MAX + 1];
    int port;
    bool foreign; /* as it begins to be one: what there is is other data than that one's */
};

#endif
