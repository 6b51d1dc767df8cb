/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_check: whether a user may make a call. Why so:
 *
 * Each selector is asked for all of it: what two of them allow in parts nobody allows. Where a
 * command's keys are, and what it does to them, its row says; they are looked for at most once,
 * however many selectors there are. When all say no, the one is told that came furthest: who may
 * not touch a key hears of the key, though another selector does not know the command at all.
 *
 * A pattern is for what a key's flags say is done to its value; of a key whose value is neither
 * read nor written (EXISTS, TYPE) it is enough that some pattern matches.
 */
#include "server/acl/acl_private.h"

#include "base/check.h"
#include "base/glob.h"
#include "base/must.h"
#include "base/num.h"

#include <stdlib.h>

#define REFS_ON_STACK 32

/* One call, and where its keys are, once that was asked. */
struct asked {
    const struct command_ref *ref;
    const struct bytes *argv;
    uint32_t argc;
    uint32_t db;
    int64_t databases;
    bool keys_found;
    struct key_ref *keys; /* on_stack, or malloc */
    int keys_count;
    struct key_ref on_stack[REFS_ON_STACK];
};

static void asked_init(struct asked *asked, const struct command_ref *ref, const struct bytes *argv,
                       uint32_t argc, uint32_t db, int64_t databases) {
    asked->ref = ref;
    asked->argv = argv;
    asked->argc = argc;
    asked->db = db;
    asked->databases = databases > 0 ? databases : INT64_MAX;
    asked->keys_found = false;
    asked->keys = asked->on_stack;
    asked->keys_count = 0;
}

static void asked_fini(struct asked *asked) {
    if (asked->keys != asked->on_stack) {
        free(asked->keys);
    }
}

/* When its arguments make no sense there are none: the command says so itself. */
static void find_keys(struct asked *asked) {
    const struct command_ref *ref = asked->ref;
    if (asked->keys_found) {
        return;
    }
    asked->keys_found = true;
    if (ref->simple) {
        uint32_t at = (uint32_t)ref->first_key;
        if (!(ref->row->keys[0].flags & KEY_VARIABLE_FLAGS)) {
            asked->keys[0] = (struct key_ref){at, ref->row->keys[0].flags, KEY_DB_SELECTED};
            asked->keys_count = 1;
            return;
        }
    }
    int max = REFS_ON_STACK;
    int n = command_keys(ref->row, asked->argv, asked->argc, asked->keys, max);
    if (n > max) {
        asked->keys = must_malloc((size_t)n * sizeof *asked->keys);
        n = command_keys(ref->row, asked->argv, asked->argc, asked->keys, n);
    }
    asked->keys_count = n > 0 ? n : 0;
}

/* ---- Commands ---- */

static bool selector_allows_command(const struct acl_selector *selector,
                                    const struct asked *asked) {
    const struct command_ref *ref = asked->ref;
    if (acl_selector_has(selector, ref->id) || ref->row->flags & CMD_NO_AUTH) {
        return true;
    }
    for (uint32_t i = 0; i < selector->firsts_count && asked->argc > 1; i++) {
        if (selector->firsts[i].id == ref->id &&
            bytes_equal_nocase(selector->firsts[i].word, asked->argv[1])) {
            return true;
        }
    }
    return false;
}

/* ---- Databases ---- */

static bool has_keys(const struct command *row) {
    bool any = row->find_keys != NULL;
    for (int i = 0; i < KEY_SPECS_MAX && row->keys[i].begin != BEGIN_NONE; i++) {
        any |= !(row->keys[i].flags & KEY_NOT_KEY);
    }
    return any;
}

static bool names_db(const struct acl_selector *selector, int64_t db) {
    bool found = false;
    for (uint32_t i = 0; i < selector->dbs_count; i++) {
        found |= selector->dbs[i] == db;
    }
    return found;
}

