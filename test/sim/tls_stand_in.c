/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_stand_in: see the header. */
#include "test/sim/tls_stand_in.h"

#include "base/check.h"
#include "base/must.h"
#include "net/tls.h"
#include "net/tls_context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Records ---- */

static char mask(uint32_t number, size_t i) {
    return (char)(number * 167 + i * 31 + 85);
}

static uint16_t check_of(uint32_t number, char type, struct bytes plain) {
    uint32_t sum = number * 40503u + (uint8_t)type;
    for (size_t i = 0; i < plain.len; i++) {
        sum = sum * 31 + (uint8_t)plain.ptr[i];
    }
    return (uint16_t)(sum ^ (sum >> 16));
}

void secure_seal(struct secure *secure, enum secure_type type, struct bytes plain,
                 struct text *to) {
    check(plain.len <= SECURE_PLAIN_BYTES);
    uint32_t number = secure->sent++;
    uint16_t sum = check_of(number, (char)type, plain);
    char head[SECURE_HEAD_BYTES] = {(char)type, (char)(plain.len >> 8), (char)plain.len,
                                    (char)(sum >> 8), (char)sum};
    text_append_bytes(to, bytes_make(head, sizeof head));
    text_reserve(to, plain.len);
    for (size_t i = 0; i < plain.len; i++) {
        to->ptr[to->len++] = (char)(plain.ptr[i] ^ mask(number, i));
    }
}

static size_t content_length(const char *head) {
    return (size_t)(uint8_t)head[1] << 8 | (uint8_t)head[2];
}

ssize_t secure_open(struct secure *secure, struct bytes input, enum secure_type *ret_type,
                    struct text *plain) {
    if (input.len < SECURE_HEAD_BYTES) {
        return 0;
    }
    size_t len = content_length(input.ptr);
    if (len > SECURE_PLAIN_BYTES) {
        return -1;
    }
    if (input.len < SECURE_HEAD_BYTES + len) {
        return 0;
    }
    uint32_t number = secure->received++;
    size_t before = plain->len;
    text_reserve(plain, len);
    for (size_t i = 0; i < len; i++) {
        plain->ptr[plain->len++] = (char)(input.ptr[SECURE_HEAD_BYTES + i] ^ mask(number, i));
    }
    uint16_t sum = check_of(number, input.ptr[0], bytes_make(plain->ptr + before, len));
    if (input.ptr[3] != (char)(sum >> 8) || input.ptr[4] != (char)sum) {
        return -1;
    }
    *ret_type = (enum secure_type)input.ptr[0];
    return (ssize_t)(SECURE_HEAD_BYTES + len);
}

/* ---- What OpenSSL does for a stream ---- */

struct ssl_st {
    BIO *bio;
    bool dials, greeted, open, over;
    struct secure secure;
    struct text record; /* that is not all there */
    struct text plain;  /* that was not taken */
    size_t taken;
    int error;
};

static void (*on_step)(void *arg);
static void *on_step_arg;
static unsigned refusals;

void tls_stand_in_on_step(void (*fn)(void *arg), void *arg) {
    on_step = fn;
    on_step_arg = arg;
    refusals = 0;
}

unsigned tls_stand_in_refusals(void) {
    return refusals;
}

static SSL *ssl_make(void) {
    SSL *ssl = must_calloc(1, sizeof *ssl);
    text_init(&ssl->record);
    text_init(&ssl->plain);
    return ssl;
}

void SSL_free(SSL *ssl) {
    if (ssl != NULL) {
        BIO_free(ssl->bio);
        text_fini(&ssl->record);
        text_fini(&ssl->plain);
        free(ssl);
    }
}

void SSL_set_bio(SSL *ssl, BIO *rbio, BIO *wbio) {
    check(rbio == wbio);
    ssl->bio = rbio;
}

void SSL_set_connect_state(SSL *ssl) {
    ssl->dials = true;
}

void SSL_set_accept_state(SSL *ssl) {
    ssl->dials = false;
}

static int refuse(SSL *ssl, int error) {
    ssl->error = error;
    refusals += error == SSL_ERROR_SSL;
    return error == SSL_ERROR_WANT_READ ? -1 : 0;
}

static bool put(SSL *ssl, enum secure_type type, struct bytes plain) {
    struct text record;
    text_init(&record);
    secure_seal(&ssl->secure, type, plain, &record);
    size_t written;
    bool ok = BIO_write_ex(ssl->bio, record.ptr, record.len, &written) == 1;
    text_fini(&record);
    return ok;
}

/* So many bytes of the record, no more: what comes behind it stays where it is. */
static bool fill(SSL *ssl, size_t len) {
    while (ssl->record.len < len) {
        size_t got;
        text_reserve(&ssl->record, len - ssl->record.len);
        if (BIO_read_ex(ssl->bio, ssl->record.ptr + ssl->record.len, len - ssl->record.len, &got) !=
            1) {
            return false;
        }
        ssl->record.len += got;
    }
    return true;
}

/* Of the next record. SSL_ERROR_NONE: it is there. */
static int take(SSL *ssl, enum secure_type *ret_type) {
    if (!fill(ssl, SECURE_HEAD_BYTES)) {
        return SSL_ERROR_WANT_READ;
    }
    size_t len = content_length(ssl->record.ptr);
    if (len > SECURE_PLAIN_BYTES) {
        return SSL_ERROR_SSL;
    }
    if (!fill(ssl, SECURE_HEAD_BYTES + len)) {
        return SSL_ERROR_WANT_READ;
    }
    struct bytes record = bytes_make(ssl->record.ptr, ssl->record.len);
    bool ok = secure_open(&ssl->secure, record, ret_type, &ssl->plain) > 0;
    text_clear(&ssl->record);
    return ok ? SSL_ERROR_NONE : SSL_ERROR_SSL;
}

