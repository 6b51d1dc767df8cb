/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated disk: what was synced survives every crash, what was not may be in any state that a
 * real one could leave, and over seeds each of those is seen. The operations themselves are tested
 * on all backends in test_rt_file.c.
 */
#include "net/sim_disk.h"

#include "base/random.h"
#include "net/rt_file.h"
#include "net/rt_sim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

/* ---- A host ---- */

struct host {
    struct sim *sim;
    struct rt *rt;
    struct sim_disk *disk;
};

struct job {
    struct rt_file_op op;
    int64_t result;
    bool told;
    struct iovec vector;
};

static const struct sim_disk_options calm = {.sector_bytes = SECTOR,
                                             .latency_min_ns = 1000,
                                             .latency_max_ns = 100000,
                                             .sync_min_ns = 100000,
                                             .sync_max_ns = 3000000};

static struct sim *world(uint64_t seed) {
    struct sim_options options = {.seed = seed, .buffer_min_bytes = 1024, .buffer_max_bytes = 1024};
    return sim_new(&options);
}

static void boot(struct host *host) {
    struct rt_options options = {
        .recv_buffers = 2, .recv_buffer_bytes = 64, .make = sim_rt_make, .world = host->sim};
    char *reason;
    cr_assert_eq(rt_new(&options, 1, &host->rt, &reason), 0);
    sim_rt_use_disk(host->rt, host->disk);
}

static struct host host_in(struct sim *sim) {
    struct host host = {.sim = sim, .disk = sim_new_disk(sim, &calm)};
    boot(&host);
    return host;
}

static struct host host_made(uint64_t seed) {
    return host_in(world(seed));
}

static void crash(struct host *host, enum sim_crash how) {
    sim_disk_crash(host->disk, how);
    rt_free(host->rt);
    cr_assert_eq(sim_disk_open_files(host->disk), 0);
    boot(host);
}

static void host_over(struct host *host) {
    rt_free(host->rt);
    sim_free(host->sim);
}

static void job_done(struct rt_file_op *op, int64_t result) {
    struct job *job = (struct job *)op;
    cr_assert_not(job->told);
    job->told = true;
    job->result = result;
}

static int64_t result_of(struct host *host, struct job *job) {
    while (!job->told) {
        rt_turn(host->rt, -1);
    }
    return job->result;
}

#define NEW_JOB                                                                                    \
    (struct job) {                                                                                 \
        .op.done = job_done                                                                        \
    }

static rt_file opened(struct host *host, const char *path) {
    struct job job = NEW_JOB;
    rt_file_open(host->rt, &job.op, path, RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE, 0);
    int64_t file = result_of(host, &job);
    cr_assert_geq(file, 0);
    return (rt_file)file;
}

static int64_t put(struct host *host, rt_file file, uint64_t offset, char what, size_t n,
                   bool sync) {
    char *data = malloc(n);
    memset(data, what, n);
    struct job job = NEW_JOB;
    job.vector = (struct iovec){data, n};
    (sync ? rt_file_write_sync : rt_file_write)(host->rt, &job.op, file, &job.vector, 1, offset);
    int64_t r = result_of(host, &job);
    free(data);
    return r;
}

static int64_t sync_file(struct host *host, rt_file file) {
    struct job job = NEW_JOB;
    rt_file_sync(host->rt, &job.op, file, RT_SYNC_DATA);
    return result_of(host, &job);
}

static int64_t cut(struct host *host, rt_file file, uint64_t bytes) {
    struct job job = NEW_JOB;
    rt_file_truncate(host->rt, &job.op, file, bytes);
    return result_of(host, &job);
}

static int64_t sync_dir(struct host *host) {
    struct job job = NEW_JOB;
    rt_dir_sync(host->rt, &job.op, ".");
    return result_of(host, &job);
}

static int64_t move(struct host *host, const char *path, const char *target) {
    struct job job = NEW_JOB;
    rt_file_rename(host->rt, &job.op, path, target);
    return result_of(host, &job);
}

static int64_t unlinked(struct host *host, const char *path) {
    struct job job = NEW_JOB;
    rt_file_remove(host->rt, &job.op, path);
    return result_of(host, &job);
}

/* '-': not there, '.': empty, else its first byte. */
static char at(struct host *host, const char *path) {
    struct bytes content;
    if (sim_disk_get(host->disk, path, &content) < 0) {
        return '-';
    }
    return content.len > 0 ? content.ptr[0] : '.';
}

