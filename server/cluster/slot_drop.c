/* SPDX-License-Identifier: BSD-3-Clause */
/* slot_drop: see the header. A key's name lies in its entry, and a walk must not see entries go:
 * names are copied first, then their keys are deleted.
 */
#include "server/cluster/slot_drop.h"

#include "base/text.h"
#include "server/config/config.h"
#include "server/node.h"
#include "server/server.h"
#include "server/worker/view.h"
#include "shard/keys/entry.h"
#include "shard/shard.h"

#define DROPPED_AT_ONCE 64 /* keys, in a slice */

struct names {
    struct text text; /* one after the other */
    size_t lens[DROPPED_AT_ONCE];
    unsigned count;
    bool more; /* than have room */
};

static void gather(void *arg, struct entry *entry) {
    struct names *names = arg;
    if (names->count == DROPPED_AT_ONCE) {
        names->more = true;
        return;
    }
    struct bytes name = entry_key_bytes(entry);
    text_append_bytes(&names->text, name);
    names->lens[names->count++] = name.len;
}

static void delete (struct worker *worker, const struct slot_drop *drop,
                    const struct names *names) {
    struct bytes word = drop->lazy ? BYTES("UNLINK") : BYTES("DEL");
    size_t at = 0;
    for (unsigned i = 0; i < names->count; i++) {
        struct bytes name = bytes_make(names->text.ptr + at, names->lens[i]);
        struct key key = key_make(&worker_server(worker)->secret, name);
        at += name.len;
        if (keyspace_delete(worker_shard(worker)->keyspace, drop->db, &key, drop->now_ms,
                            drop->lazy, EVENT_DEL)) {
            effects_add(worker, drop->origin, drop->db, (const struct bytes[]){word, name}, 2);
        }
    }
}

/* Some keys of its database; true: that was all of them. */
static bool drop_of_database(struct worker *worker, struct slot_drop *drop) {
    struct names names = {.count = 0};
    text_init(&names.text);
    uint64_t cursor = drop->begun ? drop->cursor : scan_cursor_at_slot(drop->slot);
    uint64_t next =
        keyspace_scan_slots(worker_shard(worker)->keyspace, drop->db, cursor, drop->slot + 1u,
                            DROPPED_AT_ONCE / 2, drop->seen_ms, gather, &names);
    delete (worker, drop, &names);
    text_fini(&names.text);
    drop->cursor = names.more ? cursor : next;
    drop->begun = true;
    return !names.more && (next == 0 || scan_cursor_slot(next) != drop->slot);
}

bool slot_drop_some(struct worker *worker, struct slot_drop *drop) {
    const struct keyspace *ks = worker_shard(worker)->keyspace;
    if (node_owner(worker_node(worker), drop->slot) != worker_id(worker) ||
        keyspace_slot_count(ks, drop->slot) == 0) {
        return true;
    }
    if (keyspace_slot_count_in(ks, drop->db, drop->slot) == 0 || drop_of_database(worker, drop)) {
        drop->db++;
        drop->begun = false;
    }
    return drop->db == (uint32_t)config_databases(worker_config(worker));
}
