/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_waits: clients in WAIT and WAITAOF, at the stream's home (wait_replicas.h). What one
 * waits for has a number first, and an offset when it is in the stream.
 */
#include "server/replication/primary_private.h"

#include "base/must.h"
#include "server/persistence/wal.h"
#include "server/replication/wait_replicas.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

static void forget_wait(struct waits *waits) {
    list_remove(&waits->node);
    free(waits);
}

void primary_begin_wait(struct primary *primary, const struct replica_news *news) {
    struct waits *waits = must_calloc(1, sizeof *waits);
    waits->client = news->client;
    waits->command = news->offset;
    waits->worker = news->worker;
    waits->wanted = news->count;
    waits->on_disks = news->on_disks;
    waits->here = news->here;
    list_push_back(&primary->waits, &waits->node);
}

void primary_end_wait(struct primary *primary, const struct replica_news *news) {
    LIST_EACH_SAFE(&primary->waits, node) {
        struct waits *waits = LIST_ENTRY(node, struct waits, node);
        if (waits->client == news->client) {
            forget_wait(waits);
        }
    }
}

static uint32_t count_acknowledged(const struct primary *primary, const struct waits *waits) {
    uint32_t count = 0;
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        uint64_t has = waits->on_disks ? listed->synced : listed->acknowledged;
        count += listed->stands == STANDS_STREAM && has >= waits->offset;
    }
    return count;
}

/* What it waits for is on our disk. */
static bool is_here(const struct primary *primary, const struct waits *waits) {
    const struct worker *home = primary->home;
    return waits->on_disks && home->wal != NULL && home->wal->state == WAL_ON &&
           shared_wal_safe(home->server->shared, WAL_SYNCED) >= waits->number;
}

static bool is_enough(const struct waits *waits) {
    return waits->told >= waits->wanted && (waits->told_here || !waits->here);
}

/* There is no log any more. */
static bool never_comes(const struct primary *primary, const struct waits *waits) {
    return waits->here && !primary->home->config->appendonly;
}

static void tell_wait(struct primary *primary, const struct waits *waits) {
    struct acknowledged_mail *mail = must_malloc(sizeof *mail);
    *mail = (struct acknowledged_mail){
        .client = waits->client,
        .command = waits->command,
        .count = waits->told,
        .here = waits->told_here,
        .enough = is_enough(waits),
        .never = never_comes(primary, waits),
    };
    primary_send(primary, waits->worker, MESSAGE_ACKNOWLEDGED, &mail->message);
}

/* What was drawn before a wait was heard of is known at the end of the turn. Replicas are asked
 * once for each, when all that has an offset. */
void primary_look_at_waits(struct primary *primary) {
    uint64_t drawn = shared_wal_count(primary->home->server->shared);
    LIST_EACH_SAFE(&primary->waits, node) {
        struct waits *waits = LIST_ENTRY(node, struct waits, node);
        waits->number = waits->number > 0 ? waits->number : drawn;
        if (waits->offset == 0) {
            if (primary->active && !merge_is_past(&primary->merge, waits->number)) {
                continue;
            }
            waits->offset = primary_offset(primary);
            primary->asks |= primary->active && waits->wanted > 0;
        }
        uint32_t count = count_acknowledged(primary, waits);
        bool here = is_here(primary, waits);
        bool changes = count != waits->told || here != waits->told_here;
        waits->told = count;
        waits->told_here = here;
        bool over = is_enough(waits) || never_comes(primary, waits);
        if (changes || over) {
            tell_wait(primary, waits);
        }
        if (over) {
            forget_wait(waits);
        }
    }
}

/* For scripts, which cannot wait: what nobody has written for a moment, and who has all of it. */
void primary_note_caught(struct primary *primary, const struct listed *listed) {
    struct waits all = {.offset = primary_offset(primary)};
    if (primary->active && listed->acknowledged == all.offset) {
        shared_set_caught(primary->home->server->shared, primary->merge.next - 1,
                          count_acknowledged(primary, &all));
    }
}

bool primary_waits_for_disk(const struct primary *primary) {
    LIST_EACH(&primary->waits, node) {
        const struct waits *waits = LIST_ENTRY(node, struct waits, node);
        if (waits->here && !waits->told_here) {
            return true;
        }
    }
    return false;
}
