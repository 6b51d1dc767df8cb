/* SPDX-License-Identifier: BSD-3-Clause */
/* draw: requests of any command, from the bytes of an input.
 *
 * A few bytes choose the command, the next ones its arguments: what a row's `args` say (a key, a
 * number, one of several words) is drawn from small pools, so that keys meet with all types; and
 * sometimes an argument is another than was asked for, missing, or said twice. So a command is
 * known as soon as it has a row; those that must not run are left out, each with its reason.
 *
 * Thread: one at a time.
 */
#ifndef SHOAL_TEST_FUZZ_DRAW_H
#define SHOAL_TEST_FUZZ_DRAW_H

#include "base/text.h"
#include "server/call/command_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct draw_input {
    const uint8_t *data;
    size_t size;
};

/* From the next byte; 0 when there is none left. */
unsigned draw_next(struct draw_input *in, unsigned below);

/* Appends a request, as RESP. */
void draw_request(struct draw_input *in, const struct command_table *table, struct text *out);

/* Of a container: all of its subcommands. Ended by a row with name NULL. */
struct draw_left_out {
    const char *name, *reason;
};
extern const struct draw_left_out draw_left_out[];
bool draw_leaves_out(const char *full_name);

#endif
