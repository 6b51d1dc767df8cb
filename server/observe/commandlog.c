/* SPDX-License-Identifier: BSD-3-Clause */
/* commandlog: see the header. Why so: the cost of a log that nobody writes to must be nothing, so
 * what is compared is what the call has in its hands anyway (call.c). Who the client is, is known
 * at its home alone; an entry that travels there arrives before the reply does, so who was answered
 * finds it.
 *
 * A log has a length over all workers, not one for each. The numbers tell: of `n` that were drawn,
 * the last `len` are the log, wherever they are; the others are forgotten, at the latest when their
 * worker adds the next one.
 */
#include "server/observe/commandlog_entry.h"

#include "base/must.h"
#include "net/rt.h"
#include "server/call/call.h"
#include "server/call/command_table.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

#define WORD_BYTES_MAX 128

/* With less than that for a command, brief ones are timed each. */
#define BRIEF_US 1000

struct commandlog_entry *commandlog_copy(const struct commandlog_entry *entry, size_t more) {
    struct commandlog_entry *copy = must_malloc(commandlog_entry_bytes(entry) + more);
    memcpy(copy, entry, commandlog_entry_bytes(entry));
    list_node_init(&copy->node);
    return copy;
}

/* ---- Words ---- */

/* One that is shown: a part of what was sent, and what is said of the rest. */
struct word {
    struct bytes shown;
    char note[48];
};

static struct word word_at(const struct command *row, const struct bytes *argv, uint32_t argc,
                           uint32_t i) {
    struct word word = {.shown = argv[i]};
    if (i == COMMANDLOG_WORDS_MAX - 1 && argc > COMMANDLOG_WORDS_MAX) {
        word.shown.len = 0;
        snprintf(word.note, sizeof word.note, "... (%u more arguments)",
                 argc - COMMANDLOG_WORDS_MAX + 1);
    } else if (command_word_is_secret(row, argv, argc, i)) {
        word.shown = BYTES("(redacted)");
    } else if (word.shown.len > WORD_BYTES_MAX) {
        snprintf(word.note, sizeof word.note, "... (%zu more bytes)",
                 word.shown.len - WORD_BYTES_MAX);
        word.shown.len = WORD_BYTES_MAX;
    }
    return word;
}

struct commandlog_entry *commandlog_words(const struct command *row, const struct bytes *argv,
                                          uint32_t argc) {
    uint32_t count = argc < COMMANDLOG_WORDS_MAX ? argc : COMMANDLOG_WORDS_MAX;
    size_t space = count * (WORD_BYTES_MAX + sizeof((struct word *)NULL)->note);
    struct commandlog_entry *entry = must_malloc(sizeof *entry + space);
    *entry = (struct commandlog_entry){.words = count};
    list_node_init(&entry->node);
    char *at = (char *)(entry + 1);
    for (uint32_t i = 0; i < count; i++) {
        struct word word = word_at(row, argv, argc, i);
        size_t note = strlen(word.note);
        if (word.shown.len > 0) {
            memcpy(at, word.shown.ptr, word.shown.len);
        }
        memcpy(at + word.shown.len, word.note, note);
        entry->lens[i] = (uint32_t)(word.shown.len + note);
        at += entry->lens[i];
    }
    entry->bytes = (size_t)(at - (char *)(entry + 1));
    return entry;
}

void commandlog_words_free(struct commandlog_entry *words) {
    free(words);
}

/* ---- Life ---- */

void commandlogs_init(struct commandlogs *logs) {
    for (int kind = 0; kind < COMMANDLOG_KINDS; kind++) {
        list_init(&logs->entries[kind]);
    }
}

void commandlog_forget(struct commandlogs *logs, enum commandlog_kind kind, uint64_t id) {
    struct list_node *node;
    while ((node = list_first(&logs->entries[kind])) != NULL &&
           commandlog_entry_of(node)->id <= id) {
        logs->bytes -= commandlog_entry_bytes(commandlog_entry_of(node));
        list_remove(node);
        free(commandlog_entry_of(node));
    }
}

void commandlogs_fini(struct commandlogs *logs) {
    for (int kind = 0; kind < COMMANDLOG_KINDS; kind++) {
        commandlog_forget(logs, (enum commandlog_kind)kind, UINT64_MAX);
    }
}

size_t commandlogs_memory(const struct commandlogs *logs) {
    return logs->bytes;
}

