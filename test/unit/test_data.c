/* SPDX-License-Identifier: BSD-3-Clause */
/* What is the data changes in one step, whatever the disk does: crashes at every moment, of the
 * process and of the power, errors of every operation, and a disk that is full.
 */
#include "server/persistence/data.h"

#include "net/rt_sim.h"

#include <criterion/criterion.h>
#include <errno.h>

#define SHARDS 3

struct host {
    struct sim *sim;
    struct rt *rt;
    struct sim_disk *disk;
};

static const struct sim_disk_options calm = {.sector_bytes = 512,
                                             .latency_min_ns = 1000,
                                             .latency_max_ns = 100000,
                                             .sync_min_ns = 100000,
                                             .sync_max_ns = 3000000};

static void boot(struct host *host) {
    struct rt_options options = {
        .recv_buffers = 2, .recv_buffer_bytes = 64, .make = sim_rt_make, .world = host->sim};
    char *reason;
    cr_assert_eq(rt_new(&options, 1, &host->rt, &reason), 0);
    sim_rt_use_disk(host->rt, host->disk);
}

static struct host host_made(uint64_t seed) {
    struct sim_options options = {.seed = seed, .buffer_min_bytes = 1024, .buffer_max_bytes = 1024};
    struct host host = {.sim = sim_new(&options)};
    host.disk = sim_new_disk(host.sim, &calm);
    boot(&host);
    return host;
}

static void host_over(struct host *host) {
    rt_free(host->rt);
    sim_free(host->sim);
}

/* ---- A snapshot, as a save makes it ---- */

static uint64_t bytes_in(uint64_t generation, uint32_t shard) {
    return 100 + 300000 * shard + generation;
}

struct saving {
    struct data_change change;
    struct data *data;
    uint64_t generation;
    struct save_file files[SHARDS];
    unsigned begun, over;
    int error;
    bool known, asked, done;
};

static void base_path(struct text *path, uint64_t generation, uint32_t shard) {
    char name[MANIFEST_NAME_BYTES];
    manifest_base_name(name, generation, shard);
    text_clear(path);
    data_path(path, "/d", "a", name);
}

static bool name_bases(struct data_change *change, struct manifest *manifest) {
    const struct saving *saving = (struct saving *)change;
    manifest->generation = saving->generation;
    manifest->shards = SHARDS;
    manifest->bases_count = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        manifest_add_base(manifest, &(struct manifest_base){
                                        .shard = i,
                                        .salt = saving->generation * SHARDS + i,
                                        .bytes = bytes_in(saving->generation, i),
                                    });
    }
    return true;
}

static void switched(struct data_change *change, int error) {
    struct saving *saving = (struct saving *)change;
    saving->error = saving->error != 0 ? saving->error : error;
    saving->done = true;
}

static void is_known(struct data_change *change, int error) {
    struct saving *saving = (struct saving *)change;
    saving->error = error;
    saving->known = true;
    saving->generation = saving->data->manifest.generation + 1;
}

static void saving_begin(struct saving *saving, struct data *data) {
    *saving = (struct saving){
        .change = {.dir = "/d", .dir_name = "a", .makes_dir = true, .done = is_known},
        .data = data};
    data_ask(data, &saving->change);
}

static void begin_files(struct saving *saving) {
    struct text path;
    text_init(&path);
    for (; saving->begun < SHARDS; saving->begun++) {
        struct save_file *file = &saving->files[saving->begun];
        base_path(&path, saving->generation, saving->begun);
        save_file_init(file, saving->data->rt);
        save_file_open(file, path.ptr, 0, true, true);
        for (uint64_t n = bytes_in(saving->generation, saving->begun); n > 0; n--) {
            text_append_char(&file->filling, (char)('a' + saving->generation));
        }
        save_file_end(file);
    }
    text_fini(&path);
}

/* True: it is over. */
static bool saving_some(struct saving *saving) {
    data_step(saving->data);
    bool failed = saving->error != 0 && !saving->asked;
    if (failed || saving->done || !saving->known) {
        return failed || (saving->done && data_is_idle(saving->data));
    }
    begin_files(saving);
    bool over = true;
    for (unsigned i = 0; i < SHARDS; i++) {
        over &= save_file_step(&saving->files[i]);
        saving->error = saving->error != 0 ? saving->error : saving->files[i].error;
    }
    if (over && saving->error == 0 && !saving->asked) {
        saving->asked = true;
        saving->change.apply = name_bases;
        saving->change.done = switched;
        data_ask(saving->data, &saving->change);
    }
    return false;
}

static void forget(struct saving *saving) {
    for (unsigned i = 0; i < saving->begun; i++) {
        save_file_forget(&saving->files[i]);
    }
}

