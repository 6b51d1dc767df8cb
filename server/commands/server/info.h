/* SPDX-License-Identifier: BSD-3-Clause */
/* info: the text of INFO, for others than its command: what a listener shows is what it says.
 *
 * Thread: home worker.
 */
#ifndef SHOAL_SERVER_COMMANDS_SERVER_INFO_H
#define SHOAL_SERVER_COMMANDS_SERVER_INFO_H

#include "base/text.h"
#include "server/worker/totals.h"

/* The args of a scatter whose parts begin with a struct totals_part, which totals_take has filled.
 */
struct info_request {
    struct totals_request totals; /* first: totals_take reads it */
    unsigned chosen;              /* sections */
    char *cluster;                /* text of cluster_info; malloc, or NULL: it is not asked for */
};

/* All sections but that of debugging. */
struct info_request info_everything(void);
/* In `done` of such a scatter: appends the text. */
void info_write(struct worker *worker, const struct scatter_result *result, struct text *text);
/* Frees what the parts have. */
void info_parts_fini(struct worker *worker, const struct scatter_result *result);

#endif
