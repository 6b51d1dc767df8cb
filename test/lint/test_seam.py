# SPDX-License-Identifier: BSD-3-Clause
"""Sockets, files, clocks and chance pass through net/ and nowhere else: read from what the objects link to.

Sources can hide a call behind a macro; the symbols that an object leaves undefined cannot. So this looks at the objects of a debug build.
"""

import os
import shutil
import subprocess

import pytest
import tree

# What a test cannot repeat, by what it touches.
OUTSIDE = {
    "files": "open openat creat close read write readv writev pread pwrite preadv pwritev lseek fopen fdopen freopen fclose fread "
    "fwrite fgets fgetc getline fputs fputc putc puts putchar printf vprintf fprintf vfprintf dprintf vdprintf perror fflush "
    "stat fstat lstat fstatat statx access faccessat unlink unlinkat remove rename renameat rename2 mkdir rmdir opendir readdir scandir "
    "glob realpath readlink truncate ftruncate fsync fdatasync sync_file_range chdir getcwd chmod fchmod chown fchown umask mkstemp "
    "tmpfile link symlink dup dup2 dup3 pipe pipe2 fcntl ioctl flock lockf sendfile splice inotify_init isatty",
    "sockets": "socket socketpair bind listen accept accept4 connect shutdown send sendto sendmsg sendmmsg recv recvfrom recvmsg "
    "recvmmsg setsockopt getsockopt getsockname getpeername getaddrinfo gethostbyname epoll_create epoll_create1 epoll_ctl "
    "epoll_wait epoll_pwait poll ppoll select pselect eventfd timerfd_create signalfd",
    "clocks": "time clock clock_gettime gettimeofday ftime times getrusage nanosleep clock_nanosleep usleep sleep alarm setitimer "
    "timer_create localtime localtime_r tzset mktime",
    "chance": "rand rand_r random srand srandom drand48 lrand48 getrandom getentropy arc4random arc4random_buf RAND_bytes",
    "the process": "syscall fork vfork execv execve execvp posix_spawn system popen signal sigaction sigprocmask pthread_sigmask "
    "kill raise getpid getppid setsid daemon sched_setaffinity sched_getaffinity pthread_setaffinity_np pthread_create "
    "sched_yield getenv setenv sysconf uname gethostname getrlimit setrlimit prctl mlock madvise mmap munmap",
}
FORBIDDEN = {name: kind for kind, names in OUTSIDE.items() for name in names.split()}

# The few exceptions, each with its reason. An entry that is not needed any more fails the test.
ALLOWED = {
    # A failed check has no caller to tell: it writes its line and aborts.
    "base/check.c": {"fprintf", "fflush"},
    # The time of a log line is shown in local time; no decision hangs on it.
    "server/log.c": {"getpid", "localtime_r"},
    # Pages for slabs and tables come from the system; their content is ours alone, so a simulation repeats.
    "shard/sysmem.c": {"mmap", "munmap", "madvise"},
    # main makes the process: its threads, its signals, its name, and a word to the terminal before there is a log.
    "server/main.c": {
        "fprintf", "fwrite", "printf", "puts", "getpid", "pthread_create", "pthread_setaffinity_np", "pthread_sigmask", "readlink", "signal", "tzset",
    },  # fmt: skip
    # INFO names the operating system.
    "server/commands/info_sections.c": {"uname"},
}


def calls_outside(path):
    return {name for name in tree.undefined(path) if name in FORBIDDEN or name.startswith("io_uring_")}


def findings(folder):
    bad = []
    for source, path in tree.objects(folder):
        for name in sorted(calls_outside(path) - ALLOWED.get(source, set())):
            bad.append("%s calls %s (%s)" % (source, name, FORBIDDEN.get(name, "io_uring")))
    return bad


FOLDERS = [f for f in tree.FOLDERS if f != "net" and tree.sources(".c", folders=(f,))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_only_net_calls_the_outside(folder):
    bad = findings(folder)
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_source_was_looked_at(folder):
    compiled = {source for source, _ in tree.objects(folder)}
    missing = [p for p in tree.sources(".c", folders=(folder,)) if p not in compiled]
    assert not missing, "no object in %s for: %s" % (tree.BUILD, ", ".join(missing))


def test_every_exception_is_still_needed():
    stale = []
    for source, names in ALLOWED.items():
        used = {n for s, path in tree.objects(source.split("/")[0]) if s == source for n in calls_outside(path)}
        stale += ["%s no longer calls %s" % (source, n) for n in sorted(names - used)]
    assert not stale, "\n".join(stale)


def test_a_call_to_the_outside_is_seen(tmp_path):
    source = tmp_path / "leak.c"
    source.write_text("#include <time.h>\n#include <stdio.h>\nlong f(void) { puts(\"x\"); return time(0); }\n")
    cc = os.environ.get("CC") or shutil.which("cc") or "gcc"
    subprocess.run([cc, "-c", "-O2", "-D_FORTIFY_SOURCE=2", str(source), "-o", str(tmp_path / "leak.o")], check=True)
    assert calls_outside(str(tmp_path / "leak.o")) == {"time", "puts"}
