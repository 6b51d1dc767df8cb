/* SPDX-License-Identifier: BSD-3-Clause */
/* base_make: see the header. Frames are made by frame_writer, as the server's are. */
#include "persist/check/base_make.h"

#include "persist/snapshot/frame_writer.h"

#define SLICE_BYTES ((size_t)1 << 20)

struct making {
    const struct fs *fs;
    int file;
    int error;
    struct base_made *ret;
    struct frame_writer writer;
    struct text out;
};

static void flush(struct making *m) {
    if (m->error == 0) {
        m->error = m->fs->write_data(m->fs->arg, m->file, text_bytes(&m->out));
    }
    m->ret->bytes += m->out.len;
    text_clear(&m->out);
}

static void show(void *arg, const struct walk_item *item) {
    struct making *m = arg;
    frame_writer_put(&m->writer, &m->out, item);
    if (m->out.len >= SLICE_BYTES) {
        flush(m);
    }
}

int base_make(const struct fs *fs, const char *path, const struct frames_head *head,
              struct walks *walks, const struct slot_set *slots, const struct bytes *libraries,
              uint32_t libraries_count, struct base_made *ret) {
    char front[FRAMES_HEAD_BYTES];
    *ret = (struct base_made){0};
    struct making m = {.fs = fs, .ret = ret};
    m.error = fs->open_data(fs->arg, path, true, 0600, &m.file);
    if (m.error != 0) {
        return m.error;
    }
    frames_head_encode(head, front);
    text_init(&m.out);
    text_append(&m.out, front, sizeof front);
    frame_writer_init(&m.writer, head->salt, true);
    for (uint32_t i = 0; i < libraries_count; i++) {
        frame_writer_put_library(&m.writer, &m.out, libraries[i]);
    }
    struct walk_options options = {
        .slots = slots, .version = RDB_VERSION_MIN, .show = show, .arg = &m};
    struct walk *walk = walk_begin(walks, &options);
    while (!walk_some(walk, SLICE_BYTES)) {
    }
    walk_end(walk);
    frame_writer_end(&m.writer, &m.out);
    flush(&m);
    ret->keys = m.writer.keys.keys;
    frame_writer_fini(&m.writer);
    text_fini(&m.out);
    int error = fs->close_data(fs->arg, m.file, true);
    return m.error != 0 ? m.error : error;
}
