/* SPDX-License-Identifier: BSD-3-Clause */
/* Elections: a replica of a failed primary asks all primaries with slots for their votes in an
 * epoch of its own, and has won with a majority of them. And the same by hand, while the primary
 * still works: it stops writing, says at which offset, and the replica asks when it has all until
 * there.
 *
 * 1 A node votes once in an epoch, and the vote leaves when it is on the disk.
 * 2 A vote counts in the epoch in which it was asked for, and in no other.
 * 3 The better a replica's data, the earlier it asks.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define VOTES_AFTER_MS 2000 /* after the start, while the state is fail */

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* ---- As a voter ---- */

/* An owner of one of these slots whose epoch is larger; NULL: there is none. */
static struct brain_node *newer_owner(const struct brain *brain, const uint8_t *slots,
                                      uint64_t epoch, unsigned *ret_slot) {
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        struct brain_node *owner = brain_bit(slots, slot) ? brain_owner(brain, slot) : NULL;
        if (owner != NULL && owner->config_epoch > epoch) {
            *ret_slot = slot;
            return owner;
        }
    }
    return NULL;
}

static __attribute__((format(printf, 3, 4))) void
deny(const struct brain *brain, const struct brain_node *asks, const char *format, ...) {
    char why[160];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    brain_note(brain, BRAIN_NOTICE, "Failover auth denied to %s: %s", brain_title(asks).text, why);
}

void brain_vote(struct brain *brain, struct brain_node *asks, const struct wire_packet *packet) {
    struct brain_node *primary = asks->primary, *newer;
    unsigned slot = 0;
    if (!brain_is_voter(brain->self)) {
        return;
    }
    if (brain->state == MAP_STATE_FAIL && brain->now.mono_ms - brain->started < VOTES_AFTER_MS) {
        deny(brain, asks, "this node has just started");
        return;
    }
    if (packet->current_epoch < brain->current_epoch) {
        deny(brain, asks, "reqEpoch (%llu) < curEpoch (%llu)",
             (unsigned long long)packet->current_epoch, (unsigned long long)brain->current_epoch);
        return;
    }
    if (brain->vote_epoch >= brain->current_epoch) {
        deny(brain, asks, "already voted for epoch %llu", (unsigned long long)brain->vote_epoch);
        return;
    }
    if (brain_is_primary(asks) || primary == NULL) {
        deny(brain, asks, primary != NULL ? "it is a primary node" : "I don't know its primary");
        return;
    }
    if (!(primary->flags & MAP_FAIL) && !(packet->mflags & WIRE_FORCE_ACK)) {
        deny(brain, asks, "its primary is up");
        return;
    }
    newer = newer_owner(brain, packet->slots, packet->config_epoch, &slot);
    if (newer != NULL) {
        deny(brain, asks, "slot %u epoch (%llu) > reqConfigEpoch (%llu)", slot,
             (unsigned long long)newer->config_epoch, (unsigned long long)packet->config_epoch);
        brain_note(brain, BRAIN_NOTICE,
                   "Node %s has old slots configuration, sending an UPDATE message about %s",
                   brain_title(asks).text, brain_title(newer).text);
        brain_send_update(brain, asks->out, newer);
        return;
    }
    brain_note(brain, BRAIN_NOTICE, "Failover auth granted to %s for epoch %llu",
               brain_title(asks).text, (unsigned long long)packet->current_epoch);
    brain->vote_epoch = brain->current_epoch;
    brain_touch_file(brain);
    brain_hold(brain, HELD_VOTE, asks->id, brain->vote_epoch);
}

/* ---- As a candidate ---- */

void brain_take_over(struct brain *brain) {
    struct brain_node *self = brain->self, *old = self->primary;
    if (brain_is_primary(self) || old == NULL) {
        return;
    }
    brain_become_primary(brain, self);
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        if (brain_owner(brain, slot) == old) {
            brain_slot_give(brain, slot, self);
        }
    }
    brain->election = (struct brain_election){0};
    brain_end_manual(brain);
    brain_update_state(brain);
    brain_announce(brain);
}

/* How many replicas of the same primary have better data; of equal ones the smaller id is better.
 */
