/* SPDX-License-Identifier: BSD-3-Clause */
/* file: the real file system behind struct fs.
 *
 * Every call is whole: it opens, does its work and closes, so there is no state to keep and nothing
 * to leak between calls. A replaced file is never seen half-written, also after a power failure:
 * the new text is on disk before its name is.
 */
#include "net/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- Reading ---- */

static int read_fd(int fd, char **ret_data, size_t *ret_len) {
    size_t cap = 4096, len = 0;
    char *data = malloc(cap);
    if (data == NULL) {
        return -ENOMEM;
    }
    for (;;) {
        ssize_t n = read(fd, data + len, cap - len - 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            int error = errno;
            free(data);
            return -error;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
        if (cap - len < 2) {
            char *more = realloc(data, cap * 2);
            if (more == NULL) {
                free(data);
                return -ENOMEM;
            }
            data = more;
            cap *= 2;
        }
    }
    data[len] = 0;
    *ret_data = data;
    *ret_len = len;
    return 0;
}

static int real_read_all(void *arg, const char *path, char **ret_data, size_t *ret_len) {
    if (strcmp(path, "-") == 0) {
        return read_fd(STDIN_FILENO, ret_data, ret_len);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = read_fd(fd, ret_data, ret_len);
    close(fd);
    return rc;
}

/* ---- Writing ---- */

static int write_fd(int fd, struct bytes content) {
    while (content.len > 0) {
        ssize_t n = write(fd, content.ptr, content.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        content.ptr += n;
        content.len -= (size_t)n;
    }
    return 0;
}

static int close_fd(int fd, int rc) {
    if (close(fd) < 0 && rc == 0 && errno != EINTR) {
        rc = -errno;
    }
    return rc;
}

static int sync_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    /* Some file systems cannot sync a directory and say EINVAL: then there is nothing to wait for.
     */
    int rc = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return rc;
}

static int sync_parent(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    if (len >= sizeof(dir)) {
        return -ENAMETOOLONG;
    }
    memcpy(dir, path, len);
    memcpy(dir + len, len == 0 ? "." : "", len == 0 ? 2 : 1);
    return sync_dir(dir);
}

/* Beside the target, in the same directory, so that the rename stays inside one file system. A file
 * that is there already keeps its mode: a configuration with a password in it must not become
 * readable by the way. */
static int replace_open(const char *path, char *temporary, size_t size, mode_t mode) {
    struct stat old;
    if (stat(path, &old) == 0) {
        mode = old.st_mode & 07777;
    }
    int n = snprintf(temporary, size, "%s-XXXXXX", path);
    if (n < 0 || (size_t)n >= size) {
        return -ENAMETOOLONG;
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (fchmod(fd, mode) < 0) {
        int error = errno;
        close(fd);
        unlink(temporary);
        return -error;
    }
    return fd;
}

static int real_replace(void *arg, const char *path, struct bytes content, mode_t mode) {
    char temporary[PATH_MAX];
    int fd = replace_open(path, temporary, sizeof(temporary), mode);
    if (fd < 0) {
        return fd;
    }
    int rc = write_fd(fd, content);
    if (rc == 0 && fsync(fd) < 0) {
        rc = -errno;
    }
    rc = close_fd(fd, rc);
    if (rc == 0 && rename(temporary, path) < 0) {
        rc = -errno;
    }
    if (rc < 0) {
        unlink(temporary);
        return rc;
    }
    return sync_parent(path);
}

static int write_path(const char *path, struct bytes content, int flags, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode);
    if (fd < 0) {
        return -errno;
    }
    return close_fd(fd, write_fd(fd, content));
}

static int real_write_all(void *arg, const char *path, struct bytes content, mode_t mode) {
    return write_path(path, content, O_TRUNC, mode);
}

static int real_append(void *arg, const char *path, struct bytes content) {
    if (path[0] == 0) {
        return write_fd(STDOUT_FILENO, content);
    }
    return write_path(path, content, O_APPEND, 0644);
}

/* As a datagram; where /dev/log is a stream, the NUL ends the message. A reader that hangs is not
 * waited for without end: shards log too. */
static int real_system_log(void *arg, struct bytes message) {
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
    int error = 0;
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            return -errno;
        }
        struct timeval second = {.tv_sec = 1};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
        error = connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
                        send(fd, message.ptr, message.len + (size_t)i, MSG_NOSIGNAL) < 0
                    ? -errno
                    : 0;
        close(fd);
        if (error != -EPROTOTYPE) {
            break;
        }
    }
    return error;
}

