/* SPDX-License-Identifier: BSD-3-Clause */
/* large: see the header. Why so:
 *
 * A value of many reads would be collected in the input, which has to be contiguous, and then
 * copied into its blob: twice the memory, and a copy more than needed. But the parser needs only
 * the headers and line ends to be contiguous. So as soon as a header has told the length, the blob
 * is made, what arrives goes straight into it, and the parser is told that the bulk lies apart.
 *
 *     wire:   *3 $3 SET $1 k $4194304 <4 MB> \r\n *2 ...
 *     input:  *3 $3 SET $1 k $4194304        \r\n *2 ...
 *     blob:                           <4 MB>
 *
 * Rejected: laying the input out so that the bulk starts at a blob's data. The bytes before it
 * would have to lie where the blob's header is, and a second large value of the same request would
 * have to move.
 */
#include "server/client/large.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/memory/blob.h"

#include <stdlib.h>

struct large {
    struct parser_apart *places;
    struct blob **blobs; /* of the places; NULL: taken */
    uint32_t count, capacity;
    uint32_t next;   /* behind the one that was taken last */
    size_t shortest; /* length of a value */
    size_t bytes;    /* arrived */
    size_t missing;  /* of the last one */
};

static struct large *large_grown(struct large *large) {
    if (large == NULL) {
        large = must_calloc(1, sizeof *large);
        large->shortest = SIZE_MAX;
    }
    if (large->count == large->capacity) {
        large->capacity = large->capacity ? large->capacity * 2 : 1;
        large->places = must_realloc(large->places, large->capacity * sizeof *large->places);
        large->blobs = must_realloc(large->blobs, large->capacity * sizeof(struct blob *));
    }
    return large;
}

bool large_begin(struct large **large, struct shard_heap *heap, size_t offset, size_t length) {
    struct blob *blob = blob_try_new(heap, length);
    if (blob == NULL) {
        return false;
    }
    struct large *grown = *large = large_grown(*large);
    check(grown->missing == 0);
    check(grown->count == 0 || grown->places[grown->count - 1].offset < offset);
    grown->places[grown->count] =
        (struct parser_apart){.offset = offset, .bytes = bytes_make(blob->data, length)};
    grown->blobs[grown->count++] = blob;
    grown->missing = length;
    grown->shortest = length < grown->shortest ? length : grown->shortest;
    return true;
}

void large_free(void *pointer) {
    struct large *large = pointer;
    if (large == NULL) {
        return;
    }
    for (uint32_t i = 0; i < large->count; i++) {
        if (large->blobs[i] != NULL) {
            blob_unref(large->blobs[i]);
        }
    }
    free(large->places);
    free(large->blobs);
    free(large);
}

size_t large_missing(const struct large *large) {
    return large != NULL ? large->missing : 0;
}

struct bytes large_fill(struct large *large, struct bytes bytes) {
    if (large_missing(large) == 0) {
        return bytes;
    }
    struct blob *blob = large->blobs[large->count - 1];
    size_t n = bytes.len < large->missing ? bytes.len : large->missing;
    memcpy(blob->data + (blob->length - large->missing), bytes.ptr, n);
    large->missing -= n;
    large->bytes += n;
    return bytes_make(bytes.ptr + n, bytes.len - n);
}

size_t large_bytes(const struct large *large) {
    return large != NULL ? large->bytes : 0;
}

size_t large_partial(const struct large *large) {
    return large_missing(large) > 0 ? large->blobs[large->count - 1]->length - large->missing : 0;
}

size_t large_unparsed(const struct large *large, size_t pos) {
    if (large == NULL || large->count == 0 || large->places[large->count - 1].offset < pos) {
        return 0;
    }
    return large->places[large->count - 1].bytes.len - large->missing;
}

size_t large_memory(const struct large *large) {
    return large != NULL ? large->bytes + large->missing + sizeof *large : 0;
}

void large_tell(const struct large *large, struct parser *parser) {
    if (large != NULL) {
        parser_set_apart(parser, large->places, large->count);
    }
}

/* Commands store their arguments in the order in which these came, so the search goes on from where
 * it ended: all that a command takes cost one walk. One that is not found costs a walk of its own,
 * but what is long enough to be here and is not had arrived before its header was read: few are. */
struct blob *large_take(struct large *large, struct bytes argument) {
    if (large == NULL || argument.len < large->shortest) {
        return NULL;
    }
    for (uint32_t i = 0; i < large->count; i++) {
        uint32_t at =
            large->next + i < large->count ? large->next + i : large->next + i - large->count;
        struct blob *blob = large->blobs[at];
        if (blob != NULL && blob->data == argument.ptr && blob->length == argument.len) {
            large->blobs[at] = NULL;
            large->next = at + 1;
            return blob;
        }
    }
    return NULL;
}

void large_share(struct large *large, struct bytes argument, struct large **target) {
    struct blob *blob = large_take(large, argument);
    if (blob == NULL) {
        return;
    }
    struct large *share = *target = large_grown(*target);
    share->places[share->count] = (struct parser_apart){.bytes = argument};
    share->blobs[share->count++] = blob;
    share->shortest = argument.len < share->shortest ? argument.len : share->shortest;
}
