/* SPDX-License-Identifier: BSD-3-Clause */
/* The keyspace against an array: random commands on few keys in two databases, a clock that runs
 * and jumps, and after each the same answers; the books are recomputed all the while. */
#include "base/num.h"
#include "base/random.h"
#include "shard/keys/cut.h"
#include "shard/memory/heap.h"
#include "shard/memory/sysmem.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATABASES 2
#define KEYS      200
#define VALUE_MAX 20000
#define NAME_MAX_ 400
#define START     INT64_C(1700000000000)

#define SLOT_STRUCT_BYTES 24

struct expected {
    bool present;
    char *bytes;
    size_t length;
    int64_t expires_at;
};

struct model {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct hash_secret secret;
    struct rng rng;
    int64_t now;
    char names[KEYS][NAME_MAX_];
    struct key keys[KEYS];
    struct expected values[DATABASES][KEYS];
    bool quiet; /* the hooks look at nothing */
    uint64_t expired_hooks;
    uint64_t changed_hooks;
    uint64_t pre_write_hooks;
    struct keyspace_before before;
};

/* ---- Hooks ---- */

static unsigned index_of(const struct model *model, struct key key) {
    for (unsigned i = 0; i < KEYS; i++) {
        if (bytes_equal(model->keys[i].name, key.name)) {
            cr_assert_eq(model->keys[i].hash, key.hash);
            cr_assert_eq(model->keys[i].slot, key.slot);
            return i;
        }
    }
    cr_assert(false, "a key nobody made");
    return 0;
}

static void value_drop(struct expected *value) {
    free(value->bytes);
    *value = (struct expected){.expires_at = NO_EXPIRY};
}

static void on_expired(struct model *model, const struct key_news *news) {
    struct expected *value = &model->values[news->db][index_of(model, *news->key)];
    cr_assert(value->present && value->expires_at != NO_EXPIRY);
    cr_assert_lt(value->expires_at, model->now);
    value_drop(value);
    model->expired_hooks++;
}

static void on_changed(void *arg, const struct key_news *news) {
    struct model *model = arg;
    if (news->event == EVENT_EXPIRED) {
        on_expired(model, news);
    }
    if (!model->quiet) {
        index_of(model, *news->key);
    }
    model->changed_hooks++;
}

static void before_write(void *arg, uint32_t db, const struct key *key, struct entry *entry) {
    struct model *model = arg;
    (void)db;
    cr_assert(!entry || bytes_equal(entry_key(entry), key->name));
    model->pre_write_hooks++;
}

static bool on_reads(void *arg, const void *root) {
    (void)arg;
    (void)root;
    return false;
}

/* ---- The model ---- */

static void make_name(struct model *model, unsigned i) {
    size_t length = i % 10 == 0 ? 260 + i % 100 : 1 + i % 40;
    char *name = model->names[i];
    memset(name, 'k', length);
    int n = snprintf(name, NAME_MAX_, i % 3 ? "%u" : "{tag}%u", i);
    if ((size_t)n < length) {
        name[n] = '.';
    } else {
        length = (size_t)n;
    }
    model->keys[i] = key_make(&model->secret, bytes_make(name, length));
}

static struct model *model_new(uint64_t seed) {
    struct model *model = calloc(1, sizeof(*model));
    rng_seed(&model->rng, seed);
    for (size_t i = 0; i < sizeof(model->secret.bytes); i++) {
        model->secret.bytes[i] = (unsigned char)rng_next(&model->rng);
    }
    model->now = START;
    model->heap = shard_heap_new();
    model->ks = keyspace_new(&(struct keyspace_options){
        .databases = DATABASES,
        .secret = &model->secret,
        .heap = model->heap,
        .now_ms = model->now,
        .hooks = {.arg = model, .changed = on_changed},
    });
    model->before =
        (struct keyspace_before){.arg = model, .write = before_write, .reads = on_reads};
    keyspace_tell_before(model->ks, &model->before);
    for (unsigned i = 0; i < KEYS; i++) {
        make_name(model, i);
        for (unsigned db = 0; db < DATABASES; db++) {
            model->values[db][i].expires_at = NO_EXPIRY;
        }
    }
    return model;
}

