/* SPDX-License-Identifier: BSD-3-Clause */
/* exports: see the header. */
#include "server/cluster/exports.h"

#include "base/must.h"
#include "server/cluster/cluster.h"
#include "server/cluster/export_share.h"
#include "server/cluster/letters.h"
#include "server/config/config.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/peers.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Shards walk on while no more than this waits to be sent. */
#define WAITING_BYTES ((size_t)1 << 20)
/* A block of this size is sent from where it is. */
#define PINNED_BYTES_MIN ((size_t)8 << 10)
#define MEASURE_MS       100

struct exports {
    struct list list;
    int64_t measured_ms;
};

struct export {
    struct list_node node;
    struct worker *home;
    char name[EXPORT_NAME_BYTES];
    uint8_t slots[MAP_SLOTS / 8];
    struct peer *peer; /* NULL: there is none any more */
    struct text words; /* ESTABLISH */
    bool connected, awaits_auth, awaits_ok;
    bool closed;                   /* nothing is told any more, and it goes with its peer */
    unsigned listen, walked, over; /* shards */
    size_t *taken;                 /* of each: of its blocks, and it has not been told */
    bool waits;                    /* until no more than this is left: */
    int64_t wait_bytes;
    uint64_t told_left;
    int64_t much_since_ms; /* over the soft limit of replicas; 0: it is not */
};

struct exports *exports_new(void) {
    struct exports *exports = must_calloc(1, sizeof *exports);
    list_init(&exports->list);
    return exports;
}

static void export_free(struct export *export) {
    list_remove(&export->node);
    text_fini(&export->words);
    free(export->taken);
    free(export);
}

void exports_free(struct exports *exports) {
    if (exports == NULL) {
        return;
    }
    LIST_EACH_SAFE(&exports->list, node) {
        export_free(LIST_ENTRY(node, struct export, node));
    }
    free(exports);
}

static struct export *export_named(const struct exports *exports, const char *name) {
    LIST_EACH(&exports->list, node) {
        struct export *export = LIST_ENTRY(node, struct export, node);
        if (!export->closed && strcmp(export->name, name) == 0) {
            return export;
        }
    }
    return NULL;
}

size_t exports_memory(const struct exports *exports) {
    size_t bytes = 0;
    LIST_EACH(&exports->list, node) {
        const struct export *export = LIST_ENTRY(node, struct export, node);
        bytes += sizeof *export + (export->peer != NULL ? export->peer->out.bytes : 0);
    }
    return bytes;
}

bool exports_has(const struct exports *exports, const char *name) {
    return export_named(exports, name) != NULL;
}

static void tell(const struct export *export, enum brain_export_news news, struct bytes text) {
    if (!export->closed) {
        cluster_tell_export(export->home, export->name, news, text);
    }
}

/* ---- Shards ---- */

static void order(struct export *export, unsigned worker, enum export_step step, size_t bytes) {
    struct worker *home = export->home;
    struct export_order *order = must_calloc(1, sizeof *order);
    order->message = (struct message){.kind = MESSAGE_EXPORT_ORDER, .home = POST_ONE_WAY};
    order->step = step;
    order->bytes = bytes;
    memcpy(order->name, export->name, sizeof order->name);
    memcpy(order->slots, export->slots, sizeof order->slots);
    if (worker == 0) {
        home->server->handlers->messages[MESSAGE_EXPORT_ORDER](home, &order->message);
    } else {
        post_send(home->server->office, home->id, worker, &order->message);
    }
}

static void order_all(struct export *export, enum export_step step) {
    for (unsigned i = 0; i < export->home->server->workers_count; i++) {
        order(export, i, step, 0);
    }
}

static void tell_taken(struct export *export) {
    if (export->peer == NULL || export->peer->out.bytes > WAITING_BYTES) {
        return;
    }
    for (unsigned i = 0; i < export->home->server->workers_count; i++) {
        if (export->taken[i] > 0) {
            order(export, i, EXPORT_TAKEN, export->taken[i]);
            export->taken[i] = 0;
        }
    }
}

static void count_sent(const struct export *export, size_t bytes) {
    export->home->stats.net_output += bytes;
    export->home->stats.net_export += bytes;
}

