/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream_disk: see the header. One place is noted at a time, the next when that is on the disk.
 */
#include "server/replication/upstream_disk.h"

#include "server/persistence/wal.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

void upstream_disk_forget(struct upstream_disk *disk) {
    *disk = (struct upstream_disk){0};
}

static void take_synced(struct upstream_disk *disk, const struct shared_counters *shared) {
    if (disk->offset > 0 && shared_wal_safe(shared, WAL_SYNCED) >= disk->number) {
        disk->synced = disk->offset;
        disk->offset = 0;
    }
}

bool upstream_disk_look(struct upstream_disk *disk, const struct worker *home, uint64_t applied) {
    const struct shared_counters *shared = home->server->shared;
    if (home->wal == NULL || home->wal->state != WAL_ON) {
        upstream_disk_forget(disk);
        return false;
    }
    uint64_t before = disk->synced;
    disk->is = true;
    take_synced(disk, shared);
    if (disk->offset == 0 && applied > disk->synced) {
        disk->number = shared_wal_count(shared);
        disk->offset = applied;
        take_synced(disk, shared); /* there may have been nothing to write */
    }
    return disk->synced > before;
}
