/* SPDX-License-Identifier: BSD-3-Clause */
/* watch: see the header. Why so: EXEC needs one answer per client, and a change of a key must find
 * its watchers at once. So there are two tables, keys and clients, and a watch stands in the line
 * of its key and in the line of its client. Version numbers in entries were the alternative: they
 * cost memory in every key, and a key that is deleted and made again must still be seen as changed.
 *
 *     keys     [db, name] --- watch --- watch
 *                               |         |
 *     clients                 client    client [marked]
 *
 * Invariants
 *  1. A marked client has no watches: nothing more can happen to it, and its memory is free.
 *  2. A watch of an unmarked client knows whether its key exists: `existed` holds since WATCH, but
 *     for a key that has run out meanwhile.
 *  3. A key is in its table exactly as long as somebody watches it, a client as long as it watches
 *     something or is marked.
 */
#include "shard/watchers/watch.h"

#include "base/check.h"
#include "base/list.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

/* ---- Keys, clients, watches ---- */

struct watched {
    struct link link; /* first; of table->keys */
    struct list watches;
    uint32_t db;
    struct key key; /* its name stands behind */
    char name[];
};

struct watcher {
    struct link link; /* first; of table->clients */
    struct list watches;
    uint64_t client;
    bool marked;
};

struct watch {
    struct list_node of_key, of_client;
    struct watched *watched;
    struct watcher *watcher;
    bool existed; /* inv. 2 */
};

static uint64_t key_hash(uint32_t db, const struct key *key) {
    return key->hash ^ key->hash >> 32 ^ db * UINT64_C(0x9E3779B97F4A7C15);
}

static struct watched *find_key(const struct watch_table *table, uint32_t db,
                                const struct key *key) {
    uint64_t hash = key_hash(db, key);
    for (struct link *at = links_first(&table->keys, hash); at != NULL; at = at->next) {
        struct watched *watched = (struct watched *)at;
        if (at->hash == hash && watched->db == db && bytes_equal(watched->key.name, key->name)) {
            return watched;
        }
    }
    return NULL;
}

static struct watcher *find_client(const struct watch_table *table, uint64_t client) {
    uint64_t hash = links_hash(client);
    for (struct link *at = links_first(&table->clients, hash); at != NULL; at = at->next) {
        if (((struct watcher *)at)->client == client) {
            return (struct watcher *)at;
        }
    }
    return NULL;
}

static void *make(struct watch_table *table, size_t bytes) {
    void *memory = must_calloc(1, bytes);
    table->bytes += bytes;
    return memory;
}

static struct watched *get_key(struct watch_table *table, uint32_t db, const struct key *key) {
    struct watched *watched = find_key(table, db, key);
    if (watched == NULL) {
        watched = make(table, sizeof *watched + key->name.len);
        watched->link.hash = key_hash(db, key);
        list_init(&watched->watches);
        watched->db = db;
        watched->key = *key;
        watched->key.name.ptr = watched->name;
        if (key->name.len > 0) {
            memcpy(watched->name, key->name.ptr, key->name.len);
        }
        links_add(&table->keys, &watched->link);
    }
    return watched;
}

static struct watcher *get_client(struct watch_table *table, uint64_t client) {
    struct watcher *watcher = find_client(table, client);
    if (watcher == NULL) {
        watcher = make(table, sizeof *watcher);
        watcher->link.hash = links_hash(client);
        watcher->client = client;
        list_init(&watcher->watches);
        links_add(&table->clients, &watcher->link);
    }
    return watcher;
}

static void watch_end(struct watch_table *table, struct watch *watch) {
    struct watched *watched = watch->watched;
    list_remove(&watch->of_key);
    list_remove(&watch->of_client);
    table->bytes -= sizeof *watch;
    free(watch);
    if (list_empty(&watched->watches)) { /* inv. 3 */
        links_remove(&table->keys, &watched->link);
        table->bytes -= sizeof *watched + watched->key.name.len;
        free(watched);
    }
}

static void end_all(struct watch_table *table, struct watcher *watcher) {
    struct list_node *node;
    while ((node = list_first(&watcher->watches)) != NULL) {
        watch_end(table, LIST_ENTRY(node, struct watch, of_client));
    }
}

static void mark(struct watch_table *table, struct watcher *watcher) {
    check(!watcher->marked);
    watcher->marked = true;
    end_all(table, watcher); /* inv. 1 */
}

/* ---- For clients ---- */

void watch_init(struct watch_table *table, const struct keyspace *keyspace) {
    *table = (struct watch_table){.keyspace = keyspace};
}

void watch_fini(struct watch_table *table) {
    for (size_t i = 0; i < table->clients.buckets_count; i++) {
        while (table->clients.count > 0 && table->clients.buckets[i] != NULL) {
            watch_drop(table, ((struct watcher *)table->clients.buckets[i])->client);
        }
    }
    check(table->bytes == 0);
    links_fini(&table->keys);
    links_fini(&table->clients);
}

