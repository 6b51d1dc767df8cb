/* SPDX-License-Identifier: BSD-3-Clause */
/* user: see the header. A user is a state machine that is stepped whenever its connection changed
 * or its time has come; it never waits.
 *
 *     away --dial--> connected: issue, write, read, check --lost, impatient, struck--> away
 *                          \--all answered, finishing--> last reads --> done
 *
 * A request whose reply never came may have been carried out, may be later, or never: its effect is
 * a ghost, allowed from then on and demanded never.
 */
#include "test/sim/user.h"

#include "base/check.h"
#include "server/call/errors.h"
#include "server/worker/worker.h"
#include "shard/keys/entry.h"
#include "test/sim/user_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define OUT_MAX       (256 * 1024)
#define STEP_NS       2000
#define DIAL_AGAIN_NS (3 * 1000 * 1000)
#define SLOW_READ_NS  (4 * 1000 * 1000)
/* A flood goes on so often, and is over after so many times. */
#define FLOOD_AGAIN_NS (500 * 1000)
#define FLOODS         10

static void step(void *arg, uint64_t token);

static void step_soon(struct user *user, uint64_t delay_ns) {
    uint64_t at = sim_now_ns(user->users->sim) + delay_ns;
    if (!user->done && at < user->step_ns) {
        user->step_ns = at;
        sim_after(user->users->sim, delay_ns, step, user, at);
    }
}

static void on_change(void *arg) {
    step_soon(arg, STEP_NS + rng_below(&((struct user *)arg)->users->rng, STEP_NS));
}

/* ---- What comes next ---- */

/* Everything once more, a few at a time. */
static unsigned last_reads(const struct users *users) {
    return users->options.own_keys + COUNTERS + LISTS +
           (users->options.several_shards ? GROUPS : 0) +
           (users->options.transactions ? CAS_KEYS + 1 : 0);
}

/* What only who is alone can judge: all of each queue; of each stream its entries, what the group
 * has not had yet, and what it has not acknowledged. */
static unsigned account_reads(const struct users *users) {
    return users->options.bags + (users->options.queues ? QUEUES + 3 * STREAMS : 0);
}

static void issue_account(struct user *user, unsigned i) {
    static const enum kind of_streams[] = {KIND_STREAM_READ, KIND_STREAM_TAKE, KIND_STREAM_PENDING};
    if (user->users->options.bags && i-- == 0) {
        user_issue(user, KIND_BAG_READ, 0);
    } else if (i < QUEUES) {
        user_issue(user, KIND_QUEUE_READ, i);
    } else {
        user_issue(user, of_streams[(i - QUEUES) / STREAMS], (i - QUEUES) % STREAMS);
    }
}

static void issue_last(struct user *user, unsigned i) {
    const struct users_options *options = &user->users->options;
    unsigned own = options->own_keys, groups = options->several_shards ? GROUPS : 0;
    if (i < own) {
        user_issue(user, KIND_GET, i);
    } else if ((i -= own) < COUNTERS) {
        user_issue(user, KIND_COUNTER, i);
    } else if ((i -= COUNTERS) < LISTS) {
        user_issue(user, KIND_LIST, i);
    } else if ((i -= LISTS) < groups) {
        user_issue(user, KIND_GROUP_GET, i);
    } else if ((i -= groups) < CAS_KEYS) {
        user_issue(user, KIND_CAS_CHECK, i);
    } else {
        user_issue(user, KIND_PAIR_READ, 0);
    }
}

/* Nothing of it waits for anything else, so all of it is under way at once, as far as it may be:
 * one shard has its first replies, and those of others are ready. */
static void issue_flood(struct user *user) {
    struct users *users = user->users;
    while (user->pending_count < FLOOD_MAX && user->out.len - user->out_sent < OUT_MAX) {
        unsigned key = (unsigned)rng_below(&users->rng, users->options.own_keys);
        user_issue(user, rng_below(&users->rng, 16) == 0 ? KIND_SET : KIND_GET, key);
    }
    user->sent += users->options.requests / FLOODS + 1;
    user->think_until_ns = sim_now_ns(users->sim) + FLOOD_AGAIN_NS;
    step_soon(user, FLOOD_AGAIN_NS);
}

