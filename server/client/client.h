/* SPDX-License-Identifier: BSD-3-Clause */
/* client: one connection: its input, its requests in flight, its output, and what CLIENT says about
 * it.
 *
 * Thread: home worker only. Ops of a client that run on other workers never see it; they see a
 * batch (batch.h).
 *
 * The order of replies: requests are answered in the order they came. While nothing of the client
 * is on another thread, replies are written straight to `out`. As soon as a batch is away,
 * `pending` keeps the order: each entry is some bytes of `held` (replies of requests that ran here
 * meanwhile) or some ops of a batch; the completed prefix is moved to `out`.
 */
#ifndef SHOAL_SERVER_CLIENT_CLIENT_H
#define SHOAL_SERVER_CLIENT_CLIENT_H

#include "base/links.h"
#include "base/list.h"
#include "base/outbuf.h"
#include "base/pqueue.h"
#include "net/rt.h"
#include "proto/parser.h"
#include "server/call/order.h"
#include "server/client/gate.h"
#include "server/client/wait.h"
#include "server/pubsub/topics.h"

struct acl_user;
struct batch;
struct blocked;
struct command_ref;
struct config;
struct large;
struct monitor;
struct multi_queue;
struct multi_watches;
struct replica;
struct scatter;
struct subs;
struct tracking;
struct worker;

/* What a client does. One at a time; client_move is the only place that changes it, and in debug
 * builds it checks each move against client_state_leads.
 *
 *   state    the client                     comes there by            leaves it by
 *
 *   READING  takes up what it sends         accept                    any of the others
 *                                           clients_run_ready
 *                                           client_wait_over_here
 *   FULL     has so much on its way that    client_process            replies come home: READY
 *            it is not read on
 *   FENCED   has a request next that must   run_staged                the last reply comes home:
 *            come after all that are                                  READY
 *            pending
 *   WAITING  waits for something else:      client_wait               the wait's end: READY,
 *            wait.h                                                   READING or ENDING
 *   READY    goes on later in this turn,    client_resume             clients_run_ready: READING
 *            or in the next
 *   ENDING   takes no more requests; it is  client_close_after_reply  client_flush: CLOSING
 *            closed once its replies are    the wait's end
 *            out
 *   CLOSING  is closed; its stream is       client_close              on_gone: GONE
 *            going
 *   GONE     has no stream any more, and    on_gone                   client_try_free
 *            stays until nothing that
 *            names it is on its way
 *
 * Every state but the last two can also be left for CLOSING, at any moment. */
enum client_state {
    CLIENT_READING,
    CLIENT_FULL,
    CLIENT_FENCED,
    CLIENT_WAITING,
    CLIENT_READY,
    CLIENT_ENDING,
    CLIENT_CLOSING,
    CLIENT_GONE,
    CLIENT_STATES_COUNT,
};

/* What is true of it in any state. */
enum client_flag {
    CLIENT_CLOSE_AFTER_REPLY = 1 << 0, /* ends as soon as it waits for nothing: state ENDING */
    CLIENT_TLS = 1 << 1,
    CLIENT_UNIX = 1 << 2,
    CLIENT_LOCAL = 1 << 3, /* loopback or unix peer */
    CLIENT_AUTHENTICATED = 1 << 4,
    CLIENT_NO_EVICT = 1 << 5,
    CLIENT_NO_TOUCH = 1 << 6,
    CLIENT_REPLY_OFF = 1 << 7,
    CLIENT_REPLY_SKIP_NEXT = 1 << 8, /* the next command's reply is dropped */
    CLIENT_REPLY_SKIP = 1 << 9,      /* this command's reply is dropped */
    CLIENT_CAPA_REDIRECT = 1 << 10,
    CLIENT_IMPORT_SOURCE = 1 << 11,
    CLIENT_RESTRICTED = 1 << 12, /* its user may not do everything (identity.h) */
    CLIENT_DIRTY = 1 << 15,      /* on the worker's list of clients with output */
    CLIENT_READ_PAUSED = 1 << 16,
    CLIENT_ENDED = 1 << 17,         /* the peer sent its end */
    CLIENT_INPUT_PARTIAL = 1 << 19, /* what is left of the input is no whole request */
    CLIENT_ASKING_NEXT = 1 << 13,   /* ASKING: the next command is served in a slot that comes; */
    CLIENT_ASKING = 1 << 14,        /* this one is, or all of MULTI */
    CLIENT_READONLY = 1 << 20,      /* READONLY: it reads from replicas of a cluster */
    CLIENT_MULTI_USED = 1 << 21,    /* has called MULTI or WATCH: CLIENT LIST shows it */
    CLIENT_SUBSCRIBED = 1 << 22,    /* to something, at least */
    CLIENT_TRACKED = 1 << 24,       /* it tracks keys (tracking.h): its requests run one by one; */
    CLIENT_TRACKS_READS = 1 << 25,  /* what the next one reads is remembered for it */
    CLIENT_RAN_SCRIPT = 1 << 26,    /* the next one may be a script, too (dispatch.c) */
    CLIENT_IMPORTS = 1 << 18,       /* slots come by it (cluster/imports.h) */
    CLIENT_IPV6 = 1 << 27,          /* it has reached us by such an address */
};

