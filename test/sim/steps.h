/* SPDX-License-Identifier: BSD-3-Clause */
/* steps: a script that calls commands one after the other and answers with all that they answer, as
 * EXEC would: what it calls are its arguments.
 *
 * Thread: any; pure. Words lie in the arena.
 */
#ifndef SHOAL_TEST_SIM_STEPS_H
#define SHOAL_TEST_SIM_STEPS_H

#include "base/arena.h"
#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>

#define STEPS_SCRIPT                                                                               \
    "local r, i = {}, 1 "                                                                          \
    "while i <= #ARGV do "                                                                         \
    "local n = tonumber(ARGV[i]) "                                                                 \
    "r[#r + 1] = redis.call(unpack(ARGV, i + 1, i + n)) "                                          \
    "i = i + n + 1 "                                                                               \
    "end "                                                                                         \
    "return r "

#define STEPS_WORDS_MAX 64

struct steps_words {
    struct bytes list[STEPS_WORDS_MAX];
    size_t count;
};

void steps_add(struct steps_words *words, struct bytes word);
struct bytes steps_number(struct arena *arena, uint64_t n);
/* Adds the arguments that make the script call these requests, and the keys that they name. */
void steps_split(struct bytes requests, struct arena *arena, struct steps_words *keys,
                 struct steps_words *args);

#endif
