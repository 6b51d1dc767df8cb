/* SPDX-License-Identifier: BSD-3-Clause */
/* offline: keys in memory, and the server's commands to change them, without a server: one shard,
 * no sockets, no clock of its own. Records of a log run here as they ran.
 *
 * Keys past their deadline stay until a record deletes them, whatever the time is.
 *
 * Thread: the one that made it.
 */
#ifndef SHOAL_SERVER_CHECK_OFFLINE_H
#define SHOAL_SERVER_CHECK_OFFLINE_H

#include "base/text.h"
#include "net/file.h"
#include "persist/check/keys.h"

struct offline;

/* NULL, and why. */
struct offline *offline_new(const struct fs *fs, struct text *why);
void offline_free(struct offline *offline);

struct keyspace *offline_keyspace(struct offline *offline);
const struct value_rules *offline_rules(const struct offline *offline);

/* Puts a key of a snapshot among the others; for struct keys_options, whose `arg` is `offline`. */
const char *offline_put(void *arg, const struct keys_key *key);
/* The same for a library of functions. */
const char *offline_put_library(void *arg, struct bytes code);
/* The texts of those that are there, in an array that is the caller's; oldest first. */
struct bytes *offline_libraries(const struct offline *offline, uint32_t *ret_count);
/* As an RDB file has them. */
void offline_write_libraries(const struct offline *offline, struct text *out);
/* Runs a command at that time. False: it was refused, and *why says how. */
bool offline_run(struct offline *offline, uint32_t db, struct bytes *argv, uint32_t argc,
                 int64_t now_ms, struct text *why);

/* What a transaction says in each of its parts, though it is done once. */
bool offline_is_of_all(const struct offline *offline, const struct bytes *argv, uint32_t argc);

/* Whether a log may have such a command: NULL, or why not. Of struct data_dir_options. */
const char *offline_accepts(void *arg, const struct bytes *argv, uint32_t argc);

/* A key as commands that make it, each a RESP request; then it goes. For struct keys_options, whose
 * `arg` is an offline_shown. */
struct offline_shown {
    struct offline *offline;
    void (*show)(void *arg, uint32_t db, struct bytes request);
    void *arg;
};
const char *offline_show(void *arg, const struct keys_key *key);
/* A library as the command that loads it, in place of one of its name. */
const char *offline_show_library(void *arg, struct bytes code);

#endif
