/* SPDX-License-Identifier: BSD-3-Clause */
/* show: `show` and `verify`: what a directory or a file holds, and whether it is whole.
 *
 * `show` reads the same as `verify`: only who has read everything knows what a start would take.
 */
#include "persist/check/aof.h"
#include "persist/check/source.h"
#include "server/check/offline.h"
#include "server/check/run.h"

#include <errno.h>
#include <inttypes.h>

static const char *const type_names[TYPE_COUNT] = {
    [TYPE_STRING] = "string",   [TYPE_LIST] = "list", [TYPE_SET] = "set",
    [TYPE_ZSET] = "sorted set", [TYPE_HASH] = "hash", [TYPE_STREAM] = "stream",
};

static void say_keys(struct text *out, const uint64_t types[TYPE_COUNT], uint64_t deadlines) {
    uint64_t sum = 0;
    const char *between = " (";
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        sum += types[i];
    }
    check_say_count(out, sum, "key");
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        if (types[i] > 0) {
            text_append_text(out, between);
            check_say_count(out, types[i], type_names[i]);
            between = ", ";
        }
    }
    text_append_text(out, sum > 0 ? ")" : "");
    if (deadlines > 0) {
        text_appendf(out, ", %" PRIu64 " with a deadline", deadlines);
    }
}

static void say_base(struct text *out, const struct dir_base *base) {
    text_appendf(out, "  %-28s %12" PRIu64 " bytes, shard %" PRIu32 ", ", base->name,
                 base->file.bytes, base->file.head.shard);
    say_keys(out, base->types, base->deadlines);
    text_append_text(out, base->file.error != NULL ? ", damaged\n" : "\n");
}

static void say_segment(struct text *out, const struct data_dir *dir, uint32_t i) {
    const struct dir_segment *segment = &dir->segments[i];
    const struct manifest_segment *named = &dir->manifest.segments[i];
    text_appendf(out, "  %-28s %12" PRIu64 " bytes, shard %" PRIu32 ", ", segment->name,
                 segment->bytes, named->shard);
    text_append_text(out, !segment->is_there  ? "missing"
                          : named->bytes == 0 ? "written last"
                                              : "closed");
    if (named->until != 0) {
        text_appendf(out, ", counts up to number %" PRIu64, named->until);
    }
    if (segment->blocks > 0) {
        text_append_text(out, ", ");
        check_say_count(out, segment->blocks, "block");
        text_append_text(out, ", ");
        check_say_count(out, segment->records, "record");
    }
    if (segment->number_max > 0) {
        text_appendf(out, ", numbers %" PRIu64 " to %" PRIu64 ", ", segment->number_min,
                     segment->number_max);
        check_say_time(out, segment->time_first_ms);
        text_append_text(out, " to ");
        check_say_time(out, segment->time_last_ms);
    }
    text_append_char(out, '\n');
}

static void say_start(struct text *out, const struct data_dir *dir) {
    const struct manifest *manifest = &dir->manifest;
    if (dir->wrong > 0) {
        text_append_text(out, "a start refuses this: ");
        check_say_count(out, dir->wrong, "reason");
        text_append_text(out, dir->is_repairable ? ", see `shoal-check repair`\n" : "\n");
        return;
    }
    text_append_text(out, "a start takes the snapshot");
    if (dir->last >= manifest->first) {
        text_appendf(out, " and numbers %" PRIu64 " to %" PRIu64 " of the log: ", manifest->first,
                     dir->last);
        check_say_count(out, dir->kept_records, "record");
    }
    if (dir->dropped_records > 0) {
        text_append_text(out, "; it drops ");
        check_say_count(out, dir->dropped_records, "record");
        text_append_text(out, " and ");
        check_say_count(out, dir->dropped_transactions, "transaction");
    }
    text_append_char(out, '\n');
}

