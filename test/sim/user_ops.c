/* SPDX-License-Identifier: BSD-3-Clause */
/* user_ops: what users ask, what must come back, and what of it goes into the history. A table at
 * the end has a row for each: to add a command, add a row and its two or three functions. Long, and
 * one file: what a row asks and how it judges the answer belong side by side, and the rows share
 * the values that users expect.
 */
#include "test/sim/user_private.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

static void wrong(const struct user *user, const struct request *request,
                  const struct wire_value *value, const char *why) __attribute__((noreturn));

/* ---- Values ---- */

static uint64_t value_mixed(uint64_t n) {
    return n * 0x9e3779b97f4a7c15u;
}

/* Behind the number that the value begins with; most are short. */
static size_t value_length(const struct users *users, uint64_t n) {
    uint64_t x = value_mixed(n);
    size_t length = (size_t)(x >> 40) % users->options.value_max_bytes;
    return (x & 15) == 0 ? length : length % 64;
}

/* What stands for number n in a user's own key: its length and bytes follow from n. */
static void value_text(const struct users *users, uint64_t n, struct text *to) {
    uint64_t x = value_mixed(n);
    size_t length = value_length(users, n);
    text_appendf(to, "%llu:", (unsigned long long)n);
    for (size_t i = 0; i < length; i++) {
        text_append_char(to, (char)('a' + (x + i * 7) % 26));
    }
}

uint64_t value_number(struct bytes text) {
    uint64_t n = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return n;
}

void own_ghost(struct own_key *own, uint64_t value) {
    for (unsigned i = 0; i < own->ghosts_count; i++) {
        if (own->ghosts[i] == value) {
            return;
        }
    }
    own->ghosts = realloc(own->ghosts, (own->ghosts_count + 1) * sizeof *own->ghosts);
    check(own->ghosts != NULL);
    own->ghosts[own->ghosts_count++] = value;
}

void user_refuse_value(struct users *users, uint64_t value) {
    uint64_t word = value / 64;
    if (word >= users->refused_words) {
        uint64_t words = 2 * word + 16;
        users->refused = realloc(users->refused, words * sizeof *users->refused);
        check(users->refused != NULL);
        memset(users->refused + users->refused_words, 0,
               (words - users->refused_words) * sizeof *users->refused);
        users->refused_words = words;
    }
    users->refused[word] |= UINT64_C(1) << value % 64;
}

bool value_is_refused(const struct users *users, uint64_t value) {
    return value / 64 < users->refused_words && (users->refused[value / 64] >> value % 64 & 1);
}

static bool own_may_be(const struct user *user, const struct own_key *own, uint64_t value) {
    bool may = own->value == value || user->moves_lost;
    for (unsigned i = 0; i < own->ghosts_count && !may; i++) {
        may = own->ghosts[i] == value;
    }
    return may;
}

/* ---- What is sent ---- */

static void own_name(const struct user *user, unsigned key, char ret[48]) {
    snprintf(ret, 48, "own:%u:%u", user->index, key);
}

static void send_own(struct user *user, struct request *request) {
    struct users *users = user->users;
    char key[48];
    own_name(user, request->key, key);
    if (request->kind == KIND_SET) {
        struct text value;
        text_init(&value);
        request->value = ++users->values;
        value_text(users, request->value, &value);
        wire_array(&user->out, 3);
        wire_bulk(&user->out, BYTES("SET"));
        wire_bulk(&user->out, bytes_of_text(key));
        wire_bulk(&user->out, text_bytes(&value));
        text_fini(&value);
    } else {
        wire_requestf(&user->out, "%s %s", request->kind == KIND_GET ? "GET" : "DEL", key);
    }
}

/* All of the user's keys at once, or two of them. */
static void send_own_many(struct user *user, struct request *request) {
    struct users *users = user->users;
    char key[48], target[48];
    request->other = (unsigned)rng_below(&users->rng, users->options.own_keys);
    own_name(user, request->key, key);
    own_name(user, request->other, target);
    switch (request->kind) {
    case KIND_RENAME:
        wire_requestf(&user->out, "RENAME %s %s", key, target);
        return;
    case KIND_COPY:
        wire_requestf(&user->out, "COPY %s %s REPLACE", key, target);
        return;
    case KIND_MGET:
        wire_array(&user->out, 1 + users->options.own_keys);
        wire_bulk(&user->out, BYTES("MGET"));
        break;
    default:
        wire_array(&user->out, 1 + 2 * users->options.own_keys);
        wire_bulk(&user->out, BYTES("MSET"));
        request->value = users->values + 1;
        users->values += users->options.own_keys;
    }
    for (unsigned i = 0; i < users->options.own_keys; i++) {
        own_name(user, i, key);
        wire_bulk(&user->out, bytes_of_text(key));
        if (request->kind == KIND_MSET) {
            struct text value;
            text_init(&value);
            value_text(users, request->value + i, &value);
            wire_bulk(&user->out, text_bytes(&value));
            text_fini(&value);
        }
    }
}

/* The keys of a group are always written together. */
static unsigned group_size(unsigned group) {
    return 2 + group * 2 < GROUP_MAX ? 2 + group * 2 : GROUP_MAX;
}

/* A command on all keys of a group, in an order of its own; with a value for each if it is not 0.
 */
static void write_group(struct user *user, const char *command, unsigned group, uint64_t value) {
    unsigned n = group_size(group), first = (unsigned)rng_below(&user->users->rng, n);
    wire_array(&user->out, 1 + n * (value != 0 ? 2 : 1));
    wire_bulk(&user->out, bytes_of_text(command));
    for (unsigned i = 0; i < n; i++) {
        char text[48];
        snprintf(text, sizeof text, "group:%u:%u", group, (first + i) % n);
        wire_bulk(&user->out, bytes_of_text(text));
        if (value != 0) {
            snprintf(text, sizeof text, "%llu", (unsigned long long)value);
            wire_bulk(&user->out, bytes_of_text(text));
        }
    }
}

/* A command on two neighbours in a group: `first` is the one, the other comes after it. */
static void write_two(struct user *user, const char *command, unsigned group, unsigned first,
                      const char *option) {
    wire_requestf(&user->out, "%s group:%u:%u group:%u:%u%s", command, group, first, group,
                  (first + 1) % group_size(group), option);
}

static void send_group(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned group = request->key %= GROUPS;
    request->other = (unsigned)rng_below(&users->rng, group_size(group));
    switch (request->kind) {
    case KIND_GROUP_SET:
    case KIND_GROUP_NEW:
        request->value = ++users->values;
        write_group(user, request->kind == KIND_GROUP_SET ? "MSET" : "MSETNX", group,
                    request->value);
        break;
    case KIND_GROUP_GET:
        write_group(user, "MGET", group, 0);
        break;
    case KIND_GROUP_DELETE:
        write_group(user, "DEL", group, 0);
        break;
    case KIND_GROUP_EXISTS:
        write_group(user, "EXISTS", group, 0);
        break;
    case KIND_GROUP_COPY: /* they are equal, so nobody sees it, unless it mixes two moments */
        write_two(user, "COPY", group, request->other, " REPLACE");
        break;
    default:
        write_two(user, "LCS", group, request->other, "");
    }
}

/* Writes a group, takes one of its keys away and puts it back, and reads it. `between` comes before
 * each. */
static void write_group_steps(struct user *user, unsigned group, uint64_t value,
                              void (*between)(struct user *user)) {
    unsigned n = group_size(group), first = (unsigned)rng_below(&user->users->rng, n);
    between(user);
    write_group(user, "MSET", group, value);
    between(user);
    write_two(user, "RENAME", group, first, "");
    between(user);
    wire_requestf(&user->out, "COPY group:%u:%u group:%u:%u", group, (first + 1) % n, group, first);
    between(user);
    write_group(user, "MGET", group, 0);
}

static void queue_next(struct user *user) {
    user_issue(user, KIND_QUEUED, 0);
}

static void nothing_between(struct user *user) {
}

static void send_group_multi(struct user *user, struct request *request) {
    unsigned group = request->key % GROUPS;
    uint64_t value = ++user->users->values;
    wire_requestf(&user->out, "MULTI");
    write_group_steps(user, group, value, queue_next);
    user_issue(user, KIND_EXEC_GROUP, group);
    pending_at(user, user->pending_count - 1)->value = value;
}

