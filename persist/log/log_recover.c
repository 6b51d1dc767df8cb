/* SPDX-License-Identifier: BSD-3-Clause */
/* All runs are sorted by number and walked once. Parts are counted by shard, not by file: what one
 * block has of a number in several runs is one part.
 */
#include "persist/log/log_recover.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

struct log_recover_run {
    uint64_t number;
    uint32_t file, parts, records, bytes; /* bytes: at most UINT32_MAX is told */
    uint64_t place;                       /* of its block among all */
};

void log_recover_init(struct log_recover *recover, struct log_recover_file *files, uint32_t count,
                      uint64_t first) {
    check(first > 0);
    *recover = (struct log_recover){.files = files, .files_count = count, .first = first};
}

void log_recover_fini(struct log_recover *recover) {
    free(recover->runs);
    recover->runs = NULL;
}

void log_recover_add(struct log_recover *recover, uint32_t file, const struct log_block *block) {
    check(file < recover->files_count);
    uint64_t until = recover->files[file].until;
    recover->place++;
    recover->files[file].end = block->offset + block->bytes;
    recover->safe = block->safe > recover->safe ? block->safe : recover->safe;
    for (uint32_t i = 0; i < block->runs; i++) {
        struct log_run run = log_block_run(block, i);
        if (until != 0 && run.number > until) {
            continue;
        }
        if (recover->count == recover->room) {
            recover->room = recover->room ? recover->room * 2 : 64;
            recover->runs = must_realloc(recover->runs, recover->room * sizeof *recover->runs);
        }
        recover->runs[recover->count++] = (struct log_recover_run){
            .number = run.number,
            .file = file,
            .parts = run.parts,
            .records = run.records,
            .bytes = run.bytes < UINT32_MAX ? (uint32_t)run.bytes : UINT32_MAX,
            .place = recover->place,
        };
    }
}

static int by_number(const void *a, const void *b) {
    const struct log_recover_run *one = a, *other = b;
    if (one->number != other->number) {
        return one->number < other->number ? -1 : 1;
    }
    return (one->place > other->place) - (one->place < other->place);
}

static bool wrong(struct log_recover *recover, const struct log_recover_run *run,
                  const char *error) {
    recover->error = error;
    recover->wrong = run->number;
    recover->wrong_file = run->file;
    return false;
}

/* How many shards have the number that begins at run `at`; *ret_next is behind its runs. False:
 * they contradict each other. */
static bool count_parts(struct log_recover *recover, size_t at, size_t *ret_next,
                        uint32_t *ret_parts) {
    const struct log_recover_run *first = &recover->runs[at];
    size_t next = at + 1;
    *ret_parts = 1;
    for (; next < recover->count && recover->runs[next].number == first->number; next++) {
        const struct log_recover_run *run = &recover->runs[next], *before = run - 1;
        if (run->parts != first->parts) {
            return wrong(recover, run, "a number with parts of different transactions");
        }
        if (run->place == before->place) {
            continue; /* what one block has of it in several runs is one part */
        }
        for (size_t i = at; i < next; i++) {
            if (recover->files[recover->runs[i].file].shard == recover->files[run->file].shard) {
                return wrong(recover, run, "a number twice in one log");
            }
        }
        ++*ret_parts;
    }
    if (*ret_parts > (first->parts ? first->parts : 1)) {
        return wrong(recover, first, "a number with more parts than it names");
    }
    *ret_next = next;
    return true;
}

static void count_runs(struct log_recover *recover, size_t from, size_t to, bool kept) {
    for (size_t i = from; i < to; i++) {
        const struct log_recover_run *run = &recover->runs[i];
        struct log_recover_file *file = &recover->files[run->file];
        if (kept) {
            file->kept_records += run->records;
        } else {
            file->dropped_records += run->records;
            file->dropped_bytes += run->bytes;
            recover->dropped_records += run->records;
            recover->dropped_bytes += run->bytes;
        }
    }
    recover->dropped_transactions += !kept && recover->runs[from].parts > 1;
}

static bool ends_agree(struct log_recover *recover) {
    for (uint32_t i = 0; i < recover->files_count; i++) {
        const struct log_recover_file *file = &recover->files[i];
        uint64_t end = file->end ? file->end : LOG_SEGMENT_BYTES;
        if (file->bytes != 0 && file->bytes != end) {
            recover->error = "a file does not end where it did";
            recover->wrong_file = i;
            return false;
        }
    }
    return true;
}

bool log_recover_end(struct log_recover *recover) {
    if (!ends_agree(recover)) {
        return false;
    }
    if (recover->count > 0) {
        qsort(recover->runs, recover->count, sizeof *recover->runs, by_number);
    }
    recover->last = recover->first - 1;
    bool kept = true;
    for (size_t at = 0, next; at < recover->count; at = next) {
        const struct log_recover_run *run = &recover->runs[at];
        uint32_t parts;
        if (run->number < recover->first) {
            return wrong(recover, run, "a number from before the log's beginning");
        }
        if (!count_parts(recover, at, &next, &parts)) {
            return false;
        }
#ifdef SHOAL_UNSAFE_LOG_PARTS /* for the test that crashes in the simulator show it */
        parts = run->parts ? run->parts : 1;
#endif
        kept = kept && run->number == recover->last + 1 && parts == (run->parts ? run->parts : 1);
        recover->last += kept;
        count_runs(recover, at, next, kept);
    }
    if (recover->safe > recover->last) {
        recover->error = "what was known to be on disk is not there";
        recover->wrong = recover->last + 1;
        return false;
    }
    return true;
}
