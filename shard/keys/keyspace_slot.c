/* SPDX-License-Identifier: BSD-3-Clause */
/* A slot on its way to another shard: its keys are taken out of one keyspace and put into another,
 * while nobody may look at either. Small values are copied, because their blocks belong to a heap;
 * of large ones only the reference goes.
 */
#include "shard/keys/keyspace_private.h"

#include "base/must.h"

#include <stdlib.h>

struct cargo_item {
    uint32_t db;
    struct key key; /* its name is a block of its own; so are the bytes of an inline value */
    struct loan loan;
    uint32_t lru;
};

struct slot_cargo {
    uint64_t count;
    struct cargo_item items[];
};

/* Walks one table twice: its entries cannot be deleted while it is walked. */
struct taking {
    struct slot_cargo *cargo;
    struct entry **entries;
    uint64_t count;
};

static void note_entry(void *arg, void *item) {
    struct taking *taking = arg;
    taking->entries[taking->count++] = item;
}

/* The value stays when its entry goes. */
static void keep_value(struct keyspace *ks, struct value *value) {
    if (value_is_inline(value)) {
        char *text = must_malloc(value->bytes.len + 1);
        memcpy(text, value->bytes.ptr, value->bytes.len);
        value->bytes.ptr = text;
    } else if (value_is_rooted(value)) {
        const struct form *form = forms_find(ks->forms, value);
        form->share(ks->heap, value, value);
        heap_disown(ks->heap, form->memory(value));
    }
}

static void drop_value(struct keyspace *ks, struct value *value) {
    if (value_is_inline(value)) {
        free((char *)value->bytes.ptr);
    } else if (value_is_rooted(value)) {
        heap_adopt(ks->heap, value_memory(ks->forms, value));
        value_free(ks->forms, ks->heap, value);
    }
}

static void take_table(struct keyspace *ks, uint32_t db, uint16_t slot, struct slot_cargo *cargo) {
    struct database *database = ks->databases[db];
    struct table *table = &database->slots[slot].table;
    struct taking taking = {.entries = must_malloc(table->count * sizeof(struct entry *))};
    table_walk(table, &ks->env, 0, TABLE_PLACE_END, UINT64_MAX, note_entry, &taking);
    for (uint64_t i = 0; i < taking.count; i++) {
        struct entry *entry = taking.entries[i];
        struct cargo_item *item = &cargo->items[cargo->count++];
        struct key key = entry_make_key(ks, entry, slot);
        check(key.name.len < SIZE_MAX); /* else gcc warns of what cannot be */
        char *name = must_malloc(key.name.len + 1);
        memcpy(name, key.name.ptr, key.name.len);
        *item = (struct cargo_item){db, key, entry_loan(entry), entry->lru};
        item->key.name.ptr = name;
        item->loan.entry = NULL;
        keep_value(ks, &item->loan.value);
        database_delete(ks, database, &item->key, entry, false);
    }
    free(taking.entries);
}

struct slot_cargo *keyspace_take_slot(struct keyspace *ks, uint16_t slot) {
    uint64_t count = 0;
    for (uint32_t db = 0; db < ks->database_count; db++) {
        count += ks->databases[db] != NULL ? ks->databases[db]->slots[slot].table.count : 0;
    }
    rewrite_forget(ks, UINT32_MAX, slot);
    struct slot_cargo *cargo = must_calloc(1, sizeof *cargo + count * sizeof cargo->items[0]);
    for (uint32_t db = 0; db < ks->database_count; db++) {
        if (ks->databases[db] != NULL && ks->databases[db]->slots[slot].table.count > 0) {
            take_table(ks, db, slot, cargo);
        }
    }
    check(cargo->count == count);
    return cargo;
}

void keyspace_put_slot(struct keyspace *ks, struct slot_cargo *cargo, int64_t now_ms) {
    struct keyspace_hooks hooks = ks->hooks; /* nothing of it is news */
    bool listening = ks->listening;
    uint64_t changes = ks->stats.changes;
    ks->hooks = (struct keyspace_hooks){0};
    ks->listening = false;
    for (uint64_t i = 0; i < cargo->count; i++) {
        struct cargo_item *item = &cargo->items[i];
        check(keyspace_find_any(ks, item->db, &item->key) == NULL);
        struct entry *entry =
            keyspace_put(ks, item->db, &item->key, &item->loan, now_ms, EVENT_MOVE_TO);
        entry->lru = item->lru & 0xFFFFFF;
        drop_value(ks, &item->loan.value);
        free((char *)item->key.name.ptr);
    }
    ks->hooks = hooks;
    ks->listening = listening;
    ks->stats.changes = changes;
    free(cargo);
}