static void issue_some(struct user *user) {
    struct users *users = user->users;
    uint64_t now_ns = sim_now_ns(users->sim);
    if (user->struck || user->out.len - user->out_sent > OUT_MAX) {
        return;
    }
    if (users->finishing) {
        unsigned accounts = user->sweeping ? account_reads(users) : 0, reads = last_reads(users);
        while (user->sweeping && user->last_next >= reads && user->last_next < reads + accounts) {
            issue_account(user, user->last_next++ - reads);
        }
        if (user->sweeping && user->last_next == reads + accounts && user->pending_count == 0) {
            queues_account(users);
            bags_account(users);
            user_issue(user, KIND_FLUSH, 0);
            user->last_next++;
        }
        while (user->reading_last && user->last_next < last_reads(users) &&
               user->pending_count < 8) {
            issue_last(user, user->last_next++);
        }
        return;
    }
    if (user->cas == CAS_READ) {
        user_issue(user, KIND_CAS_WRITE, user->cas_key);
        return;
    }
    if (user->cas == CAS_READING) {
        return;
    }
    if (now_ns < user->stand_until_ns) {
        if (user->stand_since_ns != 0 && !user->stand_reads) {
            user_issue(user, KIND_STAND_READ, 0);
        }
        step_soon(user, STEP_NS * 20);
        return;
    }
    if (now_ns < user->think_until_ns) {
        step_soon(user, user->think_until_ns - now_ns);
        return;
    }
    if (user->sent >= users->options.requests) {
        return;
    }
    if (user->floods) {
        issue_flood(user);
        return;
    }
    if (user->pending_count >= users->options.pipeline_max) {
        return;
    }
    uint64_t n = 1 + rng_below(&users->rng, users->options.pipeline_max);
    while (n-- > 0 && user->pending_count < users->options.pipeline_max &&
           user->sent < users->options.requests && user->cas == CAS_NOT &&
           sim_now_ns(users->sim) >= user->stand_until_ns) {
        unsigned key = (unsigned)rng_below(&users->rng, users->options.own_keys);
        enum kind kind = user_any_kind(users);
        user_issue(user, kind, key);
        for (uint64_t m = kind == KIND_TRAIL ? rng_below(&users->rng, TRAIL_MAX) : 0; m > 0; m--) {
            user_issue(user, kind, key);
        }
        user->sent++;
    }
    user->think_until_ns =
        now_ns + STEP_NS + rng_below(&users->rng, users->options.think_max_ns + 1);
    step_soon(user, user->think_until_ns - now_ns);
}

/* ---- The connection ---- */

/* It is gone; what was not answered may have happened or not. */
static void forget_pending(struct user *user) {
    for (unsigned i = 0; i < user->pending_count; i++) {
        const struct request *request = pending_at(user, i);
        if (user_ops[request->kind].record != NULL) {
            user_ops[request->kind].record(user, request, NULL);
        }
        queue_lost(user, request);
        bag_lost(user, request);
        if (request->kind == KIND_SET) {
            own_ghost(&user->own[request->key], request->value);
        } else if (request->kind == KIND_DELETE) {
            own_ghost(&user->own[request->key], 0);
        } else if (request->kind == KIND_MSET) {
            for (unsigned j = 0; j < user->users->options.own_keys; j++) {
                own_ghost(&user->own[j], request->value + j);
            }
        } else if (request->kind == KIND_RENAME || request->kind == KIND_COPY) {
            user->moves_lost = true;
        }
    }
    topics_lost(user);
    cache_lost(user);
    user->cas = CAS_NOT;
    user->stand_until_ns = 0;
    user->stand_reads = false;
    user->pending_count = 0;
    user->waits = 0;
    text_clear(&user->out);
    text_clear(&user->in);
    user->out_sent = 0;
}

static void lost(struct user *user, bool reset) {
    struct users *users = user->users;
    sim_note(users->sim, "user-leaves", user->index, user->pending_count, reset);
    if (reset) {
        line_reset(user->line);
    } else {
        line_close(user->line);
    }
    user->line = NULL;
    user->struck = false;
    user->last_next = 0;
    forget_pending(user);
    step_soon(user, rng_below(&users->rng, DIAL_AGAIN_NS));
}

static void connect_user(struct user *user) {
    struct users *users = user->users;
    uint64_t choice = rng_below(&users->rng, 65536);
    bool secure =
        users->options.secure > 0 && (rng_next(&users->rng) & 0xffff) < users->options.secure;
    uint16_t port = secure ? world_tls_port(users->world, users->options.server)
                           : world_port(users->world, users->options.server);
    if (line_dial(users->sim, port, secure, on_change, user, &user->line) != 0) {
        user->line = NULL;
        step_soon(user, DIAL_AGAIN_NS);
        return;
    }
    user->process = ++users->processes;
    user->client_id = 0;
    user_begin_trail(user);
    user->scripts_known[0] = user->scripts_known[1] = 0;
    user->library_sent = false;
    user->slow = choice < users->options.slow && !users->finishing;
    user->floods = rng_below(&users->rng, 65536) < users->options.floods && !users->finishing;
    users->counts.secure += secure;
    if (choice % 4 == 0 || ((users->options.topics || users->options.caches) && choice % 4 < 3)) {
        user_issue(user, KIND_HELLO, 0);
    }
    if (users->options.scripts && !users->finishing) {
        user_issue(user, KIND_LIBRARY, 0);
    }
    if (users->options.queues) {
        user_issue(user, KIND_ID, 0);
    }
}

