/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of a small hash or sorted set are looked at for equal ones in the end, all at once by their
 * hashes: to look for each of them as it comes would take the square of their number.
 */
#include "persist/codec/value_build.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/ds/fields.h"
#include "shard/memory/blob.h"
#include "shard/memory/heap.h"
#include "shard/types/zset_tree.h"

#include <math.h>
#include <stdlib.h>

static const char twice[] = "an element is there twice";

struct build_score {
    double score;
    size_t at, length; /* of the member, in the text */
    uint64_t hash;
};

static struct shard_heap *heap_of(const struct value_build *build) {
    return keyspace_heap(build->ks);
}

static const unsigned char *secret_of(const struct value_build *build) {
    return keyspace_secret(build->ks)->bytes;
}

static void make_large(struct value_build *build, enum value_form form, void *root) {
    build->large = (struct value){.type = build->type, .form = form, .root = root};
    build->is_large = true;
}

/* ---- The beginning and the end ---- */

void value_build_init(struct value_build *build, struct keyspace *ks,
                      const struct value_rules *rules, enum value_type type) {
    *build = (struct value_build){.ks = ks, .rules = rules, .type = type};
    text_init(&build->text);
    if (type == TYPE_SET) {
        set_edit_new(&build->set, ks, &rules->set, true);
        build->set_is_open = true;
    } else if (type == TYPE_STREAM) {
        build->large = stream_new(heap_of(build));
        build->is_large = true;
    }
}

void value_build_expect(struct value_build *build, uint64_t count) {
    const struct value_rules *rules = build->rules;
    switch (build->type) {
    case TYPE_SET:
        if (count > rules->set.intset_entries && count > rules->set.listpack_entries) {
            set_edit_expect(&build->set, count);
        }
        break;
    case TYPE_ZSET:
        if (count > rules->zset.entries) {
            make_large(build, FORM_TREE,
                       zset_tree_new(heap_of(build), keyspace_secret(build->ks)));
        }
        break;
    case TYPE_HASH:
        if (count > rules->hash.entries) {
            make_large(build, FORM_TABLE, fields_new(heap_of(build), secret_of(build)));
        }
        break;
    default:
        break;
    }
}

void value_build_fini(struct value_build *build) {
    if (build->is_large) {
        value_free(&value_forms, heap_of(build), &build->large);
    }
    if (build->set_is_open) {
        set_edit_drop(&build->set);
    }
    free(build->scores);
    text_fini(&build->text);
}

/* ---- Strings ---- */

void value_build_string(struct value_build *build, struct bytes text) {
    text_append_bytes(&build->text, text);
}

/* ---- Listpacks ---- */

void value_build_pack(struct text *pack, const struct listpack_new *item) {
    if (pack->len == 0) {
        text_reserve(pack, LISTPACK_EMPTY_BYTES);
        listpack_init(pack->ptr);
        pack->len = LISTPACK_EMPTY_BYTES;
    }
    text_reserve(pack, item->bytes);
    char *end = listpack_put(pack->ptr + pack->len - 1, item);
    *end = (char)0xFF;
    pack->len += item->bytes;
    listpack_changed(pack->ptr, pack->len, 1);
}

static bool pack_has_room(const struct text *pack, size_t bytes) {
    return bytes < LISTPACK_BYTES_MAX && pack->len < LISTPACK_BYTES_MAX - bytes;
}

/* A number that is stored as a text would not be found by those who look for a number. */
static bool is_canonical(const struct listpack_item *item) {
    int64_t number;
    return item->text == NULL || item->length > 20 ||
           !num_parse_i64(bytes_make(item->text, item->length), &number);
}

static bool all_canonical(const char *lp) {
    for (size_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at)) {
        struct listpack_item item = listpack_get(lp, at);
        if (!is_canonical(&item)) {
            return false;
        }
    }
    return true;
}

/* ---- Lists ---- */

static struct quicklist *quicklist_of(struct value_build *build) {
    return build->large.root;
}

static void take_node(struct value_build *build, struct bytes listpack) {
    char *block = heap_alloc(heap_of(build), listpack.len);
    memcpy(block, listpack.ptr, listpack.len);
    quicklist_take(heap_of(build), quicklist_of(build), block);
}

/* What is one row of bytes so far becomes the first node. */
static void make_quicklist(struct value_build *build) {
    if (build->is_large) {
        return;
    }
    const struct list_rules *rules = &build->rules->list;
    struct quicklist *list = quicklist_new(heap_of(build), rules->fill, rules->depth);
    quicklist_set_packed_threshold(list, rules->packed_threshold);
    make_large(build, FORM_QUICKLIST, list);
    if (build->text.len > 0) {
        take_node(build, text_bytes(&build->text));
        text_clear(&build->text);
    }
}

void value_build_push(struct value_build *build, struct bytes text) {
    make_quicklist(build);
    quicklist_push(heap_of(build), quicklist_of(build), text, true);
    build->count++;
}