/* One step; SSL_ERROR_NONE: there is another one, or it is open. */
static int shake_hands(SSL *ssl) {
    enum secure_type type;
    if (ssl->dials && !ssl->greeted) {
        ssl->greeted = true;
        return put(ssl, SECURE_CLIENT_HELLO, BYTES("hello")) ? SSL_ERROR_NONE : SSL_ERROR_SSL;
    }
    int error = take(ssl, &type);
    if (error != SSL_ERROR_NONE) {
        return error;
    }
    text_clear(&ssl->plain);
    if (on_step != NULL && !ssl->dials) {
        on_step(on_step_arg);
    }
    if (ssl->dials && type == SECURE_SERVER_HELLO) {
        ssl->open = true;
        return put(ssl, SECURE_FINISHED, BYTES("")) ? SSL_ERROR_NONE : SSL_ERROR_SSL;
    }
    if (!ssl->dials && !ssl->greeted && type == SECURE_CLIENT_HELLO) {
        ssl->greeted = true;
        return put(ssl, SECURE_SERVER_HELLO, BYTES("a certificate")) ? SSL_ERROR_NONE
                                                                     : SSL_ERROR_SSL;
    }
    if (!ssl->dials && ssl->greeted && type == SECURE_FINISHED) {
        ssl->open = true;
        return put(ssl, SECURE_TICKET, BYTES("for the next time")) ? SSL_ERROR_NONE : SSL_ERROR_SSL;
    }
    return SSL_ERROR_SSL;
}

int SSL_do_handshake(SSL *ssl) {
    while (!ssl->open) {
        int error = shake_hands(ssl);
        if (error != SSL_ERROR_NONE) {
            return refuse(ssl, error);
        }
    }
    return 1;
}

int SSL_read_ex(SSL *ssl, void *ret, size_t n, size_t *ret_read) {
    check(ssl->open);
    while (ssl->taken == ssl->plain.len) {
        text_clear(&ssl->plain);
        ssl->taken = 0;
        enum secure_type type = SECURE_END;
        int error = ssl->over ? SSL_ERROR_NONE : take(ssl, &type);
        if (error != SSL_ERROR_NONE) {
            return refuse(ssl, error);
        }
        if (type == SECURE_END) {
            ssl->over = true;
            return refuse(ssl, SSL_ERROR_ZERO_RETURN);
        }
        if (type == SECURE_TICKET) {
            text_clear(&ssl->plain);
        } else if (type != SECURE_DATA) {
            return refuse(ssl, SSL_ERROR_SSL);
        }
    }
    n = n < ssl->plain.len - ssl->taken ? n : ssl->plain.len - ssl->taken;
    memcpy(ret, ssl->plain.ptr + ssl->taken, n);
    ssl->taken += n;
    *ret_read = n;
    return 1;
}

int SSL_write_ex(SSL *ssl, const void *from, size_t n, size_t *ret_written) {
    check(ssl->open);
    for (size_t done = 0; done < n;) {
        size_t part = n - done < SECURE_PLAIN_BYTES ? n - done : SECURE_PLAIN_BYTES;
        if (!put(ssl, SECURE_DATA, bytes_make((const char *)from + done, part))) {
            return refuse(ssl, SSL_ERROR_SSL);
        }
        done += part;
    }
    *ret_written = n;
    return 1;
}

int SSL_get_error(const SSL *ssl, int result) {
    return result == 1 ? SSL_ERROR_NONE : ssl->error;
}

int SSL_shutdown(SSL *ssl) {
    return put(ssl, SECURE_END, BYTES("")) ? 0 : -1;
}

X509 *SSL_get0_peer_certificate(const SSL *ssl) {
    return NULL;
}

/* ---- What net/tls.c does ---- */

struct tls_context {
    char nothing;
};

struct tls {
    struct tls_context *context;
};

void tls_error_text(char *ret, size_t size) {
    snprintf(ret, size, "not a record that was expected");
}

struct tls_context *tls_context_new(const struct tls_options *options, struct text *why) {
    return must_calloc(1, sizeof(struct tls_context));
}

void tls_context_free(struct tls_context *context) {
    free(context);
}

struct tls *tls_new(void) {
    return must_calloc(1, sizeof(struct tls));
}

void tls_use(struct tls *tls, struct tls_context *context) {
    free(tls->context);
    tls->context = context;
}

void tls_free(struct tls *tls) {
    if (tls != NULL) {
        free(tls->context);
        free(tls);
    }
}

SSL *tls_connection(struct tls *tls, enum tls_side side) {
    return tls->context != NULL ? ssl_make() : NULL;
}

void tls_certificates(struct tls *tls, struct tls_certificates *ret_certificates) {
    *ret_certificates = (struct tls_certificates){
        .server.serial = "none", .client.serial = "none", .ca.serial = "none"};
}

/* There are no files. */
void tls_watch(struct tls *tls, const struct tls_options *options) {
}

enum tls_watched tls_watch_over(struct tls *tls, struct text *why) {
    return TLS_WATCH_NOTHING;
}
