/* SPDX-License-Identifier: BSD-3-Clause */
/* intset: see the header. */
#include "shard/ds/intset.h"

#include "base/check.h"

static uint32_t width_for(int64_t number) {
    if (number >= INT16_MIN && number <= INT16_MAX) {
        return sizeof(int16_t);
    }
    return number >= INT32_MIN && number <= INT32_MAX ? sizeof(int32_t) : sizeof(int64_t);
}

static void set_width(char *is, uint32_t width) {
    memcpy(is, &width, sizeof width);
}

static void set_count(char *is, uint32_t count) {
    memcpy(is + sizeof count, &count, sizeof count);
}

static char *place(const char *is, uint32_t index) {
    return (char *)(uintptr_t)is + INTSET_HEADER_BYTES + (size_t)intset_width(is) * index;
}

/* All machines that this runs on are little endian: the low bytes of a number are its first. */
static void put_number(char *is, uint32_t index, int64_t number) {
    memcpy(place(is, index), &number, intset_width(is));
}

void intset_init(char *is) {
    set_width(is, sizeof(int16_t));
    set_count(is, 0);
}

/* The first index whose number is not less. One loop for each width, as the compiler makes no
 * branch of its steps then. */
#define LOWER(type)                                                                                \
    static uint32_t lower_##type(const char *numbers, uint32_t count, type number) {               \
        uint32_t first = 0;                                                                        \
        while (count > 0) {                                                                        \
            uint32_t half = count / 2;                                                             \
            type middle;                                                                           \
            memcpy(&middle, numbers + (size_t)(first + half) * sizeof middle, sizeof middle);      \
            first = middle < number ? first + (count - half) : first;                              \
            count = half;                                                                          \
        }                                                                                          \
        return first;                                                                              \
    }
LOWER(int16_t)
LOWER(int32_t)
LOWER(int64_t)

bool intset_find(const char *is, int64_t number, uint32_t *ret_index) {
    uint32_t count = intset_count(is), width = intset_width(is);
    if (width_for(number) > width) {
        *ret_index = number < 0 ? 0 : count;
        return false;
    }
    const char *numbers = is + INTSET_HEADER_BYTES;
    uint32_t index;
    if (count > 0 && number > intset_get(is, count - 1)) {
        index = count; /* numbers often come in their order */
    } else if (width == sizeof(int16_t)) {
        index = lower_int16_t(numbers, count, (int16_t)number);
    } else if (width == sizeof(int32_t)) {
        index = lower_int32_t(numbers, count, (int32_t)number);
    } else {
        index = lower_int64_t(numbers, count, number);
    }
    *ret_index = index;
    return index < count && intset_get(is, index) == number;
}

struct intset_room intset_room(const char *is, uint32_t index, int64_t number) {
    uint32_t width = width_for(number), count = intset_count(is);
    if (width <= intset_width(is)) {
        width = intset_width(is);
        return (struct intset_room){INTSET_HEADER_BYTES + (size_t)width * index, width};
    }
    size_t before = intset_bytes(is);
    size_t after = INTSET_HEADER_BYTES + (size_t)width * (count + 1);
    return (struct intset_room){before, after - before};
}

/* All get wider, and leave room for one at either end. */
static void widen(char *is, uint32_t width, bool at_front) {
    const char *numbers = is + INTSET_HEADER_BYTES;
    uint32_t old_width = intset_width(is);
    set_width(is, width);
    for (uint32_t i = intset_count(is); i > 0; i--) {
        put_number(is, i - 1 + at_front, intset_number(numbers, old_width, i - 1));
    }
}

void intset_put(char *is, uint32_t index, int64_t number) {
    uint32_t width = width_for(number), count = intset_count(is);
    check_slow(index <= count && count < INTSET_COUNT_MAX);
    if (width > intset_width(is)) {
        widen(is, width, index == 0 && number < 0);
    }
    put_number(is, index, number);
    set_count(is, count + 1);
}

struct intset_room intset_cut(const char *is, uint32_t index) {
    check_slow(index < intset_count(is));
    uint32_t width = intset_width(is);
    return (struct intset_room){INTSET_HEADER_BYTES + (size_t)width * index, width};
}

void intset_took(char *is) {
    set_count(is, intset_count(is) - 1);
}

bool intset_is_sound(struct bytes bytes) {
    if (bytes.len < INTSET_HEADER_BYTES) {
        return false;
    }
    uint32_t width = intset_width(bytes.ptr), count = intset_count(bytes.ptr);
    if ((width != 2 && width != 4 && width != 8) || count == 0 || count > INTSET_COUNT_MAX ||
        intset_bytes(bytes.ptr) != bytes.len) {
        return false;
    }
    for (uint32_t i = 1; i < count; i++) {
        if (intset_get(bytes.ptr, i - 1) >= intset_get(bytes.ptr, i)) {
            return false;
        }
    }
    return true;
}
