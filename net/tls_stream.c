/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_stream: a stream whose bytes are TLS records on another stream. Why so:
 *
 *     owner    upper    plain bytes; what tls_stream_open was given. Its operations are ours
 *                ^ v
 *     OpenSSL  SSL      between two buffers of ours, it never waits for anything
 *                ^ v
 *     backend  raw      records; we are its owner
 *
 * So all backends have TLS, and a plain stream knows nothing of it. What arrives is decrypted at
 * once, as much as a receive brought, and told in one go. What is sent is encrypted when it is
 * asked for: small vectors are put together to records of up to 16 KB, and all records leave with
 * one send.
 *
 * Handshakes are the expensive part, a millisecond of a thread or more each. Those of a turn have a
 * slice; the others wait in line with what they have sent, which is small, while their streams are
 * paused. Who has begun goes first, so that many who come together do not all stand half done; how
 * many may, is bounded, and if they are too many the oldest make room, unless they are young. A
 * connection that says nothing costs no more than a plain one.
 *
 * Invariants
 *  1. `flying` has bytes while, and only while, the raw stream sends.
 *  2. The upper stream sends (RT_STREAM_SENDING) until all records are out, its own and others.
 *  3. A stream whose handshake is not over is in `opening`, if it is connected; with an SSL, also
 * in `half_open`, unless it dials.
 */
#include "net/tls.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt_private.h"
#include "net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES  (16 * 1024) /* plain bytes of one, at most */
#define FLIGHT_BYTES  (64 * 1024) /* plain bytes that are encrypted ahead of the socket */
#define CIPHER_ROOM   256         /* of what is no data: alerts, tickets */
#define RECORD_ROOM   64          /* what a record is longer than what is in it */
#define CIPHER_MAX    (4 * FLIGHT_BYTES)
#define BACKLOG_MAX   (256 * 1024)  /* received before its handshake has its turn */
#define HANDSHAKE_MS  (10 * 1000)   /* longer, and it is given up */
#define YOUNG_MS      1000          /* not to make room for others yet */
#define HALF_OPEN_MAX 512           /* of a runtime; each costs some 50 KB */
#define SLICE_NS      (1000 * 1000) /* of a turn, for handshakes */
#define BIO_TYPE      (127 | BIO_TYPE_SOURCE_SINK)

struct cipher {
    char *data;
    size_t len, cap;
};

enum tls_state { TLS_OPENING, TLS_OPEN, TLS_BROKEN };

struct tls_stream {
    struct rt_stream raw; /* first */
    struct rt_stream *upper;
    struct tls *tls;
    SSL *ssl; /* NULL until the first bytes come */
    enum tls_state state;
    enum tls_side side;
    struct bytes in;           /* arrived, for OpenSSL to take */
    struct cipher out, flying; /* records to be sent next, and those that are being sent */
    size_t flown;              /* of `flying`, that have left */
    size_t plain;              /* bytes of the upper's send that are in them */
    struct list_node opening;  /* inv. 3 */
    struct list_node half_open;
    struct list_node line; /* has something to do, and waits */
    int64_t opened_ms, begun_ms;
    struct cipher backlog; /* arrived while it waited */
    char *error;           /* or NULL */
};

/* What the streams of a runtime share. */
struct tls_rt {
    BIO_METHOD *method;
    struct rt_buffer *plain; /* what was decrypted last; nobody's else, or replaced */
    char *record;            /* what a record is put together in */
    struct list opening;     /* the oldest first */
    struct list half_open;   /* so, too */
    unsigned half_open_count;
    struct list starting; /* in line for their first step */
    struct list going;    /* and for the next */
    uint64_t turn;        /* of which `spent` is */
    uint64_t spent_ns;
};

static struct tls_stream *of_upper(const struct rt_stream *upper) {
    return (struct tls_stream *)(uintptr_t)upper->message_storage[0];
}

static bool dials(const struct tls_stream *t) {
    return t->side == TLS_DIALLED;
}

static struct tls_rt *tls_rt(const struct tls_stream *t) {
    return t->raw.rt->tls;
}

/* ---- Between OpenSSL and the buffers ---- */

static void cipher_append(struct cipher *cipher, const void *data, size_t n) {
    if (cipher->cap - cipher->len < n) {
        cipher->cap = cipher->len + n > 2 * cipher->cap ? cipher->len + n : 2 * cipher->cap;
        cipher->data = must_realloc(cipher->data, cipher->cap);
    }
    memcpy(cipher->data + cipher->len, data, n);
    cipher->len += n;
}

