/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a brain: made from a file, told what to announce, and ten times a second asked what
 * is due: whom to call, whom to ping, who does not answer, which election goes on.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

#define ORPHAN_MS        5000 /* how long a primary is without a replica before one moves there */
#define TRY_MIN_MS       100
#define TRY_MAX_MS       1000
#define SAMPLE           5 /* nodes, of which the one that was silent longest is pinged */
#define HANDSHAKE_MIN_MS 1000

/* ---- Settings ---- */

static char *copy(const char *text) {
    if (text == NULL || text[0] == '\0') {
        return NULL;
    }
    size_t n = strlen(text) + 1;
    return memcpy(must_malloc(n), text, n);
}

static void free_texts(struct brain_settings *settings) {
    free((char *)settings->announce_ip);
    free((char *)settings->hostname);
    free((char *)settings->human_name);
    free((char *)settings->availability_zone);
    free((char *)settings->client_ipv4);
    free((char *)settings->client_ipv6);
}

static bool set_text(char **text, const char *value) {
    return brain_node_set_text(text, value != NULL ? bytes_of_text(value) : BYTES(""));
}

static bool set_port(uint16_t *port, uint16_t value) {
    bool other = *port != value;
    *port = value;
    return other;
}

static bool set_ip(struct brain_node *self, const char *ip) {
    char padded[sizeof self->ip] = {0};
    memcpy(padded, ip, strnlen(ip, WIRE_IP_BYTES));
    bool other = strcmp(self->ip, padded) != 0;
    memcpy(self->ip, padded, sizeof self->ip);
    return other;
}

/* What is announced of this node is in its node, too. True: it is another than before. */
static bool apply(struct brain *brain) {
    const struct brain_settings *settings = &brain->settings;
    struct brain_node *self = brain->self;
    uint32_t flags = self->flags & ~(uint32_t)MAP_NOFAILOVER;
    flags |= MAP_EXTENSIONS | MAP_LIGHT_PUBLISH | MAP_LIGHT_MODULE |
             (settings->replica_no_failover ? MAP_NOFAILOVER : 0);
    bool other = (flags ^ self->flags) & MAP_NOFAILOVER;
    self->flags = flags;
    other |= set_text(&self->hostname, settings->hostname);
    other |= set_text(&self->human_name, settings->human_name);
    other |= set_text(&self->zone, settings->availability_zone);
    other |= set_text(&self->client_ipv4, settings->client_ipv4);
    other |= set_text(&self->client_ipv6, settings->client_ipv6);
    other |= set_port(&self->port, settings->port);
    other |= set_port(&self->tls_port, settings->tls_port);
    other |= set_port(&self->bus_port, settings->bus_port);
    other |= set_port(&self->client_port, settings->client_port);
    other |= set_port(&self->client_tls_port, settings->client_tls_port);
    if (settings->announce_ip != NULL) {
        other |= set_ip(self, settings->announce_ip);
    }
    return other;
}

static void take_settings(struct brain *brain, const struct brain_settings *settings) {
    struct brain_settings before = brain->settings;
    brain->settings = *settings;
    brain->settings.announce_ip = copy(settings->announce_ip);
    brain->settings.hostname = copy(settings->hostname);
    brain->settings.human_name = copy(settings->human_name);
    brain->settings.availability_zone = copy(settings->availability_zone);
    brain->settings.client_ipv4 = copy(settings->client_ipv4);
    brain->settings.client_ipv6 = copy(settings->client_ipv6);
    if (brain->settings.ping_interval_ms <= 0) {
        brain->settings.ping_interval_ms = brain->settings.node_timeout_ms / 2;
    }
    if (brain->self != NULL && before.announce_ip != NULL && brain->settings.announce_ip == NULL) {
        set_ip(brain->self, ""); /* what it is, it learns again */
    }
    free_texts(&before);
}

void brain_configure(struct brain *brain, const struct brain_settings *settings,
                     const struct brain_now *now) {
    brain_begin(brain, now);
    take_settings(brain, settings);
    if (apply(brain)) {
        brain_touch_file(brain);
        brain_announce(brain);
    }
    brain_update_state(brain);
    brain_settle(brain);
}

/* ---- Life ---- */

