/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_rule: what a rule does to a draft. Why so:
 *
 * A rule either acts whole or is wrong and does nothing, so that a list of rules may be tried on a
 * copy. What commands a selector allows is kept twice: as a bit for each row, which the check
 * reads, and as the rules that made it so, which are told. A rule about a command takes back what
 * was said of the same one before, and of its subcommands, so the text stays as short as what it
 * means; categories are never folded into each other, as commands may join them later.
 *
 * Commands go by their own names, whatever rename-command calls them.
 */
#include "server/acl/acl_private.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <limits.h>
#include <stdlib.h>

const char *acl_wrong_text(enum acl_wrong wrong) {
    switch (wrong) {
    case ACL_RIGHT:
        break;
    case ACL_WRONG_UNKNOWN:
        return "Unknown command or category name in ACL";
    case ACL_WRONG_SYNTAX:
        return "Syntax error";
    case ACL_WRONG_KEY_AFTER_ALL:
        return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
               "not have any effect. Try 'resetkeys' to start with an empty list of patterns";
    case ACL_WRONG_CHANNEL_AFTER_ALL:
        return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
               "does not have any effect. Try 'resetchannels' to start with an empty list of "
               "channels";
    case ACL_WRONG_NO_PASSWORD:
        return "The password you are trying to remove from the user does not exist";
    case ACL_WRONG_DIGEST:
        return "The password hash must be exactly 64 characters and contain only lowercase "
               "hexadecimal characters";
    case ACL_WRONG_DUPLICATE:
        return "Duplicate user found. A user can only be defined once in config files";
    case ACL_WRONG_SUBCOMMAND_FIRST:
        return "Allowing first-arg of a subcommand is not supported";
    case ACL_WRONG_DB:
        return "The provided database ID is out of range";
    }
    check(false);
    return NULL;
}

static struct bytes after(struct bytes rule, size_t n) {
    return bytes_make(rule.ptr + n, rule.len - n);
}

static bool begins(struct bytes text, const char *start) {
    size_t n = strlen(start);
    return text.len >= n && bytes_equal_nocase(bytes_make(text.ptr, n), bytes_make(start, n));
}

/* ---- Commands ---- */

static const struct command_ref *find_top(const struct command_table *table, struct bytes name) {
    for (unsigned i = 0; i < command_table_top_count(table); i++) {
        const struct command_ref *ref = command_table_top(table, i);
        if (bytes_equal_nocase(name, bytes_of_text(ref->row->name))) {
            return ref;
        }
    }
    return NULL;
}

/* "get" or "config|get". */
static const struct command_ref *find_command(const struct command_table *table,
                                              struct bytes name) {
    const char *bar = name.len > 0 ? memchr(name.ptr, '|', name.len) : NULL;
    if (bar == NULL) {
        return find_top(table, name);
    }
    size_t n = (size_t)(bar - name.ptr);
    const struct command_ref *top = find_top(table, bytes_make(name.ptr, n));
    return top != NULL ? command_ref_find_sub(top, after(name, n + 1)) : NULL;
}

static struct acl_key first_key(const struct acl_first *first) {
    return (struct acl_key){first->word, first->id};
}

static bool has_first(const void *list, uint32_t item, struct acl_key key) {
    const struct acl_first *first = (const struct acl_first *)list + item;
    return first->word.ptr != NULL && first->id == key.kind && bytes_equal(first->word, key.text);
}

static void link_first(const struct acl_making *making, struct acl_selector *selector, uint32_t i) {
    struct acl_first *first = &selector->firsts[i];
    first->before = selector->firsts_of[first->id];
    selector->firsts_of[first->id] = i + 1;
    acl_index_put(&selector->firsts_index, acl_key_hash(making->secret, first_key(first)), i);
}

/* What a draft needs to change them. */
static void link_firsts(const struct acl_making *making, struct acl_selector *selector) {
    if (selector->firsts_of != NULL) {
        return;
    }
    selector->firsts_of = must_calloc(selector->commands_count, sizeof *selector->firsts_of);
    for (uint32_t i = 0; i < selector->firsts_count; i++) {
        link_first(making, selector, i);
    }
}

