/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub: channels and patterns, and who has subscribed to them, over all workers.
 *
 * A worker has a table of its own clients' subscriptions, and for each channel and pattern the
 * number of subscribers on each worker. So who publishes knows where somebody listens: a message
 * goes there and nowhere else, and its answer, how many get it, waits for nobody. Those who are
 * counted get it, and nobody else. SUBSCRIBE is answered when all workers know of it: whatever is
 * published after that arrives, nothing that was answered before it was sent, and what was
 * published meanwhile by who knew comes behind the answer. UNSUBSCRIBE is answered when nobody
 * counts it any more, behind what was published before.
 *
 * Messages are delivered at the end of a turn, or before the worker's own subscriptions change. So
 * those of one publisher come in their order, and never within the reply of a command.
 *
 * Thread: the worker's own; of a client, its home.
 */
#ifndef SHOAL_SERVER_PUBSUB_PUBSUB_H
#define SHOAL_SERVER_PUBSUB_PUBSUB_H

#include "base/bytes.h"
#include "server/pubsub/topics.h"

#include <stdint.h>

struct client;
struct exec;
struct message;
struct worker;

void topics_init(struct topics *topics, unsigned workers);
void topics_free(struct worker *worker);

/* To a channel, or a shard channel. How many clients get it. */
uint64_t pubsub_publish(struct worker *worker, enum topic_kind kind, struct bytes channel,
                        struct bytes message);
/* Whether anybody has subscribed to channels or patterns. */
static inline bool pubsub_is_used(const struct topics *topics) {
    return topics->tables[TOPIC_CHANNEL].count + topics->tables[TOPIC_PATTERN].count > 0;
}
/* Something is to be delivered. */
static inline bool pubsub_is_due(const struct topics *topics) {
    return !list_empty(&topics->queue) || !list_empty(&topics->confirming);
}
/* Once a turn: delivers a slice of it; what is left is in the queue. */
void pubsub_deliver(struct worker *worker);
/* All of it: behind the reply of who has published, for one. */
void pubsub_deliver_all(struct worker *worker);

/* SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE; and with `off` UNSUBSCRIBE and the like: of what argv names
 * from 1 on, or of all of the kind. Replies now, or when all workers know. */
void pubsub_change(struct exec *x, enum topic_kind kind, bool off);
/* RESET: the same of all there is. `done` replies, behind what was published before. */
void pubsub_reset(struct exec *x, void (*done)(struct exec *x));
/* Whether its user may hear all that it has subscribed to. */
bool pubsub_is_allowed(const struct client *client);
/* In a cluster: who has subscribed to shard channels that other nodes have now is told so, and
 * hears no more of them. */
void pubsub_redirect(struct worker *worker);
/* The client subscribes to nothing any more; others hear of it by themselves. Harmless without. */
void pubsub_leave(struct client *client);

/* ---- What there is ---- */

/* Topics of a kind: how many there are; those that match (NULL: all), where `each` may be NULL, and
 * how many these are. */
uint64_t pubsub_count(const struct worker *worker, enum topic_kind kind);
uint64_t pubsub_names(const struct worker *worker, enum topic_kind kind,
                      const struct bytes *pattern, void (*each)(void *arg, struct bytes name),
                      void *arg);
uint64_t pubsub_subscribers(const struct worker *worker, enum topic_kind kind, struct bytes name);

/* ---- Messages ---- */

/* Something was published elsewhere; subscribers have come or gone elsewhere. */
void pubsub_arrived(struct worker *worker, struct message *message);
void pubsub_counts_arrived(struct worker *worker, struct message *message);

#endif
