/* SPDX-License-Identifier: BSD-3-Clause */
/* client_tracking: CLIENT TRACKING and what belongs to it (server/tracking/tracking.h).
 *
 * Whom a client redirects to may be anywhere: that is asked first, as Valkey does where the option
 * stands. Prefixes have to be known everywhere before the answer.
 */
#include "base/must.h"
#include "base/num.h"
#include "base/text.h"
#include "server/call/errors.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/commands/connection/connection.h"
#include "server/tracking/tracking.h"
#include "server/worker/view.h"

#include <stdlib.h>
#include <string.h>

/* What was asked for, as far as its words made sense. It travels as one block, with the prefixes,
 * each behind its length. */
struct wish {
    struct tracking_options options;
    bool redirects; /* to options.redirect, if that is there */
    bool on, off;
    const char *error; /* of a word behind those; NULL: there is none */
    uint32_t prefixes;
};

/* ---- Words ---- */

/* NULL: it makes sense. */
static const char *parse_redirect(struct bytes word, struct wish *wish) {
    int64_t id;
    if (wish->redirects) {
        return "ERR A client can only redirect to a single other client";
    }
    if (!num_parse_i64(word, &id)) {
        return ERR_NOT_INTEGER;
    }
    wish->redirects = true;
    wish->options.redirect = (uint64_t)id;
    return NULL;
}

static bool parse_flag(struct bytes word, struct tracking_options *options) {
    bool *flag = bytes_is(word, "bcast")    ? &options->bcast
                 : bytes_is(word, "optin")  ? &options->optin
                 : bytes_is(word, "optout") ? &options->optout
                 : bytes_is(word, "noloop") ? &options->noloop
                                            : NULL;
    if (flag != NULL) {
        *flag = true;
    }
    return flag != NULL;
}

/* Stops at the first word that makes no sense. `prefixes` has room for all words. */
static void parse(const struct exec *x, struct wish *wish, struct bytes *prefixes) {
    wish->on = bytes_is(x->argv[2], "on");
    wish->off = bytes_is(x->argv[2], "off");
    for (uint32_t i = 3; i < x->argc && wish->error == NULL; i++) {
        bool more = i + 1 < x->argc;
        if (bytes_is(x->argv[i], "redirect") && more) {
            wish->error = parse_redirect(x->argv[++i], wish);
        } else if (bytes_is(x->argv[i], "prefix") && more) {
            prefixes[wish->prefixes++] = x->argv[++i];
        } else if (!parse_flag(x->argv[i], &wish->options)) {
            wish->error = ERR_SYNTAX;
        }
    }
}

/* ---- Checks, in Valkey's order ---- */

static const char *modes_disagree(const struct client *client, const struct wish *wish) {
    const struct tracking_options *options = &wish->options;
    bool tracked = client->flags & CLIENT_TRACKED;
    const struct tracking_options *now = tracked ? &client->tracking->options : NULL;
    if (!options->bcast && wish->prefixes > 0) {
        return "ERR PREFIX option requires BCAST mode to be enabled";
    }
    if (tracked && now->bcast != options->bcast) {
        return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    }
    if (options->bcast && (options->optin || options->optout)) {
        return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    }
    if (options->optin && options->optout) {
        return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    }
    if (tracked && ((options->optin && now->optout) || (options->optout && now->optin))) {
        return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    }
    return NULL;
}

static bool overlap(struct bytes a, struct bytes b) {
    size_t len = a.len < b.len ? a.len : b.len;
    return len == 0 || memcmp(a.ptr, b.ptr, len) == 0;
}

/* One key would be told of twice: that is refused. True: it was. */
static bool prefixes_overlap(struct exec *x, const struct bytes *prefixes, uint32_t count) {
    struct bytes *now;
    uint32_t now_count = tracking_prefixes(x->client, &now);
    bool any = false;
    for (uint32_t i = 0; i < count && !any; i++) {
        for (uint32_t j = 0; j < now_count + count - i - 1 && !any; j++) {
            bool is_own = j >= now_count;
            struct bytes other = is_own ? prefixes[i + 1 + j - now_count] : now[j];
            any = overlap(prefixes[i], other);
            if (any) {
                reply_errorf(x->reply,
                             "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a "
                             "single client must not overlap.",
                             bytes_precision(prefixes[i]), prefixes[i].ptr,
                             is_own ? "another provided" : "an existing", bytes_precision(other),
                             other.ptr);
            }
        }
    }
    free(now);
    return any;
}

/* ---- CLIENT TRACKING ---- */

/* What has come by post before this has been worked off. */
static bool nothing_part(struct worker *worker, const void *args, void *result) {
    return true;
}

static void switch_on(struct exec *x, const struct wish *wish, const struct bytes *prefixes) {
    const char *error = modes_disagree(x->client, wish);
    if (error != NULL) {
        reply_error(x->reply, error);
        return;
    }
    if (wish->options.bcast && prefixes_overlap(x, prefixes, wish->prefixes)) {
        return;
    }
    if (!client_is_closing(x->client)) { /* EXEC goes on when its client has gone */
        tracking_on(x->client, &wish->options, prefixes, wish->prefixes);
    }
    if (wish->options.bcast) {
        scatter_all(x, nothing_part, 0, NULL, 0, scatter_ok);
    } else {
        reply_ok(x->reply);
    }
}