/* Walks the key's line and the client's side by side: one of them is mostly short. */
static bool watches_already(const struct watcher *watcher, const struct watched *watched) {
    const struct list_node *of_key = watched->watches.ring.next;
    const struct list_node *of_client = watcher->watches.ring.next;
    while (of_key != &watched->watches.ring && of_client != &watcher->watches.ring) {
        if (LIST_ENTRY(of_key, const struct watch, of_key)->watcher == watcher ||
            LIST_ENTRY(of_client, const struct watch, of_client)->watched == watched) {
            return true;
        }
        of_key = of_key->next;
        of_client = of_client->next;
    }
    return false;
}

void watch_add(struct watch_table *table, uint64_t client, uint32_t db, const struct key *key,
               int64_t now_ms) {
    struct watcher *watcher = get_client(table, client);
    if (watcher->marked) {
        return;
    }
    struct watched *watched = get_key(table, db, key);
    if (watches_already(watcher, watched)) {
        return;
    }
    struct watch *watch = make(table, sizeof *watch);
    watch->watched = watched;
    watch->watcher = watcher;
    watch->existed = keyspace_has(table->keyspace, db, key, now_ms);
    list_push_back(&watched->watches, &watch->of_key);
    list_push_back(&watcher->watches, &watch->of_client);
}

bool watch_dirty(const struct watch_table *table, uint64_t client, int64_t now_ms) {
    const struct watcher *watcher = find_client(table, client);
    if (watcher == NULL || watcher->marked) {
        return watcher != NULL;
    }
    LIST_EACH(&watcher->watches, node) {
        const struct watch *watch = LIST_ENTRY(node, struct watch, of_client);
        const struct watched *watched = watch->watched;
        if (watch->existed && !keyspace_has(table->keyspace, watched->db, &watched->key, now_ms)) {
            return true; /* it has run out, and nobody has deleted it yet */
        }
    }
    return false;
}

void watch_drop(struct watch_table *table, uint64_t client) {
    struct watcher *watcher = find_client(table, client);
    if (watcher == NULL) {
        return;
    }
    end_all(table, watcher);
    links_remove(&table->clients, &watcher->link);
    table->bytes -= sizeof *watcher;
    free(watcher);
}

/* ---- Changes ---- */

void watch_key_changed(struct watch_table *table, uint32_t db, const struct key *key) {
    struct watched *watched = find_key(table, db, key);
    if (watched == NULL) {
        return;
    }
    /* It was missing and is missing: what has been deleted had run out before. No clock: what is
     * there counts, as it may be about to be given a deadline in the past. */
    bool missing = !keyspace_has(table->keyspace, db, key, 0);
    LIST_EACH_SAFE(&watched->watches, node) {
        struct watch *watch = LIST_ENTRY(node, struct watch, of_key);
        bool last = node_next == &watched->watches.ring;
        if (watch->existed || !missing) {
            mark(table, watch->watcher); /* frees of this key's watches just this one, */
        }
        if (last) {
            break; /* and with the last the key */
        }
    }
}

/* Marks each client of which a watch says so. */
static void mark_where(struct watch_table *table,
                       bool (*changes)(const struct watch_table *table, const struct watch *watch,
                                       const void *arg),
                       const void *arg) {
    for (size_t i = 0; i < table->clients.buckets_count; i++) {
        for (struct link *at = table->clients.buckets[i]; at != NULL; at = at->next) {
            struct watcher *watcher = (struct watcher *)at;
            bool changed = false;
            LIST_EACH(&watcher->watches, node) {
                changed = changed || changes(table, LIST_ENTRY(node, struct watch, of_client), arg);
            }
            if (changed) {
                mark(table, watcher);
            }
        }
    }
}

static bool flush_changes(const struct watch_table *table, const struct watch *watch,
                          const void *arg) {
    (void)table;
    uint32_t db = *(const uint32_t *)arg;
    return watch->existed && (db == UINT32_MAX || watch->watched->db == db);
}

void watch_flush(struct watch_table *table, uint32_t db) {
    mark_where(table, flush_changes, &db);
}

struct swap {
    uint32_t a, b;
    int64_t now_ms;
};

static bool swap_changes(const struct watch_table *table, const struct watch *watch,
                         const void *arg) {
    const struct swap *swap = arg;
    const struct watched *watched = watch->watched;
    if (watched->db != swap->a && watched->db != swap->b) {
        return false;
    }
    uint32_t other = watched->db == swap->a ? swap->b : swap->a;
    return watch->existed || keyspace_has(table->keyspace, other, &watched->key, swap->now_ms);
}

void watch_swap(struct watch_table *table, uint32_t a, uint32_t b, int64_t now_ms) {
    if (a != b) {
        struct swap swap = {a, b, now_ms};
        mark_where(table, swap_changes, &swap);
    }
}

size_t watch_memory(const struct watch_table *table) {
    return table->bytes + links_memory(&table->keys) + links_memory(&table->clients);
}
