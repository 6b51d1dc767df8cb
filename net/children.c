/* SPDX-License-Identifier: BSD-3-Clause */
/* children: see the header.
 *
 * Everything comes as a signal that is waited for: SIGCHLD, which may stand for several ends, so
 * those are asked for first; and a child's word as a signal of the real-time kind, of which none
 * is swallowed.
 */
#include "net/children.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIGNAL_READY SIGRTMIN
#define SIGNAL_STAYS (SIGRTMIN + 1)

static sigset_t awaited(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGNAL_READY);
    sigaddset(&set, SIGNAL_STAYS);
    return set;
}

void children_begin(void) {
    sigset_t set = awaited();
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

int child_start(void) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid > 0) {
        setpgid(pid, pid); /* whoever of the two is first */
        return pid;
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1); /* it ended before it could be tied */
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGNAL_READY);
    sigaddset(&set, SIGNAL_STAYS);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return 0;
}

void child_ready(void) {
    sigqueue(getppid(), SIGNAL_READY, (union sigval){.sival_int = 0});
}

void child_stays(void) {
    sigqueue(getppid(), SIGNAL_STAYS, (union sigval){.sival_int = 0});
}

static bool find_ended(struct child_event *ret) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) {
        return false;
    }
    *ret = (struct child_event){
        .kind = CHILD_ENDED,
        .pid = pid,
        .number = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
    };
    return true;
}

struct child_event children_wait(int64_t timeout_ms) {
    sigset_t set = awaited();
    struct child_event event = {.kind = CHILD_NOTHING};
    while (!find_ended(&event)) {
        struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
        siginfo_t info;
        int number =
            timeout_ms < 0 ? sigwaitinfo(&set, &info) : sigtimedwait(&set, &info, &timeout);
        if (number < 0 && errno == EAGAIN) {
            break;
        }
        if (number == SIGNAL_READY || number == SIGNAL_STAYS) {
            return (struct child_event){
                .kind = number == SIGNAL_READY ? CHILD_READY : CHILD_STAYS,
                .pid = info.si_pid,
            };
        }
        if (number > 0 && number != SIGCHLD) {
            return (struct child_event){.kind = CHILDREN_SIGNAL, .number = number};
        }
    }
    return event;
}

void child_signal(int pid, int number) {
    kill(pid, number);
}

int64_t children_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