static void cipher_fini(struct cipher *cipher) {
    free(cipher->data);
    *cipher = (struct cipher){0};
}

static int bio_write(BIO *bio, const char *data, size_t n, size_t *ret_written) {
    struct tls_stream *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->out.len + n > CIPHER_MAX) { /* who makes us answer without ever reading */
        return 0;
    }
    cipher_append(&t->out, data, n);
    *ret_written = n;
    return 1;
}

static int bio_read(BIO *bio, char *ret, size_t n, size_t *ret_read) {
    struct tls_stream *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    n = n < t->in.len ? n : t->in.len;
    if (n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(ret, t->in.ptr, n);
    t->in.ptr += n;
    t->in.len -= n;
    *ret_read = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int what, long number, void *arg) {
    return what == BIO_CTRL_FLUSH;
}

static struct tls_rt *tls_rt_make(struct rt *rt) {
    if (rt->tls == NULL) {
        struct tls_rt *r = must_calloc(1, sizeof *r);
        r->method = BIO_meth_new(BIO_TYPE, "shoal stream");
        check(r->method != NULL && BIO_meth_set_write_ex(r->method, bio_write) == 1 &&
              BIO_meth_set_read_ex(r->method, bio_read) == 1 &&
              BIO_meth_set_ctrl(r->method, bio_ctrl) == 1);
        r->plain = rt_buffer_new(RECORD_BYTES);
        r->record = must_malloc(RECORD_BYTES);
        list_init(&r->opening);
        list_init(&r->half_open);
        list_init(&r->starting);
        list_init(&r->going);
        rt->tls = r;
    }
    return rt->tls;
}

void rt_tls_fini(struct rt *rt) {
    if (rt->tls != NULL) {
        BIO_meth_free(rt->tls->method);
        rt_buffer_unref(rt->tls->plain);
        free(rt->tls->record);
        free(rt->tls);
        rt->tls = NULL;
    }
}

static bool make_ssl(struct tls_stream *t) {
    struct tls_rt *r = tls_rt(t);
    SSL *ssl = tls_connection(t->tls, t->side);
    BIO *bio = ssl != NULL ? BIO_new(r->method) : NULL;
    if (bio == NULL) {
        SSL_free(ssl);
        return false;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    t->ssl = ssl;
    if (dials(t)) { /* nobody of those who come makes it wait, or give up */
        SSL_set_connect_state(ssl);
        return true;
    }
    SSL_set_accept_state(ssl);
    t->begun_ms = rt_mono_ms(t->raw.rt);
    list_push_back(&r->half_open, &t->half_open);
    r->half_open_count++;
    return true;
}

/* ---- The lines of those whose handshake is not over ---- */

/* Whether another may begin. */
static bool has_room(const struct rt *rt, const struct tls_rt *r) {
    if (r->half_open_count < HALF_OPEN_MAX) {
        return true;
    }
    const struct tls_stream *oldest =
        LIST_ENTRY(list_first(&r->half_open), struct tls_stream, half_open);
    return rt_mono_ms(rt) - oldest->begun_ms >= YOUNG_MS;
}

static void count_waiting(struct rt *rt) {
    const struct tls_rt *r = rt->tls;
    rt->tls_waiting = !list_empty(&r->going) || (!list_empty(&r->starting) && has_room(rt, r));
}

static void wait_in_line(struct tls_stream *t) {
    struct tls_rt *r = tls_rt(t);
    if (!list_node_linked(&t->line)) {
        list_push_back(t->ssl != NULL || t->state == TLS_BROKEN ? &r->going : &r->starting,
                       &t->line);
    }
    count_waiting(t->raw.rt);
}

/* The handshake is over, this way or that. */
static void leave_opening(struct tls_stream *t) {
    list_remove(&t->line);
    list_remove(&t->opening);
    if (list_node_linked(&t->half_open)) {
        list_remove(&t->half_open);
        tls_rt(t)->half_open_count--;
    }
    count_waiting(t->raw.rt);
}

/* ---- Sending ---- */

static void send_flying(struct tls_stream *t, bool lazy) {
    struct iovec vector = {t->flying.data + t->flown, t->flying.len - t->flown};
    if (lazy) {
        rt_stream_send_lazy(&t->raw, &vector, 1);
    } else {
        rt_stream_send(&t->raw, &vector, 1);
    }
}

static void flush(struct tls_stream *t, bool lazy) {
    if (t->flying.len == 0 && t->out.len > 0 && !(t->raw.flags & RT_STREAM_BROKEN)) {
        t->flying = t->out;
        t->out = (struct cipher){0};
        t->flown = 0;
        send_flying(t, lazy);
    }
}

static void set_error(struct tls_stream *t, const char *text) {
    free(t->error);
    size_t size = strlen(text) + 1;
    t->error = memcpy(must_malloc(size), text, size);
}

/* OpenSSL has found something wrong: the peer is told of it, and whoever comes to know that may be
 * told the upper. */
static void note_failure(struct tls_stream *t) {
    char text[256];
    tls_error_text(text, sizeof text);
    set_error(t, text);
    leave_opening(t);
    t->state = TLS_BROKEN;
    flush(t, false);
}

/* Records of the vectors, until they are as many as shall be ahead. */
static size_t encrypt(struct tls_stream *t, const struct iovec *vectors, int count) {
    struct tls_rt *r = tls_rt(t);
    size_t done = 0;
    int i = 0;
    size_t offset = 0; /* of vectors[i] */
    while (i < count && done < FLIGHT_BYTES) {
        const char *from = (const char *)vectors[i].iov_base + offset;
        size_t n = vectors[i].iov_len - offset;
        if (n >= RECORD_BYTES || i == count - 1) {
            n = n < RECORD_BYTES ? n : RECORD_BYTES;
            offset += n;
        } else {
            from = r->record;
            for (n = 0; i < count && n < RECORD_BYTES;) {
                size_t part = vectors[i].iov_len - offset;
                part = part < RECORD_BYTES - n ? part : RECORD_BYTES - n;
                memcpy(r->record + n, (const char *)vectors[i].iov_base + offset, part);
                n += part;
                offset += part;
                if (offset == vectors[i].iov_len) {
                    offset = 0;
                    i++;
                }
            }
        }
        size_t written;
        if (n > 0 && SSL_write_ex(t->ssl, from, n, &written) != 1) {
            return 0;
        }
        done += n;
        if (i < count && offset == vectors[i].iov_len) {
            offset = 0;
            i++;
        }
    }
    return done;
}

/* Encrypts what the upper sends. */
static void send_upper(struct tls_stream *t) {
    struct rt_stream *upper = t->upper;
    size_t bytes = upper->send_bytes < FLIGHT_BYTES ? upper->send_bytes : FLIGHT_BYTES;
    size_t room = bytes + (bytes / RECORD_BYTES + 2) * RECORD_ROOM + CIPHER_ROOM;
    if (t->out.cap == 0) {
        t->out.data = must_malloc(room);
        t->out.cap = room;
    }
    ERR_clear_error();
    t->plain = encrypt(t, upper->vectors, upper->vectors_count);
    if (t->plain == 0) { /* not from here: callbacks run in a turn */
        note_failure(t);
        wait_in_line(t);
        return;
    }
    bool lazy = (upper->flags & RT_STREAM_LAZY) && t->plain == upper->send_bytes;
    upper->send_bytes = t->plain;
    flush(t, lazy);
}

static void on_sent(struct rt_stream *raw, size_t n) {
    struct tls_stream *t = (struct tls_stream *)raw;
    struct rt_stream *upper = t->upper;
    upper->flags |= raw->flags & RT_STREAM_WAITED;
    t->flown += n;
    if (t->flown < t->flying.len) {
        send_flying(t, false);
        return;
    }
    cipher_fini(&t->flying);
    flush(t, false);
    if (t->flying.len > 0 || t->plain == 0) {
        return;
    }
    n = t->plain;
    t->plain = 0;
    rt_stream_free_vectors(upper);
    upper->flags &= ~(unsigned)RT_STREAM_SENDING;
    upper->events->sent(upper, n);
}

/* ---- Receiving ---- */

/* The upper is told, unless it knows or has closed; what it does then is its own affair. */
static void fail(struct tls_stream *t, int error) {
    rt_stream_tell_end(t->upper, error);
}

/* Why SSL_read_ex gives no more. */
static void receive_over(struct tls_stream *t, int error) {
    switch (error) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_ZERO_RETURN:
        rt_stream_tell_end(t->upper, 0);
        break;
    default:
        note_failure(t);
        fail(t, -EPROTO);
    }
}

static void receive(struct tls_stream *t) {
    struct tls_rt *r = tls_rt(t);
    for (;;) {
        struct rt_buffer *plain = r->plain;
        size_t n = 0, got;
        int result = 1;
        ERR_clear_error();
        while (n < plain->size &&
               (result = SSL_read_ex(t->ssl, plain->data + n, plain->size - n, &got)) == 1) {
            n += got;
        }
        int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, result);
        if (n > 0 && !(t->upper->flags & RT_STREAM_ENDED)) {
            t->upper->events->data(t->upper, plain, bytes_make(plain->data, n));
#ifndef SHOAL_UNSAFE_TLS_PLAIN
            if (plain->refs > 1) {
                rt_buffer_unref(plain);
                r->plain = rt_buffer_new(RECORD_BYTES);
            }
#endif
        }
        if (t->upper->flags & RT_STREAM_CLOSING) {
            return;
        }
        if (error != SSL_ERROR_NONE) {
            receive_over(t, error);
            break;
        }
    }
    if (t->state == TLS_OPEN) {
        flush(t, false);
    }
}

