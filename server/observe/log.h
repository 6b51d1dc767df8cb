/* SPDX-License-Identifier: BSD-3-Clause */
/* log: lines for the operator, in the form that Valkey's tools read.
 *
 * Thread: any. A line is one append; lines of several threads do not mix.
 */
#ifndef SHOAL_SERVER_OBSERVE_LOG_H
#define SHOAL_SERVER_OBSERVE_LOG_H

#include "net/file.h"
#include "server/config/config.h"

struct client;
struct server;
struct worker;

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING };

void log_line(const struct config *config, const struct fs *fs, int64_t wall_us,
              enum log_level level, const char *format, ...) __attribute__((format(printf, 5, 6)));
void log_worker(struct worker *worker, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* For what costs something to find out. */
bool log_wants(const struct worker *worker, enum log_level level);
/* Says what CLIENT LIST says of a client between two texts. */
void log_client(struct worker *worker, enum log_level level, const char *before,
                const struct client *client, const char *after);
/* A client broke the protocol; `rest` is its input from there on. */
void log_protocol_error(struct worker *worker, const struct client *client, struct bytes error,
                        struct bytes rest);
/* What was set in `config` otherwise than in `before` (NULL: the defaults), and does not act. */
void log_missed(const struct config *config, const struct config *before, const struct fs *fs,
                int64_t wall_us);
/* Somebody speaks HTTP to us: said at most once a minute a worker, the connection is closed by the
 * caller. */
void log_http(struct worker *worker, const struct client *client);

/* What a thread needs to log when a signal ends the process, found out while there is time: `say`
 * of net/crash.h. `config` points at the thread's own view of the
 * configuration, while it has one. */
struct last_line {
    const struct server *server;
    const struct config *const *config;
    int64_t utc_offset_s; /* where local time stood at the start */
};

void last_line_init(struct last_line *last, const struct server *server);
void last_line_say(void *arg, struct bytes text);

#endif
