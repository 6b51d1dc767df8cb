/* SPDX-License-Identifier: BSD-3-Clause */
/* own_deadlines: see the header. */
#include "shard/watchers/own_deadlines.h"

#include "base/must.h"

#include <stdlib.h>
#include <string.h>

struct own_name {
    struct link link; /* first; of own->names */
    struct list_node node;
    struct key key; /* its name lies behind */
    uint32_t db;
    char name[];
};

void own_deadlines_init(struct own_deadlines *own, struct keyspace *keyspace) {
    *own = (struct own_deadlines){.keyspace = keyspace};
    links_init(&own->names);
    list_init(&own->turn);
}

void own_deadlines_fini(struct own_deadlines *own) {
    own_deadlines_clear(own);
    links_fini(&own->names);
}

static uint64_t hash_of(uint32_t db, const struct key *key) {
    return (key->hash ^ key->hash >> 32) + db;
}

static size_t bytes_of(const struct own_name *name) {
    return sizeof *name + name->key.name.len;
}

static struct own_name *find(const struct own_deadlines *own, uint32_t db, const struct key *key) {
    uint64_t hash = hash_of(db, key);
    for (struct link *at = links_first(&own->names, hash); at != NULL; at = at->next) {
        struct own_name *name = (struct own_name *)at;
        if (at->hash == hash && name->db == db && bytes_equal(name->key.name, key->name)) {
            return name;
        }
    }
    return NULL;
}

static void forget(struct own_deadlines *own, struct own_name *name) {
    links_remove(&own->names, &name->link);
    list_remove(&name->node);
    own->bytes -= bytes_of(name);
    free(name);
}

void own_deadlines_note(struct own_deadlines *own, uint32_t db, const struct key *key) {
    const struct entry *entry = keyspace_find_any(own->keyspace, db, key);
    if (entry == NULL || entry_expires_at(entry) == NO_EXPIRY || find(own, db, key) != NULL) {
        return;
    }
    struct own_name *name = must_malloc(sizeof *name + key->name.len);
    *name = (struct own_name){.link.hash = hash_of(db, key), .key = *key, .db = db};
    memcpy(name->name, key->name.ptr, key->name.len);
    name->key.name.ptr = name->name;
    list_push_back(&own->turn, &name->node);
    links_add(&own->names, &name->link);
    own->bytes += bytes_of(name);
}

void own_deadlines_end_some(struct own_deadlines *own, unsigned count, int64_t now_ms) {
    struct list_node *node;
    count = count < own->names.count ? count : (unsigned)own->names.count; /* each once */
    for (; count > 0 && (node = list_pop_front(&own->turn)) != NULL; count--) {
        struct own_name *name = LIST_ENTRY(node, struct own_name, node);
        list_push_back(&own->turn, &name->node);
        const struct entry *entry = keyspace_find_any(own->keyspace, name->db, &name->key);
        int64_t expires_at = entry != NULL ? entry_expires_at(entry) : NO_EXPIRY;
        if (expires_at != NO_EXPIRY && expires_at <= now_ms &&
            !keyspace_is_locked(own->keyspace, &name->key)) {
            /* Who would write deletes it, if it may go now: nothing is paused. */
            keyspace_find(own->keyspace, name->db, &name->key, now_ms,
                          LOOKUP_WRITE | LOOKUP_NOTOUCH | LOOKUP_NOSTATS | LOOKUP_QUIET);
            entry = keyspace_find_any(own->keyspace, name->db, &name->key);
        }
        if (entry == NULL || entry_expires_at(entry) == NO_EXPIRY) {
            forget(own, name);
        }
    }
}

void own_deadlines_clear(struct own_deadlines *own) {
    struct list_node *node;
    while ((node = list_first(&own->turn)) != NULL) {
        forget(own, LIST_ENTRY(node, struct own_name, node));
    }
}

void own_deadlines_swap(struct own_deadlines *own, uint32_t a, uint32_t b) {
    LIST_EACH(&own->turn, node) {
        struct own_name *name = LIST_ENTRY(node, struct own_name, node);
        if (name->db == a || name->db == b) {
            links_remove(&own->names, &name->link);
            name->db = name->db == a ? b : a;
            name->link.hash = hash_of(name->db, &name->key);
            links_add(&own->names, &name->link);
        }
    }
}