static void tell_reply(const struct user *user, const struct request *request,
                       const struct wire_value *value) {
    struct text text;
    text_init(&text);
    value_print(value, &text);
    sim_tell(user->users->sim, "user %u is told of %s, key %u: %.200s", user->index,
             user_ops[request->kind].name, request->key, text.ptr);
    text_fini(&text);
}

/* False: the connection is over. */
static bool read_replies(struct user *user) {
    struct users *users = user->users;
    size_t max = user->slow && !users->finishing ? 1 + rng_below(&users->rng, 200) : 65536;
    size_t room = line_readable(user->line);
    room = room < max ? room : max;
    text_reserve(&user->in, room);
    ssize_t n = line_read(user->line, user->in.ptr + user->in.len, room);
    if (n == -EPROTO) {
        world_fail(users->world, "user %u: a record that cannot be", user->index);
    }
    if (n < 0) {
        return false;
    }
    user->in.len += (size_t)n;
    size_t used = 0;
    for (;;) {
        struct wire_value value;
        struct bytes rest = bytes_make(user->in.ptr + used, user->in.len - used);
        ssize_t bytes = value_read(rest, &users->arena, &value);
        if (bytes == 0) {
            break;
        }
        if (bytes < 0) {
            world_fail(users->world, "user %u: no RESP: %.*s", user->index,
                       (int)(rest.len < 80 ? rest.len : 80), rest.ptr);
        }
        if (value.type == '-' && bytes_equal(value.text, BYTES(ERR_MAX_CLIENTS))) {
            return false; /* refused at the door, before anything was read */
        }
        if (topic_message(user, &value) || cache_message(user, &value)) {
            used += (size_t)bytes;
            arena_reset(&users->arena);
            continue;
        }
        if (user->pending_count == 0) {
            world_fail(users->world, "user %u: a reply to nothing: %.*s", user->index, (int)bytes,
                       rest.ptr);
        }
        struct request request = *pending_at(user, 0);
        user->pending_head++;
        user->pending_count--;
        user->waits -= request.timeout_ns != 0;
        users->counts.answered++;
        used += (size_t)bytes;
        if (sim_prints(users->sim)) {
            tell_reply(user, &request, &value);
        }
        cache_look(user, &request);
        if (!user_refused(user, &request, &value)) {
            user_ops[request.kind].reply(user, &request, &value);
            if (user_ops[request.kind].record != NULL) {
                user_ops[request.kind].record(user, &request, &value);
            }
        }
        arena_reset(&users->arena);
    }
    memmove(user->in.ptr, user->in.ptr + used, user->in.len - used);
    user->in.len -= used;
    if (line_over(user->line)) {
        return false;
    }
    if (line_readable(user->line) > 0) {
        step_soon(user, user->slow ? rng_below(&users->rng, SLOW_READ_NS) : STEP_NS);
    }
    return true;
}

static bool write_requests(struct user *user) {
    while (user->out_sent < user->out.len && !user->struck) {
        ssize_t n =
            line_write(user->line, user->out.ptr + user->out_sent, user->out.len - user->out_sent);
        if (n < 0) {
            return false;
        }
        if (n == 0) {
            return true; /* on_change says when there is room */
        }
        user->out_sent += (size_t)n;
    }
    if (user->out_sent == user->out.len) {
        text_clear(&user->out);
        user->out_sent = 0;
    }
    return line_flush(user->line);
}

static bool impatient(struct user *user) {
    struct users *users = user->users;
    if (users->finishing || user->pending_count == 0) {
        return false;
    }
    uint64_t until = pending_at(user, 0)->at_ns + users->options.patience_ns;
    uint64_t now_ns = sim_now_ns(users->sim);
    if (now_ns < until) {
        step_soon(user, until - now_ns);
        return false;
    }
    return true;
}

