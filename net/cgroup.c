/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup: see the header.
 *
 * The kernel tells in three files. /proc/self/cgroup names the group of this process, once per
 * hierarchy; /proc/self/mountinfo says where a hierarchy can be seen, and from which of its groups
 * on (a container sees its own group as the root); the group's folder there has the quota:
 *
 *                 line of cgroup          mount              files
 *     version 2   0::/path                cgroup2            cpu.max: "150000 100000" or "max
 * 100000" version 1   N:...,cpu,...:/path     cgroup, with cpu   cpu.cfs_quota_us (-1: none),
 * cpu.cfs_period_us
 *
 * A machine may have both. Each group between ours and the root may set a quota; the smallest
 * holds. What is missing or not understood sets none.
 */
#include "net/cgroup.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum version { VERSION_1, VERSION_2 };

/* Where a hierarchy is seen: its group `root` is the folder `path`. */
struct mount {
    char root[PATH_MAX];
    char path[PATH_MAX];
};

/* Whether one of the words between commas is `cpu`. */
static bool lists_cpu(const char *words) {
    while (*words != 0) {
        size_t length = strcspn(words, ",");
        if (length == 3 && memcmp(words, "cpu", 3) == 0) {
            return true;
        }
        words += words[length] == ',' ? length + 1 : length;
    }
    return false;
}

/* Calls `take` with each line of a file, without its end, until it returns true; what it returned
 * last. */
static bool find_line(const char *top, const char *name,
                      bool (*take)(char *line, enum version version, void *arg),
                      enum version version, void *arg) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s", top, name) >= (int)sizeof path) {
        return false;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, file) >= 0) {
        line[strcspn(line, "\n")] = 0;
        found = take(line, version, arg);
    }
    free(line);
    fclose(file);
    return found;
}

/* A line of /proc/self/cgroup: number, controllers, path. */
static bool take_group(char *line, enum version version, void *ret_path) {
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL) {
        return false;
    }
    *controllers++ = 0;
    *path++ = 0;
    bool ours =
        version == VERSION_2 ? strcmp(line, "0") == 0 && *controllers == 0 : lists_cpu(controllers);
    return ours && snprintf(ret_path, PATH_MAX, "%s", path) < PATH_MAX;
}

/* A line of /proc/self/mountinfo: id, parent, device, root, path, options, optional fields, "-",
 * type, source, its options. */
static bool take_mount(char *line, enum version version, void *ret_mount) {
    struct mount *mount = ret_mount;
    char *tail = strstr(line, " - ");
    if (tail == NULL) {
        return false;
    }
    char type[32], options[512] = "";
    if (sscanf(tail + 3, "%31s %*s %511s", type, options) < 1 ||
        sscanf(line, "%*s %*s %*s %4095s %4095s", mount->root, mount->path) != 2) {
        return false;
    }
    return version == VERSION_2 ? strcmp(type, "cgroup2") == 0
                                : strcmp(type, "cgroup") == 0 && lists_cpu(options);
}
static_assert(PATH_MAX == 4096, "take_mount reads so many bytes");

/* The group's path from the mount's root on; "" if it is that root, or lies where the mount does
 * not reach. */
static const char *inside(const char *group, const char *root) {
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    bool below =
        strncmp(group, root, length) == 0 && group[length] == '/' && group[length + 1] != 0;
    return below && strstr(group, "/..") == NULL ? group + length : "";
}

/* The first numbers of a small file; how many there were. */
static int read_numbers(const char *folder, const char *name, double ret[2]) {
    char path[3 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    int n = fscanf(file, "%lf %lf", &ret[0], &ret[1]);
    fclose(file);
    return n;
}

/* What the quota of the group in this folder leaves. */
static unsigned folder_cpus(const char *folder, enum version version, unsigned cpus) {
    double numbers[2], period;
    if (version == VERSION_2) {
        if (read_numbers(folder, "cpu.max", numbers) != 2) {
            return cpus;
        }
        period = numbers[1];
    } else {
        if (read_numbers(folder, "cpu.cfs_period_us", numbers) < 1) {
            return cpus;
        }
        period = numbers[0];
        if (read_numbers(folder, "cpu.cfs_quota_us", numbers) < 1) {
            return cpus;
        }
    }
    double quota = numbers[0];
    if (!(quota > 0 && period > 0 && quota < period * cpus)) {
        return cpus;
    }
    unsigned whole = (unsigned)(quota / period);
    return whole * period < quota ? whole + 1 : whole;
}

/* From our group up to the root of what can be seen. */
static unsigned hierarchy_cpus(const char *top, enum version version, unsigned cpus) {
    char group[PATH_MAX], folder[3 * PATH_MAX];
    struct mount mount;
    if (!find_line(top, "/proc/self/cgroup", take_group, version, group) ||
        !find_line(top, "/proc/self/mountinfo", take_mount, version, &mount)) {
        return cpus;
    }
    int root = snprintf(folder, sizeof folder, "%s%s", top, mount.path);
    snprintf(folder + root, sizeof folder - (size_t)root, "%s", inside(group, mount.root));
    for (;;) {
        cpus = folder_cpus(folder, version, cpus);
        char *end = strrchr(folder + root, '/');
        if (end == NULL) {
            return cpus;
        }
        *end = 0;
    }
}

unsigned cgroup_cpus(const char *top, unsigned cpus) {
    cpus = hierarchy_cpus(top, VERSION_2, cpus);
    cpus = hierarchy_cpus(top, VERSION_1, cpus);
    return cpus > 0 ? cpus : 1;
}
