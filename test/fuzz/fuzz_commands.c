/* SPDX-License-Identifier: BSD-3-Clause */
/* Sequences of commands, of any family, with arguments that their rows ask for, on a whole server
 * of one to four shards in the simulator: no check fails, every request has an answer that is RESP,
 * the keyspaces verify, memory adds up, and after FLUSHALL nothing is left.
 *
 * A byte chooses the command, the next ones its arguments: what a row's `args` say (a key, a
 * number, one of several words) is drawn from small pools, so that keys meet with all types; and
 * sometimes an argument is another than was asked for, missing, or said twice. So a command is
 * known as soon as it has a row; those that must not run are in `left_out`, each with its reason.
 */
#include "base/check.h"
#include "base/quote.h"
#include "base/random.h"
#include "base/text.h"
#include "server/call/command_table.h"
#include "server/worker/worker.h"
#include "test/sim/wire.h"
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS_MAX 60
#define ARGS_MAX     64
#define SECOND       UINT64_C(1000000000)

/* ---- The input ---- */

struct input {
    const uint8_t *data;
    size_t size;
};

static unsigned next(struct input *in, unsigned below) {
    if (in->size == 0) {
        return 0;
    }
    unsigned byte = *in->data;
    in->data++;
    in->size--;
    return byte % below;
}

/* ---- Arguments ---- */

#define POOL(name, ...)                                                                            \
    static const char *const name[] = {__VA_ARGS__};                                               \
    enum { name##_count = sizeof name / sizeof name[0] }

POOL(keys, "a", "b", "c", "{a}1", "{a}2", "key", "list", "zset", "", "x");
POOL(texts, "m0", "m1", "m2", "m3", "m4", "10", "-1", "1.5", "",
     "a longer text of more than sixty-four bytes, which no small encoding takes as it is",
     "\xff\x00", "field", "value", "hello world");
POOL(integers, "0", "1", "2", "3", "5", "10", "-1", "-2", "100", "1000", "9223372036854775807",
     "-9223372036854775808", "512", "64");
POOL(doubles, "0", "1", "-1", "1.5", "2.25", "inf", "-inf", "1e300", "nan", "3", "-0", "12.5");
POOL(patterns, "*", "a*", "?", "[a-m]*", "key*->field", "m*", "#");
POOL(odd, "*", "$", ">", "-", "+", "(1", "[a", "(m1", "0-0", "1-1", "5-*",
     "18446744073709551615-18446744073709551615", "~", "=", "LIMIT", "COUNT", "i8", "u16", "#1",
     "GET", "STREAMS", "WEIGHTS", "BLOCK", "0.01");

static struct bytes pool_text(struct input *in, const char *const *pool, unsigned count) {
    return bytes_of_text(pool[next(in, count)]);
}

struct request {
    struct bytes words[ARGS_MAX];
    char numbers[ARGS_MAX][8];
    unsigned count;
    int counted; /* index of a number of what follows, or -1 */
};

static void add(struct request *r, struct bytes word) {
    if (r->count < ARGS_MAX) {
        r->words[r->count++] = word;
    }
}

static void draw_args(struct input *in, struct request *r, const struct command_arg *args);

static struct bytes draw_word(struct input *in, const struct command_arg *arg) {
    if (next(in, 16) == 15) {
        return pool_text(in, odd, odd_count);
    }
    switch (arg->type) {
    case ARG_KEY:
        return pool_text(in, keys, keys_count);
    case ARG_INTEGER:
    case ARG_UNIX_TIME:
        return pool_text(in, integers, integers_count);
    case ARG_DOUBLE:
        return pool_text(in, doubles, doubles_count);
    case ARG_PATTERN:
        return pool_text(in, patterns, patterns_count);
    default:
        return pool_text(in, texts, texts_count);
    }
}

static unsigned args_count(const struct command_arg *args) {
    unsigned n = 0;
    while (args[n].name != NULL) {
        n++;
    }
    return n;
}

/* What a count before it must say is known when it has been drawn. */
static void note_count(struct request *r, unsigned n) {
    if (r->counted >= 0) {
        char *text = r->numbers[r->counted];
        snprintf(text, sizeof r->numbers[0], "%u", n);
        r->words[r->counted] = bytes_of_text(text);
        r->counted = -1;
    }
}

static void draw_arg(struct input *in, struct request *r, const struct command_arg *arg) {
    if (arg->flags & ARG_OPTIONAL && next(in, 3) > 0) {
        return;
    }
    unsigned repeats = arg->flags & ARG_MULTIPLE ? 1 + next(in, 4) : 1;
    for (unsigned i = 0; i < repeats; i++) {
        if (arg->token != NULL && (i == 0 || arg->flags & ARG_MULTIPLE_TOKEN)) {
            add(r, bytes_of_text(arg->token));
        }
        if (arg->type == ARG_ONEOF) {
            draw_arg(in, r, &arg->args[next(in, args_count(arg->args))]);
        } else if (arg->type == ARG_BLOCK) {
            draw_args(in, r, arg->args);
        } else if (arg->type != ARG_PURE_TOKEN) {
            add(r, draw_word(in, arg));
        }
        if (strncmp(arg->name, "num", 3) == 0 && next(in, 8) > 0) {
            r->counted = (int)r->count - 1;
        }
    }
    if (arg->flags & ARG_MULTIPLE) {
        note_count(r, repeats);
    }
}

static void draw_args(struct input *in, struct request *r, const struct command_arg *args) {
    for (; args != NULL && args->name != NULL; args++) {
        draw_arg(in, r, args);
    }
}

/* ---- Commands ---- */

/* What would end the run, or what another test is about. */
static const struct {
    const char *name, *reason;
} left_out[] = {
    {"shutdown", "ends the server"},
    {"debug", "can end it on purpose, and keeps threads busy"},
    {"quit", "ends the connection"},
    {"client|kill", "ends the connection"},
    {"client|pause", "all else would wait for it"},
    {"client|reply", "answers would not come"},
    {"client|import-source", "only in import mode"},
    {"config|set", "settings that refuse clients; test/fuzz/fuzz_config.c"},
    {"config|rewrite", "there are no files here"},
    {"monitor", "lines between answers"},
    {"subscribe", "answers of other numbers"},
    {"unsubscribe", "answers of other numbers"},
    {"psubscribe", "answers of other numbers"},
    {"punsubscribe", "answers of other numbers"},
    {"ssubscribe", "answers of other numbers"},
    {"sunsubscribe", "answers of other numbers"},
    {"hello", "the other protocol is what half of the runs speak"},
    {"reset", "leaves it"},
    {"auth", "there is no password"},
    {"pfselftest", "takes seconds"},
    {"lolwut", "long"},
};

static bool is_left_out(const char *name) {
    const char *bar = strchr(name, '|');
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++) {
        const char *out = left_out[i].name;
        if (strcmp(out, name) == 0 || (bar != NULL && strlen(out) == (size_t)(bar - name) &&
                                       memcmp(out, name, (size_t)(bar - name)) == 0)) {
            return true;
        }
    }
    return false;
}

