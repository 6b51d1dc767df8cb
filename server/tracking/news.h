/* SPDX-License-Identifier: BSD-3-Clause */
/* news: what the owner of keys has to tell of them to clients that track (tracking.h).
 *
 * The shard knows who has read which of its keys (shard/watchers/tracks.h), and its worker all
 * prefixes that clients anywhere have asked for (prefix.h). What is to be told is gathered by home,
 * and posted before anything of the turn can be seen. In a view of all shards (park.h) it is the
 * parker who tells.
 *
 * Thread: the owner's, or of who has parked it. Costs nothing while nobody tracks.
 */
#ifndef SHOAL_SERVER_TRACKING_NEWS_H
#define SHOAL_SERVER_TRACKING_NEWS_H

#include "base/bytes.h"
#include "base/check.h"
#include "server/tracking/trackers.h"
#include "shard/mailbox.h"

#include <stdint.h>

struct command;
struct exec;
struct key;
struct key_news;
struct worker;

void trackers_init(struct trackers *trackers, unsigned workers);
void trackers_free(struct trackers *trackers, unsigned workers);

/* A key has changed (hook `changed`); a database is about to be emptied (`flushing`). */
void news_key_changed(struct worker *worker, const struct key_news *news);
void news_flushing(struct worker *worker);
/* All keys of a slot go to another shard. */
void news_slot_leaves(struct worker *worker, uint16_t slot);
/* A command has run for a client that tracks what it reads (MANNER_TRACKS); a key is lent to it. */
void news_remember(const struct exec *x);
void news_remember_key(struct worker *worker, unsigned owner, const struct command *row,
                       const struct key *key);
/* Posts what is to be told. */
void news_send(struct worker *worker);
static inline void news_send_if_any(struct worker *worker, const struct trackers *trackers) {
    if (UNLIKELY(trackers->due)) {
        news_send(worker);
    }
}
/* Now and then, and when the configuration is another one: tracking-table-max-keys may be less. */
void news_cron(struct worker *worker);

/* ---- What is told ---- */

enum news_kind {
    NEWS_KEY,         /* that a client has read: `client`, `by`, the key */
    NEWS_PREFIX,      /* and `count` NEWS_PREFIX_KEY behind it: the prefix */
    NEWS_PREFIX_KEY,  /* `by`, the key */
    NEWS_FLUSH,       /* for all clients that track */
    NEWS_FORWARD,     /* for `client`, to whom `by` redirects: what is to be pushed */
    NEWS_BROKEN,      /* for `client`: whom it redirects to is not there */
    NEWS_PREFIX_COME, /* a client has asked for a prefix, */
    NEWS_PREFIX_GO,   /* or does no more */
    NEWS_CLIENT_GONE, /* `client`: what it has read is forgotten */
};

struct news_record {
    enum news_kind kind;
    uint32_t bytes; /* that follow */
    uint32_t count;
    uint64_t client, by;
};

struct news_message {
    struct message message; /* first */
    unsigned from;
    size_t bytes;
    char records[];
};

/* A record for another worker, or this one: news_send posts it, or leaves it to tracking.c. */
void news_add(struct worker *worker, unsigned to, struct news_record record, struct bytes bytes);
/* The next of some records from *at on; false at the end. */
bool news_next(struct bytes records, size_t *at, struct news_record *ret, struct bytes *ret_bytes);

#endif
