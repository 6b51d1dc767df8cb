/* SPDX-License-Identifier: BSD-3-Clause */
/* recover: see the header. Why so: what counts is known only when all files have been read to their
 * ends, so they are read twice; of the first reading only the places of runs are kept. The second
 * follows the numbers, and as those nearly grow along each file, a window of each is enough.
 *
 *     open, size, read .. scan, for each segment -> the rule -> sort -> read, run .. -> done
 */
#include "server/persistence/recover.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt_file.h"
#include "persist/check/request.h"
#include "persist/log/log_index.h"
#include "persist/log/log_scan.h"
#include "proto/parser.h"
#include "server/persistence/kill_points.h"
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
    uint64_t lasts; /* so much of it is on the disk */
    struct log_segment segment;
    struct text window; /* of the file from window_at on */
    uint64_t window_at;
};

struct recover_private {
    struct rt_file_op op; /* first */
    struct iovec vector;
    struct recover *recover;
    struct segment_reader *readers;
    uint32_t at; /* the segment that is read */
    struct log_scan scan;
    struct log_recover rule;
    struct log_recover_file *files;
    struct log_index index;
    size_t place;                    /* of the index: what is next */
    bool running;                    /* the second reading has begun, */
    bool reads;                      /* and waits for a file */
    const struct log_place *reading; /* for that one */
    struct arena arena;
    struct parser parser;
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
    reader->lasts += reader->window.len;
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
    reader->window.len = (size_t)result;
    p->vector = (struct iovec){.iov_base = reader->window.ptr, .iov_len = reader->window.len};
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
    text_clear(&reader->window);
    text_reserve(&reader->window, n);
    p->op.done = read_again;
    rt_file_read(rt_of(recover), &p->op, reader->file, reader->window.ptr, n, reader->lasts);
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
    uint64_t at = reader->window_at + reader->window.len;
    uint64_t left = reader->size > at ? reader->size - at : 0;
    size_t n = bytes < left ? bytes : (size_t)left;
    text_reserve(&reader->window, n);
    p->op.done = done;
    rt_file_read(rt_of(recover), &p->op, reader->file, reader->window.ptr + reader->window.len, n,
                 at);
}

static bool took(struct recover *recover, struct segment_reader *reader, int64_t result) {
    if (result < 0) {
        refuse_system(recover, "read", result);
        return false;
    }
    reader->window.len += (size_t)result;
    recover->options.progress(recover->options.arg, (uint64_t)result);
    return true;
}

/* What lies before `at` is not needed any more. */
static void slide(struct segment_reader *reader, uint64_t at) {
    size_t n = (size_t)(at - reader->window_at);
    memmove(reader->window.ptr, reader->window.ptr + n, reader->window.len - n);
    reader->window.len -= n;
    reader->window_at = at;
}

