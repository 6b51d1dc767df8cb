/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: commands of a log, run one after the other on the shards of all workers by one thread,
 * which has them to itself (alone.h). Nobody has asked for them: no client, no time but the log's,
 * which deletes what runs out by commands of its own; so keys past their deadline are there, and no
 * deadline is too early. What a command names may lie on any shards.
 *
 * Effects are gathered only if the worker gathers them anyhow.
 *
 * Thread: worker 0's.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_REPLAY_H
#define SHOAL_SERVER_PERSISTENCE_REPLAY_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct replay;
struct worker;

struct replay *replay_new(struct worker *worker);
void replay_free(struct replay *replay);

/* Whether a log can have such a command at all: NULL, or why not. Also without a replay. */
const char *replay_refusal(const struct worker *worker, const struct bytes *argv, uint32_t argc);

/* It is about whole databases: a transaction that has it says so in all its parts. */
bool replay_is_of_all(const struct worker *worker, const struct bytes *argv, uint32_t argc);

enum replayed {
    REPLAY_DONE,
    REPLAY_FAILED,  /* it answered with an error, which is in `why` */
    REPLAY_UNKNOWN, /* no log has such a command: `why` */
};
/* Database `db`, which must be one. */
enum replayed replay_run(struct replay *replay, uint32_t db, struct bytes *argv, uint32_t argc,
                         int64_t now_ms, struct text *why);

#endif
