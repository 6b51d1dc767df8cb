/* SPDX-License-Identifier: BSD-3-Clause */
/* recover: see the header. Why so: what counts is known only when all files have been read to their
 * ends, so they are read twice; of the first reading only the places of runs are kept. The second
 * follows the numbers, and as those nearly grow along each file, a window of each is enough. What
 * is in the windows goes to all workers (redo.h).
 *
 *     open, size, read .. scan, for each segment -> the rule -> sort -> read, redo .. -> done
 */
#include "server/persistence/recover.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt_file.h"
#include "persist/log/log_index.h"
#include "persist/log/log_scan.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/redo.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_BYTES ((size_t)4 * 1024 * 1024)
#define PATH_BYTES   512

/* One segment's file. */
struct segment_reader {
    char path[PATH_BYTES];
    rt_file file;  /* -1: not open */
    rt_file again; /* the same, to be written; -1: not open */
    uint64_t size, end;
    uint64_t lasts;         /* so much of it is on the disk */
    struct redo_file *redo; /* its header, and what is in memory of it */
};

struct recover_private {
    struct rt_file_op op; /* first */
    struct iovec vector;
    struct recover *recover;
    struct segment_reader *readers;
    struct redo_file *redo_files; /* by reader */
    uint32_t at;                  /* the segment that is read */
    struct log_scan scan;
    struct log_recover rule;
    struct log_recover_file *files;
    struct log_index index;
    size_t place;                    /* of the index: what is next */
    bool running;                    /* the second reading has begun, */
    bool reads;                      /* and waits for a file, */
    const struct log_place *reading; /* for that one; */
    size_t doing;                    /* or so many places from there on are done again */
    struct redo *redo;
};

static struct rt *rt_of(const struct recover *recover) {
    return recover->options.worker->rt;
}

static struct recover *of_op(struct rt_file_op *op) {
    return ((struct recover_private *)op)->recover;
}

static struct segment_reader *reader_of(const struct recover *recover) {
    return &recover->private->readers[recover->private->at];
}

/* ---- The end ---- */

static void close_next(struct recover *recover);

static void closed(struct rt_file_op *op, int64_t result) {
    (void)result;
    struct recover *recover = of_op(op);
    reader_of(recover)->file = -1;
    close_next(recover);
}

static void close_it(struct recover *recover) {
    struct recover_private *p = recover->private;
    p->op.done = closed;
    rt_file_close(rt_of(recover), &p->op, reader_of(recover)->file);
}

/* ---- What was read of a segment that was still written may lie in the kernel's memory alone. From
 * now on it counts, and others build on it: so it is made to last first. After a sync that has
 * failed the kernel takes such bytes for written, though they are not, and the next sync succeeds:
 * so they are written once more. ---- */

static void again_closed(struct rt_file_op *op, int64_t result) {
    (void)result;
    struct recover *recover = of_op(op);
    reader_of(recover)->again = -1;
    close_it(recover);
}

static void lasts(struct recover *recover, int64_t result) {
    struct recover_private *p = recover->private;
    if (result < 0) {
        text_appendf(&recover->why, "%s cannot be synced: %s", reader_of(recover)->path,
                     strerror((int)-result));
    }
    p->op.done = again_closed;
    rt_file_close(rt_of(recover), &p->op, reader_of(recover)->again);
}

static void synced(struct rt_file_op *op, int64_t result) {
    lasts(of_op(op), result);
}

static void write_again(struct recover *recover);

static void written_again(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    struct segment_reader *reader = reader_of(recover);
    if (result < 0) {
        lasts(recover, result);
        return;
    }
    reader->lasts += reader->redo->window.len;
    write_again(recover);
}

static void read_again(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    struct recover_private *p = recover->private;
    struct segment_reader *reader = reader_of(recover);
    if (result <= 0) {
        lasts(recover, result < 0 ? result : -EIO);
        return;
    }
    reader->redo->window.len = (size_t)result;
    p->vector =
        (struct iovec){.iov_base = reader->redo->window.ptr, .iov_len = reader->redo->window.len};
    p->op.done = written_again;
    rt_file_write(rt_of(recover), &p->op, reader->again, &p->vector, 1, reader->lasts);
}

