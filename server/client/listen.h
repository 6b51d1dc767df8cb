/* SPDX-License-Identifier: BSD-3-Clause */
/* listen: the sockets that wait for connections, and which worker gets one.
 *
 * Thread: worker 0 only.
 */
#ifndef SHOAL_SERVER_CLIENT_LISTEN_H
#define SHOAL_SERVER_CLIENT_LISTEN_H

#include "base/text.h"
#include "server/config/config.h"
#include "shard/mailbox.h"

#include <errno.h>
#include <stdbool.h>

struct acceptor;
struct worker;

/* Listens as the configuration says. 0, or -1 with the reason in err. */
int listen_start(struct worker *worker, struct text *err);
void listen_stop(struct worker *worker);
/* Before each turn of the runtime of a worker that has an acceptor: lets in who has waited, no more
 * of them than a cycle may have. True: somebody was, or others wait. */
bool listen_turn(struct worker *worker);
/* Before a new configuration is published: listens on what is new in it (bind, port). On failure -1
 * with the reason, and everything is as before. */
int listen_update(struct worker *worker, const struct config *next, struct text *err);
/* Says in the log what is served, a line for each address. Also for main, before the workers run.
 */
void listen_log(struct worker *worker);
/* "-name" in bind: no error if the address does not exist on this machine. */
static inline bool listen_may_be_missing(int error) {
    return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT || error == -EPROTONOSUPPORT ||
           error == -ENOPROTOOPT;
}
/* On the receiving worker. */
/* Worker 0: of a connection of our own. */
uint64_t listen_next_id(struct worker *worker);
void listen_connection_arrived(struct worker *worker, struct message *message);

#endif
