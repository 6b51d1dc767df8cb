/* SPDX-License-Identifier: BSD-3-Clause */
#include "persist/codec/value_read.h"

#include "persist/codec/rdb.h"
#include "persist/codec/rdb_write.h"
#include "shard/memory/heap.h"
#include "shard/types/hash.h"

#include <criterion/criterion.h>

#define FIRST INT64_C(1800000000000)
/* The last that Redis has room for. */
#define LAST ((INT64_C(1) << 48) - 1)

static const struct hash_secret secret = {{1, 2, 3}};
static const struct value_rules rules = {
    .list = {-2, 0, 0}, .set = {16, 8, 16}, .zset = {8, 16}, .hash = {8, 16}};

static struct shard_heap *heap;
static struct keyspace *ks;
static struct text body; /* what is read */
static struct text pack;
static struct value_read reader;
static const char *error;

static void setup(void) {
    heap = shard_heap_new();
    ks = keyspace_new(&(struct keyspace_options){.databases = 1, .secret = &secret, .heap = heap});
    text_init(&body);
    text_init(&pack);
}

static void teardown(void) {
    text_fini(&body);
    text_fini(&pack);
    keyspace_free(ks);
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

TestSuite(value_read, .init = setup, .fini = teardown);

/* As of a file or dump of that version; the bytes arrive one by one. */
static enum value_read_result reads(uint8_t type, unsigned version, int64_t alive_ms) {
    struct value_read_options options = {&rules, version, alive_ms};
    enum value_read_result got;
    const char *at = body.ptr;
    size_t bytes = 0;
    value_read_init(&reader, ks, &options, type);
    do {
        struct rdb_input in = {at, body.ptr + bytes, NULL};
        got = value_read_some(&reader, &in);
        at = in.at;
        error = in.error;
    } while (got == VALUE_MORE && bytes++ < body.len);
    return got;
}

static void leave(void) {
    value_read_fini(&reader);
    text_clear(&body);
    text_clear(&pack);
}

static void put(const char *text) {
    rdb_put_text(&body, bytes_of_text(text), false);
}

/* A field of RDB_HASH_DEADLINES. */
static void put_field(uint64_t distance, const char *name, const char *value) {
    rdb_put_length(&body, distance);
    put(name);
    put(value);
}

static void pack_text(const char *text) {
    struct listpack_new item = listpack_new(bytes_of_text(text));
    value_build_pack(&pack, &item);
}

static void pack_field(const char *name, const char *value, int64_t deadline) {
    pack_text(name);
    pack_text(value);
    struct listpack_new item = listpack_new_int(deadline);
    value_build_pack(&pack, &item);
}

static void put_pack(void) {
    rdb_put_u64(&body, (uint64_t)FIRST);
    rdb_put_text(&body, text_bytes(&pack), false);
}

static bool has(const struct value *value, const char *name, const char *is, int64_t deadline) {
    struct hash_look look = hash_look(*value, INT64_MIN);
    struct hash_found found;
    return hash_find(&look, bytes_of_text(name), &found) &&
           bytes_equal(found.value, bytes_of_text(is)) && found.deadline == deadline;
}

static void begin_distances(uint64_t from, uint64_t count) {
    rdb_put_u64(&body, from);
    rdb_put_length(&body, count);
}

static void is_refused(uint8_t type, const char *said) {
    cr_assert_eq(reads(type, RDB_VERSION_REDIS, INT64_MIN), VALUE_BAD);
    cr_assert_str_eq(error, said);
    struct text out;
    text_init(&out);
    cr_assert(!value_read_is_unknown(&reader, BYTES("k"), &out));
    text_fini(&out);
    leave();
}

Test(value_read, takes_deadlines_that_are_told_by_their_distance) {
    begin_distances((uint64_t)FIRST, 4);
    put_field(1, "first", "1");
    put_field(0, "never", "x");
    put_field(5001, "later", "y");
    put_field((uint64_t)(LAST - FIRST) + 1, "last", "z");
    cr_assert_eq(reads(RDB_HASH_DEADLINES, RDB_VERSION_REDIS, INT64_MIN), VALUE_WHOLE);
    struct value value = value_build_take(&reader.build);
    cr_expect_eq(hash_count(&value), 4);
    cr_expect(has(&value, "first", "1", FIRST));
    cr_expect(has(&value, "never", "x", NO_EXPIRY));
    cr_expect(has(&value, "later", "y", FIRST + 5000));
    cr_expect(has(&value, "last", "z", LAST));
    value_free(&value_forms, heap, &value);
    leave();
}

Test(value_read, takes_deadlines_out_of_a_listpack) {
    pack_field("f", "v", FIRST);
    pack_field("7", "8", LAST);
    pack_field("never", "x", 0);
    put_pack();
    cr_assert_eq(reads(RDB_HASH_LISTPACK_DEADLINES, RDB_VERSION_REDIS, INT64_MIN), VALUE_WHOLE);
    struct value value = value_build_take(&reader.build);
    cr_expect_eq(hash_count(&value), 3);
    cr_expect(has(&value, "f", "v", FIRST));
    cr_expect(has(&value, "7", "8", LAST));
    cr_expect(has(&value, "never", "x", NO_EXPIRY));
    value_free(&value_forms, heap, &value);
    leave();
}

Test(value_read, leaves_out_fields_that_were_over) {
    begin_distances((uint64_t)FIRST, 3);
    put_field(1, "over", "1");
    put_field(2, "now", "2");
    put_field(0, "never", "3");
    cr_assert_eq(reads(RDB_HASH_DEADLINES, RDB_VERSION_REDIS, FIRST + 1), VALUE_WHOLE);
    struct value value = value_build_take(&reader.build);
    cr_expect_eq(hash_count(&value), 2);
    cr_expect(has(&value, "now", "2", FIRST + 1) && has(&value, "never", "3", NO_EXPIRY));
    value_free(&value_forms, heap, &value);
    leave();

    pack_field("over", "1", FIRST);
    pack_field("now", "2", FIRST + 1);
    put_pack();
    cr_assert_eq(reads(RDB_HASH_LISTPACK_DEADLINES, RDB_VERSION_REDIS, FIRST + 1), VALUE_WHOLE);
    value = value_build_take(&reader.build);
    cr_expect_eq(hash_count(&value), 1);
    cr_expect(has(&value, "now", "2", FIRST + 1));
    value_free(&value_forms, heap, &value);
    leave();

    begin_distances((uint64_t)FIRST, 1);
    put_field(1, "over", "1");
    cr_expect_eq(reads(RDB_HASH_DEADLINES, RDB_VERSION_REDIS, LAST), VALUE_EMPTY);
    leave();
    pack_field("over", "1", FIRST);
    put_pack();
    cr_expect_eq(reads(RDB_HASH_LISTPACK_DEADLINES, RDB_VERSION_REDIS, LAST), VALUE_EMPTY);
    leave();
}

Test(value_read, refuses_distances_that_make_no_deadline) {
    static const uint64_t from[] = {(uint64_t)FIRST, (uint64_t)FIRST, (uint64_t)LAST + 1, 5,
                                    UINT64_MAX};
    static const uint64_t distance[] = {(uint64_t)(LAST - FIRST) + 2, UINT64_MAX, 1,
                                        UINT64_C(1) << 63, 2};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        begin_distances(from[i], 1);
        put_field(distance[i], "f", "v");
        is_refused(RDB_HASH_DEADLINES, "a field's deadline that is none");
    }
    /* What nothing is counted from may be anything: Redis says so if no field has one. */
    begin_distances((uint64_t)LAST + 1, 1);
    put_field(0, "f", "v");
    cr_expect_eq(reads(RDB_HASH_DEADLINES, RDB_VERSION_REDIS, INT64_MIN), VALUE_WHOLE);
    leave();
}

