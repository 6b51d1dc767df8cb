/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_user: the life of a user, its passwords, and how it is told. Why so:
 *
 * Users are read by all threads and belong to none, so they are counted, and the count is the only
 * thing about them that changes. A draft is the same struct before anybody else has seen it.
 *
 * Invariants
 *  1. A user has at least one selector: the root, which rules outside of parentheses are about.
 *  2. Of a password nothing is kept but its digest, and who compares one looks at all of them.
 */
#include "server/acl/acl_private.h"

#include "base/check.h"
#include "base/must.h"

#include <stdatomic.h>
#include <stdlib.h>

/* What acl.h calls a user, with its count. */
struct counted_user {
    struct acl_user user; /* first */
    _Atomic unsigned refs;
};

/* ---- Small things ---- */

struct bytes acl_keep(struct bytes bytes) {
    char *copy = must_malloc(bytes.len + 1);
    if (bytes.len > 0) {
        memcpy(copy, bytes.ptr, bytes.len);
    }
    copy[bytes.len] = 0;
    return bytes_make(copy, bytes.len);
}

bool acl_name_fits(struct bytes name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == 0 || c == ' ' || (c >= '\t' && c <= '\r')) {
            return false;
        }
    }
    return true;
}

/* ---- Selectors ---- */

void acl_selector_init(struct acl_selector *selector, const struct acl_making *making) {
    unsigned count = command_table_count(making->commands);
    *selector = (struct acl_selector){
        .commands = must_calloc((count + 63) / 64, sizeof *selector->commands),
        .commands_count = count,
        .channels.all = making->all_channels,
        .all_dbs = true,
    };
    acl_told_init(&selector->rules);
}

void acl_patterns_clear(struct acl_patterns *patterns) {
    for (uint32_t i = 0; i < patterns->count; i++) {
        free((char *)patterns->list[i].text.ptr);
    }
    free(patterns->list);
    acl_index_clear(&patterns->index);
    *patterns = (struct acl_patterns){0};
}

void acl_selector_clear_firsts(struct acl_selector *selector) {
    for (uint32_t i = 0; i < selector->firsts_count; i++) {
        free((char *)selector->firsts[i].word.ptr);
    }
    free(selector->firsts);
    selector->firsts = NULL;
    selector->firsts_count = 0;
    free(selector->firsts_of);
    selector->firsts_of = NULL;
    acl_index_clear(&selector->firsts_index);
}

void acl_selector_fini(struct acl_selector *selector) {
    free(selector->commands);
    acl_selector_clear_firsts(selector);
    acl_told_fini(&selector->rules);
    acl_patterns_clear(&selector->keys);
    acl_patterns_clear(&selector->channels);
    free(selector->dbs);
}

static struct acl_patterns patterns_copy(const struct acl_patterns *patterns) {
    struct acl_patterns copy = {.all = patterns->all};
    for (uint32_t i = 0; i < patterns->count; i++) {
        copy.list = acl_grow(copy.list, copy.count, sizeof *copy.list);
        copy.list[copy.count++] = (struct acl_pattern){
            .text = acl_keep(patterns->list[i].text),
            .access = patterns->list[i].access,
        };
    }
    return copy;
}

static void selector_copy(struct acl_selector *copy, const struct acl_selector *selector) {
    size_t words = (selector->commands_count + 63) / 64;
    *copy = (struct acl_selector){
        .commands = must_malloc(words * sizeof *copy->commands),
        .commands_count = selector->commands_count,
        .keys = patterns_copy(&selector->keys),
        .channels = patterns_copy(&selector->channels),
        .all_dbs = selector->all_dbs,
    };
    memcpy(copy->commands, selector->commands, words * sizeof *copy->commands);
    for (uint32_t i = 0; i < selector->firsts_count; i++) {
        copy->firsts = acl_grow(copy->firsts, i, sizeof *copy->firsts);
        copy->firsts[copy->firsts_count++] = (struct acl_first){
            .id = selector->firsts[i].id,
            .word = acl_keep(selector->firsts[i].word),
        };
    }
    for (uint32_t i = 0; i < selector->dbs_count; i++) {
        copy->dbs = acl_grow(copy->dbs, i, sizeof *copy->dbs);
        copy->dbs[copy->dbs_count++] = selector->dbs[i];
    }
    acl_told_copy(&copy->rules, &selector->rules);
}

bool acl_selector_allows_all(const struct acl_selector *selector) {
    for (unsigned id = 0; id < selector->commands_count; id++) {
        if (!acl_selector_has(selector, id)) {
            return false;
        }
    }
    return selector->keys.all && selector->channels.all && selector->all_dbs;
}

