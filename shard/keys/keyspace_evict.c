/* SPDX-License-Identifier: BSD-3-Clause */
/* Which keys go when memory is short.
 *
 * There is no list of keys by age: that would cost 16 bytes a key and a cache miss for each GET. As
 * in Valkey some keys are looked at for each one that goes, and the best of them are remembered in
 * a pool; what is in it was the best of many. Keys stand in the order of their hashes, so
 * neighbours have nothing to do with each other, and looking at the next few in a leaf is as good
 * as looking at random ones; a place is chosen at random only after some of them. Several such
 * *hands* take turns, because keys of one slot may have a hash tag in common, and be used alike;
 * and what a hand will look at next is fetched from memory while the others have their turns: the
 * words of its leaf when its own turn is over, and the keys that these name two turns later.
 *
 * A key that was used since it came into the pool does not go: it is looked at again first. That,
 * and more samples for the same time, is where this is better than Valkey's.
 *
 * Where few keys may go (volatile-*), the hands find none: then a sweep goes through all keys, some
 * thousand at a time, until it does.
 */
#include "shard/keys/keyspace_private.h"

/* Keys that a hand looks at before it goes elsewhere. */
#define HAND_KEYS 40
/* Keys that are looked at for one that may go, and by the sweep at a time. */
#define LOOKS_MAX       64
#define SWEEP_LOOKS_MAX 2048

/* ---- How good a key is to do without ---- */

/* Scores of one rule only are compared; they do not change while a key is not used, and are never
 * 0. */
static uint64_t score_of(const struct keyspace *ks, const struct evict_rule *rule,
                         const struct entry *entry, int64_t now_ms) {
    switch (rule->by) {
    case EVICT_BY_IDLE: {
        int64_t touched = now_ms / 1000 - (int64_t)entry_idle_seconds(ks, entry, now_ms);
        return (UINT64_C(1) << 40) - (uint64_t)touched;
    }
    case EVICT_BY_FREQUENCY: {
        /* Among equals the one that was used least recently. */
        uint32_t minutes = ((uint32_t)(now_ms / 60000) - (entry->lru >> 8)) & 0xFFFF;
        return ((uint64_t)(256 - entry_frequency(ks, entry, now_ms)) << 16) + minutes;
    }
    case EVICT_BY_DEADLINE:
        return (UINT64_C(1) << 62) - (uint64_t)entry_deadline(entry);
    case EVICT_AT_RANDOM:
        break;
    }
    return 1;
}

static bool may_go(const struct evict_rule *rule, const struct entry *entry) {
    return !rule->expiring_only || entry->flags & ENTRY_HAS_TTL;
}

/* ---- The pool ---- */

void keyspace_evict_anew(struct keyspace *ks) {
    ks->evict.count = 0;
}

static void pool_remove(struct keyspace *ks, unsigned at) {
    ks->evict.count--;
    memmove(&ks->evict.pool[at], &ks->evict.pool[at + 1],
            (ks->evict.count - at) * sizeof *ks->evict.pool);
}

static void pool_add(struct keyspace *ks, const struct evict_candidate *candidate) {
    struct evict_candidate *pool = ks->evict.pool;
    unsigned n = ks->evict.count;
    if (n == EVICT_POOL && candidate->score <= pool[0].score) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (pool[i].hash == candidate->hash && pool[i].slot == candidate->slot &&
            pool[i].db == candidate->db) {
            return;
        }
    }
    if (n == EVICT_POOL) {
        pool_remove(ks, 0);
        n--;
    }
    unsigned at = n;
    while (at > 0 && pool[at - 1].score >= candidate->score) {
        at--;
    }
    memmove(&pool[at + 1], &pool[at], (n - at) * sizeof *pool);
    pool[at] = *candidate;
    ks->evict.count++;
}

/* ---- Hands ---- */

/* Some neighbours. */
struct looks {
    const uint64_t *words;
    uint32_t count;
};

