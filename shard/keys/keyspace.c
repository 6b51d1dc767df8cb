/* SPDX-License-Identifier: BSD-3-Clause */
/* The keyspace: databases of 16384 slots, each slot a table of entries.
 *
 * A database's slots are one array of 24-byte structs in lazily zeroed pages: a slot costs nothing
 * before it is used, and finding one is an addition. Deadlines live in the entries; a wheel per
 * database knows which entry to look at when.
 *
 * Invariants (keyspace_verify checks them):
 *  1. An entry stands in the table of its key's slot, under the key's hash.
 *  2. slot->bytes is what its entries, their values and its table take from the heap;
 *     keyspace.bytes is the sum of those, of non-empty slots' structs, of wheels, databases and
 *     of what waits to be freed.
 *  3. database.expiring, deadline_sum and referenced agree with the entries' flags.
 *  4. Every entry with a deadline, or whose elements have some, is ENTRY_REFERENCED: the wheel has
 *     a reference to it that comes up not later than the earliest of them.
 */
#include "shard/keys/keyspace_private.h"

#include "base/crc16.h"
#include "base/hash.h"
#include "base/text.h"
#include "shard/memory/sysmem.h"
#include "shard/types/string.h"

static_assert(sizeof(struct hash_secret) == HASH_SECRET_BYTES, "the hash takes all of it");
static_assert(sizeof(struct slot) == 24, "16384 of them per database, touched by every command");

/* ---- Keys ---- */

uint16_t key_slot(struct bytes name) {
    const char *open = name.len ? memchr(name.ptr, '{', name.len) : NULL;
    if (open) {
        const char *tag = open + 1;
        size_t left = name.len - (size_t)(tag - name.ptr);
        const char *close = left ? memchr(tag, '}', left) : NULL;
        if (close && close != tag) {
            name = bytes_make(tag, (size_t)(close - tag));
        }
    }
    return crc16(name) & (SLOTS - 1);
}

struct key key_make(const struct hash_secret *secret, struct bytes name) {
    return (struct key){
        .name = name,
        .hash = hash_bytes(secret->bytes, name),
        .slot = key_slot(name),
    };
}

struct key entry_make_key(const struct keyspace *ks, const struct entry *entry, uint16_t slot) {
    struct bytes name = entry_key_bytes(entry);
    return (struct key){name, hash_bytes(ks->secret->bytes, name), slot};
}

static uint64_t hash_entry(const void *arg, const void *item) {
    const struct hash_secret *secret = arg;
    return hash_bytes(secret->bytes, entry_key_bytes(item));
}

/* ---- Life ---- */

#define SLOTS_BYTES (SLOTS * sizeof(struct slot))

struct keyspace *keyspace_new(const struct keyspace_options *options) {
    struct keyspace *ks = sysmem_alloc(sizeof(*ks));
    memset(ks, 0, sizeof(*ks));
    ks->heap = options->heap;
    ks->secret = options->secret;
    ks->forms = options->forms ? options->forms : &value_forms;
    ks->hooks = options->hooks;
    ks->env = (struct table_env){ks->heap, hash_entry, ks->secret};
    ks->database_count = options->databases;
    ks->databases = sysmem_alloc(2 * options->databases * sizeof(*ks->databases));
    memset(ks->databases, 0, 2 * options->databases * sizeof(*ks->databases));
    ks->now_ms = options->now_ms;
    ks->expire = (struct keyspace_expire_options){.active = true, .effort = 1};
    ks->lfu_log_factor = 10;
    ks->lfu_decay_minutes = 1;
    uint64_t seed;
    memcpy(&seed, ks->secret->bytes, sizeof(seed));
    rng_seed(&ks->rng, seed ^ (uint64_t)options->now_ms);
    list_init(&ks->flushed);
    list_init(&ks->garbage);
    list_init(&ks->kept);
    list_init(&ks->wastes);
    list_init(&ks->handed);
    list_init(&ks->defrag_values);
    return ks;
}

void keyspace_free(struct keyspace *ks) {
    if (!ks) {
        return;
    }
    check(ks->before == NULL);
    keyspace_flush(ks, UINT32_MAX, false);
    keyspace_drop_aside(ks);
    check(list_empty(&ks->flushed) && list_empty(&ks->kept));
    defrag_forget(ks);
    while (!list_empty(&ks->garbage) || !list_empty(&ks->wastes)) {
        keyspace_work(ks, 0);
    }
    for (uint32_t i = 0; i < ks->database_count; i++) {
        if (ks->databases[i]) {
            database_free(ks, ks->databases[i]);
        }
    }
    check(ks->bytes == 0);
    sysmem_release(ks->databases);
    sysmem_release(ks);
}

