/* SPDX-License-Identifier: BSD-3-Clause */
/* leftovers: see the header. What is older is certain: a snapshot has a larger generation than all
 * before it, and at its cut every segment was named by its manifest or had become nothing. Names of
 * temporary RDB files are left alone: they may be another server's, which has the same directory.
 */
#include "server/persistence/leftovers.h"

#include "base/num.h"
#include "persist/check/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Paths of what ends so, or NULL. */
static char **find(const struct fs *fs, const char *dir, const char *end) {
    struct text pattern;
    char **paths = NULL;
    text_init(&pattern);
    text_append_pattern(&pattern, bytes_of_text(dir));
    text_appendf(&pattern, "/*%s", end);
    if (fs->match == NULL || fs->match(fs->arg, pattern.ptr, &paths) != 0) {
        paths = NULL;
    }
    text_fini(&pattern);
    return paths;
}

static void free_paths(char **paths) {
    for (size_t i = 0; paths != NULL && paths[i] != NULL; i++) {
        free(paths[i]);
    }
    free(paths);
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* What a segment has: nothing can be said of one that the disk does not give out. */
enum head { HEAD_NONE, HEAD_ALONE, HEAD_RECORDS, HEAD_UNREAD };

static enum head read_head(const struct fs *fs, const char *path, struct log_segment *ret_segment) {
    char head[LOG_SEGMENT_BYTES + 1];
    size_t n = 0;
    int file;
    int error = fs->open_data(fs->arg, path, false, 0, &file);
    if (error != 0) {
        return error == -ENOENT || error == -ELOOP ? HEAD_NONE : HEAD_UNREAD;
    }
    ssize_t r;
    do {
        r = fs->read_data(fs->arg, file, head + n, sizeof head - n);
        n += r > 0 ? (size_t)r : 0;
    } while (r > 0 && n < sizeof head);
    fs->close_data(fs->arg, file, false);
    if (r < 0) {
        return r == -EISDIR ? HEAD_NONE : HEAD_UNREAD;
    }
    if (n < LOG_SEGMENT_BYTES ||
        log_segment_decode(bytes_make(head, LOG_SEGMENT_BYTES), ret_segment) != NULL) {
        return HEAD_NONE;
    }
    return n > LOG_SEGMENT_BYTES ? HEAD_RECORDS : HEAD_ALONE;
}

static bool names_segment(const struct manifest *manifest, const struct log_segment *segment) {
    for (uint32_t i = 0; i < manifest->count; i++) {
        if (manifest->segments[i].shard == segment->shard &&
            manifest->segments[i].sequence == segment->sequence) {
            return true;
        }
    }
    return false;
}

/* "base-GENERATION-SHARD.snapshot" */
static bool generation_of(const char *name, uint64_t *ret) {
    const char *from = name + strlen("base-"), *to;
    if (strncmp(name, "base-", strlen("base-")) != 0 || (to = strchr(from, '-')) == NULL) {
        return false;
    }
    return num_parse_u64(bytes_make(from, (size_t)(to - from)), ret);
}

/* Snapshots and segments of generations below that one, but for what is named. False: some may be
 * left. */
static bool remove_below(const struct fs *fs, const char *dir, uint64_t end,
                         const struct manifest *named) {
    char **bases = find(fs, dir, ".snapshot"), **segments = find(fs, dir, ".segment");
    bool all = true;
    for (size_t i = 0; bases != NULL && bases[i] != NULL; i++) {
        uint64_t generation;
        if (generation_of(name_of(bases[i]), &generation) && generation < end) {
            all &= fs->remove(fs->arg, bases[i]) == 0;
        }
    }
    for (size_t i = 0; segments != NULL && segments[i] != NULL; i++) {
        struct log_segment segment;
        enum head head = read_head(fs, segments[i], &segment);
        all &= head != HEAD_UNREAD;
        if ((head == HEAD_ALONE || head == HEAD_RECORDS) && segment.generation < end &&
            (named == NULL || !names_segment(named, &segment))) {
            all &= fs->remove(fs->arg, segments[i]) == 0;
        }
    }
    free_paths(bases);
    free_paths(segments);
    return all;
}

/* Who was killed may have renamed the manifest and synced nothing: a power cut could take that back
 * and leave the removals. */
static bool names_last(const struct fs *fs, const char *dir) {
    return fs->sync_dir(fs->arg, dir) == 0;
}

bool leftovers_remove(const struct fs *fs, const char *dir, const struct manifest *manifest) {
    return names_last(fs, dir) && remove_below(fs, dir, manifest->generation, manifest);
}

/* ---- Without a manifest ---- */

static void remove_file(const struct fs *fs, const char *dir, const char *name) {
    struct text path;
    text_init(&path);
    text_appendf(&path, "%s/%s", dir, name);
    fs->remove(fs->arg, path.ptr);
    text_fini(&path);
}

static void remove_named(const struct fs *fs, const char *dir, const struct manifest *gone) {
    char name[MANIFEST_NAME_BYTES];
    for (uint32_t i = 0; i < gone->bases_count; i++) {
        manifest_base_name(name, gone->generation, gone->bases[i].shard);
        remove_file(fs, dir, name);
    }
    for (uint32_t i = 0; i < gone->count; i++) {
        manifest_segment_name(name, gone->segments[i].shard, gone->segments[i].sequence);
        remove_file(fs, dir, name);
    }
}

bool leftovers_without(const struct fs *fs, const char *dir, struct bytes gone,
                       struct text *ret_why) {
    struct manifest manifest;
    manifest_init(&manifest);
    if (gone.len > 0 && names_last(fs, dir) && manifest_decode(gone, &manifest) == NULL) {
        remove_named(fs, dir, &manifest);
        bool all = remove_below(fs, dir, manifest.generation + 1, NULL);
        manifest_fini(&manifest);
        if (all && fs->sync_dir(fs->arg, dir) == 0) { /* first these, then what names them */
            remove_file(fs, dir, MANIFEST_GONE_NAME);
        }
    }
    char **paths = find(fs, dir, ".segment");
    bool none = true;
    for (size_t i = 0; none && paths != NULL && paths[i] != NULL; i++) {
        struct log_segment segment;
        enum head head = read_head(fs, paths[i], &segment);
        if (head == HEAD_RECORDS || head == HEAD_UNREAD) {
            text_appendf(ret_why, "%s %s", paths[i],
                         head == HEAD_RECORDS ? "has records" : "cannot be read");
            none = false;
        }
    }
    free_paths(paths);
    return none;
}