static void model_free(struct model *model) {
    keyspace_tell_before(model->ks, NULL);
    keyspace_free(model->ks);
    cr_assert_eq(heap_used(model->heap), 0);
    shard_heap_free(model->heap);
    for (unsigned db = 0; db < DATABASES; db++) {
        for (unsigned i = 0; i < KEYS; i++) {
            free(model->values[db][i].bytes);
        }
    }
    free(model);
}

static bool alive(const struct model *model, const struct expected *value) {
    return value->present && (value->expires_at == NO_EXPIRY || model->now <= value->expires_at);
}

static void value_set(struct expected *value, const char *bytes, size_t length,
                      int64_t expires_at) {
    char *copy = malloc(length + 1);
    memcpy(copy, bytes, length);
    free(value->bytes);
    *value = (struct expected){true, copy, length, expires_at};
}

static size_t random_value(struct model *model, char *bytes) {
    struct rng *rng = &model->rng;
    size_t length;
    switch (rng_below(rng, 8)) {
    case 0:
        return num_format_i64(bytes, (int64_t)rng_next(rng) >> rng_below(rng, 64));
    case 1:
        length = rng_below(rng, VALUE_MAX);
        break;
    case 2: /* around what is still stored inline */
        length = 3750 + rng_below(rng, 100);
        break;
    default:
        length = rng_below(rng, 150);
    }
    memset(bytes, (int)('a' + rng_below(rng, 26)), length);
    return length;
}

static int64_t random_deadline(struct model *model) {
    static const int64_t spans[] = {10, 200, 10000, 1000000};
    return model->now + (int64_t)rng_below(&model->rng, (uint64_t)spans[rng_below(&model->rng, 4)]);
}

static void check_value(struct model *model, unsigned db, unsigned i) {
    const struct expected *value = &model->values[db][i];
    bool expected = alive(model, value);
    char scratch[NUMBER_TEXT_BYTES];
    struct entry *entry = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_READ);
    cr_assert_eq(entry != NULL, expected);
    if (!entry) {
        return;
    }
    cr_assert(bytes_equal(entry_key(entry), model->keys[i].name));
    cr_assert(bytes_equal(string_bytes(entry, scratch), bytes_make(value->bytes, value->length)));
    cr_assert_eq(string_length(entry), value->length);
    cr_assert_eq(entry_expires_at(entry), value->expires_at);
    int64_t number;
    int64_t expected_number;
    bool is_int = num_parse_i64(bytes_make(value->bytes, value->length), &expected_number);
    cr_assert_eq(string_to_int(entry, &number), is_int);
    cr_assert(!is_int || number == expected_number);
}

/* ---- Commands ---- */

static void do_set(struct model *model, unsigned db, unsigned i) {
    char bytes[VALUE_MAX];
    size_t length = random_value(model, bytes);
    struct expected *value = &model->values[db][i];
    int64_t expires_at = NO_EXPIRY;
    int64_t expected = NO_EXPIRY;
    switch (rng_below(&model->rng, 3)) {
    case 0:
        expires_at = expected = random_deadline(model);
        break;
    case 1:
        expires_at = KEEP_TTL;
        expected = alive(model, value) ? value->expires_at : NO_EXPIRY;
        break;
    default:
        break;
    }
    struct bytes text = bytes_make(bytes, length);
    struct entry *entry =
        rng_below(&model->rng, 4)
            ? put_string(model->ks, db, &model->keys[i], text, expires_at, model->now)
            : put_text(model->ks, db, &model->keys[i], text, expires_at, model->now);
    cr_assert_eq(entry_expires_at(entry), expected);
    value_set(value, bytes, length, expected);
}

