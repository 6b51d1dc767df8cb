/* SPDX-License-Identifier: BSD-3-Clause */
/* data_lock: see the header. The system gives it back when the process ends, however it does. */
#include "server/persistence/data_lock.h"

#include "server/server.h"

#include <errno.h>

int data_lock(struct server *server, const char *path) {
    if (server->data_locked || server->fs->lock_dir == NULL) {
        return 0;
    }
    int file;
    int error = server->fs->lock_dir(server->fs->arg, path, &file);
    server->data_locked = error == 0;
    return error == -EWOULDBLOCK ? error : 0;
}
