/* SPDX-License-Identifier: BSD-3-Clause */
/* log_index: where the runs of a log lie, in the order of their numbers: the order in which they
 * are done again. In a file a part of a transaction may stand behind blocks with larger numbers.
 *
 * Thread: any. Memory: 40 bytes a run.
 */
#ifndef SHOAL_PERSIST_LOG_LOG_INDEX_H
#define SHOAL_PERSIST_LOG_LOG_INDEX_H

#include "persist/log/log_block.h"

struct log_place {
    uint64_t number;
    uint64_t offset; /* of its block, in the file */
    uint64_t bytes;  /* of the block */
    uint32_t file;
    uint32_t run; /* of the block */
};

struct log_index {
    struct log_place *places;
    size_t count, room;
};

void log_index_init(struct log_index *index);
void log_index_fini(struct log_index *index);
/* The runs of a block that have records, and numbers up to `until` (0: all). */
void log_index_add(struct log_index *index, uint32_t file, uint64_t until,
                   const struct log_block *block);
/* Leaves out what is above `last`, and sorts; parts of one number by file. */
void log_index_sort(struct log_index *index, uint64_t last);
/* Parts of one number are done command by command of their transaction. Zero at first. */
struct log_order {
    uint64_t now;
    size_t first; /* the part that had the first record of that command */
    bool has_begun;
};
#define LOG_ORDER_NONE UINT64_MAX
/* Which part's record is next: `orders` says for each of which command its next record is, or that
 * it has none; `count` if all are over. *ret_again: another part had one of the same command. */
size_t log_order_next(struct log_order *order, const uint64_t *orders, size_t count,
                      bool *ret_again);
/* The records of a run in its block's payload. */
struct bytes log_index_records(const struct log_block *block, uint32_t run, struct bytes payload);

#endif
