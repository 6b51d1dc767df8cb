/* SPDX-License-Identifier: BSD-3-Clause */
/* The walk is shown to us in slices of a turn, and whenever something is about to change: the
 * latter also by the thread that has parked this worker, so what we are shown goes into memory, and
 * what is asked of the runtime is asked in turns of our own.
 */
#include "server/persistence/save_share.h"

#include "base/check.h"
#include "base/crc64.h"
#include "base/must.h"
#include "persist/codec/rdb.h"
#include "server/call/check.h"
#include "server/client/gate.h"
#include "server/observe/latency.h"
#include "server/persistence/kill_points.h"
#include "server/worker/handlers.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* So long is walked in a turn, and between two looks at the clock about so much. */
#define WALK_NS    (100 * 1000)
#define WALK_BYTES ((size_t)16 << 10)

/* ---- Its pace ---- */

/* Shards save side by side, each its part of the keys, so each takes its time for all of them. */
static int64_t shards_us(const struct save_share *share) {
    return share->pace.delay_us * share->worker->server->workers_count;
}

/* It has shown as many keys as it may by now. */
static bool is_ahead(const struct save_share *share) {
    int64_t delay_us = share->pace.delay_us;
    if (LIKELY(delay_us == 0) || share->keys_shown >= share->keys_total) {
        return false;
    }
    int64_t us = (rt_mono_ms(share->worker->rt) - share->pace.began_ms) * 1000;
    int64_t shards = share->worker->server->workers_count;
    int64_t keys = delay_us > 0 ? us / shards_us(share) : us * -delay_us / shards;
    return (int64_t)share->keys_shown >= keys;
}

int64_t save_share_due_ms(const struct save_share *share) {
    if (share->at != SHARE_WALKS || !is_ahead(share)) {
        return INT64_MAX;
    }
    int64_t next = (int64_t)share->keys_shown + 1;
    return share->pace.delay_us > 0 ? share->pace.began_ms + (next * shards_us(share) + 999) / 1000
                                    : rt_mono_ms(share->worker->rt) + 1;
}

/* ---- What is shown ---- */

static void show(void *arg, const struct walk_item *item) {
    struct save_share *share = arg;
    share->keys_shown += item->last;
    if (share->manner.frames) {
        frame_writer_put(&share->frames, &share->file.filling, item);
    } else {
        key_stream_put(&share->keys, &share->file.filling, item);
    }
}