/* The next keys of a hand, at most `max`, all of one leaf. None: the leaf is used up or gone. */
static struct looks hand_take(const struct database *database, struct evict_hand *hand,
                              uint32_t max) {
    struct looks looks = {NULL, 0};
    uint64_t place = hand->place;
    uint32_t count = 0;
    const uint64_t *words = table_leaf_at(&database->slots[hand->slot].table, &place, &count);
    if (words != NULL && hand->index < count) {
        looks.words = words + hand->index;
        looks.count = count - hand->index < max ? count - hand->index : max;
        hand->index += looks.count;
        return looks;
    }
    hand->index = 0;
    hand->place = words != NULL ? place : TABLE_PLACE_END;
    return looks;
}

/* The same, on through the leaves and slots. None: it is through with the last slot, and stands
 * before the first. */
static struct looks hand_walk(const struct database *database, struct evict_hand *hand,
                              uint32_t max) {
    struct looks looks = {NULL, 0};
    while (looks.count == 0) {
        if (hand->place < TABLE_PLACE_END) {
            looks = hand_take(database, hand, max);
            continue;
        }
        hand->slot = database_next_slot(database, hand->slot + 1);
        hand->place = 0;
        hand->index = 0;
        if (hand->slot >= SLOTS) {
            hand->slot = 0;
            break;
        }
    }
    return looks;
}

static void hand_move(struct keyspace *ks, const struct database *database,
                      struct evict_hand *hand) {
    uint64_t index = rng_below(&ks->rng, database->count);
    uint16_t slot = database_slot_at(database, &index);
    /* Hashes are even over all places: where nobody stands, the next leaf does as well. */
    *hand = (struct evict_hand){
        .place = rng_below(&ks->rng, TABLE_PLACE_END),
        .slot = slot,
        .left = HAND_KEYS,
    };
    /* Not at the beginning of the leaf: else what follows the edges would be seen more often. */
    uint64_t place = hand->place;
    uint32_t count = 0;
    if (table_leaf_at(&database->slots[slot].table, &place, &count) != NULL) {
        hand->index = (uint32_t)rng_below(&ks->rng, count);
    }
}

/* A turn looks into two leaves at most, nearly always. */
#define LEAVES_A_TURN 2

enum fetch { FETCH_WORDS, FETCH_KEYS };

/* What it looks at in its next turn. */
static void hand_fetch(const struct database *database, const struct evict_hand *hand, uint32_t max,
                       enum fetch what) {
    struct evict_hand copy = *hand;
    for (unsigned i = 0; i < LEAVES_A_TURN && max > 0; i++) {
        struct looks looks = hand_walk(database, &copy, max);
        max -= looks.count;
        if (what == FETCH_WORDS) {
            __builtin_prefetch(looks.words);
            __builtin_prefetch(looks.words + looks.count);
        } else {
            for (uint32_t n = 0; n < looks.count; n++) {
                __builtin_prefetch(table_address(looks.words[n]));
            }
        }
    }
}

/* Adds what may go of these to the pool; returns how many that were. */
static uint32_t look_at(struct keyspace *ks, const struct evict_rule *rule, uint32_t db,
                        uint16_t slot, struct looks looks, int64_t now_ms) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < looks.count; i++) {
        const struct entry *entry = table_address(looks.words[i]);
        if (!may_go(rule, entry) || keyspace_hides_slot(ks, slot)) {
            continue;
        }
        struct evict_candidate candidate = {
            .score = score_of(ks, rule, entry, now_ms), .db = db, .slot = slot};
        found++;
        if (ks->evict.count < EVICT_POOL || candidate.score > ks->evict.pool[0].score) {
            candidate.hash = entry_make_key(ks, entry, slot).hash;
            pool_add(ks, &candidate);
        }
    }
    return found;
}

