/* SPDX-License-Identifier: BSD-3-Clause */
/* client_commands: CLIENT and its subcommands.
 *
 * Those about the calling connection change it in place. Those about other connections (LIST, KILL,
 * UNBLOCK, PAUSE) are carried to every worker, because a connection is touched by its own thread
 * alone; the parts are put together at home, in order of id.
 */
#include "base/must.h"
#include "base/num.h"
#include "base/text.h"
#include "net/rt.h"
#include "server/call/errors.h"
#include "server/call/help.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/client/clients.h"
#include "server/commands/connection/client_filter.h"
#include "server/commands/connection/connection.h"
#include "server/config/config.h"
#include "server/txn/txn.h"
#include "server/worker/pausing.h"
#include "server/worker/view.h"

#include <stdlib.h>

/* ---- About this connection ---- */

void command_client_id(struct exec *x) {
    reply_int(x->reply, (int64_t)x->client->id);
}

void command_client_getname(struct exec *x) {
    if (x->client->name != NULL) {
        reply_bulk_text(x->reply, x->client->name);
    } else {
        reply_null(x->reply);
    }
}

void command_client_setname(struct exec *x) {
    if (!client_text_valid(x->argv[2])) {
        reply_error(x->reply, ERR_CLIENT_NAME);
        return;
    }
    client_set_text(&x->client->name, x->argv[2]);
    reply_ok(x->reply);
}

void command_client_setinfo(struct exec *x) {
    struct bytes what = x->argv[2];
    char **field;
    if (bytes_is(what, "lib-name")) {
        field = &x->client->lib_name;
    } else if (bytes_is(what, "lib-ver")) {
        field = &x->client->lib_version;
    } else {
        reply_errorf(x->reply, "ERR Unrecognized option '%.*s'", bytes_precision(what), what.ptr);
        return;
    }
    if (!client_text_valid(x->argv[3])) {
        reply_errorf(x->reply, "ERR %.*s cannot contain spaces, newlines or special characters.",
                     bytes_precision(what), what.ptr);
        return;
    }
    client_set_text(field, x->argv[3]);
    reply_ok(x->reply);
}

void command_client_capa(struct exec *x) {
    for (uint32_t i = 2; i < x->argc; i++) {
        if (bytes_is(x->argv[i], "redirect")) {
            x->client->flags |= CLIENT_CAPA_REDIRECT;
        }
    }
    reply_ok(x->reply);
}

