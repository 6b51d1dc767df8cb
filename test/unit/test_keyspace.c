/* SPDX-License-Identifier: BSD-3-Clause */
/* The one door to data. Long, and one file: each test is a promise of one header, keyspace.h, on a
 * keyspace that all make alike. */
#include "shard/keys/keyspace.h"

#include "base/random.h"
#include "shard/keys/keyspace_private.h"
#include "shard/memory/blob.h"
#include "shard/memory/heap.h"
#include "shard/memory/sysmem.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define NOW INT64_C(1700000000000)

struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct hash_secret secret;
    unsigned expired;
    unsigned changed;
    unsigned pre_writes;
    struct keyspace_before before;
    bool locked; /* all keys are */
};

static void on_changed(void *arg, const struct key_news *news) {
    ((struct fixture *)arg)->changed++;
    ((struct fixture *)arg)->expired += news->event == EVENT_EXPIRED;
}

static void before_write(void *arg, uint32_t db, const struct key *key, struct entry *entry) {
    (void)db;
    (void)key;
    (void)entry;
    ((struct fixture *)arg)->pre_writes++;
}

static bool on_reads(void *arg, const void *root) {
    (void)arg;
    (void)root;
    return false;
}

static bool on_locked(void *arg, uint64_t hash) {
    (void)hash;
    return ((struct fixture *)arg)->locked;
}

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof(*f));
    struct rng rng;
    rng_seed(&rng, 11);
    for (size_t i = 0; i < sizeof(f->secret.bytes); i++) {
        f->secret.bytes[i] = (unsigned char)rng_next(&rng);
    }
    f->heap = shard_heap_new();
    f->ks = keyspace_new(&(struct keyspace_options){
        .databases = 16,
        .secret = &f->secret,
        .heap = f->heap,
        .now_ms = NOW,
        .hooks = {.arg = f, .changed = on_changed, .locked = on_locked},
    });
    f->before = (struct keyspace_before){.arg = f, .write = before_write, .reads = on_reads};
    keyspace_tell_before(f->ks, &f->before);
    return f;
}

static void fixture_free(struct fixture *f) {
    keyspace_verify(f->ks);
    keyspace_tell_before(f->ks, NULL);
    keyspace_free(f->ks);
    cr_assert_eq(heap_used(f->heap), 0);
    shard_heap_free(f->heap);
    free(f);
}

static struct key key_of(const struct fixture *f, const char *name) {
    return key_make(&f->secret, bytes_of_text(name));
}

static struct entry *set(struct fixture *f, const char *name, const char *value,
                         int64_t expires_at) {
    struct key key = key_of(f, name);
    return put_string(f->ks, 0, &key, bytes_of_text(value), expires_at, NOW);
}

static struct entry *find(struct fixture *f, const char *name, int64_t now_ms) {
    struct key key = key_of(f, name);
    return keyspace_find(f->ks, 0, &key, now_ms, LOOKUP_READ);
}

static void work_until_done(struct fixture *f, int64_t now_ms) {
    while (keyspace_work(f->ks, now_ms) <= now_ms) {
    }
}

/* ---- Slots ---- */

Test(keyspace, slot_is_the_crc_of_the_key_or_of_its_tag) {
    cr_assert_eq(key_slot(BYTES("123456789")), 12739);
    cr_assert_eq(key_slot(BYTES("")), 0);
    cr_assert_eq(key_slot(BYTES("{123456789}.more")), 12739);
    cr_assert_eq(key_slot(BYTES("some{123456789}")), 12739);
    cr_assert_eq(key_slot(BYTES("a{b}c{d}")), key_slot(BYTES("b")));
    /* No closing brace or nothing between: the whole key counts. */
    cr_assert_neq(key_slot(BYTES("foo{}{bar}")), key_slot(BYTES("bar")));
    cr_assert_neq(key_slot(BYTES("x{bar")), key_slot(BYTES("bar")));
    cr_assert_eq(key_slot(BYTES("foo{{bar}}zap")), key_slot(BYTES("{bar")));
}

/* ---- Expiry ---- */

Test(keyspace, key_lives_through_the_millisecond_of_its_deadline) {
    struct fixture *f = fixture_new();
    set(f, "k", "v", NOW + 10);
    cr_assert_not_null(find(f, "k", NOW + 10));
    cr_assert_null(find(f, "k", NOW + 11));
    cr_assert_eq(f->expired, 1);
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    fixture_free(f);
}

static void set_paused(struct fixture *f, bool paused) {
    struct keyspace_expire_options options = {.active = true, .effort = 1, .paused = paused};
    keyspace_set_expire_options(f->ks, options);
}

Test(keyspace, expired_key_reads_as_missing_and_stays_while_expiry_is_paused) {
    struct fixture *f = fixture_new();
    set_paused(f, true);
    set(f, "k", "v", NOW + 10);
    cr_assert_null(find(f, "k", NOW + 11));
    work_until_done(f, NOW + 1000);
    cr_assert_eq(keyspace_count(f->ks, 0), 1);
    cr_assert_eq(f->expired, 0);
    cr_assert_not_null(keyspace_random(f->ks, 0, 1234567, NOW + 11)); /* as Valkey */
    struct key other = key_of(f, "other");
    set(f, "other", "v", NO_EXPIRY);
    cr_assert_eq(keyspace_random(f->ks, 0, 1234567, NOW + 11), find(f, "other", NOW + 11));
    cr_assert(drop_key(f->ks, 0, &other, NOW, false));
    cr_assert_not_null(keyspace_random(f->ks, 0, 1234567, NOW + 10));
    set_paused(f, false);
    work_until_done(f, NOW + 1000);
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    cr_assert_eq(f->expired, 1);
    fixture_free(f);
}

/* A write under the name of a dead key that lookups only hide put a second entry beside it, or
 * failed a check. */
Test(keyspace, writes_take_the_place_of_a_hidden_dead_key) {
    struct fixture *f = fixture_new();
    struct key dead = key_of(f, "dead");
    struct key live = key_of(f, "live");
    set_paused(f, true);
    for (int way = 0; way < 4; way++) {
        set(f, "live", "v", NO_EXPIRY);
        set(f, "dead", "old", NOW - 5);
        struct entry *entry = find(f, "live", NOW);
        cr_assert_null(find(f, "dead", NOW));
        if (way == 0) {
            copy_key(f->ks, entry, 0, &dead, NOW);
        } else if (way == 1) {
            keyspace_rename(f->ks, 0, &live, entry, 0, &dead, NOW);
        } else if (way == 2) {
            *edit_string(f->ks, 0, &dead, NULL, 1, true, NOW) = 'v';
        } else {
            set(f, "dead", "v", KEEP_TTL);
        }
        entry = find(f, "dead", NOW);
        cr_assert(entry && bytes_equal(string_bytes(entry, NULL), BYTES("v")));
        cr_assert_eq(entry_expires_at(entry), NO_EXPIRY);
        cr_assert_eq(keyspace_count(f->ks, 0), way == 1 ? 1 : 2);
        keyspace_verify(f->ks);
        keyspace_flush(f->ks, 0, false);
    }
    cr_assert_eq(f->expired, 4);
    fixture_free(f);
}

