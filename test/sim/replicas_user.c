/* SPDX-License-Identifier: BSD-3-Clause */
/* replicas_user: those who write to the primary, wait for its replicas, and read from them. Each
 * has a connection to one server, and goes to another when somebody has taken over. */
#include "test/sim/replicas_private.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

#define WAIT_MS 300

static void hang_up(struct user *user) {
    if (user->peer != NULL) {
        sim_peer_close(user->peer);
        user->peer = NULL;
    }
    user->count = 0;
    user->out_sent = 0;
    text_clear(&user->in);
    text_clear(&user->out);
}

static struct item *ask(struct user *user, enum item_kind kind) {
    check(user->count < ITEMS_MAX);
    struct item *item = &user->items[user->count++];
    *item = (struct item){.kind = kind, .replies = 1, .asked_ns = sim_now_ns(user->run->sim)};
    return item;
}

/* Values of other types, with deadlines, and what is decided when it runs. */
static void ask_noise(struct user *user) {
    static const char *const commands[] = {
        "INCR n:%u",           "SADD s:%u %u %u",           "SPOP s:%u",
        "HSET h:%u %u %u",     "HINCRBY h:%u %u %u",        "ZADD z:%u %u m%u",
        "ZPOPMIN z:%u",        "XADD x:%u MAXLEN 9 * f %u", "APPEND t:%u %u",
        "SET t:%u %u PX %u",   "PEXPIRE h:%u %u",           "DEL s:%u t:%u",
        "GETDEL t:%u",         "RENAME s:%u s:%u",          "COPY h:%u h:%u REPLACE",
        "SETRANGE t:%u %u x",  "EXPIRE z:%u 10000%u",       "PUBLISH c:%u %u",
        "BITOP NOT b:%u t:%u",
    };
    struct replicas_run *run = user->run;
    ask(user, ITEM_NOISE);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    wire_requestf(&user->out, commands[draw(run, 0, sizeof commands / sizeof *commands - 1)],
                  (unsigned)draw(run, 0, 9), (unsigned)draw(run, 0, 9), (unsigned)draw(run, 1, 40));
#pragma GCC diagnostic pop
}

static void ask_write(struct user *user) {
    struct replicas_run *run = user->run;
    struct item *item = ask(user, ITEM_WRITE);
    item->number =
        chronicle_write(run->chronicle, &run->rng, item->asked_ns, &user->out, &item->replies);
}

/* A connection that has died may be counted beside the one that has taken its place: so it counts
 * only if before and after it just the others were there. */
static void ask_wait(struct user *user) {
    struct item *item = ask(user, ITEM_WAIT);
    wire_requestf(&user->out, "INFO replication");
    wire_requestf(&user->out, "WAIT %u %u", user->run->servers - 1, WAIT_MS);
    wire_requestf(&user->out, "INFO replication");
    item->replies = 3;
}

static void ask_read(struct user *user) {
    struct item *item = ask(user, ITEM_READ);
    chronicle_read(&user->out, &item->replies);
    item->must_ns = replicas_must(user->run, user->server);
}

static void ask_more(struct user *user) {
    struct replicas_run *run = user->run;
    uint64_t now_ns = sim_now_ns(run->sim);
    if (user->count > 0 || !run->working || now_ns < user->rest_until_ns) {
        return;
    }
    if (user->reads) {
        ask_read(user);
        user->rest_until_ns = now_ns + draw(run, 1, 60 * MS);
        return;
    }
    for (unsigned n = (unsigned)draw(run, 1, ITEMS_MAX - 1); n > 0; n--) {
        if (one_in(run, 3)) {
            ask_noise(user);
        } else {
            ask_write(user);
        }
    }
    if (user->index == 0 || one_in(run, 8)) {
        ask_wait(user);
    }
    user->rest_until_ns = now_ns + draw(run, 1, run->rest_ns);
}

/* Just the others, each once, and all of them follow. */
static bool lists_all(const struct replicas_run *run, struct bytes info) {
    char line[64];
    snprintf(line, sizeof line, "connected_slaves:%u\r\n", run->servers - 1);
    bool all = memmem(info.ptr, info.len, line, strlen(line)) != NULL;
    for (unsigned i = 0; i < run->servers; i++) {
        snprintf(line, sizeof line, ",port=%u,state=online,", world_port(run->world, i));
        all &= i == run->primary || memmem(info.ptr, info.len, line, strlen(line)) != NULL;
    }
    return all;
}

static void waited(struct user *user, struct item *item, const struct wire_value *value) {
    struct replicas_run *run = user->run;
    if (value->type == '$') {
        item->listed += lists_all(run, value->text);
        return;
    }
    item->enough = value->type == ':' && value->integer >= (int64_t)run->servers - 1;
}

static void wait_over(struct replicas_run *run, const struct item *item) {
    bool all = item->enough && item->listed == 2;
    run->reached[all ? CAME_WAITED : CAME_WAITED_IN_VAIN]++;
    for (unsigned i = 0; all && i < run->servers; i++) {
        struct member *node = &run->nodes[i];
        if (i != run->primary && item->asked_ns > node->has_ns && node->joined) {
            node->has_ns = item->asked_ns;
        }
    }
}

