/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_told: the rules by which a selector allows commands, as they are told: each name once, where
 * it was said last; what is said of a command takes back what was said of its parts.
 *
 * Thread: as acl.h.
 */
#ifndef SHOAL_SERVER_ACL_ACL_TOLD_H
#define SHOAL_SERVER_ACL_ACL_TOLD_H

#include "base/text.h"
#include "server/acl/acl_index.h"

/* One of them. */
struct acl_said {
    size_t at, len;  /* in the text, with its sign */
    uint32_t before; /* what was said before of the same command, and one more; 0: nothing */
    bool gone;
};

struct acl_told {
    struct text text; /* words; of a draft that was changed also those that are gone */
    /* Of a draft that was changed: */
    struct acl_said *said;
    uint32_t count;
    struct acl_index names;    /* what stands in the text */
    struct acl_index commands; /* the last one of each command */
};

void acl_told_init(struct acl_told *told);
void acl_told_fini(struct acl_told *told);
void acl_told_copy(struct acl_told *copy, const struct acl_told *told);
/* Everything or nothing, and no more than that. */
void acl_told_set_all(struct acl_told *told, bool allow);
/* Takes back what is said of a name, or of what is part of it, and says this at the end. */
void acl_told_say(struct acl_told *told, const unsigned char *secret, struct bytes name,
                  bool allow);
/* The draft is ready: what is gone goes. */
void acl_told_settle(struct acl_told *told);

#endif
