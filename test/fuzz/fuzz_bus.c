/* SPDX-License-Identifier: BSD-3-Clause */
/* The bus of a cluster: a nodes.conf that may be anything, and packets from whoever. A file that is
 * read makes a node whose own file is read again, to the same text; packets are read within their
 * bounds, and what a node believes of them it can write down and read.
 *
 * Input: the file, a NUL, then packets: each a type, a sender, entries of gossip, extensions, and
 * bytes that are changed in it at the end. */
#include "base/check.h"
#include "cluster/brain/brain.h"
#include "cluster/bus/wire.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TICK_MS     100
#define TIME_DIGITS 13 /* of milliseconds since 1970 */

struct input {
    const uint8_t *at, *end;
};

/* What the brain wants of its world, as far as somebody looks at it. */
struct world {
    uint64_t version; /* that is to be on the disk */
    struct brain_link *link;
    uint8_t random;
};

static uint8_t next(struct input *in) {
    return in->at < in->end ? *in->at++ : 0;
}

static void on_connect(void *arg, struct brain_link *link, const char *ip, uint16_t port) {
    check(link != NULL && ip[0] != 0 && port != 0);
}

static void on_send(void *arg, struct brain_link *link, const void *packet, size_t bytes) {
    struct wire_packet parsed;
    check(wire_bytes(packet) == bytes);
    check(wire_parse(bytes_make(packet, bytes), &parsed) == WIRE_GOOD);
}

static void on_close(void *arg, struct brain_link *link) {
    struct world *world = arg;
    world->link = world->link == link ? NULL : world->link;
}

static void on_persist(void *arg, uint64_t version) {
    ((struct world *)arg)->version = version;
}

static void on_nothing(void *arg) {
}

static void on_follow(void *arg, const char *ip, uint16_t port, uint16_t tls_port, bool foreign) {
}

static void on_drop(void *arg, const uint8_t slots[MAP_SLOTS / 8]) {
}

static void on_pause(void *arg, int64_t until) {
}

static void on_publish(void *arg, struct bytes channel, struct bytes message, bool sharded) {
}

static void on_random(void *arg, void *ret, size_t bytes) {
    struct world *world = arg;
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)ret)[i] = world->random++;
    }
}

static void on_log(void *arg, int level, const char *text) {
}

static const struct brain_world functions = {
    .connect = on_connect,
    .send = on_send,
    .close = on_close,
    .persist = on_persist,
    .changed = on_nothing,
    .follow = on_follow,
    .drop_slots = on_drop,
    .pause = on_pause,
    .flush = on_nothing,
    .publish = on_publish,
    .random = on_random,
    .log = on_log,
};

static struct brain *brain_of(struct world *world, struct bytes file, const struct brain_now *now) {
    const struct brain_settings settings = {
        .node_timeout_ms = 1000,
        .manual_failover_timeout_ms = 1000,
        .blacklist_ttl_s = 60,
        .validity_factor = 10,
        .migration_barrier = 1,
        .gossip_percent = 10,
        .repl_ping_period_s = 10,
        .allow_replica_migration = true,
        .require_full_coverage = true,
        .port = 6379,
        .bus_port = 16379,
    };
    struct text err;
    text_init(&err);
    struct brain *brain = brain_new(&settings, &functions, world, file, now, &err);
    check((brain == NULL) == (err.len > 0));
    text_fini(&err);
    return brain;
}

/* A ping that waits for its answer began when the file was read: times are no part of it. */
static void hide_times(struct text *file) {
    for (size_t i = 0, digits = 0; i < file->len; i++) {
        bool is_digit = file->ptr[i] >= '0' && file->ptr[i] <= '9';
        digits = is_digit ? digits + 1 : 0;
        if (digits == TIME_DIGITS) {
            memset(file->ptr + i + 1 - TIME_DIGITS, 'T', TIME_DIGITS);
        }
    }
}

/* What it would write is read, and what that one writes makes the same again. (The epoch of a
 * replica without a primary is in the first text alone: it means nothing.) */
static void reload(struct brain *brain, const struct brain_now *now) {
    struct world world = {0};
    struct text files[3];
    struct brain *at = brain;
    for (int i = 0; i < 3; i++) {
        text_init(&files[i]);
        brain_file(at, &files[i]);
        if (at != brain) {
            brain_free(at);
        }
        at = i < 2 ? brain_of(&world, text_bytes(&files[i]), now) : NULL;
        check(i == 2 || at != NULL);
    }
    hide_times(&files[1]);
    hide_times(&files[2]);
    if (!bytes_equal(text_bytes(&files[1]), text_bytes(&files[2]))) {
        fprintf(stderr, "%s\nbecame\n%s\n", files[1].ptr, files[2].ptr);
        check(false);
    }
    for (int i = 0; i < 3; i++) {
        text_fini(&files[i]);
    }
}

