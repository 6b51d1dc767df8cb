/* SPDX-License-Identifier: BSD-3-Clause */
/* What nodes tell of others, and of themselves by extensions. A node that is not known is believed
 * in when a known one tells of it; when a stranger does that asks to be met, it is shaken hands
 * with, no more.
 */
#include "cluster/brain/brain_private.h"

#include <stdlib.h>

/* What nobody needs and strangers could cause. */
#define HANDSHAKES_MAX 1000
#define NODES_MAX      20000
#define AHEAD_MAX_MS   500

struct address {
    char ip[WIRE_IP_BYTES + 1];
    uint16_t port, tls_port, bus_port;
};

static struct address address_of(const struct brain *brain, const struct wire_gossip *gossip) {
    bool tls = brain->settings.tls_cluster;
    struct address address = {.port = tls ? gossip->other_port : gossip->port,
                              .tls_port = tls ? gossip->port : gossip->other_port,
                              .bus_port = gossip->bus_port};
    struct bytes ip = bytes_make(gossip->ip, strnlen(gossip->ip, WIRE_IP_BYTES));
    if (brain_text_fits(ip)) {
        memcpy(address.ip, ip.ptr, ip.len);
    }
    return address;
}

static bool is_at(const struct brain_node *node, const struct address *address) {
    return strcmp(node->ip, address->ip) == 0 && node->port == address->port &&
           node->tls_port == address->tls_port && node->bus_port == address->bus_port;
}

static void move_to(struct brain_node *node, const struct address *address) {
    memcpy(node->ip, address->ip, sizeof node->ip);
    node->port = address->port;
    node->tls_port = address->tls_port;
    node->bus_port = address->bus_port;
    node->flags &= ~(uint32_t)MAP_NOADDR;
}

struct brain_node *brain_start_handshake(struct brain *brain, const char *ip, uint16_t port,
                                         uint16_t tls_port, uint16_t bus_port, bool meet) {
    struct address address = {.port = port, .tls_port = tls_port, .bus_port = bus_port};
    memcpy(address.ip, ip, strnlen(ip, WIRE_IP_BYTES));
    if (address.ip[0] == '\0' || bus_port == 0 || brain->handshakes_count >= HANDSHAKES_MAX) {
        return NULL;
    }
    BRAIN_EACH(brain, node) {
        if ((node->flags & MAP_HANDSHAKE) && node->bus_port == bus_port &&
            strcmp(node->ip, address.ip) == 0) {
            return NULL;
        }
    }
    struct brain_node *node = brain_node_add(brain, NULL, MAP_HANDSHAKE | (meet ? MAP_MEET : 0));
    move_to(node, &address);
    return node;
}

static void of_known(struct brain *brain, struct brain_node *sender, struct brain_node *node,
                     const struct wire_gossip *gossip) {
    bool bad = gossip->flags & (MAP_FAIL | MAP_PFAIL);
    struct address address = address_of(brain, gossip);
    if (brain_is_voter(sender)) {
        if (bad) {
            brain_report_add(brain, node, sender);
            brain_fail_if_agreed(brain, node);
        } else {
            brain_report_remove(node, sender);
        }
    }
    if (!bad && !(node->flags & (MAP_FAIL | MAP_PFAIL)) && node->ping_sent == 0 &&
        node->reports_count == 0) {
        int64_t pong = (int64_t)gossip->pong_s * 1000 - brain->now.wall_ms + brain->now.mono_ms;
        if (pong > node->pong && pong <= brain->now.mono_ms + AHEAD_MAX_MS) {
            node->pong = pong;
        }
    }
    if ((node->flags & (MAP_FAIL | MAP_PFAIL | MAP_NOADDR)) && !bad &&
        !(gossip->flags & MAP_NOADDR) && address.ip[0] != '\0' && !is_at(node, &address)) {
        if (node->out != NULL) {
            brain_link_close(brain, node->out);
        }
        move_to(node, &address);
        node->tried = 0;
        brain_touch_file(brain);
    }
}

static void of_unknown(struct brain *brain, const struct brain_node *sender,
                       const struct wire_gossip *gossip) {
    struct address address = address_of(brain, gossip);
    if ((gossip->flags & (MAP_NOADDR | MAP_HANDSHAKE)) || address.ip[0] == '\0' ||
        brain_is_forgotten(brain, gossip->id) || brain->nodes_count >= NODES_MAX) {
        return;
    }
    if (sender == NULL) {
        brain_start_handshake(brain, address.ip, address.port, address.tls_port, address.bus_port,
                              false);
        return;
    }
    struct brain_node *node = brain_node_add(
        brain, gossip->id, gossip->flags & (MAP_PRIMARY | MAP_REPLICA | MAP_NOFAILOVER));
    move_to(node, &address);
    brain_touch_file(brain);
}

