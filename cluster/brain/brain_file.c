/* SPDX-License-Identifier: BSD-3-Clause */
/* nodes.conf, as Valkey and Redis have it: one line a node, and a last one of variables. Also the
 * lines of CLUSTER NODES, which are nearly the same.
 *
 *   <id> <ip>:<port>@<bus port>[,hostname[,name=value]*] <flags> <primary|-> <ping> <pong> <epoch>
 *   <connected|disconnected> [slots] [open slots]
 *
 * What cannot be true refuses the file: it is who we are, and nobody's votes are counted twice
 * because a line was skipped.
 */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <stdlib.h>

static const struct {
    const char *word;
    uint32_t flag;
} flag_words[] = {
    {"myself", MAP_MYSELF},   {"master", MAP_PRIMARY},
    {"slave", MAP_REPLICA},   {"fail?", MAP_PFAIL},
    {"fail", MAP_FAIL},       {"handshake", MAP_HANDSHAKE},
    {"noaddr", MAP_NOADDR},   {"nofailover", MAP_NOFAILOVER},
    {"primary", MAP_PRIMARY}, {"replica", MAP_REPLICA}, /* read only */
};
#define FLAG_WORDS         (sizeof flag_words / sizeof flag_words[0])
#define FLAG_WORDS_WRITTEN 8

/* ---- Writing ---- */

void brain_runs_init(struct brain_runs *runs, const struct brain *brain) {
    runs->list = must_malloc(MAP_SLOTS * sizeof *runs->list);
    runs->heads = must_malloc(brain->nodes_cap * sizeof *runs->heads);
    uint16_t *tails = must_malloc(brain->nodes_cap * sizeof *tails);
    memset(runs->heads, 0xff, brain->nodes_cap * sizeof *runs->heads);
    uint16_t count = 0;
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        uint16_t owner = brain->owner[slot];
        if (owner == MAP_NONE) {
            continue;
        }
        if (slot > 0 && brain->owner[slot - 1] == owner) {
            runs->list[tails[owner]].last = (uint16_t)slot;
            continue;
        }
        runs->list[count] = (struct brain_run){(uint16_t)slot, (uint16_t)slot, MAP_NONE};
        if (runs->heads[owner] == MAP_NONE) {
            runs->heads[owner] = count;
        } else {
            runs->list[tails[owner]].next = count;
        }
        tails[owner] = count++;
    }
    free(tails);
}

void brain_runs_fini(struct brain_runs *runs) {
    free(runs->list);
    free(runs->heads);
}

static void put_flags(const struct brain_node *node, struct text *ret) {
    const char *comma = "";
    for (unsigned i = 0; i < FLAG_WORDS_WRITTEN; i++) {
        if (node->flags & flag_words[i].flag) {
            text_appendf(ret, "%s%s", comma, flag_words[i].word);
            comma = ",";
        }
    }
    if (comma[0] == '\0') {
        text_append_text(ret, "noflags");
    }
}

static void put_aux_text(struct text *ret, const char *name, const char *value) {
    if (value != NULL && value[0] != '\0') {
        text_appendf(ret, ",%s=%s", name, value);
    }
}

static void put_aux(const struct brain *brain, const struct brain_node *node, struct text *ret) {
    put_aux_text(ret, "nodename", node->human_name);
    put_aux_text(ret, "availability-zone", node->zone);
    put_aux_text(ret, "client-ipv4", node->client_ipv4);
    put_aux_text(ret, "client-ipv6", node->client_ipv6);
    if (node->client_port != 0) {
        text_appendf(ret, ",client-tcp-port=%u", node->client_port);
    }
    if (node->client_tls_port != 0) {
        text_appendf(ret, ",client-tls-port=%u", node->client_tls_port);
    }
    if (brain->settings.tls_cluster) {
        text_appendf(ret, ",tcp-port=%u", node->port);
    } else {
        text_appendf(ret, ",tls-port=%u", node->tls_port);
    }
    text_appendf(ret, ",shard-id=%s", node->shard_id);
}

static int64_t wall_of(const struct brain *brain, int64_t mono) {
    return mono == 0 ? 0 : mono + brain->now.wall_ms - brain->now.mono_ms;
}

/* Those that leave and those that come, in the order of their slots. */
static void put_opens(const struct brain_opens *leave, const struct brain_opens *come,
                      struct text *ret) {
    for (uint16_t i = 0, j = 0; i < leave->count || j < come->count;) {
        bool leaves =
            j == come->count || (i < leave->count && leave->list[i].slot < come->list[j].slot);
        const struct brain_open *open = leaves ? &leave->list[i++] : &come->list[j++];
        text_appendf(ret, " [%u%s%s]", open->slot, leaves ? "->-" : "-<-", open->node->id);
    }
}

