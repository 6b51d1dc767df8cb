/* SPDX-License-Identifier: BSD-3-Clause */
/* bigkeys: the biggest keys, by memory and by number of elements, of each type: found by a walk of
 * each worker over its own keys, some hundred a turn, when somebody asks. Nothing is kept of it, so
 * that nobody pays for what nobody asks.
 *
 * What is written meanwhile may be seen or not. A key that moves from shard to shard with its slot
 * is seen once or, rarely, not at all.
 *
 * Thread: the worker's own for a part; home for the rest.
 */
#ifndef SHOAL_SERVER_OBSERVE_BIGKEYS_H
#define SHOAL_SERVER_OBSERVE_BIGKEYS_H

#include "base/bytes.h"
#include "server/call/scatter.h"
#include "shard/types/value.h"

#define BIGKEYS_MAX      128
#define BIGKEYS_NAME_MAX 1024

enum bigkeys_order { BIGKEYS_BY_MEMORY, BIGKEYS_BY_ELEMENTS, BIGKEYS_ORDERS };

struct bigkey {
    char *name; /* malloc: the first BIGKEYS_NAME_MAX bytes */
    size_t name_len;
    uint64_t memory, elements; /* a string's elements are its bytes */
    uint32_t db;
};

/* The biggest first. */
struct bigkeys_list {
    struct bigkey *keys;
    unsigned count;
};

struct bigkeys_type {
    uint64_t keys, memory, elements; /* of all */
    struct bigkeys_list lists[BIGKEYS_ORDERS];
};

struct bigkeys {
    struct bigkeys_type types[TYPE_COUNT];
};

struct bigkeys_request {
    unsigned count; /* in each list, at most BIGKEYS_MAX */
    int type;       /* only these; -1: all */
};

/* Walks all workers' keys for the request; in `done`, bigkeys_merge makes one of their parts. */
void bigkeys_walk(struct exec *x, const struct bigkeys_request *request, scatter_done_fn *done);
void bigkeys_merge(const struct scatter_result *result, struct bigkeys *ret);
void bigkeys_fini(struct bigkeys *big);

#endif
