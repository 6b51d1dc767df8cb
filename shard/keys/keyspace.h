/* SPDX-License-Identifier: BSD-3-Clause */
/* keyspace: all keys of one shard, in all databases, behind one door.
 *
 * Every read and every change of a key goes through here, so that expiry, memory accounting, and
 * the hooks (pre-write for snapshots, events for notifications, WATCH, tracking and blocked
 * clients, the log) see all of them. A lookup never returns a key past its deadline, but to whom
 * keyspace_see_dead says so.
 *
 * Thread: owner shard only.
 * Ownership: entries belong to the keyspace. A `struct entry *` is valid until the next call that
 * changes that key, or any call that may delete keys (expiry of another key does not move this
 * one). Slices into an entry likewise. Time: wall-clock milliseconds, given by the caller, one
 * value for a whole command.
 */
#ifndef SHOAL_SHARD_KEYS_KEYSPACE_H
#define SHOAL_SHARD_KEYS_KEYSPACE_H

#include "base/bytes.h"
#include "shard/keys/event.h"
#include "shard/types/value.h"

#include <stdint.h>

#define SLOTS 16384

/* A deadline that never comes. */
#define NO_EXPIRY INT64_C(-1)

/* 192 random bytes, drawn once per process: keys the hash so that nobody outside can aim keys at
 * one place. */
struct hash_secret {
    unsigned char bytes[192];
};

/* A key with what is computed once per request. */
struct key {
    struct bytes name;
    uint64_t hash;
    uint16_t slot;
};

struct key key_make(const struct hash_secret *secret, struct bytes name);
/* CRC16 of the key, or of its {tag}, modulo 16384. */
uint16_t key_slot(struct bytes name);

struct entry;
struct keyspace;
struct shard_heap;

/* What happened to a key, and the type of the value it was about. */
struct key_news {
    const struct key *key; /* lives only during the call */
    uint32_t db;
    enum key_event event;
    enum value_type type;
};

/* Elements whose end is told together. */
#define ELEMENTS_AT_ONCE 64

/* What happens to keys, told to whoever composes the server. Called synchronously on the owner's
 * thread, after the change; who must know before it: shard/keys/cut.h. Any may be NULL. */
struct keyspace_hooks {
    void *arg;
    /* A key changed, was created, deleted, renamed or expired: WATCH and tracking. Once for each
     * change. */
    void (*changed)(void *arg, const struct key_news *news);
    /* It was EVENT_EXPIRED or EVENT_EVICTED: after `changed`. */
    void (*expired)(void *arg, const struct key_news *news);
    /* These of its elements were past their deadlines: after they were taken out, and before the
     * news of it. `emptied`: they were the last. */
    void (*elements_expired)(void *arg, uint32_t db, const struct key *key,
                             const struct bytes *names, uint32_t count, bool emptied);
    /* While keyspace_listen says so: all that notifications tell of, in their order. Of what also
     * changed a key, after `changed`. */
    void (*heard)(void *arg, const struct key_news *news);
    /* Keys are deleted for being past their deadline only if it is past at this time too: no later
     * than now_ms. What ran out after it is hidden and stays. NULL: now_ms. */
    int64_t (*expiry_ms)(void *arg, int64_t now_ms);
    /* Whether somebody has locked this key, or one of the same hash: then nobody else deletes it
     * for being past its deadline or to make room; it stays as it is if it is lent. NULL: nothing
     * ever is. */
    bool (*locked)(void *arg, uint64_t hash);
    /* A database (UINT32_MAX: each) is about to be emptied; two are about to be swapped. */
    void (*flushing)(void *arg, uint32_t db);
    void (*swapping)(void *arg, uint32_t a, uint32_t b);
};

/* Builds with slow checks: who is told of each key that is looked up, and of each change, while it
 * is set. `event` is EVENT_NONE for a look. */
struct keyspace_witness {
    void (*touched)(const struct keyspace_witness *witness, uint32_t db, const struct key *key,
                    enum key_event event);
};

