/* SPDX-License-Identifier: BSD-3-Clause */
/* prefix: the prefixes that clients anywhere have asked for (CLIENT TRACKING BCAST), as one worker
 * knows them: so it finds out by itself where a change of one of its keys has to be told.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_TRACKING_PREFIX_H
#define SHOAL_SERVER_TRACKING_PREFIX_H

#include "base/bytes.h"
#include "server/tracking/trackers.h"

/* A key that has changed, and by which client (0: none). */
struct changed_key {
    uint64_t by;
    uint32_t order; /* the last one of a name counts */
    struct bytes name;
};

struct prefix {
    struct link link; /* first; of trackers->prefixes */
    struct bytes text;
    struct list clients; /* this worker's, for tracking.c */
    uint64_t total;
    struct list_node node;       /* of trackers->changed, while there are changed keys */
    struct changed_key *changed; /* names are owned */
    uint32_t changed_count, changed_capacity;
    uint32_t counts[]; /* clients by worker; behind them the text */
};

struct prefix *prefix_find(const struct trackers *trackers, struct bytes text);
/* So many clients of a worker have come (or gone). Returns it, or NULL when it is gone. */
struct prefix *prefix_count(struct trackers *trackers, unsigned workers, struct bytes text,
                            unsigned of, int change);
/* A key has changed: noted for each prefix that it begins with. True for any. */
bool prefix_note(struct trackers *trackers, struct bytes key, uint64_t by);
/* What has changed, sorted by name, each once; then it is to be forgotten. */
uint32_t prefix_changed(struct prefix *prefix, const struct changed_key **ret);
void prefix_forget(struct prefix *prefix);
void prefixes_free(struct trackers *trackers);

#endif