/* MULTI, what is queued, EXEC: each is a request with a reply of its own. */
static void send_multi(struct user *user, struct request *request) {
    struct users *users = user->users;
    bool add = request->kind == KIND_PAIR_ADD;
    wire_requestf(&user->out, "MULTI");
    for (unsigned i = 0; i < 2; i++) {
        user_issue(user, KIND_QUEUED, i);
        wire_requestf(&user->out, "%s pair:%u", add ? "INCR" : "GET", i);
    }
    if (add) {
        users->pair.asked++;
    }
    user_issue(user, add ? KIND_EXEC_ADD : KIND_EXEC_READ, 0);
}

static bool adds(const struct request *request) {
    return request->kind == KIND_EXEC_ADD || request->kind == KIND_VIEW_ADD;
}

/* The same without MULTI, by one thread on the shards of all. */
static void send_view(struct user *user, struct request *request) {
    struct users *users = user->users;
    const char *name = adds(request) ? "INCR" : "GET";
    users->pair.asked += adds(request);
    request->floor = users->pair.answered;
    wire_requestf(&user->out, "DEBUG VIEW %s pair:0 ; %s pair:1", name, name);
}

static void send_exec(struct user *user, struct request *request) {
    const struct users *users = user->users;
    request->floor = users->pair.answered;
    wire_requestf(&user->out, "EXEC");
}

/* Names of one length, read by a command as long as WATCH: so one name often lies where another lay
 * in the request before, and a server that takes what it found out there for what it needs here is
 * seen. */
static void send_cas(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned key = request->key %= CAS_KEYS;
    switch (request->kind) {
    case KIND_CAS:
        user->cas = CAS_READING;
        wire_requestf(&user->out, "WATCH cas:%u", key);
        user_issue(user, KIND_CAS_READ, key);
        break;
    case KIND_CAS_WRITE:
        user->cas = CAS_NOT;
        users->cas[key].asked++;
        wire_requestf(&user->out, "MULTI");
        user_issue(user, KIND_QUEUED, 0);
        uint64_t token = ++users->values;
        wire_requestf(&user->out, "SET cas:%u %llu:%llu", key,
                      (unsigned long long)user->cas_count + 1, (unsigned long long)token);
        user_issue(user, KIND_EXEC_CAS, key);
        struct request *exec = pending_at(user, user->pending_count - 1);
        exec->value = token;
        exec->before = user->cas_token;
        break;
    default:
        request->floor = users->cas[key].answered;
        wire_requestf(&user->out, "%s cas:%u", request->kind == KIND_CAS_READ ? "GET" : "GETEX",
                      key);
    }
}

/* The first ones are strings, the last two a list and a stream. */
#define LIST_LIST   3
#define LIST_STREAM 4

static void append_token(struct user *user, unsigned list, uint64_t token) {
    const char *form = list == LIST_LIST     ? "RPUSH list:%u %08llu;"
                       : list == LIST_STREAM ? "XADD list:%u * token %08llu;"
                                             : "APPEND list:%u %08llu;";
    wire_requestf(&user->out, form, list, (unsigned long long)token);
}

static void ask_for_list(struct user *user, unsigned list) {
    const char *form = list == LIST_LIST     ? "LRANGE list:%u 0 -1"
                       : list == LIST_STREAM ? "XRANGE list:%u - +"
                                             : "GET list:%u";
    wire_requestf(&user->out, form, list);
}

/* A read of one in the form that a string has. */
static struct bytes list_text(struct users *users, const struct wire_value *value) {
    if (value->type != '*') {
        return value->text;
    }
    char *text = arena_alloc(&users->arena, value->count * TOKEN_BYTES + 1);
    for (size_t i = 0; i < value->count; i++) {
        const struct wire_value *item = &value->items[i];
        bool entry = item->type == '*' && item->count == 2 && item->items[1].type == '*' &&
                     item->items[1].count == 2;
        struct bytes token = entry ? item->items[1].items[1].text : item->text;
        if (token.len != TOKEN_BYTES) {
            return bytes_make("?", 1);
        }
        memcpy(text + i * TOKEN_BYTES, token.ptr, TOKEN_BYTES);
    }
    return bytes_make(text, value->count * TOKEN_BYTES);
}

/* The length that the answer to an append tells, in bytes; 0: it tells none. */
static uint64_t list_length(unsigned list, const struct wire_value *value) {
    return value == NULL || list == LIST_STREAM ? 0
           : list == LIST_LIST                  ? (uint64_t)value->integer * TOKEN_BYTES
                                                : (uint64_t)value->integer;
}

static bool list_appended(unsigned list, const struct wire_value *value) {
    return value->type == (list == LIST_STREAM ? '$' : ':');
}

/* Appends to one list, reads the next and appends to the one after it. */
static void send_lists(struct user *user, struct request *request) {
    unsigned list = request->key % LISTS;
    uint64_t token = user->users->values + 1;
    user->users->values += 2;
    wire_requestf(&user->out, "MULTI");
    user_issue(user, KIND_QUEUED, 0);
    append_token(user, list, token);
    user_issue(user, KIND_QUEUED, 0);
    ask_for_list(user, (list + 1) % LISTS);
    user_issue(user, KIND_QUEUED, 0);
    append_token(user, (list + 2) % LISTS, token + 1);
    user_issue(user, KIND_EXEC_LISTS, list);
    pending_at(user, user->pending_count - 1)->value = token;
}

/* ---- What scripts call ---- */

static void write_increment(struct user *user, unsigned counter);

static void write_shared(struct user *user, unsigned key, uint64_t value) {
    if (value != 0) {
        wire_requestf(&user->out, "SET shared:%u %llu", key, (unsigned long long)value);
    } else {
        wire_requestf(&user->out, "GET shared:%u", key);
    }
}

void user_write_steps(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned shared = users->options.shared_keys;
    switch (request->inner) {
    case KIND_SCRIPT_COUNT:
        request->key %= COUNTERS;
        request->other =
            (request->key + 1 + (unsigned)rng_below(&users->rng, COUNTERS - 1)) % COUNTERS;
        request->floor = users->counters[request->key].answered;
        request->floor_other = users->counters[request->other].answered;
        write_increment(user, request->key);
        write_increment(user, request->other);
        break;
    case KIND_SCRIPT_ADD:
    case KIND_SCRIPT_READ:
        request->floor = users->pair.answered;
        for (unsigned i = 0; i < 2; i++) {
            wire_requestf(&user->out, "%s pair:%u",
                          request->inner == KIND_SCRIPT_ADD ? "INCR" : "GET", i);
        }
        users->pair.asked += request->inner == KIND_SCRIPT_ADD;
        break;
    case KIND_SCRIPT_GROUP:
        request->key %= GROUPS;
        request->value = ++users->values;
        write_group_steps(user, request->key, request->value, nothing_between);
        break;
    case KIND_SCRIPT_LISTS:
        request->key %= LISTS;
        request->value = users->values + 1;
        users->values += 2;
        append_token(user, request->key, request->value);
        ask_for_list(user, (request->key + 1) % LISTS);
        append_token(user, (request->key + 2) % LISTS, request->value + 1);
        break;
    case KIND_SCRIPT_CAS:
        request->key %= CAS_KEYS;
        request->value = ++users->values;
        request->floor = users->cas[request->key].answered;
        users->cas[request->key].asked++;
        wire_requestf(&user->out, "SET cas:%u %llu", request->key,
                      (unsigned long long)request->value);
        break;
    case KIND_SCRIPT_SHARED:
        request->key %= shared;
        request->other = (unsigned)rng_below(&users->rng, shared);
        request->value = ++users->values;
        write_shared(user, request->key, request->value);
        write_shared(user, request->other, 0);
        break;
    default:
        request->other = (unsigned)rng_below(&users->rng, shared);
        write_shared(user, request->other, 0);
        topic_publish(user, request);
    }
}

/* ---- Keys that run out together ---- */

static void mortal_name(unsigned group, unsigned key, char ret[48]) {
    snprintf(ret, 48, "mortal:%u:%u", group, key);
}

