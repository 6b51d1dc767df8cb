/* SPDX-License-Identifier: BSD-3-Clause */
/* replay: commands of a log, run one after the other: by a thread that has the shards of all
 * workers to itself (alone.h), and then what a command names may lie on any of them; or, what lies
 * on one alone, by the worker that owns it. Nobody has asked for them: no client, no time but the
 * log's, which deletes what runs out by commands of its own; so keys past their deadline are there,
 * and no deadline is too early.
 *
 * Effects are gathered only if the worker gathers them anyhow.
 *
 * Thread: a replay is of the thread of its worker.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_REPLAY_H
#define SHOAL_SERVER_PERSISTENCE_REPLAY_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct command_ref;
struct keyset;
struct replay;
struct worker;

/* A command that was looked at. */
struct replay_command {
    struct bytes *argv; /* set by who has it: the words, */
    uint32_t argc;
    uint32_t db;    /* in which database, which must be one, */
    int64_t now_ms; /* and when */
    const struct command_ref *ref;
    struct keyset *keys; /* NULL: it is about whole databases, or libraries of functions */
};

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
/* Looks at a command, which is to live in this arena: what it is, and where its keys are. Touches
 * no key, so any thread may. */
enum replayed replay_look(const struct worker *worker, struct arena *arena,
                          struct replay_command *what, struct text *why);
/* The worker whose shard has all that it is about, or that it is about more than one can have. */
#define REPLAY_OWNER_ALL UINT32_MAX
unsigned replay_owner(const struct replay_command *what);
/* Runs it. */
enum replayed replay_do(struct replay *replay, const struct replay_command *what, struct text *why);
/* Both at once. */
enum replayed replay_run(struct replay *replay, uint32_t db, struct bytes *argv, uint32_t argc,
                         int64_t now_ms, struct text *why);

#endif
