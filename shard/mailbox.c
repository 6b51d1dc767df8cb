/* SPDX-License-Identifier: BSD-3-Clause */
/* mailbox: see the header for the contract. Why so:
 *
 * A hop between threads is the price of sharding, so it is kept to what it must be: a pointer
 * written to a ring that only two threads touch, one release store a turn that makes a whole turn's
 * messages visible, and a wake-up only for a thread that sleeps. A lock or a shared queue would put
 * every sender on one cache line.
 *
 *     sender                                  receiver
 *     slots[head++] = m   (private)           state = ASLEEP            (A')
 *     published = head            (A)         look at `published` again (B')
 *     not AWAKE? -> claim; wake   (B)         sleep
 *         if it was ASLEEP
 *     told = head
 *
 * Sleeping and waking cost more than a whole trip of a message. So who expects one looks for it for
 * a moment: it announces LOOKING in place of ASLEEP, looks at the boxes once, and from then on at
 * its own state alone, whatever the number of senders: the first that publishes claims it, and has
 * nobody to wake. Who has looked in vain goes from LOOKING to ASLEEP in one step, and need not look
 * at the boxes again: whoever publishes after the announcement finds one or the other.
 *
 * And who finds its receiver asleep may do without waking it: it claims it as VISITED, and takes
 * the messages out itself. Who publishes meanwhile need not wait: it leaves KNOCKED there, and the
 * visitor looks once more.
 *
 *     AWAKE ----> LOOKING ----> ASLEEP <----> VISITED ----> KNOCKED     by the receiver itself:
 *       ^------------------------'  ^-----------|-------------'|        AWAKE to LOOKING or ASLEEP,
 *       '---------------------------------------'--------------'        LOOKING to ASLEEP, back
 *
 * Invariants
 *  1. slots[i] is written before `published` passes i and not again before `taken` has passed i.
 *  2. Either B sees the announcement A', or B' sees the message A: all four are sequentially
 * consistent, so both cannot miss each other. This is what a lost wake-up would break.
 *  3. Every step of `state` is a claim: by a compare and exchange, but for those of who has it
 * (AWAKE: the receiver; VISITED, KNOCKED: the visitor). So from ASLEEP exactly one goes on: a
 * sender that wakes, a visitor, or the receiver itself; which waits while it is visited, also when
 * it takes its announcement back.
 *  4. A visitor goes from VISITED to ASLEEP in one step, and only if nobody has knocked: who
 * publishes after that finds ASLEEP, as in 2.
 *  5. While a sender's overflow queue holds something for a receiver, new messages queue behind it:
 * order per pair holds.
 *  6. Up to `told` the sender is through with B. So a receiver that is still ASLEEP over such a
 * message has lost a wake-up, and no other has.
 */
#include "shard/mailbox.h"

#include "base/check.h"
#include "base/must.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64

enum owner_state { AWAKE, LOOKING, ASLEEP, VISITED, KNOCKED };

struct ring {
    /* Written once a turn: the receiver's looks must not meet the sender's other writes. */
    _Alignas(LINE) _Atomic uint32_t published;
    _Atomic uint32_t told; /* up to here the receiver was looked after (ring_up) */
    /* Sender's line. */
    _Alignas(LINE) uint32_t head; /* next slot to write */
    uint32_t taken_seen;          /* last known `taken` */
    struct message *overflow_first, *overflow_last;
    /* Receiver's line. */
    _Alignas(LINE) _Atomic uint32_t taken;
    /* Constant. */
    _Alignas(LINE) struct message **slots;
};

struct box_owner {
    _Alignas(LINE) _Atomic uint32_t state;  /* enum owner_state */
    _Alignas(LINE) struct post_stats stats; /* owner's own */
    unsigned away;                          /* messages that are to come back */
    unsigned next_from;                     /* where the fair round starts */
    uint64_t *dirty;  /* bitmap of receivers written to since the last publish */
    uint64_t *visits; /* and of those that it may visit now */
};

struct post_office {
    unsigned threads;
    uint32_t capacity;
    void (*wake)(void *arg, unsigned from, unsigned target);
    void *arg;
    struct ring *rings; /* [from * threads + to] */
    struct box_owner *owners;
};

static struct ring *ring_of(const struct post_office *office, unsigned from, unsigned to) {
    return &office->rings[from * office->threads + to];
}

static void *lines_new(size_t n, size_t size) {
    return must_aligned(LINE, (n * size + LINE - 1) / LINE * LINE);
}

struct post_office *post_office_new(unsigned threads, unsigned capacity,
                                    void (*wake)(void *arg, unsigned from, unsigned target),
                                    void *arg) {
    check(threads > 0 && capacity > 0 && (capacity & (capacity - 1)) == 0);
    struct post_office *office = lines_new(1, sizeof *office);
    office->threads = threads;
    office->capacity = capacity;
    office->wake = wake;
    office->arg = arg;
    office->rings = lines_new((size_t)threads * threads, sizeof(struct ring));
    office->owners = lines_new(threads, sizeof(struct box_owner));
    for (unsigned i = 0; i < threads * threads; i++) {
        office->rings[i].slots = lines_new(capacity, sizeof(struct message *));
    }
    for (unsigned i = 0; i < threads; i++) {
        office->owners[i].dirty = lines_new((threads + 63) / 64, sizeof(uint64_t));
        office->owners[i].visits = lines_new((threads + 63) / 64, sizeof(uint64_t));
    }
    return office;
}

