/* SPDX-License-Identifier: BSD-3-Clause */
/* mailbox against three judges: a naive queue, real threads that sleep, and every interleaving of
 * the sleep handshake.
 *
 * The handshake is modelled step by step (each step one sequentially consistent access of
 * mailbox.c) and all interleavings of one sender and one receiver are walked. The same walk over a
 * handshake without its second look must find a lost wake-up: that shows the model can fail.
 */
#include "shard/mailbox.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct numbered {
    struct message message;
    unsigned from;
    unsigned number;
};

static void wake_nobody(void *arg, unsigned from, unsigned target) {
    (void)arg, (void)from, (void)target;
}

/* ---- Random operations against a queue ---- */

#define THREADS 3

Test(mailbox, delivers_every_message_once_and_in_order_per_sender) {
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        struct post_office *office =
            post_office_new(THREADS, 1u << rng_below(&rng, 5), wake_nobody, NULL);
        unsigned sent[THREADS][THREADS] = {0}, published[THREADS][THREADS] = {0},
                 got[THREADS][THREADS] = {0};
        for (unsigned step = 0; step < 4000; step++) {
            unsigned me = (unsigned)rng_below(&rng, THREADS);
            switch (rng_below(&rng, 3)) {
            case 0: {
                unsigned to = (unsigned)rng_below(&rng, THREADS);
                struct numbered *m = malloc(sizeof *m);
                *m = (struct numbered){.from = me, .number = sent[me][to]++};
                post_send(office, me, to, &m->message);
                break;
            }
            case 1:
                post_publish(office, me);
                memcpy(published[me], sent[me], sizeof sent[me]);
                break;
            case 2: {
                struct message *messages[7];
                size_t n = post_receive(office, me, messages, 1 + rng_below(&rng, 7));
                for (size_t i = 0; i < n; i++) {
                    struct numbered *m = (struct numbered *)messages[i];
                    cr_assert_eq(m->number, got[m->from][me]);
                    got[m->from][me]++;
                    cr_assert_leq(got[m->from][me], published[m->from][me],
                                  "seen before it was published");
                    free(m);
                }
                break;
            }
            }
        }
        for (unsigned round = 0; round < 4000; round++) {
            for (unsigned me = 0; me < THREADS; me++) {
                struct message *messages[7];
                post_publish(office, me);
                size_t n = post_receive(office, me, messages, 7);
                for (size_t i = 0; i < n; i++) {
                    struct numbered *m = (struct numbered *)messages[i];
                    cr_assert_eq(m->number, got[m->from][me]++);
                    free(m);
                }
            }
        }
        cr_assert_eq(memcmp(sent, got, sizeof sent), 0, "every message arrives, seed %u", seed);
        post_office_free(office);
    }
}

/* ---- Threads that really sleep ---- */

#define ROUNDS 200000

struct sleeper {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool rung;
};

struct pair {
    struct post_office *office;
    struct sleeper sleepers[2];
    unsigned found[2]; /* looks that ended with a message */
};

static void ring_sleeper(void *arg, unsigned from, unsigned target) {
    (void)from;
    struct sleeper *sleeper = &((struct pair *)arg)->sleepers[target];
    pthread_mutex_lock(&sleeper->mutex);
    sleeper->rung = true;
    pthread_cond_signal(&sleeper->cond);
    pthread_mutex_unlock(&sleeper->mutex);
}

/* Sleeps until rung, 10 s at most: only a lost wake-up lasts that long. */
static bool doze(struct sleeper *sleeper) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&sleeper->mutex);
    while (!sleeper->rung) {
        if (pthread_cond_timedwait(&sleeper->cond, &sleeper->mutex, &until) != 0) {
            break;
        }
    }
    bool rung = sleeper->rung;
    sleeper->rung = false;
    pthread_mutex_unlock(&sleeper->mutex);
    return rung;
}

/* Announces the sleep, every other time by way of a look: long enough to find something often,
 * short enough to end in vain as often. */
