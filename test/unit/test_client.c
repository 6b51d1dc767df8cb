/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/client/client_flow.h"

#include <criterion/criterion.h>
#include <signal.h>

static bool leads(enum client_state from, enum client_state to) {
    return client_state_leads(from, to);
}

Test(client, can_be_closed_in_every_state_and_once) {
    for (unsigned s = 0; s < CLIENT_STATES_COUNT; s++) {
        cr_assert_eq(leads(s, CLIENT_CLOSING), s < CLIENT_CLOSING, "state %u", s);
        cr_assert_eq(leads(s, CLIENT_GONE), s == CLIENT_CLOSING, "state %u", s);
        cr_assert_not(leads(CLIENT_GONE, s), "state %u", s);
    }
}

/* Who begins to wait, or to end, has been reading; who waited goes on in line. */
Test(client, waits_for_one_thing_at_a_time) {
    const enum client_state waits[] = {CLIENT_FULL, CLIENT_FENCED, CLIENT_WAITING};
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(leads(CLIENT_READING, waits[i]));
        cr_assert(leads(waits[i], CLIENT_READY));
        for (unsigned s = CLIENT_FULL; s < CLIENT_STATES_COUNT; s++) {
            cr_assert_not(leads(s, waits[i]), "from %u to %u", s, waits[i]);
        }
    }
    cr_assert(leads(CLIENT_READY, CLIENT_READING));
    cr_assert_not(leads(CLIENT_READY, CLIENT_ENDING));
    cr_assert_not(leads(CLIENT_FULL, CLIENT_READING));
    cr_assert(leads(CLIENT_WAITING, CLIENT_READING));
    cr_assert_not(leads(CLIENT_ENDING, CLIENT_READING));
}

#ifdef SHOAL_CHECK_SLOW
Test(client, a_wrong_move_ends_the_process, .signal = SIGABRT) {
    struct client client = {.state = CLIENT_CLOSING};
    client_move(&client, CLIENT_READY);
}
#endif