static void look_around(struct keyspace *ks, const struct evict_rule *rule, uint32_t db,
                        struct database *database, int64_t now_ms) {
    struct evict_hand *hand = &database->hands[database->turn++ % EVICT_HANDS];
    uint32_t found = 0, looked = 0;
    while (found < rule->samples && looked < LOOKS_MAX) {
        if (hand->left == 0) {
            hand_move(ks, database, hand);
        }
        struct looks looks = hand_walk(database, hand, rule->samples - found);
        found += look_at(ks, rule, db, (uint16_t)hand->slot, looks, now_ms);
        looked += looks.count + 1;
        hand->left -= looks.count < hand->left ? looks.count : hand->left;
    }
    if (hand->left == 0) {
        hand_move(ks, database, hand);
    }
    hand_fetch(database, hand, rule->samples, FETCH_WORDS);
    hand_fetch(database, &database->hands[(database->turn + 1) % EVICT_HANDS], rule->samples,
               FETCH_KEYS);
    if (found > 0 || database->expiring == database->count) {
        return;
    }
    for (looked = 0; found == 0 && looked < SWEEP_LOOKS_MAX;) {
        struct looks looks = hand_walk(database, &database->sweep, EVICT_POOL);
        found += look_at(ks, rule, db, (uint16_t)database->sweep.slot, looks, now_ms);
        looked += looks.count + 1;
    }
}

static uint64_t count_of(const struct evict_rule *rule, const struct database *database) {
    return database == NULL ? 0 : rule->expiring_only ? database->expiring : database->count;
}

/* What is hidden does not go: where there is nothing else, nothing can. */
bool keyspace_may_evict(const struct keyspace *ks, const struct evict_rule *rule) {
    for (uint32_t db = 0; db < ks->database_count; db++) {
        if (count_of(rule, ks->databases[db]) > 0 &&
            (LIKELY(ks->hidden == NULL) || keyspace_shown(ks, db) > 0)) {
            return true;
        }
    }
    return false;
}

/* Every database is looked at: keys of one may be older than all of another. */
static void look_everywhere(struct keyspace *ks, const struct evict_rule *rule, int64_t now_ms) {
    for (uint32_t db = 0; db < ks->database_count; db++) {
        if (count_of(rule, ks->databases[db]) > 0) {
            look_around(ks, rule, db, ks->databases[db], now_ms);
        }
    }
}

uint64_t keyspace_evict_next(struct keyspace *ks, const struct evict_rule *rule, int64_t now_ms) {
    if (ks->evict.count == 0 && keyspace_may_evict(ks, rule)) {
        look_everywhere(ks, rule, now_ms);
    }
    return ks->evict.count > 0 ? ks->evict.pool[ks->evict.count - 1].score : 0;
}

/* ---- Evicting ---- */

static struct entry *find_candidate(const struct keyspace *ks,
                                    const struct evict_candidate *candidate, struct key *ret_key) {
    const struct database *database = ks->databases[candidate->db];
    if (database == NULL) {
        return NULL;
    }
    struct table_probe probe =
        table_probe(&database->slots[candidate->slot].table, candidate->hash);
    struct entry *entry;
    while ((entry = table_probe_next(&probe)) != NULL) {
        *ret_key = entry_make_key(ks, entry, candidate->slot);
        if (ret_key->hash == candidate->hash) {
            return entry;
        }
    }
    return NULL;
}

/* An op or a transaction has it, and will find it as it was. */
static bool is_taken(const struct keyspace *ks, const struct evict_candidate *candidate) {
    return ks->hooks.locked != NULL && ks->hooks.locked(ks->hooks.arg, candidate->hash);
}

enum evicted keyspace_evict(struct keyspace *ks, const struct evict_rule *rule, int64_t now_ms) {
    if (!keyspace_may_evict(ks, rule)) {
        return EVICTED_NONE;
    }
    look_everywhere(ks, rule, now_ms);
    while (ks->evict.count > 0) {
        struct evict_candidate candidate = ks->evict.pool[ks->evict.count - 1];
        pool_remove(ks, ks->evict.count - 1);
        struct key key;
        struct entry *entry = find_candidate(ks, &candidate, &key);
        if (entry == NULL || !may_go(rule, entry) || is_taken(ks, &candidate) ||
            keyspace_hides_slot(ks, candidate.slot) ||
            score_of(ks, rule, entry, now_ms) < candidate.score) {
            continue;
        }
        ks->stats.evicted_keys++;
        database_take_out(ks, candidate.db, &key, entry, EVENT_EVICTED, rule->lazy);
        return EVICTED_KEY;
    }
    return EVICTED_LATER;
}
