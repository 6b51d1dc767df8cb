/* SPDX-License-Identifier: BSD-3-Clause */
/* connection: commands about the conversation itself: AUTH, HELLO, SELECT, RESET, QUIT, PING, ECHO.
 *
 * They change the client's own state and nothing else, on its home thread, fenced: a pipeline of
 * SELECT and SET means what it says.
 */
#include "server/commands/connection/connection.h"
#include "server/observe/monitor.h"
#include "server/pubsub/pubsub.h"
#include "server/tracking/tracking.h"

#include "base/num.h"
#include "server/acl/acl.h"
#include "server/call/command_table.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/client/client.h"
#include "server/client/identity.h"
#include "server/config/config.h"
#include "server/observe/tally.h"
#include "server/server.h"
#include "server/txn/multi.h"
#include "server/worker/view.h"

#define ERR_WRONG_PASS "WRONGPASS invalid username-password pair or user is disabled."

/* ---- AUTH ---- */

/* Logs the client in, or says why not. */
static bool authenticate(struct exec *x, struct bytes name, struct bytes password) {
    const struct acl_user *user = acl_users_find(worker_users(x->worker), name);
    if (user == NULL || !acl_user_admits(user, password)) {
        client_denied(x->client, ACL_LOG_AUTH, ACL_LOG_TOPLEVEL, x->argv[0], name);
        reply_error(x->reply, ERR_WRONG_PASS);
        return false;
    }
    client_log_in(x->client, user);
    return true;
}

bool auth_secret(const struct bytes *argv, uint32_t argc, uint32_t index) {
    return index > 0;
}

void command_auth(struct exec *x) {
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (x->argc == 2 && worker_users(x->worker)->user_default->nopass) {
        reply_error(x->reply, "ERR AUTH <password> called without any password configured for the "
                              "default user. Are you sure your configuration is correct?");
        return;
    }
    struct bytes user = x->argc == 2 ? BYTES("default") : x->argv[1];
    if (authenticate(x, user, x->argv[x->argc - 1])) {
        reply_ok(x->reply);
    }
}

/* ---- HELLO ---- */