static void forget_firsts(const struct acl_making *making, struct acl_selector *selector,
                          unsigned id) {
    if (selector->firsts_count == 0) {
        return;
    }
    link_firsts(making, selector);
    for (uint32_t i = selector->firsts_of[id]; i > 0; i = selector->firsts[i - 1].before) {
        struct acl_first *first = &selector->firsts[i - 1];
        acl_index_remove(&selector->firsts_index, acl_key_hash(making->secret, first_key(first)),
                         i - 1);
        free((char *)first->word.ptr);
        first->word = bytes_make(NULL, 0);
    }
    selector->firsts_of[id] = 0;
}

static void set_bit(const struct acl_making *making, struct acl_selector *selector, unsigned id,
                    bool allow) {
    uint64_t bit = UINT64_C(1) << (id % 64);
    if (allow) {
        selector->commands[id / 64] |= bit;
    } else {
        selector->commands[id / 64] &= ~bit;
    }
    forget_firsts(making, selector, id);
}

/* With its subcommands. */
static void set_command(const struct acl_making *making, struct acl_selector *selector,
                        const struct command_ref *ref, bool allow) {
    set_bit(making, selector, ref->id, allow);
    for (unsigned i = 0; i < ref->subcommands_count; i++) {
        set_bit(making, selector, ref->subcommands[i].id, allow);
    }
}

static void set_all(const struct acl_making *making, struct acl_selector *selector, bool allow) {
    acl_selector_clear_firsts(selector);
    for (unsigned id = 0; id < selector->commands_count; id++) {
        set_bit(making, selector, id, allow);
    }
    acl_told_set_all(&selector->rules, allow);
}

static unsigned find_category(struct bytes name) {
    for (unsigned i = 0; command_category_names[i] != NULL; i++) {
        if (bytes_equal_nocase(name, bytes_of_text(command_category_names[i]))) {
            return 1u << i;
        }
    }
    return 0;
}

static enum acl_wrong change_category(const struct acl_making *making,
                                      struct acl_selector *selector, struct bytes name,
                                      bool allow) {
    unsigned category = find_category(after(name, 1));
    if (category == 0) {
        return ACL_WRONG_UNKNOWN;
    }
    /* A container comes before its subcommands, and takes them with it. */
    for (unsigned id = 0; id < command_table_count(making->commands); id++) {
        const struct command_ref *ref = command_table_at(making->commands, id);
        if (ref->categories & category) {
            set_command(making, selector, ref, allow);
        }
    }
    acl_told_say(&selector->rules, making->secret, name, allow);
    return ACL_RIGHT;
}

static void add_first(const struct acl_making *making, struct acl_selector *selector, unsigned id,
                      struct bytes word) {
    struct bytes copy = acl_keep(word);
    for (size_t i = 0; i < copy.len; i++) {
        ((char *)copy.ptr)[i] = byte_lower(copy.ptr[i]);
    }
    struct acl_key key = {copy, id};
    link_firsts(making, selector);
    if (acl_index_find(&selector->firsts_index, acl_key_hash(making->secret, key), key,
                       selector->firsts, has_first) != ACL_NO_ITEM) {
        free((char *)copy.ptr);
        return;
    }
    selector->firsts = acl_grow(selector->firsts, selector->firsts_count, sizeof *selector->firsts);
    selector->firsts[selector->firsts_count] = (struct acl_first){.id = id, .word = copy};
    link_first(making, selector, selector->firsts_count++);
}

/* A file could not hold it. */
static bool has_blank(struct bytes text) {
    return !acl_name_fits(text);
}

