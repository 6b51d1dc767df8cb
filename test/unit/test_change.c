/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of values that are not strings, with a form made for it: a list of numbers, each in a
 * block of its own, as long values of later types have many. */
#include "shard/keys/change.h"

#include "base/text.h"
#include "shard/keys/keyspace_private.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1700000000000)

/* ---- A form ---- */

#define FORM_CHAIN (FORMS_MAX - 1)
#define STEP_BYTES ((size_t)1 << 12) /* what one element counts as work */

struct chain_node {
    struct chain_node *next;
    uint64_t number;
};

struct chain {
    struct chain_node *first;
    struct chain_node *copied_to; /* the last of a copy that goes on */
    uint64_t count;
};

static void chain_push(struct shard_heap *heap, struct value *value, uint64_t number) {
    struct chain *chain = value->root;
    struct chain_node *node = heap_alloc(heap, sizeof(*node));
    *node = (struct chain_node){chain->first, number};
    chain->first = node;
    chain->count++;
}

static uint64_t chain_pop(struct shard_heap *heap, struct value *value) {
    struct chain *chain = value->root;
    struct chain_node *node = chain->first;
    uint64_t number = node->number;
    chain->first = node->next;
    chain->count--;
    heap_release(heap, node, sizeof(*node));
    return number;
}

static struct value chain_new(struct shard_heap *heap) {
    struct chain *chain = heap_alloc(heap, sizeof(*chain));
    *chain = (struct chain){0};
    return (struct value){.type = TYPE_LIST, .form = FORM_CHAIN, .root = chain};
}

static const char *chain_encoding(const struct value *value) {
    return "chain";
}

static uint64_t chain_count(const struct value *value) {
    return ((const struct chain *)value->root)->count;
}

static size_t chain_memory(const struct value *value) {
    return heap_block_bytes(sizeof(struct chain)) +
           chain_count(value) * heap_block_bytes(sizeof(struct chain_node));
}

static uint64_t chain_walk(const struct value *value, uint64_t cursor, uint64_t count,
                           value_element_fn *visit, void *arg) {
    const struct chain_node *node = ((const struct chain *)value->root)->first;
    for (uint64_t i = 0; node && i < cursor + count; i++, node = node->next) {
        if (i >= cursor) {
            struct bytes number = bytes_make((const char *)&node->number, sizeof(node->number));
            visit(arg, &(struct value_element){.first = number});
        }
    }
    return node ? cursor + count : 0;
}

static void chain_verify(const struct value *value) {
    uint64_t count = 0;
    for (struct chain_node *n = ((struct chain *)value->root)->first; n; n = n->next) {
        count++;
    }
    check(count == chain_count(value));
}

static bool spend(size_t *budget) {
    *budget -= *budget < STEP_BYTES ? *budget : STEP_BYTES;
    return *budget == 0;
}

static bool chain_free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    while (chain_count(value) > 0) {
        chain_pop(heap, value);
        if (spend(budget)) {
            return false;
        }
    }
    heap_release(heap, value->root, sizeof(struct chain));
    value->root = NULL;
    return true;
}

static bool chain_copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                            uint64_t *cursor, size_t *budget) {
    if (*cursor == 0) {
        *to = chain_new(heap);
    }
    struct chain *copy = to->root;
    const struct chain_node *node = ((const struct chain *)from->root)->first;
    for (uint64_t i = 0; i < *cursor; i++) {
        node = node->next;
    }
    for (; node; node = node->next) {
        struct chain_node *made = heap_alloc(heap, sizeof(*made));
        *made = (struct chain_node){NULL, node->number};
        *(copy->copied_to ? &copy->copied_to->next : &copy->first) = made;
        copy->copied_to = made;
        copy->count++;
        ++*cursor;
        if (spend(budget)) {
            return false;
        }
    }
    return true;
}

static bool chain_relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                                size_t *budget) {
    struct chain *chain = value->root;
    size_t copied;
    for (struct chain_node **at = &chain->first; *at; at = &(*at)->next) {
        *at = heap_relocate(heap, *at, sizeof(**at), &copied);
        *budget -= copied < *budget ? copied : *budget;
    }
    value->root = heap_relocate(heap, chain, sizeof(*chain), &copied);
    return true;
}

static const struct form chain_form = {
    .encoding = chain_encoding,
    .count = chain_count,
    .memory = chain_memory,
    .walk = chain_walk,
    .verify = chain_verify,
    .free_some = chain_free_some,
    .copy_some = chain_copy_some,
    .relocate_some = chain_relocate_some,
};

/* ---- A keyspace that has it ---- */

struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct hash_secret secret;
    struct forms forms;
    struct text heard; /* "event:key " of each */
    unsigned changed, pre_writes, pre_elements;
    bool pre_all; /* an element without a name */
    struct keyspace_before before;
};

