/* SPDX-License-Identifier: BSD-3-Clause */
/* What leaves: packets, and when they may. All of them have the same header, which says what
 * `shown` says; so nothing that a crash would take back is told by any, and only what must not be
 * told at all before it is on the disk (a vote, a request for votes, the announcement of a change)
 * is held.
 *
 * `next` is what will be shown: made with a version and shown when that is on the disk. While it
 * waits, newer versions do not replace it: a node whose state changes faster than its disk is would
 * never show anything otherwise.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

/* ---- Packets ---- */

/* `epoch` is what the packet is about, which may be older than the current one by now. */
static void begin_in(struct brain *brain, enum wire_type type, uint8_t mflags, uint64_t epoch) {
    const struct brain_settings *settings = &brain->settings;
    const struct brain_shown *shown = &brain->shown;
    bool tls = settings->tls_cluster;
    const struct brain_node *primary = shown->is_replica ? brain->self->primary : NULL;
    bool primary_failed = primary != NULL && (primary->flags & MAP_FAIL);
    bool paused = brain->manual.until != 0 && brain->manual.paused && !shown->is_replica;
    struct wire_packet head = {
        .type = type,
        .port = tls ? brain->self->tls_port : brain->self->port,
        .other_port = tls ? brain->self->port : brain->self->tls_port,
        .bus_port = brain->self->bus_port,
        .flags = (uint16_t)((brain->self->flags & ~(uint32_t)(MAP_PRIMARY | MAP_REPLICA)) |
                            (shown->is_replica ? MAP_REPLICA : MAP_PRIMARY) |
                            (primary_failed ? MAP_PRIMARY_FAIL : 0)),
        .state = brain->state == MAP_STATE_OK ? 0 : 1,
        .mflags = (uint8_t)(mflags | WIRE_EXTENSIONS | (paused ? WIRE_PAUSED : 0)),
        .current_epoch = epoch,
        .config_epoch = shown->config_epoch,
        .offset = paused ? brain->manual.paused_offset : brain->now.offset,
        .sender = shown->id,
        .primary = shown->primary[0] != '\0' ? shown->primary : NULL,
        .ip = settings->announce_ip != NULL ? settings->announce_ip : "",
        .slots = shown->slots,
    };
    wire_begin(&brain->packet, &head);
}

static void begin(struct brain *brain, enum wire_type type, uint8_t mflags) {
    begin_in(brain, type, mflags, brain->shown.current_epoch);
}

static void send(struct brain *brain, struct brain_link *link) {
    enum wire_type type = wire_type_of(brain->packet.ptr);
    size_t bytes = brain->packet.len;
    brain->stats.sent[type]++;
    brain->stats.bytes_sent += bytes;
    if (type == WIRE_PUBLISH || type == WIRE_PUBLISH_SHARD) {
        brain->stats.pubsub_bytes_sent += bytes;
    }
    brain->world.send(brain->arg, link, brain->packet.ptr, bytes);
}

static bool can_hear(const struct brain_node *node) {
    return node->out != NULL && node->out->connected && !(node->flags & MAP_HANDSHAKE);
}

static void send_to_all(struct brain *brain) {
    BRAIN_EACH(brain, node) {
        if (can_hear(node)) {
            send(brain, node->out);
        }
    }
}

static uint32_t seconds(const struct brain *brain, int64_t mono) {
    return mono == 0 ? 0 : (uint32_t)((mono + brain->now.wall_ms - brain->now.mono_ms) / 1000);
}

static void put_gossip(struct brain *brain, const struct brain_node *node) {
    bool tls = brain->settings.tls_cluster;
    struct wire_gossip gossip = {
        .id = node->id,
        .ip = node->ip,
        .ping_s = seconds(brain, node->ping_sent),
        .pong_s = seconds(brain, node->pong),
        .port = tls ? node->tls_port : node->port,
        .other_port = tls ? node->port : node->tls_port,
        .bus_port = node->bus_port,
        .flags = (uint16_t)node->flags,
    };
    wire_put_gossip(&brain->packet, &gossip);
}