struct keyspace_options {
    uint32_t databases;
    const struct hash_secret *secret; /* must outlive the keyspace */
    struct shard_heap *heap;          /* borrowed */
    struct keyspace_hooks hooks;
    int64_t now_ms;            /* where the timing wheel starts */
    const struct forms *forms; /* NULL: value_forms */
};

struct keyspace *keyspace_new(const struct keyspace_options *options);
void keyspace_free(struct keyspace *ks);

/* Where blocks of values come from, and what their elements are hashed with. */
struct shard_heap *keyspace_heap(const struct keyspace *ks);
const struct hash_secret *keyspace_secret(const struct keyspace *ks);

/* NULL: nobody. Returns who was. */
const struct keyspace_witness *keyspace_set_witness(struct keyspace *ks,
                                                    const struct keyspace_witness *witness);
/* From now on the hook `heard` is called, or not. */
void keyspace_listen(struct keyspace *ks, bool listening);
/* Says of a key what is no change of its own: EVENT_EXPIRE after the EVENT_SET of a value with a
 * deadline. Nothing happens if nobody listens. */
void keyspace_note(struct keyspace *ks, uint32_t db, const struct key *key, enum key_event event,
                   enum value_type type);

/* ---- Lookup ---- */

enum lookup_flags {
    LOOKUP_READ = 0,       /* counts a hit or a miss, touches the LRU/LFU clock */
    LOOKUP_WRITE = 1 << 0, /* counts nothing */
    LOOKUP_NOTOUCH =
        1 << 1, /* leaves the LRU/LFU clock alone (OBJECT, CLIENT NO-TOUCH, TYPE, TTL ...) */
    LOOKUP_NOSTATS = 1 << 2, /* counts neither hit nor miss */
    LOOKUP_QUIET = 1 << 3,   /* tells nobody of a miss (OBJECT) */
};

/* The live entry of a key, or NULL. A key past its deadline is deleted on the way (and counted, and
 * told to the hooks), unless keyspace_set_expire_options or the hook `expiry_ms` say to keep it,
 * when it merely reads as missing. */
struct entry *keyspace_find(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms,
                            unsigned lookup_flags);

/* The entry of a key, dead or alive. Changes nothing, counts nothing. */
struct entry *keyspace_find_any(const struct keyspace *ks, uint32_t db, const struct key *key);
/* Whether somebody has locked it, or one of the same hash: who has not does not touch it. */
bool keyspace_is_locked(const struct keyspace *ks, const struct key *key);
/* Whether the key is there and not past its deadline. Changes nothing, counts nothing. */
bool keyspace_has(const struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms);

/* Memory hints for a key that will be looked up soon: its slot, its place in the slot's table, its
 * entry. Each stage touches what the one before has fetched, so they are called for a whole
 * pipeline stage by stage. Cheap, and never wrong to leave out. */
void keyspace_prefetch_slot(const struct keyspace *ks, uint32_t db, const struct key *key);
void keyspace_prefetch_bucket(const struct keyspace *ks, uint32_t db, const struct key *key);
void keyspace_prefetch_entry(const struct keyspace *ks, uint32_t db, const struct key *key);

/* The same for elements that will be looked up in large values, by name: all stages, for all that
 * a pipeline asks for, after their entries. */
struct element_hint {
    const struct key *key;
    struct bytes element;
    uint32_t db;
    uint64_t hash;             /* the rest is its own */
    const struct table *names; /* NULL: there is nothing to prefetch */
};
void keyspace_prefetch_elements(const struct keyspace *ks, struct element_hint *hints, unsigned n);

/* ---- What an entry says ---- */

enum value_type entry_type(const struct entry *entry);
/* Where its value is: to be read until the next change, or while it is lent. */
struct value entry_value_of(const struct entry *entry);
struct bytes entry_key(const struct entry *entry);
int64_t entry_expires_at(const struct entry *entry); /* wall ms or NO_EXPIRY */
/* "int", "embstr", "raw", "listpack" ...: as Valkey 9.1 would say for this value. */
const char *entry_encoding_name(const struct entry *entry);
/* Bytes of memory this key costs: entry, value, its share of the table: MEMORY USAGE. */
size_t entry_memory(const struct keyspace *ks, const struct entry *entry);
/* Seconds since the last touch (OBJECT IDLETIME); the LFU counter, decayed (OBJECT FREQ). */
uint32_t entry_idle_seconds(const struct keyspace *ks, const struct entry *entry, int64_t now_ms);
uint8_t entry_frequency(const struct keyspace *ks, const struct entry *entry, int64_t now_ms);