static void write_mortal_get(struct user *user, unsigned group) {
    char key[48];
    wire_array(&user->out, 1 + group_size(group));
    wire_bulk(&user->out, BYTES("MGET"));
    for (unsigned i = 0; i < group_size(group); i++) {
        mortal_name(group, i, key);
        wire_bulk(&user->out, bytes_of_text(key));
    }
}

static void send_mortal(struct user *user, struct request *request) {
    struct users *users = user->users;
    unsigned group = request->key %= GROUPS, n = group_size(group);
    char text[48];
    request->other = (unsigned)rng_below(&users->rng, 12);
    switch (request->kind) {
    case KIND_MORTAL_SET:
        request->value = ++users->values;
        wire_array(&user->out, 2 + 2 * n + 2);
        wire_bulk(&user->out, BYTES("MSETEX"));
        snprintf(text, sizeof text, "%u", n);
        wire_bulk(&user->out, bytes_of_text(text));
        for (unsigned i = 0; i < n; i++) {
            mortal_name(group, i, text);
            wire_bulk(&user->out, bytes_of_text(text));
            snprintf(text, sizeof text, "%llu", (unsigned long long)request->value);
            wire_bulk(&user->out, bytes_of_text(text));
        }
        wire_bulk(&user->out, BYTES("PX"));
        snprintf(text, sizeof text, "%u", 1 + request->other);
        wire_bulk(&user->out, bytes_of_text(text));
        break;
    case KIND_MORTAL_GET:
        write_mortal_get(user, group);
        break;
    default: /* who finds them gone, deletes them */
        mortal_name(group, request->other % n, text);
        if (request->other < 3) {
            wire_requestf(&user->out, "RANDOMKEY");
        } else {
            wire_requestf(&user->out, "GET %s", text);
        }
    }
}

/* Reads them several times, alone and where others must first be asked for values. */
static void send_mortal_multi(struct user *user, struct request *request) {
    unsigned group = request->key % GROUPS;
    wire_requestf(&user->out, "MULTI");
    for (unsigned i = 0; i < 3; i++) {
        user_issue(user, KIND_QUEUED, 0);
        write_mortal_get(user, group);
        user_issue(user, KIND_QUEUED, 0);
        wire_requestf(&user->out, "TIME");
        user_issue(user, KIND_QUEUED, 0);
        wire_requestf(&user->out, "LCS mortal:%u:0 mortal:%u:1", group, group);
    }
    user_issue(user, KIND_EXEC_MORTAL, group);
}

/* ---- Pauses ---- */

#define STAND_SLACK_NS (2 * 1000 * 1000)

static void write_pause(struct user *user) {
    unsigned ms = 4 + (unsigned)rng_below(&user->users->rng, 40);
    wire_requestf(&user->out, "CLIENT PAUSE %u WRITE", ms);
    user->stand_until_ns = sim_now_ns(user->users->sim) + ms * 1000000ull - STAND_SLACK_NS;
    user->stand_number++;
    user->stand_since_ns = 0;
    text_clear(&user->stood);
}

static void send_stand(struct user *user, struct request *request) {
    request->value = user->stand_number;
    if (request->kind == KIND_STAND) {
        write_pause(user);
        request->value = user->stand_number;
    } else if (request->kind == KIND_STAND_MULTI) {
        wire_requestf(&user->out, "MULTI");
        user_issue(user, KIND_QUEUED, 0);
        wire_requestf(&user->out, "MGET counter:0 counter:1 counter:2");
        user_issue(user, KIND_QUEUED, 0);
        write_pause(user);
        user_issue(user, KIND_EXEC_STAND, 0);
    } else if (request->kind == KIND_EXEC_STAND) {
        wire_requestf(&user->out, "EXEC");
    } else {
        user->stand_reads = true;
        wire_requestf(&user->out,
                      "MGET counter:0 counter:1 counter:2 pair:0 pair:1 cas:0 cas:1 cas:2 list:0 "
                      "list:1 list:2 shared:0 group:0:0 group:0:1 group:1:0 group:1:1 group:2:0");
    }
}

static void send_queued(struct user *user, struct request *request) {
    /* Its words are written by whoever issues it. */
}

/* A slot that somebody uses goes to some shard. */
static void send_move(struct user *user) {
    static const char *const names[] = {"counter:%u", "pair:%u",  "list:%u",    "shared:%u",
                                        "cas:%u",     "own:0:%u", "group:0:%u", "mortal:0:%u",
                                        "queue:%u",   "stream:%u"};
    struct users *users = user->users;
    unsigned workers = world_server(users->world, users->options.server)->workers_count;
    char name[32];
    snprintf(name, sizeof name, names[rng_below(&users->rng, 10)],
             (unsigned)rng_below(&users->rng, 3));
    wire_requestf(&user->out, "DEBUG MOVE-SLOT %u %u", key_slot(bytes_of_text(name)),
                  (unsigned)rng_below(&users->rng, workers));
}

static void send_trouble(struct user *user, struct request *request) {
    static const char *const settings[] = {
        "pipeline-order strict",
        "pipeline-order writes",
        "pipeline-order relaxed",
        "timeout 1",
        "timeout 0",
        "maxmemory-clients 900000",
        "maxmemory-clients 0",
    };
    unsigned n = (unsigned)rng_below(&user->users->rng, 64);
    switch (request->kind) {
    case KIND_MOVE:
        send_move(user);
        break;
    case KIND_FLUSH:
        user->users->flushed = true;
        wire_requestf(&user->out, n % 2 ? "FLUSHALL" : "FLUSHALL ASYNC");
        break;
    case KIND_SWAP:
        wire_requestf(&user->out, "SWAPDB 1 2");
        break;
    case KIND_PAUSE:
        wire_requestf(&user->out, "CLIENT PAUSE %u %s", 1 + n, n % 2 ? "WRITE" : "ALL");
        break;
    case KIND_CONFIG:
        wire_requestf(&user->out, "CONFIG SET %s", settings[n % 7]);
        break;
    case KIND_UNBLOCK: /* one of the latest connections, most likely */
        user->users->unblocks_early = true;
        wire_requestf(&user->out, "CLIENT UNBLOCK %lld %s",
                      (long long)user->users->processes -
                          (long long)rng_below(&user->users->rng, user->users->options.count),
                      n % 2 ? "TIMEOUT" : "ERROR");
        break;
    default:
        wire_requestf(&user->out, "CLIENT KILL TYPE normal SKIPME %s", n % 2 ? "yes" : "no");
    }
}

/* The first ones are strings, the others a field, a score and bits of a string. */
#define COUNTER_STRINGS 3

static const char *counter_form(const struct request *request) {
    static const char *const adds[] = {"INCR counter:%u", "HINCRBY counter:%u n 1",
                                       "ZINCRBY counter:%u 1 n",
                                       "BITFIELD counter:%u INCRBY u32 8 1"};
    static const char *const reads[] = {"GET counter:%u", "HGET counter:%u n",
                                        "ZSCORE counter:%u n", "BITFIELD_RO counter:%u GET u32 8"};
    unsigned form = request->key < COUNTER_STRINGS ? 0 : 1 + (request->key - COUNTER_STRINGS) % 3;
    return request->kind == KIND_INCREMENT ? adds[form] : reads[form];
}

static void write_increment(struct user *user, unsigned counter) {
    user->users->counters[counter].asked++;
    const struct request request = {.kind = KIND_INCREMENT, .key = counter};
    wire_requestf(&user->out, counter_form(&request), counter);
}

static void send_counter(struct user *user, struct request *request) {
    request->key %= COUNTERS;
    request->floor = user->users->counters[request->key].answered;
    if (request->kind == KIND_INCREMENT) {
        write_increment(user, request->key);
    } else {
        wire_requestf(&user->out, counter_form(request), request->key);
    }
}

static void send_list(struct user *user, struct request *request) {
    struct users *users = user->users;
    request->key %= LISTS;
    request->floor = users->lists[request->key].answered;
    if (request->kind == KIND_APPEND) {
        request->value = ++users->values;
        append_token(user, request->key, request->value);
    } else {
        ask_for_list(user, request->key);
    }
}

void user_begin_trail(struct user *user) {
    const struct server *server = world_server(user->users->world, user->users->options.server);
    user->trail = 0;
    for (unsigned i = 0; i < TRAIL_KEYS; i++) {
        int n = snprintf(user->trail_names[i], sizeof user->trail_names[i], "trail:%llu:%u",
                         (unsigned long long)user->process, i);
        user->trail_keys[i] =
            key_make(&server->secret, bytes_make(user->trail_names[i], (size_t)n));
    }
}

