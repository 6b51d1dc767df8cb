/* SPDX-License-Identifier: BSD-3-Clause */
/* run: see the header. Why so: what a script calls goes through call_share, as all commands do, and
 * its reply is read back from where a client's would be sent from: nothing here knows what any
 * command does. Where it may run is the one question that is asked for each call:
 *
 *     all shards in view      -> anywhere (call/anywhere.h)
 *     keys here, not locked   -> here
 *     else                    -> the script escapes, if nothing has come of it yet
 *
 * An escape is an error that no pcall keeps: a hook raises it again before the next instruction of
 * whoever has caught it. So is the end of one that is killed. The hook also sees how long it takes,
 * and lets others be answered meanwhile (worker/busy.h).
 */
#include "server/script/run.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/must.h"
#include "base/num.h"
#include "net/rt.h"
#include "server/call/anywhere.h"
#include "server/call/check.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/keyset.h"
#include "server/call/rights.h"
#include "server/call/slot_check.h"
#include "server/observe/log.h"
#include "server/observe/monitor.h"
#include "server/observe/slot_stats.h"
#include "server/persistence/wal.h"
#include "server/worker/busy.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES 4096
/* Instructions between two looks at whether a script is to end. */
#define LOOK_INSTRUCTIONS 100000
/* And between two turns in the middle of it, when it runs for long. */
#define BUSY_TURN_NS (2 * 1000 * 1000)

/* ---- What it may call ---- */

static const char *product(const struct script_run *run) {
    return run->x->worker->config->extended_redis_compatibility ? "Redis" : "Valkey";
}

/* False, and the error is written: there is no such command, or not from a script. *ret is NULL if
 * it is unknown. */
static bool find(const struct script_run *run, const struct bytes *argv, uint32_t argc,
                 struct reply *reply, const struct command_ref **ret) {
    const struct command_ref *ref = *ret =
        command_table_find(run->x->worker->server->commands, argv[0]);
    if (ref == NULL) {
        reply_error(reply, "ERR Unknown command called from script");
        return false;
    }
    if (ref->subcommands_count > 0 && (argc > 1 || ref->row->run == NULL)) {
        const struct command_ref *sub = argc > 1 ? command_ref_find_sub(ref, argv[1]) : NULL;
        if (sub == NULL && argc > 1) {
            char upper[32];
            size_t n = 0;
            for (; ref->served_name[n] != 0 && n < sizeof upper - 1; n++) {
                char c = ref->served_name[n];
                upper[n] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
            }
            upper[n] = 0;
            reply_errorf(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                         argv[1].len < 128 ? (int)argv[1].len : 128, argv[1].ptr, upper);
            return false;
        }
        ref = *ret = sub;
    }
    int arity = ref != NULL ? ref->row->arity : 0;
    if (ref == NULL || (arity > 0 ? argc != (uint32_t)arity : argc < (uint32_t)-arity)) {
        reply_error(reply, "ERR Wrong number of args calling command from script");
        return false;
    }
    bool may_debug = run->x->worker->scripts_debug && strcmp(ref->row->name, "debug") == 0;
    if ((ref->flags & CMD_NOSCRIPT) && !may_debug) {
        reply_errorf(reply, "ERR This %s command is not allowed from script", product(run));
        return false;
    }
    return true;
}

/* What the owner of keys has against it. Its log may have broken since the script wrote. */
static const char *owner_refuses(const struct script_run *run, const struct worker *owner,
                                 const struct command_ref *ref) {
    return owner->refuses_writes && run->has_written ? NULL : check_refuses(owner, ref);
}

/* What is against it, or NULL. One that has written goes on, whatever has become of memory or the
 * disk. */
static const char *refusal_of(const struct script_run *run, const struct command_ref *ref) {
    const struct worker *worker = run->x->worker;
    bool writes = ref->flags & CMD_WRITE;
    if (run->read_only && ref->flags & (CMD_WRITE | CMD_MAY_REPLICATE)) {
        return "ERR Write commands are not allowed from read-only scripts.";
    }
    /* In a cluster it is told where its key is instead. */
    bool told = worker->cluster != NULL && ref->row->place == PLACE_KEY;
    if (writes && !told && worker->server->role.replica && worker->config->replica_read_only) {
        return ERR_READONLY;
    }
    /* Once it has written something it may go on to its end. */
    if (run->out_of_memory && ref->flags & CMD_DENYOOM && !run->has_written) {
        return ERR_OOM;
    }
    if (writes && worker->hindered_by_disk && !run->has_written) {
        return worker->refuses_writes ? worker->refuses : ERR_NOT_SAVED;
    }
    /* It may run elsewhere than at its home, which refuses writes but cannot tell whether a script
     * is one: its reply would wait for nothing there, and the shard here may not know yet. */
    if (writes && !run->has_written && shared_wal_any_refuses(worker->server->shared)) {
        return wal_refusal(worker->wal).ptr;
    }
    if (writes && worker->lacks_replicas && !run->has_written) {
        return ERR_NO_REPLICAS;
    }
    if (run->view == NULL) {
        return owner_refuses(run, worker, ref);
    }
    NODE_EACH_WORKER(worker->node, i) {
        const char *refusal = owner_refuses(run, worker->server->workers[i], ref);
        if (refusal != NULL) {
            return refusal;
        }
    }
    return NULL;
}

