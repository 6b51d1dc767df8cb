/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub_rows: the rows of the pubsub commands: what they are, where their keys and arguments
 * stand.
 */
#include "server/commands/families.h"

const struct command commands_pubsub[] = {
    {0},
};
