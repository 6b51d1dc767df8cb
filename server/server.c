/* SPDX-License-Identifier: BSD-3-Clause */
/* server: making and ending what all workers of one server share. It asks nobody for anything: what
 * comes from outside (chance, time, the machine) is in the options, so that a simulation makes
 * whole servers the way main does.
 */
#include "server/server.h"
#include "server/script/libraries.h"
#include "server/script/scripts.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "base/sha256.h"
#include "base/text.h"
#include "net/tls.h"
#include "server/acl/acl.h"
#include "server/acl/acl_log.h"
#include "server/call/command_table.h"
#include "server/persistence/kill_points.h"
#include "server/worker/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAILBOX_MESSAGES 1024

static void wake_thread(void *arg, unsigned from, unsigned target) {
    struct server *server = arg;
    rt_wake(server->threads[from], server->threads[target]);
}

static const struct command_table *make_commands(const struct config *config,
                                                 const struct command *const *families,
                                                 struct text *err) {
    size_t words = config_words_count(config->renames);
    struct bytes *renames = must_calloc(words + 1, sizeof *renames);
    const char *word = NULL;
    for (size_t i = 0; i < words; i++) {
        word = config_word(config->renames, word);
        renames[i] = bytes_of_text(word);
    }
    int error = 0;
    struct bytes bad = {0};
    const struct command_table *table =
        command_table_new(families, renames, words / 2, &error, &bad);
    if (table == NULL) {
        text_appendf(err, "rename-command: there is no command '%.*s', or its new name is taken.",
                     (int)bad.len, bad.ptr);
    }
    free(renames);
    return table;
}

/* What keys are hashed with: random, or made from hash-seed so that several servers agree. */
static void make_secret(const struct config *config, struct hash_secret *secret) {
    for (unsigned i = 0; config->hash_seed.len > 0 && i < sizeof *secret / SHA256_BYTES; i++) {
        struct text seed;
        text_init(&seed);
        text_append_bytes(&seed, config->hash_seed);
        text_append_char(&seed, (char)i);
        sha256(text_bytes(&seed), secret->bytes + i * SHA256_BYTES);
        text_fini(&seed);
    }
}

/* All workers are one node's. `id` has SERVER_RUN_ID_BYTES. */
static void make_nodes(struct server *server, const unsigned char *id) {
    char text[2 * SERVER_RUN_ID_BYTES + 1];
    for (unsigned i = 0; i < SERVER_RUN_ID_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    }
    server->nodes_count = 1;
    server->nodes = must_aligned(_Alignof(struct node), sizeof *server->nodes);
    node_init(&server->nodes[0], server, 0, text, 0, server->workers_count);
}

struct build build_of(const char *described) {
    struct build build = {.commit = "00000000"};
    if (described != NULL) {
        size_t digits = strspn(described, "0123456789abcdef");
        if (digits > 0 && digits < sizeof build.commit) {
            memcpy(build.commit, described, digits);
            build.commit[digits] = 0;
        }
        build.modified = described[digits] != 0;
    }
    snprintf(build.begins, sizeof build.begins, "Shoal %s commit=%s, modified=%d: ", SHOAL_VERSION,
             build.commit, build.modified);
    /* The same sources made otherwise are another build. */
    struct text made;
    text_init(&made);
    text_appendf(&made, "%s %s %d %s", SHOAL_VERSION, build.commit, build.modified, __VERSION__);
    unsigned char digest[SHA256_BYTES];
    sha256(text_bytes(&made), digest);
    text_fini(&made);
    for (size_t i = 0; i < sizeof build.id / 2; i++) {
        snprintf(build.id + 2 * i, 3, "%02x", digest[i]);
    }
    return build;
}

static struct kill_points *make_kill_points(const struct server_options *options,
                                            struct text *err) {
    struct kill_points *points = must_calloc(1, sizeof *points);
    if (options->kill_point != NULL) {
        struct bytes name = bytes_of_text(options->kill_point), count = bytes_make("", 0);
        const char *space = strchr(options->kill_point, ' ');
        if (space != NULL) {
            name.len = (size_t)(space - name.ptr);
            count = bytes_of_text(space + 1);
        }
        if (!kill_points_arm(points, name, count)) {
            text_appendf(err, "SHOAL_KILL_POINT: there is no kill point '%s'", options->kill_point);
            free(points);
            return NULL;
        }
    }
    return points;
}

/* From the file of users, which says all about them. NULL with the reason. */
static struct acl_users *read_users(const struct acl_making *making, const struct config *config,
                                    const struct fs *fs, struct text *err) {
    char *data;
    size_t len;
    struct acl_users *users = NULL;
    struct text why;
    int rc = fs->read_all(fs->arg, config->aclfile.ptr, &data, &len);
    text_init(&why);
    if (rc < 0) {
        text_appendf(&why, "Error loading ACLs, opening file '%s': %s", config->aclfile.ptr,
                     strerror(-rc));
    } else {
        users = acl_users_read(making, bytes_make(data, len), config->aclfile.ptr, &why);
        free(data);
    }
    if (users == NULL) {
        text_appendf(err, "Aborting Shoal startup because of ACL errors: %s", why.ptr);
    }
    text_fini(&why);
    return users;
}

