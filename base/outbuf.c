/* SPDX-License-Identifier: BSD-3-Clause */
/* A chain of chunks and not one growing array, because the kernel may still be reading what was
 * written before, and because a big reply would otherwise be copied each time the array doubles.
 *
 * Invariants:
 * 1. bytes is the sum of what the chunks hold less head_sent.
 * 2. Only the tail may be empty: room that was reserved and not used, or the one chunk of default
 * size that is kept when all is drained.
 * 3. A pinned chunk has cap 0 and is never written to.
 * 4. head_sent is less than what the head holds, or 0. */
#include "base/outbuf.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>
#include <sys/uio.h>

/* A splice of at most so many bytes copies: cheaper than a chunk that is nearly empty, and the
 * source keeps its chunk for the next time. */
#define OUTBUF_COPY_BYTES 2048

/* What follows a small chunk is so much larger. */
#define OUTBUF_GROWTH 4

/* Behind a pinned value there is often no more than the next header, as when many big values are
 * fetched at once. */
#define OUTBUF_AFTER_PIN_BYTES 128

void outbuf_init(struct outbuf *out) {
    *out = (struct outbuf){0};
}

static size_t outbuf_chunk_cost(const struct outbuf_chunk *chunk) {
    return sizeof(*chunk) + (chunk->cap ? chunk->cap : chunk->used);
}

static void outbuf_chunk_free(struct outbuf *out, struct outbuf_chunk *chunk) {
    out->allocated -= outbuf_chunk_cost(chunk);
    if (chunk->release) {
        chunk->release(chunk->pin);
    }
    free(chunk);
}

void outbuf_fini(struct outbuf *out) {
    while (out->head) {
        struct outbuf_chunk *next = out->head->next;
        outbuf_chunk_free(out, out->head);
        out->head = next;
    }
    check(out->allocated == 0);
    outbuf_init(out);
}

static void outbuf_push(struct outbuf *out, struct outbuf_chunk *first, struct outbuf_chunk *last) {
    if (out->tail) {
        out->tail->next = first;
    } else {
        out->head = first;
    }
    out->tail = last;
}

/* Takes the tail out of the chain if it is empty; NULL if it is not. Walks the chain only when the
 * empty chunk has others before it, which takes two pinned values in a row. */
static struct outbuf_chunk *outbuf_pop_empty(struct outbuf *out) {
    struct outbuf_chunk *spare = out->tail;
    if (!spare || spare->used) {
        return NULL;
    }
    out->tail = NULL;
    if (out->head == spare) {
        out->head = NULL;
    } else {
        out->tail = out->head;
        while (out->tail->next != spare) {
            out->tail = out->tail->next;
        }
        out->tail->next = NULL;
    }
    return spare;
}

/* Appends chunks first .. last, and keeps an empty tail behind them (invariant 2). */
static void outbuf_link(struct outbuf *out, struct outbuf_chunk *first, struct outbuf_chunk *last) {
    struct outbuf_chunk *spare = outbuf_pop_empty(out);
    outbuf_push(out, first, last);
    if (!spare) {
        return;
    }
    if (last->used == 0) {
        outbuf_chunk_free(out, spare);
    } else {
        outbuf_push(out, spare, spare);
    }
}

static struct outbuf_chunk *outbuf_chunk_new(struct outbuf *out, size_t cap) {
    check(cap < SIZE_MAX / 2);
    struct outbuf_chunk *chunk = must_malloc(sizeof(*chunk) + cap);
    *chunk = (struct outbuf_chunk){.cap = cap, .bytes = chunk->data};
    out->allocated += outbuf_chunk_cost(chunk);
    return chunk;
}

void outbuf_begin_small(struct outbuf *empty, size_t bytes) {
    check(empty->head == NULL && bytes > OUTBUF_AFTER_PIN_BYTES);
    struct outbuf_chunk *chunk = outbuf_chunk_new(empty, bytes);
    outbuf_push(empty, chunk, chunk);
}

static size_t outbuf_next_cap(const struct outbuf_chunk *tail) {
    if (tail && tail->cap == 0) {
        return OUTBUF_AFTER_PIN_BYTES;
    }
    bool small = tail && tail->cap > OUTBUF_AFTER_PIN_BYTES &&
                 tail->cap < OUTBUF_CHUNK_BYTES / OUTBUF_GROWTH;
    return small ? tail->cap * OUTBUF_GROWTH : OUTBUF_CHUNK_BYTES;
}

char *outbuf_grow(struct outbuf *out, size_t n) {
    size_t cap = outbuf_next_cap(out->tail);
    struct outbuf_chunk *chunk = outbuf_chunk_new(out, n > cap ? n : cap);
    /* An empty tail is too small for n, or it would not have come to this. */
    struct outbuf_chunk *spare = outbuf_pop_empty(out);
    if (spare) {
        outbuf_chunk_free(out, spare);
    }
    outbuf_push(out, chunk, chunk);
    return chunk->data;
}

