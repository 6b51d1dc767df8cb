/* SPDX-License-Identifier: BSD-3-Clause */
/* event: what happened to a key, by the names that keyspace notifications give.
 *
 * Every change of a key ends with one of these: who changes says what it was. A command of a new
 * type adds its own.
 *
 * Thread: any; constant.
 */
#ifndef SHOAL_SHARD_KEYS_EVENT_H
#define SHOAL_SHARD_KEYS_EVENT_H

enum key_event {
    EVENT_NONE, /* nothing was changed after all */
    EVENT_APPEND,
    EVENT_COPY_TO,
    EVENT_DEL,
    EVENT_EVICTED,
    EVENT_EXPIRE,
    EVENT_EXPIRED,
    EVENT_GEORADIUSSTORE,
    EVENT_GEOSEARCHSTORE,
    EVENT_HDEL,
    EVENT_HEXPIRE,
    EVENT_HEXPIRED, /* a command did it */
    EVENT_HEXPIRED_IN_TIME,
    EVENT_HINCRBY,
    EVENT_HINCRBYFLOAT,
    EVENT_HPERSIST,
    EVENT_HSET,
    EVENT_INCRBY,
    EVENT_INCRBYFLOAT,
    EVENT_KEYMISS,
    EVENT_LINSERT,
    EVENT_LPOP,
    EVENT_LPUSH,
    EVENT_LREM,
    EVENT_LSET,
    EVENT_LTRIM,
    EVENT_MOVE_FROM,
    EVENT_MOVE_TO,
    EVENT_NEW,
    EVENT_PERSIST,
    EVENT_PFADD,
    EVENT_PFCOUNT, /* it has a cached count now: a change, but notifications do not tell of it */
    EVENT_RENAME_FROM,
    EVENT_RENAME_TO,
    EVENT_RESTORE,
    EVENT_RPOP,
    EVENT_RPUSH,
    EVENT_SADD,
    EVENT_SDIFFSTORE,
    EVENT_SET,
    EVENT_SETBIT,
    EVENT_SETRANGE,
    EVENT_SINTERSTORE,
    EVENT_SORTSTORE,
    EVENT_SPOP,
    EVENT_SREM,
    EVENT_SUNIONSTORE,
    EVENT_XADD,
    EVENT_XDEL,
    EVENT_XGROUP_CREATE,
    EVENT_XGROUP_CREATECONSUMER,
    EVENT_XGROUP_DELCONSUMER,
    EVENT_XGROUP_DESTROY,
    EVENT_XGROUP_SETID,
    EVENT_XSETID,
    EVENT_XTRIM,
    EVENT_ZADD,
    EVENT_ZDIFFSTORE,
    EVENT_ZINCR,
    EVENT_ZINTERSTORE,
    EVENT_ZPOPMAX,
    EVENT_ZPOPMIN,
    EVENT_ZRANGESTORE,
    EVENT_ZREM,
    EVENT_ZREMRANGEBYLEX,
    EVENT_ZREMRANGEBYRANK,
    EVENT_ZREMRANGEBYSCORE,
    EVENT_ZUNIONSTORE,
    EVENT_COUNT,
};

struct event_row {
    const char *name;
    char class; /* a letter of notify-keyspace-events; 0: they do not tell of it */
};
extern const struct event_row event_rows[EVENT_COUNT];

#endif
