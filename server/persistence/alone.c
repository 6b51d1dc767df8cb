/* SPDX-License-Identifier: BSD-3-Clause */
/* alone: see the header. The answers hand the shards over, the word that it is over (park's) hands
 * them back.
 */
#include "server/persistence/alone.h"

#include "base/check.h"
#include "base/must.h"
#include "server/server.h"
#include "server/worker/message.h"
#include "server/worker/park.h"
#include "server/worker/worker.h"

#include <stdlib.h>

void alone_init(struct alone *alone, unsigned workers) {
    *alone = (struct alone){.messages = must_calloc(workers, sizeof(struct message))};
}

void alone_fini(struct alone *alone) {
    free(alone->messages);
}

void alone_ask(struct alone *alone, struct worker *worker) {
    if (alone->asked) {
        return;
    }
    struct server *server = worker->server;
    alone->asked = true;
    for (unsigned i = 0; i < server->workers_count; i++) {
        if (i != worker->id) {
            alone->away++;
            alone->messages[i] =
                (struct message){.kind = MESSAGE_ALONE, .home = (uint16_t)worker->id};
            post_send(server->office, worker->id, i, &alone->messages[i]);
        }
    }
}

void alone_asked(struct worker *worker, struct message *message) {
    check(!worker->parked.is);
    worker->parked.by = worker->server->workers[message->home];
    worker->parked.wal = worker->wal;
    worker->parked.is = true;
    worker->parked.count++;
    message->kind = MESSAGE_ALONE_GRANTED;
    post_send(worker->server->office, worker->id, message->home, message);
}

void alone_over(struct alone *alone, struct worker *worker) {
    if (alone->asked) {
        check(alone->away == 0);
        alone->asked = false;
        park_tell_over(worker);
    }
}
