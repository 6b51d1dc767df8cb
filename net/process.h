/* SPDX-License-Identifier: BSD-3-Clause */
/* process: what a server does to itself as a process: goes to the background, tells its supervisor,
 * names itself.
 *
 * Thread: main, before others exist, but for process_notify and process_kill: any.
 */
#ifndef SHOAL_NET_PROCESS_H
#define SHOAL_NET_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

int process_id(void);
/* Forks; the parent exits 0, the child goes on without a terminal. 0 or -errno. */
int process_daemonize(void);
/* Standard streams that are closed become /dev/null: else what is opened next would take their
 * numbers, and lines meant for the terminal would go there. 0 or -errno. */
int process_open_standard_streams(void);
/* Somebody reads at a terminal what is written to standard output. */
bool process_is_watched(void);
/* Who the environment says has started this process. */
bool process_under_upstart(void);
bool process_under_systemd(void);
/* Tells systemd's notify socket. 0 or -errno: also when the environment names none. */
int process_notify(const char *state);
/* Stops the whole process until somebody lets it go on: how upstart is told. */
void process_stop(void);
/* Ends the process at once, as `kill -9` does. */
void process_kill(void);
/* The kill point that the environment names (SHOAL_KILL_POINT; server/persistence/kill_points.h),
 * or NULL. */
const char *process_kill_point(void);
/* This thread, and those it makes from now on, run on these processors only. 0 or -errno. */
int process_use_cpus(const int *cpus, size_t count);
/* No huge pages for this process but where it asks for them; where the kernel (before 6.18) cannot
 * tell these apart, none. 0 or -errno. */
int process_without_huge_pages(void);
/* Where the words are that main was given, and ps shows. argv must be main's own, as it was. */
struct process_title {
    char *start;
    size_t room; /* 0: nowhere */
};
struct process_title process_title(int argc, char **argv);
/* Overwrites them. */
void process_set_title(const struct process_title *place, const char *title);

#endif
