/* SPDX-License-Identifier: BSD-3-Clause */
/* escape: every interleaving of scripts that look for keys which are not where they run, begin anew
 * with all shards in view, ride with each other, and are killed meanwhile.
 *
 * Two threads, each with a shard that has one key. A script adds one to both, at its home's first,
 * and answers what it has made of them. It finds out on the way that it needs the other (before
 * its first write, or behind it: then its shard is sealed), or knows so from the first, and then it
 * may stand in line and ride. The protocol is that of server/script/run.c, server/txn/txn.c,
 * txn_riders.c and worker/park.c, message by message, and of shard/locks.c where all want all keys;
 * what those do among themselves is walked with the real ones by model_txn.c, and the token of
 * those who park by model_park.c.
 *
 * As all add one, what a script answers is its place in a serial order: twice the same number,
 * which nobody else has, higher than of all that had ended when it began. Who is killed has added
 * nothing. Clients read one key and then the other: the second is not behind the first, or they
 * have seen half of a script. In the end nobody waits and nothing is locked, sealed or parked, and
 * from every state some way leads to an end. The same walk must find the fault in protocols that
 * are broken on purpose.
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS  2
#define SCRIPTS 3
#define READERS 2
#define ROOM    8 /* messages between two threads, more than there ever are */

enum fault {
    FAULT_NONE,
    FAULT_WHEEL,         /* who is parked goes on with its wheel */
    FAULT_EARLY_VIEW,    /* the view is used before the other has answered */
    FAULT_LATE_VIEW,     /* and after the word to go on */
    FAULT_LOST_OVER,     /* who was parked does not hear that it is over */
    FAULT_ONE_LOCK,      /* who has escaped locks its own shard alone */
    FAULT_NO_SEAL,       /* what was changed before an escape may be seen */
    FAULT_WRITES_TWICE,  /* who begins anew does again what it had done */
    FAULT_LEFT_OUT,      /* what it does then on the other shard is lost */
    FAULT_STAYS_SEALED,  /* the shard is, when all is done */
    FAULT_KEEPS_EARLIER, /* who is kept out by a seal, with a lower number, is not refused */
    FAULT_BOTH_WAIT,     /* who has sealed a shard waits for another's seal */
    FAULT_LOST_RIDER,    /* those that stand in line when a view ends without them */
    FAULT_RIDES_TWICE,   /* who has had its ride stands in line again */
    FAULT_LATE_RIDE,     /* riders run when the view has been given back */
    FAULT_KILLS_HALF,    /* SCRIPT KILL ends one that has written */
    FAULT_KILLS_AGAIN,   /* and one that had written before it began anew */
    FAULTS,
};

enum kind { NOBODY, CLEAN, DIRTY, FAR };
enum phase { STARTS, RUNS, IN_LINE, ASKED, ASKS_AGAIN, PARKS, VIEWS, OVER_NEXT, ENDED };
enum end { NO_END, ADDED, KILLED, FAILED };
enum place { NOWHERE, WAITS, HAS, KEPT_OUT };
enum message { NOTHING, LOCK, RELEASE, GRANTED, REFUSED, PARK, PARKED, OVER };

struct script {
    uint8_t kind, home;
    uint8_t phase, end, pc;
    uint8_t number, seal; /* numbers are told apart by their order alone */
    uint8_t answers, refused, gives_up;
    uint8_t wrote, again; /* again: it had before it began anew */
    uint8_t told[SHARDS]; /* what it answers */
    uint8_t floor;        /* the highest answer of those that had ended as it began */
    uint8_t places[SHARDS];
};

struct shard { /* and its thread */
    uint8_t value;
    uint8_t seal, seal_asks; /* whose, from 1; the number that its owner has */
    uint8_t parked, wheel, viewed;
    uint8_t running, killed;                /* a script of this home, from 1; it is to end */
    uint8_t asks_view;                      /* from 1 */
    uint8_t line[SCRIPTS], riders[SCRIPTS]; /* from 1 */
    uint8_t box[ROOM], of[ROOM];            /* from the other thread: what, about whom */
};