/* A call that was denied. It is not in the log yet: a script that begins anew comes by again. */
struct script_denied {
    enum acl_verdict verdict;
    const struct command_ref *ref;
    uint32_t at;
    uint32_t times;
    struct bytes word; /* malloc */
};

/* More of different kinds go into the log at once. */
#define DENIED_MAX 32

static void note_denied(struct script_run *run, const struct script_denied *denied) {
    for (uint32_t i = 0; i < run->denied_count; i++) {
        struct script_denied *like = &run->denied[i];
        if (like->verdict == denied->verdict && like->ref == denied->ref &&
            like->at == denied->at && bytes_equal(like->word, denied->word)) {
            like->times++;
            return;
        }
    }
    if (run->view != NULL || run->denied_count == DENIED_MAX) {
        rights_log_script(run->x, denied->verdict, denied->ref, denied->word, denied->at);
        return;
    }
    run->denied = must_realloc(run->denied, (run->denied_count + 1) * sizeof *run->denied);
    struct script_denied *kept = &run->denied[run->denied_count++];
    *kept = *denied;
    char *copy = must_malloc(denied->word.len + 1);
    if (denied->word.len > 0) {
        memcpy(copy, denied->word.ptr, denied->word.len);
    }
    kept->word = bytes_make(copy, denied->word.len);
}

static void log_denied(struct script_run *run, bool counts) {
    for (uint32_t i = 0; i < run->denied_count; i++) {
        struct script_denied *denied = &run->denied[i];
        for (uint32_t n = 0; counts && n < denied->times; n++) {
            rights_log_script(run->x, denied->verdict, denied->ref, denied->word, denied->at);
        }
        free((char *)denied->word.ptr);
    }
    free(run->denied);
}

static bool may_be_called(struct script_run *run, const struct bytes *argv, uint32_t argc,
                          struct reply *reply, const struct command_ref **ret) {
    if (!find(run, argv, argc, reply, ret)) {
        return false;
    }
    uint32_t at;
    enum acl_verdict verdict = acl_check(run->user, *ret, argv, argc, run->db, &at);
    if (UNLIKELY(verdict != ACL_MAY)) {
        struct script_denied denied = {verdict, *ret, at, 1, argv[at]};
        note_denied(run, &denied);
        rights_deny_script(run->user, verdict, *ret, reply);
        return false;
    }
    const char *refusal = refusal_of(run, *ret);
    if (refusal != NULL) {
        reply_error(reply, refusal);
    }
    return refusal == NULL;
}

/* ---- Where ---- */

static bool is_alone(const struct script_run *run) {
    return run->x->worker->node->count == 1;
}

static struct caller caller_of(struct script_run *run) {
    const struct exec *x = run->x;
    return (struct caller){
        .worker = x->worker,
        .shard = x->shard,
        .tick = rt_ticks(x->worker->rt),
        .db = run->db,
        .manner = x->manner,
        .asked = true,
        .script = run,
        .inside = true,
        .holds = x->caller->holds,
        .order = x->caller->order,
        .txn = x->caller->txn,
    };
}

/* A transaction has locked it, and it is not the one that this script is part of. */
static bool is_locked(const struct script_run *run, uint64_t id, bool exclusive) {
    const struct locks *locks = &run->x->shard->locks;
    const struct lock_request *holds = run->x->caller->holds;
    return locks->requests > 0 && locks_block(locks, id, exclusive) &&
           !(holds != NULL && locks_own(holds, id));
}

/* A key that it looks for. One in a slot that it does not declare may lie here by chance: the next
 * may not. */
static void note_slot(struct script_run *run, uint16_t slot) {
    const struct keyset *declared = run->x->keys;
    for (uint32_t i = 0; declared != NULL && i < declared->count; i++) {
        if (declared->list[i].key.slot == slot) {
            return;
        }
    }
    run->far = true;
}

