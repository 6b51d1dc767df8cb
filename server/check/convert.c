/* SPDX-License-Identifier: BSD-3-Clause */
/* convert: `export` and `import`: to RDB and from it; and `records`: everything as commands. All
 * keys are in memory meanwhile, but for `records`, which has one at a time.
 */
#include "base/num.h"
#include "base/quote.h"
#include "net/rt.h"
#include "persist/check/base_make.h"
#include "persist/check/request.h"
#include "persist/snapshot/rdb_load.h"
#include "persist/snapshot/rdb_save.h"
#include "server/check/offline.h"
#include "server/check/run.h"
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* A directory that a start would take. CHECK_FINE: both are open. */
static enum check_code open_sound(struct check_run *run, struct data_dir *dir,
                                  struct offline **ret_offline) {
    enum check_code code = check_look(run, run->paths[0], dir);
    if (code != CHECK_FINE) {
        return code;
    }
    if (dir->wrong > 0) {
        check_say_findings(run, dir);
        text_append_text(&run->error, "this must be repaired first");
        code = CHECK_WRONG;
    } else {
        *ret_offline = offline_new(run->fs, &run->error);
        code = *ret_offline != NULL ? CHECK_FINE : CHECK_FAILED;
    }
    if (code != CHECK_FINE) {
        check_close(run, dir);
    }
    return code;
}

/* All keys of the snapshot. */
static bool read_bases(struct check_run *run, const struct data_dir *dir,
                       const struct keys_options *options) {
    struct text path;
    bool sound = true;
    text_init(&path);
    for (uint32_t i = 0; sound && i < dir->manifest.bases_count; i++) {
        struct base_file file;
        sound =
            base_file_read(run->fs, data_dir_file(dir, dir->bases[i].name, &path), options, &file);
        if (!sound) {
            text_appendf(&run->error, "%s: byte %" PRIu64 ": %s", path.ptr, file.error_at,
                         file.error);
        }
    }
    text_fini(&path);
    return sound;
}

/* ---- Export ---- */

static bool run_record(void *arg, const struct dir_record *record, struct text *why) {
    size_t before = why->len;
    if (record->again && offline_is_of_all(arg, record->argv, record->argc)) {
        return true;
    }
    if (offline_run(arg, record->db, record->argv, record->argc, (int64_t)record->time_ms, why)) {
        return true;
    }
    struct text said;
    text_init(&said);
    text_append(&said, why->ptr + before, why->len - before);
    why->len = before;
    text_appendf(why, "%s: byte %" PRIu64 ": number %" PRIu64 ": %s", record->name, record->block,
                 record->number, said.ptr);
    text_fini(&said);
    return false;
}

static bool save(struct check_run *run, struct offline *offline, const char *path) {
    struct keyspace *ks = offline_keyspace(offline);
    struct text temporary, libraries;
    text_init(&temporary);
    text_init(&libraries);
    text_appendf(&temporary, "%s.part", path);
    offline_write_libraries(offline, &libraries);
    struct rdb_save_options options = {
        .fs = run->fs,
        .path = path,
        .temporary = temporary.ptr,
        .redis_version = SHOAL_REDIS_VERSION,
        .valkey_version = SHOAL_VALKEY_VERSION,
        .databases = KEYS_DATABASES_MAX,
        .used_memory = keyspace_memory(ks),
        .now_ms = run->now_ms,
        .compress = true,
        .check_sum = true,
        .keyspaces = &ks,
        .count = 1,
        .libraries = text_bytes(&libraries),
    };
    struct rdb_saved saved;
    bool done = rdb_save(&options, &saved, &run->error);
    if (done) {
        text_appendf(&run->out, "%s: ", path);
        check_say_count(&run->out, saved.keys, "key");
        text_appendf(&run->out, ", %" PRIu64 " bytes\n", saved.bytes);
    }
    text_fini(&libraries);
    text_fini(&temporary);
    return done;
}

enum check_code check_export(struct check_run *run) {
    struct data_dir dir;
    struct offline *offline;
    if (run->fs->exists(run->fs->arg, run->paths[1], false) == 0) {
        text_appendf(&run->error, "%s is there already", run->paths[1]);
        return CHECK_FAILED;
    }
    enum check_code code = open_sound(run, &dir, &offline);
    if (code != CHECK_FINE) {
        return code;
    }
    struct keys_options options = {offline_keyspace(offline),
                                   offline_rules(offline),
                                   offline_put,
                                   offline,
                                   offline_put_library,
                                   &run->why};
    if (!read_bases(run, &dir, &options) ||
        !data_dir_records(&dir, dir.last, run_record, offline, &run->error)) {
        code = CHECK_WRONG;
    } else if (!save(run, offline, run->paths[1])) {
        code = CHECK_FAILED;
    }
    offline_free(offline);
    check_close(run, &dir);
    return code;
}

