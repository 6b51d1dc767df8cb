/* SPDX-License-Identifier: BSD-3-Clause */
/* waiters and their claim against three judges: a reference that asks everybody each time, real
 * threads, and every interleaving of a small world.
 *
 * In the first, threads with real mailboxes take turns at random; each is home of some clients and
 * has some keys. What the locks of a transaction do is done by a count of those who are about to
 * join: as long as there are any, a key is not filled. Each time something was added, the reference
 * says who must be served with what, and in which order; or who must try to move it to a key that
 * is another's, or locked, while nobody else comes to it.
 *
 * In the last, the protocol is modelled step by step (each step one access to a claim, or one
 * message taken) and all interleavings are walked. Some clients move what they wait for to a key
 * that is not the shard's: they try, by a transaction of their home, while the key is closed for
 * others; it may have been emptied when that comes. The same walk must find a fault in each of
 * several broken protocols.
 *
 * Long, and one file: the three judge the same words of one protocol, and share its clients and
 * keys.
 */
#include "shard/watchers/waiters.h"

#include "base/random.h"
#include "shard/mailbox.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- Random operations against a reference ---- */

#define THREADS     3
#define KEYS        7
#define CLIENTS     9
#define NAMED_MAX   5
#define SEEDS       1500
#define STEPS       1500
#define WAITS_MAX   (STEPS + 1)
#define VALUES_MAX  64
#define STANDS_MAX  256
#define SERVED_MAX  64
#define NOBODY      UINT32_MAX
#define TRIED       UINT32_MAX /* instead of a value */
#define MOVES_NEVER KEYS

enum { JOIN, CALL, HOME, SERVED, TRIES }; /* kinds of messages */

/* A wait as the judge knows it. */
struct wait {
    struct waiter *waiter; /* NULL once it was freed */
    unsigned client;
    unsigned type;     /* of values it can be served with */
    unsigned moves_to; /* a key that gets the value, or MOVES_NEVER */
    unsigned key;      /* that it waits for, if it moves */
    bool open;         /* neither served nor cancelled */
    bool tries;        /* it has the claim, and its home is told, or will be */
    bool told;         /* and is; and what it tries has not come to an end */
    bool in_vain;      /* it was; the shard does not know yet */
    struct message try;
    bool looked; /* its home has looked at its keys, which are kept empty until it stands */
    bool answered;
};

struct stand {
    uint32_t wait;
    unsigned key;
};

struct line_up { /* what a shard's lines hold, by arrival */
    struct stand stands[STANDS_MAX];
    unsigned count;
};

struct service {
    uint32_t wait;
    unsigned key, value;
};

struct model {
    struct rng rng;
    struct post_office *office;
    struct waiters waiters[THREADS];
    struct wait waits[WAITS_MAX];
    uint32_t waits_count;
    uint32_t current[CLIENTS]; /* the wait of each client, or NOBODY */
    unsigned joining[KEYS];    /* waits that are about to join its line */
    bool locked[KEYS];         /* by a transaction, which may fill it */
    bool closed[KEYS];         /* for one who tries */
    unsigned types[KEYS];
    unsigned values[KEYS][VALUES_MAX], values_count[KEYS];
    unsigned next_value, taken;
    unsigned live; /* waiters that are not freed */
    /* The reference. */
    struct line_up lines[THREADS];
    unsigned noted[KEYS * 4], noted_count;
    struct service expected[SERVED_MAX], served[SERVED_MAX];
    unsigned expected_count, served_count;
    /* How often what was tried. */
    unsigned served_far, served_twice_named, cancelled, too_late, passed_over, moved, served_later;
    unsigned tried, tried_in_vain;
};

#define TALLIES 9

static struct model *model; /* of the callbacks */

static const char letters[] = "abcdefg";

static unsigned shard_of(unsigned key) {
    return key % THREADS;
}

static struct key key_of(unsigned n) {
    return (struct key){.name = bytes_make(letters + n, 1), .hash = n % 4};
}

static unsigned number(const struct waiter_key *key) {
    return (unsigned)(strchr(letters, key->key.name.ptr[0]) - letters);
}

static uint32_t wait_of(const struct waiter_part *part) {
    return (uint32_t)(uintptr_t)part->waiter->arg;
}

static void wake_nobody(void *arg, unsigned from, unsigned target) {
}

static void put(struct model *m, unsigned key, unsigned value) {
    cr_assert_lt(m->values_count[key], VALUES_MAX);
    m->values[key][m->values_count[key]++] = value;
}

static unsigned take(struct model *m, unsigned key) {
    unsigned value = m->values[key][0];
    memmove(m->values[key], m->values[key] + 1, --m->values_count[key] * sizeof(unsigned));
    return value;
}

static bool fits(const struct model *m, const struct wait *wait, unsigned key) {
    return m->values_count[key] > 0 && m->types[key] == wait->type;
}

/* Its shard alone cannot serve it. */
static bool takes_more(const struct model *m, const struct wait *wait) {
    unsigned to = wait->moves_to;
    return to != MOVES_NEVER &&
           (shard_of(to) != shard_of(wait->key) || m->locked[to] || m->closed[to]);
}

static void set_type(struct model *m, unsigned key, unsigned type) {
    if (m->values_count[key] == 0) {
        m->types[key] = type;
    }
}

/* -- The reference: runs on a copy of the values. */

static void expect_note(struct model *m, unsigned key) {
    for (unsigned i = 0; i < m->noted_count; i++) {
        if (m->noted[i] == key) {
            return;
        }
    }
    m->noted[m->noted_count++] = key;
}

