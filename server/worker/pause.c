/* SPDX-License-Identifier: BSD-3-Clause */
/* pause: see the header. */
#include "server/worker/pause.h"

#include "base/check.h"
#include "server/call/command_table.h"

static bool may_write(unsigned command_flags) {
    return (command_flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
}

bool pause_is_on(const struct pause *pause, int64_t mono_ms) {
    return UNLIKELY(pause->kind > PAUSE_SLOTS) && (pause->holds != 0 || mono_ms < pause->until_ms);
}

bool pause_passes(const struct command_ref *ref) {
    return ref->container != NULL && strcmp(ref->container->full_name, "client") == 0;
}

bool pause_forbids(const struct pause *pause, int64_t mono_ms, unsigned command_flags) {
    bool all = pause->asked == PAUSE_ALL && mono_ms < pause->until_ms;
    return pause_is_on(pause, mono_ms) && (all || may_write(command_flags));
}

void pause_enter(struct pause *pause, unsigned command_flags) {
    pause->inside++;
    pause->inside_writing += may_write(command_flags);
}

void pause_leave(struct pause *pause, unsigned command_flags) {
    check_slow(pause->inside > 0);
    pause->inside--;
    pause->inside_writing -= may_write(command_flags);
}
