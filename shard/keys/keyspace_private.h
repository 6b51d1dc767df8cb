/* SPDX-License-Identifier: BSD-3-Clause */
/* keyspace_parts: what the files of the keyspace share. Private to shard/keys, and to what a
 * string, which may lie in its entry, needs of it.
 *
 * Thread: owner shard only.
 *
 *   keyspace.c         databases, lookup, deleting, deadlines, the books
 *   change.c           changing values
 *   keyspace_all.c     walking, random keys, flushing, statistics, verification
 *   keyspace_evict.c   which keys go when memory is short
 *   keyspace_work.c    the wheel's answers and background slices
 *   keyspace_lend.c    values on their way between shards
 *   keyspace_slot.c    whole slots on their way
 *   keyspace_defrag.c  moving entries out of sparse slabs
 *   cut.c              what a walk sees of a keyspace that goes on changing
 */
#ifndef SHOAL_SHARD_KEYS_KEYSPACE_PRIVATE_H
#define SHOAL_SHARD_KEYS_KEYSPACE_PRIVATE_H

#include "base/check.h"
#include "base/list.h"
#include "base/random.h"
#include "shard/ds/table.h"
#include "shard/keys/change.h"
#include "shard/keys/cut.h"
#include "shard/keys/entry.h"
#include "shard/keys/keyspace.h"
#include "shard/keys/wheel.h"
#include "shard/memory/heap.h"

/* Slots are summed up in groups, so that random picks and walks skip empty ones. */
#define GROUP_BITS  7
#define GROUP_SLOTS (1u << GROUP_BITS)
#define GROUP_COUNT (SLOTS / GROUP_SLOTS)

/* The keys of one slot in one database. */
struct slot {
    struct table table;
    uint64_t bytes; /* entries, values, table; not the slot itself */
};

/* Where the search for keys to evict looks next: keyspace_evict.c. */
#define EVICT_HANDS 4
struct evict_hand {
    uint64_t place; /* of a leaf, in the table of the slot */
    uint32_t slot;
    uint32_t index; /* in that leaf */
    uint32_t left;  /* so many keys more, then elsewhere */
};

struct database {
    struct list_node link; /* in keyspace.garbage, or keyspace.flushed */
    struct slot *slots;    /* SLOTS of them; pages of slots that hold nothing are not touched */
    struct wheel *wheel;   /* NULL before the first TTL */
    uint64_t count;
    uint64_t expiring;
    __int128 deadline_sum;   /* of all keys with a TTL: their mean is exact for free */
    uint64_t referenced;     /* entries with ENTRY_REFERENCED */
    uint64_t volatile_count; /* and with ENTRY_VOLATILE */
    size_t table_bytes;
    uint32_t holds; /* keyspace_hold */
    bool parity; /* of ENTRY_SWEPT, for entries seen by the current sweep or, between sweeps, all */
    uint64_t group_counts[GROUP_COUNT];
    struct evict_hand hands[EVICT_HANDS];
    uint32_t turn;           /* of the hands */
    struct evict_hand sweep; /* goes through all keys, where few may go */
};

static inline int64_t earlier_deadline(int64_t a, int64_t b) {
    return a == NO_EXPIRY || (b != NO_EXPIRY && b < a) ? b : a;
}

/* A large value that the walk against fragmentation has come by: it is moved a piece at a time. */
struct defrag_value {
    struct list_node link; /* in defrag.values */
    struct key key;        /* without its name */
    uint32_t db;
    void *root; /* found by: if the key has another by then, that is left alone */
    uint64_t cursor;
};

/* Where the walk against fragmentation stands. */
struct defrag {
    bool running;
    uint32_t db;
    uint32_t slot;
    uint64_t place;
    int64_t next_ms;   /* the next slice */
    size_t slack_then; /* when it began, and heap_relocated */
    size_t relocated_then;
    size_t slack_left; /* what the last walk could not mend */
};

/* A key that might be evicted. */
struct evict_candidate {
    uint64_t score; /* how good it was to do without when it was found */
    uint64_t hash;
    uint32_t db;
    uint16_t slot;
};
#define EVICT_POOL 16

