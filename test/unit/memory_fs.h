/* SPDX-License-Identifier: BSD-3-Clause */
/* memory_fs: a file system in memory, for tests of what reads and writes configuration.
 *
 * Thread: one at a time. It knows two directories, /start and /data, and starts in the first.
 */
#ifndef SHOAL_TEST_UNIT_MEMORY_FS_H
#define SHOAL_TEST_UNIT_MEMORY_FS_H

#include "base/glob.h"
#include "base/text.h"
#include "net/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_FILES 8

struct memory_fs {
    struct fs fs;
    char dir[64];
    struct {
        const char *path; /* absolute; NULL: free */
        struct text content;
    } files[MEMORY_FILES];
};

static inline struct text *memory_fs_file(struct memory_fs *memory, const char *path, bool create) {
    char absolute[256];
    snprintf(absolute, sizeof(absolute), "%s%s%s", path[0] == '/' ? "" : memory->dir,
             path[0] == '/' || strcmp(path, "-") == 0 ? "" : "/", path);
    for (int i = 0; i < MEMORY_FILES; i++) {
        if (memory->files[i].path != NULL && strcmp(memory->files[i].path, absolute) == 0) {
            return &memory->files[i].content;
        }
    }
    for (int i = 0; create && i < MEMORY_FILES; i++) {
        if (memory->files[i].path == NULL) {
            memory->files[i].path = strdup(absolute);
            text_init(&memory->files[i].content);
            return &memory->files[i].content;
        }
    }
    return NULL;
}

static inline int memory_fs_read_all(void *arg, const char *path, char **ret_data,
                                     size_t *ret_len) {
    struct text *file = memory_fs_file(arg, path, false);
    if (file == NULL) {
        return -ENOENT;
    }
    *ret_len = file->len;
    *ret_data = malloc(file->len + 1);
    memcpy(*ret_data, file->ptr, file->len + 1);
    return 0;
}

static inline int memory_fs_replace(void *arg, const char *path, struct bytes content,
                                    mode_t mode) {
    struct text *file = memory_fs_file(arg, path, true);
    text_clear(file);
    text_append_bytes(file, content);
    return 0;
}

static inline int memory_fs_append(void *arg, const char *path, struct bytes content) {
    if (strncmp(path, "/missing/", 9) == 0) {
        return -ENOENT;
    }
    text_append_bytes(memory_fs_file(arg, path, true), content);
    return 0;
}

static inline int memory_fs_match(void *arg, const char *pattern, char ***ret_names) {
    struct memory_fs *memory = arg;
    char **names = calloc(MEMORY_FILES + 1, sizeof(*names));
    size_t count = 0;
    for (int i = 0; i < MEMORY_FILES; i++) {
        const char *path = memory->files[i].path;
        if (path != NULL && glob_match(bytes_of_text(pattern), bytes_of_text(path), false)) {
            names[count++] = strdup(path);
        }
    }
    *ret_names = names;
    return 0;
}

/* Two directories exist. */
static inline int memory_fs_exists(void *arg, const char *path, bool want_dir) {
    return strcmp(path, "/data") == 0 || strcmp(path, "/start") == 0 ? 0 : -ENOENT;
}

static inline int memory_fs_change_dir(void *arg, const char *path) {
    struct memory_fs *memory = arg;
    int rc = memory_fs_exists(arg, path, true);
    if (rc == 0) {
        snprintf(memory->dir, sizeof(memory->dir), "%s", path);
    }
    return rc;
}

static inline int memory_fs_current_dir(void *arg, char *buffer, size_t size) {
    snprintf(buffer, size, "%s", ((struct memory_fs *)arg)->dir);
    return 0;
}

static inline struct memory_fs *memory_fs_new(void) {
    struct memory_fs *memory = calloc(1, sizeof(*memory));
    strcpy(memory->dir, "/start");
    memory->fs = (struct fs){
        .arg = memory,
        .read_all = memory_fs_read_all,
        .replace = memory_fs_replace,
        .append = memory_fs_append,
        .match = memory_fs_match,
        .change_dir = memory_fs_change_dir,
        .current_dir = memory_fs_current_dir,
        .exists = memory_fs_exists,
    };
    return memory;
}

static inline void memory_fs_free(struct memory_fs *memory) {
    for (int i = 0; i < MEMORY_FILES; i++) {
        if (memory->files[i].path != NULL) {
            free((char *)memory->files[i].path);
            text_fini(&memory->files[i].content);
        }
    }
    free(memory);
}

static inline void memory_fs_put(struct memory_fs *memory, const char *path, const char *content) {
    memory_fs_replace(memory, path, bytes_of_text(content), 0644);
}

#endif