static void send_trail(struct user *user, struct request *request) {
    request->value = ++user->trail;
    wire_requestf(&user->out, "SET %s %llu", user->trail_names[request->value % TRAIL_KEYS],
                  (unsigned long long)request->value);
}

static void send_shared(struct user *user, struct request *request) {
    request->key %= user->users->options.shared_keys;
    if (request->kind == KIND_SHARED_SET) {
        request->value = ++user->users->values;
    }
    write_shared(user, request->key, request->value);
}

static void send_plain(struct user *user, struct request *request) {
    switch (request->kind) {
    case KIND_ECHO:
        request->value = ++user->users->values;
        wire_requestf(&user->out, "ECHO %llu", (unsigned long long)request->value);
        break;
    case KIND_SELECT:
        wire_requestf(&user->out, "SELECT 0");
        break;
    case KIND_COUNT_ALL:
        wire_requestf(&user->out, "DBSIZE");
        break;
    case KIND_WAIT:
        wire_requestf(&user->out, "WAIT 1 %u", 1 + request->key % 8 * (request->key % 8) * 2);
        break;
    case KIND_NAME:
        wire_requestf(&user->out, "CLIENT SETNAME user-%u", user->index);
        break;
    default:
        wire_requestf(&user->out, "HELLO 3");
    }
}

/* ---- What must come back ---- */

static void want(const struct user *user, const struct request *request,
                 const struct wire_value *value, bool ok, const char *why) {
    if (!ok) {
        wrong(user, request, value, why);
    }
}

void user_wants(const struct user *user, const struct request *request,
                const struct wire_value *value, bool ok, const char *why) {
    want(user, request, value, ok, why);
}

bool value_is_ok(const struct wire_value *value) {
    return value->type == '+' && bytes_equal(value->text, BYTES("OK"));
}

/* The value of one of its keys, as a read shows it. */
static void check_own(struct user *user, const struct request *request, unsigned key,
                      const struct wire_value *value) {
    const struct own_key *own = &user->own[key];
    if (value->type == '_') {
        want(user, request, value, own_may_be(user, own, 0) || user->users->flushed,
             "the key is gone");
        return;
    }
    want(user, request, value, value->type == '$', "no value");
    uint64_t n = value_number(value->text);
    want(user, request, value, n != 0 && own_may_be(user, own, n), "not what was written last");
    struct text whole;
    text_init(&whole);
    value_text(user->users, n, &whole);
    bool same = bytes_equal(text_bytes(&whole), value->text);
    text_fini(&whole);
    want(user, request, value, same, "the value is damaged");
}

static bool own_is_sure(const struct user *user, const struct own_key *own) {
    return own->ghosts_count == 0 && !user->users->flushed && !user->moves_lost;
}

/* What `source` may be, `target` may be from now on. */
static void own_move(struct own_key *target, const struct own_key *source) {
    target->value = source->value;
    for (unsigned i = 0; i < source->ghosts_count; i++) {
        own_ghost(target, source->ghosts[i]);
    }
}

static void reply_own_many(struct user *user, const struct request *request,
                           const struct wire_value *value) {
    struct own_key *source = &user->own[request->key], *target = &user->own[request->other];
    unsigned all = user->users->options.own_keys;
    switch (request->kind) {
    case KIND_MSET:
        want(user, request, value, value_is_ok(value), "not OK");
        for (unsigned i = 0; i < all; i++) {
            user->own[i].value = request->value + i;
        }
        return;
    case KIND_MGET:
        want(user, request, value, value->type == '*' && value->count == all, "not all keys");
        for (unsigned i = 0; i < all; i++) {
            check_own(user, request, i, &value->items[i]);
        }
        return;
    default:
        break;
    }
    bool done = value_is_ok(value) || (value->type == ':' && value->integer == 1);
    if (!done) { /* there was nothing to move */
        want(user, request, value,
             (value->type == '-' && bytes_equal(value->text, BYTES("ERR no such key"))) ||
                 (value->type == ':' && value->integer == 0) || request->key == request->other,
             "neither done nor refused for want of the key");
        want(user, request, value,
             own_may_be(user, source, 0) || user->users->flushed || request->key == request->other,
             "the key is gone");
        return;
    }
    want(user, request, value, source->value != 0 || !own_is_sure(user, source),
         "moved what was not there");
    if (target != source) {
        own_move(target, source);
        if (request->kind == KIND_RENAME) {
            source->value = 0;
        }
    }
}

/* What was refused had no effect. */
static void want_allowed(const struct user *user, const struct request *request,
                         const struct wire_value *value, uint64_t seen) {
    want(user, request, value, !value_is_refused(user->users, seen), "what was refused was done");
}

/* All keys of a group, read at one moment. */
static void check_whole(const struct user *user, const struct request *request,
                        const struct wire_value *value, unsigned n) {
    want(user, request, value, value->type == '*' && value->count == n, "not all keys");
    for (unsigned i = 0; i < n; i++) {
        const struct wire_value *item = &value->items[i];
        want(user, request, value, item->type == '$' || item->type == '_', "no value");
        want(user, request, value,
             item->type == value->items[0].type && bytes_equal(item->text, value->items[0].text),
             "a torn read");
    }
    want_allowed(user, request, value, value_number(value->items[0].text));
}

static void reply_group(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    unsigned n = group_size(request->key);
    if (request->kind == KIND_GROUP_SET) {
        want(user, request, value, value_is_ok(value), "not OK");
        return;
    }
    if (request->kind == KIND_GROUP_GET) {
        check_whole(user, request, value, n);
        want(user, request, value, value_number(value->items[0].text) <= user->users->values,
             "a value that nobody has written");
        return;
    }
    if (request->kind == KIND_GROUP_LCS) {
        want(user, request, value,
             value->type == '$' && value_number(value->text) <= user->users->values,
             "nothing that two equal values share");
        want_allowed(user, request, value, value_number(value->text));
        return;
    }
    bool counts = request->kind == KIND_GROUP_DELETE || request->kind == KIND_GROUP_EXISTS;
    want(user, request, value,
         value->type == ':' && (value->integer == 0 || value->integer == (counts ? n : 1)),
         "a part of what is written together");
}

/* "5:77": written by number 77. */
uint64_t user_token_of(const struct wire_value *value) {
    const char *colon = value->text.len > 0 ? memchr(value->text.ptr, ':', value->text.len) : NULL;
    if (colon == NULL) {
        return 0;
    }
    size_t skip = (size_t)(colon + 1 - value->text.ptr);
    return value_number(bytes_make(colon + 1, value->text.len - skip));
}

/* The number in a reply of any kind; 0 for none. */
uint64_t user_number_of(const struct wire_value *value) {
    value = value->type == '*' && value->count == 1 ? &value->items[0] : value;
    return value->type == ':' ? (uint64_t)value->integer : value_number(value->text);
}

static void check_counter(struct user *user, const struct request *request,
                          const struct wire_value *value, const struct counter *counter, uint64_t n,
                          bool added) {
    want(user, request, value, n <= counter->asked, "more than all have asked for");
    want(user, request, value, n >= request->floor + added || user->users->flushed,
         "something that was added is lost");
}

static void reply_exec(struct user *user, const struct request *request,
                       const struct wire_value *value) {
    struct users *users = user->users;
    if (request->kind == KIND_EXEC_CAS) {
        users->counts.execs_refused += value->type == '_';
        if (value->type != '_') {
            want(user, request, value,
                 value->type == '*' && value->count == 1 && value_is_ok(&value->items[0]),
                 "not done");
            users->cas[request->key].answered++;
        }
        return;
    }
    if (request->kind == KIND_EXEC_LISTS) {
        want(user, request, value,
             value->type == '*' && value->count == 3 &&
                 list_appended(request->key, &value->items[0]) &&
                 list_appended((request->key + 2) % LISTS, &value->items[2]),
             "not three replies");
        return;
    }
    if (request->kind == KIND_EXEC_GROUP) {
        want(user, request, value,
             value->type == '*' && value->count == 4 && value_is_ok(&value->items[0]) &&
                 value_is_ok(&value->items[1]) && value->items[2].integer == 1,
             "not written, moved and copied");
        const struct wire_value *read = &value->items[3];
        check_whole(user, request, read, group_size(request->key));
        want(user, request, value, value_number(read->items[0].text) == request->value,
             "not what was written in the same transaction");
        return;
    }
    want(user, request, value, value->type == '*' && value->count == 2, "not two replies");
    uint64_t n = user_number_of(&value->items[0]);
    want(user, request, value, n == user_number_of(&value->items[1]), "half a transaction");
    check_counter(user, request, value, &users->pair, n, adds(request));
    users->pair.answered += adds(request);
}

