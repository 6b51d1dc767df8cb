/* SPDX-License-Identifier: BSD-3-Clause */
/* The locks of a shard against a reference that keeps one array of requests and asks every one of
 * them each time: the same answers, in the same order, and the invariants of shard/locks.c.
 *
 * Keys are closed for some of the requests, or to all changes, and opened again, at any time; what
 * was granted and not used gives way. What the reference says of that is also said wrongly, in
 * several ways: each must be seen to differ.
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
#define CLOSINGS 3

/* Ways for the reference to be wrong. */
enum fault {
    SOUND,
    LETS_PASS,         /* a closed key shuts nobody out */
    LEAVES_IN_LINE,    /* who waits for a key as it is closed stays there */
    KEEPS_EARLIER,     /* those shut out stay so, when the one for whom it is closed asks */
    SHUTS_EARLIER_OUT, /* who comes after that one, with a lower number, is not refused */
    SHUTS_OWN_OUT,     /* who has a key closed for him is shut out by others */
    SHUTS_FENCED_OUT,  /* so is who had a fence, if he waits as the key is closed */
    KEEPS_GRANTED,     /* what was granted does not give way */
    LETS_IN_BACKWARDS, /* the last first */
    LETS_ALL_IN,       /* though the key is closed again for another */
    SHUTS_READERS_OUT, /* of a key that is closed to changes */
    REFUSES_CHANGES,   /* who waits as it is is refused, and not shut out */
    FAULTS,
};

/* What one asker wants of a line. */
enum wish { NOTHING, SOME_SHARED, SOME_EXCLUSIVE, SHARED, EXCLUSIVE };

enum state { IDLE, DEFERRED, STANDS, REFUSED, SHUT_OUT };

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
    bool passes;         /* it had one */
    struct closing *own; /* or NULL */
};

struct closing {
    struct lock_closing real;
    unsigned key; /* WHOLE: none */
    bool to_changes;
    uint64_t number;
    struct asker *shut[ASKERS];
    unsigned shut_count;
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
    const char *differs; /* how the real ones do from the reference */
    /* The reference. */
    enum fault fault;
    struct closing closings[CLOSINGS];
    struct asker *fence;
    struct asker *deferred[ASKERS];
    unsigned deferred_count;
    struct expected settled[ASKERS];
    unsigned settled_count;
    /* How often what was tried, so that the test can tell that it tried everything. */
    unsigned granted, waited, refused, fenced, grants_later, shut_out, gave_way, let_in;
};

static void same(struct model *m, bool is, const char *what) {
    if (!is && m->differs == NULL) {
        m->differs = what;
    }
}

#define SAME(m, is) same(m, is, #is)

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

static uint64_t reference_last_number(const struct model *m) {
    uint64_t last = 0;
    for (unsigned i = 0; i < ASKERS; i++) {
        const struct asker *other = &m->askers[i];
        if (other->state == STANDS && !other->is_fence && other->number > last) {
            last = other->number;
        }
    }
    return last;
}

