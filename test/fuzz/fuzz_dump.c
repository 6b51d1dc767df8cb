/* SPDX-License-Identifier: BSD-3-Clause */
/* Foreign bytes as the dump of a value, without its footer: the first is the type. What is read is
 * the same however the bytes arrive; what makes sense is written and read once more, and is sound;
 * and nothing is left when it goes. */
#include "base/check.h"
#include "persist/codec/value_read.h"
#include "persist/codec/value_write.h"
#include "shard/memory/heap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct value_rules rules = {
    .list = {-2, 0, 0},
    .set = {16, 8, 16},
    .zset = {8, 16},
    .hash = {8, 16},
};

/* `piece`: so many bytes more arrive at a time. */
static enum value_read_result read_value(struct keyspace *ks, struct bytes bytes, size_t piece,
                                         struct value_read *read) {
    uint8_t type = (uint8_t)bytes.ptr[0];
    bool redis = type == RDB_HASH_DEADLINES || type == RDB_HASH_LISTPACK_DEADLINES;
    struct value_read_options options = {&rules, redis ? RDB_VERSION_REDIS : RDB_VERSION_VALKEY,
                                         INT64_MIN};
    struct rdb_input in = rdb_input(bytes_make(bytes.ptr + 1, 0));
    const char *end = bytes.ptr + bytes.len;
    value_read_init(read, ks, &options, type);
    enum value_read_result result;
    while ((result = value_read_some(read, &in)) == VALUE_MORE && in.end < end) {
        size_t left = (size_t)(end - in.end);
        in.end += piece < left ? piece : left;
    }
    check((result == VALUE_BAD) == (in.error != NULL));
    struct text why;
    text_init(&why);
    check(value_read_is_unknown(read, bytes, &why) == (why.len > 0));
    text_fini(&why);
    return result;
}

static void verify(const struct value *value) {
    const struct form *form = forms_find(&value_forms, value);
    form->verify(value);
}

static void write_again(struct keyspace *ks, const struct value *value) {
    struct text dump;
    text_init(&dump);
    value_write_dump(value, RDB_VERSION_VALKEY, true, &dump);
    struct bytes body;
    unsigned version;
    check(rdb_get_footer(text_bytes(&dump), true, &body, &version));
    check(version == RDB_VERSION_VALKEY);
    struct value_read again;
    check(read_value(ks, body, SIZE_MAX, &again) == VALUE_WHOLE);
    struct value other = value_build_take(&again.build);
    verify(&other);
    const struct form *form = forms_find(&value_forms, value);
    check(other.type == value->type &&
          form->count(value) == forms_find(&value_forms, &other)->count(&other));
    value_free(&value_forms, keyspace_heap(ks), &other);
    value_read_fini(&again);
    text_fini(&dump);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct hash_secret secret = {{1, 2, 3}};
    if (size == 0) {
        return 0;
    }
    struct shard_heap *heap = shard_heap_new();
    struct keyspace_options options = {.databases = 1, .secret = &secret, .heap = heap};
    struct keyspace *ks = keyspace_new(&options);
    size_t used = heap_used(heap);
    struct bytes bytes = bytes_make((const char *)data, size);
    struct value_read whole, pieces;
    enum value_read_result result = read_value(ks, bytes, SIZE_MAX, &whole);
    check(result == read_value(ks, bytes, 7, &pieces));
    value_read_fini(&pieces);
    if (result == VALUE_WHOLE) {
        struct value value = value_build_take(&whole.build);
        verify(&value);
        write_again(ks, &value);
        value_free(&value_forms, heap, &value);
    }
    value_read_fini(&whole);
    check(heap_used(heap) == used);
    keyspace_free(ks);
    shard_heap_free(heap);
    return 0;
}
