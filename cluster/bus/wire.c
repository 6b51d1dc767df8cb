/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths are checked once, in wire_parse, against what the type and the counts of a packet call
 * for: to the byte, as peers do, so that both sides agree about what is a packet. Everything that
 * reads afterwards walks what has been measured.
 *
 * Places in the header are numbers here, not a struct laid over it: the compiler may not lay out
 * what others have fixed.
 */
#include "cluster/bus/wire.h"

#include "base/check.h"

enum { /* places in the header */
       AT_BYTES = 4,
       AT_VERSION = 8,
       AT_PORT = 10,
       AT_TYPE = 12,
       AT_COUNT = 14,
       AT_CURRENT_EPOCH = 16,
       AT_CONFIG_EPOCH = 24,
       AT_OFFSET = 32,
       AT_SENDER = 40,
       AT_SLOTS = 80,
       AT_PRIMARY = 2128,
       AT_IP = 2168,
       AT_EXTENSIONS = 2214,
       AT_OTHER_PORT = 2246,
       AT_BUS_PORT = 2248,
       AT_FLAGS = 2250,
       AT_STATE = 2252,
       AT_MFLAGS = 2253,
};

enum { /* places in an entry of gossip */
       AT_GOSSIP_PING = 40,
       AT_GOSSIP_PONG = 44,
       AT_GOSSIP_IP = 48,
       AT_GOSSIP_PORT = 94,
       AT_GOSSIP_BUS_PORT = 96,
       AT_GOSSIP_FLAGS = 98,
       AT_GOSSIP_OTHER_PORT = 100,
};

#define VERSION              1
#define LIGHT_TYPE           12 /* where a light header has its type: the same place */
#define EXTENSION_HEAD_BYTES 8
#define PUBLISH_HEAD_BYTES   8
#define MODULE_HEAD_BYTES    13

static const char signature[4] = {'R', 'C', 'm', 'b'};
static const char no_id[WIRE_ID_BYTES];

