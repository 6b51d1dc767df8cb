/* SPDX-License-Identifier: BSD-3-Clause */
/* What a packet of the bus does. First who it is from: a link's node once that is known, else the
 * node of the sender's id; a stranger is answered, and may ask to be met, and nothing else. Then
 * what its header says of the sender: epochs, role, slots. Then what its type is about.
 *
 * A packet may close its own link: functions that may do so return whether it is still there.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"

#include <stdlib.h>

#define HEARTBEATS_OF_A_FRIEND 3

/* Of somebody who is not a node of this cluster. */
#define STRANGER_BYTES_MAX (1024 * 1024)
/* Of messages of clients: as proto-max-bulk-len, and a channel. */
#define PUBLISH_BYTES_MAX (1024UL * 1024 * 1024)

size_t brain_packet_bytes(const struct brain_link *link, const void *head) {
    size_t bytes = wire_bytes(head);
    enum wire_type type = wire_type_of(head);
    bool known = link->node != NULL && !(link->node->flags & MAP_HANDSHAKE);
    size_t most = STRANGER_BYTES_MAX;
    if (known) {
        most = type == WIRE_PUBLISH || type == WIRE_PUBLISH_SHARD || type == WIRE_MODULE
                   ? PUBLISH_BYTES_MAX
                   : (size_t)WIRE_HEADER_BYTES + UINT16_MAX * (WIRE_GOSSIP_BYTES + 64UL);
    }
    return bytes > most ? 0 : bytes;
}

/* ---- Addresses ---- */

static void ip_of(const struct brain_link *link, const struct wire_packet *packet,
                  char ret[WIRE_IP_BYTES + 1]) {
    memset(ret, 0, WIRE_IP_BYTES + 1);
    struct bytes ip = bytes_make(packet->ip, strnlen(packet->ip, WIRE_IP_BYTES));
    if (ip.len > 0 && brain_text_fits(ip)) {
        memcpy(ret, ip.ptr, ip.len);
    } else {
        memcpy(ret, link->peer_ip, sizeof link->peer_ip);
    }
}

/* Whether the node is somewhere else than it was. */
static bool take_address(struct brain *brain, struct brain_node *node,
                         const struct brain_link *link, const struct wire_packet *packet) {
    bool tls = brain->settings.tls_cluster;
    uint16_t port = tls ? packet->other_port : packet->port;
    uint16_t tls_port = tls ? packet->port : packet->other_port;
    char ip[WIRE_IP_BYTES + 1];
    ip_of(link, packet, ip);
    if (ip[0] == '\0' || (strcmp(ip, node->ip) == 0 && node->port == port &&
                          node->tls_port == tls_port && node->bus_port == packet->bus_port)) {
        return false;
    }
    memcpy(node->ip, ip, sizeof node->ip);
    node->port = port;
    node->tls_port = tls_port;
    node->bus_port = packet->bus_port;
    node->flags &= ~(uint32_t)MAP_NOADDR;
    node->tried = 0;
    brain_touch_file(brain);
    return true;
}

/* What the file says may be of another machine: where the first node that is known reaches this one
 * is right. */
static void learn_own_ip(struct brain *brain, const struct brain_link *link, bool is_meet,
                         bool is_known) {
    struct brain_node *self = brain->self;
    bool first = is_known && link->inbound && !brain->own_ip_shown;
    brain->own_ip_shown |= first;
    if (brain->settings.announce_ip == NULL && (is_meet || first || self->ip[0] == '\0') &&
        link->local_ip[0] != '\0' && strcmp(self->ip, link->local_ip) != 0) {
        memcpy(self->ip, link->local_ip, sizeof self->ip);
        brain_touch_file(brain);
    }
}

/* ---- What the header says ---- */

