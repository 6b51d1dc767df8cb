/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker like any other, which never turns: what it is asked to do is over when the call returns.
 * Commands about all keys are done by hand, as they ask all workers, which takes turns.
 */
#include "server/check/offline.h"

#include "base/must.h"
#include "base/num.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/effects.h"
#include "server/call/keyset.h"
#include "server/commands/families.h"
#include "server/commands/persistence/rules.h"
#include "server/handlers.h"
#include "server/server.h"
#include "server/worker/loop.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* So often what was unlinked is freed. */
#define WORK_EVERY 256

struct offline {
    struct server *server;
    struct worker *worker;
    struct value_rules rules;
    struct arena arena;
    struct outbuf out;
    unsigned ran;
};

struct offline *offline_new(const struct fs *fs, struct text *why) {
    struct config *config = config_defaults();
    config->shards = 1;
    config->io_backend = CONFIG_IO_EPOLL;
    config->databases = KEYS_DATABASES_MAX;
    config->import_mode = true; /* nothing goes because it is over */
    config->latency_tracking = false;
    struct server_options options = {
        .config = config,
        .workers = 1,
        .fs = fs,
        .handlers = &server_handlers,
        .families = command_families,
        .start_wall_ms = rt_wall_us_early() / 1000,
        .string_bytes_max = INT64_MAX,
        .executable = "",
    };
    rt_random_early(options.random, sizeof options.random);
    struct server *server = server_new(&options, why);
    if (server == NULL) {
        return NULL;
    }
    struct rt *rt;
    char *reason = NULL;
    int error = worker_runtimes(server, &rt, &reason);
    free(reason);
    if (error != 0) {
        text_appendf(why, "no runtime: %s", strerror(-error));
        server_free(server);
        return NULL;
    }
    struct offline *offline = must_calloc(1, sizeof *offline);
    offline->server = server;
    offline->worker = worker_new(server, 0, server->config, rt);
    offline->rules = value_rules_of(server->config);
    arena_init(&offline->arena, 4096);
    outbuf_init(&offline->out);
    return offline;
}

void offline_free(struct offline *offline) {
    if (offline == NULL) {
        return;
    }
    arena_fini(&offline->arena);
    outbuf_fini(&offline->out);
    worker_free(offline->worker);
    server_free(offline->server);
    free(offline);
}

struct keyspace *offline_keyspace(struct offline *offline) {
    return offline->worker->shard.keyspace;
}

const struct value_rules *offline_rules(const struct offline *offline) {
    return &offline->rules;
}

/* ---- Keys ---- */

const char *offline_put(void *arg, const struct keys_key *shown) {
    struct offline *offline = arg;
    struct keyspace *ks = offline_keyspace(offline);
    struct key key = key_make(&offline->server->secret, shown->name);
    if (keyspace_find_any(ks, shown->db, &key) != NULL) {
        return "a key is there twice";
    }
    size_t making = keyspace_making(ks);
    struct value value = value_build_take(shown->build);
    keyspace_made(ks, making);
    keyspace_take(ks, shown->db, &key, &value, shown->expires_at, 0, EVENT_RESTORE);
    keyspace_set_usage(ks, shown->db, &key, shown->idle_seconds, shown->frequency, 0);
    return NULL;
}

static void show_effects(const struct offline_shown *shown, uint32_t db) {
    struct effects_list list = effects_take(shown->offline->worker, EFFECTS_COMMANDS);
    struct text request;
    text_init(&request);
    for (uint32_t i = 0; i < list.count; i++) {
        const struct effect *effect = &list.list[i];
        if (effect->argc == 0) {
            continue;
        }
        text_clear(&request);
        text_appendf(&request, "*%u\r\n", effect->argc);
        text_append(&request, list.text + effect->at, effect->bytes);
        shown->show(shown->arg, db, text_bytes(&request));
    }
    text_fini(&request);
    effects_list_free(&list);
}

const char *offline_show(void *arg, const struct keys_key *key) {
    const struct offline_shown *shown = arg;
    struct worker *worker = shown->offline->worker;
    const char *error = offline_put(shown->offline, key);
    if (error != NULL) {
        return error;
    }
    struct keyspace *ks = offline_keyspace(shown->offline);
    struct key hashed = key_make(&shown->offline->server->secret, key->name);
    struct effects_origin nobody = {0};
    effects_want(worker, EFFECTS_COMMANDS, true);
    struct effects_origin before = effects_open(worker, nobody);
    effects_add_key(worker, nobody, key->db, key->name, keyspace_find_any(ks, key->db, &hashed));
    effects_close(worker, before);
    show_effects(shown, key->db);
    effects_want(worker, EFFECTS_COMMANDS, false);
    keyspace_flush(ks, UINT32_MAX, false);
    while (keyspace_work(ks, 0) <= 0) {
    }
    return NULL;
}

