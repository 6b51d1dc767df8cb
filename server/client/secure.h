/* SPDX-License-Identifier: BSD-3-Clause */
/* secure: what the directives of TLS mean for the server's connections (net/tls.h does it).
 *
 * Thread: worker 0, but for client_on_secured, which is the client's home's.
 */
#ifndef SHOAL_SERVER_CLIENT_SECURE_H
#define SHOAL_SERVER_CLIENT_SECURE_H

#include "base/text.h"
#include "server/config/config.h"

struct rt_stream;
struct tls_context;
struct worker;

/* Certificates and keys as a configuration names them: read and looked at, not yet in use. NULL
 * with a line for the log. */
struct tls_context *secure_read(const struct config *config, struct text *why);
/* From now on for who connects; takes it over. NULL: nobody will. */
void secure_use(struct worker *worker, struct tls_context *context);
/* There is a port with TLS, or others are connected to by it. */
bool secure_is_wanted(const struct config *config);
/* Both, at the start, if it is wanted. */
bool secure_start(struct worker *worker, struct text *why);
/* tls-auto-reload-interval. */
void secure_cron(struct worker *worker);

/* The handshake of a client is over. */
void client_on_secured(struct rt_stream *stream);

#endif