static void expect_line(struct model *m, unsigned key) {
    const struct line_up *line = &m->lines[shard_of(key)];
    for (unsigned i = 0; i < line->count; i++) {
        struct wait *wait = &m->waits[line->stands[i].wait];
        if (line->stands[i].key == key && wait->tries) {
            return;
        }
        if (line->stands[i].key != key || !wait->open || !fits(m, wait, key)) {
            continue;
        }
        if (takes_more(m, wait)) {
            wait->tries = m->closed[key] = true;
            m->expected[m->expected_count++] = (struct service){line->stands[i].wait, key, TRIED};
            return;
        }
        wait->open = false;
        unsigned value = take(m, key);
        m->expected[m->expected_count++] = (struct service){line->stands[i].wait, key, value};
        if (wait->moves_to != MOVES_NEVER) {
            set_type(m, wait->moves_to, wait->type);
            if (m->types[wait->moves_to] == wait->type) {
                put(m, wait->moves_to, value);
                expect_note(m, wait->moves_to);
            }
        }
    }
}

/* Else it is one who has been passed over. */
static bool first_tries(const struct model *m, unsigned key) {
    const struct line_up *line = &m->lines[shard_of(key)];
    for (unsigned i = 0; i < line->count; i++) {
        const struct wait *wait = &m->waits[line->stands[i].wait];
        if (line->stands[i].key == key && (wait->open || wait->tries)) {
            return wait->tries;
        }
    }
    return false;
}

/* What must come of what was noted, leaving all as it was but `expected`. */
static void expect(struct model *m, unsigned shard) {
    struct model *copy = malloc(sizeof(*copy));
    *copy = *m;
    copy->expected_count = 0;
    m->noted_count = 0;
    while (copy->noted_count > 0) {
        unsigned key = copy->noted[0];
        memmove(copy->noted, copy->noted + 1, --copy->noted_count * sizeof(unsigned));
        bool later = copy->locked[key] || (copy->closed[key] && !first_tries(copy, key));
        if (later || shard_of(key) != shard) {
            m->noted[m->noted_count++] = key; /* it stays so until it is not */
        } else {
            expect_line(copy, key);
        }
    }
    m->expected_count = copy->expected_count;
    memcpy(m->expected, copy->expected, sizeof(m->expected));
    free(copy);
}

/* -- The real one. */

static void send(struct model *m, unsigned from, unsigned to, struct message *message,
                 unsigned kind) {
    message->kind = (uint16_t)kind;
    message->home = (uint16_t)from;
    post_send(m->office, from, to, message);
}

static void note(struct model *m, unsigned key) {
    struct key name = key_of(key);
    waiters_note(&m->waiters[shard_of(key)], 0, &name);
}

static enum waiter_answer answer(void *arg, const struct waiter_key *key, bool as_one) {
    unsigned n = number(key);
    const struct wait *wait = &model->waits[wait_of(key->part)];
    if (model->locked[n] || model->closed[n]) {
        model->served_later += model->values_count[n] > 0;
        return WAITER_LATER;
    }
    if (model->values_count[n] == 0) {
        return WAITER_EMPTY;
    }
    bool fit = fits(model, wait, n);
    model->passed_over += !fit;
    return !fit ? WAITER_PASSES : takes_more(model, wait) ? WAITER_TRIES : WAITER_SERVES;
}

static void serve(void *arg, struct waiter_key *key) {
    struct model *m = model;
    unsigned n = number(key), shard = shard_of(n);
    uint32_t number_of_wait = wait_of(key->part);
    struct wait *wait = &m->waits[number_of_wait];
    cr_assert(wait->open, "served although it was over");
    wait->open = false;
    unsigned value = take(m, n);
    m->served[m->served_count++] = (struct service){number_of_wait, n, value};
    m->served_far += wait->client % THREADS != shard;
    if (wait->moves_to != MOVES_NEVER) {
        set_type(m, wait->moves_to, wait->type);
        if (m->types[wait->moves_to] == wait->type) {
            put(m, wait->moves_to, value);
            note(m, wait->moves_to);
            m->moved++;
        } else {
            m->taken++;
        }
    } else {
        m->taken++;
    }
    for (uint32_t i = 0; i < key->part->keys_count; i++) {
        cr_assert_null(key->part->keys[i].line, "it still stands in a line");
    }
    send(m, shard, wait->client % THREADS, &key->part->message, SERVED);
}

static void begin_try(void *arg, struct waiter_key *key) {
    struct model *m = model;
    unsigned n = number(key);
    struct wait *wait = &m->waits[wait_of(key->part)];
    cr_assert(wait->open && !wait->tries, "tries although it was over");
    wait->tries = m->closed[n] = true;
    m->served[m->served_count++] = (struct service){wait_of(key->part), n, TRIED};
    m->tried++;
    send(m, shard_of(n), wait->client % THREADS, &wait->try, TRIES);
}

static bool hold(void *arg, struct waiter_key *key) {
    return true;
}

static void compare(const struct model *m, unsigned seed, unsigned step) {
    cr_assert_eq(m->served_count, m->expected_count, "seed %u, step %u: %u served, not %u", seed,
                 step, m->served_count, m->expected_count);
    for (unsigned i = 0; i < m->served_count; i++) {
        const struct service *a = &m->served[i], *b = &m->expected[i];
        cr_assert(a->wait == b->wait && a->key == b->key && a->value == b->value,
                  "seed %u, step %u: the %u. served is another", seed, step, i);
    }
}

/* A command is over. */
static void serve_all(struct model *m, unsigned shard, unsigned seed, unsigned step) {
    /* What is kept empty is not filled by a wait that is served either. */
    for (uint32_t i = 0; i < m->waits_count; i++) {
        struct wait *wait = &m->waits[i];
        if (wait->open && !wait->tries && wait->moves_to != MOVES_NEVER && !takes_more(m, wait) &&
            m->joining[wait->moves_to] > 0) {
            wait->moves_to = MOVES_NEVER;
        }
    }
    expect(m, shard);
    m->served_count = 0;
    waiters_serve(
        &m->waiters[shard],
        &(struct waiters_server){.answer = answer, .serve = serve, .try = begin_try, .hold = hold});
    compare(m, seed, step);
}

