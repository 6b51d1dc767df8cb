/* SPDX-License-Identifier: BSD-3-Clause */
/* exports: slots that leave from here at once (cluster/brain/brain_export.c): the connection to who
 * gets them, and what all shards have for it (export_share.h), one block after the other.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_CLUSTER_EXPORTS_H
#define SHOAL_SERVER_CLUSTER_EXPORTS_H

#include <stdbool.h>
#include <stddef.h>

struct exports;
struct message;
struct worker;

struct exports *exports_new(void);
void exports_free(
    struct exports *exports); /* NULL is fine; when its worker has no peers any more */
/* MESSAGE_CLUSTER_EXPORT: what the brain wants; MESSAGE_EXPORT_BLOCK: what a shard has. */
void export_wish_arrived(struct worker *worker, struct message *message);
void export_block_arrived(struct worker *worker, struct message *message);
/* In each turn. */
void exports_turn(struct worker *home);
/* What waits to be sent. */
size_t exports_memory(const struct exports *exports);
/* It has not been closed. */
bool exports_has(const struct exports *exports, const char *name);

#endif
