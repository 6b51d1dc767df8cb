/* SPDX-License-Identifier: BSD-3-Clause */
/* wait: what a client waits for before it goes on with its input, other than its own requests.
 *
 * A client has one wait at most, and is in state CLIENT_WAITING as long as it lasts (client.h). The
 * kind says who will end it and what may end it before. Whoever ends it does so once:
 *
 *     its owner, when what was waited for has come           client_wait_over
 *     its time, or CLIENT UNBLOCK, if it has a `done`        client_wait_end -> done
 *     the client goes (KILL, a limit, an error, shutdown)    client_close -> cancel
 *     the peer ends while it is `blocked`                    client_leave_wait -> cancel
 *     it goes on to wait for something else                  client_wait_on
 *
 *     kind        owner                      blocked   time        CLIENT UNBLOCK
 *     paused      the worker's pause         yes       no          no effect
 *     replicas    nobody yet: WAIT           yes       its own     ends it
 *     keys        a shard: txn/blocked.h     yes       its own     ends it
 *     txn         the transaction            no        no          no effect
 *     gather      the scatter                no        no          no effect
 *
 * The last two do what was asked for meanwhile, so they go on to their end although nobody waits
 * any more; RESET and all other requests come after the wait, whatever it is.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_CLIENT_WAIT_H
#define SHOAL_SERVER_CLIENT_WAIT_H

#include "base/pqueue.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct worker;

/* How a wait ends that does not get what it waits for. */
enum wait_end {
    WAIT_TIMED_OUT,
    WAIT_BROKEN,    /* CLIENT UNBLOCK ERROR */
    WAIT_FORBIDDEN, /* its user may not do it any more */
    WAIT_DEMOTED,   /* this server is a replica now */
};

/* Constant: one for each kind, where its owner is. */
struct wait_kind {
    const char *name;
    /* As Valkey calls a client blocked: CLIENT LIST and INFO say so, and nothing of it happens once
     * the peer has gone. */
    bool blocked;
    /* Counted and shown as that too, but what was asked for happens whoever goes. */
    bool shown_blocked;
    /* Its time or CLIENT UNBLOCK is to end it. False: what it waits for is on its way, and will.
     * NULL: they may. */
    bool (*give_up)(struct client *client);
    /* Writes the reply of a command that waits no more. NULL: only its owner ends it. */
    void (*done)(struct client *client, enum wait_end end);
    /* Whoever would end it forgets it. NULL: it needs not be told, or it comes to its end anyway.
     */
    void (*cancel)(struct client *client);
};

struct wait {
    const struct wait_kind *kind; /* of the last one, when there is none */
    int64_t until_ms;             /* monotonic; INT64_MAX: for ever */
    struct pqueue_node node;      /* of worker->clients.deadlines, if there is a time */
};

/* The client waits from now on. One that is being closed does not. */
void client_wait(struct client *client, const struct wait_kind *kind, int64_t until_ms);
/* And now for something else. */
void client_wait_on(struct client *client, const struct wait_kind *kind, int64_t until_ms);
/* The moment at which a timeout of so many ms (0: none) ends. */
int64_t client_wait_until(const struct client *client, int64_t timeout_ms);
/* What it waited for has come, and its reply is written if one is due: it goes on later in this
 * turn, or (`here`) where its caller goes on with it at once. */
void client_wait_over(struct client *client);
void client_wait_over_here(struct client *client);
/* Ends a wait with `done`, as its time or CLIENT UNBLOCK. False: it is about to end by itself. */
bool client_wait_end(struct client *client, enum wait_end end);
/* The peer has gone: the client waits no more, nothing of what it waits with happens, and it ends.
 */
void client_leave_wait(struct client *client);

/* In a command that blocks until something comes or its time is up. */
bool client_in_blocking_command(const struct client *client);
/* As Valkey calls it: that, or paused. */
bool client_is_blocked(const struct client *client);
bool client_is_shown_blocked(const struct client *client);

/* Ends those whose time is up, some of them if there are many. Nobody's is before all of it has gone
 * by, whatever part of the millisecond it began in: its deadline is over when the next one begins.
 * Returns when the next is to be looked at, monotonic ms. */
int64_t waits_expire(struct worker *worker, int64_t now_ms);

#endif
