/* SPDX-License-Identifier: BSD-3-Clause */
/* acl: who may do what: users, the table of them, and the check of a call.
 *
 * A user is made of rules, as ACL SETUSER, the aclfile and `user` lines bring them. Once it is in a
 * table that others see it never changes: who changes a user makes another one of that name, and
 * another table. So a worker reads its table and its clients' users without a lock, and a command
 * is judged by one user from its first key to its last.
 *
 *     rules -> draft of a user -> table -> handed to every worker -> its clients' users
 *
 * Who is allowed everything (`restricted` is false) is never looked at again: a client has a
 * bit that says so (HINDERED_ACL of call/check.h).
 *
 * Thread: any; tables and users that are published are read only, and counted. A draft is its
 * maker's.
 */
#ifndef SHOAL_SERVER_ACL_ACL_H
#define SHOAL_SERVER_ACL_ACL_H

#include "base/text.h"
#include "server/call/command_table.h"

/* ---- One user ---- */

struct acl_selector; /* acl_private.h */
struct acl_digest;
struct acl_index;

struct acl_user {
    struct bytes name;
    bool on;
    bool nopass;                /* any password is right */
    bool restricted;            /* there is something it may not do */
    int64_t databases;          /* that there are: no rule is about others; 0: not known */
    struct acl_digest *digests; /* of its passwords */
    uint32_t digests_count;
    struct acl_index *passwords;    /* of a draft: where they are among the digests; or NULL */
    struct acl_selector *selectors; /* it may do what one of them allows; the root is the first */
    uint32_t selectors_count;
};

/* What users are made with. */
struct acl_making {
    const struct command_table *commands;
    bool all_channels; /* acl-pubsub-default: what a new user or selector may do with channels */
    const unsigned char *secret; /* HASH_SECRET_BYTES: rules that cost much cannot be looked for */
    int64_t databases;           /* 0: not known */
    bool told; /* of a file: users as they were told, which not all could be made */
};

enum acl_wrong {
    ACL_RIGHT,
    ACL_WRONG_UNKNOWN, /* no such command or category */
    ACL_WRONG_SYNTAX,
    ACL_WRONG_KEY_AFTER_ALL,
    ACL_WRONG_CHANNEL_AFTER_ALL,
    ACL_WRONG_NO_PASSWORD, /* the one to be removed is not there */
    ACL_WRONG_DIGEST,
    ACL_WRONG_DUPLICATE,        /* of a file: the user was there before */
    ACL_WRONG_SUBCOMMAND_FIRST, /* a first argument of a subcommand */
    ACL_WRONG_DB,               /* no database can have this number */
};
const char *acl_wrong_text(enum acl_wrong wrong);

/* A draft, for its maker to change: one that is off and may do nothing; a copy. Both have one
 * reference. */
struct acl_user *acl_user_new(const struct acl_making *making, struct bytes name);
struct acl_user *acl_user_copy(const struct acl_making *making, const struct acl_user *user);
/* The user `default` as it is at first: on, without a password, allowed everything. */
struct acl_user *acl_user_default(const struct acl_making *making);
struct acl_user *acl_user_ref(const struct acl_user *user);
void acl_user_unref(const struct acl_user *user); /* or NULL */

/* Adds one rule to a draft. When it is wrong the draft is as it was. */
enum acl_wrong acl_user_rule(const struct acl_making *making, struct acl_user *user,
                             struct bytes rule);
/* All of them; *ret_bad is the one that is wrong. */
enum acl_wrong acl_user_rules(const struct acl_making *making, struct acl_user *user,
                              const struct bytes *rules, uint32_t count, struct bytes *ret_bad);
/* requirepass: its only password; empty: it needs none. */
void acl_user_require(struct acl_user *user, struct bytes password);

/* Selectors that came in pieces, "(~a", "+get)", are put together: *ret_rules and what they point
 * at is one allocation. Returns how many, or -1 and the piece that opens what nobody closes. */
int acl_merge_rules(const struct bytes *words, uint32_t count, struct bytes **ret_rules,
                    struct bytes *ret_bad);

