/* SPDX-License-Identifier: BSD-3-Clause */
/* budget: what a step of long work may still do, in bytes or what is counted as bytes. A step ends
 * when it is 0; what was done at once may have cost more.
 *
 * Thread: the caller's own.
 */
#ifndef SHOAL_BASE_BUDGET_H
#define SHOAL_BASE_BUDGET_H

#include <stddef.h>

static inline void budget_spend(size_t *budget, size_t bytes) {
    *budget -= bytes < *budget ? bytes : *budget;
}

#endif