Test(value_read, refuses_listpacks_without_fields_values_and_deadlines) {
    pack_field("f", "v", LAST + 1);
    put_pack();
    is_refused(RDB_HASH_LISTPACK_DEADLINES, "a field's deadline that is none");
    pack_field("f", "v", -1);
    put_pack();
    is_refused(RDB_HASH_LISTPACK_DEADLINES, "a field's deadline that is none");
    pack_text("f"), pack_text("v"), pack_text("soon");
    put_pack();
    is_refused(RDB_HASH_LISTPACK_DEADLINES, "a field's deadline that is none");
    pack_field("f", "v", FIRST);
    pack_text("g"), pack_text("v");
    put_pack();
    is_refused(RDB_HASH_LISTPACK_DEADLINES, "a field without a value or deadline");
    pack_text("f");
    put_pack();
    is_refused(RDB_HASH_LISTPACK_DEADLINES, "a field without a value or deadline");
    pack_field("f", "v", FIRST);
    pack.ptr[pack.len - 1] = 0;
    put_pack();
    is_refused(RDB_HASH_LISTPACK_DEADLINES, "a row of bytes that is broken");
}

Test(value_read, refuses_a_field_that_is_there_twice) {
    static const char twice[] = "an element is there twice";
    for (uint64_t distance = 0; distance < 2; distance++) {
        begin_distances((uint64_t)FIRST, 2);
        put_field(distance, "f", "1");
        put_field(0, "f", "2");
        is_refused(RDB_HASH_DEADLINES, twice);
        pack_field("f", "1", distance > 0 ? FIRST : 0);
        pack_field("f", "2", 0);
        put_pack();
        is_refused(RDB_HASH_LISTPACK_DEADLINES, twice);
    }
}

