/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_commands: the commands that show: users, categories, what was denied. They read the table of
 * their worker, which is the newest that anybody has been told of.
 */
#include "server/commands/acl/acl_commands.h"

#include "base/num.h"
#include "net/rt.h"
#include "server/acl/acl.h"
#include "server/acl/acl_log.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/client/client.h"
#include "server/client/identity.h"
#include "server/server.h"
#include "server/worker/view.h"

bool acl_secret(const struct bytes *argv, uint32_t argc, uint32_t index) {
    return index > 1;
}

/* ---- Users ---- */

void command_acl_whoami(struct exec *x) {
    reply_bulk(x->reply, client_user_name(x->client));
}

void command_acl_users(struct exec *x) {
    const struct acl_users *users = worker_users(x->worker);
    reply_array(x->reply, users->count);
    for (uint32_t i = 0; i < users->count; i++) {
        reply_bulk(x->reply, users->list[i]->name);
    }
}

void command_acl_list(struct exec *x) {
    const struct acl_users *users = worker_users(x->worker);
    struct text line;
    text_init(&line);
    reply_array(x->reply, users->count);
    for (uint32_t i = 0; i < users->count; i++) {
        text_clear(&line);
        text_append_text(&line, "user ");
        text_append_bytes(&line, users->list[i]->name);
        text_append_char(&line, ' ');
        acl_user_describe(users->list[i], &line);
        reply_bulk(x->reply, text_bytes(&line));
    }
    text_fini(&line);
}

static void reply_selector(struct reply *reply, const struct acl_user *user, uint32_t selector) {
    static const struct {
        const char *name;
        void (*describe)(const struct acl_user *user, uint32_t selector, struct text *text);
    } parts[] = {
        {"commands", acl_selector_describe_commands},
        {"keys", acl_selector_describe_keys},
        {"channels", acl_selector_describe_channels},
        {"databases", acl_selector_describe_dbs},
    };
    struct text text;
    text_init(&text);
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        text_clear(&text);
        parts[i].describe(user, selector, &text);
        reply_bulk_text(reply, parts[i].name);
        reply_bulk(reply, text_bytes(&text));
    }
    text_fini(&text);
}

void command_acl_getuser(struct exec *x) {
    struct reply *reply = x->reply;
    const struct acl_user *user = acl_users_find(worker_users(x->worker), x->argv[2]);
    if (user == NULL) {
        reply_null(reply);
        return;
    }
    reply_map(reply, 7);
    reply_bulk_text(reply, "flags");
    reply_set(reply, 1 + (size_t)user->nopass);
    reply_bulk_text(reply, user->on ? "on" : "off");
    if (user->nopass) {
        reply_bulk_text(reply, "nopass");
    }
    reply_bulk_text(reply, "passwords");
    reply_array(reply, user->digests_count);
    struct text digest;
    text_init(&digest);
    for (uint32_t i = 0; i < user->digests_count; i++) {
        text_clear(&digest);
        acl_user_describe_digest(user, i, &digest);
        reply_bulk(reply, text_bytes(&digest));
    }
    text_fini(&digest);
    reply_selector(reply, user, 0);
    reply_bulk_text(reply, "selectors");
    reply_array(reply, user->selectors_count - 1);
    for (uint32_t i = 1; i < user->selectors_count; i++) {
        reply_map(reply, 4);
        reply_selector(reply, user, i);
    }
}

/* ---- Categories ---- */

/* NULL: only counts. */
static size_t each_in_category(const struct command_table *table, unsigned category,
                               struct reply *reply) {
    size_t count = 0;
    for (unsigned id = 0; id < command_table_count(table); id++) {
        const struct command_ref *ref = command_table_at(table, id);
        if (ref->categories & category) {
            count++;
            if (reply != NULL) {
                reply_bulk_text(reply, ref->full_name);
            }
        }
    }
    return count;
}

void command_acl_cat(struct exec *x) {
    const struct command_table *table = worker_server(x->worker)->commands;
    unsigned count = 0;
    while (command_category_names[count] != NULL) {
        count++;
    }
    if (x->argc > 3) {
        reply_subcommand_error(x);
        return;
    }
    if (x->argc == 2) {
        reply_array(x->reply, count);
        for (unsigned i = 0; i < count; i++) {
            reply_bulk_text(x->reply, command_category_names[i]);
        }
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (bytes_equal_nocase(x->argv[2], bytes_of_text(command_category_names[i]))) {
            reply_array(x->reply, each_in_category(table, 1u << i, NULL));
            each_in_category(table, 1u << i, x->reply);
            return;
        }
    }
    reply_errorf(x->reply, "ERR Unknown category '%.*s'", bytes_precision(x->argv[2]),
                 x->argv[2].ptr);
}

/* ---- Passwords ---- */

#define GENPASS_BITS_MAX 4096

