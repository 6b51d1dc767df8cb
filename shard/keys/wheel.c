/* SPDX-License-Identifier: BSD-3-Clause */
/* A hierarchical timing wheel of 5-byte references.
 *
 * Level k has 128 buckets of 64^k ms, used as a ring. `pos` is the millisecond whose bucket fires
 * next. A reference for time t sits in the lowest level k such that t lies in the current or the
 * next bucket of level k + 1:
 *
 *     level 2   |       4096 ms       |       4096 ms       |  ...
 *     level 1   | 64 | 64 | ..  | 64  | 64 | 64 | ..  | 64  |    filled for two buckets of level 2
 *     level 0   |||||||||                                        filled for two buckets of level 1
 *                ^ pos
 *
 * So the next bucket of every level may be emptied into the level below (each reference is
 * resolved, which tells its deadline) at any time before `pos` enters it. A small one is emptied
 * when it is entered; a large one beforehand, a little in each millisecond, at a rate that has it
 * done in time: nothing is late and there is no pile of work at a boundary.
 *
 * Why no deadlines here: 5 bytes instead of 13 per key, and a TTL that is only ever prolonged
 * (sessions, locks) costs nothing: the reference stays where it is, and goes to the new deadline
 * when it comes up.
 *
 * A clock that jumps forward makes many buckets due, which are worked off in order. One that jumps
 * back moves pos back; references then come up too early, when the ring first passes their bucket,
 * and are put where they belong. Never too late: a bucket's number modulo 128 comes up at the
 * latest at its own time.
 *
 * A sweep renames the ring to "old" and starts an empty one. Old references come up in order, ahead
 * of time, and those still needed go to the new ring. Until then both rings fire.
 *
 * Invariants:
 *  1. Every reference comes up not later than the deadline it was added for.
 *  2. bucket.count is the number of references in its chunks; only a bucket's first chunk may be
 *     less than full, none is empty.
 *  3. next_run is not later than the time at which the next bucket must be worked on.
 */
#include "shard/keys/wheel.h"

#include "base/check.h"
#include "shard/memory/heap.h"

#include <assert.h>
#include <string.h>

#define LEVEL_BITS  6
#define LEVEL_COUNT 11
#define RING        128
#define RING_MASK   (RING - 1)

#define REF_BYTES   5
#define CHUNK_BYTES 256
#define CHUNK_REFS  ((CHUNK_BYTES - 9) / REF_BYTES)

/* References looked up together, so that their cache misses overlap. */
#define BATCH 32
/* A bucket of this many is emptied when it is entered. */
#define SMALL_BUCKET 64
/* Large buckets are emptied at no less than this many references a millisecond. */
#define PACE_PER_MS 128

struct chunk {
    struct chunk *next;
    uint8_t count;
    unsigned char refs[CHUNK_REFS][REF_BYTES];
};
static_assert(sizeof(struct chunk) <= CHUNK_BYTES, "one block of the heap");

struct bucket {
    struct chunk *chunks;
    uint64_t count;
};

struct level {
    uint64_t occupied[RING / 64];
    struct bucket buckets[RING];
};

struct ring {
    struct level *levels[LEVEL_COUNT]; /* NULL before the first use */
};

struct wheel {
    struct shard_heap *heap;
    uint64_t pos;
    int64_t next_run;
    uint64_t count;
    uint64_t old_count; /* references in the old ring: 0 means that no sweep is going on */
    size_t memory;
    struct ring ring;
    struct ring old;
};

/* ---- Places ---- */

static inline unsigned level_shift(unsigned level) {
    return level * LEVEL_BITS;
}

static inline uint64_t bucket_number(uint64_t time, unsigned level) {
    return level_shift(level) < 64 ? time >> level_shift(level) : 0;
}

static unsigned level_for(uint64_t pos, uint64_t time) {
    unsigned level = 0;
    while (level < LEVEL_COUNT - 1 &&
           bucket_number(time, level + 1) > bucket_number(pos, level + 1) + 1) {
        level++;
    }
    return level;
}

/* The start of a bucket; INT64_MAX beyond what a clock can say. */
static int64_t bucket_start(uint64_t number, unsigned level) {
    if (number > (uint64_t)INT64_MAX >> level_shift(level)) {
        return INT64_MAX;
    }
    return (int64_t)(number << level_shift(level));
}

