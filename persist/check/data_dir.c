/* SPDX-License-Identifier: BSD-3-Clause */
/* What a start refuses is told with the file and the byte; as many reasons as there are, since who
 * repairs wants to know all of them.
 *
 * The numbers that are taken are found by the same code as at a start (log_recover). Where that
 * finds a contradiction, it is asked again for what lies before it: what comes out is what a repair
 * may keep.
 */
#include "persist/check/data_dir.h"

#include "base/check.h"
#include "base/must.h"
#include "persist/check/request.h"
#include "persist/check/source.h"
#include "persist/log/log_index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- Findings ---- */

__attribute__((format(printf, 3, 4))) static void find(struct data_dir *dir, enum finding_kind kind,
                                                       const char *format, ...) {
    struct text text;
    va_list args;
    text_init(&text);
    va_start(args, format);
    text_vappendf(&text, format, args);
    va_end(args);
    if (dir->findings_count == dir->findings_room) {
        dir->findings_room = dir->findings_room ? dir->findings_room * 2 : 16;
        dir->findings = must_realloc(dir->findings, dir->findings_room * sizeof *dir->findings);
    }
    dir->findings[dir->findings_count++] = (struct finding){kind, text_take(&text)};
    dir->wrong += kind == FINDING_WRONG;
}

static void find_at(struct data_dir *dir, const char *name, uint64_t at, const char *what) {
    find(dir, FINDING_WRONG, "%s: byte %" PRIu64 ": %s", name, at, what);
}

/* ---- The manifest ---- */

const char *data_dir_file(const struct data_dir *dir, const char *name, struct text *to) {
    text_clear(to);
    text_append_bytes(to, text_bytes(&dir->path));
    text_append_char(to, '/');
    text_append_text(to, name);
    return to->ptr;
}

static bool has_manifest(const struct data_dir *dir) {
    struct text path;
    text_init(&path);
    data_dir_file(dir, MANIFEST_NAME, &path);
    bool has = dir->fs->exists(dir->fs->arg, path.ptr, false) != -ENOENT;
    text_fini(&path);
    return has;
}

static void set_path(struct data_dir *dir, const char *path) {
    text_clear(&dir->path);
    text_append_text(&dir->path, path);
    while (dir->path.len > 1 && dir->path.ptr[dir->path.len - 1] == '/') {
        dir->path.ptr[--dir->path.len] = 0;
    }
}

static bool read_manifest(struct data_dir *dir, struct text *why) {
    struct text path;
    struct source source;
    text_init(&path);
    int error = source_open(&source, dir->fs, data_dir_file(dir, MANIFEST_NAME, &path));
    while (source_more(&source)) {
    }
    error = error != 0 ? error : source.error;
    const char *wrong = NULL;
    if (error == 0) {
        text_append_bytes(&dir->manifest_text, source_bytes(&source));
        wrong = manifest_decode(text_bytes(&dir->manifest_text), &dir->manifest);
    }
    source_close(&source);
    if (error != 0) {
        text_appendf(why, "%s: it cannot be read: %s", path.ptr, strerror(-error));
    } else if (wrong != NULL) {
        text_appendf(why, "%s: %s", path.ptr, wrong);
    }
    text_fini(&path);
    return error == 0 && wrong == NULL;
}

bool data_dir_open(struct data_dir *dir, const struct fs *fs, const char *path, bool *ret_missing,
                   struct text *why) {
    *dir = (struct data_dir){.fs = fs, .is_repairable = true};
    text_init(&dir->path);
    text_init(&dir->manifest_text);
    manifest_init(&dir->manifest);
    set_path(dir, path);
    bool there = has_manifest(dir);
    if (!there) {
        text_append_text(&dir->path, "/" DATA_DIR_NAME);
        there = has_manifest(dir);
    }
    *ret_missing = !there;
    if (!there) {
        set_path(dir, path);
        text_appendf(why, "%s: there is no %s, nor in %s/%s", dir->path.ptr, MANIFEST_NAME,
                     dir->path.ptr, DATA_DIR_NAME);
        return false;
    }
    if (!read_manifest(dir, why)) {
        return false;
    }
    const struct manifest *manifest = &dir->manifest;
    dir->bases = must_calloc(manifest->bases_count + 1, sizeof *dir->bases);
    dir->segments = must_calloc(manifest->count + 1, sizeof *dir->segments);
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        manifest_base_name(dir->bases[i].name, manifest->generation, manifest->bases[i].shard);
    }
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        manifest_segment_name(dir->segments[i].name, segment->shard, segment->sequence);
    }
    return true;
}