/* ---- The handshake ---- */

static void opened(struct tls_stream *t) {
    leave_opening(t);
    t->state = TLS_OPEN;
    flush(t, false);
    t->upper->events->connected(t->upper);
    if (t->upper->flags & RT_STREAM_CLOSING) {
        return;
    }
    if ((t->upper->flags & RT_STREAM_SENDING) && t->plain == 0) {
        send_upper(t);
    }
    receive(t);
}

static void give_up(struct tls_stream *t, const char *why) {
    set_error(t, why);
    leave_opening(t);
    t->state = TLS_BROKEN;
    fail(t, -ETIMEDOUT);
}

/* The oldest that is half done. */
static void give_up_oldest(struct tls_rt *r) {
    struct tls_stream *t = LIST_ENTRY(list_first(&r->half_open), struct tls_stream, half_open);
    give_up(t, "handshake given up: there are too many");
}

static void step(struct tls_stream *t, struct bytes bytes) {
    struct rt *rt = t->raw.rt;
    struct tls_rt *r = rt->tls;
    uint64_t begin = rt_ticks(rt);
    ERR_clear_error();
    if (t->ssl == NULL && !dials(t) && r->half_open_count >= HALF_OPEN_MAX) {
        give_up_oldest(r);
    }
    if (t->ssl == NULL && !make_ssl(t)) {
        note_failure(t);
        fail(t, -EPROTO);
        return;
    }
    t->in = bytes;
    int result = SSL_do_handshake(t->ssl);
    int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, result);
    r->spent_ns += rt_ticks_to_ns(rt, rt_ticks(rt) - begin);
    if (error == SSL_ERROR_NONE) {
        opened(t);
    } else if (error == SSL_ERROR_WANT_READ) {
        flush(t, false);
    } else {
        note_failure(t);
        fail(t, -EPROTO);
    }
    t->in = bytes_make(NULL, 0); /* the buffer is somebody else's again */
}