/* Whether it may be told of to `receiver`. */
static bool is_news(const struct brain *brain, const struct brain_node *node,
                    const struct brain_node *receiver) {
    return node != brain->self && node != receiver &&
           !(node->flags & (MAP_HANDSHAKE | MAP_NOADDR | MAP_PFAIL)) &&
           (node->out != NULL || node->slots_count > 0);
}

struct sample {
    const struct brain_node *receiver;
    uint16_t *drawn;
    unsigned taken;
};

static void put_if_news(struct brain *brain, struct sample *sample, unsigned at) {
    const struct brain_node *node = brain->nodes[at];
    bool again = node == NULL || !is_news(brain, node, sample->receiver);
    for (unsigned i = 0; i < sample->taken && !again; i++) {
        again = sample->drawn[i] == node->index;
    }
    if (!again) {
        sample->drawn[sample->taken++] = node->index;
        put_gossip(brain, node);
    }
}

/* Some of all nodes, drawn, and all that do not answer. Where most are wanted drawing ends too
 * early: then the next ones from the last place on. */
static void put_sample(struct brain *brain, const struct brain_node *receiver) {
    unsigned fresh = brain->nodes_count > 2 ? brain->nodes_count - 2 : 0;
    unsigned wanted = (unsigned)(brain->nodes_count * brain->settings.gossip_percent / 100);
    wanted = wanted < 3 ? 3 : wanted;
    wanted = wanted > fresh ? fresh : wanted;
    unsigned failing = 0;
    uint32_t at = 0;
    struct sample sample = {.receiver = receiver,
                            .drawn = must_malloc((wanted + 1) * sizeof *sample.drawn)};
    for (unsigned tries = 0; tries < wanted * 3 && sample.taken < wanted; tries++) {
        brain->world.random(brain->arg, &at, sizeof at);
        put_if_news(brain, &sample, at % brain->nodes_cap);
    }
    for (unsigned i = 1; i < brain->nodes_cap && sample.taken < wanted; i++) {
        put_if_news(brain, &sample, (at % brain->nodes_cap + i) % brain->nodes_cap);
    }
    free(sample.drawn);
    BRAIN_EACH(brain, node) {
        if ((node->flags & MAP_PFAIL) && !(node->flags & (MAP_HANDSHAKE | MAP_NOADDR)) &&
            failing < UINT16_MAX - sample.taken) {
            put_gossip(brain, node);
            failing++;
        }
    }
}

static void put_extensions(struct brain *brain) {
    struct text *out = &brain->packet;
    const struct brain_node *self = brain->self;
    if (self->hostname != NULL) {
        wire_put_extension_text(out, WIRE_EXT_HOSTNAME, self->hostname);
    }
    if (self->human_name != NULL) {
        wire_put_extension_text(out, WIRE_EXT_HUMAN_NAME, self->human_name);
    }
    if (self->client_ipv4 != NULL) {
        wire_put_extension_text(out, WIRE_EXT_CLIENT_IPV4, self->client_ipv4);
    }
    if (self->client_ipv6 != NULL) {
        wire_put_extension_text(out, WIRE_EXT_CLIENT_IPV6, self->client_ipv6);
    }
    if (self->client_port != 0) {
        wire_put_extension_port(out, WIRE_EXT_CLIENT_PORT, self->client_port);
    }
    if (self->client_tls_port != 0) {
        wire_put_extension_port(out, WIRE_EXT_CLIENT_TLS_PORT, self->client_tls_port);
    }
    if (self->zone != NULL) {
        wire_put_extension_text(out, WIRE_EXT_ZONE, self->zone);
    }
    for (unsigned i = 0; i < brain->forgotten_count; i++) {
        int64_t left = brain->forgotten[i].until - brain->now.mono_ms;
        if (left > 0) {
            wire_put_forgotten(out, brain->forgotten[i].id, (uint64_t)(left + 999) / 1000);
        }
    }
    /* With the role that goes with it: peers drop a primary's word that it replicates another of
     * its own shard, as old. */
    wire_put_extension(out, WIRE_EXT_SHARD_ID, brain->shown.shard_id, ID);
}