void data_dir_close(struct data_dir *dir) {
    for (size_t i = 0; i < dir->findings_count; i++) {
        free(dir->findings[i].text);
    }
    for (size_t i = 0; dir->strays != NULL && dir->strays[i] != NULL; i++) {
        free(dir->strays[i]);
    }
    free(dir->strays);
    free(dir->findings);
    free(dir->databases);
    free(dir->runs);
    free(dir->bases);
    free(dir->segments);
    manifest_fini(&dir->manifest);
    text_fini(&dir->manifest_text);
    text_fini(&dir->path);
}

/* ---- The snapshot ---- */

struct key_seen {
    uint64_t hash;
    uint32_t db;
};

/* Names of all keys as hashes: one that is there twice is found in the end. */
struct look {
    struct data_dir *dir;
    const struct data_dir_options *options;
    struct dir_base *base;
    struct key_seen *seen;
    size_t seen_count, seen_room;
};

static void count_key(struct data_dir *dir, const struct keys_key *key) {
    if (key->db >= dir->databases_count) {
        uint32_t count = key->db + 1;
        dir->databases = must_realloc(dir->databases, count * sizeof *dir->databases);
        memset(dir->databases + dir->databases_count, 0,
               (count - dir->databases_count) * sizeof *dir->databases);
        dir->databases_count = count;
    }
    dir->databases[key->db].types[key->type]++;
    dir->databases[key->db].deadlines += key->expires_at != NO_EXPIRY;
}

static const char *look_at_key(void *arg, const struct keys_key *key) {
    struct look *look = arg;
    if (look->seen_count == look->seen_room) {
        look->seen_room = look->seen_room ? look->seen_room * 2 : 1024;
        look->seen = must_realloc(look->seen, look->seen_room * sizeof *look->seen);
    }
    struct key hashed = key_make(keyspace_secret(look->options->ks), key->name);
    look->seen[look->seen_count++] = (struct key_seen){hashed.hash, key->db};
    look->base->types[key->type]++;
    look->base->deadlines += key->expires_at != NO_EXPIRY;
    count_key(look->dir, key);
    return NULL;
}

static int by_seen(const void *a, const void *b) {
    const struct key_seen *one = a, *other = b;
    if (one->db != other->db) {
        return one->db < other->db ? -1 : 1;
    }
    return (one->hash > other->hash) - (one->hash < other->hash);
}

static void look_for_twins(struct look *look) {
    if (look->seen_count > 1) {
        qsort(look->seen, look->seen_count, sizeof *look->seen, by_seen);
    }
    for (size_t i = 1; i < look->seen_count; i++) {
        if (by_seen(&look->seen[i - 1], &look->seen[i]) == 0) {
            find(look->dir, FINDING_WRONG, "base-%" PRIu64 "-*.snapshot: a key is there twice",
                 look->dir->manifest.generation);
            look->dir->is_repairable = false;
            return;
        }
    }
}