static int real_remove(void *arg, const char *path) {
    return unlink(path) < 0 ? -errno : 0;
}

/* ---- Data ---- */

static int real_open_data(void *arg, const char *path, bool write, mode_t mode, int *ret_file) {
    int flags = write ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return -errno;
    }
    *ret_file = fd;
    return 0;
}

static ssize_t real_read_data(void *arg, int file, void *buffer, size_t size) {
    ssize_t n;
    do {
        n = read(file, buffer, size);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int real_write_data(void *arg, int file, struct bytes content) {
    return write_fd(file, content);
}

static int real_close_data(void *arg, int file, bool sync) {
    return close_fd(file, sync && fsync(file) < 0 ? -errno : 0);
}

static int real_size_data(void *arg, int file, uint64_t *ret_bytes) {
    struct stat status;
    if (fstat(file, &status) < 0) {
        return -errno;
    }
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

static int real_seek_data(void *arg, int file, uint64_t offset) {
    return lseek(file, (off_t)offset, SEEK_SET) < 0 ? -errno : 0;
}

static int real_rename(void *arg, const char *from, const char *to) {
    return rename(from, to) < 0 ? -errno : sync_parent(to);
}

static int real_make_dir(void *arg, const char *path, mode_t mode) {
    return mkdir(path, mode) < 0 ? -errno : sync_parent(path);
}

static int real_sync_dir(void *arg, const char *path) {
    return sync_dir(path);
}

static int real_lock_dir(void *arg, const char *path, int *ret_file) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *ret_file = fd;
    return 0;
}

/* ---- Names ---- */

static void free_names(char **names) {
    for (size_t i = 0; names[i] != NULL; i++) {
        free(names[i]);
    }
    free(names);
}

static int real_match(void *arg, const char *pattern, char ***ret_names) {
    glob_t found = {0};
    int rc = glob(pattern, 0, NULL, &found);
    if (rc != 0 && rc != GLOB_NOMATCH) {
        globfree(&found);
        return rc == GLOB_NOSPACE ? -ENOMEM : -EIO;
    }
    size_t count = rc == 0 ? found.gl_pathc : 0;
    char **names = calloc(count + 1, sizeof(*names));
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        names[i] = strdup(found.gl_pathv[i]);
        ok = names[i] != NULL;
    }
    globfree(&found);
    if (!ok) {
        if (names != NULL) {
            free_names(names);
        }
        return -ENOMEM;
    }
    *ret_names = names;
    return 0;
}

static int real_change_dir(void *arg, const char *path) {
    return chdir(path) < 0 ? -errno : 0;
}

static int real_current_dir(void *arg, char *buffer, size_t size) {
    return getcwd(buffer, size) == NULL ? -errno : 0;
}

static int real_exists(void *arg, const char *path, bool want_dir) {
    struct stat status;
    if (stat(path, &status) < 0) {
        return -errno;
    }
    return want_dir && !S_ISDIR(status.st_mode) ? -ENOTDIR : 0;
}

static int real_measure(void *arg, const char *path, uint64_t *ret_bytes,
                        int64_t *ret_modified_ms) {
    struct stat status;
    if (stat(path, &status) < 0) {
        return -errno;
    }
    *ret_bytes = (uint64_t)status.st_size;
    *ret_modified_ms = (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
    return 0;
}

const struct fs *fs_real(void) {
    static const struct fs fs = {
        .read_all = real_read_all,
        .replace = real_replace,
        .write_all = real_write_all,
        .append = real_append,
        .system_log = real_system_log,
        .remove = real_remove,
        .open_data = real_open_data,
        .read_data = real_read_data,
        .write_data = real_write_data,
        .close_data = real_close_data,
        .size_data = real_size_data,
        .seek_data = real_seek_data,
        .rename = real_rename,
        .make_dir = real_make_dir,
        .sync_dir = real_sync_dir,
        .lock_dir = real_lock_dir,
        .match = real_match,
        .change_dir = real_change_dir,
        .current_dir = real_current_dir,
        .exists = real_exists,
        .measure = real_measure,
    };
    return &fs;
}
