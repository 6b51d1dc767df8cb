/* SPDX-License-Identifier: BSD-3-Clause */
/* exec: the few things that most commands need before their own work starts.
 *
 * A command may see its shard, its arguments and its worker's snapshot of the configuration,
 * nothing else; that it comes by the last only through these functions keeps the commands free of
 * the worker.
 */
#include "server/call/exec.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "server/call/call.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/keyset.h"
#include "server/client/large.h"
#include "server/worker/park.h"
#include "server/worker/worker.h"

#include <math.h>

/* From here on a value is sent from where it lies. Below, the copy costs no more than the pin. */
#define PIN_BYTES_MIN (8 * 1024)

struct key exec_key(const struct exec *x, uint32_t argv_index) {
    check_slow(argv_index < x->argc);
    struct bytes name = x->argv[argv_index];
    if (name.ptr == x->key.name.ptr && name.len == x->key.name.len) {
        check_slow(x->key.hash == key_make(&x->worker->server->secret, name).hash);
        return x->key;
    }
    const struct key *found = x->keys != NULL ? keyset_find(x->keys, argv_index) : NULL;
    return found != NULL ? *found : key_make(&x->worker->server->secret, name);
}

uint32_t exec_keys(const struct exec *x, uint32_t first, uint32_t end, uint32_t step,
                   struct key keys[EXEC_KEYS_MAX]) {
    uint32_t n = 0;
    for (uint32_t i = first; i < end && n < EXEC_KEYS_MAX; i += step) {
        keys[n++] = exec_key(x, i);
    }
    if (n == 1) {
        return n;
    }
    for (uint32_t i = 0; i < n; i++) {
        keyspace_prefetch_slot(x->keyspace, x->db, &keys[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        keyspace_prefetch_bucket(x->keyspace, x->db, &keys[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        keyspace_prefetch_entry(x->keyspace, x->db, &keys[i]);
    }
    return n;
}

static const struct loan *find_lent(const struct exec *x, uint32_t argv_index) {
    /* Nearly always keys stand at equal distances, as in keyset_find. */
    const struct exec_input *list = x->inputs.list;
    uint32_t step = x->inputs.count > 1 ? list[1].index - list[0].index : 0;
    uint32_t i = step > 0 ? (argv_index - list[0].index) / step : 0;
    if (UNLIKELY(i >= x->inputs.count || list[i].index != argv_index)) {
        for (i = 0; list[i].index != argv_index;) {
            check(++i < x->inputs.count);
        }
    }
    return &list[i].loan;
}

/* It was touched where it lies. */
static void count_lent(const struct exec *x, const struct key *key, bool present,
                       unsigned lookup_flags) {
    keyspace_count_lookup(x->keyspace, present, lookup_flags);
    if (!present && !(lookup_flags & LOOKUP_WRITE)) {
        keyspace_note(x->keyspace, x->db, key, EVENT_KEYMISS, TYPE_STRING);
    }
}

bool exec_input(const struct exec *x, uint32_t argv_index, unsigned lookup_flags,
                struct loan *ret) {
    struct key key = exec_key(x, argv_index);
    if (x->stage == STAGE_AT) {
        *ret = *find_lent(x, argv_index);
        count_lent(x, &key, ret->present, lookup_flags);
    } else {
        lookup_flags = exec_lookup_flags(x, lookup_flags);
        *ret = entry_loan(keyspace_find(x->keyspace, x->db, &key, x->now_ms, lookup_flags));
    }
    return ret->present;
}

void exec_put(struct exec *x, uint32_t db, const struct key *key, const struct loan *from,
              enum key_event event) {
    bool is_here = from->entry != NULL;
    if (UNLIKELY(keyspace_put_is_long(x->keyspace, from)) && (!is_here || x->caller->puts_later)) {
        check((is_here || x->stage == STAGE_AT) && x->caller->put_later == NULL);
        effect_told(x);
        if (is_here) {
            keyspace_lend(x->keyspace, from->entry);
        }
        struct put_later *later = must_malloc(sizeof *later);
        *later = (struct put_later){
            .copy = value_copy_begin(from),
            .key = *key,
            .db = db,
            .is_here = is_here,
            .event = event,
            .expires_at = from->expires_at,
            .now_ms = x->now_ms,
        };
        list_node_init(&later->node);
        x->caller->put_later = later;
        return;
    }
    struct entry *entry = keyspace_put(x->keyspace, db, key, from, x->now_ms, event);
    if (!is_here) {
        effect_state_key(x, db, key->name, entry);
    }
}

bool exec_has(const struct exec *x, uint32_t argv_index) {
    bool divided = x->stage == STAGE_ASK || x->stage == STAGE_ACT;
    return exec_looks_at(x, argv_index) && (!divided || keyset_find(x->keys, argv_index) != NULL);
}

bool exec_looks_at(const struct exec *x, uint32_t argv_index) {
    return x->caller->only == 0 || x->caller->only == argv_index;
}

bool exec_wait(const struct exec *x, int64_t timeout_ms) {
    x->caller->waits = x->caller->may_wait;
    x->caller->wait_ms = timeout_ms;
    return x->caller->waits;
}

void exec_wait_word(const struct exec *x, uint32_t argv_index, struct bytes word) {
    if (x->caller->may_wait) {
        check(x->argv[argv_index].len == 1 && word.len <= EXEC_WORD_MAX);
        memcpy((char *)x->argv[argv_index].ptr, word.ptr, word.len);
        x->argv[argv_index].len = word.len;
    }
}

static const struct entry *peek(const struct exec *x, const struct key *key) {
    bool there = keyspace_has(x->keyspace, x->db, key, exec_alive_ms(x));
    return there ? keyspace_find_any(x->keyspace, x->db, key) : NULL;
}

const struct entry *exec_peek(const struct exec *x) {
    return peek(x, &x->key);
}

const struct entry *exec_peek_at(const struct exec *x, uint32_t argv_index) {
    const struct key *key = x->caller->sees_all ? keyset_find(x->keys, argv_index) : NULL;
    return key != NULL ? peek(x, key) : NULL;
}

enum waiter_answer exec_ready(const struct exec *x, enum value_type type) {
    const struct entry *entry = exec_peek(x);
    if (entry == NULL) {
        return WAITER_EMPTY;
    }
    return entry_type(entry) == type ? WAITER_SERVES : WAITER_PASSES;
}

static bool timeout_fits(const struct exec *x, int64_t ms) {
    const char *wrong = ms < 0                       ? ERR_TIMEOUT_NEGATIVE
                        : ms > INT64_MAX - x->now_ms ? ERR_TIMEOUT_RANGE
                                                     : NULL;
    if (wrong != NULL) {
        reply_error(x->reply, wrong);
    }
    return wrong == NULL;
}

bool exec_arg_timeout(const struct exec *x, uint32_t argv_index, int64_t *ret_ms) {
    long double seconds;
    if (!num_parse_long_double(x->argv[argv_index], &seconds)) {
        reply_error(x->reply, ERR_TIMEOUT_NOT_FLOAT);
        return false;
    }
    if (seconds * 1000 > (long double)INT64_MAX) {
        reply_error(x->reply, ERR_TIMEOUT_RANGE);
        return false;
    }
    *ret_ms = seconds <= -1 ? -1 : (int64_t)ceill(seconds * 1000);
    return timeout_fits(x, *ret_ms);
}

bool exec_arg_timeout_ms(const struct exec *x, uint32_t argv_index, int64_t *ret_ms) {
    if (!num_parse_i64(x->argv[argv_index], ret_ms)) {
        reply_error(x->reply, ERR_TIMEOUT_NOT_INTEGER);
        return false;
    }
    return timeout_fits(x, *ret_ms);
}

bool exec_has_named(const struct exec *x, struct bytes name) {
    if (x->keys == NULL || !x->keys->everywhere || exec_sees_all(x)) {
        return true;
    }
    struct key key = key_make(&x->worker->server->secret, name);
    if (keyset_found(x->keys, &key) > 0) {
        return true;
    }
    found_names_add(&x->caller->names, name);
    return false;
}

bool exec_named(const struct exec *x, struct bytes name, struct loan *ret) {
    struct key key = key_make(&x->worker->server->secret, name);
    if (x->stage == STAGE_AT) {
        uint32_t place = keyset_found(x->keys, &key);
        check(place > 0);
        *ret = x->inputs.list[place].loan;
        count_lent(x, &key, ret->present, LOOKUP_READ);
    } else {
        *ret = entry_loan(keyspace_find(exec_keyspace(x, &key), x->db, &key, x->now_ms,
                                        exec_lookup_flags(x, LOOKUP_READ)));
    }
    return ret->present;
}

bool exec_sees_all(const struct exec *x) {
    return x->caller->view != NULL;
}

bool exec_is_in_cluster(const struct exec *x) {
    return x->worker->cluster != NULL;
}

bool exec_is_of_script(const struct exec *x) {
    return x->caller->script != NULL;
}

struct script_run *exec_script(const struct exec *x) {
    return x->caller->script;
}

struct keyspace *exec_keyspace(const struct exec *x, const struct key *key) {
    const struct view *view = x->caller->view;
    return view != NULL ? view_shard(view, key->slot)->keyspace : x->keyspace;
}

bool exec_arg_i64(const struct exec *x, uint32_t argv_index, int64_t *ret) {
    if (LIKELY(num_parse_i64(x->argv[argv_index], ret))) {
        return true;
    }
    reply_error(x->reply, ERR_NOT_INTEGER);
    return false;
}

bool exec_arg_range(const struct exec *x, uint32_t argv_index, int64_t min, int64_t max,
                    const char *error, int64_t *ret) {
    int64_t value;
    bool is_number = num_parse_i64(x->argv[argv_index], &value);
    if (LIKELY(is_number && value >= min && value <= max)) {
        *ret = value;
        return true;
    }
    if (error != NULL || !is_number) {
        reply_error(x->reply, error != NULL ? error : ERR_NOT_INTEGER);
    } else {
        reply_errorf(x->reply, "ERR value is out of range, value must between %lld and %lld",
                     (long long)min, (long long)max);
    }
    return false;
}

bool exec_arg_draws(const struct exec *x, uint32_t argv_index, int64_t *ret) {
    return exec_arg_range(x, argv_index, -INT64_MAX, INT64_MAX, NULL, ret);
}

/* What an element takes of a reply, at least. */
#define DRAWN_BYTES_MIN 6

bool exec_draws_fit(const struct exec *x, int64_t count) {
    /* Half of the machine's memory is more than any client takes. */
    if (count < -x->worker->server->string_bytes_max / DRAWN_BYTES_MIN) {
        reply_error(x->reply, ERR_VALUE_RANGE);
        return false;
    }
    return true;
}

bool exec_arg_db(const struct exec *x, uint32_t argv_index, uint32_t *ret_db) {
    int64_t db;
    if (!exec_arg_i64(x, argv_index, &db)) {
        return false;
    }
    if (db < INT32_MIN || db > INT32_MAX) {
        reply_error(x->reply, ERR_INT_RANGE);
        return false;
    }
    if (db < 0 || db >= config_databases(x->worker->config)) {
        reply_error(x->reply, ERR_DB_INDEX);
        return false;
    }
    *ret_db = (uint32_t)db;
    return true;
}

void exec_arity_error(const struct exec *x) {
    reply_errorf(x->reply, "ERR wrong number of arguments for '%s' command", x->command->name);
}

bool exec_find(const struct exec *x, const struct key *key, enum value_type type,
               unsigned lookup_flags, struct entry **ret_entry) {
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, key, x->now_ms, exec_lookup_flags(x, lookup_flags));
    if (UNLIKELY(entry != NULL && entry_type(entry) != type)) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return false;
    }
    *ret_entry = entry;
    return true;
}

bool exec_deadline(const struct exec *x, int64_t value, bool ms, bool absolute, int64_t *ret_ms) {
    bool bad = value <= 0;
    bad |= !ms && __builtin_mul_overflow(value, 1000, &value);
    bad |= !absolute && __builtin_add_overflow(value, x->now_ms, &value);
    if (bad) {
        reply_errorf(x->reply, ERR_EXPIRE_TIME, x->command->name);
        return false;
    }
    *ret_ms = value;
    return true;
}

struct string_target exec_target(const struct exec *x, const struct key *key,
                                 enum key_event event) {
    return (struct string_target){
        .ks = x->keyspace,
        .key = key,
        .db = x->db,
        .event = event,
        .expires_at = KEEP_TTL,
        .now_ms = x->now_ms,
    };
}

void exec_store_argument(const struct exec *x, const struct key *key, uint32_t argv_index,
                         int64_t expires_at, enum key_event event) {
    struct string_target target = exec_target(x, key, event);
    target.expires_at = expires_at;
    struct bytes value = x->argv[argv_index];
    struct blob *blob = large_take(x->caller->large, value);
    if (UNLIKELY(blob != NULL)) {
        effect_keep(x, blob);
        string_set_blob(&target, blob);
    } else {
        string_set(&target, value);
    }
    if (expires_at >= 0) {
        keyspace_note(x->keyspace, x->db, key, EVENT_EXPIRE, TYPE_STRING);
    }
}

void exec_reply_string(const struct exec *x, struct entry *entry) {
    char scratch[NUMBER_TEXT_BYTES];
    struct bytes value = string_bytes(entry, scratch);
    if (UNLIKELY(value.len >= PIN_BYTES_MIN)) {
        void *pin = string_pin(entry, &value);
        if (pin != NULL) {
            reply_bulk_pinned(x->reply, value, string_unpin, pin);
            return;
        }
    }
    reply_bulk(x->reply, value);
}

struct rng *exec_rng(const struct exec *x) {
    return &x->worker->rng;
}

const struct config *exec_config(const struct exec *x) {
    return x->worker->config;
}

int64_t exec_bulk_len_max(const struct exec *x) {
    int64_t configured = x->worker->config->proto_max_bulk_len;
    int64_t possible = x->worker->server->string_bytes_max;
    /* What was answered, by a primary or before a crash, was no longer than was allowed then. */
    bool answered = x->manner & (MANNER_UPSTREAM | MANNER_REPLAYS);
    return configured < possible && !answered ? configured : possible;
}

bool exec_lazy_user_del(const struct exec *x) {
    return x->worker->config->lazyfree_lazy_user_del;
}

bool exec_lazy_expire(const struct exec *x) {
    return x->worker->config->lazyfree_lazy_expire;
}

int64_t exec_alive_ms(const struct exec *x) {
    bool sees_dead = x->manner & MANNER_SEES_DEAD &&
                     (x->manner & MANNER_REPLAYS || worker_keeps_dead(x->worker));
    return sees_dead ? INT64_MIN : x->now_ms;
}

bool exec_run_out(const struct exec *x, const struct key *key) {
    effect_told(x); /* by the event */
    return keyspace_delete(x->keyspace, x->db, key, x->now_ms, exec_lazy_expire(x), EVENT_EXPIRED);
}

bool exec_is_past(const struct exec *x, int64_t deadline) {
    return deadline <= x->now_ms && !worker_keeps_dead(x->worker) && !(x->manner & MANNER_REPLAYS);
}

bool exec_policy_is_lfu(const struct exec *x) {
    return config_eviction_is_lfu(x->worker->config->maxmemory_policy);
}
