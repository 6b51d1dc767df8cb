/* SPDX-License-Identifier: BSD-3-Clause */
/* The bases, as one worker reads them: its own file first, whose frames are mostly its own, then
 * the others, of which it reads headers and what has slots of its own. All workers do so side by
 * side, so each frame is read by whoever has its slots, and each file may have been written by any
 * number of shards.
 *
 *     OPEN -> SIZE -> FRAMES <-> KEYS
 *               ^        |  ^---> READ
 *               |      CLOSE
 *               +--------+
 */
#include "base/check.h"
#include "base/must.h"
#include "net/rt_file.h"
#include "persist/snapshot/frame_keys.h"
#include "persist/snapshot/frame_reader.h"
#include "server/commands/persistence/rules.h"
#include "server/persistence/load_private.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20)
/* Between two looks at the clock. */
#define KEYS_AT_ONCE 64

enum stage { STAGE_OPEN, STAGE_SIZE, STAGE_FRAMES, STAGE_READ, STAGE_KEYS, STAGE_CLOSE };

struct load_bases {
    struct rt_file_op op; /* first */
    struct load_worker *self;
    bool waits; /* op is under way; then result has what came of it */
    int64_t result;
    enum stage stage;
    uint32_t files_done;
    const struct manifest_base *base;
    struct text path;
    rt_file file;
    struct frame_reader reader;
    /* What is in memory of the file. */
    char *buffer;
    size_t room, length;
    uint64_t at; /* where in the file it begins */
    /* The frame at hand. */
    uint64_t frame_at;
    struct value_rules rules;
    struct frame_keys keys;
};

static void done(struct rt_file_op *op, int64_t result) {
    struct load_bases *bases = (struct load_bases *)op;
    bases->waits = false;
    bases->result = result;
}

static struct worker *worker_of(const struct load_bases *bases) {
    return bases->self->worker;
}

static enum load_step fail(struct load_bases *bases, uint64_t at, const char *reason) {
    load_fail(bases->self, bases->path.ptr, at, reason);
    return LOAD_FAILED;
}

static enum load_step fail_errno(struct load_bases *bases, const char *what, int64_t error) {
    struct text reason;
    text_init(&reason);
    text_appendf(&reason, "it cannot be %s: %s", what, strerror((int)-error));
    enum load_step step = fail(bases, bases->reader.at, reason.ptr);
    text_fini(&reason);
    return step;
}

/* ---- Slots ---- */

static struct keyspace *keyspace_of(void *arg, uint16_t slot) {
    struct worker *worker = arg;
    return node_owner(worker->node, slot) == worker->id ? worker->shard.keyspace : NULL;
}

static bool wants(void *arg, uint16_t first, uint16_t last) {
    const struct worker *worker = arg;
    for (uint32_t slot = first; slot <= last && slot < SLOTS; slot++) {
        if (node_owner(worker->node, (uint16_t)slot) == worker->id) {
            return true;
        }
    }
    return false;
}

/* ---- Files ---- */

static enum load_step open_next(struct load_bases *bases) {
    const struct load *load = bases->self->load;
    const struct manifest *manifest = &load->manifest;
    struct worker *worker = worker_of(bases);
    if (bases->files_done == manifest->bases_count) {
        return LOAD_IS_DONE;
    }
    uint32_t i = (worker->id + bases->files_done) % manifest->bases_count;
    bases->base = &manifest->bases[i];
    char name[MANIFEST_NAME_BYTES];
    manifest_base_name(name, manifest->generation, bases->base->shard);
    text_clear(&bases->path);
    text_append_bytes(&bases->path, text_bytes(&load->dir));
    text_append_text(&bases->path, name);
    struct frame_file file = {
        .shard = bases->base->shard,
        .shards = manifest->bases_count,
        .generation = manifest->generation,
        .salt = bases->base->salt,
        .bytes = bases->base->bytes,
        .keys = bases->base->keys,
    };
    frame_reader_init(&bases->reader, &file);
    bases->at = 0;
    bases->length = 0;
    struct rdb_keys_options options = {
        .secret = &worker->server->secret,
        .rules = &bases->rules,
        .databases = (uint32_t)config_databases(worker->config),
        .now_ms = load->now_ms,
        .frames = true,
        .keep_over = load->stream.is,
        .keyspace_of = keyspace_of,
        .arg = worker,
        .any = worker->shard.keyspace,
        .library = load_library,
    };
    frame_keys_begin(&bases->keys, &options);
    bases->waits = true;
    bases->stage = STAGE_SIZE;
    bases->file = -1;
    rt_file_open(worker->rt, &bases->op, bases->path.ptr, RT_OPEN_READ, 0);
    return LOAD_GOES_ON;
}

