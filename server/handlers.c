/* SPDX-License-Identifier: BSD-3-Clause */
/* handlers: see the header. */
#include "server/handlers.h"

#include "server/call/batch.h"
#include "server/call/dispatch.h"
#include "server/call/rights.h"
#include "server/call/scatter_part.h"
#include "server/call/slot_check.h"
#include "server/client/client.h"
#include "server/client/client_flow.h"
#include "server/client/listen.h"
#include "server/cluster/cluster.h"
#include "server/cluster/cluster_map.h"
#include "server/cluster/errands.h"
#include "server/cluster/export_share.h"
#include "server/cluster/exports.h"
#include "server/cluster/imports.h"
#include "server/observe/commandlog.h"
#include "server/observe/monitor.h"
#include "server/persistence/alone.h"
#include "server/persistence/aside.h"
#include "server/persistence/load.h"
#include "server/persistence/rotate.h"
#include "server/persistence/save.h"
#include "server/persistence/save_share.h"
#include "server/pubsub/pubsub.h"
#include "server/replication/primary.h"
#include "server/replication/replica.h"
#include "server/replication/upstream.h"
#include "server/replication/wait_replicas.h"
#include "server/script/functions.h"
#include "server/tracking/tracking.h"
#include "server/txn/blocked.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/loop.h"
#include "server/worker/park.h"
#include "server/worker/pausing.h"
#include "server/worker/worker.h"

/* A client goes, which others know of. */
static void client_leaves(struct client *client) {
    pubsub_leave(client);
    tracking_leave(client);
    monitor_leave(client);
    replica_leave(client);
    upstream_leave(client);
}

static void client_freed(struct client *client) {
    tracking_forget(client);
    upstream_forget(client);
    import_forget(client);
}

/* Who hears what he may not hear any more is closed (with his reply, if he has asked for the
 * change); who waits in a command that he may not call any more waits no longer. */
static void client_rights_changed(struct client *client, bool asks) {
    if (!pubsub_is_allowed(client)) {
        asks ? client_close_after_reply(client) : client_close(client);
    } else if (client_in_blocking_command(client) && !blocked_is_allowed(client)) {
        blocked_forbid(client);
    }
}

/* Who waits for keys, or hears channels, that others have now is sent to them. */
static void map_changed(struct worker *worker) {
    const struct map *map = worker->cluster->map;
    keyspace_hide(worker->shard.keyspace, map->hides ? map->hidden : NULL);
    pause_slots(worker, map->holds);
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        if (client->blocked != NULL && client_in_blocking_command(client)) {
            blocked_redirect(client);
        }
    }
    pubsub_redirect(worker);
}

/* What a primary's client waits for cannot come to a replica, or is not for it. */
static void demoted(struct worker *worker) {
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        if (!client_in_blocking_command(client) || client->upstream != NULL ||
            blocked_may_stay(client)) {
            continue;
        }
        bool goes = client->blocked != NULL && slot_check_demoted(client) != NULL;
        unsigned before = client->flags;
        client->flags |= goes ? 0 : CLIENT_CLOSE_AFTER_REPLY;
        if (!client_wait_end(client, WAIT_DEMOTED)) { /* what it waits for is on its way */
            client->flags = before;
        }
        client_mark_dirty(client);
    }
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
            [MESSAGE_COMMANDLOG] = commandlog_entry_arrived,
            [MESSAGE_UNWATCH] = multi_unwatch_arrived,
            [MESSAGE_DENIED] = rights_denied_arrived,
            [MESSAGE_PARK_OVER] = park_over_arrived,
            [MESSAGE_LOAD_NEWS] = load_news_arrived,
            [MESSAGE_ALONE] = alone_asked,
            [MESSAGE_ALONE_GRANTED] = load_alone_granted,
            [MESSAGE_REDO] = load_share_arrived,
            [MESSAGE_REDO_DONE] = load_share_home,
            [MESSAGE_LOAD_OVER] = load_over_arrived,
            [MESSAGE_LOAD_LEFT] = load_left_arrived,
            [MESSAGE_ASIDE] = aside_task_arrived,
            [MESSAGE_ASIDE_BACK] = aside_task_home,
            [MESSAGE_SAVE] = save_task_arrived,
            [MESSAGE_SAVE_BACK] = save_task_home,
            [MESSAGE_ROTATE] = rotate_task_arrived,
            [MESSAGE_ROTATE_DONE] = rotate_task_home,
            [MESSAGE_FEED] = primary_feed_arrived,
            [MESSAGE_STREAM] = replica_mail_arrived,
            [MESSAGE_ACKNOWLEDGED] = wait_replicas_arrived,
            [MESSAGE_REPLICA] = primary_news_arrived,
            [MESSAGE_CLUSTER_MAP] = cluster_map_arrived,
            [MESSAGE_CLUSTER_EXPORT] = export_wish_arrived,
            [MESSAGE_EXPORT_ORDER] = export_order_arrived,
            [MESSAGE_EXPORT_BLOCK] = export_block_arrived,
            [MESSAGE_CLUSTER_MAP_TAKEN] = cluster_map_home,
            [MESSAGE_CLUSTER_ANSWER] = cluster_answer_arrived,
            [MESSAGE_CLUSTER_ERRAND] = errand_arrived,
            [MESSAGE_CLUSTER_HEARD] = cluster_heard,
            [MESSAGE_CLUSTER_IMPORT] = import_heard,
            [MESSAGE_STOP] = worker_stop_arrived,
        },
    .client_input = client_process,
    .serve_waiters = blocked_serve,
    .client_leaves = client_leaves,
    .client_rights_changed = client_rights_changed,
    .upstream_connected = upstream_connected,
    .upstream_data = upstream_data,
    .map_changed = map_changed,
    .demoted = demoted,
    .client_freed = client_freed,
    .deliver = pubsub_deliver_all,
    .script_is_everywhere = functions_is_known_everywhere,
    .script_flags = functions_command_flags,
    .client_queue = txn_exec_queue,
};