/* One entry of the reply order. */
struct pending {
    struct batch *batch; /* NULL: bytes of held */
    bool discard;        /* CLIENT REPLY OFF or SKIP: the replies are dropped */
    size_t n;            /* ops of the batch, or bytes */
};

struct client {
    struct rt_stream stream; /* first: a stream pointer is its client's */
    struct worker *worker;
    struct list_node node; /* of worker->clients.all */
    struct link id_link;   /* of worker->clients.by_id */
    struct list_node dirty_node;
    struct list_node line_node; /* of worker->clients.ready, ->paused or ->parked.gone */
    uint64_t id;
    enum client_state state;
    unsigned flags;
    uint32_t db;
    uint8_t resp;
    bool delayed : 1;            /* it is among worker->clients.delayed */
    bool import_silent : 1;      /* slots came by it, until it fell silent */
    bool acknowledged_here : 1;  /* what it waits for is on our disk (WAITAOF), */
    uint16_t acknowledged;       /* and has been acknowledged by so many replicas (WAIT) */
    const struct acl_user *user; /* identity.h; NULL: the server itself, who may do anything */

    /* Input: unparsed bytes. */
    struct parser parser;
    struct rt_buffer *input_buffer; /* holds input, or NULL */
    struct bytes input;
    size_t input_scanned; /* of it: was understood before, and waits for its turn */
    struct large *large;  /* values of the first request of the input that lie apart, or NULL */

    /* Output. */
    struct outbuf out;
    size_t out_flushed;      /* its bytes at the end of the last turn that touched it */
    struct client_gate gate; /* which of them may leave, while there is a log */
    struct outbuf held;
    struct pending *pending; /* ring, capacity a power of two */
    uint32_t pending_head, pending_count, pending_cap;
    uint32_t delay; /* entries of pending that must be home before `out` is sent: delays_output */
    struct list_node delay_node; /* of worker->clients.delayed */
    int64_t delay_until_ms;      /* monotonic */
    size_t bytes_away;       /* of the batches on other threads, and of what a transaction runs */
    size_t home_memory;      /* of batches whose replies are home but not next in line */
    size_t home_replies;     /* bytes of those replies */
    struct order order;      /* of its ops on several shards */
    uint64_t slots_epoch;    /* of the table that what is away was routed by */
    struct scatter *scatter; /* what its command asks of all workers, or NULL */
    struct txn *txn;         /* the transaction that its commands are part of, or NULL */
    const struct scatter_parent *parent; /* the same, as scatter sees it */
    struct txn *gathered;                /* dispatch: not started yet */
    struct blocked *blocked; /* the wait for keys of its command (txn/blocked.h), or NULL */
    unsigned txns_open;      /* and not yet freed: their locks may be on their way back */
    unsigned blocked_open;   /* and not yet freed: parts of them are on their way back */
    unsigned self_batches;   /* batches for this very worker, whose ops must wait */
    unsigned batches_away;
    int64_t soft_limit_since_ms; /* output above the soft limit since; 0: it is not */

    /* MULTI, WATCH (multi.h). */
    struct multi_queue *multi;     /* NULL outside of a transaction */
    struct multi_watches *watches; /* NULL: no keys */

    /* Publish and subscribe (pubsub.h). */
    struct subs *subs; /* NULL: it never has */
    uint32_t subscriptions[TOPIC_KINDS];
    uint32_t ops_pending; /* in batches: until their replies have moved to `out` */
    size_t subs_bytes;

    struct tracking *tracking; /* client-side caching (tracking.h); NULL: it never has */
    struct monitor *monitor;   /* MONITOR (observe/monitor.h): NULL: it does not */
    struct replica *replica;   /* replication/replica.h: NULL: it is none */
    struct upstream *upstream; /* replication/upstream.h: we are its replica; NULL: we are not */

    struct wait wait;

    /* What CLIENT shows. */
    char *addresses; /* the memory of the next two */
    const char *peer, *local;
    char *name; /* NULL: none */
    char *lib_name;
    char *lib_version;
    const struct command_ref *last_command; /* NULL: none yet, or an unknown one */
    int64_t created_ms;                     /* wall */
    int64_t active_ms;                      /* wall, last interaction */
    uint64_t bytes_in, bytes_out, commands;
    size_t memory;                  /* as last accounted to the worker */
    uint32_t stranger_memory;       /* of it, what counts of who has not logged in (limits.c) */
    uint32_t address_hash;          /* 0: not counted by its address */
    struct pqueue_node memory_node; /* of worker->clients.evictable */
    size_t out_peak;                /* largest output lately: client_recent_max_output_buffer */
};

/* NULL: there is none on this worker. One that is closing is still found. */
struct client *client_of_id(const struct worker *worker, uint64_t id);
void client_accept(struct worker *worker, const struct rt_accepted *accepted, uint64_t id,
                   uint32_t address_hash);
/* A connection of our own to a numeric address, with TLS or without, whose requests are run as
 * those of who may do anything, and not answered: what comes is told to the upstream first
 * (handlers.h). NULL, and *ret_error: it cannot begin. */
