/* SPDX-License-Identifier: BSD-3-Clause */
/* server: the composition: what all worker threads of one process share.
 *
 * Thread: everything here is written before the workers start and read-only while they run, but for
 * the fields under "shared counters" (atomics, shared.h) and what is said to belong to worker 0.
 * Changes reach workers as messages (scatter.h).
 */
#ifndef SHOAL_SERVER_SERVER_H
#define SHOAL_SERVER_SERVER_H

#include "net/file.h"
#include "server/command.h"
#include "server/config.h"
#include "shard/keyspace.h"
#include "shard/mailbox.h"

struct worker;
struct command_table;
struct shared_counters;

struct server {
    struct worker **workers;
    unsigned workers_count;
    uint8_t slot_worker[SLOTS]; /* which worker owns a slot */
    struct post_office *office;
    struct hash_secret secret;
    const struct command_table *commands;
    const struct fs *fs;
    struct shared_counters *shared;
    char run_id[41];
    int64_t start_wall_ms;
    char executable[1024];
    int process_id;
    int64_t
        string_bytes_max; /* half of the machine's memory: no command may ask for more at once */
    enum config_io_backend io_backend; /* as asked */

    /* Worker 0 only: the newest configuration; others hold a reference to theirs. */
    struct config *config;
};

/* Files that the server opens besides its clients' sockets, as far as maxclients must leave room.
 */
#define SERVER_FILES_RESERVED(workers) (32 + 4 * (int64_t)(workers))

#define SHOAL_REDIS_VERSION  "7.2.4"
#define SHOAL_VALKEY_VERSION "9.1.2"
#ifndef SHOAL_VERSION
#define SHOAL_VERSION "0.1.0"
#endif

/* Any worker's thread (its runtime as `from`): the process ends in good order; worker 0 tells the
 * others. */
void server_shutdown(struct server *server, struct worker *from);

static inline unsigned server_worker_of_slot(const struct server *server, uint16_t slot) {
    return server->slot_worker[slot];
}

#endif