/* Is the file the one that the manifest means? NULL, or what it is instead. */
static const char *base_differs(const struct data_dir *dir, uint32_t i) {
    const struct manifest *manifest = &dir->manifest;
    const struct manifest_base *named = &manifest->bases[i];
    const struct base_file *file = &dir->bases[i].file;
    const struct frames_head *head = &file->head;
    if (head->generation != manifest->generation) {
        return "it is of another generation";
    }
    if (head->shard != named->shard || head->shards != manifest->bases_count) {
        return "it is another shard's";
    }
    if (head->salt != named->salt) {
        return "it is another file of that name";
    }
    if (head->number + 1 != manifest->first) {
        return "it is of another moment than the log begins at";
    }
    if (file->bytes != named->bytes) {
        return "it is of another length than it was";
    }
    if (file->keys != named->keys) {
        return "it has another number of keys than it had";
    }
    return NULL;
}

static void look_at_bases(struct data_dir *dir, const struct data_dir_options *options) {
    struct look look = {.dir = dir, .options = options};
    struct keys_options keys = {options->ks, options->rules, look_at_key, &look, NULL, NULL};
    struct text path;
    text_init(&path);
    for (uint32_t i = 0; i < dir->manifest.bases_count; i++) {
        struct dir_base *base = &dir->bases[i];
        look.base = base;
        data_dir_file(dir, base->name, &path);
        bool sound = base_file_read(dir->fs, path.ptr, &keys, &base->file);
        if (!sound && base->file.errno_ != 0) {
            find(dir, FINDING_WRONG, "%s: byte %" PRIu64 ": %s: %s", base->name,
                 base->file.error_at, base->file.error, strerror(-base->file.errno_));
        } else if (!sound) {
            find_at(dir, base->name, base->file.error_at, base->file.error);
        }
        const char *differs = sound ? base_differs(dir, i) : NULL;
        if (differs != NULL) {
            find_at(dir, base->name, 0, differs);
        }
        dir->is_repairable &= sound && differs == NULL;
    }
    look_for_twins(&look);
    free(look.seen);
    text_fini(&path);
}

/* ---- The log ---- */

static void add_run(struct data_dir *dir, const struct dir_run *run) {
    if (dir->runs_count == dir->runs_room) {
        dir->runs_room = dir->runs_room ? dir->runs_room * 2 : 256;
        dir->runs = must_realloc(dir->runs, dir->runs_room * sizeof *dir->runs);
    }
    dir->runs[dir->runs_count++] = *run;
}

/* So many whole requests. NULL, or what is wrong. */
static const char *check_records(const struct data_dir_options *options, struct bytes payload,
                                 uint32_t records, struct request_words *words) {
    uint32_t db, order;
    for (uint32_t i = 0; i < records; i++) {
        if (request_take(&payload, words) != REQUEST_WHOLE) {
            return "a record is no request";
        }
        if (!request_take_mark(words, &db, &order) || db >= KEYS_DATABASES_MAX) {
            return "a record of a database that cannot be";
        }
        const char *error = options->record != NULL
                                ? options->record(options->arg, words->argv, words->argc)
                                : NULL;
        if (error != NULL) {
            return error;
        }
    }
    return payload.len > 0 ? "a run has more records than it says" : NULL;
}

struct scanning {
    struct data_dir *dir;
    const struct data_dir_options *options;
    uint32_t index;
    struct source source;
    struct text room;
    struct request_words words;
    bool looked;         /* at its header */
    const char *differs; /* it is another file than the manifest means */
    const char *error;   /* in a block that is whole; nothing behind that is taken */
    uint64_t error_at;
};

static bool fail_block(struct scanning *s, const struct log_block *block, const char *error) {
    s->error = error;
    s->error_at = block->offset;
    return false;
}

static void take_run(struct scanning *s, const struct log_block *block, const struct log_run *run,
                     uint64_t at) {
    struct dir_segment *segment = &s->dir->segments[s->index];
    uint64_t until = s->dir->manifest.segments[s->index].until;
    if (until != 0 && run->number > until) {
        return;
    }
    add_run(s->dir, &(struct dir_run){run->number, block->time_ms, block->offset,
                                      block->offset + block->bytes, at, run->bytes, run->records,
                                      run->parts, s->index});
    bool first = segment->number_min == 0;
    segment->number_min =
        first || run->number < segment->number_min ? run->number : segment->number_min;
    segment->number_max = run->number > segment->number_max ? run->number : segment->number_max;
}

