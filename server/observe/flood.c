/* SPDX-License-Identifier: BSD-3-Clause */
/* flood: see the header. */
#include "server/observe/flood.h"

#include "net/rt.h"
#include "server/observe/log.h"
#include "server/worker/worker.h"

static const struct {
    enum log_level level;
    uint64_t lines; /* in that many ms */
    int64_t ms;
    const char *what;
} rules[FLOOD_KINDS] = {
    [FLOOD_PROTOCOL] = {LOG_VERBOSE, 32, 10000, "protocol errors"},
    [FLOOD_INPUT] = {LOG_WARNING, 32, 10000, "clients that reached the limit of their requests"},
    [FLOOD_OUTPUT] = {LOG_WARNING, 32, 10000, "clients that reached the limit of their replies"},
    [FLOOD_STRANGERS] = {LOG_NOTICE, 32, 10000,
                         "clients that had not logged in (unauthenticated-maxmemory)"},
    [FLOOD_TLS] = {LOG_WARNING, 32, 10000, "failed TLS handshakes"},
    [FLOOD_HTTP] = {LOG_WARNING, 1, 60000, "connections that sent HTTP"},
    [FLOOD_NO_ROOM] = {LOG_WARNING, 1, 60000, "connections that no file was left for"},
};

static void tell(struct worker *worker, unsigned kind, bool all, int64_t now_ms) {
    int64_t since_ms = worker->floods.kinds[kind].since_ms;
    uint64_t lines = worker->floods.kinds[kind].lines;
    if (since_ms == 0 || (!all && now_ms - since_ms < rules[kind].ms)) {
        return;
    }
    worker->floods.kinds[kind].since_ms = 0;
    worker->floods.kinds[kind].lines = 0;
    if (lines > rules[kind].lines) {
        log_worker(worker, rules[kind].level,
                   "Left out of the log: %llu more lines about %s, in %lld s.",
                   (unsigned long long)(lines - rules[kind].lines), rules[kind].what,
                   (long long)((now_ms - since_ms + 999) / 1000));
    }
}

bool flood_lets(struct worker *worker, enum flood_kind kind) {
    if (!log_wants(worker, rules[kind].level)) {
        return false;
    }
    int64_t now_ms = rt_mono_ms(worker->rt);
    tell(worker, kind, false, now_ms);
    if (worker->floods.kinds[kind].since_ms == 0) {
        worker->floods.kinds[kind].since_ms = now_ms > 0 ? now_ms : 1;
    }
    return ++worker->floods.kinds[kind].lines <= rules[kind].lines;
}

void flood_tell(struct worker *worker, bool all) {
    int64_t now_ms = rt_mono_ms(worker->rt);
    for (unsigned kind = 0; kind < FLOOD_KINDS; kind++) {
        tell(worker, kind, all, now_ms);
    }
}
