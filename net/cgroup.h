/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup: what share of the processors the control groups of this process grant it.
 *
 * Containers and systemd units are given a quota of processor time (docker --cpus, CPUQuota=) and
 * still see every processor of the machine. A server with a thread for each would be stopped in the
 * middle of its work, all threads at once, whenever the quota of a period is used up.
 *
 * Thread: any; reads files of the kernel.
 */
#ifndef SHOAL_NET_CGROUP_H
#define SHOAL_NET_CGROUP_H

/* How many of `cpus` processors the quotas leave, a part of one counted as one; at least 1. `top`
 * is what stands before /proc and /sys: "" but in tests. */
unsigned cgroup_cpus(const char *top, unsigned cpus);

#endif
