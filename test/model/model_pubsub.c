/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol of publish and subscribe between threads (server/pubsub/pubsub.c), for one topic,
 * step by step through every interleaving: a client's command, a message published, one that is
 * taken from the box between two threads, a part of a scatter that has its turn, a publication that
 * is delivered. Boxes keep their order, and nothing else does: input overtakes mail, and parts of a
 * scatter wait for a turn while mail behind them is read.
 *
 * Of each small world all is judged: who was told that it has subscribed gets what is published
 * from then on till it unsubscribes, before it is told of that; nobody gets what was answered
 * before it asked, or anything outside of the two answers, or anything twice; those of one
 * publisher come in their order; as many get a message as PUBLISH has said; a topic is not touched
 * when it was freed, nor kept when nobody needs it.
 *
 * The same walk must find a fault in each of several broken protocols.
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS  3
#define CLIENTS  3
#define MESSAGES 4
#define BOX_MAX  10
#define FOREVER  UINT8_MAX

enum fault {
    SOUND,
    DEAF,                 /* an odd worker does not count others' subscribers */
    ANSWERS_AT_ONCE,      /* SUBSCRIBE, before all workers know */
    TELLS_BY_PARTS,       /* who comes is told by the parts of the scatter, who leaves by mail */
    GETS_OLDER,           /* also what has counted another subscription */
    GETS_YOUNGER,         /* who unsubscribes gets also what does not count it any more */
    FORGETS_ENDED,        /* what has ended gets nothing from then on */
    ANSWERS_UNDELIVERED,  /* UNSUBSCRIBE, before what lies in the queue is delivered */
    PUSHES_AT_ONCE,       /* also before the answer to SUBSCRIBE */
    CONFIRMS_LATE,        /* what came early waits on while the client unsubscribes */
    LAST_FIRST,           /* in the queue */
    RESETS_AT_ONCE,       /* RESET does not wait for others */
    FREES_UNDER_DELIVERY, /* a topic while a publication goes from one of its clients to the next */
    FREES_UNDER_ENDED,    /* a topic that nobody counts, though what has ended is of it */
    KEEPS_TOPICS,         /* nobody frees one when the last that has ended goes */
    FAULTS,
};

enum { SUBSCRIBERS, PUBLICATION, PART, PART_DONE };

struct box {
    uint8_t count, kinds[BOX_MAX], what[BOX_MAX], numbers[BOX_MAX];
};

struct worker {
    uint8_t counts[WORKERS], changes[WORKERS];
    uint8_t topic; /* which one, from 1 on; 0: there is none */
    uint8_t made;  /* topics so far */
    uint8_t jobs;  /* parts of clients' scatters, a set */
    uint8_t queue_count, queue[MESSAGES], queue_counted[MESSAGES];
    uint8_t to_publish;
};

struct client {
    uint8_t at;    /* in its script */
    uint8_t doing; /* the command whose parts are away, or 0 */
    uint8_t open;  /* parts */
    uint8_t gone;
    /* Its subscription. */
    uint8_t is, ended, topic, since, until;
    uint8_t confirming, early_count, early[MESSAGES];
    /* What it has been told. */
    uint8_t told_on;                       /* subscribed, and of nothing else since */
    uint8_t must, had, older, counted_for; /* sets of messages */
    uint8_t last[WORKERS];                 /* of each publisher, plus 1 */
};

/* No padding: states are compared as bytes. */
struct state {
    struct worker workers[WORKERS];
    struct client clients[CLIENTS];
    struct box boxes[WORKERS][WORKERS]; /* from, to */
    uint8_t published, from[MESSAGES], counted[MESSAGES], got[MESSAGES];
    uint8_t wrong;
};

static const char *const wrongs[] = {
    NULL,
    "lost, though it had subscribed",
    "older than its subscription",
    "before the answer to SUBSCRIBE, or behind that to UNSUBSCRIBE",
    "out of order, or twice",
    "not as many got it as PUBLISH has said",
    "a topic is touched that was freed",
    "a topic is never freed",
    "fewer subscribers than none",
    "nobody answers",
};
enum {
    LOST = 1,
    OLDER,
    OUTSIDE,
    DISORDER,
    MISCOUNTED,
    TOUCHES_FREED,
    LEAKS,
    UNDERFLOW,
    NO_ANSWER,
    WRONGS
};