struct database *database_new(struct keyspace *ks) {
    struct database *database = heap_alloc(ks->heap, sizeof(*database));
    memset(database, 0, sizeof(*database));
    list_node_init(&database->link);
    database->slots = sysmem_map(SLOTS_BYTES, 4096);
    ks->bytes += heap_block_bytes(sizeof(*database));
    return database;
}

void database_free(struct keyspace *ks, struct database *database) {
    check(database->count == 0);
    if (database->wheel) {
        ks->bytes -= wheel_memory(database->wheel);
        wheel_free(database->wheel);
    }
    sysmem_unmap(database->slots, SLOTS_BYTES);
    ks->bytes -= heap_block_bytes(sizeof(*database));
    heap_release(ks->heap, database, sizeof(*database));
}

struct database *keyspace_make_database(struct keyspace *ks, uint32_t db) {
    ks->databases[db] = database_new(ks);
    return ks->databases[db];
}

void keyspace_count_elements(struct keyspace *ks, uint64_t elements) {
    ks->stats.changes += elements > 1 ? elements - 1 : 0;
}

void keyspace_set_changes(struct keyspace *ks, uint64_t changes) {
    ks->stats.changes = changes;
}

struct shard_heap *keyspace_heap(const struct keyspace *ks) {
    return ks->heap;
}

const struct hash_secret *keyspace_secret(const struct keyspace *ks) {
    return ks->secret;
}

const struct database *keyspace_peek(const struct keyspace *ks, uint32_t db) {
    check(db < 2 * ks->database_count);
    return ks->databases[db];
}

void keyspace_set_expire_options(struct keyspace *ks, struct keyspace_expire_options options) {
    ks->expire = options;
}

void keyspace_see_dead(struct keyspace *ks, bool see_dead) {
    ks->sees_dead = see_dead;
}

void keyspace_set_lru(struct keyspace *ks, enum lru_mode mode, int lfu_log_factor,
                      int lfu_decay_minutes) {
    ks->lru_mode = mode;
    ks->lfu_log_factor = lfu_log_factor;
    ks->lfu_decay_minutes = lfu_decay_minutes;
}

/* ---- Hooks ---- */

const struct keyspace_witness *keyspace_set_witness(struct keyspace *ks,
                                                    const struct keyspace_witness *witness) {
    const struct keyspace_witness *old = ks->witness;
    ks->witness = witness;
    return old;
}

void keyspace_listen(struct keyspace *ks, bool listening) {
    ks->listening = listening && ks->hooks.heard;
}

void keyspace_note(struct keyspace *ks, uint32_t db, const struct key *key, enum key_event event,
                   enum value_type type) {
    if (UNLIKELY(ks->listening)) {
        struct key_news news = {key, db, event, type};
        ks->hooks.heard(ks->hooks.arg, &news);
    }
}

/* ---- The LRU and LFU clocks ---- */

#define LRU_MASK    0xFFFFFFu
#define LFU_INITIAL 5

static uint32_t lru_seconds(int64_t now_ms) {
    return (uint32_t)(now_ms / 1000) & LRU_MASK;
}

static uint32_t lfu_minutes(int64_t now_ms) {
    return (uint32_t)(now_ms / 60000) & 0xFFFF;
}

uint32_t lru_fresh(const struct keyspace *ks, int64_t now_ms) {
    if (ks->lru_mode == LFU_COUNTER) {
        return lfu_minutes(now_ms) << 8 | LFU_INITIAL;
    }
    return lru_seconds(now_ms);
}

/* The counter loses one for every lfu-decay-time minutes without access. */
static uint32_t lfu_decayed(const struct keyspace *ks, uint32_t lru, int64_t now_ms) {
    uint32_t counter = lru & 0xFF;
    if (ks->lfu_decay_minutes <= 0) {
        return counter;
    }
    uint32_t elapsed = (lfu_minutes(now_ms) - (lru >> 8)) & 0xFFFF;
    uint32_t periods = elapsed / (uint32_t)ks->lfu_decay_minutes;
    return periods > counter ? 0 : counter - periods;
}

/* Counts logarithmically: the higher the counter, the less likely it is to grow. */
static uint32_t lfu_count(struct keyspace *ks, uint32_t counter) {
    if (counter == 255) {
        return counter;
    }
    double base = counter > LFU_INITIAL ? counter - LFU_INITIAL : 0;
    return counter + (rng_unit(&ks->rng) < 1.0 / (base * ks->lfu_log_factor + 1));
}

void lru_touch(struct keyspace *ks, struct entry *entry, int64_t now_ms) {
    uint32_t lru = lru_seconds(now_ms);
    if (UNLIKELY(ks->lru_mode == LFU_COUNTER)) {
        uint32_t counter = lfu_count(ks, lfu_decayed(ks, entry->lru, now_ms));
        lru = lfu_minutes(now_ms) << 8 | counter;
    }
    if (entry->lru != lru) {
        entry->lru = lru & LRU_MASK;
    }
}

