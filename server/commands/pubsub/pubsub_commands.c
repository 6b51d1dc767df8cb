/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub_commands: publish and subscribe. Each worker knows of all subscribers (pubsub/pubsub.h),
 * so what only asks is answered at home.
 */
#include "server/commands/pubsub/pubsub_commands.h"

#include "server/call/help.h"
#include "server/pubsub/pubsub.h"

void command_subscribe(struct exec *x) {
    pubsub_change(x, false, false);
}

void command_psubscribe(struct exec *x) {
    pubsub_change(x, true, false);
}

void command_unsubscribe(struct exec *x) {
    pubsub_change(x, false, true);
}

void command_punsubscribe(struct exec *x) {
    pubsub_change(x, true, true);
}

void command_publish(struct exec *x) {
    reply_int(x->reply, (int64_t)pubsub_publish(x->worker, x->argv[1], x->argv[2]));
}

static void write_channel(void *arg, struct bytes channel) {
    reply_bulk(arg, channel);
}

void command_pubsub_channels(struct exec *x) {
    if (x->argc > 3) {
        reply_subcommand_error(x);
        return;
    }
    const struct bytes *pattern = x->argc == 3 ? &x->argv[2] : NULL;
    reply_array(x->reply, pubsub_channels(x->worker, pattern, NULL, NULL));
    pubsub_channels(x->worker, pattern, write_channel, x->reply);
}

void command_pubsub_numsub(struct exec *x) {
    reply_array(x->reply, 2 * (size_t)(x->argc - 2));
    for (uint32_t i = 2; i < x->argc; i++) {
        reply_bulk(x->reply, x->argv[i]);
        reply_int(x->reply, (int64_t)pubsub_subscribers(x->worker, x->argv[i]));
    }
}

void command_pubsub_numpat(struct exec *x) {
    reply_int(x->reply, (int64_t)pubsub_patterns(x->worker));
}

void command_pubsub_help(struct exec *x) {
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    List the channels that somebody has subscribed to (default: all).",
        "NUMPAT",
        "    Count the patterns that somebody has subscribed to.",
        "NUMSUB [<channel> ...]",
        "    Count the subscribers of each channel; those to patterns are left out.",
        NULL,
    };
    reply_help(x, lines);
}