/* ---- Contents ---- */

#define SIZE_MAX_BYTES 4000
#define IMAGES_MAX     64

/* Contents that a file had, from the last that was synced on. */
struct past {
    char images[IMAGES_MAX][SIZE_MAX_BYTES];
    size_t sizes[IMAGES_MAX];
    unsigned count;
};

static void past_note(struct past *past, struct host *host, bool synced) {
    struct bytes now;
    cr_assert_eq(sim_disk_get(host->disk, "f", &now), 0);
    past->count = synced ? 0 : past->count;
    cr_assert_lt(past->count, IMAGES_MAX);
    memset(past->images[past->count], 0, SIZE_MAX_BYTES);
    if (now.len > 0) {
        memcpy(past->images[past->count], now.ptr, now.len);
    }
    past->sizes[past->count++] = now.len;
}

static void past_allows(const struct past *past, struct host *host, uint64_t seed) {
    struct bytes now;
    cr_assert_eq(sim_disk_get(host->disk, "f", &now), 0, "seed %lu: no file", (unsigned long)seed);
    size_t least = SIZE_MAX_BYTES, most = 0;
    for (unsigned i = 0; i < past->count; i++) {
        least = past->sizes[i] < least ? past->sizes[i] : least;
        most = past->sizes[i] > most ? past->sizes[i] : most;
    }
    cr_assert(now.len >= least && now.len <= most, "seed %lu: %zu bytes", (unsigned long)seed,
              now.len);
    for (size_t at = 0; at < now.len; at++) {
        bool allowed = false;
        for (unsigned i = 0; i < past->count && !allowed; i++) {
            allowed = now.ptr[at] == past->images[i][at]; /* zero beyond its end */
        }
        cr_assert(allowed, "seed %lu: byte %zu is %d", (unsigned long)seed, at, now.ptr[at]);
    }
}

static void trouble(struct host *host, struct past *past, rt_file file, struct rng *rng) {
    size_t offset = rng_below(rng, 3000), n = 1 + rng_below(rng, 999);
    char what = (char)('a' + rng_below(rng, 26));
    switch (rng_below(rng, 8)) {
    case 0:
        cr_assert_eq(cut(host, file, offset), 0);
        past_note(past, host, false);
        break;
    case 1:
        cr_assert_eq(sync_file(host, file), 0);
        past_note(past, host, true);
        break;
    case 2:
        cr_assert_eq(put(host, file, offset, what, n, true), (int64_t)n);
        past_note(past, host, true);
        break;
    default:
        cr_assert_eq(put(host, file, offset, what, n, false), (int64_t)n);
        past_note(past, host, false);
    }
}

Test(sim_disk, what_was_synced_is_there_and_the_rest_is_old_new_or_zero) {
    static struct past past;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct host host = host_made(seed);
        struct rng rng;
        rng_seed(&rng, seed);
        opened(&host, "f");
        cr_assert_eq(sync_dir(&host), 0);
        for (int life = 0; life < 4; life++) {
            rt_file file = opened(&host, "f");
            past_note(&past, &host, true); /* what a crash left is on the platter */
            for (uint64_t n = rng_below(&rng, 20); n > 0; n--) {
                trouble(&host, &past, file, &rng);
            }
            bool power = rng_below(&rng, 3) > 0;
            if (!power) { /* the kernel lives: nothing is lost, nor made durable */
                crash(&host, SIM_CRASH_KILL);
                struct bytes now;
                sim_disk_get(host.disk, "f", &now);
                cr_assert_eq(now.len, past.sizes[past.count - 1]);
                cr_assert_arr_eq(now.ptr, past.images[past.count - 1], now.len);
            }
            crash(&host, SIM_CRASH_POWER);
            past_allows(&past, &host, seed);
            cr_assert_not(sim_disk_dirty(host.disk));
        }
        host_over(&host);
    }
}

