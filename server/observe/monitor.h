/* SPDX-License-Identifier: BSD-3-Clause */
/* monitor: MONITOR: every command that runs, told to who asked for it, in one order over all
 * workers.
 *
 * While anybody monitors, all requests take the long way (dispatch.c): one at a time for each
 * connection; what runs on its home tells as it runs there, all else is a transaction, which tells
 * while it holds its locks. So lines of two commands that see each other come in the order in which
 * they ran, and a line comes before that of any request that was sent after its command was
 * answered. While nobody monitors nothing is looked at but what keeps clients from commands
 * anyhow (HINDERED_MONITORS).
 *
 * Thread: the worker's own; of a client, its home.
 */
#ifndef SHOAL_SERVER_OBSERVE_MONITOR_H
#define SHOAL_SERVER_OBSERVE_MONITOR_H

#include "base/text.h"
#include "server/call/command_table.h"
#include "server/observe/monitors.h"

struct client;
struct exec;
struct message;
struct worker;

void monitors_init(struct monitors *monitors, unsigned workers);
void monitors_free(struct monitors *monitors);

/* MONITOR: answered when all workers know of it; never, if it monitors already, as in Valkey. */
void monitor_start(struct exec *x);
/* The client monitors no more. Harmless without. */
void monitor_leave(struct client *client);

/* Whether anybody is told. */
static inline bool monitors_look(const struct monitors *monitors) {
    return monitors->count > 0;
}
/* Whether commands of its kind are shown: those of administrators are not. CMD_SKIP_MONITOR says of
 * a script that it comes before what it calls, which all do here that call something. */
static inline bool monitor_shows(const struct command_ref *ref) {
    return !(ref->flags & CMD_ADMIN);
}

/* Appends the line of a command, but for its time; secret words are left out. `client` is who sent
 * it, NULL: a script. `db` is the database as it is selected after it. */
void monitor_add(struct text *lines, const struct client *client, const struct command_ref *ref,
                 const struct bytes *argv, uint32_t argc, uint32_t db);
/* Tells what was added, as one: no other line comes between. Takes the text; nothing in it is
 * harmless. */
void monitor_tell(struct worker *worker, struct text *lines);

/* Some monitor has lines that wait for a reply; once a turn: those whose reply is written. */
static inline bool monitors_are_late(const struct monitors *monitors) {
    return !list_empty(&monitors->late);
}
void monitors_catch_up(struct worker *worker);

/* ---- Messages ---- */

/* Lines, to worker 0; from there, in order; and how many monitors there are on a worker. */
void monitor_lines_arrived(struct worker *worker, struct message *message);
void monitor_order_arrived(struct worker *worker, struct message *message);
void monitor_change_arrived(struct worker *worker, struct message *message);

#endif
