/* SPDX-License-Identifier: BSD-3-Clause */
/* rights: see the header. */
#include "server/call/rights.h"

#include "base/must.h"
#include "server/call/call.h"
#include "server/client/client.h"
#include "server/client/identity.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* Who made the command run that runs now, if this is its home; or NULL. */
static struct client *client_here(const struct worker *worker) {
    bool is_here = worker->runs_for.client != 0 && worker->runs_for.home == worker->id;
    return is_here ? client_of_id(worker, worker->runs_for.client) : NULL;
}

const struct acl_user *rights_user(const struct exec *x) {
    const struct worker *worker = x->worker;
    const struct client *client = client_here(worker);
    const struct acl_user *user = client != NULL                        ? client->user
                                  : worker->runs_for.home == worker->id ? NULL
                                  : worker->runs_for.client == 0        ? NULL
                                                                        : worker->runs_for.user;
    return user != NULL && user->restricted ? acl_user_ref(user) : NULL;
}

bool rights_read_all(const struct exec *x) {
    const struct acl_user *user = rights_user(x);
    bool may = acl_may_read_all(user, x->ref, x->argv, x->argc);
    acl_user_unref(user);
    return may;
}

/* ---- Scripts ---- */

/* What home is told: whose call was denied, and what it was. */
struct denied {
    struct message message; /* first */
    uint64_t client;
    enum acl_verdict verdict;
    const struct command_ref *ref;
    uint32_t at;
    struct bytes word; /* behind it */
};

void rights_denied_arrived(struct worker *worker, struct message *message) {
    const struct denied *denied = (const struct denied *)message;
    const struct client *client = client_of_id(worker, denied->client);
    if (client != NULL) {
        client_call_denied(client, denied->verdict, ACL_LOG_LUA, denied->ref, denied->word,
                           denied->at);
    }
    free(message);
}

static void send_note(struct worker *worker, enum acl_verdict verdict,
                      const struct command_ref *ref, uint32_t at, struct bytes word) {
    struct denied *denied = must_malloc(sizeof *denied + word.len);
    char *text = (char *)(denied + 1);
    *denied = (struct denied){
        .message = {.kind = MESSAGE_DENIED, .home = POST_ONE_WAY},
        .client = worker->runs_for.client,
        .verdict = verdict,
        .ref = ref,
        .at = at,
        .word = bytes_make(text, word.len),
    };
    if (word.len > 0) {
        memcpy(text, word.ptr, word.len);
    }
    post_send(worker->server->office, worker->id, worker->runs_for.home, &denied->message);
}

void rights_log_script(const struct exec *x, enum acl_verdict verdict,
                       const struct command_ref *ref, struct bytes word, uint32_t at) {
    struct worker *worker = x->worker;
    const struct client *client = client_here(worker);
    if (client != NULL) {
        client_call_denied(client, verdict, ACL_LOG_LUA, ref, word, at);
    } else {
        send_note(worker, verdict, ref, at, word);
    }
}

void rights_deny_script(const struct acl_user *user, enum acl_verdict verdict,
                        const struct command_ref *ref, struct reply *reply) {
    struct text why;
    text_init(&why);
    text_append_text(&why, "ERR ACL failure in script: ");
    acl_verdict_tell(verdict, user, ref, &why);
    reply_error_bytes(reply, text_bytes(&why));
    text_fini(&why);
}

uint64_t rights_count_called(const struct exec *x, uint64_t commands) {
    struct client *client = client_here(x->worker);
    if (client != NULL) {
        client->commands += commands;
        return 0;
    }
    return x->worker->runs_for.home == x->worker->id ? 0 : commands;
}

/* ---- EXEC ---- */

#define RULES_CHANGED                                                                              \
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "   \
    "call. This command is no longer allowed for the following reason: "

const char *rights_deny_exec(const struct client *client, const struct command_ref *ref,
                             const struct bytes *argv, uint32_t argc, uint32_t db) {
    uint32_t at = 0;
    enum acl_verdict verdict = acl_check(client->user, ref, argv, argc, db, &at);
    if (verdict == ACL_MAY) {
        return NULL;
    }
    client_call_denied(client, verdict, ACL_LOG_MULTI, ref, argv[at], at);
    return verdict == ACL_NOT_COMMAND ? RULES_CHANGED
               "no permission to execute the command or subcommand"
           : verdict == ACL_NOT_KEY     ? RULES_CHANGED "no permission to touch the specified keys"
           : verdict == ACL_NOT_CHANNEL ? RULES_CHANGED
               "no permission to access one of the channels used as arguments to the command"
                                        : RULES_CHANGED
               "no permission"; /* a database: Valkey says no more */
}
