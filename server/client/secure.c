/* SPDX-License-Identifier: BSD-3-Clause */
/* secure: see the header. Why so: what is refused before a client has said anything (protected
 * mode), or is known of it without asking (the name in its certificate), can only be told or used
 * when its handshake is over; until then the client is one that has nothing to say.
 */
#include "server/client/secure.h"

#include "net/tls.h"
#include "server/call/errors.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/client/identity.h"
#include "server/observe/log.h"
#include "server/server.h"
#include "server/worker/worker.h"

/* The longest name of a user that a certificate may bring: names of SPIFFE have up to 2048. */
#define USER_BYTES 4096

static struct tls_options options_of(const struct config *config) {
    return (struct tls_options){
        .cert_file = config->tls_cert_file.ptr,
        .key_file = config->tls_key_file.ptr,
        .key_file_pass = config->tls_key_file_pass.ptr,
        .client_cert_file = config->tls_client_cert_file.ptr,
        .client_key_file = config->tls_client_key_file.ptr,
        .client_key_file_pass = config->tls_client_key_file_pass.ptr,
        .ca_cert_file = config->tls_ca_cert_file.ptr,
        .ca_cert_dir = config->tls_ca_cert_dir.ptr,
        .dh_params_file = config->tls_dh_params_file.ptr,
        .protocols = config->tls_protocols.ptr,
        .ciphers = config->tls_ciphers.ptr,
        .ciphersuites = config->tls_ciphersuites.ptr,
        .auth = config->tls_auth_clients == CONFIG_TLS_AUTH_NO    ? TLS_AUTH_NO
                : config->tls_auth_clients == CONFIG_TLS_AUTH_YES ? TLS_AUTH_YES
                                                                  : TLS_AUTH_OPTIONAL,
        .dials = config->tls_replication || config->tls_cluster,
        .prefer_server_ciphers = config->tls_prefer_server_ciphers,
        .caches_sessions = config->tls_session_caching,
        .session_cache_size = config->tls_session_cache_size,
        .session_cache_timeout_s = config->tls_session_cache_timeout,
    };
}

struct tls_context *secure_read(const struct config *config, struct text *why) {
    struct tls_options options = options_of(config);
    return tls_context_new(&options, why);
}

void secure_use(struct worker *worker, struct tls_context *context) {
    tls_use(worker->server->tls, context);
}

bool secure_is_wanted(const struct config *config) {
    return config->tls_port != 0 || config->tls_replication || config->tls_cluster;
}

bool secure_start(struct worker *worker, struct text *why) {
    if (!secure_is_wanted(worker->config)) {
        return true;
    }
    struct tls_context *context = secure_read(worker->config, why);
    secure_use(worker, context);
    return context != NULL;
}

/* ---- Files that change ---- */

static void log_watched(struct worker *worker) {
    struct text why;
    text_init(&why);
    switch (tls_watch_over(worker->server->tls, &why)) {
    case TLS_WATCH_RELOADED:
        log_worker(worker, LOG_NOTICE, "TLS materials reloaded successfully");
        break;
    case TLS_WATCH_FAILED:
        log_worker(worker, LOG_WARNING, "%s", why.ptr);
        log_worker(worker, LOG_WARNING,
                   "Background TLS reload failed: what was read before is used on.");
        break;
    case TLS_WATCH_SAME:
        log_worker(worker, LOG_DEBUG, "TLS reload skipped: materials unchanged");
        break;
    case TLS_WATCH_NOTHING:
        break;
    }
    text_fini(&why);
}

void secure_cron(struct worker *worker) {
    const struct config *config = worker->config;
    struct server *server = worker->server;
    log_watched(worker);
    if (config->tls_auto_reload_interval == 0 || !secure_is_wanted(config)) {
        server->tls_watched_ms = 0;
        return;
    }
    int64_t now_ms = rt_mono_ms(worker->rt);
    if (server->tls_watched_ms == 0) { /* from now on */
        server->tls_watched_ms = now_ms;
    } else if (now_ms - server->tls_watched_ms >= config->tls_auto_reload_interval * 1000) {
        server->tls_watched_ms = now_ms;
        struct tls_options options = options_of(config);
        tls_watch(server->tls, &options);
    }
}

/* ---- Clients ---- */

static const struct acl_user *find_on(const struct worker *worker, const char *name) {
    const struct acl_user *user = acl_users_find(worker->users, bytes_of_text(name));
    return user != NULL && user->on ? user : NULL;
}

/* The user that the certificate names, if there is one. */
static void log_in_by_certificate(struct client *client) {
    struct worker *worker = client->worker;
    int field = worker->config->tls_auth_clients_user;
    char user[USER_BYTES]; /* the last one that was looked for */
    if (field == CONFIG_TLS_USER_OFF) {
        return;
    }
    const struct acl_user *found = NULL;
    user[0] = 0;
    if (field == CONFIG_TLS_USER_CN) {
        if (!tls_stream_peer_name(&client->stream, user, sizeof user)) {
            return; /* none was shown, or it names nobody */
        }
        found = find_on(worker, user);
    }
    for (unsigned i = 0; field == CONFIG_TLS_USER_URI && found == NULL &&
                         tls_stream_peer_uri(&client->stream, i, user, sizeof user);
         i++) {
        found = find_on(worker, user);
    }
    if (found == NULL && user[0] != 0) {
        client_denied(client, ACL_LOG_CERTIFICATE, ACL_LOG_TOPLEVEL, BYTES(""),
                      bytes_of_text(user));
    }
    const char *shown = worker->config->hide_user_data_from_log ? "*redacted*" : user;
    if (found != NULL) {
        client_log_in(client, found);
        log_worker(worker, LOG_VERBOSE, "TLS: Auto-authenticated client as %s", shown);
    } else if (field == CONFIG_TLS_USER_CN) {
        log_worker(worker, LOG_VERBOSE, "TLS: No matching user found for certificate CN %s", shown);
    } else {
        log_worker(worker, LOG_VERBOSE,
                   "TLS: No matching user found in certificate SAN URI fields");
    }
}

void client_on_secured(struct rt_stream *stream) {
    struct client *client = (struct client *)stream;
    struct worker *worker = client->worker;
    if (client_is_stranger(worker, client->flags & CLIENT_LOCAL)) {
        worker->stats.connections_rejected++;
        struct reply reply = client_reply(client);
        reply_error(&reply, ERR_PROTECTED_MODE);
        client_close_after_reply(client);
        return;
    }
    log_in_by_certificate(client);
}
