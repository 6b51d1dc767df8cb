/* SPDX-License-Identifier: BSD-3-Clause */
/* tls: certificates, keys and what may be negotiated, read from files into a context of OpenSSL.
 *
 * Why so: a context is never changed once it is made. Another configuration makes another one,
 * which is put in its place when all of it is well, so a wrong file changes nothing; connections
 * hold theirs until they end. It also has the keys of the tickets by which sessions are resumed: so
 * what was agreed on under other rules is not resumed under the new ones.
 *
 * All workers share one context, because who comes back is given to any of them.
 */
#include "net/tls.h"

#include "base/check.h"
#include "base/must.h"
#include "net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FILES 6 /* that are watched */

/* What tells that a file is another one. */
struct stamp {
    int64_t size, inode, changed_ns;
};

struct tls_context {
    SSL_CTX *server;
    SSL_CTX *client; /* who connects with a certificate of its own; or NULL */
    struct tls_certificates certificates;
    struct stamp stamps[FILES];
};

/* A copy of options, for the thread that watches. */
struct watch {
    struct tls *tls;
    struct tls_options options;
    char *texts[12];
};

struct tls {
    pthread_mutex_t mutex;       /* of all below */
    struct tls_context *context; /* or NULL */
    uint64_t changes;            /* how often it was replaced */
    bool watching; /* there is a thread, to be joined when `watched` says how it ended */
    pthread_t thread;
    enum tls_watched watched;
    struct text watched_why;
};

/* ---- Errors ---- */

void tls_error_text(char *ret, size_t size) {
    unsigned long error = ERR_get_error();
    ERR_clear_error();
    if (error == 0) {
        ret[0] = 0;
        return;
    }
    /* As ERR_error_string, without the name of the function that newer versions leave empty. */
    const char *library = ERR_lib_error_string(error);
    const char *reason = ERR_reason_error_string(error);
    char number[32];
    snprintf(number, sizeof number, "%d", ERR_GET_REASON(error));
    if (reason == NULL && ERR_SYSTEM_ERROR(error)) {
        reason = strerror(ERR_GET_REASON(error));
    }
    snprintf(ret, size, "error:%08lX:%s::%s", error, library != NULL ? library : "unknown",
             reason != NULL ? reason : number);
}

static void say_error(struct text *why) {
    char error[256];
    tls_error_text(error, sizeof error);
    text_append_text(why, error);
}

/* ---- A context ---- */

void tls_context_free(struct tls_context *context) {
    if (context != NULL) {
        SSL_CTX_free(context->server);
        SSL_CTX_free(context->client);
        free(context);
    }
}

/* Without a password nobody is asked for one. */
static int give_password(char *ret, int size, int writes, void *arg) {
    const char *password = arg;
    size_t len = strlen(password);
    if (writes || len == 0 || len > (size_t)size) {
        return -1;
    }
    memcpy(ret, password, len);
    return (int)len;
}

static bool read_protocols(const char *words, uint64_t *ret_refused, struct text *why) {
    static const struct {
        const char *name;
        uint64_t option;
    } protocols[] = {
        {"tlsv1", SSL_OP_NO_TLSv1},
        {"tlsv1.1", SSL_OP_NO_TLSv1_1},
        {"tlsv1.2", SSL_OP_NO_TLSv1_2},
        {"tlsv1.3", SSL_OP_NO_TLSv1_3},
    };
    uint64_t allowed = words[0] == 0 ? SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3 : 0;
    const char *at = words;
    while (*at != 0) {
        size_t len = strcspn(at, " ");
        uint64_t option = 0;
        for (unsigned i = 0; i < sizeof protocols / sizeof *protocols; i++) {
            if (bytes_equal_nocase(bytes_make(at, len), bytes_of_text(protocols[i].name))) {
                option = protocols[i].option;
            }
        }
        if (option == 0 && len > 0) {
            text_append_text(why, "Invalid tls-protocols specified. Use a combination of 'TLSv1', "
                                  "'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'.");
            return false;
        }
        allowed |= option;
        at += len + (at[len] == ' ');
    }
    *ret_refused = 0;
    for (unsigned i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        *ret_refused |= allowed & protocols[i].option ? 0 : protocols[i].option;
    }
    return true;
}

