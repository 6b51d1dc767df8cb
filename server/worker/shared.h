/* SPDX-License-Identifier: BSD-3-Clause */
/* shared: the few numbers that threads read of each other while they run.
 *
 * Crosses threads: atomics, those that change often each on a line of its writer, but for the
 * numbers that order operations on several shards. Nothing may depend on two of them agreeing.
 */
#ifndef SHOAL_SERVER_WORKER_SHARED_H
#define SHOAL_SERVER_WORKER_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shared_counters;

struct shared_counters *shared_new(unsigned workers);
void shared_free(struct shared_counters *shared);

/* Connections by worker: added by worker 0 when it places one, taken off by the worker when it is
 * over. */
void shared_connection_placed(struct shared_counters *shared, unsigned worker);
void shared_connection_over(struct shared_counters *shared, unsigned worker);
unsigned shared_connections(const struct shared_counters *shared, unsigned worker);
unsigned shared_connections_total(const struct shared_counters *shared);

/* Connections by address, for address-maxclients: by what its hash says, so that two addresses
 * count as one once in a very long while. Returns how many there are with this one. */
unsigned shared_address_placed(struct shared_counters *shared, uint32_t hash);
void shared_address_over(struct shared_counters *shared, uint32_t hash);

/* Memory of clients that have not logged in, by worker: for unauthenticated-maxmemory. */
void shared_set_strangers_memory(struct shared_counters *shared, unsigned worker, size_t bytes);
size_t shared_strangers_memory_total(const struct shared_counters *shared);

/* What a worker uses, as of its last look: for the most that all have used at a time. */
void shared_set_memory(struct shared_counters *shared, unsigned worker, size_t bytes);
size_t shared_memory_total(const struct shared_counters *shared);

/* Client memory by worker, and its largest client that may be evicted: for maxmemory-clients. */
void shared_set_clients_memory(struct shared_counters *shared, unsigned worker, size_t bytes,
                               size_t largest);
size_t shared_clients_memory_total(const struct shared_counters *shared);
/* The worker with the largest evictable client. */
unsigned shared_largest_client_worker(const struct shared_counters *shared);

/* maxmemory (room.h). What is left of a limit of which workers have leases; takes `need` of it, or
 * what there is, and up to `more` on top, but of what is left then only one part in `parts`.
 * Returns how much that was. */
size_t shared_lease_left(const struct shared_counters *shared, uint64_t limit);
/* How much more than the limit is leased. */
size_t shared_leased_over(const struct shared_counters *shared, uint64_t limit);
size_t shared_lease_take(struct shared_counters *shared, uint64_t limit, size_t need, size_t more,
                         size_t parts);
void shared_lease_return(struct shared_counters *shared, size_t bytes);
/* What a worker uses, for its keys too, and how good its best key is to do without
 * (keyspace_evict_next). */
void shared_set_used_memory(struct shared_counters *shared, unsigned worker, size_t bytes,
                            size_t keys_bytes, uint64_t score);
size_t shared_used_memory(const struct shared_counters *shared);
/* Whether a worker uses more than it could lease, as it last looked; and whether any does. */
void shared_set_lacks_room(struct shared_counters *shared, unsigned worker, bool lacks);
bool shared_lacks_room(const struct shared_counters *shared);
/* Whose keys are the best to do without: of another whose score is more than the margin above this
 * one's; if there is none, of the one with the most of those whose score is about the same and
 * whose keys take more than so many bytes: else one that has lost keys by chance would lose ever
 * more. Itself, if nobody is. */
unsigned shared_best_to_evict(const struct shared_counters *shared, unsigned self, uint64_t score,
                              uint64_t margin, size_t bytes);
/* Asks a worker for room. True: nobody else has. And what it was asked for, once. */
bool shared_ask_room(struct shared_counters *shared, unsigned worker, size_t bytes);
size_t shared_asked_room(struct shared_counters *shared, unsigned worker);

/* The number of an operation that needs a place in the order of all: higher than any given before.
 */
uint64_t shared_next_number(struct shared_counters *shared);

/* The next line of MONITOR, in one order over all threads: from 1 on, and none is left out. */
uint64_t shared_next_line(struct shared_counters *shared);

/* The numbers of the entries of a command log (observe/commandlog.h), from 0 on: the next, and how
 * many were drawn. */
uint64_t shared_next_logged(struct shared_counters *shared, unsigned log);
uint64_t shared_logged(const struct shared_counters *shared, unsigned log);