static void empty(struct segment_reader *reader, uint64_t at) {
    text_clear(&reader->window);
    reader->window_at = at;
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
            reader->size = reader->window_at + reader->window.len;
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
    reader->segment = scan->segment;
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
        size_t skip = (size_t)(p->scan.at - reader->window_at);
        struct bytes input = bytes_make(reader->window.ptr + skip, reader->window.len - skip);
        bool last = reader->window_at + reader->window.len >= reader->size;
        struct log_block block;
        switch (log_scan_next(&p->scan, input, last, &block)) {
        case LOG_SCAN_BLOCK:
            take_block(recover, &block);
            break;
        case LOG_SCAN_MORE:
            check(!last);
            slide(reader, p->scan.at);
            read_more(recover, reader,
                      reader->window.len > WINDOW_BYTES ? reader->window.len : WINDOW_BYTES,
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

/* A part of the number whose turn it is. */
struct part {
    struct bytes records; /* that are left */
    struct text text;     /* where they are */
    int64_t now_ms;
};

/* Which command of its transaction the next record is of: it is marked in its first word. */
static uint32_t next_order(struct bytes records) {
    struct bytes word = records;
    const char *line = memchr(word.ptr, '$', word.len < 32 ? word.len : 32);
    const char *end =
        line != NULL ? memchr(line, '\n', (size_t)(word.ptr + word.len - line)) : NULL;
    if (end == NULL || end + 1 == word.ptr + word.len || end[1] != '@') {
        return 0;
    }
    word = bytes_make(end + 1, (size_t)(records.ptr + records.len - end - 1));
    end = memchr(word.ptr, '\r', word.len);
    uint32_t db, order;
    return end != NULL && request_mark(bytes_make(word.ptr, (size_t)(end - word.ptr)), &db, &order)
               ? order
               : 0;
}

/* Runs the next record of a part. NULL, or what is wrong. */
static const char *run_record(struct recover *recover, struct part *part, bool again) {
    struct recover_private *p = recover->private;
    static const struct parser_limits limits = {
        .bulk_len_max = INT64_MAX, .query_bytes_max = INT64_MAX, .authenticated = true};
    struct request request;
    size_t used;
    arena_reset(&p->arena);
    if (parser_run(&p->parser, &limits, part->records, &p->arena, &request, &used) !=
        PARSE_REQUEST) {
        return "a record is no command";
    }
    part->records = bytes_make(part->records.ptr + used, part->records.len - used);
    struct request_words words = {.argv = request.argv, .argc = request.argc};
    uint32_t db, order;
    if (!request_take_mark(&words, &db, &order)) {
        return "a record without a command";
    }
    recover->records++;
    return recover->options.run(recover->options.arg, db, words.argv, words.argc, part->now_ms,
                                again, &recover->why)
               ? NULL
               : recover->why.ptr;
}

/* All parts of one number, command by command. */
static const char *run_parts(struct recover *recover, struct part *parts, size_t count) {
    const char *error = NULL;
    uint64_t few[4], *orders = count > 4 ? must_malloc(count * sizeof *orders) : few;
    struct log_order order = {0};
    while (error == NULL) {
        for (size_t i = 0; i < count; i++) {
            orders[i] = parts[i].records.len > 0 ? next_order(parts[i].records) : LOG_ORDER_NONE;
        }
        bool again;
        size_t next = log_order_next(&order, orders, count, &again);
        if (next == count) {
            break;
        }
        error = run_record(recover, &parts[next], again);
    }
    if (orders != few) {
        free(orders);
    }
    return error;
}

static bool is_in_window(const struct segment_reader *reader, const struct log_place *place) {
    return place->offset >= reader->window_at &&
           place->offset + place->bytes <= reader->window_at + reader->window.len;
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

/* Its records, copied if the payload is packed, as parts of one number stay side by side. */
static const char *take_part(struct recover *recover, const struct log_place *place,
                             struct part *part) {
    struct recover_private *p = recover->private;
    struct segment_reader *reader = &p->readers[place->file];
    struct log_block block;
    struct bytes payload;
    const char *error;
    struct bytes input =
        bytes_make(reader->window.ptr + (place->offset - reader->window_at), (size_t)place->bytes);
    if (log_block_decode(input, &reader->segment, place->offset, &block, &error) != LOG_WHOLE) {
        return "the file changes while it is read";
    }
    if (!log_block_payload(&block, &part->text, &payload)) {
        return "a block cannot be unpacked";
    }
    part->records = log_index_records(&block, place->run, payload);
    part->now_ms = (int64_t)block.time_ms;
    return NULL;
}

/* So many places that have one number. */
static const char *apply(struct recover *recover, const struct log_place *places, size_t count) {
    struct part few[4], *parts = count > 4 ? must_malloc(count * sizeof *parts) : few;
    const char *error = NULL;
    for (size_t i = 0; i < count; i++) {
        text_init(&parts[i].text);
        parts[i].records = bytes_make("", 0);
        error = error != NULL ? error : take_part(recover, &places[i], &parts[i]);
    }
    error = error != NULL ? error : run_parts(recover, parts, count);
    for (size_t i = 0; i < count; i++) {
        text_fini(&parts[i].text);
    }
    if (parts != few) {
        free(parts);
    }
    return error;
}

bool recover_is_empty(const struct recover *recover, uint32_t i, struct log_segment *ret) {
    const struct manifest_segment *named = &recover->options.manifest->segments[i];
    const struct segment_reader *reader = &recover->private->readers[i];
    *ret = reader->segment;
    return named->bytes == 0 && named->until == 0 && reader->size == LOG_SEGMENT_BYTES &&
           reader->end == LOG_SEGMENT_BYTES;
}

bool recover_wants(const struct recover *recover) {
    return recover->private->running && !recover->private->reads;
}

static void fail(struct recover *recover, const struct log_place *place, const char *error) {
    struct text what;
    text_init(&what);
    text_append_text(&what, error); /* it may be in `why` */
    text_clear(&recover->why);
    recover->private->running = false;
    refuse(recover, place->file, place->offset, what.ptr);
    text_fini(&what);
}

/* False: one of them is read first. */
static bool are_in_windows(struct recover *recover, const struct log_place *places, size_t count) {
    struct recover_private *p = recover->private;
    for (size_t i = 0; i < count; i++) {
        struct segment_reader *reader = &p->readers[places[i].file];
        if (!is_in_window(reader, &places[i])) {
            empty(reader, places[i].offset);
            p->reads = true;
            p->reading = &places[i];
            read_more(recover, reader,
                      places[i].bytes > WINDOW_BYTES ? (size_t)places[i].bytes : WINDOW_BYTES,
                      apply_read);
            return false;
        }
    }
    return true;
}

void recover_some(struct recover *recover, uint64_t end) {
    struct recover_private *p = recover->private;
    while (p->place < p->index.count) {
        if (rt_ticks(rt_of(recover)) >= end) {
            return;
        }
        const struct log_place *place = &p->index.places[p->place];
        size_t count = 1;
        while (p->place + count < p->index.count && place[count].number == place->number) {
            count++;
        }
        if (!are_in_windows(recover, place, count)) {
            return;
        }
        const char *error = apply(recover, place, count);
        if (error != NULL) {
            fail(recover, place, error);
            return;
        }
        p->place += count;
    }
    kill_point(recover->options.worker->server->kill_points, KILL_START_APPLIED);
    p->running = false;
    close_next(recover);
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
    p->files = must_calloc(count + 1, sizeof *p->files);
    for (uint32_t i = 0; i < count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        char name[MANIFEST_NAME_BYTES];
        manifest_segment_name(name, segment->shard, segment->sequence);
        snprintf(p->readers[i].path, PATH_BYTES, "%s/%s", options->directory, name);
        p->readers[i].file = p->readers[i].again = -1;
        text_init(&p->readers[i].window);
        p->files[i] = (struct log_recover_file){
            .shard = segment->shard, .until = segment->until, .bytes = segment->bytes};
    }
    log_recover_init(&p->rule, p->files, count, manifest->first);
    log_index_init(&p->index);
    arena_init(&p->arena, 4096);
    parser_init(&p->parser);
    open_next(recover);
    return recover;
}

void recover_free(struct recover *recover) {
    struct recover_private *p = recover->private;
    for (uint32_t i = 0; i < recover->options.manifest->count; i++) {
        text_fini(&p->readers[i].window);
    }
    log_recover_fini(&p->rule);
    log_index_fini(&p->index);
    arena_fini(&p->arena);
    parser_fini(&p->parser);
    free(p->readers);
    free(p->files);
    free(p);
    text_fini(&recover->why);
    text_fini(&recover->report);
    free(recover->ends);
    free(recover->next_records);
    free(recover);
}
