/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/call/batch.h"

#include "net/rt.h"
#include "server/call/command_table.h"
#include "server/worker/pools.h"
#include "server/worker/worker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct worker *worker;
static struct rt_buffer *input;

static void start(void) {
    struct rt_options options = {
        .backend = RT_EPOLL, .recv_buffers = 64, .recv_buffer_bytes = 4096};
    worker = calloc(1, sizeof(*worker));
    char *reason;
    cr_assert_eq(rt_new(&options, 1, &worker->rt, &reason), 0);
    input = rt_buffer_new(64);
}

static void stop(void) {
    rt_buffer_unref(input);
    worker_trim_pools(worker, true);
    rt_free(worker->rt);
    free(worker);
}

TestSuite(batch, .init = start, .fini = stop);

static unsigned pool_count(void) {
    unsigned n = 0;
    for (const struct batch *batch = worker->batches.pool; batch != NULL; batch = batch->next) {
        n++;
    }
    return n;
}

Test(batch, what_comes_from_the_pool_is_as_new) {
    struct batch *batch = batch_take(worker, NULL, input, 0);
    cr_assert_eq(input->refs, 2);
    outbuf_append(&batch->out, "+OK\r\n", 5);
    batch->count = 1;
    batch->returned = true;
    batch_put(worker, batch);
    cr_assert_eq(input->refs, 1);
    cr_assert_eq(pool_count(), 1);
    struct batch *again = batch_take(worker, NULL, input, 0);
    cr_assert_eq(again, batch);
    cr_assert_eq(again->out.bytes, 0);
    cr_assert_eq(again->count, 0);
    cr_assert_not(again->returned);
    cr_assert_eq(pool_count(), 0);
    batch_put(worker, again);
}

/* A burst of connections left all its batches, 20 KB each, in the pool. */
Test(batch, the_pool_does_not_remember_a_burst) {
    enum { BURST = 2000, FEW = 500 };
    struct batch *batches[BURST];
    for (unsigned i = 0; i < BURST; i++) {
        batches[i] = batch_take(worker, NULL, input, 0);
    }
    for (unsigned i = 0; i < BURST; i++) {
        batch_put(worker, batches[i]);
    }
    cr_assert_gt(pool_count(), 0);
    cr_assert_lt(pool_count(), FEW);
    cr_assert_eq(pool_count(), worker->batches.stock.count);
    cr_assert_eq(input->refs, 1);
}

/* 256 batches of 20 KB and 64 transactions with 16 KB for each shard were kept for ever. */
Test(batch, the_pool_forgets_what_is_not_needed) {
    enum { BURST = 40, STEADY = 10 };
    struct batch *batches[BURST];
    for (unsigned round = 0; round < 4; round++) {
        unsigned n = round == 0 ? BURST : STEADY;
        for (unsigned i = 0; i < n; i++) {
            batches[i] = batch_take(worker, NULL, input, 0);
            outbuf_append(&batches[i]->out, "+OK\r\n", 5);
        }
        for (unsigned i = 0; i < n; i++) {
            batch_put(worker, batches[i]);
        }
        worker_trim_pools(worker, false);
        if (round == 0) {
            cr_assert_eq(pool_count(), BURST, "they were needed at the last look");
            cr_assert_eq(worker->spare.chunks_stock.count, BURST);
        } else if (round > 1) {
            cr_assert_eq(pool_count(), STEADY);
            cr_assert_eq(worker->spare.chunks_stock.count, STEADY);
        }
    }
    worker_trim_pools(worker, false);
    cr_assert_eq(pool_count(), 0, "nobody has needed one");
    cr_assert_null(worker->spare.chunks);
    cr_assert_eq(batch_pool_memory(worker), 0);
}

/* 22 KB for each, however few ops it holds, were beyond maxmemory. */
Test(batch, where_memory_is_short_it_is_small_and_not_kept) {
    worker->room.frugal = true;
    struct batch *batch = batch_take(worker, NULL, input, 0);
    cr_assert_lt(batch->ops_max, BATCH_OPS_MAX);
    cr_assert_lt(batch->request_bytes, 3000);
    outbuf_append(&batch->out, "+OK\r\n", 5);
    cr_assert_lt(batch->out.allocated, 1000);
    batch_put(worker, batch);
    worker->room.frugal = false;
    cr_assert_eq(pool_count(), 0);
    batch = batch_take(worker, NULL, input, 0);
    cr_assert_eq(batch->ops_max, BATCH_OPS_MAX);
    batch_put(worker, batch);
    cr_assert_eq(pool_count(), 1);
}

/* What an owner does with a batch that it cuts behind its first op, and what home sees of it. */
Test(batch, replies_that_come_ahead_stay_in_order) {
    struct batch *batch = batch_take(worker, NULL, input, 0);
    batch->count = 3;
    for (unsigned i = 0; i < 3; i++) {
        batch->reply_bytes[i] = 4;
    }
    struct batch_news *news = calloc(1, sizeof *news);
    *news = (struct batch_news){.batch = batch, .ran = 1};
    outbuf_append(&news->out, "+1\r\n", 4);
    batch_take_news(worker, batch, news);
    cr_assert_eq(batch->ready, 1);
    cr_assert_not(batch->returned);
    cr_assert_eq(batch_replies(batch)->bytes, 4);
    cr_assert_geq(batch_memory_at_home(batch), 4);

    batch->ran = 3;
    outbuf_append(&batch->out, "+2\r\n+3\r\n", 8);
    batch_returned(batch);
    cr_assert_eq(batch->ready, 3);
    struct outbuf *replies = batch_replies(batch), all;
    outbuf_init(&all);
    cr_assert_eq(replies->bytes, 12);
    outbuf_move(&all, replies, 12);
    cr_assert_eq(memcmp(all.head->bytes, "+1\r\n+2\r\n+3\r\n", 12), 0);
    outbuf_fini(&all);
    batch_put(worker, batch);
    cr_assert_eq(input->refs, 1);
}
