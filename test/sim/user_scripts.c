/* SPDX-License-Identifier: BSD-3-Clause */
/* user_scripts: what users have scripts and functions do. What one calls are commands that users
 * also send alone or in MULTI (user_write_steps), on the same keys, and what it answers is held
 * against the same: so everybody else sees whether all of it has happened at one moment.
 *
 * Each has a manner:
 *
 *     it declares   all keys, none of them, or the first one alone
 *     it comes as   EVAL, EVALSHA, FCALL; alone or in MULTI
 *
 * A server may remember where a script has looked for keys. So its text has a version, and a few
 * runs later there is another one, of which nothing is known. One that was seen to look where it
 * said, and then does not, has written by then: it is dirty. Of two that are, at one time, a server
 * may leave one half done and say so; in half of the runs users have one at a time. (So far none
 * has: a run is one step here, so nobody begins between the beginning of another and its seal.)
 */
#include "test/sim/user_private.h"

#include "base/check.h"
#include "base/sha1.h"
#include "test/sim/steps.h"

#include <stdio.h>
#include <string.h>

/* Counts the changes of a value, as who WATCHes it does. */
#define COUNT_CHANGES                                                                              \
    "local v = redis.call('GET', ARGV[1]) "                                                        \
    "local n = v and tonumber(string.match(v, '^%d+')) or 0 "                                      \
    "redis.call('SET', ARGV[1], string.format('%d:%s', n + 1, ARGV[2])) "                          \
    "return {v, n} "

#define LIBRARY                                                                                    \
    "#!lua name=sim\n"                                                                             \
    "redis.register_function('steps', function(KEYS, ARGV) " STEPS_SCRIPT "end) "                  \
    "redis.register_function('changes', function(KEYS, ARGV) " COUNT_CHANGES "end) "

#define GIVES_UP "ERR Script has written, and so has another one that it would have to wait for"

enum declares { DECLARES_ALL, DECLARES_FIRST, DECLARES_NONE };

/* ---- What is sent ---- */

static enum declares draw_declares(struct users *users, const struct request *request) {
    static const enum declares any[] = {DECLARES_ALL,   DECLARES_ALL,   DECLARES_ALL, DECLARES_ALL,
                                        DECLARES_FIRST, DECLARES_FIRST, DECLARES_NONE};
    enum declares declares = any[rng_below(&users->rng, 7)];
    bool half_is_seen = request->inner == KIND_SCRIPT_ADD; /* by who reads both */
    bool may_be_dirty = users->options.dirty_alone ? !users->dirty_away : !half_is_seen;
    return declares == DECLARES_FIRST && !may_be_dirty ? DECLARES_ALL : declares;
}

/* The text, or what stands for it. */
static void write_body(struct user *user, const char *body, bool whole) {
    char text[1000];
    int n = snprintf(text, sizeof text, "%s-- %llu", body,
                     (unsigned long long)user->users->script_version);
    check(n > 0 && (size_t)n < sizeof text);
    if (whole) {
        wire_bulk(&user->out, bytes_make(text, (size_t)n));
        return;
    }
    unsigned char sha[SHA1_BYTES];
    char hex[2 * SHA1_BYTES + 1];
    sha1(bytes_make(text, (size_t)n), sha);
    for (unsigned i = 0; i < SHA1_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", sha[i]);
    }
    wire_bulk(&user->out, bytes_of_text(hex));
}

