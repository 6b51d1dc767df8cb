/* SPDX-License-Identifier: BSD-3-Clause */
/* look: whether a worker looks for messages for a moment before it sleeps.
 *
 * A message that comes while its receiver looks needs no wake-up, no sleep and no switch of
 * threads: the whole price of a trip, but for its ops. A look that brings nothing is lost time, for
 * whoever else wants this core. So looks keep an account: one that finds something earns what it
 * has spared, each costs what it took, and when the account is empty the worker sleeps at once, as
 * ever. After a while it is trusted anew, for several looks and not for one: a thread that has
 * just slept is woken on its waker's core, and cannot answer before that one rests. If that does
 * not pay either, the pauses become longer.
 *
 * Nothing here asks how busy the machine is: looks that share their core fail, and end by that.
 *
 * Thread: the worker's own; pure.
 */
#ifndef SHOAL_SERVER_WORKER_LOOK_H
#define SHOAL_SERVER_WORKER_LOOK_H

#include <stdbool.h>
#include <stdint.h>

/* Why a message may be about to come. */
enum look_reason {
    LOOK_AWAY,   /* something of this worker's is on its way home */
    LOOK_SERVED, /* others' messages have just been worked off: they may send more */
    LOOK_REASONS
};

struct look {
    struct look_account {
        uint64_t longest_ns;
        int64_t worth_ns;  /* what one that finds something spares */
        int64_t credit_ns; /* below zero: none, until then */
        uint64_t until_ns;
        uint64_t pause_ns; /* how long the last time without credit was */
        unsigned looks;    /* since it was trusted last */
    } accounts[LOOK_REASONS];
    bool allowed;
};

#define LOOK_TRUST        16 /* that many looks in vain */
#define LOOK_PAUSE_MIN_NS (20 * 1000 * 1000)
#define LOOK_PAUSE_MAX_NS (640 * 1000 * 1000)

/* `allowed`: there is a core for each worker. */
void look_init(struct look *look, bool allowed);
/* How long a look may take now, in ns; 0: no look. now_ns: monotonic, as of this turn. */
uint64_t look_longest(struct look *look, enum look_reason reason, uint64_t now_ns);
/* A look took so long, and found a message or not. */
void look_over(struct look *look, enum look_reason reason, bool found, uint64_t took_ns,
               uint64_t now_ns);

#endif
