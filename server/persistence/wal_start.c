/* SPDX-License-Identifier: BSD-3-Clause */
/* wal_start: see the header. Why a start does not go on in a segment that has blocks: behind its
 * end may lie bytes of a write that never counted, and numbers above the last one that counts are
 * drawn again. One that has none yet is as good as new: so a start makes one segment a shard at
 * most, and none after a life without a write.
 */
#include "server/persistence/wal_start.h"

#include "base/must.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/save.h"
#include "server/persistence/wals.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum base { BASE_IS_THERE, BASE_IS_WANTED, BASE_IS_MADE };

struct wal_start {
    struct wal_start_options options;
    enum base base;
    uint64_t last;            /* the last number that counts */
    struct manifest manifest; /* as it was found */
    char directory[512];
    struct recover *recover; /* NULL: there were no segments */
    struct rotate rotate;
    uint64_t *records;         /* by shard */
    struct log_segment *empty; /* that it goes on in */
    uint32_t empty_count;
    struct text report, failure;
};

void wal_start_free(struct wal_start *start) {
    if (start->recover != NULL) {
        recover_free(start->recover);
    }
    rotate_fini(&start->rotate);
    manifest_fini(&start->manifest);
    text_fini(&start->report);
    text_fini(&start->failure);
    free(start->records);
    free(start->empty);
    free(start);
}

static uint64_t snapshot_bytes(const struct wal_start *start) {
    const struct manifest *manifest = &start->options.data->manifest;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        bytes += manifest->bases[i].bytes;
    }
    return bytes;
}

static void over(struct wal_start *start) {
    const char *failure = start->failure.len > 0 ? start->failure.ptr : NULL;
    start->options.done(start->options.arg, failure, start->report.ptr);
}

static void failed(struct wal_start *start, int error) {
    text_appendf(&start->failure, "The log in %s cannot be begun: %s", start->directory,
                 error == -EEXIST ? "a segment with records is there that " MANIFEST_NAME
                                    " does not name; is that an older one?"
                                  : strerror(-error));
    over(start);
}

/* The segments after those are there, too. */
static void made_more(struct rotate *rotate, int error) {
    struct wal_start *start = rotate->arg;
    if (error != 0) {
        failed(start, error);
        return;
    }
    kill_point(start->options.worker->server->kill_points, KILL_START_MORE);
    wals_prepared(start->options.worker->server->wals);
    wals_saved(start->options.worker->server->wals, snapshot_bytes(start));
    over(start);
}

static void cut(struct rotate *rotate, int error) {
    (void)error; /* there is none */
    kill_point(rotate->home->server->kill_points, KILL_START_CUT);
    rotate->done = made_more;
    rotate->ends = NULL;
    rotate->records = NULL;
    rotate_begin(rotate);
}

static void made(struct rotate *rotate, int error) {
    struct wal_start *start = rotate->arg;
    if (error != 0) {
        failed(start, error);
        return;
    }
    rotate->done = cut;
    kill_point(start->options.worker->server->kill_points, KILL_START_MADE);
    rotate_cut(rotate, WAL_ON);
}

static void begin_segments(struct wal_start *start) {
    const struct wal_start_options *o = &start->options;
    start->rotate = (struct rotate){
        .home = o->worker,
        .data = o->data,
        .dir = o->dir,
        .dir_name = o->dir_name,
        .done = made,
        .arg = start,
        .ends = start->recover != NULL ? start->recover->ends : NULL,
        .until = start->last,
        .records = start->records,
        .empty = start->empty,
        .empty_count = start->empty_count,
    };
    rotate_begin(&start->rotate);
}

static void begin_log(struct wal_start *start) {
    struct shared_counters *shared = start->options.worker->server->shared;
    if (!start->options.again) {
        shared_wal_begin(shared, start->last);
    } else if (start->options.logs && !start->options.imported &&
               start->last != shared_wal_count(shared)) {
        text_appendf(&start->failure,
                     "The log in %s ends with number %" PRIu64
                     ", but this server has written up to "
                     "%" PRIu64,
                     start->directory, start->last, shared_wal_count(shared));
        over(start);
        return;
    }
    if (!start->options.logs) {
        over(start);
    } else if (start->options.imported) {
        start->base = BASE_IS_WANTED;
    } else {
        begin_segments(start);
    }
}

