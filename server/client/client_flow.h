/* SPDX-License-Identifier: BSD-3-Clause */
/* client_flow: what dispatch and the worker's loop need of a client beyond client.h: its input goes
 * in, its batches go out and come back, its output leaves.
 *
 * Thread: home worker only, or who visits it.
 */
#ifndef SHOAL_SERVER_CLIENT_CLIENT_FLOW_H
#define SHOAL_SERVER_CLIENT_CLIENT_FLOW_H

#include "base/check.h"
#include "server/client/client.h"

struct batch;
struct message;

/* Whether a client may go from one state straight to another. */
bool client_state_leads(enum client_state from, enum client_state to);
static inline void client_move(struct client *client, enum client_state to) {
    check_slow(client_state_leads(client->state, to));
    client->state = to;
}
/* Nothing keeps it any more: it goes on with its input later in this turn, or in the next. */
void client_resume(struct client *client);

/* Bytes have come for it, in a buffer that is counted. They are worked off, as far as they can be
 * now. */
void client_take(struct client *client, struct rt_buffer *buffer, struct bytes bytes);
/* The first n bytes of the input are done with. */
void client_input_used(struct client *client, size_t n);
/* At the end of client_process: what is left of the input is kept, output is announced, limits are
 * looked at. */
void client_after_process(struct client *client);

/* The order of replies: bytes just written to held; one op just added to a batch. */
void client_pend_held(struct client *client, size_t bytes);
void client_pend_op(struct client *client, struct batch *batch, bool discard);
/* Sends the open batch for one target, or all of them. */
void client_send_batch(struct client *client, unsigned target);
void client_send_batches(struct client *client);
/* So much is on its way, or home and not yet next in line, that it is not read on for now. What
 * counts is what nobody else sees: once replies have moved to `out`, limits on output do. A window
 * of requests more may be begun. */
#define CLIENT_OPS_PENDING_MAX   1024
#define CLIENT_BATCHES_AWAY_MAX  256 /* they are large, however few ops they hold */
#define CLIENT_PENDING_BYTES_MAX (4 * 1024 * 1024)
bool client_is_full(const struct client *client);
/* Replies came home ahead of their batch, which has not ended. */
void client_batch_news(struct worker *worker, struct message *message);
/* A batch of the client came home. */
void client_batch_done(struct worker *worker, struct message *message);

/* Output was delayed for long enough. */
void client_end_delay(struct client *client);
/* Hands output to the stream, if it is free. */
void client_flush(struct client *client);
/* The first whose output is delayed, or NULL. */
struct client *clients_first_delayed(const struct worker *worker);
/* Hands all output to the streams that are free. */
void clients_flush(struct worker *worker);
/* Goes on with the clients that client_resume has put in line. Not from inside a command: a command
 * never runs inside another. */
void clients_run_ready(struct worker *worker);
/* Once in a while: idle timeout, soft limits, memory that is not needed. */
void client_cron(struct client *client, int64_t now_ms);
/* Puts it where it belongs among those that may be evicted, if its worker evicts. */
void client_order(struct client *client);

#endif