/* "select|0", which is no subcommand. */
static enum acl_wrong allow_first(const struct acl_making *making, struct acl_selector *selector,
                                  struct bytes name) {
    size_t bar = name.len - 1;
    while (name.ptr[bar] != '|') {
        bar--;
    }
    const struct command_ref *ref = find_command(making->commands, bytes_make(name.ptr, bar));
    if (ref == NULL) {
        return ACL_WRONG_UNKNOWN;
    }
    if (ref->container != NULL) {
        return ACL_WRONG_SUBCOMMAND_FIRST;
    }
    if (bar + 1 == name.len || has_blank(name)) {
        return ACL_WRONG_SYNTAX;
    }
    if (ref->subcommands_count > 0) {
        return ACL_WRONG_UNKNOWN;
    }
    add_first(making, selector, ref->id, after(name, bar + 1));
    acl_told_say(&selector->rules, making->secret, name, true);
    return ACL_RIGHT;
}

static enum acl_wrong change_commands(const struct acl_making *making,
                                      struct acl_selector *selector, struct bytes rule) {
    bool allow = rule.ptr[0] == '+';
    struct bytes name = after(rule, 1);
    if (name.len > 0 && name.ptr[0] == '@') {
        return change_category(making, selector, name, allow);
    }
    const struct command_ref *ref = find_command(making->commands, name);
    if (ref != NULL) {
        set_command(making, selector, ref, allow);
        acl_told_say(&selector->rules, making->secret, name, allow);
        return ACL_RIGHT;
    }
    bool has_bar = name.len > 0 && memchr(name.ptr, '|', name.len) != NULL;
    return allow && has_bar ? allow_first(making, selector, name) : ACL_WRONG_UNKNOWN;
}

/* ---- Keys and channels ---- */

static bool has_pattern(const void *list, uint32_t item, struct acl_key key) {
    return bytes_equal(((const struct acl_pattern *)list)[item].text, key.text);
}

static void index_patterns(const struct acl_making *making, struct acl_patterns *patterns) {
    bool is_made = patterns->index.room > 0;
    for (uint32_t i = 0; !is_made && i < patterns->count; i++) {
        struct acl_key key = {patterns->list[i].text, 0};
        acl_index_put(&patterns->index, acl_key_hash(making->secret, key), i);
    }
}

static void add_pattern(const struct acl_making *making, struct acl_patterns *patterns,
                        struct bytes text, unsigned access) {
    struct acl_key key = {text, 0};
    uint64_t hash = acl_key_hash(making->secret, key);
    index_patterns(making, patterns);
    uint32_t at = acl_index_find(&patterns->index, hash, key, patterns->list, has_pattern);
    if (at != ACL_NO_ITEM) {
        patterns->list[at].access |= access;
        return;
    }
    patterns->list = acl_grow(patterns->list, patterns->count, sizeof *patterns->list);
    patterns->list[patterns->count] = (struct acl_pattern){acl_keep(text), access};
    acl_index_put(&patterns->index, hash, patterns->count++);
}

static void set_patterns(struct acl_patterns *patterns, bool all) {
    acl_patterns_clear(patterns);
    patterns->all = all;
}

/* "~x", "%R~x". "%RW~*" is a pattern beside others, and told as "~*": what has others before or
 * behind it in a file was that. */
static enum acl_wrong add_keys(const struct acl_making *making, struct acl_selector *selector,
                               struct bytes rule) {
    bool plain = rule.ptr[0] == '~';
    unsigned access = plain ? ACL_READS | ACL_WRITES : 0;
    size_t n = 1;
    if (selector->keys.all) {
        if (!making->told) {
            return ACL_WRONG_KEY_AFTER_ALL;
        }
        selector->keys.all = false;
        add_pattern(making, &selector->keys, BYTES("*"), ACL_READS | ACL_WRITES);
    }
    for (bool ends = plain; !ends && n < rule.len; n++) {
        char letter = byte_lower(rule.ptr[n]);
        unsigned more = letter == 'r' ? ACL_READS : letter == 'w' ? ACL_WRITES : 0;
        ends = letter == '~' && access != 0;
        if (!ends && (more == 0 || (access & more))) {
            return ACL_WRONG_SYNTAX;
        }
        access |= more;
    }
    if (access == 0) {
        return ACL_WRONG_SYNTAX;
    }
    struct bytes text = after(rule, n);
    if (has_blank(text)) {
        return ACL_WRONG_SYNTAX;
    }
    add_pattern(making, &selector->keys, text, access);
    return ACL_RIGHT;
}

