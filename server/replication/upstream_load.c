/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream_load: how the file of a full sync becomes the data; see upstream.h. With
 * repl-diskless-load swapdb it is read beside what is served if that is of the same stream
 * (persistence/aside.h): `begun` is from then until nothing is left of that, so that the file and
 * the role stay.
 */
#include "server/replication/upstream_private.h"

#include "persist/snapshot/rdb_load.h"
#include "server/call/exec.h"
#include "server/client/inner.h"
#include "server/cluster/cluster.h"
#include "server/observe/log.h"
#include "server/persistence/aside.h"
#include "server/persistence/load_again.h"
#include "server/txn/txn.h"
#include "server/worker/shared.h"

#include <string.h>

/* ---- Loading ---- */

static struct upstream *upstream_of(const struct worker *worker) {
    return worker->server->upstream;
}

/* What has been read beside goes, as far as it was not taken. `begun` stays until it has. */
static void end_aside(struct upstream *u) {
    if (u->aside != NULL) {
        u->aside_ends = true;
        aside_end(u->aside);
    } else {
        u->begun = false;
    }
}

/* The link goes on, or begins anew. */
static void go_on(struct upstream *u, bool good) {
    if (u->client == NULL) { /* lost meanwhile: if it was good it goes on from here */
        upstream_wait_a_moment(u);
    } else if (good) {
        upstream_stream_begins(u, &u->place);
    }
    upstream_file_on(u);
}

/* Slots on their way are told within the copy by a Valkey, and behind it by a Shoal. */
static void tell_synced(struct upstream *u) {
    if (u->home->cluster == NULL) {
        return;
    }
    struct text opens;
    text_init(&opens);
    rdb_says(u->home->server->fs, u->path, "cluster-slot-states", &opens);
    cluster_tell_synced(u->home, text_bytes(&opens));
    text_fini(&opens);
}

static void loaded(struct exec *x, bool good) {
    struct worker *home = x->worker;
    struct upstream *u = upstream_of(home);
    if (!good) {
        primary_forget(home->server->primary);
        upstream_give_up(u, "Failed trying to load the PRIMARY synchronization DB from disk, check "
                            "server logs.");
    } else {
        primary_set(home->server->primary, &u->place);
        u->lacks = false;
        tell_synced(u);
        log_worker(home, LOG_NOTICE, "PRIMARY <-> REPLICA sync: Finished with success");
    }
    u->aside_takes = false;
    end_aside(u);
    if (u->aside == NULL) {
        go_on(u, good);
    } else {
        shared_set_loaded(home->server->shared, aside_keys(u->aside), 0);
        u->aside_taken = good;
    }
}

/* What was received is looked at before anything goes. False: it was given up. */
static bool is_sound(struct upstream *u) {
    const struct config *config = u->home->config;
    struct text why;
    text_init(&why);
    bool sound = rdb_begins(u->home->server->fs, u->path, config->rdb_version_check != 0, &why);
    if (!sound) {
        upstream_give_up(u, "What the primary has sent is no RDB file that can be read: %s",
                         why.ptr);
    } else if (config->rdbchecksum && !upstream_sum_is_good(&u->sum)) {
        sound = false;
        upstream_give_up(u, "What the primary has sent is broken: its checksum is not the one it "
                            "says");
    }
    text_fini(&why);
    return sound;
}

static void load(struct exec *x) {
    struct worker *home = x->worker;
    struct upstream *u = upstream_of(home);
    if (!txn_holds_all(x->client)) {
        txn_hold_all(x);
        return;
    }
    if (u->at != UPSTREAM_LOADS || u->stops || u->aside_ends) { /* nobody wants it any more */
        end_aside(u);
        reply_ok(x->reply);
        return;
    }
    const char *why;
    if (u->aside != NULL && aside_look(u->aside, &why) != ASIDE_READ) {
        reply_ok(x->reply); /* another one, or its slots have moved: look_at_aside goes on */
        return;
    }
    u->begun = u->aside != NULL;
    if (u->aside == NULL && !is_sound(u)) {
        reply_ok(x->reply);
    } else {
        u->begun = true;
        int64_t db = rdb_says_number(home->server->fs, u->path, "repl-stream-db", 0);
        u->place.db = db > 0 && db < u->home->config->databases ? (uint32_t)db : 0;
        primary_forget(home->server->primary);
        if (u->aside != NULL) {
            u->aside_takes = true;
            load_aside(x, u->aside, loaded);
        } else {
            load_file(x, u->path, loaded);
        }
    }
}

/* ---- Beside what is served ---- */

