/* SPDX-License-Identifier: BSD-3-Clause */
/* reader: finds replies in a byte stream, in place and incrementally: what the parser is to
 * requests. RESP2 and RESP3, all types.
 *
 * Thread: any; pure over its own state. The caller owns the bytes. `reader_run` is given all
 * unconsumed bytes of the stream from the first byte of the current reply on; between calls the
 * bytes may move as long as they stay the same, because the reader keeps offsets. Texts of a
 * finished reply point into those bytes, its values lie in the reader until the next call.
 *
 * The other end may be anybody. Memory grows with what has arrived, never with what a header
 * promises, and a reply has its limits. For every byte stream and every split of it the same
 * replies and errors come out (property test).
 */
#ifndef SHOAL_PROTO_READER_H
#define SHOAL_PROTO_READER_H

#include "base/bytes.h"

#include <stdint.h>

enum read_status {
    READ_MORE,  /* incomplete: call again with more bytes */
    READ_REPLY, /* one reply */
    READ_ERROR, /* no RESP, or more than the limits allow: reader->error says which; nothing that
                   follows in the stream can be understood */
};

enum reader_kind {
    READER_STATUS, /* +text */
    READER_ERROR,  /* -text, or !len: its code is the first word */
    READER_BULK,   /* $len */
    READER_INTEGER,
    READER_NULL, /* $-1, *-1, _ */
    READER_DOUBLE,
    READER_BOOLEAN,
    READER_BIG_NUMBER, /* digits as text */
    READER_VERBATIM,   /* text with its kind ahead of it: "txt:" */
    /* What follows has values in it. */
    READER_ARRAY,
    READER_SET,
    READER_MAP,
    READER_ATTRIBUTE, /* pairs about the value behind it, of which it is no part */
    READER_PUSH,      /* is no answer to anything */
};

/* A reply lies flat: a value, and right behind it those that are in it. */
struct reader_value {
    enum reader_kind kind;
    uint32_t span;     /* itself and all that is in it: how far it is to what comes behind */
    struct bytes text; /* of all but aggregates and nulls: what stood on the wire */
    int64_t integer;   /* INTEGER; BOOLEAN: 0 or 1; aggregates: values directly in them, keys and
                          values of pairs counted each */
    double number;     /* DOUBLE */
    size_t offset;     /* private: of the text */
};

/* From one value of an aggregate to the next. */
static inline const struct reader_value *reader_next(const struct reader_value *value) {
    return value + value->span;
}

struct reader_limits {
    int64_t bulk_len_max; /* of one bulk; how much of a reply may wait is up to the caller */
    uint32_t values_max;  /* of one reply, aggregates and all */
};

#define READER_DEPTH_MAX 64 /* aggregates in each other */

struct reader {
    /* Private: where the scan of the current reply stands. Offsets count from its first byte. */
    size_t pos;
    size_t searched;  /* up to here the line at pos has no end */
    int64_t bulk_len; /* of the bulk whose bytes begin at pos; -1 outside one */
    struct reader_value *values;
    uint32_t count, capacity;
    unsigned depth;
    struct {
        uint32_t value;
        int64_t left; /* values still to come in it */
    } open[READER_DEPTH_MAX];
    bool restart; /* the reply is out: the next call begins anew */
    /* Set with READ_ERROR: what is wrong, a few words. */
    const char *error;
};

struct reader_reply {
    /* The first is the reply, but for attributes ahead of it: see reader_reply_value. */
    const struct reader_value *values;
    uint32_t count;
};

void reader_init(struct reader *reader);
void reader_fini(struct reader *reader);

/* Looks for one reply at the start of `input`. With READ_REPLY *ret_consumed bytes are done with.
 * After READ_ERROR the reader may only be finished, or begun anew with reader_init. */
enum read_status reader_run(struct reader *reader, const struct reader_limits *limits,
                            struct bytes input, struct reader_reply *ret_reply,
                            size_t *ret_consumed);

/* The value that attributes are about, if there are any. */
const struct reader_value *reader_reply_value(const struct reader_reply *reply);

/* After READ_MORE: how many bytes the reply has at least, as far as its headers tell; more than
 * there were. */
size_t reader_bytes_needed(const struct reader *reader);

#endif
