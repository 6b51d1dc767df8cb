/* SPDX-License-Identifier: BSD-3-Clause */
/* unshown: see the header. Why by the root: keys may go meanwhile (a flush has the whole shard, and
 * nothing shuts it out), but what a root leads to stays until it is read.
 */
#include "shard/unshown.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/keys/cut.h"

#include <stdlib.h>

struct unshown_key {
    struct lock_closing closing;
    struct list_node node;
    const void *root; /* of its value */
};

void unshown_init(struct unshown *unshown) {
    list_init(&unshown->keys);
    unshown->closed = 0;
}

void unshown_fini(struct unshown *unshown) {
    check(list_empty(&unshown->keys));
}

bool unshown_close(struct unshown *unshown, struct locks *locks, struct keyspace *ks, uint32_t db,
                   const struct key *key) {
    const struct entry *entry = keyspace_find_any(ks, db, key);
    const void *root = entry != NULL ? keyspace_would_stall(ks, db, key, entry) : NULL;
    if (LIKELY(root == NULL)) {
        return false;
    }
    if (locks_is_closed(locks, key->hash)) { /* or one of the same hash */
        return true;
    }
    struct unshown_key *unshown_key = must_malloc(sizeof *unshown_key);
    lock_closing_init(&unshown_key->closing);
    unshown_key->closing.to_changes = true;
    unshown_key->root = root;
    unshown->closed++;
    list_push_back(&unshown->keys, &unshown_key->node);
    locks_close(locks, &unshown_key->closing, key->hash);
    return true;
}

static struct unshown_key *first_due(const struct unshown *unshown, const struct keyspace *ks) {
    LIST_EACH(&unshown->keys, node) {
        struct unshown_key *key = LIST_ENTRY(node, struct unshown_key, node);
        if (!keyspace_is_read(ks, key->root)) {
            return key;
        }
    }
    return NULL;
}

bool unshown_is_due(const struct unshown *unshown, const struct keyspace *ks) {
    return first_due(unshown, ks) != NULL;
}

bool unshown_open(struct unshown *unshown, struct locks *locks, const struct keyspace *ks,
                  void (*before)(void *arg), void *arg) {
    struct unshown_key *key = first_due(unshown, ks);
    if (LIKELY(key == NULL)) {
        return false;
    }
    list_remove(&key->node);
    locks_open(locks, &key->closing);
    if (before != NULL) {
        before(arg);
    }
    locks_let_in(locks, &key->closing);
    free(key);
    return true;
}