static const struct command_ref *draw_command(struct input *in, const struct command_table *table) {
    unsigned count = command_table_count(table);
    bool any = next(in, 16) == 0; /* else one that names keys */
    unsigned id = (next(in, 256) << 8 | next(in, 256)) % count;
    for (unsigned i = 0; i < count; i++) {
        const struct command_ref *ref = command_table_at(table, (id + i) % count);
        if (ref->row->run != NULL && (any || ref->row->place == PLACE_KEY) &&
            !is_left_out(ref->full_name)) {
            return ref;
        }
    }
    check(false);
    return NULL;
}

/* With FUZZ_TELL set: what is asked, as redis-cli takes it. */
static void tell_request(const struct request *r) {
    if (getenv("FUZZ_TELL") == NULL) {
        return;
    }
    struct text line;
    text_init(&line);
    for (unsigned i = 0; i < r->count; i++) {
        text_append_char(&line, ' ');
        quote_append(&line, r->words[i]);
    }
    fprintf(stderr, "%.*s\n", (int)line.len, line.ptr);
    text_fini(&line);
}

static void draw_request(struct input *in, const struct command_table *table, struct text *out) {
    struct request r = {.counted = -1};
    const struct command_ref *ref = draw_command(in, table);
    if (ref->container != NULL) {
        add(&r, bytes_of_text(ref->container->row->name));
    }
    add(&r, bytes_of_text(ref->row->name));
    draw_args(in, &r, ref->row->args);
    note_count(&r, 1);
    if (next(in, 32) == 31 && r.count > 1) {
        r.count--;
    }
    if (next(in, 32) == 31) {
        add(&r, pool_text(in, odd, odd_count));
    }
    tell_request(&r);
    wire_array(out, r.count);
    for (unsigned i = 0; i < r.count; i++) {
        wire_bulk(out, r.words[i]);
    }
}

/* ---- The run ---- */

struct run {
    struct world *world;
    struct sim_peer *peer;
    struct text in;
    struct arena arena;
    unsigned awaited;
    bool gone;
};

