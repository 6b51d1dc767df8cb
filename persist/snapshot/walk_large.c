/* SPDX-License-Identifier: BSD-3-Clause */
/* What waits to be shown: large values, in pieces, while they change; and small ones that were
 * about to change while a large one was half shown.
 *
 * Three kinds of large values, by what their changes are told as:
 *
 *  - A string lies in one block, which is pinned: who changes it makes a copy first, as for one
 *    that is being sent.
 *  - A table (sets, hashes, sorted sets) is walked in the order of hashes, as a slot is. An element
 *    that stands behind the cursor and is about to change is written to `rest`, and its hash
 *    settled; the walk passes over settled ones, and `rest` comes behind what it writes. The count
 *    in front is that of the cut.
 *  - Of lists and streams, and of tables where many elements change at once, no element is named:
 *    what is left is written to `rest` at once. That is a copy at the speed of memory, and a stall:
 *    who can put a change off asks walks_would_stall. Then the value is read in slices: what can be
 *    shown is, and what cannot yet, as another one is half shown, or the disk is slow, waits in
 *    memory, so the change waits for no more than its own value. walk_progress says what those who
 *    did not ask have cost.
 *
 * A value is known by its root, which is neither moved nor freed while it is read: so a key may be
 * deleted, replaced or renamed, and nothing is written for it.
 */
#include "persist/snapshot/walk_private.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/must.h"
#include "persist/codec/rdb_write.h"
#include "shard/ds/table.h"
#include "shard/types/string.h"

#include <stdlib.h>

#define ELEMENTS_AT_A_TIME 32

static const struct form *form_of(const struct value *value) {
    return forms_find(&value_forms, value);
}

/* What lies in one block is written as it is, in one go; a string can be pinned. */
bool walk_is_large(const struct walk *walk, const struct value *value) {
    if (!value_is_rooted(value)) {
        return false;
    }
    const struct form *form = form_of(value);
    return form->memory(value) > walk->large_bytes &&
           (value->type == TYPE_STRING || form->pieces != NULL);
}

static bool names_elements(const struct value *value) {
    return form_of(value)->names != NULL;
}

bool walk_stalls(const struct walk *walk, const struct value *value) {
    return walk_is_large(walk, value) && value->type != TYPE_STRING && !names_elements(value) &&
           form_of(value)->memory(value) > walk->stall_bytes;
}

static bool is_table(const struct waiting *waiting) {
    return names_elements(&waiting->write.value);
}

/* ---- Waiting ---- */

static struct waiting *waiting_new(struct walk *walk, const struct walk_item *item) {
    struct waiting *waiting = must_calloc(1, sizeof *waiting);
    char *name = must_malloc(item->name.len + 1);
    memcpy(name, item->name.ptr, item->name.len);
    waiting->item = *item;
    waiting->item.name = bytes_make(name, item->name.len);
    waiting->item.entry = NULL;
    text_init(&waiting->rest);
    list_node_init(&waiting->reader);
    list_node_init(&waiting->link);
    list_push_back(&walk->waiting, &waiting->link);
    return waiting;
}

void walk_wait_bytes(struct walk *walk, const struct walk_item *item, struct bytes value) {
    struct waiting *waiting = waiting_new(walk, item);
    text_append_bytes(&waiting->rest, value);
}

void walk_wait(struct walk *walk, const struct walk_item *item, struct entry *entry) {
    struct waiting *waiting = waiting_new(walk, item);
    struct value value = entry_value_of(entry);
    check(value_write_begin(&waiting->write, &value, item->version, walk->options.compress));
    if (value.type == TYPE_STRING) {
        waiting->pin = string_pin(entry, &waiting->string);
        check(waiting->pin);
        rdb_put_length(&waiting->rest, waiting->string.len);
        return;
    }
    waiting->root = value.root;
    waiting->count = form_of(&value)->count(&value);
    list_push_back(&walk->readers, &waiting->reader);
}