static int64_t held_at(void *arg, int64_t now_ms) {
    (void)arg;
    return now_ms < NOW + 20 ? now_ms : NOW + 20;
}

/* A transaction that had read a key no longer found it, when another client had looked at it. */
Test(keyspace, lookups_hide_what_died_after_the_time_that_is_held) {
    struct fixture *f = fixture_new();
    f->ks->hooks.expiry_ms = held_at;
    set(f, "before", "v", NOW + 10);
    set(f, "after", "v", NOW + 20);
    cr_assert_eq(keyspace_expired_to(f->ks), 0);
    cr_assert_null(find(f, "before", NOW + 30));
    cr_assert_null(find(f, "after", NOW + 30));
    cr_assert_eq(keyspace_expired_to(f->ks), NOW + 20);
    cr_assert_null(keyspace_random(f->ks, 0, 1234567, NOW + 30));
    cr_assert_not_null(find(f, "after", NOW + 20));
    cr_assert_eq(f->expired, 1);
    f->ks->hooks.expiry_ms = NULL;
    cr_assert_null(find(f, "after", NOW + 30));
    cr_assert_eq(f->expired, 2);
    fixture_free(f);
}

Test(keyspace, what_others_have_seen_gone_is_known_whoever_saw_it) {
    struct fixture *f = fixture_new();
    set(f, "a", "v", NOW + 10);
    set(f, "b", "v", NOW + 20);
    set(f, "c", "v", NOW + 30);
    work_until_done(f, NOW + 15);
    cr_assert_eq(keyspace_expired_to(f->ks), NOW + 10);
    set(f, "b", "v", NO_EXPIRY);
    cr_assert_eq(keyspace_expired_to(f->ks), NOW + 10);
    set_paused(f, true);
    cr_assert_null(find(f, "c", NOW + 31));
    cr_assert_eq(keyspace_expired_to(f->ks), NOW + 30);
    fixture_free(f);
}

Test(keyspace, in_import_mode_writes_delete_the_dead_and_the_source_sees_them) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    struct keyspace_expire_options options = {.active = true, .effort = 1, .importing = true};
    keyspace_set_expire_options(f->ks, options);
    set(f, "k", "v", NOW + 10);
    work_until_done(f, NOW + 1000);
    cr_assert_null(keyspace_find(f->ks, 0, &key, NOW + 11, LOOKUP_READ));
    keyspace_see_dead(f->ks, true);
    cr_assert_not_null(keyspace_find(f->ks, 0, &key, NOW + 11, LOOKUP_WRITE));
    cr_assert_eq(entry_expires_at(set(f, "k", "w", KEEP_TTL)), NOW + 10);
    keyspace_see_dead(f->ks, false);
    cr_assert_eq(f->expired, 0);
    cr_assert_null(keyspace_find(f->ks, 0, &key, NOW + 11, LOOKUP_WRITE));
    cr_assert_eq(f->expired, 1);
    set(f, "k", "v", NOW - 10);
    cr_assert(drop_key(f->ks, 0, &key, NOW, false)); /* as Valkey */
    cr_assert_eq(f->expired, 1);
    fixture_free(f);
}

Test(keyspace, a_key_that_is_given_a_deadline_in_the_past_runs_out) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    set(f, "k", "v", NO_EXPIRY);
    uint64_t changes = keyspace_stats(f->ks)->changes;
    cr_assert(run_out(f->ks, 0, &key, NOW, false));
    cr_assert_not(run_out(f->ks, 0, &key, NOW, false));
    cr_assert_eq(f->expired, 1);
    cr_assert_eq(keyspace_stats(f->ks)->expired_keys, 1);
    cr_assert_eq(keyspace_stats(f->ks)->changes, changes + 1);
    fixture_free(f);
}

Test(keyspace, verification_misses_a_reference_of_the_wheel, .signal = SIGABRT) {
    struct fixture *f = fixture_new();
    set(f, "k", "v", NOW + 1000);
    keyspace_verify(f->ks);
    struct wheel *wheel = f->ks->databases[0]->wheel;
    size_t before = wheel_memory(wheel);
    wheel_drain(wheel, UINT64_MAX);
    f->ks->bytes -= before - wheel_memory(wheel); /* nothing else is wrong */
    keyspace_verify(f->ks);
}

Test(keyspace, work_deletes_what_is_due_and_says_when_to_come_again) {
    struct fixture *f = fixture_new();
    set(f, "a", "1", NOW + 50);
    set(f, "b", "1", NOW + 5000);
    set(f, "c", "1", NO_EXPIRY);
    int64_t next = keyspace_work(f->ks, NOW);
    cr_assert(next > NOW && next <= NOW + 51);
    work_until_done(f, NOW + 51);
    cr_assert_eq(keyspace_count(f->ks, 0), 2);
    cr_assert_eq(keyspace_stats(f->ks)->expire_late_ms_max, 0);
    work_until_done(f, NOW + 5101);
    cr_assert_eq(keyspace_count(f->ks, 0), 1);
    cr_assert_eq(keyspace_stats(f->ks)->expire_late_ms_max, 100);
    cr_assert_eq(keyspace_work(f->ks, NOW + 6000), INT64_MAX);
    fixture_free(f);
}

Test(keyspace, work_deletes_nothing_when_active_expiry_is_off) {
    struct fixture *f = fixture_new();
    keyspace_set_expire_options(f->ks, (struct keyspace_expire_options){.effort = 1});
    set(f, "k", "v", NOW + 10);
    cr_assert_eq(keyspace_work(f->ks, NOW + 5000), INT64_MAX);
    cr_assert_eq(keyspace_count(f->ks, 0), 1);
    keyspace_set_expire_options(f->ks,
                                (struct keyspace_expire_options){.active = true, .effort = 1});
    work_until_done(f, NOW + 5000);
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    fixture_free(f);
}

Test(keyspace, set_drops_keeps_or_replaces_the_deadline) {
    struct fixture *f = fixture_new();
    set(f, "k", "v", NOW + 1000);
    cr_assert_eq(entry_expires_at(set(f, "k", "w", KEEP_TTL)), NOW + 1000);
    cr_assert_eq(entry_expires_at(set(f, "k", "w", NOW + 5)), NOW + 5);
    cr_assert_eq(entry_expires_at(set(f, "k", "w", NO_EXPIRY)), NO_EXPIRY);
    cr_assert_eq(entry_expires_at(set(f, "k", "w", KEEP_TTL)), NO_EXPIRY);
    cr_assert_eq(keyspace_count_expiring(f->ks, 0), 0);
    work_until_done(f, NOW + 2000);
    cr_assert_not_null(find(f, "k", NOW + 2000));
    fixture_free(f);
}

Test(keyspace, average_ttl_is_the_mean_of_what_is_left) {
    struct fixture *f = fixture_new();
    cr_assert_eq(keyspace_average_ttl(f->ks, 0, NOW), 0);
    set(f, "a", "v", NOW + 1000);
    set(f, "b", "v", NOW + 3000);
    set(f, "c", "v", NO_EXPIRY);
    cr_assert_eq(keyspace_average_ttl(f->ks, 0, NOW), 2000);
    cr_assert_eq(keyspace_average_ttl(f->ks, 0, NOW + 500), 1500);
    fixture_free(f);
}

