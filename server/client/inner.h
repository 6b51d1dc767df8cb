/* SPDX-License-Identifier: BSD-3-Clause */
/* inner: the client of worker 0 that nobody is behind: what the server does by itself but by the
 * means of a command, as a save that is due, or at the end. It has no stream, stands in no list,
 * and its replies go nowhere.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_CLIENT_INNER_H
#define SHOAL_SERVER_CLIENT_INNER_H

#include "server/call/command.h"

#include <stdbool.h>

struct inner;
struct worker;

struct inner *inner_new(struct worker *worker);
void inner_free(struct inner *inner); /* NULL is fine */
/* Runs it as the command of that client. False: it is in the middle of another one. */
bool inner_run(struct inner *inner, command_fn *run);
/* Now and then: others wait, before they end, for what it has begun. */
void inner_settle(struct inner *inner);
/* Whether a command is its. */
bool inner_is(const struct worker *worker, const struct client *client);

#endif
