/* SPDX-License-Identifier: BSD-3-Clause */
/* A row of phases; in each something is asked for, of the runtime, of the data or of the shares,
 * and the next follows when all of it is done:
 *
 *     BEGIN -> [DATA] -> SHARES -> [JOIN -> PLACE] -> SWITCH -> REMOVE -> TELL -> PREPARE
 *                 \----------\---------\--------\---------\------^ failed: files of its own go
 *
 * An RDB file: the first share begins it, the others write parts, which are copied behind it then,
 * and the checksum of all is reckoned on the way. That of a full sync is read while it grows: there
 * a part is copied as soon as those before it have been, and while all wait for one that is long
 * something without a meaning is written now and then, as a reader to whom nothing comes gives up.
 */
#include "server/persistence/save.h"

#include "base/check.h"
#include "base/crc64.h"
#include "base/must.h"
#include "base/num.h"
#include "persist/codec/rdb_file.h"
#include "server/call/scatter.h"
#include "server/commands/persistence/rules.h"
#include "server/observe/log.h"
#include "server/persistence/data_lock.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/save_share.h"
#include "server/persistence/wals.h"
#include "server/script/library_dump.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096
#define COPY_BYTES ((size_t)256 << 10)
/* Who reads along hears something at least so often. */
#define ALIVE_MS 1000

enum phase {
    PHASE_BEGIN,
    PHASE_DATA,
    PHASE_SHARES,
    PHASE_JOIN,
    PHASE_PLACE,
    PHASE_SWITCH,
    PHASE_REMOVE,
    PHASE_TELL,
    PHASE_PREPARE /* the logs' next segments */
};

enum join_step { JOIN_OPEN, JOIN_OPENED, JOIN_READ, JOIN_CLOSED, JOIN_ENDS };
enum place_step { PLACE_RENAME, PLACE_RENAMED, PLACE_SYNCED };

struct save {
    struct worker *home; /* worker 0 */
    struct saver *saver;
    enum save_purpose purpose;
    enum phase phase;
    struct save_manner manner;
    char dir[PATH_BYTES], dir_name[256];
    char final_name[PATH_BYTES]; /* of the RDB file */
    bool is_data;                /* nothing is recorded behind its cut */
    bool switches;               /* that was asked for */
    bool switched;               /* and is what a start would find, though not for sure */
    uint64_t generation, created_ms;
    struct manifest_stream stream; /* where the cut stands in it */
    struct save_share **shares;
    char **paths;
    unsigned count;
    bool *away;   /* by share: SAVE_GO is */
    unsigned out; /* tasks of all kinds */
    bool stopped; /* shares were told */
    bool cancelled;
    struct data_change change;
    bool waits; /* for that */
    int change_error;
    /* One operation at a time. */
    struct rt_file_op op;
    bool asked;
    int64_t result;
    int step;
    /* JOIN */
    unsigned joined;
    struct save_file whole;
    bool whole_begun;
    bool heard;      /* of all shares how they ended */
    int64_t grew_ms; /* monotonic */
    struct text copy;
    rt_file part;
    uint64_t part_at, sum;
    /* REMOVE */
    unsigned removed;
    struct wals_cut cut; /* of the logs, for a snapshot */
    struct text error;   /* what went wrong; empty: nothing */
};

/* ---- Life ---- */

struct saver *saver_new(struct worker *first) {
    struct saver *saver = must_aligned(16, sizeof *saver);
    memset(saver, 0, sizeof *saver);
    saver->saves.took = saver->rewrites.took = -1;
    saver->saves.began_at = saver->rewrites.began_at = -1;
    data_init(&saver->data, first->rt);
    return saver;
}

static void save_free(struct save *save) {
    for (unsigned i = 0; i < save->count; i++) {
        free(save->paths[i]);
    }
    if (save->whole_begun) {
        save_file_fini(&save->whole);
    }
    text_fini(&save->copy);
    text_fini(&save->error);
    free(save->paths);
    free(save->shares);
    free(save->away);
    free(save->cut.sequences);
    free(save);
}

