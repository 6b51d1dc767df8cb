/* SPDX-License-Identifier: BSD-3-Clause */
/* brain_net: some brains, a network, disks and clocks, all virtual, in one thread: for tests.
 *
 * The network carries connections as TCP does: whole packets, in order, late or not at all. Where a
 * way is cut, what was sent waits until it is whole again, and no connection comes about. A disk
 * takes its time; a crash loses what it has not done. All chance is from one seed.
 */
#ifndef TEST_BRAIN_NET_H
#define TEST_BRAIN_NET_H

#include "base/check.h"
#include "base/outbuf.h"
#include "base/random.h"
#include "cluster/brain/brain.h"
#include "cluster/bus/wire.h"
#include "proto/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET_HOSTS_MAX 24
#define NET_STEP_MS   10
#define NET_PORT      6379

struct net;

struct net_packet {
    struct net_packet *next;
    int64_t at;
    size_t bytes;
    char data[];
};

struct net_end { /* of a connection: which host has it, and what is on its way to it */
    struct net_host *host;
    struct brain_link *link; /* NULL: closed */
    struct net_packet *first, **last;
};

struct net_conn {
    struct net_conn *next;
    struct net_end ends[2]; /* who called, and who was called */
    int64_t at;             /* when the call is answered */
    bool is_up, is_gone;
    int64_t gone_at;
};

struct net_host {
    struct net *net;
    unsigned i;
    struct brain *brain; /* NULL: down */
    struct brain_settings settings;
    char ip[32];
    struct text disk;    /* what a crash leaves */
    struct text writing; /* what is on its way there */
    uint64_t version, writing_version, written_version;
    int64_t written_at;
    int64_t wall_skew, disk_ms;
    bool disk_fails, told_paused;
    bool disk_lies; /* it says that it has written what it has not */
    uint64_t offset, applied;
    int64_t paused_until;
    unsigned paused_count, dropped_count, flushed_count, follows_count, changes_count;
    char follows[48]; /* "": it is a primary */
    char export[41];  /* the last that was opened */
    struct text published, said, told, exported;
    unsigned imports_dropped;
    bool logs;
};

struct net {
    struct rng rng;
    int64_t mono, delay_ms;
    unsigned count;
    struct net_host hosts[NET_HOSTS_MAX];
    bool cut[NET_HOSTS_MAX][NET_HOSTS_MAX]; /* from, to */
    struct net_conn *conns;
    uint64_t packets, bytes;
    unsigned turned_one_in; /* packets, of which some bytes are turned on their way; 0: none */
    void (*sniff)(struct net *net, struct net_host *from, struct net_host *to, struct bytes packet);
    void *sniffer;
};

static inline struct brain_now net_now(struct net_host *host) {
    return (struct brain_now){
        .mono_ms = host->net->mono + 1000000,
        .wall_ms = host->net->mono + 1700000000000 + host->wall_skew,
        .offset = host->follows[0] != '\0' ? host->applied : host->offset,
        .primary_age_ms = -1,
        .has_keys = true,
    };
}

/* By its address, or by the name it announces. */
static inline struct net_host *net_at(struct net *net, const char *host) {
    for (unsigned i = 0; i < net->count; i++) {
        const char *name = net->hosts[i].settings.hostname;
        if (strcmp(net->hosts[i].ip, host) == 0 || (name != NULL && strcmp(name, host) == 0)) {
            return &net->hosts[i];
        }
    }
    return NULL;
}

/* ---- The world of a brain ---- */

static inline void net_connect(void *arg, struct brain_link *link, const char *to, uint16_t port) {
    struct net_host *host = arg, *peer = net_at(host->net, to);
    struct net_conn *conn = calloc(1, sizeof *conn);
    conn->ends[0] = (struct net_end){.host = host, .link = link};
    conn->ends[1] = (struct net_end){.host = port == NET_PORT + 10000 ? peer : NULL};
    for (unsigned i = 0; i < 2; i++) {
        conn->ends[i].last = &conn->ends[i].first;
    }
    conn->at = host->net->mono + 1 + (int64_t)rng_below(&host->net->rng, 5);
    conn->next = host->net->conns;
    host->net->conns = conn;
    brain_link_set_wire(link, conn);
}