struct walk {
    enum fault fault;
    unsigned workers;
    const char *scripts[CLIENTS]; /* client n is at home on worker n % workers */
    bool exact;                   /* nobody leaves: as many as were counted get it */
    struct state *states;         /* visited */
    uint32_t *table;
    size_t count, capacity, mask, ends;
    unsigned wrong[WRONGS];
    bool delivering; /* inside of a step */
};

static void fail(struct state *s, unsigned wrong) {
    s->wrong = s->wrong == 0 ? (uint8_t)wrong : s->wrong;
}

static void post(struct state *s, unsigned from, unsigned to, unsigned kind, unsigned what,
                 unsigned number) {
    struct box *box = &s->boxes[from][to];
    cr_assert_lt(box->count, BOX_MAX);
    box->kinds[box->count] = (uint8_t)kind;
    box->what[box->count] = (uint8_t)what;
    box->numbers[box->count++] = (uint8_t)number;
}

static unsigned home_of(const struct walk *w, unsigned client) {
    return client % w->workers;
}

/* ---- Topics ---- */

static void topic_get(struct worker *worker) {
    if (worker->topic == 0) {
        worker->topic = ++worker->made;
    }
}

static void topic_free_if_unused(const struct walk *w, struct state *s, unsigned me) {
    struct worker *worker = &s->workers[me];
    bool used = w->delivering && w->fault != FREES_UNDER_DELIVERY;
    for (unsigned i = 0; i < w->workers; i++) {
        used |= worker->counts[i] > 0;
    }
    for (unsigned c = me; c < CLIENTS; c += w->workers) {
        used |= s->clients[c].is && !(s->clients[c].ended && w->fault == FREES_UNDER_ENDED);
    }
    worker->topic = used ? worker->topic : 0;
}

static void touch(struct state *s, unsigned me, unsigned topic) {
    if (s->workers[me].topic != topic) {
        fail(s, TOUCHES_FREED);
    }
}

static void count(const struct walk *w, struct state *s, unsigned me, unsigned of,
                  unsigned change) {
    struct worker *worker = &s->workers[me];
    if (change == FOREVER && worker->counts[of] == 0) {
        fail(s, UNDERFLOW);
        return;
    }
    worker->counts[of] = (uint8_t)(worker->counts[of] + change);
    topic_free_if_unused(w, s, me);
}

/* ---- What a client reads ---- */

static void reads(struct state *s, struct client *client, unsigned message) {
    unsigned from = s->from[message];
    if (!client->told_on) {
        fail(s, OUTSIDE);
    }
    if (client->older & 1u << message) {
        fail(s, OLDER);
    }
    if (client->last[from] > message) {
        fail(s, DISORDER);
    }
    client->last[from] = (uint8_t)(message + 1);
    client->had |= (uint8_t)(1u << message);
    s->got[message]++;
}

static void confirmed(struct state *s, struct client *client) {
    client->confirming = 0;
    for (unsigned i = 0; i < client->early_count; i++) {
        reads(s, client, client->early[i]);
    }
    client->early_count = 0;
    memset(client->early, 0, sizeof client->early);
}

/* ---- Delivering ---- */

static void leave(const struct walk *w, struct state *s, unsigned c);

static bool goes_when_told(const struct walk *w, const struct state *s, unsigned c) {
    return w->scripts[c][s->clients[c].at] == 'X';
}

