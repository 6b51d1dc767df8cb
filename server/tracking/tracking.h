/* SPDX-License-Identifier: BSD-3-Clause */
/* tracking: client-side caching (CLIENT TRACKING), at the homes of the clients that track.
 *
 * Owners of keys say what has changed (news.h); here it is pushed
 *
 *   - behind the reply of a command that the client waits for: what that reads may be older, and
 *     what the client has changed itself comes behind its own reply, as in Valkey;
 *   - before anything that the client asks for later is answered, by whatever way it has learned of
 *     the change: owners say how much they have told a home before they publish it, and a request
 *     of a client that tracks waits until its home has heard all of that.
 *
 * Requests of such a client run one by one.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_TRACKING_TRACKING_H
#define SHOAL_SERVER_TRACKING_TRACKING_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/outbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct command_ref;
struct message;
struct worker;

/* The options of CLIENT TRACKING. */
struct tracking_options {
    bool bcast, optin, optout, noloop;
    uint64_t redirect; /* the client that is told instead; 0: none */
    unsigned home;     /* of that one */
};

/* What a client tracks: from the first time on until it is freed. */
struct tracking {
    struct client *client;
    struct tracking_options options;
    bool caching;           /* CLIENT CACHING was said of the next command, */
    bool spent;             /* which has been taken up */
    bool broken;            /* whom it redirects to has gone */
    bool reads;             /* owners of keys may know it */
    bool served;            /* it has waited for keys, and what it did comes ahead of its reply */
    struct list prefixes;   /* struct prefix_client */
    size_t prefixes_bytes;  /* what they take at home */
    struct outbuf late;     /* what comes behind the reply that it waits for */
    struct list_node later; /* of trackers->later, while there is something */
    uint64_t *goal;         /* by worker: what it waits to be heard, or NULL */
};

/* It tracks from now on (CLIENT_TRACKED), or with other options. With `bcast` every worker is told
 * of the prefixes (none: all keys), and knows them when it has worked off its post. */
void tracking_on(struct client *client, const struct tracking_options *options,
                 const struct bytes *prefixes, uint32_t count);
/* It does no more; harmless if it never has. */
void tracking_off(struct client *client);
/* Its prefixes in their order: an array for free(). Returns how many. */
uint32_t tracking_prefixes(const struct client *client, struct bytes **ret);
/* Whom it redirects to; 0: nobody; -1: it does not track. */
int64_t tracking_redirect(const struct client *client);
/* What it takes of its client's memory; NULL: nothing. */
static inline size_t tracking_memory(const struct tracking *tracking) {
    return tracking != NULL ? sizeof *tracking + tracking->prefixes_bytes + tracking->late.allocated
                            : 0;
}
/* CLIENT CACHING. */
void tracking_set_caching(struct client *client);

/* Before a request of a client that tracks is looked at. False: it goes on later. */
bool tracking_may_go_on(struct client *client);
/* That was taken up, or refused; NULL: there is no such command. */
void tracking_took_up(struct client *client, const struct command_ref *ref);
/* At the end of a turn: tells this worker's clients what is for them. */
void tracking_deliver(struct worker *worker);
/* It is closed; nothing of it is on its way any more. Harmless if it never has tracked. */
void tracking_leave(struct client *client);
void tracking_forget(struct client *client);

/* A message of news_send. */
void tracking_arrived(struct worker *worker, struct message *message);

#endif
