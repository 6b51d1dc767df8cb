/* SPDX-License-Identifier: BSD-3-Clause */
/* wal: see the header. Records of one shard without a transaction make one run of the block that
 * their turn ends with; a number that is drawn in the middle of a turn divides it, so that what
 * came before a transaction has the smaller number. Parts of transactions are runs of their own,
 * gathered over as many turns as the transaction takes.
 *
 * Invariants
 *  1. What the worker has said to stand on (shared_wal_stand) is never above a number that is not
 * safe here: it says a bound before it draws, and takes that back when the block has its place.
 *  2. One write is on its way at a time, at the end of the file: blocks become safe in the order in
 * which they lie there.
 */
#include "server/persistence/wal.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "net/rt.h"
#include "server/observe/log.h"
#include "server/persistence/kill_points.h"
#include "server/replication/feed.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING UINT64_MAX
/* Memory that one large turn took is given back. */
#define KEEP_BYTES ((size_t)1024 * 1024)
/* Room beside a record larger than that: for the front of its block, and what waits before it. */
#define FRONT_BYTES ((size_t)16 * 1024)
/* everysec: nothing waits for longer to be on the disk, unless a sync takes longer than the one
 * before it; and a turn that begins one may be so late. */
#define UNSYNCED_MS 1000
#define LATE_MS     100

static const struct wal_extent nothing = {NOTHING, INT64_MAX};

static struct wal_file no_file(void) {
    return (struct wal_file){.file = -1};
}

/* ---- Life ---- */

struct wal *wal_new(struct worker *worker) {
    struct wal *wal = must_calloc(1, sizeof *wal);
    wal->worker = worker;
    wal->file = wal->next = wal->old = no_file();
    wal->parts_least = NOTHING;
    wal->pending_extent = wal->tail_extent = wal->flying_extent = nothing;
    wal->unsynced = wal->syncing_extent = wal->old_extent = nothing;
    list_init(&wal->stands);
    list_init(&wal->waiting);
    list_init(&wal->waiting_acks);
    text_init(&wal->text);
    text_init(&wal->parts_text);
    text_init(&wal->published);
    text_init(&wal->pending);
    text_init(&wal->tail);
    text_init(&wal->flying);
    return wal;
}

static void forget_open(struct wal *wal) {
    for (uint32_t i = 0; i < wal->open_count; i++) {
        text_fini(&wal->open[i].text);
    }
    wal->open_count = 0;
}

void wal_free(struct wal *wal) {
    if (wal == NULL) {
        return;
    }
    forget_open(wal);
    free(wal->open);
    free(wal->runs);
    free(wal->parts);
    free(wal->units);
    text_fini(&wal->text);
    text_fini(&wal->parts_text);
    text_fini(&wal->published);
    text_fini(&wal->pending);
    text_fini(&wal->tail);
    text_fini(&wal->flying);
    free(wal);
}

static struct shared_counters *shared_of(const struct wal *wal) {
    return wal->worker->server->shared;
}

bool wal_is_recording(const struct wal *wal) {
    return wal_is_logging(wal) || wal->feeds;
}

/* ---- What the worker stands on ---- */

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static struct wal_extent both(struct wal_extent a, struct wal_extent b) {
    return (struct wal_extent){least(a.least, b.least),
                               a.since_ms < b.since_ms ? a.since_ms : b.since_ms};
}

static struct wal_extent extent_of(const struct wal *wal, enum shared_wal_word word) {
    struct wal_extent extent =
        both(wal->flying_extent, both(wal->tail_extent, wal->pending_extent));
    if (word == WAL_SYNCED) {
        extent = both(extent, both(wal->unsynced, both(wal->syncing_extent, wal->old_extent)));
    }
    return extent;
}

static uint64_t stands_on(const struct wal *wal, enum shared_wal_word word) {
    uint64_t number = least(extent_of(wal, word).least, wal->parts_least);
    const struct list_node *first = list_first(&wal->stands);
    if (first != NULL) {
        number = least(number, LIST_ENTRY(first, struct wal_stand, node)->number);
    }
    return wal->bounded ? least(number, wal->bound) : number;
}

/* Others that wait for a number which is safe now. They have said so before they looked for the
 * last time; whoever changes his word last sees them. */
