/* SPDX-License-Identifier: BSD-3-Clause */
/* Read strictly: one way to write each thing, so that nothing else has the same meaning, and what is
 * read and written again is the same bytes.
 */
#include "persist/log/manifest.h"

#include "base/check.h"
#include "base/must.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

void manifest_init(struct manifest *manifest) {
    *manifest = (struct manifest){.segments = NULL};
}

void manifest_fini(struct manifest *manifest) {
    free(manifest->bases);
    free(manifest->segments);
    manifest_init(manifest);
}

void manifest_base_name(char to[MANIFEST_NAME_BYTES], uint64_t generation, uint32_t shard) {
    snprintf(to, MANIFEST_NAME_BYTES, "base-%" PRIu64 "-%" PRIu32 ".snapshot", generation, shard);
}

void manifest_segment_name(char to[MANIFEST_NAME_BYTES], uint32_t shard, uint64_t sequence) {
    snprintf(to, MANIFEST_NAME_BYTES, "log-%" PRIu32 "-%" PRIu64 ".segment", shard, sequence);
}

void manifest_add(struct manifest *manifest, const struct manifest_segment *segment) {
    if (manifest->count == manifest->room) {
        manifest->room = manifest->room ? manifest->room * 2 : 16;
        manifest->segments =
            must_realloc(manifest->segments, manifest->room * sizeof *manifest->segments);
    }
    manifest->segments[manifest->count++] = *segment;
}

void manifest_add_base(struct manifest *manifest, const struct manifest_base *base) {
    if (manifest->bases_count == manifest->bases_room) {
        manifest->bases_room = manifest->bases_room ? manifest->bases_room * 2 : 16;
        manifest->bases =
            must_realloc(manifest->bases, manifest->bases_room * sizeof *manifest->bases);
    }
    manifest->bases[manifest->bases_count++] = *base;
}

bool manifest_names_base(const struct manifest *manifest, uint64_t generation, uint32_t shard) {
    if (manifest->generation != generation) {
        return false;
    }
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        if (manifest->bases[i].shard == shard) {
            return true;
        }
    }
    return false;
}

void manifest_copy(struct manifest *to, const struct manifest *from) {
    manifest_init(to);
    to->generation = from->generation;
    to->created_ms = from->created_ms;
    to->first = from->first;
    to->shards = from->shards;
    to->stream = from->stream;
    for (uint32_t i = 0; i < from->bases_count; i++) {
        manifest_add_base(to, &from->bases[i]);
    }
    for (uint32_t i = 0; i < from->count; i++) {
        manifest_add(to, &from->segments[i]);
    }
}

/* ---- Writing ---- */

void manifest_encode(struct text *out, const struct manifest *manifest) {
    size_t start = out->len;
    text_append_text(out, "shoal-manifest 1\n");
    text_appendf(out, "generation %" PRIu64 " created-ms %" PRIu64, manifest->generation,
                 manifest->created_ms);
    text_appendf(out, " first %" PRIu64 " shards %" PRIu32 "\n", manifest->first, manifest->shards);
    if (manifest->stream.is) {
        text_appendf(out, "stream id %s offset %" PRIu64 " db %" PRIu32 "\n", manifest->stream.id,
                     manifest->stream.offset, manifest->stream.db);
    }
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        const struct manifest_base *base = &manifest->bases[i];
        text_appendf(out, "base shard %" PRIu32 " salt %016" PRIx64, base->shard, base->salt);
        text_appendf(out, " bytes %" PRIu64 " keys %" PRIu64 "\n", base->bytes, base->keys);
    }
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        text_appendf(out, "segment shard %" PRIu32 " sequence %" PRIu64 " salt %016" PRIx64,
                     segment->shard, segment->sequence, segment->salt);
        text_appendf(out, " bytes %" PRIu64 " until %" PRIu64 " generation %" PRIu64 "\n",
                     segment->bytes, segment->until, segment->generation);
    }
    uint64_t hash = XXH3_64bits(out->ptr + start, out->len - start);
    text_appendf(out, "end %016" PRIx64 "\n", hash);
}

/* ---- Reading ---- */

/* Takes a word off the input: these very bytes. */
static bool take_word(struct bytes *in, const char *word) {
    size_t length = strlen(word);
    if (in->len < length || memcmp(in->ptr, word, length) != 0) {
        return false;
    }
    *in = bytes_make(in->ptr + length, in->len - length);
    return true;
}

