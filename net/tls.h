/* SPDX-License-Identifier: BSD-3-Clause */
/* tls: TLS as a filter on a stream: whoever has such a stream sends and receives plain bytes as on
 * any other.
 *
 * Crosses threads: a struct tls belongs to the server, and any thread may open streams by it or ask
 * what it knows of its certificates; what it holds is behind a lock. A stream is its runtime's, as
 * all are.
 * Ownership: who replaces what a tls holds (tls_use) changes nothing for streams that are
 * open: each keeps what it began with.
 */
#ifndef SHOAL_NET_TLS_H
#define SHOAL_NET_TLS_H

#include "base/text.h"
#include "net/rt.h"

struct tls;
struct tls *tls_new(void);
void tls_free(struct tls *tls); /* after its streams */

/* ---- Certificates and keys ---- */

/* tls-auth-clients: whether who connects must show a certificate. */
enum tls_auth { TLS_AUTH_NO, TLS_AUTH_YES, TLS_AUTH_OPTIONAL };

/* Texts are empty for what is not set; files are PEM. Who connects to others shows them the
 * client's certificate, or the server's if it has none, and wants theirs to be of an authority that
 * is named; whose names are in it does not matter. */
struct tls_options {
    const char *cert_file, *key_file, *key_file_pass;
    const char *client_cert_file, *client_key_file, *client_key_file_pass;
    const char *ca_cert_file, *ca_cert_dir, *dh_params_file;
    const char *protocols, *ciphers, *ciphersuites; /* protocols: TLSv1.2 and the like, by blanks */
    enum tls_auth auth;
    bool dials; /* others are to be connected to: there must be authorities */
    bool prefer_server_ciphers;
    bool caches_sessions;
    int64_t session_cache_size;
    int64_t session_cache_timeout_s;
};

struct tls_context;
/* What is in the files, ready for use. NULL, and why is a line for the log, if anything is wrong.
 * Blocks. */
struct tls_context *tls_context_new(const struct tls_options *options, struct text *why);
void tls_context_free(struct tls_context *context);
/* For streams that are opened from now on; takes it over. NULL: they all fail. */
void tls_use(struct tls *tls, struct tls_context *context);

/* The same on a thread beside, if the files have changed since they were read: tls_watch begins
 * that unless it is under way, and tls_watch_over, called now and then, says once how it ended. */
enum tls_watched { TLS_WATCH_NOTHING, TLS_WATCH_SAME, TLS_WATCH_RELOADED, TLS_WATCH_FAILED };
void tls_watch(struct tls *tls, const struct tls_options *options);
enum tls_watched tls_watch_over(struct tls *tls, struct text *why);

#define TLS_SERIAL_BYTES 64

struct tls_certificate {
    char serial[TLS_SERIAL_BYTES]; /* hexadecimal; "none" without one */
    int64_t expires_s;             /* wall clock; 0 without one */
};

struct tls_certificates {
    struct tls_certificate server, client, ca;
};
void tls_certificates(struct tls *tls, struct tls_certificates *ret_certificates);

/* ---- Streams ---- */

/* As rt_stream_open, the server's side of TLS: `connected` is called when the handshake is over,
 * and nothing is received before. A handshake that fails or takes too long breaks the stream
 * (`ended`), and so does a record that is wrong. Handshakes of one turn have a part of it only, so
 * many at once hold nobody else up, and those that are half done are bounded in number. */
int tls_stream_open(struct tls *tls, struct rt *rt, struct rt_stream *stream, rt_socket socket,
                    const struct rt_stream_events *events);
/* The same for who must show a certificate, whatever is asked of others. */
int tls_stream_open_known(struct tls *tls, struct rt *rt, struct rt_stream *stream,
                          rt_socket socket, const struct rt_stream_events *events);
/* As rt_stream_connect, the client's side of TLS: `connected` is called when the handshake is over.
 * That it does not take too long is seen to from the connection on. */
int tls_stream_connect(struct tls *tls, struct rt *rt, struct rt_stream *stream,
                       const char *address, uint16_t port, const struct rt_connect_options *options,
                       const struct rt_stream_events *events);
/* For `ended`: what was wrong, in the words of the library; "" if nothing was. */
const char *tls_stream_error(const struct rt_stream *stream);
bool tls_stream_is_open(const struct rt_stream *stream); /* the handshake is over */

/* The common name in the certificate that the peer has shown, or one of the URIs that are its
 * alternative names, `n` from 0 on. False if there is none, or if it is no text: it holds a NUL, is
 * too long, or there are two common names. */
bool tls_stream_peer_name(const struct rt_stream *stream, char *ret, size_t size);
bool tls_stream_peer_uri(const struct rt_stream *stream, unsigned n, char *ret, size_t size);

/* For the owner of a runtime to call ten times a second: ends handshakes that have taken too long.
 */
void tls_tick(struct rt *rt);

#endif
