/* SPDX-License-Identifier: BSD-3-Clause */
/* hash_rows: the rows of the hash commands: what they are, where their keys and arguments stand.
 */
#include "server/commands/families.h"

const struct command commands_hash[] = {
    {0},
};
