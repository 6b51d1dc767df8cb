/* SPDX-License-Identifier: BSD-3-Clause */
/* kill_points: see the header. A point of a file has its number by its row below and the moment:
 * KILL_FILES + 3 * row + moment. Rows are what the server does with a file in the course of its
 * life; that each of them happens is what test_kill_points.py sees to, which goes through all.
 */
#include "server/persistence/kill_points.h"

#include "base/num.h"
#include "net/process.h"

#include <string.h>

static const char *const names[KILL_FILES] = {
    [KILL_CUT_BEGINS] = "cut.begins",
    [KILL_CUT_SHARD] = "cut.shard",
    [KILL_CUT_TAKEN] = "cut.taken",
    [KILL_SAVE_WALKED] = "save.walked",
    [KILL_SAVE_WRITTEN] = "save.written",
    [KILL_SAVE_JOINED] = "save.joined",
    [KILL_SAVE_TELLS] = "save.tells",
    [KILL_SAVE_OVER] = "save.over",
    [KILL_LOG_SEALED] = "log.sealed",
    [KILL_LOG_WRITTEN] = "log.written",
    [KILL_LOG_SYNCED] = "log.synced",
    [KILL_LOG_PREPARED] = "log.prepared",
    [KILL_LOG_NAMED] = "log.named",
    [KILL_LOG_RETIRED] = "log.retired",
    [KILL_LOG_PROMISES] = "log.promises",
    [KILL_LOG_STOPS] = "log.stops",
    [KILL_GATE_OPENS] = "gate.opens",
    [KILL_GATE_SENT] = "gate.sent",
    [KILL_TXN_DRAWN] = "txn.drawn",
    [KILL_TXN_PART] = "txn.part",
    [KILL_TXN_ENDS] = "txn.ends",
    [KILL_START_PLANNED] = "start.planned",
    [KILL_START_LOADED] = "start.loaded",
    [KILL_START_JUDGED] = "start.judged",
    [KILL_START_APPLIED] = "start.applied",
    [KILL_START_RECOVERED] = "start.recovered",
    [KILL_START_IMPORTED] = "start.imported",
    [KILL_START_MADE] = "start.made",
    [KILL_START_CUT] = "start.cut",
    [KILL_START_MORE] = "start.more",
    [KILL_START_OVER] = "start.over",
};

/* ---- Operations on files ---- */

enum file_class {
    FILE_OTHER,
    FILE_MANIFEST_TEMP,
    FILE_MANIFEST,
    FILE_MANIFEST_GONE,
    FILE_BASE,
    FILE_SEGMENT,
    FILE_RDB_TEMP,
    FILE_RDB,
    FILE_DATA_DIR,
    FILE_DIR,
    FILE_CLASSES
};

static const char *const class_names[FILE_CLASSES] = {
    [FILE_MANIFEST_TEMP] = "manifest-temp",
    [FILE_MANIFEST] = "manifest",
    [FILE_MANIFEST_GONE] = "manifest-gone",
    [FILE_BASE] = "base",
    [FILE_SEGMENT] = "segment",
    [FILE_RDB_TEMP] = "rdb-temp",
    [FILE_RDB] = "rdb",
    [FILE_DATA_DIR] = "data-dir",
    [FILE_DIR] = "dir",
};

enum act {
    ACT_OTHER,
    ACT_CREATE,
    ACT_OPEN,
    ACT_HEAD, /* written and synced, at its beginning */
    ACT_WRITE,
    ACT_WRITE_SYNC,
    ACT_READ,
    ACT_SYNC,
    ACT_CLOSE,
    ACT_RENAME,
    ACT_REMOVE,
    ACT_MAKE,
    ACTS
};

static const char *const act_names[ACTS] = {
    [ACT_CREATE] = "create",
    [ACT_OPEN] = "open",
    [ACT_HEAD] = "head",
    [ACT_WRITE] = "write",
    [ACT_WRITE_SYNC] = "write-sync",
    [ACT_READ] = "read",
    [ACT_SYNC] = "sync",
    [ACT_CLOSE] = "close",
    [ACT_RENAME] = "rename",
    [ACT_REMOVE] = "remove",
    [ACT_MAKE] = "make",
};

