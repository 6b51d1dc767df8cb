/* SPDX-License-Identifier: BSD-3-Clause */
/* See the header. The last unref must see everything that other holders did with the bytes, hence
 * release on every decrement and acquire on the last; unshared needs acquire for the same reason,
 * before the owner writes. */
#include "shard/blob.h"

#include "base/check.h"
#include "shard/sysmem.h"

static struct blob *blob_make(void *block, size_t length, size_t capacity) {
    struct blob *blob = block;
    atomic_init(&blob->references, 1);
    blob->unused = 0;
    blob->length = length;
    blob->capacity = capacity;
    return blob;
}

struct blob *blob_new(size_t length, size_t capacity) {
    check(length <= capacity);
    return blob_make(sysmem_alloc(sizeof(struct blob) + capacity), length, capacity);
}

struct blob *blob_try_new(size_t length) {
    check(length <= SIZE_MAX - sizeof(struct blob));
    void *block = sysmem_try_alloc(sizeof(struct blob) + length);
    return block ? blob_make(block, length, length) : NULL;
}

void blob_ref(struct blob *blob) {
    uint32_t before = atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed);
    check(before > 0 && before < UINT32_MAX);
}

void blob_unref(struct blob *blob) {
    uint32_t before = atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel);
    check(before > 0);
    if (before == 1) {
        sysmem_release(blob);
    }
}

bool blob_unshared(const struct blob *blob) {
    return atomic_load_explicit(&blob->references, memory_order_acquire) == 1;
}

struct blob *blob_resize(struct blob *blob, size_t capacity) {
    check(blob_unshared(blob) && capacity >= blob->length);
    blob = sysmem_resize(blob, sizeof(*blob) + capacity);
    blob->capacity = capacity;
    return blob;
}

bool blob_dismantle(struct blob *blob, size_t bytes) {
    check(blob_unshared(blob));
    size_t keep = blob->length > bytes ? blob->length - bytes : 0;
    sysmem_discard(blob->data + keep, blob->length - keep);
    blob->length = keep;
    return keep <= bytes;
}

size_t blob_bytes(const struct blob *blob) {
    return sysmem_good_size(sizeof(*blob) + blob->capacity);
}