void saver_free(struct saver *saver) {
    if (saver != NULL) {
        data_fini(&saver->data);
        free(saver);
    }
}

struct saver *saver_of(const struct server *server) {
    return server->saver;
}

static bool has_failed(const struct save *save) {
    return save->error.len > 0 || save->cancelled;
}

/* The first thing that goes wrong is said, in Valkey's words where it has some. */
static void __attribute__((format(printf, 3, 4)))
fail(struct save *save, int error, const char *format, ...) {
    if (save->error.len > 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    text_vappendf(&save->error, format, args);
    va_end(args);
    text_appendf(&save->error, ": %s",
                 error == -EBADMSG ? "what lies there is no manifest" : strerror(-error));
}

/* ---- The cut ---- */

static void put_number(struct text *out, const char *name, uint64_t number) {
    char digits[NUM_I64_BYTES];
    rdb_file_put_aux(out, bytes_of_text(name), bytes_make(digits, num_format_u64(digits, number)));
}

struct sums {
    uint64_t keys, deadlines, volatiles;
};

static struct sums sums_of(const struct server *server, uint32_t db) {
    struct sums sums = {0};
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct keyspace *ks = server->workers[i]->shard.keyspace;
        sums.keys += keyspace_count(ks, db);
        sums.deadlines += keyspace_count_expiring(ks, db);
        sums.volatiles += keyspace_count_volatile(ks, db);
    }
    return sums;
}

unsigned save_rdb_version(const struct server *server) {
    uint32_t databases = (uint32_t)config_databases(server->workers[0]->config);
    for (uint32_t db = 0; db < databases; db++) {
        if (sums_of(server, db).volatiles > 0) {
            return RDB_VERSION_VALKEY;
        }
    }
    return RDB_VERSION_MIN;
}

/* The first share has the libraries of functions. */
static void put_libraries(struct save_share *share, struct libraries *libraries) {
    struct libraries_list all = libraries_all(libraries);
    for (uint32_t i = 0; i < all.count; i++) {
        frame_writer_put_library(&share->frames, &share->file.filling, library_text(all.list[i]));
    }
    libraries_list_free(&all);
}

/* What an RDB file begins with: how large each database will be stands before all keys, which come
 * shard by shard. */
static void put_rdb_head(const struct save *save, struct text *out, uint32_t databases) {
    const struct server *server = save->home->server;
    uint64_t used_memory = 0;
    for (unsigned i = 0; i < server->workers_count; i++) {
        used_memory += keyspace_memory(server->workers[i]->shard.keyspace);
    }
    rdb_file_put_begin(out, save->manner.version);
    rdb_file_put_aux(out, BYTES("redis-ver"), BYTES(SHOAL_REDIS_VERSION));
    rdb_file_put_aux(out, BYTES("valkey-ver"), BYTES(SHOAL_VALKEY_VERSION));
    put_number(out, "redis-bits", 64);
    put_number(out, "ctime", save->created_ms / 1000);
    put_number(out, "used-mem", used_memory);
    if (save->purpose == SAVE_SYNC && save->saver->stream_db >= 0) {
        put_number(out, "repl-stream-db", (uint64_t)save->saver->stream_db);
    }
    if (save->stream.is) {
        put_number(out, "repl-stream-db", save->stream.db);
        rdb_file_put_aux(out, BYTES("repl-id"), bytes_of_text(save->stream.id));
        put_number(out, "repl-offset", save->stream.offset);
    }
    put_number(out, "aof-base", 0);
    library_dump_put(out, server->libraries, save->manner.compress);
    for (uint32_t db = 0; db < databases; db++) {
        struct sums sums = sums_of(server, db);
        if (sums.keys > 0) {
            rdb_file_put_db(out, db, sums.keys, sums.deadlines);
        }
    }
}

