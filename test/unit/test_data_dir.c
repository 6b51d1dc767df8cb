/* SPDX-License-Identifier: BSD-3-Clause */
/* A small directory of data, every file of it changed in every way: bits, ends, sectors of zeros,
 * pieces of an older file. What is looked at then is wrong, or is the same, or takes fewer numbers
 * and says what it drops; and what a repair leaves is sound, and a prefix of what was there. A last
 * segment alone may end earlier without a word, between two blocks, as a crash leaves it.
 */
#include "persist/check/data_dir.h"

#include "shard/memory/heap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FILES   6
#define NUMBERS 9
#define SECTOR  64

/* ---- Files in memory ---- */

struct memory_file {
    char name[MANIFEST_NAME_BYTES];
    struct text content;
};

struct memory {
    struct fs fs;
    struct memory_file files[FILES];
    int files_count;
    size_t at[FILES]; /* where each is read, one at a time */
};

static int find(struct memory *memory, const char *path) {
    const char *slash = strrchr(path, '/');
    for (int i = 0; i < memory->files_count; i++) {
        if (strcmp(memory->files[i].name, slash != NULL ? slash + 1 : path) == 0) {
            return i;
        }
    }
    return -ENOENT;
}

static int open_data(void *arg, const char *path, bool write, mode_t mode, int *ret_file) {
    struct memory *memory = arg;
    (void)mode;
    cr_assert(!write);
    *ret_file = find(memory, path);
    if (*ret_file >= 0) {
        memory->at[*ret_file] = 0;
    }
    return *ret_file < 0 ? *ret_file : 0;
}

static ssize_t read_data(void *arg, int file, void *buffer, size_t size) {
    struct memory *memory = arg;
    struct bytes content = text_bytes(&memory->files[file].content);
    size_t left = content.len - memory->at[file];
    size = size < left ? size : left;
    size = size < 100 ? size : 100; /* in pieces */
    memcpy(buffer, content.ptr + memory->at[file], size);
    memory->at[file] += size;
    return (ssize_t)size;
}

static int seek_data(void *arg, int file, uint64_t offset) {
    struct memory *memory = arg;
    memory->at[file] = (size_t)offset;
    return 0;
}

static int size_data(void *arg, int file, uint64_t *ret_bytes) {
    struct memory *memory = arg;
    *ret_bytes = memory->files[file].content.len;
    return 0;
}

static int close_data(void *arg, int file, bool sync) {
    (void)arg, (void)file, (void)sync;
    return 0;
}

static int exists(void *arg, const char *path, bool want_dir) {
    return want_dir ? 0 : find(arg, path) < 0 ? -ENOENT : 0;
}

static int match(void *arg, const char *pattern, char ***ret_names) {
    struct memory *memory = arg;
    *ret_names = calloc(FILES + 1, sizeof **ret_names);
    for (int i = 0; i < memory->files_count; i++) {
        (*ret_names)[i] = malloc(strlen(pattern) + MANIFEST_NAME_BYTES);
        sprintf((*ret_names)[i], "%.*s%s", (int)strlen(pattern) - 1, pattern,
                memory->files[i].name);
    }
    return 0;
}

static struct text *add_file(struct memory *memory, const char *name) {
    struct memory_file *file = &memory->files[memory->files_count++];
    cr_assert_leq(memory->files_count, FILES);
    snprintf(file->name, sizeof file->name, "%s", name);
    text_init(&file->content);
    return &file->content;
}

/* ---- The data ---- */

struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct hash_secret secret;
    struct value_rules rules;
    struct memory memory;
    struct text old[FILES]; /* of another time: as long, with other salts */
    struct text whole;      /* what is read of it */
};