struct reader {
    uint8_t first, steps, seen;
};

struct state {
    struct script scripts[SCRIPTS];
    struct shard shards[SHARDS];
    struct reader readers[READERS];
    uint8_t kills; /* still to come */
};

/* What there is: the kinds of scripts, of both homes; how many kills; whether others read, and
 * wheels turn. */
struct scenario {
    uint8_t kinds[SCRIPTS], homes[SCRIPTS];
    uint8_t kills;
    bool reads, wheels;
};

struct walk {
    enum fault fault;
    const struct scenario *scenario;
    struct state *states;
    uint32_t *table;
    uint32_t count, room, mask;
    const char *found;
    struct edge {
        uint32_t from, to;
    } * edges;
    size_t edges_count, edges_room;
    /* What happened, so that a test can tell that everything did. */
    unsigned ends, refusals, sealed, kept_out, rode, left, killed, failed;
};

static void found(struct walk *w, bool is, const char *what) {
    if (!is && w->found == NULL) {
        w->found = what;
    }
}

/* ---- Numbers ---- */

static uint8_t *number_at(struct state *s, unsigned i) {
    if (i < 2 * SCRIPTS) {
        return i % 2 ? &s->scripts[i / 2].seal : &s->scripts[i / 2].number;
    }
    return i < 2 * SCRIPTS + SHARDS ? &s->shards[i - 2 * SCRIPTS].seal_asks : NULL;
}

static uint8_t draw(struct state *s) {
    uint8_t highest = 0, *number;
    for (unsigned i = 0; (number = number_at(s, i)) != NULL; i++) {
        highest = *number > highest ? *number : highest;
    }
    return (uint8_t)(highest + 1);
}

/* Only their order matters. */
static void rank(struct state *s) {
    uint8_t *number, *other, ranks[2 * SCRIPTS + SHARDS];
    for (unsigned i = 0; (number = number_at(s, i)) != NULL; i++) {
        bool below[UINT8_MAX + 1] = {false};
        ranks[i] = *number > 0;
        for (unsigned j = 0; (other = number_at(s, j)) != NULL; j++) {
            ranks[i] += *other > 0 && *other < *number && !below[*other];
            below[*other] = true;
        }
    }
    for (unsigned i = 0; (number = number_at(s, i)) != NULL; i++) {
        *number = ranks[i];
    }
}

/* ---- Locks of all keys ---- */

static void post(struct state *s, unsigned to, enum message message, unsigned script) {
    struct shard *shard = &s->shards[to];
    unsigned n = 0;
    while (shard->box[n] != NOTHING) {
        n++;
    }
    cr_assert_lt(n, ROOM - 1);
    shard->box[n] = (uint8_t)message;
    shard->of[n] = (uint8_t)script;
}

static void answered(struct walk *w, struct state *s, unsigned i, bool granted);

static void settle(struct walk *w, struct state *s, unsigned at, unsigned i, bool granted) {
    w->refusals += !granted;
    if (s->scripts[i].home == at) {
        answered(w, s, i, granted);
    } else {
        post(s, 1 - at, granted ? GRANTED : REFUSED, i);
    }
}

static bool is_locked(const struct state *s, unsigned at) {
    bool any = s->shards[at].seal > 0;
    for (unsigned i = 0; i < SCRIPTS; i++) {
        any |= s->scripts[i].places[at] == WAITS || s->scripts[i].places[at] == HAS;
    }
    return any;
}

/* The lowest number of those that wait, if nobody has it. */
static void grant(struct walk *w, struct state *s, unsigned at) {
    int next = -1;
    for (unsigned i = 0; i < SCRIPTS; i++) {
        const struct script *script = &s->scripts[i];
        if (script->places[at] == HAS) {
            return;
        }
        if (script->places[at] == WAITS && (next < 0 || script->number < s->scripts[next].number)) {
            next = (int)i;
        }
    }
    if (next >= 0) {
        s->scripts[next].places[at] = HAS;
        settle(w, s, at, (unsigned)next, true);
    }
}

