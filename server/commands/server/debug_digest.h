/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_digest: one number for all data, the same on every server of this protocol that holds the
 * same data.
 *
 * Thread: parts on each worker, the sum at home.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_DEBUG_DIGEST_H
#define SHOAL_SERVER_COMMANDS_SERVER_DEBUG_DIGEST_H

#include "server/call/command.h"

void debug_digest(struct exec *x);
void debug_digest_value(struct exec *x);

#endif
