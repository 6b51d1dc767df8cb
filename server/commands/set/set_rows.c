/* SPDX-License-Identifier: BSD-3-Clause */
/* set_rows: the rows of the set commands: what they are, where their keys and arguments stand.
 */
#include "server/commands/families.h"

const struct command commands_set[] = {
    {0},
};
