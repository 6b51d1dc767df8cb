/* SPDX-License-Identifier: BSD-3-Clause */
/* imports: connections by which slots come here at once (cluster/brain/brain_import.c): what the
 * brain wants said to them is said, and the brain hears when nothing of one is on its way any more.
 * What they send is run as any client's, in slots that are hidden still.
 *
 * Thread: the connection's home; of what is for replicas worker 0.
 */
#ifndef SHOAL_SERVER_CLUSTER_IMPORTS_H
#define SHOAL_SERVER_CLUSTER_IMPORTS_H

#include <stdbool.h>

struct client;
struct message;
struct worker;

/* CLUSTER SYNCSLOTS ESTABLISH is about to be asked (false: not in EXEC), and was answered. Nothing
 * is replied from then on. */
bool import_asks(struct client *client);
void import_answered(struct client *client, bool good);
/* MESSAGE_CLUSTER_IMPORT. */
void import_heard(struct worker *worker, struct message *message);
/* It has been closed, and nothing can happen in its name any more. */
void import_forget(struct client *client);

#endif
