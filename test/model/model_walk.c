/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks against a deep copy taken at the cut: random changes of all kinds between any two slices,
 * on few keys of all types, small and large, and what a walk has shown is what the copy says. */
#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "persist/codec/value_read.h"
#include "persist/codec/value_write.h"
#include "persist/snapshot/walk.h"
#include "shard/memory/heap.h"
#include "shard/types/packed.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATABASES  3
#define KEYS       200
#define ELEMENTS   400
#define WALKS_MAX  3
#define START      INT64_C(1700000000000)
#define LARGE_FROM 3000 /* bytes */

static const struct value_rules rules = {
    .list = {-2, 0, 0},
    .set = {16, 8, 16},
    .zset = {8, 16},
    .hash = {8, 16},
};

/* What a key has, in one number, and when it ends. */
struct known {
    bool present;
    uint8_t type;
    int64_t expires_at;
    uint64_t digest;
};

/* What a walk is not told, or told wrongly. */
enum fault {
    FAULT_NONE,
    FAULT_NO_WRITES,    /* now and then not that a key changes */
    FAULT_NO_BIRTHS,    /* not that a key is new */
    FAULT_NO_ELEMENTS,  /* not that an element of a set, hash or sorted set changes */
    FAULT_OTHER_HASH,   /* of a key the wrong hash: it is shown, and not passed over later */
    FAULT_OTHER_NUMBER, /* of a database the wrong number */
    FAULT_COUNT,
};

struct model;

struct watched {
    struct model *model;
    struct walk *walk; /* NULL: none */
    struct slot_set slots;
    struct known cut[DATABASES][KEYS];
    struct known shown[DATABASES][KEYS];
    struct text value; /* of the key that is being shown */
    bool inside;
    unsigned number;
    uint32_t db;
};

/* One shard, or the other. */
struct model {
    struct shard_heap *heap, *other_heap;
    struct keyspace *ks, *other; /* where slots go to */
    struct keyspace *scratch;    /* where values are read into */
    struct shard_heap *scratch_heap;
    struct walks walks;
    struct hash_secret secret;
    struct rng rng;
    int64_t now;
    char names[KEYS][64];
    struct key keys[KEYS];
    struct watched watched[WALKS_MAX];
    uint64_t large, early, slots_moved, flushed;
    unsigned put_off, hurried;
    uint64_t next_id;
    /* A fault that is planted: what is wrong then is counted. */
    enum fault fault;
    struct keyspace_before sound;
    uint64_t calls, wrong;
};

static uint64_t below(struct model *model, uint64_t n) {
    return rng_below(&model->rng, n);
}

static void expect(struct model *model, bool right, const char *what, unsigned key, uint32_t db) {
    cr_assert(right || model->fault != FAULT_NONE, "key %u of %u %s", key, db, what);
    model->wrong += !right;
}

/* ---- What a value is ---- */

struct elements {
    enum value_type type;
    uint64_t hashes[2 * ELEMENTS + 8];
    uint64_t count;
};

static const unsigned char plain_secret[HASH_SECRET_BYTES] = {7};

static void note_element(void *arg, const struct value_element *element) {
    struct elements *elements = arg;
    struct text text;
    text_init(&text);
    text_appendf(&text, "%zu:", element->first.len);
    text_append_bytes(&text, element->first);
    if (elements->type == TYPE_HASH) {
        text_append_bytes(&text, element->second);
        text_appendf(&text, ":%lld", (long long)element->deadline);
    } else if (elements->type == TYPE_ZSET) {
        text_appendf(&text, ":%.17g", element->score);
    }
    cr_assert_lt(elements->count, sizeof elements->hashes / sizeof elements->hashes[0]);
    elements->hashes[elements->count++] = hash_bytes(plain_secret, text_bytes(&text));
    text_fini(&text);
}

static int compare(const void *a_ptr, const void *b_ptr) {
    uint64_t a = *(const uint64_t *)a_ptr, b = *(const uint64_t *)b_ptr;
    return (a > b) - (a < b);
}