/* Two old sectors written over, and one more behind them. */
Test(sim_disk, each_state_that_a_write_may_be_left_in_is_seen) {
    unsigned seen[2][2][3] = {{{0}}};
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct host host = host_made(seed);
        rt_file file = opened(&host, "f");
        cr_assert_eq(sync_dir(&host), 0);
        cr_assert_eq(put(&host, file, 0, 'A', 2 * SECTOR, true), 2 * SECTOR);
        cr_assert_eq(put(&host, file, 100, 'B', 3 * SECTOR - 100, false), 3 * SECTOR - 100);
        crash(&host, SIM_CRASH_POWER);
        struct bytes now;
        cr_assert_eq(sim_disk_get(host.disk, "f", &now), 0);
        cr_assert(now.len == 2 * SECTOR || now.len == 3 * SECTOR);
        for (int i = 0; i < 100; i++) {
            cr_assert_eq(now.ptr[i], 'A'); /* not written to, in a sector that was */
        }
        for (size_t i = 100; i < now.len; i++) { /* a sector is whole */
            size_t first = i / SECTOR * SECTOR;
            cr_assert_eq(now.ptr[i], now.ptr[first < 100 ? 100 : first]);
        }
        unsigned third = now.len == 2 * SECTOR ? 0 : now.ptr[2 * SECTOR] == 'B' ? 2 : 1;
        seen[now.ptr[100] == 'B'][now.ptr[SECTOR] == 'B'][third]++;
        host_over(&host);
    }
    for (int i = 0; i < 12; i++) {
        cr_assert_gt(seen[i / 6][i / 3 % 2][i % 3], 0, "%d %d %d", i / 6, i / 3 % 2, i % 3);
    }
}

Test(sim_disk, a_write_that_was_under_way_is_there_in_part_or_not_and_nobody_is_told) {
    unsigned none = 0, part = 0, all = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct host host = host_made(seed);
        rt_file file = opened(&host, "f");
        cr_assert_eq(sync_dir(&host), 0);
        char data[1000];
        memset(data, 'x', sizeof(data));
        struct job job = NEW_JOB;
        job.vector = (struct iovec){data, sizeof(data)};
        rt_file_write_sync(host.rt, &job.op, file, &job.vector, 1, 0);
        rt_turn(host.rt, 0);
        cr_assert_not(job.told);
        crash(&host, SIM_CRASH_KILL);
        while (sim_step(host.sim, UINT64_MAX - 1)) {
        }
        rt_turn(host.rt, 0);
        cr_assert_not(job.told);
        struct bytes now;
        cr_assert_eq(sim_disk_get(host.disk, "f", &now), 0);
        none += now.len == 0;
        part += now.len > 0 && now.len < sizeof(data);
        all += now.len == sizeof(data);
        host_over(&host);
    }
    cr_assert(none > 0 && part > 0 && all > 0, "%u %u %u", none, part, all);
}

/* A sync covers what was complete when it began. */
Test(sim_disk, a_write_beside_a_sync_is_not_covered) {
    bool lost = false;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct host host = host_made(seed);
        rt_file file = opened(&host, "f");
        cr_assert_eq(sync_dir(&host), 0);
        cr_assert_eq(put(&host, file, 0, 'A', 10, false), 10);
        struct job job = NEW_JOB;
        rt_file_sync(host.rt, &job.op, file, RT_SYNC_DATA);
        int64_t r = put(&host, file, SECTOR, 'B', 10, false);
        cr_assert_eq(r, 10);
        cr_assert_eq(result_of(&host, &job), 0);
        crash(&host, SIM_CRASH_POWER);
        struct bytes now;
        cr_assert_eq(sim_disk_get(host.disk, "f", &now), 0);
        cr_assert_geq(now.len, 10);
        cr_assert_eq(now.ptr[0], 'A');
        lost = lost || now.len == 10;
        host_over(&host);
    }
    cr_assert(lost);
}

/* ---- Names ---- */

