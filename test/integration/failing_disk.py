# SPDX-License-Identifier: BSD-3-Clause
"""failing_disk: a server whose disk says an error of one's choice, and works again: what no file system here can be made to do
(a quota, a mount that has become read-only).

A library between the server and libc, made by the machine's compiler, lets calls on files of the data fail as long as a file says
so. It sees what epoll's helper thread calls; what io_uring asks for passes it by, so the server runs on epoll.
"""

import os
import shutil
import subprocess

import pytest

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

/* "CALLS ERRNO", CALLS of the letters o, w and s; 0: nothing fails. "CALLS -1": they end when that is said no more. */
static int failure_now(char call) {
    char text[32] = "";
    int fd = REAL(int, "open", const char *, int, ...)(getenv("FAILING_DISK"), O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    int number = 0;
    if (read(fd, text, sizeof text - 1) > 0 && strchr(text, ' ') != NULL) {
        char *space = strchr(text, ' ');
        *space = 0;
        number = strchr(text, call) != NULL ? atoi(space + 1) : 0;
    }
    close(fd);
    return number;
}

static int failure(char call) {
    int number;
    while ((number = failure_now(call)) < 0) {
        char path[4096];
        snprintf(path, sizeof path, "%s.stands", getenv("FAILING_DISK"));
        close(REAL(int, "open", const char *, int, ...)(path, O_WRONLY | O_CREAT, 0600));
        usleep(1000);
    }
    return number;
}

static int is_data(int fd) {
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, "/appendonlydir") != NULL;
}

#define FAILS(fd, call)                                \
    int number = is_data(fd) ? failure(call) : 0;      \
    if (number != 0) {                                 \
        errno = number;                                \
        return -1;                                     \
    }

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) {
    FAILS(fd, 'w')
    return REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t)(fd, v, n, at);
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) {
    return pwritev(fd, v, n, at);
}
int fsync(int fd) {
    FAILS(fd, 's')
    return REAL(int, "fsync", int)(fd);
}
int fdatasync(int fd) {
    FAILS(fd, 's')
    return REAL(int, "fdatasync", int)(fd);
}
static int open_it(const char *path, int flags, mode_t mode) {
    int number = (flags & O_CREAT) && strstr(path, "appendonlydir/") != NULL ? failure('o') : 0;
    if (number != 0) {
        errno = number;
        return -1;
    }
    return REAL(int, "open", const char *, int, ...)(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_it(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_it(path, flags, mode);
}
"""


class FailingDisk:
    """Of a server that was not started yet."""

    def __init__(self, server):
        cc = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if not cc:
            pytest.skip("no compiler")  # which makes the library that fails
        source, library = (os.path.join(server.dir, "failing_disk" + end) for end in (".c", ".so"))
        self.says = os.path.join(server.dir, "failing_disk.says")
        self.stands = self.says + ".stands"
        with open(source, "w") as f:
            f.write(SOURCE)
        subprocess.run([*cc.split(), "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-w", "-o", library, source, "-ldl"], check=True)
        server.env = {"LD_PRELOAD": library, "FAILING_DISK": self.says}

    def fails(self, calls, number):
        """Calls: letters of o (new files are opened), w (written), s (synced)."""
        with open(self.says + ".new", "w") as f:
            f.write("%s %d" % (calls, number))
        os.rename(self.says + ".new", self.says)

    def stands_still(self, calls):
        """Such calls end when it works again, or fails."""
        if os.path.exists(self.stands):
            os.unlink(self.stands)
        self.fails(calls, -1)

    def has_stopped(self):
        """One has come since then."""
        return os.path.exists(self.stands)

    def works(self):
        os.unlink(self.says)