static void push(struct model *m, unsigned shard, unsigned seed, unsigned step) {
    unsigned keys = 1 + (unsigned)rng_below(&m->rng, 2);
    for (unsigned i = 0; i < keys; i++) {
        unsigned key = shard + THREADS * (unsigned)rng_below(&m->rng, KEYS / THREADS + 1);
        if (key >= KEYS || m->joining[key] > 0 || m->closed[key] || m->values_count[key] > 1) {
            continue;
        }
        set_type(m, key, (unsigned)rng_below(&m->rng, 4) == 0);
        for (unsigned n = 1 + (unsigned)rng_below(&m->rng, 2); n > 0; n--) {
            put(m, key, m->next_value++);
        }
        note(m, key);
        expect_note(m, key);
    }
    serve_all(m, shard, seed, step);
}

/* A transaction gets the lock of a key, or gives it back. */
static void lock(struct model *m, unsigned shard, unsigned seed, unsigned step) {
    unsigned key = shard + THREADS * (unsigned)rng_below(&m->rng, KEYS / THREADS + 1);
    if (key < KEYS && !m->closed[key] && (m->locked[key] || m->joining[key] == 0)) {
        m->locked[key] = !m->locked[key];
        serve_all(m, shard, seed, step);
    }
}

static void begin(struct model *m, unsigned client) {
    struct waiter_name names[NAMED_MAX];
    unsigned keys[NAMED_MAX];
    uint32_t count = rng_below(&m->rng, 2) == 0 ? 1 : 1 + (uint32_t)rng_below(&m->rng, NAMED_MAX);
    uint32_t number_of_wait = m->waits_count;
    struct wait *wait = &m->waits[number_of_wait];
    *wait = (struct wait){.client = client,
                          .type = rng_below(&m->rng, 4) == 0,
                          .moves_to = MOVES_NEVER,
                          .open = true};
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = (unsigned)rng_below(&m->rng, KEYS);
        names[i] = (struct waiter_name){.key = key_of(keys[i]), .shard = shard_of(keys[i])};
        for (uint32_t j = 0; j < i; j++) {
            m->served_twice_named += keys[i] == keys[j];
        }
    }
    bool here = true, locked = false;
    for (uint32_t i = 0; i < count; i++) {
        here &= shard_of(keys[i]) == shard_of(keys[0]);
        locked |= m->locked[keys[i]] || m->closed[keys[i]];
    }
    wait->looked = !here || rng_below(&m->rng, 2) == 0;
    if (wait->looked && locked) {
        return; /* it would wait for the lock */
    }
    for (uint32_t i = 0; wait->looked && i < count; i++) {
        if (fits(m, wait, keys[i])) { /* from left to right: it does not wait */
            take(m, keys[i]);
            m->taken++;
            return;
        }
    }
    if (count == 1) { /* as BLMOVE, when it falls on the same shard */
        unsigned to = (unsigned)rng_below(&m->rng, 2 * KEYS);
        wait->moves_to = to < KEYS ? to : MOVES_NEVER;
        wait->key = keys[0];
    }
    m->waits_count++;
    m->current[client] = number_of_wait;
    wait->waiter = waiter_new(names, count, (void *)(uintptr_t)number_of_wait);
    m->live++;
    for (uint32_t i = 0; i < count; i++) {
        m->joining[keys[i]] += wait->looked;
    }
    for (unsigned i = 0; i < wait->waiter->parts_count; i++) {
        struct waiter_part *part = &wait->waiter->parts[i];
        waiter_lend(part);
        send(m, client % THREADS, part->shard, &part->message, JOIN);
    }
}

static void delete (struct model *m, unsigned shard) {
    unsigned key = shard + THREADS * (unsigned)rng_below(&m->rng, KEYS / THREADS + 1);
    while (key < KEYS && m->values_count[key] > 0) {
        take(m, key);
        m->taken++;
    }
}

static void call_all_back(struct model *m, struct waiter *waiter, unsigned home) {
    struct waiter_part *part;
    while ((part = waiter_call_back(waiter)) != NULL) {
        send(m, home, part->shard, &part->call, CALL);
    }
}

static void cancel(struct model *m, unsigned client) {
    struct wait *wait = &m->waits[m->current[client]];
    cr_assert_eq(wait->waiter->arg, (void *)(uintptr_t)m->current[client]);
    bool cancelled = waiter_cancel(wait->waiter);
    cr_assert_eq(cancelled, wait->open && (!wait->tries || wait->in_vain));
    if (!cancelled) {
        m->too_late++;
        return; /* its answer comes */
    }
    m->cancelled++;
    wait->open = false;
    wait->answered = true;
    m->current[client] = NOBODY;
    call_all_back(m, wait->waiter, client % THREADS);
}

/* The transaction of one who tries. It has all that it takes; or somebody who needs no locks, as he
 * has all of them, has been there before, and it tries in vain. */
static void try(struct model *m, unsigned client, unsigned seed, unsigned step) {
    struct wait *wait = m->current[client] != NOBODY ? &m->waits[m->current[client]] : NULL;
    if (wait == NULL || !wait->told || m->joining[wait->moves_to] > 0 ||
        m->locked[wait->moves_to]) {
        return;
    }
    wait->told = false;
    unsigned home = client % THREADS, to = wait->moves_to;
    if (!fits(m, wait, wait->key)) {
        m->tried_in_vain++;
        wait->in_vain = true;
        claim_give_back(&wait->waiter->claim);
        send(m, home, shard_of(wait->key), &wait->waiter->parts[0].message, JOIN);
        return;
    }
    unsigned value = take(m, wait->key);
    wait->open = false;
    wait->answered = true;
    m->current[client] = NOBODY;
    call_all_back(m, wait->waiter, home);
    set_type(m, to, wait->type);
    if (m->types[to] == wait->type) {
        put(m, to, value);
        note(m, to);
        expect_note(m, to);
        serve_all(m, shard_of(to), seed, step);
    } else {
        m->taken++;
    }
}