void post_office_free(struct post_office *office) {
    if (office == NULL) {
        return;
    }
    for (unsigned i = 0; i < office->threads * office->threads; i++) {
        free(office->rings[i].slots);
    }
    for (unsigned i = 0; i < office->threads; i++) {
        free(office->owners[i].dirty);
        free(office->owners[i].visits);
    }
    free(office->rings);
    free(office->owners);
    free(office);
}

static bool ring_put(struct post_office *office, struct ring *ring, struct message *message) {
    if (ring->head - ring->taken_seen == office->capacity) {
        ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
        if (ring->head - ring->taken_seen == office->capacity) {
            return false;
        }
    }
    ring->slots[ring->head & (office->capacity - 1)] = message;
    ring->head++;
    return true;
}

void post_send(struct post_office *office, unsigned from, unsigned to, struct message *message) {
    struct ring *ring = ring_of(office, from, to);
    struct box_owner *self = &office->owners[from];
    self->stats.sent++;
    self->away += message->home == from;
    self->dirty[to / 64] |= UINT64_C(1) << (to % 64);
    if (ring->overflow_first == NULL && ring_put(office, ring, message)) {
        return;
    }
    self->stats.overflowed++;
    message->next = NULL;
    if (ring->overflow_first == NULL) {
        ring->overflow_first = message;
    } else {
        ring->overflow_last->next = message;
    }
    ring->overflow_last = message;
}

/* Moves what fits from the overflow queue into the ring; true if some is left. */
static bool ring_refill(struct post_office *office, struct ring *ring) {
    while (ring->overflow_first != NULL) {
        struct message *message = ring->overflow_first;
        struct message *next = message->next;
        if (!ring_put(office, ring, message)) {
            return true;
        }
        ring->overflow_first = next;
    }
    return false;
}

/* The other half of inv. 2, after publishing: whoever does not look at his boxes by himself is seen
 * to. */
static void ring_up(struct post_office *office, unsigned by, unsigned to, bool visits) {
    struct box_owner *owner = &office->owners[to], *self = &office->owners[by];
    uint32_t state = atomic_load_explicit(&owner->state, memory_order_seq_cst);
    static const uint32_t next[] = {[LOOKING] = AWAKE, [ASLEEP] = AWAKE, [VISITED] = KNOCKED};
    while (state != AWAKE && state != KNOCKED) {
        bool visit = visits && state == ASLEEP;
        if (!atomic_compare_exchange_weak_explicit(&owner->state, &state,
                                                   visit ? VISITED : next[state],
                                                   memory_order_seq_cst, memory_order_seq_cst)) {
            continue;
        }
        self->stats.spared += state == LOOKING;
        if (visit) {
            self->visits[to / 64] |= UINT64_C(1) << (to % 64);
        } else if (state == ASLEEP) {
            self->stats.wakes++;
            office->wake(office->arg, by, to);
        }
        return;
    }
}

bool post_publish(struct post_office *office, unsigned from, unsigned by, bool visits) {
    struct box_owner *self = &office->owners[from];
    bool left = false;
    for (unsigned word = 0; word < (office->threads + 63) / 64; word++) {
        uint64_t dirty = self->dirty[word];
        self->dirty[word] = 0;
        while (dirty != 0) {
            unsigned to = word * 64 + (unsigned)__builtin_ctzll(dirty);
            dirty &= dirty - 1;
            struct ring *ring = ring_of(office, from, to);
            if (ring->overflow_first != NULL && ring_refill(office, ring)) {
                left = true;
                self->dirty[word] |= UINT64_C(1) << (to % 64);
            }
            /* inv. 2: the store and the load must be sequentially consistent. */
            atomic_store_explicit(&ring->published, ring->head, memory_order_seq_cst);
            ring_up(office, by, to, visits);
            atomic_store_explicit(&ring->told, ring->head, memory_order_release);
        }
    }
    return left;
}

bool post_next_visit(struct post_office *office, unsigned by, unsigned *ret_to) {
    struct box_owner *self = &office->owners[by];
    for (unsigned word = 0; word < (office->threads + 63) / 64; word++) {
        if (self->visits[word] != 0) {
            *ret_to = word * 64 + (unsigned)__builtin_ctzll(self->visits[word]);
            self->visits[word] &= self->visits[word] - 1;
            return true;
        }
    }
    return false;
}

bool post_leave(struct post_office *office, unsigned to) {
    _Atomic uint32_t *at = &office->owners[to].state;
    uint32_t state = VISITED;
    if (atomic_compare_exchange_strong_explicit(at, &state, ASLEEP, memory_order_seq_cst,
                                                memory_order_seq_cst)) {
        return true;
    }
    atomic_store_explicit(at, VISITED, memory_order_seq_cst);
    return false;
}