static bool load_certificate(SSL_CTX *ctx, const char *cert_file, const char *key_file,
                             const char *password, struct text *why) {
    SSL_CTX_set_default_passwd_cb(ctx, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)password);
    bool ok = false;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) <= 0) {
        text_appendf(why, "Failed to load certificate: %s: ", cert_file);
        say_error(why);
    } else if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) <= 0) {
        text_appendf(why, "Failed to load private key: %s: ", key_file);
        say_error(why);
    } else {
        ok = true;
    }
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)""); /* the caller's will be gone */
    return ok;
}

static bool load_dh_params(SSL_CTX *ctx, const char *file, struct text *why) {
    BIO *bio = BIO_new_file(file, "r");
    if (bio == NULL) {
        int error = errno;
        ERR_clear_error();
        text_appendf(why, "Failed to load %s: %s", file, strerror(error));
        return false;
    }
    EVP_PKEY *params = PEM_read_bio_Parameters(bio, NULL);
    BIO_free(bio);
    if (params == NULL || SSL_CTX_set0_tmp_dh_pkey(ctx, params) != 1) { /* takes it if it can */
        EVP_PKEY_free(params);
        text_appendf(why, "Failed to load DH params file: %s: ", file);
        say_error(why);
        return false;
    }
    return true;
}

/* A context with a certificate and the authorities to trust; NULL with the reason. */
static SSL_CTX *make_ctx(const struct tls_options *options, const char *cert_file,
                         const char *key_file, const char *password, struct text *why) {
    uint64_t refused;
    if (!read_protocols(options->protocols, &refused, why)) {
        return NULL;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (ctx == NULL) {
        say_error(why);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, 0); /* `refused` says it; a machine's own file does not */
    SSL_CTX_set_options(ctx, SSL_OP_NO_SSLv3 | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_SINGLE_DH_USE | SSL_OP_IGNORE_UNEXPECTED_EOF | refused);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    const char *ca_file = options->ca_cert_file[0] != 0 ? options->ca_cert_file : NULL;
    const char *ca_dir = options->ca_cert_dir[0] != 0 ? options->ca_cert_dir : NULL;
    bool ok = load_certificate(ctx, cert_file, key_file, password, why);
    if (ok && (ca_file != NULL || ca_dir != NULL) &&
        SSL_CTX_load_verify_locations(ctx, ca_file, ca_dir) <= 0) {
        text_append_text(why, "Failed to configure CA certificate(s) file/directory: ");
        say_error(why);
        ok = false;
    }
    if (ok && options->ciphers[0] != 0 && !SSL_CTX_set_cipher_list(ctx, options->ciphers)) {
        text_appendf(why, "Failed to configure ciphers: %s", options->ciphers);
        ok = false;
    }
    if (ok && options->ciphersuites[0] != 0 &&
        !SSL_CTX_set_ciphersuites(ctx, options->ciphersuites)) {
        text_appendf(why, "Failed to configure ciphersuites: %s", options->ciphersuites);
        ok = false;
    }
    ERR_clear_error();
    if (!ok) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static int verify_mode(enum tls_auth auth) {
    return auth == TLS_AUTH_NO    ? SSL_VERIFY_NONE
           : auth == TLS_AUTH_YES ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                  : SSL_VERIFY_PEER;
}

static long as_long(int64_t value) {
    return value > INT32_MAX ? INT32_MAX : (long)value;
}

/* What only the side that accepts has. */
static bool set_server(SSL_CTX *ctx, const struct tls_options *options, struct text *why) {
    static const unsigned char session_context[] = "shoal";
    SSL_CTX_set_verify(ctx, verify_mode(options->auth), NULL);
    if (options->prefer_server_ciphers) {
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    }
    if (options->caches_sessions) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
        SSL_CTX_sess_set_cache_size(ctx, as_long(options->session_cache_size));
        SSL_CTX_set_timeout(ctx, as_long(options->session_cache_timeout_s));
        SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1);
    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    }
    if (options->ca_cert_file[0] != 0) { /* who asks for a certificate says whose will do */
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(options->ca_cert_file));
        ERR_clear_error();
    }
    if (options->dh_params_file[0] == 0) {
        SSL_CTX_set_dh_auto(ctx, 1);
        return true;
    }
    return load_dh_params(ctx, options->dh_params_file, why);
}

/* ---- What is told of certificates ---- */