/* The one order of the logs of all shards (docs/durability.md): how many numbers were drawn, and
 * the next. */
uint64_t shared_wal_count(const struct shared_counters *shared);
uint64_t shared_wal_draw(struct shared_counters *shared);
/* At the start: those that were drawn in earlier lives. */
void shared_wal_begin(struct shared_counters *shared, uint64_t count);
/* What a worker's number must be before it is safe: written, or on the disk, too. */
enum shared_wal_word { WAL_WRITTEN, WAL_SYNCED, WAL_WORDS };
/* The smallest number on which a worker stands; UINT64_MAX: it stands on nothing, as at first. Said
 * before what is drawn after it. */
void shared_wal_stand(struct shared_counters *shared, unsigned worker, enum shared_wal_word word,
                      uint64_t number);
uint64_t shared_wal_stands(const struct shared_counters *shared, unsigned worker,
                           enum shared_wal_word word);
/* All numbers up to this one are safe. */
uint64_t shared_wal_safe(const struct shared_counters *shared, enum shared_wal_word word);
/* The largest number that a worker's messages may tell of, said before they are published. */
void shared_wal_seal(struct shared_counters *shared, unsigned worker, uint64_t number);
uint64_t shared_wal_sealed(const struct shared_counters *shared, unsigned worker);
/* The smallest number for which a worker's clients wait; UINT64_MAX: for none. Said before it looks
 * for the last time whether that is safe: who makes it so sees it, and wakes the worker. */
void shared_wal_want(struct shared_counters *shared, unsigned worker, uint64_t number);
uint64_t shared_wal_wanted(const struct shared_counters *shared, unsigned worker);
/* All numbers up to this one are held by so many replicas as replicas-ack wants, as they have
 * acknowledged (replication/primary.h); it never falls. Who raises it wakes whom it lets go. */
void shared_set_acked(struct shared_counters *shared, uint64_t number);
/* The last number up to which all was looked at when so many replicas had it (WAIT in a script). */
void shared_set_caught(struct shared_counters *shared, uint64_t number, uint32_t replicas);
/* How many of them have what has that number, as far as that says it. */
uint32_t shared_caught(const struct shared_counters *shared, uint64_t number);
uint64_t shared_acked(const struct shared_counters *shared);
/* A worker's segment of before the last cut is still being written or synced. */
void shared_wal_set_closing(struct shared_counters *shared, unsigned worker, bool closing);
bool shared_wal_any_closing(const struct shared_counters *shared);
/* When the first of a worker's blocks was sealed that are not known to be on the disk: monotonic
 * ms; INT64_MAX: all are. Said before anything that they are about is seen. */
void shared_wal_set_unsynced_since(struct shared_counters *shared, unsigned worker, int64_t ms);
int64_t shared_wal_unsynced_since(const struct shared_counters *shared); /* the first of all */
/* How large a worker's segment is: an estimate. */
void shared_wal_set_bytes(struct shared_counters *shared, unsigned worker, uint64_t bytes);
uint64_t shared_wal_bytes(const struct shared_counters *shared, unsigned worker);
/* A log could not be written: errno; 0: all can be. */
void shared_wal_fail(struct shared_counters *shared, int error);
int shared_wal_error(const struct shared_counters *shared);
int shared_wal_last_error(const struct shared_counters *shared); /* also when all can be again */
/* A worker refuses writes of its clients for that, from now on or no more: their replies would wait
 * for nothing. */
void shared_wal_refuse(struct shared_counters *shared, bool refuses);
bool shared_wal_any_refuses(const struct shared_counters *shared);

/* Keys that clients track (shard/watchers/tracks.h), by worker. */
void shared_set_tracked(struct shared_counters *shared, unsigned worker, size_t keys);
size_t shared_tracked(const struct shared_counters *shared);
/* How many messages a worker has for the clients of another that track: said before they are
 * published, and before anything that they are about. */
void shared_tell_trackers(struct shared_counters *shared, unsigned from, unsigned to,
                          uint64_t count);
uint64_t shared_told_trackers(const struct shared_counters *shared, unsigned from, unsigned to);

/* The script that runs on a worker, or with all shards in view: what the worker says of it once it
 * runs for long (busy.h), 0 when it is over; and the wish that it ends, which reaches only one that
 * may: false for others. */