static bool rest(struct pair *pair, unsigned me, unsigned round) {
    if (round % 2 == 0) {
        return post_sleep(pair->office, me);
    }
    if (!post_look(pair->office, me)) {
        return false;
    }
    for (unsigned i = 0; i < 50 * (round % 8) && !post_found(pair->office, me); i++) {
    }
    bool found = post_look_end(pair->office, me);
    pair->found[me] += found;
    return !found;
}

static struct message *wait_for_one(struct pair *pair, unsigned me, unsigned round) {
    struct message *message;
    while (post_receive(pair->office, me, &message, 1) == 0) {
        if (rest(pair, me, round)) {
            bool rung = doze(&pair->sleepers[me]);
            cr_assert(rung, "a wake-up was lost");
            post_awake(pair->office, me, rung);
        }
    }
    return message;
}

static void *echo(void *arg) {
    struct pair *pair = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        post_send(pair->office, 1, 0, wait_for_one(pair, 1, i));
        post_publish(pair->office, 1);
    }
    return NULL;
}

Test(mailbox, wakes_a_sleeping_thread_every_time, .timeout = 120) {
    struct pair pair = {0};
    for (int i = 0; i < 2; i++) {
        pthread_mutex_init(&pair.sleepers[i].mutex, NULL);
        pthread_cond_init(&pair.sleepers[i].cond, NULL);
        pair.sleepers[i].rung = false;
    }
    pair.office = post_office_new(2, 2, ring_sleeper, &pair);
    pthread_t thread;
    pthread_create(&thread, NULL, echo, &pair);
    struct message ball = {.home = 0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        post_send(pair.office, 0, 1, &ball);
        post_publish(pair.office, 0);
        cr_assert_eq(wait_for_one(&pair, 0, i), &ball);
    }
    pthread_join(thread, NULL);
    cr_assert_eq(post_get_stats(pair.office, 0).late_wakeups, 0);
    cr_assert_eq(post_get_stats(pair.office, 1).late_wakeups, 0);
    /* What was found by looking, the other did not have to ring for. */
    struct post_stats stats[2] = {post_get_stats(pair.office, 0), post_get_stats(pair.office, 1)};
    cr_assert_gt(pair.found[0] + pair.found[1], 0);
    cr_assert_geq(stats[0].spared + stats[1].spared, pair.found[0] + pair.found[1]);
    cr_assert_eq(post_away(pair.office, 0), 0);
    post_office_free(pair.office);
}

Test(mailbox, a_wake_up_that_the_sender_has_claimed_is_not_late) {
    struct post_office *office = post_office_new(2, 4, wake_nobody, NULL);
    cr_assert(post_sleep(office, 1));
    /* The sender rings, and the receiver's time is up before it hears: the ring is on its way. */
    struct message message = {0};
    post_send(office, 0, 1, &message);
    post_publish(office, 0);
    cr_assert_eq(post_get_stats(office, 0).wakes, 1);
    cr_assert(post_awake(office, 1, false));
    cr_assert_eq(post_get_stats(office, 1).late_wakeups, 0);
    post_office_free(office);
}

Test(mailbox, what_comes_while_its_receiver_looks_needs_no_wake_up) {
    struct post_office *office = post_office_new(3, 4, wake_nobody, NULL);
    struct message asked = {.home = 0}, news = {.home = POST_ONE_WAY};
    post_send(office, 0, 1, &asked);
    post_publish(office, 0);
    cr_assert_eq(post_away(office, 0), 1);
    struct message *message;
    cr_assert_not(post_look(office, 1), "it is there already");
    cr_assert_eq(post_receive(office, 1, &message, 1), 1);
    cr_assert_eq(post_away(office, 1), 0, "what has its home elsewhere is not waited for here");
    cr_assert(post_look(office, 0));
    cr_assert_not(post_found(office, 0));
    post_send(office, 1, 0, message);
    cr_assert_not(post_found(office, 0), "it is not published yet");
    post_publish(office, 1);
    cr_assert(post_found(office, 0));
    post_send(office, 2, 0, &news); /* and the next finds nobody looking */
    post_publish(office, 2);
    cr_assert(post_look_end(office, 0));
    cr_assert_eq(post_get_stats(office, 1).spared, 1);
    cr_assert_eq(post_get_stats(office, 1).wakes + post_get_stats(office, 2).wakes, 0);
    cr_assert_eq(post_get_stats(office, 2).spared, 0);
    struct message *both[2];
    cr_assert_eq(post_receive(office, 0, both, 2), 2);
    cr_assert_eq(post_away(office, 0), 0);
    /* In vain: it sleeps, and is rung for. */
    cr_assert(post_look(office, 0));
    cr_assert_not(post_look_end(office, 0));
    post_send(office, 2, 0, &news);
    post_publish(office, 2);
    cr_assert_eq(post_get_stats(office, 2).wakes, 1);
    cr_assert(post_awake(office, 0, true));
    post_office_free(office);
}