/* What has been done cannot be undone. */
static bool is_dirty(const struct script_run *run) {
    return run->wrote || keyspace_stats(run->keyspace)->changes != run->changes;
}

/* What it needs is not here. `far`: it never will be. */
static bool escape(struct script_run *run, bool far) {
    if (far) {
        script_note_reach(run->script, REACH_FAR);
    }
    run->escapes = true;
    return false;
}

/* Who uses keys of several slots counts for none of them. */
static void note_counted(struct script_run *run, int slot) {
    if (slot != SLOT_NONE && slot != run->counted_slot) {
        run->counted_slot = run->counted_slot == SLOT_NONE ? slot : SLOT_SEVERAL;
    }
}

/* In a cluster it may use keys that this node serves. */
static bool is_denied(struct script_run *run, const struct caller *caller, const struct call *what,
                      struct reply *reply) {
    if (LIKELY(run->x->worker->cluster == NULL)) {
        return false;
    }
    if (UNLIKELY(run->x->worker->slot_stats.counts)) {
        note_counted(run, slot_stats_slot(what));
    }
    unsigned flags = script_flags(run->script);
    bool crosses = flags & (SCRIPT_COMPATIBLE | SCRIPT_ALLOW_CROSS_SLOT);
    const char *error = slot_check_script(caller, what, crosses, &run->slot);
    if (LIKELY(error == NULL)) {
        return false;
    }
    reply_error(reply, error);
    return true;
}

static bool share(const struct script_run *run, struct caller *caller, const struct call *what,
                  struct reply *reply) {
    struct call_outcome outcome = {0};
    bool over = call_share(caller, what, NULL, reply, &outcome);
    check(over);
    call_count(run->x->worker, what->ref, &outcome);
    call_log(run->x->worker, what, NULL, &outcome);
    return true;
}

/* With all shards in view. */
static bool run_anywhere(struct script_run *run, struct call *what, struct reply *reply) {
    struct caller caller = caller_of(run);
    const struct command_ref *ref = what->ref;
    if (ref->row->place != PLACE_KEY) {
        caller.view = run->view;
        what->key = &NO_KEY;
        return is_denied(run, &caller, what, reply) || share(run, &caller, what, reply);
    }
    struct key key;
    if (ref->simple) {
        key = key_make(&run->x->worker->server->secret, what->argv[ref->first_key]);
        what->key = &key;
        caller.shard = view_shard(run->view, key.slot);
        note_slot(run, key.slot);
        return is_denied(run, &caller, what, reply) || share(run, &caller, what, reply);
    }
    struct keyset *keys =
        keyset_new(&run->arena, run->x->worker->node, ref, what->argv, what->argc, run->db);
    what->keys = keys;
    if (keys->count == 0) {
        key = key_make(&run->x->worker->server->secret, BYTES(""));
        what->key = &key;
        return share(run, &caller, what, reply);
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        note_slot(run, keys->list[i].key.slot);
    }
    caller.shard = view_shard(run->view, keys->list[0].key.slot);
    if (is_denied(run, &caller, what, reply)) {
        return true;
    }
    caller.shard = run->x->shard;
    run->far |= keys->everywhere;
    struct anywhere anywhere = {.caller = caller, .view = run->view, .arena = &run->arena};
    struct call_outcome outcome = {0};
    if (!anywhere_run(&anywhere, what, reply, &outcome)) {
        reply_errorf(reply, "ERR This %s command is not allowed from script", product(run));
    }
    call_count(run->x->worker, ref, &outcome);
    call_log(run->x->worker, what, NULL, &outcome);
    return true;
}

