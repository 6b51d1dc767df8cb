/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_fs: struct fs over a simulated disk: each call is one operation of the disk, or a few, done
 * at once.
 *
 * Thread: the world's.
 */
#include "net/sim_disk.h"

#include "base/must.h"
#include "net/file.h"
#include "net/rt_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim_disk *disk_of(void *arg) {
    return ((struct sim_fs *)arg)->disk;
}

static int64_t on_path(void *arg, enum rt_file_kind kind, const char *path, const char *target,
                       int flags) {
    struct rt_file_op op = {
        .kind = kind, .path = path, .target = target, .flags = (unsigned)flags, .file = -1};
    return sim_disk_call(disk_of(arg), &op);
}

static int64_t on_file(void *arg, enum rt_file_kind kind, int file, const void *data, size_t n,
                       uint64_t offset) {
    struct rt_file_op op = {.kind = kind, .file = file, .offset = offset, .left = n, .count = 1};
    op.one = (struct iovec){(void *)data, n};
    op.vectors = &op.one;
    return sim_disk_call(disk_of(arg), &op);
}

/* Of what has this path. The caller's. */
static char *parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = strdup(slash != NULL ? path : ".");
    if (slash != NULL) {
        dir[slash - path] = 0;
    }
    return dir;
}

static int sync_parent(void *arg, const char *path) {
    char *dir = parent_of(path);
    int64_t r = on_path(arg, RT_DIR_SYNC, dir, NULL, 0);
    free(dir);
    return (int)r;
}

/* ---- Piece by piece ---- */

static int fs_open_data(void *arg, const char *path, bool write, mode_t mode, int *ret_file) {
    (void)mode;
    int flags = write ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
    int64_t r = on_path(arg, RT_FILE_OPEN, path, NULL, flags);
    *ret_file = (int)r;
    return r < 0 ? (int)r : 0;
}

static ssize_t fs_read_data(void *arg, int file, void *buffer, size_t size) {
    uint64_t *place = sim_disk_place(disk_of(arg), file);
    if (place == NULL) {
        return -EBADF;
    }
    int64_t n = on_file(arg, RT_FILE_READ, file, buffer, size, *place);
    *place += n > 0 ? (uint64_t)n : 0;
    return n;
}

static int fs_write_data(void *arg, int file, struct bytes content) {
    uint64_t *place = sim_disk_place(disk_of(arg), file);
    if (place == NULL) {
        return -EBADF;
    }
    int64_t n = on_file(arg, RT_FILE_WRITE, file, content.ptr, content.len, *place);
    *place += n > 0 ? (uint64_t)n : 0;
    return n < 0 ? (int)n : 0;
}

static int fs_close_data(void *arg, int file, bool sync) {
    int64_t synced = sync ? on_file(arg, RT_FILE_SYNC, file, NULL, 0, 0) : 0;
    int64_t closed = on_file(arg, RT_FILE_CLOSE, file, NULL, 0, 0);
    return (int)(synced < 0 ? synced : closed);
}

static int fs_size_data(void *arg, int file, uint64_t *ret_bytes) {
    int64_t n = on_file(arg, RT_FILE_SIZE, file, NULL, 0, 0);
    *ret_bytes = n < 0 ? 0 : (uint64_t)n;
    return n < 0 ? (int)n : 0;
}

static int fs_seek_data(void *arg, int file, uint64_t offset) {
    uint64_t *place = sim_disk_place(disk_of(arg), file);
    if (place == NULL) {
        return -EBADF;
    }
    *place = offset;
    return 0;
}

/* ---- Whole files ---- */

static int fs_read_all(void *arg, const char *path, char **ret_data, size_t *ret_len) {
    int file;
    uint64_t bytes;
    int error = fs_open_data(arg, path, false, 0, &file);
    if (error != 0) {
        return error;
    }
    error = fs_size_data(arg, file, &bytes);
    char *data = must_malloc(bytes + 1);
    ssize_t n = error != 0 ? error : fs_read_data(arg, file, data, bytes);
    fs_close_data(arg, file, false);
    if (n < 0) {
        free(data);
        return (int)n;
    }
    data[n] = 0;
    *ret_data = data;
    *ret_len = (size_t)n;
    return 0;
}

static int write_whole(void *arg, const char *path, struct bytes content, bool sync) {
    int file;
    int error = fs_open_data(arg, path, true, 0, &file);
    if (error != 0) {
        return error;
    }
    error = fs_write_data(arg, file, content);
    int closed = fs_close_data(arg, file, sync && error == 0);
    return error != 0 ? error : closed;
}

static int fs_write_all(void *arg, const char *path, struct bytes content, mode_t mode) {
    (void)mode;
    return write_whole(arg, path, content, false);
}

static int fs_rename(void *arg, const char *from, const char *to) {
    int64_t r = on_path(arg, RT_FILE_RENAME, from, to, 0);
    return r < 0 ? (int)r : sync_parent(arg, to);
}

static int fs_remove(void *arg, const char *path) {
    return (int)on_path(arg, RT_FILE_REMOVE, path, NULL, 0);
}

static int fs_replace(void *arg, const char *path, struct bytes content, mode_t mode) {
    (void)mode;
    char *temporary = must_malloc(strlen(path) + sizeof ".new");
    sprintf(temporary, "%s.new", path);
    int error = write_whole(arg, temporary, content, true);
    error = error != 0 ? error : fs_rename(arg, temporary, path);
    if (error != 0) {
        fs_remove(arg, temporary);
    }
    free(temporary);
    return error;
}

/* ---- Names ---- */

static int fs_make_dir(void *arg, const char *path, mode_t mode) {
    (void)mode;
    int64_t r = on_path(arg, RT_DIR_MAKE, path, NULL, 0);
    return r < 0 ? (int)r : sync_parent(arg, path);
}

static int fs_sync_dir(void *arg, const char *path) {
    return (int)on_path(arg, RT_DIR_SYNC, path, NULL, 0);
}

static int fs_exists(void *arg, const char *path, bool want_dir) {
    bool is_dir;
    if (!sim_disk_exists(disk_of(arg), path, &is_dir)) {
        return -ENOENT;
    }
    return want_dir && !is_dir ? -ENOTDIR : 0;
}

static int fs_match(void *arg, const char *pattern, char ***ret_names) {
    *ret_names = sim_disk_match(disk_of(arg), pattern);
    return 0;
}

void sim_fs_fill(struct sim_fs *sim_fs, struct fs *ret_fs) {
    *ret_fs = (struct fs){
        .arg = sim_fs,
        .read_all = fs_read_all,
        .replace = fs_replace,
        .write_all = fs_write_all,
        .remove = fs_remove,
        .open_data = fs_open_data,
        .read_data = fs_read_data,
        .write_data = fs_write_data,
        .close_data = fs_close_data,
        .size_data = fs_size_data,
        .seek_data = fs_seek_data,
        .rename = fs_rename,
        .make_dir = fs_make_dir,
        .sync_dir = fs_sync_dir,
        .match = fs_match,
        .exists = fs_exists,
    };
}
