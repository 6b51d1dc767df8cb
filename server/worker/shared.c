/* SPDX-License-Identifier: BSD-3-Clause */
/* shared: see the header. Loads and stores of a worker's line are relaxed: these are estimates that
 * steer (where to put a connection, whom to evict), and a value that is a turn old steers as well.
 */
#include "server/worker/shared.h"

#include "base/check.h"
#include "base/must.h"
#include "server/observe/commandlogs.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64

/* A number of connections stands in a place of each row, and is the smallest of these. */
#define ADDRESS_ROWS   4
#define ADDRESS_PLACES 65536

struct worker_line {
    _Alignas(LINE) _Atomic uint32_t connections;
    _Atomic size_t memory;
    _Atomic size_t clients_memory;
    _Atomic size_t largest_client;
    _Atomic size_t strangers_memory;
    _Atomic uint64_t loaded_bytes;
    _Atomic uint64_t changes;
    _Atomic size_t tracked;
    _Atomic unsigned script;
    _Atomic bool has_keys;
};

/* Of its memory, while there is a limit. */
struct room_line {
    _Alignas(LINE) _Atomic size_t used;
    _Atomic size_t keys;
    _Atomic uint64_t score;
    _Atomic bool lacks;
    _Alignas(LINE) _Atomic size_t asked; /* written by others */
};

/* Of its log: written by the worker, read by all. */
struct wal_line {
    _Alignas(LINE) _Atomic uint64_t stands[WAL_WORDS];
    _Atomic uint64_t sealed;
    _Atomic uint64_t wanted;
    _Atomic uint64_t bytes;
    _Atomic int64_t unsynced_since;
    _Atomic bool closing;
};

struct shared_counters {
    unsigned workers;
    struct worker_line *lines;
    struct wal_line *wal_lines;
    struct room_line *room_lines;
    _Atomic uint32_t *addresses; /* rows of places */
    _Atomic uint64_t *told;      /* rows by `from`, each on lines of its own */
    size_t told_row;
    _Atomic int wal_error, wal_last_error;
    _Atomic unsigned wal_refusing; /* workers */
    _Atomic int stop_signal;
    _Atomic uint32_t replicas;
    _Atomic int64_t saved_at;
    _Atomic unsigned resting;
    _Atomic unsigned seals;
    _Atomic bool loading;
    _Atomic int64_t loading_began_at;
    _Atomic uint64_t loading_bytes;
    _Atomic bool aside; /* async_loading */
    _Atomic bool upstream_down;
    _Atomic uint64_t import_breaks[IMPORT_BREAKS];
    _Atomic uint64_t place_offset;
    _Atomic int64_t place_age_ms;
    _Atomic size_t links_bytes;
    _Atomic uint64_t loaded_keys, loaded_expired;
    _Alignas(LINE) _Atomic uint64_t number;
    _Alignas(LINE) _Atomic uint64_t line;
    _Atomic uint64_t logged[COMMANDLOG_KINDS];
    _Alignas(LINE) _Atomic uint64_t wal_count;
    _Alignas(LINE) _Atomic uint64_t acked;
    _Atomic uint64_t caught; /* a number and, in its last byte, how many replicas */
    _Alignas(LINE) _Atomic size_t leased;
};

struct shared_counters *shared_new(unsigned workers) {
    struct shared_counters *shared = must_aligned(LINE, sizeof *shared);
    shared->workers = workers;
    shared->lines = must_aligned(LINE, workers * sizeof *shared->lines);
    shared->wal_lines = must_aligned(LINE, workers * sizeof *shared->wal_lines);
    shared->room_lines = must_aligned(LINE, workers * sizeof *shared->room_lines);
    shared->told_row = (workers + LINE / 8 - 1) / (LINE / 8) * (LINE / 8);
    shared->told = must_aligned(LINE, workers * shared->told_row * sizeof *shared->told);
    shared->addresses = must_calloc(ADDRESS_ROWS * ADDRESS_PLACES, sizeof *shared->addresses);
    for (unsigned i = 0; i < workers; i++) {
        shared_wal_stand(shared, i, WAL_WRITTEN, UINT64_MAX);
        shared_wal_stand(shared, i, WAL_SYNCED, UINT64_MAX);
        shared_wal_want(shared, i, UINT64_MAX);
        shared_wal_set_unsynced_since(shared, i, INT64_MAX);
    }
    return shared;
}