/* ---- Import ---- */

static struct keyspace *only_keyspace(void *arg, uint16_t slot) {
    (void)slot;
    return offline_keyspace(arg);
}

static bool load_library(void *arg, struct bytes code) {
    return offline_put_library(arg, code) == NULL;
}

static bool load(struct check_run *run, struct offline *offline, const char *path) {
    struct keyspace *ks = offline_keyspace(offline);
    struct rdb_keys_options options = {
        .secret = keyspace_secret(ks),
        .rules = offline_rules(offline),
        .databases = KEYS_DATABASES_MAX,
        .now_ms = run->now_ms,
        .relaxed = true,
        .check_sum = true,
        .keyspace_of = only_keyspace,
        .arg = offline,
        .any = ks,
        .library = load_library,
    };
    struct rdb_loaded loaded;
    if (!rdb_load(run->fs, path, &options, &loaded, &run->error)) {
        return false;
    }
    text_appendf(&run->out, "%s: ", path);
    check_say_count(&run->out, loaded.keys, "key");
    if (loaded.expired > 0) {
        text_appendf(&run->out, ", %" PRIu64 " were over", loaded.expired);
    }
    if (loaded.empty > 0) {
        text_appendf(&run->out, ", %" PRIu64 " empty collections were left out", loaded.empty);
    }
    if (loaded.functions > 0) {
        text_appendf(&run->out, ", libraries of functions: %" PRIu64, loaded.functions);
    }
    text_append_char(&run->out, '\n');
    return true;
}

/* Its share of the slots. */
static void choose_slots(struct slot_set *set, uint32_t shard, uint32_t shards) {
    memset(set, 0, sizeof *set);
    uint32_t from = (uint32_t)((uint64_t)SLOTS * shard / shards);
    uint32_t end = (uint32_t)((uint64_t)SLOTS * (shard + 1) / shards);
    for (uint32_t slot = from; slot < end; slot++) {
        set->words[slot / 64] |= UINT64_C(1) << slot % 64;
    }
}

static bool make_base(struct check_run *run, struct offline *offline, struct walks *walks,
                      const char *dir, const struct frames_head *head, struct manifest *manifest) {
    char name[MANIFEST_NAME_BYTES];
    struct base_made made;
    struct slot_set slots;
    struct text path;
    text_init(&path);
    manifest_base_name(name, head->generation, head->shard);
    text_appendf(&path, "%s/%s", dir, name);
    choose_slots(&slots, head->shard, head->shards);
    uint32_t count;
    struct bytes *libraries = offline_libraries(offline, &count);
    count = head->shard == 0 ? count : 0;
    int error = base_make(run->fs, path.ptr, head, walks, &slots, libraries, count, &made);
    free(libraries);
    manifest_add_base(manifest,
                      &(struct manifest_base){head->shard, head->salt, made.bytes, made.keys});
    bool done = error == 0 || check_errno(run, path.ptr, error);
    text_fini(&path);
    return done;
}

/* A first generation without a log. */
static bool make_generation(struct check_run *run, struct offline *offline, const char *dir,
                            uint32_t shards) {
    struct manifest manifest;
    struct walks walks;
    manifest_init(&manifest);
    manifest.generation = manifest.first = 1;
    manifest.created_ms = (uint64_t)run->now_ms;
    manifest.shards = shards;
    walks_init(&walks, offline_keyspace(offline));
    bool done = true;
    for (uint32_t shard = 0; done && shard < shards; shard++) {
        struct frames_head head = {.shard = shard,
                                   .shards = shards,
                                   .generation = manifest.generation,
                                   .created_ms = manifest.created_ms};
        rt_random_early(&head.salt, sizeof head.salt);
        done = make_base(run, offline, &walks, dir, &head, &manifest);
    }
    walks_fini(&walks);
    done = done && check_sync_dir(run, dir) && check_write_manifest(run, dir, &manifest);
    manifest_fini(&manifest);
    return done;
}

