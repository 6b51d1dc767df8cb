/* SPDX-License-Identifier: BSD-3-Clause */
/* Roles, claims of slots, and whether the cluster serves.
 *
 * 1 A slot goes to who claims it with a larger epoch than its owner's, or when it has no owner, or
 * when its owner has stopped to claim it. It never goes by a smaller or an equal one.
 * 2 Who loses the last slot of its shard follows who has taken it, if it is told to or if it is the
 * same shard; who loses others forgets their keys.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"

#include <stdlib.h>

#define WRITABLE_DELAY_MS 2000 /* after the start */
#define REJOIN_MIN_MS     500
#define REJOIN_MAX_MS     5000

/* ---- Roles ---- */

bool brain_same_shard(const struct brain_node *a, const struct brain_node *b) {
    return memcmp(a->shard_id, b->shard_id, ID) == 0;
}

static void leave_primary(struct brain *brain, struct brain_node *node) {
    struct brain_node *primary = node->primary;
    node->primary = NULL;
    if (primary != NULL && brain_count_replicas(brain, primary, false) == 0) {
        primary->flags &= ~(uint32_t)MAP_MIGRATE_TO;
    }
}

void brain_become_primary(struct brain *brain, struct brain_node *node) {
    if (brain_is_primary(node)) {
        return;
    }
    if (node->primary != NULL && node != brain->self) {
        node->flags |= MAP_MIGRATE_TO; /* it has been of a shard with replicas */
    }
    leave_primary(brain, node);
    brain->foreign &= node != brain->self;
    node->flags &= ~(uint32_t)MAP_REPLICA;
    node->flags |= MAP_PRIMARY;
    brain_touch_file(brain);
}

void brain_set_primary(struct brain *brain, struct brain_node *node, struct brain_node *primary) {
    if (node->primary != primary) {
        leave_primary(brain, node);
    }
    if (primary != NULL && node != brain->self && brain_same_shard(node, primary)) {
        brain_opens_follow(brain, node, primary);
    }
    node->flags &= ~(uint32_t)(MAP_PRIMARY | MAP_MIGRATE_TO);
    node->flags |= MAP_REPLICA;
    node->primary = primary;
    if (primary != NULL) {
        memcpy(node->shard_id, primary->shard_id, ID);
        primary->flags |= MAP_MIGRATE_TO;
    }
    brain_touch_file(brain);
}

void brain_follow(struct brain *brain, struct brain_node *primary) {
    check(primary != brain->self);
    /* Who takes over in its shard goes on with the slots on their way, and this node may follow
     * him there in turn. */
    if (brain_is_primary(brain->self) && !brain_same_shard(primary, brain->self)) {
        brain->migrating.count = brain->importing.count = 0;
    }
    brain->foreign |= !brain_same_shard(primary, brain->self);
    brain_end_manual(brain);
    brain->election = (struct brain_election){0};
    brain_set_primary(brain, brain->self, primary);
    brain_announce(brain);
}

void brain_tell_role(struct brain *brain) {
    const struct brain_node *primary = brain_is_primary(brain->self) ? NULL : brain->self->primary;
    if (brain_is_primary(brain->self)) {
        if (brain->told_ip[0] != '\0') {
            brain->told_ip[0] = '\0';
            brain->world.follow(brain->arg, NULL, 0, 0, false);
        }
        return;
    }
    if (primary == NULL || primary->ip[0] == '\0' ||
        (strcmp(primary->ip, brain->told_ip) == 0 && primary->port == brain->told_port &&
         primary->tls_port == brain->told_tls_port)) {
        return;
    }
    memcpy(brain->told_ip, primary->ip, sizeof brain->told_ip);
    brain->told_port = primary->port;
    brain->told_tls_port = primary->tls_port;
    brain->world.follow(brain->arg, brain->told_ip, primary->port, primary->tls_port,
                        brain->foreign);
    brain->foreign = false;
}

void brain_end_manual(struct brain *brain) {
    bool pauses = brain->manual.until != 0 && brain->manual.replica != NULL;
    brain->manual = (struct brain_manual){0};
    if (pauses) {
        brain->world.pause(brain->arg, 0);
    }
}

/* ---- Claims ---- */

bool brain_has_slots(const struct brain *brain, const struct brain_node *node,
                     const uint8_t *slots) {
    unsigned count = 0;
    for (unsigned at = 0; at < WIRE_SLOTS_BYTES; at++) {
        for (unsigned bits = slots[at]; bits != 0; bits &= bits - 1) {
            if (brain->owner[at * 8 + (unsigned)__builtin_ctz(bits)] != node->index) {
                return false;
            }
            count++;
        }
    }
    return count == node->slots_count;
}

/* The slot goes to `taker`, who is not this node. */
static void follow_open(struct brain *brain, unsigned slot, struct brain_node *taker) {
    if (brain->migrating.count > 0 && brain_open_find(&brain->migrating, slot) != NULL &&
        !brain_same_shard(taker, brain->self)) {
        brain_open_set(&brain->migrating, slot, NULL);
    }
    const struct brain_node *from =
        brain->importing.count > 0 ? brain_open_find(&brain->importing, slot) : NULL;
    if (from != NULL && from != taker) { /* its source has failed over, or has lost it */
        brain_open_set(&brain->importing, slot, brain_same_shard(from, taker) ? taker : NULL);
    }
}

