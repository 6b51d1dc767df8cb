/* SPDX-License-Identifier: BSD-3-Clause */
/* park: every interleaving of workers that are parked, of two who park them, and of what each does
 * to its own shard meanwhile.
 *
 * The protocol of server/worker/park.c, message by message: tickets and the token at the keeper,
 * the wish to park, the answer, the view, and the word to go on; mailboxes keep the order of each
 * pair of threads and no other. Whoever touches a shard takes two steps to do so. No two may touch
 * one at once, and all parkers must come to their end. The same walk must find the fault in
 * protocols that are broken on purpose.
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 3
#define KEEPER  0
#define ROOM    4 /* messages between two threads, more than there ever are */

enum fault {
    FAULT_NONE,
    FAULT_WHEEL,     /* who is parked goes on with its wheel */
    FAULT_LATE_VIEW, /* the view is used after the word to go on */
    FAULT_NO_TOKEN,  /* everybody parks when he likes */
    FAULT_NOT_KEPT,  /* the next parker's wish is answered by who has not heard of the last's end */
    FAULT_LOST_OVER, /* the keeper does not learn that a parking is over */
};

enum message { NOTHING, TICKET, TOKEN, PARK, PARKED, OVER };
enum parker { IDLE, WAITS_FOR_TOKEN, WAITS_FOR_ALL, LOOKS, LOOKS_LATE, DONE };

struct worker {
    uint8_t parker; /* as one */
    uint8_t wishes; /* parkings that it has still to do */
    uint8_t answers;
    uint8_t view_at, view_in; /* the shard it looks into; whether it does at this moment */
    uint8_t parked;
    uint8_t wheel; /* it is touching its own shard */
    uint8_t kept[ROOM], kept_from[ROOM], kept_count;
};

struct state {
    struct worker workers[WORKERS];
    uint8_t box[WORKERS][WORKERS][ROOM]; /* [from][to], oldest first */
    uint8_t line[ROOM], line_count;      /* at the keeper: who waits for the token */
    uint8_t taken;                       /* the token */
};

/* ---- What has been seen ---- */

struct seen {
    struct state *states;
    uint32_t *table;
    uint32_t count, room, mask;
};

static uint64_t hash_of(const struct state *s) {
    const uint8_t *bytes = (const uint8_t *)s;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *s; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash ^ (hash >> 29);
}

static bool add(struct seen *seen, const struct state *s) {
    uint32_t at = (uint32_t)hash_of(s) & seen->mask;
    for (; seen->table[at] != 0; at = (at + 1) & seen->mask) {
        if (memcmp(&seen->states[seen->table[at] - 1], s, sizeof *s) == 0) {
            return false;
        }
    }
    cr_assert_lt(seen->count, seen->room);
    seen->states[seen->count++] = *s;
    seen->table[at] = seen->count;
    return true;
}

/* ---- The protocol ---- */

struct walk {
    enum fault fault;
    struct seen seen;
    unsigned clashes, stuck, ends, waited, kept; /* waited, kept: steps in which that happened */
};

static void post(struct state *s, unsigned from, unsigned to, enum message message) {
    uint8_t *box = s->box[from][to];
    unsigned n = 0;
    while (box[n] != NOTHING) {
        n++;
    }
    cr_assert_lt(n, ROOM - 1);
    box[n] = (uint8_t)message;
}

static void ask_all(struct state *s, unsigned home) {
    s->workers[home].parker = WAITS_FOR_ALL;
    s->workers[home].answers = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        if (i != home) {
            post(s, home, i, PARK);
        }
    }
}

static void handle(struct walk *w, struct state *s, unsigned me, unsigned from,
                   enum message message) {
    struct worker *self = &s->workers[me];
    bool waits = message != OVER && !(message == PARK && w->fault == FAULT_NOT_KEPT);
    if (self->parked && waits) {
        w->kept++;
        self->kept[self->kept_count] = (uint8_t)message;
        self->kept_from[self->kept_count++] = (uint8_t)from;
        return;
    }
    switch (message) {
    case TICKET:
        s->line[s->line_count++] = (uint8_t)from;
        break;
    case TOKEN:
        ask_all(s, me);
        break;
    case PARK:
        self->parked = true;
        post(s, me, from, PARKED);
        break;
    case PARKED:
        if (++self->answers == WORKERS - 1) {
            self->parker = LOOKS;
            self->view_at = 0;
        }
        break;
    case OVER:
        self->parked = false;
        if (me == KEEPER && w->fault != FAULT_LOST_OVER) {
            s->taken = false;
        }
        break;
    case NOTHING:
        break;
    }
}

static void tell_over(struct state *s, unsigned home) {
    for (unsigned i = 0; i < WORKERS; i++) {
        if (i != home) {
            post(s, home, i, OVER);
        }
    }
    if (home == KEEPER) {
        s->taken = false;
    }
}

static bool touched(const struct state *s, unsigned shard) {
    bool any = s->workers[shard].wheel;
    for (unsigned i = 0; i < WORKERS; i++) {
        any |= s->workers[i].view_in && s->workers[i].view_at == shard;
    }
    return any;
}

/* The parker's next step into or out of a shard. */
static void look_on(struct walk *w, struct state *s, unsigned me) {
    struct worker *self = &s->workers[me];
    if (!self->view_in && self->view_at < WORKERS) {
        w->clashes += touched(s, self->view_at);
        self->view_in = true;
    } else if (self->view_in) {
        self->view_in = false;
        self->view_at++;
        if (w->fault == FAULT_LATE_VIEW && self->view_at == WORKERS - 1) {
            tell_over(s, me);
            self->parker = LOOKS_LATE;
        }
    } else {
        if (self->parker == LOOKS) {
            tell_over(s, me);
        }
        self->wishes--;
        self->parker = self->wishes > 0 ? IDLE : DONE;
    }
}