/* ---- Commands ---- */

static bool refused(struct text *why, struct bytes name, const char *what) {
    text_appendf(why, "'%.*s': %s", name.len < 64 ? (int)name.len : 64, name.ptr, what);
    return false;
}

static const struct command_ref *find(const struct offline *offline, const struct bytes *argv,
                                      uint32_t argc) {
    const struct command_ref *ref = command_table_find(offline->server->commands, argv[0]);
    if (ref != NULL && ref->subcommands_count > 0) {
        ref = argc > 1 ? command_ref_find_sub(ref, argv[1]) : NULL;
    }
    return ref;
}

static bool read_db(struct bytes word, uint32_t *ret) {
    uint64_t db;
    bool sound = num_parse_u64(word, &db) && db < KEYS_DATABASES_MAX;
    *ret = sound ? (uint32_t)db : 0;
    return sound;
}

/* What is done to all keys at once. */
static bool is_about_all(const struct bytes *argv, uint32_t argc) {
    uint32_t db;
    return bytes_is(argv[0], "flushall") || bytes_is(argv[0], "flushdb") ||
           (bytes_is(argv[0], "swapdb") && argc == 3 && read_db(argv[1], &db) &&
            read_db(argv[2], &db));
}

static void run_on_all(struct offline *offline, uint32_t db, const struct bytes *argv) {
    struct keyspace *ks = offline_keyspace(offline);
    if (bytes_is(argv[0], "swapdb")) {
        uint32_t a, b;
        read_db(argv[1], &a);
        read_db(argv[2], &b);
        keyspace_swap_db(ks, a, b);
    } else {
        keyspace_flush(ks, bytes_is(argv[0], "flushdb") ? db : UINT32_MAX, false);
    }
}

const char *offline_accepts(void *arg, const struct bytes *argv, uint32_t argc) {
    const struct command_ref *ref = find(arg, argv, argc);
    if (is_about_all(argv, argc)) {
        return NULL;
    }
    if (ref == NULL || ref->row->place != PLACE_KEY || ref->row->logged == LOGGED_NO) {
        return "a record of a command that no log has";
    }
    int arity = ref->row->arity;
    bool fits = arity > 0 ? argc == (uint32_t)arity : argc >= (uint32_t)-arity;
    return fits ? NULL : "a record with a wrong number of arguments";
}

/* Writes how a call was answered behind its name, if that was an error. */
static bool answered(struct offline *offline, const struct reply *reply, struct bytes name,
                     struct text *why) {
    char text[200];
    struct iovec part;
    bool fine = reply->errors == 0;
    if (!fine && outbuf_vectors(&offline->out, &part, 1) > 0) {
        size_t n = part.iov_len < sizeof text - 1 ? part.iov_len : sizeof text - 1;
        memcpy(text, part.iov_base, n);
        text[n] = 0;
        text[strcspn(text, "\r\n")] = 0;
        refused(why, name, text);
    } else if (!fine) {
        refused(why, name, reply->error_code);
    }
    outbuf_drain(&offline->out, offline->out.bytes);
    return fine;
}

bool offline_run(struct offline *offline, uint32_t db, const struct bytes *argv, uint32_t argc,
                 int64_t now_ms, struct text *why) {
    struct worker *worker = offline->worker;
    const char *error = offline_accepts(offline, argv, argc);
    if (error != NULL) {
        return refused(why, argv[0], error);
    }
    if (++offline->ran % WORK_EVERY == 0) {
        keyspace_work(offline_keyspace(offline), now_ms);
    }
    if (is_about_all(argv, argc)) {
        run_on_all(offline, db, argv);
        return true;
    }
    const struct command_ref *ref = find(offline, argv, argc);
    arena_reset(&offline->arena);
    struct keyset *keys = keyset_new(&offline->arena, worker->node, ref, argv, argc, db);
    if (keys->count == 0) {
        return refused(why, argv[0], "no key");
    }
    struct caller caller = {
        .worker = worker,
        .shard = &worker->shard,
        .tick = rt_ticks(worker->rt),
        .db = db,
        .manner = MANNER_SEES_DEAD,
        .asked = true,
    };
    struct call what = {
        .ref = ref,
        .argv = (struct bytes *)argv,
        .argc = argc,
        .key = &keys->list[0].key,
        .keys = ref->simple ? NULL : keys,
        .now_ms = now_ms,
    };
    struct reply reply;
    reply_init(&reply, &offline->out, 2);
    bool over = call(&caller, &what, &reply);
    call_settle(&caller);
    return over ? answered(offline, &reply, argv[0], why)
                : refused(why, argv[0], "it waits for something");
}