static void submit(struct walk *w, struct state *s, unsigned at, unsigned i) {
    struct shard *shard = &s->shards[at];
    struct script *script = &s->scripts[i];
    if (shard->seal > 0 && shard->seal != i + 1) {
        const struct script *owner = &s->scripts[shard->seal - 1];
        if (script->seal > 0 && w->fault != FAULT_BOTH_WAIT) {
            script->gives_up |= owner->seal < script->seal;
            settle(w, s, at, i, false);
        } else if (script->number < shard->seal_asks && w->fault != FAULT_KEEPS_EARLIER) {
            settle(w, s, at, i, false);
        } else {
            w->kept_out++;
            script->places[at] = KEPT_OUT;
        }
        return;
    }
    bool late = false;
    for (unsigned other = 0; other < SCRIPTS; other++) {
        const struct script *there = &s->scripts[other];
        late |= (there->places[at] == HAS || there->places[at] == WAITS) &&
                there->number > script->number;
    }
    if (late) {
        settle(w, s, at, i, false);
        return;
    }
    script->places[at] = WAITS;
    if (shard->seal == i + 1) {
        shard->seal_asks = script->number;
        for (unsigned other = 0; other < SCRIPTS; other++) {
            struct script *kept = &s->scripts[other];
            if (kept->places[at] == KEPT_OUT && kept->number < script->number &&
                w->fault != FAULT_KEEPS_EARLIER) {
                kept->places[at] = NOWHERE;
                settle(w, s, at, other, false);
            }
        }
    }
    grant(w, s, at);
}

static void release(struct walk *w, struct state *s, unsigned at, unsigned i) {
    s->scripts[i].places[at] = NOWHERE;
    grant(w, s, at);
}

static void unseal(struct walk *w, struct state *s, unsigned i) {
    struct shard *shard = &s->shards[s->scripts[i].home];
    if (shard->seal != i + 1 || w->fault == FAULT_STAYS_SEALED) {
        return;
    }
    shard->seal = shard->seal_asks = 0;
    for (;;) { /* the lowest number first */
        int next = -1;
        for (unsigned j = 0; j < SCRIPTS; j++) {
            if (s->scripts[j].places[s->scripts[i].home] == KEPT_OUT &&
                (next < 0 || s->scripts[j].number < s->scripts[next].number)) {
                next = (int)j;
            }
        }
        if (next < 0) {
            return;
        }
        s->scripts[next].places[s->scripts[i].home] = NOWHERE;
        submit(w, s, s->scripts[i].home, (unsigned)next);
    }
}

/* ---- The coordinator ---- */

static void ask(struct walk *w, struct state *s, unsigned i) {
    struct script *script = &s->scripts[i];
    unsigned home = script->home;
    script->phase = ASKED;
    script->number = draw(s);
    script->answers = w->fault == FAULT_ONE_LOCK;
    script->refused = script->gives_up = false;
    if (w->fault != FAULT_ONE_LOCK) {
        post(s, 1 - home, LOCK, i);
    }
    submit(w, s, home, i);
}

static void end(struct state *s, unsigned i, enum end how) {
    struct script *script = &s->scripts[i];
    script->phase = ENDED;
    script->end = (uint8_t)how;
    script->number = script->seal = 0;
}

static void give_back(struct walk *w, struct state *s, unsigned i) {
    unsigned home = s->scripts[i].home;
    if (s->scripts[i].places[1 - home] == HAS) {
        post(s, 1 - home, RELEASE, i);
    }
    if (s->scripts[i].places[home] == HAS) {
        release(w, s, home, i);
    }
}

