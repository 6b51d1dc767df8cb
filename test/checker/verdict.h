/* SPDX-License-Identifier: BSD-3-Clause */
/* verdict: what a check found, in words, with the operations that show it.
 *
 * Thread: one at a time. Every finding is counted; of each name only the first few are kept with
 * their text. Texts belong to the verdict.
 */
#ifndef SHOAL_TEST_CHECKER_VERDICT_H
#define SHOAL_TEST_CHECKER_VERDICT_H

#include "base/text.h"
#include "test/checker/history.h"

#include <stdbool.h>

#define VERDICT_KEPT_PER_NAME 3
#define VERDICT_NAMES_MAX     32

struct anomaly {
    const char *name; /* static text: "lost update" */
    size_t count;
    char *texts[VERDICT_KEPT_PER_NAME];
};

struct verdict {
    struct anomaly anomalies[VERDICT_NAMES_MAX];
    size_t name_count;
};

void verdict_init(struct verdict *verdict);
void verdict_fini(struct verdict *verdict);

/* Counts a finding and takes the text, which is empty afterwards. */
void verdict_take(struct verdict *verdict, const char *name, struct text *text);
/* False when a further text of this name would be thrown away: no need to write one. */
bool verdict_wants(const struct verdict *verdict, const char *name);
/* How many findings have the name; with NULL, all. */
size_t verdict_count(const struct verdict *verdict, const char *name);
/* All that is kept, as lines. */
void verdict_print(const struct verdict *verdict, FILE *out);

/* "  T1: GETSET of process 7, 1.000 to 1.900 us: read k1 = 54, wrote k1 = 55\n" */
void verdict_describe(struct text *text, const struct history *history, const char *title,
                      size_t op);
/* Counts a finding and tells `what` and the operations that show it; the same one twice is told
 * once. */
void verdict_add(struct verdict *verdict, const char *name, const struct history *history,
                 const size_t *ops, size_t op_count, const char *what, ...)
    __attribute__((format(printf, 6, 7)));

#endif
