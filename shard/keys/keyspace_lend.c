/* SPDX-License-Identifier: BSD-3-Clause */
/* Values across shards: lent to a command that reads them on another thread, and handed over to
 * another key.
 *
 * Nothing is copied to be read. What is copied or moved to another shard is copied at once if it is
 * small. A large value is shared for the moment: both keys hold the same blocks, each counts them
 * as its own, and whoever changes his makes his copy first, as he would while it is being sent. The
 * new key's is then rewritten into blocks of its own heap, a slice at a time when there is nothing
 * else to do. So neither shard stands still for it, and in the end each has what it pays for.
 *
 * A copy that is half done is worth nothing once the value changes: the hook before every change
 * says so (rewrite_told), and it begins anew.
 */
#include "shard/keys/keyspace_private.h"

/* What is shorter is copied at once: some ten microseconds. */
#define SHARED_BYTES_MIN (64u << 10)
#define SLICE_BYTES      (256u << 10)
/* Of many small blocks, with locks held for it. */
#define COPY_SLICE_BYTES (64u << 10)

/* ---- Lending ---- */

struct loan entry_loan(struct entry *entry) {
    if (!entry) {
        return (struct loan){.present = false};
    }
    return (struct loan){
        .value = entry_get(entry),
        .expires_at = entry_deadline(entry),
        .entry = entry,
        .present = true,
    };
}

struct loan keyspace_lend(struct keyspace *ks, struct entry *entry) {
    struct loan loan = entry_loan(entry);
    loan.entry = NULL;
    ks->loans++;
    return loan;
}

void keyspace_take_back(struct keyspace *ks, uint32_t count) {
    check(count <= ks->loans);
    ks->loans -= count;
}

void keyspace_count_lookup(struct keyspace *ks, bool present, unsigned lookup_flags) {
    if (!(lookup_flags & (LOOKUP_WRITE | LOOKUP_NOSTATS))) {
        *(present ? &ks->stats.hits : &ks->stats.misses) += 1;
    }
}

/* They may have been counted before somebody reset the statistics. */
void keyspace_uncount_lookups(struct keyspace *ks, uint64_t hits, uint64_t misses) {
    struct keyspace_stats *stats = &ks->stats;
    stats->hits -= hits < stats->hits ? hits : stats->hits;
    stats->misses -= misses < stats->misses ? misses : stats->misses;
}

bool keyspace_is_locked(const struct keyspace *ks, const struct key *key) {
    return ks->hooks.locked != NULL && ks->hooks.locked(ks->hooks.arg, key->hash);
}

bool entry_is_locked(const struct keyspace *ks, const struct entry *entry) {
    struct key key = entry_make_key(ks, entry, 0);
    return keyspace_is_locked(ks, &key);
}

bool entry_is_lent(const struct keyspace *ks, const struct entry *entry) {
    return UNLIKELY(ks->loans > 0) && entry_is_locked(ks, entry);
}

/* ---- Handing over ---- */

struct value value_hand_over(struct keyspace *ks, const struct value *from, uint32_t db,
                             const struct key *to) {
    const struct form *form = forms_find(ks->forms, from);
    if (!form->share || form->memory(from) < SHARED_BYTES_MIN) {
        return value_copy(ks->forms, ks->heap, from);
    }
    struct value value = {.type = from->type, .form = from->form, .raw = from->raw};
    form->share(ks->heap, from, &value);
    struct handed *handed = heap_alloc(ks->heap, sizeof(*handed));
    *handed = (struct handed){.db = db, .slot = to->slot, .hash = to->hash, .root = value.root};
    list_node_init(&handed->link);
    list_push_back(&ks->handed, &handed->link);
    keyspace_database(ks, db)->slots[to->slot].bytes -= heap_block_bytes(sizeof(*handed));
    return value;
}

bool keyspace_put_is_long(const struct keyspace *ks, const struct loan *loan) {
    if (!value_is_rooted(&loan->value)) {
        return false;
    }
    const struct form *form = forms_find(ks->forms, &loan->value);
    return !form->share && form->memory(&loan->value) >= SHARED_BYTES_MIN;
}

struct value_copy value_copy_begin(const struct loan *loan) {
    const struct value *from = &loan->value;
    return (struct value_copy){
        .from = *from,
        .to = {.type = from->type, .form = from->form, .raw = from->raw},
    };
}

bool keyspace_copy_some(struct keyspace *ks, struct value_copy *copy) {
    struct books books = books_open(ks);
    size_t budget = COPY_SLICE_BYTES;
    bool whole = forms_find(ks->forms, &copy->from)
                     ->copy_some(ks->heap, &copy->from, &copy->to, &copy->cursor, &budget);
    ks->bytes += heap_used(ks->heap) - books.used_before;
    return whole;
}

