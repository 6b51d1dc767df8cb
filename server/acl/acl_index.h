/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_index: which item of a draft's list has a key, by hash. Lists keep their order and are told
 * by it; without an index each of a hundred thousand rules would look through all that came before.
 *
 * Who has the list says whether an item has a key: the index knows hashes and numbers only. All
 * zeros is an empty one.
 *
 * Thread: any; an index is its draft's maker's.
 */
#ifndef SHOAL_SERVER_ACL_ACL_INDEX_H
#define SHOAL_SERVER_ACL_ACL_INDEX_H

#include "base/bytes.h"

#include <stdint.h>

struct acl_slot {
    uint64_t hash;
    uint32_t item; /* its number and one more; 0: free */
};

struct acl_index {
    struct acl_slot *slots;
    uint32_t room; /* a power of two, or 0 */
    uint32_t used; /* with those that were removed */
};

struct acl_key {
    struct bytes text;
    unsigned kind; /* of keys that are equal in text */
};

#define ACL_NO_ITEM UINT32_MAX

typedef bool acl_has_key_fn(const void *list, uint32_t item, struct acl_key key);

uint64_t acl_key_hash(const unsigned char *secret, struct acl_key key);
/* ACL_NO_ITEM: none has it. */
uint32_t acl_index_find(const struct acl_index *index, uint64_t hash, struct acl_key key,
                        const void *list, acl_has_key_fn *has_key);
/* There is none with its key. */
void acl_index_put(struct acl_index *index, uint64_t hash, uint32_t item);
/* It is there. */
void acl_index_remove(struct acl_index *index, uint64_t hash, uint32_t item);
void acl_index_clear(struct acl_index *index);

#endif