/* On the keys of this shard, if it is about no others. */
static bool run_here(struct script_run *run, struct call *what, struct reply *reply) {
    struct worker *worker = run->x->worker;
    struct caller caller = caller_of(run);
    const struct command_ref *ref = what->ref;
    struct key key;
    if (ref->simple) {
        key = key_make(&worker->server->secret, what->argv[ref->first_key]);
        what->key = &key;
        bool away = node_owner(worker->node, key.slot) != worker->id;
        caller.shard = away ? NULL : run->x->shard;
        if (is_denied(run, &caller, what, reply)) {
            return true;
        }
        if (UNLIKELY(away)) {
            return escape(run, true);
        }
        if (is_locked(run, key.hash, !(ref->row->keys[0].flags & KEY_RO))) {
            return escape(run, false);
        }
        note_slot(run, key.slot);
        return share(run, &caller, what, reply);
    }
    struct keyset *keys =
        keyset_new(&run->arena, worker->node, ref, what->argv, what->argc, run->db);
    what->keys = keys;
    if (keys->count == 0) {
        key = key_make(&worker->server->secret, BYTES(""));
        what->key = &key;
        return share(run, &caller, what, reply);
    }
    if (ref->row->spread == SPREAD_SEND) {
        reply_errorf(reply, "ERR This %s command is not allowed from script", product(run));
        return true;
    }
    bool away = keys->apart || keys->list[0].worker != worker->id;
    caller.shard = away ? NULL : run->x->shard;
    if (is_denied(run, &caller, what, reply)) {
        return true;
    }
    if (away) {
        return escape(run, true);
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        if (is_locked(run, keys->list[i].key.hash, keys->list[i].exclusive)) {
            return escape(run, false);
        }
        note_slot(run, keys->list[i].key.slot);
    }
    what->key = &keys->list[0].key;
    return share(run, &caller, what, reply);
}

/* It runs for long. */
static bool is_busy(const struct script_run *run) {
    return run->said != 0;
}

static bool is_function(const struct script_run *run) {
    return run->state != run->x->worker->script_state;
}

static const char *killed_error(const struct script_run *run) {
    return is_function(run) ? "ERR Script killed by user with FUNCTION KILL."
                            : "ERR Script killed by user with SCRIPT KILL.";
}

/* So that FUNCTION STATS can tell. */
static void note_running(const struct script_run *run) {
    const struct exec *x = run->x;
    struct script_running running = {
        .name = run->name,
        .argv = x->argv,
        .argc = x->argc,
        .began_ns = rt_mono_ns(x->worker->rt) -
                    rt_ticks_to_ns(x->worker->rt, rt_ticks(x->worker->rt) - run->began),
    };
    scripts_note_running(x->worker->server->scripts, x->worker->id, &running);
}

static void say(struct script_run *run) {
    run->said = SCRIPT_BUSY | (is_function(run) ? SCRIPT_FUNCTION : 0) |
                (run->has_written ? SCRIPT_WROTE : 0);
    shared_script_say(run->x->worker->server->shared, run->x->worker->id, run->said);
}

/* It is about to call something. What writes cannot be killed from then on; false: it has been. */
static bool may_call(struct script_run *run, const struct command_ref *ref) {
    run->has_written |= (ref->flags & CMD_WRITE) != 0;
    if (LIKELY(!is_busy(run))) {
        return true;
    }
    say(run);
    return !(shared_script(run->x->worker->server->shared, run->x->worker->id) & SCRIPT_KILL);
}

static void select_db(struct script_run *run, struct bytes word, struct reply *reply) {
    int64_t db;
    if (!num_parse_i64(word, &db)) {
        reply_error(reply, ERR_NOT_INTEGER);
    } else if (db < INT_MIN || db > INT_MAX) {
        reply_error(reply, ERR_INT_RANGE);
    } else if (db < 0 || db >= config_databases(run->x->worker->config)) {
        reply_error(reply, ERR_DB_INDEX);
    } else {
        run->db = (uint32_t)db;
        reply_ok(reply);
    }
}

/* What concerns a connection concerns that of the script, which has a database and no more: what it
 * says of how it reads (READONLY) ends with it. */
static void call_on_self(struct script_run *run, const struct bytes *argv, struct reply *reply) {
    if (bytes_is(argv[0], "select")) {
        select_db(run, argv[1], reply);
    } else if (bytes_is(argv[0], "readonly") || bytes_is(argv[0], "readwrite") ||
               (bytes_is(argv[0], "asking") && run->x->worker->cluster != NULL)) {
        reply_ok(reply);
    } else if (bytes_is(argv[0], "asking")) {
        reply_error(reply, "ERR This instance has cluster support disabled");
    } else {
        reply_errorf(reply, "ERR This %s command is not allowed from script", product(run));
    }
}

