/* SPDX-License-Identifier: BSD-3-Clause */
/* Quotas of processor time, as kernels and container engines of all kinds show them: trees of
 * files. */
#include "net/cgroup.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char top[] = "/tmp/shoal-cgroup-XXXXXX";

/* Writes a file below `top`, and the folders it lies in. */
static void put(const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", top, name);
    for (char *slash = strchr(path + sizeof top, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void start(void) {
    cr_assert_not_null(mkdtemp(top));
}

static void stop(void) {
    char command[sizeof top + 16];
    snprintf(command, sizeof command, "rm -rf %s", top);
    cr_assert_eq(system(command), 0);
}

TestSuite(cgroup, .init = start, .fini = stop);

#define OTHER_MOUNTS                                                                               \
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"                                     \
    "23 22 0:21 / /proc rw shared:5 - proc proc rw\n"
#define MOUNT_2 "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void have_version_2(const char *group) {
    put("/proc/self/cgroup", group);
    put("/proc/self/mountinfo", OTHER_MOUNTS MOUNT_2);
}

static void have_version_1(const char *group, const char *root) {
    char text[1024];
    put("/proc/self/cgroup", group);
    snprintf(text, sizeof text,
             OTHER_MOUNTS "33 31 0:30 %s /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                          "34 31 0:31 %s /sys/fs/cgroup/cpu,cpuacct ro shared:9 master:3 - cgroup "
                          "cgroup rw,cpu,cpuacct\n",
             root, root);
    put("/proc/self/mountinfo", text);
}

static void set_version_1(const char *folder, const char *quota, const char *period) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", folder);
    put(name, quota);
    snprintf(name, sizeof name, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", folder);
    put(name, period);
}

Test(cgroup, without_any_files_there_is_no_quota) {
    cr_assert_eq(cgroup_cpus(top, 8), 8);
    cr_assert_eq(cgroup_cpus(top, 0), 1);
}

Test(cgroup, version_2_max_is_no_quota) {
    have_version_2("0::/system.slice/shoal.service\n");
    put("/sys/fs/cgroup/system.slice/shoal.service/cpu.max", "max 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 8);
}

Test(cgroup, version_2_quota_of_a_unit_is_followed) {
    have_version_2("0::/system.slice/shoal.service\n");
    put("/sys/fs/cgroup/system.slice/shoal.service/cpu.max", "200000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
    cr_assert_eq(cgroup_cpus(top, 1), 1); /* no more than there are */
}

Test(cgroup, a_part_of_a_processor_counts_as_one) {
    have_version_2("0::/a\n");
    put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 3);
    put("/sys/fs/cgroup/a/cpu.max", "1000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 1);
    put("/sys/fs/cgroup/a/cpu.max", "75000 50000");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
}

Test(cgroup, the_smallest_quota_on_the_way_up_holds) {
    have_version_2("0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 3);
    put("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 1);
}

/* A container with a namespace of its own sees its group as the root. */
Test(cgroup, version_2_container_reads_the_root_it_sees) {
    have_version_2("0::/\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
}

/* A process that was moved out of the namespace's root. */
Test(cgroup, a_group_outside_of_what_is_mounted_reads_the_mount) {
    have_version_2("0::/../other\n");
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 3);
}

Test(cgroup, version_1_quota_of_a_unit_is_followed) {
    have_version_1("5:cpuset:/\n4:cpu,cpuacct:/system.slice/shoal.service\n1:name=systemd:/x\n",
                   "/");
    set_version_1("/system.slice/shoal.service", "150000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
    set_version_1("/system.slice/shoal.service", "-1\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 8);
    set_version_1("/system.slice", "100000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 1);
}

/* Docker with version 1: the path is the host's, what is mounted is the container's own group. */
Test(cgroup, version_1_container_reads_the_root_it_sees) {
    have_version_1("4:cpu,cpuacct:/docker/0123\n", "/docker/0123");
    set_version_1("", "200000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
}

Test(cgroup, version_1_group_below_the_containers) {
    have_version_1("4:cpuacct,cpu:/docker/0123/sub\n", "/docker/0123");
    set_version_1("", "-1\n", "100000\n");
    set_version_1("/sub", "300000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 3);
}

/* The root's name is the beginning of the group's, and yet it is another group. */
Test(cgroup, a_group_with_a_longer_name_is_not_below) {
    have_version_1("4:cpu,cpuacct:/docker/01234/sub\n", "/docker/0123");
    set_version_1("4/sub", "100000\n", "100000\n");
    set_version_1("", "500000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 5);
}

Test(cgroup, both_versions_at_once) {
    put("/proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/b\n");
    put("/proc/self/mountinfo",
        OTHER_MOUNTS "34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                     "35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    set_version_1("/a", "300000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 3);
    put("/sys/fs/cgroup/unified/b/cpu.max", "200000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
}

Test(cgroup, only_the_controller_cpu_counts) {
    have_version_1("4:cpuset,cpuacct:/a\n", "/");
    set_version_1("/a", "100000\n", "100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 8);
}

Test(cgroup, what_is_not_understood_sets_no_quota) {
    static const char *const groups[] = {"", "\n", "0", "0:", "0::", "::\n", "0::x\n"};
    static const char *const quotas[] = {"",          "max",      "\n",        "x y",
                                         "100000",    "0 100000", "100000 0",  "-1 100000",
                                         "100000 -5", "nan nan",  "inf 100000"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        have_version_2(groups[i]);
        cr_assert_eq(cgroup_cpus(top, 8), 8, "%s", groups[i]);
    }
    have_version_2("0::/a\n");
    for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++) {
        put("/sys/fs/cgroup/a/cpu.max", quotas[i]);
        cr_assert_eq(cgroup_cpus(top, 8), 8, "%s", quotas[i]);
    }
    put("/proc/self/mountinfo", "30 24 0:26\n - \nx - cgroup2\n" MOUNT_2);
    put("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    cr_assert_eq(cgroup_cpus(top, 8), 2);
}