int64_t commandlog_len_max(const struct worker *worker, enum commandlog_kind kind) {
    const struct config *config = worker->config;
    const int64_t max[COMMANDLOG_KINDS] = {
        [COMMANDLOG_SLOW] = config->commandlog_slow_execution_max_len,
        [COMMANDLOG_LARGE_REQUEST] = config->commandlog_large_request_max_len,
        [COMMANDLOG_LARGE_REPLY] = config->commandlog_large_reply_max_len,
    };
    return max[kind];
}

void commandlogs_configure(struct worker *worker) {
    const struct config *config = worker->config;
    struct commandlogs *logs = &worker->logs;
    logs->from[COMMANDLOG_SLOW] = config->commandlog_execution_slower_than;
    logs->from[COMMANDLOG_LARGE_REQUEST] = config->commandlog_request_larger_than;
    logs->from[COMMANDLOG_LARGE_REPLY] = config->commandlog_reply_larger_than;
    for (int kind = 0; kind < COMMANDLOG_KINDS; kind++) {
        if (commandlog_len_max(worker, (enum commandlog_kind)kind) == 0) {
            logs->from[kind] = -1;
        }
    }
    int64_t us = logs->from[COMMANDLOG_SLOW];
    int64_t request = logs->from[COMMANDLOG_LARGE_REQUEST];
    int64_t reply = logs->from[COMMANDLOG_LARGE_REPLY];
    logs->slow_ticks = us < 0                   ? UINT64_MAX
                       : us >= INT64_MAX / 1000 ? UINT64_MAX - 1
                                                : rt_ns_to_ticks(worker->rt, (uint64_t)us * 1000);
    logs->request_bytes = request < 0 ? SIZE_MAX : (size_t)request;
    logs->reply_bytes = reply < 0 ? SIZE_MAX : (size_t)reply;
    if (worker->latency.ticks < logs->slow_ticks) {
        logs->slow_ticks = worker->latency.ticks;
    }
    logs->times_each = (us >= 0 && us < BRIEF_US) || logs->reply_bytes <= CALL_REPLY_BRIEF_BYTES;
}

/* ---- What is logged ---- */

static void add(struct worker *worker, enum commandlog_kind kind,
                const struct commandlog_entry *words, int64_t value) {
    struct commandlog_entry *entry = commandlog_copy(words, 0);
    entry->message = (struct message){.kind = MESSAGE_COMMANDLOG, .home = POST_ONE_WAY};
    entry->kind = kind;
    entry->client = worker->runs_for.client;
    entry->at_s = rt_wall_us(worker->rt) / 1000000;
    entry->value = value;
    if (worker->runs_for.home == worker->id) {
        worker->server->handlers->messages[MESSAGE_COMMANDLOG](worker, &entry->message);
    } else {
        post_send(worker->server->office, worker->id, worker->runs_for.home, &entry->message);
    }
}

static bool is_reached(const struct commandlogs *logs, enum commandlog_kind kind, int64_t value) {
    return logs->from[kind] >= 0 && value >= logs->from[kind];
}

static bool is_left_out(const struct worker *worker, const struct command_ref *ref) {
    return (ref->row->flags & CMD_SKIP_COMMANDLOG) || worker->runs_for.client == 0;
}

void commandlog_ran_words(struct worker *worker, const struct command_ref *ref,
                          const struct commandlog_entry *words, uint64_t ticks,
                          size_t reply_bytes) {
    int64_t us = (int64_t)(rt_ticks_to_ns(worker->rt, ticks) / 1000);
    if (is_left_out(worker, ref)) {
        return;
    }
    if (is_reached(&worker->logs, COMMANDLOG_SLOW, us)) {
        add(worker, COMMANDLOG_SLOW, words, us);
    }
    if (is_reached(&worker->logs, COMMANDLOG_LARGE_REPLY, (int64_t)reply_bytes)) {
        add(worker, COMMANDLOG_LARGE_REPLY, words, (int64_t)reply_bytes);
    }
}

void commandlog_ran(struct worker *worker, const struct command_ref *ref, const struct bytes *argv,
                    uint32_t argc, uint64_t ticks, size_t reply_bytes) {
    struct commandlog_entry *words = commandlog_words(ref->row, argv, argc);
    commandlog_ran_words(worker, ref, words, ticks, reply_bytes);
    free(words);
}

void commandlog_request(struct worker *worker, const struct command_ref *ref,
                        const struct bytes *argv, uint32_t argc, size_t bytes) {
    if (!is_left_out(worker, ref)) {
        struct commandlog_entry *words = commandlog_words(ref->row, argv, argc);
        add(worker, COMMANDLOG_LARGE_REQUEST, words, (int64_t)bytes);
        free(words);
    }
}