uint32_t entry_idle_seconds(const struct keyspace *ks, const struct entry *entry, int64_t now_ms) {
    if (ks->lru_mode == LFU_COUNTER) {
        return 0;
    }
    return (lru_seconds(now_ms) - entry->lru) & LRU_MASK;
}

uint8_t entry_frequency(const struct keyspace *ks, const struct entry *entry, int64_t now_ms) {
    return (uint8_t)lfu_decayed(ks, entry->lru, now_ms);
}

void keyspace_set_usage(struct keyspace *ks, uint32_t db, const struct key *key,
                        int64_t idle_seconds, int frequency, int64_t now_ms) {
    struct entry *entry = keyspace_find_any(ks, db, key);
    if (ks->lru_mode == LFU_COUNTER && frequency >= 0) {
        entry->lru = (lfu_minutes(now_ms) << 8 | (uint32_t)frequency) & LRU_MASK;
    } else if (ks->lru_mode == LRU_CLOCK && idle_seconds >= 0) {
        int64_t touched = now_ms / 1000 - idle_seconds;
        entry->lru = (uint32_t)(touched > 0 ? touched : 0) & LRU_MASK;
    }
}

/* ---- Entries in tables ---- */

static inline __attribute__((always_inline)) struct entry *find_in(const struct database *database,
                                                                   const struct key *key) {
    struct table_probe probe = table_probe(&database->slots[key->slot].table, key->hash);
    struct entry *entry;
    while ((entry = table_probe_next(&probe)) != NULL) {
        if (LIKELY(entry_is_named(entry, key->name))) {
            return entry;
        }
    }
    return NULL;
}

struct entry *database_find(const struct database *database, const struct key *key) {
    return find_in(database, key);
}

void database_link(struct keyspace *ks, struct database *database, const struct key *key,
                   struct entry *entry) {
    struct slot *slot = &database->slots[key->slot];
    size_t before = heap_used(ks->heap);
    table_insert(&slot->table, &ks->env, key->hash, entry);
    database->table_bytes += heap_used(ks->heap) - before;
    database->count++;
    database->group_counts[key->slot >> GROUP_BITS]++;
    if (slot->table.count == 1) {
        ks->bytes += sizeof(struct slot);
        database->table_bytes += sizeof(struct slot);
    }
}

static void database_unlink(struct keyspace *ks, struct database *database, const struct key *key,
                            struct entry *entry) {
    struct slot *slot = &database->slots[key->slot];
    size_t before = heap_used(ks->heap);
    check(table_remove(&slot->table, &ks->env, key->hash, entry));
    database->table_bytes += heap_used(ks->heap) - before;
    database->count--;
    database->group_counts[key->slot >> GROUP_BITS]--;
    if (slot->table.count == 0) {
        ks->bytes -= sizeof(struct slot);
        database->table_bytes -= sizeof(struct slot);
    }
}

void database_moved(struct database *database, const struct key *key, const struct entry *old_entry,
                    struct entry *entry) {
    if (entry != old_entry) {
        table_replace(&database->slots[key->slot].table, key->hash, old_entry, entry);
    }
}

/* A value that is not freed at once may take this much of a turn. */
#define FREE_AT_ONCE_BYTES ((size_t)64 << 10)
/* More pieces Valkey would free later, and counts (lazyfreed_objects), whoever frees them now. */
#define FEW_PIECES 64

/* It is freed later, or when nobody reads it any more. */
static void root_put_off(struct keyspace *ks, struct slot *slot, const struct value *value,
                         bool is_many, struct list *list) {
    struct waste *waste = heap_alloc(ks->heap, sizeof(*waste));
    list_node_init(&waste->link);
    waste->value = *value;
    waste->is_many = is_many;
    list_push_back(list, &waste->link);
    slot->bytes -= value_memory(ks->forms, value) + heap_block_bytes(sizeof(*waste));
    ks->stats.lazyfree_pending++;
}

void root_free(struct keyspace *ks, struct slot *slot, struct value *value, enum freeing how) {
    size_t budget = how != FREE_NOW ? FREE_AT_ONCE_BYTES : SIZE_MAX;
    const struct form *form = forms_find(ks->forms, value);
    bool is_many = how == FREE_LAZILY && form->pieces != NULL && form->pieces(value) > FEW_PIECES;
    if (root_is_read(ks, value->root)) {
        root_put_off(ks, slot, value, is_many, &ks->kept);
        return;
    }
    while (UNLIKELY(!form->free_some(ks->heap, value, &budget))) {
        if (how != FREE_NOW) {
            root_put_off(ks, slot, value, is_many, &ks->wastes);
            return;
        }
        budget = SIZE_MAX;
    }
    ks->stats.lazyfreed_many += is_many;
}

