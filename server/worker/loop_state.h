/* SPDX-License-Identifier: BSD-3-Clause */
/* loop_state: where a worker's loop stands (loop.c).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_LOOP_STATE_H
#define SHOAL_SERVER_WORKER_LOOP_STATE_H

#include "server/worker/look.h"
#include "shard/mailbox.h"

/* Messages taken from the mailboxes at once. */
#define INBOX_MESSAGES 256

struct crash_stack;

struct loop_state {
    struct crash_stack *crash_stack; /* net/crash.h: of its thread; NULL: there is none */
    int64_t watch_next_ms;           /* when it says next that it gets on: watchdog-period */
    bool watched;                    /* it has said so */
    struct message *inbox[INBOX_MESSAGES];
    unsigned inbox_at, inbox_count;
    int64_t mail_ms;    /* monotonic: when the last message came */
    uint64_t mail_seen; /* messages received up to its last rest */
    struct look look;
    bool looking; /* for messages, since look_start, look_ns at most */
    enum look_reason look_reason;
    uint64_t look_start, look_ns;
    int64_t sleep_ns; /* how long the next turn may wait; 0: there is work */
    bool asleep;      /* it has announced that */
    bool in_rt;       /* in a callback of the runtime, whose turn is not over */
    int64_t wake_ms;  /* monotonic: when that ends by itself */
    bool visits;      /* it may visit others that sleep (visit.h) */
    bool in_visit;    /* as host or visitor: what may take long is left to a turn of its own */
    bool own_mail;    /* it has worked off some of its own in a visit: a turn sees to the rest */
    int64_t unvisited_ms;   /* monotonic: until then nobody visits it */
    uint64_t round_until;   /* ticks: until then the next turn need not ask the kernel for news */
    uint64_t sliced_ticks;  /* of a save, ahead of this turn */
    uint64_t commands_then; /* commands_processed, at the end of the last turn */
    bool more;              /* there is work for another turn at once */
    int64_t cron_next_ms;
    int64_t collect_next_ms; /* sysmem_collect */
    int64_t state_logged_ms; /* monotonic */
    unsigned cron_clients;   /* that are still to be looked at, by turns */
    /* The end. */
    bool saves_for_signal; /* worker 0: before it stops */
    bool stopping;
    bool nobody_left;            /* who could be answered */
    bool resting;                /* it has nothing more to work off */
    int64_t drain_start_ms;      /* monotonic: when it began to stop; 0: it has not */
    int64_t give_up_ms;          /* monotonic: when it stops waiting for connections to end */
    bool gave_up;                /* it did: who knows what still names its memory */
    struct message stop_message; /* from worker 0 */
};

#endif
