/* SPDX-License-Identifier: BSD-3-Clause */
/* slot_check: see the header. Why twice: only home knows the order in which reasons are given (who
 * may not write to a replica learns first that another node has the key), and only where it runs is
 * known what is there. What has passed at home and is refused there was on its way while the map
 * changed.
 */
#include "server/call/slot_check.h"

#include "base/must.h"
#include "proto/parser.h"
#include "server/call/check.h"
#include "server/client/client.h"
#include "server/txn/multi.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

#define REFS_ON_STACK 64

/* ---- Slots ---- */

static int join(int slot, int other) {
    return other == SLOT_NONE || slot == other ? slot : slot == SLOT_NONE ? other : SLOT_SEVERAL;
}

/* Shard channels, and the cursor of CLUSTERSCAN, are no keys, but have slots. */
static bool has_slots(const struct command_ref *ref) {
    return ref->row->keys[0].flags & KEY_NOT_KEY;
}

static int slot_of_words(const struct command_ref *ref, const struct bytes *argv, uint32_t argc) {
    const struct key_spec *spec = &ref->row->keys[0];
    uint32_t first = (uint32_t)spec->index;
    uint32_t end = spec->last < 0 || first + 1 > argc ? argc : first + 1;
    int slot = SLOT_NONE;
    for (uint32_t i = first; i < end; i++) {
        slot = join(slot, key_slot(argv[i]));
    }
    return slot;
}

/* The keys of a call; *ret is `on_stack`, or to be freed. */
static int find_keys(const struct command_ref *ref, const struct bytes *argv, uint32_t argc,
                     struct key_ref on_stack[REFS_ON_STACK], struct key_ref **ret) {
    const struct command *row = ref->row;
    int max = argc < REFS_ON_STACK ? REFS_ON_STACK : (int)argc + 1;
    *ret = max > REFS_ON_STACK ? must_malloc((size_t)max * sizeof **ret) : on_stack;
    int n = command_keys(row, argv, argc, *ret, max);
    return n > 0 && row->name_dbs != NULL ? row->name_dbs(argv, argc, *ret, n) : n;
}

int slot_of_call(const struct command_ref *ref, const struct bytes *argv, uint32_t argc) {
    if (ref->first_key > 0 && ref->simple) {
        return key_slot(argv[ref->first_key]);
    }
    if (has_slots(ref)) {
        return slot_of_words(ref, argv, argc);
    }
    struct key_ref on_stack[REFS_ON_STACK], *refs;
    int n = find_keys(ref, argv, argc, on_stack, &refs), slot = SLOT_NONE;
    for (int i = 0; i < n; i++) {
        slot = join(slot, key_slot(argv[refs[i].index]));
    }
    if (refs != on_stack) {
        free(refs);
    }
    return slot;
}

int slot_of_queue(const struct multi_queue *queue) {
    int slot = SLOT_NONE;
    for (uint32_t i = 0; i < queue->count; i++) {
        slot = join(slot, queue->commands[i].slot);
    }
    return slot;
}

/* ---- The answer ---- */

static unsigned via_of(uint16_t manner) {
    return (manner & MANNER_TLS ? REDIRECT_VIA_TLS : 0) |
           (manner & MANNER_IPV6 ? REDIRECT_VIA_IPV6 : 0);
}

static enum redirect_verdict judge(const struct worker *worker, const struct slot_asked *asked,
                                   uint16_t *ret_node) {
    if (asked->slot == SLOT_SEVERAL) {
        return REDIRECT_CROSSES;
    }
    if (asked->slot == SLOT_NONE) {
        return REDIRECT_NOT;
    }
    struct redirect_question question = asked->question;
    question.slot = (uint16_t)asked->slot;
    return redirect_judge(worker->cluster->map, worker->config, &question, ret_node);
}

const char *slot_asked_end(struct worker *worker, const struct slot_asked *asked, uint16_t manner) {
    uint16_t node = MAP_NONE;
    enum redirect_verdict verdict = judge(worker, asked, &node);
    if (verdict == REDIRECT_NOT) {
        return NULL;
    }
    redirect_tell(worker->redirect, worker->cluster->map, worker->config, verdict,
                  (uint16_t)asked->slot, node, via_of(manner));
    return worker->redirect;
}

void slot_asked_init(struct slot_asked *asked, uint16_t manner) {
    *asked = (struct slot_asked){
        .slot = SLOT_NONE,
        .question = {.asking = manner & MANNER_ASKING,
                     .readonly = manner & MANNER_READONLY,
                     .imports = manner & MANNER_IMPORTS},
    };
}