void shared_free(struct shared_counters *shared) {
    if (shared != NULL) {
        free(shared->lines);
        free(shared->wal_lines);
        free(shared->room_lines);
        free(shared->told);
        free(shared->addresses);
        free(shared);
    }
}

void shared_connection_placed(struct shared_counters *shared, unsigned worker) {
    atomic_fetch_add_explicit(&shared->lines[worker].connections, 1, memory_order_relaxed);
}

void shared_connection_over(struct shared_counters *shared, unsigned worker) {
    atomic_fetch_sub_explicit(&shared->lines[worker].connections, 1, memory_order_relaxed);
}

unsigned shared_connections(const struct shared_counters *shared, unsigned worker) {
    return atomic_load_explicit(&shared->lines[worker].connections, memory_order_relaxed);
}

/* Each row mixes the hash in a way of its own. */
static _Atomic uint32_t *address_place(struct shared_counters *shared, unsigned row,
                                       uint32_t hash) {
    static const uint32_t mixes[ADDRESS_ROWS] = {0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f};
    uint32_t place = (hash ^ hash >> 15) * mixes[row] >> 20;
    return &shared->addresses[row * ADDRESS_PLACES + place % ADDRESS_PLACES];
}

unsigned shared_address_placed(struct shared_counters *shared, uint32_t hash) {
    unsigned least = UINT_MAX;
    for (unsigned row = 0; row < ADDRESS_ROWS; row++) {
        unsigned n =
            atomic_fetch_add_explicit(address_place(shared, row, hash), 1, memory_order_relaxed) +
            1;
        least = n < least ? n : least;
    }
    return least;
}

void shared_address_over(struct shared_counters *shared, uint32_t hash) {
    for (unsigned row = 0; row < ADDRESS_ROWS; row++) {
        atomic_fetch_sub_explicit(address_place(shared, row, hash), 1, memory_order_relaxed);
    }
}

void shared_set_strangers_memory(struct shared_counters *shared, unsigned worker, size_t bytes) {
    atomic_store_explicit(&shared->lines[worker].strangers_memory, bytes, memory_order_relaxed);
}

size_t shared_strangers_memory_total(const struct shared_counters *shared) {
    size_t total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += atomic_load_explicit(&shared->lines[i].strangers_memory, memory_order_relaxed);
    }
    return total;
}

unsigned shared_connections_total(const struct shared_counters *shared) {
    unsigned total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += shared_connections(shared, i);
    }
    return total;
}

void shared_set_memory(struct shared_counters *shared, unsigned worker, size_t bytes) {
    atomic_store_explicit(&shared->lines[worker].memory, bytes, memory_order_relaxed);
}

size_t shared_memory_total(const struct shared_counters *shared) {
    size_t total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += atomic_load_explicit(&shared->lines[i].memory, memory_order_relaxed);
    }
    return total;
}

void shared_set_clients_memory(struct shared_counters *shared, unsigned worker, size_t bytes,
                               size_t largest) {
    atomic_store_explicit(&shared->lines[worker].clients_memory, bytes, memory_order_relaxed);
    atomic_store_explicit(&shared->lines[worker].largest_client, largest, memory_order_relaxed);
}

size_t shared_clients_memory_total(const struct shared_counters *shared) {
    size_t total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += atomic_load_explicit(&shared->lines[i].clients_memory, memory_order_relaxed);
    }
    return total;
}

unsigned shared_largest_client_worker(const struct shared_counters *shared) {
    unsigned best = 0;
    size_t best_bytes = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        size_t bytes = atomic_load_explicit(&shared->lines[i].largest_client, memory_order_relaxed);
        if (bytes > best_bytes) {
            best_bytes = bytes;
            best = i;
        }
    }
    return best;
}

size_t shared_lease_left(const struct shared_counters *shared, uint64_t limit) {
    size_t leased = atomic_load_explicit(&shared->leased, memory_order_relaxed);
    return leased < limit ? limit - leased : 0;
}

size_t shared_leased_over(const struct shared_counters *shared, uint64_t limit) {
    size_t leased = atomic_load_explicit(&shared->leased, memory_order_relaxed);
    return leased > limit ? leased - limit : 0;
}