void entry_free(struct keyspace *ks, struct slot *slot, struct entry *entry, enum freeing how) {
    if (entry_is_rooted(entry)) {
        struct value value = entry_get(entry);
        root_free(ks, slot, &value, how);
    }
    heap_release(ks->heap, entry, entry_bytes(entry));
}

void database_delete(struct keyspace *ks, struct database *database, const struct key *key,
                     struct entry *entry, bool lazy) {
    struct slot *slot = &database->slots[key->slot];
    struct books books = books_open(ks);
    database_unlink(ks, database, key, entry);
    if (entry->flags & ENTRY_HAS_TTL) {
        database->expiring--;
        database->deadline_sum -= entry_deadline(entry);
    }
    if (entry->flags & ENTRY_REFERENCED) {
        database->referenced--;
    }
    if (UNLIKELY(entry->flags & ENTRY_VOLATILE)) {
        database->volatile_count--;
    }
    entry_free(ks, slot, entry, lazy ? FREE_LAZILY : FREE_NOW);
    books_close(ks, slot, books);
}

/* ---- Deadlines ---- */

static void wheel_refer(struct keyspace *ks, struct database *database, const struct key *key,
                        int64_t deadline) {
    if (!database->wheel) {
        database->wheel = wheel_new(ks->heap, ks->now_ms);
        ks->bytes += wheel_memory(database->wheel);
    }
    size_t before = wheel_memory(database->wheel);
    wheel_add(database->wheel, wheel_ref_make(key->slot, key->hash), deadline);
    ks->bytes += wheel_memory(database->wheel) - before;
}

/* There is something to do with this entry at `due` (NO_EXPIRY: never) instead of at old_due: the
 * earlier of its own deadline and those of its elements. */
static void database_due_changed(struct keyspace *ks, struct database *database,
                                 const struct key *key, struct entry *entry, int64_t old_due,
                                 int64_t due) {
    if (due == NO_EXPIRY) {
        if (entry->flags & ENTRY_REFERENCED) {
            entry->flags &= (uint8_t)~ENTRY_REFERENCED;
            database->referenced--;
        }
        return;
    }
    bool referenced = entry->flags & ENTRY_REFERENCED;
    if (referenced && old_due != NO_EXPIRY && due >= old_due) {
        return; /* The reference comes up before that, and is told the new time then. */
    }
    wheel_refer(ks, database, key, due);
    database->referenced += !referenced;
    entry->flags = (uint8_t)((entry->flags & ~ENTRY_SWEPT) | ENTRY_REFERENCED |
                             (database->parity ? ENTRY_SWEPT : 0));
}

int64_t keyspace_expired_to(const struct keyspace *ks) {
    return ks->expired_to;
}

void database_deadline_changed(struct keyspace *ks, struct database *database,
                               const struct key *key, struct entry *entry, int64_t old_deadline,
                               int64_t deadline) {
    if (old_deadline != NO_EXPIRY) {
        database->expiring--;
        database->deadline_sum -= old_deadline;
    }
    if (deadline != NO_EXPIRY) {
        database->expiring++;
        database->deadline_sum += deadline;
    }
    int64_t elements_due = entry_elements_due(ks->forms, entry);
    database_due_changed(ks, database, key, entry, earlier_deadline(old_deadline, elements_due),
                         earlier_deadline(deadline, elements_due));
}

void database_elements_due_changed(struct keyspace *ks, struct database *database,
                                   const struct key *key, struct entry *entry, int64_t old_due,
                                   int64_t due) {
    bool was = entry->flags & ENTRY_VOLATILE, is = due != NO_EXPIRY;
    check_slow(was == (old_due != NO_EXPIRY));
    if (was != is) {
        entry->flags ^= ENTRY_VOLATILE;
        database->volatile_count += is ? 1 : UINT64_MAX;
    }
    int64_t deadline = entry_deadline(entry);
    database_due_changed(ks, database, key, entry, earlier_deadline(deadline, old_due),
                         earlier_deadline(deadline, due));
}

void keyspace_count_expired_fields(struct keyspace *ks, uint64_t count) {
    ks->stats.expired_fields += count;
}

void keyspace_hid(struct keyspace *ks, int64_t deadline) {
    ks->expired_to = deadline > ks->expired_to ? deadline : ks->expired_to;
}

/* Elements that are over, their names copied. */
struct taken {
    struct change *change;
    struct text text;
    struct bytes names[ELEMENTS_AT_ONCE]; /* their places are known when all are there */
    uint32_t count;
    int64_t last;
};

