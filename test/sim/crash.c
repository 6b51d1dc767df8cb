/* SPDX-License-Identifier: BSD-3-Clause */
/* crash: a scenario for main.c: one server whose data lie on a simulated disk, and users that
 * write, read and save, while it ends by force again and again. A run has a few lives:
 *
 *     start    from what the disk has left, perhaps with errors, perhaps killed in the middle of
 * it; without errors it must succeed judge    one reads everything, and the ledger (ledger.h) says
 * whether that can be work     users write, move and read; one saves; the disk fails, as the seed
 * says end      kill -9, a loss of power, or a stop in good order, at any moment; often soon after
 * a save has begun
 *
 * What is promised: what was known when a save was asked for that was answered. With a log, what
 * was known at the end, as far as appendfsync promises it.
 */
#include "test/sim/scenario.h"

#include "base/check.h"
#include "base/must.h"
#include "server/persistence/save.h"
#include "server/persistence/wal.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"
#include "test/sim/ledger.h"
#include "test/sim/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS           UINT64_C(1000000)
#define SECOND       (1000 * MS)
#define USERS_MAX    7
#define ITEMS_MAX    4
#define SETTINGS_MAX 16
#define STEP_NS      2000
/* A start, or what is asked of a healthy server, takes no longer. */
#define PATIENCE (20 * SECOND)
/* With appendfsync everysec and a disk that is well, no more than so much is lost. */
#define EVERYSEC_NS (1 * SECOND + 200 * MS)
/* A reply that has left arrives within that time. */
#define ON_ITS_WAY_NS (5 * MS)
/* The clock of a turn is no older, with all that may hold the turn up. */
#define TURN_NS (20 * MS)

enum crash_reached {
    REACHED_KILLS,
    REACHED_POWER_CUTS,
    REACHED_STOPS,
    REACHED_SAVES,
    REACHED_BACKGROUND_SAVES,
    REACHED_SAVES_FAILED,
    REACHED_ASKED_SCRIPTS,
    REACHED_SEALED,
    REACHED_REWRITES,
    REACHED_FLUSHES,
    REACHED_FLUSHED,
    REACHED_SWITCHES,
    REACHED_FSYNCS,
    REACHED_AGES,
    REACHED_CRASHES_IN_SAVES,
    REACHED_CRASHES_IN_STARTS,
    REACHED_STARTS_REFUSED, /* the disk failed meanwhile */
    REACHED_ASKED_LOADING,
    REACHED_PROMISED,
    REACHED_SURVIVED,
    REACHED_KNOWN_GONE, /* that nobody had promised */
    REACHED_CRASH_COUNT,
};

const unsigned reached_count = REACHED_CRASH_COUNT;
const uint64_t reached_with_log = UINT64_C(1) << REACHED_REWRITES |
                                  UINT64_C(1) << REACHED_SWITCHES | UINT64_C(1) << REACHED_FSYNCS |
                                  UINT64_C(1) << REACHED_AGES;
const bool scenario_leaks = true;

const char *reached_name(unsigned reached) {
    static const char *const names[REACHED_CRASH_COUNT] = {
        [REACHED_KILLS] = "kills",
        [REACHED_POWER_CUTS] = "losses of power",
        [REACHED_STOPS] = "stops",
        [REACHED_SAVES] = "SAVEs",
        [REACHED_BACKGROUND_SAVES] = "BGSAVEs",
        [REACHED_REWRITES] = "BGREWRITEAOFs",
        [REACHED_FLUSHES] = "flushes",
        [REACHED_FLUSHED] = "writes that a flush has taken along",
        [REACHED_ASKED_SCRIPTS] = "scripts",
        [REACHED_SEALED] = "sealed shards",
        [REACHED_SWITCHES] = "changes of appendonly",
        [REACHED_FSYNCS] = "changes of appendfsync",
        [REACHED_AGES] = "answers of log_unsynced_ms",
        [REACHED_SAVES_FAILED] = "saves that failed",
        [REACHED_CRASHES_IN_SAVES] = "ends while one saved",
        [REACHED_CRASHES_IN_STARTS] = "ends of a start",
        [REACHED_STARTS_REFUSED] = "starts that failed with the disk",
        [REACHED_ASKED_LOADING] = "questions while it loaded",
        [REACHED_PROMISED] = "promised writes",
        [REACHED_SURVIVED] = "writes found by a start",
        [REACHED_KNOWN_GONE] = "known writes gone that were not promised",
    };
    return names[reached];
}

enum item_kind {
    ITEM_WRITE,
    ITEM_READ,
    ITEM_MOVE,
    ITEM_JUDGE,
    ITEM_SAVE,
    ITEM_BGSAVE,
    ITEM_REWRITE,
    ITEM_SWITCH, /* CONFIG SET appendonly */
    ITEM_FSYNC,  /* CONFIG SET appendfsync */
    ITEM_POLL,   /* INFO: is a BGSAVE over? And what of the log is on the disk? */
};