/* Clients are told what is announced for them. */
static void put_address(const struct brain *brain, const struct brain_node *node,
                        const struct brain_asks *to, struct text *ret) {
    const char *ip = node->ip;
    uint16_t port = brain->settings.tls_cluster ? node->tls_port : node->port;
    if (to != NULL) {
        const char *told = to->is_ipv6 ? node->client_ipv6 : node->client_ipv4;
        uint16_t own = to->is_tls ? node->tls_port : node->port;
        uint16_t client_port = to->is_tls ? node->client_tls_port : node->client_port;
        ip = told != NULL ? told : ip;
        port = client_port != 0 ? client_port : own;
    }
    text_appendf(ret, "%s:%u@%u", ip, port, node->bus_port);
}

void brain_describe(const struct brain *brain, const struct brain_runs *runs,
                    const struct brain_node *node, const struct brain_asks *to, struct text *ret) {
    const struct brain_node *primary = node->flags & MAP_REPLICA ? node->primary : NULL;
    bool in_file = to == NULL;
    text_appendf(ret, "%s ", node->id);
    put_address(brain, node, to, ret);
    if (in_file || node->hostname != NULL) {
        text_appendf(ret, ",%s", node->hostname != NULL ? node->hostname : "");
    }
    if (in_file) {
        put_aux(brain, node, ret);
    }
    text_append_char(ret, ' ');
    put_flags(node, ret);
    bool is_up = node == brain->self || (node->out != NULL && node->out->connected);
    text_appendf(ret, " %s %lld %lld %llu %s", primary != NULL ? primary->id : "-",
                 (long long)wall_of(brain, node->ping_sent), (long long)wall_of(brain, node->pong),
                 (unsigned long long)(primary != NULL ? primary->config_epoch : node->config_epoch),
                 is_up ? "connected" : "disconnected");
    for (uint16_t i = runs->heads[node->index]; i != MAP_NONE; i = runs->list[i].next) {
        if (runs->list[i].first == runs->list[i].last) {
            text_appendf(ret, " %u", runs->list[i].first);
        } else {
            text_appendf(ret, " %u-%u", runs->list[i].first, runs->list[i].last);
        }
    }
    if (node == brain->self) {
        put_opens(&brain->migrating, &brain->importing, ret);
    }
}

void brain_file(const struct brain *brain, struct text *ret) {
    struct brain_runs runs;
    brain_runs_init(&runs, brain);
    BRAIN_EACH(brain, node) {
        if (!(node->flags & MAP_HANDSHAKE)) {
            brain_describe(brain, &runs, node, NULL, ret);
            text_append_char(ret, '\n');
        }
    }
    brain_runs_fini(&runs);
    text_appendf(ret, "vars currentEpoch %llu lastVoteEpoch %llu",
                 (unsigned long long)brain->current_epoch, (unsigned long long)brain->vote_epoch);
    brain_exports_file(brain, ret);
    text_append_char(ret, '\n');
}

/* ---- Reading ---- */

struct reading {
    struct brain *brain;
    struct text *err;
    unsigned line;
    struct bytes rest; /* of the line */
};

static bool refuse(struct reading *reading, const char *why, struct bytes what) {
    text_clear(reading->err);
    text_appendf(reading->err, "line %u: %s", reading->line, why);
    if (what.ptr != NULL) {
        text_appendf(reading->err, ": '%.*s'", bytes_precision(what), what.ptr);
    }
    return false;
}

/* Up to the next `end`, or all; it and `end` are taken off. */
static struct bytes take_until(struct bytes *rest, char end) {
    const char *at = rest->len > 0 ? memchr(rest->ptr, end, rest->len) : NULL;
    struct bytes word = bytes_make(rest->ptr, at != NULL ? (size_t)(at - rest->ptr) : rest->len);
    size_t taken = word.len + (at != NULL);
    rest->ptr += taken;
    rest->len -= taken;
    return word;
}

/* The next word of the line; empty: there is none. */
static struct bytes next_word(struct bytes *rest) {
    struct bytes word = {rest->ptr, 0};
    while (rest->len > 0 && word.len == 0) {
        word = take_until(rest, ' ');
    }
    return word;
}

static bool read_port(struct bytes word, uint16_t *ret) {
    uint64_t n;
    if (!num_parse_u64(word, &n) || n > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)n;
    return true;
}

/* One that was named before its own line has no flags yet. */
static struct brain_node *named(struct reading *reading, struct bytes word) {
    if (word.len != ID || !brain_is_id(word.ptr)) {
        return NULL;
    }
    struct brain_node *node = brain_node_find(reading->brain, word.ptr);
    return node != NULL ? node : brain_node_add(reading->brain, word.ptr, 0);
}