static void put_u16(void *at, uint16_t value) {
    uint8_t *p = at;
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put_u32(void *at, uint32_t value) {
    put_u16(at, (uint16_t)(value >> 16));
    put_u16((uint8_t *)at + 2, (uint16_t)value);
}

static void put_u64(void *at, uint64_t value) {
    put_u32(at, (uint32_t)(value >> 32));
    put_u32((uint8_t *)at + 4, (uint32_t)value);
}

/* ---- Reading ---- */

enum wire_type wire_type_of(const void *head) {
    return (enum wire_type)(wire_u16((const char *)head + AT_TYPE) & ~WIRE_LIGHT);
}

size_t wire_bytes(const void *head) {
    const char *p = head;
    size_t bytes = wire_u32(p + AT_BYTES);
    bool light = (wire_u16(p + AT_TYPE) & WIRE_LIGHT) != 0;
    if (memcmp(p, signature, sizeof signature) != 0) {
        return 0;
    }
    return bytes < (light ? WIRE_LIGHT_BYTES : WIRE_HEADER_BYTES) ? 0 : bytes;
}

/* How long the extensions are; SIZE_MAX: not as they say. */
static size_t extensions_bytes(struct bytes data, size_t at, unsigned count) {
    size_t begin = at;
    for (; count > 0; count--) {
        if (data.len - at < EXTENSION_HEAD_BYTES) {
            return SIZE_MAX;
        }
        size_t bytes = wire_u32(data.ptr + at);
        if (bytes < EXTENSION_HEAD_BYTES || bytes % 8 != 0 || bytes > data.len - at) {
            return SIZE_MAX;
        }
        at += bytes;
    }
    return at - begin;
}

/* The length that the data must have; SIZE_MAX: it cannot be. */
static uint64_t data_bytes(const struct wire_packet *packet) {
    struct bytes data = packet->data;
    switch (packet->type) {
    case WIRE_PING:
    case WIRE_PONG:
    case WIRE_MEET: {
        size_t gossip = (size_t)packet->count * WIRE_GOSSIP_BYTES;
        if (!(packet->mflags & WIRE_EXTENSIONS) || packet->extensions == 0) {
            return gossip;
        }
        if (gossip > data.len) {
            return SIZE_MAX;
        }
        size_t extensions = extensions_bytes(data, gossip, packet->extensions);
        return extensions == SIZE_MAX ? SIZE_MAX : gossip + extensions;
    }
    case WIRE_FAIL:
        return WIRE_ID_BYTES;
    case WIRE_UPDATE:
        return WIRE_UPDATE_BYTES;
    case WIRE_PUBLISH:
    case WIRE_PUBLISH_SHARD:
        return data.len < PUBLISH_HEAD_BYTES
                   ? SIZE_MAX
                   : (uint64_t)PUBLISH_HEAD_BYTES + wire_u32(data.ptr) + wire_u32(data.ptr + 4);
    case WIRE_MODULE:
        return data.len < MODULE_HEAD_BYTES ? SIZE_MAX
                                            : (uint64_t)MODULE_HEAD_BYTES + wire_u32(data.ptr + 8);
    default:
        return 0; /* a header alone */
    }
}

enum wire_verdict wire_parse(struct bytes bytes, struct wire_packet *ret) {
    const char *p = bytes.ptr;
    memset(ret, 0, sizeof *ret);
    if (bytes.len < WIRE_LIGHT_BYTES || wire_bytes(p) != bytes.len) {
        return WIRE_BAD;
    }
    if (wire_u16(p + AT_VERSION) != VERSION) {
        return WIRE_STRANGE;
    }
    uint16_t type = wire_u16(p + AT_TYPE);
    ret->light = (type & WIRE_LIGHT) != 0;
    ret->type = type & (uint16_t)~WIRE_LIGHT;
    if (ret->type >= WIRE_TYPES) {
        return WIRE_STRANGE;
    }
    size_t head = ret->light ? WIRE_LIGHT_BYTES : WIRE_HEADER_BYTES;
    ret->data = bytes_make(p + head, bytes.len - head);
    if (ret->light) {
        if (ret->type != WIRE_PUBLISH && ret->type != WIRE_PUBLISH_SHARD &&
            ret->type != WIRE_MODULE) {
            return WIRE_BAD;
        }
    } else {
        ret->count = wire_u16(p + AT_COUNT);
        ret->extensions = wire_u16(p + AT_EXTENSIONS);
        ret->port = wire_u16(p + AT_PORT);
        ret->other_port = wire_u16(p + AT_OTHER_PORT);
        ret->bus_port = wire_u16(p + AT_BUS_PORT);
        ret->flags = wire_u16(p + AT_FLAGS);
        ret->state = (uint8_t)p[AT_STATE];
        ret->mflags = (uint8_t)p[AT_MFLAGS];
        ret->current_epoch = wire_u64(p + AT_CURRENT_EPOCH);
        ret->config_epoch = wire_u64(p + AT_CONFIG_EPOCH);
        ret->offset = wire_u64(p + AT_OFFSET);
        ret->sender = p + AT_SENDER;
        ret->primary = memcmp(p + AT_PRIMARY, no_id, sizeof no_id) == 0 ? NULL : p + AT_PRIMARY;
        ret->ip = p + AT_IP;
        ret->slots = (const uint8_t *)p + AT_SLOTS;
    }
    return data_bytes(ret) == ret->data.len ? WIRE_GOOD : WIRE_BAD;
}

void wire_gossip_at(const struct wire_packet *packet, unsigned i, struct wire_gossip *ret) {
    check(i < packet->count);
    const char *p = packet->data.ptr + (size_t)i * WIRE_GOSSIP_BYTES;
    ret->id = p;
    ret->ip = p + AT_GOSSIP_IP;
    ret->ping_s = wire_u32(p + AT_GOSSIP_PING);
    ret->pong_s = wire_u32(p + AT_GOSSIP_PONG);
    ret->port = wire_u16(p + AT_GOSSIP_PORT);
    ret->bus_port = wire_u16(p + AT_GOSSIP_BUS_PORT);
    ret->flags = wire_u16(p + AT_GOSSIP_FLAGS);
    ret->other_port = wire_u16(p + AT_GOSSIP_OTHER_PORT);
}

bool wire_extension_next(const struct wire_packet *packet, size_t *at, uint16_t *ret_type,
                         struct bytes *ret_data) {
    size_t place = (size_t)packet->count * WIRE_GOSSIP_BYTES + *at;
    if (place >= packet->data.len) { /* wire_parse saw to it that there is nothing else behind */
        return false;
    }
    const char *p = packet->data.ptr + place;
    size_t bytes = wire_u32(p);
    *ret_type = wire_u16(p + 4);
    *ret_data = bytes_make(p + EXTENSION_HEAD_BYTES, bytes - EXTENSION_HEAD_BYTES);
    *at += bytes;
    return true;
}

bool wire_extension_text(struct bytes data, struct bytes *ret) {
    const char *end = data.len > 0 ? memchr(data.ptr, '\0', data.len) : NULL;
    if (end != NULL) {
        *ret = bytes_make(data.ptr, (size_t)(end - data.ptr));
    }
    return end != NULL;
}

void wire_update_of(const struct wire_packet *packet, struct wire_update *ret) {
    check(packet->type == WIRE_UPDATE);
    ret->config_epoch = wire_u64(packet->data.ptr);
    ret->id = packet->data.ptr + 8;
    ret->slots = (const uint8_t *)packet->data.ptr + 8 + WIRE_ID_BYTES;
}

void wire_publish_of(const struct wire_packet *packet, struct bytes *ret_channel,
                     struct bytes *ret_message) {
    check(packet->type == WIRE_PUBLISH || packet->type == WIRE_PUBLISH_SHARD);
    const char *p = packet->data.ptr;
    *ret_channel = bytes_make(p + PUBLISH_HEAD_BYTES, wire_u32(p));
    *ret_message = bytes_make(ret_channel->ptr + ret_channel->len, wire_u32(p + 4));
}

/* ---- Writing ---- */

/* n zeroed bytes at the end. */
static char *room(struct text *out, size_t n) {
    text_reserve(out, n);
    char *p = out->ptr + out->len;
    memset(p, 0, n + 1);
    out->len += n;
    return p;
}

static void put_ip(char *at, const char *ip) {
    size_t n = strnlen(ip, WIRE_IP_BYTES - 1);
    memcpy(at, ip, n);
}

void wire_begin(struct text *out, const struct wire_packet *head) {
    text_clear(out);
    char *p = room(out, WIRE_HEADER_BYTES);
    memcpy(p, signature, sizeof signature);
    put_u16(p + AT_VERSION, VERSION);
    put_u16(p + AT_PORT, head->port);
    put_u16(p + AT_TYPE, head->type);
    put_u64(p + AT_CURRENT_EPOCH, head->current_epoch);
    put_u64(p + AT_CONFIG_EPOCH, head->config_epoch);
    put_u64(p + AT_OFFSET, head->offset);
    memcpy(p + AT_SENDER, head->sender, WIRE_ID_BYTES);
    memcpy(p + AT_SLOTS, head->slots, WIRE_SLOTS_BYTES);
    if (head->primary != NULL) {
        memcpy(p + AT_PRIMARY, head->primary, WIRE_ID_BYTES);
    }
    put_ip(p + AT_IP, head->ip);
    put_u16(p + AT_OTHER_PORT, head->other_port);
    put_u16(p + AT_BUS_PORT, head->bus_port);
    put_u16(p + AT_FLAGS, head->flags);
    p[AT_STATE] = (char)head->state;
    p[AT_MFLAGS] = (char)head->mflags;
}

void wire_begin_light(struct text *out, enum wire_type type) {
    text_clear(out);
    char *p = room(out, WIRE_LIGHT_BYTES);
    memcpy(p, signature, sizeof signature);
    put_u16(p + AT_VERSION, VERSION);
    put_u16(p + LIGHT_TYPE, (uint16_t)(type | WIRE_LIGHT));
}

static void count_up(struct text *out, size_t at) {
    put_u16(out->ptr + at, (uint16_t)(wire_u16(out->ptr + at) + 1));
}

void wire_put_gossip(struct text *out, const struct wire_gossip *gossip) {
    char *p = room(out, WIRE_GOSSIP_BYTES);
    memcpy(p, gossip->id, WIRE_ID_BYTES);
    put_u32(p + AT_GOSSIP_PING, gossip->ping_s);
    put_u32(p + AT_GOSSIP_PONG, gossip->pong_s);
    put_ip(p + AT_GOSSIP_IP, gossip->ip);
    put_u16(p + AT_GOSSIP_PORT, gossip->port);
    put_u16(p + AT_GOSSIP_BUS_PORT, gossip->bus_port);
    put_u16(p + AT_GOSSIP_FLAGS, gossip->flags);
    put_u16(p + AT_GOSSIP_OTHER_PORT, gossip->other_port);
    count_up(out, AT_COUNT);
}

void wire_put_extension(struct text *out, enum wire_extension type, const void *data, size_t n) {
    size_t bytes = (EXTENSION_HEAD_BYTES + n + 7) / 8 * 8;
    char *p = room(out, bytes);
    put_u32(p, (uint32_t)bytes);
    put_u16(p + 4, (uint16_t)type);
    memcpy(p + EXTENSION_HEAD_BYTES, data, n);
    count_up(out, AT_EXTENSIONS);
}

void wire_put_extension_text(struct text *out, enum wire_extension type, const char *text) {
    wire_put_extension(out, type, text, strlen(text) + 1);
}

void wire_put_extension_port(struct text *out, enum wire_extension type, uint16_t port) {
    char bytes[2];
    put_u16(bytes, port);
    wire_put_extension(out, type, bytes, sizeof bytes);
}

void wire_put_forgotten(struct text *out, const char *id, uint64_t seconds) {
    char bytes[WIRE_ID_BYTES + 8];
    memcpy(bytes, id, WIRE_ID_BYTES);
    put_u64(bytes + WIRE_ID_BYTES, seconds);
    wire_put_extension(out, WIRE_EXT_FORGOTTEN, bytes, sizeof bytes);
}

void wire_put_id(struct text *out, const char *id) {
    memcpy(room(out, WIRE_ID_BYTES), id, WIRE_ID_BYTES);
}

void wire_put_update(struct text *out, const struct wire_update *update) {
    char *p = room(out, WIRE_UPDATE_BYTES);
    put_u64(p, update->config_epoch);
    memcpy(p + 8, update->id, WIRE_ID_BYTES);
    memcpy(p + 8 + WIRE_ID_BYTES, update->slots, WIRE_SLOTS_BYTES);
}

void wire_put_publish(struct text *out, struct bytes channel, struct bytes message) {
    char *p = room(out, PUBLISH_HEAD_BYTES);
    put_u32(p, (uint32_t)channel.len);
    put_u32(p + 4, (uint32_t)message.len);
    text_append_bytes(out, channel);
    text_append_bytes(out, message);
}

void wire_end(struct text *out) {
    put_u32(out->ptr + AT_BYTES, (uint32_t)out->len);
}
