/* SPDX-License-Identifier: BSD-3-Clause */
/* Background work in slices: expiry on time, and freeing what was flushed.
 *
 * The wheel hands up references to keys, each a slot and 26 bits of a hash. All entries that match
 * are looked at, mostly one: those past their deadline are deleted, and if any remain the reference
 * goes back to the earliest of their deadlines. That keeps invariant 4 of keyspace.c whoever the
 * reference was made for.
 *
 * References outlive their keys: one of a deleted key is dropped when it comes up. A key whose
 * deadline moves to an earlier time gets a second one. When more than half of all are of these
 * kinds, a sweep looks at all of them. An entry that was seen in this sweep, or got a new reference
 * during it, carries the database's parity in its ENTRY_SWEPT flag, so a second old reference to it
 * is known as superfluous.
 */
#include "shard/keys/keyspace_private.h"

/* References per slice: about 50 us of work; and elements that are over. */
#define SLICE_REFS     96
#define SLICE_ELEMENTS 256
/* Entries freed per slice, some at a time until enough bytes are free. */
#define SLICE_FREES   256
#define FREES_AT_ONCE 8
/* Bytes freed per slice. */
#define SLICE_BYTES ((size_t)1 << 20)
/* Of a value that many small blocks make. */
#define SLICE_WASTE_BYTES ((size_t)256 << 10)
/* This many superfluous references are not worth a sweep. */
#define SWEEP_MIN 4096

/* What is hidden is looked at again so much later: it may be shown by then. */
#define HIDDEN_AGAIN_MS 100

/* ---- The wheel's answers ---- */

#define DUE_MAX 16

struct resolving {
    struct keyspace *ks;
    uint32_t db;
    struct database *database;
    /* Of the reference at hand: */
    struct wheel_ref ref;
    int64_t now_ms;
    struct entry *due[DUE_MAX];
    unsigned due_count;
    uint64_t elements; /* that may be taken out still, in this slice */
    bool again;        /* what is left of a value may be over, too */
    bool late;         /* there are more that are over */
    int64_t earliest;  /* deadline of what is not due */
    bool all_swept;
};

static bool matches(const struct resolving *resolving, const struct entry *entry) {
    struct key key = entry_make_key(resolving->ks, entry, resolving->ref.slot);
    return entry->flags & ENTRY_REFERENCED &&
           wheel_ref_make(key.slot, key.hash).hash_bits == resolving->ref.hash_bits;
}

static void look_at(void *arg, void *item) {
    struct resolving *resolving = arg;
    struct entry *entry = item;
    if (!matches(resolving, entry)) {
        return;
    }
    int64_t elements_due = entry_elements_due(resolving->ks->forms, entry);
    bool dead = entry_is_dead(entry, resolving->now_ms);
    bool over = elements_due != NO_EXPIRY && resolving->now_ms > elements_due;
    bool hidden = keyspace_hides_slot(resolving->ks, resolving->ref.slot);
    bool stays = (dead || over) && (hidden || entry_is_locked(resolving->ks, entry));
    if (over && !dead && !stays && resolving->elements == 0) {
        stays = resolving->late = true;
    }
    if ((dead || over) && !stays) {
        if (resolving->due_count < DUE_MAX) {
            resolving->due[resolving->due_count++] = entry;
        }
        return;
    }
    int64_t deadline = stays ? resolving->now_ms + (hidden ? HIDDEN_AGAIN_MS : 1)
                             : earlier_deadline(entry_deadline(entry), elements_due);
    if (resolving->earliest == WHEEL_DROP || deadline < resolving->earliest) {
        resolving->earliest = deadline;
    }
    resolving->all_swept &= !!(entry->flags & ENTRY_SWEPT) == resolving->database->parity;
}

static void mark_swept(void *arg, void *item) {
    struct resolving *resolving = arg;
    struct entry *entry = item;
    if (matches(resolving, entry)) {
        entry->flags = (uint8_t)((entry->flags & ~ENTRY_SWEPT) |
                                 (resolving->database->parity ? ENTRY_SWEPT : 0));
    }
}

