/* SPDX-License-Identifier: BSD-3-Clause */
/* pausing: see the header. */
#include "server/worker/pausing.h"

#include "server/client/client.h"
#include "server/worker/worker.h"

static void forget(struct client *client) {
    list_remove(&client->line_node);
}

static const struct wait_kind wait_paused = {.name = "paused", .blocked = true, .cancel = forget};

void pause_client(struct client *client) {
    client_wait(client, &wait_paused, INT64_MAX);
    list_push_back(&client->worker->clients.paused, &client->line_node);
}

/* Those who wait look again whether they must. */
static void let_go_on(struct worker *worker) {
    struct list_node *node;
    while ((node = list_first(&worker->clients.paused)) != NULL) {
        list_remove(node);
        client_wait_over(LIST_ENTRY(node, struct client, line_node));
    }
}

struct asked {
    enum pause_kind kind;
    int64_t until_ms;
    scatter_done_fn *done;
};

struct decision {
    enum pause_kind kind;
    int64_t until_ms;
    uint64_t number;
};

/* What comes of all there is. */
static void settle(struct worker *worker) {
    struct pause *pause = &worker->pause;
    enum pause_kind held = pause->holds != 0 ? PAUSE_WRITE
                           : pause->slots    ? PAUSE_SLOTS
                                             : PAUSE_NONE;
    pause->kind = pause->asked > held ? pause->asked : held;
    worker_set_expiry(worker);
}

static void obey(struct worker *worker, const struct decision *decision) {
    struct pause *pause = &worker->pause;
    if (decision->number <= pause->number) {
        return; /* a later one came first */
    }
    bool narrower = decision->kind < pause->asked;
    pause->asked = decision->kind;
    pause->until_ms = decision->until_ms;
    pause->number = decision->number;
    settle(worker);
    if (narrower) {
        let_go_on(worker);
    }
}

/* On worker 0: what comes of a wish depends on the pause there is, and must be the same on all
 * workers, in whatever order they hear of it. */
static bool decide_part(struct worker *worker, const void *args, void *result) {
    const struct asked *asked = args;
    struct decision *decision = result;
    *decision = (struct decision){asked->kind, asked->until_ms, worker->pause.number + 1};
    if (asked->kind != PAUSE_NONE && worker->pause.asked != PAUSE_NONE &&
        worker->pause.until_ms > decision->until_ms) {
        decision->until_ms = worker->pause.until_ms;
    }
    obey(worker, decision);
    return true;
}

static bool obey_part(struct worker *worker, const void *args, void *result) {
    obey(worker, args);
    return true;
}

static void decided(struct exec *x, const struct scatter_result *result) {
    const struct asked *asked = result->args;
    scatter_all(x, obey_part, 0, result->parts[0], sizeof(struct decision), asked->done);
}

void pause_set(struct exec *x, enum pause_kind kind, int64_t until_ms, scatter_done_fn *done) {
    struct asked asked = {kind, until_ms, done};
    scatter_one(x, 0, decide_part, sizeof(struct decision), &asked, sizeof(asked), decided);
}

static bool wait_part(struct worker *worker, const void *args, void *result) {
    const struct pause *pause = &worker->pause;
#ifdef SHOAL_UNSAFE_PAUSE /* for the test that users of the simulator notice */
    return true;
#endif
    return !pause_is_on(&worker->pause, rt_mono_ms(worker->rt)) ||
           (pause->kind == PAUSE_ALL ? pause->inside : pause->inside_writing) == 0;
}

void pause_wait(struct exec *x, scatter_done_fn *done) {
    scatter_all(x, wait_part, 0, NULL, 0, done);
}

static void set_holds(struct worker *parker, unsigned add, unsigned remove) {
    const struct server *server = parker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct worker *worker = server->workers[i];
        worker->pause.holds = (worker->pause.holds | add) & ~remove;
        worker->pause.let_go |= remove != 0;
        settle(worker);
    }
}

void pause_hold(struct worker *parker, enum pause_hold hold) {
    set_holds(parker, hold, 0);
}

void pause_let_go(struct worker *parker, enum pause_hold hold) {
    set_holds(parker, 0, hold);
}

void pause_slots(struct worker *worker, bool are) {
    struct pause *pause = &worker->pause;
    if (pause->slots || are) {
        pause->slots = are;
        pause->let_go = true;
        settle(worker);
    }
}

bool pause_is_quiet(const struct worker *parker) {
    const struct server *server = parker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        if (server->workers[i]->pause.inside_writing > 0) {
            return false;
        }
    }
    return true;
}

int64_t pause_turn(struct worker *worker, int64_t mono_ms) {
    struct pause *pause = &worker->pause;
    if (pause->asked != PAUSE_NONE && mono_ms >= pause->until_ms) {
        pause->asked = PAUSE_NONE;
        pause->let_go = true;
        settle(worker);
    }
    if (pause->let_go) {
        pause->let_go = false;
        let_go_on(worker);
    }
    return pause->asked != PAUSE_NONE ? pause->until_ms : INT64_MAX;
}
