/* SPDX-License-Identifier: BSD-3-Clause */
/* The locks of a shard against a reference that keeps one array of requests and asks every one of
 * them each time: the same answers, in the same order, and the invariants of shard/locks.c.
 */
#include "base/random.h"
#include "shard/locks.h"

#include <criterion/criterion.h>
#include <string.h>

#define KEYS     7
#define WHOLE    KEYS /* the line of the shard as a whole */
#define ASKERS   14
#define SEEDS    2500
#define STEPS    300
#define NAMED_TO 7

/* What one asker wants of a line. */
enum wish { NOTHING, SOME_SHARED, SOME_EXCLUSIVE, SHARED, EXCLUSIVE };

enum state { IDLE, DEFERRED, STANDS, REFUSED };

struct asker {
    struct lock_request request;
    struct lock memory[NAMED_TO + 1];
    enum wish wishes[KEYS + 1];
    enum state state;
    uint64_t number;
    uint64_t place;      /* which of all that were placed */
    bool waits;          /* for the answer of locks_next_settled */
    bool is_fence;       /* this one is a fence, not a request */
    struct asker *fence; /* it holds, and names when it asks */
};

struct expected {
    struct asker *asker;
    enum lock_answer answer;
};

struct model {
    struct rng rng;
    struct locks locks;
    struct asker askers[ASKERS];
    uint64_t ids[KEYS];
    uint64_t numbers; /* drawn so far */
    uint64_t placed;
    /* The reference. */
    struct asker *fence;
    struct asker *deferred[ASKERS];
    unsigned deferred_count;
    struct expected settled[ASKERS];
    unsigned settled_count;
    /* How often what was tried, so that the test can tell that it tried everything. */
    unsigned granted, waited, refused, fenced, grants_later;
};

/* ---- The reference ---- */

static bool wishes_conflict(enum wish a, enum wish b) {
    if (a == NOTHING || b == NOTHING) {
        return false;
    }
    if (a == EXCLUSIVE || b == EXCLUSIVE) {
        return true;
    }
    return (a == SHARED && b == SOME_EXCLUSIVE) || (a == SOME_EXCLUSIVE && b == SHARED);
}

static bool conflict(const struct asker *a, const struct asker *b) {
    for (unsigned line = 0; line <= WHOLE; line++) {
        if (wishes_conflict(a->wishes[line], b->wishes[line])) {
            return true;
        }
    }
    return false;
}

static bool is_before(const struct asker *a, const struct asker *b) {
    return a->place < b->place;
}

static bool must_wait(const struct model *m, const struct asker *asker) {
    for (unsigned i = 0; i < ASKERS; i++) {
        const struct asker *other = &m->askers[i];
        if (other->state == STANDS && is_before(other, asker) && conflict(asker, other)) {
            return true;
        }
    }
    return false;
}

static bool too_late(const struct model *m, const struct asker *asker) {
    for (unsigned i = 0; i < ASKERS; i++) {
        const struct asker *other = &m->askers[i];
        if (other->state == STANDS && other->number > asker->number && conflict(asker, other)) {
            return true;
        }
    }
    return false;
}

static enum lock_answer reference_place(struct model *m, struct asker *asker) {
    asker->number = asker->request.number;
    if (!asker->request.many) {
        asker->number = 0;
        for (unsigned i = 0; i < ASKERS; i++) {
            const struct asker *other = &m->askers[i];
            if (other->state == STANDS && !other->is_fence && other->number > asker->number) {
                asker->number = other->number;
            }
        }
    }
    asker->place = ++m->placed;
    if (too_late(m, asker)) {
        asker->state = REFUSED;
        return LOCK_REFUSED;
    }
    asker->state = STANDS;
    asker->waits = must_wait(m, asker);
    return asker->waits ? LOCK_WAITS : LOCK_GRANTED;
}

static void expect(struct model *m, struct asker *asker, enum lock_answer answer) {
    asker->waits = false;
    m->settled[m->settled_count++] = (struct expected){asker, answer};
}