/* False: its records make no sense. */
static bool take_records(struct scanning *s, const struct log_block *block) {
    struct bytes payload;
    if (!log_block_payload(block, &s->room, &payload)) {
        return fail_block(s, block, "a block that cannot be unpacked");
    }
    for (uint32_t i = 0; i < block->runs; i++) {
        struct log_run run = log_block_run(block, i);
        if (run.bytes > payload.len) {
            return fail_block(s, block, "a run longer than its block");
        }
        struct bytes records = bytes_make(payload.ptr, (size_t)run.bytes);
        const char *error = check_records(s->options, records, run.records, &s->words);
        if (error != NULL) {
            return fail_block(s, block, error);
        }
        payload = bytes_make(payload.ptr + run.bytes, payload.len - (size_t)run.bytes);
    }
    return payload.len == 0 || fail_block(s, block, "a block with more bytes than its runs");
}

static void take_block(struct scanning *s, const struct log_block *block,
                       struct log_recover *recover) {
    struct dir_segment *segment = &s->dir->segments[s->index];
    if (s->differs != NULL || s->error != NULL || !take_records(s, block)) {
        return;
    }
    log_recover_add(recover, s->index, block);
    uint64_t at = 0;
    for (uint32_t i = 0; i < block->runs; i++) {
        struct log_run run = log_block_run(block, i);
        take_run(s, block, &run, at);
        at += run.bytes;
    }
    segment->time_first_ms = segment->blocks == 0 ? block->time_ms : segment->time_first_ms;
    segment->time_last_ms = block->time_ms;
    segment->blocks++;
    segment->records += block->records;
}

/* Every block of it, for the recovery too. */
static void scan_blocks(struct scanning *s, struct log_recover *recover) {
    struct source *source = &s->source;
    struct dir_segment *segment = &s->dir->segments[s->index];
    struct log_scan *scan = &segment->scan;
    log_scan_init(scan);
    for (;;) {
        struct log_block block;
        enum log_scan_got got = log_scan_next(scan, source_bytes(source), source->over, &block);
        if (scan->begun && !s->looked) {
            s->looked = true;
            s->differs =
                manifest_check(&s->dir->manifest, s->index, &scan->segment, segment->bytes);
        }
        if (got == LOG_SCAN_END) {
            return;
        }
        if (got == LOG_SCAN_BLOCK) {
            take_block(s, &block, recover);
        }
        bool moved = scan->at > source->at;
        source_pass(source, (size_t)(scan->at - source->at));
        if (got == LOG_SCAN_MORE && (!moved || source_bytes(source).len == 0)) {
            source_more(source);
        }
    }
}

static void judge_scan(struct data_dir *dir, const struct scanning *s) {
    struct dir_segment *segment = &dir->segments[s->index];
    uint64_t bytes = dir->manifest.segments[s->index].bytes; /* 0: it is still written */
    const struct log_scan *scan = &segment->scan;
    segment->is_sound = scan->begun && s->differs == NULL;
    if (s->differs != NULL) {
        find_at(dir, segment->name, 0, s->differs);
    } else if (s->error != NULL) {
        find_at(dir, segment->name, s->error_at, s->error);
    } else if (scan->verdict == LOG_SCAN_CORRUPT || (bytes != 0 && scan->error != NULL)) {
        find_at(dir, segment->name, scan->end, scan->error);
    } else if (bytes != 0 && bytes != scan->end) {
        find_at(dir, segment->name, scan->end, "it does not end where it did");
    } else if (scan->verdict == LOG_SCAN_TORN) {
        find(dir, FINDING_DROPPED,
             "%s: byte %" PRIu64 ": %s: what a crash leaves; %" PRIu64 " bytes, %" PRIu64
             " records are dropped",
             segment->name, scan->end, scan->error, scan->lost_bytes, scan->lost_records);
    }
}