static bool read_aux(struct reading *reading, struct brain_node *node, struct bytes word) {
    struct bytes value = word, name = take_until(&value, '=');
    const struct {
        const char *name;
        char **text;
        uint16_t *port;
    } known[] = {
        {"nodename", &node->human_name, NULL},
        {"availability-zone", &node->zone, NULL},
        {"client-ipv4", &node->client_ipv4, NULL},
        {"client-ipv6", &node->client_ipv6, NULL},
        {"tcp-port", NULL, &node->port},
        {"tls-port", NULL, &node->tls_port},
        {"client-tcp-port", NULL, &node->client_port},
        {"client-tls-port", NULL, &node->client_tls_port},
    };
    if (bytes_equal(name, BYTES("shard-id"))) {
        if (value.len != ID || !brain_is_id(value.ptr)) {
            return refuse(reading, "no shard id", value);
        }
        memcpy(node->shard_id, value.ptr, ID);
        return true;
    }
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!bytes_equal(name, bytes_of_text(known[i].name))) {
            continue;
        }
        if (known[i].text != NULL) {
            brain_node_set_text(known[i].text, value);
            return true;
        }
        return read_port(value, known[i].port) || refuse(reading, "no port", word);
    }
    return refuse(reading, "unknown name", name);
}

/* ip:port@bus_port[,hostname[,name=value]*] */
static bool read_address(struct reading *reading, struct brain_node *node, struct bytes word) {
    struct bytes rest = word, address = take_until(&rest, ',');
    bool has_more = address.len < word.len;
    struct bytes host = address;
    const char *colon = address.len > 0 ? memrchr(address.ptr, ':', address.len) : NULL;
    if (colon == NULL || colon - address.ptr > WIRE_IP_BYTES) {
        return refuse(reading, "no address", word);
    }
    host.len = (size_t)(colon - address.ptr);
    struct bytes ports = bytes_make(colon + 1, address.len - host.len - 1);
    struct bytes port = take_until(&ports, '@');
    bool is_tls = reading->brain->settings.tls_cluster;
    uint16_t number;
    if (!read_port(port, &number)) {
        return refuse(reading, "no port", word);
    }
    if (ports.len == 0) { /* as Redis 3 wrote it */
        node->bus_port = (uint16_t)(number + 10000);
    } else if (!read_port(ports, &node->bus_port)) {
        return refuse(reading, "no bus port", word);
    }
    *(is_tls ? &node->tls_port : &node->port) = number;
    memset(node->ip, 0, sizeof node->ip);
    memcpy(node->ip, host.ptr, host.len);
    if (has_more) {
        brain_node_set_text(&node->hostname, take_until(&rest, ','));
    }
    while (rest.len > 0) {
        if (!read_aux(reading, node, take_until(&rest, ','))) {
            return false;
        }
    }
    return true;
}

static bool read_flags(struct reading *reading, struct brain_node *node, struct bytes word) {
    if (bytes_equal(word, BYTES("noflags"))) {
        return true;
    }
    while (word.len > 0) {
        struct bytes one = take_until(&word, ',');
        unsigned i = 0;
        while (i < FLAG_WORDS && !bytes_equal(one, bytes_of_text(flag_words[i].word))) {
            i++;
        }
        if (i == FLAG_WORDS) {
            return refuse(reading, "unknown flag", one);
        }
        node->flags |= flag_words[i].flag;
    }
    if (node->flags & MAP_MYSELF) {
        struct brain *brain = reading->brain;
        if (brain->self != NULL) {
            return refuse(reading, "myself again", (struct bytes){NULL, 0});
        }
        brain->self = node;
        node->flags &= ~(uint32_t)(MAP_PFAIL | MAP_FAIL | MAP_NOADDR);
    }
    if (node->flags & MAP_FAIL) {
        node->failed = reading->brain->now.mono_ms;
    }
    return true;
}

static bool read_slot(struct bytes word, unsigned *ret) {
    uint64_t n;
    if (!num_parse_u64(word, &n) || n >= MAP_SLOTS) {
        return false;
    }
    *ret = (unsigned)n;
    return true;
}

/* [slot->-id] or [slot-<-id] */
static bool read_open(struct reading *reading, struct bytes word) {
    struct bytes rest = bytes_make(word.ptr + 1, word.len - 1), number = take_until(&rest, '-');
    unsigned slot;
    if (rest.len != ID + 3 || rest.ptr[rest.len - 1] != ']' || rest.ptr[1] != '-' ||
        (rest.ptr[0] != '>' && rest.ptr[0] != '<') || !read_slot(number, &slot)) {
        return refuse(reading, "no open slot", word);
    }
    struct brain_node *other = named(reading, bytes_make(rest.ptr + 2, ID));
    if (other == NULL) {
        return refuse(reading, "no open slot", word);
    }
    struct brain *brain = reading->brain;
    brain_open_set(rest.ptr[0] == '>' ? &brain->migrating : &brain->importing, slot, other);
    return true;
}

