/* SPDX-License-Identifier: BSD-3-Clause */
/* resume: the place in a replication stream, over a restart. A save says in which stream its keys
 * stand and behind which byte (persistence/save.h), if that is sure: that they are all that came up
 * to there, and nothing else. Who loads them (persistence/load.h) goes on from there:
 *
 *     as a replica    it asks for what comes behind
 *     as a primary    it has a new stream, and who has the old one up to there goes on with it
 *
 * Thread: by who has a view of all shards, or has them alone.
 */
#ifndef SHOAL_SERVER_REPLICATION_RESUME_H
#define SHOAL_SERVER_REPLICATION_RESUME_H

struct server;

/* What the saver asks and tells. */
void resume_configure(struct server *server);

#endif
