/* SPDX-License-Identifier: BSD-3-Clause */
/* http: see the header. Why so: an operator must see a server that is in trouble, and looking must
 * not be what brings it there. So there are few connections, all limits are hard, nothing is
 * computed for who may not come in, and what has to be asked of all workers is asked once at a time
 * for all who wait for it, by the scatter that INFO is made of: a function in each worker's turn,
 * and the text at home.
 *
 * Requests are read as they come; what needs no other worker (/healthz, /readyz, the page) is
 * answered there and then, so also while a script keeps this thread busy. The rest is begun in the
 * next turn (http_turn) by an inner client, and answered when all parts are home.
 *
 *     READING -> [GATHERING ->] SENDING -> READING ... -> CLOSING -> freed when its stream is gone
 *
 * Invariants
 *  1. A connection has a deadline in each state, and goes when it has passed.
 *  2. At most HTTP_HEAD_BYTES_MAX are kept of what a peer sends before it has read its answer.
 *
 * A browser is made to ask on behalf of foreign pages, also for addresses that only its own machine
 * reaches. A foreign page cannot read the answers, but for one whose name was made to point here:
 * so without a password who comes by way of the loopback must have asked for a number or localhost.
 */
#include "server/http/http.h"

#include "base/list.h"
#include "base/must.h"
#include "net/rt.h"
#include "server/acl/acl.h"
#include "server/client/inner.h"
#include "server/cluster/cluster_map.h"
#include "server/http/http_bigkeys.h"
#include "server/http/http_head.h"
#include "server/http/http_ready.h"
#include "server/http/http_view.h"
#include "server/http/page.h"
#include "server/observe/log.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 32
#define HEAD_MS         5000  /* for a head to come, once it has begun */
#define IDLE_MS         90000 /* between two requests: longer than most scrape intervals */
#define GATHER_MS       10000
#define WALK_MS         120000
#define WALK_REST       9     /* no walk for so many times as long as the last one took */
#define SEND_MS         10000 /* without anything leaving */
#define ADDRESS_BYTES   256

enum http_state { HTTP_READING, HTTP_GATHERING, HTTP_SENDING, HTTP_CLOSING };

struct http_connection {
    struct list_node node;
    struct worker *worker;
    struct rt_stream stream;
    enum http_state state;
    enum http_view view; /* what it waits for, GATHERING */
    bool is_local, without_body, keeps_alive;
    bool asked;                 /* the gathering that is under way is for it, too */
    bool ended;                 /* nothing more arrives */
    int64_t since_ms, until_ms; /* its state */
    struct text in, out;
    size_t sent;
};

struct http {
    struct rt_listener *listeners[CONFIG_BIND_MAX];
    char addresses[CONFIG_BIND_MAX][ADDRESS_BYTES];
    unsigned listeners_count;
    struct list connections;
    unsigned count;
    struct inner *inner;
    bool news;      /* somebody waits for something that is not gathered yet */
    bool gathering; /* it is */
    /* The walk over all keys, which is apart: it may take long. Its result is kept for who asks
     * soon after. */
    struct {
        struct inner *inner;
        bool wanted, on;
        int64_t began_ms, again_ms; /* not before: monotonic */
        struct text text;
    } walk;
};

/* ---- Answers ---- */

static void set_state(struct http_connection *c, enum http_state state, int64_t in_ms) {
    c->state = state;
    c->since_ms = rt_mono_ms(c->worker->rt);
    c->until_ms = c->since_ms + in_ms;
}

static void close_connection(struct http_connection *c) {
    if (c->state != HTTP_CLOSING) {
        set_state(c, HTTP_CLOSING, INT64_MAX / 2);
        rt_stream_close(&c->stream);
    }
}

static void send_more(struct http_connection *c) {
    struct iovec vector = {c->out.ptr + c->sent, c->out.len - c->sent};
    rt_stream_send(&c->stream, &vector, 1);
}

static void answer(struct http_connection *c, const char *status, const char *type,
                   const char *fields, struct bytes body) {
    text_clear(&c->out);
    c->sent = 0;
    text_appendf(&c->out,
                 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                 "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                 "X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n%s%s\r\n",
                 status, type, body.len, fields, c->keeps_alive ? "" : "Connection: close\r\n");
    if (!c->without_body) {
        text_append_bytes(&c->out, body);
    }
    set_state(c, HTTP_SENDING, SEND_MS);
    send_more(c);
}