static bool settled(void *arg) {
    struct run *run = arg;
    size_t room = sim_peer_readable(run->peer);
    text_reserve(&run->in, room);
    ssize_t n = sim_peer_read(run->peer, run->in.ptr + run->in.len, room);
    run->in.len += n > 0 ? (size_t)n : 0;
    size_t used = 0;
    for (ssize_t bytes = 1; bytes > 0;) {
        struct wire_value value;
        struct bytes rest = bytes_make(run->in.ptr + used, run->in.len - used);
        bytes = value_read(rest, &run->arena, &value);
        check(bytes >= 0);
        if (bytes > 0) {
            check(run->awaited > 0);
            run->awaited--;
            used += (size_t)bytes;
        }
        arena_reset(&run->arena);
    }
    memmove(run->in.ptr, run->in.ptr + used, run->in.len - used);
    run->in.len -= used;
    run->gone = sim_peer_ended(run->peer) || sim_peer_broken(run->peer);
    return run->awaited == 0 || run->gone;
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

static void wait_ns(struct run *run, uint64_t ns) {
    world_run(run->world, sim_now_ns(world_sim(run->world)) + ns, never, NULL);
}

/* Whether all was answered within a virtual second: a command that blocks is not, and all else of
 * its client waits for it. */
static bool ask(struct run *run, const struct text *requests, unsigned count) {
    run->awaited = count;
    size_t sent = 0;
    uint64_t until_ns = sim_now_ns(world_sim(run->world)) + SECOND;
    while (sent < requests->len) {
        ssize_t n = sim_peer_write(run->peer, requests->ptr + sent, requests->len - sent);
        if (n < 0) {
            return false;
        }
        sent += (size_t)n;
        if (sent < requests->len) {
            wait_ns(run, SECOND / 1000);
        }
        if (sim_now_ns(world_sim(run->world)) > until_ns) {
            return false;
        }
    }
    return world_run(run->world, until_ns, settled, run) && !run->gone;
}

static void dial(struct run *run) {
    check(sim_dial(world_sim(run->world), world_port(run->world, 0), &run->peer) == 0);
    text_clear(&run->in);
    run->gone = false;
}

static void verify(struct world *world) {
    const struct server *server = world_server(world, 0);
    for (unsigned i = 0; i < server->workers_count; i++) {
        keyspace_verify(server->workers[i]->shard.keyspace);
        heap_verify(server->workers[i]->shard.heap);
    }
}

static bool stopped(void *world) {
    return world_stopped(world, 0);
}

static void play(struct run *run, struct input *in) {
    const struct command_table *table = world_server(run->world, 0)->commands;
    struct text requests;
    text_init(&requests);
    dial(run);
    for (unsigned sent = 0; in->size > 0 && sent < COMMANDS_MAX;) {
        text_clear(&requests);
        unsigned count = 1 + next(in, 8);
        for (unsigned i = 0; i < count; i++) {
            draw_request(in, table, &requests);
        }
        sent += count;
        if (!ask(run, &requests, count)) {
            sim_peer_close(run->peer);
            dial(run);
        }
        verify(run->world);
    }
    sim_peer_close(run->peer);
    wait_ns(run, SECOND);
    dial(run);
    text_clear(&requests);
    wire_requestf(&requests, "FLUSHALL");
    check(ask(run, &requests, 1));
    sim_peer_close(run->peer);
    wait_ns(run, 3 * SECOND);
    world_check_idle(run->world);
    world_check_empty(run->world);
    world_stop(run->world, 0);
    check(world_run(run->world, sim_now_ns(world_sim(run->world)) + 10 * SECOND, stopped,
                    run->world));
    world_check_stopped(run->world);
    text_fini(&requests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    static const struct bytes settings[] = {
        {"protected-mode", 14},
        {"no", 2}, /* small ones, so that encodings change */
        {"hash-max-listpack-entries", 25},
        {"4", 1},
        {"zset-max-listpack-entries", 25},
        {"4", 1},
        {"set-max-listpack-entries", 24},
        {"4", 1},
        {"set-max-intset-entries", 22},
        {"3", 1},
        {"list-max-listpack-size", 22},
        {"3", 1},
        {"stream-node-max-entries", 23},
        {"3", 1},
    };
    unsigned pairs = 1 + next(&in, 2) * (sizeof settings / sizeof settings[0] / 2 - 1);
    struct world_options options = {
        .seed = 1 + next(&in, 256),
        .servers = 1,
        .workers = 1 + next(&in, 4),
        .settings = settings,
        .settings_count = pairs,
        .recv_buffers = 64,
        .recv_buffer_bytes = 16384,
        .sim = {.buffer_min_bytes = 65536,
                .buffer_max_bytes = 65536,
                .faults = {.latency_min_ns = 1000, .latency_max_ns = 20000}},
    };
    struct run run = {.world = world_new(&options)};
    text_init(&run.in);
    arena_init(&run.arena, 4096);
    if (setjmp(*world_failure(run.world)) != 0) {
        fprintf(stderr, "check failed: %s\n", world_reason(run.world));
        abort();
    }
    play(&run, &in);
    world_free(run.world);
    arena_fini(&run.arena);
    text_fini(&run.in);
    return 0;
}
