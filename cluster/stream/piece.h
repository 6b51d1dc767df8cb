/* SPDX-License-Identifier: BSD-3-Clause */
/* piece: a block of bytes of the replication stream, which the backlog and the outputs of replicas
 * on any thread hold together.
 *
 * Crosses threads: the count of references. Who made it goes on writing behind the bytes that
 * others have been told of; those never change. Whoever drops the last reference frees it.
 */
#ifndef SHOAL_CLUSTER_STREAM_PIECE_H
#define SHOAL_CLUSTER_STREAM_PIECE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct piece {
    _Atomic uint32_t references;
    size_t cap;
    char data[];
};

/* One reference. */
struct piece *piece_new(size_t cap);
void piece_ref(struct piece *piece);
/* A struct piece; as an outbuf's pin is released. */
void piece_unref(void *piece);

#endif