/* Whom it redirects to is there. */
static void do_wish(struct exec *x, const struct wish *wish, const struct bytes *prefixes) {
    if (wish->error != NULL) {
        reply_error(x->reply, wish->error);
    } else if (wish->on) {
        switch_on(x, wish, prefixes);
    } else if (wish->off) {
        tracking_off(x->client);
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, ERR_SYNTAX);
    }
}

static bool find_part(struct worker *worker, const void *args, void *result) {
    const struct wish *wish = args;
    const struct client *client = client_of_id(worker, wish->options.redirect);
    *(bool *)result = client != NULL && !client_is_closing(client);
    return true;
}

static void find_done(struct exec *x, const struct scatter_result *result) {
    struct wish wish = *(const struct wish *)result->args;
    bool found = false;
    for (unsigned i = 0; i < result->parts_count; i++) {
        if (*(const bool *)result->parts[i]) {
            found = true;
            wish.options.home = i;
        }
    }
    if (!found) {
        reply_error(x->reply, "ERR The client ID you want redirect to does not exist");
        return;
    }
    if (x->client == NULL) {
        return;
    }
    struct bytes *prefixes = must_malloc((wish.prefixes + 1) * sizeof *prefixes);
    const char *at = (const char *)result->args + sizeof wish;
    for (uint32_t i = 0; i < wish.prefixes; i++) {
        size_t len;
        memcpy(&len, at, sizeof len);
        prefixes[i] = bytes_make(at + sizeof len, len);
        at += sizeof len + len;
    }
    do_wish(x, &wish, prefixes);
    free(prefixes);
}

static void find_redirect(struct exec *x, const struct wish *wish, const struct bytes *prefixes) {
    struct text text;
    text_init(&text);
    text_append(&text, wish, sizeof *wish);
    for (uint32_t i = 0; i < wish->prefixes; i++) {
        text_append(&text, &prefixes[i].len, sizeof prefixes[i].len);
        text_append_bytes(&text, prefixes[i]);
    }
    scatter_all(x, find_part, sizeof(bool), text.ptr, text.len, find_done);
    text_fini(&text);
}

void command_client_tracking(struct exec *x) {
    struct wish wish = {0};
    struct bytes *prefixes = must_malloc(x->argc * sizeof *prefixes);
    parse(x, &wish, prefixes);
    if (wish.redirects) {
        find_redirect(x, &wish, prefixes);
    } else {
        do_wish(x, &wish, prefixes);
    }
    free(prefixes);
}

/* ---- CLIENT CACHING, TRACKINGINFO, GETREDIR ---- */

void command_client_caching(struct exec *x) {
    struct client *client = x->client;
    if (!(client->flags & CLIENT_TRACKED)) {
        reply_error(x->reply,
                    "ERR CLIENT CACHING can be called only when the client is in tracking "
                    "mode with OPTIN or OPTOUT mode enabled");
        return;
    }
    const struct tracking_options *options = &client->tracking->options;
    if (bytes_is(x->argv[2], "yes")) {
        if (!options->optin) {
            reply_error(x->reply,
                        "ERR CLIENT CACHING YES is only valid when tracking is enabled in "
                        "OPTIN mode.");
            return;
        }
    } else if (bytes_is(x->argv[2], "no")) {
        if (!options->optout) {
            reply_error(x->reply, "ERR CLIENT CACHING NO is only valid when tracking is enabled in "
                                  "OPTOUT mode.");
            return;
        }
    } else {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    tracking_set_caching(client);
    reply_ok(x->reply);
}

#define FLAGS_MAX 6

static uint32_t flags_of(const struct client *client, const char *ret[FLAGS_MAX]) {
    uint32_t n = 0;
    if (!(client->flags & CLIENT_TRACKED)) {
        ret[n++] = "off";
        return n;
    }
    const struct tracking *tracking = client->tracking;
    ret[n++] = "on";
    if (tracking->options.bcast) {
        ret[n++] = "bcast";
    }
    if (tracking->options.optin || tracking->options.optout) {
        ret[n++] = tracking->options.optin ? "optin" : "optout";
        if (tracking->caching) {
            ret[n++] = tracking->options.optin ? "caching-yes" : "caching-no";
        }
    }
    if (tracking->options.noloop) {
        ret[n++] = "noloop";
    }
    if (tracking->broken) {
        ret[n++] = "broken_redirect";
    }
    return n;
}

void command_client_trackinginfo(struct exec *x) {
    const char *flags[FLAGS_MAX];
    uint32_t flags_count = flags_of(x->client, flags);
    struct bytes *prefixes;
    uint32_t prefixes_count = tracking_prefixes(x->client, &prefixes);
    reply_map(x->reply, 3);
    reply_bulk_text(x->reply, "flags");
    reply_set(x->reply, flags_count);
    for (uint32_t i = 0; i < flags_count; i++) {
        reply_bulk_text(x->reply, flags[i]);
    }
    reply_bulk_text(x->reply, "redirect");
    reply_int(x->reply, tracking_redirect(x->client));
    reply_bulk_text(x->reply, "prefixes");
    reply_array(x->reply, prefixes_count);
    for (uint32_t i = 0; i < prefixes_count; i++) {
        reply_bulk(x->reply, prefixes[i]);
    }
    free(prefixes);
}

void command_client_getredir(struct exec *x) {
    reply_int(x->reply, tracking_redirect(x->client));
}
