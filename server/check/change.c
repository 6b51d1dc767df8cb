/* SPDX-License-Identifier: BSD-3-Clause */
/* change: `repair` and `restore`: less of the data than there is, in its place or beside it.
 *
 * What is taken away is not cut out of files: the new manifest says up to which byte and number
 * they count, as the server's own does after a crash. So there is one moment at which old becomes
 * new, and the backup is a copy of what was there.
 */
#include "persist/check/source.h"
#include "server/check/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* ---- Files ---- */

/* The first `bytes` of it. Synced; its name is not. */
static bool copy_file(struct check_run *run, const char *from, const char *to, uint64_t bytes) {
    struct source source;
    int file = -1;
    int error = source_open(&source, run->fs, from);
    source_set_limit(&source, bytes);
    bool made = error == 0;
    error = made ? run->fs->open_data(run->fs->arg, to, true, 0600, &file) : error;
    made = made && error == 0;
    while (error == 0 && source_more(&source)) {
        error = run->fs->write_data(run->fs->arg, file, source_bytes(&source));
        source_pass(&source, source_bytes(&source).len);
    }
    error = error != 0 ? error : source.error;
    if (made) {
        int closed = run->fs->close_data(run->fs->arg, file, true);
        error = error != 0 ? error : closed;
    }
    source_close(&source);
    return error == 0 || check_errno(run, made ? to : from, error);
}

/* A file of the directory, to another one, of the same name. */
static bool copy_to(struct check_run *run, const struct data_dir *dir, const char *name,
                    const char *target, uint64_t bytes) {
    struct text from, to;
    text_init(&from);
    text_init(&to);
    text_appendf(&to, "%s/%s", target, name);
    bool done = copy_file(run, data_dir_file(dir, name, &from), to.ptr, bytes);
    text_fini(&from);
    text_fini(&to);
    return done;
}

static bool move_to(struct check_run *run, const struct data_dir *dir, const char *name,
                    const char *target) {
    struct text from, to;
    text_init(&from);
    text_init(&to);
    text_appendf(&to, "%s/%s", target, name);
    data_dir_file(dir, name, &from);
    int error = run->fs->rename(run->fs->arg, from.ptr, to.ptr);
    bool done = error == 0 || check_errno(run, from.ptr, error);
    text_fini(&from);
    text_fini(&to);
    return done;
}

/* ---- Repair ---- */

/* Segments that the new manifest does not have. */
static bool is_left_out(const struct data_dir *dir, uint32_t segment, const struct manifest *cut) {
    for (uint32_t i = 0; i < cut->count; i++) {
        if (cut->segments[i].shard == dir->manifest.segments[segment].shard &&
            cut->segments[i].sequence == dir->manifest.segments[segment].sequence) {
            return false;
        }
    }
    return true;
}

/* What a repair takes away: what a start that took it would drop anyway is not told apart. */
static void say_loss(struct check_run *run, const struct data_dir *dir,
                     const struct manifest *cut) {
    uint64_t bytes = 0, unread = 0;
    for (uint32_t i = 0; i < dir->manifest.count; i++) {
        const struct dir_segment *segment = &dir->segments[i];
        uint64_t counted = dir->manifest.segments[i].bytes;
        counted = counted != 0 && counted < segment->bytes ? counted : segment->bytes;
        uint64_t left = 0;
        for (uint32_t j = 0; j < cut->count; j++) {
            if (cut->segments[j].shard == dir->manifest.segments[i].shard &&
                cut->segments[j].sequence == dir->manifest.segments[i].sequence) {
                left = cut->segments[j].bytes;
            }
        }
        bytes += counted > left ? counted - left : 0;
        unread += segment->scan.lost_records;
        if (segment->is_there && data_dir_loses(dir, i, cut)) {
            text_appendf(&run->out, "  %s: counts up to byte %" PRIu64 " of %" PRIu64 "\n",
                         segment->name, left, counted);
        }
    }
    text_appendf(&run->out,
                 "kept: the snapshot, and numbers %" PRIu64 " to %" PRIu64 " of the log: %" PRIu64
                 " records\n",
                 dir->manifest.first, dir->last, dir->kept_records);
    text_appendf(&run->out,
                 "removed: %" PRIu64 " bytes of the log, %" PRIu64 " records, %" PRIu64
                 " transactions",
                 bytes, dir->dropped_records + unread, dir->dropped_transactions);
    text_append_text(&run->out, unread > 0 ? " (some of which cannot be read)\n" : "\n");
}

