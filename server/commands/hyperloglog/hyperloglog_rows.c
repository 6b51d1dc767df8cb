/* SPDX-License-Identifier: BSD-3-Clause */
/* hyperloglog_rows: the rows of the hyperloglog commands: what they are, where their keys and
 * arguments stand.
 */
#include "server/commands/families.h"

const struct command commands_hyperloglog[] = {
    {0},
};