static enum acl_wrong add_channels(const struct acl_making *making, struct acl_selector *selector,
                                   struct bytes rule) {
    if (selector->channels.all) {
        return ACL_WRONG_CHANNEL_AFTER_ALL;
    }
    struct bytes text = after(rule, 1);
    if (has_blank(text)) {
        return ACL_WRONG_SYNTAX;
    }
    add_pattern(making, &selector->channels, text, 0);
    return ACL_RIGHT;
}

/* ---- Databases ---- */

static void set_dbs(struct acl_selector *selector, bool all) {
    free(selector->dbs);
    selector->dbs = NULL;
    selector->dbs_count = 0;
    selector->all_dbs = all;
}

static int compare_dbs(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* In order, each once. */
static void order_dbs(struct acl_selector *selector) {
    uint32_t kept = 0;
    qsort(selector->dbs, selector->dbs_count, sizeof *selector->dbs, compare_dbs);
    for (uint32_t i = 0; i < selector->dbs_count; i++) {
        if (kept == 0 || selector->dbs[kept - 1] != selector->dbs[i]) {
            selector->dbs[kept++] = selector->dbs[i];
        }
    }
    selector->dbs_count = kept;
}

/* The next number of a list of them; what is left of it in *rest, whose ptr is NULL at the end. */
static enum acl_wrong next_db(struct bytes *rest, int *ret_db) {
    const char *comma = rest->len > 0 ? memchr(rest->ptr, ',', rest->len) : NULL;
    size_t n = comma != NULL ? (size_t)(comma - rest->ptr) : rest->len;
    bool is_negative = n > 0 && rest->ptr[0] == '-';
    size_t sign = n > 0 && (is_negative || rest->ptr[0] == '+');
    int64_t db = 0;
    if (n == sign) {
        return ACL_WRONG_SYNTAX;
    }
    for (size_t i = sign; i < n; i++) {
        char c = rest->ptr[i];
        if (c < '0' || c > '9') {
            return ACL_WRONG_SYNTAX;
        }
        db = db <= INT_MAX ? db * 10 + (c - '0') : db;
    }
    *rest = comma != NULL ? after(*rest, n + 1) : bytes_make(NULL, 0);
    *ret_db = (int)db;
    return is_negative || db > INT_MAX ? ACL_WRONG_DB : ACL_RIGHT;
}

/* "db=0,1": these and no others. */
static enum acl_wrong name_dbs(struct acl_selector *selector, struct bytes rule) {
    int db;
    for (struct bytes rest = after(rule, 3); rest.ptr != NULL;) {
        enum acl_wrong wrong = next_db(&rest, &db);
        if (wrong != ACL_RIGHT) {
            return wrong;
        }
    }
    set_dbs(selector, false);
    for (struct bytes rest = after(rule, 3); rest.ptr != NULL;) {
        next_db(&rest, &db);
        selector->dbs = acl_grow(selector->dbs, selector->dbs_count, sizeof *selector->dbs);
        selector->dbs[selector->dbs_count++] = db;
    }
    order_dbs(selector);
    return ACL_RIGHT;
}

/* ---- Rules ---- */

static enum acl_wrong selector_rule(const struct acl_making *making, struct acl_selector *selector,
                                    struct bytes rule) {
    if (rule.len == 0) {
        return ACL_RIGHT;
    }
    bool beside = making->told && selector->keys.count > 0; /* see add_keys */
    if (bytes_is(rule, "allkeys") || (bytes_is(rule, "~*") && !beside)) {
        set_patterns(&selector->keys, true);
    } else if (bytes_is(rule, "resetkeys")) {
        set_patterns(&selector->keys, false);
    } else if (bytes_is(rule, "allchannels") || bytes_is(rule, "&*")) {
        set_patterns(&selector->channels, true);
    } else if (bytes_is(rule, "resetchannels")) {
        set_patterns(&selector->channels, false);
    } else if (bytes_is(rule, "allcommands") || bytes_is(rule, "+@all")) {
        set_all(making, selector, true);
    } else if (bytes_is(rule, "nocommands") || bytes_is(rule, "-@all")) {
        set_all(making, selector, false);
    } else if (bytes_is(rule, "alldbs")) {
        set_dbs(selector, true);
    } else if (bytes_is(rule, "resetdbs")) {
        set_dbs(selector, false);
    } else if (begins(rule, "db=")) {
        return name_dbs(selector, rule);
    } else if (rule.ptr[0] == '~' || rule.ptr[0] == '%') {
        return add_keys(making, selector, rule);
    } else if (rule.ptr[0] == '&') {
        return add_channels(making, selector, rule);
    } else if (rule.ptr[0] == '+' || rule.ptr[0] == '-') {
        return change_commands(making, selector, rule);
    } else {
        return ACL_WRONG_SYNTAX;
    }
    return ACL_RIGHT;
}

/* "(~x +get)": all of its rules are right, or there is no such selector. A word that ends like the
 * last one would be it when a file is read. */
static enum acl_wrong add_selector(const struct acl_making *making, struct acl_user *user,
                                   struct bytes rule) {
    struct acl_selector *selector = acl_user_add_selector(user, making);
    struct bytes rest = bytes_make(rule.ptr + 1, rule.len - 2);
    enum acl_wrong wrong = ACL_RIGHT;
    while (wrong == ACL_RIGHT && rest.len > 0) {
        const char *space = memchr(rest.ptr, ' ', rest.len);
        size_t n = space != NULL ? (size_t)(space - rest.ptr) : rest.len;
        bool ends = n > 0 && rest.ptr[n - 1] == ')';
        wrong = selector_rule(making, selector, bytes_make(rest.ptr, n));
        wrong = wrong == ACL_RIGHT && ends ? ACL_WRONG_SYNTAX : wrong;
        rest = after(rest, n + (space != NULL));
    }
    if (wrong != ACL_RIGHT) {
        acl_selector_fini(&user->selectors[--user->selectors_count]);
    }
    return wrong;
}

static bool read_digest(struct bytes text, struct acl_digest *ret) {
    if (text.len != 2 * SHA256_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && !(c >= 'a' && c <= 'f')) {
            return false;
        }
        unsigned value = (unsigned)(is_digit ? c - '0' : c - 'a' + 10);
        ret->bytes[i / 2] = (unsigned char)(i % 2 == 0 ? value << 4 : ret->bytes[i / 2] | value);
    }
    return true;
}

