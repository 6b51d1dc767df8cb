/* SPDX-License-Identifier: BSD-3-Clause */
/* advice: see the header. What cannot be read, as in a container that hides it, is not spoken of.
 * The limit of open files has a line of its own where maxclients is fitted to it (main.c).
 */
#include "server/observe/advice.h"

#include "server/observe/line.h"

#include <stdlib.h>

#define SOMAXCONN  "/proc/sys/net/core/somaxconn"
#define OVERCOMMIT "/proc/sys/vm/overcommit_memory"
#define HUGE_PAGES "/sys/kernel/mm/transparent_hugepage/enabled"

/* NULL: it cannot be read. For free(). */
static char *content(const struct fs *fs, const char *path) {
    char *text;
    size_t len;
    return fs->read_all(fs->arg, path, &text, &len) == 0 ? text : NULL;
}

static void advise_backlog(const struct config *config, const struct fs *fs, int64_t wall_us) {
    char *text = content(fs, SOMAXCONN);
    long long most = text != NULL ? strtoll(text, NULL, 10) : 0;
    if (most > 0 && most < config->tcp_backlog) {
        log_line(config, fs, wall_us, LOG_WARNING,
                 "tcp-backlog is %lld, but the system lets only %lld connections wait to be "
                 "accepted: more that come at once are refused. Raise it by 'sysctl -w "
                 "net.core.somaxconn=%lld'; a line 'net.core.somaxconn = %lld' in /etc/sysctl.conf "
                 "keeps it.",
                 (long long)config->tcp_backlog, most, (long long)config->tcp_backlog,
                 (long long)config->tcp_backlog);
    }
    free(text);
}

/* Nothing here forks, so what the other values forbid is not missed. */
static void advise_overcommit(const struct config *config, const struct fs *fs, int64_t wall_us) {
    char *text = content(fs, OVERCOMMIT);
    if (text != NULL && text[0] == '2') {
        log_line(config, fs, wall_us, LOG_WARNING,
                 "vm.overcommit_memory is 2: memory may run out while there is some, as address "
                 "space counts that is never touched. Set it by 'sysctl -w "
                 "vm.overcommit_memory=1'; a line 'vm.overcommit_memory = 1' in /etc/sysctl.conf "
                 "keeps it.");
    }
    free(text);
}

bool advice_huge_pages_for_all(const struct fs *fs) {
    char *text = content(fs, HUGE_PAGES);
    bool all = text != NULL && strstr(text, "[always]") != NULL;
    free(text);
    return all;
}

static void advise_huge_pages(const struct config *config, const struct fs *fs, int64_t wall_us) {
    if (!config->disable_thp && advice_huge_pages_for_all(fs)) {
        log_line(
            config, fs, wall_us, LOG_WARNING,
            "Transparent huge pages are on for everybody: memory may grow by 2 MB where 4 kB "
            "were asked for, and stay when it was freed. 'echo madvise > " HUGE_PAGES
            "', as root and at each boot (/etc/rc.local), leaves them to who asks for them, and "
            "'disable-thp yes' keeps them from this server.");
    }
}

static void tell_survivors(const struct config *config, const struct fs *fs, int64_t wall_us) {
    static const char *const with_log[] = {
        [CONFIG_FSYNC_NO] = "if the machine fails, what its system had not written by then is lost",
        [CONFIG_FSYNC_EVERYSEC] = "if the machine fails, about the last second is lost",
        [CONFIG_FSYNC_ALWAYS] = "also if the machine fails",
    };
    if (config->appendonly) {
        log_line(config, fs, wall_us, LOG_NOTICE,
                 "A restart brings back all that was answered (appendonly yes); %s.",
                 with_log[config->appendfsync]);
    } else if (config->save.count > 0) {
        log_line(config, fs, wall_us, LOG_NOTICE,
                 "A restart brings back the last save (appendonly no): SHUTDOWN makes one, a crash "
                 "loses what came after the one before it. 'appendonly yes' keeps all that was "
                 "answered.");
    } else {
        log_line(config, fs, wall_us, LOG_NOTICE,
                 "A restart brings back nothing but what SAVE or BGSAVE have written (appendonly "
                 "no, and no save points). 'appendonly yes' keeps all that was answered.");
    }
}

void advice_log(const struct config *config, const struct fs *fs, int64_t wall_us) {
    advise_backlog(config, fs, wall_us);
    advise_overcommit(config, fs, wall_us);
    advise_huge_pages(config, fs, wall_us);
    tell_survivors(config, fs, wall_us);
}
