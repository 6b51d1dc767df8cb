/* SPDX-License-Identifier: BSD-3-Clause */
/* replication_commands: PSYNC, SYNC, REPLCONF, ROLE.
 *
 * Who asks for the stream is a client until then; what it said of itself by REPLCONF is kept with
 * the connection. The answer is the stream's home's (server/replication/primary.h): it knows what
 * is still there. From then on the connection's output is not replies but what the home sends.
 */
#include "base/bytes.h"
#include "base/crc64.h"
#include "base/num.h"
#include "persist/codec/rdb.h"
#include "persist/codec/rdb_file.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/commands/replication/replication.h"
#include "server/replication/primary.h"
#include "server/replication/replica.h"
#include "server/script/library_dump.h"
#include "server/server.h"
#include "server/worker/view.h"

#include <string.h>

/* ---- PSYNC, SYNC ---- */

static bool attach_part(struct worker *worker, const void *args, void *result) {
    primary_attach(worker_server(worker)->primary, args, result);
    return true;
}

static void attached(struct exec *x, const struct scatter_result *result) {
    const struct primary_wish *wish = result->args;
    struct primary_answer *answer = result->parts[0];
    if (x->client == NULL || !replica_is(x->client)) { /* it is gone, and the home does not know */
        if (answer->mail != NULL) {
            stream_mail_free(answer->mail);
        }
        replica_is_gone(x->worker, wish->name.client);
    } else if (answer->refused != NULL) {
        replica_asks_in_vain(x->client);
        reply_error(x->reply, answer->refused);
    } else if (answer->goes_on) {
        replica_goes_on(x->client, answer->mail);
    } else {
        replica_waits(x->client);
    }
}

static void ask(struct exec *x, struct primary_wish *wish) {
    replica_asks(x->client, wish->old, &wish->name);
    scatter_one(x, 0, attach_part, sizeof(struct primary_answer), wish, sizeof *wish, attached);
}

/* What it was answered before would stand in the stream. */
static bool may_ask(struct exec *x) {
    const struct client *client = x->client;
    if (client->out.bytes > rt_stream_taken(&client->stream) || client->pending_count > 0) {
        reply_error(x->reply, "ERR SYNC and PSYNC are invalid with pending output");
        return false;
    }
    return true;
}

/* It was asked by its primary to take over, and has. */
static void promoted(struct exec *x) {
    struct primary_wish wish = {0};
    if (x->client != NULL) {
        replica_get_wish(x->client, wish.id, &wish.offset);
        ask(x, &wish);
    }
}

/* A file of all libraries of functions, made here and now: they are all the process's. */
static void send_functions(struct exec *x) {
    struct text file;
    text_init(&file);
    rdb_file_put_begin(&file, RDB_VERSION_MIN);
    rdb_file_put_aux(&file, BYTES("redis-ver"), BYTES(SHOAL_REDIS_VERSION));
    rdb_file_put_aux(&file, BYTES("valkey-ver"), BYTES(SHOAL_VALKEY_VERSION));
    library_dump_put(&file, worker_server(x->worker)->libraries, exec_config(x)->rdbcompression);
    rdb_file_put_end(&file, crc64(crc64(0, text_bytes(&file)), RDB_FILE_END));
    replica_send_file(x->client, text_bytes(&file));
    text_fini(&file);
}

void command_psync(struct exec *x) {
    struct primary_wish wish = {0};
    if (replica_is(x->client)) {
        return; /* it has been answered, or will be */
    }
    if (replica_wants(x->client).functions_only) {
        reply_error(x->reply, "ERR a filtered RDB file is for SYNC with rdb-only");
        return;
    }
    if (!may_ask(x) || !exec_arg_i64(x, 2, &wish.offset)) {
        return;
    }
    if (x->argv[1].len <= REPLICATION_ID_BYTES) { /* else it is no id of ours */
        memcpy(wish.id, x->argv[1].ptr, x->argv[1].len);
    }
    if (x->argc > 3 && bytes_is(x->argv[3], "failover")) {
        replica_set_wish(x->client, wish.id, wish.offset);
        replicaof_promote(x, x->argv[1], promoted);
    } else {
        ask(x, &wish);
    }
}

void command_sync(struct exec *x) {
    struct primary_wish wish = {.old = true};
    if (replica_is(x->client) || !may_ask(x)) {
        return;
    }
    struct replica_wants wants = replica_wants(x->client);
    if (!wants.functions_only) {
        ask(x, &wish);
    } else if (wants.file_only) {
        send_functions(x);
    } else {
        reply_error(x->reply, "ERR a filtered RDB file is for SYNC with rdb-only");
    }
}

/* ---- REPLCONF ---- */

static bool set_port(struct exec *x, uint32_t i) {
    int64_t port;
    if (!exec_arg_i64(x, i, &port)) {
        return false;
    }
    replica_set_port(x->client, (int)port);
    return true;
}

static bool set_ip(struct exec *x, uint32_t i) {
    struct bytes ip = x->argv[i];
    if (ip.len >= RT_HOST_BYTES) {
        reply_errorf(x->reply,
                     "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes",
                     ip.len);
        return false;
    }
    replica_set_ip(x->client, ip);
    return true;
}

static bool set_rdb_only(struct exec *x, uint32_t i) {
    int64_t only;
    if (!exec_arg_i64(x, i, &only)) {
        return false;
    }
    if (only < 0 || only > 1) {
        reply_error(x->reply, "ERR value is out of range, value must between 0 and 1");
        return false;
    }
    replica_set_file_only(x->client, only > 0);
    return true;
}