void brain_send_ping(struct brain *brain, struct brain_link *link, enum wire_type type) {
    if (!link->connected) {
        return;
    }
    struct brain_node *node = link->node;
    if (node != NULL && node->out == link && type != WIRE_PONG) {
        node->ping_sent = brain->now.mono_ms;
    }
    begin(brain, type, 0);
    put_sample(brain, node);
    if (link->knows_extensions || (node != NULL && (node->flags & MAP_EXTENSIONS))) {
        put_extensions(brain);
    }
    wire_end(&brain->packet);
    send(brain, link);
}

void brain_send_pongs(struct brain *brain, bool shard_only) {
    const struct brain_node *mine = brain_primary_of(brain->self);
    BRAIN_EACH(brain, node) {
        if (can_hear(node) && (!shard_only || (mine != NULL && brain_primary_of(node) == mine))) {
            brain_send_ping(brain, node->out, WIRE_PONG);
        }
    }
}

void brain_send_ping_voters(struct brain *brain) {
    BRAIN_EACH(brain, node) {
        if (can_hear(node) && brain_is_voter(node) && node->ping_sent == 0) {
            brain_send_ping(brain, node->out, WIRE_PING);
        }
    }
}

void brain_send_fail(struct brain *brain, const struct brain_node *failed) {
    begin(brain, WIRE_FAIL, 0);
    wire_put_id(&brain->packet, failed->id);
    wire_end(&brain->packet);
    send_to_all(brain);
}

void brain_send_update(struct brain *brain, struct brain_link *link, const struct brain_node *of) {
    uint8_t slots[WIRE_SLOTS_BYTES];
    if (link == NULL || !link->connected) {
        return;
    }
    struct wire_update update = {of->config_epoch, of->id, slots};
    if (of != brain->self) {
        brain_slots_of(brain, of, slots);
    } else if (brain->shown.is_replica) {
        return; /* what it is now is not on the disk yet */
    } else {
        update =
            (struct wire_update){brain->shown.config_epoch, brain->shown.id, brain->shown.slots};
    }
    begin(brain, WIRE_UPDATE, 0);
    wire_put_update(&brain->packet, &update);
    wire_end(&brain->packet);
    send(brain, link);
}

void brain_send_bare(struct brain *brain, struct brain_link *link, enum wire_type type,
                     uint8_t mflags) {
    if (link != NULL && link->connected) {
        begin(brain, type, mflags);
        wire_end(&brain->packet);
        send(brain, link);
    }
}

static bool takes_light(const struct brain_node *node) {
    return node->flags & MAP_LIGHT_PUBLISH && node->out->takes_light;
}

void brain_publish(struct brain *brain, struct bytes channel, struct bytes message, bool sharded,
                   const struct brain_now *now) {
    brain_begin(brain, now);
    enum wire_type type = sharded ? WIRE_PUBLISH_SHARD : WIRE_PUBLISH;
    const struct brain_node *mine = brain_primary_of(brain->self);
    for (unsigned light = 0; light < 2; light++) {
        bool made = false;
        BRAIN_EACH(brain, node) {
            if (!can_hear(node) || takes_light(node) != light ||
                (sharded && (mine == NULL || brain_primary_of(node) != mine))) {
                continue;
            }
            if (!made) {
                if (light) {
                    wire_begin_light(&brain->packet, type);
                } else {
                    begin(brain, type, 0);
                }
                wire_put_publish(&brain->packet, channel, message);
                wire_end(&brain->packet);
                made = true;
            }
            send(brain, node->out);
        }
    }
    brain_settle(brain);
}

/* ---- What waits for the disk ---- */

