/* SPDX-License-Identifier: BSD-3-Clause */
/* A walk knows what it has shown by where it stands: slots are passed one by one, a slot's keys in
 * the order of their hashes, which no growth changes. So nothing is kept of what lies behind, nor
 * of what lies ahead and does not change.
 *
 *     slots   done done done | front | left left left
 *     hashes            done place    left
 *                                   * settled: has a mark
 *
 * A hash ahead of the front is settled when the first of its keys is about to change, go or be
 * born: what stands there at that moment was there at the cut, and is shown; whatever comes there
 * later is new. The walk passes over settled ones. A mark is of a hash, so all keys of that hash
 * are settled together: nothing rests on hashes being different.
 *
 * Databases are held, and known by their addresses: SWAPDB does not move them, and what FLUSHDB
 * takes from its users the walk can still read, without having to show it at once.
 *
 * Large values wait in a queue (walk_large.c), and while one of them is half shown others that must
 * be settled wait, too: a reader of the walk sees whole keys, one after the other.
 *
 * Invariants:
 *  1. A key of the cut is exactly one of: shown; waiting; ahead of the front and without a mark.
 *  2. What is ahead of the front and without a mark is as it was at the cut.
 *  3. A database that had keys at the cut is held until the walk is over.
 */
#include "persist/snapshot/walk_private.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/must.h"
#include "shard/ds/table.h"

#include <stdlib.h>

/* What a key costs besides its bytes, and a slot without keys. */
#define KEY_COST  48
#define SLOT_COST 8

/* As struct walks says. */
#define LARGE_BYTES ((size_t)64 << 10)
#define STALL_BYTES ((size_t)1 << 20)

/* ---- Where it stands ---- */

static bool has_slot(const struct slot_set *set, uint16_t slot) {
    return set->words[slot / 64] >> (slot % 64) & 1;
}

/* Of a slot that is left. */
static bool is_behind(const struct walk *walk, const struct key *key, uint32_t db) {
    if (!walk->front.inside || key->slot != walk->front.slot) {
        return false;
    }
    return db < walk->front.db ||
           (db == walk->front.db && table_place(key->hash) < walk->front.place);
}

/* The number that a database had at the cut; false: it had no keys, or was not there. */
static bool number_then(const struct walk *walk, uint32_t db, uint32_t *ret) {
    for (uint32_t i = 0; i < walk->database_count; i++) {
        uint32_t at = i == 0 ? db : i == db ? 0 : i; /* mostly the same */
        if (walk->databases[at] && keyspace_is_at(walk->ks, walk->databases[at], db)) {
            *ret = at;
            return true;
        }
    }
    return false;
}

/* ---- Showing ---- */

void walk_show(struct walk *walk, struct walk_item *item, struct bytes piece, bool first,
               bool last) {
    item->piece = piece;
    item->first = first;
    item->last = last;
    walk->spent += piece.len + (first ? KEY_COST + item->name.len : 0);
    walk->progress.shown += last;
    walk->options.show(walk->options.arg, item);
}

static void show_entry(struct walk *walk, struct entry *entry, uint16_t slot, uint32_t db) {
    struct value value = entry_value_of(entry);
    struct value_write write;
    unsigned version = walk->options.version;
    if (!value_write_begin(&write, &value, version, walk->options.compress)) {
        version = value_write_version(&value);
        check(value_write_begin(&write, &value, version, walk->options.compress));
    }
    struct walk_item item = {
        .name = entry_key(entry),
        .expires_at = entry_expires_at(entry),
        .db = db,
        .slot = slot,
        .type = (uint8_t)write.type,
        .version = version,
        .entry = entry,
    };
    if (walk_is_large(walk, &value)) {
        walk_wait(walk, &item, entry);
        return;
    }
    text_clear(&walk->out);
    check(value_write_some(&write, &walk->out, SIZE_MAX - 1));
    if (walk->open) {
        walk_wait_bytes(walk, &item, text_bytes(&walk->out));
        return;
    }
    walk_show(walk, &item, text_bytes(&walk->out), true, true);
}

/* ---- Before something changes ---- */

struct settling {
    struct walk *walk;
    uint16_t slot;
    uint32_t db;
};

static void settle(void *arg, struct entry *entry) {
    const struct settling *settling = arg;
    settling->walk->progress.early++;
    show_entry(settling->walk, entry, settling->slot, settling->db);
}

static void before_write(struct walk *walk, uint32_t db, const struct key *key) {
    struct settling settling = {.walk = walk, .slot = key->slot};
    if (!has_slot(&walk->left, key->slot) || !number_then(walk, db, &settling.db) ||
        is_behind(walk, key, settling.db) ||
        !marks_add(&walk->marks[key->slot / 64], key->hash, mark_where(key->slot, settling.db))) {
        return;
    }
    keyspace_each_of_hash(walk->ks, walk->databases[settling.db], key, settle, &settling);
}

