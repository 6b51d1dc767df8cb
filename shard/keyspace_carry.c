/* SPDX-License-Identifier: BSD-3-Clause */
/* Values on their way between shards: a command whose keys lie on several of them (RENAME, COPY,
 * LCS ...) runs on copies at one place, and what it changed is put back. A small value is a copy in
 * the block that travels; of a large one only the reference does.
 */
#include "shard/keyspace_parts.h"

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
    struct carried *carried = malloc(sizeof *carried + length);
    check(carried != NULL);
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

void keyspace_put(struct keyspace *ks, uint32_t db, const struct key *key,
                  const struct carried *carried, int64_t now_ms) {
    struct bytes text = carried->blob ? bytes_make(carried->blob->data, carried->blob->length)
                                      : bytes_make(carried->text, carried->length);
    struct entry *entry =
        carried->storage == STORED_INT
            ? keyspace_set_int(ks, db, key, carried->number, carried->expires_at, now_ms)
            : keyspace_set_text(ks, db, key, text, carried->expires_at, now_ms);
    entry->lru = carried->lru & 0xFFFFFF;
    entry->flags |= carried->raw ? ENTRY_RAW : 0;
}

void carried_free(struct carried *carried) {
    if (carried->blob) {
        blob_unref(carried->blob);
    }
    free(carried);
}

void keyspace_move_lookups(struct keyspace *to, struct keyspace *from) {
    to->stats.hits += from->stats.hits;
    to->stats.misses += from->stats.misses;
    from->stats.hits = from->stats.misses = 0;
}
