/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread beside a runtime that does its operations on files one after the other, with calls
 * that block: all of them on epoll, on io_uring those that the kernel's ring has no request for.
 *
 * Two lists under one lock, and an eventfd that the runtime waits on with all else: it is written
 * when the first operation comes to lie among the done.
 *
 * Rejected: a pool of threads. The order of what a pool does at once is another each time, and a
 * log that waits for its own sync has nothing else to do anyway.
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

struct rt_helper {
    pthread_t thread;
    int fd;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t change;
    struct list asked, done;
    bool ends;
};

static void signal_done(const struct rt_helper *helper) {
    uint64_t one = 1;
    ssize_t r;
    do {
        r = write(helper->fd, &one, sizeof(one));
    } while (r < 0 && errno == EINTR);
}

static void *helper_thread(void *arg) {
    struct rt_helper *helper = arg;
    pthread_mutex_lock(&helper->mutex);
    for (;;) {
        struct list_node *node = list_pop_front(&helper->asked);
        if (node == NULL) {
            if (helper->ends) {
                break;
            }
            pthread_cond_wait(&helper->change, &helper->mutex);
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
static int start_thread(struct rt_helper *helper) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&helper->thread, NULL, helper_thread, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int rt_helper_new(struct rt_helper **ret_helper) {
    struct rt_helper *helper = must_calloc(1, sizeof(*helper));
    list_init(&helper->asked);
    list_init(&helper->done);
    pthread_mutex_init(&helper->mutex, NULL);
    pthread_cond_init(&helper->change, NULL);
    helper->fd = eventfd(0, EFD_CLOEXEC);
    int r = helper->fd < 0 ? -errno : start_thread(helper);
    if (r < 0) {
        if (helper->fd >= 0) {
            close(helper->fd);
        }
        pthread_cond_destroy(&helper->change);
        pthread_mutex_destroy(&helper->mutex);
        free(helper);
        return r;
    }
    *ret_helper = helper;
    return 0;
}

int rt_helper_fd(const struct rt_helper *helper) {
    return helper->fd;
}

void rt_helper_ask(struct rt_helper *helper, struct list *ops) {
    pthread_mutex_lock(&helper->mutex);
    bool idle = list_empty(&helper->asked);
    list_splice_back(&helper->asked, ops);
    pthread_mutex_unlock(&helper->mutex);
    if (idle) {
        pthread_cond_signal(&helper->change);
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
    pthread_cond_signal(&helper->change);
    pthread_join(helper->thread, NULL);
    for (struct list_node *node; (node = list_pop_front(&helper->done)) != NULL;) {
        const struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        rt_file_drop(op, op->result);
    }
    close(helper->fd);
    pthread_cond_destroy(&helper->change);
    pthread_mutex_destroy(&helper->mutex);
    free(helper);
}