static void deliver(struct walk *w, struct state *s, unsigned me) {
    struct worker *worker = &s->workers[me];
    unsigned message = worker->queue[0], counted = worker->queue_counted[0];
    unsigned topic = worker->topic;
    memmove(worker->queue, worker->queue + 1, MESSAGES - 1);
    memmove(worker->queue_counted, worker->queue_counted + 1, MESSAGES - 1);
    worker->queue[MESSAGES - 1] = worker->queue_counted[MESSAGES - 1] = 0;
    worker->queue_count--;
    w->delivering = true;
    for (unsigned c = me; c < CLIENTS && topic != 0; c += w->workers) {
        struct client *client = &s->clients[c];
        touch(s, me, topic);
        bool counts_it = client->is && (client->since <= counted || w->fault == GETS_OLDER) &&
                         (counted < client->until || w->fault == GETS_YOUNGER);
        if (!counts_it) {
            continue;
        }
        if (client->confirming && w->fault != PUSHES_AT_ONCE) {
            client->early[client->early_count++] = (uint8_t)message;
        } else {
            reads(s, client, message);
        }
        if (goes_when_told(w, s, c)) {
            leave(w, s, c);
        }
    }
    w->delivering = false;
    topic_free_if_unused(w, s, me);
}

static void deliver_all(struct walk *w, struct state *s, unsigned me) {
    while (s->workers[me].queue_count > 0) {
        deliver(w, s, me);
    }
}

static bool may_confirm(const struct client *client) {
    return client->confirming && client->doing == 0;
}

static void end_of_turn(struct walk *w, struct state *s, unsigned me) {
    for (unsigned c = me; c < CLIENTS; c += w->workers) {
        if (may_confirm(&s->clients[c])) {
            confirmed(s, &s->clients[c]);
        }
    }
    if (s->workers[me].queue_count > 0) {
        deliver(w, s, me);
    }
}

static void arrived(const struct walk *w, struct worker *worker, unsigned message,
                    unsigned counted) {
    unsigned at = worker->queue_count++;
    if (w->fault == LAST_FIRST) {
        memmove(worker->queue + 1, worker->queue, at);
        memmove(worker->queue_counted + 1, worker->queue_counted, at);
        at = 0;
    }
    worker->queue[at] = (uint8_t)message;
    worker->queue_counted[at] = (uint8_t)counted;
}

/* ---- Publishing ---- */

static void publish(const struct walk *w, struct state *s, unsigned me) {
    struct worker *worker = &s->workers[me];
    unsigned message = s->published++;
    worker->to_publish--;
    s->from[message] = (uint8_t)me;
    for (unsigned i = 0; i < w->workers; i++) {
        s->counted[message] = (uint8_t)(s->counted[message] + worker->counts[i]);
        if (worker->counts[i] > 0 && i == me) {
            arrived(w, worker, message, worker->changes[i]);
        } else if (worker->counts[i] > 0) {
            post(s, me, i, PUBLICATION, message, worker->changes[i]);
        }
    }
    for (unsigned c = 0; c < CLIENTS; c++) {
        struct client *client = &s->clients[c];
        if (client->told_on && client->doing == 0 && !client->gone) {
            client->must |= (uint8_t)(1u << message);
        }
    }
}

/* ---- Subscriptions ---- */

static void free_ended(const struct walk *w, struct state *s, unsigned c) {
    struct client *client = &s->clients[c];
    unsigned me = home_of(w, c);
    if (client->is && client->ended) {
        touch(s, me, client->topic);
        client->is = client->ended = client->topic = client->since = client->until = 0;
        if (w->fault != KEEPS_TOPICS) {
            topic_free_if_unused(w, s, me);
        }
    }
}

static void tell_all(const struct walk *w, struct state *s, unsigned me, unsigned change,
                     bool by_parts) {
    s->workers[me].changes[me]++;
    for (unsigned i = 0; i < w->workers; i++) {
        if (i != me && !by_parts) {
            post(s, me, i, SUBSCRIBERS, change, 0);
        }
    }
}

static void scatter(const struct walk *w, struct state *s, unsigned c, char command) {
    unsigned me = home_of(w, c);
    s->clients[c].doing = (uint8_t)command;
    s->clients[c].open = (uint8_t)w->workers;
    s->workers[me].jobs |= (uint8_t)(1u << c);
    for (unsigned i = 0; i < w->workers; i++) {
        if (i != me) {
            post(s, me, i, PART, c, (unsigned)command);
        }
    }
}

static void told_off(struct state *s, struct client *client) {
    if (client->must & ~client->had) {
        fail(s, LOST);
    }
    client->told_on = 0;
    client->must = client->had = client->older = 0;
    memset(client->last, 0, sizeof client->last);
}

