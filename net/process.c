/* SPDX-License-Identifier: BSD-3-Clause */
/* process: see the header. In net/ because it opens files and sockets outside the runtime's data
 * path. */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define THP_BUT_ADVISED (1 << 1) /* PR_THP_DISABLE_EXCEPT_ADVISED */

int process_id(void) {
    return (int)getpid();
}

int process_daemonize(void) {
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid > 0) {
        _exit(0);
    }
    setsid();
    int fd = open("/dev/null", O_RDWR);
    if (fd < 0) {
        return -errno;
    }
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    return 0;
}

int process_open_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0) {
            return -errno; /* it gets the lowest number that is free: this one */
        }
    }
    return 0;
}

bool process_is_watched(void) {
    return isatty(STDOUT_FILENO) == 1;
}

bool process_under_upstart(void) {
    return getenv("UPSTART_JOB") != NULL;
}

bool process_under_systemd(void) {
    return getenv("NOTIFY_SOCKET") != NULL;
}

/* A supervisor that does not read must not hold its server up. */
static const struct timeval notify_patience = {.tv_sec = 2};

int process_notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL) {
        return -ENOENT;
    }
    if (path[0] != '/' && path[0] != '@') {
        return -EAFNOSUPPORT;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length > sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') {
        address.sun_path[0] = 0;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &notify_patience, sizeof notify_patience);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    int error = n < 0 ? -errno : 0;
    close(fd);
    return error;
}

void process_stop(void) {
    raise(SIGSTOP);
}

void process_kill(void) {
    kill(getpid(), SIGKILL);
    pause(); /* the signal may be taken on another thread, a moment later */
}

const char *process_kill_point(void) {
    return getenv("SHOAL_KILL_POINT");
}

int process_use_cpus(const int *cpus, size_t count) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t i = 0; i < count; i++) {
        if (cpus[i] >= 0 && cpus[i] < CPU_SETSIZE) {
            CPU_SET((size_t)cpus[i], &set);
        }
    }
    return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : -errno;
}

int process_without_huge_pages(void) {
    bool done = prctl(PR_SET_THP_DISABLE, 1, THP_BUT_ADVISED, 0, 0) == 0 ||
                prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0;
    return done ? 0 : -errno;
}

struct process_title process_title(int argc, char **argv) {
    char *end = argv[0];
    for (int i = 0; i < argc && argv[i] == end; i++) { /* the words lie one after the other */
        end += strlen(argv[i]) + 1;
    }
    return (struct process_title){argv[0], (size_t)(end - argv[0])};
}

void process_set_title(const struct process_title *place, const char *title) {
    if (place->room == 0) {
        return;
    }
    size_t length = strlen(title);
    length = length < place->room - 1 ? length : place->room - 1;
    memcpy(place->start, title, length);
    memset(place->start + length, 0, place->room - length);
}