/* ---- Life ---- */

static struct acl_user *user_new(const struct acl_making *making, struct bytes name) {
    struct counted_user *counted = must_calloc(1, sizeof *counted);
    counted->user.name = acl_keep(name);
    counted->user.restricted = true;
    counted->user.databases = making->databases;
    atomic_store(&counted->refs, 1);
    return &counted->user;
}

struct acl_selector *acl_user_add_selector(struct acl_user *user, const struct acl_making *making) {
    user->selectors = acl_grow(user->selectors, user->selectors_count, sizeof *user->selectors);
    struct acl_selector *selector = &user->selectors[user->selectors_count++];
    acl_selector_init(selector, making);
    return selector;
}

struct acl_user *acl_user_new(const struct acl_making *making, struct bytes name) {
    struct acl_user *user = user_new(making, name);
    acl_user_add_selector(user, making);
    return user;
}

struct acl_user *acl_user_copy(const struct acl_making *making, const struct acl_user *user) {
    struct acl_user *copy = user_new(making, user->name);
    copy->on = user->on;
    copy->nopass = user->nopass;
    for (uint32_t i = 0; i < user->digests_count; i++) {
        copy->digests = acl_grow(copy->digests, i, sizeof *copy->digests);
        copy->digests[copy->digests_count++] = user->digests[i];
    }
    for (uint32_t i = 0; i < user->selectors_count; i++) {
        copy->selectors = acl_grow(copy->selectors, i, sizeof *copy->selectors);
        selector_copy(&copy->selectors[copy->selectors_count++], &user->selectors[i]);
    }
    acl_user_settle(copy);
    return copy;
}

struct acl_user *acl_user_default(const struct acl_making *making) {
    static const char *const rules[] = {"on", "nopass", "~*", "&*", "+@all"};
    struct acl_user *user = acl_user_new(making, BYTES("default"));
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++) {
        enum acl_wrong wrong = acl_user_rule(making, user, bytes_of_text(rules[i]));
        check(wrong == ACL_RIGHT);
    }
    return user;
}

void acl_user_clear_passwords(struct acl_user *user) {
    free(user->digests);
    user->digests = NULL;
    user->digests_count = 0;
    if (user->passwords != NULL) {
        acl_index_clear(user->passwords);
        free(user->passwords);
        user->passwords = NULL;
    }
}

void acl_user_clear_selectors(struct acl_user *user, uint32_t from) {
    while (user->selectors_count > from) {
        acl_selector_fini(&user->selectors[--user->selectors_count]);
    }
    if (from == 0) {
        free(user->selectors);
        user->selectors = NULL;
        return;
    }
    /* Of the size that acl_grow takes it for. */
    user->selectors = must_realloc(user->selectors, from * sizeof *user->selectors);
    check(from == 1);
}

static void settle_passwords(struct acl_user *user) {
    uint32_t kept = 0;
    if (user->passwords == NULL) {
        return;
    }
    for (uint32_t i = 0; i < user->digests_count; i++) {
        if (!user->digests[i].gone) {
            user->digests[kept++] = user->digests[i];
        }
    }
    user->digests_count = kept;
    acl_index_clear(user->passwords);
    free(user->passwords);
    user->passwords = NULL;
}

static void settle_selector(struct acl_selector *selector) {
    uint32_t kept = 0;
    acl_told_settle(&selector->rules);
    acl_index_clear(&selector->keys.index);
    acl_index_clear(&selector->channels.index);
    for (uint32_t i = 0; i < selector->firsts_count; i++) {
        if (selector->firsts[i].word.ptr != NULL) {
            selector->firsts[kept++] = selector->firsts[i];
        }
    }
    selector->firsts_count = kept;
    acl_index_clear(&selector->firsts_index);
    free(selector->firsts_of);
    selector->firsts_of = NULL;
}

void acl_user_settle(struct acl_user *user) {
    settle_passwords(user);
    for (uint32_t i = 0; i < user->selectors_count; i++) {
        settle_selector(&user->selectors[i]);
    }
    user->restricted = true;
    for (uint32_t i = 0; i < user->selectors_count && user->restricted; i++) {
        user->restricted = !acl_selector_allows_all(&user->selectors[i]);
    }
}

struct acl_user *acl_user_ref(const struct acl_user *user) {
    struct counted_user *counted = (struct counted_user *)user;
    atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return &counted->user;
}