/* What it names, and then the selected one, if the command is about keys. */
static bool selector_allows_dbs(const struct acl_selector *selector, const struct asked *asked,
                                uint32_t *ret_at) {
    const struct command_ref *ref = asked->ref;
    *ret_at = 0;
    if (selector->all_dbs) {
        return true;
    }
    if (ref->row->flags & CMD_ALL_DBS) {
        return false;
    }
    uint32_t places[COMMAND_DB_ARGS_MAX];
    unsigned count =
        ref->row->db_args != NULL ? ref->row->db_args(asked->argv, asked->argc, places) : 0;
    /* If one of them is none the command says so. */
    int64_t dbs[COMMAND_DB_ARGS_MAX];
    bool valid = true;
    for (unsigned i = 0; i < count; i++) {
        valid = valid && num_parse_i64(asked->argv[places[i]], &dbs[i]) && dbs[i] >= 0 &&
                dbs[i] < asked->databases;
    }
    for (unsigned i = 0; valid && i < count; i++) {
        if (!names_db(selector, dbs[i])) {
            *ret_at = places[i];
            return false;
        }
    }
    bool concerns =
        ref->row->db_args != NULL
            ? has_keys(ref->row)
            : has_keys(ref->row) || ref->categories & (ACL_KEYSPACE | ACL_READ | ACL_WRITE);
    return !concerns || names_db(selector, asked->db);
}

/* ---- Keys ---- */

static unsigned access_of(unsigned key_flags) {
    return (key_flags & KEY_ACCESS ? ACL_READS : 0u) |
           (key_flags & (KEY_INSERT | KEY_DELETE | KEY_UPDATE) ? ACL_WRITES : 0u);
}

static bool allows_key(const struct acl_patterns *patterns, struct bytes name, unsigned access) {
    for (uint32_t i = 0; i < patterns->count; i++) {
        const struct acl_pattern *pattern = &patterns->list[i];
        if ((pattern->access & access) == access && glob_match(pattern->text, name, false)) {
            return true;
        }
    }
    return false;
}

static bool selector_allows_keys(const struct acl_selector *selector, struct asked *asked,
                                 uint32_t *ret_at) {
    if (selector->keys.all) {
        return true;
    }
    find_keys(asked);
    for (int i = 0; i < asked->keys_count; i++) {
        const struct key_ref *key = &asked->keys[i];
        if (!allows_key(&selector->keys, asked->argv[key->index], access_of(key->flags))) {
            *ret_at = key->index;
            return false;
        }
    }
    return true;
}

/* ---- Channels ---- */

/* A pattern to subscribe to must be one of those of the user, to the letter: what another one
 * matches cannot be compared. */
static bool allows_channel(const struct acl_patterns *patterns, struct bytes name,
                           bool is_pattern) {
    for (uint32_t i = 0; i < patterns->count; i++) {
        struct bytes text = patterns->list[i].text;
        if (is_pattern ? bytes_equal(text, name) : glob_match(text, name, false)) {
            return true;
        }
    }
    return patterns->all;
}

static bool selector_allows_channels(const struct acl_selector *selector, const struct asked *asked,
                                     uint32_t *ret_at) {
    enum command_channels which = asked->ref->row->channels;
    if (which == CHANNELS_NONE || selector->channels.all) {
        return true;
    }
    uint32_t end = which == CHANNELS_FIRST && asked->argc > 2 ? 2 : asked->argc;
    for (uint32_t i = 1; i < end; i++) {
        if (!allows_channel(&selector->channels, asked->argv[i], which == CHANNELS_PATTERNS)) {
            *ret_at = i;
            return false;
        }
    }
    return true;
}

bool acl_user_may_hear(const struct acl_user *user, struct bytes channel, bool is_pattern) {
    bool may = user == NULL || !user->restricted;
    for (uint32_t i = 0; !may && i < user->selectors_count; i++) {
        may = allows_channel(&user->selectors[i].channels, channel, is_pattern);
    }
    return may;
}

/* ---- All of it ---- */