static void subscribe(const struct walk *w, struct state *s, unsigned c) {
    unsigned me = home_of(w, c);
    struct worker *worker = &s->workers[me];
    struct client *client = &s->clients[c];
    topic_get(worker);
    client->is = 1;
    client->topic = worker->topic;
    client->since = (uint8_t)(worker->changes[me] + 1);
    client->until = FOREVER;
    client->older = (uint8_t)((1u << s->published) - 1);
    client->confirming = 1;
    count(w, s, me, me, 1);
    tell_all(w, s, me, 1, w->fault == TELLS_BY_PARTS);
    scatter(w, s, c, 'S');
    if (w->fault == ANSWERS_AT_ONCE) {
        client->told_on = 1;
        client->doing = 0;
    }
}

/* The worker's own count goes, and all are told. */
static void end(const struct walk *w, struct state *s, unsigned c) {
    unsigned me = home_of(w, c);
    struct client *client = &s->clients[c];
    touch(s, me, client->topic);
    client->ended = 1;
    client->until = (uint8_t)(s->workers[me].changes[me] + 1);
    count(w, s, me, me, FOREVER);
    tell_all(w, s, me, FOREVER, false);
}

static void leave(const struct walk *w, struct state *s, unsigned c) {
    struct client *client = &s->clients[c];
    if (client->is && !client->ended) {
        end(w, s, c);
    }
    free_ended(w, s, c);
    uint8_t at = client->at, doing = client->doing, open = client->open;
    *client = (struct client){.at = (uint8_t)(at + 1), .doing = doing, .open = open, .gone = 1};
}

/* All workers know. */
static void done(struct walk *w, struct state *s, unsigned c) {
    struct client *client = &s->clients[c];
    unsigned command = client->doing;
    client->doing = 0;
    if (client->gone) {
        return;
    }
    if (command == 'S') {
        client->told_on = 1;
        return;
    }
    if (w->fault != ANSWERS_UNDELIVERED) {
        deliver_all(w, s, home_of(w, c));
    }
    if (!client->gone) {
        free_ended(w, s, c);
        told_off(s, client);
    }
}

/* S, U: SUBSCRIBE, UNSUBSCRIBE; R: RESET; L: it goes; X: it goes as it gets a message. */
static void act(struct walk *w, struct state *s, unsigned c) {
    struct client *client = &s->clients[c];
    unsigned me = home_of(w, c);
    char command = w->scripts[c][client->at];
    if (command == 'L') {
        leave(w, s, c);
        return;
    }
    client->at++;
    if (command == 'R' && w->fault == RESETS_AT_ONCE) {
        end(w, s, c);
        free_ended(w, s, c);
        client->confirming = client->early_count = 0;
        memset(client->early, 0, sizeof client->early);
        told_off(s, client);
        return;
    }
    deliver_all(w, s, me);
    if (client->confirming && w->fault != CONFIRMS_LATE) {
        confirmed(s, client);
    }
    if (client->gone) {
        return;
    }
    if (command == 'S') {
        subscribe(w, s, c);
        return;
    }
    end(w, s, c);
    if (w->fault == FORGETS_ENDED) {
        free_ended(w, s, c);
    }
    scatter(w, s, c, command);
}

/* ---- Mail and jobs ---- */

static void part_home(struct walk *w, struct state *s, unsigned c) {
    if (--s->clients[c].open == 0 && s->clients[c].doing != 0) {
        done(w, s, c);
    }
}

static void subscribers_arrived(const struct walk *w, struct state *s, unsigned me, unsigned of,
                                unsigned change) {
    s->workers[me].changes[of]++;
    if (w->fault != DEAF || me % 2 == 0) {
        topic_get(&s->workers[me]);
        count(w, s, me, of, change);
    }
}

