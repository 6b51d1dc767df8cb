/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of entries, and what can be read from one without its keyspace. */
#include "shard/keys/entry.h"

#include "base/check.h"
#include "shard/memory/heap.h"

static uint16_t inline_length(enum value_form form, size_t value_length) {
    check(!form_is_inline(form) || value_length <= VALUE_INLINE_MAX);
    return form_is_inline(form) ? (uint16_t)value_length : 0;
}

struct entry *entry_new(struct shard_heap *heap, struct bytes name, bool has_ttl,
                        enum value_form form, size_t value_length) {
    bool wide = name.len > UINT8_MAX;
    struct entry *entry = heap_alloc(heap, entry_bytes_for(name.len, has_ttl, form, value_length));
    entry->type = TYPE_STRING;
    entry->form = form;
    entry->lru = 0;
    entry->flags = (uint8_t)((wide ? ENTRY_WIDE : 0) | (has_ttl ? ENTRY_HAS_TTL : 0));
    entry->key_bytes = wide ? 0 : (uint8_t)name.len;
    entry->value_bytes = inline_length(form, value_length);
    if (wide) {
        uint64_t length = name.len;
        memcpy(entry->body, &length, sizeof(length));
    }
    memcpy(entry->body + entry_key_offset(entry), name.ptr, name.len);
    return entry;
}

struct entry *entry_reshape(struct shard_heap *heap, struct entry *entry, bool has_ttl,
                            enum value_form form, size_t value_length) {
    size_t key_length = entry_key_length(entry);
    size_t old_bytes = entry_bytes(entry);
    size_t new_bytes = entry_bytes_for(key_length, has_ttl, form, value_length);
    size_t old_room = entry_value_room((enum value_form)entry->form, entry->value_bytes);
    size_t new_room = entry_value_room(form, value_length);
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
    entry->form = form;
    entry->value_bytes = inline_length(form, value_length);
    return entry;
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

struct value entry_value_of(const struct entry *entry) {
    return entry_get(entry);
}

const char *entry_encoding_name(const struct entry *entry) {
    struct value value = entry_get(entry);
    return forms_find(&value_forms, &value)->encoding(&value);
}
