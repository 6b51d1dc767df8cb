/* SPDX-License-Identifier: BSD-3-Clause */
/* outbuf: a chain of chunks that one writer fills and one sender drains.
 *
 * Replies of a connection, replies of a batch on its way home, and any text whose length is not
 * known beforehand are outbufs. Chunks never move once written, so a send may be in flight while
 * more is appended. Small parts are copied, large ones (a big value) are linked in place and held
 * by a pin until they are sent.
 *
 * Thread: one at a time; hand-over by mailbox. Chunks may be freed by any thread.
 * Memory: chunks come from the default allocator; a pin is released by the thread that drains.
 */
#ifndef SHOAL_BASE_OUTBUF_H
#define SHOAL_BASE_OUTBUF_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* A chunk's own storage by default, bytes; larger appends get a chunk of their own size. */
#define OUTBUF_CHUNK_BYTES (16 * 1024 - 64)

struct outbuf_chunk {
    struct outbuf_chunk *next;
    size_t used;       /* bytes written */
    size_t cap;        /* bytes of data[]; 0 for a pinned chunk */
    const char *bytes; /* data, or the pinned memory */
    void (*release)(void *pin);
    void *pin;
    char data[];
};

struct outbuf {
    struct outbuf_chunk *head;
    struct outbuf_chunk *tail;
    size_t head_sent; /* bytes of head already drained */
    size_t bytes;     /* bytes written and not yet drained */
    size_t allocated; /* memory held, chunk headers included */
};

void outbuf_init(struct outbuf *out);
void outbuf_fini(struct outbuf *out);

/* Where memory is short: an empty one begins with a chunk of so many bytes, which is not kept when
 * it is drained; those behind it are larger, until they are of default size. */
void outbuf_begin_small(struct outbuf *empty, size_t bytes);

/* Slow path of outbuf_reserve: links a new chunk with room for at least n bytes. */
char *outbuf_grow(struct outbuf *out, size_t n);

/* Contiguous room for n bytes; valid until the next call. Follow with outbuf_commit. */
static inline char *outbuf_reserve(struct outbuf *out, size_t n) {
    struct outbuf_chunk *tail = out->tail;
    if (__builtin_expect(tail != NULL && tail->cap - tail->used >= n && tail->cap != 0, 1)) {
        return tail->data + tail->used;
    }
    return outbuf_grow(out, n);
}

/* At most n bytes, as reserved, were written. */
static inline void outbuf_commit(struct outbuf *out, size_t n) {
    out->tail->used += n;
    out->bytes += n;
}

static inline void outbuf_append(struct outbuf *out, const void *ptr, size_t n) {
    if (n == 0) {
        return;
    }
    memcpy(outbuf_reserve(out, n), ptr, n);
    outbuf_commit(out, n);
}

/* Links memory in place; release(pin) runs once it is drained or the outbuf ends. */
void outbuf_append_pinned(struct outbuf *out, struct bytes bytes, void (*release)(void *),
                          void *pin);

/* Moves all of source behind target; source is empty afterwards. Small sources are copied. */
void outbuf_splice(struct outbuf *target, struct outbuf *source);

/* Copies the next n unread bytes of source (n <= source->bytes) behind target and drains them from
 * source; pinned chunks that are taken whole move instead of being copied. */
void outbuf_move(struct outbuf *target, struct outbuf *source, size_t n);

/* The first n bytes were sent: frees what is done. Keeps one chunk for reuse if it is of default
 * size. */
void outbuf_drain(struct outbuf *out, size_t n);

struct iovec;
/* Fills up to max vectors with unsent bytes, in order; returns how many. */
int outbuf_vectors(const struct outbuf *out, struct iovec *vectors, int max);

/* Gives memory back when empty. */
void outbuf_shrink(struct outbuf *out);

/* ---- Chunks that are kept ---- */

/* Outbufs that come and go at a high rate take a chunk along and leave it behind. The chunks belong
 * to whoever keeps them. */
void outbuf_lend(struct outbuf *empty, struct outbuf_chunk **kept);
/* Ends an outbuf whatever it holds, but takes an empty chunk of default size from it first: true if
 * there was one. */
bool outbuf_reclaim(struct outbuf *out, struct outbuf_chunk **kept);
void outbuf_free_kept(struct outbuf_chunk **kept);

#endif
