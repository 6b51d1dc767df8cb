/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of nodes, and what points into it: owners of slots, open slots, reports, links. A node
 * has one index for life, so that a slot's owner is two bytes; what is free is given out again.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t hash_id(const char *id) {
    uint64_t a, b;
    memcpy(&a, id, sizeof a);
    memcpy(&b, id + ID - sizeof b, sizeof b);
    return links_hash(a ^ (b << 1 | b >> 63));
}

void brain_draw_id(struct brain *brain, char id[ID + 1]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[ID / 2];
    brain->world.random(brain->arg, bytes, sizeof bytes);
    for (unsigned i = 0; i < ID / 2; i++) {
        id[2 * i] = digits[bytes[i] >> 4];
        id[2 * i + 1] = digits[bytes[i] & 15];
    }
    id[ID] = '\0';
}

static uint16_t free_index(struct brain *brain) {
    unsigned i = 0;
    if (brain->nodes_count < brain->nodes_cap) {
        while (brain->nodes[i] != NULL) {
            i++;
        }
        return (uint16_t)i;
    }
    unsigned cap = brain->nodes_cap > 0 ? brain->nodes_cap * 2 : 8;
    check(cap < MAP_NONE); /* whoever adds for strangers has a limit far below */
    brain->nodes = must_realloc(brain->nodes, cap * sizeof(struct brain_node *));
    memset(brain->nodes + brain->nodes_cap, 0,
           (cap - brain->nodes_cap) * sizeof(struct brain_node *));
    i = brain->nodes_cap;
    brain->nodes_cap = cap;
    return (uint16_t)i;
}

struct brain_node *brain_node_add(struct brain *brain, const char *id, uint32_t flags) {
    struct brain_node *node = must_calloc(1, sizeof *node);
    node->index = free_index(brain);
    brain->nodes[node->index] = node;
    brain->nodes_count++;
    if (id != NULL) {
        memcpy(node->id, id, ID);
    } else {
        brain_draw_id(brain, node->id);
    }
    brain_draw_id(brain, node->shard_id);
    node->flags = flags;
    node->born = node->lost_in = brain->now.mono_ms;
    node->by_id.hash = hash_id(node->id);
    links_add(&brain->by_id, &node->by_id);
    brain->handshakes_count += (flags & MAP_HANDSHAKE) != 0;
    brain_touch_map(brain);
    return node;
}

struct brain_node *brain_node_find(const struct brain *brain, const char *id) {
    for (struct link *at = links_first(&brain->by_id, hash_id(id)); at != NULL; at = at->next) {
        struct brain_node *node = LINK_ENTRY(at, struct brain_node, by_id);
        if (memcmp(node->id, id, ID) == 0) {
            return node;
        }
    }
    return NULL;
}

struct brain_node *brain_node_named(const struct brain *brain, struct bytes id) {
    struct brain_node *node = id.len == ID ? brain_node_find(brain, id.ptr) : NULL;
    return node != NULL && !(node->flags & MAP_HANDSHAKE) ? node : NULL;
}

void brain_node_rename(struct brain *brain, struct brain_node *node, const char *id) {
    links_remove(&brain->by_id, &node->by_id);
    memcpy(node->id, id, ID);
    node->by_id.hash = hash_id(id);
    links_add(&brain->by_id, &node->by_id);
    brain_touch_file(brain);
}

void brain_node_free(struct brain_node *node) {
    free(node->hostname);
    free(node->human_name);
    free(node->zone);
    free(node->client_ipv4);
    free(node->client_ipv6);
    free(node->reports);
    free(node);
}

static void opens_without(struct brain_opens *opens, const struct brain_node *node) {
    uint16_t kept = 0;
    for (uint16_t i = 0; i < opens->count; i++) {
        if (opens->list[i].node != node) {
            opens->list[kept++] = opens->list[i];
        }
    }
    opens->count = kept;
}

void brain_node_remove(struct brain *brain, struct brain_node *node) {
    check(node != brain->self);
    if (node->slots_count > 0) {
        for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
            if (brain->owner[slot] == node->index) {
                brain_slot_give(brain, slot, NULL);
            }
        }
    }
    opens_without(&brain->migrating, node);
    opens_without(&brain->importing, node);
    BRAIN_EACH(brain, other) {
        if (other->primary == node) {
            other->primary = NULL;
        }
        brain_report_remove(other, node);
    }
    if (brain->manual.replica == node) {
        brain_end_manual(brain);
    }
    LIST_EACH_SAFE(&brain->links, at) {
        struct brain_link *link = LIST_ENTRY(at, struct brain_link, in_list);
        if (link->node == node) {
            brain_link_close(brain, link);
        }
    }
    brain->handshakes_count -= (node->flags & MAP_HANDSHAKE) != 0;
    links_remove(&brain->by_id, &node->by_id);
    brain->nodes[node->index] = NULL;
    brain->nodes_count--;
    brain_node_free(node);
    brain_touch_file(brain);
}

bool brain_text_fits(struct bytes text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c == 127 || c == ',' || c == '"' || c == '\'') {
            return false;
        }
    }
    return true;
}

bool brain_node_set_text(char **text, struct bytes value) {
    value = brain_text_fits(value) ? value : BYTES("");
    struct bytes now = *text != NULL ? bytes_of_text(*text) : BYTES("");
    if (bytes_equal(now, value)) {
        return false;
    }
    free(*text);
    *text = NULL;
    if (value.len > 0) {
        *text = must_malloc(value.len + 1);
        memcpy(*text, value.ptr, value.len);
        (*text)[value.len] = '\0';
    }
    return true;
}

/* ---- Slots ---- */

