/* SPDX-License-Identifier: BSD-3-Clause */
/* packs: the small collections of old files that are one row of bytes, and of a form that nobody
 * writes any more: ziplists (up to Redis 6.2) and zipmaps (up to 2.4).
 *
 *     ziplist: bytes (4), offset of the last item (4), items (2; 65535: unknown), item .., 255
 *     item:    length of the one before (1 byte, or 254 and 4), kind and length, content
 *     zipmap:  pairs (1; 254: unknown), length, name, length, unused bytes (1), value, unused .., 255
 *
 * A walk checks what it passes, and stays within the bytes, whatever they are.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_CODEC_PACKS_H
#define SHOAL_PERSIST_CODEC_PACKS_H

#include "shard/ds/listpack.h"

enum pack_kind { PACK_LISTPACK, PACK_ZIPLIST, PACK_ZIPMAP };

struct pack_walk {
    enum pack_kind kind;
    struct bytes bytes;
    size_t at;       /* the next item; 0: there is none */
    size_t last;     /* a ziplist's: the one before it */
    uint64_t count;  /* items that have been seen */
    bool is_name;    /* a zipmap's: the next is one */
    bool bad;
};

void pack_walk_init(struct pack_walk *walk, enum pack_kind kind, struct bytes bytes);
/* The next item, as one of a listpack. False: that was all, or (walk->bad) the bytes are no such
 * thing, which is only known when all have been seen. */
bool pack_walk_next(struct pack_walk *walk, struct listpack_item *ret);

#endif
