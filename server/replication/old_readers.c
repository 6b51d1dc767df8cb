/* SPDX-License-Identifier: BSD-3-Clause */
/* old_readers: see the header. Nothing lists such keys, and all shards wait meanwhile: so some ten
 * milliseconds are looked for one, then the log has their number only. */
#include "server/replication/old_readers.h"

#include "base/quote.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/worker/worker.h"
#include "shard/keys/entry.h"
#include "shard/keys/keyspace.h"

#define LOOK_KEYS 100000 /* in all */
#define SCAN_KEYS 1000   /* at once */

struct found {
    struct text name; /* quoted */
    uint64_t seen;
};

static void look(void *arg, struct entry *entry) {
    struct found *found = arg;
    found->seen++;
    if (found->name.len == 0 && (entry->flags & ENTRY_VOLATILE) != 0) {
        quote_append(&found->name, entry_key_bytes(entry));
    }
}

static void look_in(struct keyspace *ks, uint32_t db, int64_t now_ms, struct found *found) {
    uint64_t cursor = 0;
    do {
        cursor = keyspace_scan(ks, db, cursor, SCAN_KEYS, now_ms, look, found);
    } while (cursor != 0 && found->name.len == 0 && found->seen < LOOK_KEYS);
}

void old_readers_refused(struct worker *home, const struct replica_name *name) {
    const struct server *server = home->server;
    struct found found = {0};
    uint64_t count = 0;
    uint32_t found_db = 0;
    text_init(&found.name);
    for (uint32_t db = 0; db < (uint32_t)config_databases(home->config); db++) {
        for (unsigned i = 0; i < server->workers_count; i++) {
            struct keyspace *ks = server->workers[i]->shard.keyspace;
            uint64_t here = keyspace_count_volatile(ks, db);
            count += here;
            if (here > 0 && found.name.len == 0 && found.seen < LOOK_KEYS) {
                look_in(ks, db, rt_wall_ms(home->rt), &found);
                found_db = db;
            }
        }
    }
    text_append(&found.name, "", 1);
    log_worker(home, LOG_WARNING,
               "Full resync refused to replica %s:%d, which reads RDB up to version %u: %llu "
               "hash(es) have fields with deadlines%s%.300s (database %u)",
               name->ip, name->port, name->rdb_version, (unsigned long long)count,
               found.name.len > 1 ? ", one is " : ", none of the first keys of", found.name.ptr,
               found_db);
    text_fini(&found.name);
}
