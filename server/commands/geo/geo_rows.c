/* SPDX-License-Identifier: BSD-3-Clause */
/* geo_rows: the rows of the geo commands: what they are, where their keys and arguments stand.
 */
#include "server/commands/families.h"

const struct command commands_geo[] = {
    {0},
};
