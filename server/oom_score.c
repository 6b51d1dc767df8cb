/* SPDX-License-Identifier: BSD-3-Clause */
/* See the header. Of the three values only the first is in use: the others are for replicas and for
 * processes that save, which are not there.
 */
#include "server/oom_score.h"

#include "server/observe/line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define OOM_SCORE_PATH "/proc/self/oom_score_adj"
#define OOM_SCORE_MAX  1000

static int64_t limited(int64_t value) {
    return value > OOM_SCORE_MAX ? OOM_SCORE_MAX : value < -OOM_SCORE_MAX ? -OOM_SCORE_MAX : value;
}

static int score_read(const struct fs *fs, int64_t *ret_value) {
    char *text;
    size_t len;
    int rc = fs->read_all(fs->arg, OOM_SCORE_PATH, &text, &len);
    if (rc == 0) {
        *ret_value = strtoll(text, NULL, 10);
        free(text);
    }
    return rc;
}

static int score_write(const struct fs *fs, int64_t value) {
    char text[32];
    int n = snprintf(text, sizeof text, "%lld\n", (long long)value);
    return fs->write_all(fs->arg, OOM_SCORE_PATH, bytes_make(text, (size_t)n), 0644);
}

int oom_score_follow(struct oom_score *score, const struct fs *fs, int64_t wall_us,
                     const struct config *config) {
    bool wanted = config->oom_score_adj != CONFIG_OOM_NO;
    int rc = 0;
    if (!wanted && !score->ours) {
        return 0;
    }
    if (!score->ours) {
        rc = score_read(fs, &score->before);
        if (rc != 0) {
            log_line(config, fs, wall_us, LOG_WARNING, "Unable to read oom_score_adj: %s",
                     strerror(-rc));
            return -1;
        }
    }
    int64_t value = score->before;
    if (wanted) {
        value = config->oom_score_adj_values[0] +
                (config->oom_score_adj == CONFIG_OOM_RELATIVE ? score->before : 0);
    }
    rc = score_write(fs, limited(value));
    if (rc != 0) {
        log_line(config, fs, wall_us, LOG_WARNING, "Unable to write oom_score_adj: %s",
                 strerror(-rc));
        return -1;
    }
    score->ours = wanted;
    return 0;
}

void oom_score_doubt(const struct fs *fs, int64_t wall_us, const struct config *config) {
    const int64_t *values = config->oom_score_adj_values;
    if (values[1] < values[0] || values[2] < values[1]) {
        log_line(config, fs, wall_us, LOG_WARNING,
                 "The oom-score-adj-values configuration may not work for non-privileged "
                 "processes: each value should be at least the one before it.");
    }
}
