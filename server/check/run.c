/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands have in common. */
#include "server/check/run.h"

#include "server/check/offline.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

bool check_flush(struct check_run *run) {
    int error = run->out.len == 0 ? 0 : run->fs->append(run->fs->arg, "", text_bytes(&run->out));
    text_clear(&run->out);
    return error == 0;
}

static enum check_code check_open(struct check_run *run, const char *path, struct data_dir *dir) {
    bool missing;
    run->locked = -1;
    bool sound = data_dir_open(dir, run->fs, path, &missing, &run->error);
    if (missing) {
        data_dir_close(dir);
        return CHECK_FAILED;
    }
    int error = run->fs->lock_dir(run->fs->arg, dir->path.ptr, &run->locked);
    if (error == -EWOULDBLOCK) {
        text_clear(&run->error);
        text_appendf(&run->error,
                     "%s: a server has it open (or another shoal-check): stop it, or take a copy",
                     dir->path.ptr);
        data_dir_close(dir);
        return CHECK_FAILED;
    }
    if (!sound) {
        check_close(run, dir);
        return CHECK_WRONG;
    }
    return CHECK_FINE;
}

bool check_is_unbegun(struct check_run *run, const char *path) {
    struct data_dir dir;
    struct text why;
    bool missing;
    text_init(&why);
    bool is = data_dir_open(&dir, run->fs, path, &missing, &why) && dir.manifest.first == 0;
    data_dir_close(&dir);
    text_fini(&why);
    return is;
}

void check_close(struct check_run *run, struct data_dir *dir) {
    if (run->locked >= 0) {
        run->fs->close_data(run->fs->arg, run->locked, false);
        run->locked = -1;
    }
    data_dir_close(dir);
}

enum check_code check_look(struct check_run *run, const char *path, struct data_dir *dir) {
    enum check_code code = check_open(run, path, dir);
    if (code != CHECK_FINE) {
        return code;
    }
    if (dir->manifest.first == 0) {
        text_appendf(&run->error,
                     "%s: no data is there yet: a log was to begin, and its snapshot was not made; "
                     "a start goes by other files (dump.rdb, an AOF), or begins with nothing",
                     dir->path.ptr);
        check_close(run, dir);
        return CHECK_FAILED;
    }
    struct offline *offline = offline_new(run->fs, &run->error);
    if (offline == NULL) {
        check_close(run, dir);
        return CHECK_FAILED;
    }
    struct data_dir_options options = {offline_keyspace(offline), offline_rules(offline),
                                       offline_accepts, offline};
    data_dir_look(dir, &options);
    offline_free(offline);
    return CHECK_FINE;
}

void check_say_findings(struct check_run *run, const struct data_dir *dir) {
    static const char *const kinds[] = {
        [FINDING_WRONG] = "wrong", [FINDING_DROPPED] = "dropped", [FINDING_NOTE] = "note"};
    for (size_t i = 0; i < dir->findings_count; i++) {
        const struct finding *finding = &dir->findings[i];
        text_appendf(&run->out, "%s: %s\n", kinds[finding->kind], finding->text);
    }
}

void check_say_time(struct text *out, uint64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[40];
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        text_appendf(out, "@%" PRIu64, ms);
        return;
    }
    text_appendf(out, "%s.%03uZ", text, (unsigned)(ms % 1000));
}

void check_say_count(struct text *out, uint64_t count, const char *word) {
    size_t length = strlen(word);
    bool hisses = length > 1 && word[length - 1] == 'h';
    text_appendf(out, "%" PRIu64 " %s%s", count, word, count == 1 ? "" : hisses ? "es" : "s");
}

/* ---- Writing ---- */

bool check_errno(struct check_run *run, const char *path, int error) {
    text_appendf(&run->error, "%s: %s", path, strerror(-error));
    return false;
}

bool check_sync_dir(struct check_run *run, const char *path) {
    int error = run->fs->sync_dir(run->fs->arg, path);
    return error == 0 || check_errno(run, path, error);
}

bool check_write_manifest(struct check_run *run, const char *dir, const struct manifest *manifest) {
    struct text path, text;
    text_init(&path);
    text_init(&text);
    text_appendf(&path, "%s/" MANIFEST_NAME, dir);
    manifest_encode(&text, manifest);
    int error = run->fs->replace(run->fs->arg, path.ptr, text_bytes(&text), 0600);
    bool done = error == 0 || check_errno(run, path.ptr, error);
    text_fini(&path);
    text_fini(&text);
    return done;
}

/* The directory of the data of a new server; no data is in it yet. */
bool check_make_target(struct check_run *run, const char *path, struct text *ret) {
    int error = run->fs->make_dir(run->fs->arg, path, 0700);
    if (error != 0 && error != -EEXIST) {
        return check_errno(run, path, error);
    }
    text_appendf(ret, "%s/" DATA_DIR_NAME, path);
    error = run->fs->make_dir(run->fs->arg, ret->ptr, 0700);
    if (error == -EEXIST) {
        text_appendf(&run->error, "%s is there already: this makes a new one", ret->ptr);
        return false;
    }
    return error == 0 || check_errno(run, ret->ptr, error);
}