struct brain *brain_new(const struct brain_settings *settings, const struct brain_world *world,
                        void *arg, struct bytes file, const struct brain_now *now,
                        struct text *err) {
    struct brain *brain = must_calloc(1, sizeof *brain);
    brain->world = *world;
    brain->arg = arg;
    brain->now = *now;
    brain->started = now->mono_ms;
    brain->state = MAP_STATE_FAIL;
    brain->why = MAP_WHY_STARTED;
    list_init(&brain->links);
    list_init(&brain->imports);
    list_init(&brain->exports);
    text_init(&brain->packet);
    memset(brain->owner, 0xff, sizeof brain->owner);
    take_settings(brain, settings);
    if (file.len == 0) {
        brain->self = brain_node_add(brain, NULL, MAP_MYSELF | MAP_PRIMARY);
        brain->file_touched = true;
    } else if (!brain_load(brain, file, err)) {
        brain_free(brain);
        return NULL;
    } else {
        brain->file_touched = false; /* it is what is on the disk */
    }
    brain_show(brain, &brain->shown);
    brain->file_touched |= apply(brain);
    brain->map_touched = true;
    return brain;
}

void brain_free(struct brain *brain) {
    if (brain == NULL) {
        return;
    }
    LIST_EACH_SAFE(&brain->links, at) {
        brain_link_free(brain, LIST_ENTRY(at, struct brain_link, in_list));
    }
    for (unsigned i = 0; i < brain->nodes_cap; i++) {
        if (brain->nodes[i] != NULL) {
            links_remove(&brain->by_id, &brain->nodes[i]->by_id);
            brain_node_free(brain->nodes[i]);
        }
    }
    brain_imports_free(brain);
    brain_exports_free(brain);
    links_fini(&brain->by_id);
    free_texts(&brain->settings);
    text_fini(&brain->packet);
    free(brain->nodes);
    free(brain->migrating.list);
    free(brain->importing.list);
    free(brain->forgotten);
    free(brain->held);
    free(brain);
}

/* ---- Links ---- */

static struct brain_link *link_new(struct brain *brain, bool inbound, const char *peer_ip) {
    struct brain_link *link = must_calloc(1, sizeof *link);
    link->inbound = inbound;
    link->made = brain->now.mono_ms;
    link->made_wall = brain->now.wall_ms;
    memcpy(link->peer_ip, peer_ip, strnlen(peer_ip, WIRE_IP_BYTES));
    list_push_back(&brain->links, &link->in_list);
    return link;
}

struct brain_link *brain_link_accepted(struct brain *brain, void *wire, const char *peer_ip,
                                       const char *local_ip, const struct brain_now *now) {
    brain_begin(brain, now);
    struct brain_link *link = link_new(brain, true, peer_ip);
    link->wire = wire;
    link->connected = true;
    memcpy(link->local_ip, local_ip, strnlen(local_ip, WIRE_IP_BYTES));
    return link;
}

void brain_link_connected(struct brain *brain, struct brain_link *link, const char *peer_ip,
                          const char *local_ip, const struct brain_now *now) {
    brain_begin(brain, now);
    struct brain_node *node = link->node;
    int64_t waits_since = node->ping_sent;
    link->connected = true;
    memset(link->peer_ip, 0, sizeof link->peer_ip);
    memcpy(link->peer_ip, peer_ip, strnlen(peer_ip, WIRE_IP_BYTES));
    memset(link->local_ip, 0, sizeof link->local_ip);
    memcpy(link->local_ip, local_ip, strnlen(local_ip, WIRE_IP_BYTES));
    brain_send_ping(brain, link, node->flags & MAP_MEET ? WIRE_MEET : WIRE_PING);
    if (waits_since != 0) { /* a new link is no answer */
        node->ping_sent = waits_since;
    }
    brain_settle(brain);
}

void brain_link_lost(struct brain *brain, struct brain_link *link, const struct brain_now *now) {
    brain_begin(brain, now);
    struct brain_node *node = link->node;
    if (node != NULL && node->out == link && node->ping_sent == 0) {
        node->ping_sent = now->mono_ms; /* it is waited for from now on */
    }
    brain_link_free(brain, link);
    brain_settle(brain);
}

void brain_link_set_wire(struct brain_link *link, void *wire) {
    link->wire = wire;
}

void *brain_link_wire(const struct brain_link *link) {
    return link->wire;
}