static inline void net_send(void *arg, struct brain_link *link, const void *packet, size_t bytes) {
    struct net_host *host = arg;
    struct net *net = host->net;
    struct net_conn *conn = brain_link_wire(link);
    struct net_end *peer = &conn->ends[conn->ends[0].link == link];
    check(conn->is_up && bytes == wire_bytes(packet));
    net->packets++;
    net->bytes += bytes;
    if (net->sniff != NULL) {
        net->sniff(net, host, peer->host, bytes_make(packet, bytes));
    }
    struct net_packet *copy = malloc(sizeof *copy + bytes);
    copy->next = NULL;
    copy->at = net->mono + 1 + (int64_t)rng_below(&net->rng, (uint64_t)net->delay_ms + 1);
    copy->bytes = bytes;
    memcpy(copy->data, packet, bytes);
    *peer->last = copy;
    peer->last = &copy->next;
}

static inline void net_close(void *arg, struct brain_link *link) {
    struct net_conn *conn = brain_link_wire(link);
    for (unsigned i = 0; i < 2; i++) {
        if (conn->ends[i].link == link) {
            conn->ends[i].link = NULL;
        }
    }
    conn->is_gone = true;
    conn->gone_at = ((struct net_host *)arg)->net->mono;
}

static inline void net_persist(void *arg, uint64_t version) {
    struct net_host *host = arg;
    check(version == host->version + 1);
    host->version = version;
}

static inline void net_changed(void *arg) {
    ((struct net_host *)arg)->changes_count++;
}

static inline void net_follow(void *arg, const char *ip, uint16_t port, uint16_t tls_port,
                              bool foreign) {
    (void)foreign;
    struct net_host *host = arg;
    host->follows_count++;
    snprintf(host->follows, sizeof host->follows, "%s", ip != NULL ? ip : "");
    if (ip == NULL) {
        host->offset = host->applied;
    }
}

static inline void net_drop(void *arg, const uint8_t slots[MAP_SLOTS / 8]) {
    ((struct net_host *)arg)->dropped_count++;
}

static inline void net_pause(void *arg, int64_t until) {
    struct net_host *host = arg;
    host->paused_until = until;
    host->paused_count += until != 0;
}

static inline void net_flush(void *arg) {
    ((struct net_host *)arg)->flushed_count++;
}

static inline void net_say(void *arg, const struct brain_asker *source, const char *word) {
    struct net_host *host = arg;
    text_appendf(&host->said, "%llu:%s ", (unsigned long long)source->client,
                 word != NULL ? word : "close");
}

static inline void net_hold(void *arg, const struct brain_asker *source) {
    struct net_host *host = arg;
    text_appendf(&host->said, "%llu:hold ", (unsigned long long)source->client);
}

static inline void net_tell(void *arg, const struct bytes *words, unsigned count) {
    struct net_host *host = arg;
    for (unsigned i = 2; i < count; i++) {
        text_appendf(&host->told, "%.*s ", bytes_precision(words[i]), words[i].ptr);
    }
}

static inline void net_drop_import(void *arg, const char *name,
                                   const uint8_t slots[MAP_SLOTS / 8]) {
    struct net_host *host = arg;
    (void)name, (void)slots;
    host->imports_dropped++;
}

static inline void net_export_open(void *arg, const struct brain_export *export) {
    struct net_host *host = arg;
    snprintf(host->export, sizeof host->export, "%s", export->name);
    text_appendf(&host->exported, "open:%u ", export->port);
}

static inline void net_export_say(void *arg, const char *name, const char *word) {
    (void)name;
    text_appendf(&((struct net_host *)arg)->exported, "%s ", word);
}

static inline void net_export_walk(void *arg, const char *name) {
    net_export_say(arg, name, "walk");
}

static inline void net_export_wait(void *arg, const char *name, int64_t bytes) {
    (void)bytes;
    net_export_say(arg, name, "wait");
}