static void tried(struct model *m, unsigned me, struct wait *wait, unsigned seed, unsigned step) {
    wait->tries = wait->in_vain = m->closed[wait->key] = false;
    expect_note(m, wait->key);
    serve_all(m, me, seed, step);
}

static void came_home(struct model *m, struct waiter_part *part, bool served) {
    struct wait *wait = &m->waits[wait_of(part)];
    struct waiter *waiter = part->waiter;
    bool last = waiter_returned(part);
    if (served) {
        cr_assert_not(wait->answered, "answered twice");
        wait->answered = true;
        cr_assert_eq(m->current[wait->client], wait_of(part));
        m->current[wait->client] = NOBODY;
        call_all_back(m, waiter, wait->client % THREADS);
    }
    if (last) {
        wait->waiter = NULL;
        m->live--;
        waiter_free(waiter);
    }
}

static void joined(struct model *m, unsigned me, struct waiter_part *part, unsigned seed,
                   unsigned step) {
    struct line_up *line = &m->lines[me];
    bool again = part->tries;
    waiters_join(&m->waiters[me], part);
    if (again) {
        tried(m, me, &m->waits[wait_of(part)], seed, step);
        return;
    }
    for (uint32_t i = 0; i < part->keys_count; i++) {
        unsigned key = number(&part->keys[i]);
        m->joining[key] -= m->waits[wait_of(part)].looked;
        expect_note(m, key);
        unsigned kept = 0; /* those that are over stand in nobody's way */
        for (unsigned j = 0; j < line->count; j++) {
            const struct wait *wait = &m->waits[line->stands[j].wait];
            if (wait->open || wait->tries) {
                line->stands[kept++] = line->stands[j];
            }
        }
        line->count = kept;
        cr_assert_lt(line->count, STANDS_MAX);
        line->stands[line->count++] = (struct stand){wait_of(part), key};
    }
    serve_all(m, me, seed, step);
}

static void receive(struct model *m, unsigned me, unsigned max, unsigned seed, unsigned step) {
    struct message *messages[8];
    size_t n = post_receive(m->office, me, messages, max);
    for (size_t i = 0; i < n; i++) {
        struct waiter_part *part = (struct waiter_part *)messages[i];
        switch (messages[i]->kind) {
        case JOIN:
            joined(m, me, part, seed, step);
            break;
        case CALL: {
            part = WAITER_CALLED(messages[i]);
            bool tries = part->tries;
            waiters_leave(&m->waiters[me], part);
            if (tries) {
                tried(m, me, &m->waits[wait_of(part)], seed, step);
            }
            send(m, me, messages[i]->home, &part->message, HOME);
            break;
        }
        case TRIES:
            ((struct wait *)((char *)messages[i] - offsetof(struct wait, try)))->told = true;
            break;
        case HOME:
        case SERVED:
            came_home(m, part, messages[i]->kind == SERVED);
            break;
        }
    }
}

/* Nobody waits in line for what is there. */
static void nobody_is_overlooked(const struct model *m, unsigned seed, unsigned step) {
    for (unsigned shard = 0; shard < THREADS; shard++) {
        const struct line_up *line = &m->lines[shard];
        for (unsigned i = 0; i < line->count; i++) {
            const struct wait *wait = &m->waits[line->stands[i].wait];
            unsigned key = line->stands[i].key;
            cr_assert_not(wait->open && fits(m, wait, key) && !m->locked[key] && !m->closed[key],
                          "seed %u, step %u: %c has what wait %u stands in line for", seed, step,
                          letters[key], line->stands[i].wait);
        }
    }
}

static void step_at_random(struct model *m, unsigned seed, unsigned step) {
    unsigned me = (unsigned)rng_below(&m->rng, THREADS);
    unsigned client = me + THREADS * (unsigned)rng_below(&m->rng, CLIENTS / THREADS);
    switch (rng_below(&m->rng, 14)) {
    case 0:
    case 1:
        if (m->current[client] == NOBODY) {
            begin(m, client);
        }
        break;
    case 2:
        if (m->current[client] != NOBODY && rng_below(&m->rng, 6) == 0) {
            cancel(m, client);
        }
        break;
    case 3:
        push(m, me, seed, step);
        break;
    case 4:
        delete (m, me);
        break;
    case 5:
        lock(m, me, seed, step);
        break;
    case 6:
        try(m, client, seed, step);
        break;
    case 7:
    case 8:
    case 9:
        post_publish(m->office, me, me, false);
        break;
    default:
        receive(m, me, 1 + (unsigned)rng_below(&m->rng, 8), seed, step);
        break;
    }
}

static void settle(struct model *m, unsigned seed) {
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned me = 0; me < THREADS; me++) {
            post_publish(m->office, me, me, false);
            receive(m, me, 8, seed, STEPS);
        }
        for (unsigned i = 0; i < KEYS; i++) {
            m->locked[i] = false;
            serve_all(m, shard_of(i), seed, STEPS);
        }
        for (unsigned client = 0; client < CLIENTS; client++) {
            try(m, client, seed, STEPS);
        }
    }
}

