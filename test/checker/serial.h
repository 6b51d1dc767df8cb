/* SPDX-License-Identifier: BSD-3-Clause */
/* serial: could all operations have happened one after the other, in an order that keeps to real
 * time?
 *
 * Thread: one at a time; reads the versions.
 *
 * A graph says who must come before whom: writes and reads of a key by the order of its versions,
 * operations of which one returned before the other was called, and those of one connection that
 * touch the same key. A cycle is a contradiction. The method is Elle's (Kingsbury and Alvaro, VLDB
 * 2021), the names of cycles are Adya's:
 *   G0        writes alone                      G1c  writes and reads of what was written
 *   G-single  one read that was overtaken       G2   more than one
 * with "-realtime" where only the clock or the connection closes the circle. Two kinds that people
 * have other words for get these: a read (stale read) that does not show what was finished before
 * it was asked, and an append (lost write) that is answered and that no later read shows.
 *
 * Registers have no order that a read tells. Known is: a read-modify-write follows what it read; a
 * write comes after one that had returned before it was called; and who reads T1's write of one key
 * and T2's of another, which T1 wrote as well, says that T2 came after T1. These are used; the
 * check is sound, and complete for lists and counters.
 */
#ifndef SHOAL_TEST_CHECKER_SERIAL_H
#define SHOAL_TEST_CHECKER_SERIAL_H

#include "test/checker/versions.h"

void serial_check(const struct versions *versions, struct verdict *verdict);

#endif
