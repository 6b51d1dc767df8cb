/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs of up to 8 MB come from areas of 32 MB, aligned to 32 MB, whose first page says which of the
 * others are free, and which of those are dirty: resident although nobody uses them.
 *
 *     area  | masks | page 1 | page 2 ............................... | page 8191 |
 *           ^ 32 MB aligned
 *
 * Areas lie in lists by the longest run of free pages they may have. A taker begins with the
 * shortest that can suffice, so areas fill up, and others become empty and can be given back. The
 * length is an upper bound: a search that fails makes it exact.
 *
 * Bigger blocks have a mapping each, behind a header. A freed one waits in a list for somebody who
 * wants about as much, while trimming takes it away from its end.
 *
 * Why not mimalloc: it gives large blocks back when their thread next allocates, perhaps never, and
 * then all at once; told to do it at once, a value that is written over and over faults each time.
 *
 * Invariants:
 *  1. A dirty page is free.
 *  2. No run of free pages of an area is longer than its `longest`, by which it has its list.
 *  3. An area is in the list of dirty ones iff it has dirty pages.
 *  4. dirty_bytes is the sum over areas' dirty pages and idle maps' resident bytes.
 */
#include "shard/memory/runs.h"

#include "base/check.h"
#include "shard/memory/sysmem.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define PAGE_BYTES ((size_t)4096)
#define AREA_BYTES ((size_t)32 << 20)
#define PAGES      ((unsigned)(AREA_BYTES / PAGE_BYTES))
#define WORDS      (PAGES / 64)
#define RUN_MAX    ((size_t)8 << 20)
#define TRIES_MAX  8
/* Mappings are multiples of a page of any machine. */
#define MAP_UNIT   ((size_t)64 << 10)
#define MAP_HEADER 64
#define BYTES_MAX  (SIZE_MAX / 4)

struct area {
    struct list_node link; /* in its bucket */
    struct list_node dirty_link;
    unsigned longest;
    unsigned free_pages;
    unsigned dirty_pages;
    uint64_t free_mask[WORDS];
    uint64_t dirty_mask[WORDS];
};
static_assert(sizeof(struct area) <= PAGE_BYTES, "it takes one page");

struct map {
    struct list_node link;
    size_t bytes;    /* of the mapping */
    size_t resident; /* of an idle one, from its start */
};
static_assert(sizeof(struct map) <= MAP_HEADER, "it fits before the block");

/* ---- Masks ---- */

/* The first bit from `at` on that has this value; PAGES if none has. */
static unsigned next_bit(const uint64_t *mask, unsigned at, bool value) {
    for (unsigned word = at / 64; word < WORDS; word++) {
        uint64_t bits = value ? mask[word] : ~mask[word];
        if (word == at / 64) {
            bits &= ~UINT64_C(0) << (at % 64);
        }
        if (bits) {
            return word * 64 + (unsigned)__builtin_ctzll(bits);
        }
    }
    return PAGES;
}

/* The last set bits before `at`: where their row begins. Bit 0 is never set. */
static unsigned row_start(const uint64_t *mask, unsigned at) {
    unsigned last = at - 1;
    for (unsigned word = last / 64;; word--) {
        uint64_t bits = ~mask[word];
        if (word == last / 64) {
            bits &= ~UINT64_C(0) >> (63 - last % 64);
        }
        if (bits) {
            return word * 64 + 64 - (unsigned)__builtin_clzll(bits);
        }
    }
}

/* Those bits of a word that lie in [first, end). */
static uint64_t part_of_word(unsigned word, unsigned first, unsigned end) {
    uint64_t bits = ~UINT64_C(0);
    if (word == first / 64) {
        bits &= ~UINT64_C(0) << (first % 64);
    }
    if (word == (end - 1) / 64) {
        bits &= ~UINT64_C(0) >> (63 - (end - 1) % 64);
    }
    return bits;
}

/* Returns how many of them were set before. */
static unsigned put_bits(uint64_t *mask, unsigned first, unsigned count, bool value) {
    unsigned end = first + count, before = 0;
    for (unsigned word = first / 64; word <= (end - 1) / 64; word++) {
        uint64_t bits = part_of_word(word, first, end);
        before += (unsigned)__builtin_popcountll(mask[word] & bits);
        mask[word] = value ? mask[word] | bits : mask[word] & ~bits;
    }
    return before;
}

/* ---- Areas ---- */

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) & ~(unit - 1);
}

