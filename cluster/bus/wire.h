/* SPDX-License-Identifier: BSD-3-Clause */
/* wire: packets of the cluster bus, from bytes and to bytes, as Valkey 9.1 and Redis 7.0 have them.
 *
 * A packet is a header of 2256 bytes and what its type says, or, between nodes that have told each
 * other so, a light header of 16. All numbers are big-endian. A packet that wire_parse took has
 * the length that its type and counts call for, and all that the functions below read lies in it.
 *
 * Thread: any; pure. What is read points into the packet.
 */
#ifndef SHOAL_CLUSTER_BUS_WIRE_H
#define SHOAL_CLUSTER_BUS_WIRE_H

#include "base/bytes.h"
#include "base/text.h"

#define WIRE_ID_BYTES     40
#define WIRE_IP_BYTES     46
#define WIRE_SLOTS_BYTES  2048
#define WIRE_HEADER_BYTES 2256
#define WIRE_LIGHT_BYTES  16
#define WIRE_GOSSIP_BYTES 104
#define WIRE_UPDATE_BYTES 2096
#define WIRE_LIGHT        0x8000 /* in the type */

enum wire_type {
    WIRE_PING,
    WIRE_PONG,
    WIRE_MEET,
    WIRE_FAIL,
    WIRE_PUBLISH,
    WIRE_AUTH_REQUEST,
    WIRE_AUTH_ACK,
    WIRE_UPDATE,
    WIRE_MFSTART,
    WIRE_MODULE,
    WIRE_PUBLISH_SHARD,
    WIRE_TYPES,
};

enum wire_mflag {
    WIRE_PAUSED = 1,     /* a primary whose writes stand still for a manual failover */
    WIRE_FORCE_ACK = 2,  /* vote although you have not seen the primary fail */
    WIRE_EXTENSIONS = 4, /* extensions follow; in other packets: they are understood */
};

enum wire_extension {
    WIRE_EXT_HOSTNAME,
    WIRE_EXT_HUMAN_NAME,
    WIRE_EXT_FORGOTTEN, /* id, seconds */
    WIRE_EXT_SHARD_ID,
    WIRE_EXT_CLIENT_IPV4,
    WIRE_EXT_CLIENT_IPV6,
    WIRE_EXT_CLIENT_PORT,
    WIRE_EXT_CLIENT_TLS_PORT,
    WIRE_EXT_ZONE,
};

/* What a full header says; of a light one type, light and data alone are set. */
struct wire_packet {
    uint16_t type; /* without WIRE_LIGHT */
    bool light;
    uint16_t count, extensions; /* entries of gossip, and behind them */
    uint16_t port, other_port, bus_port;
    uint16_t flags; /* enum map_flag */
    uint8_t state;  /* 0: ok */
    uint8_t mflags; /* enum wire_mflag */
    uint64_t current_epoch, config_epoch, offset;
    const char *sender;   /* 40 bytes, no NUL */
    const char *primary;  /* the same, or NULL: the sender is a primary */
    const char *ip;       /* up to 46 bytes; "": that of the connection */
    const uint8_t *slots; /* 2048 bytes; bit n % 8 of byte n / 8 */
    struct bytes data;
};

enum wire_verdict {
    WIRE_GOOD,
    WIRE_STRANGE, /* another version, or a type of the future: to be ignored */
    WIRE_BAD,
};

/* The whole length of the packet that starts with these 16 bytes; 0: none starts here. Up to 4 GiB:
 * who receives says how much is too much. */
size_t wire_bytes(const void *head);
enum wire_type wire_type_of(const void *head);
enum wire_verdict wire_parse(struct bytes packet, struct wire_packet *ret);

struct wire_gossip {
    const char *id; /* 40 bytes */
    const char *ip; /* up to 46 bytes; when writing: ended by a NUL */
    uint32_t ping_s, pong_s;
    uint16_t port, other_port, bus_port, flags;
};
/* Entry i < count of a PING, PONG or MEET. */
void wire_gossip_at(const struct wire_packet *packet, unsigned i, struct wire_gossip *ret);
/* The extension at *at (0 at first), which moves on; false: there is none any more. */
bool wire_extension_next(const struct wire_packet *packet, size_t *at, uint16_t *ret_type,
                         struct bytes *ret_data);
/* What an extension that is a text says: up to its NUL. False: it has none. */
bool wire_extension_text(struct bytes data, struct bytes *ret);

struct wire_update {
    uint64_t config_epoch;
    const char *id;
    const uint8_t *slots;
};
void wire_update_of(const struct wire_packet *packet, struct wire_update *ret);
void wire_publish_of(const struct wire_packet *packet, struct bytes *ret_channel,
                     struct bytes *ret_message);

/* ---- Writing: begin, what follows in the order of the type, end. ---- */

/* Empties `out`, and writes a full header of what `head` says; its data, count and extensions are
 * not looked at. */
void wire_begin(struct text *out, const struct wire_packet *head);
void wire_put_gossip(struct text *out, const struct wire_gossip *gossip);
void wire_put_extension(struct text *out, enum wire_extension type, const void *data, size_t n);
void wire_put_extension_text(struct text *out, enum wire_extension type, const char *text);
void wire_put_extension_port(struct text *out, enum wire_extension type, uint16_t port);
void wire_put_forgotten(struct text *out, const char *id, uint64_t seconds);
void wire_put_id(struct text *out, const char *id); /* FAIL */
void wire_put_update(struct text *out, const struct wire_update *update);
void wire_put_publish(struct text *out, struct bytes channel, struct bytes message);
void wire_begin_light(struct text *out, enum wire_type type);
void wire_end(struct text *out);

/* Numbers of the wire. */
static inline uint16_t wire_u16(const void *at) {
    const uint8_t *p = at;
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t wire_u32(const void *at) {
    const uint8_t *p = at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t wire_u64(const void *at) {
    return (uint64_t)wire_u32(at) << 32 | wire_u32((const uint8_t *)at + 4);
}

#endif
