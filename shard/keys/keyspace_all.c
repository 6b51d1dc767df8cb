/* SPDX-License-Identifier: BSD-3-Clause */
/* What concerns all keys: walking, picking at random, flushing, statistics, verification.
 *
 * SCAN's cursor is a slot and a place in the order of hashes (table.h): both mean the same whatever
 * the tables look like when the next call comes, so nothing is missed and nothing is seen twice.
 * Written as a number it is small because a walk stops at places of few leading bits, and those are
 * written lowest first:
 *
 *     place   1011 0000 0000 ...     slot 777
 *     cursor  777 + 16384 * 1101b
 */
#include "shard/keys/keyspace_private.h"

#include "shard/memory/sysmem.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Walking ---- */

struct scan {
    struct keyspace *ks;
    int64_t now_ms;
    uint64_t seen;
    keyspace_visit_fn *visit;
    void *arg;
};

static void scan_item(void *arg, void *item) {
    struct scan *scan = arg;
    scan->seen++;
    if (LIKELY(!entry_is_dead(item, scan->now_ms))) {
        scan->visit(scan->arg, item);
    } else {
        note_dead(scan->ks, item);
    }
}

uint32_t database_next_slot(const struct database *database, uint32_t from) {
    uint32_t slot = from;
    while (slot < SLOTS) {
        if (database->group_counts[slot >> GROUP_BITS] == 0) {
            slot = ((slot >> GROUP_BITS) + 1) << GROUP_BITS;
        } else if (database->slots[slot].table.count == 0) {
            slot++;
        } else {
            return slot;
        }
    }
    return SLOTS;
}

/* The first bit of a place stands right above the slot. Of a made-up cursor bits may be left over
 * that no place has. */
static uint64_t cursor_place(uint64_t cursor) {
    return table_cursor_place(cursor / SLOTS);
}

static_assert((UINT64_C(1) << TABLE_STOP_BITS_MIN) * SLOTS <= UINT64_C(1) << 31, "fits an int");
static_assert((UINT64_C(1) << TABLE_STOP_BITS_MAX) * SLOTS < UINT64_C(100000000000000),
              "14 digits");

static uint64_t make_cursor(uint32_t slot, uint64_t place) {
    return table_cursor(place) * SLOTS + slot;
}

uint64_t keyspace_scan(struct keyspace *ks, uint32_t db, uint64_t cursor, uint64_t count,
                       int64_t now_ms, keyspace_visit_fn *visit, void *arg) {
    return keyspace_scan_slots(ks, db, cursor, SLOTS, count, now_ms, visit, arg);
}

uint64_t keyspace_scan_slots(struct keyspace *ks, uint32_t db, uint64_t cursor, uint32_t end,
                             uint64_t count, int64_t now_ms, keyspace_visit_fn *visit, void *arg) {
    const struct database *database = keyspace_peek(ks, db);
    uint32_t first = scan_cursor_slot(cursor);
    if (!database) {
        return 0;
    }
    uint32_t slot = database_next_slot(database, first);
    uint64_t place = slot == first ? cursor_place(cursor) : 0;
    struct scan scan = {ks, now_ms, 0, visit, arg};
    count = count ? count : 1;
    while (slot < end) {
        place = table_walk(&database->slots[slot].table, &ks->env, place, TABLE_PLACE_END,
                           count - scan.seen, scan_item, &scan);
        if (place < TABLE_PLACE_END) {
            return make_cursor(slot, place);
        }
        slot = database_next_slot(database, slot + 1);
        place = 0;
        if (scan.seen >= count) {
            break;
        }
    }
    return slot < SLOTS ? scan_cursor_at_slot((uint16_t)slot) : 0;
}

/* ---- Hidden slots ---- */

void keyspace_hide(struct keyspace *ks, const uint8_t *slots) {
    ks->hidden = slots;
}

bool keyspace_hides(const struct keyspace *ks, const struct entry *entry) {
    return UNLIKELY(ks->hidden != NULL) &&
           keyspace_hides_slot(ks, key_slot(entry_key_bytes(entry)));
}