struct keyspace {
    struct shard_heap *heap;
    const struct hash_secret *secret;
    const struct forms *forms;
    struct keyspace_hooks hooks;
    const struct keyspace_before *before; /* cut.h */
    const struct keyspace_witness *witness;
    bool listening; /* keyspace_listen */
    struct table_env env;
    uint32_t database_count;
    struct database **databases; /* NULL before the first key; as many aside (keyspace_aside) */
    int64_t now_ms;              /* as last heard: where new wheels start */
    struct keyspace_expire_options expire;
    const uint8_t *hidden; /* keyspace_hide; or NULL */
    bool sees_dead;        /* who looks is an import source */
    int64_t expired_to;    /* keyspace_expired_to */
    enum lru_mode lru_mode;
    int lfu_log_factor;
    int lfu_decay_minutes;
    struct rng rng;
    struct keyspace_stats stats;
    size_t bytes; /* everything that keyspace_memory reports */
    struct {
        bool any;
        uint32_t db;
        struct wheel_ref ref;
    } late; /* a key whose elements were over, and too many to be taken out at once */
    struct defrag defrag;
    struct list defrag_values;    /* large values that the walk has still to move */
    struct list flushed;          /* flushed databases that somebody reads still */
    struct list garbage;          /* flushed databases that are being freed */
    struct list kept;             /* large values without a key that somebody reads still */
    struct list wastes;           /* large values that are being freed */
    struct list handed;           /* large values that are shared, to be copied */
    struct value rewritten;       /* the copy of the first of them, as far as it is */
    uint64_t rewritten_to;        /* its cursor */
    bool rewriting, rewrite_over; /* there is one; all of it is there */
    uint32_t loans;               /* values that are lent */
    struct {
        struct evict_candidate pool[EVICT_POOL]; /* the best last */
        unsigned count;
    } evict;
};

/* A large value that two keys share, of one shard or of two: this one gets a copy of its own. */
struct handed {
    struct list_node link; /* in keyspace.handed */
    uint32_t db;
    uint16_t slot;
    uint64_t hash;
    void *root; /* found by: if the key has another one by then, that is nobody's but its own */
};

/* A value in nobody's reach. */
struct waste {
    struct list_node link; /* in keyspace.wastes, or keyspace.kept */
    struct value value;
    bool is_many; /* it counts */
};

/* ---- The books ----------------------------------------------------------------------------------
 * Whatever a change of a slot takes from or gives back to the heap is that slot's. */

struct books {
    size_t used_before;
};

static inline struct books books_open(const struct keyspace *ks) {
    return (struct books){heap_used(ks->heap)};
}

static inline void books_close(struct keyspace *ks, struct slot *slot, struct books books) {
    size_t change = heap_used(ks->heap) - books.used_before;
    slot->bytes += change;
    ks->bytes += change;
}

/* ---- keyspace.c ---- */

struct database *keyspace_make_database(struct keyspace *ks, uint32_t db);
/* Made if need be. */
static inline struct database *keyspace_database(struct keyspace *ks, uint32_t db) {
    check(db < 2 * ks->database_count);
    struct database *database = ks->databases[db];
    return LIKELY(database != NULL) ? database : keyspace_make_database(ks, db);
}
const struct database *keyspace_peek(const struct keyspace *ks, uint32_t db);
struct database *database_new(struct keyspace *ks);
/* The database must be without keys and references. */
void database_free(struct keyspace *ks, struct database *database);

/* The entry of a key, dead or alive. */
struct entry *database_find(const struct database *database, const struct key *key);
void database_link(struct keyspace *ks, struct database *database, const struct key *key,
                   struct entry *entry);
void database_moved(struct database *database, const struct key *key, const struct entry *old_entry,
                    struct entry *entry);
/* Takes an entry out and frees it; a large value, if `lazy`, in slices of keyspace_work. */
void database_delete(struct keyspace *ks, struct database *database, const struct key *key,
                     struct entry *entry, bool lazy);
/* An entry was found to be past its deadline. */
static inline void note_dead(struct keyspace *ks, const struct entry *entry) {
    keyspace_hid(ks, entry_deadline(entry));
}
/* As database_delete, for an entry that nobody asked for: EVENT_EXPIRED, EVENT_EVICTED; with hooks.
 */
void database_take_out(struct keyspace *ks, uint32_t db, const struct key *key, struct entry *entry,
                       enum key_event event, bool lazy);
/* The same for one that is past its deadline, with statistics. */
void database_expire(struct keyspace *ks, uint32_t db, const struct key *key, struct entry *entry);
/* keyspace_hide */
static inline bool keyspace_hides_slot(const struct keyspace *ks, uint32_t slot) {
    return UNLIKELY(ks->hidden != NULL) && (ks->hidden[slot / 8] >> slot % 8 & 1);
}
/* Whether what met this entry past its deadline deletes it; else it only hides it. */
bool keyspace_buries(const struct keyspace *ks, const struct entry *entry, int64_t now_ms,
                     bool writes);