static void answered(struct walk *w, struct state *s, unsigned i, bool granted) {
    struct script *script = &s->scripts[i];
    script->refused |= !granted;
    if (++script->answers < SHARDS) {
        return;
    }
    if (script->refused) {
        script->phase = ASKS_AGAIN;
        give_back(w, s, i);
        if (script->gives_up) {
            w->failed++;
            unseal(w, s, i);
            end(s, i, FAILED);
        }
        return;
    }
    post(s, 1 - script->home, PARK, i);
    script->phase = PARKS;
    script->pc = 0;
    if (w->fault == FAULT_EARLY_VIEW) {
        script->phase = VIEWS;
        s->shards[script->home].running = (uint8_t)(i + 1);
    }
}

/* ---- The line, and riders ---- */

static void push(uint8_t line[SCRIPTS], uint8_t who) {
    unsigned n = 0;
    while (line[n] != 0) {
        n++;
    }
    line[n] = who;
}

static uint8_t pop(uint8_t line[SCRIPTS]) {
    uint8_t first = line[0];
    memmove(line, line + 1, SCRIPTS - 1);
    line[SCRIPTS - 1] = 0;
    return first;
}

/* Those that were left come first; then the first leads, and all others ride. */
static void riders_end(struct walk *w, struct state *s, unsigned home) {
    struct shard *shard = &s->shards[home];
    uint8_t line[SCRIPTS] = {0}, who;
    while ((who = pop(shard->riders)) != 0) {
        w->left++;
        if (w->fault != FAULT_LOST_RIDER) {
            push(line, who);
        }
    }
    while ((who = pop(shard->line)) != 0) {
        push(line, who);
    }
    shard->asks_view = pop(line);
    memcpy(shard->riders, line, sizeof line);
    if (shard->asks_view > 0) {
        ask(w, s, shard->asks_view - 1u);
    }
}

/* ---- Running ---- */

static bool is_touched(const struct state *s, unsigned at) {
    return s->shards[at].wheel || s->shards[at].viewed;
}

static void touch(struct walk *w, struct state *s, unsigned at) {
    found(w, !is_touched(s, at), "two touch one shard");
    s->shards[at].viewed = true;
}

static bool may_fail(const struct walk *w) {
    unsigned dirty = 0;
    for (unsigned i = 0; i < SCRIPTS; i++) {
        dirty += w->scenario->kinds[i] == DIRTY;
    }
    return dirty > 1;
}

static void add_one(struct walk *w, struct state *s, unsigned at, struct script *script) {
    bool lost = w->fault == FAULT_LEFT_OUT && script->again && at != script->home;
    s->shards[at].value = (uint8_t)(s->shards[at].value + !lost);
    script->told[at] = s->shards[at].value;
    script->wrote = true;
}

static void judge_answer(struct walk *w, const struct state *s, const struct script *script) {
    if (may_fail(w)) {
        return;
    }
    found(w, script->told[0] == script->told[1], "an answer of two moments");
    found(w, script->told[0] > script->floor, "an answer of before it began");
    for (unsigned i = 0; i < SCRIPTS; i++) {
        const struct script *other = &s->scripts[i];
        found(w, other == script || other->end != ADDED || other->told[0] != script->told[0],
              "two answers of one moment");
    }
}

static void run_over(struct walk *w, struct state *s, unsigned i, bool killed) {
    struct script *script = &s->scripts[i];
    struct shard *shard = &s->shards[script->home];
    shard->killed = false;
    w->killed += killed;
    if (!killed) {
        judge_answer(w, s, script);
    }
    unsigned leader = shard->asks_view;
    bool rode = leader > 0 && leader != i + 1 && s->scripts[leader - 1].phase == OVER_NEXT &&
                script->kind == FAR;
    if (rode) {
        w->rode++;
        end(s, i, killed ? KILLED : ADDED);
        shard->running = (uint8_t)leader;
        if (w->fault == FAULT_RIDES_TWICE) {
            script->phase = IN_LINE;
            script->wrote = false;
            push(shard->line, (uint8_t)(i + 1));
        }
        return;
    }
    script->phase = OVER_NEXT;
    script->end = killed ? KILLED : ADDED;
    if (w->fault == FAULT_LATE_RIDE) {
        post(s, 1 - script->home, OVER, i);
    }
}