static void owned_slots(const struct worker *worker, struct slot_set *slots) {
    memset(slots, 0, sizeof *slots);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (node_owner(worker->node, (uint16_t)slot) == worker->id) {
            slots->words[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
    }
}

static uint64_t count_keys(const struct keyspace *ks) {
    uint64_t keys = 0;
    for (uint32_t db = 0; db < keyspace_database_count(ks); db++) {
        keys += keyspace_count(ks, db);
    }
    return keys;
}

struct save_share *save_share_new(struct worker *worker, const struct save_manner *manner,
                                  struct rt *rt) {
    struct save_share *share = must_aligned(16, sizeof *share);
    memset(share, 0, sizeof *share);
    const struct keyspace *ks = worker->shard.keyspace;
    share->worker = worker;
    share->manner = *manner;
    share->go = (struct save_task){.share = share, .order = SAVE_GO};
    share->stop = (struct save_task){.share = share, .order = SAVE_STOP};
    share->end = (struct save_task){.share = share, .order = SAVE_END};
    share->changes = keyspace_changes(ks);
    share->keys_total = count_keys(ks);
    share->pace = (struct save_pace){
        .delay_us = worker->config->rdb_key_save_delay,
        .began_ms = rt_mono_ms(rt),
    };
    share->keys = (struct key_stream){.compress = manner->compress, .db = -1};
    share->usage = manner->frames ? &share->frames.keys.usage : &share->keys.usage;
    save_file_init(&share->file, worker->rt);
    if (manner->frames) {
        uint64_t salt;
        rt_random(rt, &salt, sizeof salt);
        share->head.salt = salt;
        frame_writer_init(&share->frames, salt, manner->compress);
        char room[FRAMES_HEAD_BYTES] = {0}; /* written once all of it is known */
        text_append(&share->file.filling, room, sizeof room);
    }
    share->usage->kind = manner->usage;
    share->usage->ks = ks;
    share->usage->now_ms = rt_wall_ms(rt);
    struct slot_set slots;
    owned_slots(worker, &slots);
    struct walk_options options = {
        .slots = &slots,
        .version = manner->version,
        .compress = manner->compress && !manner->frames,
        .show = show,
        .arg = share,
    };
    share->walk = walk_begin(&worker->walks, &options);
    check(worker->save_share == NULL);
    worker->save_share = share;
    return share;
}

static void end_walk(struct save_share *share) {
    if (share->walk != NULL) {
        walk_end(share->walk);
        share->walk = NULL;
    }
}

void save_share_free(struct save_share *share) {
    check(share->walk == NULL);
    if (share->manner.frames) {
        frame_writer_fini(&share->frames);
    }
    save_file_fini(&share->file);
    free(share);
}

/* ---- In each turn ---- */

static void send_home(struct worker *worker, struct save_task *task) {
    task->message.kind = MESSAGE_SAVE_BACK;
    if (worker->id == 0) {
        worker->server->handlers->messages[MESSAGE_SAVE_BACK](worker, &task->message);
    } else {
        post_send(worker->server->office, worker->id, 0, &task->message);
    }
}

/* Of an RDB file's bytes, in their order, before they leave. */
static void sum_up(struct save_share *share, uint64_t offset) {
    struct bytes filling = text_bytes(&share->file.filling);
    size_t at = (size_t)(share->summed - offset);
    share->sum = crc64(share->sum, bytes_make(filling.ptr + at, filling.len - at));
    share->summed = offset + filling.len;
}

void save_share_walk(struct worker *worker) {
    struct save_share *share = worker->save_share;
    if (!save_share_is_busy(share)) {
        return;
    }
    uint64_t began = rt_ticks(worker->rt), until = began + rt_ns_to_ticks(worker->rt, WALK_NS);
    bool over = false;
    share->usage->now_ms = rt_wall_ms(worker->rt);
    bool more = true;
    while (!over && more && rt_ticks(worker->rt) < until) {
        if (save_file_is_full(&share->file) || is_ahead(share)) {
            more = walk_hurry_some(share->walk, WALK_BYTES);
        } else {
            over = walk_some(share->walk, share->pace.delay_us == 0 ? WALK_BYTES : 1);
        }
    }
    if (over) {
        end_walk(share);
        kill_point(worker->server->kill_points, KILL_SAVE_WALKED);
        if (share->manner.frames) {
            frame_writer_end(&share->frames, &share->file.filling);
        }
        share->at = SHARE_WRITES;
        save_file_end(&share->file);
    }
    latency_note(worker, &worker->latency, LATENCY_SAVE_CYCLE, rt_ticks(worker->rt) - began);
}

void save_share_work(struct worker *worker) {
    struct save_share *share = worker->save_share;
    bool failed = share->stopped || share->file.error != 0;
    if (share->at == SHARE_OVER) {
        return;
    }
    if (failed) {
        end_walk(share);
        save_file_drop(&share->file);
    }
    size_t memory = save_share_memory(share);
    share->kept_max = memory > share->kept_max ? memory : share->kept_max;
    if (!failed && share->manner.check_sum) {
        sum_up(share, share->file.offset);
    }
    if (!share->has_go) {
        return;
    }
    if (save_file_step(&share->file)) {
        share->at = SHARE_OVER;
        send_home(worker, &share->go);
    }
}

bool save_share_is_busy(const struct save_share *share) {
    return share->at == SHARE_WALKS && share->file.error == 0 && !share->stopped &&
           ((!save_file_is_full(&share->file) && !is_ahead(share)) || walk_is_hurried(share->walk));
}

size_t save_share_memory(const struct save_share *share) {
    size_t walk = share->walk != NULL ? walk_progress(share->walk).bytes_kept : 0;
    return walk + save_file_memory(&share->file) + share->frames.raw.cap;
}

uint64_t save_share_keys(const struct save_share *share) {
    return share->keys_shown;
}

bool save_share_needs_slot(struct worker *worker, uint16_t slot) {
    const struct save_share *share = worker->save_share;
    if (share == NULL || share->walk == NULL || !walk_has_left(share->walk, slot)) {
        return false;
    }
    walk_take_next(share->walk, slot);
    return true;
}

/* ---- Tasks ---- */

static void go(struct save_share *share) {
    share->has_go = true;
    if (share->manner.frames) {
        frames_head_encode(&share->head, share->file.filling.ptr);
    }
    save_file_open(&share->file, share->path, 0, share->manner.frames,
                   share->manner.syncs_on_the_way);
    if (share->at == SHARE_WRITES) {
        save_file_end(&share->file);
    }
}

static void end(struct worker *worker, struct save_share *share) {
    end_walk(share);
    if (share->saved) {
        struct keyspace *ks = worker->shard.keyspace;
        keyspace_set_changes(ks, keyspace_changes(ks) - share->changes);
    }
    if (share->settles) {
        worker->saves_fail = share->refuses;
        check_configure(worker);
    }
    if (share->promises) {
        gate_promise(worker->wal);
    }
    worker->save_share = NULL;
}

void save_task_arrived(struct worker *worker, struct message *message) {
    struct save_task *task = (struct save_task *)message;
    struct save_share *share = task->share;
    switch (task->order) {
    case SAVE_GO: /* comes home when its work is done */
        go(share);
        return;
    case SAVE_STOP:
        share->stopped = true;
        break;
    case SAVE_END:
        end(worker, share);
        break;
    }
    send_home(worker, task);
}