/* What another server knows of how a live key was used, if it says something about the clock that
 * is kept: seconds since the last touch, the counter of touches; less than 0: nothing. */
void keyspace_set_usage(struct keyspace *ks, uint32_t db, const struct key *key,
                        int64_t idle_seconds, int frequency, int64_t now_ms);

#define KEEP_TTL INT64_C(-2)

/* ---- Keys ---- */

/* Changes of values are in shard/keys/change.h. */

/* Deletes a live key. `lazy`: a value of many parts may be freed later in slices (UNLINK,
 * lazyfree-*). EVENT_EXPIRED: because the deadline that it is given has gone by; it counts as one
 * that ran out, and as one change. False if missing. */
bool keyspace_delete(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms,
                     bool lazy, enum key_event event);
/* Sets or (NO_EXPIRY) removes the deadline of an entry; may move it: use the returned one. A
 * deadline in the past makes it dead, for the next lookup or the wheel to delete. The event is
 * EVENT_EXPIRE or EVENT_PERSIST. */
struct entry *keyspace_set_expiry(struct keyspace *ks, uint32_t db, const struct key *key,
                                  struct entry *entry, int64_t expires_at);
/* Moves the value of a live entry, with its TTL, to another key (or the same one in another
 * database), where it is as fresh as a new one; replaces what is there. A value outside its entry
 * is not copied. Counts as one change. EVENT_RENAME_FROM and _TO, to another database
 * EVENT_MOVE_FROM and _TO. */
struct entry *keyspace_rename(struct keyspace *ks, uint32_t from_db, const struct key *from,
                              struct entry *entry, uint32_t to_db, const struct key *to,
                              int64_t now_ms);

/* ---- Values across shards ---- */

/* A value as its owner lends it to a command on another shard: where it is, and when it dies; not
 * its entry, whose header the owner goes on to write. The transaction's lock on the key keeps ops
 * from changing it, and what is no op (the wheel, the walk against fragmentation) asks the hook
 * `locked` before it moves or deletes anything while something is lent. */
struct loan {
    struct value value;
    int64_t expires_at;
    struct entry *entry; /* NULL: it is another shard's */
    bool present;
};

/* What a lookup found (NULL: nothing), for a command that does not ask where it is. */
struct loan entry_loan(struct entry *entry);
/* The same for another thread, until it is taken back. */
struct loan keyspace_lend(struct keyspace *ks, struct entry *entry);
void keyspace_take_back(struct keyspace *ks, uint32_t count);
/* Counts a lookup of what is lent, as keyspace_find does. */
void keyspace_count_lookup(struct keyspace *ks, bool present, unsigned lookup_flags);
/* Lookups that were counted and are done again. */
void keyspace_uncount_lookups(struct keyspace *ks, uint64_t hits, uint64_t misses);

/* Gives a key the value that is lent, with its deadline, as fresh as a new one; replaces what is
 * there. A large value is shared with its owner, and later copied in slices. EVENT_COPY_TO, or
 * EVENT_RENAME_TO if the owner then says keyspace_gave, which together count as one change. */
struct entry *keyspace_put(struct keyspace *ks, uint32_t db, const struct key *key,
                           const struct loan *loan, int64_t now_ms, enum key_event event);
/* A lent value on its way to a key here, if a copy of it in one go would be a stall. While it is
 * being made nobody sees it, and the value stays lent. */