/* Relaxed: nothing but the sum depends on it. */
size_t shared_lease_take(struct shared_counters *shared, uint64_t limit, size_t need, size_t more,
                         size_t parts) {
    size_t leased = atomic_load_explicit(&shared->leased, memory_order_relaxed);
    size_t taken;
    do {
        size_t left = leased < limit ? limit - leased : 0;
        taken = need < left ? need : left;
        size_t part = (left - taken) / parts;
        taken += more < part ? more : part;
#ifdef SHOAL_UNSAFE_LEASES /* for the test that users of the simulator notice */
        return taken;
#endif
    } while (!atomic_compare_exchange_weak_explicit(&shared->leased, &leased, leased + taken,
                                                    memory_order_relaxed, memory_order_relaxed));
    return taken;
}

void shared_lease_return(struct shared_counters *shared, size_t bytes) {
    atomic_fetch_sub_explicit(&shared->leased, bytes, memory_order_relaxed);
}

void shared_set_used_memory(struct shared_counters *shared, unsigned worker, size_t bytes,
                            size_t keys_bytes, uint64_t score) {
    atomic_store_explicit(&shared->room_lines[worker].keys, keys_bytes, memory_order_relaxed);
    atomic_store_explicit(&shared->room_lines[worker].used, bytes, memory_order_relaxed);
    atomic_store_explicit(&shared->room_lines[worker].score, score, memory_order_relaxed);
}

void shared_set_lacks_room(struct shared_counters *shared, unsigned worker, bool lacks) {
    atomic_store_explicit(&shared->room_lines[worker].lacks, lacks, memory_order_relaxed);
}

bool shared_lacks_room(const struct shared_counters *shared) {
    bool lacks = false;
    for (unsigned i = 0; i < shared->workers; i++) {
        lacks |= atomic_load_explicit(&shared->room_lines[i].lacks, memory_order_relaxed);
    }
    return lacks;
}

size_t shared_used_memory(const struct shared_counters *shared) {
    size_t total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += atomic_load_explicit(&shared->room_lines[i].used, memory_order_relaxed);
    }
    return total;
}

unsigned shared_best_to_evict(const struct shared_counters *shared, unsigned self, uint64_t score,
                              uint64_t margin, size_t bytes) {
    unsigned best = self, largest = self;
    uint64_t best_score = score + margin;
    for (unsigned i = 0; i < shared->workers; i++) {
        const struct room_line *line = &shared->room_lines[i];
        uint64_t other = atomic_load_explicit(&line->score, memory_order_relaxed);
        size_t keys = atomic_load_explicit(&line->keys, memory_order_relaxed);
        if (i == self || other == 0) {
            continue;
        }
        if (other > best_score) {
            best_score = other;
            best = i;
        }
        if (other + margin >= score && keys > bytes) {
            bytes = keys;
            largest = i;
        }
    }
    return best != self ? best : largest;
}

bool shared_ask_room(struct shared_counters *shared, unsigned worker, size_t bytes) {
    _Atomic size_t *asked = &shared->room_lines[worker].asked;
    size_t before = atomic_load_explicit(asked, memory_order_relaxed);
    return before < bytes && atomic_compare_exchange_strong_explicit(
                                 asked, &before, bytes, memory_order_relaxed, memory_order_relaxed);
}

size_t shared_asked_room(struct shared_counters *shared, unsigned worker) {
    _Atomic size_t *asked = &shared->room_lines[worker].asked;
    if (LIKELY(atomic_load_explicit(asked, memory_order_relaxed) == 0)) {
        return 0;
    }
    return atomic_exchange_explicit(asked, 0, memory_order_relaxed);
}

void shared_set_tracked(struct shared_counters *shared, unsigned worker, size_t keys) {
    atomic_store_explicit(&shared->lines[worker].tracked, keys, memory_order_relaxed);
}

size_t shared_tracked(const struct shared_counters *shared) {
    size_t total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += atomic_load_explicit(&shared->lines[i].tracked, memory_order_relaxed);
    }
    return total;
}

/* Who sees an old number runs a script that he might have put off: no more. */
void shared_add_seals(struct shared_counters *shared, int more) {
    atomic_fetch_add_explicit(&shared->seals, (unsigned)more, memory_order_relaxed);
}

unsigned shared_seals(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->seals, memory_order_relaxed);
}