/* SCRIPT KILL has said so, and it has done nothing. */
static bool is_killed(const struct state *s, unsigned i) {
    return s->shards[s->scripts[i].home].killed;
}

static void view_on(struct walk *w, struct state *s, unsigned i) {
    struct script *script = &s->scripts[i];
    unsigned home = script->home;
    switch (script->pc++) {
    case 0:
        if (is_killed(s, i)) {
            run_over(w, s, i, true);
            return;
        }
        touch(w, s, home);
        break;
    case 1: /* who is about to write looks once more, as nobody can end it after that */
        s->shards[home].viewed = false;
        if (is_killed(s, i)) {
            run_over(w, s, i, true);
            return;
        }
        if (!script->again || w->fault == FAULT_WRITES_TWICE) {
            add_one(w, s, home, script);
        }
        if (w->fault == FAULT_LATE_VIEW) {
            post(s, 1 - home, OVER, i);
        }
        break;
    case 2:
        if (is_killed(s, i)) {
            run_over(w, s, i, true);
            return;
        }
        touch(w, s, 1 - home);
        break;
    case 3:
        add_one(w, s, 1 - home, script);
        s->shards[1 - home].viewed = false;
        run_over(w, s, i, false);
        break;
    }
}

static void over(struct walk *w, struct state *s, unsigned i) {
    struct script *script = &s->scripts[i];
    unsigned home = script->home;
    bool told = w->fault == FAULT_LOST_OVER || w->fault == FAULT_LATE_RIDE ||
                (w->fault == FAULT_LATE_VIEW && script->pc > 1);
    if (!told) {
        post(s, 1 - home, OVER, i);
    }
    s->shards[home].running = 0;
    end(s, i, (enum end)script->end);
    give_back(w, s, i);
    unseal(w, s, i);
    if (s->shards[home].asks_view == i + 1) {
        riders_end(w, s, home);
    }
}

/* On its own shard, with no lock. */
static void run_on(struct walk *w, struct state *s, unsigned i) {
    struct script *script = &s->scripts[i];
    struct shard *shard = &s->shards[script->home];
    if (is_killed(s, i)) {
        w->killed++;
        shard->running = shard->killed = 0;
        end(s, i, KILLED);
    } else if (script->kind == DIRTY && !script->wrote) {
        found(w, !is_touched(s, script->home), "two touch one shard");
        add_one(w, s, script->home, script);
    } else {
        script->again = script->wrote;
        if (script->again && w->fault != FAULT_NO_SEAL) {
            w->sealed++;
            script->seal = shard->seal_asks = draw(s);
            shard->seal = (uint8_t)(i + 1);
        }
        shard->running = shard->killed = 0;
        ask(w, s, i);
    }
}

static bool any_sealed(const struct state *s) {
    return s->shards[0].seal > 0 || s->shards[1].seal > 0;
}

static bool begin(struct walk *w, struct state *s, unsigned i) {
    struct script *script = &s->scripts[i];
    struct shard *shard = &s->shards[script->home];
    bool everywhere = script->kind == FAR || any_sealed(s);
    if (!everywhere && is_locked(s, script->home)) {
        return false; /* it waits till the key is free */
    }
    for (unsigned other = 0; other < SCRIPTS; other++) {
        const struct script *before = &s->scripts[other];
        if (before->phase == ENDED && before->end == ADDED && before->told[0] > script->floor) {
            script->floor = before->told[0];
        }
    }
    if (script->kind == FAR && shard->asks_view > 0) {
        script->phase = IN_LINE;
        push(shard->line, (uint8_t)(i + 1));
    } else if (everywhere) {
        shard->asks_view = script->kind == FAR ? (uint8_t)(i + 1) : shard->asks_view;
        ask(w, s, i);
    } else {
        script->phase = RUNS;
        shard->running = (uint8_t)(i + 1);
    }
    return true;
}

/* ---- Steps ---- */

