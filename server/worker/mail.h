/* SPDX-License-Identifier: BSD-3-Clause */
/* mail: the messages that have come to a worker, and who handles them.
 *
 * Thread: the worker's own, or its visitor's (visit.h).
 */
#ifndef SHOAL_SERVER_WORKER_MAIL_H
#define SHOAL_SERVER_WORKER_MAIL_H

#include <stdbool.h>

struct message;
struct worker;

/* The next message, or NULL: of those that waited while the worker was parked, those taken from the
 * mailboxes before, or of more. */
struct message *mail_next(struct worker *worker);
/* The message that was given last is the next once more; none of those that waited. */
void mail_put_back(struct worker *worker);
/* Has it handled. When the last for now has been, batches_settle is due. */
void mail_hand(struct worker *worker, struct message *message);
/* Handles what is there, for a slice; true if there may be more. */
bool mail_handle(struct worker *worker);

#endif
