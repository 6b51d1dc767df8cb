/* SPDX-License-Identifier: BSD-3-Clause */
/* piece: see the header. The memory is the process's and no shard's: what replicas have yet to read
 * is no part of what a shard may take of maxmemory. */
#include "cluster/stream/piece.h"

#include "base/must.h"

#include <stdlib.h>

struct piece *piece_new(size_t cap) {
    struct piece *piece = must_malloc(sizeof *piece + cap);
    atomic_init(&piece->references, 1);
    piece->cap = cap;
    return piece;
}

void piece_ref(struct piece *piece) {
    atomic_fetch_add_explicit(&piece->references, 1, memory_order_relaxed);
}

void piece_unref(void *arg) {
    struct piece *piece = arg;
    if (atomic_fetch_sub_explicit(&piece->references, 1, memory_order_acq_rel) == 1) {
        free(piece);
    }
}
