/* SPDX-License-Identifier: BSD-3-Clause */
/* command: what a command is. One row of a table per command is the only truth about it.
 *
 * Rows live in server/commands/<family>_rows.c as constant data. Routing, checks, COMMAND INFO,
 * COMMAND DOCS, key extraction, ACL categories and statistics all read them; nothing about a
 * command is said twice.
 *
 * Thread: rows are constant. `struct exec` belongs to the thread that runs it.
 */
#ifndef SHOAL_SERVER_CALL_COMMAND_H
#define SHOAL_SERVER_CALL_COMMAND_H

#include "base/bytes.h"
#include "proto/reply.h"
#include "shard/keys/keyspace.h"
#include "shard/watchers/waiters.h"

#include <stdint.h>

struct caller;
struct client;
struct command_ref;
struct keyset;
struct parcel;
struct sending;
struct shard;
struct worker;

/* ---- What a running command sees ---- */

/* How its client wants keys to be looked at. */
enum exec_manner {
    MANNER_NO_TOUCH = 1 << 0,  /* CLIENT NO-TOUCH */
    MANNER_SEES_DEAD = 1 << 1, /* CLIENT IMPORT-SOURCE, which matters in import mode */
    MANNER_REPLAYS = 1 << 2,   /* a log is replayed: as if it were import mode */
    MANNER_UPSTREAM = 1 << 4,  /* it comes from our primary (replication/upstream.h) */
    MANNER_TRACKS = 1 << 3,    /* CLIENT TRACKING: what is read is remembered for it */
    MANNER_ASKING = 1 << 5,    /* ASKING: it is served in a slot that is on its way here */
    MANNER_READONLY = 1 << 6,  /* READONLY: it reads what a replica has */
    MANNER_TLS = 1 << 7,       /* how it is told of other nodes: */
    MANNER_IPV6 = 1 << 8,      /* by which ports, and addresses */
    MANNER_IMPORTS = 1 << 9,   /* slots come by it (cluster/imports.h) */
    MANNER_MUTE = 1 << 10,     /* CLIENT REPLY: it gets no reply */
    MANNER_INLINE = 1 << 11,   /* its words came as a line */
};

struct exec {
    const struct command *command; /* the (sub)command that runs */
    const struct command_ref *ref; /* the same as the table serves it (command_table.h) */
    struct bytes *argv; /* argv[0] is the name as sent; subcommands count from the container */
    uint32_t argc;
    uint32_t db;               /* selected database */
    struct shard *shard;       /* the shard of the thread that runs it */
    struct keyspace *keyspace; /* its keys */
    struct reply *reply;
    int64_t
        now_ms; /* wall clock, one value for the whole command (and its parts on other shards) */
    struct key key;            /* the first key, hashed once; only if the command has one */
    const struct keyset *keys; /* all of them, if it is not a simple command (keyset.h) */
    uint16_t manner;           /* exec_manner */
    struct client *client;     /* NULL for commands of place KEY */
    struct worker *worker;     /* the thread that runs it */
    struct caller *caller;     /* in whose name (call.h) */
    bool goes_on;              /* set by what lets it end later, elsewhere: scatter, txn_exec */
    bool gathered;             /* somebody wants to know what it does (effects.h) */
    bool takes;                /* set by exec_take */
    uint32_t denied_at;        /* set by exec_denies */
    uint8_t stage;             /* exec_stage */
    struct parcel *parcels;    /* SPREAD_SEND: one for each of all its keys, in their order */
    struct {                   /* STAGE_AT: in the order of argv */
        const struct exec_input *list;
        uint32_t count;
    } inputs;
    struct {
        size_t *ends; /* where each element of the reply ends (exec_element), from `start` on; NULL:
                         nobody wants to know */
        size_t start;
        uint32_t count;
    } elements;
};

typedef void command_fn(struct exec *x);
/* What x->key has for who waits for it with this command. Changes nothing. */
typedef enum waiter_answer command_ready_fn(const struct exec *x);
/* Whether with these arguments it may wait. */
typedef bool command_blocks_fn(const struct bytes *argv, uint32_t argc);
/* SPREAD_SEND, at home: sends the parcels. True: that is over already (parcel.h). */
typedef bool command_send_fn(struct sending *sending);
/* Whether a word must not be shown: a password, or whose it is. */
typedef bool command_secret_fn(const struct bytes *argv, uint32_t argc, uint32_t index);