static void reply_cas(struct user *user, const struct request *request,
                      const struct wire_value *value) {
    uint64_t n = user_number_of(value);
    want(user, request, value, value->type == '$' || value->type == '_', "no number");
    check_counter(user, request, value, &user->users->cas[request->key], n, false);
    if (request->kind == KIND_CAS_READ && user->cas == CAS_READING) {
        user->cas = CAS_READ;
        user->cas_key = request->key;
        user->cas_count = n;
        user->cas_token = user_token_of(value);
    }
}

static void reply_queued(struct user *user, const struct request *request,
                         const struct wire_value *value) {
    want(user, request, value, value->type == '+' && bytes_equal(value->text, BYTES("QUEUED")),
         "not queued");
}

/* A read has shown this value of a group, or 0. One that was there and then was not is gone for
 * good, for all who ask afterwards. */
static void note_mortal(struct user *user, const struct request *request,
                        const struct wire_value *value, uint64_t seen) {
    struct users *users = user->users;
    uint64_t now_ns = sim_now_ns(users->sim);
    for (unsigned i = 0; i < MORTALS_KEPT; i++) {
        struct mortal *mortal = &users->mortals[request->key][i];
        if (mortal->value == 0) {
            continue;
        }
        if (mortal->value == seen) {
            want(user, request, value, mortal->gone_ns == 0 || request->at_ns <= mortal->gone_ns,
                 "back again after it was gone");
            mortal->known_ns = mortal->known_ns != 0 ? mortal->known_ns : now_ns;
        } else if (mortal->known_ns != 0 && request->at_ns > mortal->known_ns &&
                   mortal->gone_ns == 0) {
            mortal->gone_ns = now_ns;
        }
    }
}

static void reply_mortal(struct user *user, const struct request *request,
                         const struct wire_value *value) {
    struct users *users = user->users;
    if (request->kind == KIND_MORTAL_SET) {
        want(user, request, value, value->type == ':' && value->integer == 1, "not set");
        users->mortals[request->key][request->value % MORTALS_KEPT] =
            (struct mortal){.value = request->value, .known_ns = 0};
        return;
    }
    if (request->kind == KIND_MORTAL_GET) {
        check_whole(user, request, value, group_size(request->key));
        note_mortal(user, request, value, value_number(value->items[0].text));
        return;
    }
    want(user, request, value, value->type == '$' || value->type == '_', "no value");
    if (request->other >= 3) {
        note_mortal(user, request, value, value_number(value->text));
    }
}

static void reply_exec_mortal(struct user *user, const struct request *request,
                              const struct wire_value *value) {
    want(user, request, value, value->type == '*' && value->count == 9, "not nine replies");
    const struct wire_value *first = &value->items[0], *time = &value->items[1];
    uint64_t n = value_number(first->items[0].text);
    for (unsigned i = 0; i < 9; i += 3) {
        const struct wire_value *now = &value->items[i + 1];
        check_whole(user, request, &value->items[i], group_size(request->key));
        want(user, request, value,
             value_number(value->items[i].items[0].text) == n &&
                 value_number(value->items[i + 2].text) == n,
             "what it had seen has gone");
        want(user, request, value,
             bytes_equal(now->items[0].text, time->items[0].text) &&
                 bytes_equal(now->items[1].text, time->items[1].text),
             "two times in one transaction");
    }
    note_mortal(user, request, value, n);
}

static void reply_stand(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    if (request->kind != KIND_STAND_READ) {
        const struct wire_value *last =
            value->type == '*' && value->count == 2 ? &value->items[1] : value;
        want(user, request, value, value_is_ok(last), "no pause");
        if (request->value == user->stand_number) { /* it has not asked for another yet */
            user->stand_since_ns = sim_now_ns(user->users->sim);
        }
        return;
    }
    user->stand_reads = false;
    want(user, request, value, value->type == '*', "no values");
    if (request->value != user->stand_number || request->at_ns < user->stand_since_ns ||
        user->stand_since_ns == 0 || sim_now_ns(user->users->sim) >= user->stand_until_ns) {
        return;
    }
    struct text seen;
    text_init(&seen);
    for (size_t i = 0; i < value->count; i++) {
        text_append(&seen, value->items[i].text.ptr, value->items[i].text.len);
        text_append_char(&seen, ' ');
    }
    bool same = user->stood.len == 0 || bytes_equal(text_bytes(&seen), text_bytes(&user->stood));
    if (user->stood.len == 0) {
        text_append(&user->stood, seen.ptr, seen.len);
    } else {
        user->users->counts.stood++;
    }
    text_fini(&seen);
    want(user, request, value, same, "something has changed after all writes were paused");
}

static void reply_trouble(struct user *user, const struct request *request,
                          const struct wire_value *value) {
    bool busy = request->kind == KIND_MOVE && value->type == '-';
    bool counts = request->kind == KIND_KILL || request->kind == KIND_UNBLOCK;
    want(user, request, value, value_is_ok(value) || busy || (counts && value->type == ':'),
         "not done");
    if (request->kind == KIND_UNBLOCK) {
        user->users->counts.unblocked += user_number_of(value);
    }
}

static void reply_own(struct user *user, const struct request *request,
                      const struct wire_value *value) {
    struct own_key *own = &user->own[request->key];
    if (request->kind == KIND_SET) {
        want(user, request, value, value_is_ok(value), "not OK");
        own->value = request->value;
        user->users->counts.large_values +=
            value_length(user->users, request->value) >= user->users->options.large_bytes;
        return;
    }
    if (request->kind == KIND_DELETE) {
        want(user, request, value, value->type == ':' && (uint64_t)value->integer <= 1, "no count");
        want(user, request, value,
             !own_is_sure(user, own) || (own->value != 0) == (value->integer != 0),
             "deleted what was not there, or not what was");
        own->value = 0;
        return;
    }
    check_own(user, request, request->key, value);
}

static void reply_counter(struct user *user, const struct request *request,
                          const struct wire_value *value) {
    struct counter *counter = &user->users->counters[request->key];
    uint64_t n = user_number_of(value);
    bool increments = request->kind == KIND_INCREMENT;
    if (request->key < COUNTER_STRINGS) {
        want(user, request, value,
             value->type == (increments ? ':'
                             : n > 0    ? '$'
                                        : '_'),
             "no number");
    }
    want(user, request, value, n > 0 || !increments, "no number");
    check_counter(user, request, value, counter, n, increments);
    counter->answered += increments;
}

/* Every read of a list is the beginning of every longer one. */
static void reply_list(struct user *user, const struct request *request,
                       const struct wire_value *value) {
    struct appended *list = &user->users->lists[request->key];
    if (request->kind == KIND_APPEND) {
        want(user, request, value, list_appended(request->key, value), "not appended");
        uint64_t length = list_length(request->key, value);
        want(user, request, value,
             length > request->floor || user->users->flushed || request->key == LIST_STREAM,
             "shorter than it was before");
        list->answered = length > list->answered ? length : list->answered;
        return;
    }
    want(user, request, value, value->type == '$' || value->type == '_' || value->type == '*',
         "no text");
    if (user->users->flushed) {
        return;
    }
    struct bytes seen = text_bytes(&list->longest), text = list_text(user->users, value);
    want(user, request, value, text.len >= request->floor, "what was appended is not there");
    size_t both = seen.len < text.len ? seen.len : text.len;
    want(user, request, value, both == 0 || memcmp(seen.ptr, text.ptr, both) == 0,
         "another order than others have seen");
    text_append(&list->longest, text.ptr + both, text.len - both);
    if (text.len > list->answered) {
        list->answered = text.len;
    }
}

