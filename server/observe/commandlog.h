/* SPDX-License-Identifier: BSD-3-Clause */
/* commandlog: SLOWLOG and COMMANDLOG: the commands that took long, were large, or were answered
 * with much.
 *
 * Who runs a command compares its time and its reply with what is logged; only if one is reached
 * anything else happens. The entry is made where the command ran, and travels to the home of its
 * client, which adds who that is, gives it the next number of all threads and keeps it. So numbers
 * rise over all workers, and a log is the entries of all of them, by number.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_COMMANDLOG_H
#define SHOAL_SERVER_OBSERVE_COMMANDLOG_H

#include "base/bytes.h"
#include "server/observe/commandlogs.h"

struct command;
struct command_ref;
struct commandlog_entry;
struct exec;
struct message;
struct worker;

void commandlogs_init(struct commandlogs *logs);
void commandlogs_fini(struct commandlogs *logs);
size_t commandlogs_memory(const struct commandlogs *logs);
/* After the configuration changed. */
void commandlogs_configure(struct worker *worker);

/* Anything is logged of commands that have run. */
static inline bool commandlogs_look(const struct commandlogs *logs) {
    return logs->slow_ticks != UINT64_MAX || logs->reply_bytes != SIZE_MAX;
}
/* A command has taken so long and was answered with so much: something may be to be logged. */
static inline bool commandlogs_reached(const struct commandlogs *logs, uint64_t ticks,
                                       size_t reply_bytes) {
    return ticks >= logs->slow_ticks || reply_bytes >= logs->reply_bytes;
}

/* Its words as they are shown, for a command that may take them over, or that ends when they have
 * gone. */
struct commandlog_entry *commandlog_words(const struct command *row, const struct bytes *argv,
                                          uint32_t argc);
void commandlog_words_free(struct commandlog_entry *words);

/* For who has found commandlogs_reached. The client is the one for whom the worker runs commands.
 */
void commandlog_ran(struct worker *worker, const struct command_ref *ref, const struct bytes *argv,
                    uint32_t argc, uint64_t ticks, size_t reply_bytes);
/* The same, with words from before; they stay the caller's. */
void commandlog_ran_words(struct worker *worker, const struct command_ref *ref,
                          const struct commandlog_entry *words, uint64_t ticks, size_t reply_bytes);
/* A request of so many bytes runs; for who has found that they are logged. */
void commandlog_request(struct worker *worker, const struct command_ref *ref,
                        const struct bytes *argv, uint32_t argc, size_t bytes);

/* ---- What is shown ---- */

/* How many there are; the newest of them, `count` at most (negative: all); none any more. */
void commandlog_len(struct exec *x, enum commandlog_kind kind);
void commandlog_get(struct exec *x, enum commandlog_kind kind, int64_t count);
void commandlog_reset(struct exec *x, enum commandlog_kind kind);

/* Copies of a worker's newest entries, the newest last, and how many it has; for another thread. */
struct commandlog_part {
    struct commandlog_entry **list; /* malloc, as each of them */
    size_t count, there;
};
void commandlog_take(struct worker *worker, enum commandlog_kind kind, int64_t count,
                     struct commandlog_part *ret);
/* Of those of all workers the newest, which is taken out and the caller's to free; NULL: there is
 * none left. */
struct commandlog_entry *commandlog_take_newest(struct commandlog_part *const *parts,
                                                unsigned parts_count);

/* ---- Messages ---- */

void commandlog_entry_arrived(struct worker *worker, struct message *message);

#endif
