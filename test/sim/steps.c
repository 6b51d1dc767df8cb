/* SPDX-License-Identifier: BSD-3-Clause */
/* steps: see the header. Which words are keys is known of the commands that users and ledgers have
 * scripts call, and of no others.
 */
#include "test/sim/steps.h"

#include "base/check.h"
#include "test/sim/wire.h"

#include <stdio.h>

/* Of a command that anybody sends here: the word at that place is a key. */
static bool is_key(struct bytes command, size_t at) {
    if (at == 0 || bytes_equal(command, BYTES("PUBLISH"))) {
        return false;
    }
    if (bytes_equal(command, BYTES("MSET"))) {
        return at % 2 == 1;
    }
    if (bytes_equal(command, BYTES("RENAME")) || bytes_equal(command, BYTES("COPY"))) {
        return at <= 2;
    }
    return at == 1 || bytes_equal(command, BYTES("MGET"));
}

void steps_add(struct steps_words *words, struct bytes word) {
    check(words->count < STEPS_WORDS_MAX);
    words->list[words->count++] = word;
}

struct bytes steps_number(struct arena *arena, uint64_t n) {
    char *text = arena_alloc(arena, 24);
    return bytes_make(text, (size_t)snprintf(text, 24, "%llu", (unsigned long long)n));
}

void steps_split(struct bytes requests, struct arena *arena, struct steps_words *keys,
                 struct steps_words *args) {
    while (requests.len > 0) {
        struct wire_value request;
        ssize_t bytes = value_read(requests, arena, &request);
        check(bytes > 0 && request.type == '*');
        steps_add(args, steps_number(arena, request.count));
        for (size_t i = 0; i < request.count; i++) {
            steps_add(args, request.items[i].text);
            if (is_key(request.items[0].text, i)) {
                steps_add(keys, request.items[i].text);
            }
        }
        requests.ptr += bytes;
        requests.len -= (size_t)bytes;
    }
}
