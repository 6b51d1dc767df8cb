/* SPDX-License-Identifier: BSD-3-Clause */
/* What a manifest that was given up says of files goes last: a segment that is left, because the
 * disk did not give it out, must not look like one whose manifest is missing.
 */
#include "server/persistence/leftovers.h"

#include "persist/log/log_block.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The real files, which do not let themselves be read. */
static struct fs unread;

static ssize_t no_read(void *arg, int file, void *buffer, size_t size) {
    (void)arg, (void)file, (void)buffer, (void)size;
    return -EIO;
}

static char dir[64], path_gone[128], path_segment[128];

static void put(const char *path, const char *bytes, size_t count) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

/* A segment of an older generation, with something behind its head. */
static void put_segment(void) {
    struct log_segment segment = {.shard = 0, .generation = 1, .sequence = 1, .salt = 7};
    char bytes[LOG_SEGMENT_BYTES + 1] = {0};
    log_segment_encode(&segment, bytes);
    put(path_segment, bytes, sizeof bytes);
}

static struct text encoded(void) {
    struct manifest manifest;
    struct text content;
    manifest_init(&manifest);
    manifest.generation = 2;
    manifest.first = 1;
    manifest.shards = 1;
    text_init(&content);
    manifest_encode(&content, &manifest);
    manifest_fini(&manifest);
    return content;
}

static void begin(void) {
    strcpy(dir, "/tmp/leftovers.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path_gone, sizeof path_gone, "%s/" MANIFEST_GONE_NAME, dir);
    snprintf(path_segment, sizeof path_segment, "%s/log-0-1.segment", dir);
    unread = *fs_real();
    unread.read_data = no_read;
}

static void end(void) {
    unlink(path_gone);
    unlink(path_segment);
    rmdir(dir);
}

TestSuite(leftovers, .init = begin, .fini = end);

static bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

Test(leftovers, a_segment_that_cannot_be_read_is_removed_once_it_can) {
    struct text content = encoded(), why;
    text_init(&why);
    put_segment();
    put(path_gone, content.ptr, content.len);
    cr_assert(!leftovers_without(&unread, dir, text_bytes(&content), &why));
    cr_assert_not_null(strstr(why.ptr, "log-0-1.segment cannot be read"), "%s", why.ptr);
    cr_assert(is_there(path_gone) && is_there(path_segment));
    text_clear(&why);
    cr_assert(leftovers_without(fs_real(), dir, text_bytes(&content), &why), "%s", why.ptr);
    cr_assert(!is_there(path_gone) && !is_there(path_segment));
    text_fini(&why);
    text_fini(&content);
}

Test(leftovers, with_a_manifest_it_is_known_that_some_may_be_left) {
    struct manifest manifest;
    manifest_init(&manifest);
    manifest.generation = 2;
    put_segment();
    cr_assert(!leftovers_remove(&unread, dir, &manifest));
    cr_assert(is_there(path_segment));
    cr_assert(leftovers_remove(fs_real(), dir, &manifest));
    cr_assert(!is_there(path_segment));
    manifest_fini(&manifest);
}

Test(leftovers, records_without_a_manifest_are_told) {
    struct text why;
    text_init(&why);
    put_segment();
    cr_assert(!leftovers_without(fs_real(), dir, BYTES(""), &why));
    cr_assert_not_null(strstr(why.ptr, "log-0-1.segment has records"), "%s", why.ptr);
    cr_assert(is_there(path_segment));
    text_fini(&why);
}