/* "" or "functions" */
static bool set_filter(struct exec *x, uint32_t i) {
    bool functions = bytes_is(x->argv[i], "functions");
    if (!functions && x->argv[i].len > 0) {
        reply_errorf(x->reply, "ERR Unsupported rdb-filter-only option: %.*s",
                     (int)(x->argv[i].len < 128 ? x->argv[i].len : 128), x->argv[i].ptr);
        return false;
    }
    replica_set_functions_only(x->client, functions);
    return true;
}

/* "9.1.0" */
static bool set_version(struct exec *x, uint32_t i) {
    unsigned dots = 0, major = 0;
    for (size_t at = 0; at < x->argv[i].len; at++) {
        char c = x->argv[i].ptr[at];
        if (c != '.' && (c < '0' || c > '9')) {
            dots = 3;
        }
        dots += c == '.';
        major = dots == 0 && major < 1000 ? major * 10 + (unsigned)(c - '0') : major;
    }
    if (dots != 2) {
        reply_errorf(x->reply, "ERR Unrecognized version format: %.*s",
                     (int)(x->argv[i].len < 128 ? x->argv[i].len : 128), x->argv[i].ptr);
        return false;
    }
    replica_set_version(x->client, major);
    return true;
}

/* ACK offset [FACK offset]: what it has, and what it has on its disk. */
static bool acknowledge(struct exec *x, uint32_t i) {
    int64_t offset, synced = 0;
    if (i + 2 < x->argc && bytes_is(x->argv[i + 1], "fack") &&
        !num_parse_i64(x->argv[i + 2], &synced)) {
        synced = 0;
    }
    if (replica_is(x->client) && num_parse_i64(x->argv[i], &offset) && offset >= 0) {
        replica_acknowledges(x->client, (uint64_t)offset, synced > 0 ? (uint64_t)synced : 0);
    }
    return false; /* it is not answered */
}

/* Only a replica is asked, by its primary. */
static bool asked(struct exec *x, uint32_t i) {
    (void)i;
    if (x->client->upstream != NULL) {
        upstream_acknowledge(x->client);
    }
    return false;
}

/* It is kept also when it is not known yet: who has just been told to follow may be faster than the
 * bus. */
static bool set_node_id(struct exec *x, uint32_t i) {
    const struct map *map = worker_map(x->worker);
    struct bytes id = x->argv[i];
    if (map == NULL) {
        reply_error(x->reply, "ERR This instance has cluster support disabled");
        return false;
    }
    if (id.len == MAP_ID_BYTES) {
        replica_set_node_id(x->client, id);
    }
    for (uint16_t n = 0; n < map->nodes_count; n++) {
        if (bytes_equal(id, bytes_make(map->nodes[n].id, MAP_ID_BYTES))) {
            return true;
        }
    }
    reply_errorf(x->reply, "ERR Unknown node %.*s", (int)(id.len < 128 ? id.len : 128), id.ptr);
    return false;
}

static bool set_capability(struct exec *x, uint32_t i) {
    if (bytes_is(x->argv[i], "eof")) {
        replica_set_eof(x->client);
    }
    return true; /* and whatever else it can */
}

static const struct {
    const char *name;
    bool (*said)(struct exec *x, uint32_t i); /* false: it has been answered, or will not be */
} options[] = {
    {"listening-port", set_port}, {"ip-address", set_ip},     {"capa", set_capability},
    {"version", set_version},     {"rdb-only", set_rdb_only}, {"rdb-filter-only", set_filter},
    {"ack", acknowledge},         {"getack", asked},          {"set-cluster-node-id", set_node_id},
};

void command_replconf(struct exec *x) {
    if (x->argc % 2 == 0) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    for (uint32_t i = 1; i < x->argc; i += 2) {
        size_t o = 0;
        while (o < sizeof options / sizeof *options &&
               !bytes_equal_nocase(x->argv[i], bytes_of_text(options[o].name))) {
            o++;
        }
        if (o == sizeof options / sizeof *options) {
            reply_errorf(x->reply, "ERR Unrecognized REPLCONF option: %.*s",
                         (int)(x->argv[i].len < 128 ? x->argv[i].len : 128), x->argv[i].ptr);
            return;
        }
        if (!options[o].said(x, i + 1)) {
            return;
        }
    }
    reply_ok(x->reply);
}

/* ---- ROLE ---- */

static bool role_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    struct primary_state *state = result;
    primary_state(worker_server(worker)->primary, state);
    upstream_state(worker_server(worker)->upstream, &state->upstream);
    return true;
}

static void role_done(struct exec *x, const struct scatter_result *result) {
    struct primary_state *state = result->parts[0];
    if (state->replica) {
        reply_array(x->reply, 5);
        reply_bulk_text(x->reply, "slave");
        reply_bulk_text(x->reply, state->host);
        reply_int(x->reply, state->port);
        reply_bulk_text(x->reply, state->upstream.words);
        reply_int(x->reply, state->upstream.up ? (int64_t)state->offset : -1);
        primary_state_fini(state);
        return;
    }
    reply_array(x->reply, 3);
    reply_bulk_text(x->reply, "master");
    reply_int(x->reply, (int64_t)state->offset);
    reply_array(x->reply, state->streaming);
    reply_raw(x->reply, text_bytes(&state->roles));
    primary_state_fini(state);
}

void command_role(struct exec *x) {
    char nothing = 0;
    scatter_one(x, 0, role_part, sizeof(struct primary_state), &nothing, 1, role_done);
}
