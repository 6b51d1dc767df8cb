/* SPDX-License-Identifier: BSD-3-Clause */
/* blob: a large value in a block of its own that a connection may hold while it is being sent.
 *
 * Crosses threads: the count of references. The owner shard holds one; a sender on any thread may
 * hold more. Whoever drops the last one frees the block, so it comes from the process allocator.
 * Content changes only while the owner's is the only reference; otherwise the owner makes a copy
 * first.
 */
#ifndef SHOAL_SHARD_BLOB_H
#define SHOAL_SHARD_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
    _Atomic uint32_t references;
    uint32_t unused;
    size_t length;
    size_t capacity;
    char data[];
};

/* One reference, `length` bytes of undefined content. */
struct blob *blob_new(size_t length, size_t capacity);
/* The same for a value that is still to arrive: full length, or NULL if there is no room for it.
 * Its memory is not touched. */
struct blob *blob_try_new(size_t length);
void blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);
/* Only the owner may ask, and only then the answer lasts: nobody else can make a reference. */
bool blob_unshared(const struct blob *blob);
/* The same content in a block of another capacity, at least blob->length. Must be unshared. */
struct blob *blob_resize(struct blob *blob, size_t capacity);
/* Takes the content apart before the block is freed: gives the memory of at most `bytes` at its end
 * back to the system. True if nothing worth it is left. Must be unshared, and is fit for nothing
 * but being freed then. */
bool blob_dismantle(struct blob *blob, size_t bytes);
/* What the block takes. */
size_t blob_bytes(const struct blob *blob);

#endif
