/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_effects: DEBUG EFFECTS and DEBUG EVENTS.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_DEBUG_EFFECTS_H
#define SHOAL_SERVER_COMMANDS_SERVER_DEBUG_EFFECTS_H

struct exec;

void debug_effects(struct exec *x);
void debug_events(struct exec *x);

#endif
