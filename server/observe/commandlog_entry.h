/* SPDX-License-Identifier: BSD-3-Clause */
/* commandlog_entry: an entry of a command log, for the files that make and show them.
 *
 *   commandlog.c        what is logged
 *   commandlog_show.c   what is kept of it, and shown, of all workers
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_COMMANDLOG_ENTRY_H
#define SHOAL_SERVER_OBSERVE_COMMANDLOG_ENTRY_H

#include "base/list.h"
#include "net/rt.h"
#include "server/observe/commandlog.h"
#include "shard/mailbox.h"

#define COMMANDLOG_WORDS_MAX 32

struct commandlog_entry {
    struct message message; /* first */
    struct list_node node;  /* of the log */
    enum commandlog_kind kind;
    uint64_t client;
    uint64_t id;
    int64_t at_s;
    int64_t value;
    char peer[RT_ADDRESS_BYTES];
    uint32_t words;
    uint32_t lens[COMMANDLOG_WORDS_MAX + 1]; /* of the words; and, last, of the client's name */
    size_t bytes;                            /* of all of them, which follow */
};

static inline struct commandlog_entry *commandlog_entry_of(struct list_node *node) {
    return LIST_ENTRY(node, struct commandlog_entry, node);
}
/* With room for so many bytes more. */
struct commandlog_entry *commandlog_copy(const struct commandlog_entry *entry, size_t more);
static inline size_t commandlog_entry_bytes(const struct commandlog_entry *entry) {
    return sizeof *entry + entry->bytes;
}
/* Those of a log leave, and are freed, until the first has a number above this one. */
void commandlog_forget(struct commandlogs *logs, enum commandlog_kind kind, uint64_t id);
/* Of all workers together, as the configuration says. */
int64_t commandlog_len_max(const struct worker *worker, enum commandlog_kind kind);

#endif
