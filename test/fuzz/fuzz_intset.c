/* SPDX-License-Identifier: BSD-3-Clause */
/* Foreign bytes as an intset: what is found sound is never read past its end, and stays sound as
 * numbers are added and removed. Input: a byte that says how many numbers follow, 8 bytes each, to
 * be added if they are not there and else removed; the rest is the intset. */
#include "base/check.h"
#include "shard/ds/intset.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of just its length: a sanitizer sees each byte too far. */
static char *resized(char *is, size_t length) {
    is = realloc(is, length);
    check(is != NULL);
    return is;
}

static char *add(char *is, uint32_t index, int64_t number) {
    struct intset_room room = intset_room(is, index, number);
    size_t length = intset_bytes(is);
    is = resized(is, length + room.bytes);
    memmove(is + room.at + room.bytes, is + room.at, length - room.at);
    intset_put(is, index, number);
    return is;
}

static char *cut(char *is, uint32_t index) {
    struct intset_room room = intset_cut(is, index);
    size_t length = intset_bytes(is);
    memmove(is + room.at, is + room.at + room.bytes, length - room.at - room.bytes);
    intset_took(is);
    return resized(is, length - room.bytes);
}

static void look_for_all(const char *is) {
    for (uint32_t i = 0; i < intset_count(is); i++) {
        uint32_t index;
        check(intset_find(is, intset_get(is, i), &index) && index == i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t numbers = size > 0 ? data[0] : 0;
    if (size < 1 + numbers * sizeof(int64_t) + INTSET_HEADER_BYTES) {
        return 0;
    }
    const uint8_t *foreign = data + 1 + numbers * sizeof(int64_t);
    size_t length = size - (size_t)(foreign - data);
    char *is = resized(NULL, length);
    memcpy(is, foreign, length);
    if (!intset_is_sound(bytes_make(is, length))) {
        free(is);
        return 0;
    }
    look_for_all(is);
    for (size_t i = 0; i < numbers; i++) {
        int64_t number;
        uint32_t index, count = intset_count(is);
        memcpy(&number, data + 1 + i * sizeof number, sizeof number);
        bool there = intset_find(is, number, &index);
        is = there ? cut(is, index) : add(is, index, number);
        check(intset_count(is) == (there ? count - 1 : count + 1));
        check(intset_count(is) == 0 || intset_is_sound(bytes_make(is, intset_bytes(is))));
        check(intset_find(is, number, &index) != there);
    }
    look_for_all(is);
    free(is);
    return 0;
}
