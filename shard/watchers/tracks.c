/* SPDX-License-Identifier: BSD-3-Clause */
/* tracks: see the header. Why so: a key that is read again and again by many clients must find out
 * at once whether it knows the reader, and both a change of the key and the end of the client must
 * find what they take away. So each pair of a key and a client is an item of its own, in a table by
 * both, and in the lines of both.
 *
 *     keys     name --- item --- item
 *                        |        |
 *     clients          client   client
 *
 * Invariants
 *  1. A key is in its table exactly as long as it has items; so is a client, unless it has gone:
 *     then it is among those that leave until its last item is freed.
 *  2. What is emptied as a whole becomes a table of its own. Both are freed in slices, as there may
 *     be millions.
 */
#include "shard/watchers/tracks.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

/* Items that are freed in a slice. */
#define FREED_AT_ONCE 512

struct tracked {
    struct link link; /* first; of tracks->keys */
    struct list items;
    uint16_t slot;
    uint32_t name_bytes;
    char name[];
};

struct reader {
    struct link link; /* first; of tracks->clients, till it has gone */
    struct list items;
    uint64_t client;
    unsigned home;
    struct list_node leaving; /* of tracks->leaving, once it has gone */
    bool gone;
};

struct item {
    struct link link; /* first; of tracks->items */
    struct list_node of_key, of_reader;
    struct tracked *tracked;
    struct reader *reader;
};

/* What was emptied. */
struct old {
    struct list_node node; /* of tracks->emptied */
    struct tracks tracks;
    size_t at; /* the buckets before it are empty */
};

static uint64_t key_hash(uint64_t hash) {
    return hash ^ hash >> 32;
}

static uint64_t item_hash(const struct tracked *tracked, uint64_t client) {
    return tracked->link.hash ^ links_hash(client);
}

static struct bytes name_of(const struct tracked *tracked) {
    return bytes_make(tracked->name, tracked->name_bytes);
}

static size_t tracked_bytes(const struct tracked *tracked) {
    return sizeof *tracked + tracked->name_bytes;
}

void tracks_init(struct tracks *tracks) {
    *tracks = (struct tracks){0};
    list_init(&tracks->leaving);
    list_init(&tracks->emptied);
}

void tracks_fini(struct tracks *tracks) {
    tracks_clear(tracks);
    while (tracks_free_some(tracks)) {
    }
    check(tracks->bytes == 0 && tracks->emptied_bytes == 0);
    links_fini(&tracks->keys);
    links_fini(&tracks->items);
    links_fini(&tracks->clients);
}

/* ---- Finding ---- */

static struct tracked *find_key(const struct tracks *tracks, const struct key *key) {
    uint64_t hash = key_hash(key->hash);
    for (struct link *at = links_first(&tracks->keys, hash); at != NULL; at = at->next) {
        struct tracked *tracked = (struct tracked *)at;
        if (at->hash == hash && bytes_equal(name_of(tracked), key->name)) {
            return tracked;
        }
    }
    return NULL;
}

static struct reader *find_reader(const struct tracks *tracks, uint64_t client) {
    struct link *at = links_first(&tracks->clients, links_hash(client));
    while (at != NULL && ((struct reader *)at)->client != client) {
        at = at->next;
    }
    return (struct reader *)at;
}

static bool has_item(const struct tracks *tracks, const struct tracked *tracked, uint64_t client) {
    struct link *at = links_first(&tracks->items, item_hash(tracked, client));
    for (; at != NULL; at = at->next) {
        const struct item *item = (const struct item *)at;
        if (item->tracked == tracked && item->reader->client == client && !item->reader->gone) {
            return true;
        }
    }
    return false;
}

/* The first element of a table, from a place on that `start` says; NULL if it is empty. */
static struct link *first_from(const struct links *links, size_t start) {
    for (size_t i = 0; i < links->buckets_count; i++) {
        struct link *at = links->buckets[(start + i) & (links->buckets_count - 1)];
        if (at != NULL) {
            return at;
        }
    }
    return NULL;
}