static void say_all(struct text *out, const struct data_dir *dir) {
    const struct manifest *manifest = &dir->manifest;
    text_appendf(out, "%s: generation %" PRIu64 ", made ", dir->path.ptr, manifest->generation);
    check_say_time(out, manifest->created_ms);
    text_append_text(out, ", ");
    check_say_count(out, manifest->shards, "shard");
    text_appendf(out, "\nsnapshot: %" PRIu32 " files, up to number %" PRIu64 "\n",
                 manifest->bases_count, manifest->first - 1);
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        say_base(out, &dir->bases[i]);
    }
    for (uint32_t i = 0; i < dir->databases_count; i++) {
        const struct dir_database *database = &dir->databases[i];
        uint64_t any = 0;
        for (unsigned t = 0; t < TYPE_COUNT; t++) {
            any |= database->types[t];
        }
        if (any != 0) {
            text_appendf(out, "  db%" PRIu32 ": ", i);
            say_keys(out, database->types, database->deadlines);
            text_append_char(out, '\n');
        }
    }
    text_appendf(out, "log: %" PRIu32 " segments, from number %" PRIu64 " on\n", manifest->count,
                 manifest->first);
    for (uint32_t i = 0; i < manifest->count; i++) {
        say_segment(out, dir, i);
    }
}

/* Reads all of it. */
static enum check_code look(struct check_run *run, const char *path, bool show) {
    struct data_dir dir;
    enum check_code code = check_look(run, path, &dir);
    if (code != CHECK_FINE) {
        return code;
    }
    if (show) {
        say_all(&run->out, &dir);
    }
    check_say_findings(run, &dir);
    say_start(&run->out, &dir);
    code = dir.wrong == 0 ? CHECK_FINE : CHECK_WRONG;
    check_close(run, &dir);
    return code;
}

/* ---- Single files ---- */

struct counts {
    uint64_t types[TYPE_COUNT], deadlines;
};

static const char *count_key(void *arg, const struct keys_key *key) {
    struct counts *counts = arg;
    counts->types[key->type]++;
    counts->deadlines += key->expires_at != NO_EXPIRY;
    return NULL;
}

static enum check_code say_file(struct check_run *run, const char *path,
                                const struct counts *counts, uint64_t bytes) {
    text_appendf(&run->out, "%s: whole: %" PRIu64 " bytes, ", path, bytes);
    say_keys(&run->out, counts->types, counts->deadlines);
    text_append_char(&run->out, '\n');
    return CHECK_FINE;
}

static enum check_code wrong_at(struct check_run *run, const char *path, uint64_t at,
                                const char *error) {
    text_appendf(&run->out, "wrong: %s: byte %" PRIu64 ": %s\n", path, at, error);
    return CHECK_WRONG;
}

static enum check_code verify_rdb(struct check_run *run, const char *path,
                                  struct offline *offline) {
    struct counts counts = {0};
    struct keys_options options = {
        offline_keyspace(offline), offline_rules(offline), count_key, &counts, NULL, &run->why};
    struct aof_part part = {0};
    bool fine = aof_read_rdb(run->fs, path, &options, &part);
    return fine ? say_file(run, path, &counts, part.bytes)
                : wrong_at(run, path, part.at, part.error);
}

static enum check_code verify_base(struct check_run *run, const char *path,
                                   struct offline *offline) {
    struct counts counts = {0};
    struct keys_options options = {
        offline_keyspace(offline), offline_rules(offline), count_key, &counts, NULL, &run->why};
    struct base_file file;
    return base_file_read(run->fs, path, &options, &file)
               ? say_file(run, path, &counts, file.bytes)
               : wrong_at(run, path, file.error_at, file.error);
}

static enum check_code verify_segment(struct check_run *run, const char *path) {
    struct source source;
    struct log_scan scan;
    uint64_t blocks = 0;
    source_open(&source, run->fs, path);
    log_scan_init(&scan);
    for (enum log_scan_got got = LOG_SCAN_MORE; got != LOG_SCAN_END;) {
        struct log_block block;
        got = log_scan_next(&scan, source_bytes(&source), source.over, &block);
        blocks += got == LOG_SCAN_BLOCK;
        bool moved = scan.at > source.at;
        source_pass(&source, (size_t)(scan.at - source.at));
        if (got == LOG_SCAN_MORE && (!moved || source_bytes(&source).len == 0)) {
            source_more(&source);
        }
    }
    source_close(&source);
    if (scan.verdict != LOG_SCAN_WHOLE) {
        return wrong_at(run, path, scan.end, scan.error);
    }
    text_appendf(&run->out, "%s: whole: %" PRIu64 " bytes, ", path, scan.end);
    check_say_count(&run->out, blocks, "block");
    text_append_char(&run->out, '\n');
    return CHECK_FINE;
}

