/* SPDX-License-Identifier: BSD-3-Clause */
/* peers: other servers that a worker talks to as their client, and the connections to them, which
 * are kept for a while when they are not in use.
 *
 * A peer is in use by one at a time, or idle. What happens to its connection is noted as it comes
 * and told in peers_work, so nobody is called back from inside of what he calls, nor while the
 * worker is parked.
 *
 *     peer_take -> [ready] -> peer->out, peer_send -> emptied -> ...  -> peer_give_back
 *                               reply, reply ...                   \-> peer_close -> lost
 *
 * Thread: the worker's own.
 * Ownership: the worker's list. Who uses one has it until he gives it back or `lost` is called;
 * memory that is pinned in its `out` must stay as long.
 */
#ifndef SHOAL_SERVER_WORKER_PEERS_H
#define SHOAL_SERVER_WORKER_PEERS_H

#include "base/list.h"
#include "base/outbuf.h"
#include "base/pqueue.h"
#include "base/text.h"
#include "net/rt.h"
#include "proto/reader.h"

struct worker;

/* As many connections as Valkey keeps, in use or not; and how long they stay idle. */
#define PEERS_MAX     64
#define PEERS_IDLE_MS 10000

struct peers {
    struct list all;
    struct list news; /* something has happened to them */
    struct pqueue deadlines;
    unsigned count;
};

struct peer_user {
    void (*ready)(void *arg);   /* it is connected: peer->out may be filled and sent */
    void (*emptied)(void *arg); /* all that was in peer->out has left */
    /* An answer; its texts live during the call. */
    void (*reply)(void *arg, const struct reader_value *value);
    /* There is no connection, or no more, and the peer is gone. -ETIMEDOUT: nothing has moved for
     * as long as was said; -EPROTO: what came is no answer; -ESHUTDOWN: the worker stops; 0: the
     * other side has ended it; else what broke it. `unsent`: not all of peer->out has left. */
    void (*lost)(void *arg, int error, bool unsent);
};

enum peer_state {
    PEER_RESOLVING,
    PEER_CONNECTING,
    PEER_OPEN,
    PEER_CLOSING, /* till its stream is gone */
    PEER_GONE,
};

struct peer {
    struct list_node node; /* of peers->all */
    struct list_node news; /* of peers->news */
    struct pqueue_node deadline;
    struct worker *worker;
    struct rt_stream stream;
    enum peer_state state;
    bool tls;
    bool connected; /* it was, once */
    bool told;      /* its user that it is ready */
    bool emptied, ended;
    int error;                    /* why it has ended */
    const struct peer_user *user; /* NULL: it is idle */
    void *arg;
    int64_t timeout_ms;
    int64_t last_db; /* what its user has selected; -1: unknown */
    struct outbuf out;
    struct text in;
    struct reader reader;
    struct rt_resolve *resolve;
    struct rt_addresses addresses;
    unsigned next_address;
    uint16_t port;
    char *name; /* host:port, as it was asked for */
};

void peers_init(struct peers *peers);

/* A connection to this host and port, within TLS if tls-cluster says so: an idle one, or a new one.
 * Its user waits so many ms at most
 * each time nothing moves. If it is not open already `ready` or `lost` follows. */
struct peer *peer_take(struct worker *worker, struct bytes host, int port, int64_t timeout_ms,
                       const struct peer_user *user, void *arg);
/* The same, but always a new one, that its user closes. */
struct peer *peer_dial(struct worker *worker, struct bytes host, int port, int64_t timeout_ms,
                       const struct peer_user *user, void *arg);
static inline bool peer_is_open(const struct peer *peer) {
    return peer->state == PEER_OPEN;
}
/* Something was put into peer->out. */
void peer_send(struct peer *peer);
/* All that was asked was answered: it is idle now. */
void peer_give_back(struct peer *peer);
/* It will be lost. */
void peer_close(struct peer *peer, int error);

/* Tells what has happened, ends what takes too long. Returns when the next deadline is, monotonic
 * ms. */
int64_t peers_work(struct worker *worker);
/* The worker stops: all are lost. May be called again and again. */
void peers_stop(struct worker *worker);
/* At its end: peers_stop before its runtime is freed, this after. */
void peers_free(struct worker *worker);

#endif