static void take_epochs(struct brain *brain, struct brain_node *sender,
                        const struct wire_packet *packet) {
    if (packet->current_epoch > brain->current_epoch) {
        brain->current_epoch = packet->current_epoch;
        brain_touch_file(brain);
    }
    if (packet->primary == NULL && packet->config_epoch > sender->config_epoch) {
        sender->config_epoch = packet->config_epoch;
        brain_touch_file(brain);
        const struct brain_election *election = &brain->election;
        if (election->asked && brain_same_shard(sender, brain->self) &&
            packet->config_epoch >= election->epoch) {
            brain->election = (struct brain_election){0}; /* somebody else has won */
        }
    }
    if ((sender->offset == 0) != (packet->offset == 0)) {
        brain_touch_map(brain); /* clients are shown those replicas that have something */
    }
    sender->offset = packet->offset;
    struct brain_manual *manual = &brain->manual;
    if (manual->until != 0 && !manual->has_offset && (packet->mflags & WIRE_PAUSED) &&
        brain->self->primary == sender) {
        manual->has_offset = true;
        manual->offset = packet->offset;
        brain_manual_tick(brain);
        brain_elect(brain);
    }
}

static void take_flags(struct brain *brain, struct brain_node *sender,
                       const struct wire_packet *packet) {
    const uint32_t told = MAP_NOFAILOVER | MAP_LIGHT_PUBLISH | MAP_LIGHT_MODULE | MAP_PRIMARY_FAIL;
    uint32_t flags = (sender->flags & ~told) | (packet->flags & told);
    if (packet->mflags & WIRE_EXTENSIONS) {
        flags |= MAP_EXTENSIONS;
    }
    if ((flags ^ sender->flags) & MAP_NOFAILOVER) {
        brain_touch_file(brain);
    }
    sender->flags = flags;
}

/* A known primary says that it is a replica now. False: that is old. */
static bool demoted(struct brain *brain, struct brain_node *sender, struct brain_node *primary,
                    const struct wire_packet *packet) {
    if (primary != NULL && primary != brain->self && brain_same_shard(sender, primary)) {
        if (sender->config_epoch > packet->config_epoch) {
            return false;
        }
        /* News of its successor, who may have had that epoch before it was a replica. */
        if (packet->config_epoch > (brain_is_primary(primary) ? primary : sender)->config_epoch) {
            brain_become_primary(brain, primary);
            primary->config_epoch = packet->config_epoch;
            brain_take_claim(brain, primary, packet->config_epoch, packet->slots);
        }
    }
    if (sender->slots_count > 0) {
        for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
            if (brain_owner(brain, slot) == sender) {
                brain_slot_give(brain, slot, NULL);
            }
        }
    }
    return true;
}

/* False: the packet is to be ignored. */
static bool take_role(struct brain *brain, struct brain_node *sender,
                      const struct wire_packet *packet) {
    if (packet->primary == NULL) {
        if (!(packet->flags & MAP_REPLICA)) { /* else: a replica of nobody */
            brain_become_primary(brain, sender);
        }
        return true;
    }
    struct brain_node *primary = brain_node_find(brain, packet->primary);
    if (primary == sender) {
        return false;
    }
    if (brain_is_primary(sender) && !demoted(brain, sender, primary, packet)) {
        return false;
    }
    if (brain_is_primary(sender) || sender->primary != primary) {
        brain_set_primary(brain, sender, primary);
    }
    struct brain_node *mine = brain->self->primary;
    if (mine == sender && primary != NULL && primary != brain->self) {
        brain_note(
            brain, BRAIN_NOTICE,
            "I'm a sub-replica! Reconfiguring myself as a replica of %s, which %s follows now",
            brain_title(primary).text, brain_title(mine).text);
        brain_follow(brain, primary);
    }
    return true;
}

/* Slots that it claims and that are a newer owner's: it is told of one. */
static void correct(struct brain *brain, struct brain_node *sender,
                    const struct wire_packet *packet) {
    const struct brain_node *mine = brain_primary_of(sender);
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        const struct brain_node *owner =
            brain_bit(packet->slots, slot) ? brain_owner(brain, slot) : NULL;
        if (owner != NULL && owner != mine && !brain_bit(brain->abandoned, slot) &&
            owner->config_epoch > packet->config_epoch) {
            brain_note(brain, BRAIN_VERBOSE,
                       "Node %s has old slots configuration, sending an UPDATE message about %s",
                       brain_title(sender).text, brain_title(owner).text);
            brain_send_update(brain, sender->out, owner);
            return;
        }
    }
}