static void do_edit(struct model *model, unsigned db, unsigned i) {
    struct expected *value = &model->values[db][i];
    struct entry *entry = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_WRITE);
    cr_assert_eq(entry != NULL, value->present);
    size_t old_length = value->present ? value->length : 0;
    size_t length = old_length + rng_below(&model->rng, rng_below(&model->rng, 3) ? 100 : 5000);
    if (rng_below(&model->rng, 5) == 0) {
        length = rng_below(&model->rng, old_length + 1);
    }
    length = length > VALUE_MAX ? VALUE_MAX : length;
    bool growing = rng_below(&model->rng, 2);
    char *bytes = edit_string(model->ks, db, &model->keys[i], entry, length, growing, model->now);
    char *expected = calloc(1, length + 1);
    memcpy(expected, value->bytes ? value->bytes : "", old_length < length ? old_length : length);
    cr_assert_eq(memcmp(bytes, expected, length), 0);
    for (size_t k = old_length; k < length; k++) {
        bytes[k] = expected[k] = 'e';
    }
    value_set(value, expected, length, value->present ? value->expires_at : NO_EXPIRY);
    free(expected);
    entry = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_NOTOUCH);
    cr_assert_str_eq(entry_encoding_name(entry), "raw");
}

static void do_delete(struct model *model, unsigned db, unsigned i) {
    struct expected *value = &model->values[db][i];
    bool expected = alive(model, value);
    bool lazy = rng_below(&model->rng, 2);
    cr_assert_eq(drop_key(model->ks, db, &model->keys[i], model->now, lazy), expected);
    value_drop(value);
}

static void do_expire(struct model *model, unsigned db, unsigned i) {
    struct expected *value = &model->values[db][i];
    struct entry *entry = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_WRITE);
    if (!entry) {
        return;
    }
    value->expires_at = rng_below(&model->rng, 4) ? random_deadline(model) : NO_EXPIRY;
    entry = keyspace_set_expiry(model->ks, db, &model->keys[i], entry, value->expires_at);
    cr_assert_eq(entry_expires_at(entry), value->expires_at);
}

static void do_copy(struct model *model, unsigned db, unsigned i) {
    unsigned to_db = (unsigned)rng_below(&model->rng, DATABASES);
    unsigned to = (unsigned)rng_below(&model->rng, KEYS);
    struct entry *from = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_WRITE);
    if (!from || (db == to_db && i == to)) {
        return;
    }
    const struct expected *source = &model->values[db][i];
    struct entry *entry = copy_key(model->ks, from, to_db, &model->keys[to], model->now);
    cr_assert_neq(entry, from);
    value_set(&model->values[to_db][to], source->bytes, source->length, source->expires_at);
    check_value(model, db, i);
}

/* With RENAME's rules: the same key in the same database is left to the command. */
static void do_rename(struct model *model, unsigned db, unsigned i) {
    unsigned to_db = (unsigned)rng_below(&model->rng, DATABASES);
    unsigned to = (unsigned)rng_below(&model->rng, KEYS);
    struct entry *from = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_WRITE);
    if (!from || (db == to_db && i == to)) {
        return;
    }
    struct expected value = model->values[db][i];
    struct entry *entry =
        keyspace_rename(model->ks, db, &model->keys[i], from, to_db, &model->keys[to], model->now);
    cr_assert_eq(entry_expires_at(entry), value.expires_at);
    value_set(&model->values[to_db][to], value.bytes, value.length, value.expires_at);
    value_drop(&model->values[db][i]);
    check_value(model, to_db, to);
}

static void do_count(struct model *model, unsigned db, unsigned i) {
    struct entry *entry = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_WRITE);
    if (!entry) {
        return;
    }
    struct expected *value = &model->values[db][i];
    char text[NUMBER_TEXT_BYTES];
    int64_t number = (int64_t)rng_next(&model->rng);
    struct string_target target = {model->ks,    &model->keys[i], db,
                                   EVENT_INCRBY, KEEP_TTL,        model->now};
    string_replace_int(&target, entry, number);
    value_set(value, text, num_format_i64(text, number), value->expires_at);
}

struct pinned {
    void *pin;
    struct bytes bytes;
    char *copy;
};