static uint64_t spent_ns(struct rt *rt) {
    struct tls_rt *r = rt->tls;
    if (r->turn != rt->stats.turns) {
        r->turn = rt->stats.turns;
        r->spent_ns = 0;
    }
    return r->spent_ns;
}

static bool may_step_now(struct tls_stream *t) {
    struct tls_rt *r = tls_rt(t);
    return !list_node_linked(&t->line) && spent_ns(t->raw.rt) < SLICE_NS && list_empty(&r->going) &&
           (t->ssl != NULL || (list_empty(&r->starting) && r->half_open_count < HALF_OPEN_MAX));
}

static void on_data(struct rt_stream *raw, struct rt_buffer *buffer, struct bytes bytes) {
    struct tls_stream *t = (struct tls_stream *)raw;
    if (LIKELY(t->state == TLS_OPEN)) {
        t->in = bytes;
        receive(t);
        t->in = bytes_make(NULL, 0);
    } else if (t->state == TLS_OPENING && may_step_now(t)) {
        step(t, bytes);
    } else if (t->state == TLS_OPENING && t->backlog.len < BACKLOG_MAX) {
        cipher_append(&t->backlog, bytes.ptr, bytes.len);
        rt_stream_pause(raw);
        wait_in_line(t);
    } else if (t->state == TLS_OPENING) {
        note_failure(t);
        fail(t, -EPROTO);
    }
}

