/* SPDX-License-Identifier: BSD-3-Clause */
/* wait_replicas: see the header. A word that comes when its wait is over is known by the number of
 * the client's command, which does not change while it waits. */
#include "server/replication/wait_replicas.h"

#include "server/call/call.h"
#include "server/call/errors.h"
#include "server/client/client.h"
#include "server/cluster/cluster.h"
#include "server/cluster/letters.h"
#include "server/persistence/wal.h"
#include "server/replication/replica.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

static void end(struct client *client) {
    replica_send_wait(client, &(struct replica_wait){.ends = true});
}

/* As in Valkey, what breaks it counts as if that had been refused. False: nothing has. */
static bool is_broken(struct client *client, enum wait_end how, struct reply *reply) {
    if (how == WAIT_TIMED_OUT) {
        return false;
    }
    reply_error(reply, how == WAIT_DEMOTED ? ERR_DEMOTED : ERR_UNBLOCKED);
    call_refused(client->worker, client->last_command, reply);
    return true;
}

static void wait_done(struct client *client, enum wait_end how) {
    struct reply reply = client_reply(client);
    end(client);
    if (!is_broken(client, how, &reply)) {
        reply_int(&reply, client->acknowledged);
    }
}

static void write_disks(struct reply *reply, bool here, uint32_t count) {
    reply_array(reply, 2);
    reply_int(reply, here);
    reply_int(reply, count);
}

static void disks_done(struct client *client, enum wait_end how) {
    struct reply reply = client_reply(client);
    end(client);
    if (!is_broken(client, how, &reply)) {
        write_disks(&reply, client->acknowledged_here, client->acknowledged);
    }
}

static const struct wait_kind kind = {
    .name = "replicas", .blocked = true, .done = wait_done, .cancel = end};
static const struct wait_kind kind_disks = {
    .name = "disks", .blocked = true, .done = disks_done, .cancel = end};

static void begin(struct client *client, const struct wait_kind *wait_kind,
                  const struct replica_wait *wait, int64_t until_ms) {
    client->acknowledged = 0;
    client->acknowledged_here = false;
    client_wait(client, wait_kind, until_ms);
    if (client->state == CLIENT_WAITING) { /* else it is being closed */
        replica_send_wait(client, wait);
    }
}

void wait_replicas(struct client *client, uint32_t wanted, int64_t until_ms) {
    begin(client, &kind, &(struct replica_wait){.wanted = wanted}, until_ms);
}

void wait_disks(struct client *client, bool here, uint32_t wanted, int64_t until_ms) {
    struct replica_wait wait = {.on_disks = true, .here = here, .wanted = wanted};
    begin(client, &kind_disks, &wait, until_ms);
}

uint32_t wait_acking(const struct worker *worker) {
    const struct wal *wal = worker->wal;
    bool has_more = wal != NULL && (wal->records > 0 || wal->runs_count + wal->parts_count > 0);
    if (wal == NULL || worker->acking_replicas == 0 || has_more) {
        return 0;
    }
    uint32_t caught = shared_caught(worker->server->shared, wal->mark);
    return caught < worker->acking_replicas ? caught : worker->acking_replicas;
}

bool wait_is_on_disk(const struct worker *worker) {
    const struct wal *wal = worker->wal;
    return wal != NULL && wal->state == WAL_ON &&
           shared_wal_safe(worker->server->shared, WAL_SYNCED) >= wal->mark;
}

/* No client's id is as high. */
#define TELLING (UINT64_C(1) << 63)

void wait_telling(struct worker *worker, uint64_t telling, uint32_t wanted, bool ends) {
    replica_send_wait_of(worker, telling | TELLING,
                         &(struct replica_wait){.ends = ends, .wanted = wanted});
}

static void heard(struct worker *worker, const struct acknowledged_mail *mail) {
    if (mail->client & TELLING) {
        if (mail->enough) {
            cluster_tell_told(worker, mail->client & ~TELLING, TELLING_KNOWN);
        }
        return;
    }
    struct client *client = client_of_id(worker, mail->client);
    bool disks = client != NULL && client->wait.kind == &kind_disks;
    if (client != NULL && client->flags & CLIENT_IMPORTS) { /* it waits for nothing itself */
        if (mail->enough) {
            cluster_tell_import_held(worker, client->id);
        }
        return;
    }
    if (client == NULL || client->state != CLIENT_WAITING ||
        (client->wait.kind != &kind && !disks) || client->commands != mail->command) {
        return;
    }
    client->acknowledged = (uint16_t)mail->count;
    client->acknowledged_here = mail->here;
    if (!mail->enough && !mail->never) {
        return;
    }
    struct reply reply = client_reply(client);
    if (mail->never) {
        reply_error(&reply, ERR_NO_LOG);
    } else if (disks) {
        write_disks(&reply, mail->here, mail->count);
    } else {
        reply_int(&reply, mail->count);
    }
    client_wait_over(client);
}

void wait_replicas_arrived(struct worker *worker, struct message *message) {
    struct acknowledged_mail *mail = (struct acknowledged_mail *)message;
    heard(worker, mail);
    free(mail);
}