Test(keyspace, deadline_that_moves_often_leaves_no_pile_of_references) {
    struct fixture *f = fixture_new();
    for (int i = 0; i < 200000; i++) {
        set(f, "k", "v", NOW + 1000000 - i * 3); /* always earlier: each needs a new reference */
        if (i % 100 == 0) {
            keyspace_work(f->ks, NOW + i / 1000);
        }
    }
    for (int i = 0; i < 3000; i++) {
        keyspace_work(f->ks, NOW + 200 + i);
    }
    cr_assert_lt(keyspace_wheel_memory(f->ks, 0), 128u << 10);
    cr_assert_not_null(find(f, "k", NOW + 4000));
    work_until_done(f, NOW + 1000000);
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    fixture_free(f);
}

/* ---- Encodings: what a Valkey 9.1.2 answered ---- */

static const char *encoding_of(struct fixture *f, size_t key_length, size_t value_length,
                               int64_t expires_at) {
    char name[512];
    char value[512];
    memset(name, 'k', key_length);
    memset(value, 'x', value_length);
    struct key key = key_make(&f->secret, bytes_make(name, key_length));
    drop_key(f->ks, 0, &key, NOW, false);
    struct entry *entry =
        put_string(f->ks, 0, &key, bytes_make(value, value_length), expires_at, NOW);
    return entry_encoding_name(entry);
}

Test(keyspace, embstr_ends_where_key_and_value_no_longer_fit_in_valkeys_block) {
    static const struct {
        size_t key_length;
        size_t shortest_raw;
        size_t shortest_raw_with_ttl;
    } rows[] = {
        {1, 113, 105}, {16, 98, 90}, {31, 83, 75}, {32, 80, 72}, {64, 48, 40},
        {80, 32, 24},  {100, 12, 4}, {120, 0, 0},  {300, 0, 0},
    };
    struct fixture *f = fixture_new();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = rows[i].key_length;
        size_t raw = rows[i].shortest_raw;
        size_t raw_ttl = rows[i].shortest_raw_with_ttl;
        cr_assert_str_eq(encoding_of(f, n, raw, NO_EXPIRY), "raw");
        cr_assert_str_eq(encoding_of(f, n, raw_ttl, NOW + 100), "raw");
        if (raw > 0) {
            cr_assert_str_eq(encoding_of(f, n, raw - 1, NO_EXPIRY), "embstr");
            cr_assert_str_eq(encoding_of(f, n, raw_ttl - 1, NOW + 100), "embstr");
        }
    }
    fixture_free(f);
}

Test(keyspace, integers_are_stored_as_such_when_their_text_is_canonical) {
    static const char *const ints[] = {
        "0", "12", "-1", "9223372036854775807", "9999999", "-9223372036854775808"};
    static const char *const texts[] = {"9223372036854775808", "-0", "+1", "01", " 1", "", "1.0",
                                        "-9223372036854775809"};
    struct fixture *f = fixture_new();
    char scratch[NUMBER_TEXT_BYTES];
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
        struct entry *entry = set(f, "k", ints[i], NO_EXPIRY);
        cr_assert_str_eq(entry_encoding_name(entry), "int");
        cr_assert(bytes_equal(string_bytes(entry, scratch), bytes_of_text(ints[i])));
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct entry *entry = set(f, "k", texts[i], NO_EXPIRY);
        cr_assert_str_eq(entry_encoding_name(entry), "embstr");
        int64_t number;
        cr_assert_not(string_to_int(entry, &number));
    }
    fixture_free(f);
}

Test(keyspace, text_that_reads_as_an_integer_stays_text_when_asked) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    struct entry *entry = put_text(f->ks, 0, &key, BYTES("4"), NO_EXPIRY, NOW);
    int64_t number;
    cr_assert_str_eq(entry_encoding_name(entry), "embstr");
    cr_assert(string_to_int(entry, &number));
    cr_assert_eq(number, 4);
    fixture_free(f);
}

Test(keyspace, edited_strings_are_raw_and_stay_so_in_copies) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    struct key other = key_of(f, "other");
    set(f, "k", "abc", NO_EXPIRY);
    char *bytes = edit_string(f->ks, 0, &key, find(f, "k", NOW), 4, true, NOW);
    bytes[3] = 'd';
    cr_assert_str_eq(entry_encoding_name(find(f, "k", NOW)), "raw");
    struct entry *copy = copy_key(f->ks, find(f, "k", NOW), 0, &other, NOW);
    cr_assert_str_eq(entry_encoding_name(copy), "raw");
    cr_assert_str_eq(entry_encoding_name(set(f, "k", "abcd", NO_EXPIRY)), "embstr");
    fixture_free(f);
}

Test(keyspace, a_deadline_that_no_longer_fits_makes_a_string_raw_for_good) {
    struct fixture *f = fixture_new();
    char value[107] = {0};
    memset(value, 'x', 106);
    struct key key = key_of(f, "k");
    struct entry *entry = set(f, "k", value, NO_EXPIRY);
    cr_assert_str_eq(entry_encoding_name(entry), "embstr");
    entry = keyspace_set_expiry(f->ks, 0, &key, entry, NOW + 1000);
    cr_assert_str_eq(entry_encoding_name(entry), "raw");
    entry = keyspace_set_expiry(f->ks, 0, &key, entry, NO_EXPIRY);
    cr_assert_str_eq(entry_encoding_name(entry), "raw");
    /* A SET over a key with a deadline counts the deadline, one over a key without does not. */
    set(f, "k", value, NOW + 1000);
    cr_assert_str_eq(entry_encoding_name(set(f, "k", value, NO_EXPIRY)), "raw");
    cr_assert_str_eq(entry_encoding_name(set(f, "k", value, NO_EXPIRY)), "embstr");
    fixture_free(f);
}

/* ---- Memory ---- */

Test(keyspace, small_entry_takes_no_byte_more_than_its_parts) {
    struct fixture *f = fixture_new();
    char value[65] = {0};
    memset(value, 'v', 64);
    size_t before = heap_used(f->heap);
    set(f, "key:000000000001", value, NO_EXPIRY);
    struct key key = key_of(f, "key:000000000001");
    size_t table = keyspace_table_memory(f->ks, 0);
    cr_assert_eq(keyspace_slot_memory(f->ks, 0, key.slot), 88 + table);
    cr_assert_geq(heap_used(f->heap) - before, 88);
    keyspace_set_expiry(f->ks, 0, &key, find(f, "key:000000000001", NOW), NOW + 1000);
    cr_assert_eq(keyspace_slot_memory(f->ks, 0, key.slot), 96 + table);
    fixture_free(f);
}