static void before_write(void *arg, uint32_t db, const struct key *key, struct entry *entry) {
    ((struct fixture *)arg)->pre_writes++;
}

static void before_element(void *arg, const struct value *value, const struct bytes *element) {
    struct fixture *f = arg;
    cr_assert_gt(f->pre_writes, 0);
    cr_assert_eq(value->type, TYPE_LIST);
    f->pre_elements++;
    f->pre_all = element == NULL;
}

static bool on_reads(void *arg, const void *root) {
    return false;
}

static void on_changed(void *arg, const struct key_news *news) {
    ((struct fixture *)arg)->changed++;
}

static void on_heard(void *arg, const struct key_news *news) {
    struct fixture *f = arg;
    text_appendf(&f->heard, "%s:%.*s:%d ", event_rows[news->event].name,
                 bytes_precision(news->key->name), news->key->name.ptr, (int)news->type);
}

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof(*f));
    text_init(&f->heard);
    f->forms = value_forms;
    f->forms.of[TYPE_LIST][FORM_CHAIN] = &chain_form;
    f->heap = shard_heap_new();
    f->ks = keyspace_new(&(struct keyspace_options){
        .databases = 2,
        .secret = &f->secret,
        .heap = f->heap,
        .now_ms = NOW,
        .forms = &f->forms,
        .hooks = {.arg = f, .changed = on_changed, .heard = on_heard},
    });
    f->before = (struct keyspace_before){f, before_write, before_element, on_reads, NULL};
    keyspace_tell_before(f->ks, &f->before);
    keyspace_listen(f->ks, true);
    return f;
}

static void fixture_free(struct fixture *f) {
    keyspace_verify(f->ks);
    keyspace_tell_before(f->ks, NULL);
    keyspace_free(f->ks);
    cr_assert_eq(heap_used(f->heap), 0);
    shard_heap_free(f->heap);
    text_fini(&f->heard);
    free(f);
}

static struct key key_of(const struct fixture *f, const char *name) {
    return key_make(&f->secret, bytes_of_text(name));
}

static void cr_assert_heard(struct fixture *f, const char *expected) {
    cr_assert_str_eq(f->heard.ptr ? f->heard.ptr : "", expected);
    text_fini(&f->heard);
    text_init(&f->heard);
}

static struct entry *push(struct fixture *f, const char *name, uint64_t first, uint64_t count) {
    struct key key = key_of(f, name);
    struct entry *entry = keyspace_find(f->ks, 0, &key, NOW, LOOKUP_WRITE);
    struct change change;
    change_open(&change, f->ks, 0, &key, entry, NOW);
    if (!entry) {
        change_make(&change, chain_new(f->heap));
    }
    for (uint64_t i = 0; i < count; i++) {
        change_element(&change, NULL);
        chain_push(f->heap, &change.value, first + i);
    }
    return change_close(&change, EVENT_APPEND);
}

static struct entry *pop(struct fixture *f, const char *name, uint64_t count) {
    struct key key = key_of(f, name);
    struct change change;
    change_open(&change, f->ks, 0, &key, keyspace_find_any(f->ks, 0, &key), NOW);
    struct bytes element = BYTES("first");
    for (uint64_t i = 0; i < count; i++) {
        change_element(&change, &element);
        chain_pop(f->heap, &change.value);
    }
    return change_close(&change, EVENT_INCRBY);
}

static struct value value_at(struct fixture *f, const char *name) {
    struct key key = key_of(f, name);
    return entry_value_of(keyspace_find_any(f->ks, 0, &key));
}

/* ---- Tests ---- */

Test(change, tells_before_and_after_and_does_the_books) {
    struct fixture *f = fixture_new();
    push(f, "k", 1, 3);
    cr_assert_heard(f, "new:k:1 append:k:1 ");
    cr_assert_eq(f->pre_writes, 1);
    cr_assert_eq(f->pre_elements, 3);
    cr_assert(f->pre_all);
    cr_assert_eq(f->changed, 1);
    cr_assert_eq(keyspace_stats(f->ks)->changes, 1);
    keyspace_verify(f->ks);
    size_t memory = keyspace_memory(f->ks);
    push(f, "k", 4, 1000);
    cr_assert_heard(f, "append:k:1 ");
    cr_assert_geq(keyspace_memory(f->ks), memory + 1000 * sizeof(struct chain_node));
    fixture_free(f);
}

Test(change, without_an_event_nothing_was_changed) {
    struct fixture *f = fixture_new();
    struct entry *entry = push(f, "k", 1, 1);
    struct key key = key_of(f, "k");
    struct change change;
    change_open(&change, f->ks, 0, &key, entry, NOW);
    cr_assert_eq(change_close(&change, EVENT_NONE), entry);
    cr_assert_eq(f->changed, 1);
    cr_assert_eq(keyspace_stats(f->ks)->changes, 1);
    fixture_free(f);
}

