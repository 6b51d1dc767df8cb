/* SPDX-License-Identifier: BSD-3-Clause */
/* tls: hostile bytes to the filter of TLS. The first byte says when they come: in place of a
 * handshake, in pieces, behind a true one as records, or as what a true peer says; and whether the
 * peer is a client, or a server that the stream has dialled. Whatever they are, the stream ends in
 * good order, and nothing is delivered that was not encrypted. */
#include "base/check.h"
#include "net/rt.h"
#include "net/tls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What all inputs share, made with the first. */
struct bench {
    struct rt *rt;
    struct tls *tls;
    SSL_CTX *client, *server; /* of peers */
    int listener;
    uint16_t port;
};

struct end {
    struct rt_stream stream; /* first */
    const uint8_t *expected; /* what may be delivered, in this order */
    size_t expected_len, got;
    bool open, ended, gone;
};

static void on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    struct end *end = (struct end *)stream;
    check(end->open && bytes.len <= end->expected_len - end->got);
    check(memcmp(end->expected + end->got, bytes.ptr, bytes.len) == 0);
    end->got += bytes.len;
}

static void on_sent(struct rt_stream *stream, size_t n) {
}

static void on_ended(struct rt_stream *stream, int error) {
    ((struct end *)stream)->ended = true;
}

static void on_gone(struct rt_stream *stream) {
    ((struct end *)stream)->gone = true;
}

static void on_connected(struct rt_stream *stream) {
    ((struct end *)stream)->open = true;
}

static const struct rt_stream_events events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
    .connected = on_connected,
};

/* A certificate that signs itself, and its key, as files. */
static void write_files(const char *cert_file, const char *key_file) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"fuzz", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    check(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(cert_file, "w");
    check(file != NULL && PEM_write_X509(file, cert) == 1 && fclose(file) == 0);
    file = fopen(key_file, "w");
    check(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
          fclose(file) == 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void listen_somewhere(struct bench *bench) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    bench->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check(bind(bench->listener, (struct sockaddr *)&address, len) == 0);
    check(listen(bench->listener, 8) == 0);
    check(getsockname(bench->listener, (struct sockaddr *)&address, &len) == 0);
    bench->port = ntohs(address.sin_port);
}

static void bench_make(struct bench *bench) {
    char folder[] = "/tmp/shoal-fuzz-tls-XXXXXX", cert[64], key[64];
    check(mkdtemp(folder) != NULL);
    snprintf(cert, sizeof cert, "%s/crt", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    write_files(cert, key);
    struct rt_options options = {
        .backend = RT_EPOLL, .recv_buffers = 16, .recv_buffer_bytes = 4096};
    char *reason;
    check(rt_new(&options, 1, &bench->rt, &reason) == 0);
    struct tls_options tls_options = {
        .cert_file = cert,
        .key_file = key,
        .key_file_pass = "",
        .client_cert_file = "",
        .client_key_file = "",
        .client_key_file_pass = "",
        .ca_cert_file = cert,
        .dials = true,
        .ca_cert_dir = "",
        .dh_params_file = "",
        .protocols = "",
        .ciphers = "",
        .ciphersuites = "",
        .auth = TLS_AUTH_NO,
        .caches_sessions = true,
        .session_cache_size = 100,
        .session_cache_timeout_s = 100,
    };
    struct text why;
    text_init(&why);
    struct tls_context *context = tls_context_new(&tls_options, &why);
    check(context != NULL);
    text_fini(&why);
    bench->tls = tls_new();
    tls_use(bench->tls, context);
    bench->client = SSL_CTX_new(TLS_method());
    bench->server = SSL_CTX_new(TLS_method());
    check(bench->client != NULL && bench->server != NULL);
    check(SSL_CTX_use_certificate_file(bench->server, cert, SSL_FILETYPE_PEM) == 1 &&
          SSL_CTX_use_PrivateKey_file(bench->server, key, SSL_FILETYPE_PEM) == 1);
    listen_somewhere(bench);
    unlink(cert);
    unlink(key);
    rmdir(folder);
}

static void turns(struct bench *bench, unsigned n) {
    while (n-- > 0) {
        rt_turn(bench->rt, 0);
    }
}

/* Of such waits until something has come that must come. */
#define PATIENCE 10000

static void wait_a_moment(struct bench *bench) {
    rt_turn(bench->rt, 1000000);
}

/* A peer that is what it says, until its handshake is over. */
static SSL *shake_hands(struct bench *bench, int fd, bool serves, bool tls13) {
    SSL *ssl = SSL_new(serves ? bench->server : bench->client);
    SSL_set_fd(ssl, fd);
    SSL_set_max_proto_version(ssl, tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (serves) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    for (unsigned i = 0; i < PATIENCE && SSL_do_handshake(ssl) != 1; i++) {
        wait_a_moment(bench);
    }
    check(SSL_is_init_finished(ssl));
    turns(bench, 4);
    return ssl;
}

static void write_pieces(struct bench *bench, int fd, const uint8_t *data, size_t size,
                         size_t piece) {
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        if (send(fd, data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            break;
        }
        turns(bench, 1);
    }
}

/* The stream connects to a server that is the test's; returns the server's socket. */
static int dial(struct bench *bench, struct end *end) {
    struct rt_connect_options options = {.source = NULL};
    check(tls_stream_connect(bench->tls, bench->rt, &end->stream, "127.0.0.1", bench->port,
                             &options, &events) == 0);
    int fd = -1;
    for (unsigned i = 0; i < PATIENCE && fd < 0; i++) {
        fd = accept(bench->listener, NULL, NULL);
        wait_a_moment(bench);
    }
    check(fd >= 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct bench bench;
    if (bench.rt == NULL) {
        bench_make(&bench);
    }
    if (size == 0) {
        return 0;
    }
    unsigned mode = data[0];
    data++;
    size--;
    int pair[2], nonblocking = 1;
    struct end end = {.expected = data};
    bool dialled = mode & 32;
    if (dialled) {
        pair[1] = dial(&bench, &end);
    } else {
        check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        check(tls_stream_open(bench.tls, bench.rt, &end.stream, pair[0], &events) == 0);
    }
    check(ioctl(pair[1], FIONBIO, &nonblocking) == 0);
    SSL *ssl = NULL;
    if (mode & 2) {
        ssl = shake_hands(&bench, pair[1], dialled, mode & 4);
        for (unsigned i = 0; i < PATIENCE && !end.open; i++) {
            wait_a_moment(&bench);
        }
        check(end.open);
    } else {
        check(!end.open);
    }
    if (mode & 2 && mode & 1 && size > 0) {
        end.expected_len = size;
        size_t written;
        check(SSL_write_ex(ssl, data, size > 65536 ? 65536 : size, &written) == 1);
        for (unsigned i = 0; i < PATIENCE && end.got < written; i++) {
            wait_a_moment(&bench);
        }
        check(end.got == written && !end.ended);
    } else {
        write_pieces(&bench, pair[1], data, size, mode & 8 ? 7 : 4096);
        turns(&bench, 4);
    }
    if (mode & 16 && !end.ended) {
        check(shutdown(pair[1], SHUT_WR) == 0);
        turns(&bench, 4);
    }
    rt_stream_close(&end.stream);
    for (unsigned i = 0; i < PATIENCE && !end.gone; i++) {
        wait_a_moment(&bench);
    }
    check(end.gone);
    SSL_free(ssl);
    close(pair[1]);
    return 0;
}
