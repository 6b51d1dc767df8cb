/* SPDX-License-Identifier: BSD-3-Clause */
/* Values on their way between shards: a command whose keys lie on several of them (RENAME, COPY,
 * LCS ...) runs on copies at one place, and what it changed is put back. A small value is a copy in
 * the block that travels; of a large one only the reference does.
 */
#include "shard/keys/keyspace_private.h"

#include "base/must.h"

#include <stdlib.h>

struct carried {
    enum entry_storage storage;
    bool raw;
    uint32_t lru;
    int64_t expires_at;
    int64_t number;
    struct blob *blob;
    size_t length;
    char text[];
};

struct carried *keyspace_lift(const struct entry *entry) {
    check(entry->type == TYPE_STRING);
    size_t length = entry->storage == STORED_INLINE ? entry->value_bytes : 0;
    struct carried *carried = must_malloc(sizeof *carried + length);
    *carried = (struct carried){
        .storage = (enum entry_storage)entry->storage,
        .raw = entry->flags & ENTRY_RAW,
        .lru = entry->lru,
        .expires_at = entry_deadline(entry),
        .length = length,
    };
    switch (carried->storage) {
    case STORED_INT:
        carried->number = entry_int(entry);
        break;
    case STORED_INLINE:
        memcpy(carried->text, entry_value(entry), length);
        break;
    case STORED_BLOB:
        carried->blob = entry_blob(entry);
        blob_ref(carried->blob);
        break;
    }
    return carried;
}

static struct entry *put_string(struct keyspace *ks, uint32_t db, const struct key *key,
                                const struct carried *carried, int64_t now_ms) {
    struct blob *blob = carried->blob;
    if (carried->storage == STORED_INT) {
        return keyspace_set_int(ks, db, key, carried->number, carried->expires_at, now_ms);
    }
    if (blob == NULL) {
        struct bytes text = bytes_make(carried->text, carried->length);
        return keyspace_set_text(ks, db, key, text, carried->expires_at, now_ms);
    }
    if (blob->length < BLOB_VALUE_MIN) { /* it was longer once */
        struct bytes text = bytes_make(blob->data, blob->length);
        return keyspace_set_text(ks, db, key, text, carried->expires_at, now_ms);
    }
    blob_ref(blob);
    return keyspace_set_blob(ks, db, key, blob, carried->expires_at, now_ms);
}

void keyspace_put(struct keyspace *ks, uint32_t db, const struct key *key,
                  const struct carried *carried, int64_t now_ms) {
    uint64_t changes = ks->stats.changes;
    if (carried == NULL) {
        keyspace_delete(ks, db, key, now_ms, true);
        ks->stats.changes = changes;
        return;
    }
    struct entry *entry = put_string(ks, db, key, carried, now_ms);
    ks->stats.changes = changes;
    entry->lru = carried->lru & 0xFFFFFF;
    entry->flags |= carried->raw ? ENTRY_RAW : 0;
}

void carried_free(struct carried *carried) {
    if (carried->blob) {
        blob_unref(carried->blob);
    }
    free(carried);
}

void keyspace_clear_scratch(struct keyspace *scratch, struct keyspace *to) {
    to->stats.hits += scratch->stats.hits;
    to->stats.misses += scratch->stats.misses;
    to->stats.changes += scratch->stats.changes;
    to->stats.expired_keys += scratch->stats.expired_keys;
    keyspace_flush(scratch, UINT32_MAX, false);
    scratch->stats.hits = scratch->stats.misses = scratch->stats.changes = 0;
    scratch->stats.expired_keys = 0;
}