static void put_base(struct memory *memory, struct manifest *manifest, uint32_t shard,
                     uint64_t salt) {
    char name[MANIFEST_NAME_BYTES], front[FRAMES_HEAD_BYTES];
    struct frames_head head = {shard, 2, manifest->generation, 5, 0, salt};
    manifest_base_name(name, manifest->generation, shard);
    struct text *out = add_file(memory, name);
    frames_head_encode(&head, front);
    text_append(out, front, sizeof front);
    struct frame frame = {.offset = out->len, .keys = 1, .slot_last = SLOTS - 1};
    /* A set of two members, the second of which goes on in another frame. */
    frame_encode(out, &head, &frame,
                 shard == 0 ? BYTES("\xfe\x00\x02\x03key\x02\x03one\x05ot")
                            : BYTES("\xfe\x00\x02\x03two\x02\x03one\x05ot"),
                 false);
    frame = (struct frame){
        .index = 1, .offset = out->len, .flags = FRAME_GOES_ON, .slot_last = SLOTS - 1};
    frame_encode(out, &head, &frame, BYTES("her"), false);
    frame = (struct frame){.index = 2, .offset = out->len, .keys = 1, .flags = FRAME_LAST};
    frame_encode(out, &head, &frame, BYTES(""), false);
    manifest_add_base(manifest, &(struct manifest_base){shard, salt, out->len, 1});
}

struct log_end {
    struct text *out;
    struct log_segment segment;
    uint64_t records;
};

static void put_segment(struct memory *memory, struct log_end *end, uint32_t shard,
                        uint64_t sequence, uint64_t salt) {
    char name[MANIFEST_NAME_BYTES], head[LOG_SEGMENT_BYTES];
    end->segment = (struct log_segment){shard, 3, sequence, 7, end->records, salt};
    manifest_segment_name(name, shard, sequence);
    end->out = add_file(memory, name);
    log_segment_encode(&end->segment, head);
    text_append(end->out, head, sizeof head);
}

static void put_block(struct log_end *end, uint64_t number, uint32_t parts, uint64_t safe) {
    char record[64];
    snprintf(record, sizeof record, "*3\r\n$3\r\nSET\r\n$3\r\nn%02u\r\n$1\r\n%u\r\n",
             (unsigned)number, (unsigned)end->segment.shard);
    struct log_run run = {number, strlen(record), 1, parts};
    struct log_block block = {.offset = end->out->len,
                              .first_record = end->records,
                              .runs = 1,
                              .synced = safe > 0 ? end->out->len : 0,
                              .safe = safe,
                              .time_ms = 1000 + number};
    log_block_encode(end->out, &end->segment, &block, &run, bytes_make(record, strlen(record)));
    end->records++;
}

/* Shard 0 has two segments, the first of which is closed; number 4 is a transaction on both. */
static void make(struct memory *memory, uint64_t salt) {
    struct manifest manifest;
    struct log_end ends[2] = {0};
    struct text *first;
    manifest_init(&manifest);
    manifest.generation = 3;
    manifest.created_ms = 5;
    manifest.first = 1;
    manifest.shards = 2;
    put_base(memory, &manifest, 0, salt + 1);
    put_base(memory, &manifest, 1, salt + 2);
    put_segment(memory, &ends[0], 0, 1, salt + 3);
    put_segment(memory, &ends[1], 1, 1, salt + 5);
    first = ends[0].out;
    put_block(&ends[0], 1, 1, 0);
    put_block(&ends[1], 2, 1, 0);
    put_block(&ends[0], 3, 1, 1);
    put_block(&ends[1], 4, 2, 2);
    put_block(&ends[0], 4, 2, 2);
    put_segment(memory, &ends[0], 0, 2, salt + 4);
    for (uint64_t number = 5; number <= NUMBERS; number++) {
        put_block(&ends[number % 2], number, 1, number > 6 ? 5 : 0);
    }
    manifest_add(&manifest, &(struct manifest_segment){0, 1, salt + 3, first->len, 0, 3});
    manifest_add(&manifest, &(struct manifest_segment){0, 2, salt + 4, 0, 0, 3});
    manifest_add(&manifest, &(struct manifest_segment){1, 1, salt + 5, 0, 0, 3});
    manifest_encode(add_file(memory, MANIFEST_NAME), &manifest);
    manifest_fini(&manifest);
}

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    f->heap = shard_heap_new();
    f->ks = keyspace_new(
        &(struct keyspace_options){.databases = 1, .secret = &f->secret, .heap = f->heap});
    f->rules = (struct value_rules){.set = {512, 128, 64}};
    struct memory other = {0};
    make(&other, 900);
    for (int i = 0; i < FILES; i++) {
        f->old[i] = other.files[i].content;
    }
    make(&f->memory, 100);
    f->memory.fs = (struct fs){
        .arg = &f->memory,
        .open_data = open_data,
        .read_data = read_data,
        .seek_data = seek_data,
        .size_data = size_data,
        .close_data = close_data,
        .exists = exists,
        .match = match,
    };
    text_init(&f->whole);
    return f;
}

