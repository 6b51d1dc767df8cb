/* SPDX-License-Identifier: BSD-3-Clause */
/* latency: LATENCY: what took so long that latency-monitor-threshold wants to know.
 *
 * Each worker keeps its own (spikes.h); who asks gets those of all merged. What is watched compares
 * a time that it has measured anyway with worker->latency.ticks, which no time reaches while
 * nothing is watched.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_LATENCY_H
#define SHOAL_SERVER_OBSERVE_LATENCY_H

#include "base/bytes.h"
#include "server/observe/spikes.h"

struct exec;
struct worker;

struct latency {
    uint64_t ticks;                        /* from so many on it is a spike; UINT64_MAX: never */
    struct spikes *events[LATENCY_EVENTS]; /* NULL: there was none */
};

void latency_fini(struct latency *latency);
size_t latency_memory(const struct latency *latency);
/* After the configuration changed. */
void latency_configure(struct worker *worker);

static inline bool latency_is_spike(const struct latency *latency, uint64_t ticks) {
    return ticks >= latency->ticks;
}
/* Notes one. */
void latency_spike(struct worker *worker, enum latency_event event, uint64_t ticks);
/* The usual way: notes it if it is one. */
static inline void latency_note(struct worker *worker, const struct latency *latency,
                                enum latency_event event, uint64_t ticks) {
    if (__builtin_expect(latency_is_spike(latency, ticks), 0)) {
        latency_spike(worker, event, ticks);
    }
}

/* ---- What is shown ---- */

const char *latency_event_name(enum latency_event event);

/* Copies of what a worker has, malloc, for another thread; `event`: LATENCY_EVENTS means all. */
struct latency_part {
    struct spikes *events[LATENCY_EVENTS]; /* NULL: there was none */
};
void latency_take(const struct worker *worker, int event, struct latency_part *ret);
/* Of all workers, in the copies of the first that has some; the others are freed. */
void latency_merge(struct latency_part *const *parts, unsigned parts_count,
                   struct latency_part *ret);

void latency_reply_latest(struct exec *x);
void latency_reply_history(struct exec *x, struct bytes event);
void latency_reply_graph(struct exec *x, struct bytes event);
void latency_reply_doctor(struct exec *x);
/* Forgets those of the named events, or of all; answers how many had any. */
void latency_reply_reset(struct exec *x, const struct bytes *names, uint32_t count);

#endif