struct waiting *walk_reader(const struct walk *walk, const void *root) {
    LIST_EACH(&walk->readers, node) {
        struct waiting *waiting = LIST_ENTRY(node, struct waiting, reader);
        if (waiting->root == root) {
            return waiting;
        }
    }
    return NULL;
}

void walk_hurry(struct walk *walk, struct waiting *waiting) {
    if (waiting->hurried) {
        return;
    }
    waiting->hurried = true;
    if (waiting->started) {
        return;
    }
    struct list_node *first = list_first(&walk->waiting);
    list_remove(&waiting->link);
    if (walk->open) {
        list_insert_after(first, &waiting->link);
    } else {
        list_push_front(&walk->waiting, &waiting->link);
    }
}

/* It has been read; another walk may still be reading it. */
static void let_root_go(struct walk *walk, struct waiting *waiting) {
    const void *root = waiting->root;
    if (root == NULL) {
        return;
    }
    waiting->root = NULL;
    list_remove(&waiting->reader);
    if (!walks_read(walk->walks, root)) {
        keyspace_let_go(walk->ks, root);
    }
}

void waiting_free(struct walk *walk, struct waiting *waiting) {
    let_root_go(walk, waiting);
    if (waiting->pin) {
        string_unpin(waiting->pin);
    }
    list_remove(&waiting->link);
    marks_fini(&waiting->settled);
    text_fini(&waiting->rest);
    free((char *)(uintptr_t)waiting->item.name.ptr);
    free(waiting);
}

/* ---- Elements ---- */

struct writing {
    struct walk *walk;
    struct waiting *waiting;
    struct text *out;
};

static uint64_t hash_of(const struct walk *walk, struct bytes element) {
    return hash_bytes(keyspace_secret(walk->ks)->bytes, element);
}

static void write_element(void *arg, const struct value_element *element) {
    const struct writing *writing = arg;
    const struct waiting *waiting = writing->waiting;
    if (waiting->settled.count > 0 &&
        marks_has(&waiting->settled, hash_of(writing->walk, element->first), 0)) {
        return;
    }
    value_write_element(&waiting->write, element, writing->out);
}

/* Writes from the root until `out` has `end` bytes; when all is written lets it go. */
static void write_some(struct walk *walk, struct waiting *waiting, struct text *out, size_t end) {
    struct value_write *write = &waiting->write;
    bool done;
    if (is_table(waiting)) {
        const struct form *form = form_of(&write->value);
        struct writing writing = {walk, waiting, out};
        do {
            waiting->cursor = form->walk(&write->value, waiting->cursor, ELEMENTS_AT_A_TIME,
                                         write_element, &writing);
        } while (waiting->cursor != 0 && out->len < end);
        done = waiting->cursor == 0;
    } else {
        done = value_write_some(write, out, end - out->len);
    }
    if (done) {
        let_root_go(walk, waiting);
    }
}

/* It grows in one step, not in twenty that are copied. */
static void make_room(struct waiting *waiting) {
    text_reserve(&waiting->rest, form_of(&waiting->write.value)->memory(&waiting->write.value));
}

/* All that is left: of a table in front of the elements that have been saved. */
static void write_rest(struct walk *walk, struct waiting *waiting) {
    struct text saved;
    text_init(&saved);
    if (is_table(waiting)) {
        saved = waiting->rest;
        text_init(&waiting->rest);
    }
    size_t bytes = waiting->rest.len;
    make_room(waiting);
    write_some(walk, waiting, &waiting->rest, SIZE_MAX);
    bytes = waiting->rest.len - bytes;
    text_append_bytes(&waiting->rest, text_bytes(&saved));
    text_fini(&saved);
    struct walk_progress *progress = &walk->progress;
    progress->stall_bytes_max =
        bytes > progress->stall_bytes_max ? bytes : progress->stall_bytes_max;
    struct walks *walks = walk->walks;
    walks->stall_bytes_max = bytes > walks->stall_bytes_max ? bytes : walks->stall_bytes_max;
}