/* ---- Every interleaving of the handshake ---- */

struct handshake {
    bool no_second_look; /* bugs to be found */
    bool blind_grace;
    bool blind_end; /* a look that ends in vain announces the sleep over a sender's claim */
    bool unclaimed; /* the sender stops a look and leaves it announced */
    bool looks;     /* before it sleeps */
    unsigned published, taken, rung;
    unsigned state;       /* of the receiver: AWAKE, LOOKING, ASLEEP */
    int sender, receiver; /* steps; the sender sends `to_send` messages */
    unsigned to_send;
    unsigned timeouts; /* how often the receiver's sleep may end by itself */
    unsigned polls;    /* how many turns without sleep it may take while in grace */
};

enum { AWAKE, LOOKING, ASLEEP };
enum { S_PUBLISH, S_LOOK, S_CLAIM, S_DONE };
enum {
    R_LOOK,
    R_ANNOUNCE,
    R_AGAIN,
    R_LOOKING, /* asks its own state, over and over */
    R_TIRED,   /* it has looked for long enough */
    R_SLEEP,
    R_ASLEEP,
    R_RUNG,
    R_TIMED_OUT, /* was it claimed? */
    R_UNCLAIMED, /* is something there? */
    R_GRACE,     /* a message is there and its ring is due: about to sleep on */
    R_AWAKE,
};

static void sender_step(struct handshake *h) {
    switch (h->sender) {
    case S_PUBLISH:
        h->published++;
        h->sender = S_LOOK;
        break;
    case S_LOOK:
        h->sender = h->state != AWAKE ? S_CLAIM : S_DONE;
        break;
    case S_CLAIM: /* an exchange: only who finds it asleep rings */
        h->rung |= h->state == ASLEEP;
        h->state = h->unclaimed && h->state == LOOKING ? LOOKING : AWAKE;
        h->sender = S_DONE;
        break;
    }
    if (h->sender == S_DONE && --h->to_send > 0) {
        h->sender = S_PUBLISH;
    }
}

static void receiver_step(struct handshake *h) {
    switch (h->receiver) {
    case R_LOOK:
        if (h->published != h->taken) {
            h->taken = h->published;
        } else {
            h->receiver = R_ANNOUNCE;
        }
        break;
    case R_ANNOUNCE:
        h->state = h->looks ? LOOKING : ASLEEP;
        h->receiver = !h->no_second_look ? R_AGAIN : h->looks ? R_LOOKING : R_SLEEP;
        break;
    case R_AGAIN:
        if (h->published != h->taken) {
            h->state = AWAKE;
            h->receiver = R_LOOK;
        } else {
            h->receiver = h->looks ? R_LOOKING : R_SLEEP;
        }
        break;
    case R_LOOKING: /* nothing came in this step, or it was not seen: the end decides */
        h->receiver = R_TIRED;
        break;
    case R_TIRED: /* a compare and exchange */
        if (h->state == LOOKING || h->blind_end) {
            h->state = ASLEEP;
            h->receiver = R_SLEEP;
        } else {
            h->receiver = R_LOOK;
        }
        break;
    case R_SLEEP:
    case R_ASLEEP:
        h->receiver = h->rung ? R_RUNG : R_ASLEEP;
        break;
    case R_RUNG:
        h->rung = 0;
        h->receiver = R_AWAKE;
        break;
    case R_TIMED_OUT:
        h->receiver = h->state == ASLEEP ? R_UNCLAIMED : R_AWAKE;
        break;
    case R_UNCLAIMED:
        h->receiver = h->published != h->taken ? R_GRACE : R_AWAKE;
        break;
    case R_GRACE:
        h->receiver = h->state == ASLEEP || h->blind_grace ? R_SLEEP : R_LOOK;
        break;
    case R_AWAKE:
        h->state = AWAKE;
        h->receiver = R_LOOK;
        break;
    }
}

