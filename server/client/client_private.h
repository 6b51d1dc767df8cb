/* SPDX-License-Identifier: BSD-3-Clause */
/* client_private: what the files of a client share.
 *
 * Thread: home worker only.
 */
#ifndef SHOAL_SERVER_CLIENT_CLIENT_PRIVATE_H
#define SHOAL_SERVER_CLIENT_CLIENT_PRIVATE_H

#include "server/client/client_flow.h"

/* What the stream tells. */
void client_on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes);
void client_on_ended(struct rt_stream *stream, int error);
void client_on_sent(struct rt_stream *stream, size_t n);

/* The client goes while it is WAITING: its wait is ended, the state is not. */
void client_cancel_wait(struct client *client);

/* Lets go of the input buffer. */
void client_input_drop(struct client *client);
/* Closes a client whose input is over its limit. */
void client_limit_input(struct client *client);
/* It will not be served: a bulk of so many bytes is over that limit when all of it is here. */
bool client_bulk_is_too_long(const struct client *client, size_t length);
/* Replies that have not left, those out of turn too. */
size_t client_output_bytes(const struct client *client);
/* Updates the worker's sum of client memory. */
void client_account(struct client *client);
/* That much of its memory counts as a stranger's. */
void client_count_stranger(struct client *client, uint32_t bytes);

#endif
