/* SPDX-License-Identifier: BSD-3-Clause */
/* slot_check: in a cluster, whether this node serves a call, by the slot of its keys
 * (cluster/redirect.h says when).
 *
 * It is asked twice. At home before a command is routed or queued, in its place among the other
 * reasons to refuse one (check.h), by the map that home has; and where it runs, by the map there,
 * because a slot may have gone meanwhile, and as only there the keys can be looked at which decide
 * in a slot that is on its way. What comes of it is the text of the error, in memory of the worker
 * that was asked: good until it is asked again.
 *
 * Thread: home, or the worker that runs it; each its own.
 */
#ifndef SHOAL_SERVER_CALL_SLOT_CHECK_H
#define SHOAL_SERVER_CALL_SLOT_CHECK_H

#include "server/call/call.h"
#include "server/call/keyset.h"
#include "server/cluster/cluster_map.h"
#include "server/cluster/redirect.h"

struct client;
struct multi_queue;
struct request;

/* Instead of a slot. */
enum slot_no {
    SLOT_NONE = -1,    /* it names no keys, or makes no sense: it may run here, whatever it says */
    SLOT_SEVERAL = -2, /* it names keys of several */
};

/* The slot of all the keys, or shard channels, of a call. */
int slot_of_call(const struct command_ref *ref, const struct bytes *argv, uint32_t argc);
/* And of all that a MULTI has queued. */
int slot_of_queue(const struct multi_queue *queue);

/* ---- At home ---- */

/* NULL, or why it is not served. In no cluster it is asked for clients that have said CLIENT CAPA
 * redirect, whom a replica sends to its primary. `request` is of the command; EXEC is asked about
 * all its queue. */
const char *slot_check_home(const struct client *client, const struct command_ref *ref,
                            const struct request *request);

/* Its slot is about to leave, and nothing is written there (map_holds): whoever would is to wait.
 * `flags`: as it says what it does. */
bool slot_check_held(const struct client *client, const struct command_ref *ref,
                     const struct request *request, unsigned flags);

/* This has become a replica: where who waits for keys is to go, if he understands that; or NULL. */
const char *slot_check_demoted(const struct client *client);
/* The same of a client that waits for keys of a slot, in a command that has begun here. */
const char *slot_check_wait(const struct client *client, const struct command_ref *ref,
                            uint16_t slot);
/* Whether those who have subscribed to channels of this slot hear of them here. */
bool slot_is_heard(const struct worker *worker, uint16_t slot);

/* ---- Where it runs ---- */

/* A call, or several that are served together or not at all. */
struct slot_asked {
    struct redirect_question question;
    int slot;           /* or slot_no */
    struct bytes first; /* of the keys */
};
void slot_asked_init(struct slot_asked *asked, uint16_t manner);
/* `flags`: what it does, as check_flags says it. `keys`: of it; those that lie in `shard` are
 * looked at, if it is not NULL. */
void slot_asked_add(struct slot_asked *asked, const struct worker *worker,
                    const struct command_ref *ref, unsigned flags, const struct bytes *argv,
                    uint32_t argc, const struct keyset_key *keys, uint32_t count,
                    const struct shard *shard, int64_t alive_ms);
const char *slot_asked_end(struct worker *worker, const struct slot_asked *asked, uint16_t manner);

/* One call: NULL, or why not. In no cluster this is not called. */
const char *slot_check_call(const struct caller *caller, const struct call *what);

/* A call that a script makes. `*slot`: of the keys that it has declared, then of those that it has
 * used last; `crosses`: it may use those of any. */
const char *slot_check_script(const struct caller *caller, const struct call *what, bool crosses,
                              int *slot);

#endif