static void note_taken(void *arg, const struct value_element *element) {
    struct taken *taken = arg;
    change_element(taken->change, &element->first);
    text_append_bytes(&taken->text, element->first);
    taken->names[taken->count++] = bytes_make(NULL, element->first.len);
    taken->last = element->deadline;
}

static void hook_elements_expired(struct keyspace *ks, struct taken *taken) {
    const struct change *change = taken->change;
    if (!ks->hooks.elements_expired) {
        return;
    }
    const char *name = taken->text.ptr;
    for (uint32_t i = 0; i < taken->count; i++) {
        taken->names[i].ptr = name;
        name += taken->names[i].len;
    }
    bool emptied = forms_find(ks->forms, &change->value)->count(&change->value) == 0;
    ks->hooks.elements_expired(ks->hooks.arg, change->db, change->key, taken->names, taken->count,
                               emptied);
}

void database_expire_elements(struct keyspace *ks, uint32_t db, const struct key *key,
                              struct entry *entry, int64_t now_ms, uint64_t *budget) {
    struct change change;
    struct taken taken = {.change = &change};
    struct text name; /* must outlive the entry, whose own it is */
    text_init(&taken.text);
    text_init(&name);
    text_append_bytes(&name, key->name);
    struct key kept = {text_bytes(&name), key->hash, key->slot};
    change_open(&change, ks, db, &kept, entry, now_ms);
    const struct form *form = forms_find(ks->forms, &change.value);
    while (*budget > 0 && taken.count < ELEMENTS_AT_ONCE &&
           form->take_over(ks->heap, &change.value, now_ms, note_taken, &taken)) {
        --*budget;
    }
    keyspace_hid(ks, taken.last);
    ks->stats.expired_fields += taken.count;
    hook_elements_expired(ks, &taken);
    uint64_t changes = ks->stats.changes;
    change_close(&change, EVENT_HEXPIRED_IN_TIME);
    ks->stats.changes = changes; /* time does not count, as for keys */
    text_fini(&taken.text);
    text_fini(&name);
}

static void hook_gone(struct keyspace *ks, uint32_t db, const struct key *key, enum key_event event,
                      enum value_type type) {
    if (ks->hooks.expired) {
        struct key_news news = {key, db, event, type};
        ks->hooks.expired(ks->hooks.arg, &news);
    }
}

void database_take_out(struct keyspace *ks, uint32_t db, const struct key *key, struct entry *entry,
                       enum key_event event, bool lazy) {
    hook_pre_write(ks, db, key, entry);
    /* The name must outlive the entry, whose own it may be. */
    char small[256];
    char *copy = key->name.len <= sizeof(small) ? small : sysmem_alloc(key->name.len);
    memcpy(copy, key->name.ptr, key->name.len);
    struct key kept = {bytes_make(copy, key->name.len), key->hash, key->slot};
    enum value_type type = entry_type(entry);
    database_delete(ks, keyspace_database(ks, db), &kept, entry, lazy);
    hook_changed(ks, db, &kept, event, type);
    hook_gone(ks, db, &kept, event, type);
    if (copy != small) {
        sysmem_release(copy);
    }
}

void database_expire(struct keyspace *ks, uint32_t db, const struct key *key, struct entry *entry) {
    note_dead(ks, entry);
    ks->stats.expired_keys++;
    database_take_out(ks, db, key, entry, EVENT_EXPIRED, true);
}

struct entry *keyspace_set_expiry(struct keyspace *ks, uint32_t db, const struct key *key,
                                  struct entry *entry, int64_t expires_at) {
    int64_t old_deadline = entry_deadline(entry);
    if (old_deadline == NO_EXPIRY && expires_at == NO_EXPIRY) {
        return entry;
    }
    hook_pre_write(ks, db, key, entry);
    struct database *database = keyspace_database(ks, db);
    struct slot *slot = &database->slots[key->slot];
    bool has_ttl = expires_at != NO_EXPIRY;
    if (has_ttl != (old_deadline != NO_EXPIRY)) {
        struct books books = books_open(ks);
        struct entry *moved = entry_reshape(ks->heap, entry, has_ttl, (enum value_form)entry->form,
                                            entry->value_bytes);
        database_moved(database, key, entry, moved);
        entry = moved;
        books_close(ks, slot, books);
    }
    if (has_ttl) {
        entry_put_deadline(entry, expires_at);
        if (entry->type == TYPE_STRING && entry->form != FORM_INT &&
            string_too_long_to_embed(key->name.len, true, string_length(entry))) {
            entry->flags |= ENTRY_RAW;
        }
    }
    database_deadline_changed(ks, database, key, entry, old_deadline, expires_at);
    keyspace_tell(ks, db, key, has_ttl ? EVENT_EXPIRE : EVENT_PERSIST, entry_type(entry));
    return entry;
}

/* ---- Lookup ---- */