static void scan_segment(struct data_dir *dir, const struct data_dir_options *options,
                         uint32_t index, struct log_recover *recover) {
    struct dir_segment *segment = &dir->segments[index];
    struct scanning s = {.dir = dir, .options = options, .index = index};
    struct text path;
    text_init(&path);
    data_dir_file(dir, segment->name, &path);
    int error = source_open(&s.source, dir->fs, path.ptr);
    error = error != 0 ? error : source_size(&s.source, &segment->bytes);
    if (error == 0) {
        uint64_t bytes = dir->manifest.segments[index].bytes;
        source_set_limit(&s.source, bytes != 0 ? bytes : UINT64_MAX);
        text_init(&s.room);
        scan_blocks(&s, recover);
        text_fini(&s.room);
        request_words_fini(&s.words);
        error = s.source.error;
    }
    source_close(&s.source);
    segment->is_there = error == 0;
    if (error != 0) {
        find(dir, FINDING_WRONG, "%s: it cannot be read: %s", segment->name, strerror(-error));
    } else {
        judge_scan(dir, &s);
    }
    text_fini(&path);
}

/* ---- The recovery rule ---- */

static int by_number(const void *a, const void *b) {
    const struct dir_run *one = a, *other = b;
    if (one->number != other->number) {
        return one->number < other->number ? -1 : 1;
    }
    if (one->segment != other->segment) {
        return one->segment < other->segment ? -1 : 1;
    }
    if (one->block != other->block) {
        return one->block < other->block ? -1 : 1;
    }
    return (one->at > other->at) - (one->at < other->at);
}

/* Runs are sorted. A transaction counts once. */
static void count_runs(struct data_dir *dir) {
    uint64_t before = 0;
    for (size_t i = 0; i < dir->runs_count; i++) {
        const struct dir_run *run = &dir->runs[i];
        if (run->number <= dir->last) {
            dir->kept_records += run->records;
            continue;
        }
        dir->dropped_bytes += run->bytes;
        dir->dropped_records += run->records;
        dir->dropped_transactions += run->parts > 1 && run->number != before;
        before = run->number;
    }
}

static void recover_log(struct data_dir *dir, const struct data_dir_options *options) {
    const struct manifest *manifest = &dir->manifest;
    struct log_recover recover;
    struct log_recover_file *files = must_calloc(manifest->count + 1, sizeof *files);
    for (uint32_t i = 0; i < manifest->count; i++) {
        files[i] = (struct log_recover_file){.shard = manifest->segments[i].shard,
                                             .until = manifest->segments[i].until};
    }
    log_recover_init(&recover, files, manifest->count, manifest->first);
    for (uint32_t i = 0; i < manifest->count; i++) {
        scan_segment(dir, options, i, &recover);
    }
    if (!log_recover_end(&recover)) {
        find(dir, FINDING_WRONG, "%s: number %" PRIu64 ": %s",
             manifest->count > 0 ? dir->segments[recover.wrong_file].name : MANIFEST_NAME,
             recover.wrong, recover.error);
        dir->is_repairable &= recover.wrong >= manifest->first;
    }
    dir->last = recover.last;
    if (dir->runs_count > 0) {
        qsort(dir->runs, dir->runs_count, sizeof *dir->runs, by_number);
    }
    count_runs(dir);
    if (dir->dropped_records > 0) {
        find(dir, FINDING_DROPPED,
             "numbers behind %" PRIu64 ": their predecessors, or other parts, are missing: %" PRIu64
             " bytes, %" PRIu64 " records, %" PRIu64 " transactions are dropped",
             dir->last, dir->dropped_bytes, dir->dropped_records, dir->dropped_transactions);
    }
    log_recover_fini(&recover);
    free(files);
}

/* ---- Files that are nobody's ---- */

