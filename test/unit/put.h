/* SPDX-License-Identifier: BSD-3-Clause */
/* put: setting, editing and deleting keys in one line, for tests that do not ask how it is told.
 *
 * Thread: one.
 */
#ifndef SHOAL_TEST_UNIT_PUT_H
#define SHOAL_TEST_UNIT_PUT_H

#include "shard/types/string.h"

static inline struct entry *put_string(struct keyspace *ks, uint32_t db, const struct key *key,
                                       struct bytes value, int64_t expires_at, int64_t now_ms) {
    struct string_target target = {ks, key, db, EVENT_SET, expires_at, now_ms};
    return string_set(&target, value);
}

static inline struct entry *put_text(struct keyspace *ks, uint32_t db, const struct key *key,
                                     struct bytes value, int64_t expires_at, int64_t now_ms) {
    struct string_target target = {ks, key, db, EVENT_SET, expires_at, now_ms};
    return string_set_text(&target, value);
}

/* The bytes stay writable until the next change. */
static inline char *edit_string(struct keyspace *ks, uint32_t db, const struct key *key,
                                struct entry *entry, size_t length, bool growing, int64_t now_ms) {
    struct change change;
    change_open(&change, ks, db, key, entry, now_ms);
    char *bytes = string_edit(&change, length, growing);
    change_close(&change, EVENT_APPEND);
    return bytes;
}

static inline bool drop_key(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms,
                            bool lazy) {
    return keyspace_delete(ks, db, key, now_ms, lazy, EVENT_DEL);
}

static inline bool run_out(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms,
                           bool lazy) {
    return keyspace_delete(ks, db, key, now_ms, lazy, EVENT_EXPIRED);
}

static inline struct entry *copy_key(struct keyspace *ks, struct entry *from, uint32_t to_db,
                                     const struct key *to, int64_t now_ms) {
    struct loan loan = entry_loan(from);
    return keyspace_put(ks, to_db, to, &loan, now_ms, EVENT_COPY_TO);
}

#endif