static void take_text(struct export *export, struct text *text) {
    struct outbuf *out = &export->peer->out;
    count_sent(export, text->len);
    if (text->len >= PINNED_BYTES_MIN) {
        size_t len = text->len;
        char *taken = text_take(text);
        outbuf_append_pinned(out, bytes_make(taken, len), free, taken);
    } else {
        outbuf_append(out, text->ptr, text->len);
    }
    peer_send(export->peer);
}

void export_block_arrived(struct worker *worker, struct message *message) {
    struct export_block *block = (struct export_block *)message;
    struct export *export = export_named(worker->server->exports, block->name);
    unsigned shards = worker->server->workers_count;
    if (export == NULL || export->peer == NULL) {
        export_block_free(block);
        return;
    }
    switch (block->said) {
    case EXPORT_LISTENS:
        if (++export->listen == shards) {
            order_all(export, EXPORT_BEGIN);
        }
        break;
    case EXPORT_KEYS:
        export->taken[block->worker] += block->text.len;
        take_text(export, &block->text);
        tell_taken(export);
        break;
    case EXPORT_IS_WALKED:
        if (++export->walked == shards) {
            tell(export, BRAIN_EXPORT_WALKED, (struct bytes){0});
        }
        break;
    case EXPORT_IS_OVER:
        if (++export->over == shards) {
            tell(export, BRAIN_EXPORT_DRAINED, (struct bytes){0});
        }
        break;
    }
    export_block_free(block);
}

/* ---- The connection ---- */

static void put_words(struct text *text, const struct bytes *words, unsigned count) {
    text_appendf(text, "*%u\r\n", count);
    for (unsigned i = 0; i < count; i++) {
        text_appendf(text, "$%zu\r\n", words[i].len);
        text_append_bytes(text, words[i]);
        text_append(text, "\r\n", 2);
    }
}

static void send_text(struct export *export, const struct text *text) {
    outbuf_append(&export->peer->out, text->ptr, text->len);
    count_sent(export, text->len);
    peer_send(export->peer);
}

static void ask(struct export *export) {
    send_text(export, &export->words);
    export->awaits_ok = true;
    tell(export, BRAIN_EXPORT_ASKED, (struct bytes){0});
}

/* As a replica does, with the same password. */
static void ready(void *arg) {
    struct export *export = arg;
    const struct config *config = export->home->config;
    export->connected = true;
    if (config->primaryauth.len == 0) {
        ask(export);
        return;
    }
    struct text text;
    struct bytes words[] = {BYTES("AUTH"), config->primaryuser, config->primaryauth};
    bool named = config->primaryuser.len > 0;
    text_init(&text);
    if (!named) {
        words[1] = words[2];
    }
    put_words(&text, words, named ? 3 : 2);
    send_text(export, &text);
    text_fini(&text);
    export->awaits_auth = true;
    tell(export, BRAIN_EXPORT_SENDS_AUTH, (struct bytes){0});
}

static void emptied(void *arg) {
    tell_taken(arg);
}

/* CLUSTER SYNCSLOTS word. */
static struct bytes word_of(const struct reader_value *value) {
    if (value->kind != READER_ARRAY || value->integer != 3 || value->span != 4 ||
        !bytes_is(value[1].text, "CLUSTER") || !bytes_is(value[2].text, "SYNCSLOTS")) {
        return (struct bytes){0};
    }
    return value[3].text;
}

static void answer(void *arg, const struct reader_value *value) {
    struct export *export = arg;
    bool is_error = value->kind == READER_ERROR;
    if (export->awaits_auth || export->awaits_ok) {
        bool was_auth = export->awaits_auth;
        export->awaits_auth = export->awaits_ok = false;
        if (!is_error && value->kind != READER_STATUS) {
            peer_close(export->peer, -EPROTO);
        } else if (is_error) {
            tell(export, was_auth ? BRAIN_EXPORT_NO_AUTH : BRAIN_EXPORT_REFUSED, value->text);
        } else if (was_auth) {
            ask(export);
        } else {
            tell(export, BRAIN_EXPORT_ACCEPTED, (struct bytes){0});
        }
        return;
    }
    tell(export, BRAIN_EXPORT_TOLD, word_of(value));
}

static void lost(void *arg, int error, bool unsent) {
    (void)unsent;
    struct export *export = arg;
    export->peer = NULL;
    if (export->closed) {
        export_free(export);
    } else if (export->connected) {
        tell(export, BRAIN_EXPORT_LOST, (struct bytes){0});
    } else {
        tell(export, BRAIN_EXPORT_UNREACHED, bytes_of_text(strerror(-error)));
    }
}

