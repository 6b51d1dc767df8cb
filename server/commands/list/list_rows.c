/* SPDX-License-Identifier: BSD-3-Clause */
/* list_rows: the rows of the list commands: what they are, where their keys and arguments stand.
 */
#include "server/commands/families.h"

const struct command commands_list[] = {
    {0},
};
