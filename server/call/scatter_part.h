/* SPDX-License-Identifier: BSD-3-Clause */
/* scatter_part: what the worker's loop needs of scatter.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_CALL_SCATTER_PART_H
#define SHOAL_SERVER_CALL_SCATTER_PART_H

#include "base/list.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct scatter;
struct worker;

/* One worker's share: a message out and home, and a job between. */
struct scatter_part {
    struct message message; /* first */
    struct list_node node;  /* of worker->jobs */
    struct scatter *scatter;
    unsigned worker;
    bool begun;
    uint64_t ticks; /* that it has taken */
    void *result;
};

/* A part arrived: it is put in line. */
void scatter_part_arrived(struct worker *worker, struct message *message);
/* Runs each job in line once, as far as the slice allows; true if some want another turn. */
bool scatter_run_jobs(struct worker *worker);
/* A part is home again. */
void scatter_part_home(struct worker *worker, struct message *message);

#endif
