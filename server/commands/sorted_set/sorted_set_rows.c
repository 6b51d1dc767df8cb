/* SPDX-License-Identifier: BSD-3-Clause */
/* sorted_set_rows: the rows of the sorted set commands: what they are, where their keys and
 * arguments stand.
 */
#include "server/commands/families.h"

const struct command commands_sorted_set[] = {
    {0},
};