/* ---- The walk ---- */

/* Steps of one thread; each must be tried from the same state. `n` names them; false: there are no
 * more. *ret_moves says whether it did anything, and *ret_own whether that was its wheel only. */
static bool step(struct walk *w, struct state *s, unsigned me, unsigned n, bool *ret_moves,
                 bool *ret_own) {
    struct worker *self = &s->workers[me];
    bool busy = self->view_in || self->wheel || self->parker == LOOKS || self->parker == LOOKS_LATE;
    *ret_moves = *ret_own = false;
    if (n < WORKERS) { /* a message from there */
        if (!busy && s->box[n][me][0] != NOTHING) {
            enum message message = s->box[n][me][0];
            memmove(s->box[n][me], s->box[n][me] + 1, ROOM - 1);
            s->box[n][me][ROOM - 1] = NOTHING;
            handle(w, s, me, n, message);
            *ret_moves = true;
        }
        return true;
    }
    switch (n - WORKERS) {
    case 0: /* its wheel, at any time */
        if (self->wheel) {
            self->wheel = false;
            *ret_moves = true;
        } else if (!busy && (!self->parked || w->fault == FAULT_WHEEL)) {
            w->clashes += touched(s, me);
            self->wheel = true;
            *ret_moves = *ret_own = true;
        }
        return true;
    case 1: /* it wants to park the others */
        if (!busy && self->parker == IDLE && self->wishes > 0 && !self->parked) {
            if (w->fault == FAULT_NO_TOKEN) {
                ask_all(s, me);
            } else {
                self->parker = WAITS_FOR_TOKEN;
                post(s, me, KEEPER, TICKET);
            }
            *ret_moves = true;
        }
        return true;
    case 2: /* the keeper gives the token */
        if (me == KEEPER && !busy && !self->parked && s->line_count > 0 && !s->taken) {
            unsigned to = s->line[0];
            memmove(s->line, s->line + 1, ROOM - 1);
            s->line_count--;
            s->line[s->line_count] = 0;
            s->taken = true;
            w->waited += s->line_count > 0;
            post(s, KEEPER, to, TOKEN);
            *ret_moves = true;
        }
        return true;
    case 3: /* it looks into shards */
        if ((self->parker == LOOKS || self->parker == LOOKS_LATE) && !self->wheel) {
            look_on(w, s, me);
            *ret_moves = true;
        }
        return true;
    case 4: /* what it has kept comes before all else: modelled as a step that is possible at once
             */
        if (!busy && !self->parked && self->kept_count > 0) {
            enum message message = self->kept[0];
            unsigned from = self->kept_from[0];
            memmove(self->kept, self->kept + 1, ROOM - 1);
            memmove(self->kept_from, self->kept_from + 1, ROOM - 1);
            self->kept_count--;
            self->kept[self->kept_count] = self->kept_from[self->kept_count] = 0;
            handle(w, s, me, from, message);
            *ret_moves = true;
        }
        return true;
    }
    return false;
}

static bool all_done(const struct state *s) {
    bool done = true;
    for (unsigned i = 0; i < WORKERS; i++) {
        done &= s->workers[i].wishes == 0 && !s->workers[i].parked;
    }
    return done;
}

static struct walk walk(enum fault fault, const uint8_t wishes[WORKERS]) {
    enum { STATES = 1 << 21 };
    struct walk w = {.fault = fault};
    w.seen = (struct seen){
        .states = malloc(STATES * sizeof *w.seen.states),
        .table = calloc((size_t)STATES * 2, sizeof *w.seen.table),
        .room = STATES,
        .mask = STATES * 2 - 1,
    };
    struct state first;
    memset(&first, 0, sizeof first);
    for (unsigned i = 0; i < WORKERS; i++) {
        first.workers[i].wishes = wishes[i];
    }
    add(&w.seen, &first);
    for (uint32_t at = 0; at < w.seen.count && w.clashes == 0 && w.stuck == 0; at++) {
        bool any = false;
        for (unsigned me = 0; me < WORKERS; me++) {
            for (unsigned n = 0;; n++) {
                struct state next = w.seen.states[at];
                bool moves, own;
                if (!step(&w, &next, me, n, &moves, &own)) {
                    break;
                }
                any |= moves && !own;
                if (moves) {
                    add(&w.seen, &next);
                }
            }
        }
        if (!any) {
            w.ends++;
            w.stuck += !all_done(&w.seen.states[at]);
        }
    }
    free(w.seen.states);
    free(w.seen.table);
    return w;
}

Test(park, no_interleaving_lets_two_into_one_shard_or_keeps_a_parker_for_ever) {
    static const uint8_t wishes[][WORKERS] = {
        {0, 1, 1}, {1, 1, 0}, {1, 1, 1}, {0, 2, 1}, {2, 0, 1}};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct walk w = walk(FAULT_NONE, wishes[i]);
        cr_assert_eq(w.clashes, 0);
        cr_assert_eq(w.stuck, 0);
        cr_assert_gt(w.ends, 0);
        cr_assert_gt(w.waited, 0, "somebody waited for the token");
        cr_assert_gt(w.kept, 0, "a message waited for the end of a parking");
    }
}

Test(park, the_walk_finds_each_fault) {
    static const uint8_t others[WORKERS] = {0, 1, 1}, keeper[WORKERS] = {1, 1, 0};
    for (enum fault fault = FAULT_WHEEL; fault <= FAULT_LOST_OVER; fault++) {
        struct walk a = walk(fault, others), b = walk(fault, keeper);
        cr_assert_gt(a.clashes + a.stuck + b.clashes + b.stuck, 0, "fault %d", (int)fault);
    }
}