static void answer_text(struct http_connection *c, const char *status, const char *fields,
                        const char *body) {
    answer(c, status, "text/plain; charset=utf-8", fields, bytes_of_text(body));
}

static void refuse(struct http_connection *c, const char *status, const char *body) {
    c->keeps_alive = false;
    answer_text(c, status, "", body);
}

static void answer_page(struct http_connection *c) {
    answer(c, "200 OK", "text/html; charset=utf-8",
           "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
           "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
           "frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n",
           bytes_make(page_html, page_html_bytes));
}

/* ---- Requests ---- */

/* Takes as long whatever is right in it. */
static bool same_secret(struct bytes given, struct bytes secret) {
    unsigned char differ = given.len != secret.len;
    for (size_t i = 0; i < given.len; i++) {
        differ |= (unsigned char)(given.ptr[i] ^ secret.ptr[i % secret.len]);
    }
    return differ == 0;
}

static struct bytes secret_of(const struct config *config) {
    return config->metrics_password.len > 0 ? config->metrics_password : config->requirepass;
}

/* False, and it was answered, if the peer may not see anything. */
static bool may_see(struct http_connection *c, const struct http_head *head) {
    struct bytes secret = secret_of(c->worker->config), given;
    char memory[HTTP_PASSWORD_BYTES_MAX];
    if (secret.len == 0 && !acl_users_open(c->worker->users)) {
        refuse(c, "403 Forbidden",
               "Clients have to log in at this server, so nobody sees it from here without a "
               "password: set metrics-password.\n");
        return false;
    }
    if (secret.len == 0) {
        if (!c->is_local || http_host_is_own(head->host)) {
            return true;
        }
        refuse(c, "421 Misdirected Request",
               "Ask by address or localhost, or set metrics-password: else a foreign page whose "
               "name was made to point here could read this.\n");
        return false;
    }
    if (http_password(head->authorization, memory, &given) && same_secret(given, secret)) {
        return true;
    }
    answer_text(c, "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"Shoal\", charset=\"UTF-8\"\r\n",
                "metrics-password, or else requirepass, is asked for; any user name will do.\n");
    return false;
}

static void wait_for_bigkeys(struct http_connection *c) {
    struct http *http = c->worker->http;
    if (http->walk.text.len > 0 && rt_mono_ms(c->worker->rt) < http->walk.again_ms) {
        answer(c, "200 OK", http_view_type(HTTP_VIEW_BIGKEYS), "", text_bytes(&http->walk.text));
        return;
    }
    set_state(c, HTTP_GATHERING, WALK_MS);
    c->view = HTTP_VIEW_BIGKEYS;
    http->walk.wanted = true;
}

static void wait_for(struct http_connection *c, enum http_view view) {
    set_state(c, HTTP_GATHERING, GATHER_MS);
    c->view = view;
    c->asked = false;
    c->worker->http->news = true;
}

static void serve(struct http_connection *c, const struct http_head *head) {
    c->keeps_alive = head->keeps_alive;
    c->without_body = head->method == HTTP_HEAD;
    if (head->method == HTTP_OTHER) {
        c->keeps_alive = false;
        answer_text(c, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "GET and HEAD only.\n");
    } else if (head->has_body) {
        refuse(c, "400 Bad Request", "No body is expected.\n");
    } else if (bytes_equal(head->path, BYTES("/healthz"))) {
        answer_text(c, "200 OK", "", "alive\n");
    } else if (bytes_equal(head->path, BYTES("/readyz"))) {
        const char *why = http_not_ready(c->worker);
        char line[128];
        snprintf(line, sizeof line, "%s\n", why != NULL ? why : "ready");
        answer_text(c, why != NULL ? "503 Service Unavailable" : "200 OK", "", line);
    } else if (!may_see(c, head)) {
        return;
    } else if (bytes_equal(head->path, BYTES("/"))) {
        answer_page(c);
    } else if (bytes_equal(head->path, BYTES("/metrics"))) {
        wait_for(c, head->open_metrics ? HTTP_VIEW_OPEN_METRICS : HTTP_VIEW_METRICS);
    } else if (bytes_equal(head->path, BYTES("/api/state"))) {
        wait_for(c, HTTP_VIEW_STATE);
    } else if (bytes_equal(head->path, BYTES("/api/bigkeys"))) {
        wait_for_bigkeys(c);
    } else {
        answer_text(c, "404 Not Found", "",
                    "There are / , /metrics, /healthz, /readyz, /api/state and /api/bigkeys.\n");
    }
}

