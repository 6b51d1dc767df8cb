/* SPDX-License-Identifier: BSD-3-Clause */
/* latency_show: what LATENCY answers: the spikes of all workers merged. Apart from noting them, as
 * every call may, and to ask all workers is a call, too.
 */
#include "base/must.h"
#include "base/text.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/scatter.h"
#include "server/observe/latency.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] = "command",
    [LATENCY_FAST_COMMAND] = "fast-command",
    [LATENCY_TURN] = "turn",
    [LATENCY_EXPIRE_CYCLE] = "expire-cycle",
    [LATENCY_EVICTION_CYCLE] = "eviction-cycle",
    [LATENCY_EVICTION_DEL] = "eviction-del",
    [LATENCY_AOF_WRITE] = "aof-write",
    [LATENCY_AOF_FSYNC_ALWAYS] = "aof-fsync-always",
    [LATENCY_AOF_FSYNC] = "aof-fsync",
    [LATENCY_SAVE_CYCLE] = "save-cycle",
};

/* ---- Asking all workers ---- */

enum question { LATEST, HISTORY, GRAPH, DOCTOR };

struct asked {
    enum question question;
    int event; /* LATENCY_EVENTS: all of them; -1: there is no such thing */
};

static int event_of(struct bytes name) {
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        if (bytes_equal(name, bytes_of_text(names[i]))) {
            return i;
        }
    }
    return -1;
}

const char *latency_event_name(enum latency_event event) {
    return names[event];
}

void latency_take(const struct worker *worker, int event, struct latency_part *ret) {
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        const struct spikes *from = worker->latency.events[i];
        ret->events[i] = NULL;
        if (from != NULL && (event == LATENCY_EVENTS || event == i)) {
            ret->events[i] = must_malloc(sizeof *from);
            memcpy(ret->events[i], from, sizeof *from);
        }
    }
}

static bool take_part(struct worker *worker, const void *args, void *result) {
    latency_take(worker, ((const struct asked *)args)->event, result);
    return true;
}

void latency_merge(struct latency_part *const *parts, unsigned parts_count,
                   struct latency_part *ret) {
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        ret->events[i] = NULL;
        for (unsigned part = 0; part < parts_count; part++) {
            struct spikes *from = parts[part]->events[i];
            if (ret->events[i] == NULL) {
                ret->events[i] = from;
            } else if (from != NULL) {
                spikes_merge(ret->events[i], from);
                free(from);
            }
        }
    }
}

static struct latency_part *const *parts_of(const struct scatter_result *result) {
    return (struct latency_part *const *)result->parts;
}

/* ---- LATEST, HISTORY ---- */

static const struct spike *newest(const struct spikes *spikes) {
    return spikes_at(spikes, spikes->count - 1);
}

static void reply_latest(struct exec *x, struct spikes *const events[LATENCY_EVENTS]) {
    size_t count = 0;
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        count += events[i] != NULL;
    }
    reply_array(x->reply, count);
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        const struct spikes *spikes = events[i];
        if (spikes != NULL) {
            reply_array(x->reply, 6);
            reply_bulk_text(x->reply, names[i]);
            reply_int(x->reply, newest(spikes)->at_s);
            reply_int(x->reply, newest(spikes)->ms);
            reply_int(x->reply, spikes->max_ms);
            reply_int(x->reply, spikes->sum_ms);
            reply_int(x->reply, (int64_t)spikes->all);
        }
    }
}

static void reply_history(struct exec *x, const struct spikes *spikes) {
    uint32_t count = spikes != NULL ? spikes->count : 0;
    reply_array(x->reply, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_array(x->reply, 2);
        reply_int(x->reply, spikes_at(spikes, i)->at_s);
        reply_int(x->reply, spikes_at(spikes, i)->ms);
    }
}

/* ---- GRAPH ---- */

#define GRAPH_COLUMNS 80
#define GRAPH_ROWS    4
static const char graph_levels[] = {'_', 'o', '#'}; /* of a row; above, it is full */
#define GRAPH_LEVELS ((int)sizeof graph_levels)

struct column {
    int level; /* of all rows */
    char label[24];
};

static void label_age(struct column *column, int64_t age_s) {
    static const struct {
        int64_t below_s, unit_s;
        char unit;
    } units[] = {{60, 1, 's'}, {3600, 60, 'm'}, {86400, 3600, 'h'}, {INT64_MAX, 86400, 'd'}};
    int i = 0;
    while (age_s >= units[i].below_s) {
        i++;
    }
    snprintf(column->label, sizeof column->label, "%lld%c", (long long)(age_s / units[i].unit_s),
             units[i].unit);
}

static char graph_char(const struct column *column, int row) {
    int level = column->level - (GRAPH_ROWS - 1 - row) * GRAPH_LEVELS;
    return level < 0 ? ' ' : level < GRAPH_LEVELS ? graph_levels[level] : '|';
}