static enum lock_answer reference_defer(struct model *m, struct asker *asker) {
    asker->state = DEFERRED;
    asker->waits = true;
    m->deferred[m->deferred_count++] = asker;
    return LOCK_WAITS;
}

static enum lock_answer reference_submit(struct model *m, struct asker *asker) {
    if (m->fence != asker->fence) {
        return reference_defer(m, asker);
    }
    enum lock_answer answer = reference_place(m, asker);
    if (m->fence == NULL) {
        return answer;
    }
    m->fence->state = IDLE;
    m->fence = NULL;
    while (m->deferred_count > 0 && m->fence == NULL) {
        struct asker *next = m->deferred[0];
        m->deferred_count--;
        memmove(m->deferred, m->deferred + 1, m->deferred_count * sizeof *m->deferred);
        if (next->is_fence) {
            m->fence = next;
            next->state = STANDS;
            expect(m, next, LOCK_GRANTED);
        } else {
            enum lock_answer later = reference_place(m, next);
            if (later != LOCK_WAITS) {
                expect(m, next, later);
            }
        }
    }
    return answer;
}

static enum lock_answer reference_fence(struct model *m, struct asker *asker) {
    if (m->fence != NULL) {
        return reference_defer(m, asker);
    }
    m->fence = asker;
    asker->state = STANDS;
    return LOCK_GRANTED;
}

/* The lines are left one by one, by the id of the key and the shard last; each time, those that no
 * longer have to wait are granted in the order they came. */
static void reference_release(struct model *m, struct asker *asker) {
    for (unsigned line = 0; line <= WHOLE; line++) {
        asker->wishes[line] = NOTHING;
        for (;;) {
            struct asker *next = NULL;
            for (unsigned i = 0; i < ASKERS; i++) {
                struct asker *other = &m->askers[i];
                if (other->state == STANDS && other->waits && !must_wait(m, other) &&
                    (next == NULL || is_before(other, next))) {
                    next = other;
                }
            }
            if (next == NULL) {
                break;
            }
            expect(m, next, LOCK_GRANTED);
        }
    }
    asker->state = IDLE;
}

static bool reference_blocks(const struct model *m, unsigned key, bool exclusive) {
    struct asker op = {.place = UINT64_MAX};
    op.wishes[key] = exclusive ? EXCLUSIVE : SHARED;
    op.wishes[WHOLE] = exclusive ? SOME_EXCLUSIVE : SOME_SHARED;
    return must_wait(m, &op);
}

/* ---- Both sides ---- */

static void check_settled(struct model *m) {
    for (unsigned i = 0; i < m->settled_count; i++) {
        const struct lock_request *request = locks_next_settled(&m->locks);
        cr_assert_eq(request, &m->settled[i].asker->request);
        cr_assert_eq(request->answer, m->settled[i].answer);
        m->grants_later++;
    }
    cr_assert_null(locks_next_settled(&m->locks));
    m->settled_count = 0;
}

/* The line that a lock of a request stands in. */
static unsigned line_of(const struct model *m, const struct lock *lock) {
    unsigned line = WHOLE;
    if (lock != &lock->request->locks[lock->request->count]) {
        for (line = 0; m->ids[line] != lock->id; line++) {
        }
    }
    return line;
}

/* Inv. 1 to 3 of shard/locks.c, of one request in its lines. */
static void check_invariants(const struct model *m, const struct asker *asker) {
    uint32_t waits = 0;
    cr_assert_eq(asker->request.number, asker->number);
    for (uint32_t i = 0; i <= asker->request.count; i++) {
        const struct lock *lock = &asker->memory[i];
        unsigned line = line_of(m, lock);
        bool free = true;
        for (unsigned j = 0; j < ASKERS; j++) {
            const struct asker *other = &m->askers[j];
            if (other->state == STANDS && is_before(other, asker) &&
                wishes_conflict(other->wishes[line], asker->wishes[line])) {
                free = false;
                cr_assert_leq(other->number, asker->number);
            }
        }
        cr_assert_eq(lock->granted, free);
        waits += !free;
    }
    cr_assert_eq(asker->request.waits, waits);
    cr_assert_eq(waits > 0, asker->waits);
}

