/* SPDX-License-Identifier: BSD-3-Clause */
/* offline: see the header. A worker like any other, which never turns: what it is asked to do is
 * over when the call returns.
 */
#include "server/check/offline.h"

#include "base/must.h"
#include "net/rt.h"
#include "server/call/effects.h"
#include "server/commands/families.h"
#include "server/commands/persistence/rules.h"
#include "server/handlers.h"
#include "server/persistence/replay.h"
#include "server/script/libraries.h"
#include "server/script/library_dump.h"
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
    struct replay *replay;
    unsigned ran;
    struct text why; /* of offline_put_library */
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
    offline->replay = replay_new(offline->worker);
    text_init(&offline->why);
    return offline;
}

void offline_free(struct offline *offline) {
    if (offline == NULL) {
        return;
    }
    text_fini(&offline->why);
    replay_free(offline->replay);
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
    keyspace_delete(ks, key->db, &hashed, 0, false, EVENT_DEL);
    return NULL;
}

/* ---- Libraries of functions ---- */

const char *offline_put_library(void *arg, struct bytes code) {
    struct offline *offline = arg;
    struct libraries *libraries = offline->server->libraries;
    text_clear(&offline->why);
    text_append_text(&offline->why, "a library of functions does not load: ");
    return library_dump_add(offline->worker, code, libraries, LIBRARIES_APPEND, &offline->why)
               ? NULL
               : offline->why.ptr;
}

struct bytes *offline_libraries(const struct offline *offline, uint32_t *ret_count) {
    struct libraries_list all = libraries_all(offline->server->libraries);
    struct bytes *texts = must_calloc(all.count + 1, sizeof *texts);
    for (uint32_t i = 0; i < all.count; i++) {
        texts[i] = library_text(all.list[i]); /* none of them goes */
    }
    *ret_count = all.count;
    libraries_list_free(&all);
    return texts;
}

void offline_write_libraries(const struct offline *offline, struct text *out) {
    library_dump_put(out, offline->server->libraries, true);
}

const char *offline_show_library(void *arg, struct bytes code) {
    const struct offline_shown *shown = arg;
    struct text request;
    text_init(&request);
    text_appendf(&request, "*4\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n$7\r\nREPLACE\r\n$%zu\r\n",
                 code.len);
    text_append_bytes(&request, code);
    text_append_text(&request, "\r\n");
    shown->show(shown->arg, 0, text_bytes(&request));
    text_fini(&request);
    return NULL;
}

/* ---- Commands ---- */

const char *offline_accepts(void *arg, const struct bytes *argv, uint32_t argc) {
    const struct offline *offline = arg;
    return replay_refusal(offline->worker, argv, argc);
}

bool offline_is_of_all(const struct offline *offline, const struct bytes *argv, uint32_t argc) {
    return replay_is_of_all(offline->worker, argv, argc);
}

bool offline_run(struct offline *offline, uint32_t db, struct bytes *argv, uint32_t argc,
                 int64_t now_ms, struct text *why) {
    if (++offline->ran % WORK_EVERY == 0) {
        keyspace_work(offline_keyspace(offline), now_ms);
    }
    return replay_run(offline->replay, db, argv, argc, now_ms, why) == REPLAY_DONE;
}
