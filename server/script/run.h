/* SPDX-License-Identifier: BSD-3-Clause */
/* run: a script runs.
 *
 * Its keys lie on one shard: there, as any command, and what it calls are plain calls. If it looks
 * for a key that lies elsewhere, or that a transaction has locked, and has changed nothing yet, it
 * *escapes*: nothing of it has happened, and its transaction is planned anew, about all keys of all
 * shards. So begins at once one whose keys lie on several shards, one that has looked elsewhere
 * before, and one that has never run, as nobody knows where it will look. Then it runs at its
 * client's home, with all shards in view (park.h).
 *
 * If it has changed something by then, that cannot be undone: its shard is sealed (locks.h), and
 * the script begins anew all the same. What it was answered so far was recorded; it is told that
 * again, without anything being done, up to the call that it could not make: as it does the same
 * with the same answers, it is where it was, now with all shards in view.
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

/* What a script has called and was answered: rows of {hash of the words, bytes of the reply}, and
 * the reply. One block of malloc, whose size is its first number. */
struct script_record {
    size_t bytes, capacity;
    uint64_t random; /* state->random, as it began */
    char data[];
};

/* One run. */
struct script_run {
    struct script_state *state;
    struct exec *x; /* the call that runs it */
    struct script *script;
    struct bytes name;           /* script_start */
    const struct view *view;     /* all shards, or NULL: those keys that are here */
    const struct acl_user *user; /* whose rights it has: rights.h */
    uint8_t resp;                /* of the replies that it reads: redis.setresp */
    uint32_t db;
    int slot; /* call/slot_check.h: in a cluster, of the keys that it has declared or used */
    int counted_slot; /* the same for observe/slot_stats.h: or SLOT_SEVERAL */
    bool read_only;
    bool far;               /* it has looked for a key in a slot that it does not declare */
    bool wrote;             /* it has had something done that cannot be taken back */
    const char *killed;     /* it is to end, with this error; or NULL */
    unsigned said;          /* shared_script_say; 0: it does not run for long yet */
    int64_t time_us;        /* what TIME says in it, 0 before it was asked */
    uint64_t began, turned; /* ticks: when it did; when the last turn was in the middle of it */
    bool escapes;           /* what it needs is not here, and it is to end without a trace */
    bool calls;             /* a call of it runs */
    uint64_t commands;      /* so many it has called */
    bool starved;           /* it ended for want of memory in Lua */
    bool out_of_memory;     /* there was none when it began */
    bool has_written;       /* it has called what writes */
    struct script_denied *denied; /* what it may not call, for the log: if it does not begin anew */
    uint32_t denied_count;
    struct script_record *record;       /* of this run, while only the keys here are its own */
    const struct script_record *before; /* of the one before, or NULL, */
    size_t told;                        /* of which it was told so much */
    /* For redis.call and redis.pcall: runs the command in argv, with its reply in `out`. False:
     * there is none, as the script escapes. An error that is not the command's is the reply, too.
     */
    bool (*call)(struct script_run *run, struct bytes *argv, uint32_t argc, struct reply *reply);
    /* The hook of a state: ends those that are to end. */
    void (*look)(struct lua_State *lua, struct lua_Debug *debug);
    struct keyspace *keyspace; /* its own, of */
    uint64_t changes;          /* so many changes when it began */
    uint64_t random;           /* state->random, then */
    struct arena arena;        /* of one call */
    struct outbuf out;         /* its reply */
    struct reader reader;
    struct text text; /* a reply that lies in several pieces */
};

/* What runs it: EVAL, FCALL and their like. `function` is the compiled one of the state, the
 * worker's. */
struct script_start {
    struct script_state *state;
    struct script *script;
    int function;
    struct bytes name;            /* of a function; none of a script */
    bool read_only;               /* the command is one of those that only read */
    uint32_t keys_at, keys_count; /* in argv; the rest are arguments */
    const struct view *view;
    const struct script_record *before; /* txn_script_record */
};
void script_run(struct exec *x, const struct script_start *start);
/* Wall clock, which stands still while a script runs. */
int64_t script_time_us(struct script_run *run);

/* ---- For the other files of this room ---- */

/* values.c: pushes what a reply is to a script; writes the value on top of the stack as a reply,
 * and takes it off. */
void script_push_reply(struct lua_State *lua, const struct reader_value *value, uint8_t resp);
void script_write_value(struct lua_State *lua, struct reply *reply, uint8_t resp);
/* The table, at a place counted from the top of the stack, is an error that was written last: it is
 * not counted again if it came of a command. */
void script_note_counted(struct lua_State *lua, int table, struct reply *reply);

#endif
