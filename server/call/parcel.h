/* SPDX-License-Identifier: BSD-3-Clause */
/* parcel: a value on its way to another server, as a dump that RESTORE takes (SPREAD_SEND).
 *
 *     owner of the key   parcel_begin                 in STAGE_ASK: there is a value
 *                        parcel_pack_some ... whole   in slices, with the key locked
 *     home               row->send                    the other server is asked to take them
 *     owner              accepted                     in STAGE_ACT: it has
 *
 * Thread: the owner's of the key while a part of the transaction is there; else home's.
 * Ownership: the transaction's, which ends it (parcel_fini) when the sending is over.
 */
#ifndef SHOAL_SERVER_CALL_PARCEL_H
#define SHOAL_SERVER_CALL_PARCEL_H

#include "persist/codec/value_write.h"
#include "proto/reply.h"

struct entry;
struct exec;
struct keyspace;
struct worker;

struct parcel {
    uint32_t index; /* of its key in argv */
    bool present;   /* the key has a value */
    bool written;   /* and all of it is in `dump`, */
    bool packed;    /* with what comes at a dump's end */
    bool sent;      /* it was still alive by then */
    bool accepted;  /* the other server has it */
    int64_t expires_at;
    struct value_write write;
    struct text dump;
    uint64_t crc; /* of the first `summed` bytes of it */
    size_t summed;
};

/* That of a key of x, by the key's position in argv. */
struct parcel *parcel_of(const struct exec *x, uint32_t argv_index);
/* The value is lent for it, till its transaction takes it back. */
void parcel_begin(struct parcel *parcel, struct keyspace *keyspace, struct entry *entry,
                  bool compress);
/* Takes *budget bytes at most, or a little more, off what is left to pack, and off *budget. True:
 * it is packed, or there is nothing in it. */
bool parcel_pack_some(struct parcel *parcel, size_t *budget);
void parcel_fini(struct parcel *parcel);

/* What home sends. */
struct sending {
    struct worker *worker;
    struct bytes *argv;
    uint32_t argc;
    struct parcel *parcels;
    uint32_t count;
    struct reply reply; /* written before it is over */
    bool acts;          /* said by then: something was accepted, and its owner has to act */
    /* Called when it is over, unless row->send has said so. */
    void (*over)(struct sending *sending);
    void *arg;
};

#endif