/* A wish that came before stays. */
void shared_script_say(struct shared_counters *shared, unsigned worker, unsigned bits) {
    _Atomic unsigned *script = &shared->lines[worker].script;
    unsigned before = atomic_load_explicit(script, memory_order_relaxed);
    unsigned after;
    do {
        after = bits != 0 ? bits | (before & SCRIPT_KILL) : 0;
    } while (!atomic_compare_exchange_weak_explicit(script, &before, after, memory_order_relaxed,
                                                    memory_order_relaxed));
}

unsigned shared_script(const struct shared_counters *shared, unsigned worker) {
    return atomic_load_explicit(&shared->lines[worker].script, memory_order_relaxed);
}

bool shared_script_kill(struct shared_counters *shared, unsigned worker) {
    _Atomic unsigned *script = &shared->lines[worker].script;
    unsigned before = atomic_load_explicit(script, memory_order_relaxed);
    do {
        if (!(before & SCRIPT_BUSY) || (before & SCRIPT_WROTE)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(script, &before, before | SCRIPT_KILL,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Who hears of what they are about has seen what was stored before that was published. */
void shared_tell_trackers(struct shared_counters *shared, unsigned from, unsigned to,
                          uint64_t count) {
    atomic_store_explicit(&shared->told[from * shared->told_row + to], count, memory_order_release);
}

uint64_t shared_told_trackers(const struct shared_counters *shared, unsigned from, unsigned to) {
    return atomic_load_explicit(&shared->told[from * shared->told_row + to], memory_order_acquire);
}

uint64_t shared_next_number(struct shared_counters *shared) {
    return atomic_fetch_add_explicit(&shared->number, 1, memory_order_seq_cst) + 1;
}

uint64_t shared_next_line(struct shared_counters *shared) {
    return atomic_fetch_add_explicit(&shared->line, 1, memory_order_seq_cst) + 1;
}

uint64_t shared_next_logged(struct shared_counters *shared, unsigned log) {
    return atomic_fetch_add_explicit(&shared->logged[log], 1, memory_order_relaxed);
}

uint64_t shared_logged(const struct shared_counters *shared, unsigned log) {
    return atomic_load_explicit(&shared->logged[log], memory_order_relaxed);
}

uint64_t shared_wal_count(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->wal_count, memory_order_seq_cst);
}

uint64_t shared_wal_draw(struct shared_counters *shared) {
    return atomic_fetch_add_explicit(&shared->wal_count, 1, memory_order_seq_cst) + 1;
}

void shared_wal_begin(struct shared_counters *shared, uint64_t count) {
    atomic_store_explicit(&shared->wal_count, count, memory_order_seq_cst);
}

void shared_wal_stand(struct shared_counters *shared, unsigned worker, enum shared_wal_word word,
                      uint64_t number) {
    atomic_store_explicit(&shared->wal_lines[worker].stands[word], number, memory_order_seq_cst);
}

uint64_t shared_wal_stands(const struct shared_counters *shared, unsigned worker,
                           enum shared_wal_word word) {
    return atomic_load_explicit(&shared->wal_lines[worker].stands[word], memory_order_seq_cst);
}

/* The counter first, then all words twice: a transaction may be handed over from a worker that was
 * not read yet to one that was (docs/durability.md). */
uint64_t shared_wal_safe(const struct shared_counters *shared, enum shared_wal_word word) {
    uint64_t safe = shared_wal_count(shared);
    for (unsigned i = 0; i < 2 * shared->workers; i++) {
#ifdef SHOAL_UNSAFE_LOG_IDLE /* for the test that crashes in the simulator show it */
        if (shared_wal_wanted(shared, i % shared->workers) == UINT64_MAX) {
            continue;
        }
#endif
        uint64_t stands = shared_wal_stands(shared, i % shared->workers, word);
        safe = stands - 1 < safe ? stands - 1 : safe;
    }
    return safe;
}

void shared_wal_seal(struct shared_counters *shared, unsigned worker, uint64_t number) {
    atomic_store_explicit(&shared->wal_lines[worker].sealed, number, memory_order_release);
}

uint64_t shared_wal_sealed(const struct shared_counters *shared, unsigned worker) {
    return atomic_load_explicit(&shared->wal_lines[worker].sealed, memory_order_acquire);
}

void shared_wal_want(struct shared_counters *shared, unsigned worker, uint64_t number) {
    atomic_store_explicit(&shared->wal_lines[worker].wanted, number, memory_order_seq_cst);
}

uint64_t shared_wal_wanted(const struct shared_counters *shared, unsigned worker) {
    return atomic_load_explicit(&shared->wal_lines[worker].wanted, memory_order_seq_cst);
}

void shared_set_acked(struct shared_counters *shared, uint64_t number) {
    atomic_store_explicit(&shared->acked, number, memory_order_seq_cst);
}

uint64_t shared_acked(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->acked, memory_order_seq_cst);
}

void shared_set_caught(struct shared_counters *shared, uint64_t number, uint32_t replicas) {
    uint64_t count = replicas < UINT8_MAX ? replicas : UINT8_MAX;
    atomic_store_explicit(&shared->caught, number << 8 | count, memory_order_relaxed);
}

uint32_t shared_caught(const struct shared_counters *shared, uint64_t number) {
    uint64_t caught = atomic_load_explicit(&shared->caught, memory_order_relaxed);
    return caught >> 8 >= number ? (uint32_t)(caught & UINT8_MAX) : 0;
}

void shared_wal_set_closing(struct shared_counters *shared, unsigned worker, bool closing) {
    atomic_store_explicit(&shared->wal_lines[worker].closing, closing, memory_order_release);
}

bool shared_wal_any_closing(const struct shared_counters *shared) {
    bool any = false;
    for (unsigned i = 0; i < shared->workers; i++) {
        any |= atomic_load_explicit(&shared->wal_lines[i].closing, memory_order_acquire);
    }
    return any;
}

void shared_wal_set_unsynced_since(struct shared_counters *shared, unsigned worker, int64_t ms) {
    atomic_store_explicit(&shared->wal_lines[worker].unsynced_since, ms, memory_order_release);
}

int64_t shared_wal_unsynced_since(const struct shared_counters *shared) {
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < shared->workers; i++) {
        int64_t ms =
            atomic_load_explicit(&shared->wal_lines[i].unsynced_since, memory_order_acquire);
        first = ms < first ? ms : first;
    }
    return first;
}

void shared_wal_set_bytes(struct shared_counters *shared, unsigned worker, uint64_t bytes) {
    atomic_store_explicit(&shared->wal_lines[worker].bytes, bytes, memory_order_relaxed);
}

uint64_t shared_wal_bytes(const struct shared_counters *shared, unsigned worker) {
    return atomic_load_explicit(&shared->wal_lines[worker].bytes, memory_order_relaxed);
}

void shared_wal_fail(struct shared_counters *shared, int error) {
    if (error != 0) {
        atomic_store_explicit(&shared->wal_last_error, error, memory_order_release);
    }
    atomic_store_explicit(&shared->wal_error, error, memory_order_release);
}

int shared_wal_error(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->wal_error, memory_order_acquire);
}