static void walk_matches(struct resolving *resolving, table_item_fn *visit) {
    const unsigned shift = TABLE_PLACE_BITS - WHEEL_HASH_BITS;
    uint64_t first = (uint64_t)resolving->ref.hash_bits << shift;
    uint64_t end = ((uint64_t)resolving->ref.hash_bits + 1) << shift;
    struct slot *slot = &resolving->database->slots[resolving->ref.slot];
    table_walk(&slot->table, &resolving->ks->env, first, end, UINT64_MAX, visit, resolving);
}

static void expire_due(struct resolving *resolving) {
    struct keyspace *ks = resolving->ks;
    for (unsigned i = 0; i < resolving->due_count; i++) {
        struct entry *entry = resolving->due[i];
        bool dead = entry_is_dead(entry, resolving->now_ms);
        int64_t deadline = dead ? entry_deadline(entry) : entry_elements_due(ks->forms, entry);
        uint64_t late = (uint64_t)(resolving->now_ms - deadline - 1);
        if (late > ks->stats.expire_late_ms_max) {
            ks->stats.expire_late_ms_max = late;
        }
        struct key key = entry_make_key(ks, entry, resolving->ref.slot);
        if (LIKELY(dead)) {
            database_expire(ks, resolving->db, &key, entry);
        } else {
            database_expire_elements(ks, resolving->db, &key, entry, resolving->now_ms,
                                     &resolving->elements);
            resolving->again = true;
        }
    }
}

static int64_t resolve(void *arg, struct wheel_ref ref, int64_t now_ms, bool sweeping) {
    struct resolving *resolving = arg;
    resolving->ref = ref;
    resolving->now_ms = now_ms;
    do {
        resolving->due_count = 0;
        resolving->earliest = WHEEL_DROP;
        resolving->all_swept = true;
        resolving->again = false;
        walk_matches(resolving, look_at);
        expire_due(resolving);
    } while (resolving->due_count == DUE_MAX || resolving->again);
    if (UNLIKELY(resolving->late)) {
        resolving->ks->late.any = true;
        resolving->ks->late.db = resolving->db;
        resolving->ks->late.ref = ref;
        resolving->late = false;
    }
    if (sweeping && resolving->earliest != WHEEL_DROP) {
        if (resolving->all_swept) {
            return WHEEL_DROP;
        }
        walk_matches(resolving, mark_swept);
    }
    return resolving->earliest;
}

static void prefetch(void *arg, struct wheel_ref ref, int stage) {
    struct resolving *resolving = arg;
    const struct table *table = &resolving->database->slots[ref.slot].table;
    uint64_t hash = (uint64_t)ref.hash_bits << (64 - WHEEL_HASH_BITS);
    if (stage == 0) {
        table_prefetch(table, hash);
        return;
    }
    struct table_probe probe = table_probe(table, hash);
    const char *entry = table_probe_next(&probe);
    if (entry) {
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 64);
    }
}

/* ---- Slices ---- */

static int64_t work_wheel(struct keyspace *ks, uint32_t db, int64_t now_ms) {
    struct database *database = ks->databases[db];
    struct wheel *wheel = database->wheel;
    size_t before = wheel_memory(wheel);
    if (!wheel_sweeping(wheel) && wheel_count(wheel) > 2 * database->referenced + SWEEP_MIN) {
        database->parity = !database->parity;
        wheel_sweep(wheel);
    }
    int64_t next = wheel_next_run(wheel);
    if (next > now_ms) {
        return next; /* A sweep that has just begun runs at once. */
    }
    struct resolving resolving = {
        .ks = ks, .db = db, .database = database, .elements = SLICE_ELEMENTS};
    struct wheel_owner owner = {&resolving, resolve, prefetch};
    uint64_t budget = SLICE_REFS * (uint64_t)(3 + ks->expire.effort) / 4;
    next = wheel_run(wheel, &owner, now_ms, budget);
    ks->bytes += wheel_memory(wheel) - before;
    return next;
}

