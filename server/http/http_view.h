/* SPDX-License-Identifier: BSD-3-Clause */
/* http_view: what the listener shows of all workers: asked for by a scatter, and made into texts.
 *
 * Thread: home worker; the parts on their own.
 */
#ifndef SHOAL_SERVER_HTTP_HTTP_VIEW_H
#define SHOAL_SERVER_HTTP_HTTP_VIEW_H

#include "base/text.h"
#include "server/call/scatter.h"
#include "server/observe/latency.h"

enum http_view {
    HTTP_VIEW_METRICS,      /* as Prometheus has read it for ever */
    HTTP_VIEW_OPEN_METRICS, /* and in its newer form */
    HTTP_VIEW_STATE,        /* JSON, for the page */
    HTTP_VIEWS,
    HTTP_VIEW_BIGKEYS = HTTP_VIEWS /* JSON, when it is asked for: http_bigkeys.h */
};

const char *http_view_type(enum http_view view);
void http_json_text(struct text *out, struct bytes bytes);

/* As a command: asks all workers; `state`: also for what only the page shows. */
void http_view_gather(struct exec *x, bool state, scatter_done_fn *done);

struct commandlog_entry;
struct histogram;
struct hotkey;
#define HTTP_SLOW_SHOWN 16

/* In `done`: the texts of what has come, each made when it is asked for first. They live until the
 * end, which frees the parts' memory, too. */
struct http_texts {
    struct worker *worker;
    const struct scatter_result *result;
    struct text info;
    struct histogram *latencies; /* NULL: nobody has asked for them */
    struct hotkey *hotkeys;      /* the same */
    uint32_t hotkeys_count;
    struct commandlog_entry *slow[HTTP_SLOW_SHOWN]; /* the newest first */
    size_t slow_count, slow_there;
    struct latency_part spikes;
    struct text views[HTTP_VIEWS];
};
void http_texts_begin(struct http_texts *texts, struct worker *worker,
                      const struct scatter_result *result);
struct bytes http_texts_of(struct http_texts *texts, enum http_view view);
void http_texts_end(struct http_texts *texts);

#endif