Test(sim_disk, each_state_that_names_may_be_left_in_is_seen) {
    enum { RUNS = 600 };
    unsigned made = 0, old = 0, new = 0, temporary = 0, removed = 0, all = 0, nothing = 0;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct host host = host_made(seed);
        sim_disk_put(host.disk, "manifest", BYTES("old"));
        sim_disk_put(host.disk, "gone", BYTES("x"));
        rt_file file = opened(&host, "temporary");
        cr_assert_eq(put(&host, file, 0, 'n', 3, true), 3);
        cr_assert_eq(move(&host, "temporary", "manifest"), 0);
        opened(&host, "made");
        cr_assert_eq(unlinked(&host, "gone"), 0);
        cr_assert(sim_disk_dirty(host.disk));
        crash(&host, SIM_CRASH_POWER);
        char manifest = at(&host, "manifest");
        cr_assert(manifest == 'o' || manifest == 'n'); /* in one piece, and never away */
        cr_assert(at(&host, "temporary") == '-' || manifest == 'o');
        bool is_made = at(&host, "made") != '-', is_gone = at(&host, "gone") == '-';
        made += is_made;
        removed += is_gone;
        old += manifest == 'o';
        new += manifest == 'n';
        temporary += at(&host, "temporary") == 'n';
        all += is_made && is_gone && manifest == 'n';
        nothing += !is_made && !is_gone && manifest == 'o' && at(&host, "temporary") == '-';
        host_over(&host);
    }
    cr_assert(made > 0 && made < RUNS && removed > 0 && removed < RUNS);
    cr_assert(old > 0 && new > 0 && temporary > 0 && all > 0 && nothing > 0);
}

Test(sim_disk, names_that_were_synced_are_there) {
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct host host = host_made(seed);
        sim_disk_put(host.disk, "manifest", BYTES("old"));
        sim_disk_put(host.disk, "gone", BYTES("x"));
        rt_file file = opened(&host, "temporary");
        cr_assert_eq(put(&host, file, 0, 'n', 3, true), 3);
        cr_assert_eq(move(&host, "temporary", "manifest"), 0);
        cr_assert_eq(unlinked(&host, "gone"), 0);
        cr_assert_eq(sync_dir(&host), 0);
        opened(&host, "later");
        crash(&host, SIM_CRASH_POWER);
        cr_assert_eq(at(&host, "manifest"), 'n');
        cr_assert_eq(at(&host, "temporary"), '-');
        cr_assert_eq(at(&host, "gone"), '-');
        host_over(&host);
    }
}

Test(sim_disk, the_sync_of_a_file_is_not_that_of_its_name) {
    bool lost = false;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct host host = host_made(seed);
        cr_assert_eq(put(&host, opened(&host, "f"), 0, 'x', 10, true), 10);
        crash(&host, SIM_CRASH_POWER);
        cr_assert(at(&host, "f") == 'x' || at(&host, "f") == '-');
        lost = lost || at(&host, "f") == '-';
        host_over(&host);
    }
    cr_assert(lost);
}

/* ---- Faults ---- */

/* Kernels forget what they could not write: the next sync has nothing to do, and succeeds. */
Test(sim_disk, after_a_sync_that_failed_the_next_may_lie) {
    unsigned kept = 0, lost = 0, seen_and_lost = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct host host = host_made(seed);
        struct sim_disk_options faulty = calm;
        rt_file file = opened(&host, "f");
        cr_assert_eq(sync_dir(&host), 0);
        faulty.sync_error = 65536;
        sim_disk_set(host.disk, &faulty);
        cr_assert_eq(put(&host, file, 0, 'x', 10, true), -EIO);
        sim_disk_set(host.disk, &calm);
        bool seen = at(&host, "f") == 'x';
        cr_assert_eq(sync_file(&host, file), 0);
        crash(&host, SIM_CRASH_POWER);
        bool there = at(&host, "f") == 'x';
        cr_assert(there || at(&host, "f") == '.');
        cr_assert(seen || !there);
        kept += there;
        lost += !there;
        seen_and_lost += seen && !there;
        host_over(&host);
    }
    cr_assert(kept > 0 && lost > 0 && seen_and_lost > 0);
}

Test(sim_disk, a_full_disk_takes_what_fits) {
    struct host host = host_made(3);
    struct sim_disk_options small = calm;
    small.room_bytes = 1000;
    sim_disk_set(host.disk, &small);
    rt_file file = opened(&host, "f"), other = opened(&host, "g");
    cr_assert_eq(put(&host, file, 0, 'a', 600, false), 600);
    cr_assert_eq(put(&host, other, 0, 'b', 600, true), -ENOSPC);
    struct bytes now;
    cr_assert_eq(sim_disk_get(host.disk, "g", &now), 0);
    cr_assert_eq(now.len, 400);
    cr_assert_eq(put(&host, file, 0, 'c', 600, true), 600); /* no more than it has */
    cr_assert_eq(cut(&host, file, 0), 0);
    cr_assert_eq(put(&host, other, 400, 'b', 200, true), 200);
    host_over(&host);
}

