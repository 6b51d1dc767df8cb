/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_acks: replicas-ack, at the stream's home: up to which number so many replicas have all
 * that was done. What replies tell of has a number (client/gate.h), replicas acknowledge offsets;
 * so once a turn, when more is in the stream, the number and the offset up to there are noted, and
 * replicas are asked how far they are.
 *
 * What was there before replicas-ack was set, or before this server became a primary, counts as
 * acknowledged: who promised something of it was somebody else.
 */
#include "server/replication/primary_private.h"

#include "base/must.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* More are thinned out: what is between two of them counts as acknowledged when the second is. */
#define MARKS_MAX 4096

static uint32_t wanted(const struct primary *primary) {
    return primary->following ? 0 : (uint32_t)primary->home->config->replicas_ack;
}

static bool counts(const struct listed *listed) {
    return listed->stands == STANDS_STREAM && !listed->old;
}

uint32_t primary_count_acking(const struct primary *primary) {
    uint32_t count = 0;
    LIST_EACH(&primary->replicas, node) {
        count += counts(LIST_ENTRY(node, struct listed, node));
    }
    return count;
}

/* The largest offset that so many have said they have; 0: none. */
static uint64_t held_by(const struct primary *primary, uint32_t replicas) {
    uint64_t best = 0;
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        uint32_t have = 0;
        LIST_EACH(&primary->replicas, other_node) {
            const struct listed *other = LIST_ENTRY(other_node, struct listed, node);
            have += counts(other) && other->acknowledged >= listed->acknowledged;
        }
        if (counts(listed) && have >= replicas && listed->acknowledged > best) {
            best = listed->acknowledged;
        }
    }
    return best;
}

static void thin_out(struct primary *primary) {
    uint32_t kept = 0;
    for (uint32_t i = 1; i < primary->marks_count; i += 2) { /* the last one is odd */
        primary->marks[kept++] = primary->marks[i];
    }
    primary->marks_count = kept;
}

/* All that is in the stream by now. False: there is nothing new. */
static bool note_mark(struct primary *primary) {
    uint64_t number = primary->merge.next - 1;
    if (number <= primary->marked) {
        return false;
    }
    primary->marked = number;
    if (primary->marks == NULL) {
        primary->marks = must_malloc(MARKS_MAX * sizeof *primary->marks);
    } else if (primary->marks_count == MARKS_MAX) {
        thin_out(primary);
    }
    primary->marks[primary->marks_count++] =
        (struct stream_mark){.number = number, .offset = primary_offset(primary)};
    return true;
}

/* What is new has done nothing: a transaction that was refused has drawn a number, too. */
static bool is_nothing(const struct primary *primary) {
    return primary->marks_count == 0 && primary->done_end <= primary->acked_end;
}

static bool raise_to(const struct primary *primary, uint64_t number) {
    struct shared_counters *shared = primary->home->server->shared;
    if (number <= shared_acked(shared)) {
        return false;
    }
    shared_set_acked(shared, number);
    return true;
}

/* Marks that enough of them have got past go. */
static bool take_acknowledged(struct primary *primary, uint32_t replicas) {
    if (primary->marks_count == 0) {
        return false;
    }
    uint64_t offset = held_by(primary, replicas), number = 0;
#ifdef SHOAL_UNSAFE_ACKS_EARLY /* for the test that the simulator's servers notice: what was sent  \
                                */
    offset = offset > 0 ? primary_offset(primary) : 0;
#endif
    uint32_t past = 0;
    while (offset > 0 && past < primary->marks_count && primary->marks[past].offset <= offset) {
        primary->acked_end = primary->marks[past].offset;
        number = primary->marks[past++].number;
    }
    primary->marks_count -= past;
    for (uint32_t i = 0; past > 0 && i < primary->marks_count; i++) {
        primary->marks[i] = primary->marks[i + past];
    }
    return raise_to(primary, number);
}

/* Who waits for what is acknowledged now. He has said so before he looked for the last time. */
static void wake(const struct primary *primary) {
    struct worker *home = primary->home;
    struct server *server = home->server;
    uint64_t acked = shared_acked(server->shared);
    for (unsigned i = 0; i < server->workers_count; i++) {
        if (i != home->id && shared_wal_wanted(server->shared, i) <= acked) {
            rt_wake(home->rt, server->threads[i]);
        }
    }
}

void primary_forget_acks(struct primary *primary) {
    primary->marks_count = 0;
    primary->marked = 0;
}

void primary_begin_acks(struct primary *primary) {
    primary->acks_wanted = wanted(primary);
    if (primary->acks_wanted > 0) {
        raise_to(primary, shared_wal_count(primary->home->server->shared));
        primary->acked_end = primary_offset(primary);
        primary->left_unacked = false;
    }
}

void primary_acks_stream(struct primary *primary, bool begins) {
    struct shared_counters *shared = primary->home->server->shared;
    if (begins) {
        primary->done_end = primary_offset(primary);
        primary->acked_end = primary->left_unacked ? 0 : primary->done_end;
    } else {
        primary->left_unacked = shared_acked(shared) < shared_wal_count(shared);
    }
}

void primary_end_acks(struct primary *primary) {
    if (primary->acks_wanted > 0 && primary->active) {
        note_mark(primary);
        take_acknowledged(primary, primary->acks_wanted);
    }
    primary->acks_wanted = 0;
    primary_forget_acks(primary);
}

void primary_look_at_acks(struct primary *primary) {
    uint32_t replicas = wanted(primary);
    if (UNLIKELY(primary->acks_wanted == 0 && replicas > 0)) {
        primary_begin_acks(primary);
        wake(primary);
    }
    primary->acks_wanted = replicas;
    if (replicas == 0) {
        primary_forget_acks(primary);
        return;
    }
    bool raised = false;
    if (!primary->active) { /* nobody may write; what is drawn nevertheless promises nothing */
        raised = !primary->left_unacked &&
                 raise_to(primary, shared_wal_count(primary->home->server->shared));
    } else if (is_nothing(primary)) {
        raised = raise_to(primary, primary->merge.next - 1);
    } else {
        primary->asks |= note_mark(primary);
        raised = take_acknowledged(primary, replicas);
    }
    if (raised) {
        wake(primary);
    }
}