Test(keyspace, flush_gives_every_byte_back_at_once_or_in_slices) {
    struct fixture *f = fixture_new();
    char name[32];
    for (int lazy = 0; lazy < 2; lazy++) {
        size_t before = keyspace_memory(f->ks);
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof(name), "key:%d", i);
            set(f, name, "some value that is not so short", i % 2 ? NO_EXPIRY : NOW + 100000);
        }
        cr_assert_eq(keyspace_flush(f->ks, 0, lazy), 5000);
        cr_assert_eq(keyspace_count(f->ks, 0), 0);
        cr_assert_null(find(f, "key:1", NOW));
        if (lazy) {
            cr_assert_eq(keyspace_stats(f->ks)->lazyfree_pending, 5000);
            cr_assert_eq(keyspace_work(f->ks, NOW), NOW);
            cr_assert_gt(keyspace_stats(f->ks)->lazyfree_pending, 4000);
            work_until_done(f, NOW);
            cr_assert_eq(keyspace_stats(f->ks)->lazyfreed, 5000);
        }
        cr_assert_eq(keyspace_memory(f->ks), before);
    }
    fixture_free(f);
}

Test(keyspace, big_value_leaves_the_books_at_once) {
    struct fixture *f = fixture_new();
    size_t length = 8u << 20;
    char *value = calloc(1, length);
    struct key key = key_of(f, "big");
    for (int lazy = 0; lazy < 2; lazy++) {
        put_string(f->ks, 0, &key, bytes_make(value, length), NO_EXPIRY, NOW);
        cr_assert_gt(keyspace_memory(f->ks), length);
        cr_assert(drop_key(f->ks, 0, &key, NOW, lazy));
        cr_assert_lt(keyspace_memory(f->ks), length);
    }
    free(value);
    fixture_free(f);
}

#if !SHOAL_SANITIZED
/* Freeing it at once takes the kernel many milliseconds. */
Test(keyspace, big_value_is_given_back_in_slices) {
    struct fixture *f = fixture_new();
    size_t length = 64u << 20;
    char *value = malloc(length);
    memset(value, 'v', length);
    struct key key = key_of(f, "big");
    for (int i = 0; i < 3; i++) {
        put_string(f->ks, 0, &key, bytes_make(value, length - (size_t)i), NO_EXPIRY, NOW);
    }
    put_string(f->ks, 0, &key, BYTES("small"), NO_EXPIRY, NOW);
    keyspace_work(f->ks, NOW);
    size_t slack = heap_resident_slack(f->heap);
    cr_assert_geq(slack, length);
    unsigned slices = 0;
    for (int64_t now = NOW; now < NOW + 1000; now++) {
        keyspace_work(f->ks, now);
        size_t left = heap_resident_slack(f->heap);
        cr_assert_geq(left + (2u << 20), slack);
        slices += left < slack;
        slack = left;
    }
    cr_assert_lt(slack, 1u << 20);
    cr_assert_geq(slices, 64);
    free(value);
    fixture_free(f);
}
#endif

/* A slice freed 256 keys, whatever their size: up to gigabytes in one turn. */
Test(keyspace, flushed_values_of_megabytes_are_freed_in_slices_and_counted_once) {
    struct fixture *f = fixture_new();
    enum { KEYS = 64, BIG = 3 };
    size_t length = 8u << 20;
    char *value = calloc(1, length);
    char name[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof(name), "key:%d", i);
        struct key key = key_of(f, name);
        put_string(f->ks, 0, &key, bytes_make(value, i < BIG ? length : length / 8), NO_EXPIRY,
                   NOW);
    }
    keyspace_flush(f->ks, 0, true);
    unsigned slices = 0;
    while (keyspace_work(f->ks, NOW) <= NOW) {
        slices++;
    }
    cr_assert_geq(slices, KEYS / 8);
    cr_assert_eq(keyspace_stats(f->ks)->lazyfree_pending, 0);
    cr_assert_eq(keyspace_stats(f->ks)->lazyfreed, KEYS);
    free(value);
    fixture_free(f);
}

#if !SHOAL_SANITIZED
/* A clock that was set back by an hour kept empty slabs for an hour. */
Test(keyspace, rest_gives_memory_back_although_the_clock_was_set_back) {
    struct fixture *f = fixture_new();
    char name[32];
    char value[301] = {0};
    memset(value, 'v', 300);
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "key:%d", i);
        set(f, name, value, NO_EXPIRY);
    }
    keyspace_flush(f->ks, 0, false);
    work_until_done(f, NOW);
    cr_assert_gt(heap_resident_slack(f->heap), 1u << 20);
    for (int64_t now = NOW - 3600000; now < NOW - 3600000 + 1000; now++) {
        keyspace_work(f->ks, now);
    }
    cr_assert_leq(heap_resident_slack(f->heap), 512u << 10);
    fixture_free(f);
}
#endif

Test(keyspace, pinned_value_outlives_its_key_and_the_keyspace) {
    struct fixture *f = fixture_new();
    char value[10000];
    memset(value, 'p', sizeof(value));
    struct key key = key_of(f, "k");
    struct entry *entry =
        put_string(f->ks, 0, &key, bytes_make(value, sizeof(value)), NO_EXPIRY, NOW);
    struct bytes bytes;
    void *pin = string_pin(entry, &bytes);
    cr_assert_not_null(pin);
    cr_assert_null(string_pin(set(f, "small", "v", NO_EXPIRY), &bytes));
    string_pin(find(f, "k", NOW), &bytes);
    string_unpin(pin);
    char *edited = edit_string(f->ks, 0, &key, find(f, "k", NOW), 10000, false, NOW);
    memset(edited, 'q', 10000);
    fixture_free(f);
    cr_assert(bytes_equal(bytes, bytes_make(value, sizeof(value))));
    string_unpin(pin);
}

Test(keyspace, a_blob_is_taken_over_and_counted) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    set(f, "k", "old", NOW + 1000);
    for (int i = 0; i < 3; i++) {
        struct blob *blob = blob_new(f->heap, 50000, 50000);
        memset(blob->data, 'a' + i, 50000);
        size_t before = heap_used(f->heap);
        struct string_target target = {f->ks, &key, 0, EVENT_SET, KEEP_TTL, NOW};
        struct entry *entry = string_set_blob(&target, blob);
        cr_assert(i > 0 || heap_used(f->heap) >= before + 50000);
        cr_assert_eq(entry, find(f, "k", NOW));
        cr_assert_eq(entry_expires_at(entry), NOW + 1000);
        cr_assert_eq(string_encoding(entry), STRING_RAW);
        char scratch[NUMBER_TEXT_BYTES];
        cr_assert_eq(string_bytes(entry, scratch).ptr, blob->data, "not copied");
        cr_assert(blob_unshared(blob), "the reference is the keyspace's");
        work_until_done(f, NOW); /* the old one may be freed later */
        keyspace_verify(f->ks);
    }
    char value[50000];
    memset(value, 'z', sizeof(value));
    put_string(f->ks, 0, &key, bytes_make(value, sizeof(value)), NO_EXPIRY, NOW);
    char scratch[NUMBER_TEXT_BYTES];
    cr_assert(bytes_equal(string_bytes(find(f, "k", NOW), scratch), bytes_make(value, 50000)));
    drop_key(f->ks, 0, &key, NOW, false);
    fixture_free(f);
}

/* ---- Clocks of use ---- */

/* ---- Across shards ---- */

enum { HUGE_BYTES = 3000000 };