static void step_last(struct user *user) {
    struct users *users = user->users;
    if (user->pending_count > 0) {
        return;
    }
    if (user->struck) {
        lost(user, false);
    } else if (!user->reading_last) {
        user->reading_last = true;
        step_soon(user, STEP_NS);
    } else if (user->last_next ==
               last_reads(users) + (user->sweeping ? account_reads(users) + 1 : 0)) {
        topics_leave(user);
        line_close(user->line);
        user->line = NULL;
        user->done = true;
        sim_note(users->sim, "user-done", user->index, 0, 0);
    } else {
        step_soon(user, STEP_NS);
    }
}

static void step(void *arg, uint64_t token) {
    struct user *user = arg;
    if (user->done || user->step_ns != token) {
        return;
    }
    user->step_ns = UINT64_MAX;
    if (user->line == NULL) {
        connect_user(user);
        if (user->line == NULL) {
            return;
        }
    }
    if (!read_replies(user) || impatient(user)) {
        lost(user, false);
        return;
    }
    issue_some(user);
    if (!write_requests(user)) {
        lost(user, true);
        return;
    }
    if (user->users->finishing) {
        step_last(user);
    } else if (user->struck && user->pending_count == 0) {
        lost(user, false);
    }
}

/* ---- All of them ---- */

struct users *users_new(struct world *world, const struct users_options *options) {
    struct users *users = calloc(1, sizeof *users);
    check(users != NULL);
    check(options->pipeline_max <= PENDING_MAX - 8 && options->count <= USERS_MAX);
    check(options->shared_keys <= SHARED_MAX);
    users->world = world;
    users->sim = world_sim(world);
    users->options = *options;
    users->script_version = 1;
    rng_seed(&users->rng, rng_next(sim_rng(users->sim)));
    arena_init(&users->arena, 4096);
    history_init(&users->history);
    users->history.order = options->order;
    users->items = calloc(options->count, sizeof *users->items);
    check(users->items != NULL);
    for (unsigned i = 0; i < LISTS; i++) {
        text_init(&users->lists[i].longest);
    }
    for (unsigned i = 0; i < options->count; i++) {
        struct user *user = &users->items[i];
        user->users = users;
        user->index = i;
        user->step_ns = UINT64_MAX;
        text_init(&user->out);
        text_init(&user->stood);
        text_init(&user->in);
        user->own = calloc(options->own_keys, sizeof *user->own);
        check(user->own != NULL);
        step_soon(user, rng_below(&users->rng, DIAL_AGAIN_NS));
    }
    return users;
}

void users_free(struct users *users) {
    for (unsigned i = 0; i < users->options.count; i++) {
        struct user *user = &users->items[i];
        for (unsigned j = 0; j < users->options.own_keys; j++) {
            free(user->own[j].ghosts);
        }
        free(user->own);
        text_fini(&user->out);
        text_fini(&user->stood);
        text_fini(&user->in);
    }
    for (unsigned i = 0; i < LISTS; i++) {
        text_fini(&users->lists[i].longest);
    }
    arena_fini(&users->arena);
    history_fini(&users->history);
    free(users->refused);
    free(users->elements);
    free(users->members);
    free(users->told);
    free(users->items);
    free(users);
}

unsigned users_count(const struct users *users) {
    return users->options.count;
}

bool users_idle(const struct users *users) {
    for (unsigned i = 0; i < users->options.count; i++) {
        const struct user *user = &users->items[i];
        if (user->sent < users->options.requests || user->pending_count > 0) {
            return false;
        }
    }
    return true;
}

void users_finish(struct users *users) {
    users->finishing = true;
    for (unsigned i = 0; i < users->options.count; i++) {
        struct user *user = &users->items[i];
        if (user->line != NULL && sim_peer_dead(line_peer(user->line))) {
            lost(user, true); /* nothing would ever tell it */
        }
        step_soon(user, rng_below(&users->rng, STEP_NS));
    }
}

void users_sweep(struct users *users) {
    struct user *user = &users->items[0];
    user->done = false;
    user->sweeping = true;
    user->step_ns = UINT64_MAX;
    step_soon(user, STEP_NS);
}

void users_leave(struct users *users) {
    for (unsigned i = 0; i < users->options.count; i++) {
        struct user *user = &users->items[i];
        if (user->line != NULL) {
            line_close(user->line);
            user->line = NULL;
        }
        user->done = true;
    }
}

bool users_done(const struct users *users) {
    for (unsigned i = 0; i < users->options.count; i++) {
        if (!users->items[i].done) {
            return false;
        }
    }
    return true;
}