static void read_requests(struct http_connection *c) {
    struct http_head head;
    if (c->state != HTTP_READING || c->in.len == 0) {
        return;
    }
    switch (http_head_read(text_bytes(&c->in), &head)) {
    case HTTP_HEAD_MORE:
        break;
    case HTTP_HEAD_WHOLE:
        serve(c, &head);
        memmove(c->in.ptr, c->in.ptr + head.bytes, c->in.len - head.bytes);
        c->in.len -= head.bytes;
        break;
    case HTTP_HEAD_BAD:
        refuse(c, "400 Bad Request", "This is no request of HTTP/1.1.\n");
        break;
    case HTTP_HEAD_LONG:
        refuse(c, "431 Request Header Fields Too Large", "The head has more than 8192 bytes.\n");
        break;
    case HTTP_HEAD_VERSION:
        refuse(c, "505 HTTP Version Not Supported", "HTTP/1.1 only.\n");
        break;
    }
}

/* ---- Streams ---- */

static struct http_connection *connection_of(struct rt_stream *stream) {
    return (struct http_connection *)(void *)((char *)stream -
                                              offsetof(struct http_connection, stream));
}

static void on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    struct http_connection *c = connection_of(stream);
    if (c->in.len == 0 && c->state == HTTP_READING) {
        set_state(c, HTTP_READING, HEAD_MS);
    }
    bool last = c->state == HTTP_SENDING && !c->keeps_alive; /* nobody reads on */
    while (bytes.len > 0 && !last) {
        size_t room = HTTP_HEAD_BYTES_MAX - c->in.len;
        size_t n = bytes.len < room ? bytes.len : room;
        if (n == 0) { /* who asks on and on, and does not read */
            close_connection(c);
            return;
        }
        text_append(&c->in, bytes.ptr, n);
        bytes.ptr += n;
        bytes.len -= n;
        read_requests(c);
        last = c->state == HTTP_SENDING && !c->keeps_alive;
    }
}

static void on_sent(struct rt_stream *stream, size_t n) {
    struct http_connection *c = connection_of(stream);
    c->sent += n;
    if (c->sent < c->out.len) {
        set_state(c, HTTP_SENDING, SEND_MS);
        send_more(c);
        return;
    }
    text_fini(&c->out);
    text_init(&c->out);
    if (!c->keeps_alive || c->ended) {
        close_connection(c);
        return;
    }
    set_state(c, HTTP_READING, c->in.len > 0 ? HEAD_MS : IDLE_MS);
    read_requests(c);
}

/* Who only shuts down his side may still read. */
static void on_ended(struct rt_stream *stream, int error) {
    struct http_connection *c = connection_of(stream);
    c->ended = true;
    if (error != 0 || c->state == HTTP_READING) {
        close_connection(c);
    }
}

static void on_gone(struct rt_stream *stream) {
    struct http_connection *c = connection_of(stream);
    list_remove(&c->node);
    c->worker->http->count--;
    text_fini(&c->in);
    text_fini(&c->out);
    free(c);
}

static const struct rt_stream_events http_events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
};

/* There is a place, or the longest idle connection gives its up. */
static bool make_place(struct http *http) {
    struct http_connection *idle = NULL;
    if (http->count < CONNECTIONS_MAX) {
        return true;
    }
    LIST_EACH(&http->connections, node) {
        struct http_connection *c = LIST_ENTRY(node, struct http_connection, node);
        if (c->state == HTTP_READING && c->in.len == 0 &&
            (idle == NULL || c->since_ms < idle->since_ms)) {
            idle = c;
        }
    }
    if (idle != NULL) {
        close_connection(idle);
    }
    return idle != NULL && http->count < 2 * CONNECTIONS_MAX;
}

static void on_accept(void *arg, const struct rt_accepted *accepted) {
    struct worker *worker = arg;
    struct http *http = worker->http;
    if (accepted->no_room || !make_place(http)) {
        rt_socket_refuse(worker->rt, accepted->socket,
                         BYTES("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Connection: close\r\n\r\n"));
        return;
    }
    struct http_connection *c = must_calloc(1, sizeof *c);
    c->worker = worker;
    c->is_local = accepted->is_local;
    text_init(&c->in);
    text_init(&c->out);
    set_state(c, HTTP_READING, HEAD_MS);
    list_push_back(&http->connections, &c->node);
    http->count++;
    rt_socket_delays(worker->rt, accepted->socket, false);
    if (rt_stream_open(worker->rt, &c->stream, accepted->socket, &http_events) != 0) {
        rt_socket_close(worker->rt, accepted->socket);
        on_gone(&c->stream);
    }
}