/* A directory for what was there, of a name that nothing has. */
static bool make_backup(struct check_run *run, const struct data_dir *dir, struct text *ret) {
    time_t seconds = (time_t)(run->now_ms / 1000);
    struct tm tm;
    char when[32] = "backup";
    if (gmtime_r(&seconds, &tm) != NULL) {
        strftime(when, sizeof when, "%Y%m%d-%H%M%S", &tm);
    }
    text_appendf(ret, "%s/removed-%s", dir->path.ptr, when);
    int error = run->fs->make_dir(run->fs->arg, ret->ptr, 0700);
    while (error == -EEXIST) {
        text_append_text(ret, "+"); /* it was tried in the same second */
        error = run->fs->make_dir(run->fs->arg, ret->ptr, 0700);
    }
    return error == 0 || check_errno(run, ret->ptr, error);
}

/* Copies first, then the manifest, which makes it so; at last what would be in the way of a start.
 */
static bool repair(struct check_run *run, const struct data_dir *dir, const struct manifest *cut,
                   const char *backup) {
    bool done = copy_to(run, dir, MANIFEST_NAME, backup, UINT64_MAX);
    for (uint32_t i = 0; done && i < dir->manifest.count; i++) {
        bool out = is_left_out(dir, i, cut);
        if (dir->segments[i].is_there && !out && data_dir_loses(dir, i, cut)) {
            done = copy_to(run, dir, dir->segments[i].name, backup, UINT64_MAX);
        }
    }
    done = done && check_sync_dir(run, backup) && check_write_manifest(run, dir->path.ptr, cut);
    for (uint32_t i = 0; done && i < dir->manifest.count; i++) {
        if (dir->segments[i].is_there && is_left_out(dir, i, cut)) {
            done = move_to(run, dir, dir->segments[i].name, backup);
        }
    }
    for (size_t i = 0; done && dir->strays != NULL && dir->strays[i] != NULL; i++) {
        done = move_to(run, dir, dir->strays[i], backup);
    }
    return done && check_sync_dir(run, dir->path.ptr);
}

static enum check_code repair_cut(struct check_run *run, struct data_dir *dir) {
    struct manifest cut;
    struct text backup;
    text_init(&backup);
    manifest_init(&cut);
    data_dir_cut(dir, dir->last, &cut);
    say_loss(run, dir, &cut);
    enum check_code code = CHECK_WRONG;
    if (!run->yes) {
        text_append_text(&run->out, "nothing was changed: say --yes to do it\n");
    } else {
        if (make_backup(run, dir, &backup) && repair(run, dir, &cut, backup.ptr)) {
            text_appendf(&run->out, "repaired; what was there is in %s\n", backup.ptr);
            code = CHECK_FINE;
        } else {
            code = CHECK_FAILED;
        }
    }
    text_fini(&backup);
    manifest_fini(&cut);
    return code;
}

enum check_code check_repair(struct check_run *run) {
    struct data_dir dir;
    enum check_code code = check_look(run, run->paths[0], &dir);
    if (code != CHECK_FINE) {
        return code;
    }
    check_say_findings(run, &dir);
    if (dir.wrong == 0) {
        text_append_text(&run->out,
                         "nothing to repair: a start takes it, and cuts a torn end by itself\n");
    } else if (!dir.is_repairable) {
        text_append_text(
            &run->error,
            "the snapshot itself is damaged, or what belongs together does not lie here "
            "together: no part of the log helps. Take a backup");
        code = CHECK_WRONG;
    } else {
        code = repair_cut(run, &dir);
    }
    check_close(run, &dir);
    return code;
}

/* ---- Restore ---- */

/* Digits of a fixed count. */
static bool take_digits(const char **at, unsigned count, int64_t *ret) {
    *ret = 0;
    for (unsigned i = 0; i < count; i++, ++*at) {
        if (**at < '0' || **at > '9') {
            return false;
        }
        *ret = *ret * 10 + (**at - '0');
    }
    return true;
}

static bool take_char(const char **at, const char *any) {
    bool is = **at != 0 && strchr(any, **at) != NULL;
    *at += is;
    return is;
}

/* Days since 1970-01-01 in the calendar that is in use. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* A thousandth is as fine as it gets. */
static bool take_fraction(const char **at, int64_t *ret_ms) {
    *ret_ms = 0;
    if (!take_char(at, ".")) {
        return true;
    }
    int64_t scale = 100;
    if (**at < '0' || **at > '9') {
        return false;
    }
    for (; **at >= '0' && **at <= '9'; ++*at, scale /= 10) {
        *ret_ms += scale * (**at - '0');
    }
    return true;
}

