/* SPDX-License-Identifier: BSD-3-Clause */
/* hotkeys: HOTKEYS: the keys that commands are about most often, always on.
 *
 * Each worker counts what it runs (base/topk.h). It does not look at every command: one in `gap`
 * on average, at random, which weighs as many; the gap follows the load, so that a quiet server
 * looks at each and a busy one at some thousands a second. What costs anything on the way of a
 * command is the count down to the next one that is looked at.
 *
 * Counts fade: they are of the last half minute, and the last seconds weigh most.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_HOTKEYS_H
#define SHOAL_SERVER_OBSERVE_HOTKEYS_H

#include "base/random.h"
#include "base/topk.h"

#include <stdbool.h>

/* Counts are in parts of a command, so that fading takes from small ones, too. */
#define HOTKEYS_PARTS 256

struct call;
struct exec;
struct worker;

struct hotkeys {
    uint32_t left;   /* commands until the one that is looked at */
    uint32_t gap;    /* from one to the next, on average */
    uint32_t looked; /* at so many in this second, or at as many as if the gap had been this one */
    int64_t second_ms; /* when it began, monotonic */
    double seconds;    /* those before it, faded as the counts are */
    struct rng rng;
    struct topk top;
};

void hotkeys_init(struct hotkeys *hot, uint64_t seed, int64_t mono_ms);
void hotkeys_fini(struct hotkeys *hot);
size_t hotkeys_memory(const struct hotkeys *hot);

/* A command runs. True: hotkeys_look is to be told which, or (NULL) that it does not count. */
static inline bool hotkeys_due(struct hotkeys *hot) {
    return __builtin_expect(--hot->left == 0, 0);
}
void hotkeys_look(struct hotkeys *hot, uint32_t db, const struct call *what);

/* Now and then: seconds that are over. */
void hotkeys_tick(struct hotkeys *hot, int64_t mono_ms);

/* ---- What is shown ---- */

struct hotkey {
    struct bytes name; /* the first TOPK_NAME_MAX bytes */
    uint64_t hash;
    uint32_t db;
    double qps; /* commands a second, at least */
};

/* Of a worker: copies of all that are hot, for another thread. */
struct hotkeys_part {
    struct hotkey *list; /* malloc, with the names behind; NULL: none */
    uint32_t count;
};
void hotkeys_take(struct worker *worker, struct hotkeys_part *ret);
/* Of all: the hottest first, `max` at most, none with less than half a command a second. The names
 * are the parts'; the list is the caller's to free. */
struct hotkey *hotkeys_merge(struct hotkeys_part *const *parts, unsigned parts_count, uint32_t max,
                             uint32_t *ret_count);

void hotkeys_reply(struct exec *x, uint32_t max);
void hotkeys_reply_reset(struct exec *x);

#endif
