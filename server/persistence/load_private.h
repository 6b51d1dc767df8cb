/* SPDX-License-Identifier: BSD-3-Clause */
/* load_private: what the sources of loading share. Private to server/persistence.
 *
 * Thread: each struct says.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_LOAD_PRIVATE_H
#define SHOAL_SERVER_PERSISTENCE_LOAD_PRIVATE_H

#include "base/text.h"
#include "persist/log/manifest.h"
#include "persist/snapshot/rdb_keys.h"
#include "server/persistence/load.h"
#include "shard/mailbox.h"

struct load_bases;

/* The process's. What stands first is main's until the workers run, and constant then; the rest is
 * worker 0's. */
struct load {
    struct text dir; /* that has the files, with a slash behind it */
    struct manifest manifest;
    int64_t start_us; /* wall */
    int64_t now_ms;   /* what was over before that is left out */

    unsigned left; /* workers whose news is still to come */
    struct rdb_loaded sum;
    uint64_t *keys; /* by base: those that were found */
    struct text failure;
    struct message *over; /* by worker */
};

/* A worker's. Its news is worker 0's while it is under way. */
struct load_worker {
    struct message news; /* first */
    struct worker *worker;
    struct load *load;
    struct load_bases *bases; /* NULL: they are done */
    struct rdb_loaded loaded;
    uint64_t *keys;    /* by base */
    struct text error; /* what is wrong; empty: nothing */
    uint64_t delay_us; /* key-load-delay: so long it is still to do nothing */
    int64_t wait_ms;   /* and until then it does, wall */
    bool told;
};

/* ---- load.c ---- */

/* What is wrong with a file of the data: the process will end, and say so. */
void load_fail(struct load_worker *self, const char *path, uint64_t at, const char *reason);

/* Keys have been loaded: key-load-delay wants a rest for each. True: for a while. */
bool load_delay(struct load_worker *self, uint64_t keys);

/* ---- load_bases.c ---- */

struct load_bases *load_bases_new(struct load_worker *self);
/* Its runtime has gone, or it has nothing under way. */
void load_bases_free(struct load_bases *bases);
enum load_step {
    LOAD_GOES_ON,
    LOAD_WAITS, /* for a file */
    LOAD_RESTS, /* load_delay said so */
    LOAD_IS_DONE,
    LOAD_FAILED, /* load_fail was called */
};
/* Goes on until `end` (rt_ticks), or as far as it can. */
enum load_step load_bases_some(struct load_bases *bases, uint64_t end);

#endif
