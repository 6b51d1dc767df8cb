/* SPDX-License-Identifier: BSD-3-Clause */
/* bitmap_rows: the rows of the bitmap commands: what they are, where their keys and arguments
 * stand.
 */
#include "server/commands/families.h"

const struct command commands_bitmap[] = {
    {0},
};