/* Walks all interleavings; `lost` counts ends in which the receiver sleeps for ever although a
 * message is there. */
static void walk(struct handshake h, unsigned *lost, unsigned *ends) {
    bool sender_can = h.to_send > 0;
    bool receiver_can = h.receiver != R_ASLEEP || h.rung;
    if (!sender_can && !receiver_can) {
        (*ends)++;
        *lost += h.published != h.taken;
        return;
    }
    if (sender_can) {
        struct handshake next = h;
        sender_step(&next);
        walk(next, lost, ends);
    }
    if (receiver_can) {
        struct handshake next = h;
        receiver_step(&next);
        walk(next, lost, ends);
    }
    if (h.receiver == R_ASLEEP && h.timeouts > 0) {
        struct handshake next = h;
        next.timeouts--;
        next.receiver = R_TIMED_OUT;
        walk(next, lost, ends);
    }
    if (h.receiver == R_GRACE && h.polls > 0) {
        struct handshake next = h;
        next.polls--;
        next.rung = 0;
        next.taken = next.published;
        walk(next, lost, ends);
    }
}

Test(mailbox, no_interleaving_of_the_handshake_loses_a_wake_up) {
    for (unsigned messages = 1; messages <= 3; messages++) {
        unsigned lost = 0, ends = 0;
        walk((struct handshake){.to_send = messages}, &lost, &ends);
        cr_assert_gt(ends, 0);
        cr_assert_eq(lost, 0);
    }
}

Test(mailbox, the_model_finds_the_bug_when_the_second_look_is_left_out) {
    unsigned lost = 0, ends = 0;
    walk((struct handshake){.no_second_look = true, .to_send = 1}, &lost, &ends);
    cr_assert_gt(lost, 0);
}

Test(mailbox, no_interleaving_of_a_look_before_the_sleep_loses_a_wake_up) {
    unsigned lost = 0, ends = 0;
    for (unsigned messages = 1; messages <= 3; messages++) {
        walk((struct handshake){.looks = true, .to_send = messages}, &lost, &ends);
    }
    walk((struct handshake){.looks = true, .to_send = 2, .timeouts = 2, .polls = 2}, &lost, &ends);
    cr_assert_gt(ends, 0);
    cr_assert_eq(lost, 0);
}

Test(mailbox, the_model_finds_what_a_look_can_do_wrong) {
    static const struct handshake faults[] = {
        {.looks = true, .to_send = 1, .no_second_look = true},
        {.looks = true, .to_send = 1, .blind_end = true},
        {.looks = true, .to_send = 1, .unclaimed = true},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        unsigned lost = 0, ends = 0;
        walk(faults[i], &lost, &ends);
        cr_assert_gt(lost, 0, "fault %zu", i);
    }
}

/* A sleep ended by itself while a sender stood between publishing and ringing. A turn without sleep
 * came next, which heard the ring and took the message; then the thread slept without saying so,
 * because it thought that it still did, and the next message lay there until the watchdog came. */
Test(mailbox, no_interleaving_with_sleeps_that_time_out_loses_a_wake_up) {
    unsigned lost = 0, ends = 0;
    walk((struct handshake){.to_send = 2, .timeouts = 2, .polls = 2}, &lost, &ends);
    cr_assert_gt(ends, 0);
    cr_assert_eq(lost, 0);
    walk((struct handshake){.blind_grace = true, .to_send = 2, .timeouts = 1, .polls = 1}, &lost,
         &ends);
    cr_assert_gt(lost, 0);
}