/* ---- What is gathered ---- */

static bool gathers(const struct http_connection *c) {
    return c->state == HTTP_GATHERING && c->view != HTTP_VIEW_BIGKEYS;
}

static void gathered(struct exec *x, const struct scatter_result *result) {
    struct worker *worker = x->worker;
    struct http *http = worker->http;
    struct http_texts texts;
    http_texts_begin(&texts, worker, result);
    http->gathering = false;
    LIST_EACH(&http->connections, node) {
        struct http_connection *c = LIST_ENTRY(node, struct http_connection, node);
        if (!gathers(c) || !c->asked) {
            continue;
        }
        answer(c, "200 OK", http_view_type(c->view), "", http_texts_of(&texts, c->view));
    }
    http_texts_end(&texts);
}

static void gather(struct exec *x) {
    struct http *http = x->worker->http;
    bool state = false;
    LIST_EACH(&http->connections, node) {
        struct http_connection *c = LIST_ENTRY(node, struct http_connection, node);
        c->asked = gathers(c);
        state |= c->asked && c->view == HTTP_VIEW_STATE;
    }
    http->gathering = true;
    http_view_gather(x, state, gathered);
}

/* Who has asked during the walk gets its result, too. */
static void walked(struct exec *x, const struct scatter_result *result) {
    struct http *http = x->worker->http;
    struct rt *rt = x->worker->rt;
    int64_t now_ms = rt_mono_ms(rt), took_ms = now_ms - http->walk.began_ms;
    text_clear(&http->walk.text);
    http_bigkeys_write(result, rt_wall_ms(rt) / 1000, took_ms, &http->walk.text);
    http->walk.on = http->walk.wanted = false;
    http->walk.again_ms = now_ms + WALK_REST * took_ms;
    LIST_EACH(&http->connections, node) {
        struct http_connection *c = LIST_ENTRY(node, struct http_connection, node);
        if (c->state == HTTP_GATHERING && c->view == HTTP_VIEW_BIGKEYS) {
            answer(c, "200 OK", http_view_type(c->view), "", text_bytes(&http->walk.text));
        }
    }
}

static void walk(struct exec *x) {
    struct http *http = x->worker->http;
    http->walk.on = true;
    http->walk.began_ms = rt_mono_ms(x->worker->rt);
    http_bigkeys_walk(x, walked);
}

static void walk_if_wanted(struct worker *worker) {
    struct http *http = worker->http;
    if (LIKELY(!http->walk.wanted) || http->walk.on || worker->loop.stopping) {
        return;
    }
    if (http->walk.inner == NULL) {
        http->walk.inner = inner_new(worker);
    }
    inner_run(http->walk.inner, walk);
}

void http_turn(struct worker *worker) {
    struct http *http = worker->http;
    if (LIKELY(http == NULL)) {
        return;
    }
    walk_if_wanted(worker);
    if (LIKELY(!http->news) || http->gathering || worker->loop.stopping) {
        return;
    }
    if (http->inner == NULL) {
        http->inner = inner_new(worker);
    }
    if (inner_run(http->inner, gather)) {
        http->news = false;
    }
}

static void settle(struct http *http) {
    if (http->inner != NULL) {
        inner_settle(http->inner);
    }
    if (http->walk.inner != NULL) {
        inner_settle(http->walk.inner);
    }
}

void http_cron(struct worker *worker) {
    struct http *http = worker->http;
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (LIKELY(http == NULL)) {
        return;
    }
    settle(http);
    LIST_EACH(&http->connections, node) {
        struct http_connection *c = LIST_ENTRY(node, struct http_connection, node);
        bool waits = c->state == HTTP_GATHERING;
        http->news |= gathers(c) && !c->asked;
        if (now_ms < c->until_ms) {
            continue;
        }
        if (waits) {
            refuse(c, "503 Service Unavailable", "A worker has not answered in time.\n");
        } else {
            close_connection(c);
        }
    }
}

/* ---- Listening ---- */

