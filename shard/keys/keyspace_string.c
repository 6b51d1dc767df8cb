/* SPDX-License-Identifier: BSD-3-Clause */
/* String values: setting them whole, and editing them in place.
 *
 * A SET of a key that is there mostly finds a block of the right size: then nothing is allocated
 * and no table is touched. What the value is stored as is decided anew by every SET; edits keep it
 * a blob once it is one.
 */
#include "shard/keys/keyspace_private.h"

#include "base/num.h"

/* A string that is being appended to moves to a blob, which can have room to spare, from this
 * length on. */
#define GROWING_INLINE_MAX 512
/* Spare room doubles a string up to this, and is this much from then on. */
#define GROWING_SPARE_MAX (1u << 20)

/* ---- SET ---- */

/* What a new value is to become. */
struct setting {
    struct bytes text; /* unless it is an integer */
    int64_t number;
    enum entry_storage storage;
    struct blob *blob; /* a blob to take over, or NULL: the text is copied into one */
    int64_t expires_at;
};

/* The old value's blob, if it is free to be used for the new one and of a fitting size. */
static struct blob *reusable_blob(const struct entry *old, size_t length) {
    if (!old || old->storage != STORED_BLOB) {
        return NULL;
    }
    struct blob *blob = entry_blob(old);
    bool fits = blob->capacity >= length && blob->capacity / 2 <= length;
    return fits && blob_unshared(blob) ? blob : NULL;
}

static void put_value(struct keyspace *ks, struct entry *entry, const struct setting *setting,
                      struct blob *blob) {
    switch (setting->storage) {
    case STORED_INT:
        entry_put_int(entry, setting->number);
        break;
    case STORED_INLINE:
        memcpy(entry_value(entry), setting->text.ptr, setting->text.len);
        break;
    case STORED_BLOB:
        if (setting->blob) {
            heap_adopt(ks->heap, blob_bytes(setting->blob));
            entry_put_blob(entry, setting->blob);
            break;
        }
        if (!blob) {
            blob = blob_new(ks->heap, setting->text.len, setting->text.len);
            heap_adopt(ks->heap, blob_bytes(blob));
        }
        blob->length = setting->text.len;
        memcpy(blob->data, setting->text.ptr, setting->text.len);
        entry_put_blob(entry, blob);
        break;
    }
}

/* Gives the old entry, which is a string, the shape for the new value; nothing happens if it has
 * it. */
static struct entry *reshape_for(struct keyspace *ks, struct database *database,
                                 const struct key *key, struct entry *old,
                                 const struct setting *setting, struct blob *keep) {
    if (old->storage == STORED_BLOB && entry_blob(old) != keep) {
        value_free(ks, entry_blob(old));
    }
    bool has_ttl = setting->expires_at != NO_EXPIRY;
    if (old->storage == setting->storage && has_ttl == !!(old->flags & ENTRY_HAS_TTL) &&
        (old->storage != STORED_INLINE || old->value_bytes == setting->text.len)) {
        return old;
    }
    struct entry *entry =
        entry_reshape(ks->heap, old, has_ttl, setting->storage, setting->text.len);
    database_moved(database, key, old, entry);
    return entry;
}

static struct entry *create_for(struct keyspace *ks, struct database *database,
                                const struct key *key, const struct setting *setting) {
    struct entry *entry = entry_new(ks->heap, key->name, setting->expires_at != NO_EXPIRY,
                                    setting->storage, setting->text.len);
    database_link(ks, database, key, entry);
    return entry;
}

/* Anything but a string is deleted first: only its deadline and its clock go over to the new value.
 */
