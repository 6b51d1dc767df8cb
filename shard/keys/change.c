/* SPDX-License-Identifier: BSD-3-Clause */
/* change: see the header.
 *
 * Invariant: between two calls of change_book, only this key's value takes from the heap or gives
 * back; what else does (tables, wheels) is booked by itself in between.
 */
#include "shard/keys/keyspace_private.h"

void change_open(struct change *change, struct keyspace *ks, uint32_t db, const struct key *key,
                 struct entry *entry, int64_t now_ms) {
    check_slow(entry == NULL || entry == keyspace_find_any(ks, db, key));
    /* One that is hidden may be in the way. */
    check(entry || !keyspace_find_old(ks, db, key, now_ms));
    change_begin(change, ks, db, key, entry, now_ms);
    change->elements_due = NO_EXPIRY;
    if (entry) {
        change->value = entry_get(entry);
        change->elements_due = entry_elements_due(ks->forms, entry);
    }
}

void change_drop(struct change *change) {
    change_book(change);
    database_delete(change->ks, change->database, change->key, change->entry, true);
    change->entry = NULL;
    change->elements_due = NO_EXPIRY;
    change->used = heap_used(change->ks->heap);
}

struct entry *change_reshape(struct change *change, bool has_ttl, enum value_form form,
                             size_t value_length) {
    struct keyspace *ks = change->ks;
    struct entry *old = change->entry;
    if (!old) {
        change->entry = entry_new(ks->heap, change->key->name, has_ttl, form, value_length);
        database_link(ks, change->database, change->key, change->entry);
        return change->entry;
    }
    change->entry = entry_reshape(ks->heap, old, has_ttl, form, value_length);
    database_moved(change->database, change->key, old, change->entry);
    return change->entry;
}

void change_deadline(struct change *change, int64_t old_deadline, int64_t deadline) {
    change_book(change);
    if (deadline != NO_EXPIRY) {
        entry_put_deadline(change->entry, deadline);
    }
    change->ks->now_ms = change->now_ms;
    database_deadline_changed(change->ks, change->database, change->key, change->entry,
                              old_deadline, deadline);
    change->used = heap_used(change->ks->heap);
}

void change_make(struct change *change, struct value value) {
    check(value.form != FORM_INT);
    if (change->entry) {
        change_drop(change);
    }
    bool is_inline = value_is_inline(&value);
    struct entry *entry =
        change_shape(change, false, (enum value_form)value.form, is_inline ? value.bytes.len : 0);
    entry->type = value.type & 15;
    entry->lru = lru_fresh(change->ks, change->now_ms) & 0xFFFFFF;
    if (is_inline) {
        memcpy(entry_value(entry), value.bytes.ptr, value.bytes.len);
    } else {
        entry_put_root(entry, value.root);
    }
    change->value = entry_get(entry);
}

char *change_inline(struct change *change, enum value_form form, size_t length) {
    check_slow(form_is_inline(form));
    bool has_ttl = change->entry->flags & ENTRY_HAS_TTL;
    struct entry *entry = change_shape(change, has_ttl, form, length);
    change->value = entry_get(entry);
    return entry_value(entry);
}

const struct hash_secret *change_secret(const struct change *change) {
    return change->ks->secret;
}

struct shard_heap *change_heap(const struct change *change) {
    return change->ks->heap;
}

void change_discard(struct change *change, struct value value) {
    change_book(change);
    root_free(change->ks, change->slot, &value, FREE_UNCOUNTED);
    change_book(change);
}

bool change_is_told(const struct change *change) {
    return change->ks->before != NULL;
}

void change_element(struct change *change, const struct bytes *element) {
    const struct keyspace_before *before = change->ks->before;
    if (UNLIKELY(before != NULL)) {
        before->element(before->arg, &change->value, element);
    }
}

/* What the type's functions made of a collection. */
static void put_back(struct change *change) {
    const struct value *value = &change->value;
    if (value_is_inline(value)) {
        check_slow(value->bytes.ptr == entry_value(change->entry));
        return;
    }
    check_slow(value_is_rooted(value));
    bool has_ttl = change->entry->flags & ENTRY_HAS_TTL;
    struct entry *entry = change_shape(change, has_ttl, (enum value_form)value->form, 0);
    entry_put_root(entry, value->root);
}

/* The wheel learns when the next of its elements is over. */
static void follow_elements(struct change *change, int64_t due) {
    change_book(change);
    change->ks->now_ms = change->now_ms;
    database_elements_due_changed(change->ks, change->database, change->key, change->entry,
                                  change->elements_due, due);
    change->used = heap_used(change->ks->heap);
}

struct entry *change_close(struct change *change, enum key_event event) {
    struct keyspace *ks = change->ks;
    struct entry *entry = change->entry;
    enum value_type type = entry ? entry_type(entry) : TYPE_STRING;
    bool emptied = false;
    if (entry && UNLIKELY(type != TYPE_STRING)) {
        put_back(change);
        entry = change->entry;
        const struct form *form = forms_find(ks->forms, &change->value);
        int64_t due = form->next_deadline != NULL ? form->next_deadline(&change->value) : NO_EXPIRY;
        if (UNLIKELY(due != change->elements_due)) {
            follow_elements(change, due);
        }
        emptied = form->count(&change->value) == 0 && !type_may_be_empty(type);
    }
    change_book(change);
    if (UNLIKELY(change->is_new) && entry) {
        keyspace_note(ks, change->db, change->key, EVENT_NEW, type);
    }
    if (LIKELY(event != EVENT_NONE)) {
        keyspace_tell(ks, change->db, change->key, event, type);
    }
    if (UNLIKELY(emptied)) {
        database_delete(ks, change->database, change->key, entry, true);
        keyspace_note(ks, change->db, change->key, EVENT_DEL, type);
        return NULL;
    }
    return entry;
}

struct entry *change_close_quietly(struct change *change, enum key_event event) {
    struct keyspace *ks = change->ks;
    check(change->entry && !change->is_new && type_may_be_empty(entry_type(change->entry)));
    put_back(change);
    change_book(change);
    ks->stats.changes++;
    enum value_type type = entry_type(change->entry);
    if (event == EVENT_XGROUP_DESTROY && ks->hooks.changed) {
        struct key_news news = {change->key, change->db, event, type};
        ks->hooks.changed(ks->hooks.arg, &news); /* for who waits for it */
    }
    if (event != EVENT_NONE) {
        keyspace_note(ks, change->db, change->key, event, type);
    }
    return change->entry;
}