static bool is_busy(const struct shard *shard) {
    return shard->running > 0 || shard->wheel;
}

static bool step_script(struct walk *w, struct state *s, unsigned i) {
    struct script *script = &s->scripts[i];
    struct shard *shard = &s->shards[script->home];
    bool runs = shard->running == i + 1 && !shard->wheel;
    bool may_begin = !is_busy(shard) && !shard->parked && script->kind != NOBODY;
    switch ((enum phase)script->phase) {
    case STARTS:
        return may_begin && begin(w, s, i);
    case ASKS_AGAIN:
        if (may_begin) {
            ask(w, s, i);
        }
        return may_begin;
    case RUNS:
        if (runs) {
            run_on(w, s, i);
        }
        return runs;
    case VIEWS:
        if (runs) {
            view_on(w, s, i);
        }
        return runs;
    case OVER_NEXT: /* the next rider */
        if (runs && shard->asks_view == i + 1 && shard->riders[0] > 0) {
            shard->running = pop(shard->riders);
            s->scripts[shard->running - 1].phase = VIEWS;
            s->scripts[shard->running - 1].pc = 0;
            return true;
        }
        return false;
    default:
        return false;
    }
}

/* All is done; or no time is left for those that would still ride. */
static bool step_over(struct walk *w, struct state *s, unsigned i) {
    bool may = s->scripts[i].phase == OVER_NEXT && s->shards[s->scripts[i].home].running == i + 1;
    if (may) {
        over(w, s, i);
    }
    return may;
}

/* Who is parked takes nothing but the word to go on. */
static bool step_message(struct walk *w, struct state *s, unsigned at) {
    struct shard *shard = &s->shards[at];
    unsigned n = 0;
    while (shard->parked && shard->box[n] != NOTHING && shard->box[n] != OVER) {
        n++;
    }
    enum message message = (enum message)shard->box[n];
    if (is_busy(shard) || message == NOTHING) {
        return false;
    }
    unsigned i = shard->of[n];
    memmove(shard->box + n, shard->box + n + 1, ROOM - 1 - n);
    memmove(shard->of + n, shard->of + n + 1, ROOM - 1 - n);
    shard->box[ROOM - 1] = shard->of[ROOM - 1] = 0;
    switch (message) {
    case LOCK:
        submit(w, s, at, i);
        break;
    case RELEASE:
        release(w, s, at, i);
        break;
    case GRANTED:
    case REFUSED:
        answered(w, s, i, message == GRANTED);
        break;
    case PARK:
        shard->parked = true;
        post(s, 1 - at, PARKED, i);
        break;
    case PARKED:
        if (s->scripts[i].phase == PARKS) {
            s->scripts[i].phase = VIEWS;
            shard->running = (uint8_t)(i + 1);
        }
        break;
    case OVER:
        shard->parked = false;
        break;
    case NOTHING:
        break;
    }
    return true;
}

static bool step_wheel(struct walk *w, struct state *s, unsigned at, bool *ret_own) {
    struct shard *shard = &s->shards[at];
    if (shard->wheel) {
        shard->wheel = false;
        return true;
    }
    if (!w->scenario->wheels || is_busy(shard) || (shard->parked && w->fault != FAULT_WHEEL)) {
        return false;
    }
    found(w, !is_touched(s, at), "two touch one shard");
    shard->wheel = *ret_own = true;
    return true;
}

/* An operation on one key. */
static bool step_reader(struct walk *w, struct state *s, unsigned n) {
    struct reader *reader = &s->readers[n];
    unsigned at = (n + reader->steps) % SHARDS;
    const struct shard *shard = &s->shards[at];
    if (!w->scenario->reads || reader->steps == SHARDS || is_busy(shard) || shard->parked ||
        is_locked(s, at)) {
        return false;
    }
    found(w, shard->value >= reader->seen, "half of a script was seen");
    reader->seen = shard->value;
    reader->steps++;
    return true;
}

