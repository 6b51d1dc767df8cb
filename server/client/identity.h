/* SPDX-License-Identifier: BSD-3-Clause */
/* identity: which user a client is, and what becomes of it when users change.
 *
 * Thread: the client's home; worker_take_users on the worker that takes them.
 */
#ifndef SHOAL_SERVER_CLIENT_IDENTITY_H
#define SHOAL_SERVER_CLIENT_IDENTITY_H

#include "server/acl/acl.h"
#include "server/acl/acl_log.h"

struct client;
struct worker;

/* Who connects, or says RESET: `default`, logged in if that needs no password. */
void client_be_stranger(struct client *client);
/* It is this user from now on, and logged in. */
void client_log_in(struct client *client, const struct acl_user *user);
/* It goes. */
void client_forget_user(struct client *client);
/* Whose name CLIENT LIST shows. */
struct bytes client_user_name(const struct client *client);

/* What is denied to it, for ACL LOG and INFO; `object` is what it is about, and `user` whom it
 * would be. */
void client_denied(const struct client *client, enum acl_log_reason reason,
                   enum acl_log_context context, struct bytes object, struct bytes user);
/* The same, of a call; `at` is what acl_check gave, and `word` what stands there. */
void client_call_denied(const struct client *client, enum acl_verdict verdict,
                        enum acl_log_context context, const struct command_ref *ref,
                        struct bytes word, uint32_t at);

/* What drafts are made with here. */
struct acl_making worker_acl_making(const struct worker *worker);
/* On worker 0: this is the newest table of the server from now on, and the worker's; it is taken
 * over. Returns its number, for the other workers. */
uint64_t worker_next_users(struct worker *worker, struct acl_users *users, uint64_t asker);
/* The table is this worker's from now on, unless it has a later one; clients follow, and those
 * whose user is gone are closed: the one of this id when it has its reply. */
void worker_take_users(struct worker *worker, const struct acl_users *users, uint64_t number,
                       uint64_t asker);

#endif
