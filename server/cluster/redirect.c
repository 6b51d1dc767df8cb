/* SPDX-License-Identifier: BSD-3-Clause */
/* redirect: see the header. The order of the questions is Valkey's, which clients see: who is
 * refused for two reasons is told the first.
 *
 *     nobody has the slot -> the cluster is down -> keys on their way from here -> to here ->
 *     a replica that may read for its primary -> another node
 */
#include "server/cluster/redirect.h"

#include "base/check.h"
#include "server/config/config.h"

#include <stdio.h>
#include <string.h>

/* ---- Open slots ---- */

/* The other end of an open slot, or MAP_NONE: it is not among these. They are few. */
static uint16_t other_end(const struct map_open_slot *slots, uint16_t count, uint16_t slot) {
    for (uint16_t i = 0; i < count; i++) {
        if (slots[i].slot == slot) {
            return slots[i].node;
        }
    }
    return MAP_NONE;
}

bool redirect_is_open(const struct map *map, uint16_t slot) {
    return map->is_open[slot / 8] >> slot % 8 & 1;
}

/* ---- The answer ---- */

static enum redirect_verdict judge_state(const struct map *map, const struct config *config,
                                         const struct redirect_question *question) {
    if (map->state == MAP_STATE_OK) {
        return REDIRECT_NOT;
    }
    if (question->shard_channels) {
        return config->cluster_allow_pubsubshard_when_down ? REDIRECT_NOT : REDIRECT_DOWN;
    }
    if (!config->cluster_allow_reads_when_down) {
        return REDIRECT_DOWN;
    }
    return question->writes ? REDIRECT_READS : REDIRECT_NOT;
}

enum redirect_verdict redirect_judge(const struct map *map, const struct config *config,
                                     const struct redirect_question *question, uint16_t *ret_node) {
    uint16_t owner = map->owner[question->slot], to = MAP_NONE, from = MAP_NONE;
    const struct map_node *self = &map->nodes[map->myself];
    bool primary = self->flags & MAP_PRIMARY;
    *ret_node = owner;
    if (owner == MAP_NONE) {
        return REDIRECT_UNOWNED;
    }
    if (question->imports && map_hides(map, question->slot)) {
        return REDIRECT_NOT;
    }
    if (UNLIKELY(map_seals(map, question->slot)) && question->changes && !question->waits &&
        !question->shard_channels) {
        return REDIRECT_TRY_AGAIN;
    }
    if (redirect_is_open(map, question->slot) && (primary || question->readonly)) {
        if (owner == map_my_primary(map)) {
            to = other_end(map->migrating, map->migrating_count, question->slot);
        }
        if (to == MAP_NONE) {
            from = other_end(map->importing, map->importing_count, question->slot);
        }
    }
    bool open = to != MAP_NONE || from != MAP_NONE;
    if (open && question->other_db) {
        return REDIRECT_TRY_AGAIN;
    }
    enum redirect_verdict state = judge_state(map, config, question);
    if (state != REDIRECT_NOT) {
        return state;
    }
    if (open && question->migrates && primary) {
        return REDIRECT_NOT;
    }
    bool lacks = question->missing > 0 && !question->shard_channels;
    if (to != MAP_NONE && lacks) {
        *ret_node = to;
        return question->here > 0 ? REDIRECT_TRY_AGAIN : REDIRECT_ASK;
    }
    if (from != MAP_NONE && question->asking) {
        return question->many && lacks ? REDIRECT_TRY_AGAIN : REDIRECT_NOT;
    }
    bool reads = (question->readonly || question->shard_channels) && !question->writes;
    bool served = owner == map->myself || (reads && !primary && self->primary == owner);
    return served ? REDIRECT_NOT : REDIRECT_MOVED;
}

/* ---- What a node is called by ---- */

const char *redirect_ip(const struct map_node *node, unsigned via) {
    const char *told = via & REDIRECT_VIA_IPV6 ? node->client_ipv6 : node->client_ipv4;
    return told[0] != 0 ? told : node->ip;
}

const char *redirect_endpoint(const struct map_node *node, const struct config *config,
                              unsigned via) {
    switch (config->cluster_preferred_endpoint_type) {
    case CONFIG_ENDPOINT_HOSTNAME:
        return node->hostname[0] != 0 ? node->hostname : "?";
    case CONFIG_ENDPOINT_UNKNOWN:
        return NULL;
    default:
        return redirect_ip(node, via);
    }
}

uint16_t redirect_port(const struct map_node *node, unsigned via) {
    if (via & REDIRECT_VIA_TLS) {
        return node->client_tls_port != 0 ? node->client_tls_port : node->tls_port;
    }
    return node->client_port != 0 ? node->client_port : node->port;
}

/* ---- Errors ---- */

static const char *const errors[] = {
    [REDIRECT_CROSSES] = "CROSSSLOT Keys in request don't hash to the same slot",
    [REDIRECT_UNOWNED] = "CLUSTERDOWN Hash slot not served",
    [REDIRECT_DOWN] = "CLUSTERDOWN The cluster is down",
    [REDIRECT_READS] = "CLUSTERDOWN The cluster is down and only accepts read commands",
    [REDIRECT_TRY_AGAIN] = "TRYAGAIN Multiple keys request during rehashing of slot",
    [REDIRECT_MOVED] = "MOVED ",
    [REDIRECT_ASK] = "ASK ",
};

void redirect_tell(char ret[REDIRECT_BYTES], const struct map *map, const struct config *config,
                   enum redirect_verdict verdict, uint16_t slot, uint16_t node, unsigned via) {
    if (verdict == REDIRECT_MOVED || verdict == REDIRECT_ASK) {
        const char *host = redirect_endpoint(&map->nodes[node], config, via);
        snprintf(ret, REDIRECT_BYTES, "%s%u %s:%u", errors[verdict], slot, host != NULL ? host : "",
                 redirect_port(&map->nodes[node], via));
    } else {
        snprintf(ret, REDIRECT_BYTES, "%s", errors[verdict]);
    }
}

bool redirect_is_told(const char *error) {
    bool is = false;
    for (unsigned i = REDIRECT_CROSSES; i <= REDIRECT_ASK; i++) {
        is |= strncmp(error, errors[i], strlen(errors[i])) == 0;
    }
    return is;
}