static void run_seed(struct model *m, unsigned seed) {
    rng_seed(&m->rng, seed);
    m->office = post_office_new(THREADS, 1u << rng_below(&m->rng, 5), wake_nobody, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        waiters_init(&m->waiters[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        m->current[i] = NOBODY;
    }
    for (unsigned step = 0; step < STEPS; step++) {
        step_at_random(m, seed, step);
        nobody_is_overlooked(m, seed, step);
    }
    settle(m, seed);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (m->current[i] != NOBODY) {
            cancel(m, i);
        }
    }
    settle(m, seed);
    unsigned left = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_eq(m->joining[i], 0);
        left += m->values_count[i];
    }
    cr_assert_eq(left + m->taken, m->next_value, "no value is lost or given twice");
    for (uint32_t i = 0; i < m->waits_count; i++) {
        cr_assert(m->waits[i].answered && !m->waits[i].open, "wait %u has no end", i);
    }
    cr_assert_eq(m->live, 0, "seed %u: a wait was never freed", seed);
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(m->waiters[i].bytes, 0);
        waiters_fini(&m->waiters[i]);
    }
    post_office_free(m->office);
}

Test(waiters, are_served_as_the_reference_says) {
    unsigned tallies[TALLIES] = {0};
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        model = calloc(1, sizeof(*model));
        run_seed(model, seed);
        const unsigned some[] = {model->served_far,   model->served_twice_named,
                                 model->cancelled,    model->too_late,
                                 model->passed_over,  model->moved,
                                 model->served_later, model->tried,
                                 model->tried_in_vain};
        for (unsigned i = 0; i < TALLIES; i++) {
            tallies[i] += some[i];
        }
        free(model);
    }
    for (unsigned i = 0; i < TALLIES; i++) {
        cr_assert_gt(tallies[i], SEEDS / 2, "the %u. was hardly tried: %u", i, tallies[i]);
    }
}

/* ---- Threads ---- */

#define CLAIMS 200000
#define RACERS 4

static struct claim *claims;
static pthread_barrier_t start_line;

static void *race(void *arg) {
    unsigned *won = arg;
    pthread_barrier_wait(&start_line);
    for (unsigned i = 0; i < CLAIMS; i++) {
        *won += claim_take(&claims[i], CLAIM_TAKEN) == CLAIM_FREE;
    }
    return NULL;
}

Test(waiters, of_racing_threads_one_gets_the_claim) {
    claims = malloc(CLAIMS * sizeof(*claims));
    for (unsigned i = 0; i < CLAIMS; i++) {
        claim_init(&claims[i]);
        cr_assert_eq(claim_look(&claims[i]), CLAIM_FREE);
    }
    pthread_barrier_init(&start_line, NULL, RACERS);
    pthread_t threads[RACERS];
    unsigned won[RACERS] = {0}, sum = 0;
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_create(&threads[i], NULL, race, &won[i]);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        sum += won[i];
    }
    cr_assert_eq(sum, CLAIMS);
    pthread_barrier_destroy(&start_line);
    free(claims);
}

/* ---- Every interleaving ---- */

#define WALK_SHARDS  2 /* each has one key; home is a thread of its own */
#define WALK_CLIENTS 2
#define WALK_WAITS   4
#define WALK_BOX     8

/* Ways to break the protocol. */
enum fault {
    SOUND,
    CLAIMS_IN_TWO_STEPS,  /* a look, and then a store */
    CLAIMS_BEFORE_A_LOOK, /* and then finds that the key has nothing */
    ENDS_WITHOUT_CLAIM,   /* time does not ask whether somebody serves */
    FREES_EARLY,          /* with the answer, though parts are still away */
    CALLS_THE_SERVER,     /* also the part of the shard whose claim was faster than time */
    JOINS_UNLOCKED,       /* the keys may be filled between the look at them and the line */
    STOPS_AT_THE_CLAIMED, /* who is served elsewhere hides those behind */
    FORGETS_THE_OTHERS,   /* who was served at one shard is not called back from the other */
    SERVES_BEHIND_TRIES,  /* who tries does not keep those behind him in line from being served */
    LEAVES_OPEN,          /* a key, though somebody tries to fetch what is there */
    FORGETS_THE_NEXT,     /* who stood behind one that tried is not looked at when that is over */
    TRIES_WITH_THE_CLAIM, /* who has tried in vain stands in line as one that is served */
    TRIES_UNCLAIMED,      /* time may end the wait, and the transaction takes what it finds */
    FAULTS,
};

struct walk_wait {
    uint8_t client, claimed, ended, served, freed, away;
    uint8_t tries;              /* enum walk_try */
    uint8_t parts[WALK_SHARDS]; /* enum part_state */
};

struct walk_shard {
    uint8_t values, pushes, joining; /* joining: parts that are about to */
    uint8_t closed;
    uint8_t line[WALK_WAITS], line_count;
    uint8_t at; /* in its work: enum walk_at */
};

struct walk_box {
    uint8_t kinds[WALK_BOX], waits[WALK_BOX], count;
};

/* No padding: states are compared as bytes. */
struct walk_state {
    uint8_t current[WALK_CLIENTS]; /* a wait, or UINT8_MAX */
    uint8_t waits_left[WALK_CLIENTS], times_left[WALK_CLIENTS];
    uint8_t waits_count, pushed, popped;
    uint8_t flushes_left;
    uint8_t wrong; /* what went wrong: an index into `wrongs` */
    struct walk_wait waits[WALK_WAITS];
    struct walk_shard shards[WALK_SHARDS];
    struct walk_box to_shard[WALK_SHARDS], to_home[WALK_SHARDS];
};

enum walk_at { AT_REST, AT_LOOK, AT_ANSWER, AT_CLAIM, AT_STORE, AT_SERVE, AT_LATE_ANSWER };
enum walk_try { NO_TRY, TOLD, AT_HOME };
enum walk_end { OPEN, ENDED_SERVED, ENDED_CANCELLED };