static void tell_write(void *arg, uint32_t db, const struct key *key, struct entry *entry) {
    const struct walks *walks = arg;
    (void)entry;
    LIST_EACH(&walks->list, node) {
        before_write(LIST_ENTRY(node, struct walk, link), db, key);
    }
}

static void tell_element(void *arg, const struct value *value, const struct bytes *element) {
    const struct walks *walks = arg;
    if (!value_is_rooted(value)) {
        return;
    }
    LIST_EACH(&walks->list, node) {
        struct walk *walk = LIST_ENTRY(node, struct walk, link);
        struct waiting *waiting = walk_reader(walk, value->root);
        if (waiting) {
            waiting_settle(walk, waiting, element);
        }
    }
}

bool walks_read(const struct walks *walks, const void *root) {
    LIST_EACH(&walks->list, node) {
        if (walk_reader(LIST_ENTRY(node, struct walk, link), root)) {
            return true;
        }
    }
    return false;
}

static bool tell_reads(void *arg, const void *root) {
    return walks_read(arg, root);
}

static bool tell_stalls(void *arg, uint32_t db, const struct key *key, const struct entry *entry) {
    return walks_would_stall(arg, db, key, entry);
}

bool walks_would_stall(struct walks *walks, uint32_t db, const struct key *key,
                       const struct entry *entry) {
    bool stalls = false;
    if (list_empty(&walks->list) || !entry) {
        return false;
    }
    struct value value = entry_value_of(entry);
    LIST_EACH(&walks->list, node) {
        struct walk *walk = LIST_ENTRY(node, struct walk, link);
        if (walk_stalls(walk, &value)) {
            before_write(walk, db, key);
            struct waiting *waiting = walk_reader(walk, value.root);
            if (waiting) {
                walk_hurry(walk, waiting);
                stalls = true;
            }
        }
    }
    return stalls;
}

/* ---- Going on ---- */

static void pass(struct walk *walk, struct entry *entry) {
    const struct marks *marks = &walk->marks[walk->front.slot / 64];
    if (marks->count > 0) {
        uint64_t hash = hash_bytes(keyspace_secret(walk->ks)->bytes, entry_key(entry));
        if (marks_has(marks, hash, mark_where(walk->front.slot, walk->front.db))) {
            walk->spent += KEY_COST;
            return;
        }
    }
    show_entry(walk, entry, walk->front.slot, walk->front.db);
}

static void pass_batch(struct walk *walk) {
    for (uint32_t i = 0; i < walk->batch_count; i++) {
        pass(walk, walk->batch[i]);
    }
    walk->batch_count = 0;
}

/* An entry is seldom in the cache: some are asked for before the first is looked at. */
static void visit(void *arg, struct entry *entry) {
    struct walk *walk = arg;
    __builtin_prefetch(entry);
    __builtin_prefetch((const char *)entry + 64);
    if (walk->batch_count == WALK_BATCH) {
        pass_batch(walk);
    }
    walk->batch[walk->batch_count++] = entry;
}

static void leave_slot(struct walk *walk) {
    uint64_t *word = &walk->left.words[walk->front.slot / 64];
    *word &= ~(UINT64_C(1) << walk->front.slot % 64);
    walk->slots_left--;
    walk->front.inside = false;
    if (*word == 0) {
        marks_fini(&walk->marks[walk->front.slot / 64]);
    }
}

/* False: there is none. */
static bool enter_slot(struct walk *walk) {
    int32_t slot = walk->next_slot;
    walk->next_slot = -1;
    if (slot < 0 || !has_slot(&walk->left, (uint16_t)slot)) {
        uint32_t word = 0;
        while (word < SLOTS / 64 && walk->left.words[word] == 0) {
            word++;
        }
        if (word == SLOTS / 64) {
            return false;
        }
        slot = (int32_t)(word * 64) + __builtin_ctzll(walk->left.words[word]);
    }
    walk->front.inside = true;
    walk->front.slot = (uint16_t)slot;
    walk->front.db = 0;
    walk->front.place = 0;
    walk->spent += SLOT_COST;
    return true;
}

/* Some keys of the slot at hand; leaves it if there are none. */
static void go_on(struct walk *walk) {
    uint16_t slot = walk->front.slot;
    while (walk->front.db < walk->database_count) {
        const struct database *database = walk->databases[walk->front.db];
        if (database && walk->front.place < TABLE_PLACE_END &&
            keyspace_held_count(database, slot) > 0) {
            walk->front.place = keyspace_walk_held(walk->ks, database, slot, walk->front.place,
                                                   WALK_BATCH, visit, walk);
            pass_batch(walk);
            return;
        }
        walk->front.db++;
        walk->front.place = 0;
    }
    leave_slot(walk);
}