/* lookup flags that honour CLIENT NO-TOUCH */
static inline unsigned exec_lookup_flags(const struct exec *x, unsigned flags) {
    return x->manner & MANNER_NO_TOUCH ? flags | LOOKUP_NOTOUCH : flags;
}

/* ---- Rows ---- */

/* What a command concerns, and so where it runs: KEY where its keys are, all others at home. */
enum command_place {
    PLACE_KEY,  /* its keys; `spread` says what becomes of it if they lie on several shards */
    PLACE_SELF, /* its connection */
    PLACE_PURE, /* its reply: it changes nothing, and reads nothing that a request changes */
    PLACE_EACH_WORKER, /* every worker: it asks or changes them (scatter.h) */
    PLACE_ALL_KEYS,    /* all keys of all shards, at one moment: it locks them (but see `walks`) */
};

/* Whether it runs after all earlier requests of its connection, and before all later ones. */
enum command_fence {
    FENCE_BY_PLACE, /* all do but KEY and PURE */
    FENCE_NO,
    FENCE_YES,
};

/* What becomes of it inside MULTI. */
enum command_queue {
    QUEUE_IN_MULTI, /* it is kept for EXEC */
    QUEUE_NEVER,    /* it runs at once: it ends the transaction, or the connection */
    QUEUE_EXEC,     /* the same, and it is EXEC, which runs what was kept */
};

/* What becomes of a command whose keys lie on several shards. */
enum command_spread {
    SPREAD_NONE, /* it has one key */
    /* Each shard runs it on its own keys, which follow each other at equal distances. */
    SPREAD_SUM,      /* the numbers are added up */
    SPREAD_OK,       /* every one answers OK */
    SPREAD_ELEMENTS, /* one element of an array for each key */
    SPREAD_IF,       /* all are asked first whether their keys let it run: exec_is_asked */
    /* The same, but each runs all of it, on the keys that it has (exec_has). For each of them it
     * writes an element of a map, or nothing (exec_element), and no head. Whatever their flags say,
     * all keys are written to. */
    SPREAD_EACH,
    /* Its values go to another server, wherever they lie, and even if it has one key. Each shard
     * that has some makes parcels of them (parcel.h); then home sends them (row->send), with all of
     * them locked till an answer comes; then each does what follows from that. */
    SPREAD_SEND,
    /* It runs at the owner of the key it writes, or, if it writes none, of its largest input. The
     * values that it reads (KEY_ACCESS) are lent to it: it comes by them through exec_input. */
    SPREAD_AT,
    SPREAD_MOVE,  /* the same; and then at the owner of what it took (KEY_DELETE), if it did:
                     exec_take */
    SPREAD_FIRST, /* at the owner of the first of its keys that has a value: exec_looks_at */
};

/* What of a command a shard runs, if it is not all of it or all of its share. */
enum exec_stage {
    STAGE_ALL,
    STAGE_LEND, /* not the command: its inputs are lent; SPREAD_FIRST: looked for */
    STAGE_ASK, /* SPREAD_IF, _EACH, _SEND: it changes nothing. What it writes is the answer, and the
                  end of it; nothing: the keys here let it run */
    STAGE_ACT, /* and those of all shards did; SPREAD_SEND: the other server has answered */
    STAGE_AT,  /* SPREAD_AT, _MOVE: its inputs are lent; SPREAD_FIRST: they are found */
    STAGE_TAKE, /* SPREAD_MOVE, at the owner of what it took: that goes. What it writes nobody reads
                 */
    STAGE_JOIN, /* not the command, which waits: its client stands in the lines of the keys here */
};

/* A value that is lent to a command, for the key at this place of argv. */
struct exec_input {
    struct loan loan;
    uint32_t index;
};

/* What it runs, of what a user has brought. */
enum command_runs { RUNS_NOTHING, RUNS_SCRIPT, RUNS_FUNCTION };

/* How a command that writes goes to the log and to replicas (effects.h). */
enum command_logged {
    LOGGED_NO,      /* it writes nothing */
    LOGGED_AS_SENT, /* as it was sent, if its function does not state something else */
    LOGGED_STATED,  /* its function states what it did, whatever was sent */
};