bool keyspace_buries(const struct keyspace *ks, const struct entry *entry, int64_t now_ms,
                     bool writes) {
    if (ks->expire.paused || (ks->expire.importing && !writes) || entry_is_lent(ks, entry)) {
        return false;
    }
#ifdef SHOAL_UNSAFE_BURIALS /* for the test that users of the simulator notice */
    return true;
#endif
    return !ks->hooks.expiry_ms || entry_is_dead(entry, ks->hooks.expiry_ms(ks->hooks.arg, now_ms));
}

/* A lookup has met an entry past its deadline: what it finds. */
static struct entry *find_dead(struct keyspace *ks, uint32_t db, const struct key *key,
                               struct entry *entry, int64_t now_ms, bool writes) {
    if ((ks->sees_dead && ks->expire.importing) || keyspace_hides_slot(ks, key->slot)) {
        return entry;
    }
    note_dead(ks, entry);
    if (keyspace_buries(ks, entry, now_ms, writes)) {
        database_expire(ks, db, key, entry);
    }
    return NULL;
}

/* Apart, so that a lookup need not make room for it. */
static __attribute__((noinline)) void note_miss(struct keyspace *ks, uint32_t db,
                                                const struct key *key) {
    keyspace_note(ks, db, key, EVENT_KEYMISS, TYPE_STRING);
}

struct entry *keyspace_find(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms,
                            unsigned lookup_flags) {
    keyspace_witnessed(ks, db, key, EVENT_NONE);
    const struct database *database = keyspace_peek(ks, db);
    struct entry *entry = database ? find_in(database, key) : NULL; /* in line: the hot one */
    if (entry && UNLIKELY(entry_is_dead(entry, now_ms))) {
        entry = find_dead(ks, db, key, entry, now_ms, lookup_flags & LOOKUP_WRITE);
    }
    if (!(lookup_flags & (LOOKUP_WRITE | LOOKUP_NOSTATS))) {
        *(entry ? &ks->stats.hits : &ks->stats.misses) += 1;
        if (UNLIKELY(ks->listening) && !entry && !(lookup_flags & LOOKUP_QUIET)) {
            note_miss(ks, db, key);
        }
    }
    if (entry && !(lookup_flags & LOOKUP_NOTOUCH)) {
        if (LIKELY(ks->lru_mode == LRU_CLOCK)) {
            uint32_t lru = lru_seconds(now_ms);
            if (UNLIKELY(entry->lru != lru)) {
                entry->lru = lru & LRU_MASK;
            }
        } else {
            lru_touch(ks, entry, now_ms);
        }
    }
    return entry;
}

struct entry *keyspace_find_any(const struct keyspace *ks, uint32_t db, const struct key *key) {
    keyspace_witnessed(ks, db, key, EVENT_NONE);
    const struct database *database = keyspace_peek(ks, db);
    return database ? database_find(database, key) : NULL;
}

bool keyspace_has(const struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms) {
    const struct entry *entry = keyspace_find_any(ks, db, key);
    return entry && !entry_is_dead(entry, now_ms);
}

struct entry *keyspace_old_is_dead(struct keyspace *ks, uint32_t db, const struct key *key,
                                   struct entry *entry) {
    if ((ks->sees_dead && ks->expire.importing) || keyspace_hides_slot(ks, key->slot)) {
        return entry;
    }
    database_expire(ks, db, key, entry);
    return NULL;
}

void keyspace_prefetch_slot(const struct keyspace *ks, uint32_t db, const struct key *key) {
    const struct database *database = keyspace_peek(ks, db);
    if (database) {
        __builtin_prefetch(&database->slots[key->slot]);
    }
}

void keyspace_prefetch_bucket(const struct keyspace *ks, uint32_t db, const struct key *key) {
    const struct database *database = keyspace_peek(ks, db);
    if (database) {
        table_prefetch(&database->slots[key->slot].table, key->hash);
    }
}

void keyspace_prefetch_entry(const struct keyspace *ks, uint32_t db, const struct key *key) {
    const struct database *database = keyspace_peek(ks, db);
    if (!database) {
        return;
    }
    struct table_probe probe = table_probe(&database->slots[key->slot].table, key->hash);
    const char *entry = table_probe_next(&probe);
    if (entry) {
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 64);
    }
}

/* Where the elements of a key's value are found by name, NULL if it is not large; asks for that.
 * What the name of the key is need not be looked at for a hint. */
static const struct table *prefetch_names(const struct keyspace *ks, uint32_t db,
                                          const struct key *key) {
    const struct database *database = keyspace_peek(ks, db);
    if (!database) {
        return NULL;
    }
    struct table_probe probe = table_probe(&database->slots[key->slot].table, key->hash);
    const struct entry *entry = table_probe_next(&probe);
    if (!entry || !entry_is_rooted(entry)) {
        return NULL;
    }
    struct value value = entry_get(entry);
    __builtin_prefetch(value.root);
    const struct form *form = forms_find(ks->forms, &value);
    return form->names ? form->names(&value) : NULL;
}