/* As by Valkey: the keys that are served meanwhile are an older state of the same data. */
static bool wants_aside(const struct upstream *u) {
    struct primary_place place;
    return u->home->config->repl_diskless_load == CONFIG_DISKLESS_SWAPDB && !u->was_aside &&
           primary_position(u->home->server->primary, &place) && strcmp(place.id, u->place.id) == 0;
}

static void read_aside(struct upstream *u) {
    struct worker *home = u->home;
    u->begun = true;
    log_worker(home, LOG_NOTICE, "PRIMARY <-> REPLICA sync: Loading DB in memory, beside the old");
    shared_set_aside(home->server->shared, true);
    u->aside = aside_begin(home, u->path);
}

static void close_aside(struct upstream *u) {
    bool taken = u->aside_taken;
    shared_set_aside(u->home->server->shared, false);
    aside_free(u->aside);
    u->aside = NULL;
    u->aside_ends = u->aside_taken = u->begun = false;
    if (taken) {
        go_on(u, true);
    } else if (u->at == UPSTREAM_LOADS && u->client == NULL) { /* lost meanwhile */
        upstream_wait_a_moment(u);
    }
    upstream_file_on(u);
}

static void look_at_aside(struct upstream *u) {
    const char *why;
    if (u->aside_takes) {
        return;
    }
    if (u->aside_ends) {
        if (aside_is_over(u->aside)) {
            close_aside(u);
        }
        return;
    }
    if (u->stops) {
        end_aside(u);
        return;
    }
    switch (aside_look(u->aside, &why)) {
    case ASIDE_READS:
        break;
    case ASIDE_READ:
        inner_run(u->home->inner, load); /* if it is in the middle of something, once more */
        break;
    case ASIDE_MOVED:
        u->was_aside = true;
        end_aside(u);
        break;
    case ASIDE_FAILED:
        upstream_give_up(u,
                         "Failed trying to load the PRIMARY synchronization DB: %s. The old data "
                         "stays.",
                         why);
        end_aside(u);
        break;
    }
}

void upstream_load_on(struct upstream *u) {
    if (u->aside != NULL) {
        look_at_aside(u);
        return;
    }
    if (shared_stop_signal(u->home->server->shared) != 0) {
        return; /* the server ends, or does not, and then it goes on */
    }
    if (u->at != UPSTREAM_LOADS || u->file >= 0 || u->closing || u->begun || u->client == NULL) {
        return;
    }
    if (wants_aside(u) && is_sound(u)) {
        read_aside(u);
        return;
    }
    if (u->client != NULL) { /* what is not sound has been given up */
        u->begun = true;     /* it may be over when this comes back */
        if (!inner_run(u->home->inner, load)) {
            u->begun = false;
        }
    }
}

bool upstream_ends_reading(struct upstream *u) {
    if (u->aside != NULL && !u->aside_takes && !u->aside_ends) {
        end_aside(u);
    }
    /* While it becomes the data the log begins anew, and that has been stopped (load_stop); or a
     * save is waited for, which nobody does any more once the end has begun. */
    return u->aside == NULL || u->aside_takes;
}

void upstream_load_forget(struct upstream *u) {
    if (u->aside != NULL) {
        end_aside(u);
        u->aside_taken = false;
    }
}

bool upstream_load_stop(struct upstream *u) {
    if (u->aside != NULL) {
        look_at_aside(u);
    }
    return !u->begun;
}

/* ---- What is shown ---- */

void upstream_state(const struct upstream *u, struct upstream_state *ret) {
    static const char *const words[] = {
        [UPSTREAM_OFF] = "none",         [UPSTREAM_WAITS] = "connect",
        [UPSTREAM_RESOLVES] = "connect", [UPSTREAM_CONNECTS] = "connecting",
        [UPSTREAM_TALKS] = "handshake",  [UPSTREAM_RECEIVES] = "sync",
        [UPSTREAM_LOADS] = "sync",       [UPSTREAM_STREAMS] = "connected",
    };
    int64_t now_ms = upstream_now_ms(u);
    bool up = u->at == UPSTREAM_STREAMS;
    *ret = (struct upstream_state){
        .words = words[u->at],
        .up = up,
        .syncs = u->at == UPSTREAM_RECEIVES || u->at == UPSTREAM_LOADS,
        .lacks = u->lacks,
        .heard_ms = up ? now_ms - u->moved_ms : -1,
        .sync_ms = now_ms - u->moved_ms,
        .down_ms = u->down_ms < 0 ? -1 : now_ms - u->down_ms,
        .read = up ? u->account.fed + u->in.len : 0,
        .total = u->total,
        .received = u->received,
    };
}
