/* SPDX-License-Identifier: BSD-3-Clause */
/* wire: RESP as a client speaks it: requests written, replies read.
 *
 * Thread: one at a time. A reply lives in the arena it was read into.
 */
#ifndef SHOAL_TEST_SIM_WIRE_H
#define SHOAL_TEST_SIM_WIRE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/text.h"

#include <stdint.h>
#include <sys/types.h>

/* One reply. `type` is its first byte; what RESP3 says in other words is brought to the older ones:
 * '_' and the null bulk and array are '_', a map is an array of twice its length, a set an array, a
 * double a bulk.
 */
struct wire_value {
    char type; /* + - : $ * > _ */
    struct bytes text;
    int64_t integer;
    struct wire_value *items;
    size_t count;
};

/* One reply at the start of `input`: its bytes, 0 when it is not all there, -1 when it is no RESP.
 */
ssize_t value_read(struct bytes input, struct arena *arena, struct wire_value *ret);

/* For people: the reply in a line, cut off where it gets long. */
void value_print(const struct wire_value *value, struct text *to);

void wire_array(struct text *to, size_t count);
void wire_bulk(struct text *to, struct bytes bytes);
/* A request of words separated by single blanks, made by format. */
void wire_requestf(struct text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