static void describe(X509 *cert, struct tls_certificate *ret) {
    snprintf(ret->serial, sizeof ret->serial, "none");
    ret->expires_s = 0;
    if (cert == NULL) {
        return;
    }
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *text = number != NULL ? BN_bn2hex(number) : NULL;
    if (text != NULL) {
        snprintf(ret->serial, sizeof ret->serial, "%s", text);
    }
    OPENSSL_free(text);
    BN_free(number);
    struct tm end;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end)) {
        ret->expires_s = (int64_t)timegm(&end);
    }
}

/* The first of a file. */
static void describe_file(const char *file, struct tls_certificate *ret) {
    BIO *bio = file[0] != 0 ? BIO_new_file(file, "r") : NULL;
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, give_password, (void *)"") : NULL;
    describe(cert, ret);
    X509_free(cert);
    BIO_free(bio);
    ERR_clear_error();
}

static void stamp_files(const struct tls_options *options, struct stamp *ret) {
    const char *files[FILES] = {
        options->cert_file,       options->key_file,     options->client_cert_file,
        options->client_key_file, options->ca_cert_file, options->ca_cert_dir,
    };
    memset(ret, 0, FILES * sizeof *ret);
    for (unsigned i = 0; i < FILES; i++) {
        struct stat st;
        if (files[i][0] != 0 && stat(files[i], &st) == 0) {
            ret[i].size = st.st_size;
            ret[i].inode = (int64_t)st.st_ino;
            ret[i].changed_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        }
    }
}

/* ---- Making one ---- */

static bool is_complete(const struct tls_options *options, struct text *why) {
    if (options->cert_file[0] == 0) {
        text_append_text(why, "No tls-cert-file configured!");
    } else if (options->key_file[0] == 0) {
        text_append_text(why, "No tls-key-file configured!");
    } else if ((options->auth != TLS_AUTH_NO || options->dials) && options->ca_cert_file[0] == 0 &&
               options->ca_cert_dir[0] == 0) {
        text_append_text(why, "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when "
                              "tls-cluster, tls-replication or tls-auth-clients are enabled!");
    } else {
        return true;
    }
    return false;
}

struct tls_context *tls_context_new(const struct tls_options *options, struct text *why) {
    if (!is_complete(options, why)) {
        return NULL;
    }
    ERR_clear_error();
    struct tls_context *context = must_calloc(1, sizeof *context);
    stamp_files(options, context->stamps);
    context->server =
        make_ctx(options, options->cert_file, options->key_file, options->key_file_pass, why);
    bool has_client = options->client_cert_file[0] != 0 && options->client_key_file[0] != 0;
    bool ok = context->server != NULL && set_server(context->server, options, why);
    if (ok && has_client) {
        context->client = make_ctx(options, options->client_cert_file, options->client_key_file,
                                   options->client_key_file_pass, why);
        ok = context->client != NULL;
    }
    if (!ok) {
        tls_context_free(context);
        return NULL;
    }
    describe(SSL_CTX_get0_certificate(context->server), &context->certificates.server);
    describe_file(has_client ? options->client_cert_file : "", &context->certificates.client);
    describe_file(options->ca_cert_file, &context->certificates.ca);
    return context;
}

struct tls *tls_new(void) {
    struct tls *tls = must_calloc(1, sizeof *tls);
    pthread_mutex_init(&tls->mutex, NULL);
    text_init(&tls->watched_why);
    return tls;
}

void tls_use(struct tls *tls, struct tls_context *context) {
    pthread_mutex_lock(&tls->mutex);
    struct tls_context *old = tls->context;
    tls->context = context;
    tls->changes++;
    pthread_mutex_unlock(&tls->mutex);
    tls_context_free(old);
}

void tls_free(struct tls *tls) {
    if (tls != NULL) {
        if (tls->watching) {
            pthread_join(tls->thread, NULL);
        }
        tls_context_free(tls->context);
        text_fini(&tls->watched_why);
        pthread_mutex_destroy(&tls->mutex);
        free(tls);
    }
}

/* A session that began without a certificate is nothing to those who want one: it is of another
 * kind.
 */
static bool want_certificate(SSL *ssl) {
    static const unsigned char known_context[] = "shoal known";
    SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_set_session_id_context(ssl, known_context, sizeof known_context - 1) == 1;
}