Test(sim_disk, errors_come_as_often_as_is_asked_for) {
    struct host host = host_made(4);
    struct sim_disk_options faulty = calm;
    rt_file file = opened(&host, "f");
    faulty.write_error = faulty.read_error = faulty.name_error = 32768;
    sim_disk_set(host.disk, &faulty);
    unsigned writes = 0, reads = 0, names = 0;
    for (int i = 0; i < 200; i++) {
        char byte;
        struct job job = NEW_JOB;
        writes += put(&host, file, 0, 'x', 100, false) == -EIO;
        rt_file_read(host.rt, &job.op, file, &byte, 1, 0);
        reads += result_of(&host, &job) == -EIO;
        names += unlinked(&host, "g") == -EIO;
    }
    cr_assert(writes > 50 && writes < 150 && reads > 50 && reads < 150);
    cr_assert(names > 50 && names < 150);
    host_over(&host);
}

Test(sim_disk, a_bit_that_flips_is_read_and_stays) {
    struct host host = host_made(5);
    sim_disk_put(host.disk, "dir/f", BYTES("hello"));
    cr_assert_eq(sim_disk_flip(host.disk, "dir/f", 1, 1), 0);
    cr_assert_eq(sim_disk_flip(host.disk, "dir/f", 5, 1), -EINVAL);
    cr_assert_eq(sim_disk_flip(host.disk, "dir/g", 0, 1), -ENOENT);
    crash(&host, SIM_CRASH_POWER);
    struct bytes now;
    cr_assert_eq(sim_disk_get(host.disk, "dir/f", &now), 0);
    cr_assert(bytes_equal(now, BYTES("hdllo")));
    host_over(&host);
}

Test(sim_disk, a_slow_disk_takes_its_time) {
    struct host host = host_made(6);
    struct sim_disk_options slow = calm;
    slow.sync_min_ns = slow.sync_max_ns = 700 * 1000000ull;
    rt_file file = opened(&host, "f");
    sim_disk_set(host.disk, &slow);
    uint64_t start = sim_now_ns(host.sim);
    cr_assert_eq(put(&host, file, 0, 'x', 1, true), 1);
    cr_assert_geq(sim_now_ns(host.sim) - start, 700 * 1000000ull);
    host_over(&host);
}

/* ---- Hosts and seeds ---- */

Test(sim_disk, a_crash_is_one_host_s) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct host host = host_made(seed), other = host_in(host.sim);
        rt_file file = opened(&other, "f");
        cr_assert_eq(put(&other, file, 0, 'x', 10, false), 10);
        cr_assert_eq(at(&host, "f"), '-');
        crash(&host, SIM_CRASH_POWER);
        cr_assert_eq(at(&other, "f"), 'x');
        cr_assert_eq(put(&other, file, 0, 'y', 10, false), 10);
        rt_free(other.rt);
        host_over(&host);
    }
}

static uint64_t hash_of_run(uint64_t seed) {
    struct host host = host_made(seed);
    for (int life = 0; life < 3; life++) {
        rt_file file = opened(&host, "f");
        for (int i = 0; i < 5; i++) {
            cr_assert_eq(put(&host, file, (uint64_t)i * 700, (char)('a' + i), 900, i == 2), 900);
        }
        crash(&host, SIM_CRASH_POWER);
        struct bytes now = bytes_make("", 0);
        sim_disk_get(host.disk, "f", &now);
        sim_note_bytes(host.sim, "left", 0, now);
    }
    uint64_t hash = sim_trace_hash(host.sim);
    host_over(&host);
    return hash;
}

Test(sim_disk, a_seed_gives_the_same_run_again) {
    unsigned differ = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cr_assert_eq(hash_of_run(seed), hash_of_run(seed));
        differ += hash_of_run(seed) != hash_of_run(seed + 1);
    }
    cr_assert_eq(differ, 20);
}

Test(sim_disk, names_are_found_by_patterns) {
    static const char *const paths[] = {"d/b.x", "d/a.x", "d/a.y", "d/e/c.x"};
    struct host host = host_made(1);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        sim_disk_put(host.disk, paths[i], BYTES("1"));
    }
    char **found = sim_disk_match(host.disk, "./d/*.x");
    cr_assert_str_eq(found[0], "d/a.x");
    cr_assert_str_eq(found[1], "d/b.x");
    cr_assert_eq(found[2], NULL);
    free(found[0]);
    free(found[1]);
    free(found);
    host_over(&host);
}