/* The same for the same value, however it is stored. */
static uint64_t digest(const struct value *value) {
    struct text text;
    text_init(&text);
    uint64_t result;
    if (value->type == TYPE_STRING) {
        char scratch[NUMBER_TEXT_BYTES];
        result = hash_bytes(plain_secret, string_value_bytes(value, scratch));
    } else if (value->type == TYPE_STREAM) {
        value_write_dump(value, RDB_VERSION_VALKEY, false, &text);
        result = hash_bytes(plain_secret, text_bytes(&text));
    } else {
        struct elements elements = {.type = value->type};
        uint64_t cursor = 0;
        do {
            cursor = forms_find(&value_forms, value)
                         ->walk(value, cursor, UINT64_MAX, note_element, &elements);
        } while (cursor != 0);
        if (value->type != TYPE_LIST) {
            qsort(elements.hashes, elements.count, sizeof elements.hashes[0], compare);
        }
        result = hash_bytes(plain_secret, bytes_make((const char *)elements.hashes,
                                                     elements.count * sizeof elements.hashes[0]));
    }
    text_fini(&text);
    return result;
}

static struct known known_of(const struct entry *entry) {
    if (!entry) {
        return (struct known){.present = false};
    }
    struct value value = entry_value_of(entry);
    return (struct known){true, value.type, entry_expires_at(entry), digest(&value)};
}

static unsigned index_of(const struct model *model, struct bytes name) {
    for (unsigned i = 0; i < KEYS; i++) {
        if (bytes_equal(model->keys[i].name, name)) {
            return i;
        }
    }
    cr_assert(false, "a key nobody made");
    return 0;
}

static struct known read_shown(struct model *model, const struct walk_item *item,
                               struct bytes bytes) {
    struct value_read_options options = {&rules, item->version, INT64_MIN};
    struct rdb_input in = rdb_input(bytes);
    struct value_read read;
    value_read_init(&read, model->scratch, &options, item->type);
    enum value_read_result result = value_read_some(&read, &in);
    bool whole = result == VALUE_WHOLE && rdb_left(&in) == 0;
    expect(model, whole, in.error ? in.error : "ends too early or late",
           index_of(model, item->name), item->db);
    if (result != VALUE_WHOLE) {
        value_read_fini(&read);
        return (struct known){.present = true, .type = UINT8_MAX};
    }
    struct value value = value_build_take(&read.build);
    struct known known = {true, value.type, item->expires_at, digest(&value)};
    if (value_is_rooted(&value)) {
        value_free(&value_forms, model->scratch_heap, &value);
    }
    value_read_fini(&read);
    return known;
}

/* ---- What a walk shows ---- */

static void on_item(void *arg, const struct walk_item *item) {
    struct watched *watched = arg;
    unsigned number = index_of(watched->model, item->name);
    cr_assert_eq(item->first, !watched->inside);
    cr_assert(item->first || (watched->number == number && watched->db == item->db));
    cr_assert_eq(item->slot, watched->model->keys[number].slot);
    watched->model->large += item->first && !item->last;
    watched->inside = true;
    watched->number = number;
    watched->db = item->db;
    text_append_bytes(&watched->value, item->piece);
    if (item->last) {
        struct known *shown = &watched->shown[item->db][number];
        expect(watched->model, !shown->present, "is shown twice", number, item->db);
        *shown = read_shown(watched->model, item, text_bytes(&watched->value));
        text_clear(&watched->value);
        watched->inside = false;
    }
}

static bool in_slots(const struct slot_set *slots, uint16_t slot) {
    return slots->words[slot / 64] >> (slot % 64) & 1;
}

static void begin_walk(struct model *model, struct watched *watched, bool all) {
    for (unsigned i = 0; i < SLOTS / 64; i++) {
        watched->slots.words[i] = all ? UINT64_MAX : rng_next(&model->rng);
    }
    memset(watched->shown, 0, sizeof watched->shown);
    for (uint32_t db = 0; db < DATABASES; db++) {
        for (unsigned i = 0; i < KEYS; i++) {
            watched->cut[db][i] = in_slots(&watched->slots, model->keys[i].slot)
                                      ? known_of(keyspace_find_any(model->ks, db, &model->keys[i]))
                                      : (struct known){.present = false};
        }
    }
    watched->inside = false;
    text_clear(&watched->value);
    watched->walk = walk_begin(&model->walks, &(struct walk_options){
                                                  .slots = &watched->slots,
                                                  .version = RDB_VERSION_MIN,
                                                  .compress = below(model, 2),
                                                  .show = on_item,
                                                  .arg = watched,
                                              });
}

