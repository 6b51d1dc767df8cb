/* SPDX-License-Identifier: BSD-3-Clause */
/* The graph of serial.c finds nearly all of this too, with other keys in the story. These two
 * checks are kept because they are complete for one key and share no idea with the graph: each
 * guards against a mistake in the other.
 */
#include "test/checker/linear.h"

#include "test/checker/grow.h"

#include <inttypes.h>

#define OPS(...)  (const size_t[]){__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)
#define NAME(key) history_key_name(versions->history, key)

/* ---- Registers ----------------------------------------------------------------------------- */

/* What is known of when a value was there. */
struct zone {
    uint32_t key;
    uint64_t value;
    int64_t first_return_ns;
    int64_t last_call_ns;
    size_t first_returned; /* operations that are these bounds */
    size_t last_called;
};

static void zone_widen(struct zone *zone, const struct history *history, size_t op) {
    if (history->ops[op].return_ns < zone->first_return_ns) {
        zone->first_return_ns = history->ops[op].return_ns;
        zone->first_returned = op;
    }
    if (history->ops[op].call_ns > zone->last_call_ns) {
        zone->last_call_ns = history->ops[op].call_ns;
        zone->last_called = op;
    }
}

/* One zone per committed write, and per key one for the time before all writes. */
static struct zone *make_zones(const struct versions *versions, size_t *ret_count) {
    const struct history *history = versions->history;
    size_t keys = history_key_count(history), count = keys + versions->write_count;
    struct zone *zones = zeroed(count, sizeof(*zones));
    for (size_t i = 0; i < count; i++) {
        const struct write *write = i >= keys ? &versions->writes[i - keys] : NULL;
        zones[i] = (struct zone){.key = write ? write->key : (uint32_t)i,
                                 .value = write ? write->value : 0,
                                 .first_return_ns = write ? INT64_MAX : INT64_MIN,
                                 .last_call_ns = INT64_MIN};
    }
    for (size_t i = 0; i < versions->access_count; i++) {
        const struct access *access = &versions->accesses[i];
        if (history_key_kind(history, access->key) != KEY_REGISTER) {
            continue;
        }
        if (access->reads && access->before != VERSION_NONE) {
            size_t zone = access->before == VERSION_NIL ? access->key : keys + access->before;
            zone_widen(&zones[zone], history, access->op);
        }
        if (access->writes) {
            zone_widen(&zones[keys + access->after], history, access->op);
        }
    }
    *ret_count = count;
    return zones;
}

static bool forward(const struct zone *zone) {
    return zone->first_return_ns < zone->last_call_ns;
}

static int by_first_return(const void *a, const void *b) {
    const struct zone *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->first_return_ns < y->first_return_ns ? -1 : x->first_return_ns > y->first_return_ns;
}

/* Each must come before the other. */
static bool conflict(const struct zone *a, const struct zone *b) {
    return a->key == b->key && a->first_return_ns < b->last_call_ns &&
           b->first_return_ns < a->last_call_ns;
}

static void tell_conflict(const struct versions *versions, struct verdict *verdict,
                          const struct zone *a, const struct zone *b) {
    /* Before the first write there is no operation that returned. */
    size_t first = a->first_return_ns == INT64_MIN ? a->last_called : a->first_returned;
    verdict_add(verdict, "not linearizable", versions->history,
                OPS(first, b->last_called, b->first_returned, a->last_called),
                "%s cannot have had both values in any order: T1 shows %" PRIu64
                " and had returned before T2 was called, which shows %" PRIu64 "; T3 shows %" PRIu64
                " and had returned before T4 was called, which shows %" PRIu64,
                NAME(a->key), a->value, b->value, b->value, a->value);
}

/* Zones in order, from the nil of the first key; the forward ones apart, which must not overlap,
 * and each backward one against the last forward one that began before its end. */