static struct entry *put_huge(struct fixture *f, const struct key *key, int64_t expires_at) {
    char *text = malloc(HUGE_BYTES);
    memset(text, 'x', HUGE_BYTES);
    struct entry *entry = put_string(f->ks, 0, key, bytes_make(text, HUGE_BYTES), expires_at, NOW);
    free(text);
    return entry;
}

static bool is_huge(const struct entry *entry) {
    struct bytes bytes = string_bytes(entry, NULL);
    return bytes.len == HUGE_BYTES && bytes.ptr[0] == 'x' &&
           memcmp(bytes.ptr, bytes.ptr + 1, HUGE_BYTES - 1) == 0;
}

static struct entry *find_in(struct fixture *f, uint32_t db, const struct key *key) {
    return keyspace_find(f->ks, db, key, NOW, LOOKUP_READ);
}

static void verify_both(struct fixture *a, struct fixture *b) {
    keyspace_verify(a->ks);
    keyspace_verify(b->ks);
    heap_verify(a->heap);
    heap_verify(b->heap);
}

Test(keyspace, a_value_of_each_form_is_put_on_another_shard) {
    struct fixture *from = fixture_new(), *to = fixture_new();
    char text[5000];
    memset(text, 'y', sizeof(text));
    const struct bytes values[] = {BYTES("short"), BYTES("-123"), bytes_make(text, 200),
                                   bytes_make(text, sizeof(text))};
    for (unsigned i = 0; i < 4; i++) {
        struct key key = key_of(from, "k"), target = key_of(to, "t");
        struct entry *entry =
            put_string(from->ks, 0, &key, values[i], i % 2 ? NOW + 5000 : NO_EXPIRY, NOW);
        struct loan loan = keyspace_lend(from->ks, entry);
        cr_assert_null(loan.entry);
        struct entry *put = keyspace_put(to->ks, 2, &target, &loan, NOW, EVENT_COPY_TO);
        char scratch[NUMBER_TEXT_BYTES];
        cr_assert(bytes_equal(string_bytes(put, scratch), values[i]));
        cr_assert_eq(entry_expires_at(put), entry_expires_at(entry));
        cr_assert_str_eq(entry_encoding_name(put), entry_encoding_name(entry));
        keyspace_take_back(from->ks, 1);
        verify_both(from, to);
    }
    fixture_free(from);
    fixture_free(to);
}

/* It was copied on the thread of the coordinator, in one piece; or it stayed in the other shard's
 * memory for as long as it lived. */
Test(keyspace, a_large_value_is_handed_over_and_then_rewritten_in_slices) {
    struct fixture *from = fixture_new(), *to = fixture_new();
    struct key key = key_of(from, "k"), target = key_of(to, "t");
    size_t empty = heap_used(from->heap);
    struct entry *entry = put_huge(from, &key, NOW + 100000);
    const char *where = string_bytes(entry, NULL).ptr;
    struct loan loan = keyspace_lend(from->ks, entry);
    struct entry *put = keyspace_put(to->ks, 3, &target, &loan, NOW, EVENT_RENAME_TO);
    cr_assert_eq(string_bytes(put, NULL).ptr, where, "not copied yet");
    keyspace_take_back(from->ks, 1);
    verify_both(from, to);
    keyspace_gave(from->ks, 0, &key);
    verify_both(from, to);
    unsigned slices = 0;
    while (string_bytes(find_in(to, 3, &target), NULL).ptr == where) {
        cr_assert_lt(++slices, 100u);
        keyspace_work(to->ks, NOW);
        keyspace_verify(to->ks);
    }
    cr_assert_gt(slices, 5u, "not in one piece");
    cr_assert(is_huge(find_in(to, 3, &target)));
    cr_assert_eq(entry_expires_at(find_in(to, 3, &target)), NOW + 100000);
    work_until_done(from, NOW); /* takes in what the other has returned */
    verify_both(from, to);
    cr_assert_leq(heap_used(from->heap), empty + 4096, "nothing of it stays");
    fixture_free(from); /* the copy has nothing of it */
    cr_assert(is_huge(find_in(to, 3, &target)));
    fixture_free(to);
}

Test(keyspace, who_changes_what_is_shared_has_it_alone) {
    struct fixture *from = fixture_new(), *to = fixture_new();
    struct key key = key_of(from, "k"), target = key_of(to, "t");
    for (unsigned turn = 0; turn < 40; turn++) {
        put_huge(from, &key, NO_EXPIRY);
        struct loan loan = keyspace_lend(from->ks, find_in(from, 0, &key));
        keyspace_put(to->ks, 0, &target, &loan, NOW, EVENT_COPY_TO);
        keyspace_take_back(from->ks, 1);
        for (unsigned i = 0; i < turn / 2; i++) { /* somewhere in the middle of the copy */
            keyspace_work(to->ks, NOW);
        }
        struct fixture *writer = turn % 2 ? from : to, *other = turn % 2 ? to : from;
        const struct key *written = turn % 2 ? &key : &target, *kept = turn % 2 ? &target : &key;
        struct change change;
        change_open(&change, writer->ks, 0, written, find_in(writer, 0, written), NOW);
        string_edit(&change, HUGE_BYTES, false)[turn] = 'y';
        change_close(&change, EVENT_SETRANGE);
        verify_both(from, to);
        work_until_done(to, NOW);
        cr_assert(is_huge(find_in(other, 0, kept)));
        cr_assert_eq(string_bytes(find_in(writer, 0, written), NULL).ptr[turn], 'y');
        verify_both(from, to);
    }
    fixture_free(from);
    fixture_free(to);
}

