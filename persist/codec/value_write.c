/* SPDX-License-Identifier: BSD-3-Clause */
/* A writer is a place in its value: a cursor of the value's form, a list's index, a rank, or for a
 * stream a stage and an id. So it can stop anywhere, and holds nothing.
 */
#include "persist/codec/value_write.h"

#include "base/check.h"
#include "persist/codec/rdb_write.h"
#include "shard/keys/keyspace.h"
#include "shard/types/list.h"
#include "shard/types/packed.h"
#include "shard/types/set.h"
#include "shard/types/stream_group.h"
#include "shard/types/string.h"
#include "shard/types/zset.h"

/* Elements between two looks at the budget. */
#define AT_ONCE 32

static bool has_deadlines(const struct value *value) {
    return value_elements_due(&value_forms, value) != NO_EXPIRY;
}

unsigned value_write_version(const struct value *value) {
    return has_deadlines(value) ? RDB_VERSION_VALKEY : RDB_VERSION_MIN;
}

/* ---- What it is written as ---- */

static enum rdb_type type_of(const struct value *value, unsigned version) {
    bool packed = value_is_listpack(value);
    switch ((enum value_type)value->type) {
    case TYPE_LIST:
        return RDB_LIST_QUICKLIST_2;
    case TYPE_SET:
        if (packed && version >= RDB_VERSION_SHARED) {
            return RDB_SET_LISTPACK;
        }
        return value_is_intset(value) ? RDB_SET_INTSET : RDB_SET;
    case TYPE_ZSET:
        return packed ? RDB_ZSET_LISTPACK : RDB_ZSET_2;
    case TYPE_HASH:
        if (has_deadlines(value)) {
            return RDB_HASH_2;
        }
        return packed ? RDB_HASH_LISTPACK : RDB_HASH;
    case TYPE_STREAM:
        return version >= RDB_VERSION_SHARED ? RDB_STREAM_3 : RDB_STREAM_2;
    default:
        return RDB_STRING;
    }
}

bool value_write_begin(struct value_write *write, const struct value *value, unsigned version,
                       bool compress) {
    *write = (struct value_write){
        .value = *value,
        .version = version,
        .compress = compress,
    };
    check(version >= RDB_VERSION_MIN);
    write->type = type_of(value, version);
    return value_write_version(value) <= version;
}

/* ---- Rows of bytes ---- */

static void put(const struct value_write *write, struct text *out, struct bytes text) {
    rdb_put_text(out, text, write->compress);
}

static void put_string(struct value_write *write, struct text *out) {
    if (write->value.form == FORM_INT) {
        rdb_put_int(out, write->value.number);
        return;
    }
    char scratch[NUMBER_TEXT_BYTES];
    put(write, out, string_value_bytes(&write->value, scratch));
}

/* ---- Tables ---- */

struct visit {
    struct value_write *write;
    struct text *out;
};

void value_write_element(const struct value_write *write, const struct value_element *element,
                         struct text *out) {
    put(write, out, element->first);
    if (write->value.type == TYPE_HASH) {
        put(write, out, element->second);
    }
    if (write->value.type == TYPE_ZSET) {
        rdb_put_double(out, element->score);
    }
    if (write->type == RDB_HASH_2) {
        int64_t deadline = element->deadline != 0 ? element->deadline : NO_EXPIRY;
        rdb_put_u64(out, (uint64_t)deadline);
    }
}

static void put_element(void *arg, const struct value_element *element) {
    struct visit *visit = arg;
    value_write_element(visit->write, element, visit->out);
}

static bool put_walk(struct value_write *write, struct text *out, size_t end) {
    const struct form *form = forms_find(&value_forms, &write->value);
    struct visit visit = {write, out};
    do {
        write->cursor = form->walk(&write->value, write->cursor, AT_ONCE, put_element, &visit);
    } while (write->cursor != 0 && out->len < end);
    return write->cursor == 0;
}

/* ---- Lists ---- */

static void put_node(struct value_write *write, struct text *out, enum rdb_node kind,
                     struct bytes bytes) {
    rdb_put_length(out, kind);
    put(write, out, bytes);
}