static void reply_shared(struct user *user, const struct request *request,
                         const struct wire_value *value) {
    if (request->kind == KIND_SHARED_SET) {
        want(user, request, value, value_is_ok(value), "not OK");
        cache_written(user, request, request->key);
        return;
    }
    cache_read(user, request->key);
    want(user, request, value, value->type == '$' || value->type == '_', "no value");
    want(user, request, value, value_number(value->text) <= user->users->values,
         "a value that nobody has written");
    want_allowed(user, request, value, value_number(value->text));
}

static void reply_trail(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    want(user, request, value, value_is_ok(value), "not OK");
}

static void reply_plain(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    switch (request->kind) {
    case KIND_ECHO:
        want(user, request, value,
             value->type == '$' && value_number(value->text) == request->value,
             "the reply to another request");
        break;
    case KIND_SELECT:
    case KIND_NAME:
    case KIND_CAS:
    case KIND_PAIR_ADD:
    case KIND_PAIR_READ:
    case KIND_CAS_WRITE:
    case KIND_LISTS:
    case KIND_GROUP_MULTI:
    case KIND_MORTAL_MULTI:
    case KIND_STAND_MULTI:
    case KIND_QUEUE_MULTI:
        want(user, request, value, value_is_ok(value), "not OK");
        break;
    case KIND_WAIT:
        want(user, request, value,
             value->type == ':' || bytes_equal(value->text, BYTES(USERS_UNBLOCKED)), "no number");
        break;
    case KIND_HELLO:
        want(user, request, value, value->type == '*' && value->count >= 12, "no map");
        user->resp3 = true;
        break;
    default:
        want(user, request, value, value->type == ':', "no number");
    }
}

/* ---- What is refused ---- */

bool user_refused(struct user *user, const struct request *request,
                  const struct wire_value *value) {
    struct users *users = user->users;
    struct bytes exec = BYTES("EXECABORT Transaction discarded because of: " USERS_REFUSED);
    if (value->type != '-' ||
        !(bytes_equal(value->text, BYTES(USERS_REFUSED)) || bytes_equal(value->text, exec))) {
        return false;
    }
    users->counts.refused++;
    unsigned values = 1;
    switch (request->kind) {
    case KIND_INCREMENT:
        users->counters[request->key].asked--;
        return true;
    case KIND_EXEC_ADD:
    case KIND_VIEW_ADD:
        users->pair.asked--;
        return true;
    case KIND_CAS_READ:
        user_issue(user, KIND_CAS_READ, request->key); /* it watches the key */
        return true;
    case KIND_STAND_READ:
        user->stand_reads = false;
        return true;
    case KIND_STREAM_TAKE:
    case KIND_STREAM_FOLLOW:
    case KIND_STREAM_ACK:
        return true; /* what it has in `value` is nothing that it writes */
    case KIND_EXEC_STAND:
        user->stand_until_ns = 0;
        return true;
    case KIND_EXEC_CAS:
        users->cas[request->key].asked--;
        break;
    case KIND_MSET:
        values = users->options.own_keys;
        break;
    case KIND_EXEC_LISTS:
    case KIND_EXEC_QUEUE:
        values = 2;
        break;
    case KIND_QUEUE_PUSH:
        values = request->other;
        break;
    default:
        if (request->kind >= KIND_BAG_ADD && request->kind <= KIND_MAP_READ) {
            return true; /* those have numbers of their own */
        }
        break;
    }
    for (unsigned i = 0; i < values && request->value != 0; i++) {
        user_refuse_value(users, request->value + i);
    }
    return true;
}

/* ---- The history ---- */

/* Every request whose effect others can see goes into the history with what it read and wrote; with
 * value NULL its reply never came. Keys that one user alone writes stay out of it: they are renamed
 * and deleted, and checked above. */

uint32_t user_key_named(struct users *users, const char *format, unsigned a, unsigned b) {
    char name[48];
    snprintf(name, sizeof name, format, a, b);
    return history_key(&users->history, bytes_of_text(name));
}

void user_record(struct user *user, const struct request *request, const char *label,
                 enum op_outcome outcome) {
    struct users *users = user->users;
    history_op(&users->history, user->process, label, (int64_t)request->at_ns,
               (int64_t)sim_now_ns(users->sim), outcome);
}

static enum op_outcome outcome_of(const struct wire_value *value) {
    return value != NULL ? OP_OK : OP_UNKNOWN;
}

static void record_counter(struct user *user, const struct request *request,
                           const struct wire_value *value) {
    bool increments = request->kind == KIND_INCREMENT;
    if (value == NULL && !increments) {
        return;
    }
    struct users *users = user->users;
    user_record(user, request, increments ? "INCR" : "GET", outcome_of(value));
    history_step(&users->history, increments ? STEP_INCR : STEP_READ_COUNTER,
                 user_key_named(users, "counter:%u", request->key, 0),
                 value ? user_number_of(value) : 0);
}

static void record_read_list(struct users *users, unsigned list, const struct wire_value *value) {
    uint64_t tokens[4096];
    size_t count = 0;
    struct bytes text = list_text(users, value);
    check(text.len / TOKEN_BYTES <= sizeof tokens / sizeof tokens[0]);
    for (size_t at = 0; at + TOKEN_BYTES <= text.len; at += TOKEN_BYTES) {
        tokens[count++] = value_number(bytes_make(text.ptr + at, TOKEN_BYTES));
    }
    history_read_list(&users->history, user_key_named(users, "list:%u", list, 0), tokens, count);
}

static void record_append(struct users *users, unsigned list, uint64_t token,
                          const struct wire_value *value) {
    history_append(&users->history, user_key_named(users, "list:%u", list, 0), token,
                   list_length(list, value) / TOKEN_BYTES);
}

static void record_list(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    struct users *users = user->users;
    if (request->kind == KIND_APPEND) {
        user_record(user, request, "APPEND", outcome_of(value));
        record_append(users, request->key, request->value, value);
    } else if (value != NULL) {
        user_record(user, request, "GET", OP_OK);
        record_read_list(users, request->key, value);
    }
}

static void record_shared(struct user *user, const struct request *request,
                          const struct wire_value *value) {
    struct users *users = user->users;
    bool sets = request->kind == KIND_SHARED_SET;
    if (value == NULL && !sets) {
        return;
    }
    user_record(user, request, sets ? "SET" : "GET", outcome_of(value));
    history_step(&users->history, sets ? STEP_WRITE : STEP_READ,
                 user_key_named(users, "shared:%u", request->key, 0),
                 sets ? request->value : value_number(value->text));
}

static void record_group(struct user *user, const struct request *request,
                         const struct wire_value *value) {
    struct users *users = user->users;
    bool sets = request->kind == KIND_GROUP_SET, news = request->kind == KIND_GROUP_NEW;
    unsigned n = group_size(request->key);
    if (users->options.deletes || (value == NULL && !sets && !news)) {
        return;
    }
    bool refused = news && value != NULL && value->integer == 0;
    user_record(user, request,
                sets                              ? "MSET"
                : news                            ? "MSETNX"
                : request->kind == KIND_GROUP_LCS ? "LCS"
                                                  : "MGET",
                refused ? OP_FAIL : outcome_of(value));
    for (unsigned i = 0; i < n; i++) {
        uint32_t key = user_key_named(users, "group:%u:%u", request->key, i);
        if (request->kind == KIND_GROUP_GET) {
            history_step(&users->history, STEP_READ, key, value_number(value->items[i].text));
        } else if (request->kind == KIND_GROUP_LCS &&
                   (i == request->other || i == (request->other + 1) % n)) {
            history_step(&users->history, STEP_READ, key, value_number(value->text));
        } else if (sets || news) {
            if (news) { /* done only when none of them was there */
                history_step(&users->history, STEP_READ, key, 0);
            }
            history_step(&users->history, STEP_WRITE, key, request->value);
        }
    }
}

static void record_cas(struct user *user, const struct request *request,
                       const struct wire_value *value) {
    if (value != NULL) {
        user_record(user, request, request->kind == KIND_CAS_READ ? "GET" : "GETEX", OP_OK);
        history_step(&user->users->history, STEP_READ,
                     user_key_named(user->users, "cas:%u", request->key, 0), user_token_of(value));
    }
}

