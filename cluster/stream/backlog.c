/* SPDX-License-Identifier: BSD-3-Clause */
/* backlog: see the header. Small appends fill pieces of one size, so that a replica's output is few
 * vectors however small the writes are; what is larger than a piece gets one of its own. */
#include "cluster/stream/backlog.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

static struct backlog_part *part_at(const struct backlog *backlog, uint32_t i) {
    return &backlog->parts[(backlog->head + i) & (backlog->cap - 1)];
}

static struct backlog_part *last_part(const struct backlog *backlog) {
    return backlog->count > 0 ? part_at(backlog, backlog->count - 1) : NULL;
}

void backlog_init(struct backlog *backlog, uint64_t next, uint64_t limit) {
    *backlog = (struct backlog){
        .limit = limit, .first = next, .next = next, .ready = next, .unsent = next};
}

static void drop_first(struct backlog *backlog) {
    struct backlog_part *part = part_at(backlog, 0);
    backlog->memory -= part->piece->cap;
    piece_unref(part->piece);
    backlog->head = (backlog->head + 1) & (backlog->cap - 1);
    backlog->count--;
    backlog->first = backlog->count > 0 ? part_at(backlog, 0)->offset : backlog->next;
}

void backlog_reset(struct backlog *backlog, uint64_t next) {
    while (backlog->count > 0) {
        drop_first(backlog);
    }
    backlog->first = backlog->next = backlog->ready = backlog->unsent = next;
}

void backlog_fini(struct backlog *backlog) {
    backlog_reset(backlog, backlog->next);
    free(backlog->parts);
    backlog->parts = NULL;
    backlog->cap = 0;
}

static void trim(struct backlog *backlog) {
    while (backlog->count > 1 && part_at(backlog, 1)->offset <= backlog->unsent &&
           backlog->ready - part_at(backlog, 1)->offset >= backlog->limit) {
        drop_first(backlog);
    }
}

void backlog_sent(struct backlog *backlog) {
    backlog->unsent = backlog->ready;
    trim(backlog);
}

void backlog_set_limit(struct backlog *backlog, uint64_t limit) {
    backlog->limit = limit;
    trim(backlog);
}

static void grow(struct backlog *backlog) {
    uint32_t cap = backlog->cap > 0 ? backlog->cap * 2 : 16;
    struct backlog_part *parts = must_malloc(cap * sizeof *parts);
    for (uint32_t i = 0; i < backlog->count; i++) {
        parts[i] = *part_at(backlog, i);
    }
    free(backlog->parts);
    backlog->parts = parts;
    backlog->head = 0;
    backlog->cap = cap;
}

static struct backlog_part *add_part(struct backlog *backlog, size_t cap) {
    if (backlog->count == backlog->cap) {
        grow(backlog);
    }
    backlog->count++;
    struct backlog_part *part = last_part(backlog);
    *part = (struct backlog_part){.piece = piece_new(cap), .offset = backlog->next};
    backlog->memory += cap;
    return part;
}

void backlog_keep(struct backlog *backlog, struct bytes bytes) {
    while (bytes.len > 0) {
        struct backlog_part *part = last_part(backlog);
        if (part == NULL || part->bytes == part->piece->cap) {
            part = add_part(backlog,
                            bytes.len > BACKLOG_PIECE_BYTES ? bytes.len : BACKLOG_PIECE_BYTES);
        }
        size_t room = part->piece->cap - part->bytes;
        size_t n = bytes.len < room ? bytes.len : room;
        memcpy(part->piece->data + part->bytes, bytes.ptr, n);
        part->bytes += n;
        backlog->next += n;
        bytes = bytes_make(bytes.ptr + n, bytes.len - n);
    }
}

void backlog_ready(struct backlog *backlog, uint64_t offset) {
    check(offset >= backlog->ready && offset <= backlog->next);
    backlog->ready = offset;
    trim(backlog);
}

void backlog_append(struct backlog *backlog, struct bytes bytes) {
    backlog_keep(backlog, bytes);
    backlog_ready(backlog, backlog->next);
}

/* Nobody else has been told of those bytes, so what comes may be written over them. */
void backlog_drop_kept(struct backlog *backlog) {
    uint64_t ready = backlog->ready;
    while (backlog->count > 1 && last_part(backlog)->offset >= ready) {
        struct backlog_part *part = last_part(backlog);
        backlog->memory -= part->piece->cap;
        piece_unref(part->piece);
        backlog->count--;
    }
    if (backlog->count > 0) { /* it begins before that, or is empty then */
        struct backlog_part *part = last_part(backlog);
        part->bytes = (size_t)(ready - part->offset);
    }
    backlog->next = ready;
}

bool backlog_covers(const struct backlog *backlog, uint64_t offset) {
    return offset >= backlog->first && offset <= backlog->ready;
}

/* The part in which the byte lies. */
static uint32_t find(const struct backlog *backlog, uint64_t offset) {
    uint32_t low = 0, high = backlog->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (part_at(backlog, middle)->offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void backlog_show(const struct backlog *backlog, uint64_t offset, backlog_show_fn *show,
                  void *arg) {
    check(backlog_covers(backlog, offset));
    if (offset == backlog->ready) {
        return;
    }
    for (uint32_t i = find(backlog, offset); i < backlog->count; i++) {
        const struct backlog_part *part = part_at(backlog, i);
        if (part->offset >= backlog->ready) {
            break;
        }
        size_t skip = offset > part->offset ? (size_t)(offset - part->offset) : 0;
        uint64_t there = backlog->ready - part->offset;
        size_t bytes = there < part->bytes ? (size_t)there : part->bytes;
        show(arg, part->piece, bytes_make(part->piece->data + skip, bytes - skip));
    }
}