Test(keyspace, what_is_rewritten_may_go_at_any_time) {
    for (unsigned turn = 0; turn < 60; turn++) {
        struct fixture *f = fixture_new();
        struct key key = key_of(f, "k"), target = key_of(f, "t"), third = key_of(f, "u");
        put_huge(f, &key, NO_EXPIRY);
        copy_key(f->ks, find_in(f, 0, &key), 1, &target, NOW);
        copy_key(f->ks, find_in(f, 0, &key), 2, &target, NOW);
        for (unsigned i = 0; i < turn / 6; i++) {
            keyspace_work(f->ks, NOW);
        }
        switch (turn % 6) {
        case 0:
            keyspace_delete(f->ks, 1, &target, NOW, true, EVENT_DEL);
            break;
        case 1:
            keyspace_flush(f->ks, 1, turn % 4);
            break;
        case 2:
            keyspace_swap_db(f->ks, 1, 2);
            break;
        case 3:
            put_string(f->ks, 1, &target, BYTES("small"), NO_EXPIRY, NOW);
            break;
        case 4:
            keyspace_rename(f->ks, 1, &target, find_in(f, 1, &target), 1, &third, NOW);
            break;
        default:
            keyspace_delete(f->ks, 0, &key, NOW, true, EVENT_DEL);
        }
        keyspace_verify(f->ks);
        work_until_done(f, NOW);
        keyspace_verify(f->ks);
        cr_assert(is_huge(find_in(f, 2, &target)));
        fixture_free(f);
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* A RENAME needs no memory for the value, so it must not end the process for want of it. */
Test(keyspace, what_there_is_no_room_to_rewrite_stays_as_it_is) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k"), target = key_of(f, "t");
    put_huge(f, &key, NO_EXPIRY);
    char *text = malloc(400000000);
    memset(text, 'x', 400000000);
    struct entry *entry = put_string(f->ks, 0, &key, bytes_make(text, 400000000), NO_EXPIRY, NOW);
    free(text);
    struct entry *put = copy_key(f->ks, entry, 0, &target, NOW);
    const char *where = string_bytes(put, NULL).ptr;
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    cr_assert_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    struct rlimit limit = {pages * 4096 + 100000000, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    work_until_done(f, NOW);
    cr_assert_eq(string_bytes(find_in(f, 0, &target), NULL).ptr, where);
    keyspace_verify(f->ks);
    fixture_free(f);
}
#endif

/* The wheel deleted, and the walk against fragmentation moved, whatever they came to. */
Test(keyspace, what_is_lent_stays_where_it_is) {
    struct fixture *f = fixture_new();
    f->locked = true;
    struct key key = key_of(f, "k"), huge = key_of(f, "huge"), target = key_of(f, "t");
    struct entry *entry = put_string(f->ks, 0, &key, BYTES("value"), NOW + 10, NOW);
    put_huge(f, &huge, NO_EXPIRY);
    struct entry *shared = copy_key(f->ks, find_in(f, 0, &huge), 0, &target, NOW);
    struct loan loan = keyspace_lend(f->ks, entry), other = keyspace_lend(f->ks, shared);
    for (int i = 0; i < 100; i++) {
        keyspace_work(f->ks, NOW + 1000 + i);
    }
    cr_assert_null(keyspace_find(f->ks, 0, &key, NOW + 1000, LOOKUP_READ), "hidden");
    cr_assert_eq(keyspace_find_any(f->ks, 0, &key), entry, "but there");
    cr_assert(bytes_equal(loan.value.bytes, BYTES("value")));
    cr_assert_eq(entry_value_of(shared).root, other.value.root);
    keyspace_take_back(f->ks, 2);
    for (int i = 0; i < 100; i++) {
        keyspace_work(f->ks, NOW + 2000 + i);
    }
    cr_assert_neq(entry_value_of(find_in(f, 0, &target)).root, other.value.root);
    cr_assert_eq(keyspace_find_any(f->ks, 0, &key), entry, "still locked");
    for (uint64_t i = 0; i < 10; i++) {
        keyspace_random(f->ks, 0, i << 60, NOW + 2000);
    }
    cr_assert_eq(keyspace_find_any(f->ks, 0, &key), entry, "by chance neither");
    f->locked = false;
    for (int i = 0; i < 100; i++) {
        keyspace_work(f->ks, NOW + 3000 + i);
    }
    cr_assert_null(keyspace_find_any(f->ks, 0, &key));
    keyspace_verify(f->ks);
    fixture_free(f);
}

Test(keyspace, idle_time_counts_from_the_last_touch) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    set(f, "k", "v", NO_EXPIRY);
    struct entry *entry = keyspace_find(f->ks, 0, &key, NOW + 9000, LOOKUP_READ | LOOKUP_NOTOUCH);
    cr_assert_eq(entry_idle_seconds(f->ks, entry, NOW + 9000), 9);
    keyspace_find(f->ks, 0, &key, NOW + 9000, LOOKUP_READ);
    cr_assert_eq(entry_idle_seconds(f->ks, entry, NOW + 10000), 1);
    fixture_free(f);
}

Test(keyspace, frequency_grows_with_use_and_decays_with_time) {
    struct fixture *f = fixture_new();
    keyspace_set_lru(f->ks, LFU_COUNTER, 10, 1);
    struct key key = key_of(f, "k");
    struct entry *entry = set(f, "k", "v", NO_EXPIRY);
    uint8_t first = entry_frequency(f->ks, entry, NOW);
    cr_assert(first == 5 || first == 6);
    for (int i = 0; i < 10000; i++) {
        keyspace_find(f->ks, 0, &key, NOW, LOOKUP_READ);
    }
    uint8_t later = entry_frequency(f->ks, entry, NOW);
    cr_assert_gt(later, 20);
    cr_assert_lt(later, 100);
    cr_assert_eq(entry_frequency(f->ks, entry, NOW + 5 * 60000), later - 5);
    fixture_free(f);
}

/* RENAME kept how often a key was used; in Valkey what has another name begins anew. */
Test(keyspace, what_is_renamed_or_copied_is_as_fresh_as_a_new_key) {
    struct fixture *f = fixture_new();
    keyspace_set_lru(f->ks, LFU_COUNTER, 0, 0);
    struct key a = key_of(f, "a"), b = key_of(f, "b");
    struct entry *entry = set(f, "a", "v", NO_EXPIRY);
    for (int i = 0; i < 10; i++) {
        entry = keyspace_find(f->ks, 0, &a, NOW, LOOKUP_READ);
    }
    cr_assert_eq(entry_frequency(f->ks, entry, NOW), 15);
    cr_assert_eq(entry_frequency(f->ks, copy_key(f->ks, entry, 1, &b, NOW), NOW), 5);
    entry = keyspace_rename(f->ks, 0, &a, entry, 0, &b, NOW);
    cr_assert_eq(entry_frequency(f->ks, entry, NOW), 5);
    entry = keyspace_rename(f->ks, 0, &b, entry, 2, &b, NOW);
    cr_assert_eq(entry_frequency(f->ks, entry, NOW), 5);
    keyspace_set_lru(f->ks, LRU_CLOCK, 0, 0);
    entry = set(f, "a", "v", NO_EXPIRY);
    cr_assert_eq(entry_idle_seconds(f->ks, entry, NOW + 9000), 9);
    entry = keyspace_rename(f->ks, 0, &a, entry, 0, &b, NOW + 9000);
    cr_assert_eq(entry_idle_seconds(f->ks, entry, NOW + 9000), 0);
    fixture_free(f);
}

/* ---- Lookup, hooks, statistics ---- */

Test(keyspace, lookups_count_as_their_flags_say) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    find(f, "k", NOW);
    set(f, "k", "v", NO_EXPIRY);
    find(f, "k", NOW);
    keyspace_find(f->ks, 0, &key, NOW, LOOKUP_WRITE);
    keyspace_find(f->ks, 0, &key, NOW, LOOKUP_NOSTATS);
    cr_assert_eq(keyspace_stats(f->ks)->hits, 1);
    cr_assert_eq(keyspace_stats(f->ks)->misses, 1);
    keyspace_reset_stats(f->ks);
    cr_assert_eq(keyspace_stats(f->ks)->hits, 0);
    fixture_free(f);
}

Test(keyspace, each_change_is_told_once_before_and_once_after) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    struct key other = key_of(f, "other");
    struct entry *entry = set(f, "k", "v", NO_EXPIRY);
    cr_assert(f->pre_writes == 1 && f->changed == 1);
    entry = keyspace_set_expiry(f->ks, 0, &key, entry, NOW + 10);
    cr_assert(f->pre_writes == 2 && f->changed == 2);
    copy_key(f->ks, entry, 3, &other, NOW);
    cr_assert(f->pre_writes == 3 && f->changed == 3);
    drop_key(f->ks, 0, &key, NOW, false);
    cr_assert(f->pre_writes == 4 && f->changed == 4);
    cr_assert_not(drop_key(f->ks, 0, &key, NOW, false));
    cr_assert(f->pre_writes == 4 && f->changed == 4);
    work_until_done(f, NOW + 11);
    cr_assert(f->pre_writes == 5 && f->changed == 5 && f->expired == 1);
    cr_assert_eq(keyspace_stats(f->ks)->changes, 4);
    fixture_free(f);
}

