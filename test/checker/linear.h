/* SPDX-License-Identifier: BSD-3-Clause */
/* linear: is each key by itself linearizable? Exact, for registers and counters.
 *
 * Thread: one at a time; reads the versions.
 *
 * Registers: with unique values and every read's writer known, a write and the reads of its value
 * form a cluster that must lie together in any order. P. Gibbons and E. Korach, "Testing shared
 * memories", SIAM J. Computing 26(4), 1997: an order exists if and only if no two clusters must
 * each come before the other, which their zones tell: the first return and the last call of a
 * cluster.
 * Counters: the values that INCR answers are the order; what remains is to find a moment for each
 * one after the other, as early as it may be. Increments whose outcome is unknown fill the gaps,
 * the one that was called first in the first gap.
 */
#ifndef SHOAL_TEST_CHECKER_LINEAR_H
#define SHOAL_TEST_CHECKER_LINEAR_H

#include "test/checker/versions.h"

void linear_check_registers(const struct versions *versions, struct verdict *verdict);
void linear_check_counters(const struct versions *versions, struct verdict *verdict);

#endif