/* One line for each row, a blank one, and the labels downwards. */
static void draw(struct text *text, const struct column *columns, uint32_t count) {
    for (int row = 0; row < GRAPH_ROWS; row++) {
        for (uint32_t i = 0; i < count; i++) {
            text_append_char(text, graph_char(&columns[i], row));
        }
        text_append_char(text, '\n');
    }
    bool more = true;
    for (size_t at = 0; more; at++) { /* 0: the blank one */
        more = false;
        for (uint32_t i = 0; i < count; i++) {
            size_t len = strlen(columns[i].label);
            text_append_char(text, at > 0 && at <= len ? columns[i].label[at - 1] : ' ');
            more |= at < len;
        }
        text_append_char(text, '\n');
    }
}

static void reply_graph(struct exec *x, const char *name, const struct spikes *spikes) {
    struct column columns[SPIKES_KEPT];
    int64_t low = INT64_MAX, high = 0;
    for (uint32_t i = 0; i < spikes->count; i++) {
        int64_t ms = spikes_at(spikes, i)->ms;
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    int64_t now_s = rt_wall_ms(x->worker->rt) / 1000, range = high > low ? high - low : 1;
    for (uint32_t i = 0; i < spikes->count; i++) {
        const struct spike *spike = spikes_at(spikes, i);
        int64_t level = (spike->ms - low) * GRAPH_ROWS * GRAPH_LEVELS / range;
        int top = GRAPH_ROWS * GRAPH_LEVELS - 1;
        columns[i].level = level < top ? (int)level : top;
        label_age(&columns[i], now_s > spike->at_s ? now_s - spike->at_s : 0);
    }
    struct text text;
    text_init(&text);
    text_appendf(&text, "%s - high %lld ms, low %lld ms (all time high %lld ms)\n", name,
                 (long long)high, (long long)low, (long long)spikes->max_ms);
    for (int i = 0; i < GRAPH_COLUMNS; i++) {
        text_append_char(&text, '-');
    }
    text_append_char(&text, '\n');
    for (uint32_t i = 0; i < spikes->count; i += GRAPH_COLUMNS) {
        uint32_t rest = spikes->count - i;
        if (i > 0) {
            text_append_char(&text, '\n');
        }
        draw(&text, columns + i, rest < GRAPH_COLUMNS ? rest : GRAPH_COLUMNS);
    }
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
}

/* ---- DOCTOR ---- */

static const char *const advice[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] =
        "command: look into SLOWLOG GET for the commands that take long. A command holds up its "
        "shard alone; more shards keep others apart from it. HOTKEYS GET names keys that keep one "
        "busy.",
    [LATENCY_FAST_COMMAND] =
        "fast-command: such commands take no time of their own. Something keeps threads from their "
        "processors: too few of them, other processes, or memory that is swapped out.",
    [LATENCY_TURN] =
        "turn: a thread was kept from its other clients for so long. If no command was "
        "slow, the system did not let it run.",
    [LATENCY_EXPIRE_CYCLE] =
        "expire-cycle: very many keys ran out at once, or large values are freed at once. Spread "
        "the times; leave lazyfree-lazy-expire at yes.",
    [LATENCY_EVICTION_CYCLE] =
        "eviction-cycle: memory is short, and making room takes long. Raise maxmemory, lower "
        "maxmemory-eviction-tenacity, or write less.",
    [LATENCY_EVICTION_DEL] = "eviction-del: single keys that are evicted are large. Set "
                             "lazyfree-lazy-eviction to yes.",
    [LATENCY_AOF_WRITE] = "aof-write: the disk takes long to take the log. Look for others that "
                          "write to it.",
    [LATENCY_AOF_FSYNC_ALWAYS] =
        "aof-fsync-always: replies wait for a disk that is slow to sync. A better disk helps, or "
        "appendfsync everysec, which may lose the last second.",
    [LATENCY_AOF_FSYNC] = "aof-fsync: the disk is slow to sync; nobody waits for it now, but what "
                          "is written is safe later.",
    [LATENCY_SAVE_CYCLE] = "save-cycle: a slice of a save took so long; it is meant to take a "
                           "fraction of a millisecond. Something keeps threads from their "
                           "processors, or memory is swapped out.",
};

static double mean_deviation(const struct spikes *spikes, double mean) {
    double sum = 0;
    for (uint32_t i = 0; i < spikes->count; i++) {
        double off = (double)spikes_at(spikes, i)->ms - mean;
        sum += off < 0 ? -off : off;
    }
    return sum / spikes->count;
}

