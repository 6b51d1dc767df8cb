/* SPDX-License-Identifier: BSD-3-Clause */
/* blob: a large value in a block of its own that a connection may hold while it is being sent.
 *
 * Crosses threads: the count of references. The owner shard holds one; a sender on any thread may
 * hold more. Whoever drops the last one returns the block to the heap it is from, which need not be
 * that of the shard where the value lives: a client's home makes the blob that it receives into.
 * Content changes only while the owner's is the only reference; otherwise the owner makes a copy
 * first.
 */
#ifndef SHOAL_SHARD_MEMORY_BLOB_H
#define SHOAL_SHARD_MEMORY_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

struct blob {
    _Atomic uint32_t references;
    uint32_t unused;
    size_t length;
    size_t capacity;
    struct shard_heap *heap; /* where it is from */
    char data[];
};

/* One reference, `length` bytes of undefined content. By the heap's owner. */
struct blob *blob_new(struct shard_heap *heap, size_t length, size_t capacity);
/* The same for a value that is still to arrive: full length, or NULL if there is no room for it.
 * Its memory is not touched. */
struct blob *blob_try_new(struct shard_heap *heap, size_t length);
void blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);
/* Only the owner may ask, and only then the answer lasts: nobody else can make a reference. */
bool blob_unshared(const struct blob *blob);
/* The same content in a block of another capacity, at least blob->length, from then on of this
 * heap, by its owner. Must be unshared. */
struct blob *blob_resize(struct shard_heap *heap, struct blob *blob, size_t capacity);
/* As heap_relocate, if it is a blob of this heap that can be moved. */
struct blob *blob_relocate(struct shard_heap *heap, struct blob *blob, size_t *ret_copied);
/* What the block takes. */
size_t blob_bytes(const struct blob *blob);

#endif
