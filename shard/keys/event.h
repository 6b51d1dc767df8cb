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
    EVENT_EXPIRE,
    EVENT_EXPIRED,
    EVENT_INCRBY,
    EVENT_INCRBYFLOAT,
    EVENT_KEYMISS,
    EVENT_MOVE_FROM,
    EVENT_MOVE_TO,
    EVENT_NEW,
    EVENT_PERSIST,
    EVENT_RENAME_FROM,
    EVENT_RENAME_TO,
    EVENT_SET,
    EVENT_SETRANGE,
    EVENT_COUNT,
};

struct event_row {
    const char *name;
    char class; /* a letter of notify-keyspace-events */
};
extern const struct event_row event_rows[EVENT_COUNT];

#endif
