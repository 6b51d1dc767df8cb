/* SPDX-License-Identifier: BSD-3-Clause */
/* latency: see the header. */
#include "server/observe/latency.h"

#include "base/must.h"
#include "net/rt.h"
#include "server/worker/worker.h"

#include <stdlib.h>

void latency_fini(struct latency *latency) {
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        free(latency->events[i]);
        latency->events[i] = NULL;
    }
}

size_t latency_memory(const struct latency *latency) {
    size_t bytes = 0;
    for (int i = 0; i < LATENCY_EVENTS; i++) {
        bytes += latency->events[i] != NULL ? sizeof(struct spikes) : 0;
    }
    return bytes;
}

void latency_configure(struct worker *worker) {
    int64_t ms = worker->config->latency_monitor_threshold;
    bool never = ms == 0 || ms > INT64_MAX / 1000000;
    worker->latency.ticks = never ? UINT64_MAX : rt_ns_to_ticks(worker->rt, (uint64_t)ms * 1000000);
}

void latency_spike(struct worker *worker, enum latency_event event, uint64_t ticks) {
    struct latency *latency = &worker->latency;
    if (latency->events[event] == NULL) {
        latency->events[event] = must_calloc(1, sizeof *latency->events[event]);
    }
    spikes_add(latency->events[event], rt_wall_us(worker->rt) / 1000000,
               (int64_t)(rt_ticks_to_ns(worker->rt, ticks) / 1000000));
}