static struct waiting *first_hurried(const struct walk *walk) {
    LIST_EACH(&walk->readers, node) {
        struct waiting *waiting = LIST_ENTRY(node, struct waiting, reader);
        if (waiting->hurried) {
            return waiting;
        }
    }
    return NULL;
}

bool walk_is_hurried(const struct walk *walk) {
    return first_hurried(walk) != NULL;
}

bool walk_reads_ahead(const struct walk *walk) {
    const struct waiting *waiting = first_hurried(walk);
    return waiting != NULL && &waiting->link != list_first(&walk->waiting);
}

bool walk_read_hurried(struct walk *walk, size_t budget) {
    struct waiting *waiting = first_hurried(walk);
    if (waiting == NULL) {
        return false;
    }
    if (waiting->rest.len == 0) {
        make_room(waiting);
    }
    size_t before = waiting->rest.len;
    write_some(walk, waiting, &waiting->rest, before + budget);
    walk->spent += waiting->rest.len - before;
    return true;
}

struct saving {
    const struct walk *walk;
    struct waiting *waiting;
    uint64_t hash;
};

static void save_element(void *arg, const struct value_element *element) {
    const struct saving *saving = arg;
    if (hash_of(saving->walk, element->first) == saving->hash) {
        value_write_element(&saving->waiting->write, element, &saving->waiting->rest);
    }
}

void waiting_settle(struct walk *walk, struct waiting *waiting, const struct bytes *element) {
    if (element == NULL || !is_table(waiting)) {
        write_rest(walk, waiting);
        return;
    }
    struct saving saving = {walk, waiting, hash_of(walk, *element)};
    uint64_t place = table_place(saving.hash);
    if (place < table_cursor_place(waiting->cursor) || /* it is written */
        !marks_add(&waiting->settled, saving.hash, 0)) {
        return;
    }
    form_of(&waiting->write.value)
        ->walk(&waiting->write.value, table_cursor(place), 1, save_element, &saving);
}

/* ---- Showing ---- */

/* A piece has at least so many bytes, if there are. */
#define PIECE_BYTES_MIN ((size_t)1 << 10)

static struct bytes next_bytes(struct waiting *waiting, size_t budget) {
    size_t left = waiting->rest.len - waiting->rest_shown;
    if (left > 0) {
        size_t n = left < budget ? left : budget;
        struct bytes piece = bytes_make(waiting->rest.ptr + waiting->rest_shown, n);
        waiting->rest_shown += n;
        return piece;
    }
    size_t n = waiting->string.len < budget ? waiting->string.len : budget;
    struct bytes piece = bytes_make(waiting->string.ptr, n);
    waiting->string = bytes_make(piece.ptr + n, waiting->string.len - n);
    return piece;
}

void walk_show_waiting(struct walk *walk, size_t budget) {
    struct waiting *waiting = LIST_ENTRY(list_first(&walk->waiting), struct waiting, link);
    bool first = !waiting->started;
    struct text *out = &walk->out;
    budget = budget > PIECE_BYTES_MIN ? budget : PIECE_BYTES_MIN;
    text_clear(out);
    walk->open = waiting->started = true;
    if (first && waiting->count > 0 && is_table(waiting)) {
        rdb_put_length(out, waiting->count);
    }
    bool is_ahead = waiting->root && !is_table(waiting) && waiting->rest_shown < waiting->rest.len;
    if (waiting->root && !is_ahead) {
        write_some(walk, waiting, out, out->len + budget);
    }
    struct bytes piece = out->len > 0 ? text_bytes(out) : next_bytes(waiting, budget);
    bool last = waiting->root == NULL && waiting->rest_shown == waiting->rest.len &&
                waiting->string.len == 0;
    walk_show(walk, &waiting->item, piece, first, last);
    if (last) {
        walk->open = false;
        waiting_free(walk, waiting);
    }
}