static void repack(const char *lp, struct text *pack) {
    char scratch[NUM_I64_BYTES];
    for (size_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at)) {
        struct listpack_item item = listpack_get(lp, at);
        struct listpack_new again = listpack_new(listpack_text(&item, scratch));
        value_build_pack(pack, &again);
    }
}

void value_build_push_node(struct value_build *build, struct bytes listpack) {
    struct text pack;
    text_init(&pack);
    if (!all_canonical(listpack.ptr)) {
        repack(listpack.ptr, &pack);
        listpack = text_bytes(&pack);
    }
    uint32_t count = listpack_count(listpack.ptr);
    if (build->count == 0 && !build->is_large) {
        text_append_bytes(&build->text, listpack);
    } else if (count > 0) {
        make_quicklist(build);
        take_node(build, listpack);
    }
    build->count += count;
    text_fini(&pack);
}

/* A list of one node that is not too large is one row of bytes, and no other is. */
static void choose_list_form(struct value_build *build) {
    struct quicklist_limit limit = quicklist_limit(build->rules->list.fill);
    struct bytes single = text_bytes(&build->text);
    if (build->count == 0 ||
        (build->is_large && !quicklist_single(quicklist_of(build), &single))) {
        return;
    }
    bool fits = single.len <= limit.bytes && build->count <= limit.items;
    if (fits && build->is_large) {
        struct value large = build->large;
        text_append_bytes(&build->text, single);
        value_free(&value_forms, heap_of(build), &large);
        build->is_large = false;
    } else if (!fits) {
        make_quicklist(build);
    }
}

/* ---- Sets ---- */

const char *value_build_member(struct value_build *build, struct bytes text) {
    struct set_member member;
    set_member_text(&member, text);
    build->count++;
    return set_add(&build->set, &member) ? NULL : twice;
}

/* ---- Names that are all different ---- */

