/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub_commands: publish and subscribe. Each worker knows of all subscribers (pubsub/pubsub.h),
 * so what only asks is answered at home.
 */
#include "server/commands/pubsub/pubsub_commands.h"

#include "server/call/help.h"
#include "server/cluster/cluster.h"
#include "server/config/config.h"
#include "server/pubsub/pubsub.h"
#include "server/replication/feed.h"
#include "server/txn/txn.h"
#include "server/worker/view.h"

void command_subscribe(struct exec *x) {
    pubsub_change(x, TOPIC_CHANNEL, false);
}

void command_psubscribe(struct exec *x) {
    pubsub_change(x, TOPIC_PATTERN, false);
}

void command_unsubscribe(struct exec *x) {
    pubsub_change(x, TOPIC_CHANNEL, true);
}

void command_punsubscribe(struct exec *x) {
    pubsub_change(x, TOPIC_PATTERN, true);
}

/* Inside EXEC it is refused, as Valkey does: a slot may move away from who has subscribed, which
 * then is told so, and that must not come in the middle of a reply. */
void command_ssubscribe(struct exec *x) {
    uint32_t done;
    if (txn_exec_queue(x->client, &done) != NULL) {
        reply_error(x->reply, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
        return;
    }
    pubsub_change(x, TOPIC_SHARD_CHANNEL, false);
}

void command_sunsubscribe(struct exec *x) {
    pubsub_change(x, TOPIC_SHARD_CHANNEL, true);
}

static void publish(struct exec *x, enum topic_kind kind) {
    if (worker_config(x->worker)->cluster_enabled) { /* replicas are nodes, too */
        cluster_publish(x->worker, x->argv[1], x->argv[2], kind == TOPIC_SHARD_CHANNEL);
    } else {
        feed_publish(x->worker, x->argv, x->argc);
    }
    reply_int(x->reply, (int64_t)pubsub_publish(x->worker, kind, x->argv[1], x->argv[2]));
}

void command_publish(struct exec *x) {
    publish(x, TOPIC_CHANNEL);
}

void command_spublish(struct exec *x) {
    publish(x, TOPIC_SHARD_CHANNEL);
}

/* ---- What there is ---- */

static void write_name(void *arg, struct bytes name) {
    reply_bulk(arg, name);
}

static void names(struct exec *x, enum topic_kind kind) {
    if (x->argc > 3) {
        reply_subcommand_error(x);
        return;
    }
    const struct bytes *pattern = x->argc == 3 ? &x->argv[2] : NULL;
    reply_array(x->reply, pubsub_names(x->worker, kind, pattern, NULL, NULL));
    pubsub_names(x->worker, kind, pattern, write_name, x->reply);
}

void command_pubsub_channels(struct exec *x) {
    names(x, TOPIC_CHANNEL);
}

void command_pubsub_shardchannels(struct exec *x) {
    names(x, TOPIC_SHARD_CHANNEL);
}

static void subscribers(struct exec *x, enum topic_kind kind) {
    reply_array(x->reply, 2 * (size_t)(x->argc - 2));
    for (uint32_t i = 2; i < x->argc; i++) {
        reply_bulk(x->reply, x->argv[i]);
        reply_int(x->reply, (int64_t)pubsub_subscribers(x->worker, kind, x->argv[i]));
    }
}

void command_pubsub_numsub(struct exec *x) {
    subscribers(x, TOPIC_CHANNEL);
}

void command_pubsub_shardnumsub(struct exec *x) {
    subscribers(x, TOPIC_SHARD_CHANNEL);
}

void command_pubsub_numpat(struct exec *x) {
    reply_int(x->reply, (int64_t)pubsub_count(x->worker, TOPIC_PATTERN));
}

void command_pubsub_help(struct exec *x) {
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    List the channels that somebody has subscribed to (default: all).",
        "NUMPAT",
        "    Count the patterns that somebody has subscribed to.",
        "NUMSUB [<channel> ...]",
        "    Count the subscribers of each channel; those to patterns are left out.",
        "SHARDCHANNELS [<pattern>]",
        "    List the shard channels that somebody has subscribed to (default: all).",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Count the subscribers of each shard channel.",
        NULL,
    };
    reply_help(x, lines);
}
