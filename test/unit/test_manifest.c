/* SPDX-License-Identifier: BSD-3-Clause */
#include "persist/log/manifest.h"

#include <criterion/criterion.h>

static void make(struct manifest *manifest) {
    static const struct manifest_segment segments[] = {
        {0, 1, 0xa1, 4096, 812, 7},
        {0, 2, 0xfffffffffffffff0, 0, 0, 7},
        {2, 8, 3, 64, 0, 6},
        {2, 9, 4, UINT64_MAX, UINT64_MAX, 7},
    };
    manifest_init(manifest);
    manifest->generation = 7;
    manifest->created_ms = 1790000000000;
    manifest->first = 1;
    manifest->shards = 3;
    manifest->stream = (struct manifest_stream){
        true, "0123456789abcdef0123456789abcdef01234567", UINT64_MAX, 15};
    for (unsigned i = 0; i < 4; i++) {
        manifest_add(manifest, &segments[i]);
    }
    for (uint32_t shard = 0; shard < 3; shard++) {
        manifest_add_base(manifest, &(struct manifest_base){shard, 100 + shard, 4096, shard});
    }
}

static const char *decode(struct bytes bytes) {
    struct manifest read;
    manifest_init(&read);
    const char *error = manifest_decode(bytes, &read);
    manifest_fini(&read);
    return error;
}

Test(manifest, is_read_as_it_was_written) {
    struct manifest manifest, read;
    struct text out, again;
    text_init(&out);
    text_init(&again);
    make(&manifest);
    manifest_encode(&out, &manifest);
    manifest_init(&read);
    cr_assert_null(manifest_decode(text_bytes(&out), &read));
    cr_assert_eq(read.count, 4);
    cr_assert_eq(read.segments[1].salt, 0xfffffffffffffff0);
    cr_assert_eq(read.segments[3].bytes, UINT64_MAX);
    cr_assert_eq(read.bases_count, 3);
    cr_assert_eq(read.bases[2].salt, 102);
    cr_assert(read.stream.is);
    cr_assert_str_eq(read.stream.id, manifest.stream.id);
    cr_assert_eq(read.stream.offset, UINT64_MAX);
    cr_assert_eq(read.stream.db, 15);
    manifest_encode(&again, &read);
    cr_assert(bytes_equal(text_bytes(&out), text_bytes(&again)));
    manifest_fini(&manifest);
    manifest_fini(&read);
    text_fini(&out);
    text_fini(&again);
}

Test(manifest, every_bit_counts_and_every_byte_is_needed) {
    struct manifest manifest;
    struct text out;
    text_init(&out);
    make(&manifest);
    manifest_encode(&out, &manifest);
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.ptr[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_not_null(decode(text_bytes(&out)), "bit %zu", bit);
        out.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t length = 0; length < out.len; length++) {
        cr_assert_not_null(decode(bytes_make(out.ptr, length)));
    }
    text_append_char(&out, '\n');
    cr_assert_str_eq(decode(text_bytes(&out)), "something follows its end");
    manifest_fini(&manifest);
    text_fini(&out);
}

/* Two lines changed places, one is missing or twice there, all under a checksum that is right. */
Test(manifest, segments_that_cannot_be_are_refused) {
    static const struct {
        struct manifest_segment segments[2];
        const char *error;
    } rows[] = {
        {{{0, 0, 1, 0, 0, 0}, {1, 1, 2, 0, 0, 0}}, "a segment without a number"},
        {{{0, 1, 1, 0, 0, 1}, {1, 1, 2, 0, 0, 0}},
         "a segment of a generation that is still to come"},
        {{{0, 1, 1, 99, 0, 0}, {0, 3, 2, 0, 0, 0}}, "segments missing, swapped or twice there"},
        {{{0, 1, 1, 99, 0, 0}, {0, 1, 2, 0, 0, 0}}, "segments missing, swapped or twice there"},
        {{{1, 1, 1, 0, 0, 0}, {0, 1, 2, 0, 0, 0}}, "segments out of order"},
        {{{0, 1, 1, 0, 0, 0}, {1, 1, 1, 0, 0, 0}}, "two files with one salt"},
        {{{0, 1, 1, 0, 0, 0}, {2, 1, 2, 0, 0, 0}}, "a segment of a shard that there is not"},
        {{{0, 1, 1, 63, 0, 0}, {1, 1, 2, 0, 0, 0}}, "a segment shorter than its header"},
    };
    struct text out;
    text_init(&out);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct manifest manifest;
        manifest_init(&manifest);
        manifest.shards = 2;
        manifest_add(&manifest, &rows[i].segments[0]);
        manifest_add(&manifest, &rows[i].segments[1]);
        text_clear(&out);
        manifest_encode(&out, &manifest);
        const char *error = decode(text_bytes(&out));
        cr_assert_not_null(error, "row %u", i);
        cr_assert_str_eq(error, rows[i].error, "row %u", i);
        manifest_fini(&manifest);
    }
    text_fini(&out);
}