static void wake_others(const struct wal *wal) {
    struct worker *worker = wal->worker;
    struct server *server = worker->server;
    uint64_t safe = 0;
    for (unsigned i = 0; i < server->workers_count; i++) {
        uint64_t wanted = shared_wal_wanted(server->shared, i);
        if (i == worker->id || wanted == NOTHING) {
            continue;
        }
        safe = safe > 0 ? safe : shared_wal_safe(server->shared, WAL_WRITTEN);
        if (wanted <= safe) {
            rt_wake(worker->rt, server->threads[i]);
        }
    }
}

static void say(const struct wal *wal) {
    struct shared_counters *shared = shared_of(wal);
    unsigned id = wal->worker->id;
    bool more = false;
    for (enum shared_wal_word word = 0; word < WAL_WORDS; word++) {
        uint64_t number = stands_on(wal, word);
        uint64_t before = shared_wal_stands(shared, id, word);
        if (number != before) {
            shared_wal_stand(shared, id, word, number);
            more |= number > before;
        }
    }
#ifdef SHOAL_UNSAFE_LOG_AGE /* for the test that crashes in the simulator show it */
    enum shared_wal_word told = WAL_WRITTEN;
#else
    enum shared_wal_word told = WAL_SYNCED;
#endif
    shared_wal_set_unsynced_since(shared, id, extent_of(wal, told).since_ms);
    if (more) {
        wake_others(wal);
    }
}

/* No number that it will draw is below the one that comes next. */
static void say_bound(struct wal *wal) {
    if (!wal->bounded) {
        wal->bound = shared_wal_count(shared_of(wal)) + 1;
        wal->bounded = true;
        say(wal);
    }
}

/* ---- Records ---- */

static void put_count(struct text *text, char sign, size_t n) {
    char head[NUM_I64_BYTES + 4];
    head[0] = sign;
    size_t bytes = 1 + num_put_u64(head + 1, n);
    head[bytes++] = '\r';
    head[bytes++] = '\n';
    text_append(text, head, bytes);
}

static void put_bulk(struct text *text, struct bytes word) {
    put_count(text, '$', word.len);
    text_append_bytes(text, word);
    text_append(text, "\r\n", 2);
}

static struct wal_open *find_open(struct wal *wal, uint64_t txn) {
    for (uint32_t i = 0; i < wal->open_count; i++) {
        if (wal->open[i].txn == txn) {
            return &wal->open[i];
        }
    }
    return NULL;
}

static struct wal_open *open_of(struct wal *wal, uint64_t txn) {
    struct wal_open *open = find_open(wal, txn);
    if (open != NULL) {
        return open;
    }
    if (wal->open_count == wal->open_room) {
        wal->open_room = wal->open_room > 0 ? wal->open_room * 2 : 4;
        wal->open = must_realloc(wal->open, wal->open_room * sizeof *wal->open);
    }
    open = &wal->open[wal->open_count++];
    *open = (struct wal_open){.txn = txn};
    text_init(&open->text);
    return open;
}

/* What stands before the command, if it says anything: "@DB" or "@DB.ORDER". */
static struct bytes mark_of(char *room, uint32_t db, uint32_t order) {
    size_t n = 0;
    room[n++] = '@';
    n += num_format_u64(room + n, db);
    if (order > 0) {
        room[n++] = '.';
        n += num_format_u64(room + n, order);
    }
    return bytes_make(room, n);
}

/* What is as large as this is there once: it grows in one step, and becomes its block (encode). */
static void reserve_large(struct text *text, const struct bytes *argv, uint32_t argc) {
    size_t bytes = FRONT_BYTES;
    for (uint32_t i = 0; i < argc; i++) {
        bytes += argv[i].len + NUM_I64_BYTES + 5;
    }
    if (UNLIKELY(bytes > KEEP_BYTES)) {
        text_reserve(text, bytes);
    }
}

/* Behind what is there; without a copy if nothing is. */
static void take_text(struct text *to, struct text *from) {
    if (to->len == 0 && from->len > KEEP_BYTES) {
        struct text empty = *to;
        *to = *from;
        *from = empty;
    } else {
        text_append_bytes(to, text_bytes(from));
    }
}

void wal_record(struct wal *wal, uint64_t txn, uint32_t order, uint32_t db,
                const struct bytes *argv, uint32_t argc) {
    if (!wal_is_recording(wal)) {
        return;
    }
    struct text *text = &wal->text;
    order = txn != 0 ? order : 0;
    bool marked = db > 0 || order > 0;
    if (txn != 0) {
        struct wal_open *open = open_of(wal, txn);
        open->records++;
        open->marked |= marked;
        text = &open->text;
    } else {
        wal->records++;
        wal->unit_records++;
        wal->marked |= marked;
    }
    reserve_large(text, argv, argc);
    put_count(text, '*', argc + marked);
    if (marked) {
        char room[2 * NUM_I64_BYTES + 2];
        put_bulk(text, mark_of(room, db, order));
    }
    for (uint32_t i = 0; i < argc; i++) {
        put_bulk(text, argv[i]);
    }
}

