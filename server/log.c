/* SPDX-License-Identifier: BSD-3-Clause */
/* log: see the header. A line is made in memory and appended in one call, because threads share the
 * file and nothing else. */
#include "server/log.h"

#include "base/quote.h"
#include "base/text.h"
#include "net/rt.h"
#include "server/client.h"
#include "server/worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HTTP_LOG_EVERY_MS (60 * 1000)

static const char *const level_names[] = {"debug", "verbose", "notice", "warning"};
static const char level_marks[] = ".-*#";

static void append_time(struct text *line, enum config_log_timestamp form, int64_t wall_us) {
    time_t seconds = (time_t)(wall_us / 1000000);
    unsigned ms = (unsigned)(wall_us / 1000 % 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    char date[64];
    switch (form) {
    case CONFIG_TIME_MILLISECONDS:
        text_appendf(line, "%lld", (long long)(wall_us / 1000));
        break;
    case CONFIG_TIME_ISO8601: {
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
        long minutes = tm.tm_gmtoff / 60;
        text_appendf(line, "%s.%03u%c%02ld:%02ld", date, ms, minutes < 0 ? '-' : '+',
                     labs(minutes) / 60, labs(minutes) % 60);
        break;
    }
    default:
        strftime(date, sizeof date, "%d %b %Y %H:%M:%S", &tm);
        text_appendf(line, "%s.%03u", date, ms);
        break;
    }
}

static void append_json(struct text *line, struct bytes message) {
    text_append_char(line, '"');
    for (size_t i = 0; i < message.len; i++) {
        unsigned char c = (unsigned char)message.ptr[i];
        if (c == '"' || c == '\\') {
            text_append_char(line, '\\');
            text_append_char(line, (char)c);
        } else if (c < 0x20 || c > 0x7e) {
            text_appendf(line, "\\u%04x", c);
        } else {
            text_append_char(line, (char)c);
        }
    }
    text_append_char(line, '"');
}

static void vlog(const struct config *config, const struct fs *fs, int64_t wall_us,
                 enum log_level level, const char *format, va_list args) {
    if ((int)level < (int)config->loglevel) {
        return;
    }
    struct text message, line, when;
    text_init(&message);
    text_init(&line);
    text_init(&when);
    text_vappendf(&message, format, args);
    append_time(&when, config->log_timestamp_format, wall_us);
    int pid = (int)getpid();
    switch (config->log_format) {
    case CONFIG_LOG_LOGFMT:
        text_appendf(&line, "pid=%d role=primary timestamp=\"%s\" level=%s message=", pid, when.ptr,
                     level_names[level]);
        quote_append(&line, text_bytes(&message));
        break;
    case CONFIG_LOG_JSON:
        text_appendf(&line,
                     "{\"pid\":%d,\"role\":\"primary\",\"timestamp\":\"%s\",\"level\":\"%s\","
                     "\"message\":",
                     pid, when.ptr, level_names[level]);
        append_json(&line, text_bytes(&message));
        text_append_char(&line, '}');
        break;
    default:
        text_appendf(&line, "%d:M %s %c %s", pid, when.ptr, level_marks[level], message.ptr);
        break;
    }
    text_append_char(&line, '\n');
    fs->append(fs->arg, config->logfile.len ? config->logfile.ptr : "", text_bytes(&line));
    text_fini(&message);
    text_fini(&line);
    text_fini(&when);
}

void log_line(const struct config *config, const struct fs *fs, int64_t wall_us,
              enum log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vlog(config, fs, wall_us, level, format, args);
    va_end(args);
}

void log_worker(struct worker *worker, enum log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vlog(worker->config, worker->server->fs, rt_wall_us(worker->rt), level, format, args);
    va_end(args);
}

void log_client(struct worker *worker, enum log_level level, const struct client *client,
                const char *text) {
    log_worker(worker, level, "%s (id=%llu addr=%s)", text, (unsigned long long)client->id,
               client->peer);
}

void log_http(struct worker *worker, const struct client *client) {
    int64_t now_ms = rt_wall_ms(worker->rt);
    if (now_ms - worker->http_logged_ms < HTTP_LOG_EVERY_MS) {
        return;
    }
    worker->http_logged_ms = now_ms;
    log_client(
        worker, LOG_WARNING, client,
        "Possible SECURITY ATTACK: somebody sends HTTP verbs to this port. Connection closed.");
}
