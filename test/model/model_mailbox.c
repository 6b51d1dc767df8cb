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
                post_publish(office, me, me, false);
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
                post_publish(office, me, me, false);
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
    bool visits;
    unsigned inside[2]; /* how often somebody was in the receiver's place: only one at a time */
    unsigned visited[2];
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

/* What belongs to `me`, or to who visits him: a plain number, which a race would spoil. */
static void touch(struct pair *pair, unsigned me) {
    pair->inside[me]++;
}

static struct message *wait_for_one(struct pair *pair, unsigned me, unsigned round) {
    struct message *message;
    touch(pair, me);
    while (post_receive(pair->office, me, &message, 1) == 0) {
        if (rest(pair, me, round)) {
            cr_assert(doze(&pair->sleepers[me]), "a wake-up was lost");
            while (!post_awake(pair->office, me)) {
            }
        }
        touch(pair, me);
    }
    return message;
}

/* Publishes; whom it finds asleep it may visit: there it sends back what has come, or leaves that
 * to the host. Returns how many messages it has sent back. */
static unsigned publish(struct pair *pair, unsigned me, unsigned round) {
    post_publish(pair->office, me, me, pair->visits && round % 4 != 0);
    unsigned host, sent = 0;
    while (post_next_visit(pair->office, me, &host)) {
        pair->visited[host]++;
        do {
            touch(pair, host);
            struct message *message;
            if (round % 4 == 1) {
                post_leave_awake(pair->office, host, me);
                break;
            }
            while (post_receive(pair->office, host, &message, 1) == 1) {
                post_send(pair->office, host, me, message);
                sent++;
            }
            post_publish(pair->office, host, me, true);
        } while (!post_leave(pair->office, host));
    }
    return sent;
}

static void *echo(void *arg) {
    struct pair *pair = arg;
    for (unsigned i = 0;; i++) {
        struct message *message = wait_for_one(pair, 1, i);
        bool last = message->kind == 1;
        post_send(pair->office, 1, 0, message);
        publish(pair, 1, 0); /* who answers all that comes is not visited by who waits for it */
        if (last) {
            return NULL;
        }
    }
}

static void play(struct pair *pair) {
    for (int i = 0; i < 2; i++) {
        pthread_mutex_init(&pair->sleepers[i].mutex, NULL);
        pthread_cond_init(&pair->sleepers[i].cond, NULL);
        pair->sleepers[i].rung = false;
    }
    pair->office = post_office_new(2, 2, ring_sleeper, pair);
    pthread_t thread;
    pthread_create(&thread, NULL, echo, pair);
    struct message ball = {.home = 0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        ball.kind = i == ROUNDS - 1;
        post_send(pair->office, 0, 1, &ball);
        publish(pair, 0, ball.kind ? 0 : i);
        cr_assert_eq(wait_for_one(pair, 0, i), &ball);
    }
    pthread_join(thread, NULL);
    cr_assert_eq(post_get_stats(pair->office, 0).late_wakeups, 0);
    cr_assert_eq(post_get_stats(pair->office, 1).late_wakeups, 0);
    /* What was found by looking, the other did not have to ring for. */
    struct post_stats stats[2] = {post_get_stats(pair->office, 0), post_get_stats(pair->office, 1)};
    cr_assert_gt(pair->found[0] + pair->found[1], 0);
    cr_assert_geq(stats[0].spared + stats[1].spared, pair->found[0] + pair->found[1]);
    cr_assert_eq(post_away(pair->office, 0), 0);
    post_office_free(pair->office);
}

Test(mailbox, wakes_a_sleeping_thread_every_time, .timeout = 120) {
    struct pair pair = {0};
    play(&pair);
    cr_assert_eq(pair.visited[0] + pair.visited[1], 0);
}

Test(mailbox, a_thread_that_sleeps_is_visited_or_woken, .timeout = 120) {
    struct pair pair = {.visits = true};
    play(&pair);
    cr_assert_gt(pair.visited[1], 0);
}

Test(mailbox, a_wake_up_that_the_sender_has_claimed_is_not_late) {
    struct post_office *office = post_office_new(2, 4, wake_nobody, NULL);
    cr_assert(post_sleep(office, 1));
    /* The sender rings, and the receiver's time is up before it hears: the ring is on its way. */
    struct message message = {0};
    post_send(office, 0, 1, &message);
    post_publish(office, 0, 0, false);
    cr_assert_eq(post_get_stats(office, 0).wakes, 1);
    cr_assert(post_awake(office, 1));
    cr_assert_eq(post_get_stats(office, 1).late_wakeups, 0);
    post_office_free(office);
}

