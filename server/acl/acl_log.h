/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_log: what was denied lately, to whom: ACL LOG. Denials that are alike and follow each other
 * closely are one entry.
 *
 * Thread: any; a lock that is held for one entry, or one listing. Only what is denied comes here.
 */
#ifndef SHOAL_SERVER_ACL_ACL_LOG_H
#define SHOAL_SERVER_ACL_ACL_LOG_H

#include "base/bytes.h"
#include "base/list.h"

enum acl_log_reason {
    ACL_LOG_COMMAND,
    ACL_LOG_KEY,
    ACL_LOG_CHANNEL,
    ACL_LOG_DB,
    ACL_LOG_AUTH,
    ACL_LOG_CERTIFICATE,
    ACL_LOG_REASONS,
};
enum acl_log_context { ACL_LOG_TOPLEVEL, ACL_LOG_MULTI, ACL_LOG_LUA };

struct acl_log_entry {
    struct list_node node;
    uint64_t id, count;
    enum acl_log_reason reason;
    enum acl_log_context context;
    struct bytes object; /* what it was about: a command, a key ... ; malloc, as the next two */
    struct bytes user;
    struct bytes client; /* as CLIENT INFO tells it */
    int64_t created_ms, updated_ms;
};

struct acl_log;
struct acl_log *acl_log_new(void);
void acl_log_free(struct acl_log *log);

/* What is denied now. Texts are copied. `max` is acllog-max-len. */
void acl_log_add(struct acl_log *log, enum acl_log_reason reason, enum acl_log_context context,
                 struct bytes object, struct bytes user, struct bytes client, int64_t now_ms,
                 int64_t max);
void acl_log_reset(struct acl_log *log);
/* The latest first, at most so many: `begin` hears how many there are. Neither may use the log. */
void acl_log_show(struct acl_log *log, int64_t most, void (*begin)(void *arg, uint32_t count),
                  void (*show)(void *arg, const struct acl_log_entry *entry), void *arg);

const char *acl_log_reason_text(enum acl_log_reason reason);
const char *acl_log_context_text(enum acl_log_context context);

#endif