/* Goes on with the key whose elements were too many: its reference comes up again only in the next
 * millisecond. True: there are still more. */
static bool work_late(struct keyspace *ks, int64_t now_ms) {
    struct database *database = ks->databases[ks->late.db];
    ks->late.any = false;
    if (database && database->volatile_count > 0) {
        struct resolving resolving = {
            .ks = ks, .db = ks->late.db, .database = database, .elements = SLICE_ELEMENTS};
        resolve(&resolving, ks->late.ref, now_ms, false);
    }
    return ks->late.any;
}

static bool free_some_garbage(struct keyspace *ks, struct database *database) {
    uint64_t freed;
    bool done = database_drain(ks, database, FREES_AT_ONCE, &freed);
    ks->stats.lazyfree_pending -= freed;
    ks->stats.lazyfreed += freed;
    ks->stats.lazyfreed_many += freed;
    return done;
}

static void free_garbage(struct keyspace *ks) {
    struct database *database = LIST_ENTRY(list_first(&ks->garbage), struct database, link);
    size_t used_before = heap_used(ks->heap);
    bool done = false;
    for (unsigned i = 0; i < SLICE_FREES / FREES_AT_ONCE && !done; i++) {
        done = free_some_garbage(ks, database);
        if (used_before - heap_used(ks->heap) >= SLICE_BYTES) {
            break;
        }
    }
    if (done) {
        list_remove(&database->link);
        database_free(ks, database);
    }
}

/* A large value's next piece. */
static void free_waste(struct keyspace *ks) {
    struct waste *waste = LIST_ENTRY(list_first(&ks->wastes), struct waste, link);
    size_t used_before = heap_used(ks->heap);
    size_t budget = SLICE_WASTE_BYTES;
    if (forms_find(ks->forms, &waste->value)->free_some(ks->heap, &waste->value, &budget)) {
        list_remove(&waste->link);
        ks->stats.lazyfreed_many += waste->is_many;
        heap_release(ks->heap, waste, sizeof(*waste));
        ks->stats.lazyfree_pending--;
        ks->stats.lazyfreed++;
    }
    ks->bytes -= used_before - heap_used(ks->heap);
}

bool keyspace_free_some(struct keyspace *ks) {
    if (!list_empty(&ks->wastes)) {
        free_waste(ks);
    } else if (!list_empty(&ks->garbage)) {
        free_garbage(ks);
    } else {
        return false;
    }
    return true;
}

int64_t keyspace_next_expiry(const struct keyspace *ks) {
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < ks->database_count; i++) {
        const struct database *database = ks->databases[i];
        if (database && database->wheel && database->referenced > 0) {
            int64_t run = wheel_next_run(database->wheel);
            next = run < next ? run : next;
        }
    }
    return next;
}

int64_t keyspace_work(struct keyspace *ks, int64_t now_ms) {
    ks->now_ms = now_ms;
    int64_t next = INT64_MAX;
    bool active = ks->expire.active && !ks->expire.paused && !ks->expire.importing;
    for (uint32_t i = 0; active && i < ks->database_count; i++) {
        if (ks->databases[i] && ks->databases[i]->wheel) {
            int64_t due = work_wheel(ks, i, now_ms);
            next = due < next ? due : next;
        }
    }
    if (UNLIKELY(ks->late.any) && active && work_late(ks, now_ms)) {
        next = now_ms;
    }
    if (next <= now_ms) {
        return now_ms; /* Expiry goes first: it has a deadline. */
    }
    int64_t give_ms = heap_work(ks->heap, now_ms);
    next = give_ms < next ? give_ms : next;
    if (keyspace_free_some(ks)) {
        return now_ms;
    }
    if (!list_empty(&ks->handed)) {
        next = rewrite_some(ks) ? now_ms : now_ms + 1;
        return next;
    }
    int64_t defrag_ms = keyspace_defrag(ks, now_ms);
    return defrag_ms < next ? defrag_ms : next;
}