Test(mailbox, what_comes_while_its_receiver_looks_needs_no_wake_up) {
    struct post_office *office = post_office_new(3, 4, wake_nobody, NULL);
    struct message asked = {.home = 0}, news = {.home = POST_ONE_WAY};
    post_send(office, 0, 1, &asked);
    post_publish(office, 0, 0, false);
    cr_assert_eq(post_away(office, 0), 1);
    struct message *message;
    cr_assert_not(post_look(office, 1), "it is there already");
    cr_assert_eq(post_receive(office, 1, &message, 1), 1);
    cr_assert_eq(post_away(office, 1), 0, "what has its home elsewhere is not waited for here");
    cr_assert(post_look(office, 0));
    cr_assert_not(post_found(office, 0));
    post_send(office, 1, 0, message);
    cr_assert_not(post_found(office, 0), "it is not published yet");
    post_publish(office, 1, 1, false);
    cr_assert(post_found(office, 0));
    post_send(office, 2, 0, &news); /* and the next finds nobody looking */
    post_publish(office, 2, 2, false);
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
    post_publish(office, 2, 2, false);
    cr_assert_eq(post_get_stats(office, 2).wakes, 1);
    cr_assert(post_awake(office, 0));
    post_office_free(office);
}

Test(mailbox, who_is_visited_waits_and_the_visitor_hears_who_knocks) {
    struct post_office *office = post_office_new(3, 4, wake_nobody, NULL);
    struct message first = {0}, second = {0}, *message;
    unsigned host;
    cr_assert(post_sleep(office, 1));
    post_send(office, 0, 1, &first);
    post_publish(office, 0, 0, true);
    cr_assert(post_next_visit(office, 0, &host));
    cr_assert_eq(host, 1);
    cr_assert_not(post_next_visit(office, 0, &host), "each once");
    cr_assert_not(post_awake(office, 1), "somebody is inside");
    cr_assert_eq(post_receive(office, 1, &message, 1), 1);
    post_send(office, 2, 1, &second);
    post_publish(office, 2, 2, true);
    cr_assert_not(post_next_visit(office, 2, &host), "somebody else is inside");
    cr_assert_not(post_leave(office, 1), "somebody has knocked");
    cr_assert_eq(post_receive(office, 1, &message, 1), 1);
    cr_assert_eq(message, &second);
    cr_assert(post_leave(office, 1));
    cr_assert_eq(post_get_stats(office, 0).wakes + post_get_stats(office, 2).wakes, 0);
    /* It sleeps as before: whoever comes next wakes it. */
    post_send(office, 2, 1, &second);
    post_publish(office, 2, 2, false);
    cr_assert_eq(post_get_stats(office, 2).wakes, 1);
    cr_assert(post_awake(office, 1));
    cr_assert_eq(post_receive(office, 1, &message, 1), 1);
    /* A visitor that has not the time. */
    cr_assert(post_sleep(office, 1));
    post_send(office, 0, 1, &first);
    post_publish(office, 0, 0, true);
    cr_assert(post_next_visit(office, 0, &host));
    post_leave_awake(office, 1, 0);
    cr_assert_eq(post_get_stats(office, 0).wakes, 1);
    cr_assert(post_awake(office, 1));
    cr_assert_eq(post_get_stats(office, 1).late_wakeups, 0);
    post_office_free(office);
}

/* ---- Every interleaving of the handshake ---- */

#define SENDERS 2