static void fixture_free(struct fixture *f) {
    for (int i = 0; i < FILES; i++) {
        text_fini(&f->memory.files[i].content);
        text_fini(&f->old[i]);
    }
    text_fini(&f->whole);
    keyspace_free(f->ks);
    shard_heap_free(f->heap);
    free(f);
}

/* ---- Reading ---- */

static bool note_record(void *arg, const struct dir_record *record, struct text *why) {
    (void)why;
    cr_assert_eq(record->argc, 3);
    text_appendf(arg, "%u@%u=%.*s ", (unsigned)record->number, (unsigned)record->shard,
                 (int)record->argv[1].len, record->argv[1].ptr);
    return true;
}

struct taken {
    bool opened, sound, dropped, repairable;
    char finding[200]; /* the first */
    struct text records;
};

static void read_records(const struct data_dir *dir, struct text *to) {
    struct text why;
    text_init(&why);
    cr_assert(data_dir_records(dir, dir->last, note_record, to, &why), "%s", why.ptr);
    text_fini(&why);
}

/* `cut`: the manifest of a repair is put in its place, if that can be. */
static void take(struct fixture *f, struct taken *taken, bool cut) {
    struct data_dir dir;
    struct text why;
    bool missing;
    text_init(&why);
    text_init(&taken->records);
    taken->opened = data_dir_open(&dir, &f->memory.fs, "data", &missing, &why);
    taken->sound = taken->dropped = taken->repairable = false;
    snprintf(taken->finding, sizeof taken->finding, "%s", why.ptr);
    if (taken->opened) {
        struct data_dir_options options = {f->ks, &f->rules, NULL, NULL};
        taken->sound = data_dir_look(&dir, &options);
        taken->repairable = dir.is_repairable;
        for (size_t i = 0; i < dir.findings_count; i++) {
            if (i == 0) {
                snprintf(taken->finding, sizeof taken->finding, "%s", dir.findings[i].text);
            }
            taken->dropped |= dir.findings[i].kind == FINDING_DROPPED;
        }
    }
    if (taken->sound) {
        read_records(&dir, &taken->records);
    } else if (taken->opened && taken->repairable && cut) {
        struct manifest manifest;
        struct text *text = &f->memory.files[find(&f->memory, MANIFEST_NAME)].content;
        manifest_init(&manifest);
        data_dir_cut(&dir, dir.last, &manifest);
        text_clear(text);
        manifest_encode(text, &manifest);
        manifest_fini(&manifest);
    }
    data_dir_close(&dir);
    text_fini(&why);
}

static bool is_prefix(const struct fixture *f, const struct taken *taken) {
    return taken->records.len <= f->whole.len &&
           memcmp(taken->records.ptr, f->whole.ptr, taken->records.len) == 0;
}

/* Where a last segment may end. */
static bool is_block_end(const struct fixture *f, const struct text *before, size_t length) {
    (void)f;
    if (length == before->len || length == LOG_SEGMENT_BYTES) {
        return true;
    }
    return length < before->len && memcmp(before->ptr + length, "ShBlock1", 8) == 0;
}

