/* SPDX-License-Identifier: BSD-3-Clause */
/* check: why a command may not run: one flat list, in Valkey's order, in two halves. What its home
 * knows is asked when its turn comes, before it is routed; what only the owner of its keys knows,
 * when it runs. On several shards the owners are asked before anybody runs.
 *
 * Thread: the client's home; check_owner on the worker that owns the keys.
 */
#ifndef SHOAL_SERVER_CALL_CHECK_H
#define SHOAL_SERVER_CALL_CHECK_H

#include "server/call/command_table.h"

struct client;
struct request;
struct worker;

enum refusal {
    REFUSE_NOT,
    REFUSE_UNKNOWN,
    REFUSE_ARITY,
    REFUSE_PROTECTED,
    REFUSE_AUTH,
    REFUSE_NO_MULTI,
    REFUSE_ACL, /* its user may not */
    REFUSE_SUBSCRIBED,
    REFUSE_REDIRECT, /* another node of the cluster has its keys, or nobody (slot_check.h) */
    REFUSE_MEMORY,   /* it would be queued, and there is none */
    REFUSE_DISK,     /* the last save failed */
    REFUSE_REPLICAS, /* too few replicas keep up (min-replicas-to-write) */
    REFUSE_READONLY, /* this is a replica */
    REFUSE_STALE,    /* and its primary cannot be reached */
    REFUSE_LOADING,
    REFUSE_BUSY,    /* a script runs for long */
    REFUSE_MONITOR, /* it monitors, which to Valkey is a kind of replica */
};

/* What keeps a client from most commands, or commands from the short way, whatever they are: seldom
 * anything. */
enum hindrance {
    HINDERED_LOGIN = 1 << 0,   /* it is not logged in, and must be */
    HINDERED_LOADING = 1 << 1, /* the data is being loaded */
    HINDERED_DISK =
        1 << 2, /* the last save failed, and writes have to wait for one that does not */
    HINDERED_MONITORS = 1 << 3,  /* somebody is told of all that runs (monitor.h) */
    HINDERED_MEMORY = 1 << 4,    /* there is none for what it would queue */
    HINDERED_BUSY = 1 << 5,      /* a script runs for long (worker/busy.h) */
    HINDERED_ACL = 1 << 6,       /* its user may not do everything (acl/acl.h) */
    HINDERED_ROLE = 1 << 9,      /* this is a replica (replication/role.h) */
    HINDERED_ASIDE = 1 << 11,    /* other data is read beside that which is served */
    HINDERED_SIZE = 1 << 7,      /* some of what has come is to be logged for its size */
    HINDERED_REPLICAS = 1 << 8,  /* too few replicas keep up, and writes have to wait for them */
    HINDERED_REDIRECT = 1 << 10, /* slot_check_home has something against this one command */
};

/* The database that a command of the client is for: one that is kept for EXEC comes behind each
 * SELECT that was kept before. */
uint32_t check_db(const struct client *client, const struct command_ref *ref);

/* What home knows. `fits`: the number of arguments is right; `queues`: EXEC is to run it. `ref` is
 * NULL if there is no such command; the request may be if HINDERED_ACL is not said. */
enum refusal check_home(const struct client *client, const struct command_ref *ref,
                        unsigned hindrances, bool fits, bool queues, const struct request *request);
/* The flags of a command, as far as it says them: of a script those that it has, of EXEC those of
 * all that is queued. */
unsigned check_flags(const struct client *client, const struct command_ref *ref,
                     const struct bytes *argv);
/* Of one call of any client, the first half of that. */
unsigned check_call_flags(struct worker *worker, const struct command_ref *ref,
                          const struct bytes *argv);
/* What is answered while a long script runs here, or with this worker's shard in view. */
const char *check_busy_error(const struct worker *worker);
/* The same of another's script, from what it says of it (shared_script). */
const char *check_busy_error_of(const struct worker *worker, unsigned bits);
/* After the configuration of the worker changed, or how its last save went. */
void check_configure(struct worker *worker);
/* Writes why; not of REFUSE_REDIRECT, of which slot_check_home says it. */
void check_refuse(const struct client *client, const struct command_ref *ref,
                  const struct request *request, enum refusal refusal, struct reply *reply);

/* What the owner of the keys knows: the error to answer, or NULL when the command may run. Before
 * anything of it has happened; the answer holds until the owner has done something else. Asked only
 * where worker->owner_asks. Makes room for it, if there is a limit (room.h). */
const char *check_owner(struct worker *worker, const struct command_ref *ref, uint16_t manner);
/* The same when its keys are locked, or others have been asked already: changes nothing. */
const char *check_vote(struct worker *worker, const struct command_ref *ref, uint16_t manner);
/* The same without a look at memory. */
const char *check_refuses(const struct worker *worker, const struct command_ref *ref);
/* DEBUG REFUSE: from now on this worker has something against every command on its keys, and says
 * it with this text; NULL: nothing any more. `writes`: only against those that write. */
void check_owner_refuses(struct worker *worker, const char *error, bool writes);

#endif
