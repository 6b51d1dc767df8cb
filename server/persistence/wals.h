/* SPDX-License-Identifier: BSD-3-Clause */
/* wals: the logs of all workers together: the cut of all, and what follows the configuration:
 * appendonly yes and no, a log that broke, one that has grown.
 *
 * Each worker has its next segment made and named ahead, so a cut is one moment. A log that begins,
 * or begins again after a failure, is filled behind the cut of a snapshot while that is made; when
 * it is what a start would find, the log promises.
 *
 * Thread: worker 0's, but for what says who else.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_WALS_H
#define SHOAL_SERVER_PERSISTENCE_WALS_H

#include <stdbool.h>
#include <stdint.h>

struct manifest;
struct server;
struct wals;
struct worker;

struct wals *wals_new(struct worker *first);
void wals_free(struct wals *wals);

/* What a cut has to say to the manifest of its snapshot. */
struct wals_cut {
    bool is;             /* there are segments behind it */
    bool records;        /* and they are written to */
    uint64_t first;      /* the first number behind the cut */
    uint64_t *sequences; /* by shard: of its first segment behind the cut; malloc */
    unsigned shards;
};

/* For who has a view of all shards: the log has what a cut needs, or is off. It has not after the
 * disk failed as its next segments were made. */
bool wals_are_fit(const struct server *server);
/* For the same: makes a snapshot of this moment. `fit` is false: they are not, and there can be no
 * snapshot that the log goes on from; a moment later. */
void wals_cut(struct worker *parker, struct wals_cut *ret, bool *ret_fit);
/* Leaves out what the snapshot has. */
void wals_cut_manifest(const struct wals_cut *cut, struct manifest *manifest);
/* Of a snapshot of so many bytes, which is what a start would find. */
void wals_saved(struct wals *wals, uint64_t bytes);

/* For who has a view of all shards. Each log that there is promises, and so does a log of all if
 * there is to be one. */
bool wals_are_whole(const struct server *server);
/* For the same: the log is off, or can be ended now. */
bool wals_can_end(const struct server *server);
/* For the same: there is none, and none is on its way. */
bool wals_are_off(const struct server *server);
/* All logs end here: nothing is recorded from now on. Their files are closed in the background
 * (shared_wal_any_closing). */
void wals_end(struct server *server);

/* The next segments, in the background; wals_is_busy until they are there, or cannot be made. */
void wals_prepare(struct wals *wals);
bool wals_is_busy(const struct wals *wals);
/* A part of a scatter, at worker 0, until they are there or could not be made once more. */
bool wals_await_part(struct worker *worker, const void *args, void *result);
#define WALS_AWAIT_BYTES sizeof(bool)
/* They are, by somebody else. */
void wals_prepared(struct wals *wals);
/* They are nothing any more: no manifest names them. */
void wals_unprepared(struct wals *wals);

/* Now and then, and when the configuration has changed: begins what is due. */
void wals_cron(struct worker *worker);

/* For INFO. */
struct wals_state {
    bool on;                    /* it records */
    bool begins;                /* what is needed for its promise is being made */
    uint64_t bytes, base_bytes; /* now, and when the last snapshot was ready */
};
struct wals_state wals_state(const struct server *server);

#endif