static void compare_walk(struct model *model, const struct watched *watched) {
    for (uint32_t db = 0; db < DATABASES; db++) {
        for (unsigned i = 0; i < KEYS; i++) {
            const struct known *cut = &watched->cut[db][i], *shown = &watched->shown[db][i];
            bool same = cut->type == shown->type && cut->expires_at == shown->expires_at &&
                        cut->digest == shown->digest;
            expect(model, cut->present || !shown->present, "was not there", i, db);
            expect(model, !cut->present || shown->present, "is missing", i, db);
            expect(model, !cut->present || !shown->present || same, "is not what it was", i, db);
        }
    }
}

static void end_walk(struct model *model, struct watched *watched, bool over) {
    struct walk_progress progress = walk_progress(watched->walk);
    model->early += progress.early;
    if (over) {
        cr_assert(!watched->inside);
        cr_assert_eq(progress.slots_left, 0);
        compare_walk(model, watched);
    }
    walk_end(watched->walk);
    watched->walk = NULL;
}

/* ---- The model ---- */

static struct keyspace *make_keyspace(struct model *model, struct shard_heap **ret_heap) {
    *ret_heap = shard_heap_new();
    return keyspace_new(&(struct keyspace_options){
        .databases = DATABASES,
        .secret = &model->secret,
        .heap = *ret_heap,
        .now_ms = model->now,
    });
}

static struct model *model_new(uint64_t seed) {
    struct model *model = calloc(1, sizeof(*model));
    rng_seed(&model->rng, seed);
    for (size_t i = 0; i < sizeof(model->secret.bytes); i++) {
        model->secret.bytes[i] = (unsigned char)rng_next(&model->rng);
    }
    model->now = START;
    model->ks = make_keyspace(model, &model->heap);
    model->other = make_keyspace(model, &model->other_heap);
    model->scratch = make_keyspace(model, &model->scratch_heap);
    walks_init(&model->walks, model->ks);
    model->walks.large_bytes = LARGE_FROM;
    model->walks.stall_bytes = LARGE_FROM;
    for (unsigned i = 0; i < KEYS; i++) {
        /* Half of them are in one slot, which takes several slices, and whose table grows. */
        int n = snprintf(model->names[i], sizeof model->names[i], i % 2 ? "key%u" : "{t}%u", i);
        model->keys[i] = key_make(&model->secret, bytes_make(model->names[i], (size_t)n));
    }
    for (unsigned i = 0; i < WALKS_MAX; i++) {
        model->watched[i].model = model;
        text_init(&model->watched[i].value);
    }
    return model;
}

static void finish_work(struct keyspace *ks, int64_t now) {
    unsigned runs = 0;
    while (keyspace_work(ks, now) <= now) {
        cr_assert_lt(++runs, 100000);
    }
}

