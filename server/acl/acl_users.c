/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_users: the table of users: made whole, never changed. Tables that follow each other share
 * their users; so a change costs a pointer for each, and nothing that was handed out moves.
 */
#include "server/acl/acl_private.h"

#include "base/check.h"
#include "base/must.h"

#include <stdatomic.h>
#include <stdlib.h>

/* What acl.h calls a table, with its count. */
struct counted_users {
    struct acl_users users; /* first */
    _Atomic unsigned refs;
};

static struct acl_users *users_new(uint32_t room) {
    struct counted_users *counted = must_calloc(1, sizeof *counted);
    counted->users.list = must_calloc(room, sizeof *counted->users.list);
    atomic_store(&counted->refs, 1);
    return &counted->users;
}

/* The user is taken over; in order. */
static void put(struct acl_users *users, const struct acl_user *user) {
    users->list[users->count++] = user;
    if (bytes_equal(user->name, BYTES("default"))) {
        users->user_default = user;
    }
}

struct acl_users *acl_users_new(struct acl_user *user_default) {
    struct acl_users *users = users_new(1);
    put(users, user_default);
    check(users->user_default != NULL);
    return users;
}

struct acl_users *acl_users_ref(const struct acl_users *users) {
    struct counted_users *counted = (struct counted_users *)users;
    atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return &counted->users;
}