/* Segments that a manifest does not name any more, as a repair moves them away. */
static void move_left_out(struct fixture *f) {
    const char *manifest = f->memory.files[find(&f->memory, MANIFEST_NAME)].content.ptr;
    for (int i = 0; i < FILES; i++) {
        unsigned shard, sequence;
        char *name = f->memory.files[i].name, line[64];
        if (sscanf(name, "log-%u-%u.segment", &shard, &sequence) == 2) {
            snprintf(line, sizeof line, "segment shard %u sequence %u ", shard, sequence);
            name[0] = strstr(manifest, line) != NULL ? 'l' : '-';
            name[strlen(name) - 1] = name[0] == 'l' ? 't' : '-';
        }
    }
}

static void put_back(struct fixture *f) {
    for (int i = 0; i < FILES; i++) {
        char *name = f->memory.files[i].name;
        if (name[0] == '-') {
            name[0] = 'l';
            name[strlen(name) - 1] = 't';
        }
    }
}

static void judge(struct fixture *f, int file, const struct text *before, const char *what,
                  size_t at) {
    struct text *content = &f->memory.files[file].content;
    const char *name = f->memory.files[file].name;
    struct taken taken;
    bool same = bytes_equal(text_bytes(content), text_bytes(before));
    struct text manifest;
    text_init(&manifest);
    struct text *live = &f->memory.files[find(&f->memory, MANIFEST_NAME)].content;
    text_append_bytes(&manifest, text_bytes(live));
    take(f, &taken, true);
    if (taken.sound) {
        bool all = taken.records.len == f->whole.len;
        bool is_segment = strstr(name, "segment") != NULL;
        cr_assert(is_prefix(f, &taken), "%s: %s at %zu: %s", name, what, at, taken.records.ptr);
        cr_assert(is_segment || same, "%s: %s at %zu is not seen", name, what, at);
        cr_assert(all || taken.dropped || is_block_end(f, before, content->len),
                  "%s: %s at %zu loses numbers without a word", name, what, at);
    } else if (taken.opened && taken.repairable) {
        struct taken repaired;
        move_left_out(f);
        take(f, &repaired, false);
        cr_assert(repaired.sound, "%s: %s at %zu: %s", name, what, at, repaired.finding);
        cr_assert(is_prefix(f, &repaired), "%s: %s at %zu: %s", name, what, at,
                  repaired.records.ptr);
        text_fini(&repaired.records);
        put_back(f);
    }
    text_clear(live);
    text_append_bytes(live, text_bytes(&manifest));
    text_fini(&manifest);
    text_fini(&taken.records);
}

/* Every file with each change that `change` makes at one place; false: there is none. */
typedef bool change_fn(struct text *content, const struct text *old, size_t at);

static void change_each(change_fn *change, size_t step, const char *what) {
    struct fixture *f = fixture_new();
    struct taken taken;
    take(f, &taken, false);
    cr_assert(taken.sound && !taken.dropped, "%s", taken.finding);
    text_append_bytes(&f->whole, text_bytes(&taken.records));
    cr_assert_str_eq(taken.records.ptr, "1@0=n01 2@1=n02 3@0=n03 4@0=n04 4@1=n04 5@1=n05 6@0=n06 "
                                        "7@1=n07 8@0=n08 9@1=n09 ");
    text_fini(&taken.records);
    for (int file = 0; file < FILES; file++) {
        struct text before, *content = &f->memory.files[file].content;
        text_init(&before);
        text_append_bytes(&before, text_bytes(content));
        for (size_t at = 0; at < before.len; at += step) {
            text_clear(content);
            text_append_bytes(content, text_bytes(&before));
            if (change(content, &f->old[file], at)) {
                judge(f, file, &before, what, at);
            }
        }
        text_clear(content);
        text_append_bytes(content, text_bytes(&before));
        text_fini(&before);
    }
    fixture_free(f);
}

