/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_node: see the header. */
#include "shard/ds/stream_node.h"

#include "base/check.h"

/* The number at *at, which goes one item on. */
static inline int64_t take_int(const char *lp, size_t *at) {
    unsigned char head = (unsigned char)lp[*at];
    if (LIKELY(head < 128)) {
        *at += 2;
        return head;
    }
    struct listpack_item item = listpack_get(lp, *at);
    check_slow(item.text == NULL);
    *at += listpack_item_bytes(lp, *at);
    return item.number;
}

static size_t skip(const char *lp, size_t at, uint64_t items) {
    for (; items > 0; items--) {
        at += listpack_item_bytes(lp, at);
    }
    return at;
}

struct stream_node stream_node_read(const char *lp, struct stream_id master) {
    struct stream_node node = {.lp = lp, .master = master};
    size_t at = LISTPACK_HEADER_BYTES;
    node.live = take_int(lp, &at);
    node.deleted_at = at;
    node.deleted = take_int(lp, &at);
    node.fields = (uint32_t)take_int(lp, &at);
    node.fields_at = at;
    node.entries_at = skip(lp, at, node.fields + UINT64_C(1));
    return node;
}

struct stream_entry stream_entry_read(const struct stream_node *node, size_t at) {
    const char *lp = node->lp;
    struct stream_entry entry = {.at = at, .fields = node->fields};
    entry.flags = (unsigned)take_int(lp, &at);
    entry.id.ms = node->master.ms + (uint64_t)take_int(lp, &at);
    entry.id.seq = node->master.seq + (uint64_t)take_int(lp, &at);
    if (!(entry.flags & STREAM_ENTRY_SAME_FIELDS)) {
        entry.fields = (uint32_t)take_int(lp, &at);
    }
    entry.body_at = at;
    return entry;
}

static uint64_t body_items(const struct stream_entry *entry) {
    return entry->flags & STREAM_ENTRY_SAME_FIELDS ? entry->fields : UINT64_C(2) * entry->fields;
}

size_t stream_entry_end(const struct stream_node *node, const struct stream_entry *entry) {
    size_t at = skip(node->lp, entry->body_at, body_items(entry) + 1);
    return (unsigned char)node->lp[at] == 0xFF ? 0 : at;
}

size_t stream_entry_before(const struct stream_node *node, size_t at) {
    at = listpack_prev(node->lp, at);
    size_t from = at;
    for (int64_t items = take_int(node->lp, &from); items > 0; items--) {
        at = listpack_prev(node->lp, at);
    }
    return at;
}

struct stream_entry stream_node_last(const struct stream_node *node) {
    size_t end = listpack_bytes(node->lp) - 1;
    return stream_entry_read(node, stream_entry_before(node, end));
}

bool stream_node_has_fields(const struct stream_node *node, const struct bytes *pairs,
                            uint32_t fields) {
    if (fields != node->fields) {
        return false;
    }
    size_t at = node->fields_at;
    char scratch[NUM_I64_BYTES];
    for (uint32_t i = 0; i < fields; i++) {
        struct listpack_item item = listpack_get(node->lp, at);
        if (!bytes_equal(listpack_text(&item, scratch), pairs[2 * i])) {
            return false;
        }
        at += listpack_item_bytes(node->lp, at);
    }
    return true;
}

/* ---- Foreign bytes ---- */

/* Reads items of a sound listpack one by one, never past its end. */
struct reading {
    const char *lp;
    size_t at; /* 0: behind the last */
    bool bad;
};

static void pass(struct reading *reading, uint64_t items) {
    for (; items > 0 && reading->at != 0; items--) {
        reading->at = listpack_next(reading->lp, reading->at);
    }
    reading->bad |= items > 0;
}

static int64_t read_int(struct reading *reading) {
    if (reading->at == 0) {
        reading->bad = true;
        return 0;
    }
    struct listpack_item item = listpack_get(reading->lp, reading->at);
    reading->bad |= item.text != NULL;
    pass(reading, 1);
    return item.number;
}

static int64_t read_count(struct reading *reading) {
    int64_t count = read_int(reading);
    reading->bad |= count < 0 || count > INT32_MAX;
    return reading->bad ? 0 : count;
}

bool stream_node_is_sound(struct bytes bytes, struct stream_id master) {
    if (!listpack_is_sound(bytes)) {
        return false;
    }
    struct reading r = {bytes.ptr, listpack_first(bytes.ptr), false};
    int64_t live = read_count(&r), deleted = read_count(&r), fields = read_count(&r);
    pass(&r, (uint64_t)fields);
    r.bad |= read_int(&r) != 0;
    struct stream_id next = master; /* the least that a live entry may have */
    bool full = false;              /* there was one with the greatest */
    int64_t seen[2] = {0, 0};
    while (!r.bad && r.at != 0) {
        int64_t flags = read_int(&r);
        struct stream_id id = {master.ms + (uint64_t)read_int(&r), 0};
        id.seq = master.seq + (uint64_t)read_int(&r);
        r.bad |= flags < 0 || flags > 3;
        if (!(flags & STREAM_ENTRY_DELETED)) {
            r.bad |= full || stream_id_less(id, next);
            next = id;
            full = !stream_id_up(&next);
        }
        bool same = flags & STREAM_ENTRY_SAME_FIELDS;
        int64_t own = same ? fields : read_count(&r);
        int64_t items = same ? own : 2 * own;
        pass(&r, (uint64_t)items);
        r.bad |= read_int(&r) != items + 3 + !same;
        seen[flags & 1]++;
    }
    return !r.bad && seen[0] == live && seen[1] == deleted && live > 0;
}
