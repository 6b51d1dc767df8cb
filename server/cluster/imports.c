/* SPDX-License-Identifier: BSD-3-Clause */
/* imports: see the header. A connection is one from before it asks on: if it ends meanwhile the
 * brain hears of that behind the question.
 */
#include "server/cluster/imports.h"

#include "base/outbuf.h"
#include "persist/codec/rdb.h"
#include "server/client/client.h"
#include "server/cluster/cluster.h"
#include "server/cluster/letters.h"
#include "server/replication/feed.h"
#include "server/replication/primary.h"
#include "server/replication/replica.h"
#include "server/replication/wait_replicas.h"
#include "server/server.h"
#include "server/worker/handlers.h"
#include "server/worker/worker.h"

#include <stdlib.h>

bool import_asks(struct client *client) {
    uint32_t done;
    if (client->worker->server->handlers->client_queue(client, &done) != NULL) {
        return false;
    }
    client->flags |= CLIENT_IMPORTS;
    return true;
}

void import_answered(struct client *client, bool good) {
    if (good) {
        client->flags |= CLIENT_REPLY_OFF;
    } else if (!(client->flags & CLIENT_REPLY_OFF)) {
        client->flags &= ~(unsigned)CLIENT_IMPORTS;
    }
}

static void say(struct client *client, struct bytes word) {
    struct text text;
    text_init(&text);
    text_appendf(&text, "*3\r\n$7\r\nCLUSTER\r\n$9\r\nSYNCSLOTS\r\n$%zu\r\n%.*s\r\n", word.len,
                 bytes_precision(word), word.ptr);
    outbuf_append(&client->out, text.ptr, text.len);
    client_mark_dirty(client);
    text_fini(&text);
}

/* Those that read the stream now are waited for, however far they are. */
static void hold(struct client *client) {
    uint32_t replicas = client->worker->acking_replicas;
    if (replicas > 0) {
        replica_send_wait(client, &(struct replica_wait){.wanted = replicas});
    } else {
        cluster_tell_import_held(client->worker, client->id);
    }
}

/* SETSLOT: who reads the stream, and what becomes of it there. */
static void tell_first(struct worker *worker, const struct import_letter *letter) {
    uint32_t replicas = worker->acking_replicas;
    if (letter->count > 0 && replicas > 0 &&
        primary_all_read(worker->server->primary, RDB_VERSION_VALKEY)) {
        feed_publish(worker, letter->words, letter->count);
        cluster_tell_told(worker, letter->telling, TELLING_SENT);
    } else if (letter->count > 0) {
        cluster_tell_told(worker, letter->telling, TELLING_NOBODY);
    } else {
        wait_telling(worker, letter->telling, replicas, letter->forgets);
    }
}

void import_heard(struct worker *worker, struct message *message) {
    struct import_letter *letter = (struct import_letter *)message;
    if (letter->telling != 0) {
        tell_first(worker, letter);
        free(letter);
        return;
    }
    if (letter->client == 0) {
        /* Older ones answer with an error what comes of it, and may end by that. */
        if (primary_all_read(worker->server->primary, RDB_VERSION_VALKEY)) {
            feed_publish(worker, letter->words, letter->count);
        }
        free(letter);
        return;
    }
    struct client *client = client_of_id(worker, letter->client);
    if (client != NULL && !client_is_closing(client)) {
        if (letter->holds) {
            hold(client);
        } else if (letter->count > 0) {
            say(client, letter->words[0]);
        } else {
            client_close(client); /* whatever of it is under way */
        }
    }
    free(letter);
}

void import_forget(struct client *client) {
    if (client->flags & CLIENT_IMPORTS) {
        replica_send_wait(client, &(struct replica_wait){.ends = true});
        cluster_tell_import_gone(client->worker, client->id, client->import_silent);
    }
}