void linear_check_registers(const struct versions *versions, struct verdict *verdict) {
    size_t count, forward_count = 0;
    struct zone *zones = make_zones(versions, &count);
    struct zone *forwards = zeroed(count, sizeof(*forwards));
    for (size_t i = 0; i < count; i++) {
        if (forward(&zones[i])) {
            forwards[forward_count++] = zones[i];
        }
    }
    qsort(forwards, forward_count, sizeof(*forwards), by_first_return);
    for (size_t i = 1; i < forward_count; i++) {
        if (conflict(&forwards[i - 1], &forwards[i])) {
            tell_conflict(versions, verdict, &forwards[i - 1], &forwards[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (forward(&zones[i]) || zones[i].last_call_ns == INT64_MIN) {
            continue;
        }
        size_t low = 0, high = forward_count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            const struct zone *zone = &forwards[middle];
            if (zone->key < zones[i].key ||
                (zone->key == zones[i].key && zone->first_return_ns < zones[i].last_call_ns)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low > 0 && conflict(&forwards[low - 1], &zones[i])) {
            tell_conflict(versions, verdict, &forwards[low - 1], &zones[i]);
        }
    }
    free(forwards);
    free(zones);
}

/* ---- Counters ------------------------------------------------------------------------------ */

/* Something that happened to a counter: the increment to `value`, or a read of it. */
struct count_event {
    uint32_t key;
    bool reads;
    uint64_t value; /* 0 of an increment: not known */
    size_t op;
    int64_t call_ns;
};

/* By key; first the increments that nobody knows, as they were called; then by value, the increment
 * before those who read it. */
static int by_count(const void *a, const void *b) {
    const struct count_event *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    bool x_unknown = !x->reads && x->value == 0, y_unknown = !y->reads && y->value == 0;
    if (x_unknown != y_unknown) {
        return x_unknown ? -1 : 1;
    }
    if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    if (x->reads != y->reads) {
        return x->reads ? 1 : -1;
    }
    return x->call_ns < y->call_ns ? -1 : x->call_ns > y->call_ns;
}

static struct count_event *collect_counts(const struct versions *versions, size_t *ret_count) {
    const struct history *history = versions->history;
    struct count_event *events = zeroed(history->step_count, sizeof(*events));
    size_t count = 0;
    for (uint32_t i = 0; i < history->step_count; i++) {
        const struct step *step = &history->steps[i];
        const struct op *op = &history->ops[versions->step_ops[i]];
        bool reads = step->kind == STEP_READ_COUNTER;
        if (history_key_kind(history, step->key) != KEY_COUNTER || op->outcome == OP_FAIL ||
            (reads && op->outcome != OP_OK) || step->value > versions->places[step->key].cap) {
            continue;
        }
        events[count++] = (struct count_event){.key = step->key,
                                               .reads = reads,
                                               .value = op->outcome == OP_OK ? step->value : 0,
                                               .op = versions->step_ops[i],
                                               .call_ns = op->call_ns};
    }
    qsort(events, count, sizeof(*events), by_count);
    *ret_count = count;
    return events;
}

/* One counter, followed from value to value, each at the earliest moment at which it can be. */
struct count_walk {
    uint64_t value;
    int64_t value_ns;  /* when it got this value */
    int64_t now_ns;    /* no earlier than this comes the next: the value was read until then */
    size_t now_op;     /* who made it so late */
    size_t spare;      /* the next increment that nobody knows */
    size_t spares_end; /* of those of this counter */
};

static void walk_wait(struct count_walk *walk, const struct count_event *event) {
    if (event->call_ns > walk->now_ns) {
        walk->now_ns = event->call_ns;
        walk->now_op = event->op;
    }
}

/* Goes up to `value` by increments whose outcome is unknown; false when there are too few. */
static bool walk_up(struct count_walk *walk, const struct count_event *events, uint64_t value) {
    while (walk->value < value) {
        if (walk->spare == walk->spares_end) {
            return false;
        }
        walk_wait(walk, &events[walk->spare++]);
        walk->value++;
        walk->value_ns = walk->now_ns;
    }
    return true;
}

/* Stops at the first thing that is wrong: what follows it would be told wrongly. */
static void check_counter(const struct versions *versions, struct verdict *verdict,
                          const struct count_event *events, size_t i, size_t end) {
    const struct history *history = versions->history;
    struct count_walk walk = {
        .value_ns = INT64_MIN, .now_ns = INT64_MIN, .now_op = events[i].op, .spare = i};
    while (i < end && !events[i].reads && events[i].value == 0) {
        i++;
    }
    walk.spares_end = i;
    for (; i < end; i++) {
        const struct count_event *event = &events[i];
        if (!walk_up(&walk, events, event->reads ? event->value : event->value - 1)) {
            verdict_add(verdict, "lost update", history, OPS(event->op),
                        "%s is %" PRIu64 " in T1, but nobody can have made it %" PRIu64
                        ": an increment counted twice or out of turn",
                        NAME(event->key), event->value, walk.value + 1);
            return;
        }
        walk_wait(&walk, event);
        if (!event->reads) {
            if (walk.value == event->value) {
                return; /* answered twice, which was told when places were given */
            }
            walk.value = event->value;
            walk.value_ns = walk.now_ns;
        }
        if (history->ops[event->op].return_ns < walk.value_ns) {
            verdict_add(verdict, "not linearizable", history, OPS(event->op, walk.now_op),
                        "%s is %" PRIu64 " in T1, which had returned before T2 was called, but T2 "
                        "saw or made no more than that",
                        NAME(event->key), event->value);
            return;
        }
    }
}

void linear_check_counters(const struct versions *versions, struct verdict *verdict) {
    size_t count;
    struct count_event *events = collect_counts(versions, &count);
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && events[end].key == events[i].key) {
            end++;
        }
        check_counter(versions, verdict, events, i, end);
        i = end;
    }
    free(events);
}
