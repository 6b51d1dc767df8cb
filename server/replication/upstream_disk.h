/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream_disk: how much of its primary's stream a replica has on its disk: what REPLCONF ACK says
 * by FACK, and WAITAOF at the primary waits for.
 *
 * The log knows numbers, the stream has offsets. So at a moment at which all that has come is
 * applied the last number is noted: when all up to that is synced, so much of the stream is.
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_REPLICATION_UPSTREAM_DISK_H
#define SHOAL_SERVER_REPLICATION_UPSTREAM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct upstream_disk {
    bool is;                 /* there is a log, which is complete */
    uint64_t number, offset; /* noted; 0: nothing is */
    uint64_t synced;         /* offset of the last byte that is on the disk */
};

/* All up to `applied` has been done, and nothing else is under way. True: more of it is on the disk
 * than was. */
bool upstream_disk_look(struct upstream_disk *disk, const struct worker *home, uint64_t applied);
/* Another stream, or another place in it. */
void upstream_disk_forget(struct upstream_disk *disk);

#endif