static const char *const wrongs[] = {
    NULL,
    "a wait is touched that was freed",
    "a wait is served that is over",
    "a part comes home twice",
    "values are lost or given twice",
    "a wait that is over is never freed",
    "a wait is overlooked",
    "a wait was claimed, and has no end",
    "somebody takes what another has waited for longer",
};
enum {
    TOUCHES_FREED = 1,
    SERVES_ENDED,
    HOME_TWICE,
    LOSES_VALUES,
    LEAKS,
    OVERLOOKS,
    NO_END,
    OVERTAKES,
    WRONGS
};

struct walk {
    enum fault fault;
    uint8_t keys[WALK_CLIENTS]; /* bits of shards that each client names */
    bool moves[WALK_CLIENTS];   /* to a key that is none of theirs */
    struct walk_state *states;  /* visited */
    uint32_t *table;
    size_t count, capacity, mask;
    unsigned wrong[WRONGS];
    size_t ends;
};

static void fail(struct walk_state *s, unsigned wrong) {
    s->wrong = s->wrong == 0 ? (uint8_t)wrong : s->wrong;
}

static void box_put(struct walk_box *box, unsigned kind, unsigned wait) {
    cr_assert_lt(box->count, WALK_BOX);
    box->kinds[box->count] = (uint8_t)kind;
    box->waits[box->count++] = (uint8_t)wait;
}

static unsigned box_take(struct walk_box *box, unsigned *ret_wait) {
    unsigned kind = box->kinds[0];
    *ret_wait = box->waits[0];
    box->count--;
    memmove(box->kinds, box->kinds + 1, box->count);
    memmove(box->waits, box->waits + 1, box->count);
    box->kinds[box->count] = box->waits[box->count] = 0; /* alike states are alike in all bytes */
    return kind;
}

static struct walk_wait *touch(struct walk_state *s, unsigned wait) {
    if (s->waits[wait].freed) {
        fail(s, TOUCHES_FREED);
    }
    return &s->waits[wait];
}

static void leave_line(struct walk_shard *shard, unsigned wait) {
    for (unsigned i = 0; i < shard->line_count; i++) {
        if (shard->line[i] == wait) {
            shard->line_count--;
            memmove(shard->line + i, shard->line + i + 1, shard->line_count - i);
            shard->line[shard->line_count] = 0;
            return;
        }
    }
}

static void walk_begin(const struct walk *w, struct walk_state *s, unsigned client) {
    s->waits_left[client]--;
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        if ((w->keys[client] & 1u << i) && s->shards[i].values > 0) {
            if (s->shards[i].line_count > 0 && s->waits[s->shards[i].line[0]].tries) {
                fail(s, OVERTAKES);
            }
            s->shards[i].values--;
            s->popped++;
            return;
        }
    }
    unsigned n = s->waits_count++;
    struct walk_wait *wait = &s->waits[n];
    wait->client = (uint8_t)client;
    s->current[client] = (uint8_t)n;
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        if (w->keys[client] & 1u << i) {
            wait->parts[i] = PART_LENT;
            wait->away++;
            s->shards[i].joining += w->fault != JOINS_UNLOCKED;
            box_put(&s->to_shard[i], JOIN, n);
        }
    }
}

static void walk_call_back(const struct walk *w, struct walk_state *s, unsigned n) {
    struct walk_wait *wait = &s->waits[n];
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        if (wait->parts[i] == PART_LENT) {
            wait->parts[i] = PART_CALLED;
            box_put(&s->to_shard[i], CALL, n);
        }
    }
    wait->freed |= w->fault == FREES_EARLY;
}

static void walk_time(const struct walk *w, struct walk_state *s, unsigned client) {
    unsigned n = s->current[client];
    struct walk_wait *wait = touch(s, n);
    s->times_left[client]--;
    if (w->fault != ENDS_WITHOUT_CLAIM) {
        if (wait->claimed) {
            if (w->fault == CALLS_THE_SERVER) {
                walk_call_back(w, s, n);
            }
            return;
        }
        wait->claimed = 1;
    }
    wait->tries = NO_TRY;
    wait->ended = ENDED_CANCELLED;
    s->current[client] = UINT8_MAX;
    walk_call_back(w, s, n);
}

/* The transaction: all at once, as it has locks everywhere. It has got something, or has not. */
static void walk_try(const struct walk *w, struct walk_state *s, unsigned n) {
    struct walk_wait *wait = touch(s, n);
    unsigned at = (unsigned)__builtin_ctz(w->keys[wait->client]);
    wait->tries = TOLD;
    if (s->shards[at].values == 0) {
        box_put(&s->to_shard[at], JOIN, n);
        return;
    }
    if (wait->ended != OPEN) {
        fail(s, SERVES_ENDED);
    }
    s->shards[at].values--;
    wait->ended = ENDED_SERVED;
    s->current[wait->client] = UINT8_MAX;
    walk_call_back(w, s, n);
}

static void walk_home(const struct walk *w, struct walk_state *s, unsigned from) {
    unsigned n, kind = box_take(&s->to_home[from], &n);
    struct walk_wait *wait = w->fault == FREES_EARLY ? &s->waits[n] : touch(s, n);
    if (kind == TRIES) {
        wait->tries = AT_HOME;
        return;
    }
    if (wait->parts[from] == PART_HOME) {
        fail(s, HOME_TWICE);
        return;
    }
    wait->parts[from] = PART_HOME;
    wait->away--;
    if (kind == SERVED) {
        if (wait->ended != OPEN) {
            fail(s, SERVES_ENDED);
        }
        wait->ended = ENDED_SERVED;
        s->current[wait->client] = UINT8_MAX;
        if (w->fault != FORGETS_THE_OTHERS) {
            walk_call_back(w, s, n);
        }
    }
    wait->freed |= wait->away == 0;
}

