/* SPDX-License-Identifier: BSD-3-Clause */
/* notify: keyspace notifications: what happens to keys, published to channels
 * (notify-keyspace-events).
 *
 * __keyspace@<db>__:<key> tells the event, __keyevent@<db>__:<event> the key. The owner of the key
 * publishes as it happens: what happens on one shard comes in that order.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_PUBSUB_NOTIFY_H
#define SHOAL_SERVER_PUBSUB_NOTIFY_H

struct key_news;
struct worker;

/* The configuration is another one. */
void notify_configure(struct worker *worker);
/* A hook of the keyspace (`heard`). */
void notify_heard(struct worker *worker, const struct key_news *news);

#endif