static void add_run(struct wal_run **runs, uint32_t *count, uint32_t *room, struct wal_run run) {
    if (*count == *room) {
        *room = *room > 0 ? *room * 2 : 8;
        *runs = must_realloc(*runs, *room * sizeof **runs);
    }
    (*runs)[(*count)++] = run;
}

void wal_unit(struct wal *wal) {
    if (wal->feeds && wal->unit_records > 1) {
        if (wal->units_count == wal->units_room) {
            wal->units_room = wal->units_room > 0 ? wal->units_room * 2 : 8;
            wal->units = must_realloc(wal->units, wal->units_room * sizeof *wal->units);
        }
        wal->units[wal->units_count++] =
            (struct merge_unit){.at = wal->unit_at, .bytes = wal->text.len - wal->unit_at};
    }
    wal->unit_at = wal->text.len;
    wal->unit_records = 0;
}

/* What is open gets its number. */
static void close_run(struct wal *wal) {
    if (wal->records == 0) {
        return;
    }
    wal_unit(wal);
    struct wal_run run = {.number = shared_wal_draw(shared_of(wal)),
                          .records = wal->records,
                          .parts = 1,
                          .bytes = wal->text.len - wal->begun,
                          .marked = wal->marked};
    add_run(&wal->runs, &wal->runs_count, &wal->runs_room, run);
    wal->records = 0;
    wal->marked = false;
    wal->begun = wal->text.len;
}

void wal_part(struct wal *wal, uint64_t txn, uint64_t number, uint32_t parts) {
    if (!wal_is_recording(wal)) {
        return;
    }
    struct wal_open *open = find_open(wal, txn);
    struct text *into = number == 0 ? &wal->text : &wal->parts_text;
    uint32_t count = open != NULL ? open->records : 0;
    size_t before = into->len;
    if (number == 0) {
        wal_unit(wal); /* what came before is none of it */
    }
    if (open != NULL) {
        take_text(into, &open->text);
    }
    bool marked = open != NULL && open->marked;
    if (number == 0) {
        wal->records += count;
        wal->unit_records = count;
        wal->marked |= marked;
        wal_unit(wal);
    } else {
        struct wal_run run = {.number = number,
                              .records = count,
                              .parts = parts,
                              .bytes = into->len - before,
                              .marked = marked};
        add_run(&wal->parts, &wal->parts_count, &wal->parts_room, run);
        wal->parts_least = least(wal->parts_least, number);
        kill_point(wal->worker->server->kill_points, KILL_TXN_PART);
    }
    if (open != NULL) {
        text_fini(&open->text);
        *open = wal->open[--wal->open_count];
    }
}

uint64_t wal_draw(struct wal *wal, struct wal_stand *stand) {
    if (!wal_is_recording(wal)) {
        return 0;
    }
    say_bound(wal);
    close_run(wal);
    stand->number = shared_wal_draw(shared_of(wal));
    list_push_back(&wal->stands, &stand->node);
    wal->mark = stand->number;
    kill_point(wal->worker->server->kill_points, KILL_TXN_DRAWN);
    return stand->number;
}

void wal_let_go(struct wal *wal, struct wal_stand *stand) {
    if (stand->number == 0) {
        return;
    }
    kill_point(wal->worker->server->kill_points, KILL_TXN_ENDS);
    bool was_first = list_first(&wal->stands) == &stand->node;
    list_remove(&stand->node);
    stand->number = 0;
    if (was_first) {
        say(wal);
    }
}

/* ---- Writing ---- */

static void write_done(struct rt_file_op *op, int64_t result);

static void trim(struct text *text) {
    if (text->len > KEEP_BYTES) {
        text_fini(text);
        text_init(text);
    } else {
        text_clear(text);
    }
}

static void failed(struct wal *wal, const char *what, int64_t result) {
    int error = (int)-result;
    log_worker(wal->worker, LOG_WARNING, "Error %s the append only file of shard %u: %s", what,
               wal->worker->id, strerror(error));
    shared_wal_fail(shared_of(wal), error);
    wal->failed = true;
    text_clear(&wal->tail); /* when the log has ended, nobody else would drop what is left for it */
}