/* No spaces and no NULs. */
bool acl_name_fits(struct bytes name);

/* Whether it is on, and this is its password: takes as long for one that is nearly right. */
bool acl_user_admits(const struct acl_user *user, struct bytes password);

/* "on nopass ~* &* +@all": as a file has it behind the name. */
void acl_user_describe(const struct acl_user *user, struct text *text);
/* The same in parts, of one of its selectors. */
void acl_selector_describe_commands(const struct acl_user *user, uint32_t selector,
                                    struct text *text);
void acl_selector_describe_keys(const struct acl_user *user, uint32_t selector, struct text *text);
void acl_selector_describe_channels(const struct acl_user *user, uint32_t selector,
                                    struct text *text);
void acl_selector_describe_dbs(const struct acl_user *user, uint32_t selector, struct text *text);
/* 64 hexadecimal digits of a password's digest. */
void acl_user_describe_digest(const struct acl_user *user, uint32_t index, struct text *text);

/* Whether it may be subscribed to a channel, or to a pattern of them. */
bool acl_user_may_hear(const struct acl_user *user, struct bytes channel, bool is_pattern);

/* ---- The table ---- */

struct acl_users {
    const struct acl_user *user_default; /* always there */
    uint32_t count;
    const struct acl_user **list; /* by name */
};

/* Of `default` alone, which is taken over. */
struct acl_users *acl_users_new(struct acl_user *user_default);
struct acl_users *acl_users_ref(const struct acl_users *users);
void acl_users_unref(const struct acl_users *users); /* or NULL */
const struct acl_user *acl_users_find(const struct acl_users *users, struct bytes name);
/* Another table, in which the user, which is taken over, has the place of the one of its name. */
struct acl_users *acl_users_with(const struct acl_users *users, struct acl_user *user);
/* Another one without those of these names, and how many that were; NULL if there are none.
 * `default` stays, see to it. */
struct acl_users *acl_users_without(const struct acl_users *users, const struct bytes *names,
                                    uint32_t count, uint32_t *ret_removed);

/* Whether who connects may go on without a word: `default` is on and needs no password. */
static inline bool acl_users_open(const struct acl_users *users) {
    return users->user_default->on && users->user_default->nopass;
}

/* The content of an aclfile. */
void acl_users_describe(const struct acl_users *users, struct text *text);
/* One from such a content. NULL, and what is wrong with each line: nothing of it counts. */
struct acl_users *acl_users_read(const struct acl_making *making, struct bytes content,
                                 const char *path, struct text *err);

/* The first table of a server: `default` as requirepass says, and then what `user` lines say, each
 * "name rule rule". NULL with the reason. */
struct acl_users *acl_users_start(const struct acl_making *making, struct bytes requirepass,
                                  const struct bytes *lines, size_t count, struct text *err);

/* ---- The check ---- */

/* Of several selectors that say no it is the last of these that counts. */
enum acl_verdict {
    ACL_MAY,
    ACL_NOT_DB,
    ACL_NOT_COMMAND,
    ACL_NOT_KEY,
    ACL_NOT_CHANNEL,
};

/* Whether a user may make this call while database `db` is selected. *ret_at (or NULL) is which
 * argument it is that it may not; the name, if it is the command or the selected database. The
 * number of arguments must be right. Anybody may if `user` is NULL. */
enum acl_verdict acl_check(const struct acl_user *user, const struct command_ref *ref,
                           const struct bytes *argv, uint32_t argc, uint32_t db, uint32_t *ret_at);
/* Whether it may run the command with these arguments, and read any key with it: SORT that looks
 * for keys by a pattern. */
bool acl_may_read_all(const struct acl_user *user, const struct command_ref *ref,
                      const struct bytes *argv, uint32_t argc);

/* What the client is told, after "NOPERM ". */
void acl_verdict_tell(enum acl_verdict verdict, const struct acl_user *user,
                      const struct command_ref *ref, struct text *text);
/* What ACL DRYRUN says: it names the argument. */
void acl_verdict_explain(enum acl_verdict verdict, const struct acl_user *user,
                         const struct command_ref *ref, struct bytes at, struct text *text);

#endif
