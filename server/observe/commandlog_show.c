/* SPDX-License-Identifier: BSD-3-Clause */
/* commandlog_show: the command logs of a worker's clients, and what is asked of them: each worker
 * gives copies of what it has, and their numbers say which come first. Apart from what is logged,
 * as every call may be: here is known who the clients are, and to ask all workers is a call, too.
 */
#include "base/must.h"
#include "proto/reply.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/observe/commandlog_entry.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Those that are none of the log any more. */
static void forget_old(struct worker *worker, enum commandlog_kind kind) {
    uint64_t drawn = shared_logged(worker->server->shared, (unsigned)kind);
    uint64_t max = (uint64_t)commandlog_len_max(worker, kind);
    if (drawn > max) {
        commandlog_forget(&worker->logs, kind, drawn - max - 1);
    }
}

void commandlog_entry_arrived(struct worker *worker, struct message *message) {
    struct commandlog_entry *entry = (struct commandlog_entry *)message;
    enum commandlog_kind kind = entry->kind;
    const struct client *client = client_of_id(worker, entry->client);
    if (client == NULL) { /* nobody's: what the server runs for itself */
        free(entry);
        return;
    }
    if (client->name != NULL) {
        size_t bytes = strlen(client->name);
        struct commandlog_entry *named = commandlog_copy(entry, bytes);
        memcpy((char *)(named + 1) + named->bytes, client->name, bytes);
        named->lens[COMMANDLOG_WORDS_MAX] = (uint32_t)bytes;
        named->bytes += bytes;
        free(entry);
        entry = named;
    }
    snprintf(entry->peer, sizeof entry->peer, "%s", client->peer);
    entry->id = shared_next_logged(worker->server->shared, (unsigned)kind);
    list_push_back(&worker->logs.entries[kind], &entry->node);
    worker->logs.bytes += commandlog_entry_bytes(entry);
    forget_old(worker, kind);
}

/* ---- What is shown ---- */

struct asked {
    enum commandlog_kind kind;
    int64_t count; /* negative: all */
};

static bool len_part(struct worker *worker, const void *args, void *result) {
    const struct asked *asked = args;
    forget_old(worker, asked->kind);
    uint64_t *count = result;
    LIST_EACH(&worker->logs.entries[asked->kind], node) {
        (*count)++;
    }
    return true;
}

static void len_done(struct exec *x, const struct scatter_result *result) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        sum += *(const uint64_t *)result->parts[i];
    }
    reply_int(x->reply, (int64_t)sum);
}

void commandlog_len(struct exec *x, enum commandlog_kind kind) {
    struct asked asked = {.kind = kind};
    scatter_all(x, len_part, sizeof(uint64_t), &asked, sizeof asked, len_done);
}

static bool reset_part(struct worker *worker, const void *args, void *result) {
    commandlog_forget(&worker->logs, ((const struct asked *)args)->kind, UINT64_MAX);
    return true;
}

void commandlog_reset(struct exec *x, enum commandlog_kind kind) {
    struct asked asked = {.kind = kind};
    scatter_all(x, reset_part, 0, &asked, sizeof asked, scatter_ok);
}

void commandlog_take(struct worker *worker, enum commandlog_kind kind, int64_t count,
                     struct commandlog_part *ret) {
    struct list *entries = &worker->logs.entries[kind];
    forget_old(worker, kind);
    *ret = (struct commandlog_part){0};
    LIST_EACH(entries, node) {
        ret->there++;
    }
    size_t wanted = count < 0 || (size_t)count > ret->there ? ret->there : (size_t)count;
    ret->list = must_malloc((wanted + 1) * sizeof *ret->list);
    size_t skipped = ret->there - wanted;
    LIST_EACH(entries, node) {
        if (skipped > 0) {
            skipped--;
        } else {
            ret->list[ret->count++] = commandlog_copy(commandlog_entry_of(node), 0);
        }
    }
}

static bool get_part(struct worker *worker, const void *args, void *result) {
    const struct asked *asked = args;
    commandlog_take(worker, asked->kind, asked->count, result);
    return true;
}

static void reply_entry(struct reply *reply, const struct commandlog_entry *entry) {
    const char *at = (const char *)(entry + 1);
    reply_array(reply, 6);
    reply_int(reply, (int64_t)entry->id);
    reply_int(reply, entry->at_s);
    reply_int(reply, entry->value);
    reply_array(reply, entry->words);
    for (uint32_t i = 0; i < entry->words; i++) {
        reply_bulk(reply, bytes_make(at, entry->lens[i]));
        at += entry->lens[i];
    }
    reply_bulk_text(reply, entry->peer);
    reply_bulk(reply, bytes_make(at, entry->lens[COMMANDLOG_WORDS_MAX]));
}

struct commandlog_entry *commandlog_take_newest(struct commandlog_part *const *parts,
                                                unsigned parts_count) {
    struct commandlog_part *newest = NULL;
    for (unsigned i = 0; i < parts_count; i++) {
        struct commandlog_part *part = parts[i];
        if (part->count > 0 && (newest == NULL || part->list[part->count - 1]->id >
                                                      newest->list[newest->count - 1]->id)) {
            newest = part;
        }
    }
    return newest != NULL ? newest->list[--newest->count] : NULL;
}

static void get_done(struct exec *x, const struct scatter_result *result) {
    const struct asked *asked = result->args;
    struct commandlog_part *const *parts = (struct commandlog_part *const *)result->parts;
    size_t count = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        count += parts[i]->count;
    }
    if (asked->count >= 0 && (size_t)asked->count < count) {
        count = (size_t)asked->count;
    }
    reply_array(x->reply, count);
    struct commandlog_entry *entry;
    for (size_t i = 0; (entry = commandlog_take_newest(parts, result->parts_count)) != NULL; i++) {
        if (i < count) {
            reply_entry(x->reply, entry);
        }
        free(entry);
    }
    for (unsigned i = 0; i < result->parts_count; i++) {
        free(parts[i]->list);
    }
}

void commandlog_get(struct exec *x, enum commandlog_kind kind, int64_t count) {
    struct asked asked = {kind, count};
    scatter_all(x, get_part, sizeof(struct commandlog_part), &asked, sizeof asked, get_done);
}
