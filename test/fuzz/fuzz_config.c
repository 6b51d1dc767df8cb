/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration: a file, then CONFIG SET of pairs, then CONFIG REWRITE. Whatever the file and the
 * values were, the file that was written loads and gives the values that the server had.
 *
 * Input: the file, a NUL, then name, NUL, value, NUL, ... */
#include "base/check.h"
#include "server/config/config_row.h"
#include "test/unit/memory_fs.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes next_part(struct bytes *rest) {
    const char *end = memchr(rest->ptr, 0, rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    struct bytes part = bytes_make(rest->ptr, len);
    size_t taken = len + (end != NULL);
    rest->ptr += taken;
    rest->len -= taken;
    return part;
}

static struct config *load(struct memory_fs *memory) {
    char *argv[] = {(char *)"shoal-server", (char *)"/start/c.conf"};
    struct config *config = config_defaults();
    struct text err;
    text_init(&err);
    int rc = config_load(config, &memory->fs, 2, argv, &err);
    check(rc == 0 || err.len > 0);
    text_fini(&err);
    if (rc != 0) {
        config_free(config);
        return NULL;
    }
    return config;
}

static struct config *set(struct memory_fs *memory, struct config *config, struct bytes pairs) {
    struct config_setting setting = {.fs = &memory->fs, .local = true};
    struct text err;
    text_init(&err);
    while (pairs.len > 0) {
        struct bytes pair[2];
        pair[0] = next_part(&pairs);
        pair[1] = next_part(&pairs);
        text_clear(&err);
        struct config *next = config_set(config, pair, 1, &setting, &err);
        check((next == NULL) == (err.len > 0));
        if (next != NULL) {
            config_free(config);
            config = next;
        }
    }
    text_fini(&err);
    return config;
}

static void check_same(const struct config *a, const struct config *b) {
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        struct text left, right;
        text_init(&left);
        text_init(&right);
        config_row_print(row, a, &left);
        config_row_print(row, b, &right);
        if (!bytes_equal(text_bytes(&left), text_bytes(&right))) {
            fprintf(stderr, "%s: '%s' became '%s'\n", row->name, left.ptr, right.ptr);
            check(false);
        }
        text_fini(&left);
        text_fini(&right);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes rest = bytes_make((const char *)data, size);
    struct memory_fs *memory = memory_fs_new();
    struct text err;
    text_init(&err);
    memory_fs_replace(memory, "/start/c.conf", next_part(&rest), 0644);
    struct config *config = load(memory);
    if (config != NULL) {
        config = set(memory, config, rest);
        check(config_rewrite(config, BYTES(""), false, &memory->fs, &err) == 0);
        struct config *again = load(memory);
        check(again != NULL);
        check_same(config, again);
        config_free(again);
        config_free(config);
    }
    text_fini(&err);
    memory_fs_free(memory);
    return 0;
}