static void free_keyspace(struct keyspace *ks, struct shard_heap *heap) {
    keyspace_verify(ks);
    keyspace_free(ks);
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

static void model_free(struct model *model) {
    for (unsigned i = 0; i < WALKS_MAX; i++) {
        if (model->watched[i].walk) {
            end_walk(model, &model->watched[i], false);
        }
        text_fini(&model->watched[i].value);
    }
    walks_fini(&model->walks);
    finish_work(model->ks, model->now);
    free_keyspace(model->ks, model->heap);
    free_keyspace(model->other, model->other_heap);
    free_keyspace(model->scratch, model->scratch_heap);
    free(model);
}

/* ---- Faults ---- */

static void write_wrongly(void *arg, uint32_t db, const struct key *key, struct entry *entry) {
    struct model *model = arg;
    struct key told = *key;
    model->calls++;
    if ((model->fault == FAULT_NO_WRITES && model->calls % 16 == 0) ||
        (model->fault == FAULT_NO_BIRTHS && !entry)) {
        return;
    }
    told.hash ^= model->fault == FAULT_OTHER_HASH;
    db = model->fault == FAULT_OTHER_NUMBER ? (db + 1) % DATABASES : db;
    model->sound.write(model->sound.arg, db, &told, entry);
}

static void element_wrongly(void *arg, const struct value *value, const struct bytes *element) {
    struct model *model = arg;
    if (model->fault != FAULT_NO_ELEMENTS || !element) {
        model->sound.element(model->sound.arg, value, element);
    }
}

static bool reads(void *arg, const void *root) {
    const struct model *model = arg;
    return model->sound.reads(model->sound.arg, root);
}

static bool stalls(void *arg, uint32_t db, const struct key *key, const struct entry *entry) {
    const struct model *model = arg;
    return model->sound.stalls(model->sound.arg, db, key, entry);
}

static void plant(struct model *model, enum fault fault) {
    model->fault = fault;
    model->sound = model->walks.before;
    model->walks.before =
        (struct keyspace_before){model, write_wrongly, element_wrongly, reads, stalls};
}

/* ---- Changes ---- */

static struct bytes random_text(struct model *model, char *room, size_t most) {
    size_t length = 1 + below(model, most);
    memset(room, (int)('a' + below(model, 26)), length);
    room[0] = (char)('0' + below(model, 10));
    return bytes_make(room, length);
}

static struct bytes element_name(struct model *model, char *room) {
    int n = snprintf(room, 64, "element%u", (unsigned)below(model, ELEMENTS));
    return bytes_make(room, (size_t)n);
}

static struct bytes number_name(struct model *model, char *room) {
    int n = snprintf(room, 64, "%u", (unsigned)below(model, ELEMENTS));
    return bytes_make(room, (size_t)n);
}

static int64_t random_deadline(struct model *model) {
    return model->now + 1 + (int64_t)below(model, below(model, 2) ? 50 : 5000);
}

struct place {
    struct model *model;
    uint32_t db;
    const struct key *key;
    struct change change;
    bool open;
};

/* Opens the key for a change of a value of this type; false: it has another one. */
static bool open_as(struct place *place, enum value_type type) {
    struct model *model = place->model;
    struct entry *entry = keyspace_find(model->ks, place->db, place->key, model->now, LOOKUP_WRITE);
    if (entry && entry_type(entry) != type) {
        return false;
    }
    change_open(&place->change, model->ks, place->db, place->key, entry, model->now);
    return true;
}

/* Who would change a list or stream asks before. */
static bool waits(struct place *place) {
    struct model *model = place->model;
    const struct entry *entry = keyspace_find_any(model->ks, place->db, place->key);
    bool waits = entry && keyspace_would_stall(model->ks, place->db, place->key, entry) != NULL;
    model->put_off += waits;
    return waits;
}

static unsigned how_many(struct model *model) {
    return 1 + (unsigned)below(model, below(model, 4) ? 5 : 200);
}

/* As SPOP of most does. */
static void keep_half(struct place *place) {
    struct set_edit stay;
    struct set_member member;
    struct value *value = &place->change.value;
    struct set_walk walk = set_walk(value);
    set_edit_new(&stay, place->model->ks, &rules.set, value_is_intset(value));
    for (unsigned n = 0; set_next(&walk, &member); n++) {
        if (n % 2 == 0) {
            set_add(&stay, &member);
        }
    }
    set_edit_replace(&stay, &place->change);
}

static void change_set(struct place *place) {
    struct model *model = place->model;
    char room[64];
    if (!open_as(place, TYPE_SET)) {
        return;
    }
    struct set_edit edit;
    struct set_member member;
    bool numbers = below(model, 3) == 0;
    set_member_text(&member, numbers ? number_name(model, room) : element_name(model, room));
    if (!place->change.entry) {
        set_edit_make(&edit, &place->change, &rules.set, &member, 1);
    } else {
        set_edit_open(&edit, &place->change, &rules.set);
    }
    for (unsigned n = how_many(model); n > 0; n--) {
        change_element(&place->change, &member.text);
        if (below(model, 3) == 0 && set_count(&place->change.value) > 1) {
            set_remove(&edit, &member);
        } else {
            set_add(&edit, &member);
        }
        set_member_text(&member, numbers ? number_name(model, room) : element_name(model, room));
    }
    if (below(model, 10) == 0) {
        keep_half(place);
    }
    change_close(&place->change, EVENT_SADD);
}

static void change_zset(struct place *place) {
    struct model *model = place->model;
    char room[64];
    if (!open_as(place, TYPE_ZSET)) {
        return;
    }
    if (!place->change.entry) {
        zset_make(&place->change, &rules.zset, 1, 10);
    }
    for (unsigned n = how_many(model); n > 0; n--) {
        struct bytes member = element_name(model, room);
        struct zset_place found;
        zset_find(&place->change.value, member, &found);
        if (found.found && below(model, 2) && zset_count(&place->change.value) > 1) {
            zset_remove(&place->change, member, &found);
        } else {
            zset_put(&place->change, &rules.zset, member, &found, (double)below(model, 1000) / 8);
        }
    }
    if (below(model, 10) == 0) {
        uint64_t count = zset_count(&place->change.value), start = below(model, count);
        zset_remove_span(&place->change,
                         (struct zset_span){start, start + below(model, count - start + 1)});
    }
    change_close(&place->change, EVENT_ZADD);
}

static void change_hash(struct place *place) {
    struct model *model = place->model;
    char name_room[64], value_room[64];
    if (!open_as(place, TYPE_HASH)) {
        return;
    }
    struct hash_edit edit = {&place->change, rules.hash, model->now, 0};
    bool temporary = below(model, 3) == 0;
    if (!place->change.entry) {
        struct bytes pair[] = {element_name(model, name_room), random_text(model, value_room, 40)};
        hash_put_all(&edit, pair, 1);
    }
    for (unsigned n = how_many(model); n > 0; n--) {
        struct bytes name = element_name(model, name_room);
        struct hash_look look = hash_look(place->change.value, model->now);
        struct hash_found found;
        bool there = hash_find(&look, name, &found);
        if (there && below(model, 3) == 0 && hash_count(&place->change.value) > 1) {
            hash_remove(&edit, name);
        } else if (there && temporary) {
            hash_set_deadline(&edit, name, below(model, 3) ? random_deadline(model) : NO_EXPIRY);
        } else {
            hash_put(&edit, name, random_text(model, value_room, 40),
                     temporary ? random_deadline(model) : KEEP_TTL);
        }
    }
    change_close(&place->change, EVENT_HSET);
}

static void change_list(struct place *place) {
    struct model *model = place->model;
    char room[300];
    if (!open_as(place, TYPE_LIST)) {
        return;
    }
    struct change *change = &place->change;
    struct bytes first = random_text(model, room, 40);
    if (!change->entry) {
        packed_make(change, TYPE_LIST);
    }
    change_element(change, NULL);
    list_grow(change, &rules.list, &first, 1);
    list_push(change, first, below(model, 2));
    for (unsigned n = how_many(model); n > 0; n--) {
        struct bytes text = random_text(model, room, below(model, 30) ? 40 : 300);
        uint64_t count = list_count(&change->value);
        change_element(change, NULL);
        if (below(model, 3) == 0 && count > 1) {
            list_cut(change, below(model, 2) ? 0 : count - 1, 1);
            list_shrink(change, &rules.list);
        } else if (below(model, 3) == 0) {
            list_set(change, below(model, count), text);
        } else if (count < ELEMENTS) {
            list_grow(change, &rules.list, &text, 1);
            list_push(change, text, below(model, 2));
        }
    }
    change_close(change, EVENT_RPUSH);
}

static void change_stream(struct place *place) {
    static const struct stream_limits limits = {1000, 20};
    struct model *model = place->model;
    char room[64];
    if (!open_as(place, TYPE_STREAM)) {
        return;
    }
    struct change *change = &place->change;
    if (!change->entry) {
        change_make(change, stream_new(model->heap));
    }
    change_element(change, NULL);
    struct stream *stream = stream_of(&change->value);
    for (unsigned n = how_many(model); n > 0; n--) {
        struct bytes pair[] = {BYTES("field"), random_text(model, room, 40)};
        stream_append(model->heap, stream, (struct stream_id){++model->next_id, 0}, pair, 1,
                      &limits);
    }
    if (below(model, 4) == 0) {
        stream_trim(model->heap, stream, &(struct stream_trim){.max_length = below(model, 50)});
        stream_note_first(stream);
    }
    change_close(change, EVENT_XADD);
}

static void set_string(struct place *place) {
    struct model *model = place->model;
    static char room[20000];
    int64_t expires_at = below(model, 3) ? NO_EXPIRY : random_deadline(model);
    put_string(model->ks, place->db, place->key,
               random_text(model, room, below(model, 4) ? 30 : 20000), expires_at, model->now);
}

static void edit_a_string(struct place *place) {
    struct model *model = place->model;
    struct entry *entry = keyspace_find(model->ks, place->db, place->key, model->now, LOOKUP_WRITE);
    if (!entry || entry_type(entry) != TYPE_STRING) {
        return;
    }
    size_t old = string_length(entry), length = old + below(model, below(model, 3) ? 50 : 5000);
    length = length > 20000 ? 20000 : length;
    char *bytes = edit_string(model->ks, place->db, place->key, entry, length, true, model->now);
    if (length > 0) {
        bytes[below(model, length)] = 'E';
    }
    for (size_t i = old; i < length; i++) {
        bytes[i] = 'e';
    }
}

static void rename_key(struct place *place, bool copies) {
    struct model *model = place->model;
    uint32_t to_db = (uint32_t)below(model, DATABASES);
    const struct key *to = &model->keys[below(model, KEYS)];
    struct entry *entry = keyspace_find(model->ks, place->db, place->key, model->now, LOOKUP_WRITE);
    if (!entry || (place->db == to_db && place->key == to)) {
        return;
    }
    if (copies) {
        copy_key(model->ks, entry, to_db, to, model->now);
    } else {
        keyspace_rename(model->ks, place->db, place->key, entry, to_db, to, model->now);
    }
}

static void expire_key(struct place *place) {
    struct model *model = place->model;
    struct entry *entry = keyspace_find(model->ks, place->db, place->key, model->now, LOOKUP_WRITE);
    if (entry) {
        keyspace_set_expiry(model->ks, place->db, place->key, entry,
                            below(model, 4) ? random_deadline(model) : NO_EXPIRY);
    }
}

/* A value made elsewhere, as RESTORE does. */
static void take_value(struct place *place) {
    struct model *model = place->model;
    struct entry *entry =
        keyspace_find(model->ks, 0, &model->keys[below(model, KEYS)], model->now, LOOKUP_READ);
    if (!entry) {
        return;
    }
    struct value value = entry_value_of(entry);
    struct text dump;
    text_init(&dump);
    value_write_dump(&value, RDB_VERSION_VALKEY, false, &dump);
    struct value_read_options options = {&rules, RDB_VERSION_VALKEY, INT64_MIN};
    struct rdb_input in = rdb_input(bytes_make(dump.ptr + 1, dump.len - 11));
    struct value_read read;
    size_t making = keyspace_making(model->ks);
    value_read_init(&read, model->ks, &options, (uint8_t)dump.ptr[0]);
    cr_assert_eq(value_read_some(&read, &in), VALUE_WHOLE);
    struct value made = value_build_take(&read.build);
    keyspace_made(model->ks, making);
    keyspace_take(model->ks, place->db, place->key, &made, NO_EXPIRY, model->now, EVENT_RESTORE);
    value_read_fini(&read);
    text_fini(&dump);
}

/* To the other shard and back: what comes back is new. */
static void move_slot(struct place *place) {
    struct model *model = place->model;
    uint16_t slot = place->key->slot;
    struct slot_loan *lent = keyspace_lend_slot(model->ks, slot);
    while (!keyspace_put_slot(model->other, lent, model->now)) {
    }
    keyspace_drop_slot(model->ks, lent);
    finish_work(model->other, START); /* what was shared is its own */
    if (below(model, 2)) {
        lent = keyspace_lend_slot(model->other, slot);
        while (!keyspace_put_slot(model->ks, lent, model->now)) {
        }
        keyspace_drop_slot(model->other, lent);
    } else {
        keyspace_flush(model->other, UINT32_MAX, false);
    }
    model->slots_moved++;
}

static void change_something(struct model *model) {
    struct place place = {.model = model,
                          .db = (uint32_t)below(model, DATABASES),
                          .key = &model->keys[below(model, KEYS)]};
    unsigned what = (unsigned)below(model, 1000);
    if (waits(&place) && below(model, 2)) {
        return;
    }
    if (what < 150) {
        set_string(&place);
    } else if (what < 230) {
        edit_a_string(&place);
    } else if (what < 330) {
        change_set(&place);
    } else if (what < 430) {
        change_zset(&place);
    } else if (what < 530) {
        change_hash(&place);
    } else if (what < 600) {
        change_list(&place);
    } else if (what < 670) {
        change_stream(&place);
    } else if (what < 750) {
        drop_key(model->ks, place.db, place.key, model->now, below(model, 2));
    } else if (what < 810) {
        rename_key(&place, false);
    } else if (what < 840) {
        rename_key(&place, true);
    } else if (what < 900) {
        expire_key(&place);
    } else if (what < 920) {
        take_value(&place);
    } else if (what < 927) {
        move_slot(&place);
    } else if (what < 930) {
        keyspace_flush(model->ks, below(model, 3) ? place.db : UINT32_MAX, below(model, 2));
        model->flushed++;
    } else if (what < 935) {
        keyspace_swap_db(model->ks, (uint32_t)below(model, DATABASES), place.db);
    } else if (what < 970) {
        model->now += (int64_t)below(model, 30);
    } else {
        keyspace_work(model->ks, model->now);
    }
}

static void change_some(struct model *model, unsigned most) {
    for (unsigned n = (unsigned)below(model, most + 1); n > 0; n--) {
        change_something(model);
    }
}

/* ---- Tests ---- */

/* A step of one walk, or of the keyspace. */
static void step(struct model *model, unsigned walks) {
    struct watched *watched = &model->watched[below(model, walks)];
    if (!watched->walk) {
        begin_walk(model, watched, walks == 1 || below(model, 3) == 0);
    } else if (below(model, 400) == 0) {
        end_walk(model, watched, false); /* in the middle */
    } else {
        if (below(model, 10) == 0) {
            walk_take_next(watched->walk, model->keys[below(model, KEYS)].slot);
        }
        size_t budget = 1 + below(model, below(model, 2) ? 5000 : 200000);
        if (below(model, 2) && walk_hurry_some(watched->walk, budget % 1000)) {
            model->hurried++; /* nothing can be shown just now */
        } else if (walk_some(watched->walk, budget)) {
            end_walk(model, watched, true);
        }
    }
    change_some(model, 6);
}

static struct model *run(uint64_t seed, enum fault fault, unsigned walks, unsigned steps) {
    struct model *model = model_new(seed);
    if (fault != FAULT_NONE) {
        plant(model, fault);
    }
    change_some(model, 2000);
    for (unsigned i = 0; i < steps; i++) {
        step(model, walks);
        if (i % 200 == 0) {
            keyspace_verify(model->ks);
        }
    }
    return model;
}

static void run_sound(uint64_t seed, unsigned walks) {
    struct model *model = run(seed, FAULT_NONE, walks, 3000);
    cr_assert_gt(model->early, 100);
    cr_assert_gt(model->large, 20);
    cr_assert(model->flushed > 0 && model->slots_moved > 0);
    cr_assert(model->put_off > 5 && model->hurried > 3, "%u, %u", model->put_off, model->hurried);
    model_free(model);
}

Test(walk, shows_what_was_there_at_the_cut) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_sound(seed, 1);
    }
}

Test(walk, three_at_once_show_what_was_there_at_their_cuts) {
    for (uint64_t seed = 101; seed <= 106; seed++) {
        run_sound(seed, WALKS_MAX);
    }
}

/* Shows that the tests above see what they are there to see. */
Test(walk, that_is_not_told_shows_something_else) {
    for (enum fault fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++) {
        struct model *model = run(fault, fault, 1, 600);
        cr_assert_gt(model->wrong, 0, "fault %d was not found", (int)fault);
        model_free(model);
    }
}