static inline void net_export_drain(void *arg, const char *name,
                                    const uint8_t slots[MAP_SLOTS / 8]) {
    (void)slots;
    net_export_say(arg, name, "drain");
}

static inline void net_export_close(void *arg, const char *name) {
    net_export_say(arg, name, "close");
}

static inline void net_publish(void *arg, struct bytes channel, struct bytes message,
                               bool sharded) {
    struct net_host *host = arg;
    text_appendf(&host->published, "%s%.*s=%.*s ", sharded ? "S" : "", bytes_precision(channel),
                 channel.ptr, bytes_precision(message), message.ptr);
}

static inline void net_random(void *arg, void *ret, size_t bytes) {
    struct net_host *host = arg;
    for (size_t i = 0; i < bytes; i++) {
        ((char *)ret)[i] = (char)(rng_next(&host->net->rng) >> 20);
    }
}

static inline void net_log(void *arg, int level, const char *text) {
    struct net_host *host = arg;
    if (host->logs) {
        fprintf(stderr, "%8lld %u: %s\n", (long long)host->net->mono, host->i, text);
    }
}

static const struct brain_world net_world = {
    .connect = net_connect,
    .send = net_send,
    .close = net_close,
    .persist = net_persist,
    .changed = net_changed,
    .follow = net_follow,
    .drop_slots = net_drop,
    .pause = net_pause,
    .flush = net_flush,
    .say_source = net_say,
    .hold_import = net_hold,
    .tell_replicas = net_tell,
    .drop_import = net_drop_import,
    .export_open = net_export_open,
    .export_say = net_export_say,
    .export_walk = net_export_walk,
    .export_wait = net_export_wait,
    .export_drain = net_export_drain,
    .export_close = net_export_close,
    .publish = net_publish,
    .random = net_random,
    .log = net_log,
};

/* ---- Hosts ---- */

static inline void net_boot(struct net_host *host) {
    struct brain_now now = net_now(host);
    struct text err;
    text_init(&err);
    host->version = host->writing_version = host->written_version = 0;
    host->follows[0] = '\0';
    host->paused_until = 0;
    host->brain = brain_new(&host->settings, &net_world, host, text_bytes(&host->disk), &now, &err);
    check(host->brain != NULL);
    text_fini(&err);
}

static inline void net_crash(struct net_host *host) {
    for (struct net_conn *conn = host->net->conns; conn != NULL; conn = conn->next) {
        for (unsigned i = 0; i < 2; i++) {
            if (conn->ends[i].host == host) {
                conn->ends[i].link = NULL;
                conn->gone_at = conn->is_gone ? conn->gone_at : host->net->mono;
                conn->is_gone = true;
            }
        }
    }
    brain_free(host->brain);
    host->brain = NULL;
}

static inline void net_init(struct net *net, unsigned count, uint64_t seed, int64_t node_timeout) {
    memset(net, 0, sizeof *net);
    rng_seed(&net->rng, seed);
    net->count = count;
    net->delay_ms = 3;
    for (unsigned i = 0; i < count; i++) {
        struct net_host *host = &net->hosts[i];
        host->net = net;
        host->i = i;
        snprintf(host->ip, sizeof host->ip, "10.0.0.%u", i + 1);
        text_init(&host->disk);
        text_init(&host->writing);
        text_init(&host->published);
        text_init(&host->said);
        text_init(&host->told);
        text_init(&host->exported);
        host->disk_ms = 5;
        host->settings = (struct brain_settings){
            .node_timeout_ms = node_timeout,
            .manual_failover_timeout_ms = 5000,
            .blacklist_ttl_s = 60,
            .validity_factor = 10,
            .migration_barrier = 1,
            .gossip_percent = 10,
            .repl_ping_period_s = 10,
            .repl_timeout_s = 60,
            .migrations_kept = 100,
            .allow_replica_migration = true,
            .require_full_coverage = true,
            .port = NET_PORT,
            .bus_port = NET_PORT + 10000,
        };
        net_boot(host);
    }
}