/* The cursor is the index of a node's first element. */
static bool put_nodes(struct value_write *write, struct text *out, size_t end) {
    struct quicklist_iter iter;
    uint64_t count = list_count(&write->value);
    while (write->cursor < count && out->len < end) {
        list_iter_open(&iter, &write->value, write->cursor, false);
        if (iter.lp != NULL) {
            put_node(write, out, RDB_NODE_PACKED, bytes_make(iter.lp, listpack_bytes(iter.lp)));
            write->cursor += listpack_count(iter.lp);
        } else {
            put_node(write, out, RDB_NODE_PLAIN, iter.plain);
            write->cursor++;
        }
        quicklist_iter_close(&iter);
    }
    return write->cursor >= count;
}

/* ---- Sorted sets: the highest score first ---- */

static bool put_scores(struct value_write *write, struct text *out, size_t end) {
    uint64_t count = zset_count(&write->value);
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, &write->value, count - 1 - write->cursor, true);
    while (write->cursor < count && out->len < end && zset_walk_next(&walk, &item)) {
        put(write, out, item.member);
        rdb_put_double(out, item.score);
        write->cursor++;
    }
    return write->cursor >= count;
}

/* ---- Streams ---- */

static void put_id(struct text *out, struct stream_id id) {
    rdb_put_length(out, id.ms);
    rdb_put_length(out, id.seq);
}

/* Sixteen bytes, which sort as ids do. */
static void raw_id(struct stream_id id, char raw[16]) {
    uint64_t halves[] = {__builtin_bswap64(id.ms), __builtin_bswap64(id.seq)};
    memcpy(raw, halves, sizeof(halves));
}

static void put_raw_id(struct text *out, struct stream_id id) {
    char raw[16];
    raw_id(id, raw);
    text_append(out, raw, sizeof(raw));
}

/* Where it goes on after this one; false: nothing can come after it. */
static bool go_on_after(struct value_write *write, struct stream_id id) {
    write->from = id;
    return stream_id_up(&write->from);
}

static void put_stream_end(struct value_write *write, struct text *out,
                           const struct stream *stream) {
    rdb_put_length(out, stream->length);
    put_id(out, stream->last);
    put_id(out, stream->first);
    put_id(out, stream->max_deleted);
    rdb_put_length(out, stream->entries_added);
    rdb_put_length(out, stream->groups_count);
}

static enum value_write_stage put_listpacks(struct value_write *write, struct text *out, size_t end,
                                            const struct stream *stream) {
    struct idtree_place place;
    bool more = idtree_from(&stream->nodes, write->from, &place);
    while (more && out->len < end) {
        const char *lp = idtree_get(&place);
        char raw[16];
        raw_id(idtree_id(&place), raw);
        put(write, out, bytes_make(raw, sizeof(raw)));
        put(write, out, bytes_make(lp, listpack_bytes(lp)));
        more = go_on_after(write, idtree_id(&place)) && idtree_next(&place);
    }
    if (more) {
        return WRITE_NODES;
    }
    put_stream_end(write, out, stream);
    return WRITE_GROUP;
}

static void put_group_begin(struct value_write *write, struct text *out,
                            const struct stream_group *group) {
    put(write, out, stream_group_name(group));
    put_id(out, group->last);
    rdb_put_length(out, (uint64_t)group->entries_read);
    rdb_put_length(out, group->pending.count);
    write->from = STREAM_ID_MIN;
}

static enum value_write_stage put_pending(struct value_write *write, struct text *out, size_t end,
                                          const struct stream_group *group) {
    struct idtree_place place;
    bool more = idtree_from(&group->pending, write->from, &place);
    while (more && out->len < end) {
        const struct stream_pending *pending = idtree_get(&place);
        put_raw_id(out, idtree_id(&place));
        rdb_put_u64(out, (uint64_t)pending->delivered_ms);
        rdb_put_length(out, (uint64_t)pending->deliveries);
        more = go_on_after(write, idtree_id(&place)) && idtree_next(&place);
    }
    if (more) {
        return WRITE_PENDING;
    }
    rdb_put_length(out, group->consumers_count);
    write->consumer = 0;
    return WRITE_CONSUMER;
}

