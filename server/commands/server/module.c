/* SPDX-License-Identifier: BSD-3-Clause */
/* module: MODULE. There are no modules; many tools ask for their list before anything else, and
 * take an error for a broken server.
 */
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/commands/server/server_commands.h"

void command_module_list(struct exec *x) {
    reply_array(x->reply, 0);
}

void command_module_refused(struct exec *x) {
    reply_error(x->reply, "ERR Modules are not supported");
}

static const char *const help_lines[] = {
    "LIST",
    "    Show the modules; there are none, ever.",
    "LOAD <path> [<arg> ...]",
    "    Refused.",
    "LOADEX <path> [[CONFIG <name> <value>] ...] [ARGS ...]",
    "    Refused.",
    "UNLOAD <name>",
    "    Refused.",
    NULL,
};

void command_module_help(struct exec *x) {
    reply_help(x, help_lines);
}
