/* SPDX-License-Identifier: BSD-3-Clause */
/* notify: see the header. */
#include "server/pubsub/notify.h"

#include "base/text.h"
#include "server/call/effects.h"
#include "server/pubsub/pubsub.h"
#include "server/worker/worker.h"

#include <string.h>

static unsigned bit_of(char class) {
    const char *at = class != 0 ? strchr(CONFIG_NOTIFY_LETTERS, class) : NULL;
    return at != NULL ? 1u << (at - CONFIG_NOTIFY_LETTERS) : 0;
}

void notify_configure(struct worker *worker) {
    unsigned flags = worker->config->notify_keyspace_events, where = bit_of('K') | bit_of('E');
    worker->notifies = (flags & where) != 0 && (flags & ~where) != 0;
    effects_listen(worker);
}

/* __<what>@<db>__:<name> */
static void publish(struct worker *worker, const char *what, uint32_t db, struct bytes name,
                    struct bytes message) {
    struct text channel;
    text_init(&channel);
    text_appendf(&channel, "__%s@%u__:", what, db);
    text_append_bytes(&channel, name);
    pubsub_publish(worker, TOPIC_CHANNEL, text_bytes(&channel), message);
    text_fini(&channel);
}

void notify_heard(struct worker *worker, const struct key_news *news) {
    unsigned flags = worker->config->notify_keyspace_events;
    const struct event_row *row = &event_rows[news->event];
    if (!worker->notifies || !pubsub_is_used(&worker->topics) || !(flags & bit_of(row->class))) {
        return;
    }
    struct bytes event = bytes_of_text(row->name);
    if (flags & bit_of('K')) {
        publish(worker, "keyspace", news->db, news->key->name, event);
    }
    if (flags & bit_of('E')) {
        publish(worker, "keyevent", news->db, event, news->key->name);
    }
}