static void write_script(struct user *user, struct request *request, bool in_multi) {
    struct users *users = user->users;
    if (rng_below(&users->rng, 4) == 0) {
        users->script_version++;
    }
    struct text out = user->out;
    text_init(&user->out);
    user_write_steps(user, request);
    struct text steps = user->out;
    user->out = out;
    struct steps_words keys = {.count = 0}, args = {.count = 0};
    bool counts_changes = request->inner == KIND_SCRIPT_CAS;
    if (counts_changes) {
        struct wire_value set; /* SET key value */
        check(value_read(text_bytes(&steps), &users->arena, &set) > 0 && set.count == 3);
        steps_add(&keys, set.items[1].text);
        steps_add(&args, set.items[1].text);
        steps_add(&args, set.items[2].text);
    } else {
        steps_split(text_bytes(&steps), &users->arena, &keys, &args);
    }
    enum declares declares = draw_declares(users, request);
    size_t declared = declares == DECLARES_ALL                       ? keys.count
                      : declares == DECLARES_FIRST && keys.count > 0 ? 1
                                                                     : 0;
    request->dirty =
        declared > 0 && declared < keys.count && !in_multi && request->inner != KIND_SCRIPT_READ;
    users->dirty_away |= request->dirty;
    bool function = (users->library_known || user->library_sent) && rng_below(&users->rng, 3) == 0;
    wire_array(&user->out, 3 + declared + args.count);
    if (function) {
        wire_bulk(&user->out, BYTES("FCALL"));
        wire_bulk(&user->out, counts_changes ? BYTES("changes") : BYTES("steps"));
    } else {
        uint64_t *known = &user->scripts_known[counts_changes];
        bool whole = *known != users->script_version || rng_below(&users->rng, 3) == 0;
        *known = users->script_version;
        bool reads = request->inner == KIND_SCRIPT_READ && rng_below(&users->rng, 2) == 0;
        char name[16];
        snprintf(name, sizeof name, "EVAL%s%s", whole ? "" : "SHA", reads ? "_RO" : "");
        wire_bulk(&user->out, bytes_of_text(name));
        write_body(user, counts_changes ? COUNT_CHANGES : STEPS_SCRIPT, whole);
    }
    wire_bulk(&user->out, steps_number(&users->arena, declared));
    for (size_t i = 0; i < declared; i++) {
        wire_bulk(&user->out, keys.list[i]);
    }
    for (size_t i = 0; i < args.count; i++) {
        wire_bulk(&user->out, args.list[i]);
    }
    text_fini(&steps);
}

static void send_in_multi(struct user *user) {
    static const enum kind kinds[] = {KIND_SCRIPT_COUNT, KIND_SCRIPT_ADD, KIND_SCRIPT_READ,
                                      KIND_SCRIPT_LISTS, KIND_SCRIPT_CAS, KIND_SCRIPT_SHARED};
    struct users *users = user->users;
    struct request script = {
        .inner = kinds[rng_below(&users->rng, sizeof kinds / sizeof kinds[0])],
        .key = (unsigned)rng_below(&users->rng, 64),
    };
    wire_requestf(&user->out, "MULTI");
    user_issue(user, KIND_QUEUED, 0);
    write_script(user, &script, true);
    user_issue(user, KIND_EXEC_SCRIPT, 0);
    struct request *exec = pending_at(user, user->pending_count - 1);
    script.kind = KIND_EXEC_SCRIPT;
    script.at_ns = exec->at_ns;
    *exec = script;
}

void script_send(struct user *user, struct request *request) {
    switch (request->kind) {
    case KIND_LIBRARY:
        user->library_sent = true;
        wire_array(&user->out, 4);
        wire_bulk(&user->out, BYTES("FUNCTION"));
        wire_bulk(&user->out, BYTES("LOAD"));
        wire_bulk(&user->out, BYTES("REPLACE"));
        wire_bulk(&user->out, BYTES(LIBRARY));
        break;
    case KIND_SCRIPT_MULTI:
        send_in_multi(user);
        break;
    case KIND_EXEC_SCRIPT:
        wire_requestf(&user->out, "EXEC");
        break;
    default:
        request->inner = request->kind;
        write_script(user, request, false);
    }
}

/* ---- What comes back ---- */

/* What a script has done, as the request that asks for the same without one. */
static struct request as(const struct request *script, enum kind kind) {
    struct request request = *script;
    request.kind = kind;
    return request;
}

static struct request second_of(const struct request *script, enum kind kind) {
    struct request request = as(script, kind);
    request.key = script->other;
    request.floor = script->floor_other;
    return request;
}

