/* SPDX-License-Identifier: BSD-3-Clause */
/* base_file: see the header. Frames are looked at one by one, and what they hold is pushed into one
 * reader of keys, which knows whether a value goes on: so what a frame says of itself can be held
 * against what is in it.
 */
#include "persist/check/base_file.h"

#include "persist/check/source.h"

struct reading {
    struct base_file *ret;
    struct source source;
    struct keys keys;
    const struct keys_options *options;
    struct text room;
    struct frame frame;
};

static bool wrong(struct reading *r, uint64_t at, const char *error) {
    r->ret->error = error;
    r->ret->error_at = at;
    r->ret->errno_ = r->source.error;
    return false;
}

static bool read_head(struct reading *r) {
    struct source *source = &r->source;
    while (source_bytes(source).len < FRAMES_HEAD_BYTES && source_more(source)) {
    }
    if (source->error != 0) {
        return wrong(r, 0, "it cannot be read");
    }
    const char *error = frames_head_decode(source_bytes(source), &r->ret->head);
    if (error != NULL) {
        return wrong(r, 0, error);
    }
    source_pass(source, FRAMES_HEAD_BYTES);
    return true;
}

/* Of the frame at hand: it lies between the slots that it names. */
static const char *show_key(void *arg, const struct keys_key *key) {
    struct reading *r = arg;
    if (key->slot < r->frame.slot_first || key->slot > r->frame.slot_last) {
        return "a key of a slot that is not the frame's";
    }
    return r->options->key(r->options->arg, key);
}

static const char *show_library(void *arg, struct bytes code) {
    const struct keys_options *options = ((struct reading *)arg)->options;
    return options->library != NULL ? options->library(options->arg, code) : NULL;
}

static bool read_frame(struct reading *r) {
    struct source *source = &r->source;
    const char *error;
    size_t need;
    for (;;) {
        enum frame_got got = frame_decode(source_bytes(source), &r->ret->head, r->ret->frames,
                                          source->at, &r->frame, &need, &error);
        if (got == FRAME_WHOLE) {
            return true;
        }
        if (got == FRAME_BAD) {
            return wrong(r, source->at, error);
        }
        if (!source_more(source)) {
            return wrong(r, source->at,
                         source->error != 0 ? "it cannot be read"
                                            : "the file ends before its last frame");
        }
    }
}

/* What a frame that was read holds. */
static bool pass_frame(struct reading *r) {
    struct bytes raw;
    struct keys *keys = &r->keys;
    const struct frame *frame = &r->frame;
    uint64_t before = keys->count, at = r->source.at;
    bool goes_on = frame->flags & FRAME_GOES_ON, between = keys_is_between(keys);
    if (goes_on == between) {
        return wrong(r, at, goes_on ? "it goes on with a value that has ended"
                                    : "the value before it has no end");
    }
    if (!goes_on) {
        keys_begin_frame(keys);
    }
    if (!frame_raw(frame, &r->room, &raw)) {
        return wrong(r, at, "it cannot be unpacked");
    }
    const char *error = keys_push(keys, raw);
    if (error != NULL) {
        return wrong(r, at, error);
    }
    if (keys->empty > 0) {
        return wrong(r, at, "a collection without elements");
    }
    /* A key that began here may end in a later frame. */
    uint64_t begun = keys->count + !keys_is_between(keys) - before - goes_on;
    if (begun != frame->keys) {
        return wrong(r, at, "another number of keys than it says");
    }
    return true;
}

static bool read_frames(struct reading *r) {
    for (;;) {
        if (!read_frame(r)) {
            return false;
        }
        r->ret->frames++;
        if (r->frame.flags & FRAME_LAST) {
            break;
        }
        if (!pass_frame(r)) {
            return false;
        }
        source_pass(&r->source, (size_t)r->frame.bytes);
    }
    uint64_t at = r->source.at;
    if (!keys_is_between(&r->keys)) {
        return wrong(r, at, "the value before it has no end");
    }
    if (r->frame.keys != r->keys.count) {
        return wrong(r, at, "another number of keys than the file says");
    }
    source_pass(&r->source, (size_t)r->frame.bytes);
    if (source_bytes(&r->source).len > 0 || source_more(&r->source)) {
        return wrong(r, r->source.at, "something follows the last frame");
    }
    return true;
}

bool base_file_read(const struct fs *fs, const char *path, const struct keys_options *options,
                    struct base_file *ret) {
    *ret = (struct base_file){0};
    struct reading r = {.ret = ret, .options = options};
    if (source_open(&r.source, fs, path) != 0) {
        source_close(&r.source);
        return wrong(&r, 0, "it cannot be opened");
    }
    struct keys_options own = *options;
    own.library = show_library;
    own.key = show_key;
    own.arg = &r;
    keys_init(&r.keys, &own, false);
    text_init(&r.room);
    bool sound = read_head(&r) && read_frames(&r);
    ret->keys = r.keys.count;
    ret->bytes = r.source.at;
    text_fini(&r.room);
    keys_fini(&r.keys);
    source_close(&r.source);
    return sound;
}