static void let_databases_go(struct walk *walk) {
    for (uint32_t i = 0; i < walk->database_count; i++) {
        if (walk->databases[i]) {
            keyspace_release(walk->ks, walk->databases[i]);
            walk->databases[i] = NULL;
        }
    }
}

bool walk_some(struct walk *walk, size_t budget) {
    walk->spent = 0;
    do {
        if (!list_empty(&walk->waiting)) {
            if (!walk_reads_ahead(walk) || !walk_read_hurried(walk, budget)) {
                walk_show_waiting(walk, budget);
            }
        } else if (walk->front.inside || enter_slot(walk)) {
            go_on(walk);
        } else {
            let_databases_go(walk);
            return true;
        }
    } while (walk->spent < budget);
    return false;
}

bool walk_hurry_some(struct walk *walk, size_t budget) {
    walk->spent = 0;
    return walk_read_hurried(walk, budget);
}

/* ---- Beginning and end ---- */

void walks_init(struct walks *walks, struct keyspace *ks) {
    walks->ks = ks;
    list_init(&walks->list);
    walks->large_bytes = LARGE_BYTES;
    walks->stall_bytes = STALL_BYTES;
    walks->stall_bytes_max = 0;
    walks->before = (struct keyspace_before){
        .arg = walks,
                                               .write = tell_write,
                                               .element = tell_element,
                                               .reads = tell_reads,
                                               .stalls = tell_stalls};
}

void walks_fini(struct walks *walks) {
    check(list_empty(&walks->list));
}

struct walk *walk_begin(struct walks *walks, const struct walk_options *options) {
    struct walk *walk = must_calloc(1, sizeof *walk);
    walk->walks = walks;
    walk->ks = walks->ks;
    walk->options = *options;
    walk->options.slots = NULL;
    walk->large_bytes = walks->large_bytes;
    walk->stall_bytes = walks->stall_bytes;
    walk->database_count = keyspace_database_count(walk->ks);
    check(walk->database_count <= UINT32_MAX >> 14);
    walk->databases = must_calloc(walk->database_count, sizeof *walk->databases);
    for (uint32_t db = 0; db < walk->database_count; db++) {
        walk->databases[db] = keyspace_hold(walk->ks, db);
    }
    if (options->slots) {
        walk->left = *options->slots;
    } else {
        memset(&walk->left, 0xFF, sizeof walk->left);
    }
    for (uint32_t i = 0; i < SLOTS / 64; i++) {
        walk->slots_left += (uint32_t)__builtin_popcountll(walk->left.words[i]);
    }
    walk->next_slot = -1;
    list_init(&walk->waiting);
    list_init(&walk->readers);
    text_init(&walk->out);
    list_push_back(&walks->list, &walk->link);
    keyspace_tell_before(walk->ks, &walks->before);
    return walk;
}

void walk_end(struct walk *walk) {
    struct walks *walks = walk->walks;
    while (!list_empty(&walk->waiting)) {
        waiting_free(walk, LIST_ENTRY(list_first(&walk->waiting), struct waiting, link));
    }
    let_databases_go(walk);
    list_remove(&walk->link);
    if (list_empty(&walks->list)) {
        keyspace_tell_before(walk->ks, NULL);
    }
    for (uint32_t i = 0; i < SLOTS / 64; i++) {
        marks_fini(&walk->marks[i]);
    }
    text_fini(&walk->out);
    free(walk->databases);
    free(walk);
}

void walk_take_next(struct walk *walk, uint16_t slot) {
    walk->next_slot = slot;
}

bool walk_has_left(const struct walk *walk, uint16_t slot) {
    if (has_slot(&walk->left, slot)) {
        return true;
    }
    LIST_EACH(&walk->waiting, node) {
        if (LIST_ENTRY(node, struct waiting, link)->item.slot == slot) {
            return true;
        }
    }
    return false;
}

struct walk_progress walk_progress(const struct walk *walk) {
    struct walk_progress progress = walk->progress;
    progress.slots_left = walk->slots_left;
    for (uint32_t i = 0; i < SLOTS / 64; i++) {
        const struct marks *marks = &walk->marks[i];
        progress.bytes_kept += marks->capacity * sizeof *marks->cells;
    }
    LIST_EACH(&walk->waiting, node) {
        const struct waiting *waiting = LIST_ENTRY(node, struct waiting, link);
        progress.bytes_kept += sizeof *waiting + waiting->rest.len;
    }
    return progress;
}
