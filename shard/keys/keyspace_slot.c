/* SPDX-License-Identifier: BSD-3-Clause */
/* A slot on its way to another shard: all its keys are lent, the other shard copies them, and then
 * they go here. Nobody else may look at either meanwhile. Blocks belong to a heap, so values are
 * copied, in slices; of one that can be shared only the reference goes, and it is copied later.
 */
#include "shard/keys/keyspace_private.h"

#include "base/must.h"

#include <stdlib.h>

/* Of small keys, in one slice. */
#define KEYS_A_SLICE 200

struct slot_item {
    uint32_t db;
    struct entry *entry; /* the lender's */
};

struct slot_loan {
    uint16_t slot;
    uint64_t count, capacity;
    uint64_t put; /* the borrower's: so many are there */
    bool copying; /* and of the next some */
    struct value_copy copy;
    struct slot_item items[];
};

struct noting {
    struct slot_loan *slot;
    uint32_t db;
};

static void note_entry(void *arg, void *item) {
    struct noting *noting = arg;
    check(noting->slot->count < noting->slot->capacity);
    noting->slot->items[noting->slot->count++] = (struct slot_item){noting->db, item};
}

static struct table *table_of(const struct keyspace *ks, uint32_t db, uint16_t slot) {
    return ks->databases[db] ? &ks->databases[db]->slots[slot].table : NULL;
}

struct slot_loan *keyspace_lend_slot(struct keyspace *ks, uint16_t slot) {
    uint64_t count = 0;
    for (uint32_t db = 0; db < ks->database_count; db++) {
        const struct table *table = table_of(ks, db, slot);
        count += table ? table->count : 0;
    }
    rewrite_forget(ks, UINT32_MAX, slot);
    struct slot_loan *lent = must_calloc(1, sizeof *lent + count * sizeof lent->items[0]);
    lent->slot = slot;
    lent->capacity = count;
    for (uint32_t db = 0; db < ks->database_count; db++) {
        const struct table *table = table_of(ks, db, slot);
        if (table && table->count > 0) {
            struct noting noting = {lent, db};
            table_walk(table, &ks->env, 0, TABLE_PLACE_END, UINT64_MAX, note_entry, &noting);
        }
    }
    check(lent->count == count);
    ks->loans++;
    return lent;
}

/* False: its value takes long, and is not whole yet. */
static bool put_item(struct keyspace *ks, struct slot_loan *lent, int64_t now_ms) {
    const struct slot_item *item = &lent->items[lent->put];
    struct key key = entry_make_key(ks, item->entry, lent->slot);
    struct loan loan = entry_loan(item->entry);
    loan.entry = NULL;
    check(keyspace_find_any(ks, item->db, &key) == NULL);
    struct entry *entry;
    if (lent->copying || keyspace_put_is_long(ks, &loan)) {
        lent->copy = lent->copying ? lent->copy : value_copy_begin(&loan);
        lent->copying = !keyspace_copy_some(ks, &lent->copy);
        if (lent->copying) {
            return false;
        }
        entry = keyspace_put_copy(ks, item->db, &key, &lent->copy, loan.expires_at, now_ms,
                                  EVENT_MOVE_TO);
    } else {
        entry = keyspace_put(ks, item->db, &key, &loan, now_ms, EVENT_MOVE_TO);
    }
    entry->lru = item->entry->lru;
    return true;
}

bool keyspace_put_slot(struct keyspace *ks, struct slot_loan *lent, int64_t now_ms) {
    struct keyspace_hooks hooks = ks->hooks; /* nothing of it is news */
    bool listening = ks->listening;
    uint64_t changes = ks->stats.changes;
    ks->hooks = (struct keyspace_hooks){0};
    ks->listening = false;
    uint64_t end = lent->put + KEYS_A_SLICE;
    while (lent->put < lent->count && lent->put < end && put_item(ks, lent, now_ms)) {
        lent->put++;
    }
    ks->hooks = hooks;
    ks->listening = listening;
    ks->stats.changes = changes;
    return lent->put == lent->count;
}

void keyspace_drop_slot(struct keyspace *ks, struct slot_loan *lent) {
    for (uint64_t i = 0; i < lent->count; i++) {
        const struct slot_item *item = &lent->items[i];
        struct key key = entry_make_key(ks, item->entry, lent->slot);
        hook_pre_write(ks, item->db, &key, item->entry);
        database_delete(ks, ks->databases[item->db], &key, item->entry, true);
    }
    ks->loans--;
    free(lent);
}
