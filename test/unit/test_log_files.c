/* SPDX-License-Identifier: BSD-3-Clause */
/* A log of several files and its manifest, changed in every way: the start refuses it, or takes
 * numbers from the first on, whole, with the records that were written; if it takes fewer than
 * before it says what is lost, and it never takes fewer than a block that is left knows to be on
 * disk. Only a file that ends between two blocks, which nobody knows to be on disk, may be short
 * without a word: a crash leaves it so.
 */
#include "base/random.h"
#include "persist/log/log_recover.h"
#include "persist/log/manifest.h"
#include "test/unit/log_file.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define SHARDS      3
#define FILES       4 /* the first two are one shard's */
#define NUMBERS_MAX 60

/* All records of number n, on all shards, are the request "*1\r\n$4\r\nxxxx\r\n" with its digits.
 */
static void record_of(uint64_t number, char to[32]) {
    snprintf(to, 32, "*1\r\n$4\r\n%04u\r\n", (unsigned)number);
}

struct data {
    struct log_file files[FILES];
    struct text manifest;
    uint32_t records[NUMBERS_MAX + 1];
    unsigned numbers;
};

struct taken {
    const char *error;
    bool told; /* that something is lost */
    uint64_t last, safe;
    uint32_t records[NUMBERS_MAX + 1];
};

/* ---- Writing ---- */

static struct log_file *current(struct data *data, uint32_t shard) {
    if (shard == 0 && data->files[1].bytes.ptr == NULL) {
        return &data->files[0];
    }
    return &data->files[shard + 1];
}

static void put(struct data *data, uint32_t shard, uint64_t number, uint32_t records,
                uint32_t parts) {
    struct log_run run = {.number = number, .records = records, .parts = parts};
    char record[32];
    record_of(number, record);
    log_file_put(current(data, shard), &run, 1, record);
    data->records[number] += records;
}

static void rotate(struct data *data) {
    log_file_init(&data->files[1], 0, 2, 1000);
    data->files[1].segment.first_record = data->files[1].next_record = data->files[0].next_record;
    log_segment_encode(&data->files[1].segment, data->files[1].bytes.ptr);
}

/* Now and then all that is there is known to be on disk. */
static void sync_all(struct data *data, uint64_t number) {
    for (unsigned f = 0; f < FILES; f++) {
        data->files[f].synced = data->files[f].bytes.len;
        data->files[f].safe = number;
    }
}

static void write_manifest(struct data *data, uint64_t generation) {
    struct manifest manifest;
    manifest_init(&manifest);
    manifest.generation = generation;
    manifest.first = 1;
    manifest.shards = SHARDS;
    for (unsigned f = 0; f < FILES; f++) {
        const struct log_file *file = &data->files[f];
        struct manifest_segment segment = {.shard = file->segment.shard,
                                           .sequence = file->segment.sequence,
                                           .salt = file->segment.salt,
                                           .bytes = f == 0 ? file->bytes.len : 0,
                                           .generation = generation};
        manifest_add(&manifest, &segment);
    }
    text_init(&data->manifest);
    manifest_encode(&data->manifest, &manifest);
    manifest_fini(&manifest);
}

static void make(struct data *data, struct rng *rng, uint64_t salt) {
    memset(data, 0, sizeof *data);
    for (unsigned f = 0; f < FILES; f++) {
        if (f != 1) {
            log_file_init(&data->files[f], f == 0 ? 0 : f - 1, 1, salt + f);
        }
    }
    data->numbers = 20 + (unsigned)rng_below(rng, NUMBERS_MAX - 20);
    for (unsigned n = 1; n <= data->numbers; n++) {
        uint32_t shard = (uint32_t)rng_below(rng, SHARDS);
        if (n == 15) {
            rotate(data);
        }
        if (rng_below(rng, 3)) {
            put(data, shard, n, 1 + (uint32_t)rng_below(rng, 60), 1);
        } else {
            put(data, shard, n, 1, 2);
            put(data, (shard + 1) % SHARDS, n, 1, 2);
        }
        if (rng_below(rng, 8) == 0) {
            sync_all(data, n);
        }
    }
    write_manifest(data, 7);
}

