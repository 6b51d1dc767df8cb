/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_context: what the configuration of TLS (tls.c) gives to its streams (tls_stream.c).
 *
 * Thread: any.
 */
#ifndef SHOAL_NET_TLS_CONTEXT_H
#define SHOAL_NET_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls;

/* A connection by what it holds now, of who is connected to or (dials) connects; NULL: it holds
 * nothing, or there is no memory. */
SSL *tls_connection(struct tls *tls, bool dials);
/* The oldest error of this thread, as a text; the others are forgotten. */
void tls_error_text(char *ret, size_t size);

#endif