static struct area *area_of(const void *block) {
    return (struct area *)((uintptr_t)block & ~(AREA_BYTES - 1));
}

static unsigned page_of(const struct area *area, const void *block) {
    return (unsigned)((size_t)((const char *)block - (const char *)area) / PAGE_BYTES);
}

static unsigned bucket_of(unsigned pages) {
    return pages ? 31 - (unsigned)__builtin_clz(pages) : 0;
}

static void set_longest(struct runs *runs, struct area *area, unsigned longest) {
    if (bucket_of(area->longest) != bucket_of(longest)) {
        list_remove(&area->link);
        list_push_front(&runs->areas[bucket_of(longest)], &area->link);
    }
    area->longest = longest;
}

static struct area *area_new(struct runs *runs) {
    static_assert(PAGES <= 1u << RUNS_BUCKETS, "a bucket for every length");
    struct area *area = sysmem_try_map(AREA_BYTES, AREA_BYTES);
    if (area == NULL) {
        return NULL;
    }
    area->free_pages = area->longest = PAGES - 1;
    put_bits(area->free_mask, 1, PAGES - 1, true);
    list_node_init(&area->dirty_link);
    list_push_front(&runs->areas[bucket_of(area->longest)], &area->link);
    return area;
}

static void set_dirty(struct runs *runs, struct area *area, unsigned dirty_pages) {
    runs->dirty_bytes += (size_t)dirty_pages * PAGE_BYTES;
    runs->dirty_bytes -= (size_t)area->dirty_pages * PAGE_BYTES;
    if (area->dirty_pages == 0 && dirty_pages > 0) {
        list_push_back(&runs->dirty, &area->dirty_link);
    } else if (area->dirty_pages > 0 && dirty_pages == 0) {
        list_remove(&area->dirty_link);
    }
    area->dirty_pages = dirty_pages;
}

static void area_unmap(struct runs *runs, struct area *area) {
    set_dirty(runs, area, 0);
    list_remove(&area->link);
    sysmem_unmap(area, AREA_BYTES);
}

static void take_pages(struct runs *runs, struct area *area, unsigned first, unsigned count) {
    unsigned free_before = put_bits(area->free_mask, first, count, false);
    check(free_before == count);
    unsigned dirty = put_bits(area->dirty_mask, first, count, false);
    area->free_pages -= count;
    set_dirty(runs, area, area->dirty_pages - dirty);
    runs->fresh_bytes += (size_t)(count - dirty) * PAGE_BYTES;
}

static void put_pages(struct runs *runs, struct area *area, unsigned first, unsigned count) {
    unsigned free_before = put_bits(area->free_mask, first, count, true);
    check(first > 0 && free_before == 0);
    put_bits(area->dirty_mask, first, count, true);
    area->free_pages += count;
    set_dirty(runs, area, area->dirty_pages + count);
    unsigned row =
        next_bit(area->free_mask, first + count - 1, false) - row_start(area->free_mask, first + 1);
    if (row > area->longest) {
        set_longest(runs, area, row);
    }
}

/* The first run that is long enough: low pages fill up first, those behind may stay untouched. */
static void *area_take(struct runs *runs, struct area *area, unsigned count) {
    unsigned longest = 0, end;
    for (unsigned at = 0; (at = next_bit(area->free_mask, at, true)) < PAGES; at = end) {
        end = next_bit(area->free_mask, at, false);
        if (end - at >= count) {
            take_pages(runs, area, at, count);
            return (char *)area + at * PAGE_BYTES;
        }
        longest = end - at > longest ? end - at : longest;
    }
    set_longest(runs, area, longest);
    return NULL;
}

/* The areas of one bucket; each that fails is then known better. */
static void *bucket_take(struct runs *runs, unsigned bucket, unsigned count) {
    unsigned tries = 0;
    LIST_EACH_SAFE(&runs->areas[bucket], node) {
        struct area *area = LIST_ENTRY(node, struct area, link);
        void *run = area->longest >= count ? area_take(runs, area, count) : NULL;
        if (run != NULL || ++tries == TRIES_MAX) {
            return run;
        }
    }
    return NULL;
}

static void *pages_take(struct runs *runs, unsigned count) {
    for (unsigned bucket = bucket_of(count); bucket < RUNS_BUCKETS; bucket++) {
        void *run = bucket_take(runs, bucket, count);
        if (run != NULL) {
            return run;
        }
    }
    struct area *area = area_new(runs);
    return area != NULL ? area_take(runs, area, count) : NULL;
}