static void fini(struct data *data) {
    for (unsigned f = 0; f < FILES; f++) {
        log_file_fini(&data->files[f]);
    }
    text_fini(&data->manifest);
}

/* ---- Starting ---- */

struct reader {
    struct log_recover *recover;
    struct taken *taken;
    uint32_t file;
    bool counting; /* the second time, when it is known which numbers are taken */
};

static void count_run(struct reader *reader, const struct log_run *run, struct bytes payload) {
    char record[32];
    record_of(run->number, record);
    cr_assert_leq(run->number, NUMBERS_MAX);
    cr_assert_eq(run->bytes, run->records * strlen(record));
    for (uint32_t r = 0; r < run->records; r++) {
        cr_assert_eq(memcmp(payload.ptr + r * strlen(record), record, strlen(record)), 0);
    }
    reader->taken->records[run->number] += run->records;
}

static void read_block(void *context, const struct log_block *block) {
    struct reader *reader = context;
    if (!reader->counting) {
        log_recover_add(reader->recover, reader->file, block);
        return;
    }
    struct text room;
    struct bytes payload;
    text_init(&room);
    cr_assert(log_block_payload(block, &room, &payload));
    for (uint32_t i = 0; i < block->runs; i++) {
        struct log_run run = log_block_run(block, i);
        if (run.number <= reader->taken->last) {
            count_run(reader, &run, payload);
        }
        payload = bytes_make(payload.ptr + run.bytes, payload.len - run.bytes);
    }
    text_fini(&room);
}

/* NULL, or why it refuses. */
static const char *read_files(const struct data *data, const struct manifest *manifest,
                              struct reader *reader) {
    for (reader->file = 0; reader->file < manifest->count; reader->file++) {
        struct bytes bytes = text_bytes(&data->files[reader->file].bytes);
        uint64_t counts = manifest->segments[reader->file].bytes;
        struct log_scan scan;
        struct log_segment segment;
        const char *error = log_segment_decode(bytes, &segment);
        error = error ? error : manifest_check(manifest, reader->file, &segment, bytes.len);
        if (error != NULL) {
            return error;
        }
        bytes.len = counts ? (size_t)counts : bytes.len;
        log_file_scan(bytes, 4096, &scan, read_block, reader);
        if (scan.verdict == LOG_SCAN_CORRUPT) {
            return scan.error;
        }
        reader->taken->told |= scan.lost_bytes > 0;
    }
    return NULL;
}

static void start(const struct data *data, struct taken *taken) {
    struct log_recover_file files[FILES] = {{0}};
    struct log_recover recover;
    struct manifest manifest;
    struct reader reader = {&recover, taken, 0, false};
    memset(taken, 0, sizeof *taken);
    manifest_init(&manifest);
    taken->error = manifest_decode(text_bytes(&data->manifest), &manifest);
    if (taken->error != NULL) {
        return;
    }
    log_recover_init(&recover, files, manifest.count, manifest.first);
    for (uint32_t f = 0; f < manifest.count; f++) {
        files[f].shard = manifest.segments[f].shard;
        files[f].bytes = manifest.segments[f].bytes;
    }
    taken->error = read_files(data, &manifest, &reader);
    if (taken->error == NULL && !log_recover_end(&recover)) {
        taken->error = recover.error;
    }
    if (taken->error == NULL) {
        taken->last = recover.last;
        taken->safe = recover.safe;
        taken->told |= recover.dropped_records > 0;
        reader.counting = true;
        read_files(data, &manifest, &reader);
    }
    log_recover_fini(&recover);
    manifest_fini(&manifest);
}

/* ---- The judge ---- */

enum judgement { REFUSED, SHORTER, THE_SAME, JUDGEMENTS };