void brain_link_queued(struct brain *brain, struct brain_link *link, size_t bytes,
                       const struct brain_now *now) {
    brain_begin(brain, now);
    link->queued = bytes;
    if (brain->settings.link_sendbuf_limit > 0 && bytes > brain->settings.link_sendbuf_limit) {
        brain->stats.links_over_limit++;
        brain_note(brain, BRAIN_WARNING, "a link of the bus has %zu bytes waiting: it is closed",
                   bytes);
        brain_link_close(brain, link);
        brain_settle(brain);
    }
}

/* ---- What is due ---- */

static int64_t handshake_ms(const struct brain *brain) {
    int64_t timeout = brain->settings.node_timeout_ms;
    return timeout > HANDSHAKE_MIN_MS ? timeout : HANDSHAKE_MIN_MS;
}

static int64_t retry_ms(const struct brain *brain) {
    int64_t ms = brain->settings.node_timeout_ms / 20;
    return ms < TRY_MIN_MS ? TRY_MIN_MS : ms > TRY_MAX_MS ? TRY_MAX_MS : ms;
}

/* Who is not heard of at his address may be at another one by now (all nodes may, that were started
 * anew elsewhere): then his name leads there. */
static bool calls_by_name(const struct brain *brain, const struct brain_node *node) {
    int64_t now = brain->now.mono_ms, patience = brain->settings.node_timeout_ms / 2;
    if (node->hostname == NULL || (node->by_name != 0 && now - node->by_name < patience)) {
        return false;
    }
    return node->ip[0] == '\0' || (node->ping_sent != 0 && now - node->ping_sent > patience);
}

static void call(struct brain *brain, struct brain_node *node) {
    int64_t now = brain->now.mono_ms;
    if (node->tried != 0 && now - node->tried < retry_ms(brain)) {
        return;
    }
    bool by_name = calls_by_name(brain, node);
    uint16_t port = node->bus_port != 0 ? node->bus_port : node->last_bus_port;
    if (port == 0 || (node->ip[0] == '\0' && !by_name)) {
        return;
    }
    node->tried = now;
    node->by_name = by_name ? now : node->by_name;
    struct brain_link *link = link_new(brain, false, node->ip);
    link->node = node;
    link->by_name = by_name;
    node->out = link;
    brain->world.connect(brain->arg, link, by_name ? node->hostname : node->ip, port);
}

/* Links of one node; it may be removed. */
static void tend_links(struct brain *brain, struct brain_node *node) {
    int64_t now = brain->now.mono_ms;
    if (node == brain->self) {
        return;
    }
    if ((node->flags & MAP_HANDSHAKE) && now - node->born > handshake_ms(brain)) {
        brain_node_remove(brain, node);
        return;
    }
    if (node->out != NULL && !node->out->connected &&
        now - node->out->made > handshake_ms(brain) / 2) {
        if (node->ping_sent == 0) {
            node->ping_sent = node->out->made;
        }
        brain_link_close(brain, node->out);
    }
    if (node->out == NULL && !brain->debug.no_links) {
        call(brain, node);
    } else if (node->out != NULL && node->out->connected && node->in == NULL &&
               (node->flags & MAP_LIGHT_MODULE) && !(node->flags & MAP_HANDSHAKE) &&
               now - node->lost_in > handshake_ms(brain) && now - node->met > handshake_ms(brain)) {
        node->met = now; /* perhaps it does not know this node any more */
        brain_send_ping(brain, node->out, WIRE_MEET);
    }
}

/* Of some nodes the one that was heard of longest ago. */
static void ping_sample(struct brain *brain) {
    struct brain_node *oldest = NULL;
    for (unsigned i = 0; i < SAMPLE; i++) {
        uint32_t at;
        brain->world.random(brain->arg, &at, sizeof at);
        struct brain_node *node = brain->nodes[at % brain->nodes_cap];
        if (node != NULL && node->out != NULL && node->out->connected && node->ping_sent == 0 &&
            !(node->flags & (MAP_MYSELF | MAP_HANDSHAKE)) &&
            (oldest == NULL || node->pong < oldest->pong)) {
            oldest = node;
        }
    }
    if (oldest != NULL) {
        brain_send_ping(brain, oldest->out, WIRE_PING);
    }
}

