/* SPDX-License-Identifier: BSD-3-Clause */
/* http: what an operator's programs and browser are shown, on a port of its own (metrics-port):
 * /metrics for Prometheus, / to look at, /healthz and /readyz for who starts and stops servers.
 *
 * Thread: worker 0 only.
 */
#ifndef SHOAL_SERVER_HTTP_HTTP_H
#define SHOAL_SERVER_HTTP_HTTP_H

#include "base/text.h"
#include "server/config/config.h"

struct http;
struct worker;

/* Listens, if the configuration says so. 0, or -1 with the reason. */
int http_start(struct worker *worker, struct text *err);
/* Before a new configuration is published: listens as it says. On failure -1 with the reason, and
 * everything is as before. */
int http_update(struct worker *worker, const struct config *now, const struct config *next,
                struct text *err);
/* Whether both listen in the same way. */
bool http_same(const struct config *a, const struct config *b);
/* Says in the log where, and who may come in. */
void http_log(struct worker *worker);
/* In a turn: what was asked for since the last one is looked for. */
void http_turn(struct worker *worker);
/* Now and then: ends what takes too long. */
void http_cron(struct worker *worker);
/* The end begins: no connection is served any more. May be called again and again. */
void http_stop(struct worker *worker);
/* After its runtime was freed. */
void http_free(struct worker *worker);

/* What is kept of requests, and of how many connections. */
size_t http_held(const struct worker *worker, unsigned *ret_connections);

#endif