static void take_slots(struct brain *brain, struct brain_node *sender,
                       const struct wire_packet *packet) {
    const struct brain_node *mine = brain_primary_of(sender);
    if (mine == NULL || brain_has_slots(brain, mine, packet->slots)) {
        return;
    }
    if (brain_is_primary(sender)) {
        brain_take_claim(brain, sender, packet->config_epoch, packet->slots);
    }
    correct(brain, sender, packet);
}

/* Two primaries with one epoch: the one with the smaller id takes another. */
static void part_epochs(struct brain *brain, struct brain_node *sender,
                        const struct wire_packet *packet) {
    struct brain_node *self = brain->self;
    if (packet->primary == NULL && brain_is_primary(sender) && brain_is_primary(self) &&
        sender->config_epoch == self->config_epoch && memcmp(self->id, sender->id, ID) < 0) {
        self->config_epoch = ++brain->current_epoch;
        brain_note(brain, BRAIN_NOTICE,
                   "configEpoch collision with node %s. Updating my configEpoch to %llu",
                   brain_title(sender).text, (unsigned long long)self->config_epoch);
        brain_touch_file(brain);
        brain_announce(brain);
    }
}

/* ---- PING, PONG, MEET ---- */

static void stranger_meets(struct brain *brain, struct brain_link *link,
                           const struct wire_packet *packet) {
    bool tls = brain->settings.tls_cluster;
    char ip[WIRE_IP_BYTES + 1];
    ip_of(link, packet, ip);
    brain_start_handshake(brain, ip, tls ? packet->other_port : packet->port,
                          tls ? packet->port : packet->other_port, packet->bus_port, false);
    brain_gossip(brain, NULL, packet);
}

/* Who was forgotten here and knows this node still asks to be met by himself, now and then, on the
 * link that he has; only who was told to (CLUSTER MEET) begins with it. */
static bool insists(const struct brain *brain, const struct brain_link *link,
                    const struct wire_packet *packet) {
    return link->says_more && brain_is_forgotten(brain, packet->sender);
}

/* An answer on a link of ours to a node whose id is not known yet. */
static bool handshake_ends(struct brain *brain, struct brain_link *link, struct brain_node *sender,
                           const struct wire_packet *packet) {
    struct brain_node *node = link->node;
    if (sender != NULL || memcmp(packet->sender, brain->self->id, ID) == 0) {
        if (sender != NULL && take_address(brain, sender, link, packet) && sender->out != NULL) {
            brain_link_close(brain, sender->out);
        }
        brain_node_remove(brain, node); /* closes the link */
        return false;
    }
    if (!brain_is_id(packet->sender)) {
        brain_node_remove(brain, node);
        return false;
    }
    brain_node_rename(brain, node, packet->sender);
    brain->handshakes_count--;
    node->flags &= ~(uint32_t)(MAP_HANDSHAKE | MAP_MEET);
    node->flags |= packet->flags & (MAP_PRIMARY | MAP_REPLICA);
    node->lost_in = brain->now.mono_ms;
    brain_note(brain, BRAIN_NOTICE, "%.40s is met", node->id);
    return true;
}

/* The node that was there has another id now, or another node has its address. */
static void impostor(struct brain *brain, struct brain_link *link) {
    struct brain_node *node = link->node;
    brain_note(brain, BRAIN_WARNING, "PONG contains mismatching sender ID. About node %s",
               brain_title(node).text);
    node->flags |= MAP_NOADDR;
    node->ip[0] = '\0';
    node->last_bus_port = node->bus_port;
    node->port = node->tls_port = node->bus_port = 0;
    brain_link_close(brain, link);
    if (!(node->flags & MAP_FAIL)) {
        brain_mark_failed(brain, node);
        brain_send_fail(brain, node);
    }
    brain_touch_file(brain);
}

