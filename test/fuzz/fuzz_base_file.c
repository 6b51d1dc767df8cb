/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of a snapshot and an RDB file: whatever bytes they are, and in whatever pieces they come,
 * nothing is read past them, and the keys that are shown have values that stand on their own.
 *
 * The first byte: 0 a whole file of a snapshot; 1 what its frames hold; 2 an RDB file. The second:
 * the size of the pieces.
 */
#include "base/check.h"
#include "persist/check/base_file.h"
#include "shard/memory/heap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    struct bytes left;
    size_t piece;
};

static int open_data(void *arg, const char *path, bool write, mode_t mode, int *ret_file) {
    (void)arg, (void)path, (void)mode;
    check(!write);
    *ret_file = 0;
    return 0;
}

static ssize_t read_data(void *arg, int file, void *buffer, size_t room) {
    struct input *input = arg;
    (void)file;
    size_t n = input->left.len < input->piece ? input->left.len : input->piece;
    n = n < room ? n : room;
    memcpy(buffer, input->left.ptr, n);
    input->left = bytes_make(input->left.ptr + n, input->left.len - n);
    return (ssize_t)n;
}

static int close_data(void *arg, int file, bool sync) {
    (void)arg, (void)file, (void)sync;
    return 0;
}

static const char *look(void *arg, const struct keys_key *key) {
    (void)arg;
    check(key->slot == key_slot(key->name) && key->type < TYPE_COUNT);
    check(!value_build_is_empty(key->build));
    return NULL;
}

static void push(const struct keys_options *options, struct input input, bool is_file) {
    struct keys keys;
    const char *error = NULL;
    keys_init(&keys, options, is_file);
    while (error == NULL && input.left.len > 0 && !keys.ended) {
        size_t n = input.left.len < input.piece ? input.left.len : input.piece;
        char *piece = malloc(n);
        check(piece != NULL);
        memcpy(piece, input.left.ptr, n);
        error = keys_push(&keys, bytes_make(piece, n));
        free(piece);
        input.left = bytes_make(input.left.ptr + n, input.left.len - n);
    }
    keys_fini(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct hash_secret secret = {{0}};
    struct shard_heap *heap = shard_heap_new();
    struct keyspace *ks =
        keyspace_new(&(struct keyspace_options){.databases = 1, .secret = &secret, .heap = heap});
    struct value_rules rules = {
        .list = {-2, 0, 0}, .set = {8, 8, 16}, .zset = {8, 16}, .hash = {8, 16}};
    struct text why;
    text_init(&why);
    struct keys_options options = {ks, &rules, look, NULL, NULL, &why};
    struct input input = {bytes_make((const char *)data + 2, size - 2), (size_t)data[1] + 1};
    if (data[0] % 3 == 0) {
        struct fs fs = {.arg = &input,
                        .open_data = open_data,
                        .read_data = read_data,
                        .close_data = close_data};
        struct base_file file;
        bool sound = base_file_read(&fs, "", &options, &file);
        check(sound == (file.error == NULL) && file.error_at <= size);
    } else {
        push(&options, input, data[0] % 3 == 2);
    }
    text_fini(&why);
    keyspace_free(ks);
    check(heap_used(heap) == 0);
    shard_heap_free(heap);
    return 0;
}