void keyspace_prefetch_elements(const struct keyspace *ks, struct element_hint *hints, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        struct element_hint *hint = &hints[i], *before = hint - 1;
        bool same = i > 0 && hint->key->hash == before->key->hash && hint->db == before->db;
        hint->names = same ? before->names : prefetch_names(ks, hint->db, hint->key);
    }
    for (unsigned i = 0; i < n; i++) {
        if (hints[i].names) {
            hints[i].hash = hash_bytes(ks->secret->bytes, hints[i].element);
            table_prefetch(hints[i].names, hints[i].hash);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (hints[i].names) {
            struct table_probe probe = table_probe(hints[i].names, hints[i].hash);
            const char *item = table_probe_next(&probe);
            if (item) {
                __builtin_prefetch(item);
                __builtin_prefetch(item + 32);
            }
        }
    }
}

size_t entry_memory(const struct keyspace *ks, const struct entry *entry) {
    struct value value = entry_get(entry);
    return heap_block_bytes(entry_bytes(entry)) + value_memory(ks->forms, &value) +
           sizeof(uint64_t);
}

/* ---- Deleting and copying ---- */

bool keyspace_delete(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms,
                     bool lazy, enum key_event event) {
    /* In import mode whoever deletes a dead key deletes a key. */
    struct entry *entry = UNLIKELY(ks->expire.importing)
                              ? keyspace_find_any(ks, db, key)
                              : keyspace_find(ks, db, key, now_ms, LOOKUP_WRITE | LOOKUP_NOTOUCH);
    if (!entry) {
        return false;
    }
    hook_pre_write(ks, db, key, entry);
    enum value_type type = entry_type(entry);
    database_delete(ks, keyspace_database(ks, db), key, entry, lazy);
    keyspace_tell(ks, db, key, event, type);
    if (UNLIKELY(event == EVENT_EXPIRED)) {
        ks->stats.expired_keys++;
        hook_gone(ks, db, key, event, type);
    }
    return true;
}

/* An entry for this value under another name, with its deadline; a rooted value is still to come.
 */
static struct entry *clone(struct keyspace *ks, const struct loan *from, struct bytes name) {
    bool has_ttl = from->expires_at != NO_EXPIRY;
    const struct value *value = &from->value;
    size_t length = value_is_inline(value) ? value->bytes.len : 0;
    struct entry *entry = entry_new(ks->heap, name, has_ttl, (enum value_form)value->form, length);
    entry->type = value->type & 15;
    if (has_ttl) {
        entry_put_deadline(entry, from->expires_at);
    }
    if (value_is_inline(value)) {
        memcpy(entry_value(entry), value->bytes.ptr, length);
    } else if (value->form == FORM_INT) {
        entry_put_int(entry, value->number);
    }
    bool raw = value->raw;
    if (value->type == TYPE_STRING && value->form != FORM_INT && !raw) {
        length = string_value_bytes(value, NULL).len;
        raw = string_too_long_to_embed(name.len, has_ttl, length);
    }
    entry->flags |= raw ? ENTRY_RAW : 0;
    return entry;
}

/* Puts an equal entry, as fresh as a new one, where nothing is. A rooted value is handed over, or
 * (`move`) taken over. Nobody is told. */
static struct entry *put_new(struct keyspace *ks, const struct loan *from, uint32_t to_db,
                             const struct key *to, int64_t now_ms, bool move) {
    struct database *database = keyspace_database(ks, to_db);
    struct slot *slot = &database->slots[to->slot];
    struct books books = books_open(ks);
    struct entry *entry = clone(ks, from, to->name);
    if (value_is_rooted(&from->value)) {
        struct value value = move ? from->value : value_hand_over(ks, &from->value, to_db, to);
        entry_put_root(entry, value.root);
    }
    entry->lru = lru_fresh(ks, now_ms) & 0xFFFFFF;
    database_link(ks, database, to, entry);
    books_close(ks, slot, books);
    if (entry->flags & ENTRY_HAS_TTL) {
        database_deadline_changed(ks, database, to, entry, NO_EXPIRY, entry_deadline(entry));
    }
    int64_t elements_due = value_elements_due(ks->forms, &from->value);
    if (UNLIKELY(elements_due != NO_EXPIRY)) {
        database_elements_due_changed(ks, database, to, entry, NO_EXPIRY, elements_due);
    }
    return entry;
}