/* What a write to this key replaces or changes: its live entry, or NULL. A dead one is out of the
 * way afterwards, also where lookups only hide it. */
struct entry *keyspace_old_is_dead(struct keyspace *ks, uint32_t db, const struct key *key,
                                   struct entry *entry);
static inline struct entry *keyspace_find_old(struct keyspace *ks, uint32_t db,
                                              const struct key *key, int64_t now_ms) {
    struct entry *entry = database_find(keyspace_database(ks, db), key);
    if (!entry || LIKELY(!entry_is_dead(entry, now_ms))) {
        return entry;
    }
    return keyspace_old_is_dead(ks, db, key, entry);
}
/* What depends on deadlines follows a change of one (NO_EXPIRY: none). */
void database_deadline_changed(struct keyspace *ks, struct database *database,
                               const struct key *key, struct entry *entry, int64_t old_deadline,
                               int64_t deadline);
/* The same of those of its elements. */
void database_elements_due_changed(struct keyspace *ks, struct database *database,
                                   const struct key *key, struct entry *entry, int64_t old_due,
                                   int64_t due);
/* Takes out some elements of a live entry that are over, with hooks and statistics; off *budget
 * comes one for each. The entry may go. */
void database_expire_elements(struct keyspace *ks, uint32_t db, const struct key *key,
                              struct entry *entry, int64_t now_ms, uint64_t *budget);
enum freeing {
    FREE_NOW,
    FREE_LAZILY,    /* in slices, if it is large; it counts (lazyfreed_many) */
    FREE_UNCOUNTED, /* the same: of a flushed database keys count, of what is cut off nothing */
};
/* Frees a rooted value of this slot; a large one, but for FREE_NOW, goes among those that are freed
 * in slices: its bytes are the slot's no more, but still the keyspace's. */
void root_free(struct keyspace *ks, struct slot *slot, struct value *value, enum freeing how);
/* Frees the value and the block of an entry of this slot that is in no table, within open books. */
void entry_free(struct keyspace *ks, struct slot *slot, struct entry *entry, enum freeing how);

struct key entry_make_key(const struct keyspace *ks, const struct entry *entry, uint16_t slot);
/* The clock of a new entry, or after a touch of an old one. */
uint32_t lru_fresh(const struct keyspace *ks, int64_t now_ms);
void lru_touch(struct keyspace *ks, struct entry *entry, int64_t now_ms);

/* ---- keyspace_lend.c ---- */

/* The same value once more, of a rooted one, in this heap and within open books of the slot: a
 * copy, or, of what is large, for the moment the value itself: then it is copied in slices of
 * keyspace_work. */
struct value value_hand_over(struct keyspace *ks, const struct value *from, uint32_t db,
                             const struct key *to);
/* An entry is about to change or go: what was copied of it so far is not its copy any more. */
void rewrite_told(struct keyspace *ks, const struct entry *entry);
/* One slice. True if there is more to do at once. */
bool rewrite_some(struct keyspace *ks);
/* A slot (SLOTS: each) of a database (UINT32_MAX: each) is emptied; two databases trade places. */
void rewrite_forget(struct keyspace *ks, uint32_t db, uint32_t slot);
void rewrite_swap(struct keyspace *ks, uint32_t a, uint32_t b);
/* Bytes of what is being rewritten. */
size_t rewrite_memory(const struct keyspace *ks);
/* Whether its value is lent, or may be: who is no op leaves it where it is. */
bool entry_is_lent(const struct keyspace *ks, const struct entry *entry);
/* Whether it is some op's, which has its place among all others by now: what becomes of the key is
 * told by that, or behind it. */
bool entry_is_locked(const struct keyspace *ks, const struct entry *entry);

static inline void hook_pre_write(struct keyspace *ks, uint32_t db, const struct key *key,
                                  struct entry *entry) {
    if (UNLIKELY(ks->before != NULL)) {
        ks->before->write(ks->before->arg, db, key, entry);
    }
    if (UNLIKELY(ks->rewriting)) {
        rewrite_told(ks, entry);
    }
}

static inline void keyspace_witnessed(const struct keyspace *ks, uint32_t db, const struct key *key,
                                      enum key_event event) {
    if (CHECKS_SLOW && ks->witness != NULL) {
        ks->witness->touched(ks->witness, db, key, event);
    }
}