static int compare_hashes(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

/* Two that have one hash are equal: with a secret nobody makes others that have. */
static bool any_twice(uint64_t *hashes, uint64_t count) {
    qsort(hashes, count, sizeof(*hashes), compare_hashes);
    for (uint64_t i = 1; i < count; i++) {
        if (hashes[i - 1] == hashes[i]) {
            return true;
        }
    }
    return false;
}

/* ---- Sorted sets ---- */

static const char *add_to_tree(struct value_build *build, struct bytes member, double score) {
    struct zset_tree *zset = build->large.root;
    uint64_t hash = zset_tree_hash(zset, member);
    if (zset_tree_find(zset, hash, member) != NULL) {
        return twice;
    }
    zset_tree_add(heap_of(build), zset, hash, member, score);
    return NULL;
}

static struct bytes score_member(const struct value_build *build, uint64_t i) {
    return bytes_make(build->text.ptr + build->scores[i].at, build->scores[i].length);
}

static const char *scores_to_tree(struct value_build *build) {
    const char *error = NULL;
    make_large(build, FORM_TREE, zset_tree_new(heap_of(build), keyspace_secret(build->ks)));
    for (uint64_t i = 0; i < build->count && error == NULL; i++) {
        error = add_to_tree(build, score_member(build, i), build->scores[i].score);
    }
    return error;
}

const char *value_build_score(struct value_build *build, struct bytes member, double score) {
    const char *error = NULL;
    if (isnan(score)) {
        return "a score that is no number";
    }
    const struct zset_bounds *bounds = &build->rules->zset;
    if (!build->is_large && (build->count >= bounds->entries || member.len > bounds->member_bytes ||
                             !pack_has_room(&build->text, member.len + NUM_DOUBLE_BYTES))) {
        error = scores_to_tree(build);
    }
    if (error == NULL && build->is_large) {
        error = add_to_tree(build, member, score);
    } else if (error == NULL) {
        if (build->count == build->scores_room) {
            build->scores_room = build->scores_room * 2 + 16;
            build->scores =
                must_realloc(build->scores, build->scores_room * sizeof(*build->scores));
        }
        build->scores[build->count] = (struct build_score){
            score, build->text.len, member.len, hash_bytes(secret_of(build), member)};
        text_append_bytes(&build->text, member);
    }
    build->count++;
    return error;
}

static int compare_items(const void *a, const void *b) {
    const struct zset_item *x = a, *y = b;
    return x->score < y->score   ? -1
           : x->score > y->score ? 1
                                 : bytes_compare(x->member, y->member);
}

static const char *check_scores(struct value_build *build) {
    uint64_t *hashes = must_malloc((build->count + 1) * sizeof(*hashes));
    for (uint64_t i = 0; i < build->count; i++) {
        hashes[i] = build->scores[i].hash;
    }
    bool bad = any_twice(hashes, build->count);
    free(hashes);
    return bad ? twice : NULL;
}

/* In their order, as a listpack has them. */
static void pack_scores(struct value_build *build) {
    struct zset_item *items = must_malloc((build->count + 1) * sizeof(*items));
    struct text pack;
    char scratch[NUM_DOUBLE_BYTES];
    text_init(&pack);
    for (uint64_t i = 0; i < build->count; i++) {
        items[i] = (struct zset_item){score_member(build, i), build->scores[i].score};
    }
    qsort(items, build->count, sizeof(*items), compare_items);
    for (uint64_t i = 0; i < build->count; i++) {
        struct listpack_new item = listpack_new(items[i].member);
        value_build_pack(&pack, &item);
        item = zset_score_item(items[i].score, scratch);
        value_build_pack(&pack, &item);
    }
    free(items);
    text_fini(&build->text);
    build->text = pack;
}

static const char *end_scores(struct value_build *build) {
    const char *error = check_scores(build);
    if (error == NULL) {
        pack_scores(build);
    }
    return error;
}

/* ---- Hashes ---- */

static const char *add_to_fields(struct value_build *build, struct bytes name, struct bytes value,
                                 int64_t deadline) {
    struct fields *fields = build->large.root;
    if (fields_find(fields, name) != NULL) {
        return twice;
    }
    struct field *field = fields_add(fields, heap_of(build), name, value);
    if (deadline != NO_EXPIRY) {
        fields_set_deadline(fields, heap_of(build), field, deadline);
    }
    return NULL;
}

static const char *pack_to_fields(struct value_build *build) {
    const char *error = NULL;
    make_large(build, FORM_TABLE, fields_new(heap_of(build), secret_of(build)));
    const char *lp = build->text.ptr;
    size_t at = build->text.len > 0 ? listpack_first(lp) : 0;
    while (at != 0 && error == NULL) {
        char scratch[2][NUM_I64_BYTES];
        struct listpack_item name = listpack_get(lp, at);
        at = listpack_next(lp, at);
        struct listpack_item value = listpack_get(lp, at);
        at = listpack_next(lp, at);
        error = add_to_fields(build, listpack_text(&name, scratch[0]),
                              listpack_text(&value, scratch[1]), NO_EXPIRY);
    }
    text_clear(&build->text);
    return error;
}

const char *value_build_field(struct value_build *build, struct bytes name, struct bytes value,
                              int64_t deadline) {
    const char *error = NULL;
    const struct hash_limits *limits = &build->rules->hash;
    if (!build->is_large &&
        (build->count >= limits->entries || name.len > limits->value_bytes ||
         value.len > limits->value_bytes || deadline != NO_EXPIRY ||
         !pack_has_room(&build->text, name.len + value.len + 64))) {
        error = pack_to_fields(build);
    }
    if (error == NULL && build->is_large) {
        error = add_to_fields(build, name, value, deadline);
    } else if (error == NULL) {
        struct listpack_new item = listpack_new(name);
        value_build_pack(&build->text, &item);
        item = listpack_new(value);
        value_build_pack(&build->text, &item);
    }
    build->count++;
    return error;
}

static const char *check_names(struct value_build *build) {
    if (build->count < 2) {
        return NULL;
    }
    uint64_t *hashes = must_malloc(build->count * sizeof(*hashes));
    const char *lp = build->text.ptr;
    uint64_t count = 0;
    for (size_t at = listpack_first(lp); at != 0;
         at = listpack_next(lp, listpack_next(lp, at))) {
        char scratch[NUM_I64_BYTES];
        struct listpack_item name = listpack_get(lp, at);
        hashes[count++] = hash_bytes(secret_of(build), listpack_text(&name, scratch));
    }
    bool bad = any_twice(hashes, count);
    free(hashes);
    return bad ? twice : NULL;
}

/* ---- The end ---- */

const char *value_build_end(struct value_build *build) {
    switch (build->type) {
    case TYPE_LIST:
        choose_list_form(build);
        return NULL;
    case TYPE_ZSET:
        return build->is_large ? NULL : end_scores(build);
    case TYPE_HASH:
        return build->is_large ? NULL : check_names(build);
    default:
        return NULL;
    }
}

/* In the entry, or in a block. */
static struct value packed_value(struct value_build *build, struct bytes bytes, bool intset) {
    struct value value = {.type = build->type, .form = intset ? FORM_INTS : FORM_INLINE};
    value.bytes = bytes;
    if (bytes.len > PACKED_INLINE_MAX) {
        char *block = heap_alloc(heap_of(build), bytes.len);
        memcpy(block, bytes.ptr, bytes.len);
        value.form = intset ? FORM_INTSET : FORM_LISTPACK;
        value.root = block;
    }
    return value;
}

struct value value_build_take(struct value_build *build) {
    check(!value_build_is_empty(build));
    if (build->type == TYPE_STRING) {
        return string_new(heap_of(build), text_bytes(&build->text));
    }
    if (build->is_large) {
        build->is_large = false;
        return build->large;
    }
    if (build->type != TYPE_SET) {
        return packed_value(build, text_bytes(&build->text), false);
    }
    struct value set = build->set.made;
    if (set_is_table(&set)) {
        set_edit_drop_buffer(&build->set);
        build->set_is_open = false;
        return set;
    }
    return packed_value(build, set.bytes, set.form == FORM_INTS);
}
