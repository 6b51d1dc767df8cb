/* SPDX-License-Identifier: BSD-3-Clause */
/* Listpacks: their bytes as the specification has them, steps from both ends, foreign bytes; and
 * packed collections, which are listpacks in an entry or in a block, against an array. */
#include "shard/ds/listpack.h"

#include "base/random.h"
#include "base/text.h"
#include "shard/keys/keyspace_private.h"
#include "shard/types/packed.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void expect_stored(struct bytes text, const char *bytes, size_t n) {
    char room[8192];
    struct listpack_new item = listpack_new(text);
    cr_assert_eq(item.bytes, n, "%.*s takes %zu", (int)text.len, text.ptr, item.bytes);
    cr_assert_eq(listpack_put(room, &item), room + n);
    cr_assert_eq(memcmp(room, bytes, n), 0, "%.*s", (int)text.len, text.ptr);
}

Test(listpack, bytes_are_those_of_the_format) {
    expect_stored(BYTES("0"), "\x00\x01", 2);
    expect_stored(BYTES("127"), "\x7f\x01", 2);
    expect_stored(BYTES("128"), "\xc0\x80\x02", 3);
    expect_stored(BYTES("-1"), "\xdf\xff\x02", 3);
    expect_stored(BYTES("-4096"), "\xd0\x00\x02", 3);
    expect_stored(BYTES("4096"), "\xf1\x00\x10\x03", 4);
    expect_stored(BYTES("-32768"), "\xf1\x00\x80\x03", 4);
    expect_stored(BYTES("32768"), "\xf2\x00\x80\x00\x04", 5);
    expect_stored(BYTES("-8388608"), "\xf2\x00\x00\x80\x04", 5);
    expect_stored(BYTES("8388608"), "\xf3\x00\x00\x80\x00\x05", 6);
    expect_stored(BYTES("-2147483648"), "\xf3\x00\x00\x00\x80\x05", 6);
    expect_stored(BYTES("2147483648"), "\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09", 10);
    expect_stored(BYTES("-9223372036854775808"), "\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09", 10);
    expect_stored(BYTES(""), "\x80\x01", 2);
    expect_stored(BYTES("ab"),
                  "\x82"
                  "ab\x03",
                  4);
    expect_stored(BYTES("01"),
                  "\x82"
                  "01\x03",
                  4);
    expect_stored(BYTES("-0"), "\x82-0\x03", 4);
}

Test(listpack, long_texts_have_long_headers_and_lengths) {
    static const struct {
        size_t length, head, back;
    } rows[] = {{63, 1, 1},   {64, 2, 1},    {125, 2, 1},   {126, 2, 2},     {4095, 2, 2},
                {4096, 5, 2}, {16377, 5, 2}, {16378, 5, 3}, {2097145, 5, 3}, {2097146, 5, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = rows[i].length;
        char *text = malloc(n), *lp = malloc(n + 64);
        memset(text, 'x', n);
        struct listpack_new item = listpack_new(bytes_make(text, n));
        cr_assert_eq(item.bytes, rows[i].head + n + rows[i].back, "of %zu", n);
        listpack_init(lp);
        char *end = listpack_put(lp + LISTPACK_HEADER_BYTES, &item);
        *end = (char)0xFF;
        size_t bytes = (size_t)(end + 1 - lp);
        listpack_changed(lp, bytes, 1);
        cr_assert(listpack_is_sound(bytes_make(lp, bytes)));
        cr_assert_eq(listpack_last(lp), LISTPACK_HEADER_BYTES);
        cr_assert_eq(listpack_get(lp, listpack_last(lp)).length, n);
        lp[bytes - 2] ^= 1;
        cr_assert_not(listpack_is_sound(bytes_make(lp, bytes)));
        free(text);
        free(lp);
    }
}

Test(listpack, what_is_cut_or_changed_is_not_sound_or_is_read_within_its_bytes) {
    char lp[256];
    listpack_init(lp);
    static const char *const texts[] = {"one", "-5", "70000",
                                        "a longer text of some fifty bytes, and then some more!",
                                        "123456789012"};
    size_t bytes = LISTPACK_EMPTY_BYTES;
    for (size_t i = 0; i < 5; i++) {
        struct listpack_new item = listpack_new(bytes_of_text(texts[i]));
        *listpack_put(lp + bytes - 1, &item) = (char)0xFF;
        bytes += item.bytes;
        listpack_changed(lp, bytes, 1);
    }
    cr_assert(listpack_is_sound(bytes_make(lp, bytes)));
    for (size_t n = 0; n < bytes; n++) {
        cr_assert_not(listpack_is_sound(bytes_make(lp, n)));
    }
    for (size_t at = 0; at < bytes; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            char *copy = malloc(bytes); /* a sanitizer sees each byte too far */
            memcpy(copy, lp, bytes);
            copy[at] ^= (char)(1u << bit);
            if (listpack_is_sound(bytes_make(copy, bytes))) {
                for (size_t i = listpack_first(copy); i != 0; i = listpack_next(copy, i)) {
                    struct listpack_item item = listpack_get(copy, i);
                    cr_assert(item.text == NULL || item.text + item.length < copy + bytes);
                }
            }
            free(copy);
        }
    }
}