static void take_flying(struct wal *wal, struct text *from, struct wal_extent *extent) {
    struct text empty = wal->flying;
    wal->flying = *from;
    *from = empty;
    wal->flying_extent = *extent;
    *extent = nothing;
}

static void retire(struct wal *wal);

/* appendfsync, but for no-appendfsync-on-rewrite. Writes end while the worker is parked, too: then
 * whether there is a save is being decided by the parker, and is not looked at. */
static bool syncs(const struct wal *wal, enum config_appendfsync when) {
    const struct worker *worker = wal->worker;
    return worker->config->appendfsync == when && (!worker->config->no_appendfsync_on_rewrite ||
                                                   worker->parked.is || worker->save_share == NULL);
}

static uint64_t begins_at(const struct wal *wal) {
    const struct worker *worker = wal->worker;
    return UNLIKELY(worker->latency.ticks != UINT64_MAX) ? rt_ticks(worker->rt) : 0;
}

static void note_time(const struct wal *wal, enum latency_event event, uint64_t began) {
    struct worker *worker = wal->worker;
    if (UNLIKELY(began > 0)) {
        latency_note(worker, &worker->latency, event, rt_ticks(worker->rt) - began);
    }
}

/* What is sealed goes to the file; what is left for the old one first. */
static void submit(struct wal *wal) {
    if (wal->writing || wal->state == WAL_BROKEN || wal->failed) {
        return;
    }
    wal->flying_old = wal->tail.len > 0;
    if (wal->flying_old) {
        take_flying(wal, &wal->tail, &wal->tail_extent);
    } else if (wal->pending.len > 0) {
        take_flying(wal, &wal->pending, &wal->pending_extent);
    } else {
        return;
    }
    struct wal_file *file = wal->flying_old ? &wal->old : &wal->file;
    wal->writing = true;
    wal->flying_end = file->bytes;
    wal->flying_synced = syncs(wal, CONFIG_FSYNC_ALWAYS);
    wal->vector = (struct iovec){.iov_base = wal->flying.ptr, .iov_len = wal->flying.len};
    wal->write.done = write_done;
    wal->write_began = begins_at(wal);
#ifdef SHOAL_UNSAFE_LOG_FSYNC /* for the test that crashes in the simulator show it */
    bool with_sync = false;
#else
    bool with_sync = wal->flying_synced;
#endif
    (with_sync ? rt_file_write_sync : rt_file_write)(wal->worker->rt, &wal->write, file->file,
                                                     &wal->vector, 1,
                                                     wal->flying_end - wal->flying.len);
}

/* It is written: is it on the disk, and what was written before it? */
static void note_written(struct wal *wal) {
    struct wal_extent *unsynced = wal->flying_old ? &wal->old_extent : &wal->unsynced;
    *unsynced = wal->flying_synced ? nothing : both(*unsynced, wal->flying_extent);
    if (wal->flying_synced && !wal->flying_old) {
        wal->file.synced = wal->flying_end;
    }
    wal->flying_extent = nothing;
}

static void write_done(struct rt_file_op *op, int64_t result) {
    struct wal *wal = (struct wal *)((char *)op - offsetof(struct wal, write));
    wal->writing = false;
    note_time(wal, wal->flying_synced ? LATENCY_AOF_FSYNC_ALWAYS : LATENCY_AOF_WRITE,
              wal->write_began);
    trim(&wal->flying);
    if (result < 0) {
        failed(wal, "writing to", result);
        retire(wal);
        return; /* what stood there goes on to stand there: nothing behind it is safe */
    }
    kill_point(wal->worker->server->kill_points, KILL_LOG_WRITTEN);
    note_written(wal);
    submit(wal);
    say(wal);
    retire(wal);
}

static void sync_done(struct rt_file_op *op, int64_t result) {
    struct wal *wal = (struct wal *)((char *)op - offsetof(struct wal, sync));
    wal->syncing = false;
    wal->sync_took_ms = rt_mono_ms(wal->worker->rt) - wal->sync_began_ms;
    note_time(wal, LATENCY_AOF_FSYNC, wal->sync_began);
    if (result < 0) {
        failed(wal, "syncing", result);
    } else if (wal->syncing_file == wal->file.file) {
        kill_point(wal->worker->server->kill_points, KILL_LOG_SYNCED);
        wal->file.synced =
            wal->syncing_end > wal->file.synced ? wal->syncing_end : wal->file.synced;
        wal->syncing_extent = nothing; /* else it went over to the old file's: synced once more */
        say(wal);
    }
    retire(wal);
}