/* ---- Coming and going ---- */

static struct tracked *key_make_tracked(struct tracks *tracks, const struct key *key) {
    struct tracked *tracked = must_malloc(sizeof *tracked + key->name.len);
    *tracked = (struct tracked){
        .link.hash = key_hash(key->hash),
        .slot = key->slot,
        .name_bytes = (uint32_t)key->name.len,
    };
    list_init(&tracked->items);
    if (key->name.len > 0) {
        memcpy(tracked->name, key->name.ptr, key->name.len);
    }
    links_add(&tracks->keys, &tracked->link);
    tracks->bytes += tracked_bytes(tracked);
    return tracked;
}

static struct reader *reader_make(struct tracks *tracks, uint64_t client, unsigned home) {
    struct reader *reader = must_calloc(1, sizeof *reader);
    reader->link.hash = links_hash(client);
    reader->client = client;
    reader->home = home;
    list_init(&reader->items);
    list_node_init(&reader->leaving);
    links_add(&tracks->clients, &reader->link);
    tracks->bytes += sizeof *reader;
    return reader;
}

bool tracks_add(struct tracks *tracks, uint64_t client, unsigned home, const struct key *key) {
    struct tracked *tracked = find_key(tracks, key);
    bool is_new = tracked == NULL;
    if (!is_new && has_item(tracks, tracked, client)) {
        return false;
    }
    struct reader *reader = find_reader(tracks, client);
    tracked = is_new ? key_make_tracked(tracks, key) : tracked;
    reader = reader != NULL ? reader : reader_make(tracks, client, home);
    struct item *item = must_malloc(sizeof *item);
    *item = (struct item){
        .link.hash = item_hash(tracked, client),
        .tracked = tracked,
        .reader = reader,
    };
    list_node_init(&item->of_key);
    list_node_init(&item->of_reader);
    list_push_back(&tracked->items, &item->of_key);
    list_push_back(&reader->items, &item->of_reader);
    links_add(&tracks->items, &item->link);
    tracks->bytes += sizeof *item;
    return is_new;
}

static void reader_free_if_unused(struct tracks *tracks, struct reader *reader) {
    if (!list_empty(&reader->items)) {
        return;
    }
    if (!reader->gone) {
        links_remove(&tracks->clients, &reader->link);
    }
    list_remove(&reader->leaving);
    tracks->bytes -= sizeof *reader;
    free(reader);
}

static void item_free(struct tracks *tracks, struct item *item) {
    struct reader *reader = item->reader;
    links_remove(&tracks->items, &item->link);
    list_remove(&item->of_key);
    list_remove(&item->of_reader);
    tracks->bytes -= sizeof *item;
    free(item);
    reader_free_if_unused(tracks, reader);
}

static void key_free_if_unused(struct tracks *tracks, struct tracked *tracked) {
    if (list_empty(&tracked->items)) {
        links_remove(&tracks->keys, &tracked->link);
        tracks->bytes -= tracked_bytes(tracked);
        free(tracked);
    }
}

static void take(struct tracks *tracks, struct tracked *tracked, tracks_tell_fn *tell, void *arg) {
    struct list_node *node;
    while ((node = list_first(&tracked->items)) != NULL) {
        struct item *item = LIST_ENTRY(node, struct item, of_key);
        if (!item->reader->gone) {
            tell(arg, item->reader->client, item->reader->home, name_of(tracked));
        }
        item_free(tracks, item);
    }
    key_free_if_unused(tracks, tracked);
}

void tracks_take(struct tracks *tracks, const struct key *key, tracks_tell_fn *tell, void *arg) {
    struct tracked *tracked = find_key(tracks, key);
    if (tracked != NULL) {
        take(tracks, tracked, tell, arg);
    }
}

void tracks_take_any(struct tracks *tracks, uint64_t random, tracks_tell_fn *tell, void *arg) {
    struct link *at = first_from(&tracks->keys, (size_t)random);
    if (at != NULL) {
        take(tracks, (struct tracked *)at, tell, arg);
    }
}

