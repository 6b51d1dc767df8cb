/* SPDX-License-Identifier: BSD-3-Clause */
/* keyset: the keys of one request: found, hashed and given their owners once. Routing, locks, the
 * plan of a transaction and the command itself read it.
 *
 * Most commands have one key, always at the same place and in the selected database; those carry
 * nothing but the key (`ref->simple` says so), and their `struct keyset *` is NULL. All others have
 * a keyset, also when their arguments make no sense: then it is empty, and the command says why.
 *
 * Thread: the client's home makes it. Then it is read only, by whoever runs the request.
 * Ownership: in the arena it was made in; names point into the request's arguments.
 */
#ifndef SHOAL_SERVER_CALL_KEYSET_H
#define SHOAL_SERVER_CALL_KEYSET_H

#include "base/arena.h"
#include "base/text.h"
#include "server/call/command_table.h"
#include "shard/shard.h"

struct node;

struct keyset_key {
    struct key key;
    uint32_t index; /* in argv */
    uint32_t db;    /* the selected one, or what an argument says (COPY, MOVE) */
    uint16_t flags; /* key_flag */
    uint16_t worker;
    bool exclusive; /* the lock that it needs: it is not only read */
};

struct keyset {
    uint32_t count;
    uint32_t found;       /* the last so many of them are no arguments: values name them */
    bool wide;            /* they lie in several slots */
    bool apart;           /* and on several workers */
    bool is_script;       /* row->runs_script */
    bool everywhere;      /* others, which its values name, may be on any (row->reads_everywhere) */
    uint64_t slots_epoch; /* of the table that names them (slots.h) */
    uint32_t *places;     /* of what was found, by hash: a position in the list, or 0 */
    uint32_t places_mask;
    struct keyset_key list[];
};

/* The keys of a command called with these arguments while database `db` is selected. */
struct keyset *keyset_new(struct arena *arena, const struct node *node,
                          const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                          uint32_t db);
/* Looks at the table again, if it is not the one of this epoch: slots may have moved. */
void keyset_reroute(struct keyset *keys, const struct node *node, uint64_t slots_epoch);
/* Whether those that are in it do, when others may be anywhere. */
bool keyset_lies_apart(const struct keyset *keys);
/* What has these keys is about all keys from now on. */
void keyset_go_everywhere(struct keyset *keys);
/* The same keys (or NULL) of the same arguments, which lie elsewhere now. */
struct keyset *keyset_copy(struct arena *arena, const struct keyset *keys,
                           const struct bytes *argv);
/* One with room for `room` keys, to be filled: the share of a shard. */
struct keyset *keyset_empty(struct arena *arena, uint32_t room);
static inline void keyset_add(struct keyset *keys, const struct keyset_key *key, uint32_t index) {
    keys->list[keys->count] = *key;
    keys->list[keys->count++].index = index;
}
static inline size_t keyset_bytes(const struct keyset *keys) {
    return keys != NULL ? sizeof *keys + keys->count * sizeof *keys->list : 0;
}

/* The key at a position of argv, or NULL. */
const struct key *keyset_find(const struct keyset *keys, uint32_t argv_index);

/* ---- Keys that values name ---- */

/* Names that a command has found and whose keys it had not. Its own memory, malloc. */
#define FOUND_NAMES_MAX 4096
struct found_names {
    uint32_t count; /* more than the most: those beyond are left out */
    struct text text;
};
void found_names_add(struct found_names **names, struct bytes name);
void found_names_free(struct found_names *names);

/* The keys of the set, with those of these names, which are only read, behind them. */
struct keyset *keyset_with(struct arena *arena, const struct node *node, const struct keyset *keys,
                           const struct found_names *names, uint32_t db);
/* The place in the list of a key that was found, or 0. */
uint32_t keyset_found(const struct keyset *keys, const struct key *key);

/* ---- What an op on one shard has to do with locks ---- */

/* Whether it must wait for one, or for a walk that has a value of its keys to read first
 * (shard/unshown.h). Ask only if there are locks, or walks. `key` is the one of a simple command,
 * in the database `db`. */
bool keyset_is_blocked(struct shard *shard, const struct command_ref *ref, uint32_t db,
                       const struct key *key, const struct keyset *keys);
/* The latter alone, of those keys that lie on this worker. */
bool keyset_waits_for_walk(struct shard *shard, const struct keyset_key *keys, uint32_t count,
                           unsigned worker);
/* Makes it a request, with memory of `arena`. */
void keyset_lock(struct lock_request *request, struct arena *arena, const struct command_ref *ref,
                 const struct key *key, const struct keyset *keys);

#endif