static enum lock_answer reference_place(struct model *m, struct asker *asker) {
    asker->number = asker->request.many ? asker->request.number : reference_last_number(m);
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

static bool keeps_out(const struct model *m, const struct closing *closing,
                      const struct asker *asker) {
    if (closing->to_changes) {
        return asker->wishes[closing->key] == EXCLUSIVE || m->fault == SHUTS_READERS_OUT;
    }
    return asker->own == NULL || (m->fault == SHUTS_OWN_OUT && asker->own != closing);
}

/* Which of the keys that it wants is closed to it: the first by their ids. */
static struct closing *shut_by(struct model *m, const struct asker *asker) {
    for (unsigned key = 0; key < KEYS; key++) {
        for (unsigned i = 0; i < CLOSINGS && asker->wishes[key] != NOTHING; i++) {
            if (m->closings[i].key == key && keeps_out(m, &m->closings[i], asker)) {
                return &m->closings[i];
            }
        }
    }
    return NULL;
}

static bool is_earlier(const struct asker *asker, const struct closing *closing) {
    return asker->request.many && asker->request.number < closing->number;
}

static void shut(struct closing *closing, struct asker *asker) {
    asker->state = SHUT_OUT;
    asker->waits = true;
    closing->shut[closing->shut_count++] = asker;
}

static void refuse_earlier(struct model *m, struct closing *closing, uint64_t number) {
    unsigned kept = 0;
    closing->number = number;
    for (unsigned i = 0; i < closing->shut_count; i++) {
        struct asker *asker = closing->shut[i];
        if (is_earlier(asker, closing) && m->fault != KEEPS_EARLIER) {
            asker->state = REFUSED;
            expect(m, asker, LOCK_REFUSED);
        } else {
            closing->shut[kept++] = asker;
        }
    }
    closing->shut_count = kept;
}

static enum lock_answer reference_admit(struct model *m, struct asker *asker, bool may_be_shut) {
    struct closing *closing = may_be_shut && m->fault != LETS_PASS ? shut_by(m, asker) : NULL;
    if (closing != NULL) {
        if (is_earlier(asker, closing) && m->fault != SHUTS_EARLIER_OUT) {
            asker->state = REFUSED;
            return LOCK_REFUSED;
        }
        shut(closing, asker);
        return LOCK_WAITS;
    }
    if (asker->own != NULL) {
        uint64_t number = asker->request.many ? asker->request.number : reference_last_number(m);
        refuse_earlier(m, asker->own, number);
    }
    return reference_place(m, asker);
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
    asker->passes = asker->fence != NULL;
    enum lock_answer answer = reference_admit(m, asker, !asker->passes);
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
            enum lock_answer later = reference_admit(m, next, true);
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
static void reference_leave(struct model *m, struct asker *asker) {
    enum wish wishes[KEYS + 1];
    memcpy(wishes, asker->wishes, sizeof wishes);
    asker->waits = false;
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
    memcpy(asker->wishes, wishes, sizeof wishes);
}

static void reference_shut_out(struct model *m, struct closing *closing, struct asker *asker) {
    if ((asker->passes && m->fault != SHUTS_FENCED_OUT) || !keeps_out(m, closing, asker)) {
        return;
    }
    reference_leave(m, asker);
    if (asker->request.many && (!closing->to_changes || m->fault == REFUSES_CHANGES)) {
        asker->state = REFUSED;
        expect(m, asker, LOCK_REFUSED);
    } else {
        shut(closing, asker);
    }
}

/* In this key's line, by the order of coming, readers first. */
static struct asker *next_that_waits(struct model *m, unsigned key, enum wish wish,
                                     uint64_t behind) {
    struct asker *next = NULL;
    for (unsigned i = 0; i < ASKERS; i++) {
        struct asker *asker = &m->askers[i];
        if (asker->state != STANDS || asker->wishes[key] != wish || asker->place <= behind ||
            (next != NULL && is_before(next, asker))) {
            continue;
        }
        for (unsigned j = 0; j < ASKERS; j++) {
            const struct asker *other = &m->askers[j];
            if (other->state == STANDS && is_before(other, asker) &&
                wishes_conflict(other->wishes[key], wish)) {
                next = asker;
            }
        }
    }
    return next;
}

static void reference_close(struct model *m, struct closing *closing, unsigned key,
                            bool to_changes) {
    *closing = (struct closing){.key = key, .to_changes = to_changes};
    for (enum wish wish = SHARED; wish <= EXCLUSIVE && m->fault != LEAVES_IN_LINE; wish++) {
        uint64_t behind = 0;
        struct asker *asker;
        while ((asker = next_that_waits(m, key, wish, behind)) != NULL) {
            behind = asker->place;
            reference_shut_out(m, closing, asker);
        }
    }
}

static void reference_let_in(struct model *m, struct closing *closing) {
    struct asker *shut[ASKERS];
    unsigned count = closing->shut_count;
    memcpy(shut, closing->shut, sizeof shut);
    closing->shut_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct asker *asker = shut[m->fault == LETS_IN_BACKWARDS ? count - 1 - i : i];
        asker->waits = false;
        enum lock_answer answer = reference_admit(m, asker, m->fault != LETS_ALL_IN);
        if (answer != LOCK_WAITS) {
            expect(m, asker, answer);
        }
    }
}

static bool reference_gives_way(struct model *m, struct asker *asker) {
    struct closing *closing = shut_by(m, asker);
    if (closing == NULL || asker->passes || m->fault == KEEPS_GRANTED) {
        return false;
    }
    reference_shut_out(m, closing, asker);
    return true;
}

static bool reference_closed(const struct model *m, unsigned key, bool exclusive) {
    bool closed = false;
    for (unsigned i = 0; i < CLOSINGS; i++) {
        const struct closing *closing = &m->closings[i];
        closed |= closing->key == key && (exclusive || !closing->to_changes);
    }
    return closed;
}

static bool reference_blocks(const struct model *m, unsigned key, bool exclusive) {
    struct asker op = {.place = UINT64_MAX};
    op.wishes[key] = exclusive ? EXCLUSIVE : SHARED;
    op.wishes[WHOLE] = exclusive ? SOME_EXCLUSIVE : SOME_SHARED;
    return reference_closed(m, key, exclusive) || must_wait(m, &op);
}

/* ---- Both sides ---- */

static void check_settled(struct model *m) {
    for (unsigned i = 0; i < m->settled_count; i++) {
        const struct lock_request *request = locks_next_settled(&m->locks);
        SAME(m, request == &m->settled[i].asker->request);
        SAME(m, request == NULL || request->answer == m->settled[i].answer);
        m->grants_later++;
    }
    SAME(m, locks_next_settled(&m->locks) == NULL);
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
static void check_invariants(struct model *m, const struct asker *asker) {
    uint32_t waits = 0;
    SAME(m, asker->request.number == asker->number);
    for (uint32_t i = 0; i <= asker->request.count; i++) {
        const struct lock *lock = &asker->memory[i];
        unsigned line = line_of(m, lock);
        bool free = true;
        for (unsigned j = 0; j < ASKERS; j++) {
            const struct asker *other = &m->askers[j];
            if (other->state == STANDS && is_before(other, asker) &&
                wishes_conflict(other->wishes[line], asker->wishes[line])) {
                free = false;
                SAME(m, other->number <= asker->number);
            }
        }
        SAME(m, lock->granted == free);
        waits += !free;
    }
    SAME(m, asker->request.waits == waits);
    SAME(m, (waits > 0) == asker->waits);
}

/* Inv. 4, and that the same are shut out. */
static void check_closing(struct model *m, const struct closing *closing) {
    unsigned count = 0;
    LIST_EACH(&closing->real.waiting, node) {
        const struct lock_request *request = LIST_ENTRY(node, struct lock_request, node);
        SAME(m, count < closing->shut_count && request == &closing->shut[count]->request);
        SAME(m, !request->many || request->number >= closing->real.number);
        count++;
    }
    SAME(m, count == closing->shut_count);
    SAME(m, closing->real.number == closing->number);
}

static void check_all(struct model *m) {
    uint32_t standing = 0, closed = 0;
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
    size_t targets = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        bool is_closed = reference_closed(m, key, true);
        closed += is_closed;
        targets += used[key] || is_closed;
        SAME(m, locks_is_closed(&m->locks, m->ids[key]) == is_closed);
        SAME(m, locks_block(&m->locks, m->ids[key], false) == reference_blocks(m, key, false));
        SAME(m, locks_block(&m->locks, m->ids[key], true) == reference_blocks(m, key, true));
    }
    SAME(m, m->locks.targets == targets);
    SAME(m, m->locks.requests == standing + closed);
    SAME(m, m->locks.closings == closed);
    for (unsigned i = 0; i < CLOSINGS; i++) {
        check_closing(m, &m->closings[i]);
    }
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
    asker->passes = false;
    asker->own = NULL;
}

static bool is_owned(const struct model *m, const struct closing *closing) {
    bool is = false;
    for (unsigned i = 0; i < ASKERS; i++) {
        is |= m->askers[i].state != IDLE && m->askers[i].own == closing;
    }
    return is;
}

/* If a key is closed and nobody has asked for it yet, this may be who it is closed for. */
static void own(struct model *m, struct asker *asker) {
    struct closing *closing = &m->closings[rng_below(&m->rng, CLOSINGS)];
    if (asker->wishes[WHOLE] != SOME_EXCLUSIVE || closing->key == WHOLE || closing->to_changes ||
        is_owned(m, closing)) {
        return;
    }
    asker->own = closing;
    asker->request.own = &closing->real;
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
    SAME(m, locks_submit(&m->locks, &asker->request) == answer);
    SAME(m, answer != LOCK_REFUSED || (!fenced && asker->request.many));
    SAME(m, asker->request.fence == NULL);
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
    asker->own = NULL;
    enum lock_answer answer = reference_fence(m, asker);
    SAME(m, locks_fence(&m->locks, &asker->request) == answer);
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
    own(m, asker);
    asker->fence = m->fence;
    submit(m, asker);
}

static void ask(struct model *m) {
    struct asker *asker = idle(m);
    if (asker != NULL) {
        want(m, asker);
        own(m, asker);
        submit(m, asker);
    }
}

static void close_key(struct model *m) {
    struct closing *closing = &m->closings[rng_below(&m->rng, CLOSINGS)];
    unsigned key = (unsigned)rng_below(&m->rng, rng_below(&m->rng, 2) ? KEYS : 2);
    if (closing->key != WHOLE || closing->shut_count > 0 || is_owned(m, closing) ||
        reference_closed(m, key, true)) {
        return;
    }
    bool to_changes = rng_below(&m->rng, 3) == 0;
    reference_close(m, closing, key, to_changes);
    lock_closing_init(&closing->real);
    closing->real.to_changes = to_changes;
    locks_close(&m->locks, &closing->real, m->ids[key]);
    m->shut_out += closing->shut_count;
}

static void open_key(struct model *m, struct closing *closing) {
    closing->key = WHOLE;
    locks_open(&m->locks, &closing->real);
}

static void let_in(struct model *m, struct closing *closing) {
    m->let_in += closing->shut_count;
    reference_let_in(m, closing);
    locks_let_in(&m->locks, &closing->real);
}

/* Sometimes it is closed for another, before those who were shut out are let in. */
static void open_or_let_in(struct model *m) {
    struct closing *closing = &m->closings[rng_below(&m->rng, CLOSINGS)];
    if (closing->key == WHOLE) {
        let_in(m, closing);
        return;
    }
    open_key(m, closing);
    if (rng_below(&m->rng, 2)) {
        let_in(m, closing);
    }
}

/* One of those that have all they wanted, if there is one that gives way. */
static void give_way(struct model *m) {
    unsigned first = (unsigned)rng_below(&m->rng, ASKERS);
    bool gives = false;
    for (unsigned i = 0; i < ASKERS && !gives; i++) {
        struct asker *asker = &m->askers[(first + i) % ASKERS];
        if (asker->state == STANDS && !asker->waits && !asker->is_fence) {
            gives = reference_gives_way(m, asker);
            SAME(m, locks_give_way(&m->locks, &asker->request) == gives);
        }
    }
    m->gave_way += gives;
}

static bool go_on(struct model *m, struct asker *asker) {
    if (asker->state == REFUSED) {
        submit(m, asker);
        return true;
    }
    if (asker->state == STANDS && !asker->waits && !asker->is_fence) {
        reference_leave(m, asker);
        locks_release(&m->locks, &asker->request);
        return true;
    }
    return false;
}

static void step(struct model *m) {
    unsigned kind = (unsigned)rng_below(&m->rng, 80);
    if (kind >= 78) {
        close_key(m);
    } else if (kind >= 66) {
        open_or_let_in(m);
    } else if (kind >= 60) {
        give_way(m);
    } else if (kind == 0) {
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
    for (unsigned i = 0; i < CLOSINGS && m->differs == NULL; i++) {
        open_key(m, &m->closings[i]);
        let_in(m, &m->closings[i]);
        check_settled(m);
    }
    for (unsigned round = 0; m->differs == NULL; round++) {
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
    if (m->differs == NULL) {
        cr_assert_eq(m->locks.requests, 0);
        locks_fini(&m->locks);
    }
}

/* Till the end, or till the two differ: then the locks stay as they are. */
static void run(struct model *m, uint64_t seed) {
    rng_seed(&m->rng, seed);
    for (unsigned i = 0; i < CLOSINGS; i++) {
        m->closings[i] = (struct closing){.key = WHOLE};
        list_init(&m->closings[i].real.waiting);
    }
    locks_init(&m->locks);
    m->numbers = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        /* In ascending order, some in one bucket, one of them 0 like the line of the shard. */
        m->ids[key] = key * (rng_below(&m->rng, 2) ? 64 : 1) + (key > 0 ? m->ids[key - 1] : 0);
        m->askers[key].state = IDLE;
    }
    for (unsigned i = 0; i < STEPS && m->differs == NULL; i++) {
        step(m);
    }
    finish(m);
}

Test(locks, answers_as_a_naive_one_does) {
    static struct model m;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        run(&m, seed);
        cr_assert_null(m.differs, "seed %llu: %s", (unsigned long long)seed, m.differs);
    }
    cr_assert_gt(m.granted, 10u * SEEDS);
    cr_assert_gt(m.waited, 10u * SEEDS);
    cr_assert_gt(m.refused, 10u * SEEDS);
    cr_assert_gt(m.fenced, SEEDS);
    cr_assert_gt(m.grants_later, 10u * SEEDS);
    cr_assert_gt(m.shut_out, SEEDS);
    cr_assert_gt(m.gave_way, SEEDS);
    cr_assert_gt(m.let_in, SEEDS);
}

Test(locks, a_reference_that_is_wrong_is_seen_to_differ) {
    static struct model models[FAULTS]; /* what they hold stays where it is */
    for (enum fault fault = SOUND + 1; fault < FAULTS; fault++) {
        struct model *m = &models[fault];
        m->fault = fault;
        for (uint64_t seed = 0; seed < SEEDS && m->differs == NULL; seed++) {
            run(m, seed);
        }
        cr_assert_not_null(m->differs, "fault %u is not seen", fault);
    }
}