static const struct {
    enum kind script, exec;
} twins[] = {
    {KIND_SCRIPT_ADD, KIND_EXEC_ADD},
    {KIND_SCRIPT_READ, KIND_EXEC_READ},
    {KIND_SCRIPT_GROUP, KIND_EXEC_GROUP},
    {KIND_SCRIPT_LISTS, KIND_EXEC_LISTS},
};

static bool find_twin(const struct request *script, struct request *ret) {
    for (size_t i = 0; i < sizeof twins / sizeof twins[0]; i++) {
        if (twins[i].script == script->inner) {
            *ret = as(script, twins[i].exec);
            return true;
        }
    }
    return false;
}

static void ask(struct user *user, const struct request *request, const struct wire_value *value) {
    user_ops[request->kind].reply(user, request, value);
}

/* The answer of the script itself. */
static const struct wire_value *answer_of(const struct request *request,
                                          const struct wire_value *value) {
    bool wrapped = request->kind == KIND_EXEC_SCRIPT && value != NULL && value->type == '*' &&
                   value->count == 1;
    return wrapped ? &value->items[0] : value;
}

static bool gives_up(const struct request *request, const struct wire_value *answer) {
    return answer != NULL && answer->type == '-' && request->dirty &&
           bytes_equal(answer->text, BYTES(GIVES_UP));
}

/* It has done the first thing and then no more. */
static void leave_half(struct user *user, const struct request *request) {
    struct users *users = user->users;
    user_wants(user, request, &(struct wire_value){.type = '-'}, !users->options.dirty_alone,
               "another one has written, and there is none");
    if (request->inner == KIND_SCRIPT_COUNT) {
        users->counters[request->key].answered++;
        users->counters[request->other].asked--;
    } else if (request->inner == KIND_SCRIPT_LISTS) {
        user_refuse_value(users, request->value + 1);
    }
}

static void script_answered(struct user *user, const struct request *request,
                            const struct wire_value *answer) {
    struct users *users = user->users;
    struct request twin;
    if (gives_up(request, answer)) {
        leave_half(user, request);
        return;
    }
    if (find_twin(request, &twin)) {
        ask(user, &twin, answer);
        return;
    }
    user_wants(user, request, answer, answer->type == '*' && answer->count == 2,
               "not what it returns");
    const struct wire_value *items = answer->items;
    switch (request->inner) {
    case KIND_SCRIPT_COUNT: {
        struct request first = as(request, KIND_INCREMENT);
        struct request second = second_of(request, KIND_INCREMENT);
        uint64_t n = user_number_of(&items[0]), m = user_number_of(&items[1]);
        /* They are not replies, but what a script makes of them. */
        user_wants(user, request, answer,
                   n <= users->counters[first.key].asked && m <= users->counters[second.key].asked,
                   "more than all have asked for");
        user_wants(user, request, answer, users->flushed || (n > first.floor && m > second.floor),
                   "something that was added is lost");
        users->counters[first.key].answered++;
        users->counters[second.key].answered++;
        break;
    }
    case KIND_SCRIPT_CAS: {
        uint64_t n = user_number_of(&items[0]);
        struct counter *counter = &users->cas[request->key];
        user_wants(user, request, answer,
                   (items[0].type == '$' || items[0].type == '_') && (int64_t)n == items[1].integer,
                   "no number, or another one");
        user_wants(user, request, answer, n + 1 <= counter->asked, "more than all have asked for");
        user_wants(user, request, answer, n >= request->floor || users->flushed,
                   "a change is lost");
        counter->answered++;
        break;
    }
    case KIND_SCRIPT_SHARED: {
        struct request set = as(request, KIND_SHARED_SET);
        struct request get = second_of(request, KIND_SHARED_GET);
        ask(user, &get, &items[1]);
        ask(user, &set, &items[0]);
        break;
    }
    default: {
        struct request publish = as(request, KIND_PUBLISH);
        struct request get = second_of(request, KIND_SHARED_GET);
        ask(user, &get, &items[0]);
        ask(user, &publish, &items[1]);
    }
    }
}