static void write_again(struct recover *recover) {
    struct recover_private *p = recover->private;
    struct segment_reader *reader = reader_of(recover);
    uint64_t left = reader->end - reader->lasts;
#ifdef SHOAL_UNSAFE_LOG_AGAIN /* for the test that crashes in the simulator show it */
    left = 0;
#endif
    if (left == 0) {
        p->op.done = synced;
        rt_file_sync(rt_of(recover), &p->op, reader->again, RT_SYNC_ALL);
        return;
    }
    size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    text_clear(&reader->redo->window);
    text_reserve(&reader->redo->window, n);
    p->op.done = read_again;
    rt_file_read(rt_of(recover), &p->op, reader->file, reader->redo->window.ptr, n, reader->lasts);
}

static void again_opened(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    struct segment_reader *reader = reader_of(recover);
    if (result < 0) {
        text_appendf(&recover->why, "%s cannot be written: %s", reader->path,
                     strerror((int)-result));
        close_it(recover);
        return;
    }
    reader->again = (rt_file)result;
    write_again(recover);
}

static void close_next(struct recover *recover) {
    struct recover_private *p = recover->private;
    for (p->at = 0; p->at < recover->options.manifest->count; p->at++) {
        struct segment_reader *reader = reader_of(recover);
        if (reader->file >= 0) {
            if (recover->options.manifest->segments[p->at].bytes == 0 && recover->why.len == 0) {
                p->op.done = again_opened;
                rt_file_open(rt_of(recover), &p->op, reader->path, RT_OPEN_WRITE, 0);
            } else {
                close_it(recover);
            }
            return;
        }
    }
    recover->options.done(recover->options.arg, recover);
}

/* The start is refused. */
static void refuse(struct recover *recover, uint32_t file, uint64_t offset, const char *what) {
    text_appendf(&recover->why,
                 "%s, byte %" PRIu64 ": %s ('shoal-check verify %s' shows more, "
                 "'shoal-check repair %s' cuts the data to what is sound)",
                 recover->private->readers[file].path, offset, what, recover->options.directory,
                 recover->options.directory);
    close_next(recover);
}

static void refuse_system(struct recover *recover, const char *what, int64_t result) {
    text_appendf(&recover->why, "%s cannot be %s: %s", reader_of(recover)->path, what,
                 strerror((int)-result));
    close_next(recover);
}

/* ---- Reading ---- */

/* Appends to the window, as far as the file goes. `done` gets how many bytes came. */
static void read_more(struct recover *recover, struct segment_reader *reader, size_t bytes,
                      void (*done)(struct rt_file_op *op, int64_t result)) {
    struct recover_private *p = recover->private;
    uint64_t at = reader->redo->window_at + reader->redo->window.len;
    uint64_t left = reader->size > at ? reader->size - at : 0;
    size_t n = bytes < left ? bytes : (size_t)left;
    text_reserve(&reader->redo->window, n);
    p->op.done = done;
    rt_file_read(rt_of(recover), &p->op, reader->file,
                 reader->redo->window.ptr + reader->redo->window.len, n, at);
}

static bool took(struct recover *recover, struct segment_reader *reader, int64_t result) {
    if (result < 0) {
        refuse_system(recover, "read", result);
        return false;
    }
    reader->redo->window.len += (size_t)result;
    recover->options.progress(recover->options.arg, (uint64_t)result);
    return true;
}

/* What lies before `at` is not needed any more. */
static void slide(struct segment_reader *reader, uint64_t at) {
    size_t n = (size_t)(at - reader->redo->window_at);
    memmove(reader->redo->window.ptr, reader->redo->window.ptr + n, reader->redo->window.len - n);
    reader->redo->window.len -= n;
    reader->redo->window_at = at;
}

static void empty(struct segment_reader *reader, uint64_t at) {
    text_clear(&reader->redo->window);
    reader->redo->window_at = at;
}