Test(change, an_emptied_collection_goes_and_says_so) {
    struct fixture *f = fixture_new();
    push(f, "k", 1, 2);
    cr_assert_not_null(pop(f, "k", 1));
    cr_assert(!f->pre_all);
    cr_assert_heard(f, "new:k:1 append:k:1 incrby:k:1 ");
    cr_assert_null(pop(f, "k", 1));
    cr_assert_heard(f, "incrby:k:1 del:k:1 ");
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    cr_assert_eq(f->changed, 3);
    fixture_free(f);
}

Test(change, a_collection_takes_the_place_of_a_string_and_a_string_its_own) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    struct entry *entry = put_string(f->ks, 0, &key, BYTES("text"), NOW + 1000, NOW);
    struct change change;
    change_open(&change, f->ks, 0, &key, entry, NOW);
    change_make(&change, chain_new(f->heap));
    chain_push(f->heap, &change.value, 1);
    entry = change_close(&change, EVENT_APPEND);
    cr_assert_eq(entry_type(entry), TYPE_LIST);
    cr_assert_eq(entry_expires_at(entry), NO_EXPIRY);
    keyspace_verify(f->ks);
    entry = put_string(f->ks, 0, &key, BYTES("text"), NO_EXPIRY, NOW);
    cr_assert_eq(entry_type(entry), TYPE_STRING);
    fixture_free(f);
}

struct sum {
    uint64_t count, total;
};

static void add_up(void *arg, const struct value_element *element) {
    struct sum *sum = arg;
    uint64_t number;
    memcpy(&number, element->first.ptr, sizeof(number));
    sum->count++;
    sum->total += number;
}

static struct sum sum_of(struct fixture *f, const char *name) {
    struct value value = value_at(f, name);
    struct sum sum = {0};
    uint64_t cursor = 0;
    do {
        cursor = forms_find(&f->forms, &value)->walk(&value, cursor, 7, add_up, &sum);
    } while (cursor);
    return sum;
}

Test(change, copies_are_equal_and_independent_and_renames_move_the_root) {
    struct fixture *f = fixture_new();
    struct entry *entry = push(f, "k", 1, 100);
    struct key to = key_of(f, "copy"), other = key_of(f, "other"), from = key_of(f, "k");
    copy_key(f->ks, entry, 0, &to, NOW);
    keyspace_verify(f->ks);
    pop(f, "k", 50);
    cr_assert_eq(sum_of(f, "copy").count, 100);
    cr_assert_eq(sum_of(f, "copy").total, 5050);
    cr_assert_eq(sum_of(f, "k").count, 50);
    void *root = value_at(f, "k").root;
    keyspace_rename(f->ks, 0, &from, keyspace_find_any(f->ks, 0, &from), 0, &other, NOW);
    cr_assert_eq(value_at(f, "other").root, root);
    fixture_free(f);
}

Test(change, a_copy_can_be_made_in_slices_and_given_up_half_done) {
    struct fixture *f = fixture_new();
    push(f, "k", 1, 100);
    struct value from = value_at(f, "k"), to;
    uint64_t cursor = 0;
    unsigned slices = 0;
    bool done = false;
    while (!done) {
        size_t budget = 10 * STEP_BYTES;
        done = chain_form.copy_some(f->heap, &from, &to, &cursor, &budget);
        slices++;
    }
    cr_assert_geq(slices, 10);
    cr_assert_eq(chain_count(&to), 100);
    value_free(&f->forms, f->heap, &to);
    size_t budget = 10 * STEP_BYTES;
    cursor = 0;
    cr_assert_not(chain_form.copy_some(f->heap, &from, &to, &cursor, &budget));
    value_free(&f->forms, f->heap, &to);
    fixture_free(f);
}

/* What another shard lends, which takes long to copy, is put when its copy is whole. */
Test(change, a_lent_value_is_copied_in_slices_and_then_put) {
    struct fixture *f = fixture_new(), *other = fixture_new();
    struct entry *entry = push(other, "from", 0, 5000);
    struct loan loan = keyspace_lend(other->ks, entry);
    cr_assert(keyspace_put_is_long(f->ks, &loan));
    struct key key = key_of(f, "to");
    put_string(f->ks, 0, &key, BYTES("in the way"), NOW + 5000, NOW);
    struct value_copy copy = value_copy_begin(&loan);
    unsigned slices = 1;
    while (!keyspace_copy_some(f->ks, &copy)) {
        slices++;
        cr_assert_eq(entry_type(keyspace_find(f->ks, 0, &key, NOW, LOOKUP_WRITE)), TYPE_STRING);
    }
    cr_assert_gt(slices, 10);
    text_fini(&f->heard);
    text_init(&f->heard);
    keyspace_put_copy(f->ks, 0, &key, &copy, NOW + 7000, NOW, EVENT_COPY_TO);
    cr_assert_heard(f, "new:to:1 copy_to:to:1 ");
    keyspace_take_back(other->ks, 1);
    struct entry *made = keyspace_find(f->ks, 0, &key, NOW, LOOKUP_WRITE);
    struct value value = entry_value_of(made);
    cr_assert_eq(chain_count(&value), 5000);
    cr_assert_eq(entry_expires_at(made), NOW + 7000);
    keyspace_verify(f->ks);
    fixture_free(other);
    fixture_free(f);
}

