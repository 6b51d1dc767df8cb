/* SPDX-License-Identifier: BSD-3-Clause */
/* large: the values of one request that are received into the blocks they will stay in.
 *
 * Thread: one at a time. The home worker fills it; then it belongs to whoever runs the request, who
 * takes the blobs that are stored; what nobody took is freed with it, at home.
 * Ownership: holds a reference to each blob until it is taken.
 */
#ifndef SHOAL_SERVER_CLIENT_LARGE_H
#define SHOAL_SERVER_CLIENT_LARGE_H

#include "proto/parser.h"

struct blob;
struct large;
struct shard_heap;

/* Bulks from here on are received so. Below, the copy costs less than a block of its own. */
#define LARGE_BYTES_MIN (32 * 1024)

/* Makes room, in the heap of this thread, for a value of `length` bytes, which stands at `offset`
 * of the request's input, behind those that `*large` has; NULL there makes a new one. False if the
 * system has no room for it. */
bool large_begin(struct large **large, struct shard_heap *heap, size_t offset, size_t length);
void large_free(void *large);

/* Bytes of the last value that are still to arrive. */
size_t large_missing(const struct large *large);
/* Puts what belongs to it into the last value; returns the rest. */
struct bytes large_fill(struct large *large, struct bytes bytes);
/* Bytes that have arrived, of all values; NULL has none. */
size_t large_bytes(const struct large *large);
/* Those of the last one, while it is not all there. */
size_t large_partial(const struct large *large);
/* Those of the last one, while a parser that stands at `pos` of the request has not got past it: it
 * may be all there, but for the end of its line. */
size_t large_unparsed(const struct large *large, size_t pos);
/* What it has allocated. Of a value that is still to come that is address space which nobody has
 * touched, but it is the client's all the same, as in Valkey. */
size_t large_memory(const struct large *large);

/* Tells the parser of the request where its values are; nothing if `large` is NULL. */
void large_tell(const struct large *large, struct parser *parser);

/* The blob of which an argument is the whole content, and its reference with it; NULL if there is
 * none, or `large` is NULL. */
struct blob *large_take(struct large *large, struct bytes argument);
/* Moves the blob of which an argument is the whole content to *target, if `large` has it: a request
 * is divided, and each share takes what it will store. NULL in *target makes a new one. */
void large_share(struct large *large, struct bytes argument, struct large **target);

#endif
