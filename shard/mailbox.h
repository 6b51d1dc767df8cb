/* SPDX-License-Identifier: BSD-3-Clause */
/* mailbox: how threads hand each other messages: one single-producer ring per ordered pair, and a
 * sleep handshake.
 *
 * Crosses threads: this file and its header are where. A message is a pointer whose memory the
 * sender lends until the receiver sends it back. Messages of one pair arrive in order. Nothing ever
 * blocks: what does not fit in a ring waits in the sender's own queue and goes out later, so two
 * threads cannot wait for each other. Ring heads are published once per loop turn.
 */
#ifndef SHOAL_SHARD_MAILBOX_H
#define SHOAL_SHARD_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded at the start of whatever travels. */
struct message {
    struct message *next; /* in the sender's overflow queue */
    uint16_t kind;        /* what it is: the server's business */
    uint16_t home;        /* thread that it comes back to, or POST_ONE_WAY */
};
#define POST_ONE_WAY UINT16_MAX /* nobody waits for it: its receiver frees it, or keeps it */

struct post_office;

/* For `threads` threads; `capacity` messages a ring, a power of two. wake(arg, target) must end the
 * sleep of that thread; called on the sender's thread. */
struct post_office *post_office_new(unsigned threads, unsigned capacity,
                                    void (*wake)(void *arg, unsigned from, unsigned target),
                                    void *arg);
void post_office_free(struct post_office *office);

/* Thread `from`: puts a message in the box of `to`. Seen by the receiver after post_publish. */
void post_send(struct post_office *office, unsigned from, unsigned to, struct message *message);
/* Thread `from`, once a turn, or (`by`) who visits it: makes everything sent visible and wakes
 * sleepers; or, with `visits`, claims them for a visit of `by`. Returns true if some messages are
 * still waiting for room. */
bool post_publish(struct post_office *office, unsigned from, unsigned by, bool visits);

/* Thread `to`: takes up to max messages, fair over the senders, in order per sender. */
size_t post_receive(struct post_office *office, unsigned to, struct message **ret, size_t max);

/* Messages of this thread that are to come back to it. */
unsigned post_away(const struct post_office *office, unsigned thread);

/* Thread `to`, before it sleeps, may look for a while whether something comes: what comes then
 * needs no wake-up. post_look says so, and looks at every box; false: something is there already.
 * Then the thread asks post_found, which costs next to nothing, until that is true or it has looked
 * for long enough, and ends the look in any case: true if something came; else it has announced its
 * sleep, as with post_sleep. */
bool post_look(struct post_office *office, unsigned to);
bool post_found(const struct post_office *office, unsigned to);
bool post_look_end(struct post_office *office, unsigned to);

/* The look is over, and the thread does not sleep: true if something came. */
bool post_look_over(struct post_office *office, unsigned to);

/* Thread `to`, before it sleeps: says so, then looks at every box again. False: something is there,
 * do not sleep (and the announcement is taken back). */
bool post_sleep(struct post_office *office, unsigned to);
/* After the sleep; false: somebody visits it, ask again in a moment. */
bool post_awake(struct post_office *office, unsigned to);
/* Thread `to`: whether messages are there. */
bool post_any(const struct post_office *office, unsigned to);

/* ---- Visits ---- */

/* Who sleeps touches nothing of its own. So a sender may take its place: from the claim until it
 * leaves, the host's boxes, and all that its thread says to be its own, are the visitor's. The host
 * cannot wake before that. A visit is short, and whoever is inside waits for nobody. */

/* Thread `by`: the next of those that its publishing has claimed; false: no more. Each must be
 * left. */
bool post_next_visit(struct post_office *office, unsigned by, unsigned *ret_host);
/* The visitor has worked off the host's mail, and leaves it asleep. False: more has come meanwhile;
 * the visit goes on. */
bool post_leave(struct post_office *office, unsigned host);
/* It leaves and wakes the host, whatever is there. */
void post_leave_awake(struct post_office *office, unsigned host, unsigned by);

struct post_stats {
    uint64_t sent, received;
    uint64_t overflowed;   /* went through the sender's queue because the ring was full */
    uint64_t wakes;        /* wake-ups this thread caused */
    uint64_t spared;       /* and did without, as the receiver was looking */
    uint64_t late_wakeups; /* slept, and nobody was going to wake it, although a message was there:
                            * a lost wake-up, must stay 0 */
};
struct post_stats post_get_stats(const struct post_office *office, unsigned thread);
/* Messages waiting in all boxes of `to`: an estimate from outside. */
size_t post_depth(const struct post_office *office, unsigned to);

#endif