static void record_exec(struct user *user, const struct request *request,
                        const struct wire_value *value) {
    struct users *users = user->users;
    struct history *history = &users->history;
    enum op_outcome outcome = outcome_of(value);
    if (request->kind == KIND_EXEC_CAS) {
        /* What was watched had not changed by then: it reads and writes at one moment. */
        user_record(user, request, "EXEC", value != NULL && value->type == '_' ? OP_FAIL : outcome);
        uint32_t key = user_key_named(users, "cas:%u", request->key, 0);
        history_step(history, STEP_READ, key, request->before);
        history_step(history, STEP_WRITE, key, request->value);
        return;
    }
    bool reads = request->kind == KIND_EXEC_READ || request->kind == KIND_VIEW_READ;
    if ((value == NULL && reads) || (users->options.deletes && request->kind == KIND_EXEC_GROUP)) {
        return;
    }
    user_record(user, request, "EXEC", outcome);
    if (request->kind == KIND_EXEC_GROUP) {
        for (unsigned i = 0; i < group_size(request->key); i++) {
            history_step(history, STEP_WRITE, user_key_named(users, "group:%u:%u", request->key, i),
                         request->value);
        }
        return;
    }
    if (request->kind == KIND_EXEC_LISTS) {
        record_append(users, request->key, request->value, value ? &value->items[0] : NULL);
        if (value != NULL) {
            record_read_list(users, (request->key + 1) % LISTS, &value->items[1]);
        }
        record_append(users, (request->key + 2) % LISTS, request->value + 1,
                      value ? &value->items[2] : NULL);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        history_step(history, adds(request) ? STEP_INCR : STEP_READ_COUNTER,
                     user_key_named(users, "pair:%u", i, 0),
                     value ? user_number_of(&value->items[i]) : 0);
    }
}

/* ---- The table of what users do ---- */

const struct op_row user_ops[KINDS] = {
    [KIND_SET] = {"SET of its own", 30, send_own, reply_own, NULL},
    [KIND_GET] = {"GET of its own", 30, send_own, reply_own, NULL},
    [KIND_DELETE] = {"DEL of its own", 6, send_own, reply_own, NULL},
    [KIND_INCREMENT] = {"INCR", 12, send_counter, reply_counter, record_counter},
    [KIND_APPEND] = {"APPEND", 8, send_list, reply_list, record_list},
    [KIND_LIST] = {"GET of a list", 4, send_list, reply_list, record_list},
    [KIND_SHARED_SET] = {"SET", 10, send_shared, reply_shared, record_shared},
    [KIND_SHARED_GET] = {"GET", 10, send_shared, reply_shared, record_shared},
    [KIND_ECHO] = {"ECHO", 10, send_plain, reply_plain, NULL},
    [KIND_TRAIL] = {"SET of its trail", 10, send_trail, reply_trail, NULL},
    [KIND_SELECT] = {"SELECT", 3, send_plain, reply_plain, NULL},
    [KIND_COUNT_ALL] = {"DBSIZE", 2, send_plain, reply_plain, NULL},
    [KIND_WAIT] = {"WAIT", 3, send_plain, reply_plain, NULL},
    [KIND_NAME] = {"CLIENT SETNAME", 1, send_plain, reply_plain, NULL},
    [KIND_HELLO] = {"HELLO 3", 1, send_plain, reply_plain, NULL},
    [KIND_COUNTER] = {"GET of a counter", 0, send_counter, reply_counter, record_counter},
    [KIND_MSET] = {"MSET of its own", 6, send_own_many, reply_own_many, NULL},
    [KIND_MGET] = {"MGET of its own", 6, send_own_many, reply_own_many, NULL},
    [KIND_RENAME] = {"RENAME of its own", 5, send_own_many, reply_own_many, NULL},
    [KIND_COPY] = {"COPY of its own", 3, send_own_many, reply_own_many, NULL},
    [KIND_GROUP_SET] = {"MSET of a group", 8, send_group, reply_group, record_group},
    [KIND_GROUP_GET] = {"MGET of a group", 8, send_group, reply_group, record_group},
    [KIND_GROUP_DELETE] = {"DEL of a group", 3, send_group, reply_group, NULL},
    [KIND_GROUP_EXISTS] = {"EXISTS of a group", 3, send_group, reply_group, NULL},
    [KIND_GROUP_NEW] = {"MSETNX of a group", 3, send_group, reply_group, record_group},
    [KIND_GROUP_COPY] = {"COPY in a group", 4, send_group, reply_group, NULL},
    [KIND_GROUP_LCS] = {"LCS in a group", 4, send_group, reply_group, record_group},
    [KIND_PAIR_ADD] = {"MULTI, adding", 6, send_multi, reply_plain, NULL},
    [KIND_PAIR_READ] = {"MULTI, reading", 5, send_multi, reply_plain, NULL},
    [KIND_CAS] = {"WATCH", 8, send_cas, reply_plain, NULL},
    [KIND_CAS_READ] = {"GET of what is watched", 0, send_cas, reply_cas, record_cas},
    [KIND_CAS_WRITE] = {"MULTI, watching", 0, send_cas, reply_plain, NULL},
    [KIND_CAS_CHECK] = {"GETEX of what is watched", 8, send_cas, reply_cas, record_cas},
    [KIND_LISTS] = {"MULTI, appending", 6, send_lists, reply_plain, NULL},
    [KIND_GROUP_MULTI] = {"MULTI, writing a group", 6, send_group_multi, reply_plain, NULL},
    [KIND_EXEC_GROUP] = {"EXEC, writing a group", 0, send_exec, reply_exec, record_exec},
    [KIND_EXEC_LISTS] = {"EXEC, appending", 0, send_exec, reply_exec, record_exec},
    [KIND_WHOLE] = {"SWAPDB, alone or in MULTI", 6, whole_send, whole_reply, NULL},
    [KIND_EXEC_WHOLE] = {"EXEC, about whole databases", 0, whole_send, whole_reply, NULL},
    [KIND_QUEUED] = {"a queued command", 0, send_queued, reply_queued, NULL},
    [KIND_EXEC_ADD] = {"EXEC, adding", 0, send_exec, reply_exec, record_exec},
    [KIND_EXEC_READ] = {"EXEC, reading", 0, send_exec, reply_exec, record_exec},
    [KIND_EXEC_CAS] = {"EXEC, watching", 0, send_exec, reply_exec, record_exec},
    [KIND_VIEW_ADD] = {"DEBUG VIEW, adding", 6, send_view, reply_exec, record_exec},
    [KIND_VIEW_READ] = {"DEBUG VIEW, reading", 4, send_view, reply_exec, record_exec},
    [KIND_MORTAL_SET] = {"MSETEX of mortal keys", 6, send_mortal, reply_mortal, NULL},
    [KIND_MORTAL_GET] = {"MGET of mortal keys", 10, send_mortal, reply_mortal, NULL},
    [KIND_MORTAL_LOOK] = {"a look at a mortal key", 8, send_mortal, reply_mortal, NULL},
    [KIND_MORTAL_MULTI] = {"MULTI, mortal keys", 6, send_mortal_multi, reply_plain, NULL},
    [KIND_EXEC_MORTAL] = {"EXEC, mortal keys", 0, send_exec, reply_exec_mortal, NULL},
    [KIND_STAND] = {"CLIENT PAUSE WRITE", 2, send_stand, reply_stand, NULL},
    [KIND_STAND_MULTI] = {"MULTI, pausing", 1, send_stand, reply_plain, NULL},
    [KIND_EXEC_STAND] = {"EXEC, pausing", 0, send_stand, reply_stand, NULL},
    [KIND_STAND_READ] = {"MGET while all writes are paused", 0, send_stand, reply_stand, NULL},
    [KIND_ID] = {"CLIENT ID", 0, queue_send, queue_reply, NULL},
    [KIND_QUEUE_PUSH] = {"a push to a queue", 12, queue_send, queue_reply, NULL},
    [KIND_QUEUE_TAKE] = {"a pop from a queue", 4, queue_send, queue_reply, NULL},
    [KIND_QUEUE_WAIT] = {"a wait for queues", 34, queue_send, queue_reply, NULL},
    [KIND_QUEUE_MOVE] = {"BLMOVE", 10, queue_send, queue_reply, NULL},
    [KIND_QUEUE_MULTI] = {"MULTI, pushing", 4, queue_send, reply_plain, NULL},
    [KIND_EXEC_QUEUE] = {"EXEC, pushing", 0, send_exec, queue_reply, NULL},
    [KIND_QUEUE_READ] = {"what a queue has", 0, queue_send, queue_reply, NULL},
    [KIND_STREAM_ADD] = {"XADD", 14, stream_send, stream_reply, NULL},
    [KIND_STREAM_GROUP] = {"XGROUP CREATE", 3, stream_send, stream_reply, NULL},
    [KIND_STREAM_TAKE] = {"XREADGROUP", 12, stream_send, stream_reply, NULL},
    [KIND_STREAM_ACK] = {"XACK", 5, stream_send, stream_reply, NULL},
    [KIND_STREAM_CLAIM] = {"XAUTOCLAIM", 3, stream_send, stream_reply, NULL},
    [KIND_STREAM_FOLLOW] = {"XREAD", 8, stream_send, stream_reply, NULL},
    [KIND_STREAM_READ] = {"XRANGE", 2, stream_send, stream_reply, NULL},
    [KIND_STREAM_PENDING] = {"XPENDING", 0, stream_send, stream_reply, NULL},
    [KIND_SUBSCRIBE] = {"SUBSCRIBE", 10, topic_send, topic_reply, NULL},
    [KIND_UNSUBSCRIBE] = {"UNSUBSCRIBE", 5, topic_send, topic_reply, NULL},
    [KIND_PUBLISH] = {"PUBLISH", 30, topic_send, topic_reply, NULL},
    [KIND_BAG_ADD] = {"SADD", 24, bag_send, bag_reply, NULL},
    [KIND_BAG_POP] = {"SPOP", 8, bag_send, bag_reply, NULL},
    [KIND_BAG_MOVE] = {"SMOVE", 24, bag_send, bag_reply, NULL},
    [KIND_BAG_COMMON] = {"what sets have in common", 8, bag_send, bag_reply, NULL},
    [KIND_BAG_READ] = {"SUNION", 8, bag_send, bag_reply, NULL},
    [KIND_SEEN_ADD] = {"PFADD", 10, bag_send, bag_reply, NULL},
    [KIND_SEEN_MERGE] = {"PFMERGE", 5, bag_send, bag_reply, NULL},
    [KIND_SEEN_COUNT] = {"PFCOUNT", 6, bag_send, bag_reply, NULL},
    [KIND_MAP_ADD] = {"GEOADD", 10, bag_send, bag_reply, NULL},
    [KIND_MAP_STORE] = {"GEOSEARCHSTORE", 8, bag_send, bag_reply, NULL},
    [KIND_MAP_READ] = {"what is near", 6, bag_send, bag_reply, NULL},
    [KIND_LIBRARY] = {"FUNCTION LOAD", 4, script_send, script_reply, NULL},
    [KIND_SCRIPT_COUNT] = {"a script, counting", 16, script_send, script_reply, script_record},
    [KIND_SCRIPT_ADD] = {"a script, adding", 12, script_send, script_reply, script_record},
    [KIND_SCRIPT_READ] = {"a script, reading", 8, script_send, script_reply, script_record},
    [KIND_SCRIPT_GROUP] = {"a script, writing a group", 8, script_send, script_reply,
                           script_record},
    [KIND_SCRIPT_LISTS] = {"a script, appending", 8, script_send, script_reply, script_record},
    [KIND_SCRIPT_CAS] = {"a script, changing", 8, script_send, script_reply, script_record},
    [KIND_SCRIPT_SHARED] = {"a script, writing and reading", 8, script_send, script_reply,
                            script_record},
    [KIND_SCRIPT_PUBLISH] = {"a script, publishing", 8, script_send, script_reply, NULL},
    [KIND_SCRIPT_MULTI] = {"MULTI, with a script", 8, script_send, script_reply, NULL},
    [KIND_EXEC_SCRIPT] = {"EXEC, with a script", 0, script_send, script_reply, script_record},
    [KIND_TRACK] = {"CLIENT TRACKING", 6, cache_send, cache_reply, NULL},
    [KIND_MOVE] = {"DEBUG MOVE-SLOT", 8, send_trouble, reply_trouble, NULL},
    [KIND_FLUSH] = {"FLUSHALL", 2, send_trouble, reply_trouble, NULL},
    [KIND_SWAP] = {"SWAPDB", 2, send_trouble, reply_trouble, NULL},
    [KIND_PAUSE] = {"CLIENT PAUSE", 1, send_trouble, reply_trouble, NULL},
    [KIND_CONFIG] = {"CONFIG SET", 2, send_trouble, reply_trouble, NULL},
    [KIND_KILL] = {"CLIENT KILL", 1, send_trouble, reply_trouble, NULL},
    [KIND_UNBLOCK] = {"CLIENT UNBLOCK", 8, send_trouble, reply_trouble, NULL},
};