static void walk_tried(const struct walk *w, struct walk_state *s, unsigned me, unsigned n) {
    s->waits[n].tries = NO_TRY;
    s->shards[me].closed = 0;
    s->shards[me].at = w->fault == FORGETS_THE_NEXT ? AT_REST : AT_LOOK;
}

static void walk_shard_receives(const struct walk *w, struct walk_state *s, unsigned me) {
    struct walk_shard *shard = &s->shards[me];
    unsigned n, kind = box_take(&s->to_shard[me], &n);
    struct walk_wait *wait = touch(s, n);
    if (wait->tries) {
        walk_tried(w, s, me, n);
        wait->claimed = kind == CALL || w->fault == TRIES_WITH_THE_CLAIM;
        if (kind == JOIN) {
            return;
        }
    }
    if (kind == JOIN) {
        shard->joining -= shard->joining > 0;
        shard->line[shard->line_count++] = (uint8_t)n;
    } else {
        leave_line(shard, n);
        box_put(&s->to_home[me], HOME, n);
    }
}

/* One access to a claim, or what follows from it. */
static void walk_shard_works(const struct walk *w, struct walk_state *s, unsigned me) {
    struct walk_shard *shard = &s->shards[me];
    if (shard->at == AT_LOOK && shard->line_count == 0) {
        shard->at = AT_REST;
        return;
    }
    unsigned first = 0;
    while (w->fault == SERVES_BEHIND_TRIES && first < shard->line_count &&
           s->waits[shard->line[first]].tries) {
        first++;
    }
    if (first == shard->line_count) {
        shard->at = AT_REST;
        return;
    }
    unsigned n = shard->line[first];
    struct walk_wait *wait = touch(s, n);
    switch ((enum walk_at)shard->at) {
    case AT_REST:
        break;
    case AT_LOOK:
        if (wait->tries) {
            shard->at = AT_REST;
        } else if (!wait->claimed) {
            shard->at = w->fault == CLAIMS_BEFORE_A_LOOK ? AT_CLAIM : AT_ANSWER;
        } else if (w->fault == STOPS_AT_THE_CLAIMED) {
            shard->at = AT_REST;
        } else {
            leave_line(shard, n);
        }
        break;
    case AT_ANSWER:
        shard->at = shard->values > 0 ? AT_CLAIM : AT_REST;
        break;
    case AT_CLAIM:
        if (wait->claimed) {
            leave_line(shard, n);
            shard->at = AT_LOOK;
        } else if (w->fault == CLAIMS_IN_TWO_STEPS) {
            shard->at = AT_STORE;
        } else {
            wait->claimed = 1;
            shard->at = w->fault == CLAIMS_BEFORE_A_LOOK ? AT_LATE_ANSWER : AT_SERVE;
        }
        break;
    case AT_STORE:
        wait->claimed = 1;
        shard->at = AT_SERVE;
        break;
    case AT_LATE_ANSWER:
        shard->at = shard->values > 0 ? AT_SERVE : AT_REST;
        break;
    case AT_SERVE:
        if (wait->ended != OPEN) {
            fail(s, SERVES_ENDED);
        }
        if (w->moves[wait->client]) {
            wait->tries = TOLD;
            wait->claimed = w->fault != TRIES_UNCLAIMED;
            shard->closed = w->fault != LEAVES_OPEN;
            shard->at = w->fault == SERVES_BEHIND_TRIES ? AT_LOOK : AT_REST;
            box_put(&s->to_home[me], TRIES, n);
            break;
        }
        if (first > 0) {
            fail(s, OVERTAKES);
        }
        shard->values--;
        wait->served++;
        leave_line(shard, n);
        box_put(&s->to_home[me], SERVED, n);
        shard->at = AT_LOOK;
        break;
    }
}

static void walk_push(struct walk_state *s, unsigned me, unsigned values) {
    s->shards[me].pushes = (uint8_t)(s->shards[me].pushes - values);
    s->shards[me].values = (uint8_t)(s->shards[me].values + values);
    s->pushed = (uint8_t)(s->pushed + values);
    s->shards[me].at = AT_LOOK;
}

/* What must be true when nothing can happen any more. */
static void walk_judge(struct walk_state *s) {
    unsigned given = s->popped;
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        given += s->shards[i].values;
        for (unsigned j = 0; s->shards[i].values > 0 && j < s->shards[i].line_count; j++) {
            if (s->waits[s->shards[i].line[j]].ended == OPEN) {
                fail(s, OVERLOOKS);
            }
        }
    }
    for (unsigned i = 0; i < s->waits_count; i++) {
        const struct walk_wait *wait = &s->waits[i];
        given += wait->ended == ENDED_SERVED;
        if (wait->ended != OPEN && !wait->freed) {
            fail(s, LEAKS);
        }
        if (wait->claimed && wait->ended == OPEN) {
            fail(s, NO_END);
        }
    }
    if (given != s->pushed) {
        fail(s, LOSES_VALUES);
    }
}

static void visit(struct walk *w, const struct walk_state *s) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof(*s); i++) {
        hash = (hash ^ ((const uint8_t *)s)[i]) * UINT64_C(0x100000001b3);
    }
    size_t at = (hash ^ hash >> 32) & w->mask;
    for (; w->table[at] != 0; at = (at + 1) & w->mask) {
        if (memcmp(&w->states[w->table[at] - 1], s, sizeof(*s)) == 0) {
            return;
        }
    }
    cr_assert_lt(w->count, w->capacity, "more states than there is room for");
    w->states[w->count++] = *s;
    w->table[at] = (uint32_t)w->count;
}

