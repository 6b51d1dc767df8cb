/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_rows: the rows of the stream commands: what they are, where their keys and arguments
 * stand.
 */
#include "server/commands/families.h"

const struct command commands_stream[] = {
    {0},
};