/* What was asked, and is answered by so many replies. */
struct item {
    enum item_kind kind;
    uint64_t number;
    unsigned mask, replies;
    uint64_t asked_ns;
    bool dirty; /* a script that may be half done when it begins anew */
};

struct crash_run;

struct crash_user {
    struct crash_run *run;
    unsigned index;
    struct sim_peer *peer;
    struct text in, out;
    size_t out_sent;
    struct item items[ITEMS_MAX];
    unsigned count;
    uint64_t step_ns;
    uint64_t rest_until_ns;
    uint64_t saving_ns; /* a BGSAVE was begun then, or 0 */
    uint64_t saves;     /* so many had succeeded when it was known to have begun */
};

enum promise { PROMISE_SAVES, PROMISE_LOG_NO, PROMISE_LOG_EVERYSEC, PROMISE_LOG_ALWAYS };

struct crash_run {
    struct rng rng;
    struct world *world;
    struct sim *sim;
    struct arena arena;
    struct ledger *ledger;
    struct bytes settings[2 * SETTINGS_MAX];
    char texts[SETTINGS_MAX][32];
    size_t settings_count;
    bool log, changes;                   /* at run time */
    enum promise promise, promise_first; /* now; at the start of a life */
    uint64_t promised_ns;                /* since then */
    bool watches;                        /* somebody asks for log_unsynced_ms all the time */
    uint64_t synced_ns;   /* what was known before is on the disk, as the server has said */
    bool changing;        /* a change of it is asked for */
    bool switches;        /* the log was ended in this life, by a command */
    bool recorded;        /* the log promised, as it was last looked at, */
    uint64_t recorded_ns; /* or did then */
    uint64_t looked_ns;
    /* A log began: what was answered between its snapshot's cut and its promise waited for nothing,
     * and is not in the snapshot. */
    bool begins;
    uint64_t off_ns; /* appendonly no was answered then, and nothing else was asked for; or 0 */
    uint64_t begins_from_ns, begins_until_ns;
    bool kernel_keeps; /* what was promised: the power must stay until it was judged, and no sync
                          fail, with which the kernel lets go of it */
    bool saves_last;   /* what was saved is what a start finds */
    bool save_points;
    bool saving;                  /* when it was last looked at */
    uint64_t saves_made;          /* saves that succeeded, of whoever wanted one */
    struct sim_disk_options disk; /* without errors */
    bool fails;                   /* the disk, in this life */
    struct crash_user users[USERS_MAX];
    unsigned users_count;
    unsigned saves; /* chance of a user's turn, in 64 */
    bool flushes;
    bool scripts;
    bool dirty_away; /* one of two that are half done at a time may give up: so there is one */
    bool working;    /* users ask */
    bool finishing;  /* they ask for nothing new */
    bool slowly;     /* and take their time */
    bool judged;
    uint64_t answered;
    uint64_t last_save_asked_ns;
    uint64_t unsafe_ns; /* the last moment at which reads did not wait for the log */
    /* Syncs that had failed when this life began. With one goes what was answered when it was
     * written, and not yet synced. */
    uint64_t failed_syncs;
    uint64_t reached[REACHED_CRASH_COUNT];
    struct text why;
};

static uint64_t draw(struct crash_run *run, uint64_t first, uint64_t last) {
    return first + rng_below(&run->rng, last - first + 1);
}

static bool one_in(struct crash_run *run, unsigned n) {
    return rng_below(&run->rng, n) == 0;
}