static struct save_record *record_of(struct saver *saver, enum save_purpose purpose) {
    return purpose == SAVE_REWRITE ? &saver->rewrites
           : purpose == SAVE_SYNC  ? &saver->syncs
                                   : &saver->saves;
}

static void set_names(struct save *save, const struct config *config) {
    const struct server *server = save->home->server;
    if (server->fs->current_dir(server->fs->arg, save->dir, sizeof save->dir) != 0) {
        strcpy(save->dir, ".");
    }
    snprintf(save->dir_name, sizeof save->dir_name, "%s", config->appenddirname.ptr);
    snprintf(save->final_name, sizeof save->final_name, "%s", config->dbfilename.ptr);
}

/* What it writes is a snapshot, no RDB file. */
static bool in_frames(const struct server *server, enum save_purpose purpose) {
    return purpose == SAVE_REWRITE ||
           (purpose != SAVE_SYNC && server->workers[0]->config->save_format == CONFIG_SAVE_SHOAL);
}

/* An RDB file becomes the data in the place of a log that nobody wants any more: that ends here, so
 * that the file has all that the log has. */
static void take_cut(struct save *save, struct worker *parker) {
    struct server *server = parker->server;
    bool fit = true;
    if (save->manner.frames) {
        wals_cut(parker, &save->cut, &fit);
    } else if (!save->home->config->appendonly && save->purpose != SAVE_SYNC) {
        save->is_data = fit = wals_can_end(server);
#ifndef SHOAL_UNSAFE_LOG_PLACE /* for the test that crashes in the simulator show it */
        if (fit) {
            wals_end(server);
        }
#endif
    }
    if (!fit) {
        text_append_text(&save->error, save->manner.frames
                                           ? "The log has no segments yet to go on in"
                                           : "The log is being closed still");
    }
}

bool save_waits_for_log(struct worker *parker, enum save_purpose purpose) {
    const struct server *server = parker->server;
    return in_frames(server, purpose)
               ? !wals_are_fit(server)
               : purpose != SAVE_SYNC && !server->workers[0]->config->appendonly &&
                     !wals_can_end(server);
}

void save_begin(struct worker *parker, enum save_purpose purpose) {
    struct server *server = parker->server;
    struct saver *saver = server->saver;
    struct worker *home = server->workers[0];
    const struct config *config = home->config;
    check(saver->save == NULL);
    struct save *save = must_aligned(16, sizeof *save);
    memset(save, 0, sizeof *save);
    text_init(&save->error);
    text_init(&save->copy);
    save->home = home;
    save->saver = saver;
    save->purpose = purpose;
    save->created_ms = (uint64_t)rt_wall_ms(parker->rt);
    save->part = -1;
    bool frames = in_frames(server, purpose);
    save->manner = (struct save_manner){
        .frames = frames,
        .compress = config->rdbcompression,
        .syncs_on_the_way = purpose == SAVE_REWRITE
                                ? config->aof_rewrite_incremental_fsync
                                : purpose != SAVE_SYNC && config->rdb_save_incremental_fsync,
        .version = frames ? RDB_VERSION_MIN : save_rdb_version(server),
        .usage = usage_kind_of(config),
    };
    set_names(save, config);
    save->count = server->workers_count;
    save->shares = must_calloc(save->count, sizeof *save->shares);
    save->paths = must_calloc(save->count, sizeof *save->paths);
    save->away = must_calloc(save->count, sizeof *save->away);
    kill_point(server->kill_points, KILL_CUT_BEGINS);
    if (purpose != SAVE_SYNC && saver->place != NULL) {
        saver->place(parker, &save->stream);
    }
    take_cut(save, parker);
    uint64_t keys = 0;
    for (unsigned i = 0; i < save->count; i++) {
        struct save_manner manner = save->manner;
        manner.check_sum = !frames && i == 0 && config->rdbchecksum;
        save->shares[i] = save_share_new(server->workers[i], &manner, parker->rt);
        keys += save->shares[i]->keys_total;
    }
    saver->last_keys_total = keys;
    if (frames) {
        put_libraries(save->shares[0], server->libraries);
    } else {
        save->manner.check_sum = config->rdbchecksum;
        put_rdb_head(save, &save->shares[0]->file.filling, (uint32_t)config_databases(config));
    }
    struct save_record *record = record_of(saver, purpose);
    int64_t now = rt_wall_us(parker->rt) / 1000000;
    record->count++;
    if (purpose != SAVE_WAITED_FOR) {
        record->tried_at = record->began_at = now;
        log_worker(parker, LOG_NOTICE,
                   purpose == SAVE_REWRITE
                       ? "Background append only file rewriting started by pid %d"
                       : "Background saving started by pid %d",
                   server->process_id);
    }
    if (purpose == SAVE_REWRITE) {
        saver->rewrite_scheduled = false;
    } else if (purpose != SAVE_SYNC) {
        saver->save_scheduled = false;
    }
    saver->purpose = purpose;
    saver->save = save;
    kill_point(server->kill_points, KILL_CUT_TAKEN);
}