/* What stands in the shards now, as no user could see it: the number, 0 for none. */
static uint64_t trail_number(const struct users *users, const struct key *key) {
    const struct server *server = world_server(users->world, users->options.server);
    const struct worker *worker = server->workers[node_owner(&server->nodes[0], key->slot)];
    const struct entry *entry = keyspace_find_any(worker->shard.keyspace, 0, key);
    if (entry == NULL) {
        return 0;
    }
    check(entry->form == FORM_INT);
    return (uint64_t)entry_int(entry);
}

void users_look(struct users *users) {
    queues_look(users);
    topics_look(users);
    if (!users->options.trails || users->flushed) {
        return;
    }
    for (unsigned i = 0; i < users->options.count; i++) {
        const struct user *user = &users->items[i];
        uint64_t numbers[TRAIL_KEYS], last = 0;
        for (unsigned j = 0; j < TRAIL_KEYS && user->trail > 0; j++) {
            numbers[j] = trail_number(users, &user->trail_keys[j]);
            last = numbers[j] > last ? numbers[j] : last;
        }
        for (uint64_t n = last; n > 0 && n + TRAIL_KEYS > last; n--) {
            if (numbers[n % TRAIL_KEYS] != n) {
                world_fail(users->world,
                           "user %u: its write %llu is there, and instead of %llu there is %llu",
                           user->index, (unsigned long long)last, (unsigned long long)n,
                           (unsigned long long)numbers[n % TRAIL_KEYS]);
            }
        }
    }
}

/* One history of all of them, as a strictly serializable server could have given it? */
static void check_history(struct users *users) {
    struct verdict verdict;
    verdict_init(&verdict);
    if (!checker_check(&users->history, &verdict)) {
        char text[700] = "";
        FILE *out = fmemopen(text, sizeof text - 1, "w");
        check(out != NULL);
        verdict_print(&verdict, out);
        fclose(out);
        users->refuted = true;
        world_fail(users->world, "the history is wrong: %s", text);
    }
    verdict_fini(&verdict);
}

void users_check(struct users *users) {
    topics_account(users);
    if (!users->flushed) {
        check_history(users);
    }
    for (unsigned i = 0; i < LISTS; i++) {
        const struct appended *list = &users->lists[i];
        if (list->answered > list->longest.len && !users->flushed) {
            world_fail(users->world, "list %u has %zu bytes in the end, and had %llu", i,
                       list->longest.len, (unsigned long long)list->answered);
        }
        /* No token twice, none that nobody appended. */
        struct bytes rest = text_bytes(&list->longest);
        uint64_t *seen = calloc(users->values / 64 + 1, sizeof *seen);
        check(seen != NULL);
        while (rest.len > 0) {
            uint64_t n = value_number(rest);
            const char *end = memchr(rest.ptr, ';', rest.len);
            if (n == 0 || n > users->values || end == NULL || (seen[n / 64] >> n % 64 & 1) ||
                value_is_refused(users, n)) {
                world_fail(users->world, "list %u holds %.20s, twice or never appended", i,
                           rest.ptr);
            }
            seen[n / 64] |= UINT64_C(1) << n % 64;
            rest.len -= (size_t)(end + 1 - rest.ptr);
            rest.ptr = end + 1;
        }
        free(seen);
    }
}

bool users_refuted(const struct users *users) {
    return users->refuted;
}

void users_describe(const struct users *users, struct text *to) {
    for (unsigned i = 0; i < users->options.count; i++) {
        struct user *user = &users->items[i];
        if (!user->done) {
            text_appendf(to, " user %u: %u sent, %u unanswered, %s", i, user->sent,
                         user->pending_count, user->line != NULL ? "connected" : "away");
            if (user->pending_count > 0) {
                text_appendf(to, ", waits for %s since %.3f ms",
                             user_ops[pending_at(user, 0)->kind].name,
                             (double)(sim_now_ns(users->sim) - pending_at(user, 0)->at_ns) / 1e6);
            }
            text_append_char(to, ';');
        }
    }
}

void users_strike(struct users *users, unsigned index, enum user_fate fate) {
    struct user *user = &users->items[index];
    if (user->line == NULL || user->done || user->struck) {
        return;
    }
    sim_note(users->sim, "strike", index, fate, user->pending_count);
    switch (fate) {
    case FATE_VANISH:
        line_vanish(user->line);
        break;
    case FATE_HALF_CLOSE:
        /* What is half written stays half written. */
        line_shutdown(user->line);
        user->struck = true;
        break;
    default:
        lost(user, fate == FATE_RESET);
    }
}

const struct users_counts *users_counts(const struct users *users) {
    return &users->counts;
}
