/* SPDX-License-Identifier: BSD-3-Clause */
/* hotkeys_commands: HOTKEYS: what users say of the hot keys (observe/hotkeys.h). The names and the
 * reply are those that Valkey has after 9.1, where nothing has to be switched on here, and GET
 * takes a number.
 */
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/commands/observe/observe_commands.h"
#include "server/observe/hotkeys.h"

#define GET_DEFAULT 16

void command_hotkeys_get(struct exec *x) {
    int64_t count = GET_DEFAULT;
    if (x->argc > 3) {
        reply_subcommand_error(x);
    } else if (x->argc == 2 || exec_arg_range(x, 2, 1, INT32_MAX, NULL, &count)) {
        hotkeys_reply(x, (uint32_t)count);
    }
}

void command_hotkeys_reset(struct exec *x) {
    hotkeys_reply_reset(x);
}

static const char *const help_lines[] = {
    "GET [<count>]",
    "    Show the keys that commands are about most often, 16 unless told, the hottest",
    "    first: the key (of a long one its first 1024 bytes), its database, and how",
    "    many commands a second there were, at least, in the last half minute, of which",
    "    the last seconds weigh most.",
    "RESET",
    "    Count anew.",
    NULL,
};

void command_hotkeys_help(struct exec *x) {
    reply_help(x, help_lines);
}