void outbuf_append_pinned(struct outbuf *out, struct bytes bytes, void (*release)(void *),
                          void *pin) {
    if (bytes.len == 0) {
        if (release) {
            release(pin);
        }
        return;
    }
    struct outbuf_chunk *chunk = must_malloc(sizeof(*chunk));
    *chunk = (struct outbuf_chunk){
        .used = bytes.len, .bytes = bytes.ptr, .release = release, .pin = pin};
    out->allocated += outbuf_chunk_cost(chunk);
    outbuf_link(out, chunk, chunk);
    out->bytes += bytes.len;
}

/* Takes the head out of the chain without freeing it. */
static struct outbuf_chunk *outbuf_unlink_head(struct outbuf *out) {
    struct outbuf_chunk *head = out->head;
    out->head = head->next;
    out->head_sent = 0;
    if (!out->head) {
        out->tail = NULL;
    }
    head->next = NULL;
    return head;
}

/* All of the head was drained: frees it, or empties it if it can be used again. */
static void outbuf_finish_head(struct outbuf *out) {
    if (out->head == out->tail && out->head->cap == OUTBUF_CHUNK_BYTES) {
        out->head->used = 0;
        out->head_sent = 0;
        return;
    }
    outbuf_chunk_free(out, outbuf_unlink_head(out));
}

void outbuf_drain(struct outbuf *out, size_t n) {
    check(n <= out->bytes);
    out->bytes -= n;
    while (n > 0) {
        size_t left = out->head->used - out->head_sent;
        if (n < left) {
            out->head_sent += n;
            return;
        }
        n -= left;
        outbuf_finish_head(out);
    }
}

void outbuf_move(struct outbuf *target, struct outbuf *source, size_t n) {
    check(n <= source->bytes && target != source);
    while (n > 0) {
        struct outbuf_chunk *head = source->head;
        size_t left = head->used - source->head_sent;
        if (head->cap == 0 && source->head_sent == 0 && n >= left) {
            outbuf_unlink_head(source);
            size_t cost = outbuf_chunk_cost(head);
            source->allocated -= cost;
            source->bytes -= left;
            target->allocated += cost;
            target->bytes += left;
            outbuf_link(target, head, head);
            n -= left;
            continue;
        }
        size_t part = n < left ? n : left;
        outbuf_append(target, head->bytes + source->head_sent, part);
        outbuf_drain(source, part);
        n -= part;
    }
}

void outbuf_splice(struct outbuf *target, struct outbuf *source) {
    check(target != source);
    if (source->bytes == 0) {
        return;
    }
    if (source->bytes <= OUTBUF_COPY_BYTES) {
        outbuf_move(target, source, source->bytes);
        return;
    }
    if (source->head_sent) {
        outbuf_move(target, source, source->head->used - source->head_sent);
    }
    struct outbuf_chunk *first = source->head;
    if (source->bytes) {
        target->bytes += source->bytes;
        target->allocated += source->allocated;
        outbuf_link(target, first, source->tail);
        outbuf_init(source);
    }
}

int outbuf_vectors(const struct outbuf *out, struct iovec *vectors, int max) {
    int n = 0;
    size_t skip = out->head_sent;
    for (const struct outbuf_chunk *chunk = out->head; chunk && n < max; chunk = chunk->next) {
        if (chunk->used > skip) {
            /* iovec has no const, but nobody writes through it on a send. */
            vectors[n].iov_base = (char *)(uintptr_t)(chunk->bytes + skip);
            vectors[n].iov_len = chunk->used - skip;
            n++;
        }
        skip = 0;
    }
    return n;
}

void outbuf_shrink(struct outbuf *out) {
    if (out->bytes == 0) {
        outbuf_fini(out);
    }
}

/* ---- Chunks that are kept ---- */

void outbuf_lend(struct outbuf *empty, struct outbuf_chunk **kept) {
    check(empty->allocated == 0 && *kept != NULL);
    struct outbuf_chunk *chunk = *kept;
    *kept = chunk->next;
    chunk->next = NULL;
    outbuf_push(empty, chunk, chunk);
    empty->allocated = outbuf_chunk_cost(chunk);
}

bool outbuf_reclaim(struct outbuf *out, struct outbuf_chunk **kept) {
    outbuf_drain(out, out->bytes);
    struct outbuf_chunk *chunk = outbuf_pop_empty(out);
    bool fits = chunk != NULL && chunk->cap == OUTBUF_CHUNK_BYTES;
    if (fits) {
        out->allocated -= outbuf_chunk_cost(chunk);
        chunk->next = *kept;
        *kept = chunk;
    } else if (chunk != NULL) {
        outbuf_chunk_free(out, chunk);
    }
    outbuf_fini(out);
    return fits;
}

void outbuf_free_kept(struct outbuf_chunk **kept) {
    struct outbuf_chunk *chunk = *kept;
    *kept = chunk->next;
    free(chunk);
}
