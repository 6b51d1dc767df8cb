/* SPDX-License-Identifier: BSD-3-Clause */
/* A frame is full when it has FRAME_RAW_BYTES; the next one begins with a database and a key, or in
 * the middle of a value, where a piece ends.
 */
#include "persist/check/base_make.h"

#include "persist/codec/rdb_file.h"
#include "persist/codec/rdb_write.h"

#define SLICE_BYTES ((size_t)1 << 20)

struct making {
    const struct fs *fs;
    int file;
    int error;
    const struct frames_head *head;
    struct base_made *ret;
    struct frame frame;
    struct text raw, out, front;
    bool has_db;
    uint32_t db;
};

static void put_frame(struct making *m) {
    text_clear(&m->out);
    frame_encode(&m->out, m->head, &m->frame, text_bytes(&m->raw), true);
    if (m->error == 0) {
        m->error = m->fs->write_data(m->fs->arg, m->file, text_bytes(&m->out));
    }
    m->ret->bytes += m->frame.bytes;
    m->frame = (struct frame){.index = m->frame.index + 1,
                              .offset = m->frame.offset + m->frame.bytes,
                              .slot_first = UINT16_MAX};
    text_clear(&m->raw);
    m->has_db = false;
}

/* Also a name may be longer than a frame. `over`: the value ends with it. */
static void put_bytes(struct making *m, uint16_t slot, struct bytes bytes, bool over) {
    do {
        m->frame.slot_first = slot < m->frame.slot_first ? slot : m->frame.slot_first;
        m->frame.slot_last = slot > m->frame.slot_last ? slot : m->frame.slot_last;
        size_t room = FRAME_RAW_MAX - m->raw.len;
        size_t n = bytes.len < room ? bytes.len : room;
        text_append(&m->raw, bytes.ptr, n);
        bytes = bytes_make(bytes.ptr + n, bytes.len - n);
        if (m->raw.len >= FRAME_RAW_BYTES) {
            put_frame(m);
            m->frame.flags = over && bytes.len == 0 ? 0 : FRAME_GOES_ON;
        }
    } while (bytes.len > 0);
}

static void show(void *arg, const struct walk_item *item) {
    struct making *m = arg;
    if (item->first) {
        text_clear(&m->front);
        if (!m->has_db || m->db != item->db) {
            rdb_put_byte(&m->front, RDB_SELECT);
            rdb_put_length(&m->front, item->db);
            m->has_db = true;
            m->db = item->db;
        }
        rdb_file_put_key(&m->front, item->name, (enum rdb_type)item->type, item->expires_at, false);
        m->frame.keys++;
        m->ret->keys++;
        put_bytes(m, item->slot, text_bytes(&m->front), false);
    }
    put_bytes(m, item->slot, item->piece, item->last);
}

static void put_last(struct making *m) {
    if (m->raw.len > 0) {
        put_frame(m);
    }
    m->frame.flags = FRAME_LAST;
    m->frame.keys = m->ret->keys;
    m->frame.slot_first = m->frame.slot_last = 0;
    put_frame(m);
}

int base_make(const struct fs *fs, const char *path, const struct frames_head *head,
              struct walks *walks, const struct slot_set *slots, struct base_made *ret) {
    char front[FRAMES_HEAD_BYTES];
    *ret = (struct base_made){.bytes = sizeof front};
    struct making m = {.fs = fs, .head = head, .ret = ret};
    m.error = fs->open_data(fs->arg, path, true, 0600, &m.file);
    if (m.error != 0) {
        return m.error;
    }
    frames_head_encode(head, front);
    m.error = fs->write_data(fs->arg, m.file, bytes_make(front, sizeof front));
    m.frame = (struct frame){.offset = sizeof front, .slot_first = UINT16_MAX};
    text_init(&m.raw);
    text_init(&m.out);
    text_init(&m.front);
    struct walk_options options = {.slots = slots, .version = RDB_VERSION_MIN, .show = show, .arg = &m};
    struct walk *walk = walk_begin(walks, &options);
    while (!walk_some(walk, SLICE_BYTES)) {
    }
    walk_end(walk);
    put_last(&m);
    text_fini(&m.raw);
    text_fini(&m.out);
    text_fini(&m.front);
    int error = fs->close_data(fs->arg, m.file, true);
    return m.error != 0 ? m.error : error;
}