/* A key has changed; keyspace_tell: and that counts (rdb_changes_since_last_save). */
static inline void hook_changed(struct keyspace *ks, uint32_t db, const struct key *key,
                                enum key_event event, enum value_type type) {
    struct key_news news = {key, db, event, type};
    keyspace_witnessed(ks, db, key, event);
    if (LIKELY(ks->hooks.changed != NULL)) {
        ks->hooks.changed(ks->hooks.arg, &news);
    }
    if (UNLIKELY(ks->listening) && event_rows[event].class != 0) {
        ks->hooks.heard(ks->hooks.arg, &news);
    }
}

static inline void keyspace_tell(struct keyspace *ks, uint32_t db, const struct key *key,
                                 enum key_event event, enum value_type type) {
    ks->stats.changes++;
    hook_changed(ks, db, key, event, type);
}

/* ---- change.c: what strings, of which there are most, do with one ---- */

static inline void change_begin(struct change *change, struct keyspace *ks, uint32_t db,
                                const struct key *key, struct entry *entry, int64_t now_ms) {
    struct database *database = keyspace_database(ks, db);
    hook_pre_write(ks, db, key, entry);
    change->ks = ks;
    change->database = database;
    change->slot = &database->slots[key->slot];
    change->key = key;
    change->entry = entry;
    change->used = heap_used(ks->heap);
    change->now_ms = now_ms;
    change->db = db;
    change->is_new = !entry;
}

/* Opens a change of whatever the key has: what is hidden is out of the way. */
static inline void change_open_any(struct change *change, struct keyspace *ks, uint32_t db,
                                   const struct key *key, int64_t now_ms) {
    change_begin(change, ks, db, key, keyspace_find_old(ks, db, key, now_ms), now_ms);
}

/* Does the books up to now. */
static inline void change_book(struct change *change) {
    struct keyspace *ks = change->ks;
    size_t used = heap_used(ks->heap);
    change->slot->bytes += used - change->used;
    ks->bytes += used - change->used;
    change->used = used;
}

struct entry *change_reshape(struct change *change, bool has_ttl, enum value_form form,
                             size_t value_length);
/* Gives the entry the shape for a value, or makes one (a string); header, key and what fits of the
 * value stay, the deadline is to be written. */
static inline struct entry *change_shape(struct change *change, bool has_ttl, enum value_form form,
                                         size_t value_length) {
    struct entry *old = change->entry;
    if (LIKELY(old && old->form == form && has_ttl == !!(old->flags & ENTRY_HAS_TTL) &&
               (!form_is_inline(form) || old->value_bytes == value_length))) {
        return old;
    }
    return change_reshape(change, has_ttl, form, value_length);
}

/* change_close of a string. */
static inline struct entry *change_close_string(struct change *change, enum key_event event) {
    change_book(change);
    if (UNLIKELY(change->is_new)) {
        keyspace_note(change->ks, change->db, change->key, EVENT_NEW, TYPE_STRING);
    }
    keyspace_tell(change->ks, change->db, change->key, event, TYPE_STRING);
    return change->entry;
}

/* Deletes what the key has, within the change. */
void change_drop(struct change *change);
/* The entry, which has room for it, gets its deadline (NO_EXPIRY: it had one). */
void change_deadline(struct change *change, int64_t old_deadline, int64_t deadline);

/* ---- cut.c ---- */

/* Whether somebody reads what this root leads to: it stays where it is, and is not freed. */
static inline bool root_is_read(const struct keyspace *ks, const void *root) {
    return UNLIKELY(ks->before != NULL) && ks->before->reads(ks->before->arg, root);
}

/* ---- keyspace_defrag.c ---- */

/* One slice, if one is due; returns when the next is, INT64_MAX if there is nothing to mend. */
int64_t keyspace_defrag(struct keyspace *ks, int64_t now_ms);
/* What it has still to move stays where it is. */
void defrag_forget(struct keyspace *ks);

/* ---- keyspace_all.c ---- */

/* The first slot from `from` on that holds keys; SLOTS if none does. */
uint32_t database_next_slot(const struct database *database, uint32_t from);
/* The slot of the index-th key of a database, in the order of slots and hashes; what is left of the
 * index is that of the key in the slot. */
uint16_t database_slot_at(const struct database *database, uint64_t *index);
/* That key. */
struct entry *database_at(const struct database *database, uint64_t index, uint16_t *ret_slot);
/* Frees up to max keys of a database that is in nobody's reach; true when all are gone. */
bool database_drain(struct keyspace *ks, struct database *database, uint64_t max,
                    uint64_t *ret_freed);

#endif