void script_reply(struct user *user, const struct request *request,
                  const struct wire_value *value) {
    struct users *users = user->users;
    if (request->kind == KIND_LIBRARY) {
        user_wants(user, request, value,
                   value->type == '$' && bytes_equal(value->text, BYTES("sim")), "not loaded");
        users->library_known = true;
        return;
    }
    if (request->kind == KIND_SCRIPT_MULTI) {
        user_wants(user, request, value,
                   value->type == '+' && bytes_equal(value->text, BYTES("OK")), "not OK");
        return;
    }
    users->counts.scripts++;
    users->dirty_away &= !request->dirty;
    script_answered(user, request, answer_of(request, value));
}

/* ---- The history ---- */

/* The first thing that it does, and the second: by themselves, as others may have seen one without
 * the other. */
static void record_halves(struct user *user, const struct request *request, bool both,
                          enum op_outcome outcome) {
    struct users *users = user->users;
    struct history *history = &users->history;
    for (unsigned i = 0; i < (both ? 2 : 1); i++) {
        if (request->inner == KIND_SCRIPT_COUNT) {
            uint32_t key =
                user_key_named(users, "counter:%u", i == 0 ? request->key : request->other, 0);
            user_record(user, request, "half of EVAL", outcome);
            history_step(history, STEP_INCR, key, 0);
        } else if (request->inner == KIND_SCRIPT_LISTS) {
            uint32_t key = user_key_named(users, "list:%u", (request->key + 2 * i) % LISTS, 0);
            user_record(user, request, "half of EVAL", outcome);
            history_append(history, key, request->value + i, 0);
        }
    }
}

void script_record(struct user *user, const struct request *request,
                   const struct wire_value *value) {
    struct users *users = user->users;
    struct history *history = &users->history;
    const struct wire_value *answer = answer_of(request, value);
    struct request twin;
    bool halves = request->inner == KIND_SCRIPT_COUNT || request->inner == KIND_SCRIPT_LISTS;
    if (halves && gives_up(request, answer)) {
        record_halves(user, request, false, OP_OK);
        return;
    }
    if (halves && answer == NULL && request->dirty && !users->options.dirty_alone) {
        record_halves(user, request, true, OP_UNKNOWN);
        return;
    }
    if (find_twin(request, &twin)) {
        user_ops[twin.kind].record(user, &twin, answer);
        return;
    }
    enum op_outcome outcome = answer != NULL ? OP_OK : OP_UNKNOWN;
    const struct wire_value *items = answer != NULL ? answer->items : NULL;
    switch (request->inner) {
    case KIND_SCRIPT_COUNT:
        user_record(user, request, "EVAL", outcome);
        history_step(history, STEP_INCR, user_key_named(users, "counter:%u", request->key, 0),
                     items != NULL ? user_number_of(&items[0]) : 0);
        history_step(history, STEP_INCR, user_key_named(users, "counter:%u", request->other, 0),
                     items != NULL ? user_number_of(&items[1]) : 0);
        break;
    case KIND_SCRIPT_CAS:
        user_record(user, request, "EVAL", outcome);
        uint32_t key = user_key_named(users, "cas:%u", request->key, 0);
        if (items != NULL) {
            history_step(history, STEP_READ, key, user_token_of(&items[0]));
        }
        history_step(history, STEP_WRITE, key, request->value);
        break;
    case KIND_SCRIPT_SHARED:
        user_record(user, request, "EVAL", outcome);
        history_step(history, STEP_WRITE, user_key_named(users, "shared:%u", request->key, 0),
                     request->value);
        if (items != NULL && items[0].type == '+' && request->other != request->key) {
            history_step(history, STEP_READ, user_key_named(users, "shared:%u", request->other, 0),
                         value_number(items[1].text));
        }
        break;
    default:
        break;
    }
}
