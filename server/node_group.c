/* SPDX-License-Identifier: BSD-3-Clause */
/* node_group: see the header.
 *
 * A node that has served and ends in another way than by being told to is started again, after a
 * second, and later if it goes on so. One that has never served would do the same again: then all
 * end, and whoever started the parent hears of it. One that was shut down stays down; the last one
 * ends the parent.
 */
#include "server/node_group.h"

#include "base/must.h"
#include "net/children.h"
#include "net/process.h"
#include "net/rt.h"
#include "server/cluster/settings.h"
#include "server/observe/log.h"
#include "server/supervision.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS     1000 /* before a node is started again, twice as long each time */
#define PAUSE_MAX_MS 30000
#define STEADY_MS    60000 /* but for one that has run for so long */
#define PORT_MAX     65535

struct member {
    int pid;          /* 0: it does not run */
    bool served;      /* it, or one that was here before it */
    int64_t since_ms; /* it was started */
    int64_t pause_ms; /* before it was; 0: it is the first */
    int64_t again_ms; /* when it is started again; 0: it is not */
};

struct group {
    struct config *config;
    enum config_supervised supervised;
    unsigned count;
    struct member *members;
    bool told;    /* who watches knows that all serve */
    bool ending;  /* all were told to */
    bool leaving; /* and one has: who watches knows */
    int code;     /* what the parent exits with */
};

static void say(const struct group *group, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(const struct group *group, enum log_level level, const char *format, ...) {
    struct text line;
    text_init(&line);
    va_list args;
    va_start(args, format);
    text_vappendf(&line, format, args);
    va_end(args);
    log_line(group->config, fs_real(), rt_wall_us_early(), level, "%s", line.ptr);
    text_fini(&line);
}

/* ---- Ports ---- */

struct ports {
    const char *directive;
    int64_t first; /* 0: none */
};

/* Each node wants its own; what is wrong is said on the terminal. */
static bool ports_fit(const struct config *config, unsigned count) {
    struct ports all[] = {
        {"port", config->port},
        {"tls-port", config->tls_port},
        {"metrics-port", config->metrics_port},
        {"cluster-port", cluster_bus_port(config)},
        /* Nobody listens on these here. */
        {"cluster-announce-port", config->cluster_announce_port},
        {"cluster-announce-tls-port", config->cluster_announce_tls_port},
        {"cluster-announce-bus-port", config->cluster_announce_bus_port},
        {"cluster-announce-client-port", config->cluster_announce_client_port},
        {"cluster-announce-client-tls-port", config->cluster_announce_client_tls_port},
        {"replica-announce-port", config->replica_announce_port},
    };
    size_t listening = 4;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].first > 0 && all[i].first + count - 1 > PORT_MAX) {
            fprintf(stderr,
                    "cluster-node-per-shard: %u nodes from %s %lld on want ports over %d.\n", count,
                    all[i].directive, (long long)all[i].first, PORT_MAX);
            return false;
        }
        for (size_t k = 0; k < i && i < listening; k++) {
            int64_t apart = all[i].first - all[k].first;
            if (all[i].first > 0 && all[k].first > 0 && apart < count && -apart < count) {
                fprintf(stderr,
                        "cluster-node-per-shard: %u nodes from %s %lld and from %s %lld on would "
                        "listen on the same ports: set them at least %u apart.\n",
                        count, all[k].directive, (long long)all[k].first, all[i].directive,
                        (long long)all[i].first, count);
                return false;
            }
        }
    }
    return true;
}

/* ---- Members ---- */

static void start_later(struct member *member) {
    int64_t now = children_now_ms();
    bool steady = member->pause_ms == 0 || now - member->since_ms >= STEADY_MS;
    int64_t pause = steady ? PAUSE_MS : 2 * member->pause_ms;
    member->pause_ms = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
    member->again_ms = now + member->pause_ms;
}

/* True in the child. */
static bool start(struct group *group, unsigned index) {
    int pid = child_start();
    if (pid == 0) {
        return true;
    }
    struct member *member = &group->members[index];
    member->pid = pid > 0 ? pid : 0;
    member->since_ms = children_now_ms();
    member->again_ms = 0;
    if (pid < 0) {
        say(group, LOG_WARNING, "Node %u could not be started: %s", index, strerror(-pid));
        if (member->served) {
            start_later(member);
        } else {
            group->code = 1;
            group->ending = true;
        }
    }
    return false;
}

static unsigned find(const struct group *group, int pid) {
    unsigned i = 0;
    while (i < group->count && group->members[i].pid != pid) {
        i++;
    }
    return i;
}

static void tell_all(struct group *group, int number) {
    for (unsigned i = 0; i < group->count; i++) {
        if (group->members[i].pid != 0) {
            child_signal(group->members[i].pid, number);
        }
    }
}

static void end_all(struct group *group, int number) {
    group->ending = true;
    for (unsigned i = 0; i < group->count; i++) {
        group->members[i].again_ms = 0;
    }
    tell_all(group, number);
}

