/* SPDX-License-Identifier: BSD-3-Clause */
/* See the header. The last unref must see everything that other holders did with the bytes, hence
 * release on every decrement and acquire on the last; unshared needs acquire for the same reason,
 * before the owner writes. */
#include "shard/memory/blob.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/memory/heap.h"

#include <string.h>

static struct blob *blob_make(struct shard_heap *heap, void *block, size_t length,
                              size_t capacity) {
    struct blob *blob = block;
    atomic_init(&blob->references, 1);
    blob->unused = 0;
    blob->length = length;
    blob->capacity = capacity;
    blob->heap = heap;
    return blob;
}

struct blob *blob_new(struct shard_heap *heap, size_t length, size_t capacity) {
    check(length <= capacity);
    void *block = heap_alloc_shared(heap, sizeof(struct blob) + capacity);
    if (UNLIKELY(block == NULL)) {
        memory_exhausted(capacity, __FILE__, __LINE__);
    }
    return blob_make(heap, block, length, capacity);
}

struct blob *blob_try_new(struct shard_heap *heap, size_t length) {
    check(length <= SIZE_MAX - sizeof(struct blob));
    void *block = heap_alloc_shared(heap, sizeof(struct blob) + length);
    return block ? blob_make(heap, block, length, length) : NULL;
}

void blob_ref(struct blob *blob) {
    uint32_t before = atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed);
    check(before > 0 && before < UINT32_MAX);
}

static size_t block_bytes(const struct blob *blob) {
    return sizeof(*blob) + blob->capacity;
}

void blob_unref(struct blob *blob) {
    uint32_t before = atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel);
    check(before > 0);
    if (before == 1) {
        heap_return(blob->heap, blob, block_bytes(blob));
    }
}

bool blob_unshared(const struct blob *blob) {
    return atomic_load_explicit(&blob->references, memory_order_acquire) == 1;
}

struct blob *blob_resize(struct shard_heap *heap, struct blob *blob, size_t capacity) {
    check(blob_unshared(blob) && capacity >= blob->length);
    if (blob->heap == heap) {
        blob = heap_resize_shared(heap, blob, block_bytes(blob), sizeof(*blob) + capacity);
        blob->capacity = capacity;
        return blob;
    }
    struct blob *copy = blob_new(heap, blob->length, capacity);
    memcpy(copy->data, blob->data, blob->length);
    blob_unref(blob);
    return copy;
}

struct blob *blob_relocate(struct shard_heap *heap, struct blob *blob, size_t *ret_copied) {
    *ret_copied = 0;
    if (blob->heap != heap || block_bytes(blob) > HEAP_SLAB_BLOCK_MAX || !blob_unshared(blob)) {
        return blob;
    }
    return heap_relocate(heap, blob, block_bytes(blob), ret_copied);
}

size_t blob_bytes(const struct blob *blob) {
    return heap_block_bytes(block_bytes(blob));
}
