/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_context: what the configuration of TLS (tls.c) gives to its streams (tls_stream.c).
 *
 * Thread: any.
 */
#ifndef SHOAL_NET_TLS_CONTEXT_H
#define SHOAL_NET_TLS_CONTEXT_H

#include <openssl/ssl.h>

struct tls;

/* Of a connection: who it is to this side, and whether it must show a certificate. */
enum tls_side { TLS_COMES, TLS_COMES_KNOWN, TLS_DIALLED };

/* A connection by what it holds now; NULL: it holds nothing, or there is no memory. */
SSL *tls_connection(struct tls *tls, enum tls_side side);
/* The oldest error of this thread, as a text; the others are forgotten. */
void tls_error_text(char *ret, size_t size);

#endif
