/* SPDX-License-Identifier: BSD-3-Clause */
/* rights: whose rights a call has that is made while another command runs, wherever that is: what a
 * script calls, keys that SORT finds by their names, commands that EXEC runs.
 *
 * At a client's home its user is the one that it has now. Elsewhere it is the one that came along
 * with what is to run (a batch, a part of a transaction), with a reference; and what is denied
 * there is told to home, as ACL LOG shows the client.
 *
 * Thread: the one that runs the command.
 */
#ifndef SHOAL_SERVER_CALL_RIGHTS_H
#define SHOAL_SERVER_CALL_RIGHTS_H

#include "server/acl/acl.h"
#include "server/call/command.h"

struct client;
struct message;

/* For whom a command runs, with a reference (acl_user_unref); NULL: one who may do everything. */
const struct acl_user *rights_user(const struct exec *x);

/* A script calls what its user may not: the error is written. */
void rights_deny_script(const struct acl_user *user, enum acl_verdict verdict,
                        const struct command_ref *ref, struct reply *reply);
/* That is put into the log; `word` is the argument that acl_check gave, at `at`. */
void rights_log_script(const struct exec *x, enum acl_verdict verdict,
                       const struct command_ref *ref, struct bytes word, uint32_t at);
/* The message of that, at home, which frees it. */
void rights_denied_arrived(struct worker *worker, struct message *message);
/* A script has called so many commands, which count as its client's: how many of them home has yet
 * to count. */
uint64_t rights_count_called(const struct exec *x, uint64_t commands);

/* Whether a command may read keys that no argument names. */
bool rights_read_all(const struct exec *x);

/* Of a command that was allowed when it was queued: why EXEC does not run it any more, which is in
 * the log then; NULL: it does. */
const char *rights_deny_exec(const struct client *client, const struct command_ref *ref,
                             const struct bytes *argv, uint32_t argc, uint32_t db);

#endif