/* 2026-11-26, 2026-11-26T23:15:00.250Z, @1790000000.250. */
static bool parse_time(const char *at, int64_t *ret_ms) {
    int64_t year, month, day, hour = 0, minute = 0, second = 0, ms = 0;
    if (take_char(&at, "@")) {
        for (second = 0; *at >= '0' && *at <= '9' && second < INT64_C(1) << 40; at++) {
            second = second * 10 + (*at - '0');
        }
        bool sound = take_fraction(&at, &ms) && *at == 0;
        *ret_ms = second * 1000 + ms;
        return sound;
    }
    if (!take_digits(&at, 4, &year) || !take_char(&at, "-") || !take_digits(&at, 2, &month) ||
        !take_char(&at, "-") || !take_digits(&at, 2, &day)) {
        return false;
    }
    if (take_char(&at, "T ") &&
        (!take_digits(&at, 2, &hour) || !take_char(&at, ":") || !take_digits(&at, 2, &minute) ||
         (take_char(&at, ":") && !take_digits(&at, 2, &second)) || !take_fraction(&at, &ms))) {
        return false;
    }
    take_char(&at, "Z");
    bool sound = year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 &&
                 minute < 60 && second < 60 && *at == 0;
    *ret_ms = (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms;
    return sound;
}

/* Up to which number; false: that cannot be had. */
static bool find_number(struct check_run *run, const struct data_dir *dir, uint64_t *ret) {
    const struct manifest *manifest = &dir->manifest;
    const char *to = run->to;
    int64_t ms;
    *ret = 0;
    if (to[strspn(to, "0123456789")] == 0 && to[0] != 0 && strlen(to) < 20) {
        *ret = strtoull(to, NULL, 10);
        if (*ret + 1 < manifest->first || *ret > dir->last) {
            text_appendf(&run->error,
                         "number %" PRIu64 " is not there: the snapshot has all up to %" PRIu64
                         ", the log goes to %" PRIu64,
                         *ret, manifest->first - 1, dir->last);
            return false;
        }
        return true;
    }
    if (!parse_time(to, &ms)) {
        text_appendf(&run->error,
                     "--to %s: neither a number of the log nor a time (2026-11-26T23:15:00Z, UTC, "
                     "or @ and seconds of Unix time)",
                     to);
        return false;
    }
    if ((uint64_t)ms < manifest->created_ms) {
        text_append_text(&run->error, "the snapshot is of ");
        check_say_time(&run->error, manifest->created_ms);
        text_append_text(&run->error, ": nothing older is here");
        return false;
    }
    *ret = data_dir_number_at(dir, (uint64_t)ms);
    return true;
}

static bool copy_all(struct check_run *run, const struct data_dir *dir, const struct manifest *cut,
                     const char *target) {
    char name[MANIFEST_NAME_BYTES];
    bool done = true;
    for (uint32_t i = 0; done && i < cut->bases_count; i++) {
        manifest_base_name(name, cut->generation, cut->bases[i].shard);
        done = copy_to(run, dir, name, target, UINT64_MAX);
    }
    for (uint32_t i = 0; done && i < cut->count; i++) {
        manifest_segment_name(name, cut->segments[i].shard, cut->segments[i].sequence);
        done = copy_to(run, dir, name, target, cut->segments[i].bytes);
    }
    return done && check_sync_dir(run, target) && check_write_manifest(run, target, cut);
}

static enum check_code restore(struct check_run *run, const struct data_dir *dir) {
    uint64_t number;
    if (!find_number(run, dir, &number)) {
        return CHECK_FAILED;
    }
    struct manifest cut;
    struct text target;
    text_init(&target);
    manifest_init(&cut);
    data_dir_cut(dir, number, &cut);
    bool done =
        check_make_target(run, run->paths[1], &target) && copy_all(run, dir, &cut, target.ptr);
    if (done) {
        text_appendf(&run->out, "%s: as of number %" PRIu64 "\n", target.ptr, number);
    }
    manifest_fini(&cut);
    text_fini(&target);
    return done ? CHECK_FINE : CHECK_FAILED;
}

enum check_code check_restore(struct check_run *run) {
    struct data_dir dir;
    enum check_code code = check_look(run, run->paths[0], &dir);
    if (code != CHECK_FINE) {
        return code;
    }
    if (dir.wrong > 0) {
        check_say_findings(run, &dir);
        text_append_text(&run->error, "this must be repaired first");
        code = CHECK_WRONG;
    } else {
        code = restore(run, &dir);
    }
    check_close(run, &dir);
    return code;
}
