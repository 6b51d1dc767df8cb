/* SPDX-License-Identifier: BSD-3-Clause */
/* http_ready: whether clients are served, as probes ask and the page says.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_HTTP_HTTP_READY_H
#define SHOAL_SERVER_HTTP_HTTP_READY_H

struct worker;

/* Why a client's write, or anything else, would be refused now; NULL: nothing is. */
const char *http_not_ready(const struct worker *worker);

#endif