/* A pinned value must not change whatever happens to its key. */
static void do_pin(struct model *model, unsigned db, unsigned i) {
    struct entry *entry = keyspace_find(model->ks, db, &model->keys[i], model->now, LOOKUP_READ);
    struct pinned pinned = {0};
    pinned.pin = entry ? string_pin(entry, &pinned.bytes) : NULL;
    if (!pinned.pin) {
        return;
    }
    pinned.copy = malloc(pinned.bytes.len);
    memcpy(pinned.copy, pinned.bytes.ptr, pinned.bytes.len);
    do_edit(model, db, i);
    do_set(model, db, i);
    do_delete(model, db, i);
    cr_assert_eq(memcmp(pinned.copy, pinned.bytes.ptr, pinned.bytes.len), 0);
    string_unpin(pinned.pin);
    free(pinned.copy);
}

static uint64_t count_present(const struct model *model, unsigned db, uint64_t *ret_expiring) {
    uint64_t n = 0;
    *ret_expiring = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        n += model->values[db][i].present;
        *ret_expiring +=
            model->values[db][i].present && model->values[db][i].expires_at != NO_EXPIRY;
    }
    return n;
}

static void do_flush(struct model *model, unsigned db) {
    uint64_t expiring;
    uint64_t present = count_present(model, db, &expiring);
    bool lazy = rng_below(&model->rng, 2);
    cr_assert_eq(keyspace_flush(model->ks, db, lazy), present);
    for (unsigned i = 0; i < KEYS; i++) {
        value_drop(&model->values[db][i]);
    }
}

static void do_swap(struct model *model) {
    keyspace_swap_db(model->ks, 0, 1);
    for (unsigned i = 0; i < KEYS; i++) {
        struct expected value = model->values[0][i];
        model->values[0][i] = model->values[1][i];
        model->values[1][i] = value;
    }
}

static void mark(void *arg, struct entry *entry) {
    unsigned char *seen = arg;
    struct bytes name = entry_key(entry);
    unsigned number = 0;
    for (size_t i = name.ptr[0] == '{' ? 5 : 0; i < name.len && name.ptr[i] <= '9'; i++) {
        if (name.ptr[i] == '.') {
            break;
        }
        number = number * 10 + (unsigned)(name.ptr[i] - '0');
    }
    seen[number]++;
}

static void do_scan(struct model *model, unsigned db) {
    unsigned char seen[KEYS] = {0};
    uint64_t cursor = 0;
    uint64_t count = 1 + rng_below(&model->rng, 50);
    unsigned calls = 0;
    do {
        uint16_t slot = scan_cursor_slot(cursor);
        cursor = keyspace_scan(model->ks, db, cursor, count, model->now, mark, seen);
        cr_assert(cursor == 0 || scan_cursor_slot(cursor) >= slot);
        cr_assert_leq(cursor, INT32_MAX);
        cr_assert_leq(++calls, KEYS + 1);
    } while (cursor);
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_eq(seen[i], alive(model, &model->values[db][i]));
    }
}

/* What others do between two calls must not hide a key that stays, nor show one twice. */
static void scan_while_changing(struct model *model, unsigned db) {
    unsigned char seen[KEYS] = {0};
    bool stays[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        stays[i] = alive(model, &model->values[db][i]);
    }
    uint64_t cursor = 0;
    do {
        uint64_t count = 1 + rng_below(&model->rng, 5);
        cursor = keyspace_scan(model->ks, db, cursor, count, model->now, mark, seen);
        unsigned most = (unsigned)rng_below(&model->rng, 10);
        for (unsigned n = 0; n < most; n++) {
            unsigned i = (unsigned)rng_below(&model->rng, KEYS);
            if (rng_below(&model->rng, 2)) {
                do_set(model, db, i);
            } else {
                do_delete(model, db, i);
            }
            for (i = 0; i < KEYS; i++) {
                stays[i] &= alive(model, &model->values[db][i]);
            }
        }
    } while (cursor);
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_leq(seen[i], 1);
        cr_assert(!stays[i] || seen[i] == 1);
    }
}

static void do_random(struct model *model, unsigned db) {
    struct entry *entry = keyspace_random(model->ks, db, rng_next(&model->rng), model->now);
    bool any = false;
    for (unsigned i = 0; i < KEYS; i++) {
        any |= alive(model, &model->values[db][i]);
    }
    cr_assert_eq(entry != NULL, any);
    if (entry) {
        unsigned i = index_of(model, key_make(&model->secret, entry_key(entry)));
        cr_assert(alive(model, &model->values[db][i]));
    }
}