/* Where the row of the command says. */
static bool call_at_its_place(struct script_run *run, struct call *what, struct reply *reply) {
    const struct command_ref *ref = what->ref;
    switch (ref->row->place) {
    case PLACE_KEY:
        return run->view != NULL ? run_anywhere(run, what, reply) : run_here(run, what, reply);
    case PLACE_SELF:
        /* What a client has published arrives in order: it leaves from its home. */
        if (run->view == NULL && ref->flags & CMD_PUBSUB &&
            run->x->worker->runs_for.home != run->x->worker->id) {
            return escape(run, true);
        }
        /* The others ask nothing of a connection; and no script waits for replicas. */
        if (ref->row->categories & ACL_CONNECTION && !(ref->flags & CMD_BLOCKING)) {
            call_on_self(run, what->argv, reply);
            struct call_outcome outcome = {.errors = reply->errors};
            memcpy(outcome.error_code, reply->error_code, sizeof outcome.error_code);
            call_count(run->x->worker, ref, &outcome);
            return true;
        }
        break;
    case PLACE_PURE:
        break;
    case PLACE_EACH_WORKER:
    case PLACE_ALL_KEYS:
        if (run->view == NULL) {
            return escape(run, true);
        }
        run->far = true;
        break;
    }
    run->wrote |= (ref->flags & CMD_MAY_REPLICATE) != 0;
    return run_anywhere(run, what, reply);
}

/* While anybody monitors a script has all shards in view from the first, and calls nothing twice.
 */
static void tell_monitors(const struct script_run *run, const struct call *what) {
    struct text line;
    text_init(&line);
    if (monitor_shows(what->ref)) {
        monitor_add(&line, NULL, what->ref, what->argv, what->argc, run->db);
    }
    monitor_tell(run->x->worker, &line);
}

static bool call_now(struct script_run *run, struct bytes *argv, uint32_t argc,
                     struct reply *reply) {
    const struct command_ref *ref;
    if (!may_be_called(run, argv, argc, reply, &ref)) {
        call_refused(run->x->worker, ref, reply);
        return true;
    }
    if (UNLIKELY(!may_call(run, ref))) {
        run->killed = killed_error(run);
        return false;
    }
    struct call what = {
        .ref = ref,
        .argv = argv,
        .argc = argc,
        .now_ms = run->x->now_ms,
    };
    bool answered = call_at_its_place(run, &what, reply);
    run->commands += answered;
    if (run->view != NULL && UNLIKELY(monitors_look(&run->x->worker->monitors))) {
        tell_monitors(run, &what);
    }
    return answered;
}

/* ---- What was done before ---- */

struct row {
    uint64_t words;
    size_t bytes;
};

static uint64_t hash_words(const struct script_run *run, const struct bytes *argv, uint32_t argc) {
    uint64_t hash = argc;
    for (uint32_t i = 0; i < argc; i++) {
        hash = hash * UINT64_C(0x9E3779B97F4A7C15) +
               hash_bytes(run->x->worker->server->secret.bytes, argv[i]);
    }
    return hash;
}

static void record(struct script_run *run, const struct bytes *argv, uint32_t argc) {
    struct script_record *record = run->record;
    struct row row = {hash_words(run, argv, argc), run->out.bytes};
    size_t needed = (record != NULL ? record->bytes : 0) + sizeof row + row.bytes;
    if (record == NULL || needed > record->capacity) {
        size_t bytes = record != NULL ? record->bytes : 0;
        record = must_realloc(record, sizeof *record + needed * 2);
        record->bytes = bytes;
        record->capacity = needed * 2;
        record->random = run->random;
        run->record = record;
    }
    memcpy(record->data + record->bytes, &row, sizeof row);
    record->bytes += sizeof row;
    struct iovec parts[16];
    int count = outbuf_vectors(&run->out, parts, 16);
    size_t copied = 0;
    for (int i = 0; i < count; i++) {
        memcpy(record->data + record->bytes + copied, parts[i].iov_base, parts[i].iov_len);
        copied += parts[i].iov_len;
    }
    check(copied == row.bytes);
    record->bytes += copied;
}

static bool was_told(const struct script_run *run) {
    return run->before == NULL || run->told == run->before->bytes;
}

static void tell(struct script_run *run, const struct bytes *argv, uint32_t argc,
                 struct reply *reply) {
    struct row row;
    memcpy(&row, run->before->data + run->told, sizeof row);
    if (row.words != hash_words(run, argv, argc)) {
        reply_error(reply, "ERR Script has written, needs keys of another shard that it did not "
                           "declare, and does not do the same when it begins anew");
        return;
    }
    outbuf_append(reply->out, run->before->data + run->told + sizeof row, row.bytes);
    run->told += sizeof row + row.bytes;
    run->commands++;
}

static bool call_from_script(struct script_run *run, struct bytes *argv, uint32_t argc,
                             struct reply *reply) {
    if (UNLIKELY(!was_told(run)) && !bytes_is(argv[0], "select")) {
        tell(run, argv, argc, reply);
        return true;
    }
    bool answered = call_now(run, argv, argc, reply);
    if (answered && run->view == NULL && !bytes_is(argv[0], "select")) {
        record(run, argv, argc);
    }
    return answered;
}

