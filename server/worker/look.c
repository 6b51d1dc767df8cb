/* SPDX-License-Identifier: BSD-3-Clause */
/* look: see the header. The figures are those of a trip: a thread that sleeps is woken, answers and
 * is heard within 6 to 15 us, by how deep its core sleeps. Meanwhile its waker would have slept and
 * been woken, which costs up to as much of its own time, and makes the answer later by a wake-up.
 * Who has served others knows less of what comes, and spares the others one wake-up only.
 */
#include "server/worker/look.h"

static const struct look_account first[LOOK_REASONS] = {
    [LOOK_AWAY] = {.longest_ns = 20000, .worth_ns = 15000},
    [LOOK_SERVED] = {.longest_ns = 6000, .worth_ns = 5000},
};

static int64_t trust_ns(const struct look_account *account) {
    return LOOK_TRUST * (int64_t)account->longest_ns;
}

static void trust(struct look_account *account) {
    account->credit_ns = trust_ns(account);
    account->looks = 0;
}

void look_init(struct look *look, bool allowed) {
    look->allowed = allowed;
    for (unsigned i = 0; i < LOOK_REASONS; i++) {
        look->accounts[i] = first[i];
        look->accounts[i].pause_ns = LOOK_PAUSE_MIN_NS;
        trust(&look->accounts[i]);
    }
}

uint64_t look_longest(struct look *look, enum look_reason reason, uint64_t now_ns) {
    struct look_account *account = &look->accounts[reason];
    if (!look->allowed) {
        return 0;
    }
    if (account->credit_ns < 0) {
        if (now_ns < account->until_ns) {
            return 0;
        }
        trust(account);
    }
    return account->longest_ns;
}

/* Trust that was used up at once is given more seldom. */
static void pause(struct look_account *account, uint64_t now_ns) {
    if (account->looks > 16 * LOOK_TRUST) {
        account->pause_ns = LOOK_PAUSE_MIN_NS;
    } else if (account->pause_ns < LOOK_PAUSE_MAX_NS) {
        account->pause_ns *= 2;
    }
    account->until_ns = now_ns + account->pause_ns;
}

void look_over(struct look *look, enum look_reason reason, bool found, uint64_t took_ns,
               uint64_t now_ns) {
    struct look_account *account = &look->accounts[reason];
    account->looks++;
    account->credit_ns += (found ? account->worth_ns : 0) - (int64_t)took_ns;
    if (account->credit_ns > trust_ns(account)) {
        account->credit_ns = trust_ns(account);
    } else if (account->credit_ns < 0) {
        pause(account, now_ns);
    }
}