static enum judgement judge(const struct data *changed, const struct data *original,
                            bool may_be_short) {
    struct taken taken;
    start(changed, &taken);
    if (taken.error != NULL) {
        return REFUSED;
    }
    for (unsigned n = 1; n <= NUMBERS_MAX; n++) {
        cr_assert_eq(taken.records[n], n <= taken.last ? original->records[n] : 0);
    }
    cr_assert_geq(taken.last, taken.safe);
    if (taken.last == original->numbers) {
        return THE_SAME;
    }
    cr_assert(taken.told || may_be_short);
    return SHORTER;
}

/* ---- Changes ---- */

static void copy_text(struct text *to, const struct text *from) {
    text_init(to);
    text_append_bytes(to, text_bytes(from));
}

static void copy(struct data *to, const struct data *from) {
    *to = *from;
    for (unsigned f = 0; f < FILES; f++) {
        copy_text(&to->files[f].bytes, &from->files[f].bytes);
    }
    copy_text(&to->manifest, &from->manifest);
}

static void set_text(struct text *to, const struct text *from, size_t length) {
    struct text kept;
    text_init(&kept);
    text_append(&kept, from->ptr, length);
    text_fini(to);
    *to = kept;
}

enum change { FLIP, TRUNCATE, ZERO, ZERO_TAIL, OLD_OVER_NEW, OLD_FILE, SWAP, TWICE, OLD_MANIFEST };

#define CHANGES (OLD_MANIFEST + 1)

static void zero(struct text *text, size_t at, size_t count) {
    memset(text->ptr + at, 0, at + count < text->len ? count : text->len - at);
}

/* `old` is the same directory a generation ago. */
static void change(struct data *data, const struct data *old, enum change kind, struct rng *rng) {
    unsigned f = (unsigned)rng_below(rng, FILES), g = (f + 1) % FILES;
    struct text *text = &data->files[f].bytes;
    const struct text *older = &old->files[f].bytes;
    size_t at = (size_t)rng_below(rng, text->len), sector = at / 512 * 512;
    switch (kind) {
    case FLIP:
        text->ptr[at] ^= (char)(1 << rng_below(rng, 8));
        break;
    case TRUNCATE:
        set_text(text, text, at);
        break;
    case ZERO:
        zero(text, sector, 512);
        break;
    case ZERO_TAIL:
        zero(text, sector, text->len);
        break;
    case OLD_OVER_NEW:
        memcpy(text->ptr + sector, older->ptr + (sector < older->len ? sector : 0),
               sector < older->len && older->len < text->len ? older->len - sector : 1);
        break;
    case OLD_FILE:
        set_text(text, older, older->len);
        break;
    case SWAP: {
        struct text other = data->files[g].bytes;
        data->files[g].bytes = *text;
        *text = other;
        break;
    }
    case TWICE:
        set_text(text, &data->files[g].bytes, data->files[g].bytes.len);
        break;
    case OLD_MANIFEST:
        set_text(&data->manifest, &old->manifest, old->manifest.len);
        break;
    }
}

Test(log_files, whatever_becomes_of_them_is_found_or_harmless) {
    static struct data data, old, changed;
    unsigned counts[CHANGES][JUDGEMENTS] = {{0}};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        make(&old, &rng, 500);
        text_fini(&old.manifest);
        write_manifest(&old, 6);
        make(&data, &rng, 100);
        cr_assert_eq(judge(&data, &data, false), THE_SAME);
        for (unsigned i = 0; i < CHANGES * 30; i++) {
            copy(&changed, &data);
            change(&changed, &old, i % CHANGES, &rng);
            counts[i % CHANGES][judge(&changed, &data, i % CHANGES == TRUNCATE)]++;
            fini(&changed);
        }
        fini(&data);
        fini(&old);
    }
    for (unsigned kind = 0; kind < CHANGES; kind++) {
        fprintf(stderr, "change %u: refused %u, shorter %u, the same %u\n", kind,
                counts[kind][REFUSED], counts[kind][SHORTER], counts[kind][THE_SAME]);
        cr_assert_gt(counts[kind][REFUSED], 0u);
        bool whole_file = kind >= OLD_FILE;
        cr_assert(!whole_file || counts[kind][SHORTER] + counts[kind][THE_SAME] == 0);
        cr_assert(kind != FLIP || counts[kind][THE_SAME] == 0);
    }
}
