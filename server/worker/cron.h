/* SPDX-License-Identifier: BSD-3-Clause */
/* cron: what a worker looks after now and then: its figures, its clients' time-outs, memory that
 * may go back, and on worker 0 what is all workers'.
 *
 * Ten times a second, and for the clients a tenth of them each time, a few of those a turn: no turn
 * is long however many there are.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_CRON_H
#define SHOAL_SERVER_WORKER_CRON_H

#define CRON_MS 100
/* With more threads than this an idle one looks less often, so that idling costs no more. */
#define CRON_MANY_THREADS 8

struct worker;

/* In each turn: does what is due. */
void worker_cron(struct worker *worker);

#endif
