/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_disk: a disk in the memory of a simulated world (rt_sim.h): what the runtimes of one host
 * have for files, and what a crash leaves of it.
 *
 * Each file has two contents: what readers see, and what is on the platter. A write changes the
 * first; what it changed is pending until a sync that began after it. Names have two states in the
 * same way: making, renaming and removing a file are pending until the sync of its directory. When
 * power is lost, each pending write is kept, dropped or torn by sectors, each pending name kept or
 * dropped, as the seed draws; what was synced is there.
 *
 * A sync that fails does what kernels do: of what it was to write some is on the platter, some
 * stays pending, and some is lost for good though readers may still see it, so that the next sync
 * succeeds without it.
 *
 * Thread: the world's. Ownership: the world's, which frees it.
 */
#ifndef SHOAL_NET_SIM_DISK_H
#define SHOAL_NET_SIM_DISK_H

#include "base/bytes.h"

#include <stdint.h>

struct rng;
struct rt_file_op;
struct sim_disk;

/* Chances are out of 65536, of each operation. All zero but for sector_bytes: a disk that takes no
 * time, has no end and never fails. */
struct sim_disk_options {
    unsigned sector_bytes; /* what is written whole or not at all: 512 or 4096 */
    uint64_t room_bytes;   /* of all files; then -ENOSPC, with part of the write there. 0: no end */
    uint64_t latency_min_ns, latency_max_ns; /* of all but a sync */
    uint64_t sync_min_ns, sync_max_ns;
    unsigned stall; /* held up much longer */
    uint64_t stall_max_ns;
    unsigned write_error; /* -EIO, with part of the write there */
    unsigned read_error, sync_error;
    unsigned name_error; /* -EIO of opening, renaming, removing ...: nothing is done */
};

/* What a server opens by blocking calls, when it starts: at once, with the disk's faults, and no
 * time passes (sim_fs.c). Fills in what there is for files of data; logs and the
 * directory it is in are its caller's, whose struct may begin with this one, which is `arg`. */
struct fs;
struct sim_fs {
    struct sim_disk *disk;
};
void sim_fs_fill(struct sim_fs *sim_fs, struct fs *ret_fs);

/* A disk is made by sim_new_disk, and given to a runtime by sim_rt_use_disk (rt_sim.h). */
void sim_disk_set(struct sim_disk *disk, const struct sim_disk_options *options);

/* The host's processes end, and its runtimes are to be freed without another turn: of what is under
 * way some is done, in part perhaps, and nobody is told. KILL: the kernel lives on, and all it was
 * given. POWER: what was pending is kept, dropped or torn. */
enum sim_crash { SIM_CRASH_KILL, SIM_CRASH_POWER };
void sim_disk_crash(struct sim_disk *disk, enum sim_crash crash);

/* ---- For the test: at once, without faults ---- */

/* Makes or replaces a file, durable with its name and directories. */
void sim_disk_put(struct sim_disk *disk, const char *path, struct bytes content);
/* What readers see; valid until the next operation. 0 or -ENOENT. */
int sim_disk_get(const struct sim_disk *disk, const char *path, struct bytes *ret_content);
/* Bits go over on the platter. 0, -ENOENT, or -EINVAL beyond the end. */
int sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t offset, unsigned char mask);
/* Whether anything is pending. */
bool sim_disk_dirty(const struct sim_disk *disk);
/* Syncs of files that failed, so far. */
uint64_t sim_disk_failed_syncs(const struct sim_disk *disk);
unsigned sim_disk_open_files(const struct sim_disk *disk);

/* ---- For rt_sim.c ---- */

/* The world, as far as a disk knows of it. */
struct sim_disk_world {
    struct rng *rng;
    void *arg;
    /* Calls fn(disk, token) in delay_ns. */
    void (*after)(void *arg, uint64_t delay_ns, void (*fn)(void *disk, uint64_t token),
                  struct sim_disk *disk, uint64_t token);
    void (*note)(void *arg, const char *what, uint64_t a, uint64_t b, uint64_t c);
};
struct sim_disk *sim_disk_new(const struct sim_disk_world *world,
                              const struct sim_disk_options *options);
void sim_disk_free(struct sim_disk *disk);
/* Begins an operation; told(arg, op) is called, by an event, when op->result is there. */
void sim_disk_start(struct sim_disk *disk, struct rt_file_op *op,
                    void (*told)(void *arg, struct rt_file_op *op), void *arg);
/* All that is under way for `arg` is done now, and not told. */
void sim_disk_finish(struct sim_disk *disk, const void *arg);
/* An operation as a call: it is done, and gives its result. */
int64_t sim_disk_call(struct sim_disk *disk, struct rt_file_op *op);
/* Where who goes through an open file piece by piece is; NULL: it is not open. */
uint64_t *sim_disk_place(struct sim_disk *disk, int file);
bool sim_disk_exists(const struct sim_disk *disk, const char *path, bool *ret_is_dir);
/* Paths that match a shell pattern, sorted; NULL-ended, each and the array to be freed. */
char **sim_disk_match(const struct sim_disk *disk, const char *pattern);
/* Nobody was told of what an operation brought. */
void sim_disk_drop(struct sim_disk *disk, const struct rt_file_op *op);

#endif