uint64_t keyspace_shown(const struct keyspace *ks, uint32_t db) {
    const struct database *database = keyspace_peek(ks, db);
    uint64_t count = database ? database->count : 0;
    for (uint32_t slot = 0; ks->hidden != NULL && count > 0 && slot < SLOTS; slot++) {
        count -= keyspace_hides_slot(ks, slot) ? database->slots[slot].table.count : 0;
    }
    return count;
}

/* ---- Random keys ---- */

uint16_t database_slot_at(const struct database *database, uint64_t *index) {
    uint32_t group = 0;
    while (*index >= database->group_counts[group]) {
        *index -= database->group_counts[group];
        group++;
    }
    uint32_t slot = group << GROUP_BITS;
    while (*index >= database->slots[slot].table.count) {
        *index -= database->slots[slot].table.count;
        slot++;
    }
    return (uint16_t)slot;
}

struct entry *database_at(const struct database *database, uint64_t index, uint16_t *ret_slot) {
    *ret_slot = database_slot_at(database, &index);
    return table_at(&database->slots[*ret_slot].table, index);
}

struct first_alive {
    const struct keyspace *ks;
    struct entry *entry;
};

static void take_first(void *arg, struct entry *entry) {
    struct first_alive *first = arg;
    if (!first->entry && !keyspace_hides(first->ks, entry)) {
        first->entry = entry;
    }
}

/* Where dead keys are kept, Valkey gives up after some tries if there may be no others. */
static bool takes_dead(const struct keyspace *ks, const struct database *database) {
    return (ks->expire.paused || ks->expire.importing) && database->expiring == database->count;
}

/* When nearly all keys are dead and may not be deleted: the first live one behind a random place.
 */
static struct entry *alive_from(struct keyspace *ks, uint32_t db, uint64_t start, int64_t now_ms) {
    struct first_alive first = {ks, NULL};
    uint64_t cursor = start;
    for (int rounds = 0; rounds < 2 && !first.entry; rounds++) {
        do {
            cursor = keyspace_scan(ks, db, cursor, 16, now_ms, take_first, &first);
        } while (cursor && !first.entry);
    }
    return first.entry;
}

#define RANDOM_TRIES 100

/* Uniform over all keys by index: 128 groups, then 128 slots, then the counts in the trie. */
struct entry *keyspace_random(struct keyspace *ks, uint32_t db, uint64_t random, int64_t now_ms) {
    const struct database *database = keyspace_peek(ks, db);
    struct entry *dead = NULL;
    if (UNLIKELY(ks->hidden != NULL) && keyspace_shown(ks, db) == 0) {
        return NULL;
    }
    for (int i = 0; i < RANDOM_TRIES && database && database->count; i++) {
        uint64_t index = (uint64_t)((unsigned __int128)random * database->count >> 64);
        uint16_t slot;
        struct entry *entry = database_at(database, index, &slot);
        if (keyspace_hides_slot(ks, slot)) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            continue;
        }
        if (!entry_is_dead(entry, now_ms)) {
            return entry;
        }
        if (!entry_is_locked(ks, entry) && keyspace_buries(ks, entry, now_ms, false)) {
            struct key key = entry_make_key(ks, entry, slot);
            database_expire(ks, db, &key, entry);
        } else {
            dead = entry;
        }
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
    if (!database || database->count == 0) {
        return NULL;
    }
    if (dead && takes_dead(ks, database)) {
        return dead;
    }
    return alive_from(ks, db, scan_cursor_at_slot((uint16_t)(random >> 50)), now_ms);
}

/* ---- Flushing and swapping ---- */

struct draining {
    struct keyspace *ks;
    struct slot *slot;
};

static void release_item(void *arg, void *item) {
    struct draining *draining = arg;
    entry_free(draining->ks, draining->slot, item, FREE_UNCOUNTED);
}

bool database_drain(struct keyspace *ks, struct database *database, uint64_t max,
                    uint64_t *ret_freed) {
    uint64_t freed = 0;
    uint32_t slot = 0;
    while (freed < max && (slot = database_next_slot(database, slot)) < SLOTS) {
        struct table *table = &database->slots[slot].table;
        struct draining draining = {ks, &database->slots[slot]};
        struct books books = books_open(ks);
        uint64_t n = table_drain(table, &ks->env, max - freed, release_item, &draining);
        books_close(ks, &database->slots[slot], books);
        freed += n;
        database->count -= n;
        database->group_counts[slot >> GROUP_BITS] -= n;
        if (table->count == 0) {
            ks->bytes -= sizeof(struct slot);
        }
    }
    *ret_freed = freed;
    if (database->count) {
        return false;
    }
    if (database->wheel) {
        size_t before = wheel_memory(database->wheel);
        bool done = wheel_drain(database->wheel, max);
        ks->bytes -= before - wheel_memory(database->wheel);
        return done;
    }
    return true;
}

