/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_slots: DEBUG MOVE-SLOT, the hand-over of a hash slot between two shards of one node.
 *
 * Thread: home; parts on the workers.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_DEBUG_SLOTS_H
#define SHOAL_SERVER_COMMANDS_SERVER_DEBUG_SLOTS_H

#include "server/call/command.h"

command_fn debug_move_slot;

#endif