/* By the word that it begins with. */
static enum check_code verify_file(struct check_run *run, const char *path) {
    struct source source;
    char front[9] = {0};
    int error = source_open(&source, run->fs, path);
    while (source_bytes(&source).len < sizeof front && source_more(&source)) {
    }
    error = error != 0 ? error : source.error;
    struct bytes bytes = source_bytes(&source);
    memcpy(front, bytes.ptr, bytes.len < sizeof front ? bytes.len : sizeof front);
    source_close(&source);
    if (error != 0) {
        text_appendf(&run->error, "%s: %s", path, strerror(-error));
        return CHECK_FAILED;
    }
    struct offline *offline = offline_new(run->fs, &run->error);
    if (offline == NULL) {
        return CHECK_FAILED;
    }
    enum check_code code;
    if (memcmp(front, "SHOALSNP", 8) == 0) {
        code = verify_base(run, path, offline);
    } else if (memcmp(front, "SHOALLOG", 8) == 0) {
        code = verify_segment(run, path);
    } else if (memcmp(front, "REDIS", 5) == 0 || memcmp(front, "VALKEY", 6) == 0) {
        code = verify_rdb(run, path, offline);
    } else {
        code = wrong_at(run, path, 0,
                        "it is no RDB file, no segment of a log and no file of a snapshot");
    }
    offline_free(offline);
    return code;
}

/* ---- Whatever it is ---- */

static bool is_there(struct check_run *run, const char *path, const char *name, bool want_dir) {
    struct text text;
    text_init(&text);
    text_appendf(&text, "%s/%s", path, name);
    bool there = run->fs->exists(run->fs->arg, text.ptr, want_dir) == 0;
    text_fini(&text);
    return there;
}

static enum check_code verify(struct check_run *run, bool show) {
    const char *path = run->paths[0];
    int there = run->fs->exists(run->fs->arg, path, true);
    if (there == -ENOTDIR) {
        return verify_file(run, path);
    }
    if (there != 0) {
        text_appendf(&run->error, "%s: %s", path, strerror(-there));
        return CHECK_FAILED;
    }
    bool unbegun = false;
    if (is_there(run, path, MANIFEST_NAME, false) ||
        is_there(run, path, DATA_DIR_NAME "/" MANIFEST_NAME, false)) {
        unbegun = check_is_unbegun(run, path);
        if (!unbegun) {
            return look(run, path, show);
        }
        text_append_text(&run->out, "note: " MANIFEST_NAME
                                    " names nothing: a log was to begin, and its snapshot was not "
                                    "made\n");
    }
    struct offline *offline = offline_new(run->fs, &run->error);
    if (offline == NULL) {
        return CHECK_FAILED;
    }
    struct counts counts = {0};
    struct keys_options options = {
        offline_keyspace(offline), offline_rules(offline), count_key, &counts, NULL, &run->why};
    bool found = false;
    bool fine = aof_verify_dir(run->fs, path, &options, &run->out, &found);
    offline_free(offline);
    if (found) {
        return fine ? CHECK_FINE : CHECK_WRONG;
    }
    if (is_there(run, path, "dump.rdb", false)) {
        struct text file;
        text_init(&file);
        text_appendf(&file, "%s/dump.rdb", path);
        enum check_code code = verify_file(run, file.ptr);
        text_fini(&file);
        return code;
    }
    if (unbegun) {
        text_append_text(&run->out, "a start begins with nothing\n");
        return CHECK_FINE;
    }
    text_appendf(&run->error, "%s: no data is there: no %s, no dump.rdb and no AOF", path,
                 MANIFEST_NAME);
    return CHECK_FAILED;
}

enum check_code check_show(struct check_run *run) {
    return verify(run, true);
}

enum check_code check_verify(struct check_run *run) {
    return verify(run, false);
}
