/* SPDX-License-Identifier: BSD-3-Clause */
/* string: values that are one row of bytes.
 *
 * Stored as bytes beside the key, as a number, or in a block of their own, as length and content
 * want it; read without knowing which.
 *
 * Thread: owner shard only; what takes a `struct value` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_STRING_H
#define SHOAL_SHARD_TYPES_STRING_H

#include "shard/keys/change.h"

struct blob;
struct shard_heap;

/* ---- Reading ---- */

/* Room for a 64-bit integer as text. */
#define NUMBER_TEXT_BYTES 24

/* The bytes of a string. Numbers are written to `scratch` (NUMBER_TEXT_BYTES). */
struct bytes string_bytes(const struct entry *entry, char *scratch);
struct bytes string_value_bytes(const struct value *value, char *scratch);
size_t string_length(const struct entry *entry);
/* How it is stored, by the names OBJECT ENCODING gives. */
enum string_encoding { STRING_INT, STRING_EMBSTR, STRING_RAW };
enum string_encoding string_encoding(const struct entry *entry);
/* True when it is stored as, or reads exactly as, a 64-bit integer (Valkey's string2ll rules). */
bool string_to_int(const struct entry *entry, int64_t *ret_value);
/* Bytes of it in a snapshot, uncompressed: a length and the bytes, or a small number. */
size_t string_serialized_bytes(const struct entry *entry);
/* A large value that can be sent in place: returns a pin and its bytes, or NULL when it must be
 * copied. The pin keeps the bytes alive and unchanged until string_unpin, which any thread may
 * call. */
void *string_pin(struct entry *entry, struct bytes *ret_bytes);
void string_unpin(void *pin);

/* ---- Setting ---- */

/* Who sets what: a key of a keyspace. */
struct string_target {
    struct keyspace *ks;
    const struct key *key;
    uint32_t db;
    enum key_event event; /* what it is called */
    int64_t expires_at;   /* wall ms, NO_EXPIRY, or KEEP_TTL */
    int64_t now_ms;
};

/* Sets a key to a string whatever it was before. Returns the new entry. Bytes that read as an
 * integer are stored as one. The value must not point into the old entry. */
struct entry *string_set(const struct string_target *target, struct bytes value);
/* The same with a value that already lies in a block of its own and is too long to be anything but
 * that (BLOB_VALUE_MIN): takes the caller's reference, nothing is copied. */
#define BLOB_VALUE_MIN 4096
struct entry *string_set_blob(const struct string_target *target, struct blob *value);
/* The same, but never stored as an integer: INCRBYFLOAT leaves "embstr" even where it reads 4. */
struct entry *string_set_text(const struct string_target *target, struct bytes value);
/* The same, and "raw" however short it is: BITOP. */
struct entry *string_set_raw(const struct string_target *target, struct bytes value);
struct entry *string_set_int(const struct string_target *target, int64_t value);
/* A live string that was just found becomes this integer; the TTL stays. INCR: no second lookup
 * where it is one already. */
struct entry *string_replace_int(const struct string_target *target, struct entry *entry,
                                 int64_t value);
/* A string for keyspace_take: a number, a copy in a block of its own, or, if they are few, the
 * bytes themselves. */
struct value string_new(struct shard_heap *heap, struct bytes text);
/* A writable view of the string that a change is open for (of none: one is created) of `length`
 * bytes; old content is kept up to `length`, new bytes are zero. Leaves room to grow if `growing`.
 * The result is "raw" encoded as APPEND and SETRANGE make it. The TTL stays. Valid until the change
 * is closed. */
char *string_edit(struct change *change, size_t length, bool growing);

/* ---- For the keyspace ---- */

/* Whether Valkey 9.1 would keep such a string "raw" and not embedded beside its key. */
bool string_too_long_to_embed(size_t key_length, bool has_ttl, size_t value_length);

#endif
