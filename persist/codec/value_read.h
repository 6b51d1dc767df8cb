/* SPDX-License-Identifier: BSD-3-Clause */
/* value_read: a value as RDB has it, of any version and encoding that was ever written, read as its
 * bytes arrive.
 *
 *     value_read_init(&read, ks, &options, type);
 *     while ((got = value_read_some(&read, &input)) == VALUE_MORE) { more bytes behind input.at }
 *     if (got == VALUE_WHOLE) { read.build has it }
 *     value_read_fini(&read);
 *
 * Input is foreign: everything is looked at before it is used. What is wrong is said in words.
 *
 * Thread: the keyspace's owner's.
 */
#ifndef SHOAL_PERSIST_CODEC_VALUE_READ_H
#define SHOAL_PERSIST_CODEC_VALUE_READ_H

#include "persist/codec/rdb_read.h"
#include "persist/codec/value_build.h"

struct value_read_options {
    const struct value_rules *rules;
    unsigned version; /* of what the value stands in */
    /* Fields whose deadline is before that are left out; INT64_MIN: none. */
    int64_t alive_ms;
};

enum value_read_result {
    VALUE_WHOLE,
    VALUE_MORE,  /* the input ends in the middle of it */
    VALUE_BAD,   /* value_read_error says what is wrong */
    VALUE_EMPTY, /* a collection of nothing, which is none; it is passed */
};

struct value_read {
    struct value_read_options options;
    struct value_rules rules;
    const struct value_source *source; /* what its type is made of; NULL: an unknown one */
    uint8_t type;
    uint64_t module;         /* whose value it is, as its 64 bits say */
    uint64_t deadlines_from; /* what a hash's deadlines are counted from */
    struct value_build build;
    int stage;
    uint64_t left; /* elements, nodes, or entries of what is being read */
    uint64_t groups_left, consumers_left;
    struct rdb_text texts[2];
    /* A stream's. */
    struct stream_group *group;
    struct stream_consumer *consumer;
    struct pending_row *pending; /* of the group, in the order of ids */
    uint64_t pending_count, pending_room, taken;
    uint64_t entries; /* seen in its nodes */
};

void value_read_init(struct value_read *read, struct keyspace *ks,
                     const struct value_read_options *options, uint8_t type);
void value_read_fini(struct value_read *read);
/* Reads as far as it can. What was read of the input is behind input->at, and not needed again.
 * With VALUE_BAD input->error says why. */
enum value_read_result value_read_some(struct value_read *read, struct rdb_input *input);
/* After VALUE_BAD: whether nothing was wrong but that no such value is known; which, and of what
 * key, is put behind `out`. */
bool value_read_is_unknown(const struct value_read *read, struct bytes name, struct text *out);

#endif
