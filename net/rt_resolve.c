/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of names. The system's way to ask for them holds its caller up, for many seconds if
 * name servers are silent; so one thread asks, one name after the other, for all runtimes that were
 * made together. It is started by the first who asks, and most servers never have one.
 *
 *     rt_resolve --asked--> helper: getaddrinfo --done, rt_wake--> rt_turn: rt_resolve_tell
 *          `-------- a numeric address, or a simulation's table ------^
 *
 * Invariants
 *  1. What lies in `asked`, `done` or is `at_work` belongs to the lock; what lies in rt->resolved,
 * to the runtime's thread. A request is in one of them, and whoever frees it takes it out first.
 *  2. A runtime is woken under the lock, and leaves under it: so no one is woken that is gone.
 *  3. The helper reads no request while it asks: the name is its own copy. So a request may go
 * meanwhile, and what was found out is for nobody.
 *
 * How it ends: the last runtime takes the helper along. One that is in the middle of asking is left
 * to itself, and cleans up when it has an answer.
 */
#include "net/rt_private.h"

#include "base/check.h"
#include "base/must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct rt_resolve {
    struct list_node link;
    struct rt *rt;
    rt_resolved_fn *done;
    void *arg;
    int error;
    struct rt_addresses addresses;
    char name[RT_HOST_NAME_MAX + 1];
};

struct rt_resolver {
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t change;
    pthread_t thread;
    struct list asked, done;
    struct rt_resolve *at_work; /* what the helper asks for; NULL: nothing that anybody wants */
    unsigned runtimes;          /* that share it; 0: the helper shall end */
    cpu_set_t cpus;             /* where it runs; empty: anywhere */
    bool started;
    bool busy; /* the helper asks */
};

static void resolver_free(struct rt_resolver *resolver) {
    pthread_cond_destroy(&resolver->change);
    pthread_mutex_destroy(&resolver->mutex);
    free(resolver);
}

/* ---- Asking ---- */

static bool is_numeric(const char *name) {
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static bool address_text(const struct sockaddr *address, char ret[RT_HOST_BYTES]) {
    const void *ip = address->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    return (address->sa_family == AF_INET || address->sa_family == AF_INET6) &&
           inet_ntop(address->sa_family, ip, ret, RT_HOST_BYTES) != NULL;
}

static int error_of(int answer) {
    switch (answer) {
    case 0:
        return 0;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno > 0 ? -errno : -EIO;
    default:
        return -EIO;
    }
}

static int ask_system(const char *name, struct rt_addresses *ret) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    int r = error_of(getaddrinfo(name, NULL, &hints, &all));
    if (r < 0) {
        return r;
    }
    for (const struct addrinfo *one = all; one && ret->count < RT_ADDRESSES_MAX;
         one = one->ai_next) {
        ret->count += address_text(one->ai_addr, ret->text[ret->count]);
    }
    freeaddrinfo(all);
    return ret->count > 0 ? 0 : -ENOENT;
}

/* ---- The helper ---- */

/* With the lock, which is let go of meanwhile. */
static void work_off(struct rt_resolver *resolver, struct rt_resolve *resolve) {
    char name[RT_HOST_NAME_MAX + 1];
    struct rt_addresses found = {.count = 0};
    strcpy(name, resolve->name);
    resolver->at_work = resolve;
    resolver->busy = true;
    pthread_mutex_unlock(&resolver->mutex);
    int error = ask_system(name, &found);
    pthread_mutex_lock(&resolver->mutex);
    resolver->busy = false;
    resolve = resolver->at_work;
    resolver->at_work = NULL;
    if (resolve != NULL) {
        resolve->error = error;
        resolve->addresses = found;
        list_push_back(&resolver->done, &resolve->link);
        rt_wake(NULL, resolve->rt);
    }
}

static void *helper(void *arg) {
    struct rt_resolver *resolver = arg;
    bool left_alone = false; /* nobody waits for this thread to end */
    rt_beside_begin("resolver", &resolver->cpus);
    pthread_mutex_lock(&resolver->mutex);
    while (resolver->runtimes > 0) {
        struct list_node *node = list_pop_front(&resolver->asked);
        if (node == NULL) {
            pthread_cond_wait(&resolver->change, &resolver->mutex);
            continue;
        }
        work_off(resolver, LIST_ENTRY(node, struct rt_resolve, link));
        left_alone = resolver->runtimes == 0;
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (left_alone) {
        resolver_free(resolver);
    }
    return NULL;
}

/* Signals are for the threads that were there before. */
static int start(struct rt_resolver *resolver) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&resolver->thread, NULL, helper, resolver);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

/* ---- Its runtimes ---- */

void rt_resolver_share(struct rt **rts, unsigned count) {
    struct rt_resolver *resolver = must_calloc(1, sizeof(*resolver));
    pthread_mutex_init(&resolver->mutex, NULL);
    pthread_cond_init(&resolver->change, NULL);
    list_init(&resolver->asked);
    list_init(&resolver->done);
    resolver->runtimes = count;
    resolver->cpus = rts[0]->beside_cpus;
    for (unsigned i = 0; i < count; i++) {
        rts[i]->resolver = resolver;
    }
}

static void forget_all(struct list *list, const struct rt *rt) {
    LIST_EACH_SAFE(list, node) {
        struct rt_resolve *resolve = LIST_ENTRY(node, struct rt_resolve, link);
        if (resolve->rt == rt) {
            list_remove(node);
            free(resolve);
        }
    }
}

void rt_resolver_leave(struct rt *rt) {
    struct rt_resolver *resolver = rt->resolver;
    forget_all(&rt->resolved, rt);
    if (resolver == NULL) {
        return;
    }
    pthread_mutex_lock(&resolver->mutex);
    forget_all(&resolver->asked, rt);
    forget_all(&resolver->done, rt);
    if (resolver->at_work != NULL && resolver->at_work->rt == rt) {
        free(resolver->at_work);
        resolver->at_work = NULL;
    }
    bool last = --resolver->runtimes == 0;
    bool busy = resolver->busy, started = resolver->started;
    pthread_t thread = resolver->thread;
    if (last) {
        pthread_cond_signal(&resolver->change);
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (last && busy) {
        pthread_detach(thread);
        return;
    }
    if (last && started) {
        pthread_join(thread, NULL);
    }
    if (last) {
        resolver_free(resolver);
    }
}

/* ---- Requests ---- */

/* Told in the next turn, which does not wait. */
static void told_soon(struct rt_resolve *resolve) {
    list_push_back(&resolve->rt->resolved, &resolve->link);
    rt_wake(resolve->rt, resolve->rt);
}

static void hand_over(struct rt_resolver *resolver, struct rt_resolve *resolve) {
    pthread_mutex_lock(&resolver->mutex);
    int r = resolver->started ? 0 : start(resolver);
    if (r == 0) {
        resolver->started = true;
        list_push_back(&resolver->asked, &resolve->link);
        pthread_cond_signal(&resolver->change);
    }
    pthread_mutex_unlock(&resolver->mutex);
    if (r < 0) {
        resolve->error = r;
        told_soon(resolve);
    }
}

struct rt_resolve *rt_resolve(struct rt *rt, const char *name, rt_resolved_fn *done, void *arg) {
    struct rt_resolve *resolve = must_calloc(1, sizeof(*resolve));
    resolve->rt = rt;
    resolve->done = done;
    resolve->arg = arg;
    rt->resolving++;
    if (strlen(name) > RT_HOST_NAME_MAX) {
        resolve->error = -ENOENT;
        told_soon(resolve);
        return resolve;
    }
    strcpy(resolve->name, name);
    if (is_numeric(name)) {
        resolve->addresses.count = 1;
        strcpy(resolve->addresses.text[0], name); /* what is numeric is short */
        told_soon(resolve);
    } else if (rt->ops->resolve != NULL) {
        resolve->error = rt->ops->resolve(rt, name, &resolve->addresses);
        told_soon(resolve);
    } else {
        hand_over(rt->resolver, resolve);
    }
    return resolve;
}

/* It is nowhere any more (inv. 1). */
static void take_out(struct rt_resolve *resolve) {
    struct rt_resolver *resolver = resolve->rt->resolver;
    if (resolver != NULL) {
        pthread_mutex_lock(&resolver->mutex);
        list_remove(&resolve->link);
        if (resolver->at_work == resolve) {
            resolver->at_work = NULL;
        }
        pthread_mutex_unlock(&resolver->mutex);
    } else {
        list_remove(&resolve->link);
    }
}

void rt_resolve_cancel(struct rt *rt, struct rt_resolve *resolve) {
    check(resolve->rt == rt && rt->resolving > 0);
    rt->resolving--;
    take_out(resolve);
    free(resolve);
}

/* What the helper has found for this runtime joins what is known already. */
static void collect(struct rt *rt) {
    pthread_mutex_lock(&rt->resolver->mutex);
    LIST_EACH_SAFE(&rt->resolver->done, node) {
        if (LIST_ENTRY(node, struct rt_resolve, link)->rt == rt) {
            list_remove(node);
            list_push_back(&rt->resolved, node);
        }
    }
    pthread_mutex_unlock(&rt->resolver->mutex);
}

/* Those that a callback asks for are the next turn's. */
void rt_resolve_tell(struct rt *rt) {
    if (rt->resolver != NULL) {
        collect(rt);
    }
    struct list now;
    list_init(&now);
    list_splice_back(&now, &rt->resolved);
    for (struct list_node *node; (node = list_pop_front(&now)) != NULL;) {
        struct rt_resolve *resolve = LIST_ENTRY(node, struct rt_resolve, link);
        rt->resolving--;
        resolve->done(resolve->arg, resolve->error, &resolve->addresses);
        free(resolve);
    }
}