void command_acl_genpass(struct exec *x) {
    int64_t bits = 256;
    unsigned char random[GENPASS_BITS_MAX / 8];
    char digits[GENPASS_BITS_MAX / 4];
    if (x->argc > 3) {
        reply_subcommand_error(x);
        return;
    }
    if (x->argc == 3 && !exec_arg_i64(x, 2, &bits)) {
        return;
    }
    if (bits <= 0 || bits > GENPASS_BITS_MAX) {
        reply_error(x->reply, "ERR ACL GENPASS argument must be the number of bits for the output "
                              "password, a positive number up to 4096");
        return;
    }
    size_t count = ((size_t)bits + 3) / 4;
    rt_random(worker_rt(x->worker), random, (count + 1) / 2);
    for (size_t i = 0; i < count; i++) {
        digits[i] = "0123456789abcdef"[random[i / 2] >> (i % 2 * 4) & 15];
    }
    reply_bulk(x->reply, bytes_make(digits, count));
}

/* ---- What would be ---- */

void command_acl_dryrun(struct exec *x) {
    const struct acl_user *user = acl_users_find(worker_users(x->worker), x->argv[2]);
    if (user == NULL) {
        reply_errorf(x->reply, "ERR User '%.*s' not found", bytes_precision(x->argv[2]),
                     x->argv[2].ptr);
        return;
    }
    const struct bytes *argv = x->argv + 3;
    uint32_t argc = x->argc - 3;
    const struct command_ref *ref = command_table_find(worker_server(x->worker)->commands, argv[0]);
    if (ref != NULL && ref->subcommands_count > 0 && argc > 1) {
        ref = command_ref_find_sub(ref, argv[1]);
    }
    if (ref == NULL) {
        reply_errorf(x->reply, "ERR Command '%.*s' not found", bytes_precision(argv[0]),
                     argv[0].ptr);
        return;
    }
    int arity = ref->row->arity;
    if (arity > 0 ? argc != (uint32_t)arity : argc < (uint32_t)-arity) {
        reply_errorf(x->reply, "ERR wrong number of arguments for '%s' command", ref->full_name);
        return;
    }
    uint32_t at = 0;
    enum acl_verdict verdict = acl_check(user, ref, argv, argc, x->client->db, &at);
    if (verdict == ACL_MAY) {
        reply_ok(x->reply);
        return;
    }
    struct text why;
    text_init(&why);
    acl_verdict_explain(verdict, user, ref, argv[at], &why);
    reply_bulk(x->reply, text_bytes(&why));
    text_fini(&why);
}

/* ---- What was denied ---- */

#define LOG_SHOWN 10

struct log_view {
    struct reply *reply;
    int64_t now_ms;
};

static void log_begin(void *arg, uint32_t count) {
    const struct log_view *view = arg;
    reply_array(view->reply, count);
}

static void log_text(struct reply *reply, const char *name, struct bytes value) {
    reply_bulk_text(reply, name);
    reply_bulk(reply, value);
}

static void log_number(struct reply *reply, const char *name, int64_t value) {
    reply_bulk_text(reply, name);
    reply_int(reply, value);
}

static void log_entry(void *arg, const struct acl_log_entry *entry) {
    const struct log_view *view = arg;
    struct reply *reply = view->reply;
    reply_map(reply, 10);
    log_number(reply, "count", (int64_t)entry->count);
    log_text(reply, "reason", bytes_of_text(acl_log_reason_text(entry->reason)));
    log_text(reply, "context", bytes_of_text(acl_log_context_text(entry->context)));
    log_text(reply, "object", entry->object);
    log_text(reply, "username", entry->user);
    reply_bulk_text(reply, "age-seconds");
    reply_double(reply, (double)(view->now_ms - entry->updated_ms) / 1000);
    log_text(reply, "client-info", entry->client);
    log_number(reply, "entry-id", (int64_t)entry->id);
    log_number(reply, "timestamp-created", entry->created_ms);
    log_number(reply, "timestamp-last-updated", entry->updated_ms);
}

void command_acl_log(struct exec *x) {
    struct acl_log *log = worker_server(x->worker)->acl_log;
    int64_t most = LOG_SHOWN;
    if (x->argc > 3) {
        reply_subcommand_error(x);
        return;
    }
    if (x->argc == 3 && bytes_is(x->argv[2], "reset")) {
        acl_log_reset(log);
        reply_ok(x->reply);
        return;
    }
    if (x->argc == 3 && !exec_arg_i64(x, 2, &most)) {
        return;
    }
    struct log_view view = {x->reply, x->now_ms};
    acl_log_show(log, most > 0 ? most : 0, log_begin, log_entry, &view);
}

static const char *const help_lines[] = {
    "CAT [<category>]",
    "    Show the categories of commands, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Take users away, and close their connections.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Say whether a user may run a command, without running it.",
    "GENPASS [<bits>]",
    "    Make a password of random digits, of 256 bits if nothing else is said.",
    "GETUSER <username>",
    "    Show what a user is made of.",
    "LIST",
    "    Show all users as the file of users has them.",
    "LOAD",
    "    Read the file of users again.",
    "LOG [<count> | RESET]",
    "    Show what was denied lately, or forget it.",
    "SAVE",
    "    Write the users to their file.",
    "SETUSER <username> [<rule> ...]",
    "    Make a user, or change it by rules.",
    "USERS",
    "    Show the names of all users.",
    "WHOAMI",
    "    Show the user of this connection.",
    NULL,
};

void command_acl_help(struct exec *x) {
    reply_help(x, help_lines);
}