static struct entry *set_value(struct keyspace *ks, uint32_t db, const struct key *key,
                               struct setting setting, int64_t now_ms) {
    struct database *database = keyspace_database(ks, db);
    struct entry *old = keyspace_find_old(ks, db, key, now_ms);
    hook_pre_write(ks, db, key, old);

    int64_t old_deadline = old ? entry_deadline(old) : NO_EXPIRY;
    if (setting.expires_at == KEEP_TTL) {
        setting.expires_at = old_deadline;
    }
    bool existed = old != NULL;
    uint32_t lru = old ? old->lru : lru_fresh(ks, now_ms);
    if (old && old->type != TYPE_STRING) {
        database_delete(ks, database, key, old);
        old = NULL;
        old_deadline = NO_EXPIRY;
    }
    struct slot *slot = &database->slots[key->slot];
    struct books books = books_open(ks);
    bool copied = setting.storage == STORED_BLOB && setting.blob == NULL;
    struct blob *keep = copied ? reusable_blob(old, setting.text.len) : NULL;
    struct entry *entry = old ? reshape_for(ks, database, key, old, &setting, keep)
                              : create_for(ks, database, key, &setting);
    put_value(ks, entry, &setting, keep);
    books_close(ks, slot, books);

    entry->lru = lru & 0xFFFFFF;
    if (existed) {
        lru_touch(ks, entry, now_ms);
    }
    /* Valkey makes the new value with room for the old deadline, so that one counts here too. */
    bool has_ttl = setting.expires_at != NO_EXPIRY;
    bool raw = setting.storage != STORED_INT &&
               entry_too_long_to_embed(key->name.len, has_ttl || old_deadline != NO_EXPIRY,
                                       setting.text.len);
    entry->flags = (uint8_t)((entry->flags & ~ENTRY_RAW) | (raw ? ENTRY_RAW : 0));
    if (has_ttl) {
        entry_put_deadline(entry, setting.expires_at);
    }
    if (has_ttl || old_deadline != NO_EXPIRY) {
        ks->now_ms = now_ms;
        database_deadline_changed(ks, database, key, entry, old_deadline, setting.expires_at);
    }
    keyspace_touch(ks, db, key);
    return entry;
}

struct entry *keyspace_set_text(struct keyspace *ks, uint32_t db, const struct key *key,
                                struct bytes value, int64_t expires_at, int64_t now_ms) {
    struct setting setting = {
        .text = value,
        .storage = value.len <= VALUE_INLINE_MAX ? STORED_INLINE : STORED_BLOB,
        .expires_at = expires_at,
    };
    return set_value(ks, db, key, setting, now_ms);
}

struct entry *keyspace_set_blob(struct keyspace *ks, uint32_t db, const struct key *key,
                                struct blob *value, int64_t expires_at, int64_t now_ms) {
    static_assert(BLOB_VALUE_MIN > VALUE_INLINE_MAX, "neither inline nor a number");
    check(value->length >= BLOB_VALUE_MIN);
    struct setting setting = {
        .text = bytes_make(value->data, value->length),
        .storage = STORED_BLOB,
        .blob = value,
        .expires_at = expires_at,
    };
    return set_value(ks, db, key, setting, now_ms);
}

struct entry *keyspace_set_int(struct keyspace *ks, uint32_t db, const struct key *key,
                               int64_t value, int64_t expires_at, int64_t now_ms) {
    struct setting setting = {.number = value, .storage = STORED_INT, .expires_at = expires_at};
    return set_value(ks, db, key, setting, now_ms);
}

struct entry *keyspace_replace_int(struct keyspace *ks, uint32_t db, const struct key *key,
                                   struct entry *entry, int64_t value, int64_t now_ms) {
    if (entry->storage != STORED_INT) {
        return keyspace_set_int(ks, db, key, value, KEEP_TTL, now_ms);
    }
    hook_pre_write(ks, db, key, entry);
    entry_put_int(entry, value);
    keyspace_touch(ks, db, key);
    return entry;
}

struct entry *keyspace_set_string(struct keyspace *ks, uint32_t db, const struct key *key,
                                  struct bytes value, int64_t expires_at, int64_t now_ms) {
    int64_t number;
    if (value.len <= 20 && num_parse_i64(value, &number)) {
        return keyspace_set_int(ks, db, key, number, expires_at, now_ms);
    }
    return keyspace_set_text(ks, db, key, value, expires_at, now_ms);
}

/* ---- Editing in place ---- */

/* Even what does not say that it is growing (SETRANGE, SETBIT) often is, if it has outgrown a blob
 * before. */
static size_t blob_capacity_for(size_t length, bool growing, bool outgrown) {
    size_t spare = growing ? length : outgrown ? length / 8 : 0;
    return length + (spare < GROWING_SPARE_MAX ? spare : GROWING_SPARE_MAX);
}