/* ---- Running ---- */

/* SCRIPT KILL has said so; or the server ends, and it has done nothing yet. */
static bool is_wanted_dead(const struct script_run *run) {
    const struct shared_counters *shared = run->x->worker->server->shared;
    return (shared_script(shared, run->x->worker->id) & SCRIPT_KILL) ||
           (shared_stop_signal(shared) != 0 && !run->has_written);
}

static void begin_busy(struct script_run *run, uint64_t ns) {
    char sha[SCRIPT_SHA_TEXT];
    script_format_sha(script_sha(run->script), sha);
    log_worker(run->x->worker, LOG_WARNING,
               "A slow %s is still running after %llu milliseconds. %s KILL ends it, as long as it "
               "has not written. The digest of its text is %s.",
               is_function(run) ? "function" : "script", (unsigned long long)(ns / 1000000),
               is_function(run) ? "FUNCTION" : "SCRIPT", sha);
}

static void look_at_time(struct script_run *run) {
    struct worker *worker = run->x->worker;
    uint64_t now = rt_ticks(worker->rt);
    uint64_t ns = rt_ticks_to_ns(worker->rt, now - run->began);
    if (ns / 1000000 < (uint64_t)worker->config->busy_reply_threshold) {
        return;
    }
    if (!is_busy(run)) {
        begin_busy(run, ns);
        note_running(run);
    }
    say(run);
    if (run->turned == 0 || rt_ticks_to_ns(worker->rt, now - run->turned) >= BUSY_TURN_NS) {
        busy_turn(worker);
        run->turned = rt_ticks(worker->rt);
    }
    run->killed = is_wanted_dead(run) ? killed_error(run) : NULL;
}

static void raise_killed(lua_State *lua, const struct script_run *run) {
    lua_sethook(lua, run->look, LUA_MASKCOUNT, 1);
    lua_pushstring(lua, run->killed + strlen("ERR "));
    lua_error(lua);
}

static void look(lua_State *lua, lua_Debug *debug) {
    struct script_run *run = script_state_in(lua)->run;
    if (run == NULL) {
        return;
    }
    if (run->escapes) {
        lua_sethook(lua, look, LUA_MASKCOUNT, 1);
        luaL_error(lua, "escapes");
    }
    if (run->killed == NULL) {
        look_at_time(run);
    }
    if (run->killed != NULL) {
        raise_killed(lua, run);
    }
}

/* What is behind an error: its text, and where it was raised, as fields of a table. */
static int error_handler(lua_State *lua) {
    lua_settop(lua, 1);
    if (!lua_istable(lua, 1)) {
        lua_getglobal(lua, "tostring");
        lua_pushvalue(lua, 1);
        lua_call(lua, 1, 1);
        lua_pushliteral(lua, "ERR ");
        lua_insert(lua, -2);
        lua_concat(lua, 2);
        lua_createtable(lua, 0, 3);
        lua_insert(lua, -2);
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
    }
    lua_Debug at;
    bool found = lua_getstack(lua, 1, &at) && lua_getinfo(lua, "Sl", &at);
    if (found && strcmp(at.what, "C") == 0) {
        found = lua_getstack(lua, 2, &at) && lua_getinfo(lua, "Sl", &at);
    }
    if (found) {
        lua_pushliteral(lua, "source");
        lua_pushstring(lua, at.source);
        lua_rawset(lua, 1);
        lua_pushliteral(lua, "line");
        lua_pushnumber(lua, at.currentline);
        lua_rawset(lua, 1);
    }
    return 1;
}

/* The error that is on top of the stack. */
static void write_failure(lua_State *lua, struct reply *reply) {
    if (!lua_istable(lua, -1)) { /* no memory was left to make one */
        const char *text = lua_tostring(lua, -1);
        reply_errorf(reply, "ERR %s", text != NULL ? text : "unknown error");
        return;
    }
    lua_pushliteral(lua, "err");
    lua_rawget(lua, -2);
    lua_pushliteral(lua, "source");
    lua_rawget(lua, -3);
    lua_pushliteral(lua, "line");
    lua_rawget(lua, -4);
    struct text text;
    text_init(&text);
    text_append_text(&text, lua_isstring(lua, -3) ? lua_tostring(lua, -3) : "ERR unknown error");
    if (lua_isstring(lua, -2)) {
        text_appendf(&text, " script: on %s:%d.", lua_tostring(lua, -2),
                     (int)lua_tonumber(lua, -1));
    }
    reply_error_verbatim(reply, text_bytes(&text));
    text_fini(&text);
    lua_pop(lua, 3);
    script_note_counted(lua, -1, reply);
}

