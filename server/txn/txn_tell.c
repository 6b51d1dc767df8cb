/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_tell: what monitors see of transactions (observe/monitor.h): all their commands at one
 * moment, at which they hold their locks.
 */
#include "server/client/client.h"
#include "server/observe/monitor.h"
#include "server/txn/multi.h"
#include "server/txn/txn_private.h"
#include "server/worker/worker.h"

/* Each with the database that is selected behind it. */
static void add_queue(struct text *lines, const struct client *client,
                      const struct multi_queue *queue) {
    for (uint32_t i = 0; i < queue->count; i++) {
        const struct multi_command *command = &queue->commands[i];
        uint32_t db = i + 1 < queue->count ? command[1].db : queue->db;
        if (monitor_shows(command->ref)) {
            monitor_add(lines, client, command->ref, command->argv, command->argc, db);
        }
    }
}

void txn_tell_queue(const struct client *client, const struct multi_queue *queue) {
    struct text lines;
    text_init(&lines);
    add_queue(&lines, client, queue);
    monitor_tell(client->worker, &lines);
}

static void add_commands(struct text *lines, const struct txn *txn) {
    for (uint32_t i = 0; i < txn->count; i++) {
        const struct txn_command *command = &txn->commands[i];
        if (monitor_shows(command->ref) && command->refusal == NULL) {
            monitor_add(lines, txn->client, command->ref, command->argv, command->argc,
                        command->db);
        }
    }
}

void txn_tell(struct txn *txn) {
    struct text lines;
    text_init(&lines);
    txn->tells = false;
    if (txn->queue == NULL) {
        add_commands(&lines, txn);
    } else {
        if (!txn_is_over_early(txn)) {
            add_queue(&lines, txn->client, txn->queue);
        }
        monitor_add(&lines, txn->client, txn->ref, &txn->word, 1, txn->queue->db);
    }
    monitor_tell(txn->home, &lines);
}