struct value_copy {
    struct value from, to;
    uint64_t cursor;
};
/* Whether keyspace_put would copy, for longer than a turn may take. */
bool keyspace_put_is_long(const struct keyspace *ks, const struct loan *loan);
struct value_copy value_copy_begin(const struct loan *loan);
/* Copies a slice. True: that was all. */
bool keyspace_copy_some(struct keyspace *ks, struct value_copy *copy);
/* What is dead at that time, as keyspace_put sees it, goes. */
void keyspace_bury(struct keyspace *ks, uint32_t db, const struct key *key, int64_t now_ms);
/* Like keyspace_put, with the copy, which is whole. */
struct entry *keyspace_put_copy(struct keyspace *ks, uint32_t db, const struct key *key,
                                const struct value_copy *copy, int64_t expires_at, int64_t now_ms,
                                enum key_event event);

/* A value that is made in the heap outside of any key: its bytes are in nobody's books but between
 * these two, which are to be called around each step of making (or freeing) it. */
size_t keyspace_making(const struct keyspace *ks);
void keyspace_made(struct keyspace *ks, size_t making);
/* Gives a key such a value, whose root is the keyspace's from now on (what is a row of bytes is
 * copied), with this deadline, as fresh as a new one; replaces what is there. */
struct entry *keyspace_take(struct keyspace *ks, uint32_t db, const struct key *key,
                            const struct value *value, int64_t expires_at, int64_t now_ms,
                            enum key_event event);

/* The same for a key that is not there, as it was before the server started: nobody is told, and it
 * is no change. */
struct entry *keyspace_add(struct keyspace *ks, uint32_t db, const struct key *key,
                           const struct value *value, int64_t expires_at, int64_t now_ms);

/* The value of a live key is another shard's now: the key goes. EVENT_RENAME_FROM. */
void keyspace_gave(struct keyspace *ks, uint32_t db, const struct key *key);

/* ---- A slot on its way to another shard ---- */

/* All keys of a slot, in all databases, lent to the shard that will have them: to nobody it is a
 * change, no hook is told, and nothing counts. Until they are dropped nobody may look at them. */
struct slot_loan;
/* By the shard that has them. */
struct slot_loan *keyspace_lend_slot(struct keyspace *ks, uint16_t slot);
/* By the one that gets them, on its thread: puts copies in, a slice of them. The slot must be empty
 * here at first. True: that was all. */
bool keyspace_put_slot(struct keyspace *ks, struct slot_loan *lent, int64_t now_ms);
/* By the first one: they go, and the loan with them. */
void keyspace_drop_slot(struct keyspace *ks, struct slot_loan *lent);

/* ---- All keys ---- */

/* Deletes everything of one database, or of all (db = UINT32_MAX). `lazy` hands the tables to
 * slices of keyspace_work. Returns how many keys there were. */
uint64_t keyspace_flush(struct keyspace *ks, uint32_t db, bool lazy);
void keyspace_swap_db(struct keyspace *ks, uint32_t a, uint32_t b);
/* Beside the databases there are as many that nothing goes through and nobody asks for but by their
 * numbers, which begin here: to be filled (keyspace_add) while the others are served. Nothing of
 * them runs out, is evicted or counts but as memory. */
uint32_t keyspace_aside(const struct keyspace *ks);
void keyspace_drop_aside(struct keyspace *ks);
/* They take the places of the others, which are flushed, in slices. */
void keyspace_take_aside(struct keyspace *ks);
/* Slots (bit n % 8 of byte n / 8; NULL: none) whose keys are hidden: they come from elsewhere. They
 * are found by name, also past their deadline: who sends them says when they are gone. They do not
 * run out, are not evicted, and count neither as shown nor as random keys. The bits stay the
 * caller's. */
void keyspace_hide(struct keyspace *ks, const uint8_t *slots);
bool keyspace_hides(const struct keyspace *ks, const struct entry *entry);
uint64_t keyspace_shown(const struct keyspace *ks, uint32_t db);
uint64_t keyspace_count(const struct keyspace *ks,
                        uint32_t db); /* DBSIZE share; expired keys not yet deleted count */
uint64_t keyspace_count_expiring(const struct keyspace *ks, uint32_t db); /* keys with a TTL */
/* Keys whose elements have deadlines. */
uint64_t keyspace_count_volatile(const struct keyspace *ks, uint32_t db);
/* Mean of the remaining TTLs of a sample, ms; 0 without any. */
int64_t keyspace_average_ttl(const struct keyspace *ks, uint32_t db, int64_t now_ms);