bool save_cancel(struct saver *saver) {
    struct save *save = saver->save;
#ifdef SHOAL_UNSAFE_SAVE_CANCEL /* for the test that crashes in the simulator show it */
    if (save == NULL) {
        return false;
    }
#else
    if (save == NULL || save->phase >= PHASE_PLACE) {
        return false;
    }
#endif
    save->cancelled = true;
    return true;
}

/* ---- Shares ---- */

static void send_task(struct save *save, struct save_task *task) {
    struct worker *home = save->home;
    unsigned to = task->share->worker->id;
    save->out++;
    task->message = (struct message){.kind = MESSAGE_SAVE, .home = (uint16_t)home->id};
    if (to == home->id) {
        save_task_arrived(home, &task->message);
    } else {
        post_send(home->server->office, home->id, to, &task->message);
    }
}

void save_task_home(struct worker *worker, struct message *message) {
    struct save *save = worker->server->saver->save;
    const struct save_task *task = (struct save_task *)message;
    check(save != NULL && save->out > 0);
    save->out--;
    if (task->order == SAVE_GO) {
        save->away[task->share->worker->id] = false;
    }
}

static char *path_of(const struct save *save, unsigned i) {
    struct text path;
    text_init(&path);
    if (save->manner.frames) {
        char name[MANIFEST_NAME_BYTES];
        manifest_base_name(name, save->generation, i);
        data_path(&path, save->dir, save->dir_name, name);
    } else {
        text_appendf(&path, "%s/temp-%s%d", save->dir, save->purpose == SAVE_SYNC ? "sync-" : "",
                     save->home->server->process_id);
        if (i > 0) {
            text_appendf(&path, "-%u", i);
        }
        text_append_text(&path, ".rdb");
    }
    return text_take(&path);
}

static void begin_shares(struct save *save) {
    save->phase = PHASE_SHARES;
    for (unsigned i = 0; i < save->count; i++) {
        struct save_share *share = save->shares[i];
        save->paths[i] = path_of(save, i);
        share->path = save->paths[i];
        share->head.shard = i;
        share->head.shards = save->count;
        share->head.generation = save->generation;
        share->head.created_ms = save->created_ms;
        share->head.number = save->cut.first - (save->cut.first > 0);
        save->away[i] = true;
        send_task(save, &share->go);
    }
}

static bool any_failed(struct save *save) {
    for (unsigned i = 0; i < save->count; i++) {
        const struct save_file *file = &save->shares[i]->file;
        if (!save->away[i] && file->error != 0 && file->made) {
            fail(save, file->error, "Write error while saving DB to the disk(%s)", save->paths[i]);
        } else if (!save->away[i] && file->error != 0) {
            fail(save, file->error, "Failed opening %s for saving", save->paths[i]);
        }
    }
    return has_failed(save);
}

