/* SPDX-License-Identifier: BSD-3-Clause */
/* log: what a worker says to the operator (line.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_LOG_H
#define SHOAL_SERVER_OBSERVE_LOG_H

#include "server/observe/line.h"

struct worker;

void log_worker(struct worker *worker, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* For what costs something to find out. */
bool log_wants(const struct worker *worker, enum log_level level);

#endif