/* The lowest number, from `from` on, of a bucket of this level that holds something; UINT64_MAX if
 * none does. */
static uint64_t level_next(const struct level *level, uint64_t from) {
    unsigned start = from & RING_MASK;
    unsigned word = start / 64;
    uint64_t bits = level->occupied[word] & (UINT64_MAX << (start % 64));
    for (unsigned i = 0; i <= RING / 64; i++) {
        if (bits) {
            unsigned index = word * 64 + (unsigned)__builtin_ctzll(bits);
            return from + ((index - start) & RING_MASK);
        }
        word = (word + 1) % (RING / 64);
        bits = level->occupied[word];
        if (word == start / 64) {
            bits &= ~(UINT64_MAX << (start % 64));
        }
    }
    return UINT64_MAX;
}

static uint64_t ring_next(const struct ring *ring, unsigned level, uint64_t from) {
    return ring->levels[level] ? level_next(ring->levels[level], from) : UINT64_MAX;
}

static uint64_t rings_next(const struct wheel *wheel, unsigned level, uint64_t from) {
    uint64_t next = ring_next(&wheel->ring, level, from);
    if (wheel->old_count) {
        uint64_t old_next = ring_next(&wheel->old, level, from);
        next = old_next < next ? old_next : next;
    }
    return next;
}

static uint64_t ring_bucket_count(const struct ring *ring, unsigned level, uint64_t number) {
    return ring->levels[level] ? ring->levels[level]->buckets[number & RING_MASK].count : 0;
}

static uint64_t rings_bucket_count(const struct wheel *wheel, unsigned level, uint64_t number) {
    return ring_bucket_count(&wheel->ring, level, number) +
           (wheel->old_count ? ring_bucket_count(&wheel->old, level, number) : 0);
}

/* ---- References in chunks ---- */

static void ref_write(unsigned char *to, struct wheel_ref ref) {
    uint64_t packed = (uint64_t)ref.slot << WHEEL_HASH_BITS | ref.hash_bits;
    memcpy(to, &packed, REF_BYTES);
}

static struct wheel_ref ref_read(const unsigned char *from) {
    uint64_t packed = 0;
    memcpy(&packed, from, REF_BYTES);
    return (struct wheel_ref){(uint16_t)(packed >> WHEEL_HASH_BITS),
                              (uint32_t)(packed & ((1u << WHEEL_HASH_BITS) - 1))};
}

static void *wheel_alloc(struct wheel *wheel, size_t bytes) {
    wheel->memory += heap_block_bytes(bytes);
    return heap_alloc(wheel->heap, bytes);
}

static void wheel_release(struct wheel *wheel, void *block, size_t bytes) {
    wheel->memory -= heap_block_bytes(bytes);
    heap_release(wheel->heap, block, bytes);
}

static void bucket_push(struct wheel *wheel, unsigned level_index, uint64_t number,
                        struct wheel_ref ref) {
    struct level *level = wheel->ring.levels[level_index];
    if (!level) {
        level = wheel_alloc(wheel, sizeof(*level));
        memset(level, 0, sizeof(*level));
        wheel->ring.levels[level_index] = level;
    }
    unsigned index = number & RING_MASK;
    struct bucket *bucket = &level->buckets[index];
    struct chunk *chunk = bucket->chunks;
    if (!chunk || chunk->count == CHUNK_REFS) {
        chunk = wheel_alloc(wheel, sizeof(*chunk));
        chunk->next = bucket->chunks;
        chunk->count = 0;
        bucket->chunks = chunk;
        level->occupied[index / 64] |= UINT64_C(1) << (index % 64);
    }
    ref_write(chunk->refs[chunk->count++], ref);
    bucket->count++;
    wheel->count++;
}