static struct acl_key digest_key(const struct acl_digest *digest) {
    return (struct acl_key){bytes_make((const char *)digest->bytes, SHA256_BYTES), 0};
}

static bool has_digest(const void *list, uint32_t item, struct acl_key key) {
    return bytes_equal(digest_key((const struct acl_digest *)list + item).text, key.text);
}

static void index_passwords(const struct acl_making *making, struct acl_user *user) {
    if (user->passwords != NULL) {
        return;
    }
    user->passwords = must_calloc(1, sizeof *user->passwords);
    for (uint32_t i = 0; i < user->digests_count; i++) {
        acl_index_put(user->passwords, acl_key_hash(making->secret, digest_key(&user->digests[i])),
                      i);
    }
}

/* '>' and '<' a password, '#' and '!' the digest of one. */
static enum acl_wrong change_password(const struct acl_making *making, struct acl_user *user,
                                      struct bytes rule) {
    struct acl_digest digest = {.gone = false};
    char kind = rule.ptr[0];
    if (kind == '#' || kind == '!') {
        if (!read_digest(after(rule, 1), &digest)) {
            return ACL_WRONG_DIGEST;
        }
    } else {
        sha256(after(rule, 1), digest.bytes);
    }
    struct acl_key key = digest_key(&digest);
    uint64_t hash = acl_key_hash(making->secret, key);
    index_passwords(making, user);
    uint32_t at = acl_index_find(user->passwords, hash, key, user->digests, has_digest);
    if (kind == '<' || kind == '!') {
        if (at == ACL_NO_ITEM) {
            return ACL_WRONG_NO_PASSWORD;
        }
        user->digests[at].gone = true;
        acl_index_remove(user->passwords, hash, at);
        return ACL_RIGHT;
    }
    user->nopass = false;
    if (at == ACL_NO_ITEM) {
        user->digests = acl_grow(user->digests, user->digests_count, sizeof *user->digests);
        user->digests[user->digests_count] = digest;
        acl_index_put(user->passwords, hash, user->digests_count++);
    }
    return ACL_RIGHT;
}