static uint64_t flush_one(struct keyspace *ks, uint32_t db, bool lazy) {
    struct database *database = ks->databases[db];
    if (!database) {
        return 0;
    }
    uint64_t count = database->count;
    ks->databases[db] = NULL;
    if (lazy || database->holds > 0) {
        ks->stats.lazyfree_pending += count;
        list_push_back(database->holds > 0 ? &ks->flushed : &ks->garbage, &database->link);
        return count;
    }
    uint64_t freed;
    check(database_drain(ks, database, UINT64_MAX, &freed) && freed == count);
    database_free(ks, database);
    return count;
}

uint64_t keyspace_flush(struct keyspace *ks, uint32_t db, bool lazy) {
    uint64_t count = 0;
    if (ks->hooks.flushing) {
        ks->hooks.flushing(ks->hooks.arg, db);
    }
    rewrite_forget(ks, db, SLOTS);
    if (db == UINT32_MAX) {
        for (uint32_t i = 0; i < ks->database_count; i++) {
            count += flush_one(ks, i, lazy);
        }
    } else {
        check(db < ks->database_count);
        count = flush_one(ks, db, lazy);
    }
    ks->stats.changes += count;
    return count;
}

void keyspace_swap_db(struct keyspace *ks, uint32_t a, uint32_t b) {
    check(a < ks->database_count && b < ks->database_count);
    if (ks->hooks.swapping) {
        ks->hooks.swapping(ks->hooks.arg, a, b);
    }
    rewrite_swap(ks, a, b);
    struct database *database = ks->databases[a];
    ks->databases[a] = ks->databases[b];
    ks->databases[b] = database;
}

/* ---- Aside ---- */

uint32_t keyspace_aside(const struct keyspace *ks) {
    return ks->database_count;
}

void keyspace_drop_aside(struct keyspace *ks) {
    for (uint32_t i = 0; i < ks->database_count; i++) {
        flush_one(ks, ks->database_count + i, true);
    }
}

void keyspace_take_aside(struct keyspace *ks) {
    struct database **aside = ks->databases + ks->database_count;
    for (uint32_t i = 0; i < ks->database_count; i++) {
        if (aside[i] != NULL && ks->hooks.swapping != NULL) { /* who has seen that it has no key */
            ks->hooks.swapping(ks->hooks.arg, i, ks->database_count + i);
        }
    }
    keyspace_flush(ks, UINT32_MAX, true);
    for (uint32_t i = 0; i < ks->database_count; i++) {
        ks->databases[i] = aside[i];
        aside[i] = NULL;
    }
}

/* ---- Figures ---- */

uint64_t keyspace_count(const struct keyspace *ks, uint32_t db) {
    const struct database *database = keyspace_peek(ks, db);
    return database ? database->count : 0;
}

uint64_t keyspace_count_expiring(const struct keyspace *ks, uint32_t db) {
    const struct database *database = keyspace_peek(ks, db);
    return database ? database->expiring : 0;
}

uint64_t keyspace_count_volatile(const struct keyspace *ks, uint32_t db) {
    const struct database *database = keyspace_peek(ks, db);
    return database ? database->volatile_count : 0;
}

int64_t keyspace_average_ttl(const struct keyspace *ks, uint32_t db, int64_t now_ms) {
    const struct database *database = keyspace_peek(ks, db);
    if (!database || database->expiring == 0) {
        return 0;
    }
    int64_t mean = (int64_t)(database->deadline_sum / (__int128)database->expiring) - now_ms;
    return mean > 0 ? mean : 0;
}

const struct keyspace_stats *keyspace_stats(const struct keyspace *ks) {
    return &ks->stats;
}