/* Takes up to max references out of a bucket; returns how many. */
static unsigned bucket_pop(struct wheel *wheel, struct ring *ring, unsigned level_index,
                           uint64_t number, struct wheel_ref *refs, unsigned max) {
    struct level *level = ring->levels[level_index];
    unsigned index = number & RING_MASK;
    struct bucket *bucket = &level->buckets[index];
    unsigned n = 0;
    while (n < max && bucket->chunks) {
        struct chunk *chunk = bucket->chunks;
        while (n < max && chunk->count) {
            refs[n++] = ref_read(chunk->refs[--chunk->count]);
        }
        if (chunk->count == 0) {
            bucket->chunks = chunk->next;
            wheel_release(wheel, chunk, sizeof(*chunk));
        }
    }
    if (!bucket->chunks) {
        level->occupied[index / 64] &= ~(UINT64_C(1) << (index % 64));
    }
    bucket->count -= n;
    wheel->count -= n;
    if (ring == &wheel->old) {
        wheel->old_count -= n;
    }
    return n;
}

/* ---- Life ---- */

struct wheel *wheel_new(struct shard_heap *heap, int64_t now_ms) {
    struct wheel *wheel = heap_alloc(heap, sizeof(*wheel));
    memset(wheel, 0, sizeof(*wheel));
    wheel->heap = heap;
    wheel->memory = heap_block_bytes(sizeof(*wheel));
    wheel->pos = now_ms > 0 ? (uint64_t)now_ms : 0;
    wheel->next_run = INT64_MAX;
    return wheel;
}

static bool ring_drain(struct wheel *wheel, struct ring *ring, uint64_t *max) {
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        struct level *level = ring->levels[i];
        for (uint64_t number; level && (number = level_next(level, 0)) != UINT64_MAX;) {
            struct wheel_ref refs[CHUNK_REFS];
            if ((*max)-- == 0) {
                *max = 0;
                return false;
            }
            bucket_pop(wheel, ring, i, number, refs, CHUNK_REFS);
        }
    }
    return true;
}

static void ring_fini(struct wheel *wheel, struct ring *ring) {
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        if (ring->levels[i]) {
            wheel_release(wheel, ring->levels[i], sizeof(struct level));
            ring->levels[i] = NULL;
        }
    }
}

bool wheel_drain(struct wheel *wheel, uint64_t max) {
    return ring_drain(wheel, &wheel->ring, &max) && ring_drain(wheel, &wheel->old, &max);
}

void wheel_free(struct wheel *wheel) {
    if (!wheel) {
        return;
    }
    wheel_drain(wheel, UINT64_MAX);
    ring_fini(wheel, &wheel->ring);
    ring_fini(wheel, &wheel->old);
    check(wheel->memory == heap_block_bytes(sizeof(*wheel)));
    heap_release(wheel->heap, wheel, sizeof(*wheel));
}

/* ---- When to run ---- */

/* When work on a bucket must begin. Level 0: when its millisecond is over. Above: when it is
 * entered if it is small, otherwise so much earlier that PACE_PER_MS suffices, but not before it is
 * the next one. */
static int64_t bucket_due(uint64_t number, unsigned level, uint64_t count) {
    int64_t start = bucket_start(number, level);
    if (start == INT64_MAX) {
        return INT64_MAX;
    }
    if (level == 0 || count <= SMALL_BUCKET) {
        return start + 1;
    }
    int64_t due = start - (int64_t)(count / PACE_PER_MS) - 1;
    int64_t earliest = number ? bucket_start(number - 1, level) : 0;
    return due > earliest ? due : earliest;
}

void wheel_add(struct wheel *wheel, struct wheel_ref ref, int64_t deadline_ms) {
    uint64_t time = deadline_ms > 0 ? (uint64_t)deadline_ms : 0;
    if (time < wheel->pos) {
        wheel->pos = time; /* The clock has jumped back, and no run has noticed yet. */
    }
    unsigned level = level_for(wheel->pos, time);
    uint64_t number = bucket_number(time, level);
    bucket_push(wheel, level, number, ref);
    int64_t due = bucket_due(number, level, ring_bucket_count(&wheel->ring, level, number));
    if (due < wheel->next_run) {
        wheel->next_run = due;
    }
}

int64_t wheel_next_run(const struct wheel *wheel) {
    return wheel->next_run;
}

/* ---- Running ---- */

struct run {
    struct wheel *wheel;
    const struct wheel_owner *owner;
    int64_t now_ms;
    uint64_t budget;
};

