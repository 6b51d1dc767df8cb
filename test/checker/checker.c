/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong at sight comes first: its words are the plainest. The graph then finds what needs
 * more than two operations to show, or tells the same again with the circle it closes.
 */
#include "test/checker/checker.h"

#include "test/checker/linear.h"
#include "test/checker/serial.h"
#include "test/checker/versions.h"

bool checker_check(const struct history *history, struct verdict *verdict) {
    size_t before = verdict_count(verdict, NULL);
    struct versions versions;
    versions_init(&versions, history, verdict);
    /* Two writes of one value, or a key of two kinds: the other checks would tell nonsense. */
    if (verdict_count(verdict, "unusable history") == 0) {
        linear_check_registers(&versions, verdict);
        linear_check_counters(&versions, verdict);
        serial_check(&versions, verdict);
    }
    versions_fini(&versions);
    return verdict_count(verdict, NULL) == before;
}