static struct acl_users *make_users(const struct config *config,
                                    const struct command_table *commands, const struct fs *fs,
                                    const unsigned char *secret, struct text *err) {
    struct acl_making making = {
        .commands = commands,
        .all_channels = config->acl_pubsub_default == CONFIG_ACL_ALL_CHANNELS,
        .secret = secret,
        .databases = config_databases(config),
    };
    size_t count = config_words_count(config->users);
    if (config->aclfile.len > 0 && count > 0) {
        text_append_text(err, "There are users in the configuration and an aclfile: define them in "
                              "one of the two, not in both.");
        return NULL;
    }
    if (config->aclfile.len > 0) {
        return read_users(&making, config, fs, err);
    }
    struct bytes *lines = must_calloc(count + 1, sizeof *lines);
    const char *line = NULL;
    for (size_t i = 0; i < count; i++) {
        line = config_word(config->users, line);
        lines[i] = bytes_of_text(line);
    }
    struct acl_users *users = acl_users_start(&making, config->requirepass, lines, count, err);
    free(lines);
    return users;
}

/* Whom it follows from its first moment on: workers ask as they are made. */
static struct role configured_role(const struct config *config) {
    struct bytes words = config->replicaof;
    const char *space = memchr(words.ptr, ' ', words.len);
    struct role role = {.replica = true};
    int64_t port;
    size_t host = space != NULL ? (size_t)(space - words.ptr) : 0;
    if (host == 0 || host >= sizeof role.host ||
        !num_parse_i64(bytes_make(space + 1, words.len - host - 1), &port)) {
        return (struct role){.replica = false};
    }
    memcpy(role.host, words.ptr, host);
    role.port = (int)port;
    return role;
}

struct server *server_new(const struct server_options *options, struct text *err) {
    struct config *config = options->config;
    struct kill_points *kill_points = make_kill_points(options, err);
    const struct command_table *commands =
        kill_points != NULL ? make_commands(config, options->families, err) : NULL;
    struct acl_users *users =
        commands != NULL ? make_users(config, commands, options->fs, options->random, err) : NULL;
    if (users == NULL) {
        command_table_free((struct command_table *)commands);
        config_free(config);
        free(kill_points);
        return NULL;
    }
    struct server *server = must_calloc(1, sizeof *server);
    server->config = config;
    server->role = configured_role(config);
    server->kill_points = kill_points;
    server->commands = commands;
    server->fs = options->fs;
    server->handlers = options->handlers;
    server->rt_make = options->rt_make;
    server->world = options->world;
    server->supervised = options->supervised;
    server->ready = options->ready;
    server->ending = options->ending;
    server->stays = options->stays;
    server->leave = options->leave;
    server->process_id = options->process_id;
    server->string_bytes_max = options->string_bytes_max;
    server->at_start = config_copy(config);
    server->kill_points->dir_name = server->at_start->appenddirname; /* it stays as it is */
    server->build = build_of(options->commit);
    server->start_wall_ms = options->start_wall_ms;
    snprintf(server->executable, sizeof server->executable, "%s", options->executable);
    check(options->workers > 0);
    server->workers_count =
        options->workers < CONFIG_SHARDS_MAX ? options->workers : CONFIG_SHARDS_MAX;
    server->workers = must_calloc(server->workers_count, sizeof(struct worker *));
    memcpy(&server->secret, options->random, sizeof server->secret);
    make_secret(config, &server->secret);
    make_nodes(server, options->random + sizeof server->secret);
    server->shared = shared_new(server->workers_count);
    server->scripts = scripts_new();
    server->acl_log = acl_log_new();
    server->users = users;
    server->tls = tls_new();
    server->libraries = libraries_new();
    server->threads_count = server->workers_count + config->cluster_enabled;
    server->threads = must_calloc(server->threads_count, sizeof *server->threads);
    server->office = post_office_new(server->threads_count, MAILBOX_MESSAGES, wake_thread, server);
    return server;
}

void server_shutdown(struct server *server, struct rt *from) {
    shared_ask_stop(server->shared, STOP_BY_COMMAND);
    rt_wake(from, server->threads[0]);
}

void server_stays(struct server *server) {
    shared_ask_stop(server->shared, 0);
    if (server->stays != NULL) {
        server->stays();
    }
}

void server_leave(struct server *server) {
    if (server->leave != NULL) {
        server->leave(server);
    }
}

void server_show_title(const struct server *server) {
    struct text title;
    text_init(&title);
    if (server->config->set_proc_title &&
        config_proc_title(server->config, BYTES("shoal-server"), &title)) {
        process_set_title(&server->title, title.ptr);
    }
    text_fini(&title);
}

unsigned server_busy_script(const struct server *server) {
    unsigned bits = 0;
    for (unsigned i = 0; i < server->workers_count && bits == 0; i++) {
        bits = shared_script(server->shared, i);
    }
    return bits;
}

void server_free(struct server *server) {
    post_office_free(server->office);
    shared_free(server->shared);
    scripts_free(server->scripts);
    acl_users_unref(server->users);
    acl_log_free(server->acl_log);
    tls_free(server->tls);
    libraries_free(server->libraries);
    command_table_free((struct command_table *)server->commands);
    config_free(server->config);
    config_free((struct config *)server->at_start);
    free(server->kill_points);
    free(server->threads);
    free(server->nodes);
    free(server->workers);
    free(server);
}