/* Resolves up to max references of a bucket, and puts back those that are wanted later. */
static unsigned resolve_batch(struct run *run, struct ring *ring, unsigned level, uint64_t number,
                              unsigned max) {
    struct wheel_ref refs[BATCH];
    const struct wheel_owner *owner = run->owner;
    unsigned n = bucket_pop(run->wheel, ring, level, number, refs, max < BATCH ? max : BATCH);
    for (int stage = 0; stage < 2; stage++) {
        for (unsigned i = 0; i < n; i++) {
            owner->prefetch(owner->arg, refs[i], stage);
        }
    }
    bool sweeping = ring == &run->wheel->old;
    for (unsigned i = 0; i < n; i++) {
        int64_t deadline = owner->resolve(owner->arg, refs[i], run->now_ms, sweeping);
        if (deadline != WHEEL_DROP) {
            check(deadline >= run->now_ms);
            wheel_add(run->wheel, refs[i], deadline);
        }
    }
    run->budget -= n < run->budget ? n : run->budget;
    return n;
}

/* Empties a bucket down to `keep` references in each ring. False: out of budget. */
static bool bucket_empty(struct run *run, unsigned level, uint64_t number, uint64_t keep) {
    struct ring *rings[] = {&run->wheel->old, &run->wheel->ring};
    for (unsigned i = run->wheel->old_count ? 0 : 1; i < 2; i++) {
        uint64_t count;
        while ((count = ring_bucket_count(rings[i], level, number)) > keep) {
            if (run->budget == 0) {
                return false;
            }
            uint64_t excess = count - keep;
            resolve_batch(run, rings[i], level, number, excess < BATCH ? (unsigned)excess : BATCH);
        }
    }
    return true;
}

/* All that is for times up to the end of millisecond `pos` is brought down and fired. False: out of
 * budget. */
static bool fire(struct run *run) {
    uint64_t pos = run->wheel->pos;
    for (unsigned level = LEVEL_COUNT; level-- > 0;) {
        if (!bucket_empty(run, level, bucket_number(pos, level), 0)) {
            return false;
        }
    }
    return true;
}

/* The next millisecond after pos at which a bucket fires or is entered, at most `limit`. */
static uint64_t next_event(const struct wheel *wheel, uint64_t limit) {
    uint64_t event = limit;
    for (unsigned level = 0; level < LEVEL_COUNT; level++) {
        uint64_t number = rings_next(wheel, level, bucket_number(wheel->pos, level) + 1);
        if (number != UINT64_MAX) {
            int64_t start = bucket_start(number, level);
            event = (uint64_t)start < event ? (uint64_t)start : event;
        }
    }
    return event;
}

/* Empties large next buckets as far as their pace asks by now; returns when to go on. The current
 * buckets hold something only if pos has just entered them, or has jumped back. */
static int64_t run_ahead(struct run *run) {
    const struct wheel *wheel = run->wheel;
    int64_t next = INT64_MAX;
    for (unsigned level = 0; level < LEVEL_COUNT; level++) {
        uint64_t number = rings_next(wheel, level, bucket_number(wheel->pos, level));
        if (number == UINT64_MAX) {
            continue;
        }
        uint64_t count = rings_bucket_count(wheel, level, number);
        int64_t due = bucket_due(number, level, count);
        if (due <= run->now_ms && level > 0) {
            int64_t start = bucket_start(number, level);
            uint64_t left_ms = start > run->now_ms ? (uint64_t)(start - run->now_ms) : 0;
            uint64_t pace = count / (left_ms + 1) + 1;
            pace = pace > PACE_PER_MS ? pace : PACE_PER_MS;
            uint64_t keep = left_ms > 0 ? (left_ms - 1) * pace : 0;
            if (!bucket_empty(run, level, number, keep)) {
                return run->now_ms;
            }
            due = run->now_ms + 1;
        }
        next = due < next ? due : next;
    }
    return next;
}

/* Resolves old references with what is left of the budget. */
static void run_sweep(struct run *run) {
    struct wheel *wheel = run->wheel;
    for (unsigned level = 0; level < LEVEL_COUNT && run->budget && wheel->old_count; level++) {
        uint64_t number;
        while (run->budget &&
               (number = ring_next(&wheel->old, level, bucket_number(wheel->pos, level))) !=
                   UINT64_MAX) {
            resolve_batch(run, &wheel->old, level, number,
                          run->budget < BATCH ? (unsigned)run->budget : BATCH);
        }
    }
    if (wheel->old_count == 0) {
        ring_fini(wheel, &wheel->old);
    }
}

