/* SPDX-License-Identifier: BSD-3-Clause */
/* log: see the header. */
#include "server/observe/log.h"

#include "net/rt.h"
#include "server/server.h"
#include "server/worker/worker.h"

#include <stdarg.h>

void log_worker(struct worker *worker, enum log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const struct server *server = worker->server;
    log_vline(worker->config, server->fs, rt_wall_us(worker->rt), server->role.replica, level,
              format, args);
    va_end(args);
}

bool log_wants(const struct worker *worker, enum log_level level) {
    return (int)level >= (int)worker->config->loglevel;
}
