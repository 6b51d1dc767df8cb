/* SPDX-License-Identifier: BSD-3-Clause */
/* anywhere: see the header. Why so: the row's `spread` says how a command is divided, and this is
 * the one place that divides it without a message. A command that each shard runs on its own keys
 * runs once for each key here, so it needs no room for shares; who is lent values gets them as they
 * lie. */
#include "server/call/anywhere.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/num.h"
#include "net/rt.h"
#include "server/call/keyset.h"
#include "server/tracking/news.h"
#include "server/worker/park.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* One command. */
struct run {
    struct anywhere *anywhere;
    const struct call *what;
    const struct keyset *keys;
    struct reply *reply;
    struct call_outcome *outcome;
};

static struct keyspace *keyspace_of(const struct run *run, const struct keyset_key *key) {
    return view_shard(run->anywhere->view, key->key.slot)->keyspace;
}

static struct caller caller_at(const struct run *run, const struct keyset_key *key) {
    struct caller caller = run->anywhere->caller;
    caller.shard = view_shard(run->anywhere->view, key->key.slot);
    caller.tick = rt_ticks(caller.worker->rt);
    return caller;
}

/* The copy of a large value, which a transaction makes in slices. */
static void finish_put(struct caller *caller) {
    struct put_later *later = caller->put_later;
    if (later != NULL) {
        struct keyspace *ks = caller->shard->keyspace;
        while (!keyspace_copy_some(ks, &later->copy)) {
        }
        keyspace_put_copy(ks, later->db, &later->key, &later->copy, later->expires_at,
                          later->now_ms, later->event);
        free(later);
        caller->put_later = NULL;
    }
}

static void call_stage(const struct run *run, struct caller *caller, const struct call *what,
                       const struct call_part *part, struct reply *reply,
                       struct call_outcome *outcome) {
    *outcome = (struct call_outcome){0};
    bool over = call_share(caller, what, part, reply, outcome);
    check(over);
    finish_put(caller);
    run->outcome->ticks += outcome->ticks;
    if (outcome->errors > 0) {
        run->outcome->errors += outcome->errors;
        memcpy(run->outcome->error_code, outcome->error_code, sizeof outcome->error_code);
    }
}

static struct call call_of(const struct run *run, const struct keyset_key *key) {
    struct call what = *run->what;
    what.key = &key->key;
    return what;
}

/* All its keys are on one shard. */
static bool run_here(const struct run *run) {
    const struct keyset_key *key = &run->keys->list[0];
    struct caller caller = caller_at(run, key);
    caller.view = run->keys->everywhere ? run->anywhere->view : NULL;
    struct call what = call_of(run, key);
    struct call_outcome outcome;
    call_stage(run, &caller, &what, NULL, run->reply, &outcome);
    return true;
}

/* ---- Once for each key ---- */

/* The words of one key, with those that stand before and behind all of them. */
struct share {
    struct call what;
    struct keyset *keys;
};

/* How the words are divided: as of txn_plan. */
struct words {
    uint32_t head, step, tail;
    uint32_t count_index; /* 0: none */
};

static bool divide(const struct run *run, struct words *ret) {
    const struct key_spec *spec = &run->what->ref->row->keys[0];
    bool counted = spec->find == FIND_KEYNUM;
    ret->head = run->keys->list[0].index;
    ret->step = (uint32_t)(counted ? spec->keynum_step : spec->step);
    ret->count_index = counted ? (uint32_t)(spec->index + spec->keynum) : 0;
    uint32_t end = ret->head + run->keys->count * ret->step;
    ret->tail = end <= run->what->argc ? run->what->argc - end : 0;
    return end <= run->what->argc && (counted || ret->tail == 0);
}

static struct share share_of(const struct run *run, const struct words *words, uint32_t i) {
    struct arena *arena = run->anywhere->arena;
    struct share share = {.what = *run->what};
    const struct bytes *argv = run->what->argv;
    share.what.argc = words->head + words->step + words->tail;
    share.what.argv = arena_alloc(arena, share.what.argc * sizeof *argv);
    memcpy(share.what.argv, argv, words->head * sizeof *argv);
    memcpy(share.what.argv + words->head, argv + run->keys->list[i].index,
           words->step * sizeof *argv);
    memcpy(share.what.argv + words->head + words->step, argv + run->what->argc - words->tail,
           words->tail * sizeof *argv);
    if (words->count_index > 0) {
        share.what.argv[words->count_index] = BYTES("1");
    }
    share.keys = keyset_empty(arena, 1);
    keyset_add(share.keys, &run->keys->list[i], words->head);
    share.what.key = &run->keys->list[i].key;
    share.what.keys = share.keys;
    return share;
}