static bool step_kill(struct walk *w, struct state *s, unsigned at) {
    struct shard *shard = &s->shards[at];
    if (s->kills == 0 || shard->running == 0 || shard->killed) {
        return false;
    }
    const struct script *script = &s->scripts[shard->running - 1];
    bool wrote = w->fault == FAULT_KILLS_AGAIN ? script->wrote && !script->again : script->wrote;
    if (script->phase == OVER_NEXT || (wrote && w->fault != FAULT_KILLS_HALF)) {
        return false; /* -UNKILLABLE */
    }
    shard->killed = true;
    s->kills--;
    return true;
}

/* `n` names a step; false: there are no more. */
static bool step(struct walk *w, struct state *s, unsigned n, bool *ret_moves, bool *ret_own) {
    *ret_own = false;
    if (n < SCRIPTS) {
        *ret_moves = step_script(w, s, n);
    } else if ((n -= SCRIPTS) < SCRIPTS) {
        *ret_moves = step_over(w, s, n);
    } else if ((n -= SCRIPTS) < SHARDS) {
        *ret_moves = step_message(w, s, n);
    } else if ((n -= SHARDS) < SHARDS) {
        *ret_moves = step_wheel(w, s, n, ret_own);
    } else if ((n -= SHARDS) < SHARDS) {
        *ret_moves = step_kill(w, s, n);
        *ret_own = *ret_moves;
    } else if ((n -= SHARDS) < READERS) {
        *ret_moves = step_reader(w, s, n);
    } else {
        return false;
    }
    return true;
}

/* ---- The walk ---- */

static uint32_t hash_of(const struct state *s) {
    const uint8_t *bytes = (const uint8_t *)s;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *s; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return (uint32_t)(hash ^ (hash >> 29));
}

static uint32_t add(struct walk *w, const struct state *s) {
    uint32_t at = hash_of(s) & w->mask;
    for (; w->table[at] != 0; at = (at + 1) & w->mask) {
        if (memcmp(&w->states[w->table[at] - 1], s, sizeof *s) == 0) {
            return w->table[at] - 1;
        }
    }
    cr_assert_lt(w->count, w->room);
    w->states[w->count++] = *s;
    w->table[at] = w->count;
    return w->count - 1;
}

static void add_edge(struct walk *w, uint32_t from, uint32_t to) {
    if (w->edges_count == w->edges_room) {
        w->edges_room = w->edges_room * 2 + 1024;
        w->edges = realloc(w->edges, w->edges_room * sizeof *w->edges);
    }
    w->edges[w->edges_count++] = (struct edge){from, to};
}

/* Two that refuse each other again and again take steps for ever. */
static void judge_ways(struct walk *w, bool *reaches) {
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = w->edges_count; i-- > 0;) {
            const struct edge *edge = &w->edges[i];
            if (reaches[edge->to] && !reaches[edge->from]) {
                reaches[edge->from] = more = true;
            }
        }
    }
    for (uint32_t i = 0; i < w->count; i++) {
        found(w, reaches[i], "no way leads to an end");
    }
}

static void judge_end(struct walk *w, const struct state *s) {
    unsigned added = 0, half[SHARDS] = {0, 0}, failed = 0;
    for (unsigned i = 0; i < SCRIPTS; i++) {
        const struct script *script = &s->scripts[i];
        found(w, script->kind == NOBODY || script->phase == ENDED, "a script waits for ever");
        added += script->end == ADDED;
        failed += script->end == FAILED;
        half[script->home] += script->end == FAILED;
    }
    for (unsigned at = 0; at < SHARDS; at++) {
        const struct shard *shard = &s->shards[at];
        found(w, !shard->parked && !is_locked(s, at) && shard->box[0] == NOTHING,
              "something is parked, locked, sealed or away");
        found(w, shard->value == added + half[at], "the values are not what was answered");
        found(w, !w->scenario->reads || s->readers[at].steps == SHARDS, "a reader waits for ever");
    }
    found(w, failed <= 1, "two have given up");
    w->ends++;
}