static void answered(struct brain *brain, struct brain_node *node) {
    node->pong = node->answered = brain->now.mono_ms;
    node->ping_sent = 0;
    if (node->flags & MAP_PFAIL) {
        node->flags &= ~(uint32_t)MAP_PFAIL;
        brain_touch_file(brain);
    } else if (node->flags & MAP_FAIL) {
        brain_fail_ends(brain, node);
    }
}

/* The other end closes a link on which something light comes before it knows whose it is: it knows
 * this node by name when it has sent several heartbeats, and the link by the one that goes now. */
static void note_name(struct brain *brain, struct brain_node *node) {
    if (!node->out->takes_light && node->heartbeats >= HEARTBEATS_OF_A_FRIEND) {
        node->out->takes_light = true;
        brain_send_ping(brain, node->out, WIRE_PING);
    }
}

static void heartbeat(struct brain *brain, struct brain_link *link, struct brain_node *sender,
                      const struct wire_packet *packet) {
    if (packet->type != WIRE_PONG) {
        learn_own_ip(brain, link, packet->type == WIRE_MEET, sender != NULL);
        if (sender == NULL && packet->type == WIRE_MEET && !insists(brain, link, packet)) {
            stranger_meets(brain, link, packet);
        }
        if (sender != NULL && packet->type == WIRE_MEET && sender->out != NULL &&
            brain->now.mono_ms - sender->out->made > brain->settings.node_timeout_ms) {
            brain_link_close(brain, sender->out); /* perhaps it does not hear this node */
        }
        brain_send_ping(brain, link, WIRE_PONG);
    }
    if (!link->inbound && link->node->flags & MAP_HANDSHAKE) {
        if (!handshake_ends(brain, link, sender, packet)) {
            return;
        }
        sender = link->node;
        take_epochs(brain, sender, packet);
    }
    if (sender == NULL) {
        return;
    }
    take_flags(brain, sender, packet);
    bool shows =
        packet->type == (link->by_name ? WIRE_PONG : WIRE_PING) && (link->inbound || link->by_name);
    if (shows && take_address(brain, sender, link, packet) && sender->out != NULL &&
        sender->out != link) {
        brain_link_close(brain, sender->out);
    }
    sender->heartbeats += link->inbound && sender->heartbeats < HEARTBEATS_OF_A_FRIEND;
    if (!link->inbound && packet->type == WIRE_PONG) {
        answered(brain, sender);
        note_name(brain, sender);
    }
    if (!take_role(brain, sender, packet)) {
        return;
    }
    take_slots(brain, sender, packet);
    part_epochs(brain, sender, packet);
    brain_gossip(brain, sender, packet);
    brain_extensions(brain, sender, packet);
}

/* ---- The others ---- */

static void told_of_failure(struct brain *brain, const struct brain_node *sender,
                            const struct wire_packet *packet) {
    struct brain_node *node = brain_node_find(brain, packet->data.ptr);
    if (node != NULL && node != brain->self && !(node->flags & (MAP_FAIL | MAP_HANDSHAKE))) {
        brain_note(brain, BRAIN_NOTICE, "FAIL message received from %s about %s",
                   brain_title(sender).text, brain_title(node).text);
        brain_mark_failed(brain, node);
    }
}

static void told_of_owner(struct brain *brain, const struct wire_packet *packet) {
    struct wire_update update;
    wire_update_of(packet, &update);
    struct brain_node *node = brain_node_find(brain, update.id);
    if (node == NULL || node == brain->self || update.config_epoch <= node->config_epoch ||
        (node->flags & MAP_HANDSHAKE)) {
        return;
    }
    brain_become_primary(brain, node);
    node->config_epoch = update.config_epoch;
    brain_touch_file(brain);
    brain_take_claim(brain, node, update.config_epoch, update.slots);
}

static void message(struct brain *brain, const struct wire_packet *packet) {
    struct bytes channel, text;
    wire_publish_of(packet, &channel, &text);
    brain->world.publish(brain->arg, channel, text, packet->type == WIRE_PUBLISH_SHARD);
}

