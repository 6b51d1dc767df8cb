/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and classes as Valkey 9.1 publishes them: asked of one with notify-keyspace-events KEAnm.
 */
#include "shard/keys/event.h"

const struct event_row event_rows[EVENT_COUNT] = {
    [EVENT_NONE] = {"", 0},
    [EVENT_APPEND] = {"append", '$'},
    [EVENT_COPY_TO] = {"copy_to", 'g'},
    [EVENT_DEL] = {"del", 'g'},
    [EVENT_EXPIRE] = {"expire", 'g'},
    [EVENT_EXPIRED] = {"expired", 'x'},
    [EVENT_INCRBY] = {"incrby", '$'},
    [EVENT_INCRBYFLOAT] = {"incrbyfloat", '$'},
    [EVENT_KEYMISS] = {"keymiss", 'm'},
    [EVENT_MOVE_FROM] = {"move_from", 'g'},
    [EVENT_MOVE_TO] = {"move_to", 'g'},
    [EVENT_NEW] = {"new", 'n'},
    [EVENT_PERSIST] = {"persist", 'g'},
    [EVENT_RENAME_FROM] = {"rename_from", 'g'},
    [EVENT_RENAME_TO] = {"rename_to", 'g'},
    [EVENT_SET] = {"set", '$'},
    [EVENT_SETRANGE] = {"setrange", '$'},
};