/* False: they are not done. */
static bool shares_done(struct save *save) {
    if (any_failed(save) && !save->stopped) {
        save->stopped = true;
        for (unsigned i = 0; i < save->count; i++) {
            if (save->away[i]) {
                send_task(save, &save->shares[i]->stop);
            }
        }
    }
    return save->out == 0;
}

/* ---- Files ---- */

static void file_done(struct rt_file_op *op, int64_t result) {
    struct save *save = LIST_ENTRY(op, struct save, op);
    save->asked = false;
    save->result = result;
}

static struct rt_file_op *ask(struct save *save, int next) {
    check(!save->asked);
    save->asked = true;
    save->step = next;
    save->op.done = file_done;
    return &save->op;
}

/* A field about nothing, which who loads the file does not know and passes over. */
static void show_life(struct save *save) {
    int64_t now_ms = rt_mono_ms(save->home->rt);
    if (now_ms - save->grew_ms < ALIVE_MS) {
        return;
    }
    struct text *out = &save->whole.filling;
    size_t before = out->len;
    save->grew_ms = now_ms;
    rdb_file_put_aux(out, BYTES("shoal-alive"), BYTES(""));
    if (save->manner.check_sum) {
        save->sum = crc64(save->sum, bytes_make(out->ptr + before, out->len - before));
    }
}

/* The parts of an RDB file behind the first. False: the next is not there yet. */
static bool join_open(struct save *save) {
    if (!save->whole_begun) {
        const struct save_share *first = save->shares[0];
        save->whole_begun = true;
        save_file_init(&save->whole, save->home->rt);
        save_file_open(&save->whole, save->paths[0], first->file.offset, save->purpose != SAVE_SYNC,
                       save->manner.syncs_on_the_way);
        save->sum = first->sum;
        save->joined = 1;
        save->grew_ms = rt_mono_ms(save->home->rt);
    }
    if (save->joined < save->count && save->away[save->joined]) {
        show_life(save);
        save_file_flush(&save->whole);
        save_file_step(&save->whole);
        return false;
    }
    if (save->joined < save->count) {
        rt_file_open(save->home->rt, ask(save, JOIN_OPENED), save->paths[save->joined],
                     RT_OPEN_READ, 0);
        return true;
    }
    struct text *out = &save->whole.filling;
    rdb_file_put_end(out, save->manner.check_sum ? crc64(save->sum, RDB_FILE_END) : 0);
    save_file_end(&save->whole);
    save->step = JOIN_ENDS;
    return true;
}

static void join_read(struct save *save) {
    text_clear(&save->copy);
    text_reserve(&save->copy, COPY_BYTES);
    rt_file_read(save->home->rt, ask(save, JOIN_READ), save->part, save->copy.ptr, COPY_BYTES,
                 save->part_at);
}

static void join_close(struct save *save) {
    rt_file_close(save->home->rt, ask(save, JOIN_CLOSED), save->part);
    save->part = -1;
}

static void joined_some(struct save *save) {
    if (save->result < 0) {
        fail(save, (int)save->result, "Error joining the parts of the RDB file");
    }
    if (save->result <= 0 || has_failed(save)) {
        join_close(save);
        return;
    }
    struct bytes piece = bytes_make(save->copy.ptr, (size_t)save->result);
    if (save->manner.check_sum) {
        save->sum = crc64(save->sum, piece);
    }
    text_append_bytes(&save->whole.filling, piece);
    save->part_at += piece.len;
    join_read(save);
}

static bool join_ended(struct save *save) {
    if (has_failed(save)) {
        save_file_drop(&save->whole);
    }
    if (!save_file_step(&save->whole) || !save->heard) {
        return false;
    }
    if (save->whole.error != 0) {
        fail(save, save->whole.error, "Write error while saving DB to the disk(%s)",
             save->paths[0]);
    }
    kill_point(save->home->server->kill_points, KILL_SAVE_JOINED);
    save->phase = has_failed(save) || save->purpose == SAVE_SYNC ? PHASE_REMOVE : PHASE_PLACE;
    save->step = PLACE_RENAME;
    return true;
}