static void check_all(const struct model *m) {
    uint32_t standing = 0;
    bool used[KEYS] = {false};
    for (unsigned i = 0; i < ASKERS; i++) {
        const struct asker *asker = &m->askers[i];
        if (asker->state != STANDS || asker->is_fence) {
            continue;
        }
        standing++;
        for (unsigned key = 0; key < KEYS; key++) {
            used[key] = used[key] || asker->wishes[key] != NOTHING;
        }
        check_invariants(m, asker);
    }
    cr_assert_eq(m->locks.requests, standing);
    size_t targets = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        targets += used[key];
        cr_assert_eq(locks_block(&m->locks, m->ids[key], false), reference_blocks(m, key, false));
        cr_assert_eq(locks_block(&m->locks, m->ids[key], true), reference_blocks(m, key, true));
    }
    cr_assert_eq(m->locks.targets, targets);
}

/* ---- Random operations ---- */

/* Most numbers are new; some were drawn long ago, as if their messages had been slow. */
static uint64_t draw(struct model *m) {
    m->numbers += 1 + rng_below(&m->rng, 4);
    for (unsigned attempt = 0; attempt < 4 && rng_below(&m->rng, 2) == 0; attempt++) {
        uint64_t number = m->numbers - rng_below(&m->rng, m->numbers < 30 ? m->numbers : 30);
        bool taken = false;
        for (unsigned i = 0; i < ASKERS; i++) {
            taken = taken || m->askers[i].request.number == number;
        }
        if (!taken) {
            return number;
        }
    }
    return m->numbers;
}

static void want(struct model *m, struct asker *asker) {
    struct lock_key keys[NAMED_TO];
    uint32_t count = (uint32_t)rng_below(&m->rng, rng_below(&m->rng, 3) ? 3 : NAMED_TO + 1);
    unsigned kind = (unsigned)rng_below(&m->rng, 24);
    enum lock_scope scope = kind == 0   ? LOCK_ALL_EXCLUSIVE
                            : kind == 1 ? LOCK_ALL_SHARED
                                        : LOCK_KEYS;
    memset(asker->wishes, 0, sizeof asker->wishes);
    asker->wishes[WHOLE] = SOME_SHARED;
    bool reader = rng_below(&m->rng, 3) == 0;
    unsigned keys_to = rng_below(&m->rng, 2) ? KEYS : 2;
    for (uint32_t i = 0; i < count; i++) {
        unsigned key = (unsigned)rng_below(&m->rng, keys_to);
        bool exclusive = !reader && rng_below(&m->rng, 2);
        keys[i] = (struct lock_key){.id = m->ids[key], .exclusive = exclusive};
        if (scope == LOCK_KEYS) {
            enum wish wish = exclusive ? EXCLUSIVE : SHARED;
            asker->wishes[key] = wish > asker->wishes[key] ? wish : asker->wishes[key];
            asker->wishes[WHOLE] = exclusive ? SOME_EXCLUSIVE : asker->wishes[WHOLE];
        }
    }
    if (scope != LOCK_KEYS) {
        asker->wishes[WHOLE] = scope == LOCK_ALL_SHARED ? SHARED : EXCLUSIVE;
    }
    lock_request_init(&asker->request, scope, keys, count, asker->memory);
    asker->request.many = rng_below(&m->rng, 3) != 0;
    asker->is_fence = false;
    asker->fence = NULL;
}

static void submit(struct model *m, struct asker *asker) {
    if (asker->fence != NULL) {
        asker->request.number = ++m->numbers;
        asker->request.fence = &asker->fence->request;
    } else {
        asker->request.number = draw(m);
    }
    bool fenced = asker->fence != NULL;
    enum lock_answer answer = reference_submit(m, asker);
    cr_assert_eq(locks_submit(&m->locks, &asker->request), answer);
    cr_assert(answer != LOCK_REFUSED || (!fenced && asker->request.many));
    cr_assert_null(asker->request.fence);
    m->granted += answer == LOCK_GRANTED;
    m->waited += answer == LOCK_WAITS;
    m->refused += answer == LOCK_REFUSED;
    m->fenced += fenced;
    asker->fence = NULL;
}