static void wrong(const struct user *user, const struct request *request,
                  const struct wire_value *value, const char *why) {
    struct text text;
    text_init(&text);
    value_print(value, &text);
    char line[400];
    snprintf(line, sizeof line, "%.300s", text.ptr);
    text_fini(&text);
    world_fail(user->users->world, "user %u, %s (key %u, value %llu, floor %llu): %s: %s",
               user->index, user_ops[request->kind].name, request->key,
               (unsigned long long)request->value, (unsigned long long)request->floor, why, line);
}

void user_issue(struct user *user, enum kind kind, unsigned key) {
    check(user->pending_count < PENDING_MAX);
    struct request *request = pending_at(user, user->pending_count++);
    *request = (struct request){.kind = kind, .key = key, .at_ns = sim_now_ns(user->users->sim)};
    user_ops[kind].send(user, request);
    sim_tell(user->users->sim, "user %u asks %s, key %u %u, value %llu", user->index,
             user_ops[kind].name, request->key, request->other, (unsigned long long)request->value);
}

/* How often this run has users do that. */
static unsigned weight_of(const struct users *users, enum kind kind) {
    const struct users_options *options = &users->options;
    bool off = (kind == KIND_FLUSH && !options->flushes) ||
               (kind == KIND_MOVE && !options->moves) || (kind == KIND_TRAIL && !options->trails) ||
               (kind > KIND_FLUSH && !options->troubles &&
                !(kind == KIND_UNBLOCK && options->queues && options->unblocks)) ||
               (kind >= KIND_SUBSCRIBE && kind <= KIND_PUBLISH && !options->topics) ||
               (kind >= KIND_BAG_ADD && kind <= KIND_MAP_READ && !options->bags) ||
               (kind >= KIND_LIBRARY && kind <= KIND_EXEC_SCRIPT && !options->scripts) ||
               (kind == KIND_SCRIPT_PUBLISH && !options->topics) ||
               (kind == KIND_WHOLE && !options->wholes) ||
               (kind == KIND_TRACK && !options->caches) ||
               (kind >= KIND_ID && kind <= KIND_STREAM_PENDING && !options->queues) ||
               (kind >= KIND_MSET && kind <= KIND_GROUP_LCS && !options->several_shards) ||
               (kind >= KIND_PAIR_ADD && kind <= KIND_EXEC_LISTS && !options->transactions) ||
               ((kind == KIND_VIEW_ADD || kind == KIND_VIEW_READ) && !options->views) ||
               (kind == KIND_GROUP_DELETE && !options->deletes) ||
               (kind >= KIND_MORTAL_SET && kind <= KIND_EXEC_MORTAL && !options->mortal) ||
               (kind >= KIND_STAND && kind <= KIND_STAND_READ && !options->pauses);
    bool keeps = options->caches && (kind == KIND_SHARED_SET || kind == KIND_SHARED_GET);
    return off ? 0 : user_ops[kind].weight * (keeps ? 6 : 1);
}

enum kind user_any_kind(struct users *users) {
    unsigned sum = 0;
    for (unsigned i = 0; i < KINDS; i++) {
        sum += weight_of(users, i);
    }
    uint64_t at = rng_below(&users->rng, sum);
    enum kind kind = 0;
    while (at >= weight_of(users, kind)) {
        at -= weight_of(users, kind++);
    }
    return kind;
}
