/* SPDX-License-Identifier: BSD-3-Clause */
/* checker: is a history of clients one that a strictly serializable server could have given?
 *
 * Thread: one at a time; no state between calls.
 */
#ifndef SHOAL_TEST_CHECKER_CHECKER_H
#define SHOAL_TEST_CHECKER_CHECKER_H

#include "test/checker/history.h"
#include "test/checker/verdict.h"

/* All checks. True if nothing was found; what was found is added to the verdict. */
bool checker_check(const struct history *history, struct verdict *verdict);

#endif