static int64_t take_int(struct outbuf *out) {
    struct iovec part;
    int64_t value = 0;
    if (outbuf_vectors(out, &part, 1) > 0 && part.iov_len > 3) {
        num_parse_i64(bytes_make((const char *)part.iov_base + 1, part.iov_len - 3), &value);
    }
    outbuf_drain(out, out->bytes);
    return value;
}

/* Only whether all keys let it run is asked. False: one does not, and has said so. */
static bool all_agree(const struct run *run, const struct words *words) {
    struct call_part part = {.stage = STAGE_ASK};
    size_t before = run->reply->out->bytes;
    for (uint32_t i = 0; i < run->keys->count && run->reply->out->bytes == before; i++) {
        struct share share = share_of(run, words, i);
        struct caller caller = caller_at(run, &run->keys->list[i]);
        struct call_outcome outcome;
        call_stage(run, &caller, &share.what, &part, run->reply, &outcome);
    }
    return run->reply->out->bytes == before;
}

static bool run_for_each(const struct run *run) {
    enum command_spread spread = run->what->ref->row->spread;
    struct words words;
    if (!divide(run, &words)) {
        return run_here(run); /* it says itself what is wrong */
    }
    if (spread == SPREAD_IF && !run->anywhere->is_known_to_run && !all_agree(run, &words)) {
        return true;
    }
    struct outbuf out;
    outbuf_init(&out);
    int64_t sum = 0;
    bool answered = false;
    if (spread == SPREAD_ELEMENTS) {
        reply_array(run->reply, run->keys->count);
    }
    for (uint32_t i = 0; i < run->keys->count && !answered; i++) {
        struct share share = share_of(run, &words, i);
        struct caller caller = caller_at(run, &run->keys->list[i]);
        size_t ends[2];
        struct call_part part = {
            .stage = spread == SPREAD_IF ? STAGE_ACT : STAGE_ALL,
            .element_ends = spread == SPREAD_ELEMENTS ? ends : NULL,
        };
        struct reply reply;
        reply_init(&reply, &out, run->reply->resp);
        struct call_outcome outcome;
        call_stage(run, &caller, &share.what, &part, &reply, &outcome);
        if (spread == SPREAD_ELEMENTS) {
            outbuf_drain(&out, ends[0]); /* the head */
            outbuf_move(run->reply->out, &out, out.bytes);
        } else if (reply.errors > 0 || (spread != SPREAD_SUM && i + 1 == run->keys->count)) {
            outbuf_move(run->reply->out, &out, out.bytes);
            run->reply->errors += reply.errors;
            answered = true;
        } else if (spread == SPREAD_SUM) {
            sum += take_int(&out);
        } else {
            outbuf_drain(&out, out.bytes);
        }
    }
    if (spread == SPREAD_SUM && !answered) {
        reply_int(run->reply, sum);
    }
    outbuf_fini(&out);
    return true;
}

/* ---- SPREAD_EACH: all of it, on one key after the other ---- */

static struct call on_one(const struct run *run, uint32_t i) {
    struct call what = call_of(run, &run->keys->list[i]);
    struct keyset *keys = keyset_empty(run->anywhere->arena, 1);
    keyset_add(keys, &run->keys->list[i], run->keys->list[i].index);
    what.keys = keys;
    return what;
}

static bool run_each(const struct run *run) {
    struct call_outcome outcome;
    size_t before = run->reply->out->bytes;
    for (uint32_t i = 0; i < run->keys->count; i++) {
        struct call what = on_one(run, i);
        struct caller caller = caller_at(run, &run->keys->list[i]);
        struct call_part part = {.stage = STAGE_ASK};
        call_stage(run, &caller, &what, &part, run->reply, &outcome);
        if (run->reply->out->bytes > before) {
            return true;
        }
    }
    struct outbuf out;
    outbuf_init(&out);
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->keys->count; i++) {
        struct call what = on_one(run, i);
        struct caller caller = caller_at(run, &run->keys->list[i]);
        size_t ends[2], bytes = out.bytes;
        struct call_part part = {.stage = STAGE_ACT, .element_ends = ends};
        struct reply reply;
        reply_init(&reply, &out, run->reply->resp);
        call_stage(run, &caller, &what, &part, &reply, &outcome);
        count += out.bytes > bytes;
    }
    if (count == 0) {
        reply_null_array(run->reply);
    } else if (run->reply->resp == 2) {
        reply_array(run->reply, count);
    } else {
        reply_map(run->reply, count);
    }
    outbuf_move(run->reply->out, &out, out.bytes);
    outbuf_fini(&out);
    return true;
}

/* ---- At one of its keys ---- */