Test(manifest, snapshots_that_cannot_be_are_refused) {
    static const struct {
        struct manifest_base bases[2];
        const char *error;
    } rows[] = {
        {{{0, 1, 1, 0}, {0, 2, 1, 0}}, "files of the snapshot out of order"},
        {{{1, 1, 1, 0}, {0, 2, 1, 0}}, "a file of the snapshot is missing"},
        {{{0, 1, 1, 0}, {2, 2, 1, 0}}, "a file of the snapshot of a shard that there is not"},
        {{{1, 1, 1, 0}, {0}}, "a file of the snapshot is missing"},
        {{{0, 1, 1, 0}, {1, 1, 1, 0}}, "two files with one salt"},
    };
    struct text out;
    text_init(&out);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct manifest manifest;
        manifest_init(&manifest);
        manifest.shards = 2;
        for (unsigned j = 0; j < 2 && rows[i].bases[j].salt > 0; j++) {
            manifest_add_base(&manifest, &rows[i].bases[j]);
        }
        text_clear(&out);
        manifest_encode(&out, &manifest);
        const char *error = decode(text_bytes(&out));
        cr_assert_not_null(error, "row %u", i);
        cr_assert_str_eq(error, rows[i].error, "row %u", i);
        manifest_fini(&manifest);
    }
    text_fini(&out);
}

/* A start with more shards goes on from a snapshot of fewer. */
Test(manifest, a_log_may_have_more_shards_than_its_snapshot) {
    struct manifest manifest;
    struct text out;
    text_init(&out);
    manifest_init(&manifest);
    manifest.shards = 4;
    manifest_add_base(&manifest, &(struct manifest_base){0, 1, 64, 0});
    manifest_add_base(&manifest, &(struct manifest_base){1, 2, 64, 0});
    manifest_encode(&out, &manifest);
    cr_assert_null(decode(text_bytes(&out)));
    manifest_fini(&manifest);
    text_fini(&out);
}

Test(manifest, names_are_told_apart) {
    char base[MANIFEST_NAME_BYTES], segment[MANIFEST_NAME_BYTES];
    manifest_base_name(base, UINT64_MAX, 3);
    cr_assert_str_eq(base, "base-18446744073709551615-3.snapshot");
    manifest_segment_name(segment, 1023, UINT64_MAX);
    cr_assert_str_eq(segment, "log-1023-18446744073709551615.segment");
}

Test(manifest, forms_that_nobody_writes_are_refused) {
    static const char *const inputs[] = {
        "",
        "REDIS0011",
        "shoal-manifest 2\n",
        "shoal-manifest 1\ngeneration 07 created-ms 1 first 1 shards 1\n",
        "shoal-manifest 1\ngeneration 18446744073709551616 created-ms 1 first 1 shards 1\n",
        "shoal-manifest 1\ngeneration 1 created-ms -1 first 1 shards 1\n",
        "shoal-manifest 1\ngeneration 1 created-ms 1 first 1 shards 1025\n",
        "shoal-manifest 1\ngeneration 1 created-ms 1 first 1 shards 1\nsegment shard 0\n",
        "shoal-manifest 1\ngeneration 1 created-ms 1 first 1 shards 1\nend 00000000000000zz\n",
    };
    for (unsigned i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        cr_assert_not_null(decode(bytes_of_text(inputs[i])), "input %u", i);
    }
}

Test(manifest, a_file_in_the_place_of_another_is_found) {
    struct manifest manifest;
    make(&manifest);
    struct log_segment right = {.shard = 0, .generation = 7, .sequence = 1, .salt = 0xa1};
    cr_assert_null(manifest_check(&manifest, 0, &right, 4096));
    cr_assert_null(manifest_check(&manifest, 0, &right, 5000));
    struct log_segment wrong = right;
    wrong.generation = 6;
    cr_assert_str_eq(manifest_check(&manifest, 0, &wrong, 4096), "it is of another generation");
    wrong = right;
    wrong.shard = 1;
    cr_assert_str_eq(manifest_check(&manifest, 0, &wrong, 4096), "it is another shard's");
    wrong = right;
    wrong.sequence = 2;
    cr_assert_str_eq(manifest_check(&manifest, 0, &wrong, 4096),
                     "it is another segment of the shard");
    wrong = right;
    wrong.salt = 0xa2;
    cr_assert_str_eq(manifest_check(&manifest, 0, &wrong, 4096), "it is another file of that name");
    cr_assert_str_eq(manifest_check(&manifest, 0, &right, 4095), "it is shorter than it was");
    manifest_fini(&manifest);
}