static bool read_slots(struct reading *reading, struct brain_node *node, struct bytes word) {
    if (word.ptr[0] == '[') {
        return read_open(reading, word);
    }
    struct bytes last = word, first = take_until(&last, '-');
    unsigned from, to;
    if (!read_slot(first, &from)) {
        return refuse(reading, "no slots", word);
    }
    to = from;
    if (first.len < word.len && (!read_slot(last, &to) || to < from)) {
        return refuse(reading, "no slots", word);
    }
    for (unsigned slot = from; slot <= to; slot++) {
        brain_slot_give(reading->brain, slot, node);
    }
    return true;
}

static bool read_node(struct reading *reading, struct bytes rest) {
    struct bytes words[8];
    for (unsigned i = 0; i < 8; i++) {
        words[i] = next_word(&rest);
        if (words[i].len == 0) {
            return refuse(reading, "too short", (struct bytes){NULL, 0});
        }
    }
    struct brain_node *node = named(reading, words[0]);
    if (node == NULL) {
        return refuse(reading, "no id", words[0]);
    }
    if (node->bus_port != 0 || node->flags != 0) {
        return refuse(reading, "a node again", words[0]);
    }
    if (!read_address(reading, node, words[1]) || !read_flags(reading, node, words[2])) {
        return false;
    }
    if (words[3].ptr[0] != '-') {
        node->primary = named(reading, words[3]);
        if (node->primary == NULL) {
            return refuse(reading, "no id of a primary", words[3]);
        }
    }
    uint64_t ping, epoch;
    if (!num_parse_u64(words[4], &ping) || !num_parse_u64(words[6], &epoch)) {
        return refuse(reading, "no number", words[6]);
    }
    node->ping_sent = ping != 0 ? reading->brain->now.mono_ms : 0;
    node->config_epoch = node->flags & MAP_REPLICA ? 0 : epoch;
    for (struct bytes word = next_word(&rest); word.len > 0; word = next_word(&rest)) {
        if (!read_slots(reading, node, word)) {
            return false;
        }
    }
    return true;
}

static bool read_vars(struct reading *reading, struct bytes rest) {
    struct brain *brain = reading->brain;
    for (struct bytes name = next_word(&rest); name.len > 0; name = next_word(&rest)) {
        struct bytes value = next_word(&rest);
        uint64_t n;
        if (bytes_equal(name, BYTES("granted"))) {
            if (!brain_exports_load(brain, value)) {
                return refuse(reading, "no grant of slots", value);
            }
            continue;
        }
        if (!num_parse_u64(value, &n)) {
            return refuse(reading, "a variable without a number", name);
        }
        if (bytes_equal(name, BYTES("currentEpoch"))) {
            brain->current_epoch = n;
        } else if (bytes_equal(name, BYTES("lastVoteEpoch"))) {
            brain->vote_epoch = n;
        }
    }
    return true;
}

/* What was named and has no line is not; a replica is of its primary's shard. */
static void tidy(struct brain *brain) {
    BRAIN_EACH(brain, node) {
        if (node->flags == 0 && node->bus_port == 0) {
            brain_node_remove(brain, node);
        }
    }
    BRAIN_EACH(brain, node) {
        if ((node->flags & MAP_REPLICA) && node->primary != NULL) {
            memcpy(node->shard_id, node->primary->shard_id, ID);
        } else {
            node->primary = NULL;
        }
    }
    uint64_t max = brain_epoch_max(brain);
    brain->current_epoch = max > brain->current_epoch ? max : brain->current_epoch;
}

bool brain_load(struct brain *brain, struct bytes file, struct text *err) {
    struct reading reading = {.brain = brain, .err = err};
    while (file.len > 0) {
        struct bytes line = take_until(&file, '\n'), rest = line, first;
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
            rest.len = --line.len;
        }
        reading.line++;
        first = next_word(&rest);
        if (first.len == 0) {
            continue;
        }
        if (!(bytes_equal(first, BYTES("vars")) ? read_vars(&reading, rest)
                                                : read_node(&reading, line))) {
            return false;
        }
    }
    if (brain->self == NULL) {
        return refuse(&reading, "no line is this node's own", (struct bytes){NULL, 0});
    }
    tidy(brain);
    brain_exports_loaded(brain);
    return true;
}
