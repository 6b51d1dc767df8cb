/* SPDX-License-Identifier: BSD-3-Clause */
/* client_filter: see the header. One table says which option sets which field, so that the plain
 * and the NOT- form of a test are one piece of code: a filter is two sets of conditions, those that
 * must hold and those that must not.
 */
#include "server/commands/connection/client_filter.h"

#include "base/must.h"
#include "base/num.h"
#include "server/acl/acl.h"
#include "server/call/command_table.h"
#include "server/call/errors.h"
#include "server/client/identity.h"
#include "server/config/config.h"
#include "server/replication/replica.h"
#include "server/worker/view.h"

#include <stdlib.h>

/* Every letter that the flags field may have, and every capability. */
#define FLAG_LETTERS "OSMPxbtRBdcuAUreTIiEN"
#define CAPA_LETTERS "r"

enum condition_text {
    TEXT_ADDR,
    TEXT_LADDR,
    TEXT_IP,
    TEXT_USER,
    TEXT_NAME,
    TEXT_LIB_NAME,
    TEXT_LIB_VER,
    TEXT_FLAGS,
    TEXT_CAPA,
    TEXT_COUNT,
};

enum client_kind { KIND_ANY, KIND_NORMAL, KIND_PUBSUB, KIND_REPLICA, KIND_PRIMARY };

struct conditions {
    char *texts[TEXT_COUNT]; /* NULL: not asked */
    uint64_t *ids;
    size_t ids_count, ids_capacity; /* in ascending order, once parsed */
    bool ids_given;                 /* even if there were none */
    enum client_kind kind;
    int64_t db; /* -1: not asked */
};

struct client_filter {
    struct conditions yes, no;
    int64_t max_age_s, idle_s; /* 0: not asked */
    uint64_t skip_id;          /* 0: nobody */
    bool skip_me;
};

/* ---- Making one ---- */

static void conditions_free(struct conditions *conditions) {
    for (int i = 0; i < TEXT_COUNT; i++) {
        free(conditions->texts[i]);
    }
    free(conditions->ids);
}

void client_filter_free(struct client_filter *filter) {
    if (filter != NULL) {
        conditions_free(&filter->yes);
        conditions_free(&filter->no);
        free(filter);
    }
}

static struct client_filter *filter_blank(void) {
    struct client_filter *filter = must_calloc(1, sizeof(*filter));
    filter->yes.db = filter->no.db = -1;
    return filter;
}

static void text_set(struct conditions *conditions, enum condition_text which, struct bytes value) {
    char *copy = must_malloc(value.len + 1);
    memcpy(copy, value.ptr, value.len);
    copy[value.len] = 0;
    free(conditions->texts[which]);
    conditions->texts[which] = copy;
}

struct client_filter *client_filter_address(struct bytes address) {
    struct client_filter *filter = filter_blank();
    text_set(&filter->yes, TEXT_ADDR, address);
    return filter;
}