/* ---- Mappings ---- */

static struct map *map_of(void *block) {
    return (struct map *)((char *)block - MAP_HEADER);
}

static void *map_block(struct runs *runs, struct map *map) {
    list_push_front(&runs->maps, &map->link);
    return (char *)map + MAP_HEADER;
}

/* Cuts off what is behind `bytes`. */
static void map_cut(struct map *map, size_t bytes) {
    if (map->bytes > bytes) {
        sysmem_unmap((char *)map + bytes, map->bytes - bytes);
        map->bytes = bytes;
    }
}

/* One that waits and is not much larger. */
static struct map *map_reuse(struct runs *runs, size_t bytes) {
    unsigned tries = 0;
    LIST_EACH(&runs->idle, node) {
        struct map *map = LIST_ENTRY(node, struct map, link);
        if (map->bytes >= bytes && map->bytes - bytes <= bytes / 8) {
            list_remove(&map->link);
            runs->dirty_bytes -= map->resident;
            runs->fresh_bytes += map->resident < bytes ? bytes - map->resident : 0;
            map_cut(map, bytes);
            return map;
        }
        if (++tries == TRIES_MAX) {
            break;
        }
    }
    return NULL;
}

static struct map *map_take(struct runs *runs, size_t bytes) {
    struct map *map = map_reuse(runs, bytes);
    if (map == NULL) {
        map = sysmem_try_map(bytes, MAP_UNIT);
        if (map != NULL) {
            map->bytes = bytes;
            runs->fresh_bytes += bytes;
        }
    }
    return map;
}

static void map_put(struct runs *runs, struct map *map) {
    list_remove(&map->link);
    list_push_front(&runs->idle, &map->link);
    map->resident = map->bytes;
    runs->dirty_bytes += map->bytes;
}

static void *map_resize(struct runs *runs, struct map *map, size_t bytes) {
    list_remove(&map->link);
    runs->fresh_bytes += bytes > map->bytes ? bytes - map->bytes : 0;
    map = sysmem_remap(map, map->bytes, bytes);
    map->bytes = bytes;
    return map_block(runs, map);
}

/* Up to max_bytes of the one that has waited longest. */
static size_t map_trim(struct runs *runs, struct map *map, size_t max_bytes) {
    size_t bytes = max_bytes < map->resident ? round_up(max_bytes, MAP_UNIT) : map->resident;
    map->resident -= bytes;
    runs->dirty_bytes -= bytes;
    if (map->resident > 0) {
        sysmem_discard((char *)map + map->resident, bytes);
    } else {
        list_remove(&map->link);
        sysmem_unmap(map, map->bytes);
    }
    return bytes;
}

/* ---- The interface ---- */

void runs_init(struct runs *runs) {
    *runs = (struct runs){0};
    for (unsigned i = 0; i < RUNS_BUCKETS; i++) {
        list_init(&runs->areas[i]);
    }
    list_init(&runs->dirty);
    list_init(&runs->maps);
    list_init(&runs->idle);
}

static void unmap_all(struct list *maps) {
    LIST_EACH_SAFE(maps, node) {
        struct map *map = LIST_ENTRY(node, struct map, link);
        sysmem_unmap(map, map->bytes);
    }
}

void runs_fini(struct runs *runs) {
    for (unsigned i = 0; i < RUNS_BUCKETS; i++) {
        LIST_EACH_SAFE(&runs->areas[i], node) {
            sysmem_unmap(LIST_ENTRY(node, struct area, link), AREA_BYTES);
        }
    }
    unmap_all(&runs->maps);
    unmap_all(&runs->idle);
}

static bool from_area(size_t bytes) {
    return bytes <= RUN_MAX;
}

size_t runs_block_bytes(size_t bytes) {
    return from_area(bytes) ? round_up(bytes, PAGE_BYTES) : round_up(bytes + MAP_HEADER, MAP_UNIT);
}

static unsigned pages_for(size_t bytes) {
    return (unsigned)(runs_block_bytes(bytes) / PAGE_BYTES);
}

void *runs_alloc(struct runs *runs, size_t bytes) {
    check(bytes > 0);
    if (bytes > BYTES_MAX) {
        return NULL;
    }
    if (from_area(bytes)) {
        return pages_take(runs, pages_for(bytes));
    }
    struct map *map = map_take(runs, runs_block_bytes(bytes));
    return map != NULL ? map_block(runs, map) : NULL;
}