static enum load_step ask_size(struct load_bases *bases) {
    if (bases->file < 0) { /* it was opened */
        if (bases->result < 0) {
            return fail_errno(bases, "opened", bases->result);
        }
        bases->file = (rt_file)bases->result;
        bases->waits = true;
        rt_file_size(worker_of(bases)->rt, &bases->op, bases->file);
        return LOAD_GOES_ON;
    }
    if (bases->result < 0) {
        return fail_errno(bases, "looked at", bases->result);
    }
    uint64_t bytes = (uint64_t)bases->result;
    if (bytes != bases->base->bytes) {
        struct text reason;
        text_init(&reason);
        text_appendf(&reason, "it has %llu bytes, the manifest says %llu",
                     (unsigned long long)bytes, (unsigned long long)bases->base->bytes);
        uint64_t shorter = bytes < bases->base->bytes ? bytes : bases->base->bytes;
        enum load_step step = fail(bases, shorter, reason.ptr);
        text_fini(&reason);
        return step;
    }
    bases->stage = STAGE_FRAMES;
    return LOAD_GOES_ON;
}

/* What is in memory from where the reader stands. */
static struct bytes at_hand(const struct load_bases *bases) {
    uint64_t at = bases->reader.at;
    if (at < bases->at || at >= bases->at + bases->length) {
        return bytes_make(bases->buffer, 0);
    }
    size_t passed = (size_t)(at - bases->at);
    return bytes_make(bases->buffer + passed, bases->length - passed);
}

/* A piece behind what is at hand, so that there are at least `need` bytes. */
static void read_more(struct load_bases *bases, size_t need) {
    struct bytes left = at_hand(bases);
    if (left.len > 0) {
        memmove(bases->buffer, left.ptr, left.len);
    }
    bases->at = bases->reader.at;
    bases->length = left.len;
    size_t wish = need > left.len + PIECE_BYTES ? need : left.len + PIECE_BYTES;
    if (bases->room < wish) {
        bases->room = wish;
        bases->buffer = must_realloc(bases->buffer, wish);
    }
    bases->waits = true;
    bases->stage = STAGE_READ;
    rt_file_read(worker_of(bases)->rt, &bases->op, bases->file, bases->buffer + left.len,
                 wish - left.len, bases->at + left.len);
}

static enum load_step has_read(struct load_bases *bases) {
    if (bases->result < 0) {
        return fail_errno(bases, "read", bases->result);
    }
    if (bases->result == 0) {
        return fail(bases, bases->at + bases->length, "the file ends while it is read");
    }
    bases->length += (size_t)bases->result;
    bases->stage = STAGE_FRAMES;
    return LOAD_GOES_ON;
}

/* ---- Frames ---- */

static enum load_step begin_frame(struct load_bases *bases, const struct frame *frame) {
    struct worker *worker = worker_of(bases);
    bases->frame_at = frame->offset;
    const char *error = frame_keys_frame(&bases->keys, frame);
    if (error != NULL) {
        return fail(bases, frame->offset, error);
    }
    bases->stage = STAGE_KEYS;
    shared_add_loaded_bytes(worker->server->shared, worker->id, frame->bytes);
    return LOAD_GOES_ON;
}