struct client *client_connect(struct worker *worker, const char *address, uint16_t port, bool tls,
                              struct upstream *upstream, uint64_t id, int *ret_error);
/* Protected mode keeps it out. */
bool client_is_stranger(const struct worker *worker, bool is_local);

/* It is as good as gone: what comes for it is dropped. */
static inline bool client_is_closing(const struct client *client) {
    return client->state >= CLIENT_CLOSING;
}
/* Something of it is on other threads, or on its way home: what that does it does, whether or not
 * the client is still there. */
static inline bool client_has_work_away(const struct client *client) {
    return client->batches_away > 0 || client->scatter != NULL || client->txns_open > 0 ||
           client->blocked_open > 0;
}
/* It is closed, and nothing can happen in its name any more: for others it is not there. */
static inline bool client_is_over(const struct client *client) {
    return client_is_closing(client) && !client_has_work_away(client);
}
/* It needs no password, or has given it. */
bool client_may_run(const struct client *client);
/* What one request of it may bring. */
struct parser_limits client_parser_limits(const struct client *client);
/* Whether every request that was taken up has been answered, and every reply is out. */
bool client_all_sent(const struct client *client);
/* Closes as soon as the turn allows; idempotent. Replies not yet sent are lost. */
void client_close(struct client *client);
/* Closes once all replies so far have been sent; no more input is read. */
void client_close_after_reply(struct client *client);
/* The client has new output: it is sent at the end of the turn. */
void client_mark_dirty(struct client *client);
/* Closes a client whose output is over its limit; true if so. */
bool client_check_output(struct client *client);
/* What a transaction may answer: who asks for more is closed. SIZE_MAX if there is no limit. */
size_t client_reply_max(const struct client *client);
void client_close_over_limit(struct client *client);
/* Frees it if nothing is on its way any more; true if freed. */
bool client_try_free(struct client *client);
/* A command of the client is over: what CLIENT REPLY SKIP and ASKING said moves on. */
static inline void client_command_over(struct client *client) {
    if (UNLIKELY(client->flags & (CLIENT_ASKING | CLIENT_ASKING_NEXT))) {
        client->flags &= client->multi == NULL ? ~(unsigned)CLIENT_ASKING : ~0U;
        client->flags |= client->flags & CLIENT_ASKING_NEXT ? CLIENT_ASKING : 0;
        client->flags &= ~(unsigned)CLIENT_ASKING_NEXT;
    }
    client->flags &= ~(unsigned)CLIENT_REPLY_SKIP;
    if (client->flags & CLIENT_REPLY_SKIP_NEXT) { /* the command after it is the one */
        client->flags = (client->flags & ~(unsigned)CLIENT_REPLY_SKIP_NEXT) | CLIENT_REPLY_SKIP;
    }
}
#define CLIENT_MANNERS                                                                             \
    (CLIENT_NO_TOUCH | CLIENT_IMPORT_SOURCE | CLIENT_TRACKS_READS | CLIENT_ASKING |                \
     CLIENT_READONLY | CLIENT_TLS | CLIENT_IPV6 | CLIENT_IMPORTS | CLIENT_REPLY_OFF |              \
     CLIENT_REPLY_SKIP)
/* How its commands look at keys: exec_manner. */
static inline uint16_t client_manner(const struct client *client) {
    unsigned flags = client->flags;
    if (LIKELY(!(flags & CLIENT_MANNERS)) && client->upstream == NULL) {
        return 0;
    }
    return (uint16_t)((flags & CLIENT_NO_TOUCH ? MANNER_NO_TOUCH : 0) |
                      (flags & CLIENT_IMPORT_SOURCE ? MANNER_SEES_DEAD : 0) |
                      (client->upstream != NULL ? MANNER_UPSTREAM : 0) |
                      (flags & CLIENT_TRACKS_READS ? MANNER_TRACKS : 0) |
                      (flags & CLIENT_ASKING ? MANNER_ASKING : 0) |
                      (flags & CLIENT_READONLY ? MANNER_READONLY : 0) |
                      (flags & CLIENT_TLS ? MANNER_TLS : 0) |
                      (flags & CLIENT_IPV6 ? MANNER_IPV6 : 0) |
                      (flags & CLIENT_IMPORTS ? MANNER_IMPORTS : 0) |
                      (flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP) ? MANNER_MUTE : 0));
}
/* What UNWATCH does: it watches nothing any more. What DISCARD does: and the queue of its MULTI
 * goes. Harmless without. */
void client_unwatch(struct client *client);
void client_discard(struct client *client);
/* Its list of watched keys goes, and nobody is told: for EXEC, which has been to all the shards. */
void client_forget_watches(struct client *client);
/* A writer to the client's output, for replies that come outside a command. */
struct reply client_reply(struct client *client);

/* Every byte held for it on any thread: tot-mem of CLIENT LIST. */
size_t client_memory(const struct client *client);
/* Sets or (NULL) clears one of the name fields. */
void client_set_text(char **field, struct bytes text);

#endif
