/* SPDX-License-Identifier: BSD-3-Clause */
/* entry: a key and its value in one packed block.
 *
 * Private to shard/: everybody else sees entries through shard/keys/keyspace.h.
 *
 *     0     4       5         6           8
 *     meta  flags   key len   value len   [key len, 8]  [deadline, 8]  key  value
 *                                          if wide       if it has a TTL
 *
 * A key of 16 bytes and a value of 64 take 88 bytes, or 96 with a TTL. The value is bytes, 8 bytes
 * of a native integer, or the address of a root (types/value.h). Nothing behind the deadline is
 * aligned.
 *
 * Thread: owner shard only.
 */
#ifndef SHOAL_SHARD_KEYS_ENTRY_H
#define SHOAL_SHARD_KEYS_ENTRY_H

#include "base/bytes.h"
#include "base/check.h"
#include "shard/keys/keyspace.h"
#include "shard/memory/heap.h"
#include "shard/types/value.h"

#include <assert.h>

/* A longer one has a root. So only a long key makes an entry more than a slab's block. */
#define VALUE_INLINE_MAX 3800

enum entry_flags {
    ENTRY_WIDE = 1 << 0, /* the key is longer than a byte can say */
    ENTRY_HAS_TTL = 1 << 1,
    ENTRY_RAW = 1 << 2, /* a string that Valkey would have as "raw" */
    ENTRY_REFERENCED =
        1 << 3, /* the timing wheel has a reference to it, not later than its deadline */
    ENTRY_SWEPT =
        1 << 4, /* equal to the database's parity: seen in this or the last sweep of the wheel */
    ENTRY_VOLATILE = 1 << 5, /* elements of its value have deadlines */
};

struct entry {
    uint32_t type : 4;
    uint32_t form : 4;
    uint32_t lru : 24; /* seconds, or for LFU minutes << 8 | counter */
    uint8_t flags;
    uint8_t key_bytes;    /* 0 if wide */
    uint16_t value_bytes; /* of an inline value, else 0 */
    char body[];
};
static_assert(sizeof(struct entry) == 8, "one word of header");
static_assert(sizeof(struct entry) + 8 + UINT8_MAX + VALUE_INLINE_MAX <= HEAP_SLAB_BLOCK_MAX,
              "only wide entries outgrow slabs");

static inline size_t entry_deadline_offset(const struct entry *entry) {
    return entry->flags & ENTRY_WIDE ? 8 : 0;
}

static inline size_t entry_key_offset(const struct entry *entry) {
    return entry_deadline_offset(entry) + (entry->flags & ENTRY_HAS_TTL ? 8 : 0);
}

static inline size_t entry_key_length(const struct entry *entry) {
    if (entry->flags & ENTRY_WIDE) {
        uint64_t length;
        memcpy(&length, entry->body, sizeof(length));
        return length;
    }
    return entry->key_bytes;
}

static inline struct bytes entry_key_bytes(const struct entry *entry) {
    return bytes_make(entry->body + entry_key_offset(entry), entry_key_length(entry));
}

static inline __attribute__((always_inline)) bool entry_is_named(const struct entry *entry,
                                                                 struct bytes name) {
    return bytes_equal_brief(entry_key_bytes(entry), name);
}

static inline int64_t entry_deadline(const struct entry *entry) {
    if (!(entry->flags & ENTRY_HAS_TTL)) {
        return NO_EXPIRY;
    }
    int64_t deadline;
    memcpy(&deadline, entry->body + entry_deadline_offset(entry), sizeof(deadline));
    return deadline;
}

static inline void entry_put_deadline(struct entry *entry, int64_t deadline) {
    memcpy(entry->body + entry_deadline_offset(entry), &deadline, sizeof(deadline));
}

/* A key lives through the millisecond of its deadline, as in Valkey. */
static inline bool entry_is_dead(const struct entry *entry, int64_t now_ms) {
    return entry->flags & ENTRY_HAS_TTL && now_ms > entry_deadline(entry);
}

static inline char *entry_value(const struct entry *entry) {
    return (char *)(uintptr_t)entry->body + entry_key_offset(entry) + entry_key_length(entry);
}

static inline size_t entry_value_room(enum value_form form, size_t value_length) {
    return form_is_inline(form) ? value_length : 8;
}

/* Bytes of the block of an entry like this. */
static inline size_t entry_bytes_for(size_t key_length, bool has_ttl, enum value_form form,
                                     size_t value_length) {
    return sizeof(struct entry) + (key_length > UINT8_MAX ? 8 : 0) + (has_ttl ? 8 : 0) +
           key_length + entry_value_room(form, value_length);
}

static inline size_t entry_bytes(const struct entry *entry) {
    return entry_bytes_for(entry_key_length(entry), entry->flags & ENTRY_HAS_TTL,
                           (enum value_form)entry->form, entry->value_bytes);
}

static inline int64_t entry_int(const struct entry *entry) {
    int64_t value;
    memcpy(&value, entry_value(entry), sizeof(value));
    return value;
}

static inline void entry_put_int(struct entry *entry, int64_t value) {
    memcpy(entry_value(entry), &value, sizeof(value));
}

/* Of a value outside of its entry. */
static inline void *entry_root(const struct entry *entry) {
    void *root;
    memcpy(&root, entry_value(entry), sizeof(root));
    return root;
}

static inline void entry_put_root(struct entry *entry, void *root) {
    memcpy(entry_value(entry), &root, sizeof(root));
}

static inline bool entry_is_rooted(const struct entry *entry) {
    return entry->form > FORM_INT;
}

/* Where its value is. */
static inline __attribute__((always_inline)) struct value entry_get(const struct entry *entry) {
    struct value value = {
        .type = entry->type,
        .form = entry->form,
        .raw = entry->flags & ENTRY_RAW,
    };
    if (form_is_inline((enum value_form)entry->form)) {
        value.bytes = bytes_make(entry_value(entry), entry->value_bytes);
    } else if (entry->form == FORM_INT) {
        value.number = entry_int(entry);
    } else {
        value.root = entry_root(entry);
    }
    return value;
}

/* The earliest deadline of its elements. */
static inline int64_t entry_elements_due(const struct forms *forms, const struct entry *entry) {
    if (LIKELY(!(entry->flags & ENTRY_VOLATILE))) {
        return NO_EXPIRY;
    }
    struct value value = entry_get(entry);
    return value_elements_due(forms, &value);
}

/* A string entry with its header and key written; LRU, deadline and value are still to come. */
struct entry *entry_new(struct shard_heap *heap, struct bytes name, bool has_ttl,
                        enum value_form form, size_t value_length);
/* Gives the block another shape; header, key and deadline (if both have one) are kept, of the value
 * as many bytes as fit in both. */
struct entry *entry_reshape(struct shard_heap *heap, struct entry *entry, bool has_ttl,
                            enum value_form form, size_t value_length);

#endif