static void ended(struct group *group, const struct child_event *event) {
    unsigned index = find(group, event->pid);
    if (index == group->count) {
        return;
    }
    struct member *member = &group->members[index];
    member->pid = 0;
    const char *how = event->number != 0 ? "signal" : "exit code";
    int what = event->number != 0 ? event->number : event->code;
    if (group->ending && !group->leaving) {
        group->leaving = true;
        supervision_stopping(group->supervised);
    }
    if (what == 0) {
        say(group, LOG_NOTICE, "Node %u has ended.", index);
    } else if (member->served && !group->ending) {
        start_later(member);
        say(group, LOG_WARNING,
            "Node %u (pid %d) was ended by %s %d. It is started again in %lld s; the others go "
            "on.",
            index, event->pid, how, what, (long long)member->pause_ms / 1000);
    } else {
        group->code = 1;
        say(group, LOG_WARNING, "Node %u (pid %d) failed, with %s %d%s", index, event->pid, how,
            what, group->ending ? "." : ": all nodes end. Its reason is above.");
        if (!group->ending) {
            end_all(group, SIGTERM);
        }
    }
}

/* Others that have ended meanwhile stay so, as if each had been told alone. */
static void stays(struct group *group, int pid) {
    unsigned index = find(group, pid);
    if (index < group->count && group->ending && group->code == 0) {
        group->ending = false;
        say(group, LOG_WARNING, "Node %u does not end: its reason is above.", index);
    }
}

static void serves(struct group *group, int pid) {
    unsigned index = find(group, pid);
    if (index == group->count) {
        return;
    }
    group->members[index].served = true;
    unsigned served = 0;
    for (unsigned i = 0; i < group->count; i++) {
        served += group->members[i].served;
    }
    if (served == group->count && !group->told) {
        group->told = true;
        say(group, LOG_NOTICE, "All %u nodes serve.", group->count);
        supervision_ready(group->config, group->supervised, fs_real());
    }
}

/* How many run or will again; *ret_wait_ms is when the next is to be started, -1 if none is. True
 * in a child. */
static bool start_due(struct group *group, unsigned *ret_alive, int64_t *ret_wait_ms,
                      unsigned *ret_index) {
    int64_t now = children_now_ms();
    *ret_alive = 0;
    *ret_wait_ms = -1;
    for (unsigned i = 0; i < group->count; i++) {
        struct member *member = &group->members[i];
        if (member->again_ms != 0 && member->again_ms <= now) {
            *ret_index = i;
            if (start(group, i)) {
                return true;
            }
        }
        if (member->again_ms != 0 && (*ret_wait_ms < 0 || member->again_ms - now < *ret_wait_ms)) {
            *ret_wait_ms = member->again_ms - now;
        }
        *ret_alive += member->pid != 0 || member->again_ms != 0;
    }
    return false;
}

/* Until all have ended; true in a child, which is node *ret_index. */
static bool watch(struct group *group, unsigned *ret_index) {
    for (;;) {
        unsigned alive;
        int64_t wait_ms;
        if (start_due(group, &alive, &wait_ms, ret_index)) {
            return true;
        }
        if (alive == 0) {
            return false;
        }
        struct child_event event = children_wait(wait_ms);
        switch (event.kind) {
        case CHILD_READY:
            serves(group, event.pid);
            break;
        case CHILD_STAYS:
            stays(group, event.pid);
            break;
        case CHILD_ENDED:
            ended(group, &event);
            break;
        case CHILDREN_SIGNAL:
            if (event.number == SIGALRM) {
                tell_all(group, event.number);
            } else {
                end_all(group, event.number);
            }
            break;
        case CHILD_NOTHING:
            break;
        }
    }
}

int node_group_run(struct config *config, enum config_supervised supervised,
                   struct node_place *ret_place) {
    struct group group = {.config = config, .supervised = supervised};
    *ret_place = (struct node_place){.again = false};
    group.count = config->shards > 0 ? (unsigned)config->shards : rt_cpus();
    if (!ports_fit(config, group.count)) {
        return 1;
    }
    int error = supervision_in_background(config, supervised) ? process_daemonize() : 0;
    if (error != 0) {
        fprintf(stderr, "shoal-server: could not go to the background: %s\n", strerror(-error));
        return 1;
    }
    group.members = must_calloc(group.count, sizeof *group.members);
    children_begin();
    say(&group, LOG_NOTICE, "Starts %u nodes, on port %lld and those that follow.", group.count,
        (long long)(config->port > 0 ? config->port : config->tls_port));
    unsigned index = 0;
    bool child = false;
    while (index < group.count && !group.ending) {
        child = start(&group, index);
        if (child) {
            break;
        }
        index++;
    }
    if (!child) {
        supervision_write_pid(config, supervised, fs_real(), process_id());
        if (group.ending) {
            tell_all(&group, SIGTERM);
        }
        child = watch(&group, &index);
        ret_place->again = true;
    }
    free(group.members);
    if (child) {
        ret_place->index = index;
        ret_place->count = group.count;
        return -1;
    }
    supervision_remove_pid(config, supervised, fs_real());
    return group.code;
}

void node_group_ready(void) {
    child_ready();
}

void node_group_stays(void) {
    child_stays();
}