static void receive(struct walk *w, struct state *s, unsigned from, unsigned me) {
    struct box *box = &s->boxes[from][me];
    unsigned kind = box->kinds[0], what = box->what[0], number = box->numbers[0];
    box->count--;
    memmove(box->kinds, box->kinds + 1, BOX_MAX - 1);
    memmove(box->what, box->what + 1, BOX_MAX - 1);
    memmove(box->numbers, box->numbers + 1, BOX_MAX - 1);
    box->kinds[BOX_MAX - 1] = box->what[BOX_MAX - 1] = box->numbers[BOX_MAX - 1] = 0;
    switch (kind) {
    case SUBSCRIBERS:
        subscribers_arrived(w, s, me, from, what);
        break;
    case PUBLICATION:
        arrived(w, &s->workers[me], what, number);
        break;
    case PART:
        s->workers[me].jobs |= (uint8_t)(1u << what);
        break;
    default:
        part_home(w, s, what);
        break;
    }
}

static void run_job(struct walk *w, struct state *s, unsigned me, unsigned c) {
    unsigned home = home_of(w, c);
    s->workers[me].jobs &= (uint8_t) ~(1u << c);
    if (me == home) {
        part_home(w, s, c);
        return;
    }
    if (w->fault == TELLS_BY_PARTS && s->clients[c].doing == 'S') {
        subscribers_arrived(w, s, me, home, 1);
    }
    post(s, me, home, PART_DONE, c, 0);
}

/* ---- The walk ---- */

/* Nothing can happen any more. */
static void judge(const struct walk *w, struct state *s) {
    for (unsigned m = 0; m < s->published; m++) {
        if (s->got[m] > s->counted[m] || (w->exact && s->got[m] < s->counted[m])) {
            fail(s, MISCOUNTED);
        }
    }
    bool subscribed = false;
    for (unsigned c = 0; c < CLIENTS; c++) {
        const struct client *client = &s->clients[c];
        subscribed |= client->is;
        if (client->doing != 0) {
            fail(s, NO_ANSWER);
        }
        if (client->told_on && client->must & ~client->had) {
            fail(s, LOST);
        }
    }
    for (unsigned i = 0; i < w->workers && !subscribed; i++) {
        if (s->workers[i].topic != 0) {
            fail(s, LEAKS);
        }
    }
}

static void visit(struct walk *w, const struct state *s) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof *s; i++) {
        hash = (hash ^ ((const uint8_t *)s)[i]) * UINT64_C(0x100000001b3);
    }
    size_t at = (hash ^ hash >> 32) & w->mask;
    for (; w->table[at] != 0; at = (at + 1) & w->mask) {
        if (memcmp(&w->states[w->table[at] - 1], s, sizeof *s) == 0) {
            return;
        }
    }
    cr_assert_lt(w->count, w->capacity, "more states than there is room for");
    w->states[w->count++] = *s;
    w->table[at] = (uint32_t)w->count;
}

/* Who has gone does nothing; who waits for an answer may go. */
static bool may_act(const struct walk *w, const struct state *s, unsigned c) {
    const struct client *client = &s->clients[c];
    char command = w->scripts[c][client->at];
    return command != 0 && command != 'X' && !client->gone &&
           ((client->doing == 0 && client->open == 0) || command == 'L');
}

static bool turn_matters(const struct walk *w, const struct state *s, unsigned me) {
    bool matters = s->workers[me].queue_count > 0;
    for (unsigned c = me; c < CLIENTS; c += w->workers) {
        matters |= may_confirm(&s->clients[c]);
    }
    return matters;
}

/* Everything that can come next. */
static void walk_from(struct walk *w, const struct state *from) {
    struct state s;
    bool any = false;
#define STEP(condition, action)                                                                    \
    if (condition) {                                                                               \
        s = *from;                                                                                 \
        action;                                                                                    \
        visit(w, &s);                                                                              \
        any = true;                                                                                \
    }
    for (unsigned c = 0; c < CLIENTS; c++) {
        STEP(may_act(w, from, c), act(w, &s, c));
    }
    for (unsigned i = 0; i < w->workers; i++) {
        STEP(from->workers[i].to_publish > 0, publish(w, &s, i));
        STEP(turn_matters(w, from, i), end_of_turn(w, &s, i));
        for (unsigned j = 0; j < w->workers; j++) {
            STEP(from->boxes[i][j].count > 0, receive(w, &s, i, j));
        }
        for (unsigned c = 0; c < CLIENTS; c++) {
            STEP(from->workers[i].jobs & 1u << c, run_job(w, &s, i, c));
        }
    }
#undef STEP
    if (!any) {
        s = *from;
        judge(w, &s);
        w->ends++;
        w->wrong[s.wrong]++;
    }
}