struct handshake {
    /* Bugs to be found. */
    bool no_second_look;
    bool blind_end;      /* a look that ends in vain announces the sleep over a sender's claim */
    bool unclaimed;      /* the sender stops a look and leaves it announced */
    bool blind_withdraw; /* who takes his announcement back does not ask whether he is visited */
    bool barges_in;      /* nor who wakes by himself */
    bool blind_leave;    /* the visitor does not ask whether somebody knocked */
    bool unknocked;      /* what the visitor himself sends the host is no knock */
    bool told_early;     /* before the receiver was looked after */
    bool hasty;          /* what was told of may have been taken since by a visitor */
    /* What is walked. */
    bool looks;                     /* before it sleeps */
    bool visits;                    /* the senders do */
    bool sends_inside;              /* and send the host more, while they visit it */
    unsigned char timeouts;         /* how often the receiver's sleep may end by itself */
    unsigned char to_send[SENDERS]; /* messages */
    /* Where it stands. */
    unsigned char published[SENDERS], taken[SENDERS], told[SENDERS];
    unsigned char state; /* of the receiver */
    unsigned char seen[SENDERS];
    bool claimed[SENDERS]; /* by this sender, for a visit */
    bool inside[SENDERS];  /* it sends from inside one */
    unsigned char sender[SENDERS], receiver;
    bool rung;
    unsigned char sees_told[SENDERS]; /* the receiver: a message that was told of */
    bool late;
};

enum { AWAKE, LOOKING, ASLEEP, VISITED, KNOCKED };
enum { S_PUBLISH, S_LOOK, S_CLAIM, S_TELL, S_VISIT, S_LEAVE, S_AGAIN, S_WAKE };
enum {
    R_LOOK,
    R_ANNOUNCE,
    R_AGAIN,
    R_WITHDRAW,
    R_LOOKING, /* asks its own state, over and over */
    R_TIRED,   /* it has looked for long enough */
    R_ASLEEP,
    R_RUNG,
    R_AWAKE, /* is it visited? */
    R_TOLD,  /* is something there? */
    R_CLAIM,
};

static bool mail(const struct handshake *h) {
    return memcmp(h->published, h->taken, sizeof h->taken) != 0;
}

static void take(struct handshake *h) {
    memcpy(h->taken, h->published, sizeof h->taken);
}

static void sender_step(struct handshake *h, unsigned i) {
    switch (h->sender[i]) {
    case S_PUBLISH:
        h->published[i]++;
        h->sender[i] = S_LOOK;
        if (h->told_early) {
            h->told[i] = h->published[i];
        }
        break;
    case S_LOOK:
        h->seen[i] = h->state;
        h->sender[i] = h->state != AWAKE && h->state != KNOCKED ? S_CLAIM : S_TELL;
        if (h->inside[i] && h->unknocked) {
            h->sender[i] = S_TELL;
        }
        break;
    case S_CLAIM: /* a compare and exchange: only who finds it asleep rings, or visits */
        if (h->state != h->seen[i]) {
            h->sender[i] = S_LOOK;
            break;
        }
        if (h->state == LOOKING) {
            h->state = h->unclaimed ? LOOKING : AWAKE;
        } else if (h->state == VISITED) {
            h->state = KNOCKED;
        } else {
            h->claimed[i] = h->visits;
            h->rung |= !h->visits;
            h->state = h->visits ? VISITED : AWAKE;
        }
        h->sender[i] = S_TELL;
        break;
    case S_TELL:
        h->told[i] = h->published[i];
        h->sender[i] = h->inside[i] ? S_LEAVE : h->claimed[i] ? S_VISIT : S_PUBLISH;
        h->inside[i] = false;
        break;
    case S_VISIT:
        take(h);
        h->sender[i] = S_LEAVE;
        break;
    case S_LEAVE: /* a compare and exchange */
        if (h->state == VISITED || h->blind_leave) {
            h->state = ASLEEP;
            h->claimed[i] = false;
            h->sender[i] = S_PUBLISH;
        } else {
            h->sender[i] = S_AGAIN;
        }
        break;
    case S_AGAIN:
        h->state = VISITED;
        h->sender[i] = S_VISIT;
        break;
    case S_WAKE:
        h->state = AWAKE;
        h->rung = true;
        h->claimed[i] = false;
        h->sender[i] = S_PUBLISH;
        break;
    }
    if (h->sender[i] == S_PUBLISH) {
        h->to_send[i]--;
    }
}

