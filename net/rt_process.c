/* SPDX-License-Identifier: BSD-3-Clause */
/* What the process uses and may use: processor time, memory, processors, files. */
#include "net/cgroup.h"
#include "net/rt_private.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Reads a small file of the kernel as text: false if it is not there. */
static bool read_text(const char *path, char *ret, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, ret, size - 1);
    close(fd);
    if (n < 0) {
        return false;
    }
    ret[n] = 0;
    return true;
}

static uint64_t micros(const struct timeval *tv) {
    return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

void rt_usage(struct rt_usage *ret_usage) {
    struct rusage self, children;
    memset(ret_usage, 0, sizeof(*ret_usage));
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    ret_usage->user_us = micros(&self.ru_utime);
    ret_usage->system_us = micros(&self.ru_stime);
    ret_usage->children_user_us = micros(&children.ru_utime);
    ret_usage->children_system_us = micros(&children.ru_stime);
    char text[256];
    unsigned long pages_total, pages_resident;
    if (read_text("/proc/self/statm", text, sizeof(text)) &&
        sscanf(text, "%lu %lu", &pages_total, &pages_resident) == 2) {
        ret_usage->rss_bytes = (uint64_t)pages_resident * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    struct sysinfo info;
    if (sysinfo(&info) == 0) {
        ret_usage->total_system_bytes = (uint64_t)info.totalram * info.mem_unit;
    }
}

void rt_thread_usage(uint64_t *ret_user_us, uint64_t *ret_system_us) {
    struct rusage thread;
    getrusage(RUSAGE_THREAD, &thread);
    *ret_user_us = micros(&thread.ru_utime);
    *ret_system_us = micros(&thread.ru_stime);
}

/* The mask may be larger than cpu_set_t on big machines, so its size is searched. */
static unsigned cpus_of_mask(void) {
    for (int n = 1024; n <= 1 << 20; n *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        if (!set) {
            break;
        }
        size_t size = CPU_ALLOC_SIZE((size_t)n);
        int r = sched_getaffinity(0, size, set);
        int count = r == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return (unsigned)count;
        }
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

unsigned rt_cpus(void) {
    return cgroup_cpus("", cpus_of_mask());
}

/* ---- Files ---- */

static int64_t limit_value(rlim_t limit) {
    return limit > (rlim_t)INT64_MAX ? INT64_MAX : (int64_t)limit; /* RLIM_INFINITY, too */
}

int64_t rt_file_limit_early(int64_t wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return wanted; /* unknown: accept says when there are no more */
    }
    if (limit_value(limit.rlim_cur) >= wanted) {
        return limit_value(limit.rlim_cur);
    }
    struct rlimit more = {.rlim_cur = (rlim_t)wanted, .rlim_max = limit.rlim_max};
    if (limit_value(limit.rlim_max) < wanted) {
        more.rlim_max = (rlim_t)wanted; /* only root may */
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
            return wanted;
        }
        more.rlim_cur = more.rlim_max = limit.rlim_max;
    }
    return limit_value(setrlimit(RLIMIT_NOFILE, &more) == 0 ? more.rlim_cur : limit.rlim_cur);
}

int64_t rt_real_file_limit(struct rt *rt, int64_t wanted) {
    (void)rt;
    return rt_file_limit_early(wanted);
}