static void write_starved(const struct script_run *run) {
    reply_errorf(run->x->reply,
                 "ERR Script ran out of memory: all that the scripts of a shard have in Lua may "
                 "take %zu bytes",
                 run->state->memory.bytes_max);
}

static void push_words(lua_State *lua, const struct bytes *words, uint32_t count) {
    lua_createtable(lua, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushlstring(lua, words[i].ptr != NULL ? words[i].ptr : "", words[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

struct attempt {
    struct script_run *run;
    const struct script_start *start;
};

static int run_protected(lua_State *lua) {
    const struct attempt *attempt = lua_touserdata(lua, 1);
    struct script_run *run = attempt->run;
    const struct script_start *start = attempt->start;
    struct exec *x = run->x;
    uint32_t args_at = start->keys_at + start->keys_count;
    bool has_arguments = start->state->of_functions;
    if (!has_arguments) {
        script_push_globals(lua);
        lua_pushliteral(lua, "KEYS");
        push_words(lua, x->argv + start->keys_at, start->keys_count);
        lua_rawset(lua, 2);
        lua_pushliteral(lua, "ARGV");
        push_words(lua, x->argv + args_at, x->argc - args_at);
        lua_rawset(lua, 2);
        lua_settop(lua, 1);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, start->state->handler);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, start->function);
    if (has_arguments) {
        push_words(lua, x->argv + start->keys_at, start->keys_count);
        push_words(lua, x->argv + args_at, x->argc - args_at);
    }
    int status = lua_pcall(lua, has_arguments ? 2 : 0, 1, 2);
    if (run->escapes) {
        return 0;
    }
    run->starved = status == LUA_ERRMEM;
    if (run->starved) {
        write_starved(run);
    } else if (status != 0) {
        write_failure(lua, x->reply);
    } else {
        script_write_value(lua, x->reply, run->resp);
    }
    return 0;
}

static int keep_functions(lua_State *lua) {
    struct script_state *state = script_state_in(lua);
    lua_pushcfunction(lua, error_handler);
    state->handler = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pushcfunction(lua, run_protected);
    state->runner = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

/* As lua_cpcall, which would make the function anew each time. */
static int call_protected(struct script_state *state, struct attempt *attempt) {
    lua_State *lua = state->lua;
    int status = LIKELY(state->runner != 0) ? 0 : lua_cpcall(lua, keep_functions, NULL);
    if (status != 0) {
        return status;
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->runner);
    lua_pushlightuserdata(lua, attempt);
    return lua_pcall(lua, 1, 0, 0);
}

static struct shard *only_shard(const struct view *view, uint16_t slot) {
    return &view->node->server->workers[view->node->first]->shard;
}

/* In a cluster: of one that has all shards in view nobody has asked who has the keys that it
 * declares. */
static const char *redirect_to_begin(const struct exec *x, const struct view *view) {
    const struct keyset *keys = x->keys;
    if (x->worker->cluster == NULL || view == NULL || keys == NULL || keys->count == 0) {
        return NULL;
    }
    struct caller caller = *x->caller;
    caller.shard = view_shard(view, keys->list[0].key.slot);
    const struct call what = {
        .ref = x->ref,
        .argv = x->argv,
        .argc = x->argc,
        .key = &x->key,
        .keys = keys,
        .now_ms = x->now_ms,
    };
    return slot_check_call(&caller, &what);
}

/* What is against it before it begins, or NULL. Of one that says nothing about itself that is asked
 * as it writes. */
static const char *refusal_to_begin(const struct exec *x, const struct script_start *start) {
    unsigned flags = script_flags(start->script);
    if (flags & SCRIPT_NO_CLUSTER && x->worker->cluster != NULL) {
        return "ERR Can not run script on cluster, 'no-cluster' flag is set.";
    }
    const char *redirect = redirect_to_begin(x, start->view);
    if (UNLIKELY(redirect != NULL)) {
        return redirect;
    }
    if (flags & (SCRIPT_COMPATIBLE | SCRIPT_NO_WRITES) || start->before != NULL) {
        return NULL;
    }
    const struct worker *worker = x->worker;
    if (worker->hindered_by_disk) {
        return worker->refuses_writes ? worker->refuses : ERR_NOT_SAVED;
    }
    return start->read_only ? "ERR Can not execute a script with write flag using *_ro command."
           : worker->lacks_replicas ? ERR_NO_REPLICAS
                                    : NULL;
}

/* As it begins: it was made room for before. */
static bool is_out_of_memory(const struct script_run *run) {
    struct worker *worker = run->x->worker;
    if (LIKELY(worker->room.limit == 0)) {
        return false;
    }
    bool out = false;
    NODE_EACH_WORKER(worker->node, i) {
        if (run->view != NULL || i == worker->id) {
            out |= !room_is_there(worker->server->workers[i]);
        }
    }
    return out;
}

int64_t script_time_us(struct script_run *run) {
    if (run->time_us == 0) {
        run->time_us = rt_wall_us(run->x->worker->rt);
    }
    return run->time_us;
}

void script_run(struct exec *x, const struct script_start *start) {
    const char *refusal = refusal_to_begin(x, start);
    if (refusal != NULL) {
        reply_error(x->reply, refusal);
        return;
    }
    struct script_state *state = start->state;
    const struct view alone = {.node = x->worker->node, .open = true, .shard = only_shard};
    struct script_run run = {
        .state = state,
        .x = x,
        .script = start->script,
        .name = start->name,
        .resp = 2,
        .db = x->db,
        .read_only = start->read_only || script_flags(start->script) & SCRIPT_NO_WRITES,
#ifndef SHOAL_UNSAFE_RESTART /* for the test that users of the simulator notice */
        .before = start->before,
#endif
        .has_written = start->before != NULL,
        .slot = x->keys != NULL && x->keys->count > 0 ? x->keys->list[0].key.slot : SLOT_NONE,
        .began = rt_ticks(x->worker->rt),
        .keyspace = x->keyspace,
        .changes = keyspace_stats(x->keyspace)->changes,
        .call = call_from_script,
        .look = look,
    };
    run.counted_slot = run.slot;
    run.view = start->view != NULL                               ? start->view
               : is_alone(&run) && x->shard->locks.requests == 0 ? &alone
                                                                 : NULL;
    unsigned flags = script_flags(start->script);
    bool may_run_out = flags & SCRIPT_ALLOW_OOM || start->before != NULL;
    run.out_of_memory = !may_run_out && is_out_of_memory(&run);
    if (UNLIKELY(run.out_of_memory) && !(flags & (SCRIPT_COMPATIBLE | SCRIPT_NO_WRITES))) {
        reply_error(x->reply, ERR_OOM);
        return;
    }
    check(state->run == NULL);
    run.user = rights_user(x);
    arena_init(&run.arena, ARENA_BYTES);
    outbuf_init(&run.out);
    reader_init(&run.reader);
    text_init(&run.text);
    state->run = &run;
    if (run.before != NULL) {
        state->random = run.before->random;
    }
    run.random = state->random;
    lua_sethook(state->lua, look, LUA_MASKCOUNT, LOOK_INSTRUCTIONS);
    struct attempt attempt = {&run, start};
    int status = call_protected(state, &attempt);
    if (status == LUA_ERRMEM && !run.escapes) {
        run.starved = true;
        write_starved(&run);
    } else if (status != 0 && !run.escapes) {
        write_failure(state->lua, x->reply);
    }
    lua_settop(state->lua, 0);
    if (UNLIKELY(run.starved)) {
        lua_memory_collect(&state->memory);
    }
    if (run.far || start->view != NULL) {
        script_note_reach(start->script, run.far ? REACH_FAR : REACH_NEAR);
    }
    lua_sethook(state->lua, NULL, 0, 0);
    if (UNLIKELY(is_busy(&run))) {
        shared_script_say(x->worker->server->shared, x->worker->id, 0);
        scripts_note_running(x->worker->server->scripts, x->worker->id, NULL);
    }
    state->run = NULL;
    x->caller->escapes = run.escapes;
    x->caller->script_slot = run.counted_slot >= 0 ? (uint16_t)(run.counted_slot + 1) : 0;
    if (!run.escapes) {
        x->caller->commands = rights_count_called(x, run.commands);
    }
    /* What one that has written was answered it is told again, without a second look. */
    log_denied(&run, !run.escapes || is_dirty(&run));
    if (run.escapes && is_dirty(&run)) {
        x->caller->record = run.record;
    } else {
        free(run.record);
    }
    acl_user_unref(run.user);
    text_fini(&run.text);
    reader_fini(&run.reader);
    outbuf_fini(&run.out);
    arena_fini(&run.arena);
}
