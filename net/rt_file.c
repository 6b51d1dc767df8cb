/* SPDX-License-Identifier: BSD-3-Clause */
/* rt_file: what the backends share: operations as they are asked for, and one done by hand, with
 * system calls that block. */
#include "net/rt_file.h"

#include "net/rt_private.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- What is left of one ---- */

void rt_file_advance(struct rt_file_op *op, uint64_t n) {
    check(n <= op->left);
    op->offset += n;
    op->moved += n;
    op->left -= n;
    while (n > 0 || (op->count > 0 && op->vectors->iov_len == 0)) {
        struct iovec *first = op->vectors;
        if (n < first->iov_len) {
            first->iov_base = (char *)first->iov_base + n;
            first->iov_len -= n;
            return;
        }
        n -= first->iov_len;
        op->vectors++;
        op->count--;
    }
}

/* ---- Watching ---- */

void rt_file_watch(struct rt *rt, unsigned (*asked)(void *arg, struct rt_file_op *op),
                   void (*over)(void *arg, unsigned noted), void *arg) {
    rt->file_asked = asked;
    rt->file_over = over;
    rt->file_arg = arg;
}

void rt_file_look(const struct rt_file_op *op, struct rt_file_sight *ret_sight) {
    bool has_path =
        op->kind == RT_FILE_OPEN || (op->kind >= RT_FILE_RENAME && op->kind <= RT_DIR_SYNC);
    *ret_sight = (struct rt_file_sight){
        .kind = op->kind,
        .creates = op->kind == RT_FILE_OPEN && (op->flags & O_CREAT) != 0,
        .offset = op->offset,
    };
    if (has_path) {
        snprintf(ret_sight->path, sizeof(ret_sight->path), "%s", op->path);
        return;
    }
    if (op->kind == RT_FILE_BESIDE) {
        return;
    }
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", op->file);
    ssize_t n = readlink(link, ret_sight->path, sizeof(ret_sight->path) - 1);
    ret_sight->path[n > 0 ? n : 0] = 0;
}

void rt_file_write_half(const struct rt_file_op *op) {
    uint64_t left = op->left / 2, offset = op->offset;
    for (int i = 0; i < op->count && left > 0; i++) {
        const struct iovec *vector = &op->vectors[i];
        size_t n = left < vector->iov_len ? (size_t)left : vector->iov_len;
        if (pwrite(op->file, vector->iov_base, n, (off_t)offset) != (ssize_t)n) {
            return;
        }
        offset += n;
        left -= n;
    }
}

static void watched_done(struct rt_file_op *op, int64_t result) {
    const struct rt *rt = op->watched;
    op->done = op->watched_done;
    rt->file_over(rt->file_arg, op->noted);
    op->done(op, result);
}

static void watch(struct rt *rt, struct rt_file_op *op) {
    op->noted = rt->file_asked(rt->file_arg, op);
    if (op->noted != 0) {
        op->watched = rt;
        op->watched_done = op->done;
        op->done = watched_done;
    }
}

/* ---- Asking ---- */

static void ask(struct rt *rt, struct rt_file_op *op, enum rt_file_kind kind) {
    check(op->done != NULL);
    list_node_init(&op->link);
    op->kind = kind;
    op->step = 0;
    op->memory = NULL;
    op->write_fault = 0;
    op->sync_fault = 0;
    bool writes = kind == RT_FILE_WRITE || kind == RT_FILE_WRITE_SYNC;
    if (writes) {
        rt_faulted(rt, RT_FAULT_FILE_WRITE, &op->write_fault);
    }
    if (kind == RT_FILE_WRITE_SYNC || kind == RT_FILE_SYNC) {
        rt_faulted(rt, RT_FAULT_FILE_SYNC, &op->sync_fault);
    }
    if (UNLIKELY(rt->file_asked != NULL)) {
        watch(rt, op);
    }
    rt->ops->file(rt, op);
}