#define SCRIPT_BUSY     (1u << 0)
#define SCRIPT_FUNCTION (1u << 1) /* FCALL's */
#define SCRIPT_WROTE    (1u << 2) /* so it must not end half-way */
#define SCRIPT_KILL     (1u << 3)
void shared_script_say(struct shared_counters *shared, unsigned worker, unsigned bits);
unsigned shared_script(const struct shared_counters *shared, unsigned worker);
bool shared_script_kill(struct shared_counters *shared, unsigned worker);

/* How many shards are sealed for scripts (shard/locks.h): one more, or one less. */
void shared_add_seals(struct shared_counters *shared, int more);
unsigned shared_seals(const struct shared_counters *shared);

/* A worker that ends has (true) or no longer has nothing more to work off: others wait for what it
 * has. Each says so when that changes; none rests at first. */
void shared_set_resting(struct shared_counters *shared, bool resting);
bool shared_all_rest(const struct shared_counters *shared);

/* When the latest save ended, in seconds of wall time; at first: when the server began. */
int64_t shared_saved_at(const struct shared_counters *shared);
void shared_set_saved_at(struct shared_counters *shared, int64_t at_seconds);
/* Changes since then, by worker, as it says now and then. */
void shared_set_changes(struct shared_counters *shared, unsigned worker, uint64_t changes);
uint64_t shared_changes(const struct shared_counters *shared);

/* Loading, from the start until worker 0 says that all workers are done: since when (seconds of
 * wall time), bytes to load, how many of them each worker has passed; and what came of it. Who
 * finds that it is over sees all that was loaded. */
void shared_begin_loading(struct shared_counters *shared, int64_t at_seconds, uint64_t bytes);
void shared_add_loaded_bytes(struct shared_counters *shared, unsigned worker, uint64_t bytes);
void shared_end_loading(struct shared_counters *shared);
/* A replica's primary cannot be reached, or has not sent all yet. */
void shared_set_aside(struct shared_counters *shared, bool reads); /* aside.h */
bool shared_aside(const struct shared_counters *shared);
void shared_set_upstream_down(struct shared_counters *shared, bool down);
bool shared_upstream_is_down(const struct shared_counters *shared);
bool shared_loading(const struct shared_counters *shared);
struct shared_progress {
    int64_t began_at;
    uint64_t bytes, loaded_bytes;
};
struct shared_progress shared_loading_progress(const struct shared_counters *shared);
void shared_set_loaded(struct shared_counters *shared, uint64_t keys, uint64_t expired);
uint64_t shared_loaded_keys(const struct shared_counters *shared);
uint64_t shared_loaded_expired(const struct shared_counters *shared);

/* Where this node's stream stands, and since when its primary has not been heard of (ms; -1: it has
 * none), as worker 0 says in each turn: for the thread of the cluster. */
struct shared_place {
    uint64_t offset;
    int64_t age_ms;
};
void shared_set_place(struct shared_counters *shared, uint64_t offset, int64_t age_ms);
struct shared_place shared_place(const struct shared_counters *shared);
/* What the connections of the cluster's bus take, as its thread says now and then. */
void shared_set_links_bytes(struct shared_counters *shared, size_t bytes);
size_t shared_links_bytes(const struct shared_counters *shared);
/* What has broken imports of slots so far (cluster/brain/brain.h): who has told of it before he
 * sent anything to the cluster's thread is counted there. */
enum import_break { IMPORT_BREAK_ERROR, IMPORT_BREAK_FULL, IMPORT_BREAK_FLUSH, IMPORT_BREAKS };
void shared_break_import(struct shared_counters *shared, enum import_break kind);
uint64_t shared_import_breaks(const struct shared_counters *shared, enum import_break kind);
/* Whether a worker has keys, as it says now and then; and whether one has. */
void shared_set_has_keys(struct shared_counters *shared, unsigned worker, bool has);
bool shared_has_keys(const struct shared_counters *shared);

/* The signal that ends the process, 0 for none yet: written by the signal thread or a SHUTDOWN,
 * read by worker 0. */
#define STOP_BY_COMMAND (-1)
void shared_ask_stop(struct shared_counters *shared, int signal);
int shared_stop_signal(const struct shared_counters *shared); /* 0: not asked */
/* Replicas that there are, as worker 0 says. */
void shared_set_replicas(struct shared_counters *shared, uint32_t count);
uint32_t shared_replicas(const struct shared_counters *shared);

#endif