/* SCAN inside one shard. A cursor is a slot and a place in the order of its hashes; 0 starts.
 * Visits live keys of the shard's slots from `cursor` on, in ascending slots, at least one table
 * place per call and about `count` keys, and returns the next cursor: 0 when this shard has no
 * more. A key that is there during the whole iteration is visited, whatever grows or shrinks
 * meanwhile. `visit` must not change the keyspace. Any number may be given as a cursor: it stands
 * somewhere.
 *
 * The slot is in the low 14 bits, so a cursor means the same for any number of shards, and the
 * place above it with its leading bits lowest. Only as many are used as tell the keys apart: what
 * is returned is less than 2^31 while a slot has fewer than 2^17 keys, and always less than 2^53.
 * Programs read cursors with atoi (valkey-cli --cluster import) and into doubles (scripts). */
typedef void keyspace_visit_fn(void *arg, struct entry *entry);
uint64_t keyspace_scan(struct keyspace *ks, uint32_t db, uint64_t cursor, uint64_t count,
                       int64_t now_ms, keyspace_visit_fn *visit, void *arg);
/* The same, up to the slot `end`: of those from there on none is visited. */
uint64_t keyspace_scan_slots(struct keyspace *ks, uint32_t db, uint64_t cursor, uint32_t end,
                             uint64_t count, int64_t now_ms, keyspace_visit_fn *visit, void *arg);
/* The slot a cursor stands in: which shard to ask. */
static inline uint16_t scan_cursor_slot(uint64_t cursor) {
    return (uint16_t)(cursor % SLOTS);
}
static inline uint64_t scan_cursor_at_slot(uint16_t slot) {
    return slot;
}

/* A random live key (each about equally likely), NULL if there is none. `random` is 64 random bits.
 * As in Valkey it may be a dead one where those are kept and all keys have deadlines. */
struct entry *keyspace_random(struct keyspace *ks, uint32_t db, uint64_t random, int64_t now_ms);

/* ---- Work in slices ---- */

struct keyspace_expire_options {
    bool active; /* DEBUG SET-ACTIVE-EXPIRE */
    int effort;  /* active-expire-effort, 1 to 10 */
    /* CLIENT PAUSE: keys past their deadline are only hidden; lookups and the wheel let them be. */
    bool paused;
    /* import-mode: the same, but what looks one up to write to it does delete it. */
    bool importing;
};
void keyspace_set_expire_options(struct keyspace *ks, struct keyspace_expire_options options);

/* From now on lookups find keys past their deadline, while `importing`: CLIENT IMPORT-SOURCE. */
void keyspace_see_dead(struct keyspace *ks, bool see_dead);

enum lru_mode { LRU_CLOCK, LFU_COUNTER };
void keyspace_set_lru(struct keyspace *ks, enum lru_mode mode, int lfu_log_factor,
                      int lfu_decay_minutes);

/* One bounded slice of background work (due expiries, freeing of flushed tables and big values),
 * some tens of microseconds. Returns when it wants to be called next: wall ms, now_ms if there is
 * more to do at once, INT64_MAX if nothing is waiting. */
int64_t keyspace_work(struct keyspace *ks, int64_t now_ms);
/* The walk against fragmentation, of which keyspace_work makes a slice in each millisecond: one
 * more. False: it is at its end. */
bool keyspace_defrag_more(struct keyspace *ks);
/* Bytes that would be free without fragmentation, and are not. */
size_t keyspace_slack(const struct keyspace *ks);

/* ---- Eviction: keyspace_evict.c ---- */