static void sync_some(struct wal *wal) {
    uint64_t written = wal->file.bytes - wal->pending.len -
                       (wal->writing && !wal->flying_old ? wal->flying.len : 0);
    if (!wal->syncing && written > wal->file.synced) {
        wal->syncing = true;
        wal->syncing_end = written;
        wal->syncing_file = wal->file.file;
        wal->syncing_extent = wal->unsynced;
        wal->unsynced = nothing;
        wal->sync_began_ms = rt_mono_ms(wal->worker->rt);
        wal->sync.done = sync_done;
        wal->sync_began = begins_at(wal);
        rt_file_sync(wal->worker->rt, &wal->sync, wal->file.file, RT_SYNC_DATA);
    }
}

void wal_cron(struct wal *wal) {
    struct worker *worker = wal->worker;
    int64_t now_ms = rt_mono_ms(worker->rt);
    struct wal_extent waits = both(wal->unsynced, wal->flying_extent);
    bool due = syncs(wal, CONFIG_FSYNC_EVERYSEC) &&
               now_ms - waits.since_ms >= UNSYNCED_MS - LATE_MS - wal->sync_took_ms;
    /* Of a time when they did not wait for that: everybody's replies do now. */
    due |= wal->unsynced.least != NOTHING && syncs(wal, CONFIG_FSYNC_ALWAYS);
    if (wal_is_logging(wal) && due) {
        wal->syncs_delayed += wal->syncing && !wal->sync_delayed;
        wal->sync_delayed = wal->syncing;
        sync_some(wal);
    }
}

struct wal_under_way wal_under_way(const struct wal *wal) {
    uint64_t buffers = wal->text.cap + wal->parts_text.cap + wal->published.cap + wal->pending.cap +
                       wal->tail.cap + wal->flying.cap;
    for (uint32_t i = 0; i < wal->open_count; i++) {
        buffers += wal->open[i].text.cap;
    }
    return (struct wal_under_way){
        .buffered = wal->pending.len + wal->tail.len + (wal->writing ? wal->flying.len : 0),
        .buffers = buffers,
        .syncs = wal->syncing + wal->retiring,
        .syncs_delayed = wal->syncs_delayed,
    };
}

void wal_reset_stats(struct wal *wal) {
    wal->syncs_delayed = 0;
}

enum shared_wal_word wal_word(const struct wal *wal) {
    const struct config *config = wal->worker->config;
    return config->appendfsync == CONFIG_FSYNC_ALWAYS && !config->no_appendfsync_on_rewrite
               ? WAL_SYNCED
               : WAL_WRITTEN;
}

bool wal_end(struct wal *wal) {
    if (wal->writing || wal->pending.len > 0 || wal->syncing || wal->old.file >= 0) {
        return false;
    }
    /* A log that broke, too: what was answered before may not be on the disk yet. But only once. */
    if (wal->file.file >= 0 && !(wal->state == WAL_BROKEN && wal->ended)) {
        wal->ended = true;
        sync_some(wal);
    }
    return !wal->syncing;
}

/* ---- Files that are written no more ---- */

static void retired(struct rt_file_op *op, int64_t result) {
    struct wal *wal = (struct wal *)((char *)op - offsetof(struct wal, retire));
    wal->old = no_file();
    wal->retiring = false;
    kill_point(wal->worker->server->kill_points, KILL_LOG_RETIRED);
    shared_wal_set_closing(shared_of(wal), wal->worker->id, false);
    say(wal);
    if (wal->prepare_waits) {
        wal->prepare_waits = false;
        wal->prepared(wal->worker, 0);
    }
}

static void retire_synced(struct rt_file_op *op, int64_t result) {
    struct wal *wal = (struct wal *)((char *)op - offsetof(struct wal, retire));
    if (result >= 0) {
        wal->old_extent = nothing;
    } else if (wal->state != WAL_BROKEN) {
        failed(wal, "syncing", result);
    }
    wal->retire.done = retired;
    rt_file_close(wal->worker->rt, &wal->retire, wal->old.file);
}

