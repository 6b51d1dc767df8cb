/* SPDX-License-Identifier: BSD-3-Clause */
/* feed: see the header. One allocation for a block, so that one free lets go of it on the home's
 * thread; what is large goes without a copy if no log needs it as well. */
#include "server/replication/feed.h"

#include "base/check.h"
#include "base/must.h"
#include "server/persistence/wal.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Less is copied. */
#define TAKEN_BYTES ((size_t)64 * 1024)

void feed_mail_free(struct feed_mail *mail) {
    text_fini(&mail->taken);
    free(mail);
}

static void release(struct merge_block *block) {
    feed_mail_free((struct feed_mail *)((char *)block - offsetof(struct feed_mail, block)));
}

static void send(struct worker *worker, struct feed_mail *mail) {
    mail->message = (struct message){.kind = MESSAGE_FEED, .home = POST_ONE_WAY};
    if (worker->id == 0) {
        worker->server->handlers->messages[MESSAGE_FEED](worker, &mail->message);
    } else {
        post_send(worker->server->office, worker->id, 0, &mail->message);
    }
}

void feed_send(struct wal *wal) {
    uint32_t count = wal->runs_count + wal->parts_count;
    bool taken = wal->text.len > TAKEN_BYTES && !wal_is_logging(wal);
    size_t runs_bytes = count * sizeof(struct merge_run);
    size_t units_bytes = wal->units_count * sizeof(struct merge_unit);
    size_t text_bytes_copied = taken ? 0 : wal->text.len;
    struct feed_mail *mail =
        must_malloc(sizeof *mail + runs_bytes + units_bytes + text_bytes_copied);
    struct merge_run *runs = (struct merge_run *)(mail + 1);
    struct merge_unit *units = (struct merge_unit *)((char *)runs + runs_bytes);
    char *text = (char *)units + units_bytes;
    mail->number_void = 0;
    mail->published = false;
    text_init(&mail->taken);
    for (uint32_t i = 0; i < count; i++) {
        bool own = i < wal->runs_count;
        const struct wal_run *run = own ? &wal->runs[i] : &wal->parts[i - wal->runs_count];
        runs[i] = (struct merge_run){
            .number = run->number,
            .records = run->records,
            .parts = run->parts,
            .bytes = run->bytes,
            .together = !own,
            .marked = run->marked,
        };
    }
    if (units_bytes > 0) {
        memcpy(units, wal->units, units_bytes);
    }
    if (taken) {
        struct text empty = mail->taken;
        mail->taken = wal->text;
        wal->text = empty;
        text = mail->taken.ptr;
    } else {
        memcpy(text, wal->text.ptr, wal->text.len);
    }
    mail->block = (struct merge_block){
        .runs = runs,
        .units = units,
        .runs_count = count,
        .units_count = wal->units_count,
        .text = bytes_make(text, taken ? mail->taken.len : text_bytes_copied),
        .release = release,
    };
    send(wal->worker, mail);
}

void feed_void(struct worker *worker, uint64_t number) {
    struct feed_mail *mail = must_calloc(1, sizeof *mail);
    text_init(&mail->taken);
    mail->number_void = number;
    send(worker, mail);
}

void feed_publish(struct worker *worker, const struct bytes *argv, uint32_t argc) {
    struct wal *wal = worker->wal;
    if (LIKELY(wal == NULL || !wal->feeds)) {
        return;
    }
    text_appendf(&wal->published, "*%u\r\n", argc);
    for (uint32_t i = 0; i < argc; i++) {
        text_appendf(&wal->published, "$%zu\r\n", argv[i].len);
        text_append_bytes(&wal->published, argv[i]);
        text_append(&wal->published, "\r\n", 2);
    }
}

void feed_published(struct wal *wal) {
    struct feed_mail *mail = must_calloc(1, sizeof *mail);
    mail->published = true;
    mail->after = shared_wal_count(wal->worker->server->shared);
    list_node_init(&mail->node);
    mail->taken = wal->published;
    text_init(&wal->published);
    send(wal->worker, mail);
}
