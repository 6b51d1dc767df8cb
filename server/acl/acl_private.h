/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_private: what a user is made of, for the files of this room.
 *
 * Thread: as acl.h.
 */
#ifndef SHOAL_SERVER_ACL_ACL_PRIVATE_H
#define SHOAL_SERVER_ACL_ACL_PRIVATE_H

#include "base/sha256.h"
#include "server/acl/acl.h"

struct acl_digest {
    unsigned char bytes[SHA256_BYTES];
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
};

/* "+select|0": a command that is not allowed but with this first argument. */
struct acl_first {
    unsigned id;
    struct bytes word; /* malloc, lower case */
};

struct acl_selector {
    uint64_t *commands; /* a bit for each row of the table */
    unsigned commands_count;
    struct acl_first *firsts;
    uint32_t firsts_count;
    struct text rules; /* what they were allowed and forbidden by, as it is told */
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

/* A draft has got another one, in malloc'd arrays. */
void *acl_grow(void *list, uint32_t count, size_t bytes);
struct bytes acl_keep(struct bytes bytes);
void acl_user_clear_passwords(struct acl_user *user);
void acl_user_clear_selectors(struct acl_user *user, uint32_t from);
/* `restricted` follows the selectors. */
void acl_user_settle(struct acl_user *user);
struct acl_selector *acl_user_add_selector(struct acl_user *user, const struct acl_making *making);

#endif