void keyspace_reset_stats(struct keyspace *ks) {
    ks->stats.hits = 0;
    ks->stats.misses = 0;
    ks->stats.expired_keys = 0;
    ks->stats.expired_fields = 0;
    ks->stats.evicted_keys = 0;
    ks->stats.expire_late_ms_max = 0;
    ks->stats.defrag_hits = ks->stats.defrag_misses = 0;
    ks->stats.defrag_key_hits = ks->stats.defrag_key_misses = 0;
    ks->stats.defrag_ms = 0;
    ks->stats.lazyfreed = 0;
    ks->stats.lazyfreed_many = 0;
}

size_t keyspace_memory(const struct keyspace *ks) {
    return ks->bytes;
}

size_t keyspace_slot_memory(const struct keyspace *ks, uint32_t db, uint16_t slot) {
    const struct database *database = keyspace_peek(ks, db);
    if (!database || database->slots[slot].table.count == 0) {
        return 0;
    }
    return database->slots[slot].bytes + sizeof(struct slot);
}

uint64_t keyspace_slot_count_in(const struct keyspace *ks, uint32_t db, uint16_t slot) {
    const struct database *database = keyspace_peek(ks, db);
    return database != NULL ? database->slots[slot].table.count : 0;
}

uint64_t keyspace_slot_count(const struct keyspace *ks, uint16_t slot) {
    uint64_t count = 0;
    for (uint32_t db = 0; db < ks->database_count; db++) {
        count += keyspace_slot_count_in(ks, db, slot);
    }
    return count;
}

size_t keyspace_table_memory(const struct keyspace *ks, uint32_t db) {
    const struct database *database = keyspace_peek(ks, db);
    return database ? database->table_bytes : 0;
}

size_t keyspace_wheel_memory(const struct keyspace *ks, uint32_t db) {
    const struct database *database = keyspace_peek(ks, db);
    return database && database->wheel ? wheel_memory(database->wheel) : 0;
}

/* ---- Verification ---- */

/* A reference of the wheel. */
struct coming {
    uint64_t name; /* slot and hash bits in one number */
    int64_t at_ms;
};

struct comings {
    struct coming *list; /* ascending by name, then by time */
    size_t count;
};

static uint64_t ref_name(struct wheel_ref ref) {
    return (uint64_t)ref.slot << WHEEL_HASH_BITS | ref.hash_bits;
}

static void comings_add(void *arg, struct wheel_ref ref, int64_t comes_up_ms) {
    struct comings *comings = arg;
    comings->list[comings->count++] = (struct coming){ref_name(ref), comes_up_ms};
}

static int coming_compare(const void *a_ptr, const void *b_ptr) {
    const struct coming *a = a_ptr, *b = b_ptr;
    if (a->name != b->name) {
        return a->name < b->name ? -1 : 1;
    }
    return (a->at_ms > b->at_ms) - (a->at_ms < b->at_ms);
}

static void comings_init(struct comings *comings, const struct wheel *wheel) {
    *comings = (struct comings){0};
    if (wheel && wheel_count(wheel)) {
        comings->list = sysmem_alloc(wheel_count(wheel) * sizeof(*comings->list));
        wheel_visit(wheel, comings_add, comings);
        check(comings->count == wheel_count(wheel));
        qsort(comings->list, comings->count, sizeof(*comings->list), coming_compare);
    }
}

/* Whether a reference of this name comes up at `deadline` or before; time begins at 0. */
static bool comings_has(const struct comings *comings, uint64_t name, int64_t deadline) {
    deadline = deadline > 0 ? deadline : 0;
    size_t low = 0;
    size_t high = comings->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (comings->list[middle].name < name) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < comings->count && comings->list[low].name == name &&
           comings->list[low].at_ms <= deadline;
}

struct tally {
    const struct keyspace *ks;
    const struct database *database;
    struct comings comings;
    uint32_t slot;
    uint64_t bytes;
    uint64_t expiring;
    uint64_t referenced;
    uint64_t volatile_count;
    __int128 deadline_sum;
};