static enum load_step read_keys(struct load_bases *bases) {
    const struct rdb_loaded *loaded = &bases->keys.keys.loaded;
    uint64_t before = loaded->keys;
    uint32_t budget = worker_of(bases)->config->key_load_delay > 0 ? 1 : KEYS_AT_ONCE;
    enum frame_keys_got got = frame_keys_some(&bases->keys, budget);
    bool rests = load_delay(bases->self, loaded->keys - before);
    switch (got) {
    case FRAME_KEYS_BAD:
        return fail(bases, bases->frame_at, bases->keys.input.error);
    case FRAME_KEYS_DONE:
        bases->stage = STAGE_FRAMES;
        break;
    case FRAME_KEYS_SLICE:
        break;
    }
    return rests ? LOAD_RESTS : LOAD_GOES_ON;
}

static enum load_step next_frame(struct load_bases *bases) {
    struct frame frame;
    size_t need;
    switch (
        frame_reader_next(&bases->reader, at_hand(bases), wants, worker_of(bases), &frame, &need)) {
    case FRAME_READ_SHORT:
        read_more(bases, need);
        return LOAD_GOES_ON;
    case FRAME_READ_PASSED:
        return LOAD_GOES_ON;
    case FRAME_READ_WANTED:
        return begin_frame(bases, &frame);
    case FRAME_READ_BAD:
        return fail(bases, bases->reader.at, bases->reader.error);
    case FRAME_READ_END:
        break;
    }
    if (!frame_keys_is_whole(&bases->keys)) {
        return fail(bases, bases->reader.at, "the file ends in the middle of a value");
    }
    const struct rdb_loaded *loaded = &bases->keys.keys.loaded;
    struct load_worker *self = bases->self;
    self->keys[bases->base - self->load->manifest.bases] =
        loaded->keys + loaded->expired + loaded->empty;
    self->loaded.keys += loaded->keys;
    self->loaded.expired += loaded->expired;
    self->loaded.empty += loaded->empty;
    self->loaded.functions += loaded->functions;
    bases->waits = true;
    bases->stage = STAGE_CLOSE;
    rt_file_close(worker_of(bases)->rt, &bases->op, bases->file);
    return LOAD_GOES_ON;
}

static enum load_step has_closed(struct load_bases *bases) {
    frame_keys_end(&bases->keys);
    bases->base = NULL;
    bases->files_done++;
    bases->stage = STAGE_OPEN;
    return LOAD_GOES_ON;
}

/* ---- All of it ---- */

enum load_step load_bases_some(struct load_bases *bases, uint64_t end) {
    static enum load_step (*const steps[])(struct load_bases * bases) = {
        [STAGE_OPEN] = open_next, [STAGE_SIZE] = ask_size,  [STAGE_FRAMES] = next_frame,
        [STAGE_READ] = has_read,  [STAGE_KEYS] = read_keys, [STAGE_CLOSE] = has_closed,
    };
    enum load_step step = LOAD_GOES_ON;
    while (!bases->waits && step == LOAD_GOES_ON && rt_ticks(worker_of(bases)->rt) < end) {
        step = steps[bases->stage](bases);
    }
    return step == LOAD_GOES_ON && bases->waits ? LOAD_WAITS : step;
}

struct load_bases *load_bases_new(struct load_worker *self) {
    struct load_bases *bases = must_aligned(_Alignof(struct load_bases), sizeof *bases);
    *bases = (struct load_bases){
        .op.done = done,
        .self = self,
        .stage = STAGE_OPEN,
        .rules = value_rules_of(self->worker->config),
    };
    text_init(&bases->path);
    return bases;
}

void load_bases_free(struct load_bases *bases) {
    if (bases == NULL) {
        return;
    }
    if (bases->base != NULL) {
        frame_keys_end(&bases->keys);
    }
    text_fini(&bases->path);
    free(bases->buffer);
    free(bases);
}