void runs_release(struct runs *runs, void *block, size_t bytes) {
    if (from_area(bytes)) {
        struct area *area = area_of(block);
        put_pages(runs, area, page_of(area, block), pages_for(bytes));
    } else {
        check(map_of(block)->bytes == runs_block_bytes(bytes));
        map_put(runs, map_of(block));
    }
}

void *runs_resize(struct runs *runs, void *block, size_t old_bytes, size_t new_bytes) {
    check(new_bytes > 0 && new_bytes <= BYTES_MAX);
    if (from_area(old_bytes) != from_area(new_bytes)) {
        return NULL;
    }
    if (!from_area(old_bytes)) {
        return map_resize(runs, map_of(block), runs_block_bytes(new_bytes));
    }
    struct area *area = area_of(block);
    unsigned had = pages_for(old_bytes), wants = pages_for(new_bytes);
    unsigned first = page_of(area, block);
    if (wants < had) {
        put_pages(runs, area, first + wants, had - wants);
    } else if (wants > had) {
        if (first + wants > PAGES ||
            next_bit(area->free_mask, first + had, false) < first + wants) {
            return NULL;
        }
        take_pages(runs, area, first + had, wants - had);
    }
    return block;
}

static size_t area_trim(struct runs *runs, struct area *area, size_t max_bytes) {
    size_t most = max_bytes < AREA_BYTES ? max_bytes : AREA_BYTES;
    unsigned max = (unsigned)(round_up(most, PAGE_BYTES) / PAGE_BYTES);
    unsigned given = 0;
    for (unsigned at = 0; given < max && (at = next_bit(area->dirty_mask, at, true)) < PAGES;) {
        unsigned end = next_bit(area->dirty_mask, at, false);
        unsigned count = end - at < max - given ? end - at : max - given;
        sysmem_discard((char *)area + at * PAGE_BYTES, count * PAGE_BYTES);
        put_bits(area->dirty_mask, at, count, false);
        given += count;
        at += count;
    }
    set_dirty(runs, area, area->dirty_pages - given);
    if (area->dirty_pages == 0 && area->free_pages == PAGES - 1) {
        area_unmap(runs, area);
    }
    return given * PAGE_BYTES;
}

size_t runs_trim(struct runs *runs, size_t max_bytes) {
    size_t given = 0;
    while (given < max_bytes && runs->dirty_bytes > 0) {
        struct list_node *idle = list_last(&runs->idle);
        if (idle != NULL) {
            given += map_trim(runs, LIST_ENTRY(idle, struct map, link), max_bytes - given);
        } else {
            struct list_node *dirty = list_first(&runs->dirty);
            given += area_trim(runs, LIST_ENTRY(dirty, struct area, dirty_link), max_bytes - given);
        }
    }
    return given;
}

/* ---- Verification ---- */

static size_t area_verify(const struct area *area) {
    unsigned free_pages = 0, dirty_pages = 0, end;
    check(!(area->free_mask[0] & 1));
    for (unsigned at = 0; (at = next_bit(area->free_mask, at, true)) < PAGES; at = end) {
        end = next_bit(area->free_mask, at, false);
        check(end - at <= area->longest);
        free_pages += end - at;
    }
    for (unsigned word = 0; word < WORDS; word++) {
        check((area->dirty_mask[word] & ~area->free_mask[word]) == 0);
        dirty_pages += (unsigned)__builtin_popcountll(area->dirty_mask[word]);
    }
    check(free_pages == area->free_pages && dirty_pages == area->dirty_pages);
    check(list_node_linked(&area->dirty_link) == (dirty_pages > 0));
    return dirty_pages * PAGE_BYTES;
}

void runs_verify(const struct runs *runs) {
    size_t dirty = 0;
    for (unsigned i = 0; i < RUNS_BUCKETS; i++) {
        LIST_EACH(&runs->areas[i], node) {
            const struct area *area = LIST_ENTRY(node, struct area, link);
            check(bucket_of(area->longest) == i);
            dirty += area_verify(area);
        }
    }
    LIST_EACH(&runs->idle, node) {
        const struct map *map = LIST_ENTRY(node, struct map, link);
        check(map->resident > 0 && map->resident <= map->bytes);
        dirty += map->resident;
    }
    check(dirty == runs->dirty_bytes);
}