static bool ends_in(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

static bool is_named(const struct data_dir *dir, const char *name) {
    for (uint32_t i = 0; i < dir->manifest.bases_count; i++) {
        if (strcmp(dir->bases[i].name, name) == 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < dir->manifest.count; i++) {
        if (strcmp(dir->segments[i].name, name) == 0) {
            return true;
        }
    }
    return strcmp(name, MANIFEST_NAME) == 0;
}

/* A segment with blocks that no manifest names, and that comes behind those that are named, is a
 * sign that the manifest is an old one. */
static bool is_from_later(const struct data_dir *dir, const char *path) {
    struct source source;
    struct log_segment segment;
    bool later = false;
    source_open(&source, dir->fs, path);
    while (source_bytes(&source).len < LOG_SEGMENT_BYTES + LOG_HEAD_BYTES && source_more(&source)) {
    }
    if (source_bytes(&source).len > LOG_SEGMENT_BYTES &&
        log_segment_decode(source_bytes(&source), &segment) == NULL) {
        later = true;
        for (uint32_t i = 0; i < dir->manifest.count; i++) {
            const struct manifest_segment *named = &dir->manifest.segments[i];
            later &= named->shard != segment.shard || named->sequence < segment.sequence;
        }
        later &= segment.generation >= dir->manifest.generation;
    }
    source_close(&source);
    return later;
}

static void look_for_strays(struct data_dir *dir) {
    struct text pattern;
    char **names = NULL;
    text_init(&pattern);
    text_append_pattern(&pattern, text_bytes(&dir->path));
    text_append_text(&pattern, "/*");
    int error = dir->fs->match(dir->fs->arg, pattern.ptr, &names);
    text_fini(&pattern);
    if (error != 0) {
        find(dir, FINDING_WRONG, "%s: its names cannot be read: %s", dir->path.ptr,
             strerror(-error));
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        const char *name = names[i] + dir->path.len + 1;
        bool segment = ends_in(name, ".segment"), base = ends_in(name, ".snapshot");
        bool temporary = strncmp(name, MANIFEST_NAME "-", strlen(MANIFEST_NAME) + 1) == 0;
        if ((!segment && !base && !temporary) || is_named(dir, name)) {
            free(names[i]);
            continue;
        }
        if (segment && is_from_later(dir, names[i])) {
            find_at(dir, name, 0,
                    "a segment with records that the manifest does not name: that is an old one");
        } else {
            find(dir, FINDING_NOTE, "%s: no file of the data: something left it behind", name);
        }
        names[kept++] = names[i];
        memmove(names[kept - 1], name, strlen(name) + 1);
    }
    names[kept] = NULL;
    dir->strays = names;
}

bool data_dir_look(struct data_dir *dir, const struct data_dir_options *options) {
    check(options->ks != NULL);
    if (dir->manifest.first == 0) {
        find_at(dir, MANIFEST_NAME, 0, "its log begins with number 0");
        dir->is_repairable = false;
        return false;
    }
    look_at_bases(dir, options);
    recover_log(dir, options);
    look_for_strays(dir);
    return dir->wrong == 0;
}

/* ---- Less of it ---- */

uint64_t data_dir_number_at(const struct data_dir *dir, uint64_t time_ms) {
    for (size_t i = 0; i < dir->runs_count; i++) {
        const struct dir_run *run = &dir->runs[i];
        if (run->number <= dir->last && run->time_ms > time_ms) {
            return run->number - 1;
        }
    }
    return dir->last;
}

void data_dir_cut(const struct data_dir *dir, uint64_t last, struct manifest *ret) {
    const struct manifest *manifest = &dir->manifest;
    check(last <= dir->last && last + 1 >= manifest->first);
    uint64_t *ends = must_calloc(manifest->count + 1, sizeof *ends);
    for (size_t i = 0; i < dir->runs_count; i++) {
        const struct dir_run *run = &dir->runs[i];
        if (run->number <= last && run->end > ends[run->segment]) {
            ends[run->segment] = run->end;
        }
    }
    ret->generation = manifest->generation;
    ret->created_ms = manifest->created_ms;
    ret->first = manifest->first;
    ret->shards = manifest->shards;
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        manifest_add_base(ret, &manifest->bases[i]);
    }
    bool whole = true; /* the shard's log so far */
    for (uint32_t i = 0; i < manifest->count; i++) {
        struct manifest_segment segment = manifest->segments[i];
        bool goes_on = i > 0 && segment.shard == manifest->segments[i - 1].shard;
        whole = (whole || !goes_on) && dir->segments[i].is_sound;
        if (whole) {
            segment.bytes = ends[i] > 0 ? ends[i] : LOG_SEGMENT_BYTES;
            segment.until = segment.until != 0 && segment.until < last ? segment.until : last;
            manifest_add(ret, &segment);
        }
    }
    free(ends);
}

bool data_dir_loses(const struct data_dir *dir, uint32_t segment, const struct manifest *cut) {
    const struct dir_segment *there = &dir->segments[segment];
    const struct manifest_segment *named = &dir->manifest.segments[segment];
    for (uint32_t i = 0; i < cut->count; i++) {
        const struct manifest_segment *left = &cut->segments[i];
        if (left->shard == named->shard && left->sequence == named->sequence) {
            uint64_t counted = named->bytes != 0 ? named->bytes : there->bytes;
            return left->bytes < counted || there->number_max > left->until;
        }
    }
    return there->is_there;
}

/* ---- Records ---- */

/* The records of one run that are left. */
struct record_part {
    const struct dir_run *run;
    struct bytes left;
    struct text copy; /* what they are in, if the number has more parts */
    uint32_t records;
    struct request_words words; /* of the next one */
    uint32_t db, order;
};

struct records {
    const struct data_dir *dir;
    struct source *sources; /* by segment */
    dir_record_fn *each;
    void *arg;
    struct text *why;
    struct text path, room;
    struct record_part *parts; /* of the number at hand */
    uint64_t *orders;
    size_t parts_room;
    /* The block at hand. */
    uint32_t segment;
    uint64_t block;
    struct bytes payload;
    bool has_block;
};

static bool lost(struct records *records, const char *what) {
    text_appendf(records->why, "%s: byte %" PRIu64 ": %s",
                 records->dir->segments[records->segment].name, records->block, what);
    return false;
}

/* It was read before, and found whole. */
static bool get_block(struct records *records, const struct dir_run *run) {
    const struct dir_segment *segment = &records->dir->segments[run->segment];
    struct source *source = &records->sources[run->segment];
    struct log_block block;
    const char *error;
    records->segment = run->segment;
    records->block = run->block;
    records->has_block = true;
    uint64_t behind = run->block - source->at; /* wraps when it lies before that */
    if (behind <= source_bytes(source).len) {
        source_pass(source, (size_t)behind);
    } else if (source_seek(source, run->block) != 0) {
        return lost(records, "it cannot be read any more");
    }
    for (;;) {
        enum log_got got = log_block_decode(source_bytes(source), &segment->scan.segment,
                                            run->block, &block, &error);
        if (got == LOG_WHOLE) {
            break;
        }
        if (got == LOG_BAD || !source_more(source)) {
            return lost(records, "it has changed meanwhile");
        }
    }
    return log_block_payload(&block, &records->room, &records->payload) ||
           lost(records, "it cannot be unpacked");
}

static bool has_changed(struct records *records, const struct record_part *part) {
    records->segment = part->run->segment;
    records->block = part->run->block;
    return lost(records, "it has changed meanwhile");
}

/* The next record of a part, and which one of its transaction it is. */
static bool take_next(struct records *records, struct record_part *part, uint64_t *ret_order) {
    *ret_order = LOG_ORDER_NONE;
    if (part->records == 0) {
        return true;
    }
    part->records--;
    if (request_take(&part->left, &part->words) != REQUEST_WHOLE ||
        !request_take_mark(&part->words, &part->db, &part->order)) {
        return has_changed(records, part);
    }
    *ret_order = part->order;
    return true;
}

static bool take_part(struct records *records, struct record_part *part, const struct dir_run *run,
                      bool is_only) {
    if (!records->has_block || records->segment != run->segment || records->block != run->block) {
        if (!get_block(records, run)) {
            return false;
        }
    }
    part->run = run;
    part->records = run->records;
    part->left = bytes_make(records->payload.ptr + run->at, (size_t)run->bytes);
    if (!is_only) { /* another part's block takes the place of this one's */
        text_clear(&part->copy);
        text_append_bytes(&part->copy, part->left);
        part->left = text_bytes(&part->copy);
    }
    return true;
}

static void make_room(struct records *records, size_t count) {
    if (count <= records->parts_room) {
        return;
    }
    records->parts = must_realloc(records->parts, count * sizeof *records->parts);
    records->orders = must_realloc(records->orders, count * sizeof *records->orders);
    for (size_t i = records->parts_room; i < count; i++) {
        records->parts[i] = (struct record_part){0};
        text_init(&records->parts[i].copy);
    }
    records->parts_room = count;
}

/* So many runs of one number, as a start does them. */
static bool show_number(struct records *records, const struct dir_run *runs, size_t count) {
    uint64_t at = 0, of = 0;
    make_room(records, count);
    for (size_t i = 0; i < count; i++) {
        if (!take_part(records, &records->parts[i], &runs[i], count == 1)) {
            return false;
        }
        of += runs[i].records;
    }
    for (size_t i = 0; i < count; i++) {
        if (!take_next(records, &records->parts[i], &records->orders[i])) {
            return false;
        }
    }
    struct log_order order = {0};
    bool again;
    size_t next;
    while ((next = log_order_next(&order, records->orders, count, &again)) < count) {
        struct record_part *part = &records->parts[next];
        struct dir_record record = {
            .number = part->run->number,
            .time_ms = part->run->time_ms,
            .at = at++,
            .of = of,
            .again = again,
            .shard = records->dir->manifest.segments[part->run->segment].shard,
            .db = part->db,
            .argv = part->words.argv,
            .argc = part->words.argc,
            .name = records->dir->segments[part->run->segment].name,
            .block = part->run->block,
        };
        if (!records->each(records->arg, &record, records->why) ||
            !take_next(records, part, &records->orders[next])) {
            return false;
        }
    }
    return true;
}

static size_t runs_of_number(const struct data_dir *dir, size_t at) {
    size_t end = at + 1;
    while (end < dir->runs_count && dir->runs[end].number == dir->runs[at].number) {
        end++;
    }
    return end - at;
}

bool data_dir_records(const struct data_dir *dir, uint64_t last, dir_record_fn *each, void *arg,
                      struct text *why) {
    struct records records = {.dir = dir, .each = each, .arg = arg, .why = why};
    records.sources = must_calloc(dir->manifest.count + 1, sizeof *records.sources);
    text_init(&records.path);
    text_init(&records.room);
    for (uint32_t i = 0; i < dir->manifest.count; i++) {
        source_open(&records.sources[i], dir->fs,
                    data_dir_file(dir, dir->segments[i].name, &records.path));
    }
    bool whole = true;
    size_t count;
    for (size_t i = 0; whole && i < dir->runs_count && dir->runs[i].number <= last; i += count) {
        count = runs_of_number(dir, i);
        whole = show_number(&records, &dir->runs[i], count);
    }
    for (uint32_t i = 0; i < dir->manifest.count; i++) {
        source_close(&records.sources[i]);
    }
    for (size_t i = 0; i < records.parts_room; i++) {
        request_words_fini(&records.parts[i].words);
        text_fini(&records.parts[i].copy);
    }
    free(records.parts);
    free(records.orders);
    text_fini(&records.path);
    text_fini(&records.room);
    free(records.sources);
    return whole;
}