/* A filled key whose locks are held for somebody who joins is not filled; nor looked at by one who
 * wants to join while its shard serves. */
static bool may_begin(const struct walk *w, const struct walk_state *s, unsigned client) {
    bool rests = true;
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        rests &=
            !(w->keys[client] & 1u << i) || (s->shards[i].at == AT_REST && !s->shards[i].closed);
    }
    return rests && s->current[client] == UINT8_MAX && s->waits_left[client] > 0 &&
           s->waits_count < WALK_WAITS;
}

/* Everything that can come next. */
static void walk_from(struct walk *w, const struct walk_state *from) {
    struct walk_state s;
    bool any = false;
#define STEP(condition, action)                                                                    \
    if (condition) {                                                                               \
        s = *from;                                                                                 \
        action;                                                                                    \
        visit(w, &s);                                                                              \
        any = true;                                                                                \
    }
    for (unsigned i = 0; i < WALK_CLIENTS; i++) {
        STEP(may_begin(w, from, i), walk_begin(w, &s, i));
        STEP(from->current[i] != UINT8_MAX && from->times_left[i] > 0, walk_time(w, &s, i));
    }
    for (unsigned n = 0; n < from->waits_count; n++) {
        STEP(from->waits[n].tries == AT_HOME, walk_try(w, &s, n));
    }
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        const struct walk_shard *shard = &from->shards[i];
        STEP(from->to_home[i].count > 0, walk_home(w, &s, i));
        STEP(shard->at != AT_REST, walk_shard_works(w, &s, i));
        STEP(shard->at == AT_REST && from->to_shard[i].count > 0, walk_shard_receives(w, &s, i));
        STEP(shard->at == AT_REST && shard->values > 0 && from->flushes_left > 0,
             (s.flushes_left--, s.popped = (uint8_t)(s.popped + shard->values),
              s.shards[i].values = 0));
        bool may_push = shard->at == AT_REST && shard->joining == 0 && !shard->closed;
        STEP(may_push && shard->pushes > 0, walk_push(&s, i, 1));
        STEP(may_push && shard->pushes > 1, walk_push(&s, i, 2));
    }
#undef STEP
    if (!any) {
        s = *from;
        walk_judge(&s);
        w->ends++;
        w->wrong[s.wrong]++;
    }
}

/* Clients wait so often on the keys of the shards in their bits; one that moves, on one key. Each
 * shard's key is filled so often; all that is there goes so often. */
static void walk(struct walk *w, enum fault fault, const char *keys, unsigned waits, unsigned times,
                 unsigned pushes, unsigned flushes) {
    *w = (struct walk){.fault = fault, .capacity = 3000000, .mask = (1u << 23) - 1};
    w->states = malloc(w->capacity * sizeof(*w->states));
    w->table = calloc(w->mask + 1, sizeof(*w->table));
    struct walk_state first = {.flushes_left = (uint8_t)flushes};
    for (unsigned i = 0; i < WALK_CLIENTS; i++) {
        w->moves[i] = keys[i] >= 'a';
        w->keys[i] = (uint8_t)(w->moves[i] ? keys[i] - 'a' + 1 : keys[i] - '0');
        first.current[i] = UINT8_MAX;
        first.waits_left[i] = w->keys[i] != 0 ? (uint8_t)waits : 0;
        first.times_left[i] = (uint8_t)times;
    }
    for (unsigned i = 0; i < WALK_SHARDS; i++) {
        first.shards[i].pushes = (uint8_t)pushes;
    }
    visit(w, &first);
    for (size_t i = 0; i < w->count; i++) {
        if (w->states[i].wrong != 0) {
            w->wrong[w->states[i].wrong]++; /* it is not looked at further */
        } else {
            walk_from(w, &w->states[i]);
        }
    }
    free(w->states);
    free(w->table);
}

static unsigned walk_wrong(const struct walk *w) {
    unsigned sum = 0;
    for (unsigned i = 1; i < WRONGS; i++) {
        sum += w->wrong[i];
    }
    return sum;
}

static const struct {
    const char *keys; /* of each client: bits of shards; "a" or "b": it waits there, and moves */
    unsigned waits, times, pushes, flushes;
} worlds[] = {
    {"30", 2, 2, 2, 0}, /* one client, on both shards */
    {"33", 1, 1, 1, 0}, {"33", 2, 0, 1, 0}, {"31", 2, 1, 1, 0}, {"32", 1, 1, 2, 0},
    {"a0", 2, 2, 2, 1}, /* one that tries */
    {"a1", 1, 1, 2, 1}, {"a1", 2, 1, 1, 1}, {"aa", 2, 1, 2, 1}, {"a3", 1, 1, 2, 1},
};

Test(waiters, have_one_end_in_all_interleavings) {
    for (unsigned i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
        struct walk w;
        walk(&w, SOUND, worlds[i].keys, worlds[i].waits, worlds[i].times, worlds[i].pushes,
             worlds[i].flushes);
        for (unsigned j = 1; j < WRONGS; j++) {
            cr_assert_eq(w.wrong[j], 0, "world %u: %s", i, wrongs[j]);
        }
        cr_assert_gt(w.ends, 10, "world %u", i);
    }
}

Test(waiters, the_walk_finds_every_broken_protocol) {
    for (enum fault fault = SOUND + 1; fault < FAULTS; fault++) {
        unsigned found = 0;
        for (unsigned i = 0; found == 0 && i < sizeof(worlds) / sizeof(worlds[0]); i++) {
            struct walk w;
            walk(&w, fault, worlds[i].keys, worlds[i].waits, worlds[i].times, worlds[i].pushes,
                 worlds[i].flushes);
            found = walk_wrong(&w);
        }
        cr_expect_gt(found, 0, "fault %u is not seen", fault);
    }
}