/* ON sets a flag, OFF clears it. */
static void switch_flag(struct exec *x, unsigned flag) {
    if (bytes_is(x->argv[2], "on")) {
        x->client->flags |= flag;
    } else if (bytes_is(x->argv[2], "off")) {
        x->client->flags &= ~flag;
    } else {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    reply_ok(x->reply);
}

void command_client_no_evict(struct exec *x) {
    switch_flag(x, CLIENT_NO_EVICT);
}

void command_client_no_touch(struct exec *x) {
    switch_flag(x, CLIENT_NO_TOUCH);
}

void command_client_import_source(struct exec *x) {
    if (!worker_config(x->worker)->import_mode && !bytes_is(x->argv[2], "off")) {
        reply_error(x->reply, "ERR Server is not in import mode");
        return;
    }
    switch_flag(x, CLIENT_IMPORT_SOURCE);
}

void command_client_reply(struct exec *x) {
    struct client *client = x->client;
    if (bytes_is(x->argv[2], "on")) {
        client->flags &= ~(unsigned)(CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
        x->reply->out = &client->out; /* fenced: nothing else is in line */
        reply_ok(x->reply);
    } else if (bytes_is(x->argv[2], "off")) {
        client->flags |= CLIENT_REPLY_OFF;
    } else if (bytes_is(x->argv[2], "skip")) {
        if (!(client->flags & CLIENT_REPLY_OFF)) {
            client->flags |= CLIENT_REPLY_SKIP_NEXT;
        }
    } else {
        reply_error(x->reply, ERR_SYNTAX);
    }
}

/* What is left of the input behind this very request, which is still part of it while it runs. */
static size_t input_behind(const struct exec *x) {
    struct bytes input = x->client->input;
    struct bytes last = x->argv[x->argc - 1];
    if (last.ptr < input.ptr || last.ptr >= input.ptr + input.len) {
        return input.len; /* its arguments were copied: quotes of an inline request */
    }
    size_t used = (size_t)(last.ptr - input.ptr) + last.len + 2;
    return used < input.len ? input.len - used : 0;
}

/* Of the command that the client is served; of EXEC while it runs what was queued. */
static size_t argv_bytes(const struct exec *x) {
    uint32_t done;
    if (txn_exec_queue(x->client, &done) != NULL) {
        return strlen("exec");
    }
    size_t bytes = 0;
    for (uint32_t i = 0; i < x->argc; i++) {
        bytes += x->argv[i].len;
    }
    return bytes;
}

void command_client_info(struct exec *x) {
    struct text text;
    text_init(&text);
    client_describe(&text, x->client, false, input_behind(x), argv_bytes(x), x->now_ms);
    text_append_char(&text, '\n');
    reply_verbatim(x->reply, "txt", text_bytes(&text));
    text_fini(&text);
}

/* ---- CLIENT LIST ---- */

struct filter_args {
    struct client_filter *filter;
    uint64_t caller;
    size_t argv_bytes; /* of the caller's command */
};

/* All clients of a worker that a filter may match, some in each turn: meanwhile some go and others
 * come, which are not seen. */
struct walk {
    uint64_t *ids; /* NULL: not begun */
    size_t count, at;
    size_t stop; /* where this turn ends */
};

#define CLIENTS_A_TURN 256

/* At the start of a turn. */
static void walk_go_on(struct worker *worker, struct walk *walk) {
    if (walk->ids == NULL) {
        walk->ids = must_malloc((worker_clients(worker)->count + 1) * sizeof(*walk->ids));
        LIST_EACH(&worker_clients(worker)->all, node) {
            walk->ids[walk->count++] = LIST_ENTRY(node, struct client, node)->id;
        }
    }
    size_t left = walk->count - walk->at;
    walk->stop = walk->at + (left < CLIENTS_A_TURN ? left : CLIENTS_A_TURN);
}

/* The next one that matches, or NULL at the end of the turn. */
static struct client *walk_next(struct worker *worker, struct walk *walk,
                                const struct client_filter *filter) {
    int64_t now_ms = rt_wall_ms(worker_rt(worker));
    while (walk->at < walk->stop) {
        struct client *client = client_of_id(worker, walk->ids[walk->at++]);
        if (client != NULL && !client_is_over(client) &&
            client_filter_matches(filter, client, now_ms)) {
            return client;
        }
    }
    return NULL;
}

/* Frees it at the end; false before. */
static bool walk_over(struct walk *walk) {
    if (walk->at < walk->count) {
        return false;
    }
    free(walk->ids);
    return true;
}

struct line {
    uint64_t id;
    size_t start, len; /* in the part's text */
    const struct text *text;
};

struct list_part {
    struct walk walk;
    struct text text;
    struct line *lines;
    size_t count;
};

static bool list_part(struct worker *worker, const void *args, void *result) {
    const struct filter_args *a = args;
    struct list_part *part = result;
    int64_t now_ms = rt_wall_ms(worker_rt(worker));
    if (part->walk.ids == NULL) {
        text_init(&part->text);
    }
    struct client *client;
    walk_go_on(worker, &part->walk);
    while ((client = walk_next(worker, &part->walk, a->filter)) != NULL) {
        if (part->lines == NULL) {
            part->lines = must_malloc(part->walk.count * sizeof(*part->lines));
        }
        size_t start = part->text.len;
        client_describe(&part->text, client, false, client_input_unparsed(client),
                        client->id == a->caller ? a->argv_bytes : 0, now_ms);
        text_append_char(&part->text, '\n');
        part->lines[part->count++] =
            (struct line){client->id, start, part->text.len - start, &part->text};
    }
    return walk_over(&part->walk);
}

static int line_compare(const void *a, const void *b) {
    const struct line *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static void list_done(struct exec *x, const struct scatter_result *result) {
    const struct filter_args *a = result->args;
    size_t count = 0, bytes = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct list_part *part = result->parts[i];
        count += part->count;
        bytes += part->text.len;
    }
    struct line *lines = must_malloc((count + 1) * sizeof(*lines));
    count = 0;
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct list_part *part = result->parts[i];
        for (size_t j = 0; j < part->count; j++) {
            lines[count++] = part->lines[j];
        }
    }
    qsort(lines, count, sizeof(*lines), line_compare);
    struct text all;
    text_init(&all);
    text_reserve(&all, bytes);
    for (size_t i = 0; i < count; i++) {
        text_append(&all, lines[i].text->ptr + lines[i].start, lines[i].len);
    }
    reply_verbatim(x->reply, "txt", text_bytes(&all));
    text_fini(&all);
    free(lines);
    for (unsigned i = 0; i < result->parts_count; i++) {
        struct list_part *part = result->parts[i];
        text_fini(&part->text);
        free(part->lines);
    }
    client_filter_free(a->filter);
}

void command_client_list(struct exec *x) {
    struct filter_args args = {client_filter_new(x, 2, false), x->client->id, argv_bytes(x)};
    if (args.filter != NULL) {
        scatter_all(x, list_part, sizeof(struct list_part), &args, sizeof(args), list_done);
    }
}

/* ---- CLIENT KILL ---- */

struct kill_args {
    struct filter_args filter;
    bool by_address;
};

struct kill_part {
    struct walk walk;
    unsigned killed;
    bool caller; /* is among them: it gets its reply first */
};

static bool kill_part(struct worker *worker, const void *args, void *result) {
    const struct kill_args *a = args;
    struct kill_part *part = result;
    struct client *client;
    walk_go_on(worker, &part->walk);
    while ((client = walk_next(worker, &part->walk, a->filter.filter)) != NULL) {
        if (client_is_closing(client)) { /* it was killed before, and is listed for what is away */
            continue;
        }
        part->killed++;
        if (client->id == a->filter.caller) {
            part->caller = true;
        } else {
            client_close(client);
        }
    }
    return walk_over(&part->walk);
}

static void kill_done(struct exec *x, const struct scatter_result *result) {
    const struct kill_args *a = result->args;
    unsigned killed = 0;
    bool caller = false;
    for (unsigned i = 0; i < result->parts_count; i++) {
        const struct kill_part *part = result->parts[i];
        killed += part->killed;
        caller |= part->caller;
    }
    if (!a->by_address) {
        reply_int(x->reply, killed);
    } else if (killed > 0) {
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, "ERR No such client");
    }
    if (caller && x->client != NULL) {
        client_close_after_reply(x->client);
    }
    client_filter_free(a->filter.filter);
}