void acl_user_unref(const struct acl_user *user) {
    struct counted_user *counted = (struct counted_user *)user;
    if (counted == NULL || atomic_fetch_sub_explicit(&counted->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    acl_user_clear_passwords(&counted->user);
    acl_user_clear_selectors(&counted->user, 0);
    free((char *)counted->user.name.ptr);
    free(counted);
}

/* ---- Passwords ---- */

void acl_user_require(struct acl_user *user, struct bytes password) {
    acl_user_clear_passwords(user);
    user->nopass = password.len == 0;
    if (password.len > 0) {
        user->digests = acl_grow(user->digests, 0, sizeof *user->digests);
        sha256(password, user->digests[user->digests_count++].bytes);
    }
}

/* Looks at every byte, whatever it has found. */
static bool digest_equal(const struct acl_digest *a, const struct acl_digest *b) {
    unsigned char differ = 0;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        differ |= a->bytes[i] ^ b->bytes[i];
    }
    return differ == 0;
}

bool acl_user_admits(const struct acl_user *user, struct bytes password) {
    struct acl_digest given;
    bool found = false;
    sha256(password, given.bytes);
    for (uint32_t i = 0; i < user->digests_count; i++) {
        found |= digest_equal(&user->digests[i], &given);
    }
    return user->on && (user->nopass || found);
}

/* ---- How it is told ---- */

static void append_word(struct text *text, size_t start, const char *word) {
    if (text->len > start) {
        text_append_char(text, ' ');
    }
    text_append_text(text, word);
}

void acl_user_describe_digest(const struct acl_user *user, uint32_t index, struct text *text) {
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        text_appendf(text, "%02x", user->digests[index].bytes[i]);
    }
}

void acl_selector_describe_commands(const struct acl_user *user, uint32_t selector,
                                    struct text *text) {
    text_append_bytes(text, text_bytes(&user->selectors[selector].rules.text));
}

void acl_selector_describe_keys(const struct acl_user *user, uint32_t selector, struct text *text) {
    const struct acl_patterns *keys = &user->selectors[selector].keys;
    size_t start = text->len;
    if (keys->all) {
        text_append_text(text, "~*");
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        unsigned access = keys->list[i].access;
        append_word(text, start, access == ACL_READS ? "%R~" : access == ACL_WRITES ? "%W~" : "~");
        text_append_bytes(text, keys->list[i].text);
    }
}

void acl_selector_describe_channels(const struct acl_user *user, uint32_t selector,
                                    struct text *text) {
    const struct acl_patterns *channels = &user->selectors[selector].channels;
    size_t start = text->len;
    if (channels->all) {
        text_append_text(text, "&*");
    }
    for (uint32_t i = 0; i < channels->count; i++) {
        append_word(text, start, "&");
        text_append_bytes(text, channels->list[i].text);
    }
}

void acl_selector_describe_dbs(const struct acl_user *user, uint32_t selector, struct text *text) {
    const struct acl_selector *from = &user->selectors[selector];
    if (from->all_dbs) {
        text_append_text(text, "alldbs");
    }
    for (uint32_t i = 0; i < from->dbs_count; i++) {
        text_appendf(text, "%s%d", i == 0 ? "db=" : ",", from->dbs[i]);
    }
}

/* What it lacks is said too, as a file may be read where defaults are others. */
static void describe_selector(const struct acl_user *user, uint32_t index, struct text *text) {
    const struct acl_selector *selector = &user->selectors[index];
    acl_selector_describe_keys(user, index, text);
    if (selector->keys.all || selector->keys.count > 0) {
        text_append_char(text, ' ');
    }
    if (!selector->channels.all) {
        text_append_text(text, "resetchannels ");
    }
    acl_selector_describe_channels(user, index, text);
    if (selector->channels.all || selector->channels.count > 0) {
        text_append_char(text, ' ');
    }
    if (selector->dbs_count > 0) {
        acl_selector_describe_dbs(user, index, text);
        text_append_char(text, ' ');
    } else if (!selector->all_dbs) {
        text_append_text(text, "resetdbs ");
    }
    acl_selector_describe_commands(user, index, text);
}

void acl_user_describe(const struct acl_user *user, struct text *text) {
    text_append_text(text, user->on ? "on " : "off ");
    if (user->nopass) {
        text_append_text(text, "nopass ");
    }
    for (uint32_t i = 0; i < user->digests_count; i++) {
        text_append_char(text, '#');
        acl_user_describe_digest(user, i, text);
        text_append_char(text, ' ');
    }
    for (uint32_t i = 0; i < user->selectors_count; i++) {
        text_append_text(text, i == 0 ? "" : " (");
        describe_selector(user, i, text);
        text_append_text(text, i == 0 ? "" : ")");
    }
}