static int id_compare(const void *a, const void *b) {
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* Takes numbers as long as there are any, maybe none; how many arguments, or -1 after an error
 * reply. */
static int ids_parse(struct exec *x, uint32_t i, struct conditions *conditions) {
    int n = 0;
    int64_t id;
    while (i + (uint32_t)n < x->argc && num_parse_i64(x->argv[i + (uint32_t)n], &id)) {
        if (id <= 0) {
            reply_error(x->reply, "ERR client-id should be greater than 0");
            return -1;
        }
        if (conditions->ids_count == conditions->ids_capacity) {
            conditions->ids_capacity =
                conditions->ids_capacity > 0 ? conditions->ids_capacity * 2 : 4;
            conditions->ids =
                must_realloc(conditions->ids, conditions->ids_capacity * sizeof(*conditions->ids));
        }
        conditions->ids[conditions->ids_count++] = (uint64_t)id;
        n++;
    }
    conditions->ids_given = true;
    return n;
}

/* Once all are there: each may come with an ID of its own. */
static void ids_sort(struct conditions *conditions) {
    if (conditions->ids_count > 1) {
        qsort(conditions->ids, conditions->ids_count, sizeof(*conditions->ids), id_compare);
    }
}

static enum client_kind kind_of(const struct client *client) {
    return client->upstream != NULL            ? KIND_PRIMARY
           : replica_is(client)                ? KIND_REPLICA
           : client->flags & CLIENT_SUBSCRIBED ? KIND_PUBSUB
                                               : KIND_NORMAL;
}

static bool kind_parse(struct exec *x, struct bytes word, enum client_kind *ret) {
    if (bytes_is(word, "normal")) {
        *ret = KIND_NORMAL;
    } else if (bytes_is(word, "pubsub")) {
        *ret = KIND_PUBSUB;
    } else if (bytes_is(word, "slave") || bytes_is(word, "replica")) {
        *ret = KIND_REPLICA;
    } else if (bytes_is(word, "master") || bytes_is(word, "primary")) {
        *ret = KIND_PRIMARY;
    } else {
        reply_errorf(x->reply, "ERR Unknown client type '%.*s'", bytes_precision(word), word.ptr);
        return false;
    }
    return true;
}

/* A whole number above 0. */
static bool positive_parse(struct exec *x, struct bytes word, const char *name, int64_t *ret) {
    if (!num_parse_i64(word, ret)) {
        reply_errorf(x->reply, "ERR %s is not an integer or out of range", name);
        return false;
    }
    if (*ret <= 0) {
        reply_errorf(x->reply, "ERR %s should be greater than 0", name);
        return false;
    }
    return true;
}

static bool db_parse(struct exec *x, struct bytes word, bool negative, int64_t *ret) {
    const char *name = negative ? "NOT-DB" : "DB";
    int64_t databases = config_databases(worker_config(x->worker));
    if (!num_parse_i64(word, ret) || *ret < INT32_MIN || *ret > INT32_MAX) {
        reply_errorf(x->reply, "ERR %s is not an integer or out of range", name);
        return false;
    }
    if (*ret < 0 || *ret >= databases) {
        reply_errorf(x->reply, "ERR %s number should be between 0 and %d", name,
                     (int)databases - 1);
        return false;
    }
    return true;
}

static bool letters_check(struct exec *x, struct bytes word, const char *letters, const char *name,
                          bool negative) {
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] == 0 || strchr(letters, word.ptr[i]) == NULL) {
            const char *where = negative ? (name[0] == 'f' ? "NOT-FLAGS" : "NOT-CAPA") : "provided";
            reply_errorf(x->reply, "ERR Unknown %s found in the %s filter: %.*s", name, where,
                         bytes_precision(word), word.ptr);
            return false;
        }
    }
    return true;
}

struct text_option {
    const char *word;
    enum condition_text which;
};

static const struct text_option text_options[] = {
    {"addr", TEXT_ADDR},       {"laddr", TEXT_LADDR}, {"ip", TEXT_IP},
    {"user", TEXT_USER},       {"name", TEXT_NAME},   {"lib-name", TEXT_LIB_NAME},
    {"lib-ver", TEXT_LIB_VER}, {"flags", TEXT_FLAGS}, {"capa", TEXT_CAPA},
};

/* An option whose value is a text. 1: taken; 0: not such an option; -1: error reply given. */
static int text_option_parse(struct exec *x, struct bytes word, struct bytes value,
                             struct conditions *conditions, bool negative) {
    for (size_t i = 0; i < sizeof(text_options) / sizeof(text_options[0]); i++) {
        if (!bytes_equal_nocase(word, bytes_of_text(text_options[i].word))) {
            continue;
        }
        enum condition_text which = text_options[i].which;
        if (which == TEXT_USER && acl_users_find(worker_users(x->worker), value) == NULL) {
            reply_errorf(x->reply, "ERR No such user '%.*s'", bytes_precision(value), value.ptr);
            return -1;
        }
        if ((which == TEXT_FLAGS && !letters_check(x, value, FLAG_LETTERS, "flags", negative)) ||
            (which == TEXT_CAPA && !letters_check(x, value, CAPA_LETTERS, "capa", negative))) {
            return -1;
        }
        text_set(conditions, which, value);
        return 1;
    }
    return 0;
}

/* One option with its value at argv[i]; how many arguments it took, or -1 after an error reply. */
static int option_parse(struct exec *x, uint32_t i, struct client_filter *filter) {
    struct bytes word = x->argv[i];
    bool negative = word.len > 4 && bytes_equal_nocase(bytes_make(word.ptr, 4), BYTES("not-"));
    struct conditions *conditions = negative ? &filter->no : &filter->yes;
    if (negative) {
        word = bytes_make(word.ptr + 4, word.len - 4);
    }
    if (bytes_is(word, "id") && x->argc > 3) { /* as the only argument it needs a number */
        int n = ids_parse(x, i + 1, conditions);
        return n < 0 ? -1 : n + 1;
    }
    if (i + 1 >= x->argc) {
        reply_error(x->reply, ERR_SYNTAX);
        return -1;
    }
    struct bytes value = x->argv[i + 1];
    bool ok = true;
    int text = text_option_parse(x, word, value, conditions, negative);
    if (text != 0) {
        return text < 0 ? -1 : 2;
    }
    if (bytes_is(word, "type")) {
        ok = kind_parse(x, value, &conditions->kind);
    } else if (bytes_is(word, "db")) {
        ok = db_parse(x, value, negative, &conditions->db);
    } else if (!negative && bytes_is(word, "maxage")) {
        ok = positive_parse(x, value, "maxage", &filter->max_age_s);
    } else if (!negative && bytes_is(word, "idle")) {
        ok = positive_parse(x, value, "idle", &filter->idle_s);
    } else if (!negative && bytes_is(word, "skipme") &&
               (bytes_is(value, "yes") || bytes_is(value, "no"))) {
        filter->skip_me = bytes_is(value, "yes");
    } else {
        reply_error(x->reply, ERR_SYNTAX);
        ok = false;
    }
    return ok ? 2 : -1;
}

