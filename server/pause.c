/* SPDX-License-Identifier: BSD-3-Clause */
/* pause: see the header. */
#include "server/pause.h"

#include "base/check.h"
#include "server/client.h"
#include "server/command_table.h"
#include "server/shared.h"
#include "server/worker.h"

static bool may_write(unsigned command_flags) {
    return (command_flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
}

static bool is_on(const struct worker *worker) {
    return UNLIKELY(worker->pause.kind != PAUSE_NONE) &&
           rt_mono_ms(worker->rt) < worker->pause.until_ms;
}

bool pause_passes(const struct command_slot *slot) {
    return slot->container != NULL && strcmp(slot->container->full_name, "client") == 0;
}

bool pause_forbids(const struct worker *worker, unsigned command_flags) {
    return is_on(worker) && (worker->pause.kind == PAUSE_ALL || may_write(command_flags));
}

void pause_enter(struct worker *worker, unsigned command_flags) {
    worker->pause.inside++;
    worker->pause.inside_writing += may_write(command_flags);
}

void pause_leave(struct worker *worker, unsigned command_flags) {
    check_slow(worker->pause.inside > 0);
    worker->pause.inside--;
    worker->pause.inside_writing -= may_write(command_flags);
}

/* Those who wait look again whether they must. */
static void let_go_on(struct worker *worker) {
    struct list_node *node;
    while ((node = list_first(&worker->paused)) != NULL) {
        client_resume(LIST_ENTRY(node, struct client, wait_node));
    }
}

struct pause_args {
    enum pause_kind kind;
    int64_t until_ms;
    uint64_t number;
};

static bool set_part(struct worker *worker, const void *args, void *result) {
    const struct pause_args *a = args;
    struct pause *pause = &worker->pause;
    bool on = is_on(worker), is_last = a->number > pause->number;
    if (is_last) {
        pause->number = a->number;
        if (a->kind != PAUSE_NONE) {
            bool narrower = a->kind < pause->kind;
            pause->kind = a->kind;
            if (narrower) { /* perhaps nothing forbids any more what they wait with */
                let_go_on(worker);
            }
        }
    }
    if (a->kind == PAUSE_NONE) {
        pause->until_ms = is_last ? rt_mono_ms(worker->rt) : pause->until_ms; /* the loop ends it */
    } else if (is_last ? !on || pause->until_ms < a->until_ms
                       : on && pause->until_ms < a->until_ms) {
        pause->until_ms = a->until_ms;
    }
    worker_set_expiry(worker);
    return true;
}

void pause_set(struct exec *x, enum pause_kind kind, int64_t until_ms, scatter_done_fn *done) {
    struct pause_args args = {kind, until_ms, shared_next_number(x->worker->server->shared)};
    scatter_all(x, set_part, 0, &args, sizeof(args), done);
}

static bool wait_part(struct worker *worker, const void *args, void *result) {
    const struct pause *pause = &worker->pause;
#ifdef SHOAL_UNSAFE_PAUSE /* for the test that users of the simulator notice */
    return true;
#endif
    return !is_on(worker) ||
           (pause->kind == PAUSE_ALL ? pause->inside : pause->inside_writing) == 0;
}

void pause_wait(struct exec *x, scatter_done_fn *done) {
    scatter_all(x, wait_part, 0, NULL, 0, done);
}

void pause_end(struct worker *worker) {
    worker->pause.kind = PAUSE_NONE;
    worker_set_expiry(worker);
    let_go_on(worker);
}