Test(change, a_slot_is_lent_copied_and_dropped) {
    struct fixture *f = fixture_new(), *other = fixture_new();
    char name[32];
    uint16_t slot = key_slot(BYTES("{x}"));
    push(other, "{x}long", 0, 5000);
    push(other, "{x}short", 0, 3);
    push(other, "elsewhere", 0, 3);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "{x}%d", i);
        struct key key = key_of(other, name);
        put_string(other->ks, i % 2, &key, BYTES("value"), i % 3 ? NO_EXPIRY : NOW + 900, NOW);
    }
    struct slot_loan *lent = keyspace_lend_slot(other->ks, slot);
    text_fini(&f->heard);
    text_init(&f->heard);
    unsigned slices = 1;
    while (!keyspace_put_slot(f->ks, lent, NOW)) {
        slices++;
    }
    cr_assert_gt(slices, 12);
    keyspace_drop_slot(other->ks, lent);
    cr_assert_heard(f, "");
    cr_assert_eq(keyspace_count(other->ks, 0), 1);
    cr_assert_eq(keyspace_count(other->ks, 1), 0);
    cr_assert_eq(keyspace_count(f->ks, 0), 502);
    cr_assert_eq(keyspace_count(f->ks, 1), 500);
    cr_assert_eq(keyspace_count_expiring(f->ks, 0) + keyspace_count_expiring(f->ks, 1), 334);
    keyspace_verify(f->ks);
    keyspace_verify(other->ks);
    fixture_free(other);
    fixture_free(f);
}

Test(change, a_large_value_is_freed_in_slices_and_its_bytes_are_counted_meanwhile) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k"), other = key_of(f, "other");
    push(f, "k", 1, 1000);
    put_string(f->ks, 0, &other, BYTES("v"), NO_EXPIRY, NOW);
    cr_assert(drop_key(f->ks, 0, &key, NOW, true));
    cr_assert_eq(keyspace_count(f->ks, 0), 1);
    cr_assert_eq(keyspace_slot_memory(f->ks, 0, key.slot), 0);
    keyspace_verify(f->ks);
    size_t memory = keyspace_memory(f->ks);
    cr_assert_gt(memory, 900 * sizeof(struct chain_node));
    cr_assert_eq(keyspace_stats(f->ks)->lazyfree_pending, 1);
    unsigned slices = 0;
    while (keyspace_stats(f->ks)->lazyfree_pending > 0) {
        cr_assert_eq(keyspace_work(f->ks, NOW), NOW);
        keyspace_verify(f->ks);
        cr_assert_lt(keyspace_memory(f->ks), memory);
        memory = keyspace_memory(f->ks);
        slices++;
    }
    cr_assert_gt(slices, 3);
    cr_assert_eq(keyspace_stats(f->ks)->lazyfreed, 1);
    fixture_free(f);
}

Test(change, who_does_not_ask_for_slices_frees_at_once) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "k");
    push(f, "k", 1, 1000);
    size_t used = heap_used(f->heap);
    cr_assert(drop_key(f->ks, 0, &key, NOW, false));
    cr_assert_lt(heap_used(f->heap) + 1000 * sizeof(struct chain_node), used);
    cr_assert_eq(keyspace_stats(f->ks)->lazyfree_pending, 0);
    fixture_free(f);
}

Test(change, a_flush_frees_large_values_in_slices_too) {
    struct fixture *f = fixture_new();
    push(f, "k", 1, 1000);
    push(f, "l", 1, 1000);
    keyspace_flush(f->ks, 0, true);
    unsigned slices = 0;
    while (keyspace_memory(f->ks) > 0) {
        keyspace_work(f->ks, NOW);
        keyspace_verify(f->ks);
        slices++;
    }
    cr_assert_gt(slices, 3);
    fixture_free(f);
}

Test(change, nobody_who_does_not_listen_hears_notes) {
    struct fixture *f = fixture_new();
    keyspace_listen(f->ks, false);
    push(f, "k", 1, 1);
    pop(f, "k", 1);
    cr_assert_heard(f, "");
    cr_assert_eq(f->changed, 2);
    fixture_free(f);
}
