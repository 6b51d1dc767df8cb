/* SPDX-License-Identifier: BSD-3-Clause */
/* line: see the header. A line is made in memory and appended in one call, because threads share
 * the file and nothing else. */
#include "server/observe/line.h"

#include "base/text.h"
#include "net/rt.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "verbose", "notice", "warning"};
static const char level_marks[] = ".-*#";

/* ---- The line ----
 *
 * Made with integers and copies alone, no locale and no lock, so that a signal handler can make one
 * in memory that it has.
 */

struct moment {
    int64_t wall_us;
    int64_t utc_offset_s;
};

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct civil {
    int64_t year;
    int month, day, hour, minute, second; /* month 0 is January */
};

/* Days are counted in years that begin in March, so that a leap day is the last. */
static struct civil civil_of(const struct moment *when) {
    int64_t seconds = when->wall_us / 1000000 + when->utc_offset_s;
    int64_t days = seconds / 86400 + 719468, left = seconds % 86400;
    int64_t era = days / 146097, day_of_era = days % 146097;
    int64_t year =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day = day_of_era - (365 * year + year / 4 - year / 100);
    int month = (int)((5 * day + 2) / 153);
    return (struct civil){
        .year = era * 400 + year + (month >= 10),
        .month = (month + 2) % 12,
        .day = (int)(day - (153 * month + 2) / 5 + 1),
        .hour = (int)(left / 3600),
        .minute = (int)(left / 60 % 60),
        .second = (int)(left % 60),
    };
}

static void append_time(struct text *line, enum config_log_timestamp form,
                        const struct moment *when) {
    struct civil t = civil_of(when);
    int ms = (int)(when->wall_us / 1000 % 1000);
    switch (form) {
    case CONFIG_TIME_MILLISECONDS:
        text_appendf(line, "%lld", (long long)(when->wall_us / 1000));
        break;
    case CONFIG_TIME_ISO8601: {
        int minutes = (int)(when->utc_offset_s / 60);
        text_appendf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03d%c%02d:%02d", (int)t.year,
                     t.month + 1, t.day, t.hour, t.minute, t.second, ms, minutes < 0 ? '-' : '+',
                     abs(minutes) / 60, abs(minutes) % 60);
        break;
    }
    default:
        text_appendf(line, "%02d %s %04d %02d:%02d:%02d.%03d", t.day, months[t.month], (int)t.year,
                     t.hour, t.minute, t.second, ms);
        break;
    }
}

/* How many bytes a character of UTF-8 has that begins there; 0: there is none. */
static size_t utf8_bytes(const unsigned char *p, size_t left) {
    size_t n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : 4;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool longer_than_need_be = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return longer_than_need_be || beyond ? 0 : n;
}

/* A string of JSON, which is also what readers of logfmt take: text as it is, if it is text, and
 * other bytes as the characters of these numbers. */
static void append_string(struct text *line, struct bytes message) {
    text_append_char(line, '"');
    for (size_t i = 0; i < message.len; i++) {
        unsigned char c = (unsigned char)message.ptr[i];
        size_t wide =
            c < 0x80 ? 0 : utf8_bytes((const unsigned char *)message.ptr + i, message.len - i);
        if (c == '"' || c == '\\') {
            text_append_char(line, '\\');
            text_append_char(line, (char)c);
        } else if (c >= '\b' && c <= '\r' && c != '\v') {
            text_append_char(line, '\\');
            text_append_char(line, "btn?fr"[c - '\b']);
        } else if (wide == 2 && c == 0xc2 && (unsigned char)message.ptr[i + 1] < 0xa0) {
            text_appendf(line, "\\u%04x",
                         (unsigned char)message.ptr[++i]); /* C1: terminals obey it */
        } else if (wide > 0) {
            text_append(line, message.ptr + i, wide);
            i += wide - 1;
        } else if (c < 0x20 || c > 0x7e) {
            text_appendf(line, "\\u%04x", c);
        } else {
            text_append_char(line, (char)c);
        }
    }
    text_append_char(line, '"');
}

static void append_line(struct text *line, const struct config *config, const struct moment *when,
                        bool replica, enum log_level level, struct bytes message) {
    int pid = (int)getpid();
    const char *role = replica ? "replica" : "primary";
    switch (config->log_format) {
    case CONFIG_LOG_LOGFMT:
        text_appendf(line, "pid=%d role=%s timestamp=\"", pid, role);
        append_time(line, config->log_timestamp_format, when);
        text_appendf(line, "\" level=%s message=", level_names[level]);
        append_string(line, message);
        break;
    case CONFIG_LOG_JSON:
        text_appendf(line, "{\"pid\":%d,\"role\":\"%s\",\"timestamp\":\"", pid, role);
        append_time(line, config->log_timestamp_format, when);
        text_appendf(line, "\",\"level\":\"%s\",\"message\":", level_names[level]);
        append_string(line, message);
        text_append_char(line, '}');
        break;
    default:
        text_appendf(line, "%d:%c ", pid, replica ? 'S' : 'M');
        append_time(line, config->log_timestamp_format, when);
        text_appendf(line, " %c ", level_marks[level]);
        text_append_bytes(line, message);
        break;
    }
    text_append_char(line, '\n');
}

