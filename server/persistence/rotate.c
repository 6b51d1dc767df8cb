/* SPDX-License-Identifier: BSD-3-Clause */
/* rotate: see the header. Why files first: a segment that the manifest names is there after a
 * crash, and one that it does not name has no block yet.
 */
#include "server/persistence/rotate.h"

#include "base/must.h"
#include "net/rt.h"
#include "server/call/effects.h"
#include "server/persistence/data_lock.h"
#include "server/persistence/kill_points.h"
#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- At the worker ---- */

static void answer(struct rotate_task *task) {
    struct worker *worker = task->worker;
    task->message.kind = MESSAGE_ROTATE_DONE;
    post_send(worker->server->office, worker->id, task->message.home, &task->message);
}

static void prepared(struct worker *worker, int error) {
    struct rotate_task *task = worker->wal->task;
    worker->wal->task = NULL;
    task->error = error;
    answer(task);
}

static void prepare(struct worker *worker, struct rotate_task *task) {
    if (worker->wal == NULL) {
        worker->wal = wal_new(worker);
    }
    struct wal *wal = worker->wal;
    if (task->rotate->records != NULL) {
        wal_set_records(wal, task->rotate->records[worker->id]);
    }
    if (!task->is_there) {
        task->segment.first_record = wal_records(wal);
    }
    /* Made the last time, when another's could not be. One that no manifest names (any more) may
     * have been removed. */
    if (wal->next.file >= 0 && wal->next.segment.sequence == task->named) {
        task->segment = wal->next.segment;
        answer(task);
        return;
    }
    if (!task->is_there) {
        rt_random(worker->rt, &task->segment.salt, sizeof task->segment.salt);
    }
    wal->task = task;
    wal_prepare(wal, task->rotate->directory, &task->segment, task->is_there, prepared);
}

void rotate_take_cut(struct worker *worker) {
    struct wal *wal = worker->wal;
    if (wal != NULL) {
        wal_take_cut(wal);
        effects_log(worker, wal_is_recording(wal) ? wal : NULL);
    }
}

void rotate_task_arrived(struct worker *worker, struct message *message) {
    struct rotate_task *task = (struct rotate_task *)message;
    switch (task->order) {
    case ROTATE_PREPARE:
        prepare(worker, task);
        break;
    case ROTATE_CUT:
        wal_ask_cut(worker->wal, task->state);
        rotate_take_cut(worker);
        answer(task);
        break;
    }
}

/* ---- Worker 0 ---- */

static void send_all(struct rotate *rotate, enum rotate_order order) {
    struct worker *home = rotate->home;
    rotate->open = rotate->count;
    for (unsigned i = 0; i < rotate->count; i++) {
        struct rotate_task *task = &rotate->tasks[i];
        task->message = (struct message){.kind = MESSAGE_ROTATE, .home = (uint16_t)home->id};
        task->order = order;
        post_send(home->server->office, home->id, i, &task->message);
    }
}

static uint64_t last_sequence(const struct manifest *manifest, uint32_t shard) {
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < manifest->count; i++) {
        if (manifest->segments[i].shard == shard) {
            sequence = manifest->segments[i].sequence;
        }
    }
    return sequence;
}

/* Behind those of its shard, if it is not there already. */
static void insert(struct manifest *manifest, const struct manifest_segment *segment) {
    if (last_sequence(manifest, segment->shard) >= segment->sequence) {
        return;
    }
    manifest_add(manifest, segment);
    uint32_t at = manifest->count - 1;
    for (; at > 0 && manifest->segments[at - 1].shard > segment->shard; at--) {
        manifest->segments[at] = manifest->segments[at - 1];
    }
    manifest->segments[at] = *segment;
}

static struct rotate *rotate_of(struct data_change *change) {
    return (struct rotate *)((char *)change - offsetof(struct rotate, change));
}

/* It is the next one of its shard, or one behind that: nothing was written to it. */
static bool goes_on(const struct rotate *rotate, const struct manifest_segment *segment) {
    return segment->shard < rotate->count &&
           segment->sequence >= rotate->tasks[segment->shard].segment.sequence;
}

static bool is_none(const struct manifest *manifest) {
    return manifest->bases_count == 0 && manifest->count == 0;
}

