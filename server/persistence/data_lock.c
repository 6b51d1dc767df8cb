/* SPDX-License-Identifier: BSD-3-Clause */
/* data_lock: see the header. The system gives it back when the process ends, however it does. */
#include "server/persistence/data_lock.h"

#include "server/server.h"

#include <errno.h>

int data_lock(struct server *server, const char *path) {
    if (server->data_locked || server->fs->lock_dir == NULL) {
        return 0;
    }
    int error = server->fs->lock_dir(server->fs->arg, path, &server->data_lock);
    server->data_locked = error == 0;
    return error == -EWOULDBLOCK ? error : 0;
}

void data_unlock(struct server *server) {
    if (server->data_locked) {
        server->data_locked = false;
        server->fs->close_data(server->fs->arg, server->data_lock, false);
    }
}