/* The period is that from one spike to the next, or to now, on average. */
static void say_event(struct text *text, unsigned number, const char *name,
                      const struct spikes *spikes, int64_t now_s) {
    double sum = 0;
    for (uint32_t i = 0; i < spikes->count; i++) {
        sum += (double)spikes_at(spikes, i)->ms;
    }
    double mean = sum / spikes->count;
    int64_t period_s = (now_s - spikes_at(spikes, 0)->at_s) / spikes->count;
    text_appendf(text,
                 "%u. %s: %u latency spikes (average %.0fms, mean deviation %.0fms, period %.2f "
                 "sec). Worst all time event %lldms.\n",
                 number, name, spikes->count, mean, mean_deviation(spikes, mean),
                 period_s > 0 ? (double)period_s : 1.0, (long long)spikes->max_ms);
}

static void reply_doctor(struct exec *x, struct spikes *const events[LATENCY_EVENTS]) {
    struct text text;
    text_init(&text);
    unsigned number = 0;
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        if (events[i] != NULL) {
            if (number == 0) {
                text_append_text(&text, "There were latency spikes:\n\n");
            }
            say_event(&text, ++number, names[i], events[i], rt_wall_ms(x->worker->rt) / 1000);
        }
    }
    if (number == 0 && x->worker->config->latency_monitor_threshold == 0) {
        text_append_text(&text, "Nothing is watched: latency-monitor-threshold is 0. CONFIG SET it "
                                "to the milliseconds from which on you want to know, and ask "
                                "again later.\n");
    } else if (number == 0) {
        text_append_text(&text, "No latency spike was seen since the last reset.\n");
    } else {
        text_append_text(&text, "\nWhat may help:\n\n");
    }
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        if (events[i] != NULL) {
            text_appendf(&text, "- %s\n", advice[i]);
        }
    }
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
}

/* ---- What is asked ---- */

static void done(struct exec *x, const struct scatter_result *result) {
    const struct asked *asked = result->args;
    struct latency_part all;
    latency_merge(parts_of(result), result->parts_count, &all);
    struct spikes *const *events = all.events;
    switch (asked->question) {
    case LATEST:
        reply_latest(x, events);
        break;
    case HISTORY:
        reply_history(x, asked->event >= 0 ? events[asked->event] : NULL);
        break;
    case GRAPH:
        reply_graph(x, names[asked->event], events[asked->event]);
        break;
    case DOCTOR:
        reply_doctor(x, events);
        break;
    }
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        free(events[i]);
    }
}

static void ask(struct exec *x, enum question question, int event) {
    struct asked asked = {question, event};
    scatter_all(x, take_part, sizeof(struct latency_part), &asked, sizeof asked, done);
}

void latency_reply_latest(struct exec *x) {
    ask(x, LATEST, LATENCY_EVENTS);
}

void latency_reply_history(struct exec *x, struct bytes event) {
    ask(x, HISTORY, event_of(event));
}

void latency_reply_doctor(struct exec *x) {
    ask(x, DOCTOR, LATENCY_EVENTS);
}

struct graph_args {
    struct asked asked; /* first */
    char name[64];
};

static void graph_done(struct exec *x, const struct scatter_result *result) {
    const struct graph_args *args = result->args;
    bool any = false;
    for (unsigned i = 0; i < result->parts_count && args->asked.event >= 0; i++) {
        any |= parts_of(result)[i]->events[args->asked.event] != NULL;
    }
    if (any) {
        done(x, result);
    } else {
        reply_errorf(x->reply, "ERR No samples available for event '%s'", args->name);
    }
}

void latency_reply_graph(struct exec *x, struct bytes event) {
    struct graph_args args = {.asked = {GRAPH, event_of(event)}};
    snprintf(args.name, sizeof args.name, "%.*s", bytes_precision(event), event.ptr);
    scatter_all(x, take_part, sizeof(struct latency_part), &args, sizeof args, graph_done);
}

/* ---- RESET ---- */

static bool reset_part(struct worker *worker, const void *args, void *result) {
    unsigned wanted = *(const unsigned *)args, *had = result;
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        if ((wanted & (1u << i)) && worker->latency.events[i] != NULL) {
            *had |= 1u << i;
            free(worker->latency.events[i]);
            worker->latency.events[i] = NULL;
        }
    }
    return true;
}

static void reset_done(struct exec *x, const struct scatter_result *result) {
    unsigned had = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        had |= *(const unsigned *)result->parts[i];
    }
    reply_int(x->reply, __builtin_popcount(had));
}

void latency_reply_reset(struct exec *x, const struct bytes *names_asked, uint32_t count) {
    unsigned wanted = count == 0 ? (1u << LATENCY_EVENTS) - 1 : 0;
    for (uint32_t i = 0; i < count; i++) {
        int event = event_of(names_asked[i]);
        wanted |= event >= 0 ? 1u << event : 0;
    }
    scatter_all(x, reset_part, sizeof(unsigned), &wanted, sizeof wanted, reset_done);
}