bool client_text_valid(struct bytes text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '!' || text.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

struct hello {
    int64_t protocol; /* 0: as it is */
    bool has_auth, has_name;
    struct bytes user, password, name;
};

/* False after an error reply. */
static bool hello_parse(struct exec *x, struct hello *ret) {
    *ret = (struct hello){0};
    if (x->argc >= 2) {
        if (!num_parse_i64(x->argv[1], &ret->protocol)) {
            reply_error(x->reply, "ERR Protocol version is not an integer or out of range");
            return false;
        }
        if (ret->protocol < 2 || ret->protocol > 3) {
            reply_error(x->reply, "NOPROTO unsupported protocol version");
            return false;
        }
    }
    for (uint32_t i = 2; i < x->argc; i++) {
        uint32_t more = x->argc - 1 - i;
        if (bytes_is(x->argv[i], "auth") && more >= 2) {
            ret->has_auth = true;
            ret->user = x->argv[i + 1];
            ret->password = x->argv[i + 2];
            i += 2;
        } else if (bytes_is(x->argv[i], "setname") && more >= 1) {
            ret->has_name = true;
            ret->name = x->argv[i + 1];
            if (!client_text_valid(ret->name)) {
                reply_error(x->reply, ERR_CLIENT_NAME);
                return false;
            }
            i++;
        } else {
            reply_errorf(x->reply, "ERR Syntax error in HELLO option '%.*s'",
                         bytes_precision(x->argv[i]), x->argv[i].ptr);
            return false;
        }
    }
    return true;
}

static void reply_pair(struct reply *r, const char *name, const char *value) {
    reply_bulk_text(r, name);
    reply_bulk_text(r, value);
}

static void reply_hello(struct exec *x) {
    struct reply *r = x->reply;
    const struct config *config = worker_config(x->worker);
    bool zone = config->availability_zone.len > 0;
    reply_map(r, 7 + (size_t)zone);
    if (config->extended_redis_compatibility) {
        reply_pair(r, "server", "redis");
        reply_pair(r, "version", SHOAL_REDIS_VERSION);
    } else {
        reply_pair(r, "server", "valkey");
        reply_pair(r, "version", SHOAL_VALKEY_VERSION);
    }
    reply_bulk_text(r, "proto");
    reply_int(r, x->client->resp);
    reply_bulk_text(r, "id");
    reply_int(r, (int64_t)x->client->id);
    reply_pair(r, "mode", worker_map(x->worker) != NULL ? "cluster" : "standalone");
    reply_pair(r, "role", worker_server(x->worker)->role.replica ? "replica" : "master");
    reply_bulk_text(r, "modules");
    reply_array(r, 0);
    if (zone) {
        reply_bulk_text(r, "availability_zone");
        reply_bulk(r, config->availability_zone);
    }
}

bool hello_secret(const struct bytes *argv, uint32_t argc, uint32_t index) {
    bool secret = false;
    for (uint32_t i = 2; i + 2 < argc && i < index; i++) {
        if (bytes_is(argv[i], "auth")) {
            secret |= index <= i + 2;
            i += 2;
        } else if (bytes_is(argv[i], "setname")) {
            i++;
        }
    }
    return secret;
}

void command_hello(struct exec *x) {
    struct hello hello;
    struct client *client = x->client;
    if (!hello_parse(x, &hello)) {
        return;
    }
    if (hello.has_auth && !authenticate(x, hello.user, hello.password)) {
        return;
    }
    if (!client_may_run(client)) {
        reply_error(x->reply,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return;
    }
    if (hello.has_name) {
        client_set_text(&client->name, hello.name);
    }
    if (hello.protocol != 0) {
        client->resp = (uint8_t)hello.protocol;
        x->reply->resp = client->resp;
    }
    reply_hello(x);
}

/* ---- The rest ---- */

unsigned select_db_args(const struct bytes *argv, uint32_t argc,
                        uint32_t ret[COMMAND_DB_ARGS_MAX]) {
    ret[0] = 1;
    return 1;
}

void command_select(struct exec *x) {
    if (exec_arg_db(x, 1, &x->client->db)) {
        reply_ok(x->reply);
    }
}

static void reset(struct exec *x) {
    struct client *client = x->client;
    client->flags &=
        ~(unsigned)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP_NEXT | CLIENT_NO_EVICT | CLIENT_NO_TOUCH |
                    CLIENT_IMPORT_SOURCE | CLIENT_READONLY | CLIENT_ASKING | CLIENT_ASKING_NEXT);
    client->db = 0;
    client->resp = 2;
    x->reply->resp = 2;
    if (!(client->flags & CLIENT_REPLY_SKIP)) { /* that was said of this very reply */
        /* Fenced: nothing else is in line, and replies may have been off. */
        x->reply->out = &client->out;
    }
    client_set_text(&client->name, BYTES(""));
    client_be_stranger(client);
    reply_status(x->reply, "RESET");
}

void command_reset(struct exec *x) {
    client_discard(x->client);
    tracking_off(x->client);
    monitor_leave(x->client);
    pubsub_reset(x, reset);
}

void command_quit(struct exec *x) {
    reply_ok(x->reply);
    client_close_after_reply(x->client);
}

void command_ping(struct exec *x) {
    if (x->argc > 2) {
        exec_arity_error(x);
    } else if (x->client != NULL && x->client->flags & CLIENT_SUBSCRIBED && x->reply->resp == 2) {
        reply_array(x->reply, 2);
        reply_bulk_text(x->reply, "pong");
        reply_bulk(x->reply, x->argc == 2 ? x->argv[1] : BYTES(""));
    } else if (x->argc == 2) {
        reply_bulk(x->reply, x->argv[1]);
    } else {
        reply_status(x->reply, "PONG");
    }
}

void command_echo(struct exec *x) {
    reply_bulk(x->reply, x->argv[1]);
}
