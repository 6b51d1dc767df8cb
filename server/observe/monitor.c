/* SPDX-License-Identifier: BSD-3-Clause */
/* monitor: see the header. Why so: commands run on all threads, and who looks at them wants one
 * order in which each follows from those before it. So a line has a number from the one counter of
 * all threads, drawn when its command runs, and worker 0 passes lines on in the order of their
 * numbers: mail of two threads has no order, but every number that is drawn arrives.
 *
 *     command runs -> number, line -> worker 0, in order -> workers with monitors -> clients
 *
 * Rejected: each thread sends to each monitor, and these put it in order. Two monitors would see
 * two orders, and a number would be for one of them, so each must be counted for each.
 */
#include "server/observe/monitor.h"

#include "base/check.h"
#include "base/must.h"
#include "proto/reply.h"
#include "server/call/check.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* A client that monitors. */
struct monitor {
    struct client *client;
    struct list_node node; /* of monitors->clients, once it is answered */
    struct list_node late; /* of monitors->late */
    struct outbuf behind;  /* lines, behind the reply of the command that it waits for */
};

struct lines {
    struct message message;  /* first */
    struct pqueue_node node; /* of monitors->early, by number */
    uint64_t number;
    int64_t at_us;
    size_t bytes; /* that follow */
};

struct change {
    struct message message; /* first */
    unsigned home;
    int change; /* so many more */
};

void monitors_init(struct monitors *monitors, unsigned workers) {
    *monitors = (struct monitors){.of_workers = must_calloc(workers, sizeof(unsigned))};
    list_init(&monitors->clients);
    list_init(&monitors->late);
    pqueue_init(&monitors->early);
}

static struct lines *first_lines(const struct monitors *monitors) {
    struct pqueue_node *node = pqueue_first(&monitors->early);
    return node != NULL ? PQUEUE_ENTRY(node, struct lines, node) : NULL;
}

void monitors_free(struct monitors *monitors) {
    struct lines *lines;
    while ((lines = first_lines(monitors)) != NULL) {
        pqueue_remove(&monitors->early, &lines->node);
        free(lines);
    }
    check(list_empty(&monitors->clients));
    free(monitors->of_workers);
}

/* ---- Who monitors ---- */

static void change(struct worker *worker, unsigned home, int change) {
    worker->monitors.count += (unsigned)change;
    worker->monitors.of_workers[home] += (unsigned)change;
    check_configure(worker);
}

void monitor_change_arrived(struct worker *worker, struct message *message) {
    const struct change *news = (const struct change *)message;
    change(worker, news->home, news->change);
    free(message);
}

/* By post always, and first: parts of a scatter wait for their turn. */
static void tell_all(struct worker *worker, int by) {
    for (unsigned i = 0; i < worker->server->workers_count; i++) {
        if (i != worker->id) {
            struct change *news = must_malloc(sizeof *news);
            *news = (struct change){
                .message = {.kind = MESSAGE_MONITORS, .home = POST_ONE_WAY},
                .home = worker->id,
                .change = by,
            };
            post_send(worker->server->office, worker->id, i, &news->message);
        }
    }
    change(worker, worker->id, by);
}

/* What has come by post before this has been seen to. */
static bool nothing_part(struct worker *worker, const void *args, void *result) {
    return true;
}

static void started(struct exec *x, const struct scatter_result *result) {
    reply_ok(x->reply);
    if (x->client != NULL && x->client->monitor != NULL) {
        list_push_back(&x->worker->monitors.clients, &x->client->monitor->node);
    }
}

void monitor_start(struct exec *x) {
    struct client *client = x->client;
    if (client->monitor != NULL) {
        return;
    }
    struct monitor *monitor = must_calloc(1, sizeof *monitor);
    monitor->client = client;
    list_node_init(&monitor->node);
    list_node_init(&monitor->late);
    outbuf_init(&monitor->behind);
    client->monitor = monitor;
    tell_all(x->worker, 1);
    scatter_all(x, nothing_part, 0, NULL, 0, started);
}

void monitor_leave(struct client *client) {
    struct monitor *monitor = client->monitor;
    if (monitor == NULL) {
        return;
    }
    client->monitor = NULL;
    list_remove(&monitor->node);
    list_remove(&monitor->late);
    outbuf_fini(&monitor->behind);
    free(monitor);
    tell_all(client->worker, -1);
}

/* ---- What they are told ---- */

/* As C would write it. */
static void add_word(struct text *lines, struct bytes word) {
    static const char plain[] = "\n\r\t\a\b\\\"", letters[] = "nrtab\\\"";
    text_append_text(lines, " \"");
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        const char *at = c != 0 ? strchr(plain, c) : NULL;
        if (at != NULL) {
            text_append_char(lines, '\\');
            text_append_char(lines, letters[at - plain]);
        } else if (c >= 0x20 && c < 0x7f) {
            text_append_char(lines, (char)c);
        } else {
            text_appendf(lines, "\\x%02x", c);
        }
    }
    text_append_char(lines, '"');
}

