/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of entries, and what can be read from one without its keyspace.
 *
 * OBJECT ENCODING names must be Valkey's, but they say nothing about us: a "raw" string may be
 * stored inline. So raw is a flag, set where Valkey would have made the value raw: when it is too
 * long to embed, now or when it got its TTL or its name, and by commands that edit in place.
 */
#include "shard/keys/entry.h"

#include "base/check.h"
#include "base/num.h"
#include "shard/memory/heap.h"

static_assert(NUMBER_TEXT_BYTES == NUM_I64_BYTES, "one size for the text of an integer");

/* Asked of a Valkey 9.1.2: key and value together up to 113 bytes are embstr, two less if the key
 * is longer than 31, eight less with a TTL. */
bool entry_too_long_to_embed(size_t key_length, bool has_ttl, size_t value_length) {
    size_t limit = (key_length < 32 ? 113 : 111) - (has_ttl ? 8 : 0);
    return key_length + value_length > limit;
}

static uint16_t inline_length(enum entry_storage storage, size_t value_length) {
    check(storage != STORED_INLINE || value_length <= VALUE_INLINE_MAX);
    return storage == STORED_INLINE ? (uint16_t)value_length : 0;
}

struct entry *entry_new(struct shard_heap *heap, struct bytes name, bool has_ttl,
                        enum entry_storage storage, size_t value_length) {
    bool wide = name.len > UINT8_MAX;
    struct entry *entry =
        heap_alloc(heap, entry_bytes_for(name.len, has_ttl, storage, value_length));
    entry->type = TYPE_STRING;
    entry->storage = storage;
    entry->lru = 0;
    entry->flags = (uint8_t)((wide ? ENTRY_WIDE : 0) | (has_ttl ? ENTRY_HAS_TTL : 0));
    entry->key_bytes = wide ? 0 : (uint8_t)name.len;
    entry->value_bytes = inline_length(storage, value_length);
    if (wide) {
        uint64_t length = name.len;
        memcpy(entry->body, &length, sizeof(length));
    }
    memcpy(entry->body + entry_key_offset(entry), name.ptr, name.len);
    return entry;
}

struct entry *entry_reshape(struct shard_heap *heap, struct entry *entry, bool has_ttl,
                            enum entry_storage storage, size_t value_length) {
    size_t key_length = entry_key_length(entry);
    size_t old_bytes = entry_bytes(entry);
    size_t new_bytes = entry_bytes_for(key_length, has_ttl, storage, value_length);
    size_t old_room = entry_value_room((enum entry_storage)entry->storage, entry->value_bytes);
    size_t new_room = entry_value_room(storage, value_length);
    size_t move = key_length + (old_room < new_room ? old_room : new_room);
    bool had_ttl = entry->flags & ENTRY_HAS_TTL;
    size_t old_offset = entry_key_offset(entry);

    if (had_ttl && !has_ttl) {
        /* Close the gap first: the block may shrink. */
        memmove(entry->body + old_offset - 8, entry->body + old_offset, move);
    }
    entry = heap_resize(heap, entry, old_bytes, new_bytes);
    if (!had_ttl && has_ttl) {
        memmove(entry->body + old_offset + 8, entry->body + old_offset, move);
    }
    entry->flags = (uint8_t)((entry->flags & ~ENTRY_HAS_TTL) | (has_ttl ? ENTRY_HAS_TTL : 0));
    entry->storage = storage;
    entry->value_bytes = inline_length(storage, value_length);
    return entry;
}

size_t entry_value_memory(const struct entry *entry) {
    return entry->storage == STORED_BLOB ? blob_bytes(entry_blob(entry)) : 0;
}

/* ---- What an entry says ---- */

enum value_type entry_type(const struct entry *entry) {
    return (enum value_type)entry->type;
}

struct bytes entry_key(const struct entry *entry) {
    return entry_key_bytes(entry);
}

int64_t entry_expires_at(const struct entry *entry) {
    return entry_deadline(entry);
}

const char *entry_encoding_name(const struct entry *entry) {
    static const char *const names[] = {
        [STRING_INT] = "int",
        [STRING_EMBSTR] = "embstr",
        [STRING_RAW] = "raw",
    };
    return names[string_encoding(entry)];
}

/* ---- Strings ---- */

enum string_encoding string_encoding(const struct entry *entry) {
    check(entry->type == TYPE_STRING);
    if (entry->storage == STORED_INT) {
        return STRING_INT;
    }
    return entry->flags & ENTRY_RAW ? STRING_RAW : STRING_EMBSTR;
}

struct bytes string_bytes(const struct entry *entry, char *scratch) {
    check(entry->type == TYPE_STRING);
    switch ((enum entry_storage)entry->storage) {
    case STORED_INLINE:
        return bytes_make(entry_value(entry), entry->value_bytes);
    case STORED_INT:
        return bytes_make(scratch, num_format_i64(scratch, entry_int(entry)));
    case STORED_BLOB:
        return bytes_make(entry_blob(entry)->data, entry_blob(entry)->length);
    }
    __builtin_unreachable();
}

size_t string_length(const struct entry *entry) {
    char scratch[NUMBER_TEXT_BYTES];
    return string_bytes(entry, scratch).len;
}

bool string_to_int(const struct entry *entry, int64_t *ret_value) {
    check(entry->type == TYPE_STRING);
    if (entry->storage == STORED_INT) {
        *ret_value = entry_int(entry);
        return true;
    }
    return num_parse_i64(string_bytes(entry, NULL), ret_value);
}

void *string_pin(struct entry *entry, struct bytes *ret_bytes) {
    if (entry->type != TYPE_STRING || entry->storage != STORED_BLOB) {
        return NULL;
    }
    struct blob *blob = entry_blob(entry);
    blob_ref(blob);
    *ret_bytes = bytes_make(blob->data, blob->length);
    return blob;
}

void string_unpin(void *pin) {
    blob_unref(pin);
}