static void do_work(struct model *model) {
    unsigned runs = 0;
    int64_t next;
    while ((next = keyspace_work(model->ks, model->now)) <= model->now) {
        cr_assert_lt(++runs, 100000);
    }
    for (unsigned db = 0; db < DATABASES; db++) {
        for (unsigned i = 0; i < KEYS; i++) {
            const struct expected *value = &model->values[db][i];
            cr_assert(value->present == alive(model, value), "a dead key outlived the work");
            cr_assert(value->expires_at == NO_EXPIRY || next <= value->expires_at + 1);
        }
    }
    const struct keyspace_stats *stats = keyspace_stats(model->ks);
    cr_assert_eq(stats->lazyfree_pending, 0);
}

static void move_clock(struct model *model) {
    static const int64_t spans[] = {3, 100, 5000, 2000000};
    int64_t span = spans[rng_below(&model->rng, 4)];
    model->now += (int64_t)rng_below(&model->rng, (uint64_t)span);
    if (rng_below(&model->rng, 20) == 0) {
        model->now -= (int64_t)rng_below(&model->rng, (uint64_t)span * 2);
    }
}

static void step(struct model *model) {
    unsigned db = (unsigned)rng_below(&model->rng, DATABASES);
    unsigned i = (unsigned)rng_below(&model->rng, KEYS);
    unsigned what = (unsigned)rng_below(&model->rng, 1000);
    if (what < 300) {
        do_set(model, db, i);
    } else if (what < 500) {
        do_edit(model, db, i);
    } else if (what < 600) {
        do_delete(model, db, i);
    } else if (what < 700) {
        do_expire(model, db, i);
    } else if (what < 735) {
        do_copy(model, db, i);
    } else if (what < 760) {
        do_rename(model, db, i);
    } else if (what < 780) {
        do_count(model, db, i);
    } else if (what < 800) {
        do_pin(model, db, i);
    } else if (what < 820) {
        do_random(model, db);
    } else if (what < 830) {
        do_scan(model, db);
    } else if (what < 832) {
        do_flush(model, db);
    } else if (what < 834) {
        do_swap(model);
    } else if (what < 900) {
        move_clock(model);
    } else if (what < 920) {
        do_work(model);
    } else if (what < 922) {
        scan_while_changing(model, db);
    }
    check_value(model, db, i);
}

static void compare_counts(struct model *model) {
    for (unsigned db = 0; db < DATABASES; db++) {
        uint64_t expiring;
        cr_assert_eq(keyspace_count(model->ks, db), count_present(model, db, &expiring));
        cr_assert_eq(keyspace_count_expiring(model->ks, db), expiring);
    }
    const struct keyspace_stats *stats = keyspace_stats(model->ks);
    cr_assert_eq(stats->expired_keys, model->expired_hooks);
    /* Beside what is on the heap the keyspace counts the structs of slots that hold keys. */
    size_t slots = 0;
    for (unsigned db = 0; db < DATABASES; db++) {
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            slots += keyspace_slot_memory(model->ks, db, (uint16_t)slot) > 0;
        }
    }
    size_t expected = heap_used(model->heap) + slots * SLOT_STRUCT_BYTES;
    if (stats->lazyfree_pending) {
        cr_assert_geq(keyspace_memory(model->ks), expected); /* flushed slots are out of sight */
    } else {
        cr_assert_eq(keyspace_memory(model->ks), expected);
    }
}

Test(keyspace, agrees_with_an_array) {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct model *model = model_new(seed);
        for (unsigned i = 0; i < 20000; i++) {
            step(model);
            if (i % 500 == 0) {
                keyspace_verify(model->ks);
                compare_counts(model);
            }
        }
        do_work(model);
        keyspace_verify(model->ks);
        cr_assert_gt(model->expired_hooks, 100);
        cr_assert_gt(model->changed_hooks, 1000);
        model_free(model);
    }
}

/* Deletes leave sparse slabs behind; rest must close them up, and nothing may be lost on the way.
 */