/* It was in line. */
static void go_on(struct tls_stream *t) {
    list_remove(&t->line);
    if (t->state == TLS_BROKEN) {
        fail(t, -EPROTO);
        return;
    }
    struct cipher backlog = t->backlog;
    t->backlog = (struct cipher){0};
#ifdef SHOAL_UNSAFE_TLS_LINE
    backlog.len = 0;
#endif
    step(t, bytes_make(backlog.data, backlog.len));
    cipher_fini(&backlog);
    if (!((t->upper->flags & (RT_STREAM_PAUSED | RT_STREAM_CLOSING)))) {
        rt_stream_resume(&t->raw);
    }
}

void rt_tls_run(struct rt *rt) {
    struct tls_rt *r = rt->tls;
    for (count_waiting(rt); rt->tls_waiting > 0 && spent_ns(rt) < SLICE_NS; count_waiting(rt)) {
        struct list *line = list_empty(&r->going) ? &r->starting : &r->going;
        go_on(LIST_ENTRY(list_first(line), struct tls_stream, line));
    }
}

void tls_tick(struct rt *rt) {
    struct tls_rt *r = rt->tls;
    if (r == NULL) {
        return;
    }
    while (!list_empty(&r->opening)) {
        struct tls_stream *t = LIST_ENTRY(list_first(&r->opening), struct tls_stream, opening);
        if (rt_mono_ms(rt) - t->opened_ms < HANDSHAKE_MS) {
            break;
        }
        give_up(t, "handshake timed out");
    }
    count_waiting(rt);
}

/* ---- The end ---- */

static void on_ended(struct rt_stream *raw, int error) {
    struct tls_stream *t = (struct tls_stream *)raw;
    bool refused = error == 0 && dials(t) && t->state == TLS_OPENING;
    fail(t, refused ? -ECONNRESET : error);
}

static void on_gone(struct rt_stream *raw) {
    struct tls_stream *t = (struct tls_stream *)raw;
    struct rt_stream *upper = t->upper;
    SSL_free(t->ssl);
    cipher_fini(&t->out);
    cipher_fini(&t->flying);
    cipher_fini(&t->backlog);
    free(t->error);
    free(t);
    upper->flags = 0;
    upper->socket = -1;
    upper->events->gone(upper);
}

static const struct rt_stream_events raw_events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
};

/* Who connects speaks first. */
static void on_connected(struct rt_stream *raw) {
    struct tls_stream *t = (struct tls_stream *)raw;
    t->upper->socket = raw->socket;
    t->opened_ms = rt_mono_ms(raw->rt);
    list_push_back(&tls_rt(t)->opening, &t->opening);
    spent_ns(raw->rt);
    step(t, bytes_make(NULL, 0));
}

static const struct rt_stream_events dialled_events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
    .connected = on_connected,
};

/* ---- What the owner does with its stream ---- */

static void op_send(struct rt *rt, struct rt_stream *upper) {
    struct tls_stream *t = of_upper(upper);
    if (LIKELY(t->state == TLS_OPEN)) { /* else when it is */
        send_upper(t);
    }
}

static void op_pause(struct rt *rt, struct rt_stream *upper) {
    struct tls_stream *t = of_upper(upper);
    rt_stream_pause(&t->raw);
}

static void op_resume(struct rt *rt, struct rt_stream *upper) {
    struct tls_stream *t = of_upper(upper);
    if (!list_node_linked(&t->line)) { /* else when it has had its turn */
        rt_stream_resume(&t->raw);
    }
}

static void op_look_again(struct rt *rt, struct rt_stream *upper) {
    rt_stream_look_again(&of_upper(upper)->raw);
}

/* The peer is told that this is the end, if its socket takes that at once. */
static void op_close(struct rt *rt, struct rt_stream *upper) {
    struct tls_stream *t = of_upper(upper);
    leave_opening(t);
    if (t->state == TLS_OPEN) {
        ERR_clear_error();
        SSL_shutdown(t->ssl);
        ERR_clear_error();
        flush(t, false);
    }
    t->state = TLS_BROKEN;
    rt_stream_free_vectors(upper);
    rt_stream_close(&t->raw);
}