static int64_t run_until_now(struct run *run) {
    struct wheel *wheel = run->wheel;
    uint64_t now = run->now_ms > 0 ? (uint64_t)run->now_ms : 0;
    if (now < wheel->pos) {
        wheel->pos = now;
    }
    while (wheel->pos < now) {
        if (!fire(run)) {
            return run->now_ms;
        }
        wheel->pos = next_event(wheel, now);
    }
    int64_t next = run_ahead(run);
    if (wheel->old_count && next > run->now_ms) {
        run_sweep(run);
        next = wheel->old_count ? run->now_ms + 1 : run_ahead(run);
    }
    return next;
}

int64_t wheel_run(struct wheel *wheel, const struct wheel_owner *owner, int64_t now_ms,
                  uint64_t budget) {
    struct run run = {wheel, owner, now_ms, budget};
    wheel->next_run = INT64_MAX;
    int64_t next = run_until_now(&run);
    /* References that were put back meanwhile may be wanted earlier. */
    wheel->next_run = next < wheel->next_run ? next : wheel->next_run;
    return wheel->next_run;
}

/* ---- Sweeps ---- */

void wheel_sweep(struct wheel *wheel) {
    if (wheel->old_count || wheel->count == 0) {
        return;
    }
    ring_fini(wheel, &wheel->old);
    wheel->old = wheel->ring;
    memset(&wheel->ring, 0, sizeof(wheel->ring));
    wheel->old_count = wheel->count;
    wheel->next_run = 0;
}

bool wheel_sweeping(const struct wheel *wheel) {
    return wheel->old_count > 0;
}

/* ---- Looking inside ---- */

uint64_t wheel_count(const struct wheel *wheel) {
    return wheel->count;
}

size_t wheel_memory(const struct wheel *wheel) {
    return wheel->memory;
}

static void level_visit(const struct wheel *wheel, const struct level *level, unsigned index,
                        wheel_visit_fn *visit, void *arg) {
    uint64_t current = bucket_number(wheel->pos, index);
    for (uint64_t number = current; number < current + RING; number++) {
        const struct chunk *chunk = level->buckets[number & RING_MASK].chunks;
        for (; chunk; chunk = chunk->next) {
            for (unsigned i = 0; i < chunk->count; i++) {
                visit(arg, ref_read(chunk->refs[i]), bucket_start(number, index));
            }
        }
    }
}

void wheel_visit(const struct wheel *wheel, wheel_visit_fn *visit, void *arg) {
    const struct ring *rings[] = {&wheel->ring, &wheel->old};
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned index = 0; index < LEVEL_COUNT; index++) {
            if (rings[i]->levels[index]) {
                level_visit(wheel, rings[i]->levels[index], index, visit, arg);
            }
        }
    }
}

static uint64_t level_verify(const struct level *level, size_t *bytes) {
    uint64_t total = 0;
    for (unsigned i = 0; i < RING; i++) {
        const struct bucket *bucket = &level->buckets[i];
        uint64_t count = 0;
        for (const struct chunk *chunk = bucket->chunks; chunk; chunk = chunk->next) {
            check(chunk->count > 0 && (chunk == bucket->chunks || chunk->count == CHUNK_REFS));
            count += chunk->count;
            *bytes += heap_block_bytes(sizeof(*chunk));
        }
        check(count == bucket->count);
        check((level->occupied[i / 64] >> (i % 64) & 1) == (count > 0));
        total += count;
    }
    *bytes += heap_block_bytes(sizeof(*level));
    return total;
}

void wheel_verify(const struct wheel *wheel) {
    size_t bytes = heap_block_bytes(sizeof(*wheel));
    uint64_t count = 0;
    uint64_t old_count = 0;
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        count += wheel->ring.levels[i] ? level_verify(wheel->ring.levels[i], &bytes) : 0;
        old_count += wheel->old.levels[i] ? level_verify(wheel->old.levels[i], &bytes) : 0;
    }
    check(count + old_count == wheel->count && old_count == wheel->old_count);
    check(bytes == wheel->memory);
}
