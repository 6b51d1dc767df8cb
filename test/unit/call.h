/* SPDX-License-Identifier: BSD-3-Clause */
/* call: runs data commands on a keyspace of their own, with a clock that stands still.
 *
 * Thread: one. For commands that run where their keys are; those of the home thread need a server.
 */
#ifndef SHOAL_TEST_UNIT_CALL_H
#define SHOAL_TEST_UNIT_CALL_H

#include "base/text.h"
#include "server/call/call.h"
#include "server/commands/families.h"
#include "server/worker/worker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/uio.h>

#define CALL_ARGS_MAX 64

struct call_env {
    struct server server;
    struct worker worker;
    struct config *config;
    struct command_table *table;
    int64_t now_ms;
    uint8_t resp;
    bool unverified; /* the keyspace is large: its invariants are not checked after every call */
};

static inline struct call_env *call_new(void) {
    struct call_env *call = calloc(1, sizeof(*call));
    cr_assert(call != NULL);
    int error;
    struct bytes bad;
    call->table = command_table_new(command_families, NULL, 0, &error, &bad);
    cr_assert(call->table != NULL);
    call->config = config_defaults();
    call->now_ms = INT64_C(1700000000000);
    call->resp = 2;
    call->server.string_bytes_max = INT64_MAX;
    call->worker.server = &call->server;
    call->worker.config = call->config;
    struct keyspace_hooks hooks = {0};
    shard_init(&call->worker.shard, 0, 16, &call->server.secret, &hooks, call->now_ms);
    return call;
}

static inline void call_free(struct call_env *call) {
    shard_fini(&call->worker.shard);
    config_free(call->config);
    command_table_free(call->table);
    free(call);
}

static inline uint32_t call_split(struct bytes *argv, const char *line) {
    uint32_t argc = 0;
    while (*line != '\0') {
        size_t n = strcspn(line, " ");
        cr_assert(argc < CALL_ARGS_MAX);
        /* '' stands for the empty string. */
        argv[argc++] = n == 2 && memcmp(line, "''", 2) == 0 ? BYTES("") : bytes_make(line, n);
        line += n + (line[n] == ' ');
    }
    return argc;
}

/* The reply to a command given as words with one space between. */
static inline struct text call_run(struct call_env *call, const char *line) {
    struct bytes argv[CALL_ARGS_MAX];
    uint32_t argc = call_split(argv, line);
    const struct command_ref *ref = command_table_find(call->table, argv[0]);
    cr_assert(ref != NULL, "%s", line);
    if (ref->subcommands_count > 0) {
        ref = command_ref_find_sub(ref, argv[1]);
        cr_assert(ref != NULL, "%s", line);
    }
    struct outbuf out;
    struct reply reply;
    outbuf_init(&out);
    reply_init(&reply, &out, call->resp);
    struct caller caller = {0};
    struct exec x = {
        .command = ref->row,
        .ref = ref,
        .argv = argv,
        .argc = argc,
        .shard = &call->worker.shard,
        .keyspace = call->worker.shard.keyspace,
        .reply = &reply,
        .now_ms = call->now_ms,
        .worker = &call->worker,
        .caller = &caller,
    };
    if (ref->first_key > 0) {
        x.key = key_make(&call->server.secret, argv[ref->first_key]);
    }
    ref->row->run(&x);
    if (!call->unverified) {
        keyspace_verify(x.keyspace);
    }
    struct text text;
    text_init(&text);
    struct iovec vectors[16];
    int n;
    while ((n = outbuf_vectors(&out, vectors, 16)) > 0) {
        for (int i = 0; i < n; i++) {
            text_append(&text, vectors[i].iov_base, vectors[i].iov_len);
            outbuf_drain(&out, vectors[i].iov_len);
        }
    }
    outbuf_fini(&out);
    return text;
}

static inline void call_gives(struct call_env *call, const char *line, struct bytes expected) {
    struct text text = call_run(call, line);
    cr_assert(bytes_equal(text_bytes(&text), expected), "%s gave %s not %s", line, text.ptr,
              expected.ptr);
    text_fini(&text);
}

#define GIVES(call, line, expected) call_gives((call), (line), BYTES(expected))
#define NIL                         "$-1\r\n"
#define OK                          "+OK\r\n"
#define NUMBER(n)                   ":" #n "\r\n"
#define EXPIRE_TIME(name)           "-ERR invalid expire time in '" name "' command\r\n"

#endif