static enum acl_verdict selector_check(const struct acl_selector *selector, struct asked *asked,
                                       uint32_t *ret_at) {
    if (!selector_allows_dbs(selector, asked, ret_at)) {
        return ACL_NOT_DB;
    }
    if (!selector_allows_command(selector, asked)) {
        *ret_at = 0;
        return ACL_NOT_COMMAND;
    }
    if (!selector_allows_keys(selector, asked, ret_at)) {
        return ACL_NOT_KEY;
    }
    return selector_allows_channels(selector, asked, ret_at) ? ACL_MAY : ACL_NOT_CHANNEL;
}

enum acl_verdict acl_check(const struct acl_user *user, const struct command_ref *ref,
                           const struct bytes *argv, uint32_t argc, uint32_t db, uint32_t *ret_at) {
    enum acl_verdict verdict = ACL_MAY;
    uint32_t furthest = 0;
    if (user == NULL || !user->restricted) {
        return ACL_MAY;
    }
    struct asked asked;
    asked_init(&asked, ref, argv, argc, db, user->databases);
    for (uint32_t i = 0; i < user->selectors_count; i++) {
        uint32_t at = 0;
        enum acl_verdict said = selector_check(&user->selectors[i], &asked, &at);
        if (said == ACL_MAY) {
            verdict = ACL_MAY;
            break;
        }
        if (said > verdict || (said == verdict && at > furthest)) {
            verdict = said;
            furthest = at;
        }
    }
    asked_fini(&asked);
    if (ret_at != NULL) {
        *ret_at = furthest;
    }
    return verdict;
}

/* Only "*" says so; what else may match anything ("**") counts for some. */
static bool reads_all(const struct acl_patterns *keys) {
    bool all = keys->all;
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct acl_pattern *pattern = &keys->list[i];
        all |= bytes_equal(pattern->text, BYTES("*")) && pattern->access & ACL_READS;
    }
    return all;
}

bool acl_may_read_all(const struct acl_user *user, const struct command_ref *ref,
                      const struct bytes *argv, uint32_t argc) {
    bool may = user == NULL || !user->restricted;
    struct asked asked;
    asked_init(&asked, ref, argv, argc, 0, 0);
    for (uint32_t i = 0; !may && i < user->selectors_count; i++) {
        const struct acl_selector *selector = &user->selectors[i];
        may = selector_allows_command(selector, &asked) && reads_all(&selector->keys);
    }
    asked_fini(&asked);
    return may;
}

/* ---- What is said ---- */

static void tell_command(const struct acl_user *user, const struct command_ref *ref,
                         struct text *text) {
    text_append_text(text, "User ");
    text_append_bytes(text, user->name);
    text_appendf(text, " has no permissions to run the '%s' command", ref->full_name);
}

void acl_verdict_tell(enum acl_verdict verdict, const struct acl_user *user,
                      const struct command_ref *ref, struct text *text) {
    switch (verdict) {
    case ACL_MAY:
        check(false);
        break;
    case ACL_NOT_COMMAND:
        tell_command(user, ref, text);
        break;
    case ACL_NOT_KEY:
        text_append_text(text, "No permissions to access a key");
        break;
    case ACL_NOT_CHANNEL:
        text_append_text(text, "No permissions to access a channel");
        break;
    case ACL_NOT_DB:
        text_append_text(text, "No permissions to access database");
        break;
    }
}

void acl_verdict_explain(enum acl_verdict verdict, const struct acl_user *user,
                         const struct command_ref *ref, struct bytes at, struct text *text) {
    if (verdict == ACL_NOT_COMMAND) {
        tell_command(user, ref, text);
        return;
    }
    bool is_db = verdict == ACL_NOT_DB;
    text_append_text(text, "User ");
    text_append_bytes(text, user->name);
    text_append_text(text, " has no permissions to access ");
    text_append_text(text, is_db ? "database " : "the '");
    text_append_bytes(text, at);
    text_append_text(text, is_db ? "" : verdict == ACL_NOT_KEY ? "' key" : "' channel");
}
