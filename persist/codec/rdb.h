/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb: the words of the RDB format, as Redis and Valkey write and read it in files, dumps of values
 * and replication.
 *
 *     file:  magic and version, then items: [deadline] [idle or frequency] type key value,
 *            or an opcode and what belongs to it; END and a checksum
 *     dump:  type value, version (2 bytes), checksum (8 bytes)
 *
 * Numbers that count or measure are lengths of 1, 2, 5 or 9 bytes; texts are a length and bytes, or
 * a small number, or compressed by LZF. Everything is little endian but lengths.
 *
 * The version is a parameter of whoever writes: a file, a dump and a replica ask for different
 * ones. What is written is of the lowest version, and of the oldest types, that carry the value, so
 * that the oldest reader can have it (Redis 7.0: 10).
 *
 * Thread: any; words only.
 */
#ifndef SHOAL_PERSIST_CODEC_RDB_H
#define SHOAL_PERSIST_CODEC_RDB_H

/* Versions. Of Redis 1 to 11; of Valkey 80; those between are Redis's again, with types of their
 * own: 12 is of 7.4 to 8.4, 13 of 8.6. */
#define RDB_VERSION_MIN        10 /* what the oldest reader that we write for knows: Redis 7.0 */
#define RDB_VERSION_SHARED     11 /* the last that Redis and Valkey mean the same by */
#define RDB_VERSION_REDIS      12 /* the first of Redis alone */
#define RDB_VERSION_REDIS_LAST 13 /* of those that are known; later ones may be read as well */
#define RDB_VERSION_VALKEY     80

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3,
    RDB_HASH = 4,
    RDB_ZSET_2 = 5,
    RDB_MODULE_PRE = 6,
    RDB_MODULE_2 = 7,
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14,
    RDB_STREAM = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_2 = 19,
    RDB_SET_LISTPACK = 20, /* from version 11 on */
    RDB_STREAM_3 = 21,     /* from version 11 on */
    RDB_HASH_2 = 22,       /* fields with deadlines: version 80 */
    /* The same in Redis's words: versions 12 to 79. It has no other name for 23 that was released. */
    RDB_HASH_DEADLINES = 24,
    RDB_HASH_LISTPACK_DEADLINES = 25,
    RDB_TYPES = 26,
};

enum rdb_opcode {
    RDB_SLOT_IMPORT = 243, /* of Valkey; of Redis what modules know of the key that comes */
    RDB_SLOT_INFO = 244,
    RDB_FUNCTION = 245,
    RDB_FUNCTION_PRE = 246,
    RDB_MODULE_AUX = 247,
    RDB_IDLE = 248,
    RDB_FREQUENCY = 249,
    RDB_AUX = 250,
    RDB_RESIZE = 251,
    RDB_EXPIRY_MS = 252,
    RDB_EXPIRY_SECONDS = 253,
    RDB_SELECT = 254,
    RDB_END = 255,
};

/* The first byte of a length: its two leading bits. */
enum rdb_length {
    RDB_LENGTH_6 = 0x00,
    RDB_LENGTH_14 = 0x40,
    RDB_LENGTH_32 = 0x80,
    RDB_LENGTH_64 = 0x81,
    /* Of a text only: no length. */
    RDB_TEXT_INT8 = 0xc0,
    RDB_TEXT_INT16 = 0xc1,
    RDB_TEXT_INT32 = 0xc2,
    RDB_TEXT_LZF = 0xc3,
};

/* Nodes of RDB_LIST_QUICKLIST_2. */
enum rdb_node { RDB_NODE_PLAIN = 1, RDB_NODE_PACKED = 2 };

/* What stands behind a dump's value. */
#define RDB_FOOTER_BYTES 10

#endif