static void receiver_step(struct handshake *h) {
    switch (h->receiver) {
    case R_LOOK:
        if (mail(h)) {
            take(h);
        } else {
            h->receiver = R_ANNOUNCE;
        }
        break;
    case R_ANNOUNCE:
        h->state = h->looks ? LOOKING : ASLEEP;
        h->receiver = !h->no_second_look ? R_AGAIN : h->looks ? R_LOOKING : R_ASLEEP;
        break;
    case R_AGAIN:
        h->receiver = mail(h) ? R_WITHDRAW : h->looks ? R_LOOKING : R_ASLEEP;
        break;
    case R_WITHDRAW: /* a compare and exchange */
        if (h->state == (h->looks ? LOOKING : ASLEEP) || h->blind_withdraw) {
            h->state = AWAKE;
        }
        h->receiver = h->state == AWAKE ? R_LOOK : R_ASLEEP;
        break;
    case R_LOOKING: /* nothing came in this step, or it was not seen: the end decides */
        h->receiver = R_TIRED;
        break;
    case R_TIRED: /* a compare and exchange */
        if (h->state == LOOKING || h->blind_end) {
            h->state = ASLEEP;
            h->receiver = R_ASLEEP;
        } else {
            h->receiver = R_LOOK;
        }
        break;
    case R_ASLEEP:
        h->receiver = R_RUNG;
        break;
    case R_RUNG:
        h->rung = false;
        h->receiver = R_AWAKE;
        break;
    case R_AWAKE: /* while it is visited it asks again, and that is no step */
        h->receiver = h->state == AWAKE ? R_LOOK : R_TOLD;
        break;
    case R_TOLD:
        for (unsigned i = 0; i < SENDERS; i++) {
            bool told = h->published[i] != h->taken[i] && h->told[i] == h->published[i];
            h->sees_told[i] = told ? h->published[i] : 0;
        }
        h->receiver = R_CLAIM;
        break;
    case R_CLAIM: /* a compare and exchange */
        if (h->state == ASLEEP || h->barges_in) {
            for (unsigned i = 0; i < SENDERS; i++) {
                h->late |= h->sees_told[i] > (h->hasty ? 0 : h->taken[i]);
            }
            h->state = AWAKE;
        }
        h->receiver = h->state == AWAKE ? R_LOOK : R_AWAKE;
        break;
    }
}

static bool receiver_can(const struct handshake *h) {
    bool visited = h->state == VISITED || h->state == KNOCKED;
    return !(h->receiver == R_ASLEEP && !h->rung) &&
           !(h->receiver == R_AWAKE && visited && !h->barges_in);
}

/* Its own things are touched by a thread while it is awake, by a visitor while he is inside. */
static unsigned inside(const struct handshake *h) {
    unsigned n = h->receiver == R_LOOK || h->receiver == R_ANNOUNCE ||
                 ((h->receiver == R_AGAIN || h->receiver == R_LOOKING || h->receiver == R_TIRED) &&
                  h->looks);
    for (unsigned i = 0; i < SENDERS; i++) {
        n += h->claimed[i];
    }
    return n;
}

struct walk {
    struct handshake *seen; /* an open hash table */
    size_t count, capacity;
    unsigned ends;
    unsigned lost;   /* ends in which the receiver sleeps for ever although a message is there */
    unsigned clash;  /* states in which two touch what is the receiver's */
    unsigned late;   /* ends in which a wake-up was called late */
    unsigned knocks; /* states that show what is walked */
};

static bool walk_note(struct walk *walk, const struct handshake *h);

static void walk_grow(struct walk *walk) {
    struct walk old = *walk;
    walk->capacity = old.capacity == 0 ? 1024 : old.capacity * 2;
    walk->seen = calloc(walk->capacity, sizeof *walk->seen);
    walk->count = 0;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.seen[i].receiver != 0) {
            walk_note(walk, &old.seen[i]);
        }
    }
    free(old.seen);
}

/* False: it has been there. `receiver` is kept plus one: 0 is an empty place. */
static bool walk_note(struct walk *walk, const struct handshake *h) {
    if (walk->count * 2 >= walk->capacity) {
        walk_grow(walk);
    }
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof *h; i++) {
        hash = (hash ^ ((const unsigned char *)h)[i]) * 1099511628211u;
    }
    size_t at = hash & (walk->capacity - 1);
    while (walk->seen[at].receiver != 0) {
        if (memcmp(&walk->seen[at], h, sizeof *h) == 0) {
            return false;
        }
        at = (at + 1) & (walk->capacity - 1);
    }
    walk->seen[at] = *h;
    walk->count++;
    return true;
}

