/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics: the text of INFO as Prometheus reads it. The names are those that redis_exporter makes
 * of the same fields, so that what was drawn for it shows data; those of shards are Shoal's own.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_SERVER_HTTP_METRICS_H
#define SHOAL_SERVER_HTTP_METRICS_H

#include "base/text.h"

/* The newest of an event: observe/latency.h. */
struct metrics_spike {
    const char *event;
    int64_t at_s, ms;
};

/* What INFO does not say, and how to write it. */
struct metrics_form {
    bool open_metrics;                  /* else the older text format */
    unsigned databases;                 /* all of which are named, also without keys */
    int64_t io_threads;                 /* what the directive says */
    uint64_t slow_length, slow_last_id; /* of the slow log; and of its newest entry, or 0, */
    int64_t slow_last_us;               /* as is this */
    const struct metrics_spike *spikes;
    size_t spikes_count;
};

void metrics_write(struct bytes info, const struct metrics_form *form, struct text *out);

#endif