void tracks_take_slot(struct tracks *tracks, uint16_t slot, tracks_tell_fn *tell, void *arg) {
    struct tracked **found = must_malloc((tracks->keys.count + 1) * sizeof(struct tracked *));
    size_t count = 0;
    for (size_t i = 0; i < tracks->keys.buckets_count; i++) {
        for (struct link *at = tracks->keys.buckets[i]; at != NULL; at = at->next) {
            if (((struct tracked *)at)->slot == slot) {
                found[count++] = (struct tracked *)at;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        take(tracks, found[i], tell, arg);
    }
    free(found);
}

void tracks_drop(struct tracks *tracks, uint64_t client) {
    struct reader *reader = find_reader(tracks, client);
    if (reader != NULL) {
        links_remove(&tracks->clients, &reader->link);
        reader->gone = true;
        list_push_back(&tracks->leaving, &reader->leaving);
    }
}

void tracks_clear(struct tracks *tracks) {
    if (tracks->keys.count == 0) {
        return;
    }
    struct old *old = must_calloc(1, sizeof *old);
    list_node_init(&old->node);
    old->tracks.keys = tracks->keys;
    old->tracks.items = tracks->items;
    old->tracks.clients = tracks->clients;
    old->tracks.bytes = tracks->bytes;
    list_init(&old->tracks.leaving);
    list_init(&old->tracks.emptied);
    list_splice_back(&old->tracks.leaving, &tracks->leaving);
    list_push_back(&tracks->emptied, &old->node);
    tracks->keys = tracks->items = tracks->clients = (struct links){0};
    tracks->bytes = 0;
    tracks->emptied_bytes += sizeof *old + old->tracks.bytes;
}

/* ---- What has gone ---- */

static void nobody(void *arg, uint64_t client, unsigned home, struct bytes key) {
}

/* How many items were freed. */
static unsigned free_some_of_leaving(struct tracks *tracks) {
    unsigned freed = 0;
    struct list_node *node;
    while (freed < FREED_AT_ONCE && (node = list_first(&tracks->leaving)) != NULL) {
        struct reader *reader = LIST_ENTRY(node, struct reader, leaving);
        struct list_node *first = list_first(&reader->items); /* it has some: inv. 1 */
        struct item *item = LIST_ENTRY(first, struct item, of_reader);
        struct tracked *tracked = item->tracked;
        item_free(tracks, item);
        key_free_if_unused(tracks, tracked);
        freed++;
    }
    return freed;
}

static void free_some_of_old(struct tracks *tracks, struct old *old, unsigned freed) {
    struct links *keys = &old->tracks.keys;
    size_t before = old->tracks.bytes;
    while (freed < FREED_AT_ONCE && keys->count > 0) {
        if (keys->buckets[old->at] == NULL) {
            old->at++;
        } else {
            struct tracked *tracked = (struct tracked *)keys->buckets[old->at];
            take(&old->tracks, tracked, nobody, NULL);
        }
        freed++;
    }
    tracks->emptied_bytes -= before - old->tracks.bytes;
    if (keys->count == 0) {
        links_fini(&old->tracks.keys);
        links_fini(&old->tracks.items);
        links_fini(&old->tracks.clients);
        list_remove(&old->node);
        tracks->emptied_bytes -= sizeof *old;
        free(old);
    }
}

bool tracks_free_some(struct tracks *tracks) {
    unsigned freed = free_some_of_leaving(tracks);
    struct list_node *first = list_first(&tracks->emptied);
    if (first != NULL && freed < FREED_AT_ONCE) {
        free_some_of_old(tracks, LIST_ENTRY(first, struct old, node), freed);
    }
    return tracks_is_left(tracks);
}

size_t tracks_memory(const struct tracks *tracks) {
    return tracks->bytes + tracks->emptied_bytes + links_memory(&tracks->keys) +
           links_memory(&tracks->items) + links_memory(&tracks->clients);
}