/* ---- What counts ---- */

static void open_next(struct recover *recover);

static void report(struct recover *recover, const struct segment_reader *reader,
                   const struct log_scan *scan) {
    if (scan->lost_bytes > 0) {
        text_appendf(&recover->report,
                     "%s ends in the middle of a write at byte %" PRIu64 ": %" PRIu64
                     " bytes behind it are left out. ",
                     reader->path, scan->end, scan->lost_bytes);
    }
}

static void judge(struct recover *recover) {
    struct recover_private *p = recover->private;
    if (!log_recover_end(&p->rule)) {
        char what[160];
        snprintf(what, sizeof what, "%s (number %" PRIu64 ")", p->rule.error, p->rule.wrong);
        refuse(recover, p->rule.wrong_file, p->readers[p->rule.wrong_file].end, what);
        return;
    }
    recover->last = p->rule.last;
    if (p->rule.dropped_records > 0 || p->rule.dropped_transactions > 0) {
        text_appendf(&recover->report,
                     "Not complete on all shards, so left out: %" PRIu64 " transactions, %" PRIu64
                     " records, %" PRIu64 " bytes. ",
                     p->rule.dropped_transactions, p->rule.dropped_records, p->rule.dropped_bytes);
    }
    log_index_sort(&p->index, recover->last);
    for (uint32_t i = 0; i < recover->options.manifest->count; i++) {
        empty(&p->readers[i], 0);
    }
    p->running = true;
    kill_point(recover->options.worker->server->kill_points, KILL_START_JUDGED);
}

/* A whole block of the segment at hand. */
static void take_block(struct recover *recover, const struct log_block *block) {
    struct recover_private *p = recover->private;
    log_recover_add(&p->rule, p->at, block);
    log_index_add(&p->index, p->at, p->files[p->at].until, block);
    recover->next_records[p->at] = block->first_record + block->records;
}

static void scan_some(struct recover *recover);

static void scan_read(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    if (took(recover, reader_of(recover), result)) {
        struct segment_reader *reader = reader_of(recover);
        if (result == 0) {
            reader->size = reader->redo->window_at + reader->redo->window.len;
        }
        scan_some(recover);
    }
}

static void scan_ended(struct recover *recover) {
    struct recover_private *p = recover->private;
    struct segment_reader *reader = reader_of(recover);
    const struct manifest_segment *named = &recover->options.manifest->segments[p->at];
    const struct log_scan *scan = &p->scan;
    if (scan->verdict == LOG_SCAN_CORRUPT ||
        (scan->verdict == LOG_SCAN_TORN && (named->bytes != 0 || !scan->begun))) {
        refuse(recover, p->at, scan->end, scan->error ? scan->error : "the file ends too early");
        return;
    }
    const char *error =
        manifest_check(recover->options.manifest, p->at, &scan->segment, reader->size);
    if (error != NULL) {
        refuse(recover, p->at, 0, error);
        return;
    }
    report(recover, reader, scan);
    reader->redo->segment = scan->segment;
    reader->end = scan->end;
    reader->lasts = scan->synced < LOG_SEGMENT_BYTES ? LOG_SEGMENT_BYTES : scan->synced;
    recover->ends[p->at] = scan->end;
    if (recover->next_records[p->at] == 0) {
        recover->next_records[p->at] = scan->segment.first_record;
    }
    p->at++;
    open_next(recover);
}

static void scan_some(struct recover *recover) {
    struct recover_private *p = recover->private;
    struct segment_reader *reader = reader_of(recover);
    for (;;) {
        size_t skip = (size_t)(p->scan.at - reader->redo->window_at);
        struct bytes input =
            bytes_make(reader->redo->window.ptr + skip, reader->redo->window.len - skip);
        bool last = reader->redo->window_at + reader->redo->window.len >= reader->size;
        struct log_block block;
        switch (log_scan_next(&p->scan, input, last, &block)) {
        case LOG_SCAN_BLOCK:
            take_block(recover, &block);
            break;
        case LOG_SCAN_MORE:
            check(!last);
            slide(reader, p->scan.at);
            read_more(recover, reader,
                      reader->redo->window.len > WINDOW_BYTES ? reader->redo->window.len
                                                              : WINDOW_BYTES,
                      scan_read);
            return;
        case LOG_SCAN_END:
            scan_ended(recover);
            return;
        }
    }
}

