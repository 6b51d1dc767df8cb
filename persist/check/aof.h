/* SPDX-License-Identifier: BSD-3-Clause */
/* aof: files of Redis and Valkey: an RDB file, a file of requests, and the directory in which an AOF
 * of parts lies (from Redis 7 on), looked at from beginning to end.
 *
 * Thread: the keyspace's owner's.
 */
#ifndef SHOAL_PERSIST_CHECK_AOF_H
#define SHOAL_PERSIST_CHECK_AOF_H

#include "net/file.h"
#include "persist/check/keys.h"

struct aof_part {
    uint64_t bytes; /* that are sound */
    uint64_t keys, requests;
    const char *error; /* what is wrong behind them, or NULL */
    uint64_t at;
    bool torn; /* the file ends in the middle of a request */
};

/* All of an RDB file. */
bool aof_read_rdb(const struct fs *fs, const char *path, const struct keys_options *options,
                  struct aof_part *ret);
/* Requests, with an RDB file ahead of them or not. */
bool aof_read(const struct fs *fs, const char *path, const struct keys_options *options,
              struct aof_part *ret);
/* The parts that the directory's manifest names, in it or in `appendonlydir` below it. *ret_found:
 * there is one. False: something is wrong; what there is was said. */
bool aof_verify_dir(const struct fs *fs, const char *path, const struct keys_options *options,
                    struct text *out, bool *ret_found);

#endif