struct world {
    unsigned workers;
    const char *scripts[CLIENTS];
    unsigned publishes[WORKERS];
};

static void walk(struct walk *w, enum fault fault, const struct world *world) {
    *w = (struct walk){.fault = fault, .workers = world->workers, .exact = true};
    w->capacity = 1500000;
    w->mask = (1u << 22) - 1;
    w->states = malloc(w->capacity * sizeof *w->states);
    w->table = calloc(w->mask + 1, sizeof *w->table);
    struct state first;
    memset(&first, 0, sizeof first);
    for (unsigned c = 0; c < CLIENTS; c++) {
        w->scripts[c] = world->scripts[c] != NULL ? world->scripts[c] : "";
        w->exact &= strpbrk(w->scripts[c], "LX") == NULL;
    }
    for (unsigned i = 0; i < world->workers; i++) {
        first.workers[i].to_publish = (uint8_t)world->publishes[i];
    }
    visit(w, &first);
    for (size_t i = 0; i < w->count; i++) {
        struct state s = w->states[i];
        if (s.wrong != 0) {
            w->wrong[s.wrong]++; /* it is not looked at further */
        } else {
            walk_from(w, &s);
        }
    }
    free(w->states);
    free(w->table);
}

static const struct world worlds[] = {
    {2, {"SU"}, {1, 2}},      {2, {"SR"}, {0, 2}},        {2, {"SUSU"}, {0, 2}},
    {2, {"SL", "S"}, {1, 1}}, {2, {"SU", "SU"}, {1, 1}},  {2, {"SX", NULL, "SU"}, {1, 1}},
    {2, {"SX"}, {1, 1}},      {2, {"SUL", "SR"}, {1, 1}}, {3, {"SU"}, {0, 1, 1}},
    {3, {"SL"}, {0, 1, 0}},
};
#define WORLDS (sizeof worlds / sizeof worlds[0])

Test(pubsub, nothing_is_lost_or_overtakes_in_all_interleavings) {
    size_t states = 0;
    for (unsigned i = 0; i < WORLDS; i++) {
        struct walk w;
        walk(&w, SOUND, &worlds[i]);
        for (unsigned j = 1; j < WRONGS; j++) {
            cr_expect_eq(w.wrong[j], 0, "world %u: %s", i, wrongs[j]);
        }
        cr_assert_gt(w.ends, 0, "world %u", i);
        states += w.count;
    }
    fprintf(stderr, "%zu worlds, %zu states\n", WORLDS, states);
}

/* Each with the least that must come of it. */
Test(pubsub, the_walk_finds_every_broken_protocol) {
    static const uint8_t comes[FAULTS] = {
        [DEAF] = LOST,
        [ANSWERS_AT_ONCE] = LOST,
        [TELLS_BY_PARTS] = UNDERFLOW,
        [GETS_OLDER] = OLDER,
        [GETS_YOUNGER] = MISCOUNTED,
        [FORGETS_ENDED] = LOST,
        [ANSWERS_UNDELIVERED] = LOST,
        [PUSHES_AT_ONCE] = OUTSIDE,
        [CONFIRMS_LATE] = OUTSIDE,
        [LAST_FIRST] = DISORDER,
        [RESETS_AT_ONCE] = LOST,
        [FREES_UNDER_DELIVERY] = TOUCHES_FREED,
        [FREES_UNDER_ENDED] = TOUCHES_FREED,
        [KEEPS_TOPICS] = LEAKS,
    };
    for (enum fault fault = SOUND + 1; fault < FAULTS; fault++) {
        unsigned found = 0;
        for (unsigned i = 0; found == 0 && i < WORLDS; i++) {
            struct walk w;
            walk(&w, fault, &worlds[i]);
            found = w.wrong[comes[fault]];
        }
        cr_expect_gt(found, 0, "fault %u is not seen: %s", fault, wrongs[comes[fault]]);
    }
}