static bool flip(struct text *content, const struct text *old, size_t at) {
    (void)old;
    content->ptr[at] ^= (char)(1 << at % 8);
    return true;
}

static bool overwrite(struct text *content, const struct text *old, size_t at) {
    (void)old;
    content->ptr[at] = content->ptr[at] == 'S' ? 'T' : 'S';
    return true;
}

static bool cut_off(struct text *content, const struct text *old, size_t at) {
    (void)old;
    content->len = at;
    return true;
}

static bool zero(struct text *content, const struct text *old, size_t at) {
    (void)old;
    size_t n = content->len - at < SECTOR ? content->len - at : SECTOR;
    memset(content->ptr + at, 0, n);
    return true;
}

static bool old_from_here(struct text *content, const struct text *old, size_t at) {
    content->len = at;
    text_append(content, old->ptr + at, old->len > at ? old->len - at : 0);
    return true;
}

static bool old_up_to_here(struct text *content, const struct text *old, size_t at) {
    size_t n = at < old->len ? at : old->len;
    memcpy(content->ptr, old->ptr, n);
    return true;
}

static bool left_out(struct text *content, const struct text *old, size_t at) {
    (void)old;
    size_t n = content->len - at < 7 ? content->len - at : 7;
    memmove(content->ptr + at, content->ptr + at + n, content->len - at - n);
    content->len -= n;
    return true;
}

static bool twice_there(struct text *content, const struct text *old, size_t at) {
    (void)old;
    size_t n = content->len - at;
    text_reserve(content, n);
    memmove(content->ptr + at + n, content->ptr + at, n);
    content->len += n;
    return true;
}

Test(data_dir, bits_that_flip_are_seen_or_harmless) {
    change_each(flip, 1, "a bit");
}

Test(data_dir, bytes_that_change_are_seen_or_harmless) {
    change_each(overwrite, 1, "a byte");
}

Test(data_dir, missing_ends_are_seen_or_harmless) {
    change_each(cut_off, 1, "a missing end");
}

Test(data_dir, zeroed_sectors_are_seen_or_harmless) {
    change_each(zero, 1, "zeros");
}

Test(data_dir, pieces_of_an_older_file_are_seen_or_harmless) {
    change_each(old_from_here, 1, "an older file from there on");
    change_each(old_up_to_here, 1, "an older file up to there");
}

Test(data_dir, bytes_that_are_missing_or_twice_there_are_seen_or_harmless) {
    change_each(left_out, 1, "bytes that are missing");
    change_each(twice_there, 1, "bytes that are twice there");
}

/* ---- Less of it ---- */

Test(data_dir, a_cut_takes_what_it_says_and_no_more) {
    for (uint64_t last = 0; last <= NUMBERS; last++) {
        struct fixture *f = fixture_new();
        struct data_dir dir;
        struct text why, expected;
        struct taken taken;
        struct manifest cut;
        bool missing;
        text_init(&why);
        text_init(&expected);
        manifest_init(&cut);
        cr_assert(data_dir_open(&dir, &f->memory.fs, "data", &missing, &why));
        struct data_dir_options options = {f->ks, &f->rules, NULL, NULL};
        cr_assert(data_dir_look(&dir, &options));
        cr_assert_eq(dir.last, NUMBERS);
        cr_assert(data_dir_records(&dir, last, note_record, &expected, &why));
        cr_assert_eq(data_dir_number_at(&dir, 1000 + last), last);
        data_dir_cut(&dir, last, &cut);
        struct text *text = &f->memory.files[find(&f->memory, MANIFEST_NAME)].content;
        text_clear(text);
        manifest_encode(text, &cut);
        take(f, &taken, false);
        cr_assert(taken.sound && !taken.dropped, "number %u", (unsigned)last);
        cr_assert_str_eq(taken.records.ptr, expected.ptr);
        data_dir_close(&dir);
        manifest_fini(&cut);
        text_fini(&taken.records);
        text_fini(&why);
        text_fini(&expected);
        fixture_free(f);
    }
}
