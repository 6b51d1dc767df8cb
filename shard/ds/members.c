/* SPDX-License-Identifier: BSD-3-Clause */
/* members: see the header.
 *
 * Invariant: `memory` is what its blocks take from the heap, so what changes it books the
 * difference.
 */
#include "shard/ds/members.h"

#include "base/budget.h"
#include "base/check.h"
#include "shard/memory/heap.h"

/* Members that are freed or copied between two looks at the budget. */
#define STEP 32
/* To look at a member that stays where it is costs as much as to copy this many bytes: mostly it is
 * not in the cache. */
#define LOOK_BYTES 64

/* ---- A member's block ---- */

static size_t length_bytes(size_t length) {
    size_t bytes = 1;
    while (length >= 128) {
        length >>= 7;
        bytes++;
    }
    return bytes;
}

static size_t member_bytes(const void *member) {
    struct bytes name = member_name(member);
    return (size_t)(name.ptr - (const char *)member) + name.len;
}

static void *member_new(struct shard_heap *heap, struct bytes name) {
    unsigned char *member = heap_alloc(heap, length_bytes(name.len) + name.len);
    unsigned char *at = member;
    size_t length = name.len;
    for (; length >= 128; length >>= 7) {
        *at++ = (unsigned char)(length | 128);
    }
    *at++ = (unsigned char)length;
    if (name.len > 0) {
        memcpy(at, name.ptr, name.len);
    }
    return member;
}

static uint64_t hash_member(const void *secret, const void *member) {
    return hash_bytes(secret, member_name(member));
}

static struct table_env env_of(const struct members *members, struct shard_heap *heap) {
    return (struct table_env){heap, hash_member, members->secret};
}

/* ---- The books ---- */

struct books {
    struct shard_heap *heap;
    struct members *members;
    size_t before;
};

static struct books books_open(struct shard_heap *heap, struct members *members) {
    return (struct books){heap, members, heap_used(heap)};
}

static void books_close(const struct books *books) {
    books->members->memory += heap_used(books->heap) - books->before;
}

/* ---- One member ---- */

struct members *members_new(struct shard_heap *heap, const unsigned char *secret) {
    struct members *members = heap_alloc(heap, sizeof *members);
    *members = (struct members){.memory = heap_block_bytes(sizeof *members), .secret = secret};
    return members;
}

const void *members_find(const struct members *members, uint64_t hash, struct bytes name) {
    struct table_probe probe = table_probe(&members->table, hash);
    const void *member;
    while ((member = table_probe_next(&probe)) != NULL) {
        if (LIKELY(bytes_equal(member_name(member), name))) {
            return member;
        }
    }
    return NULL;
}

const void *members_find_likely(const struct members *members, uint64_t hash) {
    struct table_probe probe = table_probe(&members->table, hash);
    const void *member = table_probe_next(&probe);
    if (member != NULL) {
        __builtin_prefetch(member);
    }
    return member;
}

void members_add(struct shard_heap *heap, struct members *members, uint64_t hash,
                 struct bytes name) {
    struct books books = books_open(heap, members);
    struct table_env env = env_of(members, heap);
    table_insert(&members->table, &env, hash, member_new(heap, name));
    books_close(&books);
}

void members_remove(struct shard_heap *heap, struct members *members, uint64_t hash,
                    const void *member) {
    struct books books = books_open(heap, members);
    struct table_env env = env_of(members, heap);
    check(table_remove(&members->table, &env, hash, member));
    heap_release(heap, (void *)(uintptr_t)member, member_bytes(member));
    books_close(&books);
}

/* ---- All members ---- */

bool members_walk_leaf(struct members_walk *walk) {
    walk->words = table_leaf_at(walk->table, &walk->place, &walk->count);
    walk->at = 0;
    if (walk->words == NULL) {
        walk->count = 0;
        return false;
    }
    for (uint32_t i = 0; i < walk->count && i < MEMBERS_AHEAD; i++) {
        __builtin_prefetch(table_address(walk->words[i]));
    }
    return true;
}

uint64_t members_visit(const struct members *members, uint64_t place, uint64_t count,
                       table_item_fn *visit, void *arg) {
    struct table_env env = env_of(members, NULL);
    return table_walk(&members->table, &env, place, TABLE_PLACE_END, count, visit, arg);
}

static void release_member(void *arg, void *member) {
    heap_release(arg, member, member_bytes(member));
}

bool members_free_some(struct shard_heap *heap, struct members *members, size_t *budget) {
    struct table_env env = env_of(members, heap);
    do {
        struct books books = books_open(heap, members);
        table_drain(&members->table, &env, STEP, release_member, heap);
        size_t freed = books.before - heap_used(heap);
        books_close(&books);
        budget_spend(budget, freed);
    } while (members->table.count > 0 && *budget > 0);
    if (members->table.count > 0) {
        return false;
    }
    heap_release(heap, members, sizeof *members);
    return true;
}

void members_free(struct shard_heap *heap, struct members *members) {
    size_t budget = SIZE_MAX;
    while (!members_free_some(heap, members, &budget)) {
        budget = SIZE_MAX;
    }
}

struct copying {
    struct shard_heap *heap;
    struct members *to;
};

static void copy_member(void *arg, void *member) {
    struct copying *copying = arg;
    struct bytes name = member_name(member);
    members_add(copying->heap, copying->to, members_hash(copying->to, name), name);
}

bool members_copy_some(struct shard_heap *heap, const struct members *from, struct members *to,
                       uint64_t *place, size_t *budget) {
    struct copying copying = {heap, to};
    do {
        size_t before = to->memory;
        *place = members_visit(from, *place, STEP, copy_member, &copying);
        size_t copied = to->memory - before;
        budget_spend(budget, copied);
    } while (*place<TABLE_PLACE_END && * budget> 0);
    return *place >= TABLE_PLACE_END;
}

struct relocating {
    struct shard_heap *heap;
    size_t work;
};

static void *relocate_member(void *arg, void *member) {
    struct relocating *relocating = arg;
    size_t bytes = member_bytes(member), copied = 0;
    if (bytes <= HEAP_SLAB_BLOCK_MAX) {
        member = heap_relocate(relocating->heap, member, bytes, &copied);
    }
    relocating->work += LOOK_BYTES + copied;
    return member;
}

bool members_relocate_some(struct shard_heap *heap, struct members *members, uint64_t *place,
                           size_t *budget) {
    do {
        struct relocating relocating = {.heap = heap};
        size_t copied;
        *place =
            table_relocate(&members->table, heap, *place, relocate_member, &relocating, &copied);
        size_t work = relocating.work + copied + LOOK_BYTES;
        budget_spend(budget, work);
    } while (*place<TABLE_PLACE_END && * budget> 0);
    return *place >= TABLE_PLACE_END;
}

/* ---- Verification ---- */

static void add_bytes(void *arg, void *member) {
    *(size_t *)arg += heap_block_bytes(member_bytes(member));
}

void members_verify(const struct members *members) {
    struct table_env env = env_of(members, NULL);
    table_verify(&members->table, &env);
    size_t bytes = heap_block_bytes(sizeof *members) + table_bytes(&members->table);
    members_visit(members, 0, UINT64_MAX, add_bytes, &bytes);
    check(bytes == members->memory);
}