static const struct rt_stream *op_below(const struct rt_stream *upper) {
    return &of_upper(upper)->raw;
}

static const struct rt_stream_ops upper_ops = {
    .send = op_send,
    .pause = op_pause,
    .resume = op_resume,
    .look_again = op_look_again,
    .close = op_close,
    .below = op_below,
};

static struct tls_stream *tls_stream_new(struct tls *tls, struct rt *rt, struct rt_stream *stream,
                                         rt_socket socket, const struct rt_stream_events *events) {
    check(events->connected != NULL);
    struct tls_stream *t = must_calloc(1, sizeof *t);
    t->upper = stream;
    t->tls = tls;
    t->opened_ms = rt_mono_ms(rt);
    list_node_init(&t->line);
    list_node_init(&t->opening);
    list_node_init(&t->half_open);
    tls_rt_make(rt);
    rt_stream_init(rt, stream, socket, 0, events);
    stream->ops = &upper_ops;
    stream->message_storage[0] = (uintptr_t)t;
    return t;
}

static int open_accepted(struct tls *tls, struct rt *rt, struct rt_stream *stream, rt_socket socket,
                         enum tls_side side, const struct rt_stream_events *events) {
    struct tls_stream *t = tls_stream_new(tls, rt, stream, socket, events);
    t->side = side;
    int error = rt_stream_open(rt, &t->raw, socket, &raw_events);
    if (error != 0) {
        free(t);
        return error;
    }
    list_push_back(&rt->tls->opening, &t->opening);
    return 0;
}

int tls_stream_open(struct tls *tls, struct rt *rt, struct rt_stream *stream, rt_socket socket,
                    const struct rt_stream_events *events) {
    return open_accepted(tls, rt, stream, socket, TLS_COMES, events);
}

int tls_stream_open_known(struct tls *tls, struct rt *rt, struct rt_stream *stream,
                          rt_socket socket, const struct rt_stream_events *events) {
    return open_accepted(tls, rt, stream, socket, TLS_COMES_KNOWN, events);
}

int tls_stream_connect(struct tls *tls, struct rt *rt, struct rt_stream *stream,
                       const char *address, uint16_t port, const struct rt_connect_options *options,
                       const struct rt_stream_events *events) {
    struct tls_stream *t = tls_stream_new(tls, rt, stream, -1, events);
    t->side = TLS_DIALLED;
    int error = rt_stream_connect(rt, &t->raw, address, port, options, &dialled_events);
    if (error != 0) {
        free(t);
    }
    return error;
}

const char *tls_stream_error(const struct rt_stream *stream) {
    const struct tls_stream *t = of_upper(stream);
    return t->error != NULL ? t->error : "";
}

bool tls_stream_is_open(const struct rt_stream *stream) {
    return of_upper(stream)->state == TLS_OPEN;
}

/* ---- Who the peer is ---- */

static X509 *peer_certificate(const struct rt_stream *stream) {
    const struct tls_stream *t = of_upper(stream);
    return t->ssl != NULL ? SSL_get0_peer_certificate(t->ssl) : NULL;
}

/* A text that C can hold whole. */
static bool copy_text(const unsigned char *text, int len, char *ret, size_t size) {
    if (len <= 0 || (size_t)len >= size || memchr(text, 0, (size_t)len) != NULL) {
        return false;
    }
    memcpy(ret, text, (size_t)len);
    ret[len] = 0;
    return true;
}

bool tls_stream_peer_name(const struct rt_stream *stream, char *ret, size_t size) {
    X509 *cert = peer_certificate(stream);
    X509_NAME *subject = cert != NULL ? X509_get_subject_name(cert) : NULL;
    int at = subject != NULL ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return false;
    }
    unsigned char *text = NULL;
    int len =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool ok = len > 0 && copy_text(text, len, ret, size);
    OPENSSL_free(text);
    ERR_clear_error();
    return ok;
}

bool tls_stream_peer_uri(const struct rt_stream *stream, unsigned n, char *ret, size_t size) {
    X509 *cert = peer_certificate(stream);
    GENERAL_NAMES *names =
        cert != NULL ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
    bool ok = false;
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI && n-- == 0) {
            const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
            ok = copy_text(ASN1_STRING_get0_data(uri), ASN1_STRING_length(uri), ret, size);
            break;
        }
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return ok;
}