/* The old file is closed when all of it is written, and nobody syncs it. */
static void retire(struct wal *wal) {
    if (wal->old.file < 0 || wal->retiring || wal->tail.len > 0 || wal->syncing ||
        (wal->writing && wal->flying_old)) {
        return;
    }
    wal->retiring = true;
    wal->retire.done = retire_synced;
    rt_file_sync(wal->worker->rt, &wal->retire, wal->old.file, RT_SYNC_DATA);
}

/* ---- The seal ---- */

/* All runs of the turn, and their bytes behind each other. */
static void encode(struct wal *wal) {
    uint32_t count = wal->runs_count + wal->parts_count;
    struct log_run runs[16], *all = runs;
    int64_t sealed_ms = rt_mono_ms(wal->worker->rt);
    if (count > sizeof runs / sizeof *runs) {
        all = must_malloc(count * sizeof *all);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct wal_run *run =
            i < wal->runs_count ? &wal->runs[i] : &wal->parts[i - wal->runs_count];
        all[i] = (struct log_run){.number = run->number,
                                  .bytes = run->bytes,
                                  .records = run->records,
                                  .parts = run->parts};
        wal->pending_extent =
            both(wal->pending_extent, (struct wal_extent){run->number, sealed_ms});
    }
    bool always = wal->worker->config->appendfsync == CONFIG_FSYNC_ALWAYS;
    struct log_block block = {
        .offset = wal->file.bytes,
        .first_record = wal->records_count,
        .runs = count,
        .synced = wal->file.synced,
        .safe = always && wal->state == WAL_ON ? shared_wal_safe(shared_of(wal), WAL_SYNCED) : 0,
        .time_ms = (uint64_t)rt_wall_ms(wal->worker->rt),
    };
    if (UNLIKELY(wal->text.len > KEEP_BYTES)) {
        log_block_encode_large(&wal->text, text_bytes(&wal->pending), &wal->file.segment, &block,
                               all);
        struct text before = wal->pending;
        wal->pending = wal->text;
        wal->text = before;
    } else {
        log_block_encode(&wal->pending, &wal->file.segment, &block, all, text_bytes(&wal->text));
    }
    wal->file.bytes += block.bytes;
    wal->records_count += block.records;
    if (all != runs) {
        free(all);
    }
}

/* It is in a block, or was for nobody. */
static void forget_turn(struct wal *wal) {
    wal->runs_count = wal->parts_count = wal->units_count = 0;
    wal->begun = wal->unit_at = 0;
    trim(&wal->text);
    trim(&wal->parts_text);
}

/* What the turn's runs have for numbers may be told of from now on. */
static void raise_mark(struct wal *wal) {
    for (uint32_t i = 0; i < wal->runs_count; i++) {
        wal->mark = wal->runs[i].number > wal->mark ? wal->runs[i].number : wal->mark;
    }
    for (uint32_t i = 0; i < wal->parts_count; i++) {
        wal->mark = wal->parts[i].number > wal->mark ? wal->parts[i].number : wal->mark;
    }
}

void wal_seal(struct wal *wal) {
    if (wal->records > 0) {
        say_bound(wal);
        close_run(wal);
    }
    if (wal->runs_count + wal->parts_count > 0) {
        raise_mark(wal);
        take_text(&wal->text, &wal->parts_text);
        if (wal->feeds) {
            feed_send(wal);
        }
        if (wal_is_logging(wal)) {
            encode(wal);
        }
        forget_turn(wal);
        wal->parts_least = NOTHING; /* they are in the block */
        kill_point(wal->worker->server->kill_points, KILL_LOG_SEALED);
        shared_wal_set_bytes(shared_of(wal), wal->worker->id, wal->file.bytes);
        submit(wal);
        wal->bounded = false;
        say(wal); /* before who has stood on the numbers of parts hears that they are here */
    }
    if (wal->mark != wal->said_mark) {
        wal->said_mark = wal->mark;
        shared_wal_seal(shared_of(wal), wal->worker->id, wal->mark);
    }
    if (wal->bounded) {
        wal->bounded = false;
        say(wal);
    }
    if (UNLIKELY(wal->published.len > 0)) {
        feed_published(wal);
    }
}

/* ---- Files ---- */

static struct wal *wal_of_prepare(struct rt_file_op *op) {
    return (struct wal *)((char *)op - offsetof(struct wal, prepare));
}

static void prepare_failed(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    wal->next = no_file();
    wal->prepared(wal->worker, (int)wal->prepare_error);
}