SSL *tls_connection(struct tls *tls, enum tls_side side) {
    pthread_mutex_lock(&tls->mutex);
    const struct tls_context *context = tls->context;
    SSL_CTX *ctx = context == NULL                                  ? NULL
                   : side == TLS_DIALLED && context->client != NULL ? context->client
                                                                    : context->server;
    SSL *ssl = ctx != NULL ? SSL_new(ctx) : NULL;
    pthread_mutex_unlock(&tls->mutex);
    if (ssl != NULL && side == TLS_DIALLED) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    } else if (ssl != NULL && side == TLS_COMES_KNOWN && !want_certificate(ssl)) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

void tls_certificates(struct tls *tls, struct tls_certificates *ret_certificates) {
    pthread_mutex_lock(&tls->mutex);
    if (tls->context != NULL) {
        *ret_certificates = tls->context->certificates;
    } else {
        describe(NULL, &ret_certificates->server);
        describe(NULL, &ret_certificates->client);
        describe(NULL, &ret_certificates->ca);
    }
    pthread_mutex_unlock(&tls->mutex);
}

/* ---- Watching the files ---- */

static const char **option_texts(struct tls_options *options, unsigned i) {
    const char **texts[] = {
        &options->cert_file,        &options->key_file,        &options->key_file_pass,
        &options->client_cert_file, &options->client_key_file, &options->client_key_file_pass,
        &options->ca_cert_file,     &options->ca_cert_dir,     &options->dh_params_file,
        &options->protocols,        &options->ciphers,         &options->ciphersuites,
    };
    _Static_assert(sizeof texts / sizeof *texts ==
                       sizeof((struct watch *)0)->texts / sizeof(char *),
                   "a copy of each");
    return texts[i];
}

static void watch_free(struct watch *watch) {
    for (unsigned i = 0; i < sizeof watch->texts / sizeof *watch->texts; i++) {
        free(watch->texts[i]);
    }
    free(watch);
}

static void *watch_thread(void *arg) {
    struct watch *watch = arg;
    struct tls *tls = watch->tls;
    struct text why;
    text_init(&why);
    struct stamp now[FILES];
    stamp_files(&watch->options, now);
    pthread_mutex_lock(&tls->mutex);
    uint64_t changes = tls->changes;
    bool same = tls->context == NULL || memcmp(tls->context->stamps, now, sizeof now) == 0;
    pthread_mutex_unlock(&tls->mutex);
    struct tls_context *context = same ? NULL : tls_context_new(&watch->options, &why);
    pthread_mutex_lock(&tls->mutex);
    struct tls_context *old = context;
    if (context != NULL && tls->changes == changes) { /* else somebody has said otherwise since */
        old = tls->context;
        tls->context = context;
        tls->changes++;
    }
    if (!same && context == NULL && tls->context != NULL) {
        memcpy(tls->context->stamps, now, sizeof now); /* said once, not each time */
    }
    tls->watched = same ? TLS_WATCH_SAME : context != NULL ? TLS_WATCH_RELOADED : TLS_WATCH_FAILED;
    text_append_bytes(&tls->watched_why, text_bytes(&why));
    pthread_mutex_unlock(&tls->mutex);
    tls_context_free(old);
    text_fini(&why);
    watch_free(watch);
    return NULL;
}

void tls_watch(struct tls *tls, const struct tls_options *options) {
    if (tls->watching) {
        return;
    }
    struct watch *watch = must_calloc(1, sizeof *watch);
    watch->tls = tls;
    watch->options = *options;
    for (unsigned i = 0; i < sizeof watch->texts / sizeof *watch->texts; i++) {
        const char **text = option_texts(&watch->options, i);
        size_t size = strlen(*text) + 1;
        *text = watch->texts[i] = memcpy(must_malloc(size), *text, size);
    }
    tls->watched = TLS_WATCH_NOTHING;
    sigset_t all, before; /* signals are for the threads that were there before */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    tls->watching = pthread_create(&tls->thread, NULL, watch_thread, watch) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!tls->watching) {
        watch_free(watch);
    }
}

enum tls_watched tls_watch_over(struct tls *tls, struct text *why) {
    if (!tls->watching) {
        return TLS_WATCH_NOTHING;
    }
    pthread_mutex_lock(&tls->mutex);
    enum tls_watched watched = tls->watched;
    pthread_mutex_unlock(&tls->mutex);
    if (watched != TLS_WATCH_NOTHING) {
        pthread_join(tls->thread, NULL);
        tls->watching = false;
        text_append_bytes(why, text_bytes(&tls->watched_why));
        text_clear(&tls->watched_why);
    }
    return watched;
}
