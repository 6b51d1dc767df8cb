/* SPDX-License-Identifier: BSD-3-Clause */
/* cut: see the header. */
#include "shard/keys/keyspace_private.h"

#include "base/hash.h"

void keyspace_tell_before(struct keyspace *ks, const struct keyspace_before *before) {
    ks->before = before;
}

const void *keyspace_would_stall(struct keyspace *ks, uint32_t db, const struct key *key,
                                 const struct entry *entry) {
    const struct keyspace_before *before = ks->before;
    return before != NULL && before->stalls(before->arg, db, key, entry)
               ? entry_value_of(entry).root
               : NULL;
}

bool keyspace_is_read(const struct keyspace *ks, const void *root) {
    return root_is_read(ks, root);
}

uint32_t keyspace_database_count(const struct keyspace *ks) {
    return ks->database_count;
}

struct database *keyspace_hold(struct keyspace *ks, uint32_t db) {
    check(db < ks->database_count);
    struct database *database = ks->databases[db];
    if (database) {
        database->holds++;
    }
    return database;
}

void keyspace_release(struct keyspace *ks, struct database *database) {
    check(database->holds > 0);
    if (--database->holds == 0 && list_node_linked(&database->link)) {
        list_remove(&database->link);
        list_push_back(&ks->garbage, &database->link);
    }
}

bool keyspace_is_at(const struct keyspace *ks, const struct database *database, uint32_t db) {
    return keyspace_peek(ks, db) == database;
}

uint32_t keyspace_held_count(const struct database *database, uint16_t slot) {
    return database->group_counts[slot >> GROUP_BITS] ? database->slots[slot].table.count : 0;
}

struct showing {
    keyspace_visit_fn *visit;
    void *arg;
};

static void show(void *arg, void *item) {
    const struct showing *showing = arg;
    showing->visit(showing->arg, item);
}

uint64_t keyspace_walk_held(const struct keyspace *ks, const struct database *database,
                            uint16_t slot, uint64_t place, uint64_t count, keyspace_visit_fn *visit,
                            void *arg) {
    struct showing showing = {visit, arg};
    return table_walk(&database->slots[slot].table, &ks->env, place, TABLE_PLACE_END, count, show,
                      &showing);
}

void keyspace_each_of_hash(const struct keyspace *ks, const struct database *database,
                           const struct key *key, keyspace_visit_fn *visit, void *arg) {
    struct table_probe probe = table_probe(&database->slots[key->slot].table, key->hash);
    struct entry *entry;
    while ((entry = table_probe_next(&probe)) != NULL) {
        struct bytes name = entry_key_bytes(entry);
        if (bytes_equal(name, key->name) || hash_bytes(ks->secret->bytes, name) == key->hash) {
            visit(arg, entry);
        }
    }
}

void keyspace_let_go(struct keyspace *ks, const void *root) {
    LIST_EACH(&ks->kept, node) {
        if (LIST_ENTRY(node, struct waste, link)->value.root == root) {
            list_remove(node);
            list_push_back(&ks->wastes, node);
            return;
        }
    }
}