static const struct peer_user export_user = {
    .ready = ready,
    .emptied = emptied,
    .reply = answer,
    .lost = lost,
};

/* ---- Wishes ---- */

static void open_export(struct worker *home, const struct export_letter *letter) {
    struct export *export = must_calloc(1, sizeof *export);
    export->home = home;
    memcpy(export->name, letter->name, sizeof export->name);
    memcpy(export->slots, letter->slots, sizeof export->slots);
    export->taken = must_calloc(home->server->workers_count, sizeof *export->taken);
    text_init(&export->words);
    put_words(&export->words, letter->words, letter->count);
    list_push_back(&home->server->exports->list, &export->node);
    /* The brain looks at the time. */
    export->peer =
        peer_dial(home, bytes_of_text(letter->ip), letter->port, INT64_MAX, &export_user, export);
}

static void say(struct export *export, struct bytes word) {
    const struct bytes words[] = {BYTES("CLUSTER"), BYTES("SYNCSLOTS"), word};
    struct text text;
    if (export->peer == NULL) {
        return;
    }
    text_init(&text);
    put_words(&text, words, 3);
    send_text(export, &text);
    text_fini(&text);
}

static void close_export(struct export *export) {
    order_all(export, EXPORT_FORGET);
    export->closed = true;
    if (export->peer != NULL) {
        peer_close(export->peer, 0);
    } else {
        export_free(export);
    }
}

void export_wish_arrived(struct worker *worker, struct message *message) {
    struct export_letter *letter = (struct export_letter *)message;
    struct export *export = export_named(worker->server->exports, letter->name);
    if (letter->wish == EXPORT_OPEN) {
        open_export(worker, letter);
    } else if (export != NULL) {
        switch (letter->wish) {
        case EXPORT_SAY:
            say(export, letter->words[0]);
            break;
        case EXPORT_WALK:
            order_all(export, EXPORT_LISTEN);
            break;
        case EXPORT_WAIT:
            export->waits = true;
            export->wait_bytes = letter->bytes;
            break;
        default:
            close_export(export);
            break;
        }
    }
    free(letter);
}

/* ---- In each turn ---- */

/* Who gets them does not read as fast as they are written to: memory is worth more. */
static bool is_too_much(struct export *export, uint64_t left) {
    const struct config_output_limit *limit =
        &export->home->config->client_output_buffer_limit[CONFIG_OUTPUT_REPLICA];
    int64_t now_ms = rt_mono_ms(export->home->rt);
    if (limit->soft_bytes == 0 || left <= limit->soft_bytes) {
        export->much_since_ms = 0;
    } else if (export->much_since_ms == 0) {
        export->much_since_ms = now_ms;
    }
    return (limit->hard_bytes > 0 && left > limit->hard_bytes) ||
           (export->much_since_ms > 0 &&
            now_ms - export->much_since_ms > limit->soft_seconds * 1000);
}

static void look(struct export *export, bool measures) {
    if (export->closed || export->peer == NULL) {
        return;
    }
    uint64_t left = export->peer->out.bytes;
    if (is_too_much(export, left)) {
        log_worker(
            export->home, LOG_WARNING,
            "Slot migration %s is given up: its target has %llu bytes to read, which is over "
            "client-output-buffer-limit.",
            export->name, (unsigned long long)left);
        peer_close(export->peer, -ENOBUFS);
        return;
    }
    tell_taken(export);
    if (export->waits && (export->wait_bytes < 0 || left <= (uint64_t) export->wait_bytes)) {
        export->waits = false;
        tell(export, BRAIN_EXPORT_LITTLE, (struct bytes){0});
    }
    if (measures && left != export->told_left) {
        export->told_left = left;
        cluster_tell_export_left(export->home, export->name, left);
    }
}

void exports_turn(struct worker *home) {
    struct exports *exports = home->server->exports;
    if (exports == NULL || list_empty(&exports->list)) {
        return;
    }
    int64_t now_ms = rt_mono_ms(home->rt);
    bool measures = now_ms - exports->measured_ms >= MEASURE_MS;
    exports->measured_ms = measures ? now_ms : exports->measured_ms;
    LIST_EACH_SAFE(&exports->list, node) {
        look(LIST_ENTRY(node, struct export, node), measures);
    }
}
