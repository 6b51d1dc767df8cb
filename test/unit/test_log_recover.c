/* SPDX-License-Identifier: BSD-3-Clause */
/* The rule itself is walked in test/model/model_log.c; here is what becomes of files. */
#include "base/random.h"
#include "persist/log/log_recover.h"
#include "test/unit/log_file.h"

#include <criterion/criterion.h>

#define FILES_MAX 4

struct start {
    struct log_recover recover;
    struct log_recover_file files[FILES_MAX];
    uint32_t file;
    struct log_scan scan;
};

static void add(void *context, const struct log_block *block) {
    struct start *start = context;
    log_recover_add(&start->recover, start->file, block);
}

/* What stands in `start` of each file counts: shard, bytes, until. */
static bool recover(struct start *start, const struct log_file *files, uint32_t count,
                    const size_t *lengths) {
    log_recover_init(&start->recover, start->files, count, 1);
    for (start->file = 0; start->file < count; start->file++) {
        const struct log_file *file = &files[start->file];
        start->files[start->file].shard = file->segment.shard;
        size_t length = lengths ? lengths[start->file] : file->bytes.len;
        log_file_scan(bytes_make(file->bytes.ptr, length), 4096, &start->scan, add, start);
        cr_assert_neq(start->scan.verdict, LOG_SCAN_CORRUPT);
    }
    return log_recover_end(&start->recover);
}

static void put_run(struct log_file *file, uint64_t number, uint32_t records, uint32_t parts) {
    struct log_run run = {.number = number, .records = records, .parts = parts};
    log_file_put(file, &run, 1, "*1\r\n$4\r\nPING\r\n");
}

static void init_files(struct log_file *files, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        log_file_init(&files[i], i, 1, 100 + i);
    }
}

static void fini(struct start *start, struct log_file *files, uint32_t count) {
    log_recover_fini(&start->recover);
    for (uint32_t i = 0; i < count; i++) {
        log_file_fini(&files[i]);
    }
}

Test(log_recover, empty_files_hold_nothing) {
    struct log_file files[2];
    struct start start = {0};
    init_files(files, 2);
    cr_assert(recover(&start, files, 2, NULL));
    cr_assert_eq(start.recover.last, 0);
    fini(&start, files, 2);
}

Test(log_recover, takes_numbers_up_to_the_first_gap) {
    struct log_file files[2];
    struct start start = {0};
    init_files(files, 2);
    log_file_put_own(&files[0], 1, 2);
    log_file_put_own(&files[1], 2, 3);
    log_file_put_own(&files[0], 4, 5);
    log_file_put_own(&files[1], 5, 7);
    cr_assert(recover(&start, files, 2, NULL));
    cr_assert_eq(start.recover.last, 2);
    cr_assert_eq(start.files[0].kept_records, 2);
    cr_assert_eq(start.files[1].kept_records, 3);
    cr_assert_eq(start.recover.dropped_records, 12);
    cr_assert_eq(start.recover.dropped_transactions, 0);
    fini(&start, files, 2);
}

Test(log_recover, takes_transactions_whole) {
    struct log_file files[3];
    struct start start = {0};
    init_files(files, 3);
    put_run(&files[0], 1, 2, 2);
    put_run(&files[2], 1, 0, 2);
    put_run(&files[0], 2, 1, 3);
    put_run(&files[1], 2, 1, 3);
    cr_assert(recover(&start, files, 3, NULL));
    cr_assert_eq(start.recover.last, 1);
    cr_assert_eq(start.recover.dropped_transactions, 1);
    cr_assert_eq(start.recover.dropped_records, 2);
    fini(&start, files, 3);
}

Test(log_recover, a_void_number_is_answered) {
    struct log_file files[1];
    struct start start = {0};
    init_files(files, 1);
    put_run(&files[0], 1, 0, 0);
    log_file_put_own(&files[0], 2, 1);
    cr_assert(recover(&start, files, 1, NULL));
    cr_assert_eq(start.recover.last, 2);
    fini(&start, files, 1);
}

/* The part of 1 stands behind 3, which is dropped because 2 is not there. */
Test(log_recover, what_stands_behind_dropped_records_may_be_taken) {
    struct log_file files[2];
    struct start start = {0};
    init_files(files, 2);
    put_run(&files[0], 1, 1, 2);
    log_file_put_own(&files[1], 3, 4);
    put_run(&files[1], 1, 1, 2);
    cr_assert(recover(&start, files, 2, NULL));
    cr_assert_eq(start.recover.last, 1);
    cr_assert_eq(start.files[1].kept_records, 1);
    cr_assert_eq(start.files[1].dropped_records, 4);
    fini(&start, files, 2);
}

/* The start after that: 2 and 3 were drawn again, for something else. */
Test(log_recover, what_an_earlier_start_has_dropped_stays_dropped) {
    struct log_file files[3];
    struct start start = {.files = {{.until = 1}, {.until = 1}}};
    init_files(files, 2);
    log_file_init(&files[2], 1, 2, 200);
    put_run(&files[0], 1, 1, 2);
    log_file_put_own(&files[1], 3, 4);
    put_run(&files[1], 1, 1, 2);
    log_file_put_own(&files[2], 2, 1);
    log_file_put_own(&files[2], 3, 1);
    start.files[1].bytes = files[1].bytes.len;
    cr_assert(recover(&start, files, 3, NULL));
    cr_assert_eq(start.recover.last, 3);
    cr_assert_eq(start.recover.dropped_records, 0);
    cr_assert_eq(start.files[1].kept_records, 1);
    fini(&start, files, 3);
}