static bool is_alive(const struct run *run, const struct keyset_key *key) {
    int64_t alive_ms =
        run->anywhere->caller.manner & MANNER_REPLAYS ? INT64_MIN : run->what->now_ms;
    return keyspace_has(keyspace_of(run, key), key->db, &key->key, alive_ms);
}

/* At the owner of the first that has a value; if none has, at that of the first. */
static bool run_at_first(const struct run *run) {
    const struct keyset *keys = run->keys;
    const struct keyset_key *at = NULL;
    for (uint32_t i = 0; i < keys->count && at == NULL; i++) {
        at = is_alive(run, &keys->list[i]) ? &keys->list[i] : NULL;
    }
    struct caller caller = caller_at(run, at != NULL ? at : &keys->list[0]);
    caller.only = at != NULL ? at->index : UINT32_MAX; /* it looks at none */
    struct call what = call_of(run, at != NULL ? at : &keys->list[0]);
    struct call_part part = {.stage = STAGE_AT};
    struct call_outcome outcome;
    call_stage(run, &caller, &what, &part, run->reply, &outcome);
    return true;
}

/* Of what it writes, or, if it only reads, of any: no input is far. */
static uint32_t place_of(const struct run *run) {
    const struct keyset *keys = run->keys;
    for (uint32_t i = 0; i < keys->count; i++) {
        if (!(keys->list[i].flags & (KEY_RO | KEY_DELETE))) {
            return i;
        }
    }
    return 0;
}

/* Where the key lies that it writes, with what it reads lent; then goes what it took. */
static bool run_at(const struct run *run) {
    const struct keyset *keys = run->keys;
    struct exec_input *inputs = arena_alloc(run->anywhere->arena, keys->count * sizeof *inputs);
    unsigned flags = run->anywhere->caller.manner & MANNER_NO_TOUCH ? LOOKUP_NOTOUCH : 0;
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct keyset_key *key = &keys->list[i];
        inputs[i] = (struct exec_input){.index = key->index};
        if (!(key->flags & KEY_ACCESS)) {
            continue;
        }
        if (UNLIKELY(run->anywhere->caller.manner & MANNER_TRACKS)) {
            news_remember_key(run->anywhere->caller.worker, key->worker, run->what->ref->row,
                              &key->key);
        }
        struct keyspace *ks = keyspace_of(run, key);
        struct entry *entry =
            run->anywhere->caller.manner & MANNER_REPLAYS
                ? keyspace_find_any(ks, key->db, &key->key)
                : keyspace_find(ks, key->db, &key->key, run->what->now_ms, LOOKUP_NOSTATS | flags);
        if (entry != NULL) {
            inputs[i].loan = keyspace_lend(ks, entry);
        }
    }
    const struct keyset_key *at = &keys->list[place_of(run)];
    struct caller caller = caller_at(run, at);
    struct call_part part = {.stage = STAGE_AT, .inputs = inputs, .inputs_count = keys->count};
    struct call what = call_of(run, at);
    struct call_outcome outcome;
    call_stage(run, &caller, &what, &part, run->reply, &outcome);
    for (uint32_t i = 0; i < keys->count; i++) {
        if (inputs[i].loan.present) {
            keyspace_take_back(keyspace_of(run, &keys->list[i]), 1);
        }
    }
    for (uint32_t i = 0; outcome.takes && i < keys->count; i++) {
        if (keys->list[i].flags & KEY_DELETE) {
            struct outbuf unread;
            struct reply reply;
            struct call_outcome taken;
            outbuf_init(&unread);
            reply_init(&reply, &unread, 2);
            caller = caller_at(run, &keys->list[i]);
            part.stage = STAGE_TAKE;
            what = call_of(run, &keys->list[i]);
            call_stage(run, &caller, &what, &part, &reply, &taken);
            outbuf_fini(&unread);
        }
    }
    return true;
}

static bool run_apart(const struct run *run) {
    switch (run->what->ref->row->spread) {
    case SPREAD_SUM:
    case SPREAD_OK:
    case SPREAD_ELEMENTS:
    case SPREAD_IF:
        return run_for_each(run);
    case SPREAD_FIRST:
        return run_at_first(run);
    case SPREAD_AT:
    case SPREAD_MOVE:
        return run_at(run);
    case SPREAD_EACH:
        return run_each(run);
    default:
        return false;
    }
}

bool anywhere_run(struct anywhere *anywhere, const struct call *what, struct reply *reply,
                  struct call_outcome *outcome) {
    struct run run = {
        .anywhere = anywhere,
        .what = what,
        .keys = what->keys,
        .reply = reply,
        .outcome = outcome,
    };
    if (what->ref->row->spread == SPREAD_SEND) {
        return false;
    }
    return what->keys->apart && !what->keys->everywhere ? run_apart(&run) : run_here(&run);
}
