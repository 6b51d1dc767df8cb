/* SPDX-License-Identifier: BSD-3-Clause */
/* The threads beside a runtime that do its operations on files, with calls that block: all of them
 * on epoll, on io_uring those that the kernel's ring has no request for. Each sits at a desk and
 * does what comes there one after the other:
 *
 *     syncs     of files and directories, which may take seconds: a log is written while it is
 *               synced (appendfsync everysec)
 *     beside    the work of others (rt_file_beside), of which nobody knows how long it takes
 *     all else  the log's writes among it
 *
 * A desk gets its thread with the first that is asked of it, all else at once, so there is always
 * one: what cannot get a thread of its own goes there.
 *
 * Lists under one lock, and an eventfd that the runtime waits on with all else: it is written when
 * the first operation comes to lie among the done.
 *
 * Rejected: a pool of threads. The order of what a pool does at once is another each time.
 */
#include "net/rt_private.h"

#include "net/rt_file.h"

#include "base/check.h"
#include "base/must.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ALL_ELSE, SYNCS, BESIDE, DESKS };

static const char *const desk_names[DESKS] = {"files", "file-syncs", "beside"};

struct desk {
    struct rt_helper *helper;
    const char *name;
    pthread_t thread;
    pthread_cond_t change;
    struct list asked;
    bool sits; /* the thread; only the runtime's own uses this */
};

struct rt_helper {
    int fd;
    const cpu_set_t *cpus;
    pthread_mutex_t mutex; /* of all below, and of the desks' lists */
    struct list done;
    bool ends;
    struct desk desks[DESKS];
};

static void signal_done(const struct rt_helper *helper) {
    uint64_t one = 1;
    ssize_t r;
    do {
        r = write(helper->fd, &one, sizeof(one));
    } while (r < 0 && errno == EINTR);
}

void rt_beside_begin(const char *name, const cpu_set_t *cpus) {
    pthread_setname_np(pthread_self(), name);
    if (CPU_COUNT(cpus) > 0) { /* where it may not run there it runs where it may */
        pthread_setaffinity_np(pthread_self(), sizeof(*cpus), cpus);
    }
}

static void *helper_thread(void *arg) {
    struct desk *desk = arg;
    struct rt_helper *helper = desk->helper;
    rt_beside_begin(desk->name, helper->cpus);
    pthread_mutex_lock(&helper->mutex);
    for (;;) {
        struct list_node *node = list_pop_front(&desk->asked);
        if (node == NULL) {
            if (helper->ends) {
                break;
            }
            pthread_cond_wait(&desk->change, &helper->mutex);
            continue;
        }
        pthread_mutex_unlock(&helper->mutex);
        struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        op->result = rt_file_call(op);
        pthread_mutex_lock(&helper->mutex);
        bool first = list_empty(&helper->done);
        list_push_back(&helper->done, node);
        if (first) {
            signal_done(helper);
        }
    }
    pthread_mutex_unlock(&helper->mutex);
    return NULL;
}

/* Signals are for the threads that were there before. 0 or -errno. */
static int sit(struct desk *desk) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&desk->thread, NULL, helper_thread, desk);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    desk->sits = error == 0;
    return -error;
}

int rt_helper_new(const cpu_set_t *cpus, struct rt_helper **ret_helper) {
    struct rt_helper *helper = must_calloc(1, sizeof(*helper));
    helper->cpus = cpus;
    list_init(&helper->done);
    pthread_mutex_init(&helper->mutex, NULL);
    for (unsigned i = 0; i < DESKS; i++) {
        struct desk *desk = &helper->desks[i];
        desk->helper = helper;
        desk->name = desk_names[i];
        list_init(&desk->asked);
        pthread_cond_init(&desk->change, NULL);
    }
    helper->fd = eventfd(0, EFD_CLOEXEC);
    int r = helper->fd < 0 ? -errno : sit(&helper->desks[ALL_ELSE]);
    if (r < 0) {
        rt_helper_free(helper);
        return r;
    }
    *ret_helper = helper;
    return 0;
}

int rt_helper_fd(const struct rt_helper *helper) {
    return helper->fd;
}

static struct desk *desk_of(struct rt_helper *helper, const struct rt_file_op *op) {
    bool syncs = op->kind == RT_FILE_SYNC || op->kind == RT_DIR_SYNC;
    int at = syncs ? SYNCS : op->kind == RT_FILE_BESIDE ? BESIDE : ALL_ELSE;
    struct desk *desk = &helper->desks[at];
    return desk->sits || sit(desk) == 0 ? desk : &helper->desks[ALL_ELSE];
}

void rt_helper_ask(struct rt_helper *helper, struct list *ops) {
    for (struct list_node *node; (node = list_pop_front(ops)) != NULL;) {
        struct desk *desk = desk_of(helper, LIST_ENTRY(node, struct rt_file_op, link));
        pthread_mutex_lock(&helper->mutex);
        bool wakes = list_empty(&desk->asked);
        list_push_back(&desk->asked, node);
        pthread_mutex_unlock(&helper->mutex);
        if (wakes) {
            pthread_cond_signal(&desk->change);
        }
    }
}

void rt_helper_take(struct rt_helper *helper, struct list *ret_ops) {
    pthread_mutex_lock(&helper->mutex);
    list_splice_back(ret_ops, &helper->done);
    pthread_mutex_unlock(&helper->mutex);
}

void rt_helper_free(struct rt_helper *helper) {
    if (helper == NULL) {
        return;
    }
    pthread_mutex_lock(&helper->mutex);
    helper->ends = true;
    pthread_mutex_unlock(&helper->mutex);
    for (unsigned i = 0; i < DESKS; i++) {
        struct desk *desk = &helper->desks[i];
        if (desk->sits) {
            pthread_cond_signal(&desk->change);
            pthread_join(desk->thread, NULL);
        }
    }
    for (struct list_node *node; (node = list_pop_front(&helper->done)) != NULL;) {
        const struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        rt_file_drop(op, op->result);
    }
    if (helper->fd >= 0) {
        close(helper->fd);
    }
    for (unsigned i = 0; i < DESKS; i++) {
        pthread_cond_destroy(&helper->desks[i].change);
    }
    pthread_mutex_destroy(&helper->mutex);
    free(helper);
}