static void set(struct crash_run *run, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void set(struct crash_run *run, const char *name, const char *format, ...) {
    check(run->settings_count < SETTINGS_MAX);
    size_t i = run->settings_count++;
    va_list args;
    va_start(args, format);
    vsnprintf(run->texts[i], sizeof run->texts[i], format, args);
    va_end(args);
    run->settings[2 * i] = bytes_of_text(name);
    run->settings[2 * i + 1] = bytes_of_text(run->texts[i]);
}

/* ---- Users ---- */

static void step(void *arg, uint64_t token);

static void step_soon(struct crash_user *user, uint64_t delay_ns) {
    uint64_t at = sim_now_ns(user->run->sim) + 1 + delay_ns;
    if (user->step_ns > at || user->step_ns <= sim_now_ns(user->run->sim)) {
        user->step_ns = at;
        sim_after(user->run->sim, 1 + delay_ns, step, user, at);
    }
}

static void on_change(void *arg) {
    step_soon(arg, rng_below(&((struct crash_user *)arg)->run->rng, STEP_NS));
}

static void hang_up(struct crash_user *user) {
    if (user->peer != NULL) {
        sim_peer_close(user->peer);
        user->peer = NULL;
    }
    user->count = 0;
    user->saving_ns = 0;
    user->run->changing &= user->index != 0;
    user->out_sent = 0;
    text_clear(&user->in);
    text_clear(&user->out);
}

static void wrong(struct crash_run *run) __attribute__((noreturn));

static void wrong(struct crash_run *run) {
    world_fail(run->world, "%s", run->why.ptr);
}

static struct item *ask(struct crash_user *user, enum item_kind kind) {
    check(user->count < ITEMS_MAX);
    struct item *item = &user->items[user->count++];
    *item = (struct item){.kind = kind, .replies = 1, .asked_ns = sim_now_ns(user->run->sim)};
    return item;
}

static void ask_write(struct crash_user *user) {
    struct crash_run *run = user->run;
    struct item *item = ask(user, ITEM_WRITE);
    enum ledger_manner manner = LEDGER_COMMANDS;
    if (run->scripts && one_in(run, 2)) {
        item->dirty = !run->dirty_away && one_in(run, 2);
        run->dirty_away |= item->dirty;
        run->reached[REACHED_ASKED_SCRIPTS]++;
        manner = item->dirty ? LEDGER_DIRTY_SCRIPT : LEDGER_SCRIPT;
    }
    item->number =
        ledger_write(run->ledger, &run->rng, item->asked_ns, manner, &user->out, &item->replies);
}

static void ask_flush(struct crash_user *user) {
    struct crash_run *run = user->run;
    struct item *item = ask(user, ITEM_WRITE);
    item->number = ledger_flush(run->ledger, &run->rng, item->asked_ns, &user->out, &item->replies);
    run->reached[REACHED_FLUSHES]++;
}

static void ask_read(struct crash_user *user, enum item_kind kind, unsigned mask) {
    struct item *item = ask(user, kind);
    item->mask = mask;
    ledger_read(mask, &user->out, &item->replies);
}

static void ask_save(struct crash_user *user, bool background) {
    struct crash_run *run = user->run;
    const struct item *item = ask(user, background ? ITEM_BGSAVE : ITEM_SAVE);
    run->last_save_asked_ns = item->asked_ns;
    wire_requestf(&user->out, background ? "BGSAVE" : "SAVE");
}

static const char *const fsyncs[] = {"no", "everysec", "always"};

/* The weaker of both is promised until it is answered. */
static void ask_change(struct crash_user *user) {
    struct crash_run *run = user->run;
    run->changing = true;
    if (one_in(run, 2)) {
        bool on = run->switches && !one_in(run, 4);
        ask(user, ITEM_SWITCH)->number = on;
        run->off_ns = on ? 0 : run->off_ns;
        wire_requestf(&user->out, "CONFIG SET appendonly %s", on ? "yes" : "no");
        run->switches = true;
    } else {
        enum promise kind = PROMISE_LOG_NO + (unsigned)draw(run, 0, 2);
        struct item *item = ask(user, ITEM_FSYNC);
        item->number = kind;
        wire_requestf(&user->out, "CONFIG SET appendfsync %s", fsyncs[kind - PROMISE_LOG_NO]);
        run->promise = kind < run->promise ? kind : run->promise;
    }
}

static void ask_info(struct crash_user *user) {
    ask(user, ITEM_POLL);
    wire_requestf(&user->out, "INFO persistence");
}

static void ask_something(struct crash_user *user) {
    struct crash_run *run = user->run;
    unsigned choice = (unsigned)rng_below(&run->rng, 64);
    if (user->saving_ns != 0) {
        ask_info(user);
        return;
    }
    if (user->index == 0 && run->changes && !run->changing && one_in(run, 8)) {
        ask_change(user);
        return;
    }
    if (user->index == 0 && run->flushes && one_in(run, 30)) {
        ask_flush(user);
        return;
    }
    if (user->index == 0 && choice < run->saves && run->log && one_in(run, 4)) {
        ask(user, ITEM_REWRITE);
        wire_requestf(&user->out, "BGREWRITEAOF");
        return;
    }
    if (user->index == 0 && choice < run->saves) {
        ask_save(user, one_in(run, 2));
        return;
    }
    if (choice < 8) {
        ask_read(user, ITEM_READ, (unsigned)rng_below(&run->rng, LEDGER_ALL) + 1);
    } else if (choice < 20) {
        struct item *item = ask(user, ITEM_MOVE);
        ledger_move(&run->rng, &user->out, &item->replies);
    } else {
        ask_write(user);
    }
}

static bool has_line(struct bytes text, const char *line) {
    size_t n = strlen(line);
    for (size_t i = 0; i + n <= text.len; i++) {
        if (memcmp(text.ptr + i, line, n) == 0) {
            return true;
        }
    }
    return false;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Whatever appendfsync says, and whatever the disk does: that is no guess. */
static void note_age(struct crash_run *run, const struct item *item, struct bytes info) {
    static const char name[] = "log_unsynced_ms:";
    const char *found = memmem(info.ptr, info.len, name, sizeof name - 1);
    if (found == NULL || !run->recorded || item->asked_ns <= run->unsafe_ns) {
        return;
    }
    run->reached[REACHED_AGES]++;
    uint64_t age_ns = strtoull(found + sizeof name - 1, NULL, 10) * MS + TURN_NS;
    if (item->asked_ns > age_ns && item->asked_ns - age_ns > run->synced_ns) {
        run->synced_ns = item->asked_ns - age_ns;
    }
}

static void promise_since(struct crash_run *run, uint64_t after_ns, uint64_t before_ns) {
    uint64_t until_ns = run->begins_until_ns;
    run->reached[REACHED_PROMISED] += ledger_promise(
        run->ledger, after_ns, until_ns > 0 ? least(before_ns, run->begins_from_ns) : before_ns);
    if (until_ns > 0) {
        run->reached[REACHED_PROMISED] +=
            ledger_promise(run->ledger, after_ns > until_ns ? after_ns : until_ns, before_ns);
    }
}

static void promise(struct crash_run *run, uint64_t before_ns) {
    promise_since(run, 0, before_ns);
}

static void promise_of_save(struct crash_run *run, uint64_t asked_ns) {
    if (run->saves_last || (run->off_ns != 0 && run->off_ns < asked_ns)) {
        promise(run, asked_ns);
    }
}

/* The last reply to it. */
static void answered(struct crash_user *user, const struct item *item,
                     const struct wire_value *value) {
    struct crash_run *run = user->run;
    uint64_t now_ns = sim_now_ns(run->sim);
    bool fine = true;
    run->answered++;
    switch (item->kind) {
    case ITEM_WRITE:
        fine = ledger_written(run->ledger, item->number, now_ns, value, &run->why);
        run->dirty_away &= !item->dirty;
        break;
    case ITEM_READ:
        fine = ledger_seen(run->ledger, item->mask, item->asked_ns > run->unsafe_ns, now_ns, value,
                           &run->why);
        break;
    case ITEM_MOVE:
        break;
    case ITEM_JUDGE:
        if (value->type == '-') {
            run->reached[REACHED_ASKED_LOADING]++;
            user->rest_until_ns = now_ns + draw(run, 1, MS);
            break;
        }
        fine = ledger_judge(run->ledger, now_ns, value, &run->why);
        run->judged = true;
        break;
    case ITEM_SAVE:
        if (value->type == '+') {
            run->reached[REACHED_SAVES]++;
            promise_of_save(run, item->asked_ns);
        } else {
            run->reached[REACHED_SAVES_FAILED]++;
        }
        break;
    case ITEM_REWRITE:
        run->reached[REACHED_REWRITES] += value->type == '+';
        break;
    case ITEM_SWITCH:
        run->reached[REACHED_SWITCHES]++;
        run->changing = false;
        run->off_ns = item->number == 0 && value->type == '+' ? now_ns : 0;
        break;
    case ITEM_FSYNC:
        run->reached[REACHED_FSYNCS]++;
        run->promise = (enum promise)item->number;
        run->promised_ns = now_ns + ON_ITS_WAY_NS;
        run->changing = false;
        break;
    case ITEM_BGSAVE:
        user->saving_ns = value->type == '+' ? item->asked_ns : 0;
        user->saves = run->saves_made;
        break;
    case ITEM_POLL:
        note_age(run, item, value->text);
        if (user->saving_ns != 0 && has_line(value->text, "rdb_bgsave_in_progress:0")) {
            /* One that a flush has cancelled leaves the status as it was. */
            if (has_line(value->text, "rdb_last_bgsave_status:ok") &&
                run->saves_made > user->saves) {
                run->reached[REACHED_BACKGROUND_SAVES]++;
                promise_of_save(run, user->saving_ns);
            } else {
                run->reached[REACHED_SAVES_FAILED]++;
            }
            user->saving_ns = 0;
        }
        break;
    }
    if (!fine) {
        wrong(run);
    }
}

/* False: the connection is over. */
static bool read_replies(struct crash_user *user) {
    struct crash_run *run = user->run;
    size_t room = sim_peer_readable(user->peer);
    text_reserve(&user->in, room);
    ssize_t n = sim_peer_read(user->peer, user->in.ptr + user->in.len, room);
    if (n < 0) {
        return false;
    }
    user->in.len += (size_t)n;
    size_t used = 0;
    for (;;) {
        struct wire_value value;
        struct bytes rest = bytes_make(user->in.ptr + used, user->in.len - used);
        arena_reset(&run->arena);
        ssize_t bytes = value_read(rest, &run->arena, &value);
        if (bytes == 0) {
            break;
        }
        if (bytes < 0 || user->count == 0) {
            world_fail(run->world, "user %u: a reply that is none: %.*s", user->index,
                       (int)(rest.len < 80 ? rest.len : 80), rest.ptr);
        }
        used += (size_t)bytes;
        if (sim_prints(run->sim)) {
            struct text text;
            text_init(&text);
            value_print(&value, &text);
            sim_tell(run->sim, "user %u, item %d %llu: %.300s", user->index, user->items[0].kind,
                     (unsigned long long)user->items[0].number, text.ptr);
            text_fini(&text);
        }
        if (--user->items[0].replies == 0) {
            struct item item = user->items[0];
            user->count--;
            memmove(user->items, user->items + 1, user->count * sizeof(struct item));
            answered(user, &item, &value);
        }
    }
    memmove(user->in.ptr, user->in.ptr + used, user->in.len - used);
    user->in.len -= used;
    return !sim_peer_ended(user->peer) && !sim_peer_broken(user->peer);
}

static bool write_requests(struct crash_user *user) {
    while (user->out_sent < user->out.len) {
        ssize_t n = sim_peer_write(user->peer, user->out.ptr + user->out_sent,
                                   user->out.len - user->out_sent);
        if (n <= 0) {
            return n == 0;
        }
        user->out_sent += (size_t)n;
    }
    text_clear(&user->out);
    user->out_sent = 0;
    return true;
}

static void ask_more(struct crash_user *user) {
    struct crash_run *run = user->run;
    uint64_t now_ns = sim_now_ns(run->sim);
    if (user->count > 0 || run->finishing) {
        return;
    }
    if (now_ns < user->rest_until_ns) {
        step_soon(user, user->rest_until_ns - now_ns);
        return;
    }
    if (!run->working) {
        if (user->index == 0 && !run->judged) {
            ask_read(user, ITEM_JUDGE, LEDGER_ALL);
        }
        return;
    }
    unsigned replies;
    if (user->index == 0) {
        uint64_t number = ledger_fill(run->ledger, now_ns, &user->out, &replies);
        if (number != 0) {
            struct item *item = ask(user, ITEM_WRITE);
            item->number = number;
            item->replies = replies;
        }
    }
    for (unsigned n = (unsigned)draw(run, 1, ITEMS_MAX - 1); n > 0; n--) {
        ask_something(user);
    }
    if (user->index == 1 && run->watches) {
        ask_info(user);
    }
    user->rest_until_ns = now_ns + rng_below(&run->rng, run->slowly ? 80 * MS : 2 * MS);
}

static void step(void *arg, uint64_t token) {
    struct crash_user *user = arg;
    struct crash_run *run = user->run;
    if (user->step_ns != token) {
        return;
    }
    user->step_ns = UINT64_MAX;
    if (user->peer == NULL) {
        if (sim_dial(run->sim, world_port(run->world, 0), &user->peer) != 0) {
            user->peer = NULL;
            step_soon(user, MS);
            return;
        }
        sim_peer_on_change(user->peer, on_change, user);
    }
    if (!read_replies(user)) {
        hang_up(user);
        step_soon(user, draw(run, 1, MS));
        return;
    }
    ask_more(user);
    if (!write_requests(user)) {
        hang_up(user);
        step_soon(user, draw(run, 1, MS));
    }
}

static void step_all(struct crash_run *run) {
    for (unsigned i = 0; i < run->users_count; i++) {
        step_soon(&run->users[i], rng_below(&run->rng, STEP_NS));
    }
}

/* ---- The log ---- */

static unsigned logs_that_are(const struct server *server, enum wal_state state) {
    unsigned count = 0;
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct wal *wal = server->workers[i]->wal;
        count += wal != NULL && wal->state == state;
    }
    return count;
}

/* Of all workers: what they answer is in files. */
static bool log_promises(const struct server *server) {
    return shared_wal_error(server->shared) == 0 &&
           logs_that_are(server, WAL_ON) == server->workers_count;
}

static void look_for_begin(struct crash_run *run, const struct server *server, uint64_t now_ns) {
    if (logs_that_are(server, WAL_FILLING) > 0) {
        run->begins_from_ns = run->begins ? run->begins_from_ns : run->looked_ns;
        run->begins = true;
    } else if (run->begins) {
        run->begins = false;
        run->begins_until_ns = run->recorded ? now_ns + ON_ITS_WAY_NS : run->begins_until_ns;
    }
    run->looked_ns = now_ns;
}

static void look_at_saves(struct crash_run *run, const struct saver *saver) {
    bool ends = run->saving && saver->save == NULL;
    bool wanted = saver->purpose != SAVE_REWRITE && saver->purpose != SAVE_SYNC;
    run->saves_made += ends && wanted && saver->ended_well;
    run->saving = saver->save != NULL;
}

/* After each turn. While a log cannot be written, reads show what a crash may take back. */
static void look(void *arg) {
    struct crash_run *run = arg;
    const struct server *server = world_server(run->world, 0);
    if (server == NULL) {
        return;
    }
    look_at_saves(run, server->saver);
    if (!run->log) {
        return;
    }
    run->recorded = log_promises(server);
    *(run->recorded ? &run->recorded_ns : &run->unsafe_ns) = sim_now_ns(run->sim);
    look_for_begin(run, server, sim_now_ns(run->sim));
}

/* ---- Lives ---- */

static bool never(void *arg) {
    return false;
}

static bool is_judged(void *arg) {
    const struct crash_run *run = arg;
    return run->judged || world_stopped(run->world, 0);
}

static bool is_stopped(void *arg) {
    return world_stopped(((struct crash_run *)arg)->world, 0);
}

static bool all_answered(void *arg) {
    const struct crash_run *run = arg;
    for (unsigned i = 0; i < run->users_count; i++) {
        if (run->users[i].count > 0) {
            return false;
        }
    }
    return true;
}

static void let_pass(struct crash_run *run, uint64_t ns) {
    world_run(run->world, sim_now_ns(run->sim) + ns, never, NULL);
}

static unsigned sometimes(struct crash_run *run, unsigned max) {
    return one_in(run, 4) ? (unsigned)draw(run, 1, max) : 0;
}

static void disk_well(struct crash_run *run) {
    run->fails = false;
    sim_disk_set(world_disk(run->world, 0), &run->disk);
}

static void disk_ill(struct crash_run *run) {
    struct sim_disk_options disk = run->disk;
    disk.write_error = sometimes(run, 2000);
    disk.sync_error = sometimes(run, 6000);
    disk.name_error = sometimes(run, 6000);
    if (one_in(run, 6)) {
        disk.room_bytes = draw(run, 2000, 40000);
    }
    run->fails = disk.write_error + disk.sync_error + disk.name_error + disk.room_bytes > 0;
    sim_disk_set(world_disk(run->world, 0), &disk);
}

static enum sim_crash any_crash(struct crash_run *run) {
    return one_in(run, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER;
}

/* The kernel has all that was written. */
static bool kernel_has_all(const struct crash_run *run) {
    return sim_disk_failed_syncs(world_disk(run->world, 0)) == run->failed_syncs;
}

/* Behind this moment nothing was promised: a log that a command has ended, and that is not there
 * again. One that broke has promised all that was answered. */
static uint64_t log_end_ns(const struct crash_run *run) {
    return run->switches && !run->recorded ? run->recorded_ns : sim_now_ns(run->sim) + 1;
}

static void promise_of_log(struct crash_run *run, enum sim_crash crash) {
    uint64_t now_ns = sim_now_ns(run->sim), end_ns = log_end_ns(run);
    bool kept = run->promise != PROMISE_SAVES && crash == SIM_CRASH_KILL && kernel_has_all(run);
    run->kernel_keeps = kept && (run->promise != PROMISE_LOG_ALWAYS || run->promised_ns > 0);
    if (kept) {
        promise(run, end_ns);
    } else if (run->promise == PROMISE_LOG_ALWAYS) {
        promise_since(run, run->promised_ns, end_ns);
    } else if (run->promise == PROMISE_LOG_EVERYSEC && !run->fails && run->disk.stall == 0 &&
               now_ns > EVERYSEC_NS) {
        promise_since(run, run->promised_ns, least(now_ns - EVERYSEC_NS, end_ns));
    }
    if (!kept && run->promise != PROMISE_SAVES) {
        promise(run, least(run->synced_ns, end_ns));
    }
}

/* All that runs ends with the server. */
static void end_scripts(struct crash_run *run) {
    const struct server *server = world_server(run->world, 0);
    for (unsigned i = 0; server != NULL && i < server->workers_count; i++) {
        run->reached[REACHED_SEALED] += server->workers[i]->stats.seals;
    }
    run->dirty_away = false;
}

static void crash(struct crash_run *run, enum sim_crash how) {
    end_scripts(run);
    promise_of_log(run, how);
    disk_well(run); /* it does not fail at the very end */
    run->reached[how == SIM_CRASH_KILL ? REACHED_KILLS : REACHED_POWER_CUTS]++;
    run->working = run->finishing = run->judged = false;
    world_crash(run->world, 0, how);
    for (unsigned i = 0; i < run->users_count; i++) {
        hang_up(&run->users[i]);
    }
}

/* The disk fails while the server starts, or it is killed: what it finds the next time is no less.
 */
static void start_in_vain(struct crash_run *run) {
    struct sim_disk_options disk = run->disk;
    disk.read_error = one_in(run, 3) ? (unsigned)draw(run, 100, 20000) : 0;
    disk.write_error = disk.sync_error = disk.name_error = sometimes(run, 8000);
    disk.sync_error = run->kernel_keeps ? 0 : disk.sync_error;
    sim_disk_set(world_disk(run->world, 0), &disk);
    if (!world_start(run->world, 0)) {
        run->reached[REACHED_STARTS_REFUSED]++;
        return;
    }
    run->finishing = true;
    let_pass(run, draw(run, 1, one_in(run, 2) ? 5 * MS : MS / 2));
    if (world_stopped(run->world, 0)) {
        run->reached[REACHED_STARTS_REFUSED]++;
    } else {
        run->reached[REACHED_CRASHES_IN_STARTS] += world_loads(run->world, 0);
        world_crash(run->world, 0, run->kernel_keeps ? SIM_CRASH_KILL : any_crash(run));
    }
    run->finishing = false;
}

static void start(struct crash_run *run) {
    while (!world_is_up(run->world, 0) && one_in(run, 4)) {
        start_in_vain(run);
    }
    disk_well(run);
    run->promise = run->promise_first;
    run->promised_ns = run->synced_ns = 0;
    run->switches = run->changing = run->begins = false;
    run->begins_until_ns = run->off_ns = 0;
    run->saving = false;
    run->failed_syncs = sim_disk_failed_syncs(world_disk(run->world, 0));
    if (!world_is_up(run->world, 0) && !world_start(run->world, 0)) {
        char reason[512];
        snprintf(reason, sizeof reason, "%.500s", world_reason(run->world));
        world_fail(run->world, "it does not start: %s", reason);
    }
}

static void judge(struct crash_run *run) {
    run->judged = run->working = false;
    step_all(run);
    if (!world_run(run->world, sim_now_ns(run->sim) + PATIENCE, is_judged, run)) {
        world_fail(run->world, "nobody gets an answer after the start");
    }
    if (!run->judged) {
        const char *failure = world_load_failure(run->world, 0);
        world_fail(run->world, "it does not load: %s", failure != NULL ? failure : "it stops");
    }
}

static void work(struct crash_run *run) {
    if (one_in(run, 2)) {
        disk_ill(run);
    }
    run->working = true;
    run->last_save_asked_ns = 0;
    step_all(run);
    let_pass(run, draw(run, 1, one_in(run, 4) ? 400 * MS : 40 * MS));
    if (run->promise == PROMISE_LOG_EVERYSEC && one_in(run, 4)) {
        run->slowly = true;
        let_pass(run, draw(run, SECOND, 4 * SECOND));
        run->slowly = false;
    }
    if (one_in(run, 2)) { /* soon after the next save has begun */
        for (unsigned i = 0; i < 200 && run->last_save_asked_ns + MS / 5 < sim_now_ns(run->sim);
             i++) {
            let_pass(run, MS / 5);
        }
        let_pass(run, draw(run, 1, 6 * MS));
    }
}

static void stop(struct crash_run *run) {
    bool saves = run->promise == PROMISE_SAVES && run->save_points;
    disk_well(run);
    run->finishing = true;
    run->reached[REACHED_STOPS]++;
    uint64_t asked_ns = sim_now_ns(run->sim);
    end_scripts(run);
    run->dirty_away = true; /* they end by and by */
    world_signal(run->world, 0, SIGTERM);
    if (!world_run(run->world, asked_ns + PATIENCE, is_stopped, run)) {
        world_fail(run->world, "the server does not stop");
    }
    if (run->promise != PROMISE_SAVES && kernel_has_all(run)) {
        promise(run, log_end_ns(run));
    } else if (run->promise == PROMISE_LOG_ALWAYS) {
        promise_since(run, run->promised_ns, log_end_ns(run));
    } else if (saves) {
        promise(run, asked_ns);
    }
    if (one_in(run, 2)) {
        sim_disk_crash(world_disk(run->world, 0), SIM_CRASH_POWER);
    }
    for (unsigned i = 0; i < run->users_count; i++) {
        hang_up(&run->users[i]);
    }
    run->working = run->finishing = run->judged = run->dirty_away = false;
}

static bool saves_now(const struct crash_run *run) {
    return world_server(run->world, 0)->saver->save != NULL;
}

static void play(struct crash_run *run) {
    for (uint64_t lives = draw(run, 2, 6); lives > 0; lives--) {
        start(run);
        judge(run);
        work(run);
        if (world_stopped(run->world, 0)) {
            world_fail(run->world, "the server has stopped by itself");
        }
        if (one_in(run, 6)) {
            stop(run);
        } else {
            run->reached[REACHED_CRASHES_IN_SAVES] += saves_now(run);
            crash(run, any_crash(run));
        }
    }
    start(run);
    judge(run);
    run->working = true;
    step_all(run);
    let_pass(run, 20 * MS);
    run->finishing = true;
    if (!world_run(run->world, sim_now_ns(run->sim) + PATIENCE, all_answered, run)) {
        world_fail(run->world, "not every user gets an answer");
    }
    run->finishing = false;
    run->begins_until_ns = 0;
    promise(run, sim_now_ns(run->sim) + 1); /* it runs */
    judge(run);
}

/* ---- A run ---- */

static void make_settings(struct crash_run *run) {
    bool rdb = one_in(run, 3);
    set(run, "save-format", "%s", rdb ? "rdb" : "shoal");
    run->saves_last = !rdb || !run->log; /* else the log is the data, and they lie beside it */
    run->save_points = one_in(run, 3);
    set(run, "save", "%s", run->save_points ? "1 3" : "");
    if (run->log) {
        unsigned kind = (unsigned)draw(run, 0, 2);
        set(run, "appendonly", "yes");
        set(run, "appendfsync", "%s", fsyncs[kind]);
        run->promise_first = PROMISE_LOG_NO + kind;
        run->changes = one_in(run, 3);
    }
}

static void make_disk(struct crash_run *run) {
    uint64_t slow = one_in(run, 3) ? 20 : 1;
    run->disk = (struct sim_disk_options){
        .sector_bytes = one_in(run, 2) ? 512 : 4096,
        .latency_min_ns = 1000,
        .latency_max_ns = draw(run, 2000, 100000) * slow,
        .sync_min_ns = 20000,
        .sync_max_ns = draw(run, 50000, 1000000) * slow,
        .stall = sometimes(run, 3000),
        .stall_max_ns = 100 * MS,
    };
}

static void make_world(struct crash_run *run, uint64_t seed, void (*print)(void *, const char *),
                       void *arg) {
    make_settings(run);
    /* Else so little is loaded that whoever asks waits instead of being told. */
    set(run, "loading-process-events-interval-bytes", seed % 2 == 1 ? "1024" : "2097152");
    make_disk(run);
    struct world_options options = {
        .seed = seed,
        .servers = 1,
        .workers = (unsigned)draw(run, 1, 4),
        .settings = run->settings,
        .settings_count = run->settings_count,
        .recv_buffers = 64,
        .recv_buffer_bytes = 2048,
        .preempt = one_in(run, 3) ? (unsigned)draw(run, 100, 5000) : 0,
        .preempt_max_ns = 3 * MS,
        .short_slices = one_in(run, 2),
        .disks = &run->disk,
        .sim = {.seed = seed * 0x2545f4914f6cdd1du + 7,
                .wake_with_submit = one_in(run, 2),
                .buffer_min_bytes = 4096,
                .buffer_max_bytes = 65536,
                .faults = {.latency_min_ns = 1000,
                           .latency_max_ns = draw(run, 5000, 100000),
                           .defer = sometimes(run, 8000),
                           .shuffle = sometimes(run, 30000)},
                .print = print,
                .arg = arg},
    };
    run->world = world_new(&options);
    run->sim = world_sim(run->world);
    world_on_turn(run->world, look, run);
    for (size_t i = 0; i < 2 * run->settings_count; i += 2) {
        sim_tell(run->sim, "%s %s", run->settings[i].ptr, run->settings[i + 1].ptr);
    }
}

void scenario_run(uint64_t seed, bool log, void (*print)(void *arg, const char *line), void *arg,
                  struct scenario_result *ret) {
    memset(ret, 0, sizeof *ret);
    struct crash_run *run = must_calloc(1, sizeof *run);
    rng_seed(&run->rng, seed * 0x9e3779b97f4a7c15u + 3);
    run->log = log;
    run->scripts = seed % 3 == 1; /* not drawn: other runs stay what they were */
    run->watches = log && seed % 4 == 2;
    make_world(run, seed, print, arg);
    arena_init(&run->arena, 4096);
    text_init(&run->why);
    run->ledger = ledger_new();
    run->users_count = (unsigned)draw(run, 2, USERS_MAX);
    run->saves = (unsigned)draw(run, 1, 20);
    run->flushes = one_in(run, 3);
    for (unsigned i = 0; i < run->users_count; i++) {
        struct crash_user *user = &run->users[i];
        user->run = run;
        user->index = i;
        user->step_ns = UINT64_MAX;
        text_init(&user->in);
        text_init(&user->out);
    }
    uint64_t start_ns = sim_now_ns(run->sim);
    ret->ok = setjmp(*world_failure(run->world)) == 0;
    if (ret->ok) {
        play(run);
    } else {
        snprintf(ret->reason, sizeof ret->reason, "%s", world_reason(run->world));
    }
    const struct ledger_counts *counts = ledger_counts(run->ledger);
    run->reached[REACHED_SURVIVED] = counts->survived;
    run->reached[REACHED_KNOWN_GONE] = counts->known_gone;
    run->reached[REACHED_FLUSHED] = counts->flushed;
    memcpy(ret->reached, run->reached, sizeof run->reached);
    ret->hash = sim_trace_hash(run->sim);
    ret->events = sim_trace_events(run->sim);
    ret->answered = run->answered;
    ret->virtual_ns = sim_now_ns(run->sim) - start_ns;
}