void brain_show(const struct brain *brain, struct brain_shown *ret) {
    struct brain_node *primary = brain_primary_of(brain->self);
    memset(ret, 0, sizeof *ret);
    ret->version = brain->version;
    ret->current_epoch = brain->current_epoch;
    ret->config_epoch = primary != NULL ? primary->config_epoch : 0;
    ret->is_replica = !brain_is_primary(brain->self);
    memcpy(ret->id, brain->self->id, ID);
    memcpy(ret->shard_id, brain->self->shard_id, ID);
    if (ret->is_replica && primary != NULL) {
        memcpy(ret->primary, primary->id, ID);
    }
    brain_slots_of(brain, primary, ret->slots);
}

void brain_hold(struct brain *brain, enum brain_held_kind kind, const char *id, uint64_t epoch) {
    struct brain_held held = {.kind = kind, .epoch = epoch};
    held.version = brain->version + brain->file_touched;
    if (BRAIN_PLANTED(brain, PLANT_EARLY_VOTE)) {
        held.version = 0;
    }
    if (id != NULL) {
        memcpy(held.id, id, ID);
    }
    for (unsigned i = 0; i < brain->held_count; i++) {
        if (brain->held[i].kind == kind) {
            brain->held[i] = held; /* of votes, too: an older one comes too late */
            return;
        }
    }
    brain->held = must_realloc(brain->held, (brain->held_count + 1) * sizeof *brain->held);
    brain->held[brain->held_count++] = held;
}

void brain_announce(struct brain *brain) {
    brain_hold(brain, HELD_ANNOUNCE, NULL, 0);
}

static void let_go(struct brain *brain, const struct brain_held *held) {
    switch (held->kind) {
    case HELD_VOTE: { /* it counts in its own epoch and in no later one */
        struct brain_node *node = brain_node_find(brain, held->id);
        if (node != NULL && can_hear(node)) {
            begin_in(brain, WIRE_AUTH_ACK, 0, held->epoch);
            wire_end(&brain->packet);
            send(brain, node->out);
        }
        break;
    }
    case HELD_REQUEST:
        if (brain->election.asked && brain->election.epoch == held->epoch) {
            begin_in(brain, WIRE_AUTH_REQUEST, brain->election.forced ? WIRE_FORCE_ACK : 0,
                     held->epoch);
            wire_end(&brain->packet);
            send_to_all(brain);
        }
        break;
    case HELD_ANNOUNCE:
        brain_send_pongs(brain, false);
        break;
    }
}

static void let_go_of_shown(struct brain *brain) {
    unsigned kept = 0;
    for (unsigned i = 0; i < brain->held_count; i++) {
        if (brain->held[i].version <= brain->shown.version) {
            let_go(brain, &brain->held[i]);
        } else {
            brain->held[kept++] = brain->held[i];
        }
    }
    brain->held_count = kept;
}

/* Every call into the brain begins so, ... */
void brain_begin(struct brain *brain, const struct brain_now *now) {
    brain->now = *now;
}

/* ... and ends so. */
void brain_settle(struct brain *brain) {
    if (brain->map_touched) {
        brain_exports_look(brain);
    }
    if (brain->file_touched) {
        brain->file_touched = false;
        brain->version++;
        brain->world.persist(brain->arg, brain->version);
    }
    for (;;) {
        if (!brain->has_next && brain->shown.version < brain->version) {
            brain_show(brain, &brain->next);
            brain->has_next = true;
        }
        if (!brain->has_next || brain->next.version > brain->persisted) {
            break;
        }
        brain->shown = brain->next;
        brain->has_next = false;
        brain_exports_shown(brain);
    }
    if (brain->held_count > 0) {
        let_go_of_shown(brain);
    }
    brain_tell_role(brain);
    if (brain->map_touched) {
        brain->map_touched = false;
        brain->map_version++;
        brain->world.changed(brain->arg);
    }
}

void brain_persisted(struct brain *brain, uint64_t version, const struct brain_now *now) {
    brain_begin(brain, now);
    check(version <= brain->version);
    brain->persisted = version > brain->persisted ? version : brain->persisted;
    brain_settle(brain);
}

uint64_t brain_version(const struct brain *brain) {
    return brain->version;
}