/* False: nothing more in this turn. */
static bool join(struct save *save) {
    if (!save->heard) { /* some may still walk */
        save->heard = shares_done(save);
    }
    if (save->whole_begun && save->step != JOIN_ENDS) {
        save_file_step(&save->whole);
        if (save_file_is_full(&save->whole)) {
            return false;
        }
    }
    if (has_failed(save) && save->part < 0 && save->step != JOIN_ENDS) {
        save->phase = save->whole_begun ? PHASE_JOIN : PHASE_REMOVE;
        save->step = JOIN_ENDS;
        return true;
    }
    switch ((enum join_step)save->step) {
    case JOIN_OPEN:
        return join_open(save);
    case JOIN_OPENED:
        if (save->result < 0) {
            fail(save, (int)save->result, "Error joining the parts of the RDB file");
            return true;
        }
        save->part = (rt_file)save->result;
        save->part_at = 0;
        join_read(save);
        return true;
    case JOIN_READ:
        joined_some(save);
        return true;
    case JOIN_CLOSED:
        save->joined++;
        save->step = JOIN_OPEN;
        return true;
    case JOIN_ENDS:
        return join_ended(save);
    }
    return true;
}

static void place(struct save *save) {
    struct rt *rt = save->home->rt;
    switch ((enum place_step)save->step) {
    case PLACE_RENAME:
        text_clear(&save->copy);
        text_appendf(&save->copy, "%s/%s", save->dir, save->final_name);
        rt_file_rename(rt, ask(save, PLACE_RENAMED), save->paths[0], save->copy.ptr);
        break;
    case PLACE_RENAMED:
        if (save->result < 0) {
            fail(save, (int)save->result,
                 "Error moving temp DB file %s on the final destination %s (in server root dir %s)",
                 strrchr(save->paths[0], '/') + 1, save->final_name, save->dir);
            save->phase = PHASE_REMOVE;
            break;
        }
        rt_dir_sync(rt, ask(save, PLACE_SYNCED), save->dir);
        break;
    case PLACE_SYNCED:
        if (save->result < 0) {
            fail(save, (int)save->result, "Error syncing the directory of the RDB file");
        }
        save->phase = save->result < 0 ? PHASE_REMOVE : PHASE_SWITCH;
        break;
    }
}

/* ---- What is the data ---- */

static void change_done(struct data_change *change, int error) {
    struct save *save = LIST_ENTRY(change, struct save, change);
    save->waits = false;
    save->change_error = error;
}

static void ask_data(struct save *save,
                     bool (*apply)(struct data_change *change, struct manifest *manifest)) {
    save->change = (struct data_change){
        .dir = save->dir,
        .dir_name = save->dir_name,
        .makes_dir = save->manner.frames,
        .apply = apply,
        .done = change_done,
    };
    save->waits = true;
    data_ask(&save->saver->data, &save->change);
}

static bool apply_bases(struct data_change *change, struct manifest *manifest) {
    const struct save *save = LIST_ENTRY(change, struct save, change);
    manifest->generation = save->generation;
    manifest->created_ms = save->created_ms;
    manifest->shards = save->count;
    manifest->stream = save->stream;
    wals_cut_manifest(&save->cut, manifest);
    manifest->bases_count = 0;
    for (unsigned i = 0; i < save->count; i++) {
        const struct save_share *share = save->shares[i];
        manifest_add_base(manifest, &(struct manifest_base){
                                        .shard = i,
                                        .salt = share->head.salt,
                                        .bytes = share->file.offset,
                                        .keys = share->frames.keys.keys,
                                    });
    }
    return true;
}

/* The RDB file is the data now. */
static bool apply_none(struct data_change *change, struct manifest *manifest) {
    (void)change, (void)manifest;
    return false;
}

/* ---- Its end ---- */

/* Files that have become nothing: of its own if it failed, else parts that were copied. False: all
 * have been looked at. */