static void next_is_there(struct wal *wal) {
    wal->next.bytes = wal->next.synced = LOG_SEGMENT_BYTES;
    kill_point(wal->worker->server->kill_points, KILL_LOG_PREPARED);
    wal->prepare_waits = wal->old.file >= 0; /* one more at a time */
    if (!wal->prepare_waits) {
        wal->prepared(wal->worker, 0);
    }
}

static void prepare_written(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    if (result < 0) {
        wal->prepare_error = result;
        wal->prepare.done = prepare_failed;
        rt_file_close(wal->worker->rt, &wal->prepare, wal->next.file);
        return;
    }
    next_is_there(wal);
}

static void open_next(struct wal *wal);

/* ---- One that is there already, and that no manifest names ---- */

static void found_removed(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    if (result < 0) {
        wal->prepared(wal->worker, (int)result);
        return;
    }
    open_next(wal);
}

/* Without a block it was made, and then the process ended. With one, there was a manifest that
 * named it, and what lies here now is an older one: nobody may write over what that one had. */
static void found_closed(struct rt_file_op *op, int64_t result) {
    (void)result;
    struct wal *wal = wal_of_prepare(op);
    wal->next = no_file();
    if (wal->prepare_error > LOG_SEGMENT_BYTES || wal->prepare_error < 0) {
        wal->prepared(wal->worker, -EEXIST);
        return;
    }
    wal->prepare.done = found_removed;
    rt_file_remove(wal->worker->rt, &wal->prepare, wal->prepare_path);
}

static void found_sized(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    wal->prepare_error = result; /* a size, for a moment */
    wal->prepare.done = found_closed;
    rt_file_close(wal->worker->rt, &wal->prepare, wal->next.file);
}

static void found_opened(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    if (result < 0) {
        wal->prepared(wal->worker, (int)result);
        return;
    }
    wal->next.file = (rt_file)result;
    wal->prepare.done = found_sized;
    rt_file_size(wal->worker->rt, &wal->prepare, wal->next.file);
}

/* ---- A new one ---- */

static void prepare_opened(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    if (result == -EEXIST) {
        wal->prepare.done = found_opened;
        rt_file_open(wal->worker->rt, &wal->prepare, wal->prepare_path, RT_OPEN_READ, 0);
        return;
    }
    if (result < 0) {
        wal->prepared(wal->worker, (int)result);
        return;
    }
    wal->next.file = (rt_file)result;
    wal->next.segment = wal->prepare_segment;
    wal->prepare_vector =
        (struct iovec){.iov_base = wal->prepare_head, .iov_len = LOG_SEGMENT_BYTES};
    wal->prepare.done = prepare_written;
    rt_file_write_sync(wal->worker->rt, &wal->prepare, wal->next.file, &wal->prepare_vector, 1, 0);
}

static void open_next(struct wal *wal) {
    wal->prepare.done = prepare_opened;
    rt_file_open(wal->worker->rt, &wal->prepare, wal->prepare_path,
                 RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_EXCLUSIVE, 0);
}

static void opened_again(struct rt_file_op *op, int64_t result) {
    struct wal *wal = wal_of_prepare(op);
    if (result < 0) {
        wal->prepared(wal->worker, (int)result);
        return;
    }
    wal->next.file = (rt_file)result;
    wal->next.segment = wal->prepare_segment;
    next_is_there(wal);
}

static void prepare_file(struct wal *wal) {
    if (wal->prepare_there) {
        wal->prepare.done = opened_again;
        rt_file_open(wal->worker->rt, &wal->prepare, wal->prepare_path, RT_OPEN_WRITE, 0);
    } else {
        open_next(wal);
    }
}

static void stale_closed(struct rt_file_op *op, int64_t result) {
    (void)result;
    prepare_file(wal_of_prepare(op));
}

void wal_prepare(struct wal *wal, const char *directory, const struct log_segment *segment,
                 bool is_there, void (*prepared)(struct worker *worker, int error)) {
    char name[MANIFEST_NAME_BYTES];
    manifest_segment_name(name, segment->shard, segment->sequence);
    snprintf(wal->prepare_path, sizeof wal->prepare_path, "%s/%s", directory, name);
    wal->prepared = prepared;
    wal->prepare_segment = *segment;
    wal->prepare_there = is_there;
    log_segment_encode(segment, wal->prepare_head);
    if (wal->next.file >= 0) {
        rt_file stale = wal->next.file;
        wal->next = no_file();
        wal->prepare.done = stale_closed;
        rt_file_close(wal->worker->rt, &wal->prepare, stale);
        return;
    }
    prepare_file(wal);
}