/* The blob with room for `length`, and content of its own. The heap's count follows. */
static struct blob *blob_for_edit(struct keyspace *ks, struct blob *blob, size_t length,
                                  bool growing) {
    bool unshared = blob_unshared(blob);
    if (unshared && blob->capacity >= length) {
        return blob;
    }
    heap_disown(ks->heap, blob_bytes(blob));
    size_t capacity = blob_capacity_for(length, growing, length > blob->capacity);
    if (unshared) {
        blob = blob_resize(ks->heap, blob, capacity);
    } else {
        struct blob *copy = blob_new(ks->heap, blob->length, capacity);
        memcpy(copy->data, blob->data, blob->length);
        blob_unref(blob);
        blob = copy;
    }
    heap_adopt(ks->heap, blob_bytes(blob));
    return blob;
}

static char *edit_blob(struct keyspace *ks, struct entry *entry, size_t length, bool growing) {
    struct blob *blob = entry_blob(entry);
    size_t kept = blob->length < length ? blob->length : length;
    if (blob->length > length && !blob_unshared(blob)) {
        struct blob *copy = blob_new(ks->heap, length, length);
        memcpy(copy->data, blob->data, length);
        heap_disown(ks->heap, blob_bytes(blob));
        blob_unref(blob);
        heap_adopt(ks->heap, blob_bytes(copy));
        blob = copy;
    } else {
        blob = blob_for_edit(ks, blob, length, growing);
    }
    memset(blob->data + kept, 0, length - kept);
    blob->length = length;
    entry_put_blob(entry, blob);
    return blob->data;
}

/* An integer becomes its text; the entry may move. */
static struct entry *int_to_text(struct keyspace *ks, struct database *database,
                                 const struct key *key, struct entry *entry) {
    char text[NUMBER_TEXT_BYTES];
    size_t length = num_format_i64(text, entry_int(entry));
    struct entry *moved =
        entry_reshape(ks->heap, entry, entry->flags & ENTRY_HAS_TTL, STORED_INLINE, length);
    database_moved(database, key, entry, moved);
    memcpy(entry_value(moved), text, length);
    return moved;
}

static char *edit_inline(struct keyspace *ks, struct database *database, const struct key *key,
                         struct entry *entry, size_t length, bool growing) {
    bool has_ttl = entry->flags & ENTRY_HAS_TTL;
    size_t kept = entry->value_bytes < length ? entry->value_bytes : length;
    if (length <= (growing ? GROWING_INLINE_MAX : VALUE_INLINE_MAX)) {
        struct entry *moved = entry_reshape(ks->heap, entry, has_ttl, STORED_INLINE, length);
        database_moved(database, key, entry, moved);
        moved->flags |= ENTRY_RAW;
        memset(entry_value(moved) + kept, 0, length - kept);
        return entry_value(moved);
    }
    struct blob *blob = blob_new(ks->heap, length, blob_capacity_for(length, growing, false));
    heap_adopt(ks->heap, blob_bytes(blob));
    memcpy(blob->data, entry_value(entry), kept);
    memset(blob->data + kept, 0, length - kept);
    struct entry *moved = entry_reshape(ks->heap, entry, has_ttl, STORED_BLOB, 0);
    database_moved(database, key, entry, moved);
    moved->flags |= ENTRY_RAW;
    entry_put_blob(moved, blob);
    return blob->data;
}

char *keyspace_edit_string(struct keyspace *ks, uint32_t db, const struct key *key,
                           struct entry *entry, size_t length, bool growing, int64_t now_ms) {
    struct database *database = keyspace_database(ks, db);
    struct slot *slot = &database->slots[key->slot];
    check(entry ? entry->type == TYPE_STRING : !keyspace_find_old(ks, db, key, now_ms));
    hook_pre_write(ks, db, key, entry);
    struct books books = books_open(ks);
    if (!entry) {
        entry = entry_new(ks->heap, key->name, false, STORED_INLINE, 0);
        entry->lru = lru_fresh(ks, now_ms) & 0xFFFFFF;
        database_link(ks, database, key, entry);
    }
    char *bytes;
    if (entry->storage == STORED_BLOB) {
        entry->flags |= ENTRY_RAW;
        bytes = edit_blob(ks, entry, length, growing);
    } else {
        if (entry->storage == STORED_INT) {
            entry = int_to_text(ks, database, key, entry);
        }
        bytes = edit_inline(ks, database, key, entry, length, growing);
    }
    books_close(ks, slot, books);
    return bytes;
}