void brain_gossip(struct brain *brain, struct brain_node *sender,
                  const struct wire_packet *packet) {
    struct wire_gossip gossip;
    for (unsigned i = 0; i < packet->count; i++) {
        wire_gossip_at(packet, i, &gossip);
        if (!brain_is_id(gossip.id)) {
            return;
        }
    }
    for (unsigned i = 0; i < packet->count; i++) {
        wire_gossip_at(packet, i, &gossip);
        struct brain_node *node = brain_node_find(brain, gossip.id);
        if (node == NULL) {
            of_unknown(brain, sender, &gossip);
        } else if (sender != NULL && node != brain->self && node != sender) {
            of_known(brain, sender, node, &gossip);
        }
    }
}

/* ---- Extensions ---- */

static void set_shard_id(struct brain *brain, struct brain_node *sender, const char *id) {
    if (memcmp(sender->shard_id, id, ID) == 0) {
        return;
    }
    memcpy(sender->shard_id, id, ID);
    if (brain->self->primary == sender) {
        memcpy(brain->self->shard_id, id, ID);
    }
    brain_touch_file(brain);
}

static void forgotten(struct brain *brain, const struct brain_node *sender, struct bytes data) {
    if (data.len < ID + 8 || !brain_is_id(data.ptr)) {
        return;
    }
    struct brain_node *node = brain_node_find(brain, data.ptr);
    uint64_t seconds = wire_u64(data.ptr + ID);
    if (node == NULL || node == brain->self || node == sender || brain->self->primary == node) {
        return;
    }
    brain_note(brain, BRAIN_NOTICE, "%.40s is forgotten, as %.40s says", node->id, sender->id);
    brain_forget(brain, node->id, seconds < 86400 ? (int64_t)seconds * 1000 : 86400000);
    brain_node_remove(brain, node);
}

void brain_extensions(struct brain *brain, struct brain_node *sender,
                      const struct wire_packet *packet) {
    struct bytes texts[WIRE_EXT_ZONE + 1] = {0};
    uint16_t ports[WIRE_EXT_ZONE + 1] = {0}, type;
    struct bytes data;
    if (packet->extensions == 0) { /* it does not know yet that this node reads them */
        return;
    }
    for (size_t at = 0; wire_extension_next(packet, &at, &type, &data);) {
        switch (type) {
        case WIRE_EXT_HOSTNAME:
        case WIRE_EXT_HUMAN_NAME:
        case WIRE_EXT_CLIENT_IPV4:
        case WIRE_EXT_CLIENT_IPV6:
        case WIRE_EXT_ZONE:
            wire_extension_text(data, &texts[type]);
            break;
        case WIRE_EXT_CLIENT_PORT:
        case WIRE_EXT_CLIENT_TLS_PORT:
            ports[type] = data.len >= 2 ? wire_u16(data.ptr) : 0;
            break;
        case WIRE_EXT_SHARD_ID:
            if (data.len >= ID && brain_is_id(data.ptr)) {
                set_shard_id(brain, sender, data.ptr);
            }
            break;
        case WIRE_EXT_FORGOTTEN:
            forgotten(brain, sender, data);
            break;
        default:
            break;
        }
    }
    bool changed = brain_node_set_text(&sender->hostname, texts[WIRE_EXT_HOSTNAME]);
    changed |= brain_node_set_text(&sender->human_name, texts[WIRE_EXT_HUMAN_NAME]);
    changed |= brain_node_set_text(&sender->client_ipv4, texts[WIRE_EXT_CLIENT_IPV4]);
    changed |= brain_node_set_text(&sender->client_ipv6, texts[WIRE_EXT_CLIENT_IPV6]);
    changed |= brain_node_set_text(&sender->zone, texts[WIRE_EXT_ZONE]);
    changed |= sender->client_port != ports[WIRE_EXT_CLIENT_PORT] ||
               sender->client_tls_port != ports[WIRE_EXT_CLIENT_TLS_PORT];
    sender->client_port = ports[WIRE_EXT_CLIENT_PORT];
    sender->client_tls_port = ports[WIRE_EXT_CLIENT_TLS_PORT];
    if (changed) {
        brain_touch_file(brain);
    }
}