void wal_ask_cut(struct wal *wal, enum wal_state state) {
    wal->cut_asked = true;
    wal->cut_to = state;
}

/* Nothing of it is written. The worker goes on to stand on its numbers: they are not safe. The
 * replication stream has it all the same. */
static void drop_sealed(struct wal *wal) {
    text_clear(&wal->pending);
    text_clear(&wal->tail);
    if (wal->feeds) {
        return; /* the turn's goes with its seal */
    }
    wal->records = wal->unit_records = 0;
    forget_turn(wal);
    forget_open(wal);
}

bool wal_is_in_unit(const struct wal *wal) {
    return wal->open_count > 0 || wal->unit_records > 0;
}

void wal_set_feeds(struct wal *wal, bool feeds) {
    check(wal->open_count == 0 && wal->records == 0 && wal->runs_count + wal->parts_count == 0);
    wal->feeds = feeds;
}

/* The snapshot of this moment has all that a log of before has not kept. */
static void stand_on_nothing(struct wal *wal) {
    wal->failed = false;
    wal->parts_least = NOTHING;
    wal->pending_extent = wal->tail_extent = wal->unsynced = wal->syncing_extent = nothing;
    wal->flying_extent = wal->writing ? wal->flying_extent : nothing;
    wal->bounded = false;
}

void wal_take_cut(struct wal *wal) {
    if (!wal->cut_asked) {
        return;
    }
    wal->cut_asked = false;
    wal->broke |= wal->state == WAL_ON && wal->cut_to == WAL_FILLING;
    if (wal_is_logging(wal) && wal->failed && wal->cut_to != WAL_FILLING) {
        /* While it was parked, and who has cut may have taken back that it was told. */
        shared_wal_fail(shared_of(wal), shared_wal_last_error(shared_of(wal)));
        drop_sealed(wal);
    } else if (wal_is_logging(wal) && !wal->broke && !wal->failed) {
        wal_seal(wal); /* what was recorded in the view */
    } else {
        drop_sealed(wal);
        stand_on_nothing(wal);
    }
    check(wal->old.file < 0 && wal->tail.len == 0 && wal->open_count == 0);
    struct text empty = wal->tail;
    wal->tail = wal->pending;
    wal->pending = empty;
    wal->tail_extent = wal->pending_extent;
    wal->pending_extent = nothing;
    wal->flying_old = wal->writing;
    wal->old = wal->file;
    wal->old_extent = both(wal->unsynced, wal->syncing_extent);
    wal->unsynced = wal->syncing_extent = nothing;
    shared_wal_set_closing(shared_of(wal), wal->worker->id, wal->old.file >= 0);
    wal->file = no_file();
    if (wal->cut_to != WAL_OFF) {
        wal->file = wal->next;
        wal->next = no_file();
    }
    check(wal->cut_to == WAL_OFF || wal->file.file >= 0);
    wal->state = wal->cut_to;
    kill_point(wal->worker->server->kill_points, KILL_CUT_SHARD);
    wal->records_count = wal->file.segment.first_record;
    shared_wal_set_bytes(shared_of(wal), wal->worker->id, wal->file.bytes);
    submit(wal);
    retire(wal);
    say(wal);
}

void wal_promise(struct wal *wal) {
    if (wal->state == WAL_FILLING) {
        wal->state = WAL_ON;
        kill_point(wal->worker->server->kill_points, KILL_LOG_PROMISES);
    }
}

bool wal_look_for_failure(struct wal *wal) {
    if (LIKELY(shared_wal_error(shared_of(wal)) == 0) || !wal_is_logging(wal)) {
        return wal->state == WAL_BROKEN;
    }
    wal->state = WAL_BROKEN;
    drop_sealed(wal);
    retire(wal);
    return true;
}

bool wal_ended_in_failure(const struct wal *wal) {
    return wal->state == WAL_OFF && shared_wal_error(shared_of(wal)) != 0;
}

struct bytes wal_refusal(struct wal *wal) {
    int n =
        snprintf(wal->refusal, sizeof wal->refusal, "MISCONF Errors writing to the AOF file: %s",
                 strerror(shared_wal_last_error(shared_of(wal))));
    return bytes_make(wal->refusal, (size_t)n);
}

uint64_t wal_records(const struct wal *wal) {
    return wal->records_count;
}

void wal_set_records(struct wal *wal, uint64_t count) {
    wal->records_count = count;
}
