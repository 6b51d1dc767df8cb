/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets of the bus: what Valkey 9.1 and Redis 7.0 sent (golden_packets.h) is read, and written
 * again to the byte; what is not whole is refused. */
#include "base/random.h"
#include "cluster/bus/wire.h"
#include "test/unit/golden_packets.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Hexadecimal digits; "*n:" repeats the next byte n times. */
static void unpack(const char *packed, struct text *ret) {
    text_clear(ret);
    for (const char *p = packed; *p != '\0';) {
        unsigned long times = 1;
        if (*p == '*') {
            char *end;
            times = strtoul(p + 1, &end, 10);
            p = end + 1;
        }
        char digits[3] = {p[0], p[1], '\0'};
        char byte = (char)strtoul(digits, NULL, 16);
        for (; times > 0; times--) {
            text_append_char(ret, byte);
        }
        p += 2;
    }
}

static const char *ended(const char *ip, char ret[WIRE_IP_BYTES + 1]) {
    memset(ret, 0, WIRE_IP_BYTES + 1);
    memcpy(ret, ip, strnlen(ip, WIRE_IP_BYTES));
    return ret;
}

/* The same packet, from what was read of it. */
static void rewrite(const struct wire_packet *packet, struct text *ret) {
    char ip[WIRE_IP_BYTES + 1];
    struct bytes channel, message, data;
    struct wire_update update;
    struct wire_gossip gossip;
    uint16_t type;
    struct wire_packet head = *packet;
    if (packet->light) {
        wire_begin_light(ret, packet->type);
    } else {
        head.ip = ended(packet->ip, ip);
        wire_begin(ret, &head);
    }
    switch (packet->type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET:
        for (unsigned i = 0; i < packet->count; i++) {
            wire_gossip_at(packet, i, &gossip);
            gossip.ip = ended(gossip.ip, ip);
            wire_put_gossip(ret, &gossip);
        }
        for (size_t at = 0; wire_extension_next(packet, &at, &type, &data);) {
            wire_put_extension(ret, type, data.ptr, data.len);
        }
        break;
    case WIRE_FAIL:
        wire_put_id(ret, packet->data.ptr);
        break;
    case WIRE_UPDATE:
        wire_update_of(packet, &update);
        wire_put_update(ret, &update);
        break;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        wire_publish_of(packet, &channel, &message);
        wire_put_publish(ret, channel, message);
        break;
    default:
        cr_assert_eq(packet->data.len, 0);
    }
    wire_end(ret);
}

Test(wire, what_peers_sent_is_read_and_written_again) {
    struct text bytes, again;
    text_init(&bytes);
    text_init(&again);
    unsigned seen = 0;
    for (unsigned i = 0; i < sizeof golden_packets / sizeof golden_packets[0]; i++) {
        const char *name = golden_packets[i].name;
        struct wire_packet packet;
        unpack(golden_packets[i].packed, &bytes);
        cr_assert_eq(wire_bytes(bytes.ptr), bytes.len, "%s", name);
        cr_assert_eq(wire_parse(text_bytes(&bytes), &packet), WIRE_GOOD, "%s", name);
        rewrite(&packet, &again);
        cr_assert_eq(again.len, bytes.len, "%s", name);
        cr_assert_eq(memcmp(again.ptr, bytes.ptr, bytes.len), 0, "%s", name);
        seen |= 1U << packet.type;
    }
    unsigned all = (1U << WIRE_TYPES) - 1;
    cr_assert_eq(seen, all & ~(1U << WIRE_MODULE), "%x", seen);
    text_fini(&bytes);
    text_fini(&again);
}

Test(wire, a_length_that_is_not_the_types_is_refused) {
    struct text bytes;
    text_init(&bytes);
    for (unsigned i = 0; i < sizeof golden_packets / sizeof golden_packets[0]; i++) {
        for (int by = -9; by <= 9; by++) {
            struct wire_packet packet;
            unpack(golden_packets[i].packed, &bytes);
            if (by == 0) {
                continue;
            }
            for (int n = 0; n < by; n++) {
                text_append_char(&bytes, 'x');
            }
            bytes.len -= by < 0 ? (size_t)-by : 0;
            cr_assert_eq(wire_parse(text_bytes(&bytes), &packet), WIRE_BAD);
            wire_end(&bytes); /* and when the packet itself says so */
            cr_assert_eq(wire_parse(text_bytes(&bytes), &packet), WIRE_BAD, "%s %d",
                         golden_packets[i].name, by);
        }
    }
    text_fini(&bytes);
}

Test(wire, other_versions_and_types_are_strange) {
    struct text bytes;
    struct wire_packet packet;
    text_init(&bytes);
    unpack(golden_packets[0].packed, &bytes);
    bytes.ptr[9] = 2;
    cr_assert_eq(wire_parse(text_bytes(&bytes), &packet), WIRE_STRANGE);
    bytes.ptr[9] = 1;
    bytes.ptr[13] = 77;
    cr_assert_eq(wire_parse(text_bytes(&bytes), &packet), WIRE_STRANGE);
    bytes.ptr[0] = 'r';
    cr_assert_eq(wire_bytes(bytes.ptr), 0);
    cr_assert_eq(wire_parse(text_bytes(&bytes), &packet), WIRE_BAD);
    text_fini(&bytes);
}

/* Whatever is parsed, what the readers give lies in the packet: the sanitizers look. */
Test(wire, bytes_that_were_turned_never_lead_outside) {
    struct rng rng;
    struct text bytes, again;
    text_init(&bytes);
    text_init(&again);
    rng_seed(&rng, 1);
    unsigned good = 0;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)rng_below(&rng, sizeof golden_packets / sizeof golden_packets[0]);
        unpack(golden_packets[i].packed, &bytes);
        for (unsigned n = 1 + (unsigned)rng_below(&rng, 4); n > 0; n--) {
            size_t at = rng_below(&rng, 3) == 0 ? rng_below(&rng, 16) : rng_below(&rng, bytes.len);
            if (rng_below(&rng, 3) == 0 && bytes.len > 2256) {
                at = 2200 + rng_below(&rng, bytes.len - 2200);
            }
            bytes.ptr[at] = (char)rng_next(&rng);
        }
        char *exact = malloc(bytes.len); /* nothing lies behind it */
        memcpy(exact, bytes.ptr, bytes.len);
        struct wire_packet packet;
        if (wire_parse(bytes_make(exact, bytes.len), &packet) == WIRE_GOOD &&
            packet.type != WIRE_MODULE && (packet.data.len == 0 || packet.type != WIRE_MFSTART)) {
            rewrite(&packet, &again);
            cr_assert_eq(again.len, bytes.len);
            good++;
        }
        free(exact);
    }
    cr_assert(good > 1000, "%u", good);
    text_fini(&bytes);
    text_fini(&again);
}
