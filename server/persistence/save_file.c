/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes of one file may run side by side, so each has its place in it. What must come in order
 * (open, writes, sync, close) is one operation after the other.
 */
#include "server/persistence/save_file.h"

#include "base/check.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES    ((size_t)256 << 10)
#define AWAY_BYTES_MAX ((size_t)4 << 20)
/* As much as Valkey writes between two syncs. */
#define SYNC_BYTES ((uint64_t)4 << 20)

struct save_write {
    struct rt_file_op op; /* first */
    struct save_file *file;
    struct list_node link; /* of file->writes */
    struct iovec vector;
    struct text bytes;
    uint64_t at;
};

void save_file_init(struct save_file *file, struct rt *rt) {
    *file = (struct save_file){.rt = rt, .file = -1};
    list_init(&file->writes);
    text_init(&file->filling);
}

void save_file_fini(struct save_file *file) {
    check(file->at == SAVE_FILE_OVER || (file->at == SAVE_FILE_CLOSED && !file->asked));
    text_fini(&file->filling);
    free(file->path);
}

static void write_free(struct save_write *write) {
    list_remove(&write->link);
    text_fini(&write->bytes);
    free(write);
}

void save_file_forget(struct save_file *file) {
    struct list_node *node;
    while ((node = list_first(&file->writes)) != NULL) {
        write_free(LIST_ENTRY(node, struct save_write, link));
    }
    text_fini(&file->filling);
    free(file->path);
}

void save_file_open(struct save_file *file, const char *path, uint64_t offset, bool syncs,
                    bool on_the_way) {
    size_t bytes = strlen(path) + 1;
    file->path = memcpy(must_malloc(bytes), path, bytes);
    file->offset = file->done = file->synced = offset;
    file->syncs = syncs;
    file->syncs_on_the_way = on_the_way;
}

bool save_file_is_full(const struct save_file *file) {
    return file->error == 0 && file->filling.len + file->writes_bytes >= AWAY_BYTES_MAX;
}

uint64_t save_file_readable(const struct save_file *file) {
    if (file->error != 0) {
        return 0;
    }
    if (list_empty(&file->writes)) {
        return file->offset;
    }
    return LIST_ENTRY(list_first(&file->writes), struct save_write, link)->at;
}

size_t save_file_memory(const struct save_file *file) {
    return file->filling.cap + file->writes_bytes;
}

void save_file_end(struct save_file *file) {
    file->goal = file->goal == SAVE_FILE_DROP ? SAVE_FILE_DROP : SAVE_FILE_END;
}

void save_file_drop(struct save_file *file) {
    file->goal = SAVE_FILE_DROP;
}

void save_file_flush(struct save_file *file) {
    file->flushes = true;
}

/* ---- What was asked for is done ---- */

static void failed(struct save_file *file, int64_t result) {
    if (result < 0 && file->error == 0) {
        file->error = (int)result;
    }
}

static struct save_file *file_of(struct rt_file_op *op) {
    struct save_file *file = LIST_ENTRY(op, struct save_file, op);
    file->asked = false;
    return file;
}

static void opened(struct rt_file_op *op, int64_t result) {
    struct save_file *file = file_of(op);
    failed(file, result);
    file->made = result >= 0;
    file->file = result >= 0 ? (rt_file)result : -1;
    file->at = result >= 0 ? SAVE_FILE_OPEN : SAVE_FILE_DONE;
}

static void synced_some(struct rt_file_op *op, int64_t result) {
    failed(file_of(op), result);
}

static void synced_all(struct rt_file_op *op, int64_t result) {
    struct save_file *file = file_of(op);
    failed(file, result);
    file->at = SAVE_FILE_SYNCED;
}

static void closed(struct rt_file_op *op, int64_t result) {
    struct save_file *file = file_of(op);
    failed(file, result);
    file->file = -1;
    file->at = SAVE_FILE_DONE;
}

static void removed(struct rt_file_op *op, int64_t result) {
    (void)result; /* who begins the next one writes over it */
    file_of(op)->at = SAVE_FILE_OVER;
}

static void written(struct rt_file_op *op, int64_t result) {
    struct save_write *write = (struct save_write *)op;
    struct save_file *file = write->file;
    failed(file, result);
    file->writes_bytes -= write->bytes.len;
    file->done += write->bytes.len;
    write_free(write);
}

/* ---- What comes next ---- */

static struct rt_file_op *ask(struct save_file *file,
                              void (*done)(struct rt_file_op *op, int64_t result)) {
    check(!file->asked);
    file->asked = true;
    file->op.done = done;
    return &file->op;
}

static void write_filling(struct save_file *file) {
    struct save_write *write = must_aligned(16, sizeof *write);
    write->op.done = written;
    write->file = file;
    write->at = file->offset;
    write->bytes = file->filling;
    write->vector = (struct iovec){write->bytes.ptr, write->bytes.len};
    text_init(&file->filling);
    list_push_back(&file->writes, &write->link);
    file->writes_bytes += write->bytes.len;
    rt_file_write(file->rt, &write->op, file->file, &write->vector, 1, file->offset);
    file->offset += write->bytes.len;
}

static void close_file(struct save_file *file) {
    rt_file_close(file->rt, ask(file, closed), file->file);
}

/* It is open, and nothing is wrong. */
static void step_open(struct save_file *file) {
    bool ends = file->goal == SAVE_FILE_END;
    if (file->filling.len >= PIECE_BYTES || ((ends || file->flushes) && file->filling.len > 0)) {
        file->flushes = false;
        write_filling(file);
    }
    if (file->asked) {
        return;
    }
    if (ends && list_empty(&file->writes)) {
#ifdef SHOAL_UNSAFE_SAVE_SYNC /* for the test that crashes in the simulator show it */
        if (false) {
#else
        if (file->syncs) {
#endif
            rt_file_sync(file->rt, ask(file, synced_all), file->file, RT_SYNC_ALL);
        } else {
            close_file(file);
        }
    } else if (file->syncs_on_the_way && file->done - file->synced >= SYNC_BYTES) {
        file->synced = file->done;
        rt_file_sync(file->rt, ask(file, synced_some), file->file, RT_SYNC_DATA);
    }
}

bool save_file_step(struct save_file *file) {
    bool drops = file->goal == SAVE_FILE_DROP || file->error != 0;
    switch (file->at) {
    case SAVE_FILE_CLOSED:
        if (drops || file->path == NULL) {
            file->at = drops && !file->asked ? SAVE_FILE_OVER : file->at;
        } else if (!file->asked) {
            unsigned flags = RT_OPEN_WRITE | RT_OPEN_CREATE;
            flags |= file->offset == 0 ? RT_OPEN_TRUNCATE : 0;
            rt_file_open(file->rt, ask(file, opened), file->path, flags, 0);
        }
        break;
    case SAVE_FILE_OPEN:
        if (!drops) {
            step_open(file);
        } else if (!file->asked && list_empty(&file->writes)) {
            close_file(file);
        }
        break;
    case SAVE_FILE_SYNCED:
        if (!file->asked) {
            close_file(file);
        }
        break;
    case SAVE_FILE_DONE:
        if (!drops || !file->made) {
            file->at = SAVE_FILE_OVER;
        } else if (!file->asked) {
            rt_file_remove(file->rt, ask(file, removed), file->path);
        }
        break;
    case SAVE_FILE_OVER:
        break;
    }
    return file->at == SAVE_FILE_OVER;
}
