/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashes in a keyspace whose fields have deadlines, against an array: set, taken out, renamed,
 * copied, given deadlines of their own and overwritten at random while time goes by; all that is
 * over is taken out in its millisecond, and the keyspace's books and its wheel's agree. */
#include "base/check.h"
#include "base/random.h"
#include "shard/memory/heap.h"
#include "shard/types/hash.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS   6
#define FIELDS 40
#define NOW    INT64_C(1700000000000)

struct one {
    bool present;
    int64_t deadline;
};

struct model {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct rng rng;
    int64_t now_ms;
    char names[KEYS][8];
    struct key keys[KEYS];
    struct one fields[KEYS][FIELDS];
    int64_t deadlines[KEYS];
    uint64_t expired, told;
};

static struct hash_secret secret;

static void elements_expired(void *arg, uint32_t db, const struct key *key,
                             const struct bytes *names, uint32_t count, bool emptied) {
    struct model *m = arg;
    cr_assert(db == 0 && count > 0 && count <= ELEMENTS_AT_ONCE);
    cr_assert(names[count - 1].len > 0 && key->name.len > 0);
    (void)emptied;
    m->told += count;
}

static void model_init(struct model *m, uint64_t seed) {
    *m = (struct model){.heap = shard_heap_new(), .now_ms = NOW};
    rng_seed(&m->rng, seed);
    struct keyspace_options options = {.databases = 1,
                                       .secret = &secret,
                                       .heap = m->heap,
                                       .hooks = {.arg = m, .elements_expired = elements_expired},
                                       .now_ms = NOW};
    m->ks = keyspace_new(&options);
    for (unsigned i = 0; i < KEYS; i++) {
        int n = snprintf(m->names[i], sizeof m->names[i], "key%u", i);
        m->keys[i] = key_make(&secret, bytes_make(m->names[i], (size_t)n));
        m->deadlines[i] = NO_EXPIRY;
    }
}

static unsigned draw(struct model *m, unsigned below) {
    return (unsigned)rng_below(&m->rng, below);
}

static struct entry *find(struct model *m, unsigned k) {
    return keyspace_find(m->ks, 0, &m->keys[k], m->now_ms, LOOKUP_WRITE);
}

static bool any_field(const struct model *m, unsigned k) {
    bool any = false;
    for (unsigned f = 0; f < FIELDS; f++) {
        any |= m->fields[k][f].present;
    }
    return any;
}

static void forget(struct model *m, unsigned k) {
    memset(m->fields[k], 0, sizeof m->fields[k]);
    m->deadlines[k] = NO_EXPIRY;
}

static void change_field(struct model *m, unsigned k, unsigned f) {
    char text[16];
    struct bytes name = bytes_make(text, (size_t)snprintf(text, sizeof text, "field%u", f));
    struct one *one = &m->fields[k][f];
    struct change change;
    change_open(&change, m->ks, 0, &m->keys[k], find(m, k), m->now_ms);
    struct hash_edit edit = {.change = &change, .limits = {8, 64}, .alive_ms = m->now_ms};
    int64_t deadline = m->now_ms + 1 + draw(m, 300);
    switch (draw(m, 4)) {
    case 0:
        cr_assert_eq(hash_put(&edit, name, BYTES("value"), deadline), !one->present);
        *one = (struct one){true, deadline};
        break;
    case 1:
        cr_assert_eq(hash_put(&edit, name, BYTES("value"), NO_EXPIRY), !one->present);
        *one = (struct one){true, NO_EXPIRY};
        break;
    case 2:
        if (change.entry != NULL) {
            cr_assert_eq(hash_remove(&edit, name), one->present);
        }
        one->present = false;
        break;
    default:
        if (one->present) {
            one->deadline = draw(m, 3) == 0 ? NO_EXPIRY : deadline;
            hash_set_deadline(&edit, name, one->deadline);
        }
    }
    if (change.entry != NULL) {
        change_close(&change, EVENT_HSET);
    }
    if (!any_field(m, k)) {
        forget(m, k);
    }
}

static void change_key(struct model *m, unsigned k, unsigned other) {
    struct entry *entry = find(m, k);
    if (entry == NULL) {
        return;
    }
    switch (draw(m, 5)) {
    case 0:
        m->deadlines[k] = m->now_ms + 1 + draw(m, 300);
        keyspace_set_expiry(m->ks, 0, &m->keys[k], entry, m->deadlines[k]);
        break;
    case 1:
        m->deadlines[k] = NO_EXPIRY;
        keyspace_set_expiry(m->ks, 0, &m->keys[k], entry, NO_EXPIRY);
        break;
    case 2:
        drop_key(m->ks, 0, &m->keys[k], m->now_ms, true);
        forget(m, k);
        break;
    default:
        if (other == k) {
            break;
        }
        memcpy(m->fields[other], m->fields[k], sizeof m->fields[k]);
        m->deadlines[other] = m->deadlines[k];
        if (draw(m, 2) == 0) {
            copy_key(m->ks, entry, 0, &m->keys[other], m->now_ms);
        } else {
            keyspace_rename(m->ks, 0, &m->keys[k], entry, 0, &m->keys[other], m->now_ms);
            forget(m, k);
        }
    }
}

/* What is over by now goes. */
static void pass(struct model *m, unsigned ms) {
    m->now_ms += ms;
    for (unsigned i = 0; i < 1000 && keyspace_work(m->ks, m->now_ms) <= m->now_ms; i++) {
    }
    for (unsigned k = 0; k < KEYS; k++) {
        if (m->deadlines[k] != NO_EXPIRY && m->now_ms > m->deadlines[k]) {
            forget(m, k);
        }
        bool had = any_field(m, k);
        for (unsigned f = 0; f < FIELDS; f++) {
            struct one *one = &m->fields[k][f];
            if (one->present && one->deadline != NO_EXPIRY && m->now_ms > one->deadline) {
                one->present = false;
                m->expired++;
            }
        }
        if (had && !any_field(m, k)) {
            forget(m, k);
        }
    }
}

static void compare(struct model *m) {
    keyspace_verify(m->ks);
    uint64_t keys = 0, volatiles = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        uint64_t count = 0;
        bool with = false;
        for (unsigned f = 0; f < FIELDS; f++) {
            count += m->fields[k][f].present;
            with |= m->fields[k][f].present && m->fields[k][f].deadline != NO_EXPIRY;
        }
        keys += count > 0;
        volatiles += with;
        struct entry *entry = keyspace_find_any(m->ks, 0, &m->keys[k]);
        cr_assert_eq(entry != NULL, count > 0);
        if (entry != NULL) {
            struct value value = entry_value_of(entry);
            cr_assert_eq(hash_count(&value), count); /* taken out, not hidden */
        }
    }
    cr_assert_eq(keyspace_count(m->ks, 0), keys);
    cr_assert_eq(keyspace_count_volatile(m->ks, 0), volatiles);
}

Test(hash, fields_go_in_their_millisecond_whatever_happens_to_their_keys) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct model m;
        model_init(&m, seed);
        for (unsigned round = 0; round < 400; round++) {
            for (unsigned i = draw(&m, 30); i > 0; i--) {
                change_field(&m, draw(&m, KEYS), draw(&m, FIELDS));
            }
            change_key(&m, draw(&m, KEYS), draw(&m, KEYS));
            pass(&m, draw(&m, 40));
            compare(&m);
        }
        cr_assert(m.expired > 100);
        cr_assert_leq(m.told, m.expired);
        keyspace_free(m.ks);
        shard_heap_free(m.heap);
    }
}
