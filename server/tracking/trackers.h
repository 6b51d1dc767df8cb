/* SPDX-License-Identifier: BSD-3-Clause */
/* trackers: what one worker knows of clients that track (tracking.h, news.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_TRACKING_TRACKERS_H
#define SHOAL_SERVER_TRACKING_TRACKERS_H

#include "base/links.h"
#include "base/list.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct trackers {
    unsigned clients;      /* of this worker that track */
    struct links prefixes; /* that somebody, anywhere, has asked for: struct prefix */
    struct list changed;   /* those of which keys have changed and are not told yet */
    struct text *tell;     /* by worker: records for it that are not posted yet */
    bool due;              /* there are some, or prefixes have changed */
    uint64_t *told;        /* by worker: messages that went there, */
    uint64_t *heard;       /* and that came from there */
    struct list later;     /* clients with pushes that come behind a reply */
};

#endif