/* The last asker is kept for the end of fences: all others may stand behind one. */
static struct asker *idle(struct model *m) {
    for (unsigned i = 0; i < ASKERS - 1; i++) {
        if (m->askers[i].state == IDLE) {
            return &m->askers[i];
        }
    }
    return NULL;
}

static void ask_fence(struct model *m) {
    struct asker *asker = idle(m);
    if (asker == NULL) {
        return;
    }
    memset(&asker->request, 0, sizeof asker->request);
    memset(asker->wishes, 0, sizeof asker->wishes);
    asker->is_fence = true;
    enum lock_answer answer = reference_fence(m, asker);
    cr_assert_eq(locks_fence(&m->locks, &asker->request), answer);
}

static void end_fence(struct model *m) {
    struct asker *asker = idle(m);
    if (asker == NULL) {
        asker = &m->askers[ASKERS - 1];
    }
    if (m->fence == NULL || asker->state != IDLE) {
        return;
    }
    want(m, asker);
    asker->fence = m->fence;
    submit(m, asker);
}

static void ask(struct model *m) {
    struct asker *asker = idle(m);
    if (asker != NULL) {
        want(m, asker);
        submit(m, asker);
    }
}

static bool go_on(struct model *m, struct asker *asker) {
    if (asker->state == REFUSED) {
        submit(m, asker);
        return true;
    }
    if (asker->state == STANDS && !asker->waits && !asker->is_fence) {
        reference_release(m, asker);
        locks_release(&m->locks, &asker->request);
        return true;
    }
    return false;
}

static void step(struct model *m) {
    unsigned kind = (unsigned)rng_below(&m->rng, 60);
    if (kind == 0) {
        ask_fence(m);
    } else if (kind <= 8) {
        end_fence(m);
    } else if (kind <= 34) {
        ask(m);
    } else {
        unsigned first = (unsigned)rng_below(&m->rng, ASKERS);
        for (unsigned i = 0; i < ASKERS && !go_on(m, &m->askers[(first + i) % ASKERS]); i++) {
        }
    }
    check_settled(m);
    check_all(m);
}

/* Everybody gets an answer and leaves; nothing is left. */
static void finish(struct model *m) {
    for (unsigned round = 0;; round++) {
        cr_assert_lt(round, 100u);
        bool busy = false;
        for (unsigned i = 0; i < ASKERS; i++) {
            busy = busy || m->askers[i].state != IDLE;
            if (m->askers[i].state == REFUSED) {
                m->askers[i].state = IDLE;
            }
            go_on(m, &m->askers[i]);
            check_settled(m);
        }
        if (!busy) {
            break;
        }
        end_fence(m);
        check_settled(m);
        check_all(m);
    }
    cr_assert_eq(m->locks.requests, 0);
    locks_fini(&m->locks);
}

static void run(struct model *m, uint64_t seed) {
    rng_seed(&m->rng, seed);
    locks_init(&m->locks);
    m->numbers = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        /* In ascending order, some in one bucket, one of them 0 like the line of the shard. */
        m->ids[key] = key * (rng_below(&m->rng, 2) ? 64 : 1) + (key > 0 ? m->ids[key - 1] : 0);
        m->askers[key].state = IDLE;
    }
    for (unsigned i = 0; i < STEPS; i++) {
        step(m);
    }
    finish(m);
}

Test(locks, answers_as_a_naive_one_does) {
    static struct model m;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        run(&m, seed);
    }
    cr_assert_gt(m.granted, 10u * SEEDS);
    cr_assert_gt(m.waited, 10u * SEEDS);
    cr_assert_gt(m.refused, 10u * SEEDS);
    cr_assert_gt(m.fenced, SEEDS);
    cr_assert_gt(m.grants_later, 10u * SEEDS);
}