static struct handed *first_handed(const struct keyspace *ks) {
    return LIST_ENTRY(list_first(&ks->handed), struct handed, link);
}

size_t rewrite_memory(const struct keyspace *ks) {
    size_t bytes = ks->rewriting ? value_memory(ks->forms, &ks->rewritten) : 0;
    LIST_EACH(&ks->handed, node) {
        bytes += heap_block_bytes(sizeof(struct handed));
    }
    return bytes;
}

static void drop_copy(struct keyspace *ks) {
    if (ks->rewriting) {
        struct books books = books_open(ks);
        value_free(ks->forms, ks->heap, &ks->rewritten);
        ks->bytes += heap_used(ks->heap) - books.used_before;
        ks->rewriting = ks->rewrite_over = false;
    }
}

static void drop(struct keyspace *ks, struct handed *handed) {
    if (handed == first_handed(ks)) {
        drop_copy(ks);
    }
    list_remove(&handed->link);
    ks->bytes -= heap_block_bytes(sizeof(*handed));
    heap_release(ks->heap, handed, sizeof(*handed));
}

void rewrite_told(struct keyspace *ks, const struct entry *entry) {
    if (entry && entry_is_rooted(entry) && entry_root(entry) == first_handed(ks)->root) {
        drop_copy(ks);
    }
}

void rewrite_forget(struct keyspace *ks, uint32_t db, uint32_t slot) {
    struct list kept;
    list_init(&kept);
    while (!list_empty(&ks->handed)) {
        struct handed *handed = first_handed(ks);
        if ((db == UINT32_MAX || db == handed->db) && (slot == SLOTS || slot == handed->slot)) {
            drop(ks, handed);
        } else {
            drop_copy(ks);
            list_remove(&handed->link);
            list_push_back(&kept, &handed->link);
        }
    }
    list_splice_back(&ks->handed, &kept);
}

void rewrite_swap(struct keyspace *ks, uint32_t a, uint32_t b) {
    LIST_EACH(&ks->handed, node) {
        struct handed *handed = LIST_ENTRY(node, struct handed, link);
        handed->db = handed->db == a ? b : handed->db == b ? a : handed->db;
    }
}

/* The entry that has the value still, or NULL. */
static struct entry *find_handed(const struct keyspace *ks, const struct handed *handed) {
    const struct database *database = keyspace_peek(ks, handed->db);
    if (!database) {
        return NULL;
    }
    struct table_probe probe = table_probe(&database->slots[handed->slot].table, handed->hash);
    struct entry *entry = table_probe_next(&probe);
    while (entry && !(entry_is_rooted(entry) && entry_root(entry) == handed->root)) {
        entry = table_probe_next(&probe);
    }
    return entry;
}

static void copy_some(struct keyspace *ks, const struct form *form, const struct value *value) {
    struct books books = books_open(ks);
    if (!ks->rewriting) {
        ks->rewriting = true;
        ks->rewritten_to = 0;
        ks->rewritten = (struct value){.type = value->type, .form = value->form, .raw = value->raw};
    }
    size_t budget = SLICE_BYTES;
    ks->rewrite_over = form->copy_some(ks->heap, value, &ks->rewritten, &ks->rewritten_to, &budget);
    ks->bytes += heap_used(ks->heap) - books.used_before;
}

/* The key gets the copy, and lets go of what it shared. */
static void put_copy(struct keyspace *ks, struct handed *handed, struct entry *entry,
                     struct value *value) {
    struct slot *slot = &keyspace_database(ks, handed->db)->slots[handed->slot];
    size_t copied = value_memory(ks->forms, &ks->rewritten);
    entry_put_root(entry, ks->rewritten.root);
    ks->rewriting = ks->rewrite_over = false;
    slot->bytes += copied; /* which ks->bytes has already */
    struct books books = books_open(ks);
    value_free(ks->forms, ks->heap, value);
    books_close(ks, slot, books);
    drop(ks, handed);
}

bool rewrite_some(struct keyspace *ks) {
    struct handed *handed = first_handed(ks);
    struct entry *entry = find_handed(ks, handed);
    if (!entry) {
        drop(ks, handed);
        return true;
    }
    struct value value = entry_get(entry);
    const struct form *form = forms_find(ks->forms, &value);
    if (!ks->rewriting && form->is_own(ks->heap, &value)) {
        drop(ks, handed);
        return true;
    }
    if (!ks->rewrite_over) {
        copy_some(ks, form, &value);
        if (UNLIKELY(ks->rewritten.root == NULL)) { /* no room: it stays as it is */
            ks->rewriting = ks->rewrite_over = false;
            drop(ks, handed);
        }
        return true;
    }
    if (entry_is_lent(ks, entry)) {
        return false;
    }
    put_copy(ks, handed, entry, &value);
    return true;
}