static const struct file_row {
    enum file_class class;
    enum act act;
} rows[] = {
    {FILE_MANIFEST_TEMP, ACT_CREATE},
    {FILE_MANIFEST_TEMP, ACT_WRITE},
    {FILE_MANIFEST_TEMP, ACT_SYNC},
    {FILE_MANIFEST_TEMP, ACT_CLOSE},
    {FILE_MANIFEST_TEMP, ACT_RENAME},
    {FILE_MANIFEST, ACT_OPEN},
    {FILE_MANIFEST, ACT_READ},
    {FILE_MANIFEST, ACT_CLOSE},
    {FILE_MANIFEST, ACT_RENAME},
    {FILE_MANIFEST_GONE, ACT_REMOVE},
    {FILE_BASE, ACT_CREATE},
    {FILE_BASE, ACT_WRITE},
    {FILE_BASE, ACT_SYNC},
    {FILE_BASE, ACT_CLOSE},
    {FILE_BASE, ACT_REMOVE},
    {FILE_BASE, ACT_OPEN},
    {FILE_BASE, ACT_READ},
    {FILE_SEGMENT, ACT_CREATE},
    {FILE_SEGMENT, ACT_HEAD},
    {FILE_SEGMENT, ACT_WRITE},
    {FILE_SEGMENT, ACT_WRITE_SYNC},
    {FILE_SEGMENT, ACT_SYNC},
    {FILE_SEGMENT, ACT_CLOSE},
    {FILE_SEGMENT, ACT_REMOVE},
    {FILE_SEGMENT, ACT_OPEN},
    {FILE_SEGMENT, ACT_READ},
    {FILE_RDB_TEMP, ACT_CREATE},
    {FILE_RDB_TEMP, ACT_WRITE},
    {FILE_RDB_TEMP, ACT_SYNC},
    {FILE_RDB_TEMP, ACT_CLOSE},
    {FILE_RDB_TEMP, ACT_RENAME},
    {FILE_RDB_TEMP, ACT_OPEN},
    {FILE_RDB_TEMP, ACT_READ},
    {FILE_RDB_TEMP, ACT_REMOVE},
    {FILE_RDB, ACT_OPEN},
    {FILE_RDB, ACT_READ},
    {FILE_RDB, ACT_CLOSE},
    {FILE_DATA_DIR, ACT_MAKE},
    {FILE_DATA_DIR, ACT_SYNC},
    {FILE_DIR, ACT_SYNC},
};

#define ROWS (sizeof rows / sizeof *rows)

/* HALF: a write that gets no further; a row that writes nothing has it not. */
enum moment { BEFORE, HALF, AFTER, MOMENTS };
static const char *const moment_names[MOMENTS] = {"before", "half", "after"};

static bool writes(enum act act) {
    return act == ACT_HEAD || act == ACT_WRITE || act == ACT_WRITE_SYNC;
}

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

static bool ends(const char *name, const char *with) {
    size_t n = strlen(name), m = strlen(with);
    return n >= m && strcmp(name + n - m, with) == 0;
}

static enum file_class class_of(const struct kill_points *points,
                                const struct rt_file_sight *sight) {
    const char *slash = strrchr(sight->path, '/');
    const char *name = slash != NULL ? slash + 1 : sight->path;
    if (sight->kind == RT_DIR_MAKE || sight->kind == RT_DIR_SYNC) {
        bool is_data = bytes_equal(bytes_of_text(name), points->dir_name);
        return is_data ? FILE_DATA_DIR : FILE_DIR;
    }
    if (begins(name, "shoal.manifest")) {
        return ends(name, ".new")    ? FILE_MANIFEST_TEMP
               : ends(name, ".gone") ? FILE_MANIFEST_GONE
                                     : FILE_MANIFEST;
    }
    if (ends(name, ".snapshot")) {
        return FILE_BASE;
    }
    if (ends(name, ".segment")) {
        return FILE_SEGMENT;
    }
    if (ends(name, ".rdb")) {
        return begins(name, "temp-") ? FILE_RDB_TEMP : FILE_RDB;
    }
    return FILE_OTHER;
}

