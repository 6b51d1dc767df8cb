/* SPDX-License-Identifier: BSD-3-Clause */
/* handlers: see the header. */
#include "server/handlers.h"

#include "server/call/batch.h"
#include "server/call/dispatch.h"
#include "server/call/scatter_part.h"
#include "server/client/client_flow.h"
#include "server/client/listen.h"
#include "server/observe/monitor.h"
#include "server/persistence/alone.h"
#include "server/persistence/load.h"
#include "server/persistence/rotate.h"
#include "server/persistence/save.h"
#include "server/persistence/save_share.h"
#include "server/pubsub/pubsub.h"
#include "server/script/functions.h"
#include "server/tracking/tracking.h"
#include "server/txn/blocked.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/loop.h"
#include "server/worker/park.h"

/* A client goes, which others know of. */
static void client_leaves(struct client *client) {
    pubsub_leave(client);
    tracking_leave(client);
    monitor_leave(client);
}

const struct handlers server_handlers = {
    .messages =
        {
            [MESSAGE_BATCH] = batch_arrived,
            [MESSAGE_BATCH_LENT] = batch_lent,
            [MESSAGE_BATCH_BACK] = batch_back,
            [MESSAGE_BATON] = batch_baton_arrived,
            [MESSAGE_BATCH_NEWS] = client_batch_news,
            [MESSAGE_BATCH_HEARD] = batch_heard,
            [MESSAGE_BATCH_DONE] = client_batch_done,
            [MESSAGE_PART] = scatter_part_arrived,
            [MESSAGE_PART_DONE] = scatter_part_home,
            [MESSAGE_CONNECTION] = listen_connection_arrived,
            [MESSAGE_TXN] = txn_part_arrived,
            [MESSAGE_TXN_DONE] = txn_part_home,
            [MESSAGE_WAITER_SERVED] = blocked_served,
            [MESSAGE_WAITER_HOME] = blocked_part_home,
            [MESSAGE_WAITER_TRIES] = blocked_tries,
            [MESSAGE_WAITER_PUT_OFF] = blocked_put_off,
            [MESSAGE_WAITER_CALLED] = blocked_called,
            [MESSAGE_PUBLICATION] = pubsub_arrived,
            [MESSAGE_SUBSCRIBERS] = pubsub_counts_arrived,
            [MESSAGE_TRACKING] = tracking_arrived,
            [MESSAGE_MONITOR_LINES] = monitor_lines_arrived,
            [MESSAGE_MONITOR_ORDER] = monitor_order_arrived,
            [MESSAGE_MONITORS] = monitor_change_arrived,
            [MESSAGE_UNWATCH] = multi_unwatch_arrived,
            [MESSAGE_PARK_OVER] = park_over_arrived,
            [MESSAGE_LOAD_NEWS] = load_news_arrived,
            [MESSAGE_ALONE] = alone_asked,
            [MESSAGE_ALONE_GRANTED] = load_alone_granted,
            [MESSAGE_LOAD_OVER] = load_over_arrived,
            [MESSAGE_SAVE] = save_task_arrived,
            [MESSAGE_SAVE_BACK] = save_task_home,
            [MESSAGE_ROTATE] = rotate_task_arrived,
            [MESSAGE_ROTATE_DONE] = rotate_task_home,
            [MESSAGE_STOP] = worker_stop_arrived,
        },
    .client_input = client_process,
    .serve_waiters = blocked_serve,
    .client_leaves = client_leaves,
    .client_freed = tracking_forget,
    .deliver = pubsub_deliver_all,
    .script_is_everywhere = functions_is_known_everywhere,
    .client_queue = txn_exec_queue,
};
