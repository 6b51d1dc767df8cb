/* SPDX-License-Identifier: BSD-3-Clause */
/* touched: keys touched are keys declared. What a user may do is decided by the keys that a command
 * declares (its key specs, find_keys): one that looks at another key lets him read it, and one that
 * changes a key which it declares as read lets him write it. In builds with slow checks such a
 * command ends the process, with a line that says which key it was.
 *
 * Thread: the one that runs the command.
 */
#ifndef SHOAL_SERVER_CALL_TOUCHED_H
#define SHOAL_SERVER_CALL_TOUCHED_H

#include "base/check.h"
#include "server/call/command.h"

struct touched {
    struct keyspace_witness witness;
    const struct keyspace_witness *outer; /* of a script that calls */
    const struct exec *x;
};

void touched_watch(struct touched *touched, const struct exec *x);
void touched_end(struct touched *touched);

#endif
