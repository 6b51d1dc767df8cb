/* SPDX-License-Identifier: BSD-3-Clause */
/* The two threads beside a runtime that do its operations on files, with calls that block: all of
 * them on epoll, on io_uring those that the kernel's ring has no request for. One does syncs, which
 * may take seconds, the other all else, so a log is written while it is synced (appendfsync
 * everysec); each one after the other.
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

enum { ALL_ELSE, SYNCS, DESKS };

struct desk {
    struct rt_helper *helper;
    pthread_t thread;
    pthread_cond_t change;
    struct list asked;
};

struct rt_helper {
    int fd;
    pthread_mutex_t mutex; /* of all below, and of the desks' lists */
    struct list done;
    bool ends;
    unsigned started; /* desks with a thread; only the runtime's thread uses it */
    struct desk desks[DESKS];
};

static void signal_done(const struct rt_helper *helper) {
    uint64_t one = 1;
    ssize_t r;
    do {
        r = write(helper->fd, &one, sizeof(one));
    } while (r < 0 && errno == EINTR);
}

static void *helper_thread(void *arg) {
    struct desk *desk = arg;
    struct rt_helper *helper = desk->helper;
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

/* Signals are for the threads that were there before. */
static int start_threads(struct rt_helper *helper) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (helper->started < DESKS && error == 0) {
        struct desk *desk = &helper->desks[helper->started];
        error = pthread_create(&desk->thread, NULL, helper_thread, desk);
        helper->started += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int rt_helper_new(struct rt_helper **ret_helper) {
    struct rt_helper *helper = must_calloc(1, sizeof(*helper));
    list_init(&helper->done);
    pthread_mutex_init(&helper->mutex, NULL);
    for (unsigned i = 0; i < DESKS; i++) {
        struct desk *desk = &helper->desks[i];
        desk->helper = helper;
        list_init(&desk->asked);
        pthread_cond_init(&desk->change, NULL);
    }
    helper->fd = eventfd(0, EFD_CLOEXEC);
    int r = helper->fd < 0 ? -errno : start_threads(helper);
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

void rt_helper_ask(struct rt_helper *helper, struct list *ops) {
    bool wakes[DESKS] = {false};
    pthread_mutex_lock(&helper->mutex);
    for (struct list_node *node; (node = list_pop_front(ops)) != NULL;) {
        int at = LIST_ENTRY(node, struct rt_file_op, link)->kind == RT_FILE_SYNC ? SYNCS : ALL_ELSE;
        struct list *asked = &helper->desks[at].asked;
        wakes[at] |= list_empty(asked);
        list_push_back(asked, node);
    }
    pthread_mutex_unlock(&helper->mutex);
    for (unsigned i = 0; i < DESKS; i++) {
        if (wakes[i]) {
            pthread_cond_signal(&helper->desks[i].change);
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
    for (unsigned i = 0; i < helper->started; i++) {
        pthread_cond_signal(&helper->desks[i].change);
        pthread_join(helper->desks[i].thread, NULL);
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