static bool remove_next(struct save *save) {
    bool parts = !save->manner.frames;
    if (save->removed == 0 && parts && !has_failed(save)) {
        save->removed = 1;
    }
    bool nothing = save->paths[0] == NULL || save->switched || (!has_failed(save) && !parts);
    if (nothing || save->removed == save->count) {
        return false;
    }
    rt_file_remove(save->home->rt, ask(save, 0), save->paths[save->removed++]);
    return true;
}

static void tell(struct save *save) {
    bool failed = has_failed(save);
    bool is_save = save->purpose != SAVE_REWRITE && save->purpose != SAVE_SYNC;
    save->phase = PHASE_TELL;
    kill_point(save->home->server->kill_points, KILL_SAVE_TELLS);
    for (unsigned i = 0; i < save->count; i++) {
        struct save_share *share = save->shares[i];
        share->saved = is_save && !failed;
        share->settles =
            is_save && (!failed || (save->purpose == SAVE_BACKGROUND && !save->cancelled));
        share->refuses = failed;
        share->promises = save->cut.records && !failed;
        send_task(save, &share->end);
    }
}

static void log_end(const struct save *save, size_t kept) {
    struct worker *home = save->home;
    const char *what =
        save->purpose == SAVE_REWRITE ? "Background AOF rewrite" : "Background saving";
    if (!has_failed(save)) {
        if (save->purpose != SAVE_REWRITE && save->purpose != SAVE_SYNC) {
            log_worker(home, LOG_NOTICE, "DB saved on disk");
        }
        if (save->purpose != SAVE_WAITED_FOR) {
            log_worker(home, LOG_NOTICE, "%s terminated with success", what);
            log_worker(home, LOG_VERBOSE, "Memory kept meanwhile: %zu bytes at most", kept);
        }
        return;
    }
    if (save->error.len > 0) {
        log_worker(home, LOG_WARNING, "%s", save->error.ptr);
    }
    if (save->cancelled) {
        log_worker(home, LOG_WARNING, "%s was cancelled", what);
    } else if (save->purpose == SAVE_REWRITE) {
        log_worker(home, LOG_WARNING, "Background AOF rewrite terminated with error");
    } else if (save->purpose != SAVE_WAITED_FOR) {
        log_worker(home, LOG_WARNING, "Background saving error");
    }
}

static void conclude(struct save *save) {
    struct saver *saver = save->saver;
    struct worker *home = save->home;
    struct save_record *record = record_of(saver, save->purpose);
    int64_t now = rt_wall_us(home->rt) / 1000000;
    bool failed = has_failed(save);
    size_t kept = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < save->count; i++) {
        kept += save->shares[i]->kept_max;
        bytes += save->shares[i]->file.offset;
        save_share_free(save->shares[i]);
    }
    if (!failed && save->manner.frames) {
        wals_saved(home->server->wals, bytes);
    }
    if (!failed) {
        record->failed = false;
        record->failures_in_a_row = 0;
        if (save->purpose != SAVE_REWRITE && save->purpose != SAVE_SYNC) {
            shared_set_saved_at(home->server->shared, now);
        }
    } else if (!save->cancelled && save->purpose != SAVE_WAITED_FOR) {
        record->failed = true;
        record->failures_in_a_row++;
    }
    if (save->purpose != SAVE_WAITED_FOR) {
        record->took = now - record->began_at;
        record->began_at = -1;
        record->kept = kept;
    }
    log_end(save, kept);
    kill_point(home->server->kill_points, KILL_SAVE_OVER);
    saver->ended_well = !failed;
    saver->save = NULL;
    if (save->purpose == SAVE_SYNC) {
        saver->synced(home, failed ? NULL : save->paths[0], save->whole.offset);
    }
    save_free(save);
    scatter_wake(home);
}

/* ---- In each turn ---- */

