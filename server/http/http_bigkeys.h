/* SPDX-License-Identifier: BSD-3-Clause */
/* http_bigkeys: the biggest keys as JSON for the page: {"at":seconds,"ms":n,"types":{"hash":
 * {"keys":n,"memory":n,"elements":n,"by_memory":[[key,db,memory,elements]...],"by_elements":[...]}
 * ...}}.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_HTTP_HTTP_BIGKEYS_H
#define SHOAL_SERVER_HTTP_HTTP_BIGKEYS_H

#include "base/text.h"
#include "server/call/scatter.h"

/* As a command: walks over all keys. */
void http_bigkeys_walk(struct exec *x, scatter_done_fn *done);
/* In `done`: appends the text. */
void http_bigkeys_write(const struct scatter_result *result, int64_t at_s, int64_t took_ms,
                        struct text *text);

#endif