static void put_consumer_begin(struct value_write *write, struct text *out,
                               const struct stream_consumer *consumer) {
    put(write, out, stream_consumer_name(consumer));
    rdb_put_u64(out, (uint64_t)consumer->seen_ms);
    if (write->type == RDB_STREAM_3) {
        rdb_put_u64(out, (uint64_t)consumer->active_ms);
    }
    rdb_put_length(out, consumer->pending.count);
    write->from = STREAM_ID_MIN;
}

static enum value_write_stage put_taken(struct value_write *write, struct text *out, size_t end,
                                        const struct stream_consumer *consumer) {
    struct idtree_place place;
    bool more = idtree_from(&consumer->pending, write->from, &place);
    while (more && out->len < end) {
        put_raw_id(out, idtree_id(&place));
        more = go_on_after(write, idtree_id(&place)) && idtree_next(&place);
    }
    if (more) {
        return WRITE_TAKEN;
    }
    write->consumer++;
    return WRITE_CONSUMER;
}

static bool put_stream(struct value_write *write, struct text *out, size_t end) {
    const struct stream *stream = stream_of(&write->value);
    do {
        const struct stream_group *group =
            write->group < stream->groups_count ? stream->groups[write->group] : NULL;
        switch (write->stage) {
        case WRITE_BEGIN:
            rdb_put_length(out, stream->nodes.count);
            write->from = STREAM_ID_MIN;
            write->stage = WRITE_NODES;
            break;
        case WRITE_NODES:
            write->stage = put_listpacks(write, out, end, stream);
            break;
        case WRITE_GROUP:
            if (group == NULL) {
                return true;
            }
            put_group_begin(write, out, group);
            write->stage = WRITE_PENDING;
            break;
        case WRITE_PENDING:
            write->stage = put_pending(write, out, end, group);
            break;
        case WRITE_CONSUMER:
            if (write->consumer == group->consumers_count) {
                write->group++;
                write->stage = WRITE_GROUP;
                break;
            }
            put_consumer_begin(write, out, group->consumers[write->consumer]);
            write->stage = WRITE_TAKEN;
            break;
        case WRITE_TAKEN:
            write->stage = put_taken(write, out, end, group->consumers[write->consumer]);
            break;
        }
    } while (out->len < end);
    return false;
}

/* ---- Any value ---- */

static uint64_t list_nodes(const struct value *list) {
    return list->form == FORM_QUICKLIST ? quicklist_nodes(list->root) : 1;
}

bool value_write_some(struct value_write *write, struct text *out, size_t budget) {
    size_t end = out->len + budget;
    bool begins = write->stage == WRITE_BEGIN;
    if (write->value.type != TYPE_STREAM) {
        write->stage = WRITE_NODES;
    }
    switch (write->type) {
    case RDB_STRING:
        put_string(write, out);
        return true;
    case RDB_SET_INTSET:
    case RDB_SET_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_HASH_LISTPACK:
        put(write, out, packed_bytes(&write->value));
        return true;
    case RDB_LIST_QUICKLIST_2:
        if (begins) {
            rdb_put_length(out, list_nodes(&write->value));
        }
        return put_nodes(write, out, end);
    case RDB_ZSET_2:
        if (begins) {
            rdb_put_length(out, zset_count(&write->value));
        }
        return put_scores(write, out, end);
    case RDB_STREAM_2:
    case RDB_STREAM_3:
        return put_stream(write, out, end);
    default:
        if (begins) {
            const struct form *form = forms_find(&value_forms, &write->value);
            rdb_put_length(out, form->count(&write->value));
        }
        return put_walk(write, out, end);
    }
}

void value_write_dump(const struct value *value, unsigned version, bool compress,
                      struct text *out) {
    struct value_write write;
    size_t start = out->len;
    check(value_write_begin(&write, value, version, compress));
    rdb_put_byte(out, write.type);
    check(value_write_some(&write, out, SIZE_MAX - out->len));
    rdb_put_footer(out, start, version);
}