void acl_users_unref(const struct acl_users *users) {
    struct counted_users *counted = (struct counted_users *)users;
    if (counted == NULL || atomic_fetch_sub_explicit(&counted->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (uint32_t i = 0; i < users->count; i++) {
        acl_user_unref(users->list[i]);
    }
    free(counted->users.list);
    free(counted);
}

/* Where a name is, or would be. */
static uint32_t place_of(const struct acl_users *users, struct bytes name) {
    uint32_t low = 0, high = users->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(users->list[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct acl_user *acl_users_find(const struct acl_users *users, struct bytes name) {
    uint32_t at = place_of(users, name);
    return at < users->count && bytes_equal(users->list[at]->name, name) ? users->list[at] : NULL;
}

struct acl_users *acl_users_with(const struct acl_users *users, struct acl_user *user) {
    struct acl_users *next = users_new(users->count + 1);
    uint32_t at = place_of(users, user->name);
    bool replaces = acl_users_find(users, user->name) != NULL;
    for (uint32_t i = 0; i < at; i++) {
        put(next, acl_user_ref(users->list[i]));
    }
    put(next, user);
    for (uint32_t i = at + replaces; i < users->count; i++) {
        put(next, acl_user_ref(users->list[i]));
    }
    return next;
}

struct acl_users *acl_users_without(const struct acl_users *users, const struct bytes *names,
                                    uint32_t count, uint32_t *ret_removed) {
    bool *go = must_calloc(users->count, sizeof *go);
    uint32_t removed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct acl_user *user = acl_users_find(users, names[i]);
        check(user != users->user_default);
        if (user != NULL) {
            uint32_t at = place_of(users, names[i]);
            removed += !go[at];
            go[at] = true;
        }
    }
    struct acl_users *next = removed > 0 ? users_new(users->count) : NULL;
    for (uint32_t i = 0; next != NULL && i < users->count; i++) {
        if (!go[i]) {
            put(next, acl_user_ref(users->list[i]));
        }
    }
    free(go);
    *ret_removed = removed;
    return next;
}

/* ---- As a file has it ---- */

void acl_users_describe(const struct acl_users *users, struct text *text) {
    for (uint32_t i = 0; i < users->count; i++) {
        text_append_text(text, "user ");
        text_append_bytes(text, users->list[i]->name);
        text_append_char(text, ' ');
        acl_user_describe(users->list[i], text);
        text_append_char(text, '\n');
    }
}

struct reading {
    const struct acl_making *making;
    struct acl_users *users;
    const char *path;
    unsigned line;
    struct text *err;
};

/* Where it belongs; false: there is one of that name. */
static bool insert(struct acl_users *users, struct acl_user *user) {
    uint32_t at = place_of(users, user->name);
    if (acl_users_find(users, user->name) != NULL) {
        return false;
    }
    users->list = acl_grow(users->list, users->count, sizeof *users->list);
    memmove(&users->list[at + 1], &users->list[at], (users->count - at) * sizeof *users->list);
    users->list[at] = user;
    users->count++;
    if (bytes_equal(user->name, BYTES("default"))) {
        users->user_default = user;
    }
    return true;
}

static struct bytes next_word(struct bytes *rest) {
    const char *space = rest->len > 0 ? memchr(rest->ptr, ' ', rest->len) : NULL;
    struct bytes word =
        bytes_make(rest->ptr, space != NULL ? (size_t)(space - rest->ptr) : rest->len);
    size_t taken = word.len + (space != NULL);
    *rest = bytes_make(rest->ptr + taken, rest->len - taken);
    return word;
}

/* The rules of a line, as acl_merge_rules has them. */
static int split_rules(struct bytes rest, struct bytes **ret_rules) {
    struct bytes *words = must_malloc((rest.len + 1) * sizeof *words), bad;
    uint32_t count = 0;
    while (rest.len > 0) {
        words[count++] = next_word(&rest);
    }
    int merged = acl_merge_rules(words, count, ret_rules, &bad);
    free(words);
    return merged;
}

/* The first rule that is wrong is told; the others are not tried. */
static void read_rules(struct reading *reading, struct acl_user *user, struct bytes rest) {
    struct bytes *rules, bad = {0};
    int merged = split_rules(rest, &rules);
    if (merged < 0) {
        text_appendf(reading->err, "%s:%u: Unmatched parenthesis in selector definition. ",
                     reading->path, reading->line);
        return;
    }
    enum acl_wrong wrong = acl_user_rules(reading->making, user, rules, (uint32_t)merged, &bad);
    if (wrong != ACL_RIGHT) {
        text_appendf(reading->err, "%s:%u: ", reading->path, reading->line);
        if (wrong == ACL_WRONG_UNKNOWN) {
            text_append_text(reading->err, "Error in applying operation '");
            text_append_bytes(reading->err, bad);
            text_append_text(reading->err, "': ");
        }
        text_appendf(reading->err, "%s. ", acl_wrong_text(wrong));
    }
    free(rules);
}

static void read_line(struct reading *reading, struct bytes line) {
    struct bytes rest = line;
    struct bytes keyword = next_word(&rest), name = next_word(&rest);
    if (!bytes_equal(keyword, BYTES("user")) || keyword.len == line.len) {
        text_appendf(reading->err,
                     "%s:%u should start with user keyword followed by the username. ",
                     reading->path, reading->line);
        return;
    }
    if (!acl_name_fits(name)) {
        text_appendf(reading->err, "'%s:%u: username '", reading->path, reading->line);
        text_append_bytes(reading->err, name);
        text_append_text(reading->err, "' contains invalid characters. ");
        return;
    }
    struct acl_user *user = acl_user_new(reading->making, name);
    if (!insert(reading->users, user)) {
        acl_user_unref(user);
        text_append_text(reading->err, "WARNING: Duplicate user '");
        text_append_bytes(reading->err, name);
        text_appendf(reading->err, "' found on line %u. ", reading->line);
        return;
    }
    read_rules(reading, user, rest);
}

struct acl_users *acl_users_read(const struct acl_making *making, struct bytes content,
                                 const char *path, struct text *err) {
    struct acl_making told = *making;
    told.told = true;
    struct reading reading = {&told, users_new(1), path, 0, err};
    const char *at = content.ptr, *end = content.ptr + content.len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        struct bytes line = bytes_trim(bytes_make(at, (size_t)(stop - at)));
        reading.line++;
        if (line.len > 0) {
            read_line(&reading, line);
        }
        at = stop + 1;
    }
    if (err->len > 0) {
        text_append_text(err, "WARNING: ACL errors detected, no change to the previously active "
                              "ACL rules was performed");
        acl_users_unref(reading.users);
        return NULL;
    }
    if (reading.users->user_default == NULL) {
        insert(reading.users, acl_user_default(making));
    }
    return reading.users;
}

/* ---- At the start ---- */

/* Where the one of its name was, of a table that nobody else has seen. */
static void take_place(struct acl_users *users, struct acl_user *user) {
    if (insert(users, user)) {
        return;
    }
    uint32_t at = place_of(users, user->name);
    bool is_default = users->list[at] == users->user_default;
    acl_user_unref(users->list[at]);
    users->list[at] = user;
    users->user_default = is_default ? user : users->user_default;
}

/* "name rule rule", from a configuration. NULL with the reason. */
static struct acl_user *user_of_line(const struct acl_making *making, struct bytes line,
                                     struct text *err) {
    struct bytes rest = line, bad = {0}, *rules;
    struct bytes name = next_word(&rest);
    if (!acl_name_fits(name)) {
        text_append_text(err, "Spaces not allowed in ACL usernames");
        return NULL;
    }
    int count = split_rules(rest, &rules);
    check(count >= 0); /* the configuration has seen to it */
    struct acl_user *user = acl_user_new(making, name);
    enum acl_wrong wrong = acl_user_rules(making, user, rules, (uint32_t)count, &bad);
    if (wrong != ACL_RIGHT) {
        text_append_text(err, "Error loading ACL rule '");
        text_append_bytes(err, bad);
        text_append_text(err, "' for the user named '");
        text_append_bytes(err, name);
        text_appendf(err, "': %s", acl_wrong_text(wrong));
        acl_user_unref(user);
        user = NULL;
    }
    free(rules);
    return user;
}

struct acl_users *acl_users_start(const struct acl_making *making, struct bytes requirepass,
                                  const struct bytes *lines, size_t count, struct text *err) {
    struct acl_user *first = acl_user_default(making);
    acl_user_require(first, requirepass);
    struct acl_users *users = acl_users_new(first);
    struct acl_making told = *making;
    told.told = true;
    for (size_t i = 0; i < count; i++) {
        struct acl_user *user = user_of_line(&told, lines[i], err);
        if (user == NULL) {
            acl_users_unref(users);
            return NULL;
        }
        take_place(users, user);
    }
    return users;
}
