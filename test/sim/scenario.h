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

struct scenario_result {
    bool ok;
    char reason[1024];
    uint64_t hash;     /* of the trace */
    uint64_t events;   /* in it */
    uint64_t answered; /* requests */
    uint64_t virtual_ns;
};

/* print(arg, line) gets the trace, or is NULL. */
void scenario_run(uint64_t seed, void (*print)(void *arg, const char *line), void *arg,
                  struct scenario_result *ret);

#endif
