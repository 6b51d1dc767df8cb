/* SPDX-License-Identifier: BSD-3-Clause */
/* draw: see the header. */
#include "test/fuzz/draw.h"

#include "base/check.h"
#include "base/quote.h"
#include "test/sim/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 64

/* ---- The input ---- */

unsigned draw_next(struct draw_input *in, unsigned below) {
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

static struct bytes pool_text(struct draw_input *in, const char *const *pool, unsigned count) {
    return bytes_of_text(pool[draw_next(in, count)]);
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

static void draw_args(struct draw_input *in, struct request *r, const struct command_arg *args);

static struct bytes draw_word(struct draw_input *in, const struct command_arg *arg) {
    if (draw_next(in, 16) == 15) {
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

static void draw_arg(struct draw_input *in, struct request *r, const struct command_arg *arg) {
    if (arg->flags & ARG_OPTIONAL && draw_next(in, 3) > 0) {
        return;
    }
    unsigned repeats = arg->flags & ARG_MULTIPLE ? 1 + draw_next(in, 4) : 1;
    for (unsigned i = 0; i < repeats; i++) {
        if (arg->token != NULL && (i == 0 || arg->flags & ARG_MULTIPLE_TOKEN)) {
            add(r, bytes_of_text(arg->token));
        }
        if (arg->type == ARG_ONEOF) {
            draw_arg(in, r, &arg->args[draw_next(in, args_count(arg->args))]);
        } else if (arg->type == ARG_BLOCK) {
            draw_args(in, r, arg->args);
        } else if (arg->type != ARG_PURE_TOKEN) {
            add(r, draw_word(in, arg));
        }
        if (strncmp(arg->name, "num", 3) == 0 && draw_next(in, 8) > 0) {
            r->counted = (int)r->count - 1;
        }
    }
    if (arg->flags & ARG_MULTIPLE) {
        note_count(r, repeats);
    }
}

static void draw_args(struct draw_input *in, struct request *r, const struct command_arg *args) {
    for (; args != NULL && args->name != NULL; args++) {
        draw_arg(in, r, args);
    }
}

/* ---- Commands ---- */

/* What would end the run, or what another test is about. */
const struct draw_left_out draw_left_out[] = {
    {"shutdown", "ends the server"},
    {"debug", "can end it on purpose, and keeps threads busy"},
    {"quit", "ends the connection"},
    {"client|kill", "ends the connection"},
    {"client|pause", "all else would wait for it"},
    {"client|reply", "answers would not come"},
    {"client|import-source", "only in import mode"},
    {"config|set", "settings that refuse clients; test/fuzz/fuzz_config.c"},
    {"config|rewrite", "there are no files here"},
    {"subscribe", "answers of other numbers"},
    {"unsubscribe", "answers of other numbers"},
    {"psubscribe", "answers of other numbers"},
    {"punsubscribe", "answers of other numbers"},
    {"ssubscribe", "answers of other numbers"},
    {"sunsubscribe", "answers of other numbers"},
    {"monitor", "lines that are no answers"},
    {"psync", "the connection is a replica then"},
    {"sync", "the same"},
    {"replconf", "some is not answered"},
    {"cluster|syncslots",
     "no node is there to send any; its row says nothing of words, as in Valkey"},
    {"replicaof", "there are no others to follow"},
    {"slaveof", "the same"},
    {"hello", "the other protocol is what half of the runs speak"},
    {"reset", "leaves it"},
    {"auth", "there is no password"},
    {"pfselftest", "takes seconds"},
    {"lolwut", "long"},
    {NULL, NULL},
};

bool draw_leaves_out(const char *name) {
    const char *bar = strchr(name, '|');
    for (size_t i = 0; draw_left_out[i].name != NULL; i++) {
        const char *out = draw_left_out[i].name;
        if (strcmp(out, name) == 0 || (bar != NULL && strlen(out) == (size_t)(bar - name) &&
                                       memcmp(out, name, (size_t)(bar - name)) == 0)) {
            return true;
        }
    }
    return false;
}

static const struct command_ref *draw_command(struct draw_input *in,
                                              const struct command_table *table) {
    unsigned count = command_table_count(table);
    bool any = draw_next(in, 16) == 0; /* else one that names keys */
    unsigned id = (draw_next(in, 256) << 8 | draw_next(in, 256)) % count;
    for (unsigned i = 0; i < count; i++) {
        const struct command_ref *ref = command_table_at(table, (id + i) % count);
        if (ref->row->run != NULL && (any || ref->row->place == PLACE_KEY) &&
            !draw_leaves_out(ref->full_name)) {
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

void draw_request(struct draw_input *in, const struct command_table *table, struct text *out) {
    struct request r = {.counted = -1};
    const struct command_ref *ref = draw_command(in, table);
    if (ref->container != NULL) {
        add(&r, bytes_of_text(ref->container->row->name));
    }
    add(&r, bytes_of_text(ref->row->name));
    draw_args(in, &r, ref->row->args);
    note_count(&r, 1);
    if (draw_next(in, 32) == 31 && r.count > 1) {
        r.count--;
    }
    if (draw_next(in, 32) == 31) {
        add(&r, pool_text(in, odd, odd_count));
    }
    tell_request(&r);
    wire_array(out, r.count);
    for (unsigned i = 0; i < r.count; i++) {
        wire_bulk(out, r.words[i]);
    }
}