static void walk_from(struct walk *walk, const struct handshake *h) {
    struct handshake noted = *h;
    noted.receiver++;
    if (!walk_note(walk, &noted)) {
        return;
    }
    walk->clash += inside(h) > 1;
    walk->knocks += h->state == KNOCKED;
    bool over = true;
    for (unsigned i = 0; i < SENDERS; i++) {
        if (h->to_send[i] > 0) {
            over = false;
            struct handshake next = *h;
            sender_step(&next, i);
            walk_from(walk, &next);
            if (h->sender[i] == S_VISIT || h->sender[i] == S_LEAVE) {
                next = *h;
                next.sender[i] = S_WAKE; /* whatever is there, or has been taken */
                walk_from(walk, &next);
            }
            if (h->sends_inside && h->sender[i] == S_LEAVE && h->to_send[i] > 1) {
                next = *h;
                next.to_send[i]--;
                next.inside[i] = true;
                next.sender[i] = S_PUBLISH;
                walk_from(walk, &next);
            }
        }
    }
    if (receiver_can(h)) {
        over = false;
        struct handshake next = *h;
        receiver_step(&next);
        walk_from(walk, &next);
    }
    if (h->receiver == R_ASLEEP && h->timeouts > 0) {
        struct handshake next = *h;
        next.timeouts--;
        next.receiver = R_AWAKE;
        walk_from(walk, &next);
    }
    if (over) {
        walk->ends++;
        walk->lost += mail(h);
        walk->late += h->late;
    }
}

/* All interleavings. */
static struct walk walk(const struct handshake *h) {
    struct walk walk = {0};
    walk_from(&walk, h);
    free(walk.seen);
    return walk;
}

Test(mailbox, no_interleaving_of_the_handshake_loses_a_wake_up) {
    static const struct handshake sound[] = {
        {.to_send = {1}},
        {.to_send = {3}},
        {.to_send = {2, 2}},
        {.to_send = {2, 2}, .timeouts = 2},
        {.to_send = {2, 2}, .timeouts = 2, .looks = true},
        {.to_send = {2, 2}, .timeouts = 2, .visits = true},
        {.to_send = {3, 2}, .timeouts = 2, .visits = true, .looks = true},
        {.to_send = {3, 2}, .timeouts = 2, .visits = true, .sends_inside = true},
        {.to_send = {2, 2}, .timeouts = 2, .visits = true, .sends_inside = true, .looks = true},
    };
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++) {
        struct walk done = walk(&sound[i]);
        cr_assert_gt(done.ends, 0);
        cr_assert_eq(done.lost, 0, "walk %zu", i);
        cr_assert_eq(done.clash, 0, "walk %zu", i);
        cr_assert_eq(done.late, 0, "walk %zu", i);
        cr_assert(done.knocks > 0 || !sound[i].visits, "walk %zu", i);
    }
}

Test(mailbox, the_model_finds_what_can_lose_a_wake_up) {
    static const struct handshake faults[] = {
        {.to_send = {1}, .no_second_look = true},
        {.to_send = {1}, .looks = true, .no_second_look = true},
        {.to_send = {1}, .looks = true, .blind_end = true},
        {.to_send = {1}, .looks = true, .unclaimed = true},
        {.to_send = {1, 1}, .visits = true, .blind_leave = true},
        {.to_send = {2}, .visits = true, .sends_inside = true, .unknocked = true},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        cr_assert_gt(walk(&faults[i]).lost, 0, "fault %zu", i);
    }
}

/* A thread took its announcement back, when it found mail on its second look, over the claim of a
 * visitor who was at work there. */
Test(mailbox, the_model_finds_what_lets_two_touch_the_same) {
    static const struct handshake faults[] = {
        {.to_send = {1, 1}, .visits = true, .blind_withdraw = true},
        {.to_send = {1}, .visits = true, .timeouts = 1, .barges_in = true},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        cr_assert_gt(walk(&faults[i]).clash, 0, "fault %zu", i);
    }
}

Test(mailbox, a_wake_up_that_was_lost_is_called_late_and_no_other) {
    static const struct handshake lost = {.to_send = {1}, .timeouts = 1, .no_second_look = true},
                                  early = {.to_send = {1}, .timeouts = 1, .told_early = true},
                                  hasty = {.to_send = {2, 2},
                                           .timeouts = 1,
                                           .visits = true,
                                           .hasty = true};
    cr_assert_gt(walk(&lost).late, 0);
    cr_assert_gt(walk(&early).late, 0, "the model shows when it is called without need");
    cr_assert_gt(walk(&hasty).late, 0, "the model shows when it is called without need");
}
