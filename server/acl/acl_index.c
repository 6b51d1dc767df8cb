/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_index: open addressing; a slot has the whole hash, so that a table is made larger, and keys
 * of other hashes are passed by, without a look at the list. */
#include "server/acl/acl_index.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/must.h"

#include <stdlib.h>

#define ROOM_MIN 8
#define REMOVED  UINT32_MAX /* as an item */

uint64_t acl_key_hash(const unsigned char *secret, struct acl_key key) {
    return hash_bytes(secret, key.text) ^ (key.kind * UINT64_C(0x9e3779b97f4a7c15));
}

uint32_t acl_index_find(const struct acl_index *index, uint64_t hash, struct acl_key key,
                        const void *list, acl_has_key_fn *has_key) {
    for (uint32_t at = (uint32_t)hash; index->room > 0; at++) {
        const struct acl_slot *slot = &index->slots[at & (index->room - 1)];
        if (slot->item == 0) {
            break;
        }
        if (slot->item != REMOVED && slot->hash == hash && has_key(list, slot->item - 1, key)) {
            return slot->item - 1;
        }
    }
    return ACL_NO_ITEM;
}

/* Where one was removed, if it lies on the way: else a key that comes and goes would leave a way of
 * its own length behind. */
static void place(struct acl_index *index, uint64_t hash, uint32_t item) {
    uint32_t at = (uint32_t)hash & (index->room - 1);
    while (index->slots[at].item != 0 && index->slots[at].item != REMOVED) {
        at = (at + 1) & (index->room - 1);
    }
    index->used += index->slots[at].item == 0;
    index->slots[at] = (struct acl_slot){hash, item};
}

/* At most half of it is in use: half of that after it was made anew. */
static void make_room(struct acl_index *index) {
    struct acl_index before = *index;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < before.room; i++) {
        kept += before.slots[i].item != 0 && before.slots[i].item != REMOVED;
    }
    index->room = ROOM_MIN;
    while (index->room < 4 * (kept + 1)) {
        check(index->room < UINT32_MAX / 2);
        index->room *= 2;
    }
    index->slots = must_calloc(index->room, sizeof *index->slots);
    index->used = 0;
    for (uint32_t i = 0; i < before.room; i++) {
        if (before.slots[i].item != 0 && before.slots[i].item != REMOVED) {
            place(index, before.slots[i].hash, before.slots[i].item);
        }
    }
    free(before.slots);
}

void acl_index_put(struct acl_index *index, uint64_t hash, uint32_t item) {
    if (2 * (index->used + 1) > index->room) {
        make_room(index);
    }
    place(index, hash, item + 1);
}

void acl_index_remove(struct acl_index *index, uint64_t hash, uint32_t item) {
    uint32_t at = (uint32_t)hash & (index->room - 1);
    while (index->slots[at].item != item + 1) {
        check(index->slots[at].item != 0);
        at = (at + 1) & (index->room - 1);
    }
    index->slots[at].item = REMOVED;
}

void acl_index_clear(struct acl_index *index) {
    free(index->slots);
    *index = (struct acl_index){0};
}