Test(keyspace, prefetching_is_harmless_wherever_nothing_is) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    keyspace_prefetch_bucket(f->ks, 7, &key);
    keyspace_prefetch_entry(f->ks, 7, &key);
    set(f, "k", "v", NO_EXPIRY);
    keyspace_prefetch_bucket(f->ks, 0, &key);
    keyspace_prefetch_entry(f->ks, 0, &key);
    struct key missing = key_of(f, "{k}missing");
    keyspace_prefetch_entry(f->ks, 0, &missing);
    struct key blob = key_of(f, "blob");
    char large[10000];
    memset(large, 'x', sizeof large);
    put_string(f->ks, 0, &blob, bytes_make(large, sizeof large), NO_EXPIRY, NOW);
    struct element_hint hints[] = {
        {.key = &key, .db = 7},     {.key = &key, .db = 0},  {.key = &missing, .db = 0},
        {.key = &missing, .db = 0}, {.key = &blob, .db = 0},
    };
    keyspace_prefetch_elements(f->ks, hints, 5);
    for (int i = 0; i < 5; i++) {
        cr_expect_null(hints[i].names, "%d", i);
    }
    fixture_free(f);
}

Test(keyspace, swapped_databases_keep_their_deadlines) {
    struct fixture *f = fixture_new();
    set(f, "k", "v", NOW + 100);
    keyspace_swap_db(f->ks, 0, 9);
    cr_assert_null(find(f, "k", NOW));
    cr_assert_eq(keyspace_count(f->ks, 9), 1);
    work_until_done(f, NOW + 101);
    cr_assert_eq(keyspace_count(f->ks, 9), 0);
    fixture_free(f);
}

/* ---- Walking and picking ---- */

static void count_visit(void *arg, struct entry *entry) {
    (void)entry;
    (*(unsigned *)arg)++;
}

Test(keyspace, scan_of_nothing_ends_at_once_and_any_cursor_is_safe) {
    struct fixture *f = fixture_new();
    unsigned n = 0;
    cr_assert_eq(keyspace_scan(f->ks, 0, 0, 10, NOW, count_visit, &n), 0);
    set(f, "k", "v", NO_EXPIRY);
    uint64_t cursors[] = {1, 77777, 16383, 16384, UINT64_MAX, UINT64_C(1) << 62, UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        uint64_t cursor = cursors[i];
        for (int rounds = 0; cursor && rounds < 100; rounds++) {
            cursor = keyspace_scan(f->ks, 0, cursor, UINT64_MAX, NOW, count_visit, &n);
        }
        cr_assert_eq(cursor, 0);
    }
    fixture_free(f);
}

Test(keyspace, scan_can_start_at_a_slot) {
    struct fixture *f = fixture_new();
    set(f, "{a}1", "v", NO_EXPIRY);
    set(f, "{a}2", "v", NO_EXPIRY);
    set(f, "{b}1", "v", NO_EXPIRY);
    uint16_t a = key_slot(BYTES("a"));
    uint16_t b = key_slot(BYTES("b"));
    unsigned n = 0;
    uint64_t cursor = keyspace_scan(f->ks, 0, scan_cursor_at_slot(a), 2, NOW, count_visit, &n);
    cr_assert_geq(n, 2);
    cr_assert(a > b ? cursor == 0 : scan_cursor_slot(cursor) == b);
    fixture_free(f);
}

static uint64_t largest_cursor(struct fixture *f, uint64_t count, unsigned *ret_keys) {
    uint64_t cursor = 0, largest = 0;
    *ret_keys = 0;
    do {
        cursor = keyspace_scan(f->ks, 0, cursor, count, NOW, count_visit, ret_keys);
        largest = cursor > largest ? cursor : largest;
    } while (cursor);
    return largest;
}

/* `valkey-cli --cluster import` stopped after one batch: it reads cursors with atoi. */
Test(keyspace, scan_cursors_fit_an_int_while_slots_are_small) {
    struct fixture *f = fixture_new();
    enum { KEYS = 200000, TAGGED = 30000 };
    char name[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof(name), i < TAGGED ? "{tag}%d" : "%d", i);
        set(f, name, "v", NO_EXPIRY);
    }
    for (uint64_t count = 1; count < 100; count = count * 3 + 1) {
        unsigned n;
        cr_assert_leq(largest_cursor(f, count, &n), INT32_MAX);
        cr_assert_eq(n, KEYS);
    }
    fixture_free(f);
}

/* A script's tonumber(cursor) lost digits: a double holds 53 bits, and Lua writes 14 digits of it.
 */
Test(keyspace, scan_cursors_fit_a_double_always) {
    struct fixture *f = fixture_new();
    enum { KEYS = 300000 };
    char name[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof(name), "{tag}%d", i);
        set(f, name, "v", NO_EXPIRY);
    }
    unsigned n;
    uint64_t largest = largest_cursor(f, 1, &n);
    cr_assert_eq(n, KEYS);
    cr_assert_gt(largest, UINT32_MAX); /* or else the other test is about nothing */
    cr_assert_lt(largest, UINT64_C(1) << 46);
    fixture_free(f);
}

Test(keyspace, scan_goes_on_from_the_place_that_a_cursor_names) {
    struct fixture *f = fixture_new();
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "{tag}%d", i);
        set(f, name, "v", NO_EXPIRY);
    }
    uint16_t slot = key_slot(BYTES("tag"));
    uint64_t half = slot + UINT64_C(1) * SLOTS; /* the first bit of the hash is 1 */
    unsigned all = 0, upper = 0, quarter = 0, last = 0;
    cr_assert_eq(keyspace_scan(f->ks, 0, slot, UINT64_MAX, NOW, count_visit, &all), 0);
    cr_assert_eq(keyspace_scan(f->ks, 0, half, UINT64_MAX, NOW, count_visit, &upper), 0);
    cr_assert_eq(
        keyspace_scan(f->ks, 0, slot + UINT64_C(3) * SLOTS, UINT64_MAX, NOW, count_visit, &quarter),
        0);
    cr_assert_eq(
        keyspace_scan(f->ks, 0, UINT64_MAX - SLOTS + 1 + slot, UINT64_MAX, NOW, count_visit, &last),
        0);
    cr_assert_eq(all, 1000);
    cr_assert(upper > 400 && upper < 600);
    cr_assert(quarter > 170 && quarter < 330);
    cr_assert_eq(last, 0);
    fixture_free(f);
}