enum check_code check_import(struct check_run *run) {
    uint32_t shards = run->shards > 0 ? run->shards : rt_cpus();
    struct offline *offline = offline_new(run->fs, &run->error);
    if (offline == NULL) {
        return CHECK_FAILED;
    }
    struct text target;
    text_init(&target);
    enum check_code code = load(run, offline, run->paths[0]) ? CHECK_FINE : CHECK_WRONG;
    if (code == CHECK_FINE && (!check_make_target(run, run->paths[1], &target) ||
                               !make_generation(run, offline, target.ptr, shards))) {
        code = CHECK_FAILED;
    }
    if (code == CHECK_FINE) {
        text_appendf(&run->out, "%s: generation 1, ", target.ptr);
        check_say_count(&run->out, shards, "file");
        text_append_char(&run->out, '\n');
    }
    text_fini(&target);
    offline_free(offline);
    return code;
}

/* ---- Records ---- */

#define OUT_BYTES ((size_t)1 << 16)

struct printing {
    struct check_run *run;
    const struct offline *offline;
    struct request_words words;
    uint32_t db; /* that was selected */
    bool has_db, closed;
};

static void put_word(struct text *out, struct bytes word) {
    text_appendf(out, "$%zu\r\n", word.len);
    text_append_bytes(out, word);
    text_append_text(out, "\r\n");
}

static void put_request(struct printing *p, uint32_t db, const struct bytes *argv, uint32_t argc) {
    struct text *out = &p->run->out;
    if (!p->has_db || p->db != db) {
        char digits[NUM_I64_BYTES];
        text_append_text(out, "*2\r\n");
        put_word(out, BYTES("SELECT"));
        put_word(out, bytes_make(digits, num_format_u64(digits, db)));
        p->has_db = true;
        p->db = db;
    }
    text_appendf(out, "*%" PRIu32 "\r\n", argc);
    for (uint32_t i = 0; i < argc; i++) {
        put_word(out, argv[i]);
    }
}

/* What has one number is one thing: nobody may see a part of it elsewhere, either. */
static void put_record(struct printing *p, const struct dir_record *record, bool is_left_out) {
    struct text *out = &p->run->out;
    if (record->of > 1 && record->at == 0) {
        text_append_text(out, "*1\r\n$5\r\nMULTI\r\n");
    }
    if (!is_left_out) {
        put_request(p, record->db, record->argv, record->argc);
    }
    if (record->of > 1 && record->at + 1 == record->of) {
        text_append_text(out, "*1\r\n$4\r\nEXEC\r\n");
    }
}

/* Number, time, shard, database, command; a dash where it is of the snapshot. */
static void put_line(struct printing *p, const struct dir_record *record) {
    struct text *out = &p->run->out;
    if (record->number > 0) {
        text_appendf(out, "%" PRIu64 " ", record->number);
        check_say_time(out, record->time_ms);
        text_appendf(out, " %" PRIu32, record->shard);
    } else {
        text_append_text(out, "- - -");
    }
    text_appendf(out, " %" PRIu32, record->db);
    for (uint32_t i = 0; i < record->argc; i++) {
        text_append_char(out, ' ');
        quote_append(out, record->argv[i]);
    }
    text_append_char(out, '\n');
}

static bool print(void *arg, const struct dir_record *record, struct text *why) {
    struct printing *p = arg;
    (void)why;
    bool is_left_out = record->again && offline_is_of_all(p->offline, record->argv, record->argc);
    if (p->run->resp) {
        put_record(p, record, is_left_out);
    } else if (!is_left_out) {
        put_line(p, record);
    }
    if (p->run->out.len >= OUT_BYTES) {
        p->closed |= !check_flush(p->run);
    }
    return !p->closed;
}

static void print_made(void *arg, uint32_t db, struct bytes request) {
    struct printing *p = arg;
    if (request_take(&request, &p->words) == REQUEST_WHOLE && !p->closed) {
        struct dir_record record = {.db = db, .argv = p->words.argv, .argc = p->words.argc};
        print(p, &record, &p->run->error);
    }
}

enum check_code check_records(struct check_run *run) {
    struct data_dir dir;
    struct offline *offline;
    enum check_code code = open_sound(run, &dir, &offline);
    if (code != CHECK_FINE) {
        return code;
    }
    struct printing printing = {.run = run, .offline = offline};
    struct offline_shown shown = {offline, print_made, &printing};
    struct keys_options options = {offline_keyspace(offline),
                                   offline_rules(offline),
                                   offline_show,
                                   &shown,
                                   offline_show_library,
                                   &run->why};
    bool done =
        read_bases(run, &dir, &options) && !printing.closed &&
        (data_dir_records(&dir, dir.last, print, &printing, &run->error) || printing.closed);
    code = done || printing.closed ? CHECK_FINE : CHECK_WRONG;
    request_words_fini(&printing.words);
    offline_free(offline);
    check_close(run, &dir);
    return code;
}
