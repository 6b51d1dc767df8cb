/* SPDX-License-Identifier: BSD-3-Clause */
/* data_lock: one process works in a directory of data: a second server, or a tool, keeps away.
 *
 * Thread: main's before and after the workers run, worker 0's between.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_DATA_LOCK_H
#define SHOAL_SERVER_PERSISTENCE_DATA_LOCK_H

struct server;

/* Says so of the directory `path`; once is enough. 0, also if it is not there yet; or -EWOULDBLOCK:
 * another one does. */
int data_lock(struct server *server, const char *path);
/* Nothing of the data is touched any more: before the end of the process is seen. */
void data_unlock(struct server *server);

#endif