/* What the command itself says. */
static void add_command(struct slot_asked *asked, const struct command_ref *ref, unsigned flags) {
    asked->question.writes |= (flags & CMD_WRITE) != 0;
    asked->question.changes |= (flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
    asked->question.shard_channels |= (flags & CMD_PUBSUB) != 0;
    asked->question.asking |= (flags & CMD_ASKING) != 0;
    asked->question.migrates |= ref->row->spread == SPREAD_SEND;
}

/* It is a reason to try again that the other database may have a key elsewhere already. */
static bool names_other_db(const struct command_ref *ref, uint32_t db, uint32_t other) {
    return ref->row->name_dbs != NULL && (db != other || strcmp(ref->full_name, "move") == 0);
}

void slot_asked_add(struct slot_asked *asked, const struct worker *worker,
                    const struct command_ref *ref, unsigned flags, const struct bytes *argv,
                    uint32_t argc, const struct keyset_key *keys, uint32_t count,
                    const struct shard *shard, int64_t alive_ms) {
    add_command(asked, ref, flags);
    if (UNLIKELY(has_slots(ref))) {
        asked->slot = join(asked->slot, slot_of_words(ref, argv, argc));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct keyset_key *key = &keys[i];
        asked->slot = join(asked->slot, key->key.slot);
        if (asked->slot < 0 || !redirect_is_open(worker->cluster->map, key->key.slot)) {
            continue;
        }
        asked->question.many |=
            asked->first.ptr != NULL && !bytes_equal(asked->first, key->key.name);
        asked->first = key->key.name;
        asked->question.other_db |= names_other_db(ref, keys[0].db, key->db);
        if (shard == &worker->server->workers[key->worker]->shard) {
            bool here = keyspace_has(shard->keyspace, key->db, &key->key, alive_ms);
            asked->question.here += here;
            asked->question.missing += !here;
        }
    }
}

/* ---- At home ---- */

/* Of a command that names databases: another than is selected. */
static bool leaves_db(const struct client *client, const struct command_ref *ref,
                      const struct request *request) {
    if (LIKELY(ref->row->name_dbs == NULL)) {
        return false;
    }
    struct key_ref on_stack[REFS_ON_STACK], *refs;
    int n = find_keys(ref, request->argv, request->argc, on_stack, &refs);
    bool leaves = false;
    for (int i = 0; i < n; i++) {
        int32_t db = refs[i].db;
        leaves |=
            names_other_db(ref, client->db, db != KEY_DB_SELECTED ? (uint32_t)db : client->db);
    }
    if (refs != on_stack) {
        free(refs);
    }
    return leaves;
}

/* This is a replica, and no cluster: a client that has said that it understands (CLIENT CAPA
 * redirect) is sent to the primary. */
static const char *send_to_primary(const struct client *client, unsigned flags) {
    struct worker *worker = client->worker;
    const struct role *role = &worker->server->role;
    bool reads = flags & CMD_READONLY && !(client->flags & CLIENT_READONLY);
    if (!role->replica || !(flags & CMD_WRITE || reads)) {
        return NULL;
    }
    snprintf(worker->redirect, sizeof worker->redirect, "REDIRECT %s:%d", role->host, role->port);
    return worker->redirect;
}

const char *slot_check_demoted(const struct client *client) {
    bool understands = client->flags & CLIENT_CAPA_REDIRECT && client->worker->cluster == NULL;
    return understands ? send_to_primary(client, CMD_WRITE) : NULL;
}

const char *slot_check_home(const struct client *client, const struct command_ref *ref,
                            const struct request *request) {
    struct worker *worker = client->worker;
    const struct multi_queue *queue = ref->row->queue == QUEUE_EXEC ? client->multi : NULL;
    if (client->upstream != NULL || client->user == NULL) {
        return NULL;
    }
    if (worker->cluster == NULL) {
        return send_to_primary(client, check_flags(client, ref, request->argv));
    }
    struct slot_asked asked;
    uint16_t manner = client_manner(client);
    slot_asked_init(&asked, manner);
    asked.slot =
        queue != NULL ? slot_of_queue(queue) : slot_of_call(ref, request->argv, request->argc);
    if (asked.slot >= 0 && cluster_map_serves(worker->cluster, (uint16_t)asked.slot)) {
        return NULL;
    }
    asked.question.waits = true;
    if (asked.slot != SLOT_NONE) {
        add_command(&asked, ref, check_flags(client, ref, request->argv));
        asked.question.migrates &= queue == NULL;
        asked.question.other_db = leaves_db(client, ref, request);
    }
    return slot_asked_end(worker, &asked, manner);
}

/* What writes, and names no key, is of all slots: FLUSHALL. */
bool slot_check_held(const struct client *client, const struct command_ref *ref,
                     const struct request *request, unsigned flags) {
    const struct cluster_map *cluster = client->worker->cluster;
    if (cluster == NULL || !cluster->map->holds || !(flags & (CMD_WRITE | CMD_MAY_REPLICATE)) ||
        flags & CMD_PUBSUB || client->flags & CLIENT_IMPORTS) {
        return false;
    }
    const struct multi_queue *queue = ref->row->queue == QUEUE_EXEC ? client->multi : NULL;
    int slot =
        queue != NULL ? slot_of_queue(queue) : slot_of_call(ref, request->argv, request->argc);
    return slot >= 0 ? map_holds(cluster->map, (uint16_t)slot)
                     : slot == SLOT_NONE && flags & CMD_WRITE;
}

/* What it waits for may never come while the cluster is down, whoever may read then. */
const char *slot_check_wait(const struct client *client, const struct command_ref *ref,
                            uint16_t slot) {
    struct worker *worker = client->worker;
    uint16_t manner = client_manner(client), node = MAP_NONE;
    const struct redirect_question question = {
        .slot = slot,
        .writes = ref->flags & CMD_WRITE,
        .readonly = manner & MANNER_READONLY,
        .asking = true, /* or it would not have begun */
    };
    const struct map *map = worker->cluster->map;
    enum redirect_verdict verdict = map->state != MAP_STATE_OK
                                        ? REDIRECT_DOWN
                                        : redirect_judge(map, worker->config, &question, &node);
    if (verdict == REDIRECT_NOT) {
        return NULL;
    }
    redirect_tell(worker->redirect, map, worker->config, verdict, slot, node, via_of(manner));
    return worker->redirect;
}

bool slot_is_heard(const struct worker *worker, uint16_t slot) {
    const struct map *map = worker->cluster->map;
    return map->owner[slot] != MAP_NONE && map->owner[slot] == map_my_primary(map);
}

/* ---- Where it runs ---- */

/* It has one that is looked for at one place (NO_KEY has no name). */
static bool has_key(const struct call *what) {
    return what->key != NULL && what->key->name.ptr != NULL;
}

/* Served whatever it is and whoever asks. */
static bool is_served(const struct worker *worker, const struct call *what) {
    const struct keyset *keys = what->keys;
    if (keys == NULL) {
        return has_key(what) && cluster_map_serves(worker->cluster, what->key->slot);
    }
    return keys->count > 0 && !keys->wide &&
           cluster_map_serves(worker->cluster, keys->list[0].key.slot);
}

static void add_call(struct slot_asked *asked, const struct caller *caller,
                     const struct call *what) {
    const struct command_ref *ref = what->ref;
    bool simple = what->keys == NULL && has_key(what) && ref->simple;
    struct keyset_key one = {.db = caller->db};
    const struct keyset_key *keys = what->keys != NULL ? what->keys->list : &one;
    uint32_t count = what->keys != NULL ? what->keys->count : simple;
    if (simple) {
        one.key = *what->key;
        one.worker = (uint16_t)node_owner(caller->worker->node, one.key.slot);
    }
    slot_asked_add(asked, caller->worker, ref, check_call_flags(caller->worker, ref, what->argv),
                   what->argv, what->argc, keys, count, caller->shard, what->now_ms);
}

const char *slot_check_call(const struct caller *caller, const struct call *what) {
    struct worker *worker = caller->worker;
    if (LIKELY(is_served(worker, what)) || caller->manner & (MANNER_UPSTREAM | MANNER_REPLAYS)) {
        return NULL;
    }
    struct slot_asked asked;
    slot_asked_init(&asked, caller->manner);
    add_call(&asked, caller, what);
    return slot_asked_end(worker, &asked, caller->manner);
}

/* ---- What a script calls ---- */

const char *slot_check_script(const struct caller *caller, const struct call *what, bool crosses,
                              int *slot) {
    struct worker *worker = caller->worker;
    if (caller->manner & (MANNER_UPSTREAM | MANNER_REPLAYS)) {
        return NULL;
    }
    struct slot_asked asked;
    slot_asked_init(&asked, caller->manner);
    add_call(&asked, caller, what);
    uint16_t node;
    enum redirect_verdict verdict = judge(worker, &asked, &node);
    if (verdict == REDIRECT_READS || verdict == REDIRECT_DOWN) {
        bool reads = verdict == REDIRECT_READS;
        snprintf(worker->redirect, sizeof worker->redirect,
                 "ERR Can not execute a %scommand '%s' while the cluster is down%s",
                 reads ? "write " : "", what->ref->full_name, reads ? " and readonly" : "");
        return worker->redirect;
    }
    if (verdict == REDIRECT_TRY_AGAIN && map_seals(worker->cluster->map, (uint16_t)asked.slot)) {
        return slot_asked_end(worker, &asked, caller->manner);
    }
    if (verdict != REDIRECT_NOT) {
        return "ERR Attempted to access a non local key in a cluster node";
    }
    if (asked.slot < 0 || crosses) {
        return NULL;
    }
    bool others = *slot >= 0 && *slot != asked.slot;
    *slot = asked.slot;
    return others ? "ERR Script attempted to access keys that do not hash to the same slot" : NULL;
}