static unsigned rank_of_self(const struct brain *brain) {
    unsigned rank = 0;
    if (BRAIN_PLANTED(brain, PLANT_NO_RANK)) {
        return 0;
    }
    BRAIN_EACH(brain, node) {
        if (node == brain->self || node->primary != brain->self->primary ||
            !(node->flags & MAP_REPLICA) || (node->flags & MAP_NOFAILOVER)) {
            continue;
        }
        rank += node->offset > brain->now.offset ||
                (node->offset == brain->now.offset && memcmp(node->id, brain->self->id, ID) < 0);
    }
    return rank;
}

/* How many failed primaries come first, so that their shards do not ask in the same epoch. */
static unsigned rank_of_primary(const struct brain *brain) {
    unsigned rank = 0;
    const struct brain_node *primary = brain->self->primary;
    BRAIN_EACH(brain, node) {
        rank += node != primary && brain_is_voter(node) && (node->flags & MAP_FAIL) &&
                memcmp(node->shard_id, primary->shard_id, ID) < 0;
    }
    return rank;
}

/* All other replicas of the primary see it fail, too: what they said last was said after that. */
static bool siblings_agree(const struct brain *brain) {
    BRAIN_EACH(brain, node) {
        if (node != brain->self && node->primary == brain->self->primary &&
            (node->flags & MAP_REPLICA) && !(node->flags & MAP_PRIMARY_FAIL)) {
            return false;
        }
    }
    return true;
}

static int64_t step_ms(const struct brain *brain) {
    return min64(brain->settings.node_timeout_ms / 30, 500);
}

static void schedule(struct brain *brain, bool manual) {
    struct brain_election *election = &brain->election;
    int64_t step = step_ms(brain);
    uint32_t chance;
    brain->world.random(brain->arg, &chance, sizeof chance);
    *election = (struct brain_election){0};
    election->at = brain->now.mono_ms;
    if (!manual) {
        election->rank = rank_of_self(brain);
        election->failed_rank = rank_of_primary(brain);
        election->at += step + (step > 0 ? chance % step : 0) + election->rank * 2 * step +
                        election->failed_rank * step + (brain->now.offset == 0 ? 500 : 0);
    }
}

static void tell_schedule(struct brain *brain) {
    const struct brain_election *election = &brain->election;
    brain_note(
        brain, BRAIN_NOTICE,
        "Start of election delayed for %lld milliseconds (rank #%u, primary rank #%u, offset "
        "%llu).",
        (long long)(election->at - brain->now.mono_ms), election->rank, election->failed_rank,
        (unsigned long long)brain->now.offset);
    brain_send_pongs(brain, true); /* so that the others know this node's offset */
}

/* What has come since then. */
static void reschedule(struct brain *brain) {
    struct brain_election *election = &brain->election;
    int64_t step = step_ms(brain);
    unsigned rank = rank_of_self(brain), failed_rank = rank_of_primary(brain);
    if (rank > election->rank) {
        election->at += (rank - election->rank) * 2 * step;
    }
    if (failed_rank > election->failed_rank) {
        election->at += (failed_rank - election->failed_rank) * step;
    }
    election->rank = rank;
    election->failed_rank = failed_rank;
    if (rank == 0 && failed_rank == 0 && brain->now.offset > 0 && siblings_agree(brain)) {
        if (!election->forced) {
            brain_note(
                brain, BRAIN_NOTICE,
                "This is the best ranked replica and can initiate the election immediately.");
        }
        election->at = min64(election->at, brain->now.mono_ms);
        election->forced = true;
    }
}

static bool may_elect(const struct brain *brain, bool manual) {
    const struct brain_settings *settings = &brain->settings;
    const struct brain_node *self = brain->self, *primary = self->primary;
    if (brain_is_primary(self) || primary == NULL || primary->slots_count == 0) {
        return false;
    }
    if (manual) {
        return true;
    }
    if (!(primary->flags & MAP_FAIL) || settings->replica_no_failover) {
        return false;
    }
    int64_t age = brain->now.primary_age_ms < 0 ? 0 : brain->now.primary_age_ms;
    age -= min64(age, settings->node_timeout_ms);
    return settings->validity_factor == 0 ||
           age <= settings->repl_ping_period_s * 1000 +
                      settings->node_timeout_ms * settings->validity_factor;
}