void post_leave_awake(struct post_office *office, unsigned to, unsigned by) {
    atomic_store_explicit(&office->owners[to].state, AWAKE, memory_order_seq_cst);
    office->owners[by].stats.wakes++;
    office->wake(office->arg, by, to);
}

size_t post_receive(struct post_office *office, unsigned to, struct message **ret, size_t max) {
    struct box_owner *self = &office->owners[to];
    size_t n = 0;
    for (unsigned i = 0; i < office->threads && n < max; i++) {
        unsigned from = self->next_from + i;
        if (from >= office->threads) {
            from -= office->threads;
        }
        struct ring *ring = ring_of(office, from, to);
        uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
        uint32_t published = atomic_load_explicit(&ring->published, memory_order_acquire);
        if (taken == published) {
            continue;
        }
        while (taken != published && n < max) {
            struct message *message = ring->slots[taken & (office->capacity - 1)];
            self->away -= message->home == to;
            ret[n++] = message;
            taken++;
        }
        atomic_store_explicit(&ring->taken, taken, memory_order_release);
    }
    self->next_from = self->next_from + 1 < office->threads ? self->next_from + 1 : 0;
    self->stats.received += n;
    return n;
}

static bool anything_there(const struct post_office *office, unsigned to) {
    for (unsigned from = 0; from < office->threads; from++) {
        struct ring *ring = ring_of(office, from, to);
        if (atomic_load_explicit(&ring->published, memory_order_seq_cst) !=
            atomic_load_explicit(&ring->taken, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

unsigned post_away(const struct post_office *office, unsigned thread) {
    return office->owners[thread].away;
}

/* Says that the thread sleeps or looks, unless something is there. */
static bool announce(struct post_office *office, unsigned to, enum owner_state state) {
    struct box_owner *self = &office->owners[to];
    if (anything_there(office, to)) {
        return false;
    }
    atomic_store_explicit(&self->state, state, memory_order_seq_cst);
    if (!anything_there(office, to)) {
        return true;
    }
    /* Taken back, unless somebody has claimed it: a visitor sees to what is there. */
    uint32_t claimed = state;
    return !atomic_compare_exchange_strong_explicit(&self->state, &claimed, AWAKE,
                                                    memory_order_seq_cst, memory_order_seq_cst) &&
           claimed != AWAKE;
}

bool post_any(const struct post_office *office, unsigned to) {
    return anything_there(office, to);
}

bool post_look(struct post_office *office, unsigned to) {
    return announce(office, to, LOOKING);
}

bool post_found(const struct post_office *office, unsigned to) {
    return atomic_load_explicit(&office->owners[to].state, memory_order_relaxed) != LOOKING;
}

bool post_look_end(struct post_office *office, unsigned to) {
    uint32_t state = LOOKING;
    return !atomic_compare_exchange_strong_explicit(&office->owners[to].state, &state, ASLEEP,
                                                    memory_order_seq_cst, memory_order_seq_cst);
}

bool post_look_over(struct post_office *office, unsigned to) {
    return atomic_exchange_explicit(&office->owners[to].state, AWAKE, memory_order_seq_cst) ==
           AWAKE;
}

bool post_sleep(struct post_office *office, unsigned to) {
    return announce(office, to, ASLEEP);
}

/* A ring with a message whose sender is through with it, or NULL; *ret_told is where it lies. */
static const struct ring *told_of(const struct post_office *office, unsigned to,
                                  uint32_t *ret_told) {
    for (unsigned from = 0; from < office->threads; from++) {
        const struct ring *ring = ring_of(office, from, to);
        uint32_t published = atomic_load_explicit(&ring->published, memory_order_seq_cst);
        if (published != atomic_load_explicit(&ring->taken, memory_order_relaxed) &&
            published == atomic_load_explicit(&ring->told, memory_order_acquire)) {
            *ret_told = published;
            return ring;
        }
    }
    return NULL;
}

bool post_awake(struct post_office *office, unsigned to) {
    struct box_owner *self = &office->owners[to];
    uint32_t state = atomic_load_explicit(&self->state, memory_order_seq_cst);
    if (state != ASLEEP) {
        return state == AWAKE;
    }
    uint32_t told;
    const struct ring *ring = told_of(office, to, &told);
    if (!atomic_compare_exchange_strong_explicit(&self->state, &state, AWAKE, memory_order_seq_cst,
                                                 memory_order_seq_cst)) {
        return state == AWAKE;
    }
    /* Unless a visitor has come and gone since. */
    self->stats.late_wakeups +=
        ring != NULL &&
        (int32_t)(told - atomic_load_explicit(&ring->taken, memory_order_relaxed)) > 0;
    return true;
}

struct post_stats post_get_stats(const struct post_office *office, unsigned thread) {
    return office->owners[thread].stats;
}

size_t post_depth(const struct post_office *office, unsigned to) {
    size_t n = 0;
    for (unsigned from = 0; from < office->threads; from++) {
        struct ring *ring = ring_of(office, from, to);
        n += (uint32_t)(atomic_load_explicit(&ring->published, memory_order_relaxed) -
                        atomic_load_explicit(&ring->taken, memory_order_relaxed));
    }
    return n;
}