enum command_flag {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_PUBSUB = 1 << 4,
    CMD_NOSCRIPT = 1 << 5,
    CMD_BLOCKING = 1 << 6,
    CMD_LOADING = 1 << 7,
    CMD_STALE = 1 << 8,
    CMD_SKIP_MONITOR = 1 << 9,
    CMD_SKIP_COMMANDLOG = 1 << 10,
    CMD_ASKING = 1 << 11,
    CMD_FAST = 1 << 12,
    CMD_NO_AUTH = 1 << 13,
    CMD_MAY_REPLICATE = 1 << 14, /* it may write, though it reads (PFCOUNT, PUBLISH): CLIENT PAUSE
                                    WRITE holds it */
    CMD_NO_ASYNC_LOADING = 1 << 15,
    CMD_NO_MULTI = 1 << 16,
    CMD_MOVABLE_KEYS = 1 << 17,
    CMD_ALLOW_BUSY = 1 << 18,
    CMD_MODULE = 1 << 19,
    CMD_NO_MANDATORY_KEYS = 1 << 20,
    CMD_PROTECTED = 1 << 21,
    CMD_SENTINEL = 1 << 22,
    CMD_ONLY_SENTINEL = 1 << 23,
    CMD_ALL_DBS = 1 << 24,
};

/* Bit n is category n in the order of ACL CAT; names in command_category_names. */
enum command_category {
    ACL_KEYSPACE = 1 << 0,
    ACL_READ = 1 << 1,
    ACL_WRITE = 1 << 2,
    ACL_SET = 1 << 3,
    ACL_SORTEDSET = 1 << 4,
    ACL_LIST = 1 << 5,
    ACL_HASH = 1 << 6,
    ACL_STRING = 1 << 7,
    ACL_BITMAP = 1 << 8,
    ACL_HYPERLOGLOG = 1 << 9,
    ACL_GEO = 1 << 10,
    ACL_STREAM = 1 << 11,
    ACL_PUBSUB = 1 << 12,
    ACL_ADMIN = 1 << 13,
    ACL_FAST = 1 << 14,
    ACL_SLOW = 1 << 15,
    ACL_BLOCKING = 1 << 16,
    ACL_DANGEROUS = 1 << 17,
    ACL_CONNECTION = 1 << 18,
    ACL_TRANSACTION = 1 << 19,
    ACL_SCRIPTING = 1 << 20,
};

enum key_flag {
    KEY_RO = 1 << 0,
    KEY_RW = 1 << 1,
    KEY_OW = 1 << 2,
    KEY_RM = 1 << 3,
    KEY_ACCESS = 1 << 4,
    KEY_UPDATE = 1 << 5,
    KEY_INSERT = 1 << 6,
    KEY_DELETE = 1 << 7,
    KEY_NOT_KEY = 1 << 8,
    KEY_INCOMPLETE = 1 << 9,
    KEY_VARIABLE_FLAGS = 1 << 10,
};

enum key_begin { BEGIN_NONE, BEGIN_INDEX, BEGIN_KEYWORD, BEGIN_UNKNOWN };
enum key_find { FIND_NONE, FIND_RANGE, FIND_KEYNUM, FIND_UNKNOWN };

struct key_spec {
    unsigned flags; /* key_flag */
    enum key_begin begin;
    int index;           /* BEGIN_INDEX; for BEGIN_KEYWORD where the search starts */
    const char *keyword; /* BEGIN_KEYWORD */
    enum key_find find;
    int last, step, limit;          /* FIND_RANGE */
    int keynum, first, keynum_step; /* FIND_KEYNUM */
    const char *notes;
};
#define KEY_SPECS_MAX 3

enum arg_type {
    ARG_STRING,
    ARG_INTEGER,
    ARG_DOUBLE,
    ARG_KEY,
    ARG_PATTERN,
    ARG_UNIX_TIME,
    ARG_PURE_TOKEN,
    ARG_ONEOF,
    ARG_BLOCK
};
enum arg_flag {
    ARG_OPTIONAL = 1,
    ARG_MULTIPLE = 2,
    ARG_MULTIPLE_TOKEN = 4,
    ARG_NAMES_KEY_SPEC = 8, /* though it is no key: Valkey's docs have such numbers of fields */
};

struct command_arg {
    const char *name;
    enum arg_type type;
    unsigned flags;    /* arg_flag */
    int key_spec;      /* index of the key spec for ARG_KEY (-1: none), and above 0 for a pattern */
    const char *token; /* or NULL */
    const char *summary; /* or NULL */
    const char *since;   /* or NULL */
    const char *deprecated_since;
    const char *display;            /* display_text, or NULL: as the name */
    const struct command_arg *args; /* of ONEOF and BLOCK, ended by a row with name NULL */
};