/* Reads all that is in it. */
static void walk(const struct wire_packet *packet) {
    struct wire_gossip gossip;
    struct wire_update update;
    struct bytes a, b;
    uint16_t type;
    unsigned sum = 0;
    if (packet->type <= WIRE_MEET) {
        for (unsigned i = 0; i < packet->count; i++) {
            wire_gossip_at(packet, i, &gossip);
            sum += (unsigned)gossip.id[0] + (unsigned)gossip.id[WIRE_ID_BYTES - 1] +
                   (unsigned)gossip.ip[0];
        }
        for (size_t at = 0; wire_extension_next(packet, &at, &type, &a);) {
            sum += a.len > 0 ? (unsigned)a.ptr[0] + (unsigned)a.ptr[a.len - 1] : 0;
            sum += wire_extension_text(a, &b) && b.len > 0 ? (unsigned)b.ptr[b.len - 1] : 0;
        }
    } else if (packet->type == WIRE_UPDATE) {
        wire_update_of(packet, &update);
        sum += (unsigned)update.id[0] + update.slots[WIRE_SLOTS_BYTES - 1];
    } else if (packet->type == WIRE_PUBLISH || packet->type == WIRE_PUBLISH_SHARD) {
        wire_publish_of(packet, &a, &b);
        sum += (a.len > 0 ? (unsigned)a.ptr[a.len - 1] : 0) +
               (b.len > 0 ? (unsigned)b.ptr[b.len - 1] : 0);
    }
    volatile unsigned seen = sum;
    (void)seen;
}

/* 40 letters of one kind, as the ids in the seeds are. */
static const char *id_of(uint8_t n, char ret[WIRE_ID_BYTES + 1]) {
    memset(ret, "abcdef0123456789"[n % 16], WIRE_ID_BYTES);
    ret[WIRE_ID_BYTES] = 0;
    return ret;
}

static void make_packet(struct input *in, struct text *out) {
    static uint8_t slots[WIRE_SLOTS_BYTES];
    char sender[WIRE_ID_BYTES + 1], primary[WIRE_ID_BYTES + 1], id[WIRE_ID_BYTES + 1];
    memset(slots, 0, sizeof slots);
    slots[next(in)] = next(in);
    struct wire_packet head = {
        .type = next(in) % WIRE_TYPES,
        .sender = id_of(next(in), sender),
        .ip = next(in) % 2 ? "10.0.0.9" : "",
        .slots = slots,
        .flags = next(in),
        .mflags = next(in) % 8,
        .current_epoch = next(in),
        .config_epoch = next(in),
        .offset = next(in),
        .port = next(in),
        .bus_port = next(in),
        .state = next(in) % 2,
    };
    uint8_t of = next(in);
    head.primary = of % 2 ? id_of(of / 2, primary) : NULL;
    wire_begin(out, &head);
    if (head.type <= WIRE_MEET) {
        for (unsigned n = next(in) % 4; n > 0; n--) {
            struct wire_gossip gossip = {.id = id_of(next(in), id),
                                         .ip = next(in) % 2 ? "10.0.0.8" : "",
                                         .port = next(in),
                                         .bus_port = next(in),
                                         .flags = next(in)};
            wire_put_gossip(out, &gossip);
        }
        for (unsigned n = next(in) % 4; n > 0; n--) {
            uint8_t bytes[16];
            uint16_t type = next(in) % 10;
            unsigned len = next(in) % sizeof bytes;
            for (unsigned i = 0; i < len; i++) {
                bytes[i] = next(in);
            }
            wire_put_extension(out, type, bytes, len);
        }
    } else if (head.type == WIRE_FAIL) {
        wire_put_id(out, id_of(next(in), id));
    } else if (head.type == WIRE_UPDATE) {
        struct wire_update update = {next(in), id_of(next(in), id), slots};
        wire_put_update(out, &update);
    } else if (head.type == WIRE_PUBLISH || head.type == WIRE_PUBLISH_SHARD) {
        wire_put_publish(out, BYTES("channel"), BYTES("message"));
    }
    wire_end(out);
    for (unsigned n = next(in) % 8; n > 0; n--) {
        size_t at = (size_t)next(in) << 8;
        at |= next(in);
        out->ptr[at % out->len] = (char)next(in);
    }
}

/* As who reads from a socket takes it: no byte more than the packet says. */
static void take_packet(struct brain *brain, struct world *world, const struct text *made,
                        const struct brain_now *now) {
    struct wire_packet packet;
    size_t bytes = wire_bytes(made->ptr);
    if (bytes == 0 || bytes > made->len) {
        return;
    }
    char *exact = malloc(bytes);
    memcpy(exact, made->ptr, bytes);
    if (wire_parse(bytes_make(exact, bytes), &packet) == WIRE_GOOD) {
        walk(&packet);
    }
    if (world->link == NULL) {
        world->link = brain_link_accepted(brain, world, "10.0.0.2", "10.0.0.1", now);
    }
    if (world->link != NULL && brain_packet_bytes(world->link, exact) == bytes) {
        brain_packet(brain, world->link, exact, bytes, now);
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world world = {0};
    struct brain_now now = {.mono_ms = 100000, .wall_ms = 1700000000000, .primary_age_ms = -1};
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t len = end != NULL ? (size_t)(end - data) : size;
    struct brain *brain = brain_of(&world, bytes_make((const char *)data, len), &now);
    if (brain == NULL) {
        return 0;
    }
    reload(brain, &now);
    struct input in = {data + len + (end != NULL), data + size};
    struct text packet;
    text_init(&packet);
    while (in.at < in.end) {
        make_packet(&in, &packet);
        take_packet(brain, &world, &packet, &now);
        now.mono_ms += TICK_MS;
        now.wall_ms += TICK_MS;
        brain_tick(brain, &now);
        brain_persisted(brain, world.version, &now);
        map_free(brain_map(brain));
    }
    reload(brain, &now);
    text_fini(&packet);
    brain_free(brain);
    return 0;
}