/* The last ones of each shard, as long as they are empty. */
static void note_empty(struct wal_start *start, const struct recover *recover) {
    const struct manifest *manifest = &start->manifest;
    start->empty = must_calloc(manifest->count, sizeof *start->empty);
    uint32_t full = UINT32_MAX; /* the shard at hand, once it has shown one that is not */
    for (uint32_t i = manifest->count; i-- > 0;) {
        uint32_t shard = manifest->segments[i].shard;
        if (shard != full && recover_is_empty(recover, i, &start->empty[start->empty_count])) {
            start->empty_count++;
        } else {
            full = shard;
        }
    }
}

static void recovered(void *arg, struct recover *recover) {
    struct wal_start *start = arg;
    if (recover->why.len > 0) {
        text_append_bytes(&start->failure, text_bytes(&recover->why));
        over(start);
        return;
    }
    text_appendf(&start->report, "%" PRIu64 " records of the log were done again. ",
                 recover->records);
    text_append_bytes(&start->report, text_bytes(&recover->report));
    const struct server *server = start->options.worker->server;
    for (uint32_t i = 0; i < start->manifest.count; i++) {
        uint32_t shard = start->manifest.segments[i].shard;
        if (shard < server->workers_count) {
            start->records[shard] = recover->next_records[i];
        }
    }
    start->last = recover->last;
    note_empty(start, recover);
    kill_point(server->kill_points, KILL_START_RECOVERED);
    begin_log(start);
}

static void progress(void *arg, uint64_t bytes) {
    const struct wal_start_options *o = &((struct wal_start *)arg)->options;
    o->progress(o->arg, bytes);
}

struct wal_start *wal_start_begin(const struct wal_start_options *options) {
    struct wal_start *start = must_calloc(1, sizeof *start);
    start->options = *options;
    text_init(&start->report);
    text_init(&start->failure);
    text_appendf(&start->failure, "%s/%s", options->dir, options->dir_name);
    memcpy(start->directory, start->failure.ptr,
           start->failure.len < sizeof start->directory ? start->failure.len + 1
                                                        : sizeof start->directory - 1);
    text_clear(&start->failure);
    manifest_copy(&start->manifest, options->manifest); /* it changes once new ones are named */
    start->records = must_calloc(options->worker->server->workers_count, sizeof *start->records);
    if (start->manifest.count == 0) {
        start->last = start->manifest.first > 0 ? start->manifest.first - 1 : 0;
        begin_log(start);
        return start;
    }
    struct recover_options recover = {
        .worker = options->worker,
        .directory = start->directory,
        .manifest = &start->manifest,
        .progress = progress,
        .done = recovered,
        .arg = start,
    };
    start->recover = recover_begin(&recover);
    return start;
}

enum recover_step wal_start_step(struct wal_start *start, uint64_t end) {
    const struct saver *saver = saver_of(start->options.worker->server);
    if (start->base == BASE_IS_MADE && saver->save == NULL) {
        start->base = BASE_IS_THERE;
        kill_point(start->options.worker->server->kill_points, KILL_START_IMPORTED);
        if (saver->ended_well) {
            begin_segments(start);
        } else {
            text_appendf(&start->failure,
                         "What was imported cannot be saved in %s, so no log can "
                         "begin (the log above says why)",
                         start->directory);
            over(start);
        }
    }
    if (start->base == BASE_IS_WANTED) {
        return RECOVER_WANTS_ALL;
    }
    return start->recover != NULL ? recover_step(start->recover, end) : RECOVER_WAITS;
}

void wal_start_alone(struct wal_start *start, uint64_t end) {
    if (start->base == BASE_IS_WANTED) {
        start->base = BASE_IS_MADE;
        save_begin(start->options.worker, SAVE_REWRITE);
    } else {
        recover_alone(start->recover, end);
    }
}