/* False: it waits. */
static bool go_on(struct save *save) {
    if (save->asked || save->waits) {
        return false;
    }
    switch (save->phase) {
    case PHASE_BEGIN:
        if (has_failed(save)) {
            save->phase = PHASE_REMOVE;
        } else if (save->manner.frames) {
            save->phase = PHASE_DATA;
            ask_data(save, NULL);
        } else {
            begin_shares(save);
        }
        return true;
    case PHASE_DATA:
        if (save->change_error == 0) {
            char path[PATH_BYTES + 256];
            snprintf(path, sizeof path, "%s/%s", save->dir, save->dir_name);
            save->change_error = data_lock(save->home->server, path);
        }
        if (save->change_error != 0) {
            fail(save, save->change_error, "%s/%s cannot be used%s", save->dir, save->dir_name,
                 save->change_error == -EWOULDBLOCK ? ", for another process works there (give each "
                                                      "server a 'dir' of its own)"
                                                    : "");
        }
        if (has_failed(save)) {
            save->phase = PHASE_REMOVE;
        } else {
            save->generation = save->saver->data.manifest.generation + 1;
            begin_shares(save);
        }
        return true;
    case PHASE_SHARES:
        if (!shares_done(save) &&
            (save->purpose != SAVE_SYNC || save->away[0] || has_failed(save))) {
            return false;
        }
        kill_point(save->home->server->kill_points, KILL_SAVE_WRITTEN);
        save->phase = has_failed(save)      ? PHASE_REMOVE
                      : save->manner.frames ? PHASE_SWITCH
                                            : PHASE_JOIN;
        save->step = JOIN_OPEN;
        return true;
    case PHASE_JOIN:
        return join(save);
    case PHASE_PLACE:
        place(save);
        return true;
    case PHASE_SWITCH:
        if (save->switches) { /* and it is done */
            const struct data *data = &save->saver->data;
            if (!save->manner.frames) {
                wals_unprepared(save->home->server->wals);
            }
            if (save->change_error != 0) {
                fail(save, save->change_error, "%s/%s/%s cannot be changed", save->dir,
                     save->dir_name, MANIFEST_NAME);
                save->switched = data->is && data->manifest.generation == save->generation;
            }
            save->phase = PHASE_REMOVE;
            return true;
        }
        if (!save->manner.frames && (!save->is_data || save->home->config->appendonly)) {
            save->phase = PHASE_REMOVE; /* the log goes on to be the data */
            return true;
        }
        save->switches = true;
        ask_data(save, save->manner.frames ? apply_bases : apply_none);
        return true;
    case PHASE_REMOVE:
        if (!remove_next(save)) {
            tell(save);
        }
        return true;
    case PHASE_TELL:
        if (save->out > 0) {
            return false;
        }
        if (save->cut.records && !save->home->loop.stopping) { /* the next may come soon */
            wals_prepare(save->home->server->wals);
        }
        save->phase = PHASE_PREPARE;
        return true;
    case PHASE_PREPARE:
        if (wals_is_busy(save->home->server->wals) && !save->home->loop.stopping) {
            return false; /* at the end others may have gone who would make them */
        }
        conclude(save);
        return false;
    }
    return false;
}

const char *save_growing(const struct saver *saver, uint64_t *ret_bytes) {
    const struct save *save = saver->save;
    *ret_bytes = 0;
    if (save == NULL || save->purpose != SAVE_SYNC || save->paths[0] == NULL || has_failed(save)) {
        return NULL;
    }
    *ret_bytes = save_file_readable(save->whole_begun ? &save->whole : &save->shares[0]->file);
    return *ret_bytes > 0 ? save->paths[0] : NULL;
}

bool save_is_idle(const struct saver *saver) {
    return saver->save == NULL && data_is_idle(&saver->data);
}

void save_work(struct worker *worker) {
    struct saver *saver = worker->server->saver;
    if (LIKELY(save_is_idle(saver))) {
        return;
    }
    do {
        data_step(&saver->data);
    } while (saver->save != NULL && go_on(saver->save));
}