/* A longer name is cut: a signal handler has no more memory than it brings. */
#define IDENT_BYTES_MAX 1024

/* The same for syslog(3)'s socket: facility and level in one number, then what it writes itself. */
static void append_system_line(struct text *line, const struct config *config,
                               const struct moment *when, enum log_level level,
                               struct bytes message) {
    static const int severities[] = {7, 6, 5, 4}; /* debug, info, notice, warning */
    struct civil t = civil_of(when);
    text_appendf(line, "<%d>%s %2d %02d:%02d:%02d ",
                 config->syslog_facility * 8 + severities[level], months[t.month], t.day, t.hour,
                 t.minute, t.second);
    size_t ident = config->syslog_ident.len;
    text_append(line, config->syslog_ident.ptr, ident < IDENT_BYTES_MAX ? ident : IDENT_BYTES_MAX);
    text_appendf(line, "[%d]: ", (int)getpid());
    text_append_bytes(line, message);
}

static void append_to_log(const struct config *config, const struct fs *fs, struct bytes lines) {
    fs->append(fs->arg, config->logfile.len ? config->logfile.ptr : "", lines);
}

/* `line` is empty, and in a signal handler large enough. */
static void write_line(struct text *line, const struct config *config, const struct fs *fs,
                       const struct moment *when, bool replica, enum log_level level,
                       struct bytes message) {
    append_line(line, config, when, replica, level, message);
    append_to_log(config, fs, text_bytes(line));
    if (config->syslog_enabled) {
        text_clear(line);
        append_system_line(line, config, when, level, message);
        fs->system_log(fs->arg, text_bytes(line));
    }
}

/* What it is told to be, for who has no worker. */
static bool is_replica(const struct config *config) {
    return config->replicaof.len > 0;
}

static int64_t utc_offset_s(int64_t wall_us) {
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    return tm.tm_gmtoff;
}

void log_vline(const struct config *config, const struct fs *fs, int64_t wall_us, bool replica,
               enum log_level level, const char *format, va_list args) {
    if ((int)level < (int)config->loglevel) {
        return;
    }
    struct text message, line;
    text_init(&message);
    text_init(&line);
    text_vappendf(&message, format, args);
    struct moment when = {.wall_us = wall_us, .utc_offset_s = utc_offset_s(wall_us)};
    write_line(&line, config, fs, &when, replica, level, text_bytes(&message));
    text_fini(&message);
    text_fini(&line);
}

void log_line(const struct config *config, const struct fs *fs, int64_t wall_us,
              enum log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    log_vline(config, fs, wall_us, is_replica(config), level, format, args);
    va_end(args);
}

void log_picture(const struct config *config, const struct fs *fs, enum log_level level,
                 struct bytes picture) {
    if ((int)level >= (int)config->loglevel) {
        append_to_log(config, fs, picture);
    }
}

void log_missed(const struct config *config, const struct config *before, const struct fs *fs,
                int64_t wall_us) {
    struct text names;
    text_init(&names);
    config_missed(config, before, &names);
    if (names.len > 0) {
        log_line(config, fs, wall_us, LOG_WARNING,
                 "Set, but without effect, because what they are about is not there yet: %s",
                 names.ptr);
    }
    text_fini(&names);
}

/* ---- The last line ---- */

void last_line_init(struct last_line *last, const struct fs *fs, const char *build,
                    const struct config *const *config) {
    last->fs = fs;
    last->build = build;
    last->config = config;
    last->utc_offset_s = utc_offset_s(rt_wall_us_early());
}

/* Six bytes for one is the most that a format makes of it. */
#define LAST_MESSAGE_BYTES 1280
#define LAST_LINE_BYTES    (6 * LAST_MESSAGE_BYTES + 256)
static_assert(LAST_LINE_BYTES > IDENT_BYTES_MAX + LAST_MESSAGE_BYTES + 256, "the system's fits");

struct crash_wish last_line_say(void *arg, struct bytes text, bool first) {
    const struct last_line *last = arg;
    const struct config *config = *last->config;
    char message_memory[LAST_MESSAGE_BYTES], line_memory[LAST_LINE_BYTES];
    struct text message = {.ptr = message_memory, .cap = sizeof message_memory};
    struct text line = {.ptr = line_memory, .cap = sizeof line_memory};
    struct crash_wish wish = {.report = config->crash_log_enabled,
                              .exits = config->use_exit_on_panic};
    if (config->loglevel == CONFIG_LOG_NOTHING || text.len > sizeof message_memory - 128) {
        wish.report = false;
        return wish;
    }
    if (first) {
        text_append_text(&message, last->build);
    }
    text_append_bytes(&message, text);
    struct moment when = {.wall_us = rt_wall_us_early(), .utc_offset_s = last->utc_offset_s};
    write_line(&line, config, last->fs, &when, is_replica(config), LOG_WARNING,
               text_bytes(&message));
    return wish;
}