void brain_take_claim(struct brain *brain, struct brain_node *sender, uint64_t epoch,
                      const uint8_t *slots) {
    struct brain_node *self = brain->self, *mine = brain_primary_of(self);
    const struct brain_node *before = NULL; /* whose place in its shard the sender takes */
    uint8_t lost[WIRE_SLOTS_BYTES] = {0};
    unsigned lost_count = 0, left_count = 0; /* of this node; of its shard */
    if (sender == self) {
        return;
    }
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        const struct brain_node *owner = brain_owner(brain, slot);
        if (!brain_bit(slots, slot)) {
            if (owner == sender) {
                brain_set_bit(brain->abandoned, slot);
            }
            continue;
        }
        if (owner == sender) {
            brain_clear_bit(brain->abandoned, slot);
            continue;
        }
        if (owner != NULL && owner->config_epoch >= epoch && !brain_bit(brain->abandoned, slot) &&
            !BRAIN_PLANTED(brain, PLANT_SMALL_EPOCH)) {
            continue;
        }
        if (owner == self) {
            brain_set_bit(lost, slot);
            lost_count++;
        }
        left_count += owner != NULL && owner == mine;
        before = owner != NULL && brain_same_shard(owner, sender) ? owner : before;
        follow_open(brain, slot, sender);
        brain_slot_give(brain, slot, sender);
    }
    if (before != NULL && before != self && before->slots_count == 0) {
        brain_opens_follow(brain, before, sender);
    }
    if (left_count > 0 && mine->slots_count == 0 && sender != mine &&
        (brain->settings.allow_replica_migration || brain_same_shard(sender, self))) {
        brain_note(brain, BRAIN_NOTICE,
                   "Configuration change detected. Reconfiguring myself as a replica of node %s",
                   brain_title(sender).text);
        brain_follow(brain, sender);
    } else if (lost_count > 0) {
        brain_note(brain, BRAIN_NOTICE,
                   "Deleting keys in dirty slots: %u of this node's are those of node %s now",
                   lost_count, brain_title(sender).text);
        brain->world.drop_slots(brain->arg, lost);
    }
}

bool brain_bump_epoch(struct brain *brain) {
    uint64_t max = brain_epoch_max(brain);
    if (brain->self->config_epoch != 0 && brain->self->config_epoch == max) {
        return false;
    }
    brain->current_epoch = max + 1;
    brain->self->config_epoch = brain->current_epoch;
    brain_touch_file(brain);
    return true;
}

/* ---- Whether it serves ---- */

static enum map_why why_not(const struct brain *brain) {
    unsigned size = 0, reachable = 0;
    bool is_whole = brain->assigned_count == MAP_SLOTS;
    BRAIN_EACH(brain, node) {
        if (brain_is_voter(node)) {
            size++;
            reachable += !(node->flags & (MAP_FAIL | MAP_PFAIL));
            is_whole &= !(node->flags & MAP_FAIL);
        }
    }
    if (reachable < size / 2 + 1) {
        return MAP_WHY_MINORITY;
    }
    return brain->settings.require_full_coverage && !is_whole ? MAP_WHY_SLOTS : MAP_WHY_NONE;
}

static int64_t clamp(int64_t value, int64_t least, int64_t most) {
    return value < least ? least : value > most ? most : value;
}

static void set_state(struct brain *brain, enum map_state state, enum map_why why) {
    static const char *const reasons[] = {
        "", "At least one hash slot is not served by any available node",
        "I am in a minority partition, with too few primaries", "it has just started"};
    bool worsens = state == MAP_STATE_FAIL && brain->why != why && why != MAP_WHY_STARTED;
    if (brain->state != state || worsens) {
        brain_note(brain, BRAIN_NOTICE, "Cluster state changed: %s%s%s",
                   state == MAP_STATE_OK ? "ok" : "fail", why != MAP_WHY_NONE ? ": " : "",
                   reasons[why]);
    }
    if (brain->state != state || brain->why != why) {
        brain->state = state;
        brain->why = why;
        brain_touch_map(brain);
    }
}

void brain_update_state(struct brain *brain) {
    int64_t now = brain->now.mono_ms;
    bool is_primary = brain_is_primary(brain->self);
    if (is_primary && brain->state == MAP_STATE_FAIL && now - brain->started < WRITABLE_DELAY_MS) {
        set_state(brain, MAP_STATE_FAIL, MAP_WHY_STARTED);
        return;
    }
    enum map_why why = why_not(brain);
    if (why == MAP_WHY_MINORITY) {
        brain->minority = now;
    }
    if (why == MAP_WHY_NONE && is_primary && brain->state == MAP_STATE_FAIL &&
        brain->minority != 0 &&
        now - brain->minority <
            clamp(brain->settings.node_timeout_ms, REJOIN_MIN_MS, REJOIN_MAX_MS)) {
        return; /* what it has missed comes first */
    }
    set_state(brain, why == MAP_WHY_NONE ? MAP_STATE_OK : MAP_STATE_FAIL, why);
}
