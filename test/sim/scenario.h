/* SPDX-License-Identifier: BSD-3-Clause */
/* scenario: one run: what a seed makes of servers, settings, users and faults, and what must be
 * true in the end.
 *
 * Thread: one; runs share nothing, so one follows the other in a process.
 */
#ifndef SHOAL_TEST_SIM_SCENARIO_H
#define SHOAL_TEST_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

/* What must have happened in some of many runs, or they show nothing. */
enum reached {
    REACHED_TRANSACTIONS,
    REACHED_REFUSALS,   /* of numbers that came too late */
    REACHED_LOCK_WAITS, /* of operations on one shard */
    REACHED_HOPS,
    REACHED_ACCEPT_ERRORS,
    REACHED_SHORT_SENDS,
    REACHED_NO_BUFFER,
    REACHED_WAKES,
    REACHED_EXECS_REFUSED, /* after a change of what was watched */
    REACHED_LARGE_VALUES,  /* received into the block they stay in */
    REACHED_PAUSES,        /* that were looked at while they stood */
    REACHED_UNBLOCKED,     /* clients in WAIT */
    REACHED_EXPIRED,       /* keys */
    REACHED_TIMES_MOVED,   /* of transactions, because keys had run out meanwhile */
    REACHED_MOVED,         /* of operations, or plans made anew, because a slot had gone */
    REACHED_CUTS,          /* of batches between two operations */
    REACHED_FULL_CLIENTS,  /* with as much under way as they may have */
    REACHED_OUT_OF_TURN,   /* replies that are home before their turn */
    REACHED_REFUSED,       /* commands that a shard had something against */
    REACHED_FOUND,         /* messages for who looked for them */
    REACHED_PARKED,        /* turns of workers that are parked */
    REACHED_VISITS,        /* workers that were visited while they slept */
    REACHED_WAITED,        /* for an element, and got it */
    REACHED_WAITED_LONG,   /* and did not */
    REACHED_BEHIND,        /* others, in a line */
    REACHED_HANDED,        /* entries of streams, by groups */
    REACHED_POPPED,        /* members of sets */
    REACHED_SET_MOVES,     /* of members, from set to set */
    REACHED_NEAR,          /* what was near a place was stored */
    REACHED_TOLD,          /* messages, to who has subscribed */
    REACHED_EVENTS,        /* of keys, the same */
    REACHED_SCRIPTS,       /* that were answered */
    REACHED_SEALS,         /* of shards, for those that had written and looked elsewhere */
    REACHED_WHOLES,        /* transactions about whole databases */
    REACHED_TOLD_CHANGED,  /* of keys that were kept */
    REACHED_OWN_ROUNDS,    /* mail of the visitor's that it worked off in between */
    REACHED_SECURE,        /* connections within TLS */
    REACHED_STEPS,         /* of servers' handshakes */
    REACHED_COUNT,
};
/* main.c knows them by number only: another scenario has others. */
#define REACHED_MAX 64
extern const unsigned reached_count;
const char *reached_name(unsigned reached);
/* Bits of those that servers without a log cannot reach. */
extern const uint64_t reached_with_log;

/* What a run had in memory is not all freed: each seed needs a process of its own. */
extern const bool scenario_leaks;

struct scenario_result {
    bool ok;
    bool refuted; /* no user saw anything wrong; the history of all of them is */
    char reason[1024];
    uint64_t hash;     /* of the trace */
    uint64_t events;   /* in it */
    uint64_t answered; /* requests */
    uint64_t virtual_ns;
    uint64_t reached[REACHED_MAX];
};

/* `log`: servers keep a log (appendonly yes), if the scenario has data at all.
 * print(arg, line) gets the trace, or is NULL. */
void scenario_run(uint64_t seed, bool log, void (*print)(void *arg, const char *line), void *arg,
                  struct scenario_result *ret);

#endif
