/* SPDX-License-Identifier: BSD-3-Clause */
/* num_shortest: the few digits that tell a double from its neighbours.
 *
 * Thread: any; pure. Used by num_format_double, which lays them out.
 */
#ifndef SHOAL_BASE_NUM_SHORTEST_H
#define SHOAL_BASE_NUM_SHORTEST_H

#include <stdint.h>

/* `value` is finite and above zero. Writes 1 to 18 digits, the first not 0; the value is digits *
 * 10^*ret_power. Returns how many. */
int num_shortest(double value, char *digits, int *ret_power);

#endif
