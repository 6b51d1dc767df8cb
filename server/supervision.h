/* SPDX-License-Identifier: BSD-3-Clause */
/* supervision: what a server and who watches over it know of each other: the file with its pid, a
 * word when it is ready, and when it ends.
 *
 * Thread: main, while the configuration is not the workers'; supervision_ready also worker 0.
 */
#ifndef SHOAL_SERVER_SUPERVISION_H
#define SHOAL_SERVER_SUPERVISION_H

#include "net/file.h"
#include "server/config/config.h"

/* Who of those that the configuration names is really there; what is missing is logged. */
enum config_supervised supervision_find(const struct config *config, const struct fs *fs);
/* To the background? A supervisor wants to keep the process that it started. */
bool supervision_in_background(const struct config *config, enum config_supervised supervised);

void supervision_write_pid(const struct config *config, enum config_supervised supervised,
                           const struct fs *fs, int pid);
void supervision_remove_pid(const struct config *config, enum config_supervised supervised,
                            const struct fs *fs);

void supervision_ready(const struct config *config, enum config_supervised supervised,
                       const struct fs *fs);
void supervision_stopping(enum config_supervised supervised);

#endif