struct client_filter *client_filter_new(struct exec *x, uint32_t first, bool kill) {
    struct client_filter *filter = filter_blank();
    filter->skip_me = kill;
    for (uint32_t i = first; i < x->argc;) {
        int n = option_parse(x, i, filter);
        if (n < 0) {
            client_filter_free(filter);
            return NULL;
        }
        i += (uint32_t)n;
    }
    ids_sort(&filter->yes);
    ids_sort(&filter->no);
    filter->skip_id = filter->skip_me ? x->client->id : 0;
    return filter;
}

/* ---- Matching ---- */

/* All letters of `wanted` are in `has`. */
static bool letters_in(const char *wanted, const char *has) {
    for (; *wanted != 0; wanted++) {
        if (strchr(has, *wanted) == NULL) {
            return false;
        }
    }
    return true;
}

static bool text_holds(const struct client *client, enum condition_text which, const char *wanted) {
    char flags[CLIENT_FLAGS_TEXT_BYTES];
    const char *text = NULL;
    switch (which) {
    case TEXT_ADDR:
        text = client->peer;
        break;
    case TEXT_LADDR:
        text = client->local;
        break;
    case TEXT_IP: {
        const char *colon = strrchr(client->peer, ':');
        size_t n = colon ? (size_t)(colon - client->peer) : strlen(client->peer);
        struct bytes ip = bytes_make(client->peer, n);
        if (n > 1 && ip.ptr[0] == '[' && ip.ptr[n - 1] == ']') {
            ip = bytes_make(ip.ptr + 1, n - 2);
        }
        return bytes_equal(ip, bytes_of_text(wanted));
    }
    case TEXT_USER:
        return bytes_equal(client_user_name(client), bytes_of_text(wanted));
    case TEXT_NAME:
        text = client->name;
        break;
    case TEXT_LIB_NAME:
        text = client->lib_name;
        break;
    case TEXT_LIB_VER:
        text = client->lib_version;
        break;
    case TEXT_FLAGS:
        client_flags_text(client, flags);
        return letters_in(wanted, flags);
    case TEXT_CAPA:
        return letters_in(wanted, client->flags & CLIENT_CAPA_REDIRECT ? CAPA_LETTERS : "");
    case TEXT_COUNT:
        break;
    }
    return text != NULL && strcmp(text, wanted) == 0;
}

static bool id_listed(const struct conditions *conditions, uint64_t id) {
    return conditions->ids_count > 0 &&
           bsearch(&id, conditions->ids, conditions->ids_count, sizeof(id), id_compare) != NULL;
}

/* Every condition that was asked is `wanted`. */
static bool conditions_are(const struct conditions *conditions, const struct client *client,
                           bool wanted) {
    for (int i = 0; i < TEXT_COUNT; i++) {
        const char *text = conditions->texts[i];
        if (text != NULL && text_holds(client, (enum condition_text)i, text) != wanted) {
            return false;
        }
    }
    if (conditions->ids_given && id_listed(conditions, client->id) != wanted) {
        return false;
    }
    if (conditions->kind != KIND_ANY && (conditions->kind == kind_of(client)) != wanted) {
        return false;
    }
    return conditions->db < 0 || (conditions->db == client->db) == wanted;
}

bool client_filter_matches(const struct client_filter *filter, const struct client *client,
                           int64_t now_ms) {
    if (client->id == filter->skip_id ||
        (filter->max_age_s > 0 &&
         client_seconds_since(client->created_ms, now_ms) < filter->max_age_s) ||
        (filter->idle_s > 0 && client_seconds_since(client->active_ms, now_ms) < filter->idle_s)) {
        return false;
    }
    return conditions_are(&filter->yes, client, true) && conditions_are(&filter->no, client, false);
}