static void reset(const struct acl_making *making, struct acl_user *user) {
    acl_user_clear_passwords(user);
    acl_user_clear_selectors(user, 1);
    acl_selector_fini(&user->selectors[0]);
    acl_selector_init(&user->selectors[0], making);
    user->nopass = false;
    user->on = false;
}

static enum acl_wrong user_rule(const struct acl_making *making, struct acl_user *user,
                                struct bytes rule) {
    if (rule.len == 0) {
        return ACL_RIGHT;
    }
    if (bytes_is(rule, "on") || bytes_is(rule, "off")) {
        user->on = bytes_is(rule, "on");
    } else if (bytes_is(rule, "nopass") || bytes_is(rule, "resetpass")) {
        acl_user_clear_passwords(user);
        user->nopass = bytes_is(rule, "nopass");
    } else if (bytes_is(rule, "sanitize-payload") || bytes_is(rule, "skip-sanitize-payload")) {
        return ACL_RIGHT; /* every payload is looked at */
    } else if (bytes_is(rule, "reset")) {
        reset(making, user);
    } else if (bytes_is(rule, "clearselectors")) {
        acl_user_clear_selectors(user, 1);
    } else if (strchr("><#!", rule.ptr[0]) != NULL && rule.ptr[0] != 0) {
        return change_password(making, user, rule);
    } else if (rule.len > 1 && rule.ptr[0] == '(' && rule.ptr[rule.len - 1] == ')') {
        return add_selector(making, user, rule);
    } else {
        return selector_rule(making, &user->selectors[0], rule);
    }
    return ACL_RIGHT;
}

enum acl_wrong acl_user_rule(const struct acl_making *making, struct acl_user *user,
                             struct bytes rule) {
    enum acl_wrong wrong = user_rule(making, user, rule);
    acl_user_settle(user);
    return wrong;
}

enum acl_wrong acl_user_rules(const struct acl_making *making, struct acl_user *user,
                              const struct bytes *rules, uint32_t count, struct bytes *ret_bad) {
    enum acl_wrong wrong = ACL_RIGHT;
    for (uint32_t i = 0; i < count && wrong == ACL_RIGHT; i++) {
        wrong = user_rule(making, user, rules[i]);
        *ret_bad = rules[i];
    }
    acl_user_settle(user);
    return wrong;
}

int acl_merge_rules(const struct bytes *words, uint32_t count, struct bytes **ret_rules,
                    struct bytes *ret_bad) {
    size_t bytes = count * sizeof **ret_rules;
    for (uint32_t i = 0; i < count; i++) {
        bytes += words[i].len + 1;
    }
    struct bytes *rules = must_malloc(bytes + 1);
    char *at = (char *)(rules + count);
    int merged = 0;
    bool open = false;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes word = words[i];
        if (open) {
            rules[merged].len++;
            *at++ = ' ';
        } else {
            rules[merged] = bytes_make(at, 0);
            *ret_bad = word;
        }
        memcpy(at, word.ptr, word.len);
        at += word.len;
        rules[merged].len += word.len;
        bool opens = !open && word.len > 0 && word.ptr[0] == '(';
        bool closes = word.len > 0 && word.ptr[word.len - 1] == ')';
        open = (open || opens) && !closes;
        merged += !open;
    }
    if (open) {
        free(rules);
        return -1;
    }
    *ret_rules = rules;
    return merged;
}