static void add_who(struct text *lines, const struct client *client) {
    if (client == NULL) {
        text_append_text(lines, "lua");
    } else if (client->flags & CLIENT_UNIX) {
        text_append_text(lines, "unix:");
        text_append_bytes(lines, client->worker->config->unixsocket);
    } else {
        text_append_text(lines, client->peer);
    }
}

void monitor_add(struct text *lines, const struct client *client, const struct command_ref *ref,
                 const struct bytes *argv, uint32_t argc, uint32_t db) {
    text_appendf(lines, "[%u ", db);
    add_who(lines, client);
    text_append_char(lines, ']');
    for (uint32_t i = 0; i < argc; i++) {
        bool secret = command_word_is_secret(ref->row, argv, argc, i);
        add_word(lines, secret ? BYTES("(redacted)") : argv[i]);
    }
    text_append_text(lines, "\r\n");
}

void monitor_tell(struct worker *worker, struct text *text) {
    if (text->len > 0) {
        struct lines *lines = must_malloc(sizeof *lines + text->len);
        *lines = (struct lines){
            .message = {.kind = MESSAGE_MONITOR_LINES, .home = POST_ONE_WAY},
            .number = shared_next_line(worker->server->shared),
            .at_us = rt_wall_us(worker->rt),
            .bytes = text->len,
        };
        pqueue_node_init(&lines->node);
        memcpy(lines + 1, text->ptr, text->len);
        if (worker->id == 0) {
            monitor_lines_arrived(worker, &lines->message);
        } else {
            post_send(worker->server->office, worker->id, 0, &lines->message);
        }
    }
    text_fini(text);
}

/* ---- Their way ---- */

/* It is in the middle of a command whose reply is to come first. Where replies go nowhere, these
 * lines do, too. */
static void show_to(struct monitor *monitor, struct bytes lines) {
    struct client *client = monitor->client;
    if (client->scatter != NULL || client->txn != NULL) {
        outbuf_append(&monitor->behind, lines.ptr, lines.len);
        if (!list_node_linked(&monitor->late)) {
            list_push_back(&client->worker->monitors.late, &monitor->late);
        }
        return;
    }
    struct outbuf *out = &client->out;
    if (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) {
        outbuf_drain(&monitor->behind, monitor->behind.bytes);
        return;
    }
    outbuf_splice(out, &monitor->behind);
    outbuf_append(out, lines.ptr, lines.len);
    client_mark_dirty(client);
    client_check_output(client);
}

static void show(struct worker *worker, struct bytes lines) {
    LIST_EACH_SAFE(&worker->monitors.clients, node) { /* one over its limit goes */
        show_to(LIST_ENTRY(node, struct monitor, node), lines);
    }
}

void monitors_catch_up(struct worker *worker) {
    LIST_EACH_SAFE(&worker->monitors.late, node) {
        struct monitor *monitor = LIST_ENTRY(node, struct monitor, late);
        if (monitor->client->scatter == NULL && monitor->client->txn == NULL) {
            list_remove(&monitor->late);
            show_to(monitor, BYTES(""));
        }
    }
}

void monitor_order_arrived(struct worker *worker, struct message *message) {
    const struct lines *lines = (const struct lines *)message;
    show(worker, bytes_make((const char *)(lines + 1), lines->bytes));
    free(message);
}

/* With the time before each line. Clocks that were read on two threads may differ from the order of
 * the numbers by a hair: nobody sees time go back. */
static void add_times(struct text *text, const struct lines *lines, int64_t at_us) {
    const char *at = (const char *)(lines + 1), *end = at + lines->bytes;
    while (at < end) {
        const char *next = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        text_appendf(text, "+%lld.%06lld ", (long long)(at_us / 1000000),
                     (long long)(at_us % 1000000));
        text_append(text, at, (size_t)(next - at));
        at = next;
    }
}

static void pass_on(struct worker *worker, const struct lines *lines) {
    struct monitors *monitors = &worker->monitors;
    struct text text;
    text_init(&text);
    monitors->last_us = lines->at_us > monitors->last_us ? lines->at_us : monitors->last_us;
    add_times(&text, lines, monitors->last_us);
    for (unsigned i = 1; i < worker->server->workers_count; i++) {
        if (monitors->of_workers[i] > 0) {
            struct lines *copy = must_malloc(sizeof *copy + text.len);
            *copy = (struct lines){
                .message = {.kind = MESSAGE_MONITOR_ORDER, .home = POST_ONE_WAY},
                .bytes = text.len,
            };
            memcpy(copy + 1, text.ptr, text.len);
            post_send(worker->server->office, worker->id, i, &copy->message);
        }
    }
    show(worker, text_bytes(&text));
    text_fini(&text);
}

void monitor_lines_arrived(struct worker *worker, struct message *message) {
    struct monitors *monitors = &worker->monitors;
    struct lines *lines = (struct lines *)message;
    pqueue_add(&monitors->early, &lines->node, (int64_t)lines->number);
    while ((lines = first_lines(monitors)) != NULL && lines->number == monitors->numbered + 1) {
        pqueue_remove(&monitors->early, &lines->node);
        monitors->numbered++;
        pass_on(worker, lines);
        free(lines);
    }
}