void rt_file_open(struct rt *rt, struct rt_file_op *op, const char *path, unsigned flags,
                  mode_t mode) {
    check(flags & (RT_OPEN_READ | RT_OPEN_WRITE));
    bool both = (flags & RT_OPEN_READ) && (flags & RT_OPEN_WRITE);
    int how = both ? O_RDWR : flags & RT_OPEN_WRITE ? O_WRONLY : O_RDONLY;
    how |= O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    how |= flags & RT_OPEN_CREATE ? O_CREAT : 0;
    how |= flags & RT_OPEN_EXCLUSIVE ? O_EXCL : 0;
    how |= flags & RT_OPEN_TRUNCATE ? O_TRUNC : 0;
    op->path = path;
    op->flags = (unsigned)how;
    op->mode = mode ? mode : 0600;
    ask(rt, op, RT_FILE_OPEN);
}

static void move(struct rt *rt, struct rt_file_op *op, enum rt_file_kind kind, rt_file file,
                 struct iovec *vectors, int count, uint64_t offset) {
    check(count >= 0 && count <= RT_FILE_VECTORS_MAX);
    op->file = file;
    op->vectors = vectors;
    op->count = count;
    op->offset = offset;
    op->left = op->moved = 0;
    for (int i = 0; i < count; i++) {
        op->left += vectors[i].iov_len;
    }
    check(op->left <= RT_FILE_BYTES_MAX);
    rt_file_advance(op, 0);
    ask(rt, op, kind);
}

void rt_file_write(struct rt *rt, struct rt_file_op *op, rt_file file, struct iovec *vectors,
                   int count, uint64_t offset) {
    move(rt, op, RT_FILE_WRITE, file, vectors, count, offset);
}

void rt_file_write_sync(struct rt *rt, struct rt_file_op *op, rt_file file, struct iovec *vectors,
                        int count, uint64_t offset) {
    move(rt, op, RT_FILE_WRITE_SYNC, file, vectors, count, offset);
}

void rt_file_read(struct rt *rt, struct rt_file_op *op, rt_file file, void *ret, size_t n,
                  uint64_t offset) {
    op->one = (struct iovec){ret, n};
    move(rt, op, RT_FILE_READ, file, &op->one, 1, offset);
}

void rt_file_sync(struct rt *rt, struct rt_file_op *op, rt_file file, enum rt_sync what) {
    op->file = file;
    op->flags = what;
    ask(rt, op, RT_FILE_SYNC);
}

void rt_file_truncate(struct rt *rt, struct rt_file_op *op, rt_file file, uint64_t bytes) {
    op->file = file;
    op->offset = bytes;
    ask(rt, op, RT_FILE_TRUNCATE);
}

void rt_file_size(struct rt *rt, struct rt_file_op *op, rt_file file) {
    op->file = file;
    ask(rt, op, RT_FILE_SIZE);
}

void rt_file_allocate(struct rt *rt, struct rt_file_op *op, rt_file file, uint64_t offset,
                      uint64_t bytes) {
    op->file = file;
    op->offset = offset;
    op->left = bytes;
    ask(rt, op, RT_FILE_ALLOCATE);
}

void rt_file_close(struct rt *rt, struct rt_file_op *op, rt_file file) {
    op->file = file;
    ask(rt, op, RT_FILE_CLOSE);
}

void rt_file_rename(struct rt *rt, struct rt_file_op *op, const char *path, const char *target) {
    op->path = path;
    op->target = target;
    ask(rt, op, RT_FILE_RENAME);
}

void rt_file_remove(struct rt *rt, struct rt_file_op *op, const char *path) {
    op->path = path;
    ask(rt, op, RT_FILE_REMOVE);
}

void rt_dir_make(struct rt *rt, struct rt_file_op *op, const char *path, mode_t mode) {
    op->path = path;
    op->mode = mode ? mode : 0700;
    ask(rt, op, RT_DIR_MAKE);
}

void rt_dir_sync(struct rt *rt, struct rt_file_op *op, const char *path) {
    op->path = path;
    ask(rt, op, RT_DIR_SYNC);
}

