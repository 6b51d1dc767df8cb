/* SPDX-License-Identifier: BSD-3-Clause */
/* observe: commands that look at what other commands do. */
#include "server/call/exec.h"
#include "server/commands/server/server_commands.h"
#include "server/observe/monitor.h"
#include "server/txn/txn.h"

void command_monitor(struct exec *x) {
    uint32_t done;
    if (txn_exec_queue(x->client, &done) != NULL) {
        reply_error(x->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    monitor_start(x);
}