struct command_history {
    const char *since;
    const char *change;
};

/* Where a command's keys are, when key specs alone do not say it (SET, MSETEX ...): index positions
 * and flags of the keys in argv. Returns how many, or -1 if the arguments make no sense. */
struct key_ref {
    uint32_t index; /* in argv */
    unsigned flags; /* key_flag */
    int32_t db;     /* that an argument says, or KEY_DB_SELECTED */
};
#define KEY_DB_SELECTED (-1)
typedef int command_keys_fn(const struct command *command, const struct bytes *argv, uint32_t argc,
                            struct key_ref *ret, int max);
/* Which arguments say the number of a database: writes their positions, returns how many there are.
 * They may be anything, and so may be none. Of more than there is room for the last one is last. */
#define COMMAND_DB_ARGS_MAX 16
typedef unsigned command_db_args_fn(const struct bytes *argv, uint32_t argc,
                                    uint32_t ret[COMMAND_DB_ARGS_MAX]);
/* Of a command that names databases: sets `db` of its n key references, where there is one; MOVE
 * adds its key a second time. Returns how many there are. */
typedef int command_dbs_fn(const struct bytes *argv, uint32_t argc, struct key_ref *refs, int n);

/* Which arguments name channels that it publishes or subscribes to. */
enum command_channels {
    CHANNELS_NONE,
    CHANNELS_FIRST,    /* the first */
    CHANNELS_ALL,      /* all of them */
    CHANNELS_PATTERNS, /* all of them are patterns of channels */
};

struct command {
    const char *name;    /* lower case; of a subcommand its own word only */
    command_fn *run;     /* NULL for a container that only holds subcommands */
    int arity;           /* negative: at least */
    unsigned flags;      /* command_flag */
    unsigned categories; /* command_category, explicit ones only: those that follow from flags
                            (read, write, fast, slow, admin, dangerous, pubsub, blocking) are added
                            by command_categories() */
    enum command_place place;
    enum command_spread spread;
    enum command_fence fence;
    enum command_queue queue;
    bool subscribed; /* also a RESP2 client that has subscribed to something may call it */
    bool copies;     /* values: a transaction, if one is large or not at home (exec_put) */
    bool walks;      /* ALL_KEYS: it goes through them in slices; one moment only inside MULTI */
    bool brief;      /* takes no longer than others that CMD_FAST says it of */
    bool reads_many; /* it may write to its key only if that is its only one */
    /* At its keys' shard; or, if they lie on several, or others do that it looks for, as one that
     * reads everywhere. */
    enum command_runs runs_script;
    bool parks_in_exec; /* EXEC has all keys locked for it */
    bool is_system;     /* COMMAND DOCS calls it a system command */
    /* Where in argv the first of the elements stands that it looks up by name in its key's value;
     * negative: counted from the end; 0: none, or not always at one place. A hint, for prefetching.
     */
    int element;
    enum command_logged logged;
    struct key_spec keys[KEY_SPECS_MAX]; /* ended by BEGIN_NONE */
    command_keys_fn *find_keys;          /* NULL: key specs are complete */
    command_dbs_fn *name_dbs;            /* NULL: all keys are in the selected database */
    command_db_args_fn *db_args;         /* NULL: none names a database */
    enum command_channels channels;
    /* Whether it reads keys that only values name (SORT BY, GET): on several shards it begins anew
     * with those that it has found (exec_has_named). NULL: never. */
    bool (*reads_everywhere)(const struct bytes *argv, uint32_t argc);
    command_ready_fn *ready;   /* NULL: it does not wait for keys (exec_wait) */
    bool ready_when_gone;      /* beside that: who waits is also told that the key has gone */
    command_blocks_fn *blocks; /* NULL: with any arguments it may, if `ready` is there */
    command_send_fn *send;     /* SPREAD_SEND */
    command_secret_fn *secret; /* NULL: none of its words is */
    const char *const *tips;   /* NULL-ended, or NULL */
    const char *group, *since, *summary, *complexity;
    const char *deprecated_since, *replaced_by;
    const struct command_history *history; /* ended by since NULL, or NULL */
    const struct command_arg *args;        /* ended by name NULL, or NULL */
    const struct command *subcommands;     /* ended by name NULL, or NULL */
};

static inline bool command_word_is_secret(const struct command *row, const struct bytes *argv,
                                          uint32_t argc, uint32_t index) {
    return row->secret != NULL && row->secret(argv, argc, index);
}

#endif