static void sized(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    struct recover_private *p = recover->private;
    struct segment_reader *reader = reader_of(recover);
    const struct manifest_segment *named = &recover->options.manifest->segments[p->at];
    if (result < 0) {
        refuse_system(recover, "looked at", result);
        return;
    }
    if ((uint64_t)result < named->bytes) {
        refuse(recover, p->at, (uint64_t)result, "the file is shorter than it was");
        return;
    }
    reader->size = named->bytes > 0 ? named->bytes : (uint64_t)result;
    log_scan_init(&p->scan);
    scan_some(recover);
}

static void opened(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    struct recover_private *p = recover->private;
    if (result < 0) {
        refuse_system(recover, "opened", result);
        return;
    }
    reader_of(recover)->file = (rt_file)result;
    p->op.done = sized;
    rt_file_size(rt_of(recover), &p->op, reader_of(recover)->file);
}

static void open_next(struct recover *recover) {
    struct recover_private *p = recover->private;
    if (p->at == recover->options.manifest->count) {
        judge(recover);
        return;
    }
    p->op.done = opened;
    rt_file_open(rt_of(recover), &p->op, reader_of(recover)->path, RT_OPEN_READ, 0);
}

/* ---- Doing it again ---- */

static bool is_in_window(const struct segment_reader *reader, const struct log_place *place) {
    return place->offset >= reader->redo->window_at &&
           place->offset + place->bytes <= reader->redo->window_at + reader->redo->window.len;
}

static void apply_read(struct rt_file_op *op, int64_t result) {
    struct recover *recover = of_op(op);
    struct recover_private *p = recover->private;
    const struct log_place *place = p->reading;
    struct segment_reader *reader = &p->readers[place->file];
    if (!took(recover, reader, result)) {
        return;
    }
    p->reads = false;
    if (!is_in_window(reader, place)) {
        refuse(recover, place->file, place->offset, "the file changes while it is read");
    }
}

bool recover_is_empty(const struct recover *recover, uint32_t i, struct log_segment *ret) {
    const struct manifest_segment *named = &recover->options.manifest->segments[i];
    const struct segment_reader *reader = &recover->private->readers[i];
    *ret = reader->redo->segment;
    return named->bytes == 0 && named->until == 0 && reader->size == LOG_SEGMENT_BYTES &&
           reader->end == LOG_SEGMENT_BYTES;
}

static void fail(struct recover *recover) {
    const char *why;
    const struct log_place *place = redo_failed(recover->private->redo, &why);
    recover->private->running = false;
    refuse(recover, place->file, place->offset, why);
}

/* A place that must be in the window of its file. */
static void read_place(struct recover *recover, const struct log_place *place) {
    struct recover_private *p = recover->private;
    struct segment_reader *reader = &p->readers[place->file];
    empty(reader, place->offset);
    p->at = place->file;
    p->reads = true;
    p->reading = place;
    read_more(recover, reader, place->bytes > WINDOW_BYTES ? (size_t)place->bytes : WINDOW_BYTES,
              apply_read);
}

/* How many places have the number of the first, and (or NULL) the one that no window has. */
static size_t look_at_number(const struct recover *recover, const struct log_place *place,
                             const struct log_place **ret_missing) {
    const struct recover_private *p = recover->private;
    size_t left = (size_t)(p->index.places + p->index.count - place), count = 0;
    *ret_missing = NULL;
    while (count < left && place[count].number == place->number) {
        if (!is_in_window(&p->readers[place[count].file], &place[count])) {
            *ret_missing = &place[count];
        }
        count++;
    }
    return count;
}

