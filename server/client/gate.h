/* SPDX-License-Identifier: BSD-3-Clause */
/* gate: replies leave when what they tell of is safe: in files, and everything before it, on all
 * shards (docs/durability.md).
 *
 * A worker has a mark: the largest number that it has sealed, or that another had sealed who sent
 * it a message. All that its clients are told in a turn may rest on that. So one mark of a worker
 * serves all its output, and no message has to carry one: who receives mail looks at what its
 * senders have said they have sealed, which they said before they sent it.
 *
 * With replicas-ack they wait for replicas, too, behind that: until so many have acknowledged it
 * (replication/primary_acks.c). But only what tells of keys does: who watches over a server, reads
 * its stream or changes its configuration is answered whatever replicas do.
 *
 * A client waits with one mark at a time: bytes that are written while it waits are given a later
 * one when that is safe.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_CLIENT_GATE_H
#define SHOAL_SERVER_CLIENT_GATE_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct command_ref;
struct wal;

enum gate_waits { GATE_OPEN, GATE_LOG, GATE_ACKS };

/* A client's. */
struct client_gate {
    struct list_node node; /* of wal->waiting, or waiting_acks */
    enum gate_waits waits;
    bool tells;    /* some of its output does, of keys */
    uint64_t mark; /* for this */
    size_t until;  /* with so many bytes of its output, from what is to be sent next on */
    size_t open;   /* so many of them may leave */
};

/* Mail of other workers has come. */
void gate_heard(struct wal *wal);
/* How many bytes of the client's output may leave now. */
size_t gate_open_bytes(struct wal *wal, struct client *client);
/* So many have left, or will not. */
void gate_drained(struct client *client, size_t bytes);
void gate_forget(struct client *client);
/* This command of the client is about to run; NULL: none, and it is answered all the same. */
void gate_note(struct client *client, const struct command_ref *ref);
/* Once a turn, before output is sent: those whose marks are safe go on. */
void gate_settle(struct wal *wal);
/* At its end: whether nobody waits for what is safe by now. Who makes it safe later wakes the
 * worker. */
bool gate_may_sleep(struct wal *wal);
/* At the end of what a turn does: it is on its way to the log before anybody hears of it. If the
 * log has broken, who has not been answered is closed: what waits may never be safe. */
void gate_seal(struct wal *wal);
/* The snapshot behind which the log goes on is there: it promises, and nothing is refused. */
void gate_promise(struct wal *wal);

#endif