static bool may_be_missing(int error) {
    return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT || error == -EPROTONOSUPPORT ||
           error == -ENOPROTOOPT;
}

static void unlisten(struct worker *worker, struct http *http) {
    for (unsigned i = 0; i < http->listeners_count; i++) {
        rt_unlisten(worker->rt, http->listeners[i]);
    }
    http->listeners_count = 0;
}

static int listen_all(struct worker *worker, const struct config *config, struct http *http,
                      struct text *err) {
    struct rt_listen_options options = {.backlog = CONNECTIONS_MAX};
    int port = (int)config->metrics_port;
    for (const char *word = port != 0 ? config_word(config->metrics_bind, NULL) : NULL;
         word != NULL; word = config_word(config->metrics_bind, word)) {
        bool optional = word[0] == '-';
        const char *address = word + optional;
        int error = rt_listen_tcp(worker->rt, address, (uint16_t)port, &options, on_accept, worker,
                                  &http->listeners[http->listeners_count]);
        if (error == 0) {
            snprintf(http->addresses[http->listeners_count++], ADDRESS_BYTES,
                     strchr(address, ':') != NULL ? "[%s]:%d" : "%s:%d", address, port);
        } else if (!optional || !may_be_missing(error)) {
            text_appendf(err, "metrics-port: could not listen on %s:%d: %s", address, port,
                         strerror(-error));
            unlisten(worker, http);
            return -1;
        }
    }
    return 0;
}

int http_start(struct worker *worker, struct text *err) {
    worker->http = must_calloc(1, sizeof *worker->http);
    list_init(&worker->http->connections);
    text_init(&worker->http->walk.text);
    return listen_all(worker, worker->config, worker->http, err);
}

bool http_same(const struct config *a, const struct config *b) {
    return a->metrics_port == b->metrics_port &&
           bytes_equal(bytes_make(a->metrics_bind.ptr, a->metrics_bind.len),
                       bytes_make(b->metrics_bind.ptr, b->metrics_bind.len));
}

int http_update(struct worker *worker, const struct config *now, const struct config *next,
                struct text *err) {
    struct http *http = worker->http;
    if (http == NULL || http_same(now, next)) {
        return 0;
    }
    unlisten(worker, http);
    if (listen_all(worker, next, http, err) == 0) {
        return 0;
    }
    struct text again;
    text_init(&again);
    if (listen_all(worker, now, http, &again) != 0) {
        log_worker(worker, LOG_WARNING, "%s", again.ptr); /* an address may have gone since */
    }
    text_fini(&again);
    return -1;
}

static bool is_loopback(const char *address) {
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 ||
           strncmp(address, "localhost:", 10) == 0;
}

void http_log(struct worker *worker) {
    const struct http *http = worker->http;
    bool open = secret_of(worker->config).len == 0 && acl_users_open(worker->users);
    for (unsigned i = 0; http != NULL && i < http->listeners_count; i++) {
        const char *address = http->addresses[i];
        log_worker(worker, LOG_NOTICE,
                   "Metrics on http://%s/metrics, a page to look at on http://%s/", address,
                   address);
        if (open && !is_loopback(address)) {
            log_worker(worker, LOG_WARNING,
                       "Whoever reaches %s sees clients, names of keys and slow commands: set "
                       "metrics-password, or bind metrics to this machine (metrics-bind).",
                       address);
        }
    }
}

void http_stop(struct worker *worker) {
    struct http *http = worker->http;
    if (http == NULL) {
        return;
    }
    unlisten(worker, http);
    LIST_EACH(&http->connections, node) {
        close_connection(LIST_ENTRY(node, struct http_connection, node));
    }
    settle(http);
}

size_t http_held(const struct worker *worker, unsigned *ret_connections) {
    size_t bytes = 0;
    *ret_connections = worker->http->count;
    LIST_EACH(&worker->http->connections, node) {
        bytes += LIST_ENTRY(node, struct http_connection, node)->in.len;
    }
    return bytes;
}

void http_free(struct worker *worker) {
    struct http *http = worker->http;
    if (http == NULL) {
        return;
    }
    while (!list_empty(&http->connections)) {
        struct list_node *node = list_first(&http->connections);
        on_gone(&LIST_ENTRY(node, struct http_connection, node)->stream);
    }
    inner_free(http->inner);
    inner_free(http->walk.inner);
    text_fini(&http->walk.text);
    free(http);
    worker->http = NULL;
}
