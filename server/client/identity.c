/* SPDX-License-Identifier: BSD-3-Clause */
/* identity: see the header. A client holds its user itself, so it may be judged by it to the end of
 * what it has begun, and by the next one from the next request on: the bit that says that there is
 * something to judge changes with it, and windows of requests are not open while it does.
 */
#include "server/client/identity.h"

#include "net/rt.h"
#include "server/client/client_private.h"
#include "server/client/describe.h"
#include "server/worker/handlers.h"
#include "server/worker/worker.h"

static void become(struct client *client, const struct acl_user *user) {
    acl_user_ref(user);
    acl_user_unref(client->user);
    client->user = user;
    client->flags &= ~(unsigned)CLIENT_RESTRICTED;
    client->flags |= user->restricted ? CLIENT_RESTRICTED : 0;
}

void client_be_stranger(struct client *client) {
    const struct acl_users *users = client->worker->users;
    become(client, users->user_default);
    client->flags &= ~(unsigned)CLIENT_AUTHENTICATED;
    client->flags |= acl_users_open(users) ? CLIENT_AUTHENTICATED : 0;
}

void client_log_in(struct client *client, const struct acl_user *user) {
    become(client, user);
    client->flags |= CLIENT_AUTHENTICATED;
}

void client_forget_user(struct client *client) {
    acl_user_unref(client->user);
    client->user = NULL;
}

struct bytes client_user_name(const struct client *client) {
    return client->user != NULL ? client->user->name : BYTES("(superuser)");
}

void client_denied(const struct client *client, enum acl_log_reason reason,
                   enum acl_log_context context, struct bytes object, struct bytes user) {
    struct worker *worker = client->worker;
    int64_t now_ms = rt_wall_ms(worker->rt);
    struct text text;
    worker->stats.denied[reason]++;
    text_init(&text);
    client_describe(&text, client, false, 0, 0, now_ms);
    acl_log_add(worker->server->acl_log, reason, context, object, user, text_bytes(&text), now_ms,
                worker->config->acllog_max_len);
    text_fini(&text);
}

void client_call_denied(const struct client *client, enum acl_verdict verdict,
                        enum acl_log_context context, const struct command_ref *ref,
                        struct bytes word, uint32_t at) {
    enum acl_log_reason reason = verdict == ACL_NOT_KEY       ? ACL_LOG_KEY
                                 : verdict == ACL_NOT_CHANNEL ? ACL_LOG_CHANNEL
                                 : verdict == ACL_NOT_DB      ? ACL_LOG_DB
                                                              : ACL_LOG_COMMAND;
    struct bytes object = at == 0 ? bytes_of_text(ref->full_name) : word;
    client_denied(client, reason, context, object, client_user_name(client));
}

struct acl_making worker_acl_making(const struct worker *worker) {
    return (struct acl_making){
        .commands = worker->server->commands,
        .all_channels = worker->config->acl_pubsub_default == CONFIG_ACL_ALL_CHANNELS,
        .secret = worker->server->secret.bytes,
        .databases = config_databases(worker->config),
    };
}

/* Its user is gone. */
static void expel(struct client *client, bool asks) {
    client_be_stranger(client);
    client->flags &= ~(unsigned)CLIENT_AUTHENTICATED;
    if (asks) {
        client_close_after_reply(client);
    } else {
        client_close(client);
    }
}

uint64_t worker_next_users(struct worker *worker, struct acl_users *users, uint64_t asker) {
    acl_users_unref(worker->server->users);
    worker->server->users = users;
    worker_take_users(worker, users, worker->users_number + 1, asker);
    return worker->users_number;
}

void worker_take_users(struct worker *worker, const struct acl_users *users, uint64_t number,
                       uint64_t asker) {
    if (number <= worker->users_number) {
        return;
    }
    const struct acl_users *before = worker->users;
    worker->users = acl_users_ref(users);
    worker->users_number = number;
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        if (client_is_closing(client) || client->user == NULL) {
            continue; /* a link of this server's own has no user */
        }
        const struct acl_user *user = acl_users_find(users, client->user->name);
        if (user == NULL) {
            expel(client, client->id == asker);
        } else if (user != client->user) {
            become(client, user);
            worker->server->handlers->client_rights_changed(client, client->id == asker);
        }
    }
    acl_users_unref(before);
}
