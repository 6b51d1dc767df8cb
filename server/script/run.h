/* SPDX-License-Identifier: BSD-3-Clause */
/* run: a script runs.
 *
 * Its keys lie on one shard: there, as any command, and what it calls are plain calls. If it looks
 * for a key that lies elsewhere, or that a transaction has locked, and has changed nothing yet, it
 * *escapes*: nothing of it has happened, and its transaction is planned anew, about all keys of all
 * shards. So does one whose keys lie on several shards, and one that has escaped before, at once.
 * Then it runs at its client's home, with all shards in view (park.h).
 *
 * Thread: the worker's that runs it.
 */
#ifndef SHOAL_SERVER_SCRIPT_RUN_H
#define SHOAL_SERVER_SCRIPT_RUN_H

#include "base/arena.h"
#include "base/outbuf.h"
#include "proto/reader.h"
#include "server/call/call.h"
#include "server/script/state.h"

struct lua_Debug;

/* One run. */
struct script_run {
    struct script_state *state;
    struct exec *x; /* the call that runs it */
    struct script *script;
    unsigned flags;
    const struct view *view; /* all shards, or NULL: those keys that are here */
    uint8_t resp;            /* of the replies that it reads: redis.setresp */
    uint32_t db;
    bool read_only;
    bool wrote;   /* it has had something done that cannot be taken back */
    bool escapes; /* what it needs is not here, and it is to end without a trace */
    bool calls;   /* a call of it runs */
    /* For redis.call and redis.pcall: runs the command in argv, with its reply in `out`. False:
     * there is none, as the script escapes. An error that is not the command's is the reply, too.
     */
    bool (*call)(struct script_run *run, struct bytes *argv, uint32_t argc, struct reply *reply);
    /* The hook of a state: ends those that are to end. */
    void (*look)(struct lua_State *lua, struct lua_Debug *debug);
    struct keyspace *keyspace; /* its own, of */
    uint64_t changes;          /* so many changes when it began */
    uint64_t began;            /* rt_ticks */
    struct arena arena;        /* of one call */
    struct outbuf out;         /* its reply */
    struct reader reader;
    struct text text; /* a reply that lies in several pieces */
};

/* What runs it: EVAL and its like. `function` is the compiled one of the worker's state. */
struct script_start {
    struct script *script;
    int function;
    unsigned flags;
    bool read_only;
    uint32_t keys_at, keys_count; /* in argv; the rest are arguments */
    const struct view *view;
};
void script_run(struct exec *x, const struct script_start *start);

/* ---- For the other files of this room ---- */

/* values.c: pushes what a reply is to a script; writes the value on top of the stack as a reply,
 * and takes it off. */
void script_push_reply(struct lua_State *lua, const struct reader_value *value, uint8_t resp);
void script_write_value(struct lua_State *lua, struct reply *reply, uint8_t resp);

#endif