static void take(struct brain *brain, struct brain_link *link, struct brain_node *sender,
                 const struct wire_packet *packet) {
    switch (packet->type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET:
        heartbeat(brain, link, sender, packet);
        return;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        if (sender != NULL) {
            message(brain, packet);
        }
        return;
    default:
        break;
    }
    if (sender == NULL) {
        return;
    }
    if (packet->type == WIRE_FAIL) {
        told_of_failure(brain, sender, packet);
    } else if (packet->type == WIRE_UPDATE) {
        told_of_owner(brain, packet);
    } else if (packet->type == WIRE_AUTH_REQUEST) {
        brain_vote(brain, sender, packet);
    } else if (packet->type == WIRE_AUTH_ACK) {
        brain_vote_came(brain, sender, packet);
    } else if (packet->type == WIRE_MFSTART) {
        brain_manual_starts(brain, sender);
    } /* MODULE: there are none */
}

/* Also of one that turns out to be none. */
static void count(struct brain *brain, enum wire_type type, size_t bytes) {
    struct brain_stats *stats = &brain->stats;
    stats->bytes_received += bytes;
    if ((unsigned)type >= sizeof stats->received / sizeof *stats->received) {
        return;
    }
    stats->received[type]++;
    if (type == WIRE_PUBLISH || type == WIRE_PUBLISH_SHARD) {
        stats->pubsub_bytes_received += bytes;
    } else if (type == WIRE_MODULE) {
        stats->module_bytes_received += bytes;
    }
}

/* The node of this name, whose link it is from now on; NULL: a stranger. */
static struct brain_node *find_by_name(struct brain *brain, struct brain_link *link,
                                       const char *name) {
    struct brain_node *node = brain_node_find(brain, name);
    if (node == NULL || node == brain->self || (node->flags & MAP_HANDSHAKE)) {
        return NULL;
    }
    if (link->inbound) {
        if (node->in != NULL) {
            brain_link_close(brain, node->in);
        }
        link->node = node;
        node->in = link;
    }
    return node;
}

/* Who a packet with a full header is from: NULL is a stranger. False: it cannot be. */
static bool find_sender(struct brain *brain, struct brain_link *link,
                        const struct wire_packet *packet, struct brain_node **ret) {
    struct brain_node *node = link->node;
    bool is_heartbeat = packet->type <= WIRE_MEET;
    *ret = NULL;
    if (node != NULL && !(node->flags & MAP_HANDSHAKE)) {
        if (memcmp(node->id, packet->sender, ID) == 0) {
            *ret = node;
            return true;
        }
        if (!link->inbound && !link->by_name && is_heartbeat) {
            impostor(brain, link);
        } else {
            brain_link_close(brain, link);
        }
        return false;
    }
    *ret = find_by_name(brain, link, packet->sender);
    link->says_more = link->named[0] != '\0';
    memcpy(link->named, packet->sender, ID);
    return true;
}

void brain_packet(struct brain *brain, struct brain_link *link, const void *bytes, size_t n,
                  const struct brain_now *now) {
    struct wire_packet packet;
    struct brain_node *sender;
    brain_begin(brain, now);
    count(brain, wire_type_of(bytes), n);
    if (wire_parse(bytes_make(bytes, n), &packet) != WIRE_GOOD) {
        return;
    }
    if (brain_debug_drops(brain, link, packet.type)) {
        brain_settle(brain);
        return;
    }
    if (packet.light) {
        sender = link->node;
        if (sender == NULL && link->named[0] != '\0') { /* it was a stranger's when it said so */
            sender = find_by_name(brain, link, link->named);
        }
        if (sender == NULL || (sender->flags & MAP_HANDSHAKE)) {
            brain_link_close(brain, link);
            brain_settle(brain);
            return;
        }
    } else if (!find_sender(brain, link, &packet, &sender)) {
        brain_settle(brain);
        return;
    }
    if (sender != NULL) {
        sender->heard = now->mono_ms;
    }
    if (!packet.light) {
        link->knows_extensions |= (packet.mflags & WIRE_EXTENSIONS) != 0;
        if (sender != NULL) {
            take_epochs(brain, sender, &packet);
        }
    }
    take(brain, link, sender, &packet);
    if (brain->file_touched) {
        brain_update_state(brain);
    }
    brain_settle(brain);
}
