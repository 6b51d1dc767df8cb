/* SPDX-License-Identifier: BSD-3-Clause */
/* Values on their way between shards: a command whose keys lie on several of them (RENAME, COPY,
 * LCS ...) runs on copies at one place, and what it changed is put back. A small value is a copy in
 * the block that travels; of a large one only the reference does.
 */
#include "shard/keys/keyspace_private.h"

#include "base/must.h"
#include "shard/memory/blob.h"
#include "shard/types/string.h"

#include <stdlib.h>

struct carried {
    enum value_form form;
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
    size_t length = entry->form == FORM_INLINE ? entry->value_bytes : 0;
    struct carried *carried = must_malloc(sizeof *carried + length);
    *carried = (struct carried){
        .form = (enum value_form)entry->form,
        .raw = entry->flags & ENTRY_RAW,
        .lru = entry->lru,
        .expires_at = entry_deadline(entry),
        .length = length,
    };
    switch (carried->form) {
    case FORM_INT:
        carried->number = entry_int(entry);
        break;
    case FORM_INLINE:
        memcpy(carried->text, entry_value(entry), length);
        break;
    case FORM_BLOB:
        carried->blob = entry_root(entry);
        blob_ref(carried->blob);
        break;
    case FORM_COUNT:
        break;
    }
    return carried;
}

static struct entry *put_string(struct keyspace *ks, uint32_t db, const struct key *key,
                                const struct carried *carried, int64_t now_ms) {
    struct string_target target = {ks, key, db, EVENT_SET, carried->expires_at, now_ms};
    struct blob *blob = carried->blob;
    if (carried->form == FORM_INT) {
        return string_set_int(&target, carried->number);
    }
    if (blob == NULL) {
        return string_set_text(&target, bytes_make(carried->text, carried->length));
    }
    if (blob->length < BLOB_VALUE_MIN) { /* it was longer once */
        return string_set_text(&target, bytes_make(blob->data, blob->length));
    }
    blob_ref(blob);
    return string_set_blob(&target, blob);
}

void keyspace_put(struct keyspace *ks, uint32_t db, const struct key *key,
                  const struct carried *carried, int64_t now_ms) {
    uint64_t changes = ks->stats.changes;
    if (carried == NULL) {
        keyspace_delete(ks, db, key, now_ms, true, EVENT_DEL);
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
