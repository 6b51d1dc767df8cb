/* SPDX-License-Identifier: BSD-3-Clause */
/* supervision: see the header. Apart from main because the parent of several nodes is watched over
 * as a single one is.
 */
#include "server/supervision.h"

#include "net/process.h"
#include "net/rt.h"
#include "server/observe/log.h"

#include <stdio.h>
#include <string.h>

enum config_supervised supervision_find(const struct config *config, const struct fs *fs) {
    enum config_supervised kind = config->supervised;
    const char *missing = NULL;
    if (kind == CONFIG_SUPERVISED_AUTO) {
        kind = process_under_upstart()   ? CONFIG_SUPERVISED_UPSTART
               : process_under_systemd() ? CONFIG_SUPERVISED_SYSTEMD
                                         : CONFIG_SUPERVISED_NO;
    }
    if (kind == CONFIG_SUPERVISED_UPSTART && !process_under_upstart()) {
        missing = "UPSTART_JOB is not set";
    } else if (kind == CONFIG_SUPERVISED_SYSTEMD && !process_under_systemd()) {
        missing = "NOTIFY_SOCKET is not set";
    } else if (kind == CONFIG_SUPERVISED_SYSTEMD) {
        int error = process_notify("STATUS=Starting\n");
        missing = error != 0 ? strerror(-error) : NULL;
    }
    if (missing == NULL) {
        return kind;
    }
    log_line(config, fs, rt_wall_us_early(), LOG_WARNING,
             "supervised: %s cannot be told of this server (%s); it runs without.",
             kind == CONFIG_SUPERVISED_UPSTART ? "upstart" : "systemd", missing);
    return CONFIG_SUPERVISED_NO;
}

bool supervision_in_background(const struct config *config, enum config_supervised supervised) {
    return config->daemonize && supervised == CONFIG_SUPERVISED_NO;
}

static struct bytes pid_file(const struct config *config, enum config_supervised supervised) {
    if (config->pidfile.len > 0) {
        return config->pidfile;
    }
    return supervision_in_background(config, supervised) ? BYTES("/var/run/shoal.pid")
                                                         : bytes_make("", 0);
}

void supervision_write_pid(const struct config *config, enum config_supervised supervised,
                           const struct fs *fs, int pid) {
    struct bytes path = pid_file(config, supervised);
    if (path.len == 0) {
        return;
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", pid);
    int error = fs->write_all(fs->arg, path.ptr, bytes_make(text, (size_t)n), 0644);
    if (error != 0) {
        log_line(config, fs, rt_wall_us_early(), LOG_WARNING, "Failed to write PID file: %s",
                 strerror(-error));
    }
}

void supervision_remove_pid(const struct config *config, enum config_supervised supervised,
                            const struct fs *fs) {
    struct bytes path = pid_file(config, supervised);
    if (path.len > 0) {
        log_line(config, fs, rt_wall_us_early(), LOG_NOTICE, "Removing the pid file.");
        fs->remove(fs->arg, path.ptr);
    }
}

void supervision_ready(const struct config *config, enum config_supervised supervised,
                       const struct fs *fs) {
    if (supervised == CONFIG_SUPERVISED_SYSTEMD) {
        process_notify("STATUS=Ready to accept connections\nREADY=1\n");
    } else if (supervised == CONFIG_SUPERVISED_UPSTART) {
        log_line(config, fs, rt_wall_us_early(), LOG_NOTICE,
                 "Stops until upstart, which is told so, lets it go on.");
        process_stop();
    }
}

void supervision_stopping(enum config_supervised supervised) {
    if (supervised == CONFIG_SUPERVISED_SYSTEMD) {
        process_notify("STOPPING=1\n");
    }
}
