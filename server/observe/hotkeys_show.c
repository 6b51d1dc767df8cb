/* SPDX-License-Identifier: BSD-3-Clause */
/* hotkeys_show: what is shown of the hot keys of all workers. Mostly a key is one worker's, but it
 * may have moved with its slot, and with all shards in view another one runs its commands: what is
 * the same is added up.
 */
#include "base/must.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/scatter.h"
#include "server/observe/hotkeys.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* Half a command a second rounds to one; less is not hot. */
#define QPS_MIN 0.5

static double per_second(const struct hotkeys *hot, const struct topk_item *item, int64_t mono_ms) {
    double seconds = hot->seconds + (double)(mono_ms - hot->second_ms) / 1000;
    return (double)topk_least(item) / HOTKEYS_PARTS / (seconds > 1 ? seconds : 1);
}

void hotkeys_take(struct worker *worker, struct hotkeys_part *ret) {
    struct hotkeys *hot = &worker->hotkeys;
    int64_t mono_ms = rt_mono_ms(worker->rt);
    hotkeys_tick(hot, mono_ms);
    size_t bytes = 0;
    for (uint32_t i = 0; i < hot->top.used; i++) {
        bytes += sizeof *ret->list + hot->top.items[i].name_len;
    }
    ret->count = hot->top.used;
    ret->list = bytes > 0 ? must_malloc(bytes) : NULL;
    char *at = bytes > 0 ? (char *)(ret->list + ret->count) : NULL;
    for (uint32_t i = 0; i < ret->count; i++) {
        const struct topk_item *item = &hot->top.items[i];
        struct bytes name = topk_name(item);
        if (name.len > 0) {
            memcpy(at, name.ptr, name.len);
        }
        ret->list[i] = (struct hotkey){
            .name = bytes_make(at, name.len),
            .hash = item->hash,
            .db = item->tag,
            .qps = per_second(hot, item, mono_ms),
        };
        at += name.len;
    }
}

static int by_key(const void *a, const void *b) {
    const struct hotkey *x = a, *y = b;
    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : (x->db > y->db) - (x->db < y->db);
}

static int hottest_first(const void *a, const void *b) {
    const struct hotkey *x = a, *y = b;
    return x->qps != y->qps ? (x->qps > y->qps ? -1 : 1) : by_key(a, b);
}

struct hotkey *hotkeys_merge(struct hotkeys_part *const *parts, unsigned parts_count, uint32_t max,
                             uint32_t *ret_count) {
    uint32_t all = 0, count = 0;
    for (unsigned i = 0; i < parts_count; i++) {
        all += parts[i]->count;
    }
    struct hotkey *list = must_malloc((all + 1) * sizeof *list);
    for (unsigned i = 0; i < parts_count; i++) {
        if (parts[i]->count > 0) {
            memcpy(list + count, parts[i]->list, parts[i]->count * sizeof *list);
            count += parts[i]->count;
        }
    }
    qsort(list, count, sizeof *list, by_key);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && by_key(&list[kept - 1], &list[i]) == 0) {
            list[kept - 1].qps += list[i].qps;
        } else {
            list[kept++] = list[i];
        }
    }
    qsort(list, kept, sizeof *list, hottest_first);
    *ret_count = 0;
    while (*ret_count < kept && *ret_count < max && list[*ret_count].qps >= QPS_MIN) {
        (*ret_count)++;
    }
    return list;
}

/* ---- HOTKEYS ---- */

static bool get_part(struct worker *worker, const void *args, void *result) {
    hotkeys_take(worker, result);
    return true;
}

static void get_done(struct exec *x, const struct scatter_result *result) {
    uint32_t count;
    struct hotkey *list =
        hotkeys_merge((struct hotkeys_part *const *)result->parts, result->parts_count,
                      *(const uint32_t *)result->args, &count);
    reply_array(x->reply, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_map(x->reply, 3);
        reply_bulk_text(x->reply, "key");
        reply_bulk(x->reply, list[i].name);
        reply_bulk_text(x->reply, "db");
        reply_int(x->reply, list[i].db);
        reply_bulk_text(x->reply, "qps");
        reply_int(x->reply, (int64_t)(list[i].qps + 0.5));
    }
    free(list);
    for (unsigned i = 0; i < result->parts_count; i++) {
        free(((struct hotkeys_part *)result->parts[i])->list);
    }
}

void hotkeys_reply(struct exec *x, uint32_t max) {
    scatter_all(x, get_part, sizeof(struct hotkeys_part), &max, sizeof max, get_done);
}

static bool reset_part(struct worker *worker, const void *args, void *result) {
    hotkeys_init(&worker->hotkeys, rng_next(&worker->hotkeys.rng), rt_mono_ms(worker->rt));
    return true;
}

void hotkeys_reply_reset(struct exec *x) {
    scatter_all(x, reset_part, 0, NULL, 0, scatter_ok);
}
