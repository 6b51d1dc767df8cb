/* SPDX-License-Identifier: BSD-3-Clause */
/* make-snapshot: writes what an RDB file holds as a snapshot, with its manifest:
 *
 *     make-snapshot FILE.rdb DIRECTORY SHARDS GENERATION [FRAME-BYTES]
 *
 * Small frames make values go on over many of them. What each shard has is decided as the server
 * does: ranges of slots of equal size.
 */
#include "base/must.h"
#include "base/random.h"
#include "net/file.h"
#include "persist/codec/rdb_write.h"
#include "persist/log/manifest.h"
#include "persist/snapshot/frames.h"
#include "persist/snapshot/rdb_load.h"
#include "persist/snapshot/walk.h"
#include "shard/memory/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATABASES 16

struct file {
    struct frames_head head;
    struct text out, raw;
    struct frame frame; /* that is being filled */
    uint64_t keys;
    size_t frame_bytes;
    bool open, in_value;
};

static void end_frame(struct file *file) {
    if (file->open && (file->raw.len > 0 || file->frame.flags != 0)) {
        frame_encode(&file->out, &file->head, &file->frame, text_bytes(&file->raw), true);
        file->frame.index++;
        file->frame.offset += file->frame.bytes;
    }
    text_clear(&file->raw);
    file->open = false;
}

static void begin_frame(struct file *file, uint32_t flags, uint16_t slot) {
    file->frame.flags = flags;
    file->frame.keys = 0;
    file->frame.slot_first = file->frame.slot_last = slot;
    file->open = true;
}

static void show(void *arg, const struct walk_item *item) {
    struct file *file = arg;
    if (file->open && file->raw.len >= file->frame_bytes) {
        end_frame(file);
    }
    if (!file->open) {
        begin_frame(file, item->first ? 0 : FRAME_GOES_ON, item->slot);
    }
    struct frame *frame = &file->frame;
    frame->slot_first = item->slot < frame->slot_first ? item->slot : frame->slot_first;
    frame->slot_last = item->slot > frame->slot_last ? item->slot : frame->slot_last;
    if (item->first) {
        rdb_put_byte(&file->raw, RDB_SELECT);
        rdb_put_length(&file->raw, item->db);
        rdb_file_put_key(&file->raw, item->name, item->type, item->expires_at, RDB_USAGE_UNSAID,
                         true);
        frame->keys++;
        file->keys++;
    }
    for (size_t at = 0; at < item->piece.len;) {
        size_t left = item->piece.len - at;
        size_t room = file->raw.len < file->frame_bytes ? file->frame_bytes - file->raw.len : 1;
        size_t n = left < room ? left : room;
        text_append_bytes(&file->raw, bytes_make(item->piece.ptr + at, n));
        at += n;
        if (at < item->piece.len) {
            end_frame(file);
            begin_frame(file, FRAME_GOES_ON, item->slot);
        }
    }
}

static struct keyspace *keyspace_of(void *arg, uint16_t slot) {
    (void)slot;
    return arg;
}

static void load(const char *path, struct keyspace *ks, const struct hash_secret *secret) {
    struct value_rules rules = {
        .list = {-2, 0, 0}, .set = {512, 128, 64}, .zset = {128, 64}, .hash = {512, 64}};
    struct rdb_keys_options options = {
        .secret = secret,
        .rules = &rules,
        .databases = DATABASES,
        .now_ms = INT64_MIN, /* all keys are alive */
        .relaxed = true,
        .check_sum = true,
        .keyspace_of = keyspace_of,
        .arg = ks,
        .any = ks,
    };
    struct rdb_loaded loaded;
    struct text why;
    text_init(&why);
    if (!rdb_load(fs_real(), path, &options, &loaded, &why)) {
        fprintf(stderr, "%s\n", why.ptr);
        exit(1);
    }
    text_fini(&why);
}

static void put_file(const char *directory, const char *name, struct bytes content) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int error = fs_real()->write_all(fs_real()->arg, path, content, 0600);
    if (error != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-error));
        exit(1);
    }
}

/* The slots of a shard, as the server divides them. */
static struct slot_set slots_of(unsigned shard, unsigned shards) {
    struct slot_set set = {{0}};
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (slot * shards / SLOTS == shard) {
            set.words[slot / 64] |= UINT64_C(1) << slot % 64;
        }
    }
    return set;
}

static void make_file(struct walks *walks, const char *directory, struct manifest *manifest,
                      unsigned shard, size_t frame_bytes) {
    struct file file = {
        .head = {.shard = shard,
                 .shards = manifest->shards,
                 .generation = manifest->generation,
                 .created_ms = manifest->created_ms,
                 .number = manifest->first - 1,
                 .salt = manifest->generation * 1000003 + shard + 1},
        .frame = {.offset = FRAMES_HEAD_BYTES},
        .frame_bytes = frame_bytes,
    };
    char head[FRAMES_HEAD_BYTES];
    text_init(&file.out);
    text_init(&file.raw);
    frames_head_encode(&file.head, head);
    text_append_bytes(&file.out, bytes_make(head, sizeof head));
    struct slot_set slots = slots_of(shard, manifest->shards);
    struct walk_options options = {.slots = &slots,
                                   .version = RDB_VERSION_VALKEY,
                                   .compress = true,
                                   .show = show,
                                   .arg = &file};
    struct walk *walk = walk_begin(walks, &options);
    while (!walk_some(walk, 1 << 20)) {
    }
    walk_end(walk);
    end_frame(&file);
    file.frame.flags = FRAME_LAST;
    file.frame.keys = file.keys;
    file.frame.slot_first = file.frame.slot_last = 0;
    frame_encode(&file.out, &file.head, &file.frame, bytes_make("", 0), false);
    struct manifest_base base = {
        .shard = shard, .salt = file.head.salt, .bytes = file.out.len, .keys = file.keys};
    manifest_add_base(manifest, &base);
    char name[MANIFEST_NAME_BYTES];
    manifest_base_name(name, manifest->generation, shard);
    put_file(directory, name, text_bytes(&file.out));
    text_fini(&file.out);
    text_fini(&file.raw);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr,
                "usage: make-snapshot FILE.rdb DIRECTORY SHARDS GENERATION [FRAME-BYTES]\n");
        return 2;
    }
    struct hash_secret secret;
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < sizeof secret.bytes; i++) {
        secret.bytes[i] = (unsigned char)rng_next(&rng);
    }
    struct shard_heap *heap = shard_heap_new();
    struct keyspace *ks = keyspace_new(&(struct keyspace_options){
        .databases = DATABASES, .secret = &secret, .heap = heap, .now_ms = 0});
    load(argv[1], ks, &secret);
    struct walks walks;
    walks_init(&walks, ks);
    struct manifest manifest;
    manifest_init(&manifest);
    manifest.shards = (uint32_t)atoi(argv[3]);
    manifest.generation = (uint64_t)atoll(argv[4]);
    manifest.created_ms = 1790000000000;
    manifest.first = 1;
    for (unsigned i = 0; i < manifest.shards; i++) {
        make_file(&walks, argv[2], &manifest, i,
                  argc > 5 ? (size_t)atoll(argv[5]) : FRAME_RAW_BYTES);
    }
    struct text out;
    text_init(&out);
    manifest_encode(&out, &manifest);
    put_file(argv[2], MANIFEST_NAME, text_bytes(&out));
    text_fini(&out);
    manifest_fini(&manifest);
    walks_fini(&walks);
    keyspace_free(ks);
    shard_heap_free(heap);
    return 0;
}