static int digit_of(char c, unsigned base) {
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
    return digit < (int)base ? digit : -1;
}

/* A number as it is written: no sign, no zeros in front. */
static bool take_number(struct bytes *in, const char *word, uint64_t *ret) {
    uint64_t number = 0;
    size_t digits = 0;
    if (!take_word(in, word)) {
        return false;
    }
    for (; digits < in->len && digit_of(in->ptr[digits], 10) >= 0; digits++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)digit_of(in->ptr[digits], 10), &number)) {
            return false;
        }
    }
    if (digits == 0 || (digits > 1 && in->ptr[0] == '0')) {
        return false;
    }
    *in = bytes_make(in->ptr + digits, in->len - digits);
    *ret = number;
    return true;
}

/* Sixteen digits. */
static bool take_hash(struct bytes *in, const char *word, uint64_t *ret) {
    if (!take_word(in, word) || in->len < 16) {
        return false;
    }
    *ret = 0;
    for (unsigned i = 0; i < 16; i++) {
        int digit = digit_of(in->ptr[i], 16);
        if (digit < 0) {
            return false;
        }
        *ret = *ret << 4 | (unsigned)digit;
    }
    *in = bytes_make(in->ptr + 16, in->len - 16);
    return true;
}

static bool take_segment(struct bytes *in, struct manifest_segment *ret) {
    uint64_t shard;
    if (!take_number(in, "segment shard ", &shard) || shard >= MANIFEST_SHARDS_MAX) {
        return false;
    }
    ret->shard = (uint32_t)shard;
    return take_number(in, " sequence ", &ret->sequence) && take_hash(in, " salt ", &ret->salt) &&
           take_number(in, " bytes ", &ret->bytes) && take_number(in, " until ", &ret->until) &&
           take_number(in, " generation ", &ret->generation) && take_word(in, "\n");
}

static bool take_base(struct bytes *in, struct manifest_base *ret) {
    uint64_t shard;
    if (!take_number(in, "base shard ", &shard) || shard >= MANIFEST_SHARDS_MAX) {
        return false;
    }
    ret->shard = (uint32_t)shard;
    return take_hash(in, " salt ", &ret->salt) && take_number(in, " bytes ", &ret->bytes) &&
           take_number(in, " keys ", &ret->keys) && take_word(in, "\n");
}

static bool take_front(struct bytes *in, struct manifest *manifest) {
    uint64_t shards;
    if (!take_word(in, "\n") || !take_number(in, "generation ", &manifest->generation) ||
        !take_number(in, " created-ms ", &manifest->created_ms) ||
        !take_number(in, " first ", &manifest->first) || !take_number(in, " shards ", &shards) ||
        !take_word(in, "\n") || shards > MANIFEST_SHARDS_MAX) {
        return false;
    }
    manifest->shards = (uint32_t)shards;
    return true;
}

/* Nothing happens if there is none. */
static bool take_stream(struct bytes *in, struct manifest_stream *ret) {
    uint64_t db;
    ret->is = take_word(in, "stream id ");
    if (!ret->is) {
        return true;
    }
    for (unsigned i = 0; i < MANIFEST_STREAM_ID_BYTES; i++) {
        if (i >= in->len || digit_of(in->ptr[i], 16) < 0) {
            return false;
        }
        ret->id[i] = in->ptr[i];
    }
    ret->id[MANIFEST_STREAM_ID_BYTES] = 0;
    *in = bytes_make(in->ptr + MANIFEST_STREAM_ID_BYTES, in->len - MANIFEST_STREAM_ID_BYTES);
    if (!take_number(in, " offset ", &ret->offset) || !take_number(in, " db ", &db) ||
        db > UINT32_MAX || !take_word(in, "\n")) {
        return false;
    }
    ret->db = (uint32_t)db;
    return true;
}

static int by_salt(const void *a, const void *b) {
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return (one > other) - (one < other);
}

