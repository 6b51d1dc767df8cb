/* SPDX-License-Identifier: BSD-3-Clause */
/* flood: lines of the log that strangers cause: so many of each kind in some seconds, and one that
 * says how many were left out.
 *
 * Thread: the worker's own; each counts for itself.
 */
#ifndef SHOAL_SERVER_OBSERVE_FLOOD_H
#define SHOAL_SERVER_OBSERVE_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

enum flood_kind {
    FLOOD_PROTOCOL,
    FLOOD_INPUT,
    FLOOD_OUTPUT,
    FLOOD_STRANGERS,
    FLOOD_TLS,
    FLOOD_HTTP,
    FLOOD_NO_ROOM,
    FLOOD_KINDS,
};

struct floods {
    struct {
        int64_t since_ms; /* monotonic; 0: there was no line lately */
        uint64_t lines;   /* since then, those left out counted */
    } kinds[FLOOD_KINDS];
};

/* Whether a line of that kind may be logged now: it is written, too. */
bool flood_lets(struct worker *worker, enum flood_kind kind);
/* Now and then: says what was left out in times that are over; with `all`, in all. */
void flood_tell(struct worker *worker, bool all);

#endif