static void read_over(struct user *user, const struct item *item, const struct wire_value *value) {
    struct replicas_run *run = user->run;
    const struct member *node = &run->nodes[user->server];
    if (value->type != '*' || !node->joined || user->epoch != run->epoch) {
        return;
    }
    run->reached[CAME_READ_THERE]++;
    run->reached[CAME_READ_PROMISED] += item->must_ns > 0;
    struct chronicle_claim claim = {.must_ns = item->must_ns};
    if (!chronicle_judge(run->chronicle, &claim, value, &run->why)) {
        text_appendf(&run->why, " (a read of server %u)", user->server);
        replicas_wrong(run);
    }
}

static void answered(struct user *user, struct item *item, const struct wire_value *value) {
    struct replicas_run *run = user->run;
    if (item->kind == ITEM_WAIT) {
        waited(user, item, value);
    }
    if (--item->replies > 0) {
        return;
    }
    run->answered++;
    struct item done = *item;
    user->count--;
    memmove(user->items, user->items + 1, user->count * sizeof(struct item));
    if (done.kind == ITEM_WRITE &&
        !chronicle_written(run->chronicle, done.number, sim_now_ns(run->sim), value, &run->why)) {
        replicas_wrong(run);
    } else if (done.kind == ITEM_WAIT) {
        wait_over(run, &done);
    } else if (done.kind == ITEM_READ) {
        read_over(user, &done, value);
    }
}

/* One reply of a connection: false, there is none yet. */
static bool next_reply(struct replicas_run *run, struct text *in, size_t *used,
                       struct wire_value *ret) {
    arena_reset(&run->arena);
    ssize_t bytes = value_read(bytes_make(in->ptr + *used, in->len - *used), &run->arena, ret);
    if (bytes < 0) {
        world_fail(run->world, "a reply that is none: %.60s", in->ptr + *used);
    }
    *used += (size_t)bytes;
    return bytes > 0;
}

/* False: the connection is over. */
bool peer_receive(struct sim_peer *peer, struct text *in) {
    size_t room = sim_peer_readable(peer);
    text_reserve(in, room + 1);
    ssize_t n = sim_peer_read(peer, in->ptr + in->len, room);
    in->len += n > 0 ? (size_t)n : 0;
    return n >= 0 && !sim_peer_ended(peer) && !sim_peer_broken(peer) && !sim_peer_dead(peer);
}

static bool write_out(struct sim_peer *peer, struct text *out, size_t *sent) {
    while (*sent < out->len) {
        ssize_t n = sim_peer_write(peer, out->ptr + *sent, out->len - *sent);
        if (n <= 0) {
            return n == 0;
        }
        *sent += (size_t)n;
    }
    text_clear(out);
    *sent = 0;
    return true;
}

/* Where it asks now; false: nowhere. */
static bool find_server(struct user *user) {
    struct replicas_run *run = user->run;
    user->server = run->primary;
    if (user->reads) {
        user->server = (run->primary + (unsigned)draw(run, 1, run->servers - 1)) % run->servers;
        return run->nodes[user->server].joined && replicas_is_up(run, user->server);
    }
    return replicas_is_up(run, user->server);
}

void user_goes_on(struct user *user) {
    struct replicas_run *run = user->run;
    if (user->peer != NULL && (run->halted || user->epoch != run->epoch)) {
        hang_up(user);
    }
    if (user->peer == NULL) {
        uint64_t now_ns = sim_now_ns(run->sim);
        if (!run->working || run->halted || now_ns < user->rest_until_ns) {
            return;
        }
        user->rest_until_ns = now_ns + draw(run, MS / 4, 4 * MS);
        if (!find_server(user) ||
            sim_dial(run->sim, world_port(run->world, user->server), &user->peer) != 0) {
            user->peer = NULL;
            return;
        }
        user->epoch = run->epoch;
    }
    size_t used = 0, before = user->in.len;
    struct wire_value value;
    bool stays = peer_receive(user->peer, &user->in);
    while (user->in.len > before && user->count > 0 && next_reply(run, &user->in, &used, &value)) {
        answered(user, &user->items[0], &value);
    }
    if (used > 0) {
        memmove(user->in.ptr, user->in.ptr + used, user->in.len - used);
        user->in.len -= used;
    }
    /* A reader looks elsewhere now and then. */
    if (!stays || (user->reads && user->count == 0 && one_in(run, 64))) {
        hang_up(user);
        return;
    }
    ask_more(user);
    if (!write_out(user->peer, &user->out, &user->out_sent)) {
        hang_up(user);
    }
}

void user_init(struct user *user, struct replicas_run *run, unsigned index) {
    user->run = run;
    user->index = index;
    user->reads = index == 1 || (index > 2 && one_in(run, 3));
    text_init(&user->in);
    text_init(&user->out);
}