void command_client_kill(struct exec *x) {
    struct kill_args args = {.filter.caller = x->client->id, .by_address = x->argc == 3};
    args.filter.filter =
        args.by_address ? client_filter_address(x->argv[2]) : client_filter_new(x, 2, true);
    if (args.filter.filter != NULL) {
        scatter_all(x, kill_part, sizeof(struct kill_part), &args, sizeof(args), kill_done);
    }
}

/* ---- CLIENT UNBLOCK, PAUSE, UNPAUSE ---- */

struct unblock_args {
    uint64_t id;
    bool with_error;
};

static bool unblock_part(struct worker *worker, const void *args, void *result) {
    const struct unblock_args *a = args;
    struct client *client = client_of_id(worker, a->id);
    if (client != NULL && client_in_blocking_command(client)) {
        *(bool *)result = client_wait_end(client, a->with_error ? WAIT_BROKEN : WAIT_TIMED_OUT);
    }
    return true;
}

static void unblock_done(struct exec *x, const struct scatter_result *result) {
    bool any = false;
    for (unsigned i = 0; i < result->parts_count; i++) {
        any |= *(const bool *)result->parts[i];
    }
    reply_int(x->reply, any);
}

void command_client_unblock(struct exec *x) {
    struct unblock_args args = {0};
    int64_t id;
    if (x->argc == 4) { /* with more words Valkey reads none of them */
        if (bytes_is(x->argv[3], "error")) {
            args.with_error = true;
        } else if (!bytes_is(x->argv[3], "timeout")) {
            reply_error(x->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (!num_parse_i64(x->argv[2], &id)) {
        reply_error(x->reply, ERR_NOT_INTEGER);
        return;
    }
    args.id = (uint64_t)id;
    scatter_all(x, unblock_part, sizeof(bool), &args, sizeof(args), unblock_done);
}

static void pause_stands(struct exec *x, const struct scatter_result *result) {
    if (x->client == NULL) {
        reply_ok(x->reply);
    } else if (x->client->txn != NULL) {
        txn_pauses(x->client); /* what waits for its locks cannot end before it has */
        reply_ok(x->reply);
    } else {
        pause_wait(x, scatter_ok);
    }
}

void command_client_pause(struct exec *x) {
    enum pause_kind kind = PAUSE_ALL;
    int64_t timeout_ms;
    if (x->argc == 4) { /* with more words Valkey reads none of them */
        if (bytes_is(x->argv[3], "write")) {
            kind = PAUSE_WRITE;
        } else if (!bytes_is(x->argv[3], "all")) {
            reply_error(x->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    if (!num_parse_i64(x->argv[2], &timeout_ms)) {
        reply_error(x->reply, ERR_TIMEOUT_NOT_INTEGER);
        return;
    }
    if (timeout_ms < 0 || timeout_ms > INT64_MAX - x->now_ms) {
        reply_error(x->reply, timeout_ms < 0 ? ERR_TIMEOUT_NEGATIVE : ERR_TIMEOUT_RANGE);
        return;
    }
    int64_t now_ms = rt_mono_ms(worker_rt(x->worker));
    int64_t until_ms = timeout_ms < INT64_MAX - now_ms ? now_ms + timeout_ms : INT64_MAX;
    pause_set(x, kind, until_ms, pause_stands);
}

void command_client_unpause(struct exec *x) {
    pause_set(x, PAUSE_NONE, 0, scatter_ok);
}

static const char *const help_lines[] = {
    "CACHING (YES|NO)",
    "    Say whether keys of the next command are tracked, with OPTIN or OPTOUT.",
    "CAPA <capability> [<capability> ...]",
    "    Say what this client can handle. REDIRECT: it follows redirections of a replica.",
    "GETNAME",
    "    Tell the name of this connection.",
    "GETREDIR",
    "    Tell where invalidation messages of this connection go, -1 for nowhere.",
    "ID",
    "    Tell the number of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Mark this connection as a source of data while the server is in import mode.",
    "INFO",
    "    Describe this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from this address.",
    "KILL <filter> <value> [<filter> <value> ...]",
    "    Close the connections that pass all filters, by default not this one:",
    "    ID <id> [<id> ...], TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB), ADDR <ip:port>,",
    "    LADDR <ip:port>, IP <ip>, USER <name>, NAME <name>, LIB-NAME <name>,",
    "    LIB-VER <version>, DB <number>, FLAGS <letters>, CAPA <letters>, MAXAGE <seconds>,",
    "    IDLE <seconds>, SKIPME (YES|NO). All but the last three have a NOT- form.",
    "LIST [<filter> <value> ...]",
    "    Describe the connections that pass all filters, those of KILL.",
    "NO-EVICT (ON|OFF)",
    "    Keep this connection when memory for clients runs out.",
    "NO-TOUCH (ON|OFF)",
    "    Do not let commands of this connection count as use of the keys they read.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Hold commands of clients back for some time.",
    "REPLY (ON|OFF|SKIP)",
    "    Turn replies on or off, or drop the next one.",
    "SETINFO (LIB-NAME <name>|LIB-VER <version>)",
    "    Record the library of this connection.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
    "    Have this connection, or another one, told of keys that change.",
    "TRACKINGINFO",
    "    Tell how this connection tracks keys.",
    "UNBLOCK <id> [TIMEOUT|ERROR]",
    "    End the wait of a client in a blocking command.",
    "UNPAUSE",
    "    Let paused clients go on.",
    NULL,
};

void command_client_help(struct exec *x) {
    reply_help(x, help_lines);
}
