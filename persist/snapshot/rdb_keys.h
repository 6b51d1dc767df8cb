/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_keys: the keys of an RDB stream, put into keyspaces as its bytes come.
 *
 *     rdb_keys_init(&keys, &options);
 *     while ((got = rdb_keys_some(&keys, &input, budget)) != RDB_KEYS_END && ...)
 *         RDB_KEYS_MORE: more bytes behind what is left of input
 *         RDB_KEYS_SLICE: that were `budget` keys; others may work
 *
 * A stream is a whole RDB file, or what the frames of a snapshot hold (frames.h), which has no
 * beginning and no end. A value is built while its bytes pass.
 *
 * Thread: any, while it alone has the keyspaces.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_RDB_KEYS_H
#define SHOAL_PERSIST_SNAPSHOT_RDB_KEYS_H

#include "persist/codec/rdb_file.h"
#include "persist/codec/value_read.h"

struct rdb_keys_options {
    const struct hash_secret *secret;
    const struct value_rules *rules;
    uint32_t databases;
    uint32_t first_db; /* database 0 of the stream is that of the keyspace (keyspace_aside) */
    int64_t now_ms;    /* what was over before that is left out */
    bool relaxed;   /* also versions that are not known (rdb-version-check) */
    bool check_sum; /* rdbchecksum */
    bool frames;    /* a snapshot's: no beginning, no end */
    bool keep_over; /* what was over is kept: its end is still to come (a log's) */
    bool replaces;  /* a key that is there already, in the keyspace, gives way */
    /* The keyspace of a slot; NULL: somebody else's, such a key is passed. */
    struct keyspace *(*keyspace_of)(void *arg, uint16_t slot);
    void *arg;
    struct keyspace *any; /* where what is passed is read into, and dropped */
    /* A library of functions. False: it is none; who says so has told the log why. NULL: they are
     * somebody else's, and only counted. */
    bool (*library)(void *arg, struct bytes code);
};

struct rdb_loaded {
    uint64_t keys, expired;
    uint64_t empty;     /* collections of nothing, which are none */
    uint64_t functions; /* libraries */
    uint64_t bytes;
};

struct rdb_keys {
    struct rdb_keys_options options;
    struct rdb_loaded loaded;
    struct rdb_file file;
    struct rdb_text text; /* of a string */
    /* In the middle of a key. */
    bool in_value;
    struct key key;
    struct text name;
    struct text why; /* of an error that names the key */
    struct keyspace *ks; /* NULL: somebody else's */
    struct value_read read;
};

/* What is wrong with an input that has no more bytes after RDB_KEYS_MORE. */
#define RDB_KEYS_CUT_OFF "the file is cut off"

enum rdb_keys_got { RDB_KEYS_MORE, RDB_KEYS_SLICE, RDB_KEYS_END, RDB_KEYS_BAD };

void rdb_keys_init(struct rdb_keys *keys, const struct rdb_keys_options *options);
void rdb_keys_fini(struct rdb_keys *keys);
/* At most so many keys. RDB_KEYS_BAD: input->error says what is wrong (and lives as
 * long as `keys`), keys->file.passed where. */
enum rdb_keys_got rdb_keys_some(struct rdb_keys *keys, struct rdb_input *input, uint32_t budget);
/* It stands in the middle of a key: of one that would be put somewhere, or of any. */
bool rdb_keys_in_own_key(const struct rdb_keys *keys);
/* What was begun is left: the bytes that follow are a key's first, or an item's. */
void rdb_keys_leave_value(struct rdb_keys *keys);

#endif
