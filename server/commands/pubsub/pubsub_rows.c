/* SPDX-License-Identifier: BSD-3-Clause */
/* pubsub_rows: the rows of the pubsub commands: what they are, where their keys and arguments
 * stand.
 */
#include "server/commands/families.h"
#include "server/commands/pubsub/pubsub_commands.h"

static const struct command_arg psubscribe_args[] = {
    {.name = "pattern", .type = ARG_PATTERN, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command_arg publish_args[] = {
    {.name = "channel", .type = ARG_STRING},
    {.name = "message", .type = ARG_STRING},
    {0},
};

static const struct command_arg pubsub_channels_args[] = {
    {.name = "pattern", .type = ARG_PATTERN, .flags = ARG_OPTIONAL},
    {0},
};

static const struct command_arg pubsub_numsub_args[] = {
    {.name = "channel", .type = ARG_STRING, .flags = ARG_MULTIPLE | ARG_OPTIONAL},
    {0},
};

static const struct command_arg punsubscribe_args[] = {
    {.name = "pattern", .type = ARG_PATTERN, .flags = ARG_MULTIPLE | ARG_OPTIONAL},
    {0},
};

static const struct command_arg subscribe_args[] = {
    {.name = "channel", .type = ARG_STRING, .flags = ARG_MULTIPLE},
    {0},
};

static const struct command pubsub_subcommands[] = {
    {.name = "channels",
     .run = command_pubsub_channels,
     .arity = -2,
     .flags = CMD_LOADING | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Lists the channels that have subscribers.",
     .complexity = "O(N) in the number of channels",
     .args = pubsub_channels_args},
    {.name = "help",
     .run = command_pubsub_help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .place = PLACE_SELF,
     .group = "pubsub",
     .since = "6.2.0",
     .summary = "Shows what PUBSUB can be asked.",
     .complexity = "O(1)"},
    {.name = "numpat",
     .run = command_pubsub_numpat,
     .arity = 2,
     .flags = CMD_LOADING | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Counts the patterns that have subscribers.",
     .complexity = "O(1)"},
    {.name = "numsub",
     .run = command_pubsub_numsub,
     .arity = -2,
     .flags = CMD_LOADING | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Counts the subscribers of channels.",
     .complexity = "O(N) in the number of channels that are named",
     .args = pubsub_numsub_args},
    {0},
};

const struct command commands_pubsub[] = {
    {.name = "psubscribe",
     .run = command_psubscribe,
     .arity = -2,
     .flags = CMD_LOADING | CMD_NOSCRIPT | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .subscribed = true,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Subscribes to all channels whose names match patterns.",
     .complexity = "O(N) in the number of patterns",
     .args = psubscribe_args},
    {.name = "publish",
     .run = command_publish,
     .arity = 3,
     .flags = CMD_FAST | CMD_LOADING | CMD_MAY_REPLICATE | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Sends a message to who has subscribed to a channel.",
     .complexity = "O(N+M) in the number of subscribers and of patterns",
     .args = publish_args},
    {.name = "pubsub",
     .arity = -2,
     .place = PLACE_SELF,
     .group = "pubsub",
     .since = "2.8.0",
     .summary = "Holds the commands that ask about subscriptions.",
     .complexity = "Depends on the subcommand.",
     .subcommands = pubsub_subcommands},
    {.name = "punsubscribe",
     .run = command_punsubscribe,
     .arity = -1,
     .flags = CMD_LOADING | CMD_NOSCRIPT | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .subscribed = true,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Ends subscriptions to patterns.",
     .complexity = "O(N) in the number of patterns",
     .args = punsubscribe_args},
    {.name = "subscribe",
     .run = command_subscribe,
     .arity = -2,
     .flags = CMD_LOADING | CMD_NOSCRIPT | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .subscribed = true,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Subscribes to channels.",
     .complexity = "O(N) in the number of channels",
     .args = subscribe_args},
    {.name = "unsubscribe",
     .run = command_unsubscribe,
     .arity = -1,
     .flags = CMD_LOADING | CMD_NOSCRIPT | CMD_PUBSUB | CMD_STALE,
     .place = PLACE_SELF,
     .subscribed = true,
     .group = "pubsub",
     .since = "2.0.0",
     .summary = "Ends subscriptions to channels.",
     .complexity = "O(N) in the number of channels",
     .args = pubsub_numsub_args},
    {0},
};