Test(keyspace, random_picks_each_key_about_equally_often) {
    struct fixture *f = fixture_new();
    enum { KEYS = 400, PICKS = 200000 };
    unsigned counts[KEYS] = {0};
    char name[32];
    for (int i = 0; i < KEYS; i++) {
        /* Half of them in one slot: picking a slot first would favour the others. */
        snprintf(name, sizeof(name), i % 2 ? "%d" : "%d{t}", i);
        set(f, name, "v", NO_EXPIRY);
    }
    struct rng rng;
    rng_seed(&rng, 8);
    for (int i = 0; i < PICKS; i++) {
        struct bytes key = entry_key(keyspace_random(f->ks, 0, rng_next(&rng), NOW));
        int number = 0;
        for (size_t k = 0; k < key.len && key.ptr[k] != '{'; k++) {
            number = number * 10 + (key.ptr[k] - '0');
        }
        counts[number]++;
    }
    for (int i = 0; i < KEYS; i++) {
        cr_assert(counts[i] > PICKS / KEYS * 7 / 10 && counts[i] < PICKS / KEYS * 13 / 10);
    }
    fixture_free(f);
}

/* ---- Eviction ---- */

static unsigned evict_all(struct fixture *f, const struct evict_rule *rule) {
    unsigned evicted = 0;
    enum evicted result;
    while ((result = keyspace_evict(f->ks, rule, NOW)) != EVICTED_NONE) {
        evicted += result == EVICTED_KEY;
    }
    return evicted;
}

static bool is_there(struct fixture *f, const char *name) {
    struct key key = key_of(f, name);
    return keyspace_has(f->ks, 0, &key, NOW);
}

static void fill(struct fixture *f, unsigned from, unsigned to, int64_t expires_at) {
    for (unsigned i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "key:%u", i);
        set(f, name, "value", expires_at);
    }
}

Test(keyspace, evicts_all_keys_there_are) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_BY_IDLE, .samples = 5};
    cr_assert_not(keyspace_may_evict(f->ks, &rule));
    cr_assert_eq(keyspace_evict(f->ks, &rule, NOW), EVICTED_NONE);
    fill(f, 0, 3000, NO_EXPIRY);
    f->changed = 0;
    cr_assert_eq(evict_all(f, &rule), 3000);
    cr_assert_eq(f->changed, 3000);
    cr_assert_eq(f->expired, 0);
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    cr_assert_eq(keyspace_stats(f->ks)->evicted_keys, 3000);
    fixture_free(f);
}

Test(keyspace, evicts_only_what_has_a_deadline_if_the_rule_says_so) {
    struct fixture *f = fixture_new();
    for (int by = EVICT_BY_IDLE; by <= EVICT_AT_RANDOM; by++) {
        const struct evict_rule rule = {
            .by = (enum evict_by)by, .expiring_only = true, .samples = 5};
        keyspace_evict_anew(f->ks);
        fill(f, 0, 5000, NO_EXPIRY);
        fill(f, 5000, 5003, NOW + 1000000);
        cr_assert(keyspace_may_evict(f->ks, &rule));
        cr_assert_eq(evict_all(f, &rule), 3); /* few among many, too */
        cr_assert_not(keyspace_may_evict(f->ks, &rule));
        cr_assert_eq(keyspace_count(f->ks, 0), 5000);
    }
    fixture_free(f);
}

Test(keyspace, evicts_what_was_not_used_for_long) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_BY_IDLE, .samples = 5};
    fill(f, 0, 4000, NO_EXPIRY);
    for (unsigned i = 0; i < 4000; i += 2) { /* every other one is used later */
        char name[32];
        snprintf(name, sizeof name, "key:%u", i);
        find(f, name, NOW + 100000);
    }
    for (unsigned i = 0; i < 1000; i++) {
        keyspace_evict(f->ks, &rule, NOW + 200000);
    }
    unsigned used = 0;
    for (unsigned i = 0; i < 4000; i += 2) {
        char name[32];
        snprintf(name, sizeof name, "key:%u", i);
        used += is_there(f, name);
    }
    cr_assert_geq(used, 1990, "%u of 2000 are left", used);
    fixture_free(f);
}

Test(keyspace, evicts_what_was_used_seldom) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_BY_FREQUENCY, .samples = 5};
    keyspace_set_lru(f->ks, LFU_COUNTER, 0, 1);
    fill(f, 0, 4000, NO_EXPIRY);
    for (unsigned i = 0; i < 8000; i++) {
        char name[32];
        snprintf(name, sizeof name, "key:%u", i % 4000 / 2 * 2);
        find(f, name, NOW);
    }
    for (unsigned i = 0; i < 1000; i++) {
        keyspace_evict(f->ks, &rule, NOW);
    }
    unsigned used = 0;
    for (unsigned i = 0; i < 4000; i += 2) {
        char name[32];
        snprintf(name, sizeof name, "key:%u", i);
        used += is_there(f, name);
    }
    cr_assert_geq(used, 1990, "%u of 2000 are left", used);
    fixture_free(f);
}

Test(keyspace, evicts_what_has_the_nearest_deadline) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_BY_DEADLINE, .expiring_only = true, .samples = 10};
    fill(f, 0, 1000, NOW + 1000000);
    fill(f, 1000, 2000, NOW + 2000000);
    for (unsigned i = 0; i < 500; i++) {
        keyspace_evict(f->ks, &rule, NOW);
    }
    unsigned later = 0;
    for (unsigned i = 1000; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "key:%u", i);
        later += is_there(f, name);
    }
    cr_assert_geq(later, 995);
    fixture_free(f);
}

/* A key that is used while it is known as one of the oldest is none of them any more. */
Test(keyspace, what_was_used_meanwhile_is_not_evicted) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_BY_IDLE, .samples = 64};
    fill(f, 0, 10, NO_EXPIRY);
    cr_assert_neq(keyspace_evict_next(f->ks, &rule, NOW + 5000), 0);
    for (unsigned i = 1; i < 10; i++) {
        char name[32];
        snprintf(name, sizeof name, "key:%u", i);
        find(f, name, NOW + 10000);
    }
    cr_assert_eq(keyspace_evict(f->ks, &rule, NOW + 20000), EVICTED_KEY);
    cr_assert_not(is_there(f, "key:0"));
    fixture_free(f);
}

Test(keyspace, a_locked_key_is_not_evicted) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_AT_RANDOM, .samples = 5};
    fill(f, 0, 10, NO_EXPIRY);
    f->locked = true;
    cr_assert_eq(keyspace_evict(f->ks, &rule, NOW), EVICTED_LATER);
    cr_assert_eq(keyspace_count(f->ks, 0), 10);
    f->locked = false;
    cr_assert_eq(evict_all(f, &rule), 10);
    fixture_free(f);
}

/* All keys of one hash tag are in one slot, all others in slots of their own. */
Test(keyspace, evicts_from_large_and_small_slots) {
    struct fixture *f = fixture_new();
    const struct evict_rule rule = {.by = EVICT_BY_IDLE, .samples = 5};
    for (unsigned i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "{tag}%u", i);
        set(f, name, "value", NO_EXPIRY);
    }
    fill(f, 0, 3000, NO_EXPIRY);
    for (unsigned i = 0; i < 2000; i++) {
        keyspace_evict(f->ks, &rule, NOW);
    }
    unsigned left = 0;
    for (unsigned i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "{tag}%u", i);
        left += is_there(f, name);
    }
    cr_assert(left > 1700 && left < 2300, "%u of 3000 are left", left);
    fixture_free(f);
}