Test(value_read, asks_for_more_as_long_as_fields_are_missing) {
    begin_distances((uint64_t)FIRST, UINT64_C(1) << 60); /* and takes no memory for them */
    put_field(1, "f", "v");
    cr_expect_eq(reads(RDB_HASH_DEADLINES, RDB_VERSION_REDIS, INT64_MIN), VALUE_MORE);
    leave();
}

static void is_unknown(uint8_t type, unsigned version, const char *said) {
    struct text out;
    text_init(&out);
    cr_assert_eq(reads(type, version, INT64_MIN), VALUE_BAD);
    cr_assert_str_eq(error, "a type of value that is not known");
    cr_assert(value_read_is_unknown(&reader, BYTES("k\n\""), &out));
    cr_assert_str_eq(out.ptr, said);
    text_fini(&out);
    leave();
}

Test(value_read, knows_by_the_version_whose_type_it_is) {
    is_unknown(RDB_HASH_2, RDB_VERSION_REDIS,
               "a type of value that is not known: the key \"k\\n\\\"\" is of type 22");
    is_unknown(RDB_HASH_DEADLINES, RDB_VERSION_VALKEY,
               "a type of value that is not known: the key \"k\\n\\\"\" is of type 24");
    is_unknown(RDB_HASH_LISTPACK_DEADLINES, RDB_VERSION_SHARED,
               "a type of value that is not known: the key \"k\\n\\\"\" is of type 25");
    is_unknown(26, RDB_VERSION_REDIS,
               "a type of value that is not known: the key \"k\\n\\\"\" is of type 26");
    is_unknown(200, RDB_VERSION_VALKEY,
               "a type of value that is not known: the key \"k\\n\\\"\" is of type 200");
}

Test(value_read, says_what_type_of_a_module_it_is) {
    /* "ReJSON-RL", encoding version 3. */
    rdb_put_length(&body, UINT64_C(0x45e25238df912c03));
    cr_assert_eq(reads(RDB_MODULE_2, RDB_VERSION_REDIS, INT64_MIN), VALUE_BAD);
    struct text out;
    text_init(&out);
    value_read_is_unknown(&reader, BYTES("k"), &out);
    cr_expect_str_eq(out.ptr, "a type of value that is not known: the key \"k\" is of type 7, of "
                              "the module's type ReJSON-RL");
    text_fini(&out);
    leave();
    cr_expect_eq(reads(RDB_MODULE_2, RDB_VERSION_REDIS, INT64_MIN), VALUE_MORE);
    leave();
}