static inline void net_free_conn(struct net_conn *conn) {
    for (unsigned i = 0; i < 2; i++) {
        while (conn->ends[i].first != NULL) {
            struct net_packet *packet = conn->ends[i].first;
            conn->ends[i].first = packet->next;
            free(packet);
        }
    }
    free(conn);
}

static inline void net_fini(struct net *net) {
    for (unsigned i = 0; i < net->count; i++) {
        struct net_host *host = &net->hosts[i];
        brain_free(host->brain);
        text_fini(&host->disk);
        text_fini(&host->writing);
        text_fini(&host->published);
        text_fini(&host->said);
        text_fini(&host->told);
        text_fini(&host->exported);
    }
    while (net->conns != NULL) {
        struct net_conn *conn = net->conns;
        net->conns = conn->next;
        net_free_conn(conn);
    }
}

/* ---- Time ---- */

static inline bool net_is_cut(const struct net *net, const struct net_host *a,
                              const struct net_host *b) {
    return net->cut[a->i][b->i];
}

/* The other end is gone: this one hears of it, if the way is free. */
static inline void net_end_gone(struct net *net, struct net_conn *conn, unsigned i) {
    struct net_end *end = &conn->ends[i];
    if (end->link == NULL || end->host->brain == NULL) {
        return;
    }
    const struct net_host *other = conn->ends[1 - i].host;
    if (other != NULL && net_is_cut(net, other, end->host)) {
        return;
    }
    struct brain_now now = net_now(end->host);
    struct brain_link *link = end->link;
    end->link = NULL;
    brain_link_lost(end->host->brain, link, &now);
}

static inline void net_answer(struct net *net, struct net_conn *conn) {
    struct net_end *caller = &conn->ends[0], *called = &conn->ends[1];
    if (called->host == NULL || called->host->brain == NULL) {
        conn->is_gone = true;
        conn->gone_at = net->mono;
        return;
    }
    if (net_is_cut(net, caller->host, called->host) ||
        net_is_cut(net, called->host, caller->host)) {
        return; /* it hangs */
    }
    struct brain_now now = net_now(called->host), now_caller = net_now(caller->host);
    conn->is_up = true;
    called->link =
        brain_link_accepted(called->host->brain, conn, caller->host->ip, called->host->ip, &now);
    brain_link_connected(caller->host->brain, caller->link, called->host->ip, caller->host->ip,
                         &now_caller);
}

static inline void net_turn(struct net *net, struct net_packet *packet) {
    for (unsigned n = 1 + (unsigned)rng_below(&net->rng, 4); n > 0; n--) {
        size_t from = rng_below(&net->rng, 2) && packet->bytes > 2128 ? 2128 : 8;
        packet->data[from + rng_below(&net->rng, packet->bytes - from)] = (char)rng_next(&net->rng);
    }
}

static inline void net_deliver(struct net *net, struct net_conn *conn, unsigned i) {
    struct net_end *end = &conn->ends[i];
    const struct net_host *other = conn->ends[1 - i].host;
    while (end->first != NULL && end->first->at <= net->mono && end->link != NULL &&
           end->host->brain != NULL && !net_is_cut(net, other, end->host)) {
        struct net_packet *packet = end->first;
        struct brain_now now = net_now(end->host);
        end->first = packet->next;
        if (end->first == NULL) {
            end->last = &end->first;
        }
        if (net->turned_one_in > 0 && rng_below(&net->rng, net->turned_one_in) == 0) {
            net_turn(net, packet);
        }
        if (brain_packet_bytes(end->link, packet->data) == packet->bytes) {
            brain_packet(end->host->brain, end->link, packet->data, packet->bytes, &now);
        }
        free(packet);
    }
}

static inline void net_disk(struct net *net, struct net_host *host) {
    struct brain_now now = net_now(host);
    if (host->writing_version != 0 && host->written_at <= net->mono) {
        uint64_t version = host->writing_version;
        host->writing_version = 0;
        host->written_version = version;
        text_clear(&host->disk);
        text_append_bytes(&host->disk, text_bytes(&host->writing));
        if (!host->disk_lies) {
            brain_persisted(host->brain, version, &now);
        }
    }
    if (host->writing_version == 0 && host->written_version < host->version && !host->disk_fails) {
        text_clear(&host->writing);
        brain_file(host->brain, &host->writing);
        host->writing_version = host->version;
        host->written_at = net->mono + (int64_t)rng_below(&net->rng, (uint64_t)host->disk_ms + 1);
        if (host->disk_lies) {
            brain_persisted(host->brain, host->version, &now);
        }
    }
}

