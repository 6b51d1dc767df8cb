/* SPDX-License-Identifier: BSD-3-Clause */
/* advice: what the log says at a start to who has to run the server: which limits of the system are
 * too low, and how to raise them; and what a restart would bring back.
 *
 * Thread: main, before the workers serve.
 */
#ifndef SHOAL_SERVER_OBSERVE_ADVICE_H
#define SHOAL_SERVER_OBSERVE_ADVICE_H

#include "net/file.h"
#include "server/config/config.h"

/* The system gives huge pages to who does not ask for them. */
bool advice_huge_pages_for_all(const struct fs *fs);
void advice_log(const struct config *config, const struct fs *fs, int64_t wall_us);

#endif