/* The generation that a start would find; all of its files are whole. 0: none. */
static uint64_t found(struct host *host) {
    struct bytes content;
    if (sim_disk_get(host->disk, "/d/a/" MANIFEST_NAME, &content) != 0) {
        return 0;
    }
    struct manifest manifest;
    manifest_init(&manifest);
    const char *wrong = manifest_decode(content, &manifest);
    cr_assert_eq(wrong, NULL, "%s", wrong);
    cr_assert_eq(manifest.bases_count, SHARDS);
    struct text path;
    text_init(&path);
    for (uint32_t i = 0; i < SHARDS; i++) {
        base_path(&path, manifest.generation, i);
        cr_assert_eq(sim_disk_get(host->disk, path.ptr, &content), 0, "%s is missing", path.ptr);
        cr_assert_eq(content.len, bytes_in(manifest.generation, i));
        for (size_t at = 0; at < content.len; at += 97) {
            cr_assert_eq(content.ptr[at], (char)('a' + manifest.generation));
        }
    }
    uint64_t generation = manifest.generation;
    text_fini(&path);
    manifest_fini(&manifest);
    return generation;
}

/* So many turns, or to its end; true: it came there. */
static bool saves(struct host *host, struct data *data, struct saving *saving, unsigned turns) {
    saving_begin(saving, data);
    while (turns-- > 0) {
        if (saving_some(saving)) {
            return true;
        }
        rt_turn(host->rt, 1000000);
    }
    return false;
}

static void make_parent(struct host *host) {
    sim_disk_put(host->disk, "/d/file", BYTES("makes the directory"));
}

Test(data, a_crash_at_any_moment_leaves_the_old_or_the_new) {
    unsigned olds = 0, news = 0, ends = 0;
    for (unsigned seed = 1; seed <= 300; seed++) {
        struct host host = host_made(seed);
        struct data data;
        struct saving saving;
        make_parent(&host);
        data_init(&data, host.rt);
        cr_assert(saves(&host, &data, &saving, UINT32_MAX) && saving.error == 0);
        forget(&saving);
        cr_assert_eq(found(&host), 1);
        bool ended = saves(&host, &data, &saving, seed % 100);
        sim_disk_crash(host.disk, seed % 3 == 0 ? SIM_CRASH_KILL : SIM_CRASH_POWER);
        rt_free(host.rt);
        bool promised = saving.done && saving.error == 0;
        forget(&saving);
        data_fini(&data);
        boot(&host);
        uint64_t generation = found(&host);
        cr_assert(generation == 2 || (generation == 1 && !promised), "seed %u: %d", seed,
                  (int)generation);
        olds += generation == 1;
        news += generation == 2;
        ends += ended;
        /* And it goes on from there. */
        data_init(&data, host.rt);
        cr_assert(saves(&host, &data, &saving, UINT32_MAX) && saving.error == 0);
        cr_assert_eq(found(&host), generation + 1);
        forget(&saving);
        data_fini(&data);
        host_over(&host);
    }
    cr_expect(olds > 20 && news > 20 && ends > 5, "%u %u %u", olds, news, ends);
}

Test(data, errors_leave_the_old_or_the_new) {
    unsigned failures = 0;
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct host host = host_made(seed);
        struct data data;
        struct saving saving;
        make_parent(&host);
        data_init(&data, host.rt);
        cr_assert(saves(&host, &data, &saving, UINT32_MAX) && saving.error == 0);
        forget(&saving);
        struct sim_disk_options bad = calm;
        bad.write_error = bad.sync_error = bad.name_error = 3000;
        bad.room_bytes = seed % 4 == 0 ? 1200000 : 0;
        sim_disk_set(host.disk, &bad);
        saves(&host, &data, &saving, 2000);
        sim_disk_set(host.disk, &calm);
        for (unsigned i = 0; i < 200; i++) { /* what is under way ends */
            saving_some(&saving);
            rt_turn(host.rt, 1000000);
        }
        failures += saving.error != 0;
        uint64_t generation = found(&host);
        cr_assert(generation == 2 || (generation == 1 && saving.error != 0), "seed %u", seed);
        rt_free(host.rt);
        forget(&saving);
        data_fini(&data);
        sim_free(host.sim);
    }
    cr_expect(failures > 40, "%u", failures);
}

static bool name_none(struct data_change *change, struct manifest *manifest) {
    (void)change, (void)manifest;
    return false;
}

static void asked_again(struct data_change *change, int error) {
    struct saving *saving = (struct saving *)change;
    saving->error = error;
    saving->done = true;
}

/* Whoever was told that it is gone once, after a sync of names that failed, too. */
Test(data, what_was_given_up_does_not_come_back) {
    unsigned failures = 0;
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct host host = host_made(seed);
        struct data data;
        struct saving saving;
        make_parent(&host);
        data_init(&data, host.rt);
        cr_assert(saves(&host, &data, &saving, UINT32_MAX) && saving.error == 0);
        forget(&saving);
        struct sim_disk_options bad = calm;
        bad.sync_error = 25000;
        sim_disk_set(host.disk, &bad);
        do {
            saving = (struct saving){
                .change = {.dir = "/d", .dir_name = "a", .apply = name_none, .done = asked_again}};
            data_ask(&data, &saving.change);
            while (!saving.done) {
                data_step(&data);
                rt_turn(host.rt, 1000000);
            }
            failures += saving.error != 0;
        } while (saving.error != 0);
        sim_disk_crash(host.disk, SIM_CRASH_POWER);
        rt_free(host.rt);
        data_fini(&data);
        boot(&host);
        cr_assert_eq(found(&host), 0, "seed %u", seed);
        host_over(&host);
    }
    cr_expect(failures > 50, "%u", failures);
}