/* The same in the place of `old`, or where nothing is. */
static struct entry *put_clone(struct keyspace *ks, const struct loan *from, uint32_t to_db,
                               const struct key *to, struct entry *old, int64_t now_ms, bool move) {
    if (old) {
        database_delete(ks, keyspace_database(ks, to_db), to, old, true);
    }
    struct entry *entry = put_new(ks, from, to_db, to, now_ms, move);
    keyspace_note(ks, to_db, to, EVENT_NEW, entry_type(entry));
    return entry;
}

struct entry *keyspace_put(struct keyspace *ks, uint32_t db, const struct key *key,
                           const struct loan *loan, int64_t now_ms, enum key_event event) {
    struct entry *old = keyspace_find_old(ks, db, key, now_ms);
    check(!old || old != loan->entry);
    hook_pre_write(ks, db, key, old);
    struct entry *entry = put_clone(ks, loan, db, key, old, now_ms, false);
    keyspace_tell(ks, db, key, event, entry_type(entry));
    return entry;
}

size_t keyspace_making(const struct keyspace *ks) {
    return heap_used(ks->heap);
}

void keyspace_made(struct keyspace *ks, size_t making) {
    ks->bytes += heap_used(ks->heap) - making;
}

struct entry *keyspace_take(struct keyspace *ks, uint32_t db, const struct key *key,
                            const struct value *value, int64_t expires_at, int64_t now_ms,
                            enum key_event event) {
    struct entry *old = keyspace_find_old(ks, db, key, now_ms);
    hook_pre_write(ks, db, key, old);
    struct loan loan = {.value = *value, .expires_at = expires_at, .present = true};
    struct entry *entry = put_clone(ks, &loan, db, key, old, now_ms, true);
    /* ks->bytes has it already. */
    keyspace_database(ks, db)->slots[key->slot].bytes += value_memory(ks->forms, value);
    keyspace_tell(ks, db, key, event, entry_type(entry));
    return entry;
}

void keyspace_bury(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms) {
    keyspace_find_old(ks, db, key, now_ms);
}

struct entry *keyspace_add(struct keyspace *ks, uint32_t db, const struct key *key,
                           const struct value *value, int64_t expires_at, int64_t now_ms) {
    struct loan loan = {.value = *value, .expires_at = expires_at, .present = true};
    struct entry *entry = put_new(ks, &loan, db, key, now_ms, true);
    if (value_is_rooted(value)) { /* ks->bytes has it already */
        keyspace_database(ks, db)->slots[key->slot].bytes += value_memory(ks->forms, value);
    }
    return entry;
}

struct entry *keyspace_put_copy(struct keyspace *ks, uint32_t db, const struct key *key,
                                const struct value_copy *copy, int64_t expires_at, int64_t now_ms,
                                enum key_event event) {
    return keyspace_take(ks, db, key, &copy->to, expires_at, now_ms, event);
}

void keyspace_gave(struct keyspace *ks, uint32_t db, const struct key *key) {
    struct entry *entry = keyspace_find_any(ks, db, key);
    check(entry);
    hook_pre_write(ks, db, key, entry);
    enum value_type type = entry_type(entry);
    database_delete(ks, keyspace_database(ks, db), key, entry, true);
    hook_changed(ks, db, key, EVENT_RENAME_FROM, type);
}

/* The value has another entry, of this slot. */
static void root_moved(struct keyspace *ks, struct entry *from, struct slot *from_slot,
                       struct slot *to_slot) {
    struct value value = entry_get(from);
    size_t bytes = value_memory(ks->forms, &value);
    from_slot->bytes -= bytes;
    to_slot->bytes += bytes;
    from->form = FORM_INT; /* a number of the same size takes its place */
}

struct entry *keyspace_rename(struct keyspace *ks, uint32_t from_db, const struct key *from,
                              struct entry *entry, uint32_t to_db, const struct key *to,
                              int64_t now_ms) {
    struct entry *old = keyspace_find_old(ks, to_db, to, now_ms);
    check(old != entry);
    hook_pre_write(ks, from_db, from, entry);
    hook_pre_write(ks, to_db, to, old);
    struct loan loan = entry_loan(entry);
    struct entry *renamed = put_clone(ks, &loan, to_db, to, old, now_ms, true);
    struct database *database = keyspace_database(ks, from_db);
    if (entry_is_rooted(entry)) {
        root_moved(ks, entry, &database->slots[from->slot],
                   &keyspace_database(ks, to_db)->slots[to->slot]);
    }
    database_delete(ks, database, from, entry, true);
    enum value_type type = entry_type(renamed);
    bool moves = from_db != to_db;
    hook_changed(ks, from_db, from, moves ? EVENT_MOVE_FROM : EVENT_RENAME_FROM, type);
    keyspace_tell(ks, to_db, to, moves ? EVENT_MOVE_TO : EVENT_RENAME_TO, type);
    return renamed;
}
