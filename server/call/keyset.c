/* SPDX-License-Identifier: BSD-3-Clause */
/* keyset: see the header. */
#include "server/call/keyset.h"

#include "base/check.h"
#include "base/must.h"
#include "server/server.h"

#include <stdlib.h>

/* References of commands with more keys than this are looked for in memory of their own. */
#define REFS_ON_STACK 64

/* One that does not exist is not taken for one: the command will say so. */
static uint32_t db_of(const struct key_ref *ref, const struct node *node, uint32_t selected) {
    bool says = ref->db != KEY_DB_SELECTED && ref->db < config_databases(node->server->at_start);
    return UNLIKELY(says) ? (uint32_t)ref->db : selected;
}

static void fill(struct keyset *keys, const struct node *node, const struct command *row,
                 const struct bytes *argv, uint32_t db, const struct key_ref *refs,
                 uint32_t count) {
    *keys = (struct keyset){.count = count};
    for (uint32_t i = 0; i < count; i++) {
        struct key key = key_make(&node->server->secret, argv[refs[i].index]);
        unsigned flags = refs[i].flags;
        if (UNLIKELY(row->reads_many) && count > 1) {
            flags = KEY_RO | KEY_ACCESS;
        }
        keys->list[i] = (struct keyset_key){
            .key = key,
            .index = refs[i].index,
            .db = db_of(&refs[i], node, db),
            .flags = (uint16_t)flags,
            .exclusive = !(flags & KEY_RO) || row->spread == SPREAD_EACH,
        };
        keys->wide |= key.slot != keys->list[0].key.slot;
    }
}

static void route(struct keyset *keys, const struct node *node) {
    keys->slots_epoch = slots_epoch(&node->slots);
    keys->apart = keys->everywhere;
    for (uint32_t i = 0; i < keys->count; i++) {
        keys->list[i].worker = (uint16_t)node_owner(node, keys->list[i].key.slot);
        keys->apart |= keys->list[i].worker != keys->list[0].worker;
    }
    keys->everywhere |= keys->is_script && keys->apart;
}

bool keyset_lies_apart(const struct keyset *keys) {
    uint32_t i = 1;
    while (i < keys->count && keys->list[i].worker == keys->list[0].worker) {
        i++;
    }
    return i < keys->count;
}

void keyset_go_everywhere(struct keyset *keys) {
    keys->everywhere = keys->apart = true;
}

void keyset_reroute(struct keyset *keys, const struct node *node, uint64_t slots_epoch) {
    if (keys->slots_epoch != slots_epoch || slots_changing(slots_epoch)) {
        route(keys, node);
    }
}

struct keyset *keyset_new(struct arena *arena, const struct node *node,
                          const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                          uint32_t db) {
    const struct command *row = ref->row;
    struct key_ref on_stack[REFS_ON_STACK];
    struct key_ref *refs = on_stack;
    uint32_t max = argc + 1; /* MOVE names its one key twice */
    if (max > REFS_ON_STACK) {
        refs = arena_alloc(arena, max * sizeof *refs);
    }
    int n = command_keys(row, argv, argc, refs, (int)max);
    if (n > 0 && row->name_dbs != NULL) {
        n = row->name_dbs(argv, argc, refs, n);
    }
    uint32_t count = n > 0 ? (uint32_t)n : 0;
    check(count <= max);
    struct keyset *keys = arena_alloc(arena, sizeof *keys + count * sizeof *keys->list);
    fill(keys, node, row, argv, db, refs, count);
    keys->everywhere = row->reads_everywhere != NULL && node->server->workers_count > 1 &&
                       row->reads_everywhere(argv, argc);
    keys->is_script = row->runs_script;
    route(keys, node);
    return keys;
}

struct keyset *keyset_copy(struct arena *arena, const struct keyset *keys,
                           const struct bytes *argv) {
    if (keys == NULL) {
        return NULL;
    }
    size_t bytes = keyset_bytes(keys);
    struct keyset *copy = memcpy(arena_alloc(arena, bytes), keys, bytes);
    for (uint32_t i = 0; i < copy->count; i++) {
        copy->list[i].key.name = argv[copy->list[i].index];
    }
    return copy;
}

struct keyset *keyset_empty(struct arena *arena, uint32_t room) {
    struct keyset *keys = arena_alloc(arena, sizeof *keys + room * sizeof *keys->list);
    *keys = (struct keyset){0};
    return keys;
}

const struct key *keyset_find(const struct keyset *keys, uint32_t argv_index) {
    if (keys->count == 0) {
        return NULL;
    }
    /* Nearly always they stand at equal distances. */
    const struct keyset_key *list = keys->list;
    uint32_t step = keys->count > 1 ? list[1].index - list[0].index : 0;
    uint32_t guess = step > 0 ? (argv_index - list[0].index) / step : 0;
    if (guess < keys->count && list[guess].index == argv_index) {
        return &list[guess].key;
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        if (list[i].index == argv_index) {
            return &list[i].key;
        }
    }
    return NULL;
}