static enum act act_of(const struct rt_file_sight *sight) {
    switch (sight->kind) {
    case RT_FILE_OPEN:
        return sight->creates ? ACT_CREATE : ACT_OPEN;
    case RT_FILE_WRITE:
        return ACT_WRITE;
    case RT_FILE_WRITE_SYNC:
        return sight->offset == 0 ? ACT_HEAD : ACT_WRITE_SYNC;
    case RT_FILE_READ:
        return ACT_READ;
    case RT_FILE_SYNC:
    case RT_DIR_SYNC:
        return ACT_SYNC;
    case RT_FILE_CLOSE:
        return ACT_CLOSE;
    case RT_FILE_RENAME:
        return ACT_RENAME;
    case RT_FILE_REMOVE:
        return ACT_REMOVE;
    case RT_DIR_MAKE:
        return ACT_MAKE;
    default:
        return ACT_OTHER;
    }
}

/* ---- Passing ---- */

static bool is_armed(struct kill_points *points, unsigned point) {
    return atomic_load_explicit(&points->armed_point, memory_order_acquire) == point;
}

/* Whether this is the time that it was armed for. */
static bool is_due(struct kill_points *points) {
    return atomic_fetch_sub_explicit(&points->passes_left, 1, memory_order_relaxed) == 1;
}

void kill_points_pass(struct kill_points *points, unsigned point) {
    if (is_armed(points, point) && is_due(points)) {
        process_kill();
    }
}

static unsigned file_asked(void *arg, struct rt_file_op *op) {
    struct kill_points *points = arg;
    unsigned armed = atomic_load_explicit(&points->armed_point, memory_order_acquire);
    if (LIKELY(armed < KILL_FILES)) {
        return 0;
    }
    const struct file_row *row = &rows[(armed - KILL_FILES) / MOMENTS];
    struct rt_file_sight sight;
    rt_file_look(op, &sight);
    if (row->act != act_of(&sight) || row->class != class_of(points, &sight)) {
        return 0;
    }
    switch ((enum moment)((armed - KILL_FILES) % MOMENTS)) {
    case BEFORE:
        kill_points_pass(points, armed);
        return 0;
    case HALF:
        if (is_due(points)) {
            rt_file_write_half(op);
            process_kill();
        }
        return 0;
    default:
        return armed;
    }
}

static void file_over(void *arg, unsigned noted) {
    kill_points_pass(arg, noted);
}

void kill_points_watch(struct kill_points *points, struct rt *rt) {
    rt_file_watch(rt, file_asked, file_over, points);
}

/* ---- Names ---- */

bool kill_points_name(unsigned point, struct text *to) {
    if (point < KILL_FILES) {
        text_append_text(to, names[point]);
        return true;
    }
    const struct file_row *row = &rows[(point - KILL_FILES) / MOMENTS];
    if (point - KILL_FILES >= ROWS * MOMENTS) {
        return false;
    }
    enum moment moment = (point - KILL_FILES) % MOMENTS;
    if (moment != HALF || writes(row->act)) {
        text_appendf(to, "%s.%s.%s", class_names[row->class], act_names[row->act],
                     moment_names[moment]);
    }
    return true;
}

bool kill_points_arm(struct kill_points *points, struct bytes name, struct bytes count) {
    struct text one;
    text_init(&one);
    uint64_t times = 1;
    bool found =
        count.len == 0 || (num_parse_u64(count, &times) && times > 0 && times < UINT32_MAX);
    unsigned point = KILL_NOWHERE + 1;
    for (; found; point++, text_clear(&one)) {
        found = kill_points_name(point, &one);
        if (found && name.len > 0 && bytes_equal(text_bytes(&one), name)) {
            atomic_store_explicit(&points->passes_left, (unsigned)times, memory_order_relaxed);
            atomic_store_explicit(&points->armed_point, point, memory_order_release);
            break;
        }
    }
    text_fini(&one);
    return found;
}

void kill_points_disarm(struct kill_points *points) {
    atomic_store_explicit(&points->armed_point, KILL_NOWHERE, memory_order_release);
}