static bool name_them(struct data_change *change, struct manifest *manifest) {
    struct rotate *rotate = rotate_of(change);
    for (uint32_t i = 0; i < manifest->count && rotate->ends != NULL; i++) {
        struct manifest_segment *segment = &manifest->segments[i];
        if (goes_on(rotate, segment)) {
            continue;
        }
        if (rotate->until == 0) { /* which would say that all count: none does */
            segment->bytes = LOG_SEGMENT_BYTES;
        } else if (segment->bytes == 0) {
            segment->bytes = rotate->ends[i];
        }
        if (segment->until == 0 || segment->until > rotate->until) {
            segment->until = rotate->until;
        }
    }
    if (is_none(manifest)) {
        manifest->generation++;
        manifest->created_ms = (uint64_t)rt_wall_ms(rotate->home->rt);
#ifdef SHOAL_UNSAFE_LOG_FIRST /* for the test that crashes in the simulator show it */
        manifest->first = rotate->until + 1;
#else
        manifest->first = rotate->awaits_snapshot ? 0 : rotate->until + 1;
#endif
    }
    if (manifest->shards < rotate->count) {
        manifest->shards = rotate->count;
    }
    for (unsigned i = 0; i < rotate->count; i++) {
        const struct log_segment *segment = &rotate->tasks[i].segment;
        insert(manifest, &(struct manifest_segment){.shard = segment->shard,
                                                    .sequence = segment->sequence,
                                                    .salt = segment->salt,
                                                    .generation = segment->generation});
    }
    return true;
}

static void named(struct data_change *change, int error) {
    struct rotate *rotate = rotate_of(change);
    kill_point(rotate->home->server->kill_points, KILL_LOG_NAMED);
    rotate->done(rotate, error);
}

/* What its shard has goes on behind it. */
static void forget_empty(struct rotate *rotate, const struct log_segment *taken) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rotate->empty_count; i++) {
        const struct log_segment *segment = &rotate->empty[i];
        if (segment->shard != taken->shard || segment->sequence > taken->sequence) {
            rotate->empty[kept++] = *segment;
        }
    }
    rotate->empty_count = kept;
}

void rotate_task_home(struct worker *worker, struct message *message) {
    (void)worker;
    struct rotate_task *task = (struct rotate_task *)message;
    struct rotate *rotate = task->rotate;
    if (task->error != 0) {
        rotate->error = task->error;
    }
    forget_empty(rotate, &task->segment);
    if (--rotate->open > 0) {
        return;
    }
    if (task->order == ROTATE_CUT || rotate->error != 0) {
        rotate->done(rotate, rotate->error);
        return;
    }
    rotate->change = (struct data_change){.dir = rotate->dir,
                                          .dir_name = rotate->dir_name,
                                          .makes_dir = true,
                                          .apply = name_them,
                                          .done = named};
    data_ask(rotate->data, &rotate->change);
}

static const struct log_segment *first_empty(const struct rotate *rotate, uint32_t shard) {
    const struct log_segment *first = NULL;
    for (uint32_t i = 0; i < rotate->empty_count; i++) {
        const struct log_segment *segment = &rotate->empty[i];
        if (segment->shard == shard && (first == NULL || segment->sequence < first->sequence)) {
            first = segment;
        }
    }
    return first;
}

/* What there is is known now, and the directory is there. */
static void looked(struct data_change *change, int error) {
    struct rotate *rotate = rotate_of(change);
    error = error == 0 ? data_lock(rotate->home->server, rotate->directory) : error;
    if (error != 0) {
        rotate->done(rotate, error);
        return;
    }
    const struct manifest *manifest = &rotate->data->manifest;
    for (unsigned i = 0; i < rotate->count; i++) {
        struct rotate_task *task = &rotate->tasks[i];
        const struct log_segment *empty = first_empty(rotate, i);
        *task = (struct rotate_task){
            .rotate = rotate,
            .worker = rotate->home->server->workers[i],
            .segment = {.shard = i,
                        .generation = manifest->generation + is_none(manifest),
                        .sequence = data_last_sequence(rotate->data, i) + 1,
                        .created_ms = (uint64_t)rt_wall_ms(rotate->home->rt)},
            .is_there = empty != NULL,
            .named = last_sequence(manifest, i),
        };
        if (empty != NULL) {
            task->segment = *empty;
        }
    }
    send_all(rotate, ROTATE_PREPARE);
}

void rotate_begin(struct rotate *rotate) {
    rotate->count = rotate->home->server->workers_count;
    rotate->error = 0;
    free(rotate->tasks);
    rotate->tasks = must_calloc(rotate->count, sizeof *rotate->tasks);
    snprintf(rotate->directory, sizeof rotate->directory, "%s/%s", rotate->dir, rotate->dir_name);
    rotate->change = (struct data_change){
        .dir = rotate->dir, .dir_name = rotate->dir_name, .makes_dir = true, .done = looked};
    data_ask(rotate->data, &rotate->change);
}

void rotate_cut(struct rotate *rotate, enum wal_state state) {
    for (unsigned i = 0; i < rotate->count; i++) {
        rotate->tasks[i].state = state;
        rotate->tasks[i].error = 0;
    }
    send_all(rotate, ROTATE_CUT);
}

void rotate_fini(struct rotate *rotate) {
    free(rotate->tasks);
    rotate->tasks = NULL;
}
