/* SPDX-License-Identifier: BSD-3-Clause */
/* Users for tests, made of rules over all commands that there are.
 *
 * Thread: a test's.
 */
#ifndef SHOAL_TEST_UNIT_ACL_H
#define SHOAL_TEST_UNIT_ACL_H

#include "base/hash.h"
#include "server/acl/acl.h"
#include "server/commands/families.h"

static inline struct acl_making acl_making_new(void) {
    int error;
    struct bytes bad;
    static const unsigned char secret[HASH_SECRET_BYTES] = "an even enough one for tests";
    return (struct acl_making){
        .commands = command_table_new(command_families, NULL, 0, &error, &bad),
        .secret = secret,
    };
}

static inline void acl_making_free(struct acl_making *making) {
    command_table_free((struct command_table *)making->commands);
}

/* Rules apart by '\n', as a rule may hold spaces. Those before the wrong one act. */
static inline enum acl_wrong acl_apply(const struct acl_making *making, struct acl_user *user,
                                       struct bytes rules) {
    enum acl_wrong wrong = ACL_RIGHT;
    while (rules.len > 0 && wrong == ACL_RIGHT) {
        const char *end = memchr(rules.ptr, '\n', rules.len);
        size_t n = end != NULL ? (size_t)(end - rules.ptr) : rules.len;
        wrong = acl_user_rule(making, user, bytes_make(rules.ptr, n));
        n += end != NULL;
        rules = bytes_make(rules.ptr + n, rules.len - n);
    }
    return wrong;
}

#endif