int shared_wal_last_error(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->wal_last_error, memory_order_acquire);
}

void shared_wal_refuse(struct shared_counters *shared, bool refuses) {
    atomic_fetch_add_explicit(&shared->wal_refusing, refuses ? 1u : -1u, memory_order_acq_rel);
}

bool shared_wal_any_refuses(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->wal_refusing, memory_order_acquire) > 0;
}

void shared_set_resting(struct shared_counters *shared, bool resting) {
    if (resting) {
        atomic_fetch_add_explicit(&shared->resting, 1, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&shared->resting, 1, memory_order_relaxed);
    }
}

bool shared_all_rest(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->resting, memory_order_relaxed) == shared->workers;
}

void shared_ask_stop(struct shared_counters *shared, int signal) {
    atomic_store_explicit(&shared->stop_signal, signal, memory_order_release);
}

int shared_stop_signal(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->stop_signal, memory_order_acquire);
}

void shared_set_replicas(struct shared_counters *shared, uint32_t count) {
    atomic_store_explicit(&shared->replicas, count, memory_order_relaxed);
}

uint32_t shared_replicas(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->replicas, memory_order_relaxed);
}

void shared_set_saved_at(struct shared_counters *shared, int64_t at_seconds) {
    atomic_store_explicit(&shared->saved_at, at_seconds, memory_order_relaxed);
}

int64_t shared_saved_at(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->saved_at, memory_order_relaxed);
}

void shared_set_changes(struct shared_counters *shared, unsigned worker, uint64_t changes) {
    atomic_store_explicit(&shared->lines[worker].changes, changes, memory_order_relaxed);
}

