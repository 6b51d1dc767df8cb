/* SPDX-License-Identifier: BSD-3-Clause */
/* old_readers: replicas that cannot hold what there is. Fields of hashes with deadlines are in RDB
 * files from version 80 on, which Valkey reads from 9.0 on; a full sync with some is refused to all
 * others, and the log names a key.
 *
 * Thread: whoever has a view of all shards.
 */
#ifndef SHOAL_SERVER_REPLICATION_OLD_READERS_H
#define SHOAL_SERVER_REPLICATION_OLD_READERS_H

#include "server/replication/replica.h"

/* What such a replica is told. */
#define OLD_READERS_REFUSAL                                                                        \
    "hashes have fields with deadlines, which this replica cannot hold: Valkey can from 9.0 on "   \
    "(REPLCONF version). The log of the primary names a key"

/* Says in the log why, and one key that is such. */
void old_readers_refused(struct worker *home, const struct replica_name *name);

#endif