/* ---- Keys that values name ---- */

void found_names_add(struct found_names **names, struct bytes name) {
    if (*names == NULL) {
        *names = must_calloc(1, sizeof **names);
        text_init(&(*names)->text);
    }
    if ((*names)->count++ < FOUND_NAMES_MAX) {
        uint64_t length = name.len;
        text_append(&(*names)->text, &length, sizeof length);
        text_append_bytes(&(*names)->text, name);
    }
}

void found_names_free(struct found_names *names) {
    if (names != NULL) {
        text_fini(&names->text);
        free(names);
    }
}

static void put_place(struct keyset *keys, uint32_t place) {
    uint64_t at = keys->list[place].key.hash;
    while (keys->places[at & keys->places_mask] != 0) {
        at++;
    }
    keys->places[at & keys->places_mask] = place;
}

struct keyset *keyset_with(struct arena *arena, const struct node *node, const struct keyset *keys,
                           const struct found_names *names, uint32_t db) {
    uint32_t found = keys->found + names->count, room = 4;
    check(keys->count > keys->found && names->count <= FOUND_NAMES_MAX);
    while (room < 2 * found) {
        room *= 2;
    }
    struct keyset *all = keyset_empty(arena, keys->count + names->count);
    memcpy(all->list, keys->list, keys->count * sizeof *keys->list);
    all->count = keys->count + names->count;
    all->found = found;
    all->everywhere = keys->everywhere;
    all->places = arena_alloc(arena, room * sizeof *all->places);
    memset(all->places, 0, room * sizeof *all->places);
    all->places_mask = room - 1;
    const char *text =
        memcpy(arena_alloc(arena, names->text.len), names->text.ptr, names->text.len);
    for (uint32_t i = keys->count; i < all->count; i++) {
        uint64_t length;
        memcpy(&length, text, sizeof length);
        struct bytes name = bytes_make(text + sizeof length, length);
        text = name.ptr + name.len;
        all->list[i] = (struct keyset_key){
            .key = key_make(&node->server->secret, name),
            .index = UINT32_MAX,
            .db = db,
            .flags = KEY_RO | KEY_ACCESS,
        };
    }
    for (uint32_t i = all->count - found; i < all->count; i++) {
        put_place(all, i);
    }
    all->wide = true;
    route(all, node);
    return all;
}

uint32_t keyset_found(const struct keyset *keys, const struct key *key) {
    if (keys->places == NULL) {
        return 0;
    }
    for (uint64_t at = key->hash;; at++) {
        uint32_t place = keys->places[at & keys->places_mask];
        const struct key *found = &keys->list[place].key;
        if (place == 0 || (found->hash == key->hash && bytes_equal(found->name, key->name))) {
            return place;
        }
    }
}

/* ---- Locks ---- */

/* What replaces or removes a value as a whole does not change it in place. */
static bool close_for_walk(struct shard *shard, unsigned flags, uint32_t db,
                           const struct key *key) {
    return (flags & KEY_RW) &&
           unshown_close(&shard->unshown, &shard->locks, shard->keyspace, db, key);
}

bool keyset_waits_for_walk(struct shard *shard, const struct keyset_key *keys, uint32_t count,
                           unsigned worker) {
    bool waits = false;
    for (uint32_t i = 0; i < count; i++) {
        waits |= keys[i].worker == worker &&
                 close_for_walk(shard, keys[i].flags, keys[i].db, &keys[i].key);
    }
    return waits;
}

bool keyset_is_blocked(struct shard *shard, const struct command_ref *ref, uint32_t db,
                       const struct key *key, const struct keyset *keys) {
    const struct locks *locks = &shard->locks;
    if (keys == NULL) {
        unsigned flags = ref->row->keys[0].flags;
        return close_for_walk(shard, flags, db, key) ||
               (locks->requests > 0 && locks_block(locks, key->hash, !(flags & KEY_RO)));
    }
    bool blocked = keyset_waits_for_walk(shard, keys->list, keys->count, shard->id);
    for (uint32_t i = 0; i < keys->count && !blocked && locks->requests > 0; i++) {
        blocked = locks_block(locks, keys->list[i].key.hash, keys->list[i].exclusive);
    }
    return blocked;
}

void keyset_lock(struct lock_request *request, struct arena *arena, const struct command_ref *ref,
                 const struct key *key, const struct keyset *keys) {
    uint32_t count = keys != NULL ? keys->count : 1;
    struct lock_key *wanted = arena_alloc(arena, (count + 1) * sizeof *wanted);
    wanted[0] = (struct lock_key){key->hash, !(ref->row->keys[0].flags & KEY_RO)};
    for (uint32_t i = 0; keys != NULL && i < count; i++) {
        wanted[i] = (struct lock_key){keys->list[i].key.hash, keys->list[i].exclusive};
    }
    struct lock *memory = arena_alloc(arena, (count + 1) * sizeof *memory);
    lock_request_init(request, LOCK_KEYS, wanted, count, memory);
}
