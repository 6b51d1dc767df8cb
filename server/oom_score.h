/* SPDX-License-Identifier: BSD-3-Clause */
/* oom_score: how soon the kernel ends this process when the machine is out of memory:
 * oom-score-adj, oom-score-adj-values.
 *
 * Thread: main before the workers start, then worker 0.
 */
#ifndef SHOAL_SERVER_OOM_SCORE_H
#define SHOAL_SERVER_OOM_SCORE_H

#include "net/file.h"
#include "server/config/config.h"

struct oom_score {
    bool ours;      /* the value is what a configuration made it */
    int64_t before; /* what it was without */
};

/* Brings the process's value where the configuration wants it. 0, or -1 after a line in the log. */
int oom_score_follow(struct oom_score *score, const struct fs *fs, int64_t wall_us,
                     const struct config *config);
/* Says so in the log if only root could follow these values from one role to the next. */
void oom_score_doubt(const struct fs *fs, int64_t wall_us, const struct config *config);

#endif