void brain_slot_give(struct brain *brain, unsigned slot, struct brain_node *node) {
    struct brain_node *owner = brain_owner(brain, slot);
    brain_clear_bit(brain->abandoned, slot);
    if (owner == node) {
        return;
    }
    if (owner != NULL) {
        owner->slots_count--;
        brain->assigned_count--;
    }
    if (node != NULL) {
        node->slots_count++;
        brain->assigned_count++;
    }
    brain->owner[slot] = node != NULL ? node->index : MAP_NONE;
    brain_touch_file(brain);
}

void brain_slots_of(const struct brain *brain, const struct brain_node *node,
                    uint8_t bits[WIRE_SLOTS_BYTES]) {
    memset(bits, 0, WIRE_SLOTS_BYTES);
    if (node == NULL || node->slots_count == 0) {
        return;
    }
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        if (brain->owner[slot] == node->index) {
            brain_set_bit(bits, slot);
        }
    }
}

struct brain_node *brain_open_find(const struct brain_opens *opens, unsigned slot) {
    for (uint16_t i = 0; i < opens->count; i++) {
        if (opens->list[i].slot == slot) {
            return opens->list[i].node;
        }
    }
    return NULL;
}

void brain_open_set(struct brain_opens *opens, unsigned slot, struct brain_node *node) {
    uint16_t i = 0;
    while (i < opens->count && opens->list[i].slot < slot) {
        i++;
    }
    bool found = i < opens->count && opens->list[i].slot == slot;
    if (node == NULL && found) {
        opens->count--;
        memmove(opens->list + i, opens->list + i + 1,
                (size_t)(opens->count - i) * sizeof *opens->list);
    } else if (node != NULL && !found) {
        opens->list = must_realloc(opens->list, (size_t)(opens->count + 1) * sizeof *opens->list);
        memmove(opens->list + i + 1, opens->list + i,
                (size_t)(opens->count - i) * sizeof *opens->list);
        opens->list[i] = (struct brain_open){(uint16_t)slot, node};
        opens->count++;
    } else if (node != NULL) {
        opens->list[i].node = node;
    }
}

static void opens_follow(struct brain_opens *opens, const struct brain_node *from,
                         struct brain_node *to) {
    for (uint16_t i = 0; i < opens->count; i++) {
        opens->list[i].node = opens->list[i].node == from ? to : opens->list[i].node;
    }
}

void brain_opens_follow(struct brain *brain, const struct brain_node *from, struct brain_node *to) {
    opens_follow(&brain->migrating, from, to);
    opens_follow(&brain->importing, from, to);
    brain_touch_file(brain);
}

/* ---- Counts ---- */

unsigned brain_count_replicas(const struct brain *brain, const struct brain_node *primary,
                              bool working) {
    unsigned count = 0;
    BRAIN_EACH(brain, node) {
        if (node->primary == primary && (node->flags & MAP_REPLICA) &&
            !(working && (node->flags & (MAP_FAIL | MAP_PFAIL)))) {
            count++;
        }
    }
    return count;
}

uint64_t brain_epoch_max(const struct brain *brain) {
    uint64_t max = brain->current_epoch;
    BRAIN_EACH(brain, node) {
        max = node->config_epoch > max ? node->config_epoch : max;
    }
    return max;
}

unsigned brain_voters(const struct brain *brain) {
    unsigned count = 0;
    BRAIN_EACH(brain, node) {
        count += brain_is_voter(node);
    }
    return count;
}

/* ---- Links ---- */

void brain_link_free(struct brain *brain, struct brain_link *link) {
    if (link->node != NULL) {
        if (link->node->out == link) {
            link->node->out = NULL;
        }
        if (link->node->in == link) {
            link->node->in = NULL;
            link->node->lost_in = brain->now.mono_ms;
        }
    }
    list_remove(&link->in_list);
    free(link);
}

void brain_link_close(struct brain *brain, struct brain_link *link) {
    brain->world.close(brain->arg, link);
    brain_link_free(brain, link);
}

/* ---- Who was forgotten ---- */

bool brain_is_forgotten(const struct brain *brain, const char *id) {
    for (unsigned i = 0; i < brain->forgotten_count; i++) {
        if (memcmp(brain->forgotten[i].id, id, ID) == 0) {
            return brain->forgotten[i].until > brain->now.mono_ms;
        }
    }
    return false;
}

void brain_remember(struct brain *brain, const char *id) {
    unsigned kept = 0;
    for (unsigned i = 0; i < brain->forgotten_count; i++) {
        if (brain->forgotten[i].until > brain->now.mono_ms &&
            memcmp(brain->forgotten[i].id, id, ID) != 0) {
            brain->forgotten[kept++] = brain->forgotten[i];
        }
    }
    brain->forgotten_count = kept;
}

void brain_forget(struct brain *brain, const char *id, int64_t ttl_ms) {
    brain_remember(brain, id);
    brain->forgotten =
        must_realloc(brain->forgotten, (brain->forgotten_count + 1) * sizeof *brain->forgotten);
    struct brain_forgotten *entry = &brain->forgotten[brain->forgotten_count++];
    memcpy(entry->id, id, ID);
    entry->until = brain->now.mono_ms + ttl_ms;
}

struct brain_title brain_title(const struct brain_node *node) {
    struct brain_title title;
    if (node->human_name != NULL) {
        snprintf(title.text, sizeof title.text, "%.40s (%.256s)", node->id, node->human_name);
    } else {
        snprintf(title.text, sizeof title.text, "%.40s (%s:%u)", node->id, node->ip, node->port);
    }
    return title;
}

void brain_note(const struct brain *brain, enum brain_log_level level, const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    brain->world.log(brain->arg, (int)level, line);
}
