/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_private: what a user is made of, for the files of this room.
 *
 * Thread: as acl.h.
 */
#ifndef SHOAL_SERVER_ACL_ACL_PRIVATE_H
#define SHOAL_SERVER_ACL_ACL_PRIVATE_H

#include "base/must.h"
#include "base/sha256.h"
#include "server/acl/acl.h"
#include "server/acl/acl_index.h"
#include "server/acl/acl_told.h"

struct acl_digest {
    unsigned char bytes[SHA256_BYTES];
    bool gone; /* of a draft: it counts no more */
};

enum acl_access { ACL_READS = 1 << 0, ACL_WRITES = 1 << 1 };

struct acl_pattern {
    struct bytes text; /* malloc */
    unsigned access;   /* of keys: acl_access */
};

struct acl_patterns {
    bool all; /* and the list is empty */
    uint32_t count;
    struct acl_pattern *list;
    struct acl_index index; /* of a draft */
};

/* "+select|0": a command that is not allowed but with this first argument. */
struct acl_first {
    unsigned id;
    struct bytes word; /* malloc, lower case; NULL: gone, of a draft */
    uint32_t before;   /* of a draft: another one of the command, and one more; 0: there is none */
};

struct acl_selector {
    uint64_t *commands; /* a bit for each row of the table */
    unsigned commands_count;
    struct acl_first *firsts;
    uint32_t firsts_count;
    uint32_t *firsts_of; /* of a draft that has some: the last one of each row, and one more */
    struct acl_index firsts_index;
    struct acl_told rules; /* what they were allowed and forbidden by, as it is told */
    struct acl_patterns keys, channels;
    bool all_dbs; /* and the list is empty */
    uint32_t dbs_count;
    int *dbs; /* in order */
};

void acl_selector_init(struct acl_selector *selector, const struct acl_making *making);
void acl_selector_fini(struct acl_selector *selector);
/* Whether there is nothing that it forbids. */
bool acl_selector_allows_all(const struct acl_selector *selector);

static inline bool acl_selector_has(const struct acl_selector *selector, unsigned id) {
    return selector->commands[id / 64] >> (id % 64) & 1;
}

void acl_patterns_clear(struct acl_patterns *patterns);
void acl_selector_clear_firsts(struct acl_selector *selector);

/* A draft has got another one, in malloc'd arrays that have room for the next power of two. */
static inline void *acl_grow(void *list, uint32_t count, size_t bytes) {
    bool is_full = (count & (count - 1)) == 0;
    return is_full ? must_realloc(list, (count > 0 ? 2 * (size_t)count : 1) * bytes) : list;
}

struct bytes acl_keep(struct bytes bytes);
void acl_user_clear_passwords(struct acl_user *user);
void acl_user_clear_selectors(struct acl_user *user, uint32_t from);
/* The draft is ready: `restricted` follows the selectors, what is gone and what only drafts need
 * goes. */
void acl_user_settle(struct acl_user *user);
struct acl_selector *acl_user_add_selector(struct acl_user *user, const struct acl_making *making);

#endif