static struct walk walk(enum fault fault, const struct scenario *scenario) {
    enum { STATES = 1 << 20 };
    struct walk w = {
        .fault = fault,
        .scenario = scenario,
        .states = malloc(STATES * sizeof *w.states),
        .table = calloc((size_t)STATES * 2, sizeof *w.table),
        .room = STATES,
        .mask = STATES * 2 - 1,
    };
    struct state first;
    memset(&first, 0, sizeof first);
    first.kills = scenario->kills;
    for (unsigned i = 0; i < SCRIPTS; i++) {
        first.scripts[i].kind = scenario->kinds[i];
        first.scripts[i].home = scenario->homes[i];
    }
    bool *ends = calloc(STATES, sizeof *ends);
    add(&w, &first);
    for (uint32_t at = 0; at < w.count && w.found == NULL; at++) {
        bool any = false, moves, own;
        struct state next = w.states[at];
        for (unsigned n = 0; step(&w, &next, n, &moves, &own); n++) {
            any |= moves && !own;
            if (moves) {
                rank(&next);
                add_edge(&w, at, add(&w, &next));
            }
            next = w.states[at];
        }
        if (!any) {
            judge_end(&w, &w.states[at]);
            ends[at] = true;
        }
    }
    if (w.found == NULL) {
        judge_ways(&w, ends);
    }
    free(ends);
    free(w.edges);
    free(w.states);
    free(w.table);
    return w;
}

static const struct scenario scenarios[] = {
    {{CLEAN, CLEAN}, {0, 1}, 1, true, true},
    {{DIRTY, CLEAN}, {0, 1}, 1, true, true},
    {{DIRTY, FAR}, {0, 1}, 1, true, true},
    {{DIRTY, CLEAN}, {0, 0}, 1, true, false},
    {{DIRTY, FAR, CLEAN}, {0, 1, 1}, 0, false, false},
    {{DIRTY, DIRTY}, {0, 1}, 1, false, true},
    {{DIRTY, DIRTY, FAR}, {0, 1, 0}, 0, false, false},
    {{FAR, FAR, FAR}, {0, 0, 0}, 1, false, true},
    {{FAR, FAR, CLEAN}, {0, 0, 1}, 1, false, false},
    {{FAR, FAR, DIRTY}, {0, 0, 1}, 1, true, false},
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

Test(escape, no_interleaving_shows_half_of_a_script_or_keeps_one_for_ever) {
    struct walk all = {.fault = FAULT_NONE};
    for (size_t i = 0; i < SCENARIOS; i++) {
        struct walk w = walk(FAULT_NONE, &scenarios[i]);
        cr_assert_null(w.found, "scenario %zu: %s", i, w.found);
        cr_assert_gt(w.ends, 0);
        fprintf(stderr, "scenario %zu: %u states\n", i, w.count);
        all.refusals += w.refusals;
        all.sealed += w.sealed;
        all.kept_out += w.kept_out;
        all.rode += w.rode;
        all.left += w.left;
        all.killed += w.killed;
        all.failed += w.failed;
    }
    cr_assert_gt(all.refusals, 0, "a number came too late");
    cr_assert_gt(all.sealed, 0, "one had written when it began anew");
    cr_assert_gt(all.kept_out, 0, "somebody was kept out by that");
    cr_assert_gt(all.rode, 0, "one had its ride");
    cr_assert_gt(all.left, 0, "one was left behind");
    cr_assert_gt(all.killed, 0, "one was killed");
    cr_assert_gt(all.failed, 0, "of two that had written one gave up");
}

Test(escape, the_walk_finds_each_fault) {
    for (enum fault fault = FAULT_NONE + 1; fault < FAULTS; fault++) {
        const char *what = NULL;
        for (size_t i = 0; i < SCENARIOS && what == NULL; i++) {
            what = walk(fault, &scenarios[i]).found;
        }
        cr_assert_not_null(what, "fault %d", (int)fault);
        fprintf(stderr, "fault %d: %s\n", (int)fault, what);
    }
}