enum evict_by { EVICT_BY_IDLE, EVICT_BY_FREQUENCY, EVICT_BY_DEADLINE, EVICT_AT_RANDOM };
/* Which keys go first when memory is short. */
struct evict_rule {
    enum evict_by by;
    bool expiring_only; /* only such as have a deadline may go */
    bool lazy;          /* large values are freed in slices */
    uint32_t samples;   /* maxmemory-samples */
};
enum evicted {
    EVICTED_NONE,  /* there is nothing that may go */
    EVICTED_LATER, /* it has not been found yet, or it is locked */
    EVICTED_KEY,   /* one has gone */
};
/* Deletes the key that is the best to do without, of those that it knows of. */
enum evicted keyspace_evict(struct keyspace *ks, const struct evict_rule *rule, int64_t now_ms);
/* Whether there is anything that may go. */
bool keyspace_may_evict(const struct keyspace *ks, const struct evict_rule *rule);
/* How good the next one is to do without: comparable between shards, more is better; 0: there is
 * none, as far as it knows. */
uint64_t keyspace_evict_next(struct keyspace *ks, const struct evict_rule *rule, int64_t now_ms);
/* Forgets what it knows: the rule is another one. */
void keyspace_evict_anew(struct keyspace *ks);
/* Frees a slice of what nobody has any more; false: there is none. */
bool keyspace_free_some(struct keyspace *ks);
/* Bytes that stay because somebody reads them still, though no key has them. */
size_t keyspace_kept_memory(const struct keyspace *ks);

/* Who looked at a value did not see an element that is past this deadline. */
void keyspace_hid(struct keyspace *ks, int64_t deadline);
/* A command has taken out or replaced so many elements because of their deadlines. */
void keyspace_count_expired_fields(struct keyspace *ks, uint64_t count);
/* The latest deadline that a lookup, a walk or the wheel has found gone by: who looks at a time
 * after it sees no key that others have seen go. */
int64_t keyspace_expired_to(const struct keyspace *ks);
/* No key that is there now is past its deadline before this time: wall ms, INT64_MAX without
 * deadlines. May be earlier than it need be. */
int64_t keyspace_next_expiry(const struct keyspace *ks);

struct keyspace_stats {
    uint64_t hits, misses;
    uint64_t expired_keys;
    uint64_t expired_fields;
    uint64_t evicted_keys;
    uint64_t changes;            /* keys changed since start: rdb_changes_since_last_save */
    uint64_t expire_late_ms_max; /* lateness of the worst active expiry so far */
    uint64_t lazyfree_pending, lazyfreed;
    uint64_t
        lazyfreed_many; /* of many pieces, at once or later, and flushed keys: lazyfreed_objects */
    /* The walk against fragmentation: slices; entries and values that it moved, and that it left
     * where they were; the same of keys; for how long it has walked, and since when it does (wall
     * ms, 0: it does not). */
    uint64_t defrag_slices, defrag_hits, defrag_misses, defrag_key_hits, defrag_key_misses;
    int64_t defrag_ms, defrag_since_ms;
};
const struct keyspace_stats *keyspace_stats(const struct keyspace *ks);
void keyspace_reset_stats(struct keyspace *ks);
/* A change that was counted as one, of so many elements: each of them counts. */
void keyspace_count_elements(struct keyspace *ks, uint64_t elements);
/* What else counts in another way: how many there were, and how many there are to be instead. */
static inline uint64_t keyspace_changes(const struct keyspace *ks) {
    return keyspace_stats(ks)->changes;
}
void keyspace_set_changes(struct keyspace *ks, uint64_t changes);

/* Exact bytes held by keys, values, tables and timers of this shard; by one slot; by table overhead
 * of one database. */
size_t keyspace_memory(const struct keyspace *ks);
size_t keyspace_slot_memory(const struct keyspace *ks, uint32_t db, uint16_t slot);
/* Keys of a slot in all databases. */
uint64_t keyspace_slot_count(const struct keyspace *ks, uint16_t slot);
uint64_t keyspace_slot_count_in(const struct keyspace *ks, uint32_t db, uint16_t slot);
size_t keyspace_table_memory(const struct keyspace *ks, uint32_t db);
size_t keyspace_wheel_memory(const struct keyspace *ks, uint32_t db);

/* Walks everything and checks every invariant; for tests and debug builds. */
void keyspace_verify(struct keyspace *ks);

#endif