/* A replica has what its primary had, as far as the network lets it. */
static inline void net_replicate(struct net *net, struct net_host *host) {
    struct net_host *primary = host->follows[0] != '\0' ? net_at(net, host->follows) : NULL;
    if (primary != NULL && primary->brain != NULL && primary->follows[0] == '\0' &&
        !net_is_cut(net, primary, host)) {
        host->applied = primary->offset;
    }
}

static inline void net_step(struct net *net) {
    net->mono += NET_STEP_MS;
    for (unsigned i = 0; i < net->count; i++) {
        struct net_host *host = &net->hosts[i];
        if (host->brain == NULL) {
            continue;
        }
        net_replicate(net, host);
        struct brain_now now = net_now(host);
        if ((net->mono / NET_STEP_MS + host->i) % 10 == 0) {
            brain_tick(host->brain, &now);
        }
        if (host->paused_until != 0 && !host->told_paused) {
            host->told_paused = true;
            brain_paused(host->brain, host->offset, &now);
        }
        host->told_paused = host->paused_until != 0;
        net_disk(net, host);
    }
    for (struct net_conn **at = &net->conns; *at != NULL;) {
        struct net_conn *conn = *at;
        if (!conn->is_up && !conn->is_gone && conn->at <= net->mono) {
            net_answer(net, conn);
        }
        for (unsigned i = 0; i < 2 && conn->is_up; i++) {
            net_deliver(net, conn, i);
        }
        if (conn->is_gone && conn->gone_at < net->mono) {
            for (unsigned i = 0; i < 2; i++) {
                net_end_gone(net, conn, i);
            }
        }
        if (conn->is_gone && conn->ends[0].link == NULL && conn->ends[1].link == NULL) {
            *at = conn->next;
            net_free_conn(conn);
        } else {
            at = &conn->next;
        }
    }
}

static inline void net_run(struct net *net, int64_t ms) {
    for (int64_t until = net->mono + ms; net->mono < until;) {
        net_step(net);
    }
}

/* ---- Commands ---- */

/* Words parted by blanks; the reply as text, the caller's. */
static inline char *net_ask(struct net_host *host, const struct brain_asks *asks,
                            const char *format, ...) {
    static const struct brain_asks nothing;
    char line[1024];
    struct bytes words[64];
    unsigned count = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *save, *word = strtok_r(line, " ", &save); word != NULL && count < 64;
         word = strtok_r(NULL, " ", &save)) {
        words[count++] = bytes_of_text(word);
    }
    struct outbuf out;
    struct reply reply;
    struct brain_now now = net_now(host);
    outbuf_init(&out);
    reply_init(&reply, &out, 2);
    brain_command(host->brain, words, count, asks != NULL ? asks : &nothing, &reply, &now);
    struct text text;
    text_init(&text);
    for (const struct outbuf_chunk *chunk = out.head; chunk != NULL; chunk = chunk->next) {
        text_append(&text, chunk->bytes, chunk->used);
    }
    outbuf_fini(&out);
    return text_take(&text);
}

static inline bool net_says(struct net_host *host, const char *expected, const char *line) {
    char *reply = net_ask(host, NULL, "%s", line);
    bool same = strcmp(reply, expected) == 0;
    if (!same) {
        fprintf(stderr, "%s: %s", line, reply);
    }
    free(reply);
    return same;
}

static inline bool net_ok(struct net_host *host, const char *line) {
    return net_says(host, "+OK\r\n", line);
}

/* The id of a node, as itself says; in a buffer of the caller. */
static inline const char *net_id(struct net_host *host, char ret[41]) {
    struct map *map = brain_map(host->brain);
    snprintf(ret, 41, "%s", map->nodes[map->myself].id);
    map_free(map);
    return ret;
}

#endif
