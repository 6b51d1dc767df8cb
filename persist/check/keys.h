/* SPDX-License-Identifier: BSD-3-Clause */
/* keys: an RDB stream of keys taken apart as its bytes are pushed in, in whatever pieces: that of an
 * RDB file, or what the frames of a snapshot hold one behind the other. Every value is made, so that
 * all is looked at that a start would look at.
 *
 * Thread: the keyspace's owner's.
 */
#ifndef SHOAL_PERSIST_CHECK_KEYS_H
#define SHOAL_PERSIST_CHECK_KEYS_H

#include "persist/codec/rdb_file.h"
#include "persist/codec/value_read.h"

#define KEYS_DATABASES_MAX 65536

/* One key; lives only during the call. */
struct keys_key {
    struct bytes name;
    uint32_t db;
    uint16_t slot;
    enum value_type type;
    int64_t expires_at;
    int64_t idle_seconds;       /* less than 0: not said */
    int frequency;              /* the same */
    struct value_build *build;  /* its value, to be taken or left */
};

struct keys_options {
    struct keyspace *ks; /* whose memory values are made in */
    const struct value_rules *rules;
    /* NULL, or what is wrong with the key. */
    const char *(*key)(void *arg, const struct keys_key *key);
    void *arg;
    /* The same for a library of functions; or NULL. */
    const char *(*library)(void *arg, struct bytes code);
    /* Where an error that names a key is put, and then lives; NULL: none does. */
    struct text *why;
};

struct keys {
    struct keys_options options;
    struct rdb_file file;
    struct value_read read;
    bool in_value, ended;
    bool stops; /* what follows the end is no fault: it is in `left` */
    bool has_db;
    struct text name;
    struct text left; /* what was not taken yet */
    /* So far. */
    uint64_t count, empty, functions;
};

/* `is_file`: with a beginning and an end, and a checksum. */
void keys_init(struct keys *keys, const struct keys_options *options, bool is_file);
void keys_fini(struct keys *keys);
/* NULL, or what is wrong behind the bytes file.passed. */
const char *keys_push(struct keys *keys, struct bytes bytes);
/* Whether nothing is left of what was pushed: a key may begin. And forgets the database. */
bool keys_is_between(const struct keys *keys);
void keys_begin_frame(struct keys *keys);

#endif
