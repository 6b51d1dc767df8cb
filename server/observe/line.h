/* SPDX-License-Identifier: BSD-3-Clause */
/* line: a line of the log, in the form that Valkey's tools read, and who writes one without a
 * worker: at the start, and when a signal ends the process. Workers log by log.h.
 *
 * Thread: any. A line is one append; lines of several threads do not mix.
 */
#ifndef SHOAL_SERVER_OBSERVE_LINE_H
#define SHOAL_SERVER_OBSERVE_LINE_H

#include "net/crash.h"
#include "net/file.h"
#include "server/config/config.h"

#include <stdarg.h>

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING };

void log_line(const struct config *config, const struct fs *fs, int64_t wall_us,
              enum log_level level, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* `replica`: what the server is now. */
void log_vline(const struct config *config, const struct fs *fs, int64_t wall_us, bool replica,
               enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 6, 0)));
/* Lines of text as they are. */
void log_picture(const struct config *config, const struct fs *fs, enum log_level level,
                 struct bytes picture);
/* What was set in `config` otherwise than in `before` (NULL: the defaults), and does not act. */
void log_missed(const struct config *config, const struct config *before, const struct fs *fs,
                int64_t wall_us);

/* What a thread needs to log when a signal ends the process, found out while there is time: `say`
 * of net/crash.h. `config` points at the thread's own view of the configuration, while it has one;
 * `build` is what the line begins with. */
struct last_line {
    const struct fs *fs;
    const char *build;
    const struct config *const *config;
    int64_t utc_offset_s; /* where local time stood at the start */
};

void last_line_init(struct last_line *last, const struct fs *fs, const char *build,
                    const struct config *const *config);
struct crash_wish last_line_say(void *arg, struct bytes text, bool first);

#endif
