/* SPDX-License-Identifier: BSD-3-Clause */
/* migrate: what the two halves of MIGRATE share: migrate.c at the owners of the keys,
 * migrate_send.c at home.
 *
 * Thread: any; the words belong to the request.
 */
#ifndef SHOAL_SERVER_COMMANDS_PERSISTENCE_MIGRATE_H
#define SHOAL_SERVER_COMMANDS_PERSISTENCE_MIGRATE_H

#include "base/bytes.h"

#include <stdint.h>

struct migrate_args {
    bool copy, replace;
    bool has_auth;
    struct bytes user, password; /* user.ptr NULL: AUTH has one word */
    int64_t timeout_ms, db;
    uint32_t first_key, keys_end; /* in argv */
};

/* NULL, or what is wrong with the words. */
const char *migrate_args_read(const struct bytes *argv, uint32_t argc, struct migrate_args *ret);

#endif
