/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of a snapshot as a start reads it: whatever bytes it has, in whatever pieces they come,
 * nothing is read past them; shards that share its slots load no more than one that has all; and
 * nothing is left when it goes.
 *
 * The first byte says which slots are the first shard's. The rest is a file, whose magic words,
 * places and checksums are made right first: so what is changed in it is believed.
 */
#include "base/check.h"
#include "persist/log/log_bytes.h"
#include "persist/snapshot/frame_keys.h"
#include "persist/snapshot/frame_reader.h"
#include "shard/memory/heap.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct value_rules rules = {
    .list = {-2, 0, 0},
    .set = {16, 8, 16},
    .zset = {8, 16},
    .hash = {8, 16},
};
static const struct hash_secret secret = {{1, 2, 3}};
static const struct frame_file whole_file = {.shard = 1, .shards = 2, .generation = 3, .salt = 4};

/* Says how many keys the last frame counts. */
static uint64_t make_right(char *bytes, size_t size) {
    struct frames_head head = {.shard = 1, .shards = 2, .generation = 3, .number = 1, .salt = 4};
    uint64_t keys = 0;
    frames_head_encode(&head, bytes);
    for (uint64_t at = FRAMES_HEAD_BYTES, index = 0; at + FRAME_HEAD_BYTES <= size; index++) {
        char *frame = bytes + at;
        uint64_t room = size - at - FRAME_HEAD_BYTES;
        bool last = log_get_u32(frame + 48) & FRAME_LAST;
        uint64_t stored = log_get_u32(frame + 16) % 65536, raw = log_get_u32(frame + 20) % 262144;
        stored = last ? 0 : stored < room ? stored : room;
        raw = last ? 0 : raw < stored ? stored : raw;
        memcpy(frame, "ShFrame1", 8);
        log_put_u32(frame + 16, (uint32_t)stored);
        log_put_u32(frame + 20, (uint32_t)raw);
        log_put_u64(frame + 24, index);
        log_put_u64(frame + 32, at);
        if (last) {
            log_put_u64(frame + 40, keys);
        }
        keys += last ? 0 : log_get_u64(frame + 40);
        log_put_u64(frame + 8, XXH3_64bits_withSeed(frame + 16, FRAME_HEAD_BYTES - 16 + stored, 4));
        at += FRAME_HEAD_BYTES + stored;
        if (last) {
            break;
        }
    }
    return keys;
}

/* ---- A shard ---- */

struct shard {
    struct shard_heap *heap;
    struct keyspace *ks;
    uint16_t first, last; /* its slots */
    bool sound;
    uint64_t keys;
};

static bool wants(void *arg, uint16_t first, uint16_t last) {
    const struct shard *shard = arg;
    return first <= shard->last && last >= shard->first;
}

static struct keyspace *keyspace_of(void *arg, uint16_t slot) {
    const struct shard *shard = arg;
    return slot >= shard->first && slot <= shard->last ? shard->ks : NULL;
}

/* False: it is refused. */
static bool take(struct frame_keys *keys, const struct frame *frame) {
    enum frame_keys_got got = FRAME_KEYS_SLICE;
    if (frame_keys_frame(keys, frame) != NULL) {
        return false;
    }
    while (got == FRAME_KEYS_SLICE) {
        got = frame_keys_some(keys, 2);
    }
    check((got == FRAME_KEYS_BAD) == (keys->input.error != NULL));
    return got == FRAME_KEYS_DONE;
}

static bool read_file(struct shard *shard, struct frame_keys *keys, struct bytes bytes,
                      uint64_t counted) {
    struct frame_file file = whole_file;
    file.bytes = bytes.len;
    file.keys = counted;
    struct frame_reader reader;
    frame_reader_init(&reader, &file);
    size_t need = 0;
    for (;;) {
        struct frame frame;
        check(reader.at <= bytes.len);
        size_t left = bytes.len - (size_t)reader.at;
        size_t n = need < left ? need : left;
        char *input = malloc(n + (n == 0)); /* no more than was asked for */
        check(input != NULL);
        memcpy(input, bytes.ptr + reader.at, n);
        enum frame_read got =
            frame_reader_next(&reader, bytes_make(input, n), wants, shard, &frame, &need);
        bool taken = got != FRAME_READ_WANTED || take(keys, &frame);
        free(input);
        check((got == FRAME_READ_BAD) == (reader.error != NULL));
        check(got != FRAME_READ_SHORT || (need > n && need <= left));
        if (got != FRAME_READ_SHORT) {
            need = 0;
        }
        if (!taken || got == FRAME_READ_BAD) {
            return false;
        }
        if (got == FRAME_READ_END) {
            return frame_keys_is_whole(keys);
        }
    }
}

static struct shard load(uint16_t first, uint16_t last, struct bytes bytes, uint64_t counted) {
    struct shard shard = {.heap = shard_heap_new(), .first = first, .last = last};
    shard.ks = keyspace_new(&(struct keyspace_options){
        .databases = 2, .secret = &secret, .heap = shard.heap, .now_ms = 1000});
    struct rdb_keys_options options = {
        .secret = &secret,
        .rules = &rules,
        .databases = 2,
        .now_ms = 1000,
        .frames = true,
        .keyspace_of = keyspace_of,
        .arg = &shard,
        .any = shard.ks,
    };
    struct frame_keys keys;
    frame_keys_begin(&keys, &options);
    shard.sound = read_file(&shard, &keys, bytes, counted);
    shard.keys = keys.keys.loaded.keys;
    frame_keys_end(&keys);
    keyspace_verify(shard.ks);
    return shard;
}

static void drop(struct shard *shard) {
    keyspace_free(shard->ks);
    check(heap_used(shard->heap) == 0);
    shard_heap_free(shard->heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 + FRAMES_HEAD_BYTES) {
        return 0;
    }
    char *content = malloc(size - 1);
    check(content != NULL);
    memcpy(content, data + 1, size - 1);
    uint64_t counted = make_right(content, size - 1);
    struct bytes file = bytes_make(content, size - 1);
    uint16_t edge = (uint16_t)(data[0] * 64);
    struct shard all = load(0, SLOTS - 1, file, counted);
    struct shard lower = load(0, edge, file, counted);
    struct shard upper = load(edge + 1, SLOTS - 1, file, counted);
    /* Headers may say other slots than the keys have: such keys nobody counts. */
    if (all.sound && lower.sound && upper.sound) {
        check(lower.keys + upper.keys <= all.keys);
    }
    drop(&all);
    drop(&lower);
    drop(&upper);
    free(content);
    return 0;
}