/* ---- Packed ---- */

#define NOW INT64_C(1700000000000)

static struct bytes text_of(uint64_t seed, char *room) {
    static const unsigned lengths[] = {0, 1, 5, 20, 63, 64, 200, 4096};
    if (seed % 3 == 0) {
        return bytes_make(
            room,
            num_format_i64(room, (int64_t)(seed * UINT64_C(0x9E3779B97F4A7C15)) >> (seed % 64)));
    }
    unsigned length = lengths[seed % (seed % 16 == 0 ? 8 : 5)];
    memset(room, 'a' + (int)(seed % 26), length);
    return bytes_make(room, length);
}

Test(packed, random_changes_are_those_of_an_array) {
    struct shard_heap *heap = shard_heap_new();
    static const struct hash_secret secret;
    struct keyspace *ks = keyspace_new(
        &(struct keyspace_options){.databases = 1, .secret = &secret, .heap = heap, .now_ms = NOW});
    struct key key = key_make(&secret, BYTES("a list"));
    uint64_t model[400];
    uint32_t count = 0;
    struct rng rng;
    rng_seed(&rng, 7);
    for (int step = 0; step < 30000; step++) {
        struct entry *entry = keyspace_find(ks, 0, &key, NOW, LOOKUP_WRITE);
        cr_assert_eq(entry != NULL, count > 0);
        struct change change;
        change_open(&change, ks, 0, &key, entry, NOW);
        if (entry == NULL) {
            packed_make(&change, TYPE_LIST);
        }
        char room[4096], scratch[NUM_I64_BYTES];
        uint64_t seed = rng_next(&rng) >> 32;
        struct listpack_new item = listpack_new(text_of(seed, room));
        bool growing = step / 1000 % 2 == 0;
        unsigned action = (unsigned)(rng_next(&rng) % 4);
        uint32_t where = (uint32_t)(rng_next(&rng) % (count + 1));
        if (count == 0 || (action <= (growing ? 1 : 0) && count < 400)) {
            size_t at = where == count ? 0 : listpack_seek(packed_start(&change.value), where);
            packed_insert(&change, at, &item);
            memmove(model + where + 1, model + where, (count - where) * sizeof model[0]);
            model[where] = seed;
            count++;
        } else if (action == 2) {
            where %= count;
            packed_set(&change, listpack_seek(packed_start(&change.value), (int64_t)where - count),
                       &item);
            model[where] = seed;
        } else {
            where %= count;
            uint32_t n = 1 + (uint32_t)(rng_next(&rng) % 3);
            n = n < count - where ? n : count - where;
            packed_remove(&change, listpack_seek(packed_start(&change.value), where), n);
            memmove(model + where, model + where + n, (count - where - n) * sizeof model[0]);
            count -= n;
        }
        change_close(&change, EVENT_LSET);
        entry = keyspace_find(ks, 0, &key, NOW, LOOKUP_WRITE);
        if (step % 50 != 0 || entry == NULL) {
            continue;
        }
        keyspace_verify(ks);
        struct value value = entry_value_of(entry);
        cr_assert_eq(forms_find(&value_forms, &value)->count(&value), count);
        const char *lp = packed_start(&value);
        size_t at = listpack_first(lp);
        for (uint32_t i = 0; i < count; i++, at = listpack_next(lp, at)) {
            struct listpack_item found = listpack_get(lp, at);
            cr_assert(bytes_equal(listpack_text(&found, scratch), text_of(model[i], room)));
            struct listpack_new same = listpack_new(text_of(model[i], room));
            cr_assert(listpack_equals(lp, at, &same));
            cr_assert_eq(listpack_seek(lp, (int64_t)i - count), at);
        }
        cr_assert_eq(at, 0);
    }
    keyspace_free(ks);
    shard_heap_free(heap);
}