Test(log_recover, what_no_crash_can_leave_is_refused) {
    static const struct {
        const char *error;
        struct {
            uint32_t file, parts;
            uint64_t number;
        } runs[3];
        uint64_t safe;
    } rows[] = {
        {"a number twice in one log", {{0, 1, 1}, {0, 1, 1}}, 0},
        {"a number twice in one log", {{0, 2, 1}, {1, 2, 1}, {1, 2, 1}}, 0},
        {"a number with parts of different transactions", {{0, 1, 1}, {1, 2, 1}}, 0},
        {"a number with parts of different transactions", {{0, 2, 1}, {1, 3, 1}}, 0},
        {"a number with more parts than it names", {{0, 1, 1}, {1, 1, 1}}, 0},
        {"a number with more parts than it names", {{0, 2, 1}, {1, 2, 1}, {2, 2, 1}}, 0},
        {"what was known to be on disk is not there", {{0, 1, 1}, {1, 1, 3}, {2, 1, 4}}, 2},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct log_file files[3];
        struct start start = {0};
        init_files(files, 3);
        for (unsigned r = 0; r < 3 && rows[i].runs[r].number != 0; r++) {
            struct log_file *file = &files[rows[i].runs[r].file];
            file->safe = rows[i].safe;
            put_run(file, rows[i].runs[r].number, 1, rows[i].runs[r].parts);
        }
        cr_assert_not(recover(&start, files, 3, NULL), "row %u", i);
        cr_assert_str_eq(start.recover.error, rows[i].error, "row %u", i);
        fini(&start, files, 3);
    }
}

Test(log_recover, a_closed_file_must_end_where_it_did) {
    struct log_file files[1];
    struct start start = {0};
    init_files(files, 1);
    log_file_put_own(&files[0], 1, 1);
    start.files[0].bytes = files[0].bytes.len;
    log_file_put_own(&files[0], 2, 1);
    cr_assert_not(recover(&start, files, 1, NULL));
    fini(&start, files, 1);
}

/* ---- At random ---- */

#define NUMBERS_MAX 60

struct sent {
    uint32_t parts, records; /* of each number: over all shards */
    size_t ends[FILES_MAX];  /* of the blocks with its parts; 0: none there */
};

/* Numbers in an order as turns and transactions make them: parts may come late. */
static void write_at_random(struct rng *rng, struct log_file *files, uint32_t count,
                            struct sent *sent, unsigned numbers) {
    uint64_t late[FILES_MAX] = {0};
    for (unsigned n = 1; n <= numbers; n++) {
        uint32_t shard = (uint32_t)rng_below(rng, count);
        struct sent *number = &sent[n];
        *number = (struct sent){.parts = 1};
        bool over_shards = rng_below(rng, 3) == 0 && count > 1;
        for (uint32_t s = 0; s < count; s++) {
            if (late[s] != 0 && (over_shards || rng_below(rng, 2) || n == numbers)) {
                put_run(&files[s], late[s], 1, sent[late[s]].parts);
                sent[late[s]].ends[s] = files[s].bytes.len;
                late[s] = 0;
            }
        }
        if (over_shards && n < numbers) {
            number->parts = number->records = 2;
            put_run(&files[shard], n, 1, 2);
            number->ends[shard] = files[shard].bytes.len;
            late[(shard + 1) % count] = n;
        } else {
            number->records = 1 + (uint32_t)rng_below(rng, 40);
            log_file_put_own(&files[shard], n, number->records);
            number->ends[shard] = files[shard].bytes.len;
        }
    }
}

/* By the rule, one number after the other. */
static unsigned expected_last(const struct sent *sent, unsigned numbers, uint32_t count,
                              const size_t *lengths) {
    for (unsigned n = 1; n <= numbers; n++) {
        for (uint32_t s = 0; s < count; s++) {
            if (sent[n].ends[s] > lengths[s]) {
                return n - 1;
            }
        }
    }
    return numbers;
}

Test(log_recover, takes_what_the_rule_says_wherever_files_end) {
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct rng rng;
        struct log_file files[FILES_MAX];
        struct sent sent[NUMBERS_MAX + 1];
        struct start start = {0};
        size_t lengths[FILES_MAX];
        rng_seed(&rng, seed);
        uint32_t count = 1 + (uint32_t)rng_below(&rng, FILES_MAX);
        unsigned numbers = 1 + (unsigned)rng_below(&rng, NUMBERS_MAX);
        init_files(files, count);
        write_at_random(&rng, files, count, sent, numbers);
        for (uint32_t s = 0; s < count; s++) {
            size_t most = files[s].bytes.len - LOG_SEGMENT_BYTES;
            size_t cut = rng_below(&rng, 2) ? 0 : rng_below(&rng, most / 2 + 1);
            lengths[s] = files[s].bytes.len - cut;
        }
        cr_assert(recover(&start, files, count, lengths), "seed %lu: %s", seed,
                  start.recover.error);
        unsigned last = expected_last(sent, numbers, count, lengths);
        uint64_t records = 0, kept = 0;
        for (unsigned n = 1; n <= last; n++) {
            records += sent[n].records;
        }
        for (uint32_t s = 0; s < count; s++) {
            kept += start.files[s].kept_records;
        }
        cr_assert_eq(start.recover.last, last, "seed %lu", seed);
        cr_assert_eq(kept, records, "seed %lu", seed);
        fini(&start, files, count);
    }
}