static bool salts_differ(const struct manifest *manifest) {
    uint32_t count = manifest->bases_count + manifest->count;
    uint64_t *salts = must_malloc((count + 1) * sizeof *salts);
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        salts[i] = manifest->bases[i].salt;
    }
    for (uint32_t i = 0; i < manifest->count; i++) {
        salts[manifest->bases_count + i] = manifest->segments[i].salt;
    }
    qsort(salts, count, sizeof *salts, by_salt);
    bool differ = true;
    for (uint32_t i = 1; i < count; i++) {
        differ &= salts[i] != salts[i - 1];
    }
    free(salts);
    return differ;
}

/* What the whole says, beyond its form. */
static const char *check_segments(const struct manifest *manifest) {
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];
        const struct manifest_segment *before = i ? segment - 1 : NULL;
        if (segment->shard >= manifest->shards) {
            return "a segment of a shard that there is not";
        }
        if (before != NULL && before->shard > segment->shard) {
            return "segments out of order";
        }
        if (before != NULL && before->shard == segment->shard) {
            if (segment->sequence != before->sequence + 1) {
                return "segments missing, swapped or twice there";
            }
        }
        if (segment->sequence == 0) {
            return "a segment without a number";
        }
        if (segment->generation > manifest->generation) {
            return "a segment of a generation that is still to come";
        }
        if (segment->bytes != 0 && segment->bytes < LOG_SEGMENT_BYTES) {
            return "a segment shorter than its header";
        }
    }
    return NULL;
}

/* How many there are in all each of them says: a log may go on with more shards. */
static const char *check_bases(const struct manifest *manifest) {
    for (uint32_t i = 0; i < manifest->bases_count; i++) {
        const struct manifest_base *base = &manifest->bases[i];
        if (i > 0 && base->shard <= base[-1].shard) {
            return "files of the snapshot out of order";
        }
        if (base->shard >= manifest->shards) {
            return "a file of the snapshot of a shard that there is not";
        }
        if (base->shard != i) {
            return "a file of the snapshot is missing";
        }
    }
    return NULL;
}

static const char *check_order(const struct manifest *manifest) {
    const char *error = check_bases(manifest);
    error = error != NULL ? error : check_segments(manifest);
    return error != NULL || salts_differ(manifest) ? error : "two files with one salt";
}

static const char *decode(struct bytes input, struct manifest *manifest) {
    struct bytes in = input;
    if (!take_word(&in, "shoal-manifest 1")) {
        return take_word(&in, "shoal-manifest ") ? "it is of an unknown version"
                                                 : "it is no manifest";
    }
    if (!take_front(&in, manifest)) {
        return "its front cannot be read";
    }
    if (!take_stream(&in, &manifest->stream)) {
        return "its place in a stream cannot be read";
    }
    struct manifest_base base;
    while (in.len > 0 && in.ptr[0] == 'b') {
        if (!take_base(&in, &base)) {
            return "the line of a snapshot's file cannot be read";
        }
        manifest_add_base(manifest, &base);
    }
    struct manifest_segment segment;
    while (in.len > 0 && in.ptr[0] == 's') {
        if (!take_segment(&in, &segment)) {
            return "a segment's line cannot be read";
        }
        manifest_add(manifest, &segment);
    }
    uint64_t hash, found = XXH3_64bits(input.ptr, (size_t)(in.ptr - input.ptr));
    if (!take_hash(&in, "end ", &hash) || !take_word(&in, "\n")) {
        return "its end is missing";
    }
    if (in.len != 0) {
        return "something follows its end";
    }
    return hash != found ? "its checksum is wrong" : check_order(manifest);
}

const char *manifest_decode(struct bytes input, struct manifest *manifest) {
    check(manifest->segments == NULL && manifest->bases == NULL);
    const char *error = decode(input, manifest);
    if (error != NULL) {
        manifest_fini(manifest);
    }
    return error;
}

const char *manifest_check(const struct manifest *manifest, uint32_t i,
                           const struct log_segment *segment, uint64_t file_bytes) {
    const struct manifest_segment *named = &manifest->segments[i];
    if (segment->generation != named->generation) {
        return "it is of another generation";
    }
    if (segment->shard != named->shard) {
        return "it is another shard's";
    }
    if (segment->sequence != named->sequence) {
        return "it is another segment of the shard";
    }
    if (segment->salt != named->salt) {
        return "it is another file of that name";
    }
    return file_bytes < named->bytes ? "it is shorter than it was" : NULL;
}