#if !SHOAL_SANITIZED
static void delete_some(struct model *model, bool *gone, unsigned count, unsigned of_hundred) {
    char name[32];
    for (unsigned i = 0; i < count; i++) {
        if (!gone[i] && rng_below(&model->rng, 100) < of_hundred) {
            int n = snprintf(name, sizeof(name), "%u", i);
            struct key key = key_make(&model->secret, bytes_make(name, (size_t)n));
            cr_assert(drop_key(model->ks, 0, &key, model->now, false));
            gone[i] = true;
        }
    }
}

static void work_for(struct model *model, int64_t ms) {
    for (int64_t end = model->now + ms; model->now < end; model->now++) {
        keyspace_work(model->ks, model->now);
    }
}

/* A walk that found little to move said that all slack at its end cannot be mended: also that of
 * keys which were deleted behind its back. */
Test(keyspace, deletes_behind_a_walk_are_seen_by_the_next) {
    enum { COUNT = 10000, LENGTH = 3000 };
    static char value[LENGTH];
    char name[32];
    for (unsigned slices = 1; slices < 12; slices++) {
        struct model *model = model_new(slices);
        bool gone[COUNT] = {false};
        model->quiet = true;
        for (unsigned i = 0; i < COUNT; i++) {
            int n = snprintf(name, sizeof(name), "%u", i);
            struct key key = key_make(&model->secret, bytes_make(name, (size_t)n));
            put_text(model->ks, 0, &key, bytes_make(value, LENGTH), NO_EXPIRY, model->now);
        }
        work_for(model, 3000);
        delete_some(model, gone, COUNT, 5); /* enough for a walk to begin, and nothing to move */
        work_for(model, slices);
        delete_some(model, gone, COUNT, 90);
        work_for(model, 3000);
        cr_assert_lt(heap_slack(model->heap), 1u << 20, "%zu after %u slices",
                     heap_slack(model->heap), slices);
        model_free(model);
    }
}
#endif

Test(keyspace, rest_moves_entries_out_of_sparse_slabs) {
    struct model *model = model_new(77);
    struct rng *rng = &model->rng;
    enum { COUNT = 60000 };
    bool *gone = calloc(COUNT, sizeof(*gone));
    char name[32];
    char scratch[NUMBER_TEXT_BYTES];
    model->quiet = true;
    for (unsigned i = 0; i < COUNT; i++) {
        int n = snprintf(name, sizeof(name), i % 2 ? "{x}%u" : "%u", i);
        struct key key = key_make(&model->secret, bytes_make(name, (size_t)n));
        put_text(model->ks, 0, &key, bytes_make("0123456789abcdef", i % 16),
                 i % 3 ? NO_EXPIRY : model->now + 100000, model->now);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        int n = snprintf(name, sizeof(name), i % 2 ? "{x}%u" : "%u", i);
        struct key key = key_make(&model->secret, bytes_make(name, (size_t)n));
        gone[i] = rng_below(rng, 4) != 0;
        cr_assert(!gone[i] || drop_key(model->ks, 0, &key, model->now, false));
    }
    size_t memory = keyspace_memory(model->ks);
    for (int64_t end = model->now + 5000; model->now < end; model->now++) {
        keyspace_work(model->ks, model->now);
    }
    keyspace_verify(model->ks);
    cr_assert_leq(keyspace_memory(model->ks), memory + (64u << 10)); /* the wheel may turn */
    cr_assert_lt(heap_slack(model->heap), memory / 3 + (1u << 20));
    for (unsigned i = 0; i < COUNT; i++) {
        int n = snprintf(name, sizeof(name), i % 2 ? "{x}%u" : "%u", i);
        struct key key = key_make(&model->secret, bytes_make(name, (size_t)n));
        struct entry *entry = keyspace_find(model->ks, 0, &key, model->now, LOOKUP_READ);
        cr_assert_eq(entry != NULL, !gone[i]);
        cr_assert(!entry || bytes_equal(string_bytes(entry, scratch),
                                        bytes_make("0123456789abcdef", i % 16)));
    }
    free(gone);
    model_free(model);
}
