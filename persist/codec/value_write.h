/* SPDX-License-Identifier: BSD-3-Clause */
/* value_write: a value as RDB has it, written in slices.
 *
 *     if (!value_write_begin(&write, &value, version, compress)) { no reader of that version ... }
 *     rdb_put_byte(out, write.type);                and, in a file, the key
 *     while (!value_write_some(&write, out, budget)) { let others work; send what is there }
 *
 * Between two slices the value must not change. Collections in one row of bytes go out as they are.
 *
 * Thread: the value's owner's, or whoever it is lent to.
 */
#ifndef SHOAL_PERSIST_CODEC_VALUE_WRITE_H
#define SHOAL_PERSIST_CODEC_VALUE_WRITE_H

#include "base/text.h"
#include "persist/codec/rdb.h"
#include "shard/ds/idtree.h"
#include "shard/types/value.h"

/* What is to be written next, of a stream. */
enum value_write_stage { WRITE_BEGIN, WRITE_NODES, WRITE_GROUP, WRITE_PENDING, WRITE_CONSUMER,
                         WRITE_TAKEN };

struct value_write {
    struct value value;
    unsigned version;
    enum rdb_type type;
    bool compress;
    /* Where it goes on. */
    enum value_write_stage stage;
    uint64_t cursor;
    struct stream_id from;
    uint32_t group, consumer;
};

/* The lowest version that carries such a value. */
unsigned value_write_version(const struct value *value);
/* False: a reader of this version has nothing to keep it in (fields with deadlines, before 80). */
bool value_write_begin(struct value_write *write, const struct value *value, unsigned version,
                       bool compress);
/* Puts about `budget` bytes behind `out`, at least something. True: that was all. */
bool value_write_some(struct value_write *write, struct text *out, size_t budget);

/* Puts one element of a set, a hash or a sorted set, as a walk shows it: such a value is a count
 * (rdb_put_length) and so many of them, in any order. */
void value_write_element(const struct value_write *write, const struct value_element *element,
                         struct text *out);

/* A dump: type, value, and a footer with the version. Of a value that `version` carries. */
void value_write_dump(const struct value *value, unsigned version, bool compress,
                      struct text *out);

#endif