static void is_silent(struct brain *brain, struct brain_node *node) {
    brain_note(brain, BRAIN_NOTICE, "NODE %s possibly failing.", brain_title(node).text);
    node->flags |= MAP_PFAIL;
    brain_touch_file(brain);
    brain_fail_if_agreed(brain, node);
    if (brain->pinged_voters != brain->now.mono_ms && brain_is_voter(brain->self) &&
        !(node->flags & MAP_FAIL)) { /* so that reports meet at once */
        brain->pinged_voters = brain->now.mono_ms;
        brain_send_ping_voters(brain);
    }
}

static void tend(struct brain *brain, struct brain_node *node) {
    int64_t now = brain->now.mono_ms, timeout = brain->settings.node_timeout_ms;
    if (node->flags & (MAP_MYSELF | MAP_NOADDR | MAP_HANDSHAKE)) {
        return;
    }
    struct brain_link *out = node->out;
    bool waits = node->ping_sent != 0;
    if (out != NULL && out->connected && waits && now - out->made > timeout &&
        now - node->ping_sent > timeout / 2 && now - node->heard > timeout / 2) {
        brain_link_close(brain, out); /* another connection may get through */
        out = NULL;
    }
    if (out != NULL && out->connected &&
        ((!waits && now - node->pong > brain->settings.ping_interval_ms) ||
         (node == brain->manual.replica && brain->manual.paused))) {
        brain_send_ping(brain, out, WIRE_PING);
        return;
    }
    if (waits && now - node->ping_sent > timeout && now - node->heard > timeout &&
        !(node->flags & (MAP_PFAIL | MAP_FAIL))) {
        is_silent(brain, node);
    }
}

/* ---- Replicas move to primaries that have none ---- */

static void migrate(struct brain *brain) {
    struct brain_node *self = brain->self, *target = NULL;
    if (brain_is_primary(self) || self->primary == NULL ||
        !brain->settings.allow_replica_migration || brain->state != MAP_STATE_OK) {
        return;
    }
    unsigned *working = must_calloc(brain->nodes_cap, sizeof *working), most = 0;
    BRAIN_EACH(brain, node) {
        if ((node->flags & MAP_REPLICA) && node->primary != NULL &&
            !(node->flags & (MAP_FAIL | MAP_PFAIL))) {
            unsigned count = ++working[node->primary->index];
            most = count > most ? count : most;
        }
    }
    unsigned mine = working[self->primary->index];
    BRAIN_EACH(brain, node) {
        bool is_orphan = brain_is_voter(node) && !(node->flags & MAP_FAIL) &&
                         (node->flags & MAP_MIGRATE_TO) && working[node->index] == 0;
        if (!is_orphan) {
            node->orphaned = 0;
        } else if (node->orphaned == 0) {
            node->orphaned = brain->now.mono_ms;
        }
        if (is_orphan && target == NULL && brain->now.mono_ms - node->orphaned > ORPHAN_MS) {
            target = node;
        }
    }
    bool goes = target != NULL && most >= 2 && mine == most &&
                (int64_t)mine > brain->settings.migration_barrier;
    BRAIN_EACH(brain, node) { /* of those who could, the smallest id does */
        if (goes && (node->flags & MAP_REPLICA) && node->primary != NULL &&
            working[node->primary->index] == most &&
            !(node->flags & (MAP_FAIL | MAP_PFAIL | MAP_NOFAILOVER)) &&
            memcmp(node->id, self->id, ID) < 0) {
            goes = false;
        }
    }
    free(working);
    if (goes) {
        brain_note(brain, BRAIN_NOTICE, "Migrating to orphaned primary %s",
                   brain_title(target).text);
        brain_follow(brain, target);
    }
}

void brain_tick(struct brain *brain, const struct brain_now *now) {
    brain_begin(brain, now);
    BRAIN_EACH(brain, node) {
        tend_links(brain, node);
    }
    if (brain->ticks++ % 10 == 0 && brain->nodes_count > 1 && !brain->debug.no_sample) {
        ping_sample(brain);
    }
    BRAIN_EACH(brain, node) {
        tend(brain, node);
    }
    brain_imports_tick(brain);
    brain_exports_tick(brain);
    brain_sweep(brain);
    brain_manual_tick(brain);
    brain_elect(brain);
    migrate(brain);
    brain_update_state(brain);
    brain_settle(brain);
}