void rt_file_beside(struct rt *rt, struct rt_file_op *op, int64_t (*work)(void *arg), void *arg) {
    op->work = work;
    op->work_arg = arg;
    ask(rt, op, RT_FILE_BESIDE);
}

/* ---- By hand ---- */

static int64_t outcome(int64_t r) {
    return r < 0 ? -errno : r;
}

static int64_t write_once(struct rt_file_op *op) {
    struct iovec part = *op->vectors;
    if (UNLIKELY(op->write_fault != 0)) {
        int fault = op->write_fault;
        op->write_fault = 0;
        if (fault < 0) {
            return fault;
        }
        part.iov_len = part.iov_len < (size_t)fault ? part.iov_len : (size_t)fault;
        return outcome(pwrite(op->file, part.iov_base, part.iov_len, (off_t)op->offset));
    }
    return outcome(pwritev(op->file, op->vectors, op->count, (off_t)op->offset));
}

static int64_t write_all(struct rt_file_op *op) {
    while (op->left > 0) {
        int64_t n = write_once(op);
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? n : -EIO;
        }
        rt_file_advance(op, (uint64_t)n);
    }
    return (int64_t)op->moved;
}

static int64_t read_all(struct rt_file_op *op) {
    while (op->left > 0) {
        int64_t n = outcome(preadv(op->file, op->vectors, op->count, (off_t)op->offset));
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? n : (int64_t)op->moved;
        }
        rt_file_advance(op, (uint64_t)n);
    }
    return (int64_t)op->moved;
}

static int64_t sync_file(struct rt_file_op *op, bool data) {
    if (UNLIKELY(op->sync_fault < 0)) {
        return op->sync_fault;
    }
    int64_t r;
    do {
        r = outcome(data ? fdatasync(op->file) : fsync(op->file));
    } while (r == -EINTR);
    return r;
}

static int64_t sync_dir(struct rt_file_op *op) {
    int fd = open(op->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    op->file = fd;
    int64_t r = sync_file(op, false);
    close(fd);
    return r;
}

static int64_t size_of(rt_file file) {
    struct stat stat;
    return fstat(file, &stat) < 0 ? -errno : stat.st_size;
}

int64_t rt_file_call(struct rt_file_op *op) {
    int64_t r;
    switch (op->kind) {
    case RT_FILE_OPEN:
        do {
            r = outcome(open(op->path, (int)op->flags, op->mode));
        } while (r == -EINTR);
        return r;
    case RT_FILE_WRITE:
        return write_all(op);
    case RT_FILE_WRITE_SYNC:
        r = write_all(op);
        r = r < 0 ? r : sync_file(op, true);
        return r < 0 ? r : (int64_t)op->moved;
    case RT_FILE_READ:
        return read_all(op);
    case RT_FILE_SYNC:
        return sync_file(op, op->flags == RT_SYNC_DATA);
    case RT_FILE_TRUNCATE:
        return outcome(ftruncate(op->file, (off_t)op->offset));
    case RT_FILE_SIZE:
        return size_of(op->file);
    case RT_FILE_ALLOCATE:
        return outcome(
            fallocate(op->file, FALLOC_FL_KEEP_SIZE, (off_t)op->offset, (off_t)op->left));
    case RT_FILE_CLOSE:
        r = outcome(close(op->file));
        return r == -EINTR ? 0 : r; /* it is closed all the same */
    case RT_FILE_RENAME:
        return outcome(rename(op->path, op->target));
    case RT_FILE_REMOVE:
        return outcome(unlink(op->path));
    case RT_DIR_MAKE:
        return outcome(mkdir(op->path, op->mode));
    case RT_DIR_SYNC:
        return sync_dir(op);
    case RT_FILE_BESIDE:
        return op->work(op->work_arg);
    }
    check(false);
    return -ENOSYS;
}

void rt_file_drop(const struct rt_file_op *op, int64_t result) {
    if (op->kind == RT_FILE_OPEN && result >= 0) {
        close((int)result);
    }
}