uint64_t shared_changes(const struct shared_counters *shared) {
    uint64_t total = 0;
    for (unsigned i = 0; i < shared->workers; i++) {
        total += atomic_load_explicit(&shared->lines[i].changes, memory_order_relaxed);
    }
    return total;
}

void shared_begin_loading(struct shared_counters *shared, int64_t at_seconds, uint64_t bytes) {
    atomic_store_explicit(&shared->loading_began_at, at_seconds, memory_order_relaxed);
    atomic_store_explicit(&shared->loading_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&shared->loading, true, memory_order_release);
}

void shared_add_loaded_bytes(struct shared_counters *shared, unsigned worker, uint64_t bytes) {
    atomic_fetch_add_explicit(&shared->lines[worker].loaded_bytes, bytes, memory_order_relaxed);
}

void shared_end_loading(struct shared_counters *shared) {
    atomic_store_explicit(&shared->loading, false, memory_order_release);
}

void shared_set_aside(struct shared_counters *shared, bool reads) {
    atomic_store_explicit(&shared->aside, reads, memory_order_relaxed);
}

bool shared_aside(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->aside, memory_order_relaxed);
}

void shared_set_upstream_down(struct shared_counters *shared, bool down) {
    atomic_store_explicit(&shared->upstream_down, down, memory_order_relaxed);
}

bool shared_upstream_is_down(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->upstream_down, memory_order_relaxed);
}

bool shared_loading(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->loading, memory_order_acquire);
}

struct shared_progress shared_loading_progress(const struct shared_counters *shared) {
    struct shared_progress progress = {
        .began_at = atomic_load_explicit(&shared->loading_began_at, memory_order_relaxed),
        .bytes = atomic_load_explicit(&shared->loading_bytes, memory_order_relaxed),
    };
    for (unsigned i = 0; i < shared->workers; i++) {
        progress.loaded_bytes +=
            atomic_load_explicit(&shared->lines[i].loaded_bytes, memory_order_relaxed);
    }
    if (progress.loaded_bytes > progress.bytes) { /* frames at the edge of a shard count twice */
        progress.loaded_bytes = progress.bytes;
    }
    return progress;
}

void shared_set_loaded(struct shared_counters *shared, uint64_t keys, uint64_t expired) {
    atomic_store_explicit(&shared->loaded_keys, keys, memory_order_relaxed);
    atomic_store_explicit(&shared->loaded_expired, expired, memory_order_relaxed);
}

uint64_t shared_loaded_keys(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->loaded_keys, memory_order_relaxed);
}

uint64_t shared_loaded_expired(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->loaded_expired, memory_order_relaxed);
}

void shared_set_place(struct shared_counters *shared, uint64_t offset, int64_t age_ms) {
    atomic_store_explicit(&shared->place_offset, offset, memory_order_relaxed);
    atomic_store_explicit(&shared->place_age_ms, age_ms, memory_order_relaxed);
}

struct shared_place shared_place(const struct shared_counters *shared) {
    return (struct shared_place){
        .offset = atomic_load_explicit(&shared->place_offset, memory_order_relaxed),
        .age_ms = atomic_load_explicit(&shared->place_age_ms, memory_order_relaxed),
    };
}

void shared_set_links_bytes(struct shared_counters *shared, size_t bytes) {
    atomic_store_explicit(&shared->links_bytes, bytes, memory_order_relaxed);
}

size_t shared_links_bytes(const struct shared_counters *shared) {
    return atomic_load_explicit(&shared->links_bytes, memory_order_relaxed);
}

void shared_break_import(struct shared_counters *shared, enum import_break kind) {
    atomic_fetch_add_explicit(&shared->import_breaks[kind], 1, memory_order_relaxed);
}

uint64_t shared_import_breaks(const struct shared_counters *shared, enum import_break kind) {
    return atomic_load_explicit(&shared->import_breaks[kind], memory_order_relaxed);
}

void shared_set_has_keys(struct shared_counters *shared, unsigned worker, bool has) {
    atomic_store_explicit(&shared->lines[worker].has_keys, has, memory_order_relaxed);
}

bool shared_has_keys(const struct shared_counters *shared) {
    for (unsigned i = 0; i < shared->workers; i++) {
        if (atomic_load_explicit(&shared->lines[i].has_keys, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}