static void verify_item(void *arg, void *item) {
    struct tally *tally = arg;
    const struct entry *entry = item;
    struct key key = entry_make_key(tally->ks, entry, (uint16_t)tally->slot);
    check(key_slot(key.name) == tally->slot);
    check(database_find(tally->database, &key) == entry);
    struct value value = entry_get(entry);
    forms_find(tally->ks->forms, &value)->verify(&value);
    check(forms_find(tally->ks->forms, &value)->count(&value) > 0 ||
          type_may_be_empty(entry_type(entry)));
    tally->bytes += heap_block_bytes(entry_bytes(entry)) + value_memory(tally->ks->forms, &value);
    int64_t elements_due = entry_elements_due(tally->ks->forms, entry);
    check(elements_due == value_elements_due(tally->ks->forms, &value));
    tally->volatile_count += elements_due != NO_EXPIRY;
    if (entry->flags & ENTRY_HAS_TTL) {
        tally->expiring++;
        tally->deadline_sum += entry_deadline(entry);
    }
    int64_t due = earlier_deadline(entry_deadline(entry), elements_due);
    check((due != NO_EXPIRY) == !!(entry->flags & ENTRY_REFERENCED));
    if (due != NO_EXPIRY) {
        tally->referenced++;
        /* What was dead when it was stored (MSETEX with a time that is over) comes up now. */
        int64_t now_ms = tally->ks->now_ms;
        check(comings_has(&tally->comings, ref_name(wheel_ref_make(key.slot, key.hash)),
                          due > now_ms ? due : now_ms));
        check(wheel_sweeping(tally->database->wheel) ||
              !!(entry->flags & ENTRY_SWEPT) == tally->database->parity);
    }
}

/* Returns the bytes of all slots. */
static size_t database_verify(const struct keyspace *ks, const struct database *database) {
    struct tally tally = {.ks = ks, .database = database};
    comings_init(&tally.comings, database->wheel);
    size_t bytes = 0;
    size_t table_total = 0;
    uint64_t groups[GROUP_COUNT] = {0};
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct slot *slot = &database->slots[i];
        if (slot->table.count == 0) {
            check(slot->table.root == 0 && slot->bytes == 0);
            continue;
        }
        table_verify(&slot->table, &ks->env);
        tally.slot = i;
        tally.bytes = table_bytes(&slot->table);
        table_total += tally.bytes + sizeof(struct slot);
        table_walk(&slot->table, &ks->env, 0, TABLE_PLACE_END, UINT64_MAX, verify_item, &tally);
        check(slot->bytes == tally.bytes);
        groups[i >> GROUP_BITS] += slot->table.count;
        bytes += slot->bytes + sizeof(struct slot);
    }
    sysmem_release(tally.comings.list);
    uint64_t count = 0;
    for (uint32_t i = 0; i < GROUP_COUNT; i++) {
        check(groups[i] == database->group_counts[i]);
        count += groups[i];
    }
    check(count == database->count && table_total == database->table_bytes);
    check(tally.expiring == database->expiring && tally.referenced == database->referenced);
    check(tally.deadline_sum == database->deadline_sum);
    check(tally.volatile_count == database->volatile_count);
    if (database->wheel) {
        wheel_verify(database->wheel);
        bytes += wheel_memory(database->wheel);
    }
    return bytes + heap_block_bytes(sizeof(*database));
}

static size_t wastes_memory(const struct keyspace *ks, const struct list *wastes) {
    size_t bytes = 0;
    LIST_EACH(wastes, node) {
        const struct waste *waste = LIST_ENTRY(node, struct waste, link);
        bytes += heap_block_bytes(sizeof(*waste)) + value_memory(ks->forms, &waste->value);
    }
    return bytes;
}

size_t keyspace_kept_memory(const struct keyspace *ks) {
    return wastes_memory(ks, &ks->kept);
}

void keyspace_verify(struct keyspace *ks) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < 2 * ks->database_count; i++) {
        bytes += ks->databases[i] ? database_verify(ks, ks->databases[i]) : 0;
    }
    LIST_EACH(&ks->flushed, node) {
        bytes += database_verify(ks, LIST_ENTRY(node, struct database, link));
    }
    bytes += wastes_memory(ks, &ks->wastes) + wastes_memory(ks, &ks->kept);
    bytes += rewrite_memory(ks);
    /* Half-freed databases cannot be told apart any more. */
    check(list_empty(&ks->garbage) ? bytes == ks->bytes : bytes <= ks->bytes);
}