/* As many numbers as are at hand. False: something is read first. */
static bool begin_some(struct recover *recover) {
    struct recover_private *p = recover->private;
    size_t count;
    for (p->doing = 0; p->place + p->doing < p->index.count; p->doing += count) {
        const struct log_place *place = &p->index.places[p->place + p->doing], *missing;
        count = look_at_number(recover, place, &missing);
        if (missing != NULL && p->doing == 0) {
            read_place(recover, missing);
            return false;
        }
        if (missing != NULL || !redo_take(p->redo, place, count)) {
            break;
        }
    }
    redo_begin(p->redo);
    return true;
}

static void end_running(struct recover *recover) {
    kill_point(recover->options.worker->server->kill_points, KILL_START_APPLIED);
    recover->records = redo_records(recover->private->redo);
    recover->private->running = false;
    close_next(recover);
}

enum recover_step recover_step(struct recover *recover, uint64_t end) {
    struct recover_private *p = recover->private;
    while (p->running && !p->reads) {
        if (p->doing == 0) {
            if (p->place == p->index.count) {
                end_running(recover);
                break;
            }
            if (rt_ticks(rt_of(recover)) >= end) {
                return RECOVER_GOES_ON;
            }
            if (!begin_some(recover)) {
                break;
            }
        }
        switch (redo_step(p->redo, end)) {
        case REDO_GOES_ON:
            return RECOVER_GOES_ON;
        case REDO_WAITS:
            return RECOVER_WAITS;
        case REDO_WANTS_ALL:
            return RECOVER_WANTS_ALL;
        case REDO_DONE:
            p->place += p->doing;
            p->doing = 0;
            break;
        case REDO_FAILED:
            fail(recover);
            break;
        }
    }
    return RECOVER_WAITS;
}

void recover_alone(struct recover *recover, uint64_t end) {
    redo_alone(recover->private->redo, end);
}

/* ---- Life ---- */

struct recover *recover_begin(const struct recover_options *options) {
    struct recover *recover = must_calloc(1, sizeof *recover);
    struct recover_private *p = must_calloc(1, sizeof *p);
    const struct manifest *manifest = options->manifest;
    uint32_t count = manifest->count;
    recover->options = *options;
    recover->private = p;
    text_init(&recover->why);
    text_init(&recover->report);
    recover->last = manifest->first > 0 ? manifest->first - 1 : 0;
    recover->ends = must_calloc(count + 1, sizeof *recover->ends);
    recover->next_records = must_calloc(count + 1, sizeof *recover->next_records);
    p->recover = recover;
    p->readers = must_calloc(count + 1, sizeof *p->readers);
    p->redo_files = must_calloc(count + 1, sizeof *p->redo_files);
    p->files = must_calloc(count + 1, sizeof *p->files);
    for (uint32_t i = 0; i < count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        char name[MANIFEST_NAME_BYTES];
        manifest_segment_name(name, segment->shard, segment->sequence);
        snprintf(p->readers[i].path, PATH_BYTES, "%s/%s", options->directory, name);
        p->readers[i].file = p->readers[i].again = -1;
        p->readers[i].redo = &p->redo_files[i];
        text_init(&p->redo_files[i].window);
        p->files[i] = (struct log_recover_file){
            .shard = segment->shard, .until = segment->until, .bytes = segment->bytes};
    }
    log_recover_init(&p->rule, p->files, count, manifest->first);
    log_index_init(&p->index);
    p->redo = redo_new(options->worker, p->redo_files, count);
    open_next(recover);
    return recover;
}

void recover_free(struct recover *recover) {
    struct recover_private *p = recover->private;
    for (uint32_t i = 0; i < recover->options.manifest->count; i++) {
        text_fini(&p->redo_files[i].window);
    }
    log_recover_fini(&p->rule);
    log_index_fini(&p->index);
    redo_free(p->redo);
    free(p->redo_files);
    free(p->readers);
    free(p->files);
    free(p);
    text_fini(&recover->why);
    text_fini(&recover->report);
    free(recover->ends);
    free(recover->next_records);
    free(recover);
}