void brain_elect(struct brain *brain) {
    struct brain_election *election = &brain->election;
    bool manual = brain->manual.until != 0 && brain->manual.can_start;
    int64_t now = brain->now.mono_ms;
    int64_t timeout = max64(2 * brain->settings.node_timeout_ms, 2000);
    struct brain_node *self = brain->self;
    if (!may_elect(brain, manual)) {
        return;
    }
    if (election->at == 0 || now - election->at > 2 * timeout) {
        schedule(brain, manual);
        if (!manual) {
            reschedule(brain);
        }
        tell_schedule(brain);
    } else if (!election->asked && !manual) {
        reschedule(brain);
    }
    if (now - election->at > timeout && election->asked && !election->over) {
        election->over = true;
        brain_note(brain, BRAIN_NOTICE, "Currently unable to failover: Failover attempt expired.");
    }
    if (now < election->at || now - election->at > timeout) {
        return;
    }
    if (!election->asked) {
        election->asked = true;
        election->forced |= manual;
        election->votes = 0;
        election->epoch = ++brain->current_epoch;
        brain_touch_file(brain);
        brain_hold(brain, HELD_REQUEST, NULL, election->epoch);
        brain_note(brain, BRAIN_NOTICE,
                   "Starting a failover election for epoch %llu, node config epoch is %llu",
                   (unsigned long long)election->epoch,
                   (unsigned long long)self->primary->config_epoch);
    } else if (election->votes >= brain_voters(brain) / 2 + 1) {
        brain_note(brain, BRAIN_NOTICE, "Failover election won: I'm the new primary.");
        if (self->config_epoch < election->epoch) {
            self->config_epoch = election->epoch;
            brain_note(brain, BRAIN_NOTICE, "configEpoch set to %llu after successful failover",
                       (unsigned long long)self->config_epoch);
        }
        brain_take_over(brain);
    }
}

void brain_vote_came(struct brain *brain, struct brain_node *from,
                     const struct wire_packet *packet) {
    struct brain_election *election = &brain->election;
    if (!election->asked || !brain_is_voter(from) || packet->current_epoch != election->epoch ||
        from->voted == election->epoch) {
        return;
    }
    from->voted = election->epoch;
    election->votes++;
    brain_elect(brain);
}

/* ---- By hand ---- */

void brain_manual_ask(struct brain *brain, bool force) {
    struct brain_node *primary = brain->self->primary;
    brain_end_manual(brain);
    if (brain->election.asked) {
        brain_note(brain, BRAIN_NOTICE,
                   "Failover election in progress for epoch %llu, and another is asked for by "
                   "hand. Resetting the election.",
                   (unsigned long long)brain->election.epoch);
    }
    brain->election = (struct brain_election){0};
    brain->manual.until = brain->now.mono_ms + brain->settings.manual_failover_timeout_ms;
    brain->manual.can_start = force;
    if (force) {
        brain_elect(brain);
    } else {
        brain_send_bare(brain, primary->out, WIRE_MFSTART, 0);
    }
}

void brain_manual_starts(struct brain *brain, struct brain_node *replica) {
    if (!brain_is_primary(brain->self) || replica->primary != brain->self) {
        return;
    }
    int64_t timeout = brain->settings.manual_failover_timeout_ms;
    brain_end_manual(brain);
    brain->manual.until = brain->now.mono_ms + timeout;
    brain->manual.replica = replica;
    brain_note(brain, BRAIN_NOTICE, "Manual failover requested by replica %s.",
               brain_title(replica).text);
    brain->world.pause(brain->arg, brain->now.mono_ms + 2 * timeout);
}

void brain_paused(struct brain *brain, uint64_t offset, const struct brain_now *now) {
    brain_begin(brain, now);
    struct brain_manual *manual = &brain->manual;
    if (manual->until != 0 && manual->replica != NULL) {
        manual->paused = true;
        manual->paused_offset = offset;
        if (manual->replica->out != NULL) {
            brain_send_ping(brain, manual->replica->out, WIRE_PING);
        }
    }
    brain_settle(brain);
}

void brain_manual_tick(struct brain *brain) {
    struct brain_manual *manual = &brain->manual;
    if (manual->until == 0) {
        return;
    }
    if (brain->now.mono_ms > manual->until) {
        brain_note(brain, BRAIN_WARNING, "Manual failover timed out.");
        brain_end_manual(brain);
        brain->election = (struct brain_election){0};
    } else if (!brain_is_primary(brain->self) && !manual->can_start && manual->has_offset &&
               brain->now.offset >= manual->offset) {
        manual->can_start = true;
    }
}
